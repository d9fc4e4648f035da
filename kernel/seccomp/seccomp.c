/* SPDX-License-Identifier: MIT
 *
 * Problem: a program that will work on untrusted input gives up system calls for good, also for its children and its
 * other threads, by a filter that sees number and arguments.
 *
 * Idea: filters are classic BPF, checked and compiled once, in a chain from the newest to the oldest; a task points at
 * its newest, children share it, nothing is ever taken out. At each call all of a chain run and the strictest verdict
 * counts. Strict mode is a chain of its own that is no filter.
 *
 * Contract: seccomp(2), prctl(2). The listener of SECCOMP_FILTER_FLAG_NEW_LISTENER is refused; its verdict without one
 * is ENOSYS, as there.
 *
 * Locks: siglock when a filter is given to other threads; a task reads its own pointer. A link keeps the older one, so
 * a pointer read before a change stays valid.
 */
#include <abi/syscalls.h>
#include <alloc/slab.h>
#include <arch/thread.h>
#include <arch/user.h>
#include <bpf/prog.h>
#include <bpf_glue/bpf.h>
#include <core/attr.h>
#include <core/init.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/string.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/ptrace.h>
#include <asm/unistd_64.h>
#include <linux/seccomp.h>
#include <mm/mm.h>
#include <process/hooks.h>
#include <process/process.h>
#include <process/ptrace.h>
#include <seccomp/seccomp.h>
#include <task/user_ns.h>

#define MAX_CHAIN_INSNS 32768
#define FILTER_COST     4 /* what a filter counts beside its instructions */
#define KNOWN_FLAGS                                                                                                    \
	(SECCOMP_FILTER_FLAG_TSYNC | SECCOMP_FILTER_FLAG_LOG | SECCOMP_FILTER_FLAG_SPEC_ALLOW |                        \
	 SECCOMP_FILTER_FLAG_TSYNC_ESRCH)

struct filter {
	refcount_t refs;
	struct filter *older; /* counted; NULL: the first */
	struct bpf_prog *prog;
	u32 insns; /* of the chain */
	bool log;
};

static struct filter strict = { .refs = { ATOMIC_INIT(1) } };

/* ---- life ------------------------------------------------------------------------------------------------------ */

static void filter_put(struct filter *f)
{
	while (f && f != &strict && refcount_dec_and_test(&f->refs)) {
		struct filter *older = f->older;

		bpf_prog_put(f->prog);
		kfree(f);
		f = older;
	}
}

static void give(struct task *t, struct filter *f)
{
	if (f != &strict)
		refcount_inc(&f->refs);
	smp_store_release((struct filter **)&t->seccomp, f);
	t->seccomp_mode = f == &strict ? SECCOMP_MODE_STRICT : SECCOMP_MODE_FILTER;
	__atomic_fetch_or(&t->syscall_work, SYSCALL_WORK_SECCOMP, __ATOMIC_RELEASE);
}

static void share(struct task *child)
{
	give(child, current->seccomp);
}

static void drop(struct task *t)
{
	filter_put(t->seccomp);
	t->seccomp = NULL;
}

static const struct process_seccomp_hooks hooks = { .share = share, .drop = drop };

/* ---- the check --------------------------------------------------------------------------------------------------- */

static bool strict_allows(const struct regs *r)
{
	ulong nr = r->orig_ax;

	if (nr == __NR_read || nr == __NR_write || nr == __NR_exit || nr == __NR_rt_sigreturn)
		return true;
	process_exit_thread(SIGKILL);
}

/* Lower actions are stricter, as signed numbers (linux/seccomp.h). */
static u32 run_chain(const struct filter *f, const struct seccomp_data *d, bool *log)
{
	u32 verdict = SECCOMP_RET_ALLOW;

	for (; f; f = f->older) {
		u32 v = (u32)bpf_prog_run(f->prog, d);

		if ((s32)(v & SECCOMP_RET_ACTION_FULL) < (s32)(verdict & SECCOMP_RET_ACTION_FULL)) {
			verdict = v;
			*log = f->log;
		}
	}
	return verdict;
}

