/* SPDX-License-Identifier: MIT
 *
 * Problem: a directory's index must grow with it, and stay what Linux looks names up in.
 *
 * Idea: a leaf that is full is divided at the middle of its bytes in order of hash; the upper half goes to a new block,
 * the lower half stays where it lies, so that a listing loses nothing. Before that, on the way down, every full table
 * is divided (or the root deepened), so that there is room for one entry more above. If names of one hash end up on
 * both sides, the new entry's lowest bit says so.
 *
 *      root   ".", "..", info (hash version, depth), limit and count, block, (hash, block) ...
 *      node   empty entry over the whole block, limit and count, block, (hash, block) ...      8 bytes tail: checksum
 *
 * Contract: dir_change.h. -ENOSPC: the index has no room (depth 2, 3 with large_dir) or the disk.
 *
 * Locks: the file system's.
 */
#include <alloc/slab.h>
#include <lib/string.h>
#include "dir_change.h"

struct name_at { /* an entry of a leaf */
	u32 hash, offset;
	u32 bytes;
};

static u32 limit_at(const struct ext4 *fs, unsigned at)
{
	return (fs->block_bytes - at - 8 * has_csum(fs)) / 8;
}

static void put_count(struct dx_level *l, unsigned n)
{
	put16(l->b->data + l->at + 2, n);
}

static u8 *place(const struct dx_level *l, unsigned i)
{
	return l->b->data + l->at + 8 * i;
}

static void insert_place(struct dx_level *l, unsigned i, u32 hash, u32 block)
{
	unsigned n = dx_count(l);

	memmove(place(l, i + 1), place(l, i), 8 * (n - i));
	put32(place(l, i), hash);
	put32(place(l, i) + 4, block);
	put_count(l, n + 1);
}

/* An empty table below the root. */
static int new_table(struct ext4 *fs, struct ext4_inode *dir, struct dx_level *l, u32 *lblock)
{
	int err = ext4_dir_append(fs, dir, &l->b, lblock);

	if (err)
		return err;
	ext4_dir_put_rec_len(fs, l->b->data, fs->block_bytes);
	l->at = DX_NODE_ENTRIES;
	put16(l->b->data + l->at, limit_at(fs, l->at));
	return 0;
}

/* The root's table moves into a block below it. */
static int deepen(struct ext4 *fs, struct ext4_inode *dir, struct dx_way *w)
{
	struct dx_level *root = &w->l[0], below;
	unsigned n = dx_count(root), most = fs->incompat & INCOMPAT_LARGEDIR ? DX_MAX_LEVELS : 2;
	u32 lblock;
	int err;

	if (w->levels >= (int)most)
		return fail(ENOSPC, "ext4: the index of directory %u is full", dir->ino);
	err = new_table(fs, dir, &below, &lblock);
	if (err)
		return err;
	for (unsigned i = 1; i < n; i++)
		memcpy(place(&below, i), place(root, i), 8);
	put32(place(&below, 0) + 4, ext4_dx_child(root, 0));
	put_count(&below, n);
	below.i = root->i;
	put_count(root, 1);
	put32(place(root, 0) + 4, lblock);
	root->i = 0;
	root->b->data[DX_ROOT_INFO + 6]++;
	ext4_dir_dirty(fs, dir, root->b, SUM_DX);
	ext4_dir_dirty(fs, dir, below.b, SUM_DX);
	memmove(&w->l[2], &w->l[1], (w->levels - 1) * sizeof(w->l[0]));
	w->l[1] = below;
	w->levels++;
	return 0;
}

/* Level d is full and the one above is not. */
static int split_table(struct ext4 *fs, struct ext4_inode *dir, struct dx_way *w, int d)
{
	struct dx_level *l = &w->l[d], *up = l - 1, right;
	unsigned n = dx_count(l), half = n / 2;
	u32 lblock, hash = get32(place(l, half));
	int err = new_table(fs, dir, &right, &lblock);

	if (err)
		return err;
	for (unsigned i = half + 1; i < n; i++)
		memcpy(place(&right, i - half), place(l, i), 8);
	put32(place(&right, 0) + 4, ext4_dx_child(l, half));
	put_count(&right, n - half);
	put_count(l, half);
	insert_place(up, up->i + 1, hash, lblock);
	ext4_dir_dirty(fs, dir, l->b, SUM_DX);
	ext4_dir_dirty(fs, dir, right.b, SUM_DX);
	ext4_dir_dirty(fs, dir, up->b, SUM_DX);
	if (l->i >= half) {
		right.i = l->i - half;
		up->i++;
		swap(*l, right);
	}
	ext4_buffer_put(fs, right.b);
	return 0;
}

