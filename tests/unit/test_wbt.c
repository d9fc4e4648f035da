/* SPDX-License-Identifier: MIT
 *
 * Problem: throttling must cut the tail of read latency without costing the writer, over devices a thousand times apart
 * in speed.
 *
 * Idea: a simulated device (queue of fixed depth in arrival order, several channels) under a writer that always has
 * more to write and a reader of one 4 KiB read at a time. The same run with throttling off and on gives p99 read
 * latency and writer throughput. Time is a number here, so the figures repeat.
 *
 * Contract: runs under ASan and UBSan; prints its table. Locks: none.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdlib.h>
#include <cmocka.h>
#include <block/wbt.h>
#include <lib/err.h>
#include <lib/string.h>

#define MAX_DEPTH 256
#define MAX_READS 200000

struct request {
	bool write;
	u64 issued;
	u64 done; /* 0: not at a channel yet */
	bool used;
};

struct device {
	unsigned depth, channels;
	u64 read_ns, write_ns;
	struct request rq[MAX_DEPTH];
	unsigned order[MAX_DEPTH], nr_waiting; /* not yet at a channel, by arrival */
	unsigned busy, inflight;
	u64 seed;
};

static u64 jitter(struct device *d, u64 mean)
{
	d->seed = d->seed * 6364136223846793005ull + 1442695040888963407ull;
	return mean * 3 / 4 + (d->seed >> 33) % (mean / 2);
}

static void start_channels(struct device *d, u64 now)
{
	while (d->busy < d->channels && d->nr_waiting) {
		struct request *r = &d->rq[d->order[0]];

		memmove(d->order, d->order + 1, --d->nr_waiting * sizeof(*d->order));
		r->done = now + jitter(d, r->write ? d->write_ns : d->read_ns);
		d->busy++;
	}
}

static void submit(struct device *d, bool write, u64 now)
{
	unsigned i;

	for (i = 0; d->rq[i].used; i++)
		;
	d->rq[i] = (struct request){ .write = write, .issued = now, .used = true };
	d->order[d->nr_waiting++] = i;
	d->inflight++;
	start_channels(d, now);
}

static struct request *next_done(struct device *d)
{
	struct request *first = NULL;

	for (unsigned i = 0; i < MAX_DEPTH; i++)
		if (d->rq[i].used && d->rq[i].done && (!first || d->rq[i].done < first->done))
			first = &d->rq[i];
	return first;
}

static int by_value(const void *a, const void *b)
{
	u64 x = *(const u64 *)a, y = *(const u64 *)b;

	return x < y ? -1 : x > y;
}

struct outcome {
	double p50_us, p99_us, writes_per_s, reads_per_s;
};

/* think_ns: the reader's pause between reads; 0 for no reader. */
static struct outcome run(struct device dev, u64 target_ns, bool rotational, u64 think_ns, u64 seconds)
{
	static u64 latency[MAX_READS];
	u64 now = 0, end = seconds * NSEC_PER_SEC, next_read = think_ns ? think_ns : UINT64_MAX, tick = 0;
	u64 warm = end / 5;
	unsigned reads = 0, writes = 0;
	struct device *d = &dev;
	struct wbt w;

	wbt_init(&w, d->depth, rotational);
	wbt_set_target(&w, target_ns);
	while (now < end) {
		struct request *r;

		if (now >= next_read && d->inflight < d->depth) {
			wbt_read_issued(&w, d, now);
			submit(d, false, now);
			next_read = UINT64_MAX;
		}
		/* a reader at a full queue is first in line: it keeps its place by not letting writes in */
		while (next_read > now && d->inflight < d->depth && wbt_may_start(&w, WBT_BACKGROUND, now)) {
			submit(d, true, now);
			if (!tick)
				tick = now + w.window_ns;
		}
		r = next_done(d);
		if (tick && (!r || tick < r->done) && tick <= next_read) {
			now = tick;
			tick = wbt_tick(&w, now);
			continue;
		}
		if (next_read > now && next_read < (r ? r->done : UINT64_MAX)) {
			now = next_read;
			continue;
		}
		assert_non_null(r);
		now = r->done;
		r->used = false;
		d->busy--;
		d->inflight--;
		if (r->write) {
			wbt_done(&w, WBT_BACKGROUND);
			writes += now > warm;
		} else {
			wbt_read_done(&w, d, r->issued, now);
			if (now > warm && reads < MAX_READS)
				latency[reads++] = now - r->issued;
			next_read = now + think_ns;
		}
		start_channels(d, now);
	}
	assert_int_equal(w.inflight, d->inflight - (next_read == UINT64_MAX && think_ns ? 1 : 0));
	qsort(latency, reads, sizeof(*latency), by_value);
	return (struct outcome){ .p50_us = reads ? latency[reads / 2] / 1e3 : 0,
				 .p99_us = reads ? latency[reads * 99 / 100] / 1e3 : 0,
				 .writes_per_s = writes / ((end - warm) / 1e9),
				 .reads_per_s = reads / ((end - warm) / 1e9) };
}

