/* SPDX-License-Identifier: MIT
 *
 * Problem: the signal calls.
 *
 * Idea: thin: copy in, check rights, hand over to process.
 *
 * Contract: sigaction(2), sigprocmask(2), kill(2), tgkill(2), rt_sigqueueinfo(2), sigtimedwait(2),
 * sigsuspend(2), sigaltstack(2), sigreturn(2).
 *
 * Locks: siglock where masks and actions change; RCU for finding targets.
 */
#include <task/user_ns.h>
#include <abi/syscalls.h>
#include <arch/thread.h>
#include <arch/user.h>
#include <lib/string.h>
#include <fs/proc.h>
#include <process/pidfd.h>
#include <process/process.h>
#include <process/timers.h>
#include <task/sched.h>
#include <vfs/vfs.h>

#define SET_BYTES sizeof(u64)

long sys_rt_sigaction(int sig, const void __user *act, void __user *oldact, size_t sigsetsize)
{
	struct sigaction_kernel new, old;
	int err;

	if (sigsetsize != SET_BYTES || sig < 1 || sig > 64)
		return -EINVAL;
	if (act) {
		if (user_get(&new, act, sizeof(new)))
			return -EFAULT;
		if (sig == SIGKILL || sig == SIGSTOP)
			return -EINVAL;
	}
	err = signal_action(sig, act ? &new : NULL, &old);
	if (!err && oldact && user_put(oldact, &old, sizeof(old)))
		return -EFAULT;
	return err;
}

long sys_rt_sigprocmask(int how, const u64 __user *set, u64 __user *oldset, size_t sigsetsize)
{
	u64 mask, old = current->sig_blocked;

	if (sigsetsize != SET_BYTES)
		return -EINVAL;
	if (set) {
		if (user_get(&mask, set, sizeof(mask)))
			return -EFAULT;
		switch (how) {
		case SIG_BLOCK: mask |= old; break;
		case SIG_UNBLOCK: mask = old & ~mask; break;
		case SIG_SETMASK: break;
		default: return -EINVAL;
		}
		signal_set_blocked(mask);
	}
	return oldset && user_put(oldset, &old, sizeof(old)) ? -EFAULT : 0;
}

long sys_rt_sigpending(u64 __user *set, size_t sigsetsize)
{
	u64 pending = signal_pending_mask(current) & current->sig_blocked;

	if (sigsetsize > SET_BYTES)
		return -EINVAL;
	return user_put(set, &pending, sigsetsize) ? -EFAULT : 0;
}

long sys_rt_sigsuspend(const u64 __user *set, size_t sigsetsize)
{
	int err;

	if (!set)
		return sigsetsize == SET_BYTES ? -EFAULT : -EINVAL;
	err = signal_mask_begin(set, sigsetsize);
	if (err)
		return err;
	return signal_pause();
}

long sys_pause(void)
{
	return signal_pause();
}

long sys_rt_sigtimedwait(const u64 __user *set, void __user *info, const void __user *timeout, size_t sigsetsize)
{
	u64 want, ns = ~0ULL, deadline = ~0ULL;
	siginfo_t si;
	int sig, err;

	if (sigsetsize != SET_BYTES)
		return -EINVAL;
	if (user_get(&want, set, sizeof(want)))
		return -EFAULT;
	if (timeout) {
		err = timespec_get(timeout, &ns);
		if (!err)
			err = clock_deadline(1, ns, true, &deadline); /* CLOCK_MONOTONIC */
		if (err)
			return err;
	}
	sig = signal_wait(want, ns ? deadline : 0, &si);
	if (sig > 0 && info && user_put(info, &si, sizeof(si)))
		return -EFAULT;
	return sig;
}

/* ---- sending ------------------------------------------------------------------------------------------------ */

static void fill_sender(siginfo_t *si, int sig, int code)
{
	memset(si, 0, sizeof(*si));
	si->si_signo = sig;
	si->si_code = code;
	si->si_pid = pid_nr(current->process->pid);
	si->si_uid = user_out(current->cred->uid);
}

