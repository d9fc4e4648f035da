/* SPDX-License-Identifier: MIT
 *
 * Problem: signals arrive from anywhere (other processes, timers in interrupts, faults), for a thread
 * or for a whole process, and must be queued, merged, dropped or turned into a kill.
 *
 * Idea: pending signals are a bit mask and a list of siginfo, one pair a thread and one a process.
 * Sending decides at once what needs no user code: ignored signals vanish, SIGCONT and stop signals
 * cancel each other, a fatal signal without a core becomes a group exit with SIGKILL for each thread
 * (so that killable sleeps end). Else one thread that accepts it gets WORK_SIGNAL and is woken.
 *   standard signals   at most one pending each, its siginfo lost if memory is short
 *   real-time signals  queued each, in number order; EAGAIN beyond RLIMIT_SIGPENDING
 *
 * Contract: process/process.h. signal(7).
 *
 * Locks: siglock with irqsave; nothing inside but wait queues and the scheduler's.
 */
#include <task/user_ns.h>
#include "process_priv.h"
#include "process_trace.h"
#include <mm/upcalls.h>
#include <vfs/upcalls.h>
#include <lib/string.h>
#include <arch/user.h>
#include <process/ptrace.h>

static bool sig_is_realtime(int sig)
{
	return sig >= SIGRTMIN;
}

void signal_wake_thread(struct task *t, bool fatal)
{
	unsigned states = BIT(TASK_INTERRUPTIBLE);

	task_set_work(t, WORK_SIGNAL);
	if (fatal)
		states |= BIT(TASK_KILLABLE) | BIT(TASK_STOPPED) | BIT(TASK_TRACED) | BIT(TASK_FROZEN);
	task_wake_states(t, states);
}

void signal_recalc(struct task *t)
{
	struct process *p = t->process;

	assert_held(&p->siglock);
	if (((t->sig_pending | p->sig_pending) & ~t->sig_blocked) || (p->stop_pending && ptrace_joins_stop(t)) ||
	    (t->ptrace && ptrace_trap_wanted(t)) || p->group_exiting || tenant_is_freezing(t->tenant))
		task_set_work(t, WORK_SIGNAL);
	else if (t == current && t->work & WORK_SIGNAL)
		task_clear_work(t, WORK_SIGNAL);
}

void signal_freeze_kick(struct pid *pid)
{
	struct task *t;

	rcu_read_lock();
	t = rcu_deref(pid->task);
	if (t) {
		signal_wake_thread(t, false);
		if (!tenant_is_freezing(rcu_deref(t->tenant)))
			task_wake_states(t, BIT(TASK_FROZEN));
	}
	rcu_read_unlock();
}

bool upcall_signal_pending(struct task *t, bool fatal_only)
{
	if (!(READ_ONCE(t->work) & WORK_SIGNAL))
		return false;
	return !fatal_only || (READ_ONCE(t->sig_pending) & SIGMASK(SIGKILL));
}

u64 signal_pending_mask(struct task *t)
{
	return t->sig_pending | t->process->sig_pending;
}

/* ---- queues ------------------------------------------------------------------------------------------- */

static void entry_free(struct sigqueue *q, struct process *p)
{
	if (q->timer) {
		q->queued = false;
		list_init(&q->link);
		return;
	}
	p->sig_queued--;
	kfree(q);
}

static void flush_list(struct process *p, struct list *queue, u64 mask)
{
	struct sigqueue *q, *n;

	list_for_each_entry_safe (q, n, queue, link) {
		if (!(SIGMASK(q->info.si_signo) & mask))
			continue;
		list_del(&q->link);
		entry_free(q, p);
	}
}

void signal_flush(struct process *p, u64 mask)
{
	struct task *t;

	p->sig_pending &= ~mask;
	flush_list(p, &p->sig_queue, mask);
	list_for_each_entry (t, &p->threads, thread_link) {
		t->sig_pending &= ~mask;
		flush_list(p, &t->sig_queue, mask);
	}
}

void signal_flush_task(struct task *t)
{
	t->sig_pending = 0;
	flush_list(t->process, &t->sig_queue, ~0ULL);
}

