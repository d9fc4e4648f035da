/* SPDX-License-Identifier: MIT
 *
 * Problem: is the RAID parity code as fast as the best there is on this CPU?
 *
 * Idea: the same buffers through our XOR and P+Q and through Intel's ISA-L (Debian: libisal-dev), in turns, best of
 * many rounds, so that other load on the machine disturbs neither more. GB/s of source data. Working sets that
 * stay in the second-level cache (what the stripe cache hands over) and that do not.
 *
 * Contract: gcc -O2 -Ikernel/include -Ikernel/arch/hosted/include -D__OSTROM_HOSTED__ benchmarks/parity.c
 * kernel/lib/{xor,gf256,cpufeature}.c -lisal. Prints one row a case: ours, ISA-L's, ratio.
 *
 * Locks: none.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <isa-l/raid.h>
#include <lib/gf256.h>
#include <lib/xor.h>

#define MAXN   16
#define ROUNDS 60

static u8 *buf[MAXN + 2];

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec * 1e-9;
}

enum who { OURS, ISAL };

static void once(enum who who, bool pq, unsigned n, size_t bytes)
{
	if (who == OURS && !pq)
		xor_blocks_simd(buf[n], (const u8 *const *)buf, n, bytes);
	else if (who == OURS)
		gf256_pq_simd(buf[n], buf[n + 1], (const u8 *const *)buf, n, bytes);
	else if (!pq)
		xor_gen(n + 1, bytes, (void **)buf);
	else
		pq_gen(n + 2, bytes, (void **)buf);
}

static double rate(enum who who, bool pq, unsigned n, size_t bytes)
{
	unsigned repeat = (8u << 20) / (n * bytes) + 1;
	double start = now();

	for (unsigned i = 0; i < repeat; i++)
		once(who, pq, n, bytes);
	return (double)n * bytes * repeat / (now() - start) / 1e9;
}

int main(void)
{
	static const unsigned widths[] = { 3, 4, 8, 16 };
	static const size_t sizes[] = { 4096, 65536, 1 << 20 };

	for (int i = 0; i < MAXN + 2; i++) {
		buf[i] = aligned_alloc(64, 1 << 20);
		memset(buf[i], i * 37 + 1, 1 << 20);
	}
	printf("xor %s, pq %s; GB/s of data\n", xor_simd_name(), gf256_simd_name());
	for (int pq = 0; pq < 2; pq++)
		for (unsigned w = 0; w < ARRAY_SIZE(widths); w++)
			for (unsigned s = 0; s < ARRAY_SIZE(sizes); s++) {
				double best[2] = { 0 };

				for (int r = 0; r < ROUNDS; r++)
					for (int who = 0; who < 2; who++)
						best[who] = max(best[who], rate(who, pq, widths[w], sizes[s]));
				printf("%-3s %2u x %4zu KiB: ours %6.1f  isa-l %6.1f  ratio %.2f\n", pq ? "pq" : "xor",
				       widths[w], sizes[s] / 1024, best[OURS], best[ISAL], best[OURS] / best[ISAL]);
			}
	return 0;
}
