/* SPDX-License-Identifier: MIT
 *
 * Problem: descriptors for things that are no files: pipes, counters, timers, signals, watches.
 *
 * Idea: pipes and inotify live in vfs; eventfd, timerfd and signalfd are small file operations here, each with a wait
 * queue and a few words of state.
 *
 * Contract: pipe(2), eventfd(2), timerfd_create(2), signalfd(2), inotify(7).
 *
 * Locks: a timerfd's state under its own lock (RANK_DRIVER, irqsave), which the timer callback takes too.
 */
#include <abi/syscalls.h>
#include <alloc/slab.h>
#include <arch/user.h>
#include <core/clock.h>
#include <lib/err.h>
#include <lib/printf.h>
#include <lib/string.h>
#include <linux/eventpoll.h>
#include <linux/inotify.h>
#include <linux/signalfd.h>
#include <linux/time_types.h>
#include <linux/time.h>
#include <linux/timerfd.h>
#include <process/process.h>
#include <vfs/eventfd.h>
#include <vfs/inotify.h>
#include <vfs/pipe.h>
#include <vfs/poll.h>
#include <vfs/uapi.h>

/* ---- pipes ----------------------------------------------------------------------------------------------- */

/* Two files become two descriptors in user memory, or neither does. */
static long publish_two(struct file *a, struct file *b, unsigned flags, int __user *ufds)
{
	int fds[2];

	fds[0] = fd_reserve(flags, 0);
	fds[1] = fds[0] < 0 ? fds[0] : fd_reserve(flags, 0);
	if (fds[1] >= 0 && !user_put(ufds, fds, sizeof(fds))) {
		fd_install(fds[0], a);
		fd_install(fds[1], b);
		return 0;
	}
	if (fds[0] >= 0)
		fd_release(fds[0]);
	if (fds[1] >= 0)
		fd_release(fds[1]);
	file_put(a);
	file_put(b);
	return fds[1] < 0 ? fds[1] : -EFAULT;
}

long sys_pipe2(int __user *fds, int flags)
{
	struct file *r, *w;
	int err;

	if (flags & ~(O_CLOEXEC | O_NONBLOCK | O_DIRECT))
		return -EINVAL;
	err = pipe_create(flags, &r, &w);
	return err ? err : publish_two(r, w, flags, fds);
}

long sys_pipe(int __user *fds)
{
	return sys_pipe2(fds, 0);
}

/* ---- eventfd --------------------------------------------------------------------------------------------- */

long sys_eventfd2(u32 count, int flags)
{
	struct file *f;
	int err;

	if (flags & ~(EFD_CLOEXEC | EFD_NONBLOCK | EFD_SEMAPHORE))
		return -EINVAL;
	err = eventfd_create(count, flags & EFD_SEMAPHORE, flags & EFD_NONBLOCK, &f);
	return err ? err : fd_publish(f, flags);
}

long sys_eventfd(u32 count)
{
	return sys_eventfd2(count, 0);
}

/* ---- inotify --------------------------------------------------------------------------------------------- */

long sys_inotify_init1(int flags)
{
	struct file *f;
	int err;

	if (flags & ~(IN_CLOEXEC | IN_NONBLOCK))
		return -EINVAL;
	err = inotify_create(flags & IN_NONBLOCK, &f);
	return err ? err : fd_publish(f, flags);
}

long sys_inotify_init(void)
{
	return sys_inotify_init1(0);
}

long sys_inotify_add_watch(int fd, const char __user *upath, u32 mask)
{
	unsigned lookup = (mask & IN_DONT_FOLLOW ? 0 : LOOKUP_FOLLOW) | (mask & IN_ONLYDIR ? LOOKUP_DIRECTORY : 0);
	struct fd_ref r;
	struct path p;
	long wd;

	if (!(mask & (IN_ALL_EVENTS | IN_UNMOUNT | IN_Q_OVERFLOW | IN_IGNORED | IN_ONLYDIR | IN_DONT_FOLLOW |
		      IN_EXCL_UNLINK | IN_MASK_CREATE | IN_MASK_ADD | IN_ISDIR | IN_ONESHOT)) ||
	    (mask & IN_MASK_ADD && mask & IN_MASK_CREATE))
		return -EINVAL;
	r = fd_get(fd);
	if (!r.file)
		return -EBADF;
	wd = path_lookup_user(AT_FDCWD, upath, lookup, &p);
	if (!wd) {
		wd = inode_permission(p.dentry->inode, MAY_READ);
		if (!wd)
			wd = inotify_add(r.file, p.dentry->inode, mask);
		path_put(&p);
	}
	fd_put(r);
	return wd;
}

