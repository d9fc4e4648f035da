/* SPDX-License-Identifier: MIT
 *
 * Problem: parity, checksums and ciphers have variants for several vector sets, in the kernel and on the host,
 * and using one whose registers the system does not save corrupts somebody else's numbers.
 *
 * Idea: CPUID says what the CPU can do, XGETBV what the system has switched on; the answer is their conjunction.
 * (Intel SDM volume 1, 13.5 and 14.3; volume 2, CPUID leaves 1 and 7.)
 *
 * Contract: lib/cpufeature.h.
 *
 * Locks: none; the cached word is written whole, and every writer finds the same value.
 */
#include <lib/cpufeature.h>

#define KNOWN       BIT(31)
#define XCR0_AVX    0x6
#define XCR0_AVX512 0xe6

static unsigned cached;

static void cpuid(u32 leaf, u32 sub, u32 r[4])
{
	__asm__ volatile("cpuid" : "=a"(r[0]), "=b"(r[1]), "=c"(r[2]), "=d"(r[3]) : "0"(leaf), "2"(sub));
}

static unsigned detect(void)
{
	u32 r1[4], r7[4], max[4], lo, hi;
	unsigned f = CPU_SSE2;

	cpuid(0, 0, max);
	cpuid(1, 0, r1);
	if (r1[2] & BIT(20))
		f |= CPU_SSE42;
	if (max[0] < 7 || !(r1[2] & BIT(27)))
		return f;
	cpuid(7, 0, r7);
	__asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
	if ((lo & XCR0_AVX) == XCR0_AVX && (r7[1] & BIT(5)))
		f |= CPU_AVX2;
	if ((lo & XCR0_AVX512) == XCR0_AVX512 && (r7[1] & BIT(16)) && (r7[1] & BIT(30)) && (r7[1] & BIT(31))) {
		f |= CPU_AVX512;
		if (r7[2] & BIT(8))
			f |= CPU_GFNI;
	}
	return f;
}

unsigned cpu_features(void)
{
	unsigned f = READ_ONCE(cached);

	if (unlikely(!f)) {
		f = detect() | KNOWN;
		WRITE_ONCE(cached, f);
	}
	return f & ~KNOWN;
}

void cpu_features_mask(unsigned keep)
{
	WRITE_ONCE(cached, (detect() & keep) | KNOWN);
}
