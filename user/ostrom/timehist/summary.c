/* SPDX-License-Identifier: MIT
 *
 * Problem: after the rows, who ran how long, how evenly, and what the CPUs did meanwhile.
 *
 * Idea: one line a thread that ran, living ones first, in perf's order of threads; then idle time a
 * CPU, unless a filter hid part of it; then totals.
 *
 * Contract: timehist.h. Locks: none.
 */
#include <math.h>
#include <stdlib.h>
#include "timehist.h"

struct totals {
	u64 tasks, switches, run_time;
};

static double relative_error(const struct th_stats *st)
{
	double error;

	if (st->n < 2)
		return 0;
	error = sqrt(st->m2 / (st->n - 1) / st->n);
	return st->mean != 0 ? 100.0 * error / st->mean : 0;
}

static void put_runtime(struct timehist *th, const struct th_runtime *r)
{
	struct out *o = &th->out;

	out_ms(o, r->total_run, 8);
	out_ms(o, r->run.min, 6);
	out_char(o, ' ');
	out_ms(o, (u64)r->run.mean, 6);
	out_char(o, ' ');
	out_ms(o, r->run.max, 6);
	out_printf(o, "  %5.2f   %5llu\n", (float)relative_error(&r->run), (unsigned long long)r->migrations);
}

static void put_waittime(struct timehist *th, const struct th_runtime *r)
{
	struct out *o = &th->out;

	out_ms(o, r->total_run, 8);
	out_ms(o, r->total_kind[TH_SLEEP], 6);
	out_char(o, ' ');
	out_ms(o, r->total_kind[TH_IO], 6);
	out_char(o, ' ');
	out_ms(o, r->total_kind[TH_PREEMPTED], 6);
	out_char(o, ' ');
	out_ms(o, r->total_delay, 6);
	out_char(o, '\n');
}

static void put_threads(struct timehist *th, struct pd_thread **list, u32 nr, bool dead, struct totals *sum)
{
	for (u32 i = 0; i < nr; i++) {
		struct pd_thread *t = list[i];
		const struct th_runtime *r = t->priv;
		const char *label;

		if (t->dead != dead || th_filtered(th, t) || !r || r->run.n == 0)
			continue;
		sum->tasks++;
		sum->switches += r->run.n;
		sum->run_time += r->total_run;
		label = th_label(th, t);
		out_fill(&th->out, ' ', th->comm_width - t->label_len);
		out_printf(&th->out, "%s   %5d  %9llu ", label, t->ppid, (unsigned long long)r->run.n);
		if (th->opt.state)
			put_waittime(th, r);
		else
			put_runtime(th, r);
	}
}

static void put_title(struct timehist *th)
{
	static const char *const sums = "   run-time    min-run     avg-run     max-run  stddev  migrations\n";
	struct out *o = &th->out;
	bool idle = th->opt.idle_hist;

	out_str(o, idle ? "\nIdle-time summary\n" : th->opt.state ? "\nWait-time summary\n" : "\nRuntime summary\n");
	out_printf(o, "%*s  parent  %s  ", th->comm_width, "comm", idle ? "sched-out" : " sched-in");
	if (idle)
		out_str(o, "  idle-time   min-idle    avg-idle    max-idle  stddev  migrations\n");
	else
		out_str(o, th->opt.state ? "   run-time      sleep      iowait     preempt       delay\n" : sums);
	out_printf(o, "%*s            (count)  ", th->comm_width, "");
	out_printf(o, "     (msec)     (msec)      (msec)      (msec)       %s\n", th->opt.state ? "(msec)" : "%");
	out_fill(o, '-', 117);
	out_char(o, '\n');
}

static void put_idle(struct timehist *th, struct totals *sum)
{
	struct out *o = &th->out;

	out_str(o, "\nIdle stats:\n");
	for (u32 i = 0; i < th->idle_cpus; i++) {
		const struct th_runtime *r = th->cpus[i].idle ? th->cpus[i].idle->priv : NULL;

		if (!r || (th->has_cpu_list && !th_cpu_listed(th, i)))
			continue;
		if (r->run.n == 0) {
			out_printf(o, "    CPU %2d idle entire time window\n", i);
			continue;
		}
		sum->switches += r->run.n;
		out_printf(o, "    CPU %2d idle for ", i);
		out_ms(o, r->total_run, 6);
		out_printf(o, " msec  (%6.2f%%)\n", 100.0 * r->total_run / (th->hist_end - th->hist_start));
	}
}

/* perf 6.1 prints this table and never a line in it; scripts that read it get the same. */
static void put_idle_chains(struct timehist *th)
{
	struct out *o = &th->out;

	out_str(o, "\nIdle stats by callchain:\n");
	for (u32 i = 0; i < th->idle_cpus; i++) {
		const struct th_runtime *r = th->cpus[i].idle ? th->cpus[i].idle->priv : NULL;

		if (!r)
			continue;
		out_printf(o, "  CPU %2d:", i);
		out_ms(o, r->total_run, 6);
		out_str(o, " msec\n  Idle time (msec)     Count  Callchains\n");
		out_str(o, "  ----------------  --------  --------------------------------------------------\n\n");
	}
}

void th_print_summary(struct timehist *th)
{
	struct totals sum = { 0 };
	struct out *o = &th->out;
	u32 nr;
	u64 living;
	struct pd_thread **list = pd_threads_in_order(&th->threads, &nr);

	if (!list)
		return;
	put_title(th);
	put_threads(th, list, nr, false, &sum);
	living = sum.tasks;
	if (!living)
		out_str(o, "<no still running tasks>\n");
	out_str(o, "\nTerminated tasks:\n");
	put_threads(th, list, nr, true, &sum);
	if (living == sum.tasks)
		out_str(o, "<no terminated tasks>\n");
	free(list);
	if (th->skipped && !th->opt.idle_hist)
		return; /* part of the idle switches was not counted */
	put_idle(th, &sum);
	if (th->opt.idle_hist && th->opt.callchain)
		put_idle_chains(th);
	out_printf(o,
		   "\n    Total number of unique tasks: %llu\nTotal number of context switches: "
		   "%llu\n",
		   (unsigned long long)sum.tasks, (unsigned long long)sum.switches);
	out_str(o, "           Total run time (msec): ");
	out_ms(o, sum.run_time, 2);
	out_str(o, "\n    Total scheduling time (msec): ");
	out_ms(o, th->hist_end - th->hist_start, 2);
	out_printf(o, " (x %d)\n", (s32)th->max_cpu);
}
