/* SPDX-License-Identifier: MIT
 *
 * Problem: the calls that make, end and wait for processes, and say who they are.
 *
 * Idea: thin: arguments into the requests of process/clone.h, results into the shapes of the ABI.
 *
 * Contract: clone(2), wait4(2), waitid(2), setpgid(2), prctl(2), getrlimit(2), getrusage(2).
 *
 * Locks: process_list_lock for groups and sessions; siglock for limits.
 */
#include <seccomp/seccomp.h>
#include <task/user_ns.h>
#include <abi/syscalls.h>
#include <cgroup/cgroup.h>
#include <arch/thread.h>
#include <arch/user.h>
#include <asm/prctl.h>
#include <core/log.h>
#include <lib/string.h>
#include <linux/capability.h>
#include <linux/fcntl.h>
#include <linux/prctl.h>
#include <linux/rseq.h>
#include <linux/sched.h>
#include <linux/securebits.h>
#include <linux/times.h>
#include <linux/wait.h>
#include <mm/mm.h>
#include <process/clone.h>
#include <process/pidfd.h>
#include <process/process.h>
#include <process/rseq.h>
#include <vfs/vfs.h>

/* ---- beginning and ending ------------------------------------------------------------------------------- */

long sys_fork(void)
{
	return process_clone(&(struct clone_request){ .exit_signal = SIGCHLD });
}

long sys_vfork(void)
{
	return process_clone(&(struct clone_request){ .flags = CLONE_VFORK | CLONE_VM, .exit_signal = SIGCHLD });
}

long sys_clone(ulong flags, ulong stack, int __user *parent_tid, int __user *child_tid, ulong tls)
{
	struct clone_request r = { .flags = flags & ~(ulong)CSIGNAL,
				   .exit_signal = flags & CSIGNAL,
				   .stack = stack,
				   .tls = tls,
				   .parent_tid = parent_tid,
				   .child_tid = child_tid,
				   .pidfd = parent_tid };

	if ((flags & CLONE_PIDFD) && (flags & CLONE_PARENT_SETTID))
		return -EINVAL; /* both want the same pointer */
	return process_clone(&r);
}

/* A struct that may be shorter or longer than ours: what we do not know must be zero (clone3(2)). */
static int get_versioned(void *dst, size_t ours, const void __user *src, size_t theirs)
{
	memset(dst, 0, ours);
	for (size_t i = ours; i < theirs; i++) {
		u8 b;

		if (user_get(&b, (const u8 __user *)src + i, 1))
			return -EFAULT;
		if (b)
			return -E2BIG;
	}
	return user_get(dst, src, min(ours, theirs));
}

long sys_clone3(void __user *args, size_t size)
{
	struct clone_args a;
	struct clone_request r;
	long nr;
	int err;

	if (size < CLONE_ARGS_SIZE_VER0 || size > PAGE_SIZE)
		return size > PAGE_SIZE ? -E2BIG : -EINVAL;
	err = get_versioned(&a, sizeof(a), args, size);
	if (err)
		return err;
	if ((a.flags & (CSIGNAL | CLONE_DETACHED)) || a.exit_signal > 64 ||
	    (a.exit_signal && (a.flags & (CLONE_THREAD | CLONE_PARENT))) || (!a.stack != !a.stack_size) ||
	    a.set_tid_size > 1 || (!a.set_tid != !a.set_tid_size))
		return -EINVAL;
	r = (struct clone_request){ .flags = a.flags,
				    .exit_signal = a.exit_signal,
				    .stack = a.stack ? a.stack + a.stack_size : 0,
				    .tls = a.tls,
				    .parent_tid = (int __user *)a.parent_tid,
				    .child_tid = (int __user *)a.child_tid,
				    .pidfd = (int __user *)a.pidfd };
	if (a.set_tid_size) {
		const struct user_ns *owner = pid_ns_as_ns(pid_ns_current())->owner;

		if (!ns_capable(owner, CAP_SYS_ADMIN) && !ns_capable(owner, CAP_CHECKPOINT_RESTORE))
			return -EPERM;
		if (user_get(&r.set_tid, (const void __user *)a.set_tid, sizeof(r.set_tid)))
			return -EFAULT;
		if (r.set_tid <= 0)
			return -EINVAL;
	}
	if (a.flags & CLONE_INTO_CGROUP) {
		err = a.cgroup > 0x7fffffff ? -EBADF : cgroup_enter_fd((int)a.cgroup, &r.into);
		if (err)
			return err;
		r.flags &= ~CLONE_INTO_CGROUP;
	}
	nr = process_clone(&r);
	tenant_put(r.into);
	return nr;
}

