/* SPDX-License-Identifier: MIT
 *
 * Problem: from samples to the few lines that matter, each with the fields and threads that fight.
 *
 * Idea: every access goes through the ownership model; lines that travelled often enough are kept; their sites are
 * merged into parts (same field, same kind of access) and named. A line counts when it moved between CPUs at least
 * MIN_TRAVELS times in the samples and took part in at least one in MIN_SHARE samples: a handed-over or start-up line
 * does neither.
 *
 * Contract: words.h. Mappings are looked up as they are at the end of the recording (and of the last sample of a
 * line's process), so a line in memory that was unmapped before keeps its address and loses its name.
 *
 * Locks: none.
 */
#include <errno.h>
#include <stdlib.h>
#include <alloc/slab.h>
#include "ostrom.h"
#include "words.h"

#define MIN_TRAVELS 8
#define MIN_SHARE   200

struct reading {
	struct c2c_analysis *c;
	s32 pid;
};

static int add(struct c2c_analysis *c, const struct pd_sample *s, struct line_access *a)
{
	const struct pd_map *data = pd_space_find(&c->places.spaces, s->pid, a->addr);

	c->samples++;
	c->loads += !a->is_write;
	c->stores += a->is_write;
	c2c_line_key(data, s->pid, a->addr, &a->space, &a->addr);
	return min(lines_add(&c->lines, a), 0);
}

static u16 access_bytes(struct c2c_analysis *c, const struct pd_map *code, u64 ip)
{
	struct image *im = code ? image_get(&c->places.images, code->path) : NULL;
	struct operand_insn insn;
	u64 start, bytes;
	bool exact;
	const u8 *p = im ? image_code(im, code, ip, &start, &exact, &bytes) : NULL;

	if (p && operand_decode(p + (ip - start), min(bytes - (ip - start), (u64)15), ip, NULL, &insn) > 0 && insn.nr)
		return insn.op[0].bytes;
	return 8;
}

/* A sample with address: one access. */
static int add_addressed(struct c2c_analysis *c, const struct pd_sample *s)
{
	union perf_mem_data_src d = { .val = s->data_src };
	struct line_access a = { .ip = s->ip,
				 .addr = s->addr,
				 .time_ns = s->time,
				 .tid = s->tid,
				 .cpu = s->cpu,
				 .is_write = d.mem_op & PERF_MEM_OP_STORE };

	if (!s->addr)
		return 0;
	a.bytes = access_bytes(c, pd_space_find(&c->places.spaces, s->pid, s->ip), s->ip);
	return add(c, s, &a);
}

u32 c2c_touches(struct places *places, const struct pd_sample *s, struct touch *t)
{
	const struct pd_map *code = pd_space_find(&places->spaces, s->pid, s->ip);
	u64 regs[OPERAND_REGS] = { 0 };
	u32 k = 0;

	if (!code || !s->regs_abi || s->event->attr.sample_regs_user != C2C_REGS)
		return 0;
	for (u32 i = 0; i < OPERAND_REGS; i++)
		if (C2C_REGS >> i & 1)
			regs[i] = pd_u64(s->regs + 8 * k++);
	return touch_decode(&places->images, code, s->ip, regs, t);
}

/* A clock sample with registers: what it stands for. */
static int add_clock(struct c2c_analysis *c, const struct pd_sample *s)
{
	struct touch t[TOUCH_MAX];
	u32 n = c2c_touches(&c->places, s, t);
	int err = 0;

	for (u32 i = 0; i < n && !err; i++)
		for (int is_write = 0; is_write < 2 && !err; is_write++) {
			struct line_access a = { .ip = t[i].ip,
						 .addr = t[i].op.addr,
						 .time_ns = s->time,
						 .tid = s->tid,
						 .cpu = s->cpu,
						 .bytes = t[i].op.bytes,
						 .is_write = is_write };

			if ((is_write ? t[i].op.is_write : t[i].op.is_read) &&
			    pd_space_find(&c->places.spaces, s->pid, a.addr))
				err = add(c, s, &a);
		}
	return err;
}

int c2c_add_sample(struct c2c_analysis *c, const struct pd_sample *s)
{
	u64 type = s->event->attr.sample_type;

	if (!(type & (PERF_SAMPLE_ADDR | PERF_SAMPLE_REGS_USER)))
		return 0;
	if (!pd_thread_get(&c->threads, s->pid, s->tid))
		return -ENOMEM;
	return type & PERF_SAMPLE_ADDR ? add_addressed(c, s) : add_clock(c, s);
}

int c2c_follow(struct c2c_analysis *c, const struct pd_sample *s)
{
	int err = pd_threads_record(&c->threads, s);

	return err ? err : places_follow(&c->places, s);
}

static int on_record(void *arg, const struct pd_sample *s)
{
	struct reading *r = arg;

	if (s->type != PERF_RECORD_SAMPLE)
		return c2c_follow(r->c, s);
	return r->pid && s->pid != (u32)r->pid ? 0 : c2c_add_sample(r->c, s);
}

/* ---- naming ---- */

static void add_tid(struct line_part *p, u32 tid)
{
	for (u32 i = 0; i < min(p->nr_tids, (u32)ARRAY_SIZE(p->tids)); i++)
		if (p->tids[i] == tid)
			return;
	if (p->nr_tids < ARRAY_SIZE(p->tids))
		p->tids[p->nr_tids] = tid;
	p->nr_tids++;
}

