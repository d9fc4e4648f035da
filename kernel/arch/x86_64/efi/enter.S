/* SPDX-License-Identifier: MIT
 *
 * Problem: firmware calls the stub in 64-bit mode with paging on; the kernel's entry (head.S) wants 32-bit mode without.
 *
 * Idea: efi_leave goes to a copy of efi_leave_code below 4 GiB by way of a 32-bit code segment, and that turns off
 * paging, long mode and whatever firmware has set in CR4, and jumps. The kernel's file lies here, too.
 *
 * Contract: efi_leave(start_info, entry, code, gdt_pointer): all addresses below 4 GiB, where firmware maps memory
 * one to one. gdt: null, 32-bit code, data. Boot services have been left.
 */
	.section .head, "ax"
	.globl efi_entry
efi_entry:				/* firmware's calling convention: rcx image, rdx system table */
	subq $40, %rsp
	call efi_main
	addq $40, %rsp
	ret

	.text
	.globl efi_leave
efi_leave:
	cli
	cld
	lgdt (%rcx)
	pushq $0x08
	pushq %rdx
	lretq

	.globl efi_leave_code, efi_leave_code_end
	.code32
efi_leave_code:
	movl $0x10, %eax
	movl %eax, %ds
	movl %eax, %es
	movl %eax, %ss
	movl %eax, %fs
	movl %eax, %gs
	movl %cr0, %eax
	andl $0x7fffffff, %eax		/* PG */
	movl %eax, %cr0
	xorl %eax, %eax
	xorl %edx, %edx
	movl $0xc0000080, %ecx		/* EFER */
	wrmsr
	movl %eax, %cr4
	movl %edi, %ebx
	jmp *%esi
efi_leave_code_end:
	.code64

	.section .kernel, "a"
	.balign 16
	.globl efi_kernel
efi_kernel:
	.incbin "stripped.elf"
	.section .note.GNU-stack, "", @progbits
