/* SPDX-License-Identifier: MIT
 *
 * Problem: programs that keep their own cache (databases, fio) want their memory to be the device's buffer, in
 * transfers of any length, and many of them at a time from one thread.
 *
 * Idea: a transfer is cut into pieces of up to PIECE_VECS pages; each pins its pages and is one bio. All pieces are
 * under way before anybody waits. A synchronous caller waits for (or polls) one after the other; an asynchronous one
 * (io->done) is told by the last piece to finish. The usual small synchronous transfer is one piece on the stack.
 *
 *      io --pin--> piece, piece, piece --submit--> ... --> last one finished --> result to the caller, or io->done
 *
 * Contract: block_direct_rw of block_priv.h. Position and length are multiples of the logical block size, memory
 * addresses of 512 bytes (or the block, if smaller), or EINVAL. If a piece fails, the transfer fails. Memory that is
 * not there ends the transfer: the bytes before it count. A buffered copy of the same range is the caller's business.
 *
 * Locks: none; pinned pages carry references, counters are atomic.
 */
#include <alloc/page.h>
#include <block/block.h>
#include <core/log.h>
#include <lib/err.h>
#include <mm/mm.h>
#include <task/plug.h>
#include <task/task.h>
#include <vfs/vfs.h>

#include "block_priv.h"

#define PIECE_VECS 256
#define FEW_VECS   16 /* of a piece on the stack, and how many pages are pinned at once */

struct direct {
	struct io *io;
	atomic_t pending; /* pieces under way, and one for who makes them */
	int error;        /* of the first piece that failed */
	ssize_t bytes;
};

struct piece {
	struct bio bio;
	struct direct *owner; /* asynchronous */
	struct piece *next;   /* synchronous */
	unsigned room;
	struct bio_vec vecs[];
};

/* The segment of the iterator under its cursor. */
static struct iter_vec segment(const struct iter *it)
{
	const struct iter_vec *v = it->vec ? &it->vec[it->at] : &it->one;

	return (struct iter_vec){ v->base + it->skip, min(v->len - it->skip, it->count) };
}

/* Pages behind the start of s; how many, or -errno. Each is counted. */
static int get_pages(const struct iter *it, struct iter_vec s, unsigned want, bool device_writes, struct page **pages)
{
	if (it->kind == ITER_USER)
		return mm_pin_user(current->mm, s.base, want, device_writes, pages);
	for (unsigned i = 0; i < want; i++) {
		pages[i] = pfn_to_page(virt_to_phys((void *)(s.base & PAGE_MASK) + i * PAGE_SIZE) >> PAGE_SHIFT);
		page_get(page_head(pages[i]));
	}
	return (int)want;
}

/* Appends what lies at the iterator's cursor, a few pages at most; bytes or -errno. */
static ssize_t append(struct piece *p, struct iter *it, bool device_writes)
{
	struct page *pages[FEW_VECS];
	struct iter_vec s = segment(it);
	unsigned offset = s.base & ~PAGE_MASK;
	unsigned want = min(min(p->room - p->bio.nr_vecs, FEW_VECS), (unsigned)DIV_ROUND_UP(offset + s.len, PAGE_SIZE));
	int got = get_pages(it, s, want, device_writes, pages);
	size_t left = s.len, bytes = 0;

	if (got <= 0)
		return got ? got : -EFAULT;
	for (int i = 0; i < got; i++) {
		u32 len = min(left, PAGE_SIZE - offset);

		p->vecs[p->bio.nr_vecs++] = (struct bio_vec){ pages[i], offset, len };
		left -= len;
		bytes += len;
		offset = 0;
	}
	iter_advance(it, bytes);
	return bytes;
}

static void unpin(struct piece *p, unsigned from)
{
	while (p->bio.nr_vecs > from)
		page_put(page_head(p->vecs[--p->bio.nr_vecs].page)); /* of a huge page, the head is counted */
}

/* What does not fill a block goes back to the iterator: user memory may end in the middle of one. */
static u32 cut_to_blocks(struct piece *p, u32 bytes, u32 block, struct iter *it)
{
	u32 extra = bytes % block;

	bytes -= extra;
	iter_revert(it, extra);
	while (extra) {
		struct bio_vec *v = &p->vecs[p->bio.nr_vecs - 1];
		u32 n = min(extra, v->bytes);

		v->bytes -= n;
		extra -= n;
		if (!v->bytes)
			unpin(p, p->bio.nr_vecs - 1);
	}
	return bytes;
}

/* Fills a piece from the iterator; bytes or -errno (then nothing is pinned). */
static ssize_t fill(struct piece *p, struct block_dev *d, struct iter *it, bool device_writes)
{
	u32 bytes = 0;
	ssize_t n = 0;

	p->bio.nr_vecs = 0;
	while (it->count && p->bio.nr_vecs < p->room) {
		if (!segment(it).len) { /* an empty segment: the cursor goes on by itself at the next byte */
			it->at++;
			it->skip = 0;
			continue;
		}
		n = append(p, it, device_writes);
		if (n < 0)
			break;
		bytes += n;
	}
	bytes = cut_to_blocks(p, bytes, d->whole->limits.logical_block, it);
	return bytes ? (ssize_t)bytes : n;
}

static unsigned bio_flags(const struct io *io, enum block_op op)
{
	unsigned flags = BIO_SYNC | BIO_DIRECT;

	if (io->flags & IO_HIPRI && !io->done)
		flags |= BIO_HIPRI;
	if (io->flags & IO_NOWAIT)
		flags |= BIO_NOWAIT;
	if (op == BLOCK_WRITE && io->flags & (IO_DSYNC | IO_SYNC))
		flags |= BIO_FUA;
	return flags;
}

