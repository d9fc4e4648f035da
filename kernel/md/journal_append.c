/* SPDX-License-Identifier: MIT
 *
 * Problem: each acknowledged write costs a flush of the journal; one flush for each would be the whole run time.
 *
 * Idea: group commit. Stripes that log in one turn of the pump share a *unit* (one meta block and its pages). The
 * pages go out straight from the stripe cache, in parallel with the meta block: checksums make their order
 * irrelevant. When the oldest units are written, one flush makes all of them durable, and their stripes go on.
 *
 *	OPEN -> WRITING -> WRITTEN -> DURABLE -> (no stripe needs it) reclaimed
 *
 * Room is promised before a write begins (reserve), in blocks: enough to log the data, its parity, the meta blocks
 * and, in write-back, the data again after a crash. So a stripe that has begun can always finish.
 *
 * Contract: engine_priv.h.
 *
 * Locks: the engine's.
 */
#include <alloc/slab.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/string.h>
#include <md/journal.h>
#include "engine_priv.h"

bool journal_active(const struct md_engine *e)
{
	return e->j.present && !e->j.failed;
}

static u64 ring_add(const struct journal *j, u64 position, u64 blocks)
{
	return (position + blocks * MD_LOG_SECTORS) % (j->blocks * MD_LOG_SECTORS);
}

static void unit_free(struct md_unit *u)
{
	if (!u)
		return;
	kfree(u->meta);
	kfree(u->rq);
	kfree(u);
}

/* What recovery left in the log, as one durable unit. */
static int first_unit(struct md_engine *e)
{
	struct md_unit *u = kzalloc(sizeof(*u), ALLOC_KERNEL);

	if (!u)
		return -ENOMEM;
	list_init(&u->waiting);
	u->state = UNIT_DURABLE;
	u->position = e->j.tail;
	u->seq = e->j.seq - 1;
	list_add_tail(&u->link, &e->j.units);
	return 0;
}

int journal_init(struct md_engine *e, const struct md_journal_config *c)
{
	struct journal *j = &e->j;
	u64 size;

	if (!c->sb)
		return 0;
	size = ALIGN_DOWN(c->sb->data_size, MD_LOG_SECTORS);
	j->present = true;
	j->mode = c->mode;
	member_init(&j->dev, c->sb);
	j->start = c->sb->data_offset;
	j->blocks = size / MD_LOG_SECTORS;
	if (j->blocks < 8 * (e->geo.disks + 4))
		return fail(EINVAL, "a journal of %llu blocks is too small", (unsigned long long)j->blocks);
	if (c->head >= size || c->tail >= size || c->head % MD_LOG_SECTORS || c->tail % MD_LOG_SECTORS)
		return fail(EINVAL, "journal position outside the journal");
	j->head = c->head;
	j->tail = c->tail;
	j->used = (j->head + size - j->tail) % size / MD_LOG_SECTORS;
	j->seq = c->seq;
	j->seed = md_log_seed(c->sb->set_uuid);
	if (j->tail != c->sb->recovery_offset) {
		j->dev.sb.recovery_offset = j->tail;
		meta_want(e);
		j->generation = e->meta_wanted;
	}
	return first_unit(e);
}

void journal_free(struct md_engine *e)
{
	struct md_unit *u, *next;

	list_for_each_entry_safe (u, next, &e->j.units, link)
		unit_free(u);
}

bool journal_reserve(struct md_engine *e, struct md_stripe *sh, u32 blocks)
{
	struct journal *j = &e->j;

	if (j->used + j->reserved + blocks >= j->blocks)
		return false;
	j->reserved += blocks;
	sh->reserved += blocks;
	return true;
}

void journal_unreserve(struct md_engine *e, struct md_stripe *sh, u32 blocks)
{
	blocks = min(blocks, sh->reserved);
	sh->reserved -= blocks;
	e->j.reserved -= blocks;
}

static u64 take_block(struct journal *j)
{
	u64 at = j->head;

	j->head = ring_add(j, j->head, 1);
	j->used++;
	return at;
}

static struct md_unit *unit_open(struct md_engine *e)
{
	struct md_unit *u = kzalloc(sizeof(*u), ALLOC_KERNEL);

	if (u) {
		u->meta = kmalloc(MD_LOG_BLOCK, ALLOC_KERNEL);
		u->rq = kcalloc(MD_LOG_PAGES + 1, sizeof(*u->rq), ALLOC_KERNEL);
	}
	if (!u || !u->meta || !u->rq) {
		unit_free(u);
		return NULL;
	}
	list_init(&u->waiting);
	u->state = UNIT_OPEN;
	u->seq = e->j.seq++;
	u->position = take_block(&e->j);
	md_log_begin(u->meta, u->seq, u->position);
	list_add_tail(&u->link, &e->j.units);
	e->j.open = u;
	return u;
}

static void unit_write_done(struct md_engine *e, struct md_rq *rq, int err)
{
	struct md_unit *u = rq->arg;

	if (err)
		u->err = err;
	if (--u->inflight == 0)
		u->state = UNIT_WRITTEN;
}

static void unit_page(struct md_engine *e, struct md_unit *u, u64 at, void *buf)
{
	struct md_rq *rq = &u->rq[u->pages++];

	*rq = (struct md_rq){
		.slot = MD_JOURNAL_SLOT,
		.dir = MD_WRITE,
		.sector = e->j.start + at,
		.bytes = MD_LOG_BLOCK,
		.buf = buf,
		.payer = u->payer,
		.done = unit_write_done,
		.arg = u,
	};
}

