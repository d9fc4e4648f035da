/* SPDX-License-Identifier: MIT
 *
 * Problem: Linear regression as in Phoenix: an array of accumulators on the heap, 40 bytes a
 * thread, so that neighbours share a line.
 *
 * Idea: two threads on two CPUs (common.h) do only this, so that what must be found is known.
 *
 * Contract: argument: rounds. Exit status 0. tests/tools/c2c-bar reads the next line.
 * expect: line *args, fields .sx
 *
 * Locks: none.
 */
#include "common.h"

struct args {
	long n;
	volatile long sx, sy, sxx, sxy;
};
static long n;

static void *regress(void *p)
{
	struct args *args = p;

	pin(args->n);
	for (long i = 0; i < n / 2; i++) {
		args->sx += i;
		args->sxx += i * i;
		args->sy += i ^ 5;
		args->sxy += i * (i ^ 5);
	}
	return p;
}

int main(int argc, char **argv)
{
	struct args *all = aligned_alloc(64, 128);

	n = rounds(argc, argv);
	memset(all, 0, 128);
	all[0].n = 0;
	all[1].n = 1;
	run_two(regress, &all[0], regress, &all[1]);
	free(all);
	return 0;
}
