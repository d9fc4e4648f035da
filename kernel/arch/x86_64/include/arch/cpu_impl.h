/* SPDX-License-Identifier: MIT
 *
 * The inline part of arch/cpu.h on x86-64.
 */
#ifndef ARCH_CPU_IMPL_H
#define ARCH_CPU_IMPL_H

#include <arch/percpu_impl.h>

DECLARE_PER_CPU(unsigned, cpu_number);

#define X86_FLAGS_IF 0x200UL

static inline unsigned cpu_id(void)
{
	return this_cpu_read(cpu_number);
}
static inline void cpu_relax(void)
{
	__builtin_ia32_pause();
}
static inline void irq_disable(void)
{
	__asm__ volatile("cli" : : : "memory");
}
static inline void irq_enable(void)
{
	__asm__ volatile("sti" : : : "memory");
}
static inline ulong irq_flags(void)
{
	ulong f;

	__asm__ volatile("pushfq; popq %0" : "=r"(f) : : "memory");
	return f;
}
static inline bool irqs_enabled(void)
{
	return irq_flags() & X86_FLAGS_IF;
}
static inline ulong irq_save(void)
{
	ulong f = irq_flags();

	irq_disable();
	return f;
}
static inline void irq_restore(ulong f)
{
	if (f & X86_FLAGS_IF)
		irq_enable();
}
static inline u64 cpu_cycles(void)
{
	return __builtin_ia32_rdtsc();
}

#endif
