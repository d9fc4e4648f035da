/* SPDX-License-Identifier: MIT
 *
 * A set of CPUs: one word, since the machine has at most 64 (design: 1 to 64 CPUs).
 */
#ifndef LIB_CPUMASK_H
#define LIB_CPUMASK_H

#include <lib/types.h>

#define MAX_CPUS 64

typedef u64 cpumask_t;

#define CPUMASK_ALL         (~0ULL)
#define cpumask_of(cpu)     (1ULL << (cpu))
#define cpumask_has(m, cpu) (((m) >> (cpu)) & 1)
#define cpumask_first(m)    ((m) ? __builtin_ctzll(m) : MAX_CPUS)
#define cpumask_weight(m)   __builtin_popcountll(m)
#define for_each_cpu(cpu, mask)                                                                                        \
	for (u64 m_##cpu = (mask); m_##cpu && ((cpu) = __builtin_ctzll(m_##cpu), 1); m_##cpu &= m_##cpu - 1)

#endif
