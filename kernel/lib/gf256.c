/* SPDX-License-Identifier: MIT
 *
 * Problem: RAID6 survives two lost members by a second, independent parity; computing it naively costs a table
 * look-up for every byte.
 *
 * Idea: Horner's rule from the last data block to the first needs only "times 2", which is a shift and a
 * conditional XOR with 0x1d on all bytes of a register at once (one affine instruction where GFNI exists).
 * General multiplication uses a 16+16 entry table per constant, c*x = lo[x&15]^hi[x>>4], which a byte shuffle looks up
 * for a whole register; where GFNI exists, c is an 8x8 bit matrix. Lost blocks: with P and Q over the surviving blocks
 * (zeroes stand for the lost ones) subtracted, what remains are two linear equations.
 *
 * Contract: lib/gf256.h.
 *
 * Locks: none.
 */
#include <lib/cpufeature.h>
#include <lib/err.h>
#include <lib/gf256.h>
#include <lib/string.h>
#include <lib/xor.h>

#define ONES 0x0101010101010101ULL

u8 gf256_mul(u8 a, u8 b)
{
	unsigned r = 0, x = a;

	for (; b; b >>= 1) {
		if (b & 1)
			r ^= x;
		x <<= 1;
		if (x & 0x100)
			x ^= 0x11d;
	}
	return r;
}

u8 gf256_pow2(unsigned i)
{
	u8 r = 1;

	for (i %= 255; i; i--)
		r = gf256_mul(r, 2);
	return r;
}

u8 gf256_inv(u8 a)
{
	u8 r = 1, x = a;

	for (unsigned e = 254; e; e >>= 1) { /* a^254 = a^-1 */
		if (e & 1)
			r = gf256_mul(r, x);
		x = gf256_mul(x, x);
	}
	return r;
}

static void nibble_tables(u8 c, u8 t[32])
{
	for (unsigned i = 0; i < 16; i++) {
		t[i] = gf256_mul(c, (u8)i);
		t[16 + i] = gf256_mul(c, (u8)(i << 4));
	}
}

void gf256_mul_add(u8 *dst, const u8 *src, u8 c, size_t bytes)
{
	u8 t[32];

	nibble_tables(c, t);
	for (size_t i = 0; i < bytes; i++)
		dst[i] ^= t[src[i] & 15] ^ t[16 + (src[i] >> 4)];
}

/* Eight bytes times 2. A byte's top bit, moved to its bottom and multiplied by 0x1d, is its reduction. */
static u64 times2(u64 x)
{
	u64 top = x >> 7 & ONES;

	return (x << 1 & ~ONES) ^ top * 0x1d;
}

void gf256_pq(u8 *p, u8 *q, const u8 *const *data, unsigned n, size_t bytes)
{
	for (size_t off = 0; off < bytes; off += 16) {
		u64 wp[2], wq[2], d[2];

		memcpy(wp, data[n - 1] + off, 16);
		wq[0] = wp[0];
		wq[1] = wp[1];
		for (unsigned i = n - 1; i-- > 0;) {
			memcpy(d, data[i] + off, 16);
			for (int k = 0; k < 2; k++) {
				wp[k] ^= d[k];
				wq[k] = times2(wq[k]) ^ d[k];
			}
		}
		memcpy(p + off, wp, 16);
		memcpy(q + off, wq, 16);
	}
}

/* off: position in the blocks; i counts the sources down; a: the source's address at off. SETUP fills the constant
 * register(s), FIRST loads P and Q from the last source, STEP folds one source in. */
