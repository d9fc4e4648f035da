/* SPDX-License-Identifier: MIT
 *
 * Problem: power fails between any two writes, caches lose any subset of what was not flushed, sometimes a member
 * is lost with it, and recovery itself can be interrupted. Nothing acknowledged may be lost, parity must be right.
 *
 * Idea: a verifying writer with several requests in flight, overlapping ones excepted. Every sector that it writes
 * names itself and its version. Power fails at a random request; the array is assembled and recovered (with one
 * more power failure in every third run); then each sector must hold a version between the last one that was
 * acknowledged as durable and the last one issued, and nothing else; parity must agree everywhere; and the array
 * without any one member must read the same bytes.
 *
 *	journal		acknowledged is durable; a member is lost at the crash, too, in half of the runs
 *			in three configurations a member vanishes before the power does and is back afterwards, with old
 *data none		durable is FUA, or acknowledged before a flush that was acknowledged; resync after the crash
 *	partial parity log	as none, but parity must agree without a resync, and a member may be lost: then what
 *stood on it and was being written may be anything, all else must be there
 *	bitmap		as none; the resync goes where the bitmap says
 *
 * Contract: OSTROM_CUTS cut points a configuration (default 60; tests/vm/raid-crash-matrix.sh runs 250), OSTROM_SEED
 *where to begin. Locks: none.
 */
// links: tests/unit/sim_md.c
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include <alloc/slab.h>
#include <lib/err.h>
#include <lib/string.h>
#include "sim_md.h"

#define MEMBER_SECTORS 256
#define SLOTS          6 /* requests in flight */
#define MAX_IO         40
#define SECTORS_MAX    (MEMBER_SECTORS * SIM_DISKS)

static const struct config {
	int level;
	bool journal, lose, dies;
	enum md_journal_mode mode;
	bool bitmap;
	u32 ppl;   /* sectors of a partial parity log */
	bool heir; /* a member is being replaced */
} configs[] = {
	{ .level = 5 },
	{ .level = 6 },
	{ .level = 5, .journal = true, .mode = MD_WRITE_THROUGH },
	{ .level = 5, .journal = true, .lose = true, .mode = MD_WRITE_THROUGH },
	{ .level = 5, .journal = true, .mode = MD_WRITE_BACK },
	{ .level = 5, .journal = true, .lose = true, .mode = MD_WRITE_BACK },
	{ .level = 6, .journal = true, .mode = MD_WRITE_BACK },
	{ .level = 6, .journal = true, .lose = true, .mode = MD_WRITE_BACK },
	{ .level = 5, .journal = true, .dies = true, .mode = MD_WRITE_THROUGH },
	{ .level = 5, .journal = true, .dies = true, .mode = MD_WRITE_BACK },
	{ .level = 6, .journal = true, .lose = true, .dies = true, .mode = MD_WRITE_BACK },
	{ .level = 5, .bitmap = true },
	{ .level = 6, .bitmap = true },
	{ .level = 5, .ppl = 48 },
	{ .level = 5, .ppl = 640 },
	{ .level = 5, .ppl = 640, .lose = true },
	{ .level = 5, .heir = true },
	{ .level = 6, .heir = true },
	{ .level = 5, .heir = true, .bitmap = true },
	{ .level = 5, .heir = true, .ppl = 640 },
	{ .level = 5, .heir = true, .journal = true, .mode = MD_WRITE_THROUGH },
	{ .level = 5, .heir = true, .journal = true, .mode = MD_WRITE_BACK },
	{ .level = 6, .heir = true, .journal = true, .dies = true, .mode = MD_WRITE_BACK },
};

struct flight {
	struct md_io io;
	struct md_vec vec;
	u8 buf[MAX_IO * 512];
	bool busy;
	u64 version;
};

static struct sim sim;
static struct flight flight[SLOTS];
static u64 issued[SECTORS_MAX], acked[SECTORS_MAX], durable[SECTORS_MAX], at_flush[SECTORS_MAX];
static u64 version, array_sectors, tail, tail_seq; /* tail: of the journal, as last seen; its unit */
static u8 whole[SECTORS_MAX * 512], degraded[SECTORS_MAX * 512];
static bool is_flushing, has_journal;
static u32 dying; /* the member that vanishes before the power does, or MD_NO_SLOT */

