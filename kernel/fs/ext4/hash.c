/* SPDX-License-Identifier: MIT
 *
 * Problem: hashed directories are sorted by a hash of the name that must come out the same for everybody, char's sign
 * included.
 *
 * Idea: three functions: ext3's legacy one, half of MD4 (three rounds of eight steps), and TEA as a one-way function,
 * each in a variant for signed and for unsigned characters. The name is fed in blocks of 32 or 16 bytes, padded with
 * its length.
 *
 * Contract: ext4_name_hash gives the major hash with its lowest bit clear (that bit says "continued" in the index).
 * -EUCLEAN for an unknown version. Source: RFC 1320 (MD4 rounds); the layout documentation for padding and seeds.
 *
 * Locks: none.
 */
#include <lib/string.h>
#include "ext4_priv.h"

enum { HASH_LEGACY, HASH_HALF_MD4, HASH_TEA, HASH_UNSIGNED = 3 };

static u32 rotate(u32 v, unsigned s)
{
	return v << s | v >> (32 - s);
}

/* One round of eight steps: state rotates through its four words; order says which input a step takes. */
static void md4_round(u32 s[4], const u32 in[8], const u8 order[8], const u8 shift[4], int which)
{
	static const u32 constant[3] = { 0, 0x5a827999, 0x6ed9eba1 };

	for (int i = 0; i < 8; i++) {
		u32 *a = &s[(4 - i) & 3], b = s[(5 - i) & 3], c = s[(6 - i) & 3], d = s[(7 - i) & 3], f;

		if (which == 0)
			f = d ^ (b & (c ^ d));
		else if (which == 1)
			f = (b & c) + ((b ^ c) & d);
		else
			f = b ^ c ^ d;
		*a = rotate(*a + f + in[order[i]] + constant[which], shift[i & 3]);
	}
}

static void half_md4(u32 state[4], const u32 in[8])
{
	static const u8 order[3][8] = { { 0, 1, 2, 3, 4, 5, 6, 7 },
					{ 1, 3, 5, 7, 0, 2, 4, 6 },
					{ 3, 7, 2, 6, 1, 5, 0, 4 } };
	static const u8 shift[3][4] = { { 3, 7, 11, 19 }, { 3, 5, 9, 13 }, { 3, 9, 11, 15 } };
	u32 s[4];

	memcpy(s, state, sizeof(s));
	for (int r = 0; r < 3; r++)
		md4_round(s, in, order[r], shift[r], r);
	for (int i = 0; i < 4; i++)
		state[i] += s[i];
}

static void tea(u32 state[4], const u32 in[4])
{
	u32 sum = 0, x = state[0], y = state[1];

	for (int n = 0; n < 16; n++) {
		sum += 0x9e3779b9;
		x += ((y << 4) + in[0]) ^ (y + sum) ^ ((y >> 5) + in[1]);
		y += ((x << 4) + in[2]) ^ (x + sum) ^ ((x >> 5) + in[3]);
	}
	state[0] += x;
	state[1] += y;
}

static u32 char_value(char c, bool is_unsigned)
{
	return is_unsigned ? (u32)(u8)c : (u32)(s32)(s8)c;
}

static void pack(const char *name, size_t len, bool is_unsigned, u32 *out, unsigned words)
{
	u32 pad = (len & 0xff) * 0x01010101u, v;
	size_t n = min(len, (size_t)words * 4);

	/* the length is padded in as it is, carries included: only the low byte differs for lengths below 256 */
	for (unsigned w = 0; w < words; w++) {
		v = pad;
		for (size_t i = 4 * (size_t)w; i < n && i < 4 * (size_t)w + 4; i++)
			v = char_value(name[i], is_unsigned) + (v << 8);
		out[w] = v;
	}
}

static u32 legacy(const char *name, size_t len, bool is_unsigned)
{
	u32 h0 = 0x12a3fe2d, h1 = 0x37abe8f9;

	for (size_t i = 0; i < len; i++) {
		u32 h = h1 + (h0 ^ (char_value(name[i], is_unsigned) * 7152373));

		if (h & 0x80000000)
			h -= 0x7fffffff;
		h1 = h0;
		h0 = h;
	}
	return h0 << 1;
}

int ext4_name_hash(const struct ext4 *fs, u8 version, const char *name, size_t len, u32 *hash)
{
	bool is_unsigned = version >= HASH_UNSIGNED;
	u32 state[4] = { 0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476 }, seed[4], in[8], h;

	for (int i = 0; i < 4; i++)
		seed[i] = get32(fs->sb + SB_HASH_SEED + 4 * i);
	if (seed[0] | seed[1] | seed[2] | seed[3])
		memcpy(state, seed, sizeof(state));
	switch (version % HASH_UNSIGNED) {
	case HASH_LEGACY: h = legacy(name, len, is_unsigned); break;
	case HASH_HALF_MD4:
		for (size_t i = 0; i < len; i += 32) {
			pack(name + i, len - i, is_unsigned, in, 8);
			half_md4(state, in);
		}
		h = state[1];
		break;
	default:
		for (size_t i = 0; i < len; i += 16) {
			pack(name + i, len - i, is_unsigned, in, 4);
			tea(state, in);
		}
		h = state[0];
	}
	if (version >= 2 * HASH_UNSIGNED)
		return fail(EUCLEAN, "ext4: directory hash %u", version);
	h &= ~1u;
	*hash = h == 0xfffffffe ? 0xfffffffc : h;
	return 0;
}
