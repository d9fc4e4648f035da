/* SPDX-License-Identifier: MIT
 *
 * Problem: swapon and swapoff name an area by a path.
 *
 * Idea: open it as who may use all of it, and hand the file to mm, where parts that know its kind take it.
 *
 * Contract: swapon(2): EPERM without CAP_SYS_ADMIN, EINVAL for what is no area.
 *
 * Locks: none.
 */
#include <abi/syscalls.h>
#include <lib/err.h>
#include <lib/printf.h>
#include <lib/string.h>
#include <linux/capability.h>
#include <mm/swap.h>
#include <task/cred.h>
#include <task/user_ns.h>
#include <vfs/names.h>
#include <vfs/uapi.h>
#include <vfs/vfs.h>

static int open_area(const char __user *path, struct file **out)
{
	struct path at;
	int err;

	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	err = path_lookup_user(AT_FDCWD, path, LOOKUP_FOLLOW, &at);
	if (err)
		return err;
	if (!S_ISBLK(at.dentry->inode->mode) && !S_ISREG(at.dentry->inode->mode))
		err = -EINVAL;
	else
		err = file_open_path(&at, S_ISREG(at.dentry->inode->mode) ? O_RDONLY : O_RDWR, out);
	path_put(&at);
	return err;
}

long sys_swapon(const char __user *path, int flags)
{
	char room[256];
	struct strbuf name;
	struct file *f;
	int err;

	if (flags & ~SWAP_FLAGS_VALID)
		return -EINVAL;
	err = open_area(path, &f);
	if (err)
		return err;
	strbuf_init(&name, room, sizeof(room));
	file_describe(f, &name);
	err = swap_on(f, room, (unsigned)flags);
	file_put(f);
	return err;
}

long sys_swapoff(const char __user *path)
{
	struct file *f;
	int err = open_area(path, &f);

	if (err)
		return err;
	err = swap_off(f);
	file_put(f);
	return err;
}
