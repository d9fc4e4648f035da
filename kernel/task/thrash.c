/* SPDX-License-Identifier: MIT
 *
 * Problem: when programs have filled memory, reclaim still finds something to take: the pages of programs' text, which
 * those programs read back at once. Each round frees pages and nobody gets anywhere. Then somebody must be killed,
 * although nothing ever failed; but never where a large cache turns over, however fast.
 *
 * Idea: what counts is pages taken less pages that came back. A period is bad if three of four pages that were taken
 * in it came back (vfs/refault.c), while all of the cache was taken four times, and the cache is a small part of
 * memory.
 *
 *      taken 1024   came back < 3/4   ->  good: a new period
 *                   else: goes on until four times the cache is taken  ->  bad
 *      ten seconds  ->  good: what comes back seldom hurts nobody
 *
 * After a bad period reclaim takes private pages first (swap); after a second one it is in vain, and all begins anew. A
 * cache above 1/32 of the limit is never too small: what turns over there is a large file that is read again and again,
 * and programs are slow, but go on. Below 1 MiB it always may be.
 *
 * Contract: task/thrash.h. Pure.
 *
 * Locks: the caller's.
 */
#include <core/clock.h>
#include <task/thrash.h>

#define PERIOD_PAGES 1024
#define PERIOD_NS    (10 * NSEC_PER_SEC)
#define TURNS        4
#define SMALL_PART   32
#define SMALL_PAGES  256UL

static void begin(struct thrash *t, const struct thrash_sample *s, bool private_first)
{
	*t = (struct thrash){
		.since_ns = s->now_ns, .stolen = s->stolen, .back = s->back, .private_first = private_first
	};
}

bool thrash_suspects(struct thrash *t, const struct thrash_sample *s)
{
	u64 stolen = s->stolen - t->stolen, back = s->back - t->back;

	if (s->now_ns - t->since_ns > PERIOD_NS) {
		begin(t, s, false);
		return false;
	}
	if (stolen < PERIOD_PAGES)
		return false;
	if (back < stolen / 4 * 3) {
		begin(t, s, false);
		return false;
	}
	return true;
}

bool thrash_is_vain(struct thrash *t, const struct thrash_sample *s)
{
	bool vain = false;

	if (s->cache > max(s->limit / SMALL_PART, SMALL_PAGES)) {
		begin(t, s, false);
	} else if (s->stolen - t->stolen >= TURNS * s->cache) {
		vain = t->private_first;
		begin(t, s, !vain);
	}
	return vain;
}
