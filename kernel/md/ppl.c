/* SPDX-License-Identifier: MIT
 *
 * Problem: the partial parity of a stripe must be durable on the parity's member before data or parity changes on any
 * member, and the log's newest unit must not be replaced before its stripes are on the members for good.
 *
 * Idea: a log a member, one unit at a time in each. Stripes queue at the log of their parity's member; those that came
 * while a unit was out share the next one: a header, then a page for each, written as one.
 *
 *	IDLE --stripes wait--> WRITING --durable--> OUT (its stripes are written) --all done--> OVER --members
 *flushed--> IDLE
 *
 * Without the parity's member (or while it is being rebuilt) there is nothing to log: no parity can be wrong.
 *
 * Contract: engine_priv.h, md/ppl.h. Only level 5, without journal and bitmap. A write of a stripe covers neighbours
 * only (ppl_choose): an entry names a range.
 *
 * Locks: the engine's.
 */
#include <linux/raid/md_p.h>
#include <alloc/slab.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/string.h>
#include <lib/xor.h>
#include <arch/simd.h>
#include <md/ppl.h>
#include "engine_priv.h"

struct ppl_log {
	struct ppl *all;
	u32 slot;
	enum { PPL_IDLE, PPL_WRITING, PPL_OUT, PPL_OVER } state;
	u64 place;
	u32 bytes, next; /* of the area; where the next header goes */
	u32 room, pages; /* behind a header; in this unit */
	bool several, flushing;
	u32 live;              /* stripes of this unit that are not on the members */
	struct list queue, in; /* stripes: for the next unit, in this one */
	u8 *page[1 + MD_PPL_PAGES];
	struct md_vec vec[1 + MD_PPL_PAGES];
	struct md_rq rq;
};

struct ppl {
	u64 generation;
	u32 signature;
	struct ppl_log log[];
};

static bool is_on(const struct md_engine *e, u32 slot, u64 sector)
{
	const struct member *m = &e->member[slot];

	return m->present && !m->faulty && (m->in_sync || sector + MD_PAGE_SECTORS <= m->recovered);
}

/* ---- a unit ------------------------------------------------------------------------------------------------ */

static void set_free(struct md_engine *e, struct md_stripe *sh)
{
	sh->phase = IDLE;
	sh->step = MEMBERS;
	list_move_tail(&sh->link, &e->ready);
}

static void written(struct md_engine *e, struct md_rq *rq, int err)
{
	struct ppl_log *l = rq->arg;

	if (err)
		array_member_error(e, l->slot);
	l->state = PPL_OUT;
	while (!list_empty(&l->in))
		set_free(e, list_first_entry(&l->in, struct md_stripe, link));
}

/* What the write leaves alone. NULL: it changes all of the stripe's data. */
static const u8 *partial(const struct md_engine *e, struct md_stripe *sh, u32 parity, u64 data, u8 *to)
{
	const u8 *v[MD_MAX_DISKS];
	u32 n = 0;

	if (__builtin_popcountll(data) == e->geo.data)
		return NULL;
	v[n++] = sh->s[parity].page;
	for (u64 m = data; m; m &= m - 1)
		v[n++] = sh->s[__builtin_ctzll(m)].page;
	simd_begin();
	xor_blocks_simd(to, v, n, PAGE_BYTES);
	simd_end();
	return to;
}

/* False: the unit has no room for it. */
static bool add(struct md_engine *e, struct ppl_log *l, struct md_stripe *sh)
{
	u64 data = stripe_flag_mask(e, sh, DIRTY) & ~BIT(l->slot), row = sh->sector / e->geo.chunk;
	u32 first = MD_NO_SLOT;
	const u8 *pp;

	for (u64 m = data; m; m &= m - 1)
		first = min(first, md_geo_data_index(&e->geo, row, (u32)__builtin_ctzll(m)));
	if (l->pages == l->room)
		return false;
	pp = partial(e, sh, l->slot, data, l->page[1 + l->pages]);
	if (md_ppl_add(l->page[0], md_geo_unmap(&e->geo, sh->sector, first),
		       (u32)__builtin_popcountll(data) * PAGE_BYTES, l->slot, pp))
		return false;
	l->pages += pp != NULL;
	l->live++;
	sh->ppl = l;
	list_move_tail(&sh->link, &l->in);
	return true;
}

