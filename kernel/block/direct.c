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
 * A file of a file system lies in runs: its owner says where the pinned bytes go (struct direct_ops), and a piece ends
 * with its run. Holes are zeros without a transfer.
 *
 * Contract: block_direct_rw of block_priv.h, block_direct_file of block.h. Position and length are multiples of the
 * logical block size, memory addresses of 512 bytes (or the block, if smaller), or EINVAL. If a piece fails, the
 * transfer fails. Memory that is not there ends the transfer: the bytes before it count. A buffered copy of the same
 * range is the caller's business.
 *
 * Locks: none; pinned pages carry references, counters are atomic.
 */
#include <alloc/page.h>
#include <block/block.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/string.h>
#include <mm/mm.h>
#include <task/plug.h>
#include <task/task.h>
#include <vfs/vfs.h>

#include "block_priv.h"

#define PIECE_VECS 256
#define FEW_VECS   16 /* of a piece on the stack, and how many pages are pinned at once */

struct target {
	struct block_dev *dev;
	const struct direct_ops *ops; /* NULL: the device itself */
	struct io *io;
	enum block_op op;
	unsigned room; /* pages of the next piece: where runs are short, few are pinned in vain */
};

struct direct {
	struct io *io;
	const struct direct_ops *ops;
	atomic_t pending; /* pieces under way, and one for who makes them */
	int error;        /* of the first piece that failed */
	ssize_t bytes;
};

struct piece {
	struct bio bio;
	struct direct *owner; /* asynchronous */
	struct piece *next;   /* synchronous */
	unsigned room;
	bool is_hole;
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
		pages[i] = virt_to_page((void *)(s.base & PAGE_MASK) + i * PAGE_SIZE);
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

/* What does not fill a block (user memory may end in the middle of one), or its run, goes back to the iterator. */
static u32 cut_to(struct piece *p, u32 bytes, u32 want, struct iter *it)
{
	u32 extra = bytes - want;

	iter_revert(it, extra);
	while (extra) {
		struct bio_vec *v = &p->vecs[p->bio.nr_vecs - 1];
		u32 n = min(extra, v->bytes);

		v->bytes -= n;
		extra -= n;
		if (!v->bytes)
			unpin(p, p->bio.nr_vecs - 1);
	}
	return want;
}

/* Fills a piece from the iterator; bytes or -errno (then nothing is pinned). */
static ssize_t fill(struct piece *p, const struct target *t)
{
	struct iter *it = &t->io->iter;
	u32 bytes = 0;
	ssize_t n = 0;

	p->bio.nr_vecs = 0;
	while (it->count && p->bio.nr_vecs < p->room) {
		if (!segment(it).len) { /* an empty segment: the cursor goes on by itself at the next byte */
			it->at++;
			it->skip = 0;
			continue;
		}
		n = append(p, it, t->op == BLOCK_READ);
		if (n < 0)
			break;
		bytes += n;
	}
	bytes = cut_to(p, bytes, bytes - bytes % t->dev->whole->limits.logical_block, it);
	return bytes ? (ssize_t)bytes : n;
}

/* Fills a piece and aims it: bytes, or -errno (then nothing is pinned). */
static ssize_t prepare(struct piece *p, struct target *t)
{
	struct block_run run = { .sector = (u64)t->io->pos >> SECTOR_SHIFT };
	ssize_t bytes = fill(p, t);
	int err;

	if (bytes > 0 && t->ops) {
		err = t->ops->map(t->io, bytes, t->op, &run);
		if (err) {
			iter_revert(&t->io->iter, bytes);
			unpin(p, 0);
			return err;
		}
		if (run.bytes < (u64)bytes) {
			bytes = cut_to(p, bytes, run.bytes, &t->io->iter);
			t->room = max(p->bio.nr_vecs * 2, 4U);
		} else {
			t->room = min(t->room * 2, (unsigned)PIECE_VECS);
		}
	}
	p->bio.sector = run.sector;
	p->is_hole = run.is_hole;
	return bytes;
}

static unsigned bio_flags(const struct target *t)
{
	const struct io *io = t->io;
	unsigned flags = BIO_SYNC | BIO_DIRECT;

	if (io->flags & IO_HIPRI && !io->done)
		flags |= BIO_HIPRI;
	if (io->flags & IO_NOWAIT)
		flags |= BIO_NOWAIT;
	if (!t->ops && t->op == BLOCK_WRITE && io->flags & (IO_DSYNC | IO_SYNC))
		flags |= BIO_FUA;
	return flags;
}

static void send(struct piece *p, const struct target *t, void (*done)(struct bio *))
{
	unsigned n = p->bio.nr_vecs;

	bio_init(&p->bio, t->dev, t->op, p->bio.sector, p->vecs, n);
	p->bio.flags = bio_flags(t);
	p->bio.done = done;
	t->io->pos += p->bio.bytes;
	if (!p->is_hole) {
		block_submit(&p->bio);
		return;
	}
	for (unsigned i = 0; i < n; i++)
		memset((char *)page_virt(p->vecs[i].page) + p->vecs[i].offset, 0, p->vecs[i].bytes);
	done(&p->bio);
}

/* The transfer is over. */
static void finish(struct piece *p, const struct direct_ops *ops, struct io *io)
{
	if (ops && !p->is_hole)
		ops->end(io, p->bio.op);
	unpin(p, 0);
}

static void note_error(struct direct *t, int status)
{
	if (status && !t->error)
		WRITE_ONCE(t->error, status);
}

static unsigned vecs_for(const struct target *t)
{
	const struct iter *it = &t->io->iter;

	return min(DIV_ROUND_UP(it->count, PAGE_SIZE) + it->nr - it->at, (size_t)t->room);
}

static struct piece *piece_alloc(const struct target *t)
{
	unsigned room = vecs_for(t);
	struct piece *p = kmalloc(sizeof(*p) + room * sizeof(p->vecs[0]), ALLOC_KERNEL);

