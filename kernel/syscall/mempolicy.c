/* SPDX-License-Identifier: MIT
 *
 * Problem: programs ask where their memory lies and where it shall lie (numactl, ps, allocators), and in which order
 * their disk requests shall go.
 *
 * Idea: read and check the masks of nodes, which are longer than any machine has nodes; policies are task's
 * (task/mempolicy.h), ranges and moving pages mm's. Priorities of disk requests are kept a task; no queue reads them
 * yet.
 *
 * Contract: set_mempolicy(2), get_mempolicy(2), mbind(2), set_mempolicy_home_node(2), move_pages(2), migrate_pages(2),
 * ioprio_set(2).
 *
 * Locks: none; targets are counted.
 */
#include <abi/syscalls.h>
#include <arch/user.h>
#include <lib/err.h>
#include <lib/string.h>
#include <linux/capability.h>
#include <linux/ioprio.h>
#include <linux/mempolicy.h>
#include <mm/mm.h>
#include <process/process.h>
#include <task/sched.h>

#define NODE_BITS_MAX (PAGE_SIZE * 8)
#define NODE_BITS     1024 /* Linux as Debian builds it: bits from here on are refused, those below may name none */
#define NO_NODE       node_bit(63)

/* ---- memory policies --------------------------------------------------------------------------------------- */

/* The nodes of a user mask; those that no machine of ours has are NO_NODE. */
static int get_nodes(nodemask_t *out, const ulong __user *from, ulong maxnode)
{
	*out = 0;
	maxnode--; /* the ABI counts one too many */
	if (!from || !maxnode)
		return 0;
	if (maxnode > NODE_BITS_MAX)
		return -EINVAL;
	for (ulong bit = 0; bit < maxnode; bit += 64) {
		ulong word;

		if (user_get(&word, from + bit / 64, sizeof(word)))
			return -EFAULT;
		if (maxnode - bit < 64)
			word &= (1UL << (maxnode - bit)) - 1;
		if (word && bit >= NODE_BITS)
			return -EINVAL;
		*out |= bit ? (word ? NO_NODE : 0) : word;
	}
	return 0;
}

static int get_policy(int mode, const ulong __user *nmask, ulong maxnode, nodemask_t *nodes, struct mempolicy **out)
{
	int err = get_nodes(nodes, nmask, maxnode);

	return err ? err : mempolicy_create((unsigned)mode, *nodes, task_mems(current), out);
}

long sys_set_mempolicy(int mode, const ulong __user *nmask, ulong maxnode)
{
	struct mempolicy *p;
	nodemask_t nodes;
	int err = get_policy(mode, nmask, maxnode, &nodes, &p);

	if (!err)
		task_set_mempolicy(p);
	return err;
}

/* start is page aligned; 1: nothing to do. */
static int page_range(ulong start, ulong len, ulong *end)
{
	if (start % PAGE_SIZE)
		return -EINVAL;
	*end = start + ALIGN_UP(len, PAGE_SIZE);
	return *end < start ? -EINVAL : *end == start;
}

long sys_mbind(ulong start, size_t len, ulong mode, const ulong __user *nmask, ulong maxnode, u32 flags)
{
	struct mempolicy *p = NULL;
	nodemask_t nodes = 0;
	ulong end;
	int err;

	if (((unsigned)mode & ~(unsigned)MPOL_MODE_FLAGS) >= MPOL_MAX)
		return -EINVAL;
	err = get_nodes(&nodes, nmask, maxnode);
	if (err)
		return err;
	if (flags & ~(u32)MPOL_MF_VALID)
		return -EINVAL;
	if ((flags & MPOL_MF_MOVE_ALL) && !capable(CAP_SYS_NICE))
		return -EPERM;
	err = page_range(start, len, &end);
	if (!err)
		err = mempolicy_create((unsigned)mode, nodes, task_mems(current), &p);
	if (err)
		return err < 0 ? err : 0;
	if (!p)
		flags &= ~(u32)MPOL_MF_STRICT;
	err = mm_bind(current->mm, start, end, p, nodes, flags);
	mempolicy_put(p);
	return err;
}

