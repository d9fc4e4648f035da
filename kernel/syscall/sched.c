/* SPDX-License-Identifier: MIT
 *
 * Problem: reading and changing how tasks are scheduled, with the rights that POSIX and Linux attach.
 *
 * Idea: find the task, check the caller, hand over to the scheduler, which applies at once.
 *
 * Contract: sched_setscheduler(2), sched_setattr(2), sched_setaffinity(2), getpriority(2).
 *
 * Locks: none; targets are counted.
 */
#include <abi/syscalls.h>
#include <arch/cpu.h>
#include <arch/numa.h>
#include <arch/user.h>
#include <lib/string.h>
#include <linux/capability.h>
#include <linux/resource.h>
#include <linux/sched.h>
#include <linux/sched/types.h>
#include <process/process.h>
#include <process/timers.h>
#include <task/sched.h>

#define RR_SLICE_NS (100 * NSEC_PER_MSEC)

static struct task *target(int pid)
{
	if (pid)
		return task_find_get(pid);
	task_get(current);
	return current;
}

static bool is_rt(int policy)
{
	return policy == SCHED_FIFO || policy == SCHED_RR;
}

static bool same_user(struct task *t)
{
	const struct cred *me = current->cred;

	return uid_eq(me->euid, t->cred->euid) || uid_eq(me->euid, t->cred->uid);
}

/* sched(7), "Privileges and resource limits". */
static bool may_set(struct task *t, int policy, int rt_priority, int nice)
{
	u64 rt_limit, nice_limit;

	if (capable(CAP_SYS_NICE))
		return true;
	if (!same_user(t))
		return false;
	rt_limit = t->process ? t->process->rlimits[RLIMIT_RTPRIO].rlim_cur : 0;
	nice_limit = t->process ? t->process->rlimits[RLIMIT_NICE].rlim_cur : 0;
	if (is_rt(policy) && (policy != t->policy && !rt_limit))
		return false;
	if (is_rt(policy) && rt_priority > t->rt_priority && (u64)rt_priority > rt_limit)
		return false;
	return is_rt(policy) || nice >= t->nice || (u64)(20 - nice) <= nice_limit;
}

static int check_policy(int policy, int rt_priority)
{
	switch (policy) {
	case SCHED_NORMAL:
	case SCHED_BATCH:
	case SCHED_IDLE: return rt_priority ? -EINVAL : 0;
	case SCHED_FIFO:
	case SCHED_RR: return rt_priority < 1 || rt_priority > 99 ? -EINVAL : 0;
	default: return -EINVAL;
	}
}

static int set_attr(int pid, int policy, int rt_priority, int nice, bool keep_nice, bool reset)
{
	struct task *t = target(pid);
	int err;

	if (!t)
		return -ESRCH;
	if (policy < 0)
		policy = t->policy;
	if (keep_nice)
		nice = t->nice;
	err = check_policy(policy, rt_priority);
	if (!err && !may_set(t, policy, rt_priority, nice))
		err = -EPERM;
	if (!err && t->reset_on_fork && !reset && !capable(CAP_SYS_NICE))
		err = -EPERM;
	if (!err)
		err = sched_set_attr(t, policy, rt_priority, nice);
	if (!err)
		t->reset_on_fork = reset;
	task_put(t);
	return err;
}

long sys_sched_setscheduler(int pid, int policy, const void __user *param)
{
	int priority;

	if (pid < 0 || policy < 0 || !param)
		return -EINVAL;
	if (user_get(&priority, param, sizeof(priority)))
		return -EFAULT;
	return set_attr(pid, policy & ~SCHED_RESET_ON_FORK, priority, 0, true, policy & SCHED_RESET_ON_FORK);
}

long sys_sched_setparam(int pid, const void __user *param)
{
	struct task *t;
	int priority;
	bool reset;

	if (pid < 0 || !param)
		return -EINVAL;
	if (user_get(&priority, param, sizeof(priority)))
		return -EFAULT;
	t = target(pid);
	if (!t)
		return -ESRCH;
	reset = t->reset_on_fork;
	task_put(t);
	return set_attr(pid, -1, priority, 0, true, reset);
}

