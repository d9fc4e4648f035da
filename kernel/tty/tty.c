/* SPDX-License-Identifier: MIT
 *
 * Problem: a terminal is a file with rules: who may read it now (job control), when a read is done (lines, VMIN,
 * VTIME), what its controls mean, and what happens when its line goes.
 *
 * Idea: this file has the file operations and moves bytes between user memory and the line discipline through a small
 * kernel buffer, so that nothing sleeps under tty->lock. Signals are sent after the lock is dropped. The controls are
 * in tty_ioctl.c, sessions in tty_job.c.
 *
 * Contract: tty/tty.h, termios(3), ioctl_tty(2).
 *
 * Locks: tty->lock for state; tty->write_lock (RANK_DEVICE) keeps one write(2) together.
 */
#include <arch/boot.h>
#include <alloc/slab.h>
#include <core/clock.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/string.h>
#include <linux/eventpoll.h>
#include <linux/major.h>
#include <process/process.h>
#include <vfs/device.h>
#include <vfs/poll.h>
#include "tty_priv.h"

#define CHUNK 256

static const struct termios2 initial_termios = {
	.c_iflag = ICRNL | IXON | IUTF8,
	.c_oflag = OPOST | ONLCR,
	.c_cflag = B38400 | CS8 | CREAD | HUPCL,
	.c_lflag = ISIG | ICANON | ECHO | ECHOE | ECHOK | ECHOCTL | ECHOKE | IEXTEN,
	.c_ispeed = 38400,
	.c_ospeed = 38400,
	.c_cc = { [VINTR] = 3,
		  [VQUIT] = 28,
		  [VERASE] = 127,
		  [VKILL] = 21,
		  [VEOF] = 4,
		  [VMIN] = 1,
		  [VSTART] = 17,
		  [VSTOP] = 19,
		  [VSUSP] = 26,
		  [VREPRINT] = 18,
		  [VDISCARD] = 15,
		  [VWERASE] = 23,
		  [VLNEXT] = 22 },
};

/* ---- life ------------------------------------------------------------------------------------------------------- */

void tty_setup(struct tty *t, const struct tty_driver *d, const char *name, u32 dev)
{
	memset(t, 0, sizeof(*t));
	t->driver = d;
	t->dev = dev;
	str_copy(t->name, name, sizeof(t->name));
	refcount_set(&t->refs, 1);
	spin_init(&t->lock, RANK_TTY);
	t->termios = initial_termios;
	waitq_init(&t->read_wait);
	waitq_init(&t->write_wait);
	mutex_init(&t->write_lock, RANK_DEVICE);
}

void tty_get(struct tty *t)
{
	refcount_inc(&t->refs);
}

void tty_put(struct tty *t)
{
	if (refcount_dec_and_test(&t->refs) && t->driver->free) {
		pid_put(t->session);
		pid_put(t->pgrp);
		t->driver->free(t);
	}
}

/* ---- input ----------------------------------------------------------------------------------------------------------
 */

/* Sends what input asked for. The lock is not held. */
static void send_signal(struct tty *t, int sig)
{
	struct pid *pgrp;
	ulong irq;

	irq = spin_lock_irqsave(&t->lock);
	pgrp = t->pgrp;
	if (pgrp)
		pid_get(pgrp);
	spin_unlock_irqrestore(&t->lock, irq);
	if (!pgrp)
		return;
	(void)signal_send_group(sig, NULL, pgrp);
	pid_put(pgrp);
}

void tty_receive(struct tty *t, const u8 *bytes, size_t n)
{
	for (size_t i = 0; i < n;) {
		ulong irq = spin_lock_irqsave(&t->lock);
		bool was_stopped = t->stopped;
		int sig;

		for (t->signal = 0; i < n && !t->signal; i++)
			n_tty_input(t, bytes[i]);
		sig = t->signal;
		spin_unlock_irqrestore(&t->lock, irq);
		if (sig)
			send_signal(t, sig);
		if (was_stopped)
			waitq_wake_all(&t->write_wait);
	}
	if (n_tty_readable(t))
		waitq_wake(&t->read_wait, -1, EPOLLIN | EPOLLRDNORM);
}

