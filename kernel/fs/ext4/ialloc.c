/* SPDX-License-Identifier: MIT
 *
 * Problem: a new inode should lie near those that are read with it, and one that lost its last name while still open
 * must be found again after a cut.
 *
 * Idea: files go into their directory's group, or the next with room; directories below the root are spread over the
 * emptier groups, others stay near their parent (Orlov's rule). Bits are taken lowest first, so that the never used
 * part of a table, which may hold anything, grows shorter by whole records. Orphans are chained through the superblock
 * and their times of deletion; the chain is kept in memory too, because removal needs the one before.
 *
 *      superblock.last_orphan -> inode.dtime -> inode.dtime -> 0
 *
 * Contract: ext4_priv.h. -ENOSPC: no inode is free.
 *
 * Locks: the file system's.
 */
#include <alloc/slab.h>
#include <lib/string.h>
#include "ext4_priv.h"

#define S_IFDIR 0040000
#define S_IFMT  0170000

static bool has_lazy_groups(const struct ext4 *fs)
{
	return fs->ro_compat & (RO_METADATA_CSUM | RO_GDT_CSUM);
}

static u32 free_in(const struct ext4 *fs, u32 group)
{
	return ext4_group_count(fs, group, GD_FREE_INODES, GD_FREE_INODES_HI);
}

static u32 dirs_in(const struct ext4 *fs, u32 group)
{
	return ext4_group_count(fs, group, GD_USED_DIRS, GD_USED_DIRS_HI);
}

static int load_bitmap(struct ext4 *fs, u32 group, struct buffer **b)
{
	u8 *gd = group_desc(fs, group);
	u64 block = ext4_group_field48(fs, group, GD_INODE_BITMAP, GD_INODE_BITMAP_HI);
	bool lazy = has_lazy_groups(fs) && get16(gd + GD_FLAGS) & GROUP_INODE_UNINIT;
	int err = lazy ? ext4_buffer_new(fs, block, b) : ext4_buffer_get(fs, block, b);

	if (err)
		return err;
	if (lazy) {
		for (u32 i = fs->inodes_per_group; i < 8 * fs->block_bytes; i++)
			(*b)->data[i / 8] |= 1 << i % 8;
		put16(gd + GD_FLAGS, get16(gd + GD_FLAGS) & ~GROUP_INODE_UNINIT);
		ext4_group_set_count(fs, group, GD_UNUSED_INODES, GD_UNUSED_INODES_HI, fs->inodes_per_group);
		ext4_buffer_dirty_sum(fs, *b, SUM_INODES, group);
		(*b)->checked_for = ~0u;
	}
	if ((*b)->checked_for != ~0u && has_csum(fs) && !ext4_bitmap_csum_ok(fs, group, true, (*b)->data)) {
		ext4_buffer_put(fs, *b);
		return fail(EUCLEAN, "ext4: checksum of the inode bitmap of group %u", group);
	}
	(*b)->checked_for = ~0u;
	return 0;
}

/* ---- where ---------------------------------------------------------------------------------------------------------
 */

/* A directory of the root's: the group with the fewest directories among those not below the average of free inodes
 * and blocks, looked for from a place that moves. */
static u32 spread(struct ext4 *fs)
{
	u32 average = fs->free_inodes / fs->groups, best = 0, least = UINT32_MAX;
	u64 blocks = ext4_blocks_left(fs) / fs->groups;

	for (u32 i = 0; i < fs->groups; i++) {
		u32 g = (fs->rotor + i) % fs->groups;

		if (!free_in(fs, g) || free_in(fs, g) < average || dirs_in(fs, g) >= least ||
		    ext4_group_count(fs, g, GD_FREE_BLOCKS, GD_FREE_BLOCKS_HI) < blocks)
			continue;
		best = g;
		least = dirs_in(fs, g);
	}
	fs->rotor = best + 1;
	return best;
}

static int choose_group(struct ext4 *fs, const struct ext4_inode *dir, bool is_dir, u32 *out)
{
	u32 near = is_dir && dir->ino == EXT4_ROOT_INO ? spread(fs) : (dir->ino - 1) / fs->inodes_per_group;

	for (int pass = 0; pass < 2; pass++)
		for (u32 i = 0; i < fs->groups; i++) {
			u32 g = (near + i) % fs->groups;

			if (free_in(fs, g) &&
			    (pass || ext4_group_count(fs, g, GD_FREE_BLOCKS, GD_FREE_BLOCKS_HI) > 16)) {
				*out = g;
				return 0;
			}
		}
	return -ENOSPC;
}

