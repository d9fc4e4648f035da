/* SPDX-License-Identifier: MIT
 *
 * Problem: a small write to a parity array must read, compute and write in an order that loses nothing when any
 * member, the journal or the machine stops in the middle.
 *
 * Idea: one decision function that looks only at the stripe's flags. Whenever nothing is in flight it serves the
 * reads that it can, asks for what is missing, and moves the running write one step on:
 *
 *	APPLY		old contents for partial pages are read; new data goes into the pages
 *	PARITY		read-modify-write or reconstruct-write, whichever reads less and is possible
 *	INTENT		the bitmap, if there is one, says where a write is under way
 *	DURABLE_DIRTY	the superblocks say that a resync is needed after a crash, or where the log begins
 *	JOURNAL		data and parity are durable in the log (write-back stops here after the data)
 *	MEMBERS		the members are written; then the write is acknowledged
 *
 * A page that cannot be read is reconstructed and written back; the loop simply decides again with that slot marked
 * bad. A failed write is recorded in the member's bad-block log, or fails the member, and waits until that is durable.
 *
 * Contract: engine_priv.h.
 *
 * Locks: the engine's.
 */
#include <core/log.h>
#include <lib/err.h>
#include <lib/string.h>
#include <md/failfast.h>
#include "engine_priv.h"

static u64 all_slots(const struct md_engine *e)
{
	return e->geo.disks == 64 ? ~0ULL : BIT(e->geo.disks) - 1;
}

u64 stripe_parity_mask(const struct md_engine *e, const struct md_stripe *sh)
{
	u32 p, q;

	md_geo_parity(&e->geo, sh->sector / e->geo.chunk, &p, &q);
	return BIT(p) | (q == MD_NO_SLOT ? 0 : BIT(q));
}

u64 stripe_flag_mask(const struct md_engine *e, const struct md_stripe *sh, unsigned flag)
{
	u64 m = 0;

	for (u32 i = 0; i < e->geo.disks; i++)
		if (sh->s[i].flags & flag)
			m |= BIT(i);
	return m;
}

/* As far as is known before it is read. */
static bool slot_holds(const struct md_engine *e, const struct md_stripe *sh, u32 i)
{
	const struct member *m = &e->member[i];

	return m->present && !m->faulty && !md_bad_hits(&m->bad, m->sb.data_offset + sh->sector, MD_PAGE_SECTORS) &&
	       (m->in_sync || sh->sector + MD_PAGE_SECTORS <= m->recovered);
}

bool slot_readable(const struct md_engine *e, const struct md_stripe *sh, u32 i)
{
	return !(sh->bad & BIT(i)) && slot_holds(e, sh, i);
}

static u64 readable_mask(const struct md_engine *e, const struct md_stripe *sh)
{
	u64 m = 0;

	for (u32 i = 0; i < e->geo.disks; i++)
		if (slot_readable(e, sh, i))
			m |= BIT(i);
	return m;
}

/* ---- member I/O ---- */

static void members_written(struct md_engine *e, struct md_stripe *sh);

static void read_failed(struct md_engine *e, struct md_stripe *sh, u32 i)
{
	const struct md_failfast_in in = {
		.failfast = e->member[i].sb.devflags & 2, /* FailFast1 */
		.others_can_serve = array_can_lose(e, i),
	};

	sh->bad |= BIT(i);
	if (md_failfast_read(&in) == MD_FAIL_MEMBER)
		array_member_error(e, i);
	else
		sh->fix |= BIT(i);
}

/* The others have what belongs into slot i of this stripe. */
static bool others_serve(const struct md_engine *e, const struct md_stripe *sh, u32 i)
{
	u32 lacking = 1;

	for (u32 k = 0; k < e->geo.disks; k++)
		lacking += k != i && !slot_holds(e, sh, k);
	return lacking <= e->geo.parity && array_can_lose(e, i);
}

