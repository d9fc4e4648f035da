/* SPDX-License-Identifier: MIT
 *
 * Problem: faults do not wait for each other: a member vanishes while another is rebuilt, a sector goes bad in the
 * middle of a resync, a disk stalls while the journal needs room.
 *
 * Idea: a storm. Requests go on against a plain array as the model while members vanish, come back (with what they
 * had), stall, and get sectors that cannot be read; passes and the small journal's reclaim run all the time. There are
 * never more faults at once than the array must bear, so every request must succeed and every byte must be right; at
 * the end everybody is back, the array is whole, and parity or copies agree.
 *
 * Besides: a member misses a write, and the machine stops as soon as that is acknowledged. Then the member works again,
 * with what it had; nobody may take that for what was written.
 *
 * Contract: deterministic; OSTROM_SEED picks another run, OSTROM_STORMS how many a configuration. Locks: none.
 */
// links: tests/unit/sim_md.c
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include <linux/raid/md_p.h>
#include <lib/err.h>
#include <lib/string.h>
#include "sim_md.h"

#define MEMBER_SECTORS 512
#define MAX_IO         64
#define EVENTS         400
#define SECTORS_MAX    (MEMBER_SECTORS * SIM_DISKS)

static const struct storm {
	const char *name;
	int level;
	u32 layout, disks, chunk, bears; /* bears: faults at once */
	bool journal, bitmap;
	enum md_journal_mode mode;
} storms[] = {
	{ .name = "raid5", .level = 5, .layout = 2, .disks = 4, .chunk = 16, .bears = 1 },
	{ .name = "raid5 with a bitmap", .level = 5, .layout = 2, .disks = 4, .chunk = 16, .bears = 1, .bitmap = true },
	{ .name = "raid5 write-through",
	  .level = 5,
	  .layout = 2,
	  .disks = 4,
	  .chunk = 16,
	  .bears = 1,
	  .journal = true },
	{ .name = "raid5 write-back",
	  .level = 5,
	  .layout = 2,
	  .disks = 4,
	  .chunk = 16,
	  .bears = 1,
	  .journal = true,
	  .mode = MD_WRITE_BACK },
	{ .name = "raid6", .level = 6, .layout = 2, .disks = 5, .chunk = 16, .bears = 2 },
	{ .name = "raid6 with a bitmap", .level = 6, .layout = 2, .disks = 5, .chunk = 16, .bears = 2, .bitmap = true },
	{ .name = "raid6 write-back",
	  .level = 6,
	  .layout = 2,
	  .disks = 5,
	  .chunk = 16,
	  .bears = 2,
	  .journal = true,
	  .mode = MD_WRITE_BACK },
	{ .name = "raid1 of three", .level = 1, .disks = 3, .bears = 2 },
	{ .name = "raid1 with a bitmap", .level = 1, .disks = 3, .bears = 2, .bitmap = true },
	{ .name = "raid10", .level = 10, .layout = 0x102, .disks = 4, .chunk = 16, .bears = 1 },
	{ .name = "raid10 far", .level = 10, .layout = 0x201, .disks = 4, .chunk = 16, .bears = 1 },
};

static struct sim sim;
static u8 model[SECTORS_MAX * 512], got[SECTORS_MAX * 512];
static u32 returned; /* how often a member came back, in all */

static struct md_status status(struct md_engine *e)
{
	struct md_status st;

	md_status(e, &st);
	return st;
}

/* Members whose contents cannot be had somewhere. */
static u32 faults(struct md_engine *e)
{
	u64 m = status(e).failed;

	for (u32 i = 0; i < sim.disks; i++)
		if (sim.disk[i].dead || sim.disk[i].bad_sector != ~0ULL || md_bad_blocks(e, i)->n)
			m |= BIT(i);
	return (u32)__builtin_popcountll(m);
}

static void vanish(struct md_engine *e, const struct storm *s, u32 i)
{
	if (faults(e) < s->bears && !(status(e).failed & BIT(i)))
		sim.disk[i].dead = true;
}

