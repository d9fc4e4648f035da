/* SPDX-License-Identifier: MIT
 *
 * Problem: rows say what happened; a picture says where to look: which CPU was idle while tasks were ready.
 *
 * Idea: the recording's time is cut into as many buckets as the picture is wide. A CPU's bucket keeps the tasks that
 * ran most in it, a task's bucket how long it ran, was ready, waited for I/O and slept. Both are filled turn by turn,
 * so memory is width times CPUs and tasks, whatever the number of events. Printed as text here, as HTML in picture.c.
 *
 * Contract: timehist.h. The time range is --time's, or the recording's, which one pass over the records finds.
 * Locks: none.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include "timehist.h"
#include "timeline.h"

struct range {
	u64 first, last;
};

static int see_time(void *arg, const struct pd_sample *s)
{
	struct range *r = arg;

	if (s->type != PERF_RECORD_SAMPLE || s->time == UINT64_MAX)
		return 0;
	r->first = min(r->first, s->time);
	r->last = max(r->last, s->time);
	return 0;
}

int timeline_begin(struct timehist *th, u32 width)
{
	struct range r = { UINT64_MAX, 0 };
	struct pd_consumer c = { .record = see_time, .arg = &r, .unordered = true };
	struct timeline *t = calloc(1, sizeof(*t));
	int err = 0;

	if (!t)
		return -ENOMEM;
	th->timeline = t;
	if (!th->start || !th->end)
		err = pd_for_each(th->file, &c);
	t->start = th->start ? th->start : r.first;
	t->end = th->end ? th->end : r.last;
	t->width = width;
	if (t->end <= t->start)
		t->end = t->start + 1;
	return err;
}

void timeline_free(struct timeline *t)
{
	if (!t)
		return;
	for (u32 i = 0; i < t->nr_cpus; i++)
		free(t->cpus[i]);
	free(t->cpus);
	while (t->tasks) {
		struct task_lane *l = t->tasks;

		t->tasks = l->next;
		free(l);
	}
	free(t);
}

u64 timeline_at(const struct timeline *t, u32 bucket)
{
	return t->start + (u64)((double)(t->end - t->start) * bucket / t->width);
}

static u32 bucket_of(const struct timeline *t, u64 time)
{
	double part = (double)(time - t->start) / (double)(t->end - t->start);

	return min((u32)(part * t->width), t->width - 1);
}

struct span {
	u64 from, to;
};

/* Clips a span to the picture; false if nothing is left. */
static bool clip(const struct timeline *t, struct span *s)
{
	s->from = max(s->from, t->start);
	s->to = min(s->to, t->end);
	return s->from < s->to;
}

/* How much of the span lies in the bucket. */
static u64 share(const struct timeline *t, struct span s, u32 bucket)
{
	u64 from = max(s.from, timeline_at(t, bucket)), to = min(s.to, timeline_at(t, bucket + 1));

	return to > from ? to - from : 0;
}

static struct cpu_bucket *cpu_lane(struct timeline *t, u32 cpu)
{
	if (cpu >= t->nr_cpus) {
		struct cpu_bucket **grown = realloc(t->cpus, (cpu + 1) * sizeof(*grown));

		if (!grown)
			return NULL;
		memset(grown + t->nr_cpus, 0, (cpu + 1 - t->nr_cpus) * sizeof(*grown));
		t->cpus = grown;
		t->nr_cpus = cpu + 1;
	}
	if (!t->cpus[cpu])
		t->cpus[cpu] = calloc(t->width, sizeof(*t->cpus[cpu]));
	return t->cpus[cpu];
}

static void add_to_cpu(struct cpu_bucket *b, const struct pd_thread *who, u64 ns)
{
	struct cpu_share *least = &b->top[0];

	b->busy_ns += ns;
	for (u32 i = 0; i < ARRAY_SIZE(b->top); i++) {
		if (b->top[i].who == who) {
			b->top[i].ns += ns;
			return;
		}
		if (b->top[i].ns < least->ns)
			least = &b->top[i];
	}
	if (least->ns < ns)
		*least = (struct cpu_share){ who, ns };
}

static struct task_lane *task_lane(struct timeline *t, const struct pd_thread *who, struct th_runtime *r)
{
	struct task_lane *l = r->lane;

	if (l)
		return l;
	l = calloc(1, sizeof(*l) + t->width * sizeof(l->buckets[0]));
	if (!l)
		return NULL;
	l->who = who;
	l->next = t->tasks;
	t->tasks = l;
	t->nr_tasks++;
	r->lane = l;
	return l;
}

static void add_state(const struct timeline *t, struct task_lane *l, struct span s, enum lane_state state)
{
	if (!clip(t, &s))
		return;
	for (u32 i = bucket_of(t, s.from); i <= bucket_of(t, s.to - 1); i++)
		l->buckets[i].ns[state] += share(t, s, i);
}

