/* SPDX-License-Identifier: MIT
 *
 * Problem: with metadata_csum every metadata block carries a checksum, each kind in its own place and over its own
 * bytes.
 *
 * Idea: one function a kind that computes what should be there; readers compare, writers store.
 *
 *      superblock    crc32c(~0, bytes before it); ours stays what it is when the superblock changes (ext4_super_seal)
 *      group         low 16 bits of crc32c(seed, number, descriptor without the field); without metadata_csum
 * ext4_crc16 inode         crc32c(inode seed, whole record without the two halves) extent block  crc32c(inode seed,
 * header and all places), stored behind them directory     crc32c(inode seed, all but the last 12 bytes), stored in a
 * false entry at the end index block   crc32c(inode seed, used part, 4 bytes, zero), stored behind the places seed =
 * crc32c(~0, uuid) or the superblock's; inode seed = crc32c(seed, number, generation)
 *
 * Contract: ext4_priv.h. Locks: none.
 */
#include <lib/crc32c.h>
#include "ext4_priv.h"

u16 ext4_crc16(u16 crc, const void *data, size_t n)
{
	const u8 *p = data;

	while (n--) {
		crc ^= *p++;
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0xa001 : 0);
	}
	return crc;
}

u32 ext4_inode_seed(const struct ext4 *fs, u32 ino, u32 generation)
{
	u8 le[8];

	put32(le, ino);
	put32(le + 4, generation);
	return crc32c(fs->csum_seed, le, 8);
}

u32 ext4_super_csum(const u8 *sb)
{
	return crc32c(~0u, sb, SB_CSUM);
}

#define SUM_POLYNOMIAL 0x82f63b78u
#define SPARE_BACK     0x4d55119eu /* x^-6592: from the superblock's sum back over the 824 bytes before it */

/* The product of two polynomials modulo the sum's; the highest bit is x^0. */
static u32 times(u32 a, u32 b)
{
	u32 product = 0;

	for (; a; a <<= 1) {
		if (a & BIT(31))
			product ^= b;
		b = b >> 1 ^ (b & 1 ? SUM_POLYNOMIAL : 0);
	}
	return product;
}

/* A power cut may leave one of the superblock's two sectors new and the other old. All that we change lies in the
 * first, and the sum in the second: so the sum stays as it is on the device, and four bytes of the first that nobody
 * reads (behind the end of the text of the last mount's place) take up the difference. */
void ext4_super_seal(u8 *sb)
{
	u32 want = get32(sb + SB_CSUM);

	if (sb[SB_SPARE - 1]) { /* such a long text leaves no room */
		put32(sb + SB_CSUM, ext4_super_csum(sb));
		return;
	}
	put32(sb + SB_SPARE, 0);
	put32(sb + SB_SPARE, times(ext4_super_csum(sb) ^ want, SPARE_BACK));
}

u16 ext4_group_csum(const struct ext4 *fs, u32 group)
{
	static const u8 zero[2];
	const u8 *gd = group_desc(fs, group);
	u8 le[4];

	put32(le, group);
	if (has_csum(fs)) {
		u32 c = crc32c(fs->csum_seed, le, 4);

		c = crc32c(c, gd, GD_CSUM);
		c = crc32c(c, zero, 2);
		if (fs->desc_bytes > GD_HI)
			c = crc32c(c, gd + GD_HI, fs->desc_bytes - GD_HI);
		return c;
	}
	u16 c = ext4_crc16(0xffff, fs->sb + SB_UUID, 16);

	c = ext4_crc16(c, le, 4);
	c = ext4_crc16(c, gd, GD_CSUM);
	if (fs->desc_bytes > GD_HI)
		c = ext4_crc16(c, gd + GD_HI, fs->desc_bytes - GD_HI);
	return c;
}

static bool has_csum_hi(const struct ext4 *fs, const u8 *raw)
{
	return fs->inode_bytes > IN_OLD_BYTES && get16(raw + IN_EXTRA) >= 4;
}

u32 ext4_raw_inode_csum(const struct ext4 *fs, u32 ino, const u8 *raw)
{
	static const u8 zero[2];
	u32 c = ext4_inode_seed(fs, ino, get32(raw + IN_GENERATION));
	unsigned from = IN_CSUM + 2;

	c = crc32c(c, raw, IN_CSUM);
	c = crc32c(c, zero, 2);
	if (has_csum_hi(fs, raw)) {
		c = crc32c(c, raw + from, IN_CSUM_HI - from);
		c = crc32c(c, zero, 2);
		from = IN_CSUM_HI + 2;
	}
	return crc32c(c, raw + from, fs->inode_bytes - from);
}

bool ext4_raw_inode_csum_ok(const struct ext4 *fs, u32 ino, const u8 *raw)
{
	u32 want = ext4_raw_inode_csum(fs, ino, raw);

	if (get16(raw + IN_CSUM) != (want & 0xffff))
		return false;
	return !has_csum_hi(fs, raw) || get16(raw + IN_CSUM_HI) == want >> 16;
}

