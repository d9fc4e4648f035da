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

/* What a cgroup keeps for a program: map_cgroup.c. */
struct bpf_storage;
enum bpf_storage_kind { BPF_STORAGE_SHARED, BPF_STORAGE_PERCPU, BPF_STORAGE_KINDS };

struct bpf_cgroup_item {
	struct bpf_prog *prog;
	struct bpf_storage *storage[BPF_STORAGE_KINDS]; /* of the cgroup where prog is attached; NULL: it has none */
};

struct bpf_prog_array {
	u32 count;
	struct bpf_cgroup_item items[];
};

struct bpf_cgroup_node {
	u64 id; /* of the cgroup, as programs and map keys name it; set by the owner before something is attached */
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
/* Another program for a link. -ENOENT, -ENOMEM, -EINVAL (it has other storage maps). */
int __must_check bpf_cgroup_exchange(struct bpf_cgroup_node *node, u32 hook, const void *link, struct bpf_prog *prog);
/* Ids of attached (or effective) programs, at most max; *flags are the node's. Returns how many there are. */
u32 bpf_cgroup_query(const struct bpf_cgroup_node *node, u32 hook, bool effective, u32 *ids, u32 max, u32 *flags);

/* Nodes at which something is attached, by hook: patch the hook in while it is not 0. */
extern u32 bpf_cgroup_users[BPF_CGROUP_HOOKS];

/* One run of a hook's programs, as their helpers see it. */
struct bpf_cgroup_run {
	s32 *retval; /* what the hook's caller gets: bpf_get_retval, bpf_set_retval */
	const struct bpf_cgroup_item *item;
	struct bpf_cgroup_run *outer; /* that this one interrupted */
};

/* The run on this CPU; NULL: the running program belongs to no hook of a cgroup. Between begin and end nothing sleeps.
 */
struct bpf_cgroup_run *bpf_cgroup_running(void);
void bpf_cgroup_run_begin(struct bpf_cgroup_run *r);
void bpf_cgroup_run_end(struct bpf_cgroup_run *r);

/* Runs all; call it under RCU. *retval is what the hook would return without them (0, or -errno); NULL: 0. Gives back
 * what it is then: the same, or what a program set, or -EPERM: a program refused and none had set an error. flags (may
 * be NULL) collects the bits of the results above bit 0: congestion for egress, no check of the privileged port for
 * bind. With flags NULL each result but 0 allows. */
int bpf_cgroup_run(const struct bpf_cgroup_node *node, u32 hook, const void *ctx, s32 *retval, u32 *flags);

#endif
