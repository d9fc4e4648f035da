/* SPDX-License-Identifier: MIT
 *
 * Problem: the engine is entered by one thread at a time and never blocks; bios come from everywhere, completions from
 * deferred jobs.
 *
 * Idea: a thread an array. Everything for the engine is queued for it; a turn takes all of it over, lets the engine do
 * what it can, looks after the members (who failed, which spare takes over, whether to rebuild) and sends what the
 * engine wants to the members.
 *
 *      bio --queue_lock--> incoming ---.                    .--> to_issue --> bio of a member
 *                                      +--> turn: engine ---+
 *      member's done() --> completed --'                    '--> block_complete
 *
 * After 200 ms without a write the array is marked clean, so that a crash in idle times needs no resync.
 *
 * Contract: md_glue.h. A request to a slot without a device fails with ENODEV.
 *
 * Locks: queue_lock inside IRQs; engine_lock around a turn; no lock while waiting.
 */
#include <alloc/slab.h>
#include <arch/mmu.h>
#include <core/clock.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/string.h>
#include <task/plug.h>
#include <task/task.h>
#include "md_glue.h"

#define RETRY_NS (10 * NSEC_PER_MSEC) /* after want of memory */

struct below { /* a request to a member */
	struct bio bio;
	struct md_array *a;
	struct md_disk *d;
	struct md_rq *rq;
	unsigned n;
	struct bio_vec vec[];
};

void md_kick(struct md_array *a)
{
	WRITE_ONCE(a->kicked, true);
	waitq_wake_all(&a->wake);
}

/* ---- bios of the array --------------------------------------------------------------------------------------- */

static void request_done(struct md_io *io, int err)
{
	struct md_request *r = container_of(io, struct md_request, io);

	block_complete(r->bio, err);
}

int md_queue(struct block_hwq *h, struct bio *b)
{
	struct md_array *a = md_array_of(h->dev);
	struct md_request *r = &a->requests[b->tag];
	enum block_op op = block_device_op(b);
	unsigned n = op == BLOCK_FLUSH ? 0 : b->nr_vecs;

	if (!READ_ONCE(a->running))
		return -ENODEV;
	if (op > BLOCK_FLUSH)
		return -EOPNOTSUPP;
	for (unsigned i = 0; i < n; i++)
		r->vec[i] = (struct md_vec){ page_virt(b->vecs[i].page) + b->vecs[i].offset, b->vecs[i].bytes };
	r->bio = b;
	r->io = (struct md_io){ .dir = op == BLOCK_READ    ? MD_READ
				       : op == BLOCK_WRITE ? MD_WRITE
							   : MD_FLUSH,
				.flags = op == BLOCK_WRITE && b->flags & BIO_FUA ? MD_FUA : 0,
				.sector = n ? b->sector : 0,
				.sectors = n ? b->bytes >> SECTOR_SHIFT : 0,
				.vec = r->vec,
				.nvec = n,
				.payer = b->payer,
				.done = request_done };
	spin_lock(&a->queue_lock);
	list_add_tail(&r->link, &a->incoming);
	spin_unlock(&a->queue_lock);
	md_kick(a);
	return 0;
}

/* ---- requests to members ------------------------------------------------------------------------------------- */

void md_engine_wants(void *array, struct md_rq *rq)
{
	struct md_array *a = array;

	list_add_tail(&rq->link, &a->to_issue);
}

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

/* False: memory is short, later. */
static bool issue_all(struct md_array *a)
{
	while (!list_empty(&a->to_issue)) {
		struct md_rq *rq = list_first_entry(&a->to_issue, struct md_rq, link);
		struct md_disk *d = a->slot[rq->slot];
		struct below *b;

		if (!d) {
			list_del(&rq->link);
			answer(a, rq, -ENODEV);
			continue;
		}
		b = make_below(a, d, rq);
		if (!b)
			return false;
		list_del(&rq->link);
		atomic_inc(&d->inflight);
		block_submit(&b->bio);
	}
	return true;
}

/* Neighbours (pages of the journal, of a stripe's column) go to a member as one. */
static bool issue(struct md_array *a)
{
	struct plug plug;
	bool issued;

	plug_start(&plug);
	issued = issue_all(a);
	plug_finish(&plug);
	return issued;
}

/* ---- looking after the members ----------------------------------------------------------------------------- */

/* A faulty device leaves its slot when the last request to it is back. */
static void vacate(struct md_array *a, u32 slot)
{
	struct md_disk *d = a->slot[slot];

	if (!d || !d->faulty || atomic_read(&d->inflight))
		return;
	md_disk_unseat(d);
	waitq_wake_all(&a->idle); /* who removes it */
}

/* The one that is meant for this slot, the one that had it if it is back, or of those that had none the youngest: mdadm
 * adds the one that it means last. */
static struct md_disk *find_spare(struct md_array *a, u32 slot)
{
	struct md_disk *d, *any = NULL;

