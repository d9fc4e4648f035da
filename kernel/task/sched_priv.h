/* SPDX-License-Identifier: MIT
 *
 * The run queue, between sched.c, sched_balance.c and sched_attr.c.
 */
#ifndef SCHED_PRIV_H
#define SCHED_PRIV_H

#include <task/sched.h>

struct rq {
	struct spinlock lock; /* RANK_RUNQUEUE: all but what is marked o (this CPU only, IRQs off) */
	unsigned cpu;
	unsigned nr_running; /* queued and running, without idle */
	struct task *curr, *idle;
	struct rb_root fair;
	struct rb_node *first_fair;
	u64 min_vruntime;
	struct list rt[100];
	ulong rt_bits[2];
	struct task *push; /* leaves this CPU because of its affinity */
	u64 armed;         /* o: the clock's deadline */
	u64 ticks;         /* o */
	u64 switches;
	struct cpu_times times;
};
DECLARE_PER_CPU(struct rq, rq);

struct rq *sched_change_begin(struct task *t, bool *queued);
void sched_change_end(struct rq *q, struct task *t, bool queued);
void sched_move(struct rq *from, struct rq *to, struct task *t);
bool sched_pull(struct rq *q); /* takes a task from the busiest CPU. IRQs off */
void sched_load_update(u64 now);

#endif
