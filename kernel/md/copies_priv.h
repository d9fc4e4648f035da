/* SPDX-License-Identifier: MIT
 *
 * Inside the personality of arrays without parity.
 *
 * Words. *piece*: the part of a request that is in one piece on each of its members. *job*: work on a range of the
 * array that must not meet writes: a step of a pass, or the repair of a sector that could not be read.
 *
 *      piece, read     choose a copy -> read -> (error: another copy) -> done
 *      piece, write    (blocked by a job) -> superblocks say dirty -> all copies -> superblocks say who failed -> done
 *      job             wait for the writes in its range -> read one copy, or all -> write what is missing or differs ->
 * done
 *
 * Guarded like everything in the engine.
 */
#ifndef MD_COPIES_PRIV_H
#define MD_COPIES_PRIV_H

#include <md/copies.h>
#include "engine_priv.h"

struct piece {
	struct list link; /* copies->reads, ->writes or ->blocked */
	struct md_io *io;
	u64 sector;
	u32 sectors, n;
	size_t skip; /* bytes into the request's memory */
	u32 inflight;
	u64 tried;  /* slots that a read has asked, or a write has reached */
	u64 broken; /* slots that could not be read, to be repaired */
	int err;
	struct meta_waiter waiter;
	struct md_rq rq[]; /* by copy, of writes also by copy's heir; a read uses the one of the copy that it asks */
};

struct job {
	struct list link; /* copies->jobs */
	u64 sector;
	u32 sectors, n;
	enum { JOB_WAITS, JOB_READS, JOB_WRITES } state;
	bool pass; /* counts in sync.inflight */
	/* Slots whose members, or heirs, are written whatever they hold; none: all members are compared. */
	struct job_aim {
		u64 members, heirs;
	} aim;
	u64 have, tried;
	u32 inflight, source; /* source: the copy whose contents count */
	int err;
	u8 *buf;           /* sectors for the source alone, or for each copy */
	struct md_rq rq[]; /* by copy, then by copy's heir */
};

struct copies {
	struct md_zones zones;
	struct list reads, writes, blocked, jobs;
	bool look;                 /* something ended that others wait for */
	u64 head[MD_MAX_DISKS];    /* where the last read of a member ended */
	u32 reading[MD_MAX_DISKS]; /* reads under way */
};

/* copies_io.c */
void copies_map(const struct md_engine *e, u64 sector, u32 sectors, struct md_extent *x);
bool copies_readable(const struct md_engine *e, u32 slot, u64 sector, u32 sectors);
void copies_write_failed(struct md_engine *e, const struct md_rq *rq, int *err);
unsigned copies_flags(const struct md_engine *e, u32 slot);
void copies_resume(struct md_engine *e); /* blocked writes that no job hinders any more */
static inline bool ranges_meet(u64 a, u32 n, u64 b, u32 m)
{
	return a < b + m && b < a + n;
}

/* copies_sync.c */
bool copies_sync_at(struct md_engine *e, u64 *position);
/* Puts right what `broken` slots hold of a range, from another copy. Without memory it is left for the next read. */
void copies_repair(struct md_engine *e, u64 sector, u32 sectors, u64 broken);
void copies_start_jobs(struct md_engine *e); /* those whose range has no writes left */
void copies_drop_jobs(struct copies *c);
bool copies_is_locked(const struct copies *c, u64 sector, u32 sectors);

#endif
