/* SPDX-License-Identifier: MIT
 *
 * Problem: hybrid polling stands or falls with its figures: latency like spinning's at a fraction of the CPU time,
 * for devices of every temper.
 *
 * Idea: a simulated waiter on a simulated device. Service times are fixed, normal, bimodal or exponential; a timer's
 * sleeper runs late by 1.5 to 2.5 us, a sleep costs 2 us of CPU time, an interrupt 3 us and 4 us of latency, a spin
 * loop sees a completion within 100 ns. The estimator learns all of it from samples. Mean latency and CPU time are then
 * compared among classic, 4.10's half of the mean, adaptive, and interrupts. No clock is read: the figures repeat.
 *
 * Contract: runs under ASan and UBSan; prints the table. Locks: none.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <math.h>
#include <stdio.h>
#include <cmocka.h>
#include <block/poll.h>
#include <lib/err.h>
#include <lib/string.h>

static u64 seed = 42;

static double uniform(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (seed >> 11) / 9007199254740992.0;
}

static double normal(void)
{
	return sqrt(-2 * log(uniform() + 1e-12)) * cos(2 * M_PI * uniform());
}

enum temper { FIXED, NORMAL, BIMODAL, EXPONENTIAL };

static u64 service(enum temper t, double us)
{
	if (t == NORMAL)
		us = fmax(us * 0.5, us * (1 + 0.1 * normal()));
	if (t == BIMODAL) /* four fifths fast, one fifth four times as long */
		us = uniform() < 0.8 ? us * (1 + 0.05 * normal()) : 4 * us * (1 + 0.05 * normal());
	if (t == EXPONENTIAL)
		us = us * -log(uniform() + 1e-12);
	return fmax(us, 0.6) * 1000;
}

struct result {
	double latency_us, cpu_us;
};

/* One request, waited for as the queue says. */
static void wait_for(struct poll_queue *q, u64 done, struct result *r)
{
	enum poll_way way = poll_way(q, false, 4096);
	u64 now = 0, cpu = 0;
	bool exact = true, slept = false;

	while (now < done || !now) {
		struct poll_step s = poll_next(q, false, 4096, now, false);

		if (way == POLL_WATCHED)
			s = (struct poll_step){ POLL_SPIN, UINT64_MAX };

		if (s.kind == POLL_SPIN) {
			u64 until = min(s.until_ns, done + (u64)(uniform() * 100));

			until = max(until, now + 1);
			cpu += until - now;
			now = until;
			exact = true;
		} else if (s.kind == POLL_SLEEP) {
			u64 late = 1500 + uniform() * 1000;

			now = s.until_ns + late;
			cpu += 2000;
			poll_learn_sleep(q, late, 2000);
			poll_learn_end(q, false, 4096, false);
			exact = now < done;
			slept = true;
		} else {
			now = done + 4000;
			cpu += 3000;
			poll_learn_interrupt(q, 4000, 3000);
			if (way == POLL_PLANNED)
				poll_record(q, false, 4096, done, true);
			r->latency_us += now / 1e3;
			r->cpu_us += cpu / 1e3;
			return;
		}
	}
	poll_record(q, false, 4096, now, exact || !slept);
	r->latency_us += now / 1e3;
	r->cpu_us += cpu / 1e3;
}

static struct result run(s64 delay_ns, enum temper t, double us)
{
	enum { WARM = 500, N = 20000 };
	struct result r = { 0 }, warm = { 0 };
	struct poll_queue q;

	poll_queue_init(&q);
	q.delay_ns = delay_ns;
	for (int i = 0; i < WARM; i++)
		wait_for(&q, service(t, us), &warm);
	for (int i = 0; i < N; i++)
		wait_for(&q, service(t, us), &r);
	poll_queue_free(&q);
	return (struct result){ r.latency_us / N, r.cpu_us / N };
}

static struct result run_interrupts(enum temper t, double us)
{
	struct result r = { 0 };

	for (int i = 0; i < 20000; i++)
		r.latency_us += service(t, us) / 1e3;
	return (struct result){ r.latency_us / 20000 + 4, 3 };
}

