/* SPDX-License-Identifier: MIT
 *
 * Problem: many CPUs submit, a device has a few hardware queues with a bounded number of places, and a write must be
 * able to say "on stable storage" to a device that only knows how to write and how to flush.
 *
 * Idea: a CPU maps to a hardware queue. A bio takes a tag there and goes to the driver at once. Without a tag it waits
 * in its CPU's software queue, where neighbours become one (block/merge.h), and CPUs take turns as tags come back;
 * while its task holds a plug it waits there first. Bios that go together are one request: a bio of our own whose
 * vectors are theirs; if it fails, each is tried alone, so that a bad sector hurts only its owner.
 *
 *      submit --plug--> software queue of the CPU --tag--> driver --> done        waiting: came back, goes first
 *
 * PREFLUSH and FUA become a sequence when the device has a volatile cache:
 *
 *      PREFLUSH set --> [flush] --> data present --> [write] --> FUA set and device lacks it --> [flush] --> done
 *      stage:            PRE                         DATA                                        POST
 *
 * Each stage is the same bio submitted again with another operation, so that it needs no memory.
 *
 * Contract: block/block.h.
 *
 * Locks: hwq->lock (RANK_BLOCK, irqsave) covers tags, the queues of its CPUs and the driver's queue(). No lock is held
 * while done() runs. A plug is its task's.
 */
#include <arch/cpu.h>
#include <block/block.h>
#include <core/clock.h>
#include <core/irq.h>
#include <core/log.h>
#include <lib/err.h>
#include <task/plug.h>

#include "block_priv.h"
#include "trace.h"

#define LOOK        8  /* groups that a newcomer is compared with */
#define PLUG_MOST   32 /* groups held back */
#define MAX_RETRIES 5

enum stage { STAGE_NONE, STAGE_PRE, STAGE_DATA, STAGE_POST };

struct request { /* several bios as one */
	struct bio bio;
	struct list members; /* bio->link */
	struct bio_vec vecs[];
};

static struct block_hwq *hwq_of_cpu(struct block_dev *d, bool polled)
{
	unsigned nr = d->nr_hwqs - d->nr_poll;

	return polled ? &d->hwqs[nr + cpu_id() % d->nr_poll] : &d->hwqs[cpu_id() % nr];
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

static const u8 stat_row[BLOCK_OPS] = {
	[BLOCK_READ] = 0, [BLOCK_WRITE] = 1, [BLOCK_FLUSH] = 3, [BLOCK_DISCARD] = 2, [BLOCK_WRITE_ZEROES] = 1
};

/* Busy time is when anything is in flight. Two CPUs that pass 0 at once may misplace a few ns. */
static void note_started(struct bio *b)
{
	for (struct block_dev *d = b->dev; d; d = next_level(d)) {
		if (b->op != BLOCK_READ)
			atomic_inc(&d->stats.writes_in_flight);
		if (!atomic_fetch_add(&d->stats.in_flight, 1))
			WRITE_ONCE(d->stats.busy_since_ns, b->issue_ns);
	}
}

static void note_ended(struct bio *b, u64 now)
{
	for (struct block_dev *d = b->dev; d; d = next_level(d)) {
		if (b->op != BLOCK_READ)
			atomic_dec(&d->stats.writes_in_flight);
		if (!atomic_sub_return(&d->stats.in_flight, 1))
			atomic_add(&d->stats.busy_ns, now - READ_ONCE(d->stats.busy_since_ns));
	}
}

/* ---- several bios as one ---------------------------------------------------------------------------------- */

static struct merge_limits limits_for(const struct bio *b)
{
	const struct block_limits *l = &b->dev->whole->limits;

