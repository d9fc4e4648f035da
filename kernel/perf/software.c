/* SPDX-License-Identifier: MIT
 *
 * Problem: events that the kernel itself makes: page faults, context switches, migrations, and two clocks.
 *
 * Idea: what is counted has a static branch and, on each CPU, a list of the active events that count it; a happening
 * walks that list. Clocks need no happenings: their count is the time they were active; one that samples arms a timer
 * while it is active, and keeps what was left of its period when its task leaves the CPU.
 *
 * Contract: perf_priv.h; PERF_COUNT_SW_* of linux/perf_event.h. DUMMY carries side-band records only, BPF_OUTPUT what
 * programs send (perf/output.h); kinds that never
 * happen here (alignment faults) can be opened and stay 0, as on Linux on this machine.
 *
 * Locks: lists belong to their CPU, IRQs off. The timer of a clock that has just become inactive may still fire: it
 * looks at the state first.
 */
#include "perf_priv.h"
#include <arch/cpu.h>
#include <arch/thread.h>
#include <core/clock.h>
#include <lib/err.h>

#define PERIOD_LEAST_NS 10000

static void fire(struct perf_cpu *c, struct list *events, u64 n, const struct regs *regs, ulong addr, bool may_tell)
{
	struct perf_event *e, *next;

	if (c->busy)
		return;
	c->busy = true;
	list_for_each_entry_safe (e, next, events, fire_link) {
		struct perf_sample s = { .regs = regs, .addr = addr, .may_tell = may_tell };

		perf_deliver(e, n, &s);
	}
	perf_settle(c);
	c->busy = false;
}

void perf_count(enum task_count what, u64 n, const struct regs *regs, ulong addr)
{
	ulong irq = irq_save();
	struct perf_cpu *c = this_cpu_ptr(&perf_cpu);
	struct perf_caller caller;

	if (!list_empty(&c->counts[what]))
		fire(c, &c->counts[what], n, regs ? regs : PERF_CALLER_REGS(&caller), addr, regs != NULL);
	irq_restore(irq);
}

/* From the scheduler: IRQs are off, the place is the scheduler. */
void perf_count_sched(enum task_count what)
{
	struct perf_cpu *c = this_cpu_ptr(&perf_cpu);
	struct perf_caller caller;

	if (!list_empty(&c->counts[what]))
		fire(c, &c->counts[what], 1, PERF_CALLER_REGS(&caller), 0, false);
}

static int software_init(struct perf_event *e)
{
	switch (e->attr.config) {
	case PERF_COUNT_SW_CPU_CLOCK:
	case PERF_COUNT_SW_TASK_CLOCK: return -ENOENT; /* the other kind's */
	default: break;
	}
	if (e->attr.config >= PERF_COUNT_SW_MAX)
		return -ENOENT;
	if (e->attr.sample_type & PERF_SAMPLE_BRANCH_STACK)
		return -EOPNOTSUPP;
	if (!e->parent)
		static_key_inc(&task_count_keys[e->attr.config]);
	return 0;
}

static void software_destroy(struct perf_event *e)
{
	if (!e->parent)
		static_key_dec(&task_count_keys[e->attr.config]);
}

static void software_start(struct perf_event *e)
{
	list_add_tail(&e->fire_link, &this_cpu_ptr(&perf_cpu)->counts[e->attr.config]);
}

static void software_stop(struct perf_event *e)
{
	list_del_init(&e->fire_link);
}

const struct perf_kind perf_kind_software = { .type = PERF_TYPE_SOFTWARE,
					      .init = software_init,
					      .destroy = software_destroy,
					      .start = software_start,
					      .stop = software_stop };

/* ---- clocks ---------------------------------------------------------------------------------------------------- */

static bool is_idle(const struct task *t)
{
	return !t->tid && !t->process;
}

static void clock_tick(struct perf_event *e)
{
	struct perf_cpu *c = this_cpu_ptr(&perf_cpu);
	const struct regs *regs = irq_regs();
	struct perf_sample s = { .regs = regs, .period = e->period, .may_tell = true };

	if (!regs || c->busy || perf_excluded(e, regs) || (e->attr.exclude_idle && is_idle(current)))
		return;
	c->busy = true;
	perf_overflow(e, &s);
	perf_settle(c);
	c->busy = false;
}

