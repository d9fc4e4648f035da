/* SPDX-License-Identifier: MIT
 *
 * The ownership of one cache line, and a bounded memory of many: what sampled accesses say about who has a line now.
 * A line is owned by the CPU that wrote it last; an access from another CPU after that write makes it travel.
 *
 *   write by X        any access by Y on another CPU        write by Y
 *   X modified  --->  travel; shared by X and Y      --->   Y modified
 *
 * Pure. Threading: the caller's lock guards a line or a table.
 */
#ifndef PERF_OWNER_H
#define PERF_OWNER_H

#include <lib/types.h>

struct line_owner {
	u64 holders; /* CPUs (mod 64) that touched it since the last write, the writer included */
	u32 cpu;     /* of the last write */
	bool is_modified, was_written;
};

/* True if the access had to fetch the line from another CPU, or take it from others that held it. */
bool line_owner_touch(struct line_owner *o, u32 cpu, bool is_write);

#define OWNER_SETS 1024
#define OWNER_WAYS 4

struct owner_slot {
	u64 key;
	struct line_owner owner;
	u16 travels;
	u32 used; /* the table's clock at the last access */
};
struct owner_table {
	u32 clock;
	struct owner_slot slots[OWNER_SETS][OWNER_WAYS];
};

enum owner_verdict {
	OWNER_UNKNOWN, /* the first access that was sampled: it may be anywhere */
	OWNER_HERE,    /* this CPU had it */
	OWNER_HANDED,  /* another CPU had it; it has travelled once or twice, as memory does that changes hands */
	OWNER_FOUGHT,  /* another CPU had it, again */
};
/* One access to the line named by key (not 0). The least recently touched line of the set is forgotten for it.
 * *from: who wrote it last, before; this CPU, if nobody has. */
enum owner_verdict owner_touch(struct owner_table *t, u64 key, u32 cpu, bool is_write, u32 *from);

#endif