	if (b->op == BLOCK_DISCARD)
		return (struct merge_limits){ .max_bytes = min(l->max_discard_bytes, (u64)UINT32_MAX) };
	return (struct merge_limits){ l->max_bytes, l->max_vecs, l->boundary };
}

static bool may_merge(const struct bio *b)
{
	const u16 alone = BIO_PREFLUSH | BIO_HIPRI | BIO_NOWAIT | BIO_ALONE;

	return b->op <= BLOCK_DISCARD && b->op != BLOCK_FLUSH && !(b->flags & alone) && b->dev->whole->nomerges < 2;
}

/* What merging asks of a transfer of data at this sector of the disk. */
static void describe(struct merge_item *m, const struct bio *b, u64 sector)
{
	merge_item_init(m);
	m->target = b->dev;
	m->kind = may_merge(b) ? b->op | (u32)(b->flags & (BIO_FUA | BIO_FAILFAST)) << 8 : MERGE_NEVER;
	m->sector = sector;
	m->bytes = b->bytes;
	m->vecs = b->nr_vecs;
	m->first_offset = b->nr_vecs ? b->vecs[0].offset : 0;
	m->last_end = b->nr_vecs ? b->vecs[b->nr_vecs - 1].offset + b->vecs[b->nr_vecs - 1].bytes : 0;
}

/* Into a plug's or a software queue; true: it is a group of its own there. */
static bool add_to(struct list *queue, struct bio *b)
{
	struct merge_limits l = limits_for(b);
	struct merge_item *m = &b->merge;
	enum merge_result result;

	describe(m, b, b->sector);
	if (b->stage != STAGE_DATA)
		m->kind = MERGE_NEVER;
	result = merge_add(queue, m, &l, b->dev->whole->nomerges ? 1 : LOOK);
	if (result == MERGE_BACK && trace_on(block_bio_backmerge))
		block_trace_bio(TRACE_block_bio_backmerge, b);
	if (result == MERGE_FRONT && trace_on(block_bio_frontmerge))
		block_trace_bio(TRACE_block_bio_frontmerge, b);
	return result == MERGE_NONE;
}

static void submit_alone(struct bio *b);

static void request_done(struct bio *bio)
{
	struct request *r = container_of(bio, struct request, bio);
	int status = bio->status;
	struct bio *b, *next;

	list_for_each_entry_safe (b, next, &r->members, link) {
		if (status == -EIO) {
			submit_alone(b);
			continue;
		}
		b->issue_ns = bio->issue_ns;
		b->complete_ns = bio->complete_ns;
		block_bio_finish(b, status);
	}
	kfree(r);
}

static void count_merges(struct bio *lead, unsigned n)
{
	for (struct block_dev *d = lead->dev; d; d = next_level(d))
		atomic_add(&d->stats.merges[stat_row[lead->op]], n);
}

static struct bio *make_request(struct bio *lead)
{
	const struct merge_item *m = &lead->merge;
	struct request *r = kmalloc(sizeof(*r) + m->vecs * sizeof(r->vecs[0]), ALLOC_ATOMIC);
	struct bio *b;
	unsigned n = 0;

