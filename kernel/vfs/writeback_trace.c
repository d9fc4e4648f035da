/* SPDX-License-Identifier: MIT
 *
 * Problem: why a writer sleeps and what the flusher does cannot be seen from the outside.
 *
 * Idea: a record when a page becomes dirty, when the flusher begins and ends with a file, and when a writer is paused.
 * Linux tells the state of its control loop in fields of its own; where ours has no such quantity the field is 0.
 *
 * Contract: trace.h. Source of the fields: events/writeback/.../format of Linux 6.1; reasons and modes are those of
 * its enum wb_reason and writeback_sync_modes. Pauses are in milliseconds there, and here.
 *
 * Locks: none.
 */
#include <core/clock.h>
#include <lib/string.h>
#include <task/task.h>
#include <vfs/cache.h>
#include <vfs/device.h>
#include "trace.h"
#include "vfs_priv.h"

#define REASON_BACKGROUND 0
#define REASON_SYNC       2

static u32 device_of(const struct page_cache *c)
{
	u32 dev = c->host->super ? c->host->super->dev : 0;

	return DEV_TRACED(dev);
}

void writeback_trace_dirty(const struct page_cache *c, const struct page *p)
{
	struct trace_writeback_dirty_folio r = { .ino = c->host->ino, .index = p->index };

	str_copy(r.name, c->wb->name, sizeof(r.name));
	trace_emit(TRACE_writeback_dirty_folio, &r, sizeof(r));
}

void writeback_trace_round(enum trace_id event, const struct page_cache *c, s64 pages, unsigned flags)
{
	struct trace_writeback_start r = { .nr_pages = pages,
					   .sb_dev = device_of(c),
					   .sync_mode = !!(flags & WRITE_SYNC),
					   .for_background = !!(flags & WRITE_BACKGROUND),
					   .reason = flags & WRITE_BACKGROUND ? REASON_BACKGROUND : REASON_SYNC };

	str_copy(r.name, c->wb->name, sizeof(r.name));
	trace_emit(event, &r, sizeof(r));
}

void writeback_trace_pause(const struct writeback *wb, const struct writeback_counts *total, u64 pages, u64 pause_ns)
{
	struct trace_balance_dirty_pages r = { .limit = total->limit,
					       .setpoint = (total->limit + total->background_limit) / 2,
					       .dirty = total->dirty,
					       .bdi_dirty = atomic_read(&wb->nr_dirty),
					       .dirtied = (u32)pages,
					       .dirtied_pause = (u32)current->dirty_pause_pages,
					       .pause = (s64)(pause_ns / NSEC_PER_MSEC) };

	str_copy(r.bdi, wb->name, sizeof(r.bdi));
	trace_emit(TRACE_balance_dirty_pages, &r, sizeof(r));
}
