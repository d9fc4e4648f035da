/* SPDX-License-Identifier: MIT
 *
 * Problem: a further CPU starts in real mode at page 8, with nothing but its APIC id.
 *
 * Idea: this code is copied to physical 0x8000. It walks real mode -> protected mode -> long mode on the boot tables
 * (which map the first 4 GiB one to one), then takes the stack, GS base and number that the boot CPU left in
 * secondary_*; CPUs start one after the other.
 *
 * Contract: smp.c. Ends in x86_start_secondary().
 */
#include "x86_priv.h"
#define PHYS(x)	((x) - KERNEL_BASE)
#define AT(x)	((x) - trampoline + 0x8000)

	.section .trampoline, "ax"
	.code16
trampoline:
	cli
	cld
	xorw %ax, %ax
	movw %ax, %ds
	lgdtl AT(tramp_gdt_pointer)
	movl $CR0_PE, %eax
	movl %eax, %cr0
	ljmpl $0x08, $AT(tramp_32)
	.code32
tramp_32:
	movl $0x18, %eax
	movl %eax, %ds
	movl %eax, %ss
	movl $(CR4_PAE | CR4_PGE), %eax
	movl %eax, %cr4
	movl AT(tramp_root), %eax
	movl %eax, %cr3
	movl $MSR_EFER, %ecx
	rdmsr
	orl AT(tramp_efer), %eax
	wrmsr
	movl $(CR0_PG | CR0_WP | CR0_NE | CR0_MP | CR0_PE), %eax
	movl %eax, %cr0
	ljmp $0x10, $AT(tramp_64)
	.code64
tramp_64:
	movq $secondary_high, %rax
	jmp *%rax
	.balign 8
tramp_gdt:
	.quad 0
	.quad 0x00cf9b000000ffff	/* 0x08: 32-bit code */
	.quad 0x00af9b000000ffff	/* 0x10: 64-bit code */
	.quad 0x00cf93000000ffff	/* 0x18: data */
tramp_gdt_pointer:
	.word . - tramp_gdt - 1
	.long AT(tramp_gdt)
	.balign 4
	.globl tramp_root, tramp_efer
tramp_root:	.long 0
tramp_efer:	.long 0

	.text
secondary_high:
	movq secondary_root(%rip), %rax	/* the kernel's tables: the boot tables map no stacks */
	movq %rax, %cr3
	movq secondary_stack(%rip), %rsp
	movl $MSR_GS_BASE, %ecx
	movq secondary_gs(%rip), %rax
	movq %rax, %rdx
	shrq $32, %rdx
	wrmsr
	xorl %ebp, %ebp
	movl secondary_cpu(%rip), %edi
	call x86_start_secondary
	ud2
	.section .note.GNU-stack, "", @progbits
