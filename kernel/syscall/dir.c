/* SPDX-License-Identifier: MIT
 *
 * Problem: the calls that change or list the tree of names come in pairs (plain and *at) and differ only in how the
 * path is given.
 *
 * Idea: copy the path, call the path_* function of vfs, free the copy. getdents packs entries into user memory through
 * an emit callback.
 *
 * Contract: the manual page of each call (section 2), getdents(2) for the record formats.
 *
 * Locks: the folder's lock for reading in getdents, the file's position lock around it; the copy to user memory goes
 * through a kernel buffer, since no fault may happen under an inode lock.
 */
#include <task/user_ns.h>
#include <abi/syscalls.h>
#include <alloc/slab.h>
#include <arch/user.h>
#include <lib/err.h>
#include <lib/string.h>
#include <linux/capability.h>
#include <linux/fs.h>
#include <task/task.h>
#include <vfs/mount.h>
#include <vfs/names.h>
#include <vfs/uapi.h>
#include <vfs/vfs.h>

#define current_fs ((struct fs_context *)current->fs)

/* ---- making and removing --------------------------------------------------------------------------------- */

static long mkdir_common(int dirfd, const char __user *upath, u32 mode)
{
	int err;
	char *path = path_copy(upath, 0, &err);

	if (path)
		err = path_mkdir(dirfd, path, mode & 07777);
	path_free(path);
	return err;
}

long sys_mkdir(const char __user *path, u32 mode)
{
	return mkdir_common(AT_FDCWD, path, mode);
}

long sys_mkdirat(int dirfd, const char __user *path, u32 mode)
{
	return mkdir_common(dirfd, path, mode);
}

long sys_mknodat(int dirfd, const char __user *upath, u32 mode, u32 dev)
{
	u32 kind = mode & S_IFMT;
	char *path;
	int err;

	if (kind == S_IFDIR)
		return -EPERM;
	if (kind && kind != S_IFREG && kind != S_IFCHR && kind != S_IFBLK && kind != S_IFIFO && kind != S_IFSOCK)
		return -EINVAL;
	path = path_copy(upath, 0, &err);
	if (path)
		err = path_mknod(dirfd, path, mode, dev);
	path_free(path);
	return err;
}

long sys_mknod(const char __user *path, u32 mode, u32 dev)
{
	return sys_mknodat(AT_FDCWD, path, mode, dev);
}

static long remove_common(int dirfd, const char __user *upath, bool is_dir)
{
	int err;
	char *path = path_copy(upath, 0, &err);

	if (path)
		err = is_dir ? path_rmdir(dirfd, path) : path_unlink(dirfd, path);
	path_free(path);
	return err;
}

long sys_rmdir(const char __user *path)
{
	return remove_common(AT_FDCWD, path, true);
}

long sys_unlink(const char __user *path)
{
	return remove_common(AT_FDCWD, path, false);
}

long sys_unlinkat(int dirfd, const char __user *path, int flags)
{
	if (flags & ~AT_REMOVEDIR)
		return -EINVAL;
	return remove_common(dirfd, path, flags & AT_REMOVEDIR);
}

long sys_symlinkat(const char __user *utarget, int dirfd, const char __user *upath)
{
	int err;
	char *target = path_copy(utarget, 0, &err), *path = NULL;

	if (target)
		path = path_copy(upath, 0, &err);
	if (path)
		err = path_symlink(target, dirfd, path);
	path_free(path);
	path_free(target);
	return err;
}

long sys_symlink(const char __user *target, const char __user *path)
{
	return sys_symlinkat(target, AT_FDCWD, path);
}

long sys_linkat(int olddir, const char __user *uold, int newdir, const char __user *unew, int flags)
{
	char *old, *new = NULL;
	int err;

	if (flags & ~(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH))
		return -EINVAL;
	old = path_copy(uold, flags & AT_EMPTY_PATH ? LOOKUP_EMPTY : 0, &err);
	if (old)
		new = path_copy(unew, 0, &err);
	if (new)
		err = path_link(olddir, old, newdir, new, flags);
	path_free(new);
	path_free(old);
	return err;
}

long sys_link(const char __user *old, const char __user *new)
{
	return sys_linkat(AT_FDCWD, old, AT_FDCWD, new, 0);
}

long sys_renameat2(int olddir, const char __user *uold, int newdir, const char __user *unew, u32 flags)
{
	char *old, *new = NULL;
	int err;

	if (flags & ~(RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT) ||
	    (flags & RENAME_EXCHANGE && flags & (RENAME_NOREPLACE | RENAME_WHITEOUT)))
		return -EINVAL;
	old = path_copy(uold, 0, &err);
	if (old)
		new = path_copy(unew, 0, &err);
	if (new)
		err = path_rename(olddir, old, newdir, new, flags);
	path_free(new);
	path_free(old);
	return err;
}

long sys_rename(const char __user *old, const char __user *new)
{
	return sys_renameat2(AT_FDCWD, old, AT_FDCWD, new, 0);
}

long sys_renameat(int olddir, const char __user *old, int newdir, const char __user *new)
{
	return sys_renameat2(olddir, old, newdir, new, 0);
}

/* ---- where we are ---------------------------------------------------------------------------------------- */

/* p (counted, taken over) becomes the root or working folder. */
static void set_fs(struct path *slot, const struct path *p)
{
	struct path old;

	spin_lock(&current_fs->lock);
	old = *slot;
	*slot = *p;
	spin_unlock(&current_fs->lock);
	path_put(&old);
}

