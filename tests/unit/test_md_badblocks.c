/* SPDX-License-Identifier: MIT
 *
 * Problem: a bad-block log that forgets a sector gives rubbish for data; one that never forgets makes good sectors
 * unreadable.
 *
 * Idea: the ranges against a bit a sector, over random additions and removals and through the on-disk form; then
 * arrays in which a source of a rebuild cannot be read: everything else is rebuilt, that page gives an error and no
 * data, also after a restart, until it is written.
 *
 * Contract: deterministic. Locks: none.
 */
// links: tests/unit/sim_md.c
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdlib.h>
#include <cmocka.h>
#include <linux/raid/md_p.h>
#include <lib/err.h>
#include <lib/string.h>
#include <md/badblocks.h>
#include "sim_md.h"

#define DEVICE 4000

static const struct md_super place = { .super_offset = 8, .bblog_offset = 16, .bblog_size = 8 };

static void like_a_map(void **state)
{
	static bool map[DEVICE];
	static u8 disk[4096];
	struct sim sim = { .rng = 7 };
	struct md_bad b, again;

	assert_int_equal(md_bad_init(&b, &place), 0);
	assert_int_equal(md_bad_init(&again, &place), 0);
	for (int round = 0; round < 20000; round++) {
		u32 n = 1 + sim_random(&sim) % (round % 7 ? 9 : 900);
		u64 at = sim_random(&sim) % (DEVICE - n);
		bool add = sim_random(&sim) % 5 < 2, hit = false;

		for (u32 i = 0; i < n; i++)
			hit |= map[at + i];
		assert_int_equal(md_bad_hits(&b, at, n), hit);
		if (add)
			assert_int_equal(md_bad_add(&b, at, n), 0);
		else
			assert_int_equal(md_bad_remove(&b, at, n), hit);
		memset(map + at, add, n);
		if (round % 100)
			continue;
		md_bad_build(&b, &place, disk);
		assert_int_equal(md_bad_decode(&again, &place, disk, DEVICE), 0);
		for (u64 s = 0; s < DEVICE; s++) {
			assert_int_equal(md_bad_hits(&b, s, 1), map[s]);
			assert_int_equal(md_bad_hits(&again, s, 1), map[s]);
		}
	}
	md_bad_free(&b);
	md_bad_free(&again);
}

static void full(void **state)
{
	struct md_bad b;
	u64 n = 0;

	assert_int_equal(md_bad_init(&b, &place), 0);
	while (!md_bad_add(&b, n * 10, 4))
		n++;
	assert_in_range(n, 500, 512);
	for (u64 i = 0; i < n; i++)
		assert_true(md_bad_hits(&b, i * 10 + 3, 1) && !md_bad_hits(&b, i * 10 + 4, 6));
	md_bad_free(&b);
	assert_int_equal(md_bad_init(&b, &(struct md_super){ .super_offset = 8 }), 0);
	assert_int_equal(md_bad_add(&b, 0, 8), -ENOSPC);
	assert_false(md_bad_hits(&b, 0, 8) || md_bad_remove(&b, 0, 8));
}

static void damaged(void **state)
{
	static const u64 wrong[] = { 0, 5 << 10, (DEVICE - 1) << 10 | 2, 1ULL << 63 | 1 };
	u64 disk[512];
	struct md_bad b;

	assert_int_equal(md_bad_init(&b, &place), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++) {
		memset(disk, 0xff, sizeof(disk));
		disk[0] = 8 << 10 | 8;
		disk[1] = wrong[i];
		assert_int_equal(md_bad_decode(&b, &place, disk, DEVICE), -EINVAL);
	}
	md_bad_free(&b);
}

#define MEMBER 512
static struct sim sim;
static u8 page[4096], got[4096];

static struct md_engine *begin(u64 missing)
{
	struct md_recovery_result rec;
	struct md_engine *e;

	assert_int_equal(sim_start(&sim, missing, MD_WRITE_THROUGH, &e, &rec), 0);
	return e;
}

/* Array sectors whose page gives an error. */
static u32 errors(struct md_engine *e, u64 *where)
{
	u32 n = 0;

	for (u64 at = 0; at < md_engine_geo(e)->sectors; at += 8) {
		int err = sim_rw(&sim, e, MD_READ, at, 8, got);

		if (err) {
			*where = at;
			n++;
		} else {
			memset(page, (int)(at / 8), sizeof(page));
			assert_memory_equal(got, page, sizeof(page));
		}
	}
	return n;
}

