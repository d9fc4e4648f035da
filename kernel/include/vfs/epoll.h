/* SPDX-License-Identifier: MIT
 *
 * epoll's objects, for the system calls (epoll(7)), and the waiting of poll and select.
 */
#ifndef VFS_EPOLL_H
#define VFS_EPOLL_H

#include <linux/eventpoll.h>
#include <vfs/poll.h>
#include <vfs/vfs.h>

int __must_check epoll_create_file(struct file **out);
/* ev: kernel copy, NULL for EPOLL_CTL_DEL. -EINVAL: ep is no epoll. */
int __must_check epoll_control(struct file *ep, int op, int fd, struct file *target, const struct epoll_event *ev);
/* Events to user memory; how many, 0 at the deadline (clock_ns), -ERESTARTNOHAND-like -EINTR on a signal. */
int __must_check epoll_wait_events(struct file *ep, struct epoll_event __user *events, int max, u64 deadline_ns);

/* poll and select: a table that puts current on every queue it is handed. begin; file poll ops with &w->pt; then
 * poll_waiter_sleep and ask again with a NULL table; end. */
struct poll_waiter;
struct poll_waiter *__must_check poll_waiter_begin(void); /* NULL: out of memory */
struct poll_table *poll_waiter_table(struct poll_waiter *w);
/* 0: something happened since the last sleep; -ETIME; -EINTR; -ENOMEM: a queue could not be joined. */
int poll_waiter_sleep(struct poll_waiter *w, u64 deadline_ns);
void poll_waiter_end(struct poll_waiter *w);

/* What a file's poll op says now; files without one are always ready. */
static inline unsigned file_poll(struct file *f, struct poll_table *pt)
{
	return f->ops->poll ? f->ops->poll(f, pt) : EPOLLIN | EPOLLOUT | EPOLLRDNORM | EPOLLWRNORM;
}

#endif
