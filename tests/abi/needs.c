/* SPDX-License-Identifier: MIT
 *
 * Problem: a program must find the same behaviour here as on Linux, at its borders too.
 *
 * Idea: what Debian's programs need beyond files and processes, where no other test looks: locks of open files, statx,
 * capabilities, names of shared memory, extended attributes' borders.
 *
 * Contract: prints `ok NAME` or `not ok NAME: why` a case and exits 0 or 1; the same on Linux, which is the oracle.
 * Needs root.
 *
 * Locks: none.
 */
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/stat.h>
#include <linux/types.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include "abi.h"

#define FOLDER "/tmp/needs"

static int make_file(const char *path, const char *text)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0644);

	want(fd >= 0);
	want_eq(write(fd, text, strlen(text)), strlen(text));
	return fd;
}

/* What a child of fn returns. */
static int in_child(int (*fn)(void *), void *arg)
{
	pid_t child = fork();
	int status;

	if (!child)
		_exit(fn(arg));
	want_eq(waitpid(child, &status, 0), child);
	want(WIFEXITED(status));
	return WEXITSTATUS(status);
}

/* ---- locks of open files ------------------------------------------------------------------------------------- */

static int lock(int fd, int cmd, short type, off_t start, off_t len)
{
	struct flock l = { .l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = len };

	return fcntl(fd, cmd, &l);
}

static int child_locks(void *fd)
{
	return lock(*(int *)fd, F_OFD_SETLK, F_WRLCK, 0, 0) ? errno : 0;
}

CASE(locks_of_open_files)
{
	int a = make_file(FOLDER "/lock", "0123456789"), b = open(FOLDER "/lock", O_RDWR), again;
	struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_pid = 7 };

	want_errno(fcntl(a, F_OFD_SETLK, &l), EINVAL); /* l_pid must be 0 */
	want_eq(lock(a, F_OFD_SETLK, F_WRLCK, 2, 4), 0);
	want_errno(lock(b, F_OFD_SETLK, F_RDLCK, 0, 0), EAGAIN);
	want_eq(lock(b, F_OFD_SETLK, F_WRLCK, 6, 0), 0);
	want_errno(lock(b, F_SETLK, F_WRLCK, 2, 1), EAGAIN); /* also against those of processes */
	l.l_pid = 0;
	want_eq(fcntl(b, F_OFD_GETLK, &l), 0);
	want(l.l_type == F_WRLCK && l.l_start == 2 && l.l_len == 4 && l.l_pid == -1);
	want_eq(lock(b, F_OFD_SETLK, F_UNLCK, 0, 0), 0);
	want_eq(in_child(child_locks, &a), 0); /* it belongs to the open file, which the child has, too */
	want_eq(in_child(child_locks, &b), EAGAIN);
	again = dup(a);
	close(a);
	want_errno(lock(b, F_OFD_SETLK, F_WRLCK, 9, 1), EAGAIN);
	close(again);
	want_eq(lock(b, F_OFD_SETLK, F_WRLCK, 9, 1), 0);
	again = open(FOLDER "/lock", O_RDONLY);
	want_errno(lock(again, F_OFD_SETLK, F_WRLCK, 0, 1), EBADF);
	want_eq(lock(again, F_OFD_SETLK, F_RDLCK, 0, 1), 0);
	close(again);
	close(b);
}

static void *waits(void *fd)
{
	return (void *)(long)(lock(*(int *)fd, F_OFD_SETLKW, F_WRLCK, 0, 0) ? errno : 0);
}

CASE(threads_wait_for_locks_of_open_files)
{
	int a = make_file(FOLDER "/lock", ""), b = open(FOLDER "/lock", O_RDWR);
	pthread_t t;
	void *err;

	want_eq(lock(a, F_OFD_SETLK, F_WRLCK, 0, 0), 0);
	want_eq(pthread_create(&t, NULL, waits, &b), 0);
	usleep(50000);
	want_eq(lock(a, F_OFD_SETLK, F_UNLCK, 0, 0), 0);
	want_eq(pthread_join(t, &err), 0);
	want_eq((long)err, 0);
	want_errno(lock(a, F_OFD_SETLK, F_RDLCK, 0, 0), EAGAIN);
	want_eq(flock(a, LOCK_EX | LOCK_NB), 0); /* locks of the third kind do not see these */
	close(b);
	close(a);
}

/* ---- statx ---------------------------------------------------------------------------------------------------- */

static long statx_of(int dir, const char *path, int flags, unsigned mask, struct statx *s)
{
	memset(s, 0xaa, sizeof(*s));
	return syscall(SYS_statx, dir, path, flags, mask, s);
}

