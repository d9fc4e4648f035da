/* SPDX-License-Identifier: MIT
 *
 * Problem: terminal emulators, sshd and script need terminals without hardware: what a program writes to the slave the
 * master reads, what the master writes the slave's line discipline gets as typed.
 *
 * Idea: the slave is an ordinary tty whose driver writes into a ring; the master is a file that reads the ring and
 * feeds tty_receive. Numbers come from a table, and /dev/pts shows it (fs/devpts).
 *
 * Contract: pty(7), ptmx(4), ioctl_tty(2) for TIOCGPTN, TIOCSPTLCK, TIOCGPTPEER and packet mode. When the master is
 * closed the slave hangs up; when the last slave is closed the master reads -EIO until it is opened again.
 *
 * Locks: pty->lock (RANK_DRIVER, irqsave) guards the ring; table_lock (RANK_LEAF_SLEEP) the numbers.
 */
#include <linux/magic.h>
#include <alloc/slab.h>
#include <asm/ioctls.h>
#include <arch/user.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/printf.h>
#include <lib/string.h>
#include <linux/eventpoll.h>
#include <linux/major.h>
#include <task/task.h>
#include <tty/pty.h>
#include <vfs/device.h>
#include <vfs/names.h>
#include <vfs/poll.h>
#include "tty_priv.h"

#define RING 8192

struct pty {
	struct tty tty; /* the slave */
	struct spinlock lock;
	u8 ring[RING];
	unsigned head, tail;
	struct waitq wait;       /* masters that read */
	struct pty_table *table; /* counted */
	int index;
	bool locked, packet, opened, slave_closed;
	kuid_t uid;
	kgid_t gid;
	struct timestamp born;
};

static struct mutex table_lock = MUTEX_INIT(table_lock, RANK_LEAF_SLEEP);
struct pty_table {
	refcount_t refs;
	struct pty *slot[PTY_MAX]; /* table_lock; each holds the master's reference */
};
struct pty_table pty_first_table = { .refs = { ATOMIC_INIT(1) } };

/* ---- the slave's driver ---------------------------------------------------------------------------------- */

static size_t pty_room(struct tty *t)
{
	struct pty *p = t->priv;

	return RING - (READ_ONCE(p->head) - READ_ONCE(p->tail));
}

static size_t pty_write(struct tty *t, const u8 *bytes, size_t n)
{
	struct pty *p = t->priv;
	ulong irq = spin_lock_irqsave(&p->lock);
	size_t done;

	for (done = 0; done < n && p->head - p->tail < RING; done++)
		p->ring[p->head++ % RING] = bytes[done];
	spin_unlock_irqrestore(&p->lock, irq);
	if (done)
		waitq_wake(&p->wait, -1, EPOLLIN | EPOLLRDNORM);
	return done;
}

static void pty_flush(struct tty *t)
{
	struct pty *p = t->priv;
	ulong irq = spin_lock_irqsave(&p->lock);

	p->tail = p->head;
	spin_unlock_irqrestore(&p->lock, irq);
}

static void slave_open(struct tty *t)
{
	struct pty *p = t->priv;

	p->opened = true;
	p->slave_closed = false;
}

static void slave_close(struct tty *t)
{
	struct pty *p = t->priv;

	p->slave_closed = true;
	waitq_wake(&p->wait, -1, EPOLLHUP | EPOLLIN);
}

static void slave_unthrottle(struct tty *t)
{
	struct pty *p = t->priv;

	waitq_wake(&p->wait, -1, EPOLLOUT | EPOLLWRNORM);
}

static void pty_free(struct tty *t)
{
	kfree(t->priv);
}

static const struct tty_driver slave_driver = {
	.name = "pts",
	.write = pty_write,
	.room = pty_room,
	.flush_output = pty_flush,
	.open = slave_open,
	.close = slave_close,
	.unthrottle = slave_unthrottle,
	.free = pty_free,
};

/* ---- the master ------------------------------------------------------------------------------------------ */

