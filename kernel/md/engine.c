/* SPDX-License-Identifier: MIT
 *
 * Problem: requests of any size and alignment arrive; parity is a matter of whole pages at one place of all
 * members, and only a bounded number of those fits in memory.
 *
 * Idea: a request is cut into segments, one a page; segments queue at stripes; stripes come from a fixed cache with
 * a hash and an LRU list. When none is free the request stays at the head of `stalled` (first come, first served)
 * until one is. md_run is the only place where anything happens: completions, then stripes with something to do,
 * then stalled requests, then the journal, its reclaim, superblocks, the sync pass; until all of them are quiet.
 *
 * Contract: md/engine.h.
 *
 * Locks: none of its own; the owner serialises.
 */
#include <alloc/slab.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/string.h>
#include "engine_priv.h"

#define DEFAULT_STRIPES 128

void engine_submit(struct md_engine *e, struct md_rq *rq)
{
	e->inflight++;
	if (rq->dir == MD_FLUSH)
		e->stat_flushes++;
	else if (rq->slot != MD_JOURNAL_SLOT && rq->dir == MD_READ)
		e->stat_reads++;
	else if (rq->slot != MD_JOURNAL_SLOT)
		e->stat_writes++;
	e->ops->submit(e->ctx, rq);
}

void md_complete(struct md_engine *e, struct md_rq *rq, int err)
{
	rq->err = err;
	list_add_tail(&rq->link, &e->completed);
}

/* ---- segments and requests ---- */

static void io_finish(struct md_engine *e, struct md_io *io)
{
	list_add_tail(&io->link, &e->finished);
}

void seg_done(struct md_engine *e, struct md_seg *seg, int err)
{
	struct md_io *io = seg->io;

	if (err && !io->err)
		io->err = err;
	if (--io->pending == 0)
		io_finish(e, io);
}

/* Copies between a segment's part of the request's vectors and its part of a page. */
void seg_copy(struct md_seg *seg, u8 *page, bool to_page)
{
	const struct md_vec *v = seg->io->vec;
	size_t skip = seg->io_offset, done = 0;

	for (; skip >= v->bytes; v++)
		skip -= v->bytes;
	for (; done < seg->bytes; v++, skip = 0) {
		size_t n = min(v->bytes - skip, seg->bytes - done);
		u8 *outer = (u8 *)v->base + skip, *inner = page + seg->first + done;

		memcpy(to_page ? inner : outer, to_page ? outer : inner, n);
		done += n;
	}
}

/* Cuts a request at page boundaries. */
static int cut(struct md_io *io)
{
	u64 first = io->sector, end = io->sector + io->sectors;
	u32 n = DIV_ROUND_UP(end, MD_PAGE_SECTORS) - first / MD_PAGE_SECTORS;

	io->seg = kcalloc(n, sizeof(*io->seg), ALLOC_KERNEL);
	if (!io->seg)
		return -ENOMEM;
	for (u32 i = 0; i < n; i++) {
		u64 stop = min(ALIGN_DOWN(first, MD_PAGE_SECTORS) + MD_PAGE_SECTORS, end);

		io->seg[i] = (struct md_seg){
			.io = io,
			.io_offset = (first - io->sector) * 512,
			.first = first % MD_PAGE_SECTORS * 512,
			.bytes = (stop - first) * 512,
		};
		first = stop;
	}
	io->nseg = io->pending = n;
	io->attached = 0;
	return 0;
}

static int io_refused(const struct md_engine *e, const struct md_io *io)
{
	size_t bytes = 0;

	if (io->sector > e->geo.sectors || io->sectors > e->geo.sectors - io->sector)
		return -EINVAL;
	for (unsigned i = 0; i < io->nvec; i++)
		bytes += io->vec[i].bytes;
	if (bytes < (u64)io->sectors * 512 || io->sectors > 1 << 22)
		return -EINVAL;
	return io->dir == MD_WRITE && e->read_only ? -EROFS : 0;
}

void md_submit(struct md_engine *e, struct md_io *io)
{
	io->seg = NULL;
	io->err = io_refused(e, io);
	if (io->dir != MD_READ)
		e->quiescing = false;
	/* What a journal acknowledged is durable already. */
	if (!io->err && (io->dir == MD_FLUSH || io->flags & MD_PREFLUSH) && !journal_active(e)) {
		list_add_tail(&io->link, &e->flush_wait);
		return;
	}
	if (!io->err && io->sectors)
		io->err = cut(io);
	if (io->err || !io->sectors)
		io_finish(e, io);
	else
		list_add_tail(&io->link, &e->stalled);
}