static int enqueue(struct process *p, struct list *queue, u64 *pending, int sig, const siginfo_t *info)
{
	struct sigqueue *q = NULL;

	if (p->sig_queued < p->rlimits[RLIMIT_SIGPENDING].rlim_cur || !sig_is_realtime(sig))
		q = kzalloc(sizeof(*q), ALLOC_ATOMIC | ALLOC_CHARGED);
	if (!q && sig_is_realtime(sig) && info && info->si_code != SI_USER)
		return -EAGAIN;
	if (q) {
		if (info) {
			q->info = *info;
		} else {
			q->info.si_code = SI_KERNEL;
		}
		q->info.si_signo = sig;
		list_add_tail(&q->link, queue);
		p->sig_queued++;
	}
	*pending |= SIGMASK(sig);
	return 0;
}

/* Takes `sig` out of one pair of mask and list. */
static void collect(struct process *p, struct list *queue, u64 *pending, int sig, siginfo_t *out)
{
	struct sigqueue *q, *first = NULL;
	bool more = false;

	list_for_each_entry (q, queue, link) {
		if (q->info.si_signo != sig)
			continue;
		if (first) {
			more = true;
			break;
		}
		first = q;
	}
	if (!more)
		*pending &= ~SIGMASK(sig);
	memset(out, 0, sizeof(*out));
	out->si_signo = sig;
	if (!first)
		return;
	*out = first->info;
	list_del(&first->link);
	if (first->timer)
		timer_dequeued(first->timer, out);
	entry_free(first, p);
}

/* Faults of the program itself come first, then by number. */
static int next_signal(u64 set)
{
	u64 sync = set & SIG_MASK_SYNC;

	if (!set)
		return 0;
	return __builtin_ctzll(sync ? sync : set) + 1;
}

int signal_dequeue_locked(struct task *t, u64 want, siginfo_t *out)
{
	struct process *p = t->process;
	int sig = next_signal(t->sig_pending & want);

	assert_held(&p->siglock);
	if (sig) {
		collect(p, &t->sig_queue, &t->sig_pending, sig, out);
	} else {
		sig = next_signal(p->sig_pending & want);
		if (sig)
			collect(p, &p->sig_queue, &p->sig_pending, sig, out);
	}
	signal_recalc(t);
	return sig;
}

int signal_dequeue(u64 want, siginfo_t *out)
{
	ulong irq = spin_lock_irqsave(&current->process->siglock);
	int sig = signal_dequeue_locked(current, want & ~SIG_MASK_NEVER_BLOCKED, out);

	spin_unlock_irqrestore(&current->process->siglock, irq);
	return sig;
}

/* ---- sending ---------------------------------------------------------------------------------------------- */

static ulong handler_of(struct process *p, int sig)
{
	return READ_ONCE(p->sighand->actions[sig - 1].handler);
}

/* Init hears only what it has a handler for, so that nobody kills it by accident: nobody of its own namespace; from
 * outside, and from the kernel, SIGKILL and SIGSTOP work. info NULL: from the kernel. */
static bool is_protected_init(struct process *p, int sig, const siginfo_t *info)
{
	struct pid_ns *ns = pid_ns_of(p->pid);

	if (ns->reaper != p || handler_of(p, sig))
		return false;
	return ns == &pid_ns_first || !(SIG_MASK_NEVER_BLOCKED & SIGMASK(sig)) ||
	       (info && current->process && pid_nr_in(current->process->pid, ns));
}

static bool is_ignored(struct process *p, struct task *t, int sig, const siginfo_t *info)
{
	ulong h = handler_of(p, sig);

	if (ptrace_is_traced(t) && sig != SIGKILL)
		return false;
	if ((t->sig_blocked | t->sig_waited) & SIGMASK(sig))
		return false; /* init, too, may block what it has no handler for and wait for it, or read it */
	if (is_protected_init(p, sig, info))
		return true;
	return h == 1 || (h == 0 && (SIG_MASK_IGNORE & SIGMASK(sig)));
}

static bool is_fatal(struct process *p, struct task *t, int sig)
{
	return handler_of(p, sig) == 0 && !(t->sig_waited & SIGMASK(sig)) &&
	       !((SIG_MASK_IGNORE | SIG_MASK_STOP | SIG_MASK_CORE) & SIGMASK(sig));
}

static bool wants(struct task *t, int sig)
{
	return !(t->sig_blocked & SIGMASK(sig)) && !(t->flags & TASK_F_EXITING);
}

