/* SPDX-License-Identifier: MIT
 *
 * Problem: a debugger stops another process's threads at well-defined points, looks, changes, lets them run, and must
 * never be left with a thread that runs while it is being looked at, nor leave one stopped for good when the debugger
 * dies.
 *
 * Idea: the tracee does all the stopping itself, at points where its registers lie on its kernel stack and it holds no
 * lock; the tracer only sets fields of the link and wakes it. One function, stop(), is behind every kind of stop.
 *   running --stop()--> stopped --resume, detach, SIGKILL, tracer's end--> running
 *                          \--listen--> stopped until the group stop ends --> trap
 * A request freezes a stopped tracee, so that a SIGKILL from elsewhere waits until the request is done.
 * A traced thread that ends leaves its link with the tracer until wait4 takes the status; a whole process whose tracer
 * is not its parent is shown to the tracer first and to the parent after that.
 *
 * Contract: process/ptrace.h; ptrace(2).
 *
 * Locks: process_list_lock for links; siglock inside it for signals.
 */
#include "process_priv.h"
#include <core/clock.h>
#include <lib/string.h>
#include <linux/ptrace.h>
#include <linux/sched.h>
#include <process/ptrace.h>

#define FLAG_TRAP    0x100 /* EFLAGS.TF */
#define XFEATURES_AT 464   /* of the software bytes: what the state has */

ulong thread_user_word(const struct task *t, unsigned word)
{
	if (word < sizeof(struct regs) / 8)
		return ((const ulong *)task_regs((struct task *)t))[word];
	return word == WORD_FS_BASE ? t->arch.fs_base : word == WORD_GS_BASE ? t->arch.gs_base : 0;
}

int thread_user_fpu(struct task *t, void *buf, size_t bytes)
{
	u64 features = arch_fpu_features();
	int err = arch_fpu_get(t, buf, bytes);

	if (!err && bytes > XFEATURES_AT)
		memcpy((char *)buf + XFEATURES_AT, &features, sizeof(features));
	return err;
}

/* ---- stopping ------------------------------------------------------------------------------------------- */

static bool is_killed(const struct task *t)
{
	return READ_ONCE(t->sig_pending) & SIGMASK(SIGKILL);
}

static bool may_leave(const struct ptrace_link *l)
{
	if (!READ_ONCE(l->stopped))
		return true;
	if (READ_ONCE(l->frozen))
		return false;
	return is_killed(l->task) || (READ_ONCE(l->listening) && !READ_ONCE(l->task->process->stop_pending));
}

static void tell_tracer(struct ptrace_link *l, int code, int status)
{
	struct process *to = l->tracer;
	siginfo_t info;

	assert_held(&process_list_lock);
	memset(&info, 0, sizeof(info));
	info.si_signo = SIGCHLD;
	info.si_code = code;
	info.si_pid = pid_nr_in(l->task->pid, pid_ns_of(to->pid));
	info.si_uid = l->task->cred->uid.v;
	info.si_status = status;
	if (code != CLD_TRAPPED || !(sighand_action(to, SIGCHLD).flags & SA_NOCLDSTOP))
		signal_send_process(SIGCHLD, &info, to);
	waitq_wake_all(&to->child_wait);
}

static void step_off(struct ptrace_link *l)
{
	if (l->step)
		task_regs(l->task)->flags &= ~(ulong)FLAG_TRAP;
	l->step = false;
}

/* The signal that the tracer left; -1: not traced, or dying. info NULL: not a signal's stop. */
static int stop_traced(int status, siginfo_t *info, ulong message, u8 op)
{
	ulong irq = process_list_begin();
	struct ptrace_link *l = current->ptrace;
	int sig;

	if (!ptrace_is_traced(current) || is_killed(current)) {
		process_list_end(irq);
		return -1;
	}
	memset(&l->info, 0, sizeof(l->info));
	if (info)
		l->info = *info;
	l->status = status;
	l->message = message;
	l->syscall_op = op;
	l->told = l->listening = l->want_trap = false;
	l->signal = 0;
	l->stopped = true;
	step_off(l);
	sched_set_state(TASK_TRACED);
	tell_tracer(l, CLD_TRAPPED, status & 0x7f);
	process_list_end(irq);
	for (;;) {
		sched_set_state(TASK_TRACED);
		if (may_leave(l))
			break;
		sched_sleep();
	}
	sched_set_state(TASK_RUNNING);
	irq = process_list_begin();
	if (l->stopped && l->listening)
		l->want_trap = true;
	l->stopped = l->listening = false;
	sig = l->signal;
	if (info && l->info.si_signo)
		*info = l->info;
	process_list_end(irq);
	return sig;
}

