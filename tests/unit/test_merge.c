/* SPDX-License-Identifier: MIT
 *
 * Problem: merging must never put two transfers together that are not neighbours, in another order than the disk's, or
 * beyond what the device takes, and must do it whenever it can.
 *
 * Idea: each rule once; then a model: random transfers go through merge_add, and what comes out must cover exactly the
 * same sectors, each group without holes, within the limits.
 *
 * Contract: runs under ASan and UBSan. Locks: none.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <block/merge.h>

static const struct merge_limits wide = { 1 << 20, 256, 0 };

static struct merge_item item(u64 sector, u32 sectors)
{
	return (struct merge_item){ .kind = 1, .sector = sector, .bytes = sectors * 512, .vecs = 1, .last_end = 4096 };
}

static enum merge_result add(struct list *q, struct merge_item *i, const struct merge_limits *l)
{
	merge_item_init(i);
	return merge_add(q, i, l, 8);
}

static void back_and_front(void **state)
{
	struct merge_item a = item(100, 8), b = item(108, 8), c = item(92, 8), d = item(116, 8);
	LIST(q);
	struct merge_item *m, *lead;
	u64 at = 92;

	assert_int_equal(add(&q, &a, &wide), MERGE_NONE);
	assert_int_equal(add(&q, &b, &wide), MERGE_BACK);
	assert_int_equal(add(&q, &c, &wide), MERGE_FRONT);
	assert_int_equal(add(&q, &d, &wide), MERGE_BACK);
	lead = list_first_entry(&q, struct merge_item, link);
	assert_ptr_equal(lead, &c);
	assert_ptr_equal(lead->link.next, &q);
	assert_int_equal(lead->count, 4);
	assert_int_equal(lead->vecs, 4);
	assert_int_equal(lead->bytes, 4 * 4096);
	at += 8;
	list_for_each_entry (m, &lead->chain, link) {
		assert_int_equal(m->sector, at);
		at += 8;
	}
	assert_int_equal(at, 124);
}

static void groups_join(void **state)
{
	struct merge_item a = item(0, 8), b = item(8, 8), c = item(16, 8);
	LIST(first);
	LIST(second);

	add(&first, &a, &wide);
	add(&second, &b, &wide);
	add(&second, &c, &wide);
	list_del(&b.link);
	assert_int_equal(merge_add(&first, &b, &wide, 8), MERGE_BACK);
	assert_int_equal(a.count, 3);
	assert_ptr_equal(a.chain.prev, &c.link);
}

static void follows_is_what_merges_at_the_back(void **state)
{
	struct merge_limits small = { 8192, 256, 0 };
	struct merge_item a = item(0, 8), b = item(8, 8), before = item(0, 8), apart = item(24, 8), third = item(16, 8);
	LIST(q);

	add(&q, &a, &wide);
	assert_true(merge_follows(&a, &b, &small));
	assert_false(merge_follows(&a, &before, &small));
	assert_false(merge_follows(&a, &apart, &small));
	assert_int_equal(add(&q, &b, &small), MERGE_BACK);
	assert_true(merge_follows(&a, &third, &wide));
	assert_false(merge_follows(&a, &third, &small));
	third.kind = MERGE_NEVER;
	assert_false(merge_follows(&a, &third, &wide));
}

static void kept_apart(void **state)
{
	struct merge_limits two_vecs = { 1 << 20, 2, 0 }, small = { 8192, 256, 0 }, paged = { 1 << 20, 256, 4096 };
	struct merge_item a, b, c;
	int other;

#define PAIR(change, limits, result)                                                                                   \
	do {                                                                                                           \
		LIST(q);                                                                                               \
		a = item(0, 8);                                                                                        \
		b = item(8, 8);                                                                                        \
		change;                                                                                                \
		add(&q, &a, limits);                                                                                   \
		assert_int_equal(add(&q, &b, limits), result);                                                         \
	} while (0)
	PAIR((void)0, &wide, MERGE_BACK);
	PAIR(b.sector = 9, &wide, MERGE_NONE);
	PAIR(b.sector = 7, &wide, MERGE_NONE);
	PAIR(b.sector = 0, &wide, MERGE_NONE);
	PAIR(b.kind = 2, &wide, MERGE_NONE);
	PAIR(a.kind = b.kind = MERGE_NEVER, &wide, MERGE_NONE);
	PAIR(b.target = &other, &wide, MERGE_NONE);
	PAIR(b.vecs = 2, &two_vecs, MERGE_NONE);
	PAIR((void)0, &small, MERGE_BACK);
	PAIR(b.bytes += 512, &small, MERGE_NONE);
	PAIR((void)0, &paged, MERGE_BACK);
	PAIR(a.last_end = 512, &paged, MERGE_NONE);
	PAIR(b.first_offset = 512, &paged, MERGE_NONE);
	PAIR(a.vecs = b.vecs = 0; a.last_end = 0; b.first_offset = 512, &paged, MERGE_BACK); /* no memory, no gap */
#undef PAIR
	{
		LIST(q);
		a = item(0, 8), b = item(100, 8), c = item(8, 8);
		add(&q, &a, &wide);
		add(&q, &b, &wide);
		merge_item_init(&c);
		assert_int_equal(merge_add(&q, &c, &wide, 1), MERGE_NONE); /* looks no further than it is told */
	}
}

#define N 3000

static void covers_the_same(void **state)
{
	static struct merge_item items[N];
	static unsigned char seen[N];
	struct merge_limits l = { 64 * 512, 16, 0 };
	LIST(q);
	struct merge_item *g, *m;
	unsigned groups = 0;

	srand(1);
	for (unsigned i = 0; i < N; i++) {
		items[i] = item(rand() % 4 ? (u64)(rand() % 64) * 8 : (u64)i * 8, 8);
		add(&q, &items[i], &l);
	}
	list_for_each_entry (g, &q, link) {
		u64 at = g->sector + 8;
		u32 n = 1;

		seen[g - items]++;
		list_for_each_entry (m, &g->chain, link) {
			assert_int_equal(m->sector, at);
			at += 8;
			n++;
			seen[m - items]++;
		}
		assert_int_equal(n, g->count);
		assert_int_equal(n * 8 * 512, g->bytes);
		assert_true(n <= 8);
		groups++;
	}
	for (unsigned i = 0; i < N; i++)
		assert_int_equal(seen[i], 1);
	assert_true(groups < N);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(back_and_front), cmocka_unit_test(groups_join),
					    cmocka_unit_test(follows_is_what_merges_at_the_back),
					    cmocka_unit_test(kept_apart), cmocka_unit_test(covers_the_same) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
