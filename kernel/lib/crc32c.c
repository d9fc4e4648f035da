/* SPDX-License-Identifier: MIT
 *
 * Problem: file systems and the RAID journal checksum every 4 KiB page that they write; a byte-wise CRC costs
 * more than the copy of the page.
 *
 * Idea: SSE4.2 has an instruction for exactly this polynomial that needs no vector registers, so the kernel may
 * use it anywhere. Without it, slicing by eight: eight tables, table k being the CRC of a byte followed by k
 * zero bytes, so that eight bytes are folded by eight independent loads. The tables are made at first use.
 *
 * Contract: lib/crc32c.h.
 *
 * Locks: none. Two CPUs may make the tables at once: they store the same values, and `ready` is set after them.
 */
#include <lib/atomic.h>
#include <lib/crc32c.h>
#include <lib/cpufeature.h>
#include <lib/string.h>

#define POLY 0x82f63b78u

static u32 table[8][256];
static bool ready;

static void make_tables(void)
{
	for (u32 b = 0; b < 256; b++) {
		u32 c = b;

		for (int bit = 0; bit < 8; bit++)
			c = c & 1 ? c >> 1 ^ POLY : c >> 1;
		table[0][b] = c;
	}
	for (u32 b = 0; b < 256; b++)
		for (int k = 1; k < 8; k++)
			table[k][b] = table[k - 1][b] >> 8 ^ table[0][table[k - 1][b] & 0xff];
	smp_store_release(&ready, true);
}

static u32 crc_tables(u32 crc, const u8 *p, size_t n)
{
	if (unlikely(!smp_load_acquire(&ready)))
		make_tables();
	for (; n >= 8; n -= 8, p += 8) {
		u32 lo, hi;

		memcpy(&lo, p, 4);
		memcpy(&hi, p + 4, 4);
		lo ^= crc;
		crc = table[7][lo & 0xff] ^ table[6][lo >> 8 & 0xff] ^ table[5][lo >> 16 & 0xff] ^ table[4][lo >> 24] ^
		      table[3][hi & 0xff] ^ table[2][hi >> 8 & 0xff] ^ table[1][hi >> 16 & 0xff] ^ table[0][hi >> 24];
	}
	for (; n; n--, p++)
		crc = crc >> 8 ^ table[0][(crc ^ *p) & 0xff];
	return crc;
}

static u32 crc_sse42(u32 crc, const u8 *p, size_t n)
{
	u64 c = crc;

	for (; n >= 8; n -= 8, p += 8) {
		u64 word;

		memcpy(&word, p, 8);
		__asm__("crc32q %1, %0" : "+r"(c) : "rm"(word));
	}
	for (; n; n--, p++)
		__asm__("crc32b %1, %0" : "+r"(c) : "rm"(*p));
	return c;
}

u32 crc32c(u32 seed, const void *data, size_t bytes)
{
	return cpu_features() & CPU_SSE42 ? crc_sse42(seed, data, bytes) : crc_tables(seed, data, bytes);
}