static size_t ring_take(struct pty *p, u8 *buf, size_t n)
{
	ulong irq = spin_lock_irqsave(&p->lock);
	size_t done;

	for (done = 0; done < n && p->tail != p->head; done++)
		buf[done] = p->ring[p->tail++ % RING];
	spin_unlock_irqrestore(&p->lock, irq);
	return done;
}

static bool has_output(const struct pty *p)
{
	return READ_ONCE(p->head) != READ_ONCE(p->tail);
}

static ssize_t master_take(struct pty *p, struct io *io)
{
	u8 buf[256], zero = TIOCPKT_DATA;
	ssize_t total = 0;

	if (p->packet) {
		if (iter_copy_out(&zero, 1, &io->iter) < 1)
			return -EFAULT;
		total = 1;
	}
	while (io->iter.count) {
		size_t n = ring_take(p, buf, min(sizeof(buf), io->iter.count));

		if (!n)
			break;
		if (iter_copy_out(buf, n, &io->iter) < n)
			return total ? total : -EFAULT;
		total += n;
	}
	tty_write_room(&p->tty);
	return total;
}

static ssize_t master_read(struct io *io)
{
	struct pty *p = io->file->priv;
	int err;

	if (!io->iter.count)
		return 0;
	for (;;) {
		if (has_output(p))
			return master_take(p, io);
		if (p->slave_closed && p->opened)
			return -EIO;
		if (io->file->flags & O_NONBLOCK)
			return -EAGAIN;
		err = wait_event_interruptible(&p->wait, has_output(p) || READ_ONCE(p->slave_closed));
		if (err)
			return err;
	}
}

static ssize_t master_write(struct io *io)
{
	struct pty *p = io->file->priv;
	ssize_t total = 0;
	u8 buf[256];
	int err = 0;

	while (io->iter.count) {
		size_t room = tty_receive_room(&p->tty), n;

		if (!room) {
			err = io->file->flags & O_NONBLOCK
				      ? -EAGAIN
				      : wait_event_interruptible(&p->wait, tty_receive_room(&p->tty));
			if (err)
				break;
			continue;
		}
		n = iter_copy_in(buf, min(min(sizeof(buf), io->iter.count), room), &io->iter);
		if (!n) {
			err = -EFAULT;
			break;
		}
		tty_receive(&p->tty, buf, n);
		total += n;
	}
	return total ? total : err;
}

static unsigned master_poll(struct file *f, struct poll_table *pt)
{
	struct pty *p = f->priv;
	unsigned ready = 0;

	poll_wait(f, &p->wait, pt);
	if (has_output(p))
		ready |= EPOLLIN | EPOLLRDNORM;
	if (tty_receive_room(&p->tty))
		ready |= EPOLLOUT | EPOLLWRNORM;
	if (p->slave_closed && p->opened)
		ready |= EPOLLHUP;
	return ready;
}

static long open_peer(struct pty *p, unsigned flags)
{
	char name[24];
	struct file *f;
	int err;

	str_format(name, sizeof(name), "/dev/pts/%d", p->index);
	err = file_open_kernel(name, flags & (O_RDWR | O_NOCTTY | O_NONBLOCK), 0, &f);
	return err ? err : fd_publish(f, flags);
}

static long master_ioctl(struct file *f, unsigned cmd, ulong arg)
{
	struct pty *p = f->priv;
	int n = 0;
	long r;

	switch (cmd) {
	case TIOCSPTLCK:
	case TIOCPKT:
		if (user_get(&n, (void __user *)arg, sizeof(n)))
			return -EFAULT;
		if (cmd == TIOCPKT)
			p->packet = n;
		else
			p->locked = n;
		return 0;
	case TIOCGPTN: n = p->index; break;
	case TIOCGPTLCK: n = p->locked; break;
	case TIOCGPKT: n = p->packet; break;
	case TIOCGPTPEER: return open_peer(p, arg);
	case FIONREAD: n = p->head - p->tail; break;
	case TIOCSIG: return -EINVAL;
	default: r = tty_common_ioctl(&p->tty, f, cmd, arg); return r == -ENOIOCTLCMD ? -ENOTTY : r;
	}
	return user_put((void __user *)arg, &n, sizeof(n));
}

