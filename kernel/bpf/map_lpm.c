/* SPDX-License-Identifier: MIT
 *
 * Problem: address rules ("10.0.0.0/8 but not 10.1.0.0/16") need the entry with the longest matching prefix.
 *
 * Idea: a binary trie with path compression. A node has a prefix and two children that extend it by at least one
 * bit, chosen by the bit after the prefix. Inner nodes without a value exist only where two children part.
 *
 *              10.0.0.0/8 *
 *             /           \
 *      10.1.0.0/16 *    10.128.0.0/9 (no value)
 *
 * Keys are struct bpf_lpm_trie_key: prefix length in host order, then 1 to 256 bytes, most significant first.
 *
 * Contract: bpf/map.h. ENOSPC when full, EINVAL for a prefix that is too long, NO_PREALLOC is required.
 *
 * Locks: one lock for writers; readers take none, replaced nodes are freed after the programs that may see them.
 */
#include "map_priv.h"

struct node {
	struct node *child[2];
	u32 prefix; /* bits */
	bool has_value;
	u8 data[]; /* key bytes, then at an 8-byte boundary the value */
};

struct trie {
	struct bpf_map map;
	struct node *root;
	struct bpf_lock lock;
	u32 count, bits, bytes, value_at;
};

static struct trie *trie_of(struct bpf_map *map)
{
	return container_of(map, struct trie, map);
}

static u32 prefix_of(const void *key)
{
	u32 n;

	memcpy(&n, key, 4);
	return n;
}

static const u8 *data_of(const void *key)
{
	return (const u8 *)key + 4;
}

static u32 bit_of(const u8 *data, u32 n)
{
	return data[n / 8] >> (7 - n % 8) & 1;
}

/* Number of leading bits that a and b share, at most limit. */
static u32 common_bits(const u8 *a, const u8 *b, u32 limit)
{
	u32 n = 0;

	while (n < limit) {
		u8 diff = a[n / 8] ^ b[n / 8];

		if (diff)
			return min(n + (u32)__builtin_clz((u32)diff << 24), limit);
		n += 8;
	}
	return limit;
}

static int check(const union bpf_attr *attr)
{
	u32 known = BPF_F_NO_PREALLOC | BPF_F_NUMA_NODE | BPF_F_RDONLY | BPF_F_WRONLY | BPF_F_RDONLY_PROG |
		    BPF_F_WRONLY_PROG;

	if (attr->max_entries == 0 || !(attr->map_flags & BPF_F_NO_PREALLOC) || attr->map_flags & ~known ||
	    attr->key_size < 5 || attr->key_size > 4 + 256 || attr->value_size < 1 ||
	    attr->value_size > MAX_VALUE_BYTES - 256 - sizeof(struct node))
		return fail(EINVAL, "trie: %u entries, key %u, value %u, flags %#x", attr->max_entries, attr->key_size,
			    attr->value_size, attr->map_flags);
	return 0;
}

static struct bpf_map *create(const union bpf_attr *attr, int *err)
{
	struct trie *t = kzalloc(sizeof(*t), 0);

	*err = -ENOMEM;
	if (!t)
		return NULL;
	bpf_map_init(&t->map, &bpf_lpm_ops, attr);
	t->bytes = attr->key_size - 4;
	t->bits = t->bytes * 8;
	t->value_at = ALIGN_UP((u32)sizeof(struct node) + t->bytes, 8U);
	return &t->map;
}

static void free_node(void *n)
{
	kfree(n);
}

static void destroy(struct bpf_map *map)
{
	struct trie *t = trie_of(map);

	/* Cut off a leaf at a time: no recursion, the depth is bounded by the key's bits. */
	while (t->root) {
		struct node **slot = &t->root;

		while ((*slot)->child[0] || (*slot)->child[1])
			slot = (*slot)->child[0] ? &(*slot)->child[0] : &(*slot)->child[1];
		kfree(*slot);
		*slot = NULL;
	}
	kfree(t);
}

static void *value_of(const struct trie *t, struct node *n)
{
	return (u8 *)n + t->value_at;
}

static void *lookup(struct bpf_map *map, const void *key)
{
	struct trie *t = trie_of(map);
	u32 bits = prefix_of(key);
	struct node *best = NULL;

	if (bits > t->bits)
		return NULL;
	for (struct node *n = smp_load_acquire(&t->root); n;) {
		if (n->prefix > bits || common_bits(n->data, data_of(key), n->prefix) < n->prefix)
			break;
		if (n->has_value)
			best = n;
		if (n->prefix == bits || n->prefix == t->bits)
			break;
		n = smp_load_acquire(&n->child[bit_of(data_of(key), n->prefix)]);
	}
	return best ? value_of(t, best) : NULL;
}

static struct node *new_node(const struct trie *t, const u8 *data, u32 prefix, const void *value)
{
	struct node *n = kzalloc(t->value_at + t->map.elem_bytes, ALLOC_ATOMIC);

	if (!n)
		return NULL;
	n->prefix = prefix;
	memcpy(n->data, data, t->bytes);
	if (value) {
		n->has_value = true;
		memcpy(value_of(t, n), value, t->map.value_size);
	}
	return n;
}

/* The slot where the key belongs: the node there is the key's own, or does not lie on its way, or is missing. */
static struct node **find_slot(struct trie *t, const void *key, u32 *match)
{
	struct node **slot = &t->root;
	u32 bits = prefix_of(key);

	*match = 0;
	while (*slot) {
		*match = common_bits((*slot)->data, data_of(key), min((*slot)->prefix, bits));
		if (*match < (*slot)->prefix || *match == bits)
			break;
		slot = &(*slot)->child[bit_of(data_of(key), (*slot)->prefix)];
	}
	return slot;
}

