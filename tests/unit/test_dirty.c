/* SPDX-License-Identifier: MIT
 *
 * Problem: writers must be slowed smoothly to the speed of the device, share it, and never pass the limit.
 *
 * Idea: simulated writers that dirty pages as fast as they may and a device that cleans at a fixed rate, on a clock of
 * our own, for a minute each. The level of dirty pages, every pause, and each writer's total are checked.
 *
 * Contract: runs under ASan and UBSan. Locks: none.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdlib.h>
#include <cmocka.h>
#include <vfs/dirty.h>

#define MAX_WRITERS 16

struct sim {
	u64 dirtyable, device_bps; /* pages, pages a second */
	unsigned writers;
	u32 budget_ms;
	u64 seconds;
};

struct outcome {
	u64 max_dirty, end_dirty, max_pause, limit, total[MAX_WRITERS], done;
	u64 learned_bps;
	double drain_s;
};

static struct outcome run(const struct sim *s)
{
	const struct dirty_controls controls = { .background_ratio = 10, .ratio = 20 };
	struct dirty_limits l = dirty_limits(&controls, s->dirtyable);
	u64 ready[MAX_WRITERS] = { 0 }, quota[MAX_WRITERS], dirty = 0, now = 0;
	u64 credit = 0, step = NSEC_PER_MSEC;
	struct dirty_device d;
	struct outcome o = { .limit = l.limit_pages };
	bool flushing = false;

	dirty_device_init(&d, 0);
	d.budget_ms = s->budget_ms;
	for (unsigned i = 0; i < s->writers; i++)
		quota[i] = 32;
	for (; now < s->seconds * NSEC_PER_SEC; now += step) {
		/* the device: cleans what its rate allows while a flusher runs */
		credit += s->device_bps * step;
		if (flushing) {
			u64 n = min(credit / NSEC_PER_SEC, dirty);

			dirty -= n;
			o.done += n;
			dirty_account_written(&d, n);
			flushing = dirty > 64;
		}
		credit %= NSEC_PER_SEC;
		for (unsigned i = 0; i < s->writers; i++) {
			u64 burst = 2000; /* pages a millisecond: 8 GB/s of memcpy */

			while (ready[i] <= now && burst) {
				struct dirty_state st = { dirty + quota[i], dirty + quota[i] };
				struct dirty_verdict v;
				u64 n = quota[i];

				dirty += n;
				o.total[i] += n;
				dirty_account_dirtied(&d, n);
				v = dirty_balance(&d, &l, &st, n, now);
				assert_true(v.next_pages > 0);
				flushing |= v.start_flusher;
				quota[i] = v.next_pages;
				ready[i] = now + v.pause_ns;
				o.max_pause = max(o.max_pause, v.pause_ns);
				burst -= min(burst, n);
			}
		}
		o.max_dirty = max(o.max_dirty, dirty);
	}
	o.end_dirty = dirty;
	o.learned_bps = d.write_bps_pages;
	o.drain_s = (double)dirty / s->device_bps;
	return o;
}

static u64 sum(const struct outcome *o)
{
	u64 n = 0;

	for (int i = 0; i < MAX_WRITERS; i++)
		n += o->total[i];
	return n;
}