CASE(statx_says_what_stat_says)
{
	int fd = make_file(FOLDER "/file", "some text");
	struct statx x;
	struct stat s;

	want_eq(stat(FOLDER "/file", &s), 0);
	want_eq(statx_of(AT_FDCWD, FOLDER "/file", 0, STATX_BASIC_STATS, &x), 0);
	want_eq(x.stx_mask & STATX_BASIC_STATS, STATX_BASIC_STATS);
	want(x.stx_ino == s.st_ino && x.stx_mode == s.st_mode && x.stx_nlink == s.st_nlink && x.stx_size == 9);
	want(x.stx_blocks == (unsigned long)s.st_blocks && x.stx_blksize == s.st_blksize);
	want(x.stx_mtime.tv_sec == s.st_mtim.tv_sec && x.stx_mtime.tv_nsec == s.st_mtim.tv_nsec);
	want(x.stx_dev_major == major(s.st_dev) && x.stx_dev_minor == minor(s.st_dev));
	want_eq(statx_of(fd, "", AT_EMPTY_PATH, STATX_SIZE, &x), 0);
	want(x.stx_mask & STATX_SIZE && x.stx_size == 9);
	want_errno(statx_of(fd, "", 0, STATX_SIZE, &x), ENOENT);
	want_errno(statx_of(AT_FDCWD, FOLDER "/none", 0, STATX_SIZE, &x), ENOENT);
	want_errno(statx_of(fd, "below", 0, STATX_SIZE, &x), ENOTDIR);
	want_errno(statx_of(AT_FDCWD, "/", 0, STATX__RESERVED, &x), EINVAL);
	want_errno(statx_of(AT_FDCWD, "/", AT_STATX_FORCE_SYNC | AT_STATX_DONT_SYNC, STATX_SIZE, &x), EINVAL);
	want_errno(syscall(SYS_statx, AT_FDCWD, "/", 0, STATX_SIZE, (void *)8), EFAULT);
	want_eq(symlink("file", FOLDER "/link"), 0);
	want_eq(statx_of(AT_FDCWD, FOLDER "/link", AT_SYMLINK_NOFOLLOW, STATX_TYPE, &x), 0);
	want(S_ISLNK(x.stx_mode));
	want_eq(statx_of(AT_FDCWD, "/proc", 0, STATX_BASIC_STATS, &x), 0);
	want(x.stx_attributes_mask & STATX_ATTR_MOUNT_ROOT && x.stx_attributes & STATX_ATTR_MOUNT_ROOT);
	want_eq(statx_of(AT_FDCWD, "/dev/null", 0, STATX_BASIC_STATS, &x), 0);
	want(x.stx_rdev_major == 1 && x.stx_rdev_minor == 3);
	close(fd);
}

/* ---- capabilities ----------------------------------------------------------------------------------------------- */

struct caps {
	struct __user_cap_header_struct head;
	struct __user_cap_data_struct data[2];
};

static int get_caps(struct caps *c)
{
	*c = (struct caps){ .head = { _LINUX_CAPABILITY_VERSION_3, 0 } };
	return syscall(SYS_capget, &c->head, c->data);
}

static int set_caps(struct caps *c)
{
	return syscall(SYS_capset, &c->head, c->data);
}

#define HAS(set, cap) ((set) >> (cap)&1)

/* Each returns the line where it failed, 0: none did. */
#define must(c)                                                                                                        \
	do {                                                                                                           \
		if (!(c))                                                                                              \
			return __LINE__ % 250 + 1;                                                                     \
	} while (0)

static int drop_some(void *unused)
{
	struct caps c;

	must(!get_caps(&c));
	c.data[0].effective &= ~(1U << CAP_CHOWN);
	must(!set_caps(&c));
	must(chown(FOLDER "/file", 5, 5) == -1 && errno == EPERM);
	c.data[0].effective |= 1U << CAP_CHOWN;
	must(!set_caps(&c));
	must(!chown(FOLDER "/file", 5, 5));
	c.data[0].effective &= ~(1U << CAP_CHOWN);
	c.data[0].permitted &= ~(1U << CAP_CHOWN);
	must(!set_caps(&c));
	c.data[0].permitted |= 1U << CAP_CHOWN;
	must(set_caps(&c) == -1 && errno == EPERM);
	c.data[0].permitted &= ~(1U << CAP_CHOWN);
	c.data[0].effective |= 1U << CAP_CHOWN; /* more than is permitted */
	must(set_caps(&c) == -1 && errno == EPERM);
	c.head.version = 1;
	must(get_caps(&c) == 0);
	c.head.version = 1;
	must(syscall(SYS_capget, &c.head, c.data) == -1 && errno == EINVAL &&
	     c.head.version == _LINUX_CAPABILITY_VERSION_3);
	c.head.pid = getppid();
	must(set_caps(&c) == -1 && errno == EPERM); /* only one's own */
	return 0;
}

static int bounding_set(void *unused)
{
	must(prctl(PR_CAPBSET_READ, CAP_SYS_TIME, 0, 0, 0) == 1);
	must(!prctl(PR_CAPBSET_DROP, CAP_SYS_TIME, 0, 0, 0));
	must(prctl(PR_CAPBSET_READ, CAP_SYS_TIME, 0, 0, 0) == 0);
	must(prctl(PR_CAPBSET_READ, 200, 0, 0, 0) == -1 && errno == EINVAL);
	must(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_CHOWN, 0, 0) == -1 &&
	     errno == EPERM); /* not inheritable */
	return 0;
}

