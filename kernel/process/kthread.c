/* SPDX-License-Identifier: MIT
 *
 * Problem: ps, top, pgrep and perf want to name whatever runs, and some of it is the kernel itself.
 *
 * Idea: a kernel thread has a number of the first namespace like any other thread, and hangs on it, so that look-ups
 * (/proc, the scheduler's calls, perf_event_open) find it; it has no process. The thread that boots is number 2,
 * kthreadd, which programs know as the parent of all of them.
 *
 * Contract: the upcalls of task/task.h; kthread_parent_nr of process/process.h. Whoever looks up a task by number may
 * get one without a process.
 *
 * Locks: process_list_lock for hanging it on its number and taking it off.
 */
#include "process_priv.h"
#include <task/hooks.h>

int upcall_kthread_begin(struct task *t)
{
	struct pid *pid;
	int err = pid_create(&pid_ns_first, 0, &pid);
	ulong irq;

	if (err)
		return err;
	pid_get(pid);
	t->pid = pid;
	t->tid = pid_nr_global(pid);
	irq = process_list_begin();
	rcu_assign(pid->task, t);
	process_list_end(irq);
	if (static_branch(&task_life_key))
		task_hooks->renamed(t);
	return 0;
}

void upcall_kthread_end(void)
{
	ulong irq;

	if (static_branch(&task_life_key))
		task_hooks->exit();
	irq = process_list_begin();
	process_forget_thread(current);
	process_list_end(irq);
}

int kthread_parent_nr(const struct task *t)
{
	return t->tid == KTHREADD_NR ? 0 : KTHREADD_NR;
}
