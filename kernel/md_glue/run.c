/* SPDX-License-Identifier: MIT
 *
 * Problem: devices that were collected become an array only if together they can serve every sector, and what a crash
 * left in the journal must be dealt with before anybody reads.
 *
 * Idea: the cores judge (md_assemble), recover the journal (md_journal_recover, here over blocking transfers) and run
 * (the engine). The array gets its size last, and loses it first.
 *
 *      judge --> throw out what does not belong --> journal --> engine, worker --> pages of the journal --> size,
 * partitions, resync stop: nobody has it open --> size 0 --> quiesce, settle --> worker ends --> devices given back
 *
 * Contract: md_glue.h. EINVAL, with the reason in the log, for what cannot be run here; EIO for an array with too few
 * members or with stale parity and a missing member; EBUSY to stop one that is in use.
 *
 * Locks: a->lock by the caller.
 */
#include <alloc/slab.h>
#include <core/clock.h>
#include <core/log.h>
#include <core/random.h>
#include <lib/err.h>
#include <lib/string.h>
#include <md/journal.h>
#include <md/ppl.h>
#include <task/task.h>
#include "md_glue.h"

struct start { /* what is needed during the start only */
	struct md_array *a;
	const struct md_super *sb[MD_MAX_DISKS * 2];
	struct md_disk *disk[MD_MAX_DISKS * 2];
	enum md_verdict verdict[MD_MAX_DISKS * 2];
	struct md_plan plan;
	struct md_recovery_result log;
	struct md_config config;
	void *bitmap, *bad[MD_SLOTS];
	struct list only; /* struct only_page: the journal alone has them */
	bool read_only;
};

struct only_page {
	struct list link;
	u64 sector;
	u8 data[MD_LOG_BLOCK];
};

/* ---- judging -------------------------------------------------------------------------------------------------- */

static int refuse_features(const struct md_array *a, const struct md_super *sb)
{
	static const struct {
		u32 feature;
		const char *what;
	} table[] = {
		{ MD_FEATURE_RESHAPE_ACTIVE | MD_FEATURE_NEW_OFFSET, "an unfinished reshape" },
		{ MD_FEATURE_CLUSTERED, "a cluster" },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(table); i++)
		if (sb->features & table[i].feature)
			return fail(EINVAL, "%s: it has %s, which is not supported", a->block.name, table[i].what);
	return 0;
}

static bool has_ppl(const struct md_array *a)
{
	return a->truth.features & (MD_FEATURE_PPL | MD_FEATURE_MULTIPLE_PPLS);
}

static int refuse(const struct start *s)
{
	const struct md_array *a = s->a;
	int err = refuse_features(a, &a->truth);

	if (err)
		return err;
	if (!md_geo_serves(&a->geo, s->plan.missing_slots))
		return fail(EIO, "%s: %u of %u members are missing or stale", a->block.name, s->plan.missing,
			    a->geo.disks);
	if (md_level_has_parity(a->geo.level) && s->plan.dirty && s->plan.missing && s->plan.journal == MD_NO_SLOT &&
	    !has_ppl(a))
		return fail(EIO, "%s: degraded and not stopped cleanly: parity may be stale", a->block.name);
	return 0;
}

static int judge(struct start *s)
{
	struct md_array *a = s->a;
	struct md_disk *d;
	u32 n = 0;
	int err;

	list_for_each_entry (d, &a->disks, entry) {
		if (n == ARRAY_SIZE(s->disk))
			return fail(EINVAL, "%s: too many devices", a->block.name);
		s->disk[n] = d;
		s->sb[n++] = &d->sb;
	}
	if (!n)
		return fail(EINVAL, "%s: no devices", a->block.name);
	err = md_assemble(s->sb, n, &s->plan, s->verdict);
	if (err)
		return err;
	a->truth = *s->sb[s->plan.newest];
	err = md_geo_init(&a->geo, a->truth.level, a->truth.layout, a->truth.raid_disks, a->truth.chunk, a->truth.size);
	return err ? err : refuse(s);
}

