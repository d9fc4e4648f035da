/* SPDX-License-Identifier: MIT
 *
 * Problem: initrds of distributions come compressed by gzip; they must be unpacked before there is any user program.
 *
 * Idea: deflate decoded bit by bit with canonical Huffman codes: for each length the first code and the number of codes
 * suffice, so a decoder is two small arrays and no tree. Everything is in memory, so the window is the output itself.
 *
 * Contract: lib/inflate.h. Every length and distance is checked before it is used: damaged input is -EINVAL, never a
 * write outside `out`.
 *
 * Locks: none. Pure.
 */
#include <lib/err.h>
#include <lib/inflate.h>
#include <lib/string.h>

#define MAX_BITS   15
#define MAX_LENGTH 288 /* symbols for literals and lengths */
#define MAX_DIST   32

struct bits {
	const u8 *data;
	size_t size, at;
	u32 hold, held; /* bits read and not yet used */
	u8 *out;
	size_t room, made;
	int err;
};

struct code { /* canonical: codes of one length are consecutive, in the order of their symbols */
	u16 count[MAX_BITS + 1];
	u16 symbol[MAX_LENGTH];
};

static u32 take(struct bits *b, unsigned n)
{
	u32 v;

	while (b->held < n) {
		if (b->at == b->size) {
			b->err = -EINVAL;
			return 0;
		}
		b->hold |= (u32)b->data[b->at++] << b->held;
		b->held += 8;
	}
	v = b->hold & ((1U << n) - 1);
	b->hold >>= n;
	b->held -= n;
	return v;
}

/* The next symbol, or -1. */
static int decode(struct bits *b, const struct code *c)
{
	int code = 0, first = 0, index = 0;

	for (int len = 1; len <= MAX_BITS && !b->err; len++) {
		code |= (int)take(b, 1);
		if (code - c->count[len] < first)
			return c->symbol[index + (code - first)];
		index += c->count[len];
		first = (first + c->count[len]) << 1;
		code <<= 1;
	}
	b->err = -EINVAL;
	return -1;
}

/* From the code length of each symbol. False: more codes than the lengths have room for. */
static bool build(struct code *c, const u8 *lengths, int n)
{
	u16 offset[MAX_BITS + 1];
	int left = 1;

	memset(c->count, 0, sizeof(c->count));
	for (int i = 0; i < n; i++)
		c->count[lengths[i]]++;
	for (int len = 1; len <= MAX_BITS; len++) {
		left = (left << 1) - c->count[len];
		if (left < 0)
			return false;
	}
	offset[1] = 0;
	for (int len = 1; len < MAX_BITS; len++)
		offset[len + 1] = offset[len] + c->count[len];
	for (int i = 0; i < n; i++)
		if (lengths[i])
			c->symbol[offset[lengths[i]]++] = i;
	c->count[0] = 0;
	return true;
}

static void put(struct bits *b, u8 v)
{
	if (b->made == b->room)
		b->err = -ENOSPC;
	else
		b->out[b->made++] = v;
}

static void copy_back(struct bits *b, unsigned length, unsigned distance)
{
	if (distance > b->made)
		b->err = -EINVAL;
	while (length-- && !b->err)
		put(b, b->out[b->made - distance]);
}

/* Literals, and lengths with distances, up to the end-of-block symbol. Tables: RFC 1951, 3.2.5. */
static void block(struct bits *b, const struct code *lit, const struct code *dist)
{
	static const u16 base[29] = { 3,  4,  5,  6,  7,  8,  9,  10, 11,  13,  15,  17,  19,  23, 27,
				      31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258 };
	static const u8 extra[29] = { 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2,
				      2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0 };
	static const u16 dbase[30] = { 1,    2,    3,    4,    5,    7,    9,    13,    17,    25,
				       33,   49,   65,   97,   129,  193,  257,  385,   513,   769,
				       1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577 };

	while (!b->err) {
		int s = decode(b, lit), d;
		unsigned length;

		if (b->err || s == 256)
			return;
		if (s < 256) {
			put(b, s);
			continue;
		}
		if (s > 285)
			break;
		length = base[s - 257] + take(b, extra[s - 257]);
		d = decode(b, dist);
		if (b->err || d > 29)
			break;
		copy_back(b, length, dbase[d] + take(b, d < 2 ? 0 : d / 2 - 1));
	}
	if (!b->err)
		b->err = -EINVAL;
}

static void stored(struct bits *b)
{
	size_t len;

	b->hold = b->held = 0; /* to the next byte: at most 7 bits were held */
	if (b->size - b->at < 4) {
		b->err = -EINVAL;
		return;
	}
	len = b->data[b->at] | b->data[b->at + 1] << 8;
	if (len != (u16) ~(b->data[b->at + 2] | b->data[b->at + 3] << 8)) {
		b->err = -EINVAL;
		return;
	}
	b->at += 4;
	if (len > b->size - b->at || len > b->room - b->made) {
		b->err = len > b->size - b->at ? -EINVAL : -ENOSPC;
		return;
	}
	memcpy(b->out + b->made, b->data + b->at, len);
	b->at += len;
	b->made += len;
}

