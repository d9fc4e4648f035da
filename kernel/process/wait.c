/* SPDX-License-Identifier: MIT
 *
 * Problem: a parent waits for the end, the stop or the continuation of one child, any child or a
 * group of children, and each event must be fetched by exactly one thread.
 *
 * Idea: scan the children under the tree's lock; what matches is taken there and then (a zombie is
 * reaped, a stop marked as fetched), so two threads cannot both get it. If there are only children
 * that may match later, sleep on child_wait and scan again.
 *
 * Contract: process/clone.h; waitid(2).
 *
 * Locks: process_list_lock; siglock of the child for its stop state.
 */
#include <task/user_ns.h>
#include "process_priv.h"
#include "process_trace.h"
#include <linux/wait.h>
#include <process/pidfd.h>
#include <process/ptrace.h>
#include <vfs/vfs.h>

enum scan { SCAN_NONE, SCAN_LATER, SCAN_FOUND };

struct waiter {
	const struct wait_request *r;
	struct pid *pid; /* P_PID, P_PIDFD, P_PGID: counted */
	struct wait_result *out;
	struct process *reaped;
	bool foreign;      /* reaped is a tracee, not a child */
	struct task *gone; /* a tracee's thread that is to be put */
};

static bool matches(const struct waiter *w, struct process *p)
{
	bool clone = p->exit_signal != SIGCHLD;

	switch (w->r->which) {
	case P_PID:
	case P_PIDFD:
		if (p->pid != w->pid)
			return false;
		break;
	case P_PGID:
		if (p->pgrp != w->pid)
			return false;
		break;
	}
	return (w->r->options & __WALL) || clone == !!(w->r->options & __WCLONE);
}

static void fill_usage(struct wait_result *out, struct process *p)
{
	struct process_usage own, kids;

	process_usage(p, &own, &kids);
	out->user_ns = own.user_ns + kids.user_ns;
	out->system_ns = own.system_ns + kids.system_ns;
	out->min_faults = own.min_faults + kids.min_faults;
	out->maj_faults = own.maj_faults + kids.maj_faults;
	out->nvcsw = own.nvcsw + kids.nvcsw;
	out->nivcsw = own.nivcsw + kids.nivcsw;
	out->max_rss_pages = max(own.max_rss_pages, kids.max_rss_pages);
}

static void fill(struct wait_result *out, struct process *p, int code, int status, int raw)
{
	*out = (struct wait_result){ .pid = pid_nr(p->pid),
				     .code = code,
				     .status = status,
				     .uid = user_out(p->leader->cred->uid),
				     .raw_status = raw };
	fill_usage(out, p);
}

/* What the child used is now the parent's children's. */
static void inherit_usage(const struct wait_result *u)
{
	struct process *me = current->process;
	ulong irq = spin_lock_irqsave(&me->siglock);

	me->cuser_ns += u->user_ns;
	me->csystem_ns += u->system_ns;
	me->cmin_faults += u->min_faults;
	me->cmaj_faults += u->maj_faults;
	me->cnvcsw += u->nvcsw;
	me->cnivcsw += u->nivcsw;
	me->cmax_rss_pages = max(me->cmax_rss_pages, u->max_rss_pages);
	spin_unlock_irqrestore(&me->siglock, irq);
}

static void take_zombie(struct waiter *w, struct process *p)
{
	int raw = p->exit_status, sig = raw & 0x7f;
	int code = !sig ? CLD_EXITED : raw & 0x80 ? CLD_DUMPED : CLD_KILLED;

	fill(w->out, p, code, sig ? sig : raw >> 8, raw);
	if (w->r->options & WNOWAIT)
		return;
	process_reap(p);
	w->reaped = p;
}

static bool take_stop(struct waiter *w, struct process *p)
{
	ulong irq = spin_lock_irqsave(&p->siglock);
	int event = p->wait_event;
	bool take = (event == CLD_STOPPED && (w->r->options & WSTOPPED)) ||
		    (event == CLD_CONTINUED && (w->r->options & WCONTINUED));
	int sig = p->stop_signal;

	if (take && !(w->r->options & WNOWAIT))
		p->wait_event = 0;
	spin_unlock_irqrestore(&p->siglock, irq);
	if (!take)
		return false;
	if (event == CLD_STOPPED)
		fill(w->out, p, event, sig, sig << 8 | 0x7f);
	else
		fill(w->out, p, event, SIGCONT, 0xffff);
	return true;
}

/* ---- tracees ---------------------------------------------------------------------------------------------- */

static bool matches_tracee(struct task *t, void *arg)
{
	const struct waiter *w = arg;

	switch (w->r->which) {
	case P_PID:
	case P_PIDFD: return t->pid == w->pid;
	case P_PGID: return t->process->pgrp == w->pid;
	default: return true;
	}
}

