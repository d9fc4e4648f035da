/* SPDX-License-Identifier: MIT
 *
 * Problem: Control: each thread has a line of its own, and both only read a third.
 *
 * Idea: two threads on two CPUs (common.h) do only this, so that what must be found is known.
 *
 * Contract: argument: rounds. Exit status 0. tests/tools/c2c-bar reads the next line.
 * expect: none
 *
 * Locks: none.
 */
#include "common.h"

struct counter {
	volatile long v;
	char pad[120];
};
struct counter own[2] __attribute__((aligned(128)));
const volatile long limit __attribute__((aligned(64))) = 7;
static long n;

static void *count(void *p)
{
	long me = (long)p;

	pin(me);
	for (long i = 0; i < n; i++)
		own[me].v += limit;
	return p;
}

int main(int argc, char **argv)
{
	n = rounds(argc, argv);
	run_two(count, (void *)0, count, (void *)1);
	return 0;
}
