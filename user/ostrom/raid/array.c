/* SPDX-License-Identifier: MIT
 *
 * Problem: the engine asks for I/O and is told when it is done; files answer at once.
 *
 * Idea: a queue between the two. submit only queues; the pump takes one request after the other, does it with
 * pread, pwrite or fdatasync, reports it, and lets the engine go on. Requests of one turn of the engine share their
 * journal flush just as in the kernel.
 *
 * Contract: raid_priv.h. Without `write` nothing is written: the journal is only read, and an array whose newest
 * data only the journal has is refused.
 *
 * Locks: none; one thread.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <linux/raid/md_p.h>
#include <time.h>
#include <md/bitmap.h>
#include "ostrom.h"
#include "raid/raid_priv.h"

/* ---- opening ---- */

static int judge(struct raid *r)
{
	const struct md_super **sb = calloc(r->n, sizeof(*sb));
	int err;

	for (u32 i = 0; i < r->n; i++) {
		sb[i] = &r->im[i].sb;
		if (r->im[i].verdict < 0) {
			say_error("%s: not to be used: %s", r->im[i].path, strerror(-r->im[i].verdict));
			free(sb);
			return r->im[i].verdict;
		}
	}
	err = md_assemble(sb, r->n, &r->plan, r->verdict);
	free(sb);
	if (err < 0)
		return err;
	const struct md_super *truth = &r->im[r->plan.newest].sb;

	err = md_geo_init(&r->geo, truth->level, truth->layout, truth->raid_disks, truth->chunk, truth->size);
	if (err < 0)
		say_error("%s of this layout cannot be run here", md_level_name(truth->level));
	return err;
}

int raid_open(struct raid *r, char **paths, int n, bool writable)
{
	int err = 0;

	*r = (struct raid){ 0 };
	list_init(&r->queue);
	if (n < 1) {
		say_error("no devices given");
		return -EINVAL;
	}
	r->im = calloc(n, sizeof(*r->im));
	r->verdict = calloc(n, sizeof(*r->verdict));
	for (int i = 0; i < n && !err; i++) {
		err = image_open(&r->im[i], paths[i], writable);
		if (!err)
			r->n++;
	}
	if (!err)
		err = judge(r);
	for (u32 i = 0; !err && i < r->geo.disks; i++)
		if (r->plan.member[i] != MD_NO_SLOT)
			r->slot[i] = &r->im[r->plan.member[i]];
	for (u32 i = 0; !err && i < r->geo.disks; i++)
		if (r->plan.heir[i] != MD_NO_SLOT)
			r->slot[MD_HEIR(i)] = &r->im[r->plan.heir[i]];
	if (!err && r->plan.journal != MD_NO_SLOT)
		r->slot[MD_JOURNAL_SLOT] = &r->im[r->plan.journal];
	return err;
}

void raid_print_plan(const struct raid *r)
{
	const struct md_super *t = &r->im[r->plan.newest].sb;

	printf("%s of %u members, %s, chunk %u KiB, %" PRIu64 " KiB, name %s\n", md_level_name(t->level), t->raid_disks,
	       md_layout_name(t->level, t->layout) ? md_layout_name(t->level, t->layout) : "-", t->chunk / 2,
	       r->geo.sectors / 2, t->set_name);
	printf("state: %s, %s%s\n", r->plan.dirty ? "not stopped cleanly" : "clean",
	       !r->plan.missing                                ? "complete"
	       : md_geo_serves(&r->geo, r->plan.missing_slots) ? "degraded"
							       : "too many missing",
	       r->plan.needs_journal ? ", its journal is missing" : "");
	for (u32 i = 0; i < r->n; i++) {
		const struct md_super *sb = &r->im[i].sb;

		printf("  %s: events %" PRIu64 ", %s", r->im[i].path, sb->events, md_verdict_text(r->verdict[i]));
		if (r->verdict[i] == MD_USED)
			printf(" slot %u%s", t->roles[sb->dev_number],
			       r->plan.in_sync[t->roles[sb->dev_number]] ? "" : ", rebuilding");
		if (r->verdict[i] == MD_USED_AS_HEIR)
			printf(" of slot %u", t->roles[sb->dev_number]);
		printf("\n");
	}
	for (u32 i = 0; i < r->geo.disks; i++)
		if (!r->slot[i])
			printf("  slot %u: missing\n", i);
}

