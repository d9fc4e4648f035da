/* SPDX-License-Identifier: MIT
 *
 * Problem: get a perf.data file, by the command line that people know from perf.
 *
 * Idea: options fill a rec_options; recorder.c does the work. `sched record` is the same with perf's list of sched
 * tracepoints, one sample an event and large rings.
 *
 * Contract: options of perf record that are common: -a -p -e -F -c -o -g -m -q -z --threads, the command after them.
 * Exit status is the command's, 1 when recording failed, 129 for a wrong option.
 *
 * Locks: none.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include "ostrom.h"
#include "recorder.h"

static const char usage_text[] =
	"usage: ostrom record [OPTIONS] [--] [COMMAND [ARGS]]\n"
	"  -e, --event LIST     events: cycles (cpu-clock without a PMU), cpu-clock, page-faults, system:tracepoint, "
	"...\n"
	"  -a, --all-cpus       the whole machine          -p, --pid LIST     attach to processes\n"
	"  -F, --freq HZ        samples a second (4000)    -c, --count N      one sample every N events\n"
	"  -g                   call chains                -o, --output FILE  (perf.data)\n"
	"  -m, --mmap-pages N   pages a ring (128)         -q, --quiet\n"
	"  -z, --compression-level[=N]  compress with zstd (1)\n"
	"      --locks          contended kernel locks, too, for timehist's table of waits\n"
	"      --threads        the directory form: each CPU's records in a file of their own (not with -z)\n"
	"  -R, --raw-samples    accepted; tracepoints always carry their data\n";

enum { OPT_THREADS = 256, OPT_LOCKS };

static const struct option long_options[] = {
	{ "event", required_argument, NULL, 'e' },
	{ "all-cpus", no_argument, NULL, 'a' },
	{ "pid", required_argument, NULL, 'p' },
	{ "freq", required_argument, NULL, 'F' },
	{ "count", required_argument, NULL, 'c' },
	{ "output", required_argument, NULL, 'o' },
	{ "mmap-pages", required_argument, NULL, 'm' },
	{ "quiet", no_argument, NULL, 'q' },
	{ "raw-samples", no_argument, NULL, 'R' },
	{ "compression-level", optional_argument, NULL, 'z' },
	{ "locks", no_argument, NULL, OPT_LOCKS },
	{ "threads", optional_argument, NULL, OPT_THREADS },
	{ "help", no_argument, NULL, 'h' },
	{ NULL, 0, NULL, 0 },
};

struct request {
	struct rec_options o;
	s32 pids[256];
	const char *events; /* comma-separated, appended in the order given */
	u64 period, freq;
	bool chains, locks;
};

static int add_events(struct request *q, const char *list, char *why, size_t n)
{
	char name[256];

	while (*list) {
		size_t len = strcspn(list, ",");
		int err;

		snprintf(name, sizeof(name), "%.*s", (int)len, list);
		err = rec_add_event(&q->o, name, q->period, q->freq, why, n);
		if (err)
			return err;
		list += len + (list[len] == ',');
	}
	return 0;
}

static bool add_pids(struct request *q, const char *list)
{
	q->o.pids = q->pids;
	while (*list) {
		char *end;

		if (q->o.nr_pids == ARRAY_SIZE(q->pids))
			return false;
		q->pids[q->o.nr_pids++] = strtol(list, &end, 10);
		if (end == list || (*end && *end != ','))
			return false;
		list = *end ? end + 1 : end;
	}
	return true;
}

static u32 pages_option(const char *text)
{
	char *end;
	u64 n = strtoull(text, &end, 10), pages = 1;

	if (*end == 'K' || *end == 'k')
		n = n * 1024 / PAGE_SIZE;
	else if (*end == 'M' || *end == 'm')
		n = n * 1024 * 1024 / PAGE_SIZE;
	while (pages < n && pages < 1 << 20)
		pages *= 2;
	return pages;
}

