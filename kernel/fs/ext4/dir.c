/* SPDX-License-Identifier: MIT
 *
 * Problem: find a name among a million in a few blocks, and list them all, in directories that may be damaged.
 *
 * Idea: a directory is a file of blocks, each a chain of entries that fills it exactly. With an index the first block
 * holds, behind "." and "..", a sorted table of (hash, block); blocks of further tables look like empty chains, so that
 * a reader without index sees only names. A look-up descends by hash and may have to look into following leaves when
 * the hash runs on (lowest bit of the next entry). If the index cannot be used, every block is searched.
 *
 *      entry   inode, rec_len, name_len, type, name ... up to rec_len     inode 0: free
 *      tail    a false entry of 12 bytes at the end of each leaf with the checksum
 *      inline  4 bytes parent, 56 bytes of entries in i_block; then an attribute's bytes of entries
 *
 * Contract: fs/ext4/ext4.h. Chains that do not fit their block: -EUCLEAN.
 *
 * Locks: the file system's.
 */
#include <alloc/slab.h>
#include <lib/string.h>
#include "dir.h"

#define S_IFDIR 0040000
#define S_IFMT  0170000

/* ---- one chain of entries ------------------------------------------------------------------------------------ */

u32 ext4_dir_rec_len(const struct ext4 *fs, const u8 *e)
{
	u32 len = get16(e + DE_REC_LEN);

	/* blocks of 64 KiB: two values stand for the whole */
	if (fs->block_bytes == 65536 && (len == 65535 || !len))
		return 65536;
	return len;
}

bool ext4_dir_entry_ok(const struct ext4 *fs, const u8 *e, size_t room)
{
	u32 len;

	if (room < DE_NAME)
		return false;
	len = ext4_dir_rec_len(fs, e);
	return len >= DE_NAME && len % 4 == 0 && len <= room && (size_t)DE_NAME + e[DE_NAME_LEN] <= len &&
	       get32(e) <= fs->inodes;
}

/* Calls fn for each used entry of a chain from `from` on; stops when it returns non-zero. */
typedef int (*entry_fn)(void *ctx, const u8 *e, u32 offset, u32 next);

static int walk_chain(const struct ext4 *fs, const u8 *chain, size_t bytes, u32 from, entry_fn fn, void *ctx)
{
	for (u32 at = 0; at < bytes;) {
		const u8 *e = chain + at;
		u32 next;
		int ret;

		if (!ext4_dir_entry_ok(fs, e, bytes - at))
			return fail(EUCLEAN, "ext4: directory entry at offset %u", at);
		next = at + ext4_dir_rec_len(fs, e);
		ret = at >= from && get32(e) && e[DE_NAME_LEN] ? fn(ctx, e, at, next) : 0;
		if (ret)
			return ret;
		at = next;
	}
	return 0;
}

/* ---- blocks ---------------------------------------------------------------------------------------------------- */

static bool is_index_block(const struct ext4 *fs, const struct ext4_inode *dir, u32 lblock, const u8 *data)
{
	return (dir->flags & INODE_INDEX) &&
	       (!lblock || (!get32(data) && ext4_dir_rec_len(fs, data) == fs->block_bytes));
}

/* Where an index block's table begins; 0 if the block cannot be one. */
static unsigned table_at(const struct ext4 *fs, u32 lblock, const u8 *data)
{
	unsigned at = lblock ? DX_NODE_ENTRIES : DX_ROOT_ENTRIES, limit, count;

	if (!lblock && (data[DX_ROOT_INFO + 5] != 8 || get32(data + DX_ROOT_INFO)))
		return 0;
	limit = get16(data + at);
	count = get16(data + at + 2);
	if (!count || count > limit || at + 8 * limit + 8 * has_csum(fs) > fs->block_bytes)
		return 0;
	return at;
}

static int check_block_csum(const struct ext4 *fs, const struct ext4_inode *dir, u32 lblock, const u8 *data)
{
	const u8 *tail = data + fs->block_bytes - DE_TAIL_BYTES;
	unsigned at;

	if (!has_csum(fs))
		return 0;
	if (is_index_block(fs, dir, lblock, data)) {
		at = table_at(fs, lblock, data);
		if (at && ext4_dx_csum(fs, dir, data, at) == get32(data + at + 8 * get16(data + at) + 4))
			return 0;
	} else if (!get32(tail) && get16(tail + DE_REC_LEN) == DE_TAIL_BYTES && !tail[DE_NAME_LEN] &&
		   tail[DE_TYPE] == DE_TAIL_TYPE && ext4_dir_csum(fs, dir, data) == get32(tail + DE_NAME)) {
		return 0;
	}
	return fail(EUCLEAN, "ext4: checksum of block %u of directory %u", lblock, dir->ino);
}

