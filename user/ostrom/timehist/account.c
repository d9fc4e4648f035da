/* SPDX-License-Identifier: MIT
 *
 * Problem: from "A left CPU 0 for B" and "C was woken", tell how long each thread waited, was ready
 * without running, and ran.
 *
 * Idea: the switch at t that takes thread A off CPU c closes A's turn there, which began at the
 * CPU's previous switch:
 *
 *   last_time        ready_time          tprev              t
 *   A left a CPU     A was woken         A came to c        A leaves c
 *      |------ wait time ------------------|                 |
 *      |                 |--- sch delay ---|--- run time ----|
 *
 * The state in which A left last time says whether the wait was sleep, I/O (uninterruptible) or
 * preemption. Each CPU has a pseudo thread for idle. --time clips tprev and t to the window.
 *
 * Contract: timehist.h; th_record is the consumer of pd_for_each. Locks: none.
 */
#include <errno.h>
#include <stdlib.h>
#include "timehist.h"
#include "timeline.h"

enum { STATE_RUNNING = 0, STATE_UNINTERRUPTIBLE = 2 };

bool th_cpu_listed(const struct timehist *th, u32 cpu)
{
	return !th->has_cpu_list || (th->cpu_list[cpu / 64] >> (cpu % 64) & 1);
}

static bool listed(const struct id_list *l, s32 id)
{
	u32 lo = 0, hi = l->nr;

	while (lo < hi) {
		u32 mid = (lo + hi) / 2;

		if (l->ids[mid] == id)
			return true;
		if (l->ids[mid] < id)
			lo = mid + 1;
		else
			hi = mid;
	}
	return false;
}

bool th_filtered(const struct timehist *th, const struct pd_thread *t)
{
	if (!th->opt.pids && !th->opt.tids)
		return false;
	return (th->opt.pids && !listed(&th->pids, t->pid)) || (th->opt.tids && !listed(&th->tids, t->tid));
}

struct th_runtime *th_runtime(struct pd_thread *t)
{
	struct th_runtime *r = t->priv;

	if (!r) {
		r = t->priv = calloc(1, sizeof(*r));
		if (r)
			r->run.min = UINT64_MAX;
	}
	return r;
}

static void grow_idle_table(struct timehist *th, u32 cpu)
{
	if (cpu >= th->idle_cpus)
		for (th->idle_cpus = 1; th->idle_cpus < cpu + 1; th->idle_cpus *= 2)
			;
}

struct pd_thread *th_idle(struct timehist *th, u32 cpu)
{
	struct th_cpu *c = &th->cpus[cpu];

	grow_idle_table(th, cpu);
	if (!c->idle) {
		c->idle = pd_thread_new(0, 0);
		if (c->idle) {
			pd_thread_set_comm(c->idle, "<idle>");
			th_runtime(c->idle);
		}
	}
	return c->idle;
}

bool th_skip(struct timehist *th, struct pd_thread *t, const struct th_seen *x)
{
	bool skip = false;

	if (!th->is_filtered)
		return false;
	if (th_filtered(th, t)) {
		skip = true;
		th->skipped++;
	}
	if (th->opt.idle_hist && (x->e->kind != TH_SWITCH || (x->b->value[TH_PREV_PID] && x->b->value[TH_NEXT_PID])))
		skip = true;
	return skip;
}

static inline void add_stat(struct th_stats *st, u64 val)
{
	double x = (s64)val, delta; /* no run takes 292 years: a signed number is one instruction */

	st->n++;
	delta = x - st->mean;
	st->mean += delta / st->n;
	st->m2 += delta * (x - st->mean);
	st->max = max(st->max, val);
	st->min = min(st->min, val);
}

static inline enum th_wait kind_of_state(s32 state)
{
	if (state == STATE_RUNNING)
		return TH_PREEMPTED;
	return state == STATE_UNINTERRUPTIBLE ? TH_IO : TH_SLEEP;
}

/* From `from`, 0 if it is unknown, to `to`. */
static inline u64 stretch(u64 from, u64 to)
{
	return from && from <= to ? to - from : 0;
}

