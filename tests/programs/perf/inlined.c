/* SPDX-License-Identifier: MIT
 *
 * Problem: a function that is inlined into one that is inlined itself, for `ostrom report --inline`.
 *
 * Idea: nearly all time is spent in inner, by way of middle, in the frame of outer.
 *
 * Contract: argument: rounds. Exit status 0. Locks: none.
 */
#include <stdlib.h>

#define ALWAYS static inline __attribute__((always_inline))

static volatile long v;

ALWAYS void inner(long n)
{
	for (long i = 0; i < n; i++)
		v += i;
}

ALWAYS void middle(long n)
{
	v ^= n;
	inner(n);
}

__attribute__((noinline)) static void outer(long n)
{
	middle(n);
	v++;
}

int main(int argc, char **argv)
{
	for (long i = argc > 1 ? atol(argv[1]) : 100; i > 0; i--)
		outer(1000000);
	return 0;
}
