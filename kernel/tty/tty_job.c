/* SPDX-License-Identifier: MIT
 *
 * Problem: of all the jobs that share a terminal one is in front; the others are stopped when they read it, and the
 * session learns when the terminal goes.
 *
 * Idea: a terminal names its session and its foreground group; a process names its terminal. Every read, and changes by
 * background jobs, ask whether the caller's group is the one in front, and otherwise send the stop signal to the whole
 * group and let the call restart.
 *
 * Contract: ioctl_tty(2) ("Controlling terminal"), setsid(2), POSIX chapter 11 (general terminal interface).
 *
 * Locks: process_list_lock (RANK_TASKLIST, irqsave) for the process side, tty->lock inside it for the terminal's.
 */
#include <asm/ioctls.h>
#include <arch/user.h>
#include <lib/err.h>
#include <linux/capability.h>
#include <process/process.h>
#include "tty_priv.h"

struct tty *tty_of_current(void)
{
	ulong irq = spin_lock_irqsave(&process_list_lock);
	struct tty *t = current->process->tty;

	if (t)
		tty_get(t);
	spin_unlock_irqrestore(&process_list_lock, irq);
	return t;
}

/* Is current in the background of its own terminal t? Its group, counted, in *own. */
static bool in_background(struct tty *t, struct pid **own)
{
	ulong irq = spin_lock_irqsave(&process_list_lock);
	struct process *p = current->process;
	bool background = p->tty == t && t->pgrp && t->pgrp != p->pgrp;

	*own = p->pgrp;
	if (background)
		pid_get(*own);
	spin_unlock_irqrestore(&process_list_lock, irq);
	return background;
}

/* ignored: what a group gets that cannot be stopped by sig. */
static int stop_background(struct tty *t, int sig, int ignored)
{
	struct pid *own;
	int err = -ERESTARTSYS;

	if (!in_background(t, &own))
		return 0;
	if (signal_is_ignored(sig))
		err = ignored;
	else if (pgrp_is_orphaned(own))
		err = -EIO;
	else
		(void)signal_send_group(sig, NULL, own);
	pid_put(own);
	return err;
}

int tty_may_read(struct tty *t)
{
	return stop_background(t, SIGTTIN, -EIO);
}

int tty_may_write(struct tty *t)
{
	return t->termios.c_lflag & TOSTOP ? stop_background(t, SIGTTOU, 0) : 0;
}

int tty_may_change(struct tty *t)
{
	return stop_background(t, SIGTTOU, 0);
}

/* ---- becoming and ending the controlling terminal ------------------------------------------------------------------
 */

static void replace_pid(struct pid **slot, struct pid *p, struct pid **old)
{
	if (p)
		pid_get(p);
	*old = *slot;
	*slot = p;
}

/* Both locks held. The old ids are the caller's to put. */
static void set_control(struct tty *t, struct process *p, struct pid *old[2])
{
	replace_pid(&t->session, p ? p->session : NULL, &old[0]);
	replace_pid(&t->pgrp, p ? p->pgrp : NULL, &old[1]);
	if (p)
		p->tty = t;
}

static int take_control(struct tty *t, bool steal)
{
	struct pid *old[2] = { 0 };
	struct process *p = current->process;
	struct pid *robbed = NULL;
	ulong irq = spin_lock_irqsave(&process_list_lock);
	int err = 0;

	spin_lock(&t->lock);
	if (!process_leads_session(p) || (p->tty && p->tty != t))
		err = -EPERM;
	else if (t->session && t->session != p->session && !steal)
		err = -EPERM;
	if (!err && t->session != p->session) {
		robbed = t->session;
		if (robbed)
			pid_get(robbed);
		set_control(t, p, old);
		tty_get(t); /* the session's */
	}
	spin_unlock(&t->lock);
	spin_unlock_irqrestore(&process_list_lock, irq);
	if (robbed) {
		session_set_tty(robbed, t, NULL);
		pid_put(robbed);
		tty_put(t);
	}
	pid_put(old[0]);
	pid_put(old[1]);
	return err;
}