static void spoil(struct md_engine *e, const struct storm *s, u32 i)
{
	if (faults(e) < s->bears && !(status(e).failed & BIT(i)))
		sim.disk[i].bad_sector = SIM_DATA_OFFSET + sim_random(&sim) % MEMBER_SECTORS;
}

/* It is there again, with what it had; if it was missed meanwhile, it is added. One that could not be written in places
 * is thrown out before, and is rebuilt. */
static void come_back(struct md_engine *e, u32 i)
{
	struct md_super sb;

	sim.disk[i].dead = false;
	if (md_bad_blocks(e, i)->n)
		(void)!md_fail_member(e, i);
	if (!(status(e).faulty & BIT(i)))
		return;
	sim.disk[i].bad_sector = ~0ULL; /* in case that is why it failed */
	assert_int_equal(md_super_decode(sim.disk[i].view + 8 * 512, 8, &sb), 0);
	if (md_can_return(e, &sb) != i)
		sb.events = 0;
	returned += !md_add_member(e, i, &sb);
}

static void start_pass(struct md_engine *e)
{
	static const enum md_sync kinds[] = { MD_SYNC_RECOVER, MD_SYNC_CHECK, MD_SYNC_REPAIR };

	if (!md_start_sync(e, MD_SYNC_RECOVER))
		return;
	(void)!md_start_sync(e, kinds[sim_random(&sim) % ARRAY_SIZE(kinds)]); /* where one may begin now */
}

static void transfer(struct md_engine *e)
{
	u64 sectors = md_engine_geo(e)->sectors;
	u32 n = 1 + (u32)(sim_random(&sim) % (sim_random(&sim) % 4 ? 10 : MAX_IO));
	u64 at = sim_random(&sim) % (sectors - n);

	if (sim_random(&sim) % 3 == 0) {
		assert_int_equal(sim_rw(&sim, e, MD_READ, at, n, got), 0);
		assert_memory_equal(got, model + at * 512, n * 512);
		return;
	}
	for (u32 i = 0; i < n * 512; i++)
		model[at * 512 + i] = (u8)sim_random(&sim);
	assert_int_equal(sim_rw(&sim, e, MD_WRITE, at, n, model + at * 512), 0);
}

static void event(struct md_engine *e, const struct storm *s)
{
	u32 i = (u32)(sim_random(&sim) % s->disks);

	switch (sim_random(&sim) % 24) {
	case 0: vanish(e, s, i); break;
	case 1: spoil(e, s, i); break;
	case 2: sim.stalled = BIT(i); break;
	case 3: sim.stalled = 0; break;
	case 4: md_stop_sync(e); break;
	case 5: md_quiesce(e); break;
	case 6: md_set_time(e, sim.now += 5); break;
	case 7:
	case 8:
		for (i = 0; i < s->disks; i++)
			if (sim.disk[i].dead || status(e).faulty & BIT(i) || md_bad_blocks(e, i)->n)
				come_back(e, i);
		break;
	case 9:
	case 10: start_pass(e); break;
	default: transfer(e);
	}
}

static void calm(struct md_engine *e, const struct storm *s)
{
	sim.stalled = 0;
	for (int tries = 0; tries < 10; tries++) {
		for (u32 i = 0; i < s->disks; i++) {
			sim.disk[i].bad_sector = ~0ULL;
			come_back(e, i);
		}
		assert_true(sim_settle(&sim, e));
		if (!status(e).failed)
			break;
		(void)!md_start_sync(e, MD_SYNC_RECOVER);
		assert_true(sim_settle(&sim, e));
	}
	assert_int_equal(status(e).failed, 0);
	md_quiesce(e);
	assert_true(sim_settle(&sim, e));
	assert_int_equal(md_start_sync(e, MD_SYNC_CHECK), 0);
	assert_true(sim_settle(&sim, e));
	assert_int_equal(status(e).mismatches, 0);
	for (u64 at = 0; at < md_engine_geo(e)->sectors; at += 8) {
		u32 n = (u32)min((u64)8, md_engine_geo(e)->sectors - at);

		assert_int_equal(sim_rw(&sim, e, MD_READ, at, n, got), 0);
		assert_memory_equal(got, model + at * 512, n * 512);
	}
}

