/* SPDX-License-Identifier: MIT
 *
 * Problem: chmod, chown, utimensat and truncate may be done only by some, and each clears or keeps bits of the others
 * by rules of its own.
 *
 * Idea: one function checks a struct inode_attr as the system calls demand, completes it (set-id bits, ctime) and hands
 * it to the file system, or applies it itself. Truncation is a change of size with the cache's consent.
 *
 * Contract: vfs/names.h. Rules: chmod(2), chown(2), utimensat(2), truncate(2), path_resolution(7).
 *
 * Locks: the inode's lock for writing around the change.
 */
#include <task/user_ns.h>
#include <lib/err.h>
#include <lib/printf.h>
#include <linux/capability.h>
#include <linux/inotify.h>
#include <linux/mount.h>
#include <linux/xattr.h>
#include <vfs/uapi.h>
#include <asm/resource.h>
#include <mm/upcalls.h>
#include <task/task.h>
#include <vfs/cache.h>
#include <vfs/upcalls.h>
#include "vfs_priv.h"

static bool owns(const struct inode *i)
{
	return uid_eq(i->uid, current->cred->fsuid) || capable_over(i->uid, i->gid, CAP_FOWNER);
}

static bool may_have_caps(const struct inode *i)
{
	return S_ISREG(i->mode) && i->ops && i->ops->setxattr;
}

/* i->lock held for writing. Failure is seen at exec: then it still has them. */
static void drop_caps_locked(struct inode *i)
{
	if (may_have_caps(i) && i->ops->getxattr(i, XATTR_NAME_CAPS, NULL, 0) > 0)
		(void)!i->ops->setxattr(i, XATTR_NAME_CAPS, NULL, 0, 0);
}

void inode_drop_caps(struct inode *i)
{
	bool has;

	if (!may_have_caps(i))
		return;
	read_lock(&i->lock);
	has = i->ops->getxattr(i, XATTR_NAME_CAPS, NULL, 0) > 0;
	read_unlock(&i->lock);
	if (!has)
		return;
	write_lock(&i->lock);
	drop_caps_locked(i);
	write_unlock(&i->lock);
}

static int may_chown(const struct inode *i, const struct inode_attr *a)
{
	bool owner = uid_eq(i->uid, current->cred->fsuid);

	if (capable_over(i->uid, i->gid, CAP_CHOWN))
		return 0;
	if (a->mask & ATTR_UID && !(owner && uid_eq(a->uid, i->uid)))
		return -EPERM;
	if (a->mask & ATTR_GID && !(owner && (in_group(current->cred, a->gid) || gid_eq(a->gid, i->gid))))
		return -EPERM;
	return 0;
}

/* Times: set to given values by the owner; to now also by who may write. */
static int may_set_times(struct inode *i, const struct inode_attr *a)
{
	if (owns(i))
		return 0;
	if (a->mask & ATTR_TIMES_NOW)
		return inode_permission(i, MAY_WRITE);
	return -EPERM;
}

static void fill_in(struct inode *i, struct inode_attr *a)
{
	if (a->mask & ATTR_MODE) {
		a->mode = (a->mode & 07777) | (i->mode & S_IFMT);
		if (!in_group(current->cred, i->gid) && !capable_over(i->uid, i->gid, CAP_FSETID))
			a->mode &= ~S_ISGID;
	} else if (a->mask & (ATTR_UID | ATTR_GID) && S_ISREG(i->mode) && i->mode & (S_ISUID | S_ISGID)) {
		a->mode = i->mode & ~S_ISUID;
		if (i->mode & S_IXGRP)
			a->mode &= ~S_ISGID;
		a->mask |= ATTR_MODE;
	}
	a->ctime = time_now();
	a->mask |= ATTR_CTIME;
}

/* What the file systems without a setattr of their own do, and those with one call first or last. */
void inode_apply_attr(struct inode *i, const struct inode_attr *a)
{
	if (a->mask & ATTR_MODE)
		i->mode = a->mode;
	if (a->mask & ATTR_UID)
		i->uid = a->uid;
	if (a->mask & ATTR_GID)
		i->gid = a->gid;
	if (a->mask & ATTR_ATIME)
		i->atime = a->atime;
	if (a->mask & ATTR_MTIME)
		i->mtime = a->mtime;
	if (a->mask & ATTR_CTIME)
		i->ctime = a->ctime;
}

