/* SPDX-License-Identifier: MIT
 *
 * RAID6 arithmetic in GF(2^8), polynomial x^8+x^4+x^3+x^2+1 (0x11d), generator 2: P is the XOR of the data
 * blocks, Q = sum of 2^i * D_i (H. P. Anvin, "The mathematics of RAID-6"). bytes is a multiple of XOR_UNIT.
 *
 * gf256_pq: data[0..n-1] -> p and q. What ends in _simd does the same by the widest vector set, in the kernel between
 * simd_begin() and simd_end(); the others use general registers only.
 * gf256_recover: d[0..n+1] are the data blocks, then P, then Q; the one or two blocks named in lost[] are
 * computed from the others into their own buffers. 0, or -EINVAL for more than two or for a bad index.
 */
#ifndef LIB_GF256_H
#define LIB_GF256_H

#include <lib/types.h>

#define GF256_MAX_DATA 255

u8 gf256_mul(u8 a, u8 b);
u8 gf256_inv(u8 a);        /* a is not 0 */
u8 gf256_pow2(unsigned i); /* 2^i */
/* dst ^= c * src; they may be the same. */
void gf256_mul_add(u8 *dst, const u8 *src, u8 c, size_t bytes);
void gf256_mul_add_simd(u8 *dst, const u8 *src, u8 c, size_t bytes);
void gf256_pq(u8 *p, u8 *q, const u8 *const *data, unsigned n, size_t bytes);
void gf256_pq_simd(u8 *p, u8 *q, const u8 *const *data, unsigned n, size_t bytes);
int __must_check gf256_recover(u8 *const *d, unsigned n, const unsigned *lost, unsigned nlost, size_t bytes);
int __must_check gf256_recover_simd(u8 *const *d, unsigned n, const unsigned *lost, unsigned nlost, size_t bytes);

#endif
