/* SPDX-License-Identifier: MIT
 *
 * Problem: the first sectors of any disk that is plugged in are parsed by the kernel, whoever wrote them.
 *
 * Idea: read block by block into one buffer, check every number against the disk before it is used, and bound every
 * loop: an extended partition chain by PARTITION_MAX and by rising addresses, a GPT array by its maximum size.
 *
 *      block 0    MBR: four entries at 446, 55 aa at 510. Type ee: a GPT is meant to be here.
 *      block 1    GPT header -> array of entries (its own CRC) ... last block: backup header
 *      EBR        first entry a logical partition (relative to this EBR), second the next EBR (relative to the first)
 *
 * Contract: block/partition.h.
 *
 * Locks: none.
 */
#include <alloc/slab.h>
#include <lib/err.h>
#include <lib/printf.h>
#include <lib/string.h>
#include <block/partition.h>

#define MAX_ENTRY_BYTES 4096
#define MAX_ARRAY_BYTES (1u << 20)

static u32 get32(const u8 *p)
{
	return p[0] | p[1] << 8 | p[2] << 16 | (u32)p[3] << 24;
}

static u64 get64(const u8 *p)
{
	return get32(p) | (u64)get32(p + 4) << 32;
}

static u32 crc32_ieee(u32 crc, const u8 *p, size_t n)
{
	crc = ~crc;
	while (n--) {
		crc ^= *p++;
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
	}
	return ~crc;
}

struct scan {
	const struct partition_source *src;
	u8 *block;
	struct partition *out;
	unsigned n, max;
};

static int read_block(struct scan *s, u64 block)
{
	return block < s->src->nr_blocks ? s->src->read(s->src->ctx, block, s->block) : -EIO;
}

static u64 to_sectors(const struct scan *s, u64 blocks)
{
	return blocks * (s->src->block_bytes / 512);
}

/* Room for one more; NULL when full. */
static struct partition *add(struct scan *s, u32 number, u64 start_block, u64 nr_blocks)
{
	struct partition *p;

	if (s->n == s->max)
		return NULL;
	p = &s->out[s->n++];
	*p = (struct partition){ .number = number,
				 .start_sector = to_sectors(s, start_block),
				 .nr_sectors = to_sectors(s, nr_blocks) };
	return p;
}

/* ---- GPT --------------------------------------------------------------------------------------------------- */

struct gpt {
	u64 first_usable, last_usable, array_block;
	u32 nr_entries, entry_bytes, array_crc;
};

static bool parse_header(struct scan *s, u64 at, struct gpt *g)
{
	u8 *h = s->block;
	u32 bytes = get32(h + 12), crc = get32(h + 16);
	u64 nr_blocks = s->src->nr_blocks;

	if (memcmp(h, "EFI PART", 8) || bytes < 92 || bytes > s->src->block_bytes)
		return false;
	memset(h + 16, 0, 4);
	if (crc32_ieee(0, h, bytes) != crc || get64(h + 24) != at)
		return false;
	*g = (struct gpt){ .first_usable = get64(h + 40),
			   .last_usable = get64(h + 48),
			   .array_block = get64(h + 72),
			   .nr_entries = get32(h + 80),
			   .entry_bytes = get32(h + 84),
			   .array_crc = get32(h + 88) };
	if (g->last_usable >= nr_blocks || g->first_usable > g->last_usable || g->array_block >= nr_blocks)
		return false;
	return g->entry_bytes >= 128 && g->entry_bytes <= MAX_ENTRY_BYTES && g->entry_bytes % 8 == 0 &&
	       (u64)g->nr_entries * g->entry_bytes <= MAX_ARRAY_BYTES;
}

/* The whole array, checked; NULL if it is not sound. */
static u8 *read_array(struct scan *s, const struct gpt *g)
{
	size_t bytes = (size_t)g->nr_entries * g->entry_bytes, have = 0;
	u8 *array = kmalloc(bytes, ALLOC_KERNEL);

	for (u64 b = g->array_block; array && have < bytes; b++) {
		size_t n = min(bytes - have, (size_t)s->src->block_bytes);

		if (read_block(s, b))
			break;
		memcpy(array + have, s->block, n);
		have += n;
	}
	if (array && have == bytes && crc32_ieee(0, array, bytes) == g->array_crc)
		return array;
	kfree(array);
	return NULL;
}

static void show_uuid(const u8 *u, char out[37])
{
	str_format(out, 37, "%08x-%04x-%04x-%02x%02x-%02x%02x%02x%02x%02x%02x", get32(u), u[4] | u[5] << 8,
		   u[6] | u[7] << 8, u[8], u[9], u[10], u[11], u[12], u[13], u[14], u[15]);
}

/* 36 UTF-16 units to UTF-8; surrogates become one '?', since a label is only a name. */
static void show_label(const u8 *units, char *out, size_t size)
{
	size_t n = 0;

	for (int i = 0; i < 36; i++) {
		unsigned c = units[2 * i] | units[2 * i + 1] << 8;
		size_t need = c < 0x80 ? 1 : c < 0x800 ? 2 : 3;

		if (!c)
			break;
		if (c >= 0xd800 && c < 0xe000)
			c = '?', need = 1;
		if (n + need >= size)
			break;
		if (need == 1) {
			out[n++] = c;
		} else if (need == 2) {
			out[n++] = 0xc0 | c >> 6;
			out[n++] = 0x80 | (c & 0x3f);
		} else {
			out[n++] = 0xe0 | c >> 12;
			out[n++] = 0x80 | (c >> 6 & 0x3f);
			out[n++] = 0x80 | (c & 0x3f);
		}
	}
	out[n] = '\0';
}

