/* SPDX-License-Identifier: MIT
 *
 * Problem: a read that one member can serve as it is needs nothing of the engine, yet taking it through the array's
 * thread costs two context switches, and all readers would meet at one lock.
 *
 * Idea: the submitter sends copies of the bio, with its vectors, to the members itself. Whether it may, md_peek tells
 * without a lock. If a part fails, the bio goes through the queue and the engine, which repairs and reconstructs.
 *
 *      block_submit --bypass--> part --> bio of a member --> part_done --all good--> block_complete
 *                     |          ...                                   --an error--> block_end_bypass: the queue
 *                     |--the page is in the stripe cache, and the engine's lock free--> copied
 *                     '--no--> the queue
 *
 * Contract: block/block.h (bypass). Chunks that end inside a vector, and arrays without parity, take the queue.
 *
 * Locks: none, or engine_lock if it can be had at once. RCU keeps the engine and the disks while a bio is judged:
 * stopping waits for readers, then for what is in flight (md_bypass_drain). A disk is counted as in use *before* its
 * member is judged, and its slot is looked at again afterwards: who empties a slot has marked the member as failed and
 * then looked for users.
 */
#include <alloc/slab.h>
#include <arch/mmu.h>
#include <core/clock.h>
#include <core/irq.h>
#include <core/rcu.h>
#include <lib/err.h>
#include <lib/string.h>
#include <task/task.h>
#include "md_glue.h"

#define MOST_PARTS 4

struct part {
	struct bio bio;
	struct md_disk *d;
	struct passing *p;
};

struct passing { /* a read on its way */
	struct bio *whole;
	atomic_t pending;
	bool failed;
	unsigned n;
	struct part part[];
};

static void put_disk(struct md_disk *d)
{
	if (!atomic_sub_return(&d->inflight, 1) && READ_ONCE(d->faulty))
		md_kick(d->a); /* its slot can be emptied */
}

static void part_done(struct bio *bio)
{
	struct part *part = container_of(bio, struct part, bio);
	struct passing *p = part->p;
	struct bio *whole = p->whole;
	bool failed;

	if (bio->status)
		WRITE_ONCE(p->failed, true);
	put_disk(part->d);
	if (!atomic_dec_and_test(&p->pending))
		return;
	failed = p->failed;
	kfree(p);
	if (failed)
		block_end_bypass(whole);
	else
		block_complete(whole, 0);
}

/* The disk of a part, counted; NULL: it must go through the engine. */
static struct md_disk *pick(struct md_array *a, const struct md_engine *e, struct md_part *where)
{
	struct md_disk *d = rcu_deref(a->slot[where->slot]);

	if (!d)
		return NULL;
	atomic_inc(&d->inflight);
	if (md_peek(e, where) && READ_ONCE(a->slot[where->slot]) == d)
		return d;
	put_disk(d);
	return NULL;
}

/* How many of the vectors from v on are `bytes` together; 0: the end is inside one. */
static unsigned vecs_for(const struct bio_vec *v, u32 bytes)
{
	unsigned n = 0;

	while (bytes) {
		if (v[n].bytes > bytes)
			return 0;
		bytes -= v[n++].bytes;
	}
	return n;
}

static void fill(struct passing *p, struct md_disk *d, const struct md_part *where, struct bio_vec *v, unsigned n)
{
	struct part *part = &p->part[p->n++];

	part->d = d;
	part->p = p;
	bio_init(&part->bio, d->dev, BLOCK_READ, where->sector, v, n);
	part->bio.flags = (p->whole->flags & (BIO_SYNC | BIO_NOWAIT | BIO_META)) | BIO_DIRECT |
			  (where->failfast ? BIO_FAILFAST : 0);
	part->bio.payer = in_irq() ? p->whole->payer : 0;
	part->bio.done = part_done;
}

/* Fills in the parts of a read; false: it must go through the engine. */
static bool divide(struct md_array *a, const struct md_engine *e, struct passing *p, unsigned parts)
{
	struct bio *b = p->whole;
	struct bio_vec *v = b->vecs;
	u64 at = b->sector, end = at + (b->bytes >> SECTOR_SHIFT);

	while (at < end) {
		struct md_part where;
		struct md_disk *d;
		unsigned n;

		md_part_at(e, at, (u32)(end - at), &where);
		n = vecs_for(v, where.sectors << SECTOR_SHIFT);
		d = n && p->n < parts ? pick(a, e, &where) : NULL;
		if (!d)
			return false;
		fill(p, d, &where, v, n);
		v += n;
		at += where.sectors;
	}
	return true;
}

