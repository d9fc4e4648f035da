/* SPDX-License-Identifier: MIT
 *
 * Parity over blocks. xor_blocks: dst = src[0] ^ ... ^ src[n-1], n >= 1; dst may be one of the sources. bytes is a
 * multiple of 256; no alignment is needed, 64 is fastest. xor_blocks uses general registers only and may be called
 * anywhere; xor_blocks_simd uses the widest vector set of cpu_features() and, in the kernel, stands between
 * simd_begin() and simd_end().
 */
#ifndef LIB_XOR_H
#define LIB_XOR_H

#include <lib/types.h>

#define XOR_UNIT 256 /* bytes */

void xor_blocks(u8 *dst, const u8 *const *src, unsigned n, size_t bytes);
void xor_blocks_simd(u8 *dst, const u8 *const *src, unsigned n, size_t bytes);

#endif
