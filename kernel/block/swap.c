/* SPDX-License-Identifier: MIT
 *
 * Problem: mm writes cold pages to a swap area; here it is a block device.
 *
 * Idea: slot n is page n of the device. Neighbouring slots go in one transfer, past the device's page cache; vectors
 * and the bio are on the stack, since whoever swaps has no memory to spare.
 *
 * Contract: mm/swap.h. The device is claimed: neither mounted nor part of an array meanwhile.
 *
 * Locks: none held while waiting.
 */
#include <alloc/page.h>
#include <alloc/slab.h>
#include <block/block.h>
#include <core/init.h>
#include <lib/err.h>
#include <mm/swap.h>
#include <vfs/uapi.h>
#include <vfs/vfs.h>

#include "block_priv.h"

#define PIECE_PAGES 32

struct block_swap {
	struct block_dev *dev;
	struct file *file; /* counted: keeps the device */
};

static int swap_rw(void *priv, bool write, u64 slot, struct page **pages, unsigned n)
{
	struct block_swap *s = priv;
	struct bio_vec vecs[PIECE_PAGES];
	int err = 0;

	for (unsigned done = 0, part; done < n && !err; done += part) {
		struct bio b;

		part = min(n - done, (unsigned)PIECE_PAGES);
		for (unsigned i = 0; i < part; i++)
			vecs[i] = (struct bio_vec){ pages[done + i], 0, PAGE_SIZE };
		bio_init(&b, s->dev, write ? BLOCK_WRITE : BLOCK_READ, (slot + done) << (PAGE_SHIFT - SECTOR_SHIFT),
			 vecs, part);
		b.flags = BIO_SYNC | BIO_DIRECT | BIO_SWAP;
		b.done = block_done_wake;
		block_submit(&b);
		err = block_wait(&b);
	}
	return err;
}

static void swap_release(void *priv)
{
	struct block_swap *s = priv;

	block_release(s->dev, s);
	file_put(s->file);
	kfree(s);
}

static const struct swap_ops swap_ops = { .rw = swap_rw, .release = swap_release };

static int take_device(struct file *f, struct block_dev *d, struct swap_backing *out)
{
	struct block_swap *s = kzalloc(sizeof(*s), 0);
	int err;

	if (!s)
		return -ENOMEM;
	*s = (struct block_swap){ d, f };
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

static int swap_open(struct file *f, bool take, struct swap_backing *out)
{
	struct block_dev *d;

	if (!S_ISBLK(f->inode->mode))
		return -ENXIO;
	d = block_dev_of(f);
	*out = (struct swap_backing){
		.ops = &swap_ops, .slots = d->sectors >> (PAGE_SHIFT - SECTOR_SHIFT), .is_device = true, .id = d->rdev
	};
	return take ? take_device(f, d, out) : 0;
}

static struct swap_kind device_kind = { .open = swap_open };

static void swap_init(void)
{
	swap_kind_register(&device_kind);
}
PART_INIT(driver, swap_init);