static void describe(siginfo_t *info, const struct regs *r, u32 data)
{
	memset(info, 0, sizeof(*info));
	info->si_signo = SIGSYS;
	info->si_code = 1; /* SYS_SECCOMP */
	info->si_errno = (int)data;
	info->si_call_addr = (void *)r->ip;
	info->si_syscall = (int)r->orig_ax;
	info->si_arch = AUDIT_ARCH_X86_64;
}

static void __noreturn kill(const struct regs *r, bool whole)
{
	siginfo_t info;

	log_info("seccomp: %s (%d) ended for system call %ld", current->comm, current->tid, (long)r->orig_ax);
	if (whole || READ_ONCE(current->process->nr_threads) == 1) {
		describe(&info, r, 0);
		process_dump_core(SIGSYS, &info);
		process_exit_group(SIGSYS);
	}
	process_exit_thread(SIGSYS);
}

static bool trap(struct regs *r, u32 data)
{
	siginfo_t info;

	describe(&info, r, data);
	r->ax = r->orig_ax;
	signal_force_info(SIGSYS, &info);
	return false;
}

static bool traced(struct regs *r, u32 data)
{
	if (!ptrace_wants_event(PTRACE_EVENT_SECCOMP)) {
		r->ax = -ENOSYS;
		return false;
	}
	ptrace_event(PTRACE_EVENT_SECCOMP, data);
	return (int)r->orig_ax != -1;
}

bool seccomp_allows(struct regs *r)
{
	const struct filter *f = smp_load_acquire((struct filter **)&current->seccomp);
	struct seccomp_data d = { .nr = (int)r->orig_ax,
				  .arch = AUDIT_ARCH_X86_64,
				  .instruction_pointer = r->ip,
				  .args = { r->di, r->si, r->dx, r->r10, r->r8, r->r9 } };
	bool log = false;
	u32 verdict, data;

	if (f == &strict)
		return strict_allows(r);
	verdict = run_chain(f, &d, &log);
	data = verdict & SECCOMP_RET_DATA;
	switch (verdict & SECCOMP_RET_ACTION_FULL) {
	case SECCOMP_RET_LOG: log_info("seccomp: %s (%d) calls %d", current->comm, current->tid, d.nr); return true;
	case SECCOMP_RET_ALLOW: return true;
	case SECCOMP_RET_ERRNO:
		if (log)
			log_info("seccomp: %s (%d) may not call %d", current->comm, current->tid, d.nr);
		r->ax = -(long)min(data, 4095U);
		return false;
	case SECCOMP_RET_TRAP: return trap(r, data);
	case SECCOMP_RET_TRACE: return traced(r, data);
	case SECCOMP_RET_USER_NOTIF: r->ax = -ENOSYS; return false;
	case SECCOMP_RET_KILL_THREAD: kill(r, false);
	default: kill(r, true);
	}
}

/* ---- setting -------------------------------------------------------------------------------------------------------
 */

static int load_filter(const void __user *uprog, struct filter **out)
{
	struct sock_fprog p;
	struct sock_filter *code;
	struct filter *f;
	int err = -ENOMEM;

	if (user_get(&p, uprog, sizeof(p)))
		return -EFAULT;
	if (!p.len || p.len > BPF_MAXINSNS)
		return -EINVAL;
	if (!current->cred->no_new_privs && !capable_here(CAP_SYS_ADMIN))
		return -EACCES;
	code = kcalloc(p.len, sizeof(*code), ALLOC_CHARGED);
	f = kzalloc(sizeof(*f), ALLOC_CHARGED);
	if (code && f)
		err = user_get(code, (const void __user *)p.filter, p.len * sizeof(*code));
	if (!err)
		err = bpf_classic_load(code, p.len, true, &f->prog);
	kfree(code);
	if (err) {
		kfree(f);
		return err;
	}
	refcount_set(&f->refs, 1);
	f->insns = p.len + FILTER_COST;
	*out = f;
	return 0;
}

static bool is_behind(const struct filter *old, const struct filter *f)
{
	while (f && f != old)
		f = f->older;
	return f == old;
}

