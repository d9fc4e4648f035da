/* SPDX-License-Identifier: MIT
 *
 * Problem: mirrors and stripes must be where Linux looks for them, and lose nothing in any order of completions, with
 * members missing, failing, rebuilding, with bad sectors, and when power fails.
 *
 * Idea: placement against tables drawn by hand and against its own inverse; the engine against a plain array as the
 * model, over disks that complete in random order; then the faults, one scenario a test.
 *
 * Contract: deterministic; OSTROM_SEED picks another run. Locks: none.
 */
// links: tests/unit/sim_md.c
#include <md/copies.h>
#include "md_model.h"

#define NEAR(n)   ((1u << 8) | (n))
#define FAR(f)    ((f) << 8 | 1u)
#define OFFSET(f) (FAR(f) | 1u << 16)

static const struct {
	int level;
	u32 layout, disks;
} shapes[] = { { -1, 0, 3 },
	       { 0, 0, 1 },
	       { 0, 1, 5 },
	       { 0, 2, 5 },
	       { 1, 0, 1 },
	       { 1, 0, 2 },
	       { 1, 0, 3 },
	       { 10, NEAR(2), 4 },
	       { 10, NEAR(2), 3 },
	       { 10, NEAR(3), 5 },
	       { 10, FAR(2), 2 },
	       { 10, FAR(2), 3 },
	       { 10, FAR(3), 5 },
	       { 10, OFFSET(2), 3 },
	       { 10, OFFSET(2), 4 },
	       { 10, 0x202, 4 },
	       { 10, FAR(2) | 2u << 17, 4 } };

static struct md_engine *start(int level, u32 layout, u32 disks)
{
	struct md_recovery_result rec;
	struct md_engine *e;

	sim_create(&sim, seed() + level * 100 + layout, level, layout, disks, level == 1 ? 0 : 16, MEMBER_SECTORS,
		   false);
	assert_int_equal(sim_start(&sim, 0, 0, &e, &rec), 0);
	memset(model, 0, sizeof(model));
	return e;
}

static void settle_clean(struct md_engine *e)
{
	struct md_status st;

	md_quiesce(e);
	assert_true(sim_settle(&sim, e));
	md_status(e, &st);
	assert_true(st.clean);
}

/* A member that the array can do without, in this state. */
static u64 some_member(const struct md_engine *e)
{
	const struct md_geo *g = md_engine_geo(e);
	u64 m;

	if (!md_geo_serves(g, 0) || !g->parity)
		return 0;
	do {
		m = BIT(sim_random(&sim) % g->disks);
	} while (!md_geo_serves(g, m));
	return m;
}

/* ---- placement ---- */

/* Rows of members, as md(4) draws them: chunk numbers, chunk being one page. */
static void check_table(u32 layout, u32 disks, u32 rows, const int *table)
{
	struct md_geo g;

	assert_int_equal(md_geo_init(&g, 10, layout, disks, 8, rows * 8), 0);
	for (u32 row = 0; row < rows; row++) {
		for (u32 slot = 0; slot < disks; slot++) {
			int want = table[row * disks + slot];
			u64 s = md_copies_unmap(&g, slot, row * 8 + 3);

			assert_true(want < 0 ? s == ~0ULL : s == (u64)want * 8 + 3);
		}
	}
}

static void layouts_as_drawn(void **state)
{
	static const int near3[] = { 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5 };
	static const int far4[] = { 0, 1, 2, 3, 4, 5, 6, 7, 3, 0, 1, 2, 7, 4, 5, 6 };
	static const int offset4[] = { 0, 1, 2, 3, 3, 0, 1, 2, 4, 5, 6, 7, 7, 4, 5, 6 };

	check_table(NEAR(2), 3, 4, near3);
	check_table(FAR(2), 4, 4, far4);
	check_table(OFFSET(2), 4, 4, offset4);
}

