/* SPDX-License-Identifier: MIT
 *
 * Problem: before a program runs on, its pending signals become handler calls, stops or its end, and
 * an interrupted system call either fails with EINTR or runs again.
 *
 * Idea: one loop at the return to user mode takes signals until one needs a handler's frame (one at a
 * time: the frame's return comes back here) or none is left. The call's result carries what to do with
 * it (lib/err.h); going back by the two bytes of `syscall` runs it again.
 *   ERESTARTNOINTR        always again
 *   ERESTARTSYS           again without a handler or with SA_RESTART, else EINTR
 *   ERESTARTNOHAND        again without a handler, else EINTR
 *   ERESTART_RESTARTBLOCK as ERESTARTNOHAND, but through restart_syscall with the kept deadline
 * A group stop: the first thread that takes the signal starts it, each thread joins it here, the
 * last one tells the parent. stop_gen separates one stop from the next.
 *
 * Contract: upcall_return_to_user and upcall_user_exception of arch/upcalls.h.
 *
 * Locks: siglock; process_list_lock (outside it) to tell the parent.
 */
#include "process_priv.h"
#include "process_trace.h"
#include <arch/thread.h>
#include <arch/upcalls.h>
#include <arch/user.h>
#include <asm/unistd.h>
#include <lib/string.h>
#include <process/ptrace.h>
#include <process/rseq.h>
#include <task/hooks.h>

/* ---- stops ------------------------------------------------------------------------------------------------ */

static void begin_stop(struct process *p, int sig)
{
	struct task *t;

	if (p->stop_pending || p->group_exiting)
		return;
	p->stop_pending = true;
	p->stopped = false;
	p->stop_signal = sig;
	p->stop_gen++;
	p->stop_left = 0;
	list_for_each_entry (t, &p->threads, thread_link) {
		if (t->flags & TASK_F_EXITING)
			continue;
		p->stop_left++;
		if (t != current)
			signal_wake_thread(t, false);
	}
}

/* One thread has joined (or ended): the last one completes the stop. siglock held. True: tell the parent. */
static bool stop_one_less(struct process *p)
{
	if (!p->stop_left || --p->stop_left)
		return false;
	p->stopped = true;
	p->wait_event = CLD_STOPPED;
	return true;
}

void group_stop_leave(struct process *p)
{
	if (p->stop_pending && !p->stopped)
		(void)stop_one_less(p);
}

static void tell_parent(struct process *p, int code, int sig)
{
	ulong irq = process_list_begin();

	process_notify_parent(p, code, sig);
	process_list_end(irq);
}

/* siglock held; dropped while stopped, held again on return. */
static void join_stop(struct process *p, ulong *irq)
{
	unsigned gen = p->stop_gen;
	bool last = stop_one_less(p), tell = false;
	int sig = p->stop_signal;

	spin_unlock_irqrestore(&p->siglock, *irq);
	tenant_task_stops(current, true);
	if (last)
		tell_parent(p, CLD_STOPPED, sig);
	for (;;) {
		sched_set_state(TASK_STOPPED);
		if (!READ_ONCE(p->stop_pending) || READ_ONCE(p->stop_gen) != gen ||
		    upcall_signal_pending(current, true))
			break;
		if (ptrace_group_stop(sig))
			break;
		sched_sleep();
	}
	sched_set_state(TASK_RUNNING);
	tenant_task_stops(current, false);
	*irq = spin_lock_irqsave(&p->siglock);
	if (p->wait_event == CLD_CONTINUED && !p->cont_told)
		tell = p->cont_told = true;
	if (!tell)
		return;
	spin_unlock_irqrestore(&p->siglock, *irq);
	tell_parent(p, CLD_CONTINUED, SIGCONT);
	*irq = spin_lock_irqsave(&p->siglock);
}

/* ---- the freezer -------------------------------------------------------------------------------------- */

static bool must_freeze(void)
{
	bool freezing;

	rcu_read_lock();
	freezing = tenant_is_freezing(rcu_deref(current->tenant));
	rcu_read_unlock();
	return freezing;
}

/* Until current's tenant thaws, it moves to another, or is killed. What else happens waits for that: a frozen thread
 * handles no signals. siglock held on entry and exit. */
static void freeze(struct process *p, ulong *irq)
{
	spin_unlock_irqrestore(&p->siglock, *irq);
	tenant_task_stops(current, true);
	for (;;) {
		sched_set_state(TASK_FROZEN);
		if (!must_freeze() || upcall_signal_pending(current, true))
			break;
		sched_sleep();
	}
	sched_set_state(TASK_RUNNING);
	tenant_task_stops(current, false);
	*irq = spin_lock_irqsave(&p->siglock);
}

