/* SPDX-License-Identifier: MIT
 *
 * Problem: an inode's fields are spread over 128 old and up to 128 new bytes in halves that came one by one.
 *
 * Idea: one function from the raw record to struct ext4_inode, all halves joined, and one for the bytes of a file above
 * the mapping.
 *
 *      inode n: group (n-1)/per_group, place (n-1)%per_group in its table
 *      times: seconds are 32 bits signed, two more bits and the nanoseconds in the extra word
 *
 * Contract: fs/ext4/ext4.h. Locks: the file system's.
 */
#include <lib/string.h>
#include "ext4_priv.h"

#define S_IFMT  0170000
#define S_IFREG 0100000
#define S_IFLNK 0120000
#define S_IFCHR 0020000
#define S_IFBLK 0060000

int ext4_inode_location(const struct ext4 *fs, u32 ino, u64 *block, u32 *offset)
{
	u32 group = (ino - 1) / fs->inodes_per_group, place = (ino - 1) % fs->inodes_per_group;
	u64 at = (u64)place * fs->inode_bytes;

	if (!ino || ino > fs->inodes)
		return fail(EUCLEAN, "ext4: inode number %u", ino);
	*block = ext4_group_field48(fs, group, GD_INODE_TABLE, GD_INODE_TABLE_HI) + at / fs->block_bytes;
	*offset = at % fs->block_bytes;
	return 0;
}

int ext4_raw_inode_get(struct ext4 *fs, u32 ino, struct buffer **b, u8 **raw)
{
	u32 offset;
	u64 block;
	int err = ext4_inode_location(fs, ino, &block, &offset);

	if (!err)
		err = ext4_buffer_get(fs, block, b);
	if (!err)
		*raw = (*b)->data + offset;
	return err;
}

static struct ext4_time get_time(const struct ext4 *fs, const u8 *raw, unsigned at, unsigned extra_at)
{
	struct ext4_time t = { .sec = (s32)get32(raw + at) };

	if (fs->inode_bytes > IN_OLD_BYTES && IN_OLD_BYTES + get16(raw + IN_EXTRA) >= extra_at + 4) {
		u32 extra = get32(raw + extra_at);

		t.sec += (s64)(extra & 3) << 32;
		t.nsec = extra >> 2;
	}
	return t;
}

/* Device numbers: the old 8:8 in the first word, or the newer form in the second. */
static u32 get_rdev(const struct ext4_inode *in)
{
	u32 old = get32(in->raw_block);

	if (old)
		return (old >> 8 & 0xff) << 8 | (old & 0xff);
	return get32(in->raw_block + 4);
}

static void decode(const struct ext4 *fs, u32 ino, const u8 *raw, struct ext4_inode *out)
{
	u32 at;

	*out = (struct ext4_inode){ .ino = ino,
				    .generation = get32(raw + IN_GENERATION),
				    .mode = get16(raw + IN_MODE),
				    .links = get16(raw + IN_LINKS),
				    .uid = get16(raw + IN_UID) | (u32)get16(raw + IN_UID_HI) << 16,
				    .gid = get16(raw + IN_GID) | (u32)get16(raw + IN_GID_HI) << 16,
				    .flags = get32(raw + IN_FLAGS),
				    .size = get32(raw + IN_SIZE) | (u64)get32(raw + IN_SIZE_HI) << 32,
				    .sectors = get32(raw + IN_BLOCKS) };
	out->acl_block = get32(raw + IN_ACL) | (u64)get16(raw + IN_ACL_HI) << 32;
	if (fs->ro_compat & RO_HUGE_FILE) {
		out->sectors |= (u64)get16(raw + IN_BLOCKS_HI) << 32;
		if (out->flags & INODE_HUGE)
			out->sectors *= fs->block_bytes / 512;
	}
	memcpy(out->raw_block, raw + IN_BLOCK, sizeof(out->raw_block));
	out->atime = get_time(fs, raw, IN_ATIME, IN_ATIME_EXTRA);
	out->mtime = get_time(fs, raw, IN_MTIME, IN_MTIME_EXTRA);
	out->ctime = get_time(fs, raw, IN_CTIME, IN_CTIME_EXTRA);
	if (fs->inode_bytes > IN_OLD_BYTES && IN_OLD_BYTES + get16(raw + IN_EXTRA) >= IN_CRTIME_EXTRA + 4)
		out->crtime = get_time(fs, raw, IN_CRTIME, IN_CRTIME_EXTRA);
	at = IN_OLD_BYTES + (fs->inode_bytes > IN_OLD_BYTES ? get16(raw + IN_EXTRA) : 0);
	out->has_xattrs = out->acl_block || (at + 4 <= fs->inode_bytes && get32(raw + at) == XATTR_MAGIC);
	if ((out->mode & S_IFMT) == S_IFCHR || (out->mode & S_IFMT) == S_IFBLK)
		out->rdev = get_rdev(out);
}

