/* SPDX-License-Identifier: MIT
 *
 * Problem: a queue that sends one job too early breaks an order; one that forgets a job at a reset hangs its client.
 *
 * Idea: a device of one line (jobs end in order, each takes its cost) on a simulated clock; clients, leaves and control
 * groups over it; what was sent, in which order, and who got how much is counted here.
 *
 * Contract: deterministic, no real time. Locks: none.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <alloc/slab.h>
#include <gpu/queue.h>
#include <lib/err.h>
#include <lib/string.h>

#define MS NSEC_PER_MSEC

static const struct vgpu_share normal = { VGPU_WEIGHT_NORMAL, 0, VGPU_ONE };

struct job {
	struct gpu_queue_job q;
	u32 number;
	u64 cost;
};

struct sim {
	struct gpu_queue q;
	u64 now;
};

static void start(struct sim *s)
{
	s->now = 0;
	gpu_queue_init(&s->q, 1000 * MS, 0);
}

static void leaf(struct sim *s, struct gpu_queue_leaf *l, struct vgpu_entity *parent, u32 weight)
{
	struct vgpu_share share = { weight, 0, VGPU_ONE };

	gpu_queue_leaf_init(l);
	assert_int_equal(vgpu_sched_add(&s->q.sched, &l->entity, parent, &share, s->now), 0);
}

static void push(struct sim *s, struct gpu_queue_client *c, struct job *j, u32 number, bool timed, u64 cost)
{
	*j = (struct job){ .number = number, .cost = cost, .q.timed = timed };
	gpu_queue_push(&s->q, c, &j->q, s->now);
}

static struct job *next(struct sim *s)
{
	u64 retry;
	struct gpu_queue_job *q = gpu_queue_next(&s->q, s->now, &retry);

	return q ? container_of(q, struct job, q) : NULL;
}

/* The oldest job at the device ends. */
static struct job *end(struct sim *s)
{
	struct job *j = container_of(list_first_or_null(&s->q.sent, struct gpu_queue_job, link), struct job, q);

	s->now += j->cost;
	assert_int_equal(gpu_queue_done(&s->q, &j->q, 0, s->now, s->now), j->cost);
	return j;
}

/* Jobs of one client keep their order; a turn ends with the timed one; one turn ahead, not two. */
static void turns(void **state)
{
	struct gpu_queue_client c;
	struct gpu_queue_leaf l;
	struct job j[7];
	struct sim s;

	start(&s);
	leaf(&s, &l, NULL, 100);
	gpu_queue_client_init(&c, &l);
	for (u32 i = 0; i < 7; i++)
		push(&s, &c, &j[i], i, i % 2, MS);
	for (u32 i = 0; i < 4; i++)
		assert_int_equal(next(&s)->number, i);
	assert_null(next(&s));
	assert_false(j[0].q.last);
	assert_true(j[1].q.last);
	assert_int_equal(end(&s)->number, 0);
	assert_null(next(&s)); /* the turn is not over */
	assert_int_equal(end(&s)->number, 1);
	assert_int_equal(l.entity.jobs, 1);
	assert_int_equal(l.entity.busy_ns, 2 * MS);
	for (u32 i = 4; i < 6; i++)
		assert_int_equal(next(&s)->number, i);
	assert_null(next(&s));
	for (u32 i = 2; i < 6; i++)
		assert_int_equal(end(&s)->number, i);
	assert_int_equal(next(&s)->number, 6); /* no timed one behind it: it is a turn alone */
	assert_true(j[6].q.last);
	end(&s);
	assert_int_equal(c.done, 7);
	assert_int_equal(c.busy_ns, 7 * MS);
	gpu_queue_client_remove(&c);
}

