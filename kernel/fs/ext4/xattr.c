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
#include <lib/string.h>
#include "xattr.h"

static const char *const prefix[] = {
	"",          "user.",   "system.posix_acl_access", "system.posix_acl_default", "trusted.", "",
	"security.", "system.", "system.richacl"
};

const u8 *ext4_xattr_next(const struct xattr_area *a, const u8 *at, bool *bad)
{
	size_t size, value_at, value;

	*bad = a->end - at < 4;
	if (*bad || !get32(at))
		return NULL;
	*bad = true;
	if (a->end - at < XATTR_ENTRY_BYTES)
		return NULL;
	size = ALIGN_UP((size_t)XATTR_ENTRY_BYTES + at[0], 4);
	value_at = get16(at + 2);
	value = get32(at + 8);
	if ((size_t)(a->end - at) < size + 4)
		return NULL;
	if (value && (get32(at + 4) || value_at > (size_t)(a->end - a->base) || value > a->end - a->base - value_at))
		return NULL;
	*bad = false;
	return at;
}

void ext4_xattr_close(struct ext4 *fs, struct xattr_places *p)
{
	if (p->inode_buf)
		ext4_buffer_put(fs, p->inode_buf);
	if (p->block_buf)
		ext4_buffer_put(fs, p->block_buf);
}

static int open_inode_place(struct ext4 *fs, u32 ino, struct xattr_places *p)
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
	p->area[p->n++] = (struct xattr_area){ raw + at + 4, raw + at + 4, raw + fs->inode_bytes };
	return 0;
}

int ext4_xattr_block_get(struct ext4 *fs, u64 block, struct buffer **b)
{
	const u8 *d;
	int err = ext4_buffer_get(fs, block, b);

	if (err)
		return err;
	d = (*b)->data;
	if (get32(d) == XATTR_MAGIC && get32(d + 8) == 1 &&
	    (!has_csum(fs) || (*b)->checked_for == ~0u || ext4_xattr_csum(fs, block, d) == get32(d + 16))) {
		(*b)->checked_for = ~0u;
		return 0;
	}
	ext4_buffer_put(fs, *b);
	return fail(EUCLEAN, "ext4: attribute block %llu", (unsigned long long)block);
}

static int open_block_place(struct ext4 *fs, u64 block, struct xattr_places *p)
{
	const u8 *data;
	int err;

	if (!block)
		return 0;
	err = ext4_xattr_block_get(fs, block, &p->block_buf);
	if (err) {
		p->block_buf = NULL;
		return err;
	}
	data = p->block_buf->data;
	p->area[p->n++] = (struct xattr_area){ data + XATTR_BLOCK_HEADER, data, data + fs->block_bytes };
	return 0;
}

int ext4_xattr_open(struct ext4 *fs, const struct ext4_inode *in, struct xattr_places *p)
{
	int err;

	*p = (struct xattr_places){ 0 };
	err = open_inode_place(fs, in->ino, p);
	if (!err)
		err = open_block_place(fs, in->acl_block, p);
	if (err)
		ext4_xattr_close(fs, p);
	return err;
}

static bool name_is(const u8 *e, const char *name)
{
	const char *pre = e[1] < ARRAY_SIZE(prefix) ? prefix[e[1]] : "";
	size_t n = strlen(pre);

	return !strncmp(name, pre, n) && strlen(name + n) == e[0] && !memcmp(name + n, e + XATTR_ENTRY_BYTES, e[0]);
}

int ext4_xattr_index(const char *name, u8 *index, size_t *rest)
{
	for (u8 i = 1; i < XATTR_INDEX_SYSTEM; i++) {
		size_t n = strlen(prefix[i]);

		if (!n || strncmp(name, prefix[i], n) || ext4_xattr_is_acl(i) != !name[n])
			continue;
		*index = i;
		*rest = n;
		return 0;
	}
	return -EOPNOTSUPP;
}

static ssize_t copy_value(const struct xattr_area *a, const u8 *e, void *buf, size_t n)
{
	size_t size = get32(e + 8);

	if (ext4_xattr_is_acl(e[1]))
		return ext4_acl_from_disk(a->base + get16(e + 2), size, buf, n);
	if (!n)
		return size;
	if (size > n)
		return -ERANGE;
	memcpy(buf, a->base + get16(e + 2), size);
	return size;
}

/* Looks for a name, or (name NULL) for the inline data. */
static ssize_t find(const struct xattr_places *p, const char *name, void *buf, size_t n)
{
	for (int i = 0; i < p->n; i++) {
		const struct xattr_area *a = &p->area[i];
		const u8 *e = a->entries;
		bool bad;

		while ((e = ext4_xattr_next(a, e, &bad))) {
			bool is_data =
				e[1] == XATTR_INDEX_SYSTEM && e[0] == 4 && !memcmp(e + XATTR_ENTRY_BYTES, "data", 4);

			if (name ? !is_data && name_is(e, name) : is_data)
				return copy_value(a, e, buf, n);
			e = ext4_xattr_after(e);
		}
		if (bad)
			return fail(EUCLEAN, "ext4: damaged attributes");
	}
	return -ENODATA;
}

ssize_t ext4_getxattr(struct ext4 *fs, const struct ext4_inode *in, const char *name, void *buf, size_t n)
{
	struct xattr_places p;
	ssize_t ret = ext4_xattr_open(fs, in, &p);

	if (ret)
		return ret;
	ret = find(&p, name, buf, n);
	ext4_xattr_close(fs, &p);
	return ret;
}

ssize_t ext4_xattr_inline_data(struct ext4 *fs, u32 ino, void *buf, size_t n)
{
	struct xattr_places p = { 0 };
	ssize_t ret = open_inode_place(fs, ino, &p);

	if (ret)
		return ret;
	ret = find(&p, NULL, buf, n);
	ext4_xattr_close(fs, &p);
	return ret == -ENODATA ? 0 : ret;
}

static ssize_t list_area(const struct xattr_area *a, char *buf, size_t n, size_t have)
{
	const u8 *e = a->entries;
	bool bad;

	while ((e = ext4_xattr_next(a, e, &bad))) {
		const char *pre = e[1] < ARRAY_SIZE(prefix) ? prefix[e[1]] : "";
		size_t plen = strlen(pre), len = plen + e[0] + 1;
		bool is_data = e[1] == XATTR_INDEX_SYSTEM && e[0] == 4 && !memcmp(e + XATTR_ENTRY_BYTES, "data", 4);

		if (!is_data) {
			if (n && have + len > n)
				return -ERANGE;
			if (n) {
				memcpy(buf + have, pre, plen);
				memcpy(buf + have + plen, e + XATTR_ENTRY_BYTES, e[0]);
				buf[have + len - 1] = '\0';
			}
			have += len;
		}
		e = ext4_xattr_after(e);
	}
	return bad ? fail(EUCLEAN, "ext4: damaged attributes") : (ssize_t)have;
}

ssize_t ext4_listxattr(struct ext4 *fs, const struct ext4_inode *in, char *buf, size_t n)
{
	struct xattr_places p;
	ssize_t ret = ext4_xattr_open(fs, in, &p);
	ssize_t have = 0;

	if (ret)
		return ret;
	for (int i = 0; i < p.n && have >= 0; i++)
		have = list_area(&p.area[i], buf, n, have);
	ext4_xattr_close(fs, &p);
	return have;
}
