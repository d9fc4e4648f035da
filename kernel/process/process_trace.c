/* SPDX-License-Identifier: MIT
 *
 * Problem: tools follow processes from fork over exec and signals to their end by records with Linux's fields.
 *
 * Idea: one function a tracepoint (or pair), out of line, behind its static branch.
 *
 * Contract: process_trace.h; kernel/abi/tracepoints.tbl. Results of signal_generate: 0 delivered, 1 ignored, 2 already
 * pending, 3 overflow (enum of Linux's include/trace/events/signal.h).
 *
 * Locks: signals are reported with siglock held; the others without locks.
 */
#include "process_priv.h"
#include "process_trace.h"
#include <lib/string.h>

#define FILENAME_ROOM 256

static void put_comm(char *to, const struct task *t)
{
	memcpy(to, t->comm, sizeof(t->comm));
}

void process_trace_fork(struct task *child, ulong clone_flags)
{
	if (trace_on(task_newtask)) {
		struct trace_task_newtask r = { .pid = child->tid,
						.clone_flags = clone_flags,
						.oom_score_adj = child->process->oom_score_adj };

		put_comm(r.comm, child);
		trace_emit(TRACE_task_newtask, &r, sizeof(r));
	}
	if (trace_on(sched_process_fork)) {
		struct trace_sched_process_fork r = { .parent_pid = current->tid, .child_pid = child->tid };

		put_comm(r.parent_comm, current);
		put_comm(r.child_comm, child);
		trace_emit(TRACE_sched_process_fork, &r, sizeof(r));
	}
}

void process_trace_exec(const char *filename, int old_tid)
{
	struct {
		struct trace_sched_process_exec r;
		char text[FILENAME_ROOM];
	} e = { .r = { .pid = current->tid, .old_pid = old_tid } };
	size_t size = offsetof(struct trace_sched_process_exec, old_pid) + sizeof(e.r.old_pid);

	e.r.filename = trace_put_string(&e, &size, sizeof(e), filename);
	trace_emit(TRACE_sched_process_exec, &e, size);
}

void process_trace_exit(void)
{
	struct trace_sched_process_exit r = { .pid = current->tid, .prio = 120 + current->nice };

	put_comm(r.comm, current);
	trace_emit(TRACE_sched_process_exit, &r, sizeof(r));
}

void process_trace_wait(struct pid *pid)
{
	struct trace_sched_process_wait r = { .pid = pid_nr_global(pid), .prio = 120 + current->nice };

	put_comm(r.comm, current);
	trace_emit(TRACE_sched_process_wait, &r, sizeof(r));
}

void process_trace_signal(int sig, const siginfo_t *info, struct task *t, bool group, int result)
{
	struct trace_signal_generate r = { .sig = sig,
					   .errno_ = info ? info->si_errno : 0,
					   .code = info ? info->si_code : SI_KERNEL,
					   .pid = t->tid,
					   .group = group,
					   .result = result };

	put_comm(r.comm, t);
	trace_emit(TRACE_signal_generate, &r, sizeof(r));
}

void process_trace_deliver(int sig, const siginfo_t *info, const struct sigaction_kernel *a)
{
	struct trace_signal_deliver r = { .sig = sig,
					  .errno_ = info->si_errno,
					  .code = info->si_code,
					  .sa_handler = a->handler,
					  .sa_flags = a->flags };

	trace_emit(TRACE_signal_deliver, &r, sizeof(r));
}
