/* SPDX-License-Identifier: MIT
 *
 * Problem: code that everything stands on must be right at its borders before it ever boots.
 *
 * Idea: The tree of an address space against a plain array of pages as the model: finding, gaps, merging.
 *
 * Contract: cmocka, under ASan and UBSan; one case a property.
 *
 * Locks: none.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#undef fail /* cmocka's, in the way of core/log.h */
#include "../../kernel/mm/mm_priv.h"

#define PAGES 512
#define BASE  (MMAP_MIN_ADDR + PAGES * PAGE_SIZE) /* mmap_base: the model covers what lies below */

static struct vma *owner[PAGES];

static ulong addr_of(unsigned page)
{
	return MMAP_MIN_ADDR + page * PAGE_SIZE;
}

static struct vma *add(struct mm *m, ulong start, size_t bytes, u32 flags)
{
	struct vma *v = calloc(1, sizeof(*v));

	v->start = start;
	v->end = start + bytes;
	v->flags = flags;
	v->mm = m;
	v->index = start >> PAGE_SHIFT;
	vma_link(m, v);
	for (ulong a = start; a < v->end && a < BASE; a += PAGE_SIZE)
		owner[(a - MMAP_MIN_ADDR) >> PAGE_SHIFT] = v;
	return v;
}

static void drop(struct mm *m, struct vma *v)
{
	for (unsigned i = 0; i < PAGES; i++)
		if (owner[i] == v)
			owner[i] = NULL;
	vma_unlink(m, v);
	free(v);
}

/* The model's answer: the start of the highest free run of n pages; -1: none. */
static int model_gap(unsigned n)
{
	for (int at = PAGES - n; at >= 0; at--) {
		bool is_free = true;

		for (unsigned i = 0; i < n && is_free; i++)
			is_free = !owner[at + i];
		if (is_free)
			return at;
	}
	return -1;
}

static void check_find(struct mm *m)
{
	for (unsigned i = 0; i < PAGES; i++) {
		struct vma *v = vma_find(m, addr_of(i) + 5), *want = NULL;

		for (unsigned j = i; j < PAGES && !want; j++)
			want = owner[j];
		if (v && v->start >= BASE)
			v = NULL;
		assert_ptr_equal(v, want);
	}
}

static void random_one(unsigned seed)
{
	struct mm m = { .mmap_base = BASE, .gap_hint = BASE };
	struct vma *v, *next;

	srand(seed);
	for (int step = 0; step < 400; step++) {
		unsigned n = 1 + rand() % (rand() % 8 ? 4 : 60);
		ulong at;

		if (rand() % 3) {
			int want = model_gap(n), err;

			err = vma_gap_find(&m, n * PAGE_SIZE, PAGE_SIZE, BASE, &at);
			assert_int_equal(err, 0);
			if (want >= 0)
				assert_int_equal(at, addr_of(want));
			else
				assert_true(at >= BASE && vma_range_free(&m, at, at + n * PAGE_SIZE));
			add(&m, at, n * PAGE_SIZE, VMA_READ);
		} else {
			v = vma_find(&m, addr_of(rand() % PAGES));
			if (v)
				drop(&m, v);
		}
		if (step % 16 == 0)
			check_find(&m);
	}
	for (v = vma_find(&m, 0); v; v = next) {
		next = vma_next(v);
		drop(&m, v);
	}
	assert_int_equal(m.nr_vmas, 0);
}

static void test_random(void **state)
{
	for (unsigned seed = 1; seed <= 50; seed++)
		random_one(seed);
}

static void test_aligned_gap(void **state)
{
	struct mm m = { .mmap_base = 64 * HUGE_SIZE, .gap_hint = 64 * HUGE_SIZE };
	struct vma *v = add(&m, 63 * HUGE_SIZE + PAGE_SIZE, PAGE_SIZE, VMA_READ);
	ulong at;

	assert_int_equal(vma_gap_find(&m, HUGE_SIZE, HUGE_SIZE, m.mmap_base, &at), 0);
	assert_int_equal(at, 62 * HUGE_SIZE);
	/* The hole that the alignment left is found by a smaller one. */
	assert_int_equal(vma_gap_find(&m, PAGE_SIZE, PAGE_SIZE, m.mmap_base, &at), 0);
	assert_int_equal(at, 64 * HUGE_SIZE - PAGE_SIZE);
	drop(&m, v);
}

static void test_stack_gap(void **state)
{
	struct mm m = { .mmap_base = 1UL << 40, .gap_hint = 1UL << 40 };
	struct vma *v = add(&m, (1UL << 40) - PAGE_SIZE, PAGE_SIZE, VMA_READ | VMA_GROWSDOWN);
	ulong at;

	assert_int_equal(vma_gap_find(&m, PAGE_SIZE, PAGE_SIZE, m.mmap_base, &at), 0);
	assert_int_equal(at, v->start - STACK_GAP_BYTES - PAGE_SIZE);
	drop(&m, v);
}

static void test_merge_rules(void **state)
{
	struct vma low = { .start = 0x10000, .end = 0x12000, .flags = VMA_READ, .index = 0x10 }, high = low;

	high.start = 0x12000;
	high.end = 0x13000;
	high.index = 0x12;
	assert_true(vma_can_merge(&low, &high));
	high.flags |= VMA_WRITE;
	assert_false(vma_can_merge(&low, &high));
	high.flags = VMA_READ;
	high.index++;
	assert_false(vma_can_merge(&low, &high));
	high.index--;
	high.start += PAGE_SIZE;
	assert_false(vma_can_merge(&low, &high));
	high.start -= PAGE_SIZE;
	low.flags = high.flags = VMA_READ | VMA_SPECIAL;
	assert_false(vma_can_merge(&low, &high));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_aligned_gap),
		cmocka_unit_test(test_stack_gap),
		cmocka_unit_test(test_merge_rules),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