static void writers_settle_at_the_device_s_speed(void **state)
{
	static const struct sim sims[] = {
		{ .dirtyable = 1 << 18, .device_bps = 25600, .writers = 1, .seconds = 60 }, /* 1 GiB, 100 MB/s */
		{ .dirtyable = 1 << 18, .device_bps = 25600, .writers = 8, .seconds = 60 },
		{ .dirtyable = 1 << 16, .device_bps = 2560, .writers = 4, .seconds = 120 },   /* 256 MiB, 10 MB/s */
		{ .dirtyable = 1 << 20, .device_bps = 256000, .writers = 16, .seconds = 60 }, /* 4 GiB, 1 GB/s */
		{ .dirtyable = 1 << 14, .device_bps = 25600, .writers = 4, .seconds = 60 },   /* 64 MiB */
	};

	for (unsigned i = 0; i < ARRAY_SIZE(sims); i++) {
		struct outcome o = run(&sims[i]);
		u64 mean = sum(&o) / sims[i].writers;

		print_message(
			"%2u writers, %6llu pages/s: max dirty %llu of %llu, cleaned %.0f %%, longest pause %llu ms\n",
			sims[i].writers, (unsigned long long)sims[i].device_bps, (unsigned long long)o.max_dirty,
			(unsigned long long)o.limit, 100.0 * o.done / (sims[i].device_bps * sims[i].seconds),
			(unsigned long long)o.max_pause / 1000000);
		/* a batch a writer beyond the limit at most */
		assert_true(o.max_dirty <= o.limit + sims[i].writers * 1024);
		assert_true(o.max_pause <= 200 * NSEC_PER_MSEC);
		/* the device is never left idle for long */
		assert_true(o.done >= sims[i].device_bps * sims[i].seconds * 9 / 10);
		for (unsigned w = 0; w < sims[i].writers; w++) {
			assert_true(o.total[w] > mean * 8 / 10);
			assert_true(o.total[w] < mean * 12 / 10);
		}
		assert_true(o.learned_bps > sims[i].device_bps * 8 / 10);
		assert_true(o.learned_bps < sims[i].device_bps * 12 / 10);
	}
}

static void a_budget_bounds_the_time_to_drain(void **state)
{
	struct sim s = { .dirtyable = 1 << 22, .device_bps = 2560, .writers = 2, .seconds = 240 };
	struct outcome without = run(&s), with;

	s.budget_ms = 2000;
	with = run(&s);
	assert_true(without.drain_s > 60); /* 16 GiB of memory and 10 MB/s */
	assert_true(with.drain_s < 4);
	assert_true(with.done >= s.device_bps * s.seconds * 85 / 100);
}

static void controls(void **state)
{
	struct dirty_controls c = { .background_ratio = 10, .ratio = 20 };
	struct dirty_limits l = dirty_limits(&c, 1000);

	assert_int_equal(l.background_pages, 100);
	assert_int_equal(l.limit_pages, 200);
	c.bytes = 40960;
	c.background_bytes = 1 << 30;
	l = dirty_limits(&c, 1000);
	assert_int_equal(l.limit_pages, 10);
	assert_int_equal(l.background_pages, 5);
	c = (struct dirty_controls){ 0 };
	l = dirty_limits(&c, 1000);
	assert_true(l.limit_pages > l.background_pages);
}

static void free_run_costs_nothing(void **state)
{
	struct dirty_limits l = { 1000, 2000 };
	struct dirty_state s = { 100, 100 };
	struct dirty_device d;
	struct dirty_verdict v;

	dirty_device_init(&d, 0);
	v = dirty_balance(&d, &l, &s, 32, 1);
	assert_int_equal(v.pause_ns, 0);
	assert_true(v.next_pages >= 32);
	assert_false(v.start_flusher);
	s.dirty_pages = 1001;
	v = dirty_balance(&d, &l, &s, 32, 1);
	assert_int_equal(v.pause_ns, 0);
	assert_true(v.start_flusher);
	s.dirty_pages = 5000;
	v = dirty_balance(&d, &l, &s, 32, 1);
	assert_int_equal(v.pause_ns, 10 * NSEC_PER_MSEC); /* half of what the device needs from limit to free run */
	d.write_bps_pages = 100;
	v = dirty_balance(&d, &l, &s, 32, 1);
	assert_int_equal(v.pause_ns, 200 * NSEC_PER_MSEC);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(writers_settle_at_the_device_s_speed),
		cmocka_unit_test(a_budget_bounds_the_time_to_drain),
		cmocka_unit_test(controls),
		cmocka_unit_test(free_run_costs_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
