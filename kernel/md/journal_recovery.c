/* SPDX-License-Identifier: MIT
 *
 * Problem: after a crash the members may hold any part of the last writes, so parity cannot be relied on; what was
 * acknowledged is in the journal, behind its tail, followed by torn and stale blocks.
 *
 * Idea: read units from the tail while meta block, sequence number and every page are right; the first thing that
 * is wrong ends the log, for nothing behind it was acknowledged (units become durable in order). Collect pages by
 * stripe:
 *
 *	data ...		then parity: the stripe is *complete*: data and parity go to the members
 *	data			and no parity: *data only*: the members' parity still matches what they hold
 *	data after parity	the complete state is written first; the stripe begins anew
 *	flush			the stripe is on its members: forget it
 *
 * Complete stripes are written; data-only pages are logged once more behind the end, with sequence numbers that no
 * stale block can have, so that the tail can move there; then they are handed out. A crash anywhere in between
 * finds the old tail and does the same again.
 *
 * Contract: md/journal.h. Memory: the pages of the log that are not yet replayed.
 *
 * Locks: none; nothing else uses the array yet.
 */
#include <alloc/slab.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/list.h>
#include <lib/string.h>
#include <md/journal.h>

#define BUCKETS  1024
#define SEQ_JUMP 10000 /* Linux's, larger than the units that can be in flight */

struct found {
	struct list link;
	u64 sector;
	bool complete;
	u8 *page[MD_MAX_DISKS];
};

struct scan {
	const struct md_geo *g;
	const struct md_recovery_ops *ops;
	void *ctx;
	u64 size; /* sectors */
	u32 seed;
	bool dry;
	struct md_recovery_result *r;
	struct list bucket[BUCKETS];
	u8 meta[MD_LOG_BLOCK] __aligned(8);
	u8 page[2 * MD_LOG_BLOCK];
};

static u64 ring(const struct scan *s, u64 at, u64 blocks)
{
	return (at + blocks * MD_LOG_SECTORS) % s->size;
}

static struct found *find(struct scan *s, u64 sector, bool make)
{
	struct list *b = &s->bucket[sector / MD_LOG_SECTORS % BUCKETS];
	struct found *f;

	list_for_each_entry (f, b, link)
		if (f->sector == sector)
			return f;
	f = make ? kzalloc(sizeof(*f), ALLOC_KERNEL) : NULL;
	if (f) {
		f->sector = sector;
		list_add_tail(&f->link, b);
	}
	return f;
}

static void drop_pages(const struct scan *s, struct found *f)
{
	for (u32 i = 0; i < s->g->disks; i++) {
		kfree(f->page[i]);
		f->page[i] = NULL;
	}
	f->complete = false;
}

static void forget(const struct scan *s, struct found *f)
{
	drop_pages(s, f);
	list_del(&f->link);
	kfree(f);
}

/* Writes a complete stripe to its members. */
static int replay(struct scan *s, struct found *f)
{
	s->r->replayed++;
	for (u32 i = 0; i < s->g->disks && !s->dry; i++) {
		int err = f->page[i] ? s->ops->write(s->ctx, i, f->sector, f->page[i], MD_LOG_BLOCK) : 0;

		if (err < 0 && err != -ENODEV)
			return err;
	}
	drop_pages(s, f);
	return 0;
}

static int keep(struct found *f, u32 slot, const u8 *from)
{
	if (!f->page[slot])
		f->page[slot] = kmalloc(MD_LOG_BLOCK, ALLOC_KERNEL);
	if (!f->page[slot])
		return -ENOMEM;
	memcpy(f->page[slot], from, MD_LOG_BLOCK);
	return 0;
}

static int take_data(struct scan *s, const struct md_log_entry *en)
{
	struct found *f;
	u64 at;
	u32 d;
	int err = 0;

	if (en->location >= s->g->sectors || en->location % MD_LOG_SECTORS)
		return fail(EBADMSG, "journal names sector %llu of the array", (unsigned long long)en->location);
	md_geo_map(s->g, en->location, &at, &d);
	f = find(s, at, true);
	if (f && f->complete)
		err = replay(s, f);
	return !f ? -ENOMEM : err ? err : keep(f, md_geo_slot(s->g, at / s->g->chunk, d), s->page);
}

