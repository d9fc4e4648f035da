/* SPDX-License-Identifier: MIT
 *
 * Problem: with Spectre v2 an indirect branch of the kernel may be predicted to go where a program trained the predictor
 * to, and what runs there by speculation leaves traces in the cache.
 *
 * Idea: the compiler (-mindirect-branch=thunk-extern) branches to __x86_indirect_thunk_REG instead. That is a call whose
 * return address is overwritten with REG: the predictor of returns says "behind the call", where speculation is caught in
 * a loop, and never asks the predictor of branches. On a CPU that does not need it, each place is patched at boot into
 * the plain `call *%REG` or `jmp *%REG`, filled up with prefixes to one instruction of the same length (bugs.c).
 *
 * Returns themselves are predicted from the return stack buffer, which a task must not inherit: a switch of stacks fills
 * it with harmless entries, by a jump that is patched in, too.
 *
 * Contract: thunks are 32 bytes apart, in the order of the register's number. Source: Intel, "Retpoline: A Branch Target
 * Injection Mitigation"; AMD64 manual volume 3, 1.2 (prefixes).
 */
	.macro TRAP_SPECULATION
	pause
	lfence
	.endm

	.macro THUNK reg
	.balign 32
	.globl __x86_indirect_thunk_\reg
__x86_indirect_thunk_\reg:
	call 2f
1:	TRAP_SPECULATION
	jmp 1b
2:	movq %\reg, (%rsp)
	ret
	.endm

	.text
	.balign 32
	.globl indirect_thunks
indirect_thunks:
	THUNK rax
	THUNK rcx
	THUNK rdx
	THUNK rbx
	.balign 32
	int3				/* rsp: never */
	THUNK rbp
	THUNK rsi
	THUNK rdi
	THUNK r8
	THUNK r9
	THUNK r10
	THUNK r11
	THUNK r12
	THUNK r13
	THUNK r14
	THUNK r15
	.balign 32
	.globl indirect_thunks_end
indirect_thunks_end:

	/* In switch_stacks, still on the old stack: 32 returns that lead nowhere. rcx is free. */
	.globl switch_stacks_fill
switch_stacks_fill:
	movl $16, %ecx
1:	call 3f
2:	TRAP_SPECULATION
	jmp 2b
3:	call 5f
4:	TRAP_SPECULATION
	jmp 4b
5:	decl %ecx
	jnz 1b
	addq $(32 * 8), %rsp
	movq %rdx, %rsp
	popq %r15
	jmp switch_stacks_filled
	.section .note.GNU-stack, "", @progbits
