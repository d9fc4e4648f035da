/* SPDX-License-Identifier: MIT
 *
 * Problem: the RAID engine must be right in every order of completions, with members missing, failing, rebuilding
 * and with bad sectors.
 *
 * Idea: random requests against a plain array as the model, over disks that complete in random order; every level
 * and layout; then the faults, one scenario a test.
 *
 * Contract: deterministic; OSTROM_SEED picks another run. Locks: none.
 */
// links: tests/unit/sim_md.c
#include <linux/raid/md_p.h>
#include "md_model.h"

static struct md_engine *start(int level, u32 layout, u32 disks, bool journal, enum md_journal_mode mode)
{
	struct md_recovery_result rec;
	struct md_engine *e;

	sim_create(&sim, seed() + level * 100 + layout, level, layout, disks, 16, MEMBER_SECTORS, journal);
	assert_int_equal(sim_start(&sim, 0, mode, &e, &rec), 0);
	memset(model, 0, sizeof(model));
	return e;
}

static void settle_clean(struct md_engine *e)
{
	struct md_status st;

	md_quiesce(e);
	assert_true(sim_settle(&sim, e));
	md_status(e, &st);
	assert_int_equal(st.cached, 0);
}

static const struct {
	int level;
	u32 layout, disks;
} shapes[] = { { 4, 0, 3 },  { 5, 0, 4 },  { 5, 1, 4 },  { 5, 2, 5 }, { 5, 3, 3 },  { 5, 4, 4 },
	       { 5, 5, 4 },  { 5, 2, 2 },  { 6, 0, 5 },  { 6, 1, 5 }, { 6, 2, 6 },  { 6, 3, 4 },
	       { 6, 4, 5 },  { 6, 5, 5 },  { 6, 8, 5 },  { 6, 9, 5 }, { 6, 10, 5 }, { 6, 16, 5 },
	       { 6, 17, 5 }, { 6, 18, 5 }, { 6, 19, 6 }, { 6, 20, 5 } };

/* Every slot of every row is data once or parity, map and unmap are inverse. */
static void geometry_is_a_bijection(void **state)
{
	for (unsigned k = 0; k < ARRAY_SIZE(shapes); k++) {
		struct md_geo g;

		assert_int_equal(md_geo_init(&g, shapes[k].level, shapes[k].layout, shapes[k].disks, 16, 512), 0);
		for (u64 row = 0; row < 12; row++) {
			u64 seen = 0, expo = 0;
			u32 p, q;

			md_geo_parity(&g, row, &p, &q);
			seen = BIT(p) | (q == MD_NO_SLOT ? 0 : BIT(q));
			assert_int_equal(__builtin_popcountll(seen), g.parity);
			for (u32 d = 0; d < g.data; d++) {
				u32 slot = md_geo_slot(&g, row, d);

				assert_false(seen & BIT(slot));
				seen |= BIT(slot);
				expo |= BIT(md_geo_exponent(&g, row, slot));
				assert_int_equal(md_geo_data_index(&g, row, slot), d);
			}
			assert_int_equal(seen, BIT(g.disks) - 1);
			if (g.parity == 2)
				assert_int_equal(__builtin_popcountll(expo), g.data);
		}
		for (u64 s = 0; s < g.sectors; s += 5) {
			u64 at;
			u32 d;

			md_geo_map(&g, s, &at, &d);
			assert_int_equal(md_geo_unmap(&g, at, d), s);
		}
	}
}

