/* SPDX-License-Identifier: MIT
 *
 * arch/hosted: a host thread stands for a CPU. There are no interrupts, so masking them is nothing.
 */
#ifndef ARCH_CPU_IMPL_H
#define ARCH_CPU_IMPL_H

#include <lib/types.h>

static inline void cpu_relax(void)
{
	__builtin_ia32_pause();
}
static inline ulong irq_save(void)
{
	return 0;
}
static inline void irq_restore(ulong state)
{
}
static inline void irq_enable(void)
{
}
static inline void irq_disable(void)
{
}
static inline bool irqs_enabled(void)
{
	return true;
}
static inline u64 cpu_cycles(void)
{
	return __builtin_ia32_rdtsc();
}

#endif
