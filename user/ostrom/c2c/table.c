/* SPDX-License-Identifier: MIT
 *
 * Problem: people compare our c2c with perf's, counter by counter.
 *
 * Idea: the same decoding of the data source (<linux/perf_event.h>, perf_mem_data_src), the same identity of a line:
 * file (device and inode) and address in it, and for anonymous memory the process as well; the same order: by HITMs,
 * equal ones by identity. Memory grows with lines and code addresses, not with samples.
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

static bool is_identity(const struct pd_map *m)
{
	return !m || !strncmp(m->path, "//anon", 6) || !strncmp(m->path, "/dev/zero", 9) ||
	       !strncmp(m->path, "/anon_hugepage", 14) || !strncmp(m->path, "[stack", 6) ||
	       !strncmp(m->path, "/SYSV", 5) || !strcmp(m->path, "[heap]");
}

/* The address as perf maps it: in the file, or as it is for memory without one. */
static u64 mapped(const struct pd_map *m, u64 addr)
{
	return is_identity(m) ? addr : addr - m->start + m->pgoff;
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

static void name_entry(struct c2c_table *t, struct c2c_entry *e, const struct pd_map *code)
{
	struct field_name name;
	struct image *im = code ? image_get(&t->images, code->path) : NULL;
	const struct image_sym *sym;
	const char *slash;
	u64 vaddr;

	if (!im)
		return;
	vaddr = image_vaddr(im, code, e->ip);
	slash = strrchr(code->path, '/');
	snprintf(e->object, sizeof(e->object), "%s", slash ? slash + 1 : code->path);
	sym = image_symbol(im, vaddr, false);
	e->has_symbol = sym;
	snprintf(e->symbol, sizeof(e->symbol), "%s", sym ? sym->name : "");
	name_code(im, vaddr, &name);
	if (*name.source)
		snprintf(e->source, sizeof(e->source), "%s", name.source);
	else if (sym)
		snprintf(e->source, sizeof(e->source), "%s+%llu", sym->name, (unsigned long long)(vaddr - sym->start));
	else
		snprintf(e->source, sizeof(e->source), "%s[%llx]", e->object, (unsigned long long)vaddr);
}

static struct c2c_entry *get_entry(struct c2c_table *t, struct c2c_line *l, const struct pd_sample *s,
				   const struct pd_map *code, const struct pd_map *data)
{
	u64 offset = mapped(data, s->addr) % LINE_BYTES, iaddr = mapped(code, s->ip);
	u64 code_key = code ? code->inode : 0;
	struct c2c_entry *e;

	for (u32 i = 0; i < l->nr; i++) {
		e = &l->entries[i];
		if (e->offset == offset && e->iaddr == iaddr && e->code_key == code_key &&
		    (!t->by_pid || e->pid == (s32)s->pid))
			return e;
	}
	if (l->nr == l->room) {
		e = realloc(l->entries, (l->room + 8) * sizeof(*e));
		if (!e)
			return NULL;
		l->entries = e;
		l->room += 8;
	}
	e = &l->entries[l->nr++];
	memset(e, 0, sizeof(*e));
	e->offset = offset;
	e->iaddr = iaddr;
	e->ip = s->ip;
	e->code_key = code_key;
	e->pid = s->pid;
	name_entry(t, e, code);
	return e;
}

static void add_weight(struct c2c_mean *m, u64 weight)
{
	m->n++;
	m->mean += (weight - m->mean) / m->n;
}

static int add_sample(struct c2c_table *t, const struct pd_sample *s)
{
	const struct pd_map *code = pd_space_find(&t->spaces, s->pid, s->ip);
	const struct pd_map *data = pd_space_find(&t->spaces, s->pid, s->addr);
	struct c2c_stats st = { 0 };
	struct c2c_line *l = get_line(t, s, data);
	struct c2c_entry *e = l ? get_entry(t, l, s, code, data) : NULL;

	if (!e)
		return -ENOMEM;
	stats_decode(&st, s->data_src, s->addr, code && data);
	add_stats(&t->total, &st);
	add_stats(&l->stats, &st);
	add_stats(&e->stats, &st);
	if (s->cpu < 1024)
		e->cpus[s->cpu / 64] |= 1ull << (s->cpu % 64);
	if (st.rmt_hitm)
		add_weight(&e->rmt, s->weight);
	else if (st.lcl_hitm)
		add_weight(&e->lcl, s->weight);
	else if (st.load && !st.tot_peer)
		add_weight(&e->load, s->weight);
	return 0;
}

int table_record(struct c2c_table *t, const struct pd_sample *s)
{
	if (s->type == PERF_RECORD_SAMPLE)
		return add_sample(t, s);
	return pd_spaces_record(&t->spaces, s);
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
	const struct c2c_entry *x = a, *y = b;
	u32 hx = table_hitm(arg, &x->stats), hy = table_hitm(arg, &y->stats);

	if (x->offset != y->offset)
		return x->offset < y->offset ? -1 : 1;
	if (hx != hy)
		return hx > hy ? -1 : 1;
	return x->iaddr < y->iaddr ? -1 : x->iaddr > y->iaddr;
}

int table_sort(struct c2c_table *t)
{
	u32 n = 0;

	t->sorted = malloc(max(t->nr, 1u) * sizeof(*t->sorted));
	if (!t->sorted)
		return -ENOMEM;
	for (u32 i = 0; i < ARRAY_SIZE(t->buckets); i++)
		for (struct c2c_line *l = t->buckets[i]; l; l = l->next)
			t->sorted[n++] = l;
	qsort(t->sorted, n, sizeof(*t->sorted), by_identity);
	for (u32 i = 0; i < n; i++) {
		struct c2c_line *l = t->sorted[i];

		l->order = i;
		if (l->nr)
			qsort_r(l->entries, l->nr, sizeof(*l->entries), by_offset, t);
		if (l->stats.tot_hitm || l->stats.tot_peer) {
			t->shared_lines++;
			add_stats(&t->shared, &l->stats);
		}
	}
	qsort_r(t->sorted, n, sizeof(*t->sorted), by_hitm, t);
	return 0;
}

void table_free(struct c2c_table *t)
{
	for (u32 i = 0; i < ARRAY_SIZE(t->buckets); i++)
		while (t->buckets[i]) {
			struct c2c_line *l = t->buckets[i];

			t->buckets[i] = l->next;
			free(l->entries);
			free(l);
		}
	free(t->sorted);
	pd_spaces_free(&t->spaces);
	images_free(&t->images);
}
