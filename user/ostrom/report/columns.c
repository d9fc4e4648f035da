/* SPDX-License-Identifier: MIT
 *
 * Problem: people ask for the same samples by command, by file, by line, by CPU.
 *
 * Idea: a column is a key of entries and a text. A sample's entry is filled in whole, then what is not asked for is
 * taken out, so that samples which differ only there fall together. Source lines are looked up once an address.
 *
 * Contract: report_priv.h; titles, widths and order are those of perf 6.1. Locks: none.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include "ostrom.h"
#include "report_priv.h"

static const struct {
	const char *word, *title;
	int least; /* width */
	bool is_right, is_open;
} kinds[NR_COLUMNS] = {
	[COL_COMM] = { "comm", "Command", 0, false, false },
	[COL_DSO] = { "dso", "Shared Object", 0, false, false },
	[COL_SYM] = { "sym", "Symbol", 0, false, true },
	[COL_PID] = { "pid", "    Pid:Command", 0, false, false },
	[COL_CPU] = { "cpu", "CPU", 0, true, false },
	[COL_SRCLINE] = { "srcline", "Source:Line", 0, false, true },
	[COL_SAMPLES] = { "sample", "     Samples", 12, true, false },
	[COL_PERIOD] = { "period", "      Period", 12, true, false },
};

static bool is_key(enum column c)
{
	return c != COL_SAMPLES && c != COL_PERIOD;
}

bool columns_have(const struct columns *c, enum column column)
{
	for (u32 i = 0; i < c->nr; i++)
		if (c->list[i] == column)
			return true;
	return false;
}

bool columns_parse(struct columns *c, const char *words)
{
	static const char overhead[] = "overhead,"; /* the first column anyway */
	size_t n;

	c->nr = 0;
	if (!strncmp(words, overhead, strlen(overhead)))
		words += strlen(overhead);
	for (; *words; words += n + (words[n] == ',')) {
		u32 i = 0;

		n = strcspn(words, ",");
		if (n == 6 && !strncmp(words, "symbol", n))
			i = COL_SYM;
		else
			while (i < NR_COLUMNS && (strlen(kinds[i].word) != n || strncmp(kinds[i].word, words, n)))
				i++;
		if (i == NR_COLUMNS || columns_have(c, i)) {
			say_error("--sort: '%.*s' is none of comm, dso, sym, pid, cpu, srcline, sample, period, or is "
				  "named twice (overhead may be the first)",
				  (int)n, words);
			return false;
		}
		c->list[c->nr++] = i;
	}
	return c->nr;
}

void columns_free(struct columns *c)
{
	for (u32 i = 0; i < ARRAY_SIZE(c->sources); i++)
		while (c->sources[i]) {
			struct source_text *s = c->sources[i];

			c->sources[i] = s->next;
			free(s);
		}
	for (u32 i = 0; i < ARRAY_SIZE(c->names); i++)
		while (c->names[i]) {
			struct source_name *s = c->names[i];

			c->names[i] = s->next;
			free(s);
		}
}

/* ---- source lines ---- */

static const char *intern(struct columns *c, const char *text)
{
	u32 h = 5381;
	struct source_name *n;

	for (const char *p = text; *p; p++)
		h = h * 33 + (u8)*p;
	h %= ARRAY_SIZE(c->names);
	for (n = c->names[h]; n; n = n->next)
		if (!strcmp(n->text, text))
			return n->text;
	n = malloc(sizeof(*n) + strlen(text) + 1);
	if (!n)
		return NULL;
	strcpy(n->text, text);
	n->next = c->names[h];
	c->names[h] = n;
	return n->text;
}

/* "file.c:12"; a function and the distance in it where no line is known. */
static void describe(struct places *p, const struct place *where, char *text, size_t n)
{
	struct image *im = where->file->path ? image_get(&p->images, where->file->path) : NULL;

	if (im && image_source(im, image_vaddr_at(im, where->addr), text, n))
		return;
	if (im && image_dwarf(im))
		snprintf(text, n, "??:0");
	else if (where->symbol)
		snprintf(text, n, "%s+%llu", where->symbol, (unsigned long long)where->offset);
	else
		snprintf(text, n, "%s[%llx]", where->file->short_name, (unsigned long long)where->addr);
}