static void write_failed(struct md_engine *e, struct md_stripe *sh, u32 i)
{
	const struct md_failfast_in in = {
		.failfast = e->member[i].sb.devflags & 2,
		.others_can_serve = others_serve(e, sh, i),
	};

	if (e->member[i].faulty)
		return;
	if (in.others_can_serve && !in.failfast && array_record_bad(e, i, sh->sector, MD_PAGE_SECTORS))
		return;
	if (md_failfast_write(&in) == MD_FAIL_MEMBER)
		array_member_error(e, i);
	else
		sh->err = -EIO;
}

static void page_written(struct md_engine *e, struct md_stripe *sh, const struct md_rq *rq)
{
	array_wrote(e, rq->slot, rq->sector, rq->bytes);
	if (sh->phase != FIX)
		return;
	sh->bad &= ~BIT(rq->slot);
	e->corrected += MD_PAGE_SECTORS;
}

static void rq_over(struct md_engine *e, struct md_stripe *sh)
{
	if (--sh->inflight)
		return;
	if (sh->phase == WRITE) {
		members_written(e, sh);
		return;
	}
	sh->phase = IDLE;
	list_add_tail(&sh->link, &e->ready);
}

static void stripe_rq_done(struct md_engine *e, struct md_rq *rq, int err)
{
	struct md_stripe *sh = rq->arg;
	struct slot_page *s = &sh->s[rq->slot];

	if (rq->dir == MD_READ && err)
		read_failed(e, sh, rq->slot);
	else if (rq->dir == MD_READ)
		s->flags |= rq->buf == s->old ? OLD : CUR;
	else if (err)
		write_failed(e, sh, rq->slot);
	else
		page_written(e, sh, rq);
	rq_over(e, sh);
}

static void heir_rq_done(struct md_engine *e, struct md_rq *rq, int err)
{
	heir_written(e, rq, err);
	rq_over(e, rq->arg);
}
void stripe_rq(struct md_engine *e, struct md_stripe *sh, u32 i, enum md_dir dir, u8 *buf, unsigned flags)
{
	const struct member *m = &e->member[i];

	if (m->sb.devflags & 2 && array_can_lose(e, i))
		flags |= MD_FAILFAST;
	sh->inflight++;
	sh->s[i].rq = (struct md_rq){
		.slot = i,
		.dir = dir,
		.flags = flags,
		.sector = m->sb.data_offset + sh->sector,
		.bytes = PAGE_BYTES,
		.buf = buf,
		.payer = sh->payer,
		.done = stripe_rq_done,
		.arg = sh,
	};
	engine_submit(e, &sh->s[i].rq);
}

void stripe_write_heir(struct md_engine *e, struct md_stripe *sh, u32 i, unsigned flags)
{
	sh->inflight++;
	sh->s[i].heir_rq = (struct md_rq){
		.slot = MD_HEIR(i),
		.dir = MD_WRITE,
		.flags = flags,
		.sector = e->heir[i].sb.data_offset + sh->sector,
		.bytes = PAGE_BYTES,
		.buf = sh->s[i].page,
		.payer = sh->payer,
		.done = heir_rq_done,
		.arg = sh,
	};
	engine_submit(e, &sh->s[i].heir_rq);
}

void stripe_write(struct md_engine *e, struct md_stripe *sh, u32 i, unsigned flags)
{
	if (e->member[i].present && !e->member[i].faulty)
		stripe_rq(e, sh, i, MD_WRITE, sh->s[i].page, flags);
	if (e->heirs & BIT(i))
		stripe_write_heir(e, sh, i, flags);
}

/* ---- making pages current ---- */

/* Reads the disk states of the slots in m. */
static void read_slots(struct md_engine *e, struct md_stripe *sh, u64 m)
{
	sh->phase = FETCH;
	for (; m; m &= m - 1) {
		struct slot_page *s = &sh->s[__builtin_ctzll(m)];

		stripe_rq(e, sh, __builtin_ctzll(m), MD_READ, s->flags & DIRTY ? s->old : s->page, 0);
	}
}

