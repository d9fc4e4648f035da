/* SPDX-License-Identifier: MIT
 *
 * Block devices. A bio is one transfer: an operation, a range of 512-byte sectors, pages to read into or write from,
 * and a callback. A driver offers hardware queues; the block layer splits, throttles, orders flushes, times and polls.
 *
 * Ownership: the submitter owns the bio and its pages until done() runs. done() runs once, in a deferred job or a task,
 * IRQs on, may take spin locks, may not sleep. Errors in bio->status: 0, -EIO, -ENOSPC, -EAGAIN (BIO_NOWAIT would
 * block), -EROFS, -ETIMEDOUT, -EOPNOTSUPP. Durability: a finished write is in the device; it survives a power
 * cut after a later finished flush, or at once with BIO_FUA.
 */
#ifndef BLOCK_BLOCK_H
#define BLOCK_BLOCK_H

#include <block/ioshare.h>
#include <block/merge.h>
#include <core/attr.h>
#include <core/spin.h>
#include <lib/atomic.h>
#include <lib/list.h>
#include <task/timer.h>
#include <task/wait.h>
#include <vfs/writeback.h>

struct page;
struct block_dev;
struct block_hwq;

#define SECTOR_SHIFT 9
#define SECTOR_SIZE  512U

enum block_op { BLOCK_READ, BLOCK_WRITE, BLOCK_FLUSH, BLOCK_DISCARD, BLOCK_WRITE_ZEROES, BLOCK_OPS };

#define BIO_FUA        BIT(0) /* on stable storage before done */
#define BIO_PREFLUSH   BIT(1) /* everything finished before is on stable storage first */
#define BIO_SYNC       BIT(2) /* somebody waits */
#define BIO_HIPRI      BIT(3) /* the submitter will poll */
#define BIO_BACKGROUND BIT(4) /* writeback that nobody waits for */
#define BIO_META       BIT(5)
#define BIO_FAILFAST   BIT(6) /* do not retry */
#define BIO_NOWAIT     BIT(7)
#define BIO_ALONE      BIT(9) /* never merged with another */
#define BIO_DIRECT     BIT(8) /* from a program's own buffer: not writeback, never throttled */
#define BIO_SWAP       BIT(10)

struct bio_vec {
	struct page *page; /* a single page or a block of them */
	u32 offset, bytes;
};

struct bio {
	struct block_dev *dev;
	u64 sector;
	u32 bytes; /* multiple of the logical block size; 0 for flush */
	u8 op;     /* enum block_op */
	u16 flags; /* BIO_* */
	u16 payer; /* the tenant for whom current submits it, by number; 0: as it is. After block_submit: who pays, if
		      tenants have shares of the disk */
	u16 nr_vecs;
	struct bio_vec *vecs; /* NULL for flush, discard, zeroes */
	int status;
	void (*done)(struct bio *bio);
	void *priv;

	/* the block layer's while submitted */
	struct list link;
	struct merge_item merge;
	struct block_hwq *hwq;
	u16 tag;
	u8 stage;   /* of the flush sequence */
	u8 retries; /* how often it came back to its queue */
	bool finished;
	bool throttled;
	u8 throttle_class;
	bool poll_waits, poll_slept; /* its waiter polls; and has just slept */
	bool polled;                 /* it is in a queue without interrupts */
	u64 admit_ns, complete_ns;
	u64 issue_ns;
	struct bio *parent; /* of a split */
	atomic_t children;
	u64 orig_sector;                 /* as submitted, before the partition's start was added */
	struct io_item share;            /* among its tenant's; node NULL: tenants have no shares of the disk */
	bool share_waits, share_entered; /* it seemed to have to wait; it is in the disk's io_queue */
};

/* ---- drivers ----------------------------------------------------------------------------------- */

struct block_driver {
	/* Either submit: takes each bio at once, in the submitter's context (or a deferred job's), with no queue and no
	 * tag between, and calls block_complete now or later; FUA and PREFLUSH are its own business. Or queue and its
	 * kin: */
	void (*submit)(struct bio *bio);
	/* A driver with queue may take reads past it: at once, in the submitter's context, with no tag, as submit does.
	 * False: the bio goes through the queue. */
	bool (*bypass)(struct bio *bio);
	/* Hands one bio (tag set, 0 .. depth-1) to hardware queue h. 0; -EBUSY: full, will be offered again at the next
	 * completion; other -errno fails the bio. Called with h->lock held, IRQs off. */
	int (*queue)(struct block_hwq *h, struct bio *bio);
	/* Lets the device see what was queued. h->lock held. */
	void (*commit)(struct block_hwq *h);
	/* Reaps completions without an interrupt; returns how many. NULL: cannot poll. Any context that may take locks.
	 */
	int (*poll)(struct block_hwq *h);
	/* A bio is overdue: stop the device's use of it; afterwards it is failed or retried. */
	void (*timeout)(struct block_hwq *h, struct bio *bio);
	int (*ioctl)(struct block_dev *d, unsigned cmd, ulong arg); /* -ENOTTY: not mine */
	int (*open)(struct block_dev *d);                           /* of the disk or a partition; may refuse */
	void (*release)(struct block_dev *d);                       /* d->openers is what is left */
	void (*free)(struct block_dev *d); /* of a disk: nobody refers to it any more. NULL: it stays */
};