static void every_shape(void **state)
{
	for (unsigned k = 0; k < ARRAY_SIZE(shapes); k++) {
		struct md_engine *e = start(shapes[k].level, shapes[k].layout, shapes[k].disks, false, 0);
		u64 missing = BIT(sim_random(&sim) % shapes[k].disks);

		random_writes(e, 60);
		verify(e);
		assert_int_equal(sync_pass(e, MD_SYNC_CHECK), 0);
		settle_clean(e);
		if (shapes[k].level == 6)
			missing |= BIT(sim_random(&sim) % shapes[k].disks);
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
	struct md_engine *e = start(5, 2, 4, false, 0);

	random_writes(e, 30);
	settle_clean(e);
	sim.disk[2].view[(SIM_DATA_OFFSET + 40) * 512] ^= 1;
	assert_int_equal(sync_pass(e, MD_SYNC_CHECK), 8);
	assert_int_equal(sync_pass(e, MD_SYNC_REPAIR), 8);
	assert_int_equal(sync_pass(e, MD_SYNC_CHECK), 0);
	stop(e);
}

static void bad_sector_is_rewritten(void **state)
{
	struct md_engine *e = start(5, 2, 4, false, 0);
	struct md_status st;

	random_writes(e, 50);
	settle_clean(e);
	restart(&e, 0, 0);
	sim.disk[1].bad_sector = SIM_DATA_OFFSET + 20;
	verify(e);
	md_status(e, &st);
	assert_int_equal(st.failed, 0);
	assert_int_equal(st.corrected, 8);
	assert_true(sim.disk[1].bad_sector == ~0ULL);
	stop(e);
}

static void failfast_member_goes_at_once(void **state)
{
	struct md_engine *e = start(5, 2, 4, false, 0);
	u64 buf[MD_SUPER_BYTES / 8];
	struct md_status st;

	random_writes(e, 50);
	settle_clean(e);
	memcpy(buf, sim.disk[1].view + 8 * 512, sizeof(buf));
	assert_int_equal(md_super_decode(buf, 8, &sim.sb[1]), 0);
	sim.sb[1].devflags = 2; /* FailFast1 */
	md_super_build(&sim.sb[1], buf);
	memcpy(sim.disk[1].view + 8 * 512, buf, sizeof(buf));
	restart(&e, 0, 0);
	sim.disk[1].bad_sector = SIM_DATA_OFFSET + 20;
	verify(e);
	md_status(e, &st);
	assert_int_equal(st.failed, BIT(1));
	/* The last copy does not fail: its errors are reported, the rest stays readable. */
	sim.disk[2].bad_sector = SIM_DATA_OFFSET + 300;
	settle_clean(e);
	restart(&e, 0, 0);
	sim.disk[2].bad_sector = SIM_DATA_OFFSET + 300;
	assert_int_equal(sim_rw(&sim, e, MD_READ, 0, md_engine_geo(e)->sectors, got), -EIO);
	md_status(e, &st);
	assert_int_equal(st.failed, BIT(1));
	stop(e);
}

static void dying_member_and_rebuild(void **state)
{
	for (int journal = 0; journal < 2; journal++) {
		struct md_engine *e = start(5, 2, 5, journal, MD_WRITE_BACK);
		struct md_status st;
		struct md_super sb;

		random_writes(e, 40);
		sim.disk[3].dead = true;
		random_writes(e, 40);
		verify(e);
		md_status(e, &st);
		assert_int_equal(st.failed, BIT(3));
		/* A fresh disk takes the place, while writes go on. */
		sim.disk[3].dead = false;
		memset(sim.disk[3].view, 0xa5, sim.disk[3].sectors * 512);
		sb = sim.sb[3];
		assert_true(sim_settle(&sim, e));
		assert_int_equal(md_add_member(e, 3, &sb), 0);
		assert_true(sim_settle(&sim, e));
		assert_int_equal(md_start_sync(e, MD_SYNC_RECOVER), 0);
		random_writes(e, 40);
		assert_true(sim_settle(&sim, e));
		md_status(e, &st);
		assert_int_equal(st.failed, 0);
		assert_int_equal(sync_pass(e, MD_SYNC_CHECK), 0);
		settle_clean(e);
		restart(&e, BIT(0), MD_WRITE_THROUGH);
		verify(e);
		stop(e);
	}
}

static void journal_modes(void **state)
{
	for (int level = 5; level <= 6; level++) {
		for (int mode = 0; mode < 2; mode++) {
			struct md_engine *e = start(level, 2, 5, true, mode);

			random_writes(e, 200);
			verify(e);
			settle_clean(e);
			assert_int_equal(sync_pass(e, MD_SYNC_CHECK), 0);
			settle_clean(e);
			restart(&e, BIT(1), mode);
			verify(e);
			stop(e);
		}
	}
}

static void journal_dies(void **state)
{
	struct md_engine *e = start(5, 2, 4, true, MD_WRITE_BACK);
	u8 page[4096] = { 7 };
	struct md_status st;

	random_writes(e, 60);
	sim.disk[4].dead = true;
	/* The write that finds out still reaches the members; then the array takes no more. */
	memcpy(model + 4096, page, 4096);
	assert_int_equal(sim_rw(&sim, e, MD_WRITE, 8, 8, page), 0);
	assert_true(sim_settle(&sim, e));
	assert_int_equal(sim_rw(&sim, e, MD_WRITE, 8, 8, page), -EROFS);
	md_status(e, &st);
	assert_true(st.journal_failed);
	assert_int_equal(st.cached, 0);
	verify(e);
	settle_clean(e);
	restart(&e, BIT(2), 0);
	verify(e);
	stop(e);
}

/* An empty log on a new disk, as mdadm leaves it there. */
static void new_journal(struct md_engine *e)
{
	struct md_super sb = sim.sb[4];
	u8 *views[2];

	sim_replace_disk(&sim, 4);
	views[0] = sim.disk[4].stable;
	views[1] = sim.disk[4].view;
	sb.recovery_offset = 0;
	for (int k = 0; k < 2; k++) {
		md_log_begin(views[k] + SIM_DATA_OFFSET * 512, 77, 0);
		md_log_end(views[k] + SIM_DATA_OFFSET * 512, md_log_seed(sb.set_uuid));
	}
	assert_int_equal(md_set_journal(e, &(struct md_journal_config){ &sb, MD_WRITE_THROUGH, 0, MD_LOG_SECTORS, 78 }),
			 0);
	assert_true(sim_settle(&sim, e));
	assert_int_equal(md_set_read_only(e, false), 0);
}

/* The array goes on with another journal, and a crash finds there what was acknowledged since. */
static void journal_is_replaced(void **state)
{
	struct md_engine *e = start(5, 2, 4, true, MD_WRITE_BACK);
	struct md_status st;

	random_writes(e, 60);
	/* it has a good one */
	assert_int_equal(
		md_set_journal(e, &(struct md_journal_config){ &sim.sb[4], MD_WRITE_THROUGH, 0, MD_LOG_SECTORS, 78 }),
		-EBUSY);
	assert_int_equal(md_fail_journal(e), 0);
	assert_true(sim_settle(&sim, e));
	assert_int_equal(sim_rw(&sim, e, MD_WRITE, 8, 8, model), -EROFS);
	new_journal(e);
	md_status(e, &st);
	assert_false(st.journal_failed);
	assert_int_equal(st.parity_good, MD_CLEAN);
	assert_int_equal(md_set_mode(e, MD_WRITE_BACK), 0);
	random_writes(e, 60);
	md_status(e, &st);
	assert_true(st.cached);
	sim_crash(&sim);
	restart(&e, 0, MD_WRITE_BACK);
	verify(e);
	settle_clean(e);
	restart(&e, BIT(1), MD_WRITE_BACK);
	verify(e);
	stop(e);
}

/* A journal that was missing from the start: what it had is lost, parity is made to agree. */
static void missing_journal_is_replaced(void **state)
{
	struct md_engine *e = start(5, 2, 4, true, MD_WRITE_BACK);
	struct md_config c = { .ops = &sim_ops, .ctx = &sim, .stripes = 24, .read_only = true };

	random_writes(e, 60);
	settle_clean(e);
	md_engine_destroy(e);
	for (u32 i = 0; i < 4; i++)
		c.member[i] = (struct md_member_config){ .sb = &sim.sb[i], .in_sync = true };
	assert_int_equal(md_engine_create(&e, &c), 0);
	new_journal(e);
	sim.disk[0].view[(SIM_DATA_OFFSET + 3) * 512] ^= 1; /* as a crash would leave it */
	assert_int_equal(sync_pass(e, MD_SYNC_RESYNC), 8);
	assert_int_equal(sync_pass(e, MD_SYNC_CHECK), 0);
	stop(e);
}

static void end(struct md_engine *e, bool crash)
{
	if (!crash) {
		settle_clean(e);
		return;
	}
	assert_int_equal(sim_rw(&sim, e, MD_FLUSH, 0, 0, NULL), 0);
	sim_crash(&sim);
}

/* Whoever is not there when an array starts, and is back the next time, has missed what was written meanwhile. */
static void missing_at_start(void **state)
{
	static const struct {
		int level;
		bool journal, crash;
	} kinds[] = {
		{ 5, false, false }, { 5, true, true }, { 6, true, false }, { 1, false, false }, { 1, false, true }
	};

	for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct md_engine *e = start(kinds[i].level, 2, 4, kinds[i].journal, MD_WRITE_THROUGH);
		struct md_status st;

		random_writes(e, 30);
		end(e, kinds[i].crash);
		restart(&e, BIT(0), MD_WRITE_THROUGH);
		random_writes(e, 30);
		end(e, kinds[i].crash);
		restart(&e, 0, MD_WRITE_THROUGH);
		md_status(e, &st);
		assert_int_equal(st.failed, BIT(0));
		verify(e);
		stop(e);
	}
}