static u64 known_on_disk(const struct md_engine *e, const struct md_stripe *sh)
{
	u64 dirty = stripe_flag_mask(e, sh, DIRTY);

	return (dirty & stripe_flag_mask(e, sh, OLD)) | (~dirty & stripe_flag_mask(e, sh, CUR));
}

/* Rewrites reconstructed pages over sectors that could not be read; 1 when writes are in flight. */
static int rewrite_bad(struct md_engine *e, struct md_stripe *sh)
{
	u64 m = sh->fix & known_on_disk(e, sh) & slots_writable(e);

	sh->fix = 0;
	if (!m || e->read_only)
		return 0;
	sh->phase = FIX;
	for (; m; m &= m - 1) {
		struct slot_page *s = &sh->s[__builtin_ctzll(m)];

		stripe_rq(e, sh, __builtin_ctzll(m), MD_WRITE, s->flags & DIRTY ? s->old : s->page, MD_FUA);
	}
	return 1;
}

/* Makes the pages of `need` current: 0 they are, 1 I/O has been started, -EIO it is impossible. */
int stripe_require(struct md_engine *e, struct md_stripe *sh, u64 need)
{
	u64 readable, known, lost;

	need = need ? need & ~stripe_flag_mask(e, sh, CUR) : 0;
	if (!need)
		return 0;
	readable = readable_mask(e, sh);
	if (!(need & ~readable)) {
		read_slots(e, sh, need);
		return 1;
	}
	known = known_on_disk(e, sh);
	lost = all_slots(e) & ~known & ~readable;
	if (__builtin_popcountll(lost) > e->geo.parity || !parity_is_good(e, sh->sector))
		return fail(EIO, "sector %llu: %d members are unreadable", (unsigned long long)sh->sector,
			    __builtin_popcountll(lost));
	if (all_slots(e) & ~known & ~lost) {
		read_slots(e, sh, all_slots(e) & ~known & ~lost);
		return 1;
	}
	parity_reconstruct(e, sh, lost);
	return rewrite_bad(e, sh);
}

/* ---- reads ---- */

static void answer_reads(struct md_engine *e, struct slot_page *s, int err)
{
	while (!list_empty(&s->toread)) {
		struct md_seg *seg = list_first_entry(&s->toread, struct md_seg, link);

		list_del(&seg->link);
		if (!err)
			seg_copy(seg, s->page, false);
		io_part_done(e, seg->io, err);
	}
}

/* True when reads are served; false when I/O is on the way. */
static bool serve_reads(struct md_engine *e, struct md_stripe *sh)
{
	int r = stripe_require(e, sh, sh->to_read);

	for (u64 m = sh->to_read; m; m &= m - 1) {
		struct slot_page *s = &sh->s[__builtin_ctzll(m)];

		if (!(s->flags & CUR) && r >= 0)
			continue;
		answer_reads(e, s, s->flags & CUR ? 0 : r);
		sh->to_read &= ~(m & -m);
	}
	return r <= 0;
}

/* ---- writes ---- */

static void end_batch(struct md_engine *e, struct md_stripe *sh, int err)
{
	for (u64 m = sh->in_batch; m; m &= m - 1) {
		struct list *b = &sh->s[__builtin_ctzll(m)].batch;

		while (!list_empty(b)) {
			struct md_seg *seg = list_first_entry(b, struct md_seg, link);

			list_del(&seg->link);
			io_part_done(e, seg->io, err);
		}
	}
	sh->in_batch = 0;
	if (sh->intends)
		intent_end(e, sh->sector, MD_PAGE_SECTORS);
	sh->intends = false;
	sh->op = OP_NONE;
	sh->err = 0;
	sh->fua = false;
}

/* The write cannot be done: pages go back to what the members hold, if that is known. What the journal acknowledged
 * stays, in memory and in the journal, until enough members are back. */
