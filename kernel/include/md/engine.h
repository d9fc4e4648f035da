/* SPDX-License-Identifier: MIT
 *
 * The engine of arrays, with parity (RAID 4, 5, 6) or without (linear, 0, 1, 10): an event-driven core that never
 * blocks and never calls upwards from inside a call downwards. The same code runs in the kernel over the block layer,
 * in `ostrom raid` over files and in the crash matrix over recorded disks.
 *
 * How it is driven. The owner hands in requests (md_submit), carries out what the engine asks of its members
 * (ops->submit), reports each as finished (md_complete), and after one or more of these calls md_run, which does
 * everything that can be done without waiting. ops->submit must not call back into the engine; it queues. In the
 * kernel a bio becomes one struct md_io (its pages are the vectors, REQ_PREFLUSH and REQ_FUA the flags), an md_rq
 * becomes one bio to the member, its end_io calls md_complete and wakes the array's worker, which calls md_run.
 *
 * Threading: one engine is entered by one thread at a time (the owner's lock, or one worker); `done` callbacks come
 * from md_run, and may call md_submit. Ownership: an md_io and its buffers belong to the engine from
 * md_submit until done; an md_rq belongs to the owner from ops->submit until md_complete.
 *
 * Sectors are 512 bytes. Those of an md_io are the array's; those of an md_rq are absolute on the member.
 *
 * Acknowledgement. Without a journal a write is acknowledged when its members have it (their caches may still hold
 * it; a flush reaches all members; FUA writes are passed on as such). With a journal nothing is acknowledged before
 * it is durable there. A member that failed is recorded as failed on the others before any write that it missed is
 * acknowledged.
 */
#ifndef MD_ENGINE_H
#define MD_ENGINE_H

#include <lib/list.h>
#include <lib/types.h>
#include <md/badblocks.h>
#include <md/geometry.h>
#include <md/super.h>

struct md_engine;

enum md_dir { MD_READ, MD_WRITE, MD_FLUSH };

#define MD_FUA      BIT(0)
#define MD_PREFLUSH BIT(1)
#define MD_FAILFAST BIT(2) /* below only: do not retry, others can serve */

struct md_vec {
	void *base;
	size_t bytes;
};

struct md_io {
	/* set by the owner */
	enum md_dir dir;
	unsigned flags;
	u64 sector;
	u32 sectors; /* 0 for MD_FLUSH */
	const struct md_vec *vec;
	unsigned nvec;
	void (*done)(struct md_io *io, int err);
	void *owner;
	u16 payer; /* for whom it is: passed on to the md_rq that it causes, where that can be told */
	/* the engine's */
	struct list link;
	struct md_seg *seg;
	struct md_direct *direct;    /* a read past the stripe cache */
	bool not_direct;             /* that did not work */
	u32 nseg, attached, pending; /* pending: parts under way */
	bool counted;
	int err;
};

struct md_rq {
	u32 slot; /* a member's slot, MD_JOURNAL_SLOT or MD_HEIR(slot) */
	enum md_dir dir;
	unsigned flags;
	u64 sector;
	u32 bytes;
	void *buf;                /* or, if NULL, */
	const struct md_vec *vec; /* these, which are at least as long, from `skip` bytes on */
	size_t skip;
	u16 payer;
	void *owner;      /* the owner's, while it has the request */
	struct list link; /* likewise */
	/* the engine's */
	void (*done)(struct md_engine *e, struct md_rq *rq, int err);
	void *arg;
	int err;
};

struct md_ops {
	void (*submit)(void *ctx, struct md_rq *rq);
};

enum md_journal_mode { MD_WRITE_THROUGH, MD_WRITE_BACK };

/* A member as assembly found it; sb is copied. */
struct md_member_config {
	const struct md_super *sb; /* NULL: missing */
	bool in_sync;              /* false: rebuilt from sb->recovery_offset on (0 without the feature) */
	const void *bad;           /* its bad-block log, where sb says that there is something in it; only read */
	u64 dev_sectors;           /* of its device, if bad is given */
};

struct md_journal_config {
	const struct md_super *sb; /* NULL: no journal */
	enum md_journal_mode mode;
	u64 tail, head, seq; /* from md_journal_recover */
};