static void fixed(struct bits *b)
{
	struct code lit, dist;
	u8 lengths[MAX_LENGTH];

	for (int i = 0; i < MAX_LENGTH; i++)
		lengths[i] = i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8;
	build(&lit, lengths, MAX_LENGTH);
	memset(lengths, 5, 30);
	build(&dist, lengths, 30);
	block(b, &lit, &dist);
}

/* The run-length coded lengths of both codes; how many, in lengths. */
static int read_lengths(struct bits *b, const struct code *c, u8 *lengths, int n)
{
	int i = 0;

	while (i < n && !b->err) {
		int s = decode(b, c), times;
		u8 v = 0;

		if (b->err)
			break;
		if (s < 16) {
			lengths[i++] = s;
			continue;
		}
		if (s == 16 && !i)
			return -EINVAL;
		if (s == 16)
			v = lengths[i - 1];
		times = s == 16 ? 3 + take(b, 2) : s == 17 ? 3 + take(b, 3) : 11 + take(b, 7);
		if (times > n - i)
			return -EINVAL;
		memset(lengths + i, v, times);
		i += times;
	}
	return b->err;
}

static void dynamic(struct bits *b)
{
	static const u8 order[19] = { 16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15 };
	u8 lengths[MAX_LENGTH + MAX_DIST] = { 0 };
	int nlit = 257 + take(b, 5), ndist = 1 + take(b, 5), ncode = 4 + take(b, 4);
	struct code lit, dist;

	if (b->err || nlit > 286 || ndist > 30) {
		b->err = -EINVAL;
		return;
	}
	for (int i = 0; i < ncode; i++)
		lengths[order[i]] = take(b, 3);
	if (b->err || !build(&lit, lengths, 19)) {
		b->err = -EINVAL;
		return;
	}
	memset(lengths, 0, sizeof(lengths));
	if (read_lengths(b, &lit, lengths, nlit + ndist) || !build(&lit, lengths, nlit) ||
	    !build(&dist, lengths + nlit, ndist) || !lengths[256]) {
		b->err = -EINVAL;
		return;
	}
	block(b, &lit, &dist);
}

static int inflate(struct bits *b)
{
	bool last;

	do {
		last = take(b, 1);
		switch (take(b, 2)) {
		case 0: stored(b); break;
		case 1: fixed(b); break;
		case 2: dynamic(b); break;
		default: b->err = -EINVAL;
		}
	} while (!last && !b->err);
	return b->err;
}

/* ---- gzip ------------------------------------------------------------------------------------------------------ */

#define F_CRC     0x02
#define F_EXTRA   0x04
#define F_NAME    0x08
#define F_COMMENT 0x10
#define HEADER    10
#define TRAILER   8

bool gzip_begins(const u8 *data, size_t size)
{
	return size > HEADER + TRAILER && data[0] == 0x1f && data[1] == 0x8b && data[2] == 8;
}

/* Where the deflate stream begins; 0: the header is damaged. */
static size_t header_end(const u8 *d, size_t size)
{
	size_t at = HEADER;
	u8 flags = d[3];

	if (flags & F_EXTRA) {
		if (size - at < 2)
			return 0;
		at += 2 + (d[at] | d[at + 1] << 8);
	}
	for (int strings = !!(flags & F_NAME) + !!(flags & F_COMMENT); strings; strings--) {
		while (at < size && d[at])
			at++;
		at++;
	}
	if (flags & F_CRC)
		at += 2;
	return at < size ? at : 0;
}

/* CRC-32 of IEEE 802.3, four bits a step. */
static u32 crc32(const u8 *p, size_t n)
{
	u32 table[16], crc = ~0U;

	for (u32 i = 0; i < 16; i++) {
		table[i] = i;
		for (int k = 0; k < 4; k++)
			table[i] = table[i] >> 1 ^ (table[i] & 1 ? 0xedb88320 : 0);
	}
	while (n--) {
		crc ^= *p++;
		crc = crc >> 4 ^ table[crc & 15];
		crc = crc >> 4 ^ table[crc & 15];
	}
	return ~crc;
}

static u32 le32(const u8 *p)
{
	return p[0] | p[1] << 8 | p[2] << 16 | (u32)p[3] << 24;
}

int gzip_unpack(const u8 *data, size_t size, u8 *out, size_t room, size_t *used, size_t *made)
{
	struct bits b = { .data = data, .size = size, .out = out, .room = room };
	int err;

	if (!gzip_begins(data, size))
		return -EINVAL;
	b.at = header_end(data, size);
	err = b.at ? inflate(&b) : -EINVAL;
	if (err)
		return err;
	if (size - b.at < TRAILER || crc32(out, b.made) != le32(data + b.at) || (u32)b.made != le32(data + b.at + 4))
		return -EINVAL;
	*used = b.at + TRAILER;
	*made = b.made;
	return 0;
}
