/* SPDX-License-Identifier: MIT
 *
 * Problem: show what a c2c recording says: to people, to programs, before and after a fix.
 *
 * Idea: analyse.c finds the lines, words.c prints them; --before analyses a second recording and tells per object what
 * became of it.
 *
 * Contract: exit status 0 no contention, 3 contention found with --check, 1 the file cannot be used, 129 wrong option.
 * Locks: none.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "ostrom.h"
#include "table.h"
#include "words.h"

static const char usage_text[] =
	"usage: ostrom c2c report [OPTIONS]\n"
	"  -i, --input FILE    recording (perf.data)     -n, --lines N     at most N lines (10)\n"
	"  -p, --pid PID       one process               --json            for programs\n"
	"  --before FILE       compare with an earlier recording\n"
	"  --tui               walk through the lines in the terminal\n"
	"  --check             exit status 3 if a line is fought over\n"
	"  --symfs DIR         where the recorded machine's files lie\n"
	"perf's tables:\n"
	"  --stdio             all sections              --stats           the counters only\n"
	"  -d, --display WHICH sort by tot, rmt or lcl   -c, --coalesce LIST  iaddr or pid,iaddr\n"
	"  --full-symbols      names in full width       --no-source       without source lines\n"
	"  -N, --node-info     nodes with their shares; -NN with their CPUs\n"
	"  --show-all          lines below a thousandth, too\n";

enum { OPT_JSON = 256, OPT_BEFORE, OPT_TUI, OPT_CHECK, OPT_STDIO, OPT_STATS, OPT_FULL, OPT_NO_SOURCE, OPT_SHOW_ALL };

static const struct option long_options[] = {
	{ "input", required_argument, NULL, 'i' },
	{ "lines", required_argument, NULL, 'n' },
	{ "pid", required_argument, NULL, 'p' },
	{ "json", no_argument, NULL, OPT_JSON },
	{ "before", required_argument, NULL, OPT_BEFORE },
	{ "tui", no_argument, NULL, OPT_TUI },
	{ "check", no_argument, NULL, OPT_CHECK },
	{ "stdio", no_argument, NULL, OPT_STDIO },
	{ "stats", no_argument, NULL, OPT_STATS },
	{ "full-symbols", no_argument, NULL, OPT_FULL },
	{ "node-info", no_argument, NULL, 'N' },
	{ "no-source", no_argument, NULL, OPT_NO_SOURCE },
	{ "show-all", no_argument, NULL, OPT_SHOW_ALL },
	{ "symfs", required_argument, NULL, PLACE_OPT_SYMFS },
	{ "display", required_argument, NULL, 'd' },
	{ "coalesce", required_argument, NULL, 'c' },
	{ "help", no_argument, NULL, 'h' },
	{ NULL, 0, NULL, 0 },
};

struct request {
	const char *input, *before, *root;
	u32 lines;
	s32 pid;
	bool json, tui, check;
	u32 node_detail;
	bool stdio, stats_only, full_symbols, no_source, show_all, by_pid;
	enum c2c_display display;
};

static const struct line_report *find_object(const struct c2c_analysis *c, const char *object)
{
	for (u32 i = 0; i < c->nr_reports; i++)
		if (c->reports[i].nr_parts && !strcmp(c->reports[i].parts[0].name.object, object))
			return &c->reports[i];
	return NULL;
}

static u32 permille(const struct c2c_analysis *c, const struct line_report *r)
{
	return r && c->samples ? r->travels * 1000 / c->samples : 0;
}

/* Moves of each object's line per thousand samples, before and now. */
static void put_comparison(struct out *o, const struct c2c_analysis *was, const struct c2c_analysis *is)
{
	out_str(o, "Moves of the line per thousand samples, before and now:\n");
	for (u32 i = 0; i < was->nr_reports; i++) {
		const char *object = was->reports[i].parts[0].name.object;
		const struct line_report *now = find_object(is, object);

		out_printf(o, "  %-32s %4u -> %4u  %s\n", object, permille(was, &was->reports[i]), permille(is, now),
			   now ? "still fought over" : "gone");
	}
	for (u32 i = 0; i < is->nr_reports; i++)
		if (!find_object(was, is->reports[i].parts[0].name.object))
			out_printf(o, "  %-32s    0 -> %4u  new\n", is->reports[i].parts[0].name.object,
				   permille(is, &is->reports[i]));
}