/* An array that was made without a journal gets one: its parity agrees already, and the superblocks say that it has it.
 */
static void first_journal(void **state)
{
	struct md_engine *e = start(5, 2, 4, true, MD_WRITE_BACK);
	struct md_config c = { .ops = &sim_ops, .ctx = &sim, .stripes = 24, .read_only = true };
	struct md_status st;

	random_writes(e, 60);
	settle_clean(e);
	md_engine_destroy(e);
	for (u32 i = 0; i < 4; i++) {
		sim.sb[i].features &= ~(u32)MD_FEATURE_JOURNAL;
		c.member[i] = (struct md_member_config){ .sb = &sim.sb[i], .in_sync = true };
	}
	assert_int_equal(md_engine_create(&e, &c), 0);
	new_journal(e);
	md_status(e, &st);
	assert_int_equal(st.parity_good, MD_CLEAN);
	assert_int_equal(md_set_read_only(e, false), 0);
	random_writes(e, 60);
	sim_crash(&sim);
	restart(&e, 0, MD_WRITE_BACK);
	assert_true(sim.sb[0].features & MD_FEATURE_JOURNAL);
	verify(e);
	stop(e);
}

static u64 parity_good(struct md_engine *e)
{
	struct md_status st;

	md_status(e, &st);
	return st.parity_good;
}

