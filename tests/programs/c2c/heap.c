/* SPDX-License-Identifier: MIT
 *
 * Problem: A heap object with a field for each thread.
 *
 * Idea: two threads on two CPUs (common.h) do only this, so that what must be found is known.
 *
 * Contract: argument: rounds. Exit status 0. tests/tools/c2c-bar reads the next line.
 * expect: line *job, fields .done .failed
 *
 * Locks: none.
 */
#include "common.h"

struct job {
	char name[16];
	volatile long done;
	volatile long failed;
};
static long n;

static void *work(void *p)
{
	struct job *job = p;

	pin(0);
	for (long i = 0; i < n; i++)
		job->done++;
	return p;
}

static void *check(void *p)
{
	struct job *job = p;

	pin(1);
	for (long i = 0; i < n; i++)
		job->failed += i & 1;
	return p;
}

int main(int argc, char **argv)
{
	struct job *job = aligned_alloc(64, 64);

	n = rounds(argc, argv);
	memset(job, 0, 64);
	run_two(work, job, check, job);
	free(job);
	return 0;
}
