/* SPDX-License-Identifier: MIT
 *
 * Problem: exceptions come from user programs (a signal), from accessors of user memory (an error
 * code) and from bugs in the kernel (a panic), all through one table.
 *
 * Idea: one dispatcher by vector. A kernel-mode fault at an instruction listed in .extable
 * continues at that entry's fixup; a page fault there first asks mm, unless the accessor is a
 * _nofault one (a flag in the entry).
 *
 *   .extable entry: u32 instruction, u32 fixup (both relative to KERNEL_BASE), u32 flags, u32 0
 *
 * Contract: arch/upcalls.h. Source: AMD64 manual volume 2, chapter 8.
 *
 * Locks: none.
 */
#include <arch/io.h>
#include <arch/upcalls.h>
#include <arch/user.h>
#include <core/log.h>
#include <task/sched.h>
#include "x86_priv.h"

struct idt_gate {
	u16 offset_low, selector;
	u8 ist, type;
	u16 offset_mid;
	u32 offset_high, reserved;
} __packed;

struct extable_entry {
	u32 at, fixup, flags, reserved;
};
#define EXTABLE_NOFAULT 1
#define EXTABLE_PEEK    2 /* the address may be the kernel's */

extern char trap_stubs[];
extern const struct extable_entry extable_start[], extable_end[];
static struct idt_gate idt[256] __aligned(4096); /* the whole page: user tables map it */

enum {
	VEC_DE,
	VEC_DB,
	VEC_NMI,
	VEC_BP,
	VEC_OF,
	VEC_BR,
	VEC_UD,
	VEC_NM,
	VEC_DF,
	VEC_GP = 13,
	VEC_PF,
	VEC_MF = 16,
	VEC_AC,
	VEC_MC,
	VEC_XM
};

static const char *const names[32] = {
	"divide error",
	"debug",
	"NMI",
	"breakpoint",
	"overflow",
	"bound range",
	"invalid opcode",
	"device not available",
	"double fault",
	"9",
	"invalid TSS",
	"segment not present",
	"stack fault",
	"general protection",
	"page fault",
	"15",
	"x87 error",
	"alignment check",
	"machine check",
	"SIMD error",
	"virtualization",
	"control protection",
};

static void set_gate(unsigned v, unsigned ist, unsigned dpl)
{
	ulong at = (ulong)trap_stubs + v * 16;

	idt[v] = (struct idt_gate){ .offset_low = (u16)at,
				    .selector = SEL_KERNEL_CS,
				    .ist = (u8)ist,
				    .type = (u8)(0x8e | dpl << 5),
				    .offset_mid = (u16)(at >> 16),
				    .offset_high = (u32)(at >> 32) };
}

ulong trap_idt(void)
{
	return (ulong)idt;
}

void trap_init_idt(void)
{
	struct {
		u16 limit;
		u64 base;
	} __packed idtr = { sizeof(idt) - 1, (u64)idt };

	if (!idt[0].selector) {
		for (unsigned v = 0; v < 256; v++)
			set_gate(v, 0, v == VEC_BP || v == VEC_OF ? 3 : 0);
		set_gate(VEC_DF, IST_DF, 0);
		set_gate(VEC_NMI, IST_NMI, 0);
		set_gate(VEC_MC, IST_MC, 0);
		set_gate(VEC_DB, IST_DB, 0);
	}
	__asm__ volatile("lidt %0" : : "m"(idtr));
}

static const struct extable_entry *extable_find(ulong ip)
{
	for (const struct extable_entry *e = extable_start; e < extable_end; e++)
		if (KERNEL_BASE + e->at == ip)
			return e;
	return NULL;
}

bool extable_fixup(struct regs *r)
{
	const struct extable_entry *e = extable_find(r->ip);

	if (e)
		r->ip = KERNEL_BASE + e->fixup;
	return e != NULL;
}

static void __noreturn kernel_trap(struct regs *r, ulong vector)
{
	panic_regs(r, "%s in the kernel, error %#lx, address %#lx",
		   vector < 32 && names[vector] ? names[vector] : "unexpected exception", r->orig_ax, cr2_read());
}

static void note_trap(const struct regs *r, unsigned vector, ulong addr)
{
	current->arch.trap_nr = vector;
	current->arch.trap_error = r->orig_ax;
	current->arch.fault_address = addr;
}

static void page_fault(struct regs *r)
{
	ulong addr = cr2_read();
	unsigned error = (unsigned)r->orig_ax;
	const struct extable_entry *e;

	if (regs_user(r)) {
		note_trap(r, VEC_PF, addr);
		irq_enable();
		(void)upcall_page_fault(r, addr, error);
		return;
	}
	e = extable_find(r->ip);
	if (!e || (addr >= USER_END && !(e->flags & EXTABLE_PEEK)))
		kernel_trap(r, VEC_PF);
	if (!(e->flags & EXTABLE_NOFAULT) && (r->flags & FLAG_IF)) {
		int err;

		irq_enable();
		err = upcall_page_fault(r, addr, error);
		irq_disable();
		if (!err)
			return;
	}
	r->ip = KERNEL_BASE + e->fixup;
}

/* A watchpoint may hit while the kernel touches user memory, and a single step may run into
 * SYSENTER: note and go on. */
static void debug_trap(struct regs *r)
{
	ulong dr6;

	__asm__ volatile("mov %%dr6, %0" : "=r"(dr6));
	__asm__ volatile("mov %0, %%dr6" : : "r"(0xffff0ff0UL));
	if (regs_user(r)) {
		dr6 = watch_take_hits(r, dr6);
		current->arch.debug_regs[6] = (u32)dr6;
		irq_enable();
		upcall_user_exception(r, VEC_DB, dr6);
	} else {
		r->flags &= ~(ulong)FLAG_TF;
	}
}

static void nmi(struct regs *r)
{
	if (smp_stopping())
		smp_stop_self(r);
}

static void user_trap(struct regs *r, ulong vector)
{
	ulong error = r->orig_ax;

	note_trap(r, (unsigned)vector, 0);
	irq_enable();
	if (vector == VEC_NM && fpu_first_use() == 0)
		return;
	r->orig_ax = -1UL;
	upcall_user_exception(r, (unsigned)vector, error);
}

void trap_dispatch(struct regs *r, ulong vector)
{
	if (vector >= 32) {
		irq_dispatch(r, (unsigned)vector);
		return;
	}
	switch (vector) {
	case VEC_PF: page_fault(r); break;
	case VEC_DB: debug_trap(r); break;
	case VEC_NMI: nmi(r); break;
	case VEC_DF:
	case VEC_MC: kernel_trap(r, vector);
	default:
		if (regs_user(r))
			user_trap(r, vector);
		else if (!extable_fixup(r))
			kernel_trap(r, vector);
	}
}

/* The last stop before user mode. IRQs off on entry and exit. */
void user_return(struct regs *r)
{
	while (work_pending(current)) {
		irq_enable();
		resched_point();
		if (current->work & ~WORK_RESCHED)
			upcall_return_to_user(r);
		irq_disable();
	}
}

/* A jump, a signal frame or a tracer left an ip that is not canonical: what the CPU would have
 * raised in user mode. */
void user_bad_ip(struct regs *r)
{
	irq_enable();
	upcall_user_exception(r, VEC_GP, 0);
}
