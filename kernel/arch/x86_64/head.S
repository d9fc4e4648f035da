/* SPDX-License-Identifier: MIT
 *
 * Problem: a PVH loader enters with paging off, in 32-bit protected mode, at a physical address (ELF note 18); the
 * kernel is linked at the top of the address space.
 *
 * Idea: fill three levels of tables with 2 MiB pages for the first 4 GiB (identity, direct map) and the first 1 GiB at
 * KERNEL_BASE, enter long mode, jump high. These tables and the stack are replaced or kept by mmu.c. Then the image is
 * given another address by chance (kaslr.c): it is mapped there as well, each address in it is raised (tools/gen-relocs has
 * the places), and from there on it runs there. The loop that does it holds no address itself: all is relative to rip.
 *
 * Contract: ebx = physical address of hvm_start_info on entry; calls x86_start(start_info). Further CPUs come through
 * trampoline.S. On a CPU without long mode it halts after a word on the debug port.
 */
#include "x86_priv.h"
#define PHYS(x) ((x) - KERNEL_BASE)

	.section .note.pvh, "a", @note
	.balign 4
	.long 4, 8, 18
	.asciz "Xen"
	.quad PHYS(pvh_entry)

	.section .head.text, "ax"
	.code32
	.globl pvh_entry
pvh_entry:
	cld
	cli
	movl $PHYS(boot_stack_top), %esp
	movl %ebx, %edi
	movl $0x80000000, %eax
	cpuid
	cmpl $0x80000001, %eax
	jb no_long_mode
	movl $0x80000001, %eax
	cpuid
	btl $29, %edx
	jnc no_long_mode
	movl %edx, %ebp			/* bit 20: NX */

	movl $PHYS(boot_pdpt) + 3, %eax
	movl %eax, PHYS(boot_pml4)
	movl %eax, PHYS(boot_pml4) + 273 * 8
	movl $PHYS(boot_pdpt_high) + 3, PHYS(boot_pml4) + 511 * 8
	movl $PHYS(boot_pd_high) + 3, PHYS(boot_pdpt_high) + 510 * 8
	movl $PHYS(boot_pd) + 3, %eax
	movl $PHYS(boot_pdpt), %edx
	movl $4, %ecx
1:	movl %eax, (%edx)
	addl $4096, %eax
	addl $8, %edx
	loop 1b
	movl $0x83, %eax		/* present, write, 2 MiB */
	movl $PHYS(boot_pd), %edx
	movl $2048, %ecx
2:	movl %eax, (%edx)
	addl $0x200000, %eax
	addl $8, %edx
	loop 2b

	movl $0x83, %eax
	movl $PHYS(boot_pd_high), %edx
	movl $(KASLR_IMAGE_MAX >> 21), %ecx
6:	movl %eax, (%edx)
	addl $0x200000, %eax
	addl $8, %edx
	loop 6b

	movl $(CR4_PAE | CR4_PGE), %eax
	movl %eax, %cr4
	movl $PHYS(boot_pml4), %eax
	movl %eax, %cr3
	movl %ebp, %esi
	movl $MSR_EFER, %ecx
	rdmsr
	orl $(EFER_SCE | EFER_LME), %eax
	btl $20, %esi
	jnc 3f
	orl $EFER_NXE, %eax
3:	wrmsr
	movl $(CR0_PG | CR0_WP | CR0_NE | CR0_MP | CR0_PE), %eax
	movl %eax, %cr0
	lgdt PHYS(boot_gdt_pointer)
	ljmp $SEL_KERNEL_CS, $PHYS(long_mode)

no_long_mode:
	movl $PHYS(no_long_text), %esi
	movw $0xe9, %dx
4:	lodsb
	outb %al, %dx
	testb %al, %al
	jnz 4b
5:	hlt
	jmp 5b

	.code64
long_mode:
	movabsq $high, %rax
	jmp *%rax
high:
	movl $SEL_KERNEL_DS, %eax
	movl %eax, %ds
	movl %eax, %es
	movl %eax, %ss
	xorl %eax, %eax
	movl %eax, %fs
	movl %eax, %gs
	movq $boot_stack_top, %rsp
	movl %edi, %ebx
	movl %edi, %edi
	xorl %ebp, %ebp
	call kaslr_choose
	testq %rax, %rax
	jz 1f
	movq %rax, %rdi
	call move_image
1:	movq %rbx, %rdi
	call x86_start
	ud2

	/* Raises, at places of a list from rsi to rdx, what is there, by rdi. Clobbers rax, rcx. */
	.macro RAISE add, reg
	leaq text_start(%rip), %rcx
1:	cmpq %rdx, %rsi
	jae 3f
	movzbl (%rsi), %eax
	incq %rsi
	cmpl $255, %eax
	jne 2f
	movl (%rsi), %eax
	addq $4, %rsi
2:	addq %rax, %rcx
	\add \reg, (%rcx)
	jmp 1b
3:
	.endm

	/* rdi: bytes, whole 2 MiB pages, beyond what is mapped. Returns to the caller's copy up there. */
move_image:
	movq %rdi, %rax
	shrq $21 - 3, %rax
	leaq boot_pd_high(%rip), %rdx
	addq %rdx, %rax
	xorl %ecx, %ecx
1:	movq (%rdx, %rcx, 8), %rsi
	movq %rsi, (%rax, %rcx, 8)
	incl %ecx
	cmpl $(KASLR_IMAGE_MAX >> 21), %ecx
	jb 1b
	leaq relocs64_start(%rip), %rsi
	leaq relocs64_end(%rip), %rdx
	RAISE addq, %rdi
	leaq relocs32_end(%rip), %rdx
	RAISE addl, %edi
	addq %rdi, (%rsp)
	addq %rdi, %rsp
	movq %cr3, %rax			/* serialises: code has changed */
	movq %rax, %cr3
	ret

	.section .rodata
no_long_text:
	.asciz "ostrom: this CPU has no 64-bit mode\n"
	.balign 8
boot_gdt:
	.quad 0, 0
	.quad 0x00af9b000000ffff	/* 0x10: 64-bit code */
	.quad 0x00cf93000000ffff	/* 0x18: data */
boot_gdt_pointer:
	.word . - boot_gdt - 1
	.long PHYS(boot_gdt)

	.section .bss
	.balign 4096
	.globl boot_stack, boot_stack_top
boot_stack:
	.skip 16384
boot_stack_top:
	.section .bootbss, "aw", @nobits
	.balign 4096
	.globl boot_pml4
boot_pml4:	.skip 4096
boot_pdpt:	.skip 4096
boot_pdpt_high:	.skip 4096
boot_pd_high:	.skip 4096
boot_pd:	.skip 4 * 4096
	.section .note.GNU-stack, "", @progbits
