/* SPDX-License-Identifier: MIT
 *
 * Problem: from a block of a file to a block of the device, through a tree of extents or through ext2's indirect
 * blocks.
 *
 * Idea: one look-up for each kind that answers with a run: where it lies and how many blocks alike follow, so that
 * callers go run by run. Each tree block is checked as it is entered: magic, depth one less than its parent's, entries
 * within places, places within the block, checksum.
 *
 *      extent tree   i_block: header, 4 places; inner: first block -> tree block; leaf: first block, length, where
 *      indirect      12 direct, one single, one double, one triple
 *
 * Contract: ext4_map of fs/ext4/ext4.h. A hole's run ends at the next extent; a look-up never loops: depth is bounded.
 *
 * Locks: the file system's.
 */
#include <lib/string.h>
#include "ext4_priv.h"

static const u8 *entry_at(const u8 *node, unsigned i)
{
	return node + EH_BYTES + EXTENT_BYTES * i;
}

int ext4_extent_check_node(const struct ext4 *fs, const struct ext4_inode *in, const u8 *node, size_t bytes, int depth)
{
	unsigned entries = get16(node + EH_ENTRIES), places = get16(node + EH_MAX);
	bool ok = get16(node) == EH_MAGIC && entries <= places && EH_BYTES + EXTENT_BYTES * places <= bytes;

	ok = ok && get16(node + EH_DEPTH) == depth && (entries || !depth);
	for (unsigned i = 1; ok && i < entries; i++)
		ok = get32(entry_at(node, i)) > get32(entry_at(node, i - 1));
	return ok ? 0 : fail(EUCLEAN, "ext4: extent tree of inode %u", in->ino);
}

