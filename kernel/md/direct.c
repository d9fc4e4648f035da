/* SPDX-License-Identifier: MIT
 *
 * Problem: most reads ask for what stands on one member as it is; taking them through the stripe cache copies every
 * byte and pushes out stripes that writes will need.
 *
 * Idea: a read whose stripes are quiet (nothing under way in them, nothing newer than the members) goes to the members
 * with the request's own memory, one request a chunk. A write that begins later may overtake it: then the two are
 * concurrent, and either content is right. If any part fails, the whole read is done again by the stripe cache, which
 * can reconstruct; a member marked failfast has failed by then and is not asked twice.
 *
 *	attach --quiet, members readable--> requests to members --all good--> done
 *	                                                       --an error---> attached again, by the cache
 *
 * The same judgement serves owners that send reads past the engine (md_peek): it looks only at single words that
 * change after what they announce (a stripe is counted as unquiet before anything is acknowledged that only memory or
 * the journal has; a new member is not in sync before it has its slot).
 *
 * Contract: engine_priv.h; md_peek's: md/engine.h.
 *
 * Locks: the engine's; none for md_peek.
 */
#include <linux/raid/md_p.h>
#include <alloc/slab.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/string.h>
#include <md/failfast.h>
#include "engine_priv.h"

struct md_direct {
	u32 n, inflight;
	bool failed;
	struct md_rq rq[];
};

static bool is_quiet(const struct md_engine *e, u64 sector, u64 end)
{
	if (!READ_ONCE(e->nbusy))
		return true;
	for (u64 at = ALIGN_DOWN(sector, MD_PAGE_SECTORS); at < end; at += MD_PAGE_SECTORS)
		if (!stripe_is_quiet(e, at))
			return false;
	return true;
}

void md_part_at(const struct md_engine *e, u64 sector, u32 sectors, struct md_part *out)
{
	u32 d;

	md_geo_map(&e->geo, sector, &out->at, &d);
	out->slot = md_geo_slot(&e->geo, out->at / e->geo.chunk, d);
	out->sectors = min(e->geo.chunk - (u32)(out->at % e->geo.chunk), sectors);
}

/* The member has what was written to it last; but for bad blocks. */
static bool is_readable(const struct md_engine *e, struct md_part *p)
{
	const struct member *m = &e->member[p->slot];
	u64 end = p->at + p->sectors;

	if (!READ_ONCE(m->present) || READ_ONCE(m->faulty) || (!READ_ONCE(m->in_sync) && end > READ_ONCE(m->recovered)))
		return false;
	p->sector = m->sb.data_offset + p->at;
	p->failfast = m->sb.devflags & FailFast1 && array_can_lose(e, p->slot);
	return true;
}

bool md_peek(const struct md_engine *e, struct md_part *p)
{
	/* From outside the ranges of bad blocks cannot be read, only whether there are any. */
	return is_quiet(e, p->at, p->at + p->sectors) && is_readable(e, p) && !READ_ONCE(e->member[p->slot].bad.n);
}

static bool is_good(const struct md_engine *e, struct md_part *p)
{
	return is_readable(e, p) && !md_bad_hits(&e->member[p->slot].bad, p->sector, p->sectors);
}

enum md_place md_look(const struct md_engine *e, struct md_part *p, const u8 **page)
{
	const struct md_stripe *sh = stripe_find(e, ALIGN_DOWN(p->at, MD_PAGE_SECTORS));

	if (sh && !sh->parked)
		return MD_BUSY;
	if (sh && sh->s[p->slot].flags & CUR) {
		*page = sh->s[p->slot].page;
		return MD_IN_MEMORY;
	}
	return is_good(e, p) ? MD_ON_MEMBER : MD_BUSY;
}

static void direct_done(struct md_engine *e, struct md_rq *rq, int err)
{
	struct md_io *io = rq->arg;
	struct md_direct *d = io->direct;
	const struct md_failfast_in in = {
		.failfast = e->member[rq->slot].sb.devflags & FailFast1,
		.others_can_serve = array_can_lose(e, rq->slot),
	};

	if (err && md_failfast_read(&in) == MD_FAIL_MEMBER)
		array_member_error(e, rq->slot);
	d->failed |= err != 0;
	if (--d->inflight)
		return;
	if (!d->failed) {
		io_finish(e, io, 0);
		return;
	}
	kfree(d);
	io->direct = NULL;
	io->not_direct = true;
	list_add_tail(&io->link, &e->stalled);
}

static void start(struct md_engine *e, struct md_io *io)
{
	struct md_direct *d = io->direct;
	u64 end = io->sector + io->sectors, at = io->sector;

	d->inflight = d->n;
	for (u32 i = 0; i < d->n; i++) {
		struct md_part p;
		bool good;

		md_part_at(e, at, (u32)(end - at), &p);
		good = is_good(e, &p);
		ensure(good); /* it was, a moment ago */
		d->rq[i] = (struct md_rq){
			.slot = p.slot,
			.dir = MD_READ,
			.flags = p.failfast ? MD_FAILFAST : 0,
			.sector = p.sector,
			.bytes = p.sectors * 512,
			.vec = io->vec,
			.skip = (at - io->sector) * 512,
			.payer = io->payer,
			.done = direct_done,
			.arg = io,
		};
		engine_submit(e, &d->rq[i]);
		at += p.sectors;
	}
}

bool direct_read(struct md_engine *e, struct md_io *io)
{
	u64 end = io->sector + io->sectors, at = io->sector;
	u32 n = 0;

	if (io->not_direct)
		return false;
	for (; at < end; n++) {
		struct md_part p;

		md_part_at(e, at, (u32)(end - at), &p);
		if (!is_quiet(e, p.at, p.at + p.sectors) || !is_good(e, &p))
			return false;
		at += p.sectors;
	}
	io->direct = kmalloc(sizeof(*io->direct) + n * sizeof(io->direct->rq[0]), ALLOC_KERNEL);
	if (!io->direct)
		return false;
	*io->direct = (struct md_direct){ .n = n };
	start(e, io);
	return true;
}