/* The thread that shall handle a process's signal: the first thread if it accepts it, else any. NULL: all block it. */
static struct task *choose_thread(struct process *p, int sig)
{
	struct task *t;

	if (p->leader && !list_empty(&p->leader->thread_link) && wants(p->leader, sig))
		return p->leader;
	list_for_each_entry (t, &p->threads, thread_link)
		if (wants(t, sig))
			return t;
	return NULL;
}

static void resume_stopped(struct process *p)
{
	struct task *t;

	if (!p->stop_pending)
		return;
	p->wait_event = p->stopped ? CLD_CONTINUED : 0;
	p->cont_told = false;
	p->stop_pending = p->stopped = false;
	list_for_each_entry (t, &p->threads, thread_link) {
		task_set_work(t, WORK_SIGNAL);
		task_wake_states(t, BIT(TASK_STOPPED) | BIT(TASK_TRACED));
	}
}

/* Stop signals and SIGCONT cancel each other, whether or not they are blocked or ignored. */
static void prepare(struct process *p, int sig)
{
	if (sig == SIGCONT) {
		signal_flush(p, SIG_MASK_STOP);
		resume_stopped(p);
	} else if (SIG_MASK_STOP & SIGMASK(sig)) {
		signal_flush(p, SIGMASK(SIGCONT));
	}
}

void signal_kill_others(struct process *p)
{
	struct task *t;

	assert_held(&p->siglock);
	list_for_each_entry (t, &p->threads, thread_link) {
		if (t == current || (t->flags & TASK_F_EXITING))
			continue;
		t->sig_pending |= SIGMASK(SIGKILL);
		signal_wake_thread(t, true);
	}
}

/* A fatal signal that needs no core: every thread dies now. */
static void kill_group(struct process *p, int sig)
{
	struct task *t;

	p->group_exiting = true;
	p->exit_status = sig;
	p->stop_pending = p->stopped = false;
	list_for_each_entry (t, &p->threads, thread_link) {
		t->sig_pending |= SIGMASK(SIGKILL);
		signal_wake_thread(t, true);
	}
}

enum { TOLD_DELIVERED, TOLD_IGNORED, TOLD_PENDING, TOLD_OVERFLOW };

static void told(int sig, const siginfo_t *info, struct task *t, bool group, int result)
{
	if (trace_on(signal_generate))
		process_trace_signal(sig, info, t, group, result);
}

/* target: the thread, or NULL for the process. siglock held. */
static int send_locked(int sig, const siginfo_t *info, struct process *p, struct task *target)
{
	struct list *queue = target ? &target->sig_queue : &p->sig_queue;
	u64 *pending = target ? &target->sig_pending : &p->sig_pending;
	struct task *t;
	int err;

	prepare(p, sig);
	t = target ? target : choose_thread(p, sig);
	if (sig == SIGKILL && p->core)
		core_interrupt(p);
	if (p->group_exiting || !p->leader)
		return 0;
	if (is_ignored(p, t ? t : p->leader, sig, info))
		return told(sig, info, t ? t : p->leader, !target, TOLD_IGNORED), 0;
	if (!sig_is_realtime(sig) && (*pending & SIGMASK(sig)))
		return told(sig, info, t ? t : p->leader, !target, TOLD_PENDING), 0;
	err = enqueue(p, queue, pending, sig, info);
	told(sig, info, t ? t : p->leader, !target, err ? TOLD_OVERFLOW : TOLD_DELIVERED);
	if (err)
		return err;
	if (waitq_active(&p->signal_wait))
		waitq_wake_all(&p->signal_wait);
	if (!t || !wants(t, sig))
		return 0;
	if (sig == SIGKILL || (is_fatal(p, t, sig) && !ptrace_is_traced(t)))
		kill_group(p, sig);
	else
		signal_wake_thread(t, false);
	return 0;
}

static int send(int sig, const siginfo_t *info, struct process *p, struct task *target)
{
	ulong irq;
	int err;

	if (sig < 0 || sig > 64)
		return -EINVAL;
	irq = spin_lock_irqsave(&p->siglock);
	if (target ? list_empty(&target->thread_link) : !p->nr_threads && !p->zombie)
		err = -ESRCH;
	else
		err = sig && p->nr_threads ? send_locked(sig, info, p, target) : 0;
	spin_unlock_irqrestore(&p->siglock, irq);
	return err;
}