static int users_and_capabilities(void *unused)
{
	struct caps c;

	must(!get_caps(&c));
	c.data[0].inheritable = 1U << CAP_NET_RAW;
	must(!set_caps(&c));
	must(!prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_RAW, 0, 0));
	must(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_NET_RAW, 0, 0) == 1);
	must(prctl(PR_SET_KEEPCAPS, 2, 0, 0, 0) == -1 && errno == EINVAL);
	must(!prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) && prctl(PR_GET_KEEPCAPS, 0, 0, 0, 0) == 1);
	must(!setuid(1000));
	must(!get_caps(&c));
	must(c.data[0].effective == 0 && HAS(c.data[0].permitted, CAP_NET_RAW) && HAS(c.data[0].permitted, CAP_CHOWN));
	must(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_NET_RAW, 0, 0) == 0);
	must(!prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_RAW, 0, 0));
	must(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_NET_RAW, 0, 0) == 1);
	c.data[0].permitted = 0;
	must(!set_caps(&c));
	must(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_NET_RAW, 0, 0) == 0);
	return 0;
}

static int without_keeping(void *unused)
{
	struct caps c;

	must(!setresuid(1000, 1000, 0));
	must(!get_caps(&c) && c.data[0].effective == 0 && HAS(c.data[0].permitted, CAP_CHOWN));
	must(!setresuid(1000, 0, 0));
	must(!get_caps(&c) && HAS(c.data[0].effective, CAP_CHOWN));
	must(!setresuid(1000, 1000, 1000));
	must(!get_caps(&c) && c.data[0].effective == 0 && c.data[0].permitted == 0);
	return 0;
}

CASE(capabilities_go_and_come)
{
	close(make_file(FOLDER "/file", ""));
	want_eq(in_child(drop_some, NULL), 0);
	want_eq(in_child(bounding_set, NULL), 0);
	want_eq(in_child(users_and_capabilities, NULL), 0);
	want_eq(in_child(without_keeping, NULL), 0);
}

/* ---- attributes, shared memory --------------------------------------------------------------------------------- */

CASE(attributes_have_name_spaces)
{
	char value[16];
	int fd = make_file(FOLDER "/file", "");

	want_errno(setxattr(FOLDER "/file", "nodot", "1", 1, 0), EOPNOTSUPP);
	want_errno(setxattr(FOLDER "/file", "unknown.x", "1", 1, 0), EOPNOTSUPP);
	want_eq(setxattr(FOLDER "/file", "trusted.x", "12", 2, XATTR_CREATE), 0);
	want_errno(setxattr(FOLDER "/file", "trusted.x", "1", 1, XATTR_CREATE), EEXIST);
	want_errno(setxattr(FOLDER "/file", "trusted.y", "1", 1, XATTR_REPLACE), ENODATA);
	want_errno(setxattr(FOLDER "/file", "trusted.x", "1", 1, 4), EINVAL);
	want_errno(setxattr(FOLDER "/file", "trusted.x", "1", 1 << 17, 0), E2BIG);
	want_eq(getxattr(FOLDER "/file", "trusted.x", NULL, 0), 2);
	want_errno(getxattr(FOLDER "/file", "trusted.x", value, 1), ERANGE);
	want_eq(fgetxattr(fd, "trusted.x", value, sizeof(value)), 2);
	want(!memcmp(value, "12", 2));
	want_errno(getxattr(FOLDER "/file", "trusted.none", value, sizeof(value)), ENODATA);
	want_errno(getxattr(FOLDER "/file", "", value, sizeof(value)), ERANGE);
	want_eq(removexattr(FOLDER "/file", "trusted.x"), 0);
	want_errno(removexattr(FOLDER "/file", "trusted.x"), ENODATA);
	close(fd);
}

CASE(shared_memory_has_names)
{
	int fd, again;
	char *at;

	shm_unlink("/abi-needs");
	fd = shm_open("/abi-needs", O_RDWR | O_CREAT | O_EXCL, 0600);
	want(fd >= 0);
	want_errno(shm_open("/abi-needs", O_RDWR | O_CREAT | O_EXCL, 0600), EEXIST);
	want_eq(ftruncate(fd, 8192), 0);
	at = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	want(at != MAP_FAILED);
	again = shm_open("/abi-needs", O_RDWR, 0);
	want(again >= 0);
	want_eq(shm_unlink("/abi-needs"), 0);
	want_errno(shm_open("/abi-needs", O_RDWR, 0), ENOENT);
	want_eq(pwrite(again, "seen", 5, 4096), 5);
	want(!strcmp(at + 4096, "seen"));
	want_eq(munmap(at, 8192), 0);
	close(again);
	close(fd);
}

int main(void)
{
	want_eq(system("rm -rf " FOLDER " && mkdir -p " FOLDER " /dev/shm"), 0);
	RUN(locks_of_open_files);
	RUN(threads_wait_for_locks_of_open_files);
	RUN(statx_says_what_stat_says);
	RUN(capabilities_go_and_come);
	RUN(attributes_have_name_spaces);
	RUN(shared_memory_has_names);
	return abi_status();
}
