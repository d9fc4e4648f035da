/* SPDX-License-Identifier: MIT
 *
 * One CPU's ring of trace pages, in the layout that events/header_page and header_event tell clients: pages of a time,
 * a count of bytes and packed events, each led by 5 bits of type or length and 27 bits of time since the one before.
 * Source: Documentation/trace/ring-buffer-design.rst and ftrace.rst of Linux. Pure; the caller's lock guards a ring.
 *
 *   page first           ...        page last
 *   [consumed|events ]  [events ]  [events|room]      one writer; readers consume, take whole pages, or look on
 */
#ifndef TRACEFS_RING_H
#define TRACEFS_RING_H

#include <lib/types.h>

#define TRACE_PAGE_HEAD 16u
#define TRACE_PAGE_DATA (PAGE_SIZE - TRACE_PAGE_HEAD)
#define TRACE_MISSED    (1ULL << 31) /* in commit: events before this page were lost */
#define TRACE_MISSED_NR (1ULL << 30) /* and how many stands behind the data */
#define TRACE_DATA_MOST 2048u        /* bytes of one event */

struct trace_page {
	u64 time_ns; /* of the first event */
	u64 commit;  /* bytes of data */
	u8 data[TRACE_PAGE_DATA];
};

struct trace_ring {
	struct trace_page **pages;
	u16 *counts;     /* events of each page */
	u32 nr;          /* pages; at least 2 */
	u64 first, last; /* page n is pages[n % nr] */
	u32 read;        /* bytes of the first page that are consumed */
	u64 read_ns;     /* time at `read` */
	u64 last_ns;     /* of the newest event */
	bool keep_old;   /* when full, new events are dropped instead of old ones */
	u64 written, read_events, overrun, dropped;
	u64 missed; /* overrun since a page was last taken */
};

struct trace_found {
	u64 ns;
	const void *data;
	u32 bytes; /* a multiple of 4 */
};

struct trace_cursor { /* a reader that consumes nothing; start with zeroes */
	u64 page, ns;
	u32 at;
};

void trace_ring_setup(struct trace_ring *r, struct trace_page **pages, u16 *counts, u32 nr);
void trace_ring_clear(struct trace_ring *r);
/* False: dropped. n up to TRACE_DATA_MOST. Times that run backwards count as no time. */
bool trace_ring_write(struct trace_ring *r, u64 ns, const void *data, u32 n);
/* The oldest event that is not consumed; false: none. data is valid until the ring changes. */
bool trace_ring_peek(const struct trace_ring *r, struct trace_found *out);
void trace_ring_consume(struct trace_ring *r); /* the one that peek shows */
bool trace_ring_next(const struct trace_ring *r, struct trace_cursor *c, struct trace_found *out);
/* The oldest page, against an empty one; NULL: no events. full: only if it will not grow any more. */
struct trace_page *trace_ring_take(struct trace_ring *r, struct trace_page *empty, bool full);
static inline u64 trace_ring_entries(const struct trace_ring *r)
{
	return r->written - r->overrun - r->read_events;
}
u64 trace_ring_bytes(const struct trace_ring *r); /* of events that wait */
/* For files that are no page: the events of a page that was taken. at starts at 0. */
bool trace_page_next(const struct trace_page *p, u32 *at, u64 *ns, struct trace_found *out);

#endif
