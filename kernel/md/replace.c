/* SPDX-License-Identifier: MIT
 *
 * Problem: a member that still works is to leave, and until another has everything that it has, the array must not be
 * without it.
 *
 * Idea: an *heir*: a device beside the slot's member. Whatever is written to the member is written to the heir, too; a
 * rebuild (sync.c) copies what stands there already, from the member if it can be read, otherwise from the others.
 *
 *	none --add--> behind --the pass is done--> whole -.
 *	                 |  '--the member fails------------+--> waits --nothing is under way, inherit--> none, it is the
 *member
 *	                 '--it fails--> faulty --add--> behind
 *
 * While an heir waits no request begins, so that soon nothing is under way: then slot numbers mean other devices. One
 * that inherits before it has everything is an ordinary member that is being rebuilt, from where it was.
 *
 * On disk it is Linux's: a superblock with the slot as its role, MD_FEATURE_REPLACEMENT and how far it has come. After
 *a crash it begins anew: writes that were under way may have reached one of the two.
 *
 * Contract: md/engine.h, engine_priv.h.
 *
 * Locks: the engine's.
 */
#include <linux/raid/md_p.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/string.h>
#include "engine_priv.h"

u64 heirs_behind(const struct md_engine *e)
{
	u64 behind = 0;

	for (u64 m = e->heirs; m; m &= m - 1)
		if (!e->heir[__builtin_ctzll(m)].in_sync)
			behind |= m & -m;
	return behind;
}

static u64 heirs_faulty(const struct md_engine *e)
{
	u64 faulty = 0;

	for (u32 i = 0; i < e->geo.disks; i++)
		if (e->heir[i].faulty)
			faulty |= BIT(i);
	return faulty;
}

u64 heirs_wait(const struct md_engine *e)
{
	return e->heirs && e->sync.kind == MD_SYNC_NONE ? e->heirs & (~heirs_behind(e) | ~slots_writable(e)) : 0;
}

static bool is_still(const struct md_engine *e)
{
	return !e->inflight && !e->busy && ppl_is_idle(e);
}

void heir_fail(struct md_engine *e, u32 slot)
{
	e->heir[slot].faulty = true;
	e->heirs &= ~BIT(slot);
	log_warn("md: the replacement of member %u failed", slot);
	if (e->sync.kind == MD_SYNC_RECOVER && !(members_behind(e) | heirs_behind(e)))
		md_stop_sync(e);
	array_must_record(e);
}

void heir_written(struct md_engine *e, const struct md_rq *rq, int err)
{
	if (err)
		array_member_error(e, rq->slot);
	else
		array_wrote(e, rq->slot, rq->sector, rq->bytes);
}

int heir_load(struct md_engine *e, u32 slot, const struct md_member_config *c, bool clean)
{
	struct member *m = &e->heir[slot];
	int err;

	if (!e->member[slot].present || !e->geo.parity)
		return fail(EINVAL, "a replacement of member %u, which is not there", slot);
	err = member_load(m, c);
	if (err)
		return err;
	m->in_sync = m->in_sync && clean;
	m->recovered = !clean ? 0 : m->in_sync ? e->geo.member_sectors : m->recovered;
	e->heirs |= BIT(slot);
	return 0;
}

static int check(struct md_engine *e, u32 slot, const struct md_super *sb)
{
	int err;

	if (slot >= e->geo.disks || !e->geo.parity || array_failed(e) & BIT(slot))
		return fail(EINVAL, "slot %u has no member that could be replaced", slot);
	if (e->heirs & BIT(slot) || e->meta_inflight || e->sync.kind != MD_SYNC_NONE)
		return -EBUSY;
	if (sb->data_size < e->geo.member_sectors)
		return fail(ENOSPC, "a replacement of %llu sectors, %llu are needed", (unsigned long long)sb->data_size,
			    (unsigned long long)e->geo.member_sectors);
	err = intent_member_added(e, sb);
	return err ? err : ppl_fits(e, sb);
}

int md_add_heir(struct md_engine *e, u32 slot, const struct md_super *sb)
{
	struct md_bad bad;
	int err = check(e, slot, sb);

	if (err)
		return err;
	err = md_bad_init(&bad, sb);
	if (err)
		return err;
	member_free(&e->heir[slot]);
	member_init(&e->heir[slot], sb);
	e->heir[slot].bad = bad;
	e->heirs |= BIT(slot);
	meta_want(e);
	return 0;
}

int md_inherit(struct md_engine *e, u32 slot)
{
	struct member *m = &e->heir[slot];
	int err;

	if (!(heirs_wait(e) & BIT(slot)) || !is_still(e))
		return -EBUSY;
	err = intent_member_added(e, &m->sb);
	if (!err)
		err = ppl_member_added(e, slot, &m->sb);
	ensure(!err); /* both were asked when it came */
	log_info("md: member %u has been replaced%s", slot, m->in_sync ? "" : ", and is being rebuilt");
	member_free(&e->member[slot]);
	e->member[slot] = *m;
	*m = (struct member){ 0 };
	e->heirs &= ~BIT(slot);
	e->pers->member_added(e, slot);
	meta_want(e);
	return 0;
}

void heir_status(const struct md_engine *e, struct md_status *st)
{
	st->heirs = e->heirs;
	st->heirs_behind = heirs_behind(e);
	st->heirs_faulty = heirs_faulty(e);
	st->heirs_due = is_still(e) ? heirs_wait(e) : 0;
}
