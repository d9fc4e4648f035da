/* SPDX-License-Identifier: MIT
 *
 * Problem: thousands of timers, most of which are cancelled before they fire.
 *
 * Idea: a red-black tree a CPU, ordered by deadline, with the first one remembered. A slack lets
 * deadlines fall on a coarse grid, so that one interrupt serves several. A timer stays on the CPU
 * that armed it.
 *
 * Contract: task/timer.h. timer->cpu says whose lock guards the timer; it changes only under the
 * lock of the old and, one after the other, the new CPU.
 *
 * Locks: base->lock (RANK_TIMER, IRQs off). fn runs without it.
 */
#include <arch/cpu.h>
#include <arch/percpu.h>
#include <core/clock.h>
#include <core/spin.h>
#include <task/timer.h>
#include <core/trace.h>

struct base {
	struct spinlock lock;
	struct rb_root timers;
	struct rb_node *first;
	struct timer *running;
};
static DEFINE_PER_CPU(struct base, base) = { .lock = SPIN_INIT(RANK_TIMER) };

void timer_init(struct timer *t, void (*fn)(struct timer *))
{
	*t = (struct timer){ .fn = fn, .cpu = -1 };
	rb_clear(&t->node);
}

static void insert(struct base *b, struct timer *t)
{
	struct rb_node **link = &b->timers.node, *parent = NULL;
	bool first = true;

	while (*link) {
		parent = *link;
		if (t->deadline_ns < rb_entry(parent, struct timer, node)->deadline_ns) {
			link = &parent->left;
		} else {
			link = &parent->right;
			first = false;
		}
	}
	rb_insert(&b->timers, &t->node, parent, link);
	if (first)
		b->first = &t->node;
}

static void take_out(struct base *b, struct timer *t)
{
	if (b->first == &t->node)
		b->first = rb_next(&t->node);
	rb_erase(&b->timers, &t->node);
	WRITE_ONCE(t->cpu, -1);
}

static __noinline void trace_start(const struct timer *t, u64 asked_ns)
{
	struct trace_hrtimer_start r = { .hrtimer = (ulong)t,
					 .function = (ulong)t->fn,
					 .expires = (s64)t->deadline_ns,
					 .softexpires = (s64)asked_ns };

	trace_emit(TRACE_hrtimer_start, &r, sizeof(r));
}

static __noinline void trace_expire(const struct timer *t, u64 now)
{
	struct trace_hrtimer_expire_entry r = { .hrtimer = (ulong)t, .now = (s64)now, .function = (ulong)t->fn };

	trace_emit(TRACE_hrtimer_expire_entry, &r, sizeof(r));
}

static __noinline void trace_timer(enum trace_id id, const struct timer *t)
{
	struct trace_hrtimer_cancel r = { .hrtimer = (ulong)t };

	trace_emit(id, &r, sizeof(r));
}

/* Removes t from wherever it is queued. IRQs off. True: it was. */
static bool dequeue(struct timer *t)
{
	for (;;) {
		int cpu = READ_ONCE(t->cpu);
		struct base *b;
		bool mine;

		if (cpu < 0)
			return false;
		b = per_cpu_ptr(&base, cpu);
		spin_lock(&b->lock);
		mine = t->cpu == cpu;
		if (mine)
			take_out(b, t);
		spin_unlock(&b->lock);
		if (mine)
			return true;
	}
}

/* Rounds up to a power of two not above the slack. */
static u64 with_slack(u64 deadline, u64 slack)
{
	u64 grid;

	if (!slack || deadline > ~0ULL - slack)
		return deadline;
	grid = 1ULL << (63 - __builtin_clzll(slack));
	return (deadline + grid - 1) & ~(grid - 1);
}

void timer_arm(struct timer *t, u64 deadline_ns, u64 slack_ns)
{
	ulong flags = irq_save();
	struct base *b = this_cpu_ptr(&base);
	bool first;

	(void)dequeue(t);
	spin_lock(&b->lock);
	t->deadline_ns = with_slack(deadline_ns, slack_ns);
	WRITE_ONCE(t->cpu, (int)cpu_id());
	insert(b, t);
	first = b->first == &t->node;
	spin_unlock(&b->lock);
	if (trace_on(hrtimer_start))
		trace_start(t, deadline_ns);
	if (first)
		sched_clock_rearm(t->deadline_ns);
	irq_restore(flags);
}

bool timer_cancel(struct timer *t)
{
	ulong flags = irq_save();
	bool was = dequeue(t);

	if (trace_on(hrtimer_cancel) && was)
		trace_timer(TRACE_hrtimer_cancel, t);
	irq_restore(flags);
	/* It may be running on another CPU, and may even re-arm itself there. */
	for (unsigned cpu = 0; cpu < cpu_count(); cpu++) {
		if (cpu == cpu_id())
			continue;
		while (__atomic_load_n(&per_cpu_ptr(&base, cpu)->running, __ATOMIC_ACQUIRE) == t)
			cpu_relax();
	}
	if (READ_ONCE(t->cpu) >= 0) {
		flags = irq_save();
		was |= dequeue(t);
		irq_restore(flags);
	}
	return was;
}

void timers_run(u64 now)
{
	struct base *b = this_cpu_ptr(&base);

	spin_lock(&b->lock);
	while (b->first) {
		struct timer *t = rb_entry(b->first, struct timer, node);

		if (t->deadline_ns > now)
			break;
		__atomic_store_n(&b->running, t, __ATOMIC_SEQ_CST);
		take_out(b, t);
		spin_unlock(&b->lock);
		if (trace_on(hrtimer_expire_entry))
			trace_expire(t, now);
		t->fn(t);
		if (trace_on(hrtimer_expire_exit))
			trace_timer(TRACE_hrtimer_expire_exit, t);
		__atomic_store_n(&b->running, NULL, __ATOMIC_RELEASE);
		spin_lock(&b->lock);
	}
	spin_unlock(&b->lock);
}

u64 timers_next(void)
{
	struct rb_node *n = this_cpu_ptr(&base)->first;

	return n ? rb_entry(n, struct timer, node)->deadline_ns : ~0ULL;
}
