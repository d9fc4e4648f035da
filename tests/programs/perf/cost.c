/* SPDX-License-Identifier: MIT
 *
 * Problem: what do events cost? On a machine whose clock counts instructions (-icount), time is the answer.
 *
 * Idea: `switch`: two processes hand a byte back and forth, so that each round trip is two switches; `loop`: a loop
 * that touches memory and is never left.
 *
 * Contract: arguments: what, rounds. Prints nanoseconds (instructions under -icount) a switch, or of the whole loop.
 *
 * Locks: none.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static long now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000 + t.tv_nsec;
}

static int pass(int from, int to)
{
	char c;

	return read(from, &c, 1) != 1 || write(to, &c, 1) != 1;
}

static long switches(long rounds)
{
	int there[2], back[2];
	long start;
	char c = 0;

	if (pipe(there) || pipe(back))
		return -1;
	if (!fork()) {
		for (long i = 0; i < rounds + 10; i++)
			if (pass(there[0], back[1]))
				_exit(1);
		_exit(0);
	}
	for (long i = 0; i < 10; i++)
		if (write(there[1], &c, 1) != 1 || read(back[0], &c, 1) != 1)
			return -1;
	start = now();
	for (long i = 0; i < rounds; i++)
		if (write(there[1], &c, 1) != 1 || read(back[0], &c, 1) != 1)
			return -1;
	start = now() - start;
	wait(NULL);
	return start / (2 * rounds);
}

static long loop(long rounds)
{
	static volatile long v[1024];
	long start = now();

	for (long i = 0; i < rounds; i++)
		v[i % 1024] += i;
	return now() - start;
}

int main(int argc, char **argv)
{
	long rounds = argc > 2 ? atol(argv[2]) : 1000;

	printf("%ld\n", argc > 1 && !strcmp(argv[1], "switch") ? switches(rounds) : loop(rounds));
	return 0;
}
