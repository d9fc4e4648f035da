/* SPDX-License-Identifier: MIT
 *
 * Problem: blockdev, fdisk, mkfs, mdadm and their kin ask a disk about itself, and tell it to change, by some thirty
 * ioctls.
 *
 * Idea: numbers that are only asked for are one table of cases; what changes something has a function each. What nobody
 * here knows goes to the driver.
 *
 * Contract: linux/fs.h, linux/blkpg.h, linux/hdreg.h; errors as Linux 6.1. Changes need CAP_SYS_ADMIN (EACCES, or EPERM
 * where Linux says so).
 *
 * Locks: none of its own.
 */
#include <arch/user.h>
#include <core/log.h>
#include <lib/err.h>
#include <linux/blkpg.h>
#include <linux/blkzoned.h>
#include <linux/capability.h>
#include <linux/fs.h>
#include <linux/hdreg.h>
#include <task/user_ns.h>
#include <vfs/vfs.h>

#include "block_priv.h"

#define HEADS  255 /* what every disk without a geometry says */
#define TRACK  63
#define NOT_IT (-ENOTTY)

static long put_int(ulong arg, int value)
{
	return user_put((void __user *)arg, &value, sizeof(value));
}

static long put_u16(ulong arg, u16 value)
{
	return user_put((void __user *)arg, &value, sizeof(value));
}

static long put_u64(ulong arg, u64 value)
{
	return user_put((void __user *)arg, &value, sizeof(value));
}

static long geometry(const struct block_dev *d, ulong arg)
{
	struct hd_geometry g = { .heads = HEADS, .sectors = TRACK, .start = d->start };

	g.cylinders = (unsigned short)min(d->sectors / (HEADS * TRACK), 65535ULL);
	return user_put((void __user *)arg, &g, sizeof(g));
}

static long ask(struct block_dev *d, unsigned cmd, ulong arg)
{
	const struct block_limits *l = &d->whole->limits;

	switch (cmd) {
	case BLKGETSIZE64: return put_u64(arg, d->sectors << SECTOR_SHIFT);
	case BLKGETSIZE: return put_u64(arg, d->sectors);
	case BLKSSZGET: return put_int(arg, (int)l->logical_block);
	case BLKPBSZGET: return put_int(arg, (int)l->physical_block);
	case BLKIOMIN: return put_int(arg, (int)l->physical_block);
	case BLKIOOPT: return put_int(arg, (int)l->optimal_bytes);
	case BLKALIGNOFF: return put_int(arg, 0);
	case BLKDISCARDZEROES: return put_int(arg, 0);
	case BLKBSZGET: return put_int(arg, PAGE_SIZE);
	case BLKROGET: return put_int(arg, block_is_read_only(d));
	case BLKRAGET:
	case BLKFRAGET: return put_u64(arg, d->read_ahead_bytes >> SECTOR_SHIFT);
	case BLKSECTGET: return put_u16(arg, (u16)min(l->max_bytes >> SECTOR_SHIFT, 65535U));
	case BLKROTATIONAL: return put_u16(arg, l->rotational);
	case BLKGETDISKSEQ: return put_u64(arg, d->sequence);
	case BLKGETZONESZ:
	case BLKGETNRZONES: return put_int(arg, 0);
	case HDIO_GETGEO: return geometry(d, arg);
	}
	return NOT_IT;
}

static long set_read_only(struct block_dev *d, ulong arg)
{
	int on;

	if (user_get(&on, (const void __user *)arg, sizeof(on)))
		return -EFAULT;
	WRITE_ONCE(d->set_read_only, on != 0);
	return 0;
}

/* A block size of one's own for the page cache: checked, since programs set it; the cache works in pages anyway. */
static long set_block_size(struct block_dev *d, ulong arg)
{
	int n;

	if (!arg || user_get(&n, (const void __user *)arg, sizeof(n)))
		return arg ? -EFAULT : -EINVAL;
	if (n < (int)d->whole->limits.logical_block || n > (int)PAGE_SIZE || n & (n - 1))
		return -EINVAL;
	return 0;
}

static int get_partition(struct block_dev *d, ulong arg, int *op, struct blkpg_partition *p)
{
	struct blkpg_ioctl_arg a;

	if (user_get(&a, (const void __user *)arg, sizeof(a)) || user_get(p, (const void __user *)a.data, sizeof(*p)))
		return -EFAULT;
	if (d != d->whole || p->pno <= 0 || p->pno > UINT16_MAX)
		return -EINVAL;
	if (a.op != BLKPG_DEL_PARTITION) {
		if (p->start < 0 || p->length <= 0 || p->start + p->length < p->start)
			return -EINVAL;
		if ((p->start | p->length) % d->limits.logical_block)
			return -EINVAL;
	}
	*op = a.op;
	return 0;
}

static long change_partition(struct block_dev *d, ulong arg)
{
	struct blkpg_partition p;
	int op, err = get_partition(d, arg, &op, &p);

	if (err)
		return err;
	switch (op) {
	case BLKPG_ADD_PARTITION:
		return block_partition_add(d, p.pno, (u64)p.start >> SECTOR_SHIFT, (u64)p.length >> SECTOR_SHIFT);
	case BLKPG_DEL_PARTITION: return block_partition_remove(d, p.pno);
	case BLKPG_RESIZE_PARTITION:
		return block_partition_resize(d, p.pno, (u64)p.start >> SECTOR_SHIFT, (u64)p.length >> SECTOR_SHIFT);
	}
	return -EINVAL;
}

static long reread(struct block_dev *d)
{
	int err;

	if (d != d->whole)
		return -EINVAL;
	err = block_flush_cache(d); /* what was written through it, and nothing older, is read */
	return err ? err : block_rescan(d);
}

static long change(struct block_dev *d, unsigned cmd, ulong arg)
{
	switch (cmd) {
	case BLKFLSBUF: return block_flush_cache(d);
	case BLKROSET: return set_read_only(d, arg);
	case BLKRASET:
	case BLKFRASET: d->read_ahead_bytes = (u32)min(arg, 1UL << 21) << SECTOR_SHIFT; return 0;
	case BLKBSZSET: return set_block_size(d, arg);
	case BLKRRPART: return reread(d);
	case BLKPG: return change_partition(d, arg);
	}
	return NOT_IT;
}

static bool is_change(unsigned cmd)
{
	return cmd == BLKFLSBUF || cmd == BLKROSET || cmd == BLKRASET || cmd == BLKFRASET || cmd == BLKBSZSET ||
	       cmd == BLKRRPART || cmd == BLKPG;
}

long block_ioctl(struct file *f, unsigned cmd, ulong arg)
{
	struct block_dev *d = f->priv;
	long err = ask(d, cmd, arg);

	if (err != NOT_IT)
		return err;
	if (is_change(cmd))
		return capable(CAP_SYS_ADMIN) ? change(d, cmd, arg) : -EACCES;
	if (cmd == BLKDISCARD || cmd == BLKSECDISCARD || cmd == BLKZEROOUT)
		return block_erase_ioctl(f, cmd, arg);
	return d->whole->driver->ioctl ? d->whole->driver->ioctl(d, cmd, arg) : NOT_IT;
}
