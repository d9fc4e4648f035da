/* SPDX-License-Identifier: MIT
 *
 * Problem: access lists lie on disk in a form of their own, shorter than the one that programs read and write.
 *
 * Idea: one function each way, entry by entry. Only entries for one user or group carry a number on disk.
 *
 *      disk       version 1: u32; entry: tag u16, permissions u16, and for a user's or group's: id u32
 *      programs   version 2: u32; entry: tag u16, permissions u16, id u32
 *
 * Contract: ext4_priv.h. Formats: acl(5), Linux's posix_acl_xattr.h.
 *
 * Locks: none.
 */
#include "xattr.h"

enum { DISK_VERSION = 1, USER_VERSION = 2, TAG_USER = 2, TAG_GROUP = 8, SHORT_BYTES = 4, LONG_BYTES = 8 };

static bool has_id(u32 tag)
{
	return tag == TAG_USER || tag == TAG_GROUP;
}

ssize_t ext4_acl_from_disk(const u8 *disk, size_t bytes, u8 *out, size_t n)
{
	size_t at = 4, to = 4;

	if (bytes < 4 || get32(disk) != DISK_VERSION)
		return fail(EUCLEAN, "ext4: access list of %zu bytes", bytes);
	while (at < bytes) {
		u32 tag, size;

		if (bytes - at < SHORT_BYTES)
			return fail(EUCLEAN, "ext4: access list");
		tag = get16(disk + at);
		size = has_id(tag) ? LONG_BYTES : SHORT_BYTES;
		if (bytes - at < size)
			return fail(EUCLEAN, "ext4: access list");
		if (n && to + LONG_BYTES > n)
			return -ERANGE;
		if (n) {
			put16(out + to, tag);
			put16(out + to + 2, get16(disk + at + 2));
			put32(out + to + 4, has_id(tag) ? get32(disk + at + 4) : ~0u);
		}
		at += size;
		to += LONG_BYTES;
	}
	if (n)
		put32(out, USER_VERSION);
	return to;
}

/* out has room for n bytes. */
ssize_t ext4_acl_to_disk(const u8 *value, size_t n, u8 *out)
{
	size_t to = 4;

	if (n < 4 || (n - 4) % LONG_BYTES || get32(value) != USER_VERSION)
		return -EINVAL;
	for (size_t at = 4; at < n; at += LONG_BYTES) {
		u32 tag = get16(value + at);

		put16(out + to, tag);
		put16(out + to + 2, get16(value + at + 2));
		if (has_id(tag))
			put32(out + to + 4, get32(value + at + 4));
		to += has_id(tag) ? LONG_BYTES : SHORT_BYTES;
	}
	put32(out, DISK_VERSION);
	return to;
}