static void abandon_write(struct md_engine *e, struct md_stripe *sh, int err)
{
	for (u32 i = 0; i < e->geo.disks; i++) {
		struct slot_page *s = &sh->s[i];

		if (!(s->flags & DIRTY) || s->flags & LOGGED)
			continue;
		if (s->flags & OLD)
			swap(s->page, s->old);
		s->flags = s->flags & OLD ? CUR : 0;
	}
	sh->stuck = stripe_flag_mask(e, sh, DIRTY);
	if (!sh->stuck)
		journal_release(e, sh);
	end_batch(e, sh, err);
}

static bool covers_page(const struct slot_page *s)
{
	struct md_seg *seg;
	unsigned have = 0;

	list_for_each_entry (seg, &s->batch, link)
		have |= ((1u << seg->bytes / 512) - 1) << seg->first / 512;
	return have == 0xff;
}

static void apply_batch(struct slot_page *s)
{
	struct md_seg *seg;

	if (!(s->flags & DIRTY)) {
		bool known = s->flags & CUR;

		swap(s->page, s->old);
		if (known && !covers_page(s))
			memcpy(s->page, s->old, PAGE_BYTES);
		s->flags = DIRTY | (known ? OLD : 0);
	}
	list_for_each_entry (seg, &s->batch, link)
		seg_copy(seg, s->page, true);
	s->flags = (s->flags | CUR) & ~LOGGED;
}

/* Blocks that the log needs for a batch of n pages: the pages, parity, two meta blocks; write-back also the pages
 * once more, for recovery writes data-only stripes again before it moves the log's tail. */
static u32 log_blocks(const struct md_engine *e, u32 n, bool cache)
{
	return n + e->geo.parity + 2 + (cache ? n : 0);
}

static bool wants_cache(const struct md_engine *e, const struct md_stripe *sh)
{
	return journal_active(e) && e->j.mode == MD_WRITE_BACK && !array_failed(e) && !sh->write_out && !e->quiescing &&
	       e->sync.kind == MD_SYNC_NONE;
}

/* Takes the waiting writes as the next batch. False: no room in the log; the stripe waits or is written out. */
static bool begin_write(struct md_engine *e, struct md_stripe *sh, u64 slots)
{
	bool cache = wants_cache(e, sh);
	u32 n;

	slots = ppl_choose(e, sh, slots);
	n = __builtin_popcountll(slots);

	if (journal_active(e) && !journal_reserve(e, sh, log_blocks(e, n, cache))) {
		if (stripe_flag_mask(e, sh, DIRTY)) {
			sh->op = OP_WRITEOUT;
			sh->step = PARITY;
			return true;
		}
		list_add_tail(&sh->link, &e->j.space_wait);
		return false;
	}
	sh->to_write &= ~slots;
	sh->in_batch = slots;
	for (; slots; slots &= slots - 1) {
		struct slot_page *s = &sh->s[__builtin_ctzll(slots)];
		struct md_seg *seg;

		list_for_each_entry (seg, &s->towrite, link)
			sh->fua |= seg->io->flags & MD_FUA;
		list_splice_tail_init(&s->towrite, &s->batch);
	}
	intent_begin(e, sh->sector, MD_PAGE_SECTORS);
	sh->intends = true;
	sh->op = cache ? OP_CACHE : OP_WRITEOUT;
	sh->step = APPLY;
	return true;
}

static int step_apply(struct md_engine *e, struct md_stripe *sh)
{
	u64 partial = 0;
	int r;

	for (u64 m = sh->in_batch; m; m &= m - 1)
		if (!covers_page(&sh->s[__builtin_ctzll(m)]))
			partial |= m & -m;
	r = stripe_require(e, sh, partial);
	if (r)
		return r;
	for (u64 m = sh->in_batch; m; m &= m - 1)
		apply_batch(&sh->s[__builtin_ctzll(m)]);
	sh->step = sh->op == OP_CACHE ? DURABLE_DIRTY : PARITY;
	return 0;
}

