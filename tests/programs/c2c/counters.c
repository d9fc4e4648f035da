/* SPDX-License-Identifier: MIT
 *
 * False sharing: two counters in one line, each incremented by its own thread. expect: line counters, fields .a .b
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
