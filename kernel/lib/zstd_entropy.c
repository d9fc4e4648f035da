/* SPDX-License-Identifier: MIT
 *
 * Problem: zstd stores numbers and bytes in fractions of bits.
 *
 * Idea: two decoders that are table look-ups. FSE walks over states: each says a symbol, and how many bits lead to the
 * next state; a symbol of probability p owns p of the states, spread evenly. Huffman codes are looked up by their
 * longest prefix. Both read their streams backwards, since encoders write them so.
 *
 * Contract: zstd_priv.h; RFC 8878, sections 4.1 and 4.2. Whatever the input, no access outside the tables.
 *
 * Locks: none. Pure.
 */
#include <lib/string.h>
#include "zstd_priv.h"

static unsigned log2_of(u64 v)
{
	return 63 - (unsigned)__builtin_clzll(v);
}

/* ---- bits ----------------------------------------------------------------------------------------------------------
 */

int bits_back_begin(struct bits_back *b, const u8 *data, size_t size)
{
	if (!size || !data[size - 1])
		return -EINVAL;
	*b = (struct bits_back){ data, size, (s64)(size - 1) * 8 + log2_of(data[size - 1]) };
	return 0;
}

/* n bits from bit `at` on, at >= 0. Bytes behind the stream count as 0. */
static u64 bits_at(const u8 *data, size_t size, u64 at, unsigned n)
{
	u64 v = 0;

	for (size_t i = 0; i < 8 && at / 8 + i < size; i++)
		v |= (u64)data[at / 8 + i] << 8 * i;
	return v >> at % 8 & ((1ULL << n) - 1);
}

u64 bits_back_peek(const struct bits_back *b, unsigned n)
{
	s64 at = b->left - n;

	if (at >= 0)
		return bits_at(b->data, b->size, (u64)at, n);
	return b->left > 0 ? bits_at(b->data, b->size, 0, (unsigned)b->left) << -at : 0;
}

/* ---- FSE -----------------------------------------------------------------------------------------------------------
 */

/* counts: how many states a symbol owns; -1: one, of the last ones. */
int fse_build(struct fse *t, const s16 *counts, unsigned symbols, unsigned log)
{
	unsigned size = 1U << log, step = (size >> 1) + (size >> 3) + 3, at = 0, high = size;
	u16 next[256];

	for (unsigned s = 0; s < symbols; s++) {
		next[s] = counts[s] < 0 ? 1 : (u16)counts[s];
		if (counts[s] < 0)
			t->state[--high].symbol = (u8)s;
	}
	for (unsigned s = 0; s < symbols; s++) {
		for (int i = 0; i < counts[s]; i++) {
			t->state[at].symbol = (u8)s;
			do
				at = (at + step) & (size - 1);
			while (at >= high);
		}
	}
	if (at)
		return -EINVAL;
	t->log = log;
	for (unsigned i = 0; i < size; i++) {
		unsigned n = next[t->state[i].symbol]++;

		t->state[i].bits = (u8)(log - log2_of(n));
		t->state[i].base = (u16)((n << t->state[i].bits) - size);
	}
	return 0;
}

void fse_single(struct fse *t, u8 symbol)
{
	t->log = 0;
	t->state[0].symbol = symbol;
	t->state[0].bits = 0;
	t->state[0].base = 0;
}

/* One count: of the numbers that may come, the small ones take a bit less. */
static int read_count(const u8 *data, size_t size, u64 *at, unsigned remaining)
{
	unsigned bits = log2_of(remaining + 1) + 1, mask = (1U << (bits - 1)) - 1;
	unsigned cut = (1U << bits) - 1 - (remaining + 1), v = (unsigned)bits_at(data, size, *at, bits);

	*at += bits;
	if ((v & mask) < cut) {
		(*at)--;
		v &= mask;
	} else if (v > mask) {
		v -= cut;
	}
	return (int)v - 1;
}

