/* SPDX-License-Identifier: MIT
 *
 * The ext4 on-disk format: superblock, groups, inodes, extents and indirect blocks, directories with hashed indexes,
 * extended attributes, checksums and the jbd2 journal. Pure: a device is two callbacks.
 *
 * Source of the format: Linux's Documentation/filesystems/ext4 (on-disk layout), e2fsprogs' documentation; ext2 and
 * ext3 images are the same with fewer features.
 *
 * Everything on the device is untrusted: whatever does not fit together gives -EUCLEAN, never a crash or an endless
 * loop. Other errors: those of the callbacks, -ENOMEM, and the usual ones of file operations.
 *
 * Threading: one lock of the caller around every call on a file system.
 */
#ifndef FS_EXT4_EXT4_H
#define FS_EXT4_EXT4_H

#include <lib/types.h>

#define EXT4_ROOT_INO 2
#define EXT4_NAME_MAX 255

struct ext4_device {
	void *ctx;
	u64 bytes;
	bool read_only;
	int (*read)(void *ctx, u64 offset, void *buf, size_t n);
	int (*write)(void *ctx, u64 offset, const void *buf, size_t n);
	int (*flush)(void *ctx); /* all that was written is safe when it returns */
};

struct ext4;

#define EXT4_OPEN_READ_ONLY BIT(0)
#define EXT4_OPEN_NO_REPLAY BIT(1) /* look at it as it is; implies read only */

/* Mounts. A journal that needs it is replayed first (-EROFS if the device cannot be written). -EINVAL: not ext4, or
 * features that are not known; what is only unknown for writing forces read only. */
int __must_check ext4_open(const struct ext4_device *dev, unsigned flags, struct ext4 **out);
int ext4_close(struct ext4 *fs);

struct ext4_stat {
	u64 blocks, free_blocks; /* of block_bytes */
	u32 inodes, free_inodes;
	u32 block_bytes;
	u64 overhead, reserved_blocks; /* of the file system's own; kept for root */
	u8 uuid[16];
	char label[17];
	bool read_only;
};
void ext4_statfs(struct ext4 *fs, struct ext4_stat *out);
bool ext4_needs_replay(const struct ext4 *fs); /* opened with EXT4_OPEN_NO_REPLAY */

struct ext4_time {
	s64 sec;
	u32 nsec;
};

/* An inode in memory; ext4_iget fills it, the caller keeps it. raw_block is i_block as it is on disk. */
#define EXT4_INODE_INLINE 0x10000000 /* in flags: the bytes lie in the inode, ext4_map cannot be asked */
struct ext4_inode {
	u32 ino, generation;
	u16 mode, links;
	u32 uid, gid, flags;
	u64 size, sectors; /* sectors of 512 bytes in use */
	u64 acl_block;
	u32 rdev; /* of device nodes, in Linux's new encoding */
	struct ext4_time atime, mtime, ctime, crtime;
	u8 raw_block[60];
};

int __must_check ext4_iget(struct ext4 *fs, u32 ino, struct ext4_inode *out);

/* Writing, so far attributes. Changes gather until ext4_sync makes all of them safe as one transaction; ext4_close does
 * that too. After the first error nothing is written any more and every change gives that error. */
#define EXT4_ATTR_MODE  BIT(0) /* permissions; the type stays */
#define EXT4_ATTR_UID   BIT(1)
#define EXT4_ATTR_GID   BIT(2)
#define EXT4_ATTR_ATIME BIT(3)
#define EXT4_ATTR_MTIME BIT(4)
#define EXT4_ATTR_CTIME BIT(5)
struct ext4_attr {
	unsigned mask;
	u16 mode;
	u32 uid, gid;
	struct ext4_time atime, mtime, ctime;
};
int __must_check ext4_setattr(struct ext4 *fs, u32 ino, const struct ext4_attr *a);
int __must_check ext4_sync(struct ext4 *fs);

/* Where the block range that starts at lblock lies: physical 0 is a hole. *count: how many blocks alike follow. */
struct ext4_extent {
	u64 physical;
	u32 count;
	bool unwritten; /* allocated, reads as zeroes */
};
int __must_check ext4_map(struct ext4 *fs, const struct ext4_inode *in, u32 lblock, struct ext4_extent *out);

/* Bytes of a file, inline data included. Returns how many, fewer at its end. */
ssize_t ext4_read(struct ext4 *fs, const struct ext4_inode *in, u64 offset, void *buf, size_t n);
/* The target of a symbolic link, not terminated; its length, at most n. */
ssize_t ext4_readlink(struct ext4 *fs, const struct ext4_inode *in, char *buf, size_t n);

int __must_check ext4_lookup(struct ext4 *fs, const struct ext4_inode *dir, const char *name, size_t len, u32 *ino);
/* Calls emit for each entry from *pos on until it returns non-zero, which is returned. *pos: where to go on. type:
 * DT_*; next: where to go on behind this entry. */
typedef int (*ext4_emit)(void *ctx, const char *name, size_t len, u32 ino, u8 type, u64 next);
int __must_check ext4_readdir(struct ext4 *fs, const struct ext4_inode *dir, u64 *pos, ext4_emit emit, void *ctx);

/* name with its prefix ("user.x"). The value's length, or -ENODATA, -ERANGE if n is too small (0 asks). */
ssize_t ext4_getxattr(struct ext4 *fs, const struct ext4_inode *in, const char *name, void *buf, size_t n);
/* All names, each terminated. The length of all. */
ssize_t ext4_listxattr(struct ext4 *fs, const struct ext4_inode *in, char *buf, size_t n);

#endif
