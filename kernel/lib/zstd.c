/* SPDX-License-Identifier: MIT
 *
 * Problem: initrds come compressed by zstd; they must be unpacked before there is any user program.
 *
 * Idea: a frame is blocks; a block is literals and sequences, each "copy so many literals, then so many bytes from so
 * far back". Everything is in memory, so the window is the output itself.
 *
 *      frame: magic, header, blocks, [checksum]      block: 3 bytes (last, kind, size), then raw | one byte |
 * compressed compressed: literals (raw, one byte, Huffman), number of sequences, three tables, sequences as one stream
 * of bits
 *
 * Contract: lib/zstd.h; RFC 8878. Every length and distance is checked before it is used: damaged input is -EINVAL,
 * never a write outside `out`. Tables and the last three distances live from block to block of a frame.
 *
 * Locks: none. Pure.
 */
#include <lib/string.h>
#include <lib/zstd.h>
#include "zstd_priv.h"

#define MAGIC      0xfd2fb528U
#define SKIP_MAGIC 0x184d2a50U /* and 15 more */
#define BLOCK_MAX  (128U << 10)

enum { LENGTHS, OFFSETS, MATCHES, TABLES };
struct zstd {
	u8 *out; /* of this frame */
	size_t room, made;
	u32 last[3]; /* distances */
	struct huffman huffman;
	struct fse table[TABLES], scratch;
	bool have[TABLES];
	size_t literals;
	u8 literal[BLOCK_MAX];
};

static u64 get(const u8 *p, unsigned bytes)
{
	u64 v = 0;

	for (unsigned i = 0; i < bytes; i++)
		v |= (u64)p[i] << 8 * i;
	return v;
}

size_t zstd_work_bytes(void)
{
	return sizeof(struct zstd);
}

bool zstd_begins(const u8 *data, size_t size)
{
	return size >= 8 && (get(data, 4) == MAGIC || (get(data, 4) & ~15ULL) == SKIP_MAGIC);
}

/* ---- literals: section 3.1.1.3.1
 * ------------------------------------------------------------------------------------- */

/* Four streams of equal length but the last, behind a table of three sizes. */
static int four_streams(struct zstd *z, const u8 *data, size_t size)
{
	size_t each = (z->literals + 3) / 4, at = 6, done = 0;

	if (size < 6 || each * 3 > z->literals)
		return -EINVAL;
	for (unsigned i = 0; i < 4; i++) {
		size_t bytes = i < 3 ? get(data + 2 * i, 2) : size - at, n = i < 3 ? each : z->literals - done;
		int err;

		if (bytes > size - at)
			return -EINVAL;
		err = huffman_decode(&z->huffman, data + at, bytes, z->literal + done, n);
		if (err)
			return err;
		at += bytes;
		done += n;
	}
	return 0;
}

static ssize_t packed_literals(struct zstd *z, const u8 *data, size_t size)
{
	static const u8 head_bytes[4] = { 3, 3, 4, 5 }, size_bits[4] = { 10, 10, 14, 18 };
	unsigned form = data[0] >> 2 & 3, head = head_bytes[form], bits = size_bits[form];
	bool tree = (data[0] & 3) == 2;
	size_t packed, end;
	int err;

	if (size < head)
		return -EINVAL;
	z->literals = get(data, head) >> 4 & ((1U << bits) - 1);
	packed = get(data, head) >> (4 + bits) & ((1U << bits) - 1);
	end = head + packed;
	if (z->literals > BLOCK_MAX || end > size)
		return -EINVAL;
	if (tree) {
		ssize_t n = huffman_read(&z->huffman, &z->scratch, data + head, packed);

		if (n < 0)
			return n;
		head += (unsigned)n;
	}
	if (!z->huffman.bits)
		return -EINVAL;
	err = form ? four_streams(z, data + head, end - head)
		   : huffman_decode(&z->huffman, data + head, end - head, z->literal, z->literals);
	return err ? err : (ssize_t)end;
}

