/* SPDX-License-Identifier: MIT
 *
 * Problem: weights, limits and latency targets of a disk's tenants must hold over seconds, on devices with one channel
 * and with many, and no transfer may be lost or go twice.
 *
 * Idea: a simulated device (channels that serve one transfer after another, in order of arrival) under tenants that
 * keep so many transfers waiting each. Time is a number here, so figures repeat. A last test throws random calls at the
 * queue and counts.
 *
 * Contract: runs under ASan and UBSan; prints its figures. Locks: none.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include <block/ioshare.h>
#include <lib/string.h>

#define MAX_TENANTS 8
#define MAX_ITEMS   64
#define CHANNELS    4
#define SERVICE_NS  (100 * NSEC_PER_USEC)
#define QUEUE_DEPTH 8

struct load {
	struct io_node *node;
	unsigned depth; /* so many it keeps waiting or in flight */
	u32 bytes;
	bool write;
	struct io_item item[MAX_ITEMS];
	bool used[MAX_ITEMS];
	u64 done, done_bytes, latency_ns;
};

struct machine {
	struct io_queue q;
	struct load load[MAX_TENANTS];
	unsigned nr;
	struct io_item *fifo[MAX_TENANTS * MAX_ITEMS];
	unsigned head, tail;
	struct io_item *served[CHANNELS];
	u64 until[CHANNELS], now;
};

static struct machine *machine_new(void)
{
	struct machine *m = calloc(1, sizeof(*m));

	io_queue_init(&m->q, QUEUE_DEPTH, false);
	return m;
}

static struct load *add(struct machine *m, struct io_node *node, unsigned depth)
{
	struct load *l = &m->load[m->nr++];

	l->node = node;
	l->depth = depth;
	l->bytes = 4096;
	return l;
}

static struct load *load_of(struct machine *m, const struct io_item *i)
{
	for (unsigned n = 0; n < m->nr; n++)
		if (i >= m->load[n].item && i < m->load[n].item + MAX_ITEMS)
			return &m->load[n];
	return NULL;
}

static void pump(struct machine *m)
{
	struct io_item *i;

	while ((i = io_next(&m->q, m->now)))
		m->fifo[m->tail++ % (MAX_TENANTS * MAX_ITEMS)] = i;
	for (unsigned c = 0; c < CHANNELS; c++)
		if (!m->served[c] && m->head != m->tail) {
			m->served[c] = m->fifo[m->head++ % (MAX_TENANTS * MAX_ITEMS)];
			m->until[c] = m->now + SERVICE_NS;
		}
}

static void send(struct machine *m, struct load *l)
{
	for (unsigned k = 0; k < l->depth; k++)
		if (!l->used[k]) {
			l->used[k] = true;
			l->item[k] = (struct io_item){ .node = l->node, .bytes = l->bytes, .write = l->write };
			io_submit(&m->q, &l->item[k], m->now);
		}
	pump(m);
}

static void finish(struct machine *m, unsigned c)
{
	struct io_item *i = m->served[c];
	struct load *l = load_of(m, i);

	m->served[c] = NULL;
	l->done++;
	l->done_bytes += i->bytes;
	l->latency_ns += m->now - i->since_ns;
	io_done(&m->q, i, m->now);
	l->used[i - l->item] = false;
	pump(m);
	send(m, l);
}

static void run(struct machine *m, u64 ns)
{
	u64 end = m->now + ns;

	for (unsigned n = 0; n < m->nr; n++) {
		m->load[n].done = m->load[n].done_bytes = m->load[n].latency_ns = 0;
		send(m, &m->load[n]);
	}
	for (;;) {
		u64 next = io_wakeup(&m->q);

		for (unsigned c = 0; c < CHANNELS; c++)
			if (m->served[c])
				next = min(next, m->until[c]);
		if (next > end)
			break;
		m->now = max(m->now, next);
		for (unsigned c = 0; c < CHANNELS; c++)
			if (m->served[c] && m->until[c] <= m->now)
				finish(m, c);
		pump(m);
	}
	m->now = end;
}

#define FULL_RATE (CHANNELS * (NSEC_PER_SEC / SERVICE_NS)) /* transfers a second */

/* Per mille. */
static void near(u64 value, u64 whole, u64 expected, u64 within)
{
	u64 part = value * 1000 / whole, off = part > expected ? part - expected : expected - part;

	printf("  %llu of %llu: %llu per mille, expected %llu\n", (unsigned long long)value, (unsigned long long)whole,
	       (unsigned long long)part, (unsigned long long)expected);
	assert_true(off <= within);
}

