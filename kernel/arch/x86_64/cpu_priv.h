/* SPDX-License-Identifier: MIT
 *
 * CPU bring-up between cpu.c, thread.c and smp.c.
 */
#ifndef CPU_PRIV_H
#define CPU_PRIV_H

#include <lib/types.h>

int cpu_create_stacks(unsigned cpu); /* interrupt stacks of a CPU that has not started. -1: out of memory */
ulong cpu_interrupt_stack(unsigned cpu, unsigned i); /* the lowest address of the i-th; 0: there is none */
void cpu_set_kernel_stack(ulong top);
extern char syscall_entry_compat[], syscall_entry_pti[];

#endif
