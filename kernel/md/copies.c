/* SPDX-License-Identifier: MIT
 *
 * Problem: the layouts of RAID10 and of stripes over unequal members must put each byte where Linux looks for it.
 *
 * Idea: RAID10 is arithmetic on positions (md/copies.h), the same for near, far and offset:
 *
 *      near 2, 3 members     far 2                offset 2
 *      0 0 1                 0 1 2                0 1 2
 *      1 2 2                 3 4 5   (part 0)     2 0 1
 *      3 3 4                 2 0 1                3 4 5
 *      4 5 5                 5 3 4   (part 1)     5 3 4
 *
 * Stripes are a table of zones: all members up to the smallest one's end, then those that are larger, and so on.
 *
 * Contract: md/copies.h.
 *
 * Locks: none.
 */
#include <core/log.h>
#include <lib/err.h>
#include <md/copies.h>

/* The member `by` further in its set. */
static u32 shift(const struct md_geo *g, u32 slot, u32 by)
{
	u32 first = slot - slot % g->set;

	return first + (slot - first + by) % g->set;
}

static u64 rows_of_part(const struct md_geo *g)
{
	return g->member_sectors / g->chunk / g->far;
}

/* Copy number i, of near * far, of a chunk: its member and row. */
static u32 place(const struct md_geo *g, u64 chunk, u32 i, u64 *row)
{
	u64 position = chunk * g->near + i / g->far;
	u32 part = i % g->far;

	*row = position / g->disks;
	*row = g->offset ? *row * g->far + part : *row + part * rows_of_part(g);
	return shift(g, (u32)(position % g->disks), part * g->near);
}

static void map_mirror(const struct md_geo *g, struct md_extent *x)
{
	x->n = g->disks;
	for (u32 i = 0; i < x->n; i++)
		x->copy[i] = (struct md_copy){ i, x->sector };
}

void md_copies_map(const struct md_geo *g, u64 sector, u32 sectors, struct md_extent *x)
{
	*x = (struct md_extent){ .sector = sector, .sectors = sectors };
	if (g->level == 1) {
		map_mirror(g, x);
		return;
	}
	x->sectors = min(sectors, g->chunk - (u32)(sector % g->chunk));
	x->n = g->near * g->far;
	for (u32 i = 0; i < x->n; i++) {
		u64 row;

		x->copy[i].slot = place(g, sector / g->chunk, i, &row);
		x->copy[i].sector = row * g->chunk + sector % g->chunk;
	}
}

u64 md_copies_unmap(const struct md_geo *g, u32 slot, u64 member_sector)
{
	u64 row, chunk;
	u32 part;

	if (g->level == 1)
		return member_sector < g->sectors ? member_sector : ~0ULL;
	row = member_sector / g->chunk;
	part = (u32)(g->offset ? row % g->far : row / rows_of_part(g));
	row = g->offset ? row / g->far : row % rows_of_part(g);
	if (part >= g->far)
		return ~0ULL;
	chunk = (row * g->disks + shift(g, slot, g->set - part * g->near)) / g->near;
	return chunk < g->sectors / g->chunk ? chunk * g->chunk + member_sector % g->chunk : ~0ULL;
}

u64 md_copies_slots(const struct md_geo *g, u64 chunk)
{
	u64 mask = 0, row;

	if (g->level == 1)
		return g->disks == 64 ? ~0ULL : BIT(g->disks) - 1;
	for (u32 i = 0; i < g->near * g->far; i++)
		mask |= BIT(place(g, chunk, i, &row));
	return mask;
}

/* ---- zones ---- */

static void linear_zones(struct md_zones *z, struct md_geo *g, const u64 *size)
{
	for (z->n = 0; z->n < g->disks; z->n++) {
		struct md_zone *zone = &z->zone[z->n];

		zone->start = g->sectors;
		g->sectors += size[z->n];
		zone->end = g->sectors;
		zone->n = 1;
		zone->slot[0] = (u8)z->n;
	}
}

/* The members that reach beyond `from`; *to is where the smallest of them ends. */
static void find_zone(struct md_zone *zone, const struct md_geo *g, const u64 *size, u64 from, u64 *to)
{
	zone->member_start = from;
	*to = ~0ULL;
	for (u32 i = 0; i < g->disks; i++) {
		if (size[i] <= from)
			continue;
		zone->slot[zone->n++] = (u8)i;
		*to = min(*to, size[i]);
	}
}

static int stripe_zones(struct md_zones *z, struct md_geo *g, const u64 *size)
{
	u64 from = 0, to;

	for (;;) {
		struct md_zone *zone = &z->zone[z->n];

		find_zone(zone, g, size, from, &to);
		if (!zone->n)
			return 0;
		zone->start = g->sectors;
		g->sectors += (to - from) * zone->n;
		zone->end = g->sectors;
		if (z->n && zone->n > 1 && g->layout != 1 && g->layout != 2)
			return fail(EINVAL, "RAID0 of unequal members does not say its layout");
		if (g->layout == 1)
			zone->first = (u32)(zone->start / g->chunk % zone->n);
		from = to;
		if (++z->n == g->disks)
			return 0;
	}
}

int md_zones_init(struct md_zones *z, struct md_geo *g, const u64 *member_sectors)
{
	u64 size[MD_MAX_DISKS];

	*z = (struct md_zones){ 0 };
	g->sectors = 0;
	for (u32 i = 0; i < g->disks; i++) {
		size[i] = g->chunk ? member_sectors[i] - member_sectors[i] % g->chunk : member_sectors[i];
		if (!size[i] || size[i] > 1ULL << 53)
			return fail(EINVAL, "member %u of %llu sectors", i, (unsigned long long)size[i]);
	}
	if (g->level == 0)
		return stripe_zones(z, g, size);
	linear_zones(z, g, size);
	return 0;
}

void md_zones_map(const struct md_zones *z, const struct md_geo *g, u64 sector, u32 sectors, struct md_extent *x)
{
	const struct md_zone *zone = z->zone;
	u64 at;

	while (sector >= zone->end)
		zone++;
	at = sector - zone->start;
	*x = (struct md_extent){ .sector = sector, .sectors = (u32)min((u64)sectors, zone->end - sector), .n = 1 };
	if (g->level != 0) {
		x->copy[0] = (struct md_copy){ zone->slot[0], at };
		return;
	}
	x->sectors = min(x->sectors, g->chunk - (u32)(at % g->chunk));
	x->copy[0].slot = zone->slot[(at / g->chunk + zone->first) % zone->n];
	x->copy[0].sector = zone->member_start + at / g->chunk / zone->n * g->chunk + at % g->chunk;
}
