/* SPDX-License-Identifier: MIT
 *
 * Problem: opening, closing and duplicating descriptors, their flags, and the calls on an open file that neither read
 * nor write.
 *
 * Idea: each call checks its arguments, looks the descriptor up and uses one function of vfs.
 *
 * Contract: the manual page of each call (section 2).
 *
 * Locks: none of their own.
 */
#include <abi/syscalls.h>
#include <arch/user.h>
#include <core/log.h>
#include <fs/fs.h>
#include <lib/err.h>
#include <lib/printf.h>
#include <lib/string.h>
#include <linux/close_range.h>
#include <linux/fadvise.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <linux/memfd.h>
#include <linux/openat2.h>
#include <asm/ioctls.h>
#include <asm/sockios.h>
#include <process/async.h>
#include <task/task.h>
#include <vfs/cache.h>
#include <vfs/locks.h>
#include <vfs/names.h>
#include "file_priv.h"
#include <vfs/pipe.h>
#include <vfs/uapi.h>
#include <vfs/vfs.h>
#include <vfs/writeback.h>

/* ---- open ---------------------------------------------------------------------------------------------------------
 */

#define OPEN_HOW_V0 24 /* bytes of the first struct open_how, openat2(2) */
#define OPEN_FLAGS                                                                                                     \
	(O_ACCMODE | O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_APPEND | O_NONBLOCK | O_DSYNC | O_SYNC | FASYNC |       \
	 O_DIRECT | O_LARGEFILE | O_DIRECTORY | O_NOFOLLOW | O_NOATIME | O_CLOEXEC | O_PATH | __O_TMPFILE)

static long open_common(int dirfd, const char __user *upath, unsigned flags, u16 mode, unsigned lookup)
{
	struct file *f;
	char *path;
	int fd, err;

	if (!(flags & (O_CREAT | __O_TMPFILE)))
		mode = 0;
	if (flags & __O_TMPFILE && !(flags & O_DIRECTORY))
		return -EINVAL;
	path = path_copy(upath, 0, &err);
	if (!path)
		return err;
	fd = fd_reserve(flags, 0);
	if (fd >= 0) {
		err = file_open_at(dirfd, path, flags, mode, lookup, &f);
		if (err) {
			fd_release(fd);
			fd = err;
		} else {
			fd_install(fd, f);
		}
	}
	path_free(path);
	return fd;
}

long sys_open(const char __user *path, int flags, u32 mode)
{
	return open_common(AT_FDCWD, path, (flags & OPEN_FLAGS) | O_LARGEFILE, mode & 07777, 0);
}

long sys_openat(int dirfd, const char __user *path, int flags, u32 mode)
{
	return open_common(dirfd, path, (flags & OPEN_FLAGS) | O_LARGEFILE, mode & 07777, 0);
}

long sys_creat(const char __user *path, u32 mode)
{
	return open_common(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC | O_LARGEFILE, mode & 07777, 0);
}

/* A structure of a later kernel is fine as long as what we do not know is zero. */
static int get_open_how(struct open_how *how, const void __user *u, size_t size)
{
	u8 rest[64];

	*how = (struct open_how){ 0 };
	if (size < OPEN_HOW_V0)
		return -EINVAL;
	if (size > PAGE_SIZE)
		return -E2BIG;
	if (user_get(how, u, min(size, sizeof(*how))))
		return -EFAULT;
	for (size_t at = sizeof(*how); at < size; at += sizeof(rest)) {
		size_t n = min(sizeof(rest), size - at);

		if (user_get(rest, (const char __user *)u + at, n))
			return -EFAULT;
		for (size_t i = 0; i < n; i++)
			if (rest[i])
				return -E2BIG;
	}
	return 0;
}

