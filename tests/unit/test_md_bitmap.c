/* SPDX-License-Identifier: MIT
 *
 * Problem: a bitmap that forgets one write leaves old data on a member that comes back, or parity that is wrong after a
 * crash; one that remembers everything is of no use.
 *
 * Idea: arrays of each kind over disks that lose power. A member leaves with what it has, the others are written, and
 * it comes back: then it must have everything, and must have been sent no more than the chunks that were written. The
 * same with crashes, stale and damaged bitmaps, and across stops.
 *
 * Contract: deterministic; OSTROM_SEED picks another run. Locks: none.
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
#include <md/bitmap.h>
#include "sim_md.h"

#define MEMBER_SECTORS 1024
#define CHUNK_BYTES    16384
#define SECTORS_MAX    (MEMBER_SECTORS * SIM_DISKS)

static struct sim sim;
static u8 model[SECTORS_MAX * 512], got[SECTORS_MAX * 512];

static const struct shape {
	int level;
	u32 layout, disks, chunk;
} shapes[] = { { 5, 2, 4, 16 }, { 6, 2, 5, 16 },      { 4, 0, 3, 16 },
	       { 1, 0, 3, 0 },  { 10, 0x102, 4, 16 }, { 10, 0x201, 4, 16 } };

static u64 seed(void)
{
	const char *s = getenv("OSTROM_SEED");

	return s ? strtoull(s, NULL, 0) : 1;
}

static struct md_engine *begin(u64 missing)
{
	struct md_recovery_result rec;
	struct md_engine *e;

	assert_int_equal(sim_start(&sim, missing, MD_WRITE_THROUGH, &e, &rec), 0);
	return e;
}

static struct md_engine *create(const struct shape *s)
{
	struct md_engine *e;

	sim_create(&sim, seed() + (u64)s->level, s->level, s->layout, s->disks, s->chunk, MEMBER_SECTORS, false);
	e = begin(0);
	sim_add_bitmap(&sim, CHUNK_BYTES, s->level == 10 ? md_engine_geo(e)->sectors : MEMBER_SECTORS);
	md_engine_destroy(e);
	memset(model, 0, sizeof(model));
	return begin(0);
}

static void end(struct md_engine *e)
{
	md_engine_destroy(e);
	sim_destroy(&sim);
}

static void settle(struct md_engine *e)
{
	assert_true(sim_settle(&sim, e));
}

static struct md_status status(struct md_engine *e)
{
	struct md_status st;

	md_status(e, &st);
	return st;
}

static void put(struct md_engine *e, u64 at, u32 sectors)
{
	for (u32 i = 0; i < sectors * 512; i++)
		model[at * 512 + i] = (u8)sim_random(&sim);
	assert_int_equal(sim_rw(&sim, e, MD_WRITE, at, sectors, model + at * 512), 0);
}

static void verify(struct md_engine *e)
{
	u64 sectors = md_engine_geo(e)->sectors;

	for (u64 at = 0; at < sectors; at += 64)
		assert_int_equal(sim_rw(&sim, e, MD_READ, at, (u32)min((u64)64, sectors - at), got + at * 512), 0);
	assert_memory_equal(got, model, sectors * 512);
}

static void pass(struct md_engine *e, enum md_sync kind)
{
	settle(e);
	assert_int_equal(md_start_sync(e, kind), 0);
	settle(e);
}

static void agrees(struct md_engine *e)
{
	pass(e, MD_SYNC_CHECK);
	assert_int_equal(status(e).mismatches, 0);
	assert_int_equal(status(e).failed, 0);
	verify(e);
}

static void shut(struct md_engine *e)
{
	do {
		md_shut(e);
		md_run(e);
	} while (!md_is_idle(e) && sim_step(&sim, e));
	assert_true(md_is_idle(e) && status(e).clean);
	md_engine_destroy(e);
}

static struct md_super super_of(u32 slot)
{
	struct md_super sb;

	assert_int_equal(md_super_decode(sim.disk[slot].view + 8 * 512, 8, &sb), 0);
	return sb;
}

static u32 bits_on(u32 slot)
{
	struct md_bitmap b;
	u8 *p = sim.disk[slot].view + 16 * 512;

	assert_int_equal(md_bitmap_decode(p, &b), 0);
	return (u32)md_bitmap_count(p + MD_BITMAP_HEADER, md_bitmap_bits(&b));
}

static void sweep(struct md_engine *e)
{
	md_set_time(e, sim.now += 5);
	settle(e);
}

static void write_everywhere(struct md_engine *e)
{
	for (u64 at = 0; at < md_engine_geo(e)->sectors; at += 48)
		put(e, at, 8);
}

static void bits_come_and_go(void **state)
{
	for (unsigned i = 0; i < ARRAY_SIZE(shapes); i++) {
		struct md_engine *e = create(&shapes[i]);

		assert_int_equal(bits_on(0), 0);
		put(e, 100, 4);
		assert_in_range(bits_on(0), 1, 2);
		assert_int_equal(bits_on(0), bits_on(1));
		settle(e);
		sweep(e);
		assert_in_range(bits_on(0), 1, 2); /* only idle from now on */
		put(e, 100, 4);
		sweep(e);
		assert_in_range(bits_on(0), 1, 2); /* written again */
		sweep(e);
		assert_int_equal(bits_on(0), 0);
		put(e, 100, 4);
		shut(e);
		assert_int_equal(bits_on(0), 0);
		e = begin(0);
		verify(e);
		end(e);
	}
}

