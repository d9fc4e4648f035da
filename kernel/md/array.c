/* SPDX-License-Identifier: MIT
 *
 * Problem: which members belong to the array, and whether parity may be stale, must be on the members themselves
 * before anything is acknowledged that depends on it; and a crash between two superblock writes must leave an
 * array whose newest superblock tells the truth.
 *
 * Idea: every change of that state raises meta_wanted; one writer at a time brings all superblocks to the newest
 * state: flush all members (so that "clean" is never newer than the data), events + 1, write each with FUA. Stripes
 * wait for a generation. A superblock write that fails fails its member, which is one more change.
 *
 *	clean --first write--> dirty --md_quiesce--> clean	(with a journal always clean: it knows what is open)
 *	in sync --error--> faulty		missing --add--> rebuilding --sync pass--> in sync
 *
 * Contract: md/engine.h, engine_priv.h.
 *
 * Locks: the engine's.
 */
#include <linux/raid/md_p.h>
#include <alloc/slab.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/string.h>
#include "engine_priv.h"

struct member *member_at(const struct md_engine *e, u32 slot)
{
	return slot < MD_HEIR(0) ? &e->member[slot] : &e->heir[slot - MD_HEIR(0)];
}

u64 array_failed(const struct md_engine *e)
{
	u64 m = 0;

	for (u32 i = 0; i < e->geo.disks; i++)
		if (!e->member[i].present || e->member[i].faulty || !e->member[i].in_sync)
			m |= BIT(i);
	return m;
}

u64 slots_writable(const struct md_engine *e)
{
	u64 m = 0;

	for (u32 i = 0; i < e->geo.disks; i++)
		if (e->member[i].present && !e->member[i].faulty)
			m |= BIT(i);
	return m;
}

bool array_can_lose(const struct md_engine *e, u32 slot)
{
	return md_geo_serves(&e->geo, array_failed(e) | BIT(slot)) &&
	       (e->parity_good == MD_CLEAN || e->pers->repairs_degraded);
}

bool parity_is_good(const struct md_engine *e, u64 sector)
{
	return sector < e->parity_good || (e->intent && !intent_needs(e, sector, MD_PAGE_SECTORS));
}

void meta_want(struct md_engine *e)
{
	e->meta_wanted++;
}

void array_must_record(struct md_engine *e)
{
	meta_want(e);
	e->meta_must = e->meta_wanted;
}

/* Field by field: the structure is two pages. */
void member_init(struct member *m, const struct md_super *sb)
{
	memset(m, 0, sizeof(*m));
	m->sb = *sb;
	m->present = true;
}

void member_free(struct member *m)
{
	md_bad_free(&m->bad);
	kfree(m->bad_log);
	m->bad_log = NULL;
}

static void bad_changed(struct md_engine *e, struct member *m)
{
	m->bad_fresh = true;
	meta_want(e);
}

void array_wrote(struct md_engine *e, u32 slot, u64 sector, u32 bytes)
{
	struct member *m = member_at(e, slot);

	if (m->bad.n && md_bad_remove(&m->bad, sector, bytes / 512))
		bad_changed(e, m);
}

int array_lost(struct md_engine *e, u32 slot, u64 sector, u32 sectors)
{
	struct member *m = member_at(e, slot);
	int err = md_bad_add(&m->bad, m->sb.data_offset + sector, sectors);

	if (!err)
		bad_changed(e, m);
	return err;
}

bool array_record_bad(struct md_engine *e, u32 slot, u64 sector, u32 sectors)
{
	if (array_lost(e, slot, sector, sectors))
		return false;
	array_must_record(e);
	return true;
}

const struct md_bad *md_bad_blocks(const struct md_engine *e, u32 slot)
{
	static const struct md_bad none;

	bool is_heir = slot - MD_HEIR(0) < e->geo.disks;

	return (slot < e->geo.disks || is_heir) && member_at(e, slot)->present ? &member_at(e, slot)->bad : &none;
}

static void fail_now(struct md_engine *e, u32 slot)
{
	e->member[slot].faulty = true;
	e->member[slot].in_sync = false;
	intent_member_failed(e);
	if (e->heirs & BIT(slot)) /* it takes over as it is, and is rebuilt from there */
		md_stop_sync(e);
	log_warn("md: member %u failed, the array goes on with %d of %u", slot,
		 (int)e->geo.disks - __builtin_popcountll(array_failed(e)), e->geo.disks);
	array_must_record(e);
}

