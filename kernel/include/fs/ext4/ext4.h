/* SPDX-License-Identifier: MIT
 *
 * ext4: the on-disk format and its changes: superblock, groups, inodes, extents and indirect blocks, directories with
 * hashed indexes, extended attributes, checksums and the jbd2 journal. Pure: a device is two callbacks.
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
	int (*flush)(void *ctx);                      /* all that was written is safe when it returns */
	int (*discard)(void *ctx, u64 offset, u64 n); /* nobody needs these bytes; NULL: not supported */
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
	u64 first_block;
	u32 inodes, free_inodes;
	u32 block_bytes;
	u64 overhead, reserved_blocks; /* of the file system's own; kept for root */
	u8 uuid[16];
	char label[17];
	bool read_only, remount_ro; /* remount_ro: what the superblock wants at errors */
};
void ext4_statfs(struct ext4 *fs, struct ext4_stat *out);
bool ext4_needs_replay(const struct ext4 *fs); /* opened with EXT4_OPEN_NO_REPLAY */

struct ext4_time {
	s64 sec;
	u32 nsec;
};

/* An inode in memory; ext4_iget fills it, the caller keeps it. raw_block is i_block as it is on disk. */
#define EXT4_INODE_EXTENTS 0x80000    /* in flags: no tables of block numbers, so blocks may be unwritten */
#define EXT4_INODE_INLINE  0x10000000 /* in flags: the bytes lie in the inode, ext4_map cannot be asked */
struct ext4_inode {
	u32 ino, generation;
	u16 mode, links;
	u32 uid, gid, flags;
	u64 size, sectors; /* sectors of 512 bytes in use */
	u64 acl_block;
	u32 rdev; /* of device nodes, in Linux's new encoding */
	struct ext4_time atime, mtime, ctime, crtime;
	u8 raw_block[60];
	u32 tid;         /* the transaction that stored it last */
	bool has_xattrs; /* when it was read */
};

u32 ext4_first_ino(const struct ext4 *fs); /* of what users make */
int __must_check ext4_iget(struct ext4 *fs, u32 ino, struct ext4_inode *out);

/* ---- writing -------------------------------------------------------------------------------------------------------
 *
 * Each of these calls is one step that a power cut shows whole or not at all. Changes gather until ext4_sync makes all
 * of them safe as one transaction; ext4_close does that too, and any call may do it first when much has gathered.
 * `now` stamps what a call changes. Inodes that are handed in are updated in place and stored.
 *
 * Data are the caller's: what ext4_map_write or ext4_write gave blocks to must be written (sent to the device) before
 * the next ext4_sync, whose first flush covers it (data=ordered).
 *
 * Errors: -EROFS, -ENOSPC, -EDQUOT never; after an error in the middle of a step nothing is written any more and every
 * change gives that error (ext4_error). -EUCLEAN also raises ext4_is_damaged.
 */
int __must_check ext4_sync(struct ext4 *fs);
u32 ext4_tid(const struct ext4 *fs); /* number of the transaction that gathers now */
int ext4_error(const struct ext4 *fs);
bool ext4_is_damaged(const struct ext4 *fs); /* something on the device did not fit together */
void ext4_stop(struct ext4 *fs);             /* nothing is written any more; the superblock will say "errors" */
void ext4_set_time(struct ext4 *fs, struct ext4_time now);

int __must_check ext4_store(struct ext4 *fs, struct ext4_inode *in);  /* all its fields, in the running step */
int __must_check ext4_update(struct ext4 *fs, struct ext4_inode *in); /* the same as a step of its own */
void ext4_note(struct ext4 *fs, int err);                             /* -EUCLEAN: raises ext4_is_damaged */
u64 ext4_free_blocks(const struct ext4 *fs);
/* Runs of free blocks in [first, end), of `least` or more, are told to the device, of one group. *blocks grows. */
u32 ext4_group_of(const struct ext4 *fs, u64 block);
int __must_check ext4_trim_group(struct ext4 *fs, u32 group, u64 first, u64 end, u64 least, u64 *blocks);
void ext4_set_discard(struct ext4 *fs, bool on); /* freed blocks are told to the device after each commit */
/* Between mount -o remount,ro and rw. */
int __must_check ext4_set_writing(struct ext4 *fs, bool on);

struct ext4_new { /* what a new inode is */
	u16 mode;
	u32 uid, gid, rdev;
	const char *target; /* of a symbolic link; its length */
	size_t target_len;
};
/* dir NULL in name: without a name (O_TMPFILE), gone after a cut unless linked. *out: the new inode. */
int __must_check ext4_create(struct ext4 *fs, struct ext4_inode *dir, const char *name, size_t len,
			     const struct ext4_new *what, struct ext4_inode *out);
int __must_check ext4_link(struct ext4 *fs, struct ext4_inode *dir, const char *name, size_t len,
			   struct ext4_inode *in);
/* unlink and rmdir. Without further names the inode stays until ext4_delete. */
int __must_check ext4_unlink(struct ext4 *fs, struct ext4_inode *dir, const char *name, size_t len,
			     struct ext4_inode *in);
struct ext4_place { /* a name: its directory, the inode that it names (NULL: none yet) */
	struct ext4_inode *dir;
	const char *name;
	size_t len;
	struct ext4_inode *in;
};
/* to->in, if there, is replaced, or trades places. The same directory must be the same struct. */
int __must_check ext4_rename(struct ext4 *fs, struct ext4_place *from, struct ext4_place *to, bool exchange);
int __must_check ext4_delete(struct ext4 *fs, struct ext4_inode *in); /* links 0: blocks and number are free */

/* Gives blocks to [lblock, lblock+count) or finds them; afterwards they count as written. One run, at most count long.
 * size: the file is at least that long now. */
struct ext4_extent;
int __must_check ext4_map_write(struct ext4 *fs, struct ext4_inode *in, u32 lblock, u32 count, u64 size,
				struct ext4_extent *out);
/* Gives unwritten blocks to what has none (fallocate). */
int __must_check ext4_allocate(struct ext4 *fs, struct ext4_inode *in, u32 lblock, u32 count, u64 size);
int __must_check ext4_punch(struct ext4 *fs, struct ext4_inode *in, u32 from, u64 to); /* blocks [from, to) */
int __must_check ext4_truncate(struct ext4 *fs, struct ext4_inode *in, u64 size);
ssize_t ext4_write(struct ext4 *fs, struct ext4_inode *in, u64 offset, const void *buf, size_t n);
/* Moves bytes that lie in the inode into a block. No effect on others. */
int __must_check ext4_leave_inline(struct ext4 *fs, struct ext4_inode *in);
/* value NULL: removes. flags: 1 must be new (-EEXIST), 2 must be there (-ENODATA). -ENOSPC, -ERANGE. */
int __must_check ext4_setxattr(struct ext4 *fs, struct ext4_inode *in, const char *name, const void *value, size_t n,
			       int flags);

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