static int stop(int status, siginfo_t *info, ulong message, u8 op)
{
	int sig;

	tenant_task_stops(current, true);
	sig = stop_traced(status, info, message, op);
	tenant_task_stops(current, false);
	return sig;
}

/* A stop that is not a signal's: what the tracer wants delivered is sent. */
static void stop_and_send(int status, ulong message, u8 op)
{
	int sig = stop(status, NULL, message, op);

	if (sig > 0)
		signal_send_task(sig, NULL, current);
}

static unsigned options_of(const struct task *t)
{
	const struct ptrace_link *l = t->ptrace;

	return ptrace_is_traced(t) ? READ_ONCE(l->options) : 0;
}

bool ptrace_wants_event(unsigned event)
{
	return options_of(current) & BIT(event);
}

void ptrace_event(unsigned event, ulong message)
{
	if (ptrace_wants_event(event))
		stop_and_send(SIGTRAP | event << 8, message, PTRACE_SYSCALL_INFO_NONE);
}

void ptrace_syscall(const struct regs *r, u8 op)
{
	unsigned good = options_of(current) & PTRACE_O_TRACESYSGOOD ? 0x80 : 0;

	stop_and_send(SIGTRAP | good, op, op);
}

void ptrace_exec(int old_nr)
{
	const struct ptrace_link *l = current->ptrace;

	if (!ptrace_is_traced(current))
		return;
	if (ptrace_wants_event(PTRACE_EVENT_EXEC))
		ptrace_event(PTRACE_EVENT_EXEC, old_nr);
	else if (!l->seized)
		signal_send_task(SIGTRAP, &(siginfo_t){ .si_signo = SIGTRAP, .si_code = SI_USER }, current);
}

int ptrace_signal(int sig, siginfo_t *info)
{
	int got = stop(sig, info, 0, PTRACE_SYSCALL_INFO_NONE);

	if (got < 0)
		return sig;
	if (got && got != info->si_signo) {
		memset(info, 0, sizeof(*info));
		info->si_signo = got;
		info->si_code = SI_USER;
	}
	return got;
}

bool ptrace_joins_stop(const struct task *t)
{
	const struct ptrace_link *l = t->ptrace;

	return t->process->stop_pending && !(ptrace_is_traced(t) && l->group_stop == t->process->stop_gen);
}

bool ptrace_group_stop(int sig)
{
	struct ptrace_link *l = current->ptrace;

	if (!ptrace_is_traced(current))
		return false;
	l->group_stop = current->process->stop_gen;
	return stop(sig | (l->seized ? PTRACE_EVENT_STOP << 8 : 0), NULL, 0, PTRACE_SYSCALL_INFO_NONE) >= 0;
}

bool ptrace_trap_wanted(const struct task *t)
{
	const struct ptrace_link *l = t->ptrace;

	return ptrace_is_traced(t) && READ_ONCE(l->want_trap);
}

void ptrace_trap(void)
{
	int sig = current->process->stop_pending ? current->process->stop_signal : SIGTRAP;

	stop_and_send(sig | PTRACE_EVENT_STOP << 8, 0, PTRACE_SYSCALL_INFO_NONE);
}

/* ---- the tracer's side ------------------------------------------------------------------------------------- */

static void attach(struct ptrace_link *l, struct task *t, struct process *tracer, bool seize, unsigned options)
{
	assert_held(&process_list_lock);
	l->task = t;
	l->options = options;
	l->seized = seize;
	l->stopped = l->listening = l->frozen = l->want_trap = l->gone = l->step = false;
	l->group_stop = t->process->stop_gen - 1;
	list_add_tail(&l->link, &tracer->tracees);
	WRITE_ONCE(l->tracer, tracer);
}

