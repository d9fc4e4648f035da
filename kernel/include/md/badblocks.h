/* SPDX-License-Identifier: MIT
 *
 * The bad-block log of a member: sectors whose contents are not the array's, because they could not be read, written or
 * rebuilt. On disk a table of 64-bit little-endian words, sector << 10 | length (1 to 512), all ones behind the last;
 * both in units of 1 << shift sectors, sectors counted from the start of the device. The superblock says where it
 * stands (bblog_offset, bblog_size, bblog_shift) and, by MD_FEATURE_BAD_BLOCKS, whether there is anything in it.
 *
 * In memory: ranges in order, none touching another; at most as many as fit. Pure; not thread safe.
 */
#ifndef MD_BADBLOCKS_H
#define MD_BADBLOCKS_H

#include <md/super.h>

#define MD_BAD_LENGTH 512 /* of one range on disk */

struct md_bad_range {
	u64 sector;
	u32 sectors;
};

struct md_bad {
	u32 n, max; /* ranges; max 0: there is no log */
	struct md_bad_range *range;
};

/* Room for what fits where the superblock says; none is fine (max 0). -ENOMEM. */
int __must_check md_bad_init(struct md_bad *b, const struct md_super *sb);
void md_bad_free(struct md_bad *b);
/* Where the log is on the member, and its bytes (0: there is none). */
u64 md_bad_place(const struct md_super *sb, u32 *bytes);
/* Takes over what is in the log as it was read. -EINVAL: not sorted into the device, or more than fits. */
int __must_check md_bad_decode(struct md_bad *b, const struct md_super *sb, const void *buf, u64 dev_sectors);
void md_bad_build(const struct md_bad *b, const struct md_super *sb, void *buf);

bool md_bad_hits(const struct md_bad *b, u64 sector, u64 sectors);
/* -ENOSPC: no log, or it is full. */
int __must_check md_bad_add(struct md_bad *b, u64 sector, u32 sectors);
/* True: something was there. When the log is full and a range would have to be cut in two, the whole stays bad. */
bool md_bad_remove(struct md_bad *b, u64 sector, u32 sectors);

#endif
