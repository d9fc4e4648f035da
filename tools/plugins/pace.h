/* SPDX-License-Identifier: MIT
 *
 * Keeps virtual CPUs side by side: none that runs a program gets further ahead of another one than a few instructions,
 * however the host schedules their threads.
 *
 * Threading: each CPU calls for itself, from its own thread.
 */
#ifndef CACHEMODEL_PACE_H
#define CACHEMODEL_PACE_H

#include <stdbool.h>

#define PACE_CPUS 64

/* most: instructions ahead, at least 1; each turn takes a random number up to it. Once, before any CPU runs. */
void pace_init(unsigned most);
/* Before a run of instructions of a program. Waits until the slowest CPU that also runs one is near. */
void pace_user(unsigned cpu, unsigned instructions);
void pace_kernel_access(unsigned cpu); /* its kernel touches memory: it is not stuck */
/* It halts: nobody waits for this CPU until it is back in a program. */
void pace_idle(unsigned cpu);

#endif
