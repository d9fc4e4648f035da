/* SPDX-License-Identifier: MIT
 *
 * Problem: for each moment in which a thread of the target did not run, say what it waited for and who was behind it.
 *
 * Idea: three marks a wait: off (it left the CPU, with a reason), ready (it was woken, by a waker), on (it runs again).
 *
 *   off ---- reason, blamed on the waker ----> ready ---- run queue, blamed on who ran there ----> on
 *
 * A preempted thread is ready at once. Each CPU keeps its last turns (who ran from when to when): the part of a turn
 * that overlaps the wait on that CPU is blamed on its thread.
 *
 * Contract: why.h. Locks: none.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include "ostrom.h"
#include "why.h"

enum { EXIT_DEAD = 0x10, EXIT_ZOMBIE = 0x20 }; /* sched_switch's prev_state since Linux 4.14 */

struct fields {
	const struct pd_field *prev_pid, *prev_state, *prev_comm, *next_pid, *next_comm, *pid;
};

struct reading {
	struct why *w;
	struct pd_event *sched_switch, *waking, *wakeup_new;
	struct fields sw, wk, wn;
};

static bool is_target(const struct why *w, s32 tid)
{
	struct pd_thread *t = pd_thread_find(&w->lines.threads, tid);
	s32 pid = t && t->pid > 0 ? t->pid : tid;

	if (tid <= 0)
		return false;
	for (u32 i = 0; i < w->nr_pids; i++)
		if (w->pids[i] == pid)
			return true;
	return pid == w->pid;
}

static struct why_thread *get_thread(struct why *w, s32 tid)
{
	struct why_thread *t = w->threads[(u32)tid % 256];

	while (t && t->tid != tid)
		t = t->next;
	if (t || !is_target(w, tid))
		return t;
	t = calloc(1, sizeof(*t));
	if (!t)
		return NULL;
	t->tid = tid;
	t->next = w->threads[(u32)tid % 256];
	w->threads[(u32)tid % 256] = t;
	w->nr_threads++;
	return t;
}

static void blame(struct why *w, enum wait_reason reason, const char *who, u64 ns)
{
	struct why_cause *c = w->causes;

	while (c && (c->reason != reason || strcmp(c->who, who)))
		c = c->next;
	if (!c) {
		c = calloc(1, sizeof(*c));
		if (!c)
			return;
		c->reason = reason;
		snprintf(c->who, sizeof(c->who), "%s", who);
		c->next = w->causes;
		w->causes = c;
	}
	c->ns += ns;
	c->count++;
}

static void add_wait(struct why *w, enum wait_reason reason, u64 ns)
{
	w->wait_ns[reason] += ns;
	w->waits[reason]++;
}

/* Who ran on the CPU between from and to. */
static void blame_runners(struct why *w, enum wait_reason reason, u32 cpu, u64 from, u64 to)
{
	u64 nr = w->cpus[cpu].nr;

	for (u64 i = 0; i < min(nr, (u64)WHY_TURNS); i++) {
		const struct why_turn *t = &w->cpus[cpu].turns[(nr - 1 - i) % WHY_TURNS];
		u64 a = max(from, t->from), b = min(to, t->to);
		char who[80];

		if (t->to <= from)
			break;
		if (b <= a || !t->tid)
			continue;
		snprintf(who, sizeof(who), "%s%s", t->comm, is_target(w, t->tid) ? " (its own)" : "");
		blame(w, reason, who, b - a);
	}
}

static void end_turn(struct why *w, u32 cpu, u64 now)
{
	u64 n = w->cpus[cpu].nr++;
	struct why_turn *t = &w->cpus[cpu].turns[n % WHY_TURNS];

	t->from = w->cpus[cpu].since ? w->cpus[cpu].since : now;
	t->to = now;
	t->tid = w->cpus[cpu].tid;
	memcpy(t->comm, w->cpus[cpu].comm, sizeof(t->comm));
}

