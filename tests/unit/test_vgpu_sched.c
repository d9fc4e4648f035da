/* SPDX-License-Identifier: MIT
 *
 * Problem: fairness claims are easy; a scheduler that gives a tenant 5 % too much is seen by nobody for years.
 *
 * Idea: a simulated device and simulated clients (how long a job takes, how long until the next one comes, how many it
 * keeps in flight) run for ten simulated seconds; the finished work of each, counted by the simulation and not by the
 * scheduler, must be its share within 1 %.
 *
 * Contract: deterministic, no real time. Runs under ASan and UBSan. Locks: none.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <lib/err.h>
#include <lib/string.h>
#include <virt/vgpu/sched.h>

#define MS NSEC_PER_MSEC
#define US NSEC_PER_USEC

struct client {
	struct vgpu_share share;
	struct vgpu_entity *parent;
	u64 job, think; /* ns of a job; from its end to the next one's arrival */
	u64 from, to;   /* when it is there at all; to 0: for ever */
	/* the simulation's */
	struct vgpu_entity e;
	u64 next, got, wait_max;
	bool waiting;
};

static u32 rng;

static u64 jitter(u64 x)
{
	rng = rng * 1664525 + 1013904223;
	return x * 3 / 4 + x * (rng >> 16) / 65536 / 2;
}

/* Runs clients until `end`; counts work finished after `count_from`. */
static void simulate(struct vgpu_sched *s, struct client *c, u32 n, u64 end, u64 count_from)
{
	u64 now = 0;

	rng = 1;
	while (now < end) {
		u64 retry, wake = end;
		struct vgpu_entity *e;

		for (u32 i = 0; i < n; i++) {
			bool there = now >= c[i].from && (!c[i].to || now < c[i].to);

			if (there && !c[i].waiting && now >= c[i].next) {
				c[i].waiting = true;
				/* it came while the last job ran */
				vgpu_sched_queue(s, &c[i].e, max(c[i].next, c[i].from));
			} else if (there && !c[i].waiting) {
				wake = min(wake, c[i].next);
			} else if (now < c[i].from) {
				wake = min(wake, c[i].from);
			}
		}
		e = vgpu_sched_pick(s, now, &retry);
		if (!e) {
			now = max(now + 1, min(wake, retry));
			continue;
		}
		for (u32 i = 0; i < n; i++) {
			struct client *k = &c[i];
			u64 busy = jitter(k->job);

			if (&k->e != e)
				continue;
			k->wait_max = max(k->wait_max, now - k->next);
			vgpu_sched_unqueue(s, e);
			if (!k->think)
				vgpu_sched_queue(s, e, now); /* it keeps more than one in flight */
			now += busy;
			vgpu_sched_charge(s, e, busy, now);
			k->waiting = !k->think;
			k->next = now + k->think;
			if (now > count_from)
				k->got += busy;
			if (k->to && now >= k->to) {
				k->waiting = false;
				vgpu_sched_unqueue(s, e);
			}
			break;
		}
	}
}

static void start(struct vgpu_sched *s, struct client *c, u32 n)
{
	vgpu_sched_init(s, 0);
	for (u32 i = 0; i < n; i++) {
		if (!c[i].share.weight)
			c[i].share.weight = VGPU_WEIGHT_NORMAL;
		if (!c[i].share.max)
			c[i].share.max = VGPU_ONE;
		assert_int_equal(vgpu_sched_add(s, &c[i].e, c[i].parent, &c[i].share, 0), 0);
	}
}

/* got in millionths of span must be want within 1 % of the device */
static void expect(const struct client *c, u64 span, u64 want)
{
	u64 got = c->got * VGPU_ONE / span;

	if (got + 10000 < want || got > want + 10000)
		fail_msg("%llu millionths, not %llu", (unsigned long long)got, (unsigned long long)want);
}

static void weights(void **state)
{
	struct client c[] = { { .share.weight = 100, .job = 3 * MS },
			      { .share.weight = 200, .job = 500 * US },
			      { .share.weight = 400, .job = 7 * MS } };
	struct vgpu_sched s;

	start(&s, c, 3);
	simulate(&s, c, 3, 10 * NSEC_PER_SEC, 0);
	expect(&c[0], 10 * NSEC_PER_SEC, 142857);
	expect(&c[1], 10 * NSEC_PER_SEC, 285714);
	expect(&c[2], 10 * NSEC_PER_SEC, 571428);
}

