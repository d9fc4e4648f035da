/* SPDX-License-Identifier: MIT
 *
 * Problem: the cache model is the judge of cache partitions and of `perf c2c`; nobody else judges it.
 *
 * Idea: sequences small enough to follow by hand: eviction order of LRU and PLRU in one set, confinement to ways,
 * accesses across lines, and each move of ownership among three CPUs.
 *
 * Contract: runs under ASan and UBSan. Locks: none.
 */
// links: tools/plugins/model.c
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include "../../tools/plugins/model.h"

#define STRIDE 4096 /* lines that far apart share a set in a cache of 64 sets */

static struct model *make(unsigned ways, enum model_policy policy, unsigned slices)
{
	struct model_config c = { 64 * 64 * ways * slices, ways, 64, slices, 16, policy };
	const char *why;
	struct model *m = model_create(&c, &why);

	assert_non_null(m);
	return m;
}

/* Reads line n of set 0; true for a hit. */
static bool hit(struct model *m, unsigned requestor, unsigned n)
{
	uint64_t before = model_requestor(m, requestor)->misses;

	model_access(m, 0, requestor, (uint64_t)n * STRIDE, 4, MODEL_LOAD);
	return model_requestor(m, requestor)->misses == before;
}

static void lru_evicts_the_oldest(void **state)
{
	struct model *m = make(4, MODEL_LRU, 1);

	for (int i = 0; i < 4; i++)
		assert_false(hit(m, 0, i));
	assert_true(hit(m, 0, 0));
	assert_false(hit(m, 0, 4)); /* evicts 1 */
	assert_true(hit(m, 0, 0));
	assert_true(hit(m, 0, 2));
	assert_false(hit(m, 0, 1)); /* evicts 3 */
	assert_false(hit(m, 0, 3));
	model_destroy(m);
}

static void plru_follows_its_tree(void **state)
{
	struct model *m = make(4, MODEL_PLRU, 1);

	for (int i = 0; i < 4; i++)
		assert_false(hit(m, 0, i)); /* ways 0..3; the tree points at way 0 */
	assert_true(hit(m, 0, 0));          /* root now points right, where 2 is older */
	assert_false(hit(m, 0, 4));         /* evicts 2 */
	assert_true(hit(m, 0, 1));
	assert_true(hit(m, 0, 0));
	assert_true(hit(m, 0, 3));
	assert_false(hit(m, 0, 2));
	model_destroy(m);
}

static void ways_confine(void **state)
{
	for (int policy = MODEL_LRU; policy <= MODEL_PLRU; policy++) {
		struct model *m = make(8, policy, 1);

		model_set_ways(m, 1, 0x0f);
		model_set_ways(m, 2, 0x30);
		for (int i = 0; i < 4; i++)
			hit(m, 1, i);
		for (int i = 100; i < 200; i++)
			assert_false(hit(m, 2, i));
		for (int i = 0; i < 4; i++)
			assert_true(hit(m, 1, i));
		assert_true(hit(m, 1, 199)); /* a hit is a hit wherever the line is */
		model_destroy(m);
	}
}

static void lines_and_colours(void **state)
{
	struct model *m = make(4, MODEL_LRU, 1);

	model_access(m, 0, 0, 0x5fff, 2, MODEL_STORE); /* crosses a page */
	assert_int_equal(model_cpu(m, 0)->ops[MODEL_STORE], 1);
	assert_int_equal(model_requestor(m, 0)->accesses, 2);
	assert_int_equal(model_colour(m, 5)->misses, 1);
	assert_int_equal(model_colour(m, 6)->misses, 1);
	model_reset_counts(m);
	model_access(m, 0, 0, 0x6000, 8, MODEL_LOAD);
	assert_int_equal(model_requestor(m, 0)->misses, 0); /* the cache was kept */
	model_destroy(m);
}

static void slices_spread_evenly(void **state)
{
	struct model *m = make(4, MODEL_LRU, 8);
	uint64_t lines = 8 * 64 * 4;

	for (int pass = 0; pass < 2; pass++)
		for (uint64_t i = 0; i < lines; i++)
			model_access(m, 0, pass, i * 64, 4, MODEL_LOAD);
	assert_int_equal(model_requestor(m, 0)->misses, lines);
	/* all of it fits: the hash gave every set of every slice its share */
	assert_int_equal(model_requestor(m, 1)->misses, 0);
	model_destroy(m);
}

