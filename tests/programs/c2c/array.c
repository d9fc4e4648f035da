/* SPDX-License-Identifier: MIT
 *
 * Problem: Per-thread statistics in an array of longs, four threads.
 *
 * Idea: two threads on two CPUs (common.h) do only this, so that what must be found is known.
 *
 * Contract: argument: rounds. Exit status 0. tests/tools/c2c-bar reads the next line.
 * expect: line stats, fields [0] [1] [2] [3]
 *
 * Locks: none.
 */
#include "common.h"

volatile long stats[8] __attribute__((aligned(64)));
static long n;

static void *count(void *p)
{
	long me = (long)p;

	pin(me % 2);
	for (long i = 0; i < n / 2; i++)
		stats[me]++;
	return p;
}

int main(int argc, char **argv)
{
	pthread_t t[4];

	n = rounds(argc, argv);
	for (long i = 0; i < 4; i++)
		pthread_create(&t[i], NULL, count, (void *)i);
	for (long i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	return 0;
}
