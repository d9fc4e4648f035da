/* SPDX-License-Identifier: MIT
 *
 * Problem: a device becomes part of an array only if nobody else has it and its superblock says that it belongs there;
 * and it must be given back in a state that lets mdadm remove it, look at it and add it again.
 *
 * Idea: before the start, devices are collected: claimed, superblock read and checked, compared with the first. A
 * running array takes devices as spares; the worker gives them a slot when one is empty. A device that fails stays in
 * the list, without a slot, until it is removed.
 *
 *      ADD_NEW_DISK --> collected --RUN_ARRAY--> in a slot | spare | thrown out (stale, foreign)
 *      ADD_NEW_DISK while running --> spare --worker--> in a slot, being rebuilt --> in sync
 *      SET_DISK_FAULTY, errors --> faulty --HOT_REMOVE_DISK--> gone
 *      "want_replacement" to state (and its slot to a spare's slot) --worker--> a spare is its heir --> faulty
 *
 * Contract: md_glue.h. EBUSY for a device that somebody holds or that is in use; EINVAL with a line in the log for a
 * superblock that is damaged or of another array; nothing is written to a device that is refused.
 *
 * Locks: a->lock by the caller; engine_lock for the list and the slots.
 */
#include <alloc/slab.h>
#include <core/clock.h>
#include <core/log.h>
#include <core/rcu.h>
#include <lib/err.h>
#include <lib/string.h>
#include <md/ppl.h>
#include <task/task.h>
#include <vfs/device.h>
#include "md_glue.h"

#define REMOVE_NS NSEC_PER_SEC /* for what is under way to a disk that has failed */

struct md_disk *md_disk_find(struct md_array *a, u32 rdev)
{
	struct md_disk *d;

	list_for_each_entry (d, &a->disks, entry)
		if (d->dev->rdev == rdev)
			return d;
	return NULL;
}

static int read_super(struct md_array *a, struct md_disk *d)
{
	s64 sector = md_super_sector(a->super_minor, d->dev->sectors);
	void *buf;
	int err;

	if (sector < 0)
		return fail(EINVAL, "%s: %s is too small", a->block.name, d->dev->name);
	buf = kmalloc(MD_SUPER_BYTES, ALLOC_KERNEL);
	if (!buf)
		return -ENOMEM;
	err = block_rw(d->dev, BLOCK_READ, (u64)sector, buf, MD_SUPER_BYTES, BIO_DIRECT);
	if (!err)
		err = md_super_decode(buf, (u64)sector, &d->sb);
	if (!err)
		err = md_super_check(buf, &d->sb, d->dev->sectors);
	kfree(buf);
	if (err)
		log_warn("%s: %s has no superblock that can be used: %d", a->block.name, d->dev->name, err);
	return err == -ENOENT ? -EINVAL : err;
}

static int check_kin(struct md_array *a, const struct md_disk *d)
{
	const struct md_disk *first;

	if (list_empty(&a->disks))
		return 0;
	first = list_first_entry(&a->disks, struct md_disk, entry);
	if (memcmp(first->sb.set_uuid, d->sb.set_uuid, 16))
		return fail(EINVAL, "%s: %s is of another array", a->block.name, d->dev->name);
	return 0;
}

static void close_disk(struct md_disk *d)
{
	block_release(d->dev, d);
	block_put(d->dev);
}

static bool has_ppl(const struct md_super *sb)
{
	return sb->features & (MD_FEATURE_PPL | MD_FEATURE_MULTIPLE_PPLS);
}

/* Claims the device and reads its superblock; it is in no list yet. */
static int open_disk(struct md_array *a, u32 rdev, struct md_disk **out)
{
	struct md_disk *d = kzalloc(sizeof(*d), ALLOC_KERNEL);
	int err;

	if (!d)
		return -ENOMEM;
	d->a = a;
	d->slot = d->meant_for = MD_NO_SLOT;
	list_init(&d->outgoing);
	list_init(&d->errand);
	d->dev = block_find(rdev);
	err = d->dev ? block_claim(d->dev, d) : -ENXIO;
	if (err) {
		if (d->dev)
			block_put(d->dev);
		kfree(d);
		return err;
	}
	str_format(d->name, sizeof(d->name), "dev-%s", d->dev->name);
	err = read_super(a, d);
	/* mdadm 4.2 gives a spare a log of 1 MiB, although its data may begin before that ends. */
	if (!err && has_ppl(&d->sb))
		err = md_ppl_place(&d->sb, &d->ppl_sector, &d->ppl_sectors);
	if (!err)
		err = check_kin(a, d);
	if (err) {
		close_disk(d);
		kfree(d);
		return err;
	}
	*out = d;
	return 0;
}

