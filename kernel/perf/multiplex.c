/* SPDX-License-Identifier: MIT
 *
 * Problem: a processor has four to a dozen counters; programs ask for more, in groups that make sense only together,
 * some of which must always count.
 *
 * Idea: groups are given counters whole or not at all (pmu_fit.c), in this order: pinned ones of the CPU, pinned ones
 * of the task, then the others of one and of the other. While one waits, a timer moves the first of each context to
 * the end every 4 ms, lets the other context choose first, and gives the counters out anew: each has its turn, and its
 * running time says how long, so that a reader can scale its count by enabled over running.
 *
 *   turns   A B C D   room for two      4 ms: A B     8 ms: B C     12 ms: C D     16 ms: D A ...
 *
 * Giving out is done at once for the whole CPU, when something has changed (`changed`), by perf_context_settle. A
 * group of software events with one hardware event in it waits like that one.
 *
 * Contract: perf_priv.h. A pinned group that does not fit is in error. A group that could never fit is refused when it
 * is made (multiplex_could_fit).
 *
 * Locks: ctx->lock for turns, one context at a time; the counters are the CPU's, IRQs off.
 */
#include "perf_priv.h"
#include <arch/cpu.h>
#include <core/clock.h>
#include <lib/string.h>

struct group {
	struct perf_event *who[PMU_COUNTERS_MOST];
	u64 allowed[PMU_COUNTERS_MOST];
	unsigned n;
	bool too_many;
};

static void add_member(struct group *g, struct perf_event *e)
{
	if (!e->need.allowed)
		return;
	if (g->n == PMU_COUNTERS_MOST) {
		g->too_many = true;
		return;
	}
	g->who[g->n] = e;
	g->allowed[g->n++] = e->need.allowed;
}

bool multiplex_could_fit(const struct perf_event *leader, const struct perf_event *extra)
{
	struct group g = { .n = 0 };
	struct pmu_fit empty = { .allowed = { 0 } };
	u8 counter[PMU_COUNTERS_MOST], moved[PMU_COUNTERS_MOST];
	struct perf_event *m;

	add_member(&g, (struct perf_event *)leader);
	list_for_each_entry (m, &leader->siblings, sibling_link)
		add_member(&g, m);
	if (extra)
		add_member(&g, (struct perf_event *)extra);
	return !g.too_many && pmu_fit_add(&empty, g.allowed, g.n, counter, moved);
}

/* ---- who stands in line ---------------------------------------------------------------------------------- */

void multiplex_join(struct perf_event *e)
{
	struct perf_event *leader = e->leader;

	if (!e->need.allowed)
		return;
	if (!leader->nr_counters++)
		list_add_tail(&leader->turn_link, &e->ctx->turns);
}

void multiplex_leave(struct perf_event *e)
{
	if (e->need.allowed && !--e->leader->nr_counters)
		list_del_init(&e->leader->turn_link);
}

void multiplex_release(struct perf_event *e)
{
	struct perf_counters *k = &this_cpu_ptr(&perf_cpu)->counters;

	pmu_fit_remove(&k->fit, (unsigned)e->slot);
	k->on[e->slot] = NULL;
	e->slot = -1;
}

/* ---- giving out -------------------------------------------------------------------------------------------- */

/* Events that are on go to where moved says, those of g to their counters. */
static void take_places(struct perf_counters *k, const struct group *g, const u8 *counter, const u8 *moved)
{
	struct perf_event *before[PMU_COUNTERS_MOST];

	memcpy(before, k->on, sizeof(before));
	for (unsigned c = 0; c < PMU_COUNTERS_MOST; c++)
		if (moved[c] != PMU_NONE && moved[c] != c)
			hardware_halt(before[moved[c]]);
	for (unsigned c = 0; c < PMU_COUNTERS_MOST; c++) {
		k->on[c] = moved[c] == PMU_NONE ? NULL : before[moved[c]];
		if (k->on[c] && moved[c] != c) {
			k->on[c]->slot = (int)c;
			hardware_go(k->on[c]);
		}
	}
	for (unsigned i = 0; i < g->n; i++) {
		k->on[counter[i]] = g->who[i];
		g->who[i]->slot = counter[i];
	}
}

static bool is_empty(const struct perf_counters *k)
{
	for (unsigned c = 0; c < PMU_COUNTERS_MOST; c++)
		if (k->on[c])
			return false;
	return true;
}

