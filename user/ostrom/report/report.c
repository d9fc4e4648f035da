/* SPDX-License-Identifier: MIT
 *
 * Problem: where does the time go? The table of `perf report`, from a stream.
 *
 * Idea: an entry for each (command, file, symbol) that occurs, an address standing in where no symbol is known; at the
 * end one table an event, largest period first, equal ones by name. Memory grows with entries, not with samples. With
 * -g each has the tree of its call chains (chain.c).
 *
 * Contract: perf 6.1's table (--no-children; without -g as its -g none); keys can be chosen with --sort. Exit status 1
 * when the file cannot be used, 129 for a wrong option. Locks: none.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "chain.h"
#include "ostrom.h"
#include "perfdata/dump.h"
#include "perfdata/out.h"
#include "perfdata/place.h"
#include "perfdata/threads.h"

static const char usage_text[] =
	"usage: ostrom report [OPTIONS]\n"
	"  -i, --input FILE   recording (perf.data; - is standard input)\n"
	"  -s, --sort LIST    of comm,dso,sym (all three)\n"
	"  -g, --call-graph [graph|none][,PERCENT][,caller|callee]  who called it (0.5 % and more, caller)\n"
	"  -D, --dump-raw-trace  the records as they are, nothing else\n"
	"      --stdio, --no-children: accepted, they are what is shown\n" PLACE_OPTIONS_HELP;

enum { OPT_STDIO = 256, OPT_NO_CHILDREN };

static const struct option long_options[] = {
	{ "input", required_argument, NULL, 'i' },
	{ "sort", required_argument, NULL, 's' },
	{ "force", no_argument, NULL, 'f' },
	{ "dump-raw-trace", no_argument, NULL, 'D' },
	{ "call-graph", optional_argument, NULL, 'g' },
	PLACE_LONG_OPTIONS,
	{ "stdio", no_argument, NULL, OPT_STDIO },
	{ "no-children", no_argument, NULL, OPT_NO_CHILDREN },
	{ "help", no_argument, NULL, 'h' },
	{ NULL, 0, NULL, 0 },
};

enum column { COL_COMM, COL_DSO, COL_SYM, NR_COLUMNS };

struct entry {
	struct entry *next;
	u32 event;
	char comm[48];
	struct place place; /* of the first sample; what is no key is left out */
	u64 period;
	struct chain_node chains;
};

struct report {
	const char *input;
	enum column columns[NR_COLUMNS]; /* in the order shown */
	u32 nr_columns;
	struct chain_style chains;
	struct pd_file *file;
	struct pd_threads threads;
	struct places places;
	struct entry **buckets; /* nr_buckets */
	u32 nr_buckets, nr;
	u64 *samples, *periods; /* by event */
	u64 lost;
	bool dump;
	struct out out;
};

/* ---- collecting ---- */

static bool has(const struct report *r, enum column c)
{
	for (u32 i = 0; i < r->nr_columns; i++)
		if (r->columns[i] == c)
			return true;
	return false;
}

static u32 hash_of(const struct report *r, const struct entry *e)
{
	u64 h = e->event * 31 + (uintptr_t)e->place.file / 16;

	for (const char *p = e->comm; *p; p++)
		h = h * 33 + (u8)*p;
	h = h * 33 + (e->place.symbol ? (uintptr_t)e->place.symbol : e->place.addr);
	return (h ^ h >> 32) & (r->nr_buckets - 1);
}

static bool same(const struct entry *a, const struct entry *b)
{
	return a->event == b->event && a->place.file == b->place.file && a->place.symbol == b->place.symbol &&
	       (a->place.symbol || a->place.addr == b->place.addr) && a->place.level == b->place.level &&
	       !strcmp(a->comm, b->comm);
}