size_t tty_receive_room(struct tty *t)
{
	unsigned used = READ_ONCE(t->head) - READ_ONCE(t->tail);
	unsigned limit =
		TTY_INPUT_BYTES - !!(READ_ONCE(t->termios.c_lflag) & ICANON); /* a place for the end of the line */

	if (used < limit)
		return limit - used;
	return n_tty_readable(t) ? 0 : TTY_INPUT_BYTES;
}

void tty_break(struct tty *t)
{
	u32 flags = READ_ONCE(t->termios.c_iflag);
	u8 zero = 0;

	if (flags & IGNBRK)
		return;
	if (flags & BRKINT)
		send_signal(t, SIGINT);
	else
		tty_receive(t, &zero, 1);
}

void tty_write_room(struct tty *t)
{
	if (waitq_active(&t->write_wait))
		waitq_wake(&t->write_wait, -1, EPOLLOUT | EPOLLWRNORM);
}

/* ---- read ------------------------------------------------------------------------------------------------ */

struct reading {
	size_t want;        /* bytes after which a plain read is done */
	u64 first, between; /* ns: wait for the first byte, between bytes; ~0: for ever */
};

/* VMIN and VTIME (termios(3), "Canonical and noncanonical mode"). */
static struct reading reading_rule(const struct tty *t, size_t count)
{
	u64 time = t->termios.c_cc[VTIME] * 100 * NSEC_PER_MSEC;
	u8 least = t->termios.c_cc[VMIN];

	if (t->termios.c_lflag & ICANON)
		return (struct reading){ count, ~0ULL, ~0ULL };
	if (least)
		return (struct reading){ min((size_t)least, count), ~0ULL, time ? time : ~0ULL };
	return (struct reading){ 1, time, 0 };
}

static bool something_to_read(struct tty *t)
{
	return n_tty_readable(t) || READ_ONCE(t->hung_up);
}

/* Takes what is there, up to a line. */
static ssize_t take(struct tty *t, struct io *io, bool *ended)
{
	u8 buf[CHUNK];
	ssize_t total = 0;

	do {
		ulong irq = spin_lock_irqsave(&t->lock);
		size_t n = n_tty_take(t, buf, min(sizeof(buf), io->iter.count), ended);

		spin_unlock_irqrestore(&t->lock, irq);
		if (!n)
			break;
		if (iter_copy_out(buf, n, &io->iter) < n)
			return total ? total : -EFAULT;
		total += n;
	} while (!*ended && io->iter.count);
	if (t->driver->unthrottle)
		t->driver->unthrottle(t);
	return total;
}

static int wait_for_input(struct tty *t, struct io *io, u64 wait_ns)
{
	u64 deadline = wait_ns == ~0ULL ? ~0ULL : clock_ns() + wait_ns;

	if (!wait_ns)
		return -ETIME;
	if (io->file->flags & O_NONBLOCK || io->flags & IO_NOWAIT)
		return -EAGAIN;
	return wait_event_interruptible_until(&t->read_wait, something_to_read(t), deadline);
}

static ssize_t tty_read(struct io *io)
{
	struct tty *t = io->file->priv;
	struct reading rule = reading_rule(t, io->iter.count);
	ssize_t total = 0, n;
	bool ended = false;
	int err = tty_may_read(t);

	while (!err && io->iter.count && !ended) {
		if (n_tty_readable(t)) {
			n = take(t, io, &ended);
			if (n < 0)
				return total ? total : n;
			total += n;
			if (ended || (size_t)total >= rule.want)
				break;
			continue;
		}
		if (READ_ONCE(t->hung_up))
			break;
		err = wait_for_input(t, io, total ? rule.between : rule.first);
		if (!err)
			err = tty_may_read(t);
	}
	if (total || err == -ETIME)
		return total;
	return err;
}

/* ---- write ----------------------------------------------------------------------------------------------- */

