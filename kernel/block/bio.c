/* SPDX-License-Identifier: MIT
 *
 * Problem: users hand over any range of any length on disks and partitions; a device takes limited pieces of its own
 * sectors.
 *
 * Idea: check once (range, alignment, read-only), add the partition's start, and split what is too big into children
 * that share the parent's vectors; the parent finishes when its last child does, with the first error. Waiting is a
 * wait queue shared by all synchronous bios, hashed by address, so that a bio carries none.
 *
 * Contract: block/block.h. A bio that fails its checks is finished with an error through done() like any other.
 *
 * Locks: none of its own; counters are atomic.
 */
#include <alloc/page.h>
#include <block/block.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/string.h>
#include <task/plug.h>
#include <task/sched.h>

#include "block_priv.h"
#include "trace.h"

#define WAIT_QUEUES 64

static struct waitq waits[WAIT_QUEUES];

static struct waitq *waits_of(const struct bio *b)
{
	return &waits[((ulong)b >> 6) % WAIT_QUEUES];
}

void block_bio_init(void)
{
	for (unsigned i = 0; i < WAIT_QUEUES; i++)
		waitq_init(&waits[i]);
}

void bio_init(struct bio *b, struct block_dev *d, enum block_op op, u64 sector, struct bio_vec *vecs, unsigned nr)
{
	b->dev = d;
	b->sector = sector;
	b->bytes = 0;
	b->op = op;
	b->flags = b->payer = 0;
	b->nr_vecs = nr;
	b->vecs = vecs;
	b->status = 0;
	b->done = NULL;
	b->priv = NULL;
	for (unsigned i = 0; i < nr; i++)
		b->bytes += vecs[i].bytes;
}

void block_bio_finish(struct bio *b, int status)
{
	struct bio *parent = b->parent;

	block_policy_finished(b);
	if (b->share.node)
		block_tenants_finished(b);
	if (!parent) {
		b->status = status;
		b->done(b);
		return;
	}
	if (status)
		__atomic_compare_exchange_n(&parent->status, &(int){ 0 }, status, false, __ATOMIC_SEQ_CST,
					    __ATOMIC_RELAXED);
	kfree(b);
	if (atomic_dec_and_test(&parent->children))
		block_bio_finish(parent, parent->status);
}

static int check(const struct bio *b)
{
	const struct block_dev *d = b->dev;
	u32 block = d->whole->limits.logical_block;
	u64 sectors = b->bytes >> SECTOR_SHIFT;

	if (d->whole->dead)
		return -EIO;
	if (b->op == BLOCK_FLUSH)
		return 0;
	if (!b->bytes || b->bytes % block || b->sector % (block >> SECTOR_SHIFT))
		return fail(EINVAL, "%s: transfer of %u bytes at sector %llu", d->name, b->bytes,
			    (unsigned long long)b->sector);
	if (b->sector > d->sectors || sectors > d->sectors - b->sector)
		return fail(EIO, "%s: sector %llu is beyond the end", d->name, (unsigned long long)b->sector);
	if (b->op != BLOCK_READ && block_is_read_only(d))
		return -EROFS;
	if (b->op == BLOCK_DISCARD && !d->whole->limits.max_discard_bytes)
		return -EOPNOTSUPP;
	if (b->op == BLOCK_WRITE_ZEROES && !d->whole->limits.max_zeroes_bytes)
		return -EOPNOTSUPP;
	return 0;
}

static u64 max_piece(const struct bio *b)
{
	const struct block_limits *l = &b->dev->whole->limits;

	if (b->op == BLOCK_DISCARD)
		return l->max_discard_bytes;
	if (b->op == BLOCK_WRITE_ZEROES)
		return l->max_zeroes_bytes;
	return l->max_bytes;
}

/* The device cannot take v behind `before` in one transfer. */
static bool is_gap(const struct block_limits *l, const struct bio_vec *before, const struct bio_vec *v)
{
	return l->boundary && ((before->offset + before->bytes) % l->boundary || v->offset % l->boundary);
}

static bool fits(const struct bio *b)
{
	const struct block_limits *l = &b->dev->whole->limits;

	if (b->bytes > max_piece(b) || (b->vecs && b->nr_vecs > l->max_vecs))
		return false;
	for (unsigned i = 1; b->vecs && l->boundary && i < b->nr_vecs; i++)
		if (is_gap(l, &b->vecs[i - 1], &b->vecs[i]))
			return false;
	return true;
}

/* Shortens a child to whole blocks. */
static void cut_to_blocks(struct bio *c, u32 got, u32 block)
{
	u32 extra = got % block;

	c->bytes = got - extra;
	while (extra) {
		struct bio_vec *v = &c->vecs[c->nr_vecs - 1];
		u32 n = min(extra, v->bytes);

		v->bytes -= n;
		extra -= n;
		if (!v->bytes)
			c->nr_vecs--;
	}
}

/* A child with vectors of its own for the bytes from `from` on; *taken says how many it covers. */
static struct bio *make_child(struct bio *b, u32 from, u32 *taken)
{
	const struct block_limits *l = &b->dev->whole->limits;
	u32 want = min((u64)(b->bytes - from), max_piece(b)), skip = from, got = 0;
	unsigned slots = b->vecs ? min(b->nr_vecs, l->max_vecs) : 0;
	struct bio *c = kzalloc(sizeof(*c) + slots * sizeof(struct bio_vec), ALLOC_KERNEL);

