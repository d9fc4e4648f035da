/* SPDX-License-Identifier: MIT
 *
 * Problem: debuggers and system call tracers look into other threads and change them: registers, FPU state, memory,
 * signals.
 *
 * Idea: process/ptrace.c stops and starts threads; here is what is done with one that is stopped. Registers lie at the
 * top of its kernel stack in the order of the ABI's user_regs_struct; only user flags and user addresses are taken from
 * the tracer.
 *
 *   struct user:  27 words of registers (21 of struct regs, fs_base, gs_base, ds, es, fs, gs) ... debug registers from
 * byte 848
 *
 * Contract: ptrace(2); asm/ptrace.h and linux/ptrace.h of linux-libc-dev; struct user of sys/user.h. Not there:
 * PTRACE_PEEKSIGINFO, PTRACE_SECCOMP_GET_FILTER, PTRACE_O_SUSPEND_SECCOMP, single blocks, system call emulation.
 *
 * Locks: none of its own: between ptrace_begin and ptrace_end the tracee does not run.
 */
#include <abi/syscalls.h>
#include <alloc/slab.h>
#include <arch/mmu.h>
#include <arch/user.h>
#include <lib/err.h>
#include <lib/string.h>
#include <linux/audit.h>
#include <linux/elf.h>
#include <linux/ptrace.h>
#include <linux/uio.h>
#include <mm/mm.h>
#include <process/process.h>
#include <process/ptrace.h>

#define WORD_ORIG_AX  15
#define WORD_IP       16
#define WORD_CS       17
#define WORD_FLAGS    18
#define WORD_SS       20
#define USER_DEBUG_AT 848
#define USER_END_AT   (USER_DEBUG_AT + 64)
#define USER_FLAGS    0x50dd5UL /* CF PF AF ZF SF TF DF OF RF AC */
#define FLAGS_FIXED   0x202UL
#define FLAG_TRAP     0x100UL
#define DR7_VALID     0xffff03ffUL
#define OPTIONS_KNOWN ((unsigned)(0xff | PTRACE_O_EXITKILL))

/* ---- registers ---------------------------------------------------------------------------------------------- */

static ulong get_word(struct ptrace_link *l, unsigned word)
{
	ulong v = thread_user_word(l->task, word);

	return word == WORD_FLAGS && l->step ? v & ~FLAG_TRAP : v;
}

static int set_word(struct ptrace_link *l, unsigned word, ulong v)
{
	struct task *t = l->task;
	ulong *r = (ulong *)task_regs(t);

	switch (word) {
	case WORD_CS:
	case WORD_SS: return v == r[word] ? 0 : -EIO; /* there is one code and one data segment */
	case WORD_FLAGS: r[word] = (v & USER_FLAGS) | FLAGS_FIXED; return 0;
	case WORD_FS_BASE:
	case WORD_GS_BASE:
		if (v >= USER_END)
			return -EIO;
		*(word == WORD_FS_BASE ? &t->arch.fs_base : &t->arch.gs_base) = v;
		return 0;
	default:
		if (word < sizeof(struct regs) / 8)
			r[word] = v;
		return 0;
	}
}

/* DR7's length and kind of each slot must be one that the CPU takes, and no breakpoint lies in the kernel. */
static int set_debug(struct task *t, unsigned n, ulong v)
{
	if (n < 4) {
		if (v >= USER_END)
			return -EINVAL;
	} else if (n == 7) {
		if (v & ~DR7_VALID)
			return -EINVAL;
		for (unsigned slot = 0; slot < 4; slot++)
			if ((v >> (16 + 4 * slot) & 3) == 2) /* I/O port */
				return -EINVAL;
	} else if (n != 6) {
		return -EIO;
	}
	t->arch.debug_regs[n] = v;
	return 0;
}

static int peek_user(struct ptrace_link *l, ulong addr, ulong __user *data)
{
	ulong v = 0;

	if (addr % 8 || addr >= USER_END_AT)
		return -EIO;
	if (addr < USER_WORDS * 8)
		v = get_word(l, addr / 8);
	else if (addr >= USER_DEBUG_AT)
		v = l->task->arch.debug_regs[(addr - USER_DEBUG_AT) / 8];
	return user_put(data, &v, sizeof(v)) ? -EFAULT : 0;
}

