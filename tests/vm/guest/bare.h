/* SPDX-License-Identifier: MIT
 *
 * A guest without a kernel: what a test of the virtual machine's devices needs of the processor, and nothing between it
 * and the device. Started by the PVH protocol, in 64-bit mode with all of the first 4 GiB mapped as they are; prints at
 * the serial port; ends with a status. Interrupts arrive at vectors 0x40 to 0x4f and are counted.
 *
 * Build: tests/vm/guest/build.
 * Sources: Xen's docs/misc/pvh.pandoc (start), Intel SDM volume 3 (long mode, local APIC), PCI 3.0 (configuration).
 */
#ifndef TESTS_VM_BARE_H
#define TESTS_VM_BARE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HEAP 0x800000UL /* free memory from here on */
#define APIC 0xfee00000UL

static int bare_main(void);

__asm__(".pushsection .note.Xen, \"a\", @note\n.long 4, 4, 18\n.asciz \"Xen\"\n.long start\n.popsection\n"
	".pushsection .bss\n.balign 4096\ntables: .skip 6 * 4096\n.skip 16384\nstack_top:\n.popsection\n"
	".pushsection .data\n.globl bare_info\nbare_info: .quad 0\n.balign 16\ngdt: .quad 0, 0x00af9a000000ffff, "
	"0x00cf92000000ffff\n"
	"gdt_at: .word 23\n.quad gdt\n.popsection\n"
	".code32\n.globl start\nstart:\n"
	"	mov $stack_top, %esp\n	mov %ebx, bare_info\n"
	"	movl $tables + 0x1003, tables\n" /* level 4, then 3, then four of level 2 with pages of 2 MiB */
	"	movl $tables + 0x2003, tables + 0x1000\n	movl $tables + 0x3003, tables + 0x1008\n"
	"	movl $tables + 0x4003, tables + 0x1010\n	movl $tables + 0x5003, tables + 0x1018\n"
	"	mov $tables + 0x2000, %edi\n	mov $0x83, %eax\n	mov $2048, %ecx\n"
	"1:	mov %eax, (%edi)\n	add $0x200000, %eax\n	add $8, %edi\n	loop 1b\n"
	"	mov $tables, %eax\n	mov %eax, %cr3\n"
	"	mov %cr4, %eax\n	or $0x20, %eax\n	mov %eax, %cr4\n"
	"	mov $0xc0000080, %ecx\n	rdmsr\n	or $0x100, %eax\n	wrmsr\n"
	"	mov %cr0, %eax\n	or $0x80000001, %eax\n	mov %eax, %cr0\n"
	"	lgdt gdt_at\n	ljmp $8, $2f\n.code64\n"
	"2:	mov $16, %eax\n	mov %eax, %ds\n	mov %eax, %es\n	mov %eax, %ss\n"
	"	call bare_start\n3:	hlt\n	jmp 3b\n");

extern uint64_t bare_info; /* PVH's start information */

/* The command line. */
static inline const char *bare_command(void)
{
	return (const char *)((uint64_t *)bare_info)[3];
}

/* ---- ports, serial line, end ---- */

static inline void out8(uint16_t port, uint8_t v)
{
	__asm__ volatile("outb %0, %1" ::"a"(v), "Nd"(port));
}

static inline void out16(uint16_t port, uint16_t v)
{
	__asm__ volatile("outw %0, %1" ::"a"(v), "Nd"(port));
}

static inline void out32(uint16_t port, uint32_t v)
{
	__asm__ volatile("outl %0, %1" ::"a"(v), "Nd"(port));
}

static inline uint32_t in32(uint16_t port)
{
	uint32_t v;

	__asm__ volatile("inl %1, %0" : "=a"(v) : "Nd"(port));
	return v;
}

static inline uint8_t in8(uint16_t port)
{
	uint8_t v;

	__asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port));
	return v;
}

static inline void put_char(uint16_t port, char c)
{
	while (port == 0x3f8 && !(in8(0x3fd) & 0x20)) /* the transmitter of a serial line takes its time */
		;
	out8(port, (uint8_t)c);
}

static inline void put_text(uint16_t port, const char *s)
{
	while (*s)
		put_char(port, *s++);
}

static inline void put_number(uint16_t port, uint64_t v)
{
	char text[24];
	int n = sizeof(text);

	text[--n] = '\0';
	do
		text[--n] = (char)('0' + v % 10);
	while (v /= 10);
	put_text(port, text + n);
}

/* %s, %u (unsigned int) and %l (unsigned long) */
static inline void say(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	for (; *fmt; fmt++) {
		if (*fmt != '%') {
			put_char(0x3f8, *fmt);
			continue;
		}
		fmt++;
		if (*fmt == 's')
			put_text(0x3f8, va_arg(ap, const char *));
		else if (*fmt == 'u')
			put_number(0x3f8, va_arg(ap, unsigned));
		else
			put_number(0x3f8, va_arg(ap, unsigned long));
	}
	va_end(ap);
}

__attribute__((noreturn)) static inline void finish(unsigned status)
{
	put_text(0xe9, "OSTROM-EXIT ");
	put_number(0xe9, status);
	put_text(0xe9, "\n");
	out16(0x604, 1 << 13);
	for (;;)
		__asm__ volatile("hlt");
}

static inline void check(bool good, const char *what)
{
	if (good)
		return;
	say("not ok %s\n", what);
	finish(1);
}

void *memset(void *p, int c, size_t n)
{
	for (uint8_t *at = p; n--;)
		*at++ = (uint8_t)c;
	return p;
}

