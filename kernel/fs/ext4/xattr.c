/* SPDX-License-Identifier: MIT
 *
 * Problem: extended attributes lie in two places, behind the inode's fields and in a block of their own, and inline
 * data uses the first of them.
 *
 * Idea: both are a chain of entries from one side and values from the other; one walker over (entries, base for value
 * offsets, end) serves both. A reader looks behind the inode first.
 *
 *      inode  [128 + extra_isize]  magic, entries ... zero word ... values      offsets count from the first entry
 *      block  magic, refcount, blocks, hash, csum (32 bytes), entries ... values  offsets count from the block
 *      entry  name_len, index, value_offs, value_inum, value_size, hash, name   padded to 4
 *
 * Contract: fs/ext4/ext4.h. Values in inodes of their own (ea_inode) are refused at mount.
 *
 * Locks: the file system's.
 */
#include <alloc/slab.h>
#include <lib/crc32c.h>
#include <lib/string.h>
#include "ext4_priv.h"

#define ENTRY_BYTES  16
#define BLOCK_HEADER 32
#define INDEX_SYSTEM 7

static const char *const prefix[] = {
	"",          "user.",   "system.posix_acl_access", "system.posix_acl_default", "trusted.", "",
	"security.", "system.", "system.richacl"
};

struct area {
	const u8 *entries, *base, *end; /* value offsets count from base */
};

/* The next entry, checked; NULL at the end of the chain. *bad when it does not fit. */
static const u8 *next_entry(const struct area *a, const u8 *at, bool *bad)
{
	size_t size, value_at, value;

	*bad = a->end - at < 4;
	if (*bad || !get32(at))
		return NULL;
	*bad = true;
	if (a->end - at < ENTRY_BYTES)
		return NULL;
	size = ALIGN_UP((size_t)ENTRY_BYTES + at[0], 4);
	value_at = get16(at + 2);
	value = get32(at + 8);
	if ((size_t)(a->end - at) < size + 4)
		return NULL;
	if (value && (get32(at + 4) || value_at > (size_t)(a->end - a->base) || value > a->end - a->base - value_at))
		return NULL;
	*bad = false;
	return at;
}

static const u8 *entry_after(const u8 *e)
{
	return e + ALIGN_UP((size_t)ENTRY_BYTES + e[0], 4);
}

/* Both places of an inode, by turns. */
struct places {
	struct buffer *inode_buf, *block_buf;
	struct area area[2];
	int n;
};

static void put_places(struct ext4 *fs, struct places *p)
{
	if (p->inode_buf)
		ext4_buffer_put(fs, p->inode_buf);
	if (p->block_buf)
		ext4_buffer_put(fs, p->block_buf);
}

static int open_inode_place(struct ext4 *fs, u32 ino, struct places *p)
{
	u32 at;
	u8 *raw;
	int err = ext4_raw_inode_get(fs, ino, &p->inode_buf, &raw);

	if (err) {
		p->inode_buf = NULL;
		return err;
	}
	if (fs->inode_bytes <= IN_OLD_BYTES)
		return 0;
	at = IN_OLD_BYTES + get16(raw + IN_EXTRA);
	if (at + 8 > fs->inode_bytes || get32(raw + at) != XATTR_MAGIC)
		return 0;
	p->area[p->n++] = (struct area){ raw + at + 4, raw + at + 4, raw + fs->inode_bytes };
	return 0;
}

static bool block_csum_ok(const struct ext4 *fs, u64 block, const u8 *data)
{
	static const u8 zero[4];
	u8 le[8];
	u32 c;

	if (!has_csum(fs))
		return true;
	put32(le, block);
	put32(le + 4, block >> 32);
	c = crc32c(fs->csum_seed, le, 8);
	c = crc32c(c, data, 16);
	c = crc32c(c, zero, 4);
	return crc32c(c, data + 20, fs->block_bytes - 20) == get32(data + 16);
}

