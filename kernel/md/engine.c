/* SPDX-License-Identifier: MIT
 *
 * Problem: arrays differ in how they keep data, and share everything else: requests come in, members are asked, flushed
 * and lost, superblocks tell the truth about them, passes go over the whole.
 *
 * Idea: an engine and its personality (stripes with parity, or copies: struct md_personality). md_run is the only place
 * where anything happens: completions, then the personality's work, then requests that wait for room in it, then the
 * journal, its reclaim, superblocks, the sync pass; until all of them are quiet.
 *
 * Contract: md/engine.h.
 *
 * Locks: none of its own; the owner serialises.
 */
#include <linux/raid/md_p.h>
#include <alloc/slab.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/string.h>
#include "engine_priv.h"

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

/* ---- requests ---- */

void io_finish(struct md_engine *e, struct md_io *io, int err)
{
	if (err && !io->err)
		io->err = err;
	list_add_tail(&io->link, &e->finished);
}

void io_part_done(struct md_engine *e, struct md_io *io, int err)
{
	if (err && !io->err)
		io->err = err;
	if (--io->pending == 0)
		io_finish(e, io, 0);
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
	io->direct = NULL;
	io->not_direct = false;
	io->err = io_refused(e, io);
	io->counted = !io->err && io->dir == MD_WRITE;
	e->open_writes += io->counted;
	if (io->dir != MD_READ)
		e->quiescing = false;
	/* What a journal acknowledged is durable already. */
	if (!io->err && (io->dir == MD_FLUSH || io->flags & MD_PREFLUSH) && !journal_active(e)) {
		list_add_tail(&io->link, &e->flush_wait);
		return;
	}
	if (io->err || !io->sectors)
		io_finish(e, io, 0);
	else
		list_add_tail(&io->link, &e->stalled);
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
	}
	if (e->flush_reclaim_now)
		reclaim_members_flushed(e, wait ? -EAGAIN : 0);
	if (e->flush_intent_now)
		intent_flushed(e);
	if (e->flush_ppl_now)
		ppl_flushed(e, wait ? -EAGAIN : 0);
	if (e->flush_meta_now)
		meta_flush_done(e);
	e->flush_reclaim_now = e->flush_meta_now = e->flush_intent_now = e->flush_ppl_now = false;
}

static void flush_done(struct md_engine *e, struct md_rq *rq, int err)
{
	if (err)
		array_member_error(e, rq->slot);
	if (--e->flush_inflight == 0)
		flush_finish(e);
}

static void flush_one(struct md_engine *e, struct md_rq *rq, u32 slot)
{
	*rq = (struct md_rq){ .slot = slot, .dir = MD_FLUSH, .done = flush_done };
	engine_submit(e, rq);
}