static void stamp(u8 *p, u64 sector, u64 v)
{
	u64 w[2] = { sector, v };

	for (int i = 0; i < 32; i++)
		memcpy(p + i * 16, w, 16);
}

/* The version in a sector; fails on a sector that is no version of itself. */
static u64 read_stamp(const u8 *p, u64 sector)
{
	u64 w[2];

	memcpy(w, p, 16);
	for (int i = 1; i < 32; i++)
		if (memcmp(p, p + i * 16, 16))
			fail_msg("sector %llu is torn inside", (unsigned long long)sector);
	if (w[1] && w[0] != sector)
		fail_msg("sector %llu holds sector %llu", (unsigned long long)sector, (unsigned long long)w[0]);
	return w[1];
}

static void flight_done(struct md_io *io, int err)
{
	struct flight *f = container_of(io, struct flight, io);

	f->busy = false;
	if (err)
		return;
	if (io->dir == MD_FLUSH) {
		is_flushing = false;
		for (u64 s = 0; s < array_sectors; s++)
			durable[s] = max(durable[s], at_flush[s]);
		return;
	}
	for (u64 s = io->sector; io->dir == MD_WRITE && s < io->sector + io->sectors; s++) {
		acked[s] = f->version;
		if (has_journal || io->flags & MD_FUA)
			durable[s] = f->version;
	}
}

static bool overlaps(u64 sector, u32 sectors)
{
	for (int i = 0; i < SLOTS; i++)
		if (flight[i].busy && sector < flight[i].io.sector + flight[i].io.sectors &&
		    flight[i].io.sector < sector + sectors)
			return true;
	return false;
}

static void issue(struct md_engine *e, struct flight *f)
{
	u64 kind = sim_random(&sim) % 16;
	u32 n = 1 + sim_random(&sim) % (kind & 3 ? 9 : MAX_IO);
	u64 hot = sim_random(&sim) % 2 ? array_sectors : array_sectors / 8;
	u64 at = sim_random(&sim) % (hot - MAX_IO);

	f->io = (struct md_io){ .dir = kind == 0 ? MD_READ : MD_WRITE,
				.sector = at,
				.sectors = n,
				.vec = &f->vec,
				.nvec = 1,
				.done = flight_done };
	f->vec = (struct md_vec){ f->buf, sizeof(f->buf) };
	if (kind == 1 && !is_flushing) {
		f->io = (struct md_io){ .dir = MD_FLUSH, .done = flight_done };
		is_flushing = true;
		memcpy(at_flush, acked, sizeof(acked));
	} else if (overlaps(at, n)) {
		return;
	} else if (f->io.dir == MD_WRITE) {
		f->version = ++version;
		f->io.flags = kind < 4 ? MD_FUA : 0;
		for (u32 i = 0; i < n; i++) {
			stamp(f->buf + i * 512, at + i, version);
			issued[at + i] = version;
		}
	}
	f->busy = true;
	md_submit(e, &f->io);
}

/* Recovery believes whatever good unit the tail names: it must be durable before the superblock says so, and younger
 * than the last one. */
static void check_tail(void)
{
	const struct sim_disk *j = &sim.disk[sim.disks];
	struct md_log_head h;
	struct md_super sb;

	if (!sim.journal || md_super_decode(j->view + 8 * 512, 8, &sb) || sb.recovery_offset == tail)
		return;
	tail = sb.recovery_offset;
	assert_int_equal(md_log_check(j->stable + (SIM_DATA_OFFSET + tail) * 512, md_log_seed(sb.set_uuid), tail, &h),
			 0);
	assert_true(h.seq > tail_seq);
	tail_seq = h.seq;
}

/* Until power fails. */
static void write_until_cut(struct md_engine *e)
{
	u64 dies_at = dying == MD_NO_SLOT ? ~0ULL : sim.ops + sim_random(&sim) % (sim.cut_at - sim.ops);

	while (!sim.off) {
		struct flight *f = &flight[sim_random(&sim) % SLOTS];

		if (!f->busy)
			issue(e, f);
		if (sim_random(&sim) % 3 == 0)
			sim_run(&sim, e);
		for (int k = sim_random(&sim) % 6; k; k--)
			if (sim_step(&sim, e))
				check_tail();
		if (sim_random(&sim) % 300 == 0)
			md_quiesce(e);
		if (sim_random(&sim) % 100 == 0)
			md_set_time(e, sim.now += 5); /* a sweep of the bitmap is due */
		if (sim.ops >= dies_at)
			sim.disk[dying].dead = true;
	}
}