/* No turn ahead of another leaf that waits; clients of one leaf one after the other. */
static void alternation(void **state)
{
	struct gpu_queue_leaf a, b;
	struct gpu_queue_client a1, a2, b1;
	struct job j[6];
	struct sim s;

	start(&s);
	leaf(&s, &a, NULL, 100);
	leaf(&s, &b, NULL, 100);
	gpu_queue_client_init(&a1, &a);
	gpu_queue_client_init(&a2, &a);
	gpu_queue_client_init(&b1, &b);
	push(&s, &a1, &j[0], 0, true, MS);
	push(&s, &a1, &j[1], 1, true, MS);
	push(&s, &a2, &j[2], 2, true, MS);
	push(&s, &b1, &j[3], 3, true, MS);
	push(&s, &b1, &j[4], 4, true, MS);
	assert_int_equal(next(&s)->number, 0);
	assert_null(next(&s)); /* b waits */
	end(&s);
	assert_int_equal(next(&s)->number, 3);
	assert_null(next(&s));
	end(&s);
	assert_int_equal(next(&s)->number, 2); /* a2's turn within a */
	end(&s);
	assert_int_equal(next(&s)->number, 4);
	end(&s);
	assert_int_equal(next(&s)->number, 1);
	end(&s);
	assert_null(next(&s));
}

/* Work done by leaves that always have jobs, in thousandths. */
static void saturate(struct sim *s, struct gpu_queue_leaf *leaves, u32 n, const u64 *cost, u64 *got)
{
	struct gpu_queue_client c[8];
	struct job j[8][3];
	u64 total = 0, end_ns = s->now + 20 * NSEC_PER_SEC;

	memset(got, 0, n * sizeof(*got));
	for (u32 i = 0; i < n; i++) {
		gpu_queue_client_init(&c[i], &leaves[i]);
		for (u32 k = 0; k < 3; k++)
			push(s, &c[i], &j[i][k], i, true, cost[i]);
	}
	while (s->now < end_ns) {
		struct job *over;

		while (next(s))
			;
		over = end(s);
		got[over->number] += over->cost;
		total += over->cost;
		push(s, over->q.client, over, over->number, true, over->cost);
	}
	for (u32 i = 0; i < n; i++)
		got[i] = got[i] * 1000 / total;
}

static void near(u64 got, u64 want)
{
	if (got + 10 < want || got > want + 10)
		fail_msg("%llu thousandths, not %llu", (unsigned long long)got, (unsigned long long)want);
}

/* Groups within groups: what a group gets does not depend on how many are in it; its children divide it. */
static void groups(void **state)
{
	struct vgpu_entity top, other;
	struct vgpu_share heavy = { 300, 0, VGPU_ONE };
	const u64 cost[] = { 3 * MS, 1 * MS, 5 * MS, 2 * MS };
	struct gpu_queue_leaf l[4];
	struct sim s;
	u64 got[4];

	start(&s);
	assert_int_equal(vgpu_sched_add(&s.q.sched, &top, NULL, &heavy, 0), 0);
	assert_int_equal(vgpu_sched_add(&s.q.sched, &other, NULL, &normal, 0), 0);
	leaf(&s, &l[0], &top, 100);
	leaf(&s, &l[1], &top, 200);
	leaf(&s, &l[2], &other, 100);
	saturate(&s, l, 3, cost, got);
	near(got[0], 250);
	near(got[1], 500);
	near(got[2], 250);
	for (u32 i = 0; i < 3; i++)
		assert_int_equal(l[i].entity.running <= GPU_TURNS, 1);
}

/* A group's cap holds for its children together, its guarantee too, whatever the weights. */
static void group_limits(void **state)
{
	struct vgpu_entity capped, sure, heavy;
	struct vgpu_share cap = { 1000, 0, 300000 }, min = { 1, 400000, VGPU_ONE }, weight = { 10000, 0, VGPU_ONE };
	const u64 cost[] = { 3 * MS, 1 * MS, 5 * MS, 2 * MS };
	struct vgpu_share child = { 100, 500000, VGPU_ONE };
	struct gpu_queue_leaf l[4];
	struct sim s;
	u64 got[4];

	start(&s);
	assert_int_equal(vgpu_sched_add(&s.q.sched, &capped, NULL, &cap, 0), 0);
	assert_int_equal(vgpu_sched_add(&s.q.sched, &sure, NULL, &min, 0), 0);
	assert_int_equal(vgpu_sched_add(&s.q.sched, &heavy, NULL, &weight, 0), 0);
	leaf(&s, &l[0], &capped, 100);
	leaf(&s, &l[1], &capped, 100);
	leaf(&s, &l[2], &sure, 100);
	leaf(&s, &l[3], &heavy, 100);
	assert_int_equal(vgpu_sched_set(&s.q.sched, &l[2].entity, &child, 0), -ENOSPC); /* more than its group's */
	saturate(&s, l, 4, cost, got);
	assert_true(got[0] + got[1] <= 310);
	near(got[2], 400);
}

