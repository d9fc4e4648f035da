/* SPDX-License-Identifier: MIT
 *
 * Where a sector of an array without parity lives: mirrors (level 1), striped mirrors (10), stripes (0), one member
 * after the other (linear).
 *
 * Levels 1 and 10. Chunk c of the array stands `near` times side by side in the stream of the rows (position c * near +
 * i; position k is on member k % disks in row k / disks), and the whole is repeated `far` times, each time `near`
 * members further within their set: in another part of the members, or (offset) in the next row.
 *
 * Levels 0 and linear. Members differ in size; a *zone* is a range of the array that the same members serve at the same
 * place. Linear: a zone a member.
 *
 * Sectors are 512 bytes; a member's count from its data offset. All pure. Sources: md(4) on layouts; that chunks of
 * later zones of old RAID0 arrays are dealt by their number in the array (layout 1) instead of in the zone (layout 2)
 * is Linux's Documentation/admin-guide/md.rst.
 */
#ifndef MD_COPIES_H
#define MD_COPIES_H

#include <md/geometry.h>

struct md_copy {
	u32 slot;
	u64 sector;
};

/* A range of the array that is in one piece on each of its members. */
struct md_extent {
	u64 sector;
	u32 sectors, n;
	struct md_copy copy[MD_MAX_DISKS];
};

/* Levels 1 and 10. The longest extent at sector, at most `sectors`, which lie in the array. */
void md_copies_map(const struct md_geo *g, u64 sector, u32 sectors, struct md_extent *out);
/* The array's sector that stands at a member's; ~0: none does. */
u64 md_copies_unmap(const struct md_geo *g, u32 slot, u64 member_sector);
u64 md_copies_slots(const struct md_geo *g, u64 chunk); /* mask of the members that have a chunk */

struct md_zone {
	u64 start, end;   /* in the array */
	u64 member_start; /* where the zone begins on its members */
	u32 n, first;     /* members, and which of them has the zone's first chunk */
	u8 slot[MD_MAX_DISKS];
};

struct md_zones {
	u32 n;
	struct md_zone zone[MD_MAX_DISKS];
};

/* Levels 0 and linear, from what each member offers; completes g (sectors). -EINVAL with a reason: layout. */
int __must_check md_zones_init(struct md_zones *z, struct md_geo *g, const u64 *member_sectors);
void md_zones_map(const struct md_zones *z, const struct md_geo *g, u64 sector, u32 sectors, struct md_extent *out);

#endif
