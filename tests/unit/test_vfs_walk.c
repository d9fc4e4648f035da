/* SPDX-License-Identifier: MIT
 *
 * Problem: path look-up has two gears, symlinks, mounts and restrictions; a wrong corner opens the wrong file.
 *
 * Idea: small trees in a real tmpfs, each rule once, with the errno of the manual page (path_resolution(7), openat2(2),
 * rename(2)).
 *
 * Contract: runs under ASan and UBSan on arch/hosted. Locks: none.
 */
#include "vfs_boot.h"
#include <linux/fs.h>
#include <linux/mount.h>

static void names(void **state)
{
	struct file *f;

	assert_int_equal(path_mkdir(AT_FDCWD, "/n", 0755), 0);
	assert_int_equal(path_mkdir(AT_FDCWD, "/n", 0755), -EEXIST);
	assert_int_equal(path_mkdir(AT_FDCWD, "/n/a/b", 0755), -ENOENT);
	assert_int_equal(path_mkdir(AT_FDCWD, "/n/a/", 0755), 0);
	put_file("/n/f", "hello");
	expect_file("/n/f", "hello");
	expect_file("//n//./a/../f", "hello");
	assert_int_equal(exists("/n/f/x"), -ENOTDIR);
	assert_int_equal(exists("/n/f/"), -ENOTDIR);
	assert_int_equal(exists("/n/g"), -ENOENT);
	assert_int_equal(exists(""), -ENOENT);
	assert_int_equal(exists("/../../n/f"), 0);
	assert_int_equal(file_open_kernel("/n", O_WRONLY, 0, &f), -EISDIR);
	assert_int_equal(file_open_kernel("/n/f", O_RDONLY | O_DIRECTORY, 0, &f), -ENOTDIR);
	assert_int_equal(file_open_kernel("/n/f", O_RDWR | O_CREAT | O_EXCL, 0, &f), -EEXIST);
	assert_int_equal(path_unlink(AT_FDCWD, "/n/a"), -EISDIR);
	assert_int_equal(path_rmdir(AT_FDCWD, "/n/f"), -ENOTDIR);
	assert_int_equal(path_rmdir(AT_FDCWD, "/n"), -ENOTEMPTY);
	assert_int_equal(path_rmdir(AT_FDCWD, "/n/a/."), -EINVAL);
	assert_int_equal(path_rmdir(AT_FDCWD, "/n/a/.."), -ENOTEMPTY);
	assert_int_equal(path_rmdir(AT_FDCWD, "/n/a"), 0);
	assert_int_equal(path_unlink(AT_FDCWD, "/n/f"), 0);
	assert_int_equal(path_unlink(AT_FDCWD, "/n/f"), -ENOENT);
	assert_int_equal(path_rmdir(AT_FDCWD, "/n"), 0);
}

static void long_names(void **state)
{
	char path[300];

	memset(path, 'x', sizeof(path));
	path[0] = '/';
	path[256] = '\0';
	put_file(path, "255 bytes");
	expect_file(path, "255 bytes");
	path[256] = 'x';
	path[257] = '\0';
	assert_int_equal(exists(path), -ENAMETOOLONG);
	path[256] = '\0';
	assert_int_equal(path_unlink(AT_FDCWD, path), 0);
}

static void symlinks(void **state)
{
	char buf[64];
	struct path p;
	struct file *f;

	assert_int_equal(path_mkdir(AT_FDCWD, "/s", 0755), 0);
	assert_int_equal(path_mkdir(AT_FDCWD, "/s/d", 0755), 0);
	put_file("/s/d/f", "through");
	assert_int_equal(path_symlink("d", AT_FDCWD, "/s/rel"), 0);
	assert_int_equal(path_symlink("/s/d/f", AT_FDCWD, "/s/abs"), 0);
	assert_int_equal(path_symlink("loop2", AT_FDCWD, "/s/loop1"), 0);
	assert_int_equal(path_symlink("loop1", AT_FDCWD, "/s/loop2"), 0);
	assert_int_equal(path_symlink("nowhere", AT_FDCWD, "/s/dangling"), 0);
	expect_file("/s/rel/f", "through");
	expect_file("/s/rel/../abs", "through");
	assert_int_equal(file_open_kernel("/s/loop1", O_RDONLY, 0, &f), -ELOOP);
	assert_int_equal(file_open_kernel("/s/abs", O_RDONLY | O_NOFOLLOW, 0, &f), -ELOOP);
	assert_int_equal(file_open_kernel("/s/dangling", O_WRONLY | O_CREAT | O_EXCL, 0644, &f), -EEXIST);
	put_file("/s/dangling", "created"); /* O_CREAT follows */
	expect_file("/s/nowhere", "created");
	assert_int_equal(path_lookup(AT_FDCWD, "/s/rel", 0, &p), 0);
	assert_int_equal(inode_read_link(p.dentry->inode, buf, sizeof(buf)), 1);
	assert_string_equal(buf, "d");
	path_put(&p);
	assert_int_equal(path_rename(AT_FDCWD, "/s/rel", AT_FDCWD, "/s/rel2", 0), 0);
	expect_file("/s/rel2/f", "through");
}

