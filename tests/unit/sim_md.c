/* SPDX-License-Identifier: MIT
 *
 * Problem: the bugs that matter in RAID show only when power fails between two particular writes.
 *
 * Idea: memory disks with two contents, `stable` and `view`, and the ordered list of writes between them. A flush
 * moves everything to stable; a crash moves a random subset (FUA writes always), in order, and tears what was still
 * queued into sectors.
 *
 * Contract: sim_md.h.
 *
 * Locks: none; one thread.
 */
#include <stdlib.h>
#include <linux/raid/md_p.h>
#include <alloc/slab.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/string.h>
#include <md/bitmap.h>
#include "sim_md.h"

#define BITMAP_SECTOR 16

struct write {
	struct list link;
	u64 sector;
	u32 bytes;
	bool fua;
	u8 data[];
};

u64 sim_random(struct sim *s)
{
	s->rng ^= s->rng << 13;
	s->rng ^= s->rng >> 7;
	s->rng ^= s->rng << 17;
	return s->rng * 0x2545f4914f6cdd1dULL >> 11;
}

static struct sim_disk *disk_of(struct sim *s, u32 slot)
{
	return &s->disk[s->at[slot]];
}

static void disk_init(struct sim_disk *d, u64 sectors)
{
	*d = (struct sim_disk){ .sectors = sectors, .bad_sector = ~0ULL, .stuck = ~0ULL };
	d->stable = calloc(1, sectors * 512);
	d->view = calloc(1, sectors * 512);
	list_init(&d->unflushed);
}

static void disk_flush(struct sim_disk *d, bool all, struct sim *s)
{
	while (!list_empty(&d->unflushed)) {
		struct write *w = list_first_entry(&d->unflushed, struct write, link);

		list_del(&w->link);
		if (all || w->fua || sim_random(s) & 1)
			memcpy(d->stable + w->sector * 512, w->data, w->bytes);
		free(w);
	}
}

static int disk_write(struct sim_disk *d, u64 sector, const void *buf, u32 bytes, bool fua)
{
	struct write *w;

	ensure(sector + bytes / 512 <= d->sectors);
	if (d->dead || d->stuck - sector < bytes / 512)
		return -EIO;
	w = malloc(sizeof(*w) + bytes);
	*w = (struct write){ .sector = sector, .bytes = bytes, .fua = fua };
	memcpy(w->data, buf, bytes);
	memcpy(d->view + sector * 512, buf, bytes);
	list_add_tail(&w->link, &d->unflushed);
	if (d->bad_sector - sector < bytes / 512)
		d->bad_sector = ~0ULL;
	return 0;
}

static int disk_read(struct sim_disk *d, u64 sector, void *buf, u32 bytes)
{
	ensure(sector + bytes / 512 <= d->sectors);
	if (d->dead || d->bad_sector - sector < bytes / 512)
		return -EIO;
	memcpy(buf, d->view + sector * 512, bytes);
	return 0;
}

/* One piece of a request's memory. */
struct transfer {
	struct sim *s;
	struct sim_disk *d;
	const struct md_rq *rq;
};

static int transfer_piece(void *arg, u32 at, void *base, u32 bytes)
{
	const struct transfer *t = arg;
	u64 sector = t->rq->sector + at / 512;

	return t->rq->dir == MD_READ ? disk_read(t->d, sector, base, bytes)
				     : disk_write(t->d, sector, base, bytes, t->rq->flags & MD_FUA);
}

static bool tick(struct sim *s)
{
	if (s->off || ++s->ops >= s->cut_at)
		s->off = true;
	return !s->off;
}

static void submit(void *ctx, struct md_rq *rq)
{
	list_add_tail(&rq->link, &((struct sim *)ctx)->queue);
}
const struct md_ops sim_ops = { .submit = submit };

