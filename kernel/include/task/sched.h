/* SPDX-License-Identifier: MIT
 *
 * The scheduler as others see it: sleeping, waking, yielding, attributes.
 *
 * Sleeping: set the state first, test the condition, then sched_sleep(); a wake between the two is not lost, because
 * task_wake puts the state back to TASK_RUNNING. wait.h's macros do it for you.
 */
#ifndef TASK_SCHED_H
#define TASK_SCHED_H

#include <core/clock.h>
#include <core/static_branch.h>
#include <task/task.h>

void sched_set_state(enum task_state s); /* of current; full barrier */
void sched_sleep(void);                  /* leaves the CPU unless the state is TASK_RUNNING again */
/* 0 when woken; -ETIME when the deadline (clock_ns, ~0: none) came first. */
int sched_sleep_until(u64 deadline_ns);
/* That long, whatever comes. */
static inline void sched_nap(u64 ns)
{
	sched_set_state(TASK_UNINTERRUPTIBLE);
	(void)sched_sleep_until(clock_ns() + ns);
}
void sched_yield_cpu(void);

/* Makes t runnable if its state is one of `states` (bit mask of BIT(TASK_*)). True if it did. Any context. */
bool task_wake_states(struct task *t, unsigned states);
bool task_wake(struct task *t); /* from any sleep but STOPPED and TRACED */

/* Long loops call it every few microseconds: switches if somebody better waits. May sleep (be switched). */
void resched_point(void);
/* With WORK_THROTTLE: sleeps until the tenant has CPU time again, or a fatal signal. Before the return to user mode, so
 * that nothing of the kernel's is held. */
void sched_throttle_point(void);

/* Attributes: checked by the caller (rights), applied at once, also to running tasks. -EINVAL. */
int __must_check sched_set_attr(struct task *t, int policy, int rt_priority, int nice);
/* SCHED_DEADLINE: runtime_ns in each period_ns, within deadline_ns of its beginning. -EINVAL: no such times; -EBUSY:
 * too much with what others have; -EPERM: it may not run on all CPUs; -ENOMEM. */
struct sched_deadline {
	u64 runtime_ns, deadline_ns, period_ns;
};
int __must_check sched_set_deadline(struct task *t, const struct sched_deadline *d);
void sched_get_deadline(struct task *t, struct sched_deadline *out); /* zeros: it has another policy */
/* It runs at least at this real-time priority until told otherwise (0: its own only): somebody waits for it. */
void sched_boost(struct task *t, u8 rt_priority);
/* -EINVAL: no CPU of it on line; -EBUSY: it has a deadline, and runs everywhere. */
int __must_check sched_set_affinity(struct task *t, cpumask_t mask);

extern u32 sched_weight[40]; /* of nice -20 .. 19; constant after boot */

/* Cache allocation: called with the task that a CPU runs next, IRQs off, run queue locked, while the key has a user. */
DECLARE_STATIC_KEY(sched_cache_key);
extern void (*sched_cache_hook)(const struct task *next);

struct sched_load {
	u64 running, total;
	u64 load_avg[3]; /* fixed point, 11 bits of fraction, 1, 5 and 15 minutes */
	u64 switches, forks;
};
void sched_load(struct sched_load *out);
struct cpu_times {
	u64 user_ns, nice_ns, system_ns, idle_ns, iowait_ns, irq_ns;
};
void sched_cpu_times(unsigned cpu, struct cpu_times *out);

/* Start: this CPU's idle loop. Does not return. */
void __noreturn sched_start(void);

#endif