static int enlist(struct md_array *a, struct md_disk *d)
{
	int err = md_disk_files_add(d);

	if (err) {
		close_disk(d);
		kfree(d);
		return err;
	}
	mutex_lock(&a->engine_lock);
	list_add_tail(&d->entry, &a->disks);
	a->gave_up = false;
	mutex_unlock(&a->engine_lock);
	md_changed(a);
	return 0;
}

/* mdadm's --re-add: the device must be able to have its slot again without being rebuilt whole. */
static int check_return(struct md_array *a, const mdu_disk_info_t *info, const struct md_disk *d)
{
	u32 slot;

	if (!a->running || info->state & 1U << MD_DISK_JOURNAL || !(info->state & 1U << MD_DISK_SYNC))
		return 0;
	mutex_lock(&a->engine_lock);
	slot = md_can_return(a->e, &d->sb);
	mutex_unlock(&a->engine_lock);
	return slot == MD_NO_SLOT || (int)slot != info->raid_disk
		       ? fail(EINVAL, "%s: %s has missed more than the bitmap knows", a->block.name, d->dev->name)
		       : 0;
}

static int add(struct md_array *a, const mdu_disk_info_t *info)
{
	struct md_disk *d;
	int err;

	if (info->major < 0 || info->minor < 0 || md_disk_find(a, DEV((u32)info->major, (u32)info->minor)))
		return info->major < 0 || info->minor < 0 ? -EINVAL : -EEXIST;
	err = open_disk(a, DEV((u32)info->major, (u32)info->minor), &d);
	if (err)
		return err;
	err = check_return(a, info, d);
	if (err) {
		close_disk(d);
		kfree(d);
		return err;
	}
	if (a->running && info->state & 1U << MD_DISK_FAILFAST)
		d->sb.devflags |= FailFast1;
	if (a->running && info->state & 1U << MD_DISK_WRITEMOSTLY)
		d->sb.devflags |= WriteMostly1;
	return enlist(a, d);
}

int md_disk_add(struct md_array *a, const mdu_disk_info_t *info)
{
	return a->announced ? add(a, info) : -EINVAL;
}

/* mdadm's --add-journal: a journal for an array that is only read, perhaps because it has lost its own. */
static int add_journal(struct md_array *a, const mdu_disk_info_t *info)
{
	struct md_disk *d;
	int err;

	if (a->slot[MD_JOURNAL_SLOT])
		return fail(EBUSY, "%s has a journal", a->block.name);
	if (!a->read_only && !a->last.read_only)
		return fail(EBUSY, "%s is not read-only", a->block.name);
	err = add(a, info);
	if (err)
		return err;
	d = md_disk_find(a, DEV((u32)info->major, (u32)info->minor));
	err = md_array_take_journal(a, d);
	if (!err)
		return 0;
	mutex_lock(&a->engine_lock);
	md_disk_free(d);
	mutex_unlock(&a->engine_lock);
	md_changed(a);
	return err;
}

int md_disk_hot_add(struct md_array *a, const mdu_disk_info_t *info)
{
	int err;

	if (info->state & 1U << MD_DISK_JOURNAL)
		return add_journal(a, info);
	err = add(a, info);
	if (!err)
		md_kick(a);
	return err;
}

void md_disk_seat(struct md_disk *d, u32 slot)
{
	d->slot = slot;
	d->a->slot[slot] = d;
	if (slot >= MD_MAX_DISKS)
		return;
	str_format(d->link, sizeof(d->link), "rd%u", slot);
	if (attr_link_add(&d->a->attr, d->link, &d->attr))
		log_warn("%s: no %s in sysfs", d->a->block.name, d->link);
}

void md_disk_unseat(struct md_disk *d)
{
	if (d->slot == MD_NO_SLOT)
		return;
	if (d->slot < MD_MAX_DISKS)
		attr_link_remove(&d->a->attr, d->link);
	d->a->slot[d->slot] = NULL;
	d->slot = MD_NO_SLOT;
}

void md_disk_free(struct md_disk *d)
{
	md_disk_unseat(d);
	list_del(&d->entry);
	close_disk(d);
	attr_dir_remove(&d->attr);
}

