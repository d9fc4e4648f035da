/* SPDX-License-Identifier: MIT
 *
 * The write-intent bitmap's on-disk form: a 256-byte header ("bitm") and one bit a chunk, bit 0 of byte 0 first.
 * Versions 4 (plain) and 5 (clustered, only recognised). Format: md(4) and mdadm's documentation of --bitmap; field
 * offsets are listed at the structure. Pure functions over a buffer.
 */
#ifndef MD_BITMAP_H
#define MD_BITMAP_H

#include <lib/types.h>
#include <md/super.h>

#define MD_BITMAP_MAGIC  0x6d746962
#define MD_BITMAP_HEADER 256 /* bytes; the bits follow */

struct md_bitmap {
	u32 version;
	u8 uuid[16];
	u64 events, events_cleared;
	u64 sync_sectors; /* array (RAID5/6: member) sectors that the bits cover */
	u32 state;
	u32 chunk_bytes;
	u32 daemon_sleep_s;
	u32 write_behind;
	u32 sectors_reserved;
	u32 nodes;
};

/* 0, -ENOENT (no magic), -EINVAL with a reason (version, chunk, more bits than u32 counts). */
int __must_check md_bitmap_decode(const void *buf, struct md_bitmap *out);
void md_bitmap_build(const struct md_bitmap *b, void *buf); /* MD_BITMAP_HEADER bytes */
u64 md_bitmap_bits(const struct md_bitmap *b);
/* Bytes of header and bits. */
u64 md_bitmap_bytes(const struct md_bitmap *b);
/* Set bits among the first nbits of a bit area. */
u64 md_bitmap_count(const u8 *bits, u64 nbits);

/* Reads header and bits, `offset` sectors from the superblock (sb->bitmap_or_ppl, as a rule), whole pages, into *out
 * (to be given to kfree). read: absolute sectors of the member. 0, -EINVAL with a reason, -ENOMEM, or read's error. */
typedef int (*md_read_fn)(void *ctx, u64 sector, void *buf, u32 bytes);
int __must_check md_bitmap_read(const struct md_super *sb, s32 offset, md_read_fn read, void *ctx, void **out,
				size_t *bytes);

static inline bool md_bitmap_test(const u8 *bits, u64 bit)
{
	return bits[bit / 8] >> bit % 8 & 1;
}

static inline void md_bitmap_set(u8 *bits, u64 bit, bool value)
{
	if (value)
		bits[bit / 8] |= 1u << bit % 8;
	else
		bits[bit / 8] &= ~(1u << bit % 8);
}

#endif