long sys_set_mempolicy_home_node(ulong start, ulong len, ulong home_node, ulong flags)
{
	ulong end;
	int err;

	if (start % PAGE_SIZE || flags || home_node >= node_count())
		return -EINVAL;
	err = page_range(start, len, &end);
	return err ? min(err, 0) : mm_set_home_node(current->mm, start, end, (unsigned)home_node);
}

/* Clears maxnode bits of the user's mask but those of `nodes`; copies whole words. */
static int put_nodes(ulong __user *to, ulong maxnode, nodemask_t nodes)
{
	ulong bits = ALIGN_UP(maxnode - 1, 64UL);

	if (bits > 64 && bits / 8 > PAGE_SIZE)
		return -EINVAL;
	for (ulong bit = 0; bit < bits; bit += 64) {
		ulong word = bit ? 0 : nodes;

		if (user_put(to + bit / 64, &word, sizeof(word)))
			return -EFAULT;
	}
	return 0;
}

static nodemask_t nodes_to_show(const struct mempolicy *p)
{
	if (p && p->flags & (MPOL_F_STATIC_NODES | MPOL_F_RELATIVE_NODES))
		return p->user;
	return mempolicy_nodes(p, task_mems(current));
}

/* What get_mempolicy's flags ask of policy p. */
static int policy_value(const struct mempolicy *p, ulong addr, ulong flags)
{
	if (!(flags & MPOL_F_NODE))
		return p ? p->mode | p->flags : MPOL_DEFAULT;
	if (flags & MPOL_F_ADDR)
		return mm_node_at(current->mm, addr, true);
	return p && p->mode == MPOL_INTERLEAVE ? (int)task_interleave_next() : -EINVAL;
}

long sys_get_mempolicy(int __user *policy, ulong __user *nmask, ulong maxnode, ulong addr, ulong flags)
{
	struct mempolicy *p = NULL;
	nodemask_t nodes;
	int value, err = 0;

	if (nmask && maxnode < node_count())
		return -EINVAL;
	if (flags & ~(ulong)(MPOL_F_NODE | MPOL_F_ADDR | MPOL_F_MEMS_ALLOWED))
		return -EINVAL;
	if ((flags & MPOL_F_MEMS_ALLOWED) && (flags & (MPOL_F_NODE | MPOL_F_ADDR)))
		return -EINVAL;
	if (flags & MPOL_F_MEMS_ALLOWED) {
		value = 0;
		nodes = task_mems(current);
	} else {
		if (flags & MPOL_F_ADDR)
			err = mm_policy_at(current->mm, addr, &p);
		else if (addr)
			err = -EINVAL;
		else
			p = mempolicy_get(current->mem_policy);
		value = err ? err : policy_value(p, addr, flags);
		nodes = nodes_to_show(p);
		mempolicy_put(p);
	}
	if (value < 0)
		return value;
	if (policy && user_put(policy, &value, sizeof(value)))
		return -EFAULT;
	return nmask ? put_nodes(nmask, maxnode, nodes) : 0;
}

/* ---- moving ------------------------------------------------------------------------------------------------- */

/* The address space of a process that current may look into, and the nodes that it may use. */
static int get_target(int pid, struct mm **out, nodemask_t *allowed)
{
	struct task *t = pid ? task_find_get(pid) : current;
	bool may;

	if (!t)
		return -ESRCH;
	may = process_may_look(t);
	*allowed = task_mems(t);
	*out = may ? mm_of_task(t) : NULL;
	if (pid)
		task_put(t);
	return !may ? -EPERM : *out ? 0 : -EINVAL;
}

long sys_migrate_pages(int pid, ulong maxnode, const ulong __user *from, const ulong __user *to)
{
	nodemask_t a, b, allowed;
	struct mm *m;
	s64 left;
	int err = get_nodes(&a, from, maxnode);

	if (!err)
		err = get_nodes(&b, to, maxnode);
	if (!err)
		err = get_target(pid, &m, &allowed);
	if (err)
		return err;
	if (b & ~allowed && !capable(CAP_SYS_NICE))
		left = -EPERM;
	else if (!(b & task_mems(current)))
		left = -EINVAL;
	else
		left = mm_migrate(m, a, b & task_mems(current));
	mm_put(m);
	return left;
}

struct page_list { /* move_pages' arguments */
	const ulong __user *pages;
	const int __user *nodes;
	int __user *status;
	nodemask_t allowed;
	bool all, full;
};