static int send_process(int sig, const siginfo_t *si, struct process *p)
{
	struct task *t = process_leader_get(p);
	int err;

	if (!t)
		return -ESRCH;
	err = process_may_signal(t, sig) ? signal_send_process(sig, si, p) : -EPERM;
	task_put(t);
	return err;
}

/* To every process that fn accepts; -ESRCH: none; -EPERM: none that we may signal. */
static int send_many(int sig, const siginfo_t *si, struct pid *pgrp)
{
	int result = -ESRCH, nr = 0;
	struct process *p;

	for (nr = 1; (p = process_next(&nr)); nr++, process_put(p)) {
		int err;

		if (pgrp ? p->pgrp != pgrp : (p == current->process || nr == 1))
			continue;
		err = send_process(sig, si, p);
		if (!err || result == -ESRCH)
			result = err;
	}
	return result;
}

static int kill_group(int nr, int sig, const siginfo_t *si)
{
	struct pid *pgrp = nr ? pid_find_get(nr) : current->process->pgrp;
	int err;

	if (!pgrp)
		return -ESRCH;
	err = send_many(sig, si, pgrp);
	if (nr)
		pid_put(pgrp);
	return err;
}

/* A thread's number also names its process. Kernel threads take no signals, but may be asked whether they live. */
static int send_number(int nr, int sig, const siginfo_t *si)
{
	struct process *p = process_find_get(nr);
	struct task *t = p ? NULL : task_find_get(nr);
	int err = -ESRCH;

	if (p)
		err = send_process(sig, si, p);
	else if (t && t->process)
		err = send_process(sig, si, t->process);
	else if (t)
		err = process_may_signal(t, sig) ? 0 : -EPERM;
	process_put(p);
	if (t)
		task_put(t);
	return err;
}

long sys_kill(int pid, int sig)
{
	siginfo_t si;

	if (sig < 0 || sig > 64)
		return -EINVAL;
	fill_sender(&si, sig, SI_USER);
	if (pid == -1)
		return send_many(sig, &si, NULL);
	if (pid <= 0)
		return pid == (int)0x80000000 ? -ESRCH : kill_group(-pid, sig, &si);
	return send_number(pid, sig, &si);
}

static long send_thread(int tgid, int tid, int sig, const siginfo_t *si)
{
	struct task *t;
	int err;

	if (tid <= 0 || tgid == 0 || tgid < -1 || sig < 0 || sig > 64)
		return -EINVAL;
	t = task_find_get(tid);
	if (!t)
		return -ESRCH;
	if (tgid > 0 && pid_nr(t->process ? t->process->pid : t->pid) != tgid)
		err = -ESRCH;
	else if (!process_may_signal(t, sig))
		err = -EPERM;
	else
		err = t->process ? signal_send_task(sig, si, t) : 0;
	task_put(t);
	return err;
}

long sys_tkill(int tid, int sig)
{
	siginfo_t si;

	fill_sender(&si, sig, SI_TKILL);
	return send_thread(-1, tid, sig, &si);
}

long sys_tgkill(int tgid, int tid, int sig)
{
	siginfo_t si;

	if (tgid <= 0)
		return -EINVAL;
	fill_sender(&si, sig, SI_TKILL);
	return send_thread(tgid, tid, sig, &si);
}

/* A program may not pretend that the kernel or kill() sent it, except to itself. */
static int get_info(siginfo_t *si, const void __user *from, int sig, bool to_self)
{
	if (user_get(si, from, sizeof(*si)))
		return -EFAULT;
	return (si->si_code >= 0 || si->si_code == SI_TKILL) && !to_self ? -EPERM : 0;
}

long sys_rt_sigqueueinfo(int pid, int sig, void __user *info)
{
	siginfo_t si;
	int err = get_info(&si, info, sig, pid == pid_nr(current->process->pid));

	if (err)
		return err;
	si.si_signo = sig;
	if (sig < 0 || sig > 64)
		return -EINVAL;
	return send_number(pid, sig, &si);
}

