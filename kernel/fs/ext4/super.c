/* SPDX-License-Identifier: MIT
 *
 * Problem: a superblock decides the meaning of everything else, and all of its numbers may be lies.
 *
 * Idea: check each number by itself, then against the others and the device, before the first use; read all group
 * descriptors once and check that each group's bitmaps and inode table lie inside the file system. What passes here
 * needs no further doubt: group arithmetic cannot leave the device.
 *
 *      byte 1024   superblock; then from the next block on the group descriptors, or with meta_bg one block of them
 *                  for each block's worth of groups, at the start of its first group
 *
 * Contract: fs/ext4/ext4.h. Unknown incompatible features: -EINVAL; unknown read-only features: read only.
 *
 * Locks: the file system's.
 */
#include <alloc/slab.h>
#include <lib/crc32c.h>
#include <lib/string.h>
#include "ext4_priv.h"

#define MAX_GROUPS (1u << 22)

bool ext4_block_is_valid(const struct ext4 *fs, u64 block, u64 count)
{
	return block >= fs->first_block && block < fs->blocks && count <= fs->blocks - block;
}

u64 ext4_group_field48(const struct ext4 *fs, u32 group, unsigned lo, unsigned hi)
{
	const u8 *gd = group_desc(fs, group);

	return get32(gd + lo) | (fs->desc_bytes > GD_HI ? (u64)get32(gd + hi) << 32 : 0);
}

static int check_features(struct ext4 *fs)
{
	const u8 *sb = fs->sb;
	u32 unknown;

	if (get16(sb + SB_MAGIC) != EXT4_MAGIC)
		return fail(EINVAL, "ext4: no superblock");
	if (get32(sb + SB_REVISION)) {
		fs->compat = get32(sb + SB_COMPAT);
		fs->incompat = get32(sb + SB_INCOMPAT);
		fs->ro_compat = get32(sb + SB_RO_COMPAT);
	}
	unknown = fs->incompat & ~INCOMPAT_KNOWN;
	if (unknown)
		return fail(EINVAL, "ext4: unknown incompatible features %#x", unknown);
	unknown = fs->ro_compat & ~RO_KNOWN;
	if (unknown & RO_BIGALLOC)
		return fail(EINVAL, "ext4: clusters of blocks (bigalloc) are not supported");
	if (unknown && !fs->read_only) {
		log_warn("ext4: features %#x are not known for writing: read only", unknown);
		fs->read_only = true;
	}
	fs->ro_unknown = unknown;
	if (!has_csum(fs) || (sb[SB_CSUM_TYPE] == 1 && ext4_super_csum(sb) == get32(sb + SB_CSUM)))
		return 0;
	/* A power failure between its two sectors: the journal has it whole. What the journal is found by never
	 * changes. */
	if (fs->may_be_torn && fs->incompat & INCOMPAT_RECOVER) {
		log_warn("ext4: the superblock's checksum is wrong; the journal is replayed first");
		return 0;
	}
	return fail(EUCLEAN, "ext4: the superblock's checksum is wrong");
}

