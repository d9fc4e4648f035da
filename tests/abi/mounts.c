/* SPDX-License-Identifier: MIT
 *
 * Problem: mounts made on descriptors (fsopen, fsconfig, fsmount, open_tree, move_mount, fspick, mount_setattr) have
 * states and rules of their own, and what a descriptor holds must neither be seen early nor stay behind.
 *
 * Idea: each case in a mount namespace of its own, on tmpfs, so that nothing of the machine's is touched.
 *
 * Contract: prints ok or not ok for each case, with the same result on Linux, which is the oracle; linux/mount.h.
 *
 * Locks: none.
 */
#include <fcntl.h>
#include <grp.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <linux/mount.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include "abi.h"

int mount(const char *source, const char *target, const char *type, unsigned long flags, const void *data);
int umount2(const char *target, int flags);

#define fails(call, e) (errno = 0, (call) == -1 && errno == (e))
#define BASE           "/tmp/abi.mounts"
#define PLACE          BASE "/at"

/* statfs's f_flags and umount2's, whose headers quarrel with linux/mount.h. */
enum { ST_RDONLY_ = 1, ST_NOSUID_ = 2, ST_NODEV_ = 4, ST_NOEXEC_ = 8 };
#define MNT_DETACH_ 2

static long fsopen_(const char *type, unsigned flags)
{
	return syscall(SYS_fsopen, type, flags);
}

static long fsconfig_(int fd, unsigned cmd, const char *key, const void *value, int aux)
{
	return syscall(SYS_fsconfig, fd, cmd, key, value, aux);
}

static long fsmount_(int fd, unsigned flags, unsigned attrs)
{
	return syscall(SYS_fsmount, fd, flags, attrs);
}

static long open_tree_(int dirfd, const char *path, unsigned flags)
{
	return syscall(SYS_open_tree, dirfd, path, flags);
}

static long move_mount_(int from, const char *from_path, int to, const char *to_path, unsigned flags)
{
	return syscall(SYS_move_mount, from, from_path, to, to_path, flags);
}

static long setattr_(int dirfd, const char *path, unsigned flags, struct mount_attr *a, size_t size)
{
	return syscall(SYS_mount_setattr, dirfd, path, flags, a, size);
}

/* A tmpfs with the words given ("size", "1M"), made but not mounted. */
static int made(const char *key, const char *value)
{
	int fd = fsopen_("tmpfs", FSOPEN_CLOEXEC);

	want(fd >= 0);
	if (key)
		want(!fsconfig_(fd, FSCONFIG_SET_STRING, key, value, 0));
	want(!fsconfig_(fd, FSCONFIG_CMD_CREATE, NULL, NULL, 0));
	return fd;
}

static int floating(unsigned attrs)
{
	int fs = made(NULL, NULL), m = fsmount_(fs, FSMOUNT_CLOEXEC, attrs);

	want(m >= 0);
	close(fs);
	return m;
}

static bool is_mount(const char *path)
{
	struct stat a, b;
	char up[200];

	snprintf(up, sizeof(up), "%s/..", path);
	return !stat(path, &a) && !stat(up, &b) && a.st_dev != b.st_dev;
}

static unsigned long flags_at(const char *path)
{
	struct statfs s;

	return statfs(path, &s) ? ~0UL : (unsigned long)s.f_flags;
}

