/* SPDX-License-Identifier: MIT
 *
 * Problem: parity is a matter of whole pages at one place of all members, requests are of any size and alignment, and
 * only a bounded number of pages fits in memory.
 *
 * Idea: a request is cut into segments, one a page; segments queue at stripes; stripes come from a fixed cache with a
 * hash and an LRU list. When none is free the request stays at the head of `stalled` (first come, first served) until
 * one is. With stripe.c this is the personality of levels 4, 5 and 6.
 *
 * Contract: engine_priv.h.
 *
 * Locks: the engine's.
 */
#include <alloc/slab.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/string.h>
#include "engine_priv.h"

#define DEFAULT_STRIPES 128

/* Copies between a segment's part of the request's vectors and its part of a page. */
void seg_copy(struct md_seg *seg, u8 *page, bool to_page)
{
	const struct md_vec *v = seg->io->vec;
	size_t skip = seg->io_offset, done = 0;

	for (; skip >= v->bytes; v++)
		skip -= v->bytes;
	for (; done < seg->bytes; v++, skip = 0) {
		size_t n = min(v->bytes - skip, seg->bytes - done);
		u8 *outer = (u8 *)v->base + skip, *inner = page + seg->first + done;

		memcpy(to_page ? inner : outer, to_page ? outer : inner, n);
		done += n;
	}
}

/* Cuts a request at page boundaries. */
static int cut(struct md_io *io)
{
	u64 first = io->sector, end = io->sector + io->sectors;
	u32 n = DIV_ROUND_UP(end, MD_PAGE_SECTORS) - first / MD_PAGE_SECTORS;

	io->seg = kcalloc(n, sizeof(*io->seg), ALLOC_KERNEL);
	if (!io->seg)
		return -ENOMEM;
	for (u32 i = 0; i < n; i++) {
		u64 stop = min(ALIGN_DOWN(first, MD_PAGE_SECTORS) + MD_PAGE_SECTORS, end);

		io->seg[i] = (struct md_seg){
			.io = io,
			.io_offset = (first - io->sector) * 512,
			.first = first % MD_PAGE_SECTORS * 512,
			.bytes = (stop - first) * 512,
		};
		first = stop;
	}
	io->nseg = io->pending = n;
	io->attached = 0;
	return 0;
}

/* Gives a request's segments to their stripes; false when a stripe is lacking. */
static bool attach(struct md_engine *e, struct md_io *io)
{
	int err;

	if (io->dir == MD_READ && !io->seg && direct_read(e, io))
		return true;
	err = io->seg ? 0 : cut(io);
	if (err) {
		io_finish(e, io, err);
		return true;
	}
	while (io->attached < io->nseg) {
		struct md_seg *seg = &io->seg[io->attached];
		u64 sector = io->sector + seg->io_offset / 512, at;
		struct md_stripe *sh;
		u32 d, slot;

		md_geo_map(&e->geo, sector, &at, &d);
		sh = stripe_get(e, ALIGN_DOWN(at, MD_PAGE_SECTORS));
		if (!sh)
			return false;
		slot = md_geo_slot(&e->geo, at / e->geo.chunk, d);
		list_add_tail(&seg->link, io->dir == MD_READ ? &sh->s[slot].toread : &sh->s[slot].towrite);
		*(io->dir == MD_READ ? &sh->to_read : &sh->to_write) |= BIT(slot);
		sh->payer = io->payer;
		stripe_ready(e, sh);
		io->attached++;
	}
	return true;
}

/* ---- the stripe cache ---- */

static u32 bucket_of(const struct md_engine *e, u64 sector)
{
	return (sector / MD_PAGE_SECTORS * 0x9e3779b97f4a7c15ULL >> 40) & e->hash_mask;
}

static struct list *bucket(const struct md_engine *e, u64 sector)
{
	return &e->hash[bucket_of(e, sector)];
}

/* Also for those who are not in the engine: a bucket says enough. */
bool stripe_is_quiet(const struct md_engine *e, u64 sector)
{
	return !READ_ONCE(e->unquiet[bucket_of(e, sector)]);
}

static void count_unquiet(struct md_engine *e, const struct md_stripe *sh, u32 by)
{
	u32 *n = &e->unquiet[bucket_of(e, sh->sector)];

	WRITE_ONCE(*n, *n + by);
	WRITE_ONCE(e->nbusy, e->nbusy + by);
}

struct md_stripe *stripe_find(const struct md_engine *e, u64 sector)
{
	struct md_stripe *sh;

	list_for_each_entry (sh, bucket(e, sector), hash)
		if (sh->sector == sector)
			return sh;
	return NULL;
}

struct md_stripe *stripe_get(struct md_engine *e, u64 sector)
{
	struct md_stripe *sh = stripe_find(e, sector);

