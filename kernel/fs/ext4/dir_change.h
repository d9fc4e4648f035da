/* SPDX-License-Identifier: MIT
 *
 * What changing directories with and without an index share. Under the file system's lock.
 */
#ifndef EXT4_DIR_CHANGE_H
#define EXT4_DIR_CHANGE_H

#include "dir.h"

static inline u32 dir_entry_bytes(size_t name_len)
{
	return ALIGN_UP(DE_NAME + (u32)name_len, 4);
}

void ext4_dir_put_rec_len(const struct ext4 *fs, u8 *e, u32 len);
void ext4_dir_put_entry(const struct ext4 *fs, u8 *e, const char *name, size_t len, u32 ino, u8 type);
u32 ext4_dir_room(const struct ext4 *fs); /* of a block for entries */
void ext4_dir_put_tail(const struct ext4 *fs, u8 *data);
void ext4_dir_dirty(struct ext4 *fs, const struct ext4_inode *dir, struct buffer *b, enum sum sum);
int ext4_dir_append(struct ext4 *fs, struct ext4_inode *dir, struct buffer **b, u32 *lblock); /* zeroes */
int ext4_dir_put(struct ext4 *fs, const struct ext4_inode *dir, struct buffer *b, const char *name, size_t len, u32 ino,
		 u8 type);
void ext4_dir_cut(const struct ext4 *fs, u8 *data, u32 offset); /* the entry becomes slack */

/* dx_change.c */
int __must_check ext4_dx_make(struct ext4 *fs, struct ext4_inode *dir); /* of a directory of one block */
/* -ENOENT: the index cannot be used. */
int __must_check ext4_dx_add(struct ext4 *fs, struct ext4_inode *dir, const char *name, size_t len, u32 ino, u8 type);

#endif