/* Gives a request's segments to their stripes; false when a stripe is lacking. */
static bool attach(struct md_engine *e, struct md_io *io)
{
	while (io->attached < io->nseg) {
		struct md_seg *seg = &io->seg[io->attached];
		u64 sector = io->sector + seg->io_offset / 512, at;
		struct md_stripe *sh;
		u32 d, slot;

		md_geo_map(&e->geo, sector, &at, &d);
		sh = stripe_get(e, ALIGN_DOWN(at, MD_PAGE_SECTORS));
		if (!sh)
			return false;
		slot = md_geo_slot(&e->geo, at / e->geo.chunk, d);
		list_add_tail(&seg->link, io->dir == MD_READ ? &sh->s[slot].toread : &sh->s[slot].towrite);
		stripe_ready(e, sh);
		io->attached++;
	}
	return true;
}

/* ---- the stripe cache ---- */

static struct list *bucket(const struct md_engine *e, u64 sector)
{
	return &e->hash[(sector / MD_PAGE_SECTORS * 0x9e3779b97f4a7c15ULL >> 40) & e->hash_mask];
}

struct md_stripe *stripe_get(struct md_engine *e, u64 sector)
{
	struct md_stripe *sh;

	list_for_each_entry (sh, bucket(e, sector), hash)
		if (sh->sector == sector)
			return sh;
	sh = list_first_or_null(&e->lru, struct md_stripe, link);
	if (!sh)
		return NULL;
	if (sh->known)
		list_del(&sh->hash);
	sh->known = true;
	sh->sector = sector;
	sh->bad = 0;
	for (u32 i = 0; i < e->geo.disks; i++)
		sh->s[i].flags = 0;
	list_add(&sh->hash, bucket(e, sector));
	return sh;
}

/* Nothing to do: on the LRU list, or among those whose data only the journal has. */
void stripe_park(struct md_engine *e, struct md_stripe *sh)
{
	bool dirty = stripe_flag_mask(e, sh, DIRTY);

	sh->parked = true;
	e->busy--;
	e->ncached += dirty;
	list_add_tail(&sh->link, dirty ? &e->cached : &e->lru);
}

/* Has it run by md_run, if it is parked; otherwise it looks at its queues when its I/O is over. */
void stripe_ready(struct md_engine *e, struct md_stripe *sh)
{
	if (!sh->parked)
		return;
	sh->parked = false;
	e->busy++;
	if (stripe_flag_mask(e, sh, DIRTY))
		e->ncached--;
	list_move_tail(&sh->link, &e->ready);
}

static void stripe_free(struct md_stripe *sh, u32 disks)
{
	for (u32 i = 0; sh && i < disks; i++) {
		kfree(sh->s[i].page);
		kfree(sh->s[i].old);
	}
	kfree(sh);
}

static struct md_stripe *stripe_new(u32 disks)
{
	struct md_stripe *sh = kzalloc(sizeof(*sh) + disks * sizeof(sh->s[0]), ALLOC_KERNEL);

	for (u32 i = 0; sh && i < disks; i++) {
		struct slot_page *s = &sh->s[i];

		s->page = kmalloc(PAGE_BYTES, ALLOC_KERNEL);
		s->old = kmalloc(PAGE_BYTES, ALLOC_KERNEL);
		if (!s->page || !s->old) {
			stripe_free(sh, disks);
			return NULL;
		}
		list_init(&s->toread);
		list_init(&s->towrite);
		list_init(&s->batch);
	}
	return sh;
}

/* ---- flush of all members ---- */

static void flush_finish(struct md_engine *e)
{
	struct md_io *io, *next;
	bool wait = e->meta_wanted > e->meta_written;

	list_for_each_entry_safe (io, next, &e->flush_now, link) {
		list_del(&io->link);
		io->flags &= ~MD_PREFLUSH;
		list_add_tail(&io->link, wait ? &e->meta_ios : io->sectors ? &e->stalled : &e->finished);
		if (!wait && io->sectors && cut(io) < 0) {
			io->err = -ENOMEM;
			list_move_tail(&io->link, &e->finished);
		}
	}
	if (e->flush_reclaim_now)
		reclaim_members_flushed(e, wait ? -EAGAIN : 0);
	if (e->flush_meta_now)
		meta_flush_done(e);
	e->flush_reclaim_now = e->flush_meta_now = false;
}

