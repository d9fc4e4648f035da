/* SPDX-License-Identifier: MIT
 *
 * Problem: a number may name another process by the time a signal is sent to it.
 *
 * Idea: a descriptor that holds the struct pid, which is never reused.
 *
 * Contract: process/pidfd.h; pidfd_open(2), pidfd_send_signal(2). poll gives EPOLLIN once the process
 * has ended, reaped or not.
 *
 * Locks: none; the end of a process wakes exit_waiters.
 */
#include "process_priv.h"
#include <lib/printf.h>
#include <linux/eventpoll.h>
#include <linux/fcntl.h>
#include <process/pidfd.h>
#include <vfs/poll.h>
#include <vfs/vfs.h>

static unsigned pidfd_poll(struct file *f, struct poll_table *pt)
{
	struct pid *pid = f->priv;
	struct process *p;
	bool ended;

	poll_wait(f, &pid->exit_waiters, pt);
	rcu_read_lock();
	p = rcu_deref(pid->process);
	ended = !p || p->zombie;
	rcu_read_unlock();
	return ended ? EPOLLIN | EPOLLRDNORM : 0;
}

static void pidfd_release(struct file *f)
{
	pid_put(f->priv);
}

static void pidfd_show(struct file *f, struct strbuf *out)
{
	struct pid *pid = f->priv;

	strbuf_add(out, "Pid:\t%d\nNSpid:\t%d\n", pid->process ? pid_nr(pid) : -1, pid->process ? pid_nr(pid) : -1);
}

static const struct file_ops pidfd_ops = {
	.poll = pidfd_poll,
	.release = pidfd_release,
	.show_fdinfo = pidfd_show,
};

struct pid *pidfd_pid(struct file *f)
{
	return f->ops == &pidfd_ops ? f->priv : NULL;
}

int pidfd_create(struct pid *pid, unsigned flags, struct file **out)
{
	int err;

	pid_get(pid);
	err = file_anon("pidfd", &pidfd_ops, pid, O_RDWR | flags, out);
	if (err)
		pid_put(pid);
	return err;
}

int pidfd_open(int nr, unsigned flags)
{
	struct pid *pid;
	struct file *f;
	int err;

	if ((flags & ~(unsigned)O_NONBLOCK) || nr <= 0)
		return -EINVAL;
	pid = pid_find_get(nr);
	if (!pid)
		return -ESRCH;
	err = pid->process ? pidfd_create(pid, flags, &f) : -EINVAL;
	pid_put(pid);
	return err ? err : fd_publish(f, O_CLOEXEC);
}
