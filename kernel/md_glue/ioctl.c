/* SPDX-License-Identifier: MIT
 *
 * Problem: mdadm makes, starts, changes and stops arrays by ioctl on the array's block device.
 *
 * Idea: one switch; each call is a few lines over run.c and member.c.
 *
 * Contract: linux/raid/md_u.h and what mdadm 4.2 relies on: GET_ARRAY_INFO of an array without devices is ENODEV, an
 * unknown number in GET_DISK_INFO is a removed disk, not an error. Only superblocks 1.0, 1.1 and 1.2 are known: the
 * calls that describe an array without one (a SET_ARRAY_INFO with raid_disks) are EINVAL. Everything but asking wants
 * CAP_SYS_ADMIN.
 *
 * Locks: a->lock around each call.
 */
#include <arch/user.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/string.h>
#include <linux/capability.h>
#include <task/cred.h>
#include <vfs/device.h>
#include "md_glue.h"

static long get_version(ulong arg)
{
	mdu_version_t v = { .major = 0, .minor = 90, .patchlevel = 3 };

	return user_put((void __user *)arg, &v, sizeof(v));
}

static void count_disks(const struct md_array *a, mdu_array_info_t *info)
{
	struct md_disk *d;

	list_for_each_entry (d, &a->disks, entry) {
		u32 role = md_disk_role(a, d);

		info->nr_disks++;
		if (role & 1U << MD_DISK_FAULTY) {
			info->failed_disks++;
			continue;
		}
		info->working_disks++;
		if (role & 1U << MD_DISK_SYNC)
			info->active_disks++;
		else if (!(role & 1U << MD_DISK_JOURNAL))
			info->spare_disks++;
	}
}

static long get_array_info(struct md_array *a, ulong arg)
{
	mdu_array_info_t info = {
		.major_version = 1, .minor_version = (int)a->super_minor, .patch_version = 3, .md_minor = (int)a->minor
	};
	struct md_status st;

	if (!a->announced && list_empty(&a->disks))
		return -ENODEV;
	if (a->running) {
		u64 kib = a->geo.member_sectors / 2;

		md_snapshot(a, &st);
		info.ctime = (u32)a->truth.ctime;
		info.utime = (u32)a->truth.utime;
		info.level = a->geo.level;
		info.size = kib > INT32_MAX ? -1 : (int)kib;
		info.raid_disks = (int)a->geo.disks;
		info.state = (st.clean ? 1 << MD_SB_CLEAN : 0) | (st.bitmap ? 1 << MD_SB_BITMAP_PRESENT : 0);
		info.layout = (int)a->geo.layout;
		info.chunk_size = (int)(a->geo.chunk << SECTOR_SHIFT);
	}
	count_disks(a, &info);
	return user_put((void __user *)arg, &info, sizeof(info));
}

static long get_disk_info(struct md_array *a, ulong arg)
{
	mdu_disk_info_t info;
	struct md_disk *d;
	int number;

	if (user_get(&info, (const void __user *)arg, sizeof(info)))
		return -EFAULT;
	number = info.number;
	info = (mdu_disk_info_t){ .number = number, .raid_disk = -1, .state = 1 << MD_DISK_REMOVED };
	list_for_each_entry (d, &a->disks, entry) {
		if ((int)d->sb.dev_number != number)
			continue;
		info.major = (int)DEV_MAJOR(d->dev->rdev);
		info.minor = (int)DEV_MINOR(d->dev->rdev);
		info.raid_disk = (int)md_disk_position(d); /* -1: none */
		info.state = (int)md_disk_role(a, d);
	}
	return user_put((void __user *)arg, &info, sizeof(info));
}