/* The tail of an extent block lies behind its eh_max places, which the reader has checked to fit. */
u32 ext4_extent_csum(const struct ext4 *fs, const struct ext4_inode *in, const u8 *block)
{
	return crc32c(ext4_inode_seed(fs, in->ino, in->generation), block,
		      EH_BYTES + EXTENT_BYTES * get16(block + EH_MAX));
}

u32 ext4_dir_csum(const struct ext4 *fs, const struct ext4_inode *in, const u8 *block)
{
	return crc32c(ext4_inode_seed(fs, in->ino, in->generation), block, fs->block_bytes - DE_TAIL_BYTES);
}

u32 ext4_dx_csum(const struct ext4 *fs, const struct ext4_inode *in, const u8 *block, unsigned entries_at)
{
	static const u8 zero[4];
	unsigned limit = get16(block + entries_at), count = get16(block + entries_at + 2);
	u32 c = crc32c(ext4_inode_seed(fs, in->ino, in->generation), block, entries_at + 8 * count);

	c = crc32c(c, block + entries_at + 8 * limit, 4);
	return crc32c(c, zero, 4);
}

void ext4_raw_inode_put_csum(const struct ext4 *fs, u32 ino, u8 *raw)
{
	u32 csum;

	if (!has_csum(fs))
		return;
	csum = ext4_raw_inode_csum(fs, ino, raw);
	put16(raw + IN_CSUM, csum);
	if (has_csum_hi(fs, raw))
		put16(raw + IN_CSUM_HI, csum >> 16);
}

u32 ext4_xattr_csum(const struct ext4 *fs, u64 block, const u8 *data)
{
	static const u8 zero[4];
	u8 le[8];
	u32 c;

	put32(le, block);
	put32(le + 4, block >> 32);
	c = crc32c(fs->csum_seed, le, 8);
	c = crc32c(c, data, 16);
	c = crc32c(c, zero, 4);
	return crc32c(c, data + 20, fs->block_bytes - 20);
}

static u32 bitmap_csum(const struct ext4 *fs, bool inodes, const u8 *bits)
{
	return crc32c(fs->csum_seed, bits, (inodes ? fs->inodes_per_group : fs->blocks_per_group) / 8);
}

bool ext4_bitmap_csum_ok(const struct ext4 *fs, u32 group, bool inodes, const u8 *bits)
{
	const u8 *gd = group_desc(fs, group);
	unsigned lo = inodes ? GD_INODE_CSUM : GD_BLOCK_CSUM, hi = inodes ? GD_INODE_CSUM_HI : GD_BLOCK_CSUM_HI;
	u32 want = bitmap_csum(fs, inodes, bits);

	if (get16(gd + lo) != (want & 0xffff))
		return false;
	return fs->desc_bytes <= GD_HI || get16(gd + hi) == want >> 16;
}

static void put_bitmap_csum(const struct ext4 *fs, u32 group, bool inodes, const u8 *bits)
{
	u8 *gd = group_desc(fs, group);
	u32 csum = bitmap_csum(fs, inodes, bits);

	put16(gd + (inodes ? GD_INODE_CSUM : GD_BLOCK_CSUM), csum);
	if (fs->desc_bytes > GD_HI)
		put16(gd + (inodes ? GD_INODE_CSUM_HI : GD_BLOCK_CSUM_HI), csum >> 16);
}

static void seal_dx(const struct ext4 *fs, u32 seed, u8 *data)
{
	static const u8 zero[4];
	unsigned at = get16(data + DE_REC_LEN) == 12 ? DX_ROOT_ENTRIES : DX_NODE_ENTRIES;
	u8 *tail = data + at + 8 * get16(data + at);
	u32 c = crc32c(seed, data, at + 8 * get16(data + at + 2));

	put32(tail + 4, crc32c(crc32c(c, tail, 4), zero, 4));
}

void ext4_seal(const struct ext4 *fs, struct buffer *b)
{
	u8 *d = b->data;

	if (!has_csum(fs))
		return;
	switch (b->sum) {
	case SUM_DIR: put32(d + fs->block_bytes - 4, crc32c(b->sum_seed, d, fs->block_bytes - DE_TAIL_BYTES)); break;
	case SUM_DX: seal_dx(fs, b->sum_seed, d); break;
	case SUM_EXTENT: {
		unsigned end = EH_BYTES + EXTENT_BYTES * get16(d + EH_MAX);

		put32(d + end, crc32c(b->sum_seed, d, end));
		break;
	}
	case SUM_BLOCKS:
	case SUM_INODES: put_bitmap_csum(fs, b->sum_seed, b->sum == SUM_INODES, d); break;
	case SUM_XATTR: put32(d + 16, ext4_xattr_csum(fs, b->block, d)); break;
	}
}
