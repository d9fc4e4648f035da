/* SPDX-License-Identifier: MIT
 *
 * Writeback throttling: how many buffered writes may be in flight at a device, so that those who wait for it (reads,
 * synchronous writes) do not queue behind a flood that nobody waits for.
 *
 * queue/wbt_lat_usec is the target for reads: -1 asks for the default (2 ms without, 75 ms with rotating parts),
 * 0 switches off. Classes as in Linux 4.10: background < normal < urgent; direct writes, reads and flushes are exempt.
 *
 * The caller keeps a queue of waiters for each class. Admission: wbt_may_start; false means wait. After each
 * wbt_done: from urgent down, while a class has a waiter and wbt_may_start says yes, release its first waiter, which
 * holds its place already. So no wake-up is lost and none is in vain.
 *
 * Threading: the queue's lock around every call. Times are of one monotonic clock.
 */
#ifndef BLOCK_WBT_H
#define BLOCK_WBT_H

#include <lib/printf.h>
#include <lib/types.h>

enum wbt_class { WBT_BACKGROUND, WBT_NORMAL, WBT_URGENT, WBT_CLASSES, WBT_EXEMPT = WBT_CLASSES };

#define WBT_SYNC     BIT(0) /* somebody waits for this write */
#define WBT_DIRECT   BIT(1) /* O_DIRECT */
#define WBT_META     BIT(2) /* metadata or journal */
#define WBT_PERIODIC BIT(3) /* the flusher's own writing */
#define WBT_RECLAIM  BIT(4) /* by page reclaim */

struct wbt {
	/* set by the owner */
	u64 target_ns; /* 0: off */
	u64 default_target_ns;
	unsigned queue_depth;
	/* the control law's state */
	int step; /* > 0 tighter, < 0 wider than the start */
	unsigned limit[WBT_CLASSES];
	u64 window_ns;
	u32 idle_windows, good_windows, patience;
	bool blind;     /* step < 0 was reached without a read to judge it by */
	bool trial;     /* the last window was one step wider, to see whether writes gain */
	u64 trial_rate; /* writes a second before it */
	u32 hold;       /* windows until the next trial */
	/* of the current window */
	u32 reads, slow_reads, writes;
	u64 worst_read_ns;
	u64 window_start_ns;
	/* running */
	unsigned inflight;
	u64 last_foreground_ns; /* an exempt request started or ended */
	u64 last_dirty_wait_ns; /* some writer was put to sleep by dirty limits */
	const void *tracked;    /* one read in flight, watched for stalls */
	u64 tracked_since_ns;
};

void wbt_init(struct wbt *w, unsigned queue_depth, bool rotational);
/* The text of wbt_lat_usec. -EINVAL for other than a decimal number >= -1. */
int __must_check wbt_parse_target(const struct wbt *w, const char *text, u64 *target_ns);
void wbt_set_target(struct wbt *w, u64 target_ns);

enum wbt_class wbt_classify(unsigned flags);
bool __must_check wbt_may_start(struct wbt *w, enum wbt_class cls, u64 now_ns); /* takes a place */
void wbt_done(struct wbt *w, enum wbt_class cls);                               /* gives it back */

/* Reads and direct writes: not throttled, but they are what throttling is for. id: any unique pointer. */
void wbt_read_issued(struct wbt *w, const void *id, u64 now_ns);
void wbt_read_done(struct wbt *w, const void *id, u64 issued_ns, u64 now_ns);
void wbt_foreground(struct wbt *w, u64 now_ns);
void wbt_dirty_wait(struct wbt *w, u64 now_ns);

/* Ends a window: judges it and adjusts the limits. Returns when to call again, 0 for never (until the next start). */
u64 wbt_tick(struct wbt *w, u64 now_ns);

#endif