	if (!r)
		return NULL;
	r->bio = (struct bio){ .dev = lead->dev,
			       .op = lead->op,
			       .stage = STAGE_DATA,
			       .payer = lead->payer,
			       .sector = lead->sector,
			       .bytes = m->bytes,
			       .vecs = m->vecs ? r->vecs : NULL,
			       .nr_vecs = m->vecs,
			       .done = request_done };
	list_init(&r->members);
	list_add_tail(&lead->link, &r->members);
	list_for_each_entry (b, &m->chain, merge.link)
		list_add_tail(&b->link, &r->members);
	list_for_each_entry (b, &r->members, link) {
		r->bio.flags |= b->flags;
		for (unsigned i = 0; i < b->nr_vecs; i++)
			r->vecs[n++] = b->vecs[i];
	}
	count_merges(lead, m->count - 1);
	return &r->bio;
}

/* Takes a group out of its queue and appends it to `out` (bio->link): one bio, or all of them where memory is short. */
static void take_group(struct merge_item *m, struct list *out)
{
	struct bio *lead = container_of(m, struct bio, merge), *request = m->count > 1 ? make_request(lead) : lead, *b;

	list_del(&m->link);
	if (request) {
		list_add_tail(&request->link, out);
		return;
	}
	list_add_tail(&lead->link, out);
	list_for_each_entry (b, &m->chain, merge.link)
		list_add_tail(&b->link, out);
}

/* ---- queues ---------------------------------------------------------------------------------------------------- */

/* The next group in the software queues goes to the waiting list; CPUs take turns. */
static void pull_soft(struct block_hwq *h)
{
	unsigned nr = cpu_count();

	while (h->nr_soft) {
		struct list *q = &h->soft[h->next_soft++ % nr];

		if (list_empty(q))
			continue;
		h->nr_soft--;
		take_group(list_first_entry(q, struct merge_item, link), &h->waiting);
		return;
	}
}

/* Offers one bio to the driver. False: no place now. */
static bool issue(struct block_hwq *h, struct bio *b, int *error)
{
	int tag = h->stopped ? -1 : tag_get(h);

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
		if (trace_on(block_rq_issue))
			block_trace_request(TRACE_block_rq_issue, b);
		return true;
	}
	tag_put(h, tag);
	if (*error == -EBUSY && h->in_flight) {
		*error = 0;
		return false;
	}
	return true; /* refused for good: the caller completes it */
}

/* Sends the bios of a list as long as there is room; refused ones go to failed. */
static bool issue_list(struct block_hwq *h, struct list *bios, struct list *failed)
{
	bool sent = false;
	int error;

	while (!list_empty(bios)) {
		struct bio *b = list_first_entry(bios, struct bio, link);

		if (!issue(h, b, &error))
			break;
		list_del(&b->link);
		sent = true;
		if (error) {
			b->status = error;
			list_add_tail(&b->link, failed);
		}
	}
	return sent;
}

/* Sends what waits. */
static bool run_queue(struct block_hwq *h, struct list *failed)
{
	bool sent = false;

	for (;;) {
		if (list_empty(&h->waiting) && h->nr_soft && h->in_flight < h->depth && !h->stopped)
			pull_soft(h);
		if (!issue_list(h, &h->waiting, failed))
			return sent;
		sent = true;
	}
}

static void finish_list(struct list *failed)
{
	struct bio *f, *next;

	list_for_each_entry_safe (f, next, failed, link)
		block_bio_finish(f, f->status);
}

static void fail_all(struct list *bios, int status, struct list *failed)
{
	struct bio *b;

	list_for_each_entry (b, bios, link)
		b->status = status;
	list_splice_tail_init(bios, failed);
}

/* What found no tag waits in this CPU's software queue. */
static void wait_softly(struct block_hwq *h, struct list *bios, struct list *failed)
{
	struct bio *b, *next;

	list_for_each_entry_safe (b, next, bios, link) {
		list_del(&b->link);
		if (b->flags & BIO_NOWAIT) {
			b->status = -EAGAIN;
			list_add_tail(&b->link, failed);
		} else {
			if (trace_on(block_rq_insert))
				block_trace_request(TRACE_block_rq_insert, b);
			h->nr_soft += add_to(&h->soft[cpu_id()], b);
		}
	}
}

/* Each has a waiter who polls, and the plan is not one that leaves some of them to the interrupt. */
static bool are_polled(struct block_dev *disk, struct list *bios)
{
	struct bio *b;
	bool polled = disk->nr_poll && disk->io_poll && block_policy_always_polls(disk);

	list_for_each_entry (b, bios, link)
		polled = polled && b->flags & BIO_HIPRI && !b->parent;
	list_for_each_entry (b, bios, link)
		b->polled = polled;
	return polled;
}

