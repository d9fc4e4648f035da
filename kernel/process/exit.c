/* SPDX-License-Identifier: MIT
 *
 * Problem: a thread ends; with the last one the process ends, its children need a parent, its parent
 * needs to know, and whoever waits reaps it exactly once.
 *
 * Idea: first give back what the thread owns while it can still sleep (memory, files), then leave the
 * lists. The last thread makes the process a zombie:
 *   alive --last thread--> zombie --wait4, or nobody cares--> reaped (gone from tree and tables)
 * A process's first task stays until the reaping, since the numbers hang on it.
 *
 * Contract: process_exit_group; process_priv.h. Statuses are as wait4 gives them.
 *
 * Locks: process_list_lock for the tree, siglock inside it for the threads.
 */
#include "process_priv.h"
#include "process_trace.h"
#include <task/account.h>
#include <task/hooks.h>
#include <process/hooks.h>
#include <arch/boot.h>
#include <arch/user.h>
#include <lib/string.h>
#include <linux/ptrace.h>
#include <process/ptrace.h>
#include <vfs/vfs.h>

/* ---- telling ---------------------------------------------------------------------------------------- */

static void fill_child_info(siginfo_t *info, struct process *p, int code, int status, struct process *to)
{
	struct process_usage u;

	process_usage(p, &u, NULL);
	memset(info, 0, sizeof(*info));
	info->si_signo = SIGCHLD;
	info->si_code = code;
	info->si_pid = pid_nr_in(p->pid, pid_ns_of(to->pid));
	info->si_uid = p->leader->cred->uid.v;
	info->si_status = status;
	info->si_utime = u.user_ns / 10000000; /* clock ticks of 100 Hz */
	info->si_stime = u.system_ns / 10000000;
}

void process_notify_parent(struct process *p, int code, int status)
{
	struct process *to = p->parent;
	int sig = code == CLD_STOPPED || code == CLD_CONTINUED || code == CLD_TRAPPED ? SIGCHLD : p->exit_signal;
	siginfo_t info;

	assert_held(&process_list_lock);
	if (!to)
		return;
	if (code == CLD_STOPPED || code == CLD_CONTINUED) {
		if (sighand_action(to, SIGCHLD).flags & SA_NOCLDSTOP)
			sig = 0;
	}
	if (sig > 0) {
		fill_child_info(&info, p, code, status, to);
		info.si_signo = sig;
		signal_send_process(sig, &info, to);
	}
	waitq_wake_all(&to->child_wait);
}

static void notify_exit(struct process *p)
{
	int status = p->exit_status, sig = status & 0x7f;
	int code = !sig ? CLD_EXITED : status & 0x80 ? CLD_DUMPED : CLD_KILLED;

	process_notify_parent(p, code, sig ? sig : status >> 8);
}

/* The parent said that it does not want to know (wait(2), notes on SIGCHLD). */
static bool is_unwanted(struct process *p)
{
	struct sigaction_kernel a;

	if (!p->parent)
		return true; /* a helper of the kernel's */
	if (pid_ns_is_ended_by(p->parent))
		return true;
	if (p->exit_signal != SIGCHLD)
		return false;
	a = sighand_action(p->parent, SIGCHLD);
	return a.handler == 1 || (a.flags & SA_NOCLDWAIT);
}

/* ---- reaping --------------------------------------------------------------------------------------------- */

void process_reap(struct process *p)
{
	struct pid *pgrp = p->pgrp, *session = p->session;

	assert_held(&process_list_lock);
	p->zombie = false;
	list_del_init(&p->sibling);
	list_del_init(&p->pgrp_link);
	list_del_init(&p->session_link);
	rcu_assign(p->pid->process, NULL);
	rcu_assign(p->pid->task, NULL);
	pid_check_unused(p->pid);
	if (pgrp != p->pid)
		pid_check_unused(pgrp);
	if (session != p->pid && session != pgrp)
		pid_check_unused(session);
	pid_put(pgrp);
	pid_put(session);
}

void process_bury(struct process *p)
{
	task_put(p->leader);
	process_put(p);
}

bool process_tell_end(struct process *p)
{
	bool unwanted;

	assert_held(&process_list_lock);
	notify_exit(p);
	unwanted = is_unwanted(p);
	if (unwanted)
		process_reap(p);
	return unwanted;
}