#define PQ_LOOP(width, SETUP, FIRST, STEP, STOREP, STOREQ)                                                             \
	size_t off = 0;                                                                                                \
	ulong i, a;                                                                                                    \
                                                                                                                       \
	__asm__ volatile(SETUP "1:	movq %[last], %[i]\n"                                                               \
			       "	movq (%[src], %[i], 8), %[a]\n"                                                       \
			       "	addq %[off], %[a]\n" FIRST "2:	decq %[i]\n"                                    \
			       "	js 3f\n"                                                                              \
			       "	movq (%[src], %[i], 8), %[a]\n"                                                       \
			       "	addq %[off], %[a]\n" STEP "	jmp 2b\n"                                          \
			       "3:	leaq (%[p], %[off]), %[a]\n" STOREP "	leaq (%[q], %[off]), %[a]\n" STOREQ    \
			       "	addq $" #width ", %[off]\n"                                                    \
			       "	cmpq %[bytes], %[off]\n"                                                              \
			       "	jb 1b\n"                                                                              \
			 : [off] "+r"(off), [i] "=&r"(i), [a] "=&r"(a)                                                 \
			 : [src] "r"(data), [p] "r"(p), [q] "r"(q), [last] "r"((ulong)n - 1), [bytes] "r"(bytes),      \
			   [c] "m"(constant)                                                                           \
			 : "memory", "cc" VECTOR_CLOBBERS)

#ifdef __SSE__
#define VECTOR_CLOBBERS                                                                                                \
	, "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12",   \
		"xmm13", "xmm14", "xmm15"
#else
#define VECTOR_CLOBBERS
#endif

/* P in 0..3, Q in 4..7, the reduction constant in 15. */
#define SSE_FIRST(d, p, q) "	movdqu " #d "(%[a]), %%xmm" #p "\n	movdqa %%xmm" #p ", %%xmm" #q "\n"
#define SSE_STEP(d, p, q)                                                                                              \
	"	pxor %%xmm9, %%xmm9\n	pcmpgtb %%xmm" #q ", %%xmm9\n	paddb %%xmm" #q ", %%xmm" #q "\n"              \
	"	pand %%xmm15, %%xmm9\n	pxor %%xmm9, %%xmm" #q "\n	movdqu " #d "(%[a]), %%xmm8\n"                 \
	"	pxor %%xmm8, %%xmm" #p "\n	pxor %%xmm8, %%xmm" #q "\n"
#define SSE_STORE(d, r) "	movdqu %%xmm" #r ", " #d "(%[a])\n"

#define AVX_FIRST(d, p, q) "	vmovdqu " #d "(%[a]), %%ymm" #p "\n	vmovdqa %%ymm" #p ", %%ymm" #q "\n"
#define AVX_STEP(d, p, q)                                                                                              \
	"	vpcmpgtb %%ymm" #q ", %%ymm14, %%ymm9\n	vpaddb %%ymm" #q ", %%ymm" #q ", %%ymm" #q "\n"                \
	"	vpand %%ymm15, %%ymm9, %%ymm9\n	vmovdqu " #d "(%[a]), %%ymm8\n"                                        \
	"	vpxor %%ymm9, %%ymm" #q ", %%ymm" #q "\n	vpxor %%ymm8, %%ymm" #p ", %%ymm" #p "\n"              \
	"	vpxor %%ymm8, %%ymm" #q ", %%ymm" #q "\n"
#define AVX_STORE(d, r) "	vmovdqu %%ymm" #r ", " #d "(%[a])\n"

#define GFNI_FIRST(d, p, q) "	vmovdqu64 " #d "(%[a]), %%zmm" #p "\n	vmovdqa64 %%zmm" #p ", %%zmm" #q "\n"
#define GFNI_STEP(d, p, q)                                                                                             \
	"	vmovdqu64 " #d "(%[a]), %%zmm8\n	vgf2p8affineqb $0, %%zmm15, %%zmm" #q ", %%zmm" #q             \
	"\n	vpxorq %%zmm8, %%zmm" #p ", %%zmm" #p "\n	vpxorq %%zmm8, %%zmm" #q ", %%zmm" #q "\n"
#define GFNI_STORE(d, r) "	vmovdqu64 %%zmm" #r ", " #d "(%[a])\n"

#define PAIR3(M, w, p0, q0, p1, q1) M(0, p0, q0) M(w, p1, q1)
#define PAIR2(M, w, r0, r1)         M(0, r0) M(w, r1)

