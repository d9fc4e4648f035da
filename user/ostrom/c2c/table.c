/* SPDX-License-Identifier: MIT
 *
 * Problem: people compare our c2c with perf's, counter by counter.
 *
 * Idea: the same decoding of the data source (<linux/perf_event.h>, perf_mem_data_src), the same identity of a line:
 * file (device and inode) and address in it, and for anonymous memory the process as well; the same order: by HITMs,
 * equal ones by identity. A sample adds to its (line, offset, code address) only; lines and totals are summed up at the
 * end, and only what is shown is named. Memory grows with lines and code addresses, not with samples.
 *
 * Contract: table.h. Locks: none.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include "table.h"

static void decode_hits(struct c2c_stats *st, u64 lvl, u64 snoop, bool peer, bool remote)
{
	if (lvl & PERF_MEM_LVL_HIT) {
		bool to_ram = lvl & (PERF_MEM_LVL_REM_RAM1 | PERF_MEM_LVL_REM_RAM2) || remote;

		st->ld_uncache += !!(lvl & PERF_MEM_LVL_UNC);
		st->ld_io += !!(lvl & PERF_MEM_LVL_IO);
		st->ld_fbhit += !!(lvl & PERF_MEM_LVL_LFB);
		st->ld_l1hit += !!(lvl & PERF_MEM_LVL_L1);
		st->ld_l2hit += !!(lvl & PERF_MEM_LVL_L2);
		if (lvl & PERF_MEM_LVL_L3) {
			st->lcl_hitm += !!(snoop & PERF_MEM_SNOOP_HITM);
			st->ld_llchit += !(snoop & PERF_MEM_SNOOP_HITM);
		}
		st->lcl_peer += peer * (!!(lvl & PERF_MEM_LVL_L2) + !!(lvl & PERF_MEM_LVL_L3));
		st->lcl_dram += !!(lvl & PERF_MEM_LVL_LOC_RAM);
		st->rmt_dram += to_ram;
		if (snoop & PERF_MEM_SNOOP_HIT)
			st->ld_shared += !!(lvl & PERF_MEM_LVL_LOC_RAM) + to_ram;
		else
			st->ld_excl += !!(lvl & PERF_MEM_LVL_LOC_RAM) + to_ram;
	}
	if (lvl & (PERF_MEM_LVL_REM_CCE1 | PERF_MEM_LVL_REM_CCE2) || remote) {
		if (snoop & PERF_MEM_SNOOP_HIT) {
			st->rmt_hit++;
		} else if (snoop & PERF_MEM_SNOOP_HITM) {
			st->rmt_hitm++;
		} else if (peer) {
			st->rmt_hit++;
			st->rmt_peer++;
		}
	}
	st->ld_miss += !!(lvl & PERF_MEM_LVL_MISS);
}

bool stats_decode(struct c2c_stats *st, u64 data_src, u64 addr, bool has_maps)
{
	union perf_mem_data_src d = { .val = data_src };
	u64 lvl = d.mem_lvl;

	st->records++;
	st->locks += !!(d.mem_lock & PERF_MEM_LOCK_LOCKED);
	st->blk_data += !!(d.mem_blk & PERF_MEM_BLK_DATA);
	st->blk_addr += !!(d.mem_blk & PERF_MEM_BLK_ADDR);
	if (d.mem_op & PERF_MEM_OP_LOAD) {
		st->load++;
		st->ld_noadrs += !addr;
		if (!addr)
			return false;
		decode_hits(st, lvl, d.mem_snoop, d.mem_snoopx & PERF_MEM_SNOOPX_PEER, d.mem_remote && !d.mem_hops);
		st->tot_hitm = st->lcl_hitm + st->rmt_hitm;
		st->tot_peer = st->lcl_peer + st->rmt_peer;
	} else if (d.mem_op & PERF_MEM_OP_STORE) {
		st->store++;
		st->st_noadrs += !addr;
		if (!addr)
			return false;
		st->st_uncache += lvl & PERF_MEM_LVL_HIT && lvl & PERF_MEM_LVL_UNC;
		st->st_l1hit += lvl & PERF_MEM_LVL_HIT && lvl & PERF_MEM_LVL_L1;
		st->st_l1miss += lvl & PERF_MEM_LVL_MISS && lvl & PERF_MEM_LVL_L1;
		st->st_na += !!(lvl & PERF_MEM_LVL_NA);
	} else {
		st->noparse++;
		return false;
	}
	st->nomap += !has_maps;
	return has_maps;
}

static void add_stats(struct c2c_stats *to, const struct c2c_stats *from)
{
	u32 *a = (u32 *)to;
	const u32 *b = (const u32 *)from;

	for (size_t i = 0; i < sizeof(*to) / sizeof(u32); i++)
		a[i] += b[i];
}

/* The address as perf maps it: in the file, or as it is for memory without one. */
static u64 mapped(const struct pd_map *m, u64 addr)
{
	return m && m->is_file ? addr - m->start + m->pgoff : addr;
}

