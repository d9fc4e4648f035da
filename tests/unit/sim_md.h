/* SPDX-License-Identifier: MIT
 *
 * Disks that forget, for tests of the RAID engine: each has a volatile cache of unflushed writes, carries out its
 * queue in random order, can fail, and can lose power, when any subset of what was not flushed survives, down to
 * single sectors of the request under way. Deterministic for a seed.
 */
#ifndef SIM_MD_H
#define SIM_MD_H

#include <md/assemble.h>
#include <md/engine.h>
#include <md/journal.h>
#include <md/ppl.h>

#define SIM_DISKS       8
#define SIM_DATA_OFFSET 64
#define SIM_LOG_BLOCKS  160
#define SIM_PPL_SECTORS 640 /* behind the data */

struct sim_disk {
	u64 sectors;
	u8 *stable, *view; /* what survives; what a read sees */
	struct list unflushed;
	bool dead;      /* every request fails */
	u64 bad_sector; /* reads of it fail until it is written; ~0 none */
	u64 stuck;      /* a sector that cannot be written; ~0 none */
};

struct sim {
	u64 rng;
	u32 disks; /* members; the journal, if any, is disk[disks] */
	bool journal, bitmap, ppl;
	u64 now;                             /* seconds */
	struct sim_disk disk[SIM_DISKS + 2]; /* the last: a spare, if there is one, is disk[disks + 1] */
	u32 at[MD_SLOTS];                    /* disk by slot */
	struct list queue;
	u64 ops, cut_at; /* power fails when ops reaches cut_at */
	bool off;
	u64 stalled; /* disks that answer only when nobody else has anything to do */
	u64 errors;
	struct md_super sb[SIM_DISKS + 2];
	struct md_io io; /* sim_rw's, which a crash may find under way */
	struct md_vec vec;
	int io_err;
};

u64 sim_random(struct sim *s);
void sim_create(struct sim *s, u64 seed, int level, u32 layout, u32 disks, u32 chunk, u64 member_sectors, bool journal);
/* Gives the members of a new array a write-intent bitmap. */
void sim_add_bitmap(struct sim *s, u32 chunk_bytes, u64 sync_sectors);
/* Makes an empty partial parity log on a disk; how a superblock says where it is. */
u32 sim_make_ppl(struct sim *s, u32 disk, u32 sectors);
/* Gives the members of a new array a partial parity log of so many sectors. */
void sim_add_ppl(struct sim *s, u32 sectors);
/* Puts an empty disk in place of this one; disk[disks] is the journal. */
void sim_replace_disk(struct sim *s, u32 disk);
/* One more disk, with a superblock that makes it a spare of the running array: *sb. */
void sim_add_spare(struct sim *s, struct md_super *sb);
void sim_destroy(struct sim *s);
extern const struct md_ops sim_ops;
/* Carries out one queued request; false when there is none or power is off. */
bool sim_step(struct sim *s, struct md_engine *e);
/* Power off and on, before the engine is destroyed: unflushed writes and queued requests survive or not, at random. */
void sim_crash(struct sim *s);
/* Reads the superblocks, judges them, recovers the journal, starts the engine. missing: mask of slots to leave out.
 * *e is NULL when power failed during recovery. 0 or -errno. */
int sim_start(struct sim *s, u64 missing, enum md_journal_mode mode, struct md_engine **e,
	      struct md_recovery_result *rec);
/* md_run, and what the owner does when an heir waits. */
void sim_run(struct sim *s, struct md_engine *e);
/* Steps until the engine is idle; false: power failed. */
bool sim_settle(struct sim *s, struct md_engine *e);
/* Reads or writes [sector, sectors) and waits. -errno or 0. */
int sim_rw(struct sim *s, struct md_engine *e, enum md_dir dir, u64 sector, u32 sectors, void *buf);

#endif
