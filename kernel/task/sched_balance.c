/* SPDX-License-Identifier: MIT
 *
 * Problem: tasks bunch up on some CPUs while others idle; and people read the load average.
 *
 * Idea: pulling only. A CPU that is idle, or every 64 ms of its ticks, looks for the queue with more load than its own
 * and takes the waiting task that brings the two closest together. Load is weight, not number: what the root tenant
 * divides there, of which a task has its part (sched_tenant.c). With equal loads on all CPUs each tenant gets what its
 * weight says. Load averages decay every 5 s by e^(-5/60), e^(-5/300), e^(-5/900) in 11-bit fixed point; intervals that
 * nobody ticked through are made up for.
 *
 * Contract: sched_priv.h, task/sched.h.
 *
 * Locks: the two run queues by rising CPU number; load_lock (RANK_SUBSYS_SPIN).
 */
#include <arch/cpu.h>
#include <core/clock.h>
#include <core/spin.h>
#include "sched_priv.h"
#include "task_priv.h"

#define LOAD_INTERVAL_NS (5 * NSEC_PER_SEC)
#define FIXED_1          2048

u64 sched_total_forks;
static u64 load_avg[3], load_next_ns;
static u8 load_busy;

#define RT_LOAD    BIT(20) /* more than fair tasks weigh: what waits beside a real-time task goes elsewhere */
#define SEARCH_MAX 32      /* tasks looked at, so that a long queue is not locked for long */
#define WORTH      32      /* a busy CPU moves a task only if that evens out this part of the load */

static u64 load_of(const struct rq *q)
{
	return READ_ONCE(tenant_root.run[q->cpu].sum) + READ_ONCE(q->nr_rt) * RT_LOAD;
}

/* Of those not tried yet; an idle CPU takes from whoever has more than it runs. */
static struct rq *busiest(const struct rq *q, cpumask_t tried)
{
	u64 most = q->nr_running ? load_of(q) : 0;
	struct rq *best = NULL;
	unsigned cpu;

	for_each_cpu (cpu, cpu_online_mask() & ~tried) {
		struct rq *o = per_cpu_ptr(&rq, cpu);
		u64 load = load_of(o);

		if (READ_ONCE(o->nr_running) > 1 && load > most) {
			most = load;
			best = o;
		}
	}
	return best;
}

static bool may_go(const struct task *t, const struct rq *to)
{
	return cpumask_has(t->affinity, to->cpu) && !READ_ONCE(t->on_cpu);
}

static struct task *movable_rt(const struct rq *from, const struct rq *to)
{
	struct task *t;

	for (int prio = LEVEL_DEADLINE; prio > 0; prio--)
		list_for_each_entry (t, &from->rt[prio], run_link)
			if (may_go(t, to))
				return t;
	return NULL;
}

/* The waiting task whose move leaves the two queues least apart, if it is worth it. */
static struct task *movable_fair(struct rq *from, const struct rq *to)
{
	u64 load = load_of(from) << LOAD_SHIFT, apart = load - (load_of(to) << LOAD_SHIFT);
	u64 least = to->nr_running ? apart - min(apart, load / WORTH) : ~0ULL;
	struct task *best = NULL;
	unsigned seen = 0;

	for (struct rb_node *n = rb_last(&from->fair); n && seen < SEARCH_MAX; n = rb_prev(n), seen++) {
		struct task *t = rb_entry(n, struct task, run_node);
		u64 twice, then;

		if (!may_go(t, to))
			continue;
		twice = 2 * sched_load_of(from, t);
		then = twice > apart ? twice - apart : apart - twice;
		if (then < least) {
			least = then;
			best = t;
		}
	}
	return best;
}

static struct task *movable(struct rq *from, const struct rq *to)
{
	struct task *t = NULL;

	if (from->nr_running < 2 || load_of(from) < load_of(to))
		return NULL;
	if (from->nr_rt > to->nr_rt + (to->nr_running != 0))
		t = movable_rt(from, to);
	return t ? t : movable_fair(from, to);
}

static bool pull_from(struct rq *q, struct rq *from)
{
	struct task *t;

	spin_lock(from->cpu < q->cpu ? &from->lock : &q->lock);
	spin_lock_nested(from->cpu < q->cpu ? &q->lock : &from->lock);
	t = movable(from, q);
	if (t)
		sched_move(from, q, t);
	spin_unlock(&from->lock);
	spin_unlock(&q->lock);
	return t != NULL;
}

bool sched_pull(struct rq *q)
{
	cpumask_t tried = cpumask_of(q->cpu);
	struct rq *from;

	while ((from = busiest(q, tried))) {
		if (pull_from(q, from))
			return true;
		tried |= cpumask_of(from->cpu);
	}
	return false;
}

static u64 running_now(void)
{
	u64 n = 0;
	unsigned cpu;

	for_each_cpu (cpu, cpu_online_mask())
		n += READ_ONCE(per_cpu_ptr(&rq, cpu)->nr_running);
	return n;
}

void sched_load_update(u64 now)
{
	static const u32 decay[3] = { 1884, 2014, 2037 };
	u64 active;

	if (now < READ_ONCE(load_next_ns) || __atomic_exchange_n(&load_busy, 1, __ATOMIC_ACQUIRE))
		return;
	active = running_now() * FIXED_1;
	if (!load_next_ns)
		load_next_ns = now;
	for (int n = 0; now >= load_next_ns; n++, load_next_ns += LOAD_INTERVAL_NS) {
		if (n == 1000) { /* an hour and more of silence: the past is forgotten */
			load_next_ns = now;
			continue;
		}
		for (int i = 0; i < 3; i++)
			load_avg[i] = (load_avg[i] * decay[i] + active * (FIXED_1 - decay[i])) / FIXED_1;
	}
	__atomic_store_n(&load_busy, 0, __ATOMIC_RELEASE);
}

void sched_load(struct sched_load *out)
{
	unsigned cpu;

	sched_load_update(clock_ns());
	*out = (struct sched_load){ .running = running_now(), .total = task_total(), .forks = sched_total_forks };
	for (int i = 0; i < 3; i++)
		out->load_avg[i] = load_avg[i];
	for_each_cpu (cpu, cpu_online_mask())
		out->switches += per_cpu_ptr(&rq, cpu)->switches;
}

void sched_cpu_times(unsigned cpu, struct cpu_times *out)
{
	struct rq *q = per_cpu_ptr(&rq, cpu);
	ulong flags = spin_lock_irqsave(&q->lock);

	*out = q->times;
	if (q->curr == q->idle)
		out->idle_ns += clock_ns() - q->idle->run_start;
	spin_unlock_irqrestore(&q->lock, flags);
}