static void restrictions(void **state)
{
	struct path p;
	int fd;

	assert_int_equal(path_mkdir(AT_FDCWD, "/r", 0755), 0);
	assert_int_equal(path_mkdir(AT_FDCWD, "/r/in", 0755), 0);
	put_file("/r/in/f", "inside");
	put_file("/r/out", "outside");
	assert_int_equal(path_symlink("/f", AT_FDCWD, "/r/in/abs"), 0);
	assert_int_equal(path_symlink("../out", AT_FDCWD, "/r/in/up"), 0);
	fd = fd_open("/r/in", O_RDONLY | O_DIRECTORY, 0);
	assert_true(fd >= 0);
	assert_int_equal(path_lookup(fd, "f", LOOKUP_BENEATH, &p), 0);
	path_put(&p);
	assert_int_equal(path_lookup(fd, "../out", LOOKUP_BENEATH, &p), -EXDEV);
	assert_int_equal(path_lookup(fd, "up", LOOKUP_BENEATH | LOOKUP_FOLLOW, &p), -EXDEV);
	assert_int_equal(path_lookup(fd, "abs", LOOKUP_BENEATH | LOOKUP_FOLLOW, &p), -EXDEV);
	assert_int_equal(path_lookup(fd, "/f", LOOKUP_BENEATH, &p), -EXDEV);
	assert_int_equal(path_lookup(fd, "abs", LOOKUP_IN_ROOT | LOOKUP_FOLLOW, &p), 0);
	path_put(&p);
	assert_int_equal(path_lookup(fd, "../../f", LOOKUP_IN_ROOT, &p), 0);
	path_put(&p);
	assert_int_equal(path_lookup(fd, "up", LOOKUP_NO_SYMLINKS | LOOKUP_FOLLOW, &p), -ELOOP);
	assert_int_equal(fd_close(fd), 0);
	assert_int_equal(path_lookup(fd, "f", 0, &p), -EBADF);
}

static void renames(void **state)
{
	assert_int_equal(path_mkdir(AT_FDCWD, "/m", 0755), 0);
	assert_int_equal(path_mkdir(AT_FDCWD, "/m/a", 0755), 0);
	assert_int_equal(path_mkdir(AT_FDCWD, "/m/a/b", 0755), 0);
	assert_int_equal(path_mkdir(AT_FDCWD, "/m/c", 0755), 0);
	put_file("/m/a/x", "x");
	put_file("/m/y", "y");
	assert_int_equal(path_rename(AT_FDCWD, "/m/a", AT_FDCWD, "/m/a/b/z", 0), -EINVAL);
	assert_int_equal(path_rename(AT_FDCWD, "/m/a/b", AT_FDCWD, "/m/a", 0), -ENOTEMPTY);
	assert_int_equal(path_rename(AT_FDCWD, "/m/y", AT_FDCWD, "/m/c", 0), -EISDIR);
	assert_int_equal(path_rename(AT_FDCWD, "/m/c", AT_FDCWD, "/m/y", 0), -ENOTDIR);
	assert_int_equal(path_rename(AT_FDCWD, "/m/y", AT_FDCWD, "/m/a/x", RENAME_NOREPLACE), -EEXIST);
	assert_int_equal(path_rename(AT_FDCWD, "/m/y", AT_FDCWD, "/m/a/x", RENAME_EXCHANGE), 0);
	expect_file("/m/y", "x");
	expect_file("/m/a/x", "y");
	assert_int_equal(path_rename(AT_FDCWD, "/m/a", AT_FDCWD, "/m/c", 0), 0); /* onto an empty folder */
	assert_int_equal(exists("/m/a"), -ENOENT);
	expect_file("/m/c/x", "y");
	assert_int_equal(path_rename(AT_FDCWD, "/m/c/b", AT_FDCWD, "/m/b", 0), 0);
	assert_int_equal(path_rename(AT_FDCWD, "/m/c/x", AT_FDCWD, "/m/y", 0), 0);
	expect_file("/m/y", "y");
	assert_int_equal(path_link(AT_FDCWD, "/m/y", AT_FDCWD, "/m/y2", 0), 0);
	assert_int_equal(path_rename(AT_FDCWD, "/m/y", AT_FDCWD, "/m/y2", 0), 0); /* same file: nothing happens */
	assert_int_equal(exists("/m/y"), 0);
	assert_int_equal(path_rmdir(AT_FDCWD, "/m/c"), 0);
}

