/* SPDX-License-Identifier: MIT
 *
 * Time in nanoseconds, u64. clock_ns is monotonic over all CPUs from boot; clock_real_ns follows
 * the wall.
 */
#ifndef CORE_CLOCK_H
#define CORE_CLOCK_H

#include <lib/types.h>

u64 clock_ns(void);
u64 clock_real_ns(void);
void clock_set_real_ns(u64 ns);
/* Arms this CPU's one-shot timer interrupt; ~0: none. IRQs off. */
void clock_arm(u64 deadline_ns);

/* For the vDSO: clock_ns() = (tsc - *tsc_start) * *ns_mult >> 32, in 128 bits. Constant after boot.
 */
void clock_parameters(u64 *tsc_start, u64 *ns_mult);

#endif