int ext4_iget(struct ext4 *fs, u32 ino, struct ext4_inode *out)
{
	struct buffer *b;
	u8 *raw;
	int err = ext4_raw_inode_get(fs, ino, &b, &raw);

	if (err)
		return err;
	if (fs->inode_bytes > IN_OLD_BYTES && get16(raw + IN_EXTRA) > fs->inode_bytes - IN_OLD_BYTES)
		err = fail(EUCLEAN, "ext4: inode %u is longer than its place", ino);
	else if (has_csum(fs) && !ext4_raw_inode_csum_ok(fs, ino, raw))
		err = fail(EUCLEAN, "ext4: checksum of inode %u", ino);
	else
		decode(fs, ino, raw, out);
	ext4_buffer_put(fs, b);
	if (!err && out->size > INT64_MAX)
		err = fail(EUCLEAN, "ext4: size of inode %u", ino);
	return err;
}

/* ---- the bytes of a file ------------------------------------------------------------------------------------ */

/* Inline data: up to 60 bytes in i_block, the rest as an attribute behind the inode. */
static ssize_t read_inline(struct ext4 *fs, const struct ext4_inode *in, u64 offset, u8 *buf, size_t n)
{
	u8 rest[1024];
	ssize_t have = in->size > sizeof(in->raw_block) ? ext4_xattr_inline_data(fs, in->ino, rest, sizeof(rest)) : 0;
	size_t done = 0;

	if (have < 0)
		return have;
	for (; done < n && offset + done < in->size; done++) {
		u64 at = offset + done, behind = at - sizeof(in->raw_block);

		if (at < sizeof(in->raw_block))
			buf[done] = in->raw_block[at];
		else
			buf[done] = behind < (u64)have ? rest[behind] : 0; /* a hole: mke2fs leaves such files */
	}
	return done;
}

static int read_extent(struct ext4 *fs, const struct ext4_extent *e, u32 within, u8 *buf, size_t n)
{
	if (!e->physical || e->unwritten) {
		memset(buf, 0, n);
		return 0;
	}
	return fs->dev.read(fs->dev.ctx, e->physical * fs->block_bytes + within, buf, n);
}

ssize_t ext4_read(struct ext4 *fs, const struct ext4_inode *in, u64 offset, void *buf, size_t n)
{
	size_t done = 0;

	if (offset >= in->size)
		return 0;
	n = min((u64)n, in->size - offset);
	if (in->flags & INODE_INLINE)
		return read_inline(fs, in, offset, buf, n);
	while (done < n) {
		u64 at = offset + done;
		u32 within = at % fs->block_bytes;
		struct ext4_extent e;
		size_t part;
		int err;

		if (at / fs->block_bytes > UINT32_MAX)
			return fail(EUCLEAN, "ext4: inode %u is too large", in->ino);
		err = ext4_map(fs, in, at / fs->block_bytes, &e);
		if (err)
			return err;
		part = min((u64)(n - done), (u64)e.count * fs->block_bytes - within);
		err = read_extent(fs, &e, within, (u8 *)buf + done, part);
		if (err)
			return err;
		done += part;
	}
	return done;
}

ssize_t ext4_readlink(struct ext4 *fs, const struct ext4_inode *in, char *buf, size_t n)
{
	u64 xattr_sectors = in->acl_block ? fs->block_bytes / 512 : 0;

	if ((in->mode & S_IFMT) != S_IFLNK)
		return -EINVAL;
	if (in->size >= PAGE_SIZE || !in->size)
		return fail(EUCLEAN, "ext4: symbolic link %u of %llu bytes", in->ino, (unsigned long long)in->size);
	/* A short target lies in i_block: no blocks are in use but for attributes. */
	if (!(in->flags & (INODE_EXTENTS | INODE_INLINE)) && in->size < sizeof(in->raw_block) &&
	    in->sectors == xattr_sectors) {
		n = min((u64)n, in->size);
		memcpy(buf, in->raw_block, n);
		return n;
	}
	return ext4_read(fs, in, 0, buf, n);
}
