/* SPDX-License-Identifier: MIT
 *
 * cacheload victim|aggressor CPU KIB: two neighbours on one cache, for the cache model (tools/plugins/cachemodel.c).
 *
 * The victim goes over KIB KiB again and again, a load a line, and works in registers between two loads as programs do
 * that live off their cache; every 8th is followed by a load of a line that it has never seen, so that it misses a
 * little even when alone. After two rounds it has the model forget what it counted, and after six more it has it
 * report.
 *
 * The aggressor loads line after line of KIB KiB until it is killed. After the first time over it writes a line, so
 * that nobody takes a neighbour that is still starting for a quiet one.
 *
 * Both speak to the model by stores into a page at a fixed address (the plug-in's option vtag), whose word says what is
 * meant: 1 and 2 name the requestor of this CPU, 62 forgets, 63 reports. Without the plug-in the page is just memory.
 *
 * Status 1 and a message when the CPU or the memory cannot be had, 2 for wrong arguments.
 */
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define MESSAGES   0x100000000000UL
#define FORGET     62
#define REPORT     63
#define LINE       64
#define COLD_BYTES (8UL << 20)
#define WORK       1000 /* turns of an empty loop between two loads */

static volatile char *messages;

static void tell(unsigned word)
{
	messages[word * LINE] = 1;
}

static volatile char *memory(void *at, size_t bytes)
{
	char *p = mmap(at, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | (at ? MAP_FIXED : 0), -1, 0);

	if (p == MAP_FAILED) {
		perror("mmap");
		exit(1);
	}
	if (!at) /* a store into the page of messages would be one */
		memset(p, 1, bytes);
	return p;
}

static void work(void)
{
	uint64_t n = WORK;

	__asm__ volatile("1: dec %0; jnz 1b" : "+r"(n));
}

static void victim_round(volatile char *hot, size_t lines, volatile char *cold, size_t *seen)
{
	for (size_t i = 0; i < lines; i++) {
		(void)hot[i * LINE];
		work();
		if (i % 8 == 0)
			(void)cold[(*seen)++ * LINE % COLD_BYTES];
	}
}

static void victim(size_t bytes)
{
	volatile char *hot = memory(NULL, bytes), *cold = memory(NULL, COLD_BYTES);
	size_t seen = 0;

	tell(1);
	for (int round = 0; round < 8; round++) {
		if (round == 2)
			tell(FORGET);
		victim_round(hot, bytes / LINE, cold, &seen);
	}
	tell(REPORT);
}

static void aggressor(size_t bytes)
{
	volatile char *p = memory(NULL, bytes);

	tell(2);
	for (uint64_t pass = 0;; pass++) {
		for (size_t i = 0; i < bytes; i += LINE)
			(void)p[i];
		if (!pass) {
			puts("going");
			fflush(stdout);
		}
	}
}

int main(int argc, char **argv)
{
	cpu_set_t cpus;
	size_t bytes;

	if (argc != 4 || !atol(argv[3])) {
		fprintf(stderr, "usage: cacheload victim|aggressor CPU KIB\n");
		return 2;
	}
	CPU_ZERO(&cpus);
	CPU_SET(atoi(argv[2]), &cpus);
	if (sched_setaffinity(0, sizeof(cpus), &cpus)) {
		perror("CPU");
		return 1;
	}
	messages = memory((void *)MESSAGES, 4096);
	bytes = (size_t)atol(argv[3]) << 10;
	if (!strcmp(argv[1], "victim"))
		victim(bytes);
	else
		aggressor(bytes);
	return 0;
}
