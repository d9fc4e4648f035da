/* SPDX-License-Identifier: MIT
 *
 * Per-CPU variables on x86-64: the GS base holds the distance from the template section to this
 * CPU's copy, so that
 * `%gs:name(%rip)` is one instruction. Copies live in a region of their own
 * (kernel/arch/x86_64/percpu.c).
 */
#ifndef ARCH_PERCPU_IMPL_H
#define ARCH_PERCPU_IMPL_H

#include <lib/types.h>

#define DEFINE_PER_CPU(type, name)  __typeof__(type) name __section(".percpu")
#define DECLARE_PER_CPU(type, name) extern __typeof__(type) name

DECLARE_PER_CPU(ulong, percpu_self_offset);
extern ulong percpu_offset[];

#define PERCPU_OP_(vol, insn, v, r)                                                                                    \
	do {                                                                                                           \
		switch (sizeof(r)) {                                                                                   \
		case 1: __asm__ vol(insn "b %%gs:%1, %0" : "=q"(r) : "m"(v)); break;                                   \
		case 2: __asm__ vol(insn "w %%gs:%1, %0" : "=r"(r) : "m"(v)); break;                                   \
		case 4: __asm__ vol(insn "l %%gs:%1, %0" : "=r"(r) : "m"(v)); break;                                   \
		default: __asm__ vol(insn "q %%gs:%1, %0" : "=r"(r) : "m"(v));                                         \
		}                                                                                                      \
	} while (0)

#define this_cpu_read(v)                                                                                               \
	({                                                                                                             \
		__typeof__(v) r_;                                                                                      \
		PERCPU_OP_(volatile, "mov", v, r_);                                                                    \
		r_;                                                                                                    \
	})
/* For what follows the task from CPU to CPU (current): the compiler may keep the value. */
#define this_cpu_read_stable(v)                                                                                        \
	({                                                                                                             \
		__typeof__(v) r_;                                                                                      \
		PERCPU_OP_(, "mov", v, r_);                                                                            \
		r_;                                                                                                    \
	})
#define PERCPU_RMW_(insn, v, x)                                                                                        \
	do {                                                                                                           \
		__typeof__(v) x_ = (__typeof__(v))(x);                                                                 \
		switch (sizeof(x_)) {                                                                                  \
		case 1: __asm__ volatile(insn "b %1, %%gs:%0" : "+m"(v) : "qi"(x_)); break;                            \
		case 2: __asm__ volatile(insn "w %1, %%gs:%0" : "+m"(v) : "ri"(x_)); break;                            \
		case 4: __asm__ volatile(insn "l %1, %%gs:%0" : "+m"(v) : "ri"(x_)); break;                            \
		default: __asm__ volatile(insn "q %1, %%gs:%0" : "+m"(v) : "re"(x_));                                  \
		}                                                                                                      \
	} while (0)
#define this_cpu_write(v, x) PERCPU_RMW_("mov", v, x)
#define this_cpu_add(v, x)   PERCPU_RMW_("add", v, x)

#define this_cpu_ptr(p)     ((__typeof__(p))((ulong)(p) + this_cpu_read(percpu_self_offset)))
#define per_cpu_ptr(p, cpu) ((__typeof__(p))((ulong)(p) + percpu_offset[cpu]))

#endif
