/* SPDX-License-Identifier: MIT
 *
 * Problem: a GPU runs one submission at a time to its end, and nobody knows before how long it takes. Turns by
 * submission give most to whoever submits the longest; slices of a timer mean nothing.
 *
 * Idea: fair queueing by measured time. Each entity has a virtual time that advances by busy time divided by weight;
 * the smallest goes next, and who overran waits until the others have caught up. Who was idle starts at the present
 * (vnow, the smallest virtual time among those that want the device) and gets no credit for having slept. Two token
 * buckets come before: `min` fills at the guaranteed rate, and whoever has tokens goes first; `max` fills at the cap's
 * rate, and whoever has none is not considered. Both go negative by what a job overran.
 *
 * After its job an entity with nothing queued is still *expected* for a moment if its next job usually comes soon
 * compared with how long its jobs last; if it would be first, the device waits for it (sched.h says why).
 *
 * In a tree, tokens are asked for and paid at every level; the more levels owe an entity, the earlier it goes. The
 * weight of a child is its part, among the siblings that want the device at that moment, of its parent's.
 *
 * Contract: sched.h. Locks: none; the owner of the device serialises.
 */
#include <core/log.h>
#include <lib/err.h>
#include <lib/string.h>
#include <virt/vgpu/sched.h>

#define REFILL_MAX_NS NSEC_PER_SEC /* a longer pause fills the buckets no further */
#define NEVER         (~0ull)

void vgpu_sched_init(struct vgpu_sched *s, u64 now)
{
	memset(s, 0, sizeof(*s));
	list_init(&s->entities);
	s->refilled_ns = s->started_ns = now;
}

int vgpu_sched_set_policy(struct vgpu_sched *s, enum vgpu_policy policy, u32 slots)
{
	if (policy == VGPU_FIXED_SHARE && !slots)
		return fail(EINVAL, "fixed share of how many slots?");
	s->policy = policy;
	s->slots = slots;
	return 0;
}

u32 vgpu_sched_cap(const struct vgpu_sched *s, const struct vgpu_entity *e)
{
	u32 parts = s->policy == VGPU_FIXED_SHARE ? s->slots : s->policy == VGPU_EQUAL_SHARE ? s->count : 1;

	return min(e->share.max, VGPU_ONE / max(parts, 1u));
}

/* ---- settings ---- */

static int check_share(const struct vgpu_sched *s, const struct vgpu_entity *self, const struct vgpu_entity *parent,
		       const struct vgpu_share *share)
{
	struct vgpu_entity *e;
	u64 sum = share->min, room = parent ? parent->share.min : VGPU_ONE;

	if (!share->weight || share->weight > VGPU_WEIGHT_MAX)
		return fail(EINVAL, "weight %u, not 1 to %u", share->weight, VGPU_WEIGHT_MAX);
	if (!share->max || share->max > VGPU_ONE || share->min > share->max)
		return fail(EINVAL, "min %u, max %u millionths", share->min, share->max);
	list_for_each_entry (e, &s->entities, link)
		if (e != self && e->parent == parent)
			sum += e->share.min;
	return sum <= room ? 0 : fail(ENOSPC, "guarantees of %llu millionths", (unsigned long long)sum);
}

static s64 burst(u32 millionths)
{
	return VGPU_BURST_NS * millionths / VGPU_ONE;
}

int vgpu_sched_add(struct vgpu_sched *s, struct vgpu_entity *e, struct vgpu_entity *parent,
		   const struct vgpu_share *share, u64 now)
{
	int rc = check_share(s, NULL, parent, share);

	if (rc)
		return rc;
	memset(e, 0, sizeof(*e));
	e->share = *share;
	e->parent = parent;
	e->vtime = s->vnow;
	e->min_left = burst(share->min);
	e->idle_since_ns = now;
	list_add_tail(&e->link, &s->entities);
	s->count++;
	e->max_left = burst(vgpu_sched_cap(s, e));
	return 0;
}

static bool is_below(const struct vgpu_entity *e, const struct vgpu_entity *top)
{
	while (e && e != top)
		e = e->parent;
	return e;
}