static void switch_off(struct why *w, struct why_thread *t, const struct pd_sample *s, int state, bool to_idle)
{
	if (t->on_ns)
		w->run_ns += s->time - t->on_ns;
	t->on_ns = t->off_ns = 0;
	if (state & (EXIT_DEAD | EXIT_ZOMBIE))
		return; /* it does not wait, it is gone */
	t->off_ns = s->time;
	t->cpu = s->cpu;
	t->reason = wait_reason_of(places_kernel(&w->lines.places), s, state, to_idle);
	t->ready_ns = t->reason == WAIT_PREEMPTED || t->reason == WAIT_THROTTLED ? s->time : 0;
	*t->waker = 0;
}

/* Was the CPU idle at some time? */
static bool was_idle(const struct why *w, u32 cpu, u64 from, u64 to)
{
	u64 nr = w->cpus[cpu].nr;

	for (u64 i = 0; i < min(nr, (u64)WHY_TURNS); i++) {
		const struct why_turn *t = &w->cpus[cpu].turns[(nr - 1 - i) % WHY_TURNS];

		if (t->to <= from)
			return false;
		if (!t->tid && t->from > from && t->from < to)
			return true;
	}
	return false;
}

static void switch_on(struct why *w, struct why_thread *t, u32 cpu, u64 now)
{
	u64 ready = t->ready_ns ? t->ready_ns : t->off_ns;
	enum wait_reason queue = WAIT_RUNQUEUE;

	if (t->reason == WAIT_PREEMPTED && t->cpu == cpu && was_idle(w, cpu, t->off_ns, now))
		t->reason = WAIT_THROTTLED; /* its CPU had nothing to do, and it still did not run */
	if (t->reason == WAIT_PREEMPTED || t->reason == WAIT_THROTTLED)
		queue = t->reason;
	t->on_ns = now;
	if (t->off_ns && queue == WAIT_RUNQUEUE && ready > t->off_ns) {
		add_wait(w, t->reason, ready - t->off_ns);
		if (*t->waker)
			blame(w, t->reason, t->waker, ready - t->off_ns);
	}
	if (ready && now > ready) {
		add_wait(w, queue, now - ready);
		if (queue != WAIT_THROTTLED) /* nobody is behind that */
			blame_runners(w, queue, cpu, ready, now);
	}
	t->off_ns = t->ready_ns = 0;
}

static int on_switch(struct reading *r, const struct pd_sample *s)
{
	struct why *w = r->w;
	const struct fields *f = &r->sw;
	s32 prev = pd_field_int(f->prev_pid, s->raw, s->raw_bytes),
	    next = pd_field_int(f->next_pid, s->raw, s->raw_bytes);
	struct why_thread *off, *on;

	if (s->cpu >= WHY_CPUS)
		return 0;
	w->first_ns = w->first_ns ? w->first_ns : s->time;
	w->last_ns = s->time;
	w->cpus[s->cpu].tid = prev;
	pd_field_str(f->prev_comm, s->raw, s->raw_bytes, w->cpus[s->cpu].comm, sizeof(w->cpus[0].comm));
	end_turn(w, s->cpu, s->time);
	off = get_thread(w, prev);
	on = get_thread(w, next);
	if (off)
		switch_off(w, off, s, pd_field_int(f->prev_state, s->raw, s->raw_bytes), !next);
	if (on)
		switch_on(w, on, s->cpu, s->time);
	w->cpus[s->cpu].since = s->time;
	w->cpus[s->cpu].tid = next;
	return 0;
}

static int on_waking(struct reading *r, const struct pd_sample *s, const struct fields *f)
{
	struct why_thread *t = get_thread(r->w, pd_field_int(f->pid, s->raw, s->raw_bytes));
	struct pd_thread *waker = pd_thread_find(&r->w->lines.threads, s->tid);

	if (!t || t->ready_ns)
		return 0;
	t->ready_ns = s->time;
	if (s->tid)
		snprintf(t->waker, sizeof(t->waker), "%s[%d]%s", waker ? waker->comm : "", s->tid,
			 is_target(r->w, s->tid) ? " (its own)" : "");
	return 0;
}

