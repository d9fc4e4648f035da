/* SPDX-License-Identifier: MIT
 *
 * Problem: "my program is slow": five tools and an expert could say why.
 *
 * Idea: one command takes one short recording of the whole machine (who runs, who wakes whom, and where) and of the
 * target's memory accesses (by clock), and answers in one screen.
 *
 * Contract: ostrom why PID | CGROUP (a path) | COMMAND [ARGS]. Exit status 0 nothing delays it, 3 something does, 1
 * failed, 129 wrong option. The temporary recording is removed unless -o names it.
 *
 * Locks: none.
 */
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "ostrom.h"
#include "record/recorder.h"
#include "why.h"

static const char usage_text[] = "usage: ostrom why [OPTIONS] PID | CGROUP | [--] COMMAND [ARGS]\n"
				 "  -d, --duration SECONDS   how long to look (3; a command: until it ends)\n"
				 "  -F, --freq HZ            clock samples a second and CPU (1000)\n"
				 "  -o, --output FILE        keep the recording     --json   for programs\n";

enum { OPT_JSON = 256 };

static const struct option long_options[] = {
	{ "duration", required_argument, NULL, 'd' }, { "freq", required_argument, NULL, 'F' },
	{ "output", required_argument, NULL, 'o' },   { "json", no_argument, NULL, OPT_JSON },
	{ "help", no_argument, NULL, 'h' },           { NULL, 0, NULL, 0 },
};

struct request {
	struct rec_options o;
	u64 freq;
	double seconds;
	bool json;
	char temporary[64];
};

/* ---- the cgroup ---- */

static u64 cgroup_number(const char *cgroup, const char *key)
{
	char path[4096], name[64];
	unsigned long long v, found = 0;
	FILE *f;

	snprintf(path, sizeof(path), "%s/cpu.stat", cgroup);
	f = fopen(path, "re");
	while (f && fscanf(f, "%63s %llu", name, &v) == 2)
		if (!strcmp(name, key))
			found = v;
	if (f)
		fclose(f);
	return found;
}

/* The cgroup v2 of a process, as a path under the mount. */
static bool cgroup_of(s32 pid, char *out, size_t n)
{
	char path[64], line[4096];
	bool found = false;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/cgroup", pid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, "0::", 3)) {
			line[strcspn(line, "\n")] = 0;
			found = (size_t)snprintf(out, n, "/sys/fs/cgroup%s", line + 3) < n;
		}
	if (f)
		fclose(f);
	return found;
}

static int cgroup_members(struct why *w)
{
	char path[4096];
	s32 pid;
	FILE *f;

	snprintf(path, sizeof(path), "%s/cgroup.procs", w->cgroup);
	f = fopen(path, "re");
	if (!f)
		return -errno;
	while (fscanf(f, "%d", &pid) == 1) {
		s32 *grown = realloc(w->pids, (w->nr_pids + 1) * sizeof(*grown));

		if (!grown)
			break;
		w->pids = grown;
		grown[w->nr_pids++] = pid;
	}
	fclose(f);
	return w->nr_pids ? 0 : -ESRCH;
}

/* What the hypervisor gave to others while CPUs of this machine wanted to run: ns of all CPUs since boot. */
static u64 stolen_ns(void)
{
	FILE *f = fopen("/proc/stat", "re");
	unsigned long long ticks = 0;

	if (!f)
		return 0;
	if (fscanf(f, "cpu %*u %*u %*u %*u %*u %*u %*u %llu", &ticks) != 1)
		ticks = 0;
	fclose(f);
	return ticks * (NSEC_PER_SEC / (u64)sysconf(_SC_CLK_TCK));
}

/* ---- recording ---- */

static int add_events(struct request *q, char *why, size_t n)
{
	static const char *const sched[] = { "sched:sched_switch", "sched:sched_waking", "sched:sched_wakeup_new" };
	struct rec_options *o = &q->o;
	struct perf_event_attr *a;

	for (u32 i = 0; i < ARRAY_SIZE(sched); i++)
		if (rec_add_event(o, i == 1 && !rec_tracepoint_exists(sched[i]) ? "sched:sched_wakeup" : sched[i], 1, 0,
				  why, n))
			return -1;
	o->events[0].attr.sample_type |= PERF_SAMPLE_CALLCHAIN;
	o->events[0].attr.exclude_callchain_user = 1;
	a = &o->events[o->nr_events].attr;
	if (rec_add_event(o, "cpu-clock", NSEC_PER_SEC / q->freq | 1, 0, why, n))
		return -1;
	a->sample_type |= PERF_SAMPLE_REGS_USER;
	a->sample_regs_user = C2C_REGS;
	a->exclude_kernel = a->exclude_hv = 1;
	a = &o->events[o->nr_events].attr;
	if (rec_add_event(o, "dummy", 1, 0, why, n))
		return -1;
	a->mmap = a->mmap2 = a->mmap_data = a->comm = a->comm_exec = a->task = 1;
	return 0;
}

