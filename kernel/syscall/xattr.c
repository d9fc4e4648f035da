/* SPDX-License-Identifier: MIT
 *
 * Problem: twelve calls read, write, list and remove extended attributes, by path, by link and by descriptor.
 *
 * Idea: get the path, check the class's rights, hold the inode's lock, call the file system's op with kernel buffers.
 *
 * Contract: xattr(7) for the classes' rights, getxattr(2), setxattr(2), listxattr(2), removexattr(2).
 *
 * Locks: the inode's lock, for reading in get and list, for writing in set and remove.
 */
#include <abi/syscalls.h>
#include <alloc/slab.h>
#include <arch/user.h>
#include <lib/err.h>
#include <lib/string.h>
#include <linux/capability.h>
#include <linux/inotify.h>
#include <linux/limits.h>
#include <linux/xattr.h>
#include <task/task.h>
#include <vfs/names.h>
#include <vfs/uapi.h>
#include <vfs/vfs.h>

struct name_buf {
	char text[XATTR_NAME_MAX + 1];
};

static int get_name(struct name_buf *n, const char __user *u)
{
	ssize_t len = user_get_string(n->text, u, sizeof(n->text));

	if (len < 0)
		return len;
	return !len || len == sizeof(n->text) ? -ERANGE : 0;
}

static int may_use(const struct path *p, const char *name, bool write)
{
	struct inode *i = p->dentry->inode;

	if (write && path_writable(p))
		return -EROFS;
	if (str_starts(name, XATTR_TRUSTED_PREFIX))
		return capable(CAP_SYS_ADMIN) ? 0 : write ? -EPERM : -ENODATA;
	if (!strcmp(name, XATTR_NAME_CAPS))
		return !write || capable(CAP_SETFCAP) ? 0 : -EPERM;
	if (str_starts(name, XATTR_SECURITY_PREFIX))
		return !write || capable(CAP_SYS_ADMIN) ? 0 : -EPERM;
	if (str_starts(name, XATTR_USER_PREFIX) && !S_ISREG(i->mode) && !S_ISDIR(i->mode))
		return write ? -EPERM : -ENODATA;
	return inode_permission(i, write ? MAY_WRITE : MAY_READ);
}

static int by_path(const char __user *upath, bool follow, struct path *p)
{
	return path_lookup_user(AT_FDCWD, upath, follow ? LOOKUP_FOLLOW : 0, p);
}

/* ---- set and remove -------------------------------------------------------------------------------------- */

static long change(const struct path *p, const char *name, const void *value, size_t size, int flags)
{
	struct inode *i = p->dentry->inode;
	long err = may_use(p, name, true);

	if (!err && !(i->ops && i->ops->setxattr))
		err = -EOPNOTSUPP;
	if (err)
		return err;
	write_lock(&i->lock);
	err = i->ops->setxattr(i, name, value, size, flags);
	if (!err)
		inode_touch(i, ATTR_CTIME);
	write_unlock(&i->lock);
	if (!err)
		dentry_notify(p->dentry, IN_ATTRIB);
	return err;
}

static long set(int err, struct path *p, const char __user *uname, const void __user *uvalue, size_t size, int flags)
{
	struct name_buf name;
	char *value;

	if (err)
		return err;
	err = flags & ~(XATTR_CREATE | XATTR_REPLACE) ? -EINVAL : get_name(&name, uname);
	if (!err && size > XATTR_SIZE_MAX)
		err = -E2BIG;
	value = err ? NULL : kmalloc(max(size, 1UL), 0);
	if (!err && !value)
		err = -ENOMEM;
	if (!err && user_get(value, uvalue, size))
		err = -EFAULT;
	if (!err)
		err = change(p, name.text, value, size, flags);
	kfree(value);
	path_put(p);
	return err;
}

