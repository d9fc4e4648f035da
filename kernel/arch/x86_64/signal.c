/* SPDX-License-Identifier: MIT
 *
 * Problem: a handler runs on the user stack and returns by rt_sigreturn; debuggers, unwinders and
 * language runtimes read and change what lies there.
 *
 * Idea: build the frame of the x86-64 ABI in kernel memory and copy it out at once; take it back
 * with the same care as any input: selectors are ours, only user flags are believed. XSAVE and XRSTOR
 * write and read the FPU's state where it lies, since the CPU itself refuses what is no image of it.
 *
 *   high    FPU state (XSAVE layout, 64-byte aligned), magic2 behind it
 *           siginfo (128 bytes)
 *           struct ucontext
 *   sp ->   return address = restorer; sp + 8 is 16-byte aligned, as after a call
 *
 * Contract: arch/thread.h. Source: linux-libc-dev's asm/sigcontext.h, asm/ucontext.h; System V ABI
 * AMD64, 3.2.2.
 *
 * Locks: none; current only.
 */
#include <arch/thread.h>
#include <arch/user.h>
#include <lib/err.h>
#include <lib/string.h>
#include <task/task.h>
#include <alloc/slab.h>
#include <asm/sigcontext.h>
#include <asm/signal.h>
#include <asm/siginfo.h>
#include <asm/ucontext.h>
#include "fpu_priv.h"
#include "x86_priv.h"

#define USER_FLAGS       (FLAG_CF | 0x4 | 0x10 | 0x40 | 0x80 | FLAG_TF | FLAG_DF | 0x800 | FLAG_RF | FLAG_AC)
#define RED_ZONE         128
#define SIG_FLAG_SIGINFO 4 /* SA_SIGINFO */

struct frame {
	u64 restorer;
	struct ucontext uc;
	u8 info[128];
};

/* FPU state at or below sp; returns the new stack pointer, 0 on a fault. *at: its address, 0 if the
 * task has none. */
static ulong push_fpu(ulong sp, ulong *at)
{
	size_t bytes = arch_fpu_bytes();
	u32 magic2 = FP_XSTATE_MAGIC2;
	struct _fpx_sw_bytes sw = { .magic1 = FP_XSTATE_MAGIC1,
				    .extended_size = (u32)(bytes + 4),
				    .xfeatures = fpu_features(),
				    .xstate_size = (u32)bytes };

	*at = 0;
	if (!current->arch.fpu)
		return sp;
	sp = ALIGN_DOWN(sp - bytes - 4, 64UL);
	*at = sp;
	if (bytes == 512)
		return user_put((void __user *)sp, fpu_sync(current), 512) ? 0 : sp;
	if (fpu_save_user((void __user *)sp) ||
	    user_put((void __user *)(sp + offsetof(struct fpu_area, software)), &sw, sizeof(sw)) ||
	    user_put((void __user *)(sp + bytes), &magic2, 4))
		return 0;
	return sp;
}

static void fill_context(struct sigcontext *c, const struct regs *r, u64 mask, ulong fpstate)
{
	const struct arch_thread *a = &current->arch;

	c->r8 = r->r8;
	c->r9 = r->r9;
	c->r10 = r->r10;
	c->r11 = r->r11;
	c->r12 = r->r12;
	c->r13 = r->r13;
	c->r14 = r->r14;
	c->r15 = r->r15;
	c->rdi = r->di;
	c->rsi = r->si;
	c->rbp = r->bp;
	c->rbx = r->bx;
	c->rdx = r->dx;
	c->rax = r->ax;
	c->rcx = r->cx;
	c->rsp = r->sp;
	c->rip = r->ip;
	c->eflags = r->flags;
	c->cs = SEL_USER_CS;
	c->ss = SEL_USER_DS;
	c->err = a->trap_error;
	c->trapno = a->trap_nr;
	c->cr2 = a->fault_address;
	c->oldmask = mask;
	c->fpstate = (void *)fpstate;
}