	list_for_each_entry (d, &a->disks, entry) {
		u32 had;

		if (d->slot != MD_NO_SLOT || d->faulty || atomic_read(&d->inflight))
			continue;
		had = md_can_return(a->e, &d->sb);
		if (d->meant_for == slot || (had == slot && d->meant_for == MD_NO_SLOT))
			return d;
		if (had == MD_NO_SLOT && d->meant_for == MD_NO_SLOT)
			any = d;
	}
	return any;
}

/* True: a spare has the slot now, or is the heir of who has it. */
static bool take_spare(struct md_array *a, u32 slot, bool as_heir)
{
	u32 seat = as_heir ? MD_HEIR(slot) : slot;
	struct md_disk *d = a->slot[seat] ? NULL : find_spare(a, slot);
	int err;

	if (!d)
		return false;
	err = as_heir ? md_add_heir(a->e, slot, &d->sb) : md_add_member(a->e, slot, &d->sb);
	if (err == -EBUSY)
		return false; /* superblocks are being written: next turn */
	if (err) {
		d->faulty = true;
		return false;
	}
	log_info("%s: %s %s %u", a->block.name, d->dev->name, as_heir ? "replaces who has slot" : "takes slot", slot);
	d->meant_for = MD_NO_SLOT;
	md_disk_seat(d, seat);
	return true;
}

/* The engine lets heirs take over, and keeps requests waiting until then. True: it can go on. Who reads past the engine
 * finds the slot empty in between. */
static bool inherit(struct md_array *a, const struct md_status *st)
{
	for (u64 m = st->heirs_due; m; m &= m - 1) {
		u32 slot = (u32)__builtin_ctzll(m);
		struct md_disk *old = a->slot[slot], *heir = a->slot[MD_HEIR(slot)];

		if (old) {
			md_disk_unseat(old);
			old->faulty = true;
			old->wants_replacement = false;
		}
		md_disk_unseat(heir);
		ensure(!md_inherit(a->e, slot));
		md_disk_seat(heir, slot);
		log_info("%s: %s has slot %u now", a->block.name, heir->dev->name, slot);
		md_changed(a);
	}
	return st->heirs_due;
}

static bool start_sync(struct md_array *a, enum md_sync kind)
{
	if (md_start_sync(a->e, kind))
		return false;
	a->sync_start_ns = clock_ns();
	md_status(a->e, &a->last);
	a->sync_start_position = a->last.sync_position;
	md_pace_start(a, &a->last, a->sync_start_ns);
	log_info("%s: %s begins", a->block.name, kind == MD_SYNC_RECOVER ? "recovery" : "resync");
	md_changed(a);
	return true;
}

/* Rebuilds, resyncs. True: the engine has something new to do. */
static bool mend(struct md_array *a, const struct md_status *st)
{
	bool taken = false, rebuild = false;

	/* Who starts the array, or changes it, waits until there is nothing to do: a pass would make that hours. */
	if (!READ_ONCE(a->running) || st->sync != MD_SYNC_NONE || st->read_only || a->quiescing || a->gave_up ||
	    a->frozen || a->holds || md_is_suspended(a))
		return false;
	for (u32 i = 0; i < a->geo.disks; i++) {
		if (!(st->failed & BIT(i))) {
			taken |= a->slot[i] && a->slot[i]->wants_replacement && take_spare(a, i, true);
			continue;
		}
		vacate(a, i);
		taken |= take_spare(a, i, false);
		rebuild |= a->slot[i] && !a->slot[i]->faulty;
	}
	rebuild |= st->heirs_behind != 0;
	if (rebuild)
		return start_sync(a, MD_SYNC_RECOVER) || taken;
	if (st->parity_good == MD_CLEAN || !a->geo.parity || (st->failed && md_level_has_parity(a->geo.level)))
		return taken;
	return start_sync(a, MD_SYNC_RESYNC);
}

static u64 behind(const struct md_status *st)
{
	return (st->failed & ~st->faulty) | st->heirs_behind;
}

static void note_failed(struct md_array *a, u32 slot)
{
	if (a->slot[slot]) {
		log_warn("%s: %s has failed", a->block.name, a->slot[slot]->dev->name);
		a->slot[slot]->faulty = true;
	}
	md_changed(a);
}