static void tell_throttle(struct perf_event *e, u32 type)
{
	u64 body[3] = { perf_time(e), e->parent ? e->parent->id : e->id, e->id };
	struct perf_record r;

	if (!perf_record_begin(&r, e, type, 0, sizeof(body)))
		return;
	perf_ring_put(&r.w, body, sizeof(body));
	perf_record_end(&r);
}

/* As many in a tick as kernel.perf_event_max_sample_rate allows, then none until the next tick. */
bool perf_throttle(struct perf_event *e, u64 now)
{
	u64 most = max((perf_limits.max_sample_rate * PERF_TICK_NS + NSEC_PER_SEC - 1) / NSEC_PER_SEC, 1ULL);

	if (now - e->tick_ns >= PERF_TICK_NS) {
		e->tick_ns = now - now % PERF_TICK_NS;
		e->tick_samples = 0;
	}
	if (++e->tick_samples < most)
		return false;
	e->throttled = true;
	tell_throttle(e, PERF_RECORD_THROTTLE);
	return true;
}

void perf_unthrottle(struct perf_event *e)
{
	e->throttled = false;
	tell_throttle(e, PERF_RECORD_UNTHROTTLE);
}

/* After a sample: when may the next be taken? */
static u64 next_sample(struct perf_event *e, u64 due, u64 now)
{
	return perf_throttle(e, now) ? max(due, e->tick_ns + PERF_TICK_NS) : due;
}

static void clock_fire(struct timer *t)
{
	struct perf_event *e = container_of(t, struct perf_event, timer);
	u64 now;

	if (READ_ONCE(e->state) != PERF_ACTIVE || e->on_cpu != cpu_id())
		return;
	if (unlikely(e->throttled))
		perf_unthrottle(e);
	e->kind->tick(e);
	now = clock_ns();
	if (e->state == PERF_ACTIVE)
		timer_arm(t, next_sample(e, max(t->deadline_ns + e->period, now + PERIOD_LEAST_NS / 2), now), 0);
}

static u64 clock_period(const struct perf_event *e)
{
	u64 ns = e->attr.freq ? NSEC_PER_SEC / e->attr.sample_freq : e->attr.sample_period;

	return max(ns, (u64)PERIOD_LEAST_NS);
}

void perf_clock_init(struct perf_event *e)
{
	timer_init(&e->timer, clock_fire);
	if (perf_attr_samples(&e->attr)) {
		e->period = clock_period(e);
		e->timer_left = e->period;
	}
}

static int clock_init(struct perf_event *e)
{
	if (e->attr.config != PERF_COUNT_SW_CPU_CLOCK && e->attr.config != PERF_COUNT_SW_TASK_CLOCK)
		return -ENOENT;
	if (e->attr.sample_type & PERF_SAMPLE_BRANCH_STACK)
		return -EOPNOTSUPP;
	perf_clock_init(e);
	return 0;
}

void perf_clock_destroy(struct perf_event *e)
{
	timer_cancel(&e->timer);
}

static void clock_start(struct perf_event *e)
{
}

void perf_clock_stop(struct perf_event *e)
{
	u64 now = clock_ns(), due = READ_ONCE(e->timer.deadline_ns);

	if (perf_attr_samples(&e->attr))
		e->timer_left = due > now ? min(due - now, e->period) : PERIOD_LEAST_NS / 2;
}

void perf_clock_arm(struct perf_event *e)
{
	if (perf_attr_samples(&e->attr))
		timer_arm(&e->timer, clock_ns() + e->timer_left, 0);
}

static u64 clock_count(struct perf_event *e, u64 now)
{
	return e->count + (now - e->start_ns);
}

const struct perf_kind perf_kind_clock = { .type = PERF_TYPE_SOFTWARE,
					   .init = clock_init,
					   .destroy = perf_clock_destroy,
					   .start = clock_start,
					   .stop = perf_clock_stop,
					   .count = clock_count,
					   .arm = perf_clock_arm,
					   .tick = clock_tick };