static int check_geometry(struct ext4 *fs)
{
	const u8 *sb = fs->sb;
	u32 log_block = get32(sb + SB_LOG_BLOCK);
	u64 groups;

	if (log_block > 6)
		return fail(EUCLEAN, "ext4: block size 2^%u", log_block + 10);
	fs->block_bytes = 1024u << log_block;
	fs->inodes = get32(sb + SB_INODES);
	fs->inodes_per_group = get32(sb + SB_INODES_PER_GROUP);
	fs->blocks_per_group = get32(sb + SB_BLOCKS_PER_GROUP);
	fs->first_block = get32(sb + SB_FIRST_BLOCK);
	fs->blocks = get32(sb + SB_BLOCKS_LO);
	fs->inode_bytes = get32(sb + SB_REVISION) ? get16(sb + SB_INODE_BYTES) : IN_OLD_BYTES;
	fs->first_ino = get32(sb + SB_REVISION) ? get32(sb + SB_FIRST_INO) : 11;
	fs->desc_bytes = 32;
	if (fs->incompat & INCOMPAT_64BIT) {
		fs->blocks |= (u64)get32(sb + SB_BLOCKS_HI) << 32;
		fs->desc_bytes = get16(sb + SB_DESC_BYTES);
	}
	if (fs->desc_bytes < 32 || fs->desc_bytes > 1024 || (fs->desc_bytes & (fs->desc_bytes - 1)) ||
	    ((fs->incompat & INCOMPAT_64BIT) && fs->desc_bytes < 64))
		return fail(EUCLEAN, "ext4: group descriptors of %u bytes", fs->desc_bytes);
	if (fs->inode_bytes < IN_OLD_BYTES || fs->inode_bytes > fs->block_bytes ||
	    (fs->inode_bytes & (fs->inode_bytes - 1)))
		return fail(EUCLEAN, "ext4: inodes of %u bytes", fs->inode_bytes);
	if (!fs->blocks_per_group || fs->blocks_per_group > 8 * fs->block_bytes || !fs->inodes_per_group ||
	    fs->inodes_per_group > 8 * fs->block_bytes)
		return fail(EUCLEAN, "ext4: groups of %u blocks and %u inodes", fs->blocks_per_group,
			    fs->inodes_per_group);
	if (fs->first_block != (fs->block_bytes == 1024) || fs->blocks <= fs->first_block)
		return fail(EUCLEAN, "ext4: first block %u", fs->first_block);
	if (fs->blocks > fs->dev.bytes / fs->block_bytes)
		return fail(EUCLEAN, "ext4: the device is smaller than its file system");
	groups = DIV_ROUND_UP(fs->blocks - fs->first_block, (u64)fs->blocks_per_group);
	if (groups > MAX_GROUPS || groups * fs->inodes_per_group != fs->inodes)
		return fail(EUCLEAN, "ext4: %u inodes in %llu groups", fs->inodes, (unsigned long long)groups);
	fs->groups = groups;
	return 0;
}

bool ext4_group_has_super(const struct ext4 *fs, u32 group)
{
	if (fs->compat & COMPAT_SPARSE_SUPER2)
		return !group || group == get32(fs->sb + SB_BACKUP_BGS) || group == get32(fs->sb + SB_BACKUP_BGS + 4);
	if (group <= 1 || !(fs->ro_compat & RO_SPARSE_SUPER))
		return true;
	for (u32 base = 3; base <= 7; base += 2) { /* powers of 3, 5 and 7 */
		u64 p = base;

		while (p < group)
			p *= base;
		if (p == group)
			return true;
	}
	return false;
}

/* The block that holds descriptor block n: with meta_bg behind the superblock's copy, if its group has one. */
u64 ext4_desc_block(const struct ext4 *fs, u32 n)
{
	u32 per_block = fs->block_bytes / fs->desc_bytes, group = n * per_block;
	u64 at = fs->first_block + (u64)group * fs->blocks_per_group;

	if (!(fs->incompat & INCOMPAT_META_BG) || n < get32(fs->sb + SB_FIRST_META_BG))
		return fs->first_block + 1 + n;
	return at + ext4_group_has_super(fs, group);
}

static int read_groups(struct ext4 *fs)
{
	u32 per_block = fs->block_bytes / fs->desc_bytes, n = DIV_ROUND_UP(fs->groups, per_block);

	fs->gd = kcalloc(n, fs->block_bytes, ALLOC_KERNEL);
	if (!fs->gd)
		return -ENOMEM;
	for (u32 i = 0; i < n; i++) {
		u64 block = ext4_desc_block(fs, i);
		int err;

		if (!ext4_block_is_valid(fs, block, 1))
			return fail(EUCLEAN, "ext4: group descriptors outside the file system");
		err = fs->dev.read(fs->dev.ctx, block * fs->block_bytes, fs->gd + (size_t)i * fs->block_bytes,
				   fs->block_bytes);
		if (err)
			return err;
	}
	return 0;
}

