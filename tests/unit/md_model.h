/* SPDX-License-Identifier: MIT
 *
 * An array on disks that forget (sim_md.h) beside a plain array of bytes, its model: random writes go to both.
 */
#ifndef MD_MODEL_H
#define MD_MODEL_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdlib.h>
#include <cmocka.h>
#include <lib/err.h>
#include <lib/string.h>
#include "sim_md.h"

#define MEMBER_SECTORS 512
#define MAX_IO         100
#define SECTORS_MAX    (MEMBER_SECTORS * SIM_DISKS)

static struct sim sim;
static u8 model[SECTORS_MAX * 512], got[SECTORS_MAX * 512];

static u64 seed(void)
{
	const char *s = getenv("OSTROM_SEED");

	return s ? strtoull(s, NULL, 0) : 1;
}

static void restart(struct md_engine **e, u64 missing, enum md_journal_mode mode)
{
	struct md_recovery_result rec;

	md_engine_destroy(*e);
	assert_int_equal(sim_start(&sim, missing, mode, e, &rec), 0);
	assert_true(sim_settle(&sim, *e));
}

static void stop(struct md_engine *e)
{
	md_engine_destroy(e);
	sim_destroy(&sim);
}

static void random_writes(struct md_engine *e, unsigned n)
{
	u64 sectors = md_engine_geo(e)->sectors;

	while (n--) {
		u32 len = 1 + sim_random(&sim) % (sim_random(&sim) % 4 ? 12 : MAX_IO);
		u64 at = sim_random(&sim) % (sectors - len);

		for (u32 i = 0; i < len * 512; i++)
			model[at * 512 + i] = sim_random(&sim);
		assert_int_equal(sim_rw(&sim, e, MD_WRITE, at, len, model + at * 512), 0);
		if (sim_random(&sim) % 8 == 0)
			assert_int_equal(sim_rw(&sim, e, MD_FLUSH, 0, 0, NULL), 0);
	}
}

static void verify(struct md_engine *e)
{
	u64 sectors = md_engine_geo(e)->sectors;

	for (u64 at = 0; at < sectors;) {
		u32 len = min((u64)(1 + sim_random(&sim) % MAX_IO), sectors - at);

		assert_int_equal(sim_rw(&sim, e, MD_READ, at, len, got + at * 512), 0);
		at += len;
	}
	assert_memory_equal(got, model, sectors * 512);
}

static u64 sync_pass(struct md_engine *e, enum md_sync kind)
{
	struct md_status st;

	assert_true(sim_settle(&sim, e));
	assert_int_equal(md_start_sync(e, kind), 0);
	assert_true(sim_settle(&sim, e));
	md_status(e, &st);
	return st.mismatches;
}

#endif