static void flush_done(struct md_engine *e, struct md_rq *rq, int err)
{
	if (err)
		array_member_error(e, rq->slot);
	if (--e->flush_inflight == 0)
		flush_finish(e);
}

/* Starts a round when one is wanted and none runs. */
void flush_start(struct md_engine *e)
{
	u64 slots = slots_writable(e);

	if (e->flush_inflight || (list_empty(&e->flush_wait) && !e->flush_reclaim_wanted && !e->flush_meta_wanted))
		return;
	list_splice_tail_init(&e->flush_wait, &e->flush_now);
	e->flush_reclaim_now = e->flush_reclaim_wanted;
	e->flush_meta_now = e->flush_meta_wanted;
	e->flush_reclaim_wanted = e->flush_meta_wanted = false;
	e->flush_inflight = __builtin_popcountll(slots);
	if (!slots)
		flush_finish(e);
	for (; slots; slots &= slots - 1) {
		u32 i = __builtin_ctzll(slots);

		e->flush_rq[i] = (struct md_rq){ .slot = i, .dir = MD_FLUSH, .done = flush_done };
		engine_submit(e, &e->flush_rq[i]);
	}
}

/* ---- the pump ---- */

static bool run_completions(struct md_engine *e)
{
	bool any = false;

	while (!list_empty(&e->completed)) {
		struct md_rq *rq = list_first_entry(&e->completed, struct md_rq, link);

		list_del(&rq->link);
		e->inflight--;
		rq->done(e, rq, rq->err);
		any = true;
	}
	return any;
}

static bool run_stripes(struct md_engine *e)
{
	bool any = false;

	while (!list_empty(&e->ready)) {
		struct md_stripe *sh = list_first_entry(&e->ready, struct md_stripe, link);

		list_del_init(&sh->link);
		stripe_run(e, sh);
		any = true;
	}
	return any;
}

static bool run_finished(struct md_engine *e)
{
	bool any = false;

	while (!list_empty(&e->finished)) {
		struct md_io *io = list_first_entry(&e->finished, struct md_io, link);

		list_del(&io->link);
		kfree(io->seg);
		io->seg = NULL;
		io->done(io, io->err);
		any = true;
	}
	return any;
}

static void run_stalled(struct md_engine *e)
{
	while (!list_empty(&e->stalled)) {
		struct md_io *io = list_first_entry(&e->stalled, struct md_io, link);

		list_del_init(&io->link);
		if (!attach(e, io)) {
			list_add(&io->link, &e->stalled);
			return;
		}
	}
}

void md_run(struct md_engine *e)
{
	bool again;

	do {
		again = run_completions(e);
		run_stalled(e);
		again |= run_stripes(e);
		journal_close_unit(e);
		journal_pump(e);
		reclaim_pump(e);
		sync_pump(e);
		meta_pump(e);
		flush_start(e);
		again |= run_finished(e);
	} while (again || !list_empty(&e->completed) || !list_empty(&e->ready));
}

bool md_is_idle(const struct md_engine *e)
{
	return !e->inflight && !e->busy && list_empty(&e->stalled) && list_empty(&e->finished) &&
	       list_empty(&e->flush_wait) && e->meta_wanted == e->meta_written && e->sync.kind == MD_SYNC_NONE &&
	       !(e->quiescing && e->ncached) && e->j.reclaim == RECLAIM_IDLE;
}

/* ---- life ---- */

void md_engine_destroy(struct md_engine *e)
{
	if (!e)
		return;
	for (u32 i = 0; e->all && i < e->nstripes; i++)
		stripe_free(e->all[i], e->geo.disks);
	journal_free(e);
	kfree(e->all);
	kfree(e->hash);
	kfree(e->member);
	kfree(e->flush_rq);
	kfree(e->zero);
	kfree(e->scratch[0]);
	kfree(e->scratch[1]);
	kfree(e);
}

static int alloc_cache(struct md_engine *e, u32 stripes)
{
	e->nstripes = stripes ? stripes : DEFAULT_STRIPES;
	e->hash_mask = 1;
	while (e->hash_mask < e->nstripes)
		e->hash_mask <<= 1;
	e->hash = kcalloc(e->hash_mask, sizeof(*e->hash), ALLOC_KERNEL);
	e->all = kcalloc(e->nstripes, sizeof(*e->all), ALLOC_KERNEL);
	e->zero = kzalloc(PAGE_BYTES, ALLOC_KERNEL);
	e->scratch[0] = kmalloc(PAGE_BYTES, ALLOC_KERNEL);
	e->scratch[1] = kmalloc(PAGE_BYTES, ALLOC_KERNEL);
	if (!e->hash || !e->all || !e->zero || !e->scratch[0] || !e->scratch[1])
		return -ENOMEM;
	for (u32 i = 0; i < e->hash_mask; i++)
		list_init(&e->hash[i]);
	e->hash_mask--;
	for (u32 i = 0; i < e->nstripes; i++) {
		struct md_stripe *sh = e->all[i] = stripe_new(e->geo.disks);

		if (!sh)
			return -ENOMEM;
		sh->parked = true;
		list_add_tail(&sh->link, &e->lru);
	}
	return 0;
}