/* Its disk stays as it is while the others are written. */
static void member_comes_back(struct md_engine **e, u32 slot, bool stops)
{
	struct md_super sb;
	u64 before;

	write_everywhere(*e);
	settle(*e);
	sweep(*e);
	sweep(*e);
	sb = super_of(slot);
	assert_int_equal(md_fail_member(*e, slot), 0);
	settle(*e);
	put(*e, 64, 20);
	put(*e, 600, 4);
	settle(*e);
	sweep(*e);
	sweep(*e); /* bits of a degraded array stay */
	if (stops) {
		shut(*e);
		*e = begin(0);
		assert_int_equal(status(*e).failed, BIT(slot));
	}
	assert_int_equal(md_can_return(*e, &sb), slot);
	assert_int_equal(md_add_member(*e, slot, &sb), 0);
	settle(*e);
	before = status(*e).member_writes;
	pass(*e, MD_SYNC_RECOVER);
	assert_in_range(status(*e).member_writes - before, 2,
			60); /* with superblocks and bitmaps; all: 128 pages or more */
	agrees(*e);
	sweep(*e);
	sweep(*e);
	assert_int_equal(bits_on(0), 0);
}

static void returns(void **state)
{
	for (unsigned i = 0; i < ARRAY_SIZE(shapes); i++)
		for (u32 slot = 0; slot < 2; slot++)
			for (int stops = 0; stops < 2; stops++) {
				struct md_engine *e = create(&shapes[i]);

				member_comes_back(&e, slot, stops);
				end(e);
			}
}

/* Two members leave one after the other and come back one after the other. */
static void two_return(void **state)
{
	static const struct shape six = { 6, 2, 5, 16 };
	struct md_engine *e = create(&six);
	struct md_super first, second;

	write_everywhere(e);
	settle(e);
	first = super_of(1);
	assert_int_equal(md_fail_member(e, 1), 0);
	put(e, 64, 20);
	settle(e);
	second = super_of(3);
	assert_int_equal(md_fail_member(e, 3), 0);
	put(e, 700, 20);
	settle(e);
	assert_int_equal(md_add_member(e, 3, &second), 0);
	pass(e, MD_SYNC_RECOVER);
	assert_int_equal(md_add_member(e, 1, &first), 0);
	pass(e, MD_SYNC_RECOVER);
	agrees(e);
	end(e);
}

/* One that left before bits were taken away again has missed more than the bitmap knows. */
static void too_old(void **state)
{
	struct md_engine *e = create(&shapes[0]);
	struct md_super old, blank;

	put(e, 64, 20);
	settle(e);
	old = super_of(2);
	assert_int_equal(md_fail_member(e, 2), 0);
	put(e, 800, 20);
	settle(e);
	blank = old;
	blank.events = 0;
	memset(sim.disk[2].view + SIM_DATA_OFFSET * 512, 0xee, MEMBER_SECTORS * 512);
	assert_int_equal(md_can_return(e, &blank), MD_NO_SLOT);
	assert_int_equal(md_add_member(e, 2, &blank), 0);
	pass(e, MD_SYNC_RECOVER);
	agrees(e);
	put(e, 128, 8);
	settle(e);
	sweep(e);
	sweep(e);
	assert_int_equal(md_fail_member(e, 2), 0);
	settle(e);
	assert_int_equal(md_can_return(e, &old), MD_NO_SLOT);
	end(e);
}