long sys_inotify_rm_watch(int fd, int wd)
{
	struct fd_ref r = fd_get(fd);
	long err = r.file ? inotify_remove(r.file, wd) : -EBADF;

	fd_put(r);
	return err;
}

/* ---- signalfd -------------------------------------------------------------------------------------------- */

static void to_signalfd(const siginfo_t *in, struct signalfd_siginfo *out)
{
	memset(out, 0, sizeof(*out));
	out->ssi_signo = in->si_signo;
	out->ssi_errno = in->si_errno;
	out->ssi_code = in->si_code;
	if (in->si_signo == SIGCHLD && in->si_code > 0) {
		out->ssi_pid = in->si_pid;
		out->ssi_uid = in->si_uid;
		out->ssi_status = in->si_status;
		out->ssi_utime = in->si_utime;
		out->ssi_stime = in->si_stime;
	} else if (in->si_code == SI_TIMER) {
		out->ssi_tid = in->si_tid;
		out->ssi_overrun = in->si_overrun;
		out->ssi_int = in->si_int;
		out->ssi_ptr = (ulong)in->si_ptr;
	} else if (in->si_code > 0 && in->si_code != SI_KERNEL) {
		out->ssi_addr = (ulong)in->si_addr;
	} else {
		out->ssi_pid = in->si_pid;
		out->ssi_uid = in->si_uid;
		out->ssi_int = in->si_int;
		out->ssi_ptr = (ulong)in->si_ptr;
	}
}

static ssize_t signalfd_read(struct io *io)
{
	u64 want = (u64)io->file->priv;
	bool block = !(io->file->flags & O_NONBLOCK);
	struct signalfd_siginfo out;
	ssize_t total = 0;
	siginfo_t info;

	if (io->iter.count < sizeof(out))
		return -EINVAL;
	while (io->iter.count >= sizeof(out)) {
		int sig = signal_dequeue(want, &info);

		if (!sig) {
			int err;

			if (total || !block)
				return total ? total : -EAGAIN;
			err = wait_event_interruptible(&current->process->signal_wait,
						       signal_pending_mask(current) & want);
			if (err && !(signal_pending_mask(current) & want))
				return err;
			continue;
		}
		to_signalfd(&info, &out);
		if (iter_copy_out(&out, sizeof(out), &io->iter) < sizeof(out))
			return total ? total : -EFAULT;
		total += sizeof(out);
	}
	return total;
}

static unsigned signalfd_poll(struct file *f, struct poll_table *pt)
{
	poll_wait(f, &current->process->signal_wait, pt);
	return signal_pending_mask(current) & (u64)f->priv ? EPOLLIN | EPOLLRDNORM : 0;
}

static void signalfd_fdinfo(struct file *f, struct strbuf *out)
{
	strbuf_add(out, "sigmask:\t%016llx\n", (unsigned long long)(u64)f->priv);
}

static const struct file_ops signalfd_ops = {
	.read = signalfd_read, .poll = signalfd_poll, .show_fdinfo = signalfd_fdinfo, .llseek = no_llseek
};

long sys_signalfd4(int fd, const u64 __user *umask, size_t sizemask, int flags)
{
	struct file *f;
	u64 mask;
	int err;

	if (flags & ~(SFD_CLOEXEC | SFD_NONBLOCK) || sizemask != sizeof(mask))
		return -EINVAL;
	if (user_get(&mask, umask, sizeof(mask)))
		return -EFAULT;
	mask &= ~(SIGMASK(SIGKILL) | SIGMASK(SIGSTOP));
	if (fd != -1) {
		struct fd_ref r = fd_get(fd);

		if (!r.file)
			return -EBADF;
		err = r.file->ops == &signalfd_ops ? 0 : -EINVAL;
		if (!err)
			r.file->priv = (void *)mask;
		fd_put(r);
		return err ? err : fd;
	}
	err = file_anon("[signalfd]", &signalfd_ops, (void *)mask, O_RDWR | (flags & SFD_NONBLOCK), &f);
	return err ? err : fd_publish(f, flags);
}

