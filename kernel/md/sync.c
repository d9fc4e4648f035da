/* SPDX-License-Identifier: MIT
 *
 * Problem: parity that may be stale and members that are new must be brought up to date while the array is in use.
 *
 * Idea: a pass over all stripes in windows. Each stripe of a window goes through the same state machine as writes do,
 * so it cannot interleave with one; when a window is complete, the position (and with it what may be read from a
 * member being rebuilt) moves on. Every CHECKPOINT of the way, and at the end, the superblocks record it.
 *
 *	resync, repair	read everything, compare, write the parity that differs
 *	check		read everything, compare, count
 *	recover		reconstruct the slots that are not in sync, write them to their new members
 *
 * Contract: md/engine.h.
 *
 * Locks: the engine's.
 */
#include <core/log.h>
#include <lib/err.h>
#include <lib/string.h>
#include "engine_priv.h"

#define WINDOW     64 /* stripes at once, at most a quarter of the cache */
#define CHECKPOINT 16 /* parts of the whole */

u64 sync_rebuilding(const struct md_engine *e)
{
	return array_failed(e) & slots_writable(e);
}

int md_start_sync(struct md_engine *e, enum md_sync kind)
{
	if (e->sync.kind != MD_SYNC_NONE)
		return -EBUSY;
	if (e->read_only && kind != MD_SYNC_CHECK)
		return -EROFS;
	if (!e->geo.parity)
		return fail(EINVAL, "an array without redundancy has nothing to compare");
	if (kind == MD_SYNC_RECOVER ? !sync_rebuilding(e) : array_failed(e) != 0 && !e->pers->repairs_degraded)
		return fail(EINVAL, kind == MD_SYNC_RECOVER ? "nothing to rebuild" : "the array is degraded");
	e->sync.kind = kind;
	e->sync.position = e->sync.window_end = 0;
	e->sync.stop = e->sync.hold = false;
	e->sync.mismatches = 0;
	e->sync.err = 0;
	if (kind == MD_SYNC_RECOVER) {
		e->sync.position = e->geo.member_sectors;
		for (u64 m = sync_rebuilding(e); m; m &= m - 1)
			e->sync.position = min(e->sync.position, e->member[__builtin_ctzll(m)].recovered);
		e->sync.position = ALIGN_DOWN(e->sync.position, MD_PAGE_SECTORS);
	} else if (kind == MD_SYNC_RESYNC && e->parity_good != MD_CLEAN) {
		e->sync.position = ALIGN_DOWN(e->parity_good, MD_PAGE_SECTORS);
	}
	e->sync.window_end = e->sync.position;
	return 0;
}

void md_stop_sync(struct md_engine *e)
{
	e->sync.stop = true;
}

void md_hold_sync(struct md_engine *e, bool hold)
{
	e->sync.hold = hold;
}

/* A crash now should not cost the way so far. While writes are under way nothing below a resync's position counts. */
static void checkpoint(struct md_engine *e, enum md_sync kind)
{
	if (kind == MD_SYNC_RECOVER || (kind != MD_SYNC_CHECK && !e->dirty))
		meta_want(e);
}

static void sync_finish(struct md_engine *e)
{
	enum md_sync kind = e->sync.kind;

	bool whole = !e->sync.err && e->sync.position >= e->geo.member_sectors;

	e->sync.ended = !whole && !e->sync.err;
	e->sync.kind = MD_SYNC_NONE;
	if (whole && kind == MD_SYNC_RECOVER)
		for (u64 m = sync_rebuilding(e); m; m &= m - 1)
			e->member[__builtin_ctzll(m)].in_sync = true;
	else if (whole && kind != MD_SYNC_CHECK)
		e->parity_good = MD_CLEAN;
	if (whole && kind != MD_SYNC_CHECK)
		intent_pass_done(e);
	checkpoint(e, kind);
}

static void window_complete(struct md_engine *e)
{
	u64 part = max(e->geo.member_sectors / CHECKPOINT, (u64)MD_PAGE_SECTORS);
	u64 before = e->sync.position;

	e->sync.position = e->sync.window_end;
	e->sync.done += e->sync.window_end - e->sync.window_start;
	if (e->sync.kind == MD_SYNC_RECOVER)
		for (u64 m = sync_rebuilding(e); m; m &= m - 1)
			e->member[__builtin_ctzll(m)].recovered = e->sync.position;
	else if (e->sync.kind != MD_SYNC_CHECK && e->parity_good != MD_CLEAN)
		e->parity_good = max(e->parity_good, e->sync.position);
	if (before / part != e->sync.position / part)
		checkpoint(e, e->sync.kind);
}

/* Where the pass finds work again. */
static u64 skip(const struct md_engine *e)
{
	bool by_bitmap = e->sync.kind == MD_SYNC_RESYNC;

	if (e->sync.kind == MD_SYNC_RECOVER) {
		by_bitmap = true;
		for (u64 m = sync_rebuilding(e); m; m &= m - 1)
			by_bitmap &= e->member[__builtin_ctzll(m)].by_bitmap;
	}
	return by_bitmap ? intent_skip(e, e->sync.position) : e->sync.position;
}