/* Bytes of data that the section takes. */
static ssize_t read_literals(struct zstd *z, const u8 *data, size_t size)
{
	static const u8 head_bytes[4] = { 1, 2, 1, 3 }, shift[4] = { 3, 4, 3, 4 };
	unsigned kind, form;

	if (!size)
		return -EINVAL;
	kind = data[0] & 3;
	form = data[0] >> 2 & 3;
	if (kind >= 2)
		return packed_literals(z, data, size);
	if (size < head_bytes[form])
		return -EINVAL;
	z->literals = get(data, head_bytes[form]) >> shift[form];
	size -= head_bytes[form];
	if (z->literals > BLOCK_MAX || size < (kind ? 1 : z->literals))
		return -EINVAL;
	if (kind)
		memset(z->literal, data[head_bytes[form]], z->literals);
	else
		memcpy(z->literal, data + head_bytes[form], z->literals);
	return (ssize_t)(head_bytes[form] + (kind ? 1 : z->literals));
}

/* ---- sequences: section 3.1.1.3.2
 * -------------------------------------------------------------------------------------- */

static const s16 usual_lengths[36] = { 4, 3, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1,  1,  2,  2,
				       2, 2, 2, 2, 2, 2, 2, 3, 2, 1, 1, 1, 1, 1, -1, -1, -1, -1 };
static const s16 usual_offsets[29] = { 1, 1, 1, 1, 1, 1, 2, 2, 2, 1,  1,  1,  1,  1, 1,
				       1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1 };
static const s16 usual_matches[53] = { 1, 4, 3, 2, 2, 2, 2, 2, 2, 1, 1,  1,  1,  1,  1,  1,  1, 1,
				       1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,  1,  1,  1,  1,  1,  1, 1,
				       1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1, -1, -1 };
static const struct {
	const s16 *usual;
	u8 usual_symbols, usual_log, symbols, log_max;
} kinds[TABLES] = { { usual_lengths, 36, 6, 36, 9 }, { usual_offsets, 29, 5, 32, 8 }, { usual_matches, 53, 6, 53, 9 } };

/* The table of one kind by its mode; bytes taken. */
static ssize_t read_table(struct zstd *z, unsigned kind, unsigned mode, const u8 *data, size_t size)
{
	struct fse *t = &z->table[kind];
	ssize_t n = 0;

	switch (mode) {
	case 0: n = fse_build(t, kinds[kind].usual, kinds[kind].usual_symbols, kinds[kind].usual_log); break;
	case 1:
		if (!size || data[0] >= kinds[kind].symbols)
			return -EINVAL;
		fse_single(t, data[0]);
		n = 1;
		break;
	case 2: n = fse_read(t, data, size, kinds[kind].symbols, kinds[kind].log_max); break;
	default: n = z->have[kind] ? 0 : -EINVAL;
	}
	z->have[kind] = n >= 0;
	return n;
}

/* A code stands for a first number and how many more bits say which one. */
static u32 length_of(unsigned code, struct bits_back *b)
{
	static const u8 bits[20] = { 1, 1, 1, 1, 2, 2, 3, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16 };
	static const u32 from[20] = { 16,  18,  20,  22,   24,   28,   32,   40,    48,    64,
				      128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536 };

	return code < 16 ? code : from[code - 16] + (u32)bits_back_take(b, bits[code - 16]);
}

static u32 match_of(unsigned code, struct bits_back *b)
{
	static const u8 bits[21] = { 1, 1, 1, 1, 2, 2, 3, 3, 4, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16 };
	static const u32 from[21] = { 35,  37,  39,  41,   43,   47,   51,   59,    67,    83,   99,
				      131, 259, 515, 1027, 2051, 4099, 8195, 16387, 32771, 65539 };

	return code < 32 ? code + 3 : from[code - 32] + (u32)bits_back_take(b, bits[code - 32]);
}

/* 1 to 3 mean one of the last distances (without literals between, the next one of them); 0: damaged. */
static u32 distance_of(struct zstd *z, u64 value, bool no_literals)
{
	u32 *last = z->last, d;
	unsigned which;

	if (value > 3) {
		d = value - 3 > ~0U ? 0 : (u32)(value - 3);
		which = 2;
	} else {
		which = (unsigned)value - 1 + no_literals;
		d = which < 3 ? last[which] : last[0] - 1;
	}
	if (which > 1)
		last[2] = last[1];
	if (which)
		last[1] = last[0];
	last[0] = d;
	return d;
}

