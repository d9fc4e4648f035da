/* SPDX-License-Identifier: MIT
 *
 * Problem: A spin lock next to the data of another thread.
 *
 * Idea: two threads on two CPUs (common.h) do only this, so that what must be found is known.
 *
 * Contract: argument: rounds. Exit status 0. tests/tools/c2c-bar reads the next line.
 * expect: line state, fields .lock .private_sum
 *
 * Locks: none.
 */
#include "common.h"

struct state {
	int lock;
	int guarded;
	volatile long private_sum;
};
struct state state __attribute__((aligned(64)));
static long n;

static void *locker(void *p)
{
	pin(0);
	for (long i = 0; i < n / 2; i++) {
		while (__atomic_exchange_n(&state.lock, 1, __ATOMIC_ACQUIRE))
			;
		__atomic_store_n(&state.lock, 0, __ATOMIC_RELEASE);
	}
	return p;
}

static void *summer(void *p)
{
	pin(1);
	for (long i = 0; i < n; i++)
		state.private_sum += i;
	return p;
}

int main(int argc, char **argv)
{
	n = rounds(argc, argv);
	run_two(locker, NULL, summer, NULL);
	return 0;
}
