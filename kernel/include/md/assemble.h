/* SPDX-License-Identifier: MIT
 *
 * Which of the devices that claim to belong to an array really do. Pure: superblocks in, a plan out. Rules as md's:
 * the superblock with the highest event count is the truth about roles; a member more than one event behind is
 * stale and left out; a member that the truth calls faulty or spare is left out. Who is to replace a member has the
 * same role as that; if the member is not here, it is the member.
 */
#ifndef MD_ASSEMBLE_H
#define MD_ASSEMBLE_H

#include <md/engine.h>

enum md_verdict {
	MD_USED,
	MD_USED_AS_HEIR,
	MD_JOURNAL_DEV,
	MD_SPARE,
	MD_STALE,
	MD_FOREIGN,
	MD_DUPLICATE,
	MD_NOT_LISTED
};

struct md_plan {
	u32 newest;               /* index of the truth */
	u32 member[MD_MAX_DISKS]; /* index into the superblocks, MD_NO_SLOT: missing */
	bool in_sync[MD_MAX_DISKS];
	u32 heir[MD_MAX_DISKS]; /* likewise, of those that are to replace them */
	bool heir_whole[MD_MAX_DISKS];
	u32 journal;        /* index or MD_NO_SLOT */
	bool needs_journal; /* the array has one and it is not here */
	bool dirty;         /* parity may be stale */
	u32 missing;        /* slots without an in-sync member */
	u64 missing_slots;  /* which they are */
};

/* Fills the plan and verdict[n]. 0, or -EINVAL (no superblock, not a parity array of a size that we run) . */
int __must_check md_assemble(const struct md_super *const *sb, u32 n, struct md_plan *plan, enum md_verdict *verdict);
const char *md_verdict_text(enum md_verdict v);

#endif