static bool can_write(struct tty *t)
{
	return READ_ONCE(t->hung_up) || (!READ_ONCE(t->stopped) && t->driver->room(t) >= 8);
}

/* A kernel buffer, all of it. How many bytes went out, or -errno if none did. */
static ssize_t put_all(struct tty *t, struct io *io, const u8 *buf, size_t n)
{
	size_t done = 0;
	int err = 0;

	while (done < n && !err) {
		ulong irq = spin_lock_irqsave(&t->lock);
		size_t took = t->hung_up ? 0 : n_tty_output(t, buf + done, n - done);

		spin_unlock_irqrestore(&t->lock, irq);
		done += took;
		if (done == n)
			break;
		if (READ_ONCE(t->hung_up))
			err = -EIO;
		else if (!took && io->file->flags & O_NONBLOCK)
			err = -EAGAIN;
		else if (!took)
			err = wait_event_interruptible(&t->write_wait, can_write(t));
	}
	return done ? (ssize_t)done : err;
}

static ssize_t tty_write(struct io *io)
{
	struct tty *t = io->file->priv;
	ssize_t total = 0, n = tty_may_write(t);
	u8 buf[CHUNK];

	if (n)
		return n;
	while (io->iter.count) {
		size_t len = min(sizeof(buf), io->iter.count);
		size_t got = iter_copy_in(buf, len, &io->iter);

		if (!got)
			return total ? total : -EFAULT;
		n = mutex_lock_interruptible(&t->write_lock);
		if (n)
			break;
		n = put_all(t, io, buf, got);
		mutex_unlock(&t->write_lock);
		if (n > 0)
			total += n;
		if (n < (ssize_t)got)
			break;
	}
	return total ? total : n;
}

/* Without line editing and timer a read needs VMIN bytes, and so does readiness. */
static size_t bytes_to_be_ready(const struct tty *t)
{
	if (t->termios.c_lflag & ICANON || t->termios.c_cc[VTIME] || !t->termios.c_cc[VMIN])
		return 1;
	return t->termios.c_cc[VMIN];
}

static unsigned tty_poll(struct file *f, struct poll_table *pt)
{
	struct tty *t = f->priv;
	unsigned ready = 0;

	poll_wait(f, &t->read_wait, pt);
	poll_wait(f, &t->write_wait, pt);
	if (n_tty_readable(t) >= bytes_to_be_ready(t))
		ready |= EPOLLIN | EPOLLRDNORM;
	if (!READ_ONCE(t->stopped) && t->driver->room(t) >= 8)
		ready |= EPOLLOUT | EPOLLWRNORM;
	if (READ_ONCE(t->hung_up))
		ready |= EPOLLIN | EPOLLRDNORM | EPOLLHUP;
	return ready;
}

/* ---- open and close -------------------------------------------------------------------------------------- */

int tty_open_on(struct tty *t, struct file *f)
{
	ulong irq = spin_lock_irqsave(&t->lock);
	int err = 0;
	bool first;

	if (t->exclusive && t->opens)
		err = -EBUSY;
	else if (t->hung_up && t->driver->free)
		err = -EIO; /* a pty's master is gone; a serial line comes back */
	first = !err && !t->opens++;
	if (first)
		t->hung_up = false;
	spin_unlock_irqrestore(&t->lock, irq);
	if (err)
		return err;
	tty_get(t);
	f->priv = t;
	f->ops = &tty_file_ops;
	f->mode &= ~FMODE_SEEK;
	if (first && t->driver->open)
		t->driver->open(t);
	tty_maybe_control(t, f);
	return 0;
}

static void tty_release(struct file *f)
{
	struct tty *t = f->priv;
	ulong irq;
	bool last;

	if (!t)
		return;
	irq = spin_lock_irqsave(&t->lock);
	last = !--t->opens;
	if (last)
		t->exclusive = false;
	spin_unlock_irqrestore(&t->lock, irq);
	if (last && t->driver->close)
		t->driver->close(t);
	tty_put(t);
}

