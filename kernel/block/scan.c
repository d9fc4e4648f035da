/* SPDX-License-Identifier: MIT
 *
 * Problem: a new disk's partitions must appear by themselves, and appear anew when a table was rewritten.
 *
 * Idea: reading sleeps, so a worker reads; the table's meaning is the pure parser's (block/partition.h), which never
 * trusts a number in it.
 *
 * Contract: block_partitions_scan of block_priv.h: returns at once; a disk that cannot be read or has no table has no
 * partitions, and says why at LOG_WARN only if reading failed.
 *
 * Locks: none.
 */
#include <block/partition.h>
#include <core/log.h>
#include <lib/err.h>
#include <task/work.h>

#include "block_priv.h"

struct scan {
	struct work work;
	struct block_dev *disk;
};

static int read_block(void *ctx, u64 block, void *buf)
{
	struct block_dev *d = ctx;
	u32 bytes = d->limits.logical_block;

	return block_rw(d, BLOCK_READ, block * (bytes >> SECTOR_SHIFT), buf, bytes, BIO_META);
}

static void add_all(struct block_dev *d, const struct partition *parts, int n)
{
	for (int i = 0; i < n; i++)
		if (block_add_partition(d, parts[i].number, parts[i].start_sector, parts[i].nr_sectors))
			log_warn("%s: partition %u was left out", d->name, parts[i].number);
}

static void scan(struct work *w)
{
	struct scan *s = container_of(w, struct scan, work);
	struct block_dev *d = s->disk;
	struct partition_source source = { .ctx = d,
					   .nr_blocks = d->sectors / (d->limits.logical_block >> SECTOR_SHIFT),
					   .block_bytes = d->limits.logical_block,
					   .read = read_block };
	struct partition *parts = kcalloc(PARTITION_MAX, sizeof(*parts), ALLOC_KERNEL);
	int n = parts ? partition_scan(&source, parts, PARTITION_MAX) : -ENOMEM;

	if (n < 0)
		log_warn("%s: the partition table cannot be read: error %d", d->name, -n);
	else
		add_all(d, parts, n);
	kfree(parts);
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
