/* SPDX-License-Identifier: MIT
 *
 * Problem: attributes share two small places, behind the inode's fields and in one block; a change may move others.
 *
 * Idea: all of an inode's attributes are read into a list, the list is changed, and both places are written anew: what
 * fits behind the inode goes there in order of age, the rest into the block, sorted as Linux looks them up. A block
 * that several inodes share is left to the others.
 *
 *      place   header, entries ... zero word ... values (from the end, in fours)
 *
 * Contract: ext4_setxattr of fs/ext4/ext4.h. Nothing is changed when there is no room.
 *
 * Locks: the file system's.
 */
#include <alloc/slab.h>
#include <lib/string.h>
#include "xattr.h"

#define MAX_ATTRS 512

struct attr {
	u8 index, name_len;
	const u8 *name, *value;
	u32 size;
	bool in_inode; /* where it is to go */
};

struct attrs {
	struct attr a[MAX_ATTRS];
	unsigned n;
	u8 *inode_copy, *block_copy, *value; /* what a[] points into */
};

static u32 entry_bytes(const struct attr *a)
{
	return XATTR_ENTRY_BYTES + ALIGN_UP((u32)a->name_len, 4);
}

static u32 all_bytes(const struct attr *a)
{
	return entry_bytes(a) + ALIGN_UP(a->size, 4);
}

static bool is_data(const struct attr *a)
{
	return a->index == XATTR_INDEX_SYSTEM && a->name_len == 4 && !memcmp(a->name, "data", 4);
}

/* ---- reading all
 * ------------------------------------------------------------------------------------------------------ */

static int take_area(struct attrs *all, const struct xattr_area *area, const u8 *copy, const u8 *original)
{
	const u8 *e = area->entries;
	bool bad;

	while ((e = ext4_xattr_next(area, e, &bad))) {
		const u8 *c = copy + (e - original);
		struct attr *a = &all->a[all->n];

		if (all->n + 2 >= MAX_ATTRS)
			return fail(EUCLEAN, "ext4: too many attributes");
		*a = (struct attr){ .index = e[1],
				    .name_len = e[0],
				    .name = c + XATTR_ENTRY_BYTES,
				    .size = get32(e + 8),
				    .value = copy + (area->base - original) + get16(e + 2) };
		all->n++;
		e = ext4_xattr_after(e);
	}
	return bad ? fail(EUCLEAN, "ext4: damaged attributes") : 0;
}

static int load(struct ext4 *fs, const struct ext4_inode *in, struct attrs *all)
{
	struct xattr_places p;
	int err = ext4_xattr_open(fs, in, &p);

	if (err)
		return err;
	for (int i = 0; i < p.n && !err; i++) {
		bool block = p.area[i].base != p.area[i].entries;
		const u8 *from = block ? p.block_buf->data : p.area[i].entries;
		size_t n = p.area[i].end - from;
		u8 *copy = kmalloc(n, ALLOC_KERNEL);

		if (block)
			all->block_copy = copy;
		else
			all->inode_copy = copy;
		if (!copy) {
			err = -ENOMEM;
			break;
		}
		memcpy(copy, from, n);
		err = take_area(all, &p.area[i], copy, from);
	}
	ext4_xattr_close(fs, &p);
	return err;
}

static void unload(struct attrs *all)
{
	kfree(all->inode_copy);
	kfree(all->block_copy);
	kfree(all->value);
	kfree(all);
}

/* ---- changing the list
 * ------------------------------------------------------------------------------------------------ */

static int change(struct attrs *all, const struct attr *new, int flags)
{
	unsigned i = 0;

	while (i < all->n && (all->a[i].index != new->index || all->a[i].name_len != new->name_len ||
			      memcmp(all->a[i].name, new->name, new->name_len)))
		i++;
	if (i < all->n && flags & 1)
		return -EEXIST;
	if (i == all->n && (flags & 2 || !new->value))
		return -ENODATA;
	if (i < all->n) {
		memmove(&all->a[i], &all->a[i + 1], (all->n - i - 1) * sizeof(*new));
		all->n--;
	}
	if (new->value)
		all->a[all->n++] = *new;
	return 0;
}

/* Bytes for attributes behind the inode's fields, the closing word included; 0: none. */
static u32 inode_room(const struct ext4 *fs, const u8 *raw)
{
	u32 at = IN_OLD_BYTES + (fs->inode_bytes > IN_OLD_BYTES ? get16(raw + IN_EXTRA) : 0);

	return at + 8 < fs->inode_bytes ? fs->inode_bytes - at - 4 : 0;
}