long sys_execve(const char __user *path, const char __user *const __user *argv, const char __user *const __user *envp)
{
	return process_execve(AT_FDCWD, path, argv, envp, 0);
}

long sys_execveat(int dirfd, const char __user *path, const char __user *const __user *argv,
		  const char __user *const __user *envp, int flags)
{
	return process_execve(dirfd, path, argv, envp, flags);
}

long sys_exit(int status)
{
	process_exit_thread((status & 0xff) << 8);
}

long sys_exit_group(int status)
{
	process_exit_group((status & 0xff) << 8);
}

/* ---- waiting ------------------------------------------------------------------------------------------------ */

static void fill_times(struct __kernel_old_timeval *tv, u64 ns)
{
	tv->tv_sec = ns / NSEC_PER_SEC;
	tv->tv_usec = ns % NSEC_PER_SEC / 1000;
}

static int put_wait_usage(void __user *to, const struct wait_result *w)
{
	struct rusage u;

	if (!to)
		return 0;
	memset(&u, 0, sizeof(u));
	fill_times(&u.ru_utime, w->user_ns);
	fill_times(&u.ru_stime, w->system_ns);
	u.ru_maxrss = w->max_rss_pages * 4;
	u.ru_minflt = w->min_faults;
	u.ru_majflt = w->maj_faults;
	u.ru_nvcsw = w->nvcsw;
	u.ru_nivcsw = w->nivcsw;
	return user_put(to, &u, sizeof(u));
}

long sys_wait4(int pid, int __user *status, int options, void __user *rusage)
{
	struct wait_request r = { .options = options | WEXITED };
	struct wait_result w;
	int err;

	if (options & ~(WNOHANG | WUNTRACED | WCONTINUED | __WNOTHREAD | __WCLONE | __WALL))
		return -EINVAL;
	if (pid == (int)0x80000000)
		return -ESRCH;
	r.which = pid == -1 ? P_ALL : pid > 0 ? P_PID : P_PGID;
	r.id = pid == -1 ? 0 : pid > 0 ? pid : -pid;
	err = process_wait(&r, &w);
	if (err || !w.pid)
		return err;
	if (status && user_put(status, &w.raw_status, sizeof(w.raw_status)))
		return -EFAULT;
	return put_wait_usage(rusage, &w) ? -EFAULT : w.pid;
}

long sys_waitid(int which, int pid, void __user *info, int options, void __user *rusage)
{
	struct wait_request r = { .which = which, .id = pid, .options = options };
	struct wait_result w;
	siginfo_t si;
	int err;

	if ((options & ~(WNOHANG | WNOWAIT | WEXITED | WSTOPPED | WCONTINUED | __WNOTHREAD | __WCLONE | __WALL)) ||
	    !(options & (WEXITED | WSTOPPED | WCONTINUED)))
		err = -EINVAL;
	else
		err = process_wait(&r, &w);
	memset(&si, 0, sizeof(si));
	if (err) /* Linux writes zeros then, and tells if that fails */
		return info && user_put(info, &si, offsetof(siginfo_t, si_status) + sizeof(int)) ? -EFAULT : err;
	if (w.pid) {
		si.si_signo = SIGCHLD;
		si.si_code = w.code;
		si.si_pid = w.pid;
		si.si_uid = w.uid;
		si.si_status = w.status;
	}
	if (info && user_put(info, &si, sizeof(si)))
		return -EFAULT;
	return w.pid && put_wait_usage(rusage, &w) ? -EFAULT : 0;
}

/* ---- numbers -------------------------------------------------------------------------------------------------- */

long sys_getpid(void)
{
	return pid_nr(current->process->pid);
}

long sys_gettid(void)
{
	return pid_nr(current->pid);
}

long sys_getppid(void)
{
	return process_parent_nr();
}

long sys_set_tid_address(int __user *tidptr)
{
	current->clear_child_tid = (u32 __user *)tidptr;
	return pid_nr(current->pid);
}

/* nr 0: current. Under process_list_lock. */
static struct process *find_locked(int nr)
{
	struct pid *pid = nr ? pid_find(nr) : current->process->pid;

	return pid ? pid->process : NULL;
}