static void pq_sse2(u8 *p, u8 *q, const u8 *const *data, unsigned n, size_t bytes)
{
	static const u64 constant[2] __aligned(16) = { 0x1d * ONES, 0x1d * ONES };

	PQ_LOOP(32, "	movdqa %[c], %%xmm15\n", PAIR3(SSE_FIRST, 16, 0, 4, 1, 5), PAIR3(SSE_STEP, 16, 0, 4, 1, 5),
		PAIR2(SSE_STORE, 16, 0, 1), PAIR2(SSE_STORE, 16, 4, 5));
}

static void pq_avx2(u8 *p, u8 *q, const u8 *const *data, unsigned n, size_t bytes)
{
	static const u64 constant = 0x1d * ONES;

	PQ_LOOP(64, "	vpbroadcastq %[c], %%ymm15\n	vpxor %%ymm14, %%ymm14, %%ymm14\n",
		PAIR3(AVX_FIRST, 32, 0, 4, 1, 5), PAIR3(AVX_STEP, 32, 0, 4, 1, 5), PAIR2(AVX_STORE, 32, 0, 1),
		PAIR2(AVX_STORE, 32, 4, 5));
	__asm__ volatile("vzeroupper" ::: "memory" VECTOR_CLOBBERS);
}

/* "Times 2" as the 8x8 bit matrix of vgf2p8affineqb (SDM volume 2): byte 7-i of the constant holds the input
 * bits whose parity is output bit i. y0=x7 y1=x0 y2=x1^x7 y3=x2^x7 y4=x3^x7 y5=x4 y6=x5 y7=x6. */
static void pq_gfni(u8 *p, u8 *q, const u8 *const *data, unsigned n, size_t bytes)
{
	static const u64 constant = 0x8001828488102040ULL;

	PQ_LOOP(128, "	vpbroadcastq %[c], %%zmm15\n", PAIR3(GFNI_FIRST, 64, 0, 4, 1, 5),
		PAIR3(GFNI_STEP, 64, 0, 4, 1, 5), PAIR2(GFNI_STORE, 64, 0, 1), PAIR2(GFNI_STORE, 64, 4, 5));
	__asm__ volatile("vzeroupper" ::: "memory" VECTOR_CLOBBERS);
}

/* off: position in the blocks. SETUP fills the constant registers, STEP does `width` bytes. */
#define MUL_LOOP(width, SETUP, STEP)                                                                                   \
	size_t off = 0;                                                                                                \
                                                                                                                       \
	__asm__ volatile(SETUP "1:\n" STEP "	addq $" #width ", %[off]\n"                                            \
			       "	cmpq %[bytes], %[off]\n"                                                              \
			       "	jb 1b\n"                                                                              \
			 : [off] "+r"(off)                                                                             \
			 : [dst] "r"(dst), [src] "r"(src), [bytes] "r"(bytes), [t] "r"(t)                              \
			 : "memory", "cc" VECTOR_CLOBBERS)

static const u8 low_nibbles[16] __aligned(16) = { 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15 };

/* t: both tables, then the nibble mask. */
static void mul_ssse3(u8 *dst, const u8 *src, const u8 *t, size_t bytes)
{
	MUL_LOOP(16, "	movdqu (%[t]), %%xmm13\n	movdqu 16(%[t]), %%xmm14\n	movdqu 32(%[t]), %%xmm15\n",
		 "	movdqu (%[src], %[off]), %%xmm0\n	movdqa %%xmm0, %%xmm1\n	psrlq $4, %%xmm1\n"
		 "	pand %%xmm15, %%xmm0\n	pand %%xmm15, %%xmm1\n	movdqa %%xmm13, %%xmm2\n"
		 "	movdqa %%xmm14, %%xmm3\n	pshufb %%xmm0, %%xmm2\n	pshufb %%xmm1, %%xmm3\n"
		 "	movdqu (%[dst], %[off]), %%xmm4\n	pxor %%xmm2, %%xmm4\n	pxor %%xmm3, %%xmm4\n"
		 "	movdqu %%xmm4, (%[dst], %[off])\n");
}