int ext4_dir_block_get(struct ext4 *fs, const struct ext4_inode *dir, u32 lblock, struct buffer **b, u32 *skip)
{
	struct ext4_extent e;
	int err = ext4_map(fs, dir, lblock, &e);

	*b = NULL;
	if (skip)
		*skip = err || (e.physical && !e.unwritten) ? 1 : e.count;
	if (err || !e.physical || e.unwritten)
		return err;
	err = ext4_buffer_get(fs, e.physical, b);
	if (err)
		return err;
	if ((*b)->checked_for != dir->ino)
		err = check_block_csum(fs, dir, lblock, (*b)->data);
	if (err) {
		ext4_buffer_put(fs, *b);
		*b = NULL;
	} else {
		(*b)->checked_for = dir->ino;
	}
	return err;
}

u32 ext4_dir_blocks(const struct ext4 *fs, const struct ext4_inode *dir)
{
	return min(dir->size / fs->block_bytes, (u64)UINT32_MAX);
}

static int check_dir(const struct ext4_inode *dir)
{
	return (dir->mode & S_IFMT) == S_IFDIR ? 0 : -ENOTDIR;
}

/* ---- inline directories ------------------------------------------------------------------------------------------ */

#define INLINE_FIRST 4 /* the parent's number comes first */

/* i_block, then the attribute. */
int ext4_dir_load_inline(struct ext4 *fs, const struct ext4_inode *dir, u8 **bytes, size_t *size)
{
	ssize_t n;

	*size = dir->size;
	if (dir->size < INLINE_FIRST || dir->size > sizeof(dir->raw_block) + 1024)
		return fail(EUCLEAN, "ext4: inline directory %u", dir->ino);
	*bytes = kzalloc(*size, ALLOC_KERNEL);
	if (!*bytes)
		return -ENOMEM;
	n = ext4_read(fs, dir, 0, *bytes, *size);
	if (n == (ssize_t)*size)
		return 0;
	kfree(*bytes);
	return n < 0 ? (int)n : fail(EUCLEAN, "ext4: inline directory %u", dir->ino);
}

/* Both chains. Offsets that fn sees are those in the joined bytes. */
struct shifted {
	entry_fn fn;
	void *ctx;
	u32 by;
};

static int call_shifted(void *ctx, const u8 *e, u32 offset, u32 next)
{
	struct shifted *s = ctx;

	return s->fn(s->ctx, e, offset + s->by, next + s->by);
}

static int walk_inline(struct ext4 *fs, const struct ext4_inode *dir, u32 from, entry_fn fn, void *ctx)
{
	struct shifted s = { fn, ctx, INLINE_FIRST };
	size_t first, n;
	u8 *bytes;
	int ret = ext4_dir_load_inline(fs, dir, &bytes, &n);

	if (ret)
		return ret;
	first = min(n, sizeof(dir->raw_block));
	ret = walk_chain(fs, bytes + INLINE_FIRST, first - INLINE_FIRST, from > s.by ? from - s.by : 0, call_shifted,
			 &s);
	s.by = first;
	if (!ret && n > first)
		ret = walk_chain(fs, bytes + first, n - first, from > s.by ? from - s.by : 0, call_shifted, &s);
	kfree(bytes);
	return ret;
}

/* ---- look-up -------------------------------------------------------------------------------------------------------
 */

struct wanted {
	const char *name;
	size_t len;
	struct dir_slot slot;
};

static int match(void *ctx, const u8 *e, u32 offset, u32 next)
{
	struct wanted *w = ctx;

	if (e[DE_NAME_LEN] != w->len || memcmp(e + DE_NAME, w->name, w->len))
		return 0;
	w->slot.ino = get32(e);
	w->slot.offset = offset;
	return 1;
}

/* 1 found, 0 not here. */
static int search_block(struct ext4 *fs, const struct ext4_inode *dir, u32 lblock, struct wanted *w, u32 *skip)
{
	struct buffer *b;
	int ret = ext4_dir_block_get(fs, dir, lblock, &b, skip);

	if (ret || !b)
		return ret;
	w->slot.lblock = lblock;
	ret = walk_chain(fs, b->data, fs->block_bytes, 0, match, w);
	ext4_buffer_put(fs, b);
	return ret;
}