/* What the engine has found out since the last look. */
static void take_note(struct md_array *a, const struct md_status *st)
{
	for (u64 fresh = st->faulty & ~a->last.faulty; fresh; fresh &= fresh - 1)
		note_failed(a, (u32)__builtin_ctzll(fresh));
	for (u64 fresh = st->heirs_faulty & ~a->last.heirs_faulty; fresh; fresh &= fresh - 1)
		note_failed(a, MD_HEIR((u32)__builtin_ctzll(fresh)));
	if (st->journal_failed && !a->last.journal_failed) {
		if (a->slot[MD_JOURNAL_SLOT])
			a->slot[MD_JOURNAL_SLOT]->faulty = true;
		md_changed(a);
	}
	if (a->last.sync != MD_SYNC_NONE && st->sync == MD_SYNC_NONE) {
		bool left = a->last.sync == MD_SYNC_RECOVER
				    ? behind(st) && behind(st) == behind(&a->last)
				    : a->last.sync == MD_SYNC_RESYNC && st->parity_good != MD_CLEAN;

		a->gave_up = left && !st->sync_ended;
		a->last_sync = a->last.sync;
		log_info("%s: %s %s", a->block.name, a->last.sync == MD_SYNC_RECOVER ? "recovery" : "sync",
			 st->sync_ended ? "was ended"
			 : left         ? "gave up"
					: "is done");
		md_changed(a);
	}
	for (u32 i = 0; i < a->geo.disks; i++) {
		vacate(a, i);
		vacate(a, MD_HEIR(i));
	}
	if (!st->cached) /* otherwise the engine still looks for what is in its way */
		vacate(a, MD_JOURNAL_SLOT);
	a->last = *st;
	if (st->sync == MD_SYNC_NONE) /* who ended it waits for that */
		waitq_wake_all(&a->idle);
}

/* ---- turns ---------------------------------------------------------------------------------------------------- */

bool md_is_suspended(const struct md_array *a)
{
	return a->suspend_lo < a->suspend_hi;
}

static bool may_begin(const struct md_array *a, const struct md_io *io)
{
	return !md_is_suspended(a) || io->dir != MD_WRITE || io->sector >= a->suspend_hi ||
	       io->sector + io->sectors <= a->suspend_lo;
}

/* All requests but writes to what is suspended. */
static void take_incoming(struct md_array *a, struct list *in)
{
	struct md_request *r, *next;

	list_for_each_entry_safe (r, next, &a->incoming, link)
		if (may_begin(a, &r->io))
			list_move_tail(&r->link, in);
}

static void feed(struct md_array *a)
{
	LIST(in);
	LIST(done);
	ulong irq = spin_lock_irqsave(&a->queue_lock);
	struct md_request *r, *rn;
	struct md_rq *rq, *qn;

	if (!a->holds)
		take_incoming(a, &in);
	list_splice_tail_init(&a->completed, &done);
	spin_unlock_irqrestore(&a->queue_lock, irq);
	list_for_each_entry_safe (rq, qn, &done, link) {
		list_del(&rq->link);
		md_complete(a->e, rq, (int)(long)rq->owner);
	}
	list_for_each_entry_safe (r, rn, &in, link) {
		list_del(&r->link);
		a->last_io_ns = clock_ns();
		if (r->io.dir == MD_WRITE)
			a->last_write_ns = a->last_io_ns;
		md_submit(a->e, &r->io);
	}
}

/* Returns when to come again unasked. */
static u64 turn(struct md_array *a)
{
	u64 now = clock_ns(), again = ~0ULL, pace;
	struct md_status st;
	bool issued;

	feed(a);
	md_set_time(a->e, clock_real_ns() / NSEC_PER_SEC);
	if (a->quiescing)
		md_shut(a->e);
	md_status(a->e, &st);
	pace = md_pace(a, &st, now);
	do {
		md_run(a->e);
		md_status(a->e, &st);
		take_note(a, &st);
	} while (inherit(a, &st) || mend(a, &st));
	if (!st.clean && !a->quiescing && a->safe_ns) {
		again = a->last_write_ns + a->safe_ns;
		if (now >= again) {
			md_quiesce(a->e);
			md_run(a->e);
			again = ~0ULL;
		}
	}
	if (st.bitmap_set && !st.failed)
		again = min(again, now + st.bitmap_sleep * NSEC_PER_SEC);
	again = min(again, pace);
	issued = issue(a);
	a->is_idle = issued && md_is_idle(a->e);
	if (a->is_idle)
		waitq_wake_all(&a->idle);
	return issued ? again : now + RETRY_NS;
}

static bool take_kick(struct md_array *a)
{
	return __atomic_exchange_n(&a->kicked, false, __ATOMIC_SEQ_CST);
}

void md_worker(void *array)
{
	struct md_array *a = array;
	u64 again = 0;

	while (!READ_ONCE(a->stopping)) {
		(void)wait_event_until(&a->wake, take_kick(a) || READ_ONCE(a->stopping), again);
		mutex_lock(&a->engine_lock);
		again = turn(a);
		mutex_unlock(&a->engine_lock);
	}
}

void md_settle(struct md_array *a)
{
	mutex_lock(&a->engine_lock);
	a->is_idle = false;
	mutex_unlock(&a->engine_lock);
	md_kick(a);
	wait_event(&a->idle, READ_ONCE(a->is_idle));
}

void md_snapshot(struct md_array *a, struct md_status *st)
{
	*st = (struct md_status){ .clean = true };
	mutex_lock(&a->engine_lock);
	if (a->e)
		md_status(a->e, st);
	mutex_unlock(&a->engine_lock);
}
