/* SPDX-License-Identifier: MIT
 *
 * Problem: who called what took the time? A thousand chains share most of their callers.
 *
 * Idea: a tree of functions a row of the table. Each chain walks down and adds its period; nodes of one child and no
 * end of their own are drawn as one piece, as perf draws them:
 *
 *        |
 *        ---main                          one root that all chains share, or ...
 *           parse
 *           |
 *           |--40.00%--read_line          ... branches, largest first, with the part of the whole that took them
 *           |          memchr
 *           |
 *            --12.50%--intern
 *
 * Contract: chain.h; the text is that of perf 6.1's `report --stdio --no-children -g graph`; inlined functions are
 * taken apart if asked for. Equal branches come highest address first.
 *
 * Locks: none.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "chain.h"

#define MARGIN     12 /* columns before the tree */
#define COLUMN     11 /* a branch: a bar and what its percentage takes */
#define DEPTH_MOST 256

bool chain_parse_style(struct chain_style *style, const char *text)
{
	size_t n;

	*style = (struct chain_style){ .is_on = true, .from_callee = *text, .least_percent = 0.5 };
	for (; *text; text += n + (text[n] == ',')) {
		char *end;
		double least = strtod(text, &end);

		n = strcspn(text, ",");
		if (end == text + n && n)
			style->least_percent = least;
		else if (n == 4 && !strncmp(text, "none", n))
			style->is_on = false;
		else if (n == 6 && !strncmp(text, "callee", n))
			style->from_callee = style->has_order = true;
		else if (n == 6 && !strncmp(text, "caller", n)) {
			style->from_callee = false;
			style->has_order = true;
		} else if (n && (n != 5 || strncmp(text, "graph", n)))
			return false;
	}
	return true;
}

/* ---- building ------------------------------------------------------------------------------------------------- */

static struct chain_node *child_at(struct chain_node *parent, const struct place *where, u64 ip)
{
	u64 at = where->symbol ? where->addr - where->offset : ip;
	struct chain_node **link = &parent->children, *n;

	/* In the order of addresses, so that equal branches have one. */
	for (; *link && (*link)->at <= at; link = &(*link)->next)
		if ((*link)->at == at && (*link)->file == where->file && (*link)->symbol == where->symbol)
			return *link;
	n = calloc(1, sizeof(*n));
	if (!n)
		return NULL;
	n->file = where->file;
	n->symbol = where->symbol;
	n->at = at;
	n->next = *link;
	*link = n;
	return n;
}

static void add_frame(struct chain_frames *f, const struct place *where, u64 ip)
{
	if (f->nr == FRAMES_MOST)
		return;
	f->where[f->nr] = *where;
	if (!where->symbol) /* as perf: a row without a name has the address itself, not the place in the file */
		f->where[f->nr].addr = ip;
	f->ip[f->nr++] = ip;
}

/* What was inlined there comes before the function that it was put into. */
static void add_inlined(struct chain_frames *f, struct places *p, struct inlines *in, const struct place *where, u64 ip)
{
	const struct inline_place *i = inlines_at(in, p, where, f->nr);

	for (u32 k = 0; i && k < i->nr; k++) {
		struct place inner = *where;

		inner.symbol = i->names[k];
		add_frame(f, &inner, ip);
	}
}

void chain_resolve(struct chain_frames *f, struct places *p, struct inlines *in, const struct pd_sample *s,
		   bool from_callee)
{
	bool kernel = (s->misc & PERF_RECORD_MISC_CPUMODE_MASK) == PERF_RECORD_MISC_KERNEL;
	char level = kernel ? 'k' : '.';
	u32 all = pd_chain_length(s, FRAMES_MOST);

	f->nr = 0;
	for (u32 i = 0; i < all; i++) {
		u64 ip = pd_u64(s->chain + i * 8);
		struct place where;

		if (ip >= (u64)PERF_CONTEXT_MAX) {
			kernel = ip == (u64)PERF_CONTEXT_KERNEL;
			continue;
		}
		place_find(p, s->pid, kernel, ip, &where);
		if (in->is_on)
			add_inlined(f, p, in, &where, ip);
		add_frame(f, &where, ip);
	}
	for (u32 i = 0; !from_callee && i < f->nr / 2; i++) {
		swap(f->ip[i], f->ip[f->nr - 1 - i]);
		swap(f->where[i], f->where[f->nr - 1 - i]);
	}
	for (u32 i = 0; i < f->nr; i++) { /* as perf: a frame in no file has the level of what came before it */
		if (f->where[i].file == p->unknown)
			f->where[i].level = level;
		level = f->where[i].level;
	}
}

