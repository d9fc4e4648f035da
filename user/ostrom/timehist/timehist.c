/* SPDX-License-Identifier: MIT
 *
 * Problem: `perf sched timehist` is the tool for "why was my thread not running", but takes minutes
 * and gigabytes on the recordings where the question is worth asking.
 *
 * Idea: the same options and the same bytes of output over a stream (perfdata/) instead of a loaded
 * session:
 *
 *   perf.data -> pd_for_each (time order) -> account.c (state a thread, a CPU) -> rows.c -> stdout
 *                                                                            `-> summary.c
 *
 * Contract: options of perf 6.1's timehist, abbreviations and bundles included. Exit status 0, 1
 * when the file cannot be used, 129 for a wrong option, as perf does.
 *
 * Locks: none; one thread.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "ostrom.h"
#include "perfdata/dump.h"
#include "timehist.h"
#include "timeline.h"

#define TEXT_WIDTH 100 /* columns, buckets */
#define HTML_WIDTH 1600

static const char usage_text[] =
	"usage: ostrom timehist [OPTIONS]        (also: ostrom sched timehist)\n"
	"  -i, --input FILE      recording to read (perf.data; - is standard input)\n"
	"  -s, --summary         only the summary          -S, --with-summary  rows and summary\n"
	"  -w, --wakeups         show wake-ups             -n, --next          show the next task\n"
	"  -M, --migrations      show migrations           -V, --cpu-visual    a column a CPU\n"
	"  -I, --idle-hist       idle only                     --state         state when switched "
	"out\n"
	"      --time START,STOP window, in seconds        -C, --cpu LIST      only these CPUs\n"
	"  -p, --pid LIST        only these processes      -t, --tid LIST      only these threads\n"
	"  -g, --call-graph      call chains if recorded       --max-stack N   at most N functions "
	"(5)\n"
	"  -D, --dump-raw-trace  the records as they are, nothing else\n" PLACE_OPTIONS_HELP "beyond perf:\n"
	"      --why TASK        the longest waits of a task (name, process or thread) and who woke it\n"
	"      --waits           a table: how long each thread slept, waited for I/O, for locks, was preempted, "
	"throttled\n"
	"      --json            one JSON object a turn\n"
	"      --timeline        a picture in this terminal: CPUs and the tasks that ran most\n"
	"      --html FILE       the same as a page for a browser\n";

enum {
	OPT_STATE = 256,
	OPT_TIME,
	OPT_MAX_STACK,
	OPT_WHY,
	OPT_JSON,
	OPT_WAITS,
	OPT_TIMELINE,
	OPT_HTML,
	OPT_NO, /* + the short letter: --no-X */
};

static const struct option long_options[] = {
	{ "input", required_argument, NULL, 'i' },
	{ "verbose", no_argument, NULL, 'v' },
	{ "dump-raw-trace", no_argument, NULL, 'D' },
	{ "force", no_argument, NULL, 'f' },
	PLACE_LONG_OPTIONS,
	{ "call-graph", no_argument, NULL, 'g' },
	{ "no-call-graph", no_argument, NULL, OPT_NO + 'g' },
	{ "max-stack", required_argument, NULL, OPT_MAX_STACK },
	{ "summary", no_argument, NULL, 's' },
	{ "no-summary", no_argument, NULL, OPT_NO + 's' },
	{ "with-summary", no_argument, NULL, 'S' },
	{ "wakeups", no_argument, NULL, 'w' },
	{ "no-wakeups", no_argument, NULL, OPT_NO + 'w' },
	{ "next", no_argument, NULL, 'n' },
	{ "no-next", no_argument, NULL, OPT_NO + 'n' },
	{ "migrations", no_argument, NULL, 'M' },
	{ "no-migrations", no_argument, NULL, OPT_NO + 'M' },
	{ "cpu-visual", no_argument, NULL, 'V' },
	{ "no-cpu-visual", no_argument, NULL, OPT_NO + 'V' },
	{ "idle-hist", no_argument, NULL, 'I' },
	{ "no-idle-hist", no_argument, NULL, OPT_NO + 'I' },
	{ "time", required_argument, NULL, OPT_TIME },
	{ "state", no_argument, NULL, OPT_STATE },
	{ "pid", required_argument, NULL, 'p' },
	{ "tid", required_argument, NULL, 't' },
	{ "cpu", required_argument, NULL, 'C' },
	{ "help", no_argument, NULL, 'h' },
	{ "why", required_argument, NULL, OPT_WHY },
	{ "json", no_argument, NULL, OPT_JSON },
	{ "waits", no_argument, NULL, OPT_WAITS },
	{ "timeline", no_argument, NULL, OPT_TIMELINE },
	{ "html", required_argument, NULL, OPT_HTML },
	{ NULL, 0, NULL, 0 },
};