/* ---- the journal before the start ---- */

static int log_read(void *ctx, u32 slot, u64 sector, void *buf, u32 bytes)
{
	struct image *im = ((struct raid *)ctx)->slot[slot];

	return im ? image_read(im, im->sb.data_offset + sector, buf, bytes) : -ENODEV;
}

static struct image *heir_of(const struct raid *r, u32 slot)
{
	return slot < MD_MAX_DISKS ? r->slot[MD_HEIR(slot)] : NULL;
}

static int log_write(void *ctx, u32 slot, u64 sector, const void *buf, u32 bytes)
{
	struct raid *r = ctx;
	struct image *im = r->slot[slot], *heir = heir_of(r, slot);
	int err = heir ? image_write(heir, heir->sb.data_offset + sector, buf, bytes) : 0;

	return err ? err : im ? image_write(im, im->sb.data_offset + sector, buf, bytes) : -ENODEV;
}

static int log_flush(void *ctx, u32 slot)
{
	struct raid *r = ctx;
	struct image *im = r->slot[slot], *heir = heir_of(r, slot);
	int err = heir ? image_flush(heir) : 0;

	return err ? err : im ? image_flush(im) : -ENODEV;
}

static int log_data_only(void *ctx, u64 sector, const void *page)
{
	struct raid *r = ctx;
	u64 *at = realloc(r->only_at, (r->nonly + 1) * sizeof(*at));
	u8 *pages = realloc(r->only, (size_t)(r->nonly + 1) * MD_LOG_BLOCK);

	r->only_at = at ? at : r->only_at;
	r->only = pages ? pages : r->only;
	if (!at || !pages)
		return -ENOMEM;
	at[r->nonly] = sector;
	memcpy(pages + (size_t)r->nonly++ * MD_LOG_BLOCK, page, MD_LOG_BLOCK);
	return 0;
}

static bool has_ppl(const struct raid *r)
{
	return r->im[r->plan.newest].sb.features & (MD_FEATURE_PPL | MD_FEATURE_MULTIPLE_PPLS);
}

/* The parity that was being written when the array was not stopped. */
static int recover_ppl(struct raid *r, const struct raid_options *o, struct md_config *c)
{
	static const struct md_recovery_ops ops = { log_read, log_write, log_flush, NULL };
	const struct md_super *sb[MD_MAX_DISKS] = { NULL };
	int err;

	if (!has_ppl(r))
		return 0;
	for (u32 i = 0; i < r->geo.disks; i++)
		if (r->slot[i] && r->plan.in_sync[i])
			sb[i] = &r->slot[i]->sb;
	err = md_ppl_recover(&r->geo, sb, r->plan.dirty, &ops, r, !o->write, &r->ppl);
	if (err)
		return err;
	c->ppl_generation = r->ppl.generation;
	r->parity_is_whole = o->write && r->plan.dirty && md_ppl_trust(&r->ppl, r->plan.missing);
	c->trust_parity |= r->parity_is_whole;
	if (r->plan.dirty && r->plan.missing && !c->trust_parity) {
		say_error("degraded and not stopped cleanly: parity may be stale; --force uses it all the same");
		return -EUCLEAN;
	}
	return 0;
}

static int recover_log(struct raid *r, bool dry)
{
	static const struct md_recovery_ops ops = { log_read, log_write, log_flush, log_data_only };
	struct md_super *sb;
	u32 seq = 0;

	if (!r->slot[MD_JOURNAL_SLOT])
		return 0;
	sb = &r->slot[MD_JOURNAL_SLOT]->sb;
	if (getrandom(&seq, sizeof(seq), 0) != sizeof(seq))
		return -EIO;
	r->has_log = true;
	return md_journal_recover(&r->geo, sb->data_size, sb->recovery_offset, sb->set_uuid, seq, &ops, r, dry,
				  &r->log);
}

/* ---- running ---- */

static void submit(void *ctx, struct md_rq *rq)
{
	list_add_tail(&rq->link, &((struct raid *)ctx)->queue);
}

struct transfer {
	struct image *im;
	const struct md_rq *rq;
};