/* 0 or an exit status. */
static int parse(struct request *q, int argc, char **argv, const char **events)
{
	int c;

	optind = 0;
	while ((c = getopt_long(argc, argv, "+e:ap:F:c:o:gm:qRz::h", long_options, NULL)) != -1) {
		switch (c) {
		case 'e': *events = optarg; break;
		case 'a': q->o.system_wide = true; break;
		case 'F': q->freq = strtoull(optarg, NULL, 0); break;
		case 'c': q->period = strtoull(optarg, NULL, 0); break;
		case 'o': q->o.output = optarg; break;
		case 'g': q->chains = true; break;
		case 'm': q->o.ring_pages = pages_option(optarg); break;
		case 'q': q->o.quiet = true; break;
		case 'R': break;
		case OPT_THREADS: q->o.directory = true; break;
		case OPT_LOCKS: q->locks = true; break;
		case 'z': q->o.zstd_level = optarg ? max(1, min(atoi(optarg), 22)) : 1; break;
		case 'p':
			if (add_pids(q, optarg))
				break;
			/* fall through */
		default: fputs(usage_text, c == 'h' ? stdout : stderr); return c == 'h' ? -1 : 129;
		}
	}
	if (q->o.directory && q->o.zstd_level) {
		say_error("--threads and -z: the directory form is not compressed");
		return 129;
	}
	if (optind < argc)
		q->o.command = argv + optind;
	if (!q->o.command && !q->o.nr_pids)
		q->o.system_wide = true;
	return 0;
}

/* The event that carries COMM, FORK, EXIT and MMAP2 records, whatever the others are. */
static int add_sideband(struct request *q, char *why, size_t n)
{
	struct perf_event_attr *a = &q->o.events[q->o.nr_events].attr;
	int err = rec_add_event(&q->o, "dummy", 1, 0, why, n);

	if (err)
		return err;
	a->mmap = a->mmap2 = a->comm = a->comm_exec = a->task = 1;
	for (u32 i = 0; q->chains && i < q->o.nr_events; i++)
		q->o.events[i].attr.sample_type |= PERF_SAMPLE_CALLCHAIN;
	return 0;
}

static int go(struct request *q)
{
	struct rec_result res;
	char why[512];

	if (rec_record(&q->o, &res, why, sizeof(why))) {
		say_error("%s", why);
		return 1;
	}
	if (!q->o.quiet)
		fprintf(stderr, "[ ostrom record: %.3f MB in %u rounds written to %s ]\n", res.bytes / 1e6, res.rounds,
			q->o.output);
	return WIFEXITED(res.command_status) ? WEXITSTATUS(res.command_status) : 1;
}

static int run_record(struct request *q, int argc, char **argv, const char *fixed)
{
	const char *events = "cycles";
	char why[512];
	int status;

	q->o.output = "perf.data";
	q->o.argc = argc;
	q->o.argv = argv;
	status = parse(q, argc, argv, &events);
	if (status)
		return max(status, 0);
	if (q->locks && add_events(q, "lock:contention_begin,lock:contention_end", why, sizeof(why))) {
		say_error("--locks: %s", why);
		return 1;
	}
	if (add_events(q, fixed ? fixed : events, why, sizeof(why)) || add_sideband(q, why, sizeof(why))) {
		say_error("%s", why);
		return 1;
	}
	return go(q);
}

int record_main(int argc, char **argv)
{
	struct request q = { .o = { .ring_pages = 128 }, .freq = 4000 };

	return run_record(&q, argc, argv, NULL);
}
SUBCOMMAND(record, "record events into perf.data", record_main);

int sched_record_main(int argc, char **argv)
{
	struct request q = { .o = { .ring_pages = 1024, .system_wide = true }, .period = 1 };
	char events[512] =
		"sched:sched_switch,sched:sched_stat_runtime,sched:sched_process_fork,sched:sched_wakeup_new,"
		"sched:sched_migrate_task,";

	if (rec_tracepoint_exists("sched:sched_stat_wait"))
		strcat(events, "sched:sched_stat_wait,sched:sched_stat_sleep,sched:sched_stat_iowait,");
	strcat(events, rec_tracepoint_exists("sched:sched_waking") ? "sched:sched_waking" : "sched:sched_wakeup");
	return run_record(&q, argc, argv, events);
}