/* Clients that wait for each frame before sending the next: without the expectation all would get the same. */
static void weights_one_in_flight(void **state)
{
	struct client c[] = { { .share.weight = 100, .job = 4 * MS, .think = 200 * US },
			      { .share.weight = 200, .job = 4 * MS, .think = 200 * US },
			      { .share.weight = 400, .job = 4 * MS, .think = 200 * US } };
	struct vgpu_sched s;
	u64 all;

	start(&s, c, 3);
	simulate(&s, c, 3, 10 * NSEC_PER_SEC, 0);
	all = c[0].got + c[1].got + c[2].got;
	assert_true(all > 95 * (10 * NSEC_PER_SEC / 100)); /* waiting for them costs under 5 % */
	expect(&c[0], all, 142857);
	expect(&c[1], all, 285714);
	expect(&c[2], all, 571428);
}

static void eight_equal(void **state)
{
	struct client c[8];
	struct vgpu_sched s;

	memset(c, 0, sizeof(c));
	for (u32 i = 0; i < 8; i++)
		c[i].job = (i + 1) * MS;
	start(&s, c, 8);
	simulate(&s, c, 8, 10 * NSEC_PER_SEC, 0);
	for (u32 i = 0; i < 8; i++)
		expect(&c[i], 10 * NSEC_PER_SEC, 125000);
}

static void idle_shares_are_used(void **state)
{
	/* The second is there only in the second half. */
	struct client c[] = { { .job = 5 * MS }, { .job = 5 * MS, .from = 5 * NSEC_PER_SEC } };
	struct vgpu_sched s;

	start(&s, c, 2);
	simulate(&s, c, 2, 10 * NSEC_PER_SEC, 0);
	expect(&c[0], 10 * NSEC_PER_SEC, 750000);
	expect(&c[1], 10 * NSEC_PER_SEC, 250000); /* and gets no credit for the first */
}

static void cap_holds_on_an_idle_device(void **state)
{
	struct client c[] = { { .share.max = 300000, .job = 9 * MS } };
	struct vgpu_sched s;

	start(&s, c, 1);
	simulate(&s, c, 1, 10 * NSEC_PER_SEC, 0);
	expect(&c[0], 10 * NSEC_PER_SEC, 300000);
	assert_true(c[0].e.capped_ns > 6 * NSEC_PER_SEC);
}

static void guarantee_beats_weight(void **state)
{
	struct client c[] = { { .share = { 1, 400000, 0 }, .job = 30 * MS },
			      { .share.weight = 1000, .job = 4 * MS },
			      { .share.weight = 1000, .job = 4 * MS } };
	struct vgpu_sched s;

	start(&s, c, 3);
	simulate(&s, c, 3, 10 * NSEC_PER_SEC, 0);
	expect(&c[0], 10 * NSEC_PER_SEC, 400000);
	expect(&c[1], 10 * NSEC_PER_SEC, 300000);
	expect(&c[2], 10 * NSEC_PER_SEC, 300000);
}

/* The one with a guarantee ran alone and got all; when another comes it must have its guarantee at once. */
static void guarantee_after_plenty(void **state)
{
	struct client c[] = { { .share = { 1, 300000, 0 }, .job = 5 * MS },
			      { .share.weight = 10000, .job = 5 * MS, .from = 5 * NSEC_PER_SEC } };
	struct vgpu_sched s;

	start(&s, c, 2);
	simulate(&s, c, 2, 6 * NSEC_PER_SEC, 5 * NSEC_PER_SEC + 200 * MS);
	expect(&c[0], 800 * MS, 300000);
}

static void light_beside_heavy(void **state)
{
	/* One frame of 1 ms each 16 ms, beside a client that always has jobs of 8 ms waiting. */
	struct client c[] = { { .job = 1 * MS, .think = 15 * MS }, { .job = 8 * MS } };
	struct vgpu_sched s;

	start(&s, c, 2);
	simulate(&s, c, 2, 10 * NSEC_PER_SEC, 0);
	assert_true(c[0].wait_max <= 10 * MS + 100 * US); /* never more than the one job that is running */
	assert_true(c[0].e.delay_max_ns == c[0].wait_max);
}