static int transfer_piece(void *arg, u32 at, void *base, u32 bytes)
{
	const struct transfer *t = arg;
	u64 sector = t->rq->sector + at / 512;

	return t->rq->dir == MD_READ ? image_read(t->im, sector, base, bytes) : image_write(t->im, sector, base, bytes);
}

static int carry_out(struct raid *r, struct md_rq *rq)
{
	struct image *im = r->slot[rq->slot];
	int err;

	if (!im)
		return -ENODEV;
	if (rq->dir != MD_READ && !im->writable)
		return -EROFS;
	if (rq->dir == MD_FLUSH)
		return image_flush(im);
	err = md_rq_for_each(rq, transfer_piece, &(struct transfer){ im, rq });
	return err || rq->dir == MD_READ || !(rq->flags & MD_FUA) ? err : image_flush(im);
}

/* Lets the engine work; heirs take over when it says so. */
static void run(struct raid *r)
{
	struct md_status st;

	md_run(r->e);
	md_status(r->e, &st);
	for (u64 m = st.heirs_due; m; m &= m - 1) {
		u32 slot = (u32)__builtin_ctzll(m);

		if (md_inherit(r->e, slot))
			continue;
		r->slot[slot] = r->slot[MD_HEIR(slot)];
		r->slot[MD_HEIR(slot)] = NULL;
	}
	if (st.heirs_due)
		md_run(r->e);
}

void raid_pump(struct raid *r)
{
	run(r);
	while (!list_empty(&r->queue)) {
		/* Everything that one turn asked for is done before the next turn, so that writes share flushes. */
		LIST(turn);

		list_splice_tail_init(&r->queue, &turn);
		while (!list_empty(&turn)) {
			struct md_rq *rq = list_first_entry(&turn, struct md_rq, link);

			list_del(&rq->link);
			md_complete(r->e, rq, carry_out(r, rq));
		}
		run(r);
	}
}

int raid_settle(struct raid *r)
{
	raid_pump(r);
	return md_is_idle(r->e) ? 0 : -EIO;
}

static int read_image(void *image, u64 sector, void *buf, u32 bytes)
{
	return image_read(image, sector, buf, bytes);
}

/* From the newest member. Who only reads does not need it. */
static int read_bitmap(struct raid *r, struct md_config *c, void **bitmap)
{
	struct image *best = NULL;
	int err;

	for (u32 i = 0; i < r->geo.disks; i++)
		if (r->slot[i] && (!best || r->slot[i]->sb.events > best->sb.events))
			best = r->slot[i];
	if (c->read_only || !best || !(best->sb.features & MD_FEATURE_BITMAP_OFFSET))
		return 0;
	err = md_bitmap_read(&best->sb, (s32)best->sb.bitmap_or_ppl, read_image, best, bitmap, &c->bitmap_bytes);
	c->bitmap = *bitmap;
	return err;
}

/* One as the engine wants it; *bad must be freed. */
static int fill_member(const struct image *im, bool in_sync, struct md_member_config *c, void **bad)
{
	u32 bytes;
	u64 at;
	int err = 0;

	if (!im)
		return 0;
	at = md_bad_place(&im->sb, &bytes);
	if (im->sb.features & MD_FEATURE_BAD_BLOCKS && bytes) {
		*bad = malloc(bytes);
		err = *bad ? image_read(im, at, *bad, bytes) : -ENOMEM;
	}
	*c = (struct md_member_config){ &im->sb, in_sync, *bad, im->sectors };
	return err;
}

static int fill_members(struct raid *r, struct md_config *c, void **bad)
{
	int err = 0;

	for (u32 i = 0; !err && i < r->geo.disks; i++) {
		err = fill_member(r->slot[i], r->plan.in_sync[i], &c->member[i], &bad[i]);
		if (!err)
			err = fill_member(r->slot[MD_HEIR(i)], r->plan.heir_whole[i], &c->heir[i], &bad[MD_HEIR(i)]);
	}
	return err;
}

static int inject(struct raid *r)
{
	for (u32 i = 0; i < r->nonly; i++) {
		int err = md_inject(r->e, r->only_at[i], r->only + (size_t)i * MD_LOG_BLOCK);

		if (err == -EBUSY) {
			raid_pump(r);
			err = md_inject(r->e, r->only_at[i], r->only + (size_t)i * MD_LOG_BLOCK);
		}
		if (err < 0)
			return err;
	}
	return raid_settle(r);
}

