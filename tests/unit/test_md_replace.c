/* SPDX-License-Identifier: MIT
 *
 * Problem: while a member is being replaced there are two devices for one slot, and everything that can happen to a
 * member can happen to either of them, in the middle.
 *
 * Idea: for each shape of array (level, log, bitmap) the same life: an heir comes, requests go on beside the copying
 * against a plain array as the model, then one of the cases below; at the end who should have the slot has it, the
 * old member's disk is taken away, every byte is right, and parity or copies agree.
 *
 * Contract: deterministic; OSTROM_SEED picks another run. Locks: none.
 */
// links: tests/unit/sim_md.c
#include <linux/raid/md_p.h>
#include "md_model.h"

#define VICTIM 1

static const struct shape {
	const char *name;
	int level;
	u32 layout, disks, chunk;
	bool journal, bitmap, ppl;
	enum md_journal_mode mode;
} shapes[] = {
	{ .name = "raid5", .level = 5, .layout = 2, .disks = 4, .chunk = 16 },
	{ .name = "raid5 with a bitmap", .level = 5, .layout = 2, .disks = 4, .chunk = 16, .bitmap = true },
	{ .name = "raid5 with a partial parity log", .level = 5, .layout = 2, .disks = 4, .chunk = 16, .ppl = true },
	{ .name = "raid5 write-through", .level = 5, .layout = 2, .disks = 4, .chunk = 16, .journal = true },
	{ .name = "raid5 write-back",
	  .level = 5,
	  .layout = 2,
	  .disks = 4,
	  .chunk = 16,
	  .journal = true,
	  .mode = MD_WRITE_BACK },
	{ .name = "raid6", .level = 6, .layout = 2, .disks = 5, .chunk = 16 },
	{ .name = "raid1", .level = 1, .layout = 0, .disks = 2, .chunk = 0 },
	{ .name = "raid1 of three with a bitmap", .level = 1, .layout = 0, .disks = 3, .chunk = 0, .bitmap = true },
	{ .name = "raid10", .level = 10, .layout = 0x102, .disks = 4, .chunk = 16 },
	{ .name = "raid10 far", .level = 10, .layout = 0x201, .disks = 4, .chunk = 16 },
	{ .name = "raid10 offset", .level = 10, .layout = 0x10201, .disks = 3, .chunk = 16 },
};

static struct md_status status(struct md_engine *e)
{
	struct md_status st;

	md_status(e, &st);
	return st;
}

/* An array with random contents. */
static struct md_engine *make(const struct shape *s, u64 n)
{
	struct md_engine *e = NULL;
	struct md_geo g;

	sim_create(&sim, seed() * 100 + n, s->level, s->layout, s->disks, s->chunk, MEMBER_SECTORS, s->journal);
	assert_int_equal(md_geo_init(&g, s->level, s->layout, s->disks, s->chunk, MEMBER_SECTORS), 0);
	if (s->bitmap)
		sim_add_bitmap(&sim, 16384, s->level == 10 ? g.sectors : g.member_sectors);
	if (s->ppl)
		sim_add_ppl(&sim, SIM_PPL_SECTORS);
	memset(model, 0, sizeof(model));
	restart(&e, 0, s->mode);
	random_writes(e, 60);
	return e;
}

static void add_heir(struct md_engine *e)
{
	struct md_super sb;

	assert_true(sim_settle(&sim, e));
	sim_add_spare(&sim, &sb);
	sim.at[MD_HEIR(VICTIM)] = sim.disks + 1;
	assert_int_equal(md_add_heir(e, VICTIM, &sb), 0);
	assert_true(sim_settle(&sim, e));
	assert_int_equal(md_add_heir(e, VICTIM, &sb), -EBUSY);
}

/* Copies as far as `writes` requests take; false: it is done already. */
static bool copy_a_while(struct md_engine *e, unsigned writes)
{
	assert_int_equal(md_start_sync(e, MD_SYNC_RECOVER), 0);
	while (writes-- && status(e).heirs_behind)
		random_writes(e, 1);
	return status(e).heirs_behind;
}

static void finish(struct md_engine *e)
{
	if (status(e).sync == MD_SYNC_NONE && (status(e).heirs_behind || status(e).failed & ~status(e).faulty))
		assert_int_equal(md_start_sync(e, MD_SYNC_RECOVER), 0);
	random_writes(e, 10);
	assert_true(sim_settle(&sim, e));
	/* A pass that a failure has ended goes on. */
	if (status(e).failed & ~status(e).faulty)
		assert_int_equal(md_start_sync(e, MD_SYNC_RECOVER), 0);
	assert_true(sim_settle(&sim, e));
	assert_false(status(e).heirs);
}