static int search_all(struct ext4 *fs, const struct ext4_inode *dir, struct wanted *w)
{
	u64 n = ext4_dir_blocks(fs, dir);
	u32 skip;
	int ret = 0;

	for (u64 i = 0; i < n && !ret; i += skip)
		ret = search_block(fs, dir, i, w, &skip);
	return ret;
}

static u32 dx_hash(const struct dx_level *l, unsigned i)
{
	return i ? get32(l->b->data + l->at + 8 * i) : 0;
}

u32 ext4_dx_child(const struct dx_level *l, unsigned i)
{
	return get32(l->b->data + l->at + 8 * i + 4) & 0x0fffffff;
}

void ext4_dx_leave(struct ext4 *fs, struct dx_way *w)
{
	while (w->levels)
		ext4_buffer_put(fs, w->l[--w->levels].b);
}

/* One table: the last place whose hash is not above. -ENOENT: no usable index here. */
int ext4_dx_enter_table(struct ext4 *fs, const struct ext4_inode *dir, u32 lblock, u32 hash, struct dx_level *l)
{
	unsigned lo = 1, hi;
	int err = ext4_dir_block_get(fs, dir, lblock, &l->b, NULL);

	if (err)
		return err;
	if (!l->b)
		return -ENOENT;
	l->at = is_index_block(fs, dir, lblock, l->b->data) ? table_at(fs, lblock, l->b->data) : 0;
	if (!l->at) {
		ext4_buffer_put(fs, l->b);
		return -ENOENT;
	}
	for (hi = dx_count(l); lo < hi;) {
		unsigned mid = (lo + hi) / 2;

		if (dx_hash(l, mid) > hash)
			hi = mid;
		else
			lo = mid + 1;
	}
	l->i = lo - 1;
	return 0;
}

/* Moves to the next leaf if names of this hash may run on there. */
static bool next_leaf(struct ext4 *fs, const struct ext4_inode *dir, struct dx_way *w)
{
	struct dx_level *l = w->l;
	int at = w->levels - 1;

	while (at >= 0 && l[at].i + 1 >= dx_count(&l[at]))
		at--;
	if (at < 0)
		return false;
	l[at].i++;
	/* the lowest bit says that the leaf before ends with the same hash */
	if (dx_hash(&l[at], l[at].i) != (w->hash | 1))
		return false;
	for (; at + 1 < w->levels; at++) {
		struct dx_level next;

		if (ext4_dx_enter_table(fs, dir, ext4_dx_child(&l[at], l[at].i), 0, &next))
			return false;
		ext4_buffer_put(fs, l[at + 1].b);
		l[at + 1] = next;
	}
	return true;
}

int ext4_dx_enter(struct ext4 *fs, const struct ext4_inode *dir, const char *name, size_t len, struct dx_way *w)
{
	int depth, ret;

	*w = (struct dx_way){ 0 };
	ret = ext4_dx_enter_table(fs, dir, 0, 0, &w->l[0]);
	if (ret)
		return ret;
	w->version = w->l[0].b->data[DX_ROOT_INFO + 4];
	depth = w->l[0].b->data[DX_ROOT_INFO + 6];
	if (w->version < 3 && (get32(fs->sb + SB_FLAGS) & FLAG_UNSIGNED_HASH))
		w->version += 3;
	ext4_buffer_put(fs, w->l[0].b);
	if (depth >= DX_MAX_LEVELS)
		return -ENOENT;
	ret = ext4_name_hash(fs, w->version, name, len, &w->hash);
	while (!ret && w->levels <= depth) {
		struct dx_level *next = &w->l[w->levels];
		u32 lblock = w->levels ? ext4_dx_child(next - 1, next[-1].i) : 0;

		ret = ext4_dx_enter_table(fs, dir, lblock, w->hash, next);
		w->levels += !ret;
	}
	if (ret)
		ext4_dx_leave(fs, w);
	return ret;
}

static int search_index(struct ext4 *fs, const struct ext4_inode *dir, struct wanted *w)
{
	struct dx_way way;
	int ret = ext4_dx_enter(fs, dir, w->name, w->len, &way);

	if (ret)
		return ret;
	do
		ret = search_block(fs, dir, ext4_dx_child(&way.l[way.levels - 1], way.l[way.levels - 1].i), w, NULL);
	while (!ret && next_leaf(fs, dir, &way));
	ext4_dx_leave(fs, &way);
	return ret;
}

