/* SPDX-License-Identifier: MIT
 *
 * Extended attributes: what reading and changing share. Under the file system's lock.
 */
#ifndef EXT4_XATTR_H
#define EXT4_XATTR_H

#include "ext4_priv.h"

enum { XATTR_ENTRY_BYTES = 16, XATTR_BLOCK_HEADER = 32, XATTR_INDEX_SYSTEM = 7 };

struct xattr_area {
	const u8 *entries, *base, *end; /* value offsets count from base */
};

struct xattr_places { /* both places of an inode */
	struct buffer *inode_buf, *block_buf;
	struct xattr_area area[2];
	int n;
};

int ext4_xattr_open(struct ext4 *fs, const struct ext4_inode *in, struct xattr_places *p);
void ext4_xattr_close(struct ext4 *fs, struct xattr_places *p);
/* The next entry, checked; NULL at the end of the chain. *bad when it does not fit. */
const u8 *ext4_xattr_next(const struct xattr_area *a, const u8 *at, bool *bad);
static inline const u8 *ext4_xattr_after(const u8 *e)
{
	return e + ALIGN_UP((size_t)XATTR_ENTRY_BYTES + e[0], 4);
}
int ext4_xattr_block_get(struct ext4 *fs, u64 block, struct buffer **b); /* checked */
/* Which kind a name is, and where it goes on behind the prefix. -EOPNOTSUPP. */
int ext4_xattr_index(const char *name, u8 *index, size_t *rest);
static inline bool ext4_xattr_is_acl(u8 index)
{
	return index == 2 || index == 3;
}

/* acl.c: the length, or (n 0) what it would be */
ssize_t ext4_acl_from_disk(const u8 *disk, size_t bytes, u8 *out, size_t n);
ssize_t ext4_acl_to_disk(const u8 *value, size_t n, u8 *out);

#endif