static const struct device ssd = { .depth = 128, .channels = 4, .read_ns = 100000, .write_ns = 400000, .seed = 1 };
static const struct device fast = { .depth = 256, .channels = 8, .read_ns = 20000, .write_ns = 100000, .seed = 2 };
static const struct device disk = { .depth = 32, .channels = 1, .read_ns = 8000000, .write_ns = 9000000, .seed = 3 };

static void reads_keep_their_latency(void **state)
{
	static const struct {
		const char *name;
		const struct device *d;
		u64 target_ns, think_ns;
		bool rotational;
		u64 seconds;
		double ratio;
	} row[] = {
		{ "ssd, 2 ms", &ssd, 2000000, 1000000, false, 20, 5 },
		{ "ssd, 1 ms", &ssd, 1000000, 5000000, false, 20, 5 },
		{ "fast, 1 ms", &fast, 1000000, 500000, false, 10, 5 },
		/* a queue of 32 is only eight times what throttling starts with, and that meets the target */
		{ "disk, 75 ms", &disk, 75000000, 20000000, true, 300, 4 },
	};

	print_message("%-14s %28s %28s\n", "", "off: p50/p99 us, writes/s", "on: p50/p99 us, writes/s");
	for (unsigned i = 0; i < ARRAY_SIZE(row); i++) {
		struct outcome off = run(*row[i].d, 0, row[i].rotational, row[i].think_ns, row[i].seconds);
		struct outcome on =
			run(*row[i].d, row[i].target_ns, row[i].rotational, row[i].think_ns, row[i].seconds);
		/* what the reader takes more of the device is not the throttle's fault: count channel time */
		double spare = on.reads_per_s * row[i].d->read_ns - off.reads_per_s * row[i].d->read_ns;
		double writes = on.writes_per_s + spare / row[i].d->write_ns;

		print_message("%-14s %9.0f %9.0f %8.0f %9.0f %9.0f %8.0f   p99 1/%.1f, writes %.2f\n", row[i].name,
			      off.p50_us, off.p99_us, off.writes_per_s, on.p50_us, on.p99_us, on.writes_per_s,
			      off.p99_us / on.p99_us, writes / off.writes_per_s);
		assert_true(on.p99_us * row[i].ratio <= off.p99_us);
		assert_true(writes >= 0.9 * off.writes_per_s);
	}
}

static void alone_the_writer_is_not_slowed(void **state)
{
	struct outcome off = run(fast, 0, false, 0, 5), on = run(fast, 2000000, false, 0, 5);

	assert_true(on.writes_per_s >= 0.99 * off.writes_per_s);
}

