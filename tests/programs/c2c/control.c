/* SPDX-License-Identifier: MIT
 *
 * Control: each thread has a line of its own, and both only read a third. expect: none
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