static struct c2c_line *get_line(struct c2c_table *t, const struct pd_sample *s, const struct pd_map *data)
{
	u64 key = ALIGN_DOWN(mapped(data, s->addr), (u64)LINE_BYTES);
	u64 dso[3] = { 0 };
	struct c2c_line *l;
	s32 pid = 0;
	u32 h;

	if (data) {
		dso[0] = data->major;
		dso[1] = data->minor;
		dso[2] = data->inode;
	}
	if (data && !(data->flags & 1) && !dso[0] && !dso[1] && !dso[2])
		pid = s->pid;
	h = (key / LINE_BYTES ^ dso[2] * 31 ^ (u32)pid * 131u) % ARRAY_SIZE(t->buckets);
	for (l = t->buckets[h]; l; l = l->next)
		if (l->key == key && l->pid == pid && !memcmp(l->dso, dso, sizeof(dso)))
			return l;
	l = calloc(1, sizeof(*l));
	if (!l)
		return NULL;
	memcpy(l->dso, dso, sizeof(dso));
	l->key = key;
	l->pid = pid;
	l->addr = ALIGN_DOWN(s->addr, (u64)LINE_BYTES);
	l->next = t->buckets[h];
	t->buckets[h] = l;
	t->nr++;
	return l;
}

static u32 entry_slot(const struct c2c_table *t, const struct c2c_line *l, u64 offset, u64 iaddr)
{
	return ((uintptr_t)l / sizeof(void *) * 31 ^ iaddr * 0x9e3779b1u ^ offset) & (t->nr_slots - 1);
}

static int grow_entries(struct c2c_table *t)
{
	u32 nr = t->nr_slots, more = nr ? nr * 4 : 1024;
	struct c2c_entry **old = t->entries;

	t->entries = calloc(more, sizeof(*t->entries));
	if (!t->entries)
		return t->entries = old, -ENOMEM;
	t->nr_slots = more;
	for (u32 i = 0; i < nr; i++)
		while (old[i]) {
			struct c2c_entry *e = old[i];
			u32 h = entry_slot(t, e->line, e->offset, e->iaddr);

			old[i] = e->next;
			e->next = t->entries[h];
			t->entries[h] = e;
		}
	free(old);
	return 0;
}

static struct c2c_entry *add_entry(struct c2c_table *t, struct c2c_line *l, const struct pd_map *code)
{
	struct c2c_entry *e;

	if (t->nr_entries >= t->nr_slots && grow_entries(t))
		return NULL;
	e = calloc(1, sizeof(*e));
	if (!e)
		return NULL;
	if (t->node_detail == NODE_SHARES) {
		e->shares = calloc(t->nodes.nr + 1, sizeof(*e->shares));
		if (!e->shares)
			return free(e), NULL;
	}
	e->line = l;
	e->path = code ? code->path : NULL;
	e->code_key = code ? code->inode : 0;
	e->next_in_line = l->first;
	l->first = e;
	l->nr++;
	t->nr_entries++;
	return e;
}

static struct c2c_entry *get_entry(struct c2c_table *t, struct c2c_line *l, const struct pd_sample *s,
				   const struct pd_map *code, const struct pd_map *data)
{
	u64 offset = mapped(data, s->addr) % LINE_BYTES, iaddr = mapped(code, s->ip);
	u64 code_key = code ? code->inode : 0;
	struct c2c_entry *e = t->nr_slots ? t->entries[entry_slot(t, l, offset, iaddr)] : NULL;
	u32 h;

	for (; e; e = e->next)
		if (e->line == l && e->offset == offset && e->iaddr == iaddr && e->code_key == code_key &&
		    (!t->by_pid || e->pid == (s32)s->pid))
			return e;
	e = add_entry(t, l, code);
	if (!e)
		return NULL;
	e->offset = offset;
	e->iaddr = iaddr;
	e->ip = s->ip;
	e->pid = s->pid;
	e->file_offset = code ? s->ip - code->start + code->pgoff : 0;
	h = entry_slot(t, l, offset, iaddr);
	e->next = t->entries[h];
	t->entries[h] = e;
	return e;
}

