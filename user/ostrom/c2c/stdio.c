/* SPDX-License-Identifier: MIT
 *
 * Problem: scripts and eyes are used to the layout of `perf c2c report --stdio`.
 *
 * Idea: its five sections in its layout (column names, widths and order are facts of perf 6.1's output): counters of
 * the trace, counters of shared lines, what was asked, the table of lines, and for each line its (offset, code address)
 * rows. Columns are two blanks apart and right-justified; symbol, object and source line are as wide as the line's
 * longest.
 *
 * Contract: table.h. Locks: none.
 */
#include <lib/printf.h>
#include <stdio.h>
#include "table.h"

static const char rule[] = "=================================================\n";

static void put_count(struct out *o, const char *name, u32 v)
{
	out_printf(o, "  %-34s: %10u\n", name, v);
}

static void put_share(struct out *o, const char *name, u32 part, u32 whole)
{
	out_printf(o, "  %-34s: %10.1f%%\n", name, ((double)part / (double)whole) * 100.);
}

static u32 llc_misses(const struct c2c_stats *s)
{
	return s->lcl_dram + s->rmt_dram + s->rmt_hitm + s->rmt_hit;
}

static u32 loads(const struct c2c_stats *s)
{
	return llc_misses(s) + s->ld_fbhit + s->ld_l1hit + s->ld_l2hit + s->ld_llchit + s->lcl_hitm;
}

static u32 records(const struct c2c_stats *s)
{
	return loads(s) + s->st_l1hit + s->st_l1miss + s->st_na;
}

static void put_trace(struct out *o, const struct c2c_stats *s)
{
	const struct {
		const char *name;
		u32 v;
	} rows[] = {
		{ "Total records", s->records },
		{ "Locked Load/Store Operations", s->locks },
		{ "Load Operations", s->load },
		{ "Loads - uncacheable", s->ld_uncache },
		{ "Loads - IO", s->ld_io },
		{ "Loads - Miss", s->ld_miss },
		{ "Loads - no mapping", s->ld_noadrs },
		{ "Load Fill Buffer Hit", s->ld_fbhit },
		{ "Load L1D hit", s->ld_l1hit },
		{ "Load L2D hit", s->ld_l2hit },
		{ "Load LLC hit", s->ld_llchit + s->lcl_hitm },
		{ "Load Local HITM", s->lcl_hitm },
		{ "Load Remote HITM", s->rmt_hitm },
		{ "Load Remote HIT", s->rmt_hit },
		{ "Load Local DRAM", s->lcl_dram },
		{ "Load Remote DRAM", s->rmt_dram },
		{ "Load MESI State Exclusive", s->ld_excl },
		{ "Load MESI State Shared", s->ld_shared },
		{ "Load LLC Misses", llc_misses(s) },
		{ "Load access blocked by data", s->blk_data },
		{ "Load access blocked by address", s->blk_addr },
		{ "Load HIT Local Peer", s->lcl_peer },
		{ "Load HIT Remote Peer", s->rmt_peer },
	};

	out_printf(o, "%s            Trace Event Information              \n%s", rule, rule);
	for (u32 i = 0; i < ARRAY_SIZE(rows); i++)
		put_count(o, rows[i].name, rows[i].v);
	put_share(o, "LLC Misses to Local DRAM", s->lcl_dram, llc_misses(s));
	put_share(o, "LLC Misses to Remote DRAM", s->rmt_dram, llc_misses(s));
	put_share(o, "LLC Misses to Remote cache (HIT)", s->rmt_hit, llc_misses(s));
	put_share(o, "LLC Misses to Remote cache (HITM)", s->rmt_hitm, llc_misses(s));
	put_count(o, "Store Operations", s->store);
	put_count(o, "Store - uncacheable", s->st_uncache);
	put_count(o, "Store - no mapping", s->st_noadrs);
	put_count(o, "Store L1D Hit", s->st_l1hit);
	put_count(o, "Store L1D Miss", s->st_l1miss);
	put_count(o, "Store No available memory level", s->st_na);
	put_count(o, "No Page Map Rejects", s->nomap);
	put_count(o, "Unable to parse data source", s->noparse);
}

static void put_shared(struct out *o, const struct c2c_table *t)
{
	const struct c2c_stats *s = &t->shared;

	out_printf(o, "\n%s    Global Shared Cache Line Event Information   \n%s", rule, rule);
	put_count(o, "Total Shared Cache Lines", t->shared_lines);
	put_count(o, "Load HITs on shared lines", s->load);
	put_count(o, "Fill Buffer Hits on shared lines", s->ld_fbhit);
	put_count(o, "L1D hits on shared lines", s->ld_l1hit);
	put_count(o, "L2D hits on shared lines", s->ld_l2hit);
	put_count(o, "LLC hits on shared lines", s->ld_llchit + s->lcl_hitm);
	put_count(o, "Load hits on peer cache or nodes", s->lcl_peer + s->rmt_peer);
	put_count(o, "Locked Access on shared lines", s->locks);
	put_count(o, "Blocked Access on shared lines", s->blk_data + s->blk_addr);
	put_count(o, "Store HITs on shared lines", s->store);
	put_count(o, "Store L1D hits on shared lines", s->st_l1hit);
	put_count(o, "Store No available memory level", s->st_na);
	put_count(o, "Total Merged records", s->lcl_hitm + s->rmt_hitm + s->store);
}