int signal_send_task(int sig, const siginfo_t *info, struct task *t)
{
	return t->process ? send(sig, info, t->process, t) : -EPERM;
}

int signal_send_process(int sig, const siginfo_t *info, struct process *p)
{
	return send(sig, info, p, NULL);
}

int signal_send_group(int sig, const siginfo_t *info, struct pid *pgrp)
{
	ulong irq = process_list_begin();
	int err = -ESRCH;
	struct process *p;

	list_for_each_entry (p, &pgrp->group, pgrp_link) {
		int one = send(sig, info, p, NULL);

		if (err == -ESRCH || !one)
			err = one;
	}
	process_list_end(irq);
	return err;
}

int signal_send_timer(struct sigqueue *q, struct process *p, struct task *t)
{
	int sig = q->info.si_signo, result = 1;
	ulong irq = spin_lock_irqsave(&p->siglock);
	struct task *to = t && !list_empty(&t->thread_link) ? t : choose_thread(p, sig);

	if (!q->queued && p->nr_threads && !p->group_exiting && p->leader &&
	    !is_ignored(p, to ? to : p->leader, sig, NULL)) {
		q->queued = true;
		list_add_tail(&q->link, t ? &t->sig_queue : &p->sig_queue);
		*(t ? &t->sig_pending : &p->sig_pending) |= SIGMASK(sig);
		if (waitq_active(&p->signal_wait))
			waitq_wake_all(&p->signal_wait);
		if (to && wants(to, sig)) {
			if (is_fatal(p, to, sig) && !ptrace_is_traced(to))
				kill_group(p, sig);
			else
				signal_wake_thread(to, false);
		}
		result = 0;
	}
	spin_unlock_irqrestore(&p->siglock, irq);
	return result;
}

void signal_release_timer(struct sigqueue *q, struct process *p)
{
	ulong irq = spin_lock_irqsave(&p->siglock);

	if (q->queued)
		list_del_init(&q->link);
	q->queued = false;
	spin_unlock_irqrestore(&p->siglock, irq);
}

/* ---- faults of current ---------------------------------------------------------------------------------------- */

/* A blocked or ignored fault would come back forever: the default action it is. */
void signal_force_info(int sig, const siginfo_t *info)
{
	struct process *p = current->process;
	ulong irq = spin_lock_irqsave(&p->siglock), inner;
	struct sigaction_kernel *a = &p->sighand->actions[sig - 1];

	inner = spin_lock_irqsave(&p->sighand->lock);
	if (a->handler == 1 || (current->sig_blocked & SIGMASK(sig)) || sig == SIGKILL)
		a->handler = 0;
	spin_unlock_irqrestore(&p->sighand->lock, inner);
	current->sig_blocked &= ~SIGMASK(sig);
	if (!p->group_exiting) {
		if (!(current->sig_pending & SIGMASK(sig)))
			(void)!enqueue(p, &current->sig_queue, &current->sig_pending, sig, info);
		current->sig_pending |= SIGMASK(sig);
		if (sig == SIGKILL)
			kill_group(p, sig);
	}
	task_set_work(current, WORK_SIGNAL);
	spin_unlock_irqrestore(&p->siglock, irq);
}

void signal_force(int sig, int code, ulong addr)
{
	siginfo_t info;

	memset(&info, 0, sizeof(info));
	info.si_signo = sig;
	info.si_code = code;
	info.si_addr = (void *)addr;
	signal_force_info(sig, &info);
}

void upcall_fault_signal(int sig, int code, ulong addr)
{
	signal_force(sig, code ? code : SI_KERNEL, addr);
}

/* As if the program had sent it to itself. */
void upcall_vfs_signal(int sig)
{
	siginfo_t info;

	memset(&info, 0, sizeof(info));
	info.si_signo = sig;
	info.si_code = SI_USER;
	info.si_pid = pid_nr(current->process->pid);
	info.si_uid = user_out(current->cred->uid);
	signal_send_task(sig, &info, current);
}

/* ---- masks --------------------------------------------------------------------------------------------------------
 */

