/* SPDX-License-Identifier: MIT
 *
 * Problem: cache allocation writes registers that may not exist on CPUs other than the one it runs on, and must know
 * which caches there are, how large, and which CPUs share each.
 *
 * Idea: a register access is an instruction listed in .extable, sent to its CPU. Caches are enumerated by each CPU
 * once: CPUID 4 (Intel) or 8000_001D (AMD, the same layout), else AMD's older 8000_0005 and 8000_0006. A cache's id is
 * the APIC id without the bits that tell apart the CPUs that share it.
 *
 *      CPUID 4/8000_001D   EAX 4:0 type, 7:5 level, 25:14 CPUs sharing - 1
 *                          EBX 11:0 line - 1, 21:12 partitions - 1, 31:22 ways - 1;  ECX sets - 1
 *
 * Contract: arch/rdt.h.
 *
 * Locks: none; each CPU fills its own row, once, at boot.
 */
#include <arch/cpu.h>
#include <arch/rdt.h>
#include <lib/err.h>
#include <lib/string.h>
#include "x86_priv.h"

struct caches {
	u32 apic, package;
	unsigned n;
	struct cpu_cache cache[CPU_CACHES_MAX];
};
static DEFINE_PER_CPU(struct caches, caches);

/* ---- registers ------------------------------------------------------------------------------------------- */

struct msr_call {
	u32 msr;
	u64 value;
	int err;
};

#define FIXUP(at, to)                                                                                                  \
	".pushsection .extable, \"a\"\n"                                                                               \
	".long " at " - %c[base], " to " - %c[base], 0, 0\n"                                                           \
	".popsection\n"

static void read_here(void *arg)
{
	struct msr_call *c = arg;
	u32 lo = 0, hi = 0, err = 1;

	__asm__ volatile("1: rdmsr\n"
			 "xorl %[err], %[err]\n"
			 "2:\n" FIXUP("1b", "2b")
			 : [err] "+r"(err), "+a"(lo), "+d"(hi)
			 : "c"(c->msr), [base] "i"(KERNEL_LINK_BASE)
			 : "memory");
	c->value = (u64)hi << 32 | lo;
	c->err = err ? -EIO : 0;
}

static void write_here(void *arg)
{
	struct msr_call *c = arg;
	u32 err = 1;

	__asm__ volatile("1: wrmsr\n"
			 "xorl %[err], %[err]\n"
			 "2:\n" FIXUP("1b", "2b")
			 : [err] "+r"(err)
			 : "c"(c->msr), "a"((u32)c->value), "d"((u32)(c->value >> 32)), [base] "i"(KERNEL_LINK_BASE)
			 : "memory");
	c->err = err ? -EIO : 0;
}

int cpu_msr_read(unsigned cpu, u32 msr, u64 *value)
{
	struct msr_call c = { .msr = msr };

	cpu_call(cpumask_of(cpu), read_here, &c);
	*value = c.value;
	return c.err;
}

int cpu_msr_write(unsigned cpu, u32 msr, u64 value)
{
	struct msr_call c = { .msr = msr, .value = value };

	cpu_call(cpumask_of(cpu), write_here, &c);
	return c.err;
}

u64 cpu_msr_read_here(u32 msr)
{
	return msr_read(msr);
}

void cpu_msr_write_here(u32 msr, u64 value)
{
	msr_write(msr, value);
}

void cpu_cpuid(u32 leaf, u32 sub, u32 out[4])
{
	cpuid(leaf, sub, out);
}

/* ---- caches ---------------------------------------------------------------------------------------------- */

static unsigned bits_for(u32 n)
{
	return n > 1 ? 32 - (unsigned)__builtin_clz(n - 1) : 0;
}

static bool read_leaf(struct caches *c, u32 leaf, u32 sub)
{
	struct cpu_cache *out = &c->cache[c->n];
	u32 r[4];

	cpuid(leaf, sub, r);
	if (!(r[0] & 31) || c->n == CPU_CACHES_MAX)
		return false;
	*out = (struct cpu_cache){ .type = r[0] & 31,
				   .level = r[0] >> 5 & 7,
				   .line = (r[1] & 0xfff) + 1,
				   .ways = r[0] >> 9 & 1 ? 0 : (r[1] >> 22) + 1,
				   .sets = r[2] + 1,
				   .id = c->apic >> bits_for((r[0] >> 14 & 0xfff) + 1) };
	out->bytes = out->sets * out->line * ((r[1] >> 12 & 0x3ff) + 1) * ((r[1] >> 22) + 1);
	c->n++;
	return true;
}

