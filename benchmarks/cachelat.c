/* SPDX-License-Identifier: MIT
 *
 * cachelat victim CPU MAX_KIB | aggressor CPU KIB: two neighbours on one cache of a real machine, timed.
 *
 * The victim chases pointers through working sets from 256 KiB to MAX_KIB, each four thirds or so of the one before;
 * the order is random and every load depends on the last, so that what it takes is the latency of where the set lives.
 * It prints "KIB NANOSECONDS" for each: the median of nine passes. The aggressor goes over KIB KiB line by line until
 * it gets SIGTERM, then prints the nanoseconds that a line took it.
 *
 * Status 1 and a message when the CPU or the memory cannot be had, 2 for wrong arguments.
 */
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define LINE   64
#define PASSES 9
#define LOADS  200000

static volatile sig_atomic_t ended;

static void end(int sig)
{
	ended = 1;
}

static double now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static char *memory(size_t bytes)
{
	char *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED) {
		perror("memory");
		exit(1);
	}
	(void)madvise(p, bytes, MADV_HUGEPAGE); /* else the walks of page tables are measured, too */
	memset(p, 1, bytes);
	return p;
}

/* One cycle through all lines in random order (Sattolo's shuffle). */
static void tie(char *p, size_t lines)
{
	size_t *order = (size_t *)memory(lines * sizeof(*order));
	uint64_t seed = 88172645463325252ULL;

	for (size_t i = 0; i < lines; i++)
		order[i] = i;
	for (size_t i = lines - 1; i > 0; i--) {
		size_t j, t = order[i];

		seed ^= seed << 13;
		seed ^= seed >> 7;
		seed ^= seed << 17;
		j = seed % i;
		order[i] = order[j];
		order[j] = t;
	}
	for (size_t i = 0; i < lines; i++)
		*(void **)(p + order[i] * LINE) = p + order[(i + 1) % lines] * LINE;
	munmap(order, lines * sizeof(*order));
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static double latency(char *p, size_t lines)
{
	double took[PASSES];
	size_t loads = lines > LOADS ? lines : LOADS;
	void *volatile *at = (void *volatile *)p;

	for (size_t i = 0; i < lines; i++) /* warm */
		at = (void *volatile *)*at;
	for (int pass = 0; pass < PASSES; pass++) {
		double start = now_ns();

		for (size_t i = 0; i < loads; i++)
			at = (void *volatile *)*at;
		took[pass] = (now_ns() - start) / (double)loads;
	}
	qsort(took, PASSES, sizeof(*took), by_value);
	return took[PASSES / 2];
}

static void victim(size_t most)
{
	for (size_t kib = 256; kib <= most; kib += kib / 2 < 256 ? 128 : kib / 2) {
		char *p = memory(kib << 10);

		tie(p, (kib << 10) / LINE);
		printf("%zu %.2f\n", kib, latency(p, (kib << 10) / LINE));
		fflush(stdout);
		munmap(p, kib << 10);
	}
}

static void aggressor(size_t bytes)
{
	volatile char *p = memory(bytes);
	double start = now_ns();
	uint64_t lines = 0;

	while (!ended) {
		for (size_t i = 0; i < bytes && !ended; i += LINE)
			p[i]++;
		lines += bytes / LINE;
	}
	printf("%.2f\n", (now_ns() - start) / (double)(lines ? lines : 1));
}

int main(int argc, char **argv)
{
	cpu_set_t cpus;

	if (argc != 4 || !atol(argv[3])) {
		fprintf(stderr, "usage: cachelat victim|aggressor CPU KIB\n");
		return 2;
	}
	CPU_ZERO(&cpus);
	CPU_SET(atoi(argv[2]), &cpus);
	if (sched_setaffinity(0, sizeof(cpus), &cpus)) {
		perror("CPU");
		return 1;
	}
	signal(SIGTERM, end);
	if (!strcmp(argv[1], "victim"))
		victim((size_t)atol(argv[3]));
	else
		aggressor((size_t)atol(argv[3]) << 10);
	return 0;
}