/* What a sample of this kind counts. */
static const struct c2c_stats *stats_of(struct c2c_table *t, u64 data_src, bool has_addr, bool has_maps)
{
	struct c2c_class *k =
		&t->classes[(data_src ^ data_src >> 7 ^ data_src >> 19 ^ has_maps) % ARRAY_SIZE(t->classes)];

	if (k->is_known && k->data_src == data_src && k->has_addr == has_addr && k->has_maps == has_maps)
		return &k->stats;
	*k = (struct c2c_class){ .data_src = data_src, .has_addr = has_addr, .has_maps = has_maps, .is_known = true };
	stats_decode(&k->stats, data_src, has_addr, has_maps);
	return &k->stats;
}

static void add_weight(struct c2c_mean *m, u64 weight)
{
	m->n++;
	m->mean += (weight - m->mean) / m->n;
}

static void add_memory(struct c2c_memory *m, int node, u64 phys_addr)
{
	m->nodes |= 1ull << node;
	m->changes += m->last != phys_addr;
	m->last = phys_addr;
}

static int add_sample(struct c2c_table *t, const struct pd_sample *s)
{
	const struct pd_map *code = pd_space_find(&t->places.spaces, s->pid, s->ip);
	const struct pd_map *data = pd_space_find(&t->places.spaces, s->pid, s->addr);
	const struct c2c_stats *st = stats_of(t, s->data_src, s->addr, code && data);
	struct c2c_line *l = get_line(t, s, data);
	struct c2c_entry *e = l ? get_entry(t, l, s, code, data) : NULL;

	if (!e)
		return -ENOMEM;
	add_stats(&e->stats, st);
	if (s->phys_addr && pd_node_of(&t->memory, s->phys_addr) >= 0) {
		int node = pd_node_of(&t->memory, s->phys_addr);

		add_memory(&l->memory, node, s->phys_addr);
		add_memory(&e->memory, node, s->phys_addr);
	}
	if (e->shares && nodes_of(&t->nodes, s->cpu) >= 0) {
		struct node_shares *n = &e->shares[nodes_of(&t->nodes, s->cpu)];

		n->hitms += table_hitm(t, st);
		n->stores += st->store;
	}
	if (s->cpu < C2C_CPUS)
		e->cpus[s->cpu / 64] |= 1ull << (s->cpu % 64);
	if (st->rmt_hitm)
		add_weight(&e->rmt, s->weight);
	else if (st->lcl_hitm)
		add_weight(&e->lcl, s->weight);
	else if (st->load && !st->tot_peer)
		add_weight(&e->load, s->weight);
	return 0;
}

int table_record(struct c2c_table *t, const struct pd_sample *s)
{
	if (s->type == PERF_RECORD_SAMPLE)
		return add_sample(t, s);
	return places_follow(&t->places, s);
}

u32 table_hitm(const struct c2c_table *t, const struct c2c_stats *st)
{
	return t->display == DISPLAY_LCL ? st->lcl_hitm : t->display == DISPLAY_RMT ? st->rmt_hitm : st->tot_hitm;
}

/* perf leaves out lines with less than a thousandth of the HITMs. */
bool table_shows(const struct c2c_table *t, const struct c2c_line *l)
{
	u32 sum = table_hitm(t, &t->shared);

	return t->show_all || (sum && (double)table_hitm(t, &l->stats) / sum >= 0.001);
}

static int by_identity(const void *a, const void *b)
{
	const struct c2c_line *x = *(struct c2c_line *const *)a, *y = *(struct c2c_line *const *)b;

	for (int i = 0; i < 3; i++)
		if (x->dso[i] != y->dso[i])
			return x->dso[i] < y->dso[i] ? -1 : 1;
	if (x->pid != y->pid)
		return x->pid < y->pid ? -1 : 1;
	return x->key < y->key ? -1 : x->key > y->key;
}

static int by_hitm(const void *a, const void *b, void *arg)
{
	const struct c2c_line *x = *(struct c2c_line *const *)a, *y = *(struct c2c_line *const *)b;
	u32 hx = table_hitm(arg, &x->stats), hy = table_hitm(arg, &y->stats);

	if (hx != hy)
		return hx > hy ? -1 : 1;
	return x->order < y->order ? -1 : x->order > y->order;
}

static int by_offset(const void *a, const void *b, void *arg)
{
	const struct c2c_entry *x = *(struct c2c_entry *const *)a, *y = *(struct c2c_entry *const *)b;
	u32 hx = table_hitm(arg, &x->stats), hy = table_hitm(arg, &y->stats);

	if (x->offset != y->offset)
		return x->offset < y->offset ? -1 : 1;
	if (hx != hy)
		return hx > hy ? -1 : 1;
	return x->iaddr < y->iaddr ? -1 : x->iaddr > y->iaddr;
}