static void meets_the_bars(void **state)
{
	static const struct {
		const char *name;
		enum temper t;
		double us, mean_us, cpu_bar;
	} row[] = {
		{ "fixed 20", FIXED, 20, 20, 0.75 },     { "fixed 50", FIXED, 50, 50, 0.55 },
		{ "fixed 100", FIXED, 100, 100, 0.55 },  { "normal 20", NORMAL, 20, 20, 0.75 },
		{ "normal 50", NORMAL, 50, 50, 0.55 },   { "normal 100", NORMAL, 100, 100, 0.55 },
		{ "bimodal 50", BIMODAL, 50, 80, 0.55 }, { "bimodal 100", BIMODAL, 100, 160, 0.55 },
		{ "fixed 5", FIXED, 5, 5, 1.01 },        { "exponential 50", EXPONENTIAL, 50, 50, 1.01 },
	};

	print_message("%-15s %-19s %-19s %-19s %s\n", "service (us)", "classic lat/cpu", "half-mean lat/cpu",
		      "adaptive lat/cpu", "interrupt lat/cpu");
	for (unsigned i = 0; i < ARRAY_SIZE(row); i++) {
		struct result classic = run(-1, row[i].t, row[i].us);
		struct result half = run(row[i].mean_us * 500, row[i].t, row[i].us);
		struct result hybrid = run(0, row[i].t, row[i].us);
		struct result irq = run_interrupts(row[i].t, row[i].us);

		print_message("%-15s %8.1f %8.1f   %8.1f %8.1f   %8.1f %8.1f   %8.1f %8.1f   cpu %.2f lat %.3f\n",
			      row[i].name, classic.latency_us, classic.cpu_us, half.latency_us, half.cpu_us,
			      hybrid.latency_us, hybrid.cpu_us, irq.latency_us, irq.cpu_us,
			      hybrid.cpu_us / classic.cpu_us, hybrid.latency_us / classic.latency_us);
		assert_true(hybrid.latency_us <= 1.1 * classic.latency_us);
		assert_true(hybrid.cpu_us <= row[i].cpu_bar * classic.cpu_us);
		/* never slower than interrupts (1 % for the two samples' difference) */
		assert_true(hybrid.latency_us <= irq.latency_us * 1.01);
	}
}

static void follows_a_device_that_changes(void **state)
{
	struct poll_queue q;
	struct result slow = { 0 }, settle = { 0 }, fast = { 0 }, slow_again = { 0 };

	poll_queue_init(&q);
	q.delay_ns = 0;
	for (int i = 0; i < 1000; i++)
		wait_for(&q, service(NORMAL, 100), &slow);
	for (int i = 0; i < 600; i++)
		wait_for(&q, service(NORMAL, 20), &settle);
	for (int i = 0; i < 1000; i++)
		wait_for(&q, service(NORMAL, 20), &fast);
	assert_true(fast.latency_us / 1000 < 22);
	for (int i = 0; i < 5000; i++)
		wait_for(&q, service(NORMAL, 100), &slow_again);
	assert_true(slow_again.latency_us / 5000 < 110);
	assert_true(slow_again.cpu_us / 5000 < 55);
	poll_queue_free(&q);
}

/* What is seen to complete at 21 us interrupts the sleep before it ends. */
static void a_sleep_that_is_too_long_becomes_shorter(void **state)
{
	struct poll_queue q;
	u64 first, then = 0;

	poll_queue_init(&q);
	q.delay_ns = 0;
	for (int i = 0; i < 100; i++)
		poll_record(&q, false, 4096, 21000, true);
	first = poll_next(&q, false, 4096, 0, false).until_ns;
	assert_int_equal(poll_next(&q, false, 4096, 0, false).kind, POLL_SLEEP);
	for (int i = 0; i < 60; i++) {
		poll_learn_end(&q, false, 4096, true);
		poll_record(&q, false, 4096, 21000, true);
	}
	for (int i = 0; i < 30000; i++) {
		poll_learn_end(&q, false, 4096, i % 16 == 0); /* so few do not matter, nor do they let it grow again */
		poll_record(&q, false, 4096, 21000, true);
		if (i == 1000)
			then = poll_next(&q, false, 4096, 0, false).until_ns;
	}
	assert_true(then + 1000 < first);
	assert_int_equal(poll_next(&q, false, 4096, 0, false).until_ns, then);
	for (int i = 0; i < 60000; i++) {
		poll_learn_end(&q, false, 4096, false);
		poll_record(&q, false, 4096, 21000, true);
	}
	assert_true(poll_next(&q, false, 4096, 0, false).until_ns + 100 > first);
	poll_queue_free(&q);
}