/* Computes the new parity: 0 done, 1 reading, or -EIO. */
static int step_parity(struct md_engine *e, struct md_stripe *sh)
{
	u64 parity = stripe_parity_mask(e, sh), dirty = stripe_flag_mask(e, sh, DIRTY) & ~parity;
	u64 cur = stripe_flag_mask(e, sh, CUR), readable = readable_mask(e, sh);
	u64 rmw = (dirty & ~stripe_flag_mask(e, sh, OLD)) | (parity & ~cur);
	u64 rcw = all_slots(e) & ~parity & ~cur, writable = slots_writable(e);
	bool can_rmw = !(rmw & ~readable) && parity_is_good(e, sh->sector);
	u32 p, q;
	int r;

	if (__builtin_popcountll(all_slots(e) & ~writable) > e->geo.parity)
		return -EIO;
	sh->step = INTENT;
	if (!(parity & (writable | e->heirs))) { /* what is in memory of it ages, too */
		for (; parity; parity &= parity - 1)
			sh->s[__builtin_ctzll(parity)].flags = 0;
		return 0;
	}
	if (can_rmw && (rcw & ~readable || __builtin_popcountll(rmw) < __builtin_popcountll(rcw))) {
		if (rmw) {
			sh->step = PARITY;
			read_slots(e, sh, rmw);
			return 1;
		}
		parity_modify(e, sh);
	} else {
		r = stripe_require(e, sh, rcw);
		if (r) {
			sh->step = PARITY;
			return r;
		}
		md_geo_parity(&e->geo, sh->sector / e->geo.chunk, &p, &q);
		parity_generate(e, sh, sh->s[p].page, q == MD_NO_SLOT ? NULL : sh->s[q].page);
	}
	for (; parity; parity &= parity - 1)
		sh->s[__builtin_ctzll(parity)].flags = CUR | DIRTY;
	return 0;
}

static void meta_is_written(struct md_engine *e, struct meta_waiter *w)
{
	struct md_stripe *sh = container_of(w, struct md_stripe, waiter);

	list_add_tail(&sh->link, &e->ready);
}

/* Waits until the superblocks of a generation are on the members; false when they are. */
bool stripe_wait_meta(struct md_engine *e, struct md_stripe *sh, u64 generation)
{
	sh->waiter.go = meta_is_written;
	return meta_wait(e, &sh->waiter, generation);
}

static int step_intent(struct md_engine *e, struct md_stripe *sh)
{
	sh->step = DURABLE_DIRTY;
	sh->phase = META;
	sh->waiter.go = meta_is_written;
	if (intent_wait(e, &sh->waiter, sh->sector, MD_PAGE_SECTORS))
		return 1;
	sh->phase = IDLE;
	return 0;
}

static int step_dirty(struct md_engine *e, struct md_stripe *sh)
{
	sh->step = JOURNAL;
	if (journal_active(e) && e->meta_written >= e->j.generation)
		return 0;
	if (!journal_active(e) && !e->dirty) {
		e->dirty = true;
		meta_want(e);
	}
	sh->phase = META;
	if (stripe_wait_meta(e, sh, e->meta_wanted))
		return 1;
	sh->phase = IDLE;
	return 0;
}

static int step_journal(struct md_engine *e, struct md_stripe *sh)
{
	u64 slots = stripe_flag_mask(e, sh, DIRTY) & ~stripe_flag_mask(e, sh, LOGGED);

	if (!journal_active(e)) {
		sh->phase = LOG;
		if (ppl_append(e, sh))
			return 1;
		sh->phase = IDLE;
		if (sh->op == OP_CACHE) { /* the journal died under it: the members must have it */
			sh->op = OP_WRITEOUT;
			sh->step = PARITY;
		} else {
			sh->step = MEMBERS;
		}
		return 0;
	}
	if (!slots) {
		sh->step = MEMBERS;
		return 0;
	}
	sh->phase = LOG;
	if (journal_append(e, sh, slots) == 0)
		return 1;
	sh->phase = IDLE;
	return -ENOMEM;
}

