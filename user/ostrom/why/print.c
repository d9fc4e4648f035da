/* SPDX-License-Identifier: MIT
 *
 * Problem: one screen that a tired person understands.
 *
 * Idea: one bar a kind of time, the waits that others cause first, each with the three who are most to blame; then
 * throttling, then cache lines. A wait that the program wished (a timer, an idle poll) is shown and not blamed.
 *
 * Contract: why.h. Locks: none.
 */
#include <stdio.h>
#include <stdlib.h>
#include "why.h"

#define NOTEWORTHY 5 /* percent of the threads' time */
#define BAR_WIDTH  30

static u64 total_ns(const struct why *w)
{
	u64 n = w->run_ns;

	for (u32 i = 0; i < WAIT_REASONS; i++)
		n += w->wait_ns[i];
	return n;
}

static u32 percent(u64 part, u64 whole)
{
	return whole ? (part * 100 + whole / 2) / whole : 0;
}

static void put_bar(struct out *o, const char *name, u64 ns, u64 total, u64 count)
{
	u32 p = percent(ns, total), n = min(p * BAR_WIDTH / 100, (u32)BAR_WIDTH);

	out_printf(o, "  %-18s", name);
	out_fill(o, '#', n);
	out_fill(o, '.', BAR_WIDTH - (int)n);
	out_printf(o, " %3u%%  ", p);
	out_ms(o, ns, 8);
	out_str(o, "ms");
	if (count)
		out_printf(o, " in %llu waits", (unsigned long long)count);
	out_char(o, '\n');
}

static struct why_cause *worst_cause(struct why *w, enum wait_reason reason, u64 below)
{
	struct why_cause *worst = NULL;

	for (struct why_cause *c = w->causes; c; c = c->next)
		if (c->reason == reason && c->ns < below && (!worst || c->ns > worst->ns))
			worst = c;
	return worst;
}

static void put_causes(struct out *o, struct why *w, enum wait_reason reason)
{
	const char *verb = reason == WAIT_RUNQUEUE || reason == WAIT_PREEMPTED ? "behind" : "until woken by";
	u64 below = UINT64_MAX;

	for (int i = 0; i < 3; i++) {
		struct why_cause *c = worst_cause(w, reason, below);

		if (!c || c->ns * 50 < w->wait_ns[reason])
			return;
		out_printf(o, "      %s %-32s ", verb, c->who);
		out_ms(o, c->ns, 8);
		out_printf(o, "ms in %llu\n", (unsigned long long)c->count);
		below = c->ns;
	}
}

static void put_times(struct out *o, struct why *w)
{
	u64 total = total_ns(w);

	put_bar(o, "runs", w->run_ns, total, 0);
	for (int wished = 0; wished < 2; wished++)
		for (u32 r = 0; r < WAIT_REASONS; r++) {
			if (wait_is_delay(r) == wished || !w->wait_ns[r])
				continue;
			put_bar(o, wait_reason_text(r), w->wait_ns[r], total, w->waits[r]);
			put_causes(o, w, r);
		}
}

/* Of the time of all CPUs. */
static u32 steal_percent(const struct why *w)
{
	return percent(w->steal_ns, (w->last_ns - w->first_ns) * w->nr_cpus);
}

static int verdict(const struct why *w)
{
	u64 total = total_ns(w);

	for (u32 r = 0; r < WAIT_REASONS; r++)
		if (wait_is_delay(r) && percent(w->wait_ns[r], total) >= NOTEWORTHY)
			return 3;
	if (steal_percent(w) >= NOTEWORTHY)
		return 3;
	return w->lines.nr_reports || w->throttled_periods ? 3 : 0;
}

static void print_text(struct out *o, struct why *w)
{
	u64 span = w->last_ns - w->first_ns;

	out_printf(o, "%s: %u threads seen in ", w->name, w->nr_threads);
	out_ms(o, span, 1);
	out_str(o, "ms\n\n");
	put_times(o, w);
	out_char(o, '\n');
	if (w->throttled_periods)
		out_printf(
			o,
			"Throttled by the CPU quota of its cgroup in %llu periods, %llu ms in all: raise cpu.max.\n\n",
			(unsigned long long)w->throttled_periods, (unsigned long long)w->throttled_us / 1000);
	if (steal_percent(w))
		out_printf(o,
			   "The hypervisor took %u%% of this virtual machine's CPU time for others (steal, %llu ms of "
			   "%u CPUs): "
			   "ask for CPUs of your own.\n\n",
			   steal_percent(w), (unsigned long long)(w->steal_ns / NSEC_PER_MSEC), w->nr_cpus);
	if (w->lost)
		out_printf(o, "%llu events were lost: times are lower bounds.\n\n", (unsigned long long)w->lost);
	if (w->lines.nr_reports)
		words_print(o, &w->lines, 3);
	else if (!verdict(w))
		out_str(o, "Nothing that others cause delays it noticeably, and no cache line is fought over.\n");
}

static void put_json_causes(struct out *o, const struct why *w, u32 reason)
{
	const char *sep = "";

	for (const struct why_cause *c = w->causes; c; c = c->next) {
		if (c->reason != (enum wait_reason)reason)
			continue;
		out_printf(o, "%s{\"who\":", sep);
		out_json_string(o, c->who);
		out_printf(o, ",\"ns\":%llu,\"count\":%llu}", (unsigned long long)c->ns, (unsigned long long)c->count);
		sep = ",";
	}
}

static void print_json(struct out *o, struct why *w)
{
	out_printf(o,
		   "{\"threads\":%u,\"span_ns\":%llu,\"run_ns\":%llu,\"lost\":%llu,\"throttled_us\":%llu,\"steal_ns\":%"
		   "llu,"
		   "\"waits\":[",
		   w->nr_threads, (unsigned long long)(w->last_ns - w->first_ns), (unsigned long long)w->run_ns,
		   (unsigned long long)w->lost, (unsigned long long)w->throttled_us, (unsigned long long)w->steal_ns);
	for (u32 r = 0; r < WAIT_REASONS; r++) {
		out_printf(o, "%s{\"reason\":\"%s\",\"delay\":%s,\"ns\":%llu,\"count\":%llu,\"causes\":[", r ? "," : "",
			   wait_reason_text(r), wait_is_delay(r) ? "true" : "false", (unsigned long long)w->wait_ns[r],
			   (unsigned long long)w->waits[r]);
		put_json_causes(o, w, r);
		out_str(o, "]}");
	}
	out_str(o, "],\"cache\":");
	words_json(o, &w->lines);
	out_str(o, "}\n");
}

int why_print(struct out *o, struct why *w, bool json)
{
	if (json)
		print_json(o, w);
	else
		print_text(o, w);
	return verdict(w);
}