static void ownership(void **state)
{
	struct model *m = make(4, MODEL_LRU, 1);

	model_access(m, 0, 0, 0, 4, MODEL_STORE);
	assert_int_equal(model_cpu(m, 0)->upgrades, 0);
	model_access(m, 1, 0, 8, 4, MODEL_LOAD); /* modified by 0 */
	assert_int_equal(model_cpu(m, 1)->hitm[MODEL_LOAD], 1);
	model_access(m, 1, 0, 8, 4, MODEL_LOAD);
	model_access(m, 2, 0, 8, 4, MODEL_LOAD);
	assert_int_equal(model_cpu(m, 1)->hitm[MODEL_LOAD], 1);
	assert_int_equal(model_cpu(m, 2)->hitm[MODEL_LOAD], 0);
	model_access(m, 0, 0, 0, 4, MODEL_STORE); /* shared by three */
	assert_int_equal(model_cpu(m, 0)->upgrades, 1);
	model_access(m, 1, 0, 0, 4, MODEL_STORE);
	assert_int_equal(model_cpu(m, 1)->hitm[MODEL_STORE], 1);
	model_access(m, 2, 0, 0, 4, MODEL_LOCKED);
	assert_int_equal(model_cpu(m, 2)->hitm[MODEL_LOCKED], 1);
	model_access(m, 2, 0, 0, 4, MODEL_LOAD);
	assert_int_equal(model_cpu(m, 2)->hitm[MODEL_LOAD], 0);
	model_destroy(m);
}

static void locks_are_shared_by_two(void **state)
{
	struct model *m = make(4, MODEL_LRU, 1);

	model_access(m, 0, 0, 0, 4, MODEL_LOCKED);
	model_access(m, 0, 0, 0, 4, MODEL_LOCKED);
	model_access(m, 1, 0, 64, 4, MODEL_LOCKED);
	model_access(m, 1, 0, 0, 4, MODEL_STORE);
	assert_int_equal(model_shared_locked(m), 0); /* each line has one who locks */
	model_access(m, 1, 0, 0, 4, MODEL_LOCKED);
	assert_int_equal(model_shared_locked(m), 3);
	model_reset_counts(m);
	model_access(m, 0, 0, 0, 4, MODEL_LOCKED);
	assert_int_equal(model_shared_locked(m), 0); /* who locked before the reset does not count */
	model_destroy(m);
}

static void many_lines(void **state)
{
	struct model *m = make(4, MODEL_LRU, 1);

	for (uint64_t i = 0; i < 200000; i++)
		model_access(m, 0, 0, i * 64, 8, MODEL_STORE);
	for (uint64_t i = 0; i < 200000; i++)
		model_access(m, 1, 0, i * 64, 8, MODEL_LOAD);
	assert_int_equal(model_cpu(m, 1)->hitm[MODEL_LOAD], 200000);
	model_destroy(m);
}

static void bad_shapes_are_refused(void **state)
{
	static const struct model_config bad[] = {
		{ 1 << 20, 16, 48, 1, 16, MODEL_LRU },  { 1 << 20, 0, 64, 1, 16, MODEL_LRU },
		{ 1 << 20, 12, 64, 1, 16, MODEL_PLRU }, { 1 << 20, 16, 64, 3, 16, MODEL_LRU },
		{ 1 << 20, 16, 64, 1, 17, MODEL_LRU },  { 1000000, 16, 64, 1, 16, MODEL_LRU },
		{ 0, 16, 64, 1, 16, MODEL_LRU },
	};
	const char *why;

	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_null(model_create(&bad[i], &why));
		assert_non_null(why);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lru_evicts_the_oldest),
		cmocka_unit_test(plru_follows_its_tree),
		cmocka_unit_test(ways_confine),
		cmocka_unit_test(lines_and_colours),
		cmocka_unit_test(slices_spread_evenly),
		cmocka_unit_test(ownership),
		cmocka_unit_test(locks_are_shared_by_two),
		cmocka_unit_test(many_lines),
		cmocka_unit_test(bad_shapes_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