long sys_rt_tgsigqueueinfo(int tgid, int tid, int sig, void __user *info)
{
	siginfo_t si;
	int err = get_info(&si, info, sig, tid == pid_nr(current->pid));

	if (err)
		return err;
	si.si_signo = sig;
	return tgid <= 0 ? -EINVAL : send_thread(tgid, tid, sig, &si);
}

long sys_pidfd_send_signal(int pidfd, int sig, void __user *info, u32 flags)
{
	struct fd_ref ref;
	struct process *p;
	struct pid *pid;
	siginfo_t si;
	int err = 0;

	if (flags || sig < 0 || sig > 64)
		return -EINVAL;
	ref = fd_get(pidfd);
	if (!ref.file)
		return -EBADF;
	pid = pidfd_pid(ref.file);
	if (!pid)
		pid = proc_pid_of(ref.file->inode);
	p = pid ? process_of_pid(pid) : NULL;
	fill_sender(&si, sig, SI_USER);
	if (!pid)
		err = -EBADF;
	else if (info)
		err = get_info(&si, info, sig, p == current->process);
	if (!err && sig != si.si_signo)
		err = -EINVAL;
	if (!err && !p)
		err = -ESRCH;
	if (!err)
		err = send_process(sig, &si, p);
	process_put(p);
	fd_put(ref);
	return err;
}

/* ---- the alternate stack and the way back ------------------------------------------------------------------------ */

static bool on_altstack(ulong sp)
{
	return sp > current->altstack_sp && sp - current->altstack_sp <= current->altstack_size &&
	       !(current->altstack_flags & (int)SS_AUTODISARM);
}

static int set_altstack(const stack_t *s, ulong sp)
{
	unsigned mode = s->ss_flags & ~(unsigned)SS_FLAG_BITS;

	if (on_altstack(sp))
		return -EPERM;
	if (mode != SS_DISABLE && mode != SS_ONSTACK && mode)
		return -EINVAL;
	if (mode == SS_DISABLE) {
		current->altstack_sp = current->altstack_size = 0;
		current->altstack_flags = 0;
		return 0;
	}
	if (s->ss_size < MINSIGSTKSZ)
		return -ENOMEM;
	current->altstack_sp = (ulong)s->ss_sp;
	current->altstack_size = s->ss_size;
	current->altstack_flags = s->ss_flags & SS_FLAG_BITS;
	return 0;
}

long sys_sigaltstack(const void __user *ss, void __user *old_ss)
{
	ulong sp = task_regs(current)->sp;
	stack_t new, old;
	int err;

	memset(&old, 0, sizeof(old));
	old.ss_sp = (void *)current->altstack_sp;
	old.ss_size = current->altstack_size;
	old.ss_flags = current->altstack_flags | (!current->altstack_size ? SS_DISABLE
						  : on_altstack(sp)       ? SS_ONSTACK
									  : 0);
	if (ss) {
		if (user_get(&new, ss, sizeof(new)))
			return -EFAULT;
		err = set_altstack(&new, sp);
		if (err)
			return err;
	}
	return old_ss && user_put(old_ss, &old, sizeof(old)) ? -EFAULT : 0;
}

long sys_rt_sigreturn(void)
{
	struct regs *r = task_regs(current);
	struct arch_signal s = { 0 };

	r->orig_ax = -1; /* nothing to restart */
	if (arch_signal_pop(r, &s)) {
		signal_force(SIGSEGV, SI_KERNEL, 0);
		return 0;
	}
	signal_set_blocked(s.saved_mask);
	current->altstack_sp = s.altstack_sp;
	current->altstack_size = s.altstack_flags & SS_DISABLE ? 0 : s.altstack_size;
	current->altstack_flags = s.altstack_flags & (int)SS_FLAG_BITS;
	return r->ax;
}

long sys_restart_syscall(void)
{
	return current->restart.fn ? current->restart.fn(current) : -EINTR;
}