static bool *flag_of(struct th_options *o, int c)
{
	switch (c) {
	case 's': return &o->summary_only;
	case 'S': return &o->summary;
	case 'w': return &o->wakeups;
	case 'n': return &o->next;
	case 'M': return &o->migrations;
	case 'V': return &o->cpu_visual;
	case 'I': return &o->idle_hist;
	case 'g': return &o->callchain;
	case 'D': return &o->dump;
	case OPT_STATE: return &o->state;
	case OPT_JSON: return &o->json;
	case OPT_WAITS: return &o->waits;
	case OPT_TIMELINE: return &o->timeline;
	default: return NULL;
	}
}

static const char **text_of(struct th_options *o, int c)
{
	switch (c) {
	case 'i': return &o->input;
	case 'p': return &o->pids;
	case 't': return &o->tids;
	case 'C': return &o->cpus;
	case OPT_TIME: return &o->time;
	case OPT_WHY: return &o->why;
	case OPT_HTML: return &o->html;
	default: return NULL;
	}
}

/* 0, or the exit status. */
static int parse_options(struct timehist *th, int argc, char **argv)
{
	struct th_options *o = &th->opt;
	int c;

	*o = (struct th_options){ .input = "perf.data", .callchain = true, .max_stack = 5 };
	optind = 0;
	while ((c = getopt_long(argc, argv, "i:vfDk:gsSwnMVIp:t:C:h", long_options, NULL)) != -1) {
		bool *flag = flag_of(o, c >= OPT_NO ? c - OPT_NO : c);
		const char **text = text_of(o, c);

		if (flag)
			*flag = c < OPT_NO;
		else if (text)
			*text = optarg;
		else if (c == OPT_MAX_STACK)
			o->max_stack = strtoul(optarg, NULL, 0);
		else if (c == 'v')
			o->verbose++;
		else if (!places_option(&th->places, c, optarg) && c != 'f')
			return fputs(usage_text, c == 'h' ? stdout : stderr), c == 'h' ? -1 : 129;
	}
	if (optind < argc) {
		fprintf(stderr, "unexpected argument '%s'\n%s", argv[optind], usage_text);
		return 129;
	}
	if (o->html && o->timeline) {
		fprintf(stderr, "--timeline and --html are two pictures of different width: ask for one\n");
		return 129;
	}
	if ((o->wakeups || o->next) && o->summary_only) {
		fprintf(stderr, " Error: -s and -[n|w] are mutually exclusive.\n");
		return 129;
	}
	return 0;
}

static int by_id(const void *a, const void *b)
{
	s32 x = *(const s32 *)a, y = *(const s32 *)b;

	return x < y ? -1 : x > y;
}