#define AVX_MUL(d, a, b, c)                                                                                            \
	"	vmovdqu " #d "(%[src], %[off]), %%ymm" #a "\n	vpsrlq $4, %%ymm" #a ", %%ymm" #b                      \
	"\n	vpand %%ymm15, %%ymm" #a ", %%ymm" #a "\n	vpand %%ymm15, %%ymm" #b ", %%ymm" #b                  \
	"\n	vpshufb %%ymm" #a ", %%ymm13, %%ymm" #a "\n	vpshufb %%ymm" #b ", %%ymm14, %%ymm" #b                \
	"\n	vpxor " #d "(%[dst], %[off]), %%ymm" #a ", %%ymm" #c "\n	vpxor %%ymm" #b ", %%ymm" #c           \
	", %%ymm" #c "\n	vmovdqu %%ymm" #c ", " #d "(%[dst], %[off])\n"

static void mul_avx2(u8 *dst, const u8 *src, const u8 *t, size_t bytes)
{
	MUL_LOOP(64,
		 "	vbroadcasti128 (%[t]), %%ymm13\n	vbroadcasti128 16(%[t]), %%ymm14\n"
		 "	vbroadcasti128 32(%[t]), %%ymm15\n",
		 AVX_MUL(0, 0, 1, 2) AVX_MUL(32, 3, 4, 5));
	__asm__ volatile("vzeroupper" ::: "memory" VECTOR_CLOBBERS);
}

/* t: the bit matrix of the constant. */
static void mul_gfni(u8 *dst, const u8 *src, const u8 *t, size_t bytes)
{
	MUL_LOOP(64, "	vpbroadcastq (%[t]), %%zmm15\n",
		 "	vmovdqu64 (%[src], %[off]), %%zmm0\n	vgf2p8affineqb $0, %%zmm15, %%zmm0, %%zmm0\n"
		 "	vpxorq (%[dst], %[off]), %%zmm0, %%zmm0\n	vmovdqu64 %%zmm0, (%[dst], %[off])\n");
	__asm__ volatile("vzeroupper" ::: "memory" VECTOR_CLOBBERS);
}

/* As for pq_gfni: byte 7-i holds the input bits whose parity is output bit i. */
static void bit_matrix(u8 c, u8 m[8])
{
	memset(m, 0, 8);
	for (unsigned in = 0; in < 8; in++)
		for (unsigned out = 0; out < 8; out++)
			m[7 - out] |= (u8)((gf256_mul(c, (u8)(1u << in)) >> out & 1) << in);
}

void gf256_mul_add_simd(u8 *dst, const u8 *src, u8 c, size_t bytes)
{
	unsigned f = cpu_features();
	u8 t[48];

	if (f & CPU_GFNI) {
		bit_matrix(c, t);
		mul_gfni(dst, src, t, bytes);
		return;
	}
	if (!(f & CPU_SSE42)) {
		gf256_mul_add(dst, src, c, bytes);
		return;
	}
	nibble_tables(c, t);
	memcpy(t + 32, low_nibbles, 16);
	if (f & CPU_AVX2)
		mul_avx2(dst, src, t, bytes);
	else
		mul_ssse3(dst, src, t, bytes); /* which every CPU with SSE4.2 has */
}

void gf256_pq_simd(u8 *p, u8 *q, const u8 *const *data, unsigned n, size_t bytes)
{
	unsigned f = cpu_features();

	if (f & CPU_GFNI && bytes % 128 == 0)
		pq_gfni(p, q, data, n, bytes);
	else if (f & CPU_AVX2)
		pq_avx2(p, q, data, n, bytes);
	else
		pq_sse2(p, q, data, n, bytes);
}

/* ---- lost blocks ---- */

struct kit {
	void (*xor)(u8 *dst, const u8 *const *src, unsigned n, size_t bytes);
	void (*pq)(u8 *p, u8 *q, const u8 *const *data, unsigned n, size_t bytes);
	void (*mul_add)(u8 *dst, const u8 *src, u8 c, size_t bytes);
};

#define STEP 4096
static const u8 zeroes[STEP] __aligned(64);

/* One step of one block: P is the XOR of everything else; data is found by P; Q is computed. __noinline, here and
 * below: the lists of pointers are large, and inlined they would all be in one frame. */
