/* SPDX-License-Identifier: MIT
 *
 * What the files of this part share. One lock of the caller covers all of it.
 */
#ifndef EXT4_PRIV_H
#define EXT4_PRIV_H

#include <core/log.h>
#include <fs/ext4/ext4.h>
#include <lib/err.h>
#include <lib/list.h>
#include "disk.h"

/* A metadata block in memory. */
struct buffer {
	u64 block;
	struct list hash;  /* fs->bucket[] */
	struct list lru;   /* fs->lru, oldest first; only with refs == 0 */
	struct list dirty; /* fs->dirty; linked to itself: clean */
	unsigned refs;
	u8 *data;
};

#define BUCKETS     256
#define MAX_BUFFERS 512 /* beyond this, unused ones are dropped */

struct journal;

struct ext4 {
	struct ext4_device dev;
	bool read_only;
	u8 sb[SB_BYTES];
	u32 block_bytes, inodes, inodes_per_group, blocks_per_group, inode_bytes, desc_bytes, groups, first_ino;
	u64 blocks;
	u32 first_block, compat, incompat, ro_compat;
	u32 csum_seed;
	u8 *gd; /* all group descriptors, groups * desc_bytes */
	struct list bucket[BUCKETS], lru;
	unsigned nr_buffers;
	/* writing */
	struct list dirty; /* buffers of the next transaction, each with a reference */
	unsigned nr_dirty;
	struct journal *journal;
	int error; /* the first that a write met: nothing is written any more */
};

static inline bool has_csum(const struct ext4 *fs)
{
	return fs->ro_compat & RO_METADATA_CSUM;
}

/* super.c */
static inline u8 *group_desc(const struct ext4 *fs, u32 group)
{
	return fs->gd + (size_t)group * fs->desc_bytes;
}
u64 ext4_group_field48(const struct ext4 *fs, u32 group, unsigned lo, unsigned hi); /* 32 bits low and 32 high */
bool ext4_block_is_valid(const struct ext4 *fs, u64 block, u64 count);
int ext4_load_super(struct ext4 *fs);

/* cache.c */
int __must_check ext4_buffer_get(struct ext4 *fs, u64 block, struct buffer **out);
void ext4_buffer_put(struct ext4 *fs, struct buffer *b);
void ext4_buffers_drop(struct ext4 *fs); /* all; none may be held */

void ext4_buffer_dirty(struct ext4 *fs, struct buffer *b); /* part of the next transaction */

/* csum.c */
u16 ext4_crc16(u16 crc, const void *data, size_t n);
u32 ext4_inode_seed(const struct ext4 *fs, u32 ino, u32 generation);
u32 ext4_super_csum(const u8 *sb);
u16 ext4_group_csum(const struct ext4 *fs, u32 group);
u32 ext4_raw_inode_csum(const struct ext4 *fs, u32 ino, const u8 *raw);
bool ext4_raw_inode_csum_ok(const struct ext4 *fs, u32 ino, const u8 *raw);
u32 ext4_extent_csum(const struct ext4 *fs, const struct ext4_inode *in, const u8 *block);
u32 ext4_dir_csum(const struct ext4 *fs, const struct ext4_inode *in, const u8 *block);
u32 ext4_dx_csum(const struct ext4 *fs, const struct ext4_inode *in, const u8 *block, unsigned entries_at);

/* inode.c */
int ext4_inode_location(const struct ext4 *fs, u32 ino, u64 *block, u32 *offset);
int ext4_raw_inode_get(struct ext4 *fs, u32 ino, struct buffer **b, u8 **raw);

/* hash.c */
int ext4_name_hash(const struct ext4 *fs, u8 version, const char *name, size_t len, u32 *hash);

/* xattr.c */
ssize_t ext4_xattr_inline_data(struct ext4 *fs, u32 ino, void *buf, size_t n); /* "system.data" behind the inode */

/* journal.c */
int ext4_journal_replay(struct ext4 *fs);

/* commit.c */
int ext4_start_writing(struct ext4 *fs);
int ext4_stop_writing(struct ext4 *fs);

#endif
