/* SPDX-License-Identifier: MIT
 *
 * A machine without an operating system whose memory accesses are known in advance; cachemodel.sh knows the counts.
 * Multiboot, 32 bits, no paging, two CPUs. Each phase: forget, work, report. Messages go to the tag page at 0x9000.
 *
 *   1  victim (requestor 1) reads 256 KiB, 4 passes                                 4096 lines a pass
 *   2  the same, with an aggressor (requestor 2) reading 4 MiB after each pass
 *   3  as 2, but the victim's pages have colours 0-7 and the aggressor's 8-15 of 16
 *   4  two CPUs take turns 1000 times at one word, with a locked increment each
 */
#define TAG	0x9000
#define VICTIM	0x1000000
#define ENEMY	0x2000000
#define WORD	0x800000
#define TURNS	1000
#define APIC	0xfee00000

.macro message n
	movl $0, TAG + 64 * \n
.endm

	.text
	.align 4
	.long 0x1badb002, 0, -0x1badb002
	.globl _start
_start:
	mov $stack, %esp
	message 61
	message 1
	message 62
	mov $4, %ebp
1:	call victim_plain
	dec %ebp
	jnz 1b
	message 63

	message 62
	mov $4, %ebp
1:	message 1
	call victim_plain
	message 2
	call enemy_plain
	dec %ebp
	jnz 1b
	message 63

	message 1
	call victim_coloured
	message 62
	mov $4, %ebp
1:	message 1
	call victim_coloured
	message 2
	call enemy_coloured
	dec %ebp
	jnz 1b
	message 63

	message 0
	call start_other_cpu
1:	pause
	cmpl $1, ready
	jne 1b
	message 62
	movl $0, WORD
	movl $1, go
	mov $TURNS, %ecx
1:	pause
	testl $1, WORD		/* even: ours */
	jnz 1b
	lock incl WORD
	dec %ecx
	jnz 1b
1:	pause
	cmpl $2 * TURNS, WORD	/* the other's last turn */
	jne 1b
	message 63
	mov $0x501, %edx
	mov $0x10, %eax
	outw %ax, %dx
1:	hlt
	jmp 1b

/* reads one word of each line of the page at esi, and moves on */
read_page:
	mov $64, %ecx
1:	mov (%esi), %eax
	add $64, %esi
	dec %ecx
	jnz 1b
	ret

victim_plain:
	mov $VICTIM, %esi
	mov $64, %edi
1:	call read_page
	dec %edi
	jnz 1b
	ret

enemy_plain:
	mov $ENEMY, %esi
	mov $1024, %edi
1:	call read_page
	dec %edi
	jnz 1b
	ret

/* 64 pages of colours 0-7: eight pages, then eight skipped */
victim_coloured:
	mov $VICTIM, %esi
	mov $64, %edi
1:	call read_page
	dec %edi
	test $7, %edi
	jnz 2f
	add $0x8000, %esi
2:	test %edi, %edi
	jnz 1b
	ret

enemy_coloured:
	mov $ENEMY + 0x8000, %esi
	mov $1024, %edi
1:	call read_page
	dec %edi
	test $7, %edi
	jnz 2f
	add $0x8000, %esi
2:	test %edi, %edi
	jnz 1b
	ret

start_other_cpu:
	mov $trampoline, %esi
	mov $0x8000, %edi
	mov $trampoline_end - trampoline, %ecx
	rep movsb
	movl $0x1ff, APIC + 0xf0
	movl $0x000c4500, APIC + 0x300	/* INIT to all others */
	mov $2000000, %ecx
1:	pause
	loop 1b
	movl $0x000c4608, APIC + 0x300	/* start at 0x8000 */
	ret

	.code16
trampoline:
	cli
	xor %ax, %ax
	mov %ax, %ds
	lgdtl gdtr - trampoline + 0x8000
	mov %cr0, %eax
	or $1, %al
	mov %eax, %cr0
	ljmpl $8, $other_cpu
	.align 8
gdt:	.quad 0, 0x00cf9a000000ffff, 0x00cf92000000ffff
gdtr:	.word 23
	.long gdt - trampoline + 0x8000
trampoline_end:
	.code32
other_cpu:
	mov $16, %eax
	mov %eax, %ds
	mov %eax, %es
	mov %eax, %ss
	movl $1, ready
1:	pause
	cmpl $1, go
	jne 1b
	mov $TURNS, %ecx
1:	pause
	testl $1, WORD		/* odd: ours */
	jz 1b
	lock incl WORD
	dec %ecx
	jnz 1b
1:	hlt
	jmp 1b

	.bss
	.align 64
ready:	.long 0
	.align 64
go:	.long 0
	.align 4096
	.skip 4096
stack:
