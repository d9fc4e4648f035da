/* SPDX-License-Identifier: MIT
 *
 * Problem: scripts want samples as lines of text, in the form of `perf script`.
 *
 * Idea: one line a sample: who, where, when, how much of which event; then the tracepoint's data, printed by
 * libtraceevent with the format that the file carries, or the address by name; with call chains one line a frame and an
 * empty one behind it.
 *
 *   comm(16) tid(5) [cpu] time: period event(widest): data | address symbol+offset (file)
 *
 * Contract: perf 6.1's default fields, or those of -F. Exit status 1 when the file cannot be used, 129 for a wrong
 * option. Locks: none.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <traceevent/event-parse.h>
#include <traceevent/trace-seq.h>
#include <unistd.h>
#include "ostrom.h"
#include "perfdata/dump.h"
#include "perfdata/out.h"
#include "perfdata/place.h"
#include "perfdata/threads.h"

static const char usage_text[] =
	"usage: ostrom script [OPTIONS]\n"
	"  -i, --input FILE     recording (perf.data; - is standard input)\n"
	"  -F, --fields LIST    of comm,tid,pid,time,cpu,period,event,trace,ip,sym,symoff,dso\n"
	"  -G, --hide-call-graph  addresses only\n"
	"      --max-stack N    at most N frames (127)\n"
	"  -D, --dump-raw-trace   the records as they are, nothing else\n" PLACE_OPTIONS_HELP;

enum { OPT_MAX_STACK = 256 };

static const struct option long_options[] = {
	{ "input", required_argument, NULL, 'i' },
	{ "fields", required_argument, NULL, 'F' },
	{ "force", no_argument, NULL, 'f' },
	{ "dump-raw-trace", no_argument, NULL, 'D' },
	{ "hide-call-graph", no_argument, NULL, 'G' },
	PLACE_LONG_OPTIONS,
	{ "max-stack", required_argument, NULL, OPT_MAX_STACK },
	{ "help", no_argument, NULL, 'h' },
	{ NULL, 0, NULL, 0 },
};

enum field {
	F_COMM = 1 << 0,
	F_TID = 1 << 1,
	F_PID = 1 << 2,
	F_TIME = 1 << 3,
	F_CPU = 1 << 4,
	F_PERIOD = 1 << 5,
	F_EVENT = 1 << 6,
	F_TRACE = 1 << 7,
	F_IP = 1 << 8,
	F_SYM = 1 << 9,
	F_SYMOFF = 1 << 10,
	F_DSO = 1 << 11,
};

#define F_WHO   (F_COMM | F_TID | F_CPU | F_TIME | F_EVENT)
#define F_PLACE (F_IP | F_SYM | F_SYMOFF | F_DSO)

struct script {
	const char *input;
	u32 fields; /* 0: by the kind of event */
	bool hide_chains, has_chains, dump;
	u32 max_stack;
	int event_width;
	struct pd_file *file;
	struct pd_threads threads;
	struct places places;
	struct tep_handle *tep;
	struct trace_seq text;
	struct out out;
};

static bool parse_fields(struct script *s, const char *list)
{
	static const char *const names[] = { "comm",  "tid",   "pid", "time", "cpu",    "period",
					     "event", "trace", "ip",  "sym",  "symoff", "dso" };
	size_t n;

	for (; *list; list += n + (list[n] == ',')) {
		u32 i = 0;

		n = strcspn(list, ",");
		while (i < ARRAY_SIZE(names) && (strlen(names[i]) != n || strncmp(names[i], list, n)))
			i++;
		if (i == ARRAY_SIZE(names)) {
			say_error("-F: '%.*s' is none of comm, tid, pid, time, cpu, period, event, trace, ip, sym, "
				  "symoff, dso",
				  (int)n, list);
			return false;
		}
		s->fields |= 1u << i;
	}
	return s->fields;
}

/* 0, -1 after help, or the exit status. */
static int parse(struct script *s, int argc, char **argv)
{
	int c;

	s->input = "perf.data";
	s->max_stack = 127;
	optind = 0;
	while ((c = getopt_long(argc, argv, "i:F:fDGk:h", long_options, NULL)) != -1)
		switch (c) {
		case 'i': s->input = optarg; break;
		case 'F':
			if (!parse_fields(s, optarg))
				return 129;
			break;
		case 'f': break;
		case 'D': s->dump = true; break;
		case 'G': s->hide_chains = true; break;
		case OPT_MAX_STACK: s->max_stack = strtoul(optarg, NULL, 0); break;
		default:
			if (places_option(&s->places, c, optarg))
				break;
			fputs(usage_text, c == 'h' ? stdout : stderr);
			return c == 'h' ? -1 : 129;
		}
	return 0;
}

static u32 fields_of(const struct script *s, const struct pd_event *e)
{
	u64 t = e->attr.sample_type;
	u32 f = s->fields;

	if (!f && e->attr.type == PERF_TYPE_TRACEPOINT)
		f = F_WHO | F_TRACE | (s->has_chains ? F_PLACE : 0);
	else if (!f)
		f = F_WHO | F_PERIOD | F_PLACE;
	if (!(t & PERF_SAMPLE_CPU))
		f &= ~F_CPU;
	if (!(t & PERF_SAMPLE_TIME))
		f &= ~F_TIME;
	if (!(t & PERF_SAMPLE_PERIOD) && !e->attr.sample_period)
		f &= ~F_PERIOD;
	return f;
}

static void put_who(struct script *s, const struct pd_sample *r, u32 f, bool chain)
{
	struct pd_thread *t = pd_thread_get(&s->threads, r->pid, r->tid);
	const char *comm = t ? t->comm : "";
	struct out *o = &s->out;

	if (f & F_COMM) {
		if (!chain)
			out_fill(o, ' ', 16 - (int)strlen(comm));
		out_str(o, comm);
		out_char(o, ' ');
	}
	if ((f & F_PID) && (f & F_TID))
		out_printf(o, "%5d/%-5d ", (s32)r->pid, (s32)r->tid);
	else if (f & (F_PID | F_TID))
		out_printf(o, "%5d ", (s32)(f & F_PID ? r->pid : r->tid));
	if (f & F_CPU) {
		out_char(o, '[');
		out_u64_zero(o, r->cpu, 3);
		out_bytes(o, "] ", 2);
	}
	if (f & F_TIME) {
		out_time_us(o, r->time, 12);
		out_bytes(o, ": ", 2);
	}
	if (f & F_PERIOD) {
		out_u64(o, r->period, 10);
		out_char(o, ' ');
	}
	if (f & F_EVENT) {
		int n = strlen(r->event->name);

		out_fill(o, ' ', s->event_width - n);
		out_bytes(o, r->event->name, n);
		out_bytes(o, ": ", 2);
	}
}

static void put_trace(struct script *s, const struct pd_sample *r)
{
	struct tep_record rec = { .cpu = r->cpu, .size = r->raw_bytes, .data = (void *)r->raw };

	if (!r->raw || r->raw_bytes < 8)
		return;
	trace_seq_reset(&s->text);
	tep_print_event(s->tep, &s->text, &rec, "%s", TEP_PRINT_INFO);
	out_bytes(&s->out, s->text.buffer, s->text.len);
}

static void put_place(struct out *o, u64 shown, u32 f, const struct place *p)
{
	if (f & F_IP)
		out_printf(o, "%16llx", (unsigned long long)shown);
	if (f & F_SYM) {
		out_char(o, ' ');
		out_str(o, p->symbol ? p->symbol : "[unknown]");
		if (p->symbol && (f & F_SYMOFF))
			out_printf(o, "+0x%llx", (unsigned long long)p->offset);
	}
	if (f & F_DSO) {
		out_str(o, " (");
		out_str(o, p->file->long_name);
		out_char(o, ')');
	}
}

static void put_chain(struct script *s, const struct pd_sample *r, u32 f)
{
	u32 n = pd_chain_length(r, s->max_stack);
	bool in_kernel = false;

	for (u32 i = 0; i < n; i++) {
		u64 ip = pd_u64(r->chain + i * 8);
		struct place p;

		if (ip >= (u64)PERF_CONTEXT_MAX) {
			in_kernel = ip == (u64)PERF_CONTEXT_KERNEL;
			continue;
		}
		place_find(&s->places, r->pid, in_kernel, ip, &p);
		out_char(&s->out, '\t');
		put_place(&s->out, p.addr, f, &p);
		out_char(&s->out, '\n');
	}
}