static int copy_sequence(struct zstd *z, size_t *from, u32 literals, u32 match, u32 distance)
{
	if (literals > z->literals - *from || !distance || distance > z->made + literals)
		return -EINVAL;
	if (literals + (size_t)match > z->room - z->made)
		return -ENOSPC;
	memcpy(z->out + z->made, z->literal + *from, literals);
	*from += literals;
	z->made += literals;
	for (; match; match--, z->made++)
		z->out[z->made] = z->out[z->made - distance];
	return 0;
}

static int run_sequences(struct zstd *z, unsigned n, const u8 *data, size_t size, size_t *from)
{
	unsigned state[TABLES];
	struct bits_back b;

	if (bits_back_begin(&b, data, size))
		return -EINVAL;
	for (unsigned k = 0; k < TABLES; k++)
		state[k] = (unsigned)bits_back_take(&b, z->table[k].log);
	while (n--) {
		unsigned code = z->table[OFFSETS].state[state[OFFSETS]].symbol;
		u64 offset = (1ULL << code) + bits_back_take(&b, code);
		u32 match = match_of(z->table[MATCHES].state[state[MATCHES]].symbol, &b);
		u32 literals = length_of(z->table[LENGTHS].state[state[LENGTHS]].symbol, &b);
		int err = b.left < 0 ? -EINVAL
				     : copy_sequence(z, from, literals, match, distance_of(z, offset, !literals));

		if (err)
			return err;
		if (n) {
			fse_next(&z->table[LENGTHS], &state[LENGTHS], &b);
			fse_next(&z->table[MATCHES], &state[MATCHES], &b);
			fse_next(&z->table[OFFSETS], &state[OFFSETS], &b);
		}
	}
	return b.left ? -EINVAL : 0;
}

/* How many sequences; *head: bytes that say so. */
static unsigned count_sequences(const u8 *data, size_t size, unsigned *head)
{
	*head = !size ? 0 : data[0] < 128 ? 1 : data[0] < 255 ? 2 : 3;
	if (!*head || size < *head) {
		*head = 0;
		return 0;
	}
	return *head == 1   ? data[0]
	       : *head == 2 ? (data[0] - 128U) << 8 | data[1]
			    : (unsigned)get(data + 1, 2) + 0x7f00;
}

static int packed_block(struct zstd *z, const u8 *data, size_t size)
{
	ssize_t n = read_literals(z, data, size);
	size_t at = (size_t)n, from = 0;
	unsigned head, sequences;
	int err = 0;

	if (n < 0)
		return (int)n;
	sequences = count_sequences(data + at, size - at, &head);
	at += head;
	if (!head || (sequences && at == size) || (!sequences && at != size))
		return -EINVAL;
	if (sequences) {
		u8 modes = data[at++];

		if (modes & 3)
			return -EINVAL;
		for (unsigned k = 0; k < TABLES; k++, at += (size_t)n) {
			n = read_table(z, k, modes >> (6 - 2 * k) & 3, data + at, size - at);
			if (n < 0)
				return (int)n;
		}
		err = run_sequences(z, sequences, data + at, size - at, &from);
	}
	if (!err && z->literals - from > z->room - z->made)
		err = -ENOSPC;
	if (err)
		return err;
	memcpy(z->out + z->made, z->literal + from, z->literals - from);
	z->made += z->literals - from;
	return 0;
}

/* ---- frames: section 3.1
 * ------------------------------------------------------------------------------------------------ */

static u64 xxh_round(u64 v, u64 in)
{
	v += in * 0xc2b2ae3d27d4eb4fULL;
	return (v << 31 | v >> 33) * 0x9e3779b185ebca87ULL;
}

/* XXH64 with seed 0 (the specification of xxHash, version 0.1.1). */
static u64 xxh64(const u8 *p, size_t n)
{
	static const u64 p1 = 0x9e3779b185ebca87ULL, p2 = 0xc2b2ae3d27d4eb4fULL, p3 = 0x165667b19e3779f9ULL,
			 p4 = 0x85ebca77c2b2ae63ULL, p5 = 0x27d4eb2f165667c5ULL;
	u64 v[4] = { p1 + p2, p2, 0, 0 - p1 }, h = p5;
	size_t left = n;

	for (; left >= 32; left -= 32, p += 32)
		for (int i = 0; i < 4; i++)
			v[i] = xxh_round(v[i], get(p + 8 * i, 8));
	if (n >= 32) {
		h = (v[0] << 1 | v[0] >> 63) + (v[1] << 7 | v[1] >> 57) + (v[2] << 12 | v[2] >> 52) +
		    (v[3] << 18 | v[3] >> 46);
		for (int i = 0; i < 4; i++)
			h = (h ^ xxh_round(0, v[i])) * p1 + p4;
	}
	h += n;
	for (; left >= 8; left -= 8, p += 8) {
		h ^= xxh_round(0, get(p, 8));
		h = (h << 27 | h >> 37) * p1 + p4;
	}
	if (left >= 4) {
		h ^= get(p, 4) * p1;
		h = (h << 23 | h >> 41) * p2 + p3;
		left -= 4;
		p += 4;
	}
	for (; left; left--, p++) {
		h ^= *p * p5;
		h = (h << 11 | h >> 53) * p1;
	}
	h = (h ^ h >> 33) * p2;
	h = (h ^ h >> 29) * p3;
	return h ^ h >> 32;
}