static void switch_group_on(struct perf_event *leader, u64 now)
{
	struct perf_event *m;

	event_switch_on(leader, now);
	list_for_each_entry (m, &leader->siblings, sibling_link)
		if (event_may_run(m))
			event_switch_on(m, now);
}

/* False: it must wait. */
static bool try_group(struct perf_counters *k, struct perf_event *leader, u64 now)
{
	struct group g = { .n = 0 };
	u8 counter[PMU_COUNTERS_MOST], moved[PMU_COUNTERS_MOST];
	struct perf_event *m;

	if (k->exclusive || (leader->attr.exclusive && !is_empty(k)))
		return false;
	add_member(&g, leader);
	list_for_each_entry (m, &leader->siblings, sibling_link)
		if (event_may_run(m))
			add_member(&g, m);
	if (!pmu_fit_add(&k->fit, g.allowed, g.n, counter, moved))
		return false;
	take_places(k, &g, counter, moved);
	k->exclusive = leader->attr.exclusive;
	switch_group_on(leader, now);
	return true;
}

static void give_out(struct perf_counters *k, struct perf_context *ctx, bool pinned, u64 now)
{
	struct perf_event *e, *m;

	list_for_each_entry (e, &ctx->turns, turn_link) {
		if (e->attr.pinned != pinned || !event_may_run(e) || try_group(k, e, now))
			continue;
		e->is_fresh = false;
		list_for_each_entry (m, &e->siblings, sibling_link)
			m->is_fresh = false;
		if (pinned)
			event_set_error(e, now);
		else
			k->waiting = true;
	}
}

static void take_back(struct perf_context *ctx, u64 now)
{
	struct perf_event *e, *m;

	list_for_each_entry (e, &ctx->turns, turn_link) {
		list_for_each_entry (m, &e->siblings, sibling_link)
			event_switch_off(m, now);
		event_switch_off(e, now);
	}
}

/* The contexts that are active on this CPU: its own, then the task's. */
#define NR_CONTEXTS 2

static struct perf_context *context_here(struct perf_cpu *c, unsigned n)
{
	struct perf_context *of_task = rcu_deref(current->perf);

	return !n ? &c->ctx : of_task && READ_ONCE(of_task->on_cpu) == (int)cpu_id() ? of_task : NULL;
}

void multiplex_settle(struct perf_cpu *c)
{
	struct perf_counters *k = &c->counters;
	u64 now = clock_ns(); /* one for all: who only moves loses no time */

	k->changed = k->waiting = k->exclusive = false;
	for (unsigned step = 0; step < 3 * NR_CONTEXTS; step++) {
		bool others = step >= 2 * NR_CONTEXTS;
		struct perf_context *ctx = context_here(c, (step % NR_CONTEXTS) ^ (others && k->task_first));

		if (!ctx || list_empty(&ctx->turns))
			continue;
		spin_lock(&ctx->lock);
		if (step < NR_CONTEXTS)
			take_back(ctx, now);
		else
			give_out(k, ctx, !others, now);
		spin_unlock(&ctx->lock);
	}
	if (k->waiting && k->turn.cpu < 0)
		timer_arm(&k->turn, now + PERF_TICK_NS, 0);
}

/* ---- turns ------------------------------------------------------------------------------------------------------
 */

static void pass_turn(struct perf_context *ctx)
{
	struct perf_event *e;

	spin_lock(&ctx->lock);
	list_for_each_entry (e, &ctx->turns, turn_link)
		if (!e->attr.pinned) {
			list_move_tail(&e->turn_link, &ctx->turns);
			break;
		}
	spin_unlock(&ctx->lock);
}

void multiplex_hold(struct perf_cpu *c, u64 until_ns)
{
	if (c->counters.turn.cpu < 0)
		timer_arm(&c->counters.turn, until_ns, 0);
}

static void next_turn(struct timer *t)
{
	struct perf_cpu *c = this_cpu_ptr(&perf_cpu);

	for (unsigned n = 0; n < PMU_COUNTERS_MOST; n++) {
		struct perf_event *e = c->counters.on[n];

		if (e && e->throttled) {
			perf_unthrottle(e);
			hardware_go(e);
		}
	}
	if (!c->counters.waiting)
		return;
	for (unsigned n = 0; n < NR_CONTEXTS; n++)
		if (context_here(c, n))
			pass_turn(context_here(c, n));
	c->counters.task_first = !c->counters.task_first;
	c->counters.changed = true;
	perf_context_settle();
}

void multiplex_init(struct perf_cpu *c)
{
	timer_init(&c->counters.turn, next_turn);
}