static int apply(struct inode *i, const struct inode_attr *a)
{
	int err = i->ops && i->ops->setattr ? i->ops->setattr(i, a) : 0;

	if (!err)
		inode_apply_attr(i, a);
	return err;
}

int path_set_attr(const struct path *p, struct inode_attr *a)
{
	struct inode *i = p->dentry->inode;
	int err = path_writable(p);

	if (err)
		return err;
	write_lock(&i->lock);
	if (a->mask & ATTR_MODE && !owns(i))
		err = -EPERM;
	if (!err && a->mask & (ATTR_UID | ATTR_GID))
		err = may_chown(i, a);
	if (!err && a->mask & (ATTR_ATIME | ATTR_MTIME))
		err = may_set_times(i, a);
	if (!err) {
		fill_in(i, a);
		err = apply(i, a);
		if (!err && a->mask & (ATTR_UID | ATTR_GID))
			drop_caps_locked(i);
	}
	write_unlock(&i->lock);
	if (!err)
		dentry_notify(p->dentry, IN_ATTRIB);
	return err;
}

int inode_may_grow(struct inode *i, s64 size)
{
	if (size <= READ_ONCE(i->size) || (u64)size <= upcall_rlimit(RLIMIT_FSIZE))
		return 0;
	upcall_vfs_signal(SIGXFSZ);
	return -EFBIG;
}

int inode_set_size(struct inode *i, s64 size)
{
	struct inode_attr a = { .mask = ATTR_SIZE, .size = size };
	int err;

	if (!i->cache && !(i->ops && i->ops->setattr))
		return -EINVAL;
	if (size > i->super->max_bytes)
		return -EFBIG;
	err = inode_may_grow(i, size);
	if (err)
		return err;
	write_lock(&i->lock);
	if (i->mode & (S_ISUID | S_ISGID) && !capable_over(i->uid, i->gid, CAP_FSETID)) {
		a.mode = i->mode & ~(S_ISUID | (i->mode & S_IXGRP ? S_ISGID : 0));
		a.mask |= ATTR_MODE;
	}
	a.mtime = a.ctime = time_now();
	a.mask |= ATTR_MTIME | ATTR_CTIME;
	err = i->flags & INODE_SWAP ? -ETXTBSY : apply(i, &a);
	if (!err && i->cache) {
		s64 old = i->size;

		drop_caps_locked(i);

		WRITE_ONCE(i->size, size);
		if (size < old)
			cache_remove(i->cache, size, ~0ULL);
	}
	write_unlock(&i->lock);
	return err;
}

static bool later(struct timestamp a, struct timestamp b)
{
	return a.sec > b.sec || (a.sec == b.sec && a.nsec > b.nsec);
}

/* relatime: atime moves if it is not later than mtime or ctime, or a day old. */
void path_accessed(const struct path *p)
{
	struct inode *i = p->dentry->inode;
	struct timestamp now, was;

	if (!p->mnt || p->mnt->flags & (MS_NOATIME | MS_RDONLY) || i->super->flags & MS_RDONLY)
		return;
	if (p->mnt->flags & MS_NODIRATIME && S_ISDIR(i->mode))
		return;
	now = time_now();
	was = timestamp_get(&i->atime);
	if (p->mnt->flags & MS_RELATIME && later(was, timestamp_get(&i->mtime)) &&
	    later(was, timestamp_get(&i->ctime)) && now.sec - was.sec < 24 * 3600)
		return;
	timestamp_set(&i->atime, now);
}

int inode_read_link(struct inode *i, char *buf, size_t size)
{
	struct strbuf sb;
	int err;

	if (!S_ISLNK(i->mode) || !i->ops->readlink)
		return -EINVAL;
	strbuf_init(&sb, buf, size);
	err = i->ops->readlink(i, &sb);
	return err ? err : (int)sb.len;
}
