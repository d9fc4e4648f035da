/* SPDX-License-Identifier: MIT
 *
 * Inside the engine.
 *
 * Words. *stripe*: the pages of all members at one member sector. *segment*: the part of a request that falls into
 * one page. A slot's page is
 *	CUR	what a reader must see
 *	DIRTY	newer than the member's copy; then `old`, if OLD is set, is the member's copy
 *	LOGGED	(DIRTY only) in the journal
 * *disk state* of a slot: what its member holds: `old` if DIRTY, else `page`. Parity on the members always matches
 * the disk states, which is what reconstruction uses.
 *
 * A stripe's phases (who moves it on):
 *	IDLE -> FETCH (reads done) -> IDLE ...			stripe_run decides again from the flags
 *	IDLE -> META (superblocks written) -> LOG (durable) -> WRITE (members done) -> COMMIT -> IDLE
 *	IDLE -> META -> LOG -> IDLE with DIRTY|LOGGED pages	write-back: the stripe is *cached*
 * New segments queue at a stripe in any phase and are looked at when it is IDLE.
 *
 * Everything is guarded by the owner's serialisation of the engine.
 */
#ifndef MD_ENGINE_PRIV_H
#define MD_ENGINE_PRIV_H

#include <md/badblocks.h>
#include <md/engine.h>

#define PAGE_BYTES 4096u
#define CUR        BIT(0)
#define OLD        BIT(1)
#define DIRTY      BIT(2)
#define LOGGED     BIT(3)

/* Waits until superblocks of a generation are on the members. */
struct meta_waiter {
	struct list link;
	u64 generation;
	void (*go)(struct md_engine *e, struct meta_waiter *w);
};

struct md_seg {
	struct list link;
	struct md_io *io;
	u32 io_offset;    /* bytes into the request */
	u16 first, bytes; /* in the page */
};

struct slot_page {
	u8 *page, *old;
	unsigned flags;
	struct list toread, towrite; /* segments waiting */
	struct list batch;           /* segments that the running write carries */
	struct md_rq rq, heir_rq;
};

enum phase { IDLE, FETCH, FIX, META, LOG, WRITE, COMMIT };
enum op { OP_NONE, OP_CACHE, OP_WRITEOUT };

struct md_stripe {
	u64 sector;
	struct list link; /* lru, ready, or a wait list */
	struct list hash;
	enum phase phase;
	enum op op;
	u32 inflight;   /* member requests */
	bool known;     /* in the hash */
	bool intends;   /* its write counts in the bitmap */
	bool parked;    /* on lru or cached: nothing to do */
	bool fua;       /* the batch has a FUA write */
	bool write_out; /* although it could stay cached */
	bool leaving;   /* counts in the journal's leaving, until it is parked */
	bool stuck;     /* too many members are gone to write it out */
	u16 payer;      /* of the last request */
	enum step { APPLY, PARITY, INTENT, DURABLE_DIRTY, JOURNAL, MEMBERS } step; /* of op */
	int err;
	enum md_sync sync;               /* its turn in the pass of this kind */
	bool sync_read, sync_written;    /* steps of that turn */
	u64 to_read, to_write, in_batch; /* slots whose lists have segments */
	u64 bad;                         /* slots whose page could not be read */
	u64 fix;                         /* of these: to be rewritten once reconstructed */
	struct meta_waiter waiter;
	u32 reserved;         /* journal blocks */
	struct md_unit *unit; /* the oldest journal unit that it needs */
	struct ppl_log *ppl;  /* its partial parity is in this log's unit */
	struct slot_page s[];
};

struct member {
	bool present, faulty, in_sync;
	bool by_bitmap; /* it came back: lacks only what the bitmap says is needed */
	u64 recovered;  /* sectors below are good when not in_sync */
	struct md_super sb;
	struct md_bad bad;
	u8 *bad_log; /* as it goes to the member, when that has become necessary */
	bool bad_fresh;
	u64 buf[MD_SUPER_BYTES / 8];
	struct md_rq rq;
};

/* One meta block and the pages behind it. */
struct md_unit {
	struct list link; /* journal->units, in log order */
	u64 position, seq;
	enum { UNIT_OPEN, UNIT_WRITING, UNIT_WRITTEN, UNIT_DURABLE } state;
	u32 pages, inflight;
	u16 payer; /* of its first stripe */
	u32 live;  /* stripes that need it */
	int err;
	struct list waiting; /* stripes in LOG */
	u8 *meta;
	struct md_rq *rq; /* [0] the meta block */
};

