/* SPDX-License-Identifier: MIT
 *
 * Problem: what a file is (stat in five forms), and the calls that change owner, mode and times.
 *
 * Idea: every call becomes a path (by name or by descriptor) and then one function of vfs: path_stat, path_set_attr,
 * path_statfs, inode_permission.
 *
 * Contract: stat(2), statx(2), statfs(2), ustat(2), access(2), chmod(2), chown(2), utimensat(2), readlink(2).
 *
 * Locks: none of their own.
 */
#include <abi/syscalls.h>
#include <alloc/slab.h>
#include <arch/user.h>
#include <lib/err.h>
#include <lib/string.h>
#include <linux/capability.h>
#include <linux/fs.h>
#include <linux/mount.h>
#include <linux/time_types.h>
#include <asm/stat.h>
#include <asm/statfs.h>
#include <task/user_ns.h>
#include <vfs/device.h>
#include <vfs/names.h>
#include <vfs/uapi.h>
#include <vfs/vfs.h>

/* ---- path or descriptor ---------------------------------------------------------------------------------- */

/* flags: AT_SYMLINK_NOFOLLOW, AT_EMPTY_PATH. */
static int path_at(int dirfd, const char __user *upath, int flags, struct path *p)
{
	unsigned lookup =
		(flags & AT_SYMLINK_NOFOLLOW ? 0 : LOOKUP_FOLLOW) | (flags & AT_EMPTY_PATH ? LOOKUP_EMPTY : 0);

	return path_lookup_user(dirfd, upath, lookup, p);
}

/* ---- stat ------------------------------------------------------------------------------------------------ */

static long put_stat(const struct kstat *k, void __user *ubuf)
{
	struct stat st = {
		.st_dev = k->dev,
		.st_ino = k->ino,
		.st_nlink = k->nlink,
		.st_mode = k->mode,
		.st_uid = user_out(k->uid),
		.st_gid = group_out(k->gid),
		.st_rdev = k->rdev,
		.st_size = k->size,
		.st_blksize = k->block_size,
		.st_blocks = k->blocks,
		.st_atime = k->atime.sec,
		.st_atime_nsec = k->atime.nsec,
		.st_mtime = k->mtime.sec,
		.st_mtime_nsec = k->mtime.nsec,
		.st_ctime = k->ctime.sec,
		.st_ctime_nsec = k->ctime.nsec,
	};

	return user_put(ubuf, &st, sizeof(st));
}

long sys_newfstatat(int dirfd, const char __user *upath, void __user *ubuf, int flags)
{
	struct kstat k;
	struct path p;
	long err;

	if (flags & ~(AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH | AT_STATX_SYNC_TYPE))
		return -EINVAL;
	err = path_at(dirfd, upath, flags, &p);
	if (err)
		return err;
	err = path_stat(&p, &k);
	path_put(&p);
	return err ? err : put_stat(&k, ubuf);
}

long sys_stat(const char __user *path, void __user *statbuf)
{
	return sys_newfstatat(AT_FDCWD, path, statbuf, 0);
}

long sys_lstat(const char __user *path, void __user *statbuf)
{
	return sys_newfstatat(AT_FDCWD, path, statbuf, AT_SYMLINK_NOFOLLOW);
}

long sys_fstat(int fd, void __user *statbuf)
{
	struct fd_ref r = fd_get_path(fd);
	struct kstat k;
	long err;

	if (!r.file)
		return -EBADF;
	err = path_stat(&r.file->path, &k);
	fd_put(r);
	return err ? err : put_stat(&k, statbuf);
}

static struct statx_timestamp x_time(struct timestamp t)
{
	return (struct statx_timestamp){ .tv_sec = t.sec, .tv_nsec = t.nsec };
}