static void put_details(struct out *o, const struct c2c_table *t, struct pd_file *f, const char *grouping)
{
	static const char *const sorted_on[] = { "Local HITMs", "Remote HITMs", "Total HITMs" };

	out_printf(o, "\n%s                 c2c details                     \n%s", rule, rule);
	for (u32 i = 0; i < pd_nr_events(f); i++)
		out_printf(o, "%-36s: %s\n", i ? "" : "  Events", pd_event(f, i)->name);
	out_printf(o, "  Cachelines sort on                : %s\n", sorted_on[t->display]);
	out_printf(o, "  Cacheline data grouping           : %s\n", grouping);
}

static void put_hex(struct out *o, u64 v)
{
	char text[24];

	snprintf(text, sizeof(text), "0x%llx", (unsigned long long)v);
	out_printf(o, "  %18s", text);
}

/* Nodes of the memory, as perf writes sets, and how often the physical address was another one. */
static void put_memory(struct out *o, const struct c2c_memory *m)
{
	char buf[64] = "N/A";
	struct strbuf text;

	strbuf_init(&text, buf, m->nodes ? sizeof(buf) : 0);
	strbuf_add_set(&text, m->nodes);
	out_printf(o, "  %4s  %6u", buf, m->changes);
}

static void put_columns(struct out *o, const u32 *v, u32 n, int width)
{
	for (u32 i = 0; i < n; i++)
		out_printf(o, "  %*u", width, v[i]);
}

static double percent(u32 part, u32 whole)
{
	return whole ? 100. * (double)part / (double)whole : 0;
}

static void put_lines(struct out *o, struct c2c_table *t)
{
	static const char *const which[] = { "Lcl", "Rmt", "Tot" };
	u32 index = 0;

	out_printf(o, "\n%s           Shared Data Cache Line Table          \n%s#\n", rule, rule);
	out_printf(o,
		   "#        ----------- Cacheline ----------      %s  ------- Load Hitm -------    Total    Total    "
		   "Total  "
		   "--------- Stores --------  ----- Core Load Hit -----  - LLC Load Hit --  - RMT Load Hit --  --- "
		   "Load Dram ----\n",
		   which[t->display]);
	out_str(o, "# Index             Address  Node  PA cnt     Hitm    Total  LclHitm  RmtHitm  records    Loads   "
		   "Stores    "
		   "L1Hit   L1Miss      N/A       FB       L1       L2    LclHit  LclHitm    RmtHit  RmtHitm       Lcl "
		   "      Rmt\n"
		   "# .....  ..................  ....  ......  .......  .......  .......  .......  .......  .......  "
		   ".......  "
		   ".......  .......  .......  .......  .......  .......  ........  .......  ........  .......  "
		   "........  ........\n"
		   "#\n");
	for (u32 i = 0; i < t->nr; i++) {
		const struct c2c_line *l = t->sorted[i];
		const struct c2c_stats *s = &l->stats;
		u32 v[] = { s->tot_hitm, s->lcl_hitm,  s->rmt_hitm, records(s),  loads(s),    s->store,
			    s->st_l1hit, s->st_l1miss, s->st_na,    s->ld_fbhit, s->ld_l1hit, s->ld_l2hit };

		if (!table_shows(t, l))
			continue;
		out_printf(o, "  %5u", index++);
		put_hex(o, l->addr);
		put_memory(o, &l->memory);
		out_printf(o, "  %6.2f%%", percent(table_hitm(t, s), table_hitm(t, &t->total)));
		put_columns(o, v, ARRAY_SIZE(v), 7);
		out_printf(o, "  %8u  %7u  %8u  %7u  %8u  %8u\n", s->ld_llchit, s->lcl_hitm, s->rmt_hit, s->rmt_hitm,
			   s->lcl_dram, s->rmt_dram);
	}
}

struct widths {
	int symbol, object, source;
};

static struct widths widths_of(const struct c2c_table *t, const struct c2c_line *l)
{
	struct widths w = { 0, 0, strlen("Source:Line") };

	for (u32 i = 0; i < l->nr; i++) {
		const struct c2c_name *n = l->entries[i]->name;

		w.symbol = max(w.symbol, n->has_symbol ? (int)strlen(n->symbol) + 4 : 22);
		w.object = max(w.object, n->has_symbol ? (int)strlen(n->object) : max((int)strlen(n->object), 16));
		w.source = max(w.source, (int)strlen(n->source));
	}
	if (!t->full_symbols) {
		w.symbol = min(w.symbol, 30);
		w.source = min(w.source, 30);
	}
	return w;
}