static int poke_user(struct ptrace_link *l, ulong addr, ulong v)
{
	if (addr % 8 || addr >= USER_END_AT)
		return -EIO;
	if (addr < USER_WORDS * 8)
		return set_word(l, addr / 8, v);
	return addr < USER_DEBUG_AT ? 0 : set_debug(l->task, (addr - USER_DEBUG_AT) / 8, v);
}

static int get_regs(struct ptrace_link *l, void __user *to, size_t bytes)
{
	ulong words[USER_WORDS];

	for (unsigned i = 0; i < USER_WORDS; i++)
		words[i] = get_word(l, i);
	return user_copy_out(to, words, bytes) ? -EFAULT : 0;
}

static int set_regs(struct ptrace_link *l, const void __user *from, size_t bytes)
{
	ulong words[USER_WORDS];
	int err = 0;

	if (bytes % 8 || user_copy_in(words, from, bytes))
		return bytes % 8 ? -EINVAL : -EFAULT;
	if ((bytes > WORD_FS_BASE * 8 && words[WORD_FS_BASE] >= USER_END) ||
	    (bytes > WORD_GS_BASE * 8 && words[WORD_GS_BASE] >= USER_END))
		return -EIO;
	for (unsigned i = 0; i < bytes / 8 && !err; i++)
		err = set_word(l, i, words[i]);
	return err;
}

static int move_fpu(struct ptrace_link *l, ulong at, size_t bytes, bool set)
{
	void *buf = kzalloc(bytes, ALLOC_KERNEL);
	int err = buf ? 0 : -ENOMEM;

	if (!err && set)
		err = user_copy_in(buf, (void __user *)at, bytes) ? -EFAULT : arch_fpu_set(l->task, buf, bytes);
	else if (!err)
		err = thread_user_fpu(l->task, buf, bytes);
	if (!err && !set)
		err = user_copy_out((void __user *)at, buf, bytes) ? -EFAULT : 0;
	kfree(buf);
	return err;
}

static int move_regset(struct ptrace_link *l, ulong type, void __user *data, bool set)
{
	struct iovec v;
	size_t whole = type == NT_PRSTATUS ? USER_WORDS * 8 : type == NT_PRFPREG ? FXSAVE_BYTES : arch_fpu_bytes();
	int err;

	if (type != NT_PRSTATUS && type != NT_PRFPREG && type != NT_X86_XSTATE)
		return -EINVAL;
	if (user_get(&v, data, sizeof(v)))
		return -EFAULT;
	if (v.iov_len % 8 || (set && type != NT_PRSTATUS && v.iov_len < whole))
		return -EINVAL;
	v.iov_len = min((size_t)v.iov_len, whole);
	if (type != NT_PRSTATUS)
		err = move_fpu(l, (ulong)v.iov_base, v.iov_len, set);
	else
		err = set ? set_regs(l, (void __user *)v.iov_base, v.iov_len)
			  : get_regs(l, (void __user *)v.iov_base, v.iov_len);
	return !err && user_put(data, &v, sizeof(v)) ? -EFAULT : err;
}

/* ---- memory --------------------------------------------------------------------------------------------------- */

static int move_word(struct ptrace_link *l, ulong addr, ulong *v, bool write)
{
	struct mm *m = mm_of_task(l->task);
	ssize_t n = m ? mm_access(m, addr, v, sizeof(*v), write, true) : -EIO;

	if (m)
		mm_put(m);
	return n == sizeof(*v) ? 0 : -EIO;
}

static int peek(struct ptrace_link *l, ulong addr, ulong __user *data)
{
	ulong v = 0;
	int err = move_word(l, addr, &v, false);

	return !err && user_put(data, &v, sizeof(v)) ? -EFAULT : err;
}

/* ---- what it stopped for ------------------------------------------------------------------------------------- */

