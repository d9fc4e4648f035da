/* SPDX-License-Identifier: MIT
 *
 * A heap object with a field for each thread. expect: line *job, fields .done .failed
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
