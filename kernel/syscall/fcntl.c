/* SPDX-License-Identifier: MIT
 *
 * Problem: fcntl is a dozen calls in one: duplicating, flags, locks, owners for signals, pipe sizes, seals.
 *
 * Idea: a switch over small functions; the locks and seals have theirs in vfs.
 *
 * Contract: fcntl(2), flock(2), memfd_create(2) for seals.
 *
 * Locks: the inode's lock while seals change.
 */
#include <abi/syscalls.h>
#include <arch/user.h>
#include <lib/err.h>
#include <lib/string.h>
#include <linux/capability.h>
#include <linux/fs.h>
#include <linux/inotify.h>
#include <process/async.h>
#include <process/process.h>
#include <vfs/cache.h>
#include <vfs/inotify.h>
#include <vfs/locks.h>
#include <vfs/pipe.h>
#include <vfs/uapi.h>
#include <vfs/vfs.h>

/* ---- locks ------------------------------------------------------------------------------------------------------- */

static int range_of(struct file *f, const struct flock *u, struct file_lock *l)
{
	s64 base = u->l_whence == SEEK_SET ? 0 : u->l_whence == SEEK_CUR ? f->pos : f->inode->size;

	if (u->l_whence < 0 || u->l_whence > SEEK_END)
		return -EINVAL;
	if (__builtin_add_overflow(base, (s64)u->l_start, &l->start))
		return -EOVERFLOW;
	l->end = INT64_MAX;
	if (u->l_len > 0 && __builtin_add_overflow(l->start, (s64)u->l_len - 1, &l->end))
		return -EOVERFLOW;
	if (u->l_len < 0) {
		l->end = l->start - 1;
		l->start += u->l_len;
	}
	return l->start < 0 ? -EINVAL : 0;
}

static long get_lock(struct file *f, void __user *arg, struct flock *u, struct file_lock *l)
{
	if (u->l_type == F_UNLCK)
		return -EINVAL;
	if (!lock_test(f, l)) {
		u->l_type = F_UNLCK;
		return user_put(arg, u, sizeof(*u));
	}
	u->l_type = l->exclusive ? F_WRLCK : F_RDLCK;
	u->l_whence = SEEK_SET;
	u->l_start = l->start;
	u->l_len = l->end == INT64_MAX ? 0 : l->end - l->start + 1;
	u->l_pid = l->kind == LOCK_OFD ? -1 : l->pid;
	return user_put(arg, u, sizeof(*u));
}

static long record_lock(struct file *f, unsigned cmd, void __user *arg)
{
	bool ofd = cmd == F_OFD_GETLK || cmd == F_OFD_SETLK || cmd == F_OFD_SETLKW;
	bool wait = cmd == F_SETLKW || cmd == F_OFD_SETLKW;
	struct file_lock l = { .kind = ofd ? LOCK_OFD : LOCK_POSIX,
			       .owner = ofd ? (void *)f : current->files,
			       .pid = pid_nr(current->process->pid) };
	struct flock u;
	int err;

	if (user_get(&u, arg, sizeof(u)))
		return -EFAULT;
	if (u.l_type != F_RDLCK && u.l_type != F_WRLCK && u.l_type != F_UNLCK)
		return -EINVAL;
	if (ofd && u.l_pid)
		return -EINVAL;
	err = range_of(f, &u, &l);
	if (err)
		return err;
	l.exclusive = u.l_type == F_WRLCK;
	if (cmd == F_GETLK || cmd == F_OFD_GETLK)
		return get_lock(f, arg, &u, &l);
	if ((u.l_type == F_RDLCK && !(f->mode & FMODE_READ)) || (u.l_type == F_WRLCK && !(f->mode & FMODE_WRITE)))
		return -EBADF;
	return lock_set(f, &l, u.l_type == F_UNLCK, wait);
}

