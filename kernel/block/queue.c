/* SPDX-License-Identifier: MIT
 *
 * Problem: many CPUs submit, a device has a few hardware queues with a bounded number of places, and a write must be
 * able to say "on stable storage" to a device that only knows how to write and how to flush.
 *
 * Idea: a CPU maps to a hardware queue. A bio takes a tag there and goes to the driver at once; without a tag, or if
 * the driver is full, it waits in the queue's list and goes with the next completion. PREFLUSH and FUA become a
 * sequence when the device has a volatile cache:
 *
 *      PREFLUSH set --> [flush] --> data present --> [write] --> FUA set and device lacks it --> [flush] --> done
 *      stage:            PRE                         DATA                                        POST
 *
 * Each stage is the same bio submitted again with another operation, so that it needs no memory.
 *
 * Contract: block/block.h.
 *
 * Locks: hwq->lock (RANK_BLOCK, irqsave) covers tags, the waiting list and the driver's queue(). No lock is held while
 * done() runs.
 */
#include <arch/cpu.h>
#include <block/block.h>
#include <core/clock.h>
#include <core/log.h>
#include <lib/err.h>

#include "block_priv.h"

enum stage { STAGE_NONE, STAGE_PRE, STAGE_DATA, STAGE_POST };

static struct block_hwq *hwq_of_cpu(struct block_dev *d)
{
	return &d->hwqs[cpu_id() % d->nr_hwqs];
}

/* The lowest free tag behind the one used last, so that tags are spread; -1: none. */
static int tag_get(struct block_hwq *h)
{
	for (unsigned i = 0; i < h->depth; i++) {
		unsigned tag = (h->next_tag + i) % h->depth;

		if (!(h->tags[tag / 64] >> tag % 64 & 1)) {
			h->tags[tag / 64] |= BIT(tag % 64);
			h->next_tag = tag + 1;
			return tag;
		}
	}
	return -1;
}

static void tag_put(struct block_hwq *h, unsigned tag)
{
	h->by_tag[tag] = NULL;
	h->tags[tag / 64] &= ~BIT(tag % 64);
}

/* What the device is asked for in this stage. */
static enum block_op device_op(const struct bio *b)
{
	return b->stage == STAGE_PRE || b->stage == STAGE_POST ? BLOCK_FLUSH : b->op;
}

enum block_op block_device_op(const struct bio *b)
{
	return device_op(b);
}

/* The device, then, if it is a partition, its disk. */
static struct block_dev *next_level(struct block_dev *d)
{
	return d == d->whole ? NULL : d->whole;
}

/* Busy time is when anything is in flight. Two CPUs that pass 0 at once may misplace a few ns. */
static void note_started(struct bio *b)
{
	for (struct block_dev *d = b->dev; d; d = next_level(d))
		if (!atomic_fetch_add(&d->stats.in_flight, 1))
			WRITE_ONCE(d->stats.busy_since_ns, b->issue_ns);
}

static void note_ended(struct bio *b, u64 now)
{
	for (struct block_dev *d = b->dev; d; d = next_level(d))
		if (!atomic_sub_return(&d->stats.in_flight, 1))
			atomic_add(&d->stats.busy_ns, now - READ_ONCE(d->stats.busy_since_ns));
}

/* Offers one bio to the driver. False: no place now. */
static bool issue(struct block_hwq *h, struct bio *b, int *error)
{
	int tag = tag_get(h);

	assert_held(&h->lock);
	*error = 0;
	if (tag < 0)
		return false;
	b->tag = tag;
	b->hwq = h;
	h->by_tag[tag] = b;
	b->issue_ns = clock_ns();
	*error = h->dev->driver->queue(h, b);
	if (!*error) {
		h->in_flight++;
		note_started(b);
		return true;
	}
	tag_put(h, tag);
	if (*error == -EBUSY && h->in_flight) {
		*error = 0;
		return false;
	}
	return true; /* refused for good: the caller completes it */
}

/* Sends waiting bios as long as there is room; refused ones go to failed. */
static void run_queue(struct block_hwq *h, struct list *failed)
{
	bool sent = false;
	int error;

	while (!list_empty(&h->waiting)) {
		struct bio *b = list_first_entry(&h->waiting, struct bio, link);

		if (!issue(h, b, &error))
			break;
		list_del(&b->link);
		sent = true;
		if (error) {
			b->status = error;
			list_add_tail(&b->link, failed);
		}
	}
	if (sent && h->dev->driver->commit)
		h->dev->driver->commit(h);
}

static void enqueue(struct bio *b)
{
	struct block_dev *disk = b->dev->whole;
	struct block_hwq *h = hwq_of_cpu(disk);
	LIST(failed);
	ulong irq = spin_lock_irqsave(&h->lock);
	struct bio *f, *next;

	list_add_tail(&b->link, &h->waiting);
	if (disk->dead) {
		list_del(&b->link);
		b->status = -ENODEV;
		list_add_tail(&b->link, &failed);
	} else {
		run_queue(h, &failed);
	}
	spin_unlock_irqrestore(&h->lock, irq);
	list_for_each_entry_safe (f, next, &failed, link)
		block_bio_finish(f, f->status);
}

/* Moves a bio to its next stage and submits it; false: all stages are over. */
static bool next_stage(struct bio *b)
{
	const struct block_limits *l = &b->dev->whole->limits;

	if (b->stage == STAGE_PRE && b->bytes) {
		b->stage = STAGE_DATA;
		return true;
	}
	if (b->stage == STAGE_DATA && (b->flags & BIO_FUA) && l->write_cache && !l->has_fua) {
		b->stage = STAGE_POST;
		return true;
	}
	return false;
}

