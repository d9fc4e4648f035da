/* SPDX-License-Identifier: MIT
 *
 * Problem: after a crash, or when a member comes back, only what was written meanwhile differs; without a record of it
 * everything must be gone through.
 *
 * Idea: the write-intent bitmap, as an image of what the members hold. A write sets the bits of its chunks, and goes to
 * the members when they are durable there; a bit goes away lazily. Two more bits a chunk in memory: *needed*: some
 *member lacks what was written there; *idle*: not written since the last sweep.
 *
 *	write begins	open + 1, bit set (a new one is waited for); degraded: needed, too
 *	write ends	open - 1
 *	member fails	needed = all that is set: its cache may have died with it
 *	sweep		every daemon_sleep seconds: flush all members, then idle chunks lose their bits, others become
 *idle; not while degraded pass is done	nothing is needed any more, if the array is whole
 *
 * A sweep that takes bits away raises events_cleared: a member that was there then can be brought up to date by what is
 * needed now. One round of bitmap I/O is under way at a time, so that no older page can cover a newer one. The header
 * carries the events of the superblocks, and is written before they are: a bitmap that is older is not believed, and
 * then everything is needed.
 *
 * Contract: engine_priv.h; format: md/bitmap.h. Levels without redundancy and arrays with a journal have none.
 *
 * Locks: the engine's.
 */
#include <linux/raid/md_p.h>
#include <alloc/slab.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/string.h>
#include <md/bitmap.h>
#include "engine_priv.h"

#define MAX_BITS  (1u << 21)
#define RUN_PAGES 16 /* in one request */

struct intent {
	struct md_bitmap head;
	s32 offset; /* sectors from each superblock */
	u32 shift;  /* a chunk is 1 << shift sectors */
	u32 bits, pages, nset;
	u8 *image;                    /* header and bits, whole pages */
	u8 *needed, *idle;            /* bit a chunk */
	u16 *open;                    /* writes under way, a chunk */
	u8 *fresh, *going;            /* byte a page: newer than on the members; in the round under way */
	u64 swept;                    /* seconds; the last sweep */
	bool sweep_flushes;           /* a sweep waits for its flush */
	bool sweep_now;               /* without waiting for chunks to become idle */
	u64 wanted, written, running; /* generations of the image; running: under way, 0 none */
	u32 inflight;
	struct list wait; /* meta_waiter, by generation */
	struct md_rq *rq; /* [geo.disks] */
};

static u8 *bits_of(const struct intent *in)
{
	return in->image + MD_BITMAP_HEADER;
}

static u32 page_of(u32 bit)
{
	return (MD_BITMAP_HEADER + bit / 8) / PAGE_BYTES;
}

/* What the bits are about: of RAID10 the array's sectors, of others the members'. */
static u64 covered(const struct md_geo *g)
{
	return g->level == 10 ? g->sectors : g->member_sectors;
}

static void touch(struct intent *in, u32 page)
{
	in->fresh[page] = 1;
	in->wanted++;
}

/* ---- writes --------------------------------------------------------------------------------------------------- */

void intent_begin(struct md_engine *e, u64 sector, u32 sectors)
{
	struct intent *in = e->intent;

	if (!in)
		return;
	for (u32 c = (u32)(sector >> in->shift); c <= (sector + sectors - 1) >> in->shift; c++) {
		in->open[c]++;
		md_bitmap_set(in->idle, c, false);
		if (array_failed(e))
			md_bitmap_set(in->needed, c, true);
		if (md_bitmap_test(bits_of(in), c))
			continue;
		md_bitmap_set(bits_of(in), c, true);
		in->nset++;
		touch(in, page_of(c));
	}
}

void intent_end(struct md_engine *e, u64 sector, u32 sectors)
{
	struct intent *in = e->intent;

	if (!in)
		return;
	for (u32 c = (u32)(sector >> in->shift); c <= (sector + sectors - 1) >> in->shift; c++)
		in->open[c]--;
}

