/* SPDX-License-Identifier: MIT
 *
 * Problem: one sector that cannot be rebuilt should not cost the whole rebuild, and must never be taken for data later.
 *
 * Idea: an ordered array of ranges with one primitive: the place where a sector belongs. Adding swallows what touches
 * the new range; removing cuts. On disk long ranges are several words.
 *
 * Contract: md/badblocks.h.
 *
 * Locks: the engine's.
 */
#include <linux/raid/md_p.h>
#include <alloc/slab.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/string.h>
#include <md/badblocks.h>

#define MAX_WORDS 2048 /* 16 KiB */

u64 md_bad_place(const struct md_super *sb, u32 *bytes)
{
	*bytes = sb->bblog_offset ? min((u32)sb->bblog_size * 512, (u32)(MAX_WORDS * 8)) : 0;
	return sb->super_offset + (s64)sb->bblog_offset;
}

int md_bad_init(struct md_bad *b, const struct md_super *sb)
{
	u32 bytes;

	(void)md_bad_place(sb, &bytes);
	*b = (struct md_bad){ .max = bytes / 8 };
	if (!b->max)
		return 0;
	b->range = kcalloc(b->max, sizeof(*b->range), ALLOC_KERNEL);
	return b->range ? 0 : -ENOMEM;
}

void md_bad_free(struct md_bad *b)
{
	kfree(b->range);
	*b = (struct md_bad){ 0 };
}

/* The first range that ends behind the sector. */
static u32 place(const struct md_bad *b, u64 sector)
{
	u32 lo = 0, hi = b->n;

	while (lo < hi) {
		u32 mid = (lo + hi) / 2;

		if (b->range[mid].sector + b->range[mid].sectors > sector)
			hi = mid;
		else
			lo = mid + 1;
	}
	return lo;
}

bool md_bad_hits(const struct md_bad *b, u64 sector, u64 sectors)
{
	u32 i = b->n ? place(b, sector) : 0;

	return i < b->n && b->range[i].sector < sector + sectors;
}

static u32 words_of(const struct md_bad_range *r)
{
	return DIV_ROUND_UP(r->sectors, (u32)MD_BAD_LENGTH);
}

static u32 words(const struct md_bad *b)
{
	u32 n = 0;

	for (u32 i = 0; i < b->n; i++)
		n += words_of(&b->range[i]);
	return n;
}

static void replace(struct md_bad *b, u32 from, u32 to, const struct md_bad_range *with, u32 n)
{
	memmove(&b->range[from + n], &b->range[to], (b->n - to) * sizeof(*b->range));
	memcpy(&b->range[from], with, n * sizeof(*with));
	b->n = b->n - (to - from) + n;
}

int md_bad_add(struct md_bad *b, u64 sector, u32 sectors)
{
	u64 end = sector + sectors, first = sector;
	u32 i = place(b, sector ? sector - 1 : 0), j; /* one that ends here touches */
	struct md_bad_range r;

	for (j = i; j < b->n && b->range[j].sector <= end; j++) {
		first = min(first, b->range[j].sector);
		end = max(end, b->range[j].sector + b->range[j].sectors);
	}
	r = (struct md_bad_range){ first, (u32)(end - first) };
	if (words(b) + DIV_ROUND_UP(sectors, (u32)MD_BAD_LENGTH) + 1 > b->max)
		return b->max ? fail(ENOSPC, "the bad-block log is full") : -ENOSPC;
	replace(b, i, j, &r, 1);
	return 0;
}

bool md_bad_remove(struct md_bad *b, u64 sector, u32 sectors)
{
	u64 end = sector + sectors;
	struct md_bad_range left[2];
	u32 i, j, n = 0;

	if (!md_bad_hits(b, sector, sectors))
		return false;
	i = place(b, sector);
	for (j = i; j < b->n && b->range[j].sector < end; j++) {
		const struct md_bad_range *r = &b->range[j];

		if (r->sector < sector)
			left[n++] = (struct md_bad_range){ r->sector, (u32)(sector - r->sector) };
		if (r->sector + r->sectors > end)
			left[n++] = (struct md_bad_range){ end, (u32)(r->sector + r->sectors - end) };
	}
	if (n > j - i && words(b) + 2 > b->max)
		return false;
	replace(b, i, j, left, n);
	return true;
}

int md_bad_decode(struct md_bad *b, const struct md_super *sb, const void *buf, u64 dev_sectors)
{
	b->n = 0;
	for (u32 i = 0; i < b->max; i++) {
		u64 w, sector, sectors;

		memcpy(&w, (const u8 *)buf + i * 8, 8);
		if (w == ~0ULL)
			break;
		if (sb->bblog_shift > 9 || !(w & 1023))
			return fail(EINVAL, "bad-block log: entry %u is %llx", i, (unsigned long long)w);
		sector = w >> 10 << sb->bblog_shift;
		sectors = (w & 1023) << sb->bblog_shift;
		if (sector > dev_sectors || sectors > dev_sectors - sector)
			return fail(EINVAL, "bad-block log: sector %llu is not in the device",
				    (unsigned long long)sector);
		if (md_bad_add(b, sector, (u32)sectors))
			return fail(EINVAL, "bad-block log: too many entries");
	}
	return 0;
}

void md_bad_build(const struct md_bad *b, const struct md_super *sb, void *buf)
{
	u32 bytes, k = 0;

	(void)md_bad_place(sb, &bytes);
	memset(buf, 0xff, bytes);
	for (u32 i = 0; i < b->n; i++) {
		u64 at = b->range[i].sector >> sb->bblog_shift;
		u64 end = (b->range[i].sector + b->range[i].sectors + (1u << sb->bblog_shift) - 1) >> sb->bblog_shift;

		for (; at < end && k < bytes / 8; k++) {
			u64 n = min(end - at, (u64)MD_BAD_LENGTH), w = at << 10 | n;

			memcpy((u8 *)buf + k * 8, &w, 8);
			at += n;
		}
	}
}
