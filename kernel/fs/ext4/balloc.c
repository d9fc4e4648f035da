/* SPDX-License-Identifier: MIT
 *
 * Problem: which blocks are free says one bitmap a group; a block that a transaction frees must not be written again
 * before that transaction is safe, or a cut would show the old owner with new bytes.
 *
 * Idea: a run is looked for at the goal, then in the goal's group, then in the groups behind it, first where groups
 * claim room enough. Bitmaps are ordinary buffers. Frees clear bits there at once and set them in a shadow bitmap of
 * the group, which the search takes as used; the commit drops the shadows. Groups that were never used have no bitmap
 * yet: the first use makes it. Blocks of the file system's own (zones) are known from the superblock: neither may be
 * given out, nor freed, whatever bitmaps and extents say.
 *
 *      usable = not (bitmap | shadow)         free count = zeros of the bitmap
 *
 * Contract: ext4_priv.h. -ENOSPC when nothing is usable; bitmaps that do not fit the counts or zones: -EUCLEAN.
 *
 * Locks: the file system's.
 */
#include <alloc/slab.h>
#include <lib/string.h>
#include "ext4_priv.h"

/* ---- descriptors ---------------------------------------------------------------------------------------------------
 */

u32 ext4_group_count(const struct ext4 *fs, u32 group, unsigned lo, unsigned hi)
{
	const u8 *gd = group_desc(fs, group);

	return get16(gd + lo) | (fs->desc_bytes > GD_HI ? (u32)get16(gd + hi) << 16 : 0);
}

void ext4_group_set_count(struct ext4 *fs, u32 group, unsigned lo, unsigned hi, u32 n)
{
	u8 *gd = group_desc(fs, group);

	put16(gd + lo, n);
	if (fs->desc_bytes > GD_HI)
		put16(gd + hi, n >> 16);
	ext4_group_dirty(fs, group);
}

void ext4_group_dirty(struct ext4 *fs, u32 group)
{
	fs->desc_dirty[(size_t)group * fs->desc_bytes / fs->block_bytes] = 1;
	fs->sb_dirty = true;
}

static u32 free_count(const struct ext4 *fs, u32 group)
{
	return ext4_group_count(fs, group, GD_FREE_BLOCKS, GD_FREE_BLOCKS_HI);
}

static void add_free(struct ext4 *fs, u32 group, s32 n)
{
	ext4_group_set_count(fs, group, GD_FREE_BLOCKS, GD_FREE_BLOCKS_HI, free_count(fs, group) + n);
	fs->free_blocks += n;
}

u64 ext4_free_blocks(const struct ext4 *fs)
{
	return fs->free_blocks;
}

static u32 blocks_in(const struct ext4 *fs, u32 group)
{
	return min(fs->blocks - group_start(fs, group), (u64)fs->blocks_per_group);
}

/* ---- zones
 * ----------------------------------------------------------------------------------------------------------- */

static void zone_add(struct ext4 *fs, u64 start, u64 count)
{
	fs->zones[fs->nr_zones++] = (struct zone){ start, start + count };
}

static void sort_zones(struct zone *z, u32 n)
{
	for (u32 gap = n / 2; gap; gap /= 2)
		for (u32 i = gap; i < n; i++)
			for (u32 j = i; j >= gap && z[j - gap].start > z[j].start; j -= gap)
				swap(z[j], z[j - gap]);
}

/* Descriptors behind a superblock or its copy, with those kept for growing. With meta_bg they lie elsewhere. */
static u64 descs_behind_super(const struct ext4 *fs)
{
	u32 n = DIV_ROUND_UP(fs->groups, fs->block_bytes / fs->desc_bytes);

	if (fs->incompat & INCOMPAT_META_BG)
		n = min(n, get32(fs->sb + SB_FIRST_META_BG));
	return n + (fs->compat & COMPAT_RESIZE_INODE ? get16(fs->sb + SB_RESERVED_GDT) : 0);
}

