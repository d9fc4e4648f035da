/* SPDX-License-Identifier: MIT
 *
 * Problem: the log is a ring; its oldest part may be overwritten only when every stripe in it is safe on the
 * members, and doing that too eagerly makes write-back into write-through.
 *
 * Idea: two slow loops. *Write out*: when half of the log or three quarters of the stripe cache hold cached
 * stripes, or somebody waits for room, the oldest one and its neighbours on the members are sent on, some at a time, so
 * that what they read and write lies together. *Move the tail*:
 * when the units at the front are not needed any more and a quarter of the log is used, flush the members, then
 * write the new tail into the journal's superblock, then count the blocks as free. The tail always names a good
 * meta block: if nothing is live it is the last unit, whose replay changes nothing.
 *
 *	IDLE --front unneeded--> FLUSH (members) --> SUPER (tail) --> IDLE
 *
 * Contract: engine_priv.h.
 *
 * Locks: the engine's.
 */
#include <alloc/slab.h>
#include <core/log.h>
#include <lib/err.h>
#include <md/journal.h>
#include "engine_priv.h"

#define BATCH 64  /* stripes written out at once, */
#define SWEEP 256 /* from this many places */

static void write_out_some(struct md_engine *e)
{
	struct md_stripe *sh = list_first_entry(&e->cached, struct md_stripe, link);
	u64 at = ALIGN_DOWN(sh->sector, e->geo.chunk);

	if (sh->stuck || e->j.leaving > BATCH / 2)
		return;
	for (u32 places = 0; e->j.leaving < BATCH && places < SWEEP && e->ncached; places++, at += MD_PAGE_SECTORS) {
		if (at >= e->geo.member_sectors)
			return;
		sh = stripe_find(e, at);
		if (!sh || !sh->parked || sh->stuck || !stripe_flag_mask(e, sh, DIRTY))
			continue;
		sh->write_out = sh->leaving = true;
		e->j.leaving++;
		stripe_ready(e, sh);
	}
}

static bool short_of_room(const struct md_engine *e)
{
	return !list_empty(&e->j.space_wait) || !list_empty(&e->stalled);
}

static bool wants_write_out(const struct md_engine *e)
{
	const struct journal *j = &e->j;

	return short_of_room(e) || e->quiescing || array_failed(e) || j->failed || j->mode == MD_WRITE_THROUGH ||
	       e->sync.kind != MD_SYNC_NONE || j->used + j->reserved > j->blocks / 2 ||
	       e->ncached > e->nstripes / 4 * 3;
}

static void wake_waiters(struct md_engine *e)
{
	list_splice_tail_init(&e->j.space_wait, &e->ready);
}

/* Drops units that are over; true if the tail could move. It stays at the last of them while the next one is not
 * durable: a crash would find there what the log held a round ago. */
static bool find_tail(struct md_engine *e)
{
	struct journal *j = &e->j;
	struct md_unit *u;

	while (!list_empty(&j->units)) {
		u = list_first_entry(&j->units, struct md_unit, link);
		if (u->state != UNIT_DURABLE)
			break;
		j->next_tail = u->position;
		j->moved = true;
		if (u->live)
			break;
		list_del(&u->link);
		kfree(u->meta);
		kfree(u->rq);
		kfree(u);
	}
	return j->moved && j->next_tail != j->tail;
}

static void super_done(struct md_engine *e, struct md_rq *rq, int err)
{
	struct journal *j = &e->j;
	u64 size = j->blocks * MD_LOG_SECTORS;

	j->reclaim = RECLAIM_IDLE;
	if (err) {
		if (!j->failed)
			array_journal_failed(e);
	} else {
		j->tail = j->super_tail;
		j->used = (j->head + size - j->tail) % size / MD_LOG_SECTORS;
	}
	wake_waiters(e);
}

/* The members hold everything before super_tail; or one failed (err), and until the superblocks say so it could come
 * back with what its cache lost: the journal keeps that, reclaim_pump tries again afterwards. */
void reclaim_members_flushed(struct md_engine *e, int err)
{
	struct journal *j = &e->j;
	struct member *d = &j->dev;

	if (err) {
		j->reclaim = RECLAIM_IDLE;
		return;
	}
	j->reclaim = RECLAIM_SUPER;
	d->sb.recovery_offset = j->super_tail;
	md_super_build(&d->sb, d->buf);
	d->rq = (struct md_rq){
		.slot = MD_JOURNAL_SLOT,
		.dir = MD_WRITE,
		.flags = MD_FUA,
		.sector = d->sb.super_offset,
		.bytes = MD_SUPER_BYTES,
		.buf = d->buf,
		.done = super_done,
	};
	engine_submit(e, &d->rq);
}

void reclaim_pump(struct md_engine *e)
{
	struct journal *j = &e->j;

	if (!j->present)
		return;
	if (e->ncached && wants_write_out(e))
		write_out_some(e);
	if (j->failed) {
		find_tail(e);
		wake_waiters(e);
		return;
	}
	if (j->reclaim != RECLAIM_IDLE || e->meta_running || e->meta_wanted != e->meta_written)
		return;
	if (!find_tail(e)) {
		/* Nothing is live, yet the last unit takes room: a small one takes its place. */
		if (list_empty(&j->units) && j->used > 1 && (e->quiescing || !list_empty(&j->space_wait)))
			journal_mark(e);
		return;
	}
	if (j->used < j->blocks / 4 && list_empty(&j->space_wait) && !e->quiescing)
		return;
	j->super_tail = j->next_tail;
	j->reclaim = RECLAIM_FLUSH;
	e->flush_reclaim_wanted = true;
}
