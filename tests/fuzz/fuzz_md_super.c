/* SPDX-License-Identifier: MIT
 *
 * Problem: superblocks and bitmaps come from disks that were damaged, or made by somebody hostile.
 *
 * Idea: any 4 KiB as a superblock; once as it is, once with magic, place and checksum put right, so that the numbers
 * behind them are reached. What passes the checks must survive assembly, a round through build and decode, and must
 * describe a geometry or be refused.
 *
 * Contract: libFuzzer. Locks: none.
 */
#include <linux/raid/md_p.h>
#include <core/log.h>
#include <lib/string.h>
#include <md/assemble.h>
#include <md/copies.h>
#include <md/bitmap.h>

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

/* The last sector of an array that is believed lies inside its members, and is found from there. */
static void place(const struct md_super *s, struct md_geo *g)
{
	static struct md_zones z;
	u64 at, size[MD_MAX_DISKS];
	struct md_extent x;
	u32 d;

	if (md_level_has_parity(g->level)) {
		md_geo_map(g, g->sectors - 1, &at, &d);
		ensure(at < g->member_sectors && md_geo_unmap(g, at, d) == g->sectors - 1);
		return;
	}
	for (u32 i = 0; i < g->disks; i++)
		size[i] = s->data_size >> i % 3;
	if (g->level <= 0) {
		if (md_zones_init(&z, g, size) < 0)
			return;
		md_zones_map(&z, g, g->sectors - 1, 1, &x);
		ensure(x.n == 1 && x.copy[0].slot < g->disks && x.copy[0].sector < size[x.copy[0].slot]);
		return;
	}
	md_copies_map(g, g->sectors - 1, 1, &x);
	for (u32 i = 0; i < x.n; i++)
		ensure(x.copy[i].slot < g->disks && x.copy[i].sector < g->member_sectors &&
		       md_copies_unmap(g, x.copy[i].slot, x.copy[i].sector) == g->sectors - 1);
}

static void judge(const u64 *buf, u64 dev_sectors)
{
	static struct md_super s, again;
	const struct md_super *both[2] = { &s, &again };
	enum md_verdict verdict[2];
	struct md_plan plan;
	struct md_geo g;
	u64 out[MD_SUPER_BYTES / 8];

	if (md_super_decode(buf, 8, &s) < 0 || md_super_check(buf, &s, dev_sectors) < 0)
		return;
	md_super_build(&s, out);
	ensure(md_super_decode(out, 8, &again) == 0);
	ensure(md_super_checksum(out) == again.checksum);
	again.checksum = s.checksum; /* reserved bytes are not kept */
	ensure(!memcmp(&s, &again, sizeof(s)));
	again.dev_number ^= 1;
	if (md_assemble(both, 2, &plan, verdict) == 0 &&
	    md_geo_init(&g, s.level, s.layout, s.raid_disks, s.chunk, s.size) == 0)
		place(&s, &g);
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	u64 buf[MD_SUPER_BYTES / 8] = { 0 };
	struct mdp_superblock_1 *sb = (void *)buf;
	struct md_bitmap b;
	u64 dev;

	if (size < 8)
		return 0;
	memcpy(&dev, data, 8);
	memcpy(buf, data + 8, min(size - 8, sizeof(buf)));
	judge(buf, dev);
	if (md_bitmap_decode(buf, &b) == 0)
		ensure(md_bitmap_bytes(&b) >= MD_BITMAP_HEADER);
	sb->magic = MD_SB_MAGIC;
	sb->major_version = 1;
	sb->super_offset = 8;
	sb->max_dev %= MD_MAX_ROLES + 1;
	sb->sb_csum = md_super_checksum(buf);
	judge(buf, dev % (1ULL << 50));
	return 0;
}
