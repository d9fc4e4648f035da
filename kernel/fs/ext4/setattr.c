/* SPDX-License-Identifier: MIT
 *
 * Problem: an inode's halves and extra words must be written so that every reader, old or new, sees the same.
 *
 * Idea: the inverse of inode.c's decoding, field by field, then the checksum over the whole record. Times beyond what
 * the record can hold become the nearest that it can.
 *
 *      sec = 32 bits signed + two epoch bits << 32      extra word = nanoseconds << 2 | epoch
 *
 * Contract: ext4_setattr of fs/ext4/ext4.h. The change is part of the next ext4_sync.
 *
 * Locks: the file system's.
 */
#include "ext4_priv.h"

#define S_IFMT 0170000

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

static void encode(const struct ext4 *fs, u8 *raw, const struct ext4_attr *a)
{
	if (a->mask & EXT4_ATTR_MODE)
		put16(raw + IN_MODE, (get16(raw + IN_MODE) & S_IFMT) | (a->mode & ~S_IFMT));
	if (a->mask & EXT4_ATTR_UID) {
		put16(raw + IN_UID, a->uid);
		put16(raw + IN_UID_HI, a->uid >> 16);
	}
	if (a->mask & EXT4_ATTR_GID) {
		put16(raw + IN_GID, a->gid);
		put16(raw + IN_GID_HI, a->gid >> 16);
	}
	if (a->mask & EXT4_ATTR_ATIME)
		put_time(fs, raw, IN_ATIME, IN_ATIME_EXTRA, a->atime);
	if (a->mask & EXT4_ATTR_MTIME)
		put_time(fs, raw, IN_MTIME, IN_MTIME_EXTRA, a->mtime);
	if (a->mask & EXT4_ATTR_CTIME)
		put_time(fs, raw, IN_CTIME, IN_CTIME_EXTRA, a->ctime);
}

int ext4_setattr(struct ext4 *fs, u32 ino, const struct ext4_attr *a)
{
	struct ext4_inode in;
	struct buffer *b;
	u32 csum;
	u8 *raw;
	int err;

	if (fs->read_only)
		return -EROFS;
	if (fs->error)
		return fs->error;
	err = ext4_iget(fs, ino, &in); /* checks the record */
	if (!err)
		err = ext4_raw_inode_get(fs, ino, &b, &raw);
	if (err)
		return err;
	encode(fs, raw, a);
	if (has_csum(fs)) {
		csum = ext4_raw_inode_csum(fs, ino, raw);
		put16(raw + IN_CSUM, csum);
		if (has_extra(fs, raw, IN_EXTRA))
			put16(raw + IN_CSUM_HI, csum >> 16);
	}
	ext4_buffer_dirty(fs, b);
	ext4_buffer_put(fs, b);
	return 0;
}