static int move_siginfo(struct ptrace_link *l, void __user *data, bool set)
{
	siginfo_t info;

	if (!l->info.si_signo) {
		if (set || (l->status >> 8) == PTRACE_EVENT_STOP)
			return -EINVAL;
		memset(&info, 0, sizeof(info));
		info.si_signo = l->status & 0x7f;
		info.si_code = l->status;
		info.si_pid = pid_nr(l->task->pid);
	} else {
		info = l->info;
	}
	if (!set)
		return user_copy_out(data, &info, sizeof(info)) ? -EFAULT : 0;
	if (user_copy_in(&info, data, sizeof(info)))
		return -EFAULT;
	if (info.si_signo < 1 || info.si_signo > 64)
		return -EINVAL;
	l->info = info;
	return 0;
}

static int move_sigmask(struct ptrace_link *l, ulong size, u64 __user *data, bool set)
{
	struct process *p = l->task->process;
	u64 mask = l->task->sig_blocked;
	ulong irq;

	if (size != sizeof(mask))
		return -EINVAL;
	if (!set)
		return user_put(data, &mask, sizeof(mask)) ? -EFAULT : 0;
	if (user_get(&mask, data, sizeof(mask)))
		return -EFAULT;
	irq = spin_lock_irqsave(&p->siglock);
	l->task->sig_blocked = mask & ~(SIGMASK(SIGKILL) | SIGMASK(SIGSTOP));
	task_set_work(l->task, WORK_SIGNAL);
	spin_unlock_irqrestore(&p->siglock, irq);
	return 0;
}

/* As much of the answer as fits is copied; its whole size is returned. */
static int syscall_info(struct ptrace_link *l, ulong size, void __user *data)
{
	const struct regs *r = task_regs(l->task);
	struct ptrace_syscall_info i;
	size_t bytes = offsetof(struct ptrace_syscall_info, entry);

	memset(&i, 0, sizeof(i));
	i.op = l->syscall_op;
	i.arch = AUDIT_ARCH_X86_64;
	i.instruction_pointer = r->ip;
	i.stack_pointer = r->sp;
	if (i.op == PTRACE_SYSCALL_INFO_ENTRY || i.op == PTRACE_SYSCALL_INFO_SECCOMP) {
		const ulong args[] = { r->di, r->si, r->dx, r->r10, r->r8, r->r9 };

		i.entry.nr = r->orig_ax;
		for (unsigned n = 0; n < 6; n++)
			i.entry.args[n] = args[n];
		bytes = offsetof(struct ptrace_syscall_info, entry) + sizeof(i.entry);
		if (i.op == PTRACE_SYSCALL_INFO_SECCOMP) {
			i.seccomp.ret_data = (u32)l->message;
			bytes = offsetof(struct ptrace_syscall_info, seccomp.ret_data) + sizeof(i.seccomp.ret_data);
		}
	} else if (i.op == PTRACE_SYSCALL_INFO_EXIT) {
		i.exit.rval = r->ax;
		i.exit.is_error = (long)r->ax < 0 && (long)r->ax >= -4095;
		bytes = offsetof(struct ptrace_syscall_info, exit.is_error) + 1;
	}
	return user_copy_out(data, &i, min(size, bytes)) ? -EFAULT : (int)bytes;
}

/* ---- starting and stopping -------------------------------------------------------------------------------------- */

static int attach_to(long request, int nr, ulong addr, ulong data)
{
	bool seize = request == PTRACE_SEIZE;
	struct task *t;
	int err;

	if (seize && (addr || (data & ~(ulong)OPTIONS_KNOWN)))
		return -EIO;
	t = task_find_get(nr);
	if (!t)
		return -ESRCH;
	err = !t->process || !process_may_look(t) ? -EPERM
						  : ptrace_attach(t, current->process, seize, seize ? (u32)data : 0);
	task_put(t);
	return err;
}

/* The parent becomes the tracer. */
static int trace_me(void)
{
	struct process *parent;
	ulong irq = process_list_begin();
	int err;

	parent = current->process->parent;
	if (parent)
		process_get(parent);
	process_list_end(irq);
	if (!parent)
		return -EPERM;
	err = ptrace_attach(current, parent, false, 0);
	process_put(parent);
	return err;
}

