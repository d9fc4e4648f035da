/* SPDX-License-Identifier: MIT
 *
 * Problem: some events are counted by any counter, some by one alone; who comes first must not take the only place of
 * who comes second.
 *
 * Idea: a matching. An event that finds no free counter of its own may take one whose event has another to go to, and
 * so on: a breadth-first search for such a chain, whose events then all move by one. No chain: no matching has room
 * for it (Berge), so that what is refused could not have been fitted by anybody.
 *
 *   new event --may use--> counter 1 (taken by A) --A may use--> counter 3 (free)      =>  A to 3, new to 1
 *
 * Fixed counters are tried first, to leave the general ones to events that need them.
 *
 * Contract: perf/pmu_fit.h.
 *
 * Locks: none.
 */
#include <lib/string.h>
#include <perf/pmu_fit.h>

#define NEW PMU_NONE /* as an origin: the new event */

struct search {
	u8 from[PMU_COUNTERS_MOST];  /* whose event (by its counter) would come here */
	u8 queue[PMU_COUNTERS_MOST]; /* taken counters whose events look for another */
	unsigned head, tail;
	u64 seen;
};

/* The event of `origin` looks at its counters. A free one, or PMU_NONE after queueing the taken ones. */
static u8 look(const struct pmu_fit *f, struct search *s, u8 origin, u64 allowed)
{
	for (u64 left = allowed & ~s->seen; left;) {
		u8 c = (u8)(63 - __builtin_clzll(left));

		left &= ~(1ULL << c);
		s->seen |= 1ULL << c;
		s->from[c] = origin;
		if (!f->allowed[c])
			return c;
		s->queue[s->tail++] = c;
	}
	return PMU_NONE;
}

static u8 find_free(const struct pmu_fit *f, struct search *s, u64 allowed)
{
	u8 c = look(f, s, NEW, allowed);

	while (c == PMU_NONE && s->head < s->tail) {
		u8 at = s->queue[s->head++];

		c = look(f, s, at, f->allowed[at]);
	}
	return c;
}

/* origin[c]: where the event on c was at the beginning, or 0x80 + its number among the new ones. */
#define NEWCOMER 0x80

static bool add_one(struct pmu_fit *f, u64 allowed, u8 number, u8 *origin)
{
	struct search s = { .seen = 0 };
	u8 c = find_free(f, &s, allowed);

	if (c == PMU_NONE)
		return false;
	for (; s.from[c] != NEW; c = s.from[c]) {
		f->allowed[c] = f->allowed[s.from[c]];
		origin[c] = origin[s.from[c]];
	}
	f->allowed[c] = allowed;
	origin[c] = NEWCOMER + number;
	return true;
}

bool pmu_fit_add(struct pmu_fit *f, const u64 *allowed, unsigned n, u8 *counter, u8 moved[PMU_COUNTERS_MOST])
{
	const u64 all = (1ULL << PMU_COUNTERS_MOST) - 1;
	struct pmu_fit next = *f;
	u8 origin[PMU_COUNTERS_MOST];

	for (unsigned c = 0; c < PMU_COUNTERS_MOST; c++)
		origin[c] = (u8)c;
	if (n > PMU_COUNTERS_MOST)
		return false;
	for (unsigned i = 0; i < n; i++)
		if (!add_one(&next, allowed[i] & all, (u8)i, origin))
			return false;
	for (unsigned c = 0; c < PMU_COUNTERS_MOST; c++) {
		bool is_new = next.allowed[c] && origin[c] >= NEWCOMER;

		if (is_new)
			counter[origin[c] - NEWCOMER] = (u8)c;
		moved[c] = next.allowed[c] && !is_new ? origin[c] : PMU_NONE;
	}
	*f = next;
	return true;
}

void pmu_fit_remove(struct pmu_fit *f, unsigned counter)
{
	f->allowed[counter] = 0;
}