/* What the engine does not read must not be missed. */
static int refuse_features(const struct raid *r)
{
	static const struct {
		u32 feature;
		const char *what;
	} table[] = {
		{ MD_FEATURE_RESHAPE_ACTIVE | MD_FEATURE_NEW_OFFSET, "an unfinished reshape" },
		{ MD_FEATURE_CLUSTERED, "a cluster" },
	};

	for (u32 i = 0; i < r->n; i++) {
		for (unsigned k = 0; k < ARRAY_SIZE(table); k++) {
			if (!(r->im[i].sb.features & table[k].feature))
				continue;
			say_error("%s has %s, which is not supported", r->im[i].path, table[k].what);
			return -EOPNOTSUPP;
		}
	}
	return 0;
}

static int refuse(const struct raid *r, const struct raid_options *o)
{
	int err = refuse_features(r);

	if (err)
		return err;
	if (!md_geo_serves(&r->geo, r->plan.missing_slots)) {
		say_error("%u of %u members are missing or stale: not every sector can be had", r->plan.missing,
			  r->geo.disks);
		return -ENODEV;
	}
	if (r->plan.needs_journal && (!o->force || o->write)) {
		say_error("the array's journal is missing; --force reads without it (what only it had is lost)");
		return -ENODEV;
	}
	if (md_level_has_parity(r->geo.level) && r->plan.dirty && r->plan.missing && !r->slot[MD_JOURNAL_SLOT] &&
	    !o->force && !(o->write && has_ppl(r))) {
		say_error("degraded and not stopped cleanly: parity may be stale; --force uses it all the same");
		return -EUCLEAN;
	}
	return 0;
}

int raid_start(struct raid *r, const struct raid_options *o)
{
	static const struct md_ops ops = { submit };
	struct md_config c = { .ops = &ops,
			       .ctx = r,
			       .stripes = o->stripes ? o->stripes : 1024,
			       .read_only = !o->write,
			       .trust_parity = o->force,
			       .now = (u64)time(NULL) };
	void *bitmap = NULL, *bad[MD_SLOTS] = { 0 };
	int err = refuse(r, o);

	if (!err)
		err = recover_log(r, !o->write);
	if (!err)
		err = recover_ppl(r, o, &c);
	if (err < 0) {
		say_error("cannot start: %s", strerror(-err));
		return err;
	}
	if (!o->write && r->nonly) {
		say_error("%u pages are in the journal only; `ostrom raid recover` writes them to the members",
			  r->nonly);
		return -EUCLEAN;
	}
	if (r->has_log && o->write) {
		c.journal = (struct md_journal_config){ &r->slot[MD_JOURNAL_SLOT]->sb, o->mode, r->log.tail,
							r->log.head, r->log.seq };
	}
	err = read_bitmap(r, &c, &bitmap);
	if (!err)
		err = fill_members(r, &c, bad);
	if (!err)
		err = md_engine_create(&r->e, &c);
	free(bitmap);
	for (u32 i = 0; i < MD_SLOTS; i++)
		free(bad[i]);
	if (!err)
		err = inject(r);
	if (err < 0)
		say_error("cannot start: %s", strerror(-err));
	return err;
}

static void rw_done(struct md_io *io, int err)
{
	*(int *)io->owner = err;
}

int raid_rw(struct raid *r, enum md_dir dir, u64 sector, u32 sectors, void *buf)
{
	struct md_vec v = { buf, (size_t)sectors * 512 };
	int err = -EIO;
	struct md_io io = {
		.dir = dir, .sector = sector, .sectors = sectors, .vec = &v, .nvec = 1, .done = rw_done, .owner = &err
	};

	md_submit(r->e, &io);
	raid_pump(r);
	return err;
}

int raid_stop(struct raid *r)
{
	md_shut(r->e);
	return raid_settle(r);
}

void raid_close(struct raid *r)
{
	md_engine_destroy(r->e);
	for (u32 i = 0; i < r->n; i++)
		image_close(&r->im[i]);
	free(r->im);
	free(r->verdict);
	free(r->only_at);
	free(r->only);
}