/* The engine dies with its requests. */
static void forget_requests(void)
{
	for (int i = 0; i < SLOTS; i++) {
		if (flight[i].busy) {
			kfree(flight[i].io.seg);
			kfree(flight[i].io.direct);
		}
		flight[i].busy = false;
	}
}

static void read_all(struct md_engine *e, u8 *to)
{
	for (u64 at = 0; at < array_sectors; at += 64)
		assert_int_equal(sim_rw(&sim, e, MD_READ, at, min((u64)64, array_sectors - at), to + at * 512), 0);
}

/* It is in a page of a lost member that was being written, or could still be in its cache. */
static bool may_be_gone(const struct md_geo *g, u64 lost, u64 sector)
{
	u64 at, page = ALIGN_DOWN(sector, 8);
	u32 d;

	md_geo_map(g, sector, &at, &d);
	if (!lost || !(lost & BIT(md_geo_slot(g, at / g->chunk, d))))
		return false;
	for (u64 s = page; s < page + 8; s++)
		if (issued[s] > durable[s])
			return true;
	return false;
}

static void judge(const struct md_geo *g, u64 lost, const u8 *image)
{
	for (u64 s = 0; s < array_sectors; s++) {
		u64 v = may_be_gone(g, lost, s) ? issued[s] : read_stamp(image + s * 512, s);

		if (v < durable[s] || v > issued[s])
			fail_msg("sector %llu: version %llu, durable %llu, issued %llu", (unsigned long long)s,
				 (unsigned long long)v, (unsigned long long)durable[s], (unsigned long long)issued[s]);
	}
}

/* Assembles and recovers; in some runs power fails again on the way. */
static struct md_engine *recover(u64 missing, enum md_journal_mode mode, bool again)
{
	struct md_recovery_result rec;
	struct md_engine *e;
	int err;

	if (again)
		sim.cut_at = sim.ops + 1 + sim_random(&sim) % 60;
	err = sim_start(&sim, missing, mode, &e, &rec);
	if (!err && e && sim_settle(&sim, e)) {
		sim.cut_at = ~0ULL;
		return e;
	}
	assert_true(sim.off);
	sim_crash(&sim);
	md_engine_destroy(e);
	assert_int_equal(sim_start(&sim, missing, mode, &e, &rec), 0);
	assert_true(sim_settle(&sim, e));
	return e;
}

static void check_parity(struct md_engine *e)
{
	struct md_status st;

	assert_int_equal(md_start_sync(e, MD_SYNC_CHECK), 0);
	assert_true(sim_settle(&sim, e));
	md_status(e, &st);
	assert_int_equal(st.mismatches, 0);
}

static void begin_replacing(struct md_engine *e, u32 slot)
{
	struct md_super sb;

	sim_add_spare(&sim, &sb);
	sim.at[MD_HEIR(slot)] = sim.disks + 1;
	assert_int_equal(md_add_heir(e, slot, &sb), 0);
	assert_int_equal(md_start_sync(e, MD_SYNC_RECOVER), 0);
}

/* Whether it goes on, was over or, because it had not been recorded, has not begun. */
static void end_replacing(struct md_engine *e)
{
	struct md_status st;

	md_status(e, &st);
	if (st.heirs_behind)
		assert_int_equal(md_start_sync(e, MD_SYNC_RECOVER), 0);
	assert_true(sim_settle(&sim, e));
	md_status(e, &st);
	assert_int_equal(st.heirs, 0);
}

