/* SPDX-License-Identifier: MIT
 *
 * Problem: extents are put into, cut out of and changed in a sorted tree whose blocks are full now and then, and whose
 * inner entries must name exactly where their child begins.
 *
 * Idea: an insertion first tries to lengthen a neighbour. Otherwise it walks down once more and splits each full node
 * before it enters it, so that there always is room above; behind the last extent a node is not halved, so that files
 * written in order have full nodes. Removal takes one extent a call: whole, an end, or the middle (the rest behind is
 * inserted anew). Whatever changes a node's first entry corrects the entries above.
 *
 *      root in i_block (4 places) -> inner blocks -> leaves       a full root moves into a new block below it
 *
 * Contract: ext4_priv.h; the caller stores the inode. -ENOSPC leaves the mapping as it was.
 *
 * Locks: the file system's.
 */
#include <lib/string.h>
#include "ext4_priv.h"

#define SPARE_BLOCKS (2 * MAX_DEPTH) /* what splitting may need */

struct level {
	struct buffer *b; /* NULL: the root */
	u8 *node;
	int i;
};

struct tree {
	struct ext4 *fs;
	struct ext4_inode *in;
	struct level l[MAX_DEPTH + 1];
	int depth; /* of the last level that is there */
};

static u8 *entry_at(u8 *node, unsigned i)
{
	return node + EH_BYTES + EXTENT_BYTES * i;
}

static u32 key(u8 *node, unsigned i)
{
	return get32(entry_at(node, i));
}

static unsigned entries(const u8 *node)
{
	return get16(node + EH_ENTRIES);
}

static bool is_full(const u8 *node)
{
	return entries(node) >= get16(node + EH_MAX);
}

static u64 child_of(const u8 *e)
{
	return get32(e + 4) | (u64)get16(e + 8) << 32;
}

static u64 physical_of(const u8 *e)
{
	return get32(e + 8) | (u64)get16(e + 6) << 32;
}

static u32 length_of(const u8 *e)
{
	u32 len = get16(e + 4);

	return len > EXTENT_MAX_LEN ? len - EXTENT_MAX_LEN : len;
}

static bool is_unwritten(const u8 *e)
{
	return get16(e + 4) > EXTENT_MAX_LEN;
}

static void put_leaf(u8 *e, u32 lblock, u32 len, u64 physical, bool unwritten)
{
	put32(e, lblock);
	put16(e + 4, unwritten ? len + EXTENT_MAX_LEN : len);
	put16(e + 6, physical >> 32);
	put32(e + 8, physical);
}

static void put_index(u8 *e, u32 lblock, u64 child)
{
	put32(e, lblock);
	put32(e + 4, child);
	put16(e + 8, child >> 32);
	put16(e + 10, 0);
}

void ext4_extent_init(struct ext4_inode *in)
{
	memset(in->raw_block, 0, sizeof(in->raw_block));
	put16(in->raw_block, EH_MAGIC);
	put16(in->raw_block + EH_MAX, 4);
	in->flags |= INODE_EXTENTS;
}

static void dirty(struct tree *t, struct level *l)
{
	if (l->b)
		ext4_buffer_dirty_sum(t->fs, l->b, SUM_EXTENT, ext4_inode_seed(t->fs, t->in->ino, t->in->generation));
	else
		t->fs->op_changes++; /* the inode, which the caller stores */
}

static void leave(struct tree *t)
{
	for (int i = 0; i <= t->depth; i++)
		if (t->l[i].b)
			ext4_buffer_put(t->fs, t->l[i].b);
	t->depth = -1;
}

static int enter_root(struct tree *t, struct ext4 *fs, struct ext4_inode *in)
{
	int depth = get16(in->raw_block + EH_DEPTH);

	*t = (struct tree){ .fs = fs, .in = in, .depth = -1 };
	if (depth > MAX_DEPTH)
		return fail(EUCLEAN, "ext4: extent tree of inode %u is %d deep", in->ino, depth);
	t->l[0].node = in->raw_block;
	t->depth = 0;
	return ext4_extent_check_node(fs, in, in->raw_block, sizeof(in->raw_block), depth);
}

static int enter_child(struct tree *t)
{
	struct level *l = &t->l[t->depth], *next = l + 1;
	int err = ext4_extent_node_get(t->fs, t->in, child_of(entry_at(l->node, l->i)), get16(l->node + EH_DEPTH) - 1,
				       &next->b);

	if (err)
		return err;
	next->node = next->b->data;
	next->i = 0;
	t->depth++;
	return 0;
}