u64 sync_targets(const struct md_engine *e, u64 sector, u32 sectors)
{
	u64 slots = sync_rebuilding(e);
	bool needed = intent_needs(e, sector, sectors);

	for (u64 m = slots; m && !needed; m &= m - 1)
		if (e->member[__builtin_ctzll(m)].by_bitmap)
			slots &= ~(m & -m);
	return slots;
}

bool sync_wants(const struct md_engine *e, u64 sector, u32 sectors)
{
	if (e->sync.kind == MD_SYNC_RECOVER)
		return sync_targets(e, sector, sectors);
	return e->sync.kind != MD_SYNC_RESYNC || intent_needs(e, sector, sectors);
}

/* Nobody is left to agree with. */
static bool is_last_copy(const struct md_engine *e)
{
	return e->geo.level == 1 && __builtin_popcountll(array_failed(e)) == (int)e->geo.disks - 1;
}

/* Starts the next window when the last one is over. A window may have nothing to do. */
void sync_pump(struct md_engine *e)
{
	while (e->sync.kind != MD_SYNC_NONE && !e->sync.inflight && !meta_is_flushed(e)) {
		u32 window = e->nstripes ? clamp(e->nstripes / 4, 1u, (u32)WINDOW) : WINDOW;

		if (e->sync.window_end > e->sync.position)
			window_complete(e);
		if (e->sync.kind != MD_SYNC_RECOVER && is_last_copy(e))
			e->sync.position = e->sync.window_end = e->geo.member_sectors;
		if (e->sync.err || e->sync.stop || e->sync.position >= e->geo.member_sectors) {
			sync_finish(e);
			return;
		}
		if (e->sync.hold)
			return;
		e->sync.window_end = e->sync.window_start = skip(e);
		while (window-- && e->sync.window_end < e->geo.member_sectors)
			if (!e->pers->sync_at(e, &e->sync.window_end))
				break;
		if (e->sync.window_end == e->sync.position && !e->sync.err)
			return;
	}
}

void sync_step_done(struct md_engine *e, u64 sector, int err)
{
	if (err && !e->sync.err) {
		e->sync.err = err;
		log_err("md: sync stopped at sector %llu", (unsigned long long)sector);
	}
	e->sync.inflight--;
}

/* Reads everything anew once: cached pages would compare memory with itself. */
static int read_all(struct md_engine *e, struct md_stripe *sh)
{
	if (!sh->sync_read)
		for (u32 i = 0; i < e->geo.disks; i++)
			sh->s[i].flags = 0;
	sh->sync_read = true;
	return stripe_require(e, sh, BIT(e->geo.disks - 1) | (BIT(e->geo.disks - 1) - 1));
}

/* Counts a difference and, unless only checking, starts the writes that repair it. */
static void compare(struct md_engine *e, struct md_stripe *sh)
{
	bool differs;
	u32 p, q;

	md_geo_parity(&e->geo, sh->sector / e->geo.chunk, &p, &q);
	parity_generate(e, sh, e->scratch[0], e->scratch[1]);
	differs = memcmp(e->scratch[0], sh->s[p].page, PAGE_BYTES) ||
		  (q != MD_NO_SLOT && memcmp(e->scratch[1], sh->s[q].page, PAGE_BYTES));
	e->sync.mismatches += differs ? MD_PAGE_SECTORS : 0;
	if (!differs || sh->sync == MD_SYNC_CHECK)
		return;
	memcpy(sh->s[p].page, e->scratch[0], PAGE_BYTES);
	stripe_rq(e, sh, p, MD_WRITE, sh->s[p].page, 0);
	if (q != MD_NO_SLOT) {
		memcpy(sh->s[q].page, e->scratch[1], PAGE_BYTES);
		stripe_rq(e, sh, q, MD_WRITE, sh->s[q].page, 0);
	}
}

static void rebuild(struct md_engine *e, struct md_stripe *sh)
{
	for (u64 m = sync_targets(e, sh->sector, MD_PAGE_SECTORS); m; m &= m - 1)
		stripe_rq(e, sh, __builtin_ctzll(m), MD_WRITE, sh->s[__builtin_ctzll(m)].page, 0);
}

/* The turn of a stripe with nothing dirty and no write waiting: read, then write what is wrong, then done. Called
 * again after each round of I/O. */
void sync_run(struct md_engine *e, struct md_stripe *sh)
{
	int r = 0;

	if (!sh->sync_written) {
		r = sh->sync == MD_SYNC_RECOVER ? stripe_require(e, sh, sync_targets(e, sh->sector, MD_PAGE_SECTORS))
						: read_all(e, sh);
		if (r > 0)
			return;
	}
	if (!r && !sh->sync_written) {
		sh->sync_written = true;
		if (sh->sync == MD_SYNC_RECOVER)
			rebuild(e, sh);
		else
			compare(e, sh);
		if (sh->inflight)
			return;
	}
	if (r && sh->sync == MD_SYNC_RECOVER) /* what cannot be rebuilt is recorded */
		r = array_lost(e, sync_targets(e, sh->sector, MD_PAGE_SECTORS), sh->sector, MD_PAGE_SECTORS);
	sync_step_done(e, sh->sector, r ? r : sh->err);
	sh->sync = MD_SYNC_NONE;
	sh->sync_read = sh->sync_written = false;
	sh->err = 0;
	list_add_tail(&sh->link, &e->ready);
}
