/* SPDX-License-Identifier: MIT
 *
 * Problem: reclaim that frees pages for nothing must be told from reclaim that turns over a large cache.
 *
 * Idea: a machine in small: files whose pages are read in turn, private pages that only become more, a cache that gives
 * up its oldest pages, and swap that takes private pages first when that is asked for. A clock of our own counts
 * a fixed time a step. How often reclaim is in vain within so many steps is checked.
 *
 * Contract: runs under ASan and UBSan. Locks: none.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdlib.h>
#include <cmocka.h>
#include <lib/string.h>
#include <task/thrash.h>

#define MEMORY     65536UL /* pages: 256 MiB */
#define FILE_PAGES 131072UL
#define BATCH      32

struct sim {
	u64 text;    /* pages that programs read again and again */
	u64 stream;  /* a step: pages that nobody reads again */
	u64 private; /* in use at the beginning */
	u64 grows;   /* private pages a step */
	u64 swap;    /* pages */
	u64 step_ns;
};

struct outcome {
	u64 vain, cache; /* verdicts; pages cached at the end */
	u64 first;       /* step of the first verdict */
	bool out;        /* nothing could be taken */
};

static struct {
	struct thrash t;
	struct thrash_sample s;
	u64 free, private, swap;
	u8 cached[FILE_PAGES], known[FILE_PAGES]; /* known: was here before */
	u32 order[FILE_PAGES];                    /* a ring of cached pages, the oldest first */
	u64 head, tail, next_stream, next_text;
} m;

static bool take_cached(void)
{
	if (m.head == m.tail)
		return false;
	m.cached[m.order[m.head++ % FILE_PAGES]] = 0;
	m.free++;
	m.s.stolen++;
	return true;
}

static bool take_private(void)
{
	if (!m.swap || !m.private)
		return false;
	m.swap--;
	m.private --;
	m.free++;
	m.s.stolen++;
	return true;
}

/* A page; before that, reclaim if there is none. Returns whether somebody has to die. */
static bool take_page(struct outcome *o)
{
	for (unsigned i = 0; !m.free && i < BATCH; i++)
		if (!(m.t.private_first && take_private()) && !take_cached() && !take_private())
			break;
	if (!m.free) {
		o->out = true;
		return true;
	}
	m.s.cache = m.tail - m.head;
	m.free--;
	return thrash_suspects(&m.t, &m.s) && thrash_is_vain(&m.t, &m.s);
}

static bool read_page(u64 page, struct outcome *o)
{
	bool vain;

	if (m.cached[page])
		return false;
	vain = take_page(o);
	m.s.back += m.known[page];
	m.known[page] = m.cached[page] = 1;
	m.order[m.tail++ % FILE_PAGES] = (u32)page;
	return vain;
}

static struct outcome run(const struct sim *sim, u64 steps)
{
	struct outcome o = { 0 };

	memset(&m, 0, sizeof(m));
	m.s.limit = MEMORY;
	m.private = sim->private;
	m.free = MEMORY - sim->private;
	m.swap = sim->swap;
	for (u64 step = 0; step < steps && !o.out; step++) {
		u64 vain = 0;

		m.s.now_ns += sim->step_ns;
		if (sim->text)
			vain += read_page(m.next_text++ % sim->text, &o);
		for (u64 i = 0; i < sim->stream && !o.out; i++) {
			u64 page = sim->text + m.next_stream++ % (FILE_PAGES - sim->text);

			m.known[page] = 0;
			vain += read_page(page, &o);
		}
		for (u64 i = 0; i < sim->grows && !o.out; i++) {
			vain += take_page(&o);
			m.private ++;
		}
		if (vain && !o.vain)
			o.first = step;
		o.vain += vain;
	}
	o.cache = m.tail - m.head;
	return o;
}

/* A program fills memory and is served last, what others run from comes back all the time. */
static void full_of_private_pages(void **state)
{
	struct outcome o = run(&(struct sim){ .text = 1500, .private = MEMORY - 700, .step_ns = 200000 }, 40000);

	assert_true(o.vain >= 1);
	assert_true(o.first < 10000); /* two seconds of that clock */
	assert_false(o.out);
}

static void second_verdict_needs_new_evidence(void **state)
{
	struct sim s = { .text = 1500, .private = MEMORY - 700, .step_ns = 200000 };
	struct outcome one = run(&s, 40000), two;

	two = run(&s, one.first + one.first / 2);
	assert_int_equal(two.vain, 1);
}

static void large_file_again_and_again(void **state)
{
	struct outcome o = run(&(struct sim){ .text = 40000, .private = MEMORY - 30000, .step_ns = 1000 }, 2000000);

	assert_int_equal(o.vain, 0);
	assert_true(m.s.back > 1000000); /* everything came back, again and again */
}

static void stream_through_a_small_cache(void **state)
{
	struct outcome o =
		run(&(struct sim){ .text = 100, .stream = 4, .private = MEMORY - 700, .step_ns = 1000 }, 500000);

	assert_int_equal(o.vain, 0);
	assert_true(m.s.stolen > 1000000);
}

/* The same pages come back, but so seldom that nobody notices. */
static void small_cache_slowly(void **state)
{
	struct outcome o = run(&(struct sim){ .text = 1500, .private = MEMORY - 700, .step_ns = 50000000 }, 40000);

	assert_int_equal(o.vain, 0);
	assert_true(m.s.back > 30000);
}

static void swap_makes_room(void **state)
{
	struct sim s = { .text = 1500, .private = MEMORY - 700, .swap = 20000, .step_ns = 200000 };
	struct outcome o = run(&s, 200000);

	assert_int_equal(o.vain, 0);
	assert_int_equal(o.cache, s.text); /* it is all there now */
	s.grows = 1;
	o = run(&s, 200000);
	assert_true(o.vain || o.out); /* until swap is full, too */
	assert_int_equal(m.swap, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(full_of_private_pages),      cmocka_unit_test(second_verdict_needs_new_evidence),
		cmocka_unit_test(large_file_again_and_again), cmocka_unit_test(stream_through_a_small_cache),
		cmocka_unit_test(small_cache_slowly),         cmocka_unit_test(swap_makes_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