/* Children of the target belong to it. */
static int follow_children(struct why *w, const struct pd_sample *s)
{
	s32 pid = pd_u32(s->rec + 8), ppid = pd_u32(s->rec + 12);
	s32 *grown;

	if (s->type != PERF_RECORD_FORK || s->size < 32 || pid == ppid || !is_target(w, ppid))
		return 0;
	grown = realloc(w->pids, (w->nr_pids + 1) * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	w->pids = grown;
	grown[w->nr_pids++] = pid;
	return 0;
}

static int on_record(void *arg, const struct pd_sample *s)
{
	struct reading *r = arg;
	int err;

	if (s->type != PERF_RECORD_SAMPLE) {
		if (s->type == PERF_RECORD_LOST && s->size >= 24)
			r->w->lost += pd_u64(s->rec + 16);
		err = follow_children(r->w, s);
		return err ? err : c2c_follow(&r->w->lines, s);
	}
	if (s->event == r->sched_switch)
		return on_switch(r, s);
	if (s->event == r->waking)
		return on_waking(r, s, &r->wk);
	if (s->event == r->wakeup_new)
		return on_waking(r, s, &r->wn);
	return is_target(r->w, s->tid) ? c2c_add_sample(&r->w->lines, s) : 0;
}

static void find_fields(struct fields *f, const struct pd_event *e)
{
	const struct pd_tracepoint *tp = e ? e->tp : NULL;

	f->prev_pid = pd_tracepoint_field(tp, "prev_pid");
	f->prev_state = pd_tracepoint_field(tp, "prev_state");
	f->prev_comm = pd_tracepoint_field(tp, "prev_comm");
	f->next_pid = pd_tracepoint_field(tp, "next_pid");
	f->next_comm = pd_tracepoint_field(tp, "next_comm");
	f->pid = pd_tracepoint_field(tp, "pid");
}

/* Waits that last until the end of the recording count as well. */
static void close_waits(struct why *w)
{
	for (u32 i = 0; i < 256; i++)
		for (struct why_thread *t = w->threads[i]; t; t = t->next) {
			if (t->on_ns)
				w->run_ns += w->last_ns - t->on_ns;
			else if (t->off_ns && w->last_ns > t->off_ns)
				add_wait(w, t->reason, w->last_ns - t->off_ns);
		}
}

static int read_file(struct why *w, struct pd_file *f)
{
	struct reading r = { .w = w };
	struct pd_consumer c = { .record = on_record, .arg = &r };
	int err;

	r.sched_switch = pd_find_event(f, "sched:sched_switch");
	r.waking = pd_find_event(f, "sched:sched_waking");
	if (!r.waking)
		r.waking = pd_find_event(f, "sched:sched_wakeup");
	r.wakeup_new = pd_find_event(f, "sched:sched_wakeup_new");
	find_fields(&r.sw, r.sched_switch);
	find_fields(&r.wk, r.waking);
	find_fields(&r.wn, r.wakeup_new);
	places_begin(&w->lines.places, f);
	err = pd_for_each(f, &c);
	if (err)
		return err;
	close_waits(w);
	return c2c_finish(&w->lines);
}

int why_collect(struct why *w, const char *path)
{
	struct pd_file *f;
	char why[512];
	int err;

	w->cpus = calloc(WHY_CPUS, sizeof(*w->cpus));
	err = w->cpus ? c2c_begin(&w->lines) : -ENOMEM;
	if (!err && pd_open(&f, path, why, sizeof(why))) {
		say_error("%s", why);
		return -EINVAL;
	}
	if (err)
		return err;
	w->lines.is_sampled = true;
	err = read_file(w, f);
	if (*pd_damage(f))
		say_error("%s: %s", path, pd_damage(f));
	pd_close(f);
	return err;
}

void why_free(struct why *w)
{
	for (u32 i = 0; i < 256; i++)
		while (w->threads[i]) {
			struct why_thread *t = w->threads[i];

			w->threads[i] = t->next;
			free(t);
		}
	while (w->causes) {
		struct why_cause *c = w->causes;

		w->causes = c->next;
		free(c);
	}
	c2c_analysis_free(&w->lines);
	free(w->pids);
	free(w->cpus);
}
