/* SPDX-License-Identifier: MIT
 *
 * Where each field of ext4 and jbd2 lies. Offsets in bytes; ext4 is little endian, the journal big endian. Source:
 * Linux's Documentation/filesystems/ext4/{super,group_descr,inodes,ifork,directory,attributes,journal}.rst.
 */
#ifndef EXT4_DISK_H
#define EXT4_DISK_H

#include <fs/ext4/ext4.h>
#include <lib/types.h>

static inline u16 get16(const void *p)
{
	const u8 *b = p;
	return b[0] | b[1] << 8;
}
static inline u32 get32(const void *p)
{
	return get16(p) | (u32)get16((const u8 *)p + 2) << 16;
}
static inline u64 get64(const void *p)
{
	return get32(p) | (u64)get32((const u8 *)p + 4) << 32;
}
static inline void put16(void *p, u16 v)
{
	u8 *b = p;
	b[0] = v & 0xff;
	b[1] = v >> 8;
}
static inline void put32(void *p, u32 v)
{
	put16(p, v & 0xffff);
	put16((u8 *)p + 2, v >> 16);
}
static inline void put64(void *p, u64 v)
{
	put32(p, v);
	put32((u8 *)p + 4, v >> 32);
}
static inline u32 get_be32(const void *p)
{
	return __builtin_bswap32(get32(p));
}
static inline u16 get_be16(const void *p)
{
	return __builtin_bswap16(get16(p));
}
static inline void put_be16(void *p, u16 v)
{
	put16(p, __builtin_bswap16(v));
}
static inline void put_be32(void *p, u32 v)
{
	put32(p, __builtin_bswap32(v));
}

enum super_offset {
	SB_INODES = 0x00,
	SB_BLOCKS_LO = 0x04,
	SB_RESERVED_LO = 0x08,
	SB_FREE_BLOCKS_LO = 0x0c,
	SB_FREE_INODES = 0x10,
	SB_FIRST_BLOCK = 0x14,
	SB_LOG_BLOCK = 0x18,
	SB_LOG_CLUSTER = 0x1c,
	SB_BLOCKS_PER_GROUP = 0x20,
	SB_INODES_PER_GROUP = 0x28,
	SB_MTIME = 0x2c,
	SB_WTIME = 0x30,
	SB_MOUNTS = 0x34,
	SB_MAGIC = 0x38,
	SB_STATE = 0x3a,
	SB_ERRORS = 0x3c,
	SB_REVISION = 0x4c,
	SB_FIRST_INO = 0x54,
	SB_INODE_BYTES = 0x58,
	SB_COMPAT = 0x5c,
	SB_INCOMPAT = 0x60,
	SB_RO_COMPAT = 0x64,
	SB_UUID = 0x68,
	SB_LABEL = 0x78,
	SB_SPARE = 0xc4, /* the last four bytes of s_last_mounted */
	SB_RESERVED_GDT = 0xce,
	SB_JOURNAL_INO = 0xe0,
	SB_LAST_ORPHAN = 0xe8,
	SB_HASH_SEED = 0xec,
	SB_HASH_VERSION = 0xfc,
	SB_DESC_BYTES = 0xfe,
	SB_FIRST_META_BG = 0x104,
	SB_BLOCKS_HI = 0x150,
	SB_FREE_BLOCKS_HI = 0x158,
	SB_WANT_EXTRA = 0x15e,
	SB_FLAGS = 0x160,
	SB_RESERVED_HI = 0x154,
	SB_OVERHEAD = 0x248,
	SB_BACKUP_BGS = 0x24c,
	SB_LOG_FLEX = 0x174,
	SB_CSUM_TYPE = 0x175,
	SB_CSUM_SEED = 0x270,
	SB_CSUM = 0x3fc,
	SB_BYTES = 1024,
	SB_AT = 1024,
};
#define EXT4_MAGIC         0xef53
#define STATE_CLEAN        1
#define STATE_ERRORS       2
#define ERRORS_CONTINUE    1
#define FLAG_SIGNED_HASH   1
#define FLAG_UNSIGNED_HASH 2

enum { COMPAT_HAS_JOURNAL = 0x4, COMPAT_RESIZE_INODE = 0x10, COMPAT_DIR_INDEX = 0x20, COMPAT_SPARSE_SUPER2 = 0x200 };
enum {
	INCOMPAT_FILETYPE = 0x2,
	INCOMPAT_RECOVER = 0x4,
	INCOMPAT_META_BG = 0x10,
	INCOMPAT_EXTENTS = 0x40,
	INCOMPAT_64BIT = 0x80,
	INCOMPAT_FLEX_BG = 0x200,
	INCOMPAT_CSUM_SEED = 0x2000,
	INCOMPAT_LARGEDIR = 0x4000,
	INCOMPAT_INLINE_DATA = 0x8000,
};
#define INCOMPAT_KNOWN                                                                                                 \
	(INCOMPAT_FILETYPE | INCOMPAT_RECOVER | INCOMPAT_META_BG | INCOMPAT_EXTENTS | INCOMPAT_64BIT |                 \
	 INCOMPAT_FLEX_BG | INCOMPAT_CSUM_SEED | INCOMPAT_LARGEDIR | INCOMPAT_INLINE_DATA)