static void master_release(struct file *f)
{
	struct pty *p = f->priv;

	mutex_lock(&table_lock);
	p->table->slot[p->index] = NULL;
	mutex_unlock(&table_lock);
	pty_table_put(p->table);
	tty_hangup(&p->tty);
	tty_put(&p->tty);
}

static const struct file_ops master_ops = {
	.read = master_read,
	.write = master_write,
	.poll = master_poll,
	.ioctl = master_ioctl,
	.release = master_release,
	.llseek = no_llseek,
};

/* The instance that a node belongs to: devpts says so, other nodes are the first's. */
static struct pty_table *table_of(const struct inode *i)
{
	return i->super->magic == DEVPTS_SUPER_MAGIC ? i->priv : &pty_first_table;
}

static int master_open(struct inode *i, struct file *f)
{
	struct pty_table *t = table_of(i);
	struct pty *p = kzalloc(sizeof(*p), ALLOC_CHARGED);
	char name[16];
	int n;

	if (!p)
		return -ENOMEM;
	mutex_lock(&table_lock);
	for (n = 0; n < PTY_MAX && t->slot[n]; n++)
		;
	if (n < PTY_MAX)
		t->slot[n] = p;
	mutex_unlock(&table_lock);
	if (n == PTY_MAX) {
		kfree(p);
		return -ENOSPC;
	}
	str_format(name, sizeof(name), "pts/%d", n);
	tty_setup(&p->tty, &slave_driver, name, DEV(UNIX98_PTY_SLAVE_MAJOR, n));
	p->tty.priv = p;
	p->table = t;
	refcount_inc(&t->refs);
	spin_init(&p->lock, RANK_DRIVER);
	waitq_init(&p->wait);
	p->index = n;
	p->locked = true;
	p->uid = current->cred->fsuid;
	p->gid = current->cred->fsgid;
	p->born = time_now();
	f->priv = p;
	f->ops = &master_ops;
	f->mode &= ~FMODE_SEEK;
	return 0;
}

/* ---- for devpts ------------------------------------------------------------------------------------------ */

struct pty_table *pty_table_create(void)
{
	struct pty_table *t = kzalloc(sizeof(*t), ALLOC_CHARGED);

	if (t)
		refcount_set(&t->refs, 1);
	return t;
}

void pty_table_put(struct pty_table *t)
{
	if (refcount_dec_and_test(&t->refs))
		kfree(t);
}

bool pty_info(const struct pty_table *t, int index, struct pty_info *out)
{
	bool there = false;

	if (index < 0 || index >= PTY_MAX)
		return false;
	mutex_lock(&table_lock);
	if (t->slot[index]) {
		*out = (struct pty_info){ t->slot[index]->uid, t->slot[index]->gid, t->slot[index]->born };
		there = true;
	}
	mutex_unlock(&table_lock);
	return there;
}

static int slave_open_device(struct inode *i, struct file *f)
{
	unsigned n = DEV_MINOR(i->rdev);
	struct pty *p;
	int err = -EIO;

	mutex_lock(&table_lock);
	p = n < PTY_MAX ? table_of(i)->slot[n] : NULL;
	if (p)
		tty_get(&p->tty);
	mutex_unlock(&table_lock);
	if (!p)
		return -ENXIO;
	if (!p->locked)
		err = tty_open_on(&p->tty, f);
	tty_put(&p->tty);
	return err;
}

static const struct file_ops ptmx_ops = { .open = master_open, .llseek = no_llseek };
static const struct file_ops slave_ops = { .open = slave_open_device, .llseek = no_llseek };
static struct chrdev ptmx_device = { .dev = DEV(TTYAUX_MAJOR, 2), .count = 1, .name = "/dev/ptmx", .ops = &ptmx_ops };
static struct chrdev slave_device = {
	.dev = DEV(UNIX98_PTY_SLAVE_MAJOR, 0), .count = PTY_MAX, .name = "pts", .ops = &slave_ops
};

void pty_init(void)
{
	chrdev_register(&ptmx_device);
	chrdev_register(&slave_device);
	(void)devnode_add("ptmx", S_IFCHR | 0666, DEV(TTYAUX_MAJOR, 2));
}
