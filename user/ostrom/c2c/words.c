/* SPDX-License-Identifier: MIT
 *
 * Problem: perf c2c's tables need an expert; most people want one sentence and one line of code to change.
 *
 * Idea: a paragraph a line: how bad, which threads on which CPUs read or write which fields at which source line,
 * whether any byte is really shared, and the padding that would separate the fields if none is. The same as JSON for
 * programs.
 *
 * Contract: words.h. Locks: none.
 */
#include <stdio.h>
#include "words.h"

void words_field(const struct line_part *p, char *out, size_t n)
{
	const struct field_name *f = &p->name;

	snprintf(out, n, "%s%s", f->object, f->field);
}

static void put_cpus(struct out *o, u64 cpus)
{
	const char *sep = "";

	for (u32 i = 0; i < 64; i++) {
		u32 last = i;

		if (!(cpus >> i & 1))
			continue;
		while (last + 1 < 64 && (cpus >> (last + 1) & 1))
			last++;
		out_printf(o, last > i + 1 ? "%s%u-%u" : last > i ? "%s%u,%u" : "%s%u", sep, i, last);
		sep = ",";
		i = last;
	}
}

static void put_threads(struct out *o, const struct c2c_analysis *c, const struct line_part *p)
{
	struct pd_thread *t = pd_thread_find(&c->threads, p->tids[0]);

	if (p->nr_tids == 1)
		out_printf(o, "%s[%u]", t ? t->comm : "", p->tids[0]);
	else
		out_printf(o, "%u threads of %s", p->nr_tids, t ? t->comm : "?");
}

static u32 percent(u64 part, u64 whole)
{
	return whole ? (part * 100 + whole / 2) / whole : 0;
}

static void put_part(struct out *o, const struct c2c_analysis *c, const struct line_report *r,
		     const struct line_part *p)
{
	char field[300];

	words_field(p, field, sizeof(field));
	out_printf(o, "  %3u%%  ", percent(p->samples, r->samples));
	put_threads(o, c, p);
	out_str(o, " on CPU ");
	put_cpus(o, p->cpus);
	out_printf(o, " %s %s (%u bytes at +%u of the line)", p->is_write ? "writes" : "reads ", field, p->bytes,
		   p->offset);
	if (*p->name.function)
		out_printf(o, "  in %s", p->name.function);
	if (*p->name.source)
		out_printf(o, " at %s", p->name.source);
	out_char(o, '\n');
}

static void put_advice(struct out *o, const struct line_report *r)
{
	const struct line_part *a = &r->parts[0];
	const char *type = *a->name.type ? a->name.type : a->name.object;

	if (r->kind == LINE_TRUE_SHARING) {
		out_str(o, "  The threads use the same bytes: padding does not help. Give each thread its own copy and "
			   "add\n"
			   "  them up when read, or make the accesses rarer.\n");
		return;
	}
	out_str(o, "  No two of them touch the same bytes: they only share the line.\n");
	if (!r->padding_at) {
		out_str(o, "  Fix: align each thread's part to 64 bytes.\n");
		return;
	}
	for (u32 i = 0; i < r->nr_parts; i++)
		if (r->parts[i].name.offset == r->padding_at) {
			const char *f = *r->parts[i].name.field ? r->parts[i].name.field : r->parts[i].name.object;

			out_printf(o,
				   "  Fix: begin a new line at %s: put _Alignas(64) before it in %s (it moves from "
				   "offset %u to %llu).\n",
				   f + (*f == '.'), type, r->padding_at,
				   (unsigned long long)ALIGN_UP(r->padding_at, LINE_BYTES));
			return;
		}
}

void words_line(struct out *o, const struct c2c_analysis *c, const struct line_report *r, u32 no)
{
	const struct field_name *f = &r->parts[0].name;

	out_printf(o, "%u. %s sharing of the line at %#llx", no, r->kind == LINE_TRUE_SHARING ? "True" : "False",
		   (unsigned long long)r->addr);
	out_printf(o, ": %s", f->object);
	if (*f->type)
		out_printf(o, " (%s)", f->type);
	out_printf(o, "\n  %u%% of all memory samples; it moved between CPUs %llu times in %llu samples\n",
		   percent(r->samples, c->samples), (unsigned long long)r->travels, (unsigned long long)r->samples);
	for (u32 i = 0; i < r->nr_parts && i < 8; i++)
		put_part(o, c, r, &r->parts[i]);
	put_advice(o, r);
	out_char(o, '\n');
}

void words_print(struct out *o, const struct c2c_analysis *c, u32 max_lines)
{
	out_printf(o, "%llu memory samples (%llu loads, %llu stores)%s\n\n", (unsigned long long)c->samples,
		   (unsigned long long)c->loads, (unsigned long long)c->stores,
		   c->is_sampled ? ", by clock: which CPU owned a line is inferred" : "");
	if (!c->nr_reports)
		out_str(o, "No cache line is fought over.\n");
	for (u32 i = 0; i < c->nr_reports && i < max_lines; i++)
		words_line(o, c, &c->reports[i], i + 1);
}

/* ---- JSON ---- */

static void put_json_part(struct out *o, const struct line_part *p)
{
	out_str(o, "{\"object\":");
	out_json_string(o, p->name.object);
	out_str(o, ",\"field\":");
	out_json_string(o, p->name.field);
	out_str(o, ",\"type\":");
	out_json_string(o, p->name.type);
	out_str(o, ",\"function\":");
	out_json_string(o, p->name.function);
	out_str(o, ",\"source\":");
	out_json_string(o, p->name.source);
	out_printf(o, ",\"offset\":%u,\"bytes\":%u,\"access\":\"%s\",\"samples\":%llu,\"travels\":%llu,\"tids\":[",
		   p->offset, p->bytes, p->is_write ? "write" : "read", (unsigned long long)p->samples,
		   (unsigned long long)p->travels);
	for (u32 i = 0; i < min(p->nr_tids, (u32)ARRAY_SIZE(p->tids)); i++)
		out_printf(o, "%s%u", i ? "," : "", p->tids[i]);
	out_str(o, "]}");
}

void words_json(struct out *o, const struct c2c_analysis *c)
{
	out_printf(o, "{\"samples\":%llu,\"inferred\":%s,\"lines\":[", (unsigned long long)c->samples,
		   c->is_sampled ? "true" : "false");
	for (u32 i = 0; i < c->nr_reports; i++) {
		const struct line_report *r = &c->reports[i];

		out_printf(o,
			   "%s{\"address\":\"%#llx\",\"pid\":%u,\"sharing\":\"%s\",\"samples\":%llu,\"travels\":%llu,",
			   i ? "," : "", (unsigned long long)r->addr, r->pid,
			   r->kind == LINE_TRUE_SHARING ? "true" : "false", (unsigned long long)r->samples,
			   (unsigned long long)r->travels);
		out_printf(o, "\"pad_at\":%u,\"parts\":[", r->padding_at);
		for (u32 k = 0; k < r->nr_parts; k++) {
			out_str(o, k ? "," : "");
			put_json_part(o, &r->parts[k]);
		}
		out_str(o, "]}");
	}
	out_str(o, "]}\n");
}
