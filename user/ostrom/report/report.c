/* SPDX-License-Identifier: MIT
 *
 * Problem: where does the time go? The table of `perf report`, from a stream.
 *
 * Idea: an entry for each (command, file, symbol) that occurs, an address standing in where no symbol is known; at the
 * end one table an event, largest period first, equal ones by name. Memory grows with entries, not with samples. With
 * call chains each has the tree of its own (chain.c), and functions that called it are entries, too (--children), each
 * with the tree from there on.
 *
 * Contract: perf 6.1's table, by its defaults; keys can be chosen with --sort (columns.c). Exit status 1
 * when the file cannot be used, 129 for a wrong option. Locks: none.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "ostrom.h"
#include "perfdata/dump.h"
#include "report_priv.h"

static const char usage_text[] =
	"usage: ostrom report [OPTIONS]\n"
	"  -i, --input FILE   recording (perf.data; - is standard input)\n"
	"  -s, --sort LIST    of comm,dso,sym (these three), pid, cpu, srcline, sample, period\n"
	"  -g, --call-graph [graph|none][,PERCENT][,caller|callee]  who called it (0.5 % and more, caller)\n"
	"  -D, --dump-raw-trace  the records as they are, nothing else\n"
	"      --children, --no-children  with what a function called, or its own time only (with chains: the first)\n"
	"      --inline       inlined functions as frames of their own (--no-inline)\n"
	"      --stdio        accepted, it is what is shown\n" PLACE_OPTIONS_HELP;

enum { OPT_STDIO = 256, OPT_CHILDREN, OPT_NO_CHILDREN, OPT_INLINE, OPT_NO_INLINE };

static const struct option long_options[] = {
	{ "input", required_argument, NULL, 'i' },
	{ "sort", required_argument, NULL, 's' },
	{ "force", no_argument, NULL, 'f' },
	{ "dump-raw-trace", no_argument, NULL, 'D' },
	{ "call-graph", optional_argument, NULL, 'g' },
	PLACE_LONG_OPTIONS,
	{ "stdio", no_argument, NULL, OPT_STDIO },
	{ "children", no_argument, NULL, OPT_CHILDREN },
	{ "inline", no_argument, NULL, OPT_INLINE },
	{ "no-inline", no_argument, NULL, OPT_NO_INLINE },
	{ "no-children", no_argument, NULL, OPT_NO_CHILDREN },
	{ "help", no_argument, NULL, 'h' },
	{ NULL, 0, NULL, 0 },
};

struct report {
	const char *input;
	struct columns columns;
	struct chain_style chains;
	bool has_style; /* -g was said */
	enum { CHILDREN_AUTO, CHILDREN_ON, CHILDREN_OFF } children;
	struct inlines inlines;
	struct chain_frames frames; /* of the sample at hand */
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

static u32 hash_of(const struct report *r, const struct entry *e)
{
	u64 h = e->event * 31 + (uintptr_t)e->place.file / 16;

	for (const char *p = e->comm; *p; p++)
		h = h * 33 + (u8)*p;
	h = h * 33 + (e->place.symbol ? (uintptr_t)e->place.symbol : e->place.addr);
	h = h * 33 + (u32)e->tid * 131u + (u32)e->cpu + (uintptr_t)e->source / 8;
	return (h ^ h >> 32) & (r->nr_buckets - 1);
}