/* ---- one signal ------------------------------------------------------------------------------------------------ */

static bool in_syscall(const struct regs *r)
{
	return (long)r->orig_ax >= 0;
}

static void again(struct regs *r, ulong nr)
{
	r->ax = nr;
	r->ip -= 2;
}

/* What becomes of an interrupted call. action: of the handler that runs first, or NULL. */
static void settle_syscall(struct regs *r, const struct sigaction_kernel *action)
{
	ulong nr = r->orig_ax;

	if (!in_syscall(r))
		return;
	switch (-(long)r->ax) {
	case ERESTARTNOINTR: again(r, nr); break;
	case ERESTARTSYS:
		if (!action || (action->flags & SA_RESTART))
			again(r, nr);
		else
			r->ax = -EINTR;
		break;
	case ERESTARTNOHAND:
		if (!action)
			again(r, nr);
		else
			r->ax = -EINTR;
		break;
	case ERESTART_RESTARTBLOCK:
		if (!action)
			again(r, __NR_restart_syscall);
		else
			r->ax = -EINTR;
		break;
	}
	r->orig_ax = -1; /* once */
}

static bool on_altstack(ulong sp)
{
	return sp > current->altstack_sp && sp - current->altstack_sp <= current->altstack_size;
}

static void altstack_for(struct arch_signal *s, const struct sigaction_kernel *a, const struct regs *r)
{
	s->altstack_sp = current->altstack_sp;
	s->altstack_size = current->altstack_size;
	s->altstack_flags = current->altstack_flags;
	if (!current->altstack_size)
		s->altstack_flags = SS_DISABLE;
	else if (on_altstack(r->sp) && !(current->altstack_flags & SS_AUTODISARM))
		s->altstack_flags |= SS_ONSTACK;
	else if (a->flags & SA_ONSTACK)
		s->alt_top = current->altstack_sp + current->altstack_size;
	if (s->alt_top && (current->altstack_flags & SS_AUTODISARM))
		current->altstack_size = 0;
}

static void call_handler(struct regs *r, int sig, const struct sigaction_kernel *a, const siginfo_t *info)
{
	struct arch_signal s = { .sig = sig,
				 .handler = a->handler,
				 .restorer = a->restorer,
				 .sa_flags = a->flags,
				 .siginfo = info,
				 .saved_mask = current->sig_blocked };
	u64 mask = current->sig_blocked | a->mask;

	if (current->sig_restore) {
		s.saved_mask = current->sig_saved;
		current->sig_restore = false;
	}
	settle_syscall(r, a);
	altstack_for(&s, a, r);
	if (!(a->flags & SA_NODEFER))
		mask |= SIGMASK(sig);
	if (arch_signal_push(r, &s)) {
		if (sig == SIGSEGV) { /* no stack even for that */
			ulong irq = spin_lock_irqsave(&current->process->siglock);

			current->process->sighand->actions[SIGSEGV - 1].handler = 0;
			spin_unlock_irqrestore(&current->process->siglock, irq);
		}
		signal_force(SIGSEGV, SI_KERNEL, 0);
		return;
	}
	signal_set_blocked(mask);
}

/* The action for sig, with SA_RESETHAND applied. */
static struct sigaction_kernel take_action(struct process *p, int sig)
{
	struct sigaction_kernel *live = &p->sighand->actions[sig - 1], a;

	spin_lock(&p->sighand->lock); /* IRQs are off: siglock is held */
	a = *live;
	if ((a.flags & SA_RESETHAND) && a.handler > 1)
		live->handler = 0;
	spin_unlock(&p->sighand->lock);
	return a;
}

/* The default action. siglock held on entry and, if it returns, on exit. */
static void default_action(struct process *p, int sig, const siginfo_t *info, ulong *irq)
{
	if ((SIG_MASK_IGNORE & SIGMASK(sig)) || (pid_ns_of(p->pid)->reaper == p && !(SIG_MASK_SYNC & SIGMASK(sig))))
		return;
	if (SIG_MASK_STOP & SIGMASK(sig)) {
		if (sig != SIGSTOP) {
			bool orphaned;

			spin_unlock_irqrestore(&p->siglock, *irq);
			orphaned = pgrp_is_orphaned(p->pgrp);
			*irq = spin_lock_irqsave(&p->siglock);
			if (orphaned)
				return;
		}
		begin_stop(p, sig);
		return;
	}
	spin_unlock_irqrestore(&p->siglock, *irq);
	if (SIG_MASK_CORE & SIGMASK(sig))
		process_dump_core(sig, info);
	process_exit_group(sig);
}