static void fill_name(struct c2c_table *t, struct c2c_name *n)
{
	struct field_name name;
	struct image *im = n->path ? image_get(&t->places.images, n->path) : NULL;
	struct place where;
	const char *slash;
	u64 vaddr;

	if (!im)
		return;
	vaddr = image_vaddr_at(im, n->offset);
	slash = strrchr(n->path, '/');
	snprintf(n->object, sizeof(n->object), "%s", slash ? slash + 1 : n->path);
	place_in_file(&t->places, n->path, n->offset, &where);
	n->has_symbol = where.symbol;
	snprintf(n->symbol, sizeof(n->symbol), "%s", where.symbol ? where.symbol : "");
	name_code(im, vaddr, &name);
	if (*name.source)
		snprintf(n->source, sizeof(n->source), "%s", name.source);
	else if (where.symbol)
		snprintf(n->source, sizeof(n->source), "%s+%llu", where.symbol, (unsigned long long)where.offset);
	else
		snprintf(n->source, sizeof(n->source), "%s[%llx]", n->object, (unsigned long long)vaddr);
}

static const struct c2c_name *get_name(struct c2c_table *t, const char *path, u64 offset)
{
	u32 h = (offset ^ (uintptr_t)path >> 4) % TABLE_NAMES;
	struct c2c_name *n = t->names[h];

	while (n && (n->path != path || n->offset != offset))
		n = n->next;
	if (n)
		return n;
	n = calloc(1, sizeof(*n));
	if (!n)
		return NULL;
	n->path = path;
	n->offset = offset;
	n->next = t->names[h];
	t->names[h] = n;
	fill_name(t, n);
	return n;
}

/* Orders and names the entries of a line that will be shown. */
static int prepare_line(struct c2c_table *t, struct c2c_line *l)
{
	u32 n = 0;

	l->entries = malloc(max(l->nr, 1u) * sizeof(*l->entries));
	if (!l->entries)
		return -ENOMEM;
	for (struct c2c_entry *e = l->first; e; e = e->next_in_line) {
		e->name = get_name(t, e->path, e->file_offset);
		if (!e->name)
			return -ENOMEM;
		l->entries[n++] = e;
	}
	qsort_r(l->entries, n, sizeof(*l->entries), by_offset, t);
	return 0;
}

static void sum_up(struct c2c_table *t, struct c2c_line *l)
{
	for (const struct c2c_entry *e = l->first; e; e = e->next_in_line)
		add_stats(&l->stats, &e->stats);
	add_stats(&t->total, &l->stats);
	if (l->stats.tot_hitm || l->stats.tot_peer) {
		t->shared_lines++;
		add_stats(&t->shared, &l->stats);
	}
}

int table_sort(struct c2c_table *t)
{
	u32 n = 0;
	int err = 0;

	t->sorted = malloc(max(t->nr, 1u) * sizeof(*t->sorted));
	if (!t->sorted)
		return -ENOMEM;
	for (u32 i = 0; i < ARRAY_SIZE(t->buckets); i++)
		for (struct c2c_line *l = t->buckets[i]; l; l = l->next) {
			sum_up(t, l);
			t->sorted[n++] = l;
		}
	qsort(t->sorted, n, sizeof(*t->sorted), by_identity);
	for (u32 i = 0; i < n; i++)
		t->sorted[i]->order = i;
	qsort_r(t->sorted, n, sizeof(*t->sorted), by_hitm, t);
	for (u32 i = 0; i < n && !err; i++)
		if (table_shows(t, t->sorted[i]))
			err = prepare_line(t, t->sorted[i]);
	return err;
}

static void free_lines(struct c2c_table *t)
{
	for (u32 i = 0; i < ARRAY_SIZE(t->buckets); i++)
		while (t->buckets[i]) {
			struct c2c_line *l = t->buckets[i];

			t->buckets[i] = l->next;
			while (l->first) {
				struct c2c_entry *e = l->first;

				l->first = e->next_in_line;
				free(e->shares);
				free(e);
			}
			free(l->entries);
			free(l);
		}
}

void table_free(struct c2c_table *t)
{
	free_lines(t);
	for (u32 i = 0; i < TABLE_NAMES; i++)
		while (t->names[i]) {
			struct c2c_name *n = t->names[i];

			t->names[i] = n->next;
			free(n);
		}
	free(t->entries);
	free(t->sorted);
	places_free(&t->places);
}