void tty_maybe_control(struct tty *t, struct file *f)
{
	struct process *p = current->process;

	if (f->flags & O_NOCTTY || !p || !process_leads_session(p) || p->tty || t->session || !(f->mode & FMODE_READ))
		return;
	(void)take_control(t, false);
}

/* The terminal belongs to nobody any more: its session's processes lose it, those in front hear of it. */
void tty_end_session(struct tty *t)
{
	struct pid *old[2] = { 0 };
	ulong irq = spin_lock_irqsave(&process_list_lock);

	spin_lock(&t->lock);
	set_control(t, NULL, old);
	spin_unlock(&t->lock);
	spin_unlock_irqrestore(&process_list_lock, irq);
	if (!old[0])
		return;
	session_set_tty(old[0], t, NULL);
	if (old[1]) {
		(void)signal_send_group(SIGHUP, NULL, old[1]);
		(void)signal_send_group(SIGCONT, NULL, old[1]);
	}
	pid_put(old[0]);
	pid_put(old[1]);
	tty_put(t);
}

void tty_session_leader_ends(struct process *leader)
{
	ulong irq = spin_lock_irqsave(&process_list_lock);
	struct tty *t = leader->tty;

	if (t)
		tty_get(t);
	spin_unlock_irqrestore(&process_list_lock, irq);
	if (!t)
		return;
	tty_end_session(t);
	tty_put(t);
}

/* ---- the controls ---------------------------------------------------------------------------------------- */

static long give_up(struct tty *t)
{
	struct process *p = current->process;
	ulong irq;

	if (p->tty != t)
		return -ENOTTY;
	if (process_leads_session(p)) {
		tty_end_session(t);
		return 0;
	}
	irq = spin_lock_irqsave(&process_list_lock);
	p->tty = NULL;
	spin_unlock_irqrestore(&process_list_lock, irq);
	return 0;
}

static bool is_own(struct tty *t)
{
	return current->process->tty == t && t->session == current->process->session;
}

static long set_foreground(struct tty *t, int nr)
{
	struct pid *pgrp, *old = NULL;
	bool ours = false;
	ulong irq;
	int err = tty_may_change(t);

	if (err)
		return err;
	if (!is_own(t))
		return -ENOTTY;
	pgrp = nr > 0 ? pid_find_get(nr) : NULL;
	if (!pgrp)
		return nr < 0 ? -EINVAL : -ESRCH;
	irq = spin_lock_irqsave(&process_list_lock);
	if (!list_empty(&pgrp->group))
		ours = list_first_entry(&pgrp->group, struct process, pgrp_link)->session == current->process->session;
	if (ours) {
		spin_lock(&t->lock);
		replace_pid(&t->pgrp, pgrp, &old);
		spin_unlock(&t->lock);
	}
	spin_unlock_irqrestore(&process_list_lock, irq);
	pid_put(old);
	pid_put(pgrp);
	return ours ? 0 : -EPERM;
}

static long put_id(struct tty *t, struct pid *const *which, void __user *out)
{
	ulong irq;
	int nr;

	if (!is_own(t))
		return -ENOTTY;
	irq = spin_lock_irqsave(&t->lock);
	nr = pid_nr(*which);
	spin_unlock_irqrestore(&t->lock, irq);
	return user_put(out, &nr, sizeof(nr));
}

long tty_job_ioctl(struct tty *t, struct file *f, unsigned cmd, ulong arg)
{
	int nr;

	switch (cmd) {
	case TIOCSCTTY: return take_control(t, arg == 1 && capable(CAP_SYS_ADMIN));
	case TIOCNOTTY: return give_up(t);
	case TIOCGPGRP: return put_id(t, &t->pgrp, (void __user *)arg);
	case TIOCGSID: return put_id(t, &t->session, (void __user *)arg);
	case TIOCSPGRP:
		if (user_get(&nr, (void __user *)arg, sizeof(nr)))
			return -EFAULT;
		return set_foreground(t, nr);
	default: return -ENOIOCTLCMD;
	}
}
