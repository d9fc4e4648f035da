/* SPDX-License-Identifier: MIT
 *
 * Problem: handles of files cross to user space as bytes that only the kernel reads.
 *
 * Idea: one kind for all file systems: a number of 64 bits and a generation of 32.
 *
 * Contract: name_to_handle_at(2), open_by_handle_at(2); struct file_handle of linux/fs.h's callers (fcntl.h): a size, a
 * type, bytes.
 *
 * Locks: none.
 */
#include <abi/syscalls.h>
#include <arch/user.h>
#include <lib/err.h>
#include <lib/string.h>
#include <linux/capability.h>
#include <task/user_ns.h>
#include <vfs/names.h>
#include <vfs/uapi.h>
#include <vfs/vfs.h>

#define HANDLE_MOST  128
#define HANDLE_TYPE  0x81 /* number of 64 bits and generation, as some file systems of Linux have them */
#define HANDLE_BYTES 12

struct handle_head {
	u32 bytes;
	s32 type;
};
struct handle {
	struct handle_head head;
	u64 ino;
	u32 generation;
} __packed;

long sys_name_to_handle_at(int dirfd, const char __user *name, void __user *handle, int __user *mount_id, int flags)
{
	struct handle h = { .head = { HANDLE_BYTES, HANDLE_TYPE } };
	struct handle_head given;
	struct file_id id;
	struct path p;
	int err, mount;

	if (flags & ~(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH))
		return -EINVAL;
	err = path_lookup_user(
		dirfd, name,
		(flags & AT_SYMLINK_FOLLOW ? LOOKUP_FOLLOW : 0) | (flags & AT_EMPTY_PATH ? LOOKUP_EMPTY : 0), &p);
	if (err)
		return err;
	err = file_id_of(p.dentry->inode, &id);
	mount = p.mnt->id;
	path_put(&p);
	if (err)
		return err;
	if (user_get(&given, handle, sizeof(given)))
		return -EFAULT;
	if (given.bytes > HANDLE_MOST)
		return -EINVAL;
	h.ino = id.ino;
	h.generation = id.generation;
	err = given.bytes < HANDLE_BYTES ? -EOVERFLOW : 0;
	if (user_put(mount_id, &mount, sizeof(mount)) || user_put(handle, &h, err ? sizeof(u32) : sizeof(h)))
		return -EFAULT;
	return err;
}

long sys_open_by_handle_at(int mount_fd, void __user *handle, int flags)
{
	struct handle h;
	struct file *f;
	struct path p;
	int err, fd;

	if (!capable(CAP_DAC_READ_SEARCH))
		return -EPERM;
	if (user_get(&h.head, handle, sizeof(h.head)))
		return -EFAULT;
	if (!h.head.bytes || h.head.bytes > HANDLE_MOST)
		return -EINVAL;
	err = path_lookup(mount_fd, "", LOOKUP_EMPTY, &p);
	if (err)
		return err;
	if (h.head.bytes != HANDLE_BYTES || h.head.type != HANDLE_TYPE)
		err = -ESTALE;
	else if (user_get(&h, handle, sizeof(h)))
		err = -EFAULT;
	fd = err ? err : fd_reserve(flags & O_CLOEXEC, 0);
	if (fd >= 0) {
		err = file_open_id(&p, &(struct file_id){ h.ino, h.generation },
				   (flags & ~(O_CREAT | O_EXCL | __O_TMPFILE)) | O_LARGEFILE, &f);
		if (err)
			fd_release(fd);
		else
			fd_install(fd, f);
	}
	path_put(&p);
	return err ? err : fd;
}
