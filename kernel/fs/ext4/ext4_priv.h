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
	u32 checked_for; /* whose checksum was right when it was read: an inode's number, or ~0; 0: not looked at */
	u8 sum;          /* enum sum: which checksum the commit stores */
	u32 sum_seed;    /* of the inode, or the group's number */
	u8 *data;
};

enum sum { SUM_NONE, SUM_DIR, SUM_DX, SUM_EXTENT, SUM_BLOCKS, SUM_INODES, SUM_XATTR };

#define BUCKETS     256
#define MAX_BUFFERS 2048 /* beyond this, unused ones are dropped */

struct journal;

struct zone { /* blocks of the file system's own: no file may have them */
	u64 start, end;
};

struct freed { /* a group's blocks that are free once the transaction is safe */
	struct list link;
	u32 group;
	u8 *bits;
};

struct ext4 {
	struct ext4_device dev;
	bool read_only, ro_unknown; /* ro_unknown: features that are not known for writing */
	bool discard;               /* what is freed is told to the device */
	bool may_be_torn;           /* while opening: a superblock of a wrong checksum may be in the journal */
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
	int error;           /* the first that a write met: nothing is written any more */
	bool damaged;        /* -EUCLEAN was seen */
	u32 tid;             /* of the transaction that gathers */
	unsigned op_changes; /* buffers dirtied by the running step */
	struct ext4_time now;
	u64 free_blocks, freed_blocks; /* freed: of these not yet to be used */
	u32 free_inodes;
	u32 generation; /* of the next inode */
	u32 rotor;      /* where the next directory of the root's goes */
	u8 *desc_dirty; /* a byte for each block of descriptors */
	bool sb_dirty;
	bool unclean; /* no journal: the superblock says "not clean" meanwhile */
	struct list freed;
	struct zone *zones; /* sorted */
	u32 nr_zones;
	u64 *revokes;
	u32 nr_revokes, revoke_room;
	u32 *orphans; /* as they are chained: the superblock's first */
	u32 nr_orphans, orphan_room;
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
u64 ext4_desc_block(const struct ext4 *fs, u32 n);
bool ext4_group_has_super(const struct ext4 *fs, u32 group);
int ext4_load_super(struct ext4 *fs);

/* cache.c */
int __must_check ext4_buffer_get(struct ext4 *fs, u64 block, struct buffer **out);
void ext4_buffer_put(struct ext4 *fs, struct buffer *b);
int __must_check ext4_buffer_new(struct ext4 *fs, u64 block, struct buffer **out); /* zeroes, not read */
bool ext4_buffer_is_dirty(struct ext4 *fs, u64 block);
int __must_check ext4_buffer_get_any(struct ext4 *fs, u64 block, struct buffer **out); /* also before the first block */
void ext4_buffer_forget(struct ext4 *fs, u64 block); /* the block is free: its contents are nothing */
void ext4_buffers_drop(struct ext4 *fs);             /* all; none may be held */

void ext4_buffer_dirty(struct ext4 *fs, struct buffer *b); /* part of the next transaction */
void ext4_buffer_dirty_sum(struct ext4 *fs, struct buffer *b, enum sum sum, u32 seed);

/* csum.c */
u16 ext4_crc16(u16 crc, const void *data, size_t n);
u32 ext4_inode_seed(const struct ext4 *fs, u32 ino, u32 generation);
u32 ext4_super_csum(const u8 *sb);
void ext4_super_seal(u8 *sb); /* after a change of its first sector: the sum in the second fits again */
u16 ext4_group_csum(const struct ext4 *fs, u32 group);
u32 ext4_raw_inode_csum(const struct ext4 *fs, u32 ino, const u8 *raw);
void ext4_raw_inode_put_csum(const struct ext4 *fs, u32 ino, u8 *raw);
void ext4_seal(const struct ext4 *fs, struct buffer *b); /* stores the checksum that b->sum asks for */
bool ext4_bitmap_csum_ok(const struct ext4 *fs, u32 group, bool inodes, const u8 *bits);
u32 ext4_xattr_csum(const struct ext4 *fs, u64 block, const u8 *data);
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
int __must_check ext4_step_begin(struct ext4 *fs);
int ext4_step_end(struct ext4 *fs, int err); /* err; one in the middle of changes ends all writing */

/* store.c */
void ext4_put_rdev(struct ext4_inode *in, u32 rdev);

/* balloc.c */
static inline u32 group_of(const struct ext4 *fs, u64 block)
{
	return (block - fs->first_block) / fs->blocks_per_group;
}
static inline u64 group_start(const struct ext4 *fs, u32 group)
{
	return fs->first_block + (u64)group * fs->blocks_per_group;
}
void ext4_group_dirty(struct ext4 *fs, u32 group);
u32 ext4_group_count(const struct ext4 *fs, u32 group, unsigned lo, unsigned hi); /* 16 bits low and 16 high */
void ext4_group_set_count(struct ext4 *fs, u32 group, unsigned lo, unsigned hi, u32 n);
static inline u64 ext4_blocks_left(const struct ext4 *fs) /* that may be used now */
{
	return fs->free_blocks > fs->freed_blocks ? fs->free_blocks - fs->freed_blocks : 0;
}
/* A run near goal, of want blocks or fewer. */
int __must_check ext4_blocks_alloc(struct ext4 *fs, u64 goal, u32 want, u64 *start, u32 *got);
int __must_check ext4_blocks_free(struct ext4 *fs, u64 start, u32 count, bool metadata);
int __must_check ext4_zones_make(struct ext4 *fs);
bool ext4_in_zones(const struct ext4 *fs, u64 start, u64 count);
void ext4_freed_discard(struct ext4 *fs);
void ext4_freed_release(struct ext4 *fs); /* the transaction is safe */

/* ialloc.c */
int __must_check ext4_inode_alloc(struct ext4 *fs, const struct ext4_inode *dir, u16 mode, struct ext4_inode *out);
int __must_check ext4_inode_free(struct ext4 *fs, const struct ext4_inode *in);
int __must_check ext4_orphan_add(struct ext4 *fs, u32 ino);
int __must_check ext4_orphan_remove(struct ext4 *fs, u32 ino);
int __must_check ext4_orphans_load(struct ext4 *fs);

/* extent_change.c */
int __must_check ext4_extent_insert(struct ext4 *fs, struct ext4_inode *in, u32 lblock, u32 count, u64 physical,
				    bool unwritten);
/* Frees the first extent's part in [from, to). 1: it was one; 0: nothing is left there. */
int ext4_extent_remove(struct ext4 *fs, struct ext4_inode *in, u32 from, u64 to);
int __must_check ext4_extent_written(struct ext4 *fs, struct ext4_inode *in, u32 lblock, u32 count);
void ext4_extent_init(struct ext4_inode *in);
/* indirect.c: tables of ext2 and ext3. prepare makes those on the way to lblock and leaves in *count what fits into the
 * last one; insert finds them. remove: as ext4_extent_remove */
int __must_check ext4_indirect_prepare(struct ext4 *fs, struct ext4_inode *in, u32 lblock, u32 *count);
int __must_check ext4_indirect_insert(struct ext4 *fs, struct ext4_inode *in, u32 lblock, u32 count, u64 physical);
int ext4_indirect_remove(struct ext4 *fs, struct ext4_inode *in, u32 from, u64 to);
/* extent.c */
int ext4_extent_check_node(const struct ext4 *fs, const struct ext4_inode *in, const u8 *node, size_t bytes, int depth);
int ext4_extent_node_get(struct ext4 *fs, const struct ext4_inode *in, u64 block, int depth, struct buffer **out);
int ext4_extent_search(const u8 *node, u32 lblock);

/* file.c: steps inside a step */
int __must_check ext4_orphans_clean(struct ext4 *fs);
u64 ext4_goal(struct ext4 *fs, const struct ext4_inode *in, u32 lblock);
int __must_check ext4_block_add(struct ext4 *fs, struct ext4_inode *in, u32 lblock, u64 *physical); /* one, written */
int __must_check ext4_blocks_remove(struct ext4 *fs, struct ext4_inode *in, u32 from, u64 to);      /* several steps */

/* dir_change.c */
int __must_check ext4_dir_init(struct ext4 *fs, struct ext4_inode *dir, u32 parent);
int __must_check ext4_dir_add(struct ext4 *fs, struct ext4_inode *dir, const char *name, size_t len, u32 ino, u16 mode);
int __must_check ext4_dir_remove(struct ext4 *fs, struct ext4_inode *dir, const char *name, size_t len, u32 ino);
/* The name, or "..", stands for another inode now. */
int __must_check ext4_dir_set(struct ext4 *fs, struct ext4_inode *dir, const char *name, size_t len, u32 ino, u16 mode);
int __must_check ext4_dir_is_empty(struct ext4 *fs, const struct ext4_inode *dir); /* -ENOTEMPTY */

/* xattr_change.c */
int __must_check ext4_xattr_drop_block(struct ext4 *fs, struct ext4_inode *in); /* the inode goes */
int __must_check ext4_xattr_drop_inline(struct ext4 *fs, struct ext4_inode *in);

#endif