struct journal {
	bool present, failed;
	enum md_journal_mode mode;
	struct member dev;
	u64 start;      /* absolute sector of the log */
	u64 blocks;     /* of 4 KiB */
	u64 head, tail; /* sectors in the log: next free, checkpoint */
	u64 used;       /* blocks from tail to head */
	u64 reserved;   /* blocks promised to stripes */
	u64 seq;
	u32 seed;
	struct list units;
	struct md_unit *open;
	struct list space_wait; /* stripes */
	u32 leaving;            /* stripes that reclaim has sent on their way */
	bool flushing;
	struct md_rq flush_rq;
	enum { RECLAIM_IDLE, RECLAIM_FLUSH, RECLAIM_SUPER } reclaim;
	u64 next_tail;  /* where the tail could be */
	u64 super_tail; /* where it is being moved to */
	bool moved;     /* next_tail is known */
	u64 generation; /* of the superblocks that name the first tail */
};

/* How a kind of array keeps its data. What it keeps in the engine is its own. */
struct md_personality {
	int (*init)(struct md_engine *e, const struct md_config *c); /* -errno: free is called */
	void (*free)(struct md_engine *e);
	bool (*attach)(struct md_engine *e, struct md_io *io); /* takes a request; false: no room, offer it again */
	bool (*run)(struct md_engine *e);            /* does what can be done now; true: there was something */
	bool (*is_ready)(const struct md_engine *e); /* run would find something */
	void (*member_added)(struct md_engine *e, u32 slot);
	/* The next step of the sync pass begins at member sector *position, which moves on; it counts in sync.inflight
	 * while it lasts. False: not now. */
	bool (*sync_at)(struct md_engine *e, u64 *position);
	bool repairs_degraded; /* copies can be compared, and lost, while others are missing */
};
extern const struct md_personality parity_personality, copies_personality;

struct md_engine {
	const struct md_ops *ops;
	const struct md_personality *pers;
	void *ctx;
	struct md_geo geo;
	u64 size;              /* of each member, as superblocks have it: not rounded to chunks */
	struct member *member; /* [geo.disks] */
	struct member *heir;   /* [geo.disks]: who is to replace them */
	u64 heirs;             /* slots with one that works */
	struct journal j;
	u64 now;

	u32 nstripes;
	struct md_stripe **all;
	struct list *hash;
	u32 hash_mask;
	u32 *unquiet, nbusy;            /* stripes that readers must not pass by: by bucket of the hash, in all */
	struct list lru, ready, cached; /* cached: only the journal has their data, oldest first */
	struct list stalled;            /* requests that wait for room in the personality */
	struct list finished;           /* requests to be reported */
	struct list completed;          /* md_rq */
	u32 ncached, busy;              /* busy: stripes not on lru or cached; pieces and jobs */
	u64 inflight;                   /* md_rq below */
	u8 *zero, *scratch[2];
	struct copies *copies; /* of levels without parity */
	struct intent *intent; /* the write-intent bitmap, or NULL */
	struct ppl *ppl;       /* the partial parity log, or NULL */

	/* superblocks */
	u64 events;
	bool dirty;                    /* writes may be under way: superblocks say that nothing is known of parity */
	u32 open_writes;               /* requests taken and not finished */
	u64 meta_wanted, meta_written; /* generations */
	u64 meta_running;              /* generation under way, 0 none */
	u64 meta_must;                 /* the one that says who missed a write: none is acknowledged before */
	u32 meta_inflight;
	struct list meta_wait;          /* meta_waiter */
	struct meta_waiter meta_header; /* superblocks wait for the bitmap's header */
	struct list meta_ios;           /* flushes that found a failed member */
	u64 parity_good;                /* member sectors below have parity that can be relied on */
	bool read_only, quiescing;

	/* flush of all members */
	struct list flush_wait, flush_now; /* requests: next round, this round */
	u32 flush_inflight;
	struct md_rq *flush_rq; /* [2 * geo.disks]: the members, their heirs */
	bool flush_reclaim_wanted, flush_reclaim_now, flush_meta_wanted, flush_meta_now;
	bool flush_intent_wanted, flush_intent_now;
	bool flush_ppl_wanted, flush_ppl_now;