static void write_unit(struct md_engine *e, struct ppl_log *l)
{
	u32 bytes;

	l->pages = 0;
	md_ppl_begin(l->page[0], l->all->signature, ++l->all->generation);
	while (!list_empty(&l->queue))
		if (!add(e, l, list_first_entry(&l->queue, struct md_stripe, link)))
			break;
	md_ppl_end(l->page[0]);
	bytes = (1 + l->pages) * PAGE_BYTES;
	if (!l->several || l->bytes - l->next < (1 + l->room) * PAGE_BYTES)
		l->next = 0;
	l->state = PPL_WRITING;
	l->rq = (struct md_rq){ .slot = l->slot,
				.dir = MD_WRITE,
				.flags = MD_FUA,
				.sector = l->place + l->next / 512,
				.bytes = bytes,
				.vec = l->vec,
				.done = written,
				.arg = l };
	l->next += bytes;
	engine_submit(e, &l->rq);
}

/* ---- for stripes ------------------------------------------------------------------------------------------------ */

u64 ppl_choose(const struct md_engine *e, const struct md_stripe *sh, u64 slots)
{
	u64 row = sh->sector / e->geo.chunk, run = 0;

	for (u32 d = 0; e->ppl && d < e->geo.data; d++) {
		u64 bit = BIT(md_geo_slot(&e->geo, row, d));

		if (slots & bit)
			run |= bit;
		else if (run)
			break;
	}
	return e->ppl ? run : slots;
}

bool ppl_append(struct md_engine *e, struct md_stripe *sh)
{
	u32 p = (u32)__builtin_ctzll(stripe_parity_mask(e, sh));

	if (!e->ppl || !is_on(e, p, sh->sector))
		return false;
	list_add_tail(&sh->link, &e->ppl->log[p].queue);
	return true;
}

void ppl_release(struct md_engine *e, struct md_stripe *sh)
{
	struct ppl_log *l = sh->ppl;

	sh->ppl = NULL;
	if (!l || --l->live)
		return;
	l->state = PPL_OVER;
	e->flush_ppl_wanted = true;
}

/* ---- the pump ---------------------------------------------------------------------------------------------------- */

void ppl_flush_begins(struct md_engine *e)
{
	for (u32 i = 0; i < e->geo.disks; i++)
		e->ppl->log[i].flushing = e->ppl->log[i].state == PPL_OVER;
}

/* err: a member failed, which the superblocks do not say yet: it could come back without what its cache had. */
void ppl_flushed(struct md_engine *e, int err)
{
	for (u32 i = 0; i < e->geo.disks; i++) {
		struct ppl_log *l = &e->ppl->log[i];

		if (l->flushing && !err)
			l->state = PPL_IDLE;
		l->flushing = false;
	}
	e->flush_ppl_wanted |= err != 0;
}

void ppl_pump(struct md_engine *e)
{
	for (u32 i = 0; e->ppl && i < e->geo.disks; i++) {
		struct ppl_log *l = &e->ppl->log[i];

		if (l->state != PPL_IDLE || list_empty(&l->queue))
			continue;
		if (is_on(e, i, 0)) {
			write_unit(e, l);
			continue;
		}
		while (!list_empty(&l->queue)) /* its member has failed meanwhile */
			set_free(e, list_first_entry(&l->queue, struct md_stripe, link));
	}
}

