/* SPDX-License-Identifier: MIT
 *
 * Problem: a pass over whole disks must not take them away from the people who use the array, and must not take a week
 * either.
 *
 * Idea: two speeds, in KiB/s of each member: a pass may always have the lower one; beyond it, it goes on only while
 * nobody uses the array, up to the higher one. Speed is measured over the last one to two seconds. The engine begins
 * no window of the pass while it is held.
 *
 *      sync_speed_min, sync_speed_max          of an array; "system": the two files below
 *      /proc/sys/dev/raid/speed_limit_min, _max
 *
 * Contract: md_glue.h; names as in Documentation/admin-guide/md.rst.
 *
 * Locks: engine_lock.
 */
#include <core/clock.h>
#include <core/init.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/string.h>
#include "md_glue.h"

#define MARK_NS NSEC_PER_SEC
#define BUSY_NS (100 * NSEC_PER_MSEC) /* so long after a request the array counts as used */

static u32 system_min = 1000, system_max = 200000;

u32 md_speed_limit(const struct md_array *a, bool most)
{
	u32 own = most ? a->speed_max : a->speed_min;

	return own ? own : READ_ONCE(*(most ? &system_max : &system_min));
}

static u64 kib_done(const struct md_pace *p, const struct md_status *st)
{
	return (st->sync_done - p->done[0]) / 2;
}

u64 md_speed(const struct md_array *a, const struct md_status *st)
{
	u64 ms = (clock_ns() - a->pace.ns[0]) / NSEC_PER_MSEC + 1;

	return st->sync == MD_SYNC_NONE ? 0 : kib_done(&a->pace, st) * 1000 / ms;
}

void md_pace_start(struct md_array *a, const struct md_status *st, u64 now)
{
	a->pace = (struct md_pace){ .ns = { now, now }, .done = { st->sync_done, st->sync_done } };
}

/* Lets the pass go on or holds it; returns when to ask again. */
u64 md_pace(struct md_array *a, const struct md_status *st, u64 now)
{
	struct md_pace *p = &a->pace;
	u64 idle_at = a->last_io_ns + BUSY_NS, next;
	u32 limit;

	if (st->sync == MD_SYNC_NONE)
		return ~0ULL;
	if (now - p->ns[1] > MARK_NS) {
		p->ns[0] = p->ns[1];
		p->done[0] = p->done[1];
		p->ns[1] = now;
		p->done[1] = st->sync_done;
	}
	limit = md_speed_limit(a, now >= idle_at);
	next = p->ns[0] + kib_done(p, st) * NSEC_PER_SEC / limit;
	md_hold_sync(a->e, now < next);
	if (now >= next)
		return ~0ULL;
	return now < idle_at ? min(next, idle_at) : next;
}

static int show_limit(struct attr_dir *dir, const struct attr *attr, struct strbuf *out)
{
	strbuf_add(out, "%u\n", attr->data ? system_max : system_min);
	return 0;
}

static int set_limit(struct attr_dir *dir, const struct attr *attr, char *text, size_t len)
{
	u64 n;

	if (len && text[len - 1] == '\n')
		text[len - 1] = '\0';
	if (str_to_u64(text, 10, &n) || !n || n > INT32_MAX)
		return fail(EINVAL, "a speed is KiB per second");
	WRITE_ONCE(*(attr->data ? &system_max : &system_min), (u32)n);
	return 0;
}

static const struct attr *const limits[] = {
	&(const struct attr){ .name = "speed_limit_min", .mode = 0644, .show = show_limit, .set = set_limit },
	&(const struct attr){
		.name = "speed_limit_max", .mode = 0644, .show = show_limit, .set = set_limit, .data = 1 },
	NULL,
};

static void pace_init(void)
{
	ensure(!attr_sysctl_add("dev/raid", limits));
}
PART_INIT(driver, pace_init);
