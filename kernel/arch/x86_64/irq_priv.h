/* SPDX-License-Identifier: MIT
 *
 * Between irq.c, apic.c and clock.c.
 */
#ifndef IRQ_PRIV_H
#define IRQ_PRIV_H

#include <lib/types.h>

unsigned irq_cpu(int vector); /* where it arrives */
void apic_timer_free_run(void);
u32 apic_timer_elapsed(void);
void apic_timer_set_rate(u64 ticks_per_second, bool deadline);
void apic_timer_stop(void);

#endif