int chain_add(struct chain_node *root, const struct chain_frames *f, u32 from, u64 period)
{
	struct chain_node *at = root;

	root->sum += period;
	for (u32 i = from; i < f->nr; i++) {
		at = child_at(at, &f->where[i], f->ip[i]);
		if (!at)
			return -ENOMEM;
		at->sum += period;
	}
	at->own += period;
	return 0;
}

void chain_free(struct chain_node *root)
{
	while (root->children) {
		struct chain_node *n = root->children;

		root->children = n->next;
		chain_free(n);
		free(n);
	}
}

/* ---- drawing --------------------------------------------------------------------------------------------------- */

struct drawing {
	struct out *o;
	u64 total, least;
	char margin[MARGIN + 3 + DEPTH_MOST * COLUMN + 1]; /* what stands left of the lines now */
	size_t width;
	bool is_begun; /* something stands there */
};

static void put_name(struct drawing *d, const struct chain_node *n)
{
	if (n->symbol)
		out_str(d->o, n->symbol);
	else
		out_printf(d->o, "%#llx", (unsigned long long)n->at);
	out_char(d->o, '\n');
}

static void put_margin(struct drawing *d)
{
	out_pad(d->o, d->margin, d->width, (int)d->width);
}

/* The next node of the same piece, or NULL. */
static struct chain_node *only_child(const struct chain_node *n)
{
	return !n->own && n->children && !n->children->next ? n->children : NULL;
}

static int by_sum(const void *a, const void *b)
{
	const struct chain_node *x = *(struct chain_node *const *)a, *y = *(struct chain_node *const *)b;

	if (x->sum != y->sum)
		return x->sum > y->sum ? -1 : 1;
	return x->at > y->at ? -1 : x->at < y->at;
}

/* Those children that are large enough, largest first; to be freed. */
static struct chain_node **branches_of(const struct drawing *d, const struct chain_node *n, u32 *nr)
{
	struct chain_node **list;
	u32 all = 0;

	*nr = 0;
	for (struct chain_node *c = n->children; c; c = c->next)
		all++;
	list = malloc(max(all, 1u) * sizeof(struct chain_node *));
	for (struct chain_node *c = n->children; list && c; c = c->next)
		if (c->sum >= d->least)
			list[(*nr)++] = c;
	if (*nr)
		qsort(list, *nr, sizeof(struct chain_node *), by_sum);
	return list;
}

static void put_branches(struct drawing *d, const struct chain_node *n);

static void put_branch(struct drawing *d, const struct chain_node *n, bool is_last)
{
	d->is_begun = true;
	put_margin(d);
	out_str(d->o, "|          \n");
	put_margin(d);
	out_printf(d->o, "%c--%.2f%%--", is_last ? ' ' : '|', 100.0 * n->sum / d->total);
	put_name(d, n);
	memset(d->margin + d->width, ' ', COLUMN);
	d->margin[d->width] = is_last ? ' ' : '|';
	d->width += COLUMN;
	while (only_child(n)) {
		n = only_child(n);
		put_margin(d);
		put_name(d, n);
	}
	put_branches(d, n);
	d->width -= COLUMN;
}

static void put_branches(struct drawing *d, const struct chain_node *n)
{
	struct chain_node **list;
	u32 nr;

	if (d->width + COLUMN >= sizeof(d->margin))
		return;
	list = branches_of(d, n, &nr);
	for (u32 i = 0; i < nr; i++)
		put_branch(d, list[i], i + 1 == nr);
	free(list);
}

/* One piece that every chain of the entry begins with. */
static void put_trunk(struct drawing *d, const struct chain_node *n, bool skip_first)
{
	for (;; n = only_child(n)) {
		if (!skip_first) {
			put_margin(d);
			out_str(d->o, d->is_begun ? "   " : "|\n");
			if (!d->is_begun) {
				put_margin(d);
				out_str(d->o, "---");
			}
			d->is_begun = true;
			put_name(d, n);
		}
		skip_first = false;
		if (!only_child(n))
			break;
	}
	if (d->is_begun) {
		memset(d->margin + d->width, ' ', 3);
		d->width += 3;
	}
	put_branches(d, n);
}

void chain_print(struct out *o, struct chain_node *root, const struct chain_style *style, u64 total)
{
	struct drawing d = { .o = o, .total = total, .width = MARGIN };
	struct chain_node **list;
	u32 nr;

	d.least = (u64)((double)total * style->least_percent / 100);
	memset(d.margin, ' ', MARGIN);
	list = branches_of(&d, root, &nr);
	if (nr == 1 && list[0]->sum == root->sum)
		put_trunk(&d, list[0], style->skip_first);
	else
		put_branches(&d, root);
	if (d.is_begun)
		out_char(o, '\n');
	free(list);
}