static long group_or_session(int nr, bool session)
{
	ulong irq = process_list_begin();
	struct process *p = find_locked(nr);
	const struct task *t = p ? NULL : task_find(nr);
	long result = p ? pid_nr(session ? p->session : p->pgrp) : t && !t->process ? 0 : -ESRCH;

	process_list_end(irq);
	return result;
}

long sys_getpgid(int pid)
{
	return group_or_session(pid, false);
}

long sys_getpgrp(void)
{
	return group_or_session(0, false);
}

long sys_getsid(int pid)
{
	return group_or_session(pid, true);
}

static int set_group_locked(int nr, int group)
{
	struct process *p = find_locked(nr), *me = current->process, *member;
	struct pid *pgrp;

	if (!p)
		return -ESRCH;
	if (p != me) {
		if (p->parent != me)
			return -ESRCH;
		if (p->session != me->session)
			return -EPERM;
		if (p->did_exec)
			return -EACCES;
	}
	if (process_leads_session(p))
		return -EPERM;
	pgrp = group ? pid_find(group) : p->pid;
	if (!pgrp)
		return -EPERM;
	if (pgrp != p->pid) {
		member = list_first_or_null(&pgrp->group, struct process, pgrp_link);
		if (!member || member->session != me->session)
			return -EPERM;
	}
	if (pgrp != p->pgrp)
		process_move_group(p, pgrp);
	return 0;
}

long sys_setpgid(int pid, int pgid)
{
	ulong irq;
	int err;

	if (pid < 0 || pgid < 0)
		return -EINVAL;
	irq = process_list_begin();
	err = set_group_locked(pid, pgid);
	process_list_end(irq);
	return err;
}

long sys_setsid(void)
{
	return process_new_session();
}

long sys_pidfd_open(int pid, u32 flags)
{
	return pidfd_open(pid, flags);
}

/* ---- limits ----------------------------------------------------------------------------------------------------- */

static int set_limit(struct process *p, u32 which, const struct rlimit *want)
{
	ulong irq = spin_lock_irqsave(&p->siglock);
	struct rlimit *have = &p->rlimits[which];
	int err = 0;

	if (want->rlim_max > have->rlim_max && !capable(CAP_SYS_RESOURCE))
		err = -EPERM;
	else
		*have = *want;
	spin_unlock_irqrestore(&p->siglock, irq);
	if (!err)
		process_limit_changed(p, which);
	return err;
}

static int check_limit(u32 which, const struct rlimit *want)
{
	if (want->rlim_cur > want->rlim_max)
		return -EINVAL;
	return which == RLIMIT_NOFILE && want->rlim_max > 1048576 ? -EPERM : 0;
}

static int limits_of(struct process *p, u32 which, const void __user *new_rlim, void __user *old_rlim)
{
	struct rlimit want, old;
	int err;

	if (new_rlim) {
		if (user_get(&want, new_rlim, sizeof(want)))
			return -EFAULT;
		err = check_limit(which, &want);
		if (err)
			return err;
		if (which == RLIMIT_CPU && !want.rlim_cur)
			want.rlim_cur = 1;
	}
	old = p->rlimits[which];
	if (new_rlim) {
		err = set_limit(p, which, &want);
		if (err)
			return err;
	}
	return old_rlim && user_put(old_rlim, &old, sizeof(old)) ? -EFAULT : 0;
}

long sys_prlimit64(int pid, u32 resource, const void __user *new_rlim, void __user *old_rlim)
{
	struct rlimit64 wish;
	struct task *t;
	int err;

	if (new_rlim && user_get(&wish, new_rlim, sizeof(wish)))
		return -EFAULT;
	if (resource >= RLIM_NLIMITS)
		return -EINVAL;
	if (!pid)
		return limits_of(current->process, resource, new_rlim, old_rlim);
	t = task_find_get(pid);
	if (!t)
		return -ESRCH;
	if (!t->process)
		err = -ESRCH; /* a kernel thread is bound by no limits */
	else
		err = t->process == current->process || capable(CAP_SYS_RESOURCE) ||
				      uid_eq(current->cred->uid, t->cred->uid)
			      ? limits_of(t->process, resource, new_rlim, old_rlim)
			      : -EPERM;
	task_put(t);
	return err;
}

long sys_getrlimit(u32 resource, void __user *rlim)
{
	return resource >= RLIM_NLIMITS ? -EINVAL : limits_of(current->process, resource, NULL, rlim);
}