static __noinline void one(const struct kit *k, u8 *const *d, unsigned n, unsigned x, size_t bytes)
{
	const u8 *v[GF256_MAX_DATA + 1];
	unsigned m = 0;

	if (x == n + 1) {
		k->pq(d[x], d[x], (const u8 *const *)d, n, bytes); /* Q is stored after P */
		return;
	}
	for (unsigned i = 0; i <= n; i++)
		if (i != x)
			v[m++] = d[i];
	k->xor (d[x], v, m, bytes);
}

/* P' and Q' are those of the data that is there. */
static __noinline void without(const struct kit *k, u8 *const *d, unsigned n, unsigned x, unsigned y, u8 *p, u8 *q,
			       size_t bytes)
{
	const u8 *v[GF256_MAX_DATA];

	for (unsigned i = 0; i < n; i++)
		v[i] = i == x || i == y ? zeroes : d[i];
	k->pq(p, q, v, n, bytes);
}

static void scale(const struct kit *k, u8 *dst, u8 c, size_t bytes)
{
	k->mul_add(dst, dst, c ^ 1, bytes); /* x + (c + 1) x */
}

static void two(const struct kit *k, u8 *const *d, unsigned n, unsigned x, unsigned y, size_t bytes)
{
	u8 gx = gf256_pow2(x), gy = gf256_pow2(y);

	if (x == n) { /* P and Q */
		k->pq(d[n], d[n + 1], (const u8 *const *)d, n, bytes);
	} else if (y == n + 1) { /* data by P, then Q */
		one(k, d, n, x, bytes);
		one(k, d, n, y, bytes);
	} else if (y == n) { /* D_x = (Q + Q') / 2^x, P = P' + D_x */
		without(k, d, n, x, x, d[n], d[x], bytes);
		k->mul_add(d[x], d[n + 1], 1, bytes);
		scale(k, d[x], gf256_inv(gx), bytes);
		k->mul_add(d[n], d[x], 1, bytes);
	} else { /* a = D_x + D_y = P + P', b = 2^x D_x + 2^y D_y = Q + Q', so D_y = (b + 2^x a) / (2^x + 2^y) */
		without(k, d, n, x, y, d[x], d[y], bytes);
		k->mul_add(d[x], d[n], 1, bytes);
		k->mul_add(d[y], d[n + 1], 1, bytes);
		k->mul_add(d[y], d[x], gx, bytes);
		scale(k, d[y], gf256_inv(gx ^ gy), bytes);
		k->mul_add(d[x], d[y], 1, bytes);
	}
}

static int recover(const struct kit *k, u8 *const *d, unsigned n, const unsigned *lost, unsigned nlost, size_t bytes)
{
	u8 *at[GF256_MAX_DATA + 2];

	if (nlost > 2 || n > GF256_MAX_DATA || (nlost && lost[0] > n + 1) ||
	    (nlost == 2 && (lost[1] > n + 1 || lost[0] == lost[1])))
		return -EINVAL;
	for (size_t off = 0; nlost && off < bytes; off += STEP) {
		size_t step = min((size_t)STEP, bytes - off);

		for (unsigned i = 0; i < n + 2; i++)
			at[i] = d[i] + off;
		if (nlost == 1)
			one(k, at, n, lost[0], step);
		else
			two(k, at, n, min(lost[0], lost[1]), max(lost[0], lost[1]), step);
	}
	return 0;
}

int gf256_recover(u8 *const *d, unsigned n, const unsigned *lost, unsigned nlost, size_t bytes)
{
	static const struct kit kit = { xor_blocks, gf256_pq, gf256_mul_add };

	return recover(&kit, d, n, lost, nlost, bytes);
}

int gf256_recover_simd(u8 *const *d, unsigned n, const unsigned *lost, unsigned nlost, size_t bytes)
{
	static const struct kit kit = { xor_blocks_simd, gf256_pq_simd, gf256_mul_add_simd };

	return recover(&kit, d, n, lost, nlost, bytes);
}
