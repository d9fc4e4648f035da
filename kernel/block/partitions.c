/* SPDX-License-Identifier: MIT
 *
 * Problem: a new disk's partitions must appear by themselves, anew when a table was rewritten, and one by one when a
 * program says so (partx, fdisk, kpartx's kin).
 *
 * Idea: reading sleeps, so a worker reads; the table's meaning is the pure parser's (block/partition.h), which never
 * trusts a number in it. A partition is a device of its own that refers to its disk. It may be taken away when nobody
 * has it open or claimed; a new table is applied only if that holds for all of them.
 *
 * Contract: block_rescan of block/block.h, block_partition* of block_priv.h; ioctls BLKRRPART and BLKPG of Linux.
 *
 * Locks: partitions_lock (RANK_DISK) serialises changes.
 */
#include <block/partition.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/printf.h>
#include <lib/string.h>
#include <task/work.h>
#include <vfs/device.h>

#include "block_priv.h"

static struct mutex partitions_lock = MUTEX_INIT(partitions_lock, RANK_DISK);

struct scan {
	struct work work;
	struct block_dev *disk;
};

/* ---- one partition ------------------------------------------------------------------------------------------ */

/* Counted; NULL: after is the last. In the order of the list. */
static struct block_dev *next_partition(struct block_dev *disk, unsigned after)
{
	struct block_dev *d, *best = NULL;

	spin_lock(&block_list_lock);
	list_for_each_entry (d, &block_devices, link)
		if (d->whole == disk && d->partition > after && (!best || d->partition < best->partition))
			best = d;
	if (best)
		refcount_inc(&best->refs);
	spin_unlock(&block_list_lock);
	return best;
}

static struct block_dev *find(struct block_dev *disk, unsigned number)
{
	struct block_dev *p = number ? next_partition(disk, number - 1) : NULL;

	if (p && p->partition != number) {
		block_put(p);
		p = NULL;
	}
	return p;
}

static bool overlaps(struct block_dev *disk, unsigned number, u64 start, u64 sectors)
{
	struct block_dev *d;
	bool found = false;

	spin_lock(&block_list_lock);
	list_for_each_entry (d, &block_devices, link)
		found |= d->whole == disk && d->partition && d->partition != number && start < d->start + d->sectors &&
			 d->start < start + sectors;
	spin_unlock(&block_list_lock);
	return found;
}

static int check_range(struct block_dev *disk, unsigned number, u64 start, u64 sectors)
{
	if (!number || !sectors || start > disk->sectors || sectors > disk->sectors - start)
		return fail(EINVAL, "%s: partition %u is outside the disk", disk->name, number);
	return 0;
}

static int add(struct block_dev *disk, unsigned number, u64 start, u64 sectors)
{
	struct block_dev *p;
	size_t len = strlen(disk->name);
	const char *infix = disk->name[len - 1] >= '0' && disk->name[len - 1] <= '9' ? "p" : "";
	int err = check_range(disk, number, start, sectors);

	if (err)
		return err;
	p = kzalloc(sizeof(*p), ALLOC_KERNEL);
	if (!p)
		return -ENOMEM;
	str_format(p->name, sizeof(p->name), "%s%s%u", disk->name, infix, number);
	p->whole = disk;
	p->start = start;
	p->sectors = sectors;
	p->partition = number;
	p->limits = disk->limits;
	p->read_ahead_bytes = disk->read_ahead_bytes;
	p->sequence = disk->sequence;
	p->rdev = number < disk->minors ? disk->rdev + number : block_extended_number();
	refcount_set(&p->refs, 1);
	refcount_inc(&disk->refs);
	err = block_publish(p, &disk->attr);
	if (err)
		log_warn("%s: not made: error %d", p->name, -err);
	return err;
}

static bool is_used(struct block_dev *p)
{
	return atomic_read(&p->openers) || READ_ONCE(p->holder);
}

/* Takes over the caller's reference. */
static void drop(struct block_dev *p)
{
	p->dead = true;
	block_unpublish(p);
	block_put(p); /* the registration's */
	block_put(p);
}