/* The interrupt's price is small: requests are left to it, and few are polled for. */
static void few_are_watched_where_the_interrupt_is_best(void **state)
{
	struct poll_queue q;
	unsigned watched = 0;

	poll_queue_init(&q);
	q.delay_ns = 0;
	q.interrupt_ns = q.interrupt_cpu_ns = 1;
	for (int i = 0; i < 100; i++) {
		assert_true(i >= 32 || poll_way(&q, false, 4096) == POLL_PLANNED);
		poll_record(&q, false, 4096, 21000, true);
	}
	assert_int_equal(poll_next(&q, false, 4096, 0, false).kind, POLL_INTERRUPT);
	for (int i = 0; i < 1600; i++) {
		enum poll_way way = poll_way(&q, false, 4096);

		assert_int_not_equal(way, POLL_PLANNED);
		watched += way == POLL_WATCHED;
	}
	assert_int_equal(watched, 100);
	assert_int_equal(poll_way(&q, true, 4096), POLL_PLANNED);
	q.delay_ns = 1000;
	assert_int_equal(poll_way(&q, false, 4096), POLL_PLANNED);
	poll_queue_free(&q);
}

static void classes_do_not_mix(void **state)
{
	struct poll_queue q;
	char text[2048];
	struct strbuf sb;

	poll_queue_init(&q);
	q.delay_ns = 0;
	for (int i = 0; i < 200; i++) {
		poll_record(&q, false, 4096, 50000, true);
		poll_record(&q, true, 65536, 900000, true);
	}
	assert_int_equal(poll_next(&q, false, 4096, 0, false).kind, POLL_SLEEP);
	assert_true(poll_next(&q, false, 4096, 0, false).until_ns < 50000);
	assert_int_equal(poll_next(&q, false, 8192, 0, false).kind, POLL_SPIN);
	assert_true(poll_next(&q, true, 1 << 20, 0, false).until_ns > 500000);
	assert_int_equal(poll_next(&q, true, 1 << 20, 2000000, false).kind, POLL_INTERRUPT); /* overdue */
	assert_int_equal(poll_next(&q, false, 4096, 0, true).kind, POLL_INTERRUPT);
	strbuf_init(&sb, text, sizeof(text));
	poll_show(&q, &sb);
	assert_non_null(strstr(text, "read (4096 Bytes): samples=200"));
	assert_non_null(strstr(text, "write (65536 Bytes): samples=200"));
	poll_queue_free(&q);
}

static void the_file_s_grammar(void **state)
{
	s64 ns;

	assert_int_equal(poll_delay_parse("-1\n", &ns), 0);
	assert_int_equal(ns, -1);
	assert_int_equal(poll_delay_parse("0", &ns), 0);
	assert_int_equal(ns, 0);
	assert_int_equal(poll_delay_parse("25\n", &ns), 0);
	assert_int_equal(ns, 25000);
	assert_int_equal(poll_delay_parse("-2", &ns), -EINVAL);
	assert_int_equal(poll_delay_parse("x", &ns), -EINVAL);
	assert_int_equal(poll_delay_parse("99999999999", &ns), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(meets_the_bars),
		cmocka_unit_test(follows_a_device_that_changes),
		cmocka_unit_test(classes_do_not_mix),
		cmocka_unit_test(a_sleep_that_is_too_long_becomes_shorter),
		cmocka_unit_test(few_are_watched_where_the_interrupt_is_best),
		cmocka_unit_test(the_file_s_grammar),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
