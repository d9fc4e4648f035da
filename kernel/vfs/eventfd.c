/* SPDX-License-Identifier: MIT
 *
 * Problem: threads, and the kernel itself, want to wake an event loop without a pipe.
 *
 * Idea: a 64-bit counter behind a file. A write adds, a read takes all of it (or one, as a semaphore), both sleep when
 * they cannot.
 *
 * Contract: eventfd(2), vfs/eventfd.h. The counter never reaches ~0.
 *
 * Locks: lock (RANK_SUBSYS_SPIN, irqsave: eventfd_signal runs in interrupts too).
 */
#include <alloc/slab.h>
#include <lib/err.h>
#include <lib/printf.h>
#include <linux/eventpoll.h>
#include <task/task.h>
#include <vfs/eventfd.h>
#include <vfs/poll.h>
#include <vfs/uapi.h>

#define MOST (~0ULL - 1)

struct eventfd {
	struct spinlock lock;
	u64 count;
	bool semaphore;
	struct waitq wait;
};

static const struct file_ops eventfd_ops;

/* What a read takes now; 0: nothing there. */
static u64 take(struct eventfd *e)
{
	ulong irq = spin_lock_irqsave(&e->lock);
	u64 n = e->semaphore ? e->count > 0 : e->count;

	e->count -= n;
	spin_unlock_irqrestore(&e->lock, irq);
	return n;
}

static bool put(struct eventfd *e, u64 n)
{
	ulong irq = spin_lock_irqsave(&e->lock);
	bool fits = n <= MOST - e->count;

	if (fits)
		e->count += n;
	spin_unlock_irqrestore(&e->lock, irq);
	return fits;
}

static ssize_t eventfd_read(struct io *io)
{
	struct eventfd *e = io->file->priv;
	u64 n;
	int err;

	if (io->iter.count < sizeof(n))
		return -EINVAL;
	while (!(n = take(e))) {
		if (io->file->flags & O_NONBLOCK)
			return -EAGAIN;
		err = wait_event_interruptible(&e->wait, READ_ONCE(e->count));
		if (err)
			return err;
	}
	waitq_wake(&e->wait, 1, EPOLLOUT | EPOLLWRNORM);
	return iter_copy_out(&n, sizeof(n), &io->iter) == sizeof(n) ? (ssize_t)sizeof(n) : -EFAULT;
}

static ssize_t eventfd_write(struct io *io)
{
	struct eventfd *e = io->file->priv;
	u64 n;
	int err;

	if (io->iter.count < sizeof(n))
		return -EINVAL;
	if (iter_copy_in(&n, sizeof(n), &io->iter) < sizeof(n))
		return -EFAULT;
	if (n == ~0ULL)
		return -EINVAL;
	while (!put(e, n)) {
		if (io->file->flags & O_NONBLOCK)
			return -EAGAIN;
		err = wait_event_interruptible(&e->wait, n <= MOST - READ_ONCE(e->count));
		if (err)
			return err;
	}
	if (n)
		waitq_wake(&e->wait, -1, EPOLLIN | EPOLLRDNORM);
	return sizeof(n);
}

static unsigned eventfd_poll(struct file *f, struct poll_table *pt)
{
	struct eventfd *e = f->priv;
	u64 count;

	poll_wait(f, &e->wait, pt);
	count = READ_ONCE(e->count);
	return (count ? EPOLLIN | EPOLLRDNORM : 0) | (count < MOST ? EPOLLOUT | EPOLLWRNORM : 0);
}

static void eventfd_release(struct file *f)
{
	kfree(f->priv);
}

static void eventfd_fdinfo(struct file *f, struct strbuf *out)
{
	strbuf_add(out, "eventfd-count: %16llx\n", (unsigned long long)((struct eventfd *)f->priv)->count);
}

static const struct file_ops eventfd_ops = {
	.read = eventfd_read,
	.write = eventfd_write,
	.poll = eventfd_poll,
	.release = eventfd_release,
	.show_fdinfo = eventfd_fdinfo,
	.llseek = no_llseek,
};

int eventfd_create(u64 count, bool semaphore, unsigned flags, struct file **out)
{
	struct eventfd *e = kzalloc(sizeof(*e), ALLOC_CHARGED);
	int err;

	if (!e)
		return -ENOMEM;
	spin_init(&e->lock, RANK_SUBSYS_SPIN);
	waitq_init(&e->wait);
	e->count = count;
	e->semaphore = semaphore;
	err = file_anon("[eventfd]", &eventfd_ops, e, flags | O_RDWR, out);
	if (err)
		kfree(e);
	return err;
}

struct eventfd *eventfd_of(struct file *f)
{
	return f->ops == &eventfd_ops ? f->priv : NULL;
}

void eventfd_signal(struct eventfd *e, u64 n)
{
	ulong irq = spin_lock_irqsave(&e->lock);

	e->count += min(n, MOST - e->count);
	spin_unlock_irqrestore(&e->lock, irq);
	waitq_wake(&e->wait, -1, EPOLLIN | EPOLLRDNORM);
}

struct waitq *eventfd_waitq(struct eventfd *e)
{
	return &e->wait;
}