struct md_config {
	const struct md_ops *ops;
	void *ctx;
	struct md_member_config member[MD_MAX_DISKS], heir[MD_MAX_DISKS];
	struct md_journal_config journal;
	u32 stripes;        /* of the stripe cache; 0: 128 */
	u64 ppl_generation; /* from md_ppl_recover */
	const void *bitmap; /* as md_bitmap_read found it, or NULL; only read */
	size_t bitmap_bytes;
	bool read_only;
	bool trust_parity; /* reconstruct although the array was not stopped cleanly */
	u64 now;           /* seconds, for utime */
};

enum md_sync { MD_SYNC_NONE, MD_SYNC_RESYNC, MD_SYNC_CHECK, MD_SYNC_REPAIR, MD_SYNC_RECOVER };

struct md_status {
	u64 failed, in_sync; /* slot masks; failed: everything that is not in sync */
	u64 faulty;          /* of failed: members that had errors or were failed */
	u64 heirs;           /* slots with an heir */
	u64 heirs_behind;    /* that has not everything yet */
	u64 heirs_faulty;    /* with one that failed */
	u64 heirs_due;       /* md_inherit now */
	u64 events;
	bool clean; /* no write is under way, and the superblocks say so */
	bool read_only, journal_failed;
	enum md_sync sync;
	u64 sync_position, mismatches; /* sectors */
	u64 sync_done;                 /* sectors that a pass has looked at: since the start, without those skipped */
	bool sync_ended;               /* the last pass was ended by md_stop_sync */
	u64 corrected;
	u64 parity_good; /* member sectors below have parity (copies) that agree; MD_CLEAN: all */
	u32 stripes;     /* that there is room for */
	u32 cached;      /* stripes with acknowledged data that only the journal has */
	u64 member_reads, member_writes, log_blocks, flushes;
	bool ppl;
	bool bitmap; /* it has one: */
	s32 bitmap_offset;
	u32 bitmap_chunk, bitmap_sleep, bitmap_space; /* bytes, seconds, sectors */
	u32 bitmap_bits, bitmap_set;
};

/* 0, -EINVAL (with a reason), -ENOMEM. */
int __must_check md_engine_create(struct md_engine **out, const struct md_config *c);
/* Nothing may be in flight. */
void md_engine_destroy(struct md_engine *e);
const struct md_geo *md_engine_geo(const struct md_engine *e);

/* Calls fn with each piece of a request's memory, in order, until it returns an error. For owners. */
static inline int md_rq_for_each(const struct md_rq *rq, int (*fn)(void *arg, u32 at, void *base, u32 bytes), void *arg)
{
	const struct md_vec *v = rq->vec;
	size_t skip = rq->skip;
	int err = 0;

	if (rq->buf)
		return fn(arg, 0, rq->buf, rq->bytes);
	for (; skip >= v->bytes; v++)
		skip -= v->bytes;
	for (u32 at = 0; !err && at < rq->bytes; v++, skip = 0) {
		u32 n = (u32)(v->bytes - skip < rq->bytes - at ? v->bytes - skip : rq->bytes - at);

		err = fn(arg, at, (u8 *)v->base + skip, n);
		at += n;
	}
	return err;
}

void md_submit(struct md_engine *e, struct md_io *io);
void md_complete(struct md_engine *e, struct md_rq *rq, int err);
void md_run(struct md_engine *e);

/* Hands a page that recovery found only as data in the journal to the stripe cache, to be written out. */
int __must_check md_inject(struct md_engine *e, u64 array_sector, const void *page);
/* No acknowledged data in the journal only; then marks the array clean. Requests: drive until md_is_idle. */
void md_quiesce(struct md_engine *e);
/* The same before a stop: a pass ends, bits of the bitmap that say nothing any more go. To be called before each
 * md_run until md_is_idle. */
void md_shut(struct md_engine *e);
bool md_is_idle(const struct md_engine *e);
/* Changes how writes are acknowledged from now on: 0, -ENODEV without journal, -EINVAL when degraded. */
int __must_check md_set_mode(struct md_engine *e, enum md_journal_mode mode);

/* Members. fail: 0 or -EBUSY when the array cannot lose it. add: a new or returning member for an empty slot, to be
 * rebuilt; its superblock is rewritten. 0, -EBUSY, -EINVAL, -ENOSPC. */
