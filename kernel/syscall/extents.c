/* SPDX-License-Identifier: MIT
 *
 * Problem: programs ask where on the disk a file lies: boot loaders by block (FIBMAP), copiers and filefrag by run
 * (FS_IOC_FIEMAP).
 *
 * Idea: what is dirty is written out first, so that everything has its place; then the file system is asked run by run
 * (inode_ops.extent) and holes are passed over.
 *
 * Contract: linux/fiemap.h; filesystems/fiemap.rst of Linux. Attributes (FIEMAP_FLAG_XATTR) are not told: -EBADR.
 *
 * Locks: none of its own; each run is as it was when asked for.
 */
#include <arch/user.h>
#include <core/log.h>
#include <lib/err.h>
#include <linux/capability.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <task/cred.h>
#include <task/sched.h>
#include <task/task.h>
#include <task/user_ns.h>
#include <vfs/cache.h>
#include <vfs/uapi.h>
#include <vfs/writeback.h>
#include "file_priv.h"

#define EXTENTS_MOST (UINT32_MAX / sizeof(struct fiemap_extent))

/* ---- one block ---- */

static long block_of(struct file *f, int __user *arg)
{
	struct inode *i = f->inode;
	u64 bytes = i->super->block_size;
	struct file_extent e;
	int block, err;

	if (!i->ops->extent)
		return -EINVAL;
	if (!capable(CAP_SYS_RAWIO))
		return -EPERM;
	if (user_get(&block, arg, sizeof(block)))
		return -EFAULT;
	if (block < 0)
		return -EINVAL;
	err = cache_sync_all(f);
	if (!err)
		err = i->ops->extent(i, (u64)block * bytes, &e);
	if (err)
		return err;
	if (e.is_hole || e.flags & (FIEMAP_EXTENT_DATA_INLINE | FIEMAP_EXTENT_UNWRITTEN)) {
		block = 0;
	} else {
		u64 at = (e.device + ((u64)block * bytes - e.at)) / bytes;

		if (at > INT32_MAX)
			return -ERANGE;
		block = (int)at;
	}
	return user_put(arg, &block, sizeof(block));
}

/* ---- all runs ---- */

struct telling {
	struct fiemap_extent __user *out;
	struct file_extent held; /* told when it is known whether it is the last */
	bool holds;
	struct fiemap head; /* without its array: last */
};

/* 1: no room for more. */
static int tell(struct telling *t, u32 more)
{
	struct fiemap_extent x = { .fe_logical = t->held.at,
				   .fe_physical = t->held.device,
				   .fe_length = t->held.bytes,
				   .fe_flags = t->held.flags | more };

	if (!t->holds)
		return 0;
	t->holds = false;
	if (t->head.fm_extent_count) {
		if (user_put(&t->out[t->head.fm_mapped_extents], &x, sizeof(x)))
			return -EFAULT;
		if (++t->head.fm_mapped_extents == t->head.fm_extent_count)
			return 1;
	} else {
		t->head.fm_mapped_extents++;
	}
	return 0;
}

static int walk(struct inode *i, struct telling *t)
{
	u64 size = (u64)READ_ONCE(i->size), at = t->head.fm_start, end = at + min(t->head.fm_length, ~0ULL - at);
	struct file_extent e;
	int err = 0;

	while (!err && at < size) {
		err = i->ops->extent(i, at, &e);
		if (err || (at = e.at + e.bytes) <= e.at)
			break;
		if (e.is_hole)
			continue;
		err = tell(t, 0);
		if (err || e.at >= end)
			return min(err, 0);
		t->held = e;
		t->holds = true;
		resched_point();
		if (fatal_signal_pending(current))
			err = -EINTR;
	}
	return err ? min(err, 0) : min(tell(t, FIEMAP_EXTENT_LAST), 0);
}

static long all_extents(struct file *f, struct fiemap __user *arg)
{
	struct telling t = { .out = arg->fm_extents };
	struct inode *i = f->inode;
	int err;

	if (!i->ops->extent)
		return -EOPNOTSUPP;
	if (user_get(&t.head, arg, sizeof(t.head)))
		return -EFAULT;
	if (t.head.fm_extent_count > EXTENTS_MOST || !t.head.fm_length)
		return -EINVAL;
	if (t.head.fm_start > (u64)i->super->max_bytes)
		return -EFBIG;
	t.head.fm_mapped_extents = 0;
	if (t.head.fm_flags & ~(FIEMAP_FLAG_SYNC | FIEMAP_FLAG_CACHE)) {
		t.head.fm_flags &= ~(FIEMAP_FLAG_SYNC | FIEMAP_FLAG_CACHE);
		return user_put(arg, &t.head, sizeof(t.head)) ? -EFAULT : -EBADR;
	}
	err = cache_sync_all(f);
	if (!err)
		err = walk(i, &t);
	return err ? err : user_put(arg, &t.head, sizeof(t.head));
}

long extents_ioctl(struct file *f, unsigned cmd, void __user *arg)
{
	if (!S_ISREG(f->inode->mode))
		return -ENOTTY;
	switch (cmd) {
	case FIBMAP: return block_of(f, arg);
	case FS_IOC_FIEMAP: return all_extents(f, arg);
	default: return -ENOTTY;
	}
}