	if (sh)
		return sh;
	sh = list_first_or_null(&e->lru, struct md_stripe, link);
	if (!sh)
		return NULL;
	if (sh->known)
		list_del(&sh->hash);
	sh->known = true;
	sh->sector = sector;
	sh->bad = 0;
	for (u32 i = 0; i < e->geo.disks; i++)
		sh->s[i].flags = 0;
	list_add(&sh->hash, bucket(e, sector));
	return sh;
}

/* Nothing to do: on the LRU list, or among those whose data only the journal has. */
void stripe_park(struct md_engine *e, struct md_stripe *sh)
{
	bool dirty = stripe_flag_mask(e, sh, DIRTY);

	sh->parked = true;
	e->j.leaving -= sh->leaving;
	sh->leaving = false;
	e->busy--;
	e->ncached += dirty;
	if (!dirty)
		count_unquiet(e, sh, -1u);
	list_add_tail(&sh->link, dirty ? &e->cached : &e->lru);
}

/* Has it run by md_run, if it is parked; otherwise it looks at its queues when its I/O is over. */
void stripe_ready(struct md_engine *e, struct md_stripe *sh)
{
	if (!sh->parked)
		return;
	sh->parked = false;
	e->busy++;
	if (stripe_flag_mask(e, sh, DIRTY))
		e->ncached--;
	else
		count_unquiet(e, sh, 1);
	list_move_tail(&sh->link, &e->ready);
}

static void stripe_free(struct md_stripe *sh, u32 disks)
{
	for (u32 i = 0; sh && i < disks; i++) {
		kfree(sh->s[i].page);
		kfree(sh->s[i].old);
	}
	kfree(sh);
}

static struct md_stripe *stripe_new(u32 disks)
{
	struct md_stripe *sh = kzalloc(sizeof(*sh) + disks * sizeof(sh->s[0]), ALLOC_KERNEL);

	for (u32 i = 0; sh && i < disks; i++) {
		struct slot_page *s = &sh->s[i];

		s->page = kmalloc(PAGE_BYTES, ALLOC_KERNEL);
		s->old = kmalloc(PAGE_BYTES, ALLOC_KERNEL);
		if (!s->page || !s->old) {
			stripe_free(sh, disks);
			return NULL;
		}
		list_init(&s->toread);
		list_init(&s->towrite);
		list_init(&s->batch);
	}
	return sh;
}

/* ---- the personality ---- */

static bool run_stripes(struct md_engine *e)
{
	bool any = false;

	while (!list_empty(&e->ready)) {
		struct md_stripe *sh = list_first_entry(&e->ready, struct md_stripe, link);

		list_del_init(&sh->link);
		stripe_run(e, sh);
		any = true;
	}
	return any;
}

static bool is_ready(const struct md_engine *e)
{
	return !list_empty(&e->ready);
}

static void free_cache(struct md_engine *e)
{
	for (u32 i = 0; e->all && i < e->nstripes; i++)
		stripe_free(e->all[i], e->geo.disks);
	kfree(e->all);
	kfree(e->hash);
	kfree(e->unquiet);
	kfree(e->zero);
	kfree(e->scratch[0]);
	kfree(e->scratch[1]);
}

/* The hash for n stripes, which are not in it yet. */
struct table {
	struct list *hash;
	u32 mask, *unquiet;
};

static void table_free(struct table *t)
{
	kfree(t->hash);
	kfree(t->unquiet);
	*t = (struct table){ 0 };
}

static int table_new(struct table *t, u32 n)
{
	u32 size = 1;

	while (size < 4 * n) /* what reads pass by should seldom share a bucket with what they may not */
		size <<= 1;
	t->mask = size - 1;
	t->hash = kcalloc(size, sizeof(*t->hash), ALLOC_KERNEL);
	t->unquiet = kcalloc(size, sizeof(*t->unquiet), ALLOC_KERNEL);
	if (!t->hash || !t->unquiet) {
		table_free(t);
		return -ENOMEM;
	}
	for (u32 i = 0; i < size; i++)
		list_init(&t->hash[i]);
	return 0;
}

static void table_use(struct md_engine *e, const struct table *t)
{
	kfree(e->hash);
	kfree(e->unquiet);
	e->hash = t->hash;
	e->hash_mask = t->mask;
	e->unquiet = t->unquiet;
}

/* Makes stripes [from, to) of all[]. */
static int stripes_new(struct md_stripe **all, u32 from, u32 to, u32 disks)
{
	for (u32 i = from; i < to; i++) {
		all[i] = stripe_new(disks);
		if (!all[i]) {
			while (i > from)
				stripe_free(all[--i], disks);
			return -ENOMEM;
		}
		all[i]->parked = true;
	}
	return 0;
}