int arch_signal_push(struct regs *r, const struct arch_signal *s)
{
	struct frame f = { .restorer = s->restorer };
	ulong sp = s->alt_top ? s->alt_top : r->sp - RED_ZONE, fpstate;

	sp = push_fpu(sp, &fpstate);
	if (!sp)
		return -EFAULT;
	sp = ALIGN_DOWN(sp - sizeof(f), 16UL) - 8;
	f.uc.uc_flags = UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS;
	if (fpstate && arch_fpu_bytes() > 512)
		f.uc.uc_flags |= UC_FP_XSTATE;
	f.uc.uc_stack.ss_sp = (void *)s->altstack_sp;
	f.uc.uc_stack.ss_size = s->altstack_size;
	f.uc.uc_stack.ss_flags = s->altstack_flags;
	memcpy(&f.uc.uc_sigmask, &s->saved_mask, 8);
	fill_context(&f.uc.uc_mcontext, r, s->saved_mask, fpstate);
	if (s->siginfo)
		memcpy(f.info, s->siginfo, sizeof(f.info));
	if (user_put((void __user *)sp, &f, sizeof(f)))
		return -EFAULT;
	r->di = (ulong)s->sig;
	r->si = sp + offsetof(struct frame, info);
	r->dx = sp + offsetof(struct frame, uc);
	r->ax = 0;
	r->sp = sp;
	r->ip = s->handler;
	r->cs = SEL_USER_CS;
	r->ss = SEL_USER_DS;
	r->flags &= ~(ulong)(FLAG_DF | FLAG_RF | FLAG_TF);
	r->orig_ax = -1UL;
	return 0;
}

/* Does the frame say that all of XSAVE's state is there, and not FXSAVE's alone? */
static bool is_whole(ulong at, size_t bytes)
{
	struct _fpx_sw_bytes sw;
	u32 magic2;

	return bytes > 512 && !user_get(&sw, (void __user *)(at + offsetof(struct fpu_area, software)), sizeof(sw)) &&
	       sw.magic1 == FP_XSTATE_MAGIC1 && sw.xstate_size == bytes &&
	       !user_get(&magic2, (void __user *)(at + bytes), 4) && magic2 == FP_XSTATE_MAGIC2;
}

static int pop_fpu(ulong at)
{
	struct fpu_area *a;

	if (!at) {
		fpu_free(current);
		return 0;
	}
	if (is_whole(at, arch_fpu_bytes()))
		return fpu_restore_user((void __user *)at);
	a = fpu_alloc();
	if (!a)
		return -ENOMEM;
	if (user_get(a, (void __user *)at, 512)) {
		fpu_discard(a);
		return -EFAULT;
	}
	a->mxcsr &= 0xffff;
	return fpu_adopt(current, a, 512) ? -EFAULT : 0;
}

int arch_signal_pop(struct regs *r, struct arch_signal *s)
{
	struct ucontext uc;
	const struct sigcontext *c = &uc.uc_mcontext;

	if (user_get(&uc, (void __user *)(r->sp - 8 + offsetof(struct frame, uc)), sizeof(uc)))
		return -EFAULT;
	if (pop_fpu((ulong)c->fpstate))
		return -EFAULT;
	memcpy(&s->saved_mask, &uc.uc_sigmask, 8);
	s->altstack_sp = (ulong)uc.uc_stack.ss_sp;
	s->altstack_size = uc.uc_stack.ss_size;
	s->altstack_flags = uc.uc_stack.ss_flags;
	*r = (struct regs){
		.r8 = c->r8,
		.r9 = c->r9,
		.r10 = c->r10,
		.r11 = c->r11,
		.r12 = c->r12,
		.r13 = c->r13,
		.r14 = c->r14,
		.r15 = c->r15,
		.di = c->rdi,
		.si = c->rsi,
		.bp = c->rbp,
		.bx = c->rbx,
		.dx = c->rdx,
		.ax = c->rax,
		.cx = c->rcx,
		.sp = c->rsp,
		.ip = c->rip,
		.cs = SEL_USER_CS,
		.ss = SEL_USER_DS,
		.flags = (c->eflags & USER_FLAGS) | FLAG_IF | 2,
		.orig_ax = -1UL,
	};
	return 0;
}