static bool is_leaf(const struct level *l)
{
	return !get16(l->node + EH_DEPTH);
}

/* Down to the leaf that lblock belongs to; the last level's i is -1 if all of it starts later. On error nothing is
 * held. */
static int descend(struct tree *t, struct ext4 *fs, struct ext4_inode *in, u32 lblock)
{
	int err = enter_root(t, fs, in);

	while (!err) {
		struct level *l = &t->l[t->depth];

		l->i = ext4_extent_search(l->node, lblock);
		if (is_leaf(l))
			return 0;
		l->i = max(l->i, 0);
		err = enter_child(t);
	}
	leave(t);
	return err;
}

/* The entries above say where the last level begins. */
static void fix_keys(struct tree *t)
{
	for (int d = t->depth; d > 0; d--) {
		struct level *l = &t->l[d], *up = l - 1;

		if (!entries(l->node) || key(up->node, up->i) == key(l->node, 0))
			break;
		put32(entry_at(up->node, up->i), key(l->node, 0));
		dirty(t, up);
		if (up->i)
			break;
	}
}

static void open_place(u8 *node, unsigned i)
{
	unsigned n = entries(node);

	memmove(entry_at(node, i + 1), entry_at(node, i), (n - i) * EXTENT_BYTES);
	put16(node + EH_ENTRIES, n + 1);
}

static void close_place(u8 *node, unsigned i)
{
	unsigned n = entries(node);

	memmove(entry_at(node, i), entry_at(node, i + 1), (n - i - 1) * EXTENT_BYTES);
	put16(node + EH_ENTRIES, n - 1);
}

/* ---- growing
 * ------------------------------------------------------------------------------------------------------------ */

static int new_node(struct tree *t, unsigned depth, struct buffer **b)
{
	struct ext4 *fs = t->fs;
	u64 block;
	u32 got;
	int err = ext4_blocks_alloc(fs, ext4_goal(fs, t->in, 0), 1, &block, &got);

	if (err)
		return err;
	err = ext4_buffer_new(fs, block, b);
	if (err)
		return err;
	put16((*b)->data, EH_MAGIC);
	put16((*b)->data + EH_MAX, (fs->block_bytes - EH_BYTES) / EXTENT_BYTES);
	put16((*b)->data + EH_DEPTH, depth);
	(*b)->checked_for = t->in->ino;
	t->in->sectors += fs->block_bytes / 512;
	return 0;
}

/* The root's entries move into a block below it. */
static int grow(struct tree *t)
{
	u8 *root = t->in->raw_block;
	unsigned depth = get16(root + EH_DEPTH), n = entries(root);
	struct level below = { 0 };
	u32 first = key(root, 0);
	int err;

	if (depth >= MAX_DEPTH)
		return fail(EFBIG, "ext4: the extent tree of inode %u is full", t->in->ino);
	err = new_node(t, depth, &below.b);
	if (err)
		return err;
	put16(below.b->data + EH_ENTRIES, n);
	memcpy(entry_at(below.b->data, 0), entry_at(root, 0), n * EXTENT_BYTES);
	dirty(t, &below);
	put16(root + EH_DEPTH, depth + 1);
	put16(root + EH_ENTRIES, 1);
	put_index(entry_at(root, 0), first, below.b->block);
	dirty(t, &t->l[0]);
	ext4_buffer_put(t->fs, below.b);
	return 0;
}

/* The last level is full: its upper part moves to a new node; goes on in the one for lblock. */
static int split(struct tree *t, u32 lblock)
{
	struct level *l = &t->l[t->depth], *up = l - 1, right = { 0 };
	unsigned n = entries(l->node), depth = get16(l->node + EH_DEPTH), from = n / 2;
	u32 right_key;
	int err;

	if (lblock > key(l->node, n - 1))
		from = depth ? n - 1 : n;
	right_key = from < n ? key(l->node, from) : lblock;
	err = new_node(t, depth, &right.b);
	if (err)
		return err;
	right.node = right.b->data;
	memcpy(entry_at(right.node, 0), entry_at(l->node, from), (n - from) * EXTENT_BYTES);
	put16(right.node + EH_ENTRIES, n - from);
	put16(l->node + EH_ENTRIES, from);
	dirty(t, l);
	dirty(t, &right);
	open_place(up->node, up->i + 1);
	put_index(entry_at(up->node, up->i + 1), right_key, right.b->block);
	dirty(t, up);
	if (lblock >= right_key) {
		up->i++;
		swap(*l, right);
	}
	ext4_buffer_put(t->fs, right.b);
	return 0;
}

