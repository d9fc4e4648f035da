/* SPDX-License-Identifier: MIT
 *
 * Problem: recovery by a partial parity log writes parity to members where a damaged log says.
 *
 * Idea: the input is a script of entries that is laid out as headers with right signature and checksums (otherwise a
 * fuzzer never gets past them), some with right checksums of their partial parity. Every write must be parity inside
 * the log's own member, or the log's area; a second recovery finds nothing to do.
 *
 * Contract: libFuzzer. Locks: none.
 */
#include <core/log.h>
#include <lib/err.h>
#include <lib/string.h>
#include <linux/raid/md_p.h>
#include <md/ppl.h>

#define DISKS          4
#define MEMBER_SECTORS 256
#define DATA           4096 /* sector */
#define PLACE          64
#define AREA           640

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

static u8 area[AREA * 512] __aligned(8);
static struct md_geo geo;
static u64 writes;

static int area_read(void *ctx, u32 slot, u64 sector, void *buf, u32 bytes)
{
	u64 at = DATA + sector;

	ensure(slot < DISKS);
	memset(buf, (int)sector, bytes);
	if (at >= DATA) {
		ensure(sector % 8 == 0 && sector + bytes / 512 <= MEMBER_SECTORS);
		return 0;
	}
	ensure(at == PLACE && bytes == sizeof(area));
	memcpy(buf, area, slot ? 0 : bytes);
	return 0;
}

static int area_write(void *ctx, u32 slot, u64 sector, const void *buf, u32 bytes)
{
	u64 at = DATA + sector;
	u32 p, q;

	ensure(slot < DISKS);
	if (at < DATA) {
		ensure(at == PLACE && bytes == sizeof(area));
		memcpy(area, buf, slot ? 0 : bytes);
		return 0;
	}
	ensure(sector % 8 == 0 && bytes == 4096 && sector + 8 <= MEMBER_SECTORS && ++writes < 1000000);
	md_geo_parity(&geo, sector / geo.chunk, &p, &q);
	ensure(p == slot && slot == 0);
	return 0;
}

static int no_flush(void *ctx, u32 slot)
{
	return 0;
}

/* An entry is 9 bytes of the input; a header takes as many as its first byte says. */
static void lay_out(const u8 *p, const u8 *end, u32 signature)
{
	u32 at = 0;
	u64 generation = 1;

	memset(area, 0, sizeof(area));
	while (p < end && at + MD_PPL_HEADER <= sizeof(area)) {
		struct ppl_header *h = (struct ppl_header *)(area + at);
		u32 n = *p & 15, pages = 0;

		md_ppl_begin(h, signature, *p++ & 16 ? generation++ : generation);
		for (; n && end - p >= 9; n--, p += 9) {
			static const u8 zeroes[4096];

			if (md_ppl_add(h, p[0] * 8 + p[1] * 256 + (p[2] & 7), (p[3] + 1) * (p[2] & 8 ? 4096 : 512),
				       p[4] & 3, p[5] & 1 ? zeroes : NULL))
				break;
			h->entries[h->entries_count - 1].pp_size =
				p[6] & 63 ? (u32)(p[6] & 63) * 512 : h->entries[h->entries_count - 1].pp_size;
			pages += p[5] & 1;
		}
		md_ppl_end(h);
		at += MD_PPL_HEADER + pages * 4096;
	}
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	static const struct md_recovery_ops ops = { area_read, area_write, no_flush, NULL };
	static struct md_super sb = {
		.super_offset = 8, .data_offset = DATA, .data_size = MEMBER_SECTORS, .set_uuid = { 1 }
	};
	const struct md_super *members[DISKS] = { &sb, &sb, size & 1 ? &sb : NULL, &sb };
	struct md_ppl_result r;

	sb.bitmap_or_ppl = (PLACE - 8) | AREA << 16;
	ensure(!md_geo_init(&geo, 5, 2, DISKS, 16, MEMBER_SECTORS));
	writes = 0;
	lay_out(data, data + size, md_ppl_signature(sb.set_uuid));
	ensure(!md_ppl_recover(&geo, members, true, &ops, NULL, false, &r));
	ensure(!md_ppl_recover(&geo, members, true, &ops, NULL, false, &r));
	ensure(r.entries == 0);
	return 0;
}