struct header {
	size_t bytes;
	bool sized, sum;
	u64 content;
};

static int read_header(const u8 *data, size_t size, struct header *h)
{
	static const u8 dictionary[4] = { 0, 1, 2, 4 }, content[4] = { 0, 2, 4, 8 };
	u8 d = size > 5 ? data[4] : 8;
	bool single = d & 32;
	unsigned dictionary_bytes = dictionary[d & 3], content_bytes = d >> 6 ? content[d >> 6] : single;

	h->bytes = 5 + !single + dictionary_bytes + content_bytes;
	if (d & 8 || h->bytes > size || get(data + 5 + !single, dictionary_bytes))
		return -EINVAL;
	h->sum = d & 4;
	h->sized = content_bytes;
	h->content = get(data + h->bytes - content_bytes, content_bytes) + (content_bytes == 2 ? 256 : 0);
	return 0;
}

/* Bytes of data that the block takes. */
static ssize_t read_block(struct zstd *z, const u8 *data, size_t size, bool *last)
{
	u32 head = size < 3 ? 6 : (u32)get(data, 3), n = head >> 3, kind = head >> 1 & 3;
	int err = 0;

	*last = head & 1;
	if (kind == 3 || size - 3 < (kind == 1 ? 1 : n) || n > BLOCK_MAX)
		return -EINVAL;
	if (kind == 2)
		err = packed_block(z, data + 3, n);
	else if (n > z->room - z->made)
		err = -ENOSPC;
	if (err)
		return err;
	if (kind == 0)
		memcpy(z->out + z->made, data + 3, n);
	if (kind == 1)
		memset(z->out + z->made, data[3], n);
	if (kind != 2)
		z->made += n;
	return 3 + (kind == 1 ? 1 : n);
}

static ssize_t unpack_frame(struct zstd *z, const u8 *data, size_t size)
{
	struct header h;
	bool last = false;
	size_t at;

	if (read_header(data, size, &h))
		return -EINVAL;
	if (h.sized && h.content > z->room)
		return -ENOSPC;
	z->made = 0;
	z->last[0] = 1;
	z->last[1] = 4;
	z->last[2] = 8;
	z->huffman.bits = 0;
	memset(z->have, 0, sizeof(z->have));
	for (at = h.bytes; !last;) {
		ssize_t n = read_block(z, data + at, size - at, &last);

		if (n < 0)
			return n;
		at += (size_t)n;
	}
	if (h.sized && z->made != h.content)
		return -EINVAL;
	if (h.sum && (size - at < 4 || get(data + at, 4) != (u32)xxh64(z->out, z->made)))
		return -EINVAL;
	return (ssize_t)(at + (h.sum ? 4 : 0));
}

int zstd_unpack(const u8 *data, size_t size, u8 *out, size_t room, void *work, size_t *used, size_t *made)
{
	struct zstd *z = work;

	*used = *made = 0;
	if (!zstd_begins(data, size))
		return -EINVAL;
	while (zstd_begins(data + *used, size - *used)) {
		const u8 *frame = data + *used;
		size_t left = size - *used;
		ssize_t n;

		z->out = out + *made;
		z->room = room - *made;
		z->made = 0;
		n = get(frame, 4) == MAGIC ? unpack_frame(z, frame, left) : (ssize_t)(8 + get(frame + 4, 4));
		if (n < 0)
			return (int)n;
		if ((size_t)n > left)
			return -EINVAL;
		*used += (size_t)n;
		*made += z->made;
	}
	return 0;
}
