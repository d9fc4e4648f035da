/* SPDX-License-Identifier: MIT
 *
 * Problem: VMRUN switches some of the registers; the others, and the segment and system-call state that VMLOAD moves,
 * must be changed around it with no interrupt, NMI or per-CPU access in between.
 *
 * Idea: CLGI holds back everything, NMIs included, while the host's FS, GS, TR and system-call MSRs are saved to a page
 * of this CPU, the guest's are loaded, and back. STI inside, so that with V_INTR_MASKING a host interrupt still ends the
 * guest's run (AMD64 manual volume 2, 15.21.1); it is taken after the caller enables IRQs.
 *
 * Contract: void svm_enter(struct svm_regs *regs, u64 vmcb, u64 host_save); IRQs off.
 */
	.text
	.globl svm_enter
	.balign 16
svm_enter:
	pushq %rbp
	pushq %rbx
	pushq %r12
	pushq %r13
	pushq %r14
	pushq %r15
	pushq %rdx
	pushq %rdi
	clgi
	sti
	movq %rdx, %rax
	vmsave %rax
	movq %rsi, %rax
	movq 0(%rdi), %rbx
	movq 8(%rdi), %rcx
	movq 16(%rdi), %rdx
	movq 24(%rdi), %rsi
	movq 40(%rdi), %rbp
	movq 48(%rdi), %r8
	movq 56(%rdi), %r9
	movq 64(%rdi), %r10
	movq 72(%rdi), %r11
	movq 80(%rdi), %r12
	movq 88(%rdi), %r13
	movq 96(%rdi), %r14
	movq 104(%rdi), %r15
	movq 32(%rdi), %rdi
	vmload %rax
	vmrun %rax
	vmsave %rax
	pushq %rdi
	movq 8(%rsp), %rdi
	movq %rbx, 0(%rdi)
	movq %rcx, 8(%rdi)
	movq %rdx, 16(%rdi)
	movq %rsi, 24(%rdi)
	movq %rbp, 40(%rdi)
	movq %r8, 48(%rdi)
	movq %r9, 56(%rdi)
	movq %r10, 64(%rdi)
	movq %r11, 72(%rdi)
	movq %r12, 80(%rdi)
	movq %r13, 88(%rdi)
	movq %r14, 96(%rdi)
	movq %r15, 104(%rdi)
	popq %rax
	movq %rax, 32(%rdi)
	movq 8(%rsp), %rax
	vmload %rax
	cli
	stgi
	/* nothing of the guest's stays in a register that the host may speculate with */
	xorl %ecx, %ecx
	xorl %edx, %edx
	xorl %esi, %esi
	xorl %r8d, %r8d
	xorl %r9d, %r9d
	xorl %r10d, %r10d
	xorl %r11d, %r11d
	popq %rdi
	popq %rdx
	popq %r15
	popq %r14
	popq %r13
	popq %r12
	popq %rbx
	popq %rbp
	ret
	.section .note.GNU-stack, "", @progbits
