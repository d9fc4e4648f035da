/* SPDX-License-Identifier: MIT
 *
 * Problem: people name events; perf_event_open wants numbers, and which numbers a tracepoint has only tracefs knows.
 *
 * Idea: software events from a table, "system:name" by its id file, hardware names with cpu-clock as the fallback that
 * virtual machines need.
 *
 * Contract: recorder.h. Locks: none.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "recorder.h"

const char *rec_tracefs(void)
{
	static const char *const places[] = { "/sys/kernel/tracing", "/sys/kernel/debug/tracing" };

	for (int round = 0; round < 2; round++) {
		for (u32 i = 0; i < ARRAY_SIZE(places); i++) {
			char path[64];

			snprintf(path, sizeof(path), "%s/events", places[i]);
			if (!access(path, R_OK))
				return places[i];
		}
		if (mount("nodev", places[0], "tracefs", 0, NULL))
			break;
	}
	return NULL;
}

/* The id of "system:name", or -errno. */
static int tracepoint_id(const char *name)
{
	const char *tracefs = rec_tracefs(), *colon = strchr(name, ':');
	char path[512];
	FILE *f;
	int id = -EINVAL;

	if (!tracefs)
		return -EACCES;
	snprintf(path, sizeof(path), "%s/events/%.*s/%s/id", tracefs, (int)(colon - name), name, colon + 1);
	f = fopen(path, "re");
	if (!f)
		return -errno;
	if (fscanf(f, "%d", &id) != 1)
		id = -EINVAL;
	fclose(f);
	return id;
}

bool rec_tracepoint_exists(const char *name)
{
	return tracepoint_id(name) >= 0;
}

static const struct {
	const char *name;
	u32 type;
	u64 config;
} known[] = {
	{ "cpu-clock", PERF_TYPE_SOFTWARE, PERF_COUNT_SW_CPU_CLOCK },
	{ "task-clock", PERF_TYPE_SOFTWARE, PERF_COUNT_SW_TASK_CLOCK },
	{ "page-faults", PERF_TYPE_SOFTWARE, PERF_COUNT_SW_PAGE_FAULTS },
	{ "faults", PERF_TYPE_SOFTWARE, PERF_COUNT_SW_PAGE_FAULTS },
	{ "minor-faults", PERF_TYPE_SOFTWARE, PERF_COUNT_SW_PAGE_FAULTS_MIN },
	{ "major-faults", PERF_TYPE_SOFTWARE, PERF_COUNT_SW_PAGE_FAULTS_MAJ },
	{ "context-switches", PERF_TYPE_SOFTWARE, PERF_COUNT_SW_CONTEXT_SWITCHES },
	{ "cs", PERF_TYPE_SOFTWARE, PERF_COUNT_SW_CONTEXT_SWITCHES },
	{ "cpu-migrations", PERF_TYPE_SOFTWARE, PERF_COUNT_SW_CPU_MIGRATIONS },
	{ "dummy", PERF_TYPE_SOFTWARE, PERF_COUNT_SW_DUMMY },
	{ "cycles", PERF_TYPE_HARDWARE, PERF_COUNT_HW_CPU_CYCLES },
	{ "cpu-cycles", PERF_TYPE_HARDWARE, PERF_COUNT_HW_CPU_CYCLES },
	{ "instructions", PERF_TYPE_HARDWARE, PERF_COUNT_HW_INSTRUCTIONS },
	{ "cache-misses", PERF_TYPE_HARDWARE, PERF_COUNT_HW_CACHE_MISSES },
	{ "branch-misses", PERF_TYPE_HARDWARE, PERF_COUNT_HW_BRANCH_MISSES },
};

static bool opens(const struct perf_event_attr *a)
{
	struct perf_event_attr probe = *a;
	int fd;

	probe.disabled = 1;
	fd = syscall(SYS_perf_event_open, &probe, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
	if (fd >= 0)
		close(fd);
	return fd >= 0 || (errno != ENOENT && errno != EOPNOTSUPP && errno != ENODEV);
}

static int resolve(struct rec_event *e, const char *name, char *why, size_t n)
{
	int id;

	if (strchr(name, ':')) {
		id = tracepoint_id(name);
		if (id < 0) {
			snprintf(why, n, "tracepoint %s: %s (%s)", name, strerror(-id),
				 id == -ENOENT ? "this kernel has none of that name: see /sys/kernel/tracing/events"
					       : "be root, and mount tracefs at /sys/kernel/tracing");
			return id;
		}
		e->attr.type = PERF_TYPE_TRACEPOINT;
		e->attr.config = id;
		return 0;
	}
	for (u32 i = 0; i < ARRAY_SIZE(known); i++)
		if (!strcmp(known[i].name, name)) {
			e->attr.type = known[i].type;
			e->attr.config = known[i].config;
			return 0;
		}
	snprintf(why, n,
		 "unknown event '%s': cycles, cpu-clock, task-clock, page-faults, context-switches ... or a tracepoint "
		 "as "
		 "system:name (folders of /sys/kernel/tracing/events)",
		 name);
	return -EINVAL;
}

int rec_add_event(struct rec_options *o, const char *name, u64 period, u64 freq, char *why, size_t why_bytes)
{
	struct rec_event *e = &o->events[o->nr_events];
	int err;

	if (o->nr_events == REC_MAX_EVENTS) {
		snprintf(why, why_bytes, "more than %d events", REC_MAX_EVENTS);
		return -E2BIG;
	}
	memset(e, 0, sizeof(*e));
	e->attr.size = sizeof(e->attr);
	err = resolve(e, name, why, why_bytes);
	if (err)
		return err;
	e->attr.sample_type = PERF_SAMPLE_IDENTIFIER | PERF_SAMPLE_IP | PERF_SAMPLE_TID | PERF_SAMPLE_TIME |
			      PERF_SAMPLE_CPU | PERF_SAMPLE_PERIOD;
	if (e->attr.type == PERF_TYPE_TRACEPOINT)
		e->attr.sample_type |= PERF_SAMPLE_RAW;
	e->attr.freq = !period;
	e->attr.sample_period = period ? period : freq;
	e->attr.inherit = e->attr.sample_id_all = e->attr.exclude_guest = 1;
	e->attr.read_format = PERF_FORMAT_ID;
	if (e->attr.type == PERF_TYPE_HARDWARE && !opens(&e->attr)) {
		if (strcmp(name, "cycles") && strcmp(name, "cpu-cycles")) {
			snprintf(why, why_bytes, "%s: this machine has no hardware counter for it", name);
			return -ENOENT;
		}
		e->attr.type = PERF_TYPE_SOFTWARE;
		e->attr.config = PERF_COUNT_SW_CPU_CLOCK;
		name = "cpu-clock";
	}
	snprintf(e->name, sizeof(e->name), "%s", name);
	o->nr_events++;
	return 0;
}