/* The last table gets room for one more. */
static int make_room(struct ext4 *fs, struct ext4_inode *dir, struct dx_way *w)
{
	int err = 0, full = w->levels - 1;

	while (full >= 0 && dx_count(&w->l[full]) >= dx_limit(&w->l[full]))
		full--;
	if (full < 0) {
		err = deepen(fs, dir, w);
		full = 0;
	}
	for (int d = full + 1; d < w->levels && !err; d++)
		if (dx_count(&w->l[d]) >= dx_limit(&w->l[d]))
			err = split_table(fs, dir, w, d);
	return err;
}

/* ---- leaves
 * ------------------------------------------------------------------------------------------------------------ */

static int hash_leaf(struct ext4 *fs, const u8 *data, u8 version, struct name_at *names, unsigned *n)
{
	u32 room = ext4_dir_room(fs);
	int err = 0;

	*n = 0;
	for (u32 at = 0; at < room && !err; at += ext4_dir_rec_len(fs, data + at)) {
		const u8 *e = data + at;

		if (!ext4_dir_entry_ok(fs, e, room - at))
			return fail(EUCLEAN, "ext4: directory entry at offset %u", at);
		if (!get32(e) || !e[DE_NAME_LEN])
			continue;
		names[*n].offset = at;
		names[*n].bytes = dir_entry_bytes(e[DE_NAME_LEN]);
		err = ext4_name_hash(fs, version, (const char *)e + DE_NAME, e[DE_NAME_LEN], &names[*n].hash);
		++*n;
	}
	return err;
}

static void sort_names(struct name_at *v, unsigned n)
{
	for (unsigned gap = n / 2; gap; gap /= 2)
		for (unsigned i = gap; i < n; i++)
			for (unsigned j = i; j >= gap && v[j - gap].hash > v[j].hash; j -= gap)
				swap(v[j], v[j - gap]);
}

/* Where the upper half of the bytes begins; at least one name on each side. */
static unsigned middle(const struct ext4 *fs, const struct name_at *names, unsigned n)
{
	u32 bytes = 0, all = 0;
	unsigned i;

	for (i = 0; i < n; i++)
		all += names[i].bytes;
	for (i = n; i > 1 && bytes + names[i - 1].bytes / 2 <= all / 2; i--)
		bytes += names[i - 1].bytes;
	return min(max(i, 1u), n - 1);
}

/* Packs what is left of a leaf, when its slack lies in pieces too small. */
static void compact(const struct ext4 *fs, u8 *data, u8 *copy)
{
	u32 room = ext4_dir_room(fs), to = 0, last = 0;

	memcpy(copy, data, fs->block_bytes);
	for (u32 at = 0; at < room; at += ext4_dir_rec_len(fs, copy + at)) {
		u32 bytes = dir_entry_bytes(copy[at + DE_NAME_LEN]);

		if (!get32(copy + at))
			continue;
		memcpy(data + to, copy + at, bytes);
		ext4_dir_put_rec_len(fs, data + to, bytes);
		last = to;
		to += bytes;
	}
	if (!to)
		put32(data, 0);
	ext4_dir_put_rec_len(fs, data + last, room - last);
}

/* names[from..n) of the leaf go to the new block. */
static void move_names(struct ext4 *fs, struct buffer *leaf, struct buffer *to, const struct name_at *names,
		       unsigned from, unsigned n)
{
	u32 at = 0, last = 0;

	for (unsigned i = from; i < n; i++) {
		memcpy(to->data + at, leaf->data + names[i].offset, names[i].bytes);
		ext4_dir_put_rec_len(fs, to->data + at, names[i].bytes);
		last = at;
		at += names[i].bytes;
	}
	ext4_dir_put_rec_len(fs, to->data + last, ext4_dir_room(fs) - last);
	ext4_dir_put_tail(fs, to->data);
	for (unsigned i = from; i < n; i++)
		ext4_dir_cut(fs, leaf->data, names[i].offset);
}

/* The last table of the way has room; goes on with the half that the name belongs to in *leaf. */
static int split_leaf(struct ext4 *fs, struct ext4_inode *dir, struct dx_way *w, struct buffer **leaf,
		      struct name_at *names)
{
	struct dx_level *l = &w->l[w->levels - 1];
	struct buffer *upper;
	unsigned n, from;
	u32 lblock, hash;
	int err = hash_leaf(fs, (*leaf)->data, w->version, names, &n);

	if (!err && n < 2)
		err = fail(EUCLEAN, "ext4: a full block of directory %u has %u names", dir->ino, n);
	if (!err)
		err = ext4_dir_append(fs, dir, &upper, &lblock);
	if (err)
		return err;
	sort_names(names, n);
	from = middle(fs, names, n);
	hash = names[from].hash;
	move_names(fs, *leaf, upper, names, from, n);
	insert_place(l, l->i + 1, hash | (hash == names[from - 1].hash), lblock);
	ext4_dir_dirty(fs, dir, l->b, SUM_DX);
	ext4_dir_dirty(fs, dir, *leaf, SUM_DIR);
	ext4_dir_dirty(fs, dir, upper, SUM_DIR);
	if (w->hash >= hash)
		swap(*leaf, upper);
	ext4_buffer_put(fs, upper);
	return 0;
}