static struct md_engine *begin(const struct storm *s, u64 seed)
{
	struct md_recovery_result rec;
	struct md_engine *e;

	sim_create(&sim, seed, s->level, s->layout, s->disks, s->chunk, MEMBER_SECTORS, s->journal);
	assert_int_equal(sim_start(&sim, 0, s->mode, &e, &rec), 0);
	if (s->bitmap) {
		sim_add_bitmap(&sim, 8192, s->level == 10 ? md_engine_geo(e)->sectors : MEMBER_SECTORS);
		md_engine_destroy(e);
		assert_int_equal(sim_start(&sim, 0, s->mode, &e, &rec), 0);
	}
	memset(model, 0, sizeof(model));
	return e;
}

static void weather(const struct storm *s, u64 seed)
{
	struct md_engine *e = begin(s, seed);

	for (int i = 0; i < EVENTS; i++)
		event(e, s);
	calm(e, s);
	md_engine_destroy(e);
	sim_destroy(&sim);
}

static void storm(void **state)
{
	const char *from = getenv("OSTROM_SEED"), *many = getenv("OSTROM_STORMS");
	u64 first = from ? strtoull(from, NULL, 0) : 1, n = many ? strtoull(many, NULL, 0) : 8;

	returned = 0;
	for (u64 seed = first; seed < first + n; seed++) {
		if (many)
			fprintf(stderr, "\r%llu ", (unsigned long long)seed);
		weather(*state, seed);
	}
	assert_true(returned || n == 1);
}

/* All of the array, or an error. A member that is known to lack something takes parity with it that is not known to be
 * right after a stop; copies and a journal have all. */
static void read_after_stop(struct md_engine *e, const struct storm *s)
{
	bool may_fail = md_level_has_parity(s->level) && !s->journal;

	for (u64 at = 0; at + 8 <= md_engine_geo(e)->sectors; at += 8) {
		int err = sim_rw(&sim, e, MD_READ, at, 8, got);

		assert_true(!err || may_fail);
		if (!err)
			assert_memory_equal(got, model + at * 512, 8 * 512);
	}
}

/* The first member vanishes, or cannot be written in one place. */
static void miss(const struct storm *s, u64 seed, bool vanishes)
{
	struct md_engine *e = begin(s, seed);
	u32 n = (u32)min(md_engine_geo(e)->sectors, (u64)MAX_IO);
	struct md_recovery_result rec;

	for (int round = 0; round < 2; round++) { /* the second finds an array that is not clean any more */
		if (round && vanishes)
			sim.disk[0].dead = true;
		else if (round)
			sim.disk[0].stuck = SIM_DATA_OFFSET + 8 + sim_random(&sim) % 8;
		memset(model, round + 1, n * 512);
		assert_int_equal(sim_rw(&sim, e, MD_WRITE, 0, n, model), 0);
		if (!round)
			assert_true(sim_settle(&sim, e));
	}
	list_init(&sim.queue);
	md_engine_destroy(e);
	sim.disk[0].dead = false;
	sim.disk[0].stuck = ~0ULL;
	assert_int_equal(sim_start(&sim, 0, s->mode, &e, &rec), 0);
	read_after_stop(e, s);
	md_engine_destroy(e);
	sim_destroy(&sim);
}

static void missed_write_is_known(void **state)
{
	for (u64 seed = 1; seed <= 10; seed++) {
		miss(*state, seed, true);
		miss(*state, seed, false);
	}
}

int main(void)
{
	struct CMUnitTest weathers[ARRAY_SIZE(storms)], misses[ARRAY_SIZE(storms)];

	for (unsigned i = 0; i < ARRAY_SIZE(storms); i++) {
		weathers[i] = (struct CMUnitTest){ storms[i].name, storm, NULL, NULL, (void *)&storms[i] };
		misses[i] = weathers[i];
		misses[i].test_func = missed_write_is_known;
	}
	return cmocka_run_group_tests_name("storms", weathers, NULL, NULL) +
	       cmocka_run_group_tests_name("a missed write", misses, NULL, NULL);
}
