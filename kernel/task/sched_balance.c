/* SPDX-License-Identifier: MIT
 *
 * Problem: tasks bunch up on some CPUs while others idle; and people read the load average.
 *
 * Idea: pulling only. A CPU that is idle, or every 64 ms of its ticks, looks for the queue that is
 * longer than its own by at least two and takes one task that may move. Load averages decay every 5
 * s by e^(-5/60), e^(-5/300), e^(-5/900) in 11-bit fixed point; intervals that nobody ticked
 * through are made up for.
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

static struct rq *busiest(const struct rq *q)
{
	struct rq *best = NULL;
	unsigned most = max(q->nr_running + 1, 1U), cpu;

	for_each_cpu (cpu, cpu_online_mask()) {
		struct rq *o = per_cpu_ptr(&rq, cpu);
		unsigned n = READ_ONCE(o->nr_running);

		if (o != q && n > most) {
			most = n;
			best = o;
		}
	}
	return best;
}

static struct task *movable(const struct rq *from, const struct rq *to)
{
	for (struct rb_node *n = rb_last(&from->fair); n; n = rb_prev(n)) {
		struct task *t = rb_entry(n, struct task, run_node);

		if (cpumask_has(t->affinity, to->cpu) && !READ_ONCE(t->on_cpu))
			return t;
	}
	for (int prio = LEVEL_DEADLINE; prio > 0; prio--) {
		struct task *t;

		list_for_each_entry (t, &from->rt[prio], run_link)
			if (cpumask_has(t->affinity, to->cpu) && !READ_ONCE(t->on_cpu))
				return t;
	}
	return NULL;
}

bool sched_pull(struct rq *q)
{
	struct rq *from = busiest(q);
	struct task *t;

	if (!from)
		return false;
	spin_lock(from->cpu < q->cpu ? &from->lock : &q->lock);
	spin_lock_nested(from->cpu < q->cpu ? &q->lock : &from->lock);
	t = from->nr_running > q->nr_running + 1 ? movable(from, q) : NULL;
	if (t)
		sched_move(from, q, t);
	spin_unlock(&from->lock);
	spin_unlock(&q->lock);
	return t != NULL;
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
