/* SPDX-License-Identifier: MIT
 *
 * Problem: A queue whose head and tail share a line: producer writes tail and reads head,
 * consumer the other way.
 *
 * Idea: two threads on two CPUs (common.h) do only this, so that what must be found is known.
 *
 * Contract: argument: rounds. Exit status 0. tests/tools/c2c-bar reads the next line.
 * expect: line queue, fields .head .tail
 *
 * Locks: none.
 */
#include "common.h"

struct queue {
	volatile unsigned long head;
	volatile unsigned long tail;
	char pad[48];
	volatile long slots[1024];
};
struct queue queue __attribute__((aligned(64)));
static long n;

static void *produce(void *p)
{
	pin(0);
	for (long i = 0; i < n / 4; i++) {
		while (queue.tail - queue.head == 1024)
			;
		queue.slots[queue.tail % 1024] = i;
		queue.tail++;
	}
	return p;
}

static void *consume(void *p)
{
	long sum = 0;

	pin(1);
	for (long i = 0; i < n / 4; i++) {
		while (queue.tail == queue.head)
			;
		sum += queue.slots[queue.head % 1024];
		queue.head++;
	}
	return (void *)sum;
}

int main(int argc, char **argv)
{
	n = rounds(argc, argv);
	run_two(produce, NULL, consume, NULL);
	return 0;
}
