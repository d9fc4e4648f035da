/* SPDX-License-Identifier: MIT
 *
 * Problem: a program must find the same behaviour here as on Linux, at its borders too.
 *
 * Idea: handles of files (name_to_handle_at(2)): what size they say, that they find the file under another name and
 * without one, that they are stale when it has gone, whose right it takes. On a tmpfs of its own. Needs root.
 *
 * Contract: prints `ok NAME` or `not ok NAME: why` a case and exits 0 or 1; the same on Linux, which is the oracle.
 *
 * Locks: none.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include "abi.h"

#define PLACE "/tmp/handles"

struct handle {
	uint32_t bytes;
	int32_t type;
	unsigned char data[128];
};

static int at; /* a descriptor on the file system */

static long name_to_handle(int dir, const char *name, struct handle *h, int *mount, int flags)
{
	return syscall(SYS_name_to_handle_at, dir, name, h, mount, flags);
}

static long open_handle(struct handle *h, int flags)
{
	return syscall(SYS_open_by_handle_at, at, h, flags);
}

static struct handle handle_of(const char *name)
{
	struct handle h = { .bytes = sizeof(h.data) };
	int mount;

	want_eq(name_to_handle(at, name, &h, &mount, 0), 0);
	return h;
}

static int make(const char *name)
{
	int fd = openat(at, name, O_CREAT | O_RDWR, 0600);

	want(fd >= 0);
	want_eq(write(fd, name, strlen(name)), (long)strlen(name));
	return fd;
}

static long has(int fd, const char *text)
{
	char b[32] = "";

	return pread(fd, b, sizeof(b), 0) == (long)strlen(text) && !strcmp(b, text);
}

CASE(sizes_and_errors)
{
	struct handle h = { .bytes = 0 };
	int mount = -1, other;

	close(make("a"));
	want_errno(name_to_handle(at, "a", &h, &mount, 0), EOVERFLOW);
	want(h.bytes > 0 && h.bytes <= 128);
	want_eq(name_to_handle(at, "a", &h, &mount, 0), 0);
	want_eq(name_to_handle(at, "", &h, &other, AT_EMPTY_PATH), 0);
	want_eq(mount, other);
	want_errno(name_to_handle(at, "", &h, &other, 0), ENOENT);
	want_errno(name_to_handle(at, "none", &h, &other, 0), ENOENT);
	want_errno(name_to_handle(at, "a", &h, &other, AT_SYMLINK_NOFOLLOW), EINVAL);
	h.bytes = 129;
	want_errno(name_to_handle(at, "a", &h, &other, 0), EINVAL);
	want_errno(open_handle(&h, O_RDONLY), EINVAL);
	h.bytes = 0;
	want_errno(open_handle(&h, O_RDONLY), EINVAL);
	h.bytes = 128;
	want_errno(name_to_handle(AT_FDCWD, "/proc/self/maps", &h, &other, 0), EOPNOTSUPP);
}

CASE(found_again)
{
	struct handle h, folder;
	struct stat a, b;
	int fd = make("b");

	h = handle_of("b");
	want_eq(renameat(at, "b", at, "c"), 0);
	want_eq(fstat(fd, &a), 0);
	close(fd);
	fd = open_handle(&h, O_RDWR);
	want(fd >= 0);
	want_eq(fstat(fd, &b), 0);
	want_eq(a.st_ino, b.st_ino);
	want(has(fd, "b"));
	want_eq(mkdirat(at, "folder", 0700), 0);
	folder = handle_of("folder");
	close(fd);
	fd = open_handle(&folder, O_RDONLY | O_DIRECTORY);
	want(fd >= 0);
	want_errno(openat(fd, "none", O_RDONLY), ENOENT);
	close(fd);
	want_errno(open_handle(&h, O_RDONLY | O_DIRECTORY), ENOTDIR);
}

CASE(gone)
{
	int fd = make("d"), again;
	struct handle h = handle_of("d");

	want_eq(unlinkat(at, "d", 0), 0);
	again = open_handle(&h, O_RDONLY);
	if (again >= 0) /* without a name, but not without a user */
		want(has(again, "d"));
	close(again);
	close(fd);
	want_errno(open_handle(&h, O_RDONLY), ESTALE);
	h.type = 77;
	want_errno(open_handle(&h, O_RDONLY), ESTALE);
}

/* A file system of the same kind has the same numbers, and another's handles are stale there. */
CASE(of_another_file_system)
{
	struct handle h = handle_of("a");
	int mine = at, other, err;

	mkdir(PLACE "2", 0755);
	want_eq(mount("none", PLACE "2", "tmpfs", 0, NULL), 0);
	at = open(PLACE "2", O_RDONLY);
	want(at >= 0);
	for (char name[] = "a"; *name < 'i'; ++*name)
		close(make(name));
	other = open_handle(&h, O_RDONLY);
	err = errno;
	close(at);
	at = mine;
	want(other == -1 && err == ESTALE);
	want_eq(umount(PLACE "2"), 0);
	rmdir(PLACE "2");
}

CASE(rights)
{
	struct handle h = handle_of("a");
	int status;
	pid_t child = fork();

	if (!child) {
		want_eq(setuid(1000), 0);
		want_errno(open_handle(&h, O_RDONLY), EPERM);
		_exit(0);
	}
	want_eq(waitpid(child, &status, 0), child);
	want_eq(status, 0);
}

int main(void)
{
	mkdir(PLACE, 0755);
	if (mount("none", PLACE, "tmpfs", 0, NULL))
		return 1;
	at = open(PLACE, O_RDONLY);
	RUN(sizes_and_errors);
	RUN(found_again);
	RUN(gone);
	RUN(of_another_file_system);
	RUN(rights);
	close(at);
	umount(PLACE);
	return abi_status();
}