static int check_groups(struct ext4 *fs)
{
	u32 table_blocks = DIV_ROUND_UP((u64)fs->inodes_per_group * fs->inode_bytes, fs->block_bytes);

	for (u32 g = 0; g < fs->groups; g++) {
		u64 bb = ext4_group_field48(fs, g, GD_BLOCK_BITMAP, GD_BLOCK_BITMAP_HI);
		u64 ib = ext4_group_field48(fs, g, GD_INODE_BITMAP, GD_INODE_BITMAP_HI);
		u64 table = ext4_group_field48(fs, g, GD_INODE_TABLE, GD_INODE_TABLE_HI);

		if ((fs->ro_compat & (RO_METADATA_CSUM | RO_GDT_CSUM)) &&
		    ext4_group_csum(fs, g) != get16(group_desc(fs, g) + GD_CSUM))
			return fail(EUCLEAN, "ext4: checksum of group %u", g);
		if (!ext4_block_is_valid(fs, bb, 1) || !ext4_block_is_valid(fs, ib, 1) ||
		    !ext4_block_is_valid(fs, table, table_blocks))
			return fail(EUCLEAN, "ext4: group %u lies outside the file system", g);
	}
	return 0;
}

int ext4_load_super(struct ext4 *fs)
{
	int err = fs->dev.read(fs->dev.ctx, SB_AT, fs->sb, SB_BYTES);

	kfree(fs->gd);
	fs->gd = NULL;
	if (!err)
		err = check_features(fs);
	if (!err)
		err = check_geometry(fs);
	if (err)
		return err;
	fs->csum_seed =
		fs->incompat & INCOMPAT_CSUM_SEED ? get32(fs->sb + SB_CSUM_SEED) : crc32c(~0u, fs->sb + SB_UUID, 16);
	err = read_groups(fs);
	return err ? err : check_groups(fs);
}

int ext4_open(const struct ext4_device *dev, unsigned flags, struct ext4 **out)
{
	struct ext4 *fs = kzalloc(sizeof(*fs), ALLOC_KERNEL);
	int err;

	if (!fs)
		return -ENOMEM;
	fs->dev = *dev;
	fs->read_only = dev->read_only || flags;
	list_init(&fs->lru);
	list_init(&fs->dirty);
	list_init(&fs->freed);
	for (int i = 0; i < BUCKETS; i++)
		list_init(&fs->bucket[i]);
	fs->may_be_torn = !dev->read_only && !(flags & EXT4_OPEN_NO_REPLAY);
	err = ext4_load_super(fs);
	fs->may_be_torn = false;
	if (!err && (fs->incompat & INCOMPAT_RECOVER) && !(flags & EXT4_OPEN_NO_REPLAY))
		err = dev->read_only ? fail(EROFS, "ext4: the journal must be replayed and the device is read only")
				     : ext4_journal_replay(fs);
	if (!err && !fs->read_only)
		err = ext4_start_writing(fs);
	if (!err && !fs->read_only && ext4_orphans_clean(fs))
		log_warn("ext4: files without names could not all be freed");
	if (err) {
		ext4_close(fs);
		return err;
	}
	*out = fs;
	return 0;
}

int ext4_close(struct ext4 *fs)
{
	int err = ext4_stop_writing(fs);

	ext4_buffers_drop(fs);
	kfree(fs->revokes);
	kfree(fs->orphans);
	kfree(fs->gd);
	kfree(fs);
	return err;
}

bool ext4_needs_replay(const struct ext4 *fs)
{
	return fs->incompat & INCOMPAT_RECOVER;
}

void ext4_statfs(struct ext4 *fs, struct ext4_stat *out)
{
	const u8 *sb = fs->sb;

	*out = (struct ext4_stat){ .blocks = fs->blocks - fs->first_block,
				   .first_block = fs->first_block,
				   .inodes = fs->inodes,
				   .block_bytes = fs->block_bytes,
				   .read_only = fs->read_only };
	for (u32 g = 0; g < fs->groups; g++) {
		out->free_blocks += ext4_group_count(fs, g, GD_FREE_BLOCKS, GD_FREE_BLOCKS_HI);
		out->free_inodes += ext4_group_count(fs, g, GD_FREE_INODES, GD_FREE_INODES_HI);
	}
	out->remount_ro = get16(sb + SB_ERRORS) > ERRORS_CONTINUE;
	out->reserved_blocks = get32(sb + SB_RESERVED_LO) |
			       (fs->incompat & INCOMPAT_64BIT ? (u64)get32(sb + SB_RESERVED_HI) << 32 : 0);
	out->overhead = min((u64)get32(sb + SB_OVERHEAD), out->blocks);
	memcpy(out->uuid, sb + SB_UUID, 16);
	memcpy(out->label, sb + SB_LABEL, 16);
}

u32 ext4_first_ino(const struct ext4 *fs)
{
	return fs->first_ino;
}