/* -ENOSPC: they do not fit. *in_block: how many go there. */
static int distribute(const struct ext4 *fs, struct attrs *all, u32 room, unsigned *in_block)
{
	u32 block = XATTR_BLOCK_HEADER + 4;

	*in_block = 0;
	room = room > 4 ? room - 4 : 0;
	for (unsigned i = 0; i < all->n; i++) { /* bytes of the file must be there */
		all->a[i].in_inode = is_data(&all->a[i]);
		if (all->a[i].in_inode && all_bytes(&all->a[i]) > room)
			return -ENOSPC;
		room -= all->a[i].in_inode ? all_bytes(&all->a[i]) : 0;
	}
	for (unsigned i = 0; i < all->n; i++) {
		struct attr *a = &all->a[i];

		if (a->in_inode)
			continue;
		a->in_inode = all_bytes(a) <= room;
		room -= a->in_inode ? all_bytes(a) : 0;
		block += a->in_inode ? 0 : all_bytes(a);
		*in_block += !a->in_inode;
	}
	return block > fs->block_bytes ? -ENOSPC : 0;
}

/* ---- writing both places
 * -------------------------------------------------------------------------------------------------- */

static u32 hash_of(const struct attr *a, const u8 *padded)
{
	u32 h = 0;

	for (unsigned i = 0; i < a->name_len; i++)
		h = h << 5 ^ h >> 27 ^ a->name[i];
	for (u32 i = 0; i < ALIGN_UP(a->size, 4); i += 4)
		h = h << 16 ^ h >> 16 ^ get32(padded + i);
	return h;
}

/* One after the other from `entries` on; offsets of values count from base. */
static void write_area(const struct attrs *all, bool in_inode, u8 *entries, u8 *base, u8 *end)
{
	u8 *e = entries, *value = end;

	memset(entries, 0, end - entries);
	for (unsigned i = 0; i < all->n; i++) {
		const struct attr *a = &all->a[i];

		if (a->in_inode != in_inode)
			continue;
		value -= ALIGN_UP(a->size, 4);
		memcpy(value, a->value, a->size);
		e[0] = a->name_len;
		e[1] = a->index;
		put16(e + 2, a->size ? value - base : 0);
		put32(e + 8, a->size);
		put32(e + 12, hash_of(a, value));
		memcpy(e + XATTR_ENTRY_BYTES, a->name, a->name_len);
		e += entry_bytes(a);
	}
}

static int compare(const struct attr *a, const struct attr *b)
{
	if (a->index != b->index)
		return a->index - b->index;
	if (a->name_len != b->name_len)
		return a->name_len - b->name_len;
	return memcmp(a->name, b->name, a->name_len);
}

static void sort(struct attrs *all)
{
	for (unsigned i = 1; i < all->n; i++)
		for (unsigned j = i; j && compare(&all->a[j - 1], &all->a[j]) > 0; j--)
			swap(all->a[j - 1], all->a[j]);
}

int ext4_xattr_drop_block(struct ext4 *fs, struct ext4_inode *in)
{
	struct buffer *b;
	u64 block = in->acl_block;
	u32 users;
	int err;

	if (!block)
		return 0;
	err = ext4_xattr_block_get(fs, block, &b);
	if (err)
		return err;
	users = get32(b->data + 4);
	if (users > 1) {
		put32(b->data + 4, users - 1);
		ext4_buffer_dirty_sum(fs, b, SUM_XATTR, 0);
	}
	ext4_buffer_put(fs, b);
	in->acl_block = 0;
	in->sectors -= min(in->sectors, (u64)fs->block_bytes / 512);
	return users > 1 ? 0 : ext4_blocks_free(fs, block, 1, true);
}

/* A block of the inode's own: the one that it has, or a new one. */
static int own_block(struct ext4 *fs, struct ext4_inode *in, struct buffer **b)
{
	u64 block;
	u32 got;
	int err;

	if (in->acl_block) {
		err = ext4_xattr_block_get(fs, in->acl_block, b);
		if (err || get32((*b)->data + 4) == 1)
			return err;
		ext4_buffer_put(fs, *b);
	}
	err = ext4_blocks_alloc(fs, ext4_goal(fs, in, 0), 1, &block, &got);
	if (!err)
		err = ext4_xattr_drop_block(fs, in);
	if (!err)
		err = ext4_buffer_new(fs, block, b);
	if (err)
		return err;
	in->acl_block = block;
	in->sectors += fs->block_bytes / 512;
	return 0;
}

static int write_block(struct ext4 *fs, struct ext4_inode *in, struct attrs *all)
{
	struct buffer *b;
	u32 hash = 0;
	u8 *d;
	int err = own_block(fs, in, &b);

	if (err)
		return err;
	d = b->data;
	memset(d, 0, XATTR_BLOCK_HEADER);
	put32(d, XATTR_MAGIC);
	put32(d + 4, 1);
	put32(d + 8, 1);
	sort(all);
	write_area(all, false, d + XATTR_BLOCK_HEADER, d, d + fs->block_bytes);
	for (const u8 *e = d + XATTR_BLOCK_HEADER; get32(e); e = ext4_xattr_after(e))
		hash = hash << 16 ^ hash >> 16 ^ get32(e + 12);
	put32(d + 12, hash);
	b->checked_for = ~0u;
	ext4_buffer_dirty_sum(fs, b, SUM_XATTR, 0);
	ext4_buffer_put(fs, b);
	return 0;
}