long sys_setrlimit(u32 resource, const void __user *rlim)
{
	return sys_prlimit64(0, resource, rlim, NULL);
}

long sys_getrusage(int who, void __user *usage)
{
	struct process_usage own, kids, *u = &own;
	struct mm *m = current->mm;
	struct wait_result w;

	process_usage(current->process, &own, &kids);
	own.max_rss_pages = max(own.max_rss_pages, (u64)(atomic_read(&m->rss_anon) + atomic_read(&m->rss_file)));
	if (who == RUSAGE_CHILDREN)
		u = &kids;
	else if (who == RUSAGE_THREAD)
		own = (struct process_usage){
			current->user_ns,    current->system_ns,          current->min_faults,
			current->maj_faults, current->voluntary_switches, current->preempted_switches,
			own.max_rss_pages
		};
	else if (who != RUSAGE_SELF)
		return -EINVAL;
	w = (struct wait_result){ .user_ns = u->user_ns,
				  .system_ns = u->system_ns,
				  .min_faults = u->min_faults,
				  .maj_faults = u->maj_faults,
				  .nvcsw = u->nvcsw,
				  .nivcsw = u->nivcsw,
				  .max_rss_pages = u->max_rss_pages };
	return put_wait_usage(usage, &w) || !usage ? -EFAULT : 0;
}

/* ---- prctl ----------------------------------------------------------------------------------------------------------
 */

static long set_name(const char __user *from)
{
	char name[16] = { 0 };
	ssize_t n = user_get_string(name, from, sizeof(name) - 1);

	if (n < 0)
		return -EFAULT;
	task_set_name(current, name, false);
	return 0;
}

static long set_bounding(ulong cap)
{
	struct cred *c;

	if (cap > CAP_LAST_CAP)
		return -EINVAL;
	if (!capable_here(CAP_SETPCAP))
		return -EPERM;
	c = cred_prepare();
	if (!c)
		return -ENOMEM;
	c->cap_bounding &= ~BIT(cap);
	cred_commit(c);
	return 0;
}

static long change_ambient(ulong op, ulong cap)
{
	const struct cred *now = current->cred;
	struct cred *c;

	if (op == PR_CAP_AMBIENT_CLEAR_ALL ? cap != 0 : cap > CAP_LAST_CAP)
		return -EINVAL;
	if (op == PR_CAP_AMBIENT_IS_SET)
		return now->cap_ambient >> cap & 1;
	if (op == PR_CAP_AMBIENT_RAISE && (!((now->cap_permitted & now->cap_inheritable) >> cap & 1) ||
					   (now->securebits & SECBIT_NO_CAP_AMBIENT_RAISE)))
		return -EPERM;
	if (op < PR_CAP_AMBIENT_IS_SET || op > PR_CAP_AMBIENT_CLEAR_ALL)
		return -EINVAL;
	c = cred_prepare();
	if (!c)
		return -ENOMEM;
	if (op == PR_CAP_AMBIENT_RAISE)
		c->cap_ambient |= BIT(cap);
	else if (op == PR_CAP_AMBIENT_LOWER)
		c->cap_ambient &= ~BIT(cap);
	else
		c->cap_ambient = 0;
	cred_commit(c);
	return 0;
}

static long set_cred_flag(ulong option, ulong value)
{
	struct cred *c;

	if (option == PR_SET_SECUREBITS) {
		u32 now = current->cred->securebits, locked = (now & SECURE_ALL_LOCKS) >> 1;

		if ((value & ~(ulong)(SECURE_ALL_BITS | SECURE_ALL_LOCKS)) ||
		    ((now ^ value) & (locked | (now & SECURE_ALL_LOCKS))) || !capable_here(CAP_SETPCAP))
			return -EPERM;
	} else if (value > 1 || (option == PR_SET_NO_NEW_PRIVS && value != 1)) {
		return -EINVAL;
	}
	c = cred_prepare();
	if (!c)
		return -ENOMEM;
	if (option == PR_SET_SECUREBITS)
		c->securebits = value;
	else if (option == PR_SET_NO_NEW_PRIVS)
		c->no_new_privs = true;
	else
		c->securebits = value ? c->securebits | SECBIT_KEEP_CAPS : c->securebits & ~(u32)SECBIT_KEEP_CAPS;
	cred_commit(c);
	return 0;
}

