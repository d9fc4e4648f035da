/* SPDX-License-Identifier: MIT
 *
 * Problem: managers of different levels attach programs to nested cgroups; who may add to, replace or forbid whose
 * programs has to be exact, and a packet must not pay for the tree.
 *
 * Idea: each node has a list and flags for each hook; what runs is precomputed. An attachment is tried on paper first:
 * the arrays of the node and of all descendants are built, then exchanged; running out of memory changes nothing.
 *
 *      flags of the nearest ancestor with programs:   none -> nothing may be attached below (EPERM)
 *                                                     override -> below replaces; multi -> below adds
 *
 * Contract: bpf/cgroup.h.
 *
 * Locks: the caller's cgroup mutex. Old arrays are freed after RCU.
 */
#include <alloc/slab.h>
#include <bpf/cgroup.h>
#include <core/log.h>
#include <lib/err.h>
#include "storage_priv.h"

struct attached {
	struct list link;
	struct bpf_cgroup_item item;
	const void *owner; /* the link that it belongs to, or NULL */
};

/* A planned change of one node. */
struct plan {
	struct bpf_cgroup_node *node;
	struct bpf_prog_array *array;
	struct plan *next;
};

u32 bpf_cgroup_users[BPF_CGROUP_HOOKS];
static struct bpf_cgroup_run *running[BPF_MAX_CPUS];

static const u8 hooks[] = {
	BPF_CGROUP_INET_INGRESS,
	BPF_CGROUP_INET_EGRESS,
	BPF_CGROUP_INET_SOCK_CREATE,
	BPF_CGROUP_SOCK_OPS,
	BPF_CGROUP_DEVICE,
	BPF_CGROUP_INET4_BIND,
	BPF_CGROUP_INET6_BIND,
	BPF_CGROUP_INET4_CONNECT,
	BPF_CGROUP_INET6_CONNECT,
	BPF_CGROUP_INET4_POST_BIND,
	BPF_CGROUP_INET6_POST_BIND,
	BPF_CGROUP_UDP4_SENDMSG,
	BPF_CGROUP_UDP6_SENDMSG,
	BPF_CGROUP_SYSCTL,
	BPF_CGROUP_UDP4_RECVMSG,
	BPF_CGROUP_UDP6_RECVMSG,
	BPF_CGROUP_GETSOCKOPT,
	BPF_CGROUP_SETSOCKOPT,
	BPF_CGROUP_INET4_GETPEERNAME,
	BPF_CGROUP_INET6_GETPEERNAME,
	BPF_CGROUP_INET4_GETSOCKNAME,
	BPF_CGROUP_INET6_GETSOCKNAME,
	BPF_CGROUP_INET_SOCK_RELEASE,
};

int bpf_cgroup_hook(u32 attach_type)
{
	for (u32 i = 0; i < ARRAY_SIZE(hooks); i++)
		if (hooks[i] == attach_type)
			return (int)i;
	return -EINVAL;
}

static u32 own_count(const struct bpf_cgroup_node *n, u32 hook)
{
	const struct attached *a;
	u32 count = 0;

	list_for_each_entry (a, &n->progs[hook], link)
		count++;
	return count;
}

/* The nearest ancestor with programs decides for everyone below it. */
static bool ancestors_allow(const struct bpf_cgroup_node *node, u32 hook)
{
	for (const struct bpf_cgroup_node *p = node->parent; p; p = p->parent) {
		if (p->flags[hook] & BPF_F_ALLOW_MULTI)
			return true;
		if (!list_empty(&p->progs[hook]))
			return p->flags[hook] & BPF_F_ALLOW_OVERRIDE;
	}
	return true;
}

