/* SPDX-License-Identifier: MIT
 *
 * Between the files of the kernel's half of md.
 *
 *      ioctl.c, sysfs.c, bitmap_files.c, mdstat.c      what mdadm sees
 *              |  a->lock
 *      run.c   starts and stops the engine       member.c   devices and their superblocks       change.c   bitmap, size
 *              |
 *      worker.c   bios in, completions, spares       pace.c   how fast                            a->engine_lock
 *      issue.c    requests to members                                                             a->queue_lock
 *      bypass.c   reads that need no engine                                                       none
 *
 * Locks. a->lock (RANK_SUBSYS): the configuration: which devices, running or not. a->engine_lock (RANK_DEVICE): the
 * engine and which device serves which slot; whoever changes the list of disks holds both. a->queue_lock (RANK_DRIVER):
 * what waits for the worker.
 */
#ifndef MD_GLUE_H
#define MD_GLUE_H

#include <block/block.h>
#include <linux/ioctl.h>
#include <linux/major.h>
#include <linux/raid/md_p.h>
#include <linux/raid/md_u.h>
#include <md/assemble.h>
#include <md/engine.h>
#include <task/mutex.h>

#define MD_DEPTH     128 /* requests at once */
#define MD_VECS      32
#define MD_STRIPES   256
#define MD_SAFE_NS   (200 * NSEC_PER_MSEC) /* without a write: the array is marked clean, unless told otherwise */
#define MD_MAX_MINOR 128
#define MD_HANDS     3
#define MD_RETRY_NS  (10 * NSEC_PER_MSEC) /* after want of memory */

struct md_array;

struct md_disk {
	struct list entry; /* a->disks */
	struct md_array *a;
	struct block_dev *dev; /* counted and claimed */
	struct md_super sb;    /* as read, when it came */
	u32 slot;              /* MD_NO_SLOT: spare or out; MD_JOURNAL_SLOT; MD_HEIR() */
	bool faulty;
	bool wants_replacement; /* the next spare becomes its heir */
	u32 meant_for;          /* of a spare: the slot that it was added for, or MD_NO_SLOT */
	u64 ppl_sector;         /* where a partial parity log would be: absolute */
	u32 ppl_sectors;
	atomic_t inflight, errors;
	struct list outgoing, errand; /* md_rq; a batch's or a hand's disks */
	struct attr_dir attr;         /* md/dev-NAME */
	char name[40], link[8];       /* dev-vda, and rd0 while in slot 0 */
};

/* One bio of the array on its way through the engine. */
struct md_request {
	struct list link;
	struct bio *bio;
	struct md_io io;
	struct md_vec vec[MD_VECS];
};

/* Helps the worker: sends to disks. */
struct md_hand {
	struct md_array *a;
	struct task *task;
	struct waitq wake;
	struct list disks; /* with something outgoing */
	bool kicked, stopping;
};

/* What a turn wants of the disks. */
struct md_batch {
	struct list disks; /* errand */
	unsigned requests;
	bool is_retry; /* memory was short the last time */
};

/* How far a pass was at the last two marks. */
struct md_pace {
	u64 ns[2], done[2];
};

struct md_array {
	struct block_dev block;
	unsigned minor;
	struct mutex lock;
	struct list disks;
	bool announced; /* SET_ARRAY_INFO has come */
	u32 super_minor;
	bool running, read_only;
	bool lacks_journal; /* read-only therefore */
	struct md_geo geo;
	struct md_super truth; /* of the start: names, times, identity */

	struct mutex engine_lock;
	struct md_engine *e;
	struct md_disk *slot[MD_SLOTS];
	struct list to_issue; /* md_rq */
	struct md_status last;
	enum md_journal_mode mode;
	u64 last_write_ns, last_io_ns, sync_start_ns, sync_start_position, safe_ns;
	struct md_pace pace;
	u32 speed_min, speed_max; /* KiB/s; 0: the system's */
	bool frozen;              /* no pass begins by itself */
	unsigned holds;           /* requests wait until a change is made */
	u64 suspend_lo,
		suspend_hi; /* array sectors: writes there wait; for programs that look at members. queue_lock */
	bool gave_up;       /* a pass ended without success: not again until the configuration changes */
	enum md_sync last_sync;

	struct spinlock queue_lock;
	struct list incoming;  /* md_request */
	struct list completed; /* md_rq */
	struct list unsent;    /* md_rq: memory was short */
	struct md_hand hands[MD_HANDS];
	unsigned nhands;
	struct waitq wake, idle;
	bool kicked, stopping, quiescing, is_idle;
	struct task *worker;
	struct md_request *requests; /* [MD_DEPTH], by tag */