/* The journal has what was appended (err 0), or is dead. */
void stripe_logged(struct md_engine *e, struct md_stripe *sh, int err)
{
	sh->phase = IDLE;
	list_add_tail(&sh->link, &e->ready);
	if (err)
		return; /* step_journal decides again, without a journal */
	for (u32 i = 0; i < e->geo.disks; i++)
		if (sh->s[i].flags & DIRTY)
			sh->s[i].flags |= LOGGED;
	if (sh->op == OP_CACHE) {
		u32 n = __builtin_popcountll(stripe_flag_mask(e, sh, DIRTY)) + e->geo.parity + 2;

		if (sh->reserved > n) /* pages that were overwritten need room once */
			journal_unreserve(e, sh, sh->reserved - n);
		end_batch(e, sh, 0);
	} else {
		sh->step = MEMBERS;
	}
}

static int step_members(struct md_engine *e, struct md_stripe *sh)
{
	sh->phase = WRITE;
	sh->inflight = 1; /* ours, so that the count cannot reach 0 early */
	for (u64 m = stripe_flag_mask(e, sh, DIRTY); m; m &= m - 1)
		stripe_write(e, sh, __builtin_ctzll(m), sh->fua && !journal_active(e) ? MD_FUA : 0);
	if (--sh->inflight == 0)
		members_written(e, sh);
	return 1;
}

/* Runs when the members have answered, and again when a failure has been recorded. */
static void members_written(struct md_engine *e, struct md_stripe *sh)
{
	if (__builtin_popcountll(all_slots(e) & ~slots_writable(e)) > e->geo.parity)
		sh->err = -EIO;
	sh->phase = COMMIT;
	if (stripe_wait_meta(e, sh, e->meta_must))
		return;
	for (u32 i = 0; i < e->geo.disks; i++) {
		struct slot_page *s = &sh->s[i];

		if (s->flags & DIRTY)
			s->flags = sh->err ? 0 : CUR;
	}
	sh->write_out = false;
	sh->bad = 0;
	journal_release(e, sh);
	ppl_release(e, sh);
	end_batch(e, sh, sh->err);
	sh->phase = IDLE;
	list_add_tail(&sh->link, &e->ready);
}

/* One step of the running write: 0 go on, 1 waiting, -errno it failed. */
static int write_step(struct md_engine *e, struct md_stripe *sh)
{
	switch (sh->step) {
	case APPLY: return step_apply(e, sh);
	case PARITY: return step_parity(e, sh);
	case INTENT: return step_intent(e, sh);
	case DURABLE_DIRTY: return step_dirty(e, sh);
	case JOURNAL: return step_journal(e, sh);
	case MEMBERS: return step_members(e, sh);
	}
	return -EINVAL;
}

/* Finds the next thing to do; false when there is none (or it waits for room in the log). */
static bool choose(struct md_engine *e, struct md_stripe *sh)
{
	u64 dirty;

	if (sh->to_write)
		return begin_write(e, sh, sh->to_write);
	dirty = stripe_flag_mask(e, sh, DIRTY);
	if (dirty && !sh->stuck && (sh->write_out || sh->sync || !journal_active(e))) {
		sh->op = OP_WRITEOUT;
		sh->step = PARITY;
		return true;
	}
	if (sh->sync && !sh->stuck) {
		sync_run(e, sh);
		return false;
	}
	stripe_park(e, sh);
	return false;
}

void stripe_run(struct md_engine *e, struct md_stripe *sh)
{
	if (sh->phase == COMMIT) {
		members_written(e, sh);
		return;
	}
	sh->phase = IDLE;
	for (;;) {
		int r;

		if (!serve_reads(e, sh))
			return;
		if (sh->op == OP_NONE && !choose(e, sh))
			return;
		r = write_step(e, sh);
		if (r > 0)
			return;
		if (r < 0)
			abandon_write(e, sh, r);
	}
}