static int write_inode(struct ext4 *fs, const struct ext4_inode *in, struct attrs *all)
{
	struct buffer *b;
	u32 at, room;
	u8 *raw;
	int err = ext4_raw_inode_get(fs, in->ino, &b, &raw);

	if (err)
		return err;
	room = inode_room(fs, raw);
	at = fs->inode_bytes - room - 4;
	if (room) {
		put32(raw + at, all->n ? XATTR_MAGIC : 0);
		write_area(all, true, raw + at + 4, raw + at + 4, raw + fs->inode_bytes);
		ext4_buffer_dirty(fs, b);
	}
	ext4_buffer_put(fs, b);
	return 0;
}

static int store_all(struct ext4 *fs, struct ext4_inode *in, struct attrs *all)
{
	struct buffer *b;
	unsigned in_block;
	u32 room;
	u8 *raw;
	int err = ext4_raw_inode_get(fs, in->ino, &b, &raw);

	if (err)
		return err;
	room = inode_room(fs, raw);
	ext4_buffer_put(fs, b);
	err = distribute(fs, all, room, &in_block);
	if (!err)
		err = in_block ? write_block(fs, in, all) : ext4_xattr_drop_block(fs, in);
	if (!err)
		err = write_inode(fs, in, all);
	return err ? err : ext4_store(fs, in);
}

static int set(struct ext4 *fs, struct ext4_inode *in, const struct attr *new, int flags)
{
	struct attrs *all = kzalloc(sizeof(*all), ALLOC_KERNEL);
	int err = all ? load(fs, in, all) : -ENOMEM;

	if (!err)
		err = change(all, new, flags);
	if (!err)
		err = store_all(fs, in, all);
	if (all)
		unload(all);
	return err;
}

int ext4_xattr_drop_inline(struct ext4 *fs, struct ext4_inode *in)
{
	struct attr data = { .index = XATTR_INDEX_SYSTEM, .name_len = 4, .name = (const u8 *)"data" };
	int err = set(fs, in, &data, 0);

	return err == -ENODATA ? 0 : err;
}

int ext4_setxattr(struct ext4 *fs, struct ext4_inode *in, const char *name, const void *value, size_t n, int flags)
{
	struct attr new = { .value = value, .size = n };
	u8 *acl = NULL;
	size_t rest;
	ssize_t err = ext4_xattr_index(name, &new.index, &rest);

	if (err)
		return err;
	new.name = (const u8 *)name + rest;
	if (strlen(name + rest) > 255 || n > fs->block_bytes)
		return strlen(name + rest) > 255 ? -ERANGE : -ENOSPC;
	new.name_len = strlen(name + rest);
	if (value && ext4_xattr_is_acl(new.index)) {
		acl = kmalloc(n + 4, ALLOC_KERNEL);
		err = acl ? ext4_acl_to_disk(value, n, acl) : -ENOMEM;
		new.value = acl;
		new.size = max(err, (ssize_t)0);
	}
	err = min(err, (ssize_t)0);
	if (!err)
		err = ext4_step_begin(fs);
	if (!err) {
		in->ctime = fs->now;
		err = ext4_step_end(fs, set(fs, in, &new, flags));
	}
	kfree(acl);
	return err;
}

/* ---- bytes that leave the inode
 * -------------------------------------------------------------------------------------- */

static int leave_inline(struct ext4 *fs, struct ext4_inode *in)
{
	u64 size = in->size, physical;
	u8 *bytes = kzalloc(fs->block_bytes, ALLOC_KERNEL);
	ssize_t n = bytes ? ext4_read(fs, in, 0, bytes, fs->block_bytes) : -ENOMEM;
	int err = min(n, (ssize_t)0);

	if (!err && ext4_blocks_left(fs) < 64)
		err = -ENOSPC;
	if (!err)
		err = ext4_xattr_drop_inline(fs, in);
	if (!err) {
		in->flags &= ~INODE_INLINE;
		ext4_extent_init(in);
		if (size)
			err = ext4_block_add(fs, in, 0, &physical);
		/* Data, not metadata: it is at home before the commit. */
		if (!err && size)
			err = fs->dev.write(fs->dev.ctx, physical * fs->block_bytes, bytes, fs->block_bytes);
		if (!err)
			err = ext4_store(fs, in);
	}
	kfree(bytes);
	return err;
}

int ext4_leave_inline(struct ext4 *fs, struct ext4_inode *in)
{
	int err = ext4_step_begin(fs);

	return err ? err : ext4_step_end(fs, leave_inline(fs, in));
}