static void take_end(struct waiter *w, struct ptrace_link *l, int raw)
{
	struct process *p = l->task->process;
	int sig = raw & 0x7f;

	fill(w->out, p, sig ? CLD_KILLED : CLD_EXITED, sig ? sig : raw >> 8, raw);
	w->out->pid = pid_nr(l->task->pid);
	if (w->r->options & WNOWAIT)
		return;
	w->gone = l->gone ? l->task : NULL;
	ptrace_forget(l);
	if (!w->gone && process_tell_end(p)) {
		w->reaped = p;
		w->foreign = true;
	}
}

static enum scan scan_tracees(struct waiter *w)
{
	bool any = false;
	struct ptrace_link *l = ptrace_next_event(current->process, matches_tracee, w, &any);

	if (!l)
		return any ? SCAN_LATER : SCAN_NONE;
	if (l->gone || !l->stopped) {
		if (!(w->r->options & WEXITED))
			return SCAN_LATER;
		take_end(w, l, l->gone ? l->status : l->task->process->exit_status);
		return SCAN_FOUND;
	}
	fill(w->out, l->task->process, CLD_TRAPPED, l->status, l->status << 8 | 0x7f);
	w->out->pid = pid_nr(l->task->pid);
	if (!(w->r->options & WNOWAIT))
		l->told = true;
	return SCAN_FOUND;
}

/* ---- all ---------------------------------------------------------------------------------------------------- */

static bool is_mine(const struct process *p)
{
	const struct ptrace_link *l = p->leader->ptrace;

	return l && l->tracer == current->process;
}

static enum scan look_at(struct waiter *w, struct process *p)
{
	if (!matches(w, p))
		return SCAN_NONE;
	if (p->zombie && ptrace_holds(p))
		return SCAN_LATER;
	if (p->zombie) {
		if (!(w->r->options & WEXITED))
			return SCAN_NONE;
		take_zombie(w, p);
		return SCAN_FOUND;
	}
	return !is_mine(p) && take_stop(w, p) ? SCAN_FOUND : SCAN_LATER;
}

static enum scan scan_children(struct waiter *w)
{
	enum scan result = SCAN_NONE;
	struct process *p;

	if (w->r->which == P_PID || w->r->which == P_PIDFD) { /* not among a thousand others */
		p = w->pid->process;
		return p && p->parent == current->process ? look_at(w, p) : SCAN_NONE;
	}
	list_for_each_entry (p, &current->process->children, sibling) {
		result = max(result, look_at(w, p));
		if (result == SCAN_FOUND)
			break;
	}
	return result;
}

static enum scan scan(struct waiter *w)
{
	ulong irq = process_list_begin();
	enum scan result = scan_tracees(w);

	if (result != SCAN_FOUND)
		result = max(result, scan_children(w));
	process_list_end(irq);
	return result;
}

static int find_target(const struct wait_request *r, struct pid **out, bool *nonblock)
{
	struct fd_ref ref;
	struct pid *pid;

	*out = NULL;
	switch (r->which) {
	case P_ALL: return 0;
	case P_PID: *out = r->id > 0 ? pid_find_get(r->id) : NULL; return r->id > 0 ? 0 : -EINVAL;
	case P_PGID:
		if (r->id < 0)
			return -EINVAL;
		*out = r->id ? pid_find_get(r->id) : current->process->pgrp;
		if (!r->id)
			pid_get(*out);
		return 0;
	case P_PIDFD:
		ref = fd_get(r->id);
		pid = ref.file ? pidfd_pid(ref.file) : NULL;
		if (pid) {
			pid_get(pid);
			*nonblock = ref.file->flags & 04000; /* O_NONBLOCK */
		}
		fd_put(ref);
		*out = pid;
		return pid ? 0 : -EBADF;
	default: return -EINVAL;
	}
}

int process_wait(const struct wait_request *r, struct wait_result *out)
{
	struct waiter w = { .r = r, .out = out };
	enum scan found = SCAN_NONE;
	bool nonblock = false;
	int err;

	out->pid = 0;
	err = find_target(r, &w.pid, &nonblock);
	if (err)
		return err;
	if (r->which != P_ALL && !w.pid)
		return -ECHILD;
	if (trace_on(sched_process_wait))
		process_trace_wait(w.pid);
	if ((r->options & WNOHANG) || nonblock) {
		found = scan(&w);
		err = found == SCAN_LATER && nonblock && !(r->options & WNOHANG) ? -EAGAIN : 0;
	} else {
		err = wait_event_interruptible(&current->process->child_wait, (found = scan(&w)) != SCAN_LATER);
	}
	pid_put(w.pid);
	if (found == SCAN_NONE)
		return -ECHILD;
	if (w.gone)
		task_put(w.gone);
	if (w.reaped) {
		if (!w.foreign)
			inherit_usage(out);
		process_bury(w.reaped);
	}
	return err;
}