/* Has w->go called when the bits of the range are durable; false: they are. */
bool intent_wait(struct md_engine *e, struct meta_waiter *w, u64 sector, u32 sectors)
{
	struct intent *in = e->intent;

	if (!in)
		return false;
	for (u32 p = page_of((u32)(sector >> in->shift)); p <= page_of((u32)((sector + sectors - 1) >> in->shift));
	     p++) {
		if (!in->fresh[p] && !in->going[p])
			continue;
		if (in->fresh[p] && in->wanted == max(in->written, in->running))
			in->wanted++; /* as it was read from one of the members */
		w->generation = in->fresh[p] ? in->wanted : in->running;
		list_add_tail(&w->link, &in->wait);
		return true;
	}
	return false;
}

/* What a member that failed had only in its cache is not known to be there. */
void intent_member_failed(struct md_engine *e)
{
	struct intent *in = e->intent;

	if (!in || !in->nset)
		return;
	memcpy(in->needed, bits_of(in), DIV_ROUND_UP(in->bits, 8));
}

/* ---- passes --------------------------------------------------------------------------------------------------- */

/* The first sector from `sector` on whose chunk is needed; ~0: none. */
static u64 next_needed(const struct intent *in, u64 sector)
{
	u64 c = sector >> in->shift;

	if (c < in->bits && md_bitmap_test(in->needed, c))
		return sector;
	for (c++; c < in->bits;) {
		if (!(c % 8) && !in->needed[c / 8])
			c += 8;
		else if (md_bitmap_test(in->needed, c))
			return c << in->shift;
		else
			c++;
	}
	return ~0ULL;
}

bool intent_needs(const struct md_engine *e, u64 sector, u32 sectors)
{
	return !e->intent || next_needed(e->intent, sector) < sector + sectors;
}

/* The pass may go on at this member sector: nothing before it is needed. */
u64 intent_skip(const struct md_engine *e, u64 sector)
{
	u64 next = e->intent && e->geo.level != 10 ? next_needed(e->intent, sector) : sector;

	return min(next, max(sector, e->geo.member_sectors));
}

void intent_pass_done(struct md_engine *e)
{
	struct intent *in = e->intent;

	if (!in || array_failed(e) || e->parity_good != MD_CLEAN)
		return;
	memset(in->needed, 0, DIV_ROUND_UP(in->bits, 8));
}

/* The member missed only what is needed now. */
bool intent_covers(const struct md_engine *e, const struct md_super *sb)
{
	return e->intent && sb->events >= e->intent->head.events_cleared;
}

/* ---- rounds --------------------------------------------------------------------------------------------------- */

static void round_done(struct md_engine *e)
{
	struct intent *in = e->intent;
	struct meta_waiter *w, *next;

	in->written = in->running;
	in->running = 0;
	memset(in->going, 0, in->pages);
	list_for_each_entry_safe (w, next, &in->wait, link)
		if (w->generation <= in->written) {
			list_del(&w->link);
			w->go(e, w);
		}
}

static void run_done(struct md_engine *e, struct md_rq *rq, int err);

/* The next run of pages for one member; false: it has all. */
static bool write_run(struct md_engine *e, u32 slot, u32 from)
{
	struct intent *in = e->intent;
	u32 end;

	while (from < in->pages && !in->going[from])
		from++;
	if (from == in->pages)
		return false;
	for (end = from; end < in->pages && end - from < RUN_PAGES && in->going[end];)
		end++;
	in->rq[slot] = (struct md_rq){ .slot = slot,
				       .dir = MD_WRITE,
				       .flags = MD_FUA,
				       .sector = e->member[slot].sb.super_offset + (s64)in->offset +
						 (u64)from * MD_PAGE_SECTORS,
				       .bytes = (end - from) * PAGE_BYTES,
				       .buf = in->image + (size_t)from * PAGE_BYTES,
				       .done = run_done };
	engine_submit(e, &in->rq[slot]);
	return true;
}

static void run_done(struct md_engine *e, struct md_rq *rq, int err)
{
	struct intent *in = e->intent;
	u32 end = (u32)((rq->buf - (void *)in->image + rq->bytes) / PAGE_BYTES);

	if (err)
		array_member_error(e, rq->slot);
	else if (write_run(e, rq->slot, end))
		return;
	if (--in->inflight == 0)
		round_done(e);
}

