/* SPDX-License-Identifier: MIT
 *
 * Reads newc cpio archives ("070701", "070702") from memory: several in a row with zero bytes between them, as initrds
 * are. Format: cpio(5), section "New ASCII Format".
 */
#ifndef LIB_CPIO_H
#define LIB_CPIO_H

#include <lib/types.h>

struct cpio {
	const u8 *data;
	size_t size, at;
};

struct cpio_member {
	const char *name; /* terminated, inside the archive */
	size_t name_len;
	u32 ino, mode, uid, gid, nlink, mtime, dev_major, dev_minor, rdev_major, rdev_minor;
	const u8 *data;
	size_t size;
};

void cpio_begin(struct cpio *c, const void *data, size_t size);
/* 1: *m is the next member. 0: the end, or something that is no newc archive begins at c->at (c->at < c->size).
 * -EINVAL. */
int __must_check cpio_next(struct cpio *c, struct cpio_member *m);

#endif
