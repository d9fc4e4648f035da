/* SPDX-License-Identifier: MIT
 *
 * Per-thread statistics in an array of longs, four threads. expect: line stats, fields [0] [1] [2] [3]
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