long sys_signalfd(int fd, const u64 __user *mask, size_t sizemask)
{
	return sys_signalfd4(fd, mask, sizemask, 0);
}

/* ---- timerfd --------------------------------------------------------------------------------------------- */

struct timerfd {
	struct spinlock lock; /* RANK_DRIVER, irqsave: the timer's callback takes it */
	struct timer timer;
	struct waitq wait;
	bool real; /* CLOCK_REALTIME: deadlines are converted when set */
	int clock;
	u64 deadline_ns; /* clock_ns; 0: disarmed */
	u64 interval_ns;
	u64 ticks; /* expired and not yet read */
};

/* Counts the intervals that have passed by now. Under the lock. */
static void catch_up(struct timerfd *t)
{
	u64 now = clock_ns(), n;

	if (!t->deadline_ns || now < t->deadline_ns)
		return;
	n = t->interval_ns ? (now - t->deadline_ns) / t->interval_ns + 1 : 1;
	t->ticks += n;
	t->deadline_ns = t->interval_ns ? t->deadline_ns + n * t->interval_ns : 0;
}

static void timerfd_fire(struct timer *timer)
{
	struct timerfd *t = container_of(timer, struct timerfd, timer);
	ulong irq = spin_lock_irqsave(&t->lock);
	u64 next;

	catch_up(t);
	next = t->deadline_ns;
	spin_unlock_irqrestore(&t->lock, irq);
	if (next)
		timer_arm(&t->timer, next, 0);
	waitq_wake(&t->wait, 1, EPOLLIN | EPOLLRDNORM);
}

static u64 take_ticks(struct timerfd *t)
{
	ulong irq = spin_lock_irqsave(&t->lock);
	u64 n = t->ticks;

	t->ticks = 0;
	spin_unlock_irqrestore(&t->lock, irq);
	return n;
}

static ssize_t timerfd_read(struct io *io)
{
	struct timerfd *t = io->file->priv;
	u64 n;
	int err;

	if (io->iter.count < sizeof(n))
		return -EINVAL;
	while (!(n = take_ticks(t))) {
		if (io->file->flags & O_NONBLOCK)
			return -EAGAIN;
		err = wait_event_interruptible(&t->wait, READ_ONCE(t->ticks));
		if (err)
			return err;
	}
	return iter_copy_out(&n, sizeof(n), &io->iter) == sizeof(n) ? (ssize_t)sizeof(n) : -EFAULT;
}

static unsigned timerfd_poll(struct file *f, struct poll_table *pt)
{
	struct timerfd *t = f->priv;

	poll_wait(f, &t->wait, pt);
	return READ_ONCE(t->ticks) ? EPOLLIN | EPOLLRDNORM : 0;
}

static void timerfd_release(struct file *f)
{
	struct timerfd *t = f->priv;
	ulong irq = spin_lock_irqsave(&t->lock);

	t->deadline_ns = 0; /* a callback under way arms it no more */
	spin_unlock_irqrestore(&t->lock, irq);
	(void)timer_cancel(&t->timer);
	kfree(t);
}

static const struct file_ops timerfd_ops = {
	.read = timerfd_read, .poll = timerfd_poll, .release = timerfd_release, .llseek = no_llseek
};

long sys_timerfd_create(int clock, int flags)
{
	struct timerfd *t;
	struct file *f;
	int err;

	if (flags & ~(TFD_CLOEXEC | TFD_NONBLOCK))
		return -EINVAL;
	if (clock != CLOCK_REALTIME && clock != CLOCK_MONOTONIC && clock != CLOCK_BOOTTIME &&
	    clock != CLOCK_REALTIME_ALARM && clock != CLOCK_BOOTTIME_ALARM)
		return -EINVAL;
	t = kzalloc(sizeof(*t), ALLOC_CHARGED);
	if (!t)
		return -ENOMEM;
	spin_init(&t->lock, RANK_DRIVER);
	timer_init(&t->timer, timerfd_fire);
	waitq_init(&t->wait);
	t->clock = clock;
	t->real = clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_ALARM;
	err = file_anon("[timerfd]", &timerfd_ops, t, O_RDWR | (flags & TFD_NONBLOCK), &f);
	if (err) {
		kfree(t);
		return err;
	}
	return fd_publish(f, flags);
}