static void mounts(void **state)
{
	struct path at, inner, from;
	char buf[256], *text;
	struct path root;

	assert_int_equal(path_mkdir(AT_FDCWD, "/mnt", 0755), 0);
	put_file("/mnt/below", "hidden");
	assert_int_equal(path_lookup(AT_FDCWD, "/mnt", LOOKUP_FOLLOW, &at), 0);
	assert_int_equal(mount_new("nosuch", "x", &at, 0, NULL), -ENODEV);
	assert_int_equal(mount_new("tmpfs", "x", &at, 0, "size=zz"), -EINVAL);
	assert_int_equal(mount_new("tmpfs", "x", &at, 0, "size=64k,mode=700"), 0);
	path_put(&at);
	assert_int_equal(exists("/mnt/below"), -ENOENT);
	put_file("/mnt/f", "on top");
	expect_file("/mnt/../mnt/f", "on top");
	assert_int_equal(path_rename(AT_FDCWD, "/mnt/f", AT_FDCWD, "/f", 0), -EXDEV);
	assert_int_equal(path_rmdir(AT_FDCWD, "/mnt"), -EBUSY);
	assert_int_equal(path_mkdir(AT_FDCWD, "/bind", 0755), 0);
	assert_int_equal(path_lookup(AT_FDCWD, "/mnt", 0, &from), 0);
	assert_int_equal(path_lookup(AT_FDCWD, "/bind", 0, &at), 0);
	assert_int_equal(mount_bind(&from, &at, true), 0);
	expect_file("/bind/f", "on top");
	path_put(&at);
	assert_int_equal(mount_umount(&from, 0), 0); /* the bind keeps the super alive */
	path_put(&from);
	expect_file("/bind/f", "on top");
	expect_file("/mnt/below", "hidden");
	assert_int_equal(path_lookup(AT_FDCWD, "/bind/f", 0, &inner), 0);
	root = ((struct fs_context *)current->fs)->root;
	assert_int_equal(path_string(&inner, &root, buf, sizeof(buf), &text), 0);
	assert_string_equal(text, "/bind/f");
	assert_int_equal(path_lookup(AT_FDCWD, "/bind", 0, &at), 0);
	assert_int_equal(mount_umount(&at, 0), -EBUSY);
	path_put(&inner);
	assert_int_equal(mount_umount(&at, 0), 0);
	path_put(&at);
	assert_int_equal(exists("/bind/f"), -ENOENT);
}

static void describe_deleted(void **state)
{
	struct path p, root = ((struct fs_context *)current->fs)->root;
	char buf[64], *text;

	put_file("/gone", "x");
	assert_int_equal(path_lookup(AT_FDCWD, "/gone", 0, &p), 0);
	assert_int_equal(path_unlink(AT_FDCWD, "/gone"), 0);
	assert_int_equal(path_string(&p, &root, buf, sizeof(buf), &text), 0);
	assert_string_equal(text, "/gone (deleted)");
	path_put(&p);
	assert_int_equal(path_string(&root, &root, buf, sizeof(buf), &text), 0);
	assert_string_equal(text, "/");
}

static void rights(void **state)
{
	struct cred *c = current->cred, other = *c;
	struct file *f;

	assert_int_equal(path_mkdir(AT_FDCWD, "/p", 0711), 0);
	put_file("/p/f", "x");
	assert_int_equal(path_mkdir(AT_FDCWD, "/p/closed", 0700), 0);
	put_file("/p/closed/f", "x");
	other.cap_effective = 0;
	other.fsuid = KUID(1000);
	other.fsgid = KGID(1000);
	current->cred = &other;
	assert_int_equal(file_open_kernel("/p/f", O_RDONLY, 0, &f), 0);
	file_put(f);
	assert_int_equal(file_open_kernel("/p/f", O_WRONLY, 0, &f), -EACCES);
	assert_int_equal(exists("/p/closed/f"), -EACCES);
	assert_int_equal(path_mkdir(AT_FDCWD, "/p/new", 0755), -EACCES);
	assert_int_equal(path_mknod(AT_FDCWD, "/p/dev", S_IFCHR | 0600, 0), -EACCES);
	current->cred = c;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names),   cmocka_unit_test(long_names),       cmocka_unit_test(symlinks),
		cmocka_unit_test(renames), cmocka_unit_test(restrictions),     cmocka_unit_test(mounts),
		cmocka_unit_test(rights),  cmocka_unit_test(describe_deleted),
	};
	return cmocka_run_group_tests(tests, vfs_boot, NULL);
}
