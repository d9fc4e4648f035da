/* SPDX-License-Identifier: MIT
 *
 * Advisory locks on files: POSIX records (owner: a descriptor table), open-file records and flock (owner: the open
 * file); leases (owner: the open file). Rules: fcntl(2), flock(2).
 */
#ifndef VFS_LOCKS_H
#define VFS_LOCKS_H

#include <vfs/vfs.h>

enum lock_kind { LOCK_POSIX, LOCK_OFD, LOCK_FLOCK };

struct file_lock {
	struct list link;
	enum lock_kind kind;
	bool exclusive;
	s64 start, end; /* inclusive; INT64_MAX: to the end, however far */
	const void *owner;
	int pid; /* of the setter, for F_GETLK and /proc/locks */
};

/* Sets, changes or (unlock) takes away. wait: until it can be had (-EINTR as restart code); else -EAGAIN. POSIX:
 * -EDEADLK. */
int __must_check lock_set(struct file *f, const struct file_lock *want, bool unlock, bool wait);
/* The first lock that conflicts with want goes to *want; false: none. */
bool lock_test(struct file *f, struct file_lock *want);
void locks_close(struct file *f, const void *files); /* close(2): the table's POSIX locks on the inode go */
void locks_release(struct file *f);                  /* the open file ends */

/* A lease of type F_RDLCK or F_WRLCK on f's inode, a regular file, or none (F_UNLCK). The file's owner (F_SETOWN) is
 * told when it is to give way. -EAGAIN: others use the file; there is none to give up. -ENOMEM. */
int __must_check lease_set(struct file *f, int type);
int lease_get(struct file *f); /* what it has, or shall have soon if it is being broken */
/* Before i is opened (the opener is counted already) or cut: leases that stand against it give way. -EWOULDBLOCK
 * without wait; a restart code: a signal came. */
int __must_check lease_break(struct inode *i, bool writes, bool wait);

#endif
