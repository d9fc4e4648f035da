/* SPDX-License-Identifier: MIT
 *
 * Problem: pure code that uses vector registers marks the sections where it does.
 *
 * Idea: in a Linux process the registers are its own all the time.
 *
 * Contract: arch/simd.h.
 *
 * Locks: none.
 */
#include <arch/simd.h>

void simd_begin(void)
{
}

void simd_end(void)
{
}