static const struct md_super *freshest(const struct md_config *c)
{
	const struct md_super *best = NULL;

	for (u32 i = 0; i < MD_MAX_DISKS; i++)
		if (c->member[i].sb && (!best || c->member[i].sb->events > best->events))
			best = c->member[i].sb;
	return best;
}

static void load_members(struct md_engine *e, const struct md_config *c)
{
	for (u32 i = 0; i < e->geo.disks; i++) {
		const struct md_member_config *m = &c->member[i];

		if (!m->sb)
			continue;
		e->member[i] = (struct member){ .present = true, .in_sync = m->in_sync, .sb = *m->sb };
		if (!m->in_sync)
			e->member[i].recovered = m->sb->recovery_offset;
	}
}

static void init_lists(struct md_engine *e)
{
	struct list *all[] = { &e->lru,        &e->ready,     &e->cached,    &e->stalled,
			       &e->finished,   &e->completed, &e->meta_wait, &e->meta_ios,
			       &e->flush_wait, &e->flush_now, &e->j.units,   &e->j.space_wait };

	for (unsigned i = 0; i < ARRAY_SIZE(all); i++)
		list_init(all[i]);
}

int md_engine_create(struct md_engine **out, const struct md_config *c)
{
	const struct md_super *sb = freshest(c);
	struct md_engine *e;
	int err;

	if (!sb)
		return fail(EINVAL, "array without members");
	e = kzalloc(sizeof(*e), ALLOC_KERNEL);
	if (!e)
		return -ENOMEM;
	init_lists(e);
	e->ops = c->ops;
	e->ctx = c->ctx;
	e->now = c->now;
	e->read_only = c->read_only;
	e->events = sb->events;
	e->resync_offset = sb->resync_offset;
	e->parity_good = c->journal || c->trust_parity ? MD_CLEAN : sb->resync_offset;
	err = md_geo_init(&e->geo, sb->level, sb->layout, sb->raid_disks, sb->chunk, sb->size);
	if (err < 0)
		goto out;
	err = -ENOMEM;
	e->member = kcalloc(e->geo.disks, sizeof(*e->member), ALLOC_KERNEL);
	e->flush_rq = kcalloc(e->geo.disks, sizeof(*e->flush_rq), ALLOC_KERNEL);
	if (!e->member || !e->flush_rq)
		goto out;
	load_members(e, c);
	err = alloc_cache(e, c->stripes);
	if (err < 0)
		goto out;
	err = journal_init(e, c);
	if (err < 0)
		goto out;
	if (__builtin_popcountll(array_failed(e)) > e->geo.parity)
		err = fail(EINVAL, "%d of %u members are missing", __builtin_popcountll(array_failed(e)), e->geo.disks);
out:
	if (err < 0) {
		md_engine_destroy(e);
		return err;
	}
	*out = e;
	return 0;
}

const struct md_geo *md_engine_geo(const struct md_engine *e)
{
	return &e->geo;
}

int md_inject(struct md_engine *e, u64 array_sector, const void *page)
{
	struct md_stripe *sh;
	u64 at;
	u32 d, slot;

	md_geo_map(&e->geo, array_sector, &at, &d);
	sh = stripe_get(e, ALIGN_DOWN(at, MD_PAGE_SECTORS));
	if (!sh || (!sh->parked && (sh->phase != IDLE || sh->op != OP_NONE)))
		return -EBUSY;
	slot = md_geo_slot(&e->geo, at / e->geo.chunk, d);
	if (!sh->reserved && !journal_reserve(e, sh, e->geo.parity + 2))
		return fail(ENOSPC, "no room in the journal for parity");
	stripe_ready(e, sh);
	journal_adopt(e, sh);
	memcpy(sh->s[slot].page, page, PAGE_BYTES);
	sh->s[slot].flags = CUR | DIRTY | LOGGED;
	sh->write_out = true;
	return 0;
}
