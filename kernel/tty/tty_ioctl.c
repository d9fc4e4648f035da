/* SPDX-License-Identifier: MIT
 *
 * Problem: terminal settings come in three layouts and three moments (now, after output, with input dropped), and a
 * dozen small controls hang on the same call.
 *
 * Idea: everything is a struct termios2 inside; the older layouts are converted at the border. Waiting for output is
 * one function.
 *
 * Contract: ioctl_tty(2). A background job that changes anything is stopped first (tty_may_change).
 *
 * Locks: tty->lock around each change.
 */
#include <asm/ioctls.h>
#include <asm/termbits.h>
#include <arch/user.h>
#include <core/clock.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/string.h>
#include <linux/capability.h>
#include <linux/eventpoll.h>
#include <process/process.h>
#include "tty_priv.h"

/* ---- termios ------------------------------------------------------------------------------------------------------
 */

static const struct {
	u32 code, speed;
} speeds[] = { { B0, 0 },         { B50, 50 },       { B75, 75 },         { B110, 110 },      { B134, 134 },
	       { B150, 150 },     { B200, 200 },     { B300, 300 },       { B600, 600 },      { B1200, 1200 },
	       { B1800, 1800 },   { B2400, 2400 },   { B4800, 4800 },     { B9600, 9600 },    { B19200, 19200 },
	       { B38400, 38400 }, { B57600, 57600 }, { B115200, 115200 }, { B230400, 230400 } };

static void speeds_from_cflag(struct termios2 *k)
{
	for (unsigned i = 0; i < ARRAY_SIZE(speeds); i++)
		if (speeds[i].code == (k->c_cflag & CBAUD))
			k->c_ispeed = k->c_ospeed = speeds[i].speed;
}

/* All output that was accepted has left. */
static int drain(struct tty *t)
{
	while (t->driver->pending && t->driver->pending(t) && !READ_ONCE(t->hung_up)) {
		int err =
			wait_event_interruptible_until(&t->write_wait, !t->driver->pending(t) || READ_ONCE(t->hung_up),
						       clock_ns() + 100 * NSEC_PER_MSEC);

		if (err && err != -ETIME)
			return err;
	}
	return 0;
}

static u32 keep_bits(u32 old, u32 new, u32 locked)
{
	return (old & locked) | (new & ~locked);
}

static void keep_locked(struct tty *t, struct termios2 *k)
{
	const struct termios2 *old = &t->termios;
	const struct termios *locked = &t->locked;

	assert_held(&t->lock);
	k->c_iflag = keep_bits(old->c_iflag, k->c_iflag, locked->c_iflag);
	k->c_oflag = keep_bits(old->c_oflag, k->c_oflag, locked->c_oflag);
	k->c_cflag = keep_bits(old->c_cflag, k->c_cflag, locked->c_cflag);
	k->c_lflag = keep_bits(old->c_lflag, k->c_lflag, locked->c_lflag);
	if (locked->c_line)
		k->c_line = old->c_line;
	for (unsigned i = 0; i < NCCS; i++)
		if (locked->c_cc[i])
			k->c_cc[i] = old->c_cc[i];
}

static int apply(struct tty *t, struct termios2 *k, bool wait, bool flush)
{
	int err = tty_may_change(t);
	struct termios2 old;
	ulong irq;

	if (!err && wait)
		err = drain(t);
	if (err)
		return err;
	irq = spin_lock_irqsave(&t->lock);
	old = t->termios;
	keep_locked(t, k);
	t->termios = *k;
	if (flush)
		n_tty_flush_input(t);
	n_tty_mode_changed(t, &old);
	if (!(k->c_iflag & IXON))
		t->stopped = false;
	spin_unlock_irqrestore(&t->lock, irq);
	waitq_wake_all(&t->read_wait); /* what a read waits for may have changed */
	waitq_wake_all(&t->write_wait);
	return 0;
}

_Static_assert(offsetof(struct termios, c_cc) == offsetof(struct termios2, c_cc), "termios is a prefix of termios2");

static long set_termios(struct tty *t, const void __user *arg, size_t size, unsigned how)
{
	struct termios2 k = t->termios;

	if (user_get(&k, arg, size))
		return -EFAULT;
	if (size == sizeof(struct termios) || (k.c_cflag & CBAUD) != BOTHER)
		speeds_from_cflag(&k);
	return apply(t, &k, how >= 1, how == 2);
}

static long get_termios(struct tty *t, void __user *arg, size_t size)
{
	struct termios2 k;
	ulong irq = spin_lock_irqsave(&t->lock);

	k = t->termios;
	spin_unlock_irqrestore(&t->lock, irq);
	return user_put(arg, &k, size);
}

struct old_termio { /* struct termio */
	u16 iflag, oflag, cflag, lflag;
	u8 line, cc[8];
};

static long set_termio(struct tty *t, const void __user *arg, unsigned how)
{
	struct termios2 k = t->termios;
	struct old_termio o;

	if (user_get(&o, arg, sizeof(o)))
		return -EFAULT;
	k.c_iflag = (k.c_iflag & ~0xffffU) | o.iflag;
	k.c_oflag = (k.c_oflag & ~0xffffU) | o.oflag;
	k.c_cflag = (k.c_cflag & ~0xffffU) | o.cflag;
	k.c_lflag = (k.c_lflag & ~0xffffU) | o.lflag;
	memcpy(k.c_cc, o.cc, sizeof(o.cc));
	speeds_from_cflag(&k);
	return apply(t, &k, how >= 1, how == 2);
}