static void rebuild_goes_on(void **state)
{
	static const struct {
		int level;
		u32 layout, disks, chunk, bad_at;
	} shapes[] = { { 5, 2, 4, 16, 104 }, { 1, 0, 2, 0, 96 }, { 10, 0x102, 4, 16, 96 } };

	for (unsigned i = 0; i < ARRAY_SIZE(shapes); i++) {
		struct md_super sb = { 0 };
		struct md_engine *e;
		struct md_status st;
		u64 at = 0;

		sim_create(&sim, 3 + i, shapes[i].level, shapes[i].layout, shapes[i].disks, shapes[i].chunk, MEMBER,
			   false);
		e = begin(0);
		for (at = 0; at < md_engine_geo(e)->sectors; at += 8) {
			memset(page, (int)(at / 8), sizeof(page));
			assert_int_equal(sim_rw(&sim, e, MD_WRITE, at, 8, page), 0);
		}
		assert_true(sim_settle(&sim, e));
		assert_int_equal(md_super_decode(sim.disk[0].view + 8 * 512, 8, &sb), 0);
		assert_int_equal(md_fail_member(e, 0), 0);
		assert_true(sim_settle(&sim, e));
		memset(sim.disk[0].view + SIM_DATA_OFFSET * 512, 0xee, MEMBER * 512);
		sim.disk[1].bad_sector = SIM_DATA_OFFSET + shapes[i].bad_at;
		sb.events = 0;
		assert_int_equal(md_add_member(e, 0, &sb), 0);
		assert_true(sim_settle(&sim, e));
		assert_int_equal(md_start_sync(e, MD_SYNC_RECOVER), 0);
		assert_true(sim_settle(&sim, e));
		md_status(e, &st);
		assert_int_equal(st.failed, 0); /* although one page could not be had */
		assert_int_equal(md_bad_blocks(e, 0)->n, 1);
		assert_in_range(errors(e, &at), 1, shapes[i].level == 5 ? 3 : 4);
		md_quiesce(e);
		assert_true(sim_settle(&sim, e));
		md_engine_destroy(e);
		assert_int_equal(md_super_decode(sim.disk[0].view + 8 * 512, 8, &sb), 0);
		assert_true(sb.features & MD_FEATURE_BAD_BLOCKS);
		e = begin(0);
		assert_int_equal(md_bad_blocks(e, 0)->n, 1);
		while (errors(e, &at)) {
			memset(page, (int)(at / 8), sizeof(page));
			assert_int_equal(sim_rw(&sim, e, MD_WRITE, at, 8, page), 0);
		}
		assert_true(sim_settle(&sim, e));
		md_engine_destroy(e);
		e = begin(0);
		assert_int_equal(errors(e, &at), 0);
		md_engine_destroy(e);
		sim_destroy(&sim);
	}
}

static void fill(struct md_engine *e)
{
	for (u64 at = 0; at < md_engine_geo(e)->sectors; at += 8) {
		memset(page, (int)(at / 8), sizeof(page));
		assert_int_equal(sim_rw(&sim, e, MD_WRITE, at, 8, page), 0);
	}
	md_quiesce(e);
	assert_true(sim_settle(&sim, e));
}

/* A sector that cannot be written costs the member that page, also after a stop; when it can be, the page is back. */
static void write_error_is_recorded(void **state)
{
	static const struct {
		int level;
		u32 layout, disks, chunk;
	} shapes[] = { { 5, 2, 4, 16 }, { 6, 2, 5, 16 }, { 1, 0, 2, 0 }, { 10, 0x102, 4, 16 } };

	for (unsigned i = 0; i < ARRAY_SIZE(shapes); i++) {
		struct md_engine *e;
		struct md_status st;
		u64 at;

		sim_create(&sim, 30 + i, shapes[i].level, shapes[i].layout, shapes[i].disks, shapes[i].chunk, MEMBER,
			   false);
		sim.disk[1].stuck = SIM_DATA_OFFSET + 100;
		e = begin(0);
		fill(e);
		md_status(e, &st);
		assert_int_equal(st.failed, 0);
		assert_int_equal(md_bad_blocks(e, 1)->n, 1);
		assert_int_equal(errors(e, &at), 0);
		md_engine_destroy(e);
		e = begin(0);
		assert_int_equal(md_bad_blocks(e, 1)->n, 1);
		assert_int_equal(errors(e, &at), 0);
		sim.disk[1].stuck = ~0ULL;
		fill(e);
		assert_int_equal(md_bad_blocks(e, 1)->n, 0);
		md_engine_destroy(e);
		sim_destroy(&sim);
	}
}

/* Where too many cannot be written the write fails, and nobody is thrown out. */
static void nobody_can_write(void **state)
{
	struct md_engine *e;
	struct md_status st;
	u32 failed = 0;

	sim_create(&sim, 40, 5, 2, 4, 16, MEMBER, false);
	for (int i = 0; i < 3; i++)
		sim.disk[i].stuck = SIM_DATA_OFFSET + 100;
	e = begin(0);
	for (u64 at = 0; at < md_engine_geo(e)->sectors; at += 8)
		failed += sim_rw(&sim, e, MD_WRITE, at, 8, page) != 0;
	assert_in_range(failed, 1, 3);
	md_status(e, &st);
	assert_int_equal(st.failed, 0);
	md_engine_destroy(e);
	sim_destroy(&sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(like_a_map),
		cmocka_unit_test(full),
		cmocka_unit_test(damaged),
		cmocka_unit_test(rebuild_goes_on),
		cmocka_unit_test(write_error_is_recorded),
		cmocka_unit_test(nobody_can_write),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