static int insert(struct trie *t, struct node **slot, u32 match, const void *key, const void *value)
{
	u32 bits = prefix_of(key);
	struct node *old = *slot, *n = new_node(t, data_of(key), bits, value), *fork;

	if (!n)
		return -ENOMEM;
	if (old && old->prefix == bits && match == bits) { /* same key: replace */
		n->child[0] = old->child[0];
		n->child[1] = old->child[1];
		t->count += !old->has_value;
		smp_store_release(slot, n);
		bpf_env.call_rcu(old, free_node);
		return 0;
	}
	if (old && match == bits) { /* above the old one */
		n->child[bit_of(old->data, bits)] = old;
	} else if (old) { /* both below a fork */
		fork = new_node(t, data_of(key), match, NULL);
		if (!fork) {
			kfree(n);
			return -ENOMEM;
		}
		fork->child[bit_of(data_of(key), match)] = n;
		fork->child[bit_of(old->data, match)] = old;
		n = fork;
	}
	t->count++;
	smp_store_release(slot, n);
	return 0;
}

static int update(struct bpf_map *map, const void *key, const void *value, u64 flags)
{
	struct trie *t = trie_of(map);
	struct node **slot;
	ulong irq;
	u32 match;
	bool there;
	int err;

	if (flags > BPF_EXIST || prefix_of(key) > t->bits)
		return fail(EINVAL, "trie: flags %#llx, prefix %u", (unsigned long long)flags, prefix_of(key));
	irq = bpf_lock(&t->lock);
	slot = find_slot(t, key, &match);
	there = *slot && (*slot)->prefix == prefix_of(key) && match == prefix_of(key) && (*slot)->has_value;
	if (there && flags == BPF_NOEXIST)
		err = -EEXIST;
	else if (!there && flags == BPF_EXIST)
		err = -ENOENT;
	else if (!there && t->count == map->max_entries)
		err = -ENOSPC;
	else
		err = insert(t, slot, match, key, value);
	bpf_unlock(&t->lock, irq);
	return err;
}

static void drop(struct node **slot, struct node *by)
{
	struct node *old = *slot;

	smp_store_release(slot, by);
	bpf_env.call_rcu(old, free_node);
}

/* A node without value and with fewer than two children is not needed. */
static void simplify(struct node **slot)
{
	struct node *n = *slot;

	if (n && !n->has_value && !(n->child[0] && n->child[1]))
		drop(slot, n->child[0] ? n->child[0] : n->child[1]);
}

static int delete_key(struct bpf_map *map, const void *key)
{
	struct trie *t = trie_of(map);
	struct node **slot = &t->root, **parent = NULL, *n, *copy;
	u32 bits = prefix_of(key);
	ulong irq;
	int err = -ENOENT;

	if (bits > t->bits)
		return -EINVAL;
	irq = bpf_lock(&t->lock);
	while ((n = *slot) && n->prefix < bits && common_bits(n->data, data_of(key), n->prefix) == n->prefix) {
		parent = slot;
		slot = &n->child[bit_of(data_of(key), n->prefix)];
	}
	if (n && n->prefix == bits && n->has_value && common_bits(n->data, data_of(key), bits) == bits) {
		err = 0;
		if (n->child[0] && n->child[1]) { /* stays as a fork; readers keep the old one with its value */
			copy = new_node(t, n->data, bits, NULL);
			if (copy) {
				copy->child[0] = n->child[0];
				copy->child[1] = n->child[1];
				drop(slot, copy);
			}
			err = copy ? 0 : -ENOMEM;
		} else {
			drop(slot, n->child[0] ? n->child[0] : n->child[1]);
			if (parent)
				simplify(parent);
		}
		t->count -= !err;
	}
	bpf_unlock(&t->lock, irq);
	return err;
}

/* Order: children before their parent, so that longer prefixes come first. */
static struct node *first_below(struct node *n)
{
	while (n && (n->child[0] || n->child[1]))
		n = n->child[0] ? n->child[0] : n->child[1];
	return n;
}

/* Children before their parent. What follows a node is known from the way down to it: the nearest turn to the left
 * beside which there is a right one, or the nearest parent with a value. */
static struct node *successor(struct trie *t, const void *key)
{
	struct node *n = t->root, *after = NULL;
	u32 bits = prefix_of(key);
	bool below = false; /* after's subtree comes first */

	while (n && n->prefix < bits && common_bits(n->data, data_of(key), n->prefix) == n->prefix) {
		u32 turn = bit_of(data_of(key), n->prefix);

		if (!turn && n->child[1]) {
			after = n->child[1];
			below = true;
		} else if (n->has_value) {
			after = n;
			below = false;
		}
		n = n->child[turn];
	}
	if (!n || n->prefix != bits || !n->has_value || common_bits(n->data, data_of(key), bits) != bits)
		return first_below(t->root); /* not there: start over */
	return below ? first_below(after) : after;
}

static int next_key(struct bpf_map *map, const void *key, void *next)
{
	struct trie *t = trie_of(map);
	ulong irq = bpf_lock(&t->lock);
	struct node *n = key && prefix_of(key) <= t->bits ? successor(t, key) : first_below(t->root);

	if (n) {
		memcpy(next, &n->prefix, 4);
		memcpy((u8 *)next + 4, n->data, t->bytes);
	}
	bpf_unlock(&t->lock, irq);
	return n ? 0 : -ENOENT;
}

const struct bpf_map_ops bpf_lpm_ops = {
	.check = check,
	.create = create,
	.destroy = destroy,
	.lookup = lookup,
	.update = update,
	.remove = delete_key,
	.next_key = next_key,
	.peek_sys = lookup,
};