ssize_t fse_read(struct fse *t, const u8 *data, size_t size, unsigned symbols_max, unsigned log_max)
{
	unsigned log = (unsigned)bits_at(data, size, 0, 4) + 5, remaining = 1U << log, n = 0;
	s16 counts[256] = { 0 };
	u64 at = 4;
	int err;

	if (log > log_max)
		return -EINVAL;
	while (remaining && n < symbols_max && at <= size * 8) {
		int count = read_count(data, size, &at, remaining);
		unsigned zeros;

		if (count > (int)remaining)
			return -EINVAL;
		remaining -= (unsigned)(count < 0 ? 1 : count);
		counts[n++] = (s16)count;
		if (count)
			continue;
		do {
			zeros = (unsigned)bits_at(data, size, at, 2);
			at += 2;
			n += zeros;
		} while (zeros == 3 && n < symbols_max && at <= size * 8);
	}
	if (remaining || n > symbols_max || at > size * 8)
		return -EINVAL;
	err = fse_build(t, counts, n, log);
	return err ? err : (ssize_t)((at + 7) / 8);
}

/* ---- Huffman -------------------------------------------------------------------------------------------------------
 */

/* Weights packed by FSE: two states take turns until the bits are used up. How many. */
static int read_packed_weights(struct fse *t, const u8 *data, size_t size, u8 *weights)
{
	ssize_t head = fse_read(t, data, size, 256, 6);
	unsigned state[2];
	struct bits_back b;

	if (head < 0 || bits_back_begin(&b, data + head, size - (size_t)head))
		return -EINVAL;
	for (int i = 0; i < 2; i++)
		state[i] = (unsigned)bits_back_take(&b, t->log);
	for (int n = 0; n < 254; n++) {
		weights[n] = t->state[state[n & 1]].symbol;
		fse_next(t, &state[n & 1], &b);
		if (b.left < 0) {
			weights[n + 1] = t->state[state[~n & 1]].symbol;
			return n + 2;
		}
	}
	return -EINVAL;
}

/* Codes in the order of their weights (weight w: 2^(w-1) entries). The last weight is what is missing to a power of 2.
 */
static int build_codes(struct huffman *h, u8 *weights, int n)
{
	unsigned sum = 0, rest, at = 0;

	for (int i = 0; i < n; i++) {
		if (weights[i] > HUFFMAN_BITS_MAX)
			return -EINVAL;
		sum += 1U << weights[i] >> 1;
	}
	if (!sum || log2_of(sum) >= HUFFMAN_BITS_MAX)
		return -EINVAL;
	h->bits = log2_of(sum) + 1;
	rest = (1U << h->bits) - sum;
	if (rest & (rest - 1))
		return -EINVAL;
	weights[n++] = (u8)(log2_of(rest) + 1);
	for (unsigned w = 1; w <= h->bits; w++)
		for (int s = 0; s < n; s++)
			for (unsigned i = 0; weights[s] == w && i < 1U << (w - 1); i++, at++) {
				h->code[at].symbol = (u8)s;
				h->code[at].bits = (u8)(h->bits + 1 - w);
			}
	return at == 1U << h->bits ? 0 : -EINVAL;
}

ssize_t huffman_read(struct huffman *h, struct fse *scratch, const u8 *data, size_t size)
{
	u8 weights[256];
	unsigned bytes;
	int n, err;

	h->bits = 0;
	if (!size)
		return -EINVAL;
	bytes = data[0] < 128 ? data[0] : (data[0] - 127U + 1) / 2;
	if (bytes + 1 > size)
		return -EINVAL;
	if (data[0] < 128) {
		n = read_packed_weights(scratch, data + 1, bytes, weights);
	} else {
		n = data[0] - 127;
		for (int i = 0; i < n; i++)
			weights[i] = data[1 + i / 2] >> (i & 1 ? 0 : 4) & 15;
	}
	err = n < 0 ? n : build_codes(h, weights, n);
	if (err) {
		h->bits = 0;
		return err;
	}
	return bytes + 1;
}

int huffman_decode(const struct huffman *h, const u8 *data, size_t size, u8 *out, size_t n)
{
	struct bits_back b;

	if (bits_back_begin(&b, data, size))
		return -EINVAL;
	for (size_t i = 0; i < n && b.left > 0; i++) {
		u64 code = bits_back_peek(&b, h->bits);

		*out++ = h->code[code].symbol;
		b.left -= h->code[code].bits;
		if (i + 1 == n)
			return b.left ? -EINVAL : 0;
	}
	return -EINVAL;
}