/* Ends the unit of this turn and starts its writes. */
void journal_close_unit(struct md_engine *e)
{
	struct md_unit *u = e->j.open;

	if (!u)
		return;
	e->j.open = NULL;
	md_log_end(u->meta, e->j.seed);
	unit_page(e, u, u->position, u->meta);
	u->state = UNIT_WRITING;
	u->inflight = u->pages;
	e->stat_log += u->pages;
	for (u32 i = 0; i < u->pages; i++)
		engine_submit(e, &u->rq[i]);
}

static void add_payloads(struct md_engine *e, struct md_unit *u, struct md_stripe *sh, u64 slots)
{
	u64 row = sh->sector / e->geo.chunk, parity = stripe_parity_mask(e, sh) & slots;
	u32 crc[2], n = 0, order[2];
	int err = 0;

	for (u64 m = slots & ~parity; m; m &= m - 1) {
		u32 i = __builtin_ctzll(m);
		u64 at = md_geo_unmap(&e->geo, sh->sector, md_geo_data_index(&e->geo, row, i));

		err |= md_log_add_data(u->meta, at, md_log_page_crc(e->j.seed, sh->s[i].page));
		unit_page(e, u, take_block(&e->j), sh->s[i].page);
	}
	if (parity) {
		md_geo_parity(&e->geo, row, &order[0], &order[1]);
		for (; n < e->geo.parity; n++)
			crc[n] = md_log_page_crc(e->j.seed, sh->s[order[n]].page);
		err |= md_log_add_parity(u->meta, sh->sector, crc, n);
		for (n = 0; n < e->geo.parity; n++)
			unit_page(e, u, take_block(&e->j), sh->s[order[n]].page);
	}
	ensure(!err);
}

/* Logs the pages of a stripe; stripe_logged is called when they are durable. 0 or -ENOMEM. */
int journal_append(struct md_engine *e, struct md_stripe *sh, u64 slots)
{
	u32 n = __builtin_popcountll(slots);
	struct md_unit *u = e->j.open;

	if (u && u->pages + n > MD_LOG_PAGES - 2) {
		journal_close_unit(e);
		u = NULL;
	}
	if (!u)
		u = unit_open(e);
	if (!u)
		return -ENOMEM;
	if (!u->pages)
		u->payer = sh->payer;
	add_payloads(e, u, sh, slots);
	journal_unreserve(e, sh, n + 1);
	if (!sh->unit) {
		sh->unit = u;
		u->live++;
	}
	list_add_tail(&sh->link, &u->waiting);
	return 0;
}

/* A stripe whose data recovery found in the log and left there. */
void journal_adopt(struct md_engine *e, struct md_stripe *sh)
{
	struct md_unit *u = list_first_entry(&e->j.units, struct md_unit, link);

	if (sh->unit)
		return;
	sh->unit = u;
	u->live++;
}

/* An empty unit: a tail for a log that holds nothing. */
void journal_mark(struct md_engine *e)
{
	if (!e->j.open)
		unit_open(e);
}

/* The stripe is on its members, or given up: the log may forget it. */
void journal_release(struct md_engine *e, struct md_stripe *sh)
{
	if (sh->unit)
		sh->unit->live--;
	sh->unit = NULL;
	if (sh->reserved)
		list_splice_tail_init(&e->j.space_wait, &e->ready);
	journal_unreserve(e, sh, sh->reserved);
}

static void wake(struct md_engine *e, struct md_unit *u, int err)
{
	while (!list_empty(&u->waiting)) {
		struct md_stripe *sh = list_first_entry(&u->waiting, struct md_stripe, link);

		list_del(&sh->link);
		stripe_logged(e, sh, err);
	}
}

static void flush_done(struct md_engine *e, struct md_rq *rq, int err)
{
	u64 upto = (u64)(uintptr_t)rq->arg;
	struct md_unit *u;

	e->j.flushing = false;
	if (err && !e->j.failed)
		array_journal_failed(e);
	list_for_each_entry (u, &e->j.units, link) {
		if (u->state != UNIT_WRITTEN || (s64)(u->seq - upto) > 0)
			continue;
		u->state = UNIT_DURABLE;
		wake(e, u, e->j.failed ? -EIO : 0);
	}
}

/* Flushes when the oldest units that are not durable are written. */
void journal_pump(struct md_engine *e)
{
	struct md_unit *u, *last = NULL;

	if (!e->j.present || e->j.flushing)
		return;
	list_for_each_entry (u, &e->j.units, link) {
		if (u->state == UNIT_DURABLE)
			continue;
		if (u->state != UNIT_WRITTEN)
			break;
		if (u->err && !e->j.failed)
			array_journal_failed(e);
		last = u;
	}
	if (!last)
		return;
	if (e->j.failed) {
		list_for_each_entry (u, &e->j.units, link) {
			if (u->state != UNIT_WRITTEN)
				continue;
			u->state = UNIT_DURABLE;
			wake(e, u, -EIO);
		}
		return;
	}
	e->j.flushing = true;
	e->j.flush_rq = (struct md_rq){
		.slot = MD_JOURNAL_SLOT,
		.dir = MD_FLUSH,
		.done = flush_done,
		.arg = (void *)(uintptr_t)last->seq,
	};
	engine_submit(e, &e->j.flush_rq);
}
