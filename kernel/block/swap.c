/* SPDX-License-Identifier: MIT
 *
 * Problem: mm writes cold pages to a swap area: a block device, or a file on one.
 *
 * Idea: slot n is page n of the device or the file. A file's runs on its disk are asked for once, by swapon; from then
 * on nobody may write to it, cut it or remove its name, so they stay. Neighbouring slots go in one transfer, past all
 * page caches; vectors and the bio are on the stack, since whoever swaps has no memory to spare.
 *
 * Contract: mm/swap.h. A device is claimed: neither mounted nor part of an array meanwhile. A file has no holes, and
 * its runs are whole pages.
 *
 * Locks: none held while waiting.
 */
#include <alloc/kmap.h>
#include <alloc/page.h>
#include <alloc/slab.h>
#include <block/block.h>
#include <core/init.h>
#include <core/log.h>
#include <lib/err.h>
#include <linux/fiemap.h>
#include <mm/swap.h>
#include <vfs/cache.h>
#include <vfs/uapi.h>
#include <vfs/vfs.h>
#include <vfs/writeback.h>

#include "block_priv.h"

#define PIECE_PAGES  32
#define PAGE_SECTORS (PAGE_SIZE >> SECTOR_SHIFT)

struct run { /* of pages, one behind another in the file and on the disk */
	u64 slot, sector;
};

struct block_swap {
	struct block_dev *dev;
	struct file *file; /* counted: keeps the device */
	struct run *runs;  /* of a file, by slot; the last one begins behind its end. NULL: a whole device */
	u32 nr_runs;
};

/* Where the slot is, and how many more follow it there. */
static u64 sector_of(const struct block_swap *s, u64 slot, u64 *follow)
{
	u32 low = 0, high = s->nr_runs;

	*follow = ~0ULL;
	if (!s->runs)
		return slot * PAGE_SECTORS;
	while (high - low > 1) {
		u32 mid = (low + high) / 2;

		if (s->runs[mid].slot <= slot)
			low = mid;
		else
			high = mid;
	}
	*follow = s->runs[low + 1].slot - slot;
	return s->runs[low].sector + (slot - s->runs[low].slot) * PAGE_SECTORS;
}

static int swap_rw(void *priv, bool write, u64 slot, struct page **pages, unsigned n)
{
	struct block_swap *s = priv;
	struct bio_vec vecs[PIECE_PAGES];
	int err = 0;

	for (unsigned done = 0, part; done < n && !err; done += part) {
		u64 follow, sector = sector_of(s, slot + done, &follow);
		struct bio b;

		part = (unsigned)min((u64)min(n - done, (unsigned)PIECE_PAGES), follow);
		for (unsigned i = 0; i < part; i++)
			vecs[i] = (struct bio_vec){ pages[done + i], 0, PAGE_SIZE };
		bio_init(&b, s->dev, write ? BLOCK_WRITE : BLOCK_READ, sector, vecs, part);
		b.flags = BIO_SYNC | BIO_DIRECT | BIO_SWAP;
		b.done = block_done_wake;
		block_submit(&b);
		err = block_wait(&b);
	}
	return err;
}

/* ---- a file ---- */

static void file_release(void *priv)
{
	struct block_swap *s = priv;
	struct inode *i = s->file->inode;

	write_lock(&i->lock);
	i->flags &= ~(u32)INODE_SWAP;
	write_unlock(&i->lock);
	file_put(s->file);
	big_free(s->runs);
	kfree(s);
}

static const struct swap_ops file_ops = { .rw = swap_rw, .release = file_release };