/* "1,2,30-40" */
static int parse_ids(struct id_list *l, const char *text)
{
	while (text && *text) {
		char *end;
		long lo = strtol(text, &end, 10), hi = lo;
		s32 *grown;

		if (end == text)
			return -EINVAL;
		if (*end == '-')
			hi = strtol(end + 1, &end, 10);
		if ((*end && *end != ',') || hi < lo || hi - lo > 1 << 20 || l->nr > 1 << 22)
			return -EINVAL;
		grown = realloc(l->ids, (l->nr + hi - lo + 1) * sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		l->ids = grown;
		while (lo <= hi)
			l->ids[l->nr++] = lo++;
		text = *end ? end + 1 : end;
	}
	if (l->nr)
		qsort(l->ids, l->nr, sizeof(*l->ids), by_id);
	return 0;
}

/* "12.5" to ns; up to nine decimals. */
static int parse_time(const char *p, const char *end, u64 *ns)
{
	u64 whole = 0, part = 0, scale = NSEC_PER_SEC;

	for (; p < end && *p != '.'; p++) {
		if (*p < '0' || *p > '9' || whole > UINT64_MAX / NSEC_PER_SEC / 10)
			return -EINVAL;
		whole = whole * 10 + *p - '0';
	}
	if (p < end)
		for (p++; p < end; p++) {
			if (*p < '0' || *p > '9' || scale == 1)
				return -EINVAL;
			scale /= 10;
			part += (*p - '0') * scale;
		}
	*ns = whole * NSEC_PER_SEC + part;
	return 0;
}

static int parse_window(struct timehist *th, const char *text)
{
	const char *comma, *end;

	if (!text || !*text)
		return 0;
	end = text + strlen(text);
	comma = memchr(text, ',', end - text);
	if (parse_time(text, comma ? comma : end, &th->start))
		return -EINVAL;
	if (comma && parse_time(comma + 1, end, &th->end))
		return -EINVAL;
	return th->end && th->end < th->start ? -EINVAL : 0;
}

static int parse_cpus(struct timehist *th, const char *text)
{
	struct id_list list = { 0 };
	u32 limit = min(pd_cpus_available(th->file), (u32)TH_MAX_CPUS);
	int err;

	if (!text)
		return 0;
	err = parse_ids(&list, text);
	th->has_cpu_list = true;
	for (u32 i = 0; i < list.nr && !err; i++) {
		if (list.ids[i] < 0 || (u32)list.ids[i] >= limit) {
			fprintf(stderr, "Requested CPU %d too large. The recording has %u\n", list.ids[i], limit);
			err = -EINVAL;
		} else {
			th->cpu_list[list.ids[i] / 64] |= 1ULL << (list.ids[i] % 64);
		}
	}
	free(list.ids);
	return err;
}

static enum th_kind kind_of(const struct timehist *th, const char *name, bool has_waking)
{
	if (!strcmp(name, "sched:sched_switch"))
		return TH_SWITCH;
	if (!strcmp(name, "sched:sched_waking") || !strcmp(name, "sched:sched_wakeup_new") ||
	    (!strcmp(name, "sched:sched_wakeup") && !has_waking))
		return TH_WAKEUP;
	if (!strcmp(name, "sched:sched_migrate_task") && th->opt.migrations)
		return TH_MIGRATE;
	if (!strcmp(name, "lock:contention_begin") && th_wants_waits(th))
		return TH_CONTENDED;
	if (!strcmp(name, "lock:contention_end") && th_wants_waits(th))
		return TH_ACQUIRED;
	return TH_OTHER;
}

static void find_fields(struct th_event *k, const struct pd_tracepoint *tp)
{
	if (k->kind == TH_SWITCH) {
		k->values[TH_PREV_PID] = pd_tracepoint_field(tp, "prev_pid");
		k->values[TH_PREV_STATE] = pd_tracepoint_field(tp, "prev_state");
		k->values[TH_NEXT_PID] = pd_tracepoint_field(tp, "next_pid");
		k->nr_values = 3;
	} else if (k->kind == TH_WAKEUP || k->kind == TH_MIGRATE) {
		k->values[TH_PID] = pd_tracepoint_field(tp, "pid");
		k->nr_values = 1;
	}
	k->next_comm = pd_tracepoint_field(tp, "next_comm");
	k->orig_cpu = pd_tracepoint_field(tp, "orig_cpu");
	k->dest_cpu = pd_tracepoint_field(tp, "dest_cpu");
}

static int classify(struct timehist *th)
{
	u32 nr = pd_nr_events(th->file);
	bool has_waking = pd_find_event(th->file, "sched:sched_waking");

	th->takes_briefs = !th_wants_samples(th);
	th->kinds = calloc(nr, sizeof(*th->kinds));
	if (!th->kinds)
		return -ENOMEM;
	for (u32 i = 0; i < nr; i++) {
		struct pd_event *e = pd_event(th->file, i);
		struct th_event *k = &th->kinds[i];

		k->kind = kind_of(th, e->name, has_waking);
		find_fields(k, e->tp);
		e->unwanted = k->kind == TH_OTHER && pd_cpus_online(th->file) >= pd_cpus_available(th->file);
		if (th->takes_briefs && !e->unwanted)
			th->takes_briefs = pd_ask_brief(e, k->values, k->nr_values);
	}
	if (pd_find_event(th->file, "sched:sched_switch"))
		return 0;
	fprintf(stderr, "No sched_switch events found. Have you run 'perf sched record'? (or "
			"`ostrom sched record`)\n");
	return -ENOENT;
}

static void check_callchains(struct timehist *th)
{
	for (u32 i = 0; i < pd_nr_events(th->file) && th->opt.callchain; i++)
		if (!(pd_event(th->file, i)->attr.sample_type & PERF_SAMPLE_CALLCHAIN)) {
			fprintf(stderr, "Samples do not have callchains.\n");
			th->opt.callchain = false;
		}
}

static int prepare(struct timehist *th)
{
	u32 online = pd_cpus_online(th->file);

	if (parse_cpus(th, th->opt.cpus))
		return -EINVAL;
	if (parse_window(th, th->opt.time)) {
		fprintf(stderr, "Invalid time string: --time START,STOP in seconds of the recording's clock (12.5,13), "
				"either may be left out\n");
		return -EINVAL;
	}
	if (parse_ids(&th->pids, th->opt.pids) || parse_ids(&th->tids, th->opt.tids)) {
		fprintf(stderr, "problems parsing the list of processes or threads\n");
		return -EINVAL;
	}
	check_callchains(th);
	if (classify(th))
		return -EINVAL;
	th->max_cpu = online ? min(online, (u32)TH_MAX_CPUS) : 4;
	for (u32 i = 0; i < th->max_cpu; i++)
		th_idle(th, i);
	th->idle_cpus = th->max_cpu;
	th->opt.summary_only |= th->opt.waits;
	th->opt.summary |= th->opt.summary_only;
	th->is_filtered = th->opt.pids || th->opt.tids || th->opt.idle_hist;
	th->is_plain = th->opt.summary_only && !th->is_filtered && !th->has_cpu_list && !th->start && !th->end &&
		       !th_wants_waits(th) && !th->opt.timeline && !th->opt.html;
	places_begin(&th->places, th->file);
	return 0;
}

static int show_timeline(struct timehist *th)
{
	int err = 0;

	if (th->opt.html)
		err = timeline_html(th, th->opt.html);
	if (err)
		say_error("%s: %s", th->opt.html, strerror(-err));
	if (th->opt.timeline)
		timeline_print(th);
	return err;
}

static int report(struct timehist *th)
{
	struct pd_consumer c = { .record = th_record, .arg = th, .brief = th->takes_briefs ? th_brief : NULL };
	int err = 0;

	if (th->opt.dump)
		err = pd_dump(th->file, &th->out);
	else if (th->opt.timeline || th->opt.html)
		err = timeline_begin(th, th->opt.html ? HTML_WIDTH : TEXT_WIDTH);
	else if (!th->opt.summary_only && !th->opt.why && !th->opt.json)
		th_print_header(th);
	if (!err && !th->opt.dump)
		err = pd_for_each(th->file, &c);
	if (!err && th->timeline)
		err = show_timeline(th);
	if (!err && th->opt.why && !th->opt.dump)
		th_print_delays(th);
	if (!err && th->opt.waits)
		th_print_waits(th);
	else if (!err && th->opt.summary && !th->opt.dump)
		th_print_summary(th);
	if (out_flush(&th->out) && th->out.error != -EPIPE)
		say_error("writing the report: %s", strerror(-th->out.error));
	if (*pd_damage(th->file))
		say_error("%s", pd_damage(th->file));
	return err;
}

static void release(struct timehist *th)
{
	for (u32 i = 0; i < TH_MAX_CPUS; i++)
		if (th->cpus[i].idle) {
			free(th->cpus[i].idle->priv);
			free(th->cpus[i].idle);
		}
	timeline_free(th->timeline);
	pd_threads_free(&th->threads);
	places_free(&th->places);
	pd_close(th->file);
	free(th->kinds);
	free(th->pids.ids);
	free(th->tids.ids);
	free(th);
}

int timehist_main(int argc, char **argv)
{
	struct timehist *th = calloc(1, sizeof(*th));
	char why[512];
	int status;

	if (!th)
		return 1;
	status = places_init(&th->places) ? 1 : parse_options(th, argc, argv);
	if (status) {
		free(th);
		return max(status, 0);
	}
	out_init(&th->out, STDOUT_FILENO);
	th->comm_width = 30;
	status = 1;
	if (pd_threads_init(&th->threads))
		say_error("out of memory");
	else if (pd_open(&th->file, th->opt.input, why, sizeof(why)))
		say_error("%s", why);
	else if (!prepare(th))
		status = report(th) ? 1 : 0;
	release(th);
	return status;
}
SUBCOMMAND(timehist, "what each thread did between two context switches", timehist_main);
