/* SPDX-License-Identifier: MIT
 *
 * What writeback tells to listeners; each call stands behind trace_on of its event. Fields are Linux 6.1's
 * (events/writeback).
 */
#ifndef VFS_TRACE_H
#define VFS_TRACE_H

#include <core/trace.h>
#include <vfs/writeback.h>

void writeback_trace_dirty(const struct page_cache *c, const struct page *p);
/* A round of the flusher on one file begins (writeback_start) or is over (writeback_written). */
void writeback_trace_round(enum trace_id event, const struct page_cache *c, s64 pages, unsigned flags);
void writeback_trace_pause(const struct writeback *wb, const struct writeback_counts *total, u64 pages, u64 pause_ns);

#endif