static bool is_out(const struct md_disk *d)
{
	return READ_ONCE(d->slot) == MD_NO_SLOT && !atomic_read(&d->inflight);
}

int md_disk_remove(struct md_array *a, u32 rdev)
{
	struct md_disk *d = md_disk_find(a, rdev);
	int err = 0;

	if (!d)
		return -ENXIO;
	rcu_synchronize(); /* who saw it in a slot has counted itself or is gone */
	if (a->running && d->faulty) {
		md_kick(a);
		(void)wait_event_until(&a->idle, is_out(d), clock_ns() + REMOVE_NS);
	}
	mutex_lock(&a->engine_lock);
	if (!is_out(d))
		err = fail(EBUSY, "%s: %s is in use", a->block.name, d->dev->name);
	else
		md_disk_free(d);
	mutex_unlock(&a->engine_lock);
	if (!err)
		md_changed(a);
	return err;
}

int md_disk_fail(struct md_array *a, struct md_disk *d)
{
	int err = 0;

	mutex_lock(&a->engine_lock);
	if (d->slot == MD_JOURNAL_SLOT)
		err = md_fail_journal(a->e);
	else if (d->slot != MD_NO_SLOT)
		err = md_fail_member(a->e, d->slot);
	d->faulty |= !err && d->slot != MD_JOURNAL_SLOT;
	mutex_unlock(&a->engine_lock);
	md_changed(a);
	if (!err) /* when it is settled, nothing goes to the device any more, and it can be removed */
		md_kick(a);
	return err;
}

int md_disk_replace(struct md_array *a, struct md_disk *d, bool on)
{
	if (d->slot >= MD_MAX_DISKS || !a->geo.parity)
		return fail(EINVAL, "%s: %s cannot be replaced", a->block.name, d->dev->name);
	mutex_lock(&a->engine_lock);
	d->wants_replacement = on;
	a->gave_up = false;
	mutex_unlock(&a->engine_lock);
	md_changed(a);
	md_kick(a);
	return 0;
}

int md_disk_mean(struct md_array *a, struct md_disk *d, u32 slot)
{
	int err = 0;

	if (slot >= a->geo.disks && slot != MD_NO_SLOT)
		return -ENOSPC;
	mutex_lock(&a->engine_lock);
	if (d->slot != MD_NO_SLOT || d->faulty || a->last.sync != MD_SYNC_NONE)
		err = -EBUSY;
	else
		d->meant_for = slot;
	mutex_unlock(&a->engine_lock);
	md_kick(a);
	return err;
}

bool md_disk_is_heir(const struct md_disk *d)
{
	return d->slot != MD_NO_SLOT && d->slot >= MD_HEIR(0);
}

u32 md_disk_position(const struct md_disk *d)
{
	return md_disk_is_heir(d) ? d->slot - MD_HEIR(0) : d->slot < MD_MAX_DISKS ? d->slot : MD_NO_SLOT;
}

int md_disk_readd(struct md_array *a, struct md_disk *d)
{
	int err = 0;

	if (!d->faulty || d->slot != MD_NO_SLOT)
		return -EBUSY;
	err = read_super(a, d);
	if (err)
		return err;
	mutex_lock(&a->engine_lock);
	if (atomic_read(&d->inflight))
		err = -EBUSY;
	else if (md_can_return(a->e, &d->sb) == MD_NO_SLOT)
		err = fail(EINVAL, "%s: %s has missed more than the bitmap knows", a->block.name, d->dev->name);
	else
		d->faulty = a->gave_up = false;
	mutex_unlock(&a->engine_lock);
	md_changed(a);
	if (!err)
		md_kick(a);
	return err;
}

u32 md_disk_role(const struct md_array *a, const struct md_disk *d)
{
	u32 bits = 0;

	if (d->faulty)
		bits |= 1U << MD_DISK_FAULTY;
	else if (d->slot == MD_JOURNAL_SLOT)
		bits |= 1U << MD_DISK_JOURNAL;
	else if (d->slot < MD_MAX_DISKS)
		bits |= 1U << MD_DISK_ACTIVE | (a->last.in_sync & BIT(d->slot) ? 1U << MD_DISK_SYNC : 0);
	if (d->sb.devflags & WriteMostly1)
		bits |= 1U << MD_DISK_WRITEMOSTLY;
	if (d->sb.devflags & FailFast1)
		bits |= 1U << MD_DISK_FAILFAST;
	return bits;
}