/* The last entry that starts at or before lblock; -1 if all start later. */
int ext4_extent_search(const u8 *node, u32 lblock)
{
	int lo = 0, hi = get16(node + EH_ENTRIES);

	while (lo < hi) {
		int mid = (lo + hi) / 2;

		if (get32(entry_at(node, mid)) <= lblock)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo - 1;
}

/* A tree block, checked: its checksum once, its shape each time. */
int ext4_extent_node_get(struct ext4 *fs, const struct ext4_inode *in, u64 block, int depth, struct buffer **out)
{
	struct buffer *b;
	int err = ext4_buffer_get(fs, block, &b);

	if (err)
		return err;
	err = ext4_extent_check_node(fs, in, b->data, fs->block_bytes - 4 * has_csum(fs), depth);
	if (!err && has_csum(fs) && b->checked_for != in->ino &&
	    ext4_extent_csum(fs, in, b->data) != get32(entry_at(b->data, get16(b->data + EH_MAX))))
		err = fail(EUCLEAN, "ext4: checksum of extent block %llu", (unsigned long long)block);
	if (err) {
		ext4_buffer_put(fs, b);
		return err;
	}
	b->checked_for = in->ino;
	*out = b;
	return 0;
}

static int answer_leaf(const struct ext4 *fs, const struct ext4_inode *in, const u8 *node, u32 lblock, u32 end,
		       struct ext4_extent *out)
{
	int i = ext4_extent_search(node, lblock);
	const u8 *e = i < 0 ? NULL : entry_at(node, i);
	u32 len = e ? get16(e + 4) : 0, first = e ? get32(e) : 0;
	u64 physical = e ? get32(e + 8) | (u64)get16(e + 6) << 32 : 0;
	bool unwritten = len > EXTENT_MAX_LEN;

	len -= unwritten ? EXTENT_MAX_LEN : 0;
	if (e && (!len || first + len < first || !ext4_block_is_valid(fs, physical, len)))
		return fail(EUCLEAN, "ext4: extent of inode %u at block %u", in->ino, first);
	if (e && lblock - first < len) {
		*out = (struct ext4_extent){ physical + (lblock - first), first + len - lblock, unwritten };
		return 0;
	}
	if (i + 1 < (int)get16(node + EH_ENTRIES))
		end = min(end, get32(entry_at(node, i + 1)));
	*out = (struct ext4_extent){ .count = end > lblock ? end - lblock : 1 };
	return 0;
}

static int map_extents(struct ext4 *fs, const struct ext4_inode *in, u32 lblock, struct ext4_extent *out)
{
	const u8 *node = in->raw_block;
	int depth = get16(node + EH_DEPTH), err;
	u32 end = UINT32_MAX;
	struct buffer *b = NULL;

	if (depth > MAX_DEPTH)
		return fail(EUCLEAN, "ext4: extent tree of inode %u is %d deep", in->ino, depth);
	err = ext4_extent_check_node(fs, in, node, sizeof(in->raw_block), depth);
	while (!err && depth) {
		int i = ext4_extent_search(node, lblock);
		const u8 *e = entry_at(node, max(i, 0));
		u64 child = get32(e + 4) | (u64)get16(e + 8) << 32;
		struct buffer *next;

		if (i < 0) { /* before everything: a hole up to the first entry */
			*out = (struct ext4_extent){ .count = get32(e) - lblock };
			break;
		}
		if (i + 1 < (int)get16(node + EH_ENTRIES))
			end = min(end, get32(entry_at(node, i + 1)));
		err = ext4_extent_node_get(fs, in, child, --depth, &next);
		if (b)
			ext4_buffer_put(fs, b);
		b = err ? NULL : next;
		if (err)
			return err;
		node = b->data;
	}
	if (!err && !depth)
		err = answer_leaf(fs, in, node, lblock, end, out);
	if (b)
		ext4_buffer_put(fs, b);
	return err;
}

/* How many equal steps lie at place i of an indirect block: holes, or blocks one after the other. */
static int answer_indirect(const struct ext4 *fs, const u8 *table, u32 i, u32 n, struct ext4_extent *out)
{
	u32 first = get32(table + 4 * i), count = 1;

	if (first && !ext4_block_is_valid(fs, first, 1))
		return fail(EUCLEAN, "ext4: block %u", first);
	while (i + count < n && get32(table + 4 * (i + count)) == (first ? first + count : 0))
		count++;
	if (first && !ext4_block_is_valid(fs, first, count))
		return fail(EUCLEAN, "ext4: block %u", first);
	*out = (struct ext4_extent){ .physical = first, .count = count };
	return 0;
}

static int map_indirect(struct ext4 *fs, const struct ext4_inode *in, u32 lblock, struct ext4_extent *out)
{
	u32 per = fs->block_bytes / 4, slot = 12;
	u64 span = per, rest;
	u32 block;

	if (lblock < 12)
		return answer_indirect(fs, in->raw_block, lblock, 12, out);
	for (rest = lblock - 12; rest >= span; span *= per) {
		rest -= span;
		if (++slot == 15)
			return fail(EUCLEAN, "ext4: block %u of inode %u is out of reach", lblock, in->ino);
	}
	block = get32(in->raw_block + 4 * slot);
	for (span /= per; block; span /= per) {
		struct buffer *b;
		u32 i = rest / span;
		int err = ext4_buffer_get(fs, block, &b);

		if (err)
			return err;
		if (span == 1) {
			err = answer_indirect(fs, b->data, i, per, out);
			ext4_buffer_put(fs, b);
			return err;
		}
		block = get32(b->data + 4 * i);
		rest %= span;
		ext4_buffer_put(fs, b);
		if (!block)
			break;
	}
	/* nothing below this pointer: a hole as long as what it spans */
	*out = (struct ext4_extent){ .count = min(max(span, (u64)1) - rest % max(span, (u64)1), (u64)UINT32_MAX) };
	return 0;
}

int ext4_map(struct ext4 *fs, const struct ext4_inode *in, u32 lblock, struct ext4_extent *out)
{
	if (in->flags & INODE_INLINE)
		return fail(EUCLEAN, "ext4: inode %u holds its data inline", in->ino);
	return in->flags & INODE_EXTENTS ? map_extents(fs, in, lblock, out) : map_indirect(fs, in, lblock, out);
}
