/* SPDX-License-Identifier: MIT
 *
 * The adapter between core's attribute tree and vfs. A file system that shows such a tree (sysfs, cgroup2, resctrl,
 * tracefs) registers a type whose mount op calls attrfs_fill with its root folder.
 */
#ifndef FS_ATTRFS_H
#define FS_ATTRFS_H

#include <core/attr.h>
#include <vfs/vfs.h>

/* Makes s a view of root, with this magic number. */
int __must_check attrfs_fill(struct super *s, struct attr_dir *root, u32 magic);
/* A folder of another file system becomes a view of dir (for /proc/sys): an inode with the adapter's operations. NULL:
 * memory. */
struct inode *__must_check attrfs_inode(struct super *s, struct attr_dir *dir);
/* For a file system that has such inodes among its own: its evict op passes them on; others are left alone. */
void attrfs_evict(struct inode *i);
/* The folder behind an inode of such a view; NULL: it is something else. Not counted. */
struct attr_dir *attrfs_dir_of(const struct inode *i);
/* For the operations of a file that has its own (attr->file_ops): what it is. Not counted: the inode holds it. */
struct attr_dir *attrfs_file_of(const struct inode *i, const struct attr **attr);

#endif