/* The old member's disk is not needed any more, now and after a stop. */
static void prove(const struct shape *s, struct md_engine *e)
{
	assert_int_equal(sim.at[VICTIM], sim.disks + 1);
	assert_int_equal(status(e).failed, 0);
	sim.disk[VICTIM].dead = true;
	verify(e);
	assert_int_equal(sync_pass(e, MD_SYNC_CHECK), 0);
	assert_int_equal(status(e).failed, 0);
	md_shut(e);
	assert_true(sim_settle(&sim, e));
	sim.disk[VICTIM].dead = false; /* it is there, and stale */
	restart(&e, 0, s->mode);
	assert_int_equal(sim.at[VICTIM], sim.disks + 1);
	assert_int_equal(status(e).failed, 0);
	verify(e);
	assert_int_equal(sync_pass(e, MD_SYNC_CHECK), 0);
	stop(e);
}

static void replaced(const struct shape *s, u64 n)
{
	struct md_engine *e = make(s, n);

	add_heir(e);
	copy_a_while(e, 1000);
	finish(e);
	prove(s, e);
}

/* A sector that cannot be read is had from the others. */
static void bad_sector(const struct shape *s, u64 n)
{
	struct md_engine *e = make(s, n);

	add_heir(e);
	sim.disk[VICTIM].bad_sector = SIM_DATA_OFFSET + MEMBER_SECTORS / 2;
	copy_a_while(e, 1000);
	finish(e);
	prove(s, e);
}

/* The member fails: its heir takes over as far as it is. */
static void member_fails(const struct shape *s, u64 n)
{
	struct md_engine *e = make(s, n);

	add_heir(e);
	if (copy_a_while(e, 3))
		sim.disk[VICTIM].dead = true;
	for (int i = 0; i < 200 && status(e).heirs; i++)
		random_writes(e, 1);
	finish(e);
	prove(s, e);
}

/* Stopped and started again, in the middle, with nothing new to copy below where it was. */
static void stopped(const struct shape *s, u64 n)
{
	struct md_engine *e = make(s, n);
	u64 behind;

	add_heir(e);
	copy_a_while(e, 2);
	md_shut(e);
	assert_true(sim_settle(&sim, e));
	behind = status(e).heirs_behind;
	restart(&e, 0, s->mode);
	assert_int_equal(status(e).heirs_behind, behind);
	verify(e);
	finish(e);
	prove(s, e);
}

/* The power fails in the middle: what was written last is there or not, but from then on always the same. */
static void crashed(const struct shape *s, u64 n)
{
	struct md_engine *e = make(s, n);
	struct md_super sb;

	add_heir(e);
	copy_a_while(e, 2);
	sim_crash(&sim);
	assert_int_equal(md_super_decode(sim.disk[sim.disks + 1].view + 8 * 512, 8, &sb), 0);
	if (!s->journal && sb.features & MD_FEATURE_REPLACEMENT)
		assert_int_equal(sb.recovery_offset, 0); /* for Linux; here an array that is not clean is enough */
	restart(&e, 0, s->mode);
	if (status(e).parity_good != MD_CLEAN)
		sync_pass(e, MD_SYNC_RESYNC);
	assert_int_equal(sim_rw(&sim, e, MD_READ, 0, (u32)md_engine_geo(e)->sectors, model), 0);
	finish(e);
	prove(s, e);
}

/* The heir fails: nothing has happened, and after a stop it is not used. */
static void heir_fails(const struct shape *s, u64 n)
{
	struct md_engine *e = make(s, n);

	add_heir(e);
	copy_a_while(e, 2);
	sim.disk[sim.disks + 1].dead = status(e).heirs;
	random_writes(e, 20);
	assert_true(sim_settle(&sim, e));
	if (!sim.disk[sim.disks + 1].dead) { /* it had been too fast */
		stop(e);
		return;
	}
	assert_int_equal(status(e).heirs, 0);
	assert_int_equal(status(e).heirs_faulty, BIT(VICTIM));
	assert_int_equal(status(e).failed, 0);
	verify(e);
	md_shut(e);
	assert_true(sim_settle(&sim, e));
	sim.disk[sim.disks + 1].dead = false;
	restart(&e, 0, s->mode);
	assert_int_equal(status(e).heirs, 0);
	assert_int_equal(sim.at[VICTIM], VICTIM);
	verify(e);
	assert_int_equal(sync_pass(e, MD_SYNC_CHECK), 0);
	stop(e);
}

static void for_all(void (*life)(const struct shape *s, u64 n))
{
	for (unsigned i = 0; i < ARRAY_SIZE(shapes); i++)
		for (u64 n = 0; n < 4; n++)
			life(&shapes[i], i * 4 + n);
}

static void test_replaced(void **state)
{
	for_all(replaced);
}
static void test_bad_sector(void **state)
{
	for_all(bad_sector);
}
static void test_member_fails(void **state)
{
	for_all(member_fails);
}
static void test_stopped(void **state)
{
	for_all(stopped);
}
static void test_crashed(void **state)
{
	for_all(crashed);
}
static void test_heir_fails(void **state)
{
	for_all(heir_fails);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_replaced), cmocka_unit_test(test_bad_sector), cmocka_unit_test(test_member_fails),
		cmocka_unit_test(test_stopped),  cmocka_unit_test(test_crashed),    cmocka_unit_test(test_heir_fails),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