void array_member_error(struct md_engine *e, u32 slot)
{
	struct member *m = member_at(e, slot);

	if (m->faulty || !m->present)
		return;
	if (slot >= MD_HEIR(0))
		heir_fail(e, slot - MD_HEIR(0));
	else if (!m->in_sync || array_can_lose(e, slot))
		fail_now(e, slot);
	else
		log_err("md: member %u has errors but is needed", slot);
}

void array_journal_failed(struct md_engine *e)
{
	e->j.failed = true;
	e->read_only = true;
	log_err("md: journal failed; what it had is written out, then the array is read-only");
	meta_want(e);
}

int md_fail_journal(struct md_engine *e)
{
	if (!e->j.present)
		return -ENODEV;
	if (!e->j.failed)
		array_journal_failed(e);
	return 0;
}

int md_fail_member(struct md_engine *e, u32 slot)
{
	if (slot - MD_HEIR(0) < e->geo.disks && e->heir[slot - MD_HEIR(0)].present) {
		array_member_error(e, slot);
		return 0;
	}
	if (slot >= e->geo.disks || !e->member[slot].present)
		return -EINVAL;
	if (e->member[slot].faulty)
		return 0;
	if (e->member[slot].in_sync && !array_can_lose(e, slot))
		return fail(EBUSY, "member %u holds the last copy", slot);
	fail_now(e, slot);
	return 0;
}

int md_add_member(struct md_engine *e, u32 slot, const struct md_super *sb)
{
	struct member *m;
	struct md_bad bad;
	bool by_bitmap;
	int err;

	if (slot >= e->geo.disks)
		return -EINVAL;
	m = &e->member[slot];
	if ((m->present && !m->faulty) || e->heirs & BIT(slot) || e->meta_inflight || e->sync.kind != MD_SYNC_NONE)
		return -EBUSY;
	if (sb->data_size < e->geo.member_sectors)
		return fail(ENOSPC, "member of %llu sectors, %llu are needed", (unsigned long long)sb->data_size,
			    (unsigned long long)e->geo.member_sectors);
	err = intent_member_added(e, sb);
	if (err)
		return err;
	err = ppl_member_added(e, slot, sb);
	if (err)
		return err;
	err = md_bad_init(&bad, sb);
	if (err)
		return err;
	by_bitmap = md_can_return(e, sb) == slot;
	member_free(m);
	member_init(m, sb);
	m->bad = bad;
	m->by_bitmap = by_bitmap;
	e->pers->member_added(e, slot);
	meta_want(e);
	return 0;
}

u32 md_can_return(const struct md_engine *e, const struct md_super *sb)
{
	u32 slot = md_super_role(sb);
	bool partial = (sb->features & MD_FEATURE_RECOVERY_OFFSET && !(sb->features & MD_FEATURE_RECOVERY_BITMAP)) ||
		       sb->features & MD_FEATURE_REPLACEMENT;
	bool has_bad = sb->features & MD_FEATURE_BAD_BLOCKS;

	if (slot >= e->geo.disks || partial || has_bad || !intent_covers(e, sb))
		return MD_NO_SLOT;
	return e->member[slot].present && !e->member[slot].faulty ? MD_NO_SLOT : slot;
}

int md_set_mode(struct md_engine *e, enum md_journal_mode mode)
{
	if (!journal_active(e))
		return -ENODEV;
	if (mode == MD_WRITE_BACK && array_failed(e))
		return fail(EINVAL, "a degraded array cannot cache writes");
	e->j.mode = mode;
	return 0;
}

void md_quiesce(struct md_engine *e)
{
	e->quiescing = true;
}

void md_shut(struct md_engine *e)
{
	md_quiesce(e);
	md_stop_sync(e);
	if (!e->open_writes)
		intent_sweep_now(e);
}

/* ---- superblocks ---- */

bool meta_wait(struct md_engine *e, struct meta_waiter *w, u64 generation)
{
	if (e->meta_written >= generation)
		return false;
	w->generation = generation;
	list_add_tail(&w->link, &e->meta_wait);
	return true;
}

static void set_role(struct md_super *sb, u32 number, u16 role)
{
	if (number >= MD_MAX_ROLES)
		return;
	while (sb->max_dev <= number)
		sb->roles[sb->max_dev++] = MD_ROLE_SPARE;
	sb->roles[number] = role;
}