static void print_sample(struct script *s, const struct pd_sample *r)
{
	u32 f = fields_of(s, r->event);
	bool chain = (f & F_IP) && s->has_chains && !s->hide_chains;
	bool in_kernel = (r->misc & PERF_RECORD_MISC_CPUMODE_MASK) == PERF_RECORD_MISC_KERNEL;
	struct place p;

	put_who(s, r, f, chain);
	if ((f & F_TRACE) && r->event->tp)
		put_trace(s, r);
	if (chain && r->chain_nr) {
		out_char(&s->out, '\n');
		put_chain(s, r, f);
	} else if (f & F_IP) { /* names belong to an address that is shown */
		place_find(&s->places, r->pid, in_kernel, r->ip, &p);
		out_char(&s->out, ' ');
		put_place(&s->out, r->ip, f, &p);
	}
	out_char(&s->out, '\n');
}

static int on_record(void *arg, const struct pd_sample *r)
{
	struct script *s = arg;
	int err;

	if (r->type == PERF_RECORD_SAMPLE) {
		print_sample(s, r);
		return s->out.error;
	}
	err = pd_threads_record(&s->threads, r);
	return err ? err : places_follow(&s->places, r);
}

/* The formats that the file carries, and its tables of strings and names. */
static int load_formats(struct script *s)
{
	const struct pd_tracing *t = pd_tracing(s->file);
	char *text;

	s->tep = tep_alloc();
	if (!s->tep)
		return -ENOMEM;
	tep_set_long_size(s->tep, 8);
	tep_set_file_bigendian(s->tep, TEP_LITTLE_ENDIAN);
	tep_set_local_bigendian(s->tep, TEP_LITTLE_ENDIAN);
	tep_set_loglevel(TEP_LOG_NONE);
	for (u32 i = 0; i < t->nr; i++)
		tep_parse_event(s->tep, t->tps[i].text, t->tps[i].text_bytes, t->tps[i].system);
	text = t->printk ? strndup(t->printk, t->printk_bytes) : NULL;
	if (text)
		tep_parse_printk_formats(s->tep, text);
	free(text);
	trace_seq_init(&s->text);
	return 0;
}

static int show(struct script *s)
{
	struct pd_consumer c = { .record = on_record, .arg = s };
	int err = load_formats(s);

	places_begin(&s->places, s->file);
	for (u32 i = 0; i < pd_nr_events(s->file); i++) {
		const struct pd_event *e = pd_event(s->file, i);

		s->event_width = max(s->event_width, (int)strlen(e->name));
		s->has_chains |= !!(e->attr.sample_type & PERF_SAMPLE_CALLCHAIN);
	}
	if (!err)
		err = s->dump ? pd_dump(s->file, &s->out) : pd_for_each(s->file, &c);
	if (out_flush(&s->out) && s->out.error != -EPIPE)
		say_error("writing: %s", strerror(-s->out.error));
	if (*pd_damage(s->file))
		say_error("%s", pd_damage(s->file));
	trace_seq_destroy(&s->text);
	tep_free(s->tep);
	return err;
}

static int script_main(int argc, char **argv)
{
	struct script *s = calloc(1, sizeof(*s));
	char why[512];
	int status;

	if (!s)
		return 1;
	out_init(&s->out, STDOUT_FILENO);
	status = places_init(&s->places) || pd_threads_init(&s->threads) ? 1 : parse(s, argc, argv);
	if (!status && pd_open(&s->file, s->input, why, sizeof(why))) {
		say_error("%s", why);
		status = 1;
	} else if (!status) {
		status = show(s) ? 1 : 0;
		pd_close(s->file);
	}
	pd_threads_free(&s->threads);
	places_free(&s->places);
	free(s);
	return max(status, 0);
}
SUBCOMMAND(script, "samples of a recording as lines", script_main);