static int alloc_cache(struct md_engine *e, const struct md_config *c)
{
	u32 n = c->stripes ? c->stripes : DEFAULT_STRIPES;
	struct table t;
	int err = table_new(&t, n);

	if (err)
		return err;
	table_use(e, &t);
	e->all = kcalloc(n, sizeof(*e->all), ALLOC_KERNEL);
	e->zero = kzalloc(PAGE_BYTES, ALLOC_KERNEL);
	e->scratch[0] = kmalloc(PAGE_BYTES, ALLOC_KERNEL);
	e->scratch[1] = kmalloc(PAGE_BYTES, ALLOC_KERNEL);
	if (!e->all || !e->zero || !e->scratch[0] || !e->scratch[1])
		return -ENOMEM;
	err = stripes_new(e->all, 0, n, e->geo.disks);
	if (err)
		return err;
	e->nstripes = n;
	for (u32 i = 0; i < n; i++)
		list_add_tail(&e->all[i]->link, &e->lru);
	return 0;
}

/* Fills all[] with the stripes that stay, those that the journal alone has first. */
static void keep_stripes(struct md_engine *e, struct md_stripe **all, u32 n)
{
	struct md_stripe *sh, *next;
	u32 at = 0, drop = e->nstripes - min(n, e->nstripes);

	list_for_each_entry (sh, &e->cached, link)
		all[at++] = sh;
	list_for_each_entry_safe (sh, next, &e->lru, link) {
		if (drop) {
			drop--;
			list_del(&sh->link);
			stripe_free(sh, e->geo.disks);
		} else {
			all[at++] = sh;
		}
	}
}

static void rehash(struct md_engine *e)
{
	e->nbusy = 0;
	for (u32 i = 0; i < e->nstripes; i++) {
		struct md_stripe *sh = e->all[i];

		if (!sh->known)
			continue;
		list_add(&sh->hash, bucket(e, sh->sector));
		if (stripe_flag_mask(e, sh, DIRTY))
			count_unquiet(e, sh, 1);
	}
}

int cache_resize(struct md_engine *e, u32 n)
{
	struct table t = { 0 };
	struct md_stripe **all;
	int err;

	if (e->ncached > n / 2)
		return -EBUSY;
	all = kcalloc(n, sizeof(*all), ALLOC_KERNEL);
	err = all ? table_new(&t, n) : -ENOMEM;
	if (!err)
		err = stripes_new(all, min(n, e->nstripes), n, e->geo.disks);
	if (err) {
		table_free(&t);
		kfree(all);
		return err;
	}
	keep_stripes(e, all, n);
	for (u32 i = e->nstripes; i < n; i++)
		list_add(&all[i]->link, &e->lru);
	kfree(e->all);
	e->all = all;
	e->nstripes = n;
	table_use(e, &t);
	rehash(e);
	return 0;
}

/* What was tried before says nothing about a new member. */
static void member_added(struct md_engine *e, u32 slot)
{
	for (u32 i = 0; i < e->nstripes; i++) {
		e->all[i]->bad &= ~BIT(slot);
		e->all[i]->stuck = false;
	}
}

/* The turn of the stripe at *position in the sync pass; false: not now. */
static bool sync_stripe(struct md_engine *e, u64 *position)
{
	struct md_stripe *sh;

	if (!sync_wants(e, *position, MD_PAGE_SECTORS)) {
		*position += MD_PAGE_SECTORS;
		return true;
	}
	sh = stripe_get(e, *position);
	if (!sh || sh->sync)
		return false;
	*position += MD_PAGE_SECTORS;
	e->sync.inflight++;
	sh->sync = e->sync.kind;
	stripe_ready(e, sh);
	return true;
}

const struct md_personality parity_personality = {
	.init = alloc_cache,
	.free = free_cache,
	.attach = attach,
	.run = run_stripes,
	.is_ready = is_ready,
	.member_added = member_added,
	.sync_at = sync_stripe,
	.repairs_degraded = false,
};

int md_inject(struct md_engine *e, u64 array_sector, const void *page)
{
	struct md_stripe *sh;
	u64 at;
	u32 d, slot;

	md_geo_map(&e->geo, array_sector, &at, &d);
	sh = stripe_get(e, ALIGN_DOWN(at, MD_PAGE_SECTORS));
	if (!sh || (!sh->parked && (sh->phase != IDLE || sh->op != OP_NONE)))
		return -EBUSY;
	slot = md_geo_slot(&e->geo, at / e->geo.chunk, d);
	if (!sh->reserved && !journal_reserve(e, sh, e->geo.parity + 2))
		return fail(ENOSPC, "no room in the journal for parity");
	stripe_ready(e, sh);
	journal_adopt(e, sh);
	memcpy(sh->s[slot].page, page, PAGE_BYTES);
	sh->s[slot].flags = CUR | DIRTY | LOGGED;
	sh->write_out = true;
	return 0;
}