/* Counts the runs of n slots, and notes them where there is room. */
static int find_runs(struct inode *i, u64 slots, struct run *out, u32 *nr)
{
	u64 next = ~0ULL; /* sector that would go on with the last run */

	*nr = 0;
	for (u64 slot = 0; slot < slots;) {
		struct file_extent e;
		int err = i->ops->extent(i, slot * PAGE_SIZE, &e);
		u64 skip = slot * PAGE_SIZE - e.at, pages, sector;

		if (err)
			return err;
		pages = min((e.bytes - skip) / PAGE_SIZE, slots - slot);
		sector = (e.device + skip) >> SECTOR_SHIFT;
		if (e.is_hole || e.flags & FIEMAP_EXTENT_DATA_INLINE || !pages)
			return fail(EINVAL, "swap file with a hole at page %llu", (unsigned long long)slot);
		if (sector != next) {
			if (out)
				out[*nr] = (struct run){ slot, sector };
			++*nr;
		}
		slot += pages;
		next = sector + pages * PAGE_SECTORS;
	}
	if (out)
		out[*nr] = (struct run){ .slot = slots };
	return 0;
}

static int learn_runs(struct block_swap *s, u64 slots)
{
	struct inode *i = s->file->inode;
	u32 nr;
	int err = cache_sync_all(s->file);

	if (!err)
		err = find_runs(i, slots, NULL, &nr);
	if (err)
		return err;
	s->runs = big_alloc(nr + 1, sizeof(*s->runs));
	return s->runs ? find_runs(i, slots, s->runs, &s->nr_runs) : -ENOMEM;
}

/* From here on every write to it fails; who has it open keeps it so. */
static int take_file(struct file *f, struct swap_backing *out)
{
	struct block_swap *s = kzalloc(sizeof(*s), 0);
	struct inode *i = f->inode;
	bool taken;
	int err;

	if (!s)
		return -ENOMEM;
	*s = (struct block_swap){ .dev = i->super->bdev, .file = f };
	write_lock(&i->lock);
	taken = i->flags & INODE_SWAP;
	i->flags |= INODE_SWAP;
	write_unlock(&i->lock);
	if (taken) {
		kfree(s);
		return -EBUSY;
	}
	file_get(f);
	err = learn_runs(s, out->slots);
	if (err)
		file_release(s);
	out->priv = s;
	return err;
}

static int file_open(struct file *f, bool take, struct swap_backing *out)
{
	struct inode *i = f->inode;

	if (!S_ISREG(i->mode) || !i->ops->extent || !i->super->bdev)
		return -ENXIO;
	*out = (struct swap_backing){ .ops = &file_ops, .slots = (u64)i->size / PAGE_SIZE, .id = (ulong)i };
	return take ? take_file(f, out) : 0;
}

/* ---- a device ---- */

static void device_release(void *priv)
{
	struct block_swap *s = priv;

	block_release(s->dev, s);
	file_put(s->file);
	kfree(s);
}

static const struct swap_ops device_ops = { .rw = swap_rw, .release = device_release };

static int take_device(struct file *f, struct block_dev *d, struct swap_backing *out)
{
	struct block_swap *s = kzalloc(sizeof(*s), 0);
	int err;

	if (!s)
		return -ENOMEM;
	*s = (struct block_swap){ .dev = d, .file = f };
	err = block_claim(d, s);
	if (!err)
		err = block_flush_cache(d);
	if (err) {
		block_release(d, s);
		kfree(s);
		return err;
	}
	file_get(f);
	out->priv = s;
	return 0;
}

static int device_open(struct file *f, bool take, struct swap_backing *out)
{
	struct block_dev *d;

	if (!S_ISBLK(f->inode->mode))
		return -ENXIO;
	d = block_dev_of(f);
	*out = (struct swap_backing){
		.ops = &device_ops, .slots = d->sectors >> (PAGE_SHIFT - SECTOR_SHIFT), .is_device = true, .id = d->rdev
	};
	return take ? take_device(f, d, out) : 0;
}

static struct swap_kind device_kind = { .open = device_open }, file_kind = { .open = file_open };

static void swap_init(void)
{
	swap_kind_register(&device_kind);
	swap_kind_register(&file_kind);
}
PART_INIT(driver, swap_init);
