/* SPDX-License-Identifier: MIT
 *
 * Problem: ranges of a disk are to become zeros or nobody's, of any length, on devices that know a command for it and
 * on those that do not.
 *
 * Idea: one bio a gigabyte goes down (the block layer splits it further); without the command zeros are written from
 * one page, again and again in one bio.
 *
 * Contract: block_zero and block_discard of block/block.h; BLKDISCARD, BLKZEROOUT, fallocate(2) on block devices:
 * ranges in multiples of the logical block, inside the device. The page cache of the range is written back by nobody:
 * it goes.
 *
 * Locks: none.
 */
#include <alloc/page.h>
#include <arch/user.h>
#include <core/log.h>
#include <lib/err.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <task/task.h>
#include <vfs/vfs.h>

#include "block_priv.h"

#define STEP_SECTORS (1ULL << (30 - SECTOR_SHIFT))
#define ZERO_VECS    64

static int erase(struct block_dev *d, enum block_op op, u64 sector, u64 sectors)
{
	int err = 0;

	while (sectors && !err) {
		u64 n = min(sectors, STEP_SECTORS);
		struct bio b;

		bio_init(&b, d, op, sector, NULL, 0);
		b.bytes = n << SECTOR_SHIFT;
		b.flags = BIO_SYNC | BIO_DIRECT;
		b.done = block_done_wake;
		block_submit(&b);
		err = block_wait(&b);
		sector += n;
		sectors -= n;
		if (fatal_signal_pending(current))
			return err ? err : -EINTR;
	}
	return err;
}

static int write_zeros(struct block_dev *d, u64 sector, u64 sectors)
{
	struct page *zeros = page_alloc(0, ALLOC_ZERO, NULL);
	struct bio_vec vecs[ZERO_VECS];
	int err = zeros ? 0 : -ENOMEM;

	while (sectors && !err) {
		struct bio b;
		u64 left = sectors << SECTOR_SHIFT;
		unsigned n = 0;

		for (; n < ZERO_VECS && left; n++) {
			vecs[n] = (struct bio_vec){ zeros, 0, min(left, PAGE_SIZE) };
			left -= vecs[n].bytes;
		}
		bio_init(&b, d, BLOCK_WRITE, sector, vecs, n);
		b.flags = BIO_SYNC | BIO_DIRECT;
		b.done = block_done_wake;
		block_submit(&b);
		err = block_wait(&b);
		sector += b.bytes >> SECTOR_SHIFT;
		sectors -= b.bytes >> SECTOR_SHIFT;
		if (!err && fatal_signal_pending(current))
			err = -EINTR;
	}
	if (zeros)
		page_put(zeros);
	return err;
}

int block_zero(struct block_dev *d, u64 sector, u64 sectors, bool only_command)
{
	int err = d->whole->limits.max_zeroes_bytes ? erase(d, BLOCK_WRITE_ZEROES, sector, sectors) : -EOPNOTSUPP;

	return err == -EOPNOTSUPP && !only_command ? write_zeros(d, sector, sectors) : err;
}

int block_discard(struct block_dev *d, u64 sector, u64 sectors)
{
	return erase(d, BLOCK_DISCARD, sector, sectors);
}

static int check_range(const struct block_dev *d, u64 start, u64 len)
{
	u64 end = d->sectors << SECTOR_SHIFT;

	if ((start | len) % d->whole->limits.logical_block || start > end || len > end - start)
		return fail(EINVAL, "%s: bytes %llu+%llu", d->name, (unsigned long long)start, (unsigned long long)len);
	return 0;
}

static void forget(struct block_dev *d, u64 start, u64 len)
{
	cache_remove(d->cache_file->inode->cache, ALIGN_DOWN(start, PAGE_SIZE), ALIGN_UP(start + len, PAGE_SIZE));
}

/* The dirty parts of the two pages at the ends that are not in the range must not go with the others. */
static int write_back_ends(struct block_dev *d, u64 start, u64 len)
{
	u64 first = start / PAGE_SIZE, last = (start + len - 1) / PAGE_SIZE;
	int err = start % PAGE_SIZE ? cache_sync_file(d->cache_file, first, first) : 0;

	return err || !((start + len) % PAGE_SIZE) ? err : cache_sync_file(d->cache_file, last, last);
}

static int erase_bytes(struct block_dev *d, u64 start, u64 len, int (*act)(struct block_dev *, u64, u64))
{
	int err = check_range(d, start, len);

	if (err || !len)
		return err;
	err = write_back_ends(d, start, len);
	if (err)
		return err;
	forget(d, start, len);
	err = act(d, start >> SECTOR_SHIFT, len >> SECTOR_SHIFT);
	forget(d, start, len); /* what was read in meanwhile is old */
	return err;
}

static int zero_by_command(struct block_dev *d, u64 sector, u64 sectors)
{
	return block_zero(d, sector, sectors, true);
}

static int zero_anyhow(struct block_dev *d, u64 sector, u64 sectors)
{
	return block_zero(d, sector, sectors, false);
}

long block_erase_ioctl(struct file *f, unsigned cmd, ulong arg)
{
	struct block_dev *d = f->priv;
	u64 range[2];

	if (!(f->mode & FMODE_WRITE))
		return -EBADF;
	if (cmd == BLKSECDISCARD || (cmd == BLKDISCARD && !d->whole->limits.max_discard_bytes))
		return -EOPNOTSUPP;
	if (user_get(range, (const void __user *)arg, sizeof(range)))
		return -EFAULT;
	if (block_is_read_only(d))
		return -EPERM;
	return erase_bytes(d, range[0], range[1], cmd == BLKDISCARD ? block_discard : zero_anyhow);
}

int block_fallocate(struct file *f, int mode, s64 off, s64 len)
{
	struct block_dev *d = f->priv;
	s64 end = (s64)(d->sectors << SECTOR_SHIFT);
	int what = mode & ~(FALLOC_FL_KEEP_SIZE | FALLOC_FL_NO_HIDE_STALE);

	if (off >= end)
		return -EINVAL;
	if (off + len > end) {
		if (!(mode & FALLOC_FL_KEEP_SIZE))
			return -EINVAL;
		len = end - off;
	}
	if ((off | len) % d->whole->limits.logical_block)
		return -EINVAL;
	if (what == FALLOC_FL_ZERO_RANGE && !(mode & FALLOC_FL_NO_HIDE_STALE))
		return erase_bytes(d, off, len, zero_anyhow);
	if (what != FALLOC_FL_PUNCH_HOLE || !(mode & FALLOC_FL_KEEP_SIZE))
		return -EOPNOTSUPP;
	return erase_bytes(d, off, len, mode & FALLOC_FL_NO_HIDE_STALE ? block_discard : zero_by_command);
}