CASE(making)
{
	struct statfs s;
	int fs = made("size", "1M"), m;

	want(fails(fsconfig_(fs, FSCONFIG_SET_STRING, "size", "2M", 0), EBUSY));
	want(fails(fsconfig_(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0), EBUSY));
	m = fsmount_(fs, 0, MOUNT_ATTR_NOEXEC | MOUNT_ATTR_NODEV);
	want(m >= 0);
	want(fails(fsmount_(fs, 0, 0), EBUSY));
	want(!is_mount(PLACE));
	want(mkdirat(m, "inside", 0700) == 0); /* it works before it has a place */
	want(!move_mount_(m, "", AT_FDCWD, PLACE, MOVE_MOUNT_F_EMPTY_PATH));
	want(is_mount(PLACE) && !access(PLACE "/inside", F_OK));
	want((flags_at(PLACE) & (ST_NOEXEC_ | ST_NODEV_)) == (ST_NOEXEC_ | ST_NODEV_));
	want(!statfs(PLACE, &s) && s.f_blocks * (uint64_t)s.f_bsize == 1 << 20);
	close(m);
	close(fs);
	want(is_mount(PLACE)); /* the descriptor is not needed any more */
	want(!umount2(PLACE, 0));
}

CASE(wrong_configuration)
{
	int fs = fsopen_("tmpfs", 0), m;

	want(fails(fsopen_("no_such_fs", 0), ENODEV));
	want(fails(fsopen_("tmpfs", 2), EINVAL));
	want(fails(fsopen_((char *)1, 0), EFAULT));
	want(fails(fsmount_(fs, 0, 0), EINVAL)); /* nothing is made yet */
	want(fails(fsconfig_(-1, FSCONFIG_CMD_CREATE, NULL, NULL, 0), EINVAL));
	want(fails(fsconfig_(fs, FSCONFIG_CMD_CREATE, "x", NULL, 0), EINVAL));
	want(fails(fsconfig_(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 1), EINVAL));
	want(fails(fsconfig_(fs, FSCONFIG_SET_FLAG, "ro", "x", 0), EINVAL));
	want(fails(fsconfig_(fs, FSCONFIG_SET_STRING, "size", NULL, 0), EINVAL));
	want(fails(fsconfig_(fs, FSCONFIG_SET_FD, "x", NULL, -1), EINVAL));
	want(fails(fsconfig_(fs, 77, NULL, NULL, 0), EOPNOTSUPP));
	want(fails(fsconfig_(fs, FSCONFIG_SET_STRING, (char *)1, "x", 0), EFAULT));
	want(!fsconfig_(fs, FSCONFIG_SET_STRING, "source", "one", 0));
	want(fails(fsconfig_(fs, FSCONFIG_SET_STRING, "source", "two", 0), EINVAL));
	m = open("/", O_RDONLY);
	want(fails(fsconfig_(m, FSCONFIG_SET_FLAG, "ro", NULL, 0), EINVAL));
	want(fails(fsmount_(m, 0, 0), EINVAL));
	want(fails(fsmount_(fs, 2, 0), EINVAL));
	want(fails(fsmount_(fs, 0, 0x4000), EINVAL));
	close(m);
	close(fs);
}

CASE(read_only_super)
{
	int fs = fsopen_("tmpfs", 0), m;

	want(!fsconfig_(fs, FSCONFIG_SET_FLAG, "ro", NULL, 0));
	want(!fsconfig_(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0));
	m = fsmount_(fs, 0, 0);
	want(m >= 0 && fails(mkdirat(m, "x", 0700), EROFS));
	close(m);
	close(fs);
}

CASE(closing_drops_it)
{
	int m = floating(0), again;

	want(mkdirat(m, "x", 0700) == 0);
	close(m);
	m = floating(0);
	again = openat(m, ".", O_RDONLY | O_DIRECTORY); /* a user below keeps the files, not the place */
	close(m);
	want(again >= 0 && mkdirat(again, "y", 0700) == 0);
	want(fails(move_mount_(again, "", AT_FDCWD, PLACE, MOVE_MOUNT_F_EMPTY_PATH), EINVAL));
	close(again);
	want(!is_mount(PLACE));
}

