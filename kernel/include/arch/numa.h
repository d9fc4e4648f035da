/* SPDX-License-Identifier: MIT
 *
 * Which memory is near which CPU. Constant after boot; a machine that says nothing has one node, 0. Node numbers are
 * given in the order in which the firmware names its proximity domains, CPUs first, as Linux gives them.
 *
 * Source: ACPI 6.4, 5.2.16 (SRAT) and 5.2.17 (SLIT). The node of each range of RAM stands in boot_info().
 */
#ifndef ARCH_NUMA_H
#define ARCH_NUMA_H

#include <lib/cpumask.h>
#include <lib/types.h>

#define MAX_NODES                   16
#define NODE_BORDER                 (4UL << 20) /* nodes begin at multiples of it: the largest block of the page allocator */
#define NODE_NEAR                   10          /* distance of a node to itself */
#define NODE_FAR                    20          /* to others, where the firmware does not say */
#define node_bit(n)                 (1ULL << (n))
#define node_has(m, n)              (((m) >> (n)) & 1)
#define node_first(m)               ((m) ? (unsigned)__builtin_ctzll(m) : MAX_NODES)
#define node_weight(m)              ((unsigned)__builtin_popcountll(m))
#define for_each_numa_node(n, mask) for_each_cpu (n, mask)

typedef u64 nodemask_t;

unsigned node_count(void);         /* at least 1; numbers are below it */
nodemask_t node_memory_mask(void); /* nodes that have RAM */
nodemask_t node_cpu_mask(void);    /* nodes of the CPUs that are on line */
unsigned node_of_cpu(unsigned cpu);
cpumask_t node_cpus(unsigned node); /* those on line */
unsigned node_distance(unsigned from, unsigned to);

#endif
