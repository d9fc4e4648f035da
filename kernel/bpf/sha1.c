/* SPDX-License-Identifier: MIT
 *
 * Problem: tools recognise a program by its tag, the first eight bytes of the SHA-1 of its instructions.
 *
 * Idea: FIPS 180-4's SHA-1, one block at a time, over a message that is all in memory.
 *
 * Contract: bpf_sha1() in sys_priv.h. Not for security.
 *
 * Locks: none.
 */
#include <lib/string.h>
#include "sys_priv.h"

static u32 rol(u32 x, u32 n)
{
	return x << n | x >> (32 - n);
}

static void block(u32 h[5], const u8 *p)
{
	u32 w[80], a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];

	for (int i = 0; i < 16; i++)
		w[i] = (u32)p[4 * i] << 24 | p[4 * i + 1] << 16 | p[4 * i + 2] << 8 | p[4 * i + 3];
	for (int i = 16; i < 80; i++)
		w[i] = rol(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
	for (int i = 0; i < 80; i++) {
		u32 f = i < 20 ? (b & c) | (~b & d) : i < 40 || i >= 60 ? b ^ c ^ d : (b & c) | (b & d) | (c & d);
		u32 k = i < 20 ? 0x5a827999 : i < 40 ? 0x6ed9eba1 : i < 60 ? 0x8f1bbcdc : 0xca62c1d6;
		u32 t = rol(a, 5) + f + e + k + w[i];

		e = d;
		d = c;
		c = rol(b, 30);
		b = a;
		a = t;
	}
	h[0] += a;
	h[1] += b;
	h[2] += c;
	h[3] += d;
	h[4] += e;
}

void bpf_sha1(const u8 *data, size_t n, u8 out[20])
{
	u32 h[5] = { 0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0 };
	size_t left = n % 64;
	u8 tail[128] = { 0 };
	u64 bits = (u64)n * 8;

	for (size_t i = 0; i + 64 <= n; i += 64)
		block(h, data + i);
	memcpy(tail, data + n - left, left);
	tail[left] = 0x80;
	for (int i = 0; i < 8; i++)
		tail[(left < 56 ? 63 : 127) - i] = (u8)(bits >> (8 * i));
	block(h, tail);
	if (left >= 56)
		block(h, tail + 64);
	for (int i = 0; i < 20; i++)
		out[i] = (u8)(h[i / 4] >> (24 - 8 * (i % 4)));
}
