/* SPDX-License-Identifier: MIT
 *
 * What the scheduler tells: out of line, so that its own code carries only the patched-out branches.
 */
#ifndef SCHED_TRACE_H
#define SCHED_TRACE_H

#include <core/trace.h>
#include <task/task.h>

void sched_trace_wake(enum trace_id id, struct task *t);
void sched_trace_process(enum trace_id id, struct task *t); /* exit, free: the same fields */
void sched_trace_sleep(struct task *t, u32 state);          /* it slept in this state until now */
void sched_trace_wait(struct task *t, u64 delay_ns);
void sched_trace_runtime(struct task *t, u64 ns);
void sched_trace_switch(struct task *prev, struct task *next);
void sched_trace_rename(struct task *t, const char *name); /* of 16 bytes */
void sched_trace_move(struct task *t, unsigned cpu);

static inline bool sched_trace_sleep_on(void)
{
	return trace_on(sched_stat_sleep) || trace_on(sched_stat_blocked) || trace_on(sched_stat_iowait);
}

/* Before t->cpu changes. */
static inline void sched_note_move(struct task *t, unsigned cpu)
{
	t->moved = true;
	if (trace_on(sched_migrate_task))
		sched_trace_move(t, cpu);
}

#endif
