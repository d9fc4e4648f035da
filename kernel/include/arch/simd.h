/* SPDX-License-Identifier: MIT
 *
 * Vector registers in the kernel (parity, checksums, crypto): a marked section between simd_begin and simd_end. No
 * sleep, no resched_point and no user access in it; not in interrupts; not nested. The registers of current are put
 * aside and come back; the contents at simd_begin are undefined.
 */
#ifndef ARCH_SIMD_H
#define ARCH_SIMD_H

void simd_begin(void);
void simd_end(void);

#endif
