/* SPDX-License-Identifier: MIT
 *
 * Boots the file layer inside a test: a task, memory, an empty root tmpfs.
 */
#ifndef TEST_VFS_BOOT_H
#define TEST_VFS_BOOT_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <arch/hosted.h>
#include <fs/fs.h>
#include <lib/err.h>
#include <lib/printf.h>
#include <lib/string.h>
#include <task/task.h>
#include <vfs/cache.h>
#include <vfs/mount.h>
#include <vfs/names.h>
#include <vfs/uapi.h>
#include <vfs/vfs.h>

static inline int vfs_boot(void **state)
{
	hosted_start(65536);
	vfs_init();
	tmpfs_init();
	return vfs_mount_root("tmpfs");
}

/* The calling thread becomes a task that shares parent's root and working folder. */
static inline void vfs_thread_begin(const char *name, struct task *parent)
{
	struct task *me = hosted_thread_begin(name);

	current_task = parent;
	assert_int_equal(fs_fork(me, true), 0);
	current_task = me;
}

static inline void vfs_thread_end(void)
{
	fs_exit(current);
	hosted_thread_end();
}

static inline int fd_open(const char *path, unsigned flags, u16 mode)
{
	struct file *f;
	int err = file_open_at(AT_FDCWD, path, flags, mode, 0, &f);

	return err ? err : fd_publish(f, flags);
}

/* Makes a file with these contents. */
static inline void put_file(const char *path, const char *text)
{
	struct file *f;

	assert_int_equal(file_open_kernel(path, O_WRONLY | O_CREAT | O_TRUNC, 0644, &f), 0);
	assert_int_equal(file_write_at(f, text, strlen(text), 0), strlen(text));
	file_put(f);
}

static inline void expect_file(const char *path, const char *text)
{
	struct file *f;
	char buf[512];
	ssize_t n;

	assert_int_equal(file_open_kernel(path, O_RDONLY, 0, &f), 0);
	n = file_read_at(f, buf, sizeof(buf) - 1, 0);
	assert_true(n >= 0);
	buf[n] = '\0';
	assert_string_equal(buf, text);
	file_put(f);
}

static inline int exists(const char *path)
{
	struct path p;
	int err = path_lookup(AT_FDCWD, path, 0, &p);

	if (!err)
		path_put(&p);
	return err;
}

#endif
