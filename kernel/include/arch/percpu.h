/* SPDX-License-Identifier: MIT
 *
 * Per-CPU variables. One template section is copied for each CPU at boot; a variable's address in the template
 * plus the CPU's offset is its address. Static initialisers hold for every CPU.
 *
 * Threading: this_cpu_* is right as long as the task cannot move: between resched points (see arch/cpu.h). A
 * variable that an interrupt also writes needs IRQs off or a single-instruction update (this_cpu_add).
 *
 * percpu_impl.h gives: DEFINE_PER_CPU(type, name); DECLARE_PER_CPU(type, name); this_cpu_ptr(&name);
 * this_cpu_read(name), this_cpu_write(name, v), this_cpu_add(name, v) for scalars (one instruction on x86-64);
 * per_cpu_ptr(&name, cpu).
 */
#ifndef ARCH_PERCPU_H
#define ARCH_PERCPU_H

#include <lib/types.h>
#include <arch/percpu_impl.h>

#endif
