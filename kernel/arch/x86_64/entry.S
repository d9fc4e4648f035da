/* SPDX-License-Identifier: MIT
 *
 * Problem: the CPU enters the kernel with the interrupted program's registers, its GS base and, by SYSCALL, even its
 * stack; and it may do so (NMI, #DB, #MC, #DF) between any two of our own instructions.
 *
 * Idea: every entry builds one struct regs and calls C. Ordinary entries decide by the saved CS whether to swap GS.
 * The four interrupt-stack vectors cannot trust that, since they may hit the instructions around swapgs: they load the
 * kernel's GS base from a slot above their stack and put back whatever was there. Exits to user mode run
 * user_return() while work is pending, with interrupts off from the last look at it to the return instruction.
 *
 * SYSRET is used only if rcx and r11 hold ip and flags, ip lies in the lower half (Intel's SYSRET faults in the kernel
 * on others), and neither TF nor RF is set. IRET never gets an ip that is not canonical (check_ip).
 *
 * Page-table isolation (pti.c): user mode runs on the second page of its root, which maps of the kernel only .entry.text,
 * the IDT and each CPU's entry page and interrupt stacks. Where it is on, the PTI_JUMP sites are patched at boot into jumps
 * to the pti_* twins at the end, which change cr3 (the roots differ in bit 12) and move between the entry stack and the
 * task's. Where it is off, nothing but the place of the code differs.
 *
 * Contract: struct regs in arch/thread.h. Sources: AMD64 manual volume 2, 6.1 (SYSCALL), 8.9 (interrupts).
 */
#include "x86_priv.h"

	.macro SMAP_CLAC
661:	.byte 0x0f, 0x1f, 0x00
	.pushsection .smap_sites, "a"
	.quad 661b
	.popsection
	.endm

	/* Where a CPU may speculate past a swapgs that does not run, or run past one that does: a nop, or LFENCE. */
	.macro SWAPGS_FENCE
661:	.byte 0x0f, 0x1f, 0x00
	.pushsection .fence_sites, "a"
	.quad 661b
	.popsection
	.endm

	/* The place, at least five bytes that nobody jumps into, where a jump is written if the defence is on. */
	.macro JUMP_SITE section, target
661:	.pushsection \section, "a"
	.quad 661b, \target
	.popsection
	.endm
#define PTI_JUMP JUMP_SITE .pti_sites,
	.macro NOP5
	.byte 0x0f, 0x1f, 0x44, 0x00, 0x00
	.endm

	/* Clobber `reg`; the roots of one address space are neighbours. */
	.macro CR3_KERNEL reg
	movq %cr3, \reg
	andq $~0x1000, \reg
	movq \reg, %cr3
	.endm
	.macro CR3_USER reg
	movq %cr3, \reg
	orq $0x1000, \reg
	movq \reg, %cr3
	.endm

#define R_BX	 40
#define R_R11	 48
#define R_AX	 80
#define R_CX	 88
#define R_DI	 112
#define R_ORIG	 120
#define R_IP	 128
#define R_CS	 136
#define R_FLAGS	 144
#define R_SP	 152
#define R_SS	 160
#define R_SIZE	 168

	.macro PUSH_AFTER_DI
	pushq %rsi
	pushq %rdx
	pushq %rcx
	pushq %rax
	pushq %r8
	pushq %r9
	pushq %r10
	pushq %r11
	pushq %rbx
	pushq %rbp
	pushq %r12
	pushq %r13
	pushq %r14
	pushq %r15
	.endm

	.macro POP_CALLEE_SAVED
	popq %r15
	popq %r14
	popq %r13
	popq %r12
	popq %rbp
	popq %rbx
	.endm

	.macro POP_ALL_BUT_RDI
	POP_CALLEE_SAVED
	popq %r11
	popq %r10
	popq %r9
	popq %r8
	popq %rax
	popq %rcx
	popq %rdx
	popq %rsi
	.endm

	.macro POP_ALL
	POP_ALL_BUT_RDI
	popq %rdi
	.endm

	.text
	.balign 16
	.globl syscall_entry
syscall_entry:
	swapgs
	movq %rsp, %gs:user_stack_scratch
