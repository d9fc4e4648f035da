/* SPDX-License-Identifier: MIT
 *
 * Problem: a parity that is wrong in one vector variant destroys data only when a member dies, years later.
 *
 * Idea: every variant against the definition, byte by byte; every pair of lost blocks is recovered; CRC-32C
 * against the values of RFC 3720 B.4, in both implementations.
 *
 * Contract: variants that this CPU lacks are not run; the portable ones always are. Locks: none.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdlib.h>
#include <cmocka.h>
#include <lib/cpufeature.h>
#include <lib/crc32c.h>
#include <lib/err.h>
#include <lib/gf256.h>
#include <lib/string.h>
#include <lib/xor.h>

#define BYTES 4096
#define MAXN  20

static const unsigned variants[] = { CPU_SSE2, CPU_SSE2 | CPU_SSE42, CPU_SSE2 | CPU_SSE42 | CPU_AVX2,
				     CPU_SSE2 | CPU_SSE42 | CPU_AVX2 | CPU_AVX512, ~0u };
static u8 buf[MAXN + 4][BYTES + 64];
static u8 *d[MAXN + 4];

static void fill(unsigned shift)
{
	for (unsigned i = 0; i < MAXN + 4; i++) {
		d[i] = buf[i] + shift;
		for (unsigned k = 0; k < BYTES; k++)
			d[i][k] = rand();
	}
}

static void check_pq(unsigned n, const u8 *p, const u8 *q)
{
	for (unsigned k = 0; k < BYTES; k++) {
		u8 wp = 0, wq = 0;

		for (unsigned i = 0; i < n; i++) {
			wp ^= d[i][k];
			wq ^= gf256_mul(gf256_pow2(i), d[i][k]);
		}
		if (p)
			assert_int_equal(p[k], wp);
		if (q)
			assert_int_equal(q[k], wq);
	}
}

static void parity_all_variants(void **state)
{
	for (unsigned n = 1; n <= MAXN; n += n < 6 ? 1 : 7) {
		fill(n % 3);
		xor_blocks(d[MAXN], (const u8 *const *)d, n, BYTES);
		check_pq(n, d[MAXN], NULL);
		gf256_pq(d[MAXN], d[MAXN + 1], (const u8 *const *)d, n, BYTES);
		check_pq(n, d[MAXN], d[MAXN + 1]);
		for (unsigned v = 0; v < ARRAY_SIZE(variants); v++) {
			cpu_features_mask(variants[v]);
			memset(d[MAXN], 0xee, BYTES);
			xor_blocks_simd(d[MAXN], (const u8 *const *)d, n, BYTES);
			check_pq(n, d[MAXN], NULL);
			memset(d[MAXN], 0xee, BYTES);
			memset(d[MAXN + 1], 0xee, BYTES);
			gf256_pq_simd(d[MAXN], d[MAXN + 1], (const u8 *const *)d, n, BYTES);
			check_pq(n, d[MAXN], d[MAXN + 1]);
		}
	}
	cpu_features_mask(~0u);
}

static void xor_in_place(void **state)
{
	const u8 *src[3];
	u8 want[BYTES];

	fill(0);
	src[0] = d[0], src[1] = d[1], src[2] = d[2];
	for (unsigned k = 0; k < BYTES; k++)
		want[k] = d[0][k] ^ d[1][k] ^ d[2][k];
	xor_blocks_simd(d[1], src, 3, BYTES);
	assert_memory_equal(d[1], want, BYTES);
}

static void multiply(void **state)
{
	u8 before[BYTES];

	for (unsigned v = 0; v < ARRAY_SIZE(variants); v++) {
		cpu_features_mask(variants[v]);
		for (unsigned c = 0; c < 256; c++) {
			fill(c % 3);
			memcpy(before, d[1], BYTES);
			gf256_mul_add_simd(d[1], d[0], (u8)c, BYTES);
			for (unsigned k = 0; k < BYTES; k++)
				assert_int_equal(d[1][k], before[k] ^ gf256_mul((u8)c, d[0][k]));
		}
	}
	cpu_features_mask(~0u);
}

static void recover_pairs(int (*recover)(u8 *const *, unsigned, const unsigned *, unsigned, size_t))
{
	const unsigned n = 5;
	u8 keep[7][BYTES];

	fill(0);
	gf256_pq(d[n], d[n + 1], (const u8 *const *)d, n, BYTES);
	for (unsigned i = 0; i < n + 2; i++)
		memcpy(keep[i], d[i], BYTES);
	for (unsigned x = 0; x < n + 2; x++) {
		for (unsigned y = 0; y < n + 2; y++) {
			unsigned lost[2] = { x, y };

			memset(d[x], 0x55, BYTES);
			memset(d[y], 0xaa, BYTES);
			assert_int_equal(recover(d, n, lost, x == y ? 1 : 2, BYTES), 0);
			for (unsigned i = 0; i < n + 2; i++)
				assert_memory_equal(d[i], keep[i], BYTES);
		}
	}
	assert_int_equal(recover(d, n, (unsigned[]){ 0, 1, 2 }, 3, BYTES), -EINVAL);
	assert_int_equal(recover(d, n, (unsigned[]){ n + 2 }, 1, BYTES), -EINVAL);
}

static void recover_every_pair(void **state)
{
	recover_pairs(gf256_recover);
	for (unsigned v = 0; v < ARRAY_SIZE(variants); v++) {
		cpu_features_mask(variants[v]);
		recover_pairs(gf256_recover_simd);
	}
	cpu_features_mask(~0u);
}

static void crc_rfc3720(void **state)
{
	u8 b[32];

	for (int pass = 0; pass < 2; pass++) {
		cpu_features_mask(pass ? ~0u : CPU_SSE2);
		memset(b, 0, 32);
		assert_int_equal(~crc32c(~0u, b, 32), 0x8a9136aa);
		memset(b, 0xff, 32);
		assert_int_equal(~crc32c(~0u, b, 32), 0x62a8ab43);
		for (int i = 0; i < 32; i++)
			b[i] = i;
		assert_int_equal(~crc32c(~0u, b, 32), 0x46dd794e);
		assert_int_equal(crc32c(crc32c(~0u, b, 13), b + 13, 19), crc32c(~0u, b, 32));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parity_all_variants), cmocka_unit_test(xor_in_place), cmocka_unit_test(multiply),
		cmocka_unit_test(recover_every_pair),  cmocka_unit_test(crc_rfc3720),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