static long remove(int err, struct path *p, const char __user *uname)
{
	struct name_buf name;

	if (err)
		return err;
	err = get_name(&name, uname);
	if (!err)
		err = change(p, name.text, NULL, 0, 0);
	path_put(p);
	return err;
}

/* ---- get and list ---------------------------------------------------------------------------------------- */

/* name NULL: list. */
static long fetch(const struct path *p, const char *name, char *buf, size_t size)
{
	struct inode *i = p->dentry->inode;
	long n = name ? may_use(p, name, false) : 0;

	if (n)
		return n;
	if (!i->ops || !(name ? (void *)i->ops->getxattr : (void *)i->ops->listxattr))
		return name ? -EOPNOTSUPP : 0;
	read_lock(&i->lock);
	n = name ? i->ops->getxattr(i, name, buf, size) : i->ops->listxattr(i, buf, size);
	read_unlock(&i->lock);
	return n;
}

static long get(int err, struct path *p, const char __user *uname, void __user *uvalue, size_t size)
{
	struct name_buf name;
	char *buf = NULL;
	long n = 0;

	if (err)
		return err;
	if (uname)
		n = get_name(&name, uname);
	size = min(size, (size_t)XATTR_SIZE_MAX);
	if (!n && size && !(buf = kmalloc(size, 0)))
		n = -ENOMEM;
	if (!n)
		n = fetch(p, uname ? name.text : NULL, buf, size);
	if (n > 0 && size && user_put(uvalue, buf, n))
		n = -EFAULT;
	kfree(buf);
	path_put(p);
	return n;
}

/* ---- the calls ------------------------------------------------------------------------------------------- */

long sys_setxattr(const char __user *path, const char __user *name, const void __user *value, size_t size, int flags)
{
	struct path p;

	return set(by_path(path, true, &p), &p, name, value, size, flags);
}

long sys_lsetxattr(const char __user *path, const char __user *name, const void __user *value, size_t size, int flags)
{
	struct path p;

	return set(by_path(path, false, &p), &p, name, value, size, flags);
}

long sys_fsetxattr(int fd, const char __user *name, const void __user *value, size_t size, int flags)
{
	struct path p;

	return set(fd_ref_path(fd_get(fd), &p), &p, name, value, size, flags);
}

static long get_named(int err, struct path *p, const char __user *name, void __user *value, size_t size)
{
	if (!err && !name) {
		path_put(p);
		return -EFAULT;
	}
	return get(err, p, name, value, size);
}

long sys_getxattr(const char __user *path, const char __user *name, void __user *value, size_t size)
{
	struct path p;

	return get_named(by_path(path, true, &p), &p, name, value, size);
}

long sys_lgetxattr(const char __user *path, const char __user *name, void __user *value, size_t size)
{
	struct path p;

	return get_named(by_path(path, false, &p), &p, name, value, size);
}

long sys_fgetxattr(int fd, const char __user *name, void __user *value, size_t size)
{
	struct path p;

	return get_named(fd_ref_path(fd_get(fd), &p), &p, name, value, size);
}

long sys_listxattr(const char __user *path, char __user *list, size_t size)
{
	struct path p;

	return get(by_path(path, true, &p), &p, NULL, list, size);
}

long sys_llistxattr(const char __user *path, char __user *list, size_t size)
{
	struct path p;

	return get(by_path(path, false, &p), &p, NULL, list, size);
}

long sys_flistxattr(int fd, char __user *list, size_t size)
{
	struct path p;

	return get(fd_ref_path(fd_get(fd), &p), &p, NULL, list, size);
}

long sys_removexattr(const char __user *path, const char __user *name)
{
	struct path p;

	return remove(by_path(path, true, &p), &p, name);
}

long sys_lremovexattr(const char __user *path, const char __user *name)
{
	struct path p;

	return remove(by_path(path, false, &p), &p, name);
}

long sys_fremovexattr(int fd, const char __user *name)
{
	struct path p;

	return remove(fd_ref_path(fd_get(fd), &p), &p, name);
}