/* The roles that all superblocks of this generation carry. */
static void fill_roles(const struct md_engine *e, struct md_super *sb)
{
	for (u32 n = 0; n < sb->max_dev; n++)
		if (sb->roles[n] < e->geo.disks || sb->roles[n] == MD_ROLE_JOURNAL)
			sb->roles[n] = MD_ROLE_FAULTY;
	for (u32 i = 0; i < e->geo.disks; i++) {
		const struct member *m = &e->member[i];

		if (m->present && !m->faulty)
			set_role(sb, m->sb.dev_number, i);
		if (e->heirs & BIT(i))
			set_role(sb, e->heir[i].sb.dev_number, i);
	}
	if (e->j.present && !e->j.failed)
		set_role(sb, e->j.dev.sb.dev_number, MD_ROLE_JOURNAL);
}

static void fill_member(const struct md_engine *e, struct member *m, u32 slot)
{
	struct md_super *sb = &m->sb;
	bool is_heir = slot >= MD_HEIR(0);

	sb->features &= ~(MD_FEATURE_RECOVERY_OFFSET | MD_FEATURE_RECOVERY_BITMAP | MD_FEATURE_BAD_BLOCKS |
			  MD_FEATURE_REPLACEMENT);
	sb->recovery_offset = 0;
	sb->features |= m->bad.n ? MD_FEATURE_BAD_BLOCKS : 0;
	if (is_heir || !m->in_sync) {
		sb->features |= MD_FEATURE_RECOVERY_OFFSET | (m->by_bitmap ? MD_FEATURE_RECOVERY_BITMAP : 0);
		sb->recovery_offset = m->recovered;
	}
	if (!is_heir) {
		ppl_fill(e, slot, sb);
		return;
	}
	sb->features |= MD_FEATURE_REPLACEMENT;
	if (e->dirty) /* after a crash member and heir may differ anywhere */
		sb->recovery_offset = 0;
}

static void fill_super(const struct md_engine *e, struct member *m, u32 slot)
{
	struct md_super *sb = &m->sb;

	fill_roles(e, sb);
	intent_fill(e, sb);
	sb->size = e->size;
	sb->raid_disks = e->geo.disks;
	sb->events = e->events;
	sb->utime = e->now;
	sb->resync_offset = e->dirty ? 0 : e->parity_good;
	sb->features |= e->j.present ? MD_FEATURE_JOURNAL : 0;
	if (slot != MD_JOURNAL_SLOT)
		fill_member(e, m, slot);
	md_super_build(sb, m->buf);
}

static void meta_done(struct md_engine *e, struct md_rq *rq, int err)
{
	struct meta_waiter *w, *next;
	struct md_io *io;

	if (err && rq->slot == MD_JOURNAL_SLOT && !e->j.failed)
		array_journal_failed(e);
	else if (err && rq->slot != MD_JOURNAL_SLOT)
		array_member_error(e, rq->slot);
	if (--e->meta_inflight)
		return;
	e->meta_written = e->meta_running;
	e->meta_running = 0;
	list_for_each_entry_safe (w, next, &e->meta_wait, link)
		if (w->generation <= e->meta_written) {
			list_del(&w->link);
			w->go(e, w);
		}
	while (e->meta_wanted == e->meta_written && !list_empty(&e->meta_ios)) {
		io = list_first_entry(&e->meta_ios, struct md_io, link);
		list_move_tail(&io->link, &e->flush_wait);
	}
}

static void write_super(struct md_engine *e, struct member *m, u32 slot)
{
	m->rq = (struct md_rq){
		.slot = slot,
		.dir = MD_WRITE,
		.flags = MD_FUA,
		.sector = m->sb.super_offset,
		.bytes = MD_SUPER_BYTES,
		.buf = m->buf,
		.done = meta_done,
	};
	engine_submit(e, &m->rq);
}

static void bad_written(struct md_engine *e, struct md_rq *rq, int err)
{
	if (err)
		meta_done(e, rq, err);
	else
		write_super(e, member_at(e, rq->slot), rq->slot);
}