static int by_samples(const void *a, const void *b)
{
	const struct line_part *x = a, *y = b;

	return x->samples < y->samples ? 1 : x->samples > y->samples ? -1 : x->offset - y->offset;
}

static struct line_part *find_part(struct line_report *r, const struct line_site *s)
{
	for (u32 i = 0; i < r->nr_parts; i++)
		if (r->parts[i].offset == s->offset && r->parts[i].is_write == s->is_write)
			return &r->parts[i];
	return NULL;
}

static int by_site_samples(const void *a, const void *b)
{
	const struct line_site *x = a, *y = b;

	return x->samples < y->samples ? 1 : x->samples > y->samples ? -1 : 0;
}

static void name_part(struct c2c_analysis *c, const struct line *l, const struct line_site *s, struct line_part *p)
{
	struct pd_thread *t = pd_thread_find(&c->threads, s->tid);
	s32 pid = t ? t->pid : (s32)l->space;
	const struct pd_map *code = pd_space_find(&c->places.spaces, pid, s->ip);
	u64 addr = l->addr + s->offset;

	name_access(&c->places.images, code, s->ip, pd_space_find(&c->places.spaces, pid, addr), addr, &p->name);
}

/* A write of the line's size read as two kinds of access: the samples of a read-modify-write count once. */
static void collect_parts(struct c2c_analysis *c, struct line *l, struct line_report *r)
{
	qsort(l->sites, l->nr_sites, sizeof(*l->sites), by_site_samples);
	for (u32 i = 0; i < l->nr_sites; i++) {
		const struct line_site *s = &l->sites[i];
		struct line_part *p = find_part(r, s);

		if (!p && r->nr_parts == WORDS_MAX_PARTS)
			continue;
		if (!p) {
			p = &r->parts[r->nr_parts++];
			p->offset = s->offset;
			p->bytes = s->bytes;
			p->is_write = s->is_write;
			name_part(c, l, s, p);
		}
		p->samples += s->samples;
		p->travels += s->travels;
		p->cpus |= s->cpus;
		add_tid(p, s->tid);
	}
	qsort(r->parts, r->nr_parts, sizeof(*r->parts), by_samples);
}

/* Where the second of the two worst parts begins in its object: a line boundary there ends false sharing. */
static u32 padding_place(const struct line_report *r)
{
	const struct line_part *a = &r->parts[0];

	for (u32 i = 1; i < r->nr_parts && r->kind == LINE_FALSE_SHARING; i++) {
		const struct line_part *b = &r->parts[i];
		bool same_object = !strcmp(a->name.object, b->name.object);
		u32 at = max(a->name.offset, b->name.offset);

		if (b->offset != a->offset && same_object && at)
			return at;
	}
	return 0;
}

static u32 process_of(const struct c2c_analysis *c, const struct line *l)
{
	struct pd_thread *t = l->nr_sites ? pd_thread_find(&c->threads, l->sites[0].tid) : NULL;

	return t ? t->pid : 0;
}

int c2c_finish(struct c2c_analysis *c)
{
	struct line **ranked;
	u32 nr;
	int err = lines_ranked(&c->lines, MIN_TRAVELS, &ranked, &nr);

	if (err)
		return err;
	c->reports = calloc(max(nr, 1u), sizeof(*c->reports));
	for (u32 i = 0; c->reports && i < nr; i++) {
		struct line_report *r = &c->reports[c->nr_reports];
		enum line_sharing kind = line_classify(ranked[i]);

		if (kind < LINE_TRUE_SHARING || ranked[i]->samples * MIN_SHARE < c->samples)
			continue;
		r->kind = kind;
		r->addr = ranked[i]->addr;
		r->samples = ranked[i]->samples;
		r->travels = ranked[i]->travels;
		r->pid = process_of(c, ranked[i]);
		collect_parts(c, ranked[i], r);
		r->padding_at = padding_place(r);
		c->nr_reports++;
	}
	kfree(ranked);
	return c->reports ? 0 : -ENOMEM;
}

int c2c_begin(struct c2c_analysis *c)
{
	int err;

	memset(c, 0, sizeof(*c));
	err = places_init(&c->places);
	if (!err)
		err = lines_init(&c->lines);
	return err ? err : pd_threads_init(&c->threads);
}

int c2c_analyse(struct c2c_analysis *c, const char *path, s32 pid, const char *root)
{
	struct reading r = { c, pid };
	struct pd_consumer consumer = { .record = on_record, .arg = &r };
	struct pd_file *f;
	char why[512];
	int err = c2c_begin(c);

	if (!err && pd_open(&f, path, why, sizeof(why))) {
		say_error("%s", why);
		return -EINVAL;
	}
	if (err)
		return err;
	c->places.images.root = root;
	c->is_sampled = pd_find_event(f, "ostrom-mem-sampled");
	err = pd_for_each(f, &consumer);
	if (!err)
		err = c2c_finish(c);
	if (*pd_damage(f))
		say_error("%s: %s", path, pd_damage(f));
	if (err)
		say_error("%s: %s", path, strerror(-err));
	else if (!c->samples)
		say_error("%s: no memory samples; record with `ostrom c2c record`", path);
	pd_close(f);
	return err;
}

void c2c_analysis_free(struct c2c_analysis *c)
{
	lines_free(&c->lines);
	pd_threads_free(&c->threads);
	places_free(&c->places);
	free(c->reports);
}
