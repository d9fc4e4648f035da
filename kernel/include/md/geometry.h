/* SPDX-License-Identifier: MIT
 *
 * Where a sector of an array lives. RAID 4, 5 and 6 with every layout that mdadm offers are placed by md_geo_*; for
 * levels without parity (linear, 0, 1, 10) this has the shape, and md/copies.h the places.
 *
 * Words: a *row* is one chunk on each member at the same place, number = member sector / chunk; a *slot* is a
 * member's position (0 .. raid_disks-1); *data index* d counts a row's data chunks in array order. Sectors are 512
 * bytes; member sectors count from the member's data offset. All functions are pure; a geometry is immutable once
 * md_geo_init has accepted it, and may be shared.
 *
 * Sources: layout numbers are md's (linux/raid/md_p.h, mdadm(8) --layout); RAID6 coefficients: the data chunk that
 * follows Q has exponent 0 and so on cyclically, in DDF layouts the exponent is the slot itself.
 */
#ifndef MD_GEOMETRY_H
#define MD_GEOMETRY_H

#include <lib/types.h>

#define MD_MAX_DISKS    64 /* of a parity array here; the format allows more */
#define MD_PAGE_SECTORS 8
#define MD_NO_SLOT      (~0u)
#define MD_JOURNAL_SLOT MD_MAX_DISKS                   /* the journal device where a slot is asked for */
#define MD_HEIR(slot)   (MD_JOURNAL_SLOT + 1 + (slot)) /* likewise the device that is to replace that slot's member */
#define MD_SLOTS        MD_HEIR(MD_MAX_DISKS)          /* how many there are of all kinds */

enum md_layout {
	MD_LEFT_ASYMMETRIC,
	MD_RIGHT_ASYMMETRIC,
	MD_LEFT_SYMMETRIC,
	MD_RIGHT_SYMMETRIC,
	MD_PARITY_0,
	MD_PARITY_N,
	MD_ROTATING_ZERO_RESTART = 8,
	MD_ROTATING_N_RESTART,
	MD_ROTATING_N_CONTINUE,
	MD_LEFT_ASYMMETRIC_6 = 16,
	MD_RIGHT_ASYMMETRIC_6,
	MD_LEFT_SYMMETRIC_6,
	MD_RIGHT_SYMMETRIC_6,
	MD_PARITY_0_6,
};

struct md_geo {
	int level; /* -1 (linear), 0, 1, 4, 5, 6 or 10 */
	u32 layout;
	u32 disks;
	u32 parity; /* members that may be missing in the best case: 1 or 2; copies - 1; 0 */
	u32 data;   /* disks - parity, for levels with parity */
	u32 chunk;  /* sectors, a multiple of MD_PAGE_SECTORS; 0 where the level has none */
	u64 member_sectors;
	u64 sectors; /* of the array; 0 for linear and 0, whose members differ in size: md_zones_init tells */
	/* Level 10: copies side by side and copies far apart, members in a set, among which the far ones move, and
	 * whether far ones follow in the next row instead of in another part of the member. Level 1 is near = disks. */
	u32 near, far, set;
	bool offset;
};

static inline bool md_level_has_parity(int level)
{
	return level == 4 || level == 5 || level == 6;
}

/* 0, or -EINVAL with a reason: level, layout, disk count, chunk or size do not make an array. The size is rounded
 * down to whole chunks. */
int __must_check md_geo_init(struct md_geo *g, int level, u32 layout, u32 disks, u32 chunk, u64 member_sectors);

/* Every sector can be had although the members in this mask of slots are missing. */
bool md_geo_serves(const struct md_geo *g, u64 missing);

/* P's and Q's slots in a row; *q is MD_NO_SLOT below RAID6. */
void md_geo_parity(const struct md_geo *g, u64 row, u32 *p, u32 *q);

/* The slot of data index d in a row, and back (MD_NO_SLOT when the slot holds parity). */
u32 md_geo_slot(const struct md_geo *g, u64 row, u32 d);
u32 md_geo_data_index(const struct md_geo *g, u64 row, u32 slot);

/* The exponent of a data slot in Q. */
u32 md_geo_exponent(const struct md_geo *g, u64 row, u32 slot);
bool md_geo_is_ddf(const struct md_geo *g);

/* Array sector -> member sector and data index. */
void md_geo_map(const struct md_geo *g, u64 sector, u64 *member_sector, u32 *d);
/* The reverse. */
u64 md_geo_unmap(const struct md_geo *g, u64 member_sector, u32 d);

/* "left-symmetric" and so on, NULL when the level has no such layout or no name for it. */
const char *md_layout_name(int level, u32 layout);

#endif