	if (!c)
		return NULL;
	*c = (struct bio){ .dev = b->dev,
			   .op = b->op,
			   .flags = b->flags,
			   .payer = b->payer,
			   .sector = b->sector + (from >> SECTOR_SHIFT),
			   .parent = b,
			   .done = b->done,
			   .throttled = false };
	if (!b->vecs) {
		c->bytes = *taken = want;
		return c;
	}
	c->vecs = (struct bio_vec *)(c + 1);
	for (unsigned i = 0; i < b->nr_vecs && got < want && c->nr_vecs < slots; i++) {
		struct bio_vec v = b->vecs[i];

		if (skip >= v.bytes) {
			skip -= v.bytes;
			continue;
		}
		v.offset += skip;
		v.bytes = min(v.bytes - skip, want - got);
		skip = 0;
		if (c->nr_vecs && is_gap(l, &c->vecs[c->nr_vecs - 1], &v))
			break;
		got += v.bytes;
		c->vecs[c->nr_vecs++] = v;
	}
	cut_to_blocks(c, got, l->logical_block);
	*taken = c->bytes;
	return c;
}

static void submit_split(struct bio *b)
{
	u32 at = 0, taken;

	atomic_set(&b->children, 1); /* ours, until all are under way */
	b->status = 0;
	while (at < b->bytes) {
		struct bio *c = make_child(b, at, &taken);

		if (!c || !taken) { /* no block is contiguous as the device needs it */
			b->status = c ? -EINVAL : -ENOMEM;
			kfree(c);
			break;
		}
		/* Only the first flushes before and, without FUA in the device, each makes itself durable. */
		if (at)
			c->flags &= ~BIO_PREFLUSH;
		block_tenants_join_child(c, b);
		atomic_inc(&b->children);
		at += taken;
		block_queue_submit(c);
	}
	if (atomic_dec_and_test(&b->children))
		block_bio_finish(b, b->status);
}

void block_submit(struct bio *b)
{
	int err = check(b);

	b->finished = b->poll_waits = b->poll_slept = b->polled = false;
	b->hwq = NULL;
	b->parent = NULL;
	b->admit_ns = b->complete_ns = 0;
	b->retries = 0;
	b->throttled = b->share_waits = b->share_entered = false;
	b->share.node = NULL;
	if (!err)
		err = block_tenants_join(b);
	if (!err && !b->share_waits)
		err = block_policy_admit(b);
	if (err) {
		block_bio_finish(b, err);
		return;
	}
	b->orig_sector = b->sector;
	b->sector += b->dev->start;
	if (trace_on(block_bio_queue))
		block_trace_bio(TRACE_block_bio_queue, b);
	if (fits(b) || b->op == BLOCK_FLUSH)
		block_queue_submit(b);
	else
		submit_split(b);
}

void block_done_wake(struct bio *b)
{
	struct waitq *q = waits_of(b); /* b may be gone once finished is set */

	smp_store_release(&b->finished, true);
	waitq_wake_all(q);
}

int block_wait_until(struct bio *b, u64 deadline_ns)
{
	return wait_event_until(waits_of(b), smp_load_acquire(&b->finished), deadline_ns);
}

int block_wait(struct bio *b)
{
	plug_flush(); /* it may be held back there */
	if (smp_load_acquire(&b->finished))
		return b->status;
	if (b->flags & BIO_HIPRI)
		block_policy_poll(b);
	if (!smp_load_acquire(&b->finished))
		block_policy_sleep(b);
	return b->status;
}

void block_wait_finished(struct bio *b)
{
	wait_event(waits_of(b), smp_load_acquire(&b->finished));
}

/* Kernel memory need not be contiguous in pages: it is cut at page borders. */
static unsigned map_buffer(struct bio_vec *vecs, unsigned max, void *buf, u32 bytes)
{
	unsigned n = 0;

	while (bytes && n < max) {
		u32 offset = (ulong)buf & ~PAGE_MASK, len = min(bytes, (u32)PAGE_SIZE - offset);

		vecs[n++] = (struct bio_vec){ virt_to_page(buf), offset, len };
		buf += len;
		bytes -= len;
	}
	return n;
}

int block_rw(struct block_dev *d, enum block_op op, u64 sector, void *buf, u32 bytes, unsigned flags)
{
	struct bio_vec vecs[16];
	int err = 0;

	while (bytes && !err) {
		struct bio b;

		bio_init(&b, d, op, sector, vecs, map_buffer(vecs, ARRAY_SIZE(vecs), buf, bytes));
		b.flags = flags | BIO_SYNC;
		b.done = block_done_wake;
		block_submit(&b);
		err = block_wait(&b);
		buf += b.bytes;
		bytes -= b.bytes;
		sector += b.bytes >> SECTOR_SHIFT;
	}
	return err;
}

int block_flush(struct block_dev *d)
{
	struct bio b;

	bio_init(&b, d, BLOCK_FLUSH, 0, NULL, 0);
	b.flags = BIO_SYNC;
	b.done = block_done_wake;
	block_submit(&b);
	return block_wait(&b);
}