static bool overlaps(const struct scan *s, u64 start_sector, u64 nr_sectors)
{
	for (unsigned i = 0; i < s->n; i++)
		if (start_sector < s->out[i].start_sector + s->out[i].nr_sectors &&
		    s->out[i].start_sector < start_sector + nr_sectors)
			return true;
	return false;
}

static void take_entries(struct scan *s, const struct gpt *g, const u8 *array)
{
	static const u8 unused[16];

	for (u32 i = 0; i < g->nr_entries; i++) {
		const u8 *e = array + (size_t)i * g->entry_bytes;
		u64 first = get64(e + 32), last = get64(e + 40);
		struct partition *p;

		if (!memcmp(e, unused, 16) || first < g->first_usable || last > g->last_usable || first > last)
			continue;
		if (overlaps(s, to_sectors(s, first), to_sectors(s, last - first + 1)))
			continue;
		p = add(s, i + 1, first, last - first + 1);
		if (!p)
			return;
		show_uuid(e + 16, p->uuid);
		show_label(e + 56, p->name, sizeof(p->name));
		p->bootable = get64(e + 48) >> 2 & 1;
	}
}

static bool try_gpt(struct scan *s, u64 at)
{
	struct gpt g;
	u8 *array;

	if (read_block(s, at) || !parse_header(s, at, &g))
		return false;
	array = read_array(s, &g);
	if (!array)
		return false;
	take_entries(s, &g, array);
	kfree(array);
	return true;
}

/* ---- MBR ---------------------------------------------------------------------------------------------------- */

#define ENTRY(block, i) ((block) + 446 + 16 * (i))

static bool is_extended(u8 type)
{
	return type == 0x05 || type == 0x0f || type == 0x85;
}

static bool has_magic(const u8 *block)
{
	return block[510] == 0x55 && block[511] == 0xaa;
}

static void add_mbr(struct scan *s, u32 disk_id, u32 number, u64 start, u64 n, const u8 *e)
{
	struct partition *p;

	if (!n || start >= s->src->nr_blocks || n > s->src->nr_blocks - start)
		return;
	p = add(s, number, start, n);
	if (!p)
		return;
	p->mbr_type = e[4];
	p->bootable = e[0] == 0x80;
	str_format(p->uuid, sizeof(p->uuid), "%08x-%02x", disk_id, number);
}

/* Logical partitions are numbered from 5 in the order of the chain. */
static int walk_extended(struct scan *s, u32 disk_id, u64 base, u64 size)
{
	u64 at = base;
	u32 number = 5;

	for (unsigned hops = 0; hops < PARTITION_MAX && at - base < size && at < s->src->nr_blocks; hops++) {
		const u8 *logical, *link;
		u64 next;
		int err = read_block(s, at);

		if (err)
			return err;
		if (!has_magic(s->block))
			return 0;
		logical = ENTRY(s->block, 0);
		link = ENTRY(s->block, 1);
		if (get32(logical + 12) && !is_extended(logical[4]))
			add_mbr(s, disk_id, number++, at + get32(logical + 8), get32(logical + 12), logical);
		next = base + get32(link + 8);
		if (!is_extended(link[4]) || next <= at)
			return 0;
		at = next;
	}
	return 0;
}

static bool looks_like_mbr(const u8 *block)
{
	if (!has_magic(block))
		return false;
	/* A boot sector of FAT or NTFS has the magic too; its code lies where flags would be. */
	for (int i = 0; i < 4; i++)
		if (ENTRY(block, i)[0] & 0x7f)
			return false;
	return true;
}

static int take_mbr(struct scan *s)
{
	u8 first[64];
	u32 disk_id = get32(s->block + 440);
	int err = 0;

	memcpy(first, ENTRY(s->block, 0), sizeof(first));
	for (u32 i = 0; i < 4; i++)
		if (first[16 * i + 4] && !is_extended(first[16 * i + 4]))
			add_mbr(s, disk_id, i + 1, get32(first + 16 * i + 8), get32(first + 16 * i + 12),
				first + 16 * i);
	for (u32 i = 0; i < 4 && !err; i++)
		if (is_extended(first[16 * i + 4])) {
			u64 base = get32(first + 16 * i + 8), size = get32(first + 16 * i + 12);

			/* The container itself is a device of two sectors, as on Linux. */
			add_mbr(s, disk_id, i + 1, base, min(size, (u64)2), first + 16 * i);
			err = base ? walk_extended(s, disk_id, base, size) : 0;
		}
	return err;
}

static bool is_protective(const u8 *block)
{
	for (int i = 0; i < 4; i++)
		if (ENTRY(block, i)[4] == 0xee)
			return true;
	return false;
}

static int scan_block0(struct scan *s)
{
	int err = read_block(s, 0);

	if (err)
		return err;
	if (!looks_like_mbr(s->block))
		return 0;
	if (!is_protective(s->block))
		return take_mbr(s);
	if (!try_gpt(s, 1))
		(void)try_gpt(s, s->src->nr_blocks - 1);
	return 0;
}

int partition_scan(const struct partition_source *src, struct partition *out, unsigned max_parts)
{
	struct scan s = { .src = src, .out = out, .max = min(max_parts, (unsigned)PARTITION_MAX) };
	int err;

	if (!src->nr_blocks)
		return 0;
	s.block = kmalloc(src->block_bytes, ALLOC_KERNEL);
	if (!s.block)
		return -ENOMEM;
	err = scan_block0(&s);
	kfree(s.block);
	return err ? err : (int)s.n;
}