static bool is_dots(const char *name, size_t len)
{
	return name[0] == '.' && (len == 1 || (len == 2 && name[1] == '.'));
}

/* 1 found, 0 not. */
static int search_dir(struct ext4 *fs, const struct ext4_inode *dir, struct wanted *w)
{
	int ret = -ENOENT;

	if ((dir->flags & INODE_INDEX) && !is_dots(w->name, w->len))
		ret = search_index(fs, dir, w);
	/* an index that cannot be used: the names are still there */
	return ret == -ENOENT ? search_all(fs, dir, w) : ret;
}

int ext4_dir_find(struct ext4 *fs, const struct ext4_inode *dir, const char *name, size_t len, struct dir_slot *out)
{
	struct wanted w = { name, len, { 0 } };
	int ret = search_dir(fs, dir, &w);

	*out = w.slot;
	return ret > 0 ? 0 : ret ? ret : -ENOENT;
}

int ext4_lookup(struct ext4 *fs, const struct ext4_inode *dir, const char *name, size_t len, u32 *ino)
{
	struct wanted w = { name, len, { 0 } };
	int ret = check_dir(dir);

	if (ret)
		return ret;
	if (len > EXT4_NAME_MAX)
		return -ENAMETOOLONG;
	if (dir->flags & INODE_INLINE) {
		bool dots = is_dots(name, len);

		if (dots)
			w.slot.ino = len == 1 ? dir->ino : get32(dir->raw_block);
		ret = dots ? 1 : walk_inline(fs, dir, 0, match, &w);
	} else {
		ret = search_dir(fs, dir, &w);
	}
	if (ret < 0)
		return ret;
	*ino = w.slot.ino;
	return ret ? 0 : -ENOENT;
}

/* ---- listing --------------------------------------------------------------------------------------------- */

struct listing {
	struct ext4 *fs;
	ext4_emit emit;
	void *ctx;
	u64 base; /* of the block */
	u64 *pos;
};

static u8 type_of(const struct ext4 *fs, const u8 *e)
{
	static const u8 dt[] = { 0, 8, 4, 2, 6, 1, 12, 10 }; /* DT_UNKNOWN REG DIR CHR BLK FIFO SOCK LNK */

	if (!(fs->incompat & INCOMPAT_FILETYPE) || e[DE_TYPE] >= sizeof(dt))
		return 0;
	return dt[e[DE_TYPE]];
}

static int emit_entry(void *ctx, const u8 *e, u32 offset, u32 next)
{
	struct listing *l = ctx;
	int ret =
		l->emit(l->ctx, (const char *)e + DE_NAME, e[DE_NAME_LEN], get32(e), type_of(l->fs, e), l->base + next);

	if (!ret)
		*l->pos = l->base + next;
	return ret;
}

/* "." and ".." of an inline directory have no entries: positions 0 and 1. */
static int list_inline(struct listing *l, const struct ext4_inode *dir)
{
	int ret = 0;

	if (*l->pos == 0) {
		ret = l->emit(l->ctx, ".", 1, dir->ino, 4, 1);
		*l->pos += !ret;
	}
	if (!ret && *l->pos == 1) {
		ret = l->emit(l->ctx, "..", 2, get32(dir->raw_block), 4, INLINE_FIRST);
		*l->pos = ret ? 1 : INLINE_FIRST;
	}
	return ret ? ret : walk_inline(l->fs, dir, *l->pos, emit_entry, l);
}

int ext4_readdir(struct ext4 *fs, const struct ext4_inode *dir, u64 *pos, ext4_emit emit, void *ctx)
{
	struct listing l = { .fs = fs, .emit = emit, .ctx = ctx, .pos = pos };
	u64 n = ext4_dir_blocks(fs, dir);
	u32 skip;
	int ret = check_dir(dir);

	if (ret)
		return ret;
	if (dir->flags & INODE_INLINE)
		return list_inline(&l, dir);
	for (u64 i = *pos / fs->block_bytes; i < n && !ret; i += skip) {
		struct buffer *b;

		l.base = i * fs->block_bytes;
		ret = ext4_dir_block_get(fs, dir, i, &b, &skip);
		if (ret)
			return ret;
		if (b) {
			ret = walk_chain(fs, b->data, fs->block_bytes, *pos > l.base ? *pos - l.base : 0, emit_entry,
					 &l);
			ext4_buffer_put(fs, b);
		}
		if (!ret)
			*pos = l.base + (u64)skip * fs->block_bytes;
	}
	return ret;
}