long sys_openat2(int dirfd, const char __user *path, void __user *uhow, size_t size)
{
	static const unsigned map[][2] = {
		{ RESOLVE_NO_XDEV, LOOKUP_NO_XDEV },         { RESOLVE_NO_MAGICLINKS, LOOKUP_NO_MAGICLINKS },
		{ RESOLVE_NO_SYMLINKS, LOOKUP_NO_SYMLINKS }, { RESOLVE_BENEATH, LOOKUP_BENEATH },
		{ RESOLVE_IN_ROOT, LOOKUP_IN_ROOT },
	};
	unsigned lookup = 0;
	struct open_how how;
	u64 resolve;
	int err = get_open_how(&how, uhow, size);

	if (err)
		return err;
	resolve = how.resolve;
	if (how.flags & ~(u64)OPEN_FLAGS)
		return -EINVAL;
	if (how.flags & (O_CREAT | __O_TMPFILE) ? how.mode & ~07777ULL : how.mode)
		return -EINVAL;
	for (unsigned i = 0; i < ARRAY_SIZE(map); i++) {
		if (resolve & map[i][0])
			lookup |= map[i][1];
		resolve &= ~(u64)map[i][0];
	}
	if (resolve & ~(u64)RESOLVE_CACHED || (lookup & LOOKUP_BENEATH && lookup & LOOKUP_IN_ROOT))
		return -EINVAL;
	if (resolve & RESOLVE_CACHED)
		return -EAGAIN; /* always allowed: we cannot promise not to sleep */
	return open_common(dirfd, path, how.flags | O_LARGEFILE, how.mode, lookup);
}

#define MFD_HUGE_MASK_BITS (63U << 26) /* the size of huge pages: memfd_create(2) */

long sys_memfd_create(const char __user *uname, u32 flags)
{
	char name[256] = "memfd:";
	struct file *f;
	ssize_t n;
	int err;

	if (flags & ~(MFD_CLOEXEC | MFD_ALLOW_SEALING))
		return flags & MFD_HUGETLB &&
				       !(flags & ~(MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_HUGETLB | MFD_HUGE_MASK_BITS))
			       ? -ENODEV
			       : -EINVAL;
	n = user_get_string(name + 6, uname, sizeof(name) - 6);
	if (n < 0 || n >= (ssize_t)sizeof(name) - 6)
		return n < 0 ? n : -EINVAL;
	err = memfd_file(name, O_LARGEFILE, &f);
	if (err)
		return err;
	if (flags & MFD_ALLOW_SEALING)
		f->inode->flags |= INODE_MAY_SEAL;
	return fd_publish(f, flags & MFD_CLOEXEC ? O_CLOEXEC : 0);
}

/* ---- close and dup --------------------------------------------------------------------------------------------------
 */

long sys_close(int fd)
{
	return fd_close(fd);
}

long sys_close_range(u32 first, u32 last, u32 flags)
{
	if (flags & ~(CLOSE_RANGE_UNSHARE | CLOSE_RANGE_CLOEXEC) || first > last)
		return -EINVAL;
	if (flags & CLOSE_RANGE_UNSHARE) {
		int err = files_unshare();

		if (err)
			return err;
	}
	if (!(flags & CLOSE_RANGE_CLOEXEC)) {
		fd_close_range(first, last, false);
		return 0;
	}
	for (int fd = first; (fd = fd_next_of_task(current, fd)) >= 0 && (u32)fd <= last; fd++)
		(void)fd_set_cloexec(fd, true);
	return 0;
}

/* The file behind fd, counted. */
static struct file *take_file(int fd)
{
	struct fd_ref r = fd_get_path(fd);

	if (r.file)
		file_get(r.file);
	fd_put(r);
	return r.file;
}

static long dup_from(int fd, unsigned flags, int lowest)
{
	struct file *f = take_file(fd);
	int new_fd;

	if (!f)
		return -EBADF;
	new_fd = fd_reserve(flags, lowest);
	if (new_fd < 0)
		file_put(f);
	else
		fd_install(new_fd, f);
	return new_fd;
}

long sys_dup(int fd)
{
	return dup_from(fd, 0, 0);
}

long sys_dup3(int oldfd, int newfd, int flags)
{
	struct file *f;

	if (flags & ~O_CLOEXEC || oldfd == newfd)
		return -EINVAL;
	f = take_file(oldfd);
	return f ? fd_replace(newfd, f, flags) : -EBADF;
}