static void steps_and_limits(void **state)
{
	struct wbt w;
	u64 now = NSEC_PER_SEC;
	int id;

	wbt_init(&w, 128, false);
	assert_int_equal(w.limit[WBT_URGENT], 16);
	assert_int_equal(w.limit[WBT_NORMAL], 8);
	assert_int_equal(w.limit[WBT_BACKGROUND], 4);
	for (int i = 0; i < 4; i++)
		assert_true(wbt_may_start(&w, WBT_BACKGROUND, now));
	assert_false(wbt_may_start(&w, WBT_BACKGROUND, now));
	assert_true(wbt_may_start(&w, WBT_NORMAL, now));
	wbt_foreground(&w, now); /* foreground I/O: normal counts as background */
	assert_false(wbt_may_start(&w, WBT_NORMAL, now));
	assert_true(wbt_may_start(&w, WBT_NORMAL, now + 200 * NSEC_PER_MSEC));
	assert_true(wbt_may_start(&w, WBT_URGENT, now));
	wbt_dirty_wait(&w, now); /* somebody sleeps on these writes */
	assert_true(wbt_may_start(&w, WBT_BACKGROUND, now));
	assert_int_equal(w.inflight, 8);
	/* slow reads: 16, 8, 4, 2, 1 and no further */
	for (int i = 0; i < 8; i++) {
		wbt_read_issued(&w, &id, now);
		wbt_read_done(&w, &id, now, now + 3 * NSEC_PER_MSEC);
		now = wbt_tick(&w, now + w.window_ns);
		assert_true(now);
	}
	assert_int_equal(w.step, 4);
	assert_int_equal(w.limit[WBT_URGENT], 1);
	assert_int_equal(w.limit[WBT_BACKGROUND], 1);
	assert_true(w.window_ns < 50 * NSEC_PER_MSEC);
	/* writes alone widen, beyond the start, to 3/4 of the queue */
	for (int i = 0; i < 20; i++) {
		w.writes = 1;
		now += w.window_ns;
		(void)wbt_tick(&w, now);
	}
	assert_int_equal(w.limit[WBT_URGENT], 96);
	/* the first read takes it back */
	wbt_read_issued(&w, &id, now);
	assert_int_equal(w.step, 0);
	/* a read that is stuck counts although none has completed */
	(void)wbt_tick(&w, now + 50 * NSEC_PER_MSEC);
	assert_int_equal(w.step, 1);
	while (w.inflight)
		wbt_done(&w, WBT_URGENT);
	wbt_read_done(&w, &id, now, now + 60 * NSEC_PER_MSEC);
	(void)wbt_tick(&w, now);
	for (int i = 0; i < 40; i++)
		(void)wbt_tick(&w, now); /* idle: back to the start, and the timer stops */
	assert_int_equal(w.step, 0);
	assert_int_equal(wbt_tick(&w, now), 0);
}

static void switched_off(void **state)
{
	struct wbt w;
	u64 t;

	wbt_init(&w, 1, true);
	assert_int_equal(w.limit[WBT_BACKGROUND], 1);
	assert_int_equal(wbt_parse_target(&w, "-1\n", &t), 0);
	assert_int_equal(t, 75 * NSEC_PER_MSEC);
	assert_int_equal(wbt_parse_target(&w, "-2", &t), -EINVAL);
	assert_int_equal(wbt_parse_target(&w, "1s", &t), -EINVAL);
	assert_int_equal(wbt_parse_target(&w, "0", &t), 0);
	wbt_set_target(&w, t);
	for (int i = 0; i < 1000; i++)
		assert_true(wbt_may_start(&w, WBT_BACKGROUND, 1));
	wbt_set_target(&w, NSEC_PER_MSEC); /* on again with 1000 in flight: they drain */
	assert_false(wbt_may_start(&w, WBT_URGENT, 1));
	for (int i = 0; i < 1000; i++)
		wbt_done(&w, WBT_BACKGROUND);
	assert_true(wbt_may_start(&w, WBT_BACKGROUND, 1));
}

static void classes(void **state)
{
	assert_int_equal(wbt_classify(WBT_DIRECT | WBT_SYNC), WBT_EXEMPT);
	assert_int_equal(wbt_classify(WBT_SYNC | WBT_PERIODIC), WBT_URGENT);
	assert_int_equal(wbt_classify(WBT_META), WBT_URGENT);
	assert_int_equal(wbt_classify(WBT_RECLAIM), WBT_URGENT);
	assert_int_equal(wbt_classify(WBT_PERIODIC), WBT_BACKGROUND);
	assert_int_equal(wbt_classify(0), WBT_NORMAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_keep_their_latency),
		cmocka_unit_test(alone_the_writer_is_not_slowed),
		cmocka_unit_test(steps_and_limits),
		cmocka_unit_test(switched_off),
		cmocka_unit_test(classes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