	struct attr_dir attr, bitmap_attr; /* md/, md/bitmap/ */
	u64 version;                       /* of its files: raised by md_changed */
};

/* device.c */
struct md_array *md_array_of(const struct block_dev *d); /* NULL: not one of ours */
extern struct md_array *md_arrays[MD_MAX_MINOR];
void md_changed(struct md_array *a); /* wakes who polls /proc/mdstat or the files of md/ */

/* member.c: all under a->lock */
int md_disk_add(struct md_array *a, const mdu_disk_info_t *info);
int md_disk_hot_add(struct md_array *a, const mdu_disk_info_t *info);
int md_disk_remove(struct md_array *a, u32 rdev);
int md_disk_fail(struct md_array *a, struct md_disk *d);
int md_disk_readd(struct md_array *a, struct md_disk *d); /* it has failed, and may come back by the bitmap */
void md_disk_seat(struct md_disk *d, u32 slot);           /* engine_lock */
void md_disk_unseat(struct md_disk *d);                   /* engine_lock; also if it is in no slot */
void md_disk_free(struct md_disk *d);                     /* off the list, with both locks; gives the device back */
struct md_disk *md_disk_find(struct md_array *a, u32 rdev);
u32 md_disk_role(const struct md_array *a, const struct md_disk *d); /* bits MD_DISK_* */
bool md_disk_is_heir(const struct md_disk *d);
u32 md_disk_position(const struct md_disk *d); /* the slot that it, or whom it replaces, has; or MD_NO_SLOT */
int md_disk_replace(struct md_array *a, struct md_disk *d, bool on); /* by the next spare, or not any more */
int md_disk_mean(struct md_array *a, struct md_disk *d, u32 slot);   /* a spare for this slot and no other */

/* run.c: under a->lock */
int md_array_run(struct md_array *a, bool read_only);
int md_array_stop(struct md_array *a);
int md_array_set_read_only(struct md_array *a, bool on);
int md_array_take_journal(struct md_array *a, struct md_disk *d); /* a new one; d is in the list */

/* change.c: under a->lock; -EBUSY: a pass is under way */
int md_disk_read_bitmap(struct md_disk *d, s32 offset, void **image, size_t *bytes); /* for kfree */
int md_bitmap_add(struct md_array *a, s32 offset);
int md_bitmap_remove(struct md_array *a);
int md_array_set_size(struct md_array *a, u64 sectors); /* of each member; 0: all that there is */
int md_array_set_mirrors(struct md_array *a, u32 disks);
int md_array_set_stripes(struct md_array *a, u64 stripes);
int md_array_set_ppl(struct md_array *a, bool on); /* where the disks' ppl_sector says */
int md_array_suspend(struct md_array *a, u64 lo, u64 hi);

/* pace.c: engine_lock */
void md_pace_start(struct md_array *a, const struct md_status *st, u64 now);
u64 md_pace(struct md_array *a, const struct md_status *st, u64 now);
u64 md_speed(const struct md_array *a, const struct md_status *st); /* KiB/s */
u32 md_speed_limit(const struct md_array *a, bool most);            /* KiB/s */

/* worker.c */
void md_worker(void *array);
void md_kick(struct md_array *a);
bool md_is_suspended(const struct md_array *a);
int md_queue(struct block_hwq *h, struct bio *b);           /* the block driver's */
void md_settle(struct md_array *a);                         /* waits until the engine has nothing to do; a->lock */
void md_snapshot(struct md_array *a, struct md_status *st); /* zeroes when not running */

/* issue.c */
void md_engine_wants(void *array, struct md_rq *rq);
void md_hand_out(struct md_array *a, struct md_batch *batch); /* engine_lock */
bool md_send(struct md_array *a, struct md_batch *batch);     /* without it; false: memory is short, again later */
int md_hands_start(struct md_array *a);
void md_hands_end(struct md_array *a);

/* bypass.c */
bool md_bypass(struct bio *b);            /* the block driver's */
void md_bypass_drain(struct md_array *a); /* a is not running any more: nothing is on its way; a->lock */

/* ioctl.c, sysfs.c, mdstat.c */
int md_ioctl(struct block_dev *d, unsigned cmd, ulong arg);
int md_files_add(struct md_array *a);
int md_disk_files_add(struct md_disk *d);
int md_bitmap_files_add(struct md_array *a);
const char *md_sync_name(const struct md_array *a, const struct md_status *st); /* "idle", "resync", ... */
int md_sync_action(struct md_array *a, const char *word);
void md_stat_init(void);
extern struct waitq md_stat_changed;
extern u32 md_stat_count;

#endif
