/* SPDX-License-Identifier: MIT
 *
 * Problem: programs choose code by what the auxiliary vector says of the CPU, and the random generator
 * wants the CPU's own.
 *
 * Idea: CPUID and RDRAND, asked when needed.
 *
 * Contract: arch/vdso.h. Source: AMD64 Architecture Programmer's Manual volume 3, "CPUID", "RDRAND".
 *
 * Locks: none.
 */
#include <arch/cpu.h>
#include <arch/vdso.h>

static void cpuid(u32 leaf, u32 sub, u32 out[4])
{
	__asm__ volatile("cpuid" : "=a"(out[0]), "=b"(out[1]), "=c"(out[2]), "=d"(out[3]) : "a"(leaf), "c"(sub));
}

ulong arch_hwcap(void)
{
	u32 r[4];

	cpuid(1, 0, r);
	return r[3];
}

ulong arch_hwcap2(void)
{
	return 0; /* bit 1, FSGSBASE, only when the kernel saves what a program writes into the bases: it does not */
}

/* Frame without FPU state: return address, ucontext, siginfo, alignment. */
ulong arch_min_sigstack(void)
{
	u32 r[4] = { 0, 512 };

	if (cpu_has(CPU_XSAVE))
		cpuid(0xd, 0, r);
	return ALIGN_UP(1024 + r[1], 16);
}

bool arch_entropy(u64 *out)
{
	for (int tries = 0; tries < 10; tries++) {
		bool ok = false;

		if (cpu_has(CPU_RDRAND))
			__asm__ volatile("rdrand %0" : "=r"(*out), "=@ccc"(ok));
		if (ok)
			return true;
	}
	return false;
}