static void copy_out(const struct bio *b, const u8 *from)
{
	for (unsigned i = 0; i < b->nr_vecs; i++) {
		const struct bio_vec *v = &b->vecs[i];

		memcpy((u8 *)page_virt(v->page) + v->offset, from, v->bytes);
		from += v->bytes;
	}
}

/* A read within a page whose neighbours are newer than the members. engine_lock held. */
static enum md_place look(struct md_array *a, struct passing *p)
{
	struct bio *b = p->whole;
	u32 sectors = b->bytes >> SECTOR_SHIFT;
	enum md_place place = MD_BUSY;
	struct md_part where;
	const u8 *page;

	if (!a->e || b->sector % MD_PAGE_SECTORS + sectors > MD_PAGE_SECTORS)
		return MD_BUSY;
	md_part_at(a->e, b->sector, sectors, &where);
	if (a->slot[where.slot])
		place = md_look(a->e, &where, &page);
	if (place == MD_IN_MEMORY)
		copy_out(b, page + where.at % MD_PAGE_SECTORS * SECTOR_SIZE);
	if (place == MD_ON_MEMBER) {
		atomic_inc(&a->slot[where.slot]->inflight);
		fill(p, a->slot[where.slot], &where, b->vecs, b->nr_vecs);
	}
	return place;
}

static void drop(struct passing *p)
{
	while (p->n)
		put_disk(p->part[--p->n].d);
}

static enum md_place try_look(struct md_array *a, struct passing *p)
{
	enum md_place place = MD_BUSY;

	if (!in_irq() &&
	    mutex_trylock(&a->engine_lock)) { /* a read that had to wait for its tenant's turn comes in a job */
		place = a->holds || !a->running ? MD_BUSY : look(a, p);
		mutex_unlock(&a->engine_lock);
	}
	return place;
}

/* Where a read can be had without the engine's thread. With a member missing the stripe cache has what it would have to
 * reconstruct: it is asked first. */
static enum md_place judge(struct md_array *a, struct passing *p, unsigned parts)
{
	bool memory_first = READ_ONCE(a->last.failed);
	enum md_place place = memory_first ? try_look(a, p) : MD_BUSY;
	const struct md_engine *e;

	if (place != MD_BUSY)
		return place;
	rcu_read_lock();
	e = rcu_deref(a->e);
	if (e && READ_ONCE(a->running) && !READ_ONCE(a->holds) && divide(a, e, p, parts))
		place = MD_ON_MEMBER;
	rcu_read_unlock();
	if (place == MD_ON_MEMBER)
		return place;
	drop(p);
	return memory_first ? MD_BUSY : try_look(a, p);
}

bool md_bypass(struct bio *b)
{
	struct md_array *a = md_array_of(b->dev);
	enum md_place place;
	struct passing *p;
	unsigned parts;

	if (!READ_ONCE(a->running) || !md_level_has_parity(a->geo.level))
		return false;
	parts = min(b->bytes / (a->geo.chunk << SECTOR_SHIFT) + 2, (u32)MOST_PARTS);
	p = kmalloc(sizeof(*p) + parts * sizeof(p->part[0]), ALLOC_ATOMIC);
	if (!p)
		return false;
	p->whole = b;
	p->failed = false;
	p->n = 0;
	place = judge(a, p, parts);
	if (place == MD_ON_MEMBER) {
		WRITE_ONCE(a->last_io_ns, b->issue_ns);
		atomic_set(&p->pending, (int)p->n);
		for (unsigned i = 0, n = p->n; i < n; i++) /* p is gone with the last */
			block_submit(&p->part[i].bio);
		return true;
	}
	kfree(p);
	if (place == MD_IN_MEMORY)
		block_complete(b, 0);
	return place == MD_IN_MEMORY;
}

void md_bypass_drain(struct md_array *a)
{
	struct md_disk *d;

	rcu_synchronize();
	list_for_each_entry (d, &a->disks, entry)
		while (atomic_read(&d->inflight))
			(void)wait_event_until(&a->idle, !atomic_read(&d->inflight), clock_ns() + NSEC_PER_MSEC);
}