/* PID, CGROUP or COMMAND. 0 or an exit status. */
static int find_target(struct request *q, struct why *w, int argc, char **argv)
{
	const char *t = argc ? argv[0] : "";
	char *end;
	long pid = strtol(t, &end, 10);

	w->name = t;
	if (argc == 1 && *t && !*end && pid > 0 && kill((pid_t)pid, 0) && errno == ESRCH) {
		say_error("there is no process %ld", pid);
		return 1;
	}
	if (argc == 1 && *t == '/' && access(t, F_OK)) {
		say_error("%s is neither a cgroup nor a program", t);
		return 1;
	}
	if (argc == 1 && *t && !*end && pid > 0) {
		w->pid = pid;
	} else if (argc == 1 && *t == '/' && (w->cgroup = t) && !cgroup_members(w)) {
		w->pid = -1;
	} else if (argc) {
		w->cgroup = NULL;
		q->o.command = argv;
		return 0;
	} else {
		fputs(usage_text, stderr);
		return 129;
	}
	q->o.seconds = q->seconds > 0 ? q->seconds : 3;
	return 0;
}

static int look(struct request *q, struct why *w)
{
	static char cgroup[4096];
	struct rec_result res;
	char why[512];
	u64 us, periods, stolen = stolen_ns();

	if (!w->cgroup && w->pid > 0 && cgroup_of(w->pid, cgroup, sizeof(cgroup)))
		w->cgroup = cgroup;
	us = w->cgroup ? cgroup_number(w->cgroup, "throttled_usec") : 0;
	periods = w->cgroup ? cgroup_number(w->cgroup, "nr_throttled") : 0;
	if (add_events(q, why, sizeof(why)) || rec_record(&q->o, &res, why, sizeof(why))) {
		say_error("%s", why);
		return -1;
	}
	w->steal_ns = stolen_ns() - stolen;
	w->nr_cpus = (u32)sysconf(_SC_NPROCESSORS_ONLN);
	if (w->cgroup) {
		w->throttled_us = cgroup_number(w->cgroup, "throttled_usec") - us;
		w->throttled_periods = cgroup_number(w->cgroup, "nr_throttled") - periods;
	}
	if (q->o.command)
		w->pid = res.command_pid;
	return 0;
}

static int answer(struct request *q, struct why *w)
{
	struct out *o = malloc(sizeof(*o));
	int status = 1;

	if (o && !look(q, w) && !why_collect(w, q->o.output)) {
		out_init(o, STDOUT_FILENO);
		status = why_print(o, w, q->json);
		if (out_flush(o))
			status = 1;
	}
	if (*q->temporary)
		unlink(q->temporary);
	free(o);
	return status;
}

static int parse(struct request *q, int argc, char **argv)
{
	int c;

	optind = 0;
	while ((c = getopt_long(argc, argv, "+d:F:o:h", long_options, NULL)) != -1) {
		switch (c) {
		case 'd': q->seconds = atof(optarg); break;
		case 'F': q->freq = strtoull(optarg, NULL, 0); break;
		case 'o': q->o.output = optarg; break;
		case OPT_JSON: q->json = true; break;
		default: fputs(usage_text, c == 'h' ? stdout : stderr); return c == 'h' ? -1 : 129;
		}
	}
	return q->freq > 0 && q->freq <= 100000 ? 0 : 129;
}

static int why_main(int argc, char **argv)
{
	struct request *q = calloc(1, sizeof(*q));
	struct why *w = calloc(1, sizeof(*w));
	int status = 1, fd;

	if (!q || !w)
		return 1;
	q->freq = 1000;
	q->o = (struct rec_options){
		.system_wide = true, .ring_pages = 512, .data_maps = true, .quiet = true, .argc = argc, .argv = argv
	};
	status = parse(q, argc, argv);
	if (!status)
		status = find_target(q, w, argc - optind, argv + optind);
	if (!status && !q->o.output) {
		strcpy(q->temporary, "/tmp/ostrom-why-XXXXXX");
		fd = mkstemp(q->temporary);
		if (fd >= 0)
			close(fd);
		q->o.output = q->temporary;
	}
	if (!status)
		status = answer(q, w);
	why_free(w);
	free(w);
	free(q);
	return max(status, 0);
}
SUBCOMMAND(why, "what delays a program now, and who causes it", why_main);