/* Every sector has its number of copies on different members, no two have the same place, and map and unmap agree. */
static void every_sector_has_its_places(void **state)
{
	for (unsigned k = 0; k < ARRAY_SIZE(shapes); k++) {
		static u8 taken[SIM_DISKS][MEMBER_SECTORS];
		struct md_geo g;
		struct md_zones z = { 0 };
		u64 size[SIM_DISKS];

		memset(taken, 0, sizeof(taken));
		for (u32 i = 0; i < SIM_DISKS; i++)
			size[i] = MEMBER_SECTORS - i / 2 * 64;
		assert_int_equal(
			md_geo_init(&g, shapes[k].level, shapes[k].layout, shapes[k].disks, 16, MEMBER_SECTORS), 0);
		if (g.level <= 0)
			assert_int_equal(md_zones_init(&z, &g, size), 0);
		assert_true(g.sectors > 0);
		for (u64 s = 0; s < g.sectors; s++) {
			struct md_extent x;
			u64 slots = 0;

			if (g.level > 0)
				md_copies_map(&g, s, 1, &x);
			else
				md_zones_map(&z, &g, s, 1, &x);
			assert_int_equal(x.n, g.parity + 1);
			for (u32 i = 0; i < x.n; i++) {
				assert_false(slots & BIT(x.copy[i].slot));
				slots |= BIT(x.copy[i].slot);
				assert_false(taken[x.copy[i].slot][x.copy[i].sector]++);
				if (g.level > 0)
					assert_int_equal(md_copies_unmap(&g, x.copy[i].slot, x.copy[i].sector), s);
			}
		}
	}
}

static void what_is_no_array(void **state)
{
	struct md_geo g;

	assert_int_equal(md_geo_init(&g, 10, NEAR(3), 2, 16, 512), -EINVAL); /* more copies than members */
	assert_int_equal(md_geo_init(&g, 10, 0, 4, 16, 512), -EINVAL);
	assert_int_equal(md_geo_init(&g, 10, NEAR(2), 4, 24, 512), -EINVAL); /* a chunk that is no power of two */
	assert_int_equal(md_geo_init(&g, 10, FAR(2) | 1u << 17, 5, 16, 512), -EINVAL);
	assert_int_equal(md_geo_init(&g, 0, 0, 4, 0, 512), -EINVAL);
	assert_int_equal(md_geo_init(&g, 1, 0, 2, 0, 0), -EINVAL);
	assert_int_equal(md_geo_init(&g, 3, 0, 2, 16, 512), -EINVAL);
}

/* ---- the engine ---- */

static void every_shape(void **state)
{
	for (unsigned k = 0; k < ARRAY_SIZE(shapes); k++) {
		struct md_engine *e = start(shapes[k].level, shapes[k].layout, shapes[k].disks);
		u64 missing;

		random_writes(e, 60);
		verify(e);
		if (md_engine_geo(e)->parity)
			assert_int_equal(sync_pass(e, MD_SYNC_CHECK), 0);
		else
			assert_int_equal(md_start_sync(e, MD_SYNC_CHECK), -EINVAL);
		settle_clean(e);
		missing = some_member(e);
		restart(&e, missing, 0);
		verify(e);
		random_writes(e, 40);
		verify(e);
		settle_clean(e);
		restart(&e, missing, 0);
		verify(e);
		stop(e);
	}
}

static void check_finds_and_repair_mends(void **state)
{
	for (unsigned k = 0; k < ARRAY_SIZE(shapes); k++) {
		struct md_engine *e = start(shapes[k].level, shapes[k].layout, shapes[k].disks);
		u64 at = (SIM_DATA_OFFSET + 40) * 512;

		if (md_engine_geo(e)->parity) {
			random_writes(e, 30);
			settle_clean(e);
			sim.disk[1].view[at] ^= 1;
			assert_true(sync_pass(e, MD_SYNC_CHECK) > 0);
			assert_true(sync_pass(e, MD_SYNC_REPAIR) > 0);
			assert_int_equal(sync_pass(e, MD_SYNC_CHECK), 0);
		}
		stop(e);
	}
}