static void crash_resyncs_marked(void **state)
{
	for (unsigned i = 0; i < ARRAY_SIZE(shapes); i++) {
		struct md_engine *e = create(&shapes[i]);
		u64 reads;

		write_everywhere(e);
		settle(e);
		sweep(e);
		sweep(e);
		put(e, 300, 10);
		sim.off = true;
		sim_crash(&sim);
		md_engine_destroy(e);
		memset(sim.disk[shapes[i].disks - 1].view + (SIM_DATA_OFFSET + 8) * 512, 0x11, 512); /* elsewhere */
		e = begin(0);
		assert_int_not_equal(status(e).parity_good, MD_CLEAN);
		reads = status(e).member_reads;
		pass(e, MD_SYNC_RESYNC);
		assert_in_range(status(e).member_reads - reads, 1, 60);
		assert_int_equal(status(e).parity_good, MD_CLEAN);
		pass(e, MD_SYNC_CHECK);
		assert_int_not_equal(status(e).mismatches, 0); /* what the bitmap did not name was left alone */
		end(e);
	}
}

/* A bitmap older than the superblocks (somebody ran the array without it): everything counts as written. */
static void stale_means_all(void **state)
{
	struct md_engine *e = create(&shapes[0]);
	u8 copy[4096];

	memcpy(copy, sim.disk[0].view + 16 * 512, sizeof(copy));
	write_everywhere(e);
	assert_int_equal(sim_rw(&sim, e, MD_FLUSH, 0, 0, NULL), 0);
	sim.off = true;
	sim_crash(&sim);
	md_engine_destroy(e);
	for (u32 i = 0; i < sim.disks; i++) {
		memcpy(sim.disk[i].view + 16 * 512, copy, sizeof(copy));
		memcpy(sim.disk[i].stable + 16 * 512, copy, sizeof(copy));
	}
	e = begin(0);
	assert_int_equal(status(e).bitmap_set, status(e).bitmap_bits);
	pass(e, MD_SYNC_RESYNC);
	assert_true(status(e).member_reads >= MEMBER_SECTORS / 8 * sim.disks);
	agrees(e);
	end(e);
}

static void refuse(u32 at, u8 value)
{
	struct md_recovery_result rec;
	struct md_engine *e = create(&shapes[0]);

	md_engine_destroy(e);
	for (u32 i = 0; i < sim.disks; i++)
		sim.disk[i].view[16 * 512 + at] ^= value;
	assert_int_equal(sim_start(&sim, 0, MD_WRITE_THROUGH, &e, &rec), -EINVAL);
	sim_destroy(&sim);
}

static void damaged_is_refused(void **state)
{
	refuse(0, 1);     /* magic */
	refuse(4, 7);     /* version */
	refuse(8, 1);     /* of another array */
	refuse(52, 3);    /* chunk */
	refuse(54, 0xff); /* so large that the bits do not count */
}

static void added_and_removed(void **state)
{
	struct md_engine *e;
	struct md_bitmap b = { .version = 4,
			       .uuid = { 1, 2, 3 },
			       .events = 1,
			       .sync_sectors = MEMBER_SECTORS,
			       .chunk_bytes = CHUNK_BYTES,
			       .daemon_sleep_s = 5 };
	u8 image[4096] = { 0 };

	sim_create(&sim, seed(), 5, 2, 4, 16, MEMBER_SECTORS, false);
	memset(model, 0, sizeof(model));
	e = begin(0);
	put(e, 0, 64);
	settle(e);
	md_bitmap_build(&b, image);
	assert_int_equal(md_set_bitmap(e, 4, image, sizeof(image)), -EINVAL); /* on the superblock */
	assert_int_equal(md_set_bitmap(e, 8, image, sizeof(image)), 0);
	assert_int_equal(md_set_bitmap(e, 8, image, sizeof(image)), -EBUSY);
	settle(e);
	sim.bitmap = true;
	assert_true(super_of(3).features & MD_FEATURE_BITMAP_OFFSET);
	member_comes_back(&e, 2, true);
	assert_int_equal(md_set_bitmap(e, 0, NULL, 0), 0);
	settle(e);
	assert_false(super_of(3).features & MD_FEATURE_BITMAP_OFFSET);
	sim.bitmap = false;
	put(e, 0, 64);
	shut(e);
	e = begin(0);
	agrees(e);
	end(e);
}

