/* SPDX-License-Identifier: MIT
 *
 * Problem: a share that nobody can see is a promise; people, scripts and monitoring want it in different words.
 *
 * Idea: one walk over the tenants fills one row of numbers each; four printers show the same row: a table for people,
 * JSON, OpenMetrics, and `raw` (words, absolute numbers) from which `top` takes differences.
 *
 * Contract: gpu.h. Counters only grow while a tenant lives; busy time is time on the GPU by the
 * device's clock (device.c); gpu_time_ns is that clock, so that use over a while is the quotient of two differences.
 * OpenMetrics 1.0: https://github.com/prometheus/OpenMetrics, names end in their unit.
 *
 * Locks: none; called from the broker's loop.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "gpu.h"

static double percent(u32 millionths)
{
	return millionths / 1e4;
}

static u32 clients(const struct tenant *t)
{
	const struct conn *c;
	u32 n = 0;

	list_for_each_entry (c, &t->conns, link)
		n += !c->ended;
	return n;
}

static void print_raw(struct broker *b, FILE *f)
{
	struct tenant *t;

	fprintf(f, "time %llu %llu\n", (unsigned long long)now_ns(), (unsigned long long)device_now(b));
	list_for_each_entry (t, &b->tenants, link)
		fprintf(f, "tenant %s %u %u %u %llu %llu %llu %llu %llu %llu %u %llu\n", t->name,
			t->entity.share.weight, t->entity.share.min, vgpu_sched_cap(&b->sched, &t->entity),
			(unsigned long long)t->entity.busy_ns, (unsigned long long)t->entity.jobs,
			(unsigned long long)t->entity.delay_ns, (unsigned long long)t->account.memory,
			(unsigned long long)t->account.limits.memory_bytes, (unsigned long long)t->frames, clients(t),
			(unsigned long long)t->entity.capped_ns);
}

static void print_text(struct broker *b, FILE *f)
{
	double up = max(device_now(b), 1ull) / 1e9;
	struct tenant *t;

	fprintf(f, "%-20s %6s %6s %6s %9s %6s %9s %8s %8s %7s %6s\n", "TENANT", "WEIGHT", "MIN%", "MAX%", "BUSY-S",
		"USE%", "DELAY-MS", "MEM-MB", "LIMIT-MB", "CLIENTS", "RESETS");
	list_for_each_entry (t, &b->tenants, link) {
		const struct vgpu_entity *e = &t->entity;

		fprintf(f, "%-20s %6u %6.1f %6.1f %9.3f %6.1f %9.3f %8.1f %8.1f %7u %6llu\n", t->name, e->share.weight,
			percent(e->share.min), percent(vgpu_sched_cap(&b->sched, e)), e->busy_ns / 1e9,
			e->busy_ns / 1e7 / up, e->jobs ? e->delay_ns / 1e6 / e->jobs : 0.0,
			t->account.memory / 1048576.0, t->account.limits.memory_bytes / 1048576.0, clients(t),
			(unsigned long long)t->resets);
	}
}

static void print_json(struct broker *b, FILE *f)
{
	const char *comma = "";
	struct tenant *t;

	fprintf(f, "{\"time_ns\":%llu,\"gpu_time_ns\":%llu,\"gpu_busy_ns\":%llu,\"tenants\":[",
		(unsigned long long)now_ns(), (unsigned long long)device_now(b), (unsigned long long)b->sched.busy_ns);
	list_for_each_entry (t, &b->tenants, link) {
		const struct vgpu_entity *e = &t->entity;

		fprintf(f,
			"%s\n{\"name\":\"%s\",\"socket\":\"%s\",\"machine_socket\":\"%s\",\"worker_pid\":%d,\"weight\":"
			"%u,\"min_percent\":%.4f,"
			"\"max_percent\":%.4f,\"busy_ns\":%llu,\"jobs\":%llu,\"submissions\":%llu,\"delay_ns\":%llu,"
			"\"delay_max_ns\":%llu,\"capped_ns\":%llu,\"memory_bytes\":%llu,\"memory_peak_bytes\":%llu,"
			"\"memory_limit_bytes\":%llu,\"resources\":%u,\"contexts\":%u,\"clients\":%u,\"refused\":%llu,"
			"\"resets\":%llu}",
			comma, t->name, t->path, t->vm_path, t->pid, e->share.weight, percent(e->share.min),
			percent(vgpu_sched_cap(&b->sched, e)), (unsigned long long)e->busy_ns,
			(unsigned long long)e->jobs, (unsigned long long)t->frames, (unsigned long long)e->delay_ns,
			(unsigned long long)e->delay_max_ns, (unsigned long long)e->capped_ns,
			(unsigned long long)t->account.memory, (unsigned long long)t->account.memory_peak,
			(unsigned long long)t->account.limits.memory_bytes, t->account.resources, t->account.contexts,
			clients(t), (unsigned long long)t->account.refused, (unsigned long long)t->resets);
		comma = ",";
	}
	fprintf(f, "]}\n");
}

struct metric {
	const char *name, *type, *help;
	double (*get)(struct broker *b, const struct tenant *t);
};

static double get_busy(struct broker *b, const struct tenant *t)
{
	return t->entity.busy_ns / 1e9;
}
static double get_delay(struct broker *b, const struct tenant *t)
{
	return t->entity.delay_ns / 1e9;
}
static double get_jobs(struct broker *b, const struct tenant *t)
{
	return t->entity.jobs;
}
static double get_memory(struct broker *b, const struct tenant *t)
{
	return t->account.memory;
}
static double get_limit(struct broker *b, const struct tenant *t)
{
	return t->account.limits.memory_bytes;
}
static double get_weight(struct broker *b, const struct tenant *t)
{
	return t->entity.share.weight;
}
static double get_min(struct broker *b, const struct tenant *t)
{
	return percent(t->entity.share.min) / 100;
}
static double get_max(struct broker *b, const struct tenant *t)
{
	return percent(vgpu_sched_cap(&b->sched, &t->entity)) / 100;
}
static double get_resets(struct broker *b, const struct tenant *t)
{
	return t->resets;
}
static double get_refused(struct broker *b, const struct tenant *t)
{
	return t->account.refused;
}

static const struct metric metrics[] = {
	{ "ostrom_gpu_busy_seconds", "counter", "Time on the GPU.", get_busy },
	{ "ostrom_gpu_queue_delay_seconds", "counter", "Time that jobs waited for the GPU.", get_delay },
	{ "ostrom_gpu_jobs", "counter", "Jobs finished.", get_jobs },
	{ "ostrom_gpu_refused_commands", "counter", "Commands refused.", get_refused },
	{ "ostrom_gpu_resets", "counter", "Workers ended for crashing or hanging.", get_resets },
	{ "ostrom_gpu_memory_bytes", "gauge", "Memory charged.", get_memory },
	{ "ostrom_gpu_memory_limit_bytes", "gauge", "Memory that may be charged.", get_limit },
	{ "ostrom_gpu_weight", "gauge", "Weight.", get_weight },
	{ "ostrom_gpu_min_ratio", "gauge", "Guaranteed part of the GPU.", get_min },
	{ "ostrom_gpu_max_ratio", "gauge", "Part of the GPU that is not exceeded.", get_max },
};

static void print_openmetrics(struct broker *b, FILE *f)
{
	fprintf(f,
		"# TYPE ostrom_gpu_time_seconds counter\n# HELP ostrom_gpu_time_seconds Time that the GPU had to "
		"give.\n"
		"ostrom_gpu_time_seconds_total %.9g\n",
		device_now(b) / 1e9);
	for (u32 i = 0; i < ARRAY_SIZE(metrics); i++) {
		const struct metric *m = &metrics[i];
		struct tenant *t;

		fprintf(f, "# TYPE %s %s\n# HELP %s %s\n", m->name, m->type, m->name, m->help);
		list_for_each_entry (t, &b->tenants, link)
			fprintf(f, "%s%s{tenant=\"%s\"} %.9g\n", m->name, *m->type == 'c' ? "_total" : "", t->name,
				m->get(b, t));
	}
	fprintf(f, "# EOF\n");
}

char *report(struct broker *b, const char *format)
{
	static const struct {
		const char *name;
		void (*print)(struct broker *b, FILE *f);
	} formats[] = { { "text", print_text },
			{ "json", print_json },
			{ "openmetrics", print_openmetrics },
			{ "raw", print_raw } };
	char *s = NULL;
	size_t n;

	for (u32 i = 0; i < ARRAY_SIZE(formats); i++) {
		FILE *f;

		if (strcmp(format, formats[i].name))
			continue;
		f = open_memstream(&s, &n);
		if (!f)
			return NULL;
		formats[i].print(b, f);
		fclose(f);
	}
	return s;
}
