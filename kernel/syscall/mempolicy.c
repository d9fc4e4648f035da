/* SPDX-License-Identifier: MIT
 *
 * Problem: programs ask where their memory lies and where it shall lie (numactl, ps, allocators), and in which order
 * their disk requests shall go.
 *
 * Idea: there is one memory node, so every policy that names node 0 is fulfilled and one that does not cannot be; what
 * a program sets is kept and given back. Priorities of disk requests are kept a task the same way; no queue reads them
 * yet.
 *
 * Contract: set_mempolicy(2), get_mempolicy(2), mbind(2), move_pages(2), migrate_pages(2), ioprio_set(2).
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

#define NODE_BITS_MAX (PAGE_SIZE * 8)

/* ---- memory policies --------------------------------------------------------------------------------------- */

/* The nodes of a user mask; bits of nodes that do not exist give -EINVAL. */
static int get_nodes(u64 *out, const ulong __user *from, ulong maxnode)
{
	*out = 0;
	if (!from || maxnode <= 1)
		return 0;
	maxnode--; /* the ABI counts one too many */
	if (maxnode > NODE_BITS_MAX)
		return -EINVAL;
	for (ulong bit = 0; bit < maxnode; bit += 64) {
		ulong word;

		if (user_get(&word, from + bit / 64, sizeof(word)))
			return -EFAULT;
		if (maxnode - bit < 64)
			word &= (1UL << (maxnode - bit)) - 1;
		if (bit ? word : word & ~1UL)
			return -EINVAL;
		*out |= bit ? 0 : word;
	}
	return 0;
}

static int check_policy(int mode, u64 nodes)
{
	int flags = mode & MPOL_MODE_FLAGS;

	mode &= ~MPOL_MODE_FLAGS;
	if (mode < 0 || mode >= MPOL_MAX ||
	    (flags & (MPOL_F_STATIC_NODES | MPOL_F_RELATIVE_NODES)) == (MPOL_F_STATIC_NODES | MPOL_F_RELATIVE_NODES))
		return -EINVAL;
	if (mode == MPOL_DEFAULT || mode == MPOL_LOCAL)
		return nodes || (mode == MPOL_LOCAL && flags) ? -EINVAL : 0;
	return mode == MPOL_PREFERRED || nodes ? 0 : -EINVAL;
}

long sys_set_mempolicy(int mode, const ulong __user *nmask, ulong maxnode)
{
	u64 nodes;
	int err = get_nodes(&nodes, nmask, maxnode);

	if (!err)
		err = check_policy(mode, nodes);
	if (err)
		return err;
	current->mem_policy = mode;
	current->mem_nodes = nodes;
	return 0;
}

static int range_is_mapped(ulong start, size_t len)
{
	struct mm *m = current->mm;
	ulong at = start, end = start + ALIGN_UP(len, PAGE_SIZE);

	if (start % PAGE_SIZE || end < start)
		return -EINVAL;
	read_lock(&m->lock);
	for (struct vma *v = mm_find_vma(m, at); at < end && v && v->start <= at; v = mm_next_vma(v))
		at = v->end;
	read_unlock(&m->lock);
	return at < end ? -EFAULT : 0;
}

long sys_mbind(ulong start, size_t len, ulong mode, const ulong __user *nmask, ulong maxnode, u32 flags)
{
	u64 nodes;
	int err;

	if (flags & ~(u32)MPOL_MF_VALID)
		return -EINVAL;
	if ((flags & MPOL_MF_MOVE_ALL) && !capable(CAP_SYS_NICE))
		return -EPERM;
	err = get_nodes(&nodes, nmask, maxnode);
	if (!err)
		err = check_policy((int)mode, nodes);
	return err ? err : range_is_mapped(start, len);
}

/* Clears maxnode bits of the user's mask but those of `nodes`. */
static int put_nodes(ulong __user *to, ulong maxnode, u64 nodes)
{
	if (!to)
		return 0;
	if (maxnode < 1 || maxnode > NODE_BITS_MAX)
		return -EINVAL;
	for (ulong bit = 0; bit < maxnode; bit += 64) {
		ulong word = bit ? 0 : nodes;

		if (user_put(to + bit / 64, &word, sizeof(word)))
			return -EFAULT;
	}
	return 0;
}

long sys_get_mempolicy(int __user *policy, ulong __user *nmask, ulong maxnode, ulong addr, ulong flags)
{
	int value = current->mem_policy;
	u64 nodes = current->mem_nodes;

	if (flags & ~(ulong)(MPOL_F_NODE | MPOL_F_ADDR | MPOL_F_MEMS_ALLOWED))
		return -EINVAL;
	if (flags & MPOL_F_MEMS_ALLOWED) {
		if (flags & (MPOL_F_NODE | MPOL_F_ADDR))
			return -EINVAL;
		value = 0;
		nodes = 1;
	} else if (flags & MPOL_F_ADDR) {
		if (range_is_mapped(ALIGN_DOWN(addr, PAGE_SIZE), 1))
			return -EFAULT;
	} else if (addr || ((flags & MPOL_F_NODE) && (value & ~MPOL_MODE_FLAGS) != MPOL_INTERLEAVE)) {
		return -EINVAL;
	}
	if (flags & MPOL_F_NODE)
		value = 0;
	if (policy && user_put(policy, &value, sizeof(value)))
		return -EFAULT;
	return put_nodes(nmask, maxnode, nodes);
}

long sys_migrate_pages(int pid, ulong maxnode, const ulong __user *from, const ulong __user *to)
{
	struct task *t;
	u64 a, b;
	bool may;
	int err = get_nodes(&a, from, maxnode);

	if (!err)
		err = get_nodes(&b, to, maxnode);
	if (err)
		return err;
	t = pid ? task_find_get(pid) : current;
	if (!t)
		return -ESRCH;
	may = process_may_look(t);
	if (pid)
		task_put(t);
	return may ? 0 : -EPERM;
}

/* Where a page lies: node 0, or -ENOENT without a page, -EFAULT without a mapping. */
static int node_of_page(struct mm *m, ulong addr)
{
	u8 there;

	if (mm_resident(m, ALIGN_DOWN(addr, PAGE_SIZE), 1, &there))
		return -EFAULT;
	return there & 1 ? 0 : -ENOENT;
}

long sys_move_pages(int pid, ulong nr_pages, void __user *pages, const int __user *nodes, int __user *status, int flags)
{
	struct task *t;
	struct mm *m;
	int err = 0;

	if (flags & ~(MPOL_MF_MOVE | MPOL_MF_MOVE_ALL))
		return -EINVAL;
	if ((flags & MPOL_MF_MOVE_ALL) && !capable(CAP_SYS_NICE))
		return -EPERM;
	t = pid ? task_find_get(pid) : current;
	if (!t)
		return -ESRCH;
	m = process_may_look(t) ? mm_of_task(t) : NULL;
	err = m ? 0 : process_may_look(t) ? -EINVAL : -EPERM;
	if (pid)
		task_put(t);
	for (ulong i = 0; !err && i < nr_pages; i++) {
		int node = 0, where;
		ulong addr;

		if (user_get(&addr, (ulong __user *)pages + i, sizeof(addr)) ||
		    (nodes && user_get(&node, nodes + i, sizeof(node)))) {
			err = -EFAULT;
		} else if (node) {
			err = -ENODEV;
		} else {
			where = node_of_page(m, addr);
			err = user_put(status + i, &where, sizeof(where)) ? -EFAULT : 0;
		}
	}
	if (m)
		mm_put(m);
	return err;
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
