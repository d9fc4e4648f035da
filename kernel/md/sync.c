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
 *	recover		reconstruct the slots that are not in sync, write them to their new members; copy slots to their
 *heirs
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

u64 members_behind(const struct md_engine *e)
{
	return array_failed(e) & slots_writable(e);
}

/* How far all that a rebuild is for have come. */
static u64 least_recovered(const struct md_engine *e)
{
	u64 least = e->geo.member_sectors;

	for (u64 m = members_behind(e); m; m &= m - 1)
		least = min(least, e->member[__builtin_ctzll(m)].recovered);
	for (u64 m = heirs_behind(e); m; m &= m - 1)
		least = min(least, e->heir[__builtin_ctzll(m)].recovered);
	return ALIGN_DOWN(least, MD_PAGE_SECTORS);
}

static void set_recovered(struct md_engine *e, u64 sectors)
{
	for (u64 m = members_behind(e); m; m &= m - 1)
		e->member[__builtin_ctzll(m)].recovered = sectors;
	for (u64 m = heirs_behind(e); m; m &= m - 1)
		e->heir[__builtin_ctzll(m)].recovered = sectors;
}

static void set_whole(struct md_engine *e)
{
	for (u64 m = heirs_behind(e); m; m &= m - 1)
		e->heir[__builtin_ctzll(m)].in_sync = true;
	for (u64 m = members_behind(e); m; m &= m - 1)
		e->member[__builtin_ctzll(m)].in_sync = true;
}

int md_start_sync(struct md_engine *e, enum md_sync kind)
{
	if (e->sync.kind != MD_SYNC_NONE || heirs_wait(e))
		return -EBUSY;
	if (e->read_only && kind != MD_SYNC_CHECK)
		return -EROFS;
	if (!e->geo.parity)
		return fail(EINVAL, "an array without redundancy has nothing to compare");
	if (kind == MD_SYNC_RECOVER ? !(members_behind(e) | heirs_behind(e))
				    : array_failed(e) != 0 && !e->pers->repairs_degraded)
		return fail(EINVAL, kind == MD_SYNC_RECOVER ? "nothing to rebuild" : "the array is degraded");
	e->sync.kind = kind;
	e->sync.position = e->sync.window_end = 0;
	e->sync.stop = e->sync.hold = false;
	e->sync.mismatches = 0;
	e->sync.err = 0;
	if (kind == MD_SYNC_RECOVER)
		e->sync.position = least_recovered(e);
	else if (kind == MD_SYNC_RESYNC && e->parity_good != MD_CLEAN)
		e->sync.position = ALIGN_DOWN(e->parity_good, MD_PAGE_SECTORS);
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
		set_whole(e);
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
		set_recovered(e, e->sync.position);
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
		by_bitmap = !heirs_behind(e);
		for (u64 m = members_behind(e); m; m &= m - 1)
			by_bitmap &= e->member[__builtin_ctzll(m)].by_bitmap;
	}
	return by_bitmap ? intent_skip(e, e->sync.position) : e->sync.position;
}

u64 sync_targets(const struct md_engine *e, u64 sector, u32 sectors)
{
	u64 slots = members_behind(e);
	bool needed = intent_needs(e, sector, sectors);

	for (u64 m = slots; m && !needed; m &= m - 1)
		if (e->member[__builtin_ctzll(m)].by_bitmap)
			slots &= ~(m & -m);
	return slots | heirs_behind(e);
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
	stripe_write(e, sh, p, 0);
	if (q != MD_NO_SLOT) {
		memcpy(sh->s[q].page, e->scratch[1], PAGE_BYTES);
		stripe_write(e, sh, q, 0);
	}
}

static void rebuild(struct md_engine *e, struct md_stripe *sh)
{
	for (u64 m = sync_targets(e, sh->sector, MD_PAGE_SECTORS); m; m &= m - 1) {
		u32 i = __builtin_ctzll(m);

		if (e->member[i].in_sync)
			stripe_write_heir(e, sh, i, 0);
		else
			stripe_write(e, sh, i, 0);
	}
}

/* What cannot be rebuilt is recorded. */
static int record_lost(struct md_engine *e, struct md_stripe *sh)
{
	u64 targets = sync_targets(e, sh->sector, MD_PAGE_SECTORS), members = targets & members_behind(e);
	int err = 0;

	for (u64 m = members; !err && m; m &= m - 1)
		err = array_lost(e, __builtin_ctzll(m), sh->sector, MD_PAGE_SECTORS);
	for (u64 m = targets & heirs_behind(e); !err && m; m &= m - 1)
		err = array_lost(e, MD_HEIR(__builtin_ctzll(m)), sh->sector, MD_PAGE_SECTORS);
	return err;
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
	if (r && sh->sync == MD_SYNC_RECOVER)
		r = record_lost(e, sh);
	sync_step_done(e, sh->sector, r ? r : sh->err);
	sh->sync = MD_SYNC_NONE;
	sh->sync_read = sh->sync_written = false;
	sh->err = 0;
	list_add_tail(&sh->link, &e->ready);
}