int ext4_zones_make(struct ext4 *fs)
{
	u32 descs = DIV_ROUND_UP(fs->groups, fs->block_bytes / fs->desc_bytes), n = 0;
	u32 table = DIV_ROUND_UP((u64)fs->inodes_per_group * fs->inode_bytes, fs->block_bytes);

	fs->nr_zones = 0;
	fs->zones = kcalloc(4 * (size_t)fs->groups + descs, sizeof(*fs->zones), ALLOC_KERNEL);
	if (!fs->zones)
		return -ENOMEM;
	for (u32 g = 0; g < fs->groups; g++) {
		zone_add(fs, ext4_group_field48(fs, g, GD_BLOCK_BITMAP, GD_BLOCK_BITMAP_HI), 1);
		zone_add(fs, ext4_group_field48(fs, g, GD_INODE_BITMAP, GD_INODE_BITMAP_HI), 1);
		zone_add(fs, ext4_group_field48(fs, g, GD_INODE_TABLE, GD_INODE_TABLE_HI), table);
		if (ext4_group_has_super(fs, g))
			zone_add(fs, group_start(fs, g), 1 + descs_behind_super(fs));
	}
	for (u32 i = 0; i < descs; i++)
		zone_add(fs, ext4_desc_block(fs, i), 1);
	sort_zones(fs->zones, fs->nr_zones);
	for (u32 i = 1; i < fs->nr_zones; i++) { /* neighbours become one */
		if (fs->zones[i].start <= fs->zones[n].end)
			fs->zones[n].end = max(fs->zones[n].end, fs->zones[i].end);
		else
			fs->zones[++n] = fs->zones[i];
	}
	fs->nr_zones = n + 1;
	return 0;
}

bool ext4_in_zones(const struct ext4 *fs, u64 start, u64 count)
{
	u32 lo = 0, hi = fs->nr_zones;

	while (lo < hi) { /* the first zone that ends behind start */
		u32 mid = (lo + hi) / 2;

		if (fs->zones[mid].end > start)
			hi = mid;
		else
			lo = mid + 1;
	}
	return lo < fs->nr_zones && fs->zones[lo].start < start + count;
}

/* ---- bitmaps
 * ---------------------------------------------------------------------------------------------------------- */

static bool bit_is_set(const u8 *bits, u32 i)
{
	return bits[i / 8] >> (i % 8) & 1;
}

static void set_bits(u8 *bits, u32 from, u32 n, bool on)
{
	for (; n && from % 8; from++, n--)
		bits[from / 8] = on ? bits[from / 8] | 1 << from % 8 : bits[from / 8] & ~(1 << from % 8);
	memset(bits + from / 8, on ? 0xff : 0, n / 8);
	from += n / 8 * 8;
	for (n %= 8; n; from++, n--)
		bits[from / 8] = on ? bits[from / 8] | 1 << from % 8 : bits[from / 8] & ~(1 << from % 8);
}

/* The bitmap of a group that was never used: only what is the file system's own. */
static void make_bitmap(struct ext4 *fs, u32 group, u8 *bits)
{
	u64 start = group_start(fs, group), end = start + blocks_in(fs, group);

	memset(bits, 0, fs->block_bytes);
	for (u32 i = 0; i < fs->nr_zones; i++) {
		u64 from = max(fs->zones[i].start, start), to = min(fs->zones[i].end, end);

		if (from < to)
			set_bits(bits, from - start, to - from, true);
	}
	set_bits(bits, end - start, 8 * fs->block_bytes - (end - start), true);
}

static int load_bitmap(struct ext4 *fs, u32 group, struct buffer **b)
{
	u8 *gd = group_desc(fs, group);
	u64 block = ext4_group_field48(fs, group, GD_BLOCK_BITMAP, GD_BLOCK_BITMAP_HI);
	bool lazy = fs->ro_compat & (RO_METADATA_CSUM | RO_GDT_CSUM) && get16(gd + GD_FLAGS) & GROUP_BLOCK_UNINIT;
	int err = lazy ? ext4_buffer_new(fs, block, b) : ext4_buffer_get(fs, block, b);

	if (err)
		return err;
	if (lazy) {
		make_bitmap(fs, group, (*b)->data);
		put16(gd + GD_FLAGS, get16(gd + GD_FLAGS) & ~GROUP_BLOCK_UNINIT);
		ext4_group_dirty(fs, group);
		ext4_buffer_dirty_sum(fs, *b, SUM_BLOCKS, group);
		(*b)->checked_for = ~0u;
	}
	if ((*b)->checked_for != ~0u && has_csum(fs) && !ext4_bitmap_csum_ok(fs, group, false, (*b)->data)) {
		ext4_buffer_put(fs, *b);
		return fail(EUCLEAN, "ext4: checksum of the block bitmap of group %u", group);
	}
	(*b)->checked_for = ~0u;
	return 0;
}

static u8 *shadow_of(struct ext4 *fs, u32 group)
{
	struct freed *f;

	list_for_each_entry (f, &fs->freed, link)
		if (f->group == group)
			return f->bits;
	return NULL;
}

static int shadow_get(struct ext4 *fs, u32 group, u8 **bits)
{
	struct freed *f;

	*bits = shadow_of(fs, group);
	if (*bits)
		return 0;
	f = kzalloc(sizeof(*f), ALLOC_KERNEL);
	if (f)
		f->bits = kzalloc(fs->block_bytes, ALLOC_KERNEL);
	if (!f || !f->bits) {
		kfree(f);
		return -ENOMEM;
	}
	f->group = group;
	list_add(&f->link, &fs->freed);
	*bits = f->bits;
	return 0;
}