/* One that job control had stopped is on its way from that stop to the one that its new tracer may use. */
static void wait_for_stop(struct task *t)
{
	const struct ptrace_link *l = t->ptrace;

	while (ptrace_is_traced(t) && !READ_ONCE(l->stopped) && READ_ONCE(t->process->stop_pending) &&
	       !fatal_signal_pending(t)) {
		sched_nap(20 * NSEC_PER_USEC);
	}
}

int ptrace_attach(struct task *t, struct process *tracer, bool seize, unsigned options)
{
	struct ptrace_link *fresh = kzalloc(sizeof(*fresh), ALLOC_KERNEL);
	bool send = false, stopped = false;
	int err = 0;
	ulong irq;

	if (!fresh)
		return -ENOMEM;
	irq = process_list_begin();
	if (!t->process || t->process == tracer || ptrace_is_traced(t)) {
		err = -EPERM;
	} else if (list_empty(&t->thread_link) || (t->flags & TASK_F_EXITING) || !tracer->nr_threads) {
		err = -ESRCH;
	} else {
		if (!t->ptrace) {
			t->ptrace = fresh;
			fresh = NULL;
		}
		attach(t->ptrace, t, tracer, seize, options);
		send = !seize && t != current;
		stopped = READ_ONCE(t->state) == TASK_STOPPED;
		task_wake_states(t, BIT(TASK_STOPPED)); /* a stopped one tells its tracer */
	}
	process_list_end(irq);
	kfree(fresh);
	if (send)
		signal_send_task(SIGSTOP, NULL, t);
	if (stopped)
		wait_for_stop(t);
	return err;
}

int ptrace_begin(int nr, bool stopped, struct ptrace_link **out)
{
	struct task *t = task_find_get(nr);
	struct ptrace_link *l;
	int err = -ESRCH;
	ulong irq;

	if (!t)
		return -ESRCH;
	irq = process_list_begin();
	l = t->ptrace;
	if (l && l->tracer == current->process && !l->gone &&
	    (!stopped || (l->stopped && !l->listening && !is_killed(t)))) {
		l->frozen = true;
		err = 0;
	}
	process_list_end(irq);
	if (err) {
		task_put(t);
		return err;
	}
	while (stopped && READ_ONCE(t->on_cpu)) /* it has said so and is on its way to sleep */
		sched_yield_cpu();
	*out = l;
	return 0;
}

void ptrace_end(struct ptrace_link *l)
{
	struct task *t = l->task;
	ulong irq = process_list_begin();

	l->frozen = false;
	process_list_end(irq);
	task_wake_states(t, BIT(TASK_TRACED)); /* it looks at what has changed, or at a SIGKILL */
	task_put(t);
}

void ptrace_resume(struct ptrace_link *l, int sig)
{
	ulong irq = process_list_begin();

	l->signal = sig;
	l->stopped = false;
	process_list_end(irq);
}

void ptrace_listen(struct ptrace_link *l)
{
	ulong irq = process_list_begin();

	l->listening = true;
	process_list_end(irq);
}

void ptrace_interrupt(struct ptrace_link *l)
{
	ulong irq = process_list_begin();

	if (!l->stopped || l->listening) {
		l->want_trap = true;
		if (l->listening)
			l->stopped = false;
		signal_wake_thread(l->task, false);
	}
	process_list_end(irq);
}

/* f held. The caller puts the task of a gone one. */
static void unlink_tracee(struct ptrace_link *l)
{
	list_del_init(&l->link);
	l->options = 0;
	l->want_trap = l->listening = l->frozen = false;
	__atomic_fetch_and(&l->task->syscall_work, ~(u32)SYSCALL_WORK_TRACE, __ATOMIC_SEQ_CST);
	WRITE_ONCE(l->tracer, NULL);
	if (l->stopped) {
		step_off(l);
		l->stopped = false;
		task_set_work(l->task, WORK_SIGNAL);
	}
}

void ptrace_detach(struct ptrace_link *l, int sig)
{
	ulong irq = process_list_begin();

	l->signal = sig;
	unlink_tracee(l);
	process_list_end(irq);
}

/* ---- births ------------------------------------------------------------------------------------------------ */