static void add_old(struct caches *c, u8 level, u8 type, u32 kib, u32 ways, u32 line, u32 id)
{
	if (!kib || !ways || !line || c->n == CPU_CACHES_MAX)
		return;
	c->cache[c->n++] = (struct cpu_cache){ .level = level,
					       .type = type,
					       .ways = (u16)ways,
					       .line = (u16)line,
					       .bytes = kib << 10,
					       .sets = (kib << 10) / (ways * line),
					       .id = id };
}

/* Associativity code of 8000_0006; others say "fully" or "see 8000_001D". */
static u32 old_ways(u32 code)
{
	static const u8 ways[16] = { 0, 1, 2, 3, 4, 6, 8, 0, 16, 0, 32, 48, 64, 96, 128, 0 };

	return ways[code & 15];
}

static void read_old_amd(struct caches *c)
{
	u32 r[4];

	cpuid(0x80000005, 0, r);
	add_old(c, 1, CACHE_DATA, r[2] >> 24, r[2] >> 16 & 0xff, r[2] & 0xff, c->apic);
	add_old(c, 1, CACHE_CODE, r[3] >> 24, r[3] >> 16 & 0xff, r[3] & 0xff, c->apic);
	cpuid(0x80000006, 0, r);
	add_old(c, 2, CACHE_UNIFIED, r[2] >> 16, old_ways(r[2] >> 12), r[2] & 0xff, c->apic);
	add_old(c, 3, CACHE_UNIFIED, (r[3] >> 18) * 512, old_ways(r[3] >> 12), r[3] & 0xff, c->package);
}

static u32 logical_per_package(void)
{
	u32 r[4];

	cpuid(1, 0, r);
	return r[3] >> 28 & 1 ? r[1] >> 16 & 0xff : 1;
}

static void find_here(void *arg)
{
	struct caches *c = this_cpu_ptr(&caches);
	u32 r[4], max, max_ext;

	memset(c, 0, sizeof(*c));
	cpuid(1, 0, r);
	c->apic = r[1] >> 24;
	c->package = c->apic >> bits_for(logical_per_package());
	cpuid(0, 0, r);
	max = r[0];
	cpuid(0x80000000, 0, r);
	max_ext = r[0];
	for (u32 i = 0; max >= 4 && read_leaf(c, 4, i); i++)
		;
	cpuid(0x80000001, 0, r);
	for (u32 i = 0; !c->n && max_ext >= 0x8000001d && (r[2] >> 22 & 1) && read_leaf(c, 0x8000001d, i); i++)
		;
	if (!c->n && max_ext >= 0x80000006)
		read_old_amd(c);
}

static u64 sharers(const struct cpu_cache *of)
{
	u64 cpus = 0;
	unsigned cpu;

	for_each_cpu (cpu, cpu_online_mask()) {
		const struct caches *c = per_cpu_ptr(&caches, cpu);

		for (unsigned i = 0; i < c->n; i++)
			if (c->cache[i].level == of->level && c->cache[i].type == of->type && c->cache[i].id == of->id)
				cpus |= cpumask_of(cpu);
	}
	return cpus;
}

void cpu_caches_find(void)
{
	unsigned cpu;

	cpu_call(cpu_online_mask(), find_here, NULL);
	for_each_cpu (cpu, cpu_online_mask()) {
		struct caches *c = per_cpu_ptr(&caches, cpu);

		for (unsigned i = 0; i < c->n; i++)
			c->cache[i].shared = sharers(&c->cache[i]);
	}
}

bool cpu_cache(unsigned cpu, unsigned n, struct cpu_cache *out)
{
	const struct caches *c = per_cpu_ptr(&caches, cpu);

	if (n >= c->n)
		return false;
	*out = c->cache[n];
	return true;
}

unsigned cpu_package(unsigned cpu)
{
	return per_cpu_ptr(&caches, cpu)->package;
}