int __must_check md_fail_member(struct md_engine *e, u32 slot);
int __must_check md_fail_journal(struct md_engine *e); /* 0, -ENODEV */
int __must_check md_add_member(struct md_engine *e, u32 slot, const struct md_super *sb);
/* Replacing a member that works. An heir gets what is written to the member from now on, MD_SYNC_RECOVER brings it the
 * rest; when it has everything, or the member fails, the engine keeps new requests waiting until the owner has said
 * md_inherit, which it can when the slot is in md_status's heirs_due (nothing is under way then): the heir is the
 * slot's member, the old one is recorded as failed and not used any more.
 * add: 0, -EBUSY (there is one; superblocks are being written; a pass), -EINVAL (no member, no redundancy), -ENOSPC.
 * md_fail_member(e, MD_HEIR(slot)) gives one up. */
int __must_check md_add_heir(struct md_engine *e, u32 slot, const struct md_super *sb);
int __must_check md_inherit(struct md_engine *e, u32 slot);
/* The slot that this member had and can have again, lacking only what the bitmap knows; or MD_NO_SLOT. */
u32 md_can_return(const struct md_engine *e, const struct md_super *sb);
/* Takes up a bitmap that the members have at `offset` sectors from their superblocks, or (image NULL) gives it up.
 * 0, -EBUSY when anything is under way, -EINVAL, -ENOMEM. */
int __must_check md_set_bitmap(struct md_engine *e, s32 offset, const void *image, size_t bytes);
/* Starts a pass over all stripes; MD_SYNC_RECOVER rebuilds every member and heir that is not in sync. 0, -EBUSY,
 * -EINVAL. */
int __must_check md_start_sync(struct md_engine *e, enum md_sync kind);
/* Ends the pass after what is under way; how far a resync or a rebuild has come is recorded, and it goes on there. */
void md_stop_sync(struct md_engine *e);
void md_hold_sync(struct md_engine *e, bool hold); /* to keep a pass slow */

/* Uses more of each member (sectors; 0: all that there is); the rest needs a resync. And: mirrors on so many members.
 * As md_set_bitmap; -ENOSPC. */
int __must_check md_set_size(struct md_engine *e, u64 sectors);
int __must_check md_set_mirrors(struct md_engine *e, u32 disks);

/* Gives a read-only array that has no journal, or has lost its own, one whose log md_journal_recover has found empty.
 * What a lost one alone had is lost. As md_set_bitmap. */
int __must_check md_set_journal(struct md_engine *e, const struct md_journal_config *c);

/* Gives a RAID5 that is clean and whose parity agrees a partial parity log: word[slot] is what member slot's superblock
 * shall say of its place (md/ppl.h: md_ppl_place), where it has been made empty; or (NULL) takes it away. As
 * md_set_bitmap. */
int __must_check md_set_ppl(struct md_engine *e, const u32 *word);

/* Keeps so many stripes in memory (17 to 32768). As md_set_bitmap; -EBUSY also: too many have data that only the
 * journal has. Nobody may be in md_peek. */
int __must_check md_set_stripes(struct md_engine *e, u32 stripes);

/* The bad blocks of a member, by sectors of its device; empty if there is none. */
const struct md_bad *md_bad_blocks(const struct md_engine *e, u32 slot);

/* Reads past the engine, of arrays with parity: a part that is in one piece on one member. */
struct md_part {
	u32 slot, sectors;
	u64 at; /* of the member, from its data on */
	/* by md_peek: */
	u64 sector; /* absolute */
	bool failfast;
};
/* Where array sector `sector` and what follows is, at most `sectors` long. */
void md_part_at(const struct md_engine *e, u64 sector, u32 sectors, struct md_part *out);
/* True: the member has what a reader must see. False: the read must go through the engine. May be called while others
 * are in the engine: a writer that begins meanwhile is concurrent with the read. The caller makes sure that the engine
 * stays, and the device of a member that has not failed. */
bool md_peek(const struct md_engine *e, struct md_part *p);
/* The same for a part within a 4 KiB page, by who is in the engine: MD_ON_MEMBER as md_peek's true, MD_IN_MEMORY: *page
 * is the page. */
enum md_place { MD_BUSY, MD_ON_MEMBER, MD_IN_MEMORY };
enum md_place md_look(const struct md_engine *e, struct md_part *p, const u8 **page);

void md_status(const struct md_engine *e, struct md_status *out);
/* Refuses writes from now on, or takes them again. Nothing may be in flight. -EROFS: its journal has failed. */
int __must_check md_set_read_only(struct md_engine *e, bool on);
/* Sets and clears flags of a member's superblock (WriteMostly1, FailFast1). -EINVAL: no member there. */
int __must_check md_set_devflags(struct md_engine *e, u32 slot, u8 set, u8 clear);
void md_set_time(struct md_engine *e, u64 now); /* seconds, for utime */

#endif