/* Slots for those that belong there; the others leave. Both locks. */
static void seat(struct start *s)
{
	struct md_array *a = s->a;
	struct md_disk *d, *next;
	u32 i = 0;

	list_for_each_entry_safe (d, next, &a->disks, entry) {
		enum md_verdict v = s->verdict[i++];

		if (v == MD_USED) {
			md_disk_seat(d, a->truth.roles[d->sb.dev_number]);
		} else if (v == MD_USED_AS_HEIR) {
			md_disk_seat(d, MD_HEIR(a->truth.roles[d->sb.dev_number]));
		} else if (v == MD_JOURNAL_DEV) {
			md_disk_seat(d, MD_JOURNAL_SLOT);
		} else if (v != MD_SPARE) {
			log_warn("%s: %s is left out: %s", a->block.name, d->dev->name, md_verdict_text(v));
			md_disk_free(d);
		}
	}
}

/* ---- the journal ------------------------------------------------------------------------------------------ */

static int journal_rw(struct md_array *a, enum block_op op, u32 slot, u64 sector, void *buf, u32 bytes)
{
	struct md_disk *d = a->slot[slot];

	return d ? block_rw(d->dev, op, d->sb.data_offset + sector, buf, bytes, BIO_DIRECT) : -ENODEV;
}

static int journal_read(void *ctx, u32 slot, u64 sector, void *buf, u32 bytes)
{
	return journal_rw(((struct start *)ctx)->a, BLOCK_READ, slot, sector, buf, bytes);
}

static bool has_heir(const struct md_array *a, u32 slot)
{
	return slot < MD_MAX_DISKS && a->slot[MD_HEIR(slot)];
}

static int journal_write(void *ctx, u32 slot, u64 sector, const void *buf, u32 bytes)
{
	struct md_array *a = ((struct start *)ctx)->a;
	int err = has_heir(a, slot) ? journal_rw(a, BLOCK_WRITE, MD_HEIR(slot), sector, (void *)(ulong)buf, bytes) : 0;

	return err ? err : journal_rw(a, BLOCK_WRITE, slot, sector, (void *)(ulong)buf, bytes);
}

static int journal_flush(void *ctx, u32 slot)
{
	struct md_array *a = ((struct start *)ctx)->a;
	int err = has_heir(a, slot) ? block_flush(a->slot[MD_HEIR(slot)]->dev) : 0;

	return err ? err : a->slot[slot] ? block_flush(a->slot[slot]->dev) : -ENODEV;
}

static int journal_data_only(void *ctx, u64 sector, const void *page)
{
	struct start *s = ctx;
	struct only_page *p = kmalloc(sizeof(*p), ALLOC_KERNEL);

	if (!p)
		return -ENOMEM;
	p->sector = sector;
	memcpy(p->data, page, MD_LOG_BLOCK);
	list_add_tail(&p->link, &s->only);
	return 0;
}

static int read_log(struct start *s, bool dry)
{
	static const struct md_recovery_ops ops = { journal_read, journal_write, journal_flush, journal_data_only };
	const struct md_super *j = &s->a->slot[MD_JOURNAL_SLOT]->sb;
	u32 seq;

	random_get(&seq, sizeof(seq));
	return md_journal_recover(&s->a->geo, j->data_size, j->recovery_offset, j->set_uuid, seq, &ops, s, dry,
				  &s->log);
}

static int recover_journal(struct start *s)
{
	struct md_array *a = s->a;
	struct md_disk *j = a->slot[MD_JOURNAL_SLOT];
	int err;

	if (!j)
		return 0;
	err = read_log(s, false);
	if (err)
		return fail(-err, "%s: its journal cannot be recovered", a->block.name);
	log_info("%s: journal: %u blocks, %u stripes replayed, %u pages in the journal only%s", a->block.name,
		 s->log.blocks, s->log.replayed, s->log.data_only, s->log.damaged ? ", torn at its end" : "");
	s->config.journal =
		(struct md_journal_config){ &j->sb, MD_WRITE_THROUGH, s->log.tail, s->log.head, s->log.seq };
	return 0;
}