static int show(const struct request *q, struct out *o)
{
	struct c2c_analysis *is = calloc(2, sizeof(*is)), *was = is ? is + 1 : NULL;
	int status = 1;

	if (!is)
		return 1;
	if (!c2c_analyse(is, q->input, q->pid, q->root) && is->samples) {
		status = q->check && is->nr_reports ? 3 : 0;
		if (q->tui)
			status = view_run(is) ? 1 : status;
		else if (q->json)
			words_json(o, is);
		else if (!q->before)
			words_print(o, is, q->lines);
		else if (!c2c_analyse(was, q->before, q->pid, q->root))
			put_comparison(o, was, is);
	}
	c2c_analysis_free(is);
	c2c_analysis_free(was);
	free(is);
	return status;
}

static int on_table_record(void *arg, const struct pd_sample *s)
{
	return table_record(arg, s);
}

static int show_tables(const struct request *q, struct out *o)
{
	struct c2c_table *t = calloc(1, sizeof(*t));
	struct pd_consumer c = { .record = on_table_record, .arg = t };
	struct pd_file *f;
	char why[512];
	int err;

	if (!t)
		return 1;
	if (places_init(&t->places)) {
		free(t);
		return 1;
	}
	t->places.images.root = q->root;
	t->display = q->display;
	t->by_pid = q->by_pid;
	t->no_source = q->no_source;
	t->full_symbols = q->full_symbols;
	t->show_all = q->show_all;
	if (pd_open(&f, q->input, why, sizeof(why))) {
		say_error("%s", why);
		table_free(t);
		free(t);
		return 1;
	}
	nodes_read(&t->nodes, f);
	pd_memory_read(f, &t->memory);
	t->node_detail = (enum node_detail)min(q->node_detail, (u32)NODE_CPUS);
	err = pd_for_each(f, &c);
	if (!err)
		err = table_sort(t);
	if (!err)
		stdio_print(o, t, f, q->by_pid ? "offset,pid,iaddr" : "offset,iaddr", q->stats_only);
	if (*pd_damage(f))
		say_error("%s: %s", q->input, pd_damage(f));
	pd_close(f);
	table_free(t);
	free(t);
	return err ? 1 : 0;
}

/* False if the word is none of the display modes. */
static bool set_display(struct request *q, const char *word)
{
	static const char *const words[] = { "lcl", "rmt", "tot" };

	for (u32 i = 0; i < ARRAY_SIZE(words); i++)
		if (!strcmp(word, words[i])) {
			q->display = i;
			return true;
		}
	say_error("-d %s: lcl, rmt or tot", word);
	return false;
}

static bool set_coalesce(struct request *q, const char *list)
{
	q->by_pid = !strcmp(list, "pid,iaddr");
	if (q->by_pid || !strcmp(list, "iaddr"))
		return true;
	say_error("-c %s: iaddr or pid,iaddr", list);
	return false;
}

/* Options of perf's report; false if c is none or wrong. */
static bool table_option(struct request *q, int c)
{
	q->stdio |= c != 'c' && c != 'd' && c != 'N';
	switch (c) {
	case OPT_STDIO: return true;
	case OPT_STATS: return q->stats_only = true;
	case OPT_FULL: return q->full_symbols = true;
	case 'N': return ++q->node_detail;
	case OPT_NO_SOURCE: return q->no_source = true;
	case OPT_SHOW_ALL: return q->show_all = true;
	case 'd': return set_display(q, optarg);
	case 'c': return set_coalesce(q, optarg);
	default: return false;
	}
}

int c2c_report_main(int argc, char **argv)
{
	struct request q = { .input = "perf.data", .lines = 10, .display = DISPLAY_TOT, .stdio = called_as_perf };
	struct out *o;
	int c, status;

	optind = 0;
	while ((c = getopt_long(argc, argv, "i:n:p:d:c:Nh", long_options, NULL)) != -1) {
		switch (c) {
		case 'i': q.input = optarg; break;
		case 'n': q.lines = atoi(optarg); break;
		case 'p': q.pid = atoi(optarg); break;
		case OPT_JSON: q.json = true; break;
		case OPT_BEFORE: q.before = optarg; break;
		case OPT_TUI: q.tui = true; break;
		case OPT_CHECK: q.check = true; break;
		case PLACE_OPT_SYMFS: q.root = optarg; break;
		default:
			if (c != 'h' && c != '?' && table_option(&q, c))
				break;
			fputs(usage_text, c == 'h' ? stdout : stderr);
			return c == 'h' ? 0 : 129;
		}
	}
	o = malloc(sizeof(*o));
	if (!o)
		return 1;
	out_init(o, STDOUT_FILENO);
	status = q.stdio ? show_tables(&q, o) : show(&q, o);
	if (out_flush(o))
		status = 1;
	free(o);
	return status;
}
