/* SPDX-License-Identifier: MIT
 *
 * Problem: False sharing: two counters in one line, each incremented by its own thread.
 *
 * Idea: two threads on two CPUs (common.h) do only this, so that what must be found is known.
 *
 * Contract: argument: rounds. Exit status 0. tests/tools/c2c-bar reads the next line.
 * expect: line counters, fields .a .b
 *
 * Locks: none.
 */
#include "common.h"

struct counters {
	volatile long a;
	volatile long b;
};
struct counters counters __attribute__((aligned(64)));
static long n;

static void *count_a(void *p)
{
	pin(0);
	for (long i = 0; i < n; i++)
		counters.a++;
	return p;
}

static void *count_b(void *p)
{
	pin(1);
	for (long i = 0; i < n; i++)
		counters.b++;
	return p;
}

int main(int argc, char **argv)
{
	n = rounds(argc, argv);
	run_two(count_a, NULL, count_b, NULL);
	return 0;
}