int ptrace_prepare_child(struct task *t)
{
	if (!ptrace_is_traced(current))
		return 0;
	t->ptrace = kzalloc(sizeof(struct ptrace_link), ALLOC_KERNEL);
	return t->ptrace ? 0 : -ENOMEM;
}

unsigned ptrace_clone_event(u64 flags, int exit_signal)
{
	if (flags & CLONE_VFORK)
		return PTRACE_EVENT_VFORK;
	return exit_signal == SIGCHLD ? PTRACE_EVENT_FORK : PTRACE_EVENT_CLONE;
}

void ptrace_adopt_child(struct task *t, u64 flags, int exit_signal)
{
	struct ptrace_link *l = current->ptrace, *mine = t->ptrace;
	ulong irq;

	if (!mine || !ptrace_is_traced(current) || (flags & CLONE_UNTRACED))
		return;
	if (!ptrace_wants_event(ptrace_clone_event(flags, exit_signal)) && !(flags & CLONE_PTRACE))
		return;
	attach(mine, t, l->tracer, l->seized, l->options);
	mine->want_trap = l->seized;
	irq = spin_lock_irqsave(&t->process->siglock);
	if (!l->seized)
		t->sig_pending |= SIGMASK(SIGSTOP);
	spin_unlock_irqrestore(&t->process->siglock, irq);
	task_set_work(t, WORK_SIGNAL);
}

/* ---- deaths ------------------------------------------------------------------------------------------------ */

void ptrace_thread_ends(int status)
{
	struct process *p = current->process;
	struct ptrace_link *l = current->ptrace;

	if (!ptrace_is_traced(current))
		return;
	if (current == p->leader) {
		if (l->tracer == p->parent) /* sees the process's end as its parent */
			unlink_tracee(l);
		return;
	}
	task_get(current);
	l->gone = true;
	l->status = status;
	tell_tracer(l, status & 0x7f ? CLD_KILLED : CLD_EXITED, status & 0x7f ? status & 0x7f : status >> 8);
}

bool ptrace_holds(const struct process *p)
{
	const struct ptrace_link *l = p->leader->ptrace;

	return l && l->tracer && l->tracer != p->parent;
}

void ptrace_tell_end(struct process *p)
{
	int status = p->exit_status;

	tell_tracer(p->leader->ptrace, status & 0x7f ? CLD_KILLED : CLD_EXITED,
		    status & 0x7f ? status & 0x7f : status >> 8);
}

void ptrace_forget(struct ptrace_link *l)
{
	unlink_tracee(l);
	if (l->gone)
		process_forget_thread(l->task);
}

/* The tracer ends. A process that became unwanted by that is the caller's to bury. */
static struct process *release(struct ptrace_link *l)
{
	struct task *t = l->task;
	bool held = t->process->zombie && t == t->process->leader && ptrace_holds(t->process), gone = l->gone;
	bool kill = l->options & PTRACE_O_EXITKILL;

	ptrace_forget(l);
	if (held)
		return process_tell_end(t->process) ? t->process : NULL;
	if (kill && !gone)
		signal_send_task(SIGKILL, NULL, t);
	if (!gone)
		task_wake_states(t, BIT(TASK_TRACED));
	return NULL;
}

void ptrace_release_all(struct process *tracer)
{
	for (;;) {
		ulong irq = process_list_begin();
		struct ptrace_link *l = list_first_or_null(&tracer->tracees, struct ptrace_link, link);
		struct task *gone = l && l->gone ? l->task : NULL;
		struct process *buried = NULL;

		if (l)
			buried = release(l);
		process_list_end(irq);
		if (gone)
			task_put(gone);
		if (buried)
			process_bury(buried);
		if (!l)
			return;
	}
}

/* ---- waiting ------------------------------------------------------------------------------------------------ */

struct ptrace_link *ptrace_next_event(struct process *tracer, bool (*wants)(struct task *t, void *arg), void *arg,
				      bool *any)
{
	struct ptrace_link *l;

	list_for_each_entry (l, &tracer->tracees, link) {
		struct process *p = l->task->process;

		if (!wants(l->task, arg))
			continue;
		*any = true;
		if (l->gone || (l->stopped && !l->told) || (p->zombie && p->leader == l->task && ptrace_holds(p)))
			return l;
	}
	return NULL;
}