CASE(copies_of_trees)
{
	int t, n;

	want(!mount("one", PLACE, "tmpfs", 0, NULL) && !mkdir(PLACE "/in", 0700) && !mkdir(PLACE "/to", 0700));
	want(!mount("two", PLACE "/in", "tmpfs", 0, NULL) && !mkdir(PLACE "/in/deep", 0700));
	t = open_tree_(AT_FDCWD, PLACE, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
	want(t >= 0 && !faccessat(t, "in/deep", F_OK, 0));
	n = open_tree_(AT_FDCWD, PLACE, OPEN_TREE_CLONE);
	want(n >= 0 && fails(faccessat(n, "in/deep", F_OK, 0), ENOENT));
	close(n);
	want(!umount2(PLACE "/in", 0));
	want(!move_mount_(t, "", AT_FDCWD, PLACE "/to", MOVE_MOUNT_F_EMPTY_PATH));
	want(!access(PLACE "/to/in/deep", F_OK));
	close(t);
	want(!umount2(PLACE, MNT_DETACH_));
}

CASE(trees_without_copy)
{
	int t = open_tree_(AT_FDCWD, "/", 0);

	want(t >= 0 && (fcntl(t, F_GETFL) & O_PATH));
	close(t);
	want(fails(open_tree_(AT_FDCWD, "/", AT_RECURSIVE), EINVAL));
	want(fails(open_tree_(AT_FDCWD, "/no/such", OPEN_TREE_CLONE), ENOENT));
	want(fails(open_tree_(AT_FDCWD, "/", 0x40), EINVAL));
}

CASE(moving_attached_ones)
{
	want(!mkdir(PLACE "/a", 0700) && !mkdir(PLACE "/b", 0700));
	want(!mount("m", PLACE "/a", "tmpfs", 0, NULL) && !mkdir(PLACE "/a/it", 0700));
	want(fails(move_mount_(AT_FDCWD, PLACE "/b", AT_FDCWD, PLACE "/a", 0), EINVAL)); /* no mount */
	want(fails(move_mount_(AT_FDCWD, PLACE "/a", AT_FDCWD, PLACE "/b", 0x8000), EINVAL));
	want(!move_mount_(AT_FDCWD, PLACE "/a", AT_FDCWD, PLACE "/b", 0));
	want(!access(PLACE "/b/it", F_OK) && access(PLACE "/a/it", F_OK));
	want(!umount2(PLACE "/b", 0) && !rmdir(PLACE "/a") && !rmdir(PLACE "/b"));
}

CASE(attributes)
{
	struct mount_attr a = { .attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID };
	struct {
		struct mount_attr a;
		uint64_t more;
	} big = { .more = 1 };
	int m = floating(0);

	want(!setattr_(m, "", AT_EMPTY_PATH, &a, sizeof(a)));
	want(fails(mkdirat(m, "x", 0700), EROFS));
	want(!move_mount_(m, "", AT_FDCWD, PLACE, MOVE_MOUNT_F_EMPTY_PATH));
	want((flags_at(PLACE) & (ST_RDONLY_ | ST_NOSUID_)) == (ST_RDONLY_ | ST_NOSUID_));
	a = (struct mount_attr){ .attr_clr = MOUNT_ATTR_RDONLY, .attr_set = MOUNT_ATTR_NOEXEC };
	want(!setattr_(AT_FDCWD, PLACE, 0, &a, sizeof(a)));
	want((flags_at(PLACE) & (ST_RDONLY_ | ST_NOSUID_ | ST_NOEXEC_)) == (ST_NOSUID_ | ST_NOEXEC_));
	a = (struct mount_attr){ .attr_set = MOUNT_ATTR_NOATIME };
	want(fails(setattr_(AT_FDCWD, PLACE, 0, &a, sizeof(a)), EINVAL)); /* without the clearing of what was */
	a.attr_clr = MOUNT_ATTR__ATIME;
	want(!setattr_(AT_FDCWD, PLACE, 0, &a, sizeof(a)) && (flags_at(PLACE) & 1024)); /* ST_NOATIME */
	a = (struct mount_attr){ .propagation = MS_SHARED | MS_PRIVATE };
	want(fails(setattr_(AT_FDCWD, PLACE, 0, &a, sizeof(a)), EINVAL));
	a = (struct mount_attr){ .attr_set = 1ULL << 40 };
	want(fails(setattr_(AT_FDCWD, PLACE, 0, &a, sizeof(a)), EINVAL));
	want(fails(setattr_(AT_FDCWD, PLACE, 0, &a, 16), EINVAL));
	want(fails(setattr_(AT_FDCWD, PLACE, 0, &big.a, sizeof(big)), E2BIG));
	a = (struct mount_attr){ .attr_set = MOUNT_ATTR_RDONLY };
	want(!mkdir(PLACE "/x", 0700) && fails(setattr_(AT_FDCWD, PLACE "/x", 0, &a, sizeof(a)), EINVAL));
	close(m);
	want(!umount2(PLACE, 0));
}

CASE(attributes_of_a_tree)
{
	struct mount_attr a = { .attr_set = MOUNT_ATTR_RDONLY };

	want(!mount("one", PLACE, "tmpfs", 0, NULL) && !mkdir(PLACE "/in", 0700));
	want(!mount("two", PLACE "/in", "tmpfs", 0, NULL));
	want(!setattr_(AT_FDCWD, PLACE, AT_RECURSIVE, &a, sizeof(a)));
	want(fails(mkdir(PLACE "/x", 0700), EROFS) && fails(mkdir(PLACE "/in/x", 0700), EROFS));
	want(!umount2(PLACE, MNT_DETACH_));
}

CASE(reconfiguration)
{
	int p;

	want(!mount("one", PLACE, "tmpfs", 0, "size=1M") && !mkdir(PLACE "/in", 0700));
	want(fails(syscall(SYS_fspick, AT_FDCWD, PLACE "/in", 0), EINVAL)); /* not a root */
	want(fails(syscall(SYS_fspick, AT_FDCWD, PLACE, 0x100), EINVAL));
	p = syscall(SYS_fspick, AT_FDCWD, PLACE, FSPICK_CLOEXEC);
	want(p >= 0 && fails(fsconfig_(p, FSCONFIG_CMD_CREATE, NULL, NULL, 0), EBUSY));
	want(!fsconfig_(p, FSCONFIG_SET_FLAG, "ro", NULL, 0));
	want(!fsconfig_(p, FSCONFIG_CMD_RECONFIGURE, NULL, NULL, 0));
	want(fails(mkdir(PLACE "/x", 0700), EROFS));
	close(p);
	want(!umount2(PLACE, 0));
}

CASE(without_rights)
{
	int status;
	pid_t p = fork();

	if (!p) {
		struct mount_attr a = { .attr_set = MOUNT_ATTR_RDONLY };

		setgroups(0, NULL);
		if (setgid(1000) || setuid(1000) || !fails(fsopen_("tmpfs", 0), EPERM) ||
		    !fails(open_tree_(AT_FDCWD, "/", OPEN_TREE_CLONE), EPERM) || open_tree_(AT_FDCWD, "/", 0) < 0 ||
		    !fails(move_mount_(AT_FDCWD, "/", AT_FDCWD, "/", 0), EPERM) ||
		    !fails(syscall(SYS_fspick, AT_FDCWD, "/", 0), EPERM) ||
		    !fails(setattr_(AT_FDCWD, "/", 0, &a, sizeof(a)), EPERM))
			_exit(1);
		_exit(0);
	}
	want(waitpid(p, &status, 0) == p && !status);
}

static int ns_limit_child(void)
{
	char text[16] = "";
	int f = open("/proc/sys/user/max_uts_namespaces", O_RDONLY);

	if (unshare(CLONE_NEWUSER) || f < 0 || read(f, text, sizeof(text) - 1) <= 0 || unshare(CLONE_NEWUTS))
		return 1;
	close(f);
	f = open("/proc/sys/user/max_uts_namespaces", O_RDONLY);
	return read(f, text, sizeof(text) - 1) <= 0 || atol(text) != INT32_MAX;
}

static int over_limit_child(void)
{
	if (!fails(unshare(CLONE_NEWUTS), ENOSPC) || unshare(CLONE_NEWUSER))
		return 1;
	return !fails(unshare(CLONE_NEWUTS), ENOSPC); /* a user namespace of one's own does not help */
}

CASE(limits_of_namespaces)
{
	int f = open("/proc/sys/user/max_uts_namespaces", O_RDWR), status;
	char was[16] = "";
	pid_t p;

	want(f >= 0 && read(f, was, sizeof(was) - 1) > 0);
	p = fork();
	if (!p)
		_exit(ns_limit_child());
	want(waitpid(p, &status, 0) == p && !status);
	want(pwrite(f, "0", 1, 0) == 1);
	p = fork();
	if (!p)
		_exit(over_limit_child());
	want(waitpid(p, &status, 0) == p);
	want(pwrite(f, was, strlen(was), 0) > 0);
	want(!status);
	want(fails(pwrite(f, "-1", 2, 0), EINVAL));
	close(f);
}

CASE(files_without_a_disk)
{
	struct fiemap m = { .fm_length = ~0ULL };
	int f = open(PLACE "/file", O_RDWR | O_CREAT, 0600), block = 0;

	want(f >= 0 && write(f, "x", 1) == 1);
	want(fails(ioctl(f, FS_IOC_FIEMAP, &m), EOPNOTSUPP));
	want(fails(ioctl(f, FIBMAP, &block), EINVAL));
	close(f);
	unlink(PLACE "/file");
}

CASE(types_by_number)
{
	long n = syscall(SYS_sysfs, 3), tmpfs = syscall(SYS_sysfs, 1, "tmpfs");
	char name[64] = "", line[64];
	FILE *f = fopen("/proc/filesystems", "r");
	long lines = 0;

	want(tmpfs >= 0 && tmpfs < n && !syscall(SYS_sysfs, 2, tmpfs, name) && !strcmp(name, "tmpfs"));
	while (fgets(line, sizeof(line), f))
		lines++;
	fclose(f);
	want(lines == n);
	want(fails(syscall(SYS_sysfs, 1, "nothing"), EINVAL) && fails(syscall(SYS_sysfs, 2, n, name), EINVAL));
	want(fails(syscall(SYS_sysfs, 4), EINVAL) && fails(syscall(SYS_sysfs, 1, NULL), EFAULT));
	want(fails(syscall(SYS_sysfs, 2, tmpfs, NULL), EFAULT));
}

CASE(free_space_by_device)
{
	struct {
		int blocks;
		unsigned long inodes;
		char name[6], pack[6];
	} u;
	struct statfs fs;
	struct stat st;

	want(!stat(PLACE, &st) && !statfs(PLACE, &fs));
	want(!syscall(SYS_ustat, st.st_dev, &u) && u.inodes && u.inodes <= (unsigned long)fs.f_files);
	want(fails(syscall(SYS_ustat, st.st_dev, NULL), EFAULT) && fails(syscall(SYS_ustat, ~0U, &u), EINVAL));
}

int main(void)
{
	mkdir("/tmp", 0777);
	mkdir(BASE, 0700);
	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("base", BASE, "tmpfs", 0, NULL) || mkdir(PLACE, 0700)) {
		printf("not ok setting_up: errno %d\n", errno);
		return 1;
	}
	RUN(making);
	RUN(wrong_configuration);
	RUN(read_only_super);
	RUN(closing_drops_it);
	RUN(copies_of_trees);
	RUN(trees_without_copy);
	RUN(moving_attached_ones);
	RUN(attributes);
	RUN(attributes_of_a_tree);
	RUN(reconfiguration);
	RUN(without_rights);
	RUN(limits_of_namespaces);
	RUN(files_without_a_disk);
	RUN(types_by_number);
	RUN(free_space_by_device);
	return abi_status();
}