int block_partition_add(struct block_dev *disk, unsigned number, u64 start, u64 sectors)
{
	struct block_dev *old;
	int err;

	mutex_lock(&partitions_lock);
	old = find(disk, number);
	if (old)
		block_put(old);
	err = old || overlaps(disk, number, start, sectors) ? -EBUSY : add(disk, number, start, sectors);
	mutex_unlock(&partitions_lock);
	return err;
}

int block_partition_remove(struct block_dev *disk, unsigned number)
{
	struct block_dev *p;
	int err = 0;

	mutex_lock(&partitions_lock);
	p = find(disk, number);
	if (!p) {
		err = -ENXIO;
	} else if (is_used(p)) {
		err = -EBUSY;
		block_put(p);
	} else {
		drop(p);
	}
	mutex_unlock(&partitions_lock);
	return err;
}

int block_partition_resize(struct block_dev *disk, unsigned number, u64 start, u64 sectors)
{
	struct block_dev *p;
	int err = check_range(disk, number, start, sectors);

	if (err)
		return err;
	mutex_lock(&partitions_lock);
	p = find(disk, number);
	if (!p)
		err = -ENXIO;
	else if (p->start != start)
		err = -EINVAL;
	else if (overlaps(disk, number, start, sectors))
		err = -EBUSY;
	else
		block_set_sectors(p, sectors);
	mutex_unlock(&partitions_lock);
	if (p)
		block_put(p);
	return err;
}

/* ---- all of them ---------------------------------------------------------------------------------------------- */

bool block_partitions_used(struct block_dev *disk)
{
	struct block_dev *d;
	bool used = false;

	spin_lock(&block_list_lock);
	list_for_each_entry (d, &block_devices, link)
		used |= d->whole == disk && d->partition && is_used(d);
	spin_unlock(&block_list_lock);
	return used;
}

static void drop_all(struct block_dev *disk)
{
	struct block_dev *p;

	while ((p = next_partition(disk, 0)))
		drop(p);
}

void block_partitions_drop(struct block_dev *disk)
{
	mutex_lock(&partitions_lock);
	drop_all(disk);
	mutex_unlock(&partitions_lock);
}

static int read_block(void *ctx, u64 block, void *buf)
{
	struct block_dev *d = ctx;
	u32 bytes = d->limits.logical_block;

	return block_rw(d, BLOCK_READ, block * (bytes >> SECTOR_SHIFT), buf, bytes, BIO_META);
}

/* The lock is held. */
static int read_table(struct block_dev *d)
{
	struct partition_source source = { .ctx = d,
					   .nr_blocks = d->sectors / (d->limits.logical_block >> SECTOR_SHIFT),
					   .block_bytes = d->limits.logical_block,
					   .read = read_block };
	struct partition *parts = kcalloc(PARTITION_MAX, sizeof(*parts), ALLOC_KERNEL);
	int n = parts ? partition_scan(&source, parts, PARTITION_MAX) : -ENOMEM;

	for (int i = 0; i < n; i++)
		if (add(d, parts[i].number, parts[i].start_sector, parts[i].nr_sectors))
			log_warn("%s: partition %u was left out", d->name, parts[i].number);
	kfree(parts);
	return min(n, 0);
}

int block_rescan(struct block_dev *d)
{
	int err = 0;

	mutex_lock(&partitions_lock);
	if (block_partitions_used(d))
		err = -EBUSY;
	else
		drop_all(d);
	if (!err && d->sectors)
		err = read_table(d);
	mutex_unlock(&partitions_lock);
	return err;
}

static void scan(struct work *w)
{
	struct scan *s = container_of(w, struct scan, work);
	struct block_dev *d = s->disk;
	int err = d->dead ? 0 : block_rescan(d);

	if (err)
		log_warn("%s: the partition table cannot be read: error %d", d->name, -err);
	block_put(d);
	kfree(s);
}

void block_partitions_scan(struct block_dev *d)
{
	struct scan *s = kmalloc(sizeof(*s), ALLOC_KERNEL);

	if (!s)
		return;
	refcount_inc(&d->refs);
	s->disk = d;
	work_init(&s->work, scan);
	work_queue(&s->work);
}