static int to_ns(const struct __kernel_timespec *ts, u64 *ns)
{
	if (ts->tv_sec < 0 || ts->tv_nsec < 0 || ts->tv_nsec >= (long long)NSEC_PER_SEC)
		return -EINVAL;
	*ns = (u64)ts->tv_sec >= INT64_MAX / NSEC_PER_SEC ? INT64_MAX : ts->tv_sec * NSEC_PER_SEC + ts->tv_nsec;
	return 0;
}

static struct __kernel_timespec from_ns(u64 ns)
{
	return (struct __kernel_timespec){ ns / NSEC_PER_SEC, ns % NSEC_PER_SEC };
}

/* What is left, under the lock. */
static struct __kernel_itimerspec remaining(struct timerfd *t)
{
	u64 now = clock_ns();

	return (struct __kernel_itimerspec){ from_ns(t->interval_ns),
					     from_ns(t->deadline_ns > now ? t->deadline_ns - now : 0) };
}

/* The deadline in clock_ns time; 0 disarms, so a moment in the past becomes 1. */
static u64 deadline_for(const struct timerfd *t, u64 value, bool absolute)
{
	s64 shift = t->real ? (s64)(clock_real_ns() - clock_ns()) : 0;

	if (!value)
		return 0;
	if (!absolute)
		return clock_ns() + value;
	return (s64)value > shift ? value - shift : 1;
}

static void set_timer(struct timerfd *t, u64 value, u64 interval, bool absolute, struct __kernel_itimerspec *old)
{
	u64 deadline = deadline_for(t, value, absolute);
	ulong irq;

	irq = spin_lock_irqsave(&t->lock);
	*old = remaining(t);
	t->deadline_ns = 0;
	spin_unlock_irqrestore(&t->lock, irq);
	(void)timer_cancel(&t->timer);
	irq = spin_lock_irqsave(&t->lock);
	t->ticks = 0;
	t->deadline_ns = deadline;
	t->interval_ns = value ? interval : 0;
	spin_unlock_irqrestore(&t->lock, irq);
	if (deadline)
		timer_arm(&t->timer, deadline, 0);
}

static struct timerfd *timerfd_of(struct fd_ref r)
{
	return r.file && r.file->ops == &timerfd_ops ? r.file->priv : NULL;
}

long sys_timerfd_settime(int fd, int flags, const void __user *uvalue, void __user *uold)
{
	struct __kernel_itimerspec v, old;
	struct fd_ref r;
	u64 value, interval;
	long err = 0;

	if (user_get(&v, uvalue, sizeof(v)))
		return -EFAULT;
	if (flags & ~(TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET) || to_ns(&v.it_value, &value) ||
	    to_ns(&v.it_interval, &interval))
		return -EINVAL;
	r = fd_get(fd);
	if (timerfd_of(r))
		set_timer(timerfd_of(r), value, interval, flags & TFD_TIMER_ABSTIME, &old);
	else
		err = r.file ? -EINVAL : -EBADF;
	fd_put(r);
	if (!err && uold && user_put(uold, &old, sizeof(old)))
		err = -EFAULT;
	return err;
}

long sys_timerfd_gettime(int fd, void __user *uvalue)
{
	struct fd_ref r = fd_get(fd);
	struct timerfd *t = timerfd_of(r);
	struct __kernel_itimerspec v;
	ulong irq;

	if (!t) {
		fd_put(r);
		return r.file ? -EINVAL : -EBADF;
	}
	irq = spin_lock_irqsave(&t->lock);
	v = remaining(t);
	spin_unlock_irqrestore(&t->lock, irq);
	fd_put(r);
	return user_put(uvalue, &v, sizeof(v));
}
