/* SPDX-License-Identifier: MIT
 *
 * Problem: tests, benchmarks and initial ramdisks want a disk as fast as memory.
 *
 * Idea: pages of memory (block/memstore.h). A bio is done at once where it is submitted: no queue, no tag, no
 * interrupt.
 *
 * Contract: `brd.rd_nr=N brd.rd_size=KIB` on the command line makes /dev/ram0 .. ramN-1 (1:0 ...), as Linux's brd
 * does; rd_size defaults to 16 MiB. A write that finds no memory fails with ENOSPC.
 *
 * Locks: none of its own.
 */
#include <alloc/slab.h>
#include <arch/boot.h>
#include <block/memstore.h>
#include <core/init.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/printf.h>
#include <lib/string.h>
#include <linux/major.h>
#include <vfs/device.h>

#define MAX_DISKS   256
#define DEFAULT_KIB 16384

struct brd {
	struct block_dev block;
	struct memstore store;
};

static struct brd *brd_of(const struct bio *b)
{
	return b->dev->whole->priv;
}

static void submit(struct bio *b)
{
	block_complete(b, memstore_do(&brd_of(b)->store, b));
}

static const struct block_driver driver = { .submit = submit };

static int make(unsigned index, u64 kib)
{
	struct brd *d = kzalloc(sizeof(*d), ALLOC_KERNEL);
	int err;

	if (!d)
		return -ENOMEM;
	memstore_init(&d->store);
	d->block.priv = d;
	d->block.driver = &driver;
	d->block.rdev = DEV(RAMDISK_MAJOR, index);
	d->block.minors = 1;
	d->block.sectors = kib << (10 - SECTOR_SHIFT);
	d->block.limits = (struct block_limits){ .logical_block = SECTOR_SIZE,
						 .physical_block = PAGE_SIZE,
						 .max_bytes = UINT32_MAX & ~(u32)(PAGE_SIZE - 1),
						 .max_vecs = UINT16_MAX,
						 .max_discard_bytes = 1 << 30,
						 .max_zeroes_bytes = 1 << 30 };
	str_format(d->block.name, sizeof(d->block.name), "ram%u", index);
	err = block_prepare(&d->block, 0, 0);
	return err ? err : block_add(&d->block);
}

static void brd_init(void)
{
	u64 nr = min(boot_param_u64("brd.rd_nr", ~0UL, 0), (u64)MAX_DISKS);
	u64 kib = min(max(boot_param_u64("brd.rd_size", ~0UL, DEFAULT_KIB), 4ULL), 1ULL << 40);

	for (unsigned i = 0; i < nr; i++)
		if (make(i, kib))
			log_warn("ram%u: out of memory", i);
}
PART_INIT(driver, brd_init);
