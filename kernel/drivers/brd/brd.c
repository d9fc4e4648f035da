/* SPDX-License-Identifier: MIT
 *
 * Problem: tests, benchmarks and initial ramdisks want a disk as fast as memory.
 *
 * Idea: an xarray from page number to page, filled as sectors are written; what was never written reads as zeros. A bio
 * is done at once where it is submitted: no queue, no tag, no interrupt. Discarded pages go back to the allocator.
 *
 * Contract: `brd.rd_nr=N brd.rd_size=KIB` on the command line makes /dev/ram0 .. ramN-1 (1:0 ...), as Linux's brd
 * does; rd_size defaults to 16 MiB. Pages are the kernel's own and stay until they are discarded. A write that
 * finds no memory fails with ENOSPC.
 *
 * Locks: disk->lock (RANK_DRIVER, irqsave) covers changes of the tree; look-ups run under RCU, and pages that leave are
 * freed after a grace period.
 */
#include <alloc/page.h>
#include <alloc/slab.h>
#include <arch/boot.h>
#include <block/block.h>
#include <core/init.h>
#include <core/log.h>
#include <core/rcu.h>
#include <lib/err.h>
#include <lib/printf.h>
#include <lib/string.h>
#include <lib/xarray.h>
#include <linux/major.h>
#include <vfs/cache.h>
#include <vfs/device.h>

#define MAX_DISKS    256
#define DEFAULT_KIB  16384
#define SECTORS_PAGE (PAGE_SIZE / SECTOR_SIZE)

struct brd {
	struct block_dev block;
	struct spinlock lock;
	struct xarray pages;
};

struct leaving { /* pages that readers may still be copying from */
	struct rcu_head rcu;
	unsigned nr;
	struct page *pages[62];
};

static struct brd *brd_of(const struct bio *b)
{
	return b->dev->whole->priv;
}

/* The page of a sector, made if it is to be written. NULL: it has none. */
static struct page *page_of(struct brd *d, u64 index, bool make)
{
	struct page *p = xa_load(&d->pages, index), *fresh;
	ulong irq;

	if (p || !make)
		return p;
	fresh = page_alloc(0, ALLOC_ZERO | ALLOC_ATOMIC, NULL);
	if (!fresh)
		return NULL;
	irq = spin_lock_irqsave(&d->lock);
	p = xa_load(&d->pages, index);
	if (!p && !xa_store(&d->pages, index, fresh, NULL)) {
		p = fresh;
		fresh = NULL;
	}
	spin_unlock_irqrestore(&d->lock, irq);
	if (fresh)
		page_put(fresh);
	return p;
}

/* One vector, from byte `at` of the disk on. */
static int move(struct brd *d, u64 at, u8 *mem, u32 bytes, bool write)
{
	while (bytes) {
		u32 offset = at % PAGE_SIZE, n = min(bytes, (u32)PAGE_SIZE - offset);
		struct page *p;

		rcu_read_lock();
		p = page_of(d, at / PAGE_SIZE, write);
		if (p && write)
			memcpy((u8 *)page_virt(p) + offset, mem, n);
		else if (p)
			memcpy(mem, (u8 *)page_virt(p) + offset, n);
		else if (!write)
			memset(mem, 0, n);
		rcu_read_unlock();
		if (!p && write)
			return -ENOSPC;
		at += n;
		mem += n;
		bytes -= n;
	}
	return 0;
}

static void free_leaving(struct rcu_head *head)
{
	struct leaving *l = container_of(head, struct leaving, rcu);

	for (unsigned i = 0; i < l->nr; i++)
		page_put(l->pages[i]);
	kfree(l);
}

/* Takes out the next pages of [*index, end). False: none is left, or no memory to remember them. */
static bool take_out(struct brd *d, u64 *index, u64 end)
{
	struct leaving *l = kmalloc(sizeof(*l), ALLOC_ATOMIC);
	struct page *p;
	ulong irq;

	if (!l)
		return false;
	l->nr = 0;
	irq = spin_lock_irqsave(&d->lock);
	while (l->nr < ARRAY_SIZE(l->pages) && *index < end && (p = xa_find(&d->pages, index, end - 1))) {
		xa_erase(&d->pages, (*index)++);
		l->pages[l->nr++] = p;
	}
	spin_unlock_irqrestore(&d->lock, irq);
	if (!l->nr) {
		kfree(l);
		return false;
	}
	rcu_call(&l->rcu, free_leaving);
	return true;
}

static int zero_part(struct brd *d, u64 at, u64 end)
{
	struct page *p;

	rcu_read_lock();
	p = at < end ? page_of(d, at / PAGE_SIZE, false) : NULL;
	if (p)
		memset((u8 *)page_virt(p) + at % PAGE_SIZE, 0, end - at);
	rcu_read_unlock();
	return 0;
}

/* Whole pages go; the parts of pages at the ends are cleared. */
static int erase(struct brd *d, u64 at, u64 bytes)
{
	u64 end = at + bytes, first = ALIGN_UP(at, PAGE_SIZE), last = ALIGN_DOWN(end, PAGE_SIZE), index;

	if (first > last)
		return zero_part(d, at, end);
	zero_part(d, at, first);
	zero_part(d, last, end);
	index = first / PAGE_SIZE;
	while (take_out(d, &index, last / PAGE_SIZE))
		;
	rcu_read_lock();
	for (; index < last / PAGE_SIZE; index++) { /* memory was short: cleared at least */
		struct page *p = xa_find(&d->pages, &index, last / PAGE_SIZE - 1);

		if (!p)
			break;
		memset(page_virt(p), 0, PAGE_SIZE);
	}
	rcu_read_unlock();
	return 0;
}

static void submit(struct bio *b)
{
	struct brd *d = brd_of(b);
	u64 at = b->sector << SECTOR_SHIFT;
	int err = 0;

	if (b->op == BLOCK_READ || b->op == BLOCK_WRITE) {
		for (unsigned i = 0; i < b->nr_vecs && !err; i++) {
			struct bio_vec v = b->vecs[i];

			err = move(d, at, (u8 *)page_virt(v.page) + v.offset, v.bytes, b->op == BLOCK_WRITE);
			at += v.bytes;
		}
	} else if (b->op != BLOCK_FLUSH) {
		err = erase(d, at, b->bytes);
	}
	block_complete(b, err);
}

static const struct block_driver driver = { .submit = submit };

static int make(unsigned index, u64 kib)
{
	struct brd *d = kzalloc(sizeof(*d), ALLOC_KERNEL);
	int err;

	if (!d)
		return -ENOMEM;
	spin_init(&d->lock, RANK_DRIVER);
	xa_init(&d->pages, &vfs_xa_mem);
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

static u64 parameter(const char *name, u64 otherwise)
{
	char text[16];
	u64 v;

	return boot_param(name, text, sizeof(text)) && !str_to_u64(text, 0, &v) ? v : otherwise;
}

static void brd_init(void)
{
	u64 nr = min(parameter("brd.rd_nr", 0), (u64)MAX_DISKS);
	u64 kib = min(max(parameter("brd.rd_size", DEFAULT_KIB), 4ULL), 1ULL << 40);

	for (unsigned i = 0; i < nr; i++)
		if (make(i, kib))
			log_warn("ram%u: out of memory", i);
}
PART_INIT(driver, brd_init);
