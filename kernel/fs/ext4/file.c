/* SPDX-License-Identifier: MIT
 *
 * Problem: files get and lose blocks while the power may go: none may be lost, none may have two owners, and a long
 * truncation is more than one transaction holds.
 *
 * Idea: whatever takes long is done in steps that each leave a valid file; the inode is an orphan meanwhile, so that
 * the next mount goes on where it ended. Runs are taken beside the block before. Blocks that are to be read by nobody
 * yet are unwritten; a write makes them written in the same transaction, whose commit waits for the data.
 *
 * Contract: fs/ext4/ext4.h. The last blocks are kept for trees and directories, so that a step does not end in its
 * middle for lack of room.
 *
 * Locks: the file system's.
 */
#include <alloc/slab.h>
#include <lib/string.h>
#include "ext4_priv.h"

#define S_IFMT  0170000
#define S_IFREG 0100000
#define S_IFDIR 0040000
#define S_IFLNK 0120000

#define BLOCKS_END     (1ULL << 32)
#define RUNS_A_STEP    8
#define KEPT_BLOCKS    16
#define PREPARED_BLOCK 32767

static bool has_extents(const struct ext4_inode *in)
{
	return in->flags & INODE_EXTENTS;
}

/* Does i_block lead to blocks? */
static bool has_blocks(const struct ext4 *fs, const struct ext4_inode *in)
{
	u64 xattr_sectors = in->acl_block ? fs->block_bytes / 512 : 0;

	if (in->flags & INODE_INLINE)
		return false;
	switch (in->mode & S_IFMT) {
	case S_IFREG:
	case S_IFDIR: return true;
	case S_IFLNK: return has_extents(in) || in->sectors != xattr_sectors;
	}
	return false;
}

/* Beside the block before, else in the inode's group. */
u64 ext4_goal(struct ext4 *fs, const struct ext4_inode *in, u32 lblock)
{
	struct ext4_extent e;

	if (lblock && !(in->flags & INODE_INLINE) && !ext4_map(fs, in, lblock - 1, &e) && e.physical)
		return e.physical + 1;
	return group_start(fs, (in->ino - 1) / fs->inodes_per_group);
}

/* ---- taking
 * ------------------------------------------------------------------------------------------------------------ */

/* Puts up to *count blocks into a hole; fewer if that is how they come. */
static int fill_hole(struct ext4 *fs, struct ext4_inode *in, u32 lblock, u32 *count, bool unwritten, u64 *physical)
{
	u32 got, want = min(*count, (u32)PREPARED_BLOCK);
	int err = 0;

	if (ext4_blocks_left(fs) <= min((u64)KEPT_BLOCKS, fs->blocks / 64))
		return -ENOSPC;
	if (!has_extents(in))
		err = ext4_indirect_prepare(fs, in, lblock, &want);
	if (!err)
		err = ext4_blocks_alloc(fs, ext4_goal(fs, in, lblock), want, physical, &got);
	if (err)
		return err;
	if (has_extents(in))
		err = ext4_extent_insert(fs, in, lblock, got, *physical, unwritten);
	else
		err = ext4_indirect_insert(fs, in, lblock, got, *physical);
	if (err) {
		(void)!ext4_blocks_free(fs, *physical, got, false);
		return err;
	}
	in->sectors += (u64)got * (fs->block_bytes / 512);
	*count = got;
	return 0;
}

int ext4_block_add(struct ext4 *fs, struct ext4_inode *in, u32 lblock, u64 *physical)
{
	u32 one = 1;

	return fill_hole(fs, in, lblock, &one, false, physical);
}

static int map_write(struct ext4 *fs, struct ext4_inode *in, u32 lblock, u32 count, u64 size, struct ext4_extent *out)
{
	bool changed = size > in->size;
	int err = ext4_map(fs, in, lblock, out);

	if (err)
		return err;
	out->count = min(out->count, count);
	if (out->physical && ext4_in_zones(fs, out->physical, out->count))
		return fail(EUCLEAN, "ext4: inode %u lies over the file system's own blocks", in->ino);
	if (!out->physical) {
		err = fill_hole(fs, in, lblock, &out->count, false, &out->physical);
		changed = true;
	} else if (out->unwritten) {
		err = ext4_extent_written(fs, in, lblock, out->count);
		changed = true;
	}
	out->unwritten = false;
	in->size = max(in->size, err ? 0 : size);
	return err || !changed ? err : ext4_store(fs, in);
}

int ext4_map_write(struct ext4 *fs, struct ext4_inode *in, u32 lblock, u32 count, u64 size, struct ext4_extent *out)
{
	int err = ext4_step_begin(fs);

	return err ? err : ext4_step_end(fs, map_write(fs, in, lblock, count, size, out));
}

static int allocate_run(struct ext4 *fs, struct ext4_inode *in, u32 lblock, u32 *count)
{
	struct ext4_extent e;
	u64 physical;
	int err = ext4_map(fs, in, lblock, &e);

	*count = min(*count, e.count);
	if (err || e.physical)
		return err;
	err = fill_hole(fs, in, lblock, count, true, &physical);
	return err ? err : ext4_store(fs, in);
}

int ext4_allocate(struct ext4 *fs, struct ext4_inode *in, u32 lblock, u32 count, u64 size)
{
	int err = has_extents(in) ? 0 : -EOPNOTSUPP;

	while (count && !err) {
		u32 n = count;

		err = ext4_step_begin(fs);
		if (!err)
			err = ext4_step_end(fs, allocate_run(fs, in, lblock, &n));
		lblock += n;
		count -= n;
	}
	if (!err && size > in->size) {
		err = ext4_step_begin(fs);
		in->size = err ? in->size : size;
		if (!err)
			err = ext4_step_end(fs, ext4_store(fs, in));
	}
	return err;
}