static void start_round(struct md_engine *e)
{
	struct intent *in = e->intent;
	u64 slots = slots_writable(e);

	in->running = in->wanted;
	md_bitmap_build(&in->head, in->image);
	swap(in->fresh, in->going);
	in->inflight = 1; /* ours, so that it cannot end early */
	for (; slots; slots &= slots - 1)
		in->inflight += write_run(e, (u32)__builtin_ctzll(slots), 0);
	if (--in->inflight == 0)
		round_done(e);
}

/* ---- sweeps --------------------------------------------------------------------------------------------------- */

static bool may_go(const struct intent *in, u32 c)
{
	return md_bitmap_test(bits_of(in), c) && !in->open[c] && !md_bitmap_test(in->needed, c);
}

static void sweep_begin(struct md_engine *e)
{
	struct intent *in = e->intent;

	in->swept = e->now;
	for (u32 c = 0; in->sweep_now && c < in->bits; c++)
		if (may_go(in, c))
			md_bitmap_set(in->idle, c, true);
	in->sweep_now = false;
	in->sweep_flushes = e->flush_intent_wanted = true;
}

/* Everything that was written before it is on the members. */
void intent_flushed(struct md_engine *e)
{
	struct intent *in = e->intent;
	bool any = false;

	if (!in || !in->sweep_flushes)
		return;
	in->sweep_flushes = false;
	for (u32 c = 0; !array_failed(e) && c < in->bits; c++) {
		if (!may_go(in, c))
			continue;
		if (md_bitmap_test(in->idle, c)) {
			md_bitmap_set(bits_of(in), c, false);
			in->nset--;
			touch(in, page_of(c));
			any = true;
		}
		md_bitmap_set(in->idle, c, !md_bitmap_test(in->idle, c));
	}
	if (!any)
		return;
	in->head.events_cleared = e->meta_running ? e->events - 1 : e->events; /* that all members have */
	touch(in, 0);
}

void intent_pump(struct md_engine *e)
{
	struct intent *in = e->intent;
	u32 period;

	if (!in || in->running)
		return;
	period = max(in->head.daemon_sleep_s, 1u);
	if (in->nset && !array_failed(e) && !in->sweep_flushes && !e->read_only &&
	    (in->sweep_now || e->now >= in->swept + period || e->now < in->swept))
		sweep_begin(e);
	if (in->wanted != in->written)
		start_round(e);
}

bool intent_is_idle(const struct md_engine *e)
{
	const struct intent *in = e->intent;

	return !in || (!in->running && !in->sweep_flushes && in->wanted == in->written);
}

/* The array is about to stop: bits of what is on the members are not left behind. */
void intent_sweep_now(struct md_engine *e)
{
	struct intent *in = e->intent;

	for (u32 c = 0; in && !array_failed(e) && c < in->bits; c++)
		in->sweep_now |= may_go(in, c);
}

/* The superblocks of e->events are about to be written: w->go is called when the header says the same. */
bool intent_header(struct md_engine *e, struct meta_waiter *w)
{
	struct intent *in = e->intent;

	if (!in)
		return false;
	in->head.events = e->events;
	touch(in, 0);
	w->generation = in->wanted;
	list_add_tail(&w->link, &in->wait);
	return true;
}

/* ---- life ----------------------------------------------------------------------------------------------------- */

/* Between superblock and data, on either side of the superblock. */
static bool fits(const struct md_super *sb, s32 offset, u64 bytes)
{
	s64 at = (s64)sb->super_offset + offset, end = at + (s64)(bytes / 512), super = (s64)sb->super_offset;
	s64 data = (s64)sb->data_offset, data_end = data + (s64)max(sb->size, sb->data_size);
	s64 bad = super + sb->bblog_offset, bad_end = bad + (sb->bblog_offset ? sb->bblog_size : 0);

	return at >= 0 && (end <= super || at >= super + MD_SUPER_SECTORS) && (end <= data || at >= data_end) &&
	       (end <= bad || at >= bad_end) && (super < data ? end <= data : end <= super);
}