/* ---- the family ---------------------------------------------------------------------------------------------- */

static struct process *new_parent(struct process *p)
{
	struct process *reaper = pid_ns_of(p->pid)->reaper;

	for (struct process *q = p->parent; q && q != reaper; q = q->parent)
		if (q->is_subreaper && q->nr_threads)
			return q;
	return reaper == p ? pid_ns_first.reaper : reaper;
}

static bool has_stopped_member(struct pid *pgrp)
{
	struct process *p;

	list_for_each_entry (p, &pgrp->group, pgrp_link)
		if (p->stopped)
			return true;
	return false;
}

/* POSIX: a group that becomes orphaned while members are stopped is hung up and continued. f held. */
static bool becomes_orphaned(struct process *child, const struct process *gone)
{
	struct process *p;

	if (!has_stopped_member(child->pgrp) || child->session != gone->session || child->pgrp == gone->pgrp)
		return false;
	list_for_each_entry (p, &child->pgrp->group, pgrp_link)
		if (!p->zombie && p->parent && p->parent != gone && p->parent->pgrp != p->pgrp &&
		    p->parent->session == p->session)
			return false;
	return true;
}

static void send_locked_group(struct pid *pgrp, int sig)
{
	struct process *p;

	list_for_each_entry (p, &pgrp->group, pgrp_link)
		signal_send_process(sig, NULL, p);
}

/* f held. Zombies that their new parent ignores go to `buried` (linked by sibling). */
static void give_children_away(struct process *p, struct list *buried)
{
	struct process *to = new_parent(p), *c, *n;

	list_for_each_entry_safe (c, n, &p->children, sibling) {
		bool orphaned = becomes_orphaned(c, p);

		list_move_tail(&c->sibling, &to->children);
		c->parent = to;
		if (c->exit_signal > 0)
			c->exit_signal = SIGCHLD;
		if (c->death_signal && !c->zombie)
			signal_send_process(c->death_signal, NULL, c);
		if (orphaned) {
			send_locked_group(c->pgrp, SIGHUP);
			send_locked_group(c->pgrp, SIGCONT);
		}
		if (c->zombie && !ptrace_holds(c) && process_tell_end(c))
			list_add_tail(&c->sibling, buried);
	}
}

static void bury_list(struct list *buried)
{
	struct process *p, *n;

	list_for_each_entry_safe (p, n, buried, sibling)
		process_bury(p);
}

/* A reaper ends: so does its namespace, and nobody will wait for those that it has adopted. */
static void end_namespace(struct process *p)
{
	struct process *c, *n;
	LIST(buried);
	ulong irq;

	pid_ns_kill(pid_ns_of(p->pid));
	irq = process_list_begin();
	list_for_each_entry_safe (c, n, &p->children, sibling) {
		if (!c->zombie || ptrace_holds(c))
			continue;
		process_reap(c);
		list_add_tail(&c->sibling, &buried);
	}
	process_list_end(irq);
	bury_list(&buried);
	pid_ns_wait_empty(pid_ns_of(p->pid));
	if (pid_ns_ended_by(pid_ns_of(p->pid)))
		p->exit_status = pid_ns_ended_by(pid_ns_of(p->pid));
}

/* The process of current has no thread left. */
static void process_end(struct process *p)
{
	bool reaped = false, leads = process_leads_session(p) && p->tty;
	LIST(buried);
	ulong irq;

	timers_exit(p);
	if (pid_ns_first.reaper == p)
		panic("init has ended (status %d, signal %d)", p->exit_status >> 8, p->exit_status & 0x7f);
	if (pid_ns_of(p->pid)->reaper == p)
		end_namespace(p);
	if (leads && process_session_end)
		process_session_end(p);
	ptrace_release_all(p);
	irq = process_list_begin();
	give_children_away(p, &buried);
	p->zombie = true;
	waitq_wake_all(&p->pid->exit_waiters);
	if (ptrace_holds(p))
		ptrace_tell_end(p);
	else
		reaped = process_tell_end(p);
	process_list_end(irq);
	bury_list(&buried);
	if (reaped)
		process_bury(p);
}

/* ---- one thread ---------------------------------------------------------------------------------------------------
 */

