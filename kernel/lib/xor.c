/* SPDX-License-Identifier: MIT
 *
 * Problem: every RAID5 write XORs whole pages of several members; memory bandwidth should be the only limit.
 *
 * Idea: 128 to 512 bytes of the result stay in registers while each source passes by once, so each byte is loaded once
 * and stored once however many sources there are. One loop in assembly for each vector set, made from one macro:
 * the compiler never sees vector registers, so the file builds in a kernel without them. The portable variant
 * does the same with 64-bit words.
 *
 * Contract: lib/xor.h.
 *
 * Locks: none.
 */
#include <lib/cpufeature.h>
#include <lib/string.h>
#include <lib/xor.h>

void xor_blocks(u8 *dst, const u8 *const *src, unsigned n, size_t bytes)
{
	for (size_t off = 0; off < bytes; off += 32) {
		u64 a[4], b[4];

		memcpy(a, src[0] + off, 32);
		for (unsigned i = 1; i < n; i++) {
			memcpy(b, src[i] + off, 32);
			a[0] ^= b[0];
			a[1] ^= b[1];
			a[2] ^= b[2];
			a[3] ^= b[3];
		}
		memcpy(dst + off, a, 32);
	}
}

/* off runs over the block in steps of `unit` bytes; i runs over the sources; p is the source's address at off.
 * LOAD(d, r) loads r from p + d, FOLD xors, STORE stores to dst + off + d. */
#define XOR_LOOP(unit, LOADS, FOLDS, STORES)                                                                           \
	size_t off = 0;                                                                                                \
	ulong i, p;                                                                                                    \
                                                                                                                       \
	__asm__ volatile("1:	movq (%[src]), %[p]\n"                                                                    \
			 "	addq %[off], %[p]\n" LOADS "	movl $1, %k[i]\n"                                         \
			 "2:	cmpq %[n], %[i]\n"                                                                        \
			 "	jae 3f\n"                                                                                   \
			 "	movq (%[src], %[i], 8), %[p]\n"                                                             \
			 "	addq %[off], %[p]\n" FOLDS "	incq %[i]\n"                                              \
			 "	jmp 2b\n"                                                                                   \
			 "3:	leaq (%[dst], %[off]), %[p]\n" STORES "	addq $" #unit ", %[off]\n"                     \
			 "	cmpq %[bytes], %[off]\n"                                                                    \
			 "	jb 1b\n"                                                                                    \
			 : [off] "+r"(off), [i] "=&r"(i), [p] "=&r"(p)                                                 \
			 : [src] "r"(src), [dst] "r"(dst), [n] "r"((ulong)n), [bytes] "r"(bytes)                       \
			 : "memory", "cc" VECTOR_CLOBBERS)

#ifdef __SSE__
#define VECTOR_CLOBBERS                                                                                                \
	, "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12",   \
		"xmm13", "xmm14", "xmm15"
#else
#define VECTOR_CLOBBERS
#endif

#define SSE_LOAD(d, r)   "	movdqu " #d "(%[p]), %%xmm" #r "\n"
#define SSE_FOLD(d, r)   "	movdqu " #d "(%[p]), %%xmm8\n	pxor %%xmm8, %%xmm" #r "\n"
#define SSE_STORE(d, r)  "	movdqu %%xmm" #r ", " #d "(%[p])\n"
#define AVX_LOAD(d, r)   "	vmovdqu " #d "(%[p]), %%ymm" #r "\n"
#define AVX_FOLD(d, r)   "	vpxor " #d "(%[p]), %%ymm" #r ", %%ymm" #r "\n"
#define AVX_STORE(d, r)  "	vmovdqu %%ymm" #r ", " #d "(%[p])\n"
#define A512_LOAD(d, r)  "	vmovdqu64 " #d "(%[p]), %%zmm" #r "\n"
#define A512_FOLD(d, r)  "	vpxorq " #d "(%[p]), %%zmm" #r ", %%zmm" #r "\n"
#define A512_STORE(d, r) "	vmovdqu64 %%zmm" #r ", " #d "(%[p])\n"

#define FOUR(M, base, step, r0, r1, r2, r3)                                                                            \
	M(base + 0 * step, r0) M(base + 1 * step, r1) M(base + 2 * step, r2) M(base + 3 * step, r3)

/* SSE has room for 128 bytes at a time beside its scratch register. */
static void xor_sse2(u8 *dst, const u8 *const *src, unsigned n, size_t bytes)
{
#define SSE_HALF(M) FOUR(M, 0, 16, 0, 1, 2, 3) FOUR(M, 64, 16, 4, 5, 6, 7)
	XOR_LOOP(128, SSE_HALF(SSE_LOAD), SSE_HALF(SSE_FOLD), SSE_HALF(SSE_STORE));
}

static void xor_avx2(u8 *dst, const u8 *const *src, unsigned n, size_t bytes)
{
#define AVX_ALL(M) FOUR(M, 0, 32, 0, 1, 2, 3) FOUR(M, 128, 32, 4, 5, 6, 7)
	XOR_LOOP(256, AVX_ALL(AVX_LOAD), AVX_ALL(AVX_FOLD), AVX_ALL(AVX_STORE));
	__asm__ volatile("vzeroupper" ::: "memory" VECTOR_CLOBBERS);
}

static void xor_avx512(u8 *dst, const u8 *const *src, unsigned n, size_t bytes)
{
#define A512_ALL(M)  FOUR(M, 0, 64, 0, 1, 2, 3)
#define A512_MORE(M) A512_ALL(M) FOUR(M, 256, 64, 4, 5, 6, 7)
	if (bytes % 512 == 0) { /* fewer turns, more loads under way */
		XOR_LOOP(512, A512_MORE(A512_LOAD), A512_MORE(A512_FOLD), A512_MORE(A512_STORE));
	} else {
		XOR_LOOP(256, A512_ALL(A512_LOAD), A512_ALL(A512_FOLD), A512_ALL(A512_STORE));
	}
	__asm__ volatile("vzeroupper" ::: "memory" VECTOR_CLOBBERS);
}

void xor_blocks_simd(u8 *dst, const u8 *const *src, unsigned n, size_t bytes)
{
	unsigned f = cpu_features();

	if (f & CPU_AVX512)
		xor_avx512(dst, src, n, bytes);
	else if (f & CPU_AVX2)
		xor_avx2(dst, src, n, bytes);
	else
		xor_sse2(dst, src, n, bytes);
}
