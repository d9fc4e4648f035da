/* SPDX-License-Identifier: MIT
 *
 * Problem: after a crash only the regions that were being written need a resync; the write-intent bitmap says
 * which, and a wrong reading of it leaves stale parity behind.
 *
 * Idea: header as a packed structure with asserted offsets; arithmetic in 64 bits, refused when the counts could
 * not come from a real array.
 *
 * Contract: md/bitmap.h.
 *
 * Locks: none.
 */
#include <alloc/slab.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/string.h>
#include <md/bitmap.h>

struct disk_bitmap {
	u32 magic, version;
	u8 uuid[16];
	u64 events, events_cleared, sync_sectors;             /* 24, 32, 40 */
	u32 state, chunk_bytes, daemon_sleep_s, write_behind; /* 48 .. 60 */
	u32 sectors_reserved, nodes;                          /* 64, 68 */
	u8 cluster_name[64];
	u8 pad[256 - 136];
};
_Static_assert(sizeof(struct disk_bitmap) == MD_BITMAP_HEADER, "bitmap header");

int md_bitmap_decode(const void *buf, struct md_bitmap *b)
{
	struct disk_bitmap d;

	memcpy(&d, buf, sizeof(d));
	if (d.magic != MD_BITMAP_MAGIC)
		return -ENOENT;
	if (d.version != 4 && d.version != 5)
		return fail(EINVAL, "bitmap of version %u", d.version);
	if (d.chunk_bytes < 512 || d.chunk_bytes & (d.chunk_bytes - 1))
		return fail(EINVAL, "bitmap chunk of %u bytes", d.chunk_bytes);
	if (d.sync_sectors / (d.chunk_bytes / 512) >= UINT32_MAX)
		return fail(EINVAL, "bitmap with too many bits");
	*b = (struct md_bitmap){
		.version = d.version,
		.events = d.events,
		.events_cleared = d.events_cleared,
		.sync_sectors = d.sync_sectors,
		.state = d.state,
		.chunk_bytes = d.chunk_bytes,
		.daemon_sleep_s = d.daemon_sleep_s,
		.write_behind = d.write_behind,
		.sectors_reserved = d.sectors_reserved,
		.nodes = d.nodes,
	};
	memcpy(b->uuid, d.uuid, 16);
	return 0;
}

void md_bitmap_build(const struct md_bitmap *b, void *buf)
{
	struct disk_bitmap d = {
		.magic = MD_BITMAP_MAGIC,
		.version = b->version,
		.events = b->events,
		.events_cleared = b->events_cleared,
		.sync_sectors = b->sync_sectors,
		.state = b->state,
		.chunk_bytes = b->chunk_bytes,
		.daemon_sleep_s = b->daemon_sleep_s,
		.write_behind = b->write_behind,
		.sectors_reserved = b->sectors_reserved,
		.nodes = b->nodes,
	};

	memcpy(d.uuid, b->uuid, 16);
	memcpy(buf, &d, sizeof(d));
}

u64 md_bitmap_bits(const struct md_bitmap *b)
{
	return DIV_ROUND_UP(b->sync_sectors, (u64)b->chunk_bytes / 512);
}

u64 md_bitmap_bytes(const struct md_bitmap *b)
{
	return MD_BITMAP_HEADER + DIV_ROUND_UP(md_bitmap_bits(b), 8);
}

#define READ_BYTES 4096u
#define MAX_BYTES  (1u << 20)

static int read_bits(u8 *p, u64 at, size_t bytes, md_read_fn read, void *ctx)
{
	int err = 0;

	for (size_t done = 0; !err && done < bytes; done += READ_BYTES)
		err = read(ctx, at + done / 512, p + done, READ_BYTES);
	return err;
}

int md_bitmap_read(const struct md_super *sb, s32 offset, md_read_fn read, void *ctx, void **out, size_t *bytes)
{
	u64 at = sb->super_offset + (s64)offset;
	u8 *p = kmalloc(READ_BYTES, ALLOC_KERNEL);
	struct md_bitmap b;
	int err;

	if (!p)
		return -ENOMEM;
	err = read(ctx, at, p, READ_BYTES);
	if (!err)
		err = md_bitmap_decode(p, &b);
	if (!err && md_bitmap_bytes(&b) > MAX_BYTES)
		err = fail(EINVAL, "a bitmap of %llu bytes", (unsigned long long)md_bitmap_bytes(&b));
	if (!err) {
		kfree(p);
		*bytes = ALIGN_UP(md_bitmap_bytes(&b), READ_BYTES);
		p = kmalloc(*bytes, ALLOC_KERNEL);
		err = p ? read_bits(p, at, *bytes, read, ctx) : -ENOMEM;
	}
	if (err)
		kfree(p);
	else
		*out = p;
	return err == -ENOENT ? fail(EINVAL, "there is no bitmap where the superblock says") : err;
}

u64 md_bitmap_count(const u8 *bits, u64 nbits)
{
	u64 n = 0;

	for (u64 i = 0; i < nbits / 8; i++)
		n += __builtin_popcount(bits[i]);
	for (u64 i = ALIGN_DOWN(nbits, 8); i < nbits; i++)
		n += md_bitmap_test(bits, i);
	return n;
}
