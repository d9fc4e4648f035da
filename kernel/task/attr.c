/* SPDX-License-Identifier: MIT
 *
 * Problem: change how a task is scheduled while it runs, waits or sleeps, and report the machine's load.
 *
 * Idea: a change takes the task out of its queue, edits it, and puts it back, all under both locks; a task that may no
 * longer run where it is moves at its next switch, or is moved now if it only waits. Load averages are exponential with
 * Linux's constants (1, 5, 15 minutes, sampled every 5 s, 11 bits of fraction), taken by a timer.
 *
 * Contract: sched_set_attr, sched_set_affinity, sched_load of task/sched.h.
 *
 * Locks: task->lock, then rq->lock.
 */
#include <arch/cpu.h>
#include <core/clock.h>
#include <lib/err.h>
#include <linux/sched.h>

#include "task_priv.h"

#define LOAD_PERIOD_NS (5 * NSEC_PER_SEC)
#define LOAD_ONE       2048

static struct timer load_timer;
static u64 load_avg[3];

static int class_of(int policy)
{
	switch (policy) {
	case SCHED_NORMAL:
	case SCHED_BATCH: return SCHED_CLASS_FAIR;
	case SCHED_IDLE: return SCHED_CLASS_IDLE;
	case SCHED_FIFO: return SCHED_CLASS_FIFO;
	case SCHED_RR: return SCHED_CLASS_RR;
	}
	return -EINVAL;
}

static struct run_queue *lock_task_rq(struct task *t)
{
	struct run_queue *rq;

	for (;;) {
		rq = per_cpu_ptr(&run_queue, READ_ONCE(t->cpu));
		spin_lock(&rq->lock);
		if (rq == per_cpu_ptr(&run_queue, t->cpu))
			return rq;
		spin_unlock(&rq->lock);
	}
}

static void apply(struct task *t, int policy, int class, int rt_priority, int nice)
{
	t->policy = policy;
	t->class = class;
	t->rt_priority = rt_priority;
	t->nice = nice;
	t->weight = sched_weight(nice);
}

int sched_set_attr(struct task *t, int policy, int rt_priority, int nice)
{
	int class = class_of(policy);
	bool rt = class == SCHED_CLASS_FIFO || class == SCHED_CLASS_RR;
	struct run_queue *rq;
	bool queued;
	ulong irq;

	if (class < 0 || nice < -20 || nice > 19 || (rt ? rt_priority < 1 || rt_priority > 99 : rt_priority != 0))
		return -EINVAL;
	irq = spin_lock_irqsave(&t->lock);
	rq = lock_task_rq(t);
	queued = t->on_queue;
	if (rq->curr == t)
		rq_account(rq, clock_ns());
	if (queued)
		rq_dequeue(rq, t);
	apply(t, policy, class, rt_priority, nice);
	if (queued && rq->curr == t)
		rq_requeue_current(rq, t);
	else if (queued)
		rq_enqueue(rq, t, true);
	if (queued)
		rq_resched(rq, t->cpu);
	spin_unlock(&rq->lock);
	spin_unlock_irqrestore(&t->lock, irq);
	return 0;
}

/* Where it must not stay: a waiting task is moved at once, a running one is asked to switch and moves then. */
int sched_set_affinity(struct task *t, cpumask_t mask)
{
	struct run_queue *rq;
	bool wrong, waiting;
	ulong irq;

	mask &= cpu_online_mask();
	if (!mask)
		return -EINVAL;
	irq = spin_lock_irqsave(&t->lock);
	rq = lock_task_rq(t);
	t->affinity = mask;
	wrong = t->on_queue && !cpumask_has(mask, t->cpu);
	waiting = wrong && rq->curr != t;
	if (waiting)
		rq_dequeue(rq, t);
	else if (wrong)
		rq_resched(rq, t->cpu);
	spin_unlock(&rq->lock);
	if (waiting) {
		struct run_queue *to = per_cpu_ptr(&run_queue, cpumask_first(mask));

		while (__atomic_load_n(&t->on_cpu, __ATOMIC_ACQUIRE))
			cpu_relax();
		spin_lock(&to->lock);
		t->vruntime += to->min_vruntime - rq->min_vruntime;
		t->cpu = cpumask_first(mask);
		rq_enqueue(to, t, true);
		rq_resched(to, t->cpu);
		spin_unlock(&to->lock);
	}
	spin_unlock_irqrestore(&t->lock, irq);
	if (wrong && t == current)
		sched_switch(true); /* switch_locked sees that it may not stay */
	return 0;
}

static void sample_load(struct timer *t)
{
	static const u64 decay[3] = { 1884, 2014, 2037 }; /* 2048 / e^(5 s / 1, 5, 15 min) */
	u64 active = 0;
	unsigned cpu;

	for_each_cpu (cpu, cpu_online_mask())
		active += READ_ONCE(per_cpu_ptr(&run_queue, cpu)->nr_running);
	for (int i = 0; i < 3; i++)
		load_avg[i] = (load_avg[i] * decay[i] + active * LOAD_ONE * (LOAD_ONE - decay[i])) / LOAD_ONE;
	timer_arm(t, clock_ns() + LOAD_PERIOD_NS, LOAD_PERIOD_NS / 10);
}

void sched_load_averages(u64 out[3])
{
	for (int i = 0; i < 3; i++)
		out[i] = READ_ONCE(load_avg[i]);
}

void sched_load_start(void)
{
	timer_init(&load_timer, sample_load);
	timer_arm(&load_timer, clock_ns() + LOAD_PERIOD_NS, 0);
}