void signal_set_blocked(u64 mask)
{
	struct process *p = current->process;
	ulong irq = spin_lock_irqsave(&p->siglock);
	u64 newly = mask & ~current->sig_blocked & p->sig_pending;

	current->sig_blocked = mask & ~SIG_MASK_NEVER_BLOCKED;
	if (newly && p->nr_threads > 1) { /* somebody else may take what we no longer accept */
		struct task *t;

		list_for_each_entry (t, &p->threads, thread_link)
			if (t != current && (newly & ~t->sig_blocked) && !(t->flags & TASK_F_EXITING))
				signal_wake_thread(t, false);
	}
	signal_recalc(current);
	spin_unlock_irqrestore(&p->siglock, irq);
}

ulong process_signal_handler(struct process *p, int sig)
{
	ulong irq = spin_lock_irqsave(&p->siglock), h;

	h = p->sighand ? p->sighand->actions[sig - 1].handler : 0;
	spin_unlock_irqrestore(&p->siglock, irq);
	return h;
}

bool signal_is_ignored(int sig)
{
	return (current->sig_blocked & SIGMASK(sig)) || handler_of(current->process, sig) == 1;
}

int signal_mask_begin(const u64 __user *set, size_t size)
{
	u64 mask;

	if (!set)
		return 0;
	if (size != sizeof(mask))
		return -EINVAL;
	if (user_get(&mask, set, sizeof(mask)))
		return -EFAULT;
	current->sig_saved = current->sig_blocked;
	current->sig_restore = true;
	signal_set_blocked(mask);
	return 0;
}

void signal_mask_end(bool interrupted)
{
	if (!current->sig_restore || interrupted)
		return;
	current->sig_restore = false;
	signal_set_blocked(current->sig_saved);
}

/* ---- waiting and actions --------------------------------------------------------------------------------- */

int signal_pause(void)
{
	for (;;) {
		sched_set_state(TASK_INTERRUPTIBLE);
		if (signal_pending(current))
			break;
		sched_sleep();
	}
	sched_set_state(TASK_RUNNING);
	return -ERESTARTNOHAND;
}

static void set_waited(u64 mask)
{
	ulong irq = spin_lock_irqsave(&current->process->siglock);

	current->sig_waited = mask;
	spin_unlock_irqrestore(&current->process->siglock, irq);
}

/* While it waits, the wanted signals are not blocked, so that their arrival wakes it; they are taken before a handler
 * can run. */
int signal_wait(u64 want, u64 deadline_ns, siginfo_t *out)
{
	struct process *p = current->process;
	u64 blocked = current->sig_blocked;
	bool late = false;
	int sig;

	want &= ~SIG_MASK_NEVER_BLOCKED;
	sig = signal_dequeue(want, out);
	if (sig || !deadline_ns)
		return sig ? sig : -EAGAIN;
	set_waited(want & blocked);
	signal_set_blocked(blocked & ~want);
	for (;;) {
		ulong irq;

		sched_set_state(TASK_INTERRUPTIBLE);
		irq = spin_lock_irqsave(&p->siglock);
		sig = signal_dequeue_locked(current, want, out);
		spin_unlock_irqrestore(&p->siglock, irq);
		if (sig || late || signal_pending(current))
			break;
		late = sched_sleep_until(deadline_ns) == -ETIME;
	}
	sched_set_state(TASK_RUNNING);
	signal_set_blocked(blocked);
	set_waited(0);
	return sig ? sig : late ? -EAGAIN : -EINTR;
}

int signal_action(int sig, const struct sigaction_kernel *new, struct sigaction_kernel *old)
{
	struct process *p = current->process;
	struct sigaction_kernel *a = &p->sighand->actions[sig - 1];
	ulong irq = spin_lock_irqsave(&p->siglock);
	bool ignored = false;

	spin_lock(&p->sighand->lock);
	*old = *a;
	if (new) {
		*a = *new;
		a->mask &= ~SIG_MASK_NEVER_BLOCKED;
		/* POSIX: what is ignored from now on is no longer pending. */
		ignored = a->handler == 1 || (!a->handler && (SIG_MASK_IGNORE & SIGMASK(sig)));
		if (ignored)
			signal_flush(p, SIGMASK(sig));
	}
	spin_unlock(&p->sighand->lock);
	if (ignored)
		signal_recalc(current);
	spin_unlock_irqrestore(&p->siglock, irq);
	return 0;
}