/* ---- taking and giving back
 * --------------------------------------------------------------------------------------------- */

/* The first free number of the group that is nobody's by convention. */
static u32 first_free(const struct ext4 *fs, u32 group, const u8 *bits)
{
	u32 base = group * fs->inodes_per_group, from = base + 1 < fs->first_ino ? fs->first_ino - 1 - base : 0;

	for (u32 i = from; i < fs->inodes_per_group; i++) {
		if (i % 8 == 0 && bits[i / 8] == 0xff)
			i += 7;
		else if (!(bits[i / 8] >> (i % 8) & 1))
			return i;
	}
	return fs->inodes_per_group;
}

/* The record: zeroes. A block of the table that nobody has used yet may hold anything. */
static int clear_record(struct ext4 *fs, u32 group, u32 bit)
{
	u32 ino = group * fs->inodes_per_group + bit + 1, per_block = fs->block_bytes / fs->inode_bytes, offset, used;
	struct buffer *b;
	u64 block;
	int err = ext4_inode_location(fs, ino, &block, &offset);

	used = fs->inodes_per_group;
	if (has_lazy_groups(fs))
		used -= min(used, ext4_group_count(fs, group, GD_UNUSED_INODES, GD_UNUSED_INODES_HI));
	if (err)
		return err;
	err = bit / per_block * per_block >= used ? ext4_buffer_new(fs, block, &b) : ext4_buffer_get(fs, block, &b);
	if (err)
		return err;
	memset(b->data + offset, 0, fs->inode_bytes);
	if (fs->inode_bytes > IN_OLD_BYTES) {
		u32 want = get16(fs->sb + SB_WANT_EXTRA);

		put16(b->data + offset + IN_EXTRA,
		      want >= 4 && want % 4 == 0 && want <= fs->inode_bytes - IN_OLD_BYTES ? want : 28);
	}
	ext4_buffer_dirty(fs, b);
	ext4_buffer_put(fs, b);
	if (has_lazy_groups(fs) && bit >= used)
		ext4_group_set_count(fs, group, GD_UNUSED_INODES, GD_UNUSED_INODES_HI, fs->inodes_per_group - bit - 1);
	return 0;
}

static void count_inode(struct ext4 *fs, u32 group, bool is_dir, s32 n)
{
	ext4_group_set_count(fs, group, GD_FREE_INODES, GD_FREE_INODES_HI, free_in(fs, group) - n);
	if (is_dir)
		ext4_group_set_count(fs, group, GD_USED_DIRS, GD_USED_DIRS_HI, max((s32)dirs_in(fs, group) + n, 0));
	fs->free_inodes -= n;
}

int ext4_inode_alloc(struct ext4 *fs, const struct ext4_inode *dir, u16 mode, struct ext4_inode *out)
{
	bool is_dir = (mode & S_IFMT) == S_IFDIR;
	struct buffer *b;
	u32 group, bit;
	int err = choose_group(fs, dir, is_dir, &group);

	if (!err)
		err = load_bitmap(fs, group, &b);
	if (err)
		return err;
	bit = first_free(fs, group, b->data);
	if (bit >= fs->inodes_per_group)
		err = fail(EUCLEAN, "ext4: group %u has no free inode", group);
	if (!err)
		err = clear_record(fs, group, bit);
	if (!err) {
		b->data[bit / 8] |= 1 << bit % 8;
		ext4_buffer_dirty_sum(fs, b, SUM_INODES, group);
		count_inode(fs, group, is_dir, 1);
		*out = (struct ext4_inode){ .ino = group * fs->inodes_per_group + bit + 1,
					    .generation = fs->generation++,
					    .mode = mode,
					    .atime = fs->now,
					    .mtime = fs->now,
					    .ctime = fs->now,
					    .crtime = fs->now };
	}
	ext4_buffer_put(fs, b);
	return err;
}