	if (p)
		p->room = room;
	return p;
}

/* ---- synchronous ------------------------------------------------------------------------------------------ */

static void collect(struct direct *d, const struct target *t, struct piece *p)
{
	note_error(d, block_wait(&p->bio));
	d->bytes += p->bio.bytes;
	finish(p, t->ops, t->io);
}

/* Any length: all pieces first, then the waiting. */
static ssize_t move_pieces(struct target *t)
{
	struct direct d = { 0 };
	struct piece *first = NULL, **link = &first, *p;
	struct plug plug;
	ssize_t n = 0;

	plug_start(&plug);
	while (t->io->iter.count) {
		p = piece_alloc(t);
		n = p ? prepare(p, t) : -ENOMEM;
		if (n <= 0) {
			kfree(p);
			break;
		}
		p->next = NULL;
		*link = p;
		link = &p->next;
		send(p, t, block_done_wake);
	}
	plug_finish(&plug);
	while ((p = first)) {
		first = p->next;
		collect(&d, t, p);
		kfree(p);
	}
	return d.error ? d.error : d.bytes ? d.bytes : n;
}

static ssize_t move_few(struct target *t)
{
	struct {
		struct piece p;
		struct bio_vec vecs[FEW_VECS];
	} few;
	struct direct d = { 0 };
	ssize_t n;

	few.p.room = FEW_VECS;
	do {
		n = prepare(&few.p, t);
		if (n <= 0)
			break;
		send(&few.p, t, block_done_wake);
		collect(&d, t, &few.p);
	} while (t->ops && t->io->iter.count && !d.error); /* a file's next run */
	return d.error ? d.error : d.bytes ? d.bytes : n;
}

/* ---- asynchronous ----------------------------------------------------------------------------------------- */

/* The first piece, mostly the only one, lies behind what it is a piece of. */
static struct piece *first_piece(struct direct *d)
{
	return (struct piece *)(d + 1);
}

static void piece_free(struct direct *d, struct piece *p)
{
	if (p != first_piece(d))
		kfree(p);
}

static struct direct *direct_alloc(const struct target *t)
{
	unsigned room = vecs_for(t);
	struct direct *d = kmalloc(sizeof(*d) + sizeof(struct piece) + room * sizeof(struct bio_vec), ALLOC_KERNEL);

	if (d) {
		*d = (struct direct){ .io = t->io, .ops = t->ops };
		atomic_set(&d->pending, 1);
		first_piece(d)->room = room;
	}
	return d;
}

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
	finish(p, t->ops, t->io);
	piece_free(t, p);
	direct_put(t);
}

static ssize_t start_pieces(struct target *t)
{
	struct direct *d = direct_alloc(t);
	struct plug plug;
	ssize_t n = 0;

	if (!d)
		return -ENOMEM;
	plug_start(&plug);
	while (t->io->iter.count) {
		struct piece *p = d->bytes ? piece_alloc(t) : first_piece(d);

		n = p ? prepare(p, t) : -ENOMEM;
		if (n <= 0) {
			piece_free(d, p);
			break;
		}
		p->owner = d;
		d->bytes += n;
		atomic_inc(&d->pending);
		send(p, t, piece_done);
	}
	plug_finish(&plug);
	if (!d->bytes) {
		kfree(d);
		return n;
	}
	direct_put(d);
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

bool block_direct_aligned(struct block_dev *d, const struct io *io)
{
	u32 block = d->whole->limits.logical_block;

	return !(io->pos % block) && !(io->iter.count % block) && is_aligned(&io->iter, block);
}

static ssize_t move(struct target *t)
{
	struct io *io = t->io;

	if (io->flags & IO_NOWAIT && io->iter.count > PIECE_VECS * PAGE_SIZE)
		return -EAGAIN;
	if (io->done)
		return start_pieces(t);
	if (io->iter.nr - io->iter.at + io->iter.count / PAGE_SIZE < FEW_VECS)
		return move_few(t);
	return move_pieces(t);
}

ssize_t block_direct_rw(struct block_dev *d, struct io *io, enum block_op op)
{
	struct target t = { .dev = d, .io = io, .op = op, .room = PIECE_VECS };
	u64 end = d->sectors << SECTOR_SHIFT;
	ssize_t n;

	if (!block_direct_aligned(d, io))
		return fail(EINVAL, "%s: transfer not aligned to %u", d->name, d->whole->limits.logical_block);
	if ((u64)io->pos >= end)
		return op == BLOCK_READ || !io->iter.count ? 0 : -ENOSPC;
	io->iter.count = min((u64)io->iter.count, end - io->pos);
	if (!io->iter.count)
		return 0;
	n = move(&t);
	if (op == BLOCK_WRITE && n > 0)
		io->flags &= ~(IO_DSYNC | IO_SYNC); /* each piece was durable when it was done */
	return n;
}

ssize_t block_direct_file(struct block_dev *d, const struct direct_ops *ops, struct io *io, enum block_op op)
{
	struct target t = { .dev = d, .ops = ops, .io = io, .op = op, .room = PIECE_VECS };

	return move(&t);
}