	struct {
		enum md_sync kind;
		u64 position, window_end, window_start;
		u64 done; /* sectors that were looked at, not skipped */
		u32 inflight;
		bool ended;      /* the last pass, by its owner */
		bool stop, hold; /* ends after this window; no window begins */
		u64 mismatches;
		int err;
	} sync;
	u64 corrected, stat_reads, stat_writes, stat_log, stat_flushes;
};

/* engine.c */
void engine_submit(struct md_engine *e, struct md_rq *rq);
void io_finish(struct md_engine *e, struct md_io *io, int err);
void io_part_done(struct md_engine *e, struct md_io *io, int err); /* one of io->pending parts */
void flush_start(struct md_engine *e);

/* direct.c */
bool direct_read(struct md_engine *e, struct md_io *io); /* false: by the stripe cache */

/* cache.c */
bool stripe_is_quiet(const struct md_engine *e, u64 sector);          /* the members have what a reader must see */
struct md_stripe *stripe_find(const struct md_engine *e, u64 sector); /* NULL: not in the cache */
struct md_stripe *stripe_get(struct md_engine *e, u64 sector);
int __must_check cache_resize(struct md_engine *e, u32 stripes); /* nothing is under way */
void stripe_park(struct md_engine *e, struct md_stripe *sh);
void stripe_ready(struct md_engine *e, struct md_stripe *sh);
void seg_copy(struct md_seg *seg, u8 *page, bool to_page);

/* stripe.c */
void stripe_run(struct md_engine *e, struct md_stripe *sh);
void stripe_logged(struct md_engine *e, struct md_stripe *sh, int err);
u64 stripe_parity_mask(const struct md_engine *e, const struct md_stripe *sh);
u64 stripe_flag_mask(const struct md_engine *e, const struct md_stripe *sh, unsigned flag);
bool slot_readable(const struct md_engine *e, const struct md_stripe *sh, u32 i);
int stripe_require(struct md_engine *e, struct md_stripe *sh, u64 need);
void stripe_rq(struct md_engine *e, struct md_stripe *sh, u32 i, enum md_dir dir, u8 *buf, unsigned flags);
void stripe_write(struct md_engine *e, struct md_stripe *sh, u32 i, unsigned flags); /* slot and heir get the page */
void stripe_write_heir(struct md_engine *e, struct md_stripe *sh, u32 i, unsigned flags);
bool stripe_wait_meta(struct md_engine *e, struct md_stripe *sh, u64 generation);

/* parity.c: on the pages of one stripe */
void parity_reconstruct(struct md_engine *e, struct md_stripe *sh, u64 lost);
void parity_generate(struct md_engine *e, struct md_stripe *sh, u8 *p, u8 *q);
void parity_modify(struct md_engine *e, struct md_stripe *sh);

/* array.c */
struct member *member_at(const struct md_engine *e, u32 slot); /* also MD_HEIR() */
void member_init(struct member *m, const struct md_super *sb);
void member_free(struct member *m); /* what it points to */
int __must_check member_load(struct member *to, const struct md_member_config *m);
u64 array_failed(const struct md_engine *e);
u64 slots_writable(const struct md_engine *e);
bool array_can_lose(const struct md_engine *e, u32 slot);
void array_member_error(struct md_engine *e, u32 slot);
/* A member could not be written there, and others have what belongs there: true if that is in its log (or will be, with
 * meta_must). */
bool array_record_bad(struct md_engine *e, u32 slot, u64 sector, u32 sectors);
void array_must_record(struct md_engine *e);                /* somebody missed a write */
bool parity_is_good(const struct md_engine *e, u64 sector); /* it can be relied on */
void meta_want(struct md_engine *e);
bool meta_wait(struct md_engine *e, struct meta_waiter *w, u64 generation); /* false: it is written already */
void meta_pump(struct md_engine *e);
void meta_flush_done(struct md_engine *e);
bool meta_is_flushed(const struct md_engine *e); /* for superblocks that are not on their way yet */
void array_wrote(struct md_engine *e, u32 slot, u64 sector, u32 bytes); /* absolute sector: it is good now */
/* Nobody knows what belongs there on the member (or heir). 0, or -errno: no room to say so. */
int __must_check array_lost(struct md_engine *e, u32 slot, u64 sector, u32 sectors);
void array_journal_failed(struct md_engine *e);

