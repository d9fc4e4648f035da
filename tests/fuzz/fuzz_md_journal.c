/* SPDX-License-Identifier: MIT
 *
 * Problem: journal recovery writes to members what a damaged log says.
 *
 * Idea: the input is the log: a script of payload headers that is laid out as meta blocks with right magic,
 * position, sequence and checksums (otherwise a fuzzer never gets past the CRC), pages with right checksums unless
 * the script says otherwise. Every write must stay inside a member's data or the log, recovery must end, and what
 * it begins anew must be a log that a second recovery follows.
 *
 * Contract: libFuzzer. Locks: none.
 */
#include <core/log.h>
#include <lib/err.h>
#include <lib/string.h>
#include <md/journal.h>

#define BLOCKS         64
#define MEMBER_SECTORS 256

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

static u8 ring[BLOCKS * MD_LOG_BLOCK] __aligned(8);
static u64 writes;

static int ring_read(void *ctx, u32 slot, u64 sector, void *buf, u32 bytes)
{
	ensure(slot == MD_JOURNAL_SLOT && sector % 8 == 0 && sector / 8 < BLOCKS && bytes == MD_LOG_BLOCK);
	memcpy(buf, ring + sector * 512, bytes);
	return 0;
}

static int ring_write(void *ctx, u32 slot, u64 sector, const void *buf, u32 bytes)
{
	ensure(bytes == MD_LOG_BLOCK && sector % 8 == 0 && ++writes < 100000);
	if (slot == MD_JOURNAL_SLOT) {
		ensure(sector / 8 < BLOCKS);
		memcpy(ring + sector * 512, buf, bytes);
	} else {
		ensure(slot < 5 && sector + 8 <= MEMBER_SECTORS);
	}
	return 0;
}

static int ring_flush(void *ctx, u32 slot)
{
	return 0;
}

static int ring_data_only(void *ctx, u64 sector, const void *page)
{
	ensure(sector % 8 == 0 && sector < ((struct md_geo *)ctx)->sectors);
	return 0;
}

/* Lays the input out as a log. */
static void lay_out(const u8 *p, const u8 *end, u32 seed)
{
	u64 at = 0, seq = 7;

	memset(ring, 0, sizeof(ring));
	while (at < BLOCKS && end - p >= 2) {
		u8 *meta = ring + at * MD_LOG_BLOCK;
		u32 n = min((size_t)(p[0] | (p[1] & 15) << 8), (size_t)(end - p - 2)), size, cursor = 0;
		struct md_log_head h;
		struct md_log_entry en;

		n = min(n, (u32)MD_LOG_BLOCK - 32);
		md_log_begin(meta, seq++, at * 8);
		memcpy(meta + 32, p + 2, n);
		p += 2 + n;
		size = 32 + n;
		memcpy(meta + 12, &size, 4);
		h = (struct md_log_head){ .bytes = size };
		at++;
		while (md_log_next(meta, &h, &cursor, &en) > 0) {
			for (u32 i = 0; i < en.pages && at < BLOCKS; i++) {
				u8 *page = ring + at++ * MD_LOG_BLOCK;
				u32 crc;

				memset(page, (u8)en.location, MD_LOG_BLOCK);
				crc = md_log_page_crc(seed, page);
				if (en.crc[i] != 0xffffffff)
					memcpy(meta + cursor - 4 * (en.pages - i), &crc, 4);
			}
		}
		md_log_end(meta, seed);
	}
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	static const struct md_recovery_ops ops = { ring_read, ring_write, ring_flush, ring_data_only };
	static const u8 uuid[16] = "fuzz";
	struct md_recovery_result r;
	struct md_geo g;
	u64 tail;

	if (size < 2)
		return 0;
	ensure(md_geo_init(&g, data[0] & 1 ? 6 : 5, 2, 5, 16, MEMBER_SECTORS) == 0);
	lay_out(data + 1, data + size, md_log_seed(uuid));
	writes = 0;
	if (md_journal_recover(&g, BLOCKS * 8, 0, uuid, 99, &ops, &g, false, &r) < 0)
		return 0;
	ensure(r.tail / 8 < BLOCKS && r.head / 8 < BLOCKS);
	tail = r.tail;
	ensure(md_journal_recover(&g, BLOCKS * 8, tail, uuid, 99, &ops, &g, true, &r) == 0 && r.valid);
	return 0;
}