static long put_statx(const struct kstat *k, void __user *ubuf)
{
	struct statx x = {
		.stx_mask = STATX_BASIC_STATS | STATX_BTIME | STATX_MNT_ID,
		.stx_blksize = k->block_size,
		.stx_attributes = k->attributes,
		.stx_attributes_mask = STATX_ATTR_MOUNT_ROOT,
		.stx_nlink = k->nlink,
		.stx_uid = user_out(k->uid),
		.stx_gid = group_out(k->gid),
		.stx_mode = k->mode,
		.stx_ino = k->ino,
		.stx_size = k->size,
		.stx_blocks = k->blocks,
		.stx_atime = x_time(k->atime),
		.stx_btime = x_time(k->btime),
		.stx_ctime = x_time(k->ctime),
		.stx_mtime = x_time(k->mtime),
		.stx_rdev_major = DEV_MAJOR(k->rdev),
		.stx_rdev_minor = DEV_MINOR(k->rdev),
		.stx_dev_major = DEV_MAJOR(k->dev),
		.stx_dev_minor = DEV_MINOR(k->dev),
		.stx_mnt_id = k->mount_id,
	};

	return user_put(ubuf, &x, sizeof(x));
}

long sys_statx(int dirfd, const char __user *upath, u32 flags, u32 mask, void __user *ubuf)
{
	struct kstat k;
	struct path p;
	long err;

	if (flags & ~(AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH | AT_STATX_SYNC_TYPE) ||
	    (flags & AT_STATX_SYNC_TYPE) == AT_STATX_SYNC_TYPE || mask & STATX__RESERVED)
		return -EINVAL;
	err = path_at(dirfd, upath, flags, &p);
	if (err)
		return err;
	err = path_stat(&p, &k);
	path_put(&p);
	return err ? err : put_statx(&k, ubuf);
}

/* ---- statfs ---------------------------------------------------------------------------------------------- */

#define ST_VALID    0x20 /* statfs(2): f_flags is meaningful */
#define ST_RELATIME 0x1000

static long put_statfs(const struct path *p, void __user *ubuf)
{
	struct kstatfs k;
	struct statfs s = { 0 };
	int err = path_statfs(p, &k);

	if (err)
		return err;
	s.f_type = k.type;
	s.f_bsize = k.bsize;
	s.f_blocks = k.blocks;
	s.f_bfree = k.bfree;
	s.f_bavail = k.bavail;
	s.f_files = k.files;
	s.f_ffree = k.ffree;
	s.f_fsid.val[0] = k.fsid[0];
	s.f_fsid.val[1] = k.fsid[1];
	s.f_namelen = k.namelen;
	s.f_frsize = k.frsize;
	s.f_flags = ST_VALID | (k.flags & (MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME | MS_NODIRATIME)) |
		    (k.flags & MS_RELATIME ? ST_RELATIME : 0);
	return user_put(ubuf, &s, sizeof(s));
}

long sys_statfs(const char __user *upath, void __user *buf)
{
	struct path p;
	long err = path_lookup_user(AT_FDCWD, upath, LOOKUP_FOLLOW, &p);

	if (err)
		return err;
	err = put_statfs(&p, buf);
	path_put(&p);
	return err;
}

long sys_fstatfs(int fd, void __user *buf)
{
	struct path p;
	long err = fd_ref_path(fd_get_path(fd), &p);

	if (err)
		return err;
	err = put_statfs(&p, buf);
	path_put(&p);
	return err;
}

/* The structure of ustat(2), which no header of the interface has. */
struct ustat {
	int f_tfree;
	ulong f_tinode;
	char f_fname[6], f_fpack[6];
};

long sys_ustat(u32 dev, void __user *ubuf)
{
	struct super *super = super_find(dev);
	struct ustat u;
	struct kstatfs k;
	long err;

	if (!super)
		return -EINVAL;
	err = super_statfs(super, &k);
	super_put(super);
	if (err)
		return err;
	memset(&u, 0, sizeof(u));
	u.f_tfree = (int)k.bfree;
	u.f_tinode = k.ffree;
	return user_put(ubuf, &u, sizeof(u));
}

/* ---- access ---------------------------------------------------------------------------------------------- */

/* Asks as the real user: a private copy of the credentials for the time of the call. */
static long access_as_real(int dirfd, const char __user *upath, int mode, int flags)
{
	struct cred *mine = current->cred, *c = cred_prepare();
	struct path p;
	long err;

	if (!c)
		return -ENOMEM;
	c->fsuid = c->uid;
	c->fsgid = c->gid;
	c->cap_effective = uid_eq(c->uid, user_in(0)) ? c->cap_permitted : 0;
	cred_get(mine);
	cred_commit(c);
	err = path_at(dirfd, upath, flags, &p);
	if (!err) {
		struct inode *i = p.dentry->inode;

		err = mode ? inode_permission(i, mode) : 0;
		if (!err && mode & MAY_WRITE && !S_ISCHR(i->mode) && !S_ISBLK(i->mode) && !S_ISFIFO(i->mode))
			err = path_writable(&p);
		if (!err && mode & MAY_EXEC && S_ISREG(i->mode) && p.mnt->flags & MS_NOEXEC)
			err = -EACCES;
		path_put(&p);
	}
	cred_commit(mine);
	return err;
}

