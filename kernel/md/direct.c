/* SPDX-License-Identifier: MIT
 *
 * Problem: most reads ask for what stands on one member as it is; taking them through the stripe cache copies every
 *byte and pushes out stripes that writes will need.
 *
 * Idea: a read whose stripes are quiet (nothing under way in them, nothing newer than the members) goes to the members
 * with the request's own memory, one request a chunk. A write that begins later may overtake it: then the two are
 * concurrent, and either content is right. If any part fails, the whole read is done again by the stripe cache, which
 *can reconstruct; a member marked failfast has failed by then and is not asked twice.
 *
 *	attach --quiet, members readable--> requests to members --all good--> done
 *	                                                       --an error---> attached again, by the cache
 *
 * Contract: engine_priv.h.
 *
 * Locks: the engine's.
 */
#include <linux/raid/md_p.h>
#include <alloc/slab.h>
#include <lib/err.h>
#include <lib/string.h>
#include <md/failfast.h>
#include "engine_priv.h"

struct md_direct {
	u32 n, inflight;
	bool failed;
	struct md_rq rq[];
};

/* A part of the array that is in one piece on one member. */
struct part {
	u32 slot, sectors;
	u64 sector; /* of the member */
};

static struct part part_at(const struct md_engine *e, u64 sector, u64 end)
{
	struct part p;
	u64 at;
	u32 d;

	md_geo_map(&e->geo, sector, &at, &d);
	p.sector = at;
	p.slot = md_geo_slot(&e->geo, at / e->geo.chunk, d);
	p.sectors = (u32)min((u64)e->geo.chunk - at % e->geo.chunk, end - sector);
	return p;
}

static bool is_readable(const struct md_engine *e, const struct part *p)
{
	const struct member *m = &e->member[p->slot];

	if (!m->present || m->faulty || (!m->in_sync && p->sector + p->sectors > m->recovered) ||
	    md_bad_hits(&m->bad, m->sb.data_offset + p->sector, p->sectors))
		return false;
	for (u64 at = ALIGN_DOWN(p->sector, MD_PAGE_SECTORS); at < p->sector + p->sectors; at += MD_PAGE_SECTORS)
		if (!stripe_is_quiet(e, at))
			return false;
	return true;
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
		struct part p = part_at(e, at, end);
		const struct member *m = &e->member[p.slot];

		d->rq[i] = (struct md_rq){
			.slot = p.slot,
			.dir = MD_READ,
			.flags = m->sb.devflags & FailFast1 && array_can_lose(e, p.slot) ? MD_FAILFAST : 0,
			.sector = m->sb.data_offset + p.sector,
			.bytes = p.sectors * 512,
			.vec = io->vec,
			.skip = (at - io->sector) * 512,
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
		struct part p = part_at(e, at, end);

		if (!is_readable(e, &p))
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
