/* SPDX-License-Identifier: MIT
 *
 * Problem: programs that keep their own cache (databases, fio) want their memory to be the device's buffer.
 *
 * Idea: pin the user's pages, build vectors on them, submit, wait (or poll, with RWF_HIPRI). A long transfer goes in
 * pieces that fit on the kernel stack's vector array; a piece that fails ends the transfer with what was done before.
 *
 * Contract: block_direct_rw of block_priv.h. Position, length and memory addresses are multiples of the logical block
 * size, or EINVAL, as on Linux. A buffered copy of the same range is the caller's business.
 *
 * Locks: none held while waiting; pinned pages carry references.
 */
#include <alloc/page.h>
#include <block/block.h>
#include <core/log.h>
#include <lib/err.h>
#include <mm/mm.h>
#include <task/task.h>
#include <vfs/vfs.h>

#include "block_priv.h"

#define PIECE_PAGES 64

/* The segment of the iterator under its cursor. */
static struct iter_vec segment(const struct iter *it)
{
	const struct iter_vec *v = it->vec ? &it->vec[it->at] : &it->one;

	return (struct iter_vec){ v->base + it->skip, min(v->len - it->skip, it->count) };
}

/* Finds the pages behind [base, base+bytes); returns how many bytes they cover, or -errno. Pages are counted. */
static ssize_t get_pages(const struct iter *it, struct iter_vec s, bool device_writes, struct page **pages,
			 unsigned *nr)
{
	unsigned offset = s.base & ~PAGE_MASK;
	unsigned want = min(DIV_ROUND_UP(offset + s.len, PAGE_SIZE), (size_t)PIECE_PAGES);
	int got;

	if (it->kind == ITER_KERNEL) {
		for (unsigned i = 0; i < want; i++) {
			pages[i] =
				pfn_to_page(virt_to_phys((void *)(s.base & PAGE_MASK) + i * PAGE_SIZE) >> PAGE_SHIFT);
			page_get(pages[i]);
		}
		got = (int)want;
	} else {
		got = mm_pin_user(current->mm, s.base, want, device_writes, pages);
	}
	if (got <= 0)
		return got ? got : -EFAULT;
	*nr = got;
	return min((size_t)got * PAGE_SIZE - offset, s.len);
}

static unsigned make_vecs(struct bio_vec *vecs, struct page **pages, unsigned nr, unsigned offset, size_t bytes)
{
	for (unsigned i = 0; i < nr; i++) {
		u32 len = min(bytes, PAGE_SIZE - offset);

		vecs[i] = (struct bio_vec){ pages[i], offset, len };
		bytes -= len;
		offset = 0;
	}
	return nr;
}

static unsigned bio_flags(const struct io *io, enum block_op op)
{
	unsigned flags = BIO_SYNC | BIO_DIRECT;

	if (io->flags & IO_HIPRI)
		flags |= BIO_HIPRI;
	if (io->flags & IO_NOWAIT)
		flags |= BIO_NOWAIT;
	if (op == BLOCK_WRITE && io->flags & (IO_DSYNC | IO_SYNC))
		flags |= BIO_FUA;
	return flags;
}

/* One piece; returns bytes moved or -errno. */
static ssize_t move_piece(struct block_dev *d, struct io *io, enum block_op op)
{
	struct page *pages[PIECE_PAGES];
	struct bio_vec vecs[PIECE_PAGES];
	struct iter_vec s = segment(&io->iter);
	u32 block = d->whole->limits.logical_block;
	struct bio b;
	unsigned nr;
	ssize_t bytes;
	int err;

	if (s.base % block || s.len % block)
		return fail(EINVAL, "%s: memory not aligned to %u", d->name, block);
	bytes = get_pages(&io->iter, s, op == BLOCK_READ, pages, &nr);
	if (bytes < 0)
		return bytes;
	bio_init(&b, d, op, io->pos >> SECTOR_SHIFT, vecs, make_vecs(vecs, pages, nr, s.base & ~PAGE_MASK, bytes));
	b.flags = bio_flags(io, op);
	b.done = block_done_wake;
	block_submit(&b);
	err = block_wait(&b);
	for (unsigned i = 0; i < nr; i++)
		page_put(pages[i]);
	return err ? err : bytes;
}

ssize_t block_direct_rw(struct block_dev *d, struct io *io, enum block_op op)
{
	u64 end = d->sectors << SECTOR_SHIFT;
	u32 block = d->whole->limits.logical_block;
	ssize_t total = 0, n = 0;

	if (io->pos % block || io->iter.count % block)
		return fail(EINVAL, "%s: transfer not aligned to %u", d->name, block);
	if ((u64)io->pos >= end)
		return op == BLOCK_READ || !io->iter.count ? 0 : -ENOSPC;
	io->iter.count = min((u64)io->iter.count, end - io->pos);
	while (io->iter.count) {
		n = move_piece(d, io, op);
		if (n <= 0)
			break;
		iter_advance(&io->iter, n);
		io->pos += n;
		total += n;
	}
	return total ? total : n;
}
