/* SPDX-License-Identifier: MIT
 *
 * Problem: a running array gets a bitmap or a partial parity log, or loses it, gets more room on its members or in
 * memory, mirrors on more of them, or a journal, also in place of one that is lost.
 *
 * Idea: only while nothing is under way, so that each change is a new set of numbers and the superblocks that say so.
 * The new room of redundant arrays is not in agreement yet: it is as if a resync had been ended where it begins.
 *
 * Contract: md/engine.h. -EBUSY: something is under way; -EINVAL, -ENOSPC with a reason; nothing is half changed.
 *
 * Locks: the engine's.
 */
#include <linux/raid/md_p.h>
#include <alloc/slab.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/string.h>
#include "engine_priv.h"

static bool is_still(const struct md_engine *e)
{
	return !e->open_writes && e->sync.kind == MD_SYNC_NONE && md_is_idle(e);
}

int md_set_bitmap(struct md_engine *e, s32 offset, const void *image, size_t bytes)
{
	struct md_super *now = &e->member[__builtin_ctzll(~array_failed(e))].sb;
	int err = 0;

	if (!is_still(e))
		return -EBUSY;
	if (image && (e->intent || e->ppl))
		return fail(EBUSY, "there is a bitmap or a partial parity log already");
	now->events = e->events;
	if (image)
		err = intent_set(e, now, offset, image, bytes);
	else
		intent_free(e);
	if (!err)
		meta_want(e);
	return err;
}

static void place_logs(struct md_engine *e, const u32 *word)
{
	for (u32 i = 0; i < e->geo.disks; i++) {
		struct md_super *sb = &e->member[i].sb;

		if (!e->member[i].present || e->member[i].faulty)
			continue;
		sb->features = word ? sb->features | MD_FEATURE_PPL : sb->features & ~(u32)MD_FEATURE_PPL;
		sb->bitmap_or_ppl = word ? word[i] : 0;
	}
}

int md_set_ppl(struct md_engine *e, const u32 *word)
{
	int err = 0;

	if (!is_still(e) || e->heirs || (word && (e->intent || e->ppl || e->parity_good != MD_CLEAN || e->dirty)))
		return -EBUSY; /* what was written without it must be on the members, not in their caches */
	ppl_free(e);
	if (word) {
		place_logs(e, word);
		err = ppl_init(e, &e->member[__builtin_ctzll(slots_writable(e))].sb, 0);
	}
	if (err) {
		ppl_free(e);
		place_logs(e, NULL);
		return err;
	}
	meta_want(e);
	return 0;
}

int md_set_stripes(struct md_engine *e, u32 stripes)
{
	if (!md_level_has_parity(e->geo.level) || stripes <= 16 || stripes > 32768)
		return fail(EINVAL, "17 to 32768 stripes, for levels with parity");
	return is_still(e) ? cache_resize(e, stripes) : -EBUSY;
}

/* It was made with one, and started without it. */
static bool lacks_journal(const struct md_engine *e)
{
	return e->member[__builtin_ctzll(slots_writable(e))].sb.features & MD_FEATURE_JOURNAL;
}

/* Stripes that only the old one had are on the members when the array is still; if it was missing from the start,
 * nobody knows which it had, and parity may be stale there. */
int md_set_journal(struct md_engine *e, const struct md_journal_config *c)
{
	bool was_missing = !e->j.present && lacks_journal(e);
	int err;

	if (!is_still(e) || !e->read_only || journal_active(e) || e->ncached)
		return -EBUSY;
	if (!md_level_has_parity(e->geo.level) || e->intent || e->ppl)
		return fail(EINVAL, "this array has no place for a journal");
	journal_free(e);
	e->j = (struct journal){ 0 };
	list_init(&e->j.units);
	list_init(&e->j.space_wait);
	err = journal_init(e, c);
	if (err) {
		e->j.failed = true;
		return err;
	}
	if (was_missing && !array_failed(e))
		e->parity_good = 0;
	meta_want(e);
	return 0;
}

/* What every member has room for. */
static u64 largest(const struct md_engine *e)
{
	u64 size = ~0ULL;

	for (u32 i = 0; i < e->geo.disks; i++)
		if (e->member[i].present && !e->member[i].faulty)
			size = min(size, e->member[i].sb.data_size);
	return e->geo.chunk ? size - size % e->geo.chunk : size;
}

int md_set_size(struct md_engine *e, u64 size)
{
	u64 most = largest(e), before = e->geo.member_sectors;
	struct md_geo g;
	int err;

	if (!is_still(e))
		return -EBUSY;
	if (!e->geo.parity || e->geo.far > 1 || e->j.present || e->heirs)
		return fail(EINVAL, "this array cannot grow by size");
	size = size ? size : most;
	if (size > most)
		return fail(ENOSPC, "members of %llu sectors, there is room for %llu", (unsigned long long)size,
			    (unsigned long long)most);
	err = md_geo_init(&g, e->geo.level, e->geo.layout, e->geo.disks, e->geo.chunk, size);
	if (!err && g.member_sectors < before)
		err = fail(EINVAL, "an array cannot become smaller");
	if (!err && g.member_sectors > before)
		err = intent_resize(e, &g);
	if (err || g.member_sectors == before)
		return err;
	e->geo = g;
	e->size = size;
	e->parity_good = min(e->parity_good, before);
	meta_want(e);
	return 0;
}

int md_set_mirrors(struct md_engine *e, u32 disks)
{
	u32 keep = min(disks, e->geo.disks);
	struct member *member, *heir;
	struct md_rq *flush;
	struct md_geo g;
	int err;

	if (!is_still(e) || e->heirs)
		return -EBUSY;
	if (e->geo.level != 1 || disks < 1 || disks > MD_MAX_DISKS - 1)
		return fail(EINVAL, "only mirrors can be more or fewer");
	for (u32 i = disks; i < e->geo.disks; i++)
		if (e->member[i].present && !e->member[i].faulty)
			return fail(EBUSY, "member %u is in use", i);
	if (!md_geo_serves(&e->geo, array_failed(e) | ~(BIT(keep) - 1)))
		return fail(EBUSY, "no member would be left");
	err = md_geo_init(&g, 1, e->geo.layout, disks, e->geo.chunk, e->size);
	if (err)
		return err;
	member = kcalloc(disks, sizeof(*member), ALLOC_KERNEL);
	heir = kcalloc(disks, sizeof(*heir), ALLOC_KERNEL);
	flush = kcalloc(2 * disks, sizeof(*flush), ALLOC_KERNEL);
	err = member && heir && flush ? intent_set_disks(e, disks) : -ENOMEM;
	if (err) {
		kfree(member);
		kfree(heir);
		kfree(flush);
		return err;
	}
	memcpy(member, e->member, keep * sizeof(*member));
	for (u32 i = keep; i < e->geo.disks; i++)
		member_free(&e->member[i]);
	for (u32 i = 0; i < e->geo.disks; i++)
		member_free(&e->heir[i]); /* of those that failed */
	kfree(e->member);
	kfree(e->heir);
	kfree(e->flush_rq);
	e->member = member;
	e->heir = heir;
	e->flush_rq = flush;
	e->geo = g;
	meta_want(e);
	return 0;
}
