/* SPDX-License-Identifier: MIT
 *
 * Problem: True sharing: one reference count, incremented and decremented atomically by both.
 *
 * Idea: two threads on two CPUs (common.h) do only this, so that what must be found is known.
 *
 * Contract: argument: rounds. Exit status 0. tests/tools/c2c-bar reads the next line.
 * expect: line shared, field .refs
 *
 * Locks: none.
 */
#include "common.h"

struct object {
	long id;
	int refs;
	char name[48];
};
struct object shared __attribute__((aligned(64)));
static long n;

static void *use(void *p)
{
	pin((long)p);
	for (long i = 0; i < n / 4; i++) {
		__atomic_fetch_add(&shared.refs, 1, __ATOMIC_SEQ_CST);
		__atomic_fetch_sub(&shared.refs, 1, __ATOMIC_SEQ_CST);
	}
	return p;
}

int main(int argc, char **argv)
{
	n = rounds(argc, argv);
	run_two(use, (void *)0, use, (void *)1);
	return 0;
}