static void one_cut(const struct config *c, u64 seed)
{
	static const u32 layouts[] = { 2, 0, 3, 5 };
	u32 disks = c->level == 6 ? 5 : 4;
	u64 missing = 0, other;
	struct md_status st;
	struct md_engine *e;

	sim_create(&sim, seed, c->level, layouts[seed % 4], disks, 16, MEMBER_SECTORS, c->journal);
	if (c->bitmap)
		sim_add_bitmap(&sim, 8192, MEMBER_SECTORS);
	if (c->ppl)
		sim_add_ppl(&sim, c->ppl);
	memset(issued, 0, sizeof(issued));
	memset(acked, 0, sizeof(acked));
	memset(durable, 0, sizeof(durable));
	version = tail = tail_seq = 0;
	is_flushing = false;
	for (int i = 0; i < SLOTS; i++) /* of a cut that failed */
		flight[i].busy = false;
	has_journal = c->journal;
	e = recover(0, c->mode, false);
	array_sectors = md_engine_geo(e)->sectors;
	if (c->heir)
		begin_replacing(e, sim_random(&sim) % disks);
	sim.cut_at = sim.ops + 1 + sim_random(&sim) % 900;
	dying = c->dies ? sim_random(&sim) % disks : MD_NO_SLOT;
	write_until_cut(e);
	sim_crash(&sim);
	forget_requests();
	md_engine_destroy(e);
	if (c->dies)
		sim.disk[dying].dead = false; /* it is back, perhaps with old data */
	if (c->lose)
		missing = BIT(sim_random(&sim) % disks);
	e = recover(missing, c->mode, seed % 3 == 0);
	read_all(e, whole);
	judge(md_engine_geo(e), c->ppl ? missing : 0, whole);
	if (!c->journal && !c->ppl) {
		assert_int_equal(md_start_sync(e, MD_SYNC_RESYNC), 0);
		assert_true(sim_settle(&sim, e));
	}
	if (c->heir)
		end_replacing(e);
	md_status(e, &st);
	missing |= st.failed;
	if (!missing)
		check_parity(e);
	md_quiesce(e);
	assert_true(sim_settle(&sim, e));
	md_engine_destroy(e);
	other = __builtin_popcountll(missing) < (c->level == 6 ? 2 : 1) ? BIT(sim_random(&sim) % disks) : 0;
	e = recover(missing | other, c->mode, false);
	read_all(e, degraded);
	assert_memory_equal(whole, degraded, array_sectors * 512);
	md_engine_destroy(e);
	sim_destroy(&sim);
}

static void matrix(void **state)
{
	const struct config *c = *state;
	const char *cuts = getenv("OSTROM_CUTS"), *from = getenv("OSTROM_SEED");
	u64 n = cuts ? strtoull(cuts, NULL, 0) : 60, first = from ? strtoull(from, NULL, 0) : 1;

	for (u64 seed = first; seed < first + n; seed++) {
		if (cuts || from)
			fprintf(stderr, "\r%llu ", (unsigned long long)seed);
		one_cut(c, seed);
	}
}

int main(void)
{
#define RUN(i, what)                                                                                                   \
	{                                                                                                              \
		"cut: " what, matrix, NULL, NULL, (void *)&configs[i]                                                  \
	}
	const struct CMUnitTest tests[] = {
		RUN(0, "raid5"),
		RUN(1, "raid6"),
		RUN(2, "raid5 write-through"),
		RUN(3, "raid5 write-through, a member lost"),
		RUN(4, "raid5 write-back"),
		RUN(5, "raid5 write-back, a member lost"),
		RUN(6, "raid6 write-back"),
		RUN(7, "raid6 write-back, a member lost"),
		RUN(8, "raid5 write-through, a member vanishes and is back"),
		RUN(9, "raid5 write-back, a member vanishes and is back"),
		RUN(10, "raid6 write-back, one vanishes and is back, another is lost"),
		RUN(11, "raid5 with a bitmap"),
		RUN(12, "raid6 with a bitmap"),
		RUN(13, "raid5 with a small partial parity log"),
		RUN(14, "raid5 with a partial parity log"),
		RUN(15, "raid5 with a partial parity log, a member lost"),
		RUN(16, "raid5, a member being replaced"),
		RUN(17, "raid6, a member being replaced"),
		RUN(18, "raid5 with a bitmap, a member being replaced"),
		RUN(19, "raid5 with a partial parity log, a member being replaced"),
		RUN(20, "raid5 write-through, a member being replaced"),
		RUN(21, "raid5 write-back, a member being replaced"),
		RUN(22, "raid6 write-back, a member being replaced, one vanishes and is back"),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
