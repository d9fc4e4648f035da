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
#include <md/bitmap.h>

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

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
	    md_geo_init(&g, s.level, s.layout, s.raid_disks, s.chunk, s.size) == 0) {
		u64 at;
		u32 d;

		md_geo_map(&g, g.sectors - 1, &at, &d);
		ensure(at < g.member_sectors && md_geo_unmap(&g, at, d) == g.sectors - 1);
	}
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