static void weights(void **state)
{
	struct machine *m = machine_new();
	struct io_node n[3];
	u64 sum = 0;

	for (unsigned i = 0; i < 3; i++) {
		io_node_init(&n[i], &m->q.root);
		io_set_weight(&n[i], 100u << i);
		add(m, &n[i], 32 >> i);
	}
	run(m, 10 * NSEC_PER_SEC);
	for (unsigned i = 0; i < 3; i++)
		sum += m->load[i].done;
	near(sum, 10 * FULL_RATE, 1000, 1); /* and the device is never idle */
	near(m->load[0].done, sum, 143, 3);
	near(m->load[1].done, sum, 286, 6);
	near(m->load[2].done, sum, 571, 11);
	io_set_weight(&n[0], 400); /* while it runs */
	run(m, 10 * NSEC_PER_SEC);
	near(m->load[0].done, m->load[2].done, 1000, 20);
	free(m);
}

static void levels(void **state)
{
	struct machine *m = machine_new();
	struct io_node a, a1, a2, b;

	io_node_init(&a, &m->q.root);
	io_node_init(&b, &m->q.root);
	io_node_init(&a1, &a);
	io_node_init(&a2, &a);
	io_set_weight(&a2, 300);
	add(m, &a1, 16);
	add(m, &a2, 16);
	add(m, &b, 16);
	run(m, 5 * NSEC_PER_SEC);
	near(m->load[0].done, 5 * FULL_RATE, 125, 3);
	near(m->load[1].done, 5 * FULL_RATE, 375, 8);
	near(m->load[2].done, 5 * FULL_RATE, 500, 10);
	free(m);
}

static void big_and_small(void **state)
{
	struct machine *m = machine_new();
	struct io_node a, b;

	io_node_init(&a, &m->q.root);
	io_node_init(&b, &m->q.root);
	add(m, &a, 16)->bytes = 256 * 1024; /* 526 us each by the price, against 10 */
	add(m, &b, 16);
	run(m, 5 * NSEC_PER_SEC);
	near(m->load[0].done * 526288, m->load[1].done * 10192, 1000, 60);
	free(m);
}

static void limits(void **state)
{
	struct machine *m = machine_new();
	struct io_node a, b, b1, b2;

	io_node_init(&a, &m->q.root);
	io_node_init(&b, &m->q.root);
	io_node_init(&b1, &b);
	io_node_init(&b2, &b);
	io_set_weight(&b2, 300);
	io_set_limit(&m->q, &b, IO_READ_BYTES, 1 << 20, m->now); /* 256 transfers a second for both */
	io_set_limit(&m->q, &b, IO_WRITE_OPS, 10, m->now);
	add(m, &a, 16);
	add(m, &b1, 8);
	add(m, &b2, 8);
	run(m, 10 * NSEC_PER_SEC);
	near(m->load[1].done + m->load[2].done, 2560, 1000, 10);
	near(m->load[2].done, m->load[1].done + m->load[2].done, 750, 20);
	near(m->load[0].done + m->load[1].done + m->load[2].done, 10 * FULL_RATE, 1000, 2);
	m->load[1].write = true; /* from its next transfer on */
	run(m, 10 * NSEC_PER_SEC);
	near(m->load[1].done, 100, 1000, 100);
	near(m->load[2].done, 2560, 1000, 10);
	io_set_limit(&m->q, &b, IO_READ_BYTES, IO_NO_LIMIT, m->now);
	io_set_limit(&m->q, &b, IO_WRITE_OPS, IO_NO_LIMIT, m->now);
	pump(m);
	run(m, 10 * NSEC_PER_SEC);
	near(m->load[0].done, 10 * FULL_RATE, 500, 10);
	free(m);
}

static void urgent(void **state)
{
	struct machine *m = machine_new();
	struct io_item i, u;
	struct io_node a;

	io_node_init(&a, &m->q.root);
	io_set_limit(&m->q, &a, IO_WRITE_OPS, 1, 0);
	for (unsigned k = 0; k < 2; k++) {
		i = (struct io_item){ .node = &a, .bytes = 4096, .write = true };
		io_submit(&m->q, &i, NSEC_PER_SEC);
		if (!k) {
			assert_ptr_equal(io_next(&m->q, NSEC_PER_SEC), &i);
			io_done(&m->q, &i, NSEC_PER_SEC);
		}
	}
	assert_null(io_next(&m->q, NSEC_PER_SEC));
	assert_true(io_would_wait(&m->q, &i, NSEC_PER_SEC));
	u = (struct io_item){ .node = &a, .bytes = 4096, .write = true, .urgent = true };
	io_submit(&m->q, &u, NSEC_PER_SEC);
	assert_ptr_equal(io_next(&m->q, NSEC_PER_SEC), &u);
	assert_null(io_next(&m->q, NSEC_PER_SEC));
	assert_true(io_wakeup(&m->q) > 2 * NSEC_PER_SEC); /* it was paid for */
	io_done(&m->q, &u, NSEC_PER_SEC);
	m->q.open = true;
	assert_ptr_equal(io_next(&m->q, NSEC_PER_SEC), &i);
	free(m);
}

