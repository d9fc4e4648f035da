/* SPDX-License-Identifier: MIT
 *
 * Problem: what the way from a system call to a disk costs, apart from the disk.
 *
 * Idea: a disk of memory (brd here and on Linux) and the calls that programs make: one block of 4 KiB after the other
 * at random places, 32 of them at a time by io_submit, 128 KiB one after the other, and a megabyte through the page
 * cache with an fsync. Under -icount guest time is instructions.
 *
 * Contract: blockrows DEVICE [PREFIX]; prints `row instructions-an-operation`, rows with a prefix and without the
 * buffered one. The device is overwritten. blockrows --pass FOLDER WORD ROW UNITS writes WORD to FOLDER/sync_action (of
 * an MD array) and waits until the array is whole and idle. blockrows --jobs N DEVICE PREFIX: rows of N processes that
 * write and read random blocks at once; the time counts until the last one is done.
 *
 * Locks: none.
 */
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define BLOCK 4096
#define LARGE (128 << 10)
#define DEPTH 32
#define SPAN  (8 << 20)

static char *memory, prefix[32];
static uint64_t state = 88172645463325252ULL; /* of xorshift64 */

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

static off_t place(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (off_t)(state % (SPAN / BLOCK)) * BLOCK;
}

static void check(int good, const char *what)
{
	if (good)
		return;
	perror(what);
	exit(1);
}

static void show(const char *row, uint64_t start, unsigned operations)
{
	printf("%s%s %llu\n", prefix, row, (unsigned long long)((now() - start) / operations));
}

static void one_by_one(const char *row, int fd, int write, unsigned bytes, unsigned n, int random)
{
	uint64_t start = now();

	for (unsigned i = 0; i < n; i++) {
		off_t at = random ? place() : (off_t)i * bytes % SPAN;
		ssize_t done = write ? pwrite(fd, memory, bytes, at) : pread(fd, memory, bytes, at);

		check(done == (ssize_t)bytes, row);
	}
	show(row, start, n);
}

static void at_once(const char *row, int fd, int write, unsigned jobs, unsigned n)
{
	uint64_t start = now();
	int status;

	for (unsigned j = 0; j < jobs; j++) {
		state += j * 7919;
		if (fork())
			continue;
		for (unsigned i = 0; i < n; i++) {
			off_t at = place();

			if ((write ? pwrite(fd, memory, BLOCK, at) : pread(fd, memory, BLOCK, at)) != BLOCK)
				_exit(1);
		}
		_exit(0);
	}
	while (wait(&status) > 0)
		check(!status, row);
	show(row, start, jobs * n);
}

static void many(const char *row, int fd, int op, unsigned rounds)
{
	static struct iocb cb[DEPTH], *list[DEPTH];
	static struct io_event events[DEPTH];
	aio_context_t c = 0;
	uint64_t start;

	check(!syscall(SYS_io_setup, DEPTH, &c), "io_setup");
	start = now();
	for (unsigned r = 0; r < rounds; r++) {
		for (unsigned i = 0; i < DEPTH; i++) {
			cb[i] = (struct iocb){ .aio_lio_opcode = op,
					       .aio_fildes = fd,
					       .aio_buf = (uintptr_t)memory + i * BLOCK,
					       .aio_nbytes = BLOCK,
					       .aio_offset = place() };
			list[i] = &cb[i];
		}
		check(syscall(SYS_io_submit, c, DEPTH, list) == DEPTH, "io_submit");
		check(syscall(SYS_io_getevents, c, DEPTH, DEPTH, events, NULL) == DEPTH, "io_getevents");
		for (unsigned i = 0; i < DEPTH; i++)
			check(events[i].res == BLOCK, row);
	}
	show(row, start, rounds * DEPTH);
	syscall(SYS_io_destroy, c);
}

static void buffered(const char *device)
{
	int fd = open(device, O_RDWR);
	uint64_t start;

	check(fd >= 0, device);
	start = now();
	for (unsigned i = 0; i < 16; i++) {
		check(pwrite(fd, memory, 1 << 20, (off_t)(i % 8) << 20) == 1 << 20, "write");
		check(!fsync(fd), "fsync");
	}
	show("write_1MiB_fsync", start, 16);
	close(fd);
}

/* The file's first word is `text`. */
static int says(const char *folder, const char *file, const char *text)
{
	char path[200], word[32] = "";
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", folder, file);
	f = fopen(path, "r");
	check(f != NULL, path);
	check(fscanf(f, "%31s", word) == 1, path);
	fclose(f);
	return !strcmp(word, text);
}

static int pass(const char *folder, const char *action, const char *row, unsigned units)
{
	const struct timespec ms = { .tv_nsec = 1000000 };
	uint64_t start = now();
	char path[200];
	FILE *f;

	snprintf(path, sizeof(path), "%s/sync_action", folder);
	f = fopen(path, "w");
	check(f != NULL, path);
	fputs(action, f);
	check(!fclose(f), path);
	do {
		nanosleep(&ms, NULL);
	} while (!says(folder, "degraded", "0") || !says(folder, "sync_action", "idle"));
	show(row, start, units);
	return 0;
}

static int open_device(const char *device)
{
	int fd = open(device, O_RDWR | O_DIRECT);

	check(fd >= 0, device);
	memory = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	check(memory != MAP_FAILED, "mmap");
	memset(memory, 1, 1 << 20);
	return fd;
}

int main(int argc, char **argv)
{
	const char *device = argc > 1 ? argv[1] : "/dev/ram0";
	int fd;

	if (argc == 6 && !strcmp(device, "--pass"))
		return pass(argv[2], argv[3], argv[4], (unsigned)atoi(argv[5]));
	if (argc == 5 && !strcmp(device, "--jobs")) {
		snprintf(prefix, sizeof(prefix), "%s_", argv[4]);
		fd = open_device(argv[3]);
		at_once("randwrite_4KiB", fd, 1, (unsigned)atoi(argv[2]), 2000);
		at_once("randread_4KiB", fd, 0, (unsigned)atoi(argv[2]), 4000);
		return 0;
	}
	if (argc > 2)
		snprintf(prefix, sizeof(prefix), "%s_", argv[2]);
	fd = open_device(device);
	one_by_one("fill_128KiB_direct", fd, 1, LARGE, SPAN / LARGE, 0);
	one_by_one("randread_4KiB_direct", fd, 0, BLOCK, 2000, 1);
	one_by_one("randwrite_4KiB_direct", fd, 1, BLOCK, 2000, 1);
	many("randread_4KiB_aio32", fd, IOCB_CMD_PREAD, 60);
	many("randwrite_4KiB_aio32", fd, IOCB_CMD_PWRITE, 60);
	one_by_one("read_128KiB_direct", fd, 0, LARGE, 300, 0);
	one_by_one("write_128KiB_direct", fd, 1, LARGE, 300, 0);
	close(fd);
	if (!*prefix)
		buffered(device);
	return 0;
}