static int take_parity(struct scan *s, const struct md_log_entry *en)
{
	struct found *f;
	u32 slot[2];
	int err = 0;

	if (en->location >= s->g->member_sectors || en->location % MD_LOG_SECTORS || en->pages != s->g->parity)
		return fail(EBADMSG, "journal names member sector %llu", (unsigned long long)en->location);
	f = find(s, en->location, true);
	if (!f)
		return -ENOMEM;
	md_geo_parity(s->g, en->location / s->g->chunk, &slot[0], &slot[1]);
	for (u32 i = 0; i < en->pages && !err; i++)
		err = keep(f, slot[i], s->page + i * MD_LOG_BLOCK);
	f->complete = true;
	return err;
}

static void take_flush(struct scan *s, const struct md_log_entry *en)
{
	for (u32 i = 0; i < en->count; i++) {
		struct found *f;
		u64 sector;

		memcpy(&sector, (const u8 *)en->list + 8 * i, 8);
		f = find(s, sector, false);
		if (f)
			forget(s, f);
	}
}

/* Reads the pages of an entry that stand at `at`: 0, 1 (a checksum is wrong), -errno. */
static int read_pages(struct scan *s, const struct md_log_entry *en, u64 at)
{
	for (u32 i = 0; i < en->pages; i++) {
		u8 *to = s->page + i * MD_LOG_BLOCK;
		int err = s->ops->read(s->ctx, MD_JOURNAL_SLOT, ring(s, at, i), to, MD_LOG_BLOCK);

		if (err < 0)
			return err;
		if (md_log_page_crc(s->seed, to) != en->crc[i])
			return 1;
	}
	return 0;
}

/* One pass over a unit's entries, checking its pages or (check false) taking them. *blocks is the unit's length. */
static int walk_unit(struct scan *s, const struct md_log_head *h, bool check, u32 *blocks)
{
	struct md_log_entry en;
	u32 cursor = 0;
	int r;

	*blocks = 1;
	while ((r = md_log_next(s->meta, h, &cursor, &en)) > 0) {
		r = read_pages(s, &en, ring(s, h->position, *blocks));
		if (r)
			return r < 0 ? r : -EBADMSG;
		*blocks += en.pages;
		if (check)
			continue;
		if (en.kind == MD_LOG_FLUSH)
			take_flush(s, &en);
		else
			r = en.kind == MD_LOG_DATA ? take_data(s, &en) : take_parity(s, &en);
		if (r < 0)
			return r;
	}
	return r;
}

/* Follows the log from tail; 0 or -errno for what is not simply its end. */
static int follow(struct scan *s, u64 tail)
{
	u64 at = tail, seen = 0;
	struct md_log_head h;
	u32 blocks;
	int r;

	for (;;) {
		r = s->ops->read(s->ctx, MD_JOURNAL_SLOT, at, s->meta, MD_LOG_BLOCK);
		if (r < 0)
			return r;
		if (md_log_check(s->meta, s->seed, at, &h) < 0 || (s->r->valid && h.seq != s->r->seq))
			return 0;
		r = walk_unit(s, &h, true, &blocks);
		if (r == -EBADMSG)
			s->r->damaged = 1;
		if (r < 0)
			return r == -EBADMSG ? 0 : r;
		r = walk_unit(s, &h, false, &blocks);
		if (r < 0)
			return r;
		seen += blocks;
		if (seen >= s->size / MD_LOG_SECTORS)
			return fail(EBADMSG, "journal without an end");
		s->r->valid = true;
		s->r->blocks++;
		s->r->seq = h.seq + 1;
		at = s->r->head = ring(s, at, blocks);
	}
}

/* ---- the new beginning ---- */

struct rewrite {
	u64 at, seq; /* of the open unit */
	u32 pages, units;
	u64 used, room; /* blocks */
};

static int close_unit(struct scan *s, struct rewrite *w)
{
	int err;

	md_log_end(s->meta, s->seed);
	err = s->ops->write(s->ctx, MD_JOURNAL_SLOT, w->at, s->meta, MD_LOG_BLOCK);
	w->at = ring(s, w->at, 1 + w->pages);
	w->seq++;
	w->units++;
	w->used += 1 + w->pages;
	w->pages = 0;
	md_log_begin(s->meta, w->seq, w->at);
	return err;
}

static int rewrite_page(struct scan *s, struct rewrite *w, u64 location, const u8 *page)
{
	int err;

	if (w->used + w->pages + 3 > w->room)
		return fail(ENOSPC, "no room in the journal to log what it holds again");
	err = md_log_add_data(s->meta, location, md_log_page_crc(s->seed, page));
	if (err < 0) {
		err = close_unit(s, w);
		if (!err)
			err = md_log_add_data(s->meta, location, md_log_page_crc(s->seed, page));
	}
	if (!err)
		err = s->ops->write(s->ctx, MD_JOURNAL_SLOT, ring(s, w->at, 1 + w->pages), page, MD_LOG_BLOCK);
	w->pages++;
	return err;
}