long sys_dup2(int oldfd, int newfd)
{
	struct file *f = take_file(oldfd);

	if (!f)
		return -EBADF;
	if (oldfd != newfd)
		return fd_replace(newfd, f, 0);
	file_put(f);
	return newfd;
}

/* ---- position, size, space ------------------------------------------------------------------------------- */

long sys_lseek(int fd, s64 offset, int whence)
{
	struct fd_ref r = fd_get(fd);
	struct file *f = r.file;
	s64 pos;

	if (!f)
		return -EBADF;
	if (whence > SEEK_HOLE || whence < 0) {
		pos = -EINVAL;
	} else if (!(f->mode & FMODE_SEEK)) {
		pos = -ESPIPE;
	} else {
		mutex_lock(&f->pos_lock);
		pos = f->ops->llseek ? f->ops->llseek(f, offset, whence) : file_llseek(f, offset, whence);
		mutex_unlock(&f->pos_lock);
	}
	fd_put(r);
	return pos;
}

static int truncate_inode(struct inode *i, s64 length)
{
	if (S_ISDIR(i->mode))
		return -EISDIR;
	if (!S_ISREG(i->mode))
		return -EINVAL;
	return inode_set_size(i, length);
}

long sys_truncate(const char __user *path, s64 length)
{
	struct path p;
	int err;

	if (length < 0)
		return -EINVAL;
	err = path_lookup_user(AT_FDCWD, path, LOOKUP_FOLLOW, &p);
	if (err)
		return err;
	err = S_ISREG(p.dentry->inode->mode) ? path_writable(&p) : 0;
	if (!err)
		err = inode_permission(p.dentry->inode, MAY_WRITE);
	if (!err && atomic_read(&p.dentry->inode->write_count) < 0)
		err = -ETXTBSY;
	if (!err && S_ISREG(p.dentry->inode->mode))
		err = lease_break(p.dentry->inode, true, true);
	if (!err)
		err = truncate_inode(p.dentry->inode, length);
	path_put(&p);
	return err;
}

long sys_ftruncate(int fd, s64 length)
{
	struct fd_ref r = fd_get(fd);
	int err = -EINVAL;

	if (!r.file)
		return -EBADF;
	if (length >= 0 && r.file->mode & FMODE_WRITE && S_ISREG(r.file->inode->mode))
		err = truncate_inode(r.file->inode, length);
	fd_put(r);
	return err;
}

long sys_fallocate(int fd, int mode, s64 offset, s64 len)
{
	struct fd_ref r = fd_get(fd);
	struct file *f = r.file;
	long err = 0;

	if (!f)
		return -EBADF;
	if (offset < 0 || len <= 0)
		err = -EINVAL;
	else if (mode & FALLOC_FL_PUNCH_HOLE && !(mode & FALLOC_FL_KEEP_SIZE))
		err = -EOPNOTSUPP;
	else if (!(f->mode & FMODE_WRITE))
		err = -EBADF;
	else if (S_ISFIFO(f->inode->mode))
		err = -ESPIPE;
	else if (!S_ISREG(f->inode->mode) && !S_ISBLK(f->inode->mode))
		err = S_ISDIR(f->inode->mode) ? -EISDIR : -ENODEV;
	else if (READ_ONCE(f->inode->flags) & INODE_SWAP)
		err = -ETXTBSY;
	else if (S_ISREG(f->inode->mode) && offset > f->inode->super->max_bytes - len)
		err = -EFBIG;
	else if (S_ISREG(f->inode->mode) && !(mode & FALLOC_FL_KEEP_SIZE))
		err = inode_may_grow(f->inode, offset + len);
	if (!err)
		err = f->ops->fallocate ? f->ops->fallocate(f, mode, offset, len) : -EOPNOTSUPP;
	fd_put(r);
	return err;
}

/* ---- advice and sync ------------------------------------------------------------------------------------- */

#define READ_AHEAD_MOST (2UL << 20) /* bytes a call */