/* One page of the list: its status is stored. */
static int move_one(struct mm *m, struct page_list *l, ulong i)
{
	int node, where;
	ulong addr;

	if (user_get(&addr, l->pages + i, sizeof(addr)) || (l->nodes && user_get(&node, l->nodes + i, sizeof(node))))
		return -EFAULT;
	if (!l->nodes) {
		where = mm_node_at(m, addr, false);
	} else if (node < 0 || node >= MAX_NODES || !node_has(node_memory_mask(), node)) {
		return -ENODEV;
	} else if (!node_has(l->allowed, node)) {
		return -EACCES;
	} else {
		where = mm_move_to_node(m, addr, (unsigned)node, l->all, &l->full);
	}
	return user_put(l->status + i, &where, sizeof(where)) ? -EFAULT : 0;
}

long sys_move_pages(int pid, ulong nr_pages, void __user *pages, const int __user *nodes, int __user *status, int flags)
{
	struct page_list l = { .pages = pages, .nodes = nodes, .status = status, .all = flags & MPOL_MF_MOVE_ALL };
	ulong left = 0;
	struct mm *m;
	int err;

	if (flags & ~(MPOL_MF_MOVE | MPOL_MF_MOVE_ALL))
		return -EINVAL;
	if (l.all && !capable(CAP_SYS_NICE))
		return -EPERM;
	err = get_target(pid, &m, &l.allowed);
	if (err)
		return err;
	for (ulong i = 0; !err && i < nr_pages; i++) {
		l.full = false;
		err = move_one(m, &l, i);
		left += l.full;
		resched_point();
		if (fatal_signal_pending(current))
			err = -EINTR;
	}
	mm_put(m);
	return err ? err : (long)left;
}

/* ---- disk priorities ---------------------------------------------------------------------------------------- */

struct io_walk {
	int value; /* to set, or -1: only look */
	int best;  /* of what was seen; -ESRCH: nobody yet */
	int err;
};

static int io_one(struct task *t, void *arg)
{
	struct io_walk *w = arg;
	const struct cred *me = current->cred;

	if (w->value < 0) {
		w->best = w->best < 0 ? t->io_priority : min(w->best, (int)t->io_priority);
	} else if (!uid_eq(t->cred->uid, me->euid) && !uid_eq(t->cred->uid, me->uid) && !capable(CAP_SYS_NICE)) {
		w->err = -EPERM;
	} else {
		t->io_priority = (u16)w->value;
		w->best = 0;
	}
	return 0;
}

static bool in_walk(struct process *p, int which, int who)
{
	if (which == IOPRIO_WHO_PGRP)
		return pid_nr(p->pgrp) == (who ? who : pid_nr(current->process->pgrp));
	return p->leader->cred->uid.v == (who ? (u32)who : current->cred->uid.v);
}

static long io_walk(int which, int who, int value)
{
	struct io_walk w = { .value = value, .best = -ESRCH };
	struct task *t;

	if (which == IOPRIO_WHO_PROCESS) {
		t = who ? task_find_get(who) : current;
		if (!t)
			return -ESRCH;
		io_one(t, &w);
		if (who)
			task_put(t);
	} else if (which == IOPRIO_WHO_PGRP || which == IOPRIO_WHO_USER) {
		int nr = 1;

		for (struct process *p; (p = process_next(&nr)); nr++) {
			if (in_walk(p, which, who))
				process_for_each_thread(p, io_one, &w);
			process_put(p);
		}
	} else {
		return -EINVAL;
	}
	return w.err ? w.err : w.best;
}

long sys_ioprio_set(int which, int who, int ioprio)
{
	int class = IOPRIO_PRIO_CLASS(ioprio), level = IOPRIO_PRIO_DATA(ioprio);

	if (class == IOPRIO_CLASS_RT && !capable(CAP_SYS_NICE) && !capable(CAP_SYS_ADMIN))
		return -EPERM;
	if (class > IOPRIO_CLASS_IDLE || (class == IOPRIO_CLASS_NONE && level) || level >= IOPRIO_NR_LEVELS)
		return -EINVAL;
	return io_walk(which, who, ioprio);
}

long sys_ioprio_get(int which, int who)
{
	return io_walk(which, who, -1);
}
