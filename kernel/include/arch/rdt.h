/* SPDX-License-Identifier: MIT
 *
 * What cache allocation and performance counters ask of the machine: CPUID, model-specific registers of a given CPU,
 * and the caches that each CPU has. Sources: Intel SDM volume 2A, CPUID leaf 4; AMD64 APM volume 3, appendix E, leaves
 * 8000_0005/6/1D.
 */
#ifndef ARCH_RDT_H
#define ARCH_RDT_H

#include <lib/types.h>

void cpu_cpuid(u32 leaf, u32 sub, u32 out[4]); /* eax, ebx, ecx, edx of the calling CPU */

/* May sleep. -EIO: the CPU refuses the register or the value (it raised a general protection fault). */
int __must_check cpu_msr_read(unsigned cpu, u32 msr, u64 *value);
int __must_check cpu_msr_write(unsigned cpu, u32 msr, u64 value);
u64 cpu_msr_read_here(u32 msr); /* known to exist, both */
void cpu_msr_write_here(u32 msr, u64 value);
void cpu_counters_listen(void); /* the next overflow of a performance counter of this CPU interrupts it */

enum cache_type { CACHE_DATA = 1, CACHE_CODE, CACHE_UNIFIED };
struct cpu_cache {
	u8 level;
	u8 type;  /* enum cache_type */
	u16 ways; /* 0: fully associative */
	u16 line; /* bytes */
	u32 sets;
	u32 bytes;
	u32 id;     /* equal for the CPUs that share it, unique in its level */
	u64 shared; /* CPUs on line that share it */
};
#define CPU_CACHES_MAX 8
/* The n-th cache of a CPU, nearest first; false: no more. Constant after cpu_caches_find(). */
bool cpu_cache(unsigned cpu, unsigned n, struct cpu_cache *out);
void cpu_caches_find(void); /* boot, all CPUs on line; may sleep */
unsigned cpu_package(unsigned cpu);

/* A word more for the flags line of /proc/cpuinfo: something that the kernel offers on this machine. Static text. */
void cpu_flag_add(const char *word);

#endif