/* Sleeping a little before each job must not get more than the weight gives. */
static void sleeping_is_no_trick(void **state)
{
	struct client c[] = { { .share.weight = 100, .job = 5 * MS, .think = 6 * MS },
			      { .share.weight = 900, .job = 5 * MS } };
	struct vgpu_sched s;

	start(&s, c, 2);
	simulate(&s, c, 2, 10 * NSEC_PER_SEC, 0);
	assert_true(c[0].got < 400 * (10 * NSEC_PER_SEC / 1000));
}

static void policies(void **state)
{
	struct client c[] = { { .job = 2 * MS }, { .job = 2 * MS, .from = 20 * NSEC_PER_SEC } };
	struct vgpu_sched s;

	start(&s, c, 2);
	assert_int_equal(vgpu_sched_set_policy(&s, VGPU_FIXED_SHARE, 0), -EINVAL);
	assert_int_equal(vgpu_sched_set_policy(&s, VGPU_FIXED_SHARE, 5), 0);
	simulate(&s, c, 2, 10 * NSEC_PER_SEC, 0);
	expect(&c[0], 10 * NSEC_PER_SEC, 200000); /* one of five slots, although alone */
	memset(c, 0, sizeof(c));
	c[0].job = c[1].job = 2 * MS;
	c[1].from = 20 * NSEC_PER_SEC;
	start(&s, c, 2);
	assert_int_equal(vgpu_sched_set_policy(&s, VGPU_EQUAL_SHARE, 0), 0);
	simulate(&s, c, 2, 10 * NSEC_PER_SEC, 0);
	expect(&c[0], 10 * NSEC_PER_SEC, 500000);
	vgpu_sched_remove(&s, &c[1].e);
	assert_int_equal(vgpu_sched_cap(&s, &c[0].e), VGPU_ONE);
}

static void settings(void **state)
{
	struct vgpu_entity a, b;
	struct vgpu_sched s;
	struct vgpu_share ok = { 100, 600000, VGPU_ONE }, half = { 100, 400001, VGPU_ONE };

	vgpu_sched_init(&s, 0);
	assert_int_equal(vgpu_sched_add(&s, &a, NULL, &ok, 0), 0);
	assert_int_equal(vgpu_sched_add(&s, &b, NULL, &half, 0), -ENOSPC);
	half.min = 400000;
	assert_int_equal(vgpu_sched_add(&s, &b, NULL, &half, 0), 0);
	half.min = 400001;
	assert_int_equal(vgpu_sched_set(&s, &b, &half, 0), -ENOSPC);
	assert_int_equal(b.share.min, 400000); /* a refused setting changes nothing */
	half = (struct vgpu_share){ 0, 0, VGPU_ONE };
	assert_int_equal(vgpu_sched_set(&s, &b, &half, 0), -EINVAL);
	half = (struct vgpu_share){ 100, 500000, 400000 };
	assert_int_equal(vgpu_sched_set(&s, &b, &half, 0), -EINVAL);
	half = (struct vgpu_share){ 100, 0, VGPU_ONE + 1 };
	assert_int_equal(vgpu_sched_set(&s, &b, &half, 0), -EINVAL);
}

/* A change of weight while both saturate takes effect with the next jobs, without a debt from before. */
static void live_change(void **state)
{
	struct client c[] = { { .job = 4 * MS }, { .job = 4 * MS } };
	struct vgpu_share heavier = { 300, 0, VGPU_ONE };
	struct vgpu_sched s;

	start(&s, c, 2);
	simulate(&s, c, 2, 5 * NSEC_PER_SEC, 0);
	assert_int_equal(vgpu_sched_set(&s, &c[1].e, &heavier, 5 * NSEC_PER_SEC), 0);
	c[0].got = c[1].got = 0;
	c[0].next = c[1].next = 0;
	s.refilled_ns = 0;
	simulate(&s, c, 2, 1 * NSEC_PER_SEC, 0);
	expect(&c[0], NSEC_PER_SEC, 250000);
	expect(&c[1], NSEC_PER_SEC, 750000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(weights),
		cmocka_unit_test(weights_one_in_flight),
		cmocka_unit_test(eight_equal),
		cmocka_unit_test(idle_shares_are_used),
		cmocka_unit_test(cap_holds_on_an_idle_device),
		cmocka_unit_test(guarantee_beats_weight),
		cmocka_unit_test(guarantee_after_plenty),
		cmocka_unit_test(light_beside_heavy),
		cmocka_unit_test(sleeping_is_no_trick),
		cmocka_unit_test(policies),
		cmocka_unit_test(settings),
		cmocka_unit_test(live_change),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