/* With it a crash needs no resync; without it, before and after, it does. */
static void partial_parity_log_comes_and_goes(void **state)
{
	u32 word[4];
	struct md_engine *e = NULL;

	sim_create(&sim, seed() + 77, 5, 2, 4, 16, MEMBER_SECTORS, false);
	memset(model, 0, sizeof(model));
	restart(&e, 0, MD_WRITE_THROUGH);
	for (u32 i = 0; i < 4; i++)
		word[i] = sim_make_ppl(&sim, i, SIM_PPL_SECTORS);
	random_writes(e, 20);
	assert_int_equal(md_set_ppl(e, word), -EBUSY); /* a write may be under way: the array is dirty */
	for (int round = 0; round < 3; round++) {
		md_quiesce(e);
		assert_true(sim_settle(&sim, e));
		assert_int_equal(md_set_ppl(e, round == 1 ? NULL : word), 0);
		assert_true(sim_settle(&sim, e));
		sim.ppl = round != 1;
		random_writes(e, 20);
		assert_int_equal(sim_rw(&sim, e, MD_FLUSH, 0, 0, NULL), 0);
		sim_crash(&sim);
		md_engine_destroy(e);
		assert_int_equal(sim_start(&sim, 0, MD_WRITE_THROUGH, &e, &(struct md_recovery_result){ 0 }), 0);
		assert_int_equal(parity_good(e) == MD_CLEAN, round != 1);
		verify(e);
		sync_pass(e, MD_SYNC_RESYNC);
		assert_int_equal(sync_pass(e, MD_SYNC_CHECK), 0);
	}
	assert_int_equal(md_fail_member(e, 2), 0); /* who has failed needs no log */
	md_quiesce(e);
	assert_true(sim_settle(&sim, e));
	assert_int_equal(md_set_ppl(e, NULL), 0);
	assert_true(sim_settle(&sim, e));
	word[2] = 0;
	assert_int_equal(md_set_ppl(e, word), 0);
	assert_true(sim_settle(&sim, e));
	random_writes(e, 20);
	verify(e);
	stop(e);
}

