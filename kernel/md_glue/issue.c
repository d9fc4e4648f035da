/* SPDX-License-Identifier: MIT
 *
 * Problem: to send requests to members is the larger part of an array's work, and the only part that needs nothing of
 * the engine; done in the engine's turn it would keep everybody waiting and use one CPU.
 *
 * Idea: a turn ends by giving each request to its disk. They are sent when the engine's lock is free again: what is
 * little by the worker itself, more also by *hands*, threads that take one disk each. All that a turn wants of one disk
 * is sent by one of them, so that neighbours (pages of the journal, of a stripe's column) still merge.
 *
 *      engine --md_engine_wants--> to_issue --md_hand_out--> disk's outgoing --md_send--> bio of a member
 *                                                                            '--> a hand's disks --> bio of a member
 *
 * Contract: md_glue.h. Requests of a disk may overtake each other: the engine waits for what must come first. For want
 * of memory the rest goes back to `unsent`, and the worker sends it after a later turn. On one CPU there are no hands.
 *
 * Locks: md_hand_out: engine_lock, which says which disk has which slot; a disk is counted as in use from then on.
 * queue_lock: outgoing, unsent, the hands' disks.
 */
#include <alloc/slab.h>
#include <arch/cpu.h>
#include <core/clock.h>
#include <core/log.h>
#include <lib/err.h>
#include <task/plug.h>
#include <task/task.h>
#include "trace.h"

#define MANY 8 /* requests that are worth waking somebody */

struct below { /* a request to a member */
	struct bio bio;
	struct md_array *a;
	struct md_disk *d;
	struct md_rq *rq;
	unsigned n;
	struct bio_vec vec[];
};

static void answer(struct md_array *a, struct md_rq *rq, int err)
{
	ulong irq = spin_lock_irqsave(&a->queue_lock);

	rq->owner = (void *)(long)err;
	list_add_tail(&rq->link, &a->completed);
	spin_unlock_irqrestore(&a->queue_lock, irq);
	md_kick(a);
}

static void below_done(struct bio *bio)
{
	struct below *b = container_of(bio, struct below, bio);
	struct md_array *a = b->a;

	if (bio->status && bio->op == BLOCK_READ)
		atomic_inc(&b->d->errors);
	atomic_dec(&b->d->inflight);
	answer(a, b->rq, bio->status);
	kfree(b);
}

/* Appends a piece of a request's memory, page by page. */
static int add_piece(void *arg, u32 unused, void *base, u32 bytes)
{
	struct below *b = arg;

	while (bytes) {
		u32 offset = (ulong)base & (PAGE_SIZE - 1), n = min(bytes, (u32)PAGE_SIZE - offset);

		b->vec[b->n++] = (struct bio_vec){ virt_to_page(base), offset, n };
		base = (u8 *)base + n;
		bytes -= n;
	}
	return 0;
}

/* How many pages a piece lies in. */
static int count_piece(void *arg, u32 unused, void *base, u32 bytes)
{
	*(unsigned *)arg += DIV_ROUND_UP(((ulong)base & (PAGE_SIZE - 1)) + bytes, PAGE_SIZE);
	return 0;
}

static struct below *make_below(struct md_array *a, struct md_disk *d, struct md_rq *rq)
{
	static const u8 op[] = { [MD_READ] = BLOCK_READ, [MD_WRITE] = BLOCK_WRITE, [MD_FLUSH] = BLOCK_FLUSH };
	unsigned pages = 0, n;
	struct below *b;

	if (rq->dir != MD_FLUSH)
		(void)md_rq_for_each(rq, count_piece, &pages);
	b = kmalloc(sizeof(*b) + pages * sizeof(b->vec[0]), ALLOC_ATOMIC);
	if (!b)
		return NULL;
	b->n = 0;
	if (pages)
		(void)md_rq_for_each(rq, add_piece, b);
	n = b->n;
	b->a = a;
	b->d = d;
	b->rq = rq;
	bio_init(&b->bio, d->dev, op[rq->dir], rq->dir == MD_FLUSH ? 0 : rq->sector, n ? b->vec : NULL, n);
	b->bio.flags = BIO_DIRECT | BIO_SYNC | (rq->flags & MD_FUA ? BIO_FUA : 0) |
		       (rq->flags & MD_PREFLUSH ? BIO_PREFLUSH : 0) | (rq->flags & MD_FAILFAST ? BIO_FAILFAST : 0);
	b->bio.payer = rq->payer;
	b->bio.done = below_done;
	return b;
}

void md_engine_wants(void *array, struct md_rq *rq)
{
	struct md_array *a = array;

	list_add_tail(&rq->link, &a->to_issue);
}

