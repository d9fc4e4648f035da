/* SPDX-License-Identifier: MIT
 *
 * Which programs run at a hook of a cgroup: the rules of attaching (none, override, multi) over an abstract tree.
 * The kernel's cgroups embed a struct bpf_cgroup_node; the core keeps lists and the effective arrays.
 *
 *      own programs of a node + those of its ancestors, as far as flags allow  ->  effective array (cached)
 *
 * Order (4.15 and later): a cgroup's own programs first, in the order of attaching, then its ancestors'. All run; every
 * one must allow. With override only the nearest program runs.
 *
 * Threading: attach, detach, replace, add and remove are serialised by the caller (the cgroup mutex). Runners read
 * `effective` under RCU; replaced arrays go through bpf_env.call_rcu.
 */
#ifndef BPF_CGROUP_H
#define BPF_CGROUP_H

#include <linux/bpf.h>
#include <bpf/prog.h>
#include <lib/list.h>

#define BPF_CGROUP_HOOKS 24 /* attach types of cgroups, packed by bpf_cgroup_hook */
#define BPF_CGROUP_MULTI 64 /* programs that one cgroup may have at a hook */

struct bpf_prog_array {
	u32 count;
	struct bpf_prog *progs[];
};

struct bpf_cgroup_node {
	struct bpf_cgroup_node *parent;
	struct list children, sibling;
	struct list progs[BPF_CGROUP_HOOKS];
	u32 flags[BPF_CGROUP_HOOKS];                        /* of the programs in the list */
	struct bpf_prog_array *effective[BPF_CGROUP_HOOKS]; /* NULL: nothing runs */
};

/* -EINVAL if the attach type is none of cgroups'. */
int bpf_cgroup_hook(u32 attach_type);

int __must_check bpf_cgroup_add(struct bpf_cgroup_node *node, struct bpf_cgroup_node *parent); /* inherits; -ENOMEM */
/* Detaches everything; the node has no children. Links are told by the caller. */
void bpf_cgroup_remove(struct bpf_cgroup_node *node);

/* flags: 0, BPF_F_ALLOW_OVERRIDE or BPF_F_ALLOW_MULTI, and BPF_F_REPLACE with multi. Takes a reference. Errors as
 * Linux: EINVAL (flags, same program twice), EPERM (an ancestor or the flags of what is attached forbid), E2BIG,
 * ENOENT. link: whose program it is (its address is only compared), NULL: the cgroup's own. */
int __must_check bpf_cgroup_attach(struct bpf_cgroup_node *node, u32 hook, struct bpf_prog *prog, const void *link,
				   struct bpf_prog *replace, u32 flags);
/* prog and link NULL: the only program, where flags are not multi. */
int __must_check bpf_cgroup_detach(struct bpf_cgroup_node *node, u32 hook, struct bpf_prog *prog, const void *link);
/* Another program for a link. -ENOENT, -ENOMEM. */
int __must_check bpf_cgroup_exchange(struct bpf_cgroup_node *node, u32 hook, const void *link, struct bpf_prog *prog);
/* Ids of attached (or effective) programs, at most max; *flags are the node's. Returns how many there are. */
u32 bpf_cgroup_query(const struct bpf_cgroup_node *node, u32 hook, bool effective, u32 *ids, u32 max, u32 *flags);

/* Nodes at which something is attached, by hook: patch the hook in while it is not 0. */
extern u32 bpf_cgroup_users[BPF_CGROUP_HOOKS];

/* All programs allow (bit 0 of each result); *cn collects bit 1 (congestion), for egress. */
static inline bool bpf_cgroup_run(const struct bpf_cgroup_node *node, u32 hook, const void *ctx, bool *cn)
{
	const struct bpf_prog_array *a = smp_load_acquire(&node->effective[hook]);
	bool allow = true;

	for (u32 i = 0; a && i < a->count; i++) {
		u32 r = (u32)bpf_prog_run(a->progs[i], ctx);

		allow &= r & 1;
		if (cn)
			*cn |= r >> 1 & 1;
	}
	return allow;
}

#endif