/* A resync that is ended goes on where it was. */
static void checkpoint(void **state)
{
	struct md_engine *e;
	struct md_super sb;

	sim_create(&sim, seed(), 5, 2, 4, 16, MEMBER_SECTORS, false);
	for (u32 i = 0; i < 4; i++) {
		sb = super_of(i);
		sb.resync_offset = 0;
		md_super_build(&sb, sim.disk[i].view + 8 * 512);
	}
	e = begin(0);
	assert_int_equal(md_start_sync(e, MD_SYNC_RESYNC), 0);
	while (status(e).sync_position < MEMBER_SECTORS / 2) {
		md_run(e);
		assert_true(sim_step(&sim, e));
	}
	shut(e);
	assert_in_range(super_of(0).resync_offset, MEMBER_SECTORS / 2, MEMBER_SECTORS - 1);
	e = begin(0);
	assert_int_equal(status(e).parity_good, super_of(0).resync_offset);
	pass(e, MD_SYNC_RESYNC);
	assert_in_range(status(e).member_reads, 1, 4 * (MEMBER_SECTORS / 2 / 8));
	shut(e);
	assert_int_equal(super_of(0).resync_offset, MD_CLEAN);
	sim_destroy(&sim);
}

/* Members with more room than the array uses. */
static void grows(void **state)
{
	for (unsigned i = 0; i < 5; i++)
		for (int bitmap = 0; bitmap < 2; bitmap++) {
			const struct shape *s = &shapes[i];
			struct md_super sb;
			struct md_engine *e;
			u64 before;

			sim_create(&sim, seed(), s->level, s->layout, s->disks, s->chunk, MEMBER_SECTORS, false);
			for (u32 k = 0; k < s->disks; k++) {
				sb = super_of(k);
				sb.size = MEMBER_SECTORS / 2;
				md_super_build(&sb, sim.disk[k].view + 8 * 512);
				memset(sim.disk[k].view + (SIM_DATA_OFFSET + sb.size) * 512, (int)k + 1, sb.size * 512);
			}
			e = begin(0);
			if (bitmap) {
				sim_add_bitmap(&sim, CHUNK_BYTES,
					       s->level == 10 ? md_engine_geo(e)->sectors : MEMBER_SECTORS / 2);
				md_engine_destroy(e);
				e = begin(0);
			}
			memset(model, 0, sizeof(model));
			write_everywhere(e);
			settle(e);
			before = md_engine_geo(e)->sectors;
			assert_int_equal(md_set_size(e, MEMBER_SECTORS * 2), -ENOSPC);
			assert_int_equal(md_set_size(e, MEMBER_SECTORS / 4), -EINVAL);
			assert_int_equal(md_set_size(e, 0), 0);
			settle(e);
			assert_int_equal(md_engine_geo(e)->sectors, 2 * before);
			for (u64 at = before; at < 2 * before; at += 48)
				put(e, at, 48 < 2 * before - at ? 48 : (u32)(2 * before - at));
			shut(e);
			e = begin(0);
			assert_int_equal(md_engine_geo(e)->sectors, 2 * before);
			assert_int_not_equal(status(e).parity_good, MD_CLEAN);
			pass(e, MD_SYNC_RESYNC);
			agrees(e);
			end(e);
		}
}

static void more_mirrors(void **state)
{
	static const struct shape two = { 1, 0, 2, 0 };
	struct md_engine *e = create(&two);
	struct md_super sb = super_of(1);

	write_everywhere(e);
	settle(e);
	assert_int_equal(md_set_mirrors(e, 1), -EBUSY);
	assert_int_equal(md_set_mirrors(e, 3), 0);
	settle(e);
	assert_int_equal(status(e).failed, 4);
	assert_int_equal(super_of(0).raid_disks, 3);
	assert_int_equal(md_fail_member(e, 1), 0);
	settle(e);
	assert_int_equal(md_add_member(e, 1, &sb), 0);
	pass(e, MD_SYNC_RECOVER);
	assert_int_equal(md_set_mirrors(e, 2), 0);
	settle(e);
	put(e, 0, 64);
	agrees(e);
	end(e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bits_come_and_go),     cmocka_unit_test(returns),
		cmocka_unit_test(two_return),           cmocka_unit_test(too_old),
		cmocka_unit_test(crash_resyncs_marked), cmocka_unit_test(stale_means_all),
		cmocka_unit_test(damaged_is_refused),   cmocka_unit_test(added_and_removed),
		cmocka_unit_test(checkpoint),           cmocka_unit_test(grows),
		cmocka_unit_test(more_mirrors),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
