/* SPDX-License-Identifier: MIT
 *
 * Problem: a mirrored array must give one answer whichever copy it asks, lose nothing that it acknowledged when a copy
 * fails, and use all members when all are well.
 *
 * Idea: nothing is cached: a request's own memory goes to the members. A read asks the copy that is cheapest to ask,
 * and another one if that fails; a write goes to all copies that can be written, those being rebuilt too, and is
 * acknowledged when the ones that failed are recorded as failed. Stripes without redundancy (levels 0, linear) are the
 * same with one copy. While copies may differ (after a crash, until the resync has passed), the first readable copy
 * answers every read.
 *
 * A sector that cannot be read is repaired by a job of its own (copies_sync.c), for until it runs a newer write may
 * have changed what belongs there.
 *
 * Contract: md/engine.h, copies_priv.h.
 *
 * Locks: the engine's.
 */
#include <linux/raid/md_p.h>
#include <alloc/slab.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/string.h>
#include <md/failfast.h>
#include "copies_priv.h"

void copies_map(const struct md_engine *e, u64 sector, u32 sectors, struct md_extent *x)
{
	if (e->geo.level > 0)
		md_copies_map(&e->geo, sector, sectors, x);
	else
		md_zones_map(&e->copies->zones, &e->geo, sector, sectors, x);
}

bool copies_readable(const struct md_engine *e, u32 slot, u64 sector, u32 sectors)
{
	const struct member *m = &e->member[slot];

	return m->present && !m->faulty && (m->in_sync || sector + sectors <= m->recovered) &&
	       !md_bad_hits(&m->bad, m->sb.data_offset + sector, sectors);
}

unsigned copies_flags(const struct md_engine *e, u32 slot)
{
	return slot < MD_MAX_DISKS && e->member[slot].sb.devflags & FailFast1 && array_can_lose(e, slot) ? MD_FAILFAST
													 : 0;
}

static u64 member_sector(const struct md_engine *e, const struct md_rq *rq)
{
	return rq->sector - e->member[rq->slot].sb.data_offset;
}

static struct md_failfast_in facts(const struct md_engine *e, u32 slot)
{
	return (struct md_failfast_in){ .failfast = e->member[slot].sb.devflags & FailFast1,
					.others_can_serve = array_can_lose(e, slot) };
}

/* A sector that other copies may have is recorded as bad, or the member fails; an error of one that cannot be spared is
 * the write's. */
void copies_write_failed(struct md_engine *e, const struct md_rq *rq, int *err)
{
	u32 slot = rq->slot;
	const struct md_failfast_in in = facts(e, slot);

	if (e->member[slot].faulty)
		return;
	if (in.others_can_serve && !in.failfast && array_record_bad(e, slot, member_sector(e, rq), rq->bytes / 512))
		return;
	if (!e->member[slot].in_sync || md_failfast_write(&in) == MD_FAIL_MEMBER)
		array_member_error(e, slot);
	else
		*err = -EIO;
}

static void piece_end(struct md_engine *e, struct piece *p, int err)
{
	list_del(&p->link);
	io_part_done(e, p->io, err);
	e->busy--;
	kfree(p);
}

static void send(struct md_engine *e, struct piece *p, u32 i, unsigned flags)
{
	p->inflight++;
	p->rq[i].flags = flags | copies_flags(e, p->rq[i].slot);
	engine_submit(e, &p->rq[i]);
}

static void read_done(struct md_engine *e, struct md_rq *rq, int err);
static void write_done(struct md_engine *e, struct md_rq *rq, int err);

/* Request i of a piece: to a member or an heir, at this sector of its data. */
static void piece_rq(struct md_engine *e, struct piece *p, u32 i, u32 slot, u64 sector)
{
	p->rq[i] = (struct md_rq){
		.slot = slot,
		.dir = p->io->dir,
		.sector = member_at(e, slot)->sb.data_offset + sector,
		.bytes = p->sectors * 512,
		.vec = p->io->vec,
		.skip = (p->sector - p->io->sector) * 512,
		.payer = p->io->payer,
		.done = p->io->dir == MD_READ ? read_done : write_done,
		.arg = p,
	};
}

/* ---- reads ---- */

/* How dear a read of this copy would be: members that should rather write last, then those that must seek and wait. */
static u64 cost(const struct md_engine *e, const struct md_rq *rq)
{
	const struct copies *c = e->copies;
	u64 at = member_sector(e, rq), head = c->head[rq->slot], seek = at > head ? at - head : head - at;

	return (e->member[rq->slot].sb.devflags & WriteMostly1 ? 1ULL << 63 : 0) +
	       (at == head ? 0 : (u64)(c->reading[rq->slot] + 1) << 55) + seek / 2;
}

