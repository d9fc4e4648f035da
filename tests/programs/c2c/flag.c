/* SPDX-License-Identifier: MIT
 *
 * Problem: A flag that is only read, beside a counter that is written all the time.
 *
 * Idea: two threads on two CPUs (common.h) do only this, so that what must be found is known.
 *
 * Contract: argument: rounds. Exit status 0. tests/tools/c2c-bar reads the next line.
 * expect: line config, fields .enabled .hits
 *
 * Locks: none.
 */
#include "common.h"

struct config {
	volatile int enabled;
	int limit;
	volatile long hits;
};
struct config config __attribute__((aligned(64))) = { 1, 10, 0 };
static long n;

static void *reader(void *p)
{
	long seen = 0;

	pin(0);
	for (long i = 0; i < n * 2; i++)
		if (config.enabled)
			seen++;
	return (void *)seen;
}

static void *writer(void *p)
{
	pin(1);
	for (long i = 0; i < n; i++)
		config.hits++;
	return p;
}

int main(int argc, char **argv)
{
	n = rounds(argc, argv);
	run_two(reader, NULL, writer, NULL);
	return 0;
}