static inline void close_turn(struct th_runtime *r, u64 t, u64 tprev, bool summary)
{
	r->dt_run = tprev ? t - tprev : 0;
	r->dt_delay = stretch(r->ready_time, tprev);
	r->dt_wait = stretch(r->last_time, tprev);
	r->dt_kind = kind_of_state(r->last_state);
	r->wait = r->last_wait;
	if (!summary)
		return;
	add_stat(&r->run, r->dt_run);
	r->total_run += r->dt_run;
	r->total_delay += r->dt_delay;
	r->total_kind[r->dt_kind] += r->dt_wait;
	r->total_wait[r->wait] += r->dt_wait;
}

static struct pd_thread *switched_out(struct timehist *th, const struct pd_brief *b)
{
	struct pd_thread *t;

	/* the sample's own ids make a thread known even where the switch is accounted to another */
	t = pd_thread_get(&th->threads, b->pid, b->tid);
	if (!b->value[TH_PREV_PID])
		return th_idle(th, b->cpu);
	if (!b->tid)
		t = pd_thread_get(&th->threads, b->pid, b->pid);
	if (t && !t->has_leader) {
		pd_thread_get(&th->threads, b->pid, b->pid);
		t->has_leader = true;
	}
	if (th->opt.idle_hist && th_idle(th, b->cpu))
		th->cpus[b->cpu].last_thread = t;
	return t;
}

/* -I: the idle turn belongs to the thread that left the CPU idle; only its sums count. */
static bool account_idle(struct th_cpu *c, u64 t, u64 tprev, bool summary)
{
	struct th_runtime *r = c->last_thread ? th_runtime(c->last_thread) : NULL;

	if (!r)
		return false;
	close_turn(r, t, tprev, summary);
	r->dt_run = r->dt_delay = r->dt_wait = 0;
	c->last_thread = NULL;
	return true;
}

/* Clips [tprev, t] to --time; false if the turn lies outside. */
static bool clip(const struct timehist *th, u64 *tprev, u64 *t)
{
	if (th->start && th->start > *t)
		return false;
	if (*tprev && th->start > *tprev)
		*tprev = th->start;
	if (!th->end)
		return true;
	if (!*tprev || *tprev > th->end)
		return false;
	*t = min(*t, th->end);
	return true;
}

static void account_turn(struct timehist *th, const struct th_seen *x, struct pd_thread *who, struct th_runtime *r,
			 u64 *t)
{
	struct th_cpu *c = &th->cpus[x->b->cpu];
	u64 tprev = c->last_switch;

	if (th->is_plain)
		return close_turn(r, *t, tprev, true);
	if (!clip(th, &tprev, t))
		return;
	if (!th->opt.idle_hist || who->tid == 0) {
		if (th_cpu_listed(th, x->b->cpu))
			close_turn(r, *t, tprev, th->opt.summary);
		if (th->opt.idle_hist && !account_idle(c, *t, tprev, th->opt.summary))
			return;
	}
	r->was_waker = r->waker;
	if (th->timeline)
		th->error = timeline_turn(th, who, r, x->b->cpu, *t);
	else if (th->opt.why)
		th_note_delay(th, who, x);
	else if (th->opt.json)
		th_print_json(th, x, who, *t);
	else if (!th->opt.summary_only)
		th_print_switch(th, x, who, *t);
}

static inline int on_switch(struct timehist *th, const struct th_seen *x)
{
	const struct pd_brief *b = x->b;
	struct pd_thread *who = switched_out(th, b);
	struct th_cpu *c = &th->cpus[b->cpu];
	struct th_runtime *r = NULL;
	u64 t = x->time;

	if (!who)
		return -ENOMEM;
	if (!th_skip(th, who, x)) {
		r = th_runtime(who);
		if (!r)
			return -ENOMEM;
		if (r->last_wait == TH_PREEMPTED && r->last_cpu == b->cpu && c->idle_from > r->last_time)
			r->last_wait = TH_THROTTLED; /* its CPU had nothing to do, and it still did not run */
		account_turn(th, x, who, r, &t);
	}
	if (!th->hist_start && t >= th->start)
		th->hist_start = t;
	if (!th->end || t <= th->end)
		th->hist_end = t;
	if (r) {
		r->last_time = x->time;
		r->last_state = b->value[TH_PREV_STATE];
		r->last_cpu = b->cpu;
		if (!th->is_plain && th_wants_waits(th))
			r->last_wait = th_wait_of(th, x, r);
		r->ready_time = 0;
		r->waker = 0;
	}
	if (!b->value[TH_NEXT_PID])
		c->idle_from = x->time;
	c->last_switch = x->time;
	return th->error;
}