static int check(const struct md_engine *e, const struct md_super *sb, const struct md_bitmap *b, size_t bytes,
		 s32 offset)
{
	u64 bits = DIV_ROUND_UP(covered(&e->geo), (u64)b->chunk_bytes / 512), need;

	if (memcmp(b->uuid, sb->set_uuid, 16))
		return fail(EINVAL, "the bitmap is of another array");
	if (b->version != 4)
		return fail(EINVAL, "a bitmap of version %u", b->version);
	if (b->chunk_bytes < PAGE_BYTES || bits > MAX_BITS)
		return fail(EINVAL, "a bitmap of %llu chunks of %u bytes", (unsigned long long)bits, b->chunk_bytes);
	need = ALIGN_UP(MD_BITMAP_HEADER + DIV_ROUND_UP(bits, 8), PAGE_BYTES);
	if (need > bytes)
		return fail(EINVAL, "%llu bits do not fit into a bitmap of %llu bytes", (unsigned long long)bits,
			    (unsigned long long)bytes);
	for (u32 i = 0; i < e->geo.disks; i++)
		if ((e->member[i].present && !fits(&e->member[i].sb, offset, need)) ||
		    (e->heirs & BIT(i) && !fits(&e->heir[i].sb, offset, need)))
			return fail(EINVAL, "member %u has no room for the bitmap", i);
	return 0;
}

static void unmake(struct intent *in)
{
	kfree(in->image);
	kfree(in->needed);
	kfree(in->idle);
	kfree(in->open);
	kfree(in->fresh);
	kfree(in->going);
	kfree(in->rq);
	kfree(in);
}

void intent_free(struct md_engine *e)
{
	if (e->intent)
		unmake(e->intent);
	e->intent = NULL;
}

/* NULL: no memory. */
static struct intent *make(const struct md_geo *g, u64 now, const struct md_bitmap *head)
{
	struct intent *in = kzalloc(sizeof(*in), ALLOC_KERNEL);

	if (!in)
		return NULL;
	in->head = *head;
	in->shift = (u32)__builtin_ctz(head->chunk_bytes / 512);
	in->bits = (u32)DIV_ROUND_UP(covered(g), 1ULL << in->shift);
	in->pages = page_of(in->bits - 1) + 1;
	in->head.sync_sectors = covered(g);
	in->head.state = 0;
	in->swept = now;
	list_init(&in->wait);
	in->image = kzalloc((size_t)in->pages * PAGE_BYTES, ALLOC_KERNEL);
	in->needed = kzalloc(DIV_ROUND_UP(in->bits, 8), ALLOC_KERNEL);
	in->idle = kzalloc(DIV_ROUND_UP(in->bits, 8), ALLOC_KERNEL);
	in->open = kcalloc(in->bits, sizeof(*in->open), ALLOC_KERNEL);
	in->fresh = kzalloc(in->pages, ALLOC_KERNEL);
	in->going = kzalloc(in->pages, ALLOC_KERNEL);
	in->rq = kcalloc(g->disks, sizeof(*in->rq), ALLOC_KERNEL);
	if (in->image && in->needed && in->idle && in->open && in->fresh && in->going && in->rq)
		return in;
	unmake(in);
	return NULL;
}

/* Takes over the bits; those of what is not known to agree are needed. */
static void adopt(struct md_engine *e, struct intent *in, const struct md_super *sb, const u8 *bits)
{
	bool stale = in->head.events < sb->events, any = false;
	u64 from = array_failed(e) && in->head.events_cleared != sb->events ? 0 : e->parity_good;

	in->head.events_cleared = min(in->head.events_cleared, sb->events);
	for (u32 c = 0; c < in->bits; c++) {
		if (!stale && !md_bitmap_test(bits, c))
			continue;
		md_bitmap_set(bits_of(in), c, true);
		in->nset++;
		if (from == MD_CLEAN || (u64)(c + 1) << in->shift < from)
			continue;
		md_bitmap_set(in->needed, c, true);
		any = true;
	}
	if (stale)
		log_warn("md: the bitmap is older than the array: everything counts as written");
	if (!any)
		e->parity_good = MD_CLEAN;
}