static void bad_sector_is_rewritten(void **state)
{
	struct md_engine *e = start(1, 0, 2);
	struct md_status st;

	random_writes(e, 50);
	settle_clean(e);
	sim.disk[0].bad_sector = SIM_DATA_OFFSET + 20;
	sim.disk[1].bad_sector = SIM_DATA_OFFSET + 300;
	for (int i = 0; i < 8; i++) /* until each copy has been asked */
		verify(e);
	assert_true(sim_settle(&sim, e));
	md_status(e, &st);
	assert_int_equal(st.failed, 0);
	assert_true(st.corrected > 0);
	assert_int_equal(sync_pass(e, MD_SYNC_CHECK), 0);
	assert_true(sim.disk[0].bad_sector == ~0ULL && sim.disk[1].bad_sector == ~0ULL);
	stop(e);
}

static void mark_failfast(u32 slot)
{
	u64 buf[MD_SUPER_BYTES / 8];

	memcpy(buf, sim.disk[slot].view + 8 * 512, sizeof(buf));
	assert_int_equal(md_super_decode(buf, 8, &sim.sb[slot]), 0);
	sim.sb[slot].devflags = 2; /* FailFast1 */
	md_super_build(&sim.sb[slot], buf);
	memcpy(sim.disk[slot].view + 8 * 512, buf, sizeof(buf));
}

static void failfast_member_goes_at_once(void **state)
{
	static const struct {
		int level;
		u32 layout, disks;
	} some[] = { { 1, 0, 2 }, { 10, NEAR(2), 4 }, { 10, FAR(2), 3 } };

	for (unsigned k = 0; k < ARRAY_SIZE(some); k++) {
		struct md_engine *e = start(some[k].level, some[k].layout, some[k].disks);
		struct md_status st;

		random_writes(e, 50);
		settle_clean(e);
		mark_failfast(0);
		restart(&e, 0, 0);
		sim.disk[0].bad_sector = SIM_DATA_OFFSET + 20;
		for (int i = 0; i < 8; i++)
			verify(e);
		assert_int_equal(sync_pass(e, MD_SYNC_CHECK), 0); /* asks every copy */
		md_status(e, &st);
		assert_int_equal(st.failed & ~BIT(0), 0);
		verify(e);
		stop(e);
	}
}

static void last_copy_does_not_fail(void **state)
{
	struct md_engine *e = start(1, 0, 2);
	struct md_status st;

	random_writes(e, 50);
	sim.disk[0].dead = true;
	random_writes(e, 10);
	md_status(e, &st);
	assert_int_equal(st.failed, BIT(0));
	assert_int_equal(md_fail_member(e, 1), -EBUSY);
	sim.disk[1].bad_sector = SIM_DATA_OFFSET + 30;
	assert_int_equal(sim_rw(&sim, e, MD_READ, 0, 64, got), -EIO);
	assert_int_equal(sim_rw(&sim, e, MD_READ, 64, 64, got), 0);
	md_status(e, &st);
	assert_int_equal(st.failed, BIT(0));
	stop(e);
}

