/* SPDX-License-Identifier: MIT
 *
 * Problem: Five lines, each fought over half as often as the one before: their order is what a report must get right.
 *
 * Idea: two threads on two CPUs (common.h) do only this, so that what must be found is known.
 *
 * Contract: argument: rounds. Exit status 0. For tests/tools/c2c-truth.
 *
 * Locks: none.
 */
#include "../c2c/common.h"

struct line {
	volatile long v;
	char pad[56];
};
struct line lines[5] __attribute__((aligned(64)));
static long n;

static void *count(void *p)
{
	pin((long)p);
	for (long i = 0; i < n / 2; i++) {
		lines[0].v++;
		if (!(i & 1))
			lines[1].v++;
		if (!(i & 3))
			lines[2].v++;
		if (!(i & 7))
			lines[3].v++;
		if (!(i & 15))
			lines[4].v++;
	}
	return p;
}

int main(int argc, char **argv)
{
	n = rounds(argc, argv);
	run_two(count, (void *)0, count, (void *)1);
	return 0;
}
