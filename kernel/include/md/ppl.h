/* SPDX-License-Identifier: MIT
 *
 * The partial parity log of a RAID5 array, in Linux's format (struct ppl_header in linux/raid/md_p.h; semantics: md(4),
 * Documentation/driver-api/md/raid5-ppl.rst of Linux 6.1). Each member has an area for the stripes whose parity it
 * holds: headers, each followed by the partial parity of its entries. Partial parity is the XOR of the data that a
 * write leaves alone; with the modified data, as the members have it, it makes the parity right again. Only the newest
 * header counts: nothing is logged anew before what it names is on the members.
 *
 * Pure functions over buffers, and recovery, which runs before the array does and may block.
 */
#ifndef MD_PPL_H
#define MD_PPL_H

#include <md/journal.h>
#include <md/super.h>

#define MD_PPL_HEADER  4096
#define MD_PPL_PAGES   32 /* of partial parity behind a header, where an area has room for several */
#define MD_PPL_ENTRIES 148

struct md_ppl_entry {
	u64 array_sector;     /* of the first modified data */
	u32 pp_bytes;         /* partial parity; 0: all data of the stripe is modified */
	u32 data_bytes;       /* modified data on all members together */
	u32 parity_slot, crc; /* of the partial parity */
};

/* Where a member has its area: the absolute sector, and its sectors. 0, or -EINVAL with a reason: it overlaps. */
int __must_check md_ppl_place(const struct md_super *sb, u64 *sector, u32 *sectors);
/* Pages behind a header; one header has room (then it is always at the start), or several. */
u32 md_ppl_room(u32 sectors, bool *several);
u32 md_ppl_signature(const u8 set_uuid[16]);

/* Building: begin, add, end. add: -ENOSPC. pp: a page of partial parity, NULL: none. */
void md_ppl_begin(void *header, u32 signature, u64 generation);
int __must_check md_ppl_add(void *header, u64 array_sector, u32 data_bytes, u32 parity_slot, const void *pp);
void md_ppl_end(void *header);

/* 0 and *generation and *entries, or -EBADMSG: no header of this array. */
int __must_check md_ppl_check(const void *header, u32 signature, u64 *generation, u32 *entries);
void md_ppl_entry_at(const void *header, u32 i, struct md_ppl_entry *out);

struct md_ppl_result {
	u32 entries; /* whose parity was made right */
	u32 skipped; /* whose modified data is on a missing member */
	u32 damaged; /* members without a header that counts, entries that are not what they say */
	u64 generation;
};

/* The parity of an array that was not stopped agrees everywhere after recovery. (A first resync cannot be under way in
 * an array that lacks a member.) */
static inline bool md_ppl_trust(const struct md_ppl_result *r, bool degraded)
{
	return !r->damaged && (degraded || r->entries || r->skipped);
}

/* Makes the parity right that was being written, where `dirty` says that the array was not stopped; then begins the
 * logs anew (unless dry). sb[slot]: NULL for a member that is missing or not in sync. ops: journal.h's, with sectors
 * before a member's data offset as if they were negative; data_only is not used. 0 or -errno: of a member. */
int __must_check md_ppl_recover(const struct md_geo *g, const struct md_super *const *sb, bool dirty,
				const struct md_recovery_ops *ops, void *ctx, bool dry, struct md_ppl_result *out);

#endif