/* The parity that was being written when the array was not stopped. */
static int recover_ppl(struct start *s)
{
	static const struct md_recovery_ops ops = { journal_read, journal_write, journal_flush, NULL };
	const struct md_super *sb[MD_MAX_DISKS] = { NULL };
	struct md_array *a = s->a;
	struct md_ppl_result res;
	int err;

	if (!has_ppl(a))
		return 0;
	for (u32 i = 0; i < a->geo.disks; i++)
		if (a->slot[i] && s->plan.in_sync[i])
			sb[i] = &a->slot[i]->sb;
	err = md_ppl_recover(&a->geo, sb, s->plan.dirty, &ops, s, false, &res);
	if (err)
		return fail(-err, "%s: its partial parity log cannot be recovered", a->block.name);
	s->config.ppl_generation = res.generation;
	s->config.trust_parity = s->plan.dirty && md_ppl_trust(&res, s->plan.missing);
	if (s->plan.dirty)
		log_info("%s: partial parity log: %u writes made whole, %u of missing members, %u damaged",
			 a->block.name, res.entries, res.skipped, res.damaged);
	if (s->plan.dirty && s->plan.missing && !s->config.trust_parity)
		return fail(EIO, "%s: degraded and not stopped cleanly: parity may be stale", a->block.name);
	return 0;
}

/* What only the journal had goes to the stripe cache, and from there to the members. */
static int inject(struct start *s)
{
	struct md_array *a = s->a;
	struct only_page *p;

	list_for_each_entry (p, &s->only, link) {
		int err = -EBUSY;

		for (int tries = 0; err == -EBUSY && tries < 100; tries++) {
			mutex_lock(&a->engine_lock);
			err = md_inject(a->e, p->sector, p->data);
			mutex_unlock(&a->engine_lock);
			if (err == -EBUSY)
				md_settle(a);
		}
		if (err)
			return err;
	}
	md_settle(a);
	return 0;
}

/* ---- starting and stopping ---------------------------------------------------------------------------------- */

static void reset(struct md_array *a)
{
	struct md_disk *d, *next;

	mutex_lock(&a->engine_lock);
	md_engine_destroy(a->e);
	a->e = NULL;
	a->last = (struct md_status){ 0 };
	mutex_unlock(&a->engine_lock);
	list_for_each_entry_safe (d, next, &a->disks, entry) {
		mutex_lock(&a->engine_lock);
		md_disk_free(d);
		mutex_unlock(&a->engine_lock);
	}
	a->announced = a->read_only = a->lacks_journal = a->gave_up = a->quiescing = a->frozen = false;
	a->speed_min = a->speed_max = a->holds = 0;
	a->suspend_lo = a->suspend_hi = 0;
	a->safe_ns = MD_SAFE_NS;
	a->last_sync = MD_SYNC_NONE;
	a->block.limits.read_only = false;
	a->mode = MD_WRITE_THROUGH;
}

static int start_worker(struct md_array *a)
{
	int err = md_hands_start(a);

	a->stopping = a->kicked = a->quiescing = false;
	if (!err)
		err = kthread_run(&a->worker, md_worker, a, "%s_%s", a->block.name, md_level_name(a->geo.level));
	if (err)
		md_hands_end(a);
	return err;
}

static void end_worker(struct md_array *a)
{
	WRITE_ONCE(a->stopping, true);
	waitq_wake_all(&a->wake);
	kthread_join(&a->worker);
	md_hands_end(a);
}

/* From the newest member. */
static int read_bitmap(struct start *s)
{
	struct md_array *a = s->a;
	struct md_disk *best = NULL;
	int err;

	for (u32 i = 0; i < a->geo.disks; i++)
		if (a->slot[i] && (!best || a->slot[i]->sb.events > best->sb.events))
			best = a->slot[i];
	if (!best || !(a->truth.features & MD_FEATURE_BITMAP_OFFSET))
		return 0;
	err = md_disk_read_bitmap(best, (s32)a->truth.bitmap_or_ppl, &s->bitmap, &s->config.bitmap_bytes);
	s->config.bitmap = s->bitmap;
	return err ? fail(-err, "%s: its bitmap cannot be read", a->block.name) : 0;
}