bool sim_step(struct sim *s, struct md_engine *e)
{
	struct md_rq *rq, *pick = NULL;
	u64 n = 0;
	struct sim_disk *d;
	int err = 0;

	if (list_empty(&s->queue) || !tick(s))
		return false;
	list_for_each_entry (rq, &s->queue, link)
		if (!(s->stalled & BIT(s->at[rq->slot])) && sim_random(s) % ++n == 0)
			pick = rq;
	if (!pick)
		pick = list_first_entry(&s->queue, struct md_rq, link);
	list_del(&pick->link);
	d = disk_of(s, pick->slot);
	if (pick->dir != MD_FLUSH)
		err = md_rq_for_each(pick, transfer_piece, &(struct transfer){ s, d, pick });
	else if (d->dead)
		err = -EIO;
	else
		disk_flush(d, true, s);
	s->errors += err != 0;
	md_complete(e, pick, err);
	return true;
}

/* What is left of a piece that was under way when power failed: any of its sectors. */
static int tear_piece(void *arg, u32 at, void *base, u32 bytes)
{
	const struct transfer *t = arg;

	for (u32 k = 0; k < bytes / 512; k++)
		if (sim_random(t->s) & 1)
			(void)disk_write(t->d, t->rq->sector + at / 512 + k, (u8 *)base + k * 512, 512, false);
	return 0;
}

void sim_crash(struct sim *s)
{
	struct md_rq *rq;

	list_for_each_entry (rq, &s->queue, link) {
		struct sim_disk *d = disk_of(s, rq->slot);

		if (rq->dir == MD_WRITE)
			(void)md_rq_for_each(rq, tear_piece, &(struct transfer){ s, d, rq });
	}
	list_init(&s->queue);
	for (u32 i = 0; i <= s->disks + 1; i++) {
		struct sim_disk *d = &s->disk[i];

		if (!d->view)
			continue;
		disk_flush(d, false, s);
		memcpy(d->view, d->stable, d->sectors * 512);
	}
	s->off = false;
	s->cut_at = ~0ULL;
}

void sim_create(struct sim *s, u64 seed, int level, u32 layout, u32 disks, u32 chunk, u64 member_sectors, bool journal)
{
	struct md_super sb = {
		.level = level,
		.layout = layout,
		.raid_disks = disks,
		.chunk = chunk,
		.size = level > 0 ? member_sectors - (chunk ? member_sectors % chunk : 0) : 0,
		.data_offset = SIM_DATA_OFFSET,
		.bblog_offset = 24 - 8,
		.bblog_size = 8,
		.data_size = member_sectors,
		.super_offset = 8,
		.events = 1,
		.resync_offset = MD_CLEAN,
		.max_dev = disks + journal,
		.features = journal ? MD_FEATURE_JOURNAL : 0,
		.set_name = "sim",
		.set_uuid = { 1, 2, 3 },
	};
	u64 buf[MD_SUPER_BYTES / 8];

	*s = (struct sim){
		.rng = seed * 0x9e3779b97f4a7c15ULL + 1, .disks = disks, .journal = journal, .cut_at = ~0ULL
	};
	list_init(&s->queue);
	for (u32 i = 0; i < disks; i++)
		s->at[i] = i;
	s->at[MD_JOURNAL_SLOT] = disks;
	for (u32 i = 0; i < disks + journal; i++)
		sb.roles[i] = i < disks ? i : MD_ROLE_JOURNAL;
	for (u32 i = 0; i < disks + journal; i++) {
		if (level <= 0)
			sb.data_size = member_sectors - i / 2 * 64; /* of several sizes */
		if (i == disks)
			sb.data_size = SIM_LOG_BLOCKS * MD_LOG_SECTORS;
		disk_init(&s->disk[i], SIM_DATA_OFFSET + sb.data_size + SIM_PPL_SECTORS);
		sb.dev_number = i;
		md_super_build(&sb, buf);
		memcpy(s->disk[i].stable + 8 * 512, buf, sizeof(buf));
		memcpy(s->disk[i].view + 8 * 512, buf, sizeof(buf));
	}
}