/* The copy to ask, or n: none is left. */
static u32 choose(const struct md_engine *e, const struct piece *p)
{
	u32 best = p->n;

	for (u32 i = 0; i < p->n; i++) {
		const struct md_rq *rq = &p->rq[i];

		if (p->tried & BIT(rq->slot) || !copies_readable(e, rq->slot, member_sector(e, rq), p->sectors))
			continue;
		if (e->parity_good != MD_CLEAN)
			return i;
		if (best == p->n || cost(e, rq) < cost(e, &p->rq[best]))
			best = i;
	}
	return best;
}

static void read_next(struct md_engine *e, struct piece *p)
{
	u32 i = choose(e, p);

	if (i == p->n) {
		piece_end(e, p, -EIO);
		return;
	}
	p->tried |= BIT(p->rq[i].slot);
	e->copies->head[p->rq[i].slot] = member_sector(e, &p->rq[i]) + p->sectors;
	e->copies->reading[p->rq[i].slot]++;
	send(e, p, i, 0);
}

static void read_failed(struct md_engine *e, struct piece *p, u32 slot)
{
	const struct md_failfast_in in = facts(e, slot);

	if (md_failfast_read(&in) == MD_FAIL_MEMBER)
		array_member_error(e, slot);
	else
		p->broken |= BIT(slot);
}

static void read_done(struct md_engine *e, struct md_rq *rq, int err)
{
	struct piece *p = rq->arg;

	e->copies->reading[rq->slot]--;
	if (err) {
		read_failed(e, p, rq->slot);
		read_next(e, p);
		return;
	}
	if (p->broken && !e->read_only)
		copies_repair(e, p->sector, p->sectors, p->broken);
	piece_end(e, p, 0);
}

/* ---- writes ---- */

static void write_end(struct md_engine *e, struct piece *p)
{
	e->copies->look = true;
	intent_end(e, p->sector, p->sectors);
	piece_end(e, p, p->err);
}

static void failures_recorded(struct md_engine *e, struct meta_waiter *w)
{
	write_end(e, container_of(w, struct piece, waiter));
}

static void write_done(struct md_engine *e, struct md_rq *rq, int err)
{
	struct piece *p = rq->arg;

	if (rq->slot >= MD_HEIR(0)) {
		heir_written(e, rq, err);
	} else if (err) {
		copies_write_failed(e, rq, &p->err);
	} else {
		array_wrote(e, rq->slot, rq->sector, rq->bytes);
		p->tried |= e->member[rq->slot].in_sync ? BIT(rq->slot) : 0;
	}
	if (--p->inflight)
		return;
	if (!p->tried)
		p->err = -EIO;
	p->waiter.go = failures_recorded;
	if (!meta_wait(e, &p->waiter, e->meta_must))
		write_end(e, p);
}

static void write_copy(struct md_engine *e, struct piece *p, u32 i, u32 slot, u64 sector)
{
	piece_rq(e, p, i, slot, sector);
	send(e, p, i, p->io->flags & MD_FUA);
}

/* Only now is it known who is there. */
static void write_members(struct md_engine *e, struct meta_waiter *w)
{
	struct piece *p = container_of(w, struct piece, waiter);
	u64 slots = slots_writable(e);
	struct md_extent x;

	copies_map(e, p->sector, p->sectors, &x);
	p->inflight = 1; /* ours, so that the count cannot reach 0 early */
	for (u32 i = 0; i < p->n; i++) {
		u32 slot = x.copy[i].slot;

		if (slots & BIT(slot))
			write_copy(e, p, i, slot, x.copy[i].sector);
		if (e->heirs & BIT(slot))
			write_copy(e, p, p->n + i, MD_HEIR(slot), x.copy[i].sector);
	}
	if (--p->inflight)
		return;
	p->err = -EIO; /* nobody is left to write to */
	write_end(e, p);
}

/* The bitmap says where: the superblocks must say that there is something. */
static void write_dirty(struct md_engine *e, struct meta_waiter *w)
{
	struct piece *p = container_of(w, struct piece, waiter);

	if (e->geo.parity && !e->dirty) {
		e->dirty = true;
		meta_want(e);
	}
	p->waiter.go = write_members;
	if (!e->geo.parity || !meta_wait(e, &p->waiter, e->meta_wanted))
		write_members(e, &p->waiter);
}

static void write_start(struct md_engine *e, struct piece *p)
{
	list_add_tail(&p->link, &e->copies->writes);
	intent_begin(e, p->sector, p->sectors);
	p->waiter.go = write_dirty;
	if (!intent_wait(e, &p->waiter, p->sector, p->sectors))
		write_dirty(e, &p->waiter);
}

