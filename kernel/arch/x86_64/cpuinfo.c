/* SPDX-License-Identifier: MIT
 *
 * Problem: programs choose code by the flags in /proc/cpuinfo, with Linux's names for the bits of CPUID.
 *
 * Idea: a table from (leaf, register, bit) to name; a CPU's entry is the table read against CPUID. All CPUs are alike,
 * so the answers of the CPU that happens to run are given for each.
 *
 * Contract: cpu_describe of arch/cpu.h. Bits: AMD64 manual volume 3, appendix E; Intel manual volume 2A, CPUID. Names:
 * asm/cpufeatures as proc(5) shows them.
 *
 * Locks: none.
 */
#include <arch/cpu.h>
#include <arch/rdt.h>
#include <core/clock.h>
#include <lib/printf.h>
#include <lib/string.h>
#include "x86_priv.h"

enum reg { EAX, EBX, ECX, EDX };

static const struct {
	u32 leaf;
	u8 reg, bit;
	const char *name;
} flags[] = {
	{ 1, EDX, 0, "fpu" },
	{ 1, EDX, 1, "vme" },
	{ 1, EDX, 2, "de" },
	{ 1, EDX, 3, "pse" },
	{ 1, EDX, 4, "tsc" },
	{ 1, EDX, 5, "msr" },
	{ 1, EDX, 6, "pae" },
	{ 1, EDX, 7, "mce" },
	{ 1, EDX, 8, "cx8" },
	{ 1, EDX, 9, "apic" },
	{ 1, EDX, 11, "sep" },
	{ 1, EDX, 13, "pge" },
	{ 1, EDX, 15, "cmov" },
	{ 1, EDX, 16, "pat" },
	{ 1, EDX, 19, "clflush" },
	{ 1, EDX, 23, "mmx" },
	{ 1, EDX, 24, "fxsr" },
	{ 1, EDX, 25, "sse" },
	{ 1, EDX, 26, "sse2" },
	{ 1, EDX, 28, "ht" },
	{ 1, ECX, 0, "pni" },
	{ 1, ECX, 1, "pclmulqdq" },
	{ 1, ECX, 9, "ssse3" },
	{ 1, ECX, 12, "fma" },
	{ 1, ECX, 13, "cx16" },
	{ 1, ECX, 17, "pcid" },
	{ 1, ECX, 19, "sse4_1" },
	{ 1, ECX, 20, "sse4_2" },
	{ 1, ECX, 21, "x2apic" },
	{ 1, ECX, 22, "movbe" },
	{ 1, ECX, 23, "popcnt" },
	{ 1, ECX, 25, "aes" },
	{ 1, ECX, 26, "xsave" },
	{ 1, ECX, 28, "avx" },
	{ 1, ECX, 29, "f16c" },
	{ 1, ECX, 30, "rdrand" },
	{ 1, ECX, 31, "hypervisor" },
	{ 7, EBX, 0, "fsgsbase" },
	{ 7, EBX, 3, "bmi1" },
	{ 7, EBX, 5, "avx2" },
	{ 7, EBX, 7, "smep" },
	{ 7, EBX, 8, "bmi2" },
	{ 7, EBX, 9, "erms" },
	{ 7, EBX, 12, "cqm" },
	{ 7, EBX, 15, "rdt_a" },
	{ 7, EBX, 18, "rdseed" },
	{ 7, EBX, 19, "adx" },
	{ 7, EBX, 20, "smap" },
	{ 7, EBX, 29, "sha_ni" },
	{ 0x80000001, EDX, 11, "syscall" },
	{ 0x80000001, EDX, 20, "nx" },
	{ 0x80000001, EDX, 26, "pdpe1gb" },
	{ 0x80000001, EDX, 27, "rdtscp" },
	{ 0x80000001, EDX, 29, "lm" },
	{ 0x80000001, ECX, 0, "lahf_lm" },
	{ 0x80000001, ECX, 2, "svm" },
	{ 0x80000001, ECX, 5, "abm" },
};

static const char *more_flags[16]; /* written at boot */
static unsigned nr_more_flags;

void cpu_flag_add(const char *word)
{
	for (unsigned i = 0; i < nr_more_flags; i++)
		if (!strcmp(more_flags[i], word))
			return;
	if (nr_more_flags < ARRAY_SIZE(more_flags))
		more_flags[nr_more_flags++] = word;
}

static void add_flags(struct strbuf *out)
{
	u32 r[4] = { 0 }, leaf = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(flags); i++) {
		if (flags[i].leaf != leaf) {
			leaf = flags[i].leaf;
			cpuid(leaf, 0, r);
		}
		if (r[flags[i].reg] >> flags[i].bit & 1)
			strbuf_add(out, " %s", flags[i].name);
	}
	for (unsigned i = 0; i < nr_more_flags; i++)
		strbuf_add(out, " %s", more_flags[i]);
}

static void brand_string(char text[49])
{
	u32 r[12] = { 0 }, max[4];

	cpuid(0x80000000, 0, max);
	for (u32 i = 0; i < 3 && max[0] >= 0x80000004; i++)
		cpuid(0x80000002 + i, 0, r + 4 * i);
	memcpy(text, r, 48);
	text[48] = '\0';
}

void cpu_describe(unsigned cpu, struct strbuf *out)
{
	u32 v[4], s[4];
	char vendor[13], brand[49];
	u32 family, model;

	cpuid(0, 0, v);
	memcpy(vendor, &v[EBX], 4);
	memcpy(vendor + 4, &v[EDX], 4);
	memcpy(vendor + 8, &v[ECX], 4);
	vendor[12] = '\0';
	cpuid(1, 0, s);
	family = s[EAX] >> 8 & 15;
	model = s[EAX] >> 4 & 15;
	if (family == 6 || family == 15)
		model |= s[EAX] >> 12 & 0xf0;
	if (family == 15)
		family += s[EAX] >> 20 & 255;
	brand_string(brand);
	strbuf_add(
		out,
		"processor\t: %u\nvendor_id\t: %s\ncpu family\t: %u\nmodel\t\t: %u\nmodel name\t: %s\nstepping\t: %u\n",
		cpu, vendor, family, model, brand, s[EAX] & 15);
	strbuf_add(out,
		   "physical id\t: 0\nsiblings\t: %u\ncore id\t\t: %u\ncpu cores\t: %u\napicid\t\t: %u\nfpu\t\t: "
		   "yes\nflags\t\t:",
		   cpu_count(), cpu, cpu_count(), cpu);
	add_flags(out);
	strbuf_add(out, "\nbugs\t\t:");
	cpu_bugs_list(out);
	strbuf_add(
		out,
		"\nclflush size\t: %u\ncache_alignment\t: %u\naddress sizes\t: 48 bits physical, 48 bits virtual\n\n",
		(s[EBX] >> 8 & 255) * 8, (s[EBX] >> 8 & 255) * 8);
}
