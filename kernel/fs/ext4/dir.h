/* SPDX-License-Identifier: MIT
 *
 * Directories: what looking up and changing share. Under the file system's lock.
 */
#ifndef EXT4_DIR_H
#define EXT4_DIR_H

#include "ext4_priv.h"

struct dx_level { /* one table of an index on the way down */
	struct buffer *b;
	unsigned at, i; /* where the table begins, place taken */
};

struct dx_way {
	struct dx_level l[DX_MAX_LEVELS];
	int levels;
	u8 version; /* of the hash, its sign included */
	u32 hash;   /* of the name */
};

struct dir_slot { /* where a name stands */
	u32 ino, lblock, offset;
};

u32 ext4_dir_rec_len(const struct ext4 *fs, const u8 *e);
bool ext4_dir_entry_ok(const struct ext4 *fs, const u8 *e, size_t room);
/* A block of a directory, checked. *b NULL: a hole. *skip (may be NULL): how many blocks to the next. */
int ext4_dir_block_get(struct ext4 *fs, const struct ext4_inode *dir, u32 lblock, struct buffer **b, u32 *skip);
u32 ext4_dir_blocks(const struct ext4 *fs, const struct ext4_inode *dir);
/* 0, -ENOENT. Not for inline directories. */
int ext4_dir_find(struct ext4 *fs, const struct ext4_inode *dir, const char *name, size_t len, struct dir_slot *out);
/* All bytes of an inline directory, kmalloc'ed. */
int ext4_dir_load_inline(struct ext4 *fs, const struct ext4_inode *dir, u8 **bytes, size_t *n);
/* Down the index by hash. -ENOENT: it cannot be used. Otherwise ext4_dx_leave. */
int ext4_dx_enter(struct ext4 *fs, const struct ext4_inode *dir, const char *name, size_t len, struct dx_way *w);
int ext4_dx_enter_table(struct ext4 *fs, const struct ext4_inode *dir, u32 lblock, u32 hash, struct dx_level *l);
void ext4_dx_leave(struct ext4 *fs, struct dx_way *w);
u32 ext4_dx_child(const struct dx_level *l, unsigned i);
static inline unsigned dx_count(const struct dx_level *l)
{
	return get16(l->b->data + l->at + 2);
}
static inline unsigned dx_limit(const struct dx_level *l)
{
	return get16(l->b->data + l->at);
}

#endif