static long access_common(int dirfd, const char __user *upath, int mode, int flags)
{
	struct path p;
	long err;

	if (mode & ~7 || flags & ~(AT_EACCESS | AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH))
		return -EINVAL;
	if (!(flags & AT_EACCESS))
		return access_as_real(dirfd, upath, mode, flags);
	err = path_at(dirfd, upath, flags, &p);
	if (err)
		return err;
	err = mode ? inode_permission(p.dentry->inode, mode) : 0;
	if (!err && mode & MAY_WRITE)
		err = path_writable(&p);
	path_put(&p);
	return err;
}

long sys_access(const char __user *path, int mode)
{
	return access_common(AT_FDCWD, path, mode, 0);
}

long sys_faccessat(int dirfd, const char __user *path, int mode)
{
	return access_common(dirfd, path, mode, 0);
}

long sys_faccessat2(int dirfd, const char __user *path, int mode, int flags)
{
	return access_common(dirfd, path, mode, flags);
}

/* ---- mode and owner -------------------------------------------------------------------------------------- */

static long set_and_put(struct path *p, struct inode_attr *a)
{
	bool nobody = (a->mask & ATTR_UID && a->uid.v == ID_NONE) || (a->mask & ATTR_GID && a->gid.v == ID_NONE);
	long err = nobody                                                   ? -EINVAL /* no such number here */
		   : S_ISLNK(p->dentry->inode->mode) && a->mask & ATTR_MODE ? -EOPNOTSUPP
									    : path_set_attr(p, a);

	path_put(p);
	return err;
}

long sys_fchmodat(int dirfd, const char __user *upath, u32 mode)
{
	struct inode_attr a = { .mask = ATTR_MODE, .mode = mode & 07777 };
	struct path p;
	long err = path_at(dirfd, upath, 0, &p);

	return err ? err : set_and_put(&p, &a);
}

long sys_chmod(const char __user *path, u32 mode)
{
	return sys_fchmodat(AT_FDCWD, path, mode);
}

/* Unlike fstat, fchmod and fchown refuse O_PATH descriptors. */
long sys_fchmod(int fd, u32 mode)
{
	struct inode_attr a = { .mask = ATTR_MODE, .mode = mode & 07777 };
	struct path p;
	long err = fd_ref_path(fd_get(fd), &p);

	return err ? err : set_and_put(&p, &a);
}

static struct inode_attr owner_attr(u32 uid, u32 gid)
{
	return (struct inode_attr){ .mask = (uid != ~0U ? ATTR_UID : 0) | (gid != ~0U ? ATTR_GID : 0),
				    .uid = user_in(uid),
				    .gid = group_in(gid) };
}

long sys_fchownat(int dirfd, const char __user *upath, u32 uid, u32 gid, int flags)
{
	struct inode_attr a = owner_attr(uid, gid);
	struct path p;
	long err;

	if (flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH))
		return -EINVAL;
	err = path_at(dirfd, upath, flags, &p);
	return err ? err : set_and_put(&p, &a);
}

long sys_chown(const char __user *path, u32 uid, u32 gid)
{
	return sys_fchownat(AT_FDCWD, path, uid, gid, 0);
}

long sys_lchown(const char __user *path, u32 uid, u32 gid)
{
	return sys_fchownat(AT_FDCWD, path, uid, gid, AT_SYMLINK_NOFOLLOW);
}

long sys_fchown(int fd, u32 uid, u32 gid)
{
	struct inode_attr a = owner_attr(uid, gid);
	struct path p;
	long err = fd_ref_path(fd_get(fd), &p);

	return err ? err : set_and_put(&p, &a);
}

/* ---- times
 * -----------------------------------------------------------------------------------------------------------------------
 */