static int grow(struct report *r)
{
	u32 nr = r->nr_buckets;
	struct entry **old = r->buckets;

	r->nr_buckets = nr ? nr * 4 : 1024;
	r->buckets = calloc(r->nr_buckets, sizeof(*r->buckets));
	if (!r->buckets)
		return r->buckets = old, r->nr_buckets = nr, -ENOMEM;
	for (u32 i = 0; i < nr; i++)
		while (old[i]) {
			struct entry *e = old[i];
			u32 h = hash_of(r, e);

			old[i] = e->next;
			e->next = r->buckets[h];
			r->buckets[h] = e;
		}
	free(old);
	return 0;
}

static struct entry *get_entry(struct report *r, const struct entry *key)
{
	struct entry *e;
	u32 h;

	if (r->nr >= r->nr_buckets && grow(r))
		return NULL;
	h = hash_of(r, key);
	for (e = r->buckets[h]; e; e = e->next)
		if (same(e, key))
			return e;
	e = malloc(sizeof(*e));
	if (!e)
		return NULL;
	*e = *key;
	e->next = r->buckets[h];
	r->buckets[h] = e;
	r->nr++;
	return e;
}

static int add_sample(struct report *r, const struct pd_sample *s)
{
	bool in_kernel = (s->misc & PERF_RECORD_MISC_CPUMODE_MASK) == PERF_RECORD_MISC_KERNEL;
	struct pd_thread *t = pd_thread_get(&r->threads, s->pid, s->tid);
	struct entry key = { .event = s->event->index }, *e;

	if (!t)
		return -ENOMEM;
	place_find(&r->places, s->pid, in_kernel, s->ip, &key.place);
	if (has(r, COL_COMM))
		memcpy(key.comm, t->comm, sizeof(key.comm));
	if (!has(r, COL_SYM)) {
		key.place.symbol = NULL;
		key.place.addr = 0;
		key.place.level = 0;
	}
	if (!has(r, COL_DSO) && !has(r, COL_SYM)) /* a symbol of two files is two, shown or not */
		key.place.file = NULL;
	e = get_entry(r, &key);
	if (!e)
		return -ENOMEM;
	if (r->chains.is_on && chain_add(&e->chains, &r->places, s, r->chains.from_callee))
		return -ENOMEM;
	e->period += s->period;
	r->samples[s->event->index]++;
	r->periods[s->event->index] += s->period;
	return 0;
}

static int on_record(void *arg, const struct pd_sample *s)
{
	struct report *r = arg;
	int err;

	if (s->type == PERF_RECORD_SAMPLE)
		return add_sample(r, s);
	if (s->type == PERF_RECORD_LOST_SAMPLES && s->size >= 16)
		r->lost += pd_u64(s->rec + 8);
	err = pd_threads_record(&r->threads, s);
	return err ? err : places_follow(&r->places, s);
}

/* ---- printing ---- */

static int by_text(const char *a, const char *b)
{
	return !a || !b ? !!b - !!a : strcmp(a, b);
}

static int by_period(const void *a, const void *b, void *arg)
{
	const struct entry *x = *(struct entry *const *)a, *y = *(struct entry *const *)b;
	const struct report *r = arg;

	if (x->period != y->period)
		return x->period > y->period ? -1 : 1;
	for (u32 i = 0; i < r->nr_columns; i++) {
		int d = r->columns[i] == COL_COMM  ? strcmp(x->comm, y->comm)
			: r->columns[i] == COL_DSO ? by_text(x->place.file->short_name, y->place.file->short_name)
						   : by_text(x->place.symbol, y->place.symbol);
		if (d)
			return d;
	}
	if (x->place.file != y->place.file && has(r, COL_SYM))
		return strcmp(x->place.file->short_name, y->place.file->short_name);
	return x->place.addr < y->place.addr ? -1 : x->place.addr > y->place.addr;
}

static const char *const titles[] = { "Command", "Shared Object", "Symbol" };

static int text_of(const struct entry *e, enum column c, char *text, size_t n)
{
	if (c == COL_COMM)
		return snprintf(text, n, "%s", e->comm);
	if (c == COL_DSO)
		return snprintf(text, n, "%s", e->place.file->short_name);
	if (e->place.symbol)
		return snprintf(text, n, "[%c] %s", e->place.level, e->place.symbol);
	return snprintf(text, n, "[%c] 0x%016llx", e->place.level, (unsigned long long)e->place.addr);
}

