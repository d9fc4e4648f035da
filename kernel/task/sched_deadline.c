/* SPDX-License-Identifier: MIT
 *
 * Problem: some tasks need so much time before such a moment, again and again, whatever the others ask for.
 *
 * Idea: earliest deadline first, with a constant bandwidth server a task: it may run runtime_ns in each period, and of
 * those who may, the one whose deadline comes first runs, before all other classes (one list of a run queue, sorted).
 * Who has used up his budget pauses on his way to user mode, where he holds nothing, until his next period begins. Who
 * wakes keeps his deadline if what is left of his budget fits before it; else both begin anew.
 *      runs --budget used up--> runs on in the kernel --to user mode--> pauses --next period--> runs, new deadline
 * Nobody is taken in who would make the sum of all runtimes over periods greater than what real time may have.
 *
 * Contract: task/sched.h; sched(7), "SCHED_DEADLINE". One sum for all CPUs: with more than one, deadlines are met
 * within bounds, not exactly, as on Linux.
 *
 * Locks: the run queue's for budget and deadline; `lock` for the sum.
 */
#include <alloc/slab.h>
#include <arch/cpu.h>
#include <core/clock.h>
#include <lib/err.h>
#include <linux/sched.h>
#include "sched_priv.h"
#include "task_priv.h"

#define RUNTIME_MIN_NS 1024
#define PERIOD_MIN_NS  (100 * NSEC_PER_USEC)
#define PERIOD_MAX_NS  ((u64)(1 << 22) * NSEC_PER_USEC) /* so that two times multiply in 64 bits */
#define PART_SHIFT     20

static struct spinlock lock = SPIN_INIT(RANK_LEAF_SPIN);
static u64 total; /* of all tasks: runtime / period << PART_SHIFT */

static u64 part_of(u64 runtime_ns, u64 period_ns)
{
	return (runtime_ns << PART_SHIFT) / period_ns;
}

static bool is_valid(const struct sched_deadline *d)
{
	return d->runtime_ns >= RUNTIME_MIN_NS && d->runtime_ns <= d->deadline_ns && d->deadline_ns <= d->period_ns &&
	       d->period_ns >= PERIOD_MIN_NS && d->period_ns <= PERIOD_MAX_NS;
}

static bool exchange_part(u64 old, u64 new)
{
	u64 runtime = READ_ONCE(sched_rt_runtime_ns), most = ~0ULL;
	ulong flags = spin_lock_irqsave(&lock);
	bool fits;

	if (runtime != ~0ULL)
		most = part_of(runtime, READ_ONCE(sched_rt_period_ns)) * cpumask_weight(cpu_online_mask());
	fits = total - old + new <= most || new <= old;
	if (fits)
		total += new - old;
	spin_unlock_irqrestore(&lock, flags);
	return fits;
}

/* t->lock held. */
void sched_dl_release(struct task *t)
{
	(void)exchange_part(t->dl->part, 0);
	t->dl->part = 0;
}

int sched_set_deadline(struct task *t, const struct sched_deadline *d)
{
	struct sched_dl *fresh = kzalloc(sizeof(*fresh), ALLOC_KERNEL);
	u64 part;
	struct rq *q;
	ulong flags;
	bool queued;
	int err = 0;

	if (!fresh || !is_valid(d)) {
		kfree(fresh);
		return is_valid(d) ? -ENOMEM : -EINVAL;
	}
	part = part_of(d->runtime_ns, d->period_ns);
	flags = spin_lock_irqsave(&t->lock);
	if (!t->dl)
		swap(t->dl, fresh);
	if (cpu_online_mask() & ~t->affinity)
		err = -EPERM;
	else if (!exchange_part(t->dl->part, part))
		err = -EBUSY;
	if (!err) {
		q = sched_change_begin(t, &queued);
		t->class = SCHED_CLASS_DEADLINE;
		t->policy = SCHED_DEADLINE;
		t->rt_priority = 0;
		t->dl->want = *d;
		t->dl->part = part;
		t->dl->left_ns = (s64)d->runtime_ns;
		t->dl->until_ns = clock_ns() + d->deadline_ns;
		sched_change_end(q, t, queued);
	}
	spin_unlock_irqrestore(&t->lock, flags);
	kfree(fresh);
	return err;
}

void sched_get_deadline(struct task *t, struct sched_deadline *out)
{
	ulong flags = spin_lock_irqsave(&t->lock);

	*out = t->dl && t->class == SCHED_CLASS_DEADLINE ? t->dl->want : (struct sched_deadline){ 0 };
	spin_unlock_irqrestore(&t->lock, flags);
}

/* ---- budgets: run queue locked -------------------------------------------------------------------------------- */

void sched_dl_charge(struct task *t, u64 delta_ns)
{
	t->dl->left_ns -= (s64)delta_ns;
	if (t->dl->left_ns <= 0)
		__atomic_fetch_or(&t->work, WORK_THROTTLE, __ATOMIC_SEQ_CST);
}

void sched_dl_wake(struct task *t, u64 now)
{
	struct sched_dl *d = t->dl;
	bool fits = d->until_ns > now && (d->left_ns <= 0 || (u64)d->left_ns * d->want.deadline_ns <=
								     (d->until_ns - now) * d->want.runtime_ns);

	if (fits)
		return;
	d->until_ns = now + d->want.deadline_ns;
	d->left_ns = (s64)d->want.runtime_ns;
}

/* When current's next period begins, if it must wait for that; 0: it may run. */
static u64 pause_end(void)
{
	struct sched_dl *d = current->dl;
	bool queued;
	ulong flags = spin_lock_irqsave(&current->lock);
	struct rq *q = sched_change_begin(current, &queued);
	u64 now = clock_ns(), next = d->until_ns - d->want.deadline_ns + d->want.period_ns;

	if (next <= now)
		sched_dl_wake(current, now);
	if (d->left_ns > 0 || current->class != SCHED_CLASS_DEADLINE)
		next = 0;
	sched_change_end(q, current, queued);
	spin_unlock_irqrestore(&current->lock, flags);
	return next;
}

void sched_dl_pause(void)
{
	u64 next;

	while (!fatal_signal_pending(current) && (next = pause_end())) {
		sched_set_state(TASK_KILLABLE);
		(void)sched_sleep_until(next);
	}
}

/* The rest of this period is given up. */
void sched_dl_yield(void)
{
	current->dl->left_ns = 0;
	__atomic_fetch_or(&current->work, WORK_THROTTLE, __ATOMIC_SEQ_CST);
}