/* journal_append.c */
int __must_check journal_init(struct md_engine *e, const struct md_journal_config *c);
void journal_free(struct md_engine *e);
bool journal_active(const struct md_engine *e);
bool journal_reserve(struct md_engine *e, struct md_stripe *sh, u32 blocks);
void journal_unreserve(struct md_engine *e, struct md_stripe *sh, u32 blocks);
int journal_append(struct md_engine *e, struct md_stripe *sh, u64 slots);
void journal_close_unit(struct md_engine *e);
void journal_pump(struct md_engine *e);
void journal_release(struct md_engine *e, struct md_stripe *sh);
void journal_adopt(struct md_engine *e, struct md_stripe *sh);
void journal_mark(struct md_engine *e);

/* journal_reclaim.c */
void reclaim_pump(struct md_engine *e);
void reclaim_members_flushed(struct md_engine *e, int err);

/* intent.c; without a bitmap nothing happens and everything is needed */
int intent_set(struct md_engine *e, const struct md_super *sb, s32 offset, const void *image, size_t bytes);
void intent_free(struct md_engine *e);
void intent_begin(struct md_engine *e, u64 sector, u32 sectors); /* a write, in the sectors that the bits are about */
void intent_end(struct md_engine *e, u64 sector, u32 sectors);
bool intent_wait(struct md_engine *e, struct meta_waiter *w, u64 sector, u32 sectors);
bool intent_needs(const struct md_engine *e, u64 sector, u32 sectors);
u64 intent_skip(const struct md_engine *e, u64 sector);
bool intent_covers(const struct md_engine *e, const struct md_super *sb);
void intent_member_failed(struct md_engine *e);
int __must_check intent_member_added(struct md_engine *e, const struct md_super *sb);
void intent_pass_done(struct md_engine *e);
int __must_check intent_resize(struct md_engine *e, const struct md_geo *g);
int __must_check intent_set_disks(struct md_engine *e, u32 disks);
bool intent_header(struct md_engine *e, struct meta_waiter *w);
void intent_flushed(struct md_engine *e);
void intent_sweep_now(struct md_engine *e);
void intent_pump(struct md_engine *e);
bool intent_is_idle(const struct md_engine *e);
void intent_fill(const struct md_engine *e, struct md_super *sb);
void intent_status(const struct md_engine *e, struct md_status *st);

/* ppl.c; without a partial parity log nothing happens, but ppl_choose, which then takes all */
int __must_check ppl_init(struct md_engine *e, const struct md_super *truth, u64 generation);
void ppl_free(struct md_engine *e);
int __must_check ppl_member_added(struct md_engine *e, u32 slot, const struct md_super *sb);
int __must_check ppl_fits(const struct md_engine *e, const struct md_super *sb); /* a member can have its log */
void ppl_fill(const struct md_engine *e, u32 slot, struct md_super *sb);
u64 ppl_choose(const struct md_engine *e, const struct md_stripe *sh, u64 slots); /* what a write may cover at once */
bool ppl_append(struct md_engine *e,
		struct md_stripe *sh); /* true: the stripe goes on to its members when it is logged */
void ppl_release(struct md_engine *e, struct md_stripe *sh);
void ppl_flush_begins(struct md_engine *e);
void ppl_flushed(struct md_engine *e, int err);
void ppl_pump(struct md_engine *e);
bool ppl_is_idle(const struct md_engine *e);

/* replace.c */
u64 heirs_behind(const struct md_engine *e); /* slots whose heir has not everything yet */
u64 heirs_wait(const struct md_engine *e);   /* slots whose heir must take over: no request begins */
void heir_fail(struct md_engine *e, u32 slot);
void heir_written(struct md_engine *e, const struct md_rq *rq, int err);
int __must_check heir_load(struct md_engine *e, u32 slot, const struct md_member_config *m, bool clean);
void heir_status(const struct md_engine *e, struct md_status *st);

/* sync.c */
void sync_pump(struct md_engine *e);
u64 sync_targets(const struct md_engine *e, u64 sector,
		 u32 sectors); /* slots whose member or heir is to be rebuilt there */
bool sync_wants(const struct md_engine *e, u64 sector, u32 sectors); /* the pass has something to do there */
u64 members_behind(const struct md_engine *e);                       /* slots with a member that is not in sync */
void sync_step_done(struct md_engine *e, u64 sector, int err);
void sync_run(struct md_engine *e, struct md_stripe *sh);

#endif