struct block_hwq {
	struct block_dev *dev;
	unsigned index, depth;
	struct spinlock lock; /* RANK_BLOCK, irqsave */
	struct list waiting;  /* bios that go next: refused by the driver, or come back */
	struct list *soft;    /* by CPU: groups of bios (struct merge_item) without a tag */
	unsigned nr_soft;     /* groups in all of them */
	unsigned next_soft;   /* whose turn it is */
	struct bio **by_tag;
	ulong *tags; /* bitmap of used ones */
	u16 next_tag;
	u32 in_flight; /* tags in use */
	bool stopped;  /* the driver takes nothing now */
	void *priv;    /* the driver's */
};

struct block_limits {
	u32 logical_block, physical_block; /* bytes */
	u32 max_bytes;                     /* of one transfer */
	u32 optimal_bytes;                 /* 0: says nothing */
	u16 max_vecs;
	u32 boundary; /* not 0: inside a transfer, memory is contiguous but for gaps at multiples of it (NVMe) */
	u64 max_discard_bytes, max_zeroes_bytes; /* 0: not supported */
	bool rotational, write_cache, has_fua, read_only;
	u64 timeout_ns; /* 0: none */
};

struct block_stats {                                     /* /proc/diskstats, in its order; per device, atomic */
	atomic64_t ios[4], merges[4], sectors[4], ns[4]; /* read, write, discard, flush */
	atomic64_t in_flight, busy_ns, writes_in_flight;
	u64 busy_since_ns; /* when in_flight last left 0 */
};

struct block_policy;
struct block_share;

struct block_dev {
	char name[32];
	u32 rdev;   /* major << 8 | minor, as the kernel keeps it (see vfs); 0 before block_add: the next free one */
	u16 minors; /* how many numbers from rdev on are the disk's and its partitions'; 0: set by block_add */
	u64 sectors;
	struct block_limits limits;
	const struct block_driver *driver;
	void *priv;
	struct block_hwq *hwqs;
	unsigned nr_hwqs, nr_poll; /* nr_poll: the last ones, whose completions have no interrupt: the waiter polls */
	struct block_dev *whole;   /* of a partition; itself for a disk */
	u64 start;                 /* of a partition, in sectors of the disk */
	unsigned partition;        /* number, 0: a disk */
	struct block_stats stats;
	refcount_t refs;
	bool dead;
	bool set_read_only; /* by BLKROSET */
	struct list link;   /* all devices */
	struct attr_dir attr, queue_attr, holders, slaves;
	u64 sequence;            /* diskseq: no two disks since boot had the same */
	char number[16];         /* "254:0": its link in /sys/dev/block */
	struct file *cache_file; /* its page cache */
	struct writeback writeback;
	atomic_t openers; /* files */
	void *holder;     /* exclusive user */

	bool io_poll;                /* queue/io_poll */
	u8 nomerges;                 /* queue/nomerges: 1 looks at the last only, 2 not at all */
	u32 max_bytes_hw;            /* what limits.max_bytes was before queue/max_sectors_kb */
	u32 read_ahead_bytes;        /* of its cache, and of files on it */
	struct block_policy *policy; /* of a disk: polling and throttling, */
	struct block_share *share;   /* and its tenants */
	struct timer timeout_timer;
};

/* Step 1: makes the hardware queues (none for a driver with submit). The driver has filled name, limits, driver and
 * priv. -ENOMEM. */
int __must_check block_prepare(struct block_dev *d, unsigned nr_hwqs, unsigned depth);
/* Step 2, when the device can serve: /dev/NAME, /sys/block/NAME, and the partition table is read in the background. */
int __must_check block_add(struct block_dev *d);
/* Names it as disks are that are counted by letters, before block_add: vda ... vdz, vdaa ... vdzz. */
#define BLOCK_MOST_LETTERED (26 + 26 * 26)
void block_name_by_letters(struct block_dev *d, const char *prefix, unsigned n); /* n < BLOCK_MOST_LETTERED */
/* A disk goes, with its partitions: what is in flight and what comes later fails with EIO, nobody opens it any more;
 * drops the registration's reference. The driver touches no bio any more. Process context. */
void block_remove(struct block_dev *d);
/* Reads the partition table anew. -EBUSY: a partition is in use. May sleep; d is a disk. */
int __must_check block_rescan(struct block_dev *d);
bool block_partitions_used(struct block_dev *disk); /* somebody has one open or holds it */
bool block_is_read_only(const struct block_dev *d);
/* Makes [sector, sector + sectors) read as zeros: by the device's own command, or (unless only_command: -EOPNOTSUPP) by
 * writing them. Its page cache is the caller's business. Sleeps. */