void md_hand_out(struct md_array *a, struct md_batch *batch)
{
	struct md_rq *rq, *next;
	LIST(nowhere);
	ulong irq = spin_lock_irqsave(&a->queue_lock);

	list_init(&batch->disks);
	batch->requests = 0;
	batch->is_retry = !list_empty(&a->unsent);
	list_splice_tail_init(&a->unsent, &a->to_issue);
	list_for_each_entry_safe (rq, next, &a->to_issue, link) {
		struct md_disk *d = a->slot[rq->slot];

		list_move_tail(&rq->link, d ? &d->outgoing : &nowhere);
		if (!d)
			continue;
		batch->requests++;
		atomic_inc(&d->inflight);
		if (list_empty(&d->errand))
			list_add_tail(&d->errand, &batch->disks);
	}
	spin_unlock_irqrestore(&a->queue_lock, irq);
	list_for_each_entry_safe (rq, next, &nowhere, link) {
		list_del(&rq->link);
		answer(a, rq, -ENODEV);
	}
}

/* The next disk of a list, with what is to be sent to it. NULL: none. */
static struct md_disk *next_disk(struct md_array *a, struct list *disks, struct list *requests)
{
	ulong irq = spin_lock_irqsave(&a->queue_lock);
	struct md_disk *d = list_first_or_null(disks, struct md_disk, errand);

	if (d) {
		list_del_init(&d->errand);
		list_splice_tail_init(&d->outgoing, requests);
	}
	spin_unlock_irqrestore(&a->queue_lock, irq);
	return d;
}

static void put_back(struct md_array *a, struct md_disk *d, struct list *requests)
{
	ulong irq = spin_lock_irqsave(&a->queue_lock);
	struct md_rq *rq;

	list_for_each_entry (rq, requests, link)
		atomic_dec(&d->inflight);
	list_splice_tail_init(requests, &a->unsent);
	spin_unlock_irqrestore(&a->queue_lock, irq);
}

/* False: memory is short. With the last request the disk may go. */
static bool send_all(struct md_array *a, struct md_disk *d, struct list *requests)
{
	while (!list_empty(requests)) {
		struct md_rq *rq = list_first_entry(requests, struct md_rq, link);
		struct below *b = make_below(a, d, rq);

		if (!b) {
			put_back(a, d, requests);
			return false;
		}
		list_del(&rq->link);
		if (trace_on(md_member_io))
			md_trace_member_io(a, d, rq);
		block_submit(&b->bio);
	}
	return true;
}

static bool send_disks(struct md_array *a, struct list *disks)
{
	LIST(requests);
	struct md_disk *d;
	struct plug plug;
	bool sent = true;

	plug_start(&plug);
	while ((d = next_disk(a, disks, &requests)))
		sent &= send_all(a, d, &requests);
	plug_finish(&plug);
	return sent;
}

/* ---- hands ---------------------------------------------------------------------------------------------------- */

static void hand(void *arg)
{
	struct md_hand *h = arg;
	struct md_array *a = h->a;

	while (!READ_ONCE(h->stopping)) {
		wait_event(&h->wake,
			   __atomic_exchange_n(&h->kicked, false, __ATOMIC_SEQ_CST) || READ_ONCE(h->stopping));
		if (!send_disks(a, &h->disks))
			md_kick(a);
	}
}

/* All disks but the first, which is the worker's, go to the hands. */
static void share(struct md_array *a, struct md_batch *batch)
{
	ulong irq = spin_lock_irqsave(&a->queue_lock);
	struct md_disk *d, *next;
	unsigned k = 0;

	list_for_each_entry_safe (d, next, &batch->disks, errand) {
		if (k++)
			list_move_tail(&d->errand, &a->hands[k % a->nhands].disks);
	}
	spin_unlock_irqrestore(&a->queue_lock, irq);
	for (unsigned i = 0; i < min(k - 1, a->nhands); i++) {
		struct md_hand *h = &a->hands[(i + 2) % a->nhands];

		WRITE_ONCE(h->kicked, true);
		waitq_wake_all(&h->wake);
	}
}

bool md_send(struct md_array *a, struct md_batch *batch)
{
	if (a->nhands && batch->requests >= MANY && !batch->is_retry)
		share(a, batch);
	return send_disks(a, &batch->disks);
}

int md_hands_start(struct md_array *a)
{
	unsigned n = min(cpu_count() - 1, (unsigned)MD_HANDS);
	int err = 0;

	for (a->nhands = 0; !err && a->nhands < n; a->nhands += !err) {
		struct md_hand *h = &a->hands[a->nhands];

		*h = (struct md_hand){ .a = a };
		list_init(&h->disks);
		waitq_init(&h->wake);
		err = kthread_run(&h->task, hand, h, "%s_io%u", a->block.name, a->nhands);
	}
	return err;
}

void md_hands_end(struct md_array *a)
{
	for (; a->nhands; a->nhands--) {
		struct md_hand *h = &a->hands[a->nhands - 1];

		WRITE_ONCE(h->stopping, true);
		waitq_wake_all(&h->wake);
		kthread_join(&h->task);
	}
}