static long put_int(ulong to, int value)
{
	return user_put((void __user *)to, &value, sizeof(value)) ? -EFAULT : 0;
}

static long set_process_flag(ulong option, ulong arg2)
{
	struct process *p = current->process;

	switch (option) {
	case PR_SET_PDEATHSIG:
		if (arg2 > 64)
			return -EINVAL;
		p->death_signal = arg2;
		return 0;
	case PR_SET_DUMPABLE:
		if (arg2 > 1)
			return -EINVAL;
		current->mm->dumpable = arg2;
		return 0;
	case PR_SET_CHILD_SUBREAPER: p->is_subreaper = arg2 != 0; return 0;
	case PR_SET_TIMERSLACK: current->timer_slack_ns = arg2 ? arg2 : current->timer_slack_default_ns; return 0;
	default: return -EINVAL;
	}
}

long sys_prctl(int option, ulong arg2, ulong arg3, ulong arg4, ulong arg5)
{
	switch (option) {
	case PR_SET_NAME: return set_name((const char __user *)arg2);
	case PR_GET_NAME: return user_put((void __user *)arg2, current->comm, 16) ? -EFAULT : 0;
	case PR_GET_PDEATHSIG: return put_int(arg2, current->process->death_signal);
	case PR_GET_DUMPABLE: return current->mm->dumpable;
	case PR_GET_CHILD_SUBREAPER: return put_int(arg2, current->process->is_subreaper);
	case PR_GET_TIMERSLACK: return current->timer_slack_ns;
	case PR_GET_NO_NEW_PRIVS: return arg2 | arg3 | arg4 | arg5 ? -EINVAL : current->cred->no_new_privs;
	case PR_SET_NO_NEW_PRIVS:
		if (arg3 | arg4 | arg5)
			return -EINVAL;
		return set_cred_flag(option, arg2);
	case PR_SET_SECUREBITS:
	case PR_SET_KEEPCAPS: return set_cred_flag(option, arg2);
	case PR_GET_SECUREBITS: return current->cred->securebits;
	case PR_GET_KEEPCAPS: return !!(current->cred->securebits & SECBIT_KEEP_CAPS);
	case PR_CAPBSET_READ: return arg2 > CAP_LAST_CAP ? -EINVAL : (long)(current->cred->cap_bounding >> arg2 & 1);
	case PR_CAPBSET_DROP: return set_bounding(arg2);
	case PR_CAP_AMBIENT: return arg4 | arg5 ? -EINVAL : change_ambient(arg2, arg3);
	case PR_GET_TID_ADDRESS:
		return user_put((void __user *)arg2, &current->clear_child_tid, sizeof(ulong)) ? -EFAULT : 0;
	case PR_GET_TIMING: return PR_TIMING_STATISTICAL;
	case PR_GET_SECCOMP: return current->seccomp_mode;
	case PR_SET_SECCOMP: return seccomp_prctl(arg2, (const void __user *)arg3);
	case PR_GET_TSC: return put_int(arg2, PR_TSC_ENABLE);
	case PR_SET_TSC: return arg2 == PR_TSC_ENABLE ? 0 : -EINVAL;
	default: return set_process_flag(option, arg2);
	}
}

long sys_arch_prctl(int code, ulong addr)
{
	switch (code) {
	case ARCH_SET_FS: return arch_set_fs_base(addr);
	case ARCH_SET_GS: return arch_set_gs_base(addr);
	case ARCH_GET_CPUID: return 1; /* the instruction is allowed, and there is no way to forbid it */
	case ARCH_SET_CPUID: return -ENODEV;
	case ARCH_GET_FS: return user_put((void __user *)addr, &current->arch.fs_base, sizeof(ulong)) ? -EFAULT : 0;
	case ARCH_GET_GS: return user_put((void __user *)addr, &current->arch.gs_base, sizeof(ulong)) ? -EFAULT : 0;
	default: return -EINVAL;
	}
}

long sys_personality(u32 persona)
{
	ulong old = current->process->personality;

	if (persona != 0xffffffff)
		current->process->personality = persona;
	return old;
}

long sys_rseq(void __user *rseq, u32 len, int flags, u32 sig)
{
	if (flags & RSEQ_FLAG_UNREGISTER)
		return flags == RSEQ_FLAG_UNREGISTER ? rseq_unregister(rseq, len, sig) : -EINVAL;
	return flags ? -EINVAL : rseq_register(rseq, len, sig);
}
