/* SPDX-License-Identifier: MIT
 *
 * Problem: an inode's halves and extra words must be written so that every reader, old or new, sees the same.
 *
 * Idea: the inverse of inode.c's decoding, field by field, then the checksum over the whole record. Times beyond what
 * the record can hold become the nearest that it can. The time of deletion, which also chains orphans, is ialloc.c's.
 *
 *      sec = 32 bits signed + two epoch bits << 32      extra word = nanoseconds << 2 | epoch
 *
 * Contract: ext4_store of fs/ext4/ext4.h. The change is part of the next ext4_sync.
 *
 * Locks: the file system's.
 */
#include <lib/string.h>
#include "ext4_priv.h"

static bool has_extra(const struct ext4 *fs, const u8 *raw, unsigned at)
{
	return fs->inode_bytes > IN_OLD_BYTES && IN_OLD_BYTES + get16(raw + IN_EXTRA) >= at + 4;
}

static void put_time(const struct ext4 *fs, u8 *raw, unsigned at, unsigned extra_at, struct ext4_time t)
{
	bool extra = has_extra(fs, raw, extra_at);
	s64 top = extra ? INT32_MAX + (3LL << 32) : INT32_MAX, sec = clamp(t.sec, (s64)INT32_MIN, top);

	put32(raw + at, sec);
	if (extra)
		put32(raw + extra_at, t.nsec << 2 | ((u64)(sec - (s32)sec) >> 32 & 3));
}

static void put_sectors(const struct ext4 *fs, u8 *raw, struct ext4_inode *in)
{
	u64 n = in->sectors;

	in->flags &= ~INODE_HUGE;
	if (n > UINT32_MAX && n >> 48) { /* then blocks are counted */
		in->flags |= INODE_HUGE;
		n /= fs->block_bytes / 512;
	}
	put32(raw + IN_BLOCKS, n);
	if (fs->ro_compat & RO_HUGE_FILE)
		put16(raw + IN_BLOCKS_HI, n >> 32);
}

static void encode(const struct ext4 *fs, u8 *raw, struct ext4_inode *in)
{
	put16(raw + IN_MODE, in->mode);
	put16(raw + IN_LINKS, in->links);
	put16(raw + IN_UID, in->uid);
	put16(raw + IN_UID_HI, in->uid >> 16);
	put16(raw + IN_GID, in->gid);
	put16(raw + IN_GID_HI, in->gid >> 16);
	put32(raw + IN_SIZE, in->size);
	put32(raw + IN_SIZE_HI, in->size >> 32);
	put_sectors(fs, raw, in);
	put32(raw + IN_FLAGS, in->flags);
	put32(raw + IN_GENERATION, in->generation);
	put32(raw + IN_ACL, in->acl_block);
	put16(raw + IN_ACL_HI, in->acl_block >> 32);
	memcpy(raw + IN_BLOCK, in->raw_block, sizeof(in->raw_block));
	put_time(fs, raw, IN_ATIME, IN_ATIME_EXTRA, in->atime);
	put_time(fs, raw, IN_MTIME, IN_MTIME_EXTRA, in->mtime);
	put_time(fs, raw, IN_CTIME, IN_CTIME_EXTRA, in->ctime);
	if (has_extra(fs, raw, IN_CRTIME_EXTRA))
		put_time(fs, raw, IN_CRTIME, IN_CRTIME_EXTRA, in->crtime);
}

int ext4_store(struct ext4 *fs, struct ext4_inode *in)
{
	struct buffer *b;
	u8 *raw;
	int err;

	if (fs->read_only)
		return -EROFS;
	if (fs->error)
		return fs->error;
	err = ext4_raw_inode_get(fs, in->ino, &b, &raw);
	if (err)
		return err;
	if (fs->inode_bytes > IN_OLD_BYTES && get16(raw + IN_EXTRA) > fs->inode_bytes - IN_OLD_BYTES)
		err = fail(EUCLEAN, "ext4: inode %u is longer than its place", in->ino);
	if (!err) {
		if (in->size > INT32_MAX && !(fs->ro_compat & RO_LARGE_FILE)) {
			fs->ro_compat |= RO_LARGE_FILE;
			put32(fs->sb + SB_RO_COMPAT, fs->ro_compat);
			fs->sb_dirty = true;
		}
		encode(fs, raw, in);
		ext4_raw_inode_put_csum(fs, in->ino, raw);
		ext4_buffer_dirty(fs, b);
		in->tid = fs->tid;
	}
	ext4_buffer_put(fs, b);
	return err;
}

/* Device numbers: the old form where it can, else Linux's new encoding in the second word. */
void ext4_put_rdev(struct ext4_inode *in, u32 rdev)
{
	u32 major = rdev >> 8 & 0xfff, minor = (rdev & 0xff) | (rdev >> 12 & 0xfff00);

	in->rdev = rdev;
	if (major < 256 && minor < 256)
		put32(in->raw_block, major << 8 | minor);
	else
		put32(in->raw_block + 4, rdev);
}

void ext4_set_time(struct ext4 *fs, struct ext4_time now)
{
	fs->now = now;
}
