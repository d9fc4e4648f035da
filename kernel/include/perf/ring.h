/* SPDX-License-Identifier: MIT
 *
 * The ring of records that a program maps: one page of struct perf_event_mmap_page, then 2^n pages of data. Pure: the
 * caller serialises writers and gives the pages. The reader's position (data_tail) is hostile input.
 *
 *	if (perf_ring_begin(r, bytes, lost_bytes, &w)) {
 *		if (w.lost) ... put a LOST record of lost_bytes
 *		perf_ring_put(&w, ...); ...              exactly `bytes` in all
 *		wake = perf_ring_end(&w);
 *	}
 */
#ifndef PERF_RING_H
#define PERF_RING_H

#include <lib/types.h>
#include <linux/perf_event.h>

struct perf_ring_data {
	struct perf_event_mmap_page *user;
	void **pages;
	u32 nr_pages;   /* a power of two */
	bool overwrite; /* nobody moves the tail: the oldest records are overwritten */
	bool backward;  /* records grow downwards (write_backward) */
	bool paused;
	u64 head;
	u64 lost;      /* records that did not fit since the last one that did */
	u64 wake_head; /* the head at the last wake-up */
	u32 watermark; /* bytes between wake-ups */
};

struct perf_ring_write {
	struct perf_ring_data *ring;
	u64 at, new_head;
	u64 lost; /* to be told first */
};

void perf_ring_setup(struct perf_ring_data *r, void *user_page, void **pages, u32 nr_pages, bool overwrite,
		     bool backward, u32 watermark);
/* False: no room; it has been counted as lost. lost_bytes: of the LOST record, if one is due (never in overwrite mode).
 */
bool __must_check perf_ring_begin(struct perf_ring_data *r, u32 bytes, u32 lost_bytes, struct perf_ring_write *w);
void perf_ring_put(struct perf_ring_write *w, const void *data, u32 bytes);
void perf_ring_skip(struct perf_ring_write *w, u32 bytes); /* zeroes */
/* The record is visible to the reader. True: the watermark has been passed. */
bool perf_ring_end(struct perf_ring_write *w);

static inline u64 perf_ring_bytes(const struct perf_ring_data *r)
{
	return (u64)r->nr_pages << PAGE_SHIFT;
}

#endif