/* Starts a round when one is wanted and none runs. */
void flush_start(struct md_engine *e)
{
	u64 slots = slots_writable(e);
	bool asked = !list_empty(&e->flush_wait) && !heirs_wait(e);

	if (e->flush_inflight || (!asked && !e->flush_reclaim_wanted && !e->flush_meta_wanted &&
				  !e->flush_intent_wanted && !e->flush_ppl_wanted))
		return;
	if (asked)
		list_splice_tail_init(&e->flush_wait, &e->flush_now);
	e->flush_reclaim_now = e->flush_reclaim_wanted;
	e->flush_meta_now = e->flush_meta_wanted;
	e->flush_intent_now = e->flush_intent_wanted;
	e->flush_ppl_now = e->flush_ppl_wanted;
	e->flush_reclaim_wanted = e->flush_meta_wanted = e->flush_intent_wanted = e->flush_ppl_wanted = false;
	if (e->flush_ppl_now)
		ppl_flush_begins(e);
	e->flush_inflight = (u32)(__builtin_popcountll(slots) + __builtin_popcountll(e->heirs));
	if (!e->flush_inflight)
		flush_finish(e);
	for (; slots; slots &= slots - 1)
		flush_one(e, &e->flush_rq[__builtin_ctzll(slots)], __builtin_ctzll(slots));
	for (u64 m = e->heirs; m; m &= m - 1)
		flush_one(e, &e->flush_rq[e->geo.disks + __builtin_ctzll(m)], MD_HEIR(__builtin_ctzll(m)));
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

static bool run_finished(struct md_engine *e)
{
	bool any = false;

	while (!list_empty(&e->finished)) {
		struct md_io *io = list_first_entry(&e->finished, struct md_io, link);

		list_del(&io->link);
		kfree(io->seg);
		kfree(io->direct);
		io->seg = NULL;
		io->direct = NULL;
		e->open_writes -= io->counted;
		io->done(io, io->err);
		any = true;
	}
	return any;
}

static void run_stalled(struct md_engine *e)
{
	while (!list_empty(&e->stalled) && !heirs_wait(e)) {
		struct md_io *io = list_first_entry(&e->stalled, struct md_io, link);

		list_del_init(&io->link);
		if (!e->pers->attach(e, io)) {
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
		again |= e->pers->run(e);
		journal_close_unit(e);
		journal_pump(e);
		reclaim_pump(e);
		sync_pump(e);
		meta_pump(e);
		intent_pump(e);
		ppl_pump(e);
		flush_start(e);
		again |= run_finished(e);
		/* Reclaim wants an empty unit; a log that only moves its tail has no other turn for it. */
		again |= e->j.open != NULL;
	} while (again || !list_empty(&e->completed) || e->pers->is_ready(e));
}

bool md_is_idle(const struct md_engine *e)
{
	return !e->inflight && !e->busy && list_empty(&e->stalled) && list_empty(&e->finished) &&
	       list_empty(&e->flush_wait) && e->meta_wanted == e->meta_written && e->sync.kind == MD_SYNC_NONE &&
	       !(e->quiescing && e->ncached) && e->j.reclaim == RECLAIM_IDLE && intent_is_idle(e) && ppl_is_idle(e);
}

/* ---- life ---- */

void md_engine_destroy(struct md_engine *e)
{
	if (!e)
		return;
	e->pers->free(e);
	for (u32 i = 0; e->member && e->heir && i < e->geo.disks; i++) {
		member_free(&e->member[i]);
		member_free(&e->heir[i]);
	}
	journal_free(e);
	intent_free(e);
	ppl_free(e);
	kfree(e->member);
	kfree(e->heir);
	kfree(e->flush_rq);
	kfree(e);
}

static const struct md_super *freshest(const struct md_config *c)
{
	const struct md_super *best = NULL;

	for (u32 i = 0; i < MD_MAX_DISKS; i++)
		if (c->member[i].sb && (!best || c->member[i].sb->events > best->events))
			best = c->member[i].sb;
	return best;
}

int member_load(struct member *to, const struct md_member_config *m)
{
	int err;

	member_init(to, m->sb);
	to->in_sync = m->in_sync;
	if (!m->in_sync)
		to->recovered = m->sb->recovery_offset;
	err = md_bad_init(&to->bad, m->sb);
	if (err || !(m->sb->features & MD_FEATURE_BAD_BLOCKS))
		return err;
	if (!m->bad || !to->bad.max)
		return fail(EINVAL, "a bad-block log that is not there");
	return md_bad_decode(&to->bad, m->sb, m->bad, m->dev_sectors);
}

static int load_members(struct md_engine *e, const struct md_config *c, const struct md_super *sb)
{
	int err = 0;

	for (u32 i = 0; !err && i < e->geo.disks; i++)
		if (c->member[i].sb)
			err = member_load(&e->member[i], &c->member[i]);
	for (u32 i = 0; !err && i < e->geo.disks; i++)
		if (c->heir[i].sb)
			err = heir_load(e, i, &c->heir[i], sb->resync_offset == MD_CLEAN);
	return err;
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
	e->size = sb->size;
	e->dirty = !sb->resync_offset;
	e->parity_good = c->journal.sb || c->trust_parity ? MD_CLEAN : sb->resync_offset;
	e->pers = md_level_has_parity(sb->level) ? &parity_personality : &copies_personality;
	err = md_geo_init(&e->geo, sb->level, sb->layout, sb->raid_disks, sb->chunk, sb->size);
	if (err < 0)
		goto out;
	err = -ENOMEM;
	e->member = kcalloc(e->geo.disks, sizeof(*e->member), ALLOC_KERNEL);
	e->heir = kcalloc(e->geo.disks, sizeof(*e->heir), ALLOC_KERNEL);
	e->flush_rq = kcalloc(2 * e->geo.disks, sizeof(*e->flush_rq), ALLOC_KERNEL);
	if (!e->member || !e->heir || !e->flush_rq)
		goto out;
	err = load_members(e, c, sb);
	if (err < 0)
		goto out;
	err = e->pers->init(e, c);
	if (err < 0)
		goto out;
	err = journal_init(e, &c->journal);
	if (err < 0)
		goto out;
	err = ppl_init(e, sb, c->ppl_generation);
	if (err < 0)
		goto out;
	if (c->bitmap)
		err = intent_set(e, sb, (s32)sb->bitmap_or_ppl, c->bitmap, c->bitmap_bytes);
	else if (sb->features & MD_FEATURE_BITMAP_OFFSET && !c->read_only)
		err = fail(EINVAL, "the bitmap has not been read");
	if (err < 0)
		goto out;
	if (!md_geo_serves(&e->geo, array_failed(e)))
		err = fail(EINVAL, "%d of %u members are missing", __builtin_popcountll(array_failed(e)), e->geo.disks);
	if (array_failed(e) && !e->read_only) /* who is not here misses what is written */
		array_must_record(e);
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