static void enqueue_all(struct block_dev *disk, struct list *bios)
{
	struct block_hwq *h = hwq_of_cpu(disk, are_polled(disk, bios));
	LIST(failed);
	ulong irq = spin_lock_irqsave(&h->lock);
	bool sent = false;

	if (disk->dead) {
		fail_all(bios, -EIO, &failed);
	} else {
		if (list_empty(&h->waiting) && !h->nr_soft)
			sent = issue_list(h, bios, &failed);
		if (!list_empty(bios)) {
			wait_softly(h, bios, &failed);
			sent |= run_queue(h, &failed);
		}
		if (sent && disk->driver->commit)
			disk->driver->commit(h);
	}
	spin_unlock_irqrestore(&h->lock, irq);
	finish_list(&failed);
}

static void enqueue(struct bio *b)
{
	LIST(one);

	list_add_tail(&b->link, &one);
	enqueue_all(b->dev->whole, &one);
}

static void submit_alone(struct bio *b)
{
	b->flags |= BIO_ALONE;
	enqueue(b);
}

void upcall_plug_flush(struct plug *p)
{
	LIST(items);

	if (trace_on(block_unplug))
		block_trace_unplug(p->count);
	p->count = 0;
	list_splice_tail_init(&p->items, &items);
	while (!list_empty(&items)) {
		struct merge_item *first = list_first_entry(&items, struct merge_item, link), *m, *next;
		struct block_dev *disk = container_of(first, struct bio, merge)->dev->whole;
		LIST(batch);

		list_for_each_entry_safe (m, next, &items, link)
			if (container_of(m, struct bio, merge)->dev->whole == disk)
				take_group(m, &batch);
		enqueue_all(disk, &batch);
	}
}

bool block_queue_joins(const struct bio *b)
{
	const struct plug *p = in_irq() ? NULL : current->plug;
	struct merge_limits l = limits_for(b);
	struct merge_item m;

	if (!p || list_empty(&p->items))
		return false;
	describe(&m, b, b->sector + b->dev->start);
	return merge_follows(list_last_entry(&p->items, struct merge_item, link), &m, &l);
}

/* The youngest group can take no more: to hold it back is to keep the device waiting. */
static bool is_full(const struct plug *p, const struct merge_limits *l)
{
	const struct merge_item *m = list_last_entry(&p->items, struct merge_item, link);

	return m->bytes >= l->max_bytes || (m->vecs && m->vecs >= l->max_vecs);
}

static bool hold_back(struct bio *b)
{
	struct plug *p = in_irq() ? NULL : current->plug;
	struct merge_limits l = limits_for(b);

	if (!p || b->stage != STAGE_DATA || !may_merge(b))
		return false;
	if (!p->count && trace_on(block_plug))
		block_trace_plug();
	p->count += add_to(&p->items, b);
	if (p->count >= PLUG_MOST || is_full(p, &l))
		upcall_plug_flush(p);
	return true;
}

/* Lock held: what waits goes, as far as there is room. */
static void run_and_commit(struct block_hwq *h, struct list *failed)
{
	if (run_queue(h, failed) && h->dev->driver->commit)
		h->dev->driver->commit(h);
}

void block_stop_queue(struct block_hwq *h)
{
	ulong irq = spin_lock_irqsave(&h->lock);

	h->stopped = true;
	spin_unlock_irqrestore(&h->lock, irq);
}

void block_start_queue(struct block_hwq *h)
{
	LIST(failed);
	ulong irq = spin_lock_irqsave(&h->lock);

	h->stopped = false;
	run_and_commit(h, &failed);
	spin_unlock_irqrestore(&h->lock, irq);
	finish_list(&failed);
}