/* What recovery finds in the log is on the members after a clean stop, whichever member is missing, and nothing is left
 * in the log alone: without a place for the parity, none is logged that would say so. */
static void clean_stop_empties_the_log(void **state)
{
	for (u32 lost = 0; lost <= 4; lost++) {
		struct md_engine *e = start(5, 2, 4, true, MD_WRITE_BACK);
		struct md_recovery_result rec;

		memset(model, 0x5a, 4096);
		assert_int_equal(sim_rw(&sim, e, MD_WRITE, 0, 8, model), 0);
		sim_crash(&sim);
		md_engine_destroy(e);
		assert_int_equal(sim_start(&sim, lost < 4 ? BIT(lost) : 0, MD_WRITE_THROUGH, &e, &rec), 0);
		assert_int_equal(rec.data_only, 1);
		assert_true(sim_settle(&sim, e));
		settle_clean(e);
		md_engine_destroy(e);
		assert_int_equal(sim_start(&sim, lost < 4 ? BIT(lost) : 0, MD_WRITE_THROUGH, &e, &rec), 0);
		assert_int_equal(rec.data_only, 0);
		verify(e);
		stop(e);
	}
}

static void write_back_is_lazier(void **state)
{
	u64 cost[2];

	for (int mode = 0; mode < 2; mode++) {
		struct md_engine *e = start(5, 2, 5, true, mode);
		struct md_status st;
		u8 page[4096];

		for (int i = 0; i < 300; i++) {
			memset(page, i, sizeof(page));
			assert_int_equal(sim_rw(&sim, e, MD_WRITE, (i * 7 % 16) * 8, 8, page), 0);
		}
		md_status(e, &st);
		cost[mode] = st.member_reads + st.member_writes;
		stop(e);
	}
	assert_true(cost[MD_WRITE_BACK] * 2 < cost[MD_WRITE_THROUGH]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(geometry_is_a_bijection),
		cmocka_unit_test(every_shape),
		cmocka_unit_test(check_finds_and_repair_mends),
		cmocka_unit_test(bad_sector_is_rewritten),
		cmocka_unit_test(failfast_member_goes_at_once),
		cmocka_unit_test(dying_member_and_rebuild),
		cmocka_unit_test(journal_modes),
		cmocka_unit_test(journal_dies),
		cmocka_unit_test(journal_is_replaced),
		cmocka_unit_test(missing_journal_is_replaced),
		cmocka_unit_test(missing_at_start),
		cmocka_unit_test(first_journal),
		cmocka_unit_test(partial_parity_log_comes_and_goes),
		cmocka_unit_test(clean_stop_empties_the_log),
		cmocka_unit_test(write_back_is_lazier),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