/* A node's programs count if the nodes below it, as seen from where we come, leave room for more. */
static u32 collect(const struct bpf_cgroup_node *node, u32 hook, struct bpf_cgroup_item *out)
{
	u32 n = 0;

	for (const struct bpf_cgroup_node *p = node; p; p = p->parent) {
		const struct attached *a;

		if (n && !(p->flags[hook] & BPF_F_ALLOW_MULTI))
			continue; /* overridden */
		list_for_each_entry (a, &p->progs[hook], link) {
			if (out)
				out[n] = a->item;
			n++;
		}
	}
	return n;
}

static int build(const struct bpf_cgroup_node *node, u32 hook, struct bpf_prog_array **out)
{
	u32 n = collect(node, hook, NULL);

	*out = NULL;
	if (!n)
		return 0;
	*out = kmalloc(sizeof(**out) + n * sizeof((*out)->items[0]), 0);
	if (!*out)
		return -ENOMEM;
	(*out)->count = collect(node, hook, (*out)->items);
	return 0;
}

static struct bpf_cgroup_node *next_below(struct bpf_cgroup_node *top, struct bpf_cgroup_node *n)
{
	if (!list_empty(&n->children))
		return list_first_entry(&n->children, struct bpf_cgroup_node, sibling);
	while (n != top && n->sibling.next == &n->parent->children)
		n = n->parent;
	return n == top ? NULL : list_entry(n->sibling.next, struct bpf_cgroup_node, sibling);
}

static void drop_plan(struct plan *p)
{
	while (p) {
		struct plan *next = p->next;

		kfree(p->array);
		kfree(p);
		p = next;
	}
}

static void free_array(void *a)
{
	kfree(a);
}

/* Recomputes the node and everything below it: all or nothing. */
static int recompute(struct bpf_cgroup_node *top, u32 hook)
{
	struct plan *plans = NULL, *p;

	for (struct bpf_cgroup_node *n = top; n; n = next_below(top, n)) {
		p = kzalloc(sizeof(*p), 0);
		if (!p || build(n, hook, &p->array)) {
			kfree(p);
			drop_plan(plans);
			return -ENOMEM;
		}
		p->node = n;
		p->next = plans;
		plans = p;
	}
	for (p = plans; p; p = p->next) {
		struct bpf_prog_array *old = p->node->effective[hook];

		smp_store_release(&p->node->effective[hook], p->array);
		p->array = NULL;
		if (old)
			bpf_env.call_rcu(old, free_array);
	}
	drop_plan(plans);
	return 0;
}

int bpf_cgroup_add(struct bpf_cgroup_node *node, struct bpf_cgroup_node *parent)
{
	node->parent = parent;
	list_init(&node->children);
	list_init(&node->sibling);
	for (u32 h = 0; h < BPF_CGROUP_HOOKS; h++) {
		list_init(&node->progs[h]);
		node->flags[h] = 0;
		node->effective[h] = NULL;
	}
	if (parent)
		list_add_tail(&node->sibling, &parent->children);
	for (u32 h = 0; h < BPF_CGROUP_HOOKS; h++)
		if (parent && parent->effective[h] && recompute(node, h)) {
			bpf_cgroup_remove(node);
			return -ENOMEM;
		}
	return 0;
}

void bpf_cgroup_remove(struct bpf_cgroup_node *node)
{
	for (u32 h = 0; h < BPF_CGROUP_HOOKS; h++) {
		struct bpf_prog_array *old = node->effective[h];
		struct attached *a, *next;

		WRITE_ONCE(node->effective[h], NULL);
		if (old)
			bpf_env.call_rcu(old, free_array);
		list_for_each_entry_safe (a, next, &node->progs[h], link) {
			list_del(&a->link);
			bpf_prog_put(a->item.prog);
			bpf_cgroup_users[h]--;
			kfree(a);
		}
	}
	bpf_storage_drop(node->id);
	if (node->parent)
		list_del_init(&node->sibling);
}

