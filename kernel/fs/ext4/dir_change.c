/* SPDX-License-Identifier: MIT
 *
 * Problem: names come and go in blocks that are chains of entries, while listings go on over byte positions.
 *
 * Idea: a new name goes into the slack behind another one or into a free entry; a removed one becomes slack of the one
 * before it. Nothing else moves, so that a listing in progress neither misses nor repeats what was there all the time.
 * Blocks that were inside the inode (inline) become real ones at the first change. Without an index every block is
 * looked through for room, then one is added.
 *
 *      entry   inode, rec_len, name_len, type, name     slack = rec_len - (8 + name_len, in fours)
 *
 * Contract: ext4_priv.h; the directory's inode is stored by these functions. The index: dx_change.c.
 *
 * Locks: the file system's.
 */
#include <alloc/slab.h>
#include <lib/string.h>
#include "dir_change.h"

#define S_IFMT 0170000

static u8 type_of(const struct ext4 *fs, u16 mode)
{
	static const u8 types[16] = { [1] = 5, [2] = 3, [4] = 2, [6] = 4, [8] = 1, [10] = 7, [12] = 6 };

	return fs->incompat & INCOMPAT_FILETYPE ? types[mode >> 12] : 0;
}

void ext4_dir_put_rec_len(const struct ext4 *fs, u8 *e, u32 len)
{
	put16(e + DE_REC_LEN, len == 65536 ? 65535 : len);
}

void ext4_dir_put_entry(const struct ext4 *fs, u8 *e, const char *name, size_t len, u32 ino, u8 type)
{
	put32(e, ino);
	e[DE_NAME_LEN] = len;
	e[DE_TYPE] = type;
	memcpy(e + DE_NAME, name, len);
}

u32 ext4_dir_room(const struct ext4 *fs)
{
	return fs->block_bytes - (has_csum(fs) ? DE_TAIL_BYTES : 0);
}

/* The false entry that holds the checksum. */
void ext4_dir_put_tail(const struct ext4 *fs, u8 *data)
{
	u8 *tail = data + fs->block_bytes - DE_TAIL_BYTES;

	if (!has_csum(fs))
		return;
	memset(tail, 0, DE_TAIL_BYTES);
	put16(tail + DE_REC_LEN, DE_TAIL_BYTES);
	tail[DE_TYPE] = DE_TAIL_TYPE;
}

void ext4_dir_dirty(struct ext4 *fs, const struct ext4_inode *dir, struct buffer *b, enum sum sum)
{
	b->checked_for = dir->ino;
	ext4_buffer_dirty_sum(fs, b, sum, ext4_inode_seed(fs, dir->ino, dir->generation));
}

int ext4_dir_append(struct ext4 *fs, struct ext4_inode *dir, struct buffer **b, u32 *lblock)
{
	u64 physical;
	int err;

	*lblock = dir->size / fs->block_bytes;
	if (dir->size / fs->block_bytes >= 1u << 27)
		return -ENOSPC;
	err = ext4_block_add(fs, dir, *lblock, &physical);
	if (!err)
		err = ext4_buffer_new(fs, physical, b);
	if (err)
		return err;
	dir->size += fs->block_bytes;
	return 0;
}

/* ---- one block
 * ------------------------------------------------------------------------------------------------------- */

/* 0, -ENOSPC: no room here. */
int ext4_dir_put(struct ext4 *fs, const struct ext4_inode *dir, struct buffer *b, const char *name, size_t len, u32 ino,
		 u8 type)
{
	u32 need = dir_entry_bytes(len), room = ext4_dir_room(fs);

	for (u32 at = 0; at < room;) {
		u8 *e = b->data + at;
		u32 rec, used;

		if (!ext4_dir_entry_ok(fs, e, room - at))
			return fail(EUCLEAN, "ext4: directory entry at offset %u", at);
		rec = ext4_dir_rec_len(fs, e);
		used = get32(e) ? dir_entry_bytes(e[DE_NAME_LEN]) : 0;
		if (rec >= used + need) {
			if (used) {
				ext4_dir_put_rec_len(fs, e, used);
				e += used;
				ext4_dir_put_rec_len(fs, e, rec - used);
			}
			ext4_dir_put_entry(fs, e, name, len, ino, type);
			ext4_dir_dirty(fs, dir, b, SUM_DIR);
			return 0;
		}
		at += rec;
	}
	return -ENOSPC;
}

