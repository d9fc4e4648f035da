/* SPDX-License-Identifier: MIT
 *
 * Problem: tools that explain where time went need the scheduler's decisions as records with Linux's fields.
 *
 * Idea: one small function a tracepoint, called behind its static branch; it fills the record on the stack. Priorities
 * and states are translated to the numbers that Linux reports: 120 + nice, 99 - real-time priority; states as in the
 * format text of sched_switch. A time slept is known at the wake-up: run_start was last set when the task left its CPU.
 *
 * Contract: sched_trace.h; kernel/abi/tracepoints.tbl. The hooks of task/hooks.h live here too.
 *
 * Locks: called with the task's or the run queue's lock held, IRQs off.
 */
#include <core/clock.h>
#include <lib/string.h>
#include <task/hooks.h>
#include "sched_trace.h"

#define PRIO_DEFAULT 120
#define PRIO_RT_LAST 99

const struct task_hooks *task_hooks;
DEFINE_STATIC_KEY(task_switch_key);
DEFINE_STATIC_KEY(task_step_key);
DEFINE_STATIC_KEY(task_life_key);
struct static_key task_count_keys[COUNT_KINDS];

static s32 prio_of(const struct task *t)
{
	return t->class == SCHED_CLASS_FIFO || t->class == SCHED_CLASS_RR ? PRIO_RT_LAST - t->rt_priority
									  : PRIO_DEFAULT + t->nice;
}

static s64 state_of(const struct task *t)
{
	static const u8 numbers[] = { [TASK_RUNNING] = 0,     [TASK_INTERRUPTIBLE] = 0x01,
				      [TASK_KILLABLE] = 0x02, [TASK_UNINTERRUPTIBLE] = 0x02,
				      [TASK_STOPPED] = 0x04,  [TASK_TRACED] = 0x08,
				      [TASK_FROZEN] = 0x01,   [TASK_DEAD] = 0x10 };

	return numbers[READ_ONCE(t->state)];
}

static void put_comm(char *to, const struct task *t)
{
	memcpy(to, t->comm, sizeof(t->comm));
}

void sched_trace_wake(enum trace_id id, struct task *t)
{
	struct trace_sched_wakeup r = { .pid = t->tid, .prio = prio_of(t), .target_cpu = (s32)t->cpu };

	put_comm(r.comm, t);
	trace_emit_for(id, &r, sizeof(r), 1, t);
}

void sched_trace_process(enum trace_id id, struct task *t)
{
	struct trace_sched_process_exit r = { .pid = t->tid, .prio = prio_of(t) };

	put_comm(r.comm, t);
	trace_emit(id, &r, sizeof(r));
}

static void emit_delay(enum trace_id id, struct task *t, u64 ns)
{
	struct trace_sched_stat_wait r = { .pid = t->tid, .delay = ns };

	put_comm(r.comm, t);
	trace_emit_for(id, &r, sizeof(r), ns, t);
}

void sched_trace_sleep(struct task *t, u32 state)
{
	u64 ns = clock_ns() - t->run_start;

	if (!t->runtime_ns)
		return; /* has never run */
	if (state == TASK_INTERRUPTIBLE) {
		if (trace_on(sched_stat_sleep))
			emit_delay(TRACE_sched_stat_sleep, t, ns);
		return;
	}
	if ((t->flags & TASK_F_IO_WAIT) && trace_on(sched_stat_iowait))
		emit_delay(TRACE_sched_stat_iowait, t, ns);
	if (trace_on(sched_stat_blocked))
		emit_delay(TRACE_sched_stat_blocked, t, ns);
}

void sched_trace_wait(struct task *t, u64 delay_ns)
{
	emit_delay(TRACE_sched_stat_wait, t, delay_ns);
}

void sched_trace_runtime(struct task *t, u64 ns)
{
	struct trace_sched_stat_runtime r = { .pid = t->tid, .runtime = ns, .vruntime = t->vruntime };

	put_comm(r.comm, t);
	trace_emit_for(TRACE_sched_stat_runtime, &r, sizeof(r), ns, t);
}

void sched_trace_switch(struct task *prev, struct task *next)
{
	struct trace_sched_switch r = { .prev_pid = prev->tid,
					.prev_prio = prio_of(prev),
					.prev_state = state_of(prev),
					.next_pid = next->tid,
					.next_prio = prio_of(next) };

	put_comm(r.prev_comm, prev);
	put_comm(r.next_comm, next);
	trace_emit(TRACE_sched_switch, &r, sizeof(r));
}

void sched_trace_move(struct task *t, unsigned cpu)
{
	struct trace_sched_migrate_task r = {
		.pid = t->tid, .prio = prio_of(t), .orig_cpu = (s32)t->cpu, .dest_cpu = (s32)cpu
	};

	put_comm(r.comm, t);
	trace_emit(TRACE_sched_migrate_task, &r, sizeof(r));
}

void sched_trace_rename(struct task *t, const char *name)
{
	struct trace_task_rename r = { .pid = t->tid };

	put_comm(r.oldcomm, t);
	memcpy(r.newcomm, name, sizeof(r.newcomm));
	trace_emit(TRACE_task_rename, &r, sizeof(r));
}
