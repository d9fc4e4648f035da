/* SPDX-License-Identifier: MIT
 *
 * Problem: copies that may differ, members that are new and sectors that cannot be read are put right while the array
 * is in use, and an old content written by such work must never cover a newer one.
 *
 * Idea: jobs. A job owns a range of the array: it begins when the writes that were under way in it have ended, and
 * writes that come meanwhile wait for it. What a job does follows from its targets:
 *
 *      rebuild, repair   read one copy that is readable, write it to the targets
 *      resync, check     read all copies; the first readable one counts; write it over those that differ or could not
 * be read, except for check, which only counts
 *
 * A pass goes over the members' sectors, so that recovery_offset means what Linux means by it; each range of the array
 * has its turn where its first copy stands (resync), or where the member being rebuilt has it.
 *
 * Contract: md/engine.h, copies_priv.h.
 *
 * Locks: the engine's.
 */
#include <alloc/slab.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/string.h>
#include "copies_priv.h"

#define STEP_SECTORS 32 /* of a member in one step of a pass */

bool copies_is_locked(const struct copies *c, u64 sector, u32 sectors)
{
	const struct job *j;

	list_for_each_entry (j, &c->jobs, link)
		if (ranges_meet(j->sector, j->sectors, sector, sectors))
			return true;
	return false;
}

static bool has_writes(const struct copies *c, const struct job *j)
{
	const struct piece *p;

	list_for_each_entry (p, &c->writes, link)
		if (ranges_meet(j->sector, j->sectors, p->sector, p->sectors))
			return true;
	return false;
}

static void job_end(struct md_engine *e, struct job *j, int err)
{
	list_del(&j->link);
	e->copies->look = true;
	e->busy--;
	if (j->pass)
		sync_step_done(e, j->sector, err);
	kfree(j->buf);
	kfree(j);
}

void copies_drop_jobs(struct copies *c)
{
	struct job *j, *next;

	list_for_each_entry_safe (j, next, &c->jobs, link) {
		kfree(j->buf);
		kfree(j);
	}
}

static bool compares(const struct job *j)
{
	return !(j->aim.members | j->aim.heirs);
}

static u8 *buffer(const struct job *j, u32 i)
{
	return compares(j) ? j->buf + (size_t)i * j->sectors * 512 : j->buf;
}

static bool can_read(const struct md_engine *e, const struct job *j, u32 i)
{
	u32 slot = j->rq[i].slot;

	return !((j->tried | j->aim.members) & BIT(slot)) &&
	       copies_readable(e, slot, j->rq[i].sector - e->member[slot].sb.data_offset, j->sectors);
}

static void job_send(struct md_engine *e, struct job *j, u32 i, enum md_dir dir, u8 *buf)
{
	j->inflight++;
	j->rq[i].dir = dir;
	j->rq[i].buf = buf;
	j->rq[i].flags = copies_flags(e, j->rq[i].slot);
	engine_submit(e, &j->rq[i]);
}

static void send_heir(struct md_engine *e, struct job *j, u32 i)
{
	struct md_rq *rq = &j->rq[j->n + i];
	u32 slot = j->rq[i].slot;

	j->inflight++;
	*rq = j->rq[i];
	rq->slot = MD_HEIR(slot);
	rq->dir = MD_WRITE;
	rq->buf = buffer(j, j->source);
	rq->flags = 0;
	rq->sector += e->heir[slot].sb.data_offset - e->member[slot].sb.data_offset;
	engine_submit(e, rq);
}

/* Asks one copy, or all. False: there is none to ask. */
static bool job_read(struct md_engine *e, struct job *j)
{
	j->state = JOB_READS;
	for (u32 i = 0; i < j->n; i++) {
		if (!can_read(e, j, i))
			continue;
		j->tried |= BIT(j->rq[i].slot);
		job_send(e, j, i, MD_READ, buffer(j, i));
		if (!compares(j))
			return true;
	}
	return j->inflight;
}

/* The copies that differ from the first, or could not be read. */
static u64 differing(struct md_engine *e, struct job *j)
{
	u64 lost = j->tried & ~j->have, differ = 0;

	for (u32 i = j->source + 1; i < j->n; i++)
		if (j->have & BIT(j->rq[i].slot) && memcmp(buffer(j, i), buffer(j, j->source), j->sectors * 512))
			differ |= BIT(j->rq[i].slot);
	if (differ)
		e->sync.mismatches += j->sectors;
	return (e->sync.kind == MD_SYNC_CHECK ? 0 : differ) | lost;
}

static void job_write(struct md_engine *e, struct job *j)
{
	u64 slots = compares(j) ? differing(e, j) : j->aim.members, heirs = (slots | j->aim.heirs) & e->heirs;

	slots &= slots_writable(e);
	j->state = JOB_WRITES;
	for (u32 i = 0; i < j->n; i++) {
		if (slots & BIT(j->rq[i].slot))
			job_send(e, j, i, MD_WRITE, buffer(j, j->source));
		if (heirs & BIT(j->rq[i].slot))
			send_heir(e, j, i);
	}
	if (!j->inflight)
		job_end(e, j, j->err);
}