static void put_heads(struct out *o, const struct c2c_table *t, const struct widths *w)
{
	static const char *const titles[] = { "Node", "Node{cpus %hitms %stores}", "Node{cpu list}" };
	const char *pid = t->by_pid ? "         " : "";

	out_printf(o,
		   "#        ----- HITM -----  ------- Store Refs ------  --------- Data address ---------%s           "
		   "           "
		   "---------- cycles ----------    Total       cpu  ",
		   pid);
	out_printf(o, "%*s  %*s", w->symbol, "", w->object, "Shared");
	if (!t->no_source)
		out_printf(o, "  %*s", w->source, "");
	out_printf(o, "  %4s\n#   Num  RmtHitm  LclHitm   L1 Hit  L1 Miss      N/A              Offset  Node  PA cnt",
		   "");
	out_printf(o, "%s        Code address  rmt hitm  lcl hitm      load  records       cnt  %*s  %*s",
		   t->by_pid ? "      Pid" : "", w->symbol, "Symbol", w->object, "Object");
	if (!t->no_source)
		out_printf(o, "  %*s", w->source, "Source:Line");
	out_printf(o, "  %s", titles[t->node_detail]);
	out_printf(o,
		   "\n# .....  .......  .......  .......  .......  .......  ..................  ....  ......%s  "
		   "..................  ........  ........  ........  .......  ........  ",
		   t->by_pid ? "  ......." : "");
	out_fill(o, '.', w->symbol);
	out_str(o, "  ");
	out_fill(o, '.', w->object);
	if (!t->no_source) {
		out_str(o, "  ");
		out_fill(o, '.', w->source);
	}
	out_str(o, "  ....\n#\n");
}

static u32 cpus_of(const struct c2c_entry *e)
{
	u32 n = 0;

	for (u32 i = 0; i < ARRAY_SIZE(e->cpus); i++)
		n += __builtin_popcountll(e->cpus[i]);
	return n;
}

static void put_entry(struct out *o, const struct c2c_table *t, const struct c2c_line *l, const struct c2c_entry *e,
		      const struct widths *w)
{
	const struct c2c_stats *s = &e->stats, *sum = &l->stats;
	char symbol[300];

	if (e->name->has_symbol)
		snprintf(symbol, sizeof(symbol), "[.] %s", e->name->symbol);
	else
		snprintf(symbol, sizeof(symbol), "[.] %#.16llx", (unsigned long long)e->iaddr);
	out_printf(o, "  %5s  %6.2f%%  %6.2f%%  %6.2f%%  %6.2f%%  %6.2f%%", "", percent(s->rmt_hitm, sum->rmt_hitm),
		   percent(s->lcl_hitm, sum->lcl_hitm), percent(s->st_l1hit, sum->st_l1hit),
		   percent(s->st_l1miss, sum->st_l1miss), percent(s->st_na, sum->st_na));
	put_hex(o, e->offset);
	put_memory(o, &e->memory);
	if (t->by_pid)
		out_printf(o, "  %7d", e->pid);
	put_hex(o, e->ip);
	out_printf(o, "  %8.0f  %8.0f  %8.0f  %7u  %8u", e->rmt.mean, e->lcl.mean, e->load.mean, records(s),
		   cpus_of(e));
	out_printf(o, "  %-*.*s  %-*.*s", w->symbol, w->symbol, symbol, w->object, w->object, e->name->object);
	if (!t->no_source)
		out_printf(o, "  %-*.*s", w->source, w->source, e->name->source);
	out_str(o, "  ");
	if (e->shares)
		e->shares[t->nodes.nr] = (struct node_shares){ table_hitm(t, s), s->store };
	nodes_print(o, &t->nodes, e->cpus, e->shares, t->node_detail);
	out_char(o, '\n');
}

static void put_pareto(struct out *o, struct c2c_table *t)
{
	u32 index = 0;

	out_printf(o, "\n%s      Shared Cache Line Distribution Pareto      \n%s#\n", rule, rule);
	for (u32 i = 0; i < t->nr; i++) {
		const struct c2c_line *l = t->sorted[i];
		const struct c2c_stats *s = &l->stats;
		u32 v[] = { s->rmt_hitm, s->lcl_hitm, s->st_l1hit, s->st_l1miss, s->st_na };
		struct widths w;

		if (!table_shows(t, l))
			continue;
		w = widths_of(t, l);
		if (index)
			out_char(o, '\n');
		else
			put_heads(o, t, &w);
		out_str(o, "  ----------------------------------------------------------------------\n");
		out_printf(o, "  %5u", index++);
		put_columns(o, v, ARRAY_SIZE(v), 7);
		put_hex(o, l->addr);
		out_str(o, "\n  ----------------------------------------------------------------------\n");
		for (u32 k = 0; k < l->nr; k++)
			if (l->entries[k]->stats.store || table_hitm(t, &l->entries[k]->stats))
				put_entry(o, t, l, l->entries[k], &w);
	}
}

void stdio_print(struct out *o, struct c2c_table *t, struct pd_file *f, const char *grouping, bool stats_only)
{
	put_trace(o, &t->total);
	put_shared(o, t);
	put_details(o, t, f, grouping);
	if (stats_only)
		return;
	put_lines(o, t);
	put_pareto(o, t);
}