void ext4_freed_release(struct ext4 *fs)
{
	while (!list_empty(&fs->freed)) {
		struct freed *f = list_first_entry(&fs->freed, struct freed, link);

		list_del(&f->link);
		kfree(f->bits);
		kfree(f);
	}
	fs->freed_blocks = 0;
}

/* ---- searching
 * --------------------------------------------------------------------------------------------------------- */

struct map { /* a group's bitmap and shadow, as words */
	const u8 *bits, *shadow;
	u32 n;
};

static u64 word_at(const struct map *m, u32 w)
{
	u64 v = get64(m->bits + 8 * (size_t)w);

	return m->shadow ? v | get64(m->shadow + 8 * (size_t)w) : v;
}

/* The first bit from `from` on that is usable (want: false) or not (true); n if there is none. */
static u32 next_bit(const struct map *m, u32 from, bool used)
{
	for (u32 w = from / 64; from < m->n; from = ++w * 64) {
		u64 v = used ? word_at(m, w) : ~word_at(m, w);

		v &= ~0ULL << (from % 64);
		if (v)
			return min(w * 64 + (u32)__builtin_ctzll(v), m->n);
	}
	return m->n;
}

struct run {
	u32 group, at, len;
};

/* A run of `want` from `from` on, or the longest shorter one, if it is better than *best. */
static void search_map(const struct map *m, u32 group, u32 from, u32 to, u32 want, struct run *best)
{
	for (u32 at = next_bit(m, from, false); at < to && best->len < want;) {
		u32 end = next_bit(m, at, true);

		if (end - at > best->len)
			*best = (struct run){ group, at, min(end - at, want) };
		at = next_bit(m, end, false);
	}
}

/* ---- telling the device --------------------------------------------------------------------------------------------
 */

void ext4_set_discard(struct ext4 *fs, bool on)
{
	fs->discard = on && fs->dev.discard;
}

u32 ext4_group_of(const struct ext4 *fs, u64 block)
{
	return group_of(fs, block);
}

static int discard(struct ext4 *fs, u32 group, u32 at, u32 n)
{
	return fs->dev.discard(fs->dev.ctx, (group_start(fs, group) + at) * fs->block_bytes, (u64)n * fs->block_bytes);
}

/* The transaction that frees them is safe; nobody has got them yet. */
void ext4_freed_discard(struct ext4 *fs)
{
	struct freed *f;

	list_for_each_entry (f, &fs->freed, link) {
		struct map m = { .bits = f->bits, .n = blocks_in(fs, f->group) };
		u32 at = next_bit(&m, 0, true);

		while (at < m.n) {
			u32 end = next_bit(&m, at, false);

			if (discard(fs, f->group, at, end - at))
				return; /* only advice */
			at = next_bit(&m, end, true);
		}
	}
}

static int trim_map(struct ext4 *fs, const struct map *m, u32 group, u32 from, u64 least, u64 *blocks)
{
	int err = 0;

	for (u32 at = next_bit(m, from, false); at < m->n && !err;) {
		u32 end = next_bit(m, at, true);

		if (end - at >= least) {
			err = discard(fs, group, at, end - at);
			*blocks += err ? 0 : end - at;
		}
		at = next_bit(m, end, false);
	}
	return err;
}

int ext4_trim_group(struct ext4 *fs, u32 group, u64 first, u64 end, u64 least, u64 *blocks)
{
	u64 start = group_start(fs, group);
	struct map m = { .n = min((u64)blocks_in(fs, group), end - start) };
	struct buffer *b;
	int err = fs->dev.discard ? ext4_step_begin(fs) : -EOPNOTSUPP;

	if (err)
		return err;
	err = load_bitmap(fs, group, &b);
	if (err)
		return ext4_step_end(fs, err);
	m.bits = b->data;
	m.shadow = shadow_of(fs, group);
	err = trim_map(fs, &m, group, first > start ? first - start : 0, least, blocks);
	ext4_buffer_put(fs, b);
	(void)!ext4_step_end(fs, 0); /* what the device refuses is no change that failed */
	return err;
}

/* ---- searching a group
 * ------------------------------------------------------------------------------------------------ */

static int search_group(struct ext4 *fs, u32 group, u32 from, u32 want, bool exact, struct run *best)
{
	struct map m = { .n = blocks_in(fs, group) };
	struct buffer *b;
	int err = load_bitmap(fs, group, &b);

	if (err)
		return err;
	m.bits = b->data;
	m.shadow = shadow_of(fs, group);
	if (exact && from < m.n && next_bit(&m, from, false) == from) {
		*best = (struct run){ group, from, min(next_bit(&m, from, true) - from, want) };
	} else if (!exact) {
		search_map(&m, group, from, m.n, want, best);
		search_map(&m, group, 0, min(from, m.n), want, best);
	}
	ext4_buffer_put(fs, b);
	return 0;
}