static int read_bad_blocks(struct start *s, u32 slot)
{
	const struct md_disk *d = s->a->slot[slot];
	u32 bytes;
	u64 at = md_bad_place(&d->sb, &bytes);

	if (!(d->sb.features & MD_FEATURE_BAD_BLOCKS) || !bytes)
		return 0;
	s->bad[slot] = kmalloc(bytes, ALLOC_KERNEL);
	return s->bad[slot] ? block_rw(d->dev, BLOCK_READ, at, s->bad[slot], bytes, BIO_DIRECT) : -ENOMEM;
}

static int fill_heir(struct start *s, u32 slot)
{
	const struct md_disk *d = s->a->slot[MD_HEIR(slot)];
	int err = read_bad_blocks(s, MD_HEIR(slot));

	s->config.heir[slot] =
		(struct md_member_config){ &d->sb, s->plan.heir_whole[slot], s->bad[MD_HEIR(slot)], d->dev->sectors };
	return err;
}

/* The members as the engine wants them. */
static int fill_members(struct start *s)
{
	struct md_array *a = s->a;
	int err = 0;

	for (u32 i = 0; !err && i < a->geo.disks; i++) {
		if (!a->slot[i])
			continue;
		err = read_bad_blocks(s, i);
		s->config.member[i] = (struct md_member_config){ &a->slot[i]->sb, s->plan.in_sync[i], s->bad[i],
								 a->slot[i]->dev->sectors };
		if (!err && has_heir(a, i))
			err = fill_heir(s, i);
	}
	return err;
}

static int start_engine(struct start *s)
{
	static const struct md_ops ops = { md_engine_wants };
	struct md_array *a = s->a;
	int err;

	s->config.ops = &ops;
	s->config.ctx = a;
	s->config.read_only = s->read_only;
	s->config.stripes = MD_STRIPES;
	s->config.now = clock_real_ns() / NSEC_PER_SEC;
	err = fill_members(s);
	if (!err)
		err = md_engine_create(&a->e, &s->config);
	if (err)
		return err;
	a->geo = *md_engine_geo(a->e);
	md_status(a->e, &a->last);
	err = start_worker(a);
	if (err)
		return err;
	err = inject(s);
	if (err)
		end_worker(a);
	return err;
}

static int run(struct start *s)
{
	struct md_array *a = s->a;
	int err = judge(s);

	if (err)
		return err;
	a->lacks_journal = s->plan.needs_journal; /* what only it had is lost: to look at, until it is back */
	s->read_only |= a->lacks_journal;
	mutex_lock(&a->engine_lock);
	seat(s);
	mutex_unlock(&a->engine_lock);
	err = recover_journal(s);
	if (!err)
		err = recover_ppl(s);
	if (!err)
		err = read_bitmap(s);
	if (!err)
		err = start_engine(s);
	if (err)
		return err;
	if (a->lacks_journal)
		log_warn("%s: its journal is missing: read-only", a->block.name);
	a->read_only = a->block.limits.read_only = s->read_only;
	WRITE_ONCE(a->running, true);
	block_set_sectors(&a->block, a->geo.sectors);
	md_kick(a);
	if (block_rescan(&a->block))
		log_warn("%s: its partition table cannot be read", a->block.name);
	log_info("%s: %s of %u members, %u in sync, %llu MiB", a->block.name, md_level_name(a->geo.level), a->geo.disks,
		 a->geo.disks - s->plan.missing, (unsigned long long)a->geo.sectors >> 11);
	return 0;
}

static void start_free(struct start *s)
{
	struct only_page *p, *next;

	list_for_each_entry_safe (p, next, &s->only, link)
		kfree(p);
	kfree(s->bitmap);
	for (u32 i = 0; i < MD_SLOTS; i++)
		kfree(s->bad[i]);
	kfree(s);
}

static struct start *start_new(struct md_array *a, bool read_only)
{
	struct start *s = kzalloc(sizeof(*s), ALLOC_KERNEL);

	if (!s)
		return NULL;
	s->a = a;
	s->read_only = read_only;
	list_init(&s->only);
	return s;
}