void sim_add_bitmap(struct sim *s, u32 chunk_bytes, u64 sync_sectors)
{
	struct md_bitmap b = { .version = 4,
			       .uuid = { 1, 2, 3 },
			       .events = 1,
			       .events_cleared = 1,
			       .sync_sectors = sync_sectors,
			       .chunk_bytes = chunk_bytes,
			       .daemon_sleep_s = 5 };
	struct md_super sb;
	u64 buf[MD_SUPER_BYTES / 8];

	s->bitmap = true;
	for (u32 i = 0; i < s->disks; i++) {
		u8 *views[] = { s->disk[i].stable, s->disk[i].view };

		ensure(md_super_decode(s->disk[i].view + 8 * 512, 8, &sb) == 0);
		sb.features |= MD_FEATURE_BITMAP_OFFSET;
		sb.bitmap_or_ppl = BITMAP_SECTOR - 8;
		md_super_build(&sb, buf);
		for (int k = 0; k < 2; k++) {
			memcpy(views[k] + 8 * 512, buf, sizeof(buf));
			md_bitmap_build(&b, views[k] + BITMAP_SECTOR * 512);
		}
	}
}

u32 sim_make_ppl(struct sim *s, u32 disk, u32 sectors)
{
	struct sim_disk *d = &s->disk[disk];
	u8 *views[] = { d->stable, d->view };
	u64 at = d->sectors - SIM_PPL_SECTORS;

	for (int k = 0; k < 2; k++) {
		md_ppl_begin(views[k] + at * 512, md_ppl_signature((const u8[16]){ 1, 2, 3 }), 0);
		md_ppl_end(views[k] + at * 512);
	}
	return (u16)(at - 8) | sectors << 16;
}

void sim_add_ppl(struct sim *s, u32 sectors)
{
	struct md_super sb;
	u64 buf[MD_SUPER_BYTES / 8];

	s->ppl = true;
	for (u32 i = 0; i < s->disks; i++) {
		u8 *views[] = { s->disk[i].stable, s->disk[i].view };

		ensure(md_super_decode(s->disk[i].view + 8 * 512, 8, &sb) == 0);
		sb.features |= MD_FEATURE_PPL;
		sb.bitmap_or_ppl = sim_make_ppl(s, i, sectors);
		md_super_build(&sb, buf);
		for (int k = 0; k < 2; k++)
			memcpy(views[k] + 8 * 512, buf, sizeof(buf));
	}
}

void sim_replace_disk(struct sim *s, u32 disk)
{
	struct sim_disk *d = &s->disk[disk];

	disk_flush(d, true, s);
	free(d->stable);
	free(d->view);
	disk_init(d, d->sectors);
}

void sim_add_spare(struct sim *s, struct md_super *sb)
{
	struct sim_disk *d = &s->disk[s->disks + 1];
	u32 events = 0;

	for (u32 i = 0; i < s->disks; i++) {
		struct md_super *other = &s->sb[i];

		ensure(md_super_decode(s->disk[i].view + 8 * 512, 8, other) == 0);
		if (other->events >= events)
			*sb = *other;
		events = sb->events;
	}
	disk_init(d, SIM_DATA_OFFSET + sb->data_size + SIM_PPL_SECTORS);
	sb->features &= MD_FEATURE_PPL | MD_FEATURE_MULTIPLE_PPLS | MD_FEATURE_JOURNAL;
	sb->dev_number = sb->max_dev;
	if (s->ppl)
		(void)sim_make_ppl(s, s->disks + 1, SIM_PPL_SECTORS);
}

void sim_destroy(struct sim *s)
{
	for (u32 i = 0; i <= s->disks + 1; i++) {
		if (!s->disk[i].view)
			continue;
		disk_flush(&s->disk[i], true, s);
		free(s->disk[i].stable);
		free(s->disk[i].view);
	}
}

/* ---- recovery's blocking I/O ---- */

struct recovering {
	struct sim *s;
	u64 missing, heirs;
	u64 *location;
	u8 *pages;
	u32 n;
};

/* The journal has none. */
static u64 slot_bit(u32 slot)
{
	return slot < MD_MAX_DISKS ? BIT(slot) : 0;
}

static int rec_read(void *ctx, u32 slot, u64 sector, void *buf, u32 bytes)
{
	struct recovering *r = ctx;

	if (!tick(r->s))
		return -EIO;
	return disk_read(disk_of(r->s, slot), SIM_DATA_OFFSET + sector, buf, bytes);
}