void *memcpy(void *to, const void *from, size_t n)
{
	for (size_t i = 0; i < n; i++)
		((uint8_t *)to)[i] = ((const uint8_t *)from)[i];
	return to;
}

/* ---- PCI ---- */

static inline uint32_t pci_get(unsigned slot, unsigned at)
{
	out32(0xcf8, 1U << 31 | slot << 11 | (at & 0xfc));
	return in32(0xcfc) >> (at & 3) * 8;
}

static inline void pci_put(unsigned slot, unsigned at, uint32_t v)
{
	out32(0xcf8, 1U << 31 | slot << 11 | (at & 0xfc));
	out32(0xcfc, v);
}

/* The n-th function with this identity; 0: none. */
static inline unsigned pci_find(uint32_t id, unsigned n)
{
	for (unsigned slot = 1; slot < 32; slot++)
		if (pci_get(slot, 0) == id && !n--)
			return slot;
	return 0;
}

static inline unsigned pci_cap(unsigned slot, unsigned after, unsigned id)
{
	unsigned at = (after ? pci_get(slot, after + 1) : pci_get(slot, 0x34)) & 0xff;

	while (at && (pci_get(slot, at) & 0xff) != id)
		at = pci_get(slot, at + 1) & 0xff;
	return at;
}

static inline uintptr_t pci_bar(unsigned slot, unsigned n)
{
	return pci_get(slot, 0x10 + 4 * n) & ~15U;
}

/* ---- interrupts ---- */

static volatile unsigned bare_count[16];
static uint32_t bare_eoi __attribute__((aligned(4))); /* bit 0: the end of the interrupt need not be told to the APIC */

__attribute__((used)) static void bare_interrupt(unsigned n)
{
	bool told;

	bare_count[n]++;
	__asm__ volatile("btrl $0, %1" : "=@ccc"(told), "+m"(bare_eoi));
	if (!told)
		*(volatile uint32_t *)(APIC + 0xb0) = 0;
}

/* KVM's paravirtual end of interrupts, if offered (Linux's virt/kvm/x86/msr.rst, cpuid.rst). */
static inline void bare_ask_eoi(void)
{
	uint32_t a, b, c, d;
	uint64_t at = (uintptr_t)&bare_eoi | 1;

	__asm__ volatile("cpuid" : "=a"(a), "=b"(b), "=c"(c), "=d"(d) : "a"(0x40000001), "c"(0));
	if (a & 1U << 6)
		__asm__ volatile("wrmsr" ::"a"((uint32_t)at), "d"((uint32_t)(at >> 32)), "c"(0x4b564d04));
}

/* Sixteen entries of 16 bytes, each with its number. */
__asm__(".balign 16\nbare_stubs:\n.set bare_n, 0\n.rept 16\n	push %rdi\n	mov $bare_n, %edi\n	jmp "
	"bare_common\n"
	"	.balign 16\n.set bare_n, bare_n + 1\n.endr\n"
	"bare_common:\n	push %rax\n	push %rcx\n	push %rdx\n	push %rsi\n	push %r8\n	push "
	"%r9\n	push %r10\n"
	"	push %r11\n	cld\n	call bare_interrupt\n	pop %r11\n	pop %r10\n	pop %r9\n	pop "
	"%r8\n"
	"	pop %rsi\n	pop %rdx\n	pop %rcx\n	pop %rax\n	pop %rdi\n	iretq\n");
extern char bare_stubs[];

struct bare_gate {
	uint16_t low, selector, flags, middle;
	uint32_t high, zero;
};

static struct bare_gate bare_idt[256];

__attribute__((used)) static void bare_start(void)
{
	struct __attribute__((packed)) {
		uint16_t limit;
		uint64_t base;
	} idt = { sizeof(bare_idt) - 1, (uintptr_t)bare_idt };

	for (unsigned i = 0; i < 16; i++) {
		uint64_t at = (uintptr_t)bare_stubs + 16 * i;

		bare_idt[0x40 + i] =
			(struct bare_gate){ (uint16_t)at, 8, 0x8e00, (uint16_t)(at >> 16), (uint32_t)(at >> 32), 0 };
	}
	__asm__ volatile("lidt %0" ::"m"(idt));
	out8(0x21, 0xff); /* a PC's old controllers, where firmware left a timer running */
	out8(0xa1, 0xff);
	*(volatile uint32_t *)(APIC + 0xf0) = 0x1ff;
	bare_ask_eoi();
	__asm__ volatile("sti");
	finish((unsigned)bare_main());
}

/* Vector 0x40 + n of the processor for entry `entry` of a function's MSI-X table. */
static inline void msix_on(unsigned slot, unsigned entry, unsigned n)
{
	unsigned cap = pci_cap(slot, 0, 0x11);
	uint32_t table = pci_get(slot, cap + 4);
	volatile uint32_t *at = (void *)(pci_bar(slot, table & 7) + (table & ~7U) + 16UL * entry);

	at[0] = (uint32_t)APIC;
	at[1] = 0;
	at[2] = 0x40 + n;
	at[3] = 0;
	pci_put(slot, cap, (pci_get(slot, cap) & 0xffff) | 0x80000000);
}

/* Sleeps until interrupt n has come `count` times. */
static inline void wait_interrupt(unsigned n, unsigned count)
{
	for (;;) {
		__asm__ volatile("cli");
		if (bare_count[n] >= count)
			break;
		__asm__ volatile("sti; hlt");
	}
	__asm__ volatile("sti");
}

#endif