long sys_sched_getscheduler(int pid)
{
	struct task *t = pid < 0 ? NULL : target(pid);
	long policy;

	if (!t)
		return pid < 0 ? -EINVAL : -ESRCH;
	policy = t->policy | (t->reset_on_fork ? SCHED_RESET_ON_FORK : 0);
	task_put(t);
	return policy;
}

long sys_sched_getparam(int pid, void __user *param)
{
	struct task *t = pid < 0 || !param ? NULL : target(pid);
	int priority;

	if (!t)
		return pid < 0 || !param ? -EINVAL : -ESRCH;
	priority = is_rt(t->policy) ? t->rt_priority : 0;
	task_put(t);
	return user_put(param, &priority, sizeof(priority)) ? -EFAULT : 0;
}

/* The times of a are those that are asked for, or (keep) t's. */
static int set_deadline(struct task *t, const struct sched_attr *a, bool keep)
{
	struct sched_deadline d = { a->sched_runtime, a->sched_deadline,
				    a->sched_period ? a->sched_period : a->sched_deadline };
	int err;

	if (keep)
		sched_get_deadline(t, &d);
	if (a->sched_priority || a->sched_flags & SCHED_FLAG_DL_OVERRUN)
		return -EINVAL;
	if (!capable(CAP_SYS_NICE))
		return -EPERM;
	err = sched_set_deadline(t, &d);
	if (!err)
		t->reset_on_fork = a->sched_flags & SCHED_FLAG_RESET_ON_FORK;
	return err;
}

long sys_sched_setattr(int pid, void __user *attr, u32 flags)
{
	struct sched_attr a;
	struct task *t;
	u32 size;
	int policy, err;

	if (pid < 0 || !attr || flags)
		return -EINVAL;
	if (user_get(&size, attr, sizeof(size)))
		return -EFAULT;
	if (!size)
		size = SCHED_ATTR_SIZE_VER0;
	if (size < SCHED_ATTR_SIZE_VER0 || size > PAGE_SIZE)
		return -E2BIG;
	memset(&a, 0, sizeof(a));
	if (user_get(&a, attr, min((size_t)size, sizeof(a))))
		return -EFAULT;
	if (a.sched_flags & ~(u64)SCHED_FLAG_ALL)
		return -EINVAL;
	t = target(pid);
	if (!t)
		return -ESRCH;
	policy = a.sched_flags & SCHED_FLAG_KEEP_POLICY ? t->policy : (int)a.sched_policy;
	if (policy == SCHED_DEADLINE)
		err = set_deadline(t, &a, a.sched_flags & SCHED_FLAG_KEEP_PARAMS);
	else
		err = set_attr(pid, policy < 0 ? SCHED_DEADLINE + 1 : policy, a.sched_priority,
			       clamp(a.sched_nice, -20, 19), a.sched_flags & SCHED_FLAG_KEEP_PARAMS,
			       a.sched_flags & SCHED_FLAG_RESET_ON_FORK);
	task_put(t);
	return err;
}

long sys_sched_getattr(int pid, void __user *attr, u32 size, u32 flags)
{
	struct sched_attr a = { .size = sizeof(a) };
	struct sched_deadline d;
	struct task *t;

	if (pid < 0 || !attr || flags || size < SCHED_ATTR_SIZE_VER0 || size > PAGE_SIZE)
		return -EINVAL;
	t = target(pid);
	if (!t)
		return -ESRCH;
	a.size = min((size_t)size, sizeof(a));
	a.sched_policy = t->policy;
	a.sched_flags = t->reset_on_fork ? SCHED_FLAG_RESET_ON_FORK : 0;
	sched_get_deadline(t, &d);
	a.sched_runtime = d.runtime_ns;
	a.sched_deadline = d.deadline_ns;
	a.sched_period = d.period_ns;
	if (is_rt(t->policy))
		a.sched_priority = t->rt_priority;
	else
		a.sched_nice = t->nice;
	task_put(t);
	return user_put(attr, &a, min((size_t)size, sizeof(a))) ? -EFAULT : 0;
}

long sys_sched_get_priority_max(int policy)
{
	return is_rt(policy) ? 99 : check_policy(policy, 0) && policy != SCHED_DEADLINE ? -EINVAL : 0;
}

long sys_sched_get_priority_min(int policy)
{
	return is_rt(policy) ? 1 : check_policy(policy, 0) && policy != SCHED_DEADLINE ? -EINVAL : 0;
}