static int rec_write(void *ctx, u32 slot, u64 sector, const void *buf, u32 bytes)
{
	struct recovering *r = ctx;

	if (r->missing & slot_bit(slot))
		return -ENODEV;
	if (!tick(r->s))
		return -EIO;
	if (r->heirs & slot_bit(slot) &&
	    disk_write(disk_of(r->s, MD_HEIR(slot)), SIM_DATA_OFFSET + sector, buf, bytes, false))
		return -EIO;
	return disk_write(disk_of(r->s, slot), SIM_DATA_OFFSET + sector, buf, bytes, false);
}

static int rec_flush(void *ctx, u32 slot)
{
	struct recovering *r = ctx;

	if (r->missing & slot_bit(slot))
		return -ENODEV;
	if (!tick(r->s))
		return -EIO;
	if (r->heirs & slot_bit(slot))
		disk_flush(disk_of(r->s, MD_HEIR(slot)), true, r->s);
	disk_flush(disk_of(r->s, slot), true, r->s);
	return 0;
}

static int rec_data_only(void *ctx, u64 location, const void *page)
{
	struct recovering *r = ctx;

	r->location = realloc(r->location, (r->n + 1) * 8);
	r->pages = realloc(r->pages, (size_t)(r->n + 1) * MD_LOG_BLOCK);
	r->location[r->n] = location;
	memcpy(r->pages + (size_t)r->n++ * MD_LOG_BLOCK, page, MD_LOG_BLOCK);
	return 0;
}

static const struct md_recovery_ops rec_ops = { rec_read, rec_write, rec_flush, rec_data_only };

static int inject_all(struct recovering *r, struct md_engine *e)
{
	for (u32 i = 0; i < r->n; i++) {
		int err;

		while ((err = md_inject(e, r->location[i], r->pages + (size_t)i * MD_LOG_BLOCK)) == -EBUSY) {
			md_run(e);
			if (!sim_step(r->s, e))
				return r->s->off ? -EIO : -EBUSY;
		}
		if (err < 0)
			return err;
	}
	return 0;
}

/* Those without a superblock, or without a disk, count as members of another array. */
static int load(struct sim *s, struct md_plan *plan, const struct md_super **sb)
{
	enum md_verdict verdict[SIM_DISKS + 2];
	u32 n = s->disks + 2;

	for (u32 i = 0; i < n; i++) {
		u64 buf[MD_SUPER_BYTES / 8] = { 0 };

		s->sb[i] = (struct md_super){ 0 };
		sb[i] = &s->sb[i];
		if (s->disk[i].view)
			memcpy(buf, s->disk[i].view + 8 * 512, sizeof(buf));
		if (i >= s->disks && !buf[0])
			continue;
		/* A torn superblock write is a member without a superblock; the tests' writes are whole. */
		ensure(md_super_decode(buf, 8, &s->sb[i]) == 0);
		if (md_super_check(buf, &s->sb[i], s->disk[i].sectors) < 0 || s->disk[i].dead)
			s->sb[i].events = 0;
	}
	return md_assemble(sb, n, plan, verdict);
}

static int bitmap_read(void *disk, u64 sector, void *buf, u32 bytes)
{
	return disk_read(disk, sector, buf, bytes);
}

/* From the newest member that is here. */
static int read_bitmap(struct sim *s, struct md_config *c, void **image)
{
	u32 best = MD_NO_SLOT;

	for (u32 i = 0; i < s->disks; i++)
		if (c->member[i].sb && (best == MD_NO_SLOT || c->member[i].sb->events > c->member[best].sb->events))
			best = i;
	return md_bitmap_read(c->member[best].sb, (s32)c->member[best].sb->bitmap_or_ppl, bitmap_read, disk_of(s, best),
			      image, &c->bitmap_bytes);
}

static int recover_ppl(struct sim *s, const struct md_plan *plan, struct recovering *r, struct md_config *c)
{
	const struct md_super *truth = &s->sb[plan->newest], *sb[MD_MAX_DISKS] = { NULL };
	struct md_ppl_result res;
	struct md_geo g;
	int err = md_geo_init(&g, truth->level, truth->layout, truth->raid_disks, truth->chunk, truth->size);

	for (u32 i = 0; i < s->disks; i++)
		if (c->member[i].sb && c->member[i].in_sync)
			sb[i] = c->member[i].sb;
	if (!err)
		err = md_ppl_recover(&g, sb, plan->dirty, &rec_ops, r, false, &res);
	c->ppl_generation = res.generation;
	c->trust_parity = !err && plan->dirty && md_ppl_trust(&res, r->missing);
	return err;
}

