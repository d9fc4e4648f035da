/* SPDX-License-Identifier: MIT
 *
 * Problem: files of ext2 and ext3 have no extents but tables of block numbers, up to three deep.
 *
 * Idea: a run is put into one table at a time. Tables that are missing on the way are made before the run gets its
 * blocks, so that they lie in front of it and a file that grows is in pieces only where a table is full. A run is cut
 * out of one table at a time, and tables that have become empty go with it.
 *
 *      i_block   12 direct | one table | table of tables | table of tables of tables        0: a hole
 *
 * Contract: ext4_priv.h; the caller stores the inode. Such files end at 2^32 blocks and cannot be unwritten.
 *
 * Locks: the file system's.
 */
#include <lib/string.h>
#include "ext4_priv.h"

struct place {            /* of a pointer */
	struct buffer *b; /* NULL: in the inode */
	u8 *at;
};

struct way { /* from the inode to the entry of one block */
	struct place p[4];
	u32 lblock, index[4];
	int depth; /* of the last one */
	u32 room;  /* entries from the last one to its table's end */
};

/* Indices on the way to lblock. */
static int plan(const struct ext4 *fs, u32 lblock, struct way *w)
{
	u32 per = fs->block_bytes / 4;
	u64 span = per, rest = lblock;

	*w = (struct way){ .lblock = lblock };
	if (lblock < 12) {
		w->index[0] = lblock;
		w->room = 12 - lblock;
		return 0;
	}
	for (rest -= 12; rest >= span; span *= per) {
		rest -= span;
		if (++w->depth == 3)
			return -EFBIG;
	}
	w->index[0] = 12 + w->depth++;
	for (int d = 1; d <= w->depth; d++) {
		span /= per;
		w->index[d] = rest / span;
		rest %= span;
	}
	w->room = per - w->index[w->depth];
	return 0;
}

static void leave(struct ext4 *fs, struct way *w)
{
	for (int d = 1; d <= w->depth; d++)
		if (w->p[d].b)
			ext4_buffer_put(fs, w->p[d].b);
}

static void put_pointer(struct ext4 *fs, struct place *p, u32 value)
{
	put32(p->at, value);
	if (p->b)
		ext4_buffer_dirty(fs, p->b);
	else
		fs->op_changes++; /* the inode, which the caller stores */
}

static int make_table(struct ext4 *fs, struct ext4_inode *in, u32 lblock, struct place *pointer, struct buffer **out)
{
	u64 block;
	u32 got;
	int err = ext4_blocks_alloc(fs, ext4_goal(fs, in, lblock), 1, &block, &got);

	if (err)
		return err;
	if (block > UINT32_MAX) {
		err = ext4_blocks_free(fs, block, 1, false);
		return err ? err : -EFBIG;
	}
	err = ext4_buffer_new(fs, block, out);
	if (err)
		return err;
	ext4_buffer_dirty(fs, *out);
	put_pointer(fs, pointer, block);
	in->sectors += fs->block_bytes / 512;
	return 0;
}

/* Enters the tables; with `make` those that are missing are made, else the way ends there. */
static int enter(struct ext4 *fs, struct ext4_inode *in, struct way *w, bool make)
{
	w->p[0].at = in->raw_block + 4 * w->index[0];
	for (int d = 1; d <= w->depth; d++) {
		u32 block = get32(w->p[d - 1].at);
		int err;

		if (block && ext4_in_zones(fs, block, 1))
			err = fail(EUCLEAN, "ext4: table %u of inode %u", block, in->ino);
		else if (block)
			err = ext4_buffer_get(fs, block, &w->p[d].b);
		else
			err = make ? make_table(fs, in, w->lblock, &w->p[d - 1], &w->p[d].b) : -ENOENT;
		if (err) {
			w->p[d].b = NULL;
			return err;
		}
		w->p[d].at = w->p[d].b->data + 4 * w->index[d];
	}
	return 0;
}

int ext4_indirect_prepare(struct ext4 *fs, struct ext4_inode *in, u32 lblock, u32 *count)
{
	struct way w;
	int err = plan(fs, lblock, &w);

	if (err)
		return err;
	err = enter(fs, in, &w, true);
	*count = min(*count, w.room);
	leave(fs, &w);
	return err;
}

int ext4_indirect_insert(struct ext4 *fs, struct ext4_inode *in, u32 lblock, u32 count, u64 physical)
{
	struct way w;
	int err = plan(fs, lblock, &w);

	if (!err && physical + count > UINT32_MAX)
		err = -EFBIG;
	if (err)
		return err;
	err = enter(fs, in, &w, false);
	for (u32 i = 0; i < count && !err; i++) {
		struct place p = { w.p[w.depth].b, w.p[w.depth].at + 4 * i };

		if (get32(p.at))
			err = fail(EUCLEAN, "ext4: block %u of inode %u is there already", lblock + i, in->ino);
		else
			put_pointer(fs, &p, physical + i);
	}
	leave(fs, &w);
	return err;
}

static bool is_zero(const u8 *data, u32 n)
{
	for (u32 i = 0; i < n; i += 8)
		if (get64(data + i))
			return false;
	return true;
}

/* Tables without entries go. */
static int drop_empty(struct ext4 *fs, struct ext4_inode *in, struct way *w)
{
	for (int d = w->depth; d > 0 && is_zero(w->p[d].b->data, fs->block_bytes); d--) {
		u64 block = w->p[d].b->block;
		int err;

		ext4_buffer_put(fs, w->p[d].b);
		w->p[d].b = NULL;
		put_pointer(fs, &w->p[d - 1], 0);
		err = ext4_blocks_free(fs, block, 1, true);
		if (err)
			return err;
		in->sectors -= min(in->sectors, (u64)fs->block_bytes / 512);
	}
	return 0;
}

int ext4_indirect_remove(struct ext4 *fs, struct ext4_inode *in, u32 from, u64 to)
{
	struct ext4_extent e = { 0 };
	u64 at = from, per = fs->block_bytes / 4;
	struct way w;
	int err = 0;

	to = min(to, 12 + per + per * per + per * per * per); /* behind the last that could be */
	while (at < to && !err) {                             /* the first run */
		err = ext4_map(fs, in, at, &e);
		if (err || e.physical)
			break;
		at += max(e.count, 1u);
	}
	if (err || at >= to)
		return err;
	e.count = min((u64)e.count, to - at);
	err = plan(fs, at, &w);
	if (!err)
		err = enter(fs, in, &w, false);
	e.count = min(e.count, w.room);
	for (u32 i = 0; i < e.count && !err; i++) {
		struct place p = { w.p[w.depth].b, w.p[w.depth].at + 4 * i };

		put_pointer(fs, &p, 0);
	}
	if (!err)
		err = ext4_blocks_free(fs, e.physical, e.count, (in->mode & 0170000) == 0040000);
	in->sectors -= err ? 0 : min(in->sectors, (u64)e.count * (fs->block_bytes / 512));
	if (!err)
		err = drop_empty(fs, in, &w);
	leave(fs, &w);
	return err ? err : 1;
}