/* A reset: the guilty client's jobs come out, the others' run again, in order; the time is charged. */
static void reset(void **state)
{
	struct gpu_queue_client guilty, other;
	struct gpu_queue_leaf l;
	struct job j[5];
	struct sim s;
	LIST(dropped);

	start(&s);
	leaf(&s, &l, NULL, 100);
	gpu_queue_client_init(&guilty, &l);
	gpu_queue_client_init(&other, &l);
	assert_int_equal(gpu_queue_hang_at(&s.q), ~0ull);
	push(&s, &guilty, &j[0], 0, true, MS);
	push(&s, &other, &j[1], 1, false, MS);
	push(&s, &other, &j[2], 2, true, MS);
	push(&s, &other, &j[3], 3, true, MS);
	push(&s, &guilty, &j[4], 4, true, MS);
	for (u32 i = 0; i < 3; i++)
		assert_int_equal(next(&s)->number, i);
	assert_int_equal(gpu_queue_hang_at(&s.q), 1000 * MS);
	s.now = 1000 * MS;
	assert_int_equal(gpu_queue_reset(&s.q, &guilty, &dropped, s.now), 1000 * MS);
	assert_ptr_equal(dropped.next, &j[0].q.link);
	assert_ptr_equal(dropped.next->next, &dropped);
	assert_int_equal(l.entity.busy_ns, 1000 * MS);
	assert_int_equal(l.entity.running, 0);
	assert_ptr_equal(gpu_queue_take(&s.q, &guilty), &j[4].q); /* the owner refuses what it had queued */
	assert_null(gpu_queue_take(&s.q, &guilty));
	gpu_queue_client_remove(&guilty);
	for (u32 i = 1; i < 4; i++)
		assert_int_equal(next(&s)->number, i);
	for (u32 i = 1; i < 4; i++)
		assert_int_equal(end(&s)->number, i);
	assert_null(next(&s));
	gpu_queue_client_remove(&other);
}

/* A client that leaves with the rest of its jobs waiting takes its leaf out of the competition. */
static void leaving(void **state)
{
	struct gpu_queue_client c, d;
	struct gpu_queue_leaf a, b;
	struct job j[4];
	struct sim s;

	start(&s);
	leaf(&s, &a, NULL, 100);
	leaf(&s, &b, NULL, 100);
	gpu_queue_client_init(&c, &a);
	gpu_queue_client_init(&d, &b);
	push(&s, &c, &j[0], 0, true, MS);
	push(&s, &d, &j[1], 1, true, MS);
	push(&s, &d, &j[2], 2, true, MS);
	assert_int_equal(next(&s)->number, 0);
	assert_non_null(gpu_queue_take(&s.q, &d));
	assert_non_null(gpu_queue_take(&s.q, &d));
	assert_false(b.entity.queued);
	gpu_queue_client_remove(&d);
	end(&s);
	assert_null(next(&s));
}

/* A group whose weight was tiny has no debt from then once it is changed, whoever worked last. */
static void changed_group(void **state)
{
	struct vgpu_entity a, b;
	struct vgpu_share tiny = { 1, 400000, VGPU_ONE }, huge = { 10000, 0, VGPU_ONE };
	const u64 cost[] = { 2 * MS, 2 * MS };
	struct gpu_queue_leaf l[2];
	struct sim s;
	u64 got[2];

	start(&s);
	assert_int_equal(vgpu_sched_add(&s.q.sched, &a, NULL, &tiny, 0), 0);
	assert_int_equal(vgpu_sched_add(&s.q.sched, &b, NULL, &huge, 0), 0);
	leaf(&s, &l[0], &a, 100);
	leaf(&s, &l[1], &b, 100);
	saturate(&s, l, 2, cost, got);
	near(got[0], 400);
	assert_true(l[0].entity.vtime > s.q.sched.vnow);
	assert_int_equal(vgpu_sched_set(&s.q.sched, &a, &normal, s.now), 0);
	assert_int_equal(l[0].entity.vtime, s.q.sched.vnow);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(turns),         cmocka_unit_test(alternation),  cmocka_unit_test(groups),
		cmocka_unit_test(reset),         cmocka_unit_test(group_limits), cmocka_unit_test(leaving),
		cmocka_unit_test(changed_group),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