static struct md_member_config member_config(struct sim *s, const struct md_super **sb, u32 disk, bool in_sync)
{
	return (struct md_member_config){ sb[disk], in_sync, s->disk[disk].view + 24 * 512, s->disk[disk].sectors };
}

int sim_start(struct sim *s, u64 missing, enum md_journal_mode mode, struct md_engine **out,
	      struct md_recovery_result *rec)
{
	const struct md_super *sb[SIM_DISKS + 2];
	struct recovering r = { .s = s };
	struct md_config c = { .ops = &sim_ops, .ctx = s, .stripes = 24 };
	struct md_plan plan;
	struct md_geo g;
	void *image = NULL;
	int err = load(s, &plan, sb);

	*out = NULL;
	if (err < 0)
		return err;
	for (u32 i = 0; i < s->disks; i++) {
		if (missing & BIT(i) || plan.member[i] == MD_NO_SLOT) {
			r.missing |= BIT(i);
			continue;
		}
		s->at[i] = plan.member[i];
		c.member[i] = member_config(s, sb, plan.member[i], plan.in_sync[i]);
		if (plan.heir[i] == MD_NO_SLOT)
			continue;
		s->at[MD_HEIR(i)] = plan.heir[i];
		c.heir[i] = member_config(s, sb, plan.heir[i], plan.heir_whole[i]);
		r.heirs |= BIT(i);
	}
	if (s->journal && plan.journal != MD_NO_SLOT) {
		const struct md_super *j = sb[plan.journal];

		err = md_geo_init(&g, j->level, j->layout, j->raid_disks, j->chunk, j->size);
		if (!err)
			err = md_journal_recover(&g, j->data_size, j->recovery_offset, j->set_uuid,
						 sim_random(s) & 0xffffffff, &rec_ops, &r, false, rec);
		c.journal = (struct md_journal_config){ j, mode, rec->tail, rec->head, rec->seq };
	}
	if (!err && s->ppl)
		err = recover_ppl(s, &plan, &r, &c);
	if (!err && s->bitmap)
		err = read_bitmap(s, &c, &image);
	c.bitmap = image;
	c.now = s->now;
	if (!err)
		err = md_engine_create(out, &c);
	kfree(image);
	if (!err)
		err = inject_all(&r, *out);
	free(r.location);
	free(r.pages);
	return err;
}

void sim_run(struct sim *s, struct md_engine *e)
{
	struct md_status st;

	md_run(e);
	md_status(e, &st);
	for (u64 m = st.heirs_due; m; m &= m - 1) {
		u32 slot = (u32)__builtin_ctzll(m);

		if (!md_inherit(e, slot))
			s->at[slot] = s->at[MD_HEIR(slot)];
	}
	if (st.heirs_due)
		md_run(e);
}

bool sim_settle(struct sim *s, struct md_engine *e)
{
	do {
		sim_run(s, e);
	} while (!md_is_idle(e) && sim_step(s, e));
	if (!s->off)
		ensure(md_is_idle(e)); /* otherwise something waits for what never comes */
	return !s->off;
}

static void rw_done(struct md_io *io, int err)
{
	*(int *)io->owner = err;
}

int sim_rw(struct sim *s, struct md_engine *e, enum md_dir dir, u64 sector, u32 sectors, void *buf)
{
	s->vec = (struct md_vec){ buf, (size_t)sectors * 512 };
	s->io_err = 1;
	s->io = (struct md_io){ .dir = dir,
				.sector = sector,
				.sectors = sectors,
				.vec = &s->vec,
				.nvec = 1,
				.done = rw_done,
				.owner = &s->io_err };
	md_submit(e, &s->io);
	do {
		sim_run(s, e);
	} while (s->io_err == 1 && sim_step(s, e));
	ensure(s->io_err != 1 || s->off);
	return s->io_err == 1 ? -EINTR : s->io_err;
}