bool block_requeue(struct bio *b)
{
	struct block_hwq *h = b->hwq;
	LIST(failed);
	ulong irq;

	if (b->retries >= (b->flags & BIO_FAILFAST ? 0 : MAX_RETRIES) || b->dev->whole->dead)
		return false;
	irq = spin_lock_irqsave(&h->lock);
	b->retries++;
	tag_put(h, b->tag);
	h->in_flight--;
	note_ended(b, clock_ns());
	list_add_tail(&b->link, &h->waiting);
	run_and_commit(h, &failed);
	spin_unlock_irqrestore(&h->lock, irq);
	finish_list(&failed);
	return true;
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
	u64 took = b->complete_ns - b->issue_ns;
	unsigned r = stat_row[device_op(b)];

	for (struct block_dev *d = b->dev; d; d = next_level(d)) {
		atomic_add(&d->stats.ios[r], 1);
		atomic_add(&d->stats.sectors[r], b->bytes >> SECTOR_SHIFT);
		atomic_add(&d->stats.ns[r], took);
	}
}

static void free_place(struct bio *b)
{
	struct block_hwq *h = b->hwq;
	LIST(failed);
	ulong irq = spin_lock_irqsave(&h->lock);

	tag_put(h, b->tag);
	h->in_flight--;
	run_and_commit(h, &failed);
	spin_unlock_irqrestore(&h->lock, irq);
	finish_list(&failed);
}

void block_complete(struct bio *b, int status)
{
	if (b->hwq && trace_on(block_rq_complete))
		block_trace_request_done(b, status);
	if (!b->hwq && trace_on(block_bio_complete))
		block_trace_bio_done(b, status);
	if (b->hwq)
		free_place(b);
	b->complete_ns = clock_ns();
	note_ended(b, b->complete_ns);
	account(b);
	block_policy_completed(b, b->complete_ns - b->issue_ns);
	if (!status && next_stage(b))
		enqueue(b);
	else
		block_bio_finish(b, status);
}

static void start_at_once(struct bio *b)
{
	b->stage = STAGE_NONE;
	b->issue_ns = clock_ns();
	note_started(b);
}

static void submit_at_once(struct bio *b)
{
	if (b->dev->whole->dead) {
		block_bio_finish(b, -EIO);
		return;
	}
	start_at_once(b);
	b->dev->whole->driver->submit(b);
}

static bool bypass(struct bio *b)
{
	if (b->op != BLOCK_READ || b->dev->whole->dead)
		return false;
	start_at_once(b);
	if (b->dev->whole->driver->bypass(b))
		return true;
	note_ended(b, b->issue_ns);
	return false;
}

void block_end_bypass(struct bio *b)
{
	note_ended(b, clock_ns());
	b->stage = STAGE_DATA;
	submit_alone(b);
}

void block_queue_submit(struct bio *b)
{
	if (b->share.node)
		block_tenants_submit(b);
	else
		block_queue_go(b);
}

void block_queue_go(struct bio *b)
{
	const struct block_limits *l = &b->dev->whole->limits;
	bool flush_first = l->write_cache && (b->flags & BIO_PREFLUSH || b->op == BLOCK_FLUSH);

	if (b->op == BLOCK_FLUSH && !l->write_cache) { /* nothing is volatile */
		block_bio_finish(b, 0);
		return;
	}
	if (b->dev->whole->driver->submit) {
		submit_at_once(b);
		return;
	}
	if (b->dev->whole->driver->bypass && bypass(b))
		return;
	b->stage = flush_first ? STAGE_PRE : STAGE_DATA;
	if (!hold_back(b))
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
	if (!nr)
		return 0;
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
		h->soft = kcalloc(cpu_count(), sizeof(*h->soft), ALLOC_KERNEL);
		if (!h->by_tag || !h->tags || !h->soft) {
			block_queues_free(d);
			return -ENOMEM;
		}
		for (unsigned cpu = 0; cpu < cpu_count(); cpu++)
			list_init(&h->soft[cpu]);
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
		kfree(d->hwqs[i].soft);
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

		while (h->nr_soft)
			pull_soft(h);
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
			block_bio_finish(b, -EIO);
	}
}