/* Down to a leaf with a free place. */
static int descend_with_room(struct tree *t, struct ext4 *fs, struct ext4_inode *in, u32 lblock)
{
	int err = enter_root(t, fs, in);

	if (!err && is_full(t->l[0].node))
		err = grow(t);
	while (!err) {
		struct level *l = &t->l[t->depth];

		if (t->depth && is_full(l->node)) {
			err = split(t, lblock);
			if (err)
				break;
		}
		l->i = ext4_extent_search(l->node, lblock);
		if (is_leaf(l))
			return 0;
		l->i = max(l->i, 0);
		err = enter_child(t);
	}
	leave(t);
	return err;
}

/* ---- inserting
 * ------------------------------------------------------------------------------------------------------------ */

static bool can_join(const u8 *e, u32 lblock, u32 count, u64 physical, bool unwritten)
{
	u32 len = length_of(e), most = unwritten ? UNWRITTEN_MAX_LEN : EXTENT_MAX_LEN;

	return is_unwritten(e) == unwritten && get32(e) + len == lblock && physical_of(e) + len == physical &&
	       len + count <= most;
}

static bool lengthen(struct tree *t, u32 lblock, u32 count, u64 physical, bool unwritten)
{
	struct level *l = &t->l[t->depth];
	u8 *e;

	if (l->i < 0)
		return false;
	e = entry_at(l->node, l->i);
	if (!can_join(e, lblock, count, physical, unwritten))
		return false;
	put_leaf(e, get32(e), length_of(e) + count, physical_of(e), unwritten);
	dirty(t, l);
	return true;
}

int ext4_extent_insert(struct ext4 *fs, struct ext4_inode *in, u32 lblock, u32 count, u64 physical, bool unwritten)
{
	struct tree t;
	struct level *l;
	int err = descend(&t, fs, in, lblock);

	if (err)
		return err;
	if (lengthen(&t, lblock, count, physical, unwritten)) {
		leave(&t);
		return 0;
	}
	leave(&t);
	err = descend_with_room(&t, fs, in, lblock);
	if (err)
		return err;
	l = &t.l[t.depth];
	l->i++;
	open_place(l->node, l->i);
	put_leaf(entry_at(l->node, l->i), lblock, count, physical, unwritten);
	dirty(&t, l);
	fix_keys(&t);
	leave(&t);
	return 0;
}

/* ---- removing
 * ------------------------------------------------------------------------------------------------------------ */

/* The last level has no entries any more: it goes, and so do those above that become empty. */
static int drop_empty(struct tree *t)
{
	while (t->depth > 0 && !entries(t->l[t->depth].node)) {
		struct level *l = &t->l[t->depth], *up = l - 1;
		u64 block = l->b->block;
		int err;

		ext4_buffer_put(t->fs, l->b);
		t->depth--;
		err = ext4_blocks_free(t->fs, block, 1, true);
		if (err)
			return err;
		t->in->sectors -= min(t->in->sectors, (u64)t->fs->block_bytes / 512);
		close_place(up->node, up->i);
		dirty(t, up);
	}
	if (!t->depth && !entries(t->l[0].node))
		put16(t->l[0].node + EH_DEPTH, 0);
	if (t->l[t->depth].i == 0)
		fix_keys(t);
	return 0;
}

/* To the next leaf; false: there is none. */
static int next_leaf(struct tree *t, bool *found)
{
	int d = t->depth - 1, err;

	while (d >= 0 && t->l[d].i + 1 >= (int)entries(t->l[d].node))
		d--;
	*found = d >= 0;
	if (!*found)
		return 0;
	while (t->depth > d)
		ext4_buffer_put(t->fs, t->l[t->depth--].b);
	t->l[d].i++;
	while (!is_leaf(&t->l[t->depth])) {
		err = enter_child(t);
		if (err)
			return err;
	}
	return 0;
}

/* Stands on the first extent that ends behind lblock; *found: there is one. */
static int find_from(struct tree *t, u32 lblock, bool *found)
{
	struct level *l = &t->l[t->depth];
	const u8 *e = l->i >= 0 ? entry_at(l->node, l->i) : NULL;

	*found = true;
	if (e && get32(e) + length_of(e) > lblock)
		return 0;
	if (++l->i < (int)entries(l->node))
		return 0;
	return next_leaf(t, found);
}

