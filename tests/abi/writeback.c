/* SPDX-License-Identifier: MIT
 *
 * Problem: databases and package managers bring what they wrote to the disk by half a dozen calls, and administrators
 * set by numbers in /proc how much may be dirty.
 *
 * Idea: sync_file_range, syncfs, fdatasync and msync with what each refuses; vm.dirty_* with the pairs that exclude
 * each other.
 *
 * Contract: prints ok or not ok for each case, with the same result on Linux, which is the oracle. As root.
 *
 * Locks: none.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include "abi.h"

#define PAGE  4096
#define FLAGS (SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER)

static int temporary(void)
{
	char name[] = "/tmp/abi-writeback-XXXXXX";
	int f = mkstemp(name);

	want(f >= 0 && !unlink(name));
	return f;
}

static long range(int fd, off_t at, off_t n, unsigned flags)
{
	return syscall(SYS_sync_file_range, fd, at, n, flags);
}

CASE(ranges)
{
	int f = temporary(), p[2];

	want_eq(write(f, "abc", 3), 3);
	want_eq(range(f, 0, 0, FLAGS), 0);
	want_eq(range(f, 0, 0, 0), 0);
	want_eq(range(f, 1 << 20, PAGE, SYNC_FILE_RANGE_WRITE), 0);
	want_errno(range(f, 0, 0, FLAGS << 1), EINVAL);
	want_errno(range(f, -1, 1, 0), EINVAL);
	want_errno(range(f, 1, -1, 0), EINVAL);
	want_errno(range(f, 0x7fffffffffffffff, 2, 0), EINVAL);
	want_errno(range(-1, 0, 0, 0), EBADF);
	want_eq(pipe(p), 0);
	want_errno(range(p[0], 0, 0, FLAGS), ESPIPE);
	close(p[0]);
	close(p[1]);
	close(f);
}

CASE(files)
{
	int f = temporary(), p[2];

	want_eq(write(f, "abc", 3), 3);
	want_eq(fsync(f), 0);
	want_eq(fdatasync(f), 0);
	want_eq(syncfs(f), 0);
	want_errno(fsync(-1), EBADF);
	want_errno(fdatasync(-1), EBADF);
	want_errno(syncfs(-1), EBADF);
	want_eq(pipe(p), 0);
	want_errno(fsync(p[0]), EINVAL);
	want_errno(fdatasync(p[1]), EINVAL);
	close(p[0]);
	close(p[1]);
	close(f);
}

CASE(mappings)
{
	int f = temporary();
	char *m;

	want_eq(ftruncate(f, 4 * PAGE), 0);
	m = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, f, 0);
	want(m != MAP_FAILED);
	m[PAGE] = 7;
	want_eq(msync(m, 4 * PAGE, MS_SYNC), 0);
	want_eq(msync(m, 1, MS_ASYNC), 0);
	want_eq(msync(m, 0, MS_SYNC), 0);
	want_eq(msync(m, 4 * PAGE, MS_INVALIDATE), 0);
	want_errno(msync(m, PAGE, MS_SYNC | MS_ASYNC), EINVAL);
	want_errno(msync(m, PAGE, 64), EINVAL);
	want_errno(msync(m + 1, PAGE, MS_SYNC), EINVAL);
	want_eq(munmap(m + PAGE, PAGE), 0);
	want_errno(msync(m, 4 * PAGE, MS_SYNC), ENOMEM);
	munmap(m, 4 * PAGE);
	close(f);
}

/* ---- /proc/sys/vm ---------------------------------------------------------------------------------------------- */

static int open_knob(const char *name, int flags)
{
	char path[64];
	int f;

	snprintf(path, sizeof(path), "/proc/sys/vm/%s", name);
	f = open(path, flags);
	want(f >= 0);
	return f;
}

static long get(const char *name)
{
	char text[32] = "";
	int f = open_knob(name, O_RDONLY);

	want(read(f, text, sizeof(text) - 1) > 0);
	close(f);
	return atol(text);
}

static int set(const char *name, const char *text)
{
	int f = open_knob(name, O_WRONLY), n = write(f, text, strlen(text)), e = errno;

	close(f);
	errno = e;
	return n < 0 ? -1 : 0;
}

/* Bytes and parts of memory: who is set last counts, the other reads 0. */
static void exclude_each_other(const char *ratio, const char *bytes)
{
	char old[32];

	want(get(ratio) > 0);
	snprintf(old, sizeof(old), "%ld", get(ratio));
	want_eq(set(bytes, "20000000"), 0);
	want_eq(get(bytes), 20000000);
	want_eq(get(ratio), 0);
	want_eq(set(ratio, old), 0);
	want_eq(get(bytes), 0);
	want_errno(set(ratio, "101"), EINVAL);
	want_errno(set(ratio, "-1"), EINVAL);
	want_eq(get(ratio), atol(old));
}

CASE(how_much)
{
	exclude_each_other("dirty_ratio", "dirty_bytes");
	exclude_each_other("dirty_background_ratio", "dirty_background_bytes");
}

CASE(how_long)
{
	want_eq(get("dirty_writeback_centisecs"), 500);
	want_eq(get("dirty_expire_centisecs"), 3000);
	want_eq(set("dirty_writeback_centisecs", "100"), 0);
	want_eq(get("dirty_writeback_centisecs"), 100);
	want_eq(set("dirty_writeback_centisecs", "500"), 0);
	want_errno(set("dirty_expire_centisecs", "-5"), EINVAL);
}

int main(void)
{
	RUN(ranges);
	RUN(files);
	RUN(mappings);
	RUN(how_much);
	RUN(how_long);
	return abi_status();
}
