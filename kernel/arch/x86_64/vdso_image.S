/* SPDX-License-Identifier: MIT
 *
 * Problem: the vDSO is a shared object of its own (kernel/arch/x86_64/vdso), but must travel inside the kernel.
 *
 * Idea: include the linked file, page aligned, in rodata.
 *
 * Contract: arch/vdso.h arch_vdso.
 */
	.section .rodata
	.balign 4096
	.globl vdso_image_start, vdso_image_end
vdso_image_start:
	.incbin "vdso.so"
vdso_image_end:
	.balign 4096
	.section .note.GNU-stack, "", @progbits