static const char *source_of(struct columns *c, struct places *p, const struct place *where)
{
	u32 h = (where->addr ^ where->addr >> 10 ^ (uintptr_t)where->file >> 4) % ARRAY_SIZE(c->sources);
	struct source_text *s = c->sources[h];
	char text[300];

	while (s && (s->file != where->file || s->addr != where->addr))
		s = s->next;
	if (s)
		return s->text;
	s = malloc(sizeof(*s));
	if (!s)
		return NULL;
	describe(p, where, text, sizeof(text));
	*s = (struct source_text){ c->sources[h], where->file, where->addr, intern(c, text) };
	c->sources[h] = s;
	return s->text;
}

/* ---- keys ---- */

int columns_make_key(struct columns *c, struct places *p, struct entry *e)
{
	if (columns_have(c, COL_SRCLINE)) {
		e->source = source_of(c, p, &e->place);
		if (!e->source)
			return -ENOMEM;
	}
	if (!columns_have(c, COL_COMM))
		memset(e->comm, 0, sizeof(e->comm));
	if (!columns_have(c, COL_SYM)) {
		e->place.symbol = NULL;
		e->place.addr = 0;
		e->place.level = 0;
	}
	if (!columns_have(c, COL_DSO) && !columns_have(c, COL_SYM)) /* a symbol of two files is two, shown or not */
		e->place.file = NULL;
	if (!columns_have(c, COL_PID))
		e->tid = 0;
	if (!columns_have(c, COL_CPU))
		e->cpu = 0;
	return 0;
}

static int by_text(const char *a, const char *b)
{
	return !a || !b ? !!b - !!a : strcmp(a, b);
}

/* Where nothing was mapped comes last. */
static const char *file_name(const struct entry *e)
{
	const struct place_file *f = e->place.file;

	return f->path || strcmp(f->short_name, "[unknown]") ? f->short_name : NULL;
}

static int compare(enum column c, const struct entry *a, const struct entry *b)
{
	switch (c) {
	case COL_COMM: return strcmp(a->comm, b->comm);
	case COL_DSO: return by_text(file_name(a), file_name(b));
	case COL_SYM: return by_text(a->place.symbol, b->place.symbol);
	case COL_SRCLINE: return by_text(a->source, b->source);
	case COL_PID: return a->tid - b->tid;
	case COL_CPU: return a->cpu - b->cpu;
	default: return 0;
	}
}

int columns_compare(const struct columns *c, const struct entry *a, const struct entry *b)
{
	for (u32 i = 0; i < c->nr; i++) {
		int d = is_key(c->list[i]) ? compare(c->list[i], a, b) : 0;

		if (d)
			return d;
	}
	if (a->place.file != b->place.file && columns_have(c, COL_SYM))
		return strcmp(a->place.file->short_name, b->place.file->short_name);
	return a->place.addr < b->place.addr ? -1 : a->place.addr > b->place.addr;
}

/* ---- texts ---- */

const char *columns_title(enum column column)
{
	return kinds[column].title;
}

bool columns_right(enum column column)
{
	return kinds[column].is_right;
}

bool columns_open(const struct columns *c, u32 i)
{
	return i + 1 == c->nr && kinds[c->list[i]].is_open;
}

int columns_text(const struct entry *e, enum column column, char *text, size_t n)
{
	switch (column) {
	case COL_COMM: return snprintf(text, n, "%s", e->comm);
	case COL_DSO: return snprintf(text, n, "%s", e->place.file->short_name);
	case COL_PID: return snprintf(text, n, "%7d:%s", e->tid, e->who->comm); /* its last name */
	case COL_CPU: return snprintf(text, n, "%.3d", e->cpu);
	case COL_SRCLINE: return snprintf(text, n, "%s", e->source);
	case COL_SAMPLES: return snprintf(text, n, "%llu", (unsigned long long)e->samples);
	case COL_PERIOD: return snprintf(text, n, "%llu", (unsigned long long)e->period);
	default: break;
	}
	if (e->place.symbol)
		return snprintf(text, n, "[%c] %s", e->place.level, e->place.symbol);
	return snprintf(text, n, "[%c] %#.16llx", e->place.level, (unsigned long long)e->place.addr); /* 0: no 0x */
}

int columns_width(const struct columns *c, struct entry *const *list, u32 nr, enum column column)
{
	int w = max((int)strlen(kinds[column].title), kinds[column].least);
	char text[1024];

	if (column == COL_CPU) /* longer numbers stand out, as in perf */
		return w;
	for (u32 i = 0; i < nr; i++) {
		w = max(w, columns_text(list[i], column, text, sizeof(text)));
		if (column == COL_DSO && columns_have(c, COL_SYM) && !list[i]->place.symbol)
			w = max(w, 16); /* perf makes room for an address there */
	}
	return w;
}