/* TSYNC: may all threads go over to a chain that begins with current's? The number of one that may not, or 0. */
static int find_stranger(void)
{
	struct task *t;

	list_for_each_entry (t, &current->process->threads, thread_link)
		if (t != current && t->seccomp && (t->seccomp == &strict || !is_behind(t->seccomp, current->seccomp)))
			return pid_nr(t->pid);
	return 0;
}

static void give_all(struct filter *f)
{
	struct task *t;

	list_for_each_entry (t, &current->process->threads, thread_link) {
		struct filter *old = t->seccomp;

		if (t == current)
			continue;
		give(t, f);
		filter_put(old); /* never the last one: the new chain has it too */
	}
}

/* f is ours; it becomes the task's, with a reference. */
static long install(struct filter *f, u32 flags)
{
	struct process *p = current->process;
	ulong irq = spin_lock_irqsave(&p->siglock);
	struct filter *old = current->seccomp;
	long result = 0;

	if (flags & SECCOMP_FILTER_FLAG_TSYNC) {
		result = find_stranger();
		if (result && flags & SECCOMP_FILTER_FLAG_TSYNC_ESRCH)
			result = -ESRCH;
	}
	if (!result && old)
		f->insns += old->insns;
	if (!result && f->insns > MAX_CHAIN_INSNS)
		result = -ENOMEM;
	if (!result) {
		f->older = old; /* the task's reference becomes the chain's */
		give(current, f);
		if (flags & SECCOMP_FILTER_FLAG_TSYNC)
			give_all(f);
	}
	spin_unlock_irqrestore(&p->siglock, irq);
	filter_put(f);
	return result;
}

static long set_filter(u32 flags, const void __user *uprog)
{
	struct filter *f;
	int err;

	if (flags & ~(u32)KNOWN_FLAGS)
		return -EINVAL;
	if (current->seccomp == &strict)
		return -EINVAL;
	err = load_filter(uprog, &f);
	if (err)
		return err;
	f->log = flags & SECCOMP_FILTER_FLAG_LOG;
	return install(f, flags);
}

static long set_strict(void)
{
	if (current->seccomp)
		return current->seccomp == &strict ? 0 : -EINVAL;
	give(current, &strict);
	return 0;
}

static long action_avail(const void __user *uaction)
{
	static const u32 known[] = { SECCOMP_RET_KILL_PROCESS, SECCOMP_RET_KILL_THREAD, SECCOMP_RET_TRAP,
				     SECCOMP_RET_ERRNO,        SECCOMP_RET_TRACE,       SECCOMP_RET_LOG,
				     SECCOMP_RET_ALLOW };
	u32 action;

	if (user_get(&action, uaction, sizeof(action)))
		return -EFAULT;
	for (unsigned i = 0; i < ARRAY_SIZE(known); i++)
		if (known[i] == action)
			return 0;
	return -EOPNOTSUPP;
}

long sys_seccomp(u32 op, u32 flags, void __user *args)
{
	switch (op) {
	case SECCOMP_SET_MODE_STRICT: return flags || args ? -EINVAL : set_strict();
	case SECCOMP_SET_MODE_FILTER: return set_filter(flags, args);
	case SECCOMP_GET_ACTION_AVAIL: return flags ? -EINVAL : action_avail(args);
	default: return -EINVAL;
	}
}

long seccomp_prctl(ulong mode, const void __user *filter)
{
	switch (mode) {
	case SECCOMP_MODE_STRICT: return set_strict();
	case SECCOMP_MODE_FILTER: return set_filter(0, filter);
	default: return -EINVAL;
	}
}

/* ---- files
 * ----------------------------------------------------------------------------------------------------------- */

static int show_actions(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	strbuf_add(out, "kill_process kill_thread trap errno trace log allow\n");
	return 0;
}

static const struct attr *const files[] = {
	&(const struct attr){ .name = "actions_avail", .mode = 0444, .show = show_actions }, NULL
};

static void seccomp_init(void)
{
	process_seccomp_hooks = &hooks;
	ensure(!attr_folder_add(&attr_sysctl_root, "kernel/seccomp", files));
}
PART_INIT(late, seccomp_init);