long sys_sched_rr_get_interval(int pid, void __user *interval)
{
	struct task *t = pid < 0 ? NULL : target(pid);
	u64 ns;

	if (!t)
		return pid < 0 ? -EINVAL : -ESRCH;
	ns = t->policy == SCHED_RR                                    ? RR_SLICE_NS
	     : t->policy == SCHED_FIFO || t->policy == SCHED_DEADLINE ? 0
								      : 4 * NSEC_PER_MSEC;
	task_put(t);
	return timespec_put(interval, ns);
}

long sys_sched_yield(void)
{
	sched_yield_cpu();
	return 0;
}

long sys_sched_setaffinity(int pid, u32 len, const ulong __user *mask)
{
	cpumask_t want = 0;
	struct task *t;
	int err;

	if (user_get(&want, mask, min(len, (u32)sizeof(want))))
		return -EFAULT;
	t = pid < 0 ? NULL : target(pid);
	if (!t)
		return -ESRCH;
	err = same_user(t) || capable(CAP_SYS_NICE) ? sched_set_affinity(t, want) : -EPERM;
	task_put(t);
	return err;
}

long sys_sched_getaffinity(int pid, u32 len, ulong __user *mask)
{
	struct task *t;
	cpumask_t now;

	if (len < sizeof(now) || len % sizeof(ulong))
		return -EINVAL;
	t = pid < 0 ? NULL : target(pid);
	if (!t)
		return -ESRCH;
	now = t->affinity & cpu_online_mask();
	task_put(t);
	return user_put(mask, &now, sizeof(now)) ? -EFAULT : (long)sizeof(now);
}

/* ---- nice values ------------------------------------------------------------------------------------------ */

struct nice_walk {
	bool set;
	int nice, best, err;
};

static int nice_one(struct task *t, void *arg)
{
	struct nice_walk *w = arg;
	int err = 0;

	if (!w->set) {
		w->best = max(w->best, 20 - t->nice);
	} else if (!same_user(t) && !capable(CAP_SYS_NICE)) {
		err = -EPERM;
	} else if (!may_set(t, SCHED_NORMAL, 0, w->nice)) {
		err = -EACCES;
	} else {
		err = sched_set_attr(t, t->policy, t->rt_priority, w->nice);
	}
	w->err = w->err == -ESRCH || err ? err : w->err;
	return 0;
}

static bool selected(int which, int who, struct process *p)
{
	struct task *leader;
	bool yes;

	if (which == PRIO_PGRP)
		return who ? pid_nr(p->pgrp) == who : p->pgrp == current->process->pgrp;
	leader = process_leader_get(p);
	yes = leader && (who ? leader->cred->uid.v == (u32)who : uid_eq(leader->cred->uid, current->cred->uid));
	if (leader)
		task_put(leader);
	return yes;
}

static void walk(int which, int who, struct nice_walk *w)
{
	struct process *p;
	int nr = 1;

	w->err = -ESRCH;
	if (which == PRIO_PROCESS) {
		struct task *t = target(who);

		if (t) {
			nice_one(t, w);
			task_put(t);
		}
		return;
	}
	for (; (p = process_next(&nr)); nr++, process_put(p))
		if (selected(which, who, p))
			(void)process_for_each_thread(p, nice_one, w);
}

long sys_getpriority(int which, int who)
{
	struct nice_walk w = { 0 };

	if (which < PRIO_PROCESS || which > PRIO_USER)
		return -EINVAL;
	walk(which, who, &w);
	return w.best ? w.best : w.err;
}

long sys_setpriority(int which, int who, int nice)
{
	struct nice_walk w = { .set = true, .nice = clamp(nice, -20, 19) };

	if (which < PRIO_PROCESS || which > PRIO_USER)
		return -EINVAL;
	walk(which, who, &w);
	return w.err;
}

long sys_getcpu(u32 __user *cpu, u32 __user *node, void __user *cache)
{
	u32 here = cpu_id(), near = node_of_cpu(here);

	if (cpu && user_put(cpu, &here, sizeof(here)))
		return -EFAULT;
	return node && user_put(node, &near, sizeof(near)) ? -EFAULT : 0;
}
