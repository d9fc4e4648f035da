/* SPDX-License-Identifier: MIT
 *
 * Problem: random numbers for keys must not be predictable from others that were given out, nor
 * reveal earlier ones if the state leaks.
 *
 * Idea: ChaCha20 in counter mode, and the first half of each first block becomes the next key before
 * anything is handed out. Seeds are folded in by encrypting with them: a bad seed cannot undo a good
 * one.
 *
 * Contract: lib/chacha20.h. Source: RFC 8439, sections 2.1 to 2.3 and the test vector in 2.3.2.
 *
 * Locks: none; the caller's.
 */
#include <lib/chacha20.h>
#include <lib/string.h>

static u32 rotate(u32 v, int n)
{
	return v << n | v >> (32 - n);
}

static void quarter(u32 *a, u32 *b, u32 *c, u32 *d)
{
	*a += *b;
	*d = rotate(*d ^ *a, 16);
	*c += *d;
	*b = rotate(*b ^ *c, 12);
	*a += *b;
	*d = rotate(*d ^ *a, 8);
	*c += *d;
	*b = rotate(*b ^ *c, 7);
}

void chacha20_block(const u32 key[8], u32 counter, const u32 nonce[3], u8 out[64])
{
	u32 in[16] = { 0x61707865, 0x3320646e, 0x79622d32, 0x6b206574 }, x[16];

	memcpy(in + 4, key, 32);
	in[12] = counter;
	memcpy(in + 13, nonce, 12);
	memcpy(x, in, sizeof(x));
	for (int i = 0; i < 10; i++) {
		for (int c = 0; c < 4; c++)
			quarter(&x[c], &x[4 + c], &x[8 + c], &x[12 + c]);
		for (int c = 0; c < 4; c++)
			quarter(&x[c], &x[4 + (c + 1) % 4], &x[8 + (c + 2) % 4], &x[12 + (c + 3) % 4]);
	}
	for (int i = 0; i < 16; i++)
		x[i] += in[i];
	memcpy(out, x, 64);
}

void keystream_mix(struct keystream *k, const void *bytes, size_t n)
{
	static const u32 nonce[3] = { 1 };
	u8 block[64];

	do {
		u8 part[32] = { 0 };
		size_t take = min(n, sizeof(part));

		memcpy(part, bytes, take);
		for (int i = 0; i < 8; i++) {
			u32 w;

			memcpy(&w, part + 4 * i, 4);
			k->key[i] ^= w;
		}
		chacha20_block(k->key, (u32)take, nonce, block);
		memcpy(k->key, block, sizeof(k->key));
		bytes = (const u8 *)bytes + take;
		n -= take;
	} while (n);
}

void keystream_read(struct keystream *k, void *out, size_t n)
{
	static const u32 nonce[3] = { 0 };
	u32 key[8];
	u8 block[64];
	u8 *to = out;

	memcpy(key, k->key, sizeof(key));
	chacha20_block(key, 0, nonce, block);
	memcpy(k->key, block, 32); /* the old key is gone before its stream is used */
	for (u32 counter = 0; n; counter++) {
		size_t from = counter ? 0 : 32, take = min(n, 64 - from);

		if (counter)
			chacha20_block(key, counter, nonce, block);
		memcpy(to, block + from, take);
		to += take;
		n -= take;
	}
	memset(key, 0, sizeof(key));
	memset(block, 0, sizeof(block));
}