void ext4_dir_cut(const struct ext4 *fs, u8 *data, u32 offset)
{
	u32 before = 0, at = 0;

	while (at < offset) {
		before = at;
		at += ext4_dir_rec_len(fs, data + at);
	}
	if (offset)
		ext4_dir_put_rec_len(fs, data + before,
				     ext4_dir_rec_len(fs, data + before) + ext4_dir_rec_len(fs, data + offset));
	else
		put32(data, 0);
}

/* ---- from inline to blocks ------------------------------------------------------------------------------------------
 */

static void put_dots(const struct ext4 *fs, u8 *data, u32 self, u32 parent)
{
	u8 type = fs->incompat & INCOMPAT_FILETYPE ? 2 : 0;

	ext4_dir_put_entry(fs, data, ".", 1, self, type);
	ext4_dir_put_rec_len(fs, data, 12);
	ext4_dir_put_entry(fs, data + 12, "..", 2, parent, type);
	ext4_dir_put_rec_len(fs, data + 12, ext4_dir_room(fs) - 12);
	ext4_dir_put_tail(fs, data);
}

int ext4_dir_init(struct ext4 *fs, struct ext4_inode *dir, u32 parent)
{
	struct buffer *b;
	u32 lblock;
	int err = ext4_dir_append(fs, dir, &b, &lblock);

	if (err)
		return err;
	put_dots(fs, b->data, dir->ino, parent);
	ext4_dir_dirty(fs, dir, b, SUM_DIR);
	ext4_buffer_put(fs, b);
	return 0;
}

static int copy_names(struct ext4 *fs, struct ext4_inode *dir, struct buffer *b, const u8 *chain, size_t n)
{
	int err = 0;

	for (size_t at = 0; at < n && !err; at += ext4_dir_rec_len(fs, chain + at)) {
		const u8 *e = chain + at;

		if (!ext4_dir_entry_ok(fs, e, n - at))
			return fail(EUCLEAN, "ext4: inline directory %u", dir->ino);
		if (get32(e) && e[DE_NAME_LEN])
			err = ext4_dir_put(fs, dir, b, (const char *)e + DE_NAME, e[DE_NAME_LEN], get32(e), e[DE_TYPE]);
	}
	return err;
}

static int leave_inline(struct ext4 *fs, struct ext4_inode *dir)
{
	size_t n, first = sizeof(dir->raw_block);
	struct buffer *b;
	u8 *bytes;
	u32 lblock;
	int err = ext4_dir_load_inline(fs, dir, &bytes, &n);

	if (err)
		return err;
	first = min(n, first);
	err = ext4_xattr_drop_inline(fs, dir);
	if (!err) {
		dir->flags &= ~INODE_INLINE;
		dir->size = 0;
		ext4_extent_init(dir);
		err = ext4_dir_append(fs, dir, &b, &lblock);
	}
	if (!err) {
		put_dots(fs, b->data, dir->ino, get32(bytes));
		err = copy_names(fs, dir, b, bytes + 4, first - 4);
		if (!err)
			err = copy_names(fs, dir, b, bytes + first, n - first);
		ext4_dir_dirty(fs, dir, b, SUM_DIR);
		ext4_buffer_put(fs, b);
	}
	kfree(bytes);
	return err == -ENOSPC ? fail(EUCLEAN, "ext4: inline directory %u is too full", dir->ino) : err;
}

/* ---- names
 * ------------------------------------------------------------------------------------------------------------ */