int vgpu_sched_set(struct vgpu_sched *s, struct vgpu_entity *e, const struct vgpu_share *share, u64 now)
{
	struct vgpu_entity *other;
	int rc = check_share(s, e, e->parent, share);

	if (rc)
		return rc;
	e->share = *share;
	list_for_each_entry (other, &s->entities, link)
		if (is_below(other, e))
			other->vtime = min(other->vtime, s->vnow);
	e->min_left = burst(share->min);
	e->max_left = burst(vgpu_sched_cap(s, e));
	return 0;
}

void vgpu_sched_remove(struct vgpu_sched *s, struct vgpu_entity *e)
{
	list_del_init(&e->link);
	s->count--;
}

/* ---- time ---- */

static s64 refill(s64 left, u64 dt, u32 rate)
{
	return min(left + (s64)(dt * rate / VGPU_ONE), burst(rate));
}

static void refill_all(struct vgpu_sched *s, u64 now)
{
	u64 dt = now > s->refilled_ns ? now - s->refilled_ns : 0;
	struct vgpu_entity *e;

	/* Below a microsecond rounding would lose tokens. */
	if (dt < NSEC_PER_USEC)
		return;
	s->refilled_ns = now;
	dt = min(dt, (u64)REFILL_MAX_NS);
	list_for_each_entry (e, &s->entities, link) {
		if (e->capped && e->queued)
			e->capped_ns += dt;
		e->min_left = refill(e->min_left, dt, e->share.min);
		e->max_left = refill(e->max_left, dt, vgpu_sched_cap(s, e));
	}
}

static u64 mean(u64 old, u64 sample)
{
	return old ? (old * 7 + sample) / 8 : sample;
}

/* Until when e counts as wanting the device although nothing of it is queued. */
static u64 expected_until(const struct vgpu_entity *e)
{
	if (e->queued || e->running || !e->jobs || e->think_ns > e->job_ns / 2)
		return 0;
	return e->idle_since_ns + min(2 * e->think_ns + 100 * NSEC_PER_USEC, (u64)VGPU_EXPECT_MAX_NS);
}

void vgpu_sched_queue(struct vgpu_sched *s, struct vgpu_entity *e, u64 now)
{
	if (e->queued)
		return;
	if (e->running) {
		e->think_ns = mean(e->think_ns, 0);
	} else {
		u64 think = now > e->idle_since_ns ? now - e->idle_since_ns : 0;

		if (now > expected_until(e))
			e->vtime = max(e->vtime, s->vnow); /* it was away: the present, no credit */
		/* One long pause must not hide that it usually comes at once. */
		if (e->jobs)
			e->think_ns = mean(e->think_ns, min(think, (u64)VGPU_EXPECT_MAX_NS));
	}
	e->queued = true;
	e->queued_since_ns = now;
}

void vgpu_sched_unqueue(struct vgpu_sched *s, struct vgpu_entity *e)
{
	e->queued = false;
}

/* ---- choice ---- */

/* Every cap above it has time left; else *blocked is the one that has not. */
static bool may_run(const struct vgpu_sched *s, const struct vgpu_entity *e, const struct vgpu_entity **blocked)
{
	for (const struct vgpu_entity *p = e; p; p = p->parent)
		if (vgpu_sched_cap(s, p) != VGPU_ONE && p->max_left <= 0) {
			*blocked = p;
			return false;
		}
	return true;
}

static u32 levels_owed(const struct vgpu_entity *e)
{
	u32 n = 0;

	for (; e; e = e->parent)
		n += e->share.min && e->min_left > 0;
	return n;
}

/* Guarantees that are owed come first, then the smallest virtual time. */
static bool before(const struct vgpu_entity *a, const struct vgpu_entity *b)
{
	u32 owed_a = levels_owed(a), owed_b = levels_owed(b);

	if (owed_a != owed_b)
		return owed_a > owed_b;
	return a->vtime < b->vtime;
}

static u64 cap_wait(const struct vgpu_sched *s, const struct vgpu_entity *e, u64 now)
{
	return now + (u64)(1 - e->max_left) * VGPU_ONE / vgpu_sched_cap(s, e) + NSEC_PER_USEC;
}