int timeline_turn(struct timehist *th, const struct pd_thread *who, struct th_runtime *r, u32 cpu, u64 time)
{
	struct timeline *t = th->timeline;
	u64 on = time - r->dt_run, wait = r->dt_wait;
	bool is_preempted = wait && r->dt_kind == TH_PREEMPTED;
	struct span run = { on, time };
	struct cpu_bucket *b = cpu_lane(t, cpu);
	struct task_lane *l;

	if (!b)
		return -ENOMEM;
	if (who->tid == 0)
		return 0;
	l = task_lane(t, who, r);
	if (!l)
		return -ENOMEM;
	l->run_ns += r->dt_run;
	add_state(t, l, run, LANE_RUN);
	add_state(t, l, (struct span){ on - (is_preempted ? wait : r->dt_delay), on }, LANE_READY);
	if (!is_preempted && wait > r->dt_delay)
		add_state(t, l, (struct span){ on - wait, on - r->dt_delay },
			  r->dt_kind == TH_IO ? LANE_IO : LANE_SLEEP);
	if (!clip(t, &run))
		return 0;
	for (u32 i = bucket_of(t, run.from); i <= bucket_of(t, run.to - 1); i++)
		add_to_cpu(&b[i], who, share(t, run, i));
	return 0;
}

const struct cpu_share *timeline_main_task(const struct cpu_bucket *b)
{
	const struct cpu_share *best = &b->top[0];

	for (u32 i = 1; i < ARRAY_SIZE(b->top); i++)
		if (b->top[i].ns > best->ns)
			best = &b->top[i];
	return best->ns ? best : NULL;
}

enum lane_state timeline_main_state(const struct task_bucket *b)
{
	enum lane_state best = NR_LANE_STATES;
	u64 ns = 0;

	for (u32 i = 0; i < NR_LANE_STATES; i++)
		if (b->ns[i] > ns) {
			ns = b->ns[i];
			best = i;
		}
	return best;
}

static int by_run(const void *a, const void *b)
{
	const struct task_lane *x = *(struct task_lane *const *)a, *y = *(struct task_lane *const *)b;

	return x->run_ns > y->run_ns ? -1 : x->run_ns < y->run_ns;
}

struct task_lane **timeline_busiest(const struct timeline *t, u32 *nr)
{
	struct task_lane **list = malloc(max(t->nr_tasks, 1u) * sizeof(*list));
	u32 n = 0;

	if (!list)
		return NULL;
	for (struct task_lane *l = t->tasks; l; l = l->next)
		list[n++] = l;
	qsort(list, n, sizeof(*list), by_run);
	*nr = min(n, (u32)TIMELINE_TASKS);
	return list;
}

/* ---- as text ---- */

static char letter_of(struct task_lane *const *list, u32 nr, const struct pd_thread *who)
{
	static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

	for (u32 i = 0; i < nr && i < sizeof(letters) - 1; i++)
		if (list[i]->who == who)
			return letters[i];
	return '*';
}

static void put_cpus(struct out *o, const struct timeline *t, struct task_lane *const *list, u32 nr)
{
	for (u32 c = 0; c < t->nr_cpus; c++) {
		if (!t->cpus[c])
			continue;
		out_printf(o, "%30s CPU %-3u |", "", c);
		for (u32 i = 0; i < t->width; i++) {
			const struct cpu_share *s = timeline_main_task(&t->cpus[c][i]);
			u64 all = timeline_at(t, i + 1) - timeline_at(t, i);

			out_char(o, s && t->cpus[c][i].busy_ns * 8 > all ? letter_of(list, nr, s->who) : ' ');
		}
		out_str(o, "|\n");
	}
}

void timeline_print(struct timehist *th)
{
	const struct timeline *t = th->timeline;
	struct out *o = &th->out;
	u32 nr;
	struct task_lane **list = timeline_busiest(t, &nr);

	if (!list)
		return;
	out_str(o, "from ");
	out_time_us(o, t->start, 1);
	out_str(o, " to ");
	out_time_us(o, t->end, 1);
	out_printf(o, ", %.3f ms a column; CPUs by the task that ran most there, blank is idle\n\n",
		   (double)(t->end - t->start) / t->width / 1e6);
	put_cpus(o, t, list, nr);
	out_str(o, "\ntasks: # runs, - ready but not running, D waits for I/O, . sleeps\n\n");
	for (u32 k = 0; k < nr; k++) {
		out_printf(o, "%c %35.35s  |", letter_of(list, nr, list[k]->who),
			   pd_thread_label((void *)list[k]->who));
		for (u32 i = 0; i < t->width; i++)
			out_char(o, "#-D. "[timeline_main_state(&list[k]->buckets[i])]);
		out_str(o, "|\n");
	}
	if (t->nr_tasks > nr)
		out_printf(o, "and %u tasks that ran less\n", t->nr_tasks - nr);
	free(list);
}