long sys_flock(int fd, u32 operation)
{
	struct fd_ref r = fd_get(fd);
	u32 op = operation & ~LOCK_NB;
	struct file_lock l = { .kind = LOCK_FLOCK, .exclusive = op == LOCK_EX, .end = INT64_MAX, .owner = r.file };
	long err = -EINVAL;

	if (!r.file)
		return -EBADF;
	l.pid = pid_nr(current->process->pid);
	if (op == LOCK_SH || op == LOCK_EX || op == LOCK_UN)
		err = lock_set(r.file, &l, op == LOCK_UN, !(operation & LOCK_NB));
	fd_put(r);
	return err;
}

/* ---- owners of SIGIO ------------------------------------------------------------------------------------- */

static long set_owner_ex(struct file *f, const void __user *arg)
{
	struct f_owner_ex o;

	if (user_get(&o, arg, sizeof(o)))
		return -EFAULT;
	if (o.type < F_OWNER_TID || o.type > F_OWNER_PGRP)
		return -EINVAL;
	return async_set_owner(f, o.type, o.pid);
}

static long get_owner_ex(struct file *f, void __user *arg)
{
	struct f_owner_ex o;

	async_owner(f, &o.type, &o.pid);
	return user_put(arg, &o, sizeof(o));
}

/* The caller is who hears of it, unless the file has an owner. */
static int own(int fd, struct file *f)
{
	int err = async_who(f) ? 0 : async_set_who(f, pid_nr(current->process->pid));

	if (!err)
		async_set_fd(f, fd);
	return err;
}

static long set_lease(int fd, struct file *f, ulong type)
{
	int err;

	if (type != F_RDLCK && type != F_WRLCK && type != F_UNLCK)
		return -EINVAL;
	if (!uid_eq(f->inode->uid, current->cred->fsuid) && !capable(CAP_LEASE))
		return -EACCES;
	if (!S_ISREG(f->inode->mode))
		return -EINVAL;
	err = type == F_UNLCK ? 0 : own(fd, f);
	return err ? err : lease_set(f, (int)type);
}

static long notify_of_folder(int fd, struct file *f, unsigned arg)
{
	static const struct {
		unsigned dn;
		u32 in;
	} bits[] = { { DN_ACCESS, IN_ACCESS },
		     { DN_MODIFY, IN_MODIFY },
		     { DN_CREATE, IN_CREATE | IN_MOVED_TO },
		     { DN_DELETE, IN_DELETE | IN_MOVED_FROM },
		     { DN_RENAME, IN_RENAMED_WITHIN },
		     { DN_ATTRIB, IN_ATTRIB } };
	u32 mask = 0;
	long err;

	if (!(arg & ~DN_MULTISHOT))
		return f->async ? dnotify_set(f, 0) : 0;
	if (!S_ISDIR(f->inode->mode))
		return -ENOTDIR;
	for (unsigned i = 0; i < ARRAY_SIZE(bits); i++)
		mask |= arg & bits[i].dn ? bits[i].in : 0;
	err = own(fd, f);
	return err ? err : dnotify_set(f, mask | (arg & DN_MULTISHOT ? 0 : IN_ONESHOT));
}

/* ---- seals ----------------------------------------------------------------------------------------------- */

#define ALL_SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)

static bool is_memfd(const struct file *f)
{
	return f->inode->cache && f->path.mnt && !f->path.mnt->ns && S_ISREG(f->inode->mode);
}

static long get_seals(struct file *f)
{
	if (!is_memfd(f))
		return -EINVAL;
	return INODE_SEALS(f->inode->flags) | (f->inode->flags & INODE_MAY_SEAL ? 0 : F_SEAL_SEAL);
}

static long add_seals(struct file *f, ulong seals)
{
	struct inode *i = f->inode;
	long err = 0;

	if (!(f->mode & FMODE_WRITE))
		return -EPERM;
	if (!is_memfd(f) || seals & ~(ulong)ALL_SEALS)
		return -EINVAL;
	write_lock(&i->lock);
	if (get_seals(f) & F_SEAL_SEAL)
		err = -EPERM;
	else if (seals & F_SEAL_WRITE && atomic_read(&i->cache->map.writable) > 0)
		err = -EBUSY;
	else
		i->flags |= (u32)seals << 16;
	write_unlock(&i->lock);
	return err;
}