static int add_linear(struct ext4 *fs, struct ext4_inode *dir, const char *name, size_t len, u32 ino, u8 type)
{
	u32 n = ext4_dir_blocks(fs, dir), skip, lblock;
	struct buffer *b;
	int err = -ENOSPC;

	for (u64 i = 0; i < n && err == -ENOSPC; i += skip) {
		err = ext4_dir_block_get(fs, dir, i, &b, &skip);
		if (err)
			return err;
		err = b ? ext4_dir_put(fs, dir, b, name, len, ino, type) : -ENOSPC;
		if (b)
			ext4_buffer_put(fs, b);
	}
	if (err != -ENOSPC)
		return err;
	if (n == 1 && fs->compat & COMPAT_DIR_INDEX) {
		err = ext4_dx_make(fs, dir);
		return err ? err : ext4_dx_add(fs, dir, name, len, ino, type);
	}
	err = ext4_dir_append(fs, dir, &b, &lblock);
	if (err)
		return err;
	ext4_dir_put_rec_len(fs, b->data, ext4_dir_room(fs));
	ext4_dir_put_tail(fs, b->data);
	err = ext4_dir_put(fs, dir, b, name, len, ino, type);
	ext4_buffer_put(fs, b);
	return err;
}

int ext4_dir_add(struct ext4 *fs, struct ext4_inode *dir, const char *name, size_t len, u32 ino, u16 mode)
{
	u8 type = type_of(fs, mode);
	int err = 0;

	if (!len || len > EXT4_NAME_MAX)
		return -ENAMETOOLONG;
	if (dir->flags & INODE_INLINE)
		err = leave_inline(fs, dir);
	if (err)
		return err;
	err = -ENOENT;
	if (dir->flags & INODE_INDEX)
		err = ext4_dx_add(fs, dir, name, len, ino, type);
	if (err == -ENOENT) { /* an index that cannot be used is none */
		dir->flags &= ~INODE_INDEX;
		err = add_linear(fs, dir, name, len, ino, type);
	}
	dir->mtime = dir->ctime = fs->now;
	return err ? err : ext4_store(fs, dir);
}

static int find(struct ext4 *fs, struct ext4_inode *dir, const char *name, size_t len, struct buffer **b,
		struct dir_slot *slot)
{
	int err = dir->flags & INODE_INLINE ? leave_inline(fs, dir) : 0;

	if (!err)
		err = ext4_dir_find(fs, dir, name, len, slot);
	if (!err)
		err = ext4_dir_block_get(fs, dir, slot->lblock, b, NULL);
	if (!err && !*b)
		err = -EUCLEAN;
	return err;
}

int ext4_dir_remove(struct ext4 *fs, struct ext4_inode *dir, const char *name, size_t len, u32 ino)
{
	struct dir_slot slot;
	struct buffer *b;
	int err = find(fs, dir, name, len, &b, &slot);

	if (err)
		return err == -ENOENT ? fail(EUCLEAN, "ext4: a name is not in directory %u", dir->ino) : err;
	if (slot.ino != ino) {
		err = fail(EUCLEAN, "ext4: a name of directory %u stands for another inode", dir->ino);
	} else {
		ext4_dir_cut(fs, b->data, slot.offset);
		ext4_dir_dirty(fs, dir, b, SUM_DIR);
		dir->mtime = dir->ctime = fs->now;
		err = ext4_store(fs, dir);
	}
	ext4_buffer_put(fs, b);
	return err;
}

int ext4_dir_set(struct ext4 *fs, struct ext4_inode *dir, const char *name, size_t len, u32 ino, u16 mode)
{
	struct dir_slot slot;
	struct buffer *b;
	int err = find(fs, dir, name, len, &b, &slot);

	if (err)
		return err == -ENOENT ? fail(EUCLEAN, "ext4: a name is not in directory %u", dir->ino) : err;
	put32(b->data + slot.offset, ino);
	b->data[slot.offset + DE_TYPE] = type_of(fs, mode);
	ext4_dir_dirty(fs, dir, b, dir->flags & INODE_INDEX && !slot.lblock ? SUM_DX : SUM_DIR);
	ext4_buffer_put(fs, b);
	dir->mtime = dir->ctime = fs->now;
	return ext4_store(fs, dir);
}

static int refuse(void *ctx, const char *name, size_t len, u32 ino, u8 type, u64 next)
{
	return name[0] == '.' && (len == 1 || (len == 2 && name[1] == '.')) ? 0 : -ENOTEMPTY;
}

int ext4_dir_is_empty(struct ext4 *fs, const struct ext4_inode *dir)
{
	u64 pos = 0;

	return ext4_readdir(fs, dir, &pos, refuse, NULL);
}