syscall_on_kernel_tables:
	movq %gs:kernel_stack_top, %rsp
	pushq $SEL_USER_DS
	pushq %gs:user_stack_scratch
	pushq %r11
	pushq $SEL_USER_CS
	pushq %rcx
	pushq %rax
	pushq %rdi
	pushq %rsi
	pushq %rdx
	pushq %rcx
	pushq $-38			/* -ENOSYS, until the call says otherwise */
	pushq %r8
	pushq %r9
	pushq %r10
	pushq %r11
	pushq %rbx
	pushq %rbp
	pushq %r12
	pushq %r13
	pushq %r14
	pushq %r15
	xorl %ebp, %ebp
	movq %rsp, %rdi
	sti
	call upcall_syscall
	cli
	movq %gs:current_task, %rax
	cmpq $0, TASK_WORK(%rax)
	jne ret_slow
sysret_or_iret:
	movq R_IP(%rsp), %rcx
	movq R_FLAGS(%rsp), %r11
	cmpq %rcx, R_CX(%rsp)
	jne ret_iret
	cmpq %r11, R_R11(%rsp)
	jne ret_iret
	cmpq $SEL_USER_CS, R_CS(%rsp)
	jne ret_iret
	testl $(FLAG_TF | FLAG_RF), %r11d
	jnz ret_iret
	movq %rcx, %rax
	shrq $47, %rax
	jnz ret_iret
	PTI_JUMP pti_sysret
	POP_CALLEE_SAVED
	addq $8, %rsp			/* r11 is loaded */
	popq %r10
	popq %r9
	popq %r8
	popq %rax
	addq $8, %rsp			/* rcx too */
	popq %rdx
	popq %rsi
	popq %rdi
	movq 32(%rsp), %rsp		/* orig, ip, cs, flags, sp */
	swapgs
	sysretq

	/* SYSCALL from 32-bit code: not offered. The caller sees -ENOSYS in eax. */
	.globl syscall_entry_compat
syscall_entry_compat:
	movl $-38, %eax
	movl %ecx, %ecx
	sysretl

	/* Slow way out: work first. Then, if nothing moved ip or flags, SYSRET all the same. */
ret_slow:
	movq %rsp, %rdi
	call user_return
	jmp sysret_or_iret

	/* The end of a new thread's first function, or of anything that made up user registers. */
	.globl ret_to_user
ret_to_user:
	cli
	movq %gs:current_task, %rax
	cmpq $0, TASK_WORK(%rax)
	je ret_iret
	movq %rsp, %rdi
	call user_return
ret_iret:
	movq R_IP(%rsp), %rax
	shrq $47, %rax
	jnz bad_ip
	PTI_JUMP pti_iret
	swapgs
	POP_ALL
	addq $8, %rsp
	iretq
bad_ip:
	movq %rsp, %rdi
	call user_bad_ip
	jmp ret_to_user

	.section .entry.text, "ax"
	/* 256 stubs. edi = vector; the place of orig_ax holds the error code, or -1. */
	.balign 16
	.globl trap_stubs
trap_stubs:
	vector = 0
	.rept 256
	.balign 16
	.if (vector != 8) && ((vector < 10) || (vector > 14)) && (vector != 17) && (vector != 21) && (vector != 29) && (vector != 30)
	pushq $-1
	.endif
	pushq %rdi
	movl $vector, %edi
	.if (vector == 1) || (vector == 2) || (vector == 8) || (vector == 18)
	jmp trap_paranoid
	.else
	jmp trap_common
	.endif
	vector = vector + 1
	.endr

	.balign 16
trap_common:
	PTI_JUMP pti_trap_common
	PUSH_AFTER_DI
trap_common_pushed:
	cld
	SMAP_CLAC
	movl %edi, %esi
	movq %rsp, %rdi
	testb $3, R_CS(%rsp)
	jz 1f
	swapgs
	SWAPGS_FENCE
	call trap_dispatch
	jmp ret_to_user
1:	SWAPGS_FENCE
	call trap_dispatch
	.globl trap_return_kernel
trap_return_kernel:
	POP_ALL
	addq $8, %rsp
	iretq

trap_paranoid:
	PUSH_AFTER_DI
	cld
	PTI_JUMP pti_paranoid_in
	NOP5
paranoid_on_kernel_tables:
	SMAP_CLAC
	movl %edi, %r12d
	cmpl $1, %edi
	jne 1f
	testb $3, R_CS(%rsp)
	jnz debug_from_user
1:	movl $MSR_GS_BASE, %ecx
	rdmsr
	movl %eax, %ebx
	movl %edx, %r13d
	movq R_SIZE(%rsp), %rax		/* the slot above the stack */
	movq %rax, %rdx
	shrq $32, %rdx
	wrmsr
	movq %rsp, %rdi
	movl %r12d, %esi
	call trap_dispatch
	movl $MSR_GS_BASE, %ecx
	movl %ebx, %eax
	movl %r13d, %edx
	wrmsr
	PTI_JUMP pti_paranoid_out
	jmp trap_return_kernel		/* five bytes: another section */

	/* A breakpoint of user code may end in a signal, so it continues on the task's own stack. */