/* At most one of size, number of disks and bitmap differs from what GET_ARRAY_INFO says. */
static long update(struct md_array *a, const mdu_array_info_t *info)
{
	bool size = info->size >= 0 && (u64)info->size != a->geo.member_sectors / 2;
	bool disks = info->raid_disks != (int)a->geo.disks, bitmap;
	struct md_status st;

	md_snapshot(a, &st);
	bitmap = !!(info->state & 1 << MD_SB_BITMAP_PRESENT) != st.bitmap;
	if (info->level != a->geo.level || info->layout != (int)a->geo.layout || size + disks + bitmap > 1 ||
	    info->chunk_size != (int)(a->geo.chunk << SECTOR_SHIFT))
		return fail(EINVAL, "%s: one thing after the other, and no reshape", a->block.name);
	if (size)
		return md_array_set_size(a, (u64)info->size * 2);
	if (disks)
		return info->raid_disks > 0 ? md_array_set_mirrors(a, (u32)info->raid_disks) : -EINVAL;
	if (bitmap && st.bitmap)
		return md_bitmap_remove(a);
	return bitmap ? fail(EINVAL, "%s: a bitmap comes by bitmap/location", a->block.name) : 0;
}

static long set_array_info(struct md_array *a, ulong arg)
{
	mdu_array_info_t info = { 0 };

	if (arg && user_get(&info, (const void __user *)arg, sizeof(info)))
		return -EFAULT;
	if (a->running)
		return update(a, &info);
	if (a->announced || !list_empty(&a->disks))
		return -EBUSY;
	if (info.raid_disks || info.major_version != 1 || info.minor_version < 0 || info.minor_version > 2)
		return fail(EINVAL, "%s: only superblocks 1.0, 1.1 and 1.2", a->block.name);
	a->announced = true;
	a->super_minor = (u32)info.minor_version;
	return 0;
}

static long add_new_disk(struct md_array *a, ulong arg)
{
	mdu_disk_info_t info;

	if (user_get(&info, (const void __user *)arg, sizeof(info)))
		return -EFAULT;
	return a->running ? md_disk_hot_add(a, &info) : md_disk_add(a, &info);
}

/* Arguments of HOT_REMOVE_DISK and SET_DISK_FAULTY are device numbers in the old form of user space. */
static u32 old_number(ulong arg)
{
	return DEV((u32)(arg >> 8 & 0xfff), (u32)((arg & 0xff) | (arg >> 12 & 0xfff00)));
}

static long fail_disk(struct md_array *a, ulong arg)
{
	struct md_disk *d = md_disk_find(a, old_number(arg));

	return d && a->running ? md_disk_fail(a, d) : -ENODEV;
}

static long get_bitmap_file(ulong arg)
{
	static const mdu_bitmap_file_t none;

	return user_put((void __user *)arg, &none, sizeof(none));
}

static long change(struct md_array *a, unsigned cmd, ulong arg)
{
	switch (cmd) {
	case SET_ARRAY_INFO: return set_array_info(a, arg);
	case ADD_NEW_DISK: return add_new_disk(a, arg);
	case RUN_ARRAY: return md_array_run(a, false);
	case STOP_ARRAY: return md_array_stop(a);
	case STOP_ARRAY_RO: return md_array_set_read_only(a, true);
	case RESTART_ARRAY_RW: return md_array_set_read_only(a, false);
	case SET_DISK_FAULTY: return fail_disk(a, arg);
	case HOT_REMOVE_DISK: return md_disk_remove(a, old_number(arg));
	}
	return -ENOTTY;
}

int md_ioctl(struct block_dev *dev, unsigned cmd, ulong arg)
{
	struct md_array *a = md_array_of(dev);
	long err;

	if (cmd == RAID_VERSION)
		return (int)get_version(arg);
	if (dev->partition || _IOC_TYPE(cmd) != MD_MAJOR)
		return -ENOTTY;
	if (cmd != GET_ARRAY_INFO && cmd != GET_DISK_INFO && cmd != GET_BITMAP_FILE && !capable(CAP_SYS_ADMIN))
		return -EACCES;
	mutex_lock(&a->lock);
	switch (cmd) {
	case GET_ARRAY_INFO: err = get_array_info(a, arg); break;
	case GET_DISK_INFO: err = get_disk_info(a, arg); break;
	case GET_BITMAP_FILE: err = get_bitmap_file(arg); break;
	default: err = change(a, cmd, arg); break;
	}
	mutex_unlock(&a->lock);
	return (int)err;
}
