/* SPDX-License-Identifier: MIT
 *
 * The arithmetic of dirty pages: how many there may be, and how long a writer sleeps so that it dirties pages as fast
 * as the device cleans them. Pure; the page cache calls it with its counters.
 *
 * Controls (/proc/sys/vm): dirty_background_ratio and dirty_ratio in per cent of dirtyable memory, or the _bytes
 * pair instead (writing one sets the other of its pair to 0); ours, one a device: seconds of its measured bandwidth
 * that may be dirty, so that a slow disk never holds minutes of data (0: no such limit).
 *
 * Threading: struct dirty_device under its device's lock; the rest are functions of their arguments.
 */
#ifndef VFS_DIRTY_H
#define VFS_DIRTY_H

#include <lib/types.h>

struct dirty_controls {
	u32 background_ratio, ratio; /* per cent; default 10 and 20 */
	u64 background_bytes, bytes; /* not 0: instead of the ratio */
};

struct dirty_limits {
	u64 background_pages; /* flushers start above this */
	u64 limit_pages;      /* never more than this, give or take a batch a CPU */
};

/* Background is always below the limit: half of it if it was asked to be higher. */
struct dirty_limits dirty_limits(const struct dirty_controls *c, u64 dirtyable_pages);

struct dirty_device {
	u64 write_bps_pages; /* pages a second that the device cleans, averaged over about 3 s */
	u64 task_rate_pages; /* pages a second that each writer may dirty */
	/* since the last update */
	u64 updated_ns, written_pages, dirtied_pages;
	u32 budget_ms; /* of bandwidth, 0 for none */
};

void dirty_device_init(struct dirty_device *d, u64 now_ns);
void dirty_account_dirtied(struct dirty_device *d, u64 pages);
void dirty_account_written(struct dirty_device *d, u64 pages);

struct dirty_state {
	u64 dirty_pages;        /* dirty and under writeback, whole machine */
	u64 device_dirty_pages; /* of this device */
};

/* What a writer that has dirtied `pages` since its last call must do. pause 0: go on. Otherwise sleep (killable) that
 * long and call again. *next_pages: how many pages it may dirty before the next call. */
struct dirty_verdict {
	u64 pause_ns;
	u64 next_pages;
	bool start_flusher;
};
struct dirty_verdict dirty_balance(struct dirty_device *d, const struct dirty_limits *l, const struct dirty_state *s,
				   u64 pages, u64 now_ns);

/* Pages that one round of a flusher writes from one inode before it looks at the next: half a second's worth. */
u64 dirty_chunk_pages(const struct dirty_device *d);

#endif
