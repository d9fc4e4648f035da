/* SPDX-License-Identifier: MIT
 *
 * inotify's objects, for the system calls: see inotify(7).
 */
#ifndef VFS_INOTIFY_H
#define VFS_INOTIFY_H

#include <vfs/vfs.h>

/* Of new instances: how many events they keep, and how many instances a user may have; watches are shown only. */
struct inotify_limits {
	u32 events, instances, watches;
};
extern struct inotify_limits inotify_limits;

int __must_check inotify_create(unsigned flags, struct file **out); /* flags: O_NONBLOCK */
int __must_check inotify_add(struct file *f, struct inode *i,
			     u32 mask); /* the watch's number; -EINVAL: f is no inotify */
int __must_check inotify_remove(struct file *f, int wd);

#define IN_RENAMED_WITHIN BIT(16) /* dnotify alone hears of it: a name changed that was and stays in the folder */
/* What happens to files of the open folder f is told to its owner (f->async is there): IN_* of mask, in addition to
 * what was asked before; once, if IN_ONESHOT. No event: nothing any more. */
int __must_check dnotify_set(struct file *f, u32 mask);

#endif
