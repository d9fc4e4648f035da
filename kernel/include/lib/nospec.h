/* SPDX-License-Identifier: MIT
 *
 * Indices from programs. A CPU may guess that `i < n` holds and read table[i] before it knows (Spectre v1); behind the
 * check, index_nospec makes such a guess read table[0]. Source: Intel, "Analyzing Potential Bounds Check Bypass
 * Vulnerabilities".
 */
#ifndef LIB_NOSPEC_H
#define LIB_NOSPEC_H

#include <lib/types.h>

/* i, which is below n (and n constant or in a register); 0 when a CPU only guesses that. */
static __always_inline ulong index_nospec(ulong i, ulong n)
{
	ulong mask;

	__asm__("cmpq %1, %2; sbbq %0, %0" : "=r"(mask) : "er"(n), "r"(i) : "cc");
	return i & mask;
}

#endif
