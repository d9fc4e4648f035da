/* SPDX-License-Identifier: MIT
 *
 * The page cache of one inode: its contents in memory, addressed in pages, mapped by mmap through `map`.
 *
 * Pages in the cache hold one reference of the cache's. A page is in it from cache_insert until truncate, a hole punch
 * or reclaim takes it out; whoever uses one has a reference of his own and may find that it has left meanwhile. Locks:
 * lock (RANK_PAGECACHE) for changes of the tree; look-ups under RCU. Contents: the inode's lock for writes.
 */
#ifndef VFS_CACHE_H
#define VFS_CACHE_H

#include <alloc/page.h>
#include <lib/xarray.h>
#include <vfs/vfs.h>

struct writeback;

struct cache_ops {
	/* Makes the contents of a page that the cache does not hold valid (reads it); the caller will want so many from
	 * it on, which may come along. NULL: a missing page is zeros, and reading it needs no page (tmpfs). */
	int (*fill)(struct page_cache *c, struct page *p, unsigned want);
	/* Before n pages are added (>0: -ENOSPC refuses) or after they were taken out (<0). NULL: no account. */
	int (*account)(struct page_cache *c, s64 n);
	/* Before a page is made dirty that is not (-ENOSPC, -EDQUOT, -EROFS refuse): room for it will be wanted. The
	 * inode's lock may be held or, for a mapping, the mm's. NULL: nothing to prepare. */
	int (*reserve)(struct page_cache *c, u64 index);
	/* Writes n neighbouring pages (under writeback, referenced) and calls cache_write_done for each, now or later.
	 * A failure to start is told the same way, and returned. NULL: never written anywhere (tmpfs); then wb is NULL
	 * too. flags: WRITE_*. */
	int (*write)(struct page_cache *c, u64 index, struct page **pages, unsigned n, unsigned flags);
	/* Makes these pages, and what it takes to find them, safe (msync). NULL: nothing to do. */
	int (*sync)(struct page_cache *c, u64 first, u64 last);
	/* A VMA maps it (by 1; the mm is locked), or does no longer (by -1; nothing is locked). NULL: nobody counts. */
	void (*mapped)(struct page_cache *c, int by);
};

struct page_cache {
	struct mapping map;
	struct spinlock lock;
	struct xarray pages;
	u64 nr_pages; /* lock */
	u64 removals; /* lock: how often pages were taken out */
	const struct cache_ops *ops;
	struct inode *host;
	struct list reclaim_link; /* caches that can be filled again: vfs/reclaim.c */
	u64 reclaim_next;
	u16 payer;        /* lock: number of the tenant that paid for the last page that came */
	bool many_payers; /* lock: others paid for earlier ones */

	struct {
		u32 next;  /* the page that its reader would miss next */
		u32 pages; /* how many came with the last miss */
	} streams[4];      /* sequential readers: hints, no lock */
	u8 next_stream;
	u8 advice; /* POSIX_FADV_NORMAL, _RANDOM or _SEQUENTIAL, whoever gave it; READ_ONCE and WRITE_ONCE, without a
		      lock */

	/* writeback (vfs/writeback.h) */
	struct writeback *wb; /* NULL: pages are never written back */
	struct xarray dirty;  /* lock: dirty pages by index */
	u64 nr_dirty;         /* lock */
	bool dirty_untracked; /* lock: some dirty page is missing in `dirty` */
	atomic_t nr_writing;  /* pages under writeback; grows under lock */
	u64 writing_first;    /* lock: where they lie, while there are any */
	u64 writing_last;
	struct list dirty_link; /* wb->lock */
	u64 dirtied_ns;         /* wb->lock */
	u32 wb_err;             /* epoch * WB_EPOCH | WB_SEEN | errno of the last failed write */
};

#define WB_SEEN  0x800U /* somebody was told */
#define WB_EPOCH 0x1000U
/* What a file that is opened now has heard of: what was told to somebody already. For file->wb_err. */
static inline u32 cache_error_sample(const struct page_cache *c)
{
	u32 now = READ_ONCE(c->wb_err);

	return now & WB_SEEN ? now : 0;
}

int __must_check cache_create(struct inode *host, const struct cache_ops *ops); /* sets host->cache */
struct page_cache *cache_of_mapping(struct mapping *m);                         /* NULL: it is another kind */
void cache_destroy(struct page_cache *c);                                       /* NULL is allowed; drops all pages */
/* A run of present pages: stores up to n from index on, counted, until the first hole; returns how many. */
unsigned cache_find_run(struct page_cache *c, u64 index, unsigned n, struct page **out);
static inline struct page *cache_find(struct page_cache *c, u64 index)
{
	struct page *p;

	return cache_find_run(c, index, 1, &p) ? p : NULL;
}
/* Counted, up to date; made if missing. -ENOMEM, -ENOSPC, -EIO. */
int __must_check cache_get(struct page_cache *c, u64 index, struct page **out);
/* Takes over the caller's reference. -EEXIST, -ENOMEM, -ENOSPC (the reference stays the caller's). */
int __must_check cache_insert(struct page_cache *c, u64 index, struct page *p);
/* For pages that were read ahead: -EAGAIN if pages left the cache since c->removals was read, so that what was read may
 * be old. */
int __must_check cache_insert_ahead(struct page_cache *c, u64 index, struct page *p, u64 removals);
/* Removes [from, to) in bytes: whole pages leave the cache and all page tables, partial ones are zeroed there. The
 * inode's lock is held, its size already reduced (truncate: to = ~0). */
void cache_remove(struct page_cache *c, u64 from, u64 to);
/* The first byte from `from` on that is data (or a hole), below size. -ENXIO. */
s64 cache_seek(struct page_cache *c, u64 from, u64 size, bool hole);

/* Whose contents f reads and writes; NULL: not cached. */
struct page_cache *file_page_cache(struct file *f);
/* Reads what is missing of n pages from first on, within the file. Stops at the first error. */
void cache_populate(struct page_cache *c, u64 first, u64 n);
/* Forgets pages of [first, last] that are clean and that nobody uses. */
void cache_drop_clean(struct page_cache *c, u64 first, u64 last);

/* File operations over a cache. */
ssize_t cache_read(struct io *io);
ssize_t cache_write(struct io *io);
int cache_mmap(struct file *f, unsigned prot, unsigned map_flags, u64 *index, size_t bytes, struct mapping **out);
/* What every write to a file does first, with the inode's lock: the position of an append, RLIMIT_FSIZE, the greatest
 * size. io->iter.count is cut to what may be written. */
int __must_check cache_write_begin(struct io *io, bool append);
void cache_write_end(struct inode *i); /* and afterwards: times, set-id bits */
s64 cache_llseek(struct file *f, s64 off, int whence);

extern const struct xa_mem vfs_xa_mem; /* for xarrays of file systems: node memory that RCU frees */
void cache_init(void);

#endif