static void complete_vfork(void)
{
	struct process *p = current->process;
	ulong irq = spin_lock_irqsave(&p->siglock);

	if (current->vfork_done)
		complete(current->vfork_done); /* under the lock: the parent may be leaving its stack */
	current->vfork_done = NULL;
	spin_unlock_irqrestore(&p->siglock, irq);
}

void exit_release_mm(void)
{
	struct mm *m = current->mm;
	u32 zero = 0;

	if (!m)
		return;
	futex_exit_robust();
	futex_pi_exit();
	if (current->clear_child_tid && atomic_read(&m->users) > 1 &&
	    !user_put(current->clear_child_tid, &zero, sizeof(zero)))
		futex_wake_addr(current->clear_child_tid, 1);
	current->clear_child_tid = NULL;
	complete_vfork();
}

static void leave_memory(void)
{
	struct mm *m = current->mm;
	struct process *p = current->process;
	u64 rss = (atomic_read(&m->rss_anon) + atomic_read(&m->rss_file));

	p->max_rss_pages = max(p->max_rss_pages, max(rss, m->hiwater_rss));
	exit_release_mm();
	mm_switch(NULL);
	mm_put(m);
}

void process_forget_thread(struct task *t)
{
	assert_held(&process_list_lock);
	rcu_assign(t->pid->task, NULL);
	pid_check_unused(t->pid);
}

/* Leaves the lists. True: it was the last one. */
static bool leave_process(struct process *p, int status)
{
	ulong irq = process_list_begin(), sig_irq = spin_lock_irqsave(&p->siglock);
	bool last, leader = p->leader == current;

	list_del_init(&current->thread_link);
	last = --p->nr_threads == 0;
	ptrace_thread_ends(status);
	if (leader && !p->group_exiting)
		p->exit_status = status;
	p->user_ns += current->user_ns;
	p->system_ns += current->system_ns;
	p->min_faults += current->min_faults;
	p->maj_faults += current->maj_faults;
	p->nvcsw += current->voluntary_switches;
	p->nivcsw += current->preempted_switches;
	group_stop_leave(p);
	signal_flush_task(current);
	if (last)
		signal_flush(p, ~0ULL);
	if (p->exec_thread || p->core)
		waitq_wake_all(&p->child_wait);
	spin_unlock_irqrestore(&p->siglock, sig_irq);
	if (!leader && !ptrace_is_traced(current)) /* its tracer still asks for it by number */
		process_forget_thread(current);
	process_list_end(irq);
	return last;
}

/* Signals of the process that this thread was chosen for go to another. */
static void start_exiting(struct process *p)
{
	ulong irq = spin_lock_irqsave(&p->siglock);
	struct task *t;

	current->flags |= TASK_F_EXITING;
	list_for_each_entry (t, &p->threads, thread_link)
		if (t != current && (p->sig_pending & ~t->sig_blocked) && !(t->flags & TASK_F_EXITING))
			signal_wake_thread(t, false);
	task_clear_work(current, WORK_SIGNAL);
	spin_unlock_irqrestore(&p->siglock, irq);
}

void process_exit_thread(int status)
{
	struct process *p = current->process;

	if (unlikely(READ_ONCE(p->core)))
		core_thread_ends();
	ptrace_event(PTRACE_EVENT_EXIT, status);
	start_exiting(p);
	task_work_run(); /* no more can come */
	if (trace_on(sched_process_exit))
		process_trace_exit();
	if (static_branch(&task_life_key))
		task_hooks->exit();
	if (unlikely(current->sem_undo))
		process_ipc_hooks->leave(current);
	if (current->mm)
		leave_memory();
	files_exit(current);
	fs_exit(current);
	ns_set_change(current, NULL);
	account_uncharge(current->cred->uid, ACCOUNT_TASKS, 1);
	tenant_task_exits(current); /* before anybody hears of the end: then he may remove the group */
	if (leave_process(p, status))
		process_end(p);
	task_put(current); /* the creator's reference: the process's membership */
	task_exit();
}

void process_exit_group(int status)
{
	struct process *p = current->process;
	ulong irq = spin_lock_irqsave(&p->siglock);

	if (p->group_exiting) {
		status = p->exit_status;
	} else {
		p->group_exiting = true;
		p->exit_status = status;
		p->stop_pending = p->stopped = false;
		signal_kill_others(p);
	}
	spin_unlock_irqrestore(&p->siglock, irq);
	process_exit_thread(status);
}
