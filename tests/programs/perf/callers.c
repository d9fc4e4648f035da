/* SPDX-License-Identifier: MIT
 *
 * Problem: a report of call chains needs functions that are called from several places, recursion, and a way into the
 * kernel.
 *
 * Idea: a leaf behind two callers and behind a recursion, and system calls. Built with frame pointers in leaves, too.
 *
 * Contract: argument: rounds. Exit status 0. For tests/tools/report-same.
 *
 * Locks: none.
 */
#include <stdlib.h>
#include <unistd.h>

#define APART __attribute__((noinline))

static volatile long v;

static APART void leaf(long n)
{
	for (long i = 0; i < n; i++)
		v += i;
}

static APART void often(long n)
{
	leaf(n);
	v++;
}

static APART void seldom(long n)
{
	leaf(n / 2);
	for (long i = 0; i < n / 8; i++)
		v += i;
}

static APART void again(int depth, long n)
{
	if (depth)
		again(depth - 1, n);
	else
		leaf(n);
	v++;
}

static APART void ask(void)
{
	for (int i = 0; i < 10000; i++)
		getppid();
	v++;
}

int main(int argc, char **argv)
{
	long rounds = argc > 1 ? atol(argv[1]) : 100;

	for (long i = 0; i < rounds; i++) {
		often(2000000);
		seldom(1500000);
		again(3, 700000);
		ask();
	}
	return 0;
}
