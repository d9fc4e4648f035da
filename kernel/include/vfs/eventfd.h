/* SPDX-License-Identifier: MIT
 *
 * Event counters as files (eventfd(2)), also for the kernel's own use: KVM and vfio signal and listen through them.
 */
#ifndef VFS_EVENTFD_H
#define VFS_EVENTFD_H

#include <vfs/vfs.h>

/* eventfd(2)'s flags, in no UAPI header of linux-libc-dev 6.1. */
#define EFD_SEMAPHORE 1
#define EFD_CLOEXEC   O_CLOEXEC
#define EFD_NONBLOCK  O_NONBLOCK

struct eventfd;

int __must_check eventfd_create(u64 count, bool semaphore, unsigned flags, struct file **out); /* flags: O_NONBLOCK */
struct eventfd *eventfd_of(struct file *f);    /* NULL: not one. Lives as long as f */
void eventfd_signal(struct eventfd *e, u64 n); /* any context; stops one below the greatest count */
struct waitq *eventfd_waitq(struct eventfd *e);

#endif