static void account(struct bio *b)
{
	static const u8 row[BLOCK_OPS] = {
		[BLOCK_READ] = 0, [BLOCK_WRITE] = 1, [BLOCK_FLUSH] = 3, [BLOCK_DISCARD] = 2, [BLOCK_WRITE_ZEROES] = 1
	};
	u64 took = b->complete_ns - b->issue_ns;
	unsigned r = row[device_op(b)];

	for (struct block_dev *d = b->dev; d; d = next_level(d)) {
		atomic_add(&d->stats.ios[r], 1);
		atomic_add(&d->stats.sectors[r], b->bytes >> SECTOR_SHIFT);
		atomic_add(&d->stats.ns[r], took);
	}
}

void block_complete(struct bio *b, int status)
{
	struct block_hwq *h = b->hwq;
	LIST(failed);
	struct bio *f, *next;
	ulong irq = spin_lock_irqsave(&h->lock);

	tag_put(h, b->tag);
	h->in_flight--;
	run_queue(h, &failed);
	spin_unlock_irqrestore(&h->lock, irq);
	list_for_each_entry_safe (f, next, &failed, link)
		block_bio_finish(f, f->status);
	b->complete_ns = clock_ns();
	note_ended(b, b->complete_ns);
	account(b);
	block_policy_completed(b, b->complete_ns - b->issue_ns);
	if (!status && next_stage(b))
		enqueue(b);
	else
		block_bio_finish(b, status);
}

void block_queue_submit(struct bio *b)
{
	const struct block_limits *l = &b->dev->whole->limits;
	bool flush_first = l->write_cache && (b->flags & BIO_PREFLUSH || b->op == BLOCK_FLUSH);

	if (b->op == BLOCK_FLUSH && !l->write_cache) { /* nothing is volatile */
		block_bio_finish(b, 0);
		return;
	}
	b->stage = flush_first ? STAGE_PRE : STAGE_DATA;
	enqueue(b);
}

/* The oldest bio in flight that is overdue, with its queue locked against completion only while we look. */
static void check_timeouts(struct timer *t)
{
	struct block_dev *d = container_of(t, struct block_dev, timeout_timer);
	u64 now = clock_ns();

	for (unsigned i = 0; i < d->nr_hwqs; i++) {
		struct block_hwq *h = &d->hwqs[i];
		struct bio *overdue = NULL;
		ulong irq = spin_lock_irqsave(&h->lock);

		for (unsigned tag = 0; tag < h->depth && !overdue; tag++)
			if (h->by_tag[tag] && now - h->by_tag[tag]->issue_ns > d->limits.timeout_ns)
				overdue = h->by_tag[tag];
		spin_unlock_irqrestore(&h->lock, irq);
		if (overdue && d->driver->timeout)
			d->driver->timeout(h, overdue);
	}
	if (!d->dead)
		timer_arm(t, now + d->limits.timeout_ns / 4, NSEC_PER_SEC);
}

int block_queues_init(struct block_dev *d, unsigned nr, unsigned depth)
{
	d->hwqs = kcalloc(nr, sizeof(*d->hwqs), ALLOC_KERNEL);
	if (!d->hwqs)
		return -ENOMEM;
	d->nr_hwqs = nr;
	for (unsigned i = 0; i < nr; i++) {
		struct block_hwq *h = &d->hwqs[i];

		*h = (struct block_hwq){ .dev = d, .index = i, .depth = depth };
		spin_init(&h->lock, RANK_BLOCK);
		list_init(&h->waiting);
		h->by_tag = kcalloc(depth, sizeof(*h->by_tag), ALLOC_KERNEL);
		h->tags = kcalloc(DIV_ROUND_UP(depth, 64), sizeof(ulong), ALLOC_KERNEL);
		if (!h->by_tag || !h->tags) {
			block_queues_free(d);
			return -ENOMEM;
		}
	}
	timer_init(&d->timeout_timer, check_timeouts);
	if (d->limits.timeout_ns)
		timer_arm(&d->timeout_timer, clock_ns() + d->limits.timeout_ns / 4, NSEC_PER_SEC);
	return 0;
}

void block_queues_free(struct block_dev *d)
{
	for (unsigned i = 0; i < d->nr_hwqs; i++) {
		kfree(d->hwqs[i].by_tag);
		kfree(d->hwqs[i].tags);
	}
	kfree(d->hwqs);
	d->hwqs = NULL;
	d->nr_hwqs = 0;
}

/* Fails everything that waits or is in flight: the device is gone. */
void block_queues_kill(struct block_dev *d)
{
	for (unsigned i = 0; i < d->nr_hwqs; i++) {
		struct block_hwq *h = &d->hwqs[i];
		struct bio *b, *next;
		LIST(dead);
		ulong irq = spin_lock_irqsave(&h->lock);

		list_splice_tail_init(&h->waiting, &dead);
		for (unsigned tag = 0; tag < h->depth; tag++)
			if (h->by_tag[tag]) {
				list_add_tail(&h->by_tag[tag]->link, &dead);
				note_ended(h->by_tag[tag], clock_ns());
				tag_put(h, tag);
			}
		h->in_flight = 0;
		spin_unlock_irqrestore(&h->lock, irq);
		list_for_each_entry_safe (b, next, &dead, link)
			block_bio_finish(b, -ENODEV);
	}
}