static int open_block_place(struct ext4 *fs, u64 block, struct places *p)
{
	const u8 *data;
	int err;

	if (!block)
		return 0;
	err = ext4_buffer_get(fs, block, &p->block_buf);
	if (err) {
		p->block_buf = NULL;
		return err;
	}
	data = p->block_buf->data;
	if (get32(data) != XATTR_MAGIC || get32(data + 8) != 1 || !block_csum_ok(fs, block, data))
		return fail(EUCLEAN, "ext4: attribute block %llu", (unsigned long long)block);
	p->area[p->n++] = (struct area){ data + BLOCK_HEADER, data, data + fs->block_bytes };
	return 0;
}

static int open_places(struct ext4 *fs, const struct ext4_inode *in, struct places *p)
{
	int err;

	*p = (struct places){ 0 };
	err = open_inode_place(fs, in->ino, p);
	if (!err)
		err = open_block_place(fs, in->acl_block, p);
	if (err)
		put_places(fs, p);
	return err;
}

static bool name_is(const u8 *e, const char *name)
{
	const char *pre = e[1] < ARRAY_SIZE(prefix) ? prefix[e[1]] : "";
	size_t n = strlen(pre);

	return !strncmp(name, pre, n) && strlen(name + n) == e[0] && !memcmp(name + n, e + ENTRY_BYTES, e[0]);
}

static ssize_t copy_value(const struct area *a, const u8 *e, void *buf, size_t n)
{
	size_t size = get32(e + 8);

	if (!n)
		return size;
	if (size > n)
		return -ERANGE;
	memcpy(buf, a->base + get16(e + 2), size);
	return size;
}

/* Looks for a name, or (name NULL) for the inline data. */
static ssize_t find(const struct places *p, const char *name, void *buf, size_t n)
{
	for (int i = 0; i < p->n; i++) {
		const struct area *a = &p->area[i];
		const u8 *e = a->entries;
		bool bad;

		while ((e = next_entry(a, e, &bad))) {
			bool is_data = e[1] == INDEX_SYSTEM && e[0] == 4 && !memcmp(e + ENTRY_BYTES, "data", 4);

			if (name ? !is_data && name_is(e, name) : is_data)
				return copy_value(a, e, buf, n);
			e = entry_after(e);
		}
		if (bad)
			return fail(EUCLEAN, "ext4: damaged attributes");
	}
	return -ENODATA;
}

ssize_t ext4_getxattr(struct ext4 *fs, const struct ext4_inode *in, const char *name, void *buf, size_t n)
{
	struct places p;
	ssize_t ret = open_places(fs, in, &p);

	if (ret)
		return ret;
	ret = find(&p, name, buf, n);
	put_places(fs, &p);
	return ret;
}

ssize_t ext4_xattr_inline_data(struct ext4 *fs, u32 ino, void *buf, size_t n)
{
	struct places p = { 0 };
	ssize_t ret = open_inode_place(fs, ino, &p);

	if (ret)
		return ret;
	ret = find(&p, NULL, buf, n);
	put_places(fs, &p);
	return ret == -ENODATA ? 0 : ret;
}

static ssize_t list_area(const struct area *a, char *buf, size_t n, size_t have)
{
	const u8 *e = a->entries;
	bool bad;

	while ((e = next_entry(a, e, &bad))) {
		const char *pre = e[1] < ARRAY_SIZE(prefix) ? prefix[e[1]] : "";
		size_t plen = strlen(pre), len = plen + e[0] + 1;
		bool is_data = e[1] == INDEX_SYSTEM && e[0] == 4 && !memcmp(e + ENTRY_BYTES, "data", 4);

		if (!is_data) {
			if (n && have + len > n)
				return -ERANGE;
			if (n) {
				memcpy(buf + have, pre, plen);
				memcpy(buf + have + plen, e + ENTRY_BYTES, e[0]);
				buf[have + len - 1] = '\0';
			}
			have += len;
		}
		e = entry_after(e);
	}
	return bad ? fail(EUCLEAN, "ext4: damaged attributes") : (ssize_t)have;
}

ssize_t ext4_listxattr(struct ext4 *fs, const struct ext4_inode *in, char *buf, size_t n)
{
	struct places p;
	ssize_t ret = open_places(fs, in, &p);
	ssize_t have = 0;

	if (ret)
		return ret;
	for (int i = 0; i < p.n && have >= 0; i++)
		have = list_area(&p.area[i], buf, n, have);
	put_places(fs, &p);
	return have;
}
