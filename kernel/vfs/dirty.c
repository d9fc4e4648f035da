/* SPDX-License-Identifier: MIT
 *
 * Problem: a writer that runs into a hard limit stops for seconds; many of them stop together; and a limit in per cent
 * of memory is minutes of work for a slow disk.
 *
 * Idea: each writer is slowed a little and early. Its rate = base rate of the device * position. Position falls from 2
 * to 0 as the dirty pages rise from half-way between the two limits (free run below) to the limit, steep at the ends
 * and flat around the middle, so that the level settles there:
 *
 *      position   2 |\                       1 + ((set point - dirty) / (limit - set point))^3
 *                 1 |  ``--...__.
 *                 0 |____________``\___      freerun   set point   limit
 *
 * The base rate follows what keeps the level: it is corrected by the ratio of cleaning to dirtying, five times a
 * second. The limit is the machine's, or the device's own budget in milliseconds of its measured bandwidth if that is
 * less.
 *
 * Contract: vfs/dirty.h. Follows the law described in Linux's Documentation and mm/page-writeback.c comments
 * (cubic position, setpoint, 200 ms cap); the budget by bandwidth is ours. Fixed point, 10 bits.
 *
 * Locks: the device's.
 */
#include <vfs/dirty.h>

#define ONE         1024
#define MAX_PAUSE   ((u64)(200 * NSEC_PER_MSEC))
#define MIN_PAUSE   ((u64)(10 * NSEC_PER_MSEC))
#define UPDATE_NS   (200 * NSEC_PER_MSEC)
#define AVERAGE_NS  (3 * NSEC_PER_SEC)
#define START_RATE  (100 * 1024 * 1024 / PAGE_SIZE) /* 100 MiB/s until measured */
#define FIRST_CHECK 32
#define MIN_BUDGET  (4 * 1024 * 1024 / PAGE_SIZE)

struct dirty_limits dirty_limits(const struct dirty_controls *c, u64 dirtyable_pages)
{
	struct dirty_limits l;

	l.limit_pages = c->bytes ? DIV_ROUND_UP(c->bytes, PAGE_SIZE) : dirtyable_pages * c->ratio / 100;
	l.background_pages = c->background_bytes ? DIV_ROUND_UP(c->background_bytes, PAGE_SIZE)
						 : dirtyable_pages * c->background_ratio / 100;
	l.limit_pages = max(l.limit_pages, (u64)2);
	if (l.background_pages >= l.limit_pages)
		l.background_pages = l.limit_pages / 2;
	return l;
}

void dirty_device_init(struct dirty_device *d, u64 now_ns)
{
	*d = (struct dirty_device){ .write_bps_pages = START_RATE,
				    .task_rate_pages = START_RATE,
				    .updated_ns = now_ns };
}

void dirty_account_dirtied(struct dirty_device *d, u64 pages)
{
	d->dirtied_pages += pages;
}

void dirty_account_written(struct dirty_device *d, u64 pages)
{
	d->written_pages += pages;
}

/* 0..2 in fixed point. */
static u64 position(u64 dirty, u64 freerun, u64 limit)
{
	s64 setpoint = (freerun + limit) / 2, x, cube;

	if (dirty >= limit)
		return 0;
	x = ((setpoint - (s64)dirty) * ONE) / max((s64)limit - setpoint, (s64)1);
	x = clamp(x, (s64)-ONE, (s64)ONE);
	cube = x * x / ONE * x / ONE;
	return clamp(ONE + cube, (s64)0, (s64)2 * ONE);
}

static u64 freerun_of(const struct dirty_limits *l)
{
	return (l->background_pages + l->limit_pages) / 2;
}

/* The device's own limits, from its bandwidth; the machine's where it has no budget. */
static struct dirty_limits device_limits(const struct dirty_device *d, const struct dirty_limits *l)
{
	u64 limit;

