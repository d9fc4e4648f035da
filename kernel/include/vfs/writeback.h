/* SPDX-License-Identifier: MIT
 *
 * Dirty pages and their way to a device. A struct writeback stands for one device (or file system without one disk): it
 * lists the page caches that have dirty pages, measures how fast the device cleans, slows writers, and owns a flusher
 * thread.
 *
 * Life of a page:  clean --cache_mark_dirty--> dirty --flusher or fsync--> under writeback --cache_write_done--> clean
 *                    (dirtied again meanwhile: dirty and under writeback; written again afterwards)
 *
 * Errors: a failed write is reported once to each file that was open then, by fsync or sync (errseq in page_cache).
 * Controls: /proc/sys/vm/dirty_* with Linux's names and defaults.
 * Locks: wb->lock (RANK_DIRTY) covers the list of caches; a cache's dirty tree has the cache's own lock.
 */
#ifndef VFS_WRITEBACK_H
#define VFS_WRITEBACK_H

#include <vfs/cache.h>
#include <vfs/dirty.h>

struct task;

struct writeback {
	char name[24];
	struct spinlock lock;
	struct list dirty;                                         /* page caches, oldest first */
	atomic64_t nr_dirty, nr_writeback, nr_written, nr_dirtied; /* pages */
	struct dirty_device rate;                                  /* lock */
	struct waitq work, progress;
	struct task *flusher;
	bool flush_now, flush_all, stopping;
	/* How the page cache reaches this file without depending on it: */
	void (*mark_dirty)(struct page_cache *c, struct page *p);
	int (*balance)(struct page_cache *c, u64 pages);
	/* The caller is about to give up a file without a name: if only the list of dirty caches holds it too, it
	 * leaves the list, for what it has need not be written. */
	void (*abandon)(struct page_cache *c);
	/* A writer was put to sleep by the limits (block throttling takes note). NULL allowed. */
	void (*throttled)(struct writeback *wb);
	/* How many pages current's tenant may have dirty or under way; ~0: any. NULL allowed. */
	u64 (*budget)(struct writeback *wb);
	void *owner;
	struct list link; /* all of them */
	unsigned walkers; /* who walk the list and stand here */
};

#define WRITE_SYNC       BIT(0) /* somebody waits: also pages under writeback are waited for and written again */
#define WRITE_BACKGROUND BIT(1)

int __must_check writeback_start(struct writeback *wb, const char *name); /* makes the flusher thread */
void writeback_stop(struct writeback *wb);                                /* writes all, ends the thread */

/* p holds data newer than the device's. The caller has a reference; c->wb is set. */
void cache_mark_dirty(struct page_cache *c, struct page *p);
/* After dirtying `pages`, without locks: may sleep until the writer is as fast as the device. 0 or -EINTR (killed). */
int cache_balance_dirty(struct page_cache *c, u64 pages);
/* Starts writing dirty pages of [first, last], at most max; returns how many, or -errno. */
s64 cache_write_range(struct page_cache *c, u64 first, u64 last, u64 max, unsigned flags);
/* Waits until no page of the range is under writeback. */
void cache_wait_range(struct page_cache *c, u64 first, u64 last);
/* Waits until no page at all is, those included that have been removed meanwhile. */
void cache_wait_writing(struct page_cache *c);
/* Before a transfer that goes past the cache: what is dirty of the bytes is on the device; before a write no page of
 * them is cached. -EAGAIN: nowait, and something may be dirty. */
int __must_check cache_step_aside(struct page_cache *c, u64 pos, u64 bytes, bool write, bool nowait);
/* After a write past it: what readers brought in meanwhile goes. */
void cache_forget(struct page_cache *c, u64 pos, u64 bytes);
/* Both, and the error state as this file has not yet seen it. */
int __must_check cache_sync_file(struct file *f, u64 first, u64 last);
int __must_check cache_sync_all(struct file *f); /* all of any file; 0 where nothing is written back */
/* The same where the file that saw the error is another one than the cache's own (the many files of one disk). */
int __must_check cache_sync_for(struct page_cache *c, struct file *f, u64 first, u64 last);
/* The cache's write op calls it for each page when the device is done with it, with 0 or -errno. Any context that may
 * take spin locks. */
void cache_write_done(struct page_cache *c, struct page *p, int error);

void writeback_sync(struct writeback *wb, bool wait); /* all pages of one */
void writeback_sync_all(bool wait);                   /* sync(2) */
struct writeback_counts {
	u64 dirty, under_writeback, written, dirtied, background_limit, limit;
};
void writeback_counts(struct writeback_counts *out); /* /proc/meminfo, /proc/vmstat */

#endif