bool ppl_is_idle(const struct md_engine *e)
{
	for (u32 i = 0; e->ppl && i < e->geo.disks; i++)
		if (e->ppl->log[i].state != PPL_IDLE || !list_empty(&e->ppl->log[i].queue))
			return false;
	return true;
}

/* ---- life ----------------------------------------------------------------------------------------------------------
 */

void ppl_fill(const struct md_engine *e, u32 slot, struct md_super *sb)
{
	if (!e->ppl && sb->features & (MD_FEATURE_PPL | MD_FEATURE_MULTIPLE_PPLS))
		sb->bitmap_or_ppl = 0;
	sb->features &= ~(MD_FEATURE_PPL | MD_FEATURE_MULTIPLE_PPLS);
	if (!e->ppl)
		return;
	sb->features |= e->ppl->log[slot].several ? MD_FEATURE_MULTIPLE_PPLS : MD_FEATURE_PPL;
}

int ppl_fits(const struct md_engine *e, const struct md_super *sb)
{
	u32 sectors;
	u64 place;

	if (!e->ppl)
		return 0;
	if (!(sb->features & (MD_FEATURE_PPL | MD_FEATURE_MULTIPLE_PPLS)))
		return fail(EINVAL, "the member has no partial parity log");
	return md_ppl_place(sb, &place, &sectors);
}

int ppl_member_added(struct md_engine *e, u32 slot, const struct md_super *sb)
{
	struct ppl_log *l;
	u32 sectors;
	u64 place;
	int err;

	if (!e->ppl)
		return 0;
	l = &e->ppl->log[slot];
	if (l->state != PPL_IDLE || !list_empty(&l->queue))
		return -EBUSY;
	err = ppl_fits(e, sb);
	if (!err)
		err = md_ppl_place(sb, &place, &sectors);
	if (err)
		return err;
	l->place = place;
	l->bytes = sectors * 512;
	l->next = 0;
	l->room = min(md_ppl_room(sectors, &l->several), (u32)MD_PPL_PAGES);
	return 0;
}

void ppl_free(struct md_engine *e)
{
	for (u32 i = 0; e->ppl && i < e->geo.disks; i++)
		for (u32 k = 0; k <= MD_PPL_PAGES; k++)
			kfree(e->ppl->log[i].page[k]);
	kfree(e->ppl);
	e->ppl = NULL;
}

static int init_log(struct ppl *all, u32 slot)
{
	struct ppl_log *l = &all->log[slot];

	l->all = all;
	l->slot = slot;
	list_init(&l->queue);
	list_init(&l->in);
	for (u32 k = 0; k <= MD_PPL_PAGES; k++) {
		l->page[k] = kmalloc(PAGE_BYTES, ALLOC_KERNEL);
		if (!l->page[k])
			return -ENOMEM;
		l->vec[k] = (struct md_vec){ l->page[k], PAGE_BYTES };
	}
	return 0;
}

int ppl_init(struct md_engine *e, const struct md_super *truth, u64 generation)
{
	int err = 0;

	if (!(truth->features & (MD_FEATURE_PPL | MD_FEATURE_MULTIPLE_PPLS)))
		return 0;
	if (e->geo.level != 5 || e->j.present)
		return fail(EINVAL, "a partial parity log is for level 5 without a journal");
	e->ppl = kzalloc(sizeof(*e->ppl) + e->geo.disks * sizeof(e->ppl->log[0]), ALLOC_KERNEL);
	if (!e->ppl)
		return -ENOMEM;
	e->ppl->signature = md_ppl_signature(truth->set_uuid);
	e->ppl->generation = generation;
	for (u32 i = 0; !err && i < e->geo.disks; i++) {
		err = init_log(e->ppl, i);
		if (!err && e->member[i].present && !e->member[i].faulty)
			err = ppl_member_added(e, i, &e->member[i].sb);
		if (!err && e->heirs & BIT(i))
			err = ppl_fits(e, &e->heir[i].sb);
	}
	return err;
}