static void send(struct piece *p, struct block_dev *d, struct io *io, enum block_op op, void (*done)(struct bio *))
{
	unsigned n = p->bio.nr_vecs;

	bio_init(&p->bio, d, op, io->pos >> SECTOR_SHIFT, p->vecs, n);
	p->bio.flags = bio_flags(io, op);
	p->bio.done = done;
	io->pos += p->bio.bytes;
	block_submit(&p->bio);
}

static void note_error(struct direct *t, int status)
{
	if (status && !t->error)
		WRITE_ONCE(t->error, status);
}

static struct piece *piece_alloc(const struct iter *it)
{
	unsigned room = min(DIV_ROUND_UP(it->count, PAGE_SIZE) + it->nr - it->at, (size_t)PIECE_VECS);
	struct piece *p = kmalloc(sizeof(*p) + room * sizeof(p->vecs[0]), ALLOC_KERNEL);

	if (p)
		p->room = room;
	return p;
}

/* ---- synchronous ------------------------------------------------------------------------------------------ */

static void collect(struct direct *t, struct piece *p)
{
	note_error(t, block_wait(&p->bio));
	t->bytes += p->bio.bytes;
	unpin(p, 0);
}

/* Any length: all pieces first, then the waiting. */
static ssize_t move_pieces(struct block_dev *d, struct io *io, enum block_op op)
{
	struct direct t = { 0 };
	struct piece *first = NULL, **link = &first, *p;
	struct plug plug;
	ssize_t n = 0;

	plug_start(&plug);
	while (io->iter.count) {
		p = piece_alloc(&io->iter);
		n = p ? fill(p, d, &io->iter, op == BLOCK_READ) : -ENOMEM;
		if (n <= 0) {
			kfree(p);
			break;
		}
		p->next = NULL;
		*link = p;
		link = &p->next;
		send(p, d, io, op, block_done_wake);
	}
	plug_finish(&plug);
	while ((p = first)) {
		first = p->next;
		collect(&t, p);
		kfree(p);
	}
	return t.error ? t.error : t.bytes ? t.bytes : n;
}

static ssize_t move_few(struct block_dev *d, struct io *io, enum block_op op)
{
	struct {
		struct piece p;
		struct bio_vec vecs[FEW_VECS];
	} few;
	struct direct t = { 0 };
	ssize_t n;

	few.p.room = FEW_VECS;
	n = fill(&few.p, d, &io->iter, op == BLOCK_READ);
	if (n <= 0)
		return n;
	send(&few.p, d, io, op, block_done_wake);
	collect(&t, &few.p);
	return t.error ? t.error : t.bytes;
}

/* ---- asynchronous ----------------------------------------------------------------------------------------- */

static void direct_put(struct direct *t)
{
	if (!atomic_dec_and_test(&t->pending))
		return;
	t->io->done(t->io, t->error ? t->error : t->bytes);
	kfree(t);
}

static void piece_done(struct bio *b)
{
	struct piece *p = container_of(b, struct piece, bio);
	struct direct *t = p->owner;

	note_error(t, b->status);
	unpin(p, 0);
	kfree(p);
	direct_put(t);
}

static ssize_t start_pieces(struct block_dev *d, struct io *io, enum block_op op)
{
	struct direct *t = kzalloc(sizeof(*t), ALLOC_KERNEL);
	struct plug plug;
	ssize_t n = 0;

	if (!t)
		return -ENOMEM;
	t->io = io;
	atomic_set(&t->pending, 1);
	plug_start(&plug);
	while (io->iter.count) {
		struct piece *p = piece_alloc(&io->iter);

		n = p ? fill(p, d, &io->iter, op == BLOCK_READ) : -ENOMEM;
		if (n <= 0) {
			kfree(p);
			break;
		}
		p->owner = t;
		t->bytes += n;
		atomic_inc(&t->pending);
		send(p, d, io, op, piece_done);
	}
	plug_finish(&plug);
	if (!t->bytes) {
		kfree(t);
		return n;
	}
	direct_put(t);
	return -EIOCBQUEUED;
}

/* ---- both ---------------------------------------------------------------------------------------------------- */

static bool is_aligned(const struct iter *it, u32 block)
{
	u32 memory = min(block, SECTOR_SIZE);
	size_t skip = it->skip;

	if (!it->vec)
		return !((it->one.base + skip) % memory);
	for (size_t i = it->at; i < it->nr; i++, skip = 0)
		if ((it->vec[i].base + skip) % memory || (it->vec[i].len - skip) % block)
			return false;
	return true;
}

ssize_t block_direct_rw(struct block_dev *d, struct io *io, enum block_op op)
{
	u64 end = d->sectors << SECTOR_SHIFT;
	u32 block = d->whole->limits.logical_block;
	ssize_t n;

	if (io->pos % block || io->iter.count % block || !is_aligned(&io->iter, block))
		return fail(EINVAL, "%s: transfer not aligned to %u", d->name, block);
	if ((u64)io->pos >= end)
		return op == BLOCK_READ || !io->iter.count ? 0 : -ENOSPC;
	io->iter.count = min((u64)io->iter.count, end - io->pos);
	if (!io->iter.count)
		return 0;
	if (io->flags & IO_NOWAIT && io->iter.count > PIECE_VECS * PAGE_SIZE)
		return -EAGAIN;
	if (io->done)
		n = start_pieces(d, io, op);
	else if (io->iter.nr - io->iter.at + io->iter.count / PAGE_SIZE < FEW_VECS)
		n = move_few(d, io, op);
	else
		n = move_pieces(d, io, op);
	if (op == BLOCK_WRITE && n > 0)
		io->flags &= ~(IO_DSYNC | IO_SYNC); /* each piece was durable when it was done */
	return n;
}