static int search(struct ext4 *fs, u64 goal, u32 want, struct run *best)
{
	u32 first = group_of(fs, goal), from = (goal - fs->first_block) % fs->blocks_per_group, tried = 0;
	int err = search_group(fs, first, from, want, true, best);

	if (err || best->len)
		return err;
	for (int pass = 0; pass < 2; pass++) {
		for (u32 i = 0; i < fs->groups; i++) {
			u32 g = (first + i) % fs->groups, need = pass ? 1 : min(want, fs->blocks_per_group / 2);

			if (free_count(fs, g) < need)
				continue;
			err = search_group(fs, g, i ? 0 : from, want, false, best);
			if (err || best->len >= want || (best->len && (pass || ++tried >= 16)))
				return err;
		}
		if (best->len)
			return 0;
	}
	return -ENOSPC;
}

/* ---- taking and giving back
 * --------------------------------------------------------------------------------------------- */

static int take(struct ext4 *fs, const struct run *r)
{
	struct buffer *b;
	int err;

	if (ext4_in_zones(fs, group_start(fs, r->group) + r->at, r->len) || free_count(fs, r->group) < r->len)
		return fail(EUCLEAN, "ext4: the block bitmap of group %u", r->group);
	err = load_bitmap(fs, r->group, &b);
	if (err)
		return err;
	set_bits(b->data, r->at, r->len, true);
	ext4_buffer_dirty_sum(fs, b, SUM_BLOCKS, r->group);
	ext4_buffer_put(fs, b);
	add_free(fs, r->group, -(s32)r->len);
	return 0;
}

int ext4_blocks_alloc(struct ext4 *fs, u64 goal, u32 want, u64 *start, u32 *got)
{
	struct run best = { 0 };
	int err;

	if (!ext4_block_is_valid(fs, goal, 1))
		goal = fs->first_block;
	if (!ext4_blocks_left(fs))
		return -ENOSPC;
	err = search(fs, goal, min(max(want, 1u), fs->blocks_per_group), &best);
	if (!err)
		err = take(fs, &best);
	if (err)
		return err;
	*start = group_start(fs, best.group) + best.at;
	*got = best.len;
	return 0;
}

static int remember_revoke(struct ext4 *fs, u64 block)
{
	if (fs->nr_revokes == fs->revoke_room) {
		u32 room = fs->revoke_room ? 2 * fs->revoke_room : 64;
		u64 *bigger = krealloc(fs->revokes, room * sizeof(*bigger), ALLOC_KERNEL);

		if (!bigger)
			return -ENOMEM;
		fs->revokes = bigger;
		fs->revoke_room = room;
	}
	fs->revokes[fs->nr_revokes++] = block;
	return 0;
}

static int free_in_group(struct ext4 *fs, u32 group, u32 at, u32 n)
{
	u8 *shadow = NULL;
	struct buffer *b;
	int err = load_bitmap(fs, group, &b);

	if (err)
		return err;
	for (u32 i = at; i < at + n && !err; i++)
		if (!bit_is_set(b->data, i))
			err = fail(EUCLEAN, "ext4: block %llu is free already",
				   (unsigned long long)(group_start(fs, group) + i));
	if (!err && fs->journal)
		err = shadow_get(fs, group, &shadow);
	if (!err) {
		set_bits(b->data, at, n, false);
		ext4_buffer_dirty_sum(fs, b, SUM_BLOCKS, group);
		add_free(fs, group, n);
		if (shadow) {
			set_bits(shadow, at, n, true);
			fs->freed_blocks += n;
		}
	}
	ext4_buffer_put(fs, b);
	return err;
}

int ext4_blocks_free(struct ext4 *fs, u64 start, u32 count, bool metadata)
{
	int err = 0;

	if (!ext4_block_is_valid(fs, start, count) || ext4_in_zones(fs, start, count))
		return fail(EUCLEAN, "ext4: blocks %llu+%u cannot be freed", (unsigned long long)start, count);
	for (u32 i = 0; metadata && i < count && !err; i++) {
		ext4_buffer_forget(fs, start + i);
		if (fs->journal)
			err = remember_revoke(fs, start + i);
	}
	while (count && !err) {
		u32 group = group_of(fs, start), at = (start - fs->first_block) % fs->blocks_per_group;
		u32 n = min(count, fs->blocks_per_group - at);

		err = free_in_group(fs, group, at, n);
		start += n;
		count -= n;
	}
	return err;
}