debug_from_user:
	swapgs
	SWAPGS_FENCE
	movq %rsp, %rsi
	movq %gs:kernel_stack_top, %rdi
	subq $R_SIZE, %rdi
	movq %rdi, %rdx
	movl $(R_SIZE / 8), %ecx
	rep movsq
	movq %rdx, %rsp
	movq %rdx, %rdi
	movl %r12d, %esi
	call trap_dispatch
	jmp ret_to_user

	/* ---- the twins with two page tables. Still .entry.text; IRQs off throughout ---- */

	.globl syscall_entry_pti
syscall_entry_pti:
	swapgs
	movq %rsp, %gs:user_stack_scratch
	CR3_KERNEL %rsp
	jmp syscall_on_kernel_tables

	/* On the user's tables and the entry stack, where rdi and above lie (from kernel mode: on any stack, kernel's
	 * tables). */
pti_trap_common:
	testb $3, 24(%rsp)
	jnz 1f
	PUSH_AFTER_DI
	jmp trap_common_pushed
1:	swapgs
	pushq %rsi
	CR3_KERNEL %rsi
	movq %rsp, %rsi
	movq %gs:kernel_stack_top, %rsp
	pushq 56(%rsi)			/* ss, sp, flags, cs, ip, orig, di */
	pushq 48(%rsi)
	pushq 40(%rsi)
	pushq 32(%rsi)
	pushq 24(%rsi)
	pushq 16(%rsi)
	pushq 8(%rsi)
	movq (%rsi), %rsi
	PUSH_AFTER_DI
	cld
	SMAP_CLAC
	movl %edi, %esi
	movq %rsp, %rdi
	call trap_dispatch
	jmp ret_to_user

pti_sysret:
	POP_CALLEE_SAVED
	addq $8, %rsp			/* r11 and rcx are loaded */
	popq %r10
	popq %r9
	popq %r8
	popq %rax
	addq $8, %rsp
	popq %rdx
	popq %rsi
	movq %rsp, %rdi
	movq %gs:entry_stack_top, %rsp
	pushq 40(%rdi)			/* sp */
	pushq (%rdi)
	CR3_USER %rdi
	popq %rdi
	popq %rsp
	swapgs
	sysretq

pti_iret:
	POP_ALL_BUT_RDI
	movq %rsp, %rdi
	movq %gs:entry_stack_top, %rsp
	pushq 48(%rdi)			/* ss, sp, flags, cs, ip */
	pushq 40(%rdi)
	pushq 32(%rdi)
	pushq 24(%rdi)
	pushq 16(%rdi)
	pushq (%rdi)
	CR3_USER %rdi
	popq %rdi
	swapgs
	iretq

	/* r14 keeps the tables that were loaded: either's, also between any two instructions above. */
pti_paranoid_in:
	movq %cr3, %r14
	movq %r14, %rax
	andq $~0x1000, %rax
	movq %rax, %cr3
	jmp paranoid_on_kernel_tables
pti_paranoid_out:
	movq %r14, %cr3
	POP_ALL
	addq $8, %rsp
	iretq

	.text
	/* struct task *switch_stacks(struct task *prev, ulong *save_sp, ulong new_sp) */
	.globl switch_stacks
switch_stacks:
	pushq %rbp
	pushq %rbx
	pushq %r12
	pushq %r13
	pushq %r14
	pushq %r15
	movq %rsp, (%rsi)
	JUMP_SITE .fill_sites, switch_stacks_fill
	movq %rdx, %rsp
	popq %r15
	.globl switch_stacks_filled
switch_stacks_filled:
	popq %r14
	popq %r13
	popq %r12
	popq %rbx
	popq %rbp
	movq %rdi, %rax
	ret

	/* First return of switch_stacks in a new thread: rax = previous task, rbx = fn, r12 = arg. */
	.globl thread_first
thread_first:
	movq %rax, %rdi
	call upcall_thread_started
	movq %r12, %rdi
	call __x86_indirect_thunk_rbx
	jmp ret_to_user

	/* Runs fn(arg) on another stack for good: rdi = stack top, rsi = fn, rdx = arg */
	.globl stack_call
stack_call:
	movq %rdi, %rsp
	xorl %ebp, %ebp
	movq %rdx, %rdi
	call __x86_indirect_thunk_rsi
	ud2

	.section .note.GNU-stack, "", @progbits