static int for_data_only(struct scan *s, int (*each)(struct scan *s, void *arg, u64 location, const u8 *page),
			 void *arg)
{
	for (u32 b = 0; b < BUCKETS; b++) {
		struct found *f;

		list_for_each_entry (f, &s->bucket[b], link) {
			for (u32 i = 0; i < s->g->disks && !f->complete; i++) {
				u32 d = md_geo_data_index(s->g, f->sector / s->g->chunk, i);
				int err = 0;

				if (f->page[i] && d != MD_NO_SLOT)
					err = each(s, arg, md_geo_unmap(s->g, f->sector, d), f->page[i]);
				if (err < 0)
					return err;
			}
		}
	}
	return 0;
}

static int each_rewrite(struct scan *s, void *arg, u64 location, const u8 *page)
{
	return rewrite_page(s, arg, location, page);
}

static int each_report(struct scan *s, void *arg, u64 location, const u8 *page)
{
	s->r->data_only++;
	return s->ops->data_only ? s->ops->data_only(s->ctx, location, page) : 0;
}

/* Logs the data-only pages (or nothing) at the new beginning and makes them durable. */
static int begin_anew(struct scan *s, u64 tail, u64 fresh_seq)
{
	struct md_recovery_result *r = s->r;
	struct rewrite w = {
		.at = r->valid ? r->head : 0,
		.seq = r->valid ? r->seq + SEQ_JUMP : fresh_seq,
	};
	int err;

	w.room = s->size / MD_LOG_SECTORS;
	if (r->valid)
		w.room -= (r->head + s->size - tail) % s->size / MD_LOG_SECTORS + 1;
	r->tail = w.at;
	md_log_begin(s->meta, w.seq, w.at);
	err = for_data_only(s, each_rewrite, &w);
	if (!err && (w.pages || !w.units))
		err = close_unit(s, &w);
	if (!err)
		err = s->ops->flush(s->ctx, MD_JOURNAL_SLOT);
	r->head = w.at;
	r->seq = w.seq;
	return err;
}

static int finish(struct scan *s, u64 tail, u64 fresh_seq)
{
	int err = 0;

	for (u32 b = 0; b < BUCKETS && !err; b++) {
		struct found *f;

		list_for_each_entry (f, &s->bucket[b], link)
			if (f->complete && !err)
				err = replay(s, f);
	}
	for (u32 i = 0; i < s->g->disks && !err && !s->dry; i++) {
		err = s->ops->flush(s->ctx, i);
		if (err == -ENODEV)
			err = 0;
	}
	if (!err && !s->dry)
		err = begin_anew(s, tail, fresh_seq);
	return err ? err : for_data_only(s, each_report, NULL);
}

int md_journal_recover(const struct md_geo *g, u64 log_sectors, u64 tail, const u8 set_uuid[16], u64 fresh_seq,
		       const struct md_recovery_ops *ops, void *ctx, bool dry, struct md_recovery_result *out)
{
	struct scan *s;
	int err;

	*out = (struct md_recovery_result){ .tail = tail };
	if (!md_level_has_parity(g->level))
		return fail(EINVAL, "an array of level %d has no journal", g->level);
	log_sectors = ALIGN_DOWN(log_sectors, (u64)MD_LOG_SECTORS);
	if (tail >= log_sectors || tail % MD_LOG_SECTORS)
		return fail(EINVAL, "journal tail %llu outside the journal", (unsigned long long)tail);
	s = kzalloc(sizeof(*s), ALLOC_KERNEL);
	if (!s)
		return -ENOMEM;
	s->g = g;
	s->ops = ops;
	s->ctx = ctx;
	s->size = log_sectors;
	s->seed = md_log_seed(set_uuid);
	s->dry = dry;
	s->r = out;
	for (u32 b = 0; b < BUCKETS; b++)
		list_init(&s->bucket[b]);
	err = follow(s, tail);
	if (!err)
		err = finish(s, tail, fresh_seq);
	for (u32 b = 0; b < BUCKETS; b++)
		while (!list_empty(&s->bucket[b]))
			forget(s, list_first_entry(&s->bucket[b], struct found, link));
	kfree(s);
	return err;
}
