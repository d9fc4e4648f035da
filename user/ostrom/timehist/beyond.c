/* SPDX-License-Identifier: MIT
 *
 * Problem: the default report shows how long a thread waited, not who ended the wait, and programs cannot read it.
 *
 * Idea: perf knows three kinds of waiting, by the state alone; lock and throttled are told apart by the call chain, the
 * tracepoints of contended locks, and CPUs that were left idle (reason.c). --json prints each turn as one JSON object a
 * line, with the wait split by kind and the waker. --why TASK keeps the longest delays of one task (by name, process or
 * thread number) with the chain of wake-ups that led to each: who woke it, who woke that one, and so on.
 *
 * Contract: timehist.h. Memory: WHY_DELAYS entries. Locks: none.
 */
#include <stdio.h>
#include <stdlib.h>
#include "timehist.h"

static const char *const wait_keys[TH_WAITS] = { "sleep", "iowait", "lock", "preempt", "throttled" };
static const char *const wait_words[TH_WAITS] = { "asleep", "uninterruptible (I/O)", "behind a lock", "preempted",
						  "throttled by its quota" };

bool th_wants_waits(const struct timehist *th)
{
	return th->opt.json || th->opt.why || th->opt.waits;
}

enum th_wait th_wait_of(struct timehist *th, const struct th_seen *x, const struct th_runtime *r)
{
	static const struct ksyms none;
	bool to_idle = !x->b->value[TH_NEXT_PID];

	switch (wait_reason_of(x->s->chain_nr ? places_kernel(&th->places) : &none, x->s, x->b->value[TH_PREV_STATE],
			       to_idle)) {
	case WAIT_PREEMPTED: return TH_PREEMPTED;
	case WAIT_THROTTLED: return TH_THROTTLED;
	case WAIT_LOCK: return TH_LOCK;
	case WAIT_IO:
	case WAIT_MEMORY: return r->is_contended ? TH_LOCK : TH_IO;
	default: return r->is_contended ? TH_LOCK : TH_SLEEP;
	}
}

void th_print_waits(struct timehist *th)
{
	static const char *const titles[TH_WAITS] = { "sleep", "I/O", "lock", "preempted", "throttled" };
	struct out *o = &th->out;
	u32 nr;
	struct pd_thread **list = pd_threads_in_order(&th->threads, &nr);

	if (!list)
		return;
	out_printf(o, "%-*s  %12s  %12s", th->comm_width, "task", "run (msec)", "delay");
	for (u32 i = 0; i < TH_WAITS; i++)
		out_printf(o, "  %12s", titles[i]);
	out_char(o, '\n');
	for (u32 i = 0; i < nr; i++) {
		const struct th_runtime *r = list[i]->priv;

		if (!r || !r->run.n || th_filtered(th, list[i]))
			continue;
		out_printf(o, "%-*s", th->comm_width, th_label(th, list[i]));
		out_ms(o, r->total_run, 11);
		out_ms(o, r->total_delay, 9);
		for (u32 k = 0; k < TH_WAITS; k++)
			out_ms(o, r->total_wait[k], 9);
		out_char(o, '\n');
	}
	free(list);
}

void th_print_json(struct timehist *th, const struct th_seen *x, const struct pd_thread *t, u64 time)
{
	const struct th_runtime *r = t->priv;
	struct out *o = &th->out;

	if (!th_cpu_listed(th, x->b->cpu))
		return;
	out_printf(o, "{\"time_ns\":%llu,\"cpu\":%u,\"comm\":", (unsigned long long)time, x->b->cpu);
	out_json_string(o, t->comm);
	out_printf(o, ",\"tid\":%d,\"pid\":%d,\"run_ns\":%llu,\"delay_ns\":%llu", t->tid, t->pid,
		   (unsigned long long)r->dt_run, (unsigned long long)r->dt_delay);
	for (u32 i = 0; i < TH_WAITS; i++)
		out_printf(o, ",\"%s_ns\":%llu", wait_keys[i], (unsigned long long)(i == r->wait ? r->dt_wait : 0));
	out_printf(o, ",\"state\":%d,\"next_tid\":%d,\"waker_tid\":%d,\"lost\":%s}\n", x->b->value[TH_PREV_STATE],
		   x->b->value[TH_NEXT_PID], r->was_waker, r->last_time < th->last_lost ? "true" : "false");
}

static bool is_asked(const struct timehist *th, const struct pd_thread *t)
{
	char *end;
	long id = strtol(th->opt.why, &end, 10);

	if (!*end)
		return t->tid == id || t->pid == id;
	return !strcmp(t->comm, th->opt.why);
}

/* The wake-ups that led to this one, nearest first. */
static void note_chain(struct timehist *th, const struct th_runtime *r, struct th_delay *d)
{
	s32 tid = r->was_waker;

	d->nr_chain = 0;
	while (tid > 0 && d->nr_chain < TH_CHAIN) {
		const struct pd_thread *w = pd_thread_find(&th->threads, tid);
		const struct th_runtime *wr = w ? w->priv : NULL;

		snprintf(d->chain[d->nr_chain++], sizeof(d->chain[0]), "%s[%d]", w ? w->comm : "", tid);
		for (u32 i = 0; i + 1 < d->nr_chain; i++)
			if (!strcmp(d->chain[i], d->chain[d->nr_chain - 1]))
				return; /* they wake each other */
		tid = wr ? wr->was_waker : 0;
	}
}

void th_note_delay(struct timehist *th, const struct pd_thread *t, const struct th_seen *x)
{
	const struct th_runtime *r = t->priv;
	u64 wait = r->dt_wait;
	u32 at = th->nr_delays;

	if (!is_asked(th, t) || !wait)
		return;
	while (at > 0 && th->delays[at - 1].wait < wait)
		at--;
	if (at == TH_DELAYS)
		return;
	th->nr_delays = min(th->nr_delays + 1, (u32)TH_DELAYS);
	memmove(&th->delays[at + 1], &th->delays[at], (th->nr_delays - at - 1) * sizeof(th->delays[0]));
	th->delays[at] = (struct th_delay){ .time = x->time - r->dt_run,
					    .wait = wait,
					    .kind = r->wait,
					    .delay = r->dt_delay,
					    .tid = t->tid,
					    .cpu = x->b->cpu,
					    .lost = r->last_time < th->last_lost };
	note_chain(th, r, &th->delays[at]);
}

void th_print_delays(struct timehist *th)
{
	struct out *o = &th->out;

	if (!th->nr_delays)
		out_printf(o, "%s never waited in this recording\n", th->opt.why);
	for (u32 i = 0; i < th->nr_delays; i++) {
		const struct th_delay *d = &th->delays[i];
		bool was_stopped = d->kind == TH_PREEMPTED || d->kind == TH_THROTTLED;

		out_time_us(o, d->time, 15);
		out_printf(o, " [%04u] tid %d ran again after ", d->cpu, d->tid);
		out_ms(o, d->wait, 1);
		out_printf(o, "ms %s", wait_words[d->kind]);
		if (!was_stopped) {
			out_str(o, ", of it ");
			out_ms(o, d->delay, 1);
			out_str(o, "ms ready behind others");
		}
		out_str(o, d->lost ? " (events were lost meanwhile)\n" : "\n");
		for (u32 k = 0; k < d->nr_chain; k++)
			out_printf(o, "%*s%s %s\n", 18 + (int)k * 2, "", k ? "who was woken by" : "woken by",
				   d->chain[k]);
		if (!d->nr_chain && !was_stopped)
			out_printf(o, "%*swoken by an interrupt or a timer\n", 18, "");
	}
}
