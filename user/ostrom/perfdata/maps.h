/* SPDX-License-Identifier: MIT
 *
 * What was mapped where, in each process of a recording, at the moment that the stream has reached.
 *
 * Ownership: the table owns everything. A pd_map pointer is valid until the next record is followed. Locks: none.
 */
#ifndef PERFDATA_MAPS_H
#define PERFDATA_MAPS_H

#include "perfdata.h"

struct pd_map {
	u64 start, end, pgoff, inode;
	u32 major, minor, prot, flags;
	const char *path; /* interned */
	bool is_file;     /* and not memory without one: anonymous, heap, stack, shared segments */
};

struct pd_space {
	s32 pid;
	struct pd_map *maps; /* sorted, not overlapping */
	u32 nr;
	u32 recent[2]; /* where the last look-ups were: code and data alternate */
	struct pd_space *next;
};

struct pd_spaces {
	struct pd_space *buckets[1024];
	struct pd_path {
		struct pd_path *next;
		char text[];
	} * paths[256];
};

/* Follows MMAP, MMAP2 and FORK. 0 or -ENOMEM. */
int pd_spaces_record(struct pd_spaces *s, const struct pd_sample *r);
void pd_spaces_free(struct pd_spaces *s);
const struct pd_map *pd_space_find(const struct pd_spaces *s, s32 pid, u64 addr);

#endif