static int put_dtime(struct ext4 *fs, u32 ino, u32 value)
{
	struct buffer *b;
	u8 *raw;
	int err = ext4_raw_inode_get(fs, ino, &b, &raw);

	if (err)
		return err;
	put32(raw + IN_DTIME, value);
	ext4_raw_inode_put_csum(fs, ino, raw);
	ext4_buffer_dirty(fs, b);
	ext4_buffer_put(fs, b);
	return 0;
}

int ext4_inode_free(struct ext4 *fs, const struct ext4_inode *in)
{
	u32 group = (in->ino - 1) / fs->inodes_per_group, bit = (in->ino - 1) % fs->inodes_per_group;
	struct buffer *b;
	int err;

	if (in->ino < fs->first_ino)
		return fail(EUCLEAN, "ext4: inode %u cannot be freed", in->ino);
	err = load_bitmap(fs, group, &b);
	if (err)
		return err;
	if (!(b->data[bit / 8] >> (bit % 8) & 1))
		err = fail(EUCLEAN, "ext4: inode %u is free already", in->ino);
	if (!err) {
		b->data[bit / 8] &= ~(1 << bit % 8);
		ext4_buffer_dirty_sum(fs, b, SUM_INODES, group);
		count_inode(fs, group, (in->mode & S_IFMT) == S_IFDIR, -1);
		err = put_dtime(fs, in->ino, max(fs->now.sec, (s64)fs->inodes + 1)); /* less is an orphan's chain */
	}
	ext4_buffer_put(fs, b);
	return err;
}

/* ---- orphans
 * --------------------------------------------------------------------------------------------------------- */

static void put_first(struct ext4 *fs)
{
	put32(fs->sb + SB_LAST_ORPHAN, fs->nr_orphans ? fs->orphans[0] : 0);
	fs->sb_dirty = true;
}

static int make_room(struct ext4 *fs)
{
	u32 room = fs->orphan_room ? 2 * fs->orphan_room : 64;
	u32 *bigger;

	if (fs->nr_orphans < fs->orphan_room)
		return 0;
	bigger = krealloc(fs->orphans, room * sizeof(*bigger), ALLOC_KERNEL);
	if (!bigger)
		return -ENOMEM;
	fs->orphans = bigger;
	fs->orphan_room = room;
	return 0;
}

static u32 find_orphan(const struct ext4 *fs, u32 ino)
{
	u32 i = 0;

	while (i < fs->nr_orphans && fs->orphans[i] != ino)
		i++;
	return i;
}

int ext4_orphan_add(struct ext4 *fs, u32 ino)
{
	int err;

	if (find_orphan(fs, ino) < fs->nr_orphans)
		return 0;
	err = make_room(fs);
	if (!err)
		err = put_dtime(fs, ino, fs->nr_orphans ? fs->orphans[0] : 0);
	if (err)
		return err;
	memmove(fs->orphans + 1, fs->orphans, fs->nr_orphans++ * sizeof(*fs->orphans));
	fs->orphans[0] = ino;
	put_first(fs);
	return 0;
}

int ext4_orphan_remove(struct ext4 *fs, u32 ino)
{
	u32 i = find_orphan(fs, ino), next;
	int err;

	if (i == fs->nr_orphans)
		return 0;
	next = i + 1 < fs->nr_orphans ? fs->orphans[i + 1] : 0;
	err = i ? put_dtime(fs, fs->orphans[i - 1], next) : 0;
	if (!err)
		err = put_dtime(fs, ino, 0);
	if (err)
		return err;
	memmove(fs->orphans + i, fs->orphans + i + 1, (--fs->nr_orphans - i) * sizeof(*fs->orphans));
	put_first(fs);
	return 0;
}

/* The chain as it is on the device; it may lie. */
int ext4_orphans_load(struct ext4 *fs)
{
	u32 ino = get32(fs->sb + SB_LAST_ORPHAN);

	while (ino) {
		struct buffer *b;
		u8 *raw;
		int err;

		if (ino < fs->first_ino || ino > fs->inodes || find_orphan(fs, ino) < fs->nr_orphans)
			return fail(EUCLEAN, "ext4: the chain of orphans at inode %u", ino);
		err = make_room(fs);
		if (!err)
			err = ext4_raw_inode_get(fs, ino, &b, &raw);
		if (err)
			return err;
		fs->orphans[fs->nr_orphans++] = ino;
		ino = get32(raw + IN_DTIME);
		ext4_buffer_put(fs, b);
	}
	return 0;
}