static void read_ahead(struct page_cache *c, s64 offset, size_t bytes)
{
	u64 first = (u64)offset / PAGE_SIZE;

	bytes = min(bytes, READ_AHEAD_MOST);
	if (bytes)
		cache_populate(c, first, ((u64)offset + bytes - 1) / PAGE_SIZE - first + 1);
}

/* Dirty pages start on their way; only those that are clean now leave. */
static void drop_range(struct page_cache *c, s64 offset, size_t len)
{
	u64 first = DIV_ROUND_UP((u64)offset, PAGE_SIZE);
	u64 end = len ? ((u64)offset + len) / PAGE_SIZE : ~0ULL >> PAGE_SHIFT;

	if (end <= first)
		return;
	if (c->wb && cache_write_range(c, first, end - 1, ~0ULL, 0) < 0)
		return;
	cache_drop_clean(c, first, end - 1);
}

long sys_fadvise64(int fd, s64 offset, size_t len, int advice)
{
	struct fd_ref r = fd_get(fd);
	struct page_cache *c = r.file ? file_page_cache(r.file) : NULL;
	long err = 0;

	if (!r.file)
		return -EBADF;
	if (S_ISFIFO(r.file->inode->mode))
		err = -ESPIPE;
	else if ((s64)len < 0 || advice < POSIX_FADV_NORMAL || advice > POSIX_FADV_NOREUSE)
		err = -EINVAL;
	else if (c && offset >= 0 && advice == POSIX_FADV_WILLNEED)
		read_ahead(c, offset, len ? len : READ_AHEAD_MOST);
	else if (c && offset >= 0 && advice == POSIX_FADV_DONTNEED)
		drop_range(c, offset, len);
	else if (c && advice <= POSIX_FADV_SEQUENTIAL)
		WRITE_ONCE(c->advice, (u8)advice); /* of the whole file, for all who read it */
	fd_put(r);
	return err;
}

long sys_readahead(int fd, s64 offset, size_t count)
{
	struct fd_ref r = fd_get(fd);
	long err = 0;

	if (!r.file || !(r.file->mode & FMODE_READ))
		err = -EBADF;
	else if (!S_ISREG(r.file->inode->mode) && !S_ISBLK(r.file->inode->mode))
		err = -EINVAL;
	else if (offset >= 0 && file_page_cache(r.file))
		read_ahead(file_page_cache(r.file), offset, count);
	fd_put(r);
	return err;
}

static long sync_file(int fd, bool data_only)
{
	struct fd_ref r = fd_get(fd);
	long err;

	if (!r.file)
		return -EBADF;
	err = r.file->ops->fsync ? r.file->ops->fsync(r.file, 0, INT64_MAX, data_only) : -EINVAL;
	fd_put(r);
	return err;
}

long sys_fsync(int fd)
{
	return sync_file(fd, false);
}

long sys_fdatasync(int fd)
{
	return sync_file(fd, true);
}

long sys_sync(void)
{
	super_sync_all(true);
	writeback_sync_all(true); /* disks as files */
	return 0;
}

long sys_syncfs(int fd)
{
	struct fd_ref r = fd_get(fd);
	struct super *s;
	long err;

	if (!r.file)
		return -EBADF;
	s = r.file->inode->super;
	err = s->ops && s->ops->sync ? s->ops->sync(s, true) : 0;
	fd_put(r);
	return err;
}

/* Pages only: neither the file's size nor the device's cache. */
static int sync_pages(struct file *f, struct page_cache *c, s64 offset, s64 nbytes, u32 flags)
{
	u64 first = (u64)offset / PAGE_SIZE,
	    last = nbytes ? (u64)(offset + nbytes - 1) / PAGE_SIZE : ~0ULL >> PAGE_SHIFT;
	s64 n = 0;

	if (flags & SYNC_FILE_RANGE_WAIT_BEFORE)
		cache_wait_range(c, first, last);
	if (flags & SYNC_FILE_RANGE_WRITE && flags & SYNC_FILE_RANGE_WAIT_AFTER)
		return cache_sync_for(c, f, first, last);
	if (flags & SYNC_FILE_RANGE_WRITE)
		n = cache_write_range(c, first, last, ~0ULL, 0);
	if (flags & SYNC_FILE_RANGE_WAIT_AFTER)
		cache_wait_range(c, first, last);
	return (int)min(n, (s64)0);
}