static bool same(const struct entry *a, const struct entry *b)
{
	return a->event == b->event && a->place.file == b->place.file && a->place.symbol == b->place.symbol &&
	       (a->place.symbol || a->place.addr == b->place.addr) && a->tid == b->tid && a->cpu == b->cpu &&
	       a->source == b->source && !strcmp(a->comm, b->comm);
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

/* The entry of a place in a sample's thread; NULL without memory. */
static struct entry *entry_at(struct report *r, const struct pd_sample *s, const struct pd_thread *t,
			      const struct place *where)
{
	struct entry key = { .event = s->event->index, .place = *where, .tid = (s32)s->tid, .who = t };

	key.cpu = s->event->attr.sample_type & PERF_SAMPLE_CPU ? (s32)s->cpu : -1;
	memcpy(key.comm, t->comm, sizeof(key.comm));
	return columns_make_key(&r->columns, &r->places, &key) ? NULL : get_entry(r, &key);
}

static int add_chain(struct report *r, struct entry *e, u32 from, u64 period)
{
	e->depth = max(e->depth, r->frames.nr - from);
	return chain_add(&e->chains, &r->frames, from, period);
}

/* Every function of the chain called what took the time, once however often it is in it. */
static int add_callers(struct report *r, const struct pd_sample *s, const struct pd_thread *t, struct entry *self)
{
	struct entry *seen[FRAMES_MOST + 1] = { self };
	u32 nr = 1;

	for (u32 i = 0; i < r->frames.nr; i++) {
		struct entry *e = entry_at(r, s, t, &r->frames.where[i]);
		u32 k = 0;

		if (!e)
			return -ENOMEM;
		while (k < nr && seen[k] != e)
			k++;
		if (k < nr)
			continue;
		seen[nr++] = e;
		e->total += s->period;
		if (r->chains.is_on && add_chain(r, e, i, s->period))
			return -ENOMEM;
	}
	return 0;
}

static int add_sample(struct report *r, const struct pd_sample *s)
{
	bool in_kernel = (s->misc & PERF_RECORD_MISC_CPUMODE_MASK) == PERF_RECORD_MISC_KERNEL;
	struct pd_thread *t = pd_thread_get(&r->threads, s->pid, s->tid);
	struct place where;
	struct entry *e;

	if (!t)
		return -ENOMEM;
	place_find(&r->places, s->pid, in_kernel, s->ip, &where);
	e = entry_at(r, s, t, &where);
	if (!e)
		return -ENOMEM;
	if (r->chains.is_on || r->children == CHILDREN_ON)
		chain_resolve(&r->frames, &r->places, &r->inlines, s, r->chains.from_callee);
	if (r->chains.is_on && add_chain(r, e, 0, s->period))
		return -ENOMEM;
	e->period += s->period;
	e->total += s->period;
	e->samples++;
	r->samples[s->event->index]++;
	r->periods[s->event->index] += s->period;
	return r->children == CHILDREN_ON ? add_callers(r, s, t, e) : 0;
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

static int by_period(const void *a, const void *b, void *arg)
{
	const struct entry *x = *(struct entry *const *)a, *y = *(struct entry *const *)b;
	const struct report *r = arg;

	if (r->children == CHILDREN_ON) {
		if (x->total != y->total)
			return x->total > y->total ? -1 : 1;
		if (r->chains.is_on && x->who == y->who && x->depth != y->depth) /* the caller above what it called */
			return (x->depth > y->depth) == r->chains.from_callee ? 1 : -1;
	}
	if (x->period != y->period)
		return x->period > y->period ? -1 : 1;
	return columns_compare(&r->columns, x, y);
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
	const struct columns *c = &r->columns;
	struct out *o = &r->out;

	put_count(o, r->samples[e->index]);
	out_printf(o, " of event '%s'\n# Event count (approx.): %llu\n#\n", e->name,
		   (unsigned long long)r->periods[e->index]);
	out_str(o, r->children == CHILDREN_ON ? "# Children      Self" : "# Overhead");
	for (u32 i = 0; i < c->nr; i++) {
		const char *title = columns_title(c->list[i]);

		out_str(o, "  ");
		out_pad(o, title, (int)strlen(title), width[i]);
	}
	out_str(o, r->children == CHILDREN_ON ? "\n# ........  ........" : "\n# ........");
	for (u32 i = 0; i < c->nr; i++) {
		out_str(o, "  ");
		out_fill(o, '.', width[i]);
	}
	out_str(o, "\n#\n");
}

static void put_row(struct report *r, const struct entry *e, u64 total, const int *width)
{
	struct out *o = &r->out;
	char text[1024];

	if (r->children == CHILDREN_ON)
		out_printf(o, "  %7.2f%%", total ? 100.0 * e->total / total : 0);
	out_printf(o, "  %7.2f%%", total ? 100.0 * e->period / total : 0);
	for (u32 c = 0; c < r->columns.nr; c++) {
		int n = columns_text(e, r->columns.list[c], text, sizeof(text));

		out_str(o, "  ");
		if (columns_right(r->columns.list[c]))
			out_fill(o, ' ', width[c] - n);
		out_pad(o, text, n, columns_open(&r->columns, c) || columns_right(r->columns.list[c]) ? n : width[c]);
	}
	out_char(o, '\n');
}

static void put_table(struct report *r, const struct pd_event *ev, struct entry **list, u32 nr)
{
	u64 total = r->periods[ev->index];
	int width[NR_COLUMNS];

	qsort_r(list, nr, sizeof(*list), by_period, r);
	for (u32 i = 0; i < r->columns.nr; i++)
		width[i] = columns_width(&r->columns, list, nr, r->columns.list[i]);
	put_heads(r, ev, width);
	for (u32 i = 0; i < nr; i++) {
		put_row(r, list[i], total, width);
		if (r->chains.is_on)
			chain_print(&r->out, &list[i]->chains, &r->chains, total);
	}
	out_str(&r->out, "\n\n");
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

/* A recording with call chains is shown with them and with what functions called, unless the user says otherwise. */
static void choose_form(struct report *r)
{
	bool has_chains = false;

	for (u32 i = 0; i < pd_nr_events(r->file); i++)
		has_chains |= !!(pd_event(r->file, i)->attr.sample_type & PERF_SAMPLE_CALLCHAIN);
	if (!has_chains) {
		r->children = CHILDREN_OFF;
		r->chains.is_on = false;
		return;
	}
	if (r->children == CHILDREN_AUTO)
		r->children = CHILDREN_ON;
	if (!r->has_style) {
		r->chains.is_on = true;
		r->chains.least_percent = 0.5;
	}
	if (r->children == CHILDREN_ON && !r->chains.has_order)
		r->chains.from_callee = false;
	else if (!r->has_style)
		r->chains.from_callee = true;
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
	choose_form(r);
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

static bool parse_chains(struct report *r, const char *text)
{
	bool skip_first = r->chains.skip_first;

	if (!chain_parse_style(&r->chains, text)) {
		say_error("-g: '%s' is not graph or none, a percentage, caller or callee", text);
		return false;
	}
	r->chains.skip_first = skip_first;
	r->has_style = true;
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
	columns_parse(&r->columns, "comm,dso,sym");
	optind = 0;
	while ((c = getopt_long(argc, argv, "i:s:fDg::k:h", long_options, NULL)) != -1)
		switch (c) {
		case 'i': r->input = optarg; break;
		case 's':
			if (!columns_parse(&r->columns, optarg))
				return 129;
			r->chains.skip_first = !strncmp(optarg, "sym", 3);
			break;
		case 'g':
			if (!parse_chains(r, next_word(argc, argv)))
				return 129;
			break;
		case 'D': r->dump = true; break;
		case 'f':
		case OPT_STDIO: break;
		case OPT_INLINE:
		case OPT_NO_INLINE: r->inlines.is_on = c == OPT_INLINE; break;
		case OPT_CHILDREN: r->children = CHILDREN_ON; break;
		case OPT_NO_CHILDREN: r->children = CHILDREN_OFF; break;
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
	columns_free(&r->columns);
	inlines_free(&r->inlines);
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
