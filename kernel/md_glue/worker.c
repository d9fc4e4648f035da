/* SPDX-License-Identifier: MIT
 *
 * Problem: the engine is entered by one thread at a time and never blocks; bios come from everywhere, completions from
 * deferred jobs.
 *
 * Idea: a thread an array. Everything for the engine is queued for it; a turn takes all of it over, lets the engine do
 * what it can and looks after the members (who failed, which spare takes over, whether to rebuild). What the engine
 * wants of the members is sent after the turn (issue.c).
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
#include <core/clock.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/string.h>
#include <task/task.h>
#include "trace.h"

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
	if (trace_on(md_sync_start))
		md_trace_sync_start(a, kind);
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
		if (trace_on(md_member_failed))
			md_trace_member_failed(a, a->slot[slot], slot);
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
		if (trace_on(md_sync_end))
			md_trace_sync_end(a, a->last.sync,
					  st->sync_ended ? MD_TRACE_ENDED
					  : left         ? MD_TRACE_GAVE_UP
							 : MD_TRACE_DONE);
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

/* Returns when to come again unasked, and what is to be sent. */
static u64 turn(struct md_array *a, struct md_batch *batch)
{
	u64 now = clock_ns(), again = ~0ULL, pace;
	struct md_status st;

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
	md_hand_out(a, batch);
	a->is_idle = md_is_idle(a->e);
	if (a->is_idle)
		waitq_wake_all(&a->idle);
	return min(again, pace);
}

static bool take_kick(struct md_array *a)
{
	return __atomic_exchange_n(&a->kicked, false, __ATOMIC_SEQ_CST);
}

void md_worker(void *array)
{
	struct md_array *a = array;
	struct md_batch batch;
	u64 again = 0;

	while (!READ_ONCE(a->stopping)) {
		(void)wait_event_until(&a->wake, take_kick(a) || READ_ONCE(a->stopping), again);
		mutex_lock(&a->engine_lock);
		again = turn(a, &batch);
		mutex_unlock(&a->engine_lock);
		if (!md_send(a, &batch))
			again = clock_ns() + MD_RETRY_NS;
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
