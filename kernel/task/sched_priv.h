/* SPDX-License-Identifier: MIT
 *
 * The run queue, between sched.c, sched_balance.c and sched_attr.c.
 */
#ifndef SCHED_PRIV_H
#define SCHED_PRIV_H

#include <task/sched.h>
#include <task/tenant.h>

#define LEVEL_DEADLINE 100

struct sched_dl {
	struct sched_deadline want;
	u64 part;     /* of a CPU: sched_deadline.c. t->lock */
	u64 until_ns; /* r: its deadline */
	s64 left_ns;  /* r: of this period's budget */
};

struct rq {
	struct spinlock lock; /* RANK_RUNQUEUE: all but what is marked o (this CPU only, IRQs off) */
	unsigned cpu;
	unsigned nr_running; /* queued and running, without idle */
	unsigned nr_rt;      /* the real-time ones of them */
	struct task *curr, *idle;
	struct rb_root fair;
	struct rb_node *first_fair;
	u64 min_vruntime;
	struct list rt[LEVEL_DEADLINE + 1]; /* by priority; above all, by deadline, those who have one */
	ulong rt_bits[2];
	u64 rt_period, rt_used; /* since when, and how long, real-time tasks have run in this period */
	bool rt_spent;          /* fair tasks go first until the period ends */
	struct task *push;      /* leaves this CPU because of its affinity */
	u64 armed;              /* o: the clock's deadline */
	u64 ticks;              /* o */
	u64 switches;
	struct cpu_times times;
};
DECLARE_PER_CPU(struct rq, rq);

/* sched_tenant.c: shares of tenants. q locked. */
void sched_weigh_in(struct rq *q, struct task *t, u32 weight); /* t comes onto q */
void sched_weigh_out(struct rq *q, struct task *t);
/* Virtual time of a task that is not the root tenant's: delta_ns by its part of what this CPU divides. */
u64 sched_tenant_vtime(struct rq *q, const struct task *t, u64 delta_ns);
/* What t adds to the sum of the root tenant on q: its part of it, in units of weight << LOAD_SHIFT. */
#define LOAD_SHIFT 20
u64 sched_load_of(struct rq *q, const struct task *t);
extern atomic_t sched_limits; /* tenants with cpu.max */
void sched_charge_limits(struct rq *q, struct task *t, u64 delta_ns, u64 now);
/* The next task may run this long before a limit is reached; ~0: no limit. Marks it if one already is. */
u64 sched_limit_left(struct task *t);
void sched_tenant_init(struct tenant *t);
u32 sched_weight_of(const struct task *t); /* 0: real time */
/* t->lock held: t's tenant may change between the two; with its run queue locked. */
struct rq *sched_tenant_change_begin(struct task *t, u8 *psi);
void sched_tenant_change_end(struct rq *q, struct task *t, u8 psi);

/* sched_deadline.c: for tasks that have a deadline. q locked, but for the last two: current, no locks. */
void sched_dl_release(struct task *t); /* t->lock: it will have another policy */
void sched_dl_charge(struct task *t, u64 delta_ns);
void sched_dl_wake(struct task *t, u64 now);
void sched_dl_yield(void);
void sched_dl_pause(void); /* until it has budget again, or a fatal signal */

/* Of each period, real-time tasks have so much before fair ones that wait (sched_attr.c). */
extern u64 sched_rt_period_ns, sched_rt_runtime_ns; /* runtime ~0: all */

struct rq *sched_change_begin(struct task *t, bool *queued);
void sched_change_end(struct rq *q, struct task *t, bool queued);
void sched_move(struct rq *from, struct rq *to, struct task *t);
bool sched_pull(struct rq *q); /* takes a task from the busiest CPU. IRQs off */
void sched_load_update(u64 now);

#endif