static int enter(const struct path *p, struct path *slot)
{
	int err = S_ISDIR(p->dentry->inode->mode) ? inode_permission(p->dentry->inode, MAY_EXEC) : -ENOTDIR;

	if (err)
		path_put(p);
	else
		set_fs(slot, p);
	return err;
}

long sys_chdir(const char __user *path)
{
	struct path p;
	int err = path_lookup_user(AT_FDCWD, path, LOOKUP_FOLLOW | LOOKUP_DIRECTORY, &p);

	return err ? err : enter(&p, &current_fs->cwd);
}

long sys_fchdir(int fd)
{
	struct path p;
	int err = fd_ref_path(fd_get_path(fd), &p);

	return err ? err : enter(&p, &current_fs->cwd);
}

long sys_chroot(const char __user *path)
{
	struct path p;
	int err = path_lookup_user(AT_FDCWD, path, LOOKUP_FOLLOW | LOOKUP_DIRECTORY, &p);

	if (err)
		return err;
	err = inode_permission(p.dentry->inode, MAY_EXEC);
	if (!err && !capable_here(CAP_SYS_CHROOT))
		err = -EPERM;
	if (err) {
		path_put(&p);
		return err;
	}
	return enter(&p, &current_fs->root);
}

long sys_getcwd(char __user *ubuf, size_t size)
{
	char *buf = kmalloc(PAGE_SIZE, 0), *at;
	struct path root, cwd;
	long n;

	if (!buf)
		return -ENOMEM;
	spin_lock(&current_fs->lock);
	root = current_fs->root;
	cwd = current_fs->cwd;
	path_get(&root);
	path_get(&cwd);
	spin_unlock(&current_fs->lock);
	n = path_string(&cwd, &root, buf + 16, PAGE_SIZE - 16, &at);
	if (n == 1) { /* outside the root: as Linux marks it */
		at -= 13;
		memcpy(at, "(unreachable)", 13);
	}
	if (n >= 0 && !(cwd.dentry->flags & DENTRY_HASHED) && cwd.dentry->parent != cwd.dentry)
		n = -ENOENT;
	if (n >= 0) {
		n = buf + PAGE_SIZE - at;
		n = (size_t)n > size ? -ERANGE : user_put(ubuf, at, n) ? -EFAULT : n;
	}
	path_put(&cwd);
	path_put(&root);
	kfree(buf);
	return n;
}

long sys_umask(int mask)
{
	u16 old = current_fs->umask;

	current_fs->umask = mask & 0777;
	return old;
}

/* ---- listing --------------------------------------------------------------------------------------------- */

struct dirent_new { /* linux_dirent64 */
	u64 ino;
	s64 off;
	u16 reclen;
	u8 type;
	char name[];
} __packed;

struct dirent_old { /* linux_dirent: the type is in the last byte of the record */
	u64 ino;
	s64 off;
	u16 reclen;
	char name[];
} __packed;

struct packing {
	struct dir_emit d;
	u8 *buf;
	size_t size, used;
	bool old_format, too_small;
};

static bool pack(struct dir_emit *d, const char *name, unsigned len, s64 next_pos, u64 ino, unsigned type)
{
	struct packing *p = container_of(d, struct packing, d);
	size_t head = p->old_format ? sizeof(struct dirent_old) : sizeof(struct dirent_new);
	size_t bytes = ALIGN_UP(head + len + 1 + p->old_format, 8);
	u8 *at = p->buf + p->used;

	if (bytes > p->size - p->used) {
		p->too_small = !p->used;
		return false;
	}
	memset(at, 0, bytes);
	if (p->old_format) {
		*(struct dirent_old *)at = (struct dirent_old){ ino, next_pos, bytes };
		at[bytes - 1] = type;
	} else {
		*(struct dirent_new *)at = (struct dirent_new){ ino, next_pos, bytes, type };
	}
	memcpy(at + head, name, len);
	p->used += bytes;
	d->pos = next_pos;
	return true;
}

static long list(struct file *f, void __user *dirp, u32 count, bool old_format)
{
	struct packing p = { .d.emit = pack, .size = min(count, 32768U), .old_format = old_format };
	struct inode *dir = f->inode;
	long err;

	if (!f->ops->readdir)
		return -ENOTDIR;
	p.buf = kmalloc(max(p.size, 64UL), 0);
	if (!p.buf)
		return -ENOMEM;
	mutex_lock(&f->pos_lock);
	p.d.pos = f->pos;
	read_lock(&dir->lock);
	err = dir->nlink ? f->ops->readdir(f, &p.d) : -ENOENT;
	read_unlock(&dir->lock);
	if (!err && p.too_small)
		err = -EINVAL;
	if (!err && p.used && user_put(dirp, p.buf, p.used))
		err = -EFAULT;
	if (!err)
		f->pos = p.d.pos;
	mutex_unlock(&f->pos_lock);
	if (!err)
		path_accessed(&f->path);
	kfree(p.buf);
	return err ? err : (long)p.used;
}

static long getdents_common(int fd, void __user *dirp, u32 count, bool old_format)
{
	struct fd_ref r = fd_get(fd);
	long n;

	if (!r.file)
		return -EBADF;
	n = list(r.file, dirp, count, old_format);
	fd_put(r);
	return n;
}

long sys_getdents(int fd, void __user *dirp, u32 count)
{
	return getdents_common(fd, dirp, count, true);
}

long sys_getdents64(int fd, void __user *dirp, u32 count)
{
	return getdents_common(fd, dirp, count, false);
}