void copies_resume(struct md_engine *e)
{
	struct piece *p, *next;

	list_for_each_entry_safe (p, next, &e->copies->blocked, link) {
		if (copies_is_locked(e->copies, p->sector, p->sectors))
			continue;
		list_del(&p->link);
		write_start(e, p);
	}
}

/* ---- the personality ---- */

static struct piece *piece_new(struct md_engine *e, struct md_io *io, const struct md_extent *x)
{
	u32 room = io->dir == MD_READ ? x->n : 2 * x->n;
	struct piece *p = kzalloc(sizeof(*p) + room * sizeof(p->rq[0]), ALLOC_KERNEL);

	if (!p)
		return NULL;
	p->io = io;
	p->sector = x->sector;
	p->sectors = x->sectors;
	p->n = x->n;
	for (u32 i = 0; io->dir == MD_READ && i < x->n; i++)
		piece_rq(e, p, i, x->copy[i].slot, x->copy[i].sector);
	return p;
}

static void piece_start(struct md_engine *e, struct piece *p)
{
	e->busy++;
	p->io->pending++;
	if (p->io->dir == MD_READ) {
		list_add_tail(&p->link, &e->copies->reads);
		read_next(e, p);
	} else if (copies_is_locked(e->copies, p->sector, p->sectors))
		list_add_tail(&p->link, &e->copies->blocked);
	else
		write_start(e, p);
}

static bool attach(struct md_engine *e, struct md_io *io)
{
	int err = 0;

	io->pending = 1; /* ours, so that it cannot end early */
	for (u64 at = io->sector; !err && at < io->sector + io->sectors;) {
		struct md_extent x;
		struct piece *p;

		copies_map(e, at, (u32)(io->sector + io->sectors - at), &x);
		p = piece_new(e, io, &x);
		if (p)
			piece_start(e, p);
		else
			err = -ENOMEM;
		at += x.sectors;
	}
	io_part_done(e, io, err);
	return true;
}

static bool run(struct md_engine *e)
{
	struct copies *c = e->copies;
	bool look = c->look;

	c->look = false;
	if (look) {
		copies_start_jobs(e);
		copies_resume(e);
	}
	return look;
}

static bool is_ready(const struct md_engine *e)
{
	return e->copies->look;
}

static void member_added(struct md_engine *e, u32 slot)
{
	e->copies->head[slot] = 0;
}

static void free_pieces(struct list *l)
{
	struct piece *p, *next;

	list_for_each_entry_safe (p, next, l, link)
		kfree(p);
}

/* Also of what was under way when the power failed, in tests. */
static void copies_free(struct md_engine *e)
{
	struct copies *c = e->copies;

	if (!c)
		return;
	free_pieces(&c->reads);
	free_pieces(&c->writes);
	free_pieces(&c->blocked);
	copies_drop_jobs(c);
	kfree(c);
}

static int copies_init(struct md_engine *e, const struct md_config *config)
{
	u64 size[MD_MAX_DISKS] = { 0 };
	struct copies *c = kzalloc(sizeof(*c), ALLOC_KERNEL);

	if (!c)
		return -ENOMEM;
	e->copies = c;
	list_init(&c->reads);
	list_init(&c->writes);
	list_init(&c->blocked);
	list_init(&c->jobs);
	if (config->journal.sb)
		return fail(EINVAL, "level %d has no journal", e->geo.level);
	if (e->geo.level == 10 && e->parity_good < e->geo.sectors) { /* in Linux a place of the array */
		struct md_extent x;

		md_copies_map(&e->geo, e->parity_good, 1, &x);
		e->parity_good = ALIGN_DOWN(x.copy[0].sector, (u64)e->geo.chunk);
	}
	if (e->geo.parity && __builtin_popcountll(array_failed(e)) == (int)e->geo.disks - 1)
		e->parity_good = MD_CLEAN; /* one copy does not differ from itself */
	if (e->geo.level > 0)
		return 0;
	for (u32 i = 0; i < e->geo.disks; i++) {
		if (!e->member[i].present)
			return fail(EINVAL, "member %u of an array without redundancy is missing", i);
		size[i] = e->member[i].sb.data_size;
	}
	e->parity_good = MD_CLEAN;
	return md_zones_init(&c->zones, &e->geo, size);
}

const struct md_personality copies_personality = {
	.init = copies_init,
	.free = copies_free,
	.attach = attach,
	.run = run,
	.is_ready = is_ready,
	.member_added = member_added,
	.sync_at = copies_sync_at,
	.repairs_degraded = true,
};