/* No copy can be read: what a rebuild cannot write it records. */
static void give_up(struct md_engine *e, struct job *j)
{
	int err = j->pass && !compares(j) ? 0 : -EIO;

	for (u32 i = 0; !err && i < j->n; i++) {
		u32 slot = j->rq[i].slot;
		u64 sector = j->rq[i].sector - e->member[slot].sb.data_offset;

		if (j->aim.members & BIT(slot))
			err = array_lost(e, slot, sector, j->sectors);
		if (!err && j->aim.heirs & BIT(slot))
			err = array_lost(e, MD_HEIR(slot), sector, j->sectors);
	}
	job_end(e, j, err ? -EIO : 0);
}

/* All reads are back. */
static void have_read(struct md_engine *e, struct job *j)
{
	if (!j->have) {
		if (!job_read(e, j))
			give_up(e, j);
		return;
	}
	j->source = 0;
	while (!(j->have & BIT(j->rq[j->source].slot)))
		j->source++;
	job_write(e, j);
}

static void job_rq_done(struct md_engine *e, struct md_rq *rq, int err)
{
	struct job *j = rq->arg;

	j->inflight--;
	if (j->state == JOB_READS) {
		if (!err)
			j->have |= BIT(rq->slot);
		if (!j->inflight)
			have_read(e, j);
		return;
	}
	if (rq->slot >= MD_HEIR(0))
		heir_written(e, rq, err);
	else if (err)
		copies_write_failed(e, rq, &j->err);
	else
		array_wrote(e, rq->slot, rq->sector, rq->bytes);
	if (!err && !j->pass && rq->slot < MD_HEIR(0))
		e->corrected += j->sectors;
	if (!j->inflight)
		job_end(e, j, j->err);
}

void copies_start_jobs(struct md_engine *e)
{
	struct job *j, *next;

	list_for_each_entry_safe (j, next, &e->copies->jobs, link) {
		if (j->state != JOB_WAITS || has_writes(e->copies, j))
			continue;
		if (!job_read(e, j))
			give_up(e, j);
	}
}

static int job_new(struct md_engine *e, u64 sector, u32 sectors, struct job_aim aim, bool pass)
{
	struct md_extent x;
	struct job *j;

	copies_map(e, sector, sectors, &x);
	j = kzalloc(sizeof(*j) + 2 * x.n * sizeof(j->rq[0]), ALLOC_KERNEL);
	if (!j)
		return -ENOMEM;
	j->sector = x.sector;
	j->sectors = x.sectors;
	j->n = x.n;
	j->aim = aim;
	j->pass = pass;
	j->buf = kmalloc((size_t)x.sectors * 512 * (compares(j) ? x.n : 1), ALLOC_KERNEL);
	if (!j->buf) {
		kfree(j);
		return -ENOMEM;
	}
	for (u32 i = 0; i < x.n; i++)
		j->rq[i] = (struct md_rq){ .slot = x.copy[i].slot,
					   .sector = e->member[x.copy[i].slot].sb.data_offset + x.copy[i].sector,
					   .bytes = x.sectors * 512,
					   .done = job_rq_done,
					   .arg = j };
	list_add_tail(&j->link, &e->copies->jobs);
	e->copies->look = true;
	e->busy++;
	e->sync.inflight += pass;
	return 0;
}

void copies_repair(struct md_engine *e, u64 sector, u32 sectors, u64 broken)
{
	if (!copies_is_locked(e->copies, sector, sectors) &&
	    job_new(e, sector, sectors, (struct job_aim){ .members = broken }, false))
		log_warn("md: no memory to repair sector %llu", (unsigned long long)sector);
}

/* ---- passes ---- */

/* Whether, and for whom, the pass does something where a member has a range of the array. */
static bool has_turn(const struct md_engine *e, u32 slot, u64 position, u64 sector, u32 sectors, struct job_aim *aim)
{
	u64 targets;
	struct md_extent x;

	*aim = (struct job_aim){ 0 };
	if (e->sync.kind == MD_SYNC_RECOVER) {
		targets = sync_targets(e, sector, sectors) & BIT(slot);
		*aim = (struct job_aim){ targets & members_behind(e), targets & heirs_behind(e) };
		return targets;
	}
	if (!sync_wants(e, sector, sectors))
		return false;
	copies_map(e, sector, 1, &x);
	return x.copy[0].slot == slot && x.copy[0].sector == position;
}

bool copies_sync_at(struct md_engine *e, u64 *position)
{
	u64 at = *position, left = e->geo.member_sectors - at;
	u32 n = (u32)min(left, (u64)STEP_SECTORS);

	if (e->geo.chunk)
		n = min(n, e->geo.chunk - (u32)(at % e->geo.chunk));
	for (u32 slot = 0; slot < e->geo.disks; slot++) {
		u64 sector = md_copies_unmap(&e->geo, slot, at);
		struct job_aim aim;

		if (sector == ~0ULL || !has_turn(e, slot, at, sector, n, &aim))
			continue;
		if (job_new(e, sector, n, aim, true)) {
			e->sync.err = -ENOMEM;
			return false;
		}
	}
	*position = at + n;
	return true;
}