/* e wants the device: whether its caps let it. After a wait for its cap it gets no credit for the time. */
static bool admit(struct vgpu_sched *s, struct vgpu_entity *e, u64 now, u64 *retry_ns)
{
	const struct vgpu_entity *blocked;

	if (!may_run(s, e, &blocked)) {
		e->capped = true;
		*retry_ns = min(*retry_ns, cap_wait(s, blocked, now));
		return false;
	}
	if (e->capped)
		e->vtime = max(e->vtime, s->vnow);
	e->capped = false;
	return true;
}

static void picked(struct vgpu_entity *e, u64 now)
{
	u64 delay = now > e->queued_since_ns ? now - e->queued_since_ns : 0;

	e->running++;
	e->delay_ns += delay;
	e->delay_max_ns = max(e->delay_max_ns, delay);
}

struct vgpu_entity *vgpu_sched_pick(struct vgpu_sched *s, u64 now, u64 *retry_ns)
{
	struct vgpu_entity *e, *best = NULL;
	u64 wait = NEVER, least = NEVER;

	*retry_ns = NEVER;
	refill_all(s, now);
	list_for_each_entry (e, &s->entities, link) {
		if (!e->queued || !admit(s, e, now, retry_ns))
			continue;
		least = min(least, e->vtime);
		if (!best || before(e, best))
			best = e;
	}
	if (!best)
		return NULL;
	list_for_each_entry (e, &s->entities, link) {
		u64 until = expected_until(e);
		const struct vgpu_entity *blocked;

		if (until <= now || !may_run(s, e, &blocked))
			continue;
		least = min(least, e->vtime);
		if (before(e, best))
			wait = min(wait, until);
	}
	s->vnow = max(s->vnow, least);
	if (wait != NEVER) {
		*retry_ns = min(*retry_ns, wait);
		return NULL;
	}
	picked(best, now);
	return best;
}

/* What it got under its guarantee is paid back whole; what its weight gave it counts as one burst at most, so that the
 * guarantee holds soon after others arrive. */
static void charge_min(struct vgpu_entity *e, u64 busy_ns)
{
	s64 floor = -burst(e->share.min);

	if (e->min_left > 0)
		e->min_left -= busy_ns;
	else
		e->min_left = max(e->min_left - (s64)busy_ns, min(e->min_left, floor));
}

/* Marks who wants the device now, e and all parents included. */
static void note_wanted(struct vgpu_sched *s, struct vgpu_entity *e, u64 now)
{
	struct vgpu_entity *other, *p;

	list_for_each_entry (other, &s->entities, link)
		if (other == e || other->queued || other->running || expected_until(other) > now)
			for (p = other; p; p = p->parent)
				p->wanted_ns = now;
}

/* What busy_ns is in virtual time: with the part of its parents' weights that is e's at this moment. */
static u64 weighted(struct vgpu_sched *s, struct vgpu_entity *e, u64 busy_ns, u64 now)
{
	u64 v = busy_ns * VGPU_WEIGHT_NORMAL;
	struct vgpu_entity *other;

	if (e->parent)
		note_wanted(s, e, now);
	for (; e->parent; e = e->parent) {
		u64 sum = 0;

		list_for_each_entry (other, &s->entities, link)
			if (other->parent == e->parent && other->wanted_ns == now)
				sum += other->share.weight;
		v = v >> 40 ? v / e->share.weight * sum : v * sum / e->share.weight; /* no overflow */
	}
	return v / e->share.weight;
}

void vgpu_sched_charge(struct vgpu_sched *s, struct vgpu_entity *e, u64 busy_ns, u64 now)
{
	refill_all(s, now);
	e->vtime += weighted(s, e, busy_ns, now);
	for (struct vgpu_entity *p = e; p; p = p->parent) {
		charge_min(p, busy_ns);
		p->max_left -= busy_ns;
	}
	e->job_ns = mean(e->job_ns, busy_ns);
	e->busy_ns += busy_ns;
	e->jobs++;
	ensure(e->running);
	e->running--;
	e->idle_since_ns = now;
	if (e->queued)
		e->queued_since_ns = now;
	s->busy_ns += busy_ns;
}
