/* SPDX-License-Identifier: MIT
 *
 * Problem: hybrid polling and writeback throttling are promises about latency and processor time of programs, so a
 * program has to measure them, with the system calls that programs use.
 *
 * Idea: `poll` reads 4 KiB at random places with O_DIRECT, by preadv2 with or without RWF_HIPRI, and prints the mean
 * latency and the CPU time a read cost. `flood` writes through the page cache as fast as it may while a second process
 * reads single blocks: a fixed number a second, however long they take, or (0) each 2 ms after the last one is over,
 * which asks for the more the faster they are. It prints percentiles of the reads and what the writer managed.
 *
 * Contract: blockload poll DEVICE READS hipri|plain
 *           blockload flood DEVICE MILLISECONDS [READS-A-SECOND]
 * One line `name=value ...` each; times in ns. Works on Linux and on Ostrom.
 *
 * Locks: none; two processes share one anonymous page.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define BLOCK     4096
#define RWF_HIPRI 1
#define MAX_READS 100000

static uint64_t read_clock(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

static uint64_t random_block(uint64_t blocks)
{
	static uint64_t x = 88172645463325252ULL; /* xorshift64 */

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return x % blocks;
}

static void *aligned_block(void)
{
	void *p = mmap(NULL, BLOCK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED) {
		perror("mmap");
		exit(1);
	}
	memset(p, 1, BLOCK);
	return p;
}

static int open_device(const char *path, int flags, uint64_t *blocks)
{
	int fd = open(path, flags);
	off_t end = fd < 0 ? -1 : lseek(fd, 0, SEEK_END);

	if (end < BLOCK) {
		fprintf(stderr, "blockload: %s: %s\n", path, strerror(errno));
		exit(1);
	}
	*blocks = end / BLOCK;
	return fd;
}

/* preadv2 by number: C libraries differ in what they make of its flags. */
static long read_at(int fd, void *buf, uint64_t at, int flags)
{
	struct iovec v = { buf, BLOCK };

	return syscall(SYS_preadv2, fd, &v, 1, at, 0, flags);
}

static int run_poll(const char *path, long reads, int hipri)
{
	uint64_t blocks, start = 0, cpu = 0;
	int fd = open_device(path, O_RDONLY | O_DIRECT, &blocks);
	void *buf = aligned_block();

	for (long i = -200; i < reads; i++) { /* the first ones teach the model */
		if (i == 0) {
			start = read_clock(CLOCK_MONOTONIC);
			cpu = read_clock(CLOCK_THREAD_CPUTIME_ID);
		}
		if (read_at(fd, buf, random_block(blocks) * BLOCK, hipri ? RWF_HIPRI : 0) != BLOCK) {
			perror("blockload: preadv2");
			return 1;
		}
	}
	printf("latency=%lu cpu=%lu\n", (unsigned long)((read_clock(CLOCK_MONOTONIC) - start) / reads),
	       (unsigned long)((read_clock(CLOCK_THREAD_CPUTIME_ID) - cpu) / reads));
	return 0;
}

static void write_forever(const char *path, volatile uint64_t *written)
{
	uint64_t blocks, at = 0;
	int fd = open_device(path, O_WRONLY, &blocks);
	static char buf[65536];

	for (;;) {
		ssize_t n = pwrite(fd, buf, sizeof(buf), at);

		if (n <= 0)
			_exit(1);
		*written += n;
		at = (at + n) % (blocks / 2 * BLOCK);
	}
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* Sleeps until the next read is due. */
static void pause_between(long reads_a_second, uint64_t *due)
{
	uint64_t now = read_clock(CLOCK_MONOTONIC);

	if (!reads_a_second) {
		usleep(2000);
		return;
	}
	*due += 1000000000ULL / reads_a_second;
	if (*due > now)
		usleep((*due - now) / 1000);
	else
		*due = now;
}

static int run_flood(const char *path, long ms, long reads_a_second)
{
	static uint64_t latency[MAX_READS];
	volatile uint64_t *written = mmap(NULL, BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	uint64_t blocks, end, base, due;
	int fd = open_device(path, O_RDONLY | O_DIRECT, &blocks), n = 0;
	void *buf = aligned_block();
	pid_t writer = fork();

	if (!writer)
		write_forever(path, written);
	usleep(ms * 300); /* 30 %: until the flusher is at work */
	base = *written;
	due = read_clock(CLOCK_MONOTONIC);
	end = due + ms * 1000000ULL;
	while (read_clock(CLOCK_MONOTONIC) < end && n < MAX_READS) {
		uint64_t start = read_clock(CLOCK_MONOTONIC);

		if (read_at(fd, buf, (blocks / 2 + random_block(blocks / 2)) * BLOCK, 0) != BLOCK) {
			perror("blockload: read");
			break;
		}
		latency[n++] = read_clock(CLOCK_MONOTONIC) - start;
		pause_between(reads_a_second, &due);
	}
	kill(writer, SIGKILL);
	waitpid(writer, NULL, 0);
	if (!n)
		return 1;
	qsort(latency, n, sizeof(latency[0]), compare);
	printf("reads=%d p50=%lu p99=%lu max=%lu written=%lu\n", n, (unsigned long)latency[n / 2],
	       (unsigned long)latency[n * 99L / 100], (unsigned long)latency[n - 1], (unsigned long)(*written - base));
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 5 && !strcmp(argv[1], "poll"))
		return run_poll(argv[2], atol(argv[3]), !strcmp(argv[4], "hipri"));
	if ((argc == 4 || argc == 5) && !strcmp(argv[1], "flood"))
		return run_flood(argv[2], atol(argv[3]), argc == 5 ? atol(argv[4]) : 0);
	fprintf(stderr,
		"usage: blockload poll DEVICE READS hipri|plain | flood DEVICE MILLISECONDS [READS-A-SECOND]\n");
	return 2;
}