/* The next signal that needs a handler; 0: none. Does not return if the program ends. */
static int next_to_handle(struct process *p, struct sigaction_kernel *a, siginfo_t *info)
{
	ulong irq = spin_lock_irqsave(&p->siglock);
	int sig;

	for (;;) {
		if (p->group_exiting || (current->sig_pending & SIGMASK(SIGKILL))) {
			spin_unlock_irqrestore(&p->siglock, irq);
			process_exit_thread(p->group_exiting ? p->exit_status : 0);
		}
		if (ptrace_joins_stop(current)) {
			join_stop(p, &irq);
			continue;
		}
		if (ptrace_trap_wanted(current)) {
			spin_unlock_irqrestore(&p->siglock, irq);
			ptrace_trap();
			irq = spin_lock_irqsave(&p->siglock);
			continue;
		}
		if (unlikely(must_freeze())) {
			freeze(p, &irq);
			continue;
		}
		sig = signal_dequeue_locked(current, ~current->sig_blocked, info);
		if (!sig)
			break;
		if (ptrace_is_traced(current)) {
			spin_unlock_irqrestore(&p->siglock, irq);
			sig = ptrace_signal(sig, info);
			irq = spin_lock_irqsave(&p->siglock);
			if (!sig)
				continue;
		}
		*a = take_action(p, sig);
		if (trace_on(signal_deliver))
			process_trace_deliver(sig, info, a);
		if (a->handler > 1)
			break;
		if (!a->handler)
			default_action(p, sig, info, &irq);
	}
	spin_unlock_irqrestore(&p->siglock, irq);
	return sig;
}

static void handle_signals(struct regs *r)
{
	struct sigaction_kernel a;
	siginfo_t info;
	int sig = next_to_handle(current->process, &a, &info);

	if (sig) {
		if (current->rseq)
			rseq_return(r);
		call_handler(r, sig, &a, &info);
		return;
	}
	settle_syscall(r, NULL);
	if (current->sig_restore) {
		current->sig_restore = false;
		signal_set_blocked(current->sig_saved);
	}
}

void upcall_return_to_user(struct regs *r)
{
	if (current->work & WORK_NOTIFY)
		task_work_run();
	if (unlikely(current->work & WORK_THROTTLE))
		sched_throttle_point();
	if (unlikely(current->work & WORK_MEMORY))
		tenant_high_point();
	if (current->work & WORK_RSEQ)
		rseq_return(r);
	if (current->work & WORK_SIGNAL) {
		if (static_branch(&task_step_key))
			task_hooks->step_end(r);
		handle_signals(r);
	}
}

/* ---- exceptions ----------------------------------------------------------------------------------------------------
 */

static const struct {
	u8 sig;
	s8 code;
} exceptions[32] = {
	[0] = { SIGFPE, FPE_INTDIV },  [1] = { SIGTRAP, TRAP_TRACE }, [3] = { SIGTRAP, -1 },
	[4] = { SIGSEGV, -1 },         [5] = { SIGSEGV, -1 },         [6] = { SIGILL, ILL_ILLOPN },
	[9] = { SIGFPE, -1 },          [10] = { SIGSEGV, -1 },        [11] = { SIGBUS, -1 },
	[12] = { SIGBUS, -1 },         [13] = { SIGSEGV, -1 },        [16] = { SIGFPE, FPE_FLTINV },
	[17] = { SIGBUS, BUS_ADRALN }, [19] = { SIGFPE, FPE_FLTINV },
};

#define DR6_TRACER 0x400fUL /* slots and the single step */

/* Vectors: AMD64 Architecture Programmer's Manual volume 2, section 8.2. -1: the kernel's own code (SI_KERNEL). */
void upcall_user_exception(struct regs *r, unsigned vector, ulong error)
{
	bool known = vector < ARRAY_SIZE(exceptions) && exceptions[vector].sig;
	int code = known ? exceptions[vector].code : -1;
	ulong addr;

	if (vector == 1 && static_branch(&task_step_key) && task_hooks->stepped(r, error))
		return;
	if (vector == 1 && error >> ARCH_WATCH_SHIFT &&
	    !(error & DR6_TRACER)) /* a watch, and its event has just gone */
		return;
	if (vector == 1 && (error & 15)) /* DR6: a debug register, not a single step */
		code = TRAP_HWBKPT;
	addr = vector == 13 || code < 0 ? 0 : r->ip;
	signal_force(known ? exceptions[vector].sig : SIGSEGV, code < 0 ? SI_KERNEL : code, addr);
}