long sys_sync_file_range(int fd, s64 offset, s64 nbytes, u32 flags)
{
	struct fd_ref r = fd_get(fd);
	long err = 0;

	if (!r.file)
		return -EBADF;
	if (flags & ~(SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER) || offset < 0 ||
	    nbytes < 0 || offset + nbytes < offset)
		err = -EINVAL;
	else if (!S_ISREG(r.file->inode->mode) && !S_ISBLK(r.file->inode->mode) && !S_ISDIR(r.file->inode->mode))
		err = -ESPIPE;
	else if (file_page_cache(r.file) && file_page_cache(r.file)->wb)
		err = sync_pages(r.file, file_page_cache(r.file), offset, nbytes, flags);
	fd_put(r);
	return err;
}

/* ---- ioctl ----------------------------------------------------------------------------------------------- */

static long set_flag(struct file *f, unsigned flag, const void __user *uon)
{
	int on;

	if (user_get(&on, uon, sizeof(on)))
		return -EFAULT;
	f->flags = on ? f->flags | flag : f->flags & ~flag;
	return 0;
}

static long set_async(int fd, struct file *f, const void __user *uon)
{
	long err;
	int on;

	if (user_get(&on, uon, sizeof(on)))
		return -EFAULT;
	err = async_enable(f, fd, on);
	if (!err)
		f->flags = on ? f->flags | FASYNC : f->flags & ~FASYNC;
	return err;
}

static long socket_owner(struct file *f, u32 cmd, void __user *arg)
{
	int who;

	if (cmd == FIOSETOWN || cmd == SIOCSPGRP)
		return user_get(&who, arg, sizeof(who)) ? -EFAULT : async_set_who(f, who);
	who = async_who(f);
	return user_put(arg, &who, sizeof(who));
}

static long regular_ioctl(struct file *f, unsigned cmd, ulong arg)
{
	int v;

	if (cmd == FIGETBSZ)
		v = f->inode->super->block_size;
	else if (cmd == FIONREAD && S_ISREG(f->inode->mode))
		v = f->inode->size - f->pos;
	else
		return extents_ioctl(f, cmd, (void __user *)arg);
	return user_put((void __user *)arg, &v, sizeof(v));
}

/* The file's own come first; what a file system does not know is asked of all files alike. */
static long other_ioctl(struct file *f, unsigned cmd, ulong arg)
{
	u16 mode = f->inode->mode;
	long err = f->ops->ioctl ? f->ops->ioctl(f, cmd, arg) : -ENOTTY;

	if (err == -ENOTTY && (!f->ops->ioctl || S_ISREG(mode) || S_ISDIR(mode)))
		err = regular_ioctl(f, cmd, arg);
	return err;
}

long sys_ioctl(int fd, u32 cmd, ulong arg)
{
	struct fd_ref r = fd_get(fd);
	long err;

	if (!r.file)
		return -EBADF;
	switch (cmd) {
	case FIOCLEX:
	case FIONCLEX: err = fd_set_cloexec(fd, cmd == FIOCLEX); break;
	case FIONBIO: err = set_flag(r.file, O_NONBLOCK, (void __user *)arg); break;
	case FIOASYNC: err = set_async(fd, r.file, (void __user *)arg); break;
	case FIOSETOWN:
	case SIOCSPGRP:
	case FIOGETOWN:
	case SIOCGPGRP:
		if (S_ISSOCK(r.file->inode->mode)) {
			err = socket_owner(r.file, cmd, (void __user *)arg);
			break;
		}
		__attribute__((fallthrough));
	default: err = other_ioctl(r.file, cmd, arg);
	}
	fd_put(r);
	return err;
}
