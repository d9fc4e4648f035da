/* SPDX-License-Identifier: MIT
 *
 * Problem: every access to user memory may fault, and with SMAP must be announced.
 *
 * Idea: a few leaf routines with STAC and CLAC around them, each faulting instruction listed in .extable with the place
 * to go on. The places of STAC and CLAC are 3-byte nops until the boot CPU finds SMAP. The _nofault twins differ only in
 * the flag of their entries.
 *
 * Contract: user.c, which has checked the range (the word routines check it themselves). rax: bytes not copied, or 0 / -14.
 */
#include "x86_priv.h"

	.macro SITE section
661:	.byte 0x0f, 0x1f, 0x00
	.pushsection \section, "a"
	.quad 661b
	.popsection
	.endm
#define STAC SITE .stac_sites
#define CLAC SITE .smap_sites

	.macro EX at, fixup, flags
	.pushsection .extable, "a"
	.long \at - KERNEL_BASE, \fixup - KERNEL_BASE, \flags, 0
	.popsection
	.endm

	.text
	/* size_t user_copy_raw(void *dst, const void *src, size_t n): a fault in a word is tried again by bytes, so that
	 * the count is exact. */
	.macro COPY name, flags
	.balign 16
	.globl \name
\name:
	STAC
	movq %rdx, %rcx
	shrq $3, %rcx
	andl $7, %edx
1:	rep movsq
	movl %edx, %ecx
2:	rep movsb
3:	CLAC
	movq %rcx, %rax
	ret
4:	leaq (%rdx, %rcx, 8), %rcx
	jmp 2b
	EX 1b, 4b, \flags
	EX 2b, 3b, \flags
	.endm
	COPY user_copy_raw, 0
	COPY user_copy_raw_nofault, 1
	COPY kernel_peek_raw, 3

	/* size_t user_clear_raw(void *dst, size_t n) */
	.balign 16
	.globl user_clear_raw
user_clear_raw:
	STAC
	xorl %eax, %eax
	movq %rsi, %rcx
	shrq $3, %rcx
	andl $7, %esi
1:	rep stosq
	movl %esi, %ecx
2:	rep stosb
3:	CLAC
	movq %rcx, %rax
	ret
4:	leaq (%rsi, %rcx, 8), %rcx
	jmp 2b
	EX 1b, 4b, 0
	EX 2b, 3b, 0

	/* ssize_t user_string_raw(char *dst, const char *src, size_t max): length, max if not terminated, -14 */
	.balign 16
	.globl user_string_raw
user_string_raw:
	STAC
	xorl %eax, %eax
	cmpq %rdx, %rax
	je 2f
1:	movb (%rsi, %rax), %cl
	movb %cl, (%rdi, %rax)
	testb %cl, %cl
	je 2f
	incq %rax
	cmpq %rdx, %rax
	jne 1b
2:	CLAC
	ret
3:	movq $-14, %rax
	jmp 2b
	EX 1b, 3b, 0

	/* int user_touch_raw(const void *p, bool write) */
	.balign 16
	.globl user_touch_raw
user_touch_raw:
	STAC
	xorl %eax, %eax
	testb %sil, %sil
	jnz 2f
1:	movb (%rdi), %cl
	jmp 3f
2:	lock orb $0, (%rdi)
3:	CLAC
	ret
4:	movl $-14, %eax
	jmp 3b
	EX 1b, 4b, 0
	EX 2b, 4b, 0

	/* int user_load_u32_raw(const u32 *p, u32 *out) */
	.balign 16
	.globl user_load_u32_raw
user_load_u32_raw:
	STAC
	xorl %eax, %eax
1:	movl (%rdi), %ecx
	movl %ecx, (%rsi)
2:	CLAC
	ret
3:	movl $-14, %eax
	jmp 2b
	EX 1b, 3b, 1

	/* int user_cmpxchg_u32_raw(u32 *p, u32 old, u32 new, u32 *found) */
	.balign 16
	.globl user_cmpxchg_u32_raw
user_cmpxchg_u32_raw:
	movq %rcx, %r8
	STAC
	movl %esi, %eax
1:	lock cmpxchgl %edx, (%rdi)
	CLAC
	movl %eax, (%r8)
	xorl %eax, %eax
	ret
2:	CLAC
	movl $-14, %eax
	ret
	EX 1b, 2b, 1

	/* int user_load_u64(const u64 __user *p, u64 *out), user_store_u64(u64 __user *p, u64 v), and the shorter words:
	 * the whole check is one comparison, as the length is known. */
	/* A guess that ja is not taken gets the last word that a program may have. */
	.macro WORD_BEGIN name, size, load=0
	.balign 16
	.globl \name
\name:
	movabsq $USER_END_ASM - \size, %rcx
	cmpq %rcx, %rdi
	ja user_word_bad
	.if \load
	cmovaq %rcx, %rdi
	.endif
	STAC
	.endm
	.macro WORD_END
	CLAC
	xorl %eax, %eax
	ret
	.endm
	WORD_BEGIN user_load_u64, 8, load=1
1:	movq (%rdi), %rcx
	movq %rcx, (%rsi)
	WORD_END
	WORD_BEGIN user_load_u32, 4, load=1
2:	movl (%rdi), %ecx
	movl %ecx, (%rsi)
	WORD_END
	WORD_BEGIN user_store_u64, 8
3:	movq %rsi, (%rdi)
	WORD_END
	WORD_BEGIN user_store_u32, 4
4:	movl %esi, (%rdi)
	WORD_END
	WORD_BEGIN user_store_u16, 2
5:	movw %si, (%rdi)
	WORD_END
user_word_fault:
	CLAC
user_word_bad:
	movl $-14, %eax
	ret
	EX 1b, user_word_fault, 0
	EX 2b, user_word_fault, 0
	EX 3b, user_word_fault, 0
	EX 4b, user_word_fault, 0
	EX 5b, user_word_fault, 0

	/* int user_xsave(void __user *area, u64 mask), user_xrstor(const void __user *area, u64 mask): 0 or -14. */
	.macro XSTATE name, insn
	.balign 16
	.globl \name
\name:
	movl %esi, %eax
	movq %rsi, %rdx
	shrq $32, %rdx
	STAC
662:	\insn (%rdi)
	EX 662b, user_word_fault, 0
	WORD_END
	.endm
	XSTATE user_xsave, xsave64
	XSTATE user_xrstor, xrstor64

	/* int xrstor_checked(void *area, u64 mask): 0, or -14 if the CPU refuses the image */
	.balign 16
	.globl xrstor_checked
xrstor_checked:
	movl %esi, %eax
	movq %rsi, %rdx
	shrq $32, %rdx
1:	xrstor64 (%rdi)
	xorl %eax, %eax
	ret
2:	movl $-14, %eax
	ret
	EX 1b, 2b, 0
	.globl fxrstor_checked
fxrstor_checked:
3:	fxrstor64 (%rdi)
	xorl %eax, %eax
	ret
	EX 3b, 2b, 0
	.section .note.GNU-stack, "", @progbits