static long get_termio(struct tty *t, void __user *arg)
{
	const struct termios2 *k = &t->termios;
	struct old_termio o = { k->c_iflag, k->c_oflag, k->c_cflag, k->c_lflag, k->c_line, { 0 } };

	memcpy(o.cc, k->c_cc, sizeof(o.cc));
	return user_put(arg, &o, sizeof(o));
}

static long set_locked(struct tty *t, const void __user *arg)
{
	struct termios k;
	ulong irq;

	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	if (user_get(&k, arg, sizeof(k)))
		return -EFAULT;
	irq = spin_lock_irqsave(&t->lock);
	t->locked = k;
	spin_unlock_irqrestore(&t->lock, irq);
	return 0;
}

static long get_locked(struct tty *t, void __user *arg)
{
	struct termios k;
	ulong irq = spin_lock_irqsave(&t->lock);

	k = t->locked;
	spin_unlock_irqrestore(&t->lock, irq);
	return user_put(arg, &k, sizeof(k));
}

static long termios_ioctl(struct tty *t, unsigned cmd, void __user *arg)
{
	switch (cmd) {
	case TCGETS: return get_termios(t, arg, sizeof(struct termios));
	case TCSETS:
	case TCSETSW:
	case TCSETSF: return set_termios(t, arg, sizeof(struct termios), cmd - TCSETS);
	case TCGETS2: return get_termios(t, arg, sizeof(struct termios2));
	case TCSETS2:
	case TCSETSW2:
	case TCSETSF2: return set_termios(t, arg, sizeof(struct termios2), cmd - TCSETS2);
	case TCGETA: return get_termio(t, arg);
	case TCSETA:
	case TCSETAW:
	case TCSETAF: return set_termio(t, arg, cmd - TCSETA);
	case TIOCGLCKTRMIOS: return get_locked(t, arg);
	case TIOCSLCKTRMIOS: return set_locked(t, arg);
	default: return -ENOIOCTLCMD;
	}
}

/* ---- the small ones -------------------------------------------------------------------------------------- */

static long flush(struct tty *t, ulong which)
{
	int err = tty_may_change(t);
	ulong irq;

	if (err)
		return err;
	if (which > TCIOFLUSH)
		return -EINVAL;
	irq = spin_lock_irqsave(&t->lock);
	if (which != TCOFLUSH)
		n_tty_flush_input(t);
	if (which != TCIFLUSH && t->driver->flush_output)
		t->driver->flush_output(t);
	spin_unlock_irqrestore(&t->lock, irq);
	waitq_wake_all(&t->write_wait);
	return 0;
}

static long flow(struct tty *t, ulong action)
{
	int err = tty_may_change(t);
	u8 c;

	if (err)
		return err;
	switch (action) {
	case TCOOFF:
	case TCOON:
		WRITE_ONCE(t->stopped, action == TCOOFF);
		waitq_wake_all(&t->write_wait);
		return 0;
	case TCIOFF:
	case TCION:
		c = t->termios.c_cc[action == TCIOFF ? VSTOP : VSTART];
		return c && !t->driver->write(t, &c, 1) ? -EAGAIN : 0;
	default: return -EINVAL;
	}
}

static long insert(struct tty *t, const u8 __user *arg)
{
	u8 c;

	if (current->process->tty != t && !capable(CAP_SYS_ADMIN))
		return -EPERM;
	if (user_get(&c, arg, 1))
		return -EFAULT;
	tty_receive(t, &c, 1);
	return 0;
}

static long put_int(void __user *arg, int v)
{
	return user_put(arg, &v, sizeof(v));
}

static long winsize_ioctl(struct tty *t, unsigned cmd, void __user *arg)
{
	struct tty_winsize w = t->winsize;

	if (cmd == TIOCGWINSZ)
		return user_put(arg, &w, sizeof(w));
	if (user_get(&w, arg, sizeof(w)))
		return -EFAULT;
	tty_set_winsize(t, &w);
	return 0;
}

static long line_discipline(void __user *arg)
{
	int n;

	if (user_get(&n, arg, sizeof(n)))
		return -EFAULT;
	return n == 0 ? 0 : -EINVAL; /* N_TTY is the only one */
}

long tty_common_ioctl(struct tty *t, struct file *f, unsigned cmd, ulong arg)
{
	void __user *u = (void __user *)arg;

	switch (cmd) {
	case TIOCGWINSZ:
	case TIOCSWINSZ: return winsize_ioctl(t, cmd, u);
	case TCFLSH: return flush(t, arg);
	case TCXONC: return flow(t, arg);
	case TCSBRK:
	case TCSBRKP: return drain(t); /* a break itself is for modems */
	case TIOCSTI: return insert(t, u);
	case TIOCOUTQ: return put_int(u, t->driver->pending ? t->driver->pending(t) : 0);
	case FIONREAD: return put_int(u, n_tty_readable(t));
	case TIOCGETD: return put_int(u, 0);
	case TIOCSETD: return line_discipline(u);
	case TIOCEXCL: t->exclusive = true; return 0;
	case TIOCNXCL: t->exclusive = false; return 0;
	case TIOCGEXCL: return put_int(u, t->exclusive);
	default: return termios_ioctl(t, cmd, u);
	}
}

long tty_ioctl(struct file *f, unsigned cmd, ulong arg)
{
	struct tty *t = f->priv;
	long r = -ENOIOCTLCMD;

	if (READ_ONCE(t->hung_up))
		return -EIO;
	if (t->driver->ioctl)
		r = t->driver->ioctl(t, f, cmd, arg);
	if (r == -ENOIOCTLCMD)
		r = tty_job_ioctl(t, f, cmd, arg);
	if (r == -ENOIOCTLCMD)
		r = tty_common_ioctl(t, f, cmd, arg);
	return r == -ENOIOCTLCMD ? -ENOTTY : r;
}