enum {
	RO_SPARSE_SUPER = 0x1,
	RO_LARGE_FILE = 0x2,
	RO_HUGE_FILE = 0x8,
	RO_GDT_CSUM = 0x10,
	RO_DIR_NLINK = 0x20,
	RO_EXTRA_ISIZE = 0x40,
	RO_BIGALLOC = 0x200,
	RO_METADATA_CSUM = 0x400,
};
#define RO_KNOWN                                                                                                       \
	(RO_SPARSE_SUPER | RO_LARGE_FILE | RO_HUGE_FILE | RO_GDT_CSUM | RO_DIR_NLINK | RO_EXTRA_ISIZE |                \
	 RO_METADATA_CSUM)

enum group_offset {
	GD_BLOCK_BITMAP = 0x0,
	GD_INODE_BITMAP = 0x4,
	GD_INODE_TABLE = 0x8,
	GD_FREE_BLOCKS = 0xc,
	GD_FREE_INODES = 0xe,
	GD_USED_DIRS = 0x10,
	GD_FLAGS = 0x12,
	GD_BLOCK_CSUM = 0x18,
	GD_INODE_CSUM = 0x1a,
	GD_UNUSED_INODES = 0x1c,
	GD_CSUM = 0x1e,
	GD_HI = 0x20, /* what follows the low halves, from here on the high ones */
	GD_BLOCK_BITMAP_HI = 0x20,
	GD_INODE_BITMAP_HI = 0x24,
	GD_INODE_TABLE_HI = 0x28,
	GD_FREE_BLOCKS_HI = 0x2c,
	GD_FREE_INODES_HI = 0x2e,
	GD_USED_DIRS_HI = 0x30,
	GD_UNUSED_INODES_HI = 0x32,
	GD_BLOCK_CSUM_HI = 0x38,
	GD_INODE_CSUM_HI = 0x3a,
};
enum { GROUP_INODE_UNINIT = 1, GROUP_BLOCK_UNINIT = 2, GROUP_INODE_ZEROED = 4 };

enum inode_offset {
	IN_MODE = 0x0,
	IN_UID = 0x2,
	IN_SIZE = 0x4,
	IN_ATIME = 0x8,
	IN_CTIME = 0xc,
	IN_MTIME = 0x10,
	IN_DTIME = 0x14,
	IN_GID = 0x18,
	IN_LINKS = 0x1a,
	IN_BLOCKS = 0x1c,
	IN_FLAGS = 0x20,
	IN_BLOCK = 0x28,
	IN_GENERATION = 0x64,
	IN_ACL = 0x68,
	IN_SIZE_HI = 0x6c,
	IN_BLOCKS_HI = 0x74,
	IN_ACL_HI = 0x76,
	IN_UID_HI = 0x78,
	IN_GID_HI = 0x7a,
	IN_CSUM = 0x7c,
	IN_EXTRA = 0x80,
	IN_CSUM_HI = 0x82,
	IN_CTIME_EXTRA = 0x84,
	IN_MTIME_EXTRA = 0x88,
	IN_ATIME_EXTRA = 0x8c,
	IN_CRTIME = 0x90,
	IN_CRTIME_EXTRA = 0x94,
	IN_OLD_BYTES = 128,
};
enum {
	INODE_INDEX = 0x1000,
	INODE_HUGE = 0x40000,
	INODE_EXTENTS = EXT4_INODE_EXTENTS,
	INODE_EA = 0x200000,
	INODE_INLINE = EXT4_INODE_INLINE,
};

enum { EH_MAGIC = 0xf30a, EH_BYTES = 12, EH_ENTRIES = 2, EH_MAX = 4, EH_DEPTH = 6, EXTENT_BYTES = 12, MAX_DEPTH = 5 };
#define UNWRITTEN_MAX_LEN 32767
#define EXTENT_MAX_LEN    32768 /* longer: unwritten, length less this */

enum {
	DE_INODE = 0,
	DE_REC_LEN = 4,
	DE_NAME_LEN = 6,
	DE_TYPE = 7,
	DE_NAME = 8,
	DE_TAIL_BYTES = 12,
	DE_TAIL_TYPE = 0xde
};
enum { DX_ROOT_INFO = 0x18, DX_ROOT_ENTRIES = 0x20, DX_NODE_ENTRIES = 0x8, DX_MAX_LEVELS = 3 };

#define XATTR_MAGIC 0xea020000

enum {
	JBD_MAGIC = 0xc03b3998u,
	JBD_DESCRIPTOR = 1,
	JBD_COMMIT = 2,
	JBD_SUPER_V1 = 3,
	JBD_SUPER_V2 = 4,
	JBD_REVOKE = 5
};
enum jbd_super_offset {
	JS_TYPE = 0x4,
	JS_BLOCK_BYTES = 0xc,
	JS_MAXLEN = 0x10,
	JS_FIRST = 0x14,
	JS_SEQUENCE = 0x18,
	JS_START = 0x1c,
	JS_ERRNO = 0x20,
	JS_COMPAT = 0x24,
	JS_INCOMPAT = 0x28,
	JS_RO_COMPAT = 0x2c,
	JS_UUID = 0x30,
	JS_CSUM_TYPE = 0x50,
	JS_CSUM = 0xfc,
	JS_BYTES = 1024,
};
enum { JI_REVOKE = 1, JI_64BIT = 2, JI_ASYNC_COMMIT = 4, JI_CSUM_V2 = 8, JI_CSUM_V3 = 0x10 };
#define JI_KNOWN (JI_REVOKE | JI_64BIT | JI_ASYNC_COMMIT | JI_CSUM_V2 | JI_CSUM_V3)
enum { TAG_ESCAPE = 1, TAG_SAME_UUID = 2, TAG_DELETED = 4, TAG_LAST = 8 };

#endif