/* By link, or a program that no link owns. */
static struct attached *find(const struct bpf_cgroup_node *node, u32 hook, const struct bpf_prog *prog,
			     const void *owner)
{
	struct attached *a;

	list_for_each_entry (a, &node->progs[hook], link)
		if (a->owner == owner && (owner || a->item.prog == prog))
			return a;
	return NULL;
}

static int check_attach(const struct bpf_cgroup_node *node, u32 hook, const struct bpf_prog *prog, const void *owner,
			const struct bpf_prog *replace, u32 flags)
{
	u32 kind = flags & (BPF_F_ALLOW_OVERRIDE | BPF_F_ALLOW_MULTI);

	if (flags & ~(u32)(BPF_F_ALLOW_OVERRIDE | BPF_F_ALLOW_MULTI | BPF_F_REPLACE) ||
	    kind == (BPF_F_ALLOW_OVERRIDE | BPF_F_ALLOW_MULTI) ||
	    (flags & BPF_F_REPLACE && !(flags & BPF_F_ALLOW_MULTI)) || !(flags & BPF_F_REPLACE) != !replace)
		return fail(EINVAL, "attach flags: %#x", flags);
	if (!ancestors_allow(node, hook))
		return fail(EPERM, "an ancestor's program does not allow others below");
	if (!list_empty(&node->progs[hook]) && node->flags[hook] != kind)
		return fail(EPERM, "attached with other flags: %#x", node->flags[hook]);
	if (own_count(node, hook) >= BPF_CGROUP_MULTI)
		return -E2BIG;
	if (kind & BPF_F_ALLOW_MULTI && prog != replace && find(node, hook, prog, owner))
		return fail(EINVAL, "the program is attached already");
	if (replace && !find(node, hook, replace, NULL))
		return -ENOENT;
	return 0;
}

/* What the cgroup keeps for prog. */
static int make_item(const struct bpf_cgroup_node *node, u32 hook, struct bpf_prog *prog, struct bpf_cgroup_item *out)
{
	int err = 0;

	*out = (struct bpf_cgroup_item){ .prog = prog };
	for (u32 k = 0; !err && k < BPF_STORAGE_KINDS; k++) {
		struct bpf_map *map = bpf_prog_storage_map(prog, k);

		if (map)
			err = bpf_storage_make(map, node->id, hooks[hook], &out->storage[k]);
	}
	return err;
}

int bpf_cgroup_attach(struct bpf_cgroup_node *node, u32 hook, struct bpf_prog *prog, const void *link,
		      struct bpf_prog *replace, u32 flags)
{
	u32 kind = flags & (BPF_F_ALLOW_OVERRIDE | BPF_F_ALLOW_MULTI), before = node->flags[hook];
	int err = check_attach(node, hook, prog, link, replace, flags);
	struct bpf_cgroup_item item, old = { .prog = NULL };
	struct attached *slot = NULL;

	err = err ? err : make_item(node, hook, prog, &item);
	if (err)
		return err;
	if (replace)
		slot = find(node, hook, replace, NULL);
	else if (!(kind & BPF_F_ALLOW_MULTI) && !list_empty(&node->progs[hook]))
		slot = list_first_entry(&node->progs[hook], struct attached, link);
	if (slot) {
		old = slot->item;
	} else {
		slot = kzalloc(sizeof(*slot), 0);
		if (!slot)
			return -ENOMEM;
		slot->owner = link;
		list_add_tail(&slot->link, &node->progs[hook]);
	}
	slot->item = item;
	node->flags[hook] = kind;
	err = recompute(node, hook);
	if (!err) {
		bpf_prog_get(prog);
		bpf_prog_put(old.prog);
		bpf_cgroup_users[hook] += !old.prog;
		return 0;
	}
	node->flags[hook] = before;
	if (old.prog) {
		slot->item = old;
	} else {
		list_del(&slot->link);
		kfree(slot);
	}
	return err;
}

