/* SPDX-License-Identifier: MIT
 *
 * What the files of tty share.
 */
#ifndef TTY_PRIV_H
#define TTY_PRIV_H

#include <tty/tty.h>

struct process;

/* tty_job.c: job control. may_*: 0, -EIO, or a restart code after a stop signal was sent. */
int tty_may_read(struct tty *t);
int tty_may_write(struct tty *t);
int tty_may_change(struct tty *t);
void tty_maybe_control(struct tty *t, struct file *f); /* an open by a session leader without a terminal */
void tty_end_session(struct tty *t);                   /* SIGHUP and SIGCONT to whom it controls; nobody's then */
void tty_session_leader_ends(struct process *leader);
struct tty *tty_of_current(void); /* counted, or NULL */
long tty_job_ioctl(struct tty *t, struct file *f, unsigned cmd, ulong arg);

long tty_ioctl(struct file *f, unsigned cmd, ulong arg);
long tty_common_ioctl(struct tty *t, struct file *f, unsigned cmd, ulong arg); /* also for pty masters */

void tty_init(void);
void serial_init(void);
void pty_init(void);

#endif