void tty_hangup(struct tty *t)
{
	ulong irq = spin_lock_irqsave(&t->lock);

	t->hung_up = true;
	spin_unlock_irqrestore(&t->lock, irq);
	tty_end_session(t);
	waitq_wake(&t->read_wait, -1, EPOLLIN | EPOLLRDNORM | EPOLLHUP);
	waitq_wake(&t->write_wait, -1, EPOLLOUT | EPOLLWRNORM | EPOLLHUP);
}

void tty_set_winsize(struct tty *t, const struct tty_winsize *w)
{
	ulong irq = spin_lock_irqsave(&t->lock);
	bool changed = memcmp(&t->winsize, w, sizeof(*w));

	t->winsize = *w;
	spin_unlock_irqrestore(&t->lock, irq);
	if (changed)
		send_signal(t, SIGWINCH);
}

const struct file_ops tty_file_ops = {
	.read = tty_read,
	.write = tty_write,
	.poll = tty_poll,
	.ioctl = tty_ioctl,
	.release = tty_release,
	.llseek = no_llseek,
};

/* ---- devices: /dev/tty, /dev/console, and the ttys that stay --------------------------------------------- */

static struct tty *console;
static LIST(fixed_ttys);

struct fixed {
	struct list link;
	struct tty *tty;
};

int tty_console_place(const struct tty *t)
{
	size_t n = strlen(t->name);
	char word[32];
	int place = 0;

	for (unsigned i = 0; boot_param_nth("console", i, word, sizeof(word)); i++)
		if (str_starts(word, t->name) && (!word[n] || word[n] == ','))
			place = (int)i + 1;
	return place;
}

bool tty_is_console(const struct tty *t)
{
	return t == console;
}

static int open_device(struct inode *i, struct file *f)
{
	struct fixed *x;
	struct tty *t;
	int err;

	if (i->rdev == DEV(TTYAUX_MAJOR, 0)) {
		t = tty_of_current();
		if (!t)
			return -ENXIO;
		err = tty_open_on(t, f);
		tty_put(t);
		return err;
	}
	if (i->rdev == DEV(TTYAUX_MAJOR, 1)) {
		f->flags |= O_NOCTTY; /* the console becomes nobody's controlling terminal by itself */
		err = console ? tty_open_on(console, f) : -ENODEV;
		f->flags &= ~O_NOCTTY;
		return err;
	}
	list_for_each_entry (x, &fixed_ttys, link)
		if (x->tty->dev == i->rdev)
			return tty_open_on(x->tty, f);
	return -ENXIO;
}

static const struct file_ops device_ops = { .open = open_device, .llseek = no_llseek };
static struct chrdev aux_devices = { .dev = DEV(TTYAUX_MAJOR, 0), .count = 2, .name = "/dev/tty", .ops = &device_ops };
static struct chrdev serial_devices = { .dev = DEV(TTY_MAJOR, 64), .count = 192, .name = "ttyS", .ops = &device_ops };
static struct chrdev hvc_devices = {
	.dev = DEV(TTY_HVC_MAJOR, 0), .count = TTY_HVC_MAX, .name = "hvc", .ops = &device_ops
};

/* At boot only: the list is not locked. */
void tty_register(struct tty *t)
{
	struct fixed *x = kzalloc(sizeof(*x), 0);

	if (!x)
		return;
	x->tty = t;
	list_add_tail(&x->link, &fixed_ttys);
	(void)devnode_add(t->name, S_IFCHR | 0620, t->dev);
	if (!console || tty_console_place(t) > tty_console_place(console))
		console = t;
}

void tty_init(void)
{
	chrdev_register(&aux_devices);
	chrdev_register(&serial_devices);
	chrdev_register(&hvc_devices);
	(void)devnode_add("tty", S_IFCHR | 0666, DEV(TTYAUX_MAJOR, 0));
	(void)devnode_add("console", S_IFCHR | 0600, DEV(TTYAUX_MAJOR, 1));
	process_session_end = tty_session_leader_ends;
	serial_init();
	pty_init();
}