static void dying_member_and_rebuild(void **state)
{
	for (unsigned k = 0; k < ARRAY_SIZE(shapes); k++) {
		struct md_engine *e = start(shapes[k].level, shapes[k].layout, shapes[k].disks);
		u64 lost = some_member(e), other;
		u32 slot = lost ? (u32)__builtin_ctzll(lost) : 0;
		struct md_status st;
		struct md_super sb = sim.sb[slot];

		if (!lost) {
			stop(e);
			continue;
		}
		random_writes(e, 40);
		sim.disk[slot].dead = true;
		random_writes(e, 40);
		assert_int_equal(sim_rw(&sim, e, MD_WRITE, 0, (u32)min(md_engine_geo(e)->sectors, (u64)4000), model),
				 0);
		verify(e);
		md_status(e, &st);
		assert_int_equal(st.failed, lost);
		sim.disk[slot].dead = false; /* a fresh disk takes the place, while writes go on */
		memset(sim.disk[slot].view, 0xa5, sim.disk[slot].sectors * 512);
		assert_true(sim_settle(&sim, e));
		assert_int_equal(md_add_member(e, slot, &sb), 0);
		assert_true(sim_settle(&sim, e));
		assert_int_equal(md_start_sync(e, MD_SYNC_RECOVER), 0);
		random_writes(e, 40);
		verify(e);
		assert_true(sim_settle(&sim, e));
		md_status(e, &st);
		assert_int_equal(st.failed, 0);
		assert_int_equal(sync_pass(e, MD_SYNC_CHECK), 0);
		settle_clean(e);
		other = BIT((slot + 1) % md_engine_geo(e)->disks);
		if (md_geo_serves(md_engine_geo(e), other)) {
			restart(&e, other, 0);
			verify(e);
		}
		stop(e);
	}
}

/* Power fails in the middle of writes: what was acknowledged and flushed is there, copies agree after the resync, and
 * what was under way is old or new, sector by sector, the same at every reading. */
static void power_cuts(void **state)
{
	unsigned cuts = 0;

	for (unsigned k = 0; k < ARRAY_SIZE(shapes); k++) {
		for (u64 cut = 3; cut < 400; cut += 13, cuts++) {
			struct md_engine *e = start(shapes[k].level, shapes[k].layout, shapes[k].disks);
			static u8 next[SECTORS_MAX * 512];
			u64 sectors = md_engine_geo(e)->sectors;
			struct md_recovery_result rec;
			struct md_status st;
			u32 len = 64;
			u64 at = 0;

			random_writes(e, 5);
			assert_int_equal(sim_rw(&sim, e, MD_FLUSH, 0, 0, NULL), 0);
			memcpy(next, model, sectors * 512);
			sim.cut_at = sim.ops + cut;
			for (int i = 0; i < 30 && !sim.off; i++) {
				at = sim_random(&sim) % (sectors - len);
				memset(next + at * 512, (int)cut + i, len * 512);
				if (sim_rw(&sim, e, MD_WRITE, at, len, next + at * 512) ||
				    sim_rw(&sim, e, MD_FLUSH, 0, 0, NULL))
					break;
				memcpy(model + at * 512, next + at * 512, len * 512);
			}
			sim.off = true;
			sim_crash(&sim);
			md_engine_destroy(e);
			assert_int_equal(sim_start(&sim, 0, 0, &e, &rec), 0);
			assert_int_equal(sim_rw(&sim, e, MD_READ, 0, (u32)sectors, got), 0);
			for (u64 s = 0; s < sectors; s++)
				if (memcmp(got + s * 512, model + s * 512, 512) &&
				    memcmp(got + s * 512, next + s * 512, 512))
					fail_msg("shape %u, cut %llu: sector %llu", k, (unsigned long long)cut,
						 (unsigned long long)s);
			memcpy(model, got, sectors * 512);
			md_status(e, &st);
			if (md_engine_geo(e)->parity && !st.clean)
				sync_pass(e, MD_SYNC_RESYNC);
			if (md_engine_geo(e)->parity)
				assert_int_equal(sync_pass(e, MD_SYNC_CHECK), 0);
			verify(e);
			stop(e);
		}
	}
	print_message("%u cuts\n", cuts);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(layouts_as_drawn),
		cmocka_unit_test(every_sector_has_its_places),
		cmocka_unit_test(what_is_no_array),
		cmocka_unit_test(every_shape),
		cmocka_unit_test(check_finds_and_repair_mends),
		cmocka_unit_test(bad_sector_is_rewritten),
		cmocka_unit_test(failfast_member_goes_at_once),
		cmocka_unit_test(last_copy_does_not_fail),
		cmocka_unit_test(dying_member_and_rebuild),
		cmocka_unit_test(power_cuts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