static int remove_here(struct tree *t, u32 from, u64 to)
{
	struct level *l = &t->l[t->depth];
	u8 *e = entry_at(l->node, l->i);
	u32 s = get32(e), len = length_of(e), a = max(s, from);
	u64 end = min((u64)s + len, to), physical = physical_of(e);
	bool unwritten = is_unwritten(e), is_dir = (t->in->mode & 0170000) == 0040000; /* its blocks are metadata */
	int err;

	if (!len || !ext4_block_is_valid(t->fs, physical, len))
		return fail(EUCLEAN, "ext4: extent of inode %u at block %u", t->in->ino, s);
	if (a > s && end < (u64)s + len) { /* the middle: the part behind becomes an extent of its own */
		if (ext4_blocks_left(t->fs) < SPARE_BLOCKS)
			return -ENOSPC;
		put_leaf(e, s, a - s, physical, unwritten);
		dirty(t, l);
		leave(t);
		err = ext4_extent_insert(t->fs, t->in, end, s + len - end, physical + (end - s), unwritten);
		return err ? err : ext4_blocks_free(t->fs, physical + (a - s), end - a, is_dir);
	}
	err = ext4_blocks_free(t->fs, physical + (a - s), end - a, is_dir);
	if (err)
		return err;
	if (a > s)
		put_leaf(e, s, a - s, physical, unwritten);
	else if (end < (u64)s + len)
		put_leaf(e, end, s + len - end, physical + (end - s), unwritten);
	else
		close_place(l->node, l->i);
	dirty(t, l);
	if (!entries(l->node))
		return drop_empty(t);
	if (l->i == 0)
		fix_keys(t);
	return 0;
}

int ext4_extent_remove(struct ext4 *fs, struct ext4_inode *in, u32 from, u64 to)
{
	struct tree t;
	bool found;
	u32 len;
	int err = descend(&t, fs, in, from);

	if (err)
		return err;
	err = find_from(&t, from, &found);
	if (!err && (!found || key(t.l[t.depth].node, t.l[t.depth].i) >= to)) {
		leave(&t);
		return 0;
	}
	if (!err) {
		u8 *e = entry_at(t.l[t.depth].node, t.l[t.depth].i);
		u32 a = max(get32(e), from);

		len = min((u64)get32(e) + length_of(e), to) - a;
		err = remove_here(&t, from, to);
		in->sectors -= err ? 0 : min(in->sectors, (u64)len * (fs->block_bytes / 512));
	}
	leave(&t);
	return err ? err : 1;
}

/* ---- unwritten becomes written
 * ------------------------------------------------------------------------------------------ */

/* The part behind [s, a) and [a, b) of an extent [s, s+len) that stands as [s, a) unwritten by now. */
static int insert_rest(struct ext4 *fs, struct ext4_inode *in, u32 s, u32 len, u64 physical, u32 a, u32 b)
{
	int err = b < s + len ? ext4_extent_insert(fs, in, b, s + len - b, physical + (b - s), true) : 0;

	return err ? err : ext4_extent_insert(fs, in, a, b - a, physical + (a - s), false);
}

int ext4_extent_written(struct ext4 *fs, struct ext4_inode *in, u32 lblock, u32 count)
{
	u32 s, len, end;
	u64 physical;
	struct tree t;
	struct level *l;
	u8 *e;
	int err = 0;

	if (ext4_blocks_left(fs) < SPARE_BLOCKS)
		return -ENOSPC;
	err = descend(&t, fs, in, lblock);
	if (err)
		return err;
	l = &t.l[t.depth];
	e = entry_at(l->node, max(l->i, 0));
	s = get32(e);
	len = length_of(e);
	physical = physical_of(e);
	if (l->i < 0 || !is_unwritten(e) || lblock - s >= len || count > s + len - lblock) {
		leave(&t);
		return fail(EUCLEAN, "ext4: inode %u has no unwritten blocks at %u", in->ino, lblock);
	}
	end = lblock + count;
	if (lblock > s) {
		put_leaf(e, s, lblock - s, physical, true);
		dirty(&t, l);
		leave(&t);
		return insert_rest(fs, in, s, len, physical, lblock, end);
	}
	/* From its beginning: the extent before may grow by it. */
	l->i--;
	if (lengthen(&t, s, count, physical, false)) {
		if (count == len)
			close_place(l->node, l->i + 1);
		else
			put_leaf(e, end, len - count, physical + count, true);
		leave(&t);
		return 0;
	}
	put_leaf(e, s, count, physical, false);
	dirty(&t, l);
	leave(&t);
	return count < len ? ext4_extent_insert(fs, in, end, len - count, physical + count, true) : 0;
}