static bool outside_window(const struct timehist *th, u64 time)
{
	return time && ((th->start && time < th->start) || (th->end && time > th->end));
}

/* Whom the event is about; NULL without memory. */
static inline struct th_runtime *subject(struct timehist *th, const struct th_seen *x, struct pd_thread **who)
{
	*who = pd_thread_get(&th->threads, 0, x->b->value[TH_PID]);
	return *who ? th_runtime(*who) : NULL;
}

static inline int on_wakeup(struct timehist *th, const struct th_seen *x)
{
	struct pd_thread *who;
	struct th_runtime *r = subject(th, x, &who);

	if (!r)
		return -ENOMEM;
	if (!r->ready_time) {
		r->ready_time = x->time;
		r->waker = x->b->tid;
	}
	if (th->opt.wakeups && !th->timeline && !outside_window(th, x->time))
		th_print_wakeup(th, x, who);
	return 0;
}

/* A thread fights for a lock from contention_begin to contention_end, also while it does not run. */
static int set_contended(struct timehist *th, const struct pd_brief *b, bool is_contended)
{
	struct pd_thread *who = pd_thread_get(&th->threads, b->pid, b->tid);
	struct th_runtime *r = who ? th_runtime(who) : NULL;

	if (!r)
		return -ENOMEM;
	r->is_contended = is_contended;
	return 0;
}

static int on_migrate(struct timehist *th, const struct th_seen *x)
{
	struct pd_thread *who;
	struct th_runtime *r = subject(th, x, &who);

	if (!r)
		return -ENOMEM;
	r->migrations++;
	if (!th->opt.summary_only && !th->timeline)
		th_print_migration(th, x, who);
	return 0;
}

static inline int on_event(struct timehist *th, const struct th_seen *x)
{
	if (x->b->cpu >= TH_MAX_CPUS)
		return 0;
	th->max_cpu = max(th->max_cpu, x->b->cpu);
	switch (x->e->kind) {
	case TH_SWITCH: return on_switch(th, x);
	case TH_WAKEUP: return on_wakeup(th, x);
	case TH_MIGRATE: return on_migrate(th, x);
	case TH_CONTENDED: return set_contended(th, x->b, true);
	case TH_ACQUIRED: return set_contended(th, x->b, false);
	default: return 0;
	}
}

static int on_other_record(struct timehist *th, const struct pd_sample *s)
{
	if (s->type == PERF_RECORD_LOST) {
		th->last_lost = s->time;
		if (!th->opt.why && !th->opt.json && !th->timeline)
			th_print_lost(th, s);
	}
	return pd_threads_record(&th->threads, s);
}

bool th_wants_samples(const struct timehist *th)
{
	return th_wants_waits(th) || th->opt.next || th->opt.migrations || th->opt.callchain;
}

int th_brief(void *arg, const struct pd_event *e, u64 time, const struct pd_brief *b)
{
	struct timehist *th = arg;
	struct th_seen x = { .e = &th->kinds[e->index], .b = b, .time = time };

	return on_event(th, &x);
}

int th_record(void *arg, const struct pd_sample *s)
{
	struct timehist *th = arg;
	struct pd_brief b = { s->pid, s->tid, s->cpu, { 0 } };
	struct th_seen x = { .b = &b, .s = s, .time = s->time };

	if (s->type != PERF_RECORD_SAMPLE)
		return on_other_record(th, s);
	x.e = &th->kinds[s->event->index];
	for (u32 i = 0; i < x.e->nr_values; i++)
		b.value[i] = pd_field_int(x.e->values[i], s->raw, s->raw_bytes);
	return on_event(th, &x);
}