	if (!d->budget_ms)
		return *l;
	limit = clamp(d->write_bps_pages * d->budget_ms / 1000, MIN_BUDGET, l->limit_pages);
	return (struct dirty_limits){ .background_pages = limit / 2, .limit_pages = limit };
}

static u64 approach(u64 now, u64 want, u64 part, u64 whole)
{
	if (part >= whole)
		return want;
	return (now * (whole - part) + want * part) / whole;
}

/* Five times a second: bandwidth from what was written while there was work, and the base rate from the balance. */
static void update(struct dirty_device *d, u64 pos, u64 now_ns)
{
	u64 span = now_ns - d->updated_ns, written, dirtied, balanced;

	if (span < UPDATE_NS)
		return;
	written = d->written_pages * NSEC_PER_SEC / span;
	dirtied = d->dirtied_pages * NSEC_PER_SEC / span;
	d->updated_ns = now_ns;
	d->written_pages = d->dirtied_pages = 0;
	if (!written)
		return;
	d->write_bps_pages = max(approach(d->write_bps_pages, written, span, AVERAGE_NS), (u64)1);
	/* N writers at rate*pos dirtied this much; they would have dirtied what was cleaned at
	 * rate*pos*written/dirtied. */
	balanced = d->task_rate_pages * max(pos, (u64)ONE / 16) / ONE * d->write_bps_pages / max(dirtied, (u64)1);
	balanced = clamp(balanced, d->task_rate_pages / 4 + 1, d->task_rate_pages * 4 + 1);
	d->task_rate_pages = clamp((d->task_rate_pages * 3 + balanced) / 4, (u64)1, d->write_bps_pages * 2 + 1);
}

static u64 isqrt(u64 v)
{
	u64 r = 0, bit = 1ull << 30;

	for (; bit; bit >>= 1)
		if ((r + bit) * (r + bit) <= v)
			r += bit;
	return r;
}

struct dirty_verdict dirty_balance(struct dirty_device *d, const struct dirty_limits *l, const struct dirty_state *s,
				   u64 pages, u64 now_ns)
{
	struct dirty_limits own = device_limits(d, l);
	u64 dev_freerun = freerun_of(&own), freerun = freerun_of(l), rate, pos, band, longest;
	struct dirty_verdict v = { .next_pages = FIRST_CHECK };

	v.start_flusher = s->dirty_pages > l->background_pages || s->device_dirty_pages > own.background_pages;
	if (s->dirty_pages <= freerun && (!d->budget_ms || s->device_dirty_pages <= dev_freerun)) {
		u64 room = freerun - s->dirty_pages;

		if (d->budget_ms)
			room = min(room, dev_freerun - s->device_dirty_pages);
		update(d, ONE, now_ns);
		v.next_pages = max((u64)FIRST_CHECK, isqrt(room));
		return v;
	}
	pos = position(s->dirty_pages, freerun, l->limit_pages);
	if (d->budget_ms)
		pos = min(pos, position(s->device_dirty_pages, dev_freerun, own.limit_pages));
	update(d, pos, now_ns);
	rate = d->task_rate_pages * pos / ONE;
	/* Nobody sleeps so long that the device could run dry, and nobody dirties a large part of the room at once. */
	band = max(min(l->limit_pages - freerun, own.limit_pages - dev_freerun), (u64)1);
	longest = clamp(band * NSEC_PER_SEC / d->write_bps_pages / 2, MIN_PAUSE, MAX_PAUSE);
	v.pause_ns = rate ? min(pages * NSEC_PER_SEC / rate, longest) : longest;
	/* Short sleeps cost more than they are worth: dirty more before the next. */
	v.next_pages = clamp(rate * MIN_PAUSE / NSEC_PER_SEC, (u64)1, max(band / 32, (u64)1));
	return v;
}

u64 dirty_chunk_pages(const struct dirty_device *d)
{
	return max(d->write_bps_pages / 2, (u64)MIN_BUDGET);
}