static int width_of(const struct report *r, struct entry *const *list, u32 nr, enum column c)
{
	int w = strlen(titles[c]);
	char text[1024];

	for (u32 i = 0; i < nr; i++) {
		w = max(w, text_of(list[i], c, text, sizeof(text)));
		if (c == COL_DSO && has(r, COL_SYM) && !list[i]->place.symbol)
			w = max(w, 16); /* perf makes room for an address there */
	}
	return w;
}

static void put_count(struct out *o, u64 n)
{
	static const char units[] = " KMG";
	u32 u = 0;

	while (n > 1000 && u < 3) {
		n /= 1000;
		u++;
	}
	out_printf(o, "# Samples: %llu%c", (unsigned long long)n, units[u]);
}

static void put_heads(struct report *r, const struct pd_event *e, const int *width)
{
	struct out *o = &r->out;

	put_count(o, r->samples[e->index]);
	out_printf(o, " of event '%s'\n# Event count (approx.): %llu\n#\n# Overhead", e->name,
		   (unsigned long long)r->periods[e->index]);
	for (u32 i = 0; i < r->nr_columns; i++) {
		out_str(o, "  ");
		out_pad(o, titles[r->columns[i]], strlen(titles[r->columns[i]]), width[i]);
	}
	out_str(o, "\n# ........");
	for (u32 i = 0; i < r->nr_columns; i++) {
		out_str(o, "  ");
		out_fill(o, '.', width[i]);
	}
	out_str(o, "\n#\n");
}

static void put_table(struct report *r, const struct pd_event *ev, struct entry **list, u32 nr)
{
	u64 total = r->periods[ev->index];
	struct out *o = &r->out;
	int width[NR_COLUMNS];
	char text[1024];

	qsort_r(list, nr, sizeof(*list), by_period, r);
	for (u32 i = 0; i < r->nr_columns; i++)
		width[i] = width_of(r, list, nr, r->columns[i]);
	put_heads(r, ev, width);
	for (u32 i = 0; i < nr; i++) {
		out_printf(o, "  %7.2f%%", total ? 100.0 * list[i]->period / total : 0);
		for (u32 c = 0; c < r->nr_columns; c++) {
			int n = text_of(list[i], r->columns[c], text, sizeof(text));

			out_str(o, "  ");
			out_pad(o, text, n, r->columns[c] == COL_SYM && c + 1 == r->nr_columns ? n : width[c]);
		}
		out_char(o, '\n');
		if (r->chains.is_on)
			chain_print(o, &list[i]->chains, &r->chains, total);
	}
	out_str(o, "\n\n");
}

static int put_event(struct report *r, const struct pd_event *ev)
{
	struct entry **list = malloc(max(r->nr, 1u) * sizeof(*list));
	u32 n = 0;

	if (!list)
		return -ENOMEM;
	for (u32 i = 0; i < r->nr_buckets; i++)
		for (struct entry *e = r->buckets[i]; e; e = e->next)
			if (e->event == ev->index)
				list[n++] = e;
	put_table(r, ev, list, n);
	free(list);
	return 0;
}

static int show(struct report *r)
{
	struct pd_consumer c = { .record = on_record, .arg = r };
	u32 nr = pd_nr_events(r->file);
	int err;

	r->samples = calloc(nr, sizeof(*r->samples));
	r->periods = calloc(nr, sizeof(*r->periods));
	if (!r->samples || !r->periods)
		return -ENOMEM;
	places_begin(&r->places, r->file);
	if (r->dump) {
		err = pd_dump(r->file, &r->out);
		out_flush(&r->out);
		return err;
	}
	err = pd_for_each(r->file, &c);
	out_printf(&r->out,
		   "# To display the perf.data header info, please use --header/--header-only options.\n#\n#\n"
		   "# Total Lost Samples: %llu\n#\n",
		   (unsigned long long)r->lost);
	for (u32 i = 0; i < nr && !err; i++)
		if (r->samples[i])
			err = put_event(r, pd_event(r->file, i));
	out_str(&r->out, "#\n# (Tip: for what a program waits for: ostrom why PROGRAM)\n#\n");
	if (out_flush(&r->out) && r->out.error != -EPIPE)
		say_error("writing: %s", strerror(-r->out.error));
	if (*pd_damage(r->file))
		say_error("%s", pd_damage(r->file));
	return err;
}