int __must_check block_zero(struct block_dev *d, u64 sector, u64 sectors, bool only_command);
int __must_check block_discard(struct block_dev *d, u64 sector, u64 sectors);
void block_put(struct block_dev *d);
struct block_dev *block_find(u32 rdev);              /* counted; NULL */
struct block_dev *block_find_name(const char *name); /* counted */
/* A part that makes devices of this major when a file of one is opened: probe may add it. At boot. */
void block_probe_register(unsigned major, void (*probe)(u32 rdev)); /* at most 8 */
/* The device has another size: what the page cache had of the old contents is forgotten. May sleep. */
void block_set_sectors(struct block_dev *d, u64 sectors);
/* It is larger, and what it held it holds. */
void block_grow(struct block_dev *d, u64 sectors);
/* Gives a bio that is in flight back to its queue: it will be sent again. False: that often it has failed already, and
 * it is still the driver's to complete. Any context that may take locks, no hwq lock held. */
bool block_requeue(struct bio *bio);
/* A bio that bypass took goes through the queue after all. */
void block_end_bypass(struct bio *bio);
/* Nothing is handed to the driver from now on / again (what waits goes now). */
void block_stop_queue(struct block_hwq *h);
void block_start_queue(struct block_hwq *h);
/* The driver says that a bio is finished. Deferred job or task context, no hwq lock held. */
void block_complete(struct bio *bio, int status);
static inline struct bio *block_by_tag(struct block_hwq *h, unsigned tag)
{
	return tag < h->depth ? h->by_tag[tag] : NULL;
}

/* What the device is asked for now: the operation, or a flush of its sequence. For drivers. */
enum block_op block_device_op(const struct bio *bio);

/* ---- users ------------------------------------------------------------------------------------- */

/* Sets what is the submitter's; block_submit sets the rest. */
void bio_init(struct bio *b, struct block_dev *d, enum block_op op, u64 sector, struct bio_vec *vecs, unsigned nr);
void block_submit(struct bio *b); /* done() tells the rest; may sleep for throttling unless BIO_NOWAIT */
/* Sleeps (or polls, if BIO_HIPRI and the device allows) until the bio is finished; for bios whose done is
 * block_done_wake. */
int block_wait(struct bio *b);
int __must_check block_wait_until(struct bio *b, u64 deadline_ns); /* sleeps only; 0 finished, -ETIME */
void block_done_wake(struct bio *b);
/* Reads or writes kernel memory; sleeps. */
int __must_check block_rw(struct block_dev *d, enum block_op op, u64 sector, void *buf, u32 bytes, unsigned flags);
int __must_check block_flush(struct block_dev *d);

/* O_DIRECT of a file whose contents lie on a device in runs. */
struct io;
struct block_run {
	u64 sector, bytes;
	bool is_hole;
};
struct direct_ops {
	/* Where bytes [io->pos, io->pos + bytes) lie: the first run of it, in whole logical blocks, at most as long.
	 * For a write its place is there afterwards. 0; -EAGAIN: IO_NOWAIT would block; other -errno ends the transfer.
	 */
	int (*map)(struct io *io, u64 bytes, enum block_op op, struct block_run *out);
	/* The transfer of a run is over; not called for holes. As bio->done: may not sleep. */
	void (*end)(struct io *io, enum block_op op);
};
bool block_direct_aligned(struct block_dev *d, const struct io *io);
/* Bytes moved, -errno, or -EIOCBQUEUED if io->done will tell; advances io. The transfer is aligned and not empty. */
ssize_t block_direct_file(struct block_dev *d, const struct direct_ops *ops, struct io *io, enum block_op op);

/* Reading ahead, for cache_ops.fill of what lies on a device. How many pages come with the one that is missing: the
 * caller wants that many, and from it on so many lie in one run on the device. */
unsigned block_fill_window(struct page_cache *c, struct block_dev *d, u64 index, unsigned want, u64 there);
/* Fills p, and brings up to n - 1 pages behind it into the cache where they are missing; `size` bytes are the
 * contents'. Sleeps. */
int __must_check block_fill_run(struct page_cache *c, struct page *p, struct block_dev *d, u64 sector, unsigned n,
				u64 size);

/* One user alone (a mount, an open with O_EXCL, an array): -EBUSY if there is one. */
int __must_check block_claim(struct block_dev *d, void *holder);
void block_release(struct block_dev *d, void *holder); /* nothing if somebody else holds it */
/* Writes back and empties the page cache of /dev/NAME: before and after a mount, which goes past it. */
int __must_check block_flush_cache(struct block_dev *d);

/* How many pages current's tenant may have dirty, as far as its limits of this device say. ~0: any. */
u64 block_dirty_budget(struct block_dev *d);
/* A writer was put to sleep by dirty limits: throttling on this device takes note. */
void block_dirty_wait(struct block_dev *d);

extern struct list block_devices; /* under block_list_lock */
extern struct spinlock block_list_lock;

#endif
