/* SPDX-License-Identifier: MIT
 *
 * Problem: people give a running array a bitmap, a partial parity log, more room or another mirror, and go on using it.
 *
 * Idea: requests are held back, the engine comes to rest, changes (md/reconfig.c), and requests go on. A pass under way
 * is in the way: EBUSY.
 *
 *      bitmap/location "+8", "none"    SET_ARRAY_INFO without MD_SB_BITMAP_PRESENT
 *      component_size                  SET_ARRAY_INFO with another size
 *      raid_disks                      SET_ARRAY_INFO with another number
 *      consistency_policy "ppl", "resync", after ppl_sector and ppl_size of each device
 *
 * The bitmap or the empty log itself has been written to the members by mdadm.
 *
 * Contract: md_glue.h.
 *
 * Locks: a->lock by the caller.
 */
#include <alloc/slab.h>
#include <core/log.h>
#include <core/rcu.h>
#include <lib/err.h>
#include <lib/string.h>
#include <md/bitmap.h>
#include "md_glue.h"

struct wish {
	int (*apply)(struct md_array *a, const struct wish *w); /* engine_lock */
	s32 offset;
	void *image;
	size_t bytes;
	u64 number;
	bool when_clean;
};

static void hold(struct md_array *a, bool on)
{
	mutex_lock(&a->engine_lock);
	a->holds += on ? 1 : -1u;
	mutex_unlock(&a->engine_lock);
	rcu_synchronize(); /* reads past the engine look */
}

static int change(struct md_array *a, const struct wish *w)
{
	struct md_status st;
	u64 before = a->geo.sectors;
	int err = -EBUSY;

	if (!a->running)
		return -ENODEV;
	if (a->read_only)
		return -EROFS;
	hold(a, true);
	md_snapshot(a, &st);
	if (st.sync == MD_SYNC_NONE) {
		a->quiescing = w->when_clean;
		md_settle(a);
		mutex_lock(&a->engine_lock);
		a->quiescing = false;
		err = w->apply(a, w);
		a->geo = *md_engine_geo(a->e);
		a->gave_up = false;
		mutex_unlock(&a->engine_lock);
		md_settle(a); /* the superblocks say so */
	}
	hold(a, false);
	if (!err && a->geo.sectors > before)
		block_grow(&a->block, a->geo.sectors);
	md_kick(a);
	md_changed(a);
	return err;
}

static int read_disk(void *disk, u64 sector, void *buf, u32 bytes)
{
	return block_rw(((struct md_disk *)disk)->dev, BLOCK_READ, sector, buf, bytes, BIO_DIRECT);
}

int md_disk_read_bitmap(struct md_disk *d, s32 offset, void **image, size_t *bytes)
{
	return md_bitmap_read(&d->sb, offset, read_disk, d, image, bytes);
}

static int apply_bitmap(struct md_array *a, const struct wish *w)
{
	return md_set_bitmap(a->e, w->offset, w->image, w->bytes);
}

int md_bitmap_add(struct md_array *a, s32 offset)
{
	struct wish w = { .apply = apply_bitmap, .offset = offset };
	struct md_status st;
	int err;

	md_snapshot(a, &st);
	if (!a->running || !st.in_sync)
		return -ENODEV;
	if (st.bitmap)
		return -EBUSY;
	err = md_disk_read_bitmap(a->slot[__builtin_ctzll(st.in_sync)], offset, &w.image, &w.bytes);
	if (err)
		return err;
	err = change(a, &w);
	kfree(w.image);
	return err;
}

int md_bitmap_remove(struct md_array *a)
{
	return change(a, &(struct wish){ .apply = apply_bitmap });
}

static int apply_size(struct md_array *a, const struct wish *w)
{
	return md_set_size(a->e, w->number);
}

int md_array_set_size(struct md_array *a, u64 sectors)
{
	return change(a, &(struct wish){ .apply = apply_size, .number = sectors });
}

static int apply_mirrors(struct md_array *a, const struct wish *w)
{
	return md_set_mirrors(a->e, (u32)w->number);
}

int md_array_set_mirrors(struct md_array *a, u32 disks)
{
	return change(a, &(struct wish){ .apply = apply_mirrors, .number = disks });
}

static int apply_stripes(struct md_array *a, const struct wish *w)
{
	return md_set_stripes(a->e, (u32)w->number);
}

int md_array_set_stripes(struct md_array *a, u64 stripes)
{
	if (stripes > UINT32_MAX)
		return -EINVAL;
	return change(a, &(struct wish){ .apply = apply_stripes, .number = stripes });
}

static u32 ppl_word(const struct md_disk *d)
{
	return (u16)(d->ppl_sector - d->sb.super_offset) | d->ppl_sectors << 16;
}

/* Spares, too, are ready to have one. */
static int apply_ppl(struct md_array *a, const struct wish *w)
{
	u32 word[MD_MAX_DISKS] = { 0 };
	struct md_disk *d;
	int err;

	for (u32 i = 0; i < a->geo.disks; i++)
		word[i] = a->slot[i] ? ppl_word(a->slot[i]) : 0;
	err = md_set_ppl(a->e, w->number ? word : NULL);
	if (err)
		return err;
	list_for_each_entry (d, &a->disks, entry) {
		d->sb.features &= ~(u32)(MD_FEATURE_PPL | MD_FEATURE_MULTIPLE_PPLS);
		d->sb.features |= w->number ? MD_FEATURE_PPL : 0;
		d->sb.bitmap_or_ppl = w->number ? ppl_word(d) : 0;
	}
	return 0;
}

int md_array_set_ppl(struct md_array *a, bool on)
{
	struct md_status st;

	md_snapshot(a, &st);
	if (a->geo.level != 5 || st.bitmap || a->truth.features & MD_FEATURE_JOURNAL)
		return fail(EINVAL, "%s: a partial parity log is for level 5 without a journal and a bitmap",
			    a->block.name);
	return st.ppl == on ? 0 : change(a, &(struct wish){ .apply = apply_ppl, .number = on, .when_clean = true });
}

int md_array_suspend(struct md_array *a, u64 lo, u64 hi)
{
	bool on = lo < hi, was = md_is_suspended(a);
	struct md_status st;
	ulong irq;

	md_snapshot(a, &st);
	if (on && !was && st.sync != MD_SYNC_NONE)
		return fail(EBUSY, "%s: a pass is under way", a->block.name);
	hold(a, true);
	if (on) /* what has begun there ends first */
		md_settle(a);
	irq = spin_lock_irqsave(&a->queue_lock);
	a->suspend_lo = lo;
	a->suspend_hi = hi;
	spin_unlock_irqrestore(&a->queue_lock, irq);
	hold(a, false);
	md_kick(a);
	return 0;
}
