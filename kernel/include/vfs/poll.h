/* SPDX-License-Identifier: MIT
 *
 * poll: a file's poll op returns the events that hold now and hands each wait queue that announces changes to
 * poll_wait. select, poll, epoll and irqfd are different tables. The queue must live as long as the file.
 */
#ifndef VFS_POLL_H
#define VFS_POLL_H

#include <task/wait.h>

struct file;
struct poll_table {
	void (*add)(struct poll_table *pt, struct file *f, struct waitq *q); /* NULL: only asks */
	unsigned events;                                                     /* wanted */
};
static inline void poll_wait(struct file *f, struct waitq *q, struct poll_table *pt)
{
	if (pt && pt->add)
		pt->add(pt, f, q);
}

#endif