int bpf_cgroup_detach(struct bpf_cgroup_node *node, u32 hook, struct bpf_prog *prog, const void *link)
{
	bool multi = node->flags[hook] & BPF_F_ALLOW_MULTI;
	u32 flags = node->flags[hook];
	struct attached *a;
	struct list *before;
	int err;

	if (list_empty(&node->progs[hook]))
		return -ENOENT;
	if (multi && !prog && !link)
		return fail(EINVAL, "with several programs the one to detach has to be named");
	a = multi ? find(node, hook, prog, link) : list_first_entry(&node->progs[hook], struct attached, link);
	if (!a)
		return -ENOENT;
	before = a->link.prev;
	list_del(&a->link);
	if (list_empty(&node->progs[hook]))
		node->flags[hook] = 0;
	err = recompute(node, hook);
	if (err) { /* put it back where it was */
		list_add(&a->link, before);
		node->flags[hook] = flags;
		return err;
	}
	bpf_cgroup_users[hook]--;
	bpf_prog_put(a->item.prog);
	kfree(a);
	return 0;
}

int bpf_cgroup_exchange(struct bpf_cgroup_node *node, u32 hook, const void *link, struct bpf_prog *prog)
{
	struct attached *a = find(node, hook, NULL, link);
	struct bpf_prog *old;
	int err;

	if (!a)
		return -ENOENT;
	old = a->item.prog;
	for (u32 k = 0; k < BPF_STORAGE_KINDS; k++)
		if (bpf_prog_storage_map(old, k) != bpf_prog_storage_map(prog, k))
			return fail(EINVAL, "the program for the link has another storage map");
	a->item.prog = prog;
	err = recompute(node, hook);
	if (err) {
		a->item.prog = old;
		return err;
	}
	bpf_prog_get(prog);
	bpf_prog_put(old);
	return 0;
}

u32 bpf_cgroup_query(const struct bpf_cgroup_node *node, u32 hook, bool effective, u32 *ids, u32 max, u32 *flags)
{
	const struct bpf_prog_array *arr = node->effective[hook];
	const struct attached *a;
	u32 n = 0;

	*flags = effective ? 0 : node->flags[hook];
	if (effective) {
		for (; arr && n < arr->count; n++)
			if (n < max)
				ids[n] = arr->items[n].prog->id;
		return n;
	}
	list_for_each_entry (a, &node->progs[hook], link) {
		if (n < max)
			ids[n] = a->item.prog->id;
		n++;
	}
	return n;
}

/* ---- running -------------------------------------------------------------------------------------------------------
 */

struct bpf_cgroup_run *bpf_cgroup_running(void)
{
	return running[bpf_env.cpu_id()];
}

void bpf_cgroup_run_begin(struct bpf_cgroup_run *r)
{
	struct bpf_cgroup_run **now = &running[bpf_env.cpu_id()];

	r->outer = *now;
	WRITE_ONCE(*now, r);
}

void bpf_cgroup_run_end(struct bpf_cgroup_run *r)
{
	WRITE_ONCE(running[bpf_env.cpu_id()], r->outer);
}

int bpf_cgroup_run(const struct bpf_cgroup_node *node, u32 hook, const void *ctx, s32 *retval, u32 *flags)
{
	const struct bpf_prog_array *a = smp_load_acquire(&node->effective[hook]);
	s32 zero = 0;
	struct bpf_cgroup_run run = { .retval = retval ? retval : &zero };

	if (!a)
		return *run.retval;
	bpf_cgroup_run_begin(&run);
	for (u32 i = 0; i < a->count; i++) {
		u32 r;

		run.item = &a->items[i];
		r = (u32)bpf_prog_run(run.item->prog, ctx);
		if (flags) {
			*flags |= r >> 1;
			r &= 1;
		}
		if (!r && !(*run.retval < 0 && *run.retval >= -4095))
			*run.retval = -EPERM;
	}
	bpf_cgroup_run_end(&run);
	return *run.retval;
}
