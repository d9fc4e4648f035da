/* SPDX-License-Identifier: MIT
 *
 * tmpfs: what its files share.
 */
#ifndef TMPFS_PRIV_H
#define TMPFS_PRIV_H

#include <fs/tmpfs.h>
#include <lib/xarray.h>
#include <task/sched.h>
#include <vfs/cache.h>
#include <vfs/mount.h>
#include <vfs/names.h>
#include <vfs/uapi.h>
#include <vfs/vfs.h>

#define TMPFS_NAME_BYTES 20 /* by which a folder's size grows with each name */

struct tmpfs_super {
	u64 max_pages;  /* ~0: no limit */
	s64 max_inodes; /* INT64_MAX: no limit */
	atomic64_t pages;
	atomic64_t inodes;
	u16 mode;
	u32 uid, gid; /* of the root */
};

struct tmpfs_inode {
	char *target;        /* symlinks */
	struct xarray names; /* folders: cookie to dentry */
	u64 next_cookie;
	struct list xattrs; /* inode lock */
};

void tmpfs_drop_xattrs(struct tmpfs_inode *t);
ssize_t tmpfs_getxattr(struct inode *i, const char *name, void *buf, size_t size);
int tmpfs_setxattr(struct inode *i, const char *name, const void *value, size_t size, int flags);
ssize_t tmpfs_listxattr(struct inode *i, char *buf, size_t size);
#define TMPFS_XATTR_OPS .getxattr = tmpfs_getxattr, .setxattr = tmpfs_setxattr, .listxattr = tmpfs_listxattr

#endif