/* ---- the command ---- */

static bool parse_sort(struct report *r, const char *list)
{
	static const struct {
		const char *word;
		enum column c;
	} words[] = { { "comm", COL_COMM }, { "dso", COL_DSO }, { "sym", COL_SYM }, { "symbol", COL_SYM } };
	size_t n;

	r->nr_columns = 0;
	for (; *list; list += n + (list[n] == ',')) {
		u32 i = 0;

		n = strcspn(list, ",");
		while (i < ARRAY_SIZE(words) && (strlen(words[i].word) != n || strncmp(words[i].word, list, n)))
			i++;
		if (i == ARRAY_SIZE(words) || has(r, words[i].c)) {
			say_error("--sort: '%.*s' is none of comm, dso, sym, or is named twice", (int)n, list);
			return false;
		}
		r->columns[r->nr_columns++] = words[i].c;
	}
	return r->nr_columns;
}

static bool parse_chains(struct report *r, const char *text)
{
	bool skip_first = r->chains.skip_first;

	if (!chain_parse_style(&r->chains, text)) {
		say_error("-g: '%s' is not graph or none, a percentage, caller or callee", text);
		return false;
	}
	r->chains.skip_first = skip_first;
	return true;
}

/* As perf: the next word is the argument, unless it looks like an option or there is none. */
static const char *next_word(int argc, char **argv)
{
	if (optarg)
		return optarg;
	return optind < argc && *argv[optind] != '-' ? argv[optind++] : "";
}

/* 0, -1 after help, or the exit status. */
static int parse(struct report *r, int argc, char **argv)
{
	int c;

	r->input = "perf.data";
	parse_sort(r, "comm,dso,sym");
	optind = 0;
	while ((c = getopt_long(argc, argv, "i:s:fDg::k:h", long_options, NULL)) != -1)
		switch (c) {
		case 'i': r->input = optarg; break;
		case 's':
			if (!parse_sort(r, optarg))
				return 129;
			r->chains.skip_first = !strncmp(optarg, "sym", 3);
			break;
		case 'g':
			if (!parse_chains(r, next_word(argc, argv)))
				return 129;
			break;
		case 'D': r->dump = true; break;
		case 'f':
		case OPT_STDIO:
		case OPT_NO_CHILDREN: break;
		default:
			if (places_option(&r->places, c, optarg))
				break;
			fputs(usage_text, c == 'h' ? stdout : stderr);
			return c == 'h' ? -1 : 129;
		}
	return 0;
}

static void release(struct report *r)
{
	for (u32 i = 0; i < r->nr_buckets; i++)
		while (r->buckets[i]) {
			struct entry *e = r->buckets[i];

			r->buckets[i] = e->next;
			chain_free(&e->chains);
			free(e);
		}
	free(r->buckets);
	free(r->samples);
	free(r->periods);
	pd_threads_free(&r->threads);
	places_free(&r->places);
	pd_close(r->file);
	free(r);
}

static int report_main(int argc, char **argv)
{
	struct report *r = calloc(1, sizeof(*r));
	char why[512];
	int status;

	if (!r)
		return 1;
	out_init(&r->out, STDOUT_FILENO);
	status = places_init(&r->places) || pd_threads_init(&r->threads) ? 1 : parse(r, argc, argv);
	if (!status && pd_open(&r->file, r->input, why, sizeof(why))) {
		say_error("%s", why);
		status = 1;
	} else if (!status) {
		status = show(r) ? 1 : 0;
	}
	release(r);
	return max(status, 0);
}
SUBCOMMAND(report, "where samples of a recording fell", report_main);
