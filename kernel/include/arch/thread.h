/* SPDX-License-Identifier: MIT
 *
 * The machine's half of a task: saved registers, switching, entering user mode, signal frames.
 * struct regs has the field order of Linux's x86-64 struct pt_regs (asm/ptrace.h), which ptrace,
 * perf and signal code rely on.
 */
#ifndef ARCH_THREAD_H
#define ARCH_THREAD_H

#include <lib/types.h>

struct task;

struct regs {
	ulong r15, r14, r13, r12, bp, bx, r11, r10, r9, r8, ax, cx, dx, si, di;
	ulong orig_ax; /* syscall number, or -1 (no syscall), or the error code of an exception */
	ulong ip, cs, flags, sp, ss;
};

struct arch_thread {
	ulong ksp;                                /* saved kernel stack pointer while not running */
	ulong fs_base, gs_base;                   /* user values */
	void *fpu;                                /* XSAVE area; NULL: never used */
	struct pagetable *pt;                     /* user tables loaded while it runs; NULL: whatever is loaded (kernel
						     threads) */
	ulong trap_nr, trap_error, fault_address; /* of the last exception in user mode, for signal frames */
	u64 debug_regs[8];
};

static inline bool regs_user(const struct regs *r)
{
	return r->cs & 3;
}

struct regs *task_regs(struct task *t); /* the user registers at the top of the task's kernel stack */

/* A new task: on its first switch runs fn(arg); if fn returns, the task goes to user mode with
 * task_regs(). */
void arch_thread_init(struct task *t, void (*fn)(void *), void *arg);
/* Child of fork: copies FPU state, segment bases and task_regs of `from`. -ENOMEM. */
int __must_check arch_thread_copy(struct task *t, struct task *from);
void arch_thread_free(struct task *t);
/* Switches stacks, FPU and segment bases. IRQs off, run queue lock held. Returns, when the caller
 * runs again, the task that ran before it on this CPU. */
struct task *arch_switch(struct task *prev, struct task *next);

/* After exec: clean user registers, FPU and segment bases of current; then ip and sp. */
void arch_exec_regs(struct task *t, ulong ip, ulong sp);
/* Segment bases of current (arch_prctl, CLONE_SETTLS through t->arch.fs_base before the first
 * switch). -EPERM: not a user address. */
int __must_check arch_set_fs_base(ulong base);
int __must_check arch_set_gs_base(ulong base);
/* Debug registers of current were changed: loads them. */
void arch_load_debug_regs(struct task *t);
/* Slots of this CPU's debug registers that no tracer of the current task uses, for the kernel's own watches. IRQs off;
 * a slot stays until it is cleared, whoever runs. set: a slot, or -1: none is free. User addresses; len 1, 2, 4, 8. The
 * reason of a debug trap in user mode (DR6) has a bit from ARCH_WATCH_SHIFT on for each slot that hit, and in its low
 * bits the tracer's. */
#define ARCH_WATCHES     4
#define ARCH_WATCH_SHIFT 32
enum arch_watch { ARCH_WATCH_EXECUTE = 0, ARCH_WATCH_WRITE = 1, ARCH_WATCH_ACCESS = 3 };
int arch_watch_set(ulong addr, enum arch_watch kind, unsigned len);
void arch_watch_clear(unsigned slot);
/* FPU state in the standard XSAVE layout, for ptrace and core dumps. The task is stopped or
 * current. 0 or -errno. */
size_t arch_fpu_bytes(void);
u64 arch_fpu_features(void); /* XCR0: which parts the state has */
int __must_check arch_fpu_get(struct task *t, void *buf, size_t bytes);
int __must_check arch_fpu_set(struct task *t, const void *buf, size_t bytes);

/* Signal frames (x86-64 ABI: struct ucontext, siginfo and FPU state on the user stack;
 * asm/sigcontext.h, asm/ucontext.h). push builds the frame and points the registers at the handler;
 * -EFAULT: stack not writable. pop is rt_sigreturn. */
struct arch_signal {
	int sig;
	ulong handler, restorer, sa_flags;
	u64 saved_mask;                   /* for uc_sigmask */
	const void *siginfo;              /* 128 bytes */
	ulong altstack_sp, altstack_size; /* for uc_stack */
	int altstack_flags;
	ulong alt_top; /* build the frame below this; 0: below the current stack pointer and its red
			  zone */
};
int __must_check arch_signal_push(struct regs *r, const struct arch_signal *s);
int __must_check arch_signal_pop(struct regs *r, struct arch_signal *s); /* fills saved_mask and altstack_* */

#endif
