/* SPDX-License-Identifier: MIT
 *
 * Problem: thousands of deadlines and one comparator a CPU, with no periodic tick.
 *
 * Idea: each CPU keeps its timers in a tree by deadline. The hardware is armed for the earlier of the first timer (plus
 * its slack, so that near ones expire together) and the scheduler's slice. An interrupt runs all that are due.
 *
 *      idle (cpu = -1) --arm--> queued (cpu = n) --interrupt--> running --> idle, or queued again by its own fn
 *
 * Contract: task/timer.h.
 *
 * Locks: wheel->lock (RANK_TIMER, irqsave) of the CPU where the timer is queued; `running` names the timer whose fn
 * runs without the lock, so that timer_cancel can wait for it.
 */
#include <arch/cpu.h>
#include <arch/upcalls.h>
#include <core/clock.h>
#include <core/log.h>

#include "task_priv.h"

struct wheel {
	struct spinlock lock;
	struct rb_root timers;
	struct timer *running;
	u64 slice_ns, armed_ns; /* own CPU only, IRQs off */
};

static DEFINE_PER_CPU(struct wheel, wheel) = { .lock = SPIN_INIT(RANK_TIMER), .slice_ns = ~0ULL, .armed_ns = ~0ULL };

void timer_init(struct timer *t, void (*fn)(struct timer *))
{
	*t = (struct timer){ .fn = fn, .cpu = -1 };
}

static u64 first_deadline(struct wheel *w)
{
	struct rb_node *n = rb_first(&w->timers);

	return n ? rb_entry(n, struct timer, node)->deadline_ns : ~0ULL;
}

/* On the wheel's own CPU, IRQs off. */
static void program(struct wheel *w)
{
	u64 next = min(READ_ONCE(w->slice_ns), first_deadline(w));

	if (next == w->armed_ns)
		return;
	w->armed_ns = next;
	clock_arm(next);
}

void timer_set_slice(u64 deadline_ns)
{
	struct wheel *w = this_cpu_ptr(&wheel);

	if (w->slice_ns == deadline_ns)
		return;
	w->slice_ns = deadline_ns;
	/* An earlier slice must be armed; a later one may find the comparator early once, which costs less than the
	 * lock. */
	if (deadline_ns < w->armed_ns) {
		w->armed_ns = deadline_ns;
		clock_arm(deadline_ns);
	}
}

static void insert(struct wheel *w, struct timer *t)
{
	struct rb_node **link = &w->timers.node, *parent = NULL;

	while (*link) {
		parent = *link;
		link = t->deadline_ns < rb_entry(parent, struct timer, node)->deadline_ns ? &parent->left
											  : &parent->right;
	}
	rb_insert(&w->timers, &t->node, parent, link);
}

/* Takes t out of whatever wheel it is in. True if it was pending. */
static bool unqueue(struct timer *t)
{
	for (;;) {
		int cpu = __atomic_load_n(&t->cpu, __ATOMIC_ACQUIRE);
		struct wheel *w;
		ulong irq;
		bool found;

		if (cpu < 0)
			return false;
		w = per_cpu_ptr(&wheel, cpu);
		irq = spin_lock_irqsave(&w->lock);
		found = t->cpu == cpu;
		if (found) {
			rb_erase(&w->timers, &t->node);
			__atomic_store_n(&t->cpu, -1, __ATOMIC_RELEASE);
		}
		spin_unlock_irqrestore(&w->lock, irq);
		if (found)
			return true;
	}
}

void timer_arm(struct timer *t, u64 deadline_ns, u64 slack_ns)
{
	struct wheel *w;
	ulong irq;

	unqueue(t);
	irq = irq_save();
	w = this_cpu_ptr(&wheel);
	spin_lock(&w->lock);
	/* Slack is spent on a deadline that is queued already: they then share an interrupt. */
	if (slack_ns) {
		u64 first = first_deadline(w);

		if (first > deadline_ns && first - deadline_ns <= slack_ns)
			deadline_ns = first;
	}
	t->deadline_ns = deadline_ns;
	insert(w, t);
	__atomic_store_n(&t->cpu, (int)cpu_id(), __ATOMIC_RELEASE);
	if (deadline_ns < w->armed_ns)
		program(w);
	spin_unlock(&w->lock);
	irq_restore(irq);
}

bool timer_cancel(struct timer *t)
{
	bool pending = unqueue(t);
	unsigned cpu;

	if (pending)
		return true;
	for_each_cpu (cpu, cpu_online_mask())
		while (__atomic_load_n(&per_cpu_ptr(&wheel, cpu)->running, __ATOMIC_ACQUIRE) == t)
			cpu_relax();
	return unqueue(t); /* fn may have armed it again */
}

static void run_due(struct wheel *w)
{
	struct rb_node *n;

	spin_lock(&w->lock);
	while ((n = rb_first(&w->timers))) {
		struct timer *t = rb_entry(n, struct timer, node);

		if (t->deadline_ns > clock_ns())
			break;
		rb_erase(&w->timers, n);
		__atomic_store_n(&w->running, t, __ATOMIC_RELEASE);
		__atomic_store_n(&t->cpu, -1, __ATOMIC_RELEASE);
		spin_unlock(&w->lock);
		t->fn(t);
		__atomic_store_n(&w->running, NULL, __ATOMIC_RELEASE); /* t may be gone */
		spin_lock(&w->lock);
	}
	w->armed_ns = ~0ULL;
	program(w);
	spin_unlock(&w->lock);
}

void upcall_timer_irq(void)
{
	struct wheel *w = this_cpu_ptr(&wheel);

	if (w->slice_ns <= clock_ns()) {
		w->slice_ns = ~0ULL;
		sched_slice_expired();
	}
	run_due(w);
}