/* ---- the call -------------------------------------------------------------------------------------------- */

static long set_status(int fd, struct file *f, unsigned arg)
{
	const unsigned changeable = O_APPEND | O_NONBLOCK | O_DIRECT | O_NOATIME | FASYNC;
	int err;

	if (arg & O_NOATIME && !(f->flags & O_NOATIME) && !uid_eq(f->inode->uid, current->cred->fsuid) &&
	    !capable(CAP_FOWNER))
		return -EPERM;
	err = f->ops->set_flags ? f->ops->set_flags(f, arg) : 0;
	if (!err && (arg ^ f->flags) & FASYNC)
		err = async_enable(f, fd, arg & FASYNC);
	if (!err)
		f->flags = (f->flags & ~changeable) | (arg & changeable);
	return err;
}

static long dup_lowest(struct file *f, unsigned flags, ulong lowest)
{
	int fd = lowest > INT32_MAX ? -EINVAL : fd_reserve(flags, lowest);

	if (fd == -EMFILE && lowest >= process_rlimit(RLIMIT_NOFILE))
		return -EINVAL;
	if (fd >= 0) {
		file_get(f);
		fd_install(fd, f);
	}
	return fd;
}

static long pipe_bytes(struct file *f, bool set, ulong arg)
{
	struct pipe *p = pipe_of(f);

	if (!p)
		return -EBADF;
	if (!set)
		return pipe_size(p);
	return arg > 1UL << 31 ? -EINVAL : pipe_set_size(p, arg);
}

/* What O_PATH descriptors allow as well. */
static long on_descriptor(int fd, struct file *f, u32 cmd, ulong arg)
{
	switch (cmd) {
	case F_DUPFD: return dup_lowest(f, 0, arg);
	case F_DUPFD_CLOEXEC: return dup_lowest(f, O_CLOEXEC, arg);
	case F_GETFD: return fd_get_cloexec(fd);
	case F_SETFD: return fd_set_cloexec(fd, arg & FD_CLOEXEC);
	case F_GETFL: return f->flags;
	default: return -ENOTTY;
	}
}

static long on_file(int fd, struct file *f, u32 cmd, ulong arg)
{
	switch (cmd) {
	case F_SETFL: return set_status(fd, f, arg);
	case F_GETLK:
	case F_SETLK:
	case F_SETLKW:
	case F_OFD_GETLK:
	case F_OFD_SETLK:
	case F_OFD_SETLKW: return record_lock(f, cmd, (void __user *)arg);
	case F_SETOWN: return async_set_who(f, arg);
	case F_GETOWN: return async_who(f);
	case F_SETOWN_EX: return set_owner_ex(f, (void __user *)arg);
	case F_GETOWN_EX: return get_owner_ex(f, (void __user *)arg);
	case F_SETSIG: return arg > 64 ? -EINVAL : async_set_signal(f, arg);
	case F_GETSIG: return async_signal(f);
	case F_NOTIFY: return notify_of_folder(fd, f, arg);
	case F_SETLEASE: return set_lease(fd, f, arg);
	case F_GETLEASE: return lease_get(f);
	case F_SETPIPE_SZ:
	case F_GETPIPE_SZ: return pipe_bytes(f, cmd == F_SETPIPE_SZ, arg);
	case F_ADD_SEALS: return add_seals(f, arg);
	case F_GET_SEALS: return get_seals(f);
	default: return -EINVAL;
	}
}

long sys_fcntl(int fd, u32 cmd, ulong arg)
{
	struct fd_ref r = fd_get_path(fd);
	long result;

	if (!r.file)
		return -EBADF;
	result = on_descriptor(fd, r.file, cmd, arg);
	if (result == -ENOTTY)
		result = r.file->mode & FMODE_PATH ? -EBADF : on_file(fd, r.file, cmd, arg);
	fd_put(r);
	return result;
}