static int resume(struct ptrace_link *l, long request, ulong sig)
{
	struct regs *r = task_regs(l->task);

	if (sig > 64)
		return -EIO;
	if (request == PTRACE_SYSCALL)
		__atomic_fetch_or(&l->task->syscall_work, SYSCALL_WORK_TRACE, __ATOMIC_SEQ_CST);
	else
		__atomic_fetch_and(&l->task->syscall_work, ~(u32)SYSCALL_WORK_TRACE, __ATOMIC_SEQ_CST);
	l->step = request == PTRACE_SINGLESTEP;
	if (l->step)
		r->flags |= FLAG_TRAP;
	ptrace_resume(l, (int)sig);
	return 0;
}

static int set_options(struct ptrace_link *l, ulong options)
{
	if (options & ~(ulong)OPTIONS_KNOWN)
		return -EINVAL;
	l->options = (unsigned)options;
	return 0;
}

static int listen(struct ptrace_link *l)
{
	if (!l->seized || l->status >> 8 != PTRACE_EVENT_STOP)
		return -EIO;
	ptrace_listen(l);
	return 0;
}

static int detach(struct ptrace_link *l, ulong sig)
{
	if (sig > 64)
		return -EIO;
	ptrace_detach(l, (int)sig);
	return 0;
}

static int stopped_request(struct ptrace_link *l, long request, ulong addr, ulong data)
{
	void __user *to = (void __user *)data;

	switch (request) {
	case PTRACE_PEEKTEXT:
	case PTRACE_PEEKDATA: return peek(l, addr, to);
	case PTRACE_POKETEXT:
	case PTRACE_POKEDATA: return move_word(l, addr, &data, true);
	case PTRACE_PEEKUSR: return peek_user(l, addr, to);
	case PTRACE_POKEUSR: return poke_user(l, addr, data);
	case PTRACE_GETREGS: return get_regs(l, to, USER_WORDS * 8);
	case PTRACE_SETREGS: return set_regs(l, to, USER_WORDS * 8);
	case PTRACE_GETFPREGS: return move_fpu(l, data, FXSAVE_BYTES, false);
	case PTRACE_SETFPREGS: return move_fpu(l, data, FXSAVE_BYTES, true);
	case PTRACE_GETREGSET: return move_regset(l, addr, to, false);
	case PTRACE_SETREGSET: return move_regset(l, addr, to, true);
	case PTRACE_GETSIGINFO: return move_siginfo(l, to, false);
	case PTRACE_SETSIGINFO: return move_siginfo(l, to, true);
	case PTRACE_GETSIGMASK: return move_sigmask(l, addr, to, false);
	case PTRACE_SETSIGMASK: return move_sigmask(l, addr, to, true);
	case PTRACE_GETEVENTMSG: return user_put((ulong __user *)to, &l->message, sizeof(l->message)) ? -EFAULT : 0;
	case PTRACE_GET_SYSCALL_INFO: return syscall_info(l, addr, to);
	case PTRACE_SETOPTIONS: return set_options(l, data);
	case PTRACE_CONT:
	case PTRACE_SYSCALL:
	case PTRACE_SINGLESTEP: return resume(l, request, data);
	case PTRACE_LISTEN: return listen(l);
	case PTRACE_DETACH: return detach(l, data);
	default: return -EIO;
	}
}

long sys_ptrace(long request, long pid, ulong addr, ulong data)
{
	struct ptrace_link *l;
	int err;

	if (request == PTRACE_TRACEME)
		return trace_me();
	if (request == PTRACE_ATTACH || request == PTRACE_SEIZE)
		return attach_to(request, (int)pid, addr, data);
	err = ptrace_begin((int)pid, request != PTRACE_INTERRUPT && request != PTRACE_KILL, &l);
	if (err)
		return err;
	if (request == PTRACE_KILL)
		err = signal_send_task(SIGKILL, NULL, l->task);
	else if (request != PTRACE_INTERRUPT)
		err = stopped_request(l, request, addr, data);
	else if (l->seized)
		ptrace_interrupt(l);
	else
		err = -EIO;
	ptrace_end(l);
	return err;
}