static int add_by_split(struct ext4 *fs, struct ext4_inode *dir, struct dx_way *w, struct buffer **leaf,
			const char *name, size_t len, u32 ino, u8 type)
{
	struct name_at *names = kmalloc(fs->block_bytes / 12 * sizeof(*names) + fs->block_bytes, ALLOC_KERNEL);
	int err = names ? make_room(fs, dir, w) : -ENOMEM;

	if (!err)
		err = split_leaf(fs, dir, w, leaf, names);
	if (!err)
		err = ext4_dir_put(fs, dir, *leaf, name, len, ino, type);
	if (err == -ENOSPC && ext4_buffer_is_dirty(fs, (*leaf)->block)) {
		compact(fs, (*leaf)->data, (u8 *)names);
		err = ext4_dir_put(fs, dir, *leaf, name, len, ino, type);
	}
	kfree(names);
	return err;
}

int ext4_dx_add(struct ext4 *fs, struct ext4_inode *dir, const char *name, size_t len, u32 ino, u8 type)
{
	struct buffer *leaf = NULL;
	struct dx_level *l;
	struct dx_way w;
	int err = ext4_dx_enter(fs, dir, name, len, &w);

	if (err)
		return err;
	l = &w.l[w.levels - 1];
	err = ext4_dir_block_get(fs, dir, ext4_dx_child(l, l->i), &leaf, NULL);
	if (!err && !leaf)
		err = fail(EUCLEAN, "ext4: the index of directory %u leads into a hole", dir->ino);
	if (!err)
		err = ext4_dir_put(fs, dir, leaf, name, len, ino, type);
	if (err == -ENOSPC)
		err = add_by_split(fs, dir, &w, &leaf, name, len, ino, type);
	if (leaf)
		ext4_buffer_put(fs, leaf);
	ext4_dx_leave(fs, &w);
	return err;
}

/* ---- the first index
 * ------------------------------------------------------------------------------------------------------ */

static void put_root(struct ext4 *fs, u8 *data, u32 child)
{
	u32 limit = limit_at(fs, DX_ROOT_ENTRIES);
	u8 version = fs->sb[SB_HASH_VERSION];

	ext4_dir_put_rec_len(fs, data + 12, fs->block_bytes - 12);
	memset(data + DX_ROOT_INFO, 0, fs->block_bytes - DX_ROOT_INFO);
	data[DX_ROOT_INFO + 4] = version < 3 ? version : 1;
	data[DX_ROOT_INFO + 5] = 8;
	put16(data + DX_ROOT_ENTRIES, limit);
	put16(data + DX_ROOT_ENTRIES + 2, 1);
	put32(data + DX_ROOT_ENTRIES + 4, child);
}

int ext4_dx_make(struct ext4 *fs, struct ext4_inode *dir)
{
	u32 room = ext4_dir_room(fs), first, lblock, at, to = 0, last = 0;
	struct buffer *root, *leaf;
	int err = ext4_dir_block_get(fs, dir, 0, &root, NULL);

	if (err || !root)
		return err ? err : fail(EUCLEAN, "ext4: directory %u begins with a hole", dir->ino);
	if (!ext4_dir_entry_ok(fs, root->data, room) || ext4_dir_rec_len(fs, root->data) != 12 ||
	    !ext4_dir_entry_ok(fs, root->data + 12, room - 12))
		err = fail(EUCLEAN, "ext4: directory %u does not begin with two dots", dir->ino);
	first = 12 + ext4_dir_rec_len(fs, root->data + 12);
	if (!err)
		err = ext4_dir_append(fs, dir, &leaf, &lblock);
	if (err) {
		ext4_buffer_put(fs, root);
		return err;
	}
	for (at = first; at < room; at += ext4_dir_rec_len(fs, root->data + at)) {
		u8 *e = root->data + at;
		u32 bytes = dir_entry_bytes(e[DE_NAME_LEN]);

		if (!get32(e)) /* the caller has just seen all of them fit */
			continue;
		memcpy(leaf->data + to, e, bytes);
		ext4_dir_put_rec_len(fs, leaf->data + to, bytes);
		last = to;
		to += bytes;
	}
	ext4_dir_put_rec_len(fs, leaf->data + last, room - last);
	ext4_dir_put_tail(fs, leaf->data);
	put_root(fs, root->data, lblock);
	dir->flags |= INODE_INDEX;
	ext4_dir_dirty(fs, dir, root, SUM_DX);
	ext4_dir_dirty(fs, dir, leaf, SUM_DIR);
	ext4_buffer_put(fs, root);
	ext4_buffer_put(fs, leaf);
	return 0;
}