/* ---- giving back
 * -------------------------------------------------------------------------------------------------------- */

static int remove_runs(struct ext4 *fs, struct ext4_inode *in, u32 from, u64 to)
{
	int ret = 1;

	for (int i = 0; i < RUNS_A_STEP && ret == 1; i++)
		ret = has_extents(in) ? ext4_extent_remove(fs, in, from, to) : ext4_indirect_remove(fs, in, from, to);
	if (ret >= 0) {
		int err = ext4_store(fs, in);

		ret = err ? err : ret;
	}
	return ret;
}

int ext4_blocks_remove(struct ext4 *fs, struct ext4_inode *in, u32 from, u64 to)
{
	int ret = has_blocks(fs, in);

	while (ret == 1) {
		ret = ext4_step_begin(fs);
		if (!ret)
			ret = ext4_step_end(fs, remove_runs(fs, in, from, to));
	}
	return ret;
}

int ext4_punch(struct ext4 *fs, struct ext4_inode *in, u32 from, u64 to)
{
	return ext4_blocks_remove(fs, in, from, min(to, BLOCKS_END));
}

static int set_size(struct ext4 *fs, struct ext4_inode *in, u64 size, bool shrinks)
{
	int err = 0;

	in->size = size;
	if (shrinks && in->links)
		err = ext4_orphan_add(fs, in->ino);
	return err ? err : ext4_store(fs, in);
}

int ext4_truncate(struct ext4 *fs, struct ext4_inode *in, u64 size)
{
	bool shrinks = size < in->size && in->sectors;
	int err = in->flags & INODE_INLINE ? ext4_leave_inline(fs, in) : 0;

	if (!err)
		err = ext4_step_begin(fs);
	if (!err)
		err = ext4_step_end(fs, set_size(fs, in, size, shrinks));
	/* also what fallocate put behind the end */
	if (!err && in->sectors)
		err = ext4_blocks_remove(fs, in, DIV_ROUND_UP(size, fs->block_bytes), BLOCKS_END);
	if (err || !shrinks || !in->links)
		return err;
	err = ext4_step_begin(fs);
	return err ? err : ext4_step_end(fs, ext4_orphan_remove(fs, in->ino));
}

static int free_inode(struct ext4 *fs, struct ext4_inode *in)
{
	int err = ext4_xattr_drop_block(fs, in);

	in->size = 0;
	in->sectors = 0;
	if (!err)
		err = ext4_store(fs, in);
	if (!err)
		err = ext4_orphan_remove(fs, in->ino);
	return err ? err : ext4_inode_free(fs, in);
}

int ext4_delete(struct ext4 *fs, struct ext4_inode *in)
{
	int err = ext4_blocks_remove(fs, in, 0, BLOCKS_END);

	if (!err)
		err = ext4_step_begin(fs);
	return err ? err : ext4_step_end(fs, free_inode(fs, in));
}

/* What the last mount did not end: inodes without names go, others end where they say. */
int ext4_orphans_clean(struct ext4 *fs)
{
	int err = 0;

	while (fs->nr_orphans && !err) {
		struct ext4_inode in;

		err = ext4_iget(fs, fs->orphans[0], &in);
		if (!err && in.links) {
			err = ext4_blocks_remove(fs, &in, DIV_ROUND_UP(in.size, fs->block_bytes), BLOCKS_END);
			if (!err)
				err = ext4_step_begin(fs);
			if (!err)
				err = ext4_step_end(fs, ext4_orphan_remove(fs, in.ino));
		} else if (!err) {
			err = ext4_delete(fs, &in);
		}
	}
	return err;
}

/* ---- bytes
 * ------------------------------------------------------------------------------------------------------------ */

/* A part of one block; what was not there before is zeroes around it. */
static int write_part(struct ext4 *fs, struct ext4_inode *in, u64 at, const u8 *buf, u32 n, u8 *block)
{
	u32 lblock = at / fs->block_bytes, within = at % fs->block_bytes;
	struct ext4_extent before, e;
	int err = ext4_map(fs, in, lblock, &before);

	if (!err)
		err = ext4_map_write(fs, in, lblock, 1, at + n, &e);
	if (err)
		return err;
	memset(block, 0, fs->block_bytes);
	if (n < fs->block_bytes && before.physical && !before.unwritten)
		err = fs->dev.read(fs->dev.ctx, e.physical * fs->block_bytes, block, fs->block_bytes);
	memcpy(block + within, buf, n);
	return err ? err : fs->dev.write(fs->dev.ctx, e.physical * fs->block_bytes, block, fs->block_bytes);
}

ssize_t ext4_write(struct ext4 *fs, struct ext4_inode *in, u64 offset, const void *buf, size_t n)
{
	u8 *block = kmalloc(fs->block_bytes, ALLOC_KERNEL);
	size_t done = 0;
	int err = block ? 0 : -ENOMEM;

	if (!err && in->flags & INODE_INLINE)
		err = ext4_leave_inline(fs, in);
	while (done < n && !err) {
		u32 part = min((u64)(n - done), fs->block_bytes - (offset + done) % fs->block_bytes);

		if ((offset + done) / fs->block_bytes >= UINT32_MAX)
			err = -EFBIG;
		else
			err = write_part(fs, in, offset + done, (const u8 *)buf + done, part, block);
		done += err ? 0 : part;
	}
	kfree(block);
	return done ? (ssize_t)done : err;
}