static void latency(void **state)
{
	u64 took[2];

	for (unsigned with = 0; with < 2; with++) {
		struct machine *m = machine_new();
		struct io_node victim, flood;

		io_node_init(&victim, &m->q.root);
		io_node_init(&flood, &m->q.root);
		victim.target_ns = with ? 130 * NSEC_PER_USEC : 0;
		add(m, &victim, 1);
		add(m, &flood, 32);
		run(m, NSEC_PER_SEC);
		run(m, 5 * NSEC_PER_SEC);
		took[with] = m->load[0].latency_ns / m->load[0].done;
		printf("  read beside a flood: %llu ns, flood %llu a second\n", (unsigned long long)took[with],
		       (unsigned long long)m->load[1].done / 5);
		if (with) {
			assert_true(m->load[1].done / 5 > FULL_RATE / 4); /* it goes on, as far as the target allows */
			m->load[0].depth = 0;                             /* without the victim it recovers */
			run(m, 2 * NSEC_PER_SEC);
			run(m, 5 * NSEC_PER_SEC);
			near(m->load[1].done, 5 * FULL_RATE, 1000, 5);
		}
		free(m);
	}
	assert_true(took[0] > 180 * NSEC_PER_USEC);
	assert_true(took[1] < 140 * NSEC_PER_USEC);
}

static u64 seed = 42;

static unsigned rnd(unsigned below)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return (unsigned)(seed >> 33) % below;
}

enum where { OUT, WAITS, FLIES };

static void random_calls(void **state)
{
	struct io_node n[6];
	struct io_item item[64];
	enum where at[64] = { OUT };
	struct io_queue q;
	unsigned flying = 0;
	u64 now = NSEC_PER_SEC;

	io_queue_init(&q, 4, true);
	for (unsigned i = 0; i < 6; i++)
		io_node_init(&n[i], i < 3 ? &q.root : &n[i - 3]);
	for (unsigned step = 0; step < 300000; step++) {
		unsigned k = rnd(64), t = rnd(6);
		struct io_item *i;

		now += rnd(300000);
		switch (rnd(8)) {
		case 0: io_set_weight(&n[t], 1 + rnd(10000)); break;
		case 1: io_set_limit(&q, &n[t], rnd(IO_LIMITS), rnd(2) ? IO_NO_LIMIT : 1 + rnd(100000000), now); break;
		case 2: n[t].target_ns = rnd(3) * 100000; break;
		case 3:
			if (at[k] == FLIES) {
				io_done(&q, &item[k], now);
				at[k] = OUT;
				flying--;
			}
			break;
		default:
			if (at[k] != OUT)
				break;
			item[k] = (struct io_item){ .node = &n[t],
						    .bytes = rnd(1 << 20),
						    .sector = rnd(1000),
						    .write = rnd(2),
						    .urgent = !rnd(20) };
			io_submit(&q, &item[k], now);
			at[k] = WAITS;
		}
		while ((i = io_next(&q, now))) {
			assert_int_equal(at[i - item], WAITS);
			at[i - item] = FLIES;
			flying++;
		}
		assert_int_equal(q.in_flight, flying);
	}
	q.open = true;
	for (struct io_item *i; (i = io_next(&q, now));) {
		assert_int_equal(at[i - item], WAITS);
		at[i - item] = FLIES;
	}
	for (unsigned k = 0; k < 64; k++) {
		assert_int_not_equal(at[k], WAITS);
		if (at[k] == FLIES)
			io_done(&q, &item[k], now);
	}
	assert_int_equal(q.in_flight, 0);
	assert_int_equal(q.competing, 0);
	assert_int_equal(q.root.sum, 0);
	for (unsigned i = 0; i < 6; i++)
		assert_int_equal(n[i].sum + n[i].in_flight + n[i].active, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(weights),      cmocka_unit_test(levels), cmocka_unit_test(big_and_small),
		cmocka_unit_test(limits),       cmocka_unit_test(urgent), cmocka_unit_test(latency),
		cmocka_unit_test(random_calls),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
