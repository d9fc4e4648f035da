/* SPDX-License-Identifier: MIT
 *
 * One-shot timers on the CPU that arms them, in clock_ns time. fn runs with IRQs off in the timer
 * interrupt: it wakes a task, queues a deferred job or re-arms its timer.
 */
#ifndef TASK_TIMER_H
#define TASK_TIMER_H

#include <lib/rbtree.h>
#include <lib/types.h>

struct timer {
	struct rb_node node;
	u64 deadline_ns;
	void (*fn)(struct timer *);
	int cpu; /* where it is queued, -1: nowhere */
};
void timer_init(struct timer *t, void (*fn)(struct timer *));
void timer_arm(struct timer *t, u64 deadline_ns, u64 slack_ns); /* re-arming is allowed */
/* The scheduler's hooks into the CPU's timers. IRQs off. */
void timers_run(u64 now);
u64 timers_next(void);                   /* ~0: none */
void sched_clock_rearm(u64 deadline_ns); /* an earlier deadline than before may have appeared */
/* True if it was pending. Afterwards fn neither runs nor will run (waits for a run on another CPU):
 * not from fn itself. */
bool timer_cancel(struct timer *t);

#endif
