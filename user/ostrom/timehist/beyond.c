/* SPDX-License-Identifier: MIT
 *
 * Problem: the default report shows how long a thread waited, not who ended the wait, and programs cannot read it.
 *
 * Idea: --json prints each turn as one JSON object a line, with the wait split by kind and the waker. --why TASK keeps
 * the longest delays of one task (by name, process or thread number) with the chain of wake-ups that led to each: who
 * woke it, who woke that one, and so on.
 *
 * Contract: timehist.h. Memory: WHY_DELAYS entries. Locks: none.
 */
#include <stdio.h>
#include <stdlib.h>
#include "timehist.h"

static void put_string(struct out *o, const char *s)
{
	out_char(o, '"');
	for (; *s; s++)
		if (*s == '"' || *s == '\\' || (u8)*s < 0x20)
			out_printf(o, "\\u%04x", (u8)*s);
		else
			out_char(o, *s);
	out_char(o, '"');
}

void th_print_json(struct timehist *th, const struct th_event *e, const struct pd_sample *s, const struct pd_thread *t,
		   u64 time, int state)
{
	const struct th_runtime *r = t->priv;
	struct out *o = &th->out;

	if (!th_cpu_listed(th, s->cpu))
		return;
	out_printf(o, "{\"time_ns\":%llu,\"cpu\":%u,\"comm\":", (unsigned long long)time, s->cpu);
	put_string(o, t->comm);
	out_printf(o, ",\"tid\":%d,\"pid\":%d,\"run_ns\":%llu,\"delay_ns\":%llu,\"sleep_ns\":%llu", t->tid, t->pid,
		   (unsigned long long)r->dt_run, (unsigned long long)r->dt_delay, (unsigned long long)r->dt_sleep);
	out_printf(
		o,
		",\"iowait_ns\":%llu,\"preempt_ns\":%llu,\"state\":%d,\"next_tid\":%d,\"waker_tid\":%d,\"lost\":%s}\n",
		(unsigned long long)r->dt_iowait, (unsigned long long)r->dt_preempt, state,
		(s32)pd_field_int(e->next_pid, s->raw, s->raw_bytes), r->was_waker,
		r->last_time < th->last_lost ? "true" : "false");
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

void th_note_delay(struct timehist *th, const struct pd_thread *t, const struct pd_sample *s)
{
	const struct th_runtime *r = t->priv;
	u64 wait = r->dt_sleep + r->dt_iowait + r->dt_preempt;
	u32 at = th->nr_delays;

	if (!is_asked(th, t) || !wait)
		return;
	while (at > 0 && th->delays[at - 1].wait < wait)
		at--;
	if (at == TH_DELAYS)
		return;
	th->nr_delays = min(th->nr_delays + 1, (u32)TH_DELAYS);
	memmove(&th->delays[at + 1], &th->delays[at], (th->nr_delays - at - 1) * sizeof(th->delays[0]));
	th->delays[at] = (struct th_delay){ .time = s->time - r->dt_run,
					    .wait = wait,
					    .sleep = r->dt_sleep,
					    .iowait = r->dt_iowait,
					    .preempt = r->dt_preempt,
					    .delay = r->dt_delay,
					    .tid = t->tid,
					    .cpu = s->cpu,
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
		const char *kind = d->preempt ? "preempted" : d->iowait ? "uninterruptible (I/O)" : "asleep";

		out_time_us(o, d->time, 15);
		out_printf(o, " [%04u] tid %d ran again after ", d->cpu, d->tid);
		out_ms(o, d->wait, 1);
		out_printf(o, "ms %s", kind);
		if (!d->preempt) {
			out_str(o, ", of it ");
			out_ms(o, d->delay, 1);
			out_str(o, "ms ready behind others");
		}
		out_str(o, d->lost ? " (events were lost meanwhile)\n" : "\n");
		for (u32 k = 0; k < d->nr_chain; k++)
			out_printf(o, "%*s%s %s\n", 18 + (int)k * 2, "", k ? "who was woken by" : "woken by",
				   d->chain[k]);
		if (!d->nr_chain && !d->preempt)
			out_printf(o, "%*swoken by an interrupt or a timer\n", 18, "");
	}
}