static int one_time(const struct __kernel_timespec *u, struct inode_attr *a, unsigned which, struct timestamp *slot)
{
	if (u->tv_nsec == UTIME_OMIT)
		return 0;
	a->mask |= which;
	if (u->tv_nsec == UTIME_NOW) {
		*slot = time_now();
		return 0;
	}
	if (u->tv_nsec < 0 || u->tv_nsec >= (long long)NSEC_PER_SEC)
		return -EINVAL;
	*slot = (struct timestamp){ .sec = u->tv_sec, .nsec = u->tv_nsec };
	return 0;
}

/* t NULL: both now. */
static long set_times(int dirfd, const char __user *upath, const struct __kernel_timespec *t, int flags)
{
	struct inode_attr a = { 0 };
	struct path p;
	long err = 0;

	if (!t || (t[0].tv_nsec == UTIME_NOW && t[1].tv_nsec == UTIME_NOW)) {
		a.mask = ATTR_ATIME | ATTR_MTIME | ATTR_TIMES_NOW;
		a.atime = a.mtime = time_now();
	} else {
		err = one_time(&t[0], &a, ATTR_ATIME, &a.atime);
		if (!err)
			err = one_time(&t[1], &a, ATTR_MTIME, &a.mtime);
		if (!err && !a.mask)
			return 0;
	}
	if (!err)
		err = upath ? path_at(dirfd, upath, flags, &p) : fd_ref_path(fd_get(dirfd), &p);
	return err ? err : set_and_put(&p, &a);
}

long sys_utimensat(int dirfd, const char __user *upath, const void __user *utimes, int flags)
{
	struct __kernel_timespec t[2];

	if (utimes && user_get(t, utimes, sizeof(t)))
		return -EFAULT;
	if (flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH))
		return -EINVAL;
	if (!upath && dirfd == AT_FDCWD)
		return -EFAULT;
	return set_times(dirfd, upath, utimes ? t : NULL, flags);
}

/* The old forms: microseconds, or seconds alone. */
static long set_times_us(int dirfd, const char __user *upath, const void __user *utimes)
{
	struct __kernel_old_timeval tv[2];
	struct __kernel_timespec t[2];

	if (!utimes)
		return set_times(dirfd, upath, NULL, 0);
	if (user_get(tv, utimes, sizeof(tv)))
		return -EFAULT;
	for (int i = 0; i < 2; i++) {
		if (tv[i].tv_usec < 0 || tv[i].tv_usec >= 1000000)
			return -EINVAL;
		t[i] = (struct __kernel_timespec){ tv[i].tv_sec, tv[i].tv_usec * 1000 };
	}
	return set_times(dirfd, upath, t, 0);
}

long sys_futimesat(int dirfd, const char __user *path, const void __user *times)
{
	return set_times_us(dirfd, path, times);
}

long sys_utimes(const char __user *path, const void __user *times)
{
	return set_times_us(AT_FDCWD, path, times);
}

long sys_utime(const char __user *path, const void __user *times)
{
	struct __kernel_timespec t[2] = { 0 };
	s64 seconds[2];

	if (!times)
		return set_times(AT_FDCWD, path, NULL, 0);
	if (user_get(seconds, times, sizeof(seconds)))
		return -EFAULT;
	t[0].tv_sec = seconds[0];
	t[1].tv_sec = seconds[1];
	return set_times(AT_FDCWD, path, t, 0);
}

/* ---- readlink
 * ----------------------------------------------------------------------------------------------------------------------
 */

long sys_readlinkat(int dirfd, const char __user *upath, char __user *ubuf, int size)
{
	struct path p;
	char *buf;
	long n;

	if (size <= 0)
		return -EINVAL;
	n = path_lookup_user(dirfd, upath, LOOKUP_EMPTY, &p);
	if (n)
		return n;
	buf = kmalloc(PAGE_SIZE, 0);
	n = !buf ? -ENOMEM : inode_read_link(p.dentry->inode, buf, PAGE_SIZE);
	if (n >= 0) {
		n = min(n, (long)size);
		if (user_put(ubuf, buf, n))
			n = -EFAULT;
		path_accessed(&p);
	}
	kfree(buf);
	path_put(&p);
	return n;
}

long sys_readlink(const char __user *path, char __user *buf, int size)
{
	return sys_readlinkat(AT_FDCWD, path, buf, size);
}