int intent_set(struct md_engine *e, const struct md_super *sb, s32 offset, const void *image, size_t bytes)
{
	struct md_bitmap head;
	struct intent *in;
	int err;

	if (e->j.present || !e->geo.parity)
		return fail(EINVAL, "%s has no bitmap", e->j.present ? "an array with a journal" : "this level");
	err = md_bitmap_decode(image, &head);
	if (!err)
		err = check(e, sb, &head, bytes, offset);
	if (err)
		return err == -ENOENT ? fail(EINVAL, "there is no bitmap where the superblock says") : err;
	in = make(&e->geo, e->now, &head);
	if (!in)
		return -ENOMEM;
	e->intent = in;
	in->offset = offset;
	adopt(e, in, sb, (const u8 *)image + MD_BITMAP_HEADER);
	memset(in->fresh, 1, in->pages);
	return 0;
}

/* The bits of what is new are set: nothing is known of it. */
int intent_resize(struct md_engine *e, const struct md_geo *g)
{
	struct intent *old = e->intent, *in;

	if (!old)
		return 0;
	if (DIV_ROUND_UP(covered(g), 1ULL << old->shift) > MAX_BITS)
		return fail(ENOSPC, "the bitmap would be too large");
	in = make(g, e->now, &old->head);
	if (!in)
		return -ENOMEM;
	for (u32 i = 0; i < e->geo.disks; i++) {
		if (!e->member[i].present || fits(&e->member[i].sb, old->offset, (u64)in->pages * PAGE_BYTES))
			continue;
		unmake(in);
		return fail(ENOSPC, "member %u has no room for a larger bitmap", i);
	}
	in->offset = old->offset;
	for (u32 c = 0; c < in->bits; c++) {
		bool fresh = c + 1 >= old->bits;

		md_bitmap_set(bits_of(in), c, fresh || md_bitmap_test(bits_of(old), c));
		md_bitmap_set(in->needed, c, fresh || md_bitmap_test(old->needed, c));
		in->nset += md_bitmap_test(bits_of(in), c);
	}
	memset(in->fresh, 1, in->pages);
	unmake(old);
	e->intent = in;
	return 0;
}

int intent_set_disks(struct md_engine *e, u32 disks)
{
	struct md_rq *rq = e->intent ? kcalloc(disks, sizeof(*rq), ALLOC_KERNEL) : NULL;

	if (!e->intent)
		return 0;
	if (!rq)
		return -ENOMEM;
	kfree(e->intent->rq);
	e->intent->rq = rq;
	return 0;
}

/* 0 or -ENOSPC; the member gets the whole bitmap. */
int intent_member_added(struct md_engine *e, const struct md_super *sb)
{
	struct intent *in = e->intent;

	if (!in)
		return 0;
	if (!fits(sb, in->offset, (u64)in->pages * PAGE_BYTES))
		return fail(ENOSPC, "the new member has no room for the bitmap");
	memset(in->fresh, 1, in->pages);
	in->wanted++;
	return 0;
}

void intent_status(const struct md_engine *e, struct md_status *st)
{
	const struct intent *in = e->intent;

	if (!in)
		return;
	st->bitmap = true;
	st->bitmap_offset = in->offset;
	st->bitmap_chunk = in->head.chunk_bytes;
	st->bitmap_sleep = in->head.daemon_sleep_s;
	st->bitmap_space = in->head.sectors_reserved;
	st->bitmap_bits = in->bits;
	st->bitmap_set = in->nset;
}

void intent_fill(const struct md_engine *e, struct md_super *sb)
{
	if (e->intent) {
		sb->features |= MD_FEATURE_BITMAP_OFFSET;
		sb->bitmap_or_ppl = (u32)e->intent->offset;
	} else if (sb->features & MD_FEATURE_BITMAP_OFFSET) {
		sb->features &= ~MD_FEATURE_BITMAP_OFFSET;
		sb->bitmap_or_ppl = 0;
	}
}
