/* SPDX-License-Identifier: MIT
 *
 * The entropy coders of zstd (zstd_entropy.c), used by its blocks (zstd.c). A damaged stream is -EINVAL; all lengths
 * are checked.
 */
#ifndef ZSTD_PRIV_H
#define ZSTD_PRIV_H

#include <lib/err.h>
#include <lib/types.h>

/* Bits read from the end of a stream to its start; the highest bit set of the last byte is the mark before the first
 * one. Reading past the start gives zeros and a negative `left`. */
struct bits_back {
	const u8 *data;
	size_t size;
	s64 left; /* bits not read yet */
};
int __must_check bits_back_begin(struct bits_back *b, const u8 *data, size_t size);
u64 bits_back_peek(const struct bits_back *b, unsigned n); /* n up to 56 */
static inline u64 bits_back_take(struct bits_back *b, unsigned n)
{
	u64 v = bits_back_peek(b, n);

	b->left -= n;
	return v;
}

/* Finite state entropy (section 4.1): state -> symbol, and the next state from `base` and some bits. */
#define FSE_LOG_MAX 9
struct fse {
	unsigned log; /* of the number of states */
	struct {
		u8 symbol, bits;
		u16 base;
	} state[1 << FSE_LOG_MAX];
};
int __must_check fse_build(struct fse *t, const s16 *counts, unsigned symbols, unsigned log);
void fse_single(struct fse *t, u8 symbol); /* the table that always says the same */
/* From a description in data: how many bytes it took. */
ssize_t __must_check fse_read(struct fse *t, const u8 *data, size_t size, unsigned symbols_max, unsigned log_max);
static inline void fse_next(const struct fse *t, unsigned *state, struct bits_back *b)
{
	*state = t->state[*state].base + (unsigned)bits_back_take(b, t->state[*state].bits);
}

/* Huffman codes (section 4.2) of at most 11 bits, looked up whole. */
#define HUFFMAN_BITS_MAX 11
struct huffman {
	unsigned bits; /* 0: none yet */
	struct {
		u8 symbol, bits;
	} code[1 << HUFFMAN_BITS_MAX];
};
ssize_t __must_check huffman_read(struct huffman *h, struct fse *scratch, const u8 *data, size_t size);
int __must_check huffman_decode(const struct huffman *h, const u8 *data, size_t size, u8 *out,
				size_t n); /* n bytes exactly */

#endif