int md_array_run(struct md_array *a, bool read_only)
{
	struct start *s;
	int err;

	if (a->running)
		return -EBUSY;
	s = start_new(a, read_only);
	if (!s)
		return -ENOMEM;
	err = run(s);
	start_free(s);
	if (err && !a->running) {
		mutex_lock(&a->engine_lock);
		md_engine_destroy(a->e);
		a->e = NULL;
		mutex_unlock(&a->engine_lock);
	}
	md_changed(a);
	return err;
}

/* A log with stripes in it would be replayed over what the members have. */
static int take_empty_log(struct start *s)
{
	struct md_array *a = s->a;
	int err = read_log(s, true);

	if (!err && (s->log.replayed || s->log.data_only))
		return fail(EINVAL, "%s: %s is a journal in use", a->block.name, a->slot[MD_JOURNAL_SLOT]->dev->name);
	if (!err)
		err = recover_journal(s);
	if (err)
		return err;
	err = -EBUSY; /* a read came in between */
	for (int tries = 0; err == -EBUSY && tries < 100; tries++) {
		md_settle(a);
		mutex_lock(&a->engine_lock);
		err = md_set_journal(a->e, &s->config.journal);
		mutex_unlock(&a->engine_lock);
	}
	return err;
}

int md_array_take_journal(struct md_array *a, struct md_disk *d)
{
	struct start *s = start_new(a, true);
	int err;

	if (!s)
		return -ENOMEM;
	mutex_lock(&a->engine_lock);
	md_disk_seat(d, MD_JOURNAL_SLOT);
	mutex_unlock(&a->engine_lock);
	err = take_empty_log(s);
	start_free(s);
	if (err)
		return err;
	a->lacks_journal = false;
	a->truth.features |= MD_FEATURE_JOURNAL;
	a->mode = MD_WRITE_THROUGH;
	md_settle(a); /* the superblocks say so */
	log_info("%s: %s is its journal", a->block.name, d->dev->name);
	return 0;
}

/* Everything that was acknowledged is on the members, and they say that the array is clean. No pass begins until
 * quiescing is over. */
static void quiesce(struct md_array *a)
{
	a->quiescing = true;
	md_settle(a);
}

int md_array_stop(struct md_array *a)
{
	if (!a->running && list_empty(&a->disks) && !a->announced)
		return -ENXIO;
	if (atomic_read(&a->block.openers) > 1 || block_partitions_used(&a->block))
		return fail(EBUSY, "%s is in use", a->block.name);
	if (a->running) {
		(void)md_array_suspend(a, 0, 0);
		cache_write_range(a->block.cache_file->inode->cache, 0, ~0ULL, ~0ULL, WRITE_SYNC);
		cache_wait_range(a->block.cache_file->inode->cache, 0, ~0ULL);
		quiesce(a);
		WRITE_ONCE(a->running, false);
		md_bypass_drain(a);
		block_set_sectors(&a->block, 0);
		if (block_rescan(&a->block)) /* without a size: its partitions go */
			log_warn("%s: its partitions cannot be dropped", a->block.name);
		end_worker(a);
	}
	reset(a);
	log_info("%s: stopped", a->block.name);
	md_changed(a);
	return 0;
}

int md_array_set_read_only(struct md_array *a, bool on)
{
	struct md_status st;
	int err;

	if (!a->running)
		return -ENXIO;
	md_snapshot(a, &st); /* the engine refuses writes by itself when a journal dies */
	if (on ? a->read_only : !a->read_only && !st.read_only)
		return on ? -ENXIO : 0;
	if (on && atomic_read(&a->block.openers) > 1)
		return -EBUSY;
	if (!on && a->lacks_journal)
		return fail(EINVAL, "%s: its journal is missing", a->block.name);
	if (on)
		quiesce(a);
	mutex_lock(&a->engine_lock);
	err = md_set_read_only(a->e, on);
	a->quiescing = false;
	mutex_unlock(&a->engine_lock);
	if (err)
		return err;
	a->read_only = a->block.limits.read_only = on;
	md_kick(a);
	md_changed(a);
	return 0;
}
