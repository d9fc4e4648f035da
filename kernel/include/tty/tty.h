/* SPDX-License-Identifier: MIT
 *
 * Terminals: a driver (serial port, pty slave) below, the line discipline N_TTY in the middle, files and job control
 * above. Rules: termios(3), ioctl_tty(2), credentials(7) for sessions.
 *
 * Threading: drivers hand input to tty_receive from a deferred job or a task, and take output by their write op, which
 * is called with tty->lock held (irqsave) and must not sleep. tty_write_room says that output fits again. Locks: lock
 * (RANK_TTY, irqsave) guards termios, buffers and counts; signals are sent after it is dropped.
 */
#ifndef TTY_TTY_H
#define TTY_TTY_H

#include <asm/termbits.h>
#include <core/spin.h>
#include <task/wait.h>
#include <vfs/uapi.h>
#include <vfs/vfs.h>

#define TTY_INPUT_BYTES 4096

struct tty_winsize { /* struct winsize of ioctl_tty(2) */
	u16 rows, columns, width_pixels, height_pixels;
};

struct tty;
struct tty_driver {
	const char *name;
	/* Takes up to n bytes for output; how many. May not sleep. */
	size_t (*write)(struct tty *t, const u8 *bytes, size_t n);
	size_t (*room)(struct tty *t);    /* bytes that write would take now */
	size_t (*pending)(struct tty *t); /* bytes accepted and not yet out */
	void (*flush_output)(struct tty *t);
	void (*open)(struct tty *t);       /* first opener; NULL allowed, as for the following */
	void (*close)(struct tty *t);      /* last one gone */
	void (*unthrottle)(struct tty *t); /* the input buffer has room again */
	void (*free)(struct tty *t);       /* the struct's last reference */
	long (*ioctl)(struct tty *t, struct file *f, unsigned cmd, ulong arg); /* -ENOIOCTLCMD: not mine */
};
#define ENOIOCTLCMD 515 /* never reaches user space */

struct tty {
	const struct tty_driver *driver;
	void *priv;
	char name[16];
	u32 dev;
	refcount_t refs;
	struct spinlock lock;
	struct termios2 termios;
	struct termios locked; /* what of it must not change: ioctl_tty(2), TIOCSLCKTRMIOS */
	struct tty_winsize winsize;
	unsigned opens; /* files */
	bool hung_up, exclusive, stopped;

	/* The line discipline: bytes [tail, head) may be read, in canonical mode only up to canon_end; the line being
	 * edited is [canon_end, head). ends: a bit a byte that ends a line; an end of file is a 0 byte with eofs set.
	 */
	u8 input[TTY_INPUT_BYTES];
	ulong ends[TTY_INPUT_BYTES / 64], eofs[TTY_INPUT_BYTES / 64];
	unsigned tail, head, canon_end;
	unsigned column;      /* of the cursor, for tabs and erasing */
	unsigned edit_column; /* where the edited line begins */
	bool literal_next;
	int signal; /* that input asked for: sent when the lock is dropped */

	struct waitq read_wait, write_wait;
	struct mutex write_lock;    /* RANK_DEVICE: one writer at a time */
	struct pid *session, *pgrp; /* lock; counted */
	u8 packet_events;           /* pty: TIOCPKT_* for the master */
};

void tty_setup(struct tty *t, const struct tty_driver *d, const char *name, u32 dev); /* one reference */
void tty_get(struct tty *t);
void tty_put(struct tty *t);
/* A node under /dev for a tty that stays (of a serial port, or with TTY_HVC_MAJOR). It becomes /dev/console if it is
 * the last of those that console= names, or the first of all. */
void tty_register(struct tty *t);
int tty_console_place(const struct tty *t); /* which console= names it, from 1; 0: none */
bool tty_is_console(const struct tty *t);
#define TTY_HVC_MAJOR 229 /* Documentation/admin-guide/devices.txt: consoles of hypervisors */
#define TTY_HVC_MAX   8
void tty_receive(struct tty *t, const u8 *bytes, size_t n); /* not from a hard interrupt handler */
/* Bytes that the terminal takes without loss; 0: none before somebody reads. An edited line that fills the buffer
 * cannot be waited for: then any number is taken and dropped. */
size_t tty_receive_room(struct tty *t);
void tty_break(struct tty *t);      /* a break condition came in */
void tty_write_room(struct tty *t); /* wakes writers */
void tty_hangup(struct tty *t);     /* the line is gone: readers get 0, writers -EIO, the session SIGHUP */
void tty_set_winsize(struct tty *t, const struct tty_winsize *w); /* SIGWINCH if it changed */
int __must_check tty_open_on(struct tty *t,
			     struct file *f); /* an open file on t: controlling-terminal rules included */
extern const struct file_ops tty_file_ops;

/* N_TTY (n_tty.c), all under t->lock. */
void n_tty_input(struct tty *t, u8 c);
size_t n_tty_output(struct tty *t, const u8 *bytes, size_t n); /* with OPOST; how many of bytes were taken */
size_t n_tty_readable(const struct tty *t);                    /* 0: a read must wait */
/* Takes up to n bytes, one line in canonical mode. *ended: a line end or end of file was met. */
size_t n_tty_take(struct tty *t, u8 *buf, size_t n, bool *ended);
void n_tty_flush_input(struct tty *t);
void n_tty_mode_changed(struct tty *t, const struct termios2 *old);

#endif