/* The bad-block log goes first: a superblock that says that there is one finds it. */
static void write_meta(struct md_engine *e, struct member *m, u32 slot)
{
	u32 bytes;
	u64 at = md_bad_place(&m->sb, &bytes);

	fill_super(e, m, slot);
	e->meta_inflight++;
	if (m->bad_fresh && !m->bad_log)
		m->bad_log = kmalloc(bytes, ALLOC_KERNEL);
	if (!m->bad_fresh || !m->bad_log) { /* without memory next time: an entry too many in a log is no harm */
		write_super(e, m, slot);
		return;
	}
	m->bad_fresh = false;
	md_bad_build(&m->bad, &m->sb, m->bad_log);
	m->rq = (struct md_rq){ .slot = slot,
				.dir = MD_WRITE,
				.flags = MD_FUA,
				.sector = at,
				.bytes = bytes,
				.buf = m->bad_log,
				.done = bad_written };
	engine_submit(e, &m->rq);
}

static void write_supers(struct md_engine *e, struct meta_waiter *w)
{
	for (u64 m = slots_writable(e); m; m &= m - 1)
		write_meta(e, &e->member[__builtin_ctzll(m)], __builtin_ctzll(m));
	for (u64 m = e->heirs; m; m &= m - 1)
		write_meta(e, &e->heir[__builtin_ctzll(m)], MD_HEIR(__builtin_ctzll(m)));
	if (journal_active(e))
		write_meta(e, &e->j.dev, MD_JOURNAL_SLOT);
}

/* A pass keeps stripes busy; with a journal that has failed, they may have data that only the journal had. */
static bool nothing_is_written(const struct md_engine *e)
{
	bool busy = e->busy && (e->sync.kind == MD_SYNC_NONE || e->j.present);

	return !busy && !e->open_writes && !e->ncached && e->meta_wanted == e->meta_written;
}

/* The members' caches are empty: now the superblocks, after the bitmap's header. */
void meta_flush_done(struct md_engine *e)
{
	e->meta_running = e->meta_wanted;
	e->events++;
	e->meta_header.go = write_supers;
	if (!intent_header(e, &e->meta_header))
		write_supers(e, &e->meta_header);
}

/* A superblock must not claim more than was on the members when they were flushed for it. */
bool meta_is_flushed(const struct md_engine *e)
{
	return e->flush_meta_now || (e->meta_running && !e->meta_inflight);
}

void meta_pump(struct md_engine *e)
{
	if (e->quiescing && e->dirty && nothing_is_written(e)) {
		e->dirty = false;
		meta_want(e);
	}
	if (e->meta_running || e->meta_inflight || e->flush_meta_wanted || e->flush_meta_now ||
	    e->meta_wanted == e->meta_written || e->j.reclaim != RECLAIM_IDLE)
		return;
	e->flush_meta_wanted = true;
}

int md_set_read_only(struct md_engine *e, bool on)
{
	if (!on && e->j.failed)
		return fail(EROFS, "the journal has failed");
	e->read_only = on;
	if (!on && array_failed(e))
		array_must_record(e);
	return 0;
}

int md_set_devflags(struct md_engine *e, u32 slot, u8 set, u8 clear)
{
	struct member *m;

	if (slot >= e->geo.disks || !e->member[slot].present)
		return -EINVAL;
	m = &e->member[slot];
	if (((m->sb.devflags | set) & ~clear) == m->sb.devflags)
		return 0;
	m->sb.devflags = (u8)((m->sb.devflags | set) & ~clear);
	meta_want(e);
	return 0;
}

void md_set_time(struct md_engine *e, u64 now)
{
	e->now = now;
}

static u64 faulty(const struct md_engine *e)
{
	u64 m = 0;

	for (u32 i = 0; i < e->geo.disks; i++)
		if (e->member[i].faulty)
			m |= BIT(i);
	return m;
}

void md_status(const struct md_engine *e, struct md_status *out)
{
	*out = (struct md_status){
		.failed = array_failed(e),
		.in_sync = ~array_failed(e) & (BIT(e->geo.disks) - 1),
		.faulty = faulty(e),
		.events = e->events,
		.clean = !e->dirty,
		.parity_good = e->parity_good,
		.read_only = e->read_only,
		.journal_failed = e->j.failed,
		.sync = e->sync.kind,
		.sync_position = e->sync.position,
		.sync_done = e->sync.done,
		.sync_ended = e->sync.ended,
		.mismatches = e->sync.mismatches,
		.corrected = e->corrected,
		.ppl = e->ppl,
		.stripes = e->nstripes,
		.cached = e->ncached,
		.member_reads = e->stat_reads,
		.member_writes = e->stat_writes,
		.log_blocks = e->stat_log,
		.flushes = e->stat_flushes,
	};
	heir_status(e, out);
	intent_status(e, out);
}
