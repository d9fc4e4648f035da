/* SPDX-License-Identifier: MIT
 *
 * Problem: page caches and folders map sparse numbers to objects, are read far more often than written, and are
 * mostly tiny or dense.
 *
 * Idea: a radix tree whose height follows its greatest index. Growing puts a new root above the old one, shrinking
 * takes it away; inner pointers carry bit 0, so that a tree with only index 0 is the entry itself. A reader takes
 * the height from the node it stands on, never from the tree, so it needs no lock: an old root is still a right
 * (smaller) tree.
 *
 * Contract: lib/xarray.h. Only xa_store fails (-ENOMEM), and then the array holds what it held; empty nodes that it
 * had made are gone again.
 *
 * Locks: none; see the header.
 */
#include <lib/err.h>
#include <lib/xarray.h>

static bool is_node(const void *p)
{
	return (ulong)p & 1;
}

static struct xa_node *to_node(const void *p)
{
	return (struct xa_node *)((ulong)p - 1);
}

static void *from_node(struct xa_node *n)
{
	return (void *)((ulong)n + 1);
}

static void *slot_load(void *const *slot)
{
	return __atomic_load_n(slot, __ATOMIC_CONSUME);
}

static void slot_store(void **slot, void *p)
{
	__atomic_store_n(slot, p, __ATOMIC_RELEASE);
}

/* The greatest index below a node; a root of shift 60 holds all. */
static u64 node_max(const struct xa_node *n)
{
	unsigned bits = n->shift + XA_BITS;

	return bits >= 64 ? ~0ULL : (1ULL << bits) - 1;
}

void xa_init(struct xarray *xa, const struct xa_mem *mem)
{
	xa->head = NULL;
	xa->mem = mem;
}

void *xa_load(const struct xarray *xa, u64 index)
{
	void *p = slot_load(&xa->head);

	if (!is_node(p))
		return index ? NULL : p;
	if (index > node_max(to_node(p)))
		return NULL;
	while (is_node(p)) {
		struct xa_node *n = to_node(p);

		p = slot_load(&n->slots[index >> n->shift & (XA_SLOTS - 1)]);
	}
	return p;
}

/* Takes empty nodes away, from n upwards, then superfluous roots that have only slot 0. */
static void prune(struct xarray *xa, struct xa_node *n)
{
	while (n && !n->count) {
		struct xa_node *parent = n->parent;

		if (parent) {
			slot_store(&parent->slots[n->offset], NULL);
			parent->count--;
		} else {
			slot_store(&xa->head, NULL);
		}
		xa->mem->free(n);
		n = parent;
	}
	while (is_node(xa->head)) {
		struct xa_node *root = to_node(xa->head);
		void *only = root->slots[0];

		if (root->count != 1 || !only)
			return;
		if (is_node(only))
			to_node(only)->parent = NULL;
		slot_store(&xa->head, only);
		xa->mem->free(root);
	}
}

/* Makes the tree high enough for index. */
static int grow(struct xarray *xa, u64 index)
{
	while (!is_node(xa->head) ? index > 0 : index > node_max(to_node(xa->head))) {
		struct xa_node *n = xa->mem->alloc();

		if (!n)
			return -ENOMEM;
		n->shift = is_node(xa->head) ? to_node(xa->head)->shift + XA_BITS : 0;
		if (xa->head) {
			n->slots[0] = xa->head;
			n->count = 1;
			if (is_node(xa->head)) {
				to_node(xa->head)->parent = n;
				to_node(xa->head)->offset = 0;
			}
		} else {
			while (index > node_max(n))
				n->shift += XA_BITS;
		}
		slot_store(&xa->head, from_node(n));
	}
	return 0;
}

static struct xa_node *add_child(struct xarray *xa, struct xa_node *parent, unsigned offset)
{
	struct xa_node *n = xa->mem->alloc();

	if (!n)
		return NULL;
	n->shift = parent->shift - XA_BITS;
	n->offset = offset;
	n->parent = parent;
	parent->count++;
	slot_store(&parent->slots[offset], from_node(n));
	return n;
}

int xa_store(struct xarray *xa, u64 index, void *entry, void **old)
{
	struct xa_node *n = NULL;
	void **slot = &xa->head;
	int err = grow(xa, index);

	if (is_node(xa->head)) {
		n = to_node(xa->head);
		for (;;) {
			slot = &n->slots[index >> n->shift & (XA_SLOTS - 1)];
			if (err || !n->shift)
				break;
			if (*slot)
				n = to_node(*slot);
			else if (add_child(xa, n, slot - n->slots))
				n = to_node(*slot);
			else
				err = -ENOMEM;
		}
	}
	if (err) {
		prune(xa, n);
		return err;
	}
	if (old)
		*old = *slot;
	if (n && !*slot)
		n->count++;
	slot_store(slot, entry);
	return 0;
}

void *xa_erase(struct xarray *xa, u64 index)
{
	void *p = xa->head;
	struct xa_node *n = NULL;
	void **slot = &xa->head;

	if (is_node(p) ? index > node_max(to_node(p)) : index > 0)
		return NULL;
	while (is_node(*slot)) {
		n = to_node(*slot);
		slot = &n->slots[index >> n->shift & (XA_SLOTS - 1)];
	}
	p = *slot;
	if (!p)
		return NULL;
	slot_store(slot, NULL);
	if (n) {
		n->count--;
		prune(xa, n);
	}
	return p;
}

/* One descent for *index: an entry, or NULL with *index moved behind the empty slot it found. */
static void *find_step(const struct xa_node *n, u64 *index, bool *wrapped)
{
	for (;;) {
		void *p = slot_load(&n->slots[*index >> n->shift & (XA_SLOTS - 1)]);
		u64 step = 1ULL << n->shift;

		if (p && !is_node(p))
			return p;
		if (!p) {
			u64 next = (*index & ~(step - 1)) + step;

			*wrapped = next < *index;
			*index = next;
			return NULL;
		}
		n = to_node(p);
	}
}

void *xa_find(const struct xarray *xa, u64 *index, u64 max)
{
	void *head = slot_load(&xa->head);
	bool wrapped = false;
	u64 at = *index;

	if (!is_node(head)) {
		if (!head || at)
			return NULL;
		return head;
	}
	while (!wrapped && at <= max && at <= node_max(to_node(head))) {
		void *p = find_step(to_node(head), &at, &wrapped);

		if (p) {
			*index = at;
			return p;
		}
	}
	return NULL;
}
