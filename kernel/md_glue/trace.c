/* SPDX-License-Identifier: MIT
 *
 * Problem: block's events show what members are asked; who looks at a slow or mended array asks which array that was
 * for, in which role, and when it lost a member or began to mend itself.
 *
 * Idea: four functions, one an event, each called out of line where its event is on.
 *
 * Contract: trace.h; the fields are in abi/tracepoints.tbl. Linux has no such events.
 *
 * Locks: none taken.
 */
#include <vfs/device.h>
#include "trace.h"

#define ROLE_JOURNAL 65534

/* An heir's is that of the member that it is to replace. */
static s32 role_of(u32 slot)
{
	if (slot == MD_JOURNAL_SLOT)
		return ROLE_JOURNAL;
	return (s32)(slot > MD_JOURNAL_SLOT ? slot - MD_HEIR(0) : slot);
}

static void put_letters(char *at, const struct md_rq *rq)
{
	static const char letters[] = { [MD_READ] = 'R', [MD_WRITE] = 'W', [MD_FLUSH] = 'F' };

	if (rq->flags & MD_PREFLUSH)
		*at++ = 'F';
	*at++ = letters[rq->dir];
	if (rq->flags & MD_FUA)
		*at++ = 'F';
	*at = '\0';
}

static int count_bytes(void *arg, u32 unused, void *base, u32 bytes)
{
	*(u32 *)arg += bytes;
	return 0;
}

void md_trace_member_io(const struct md_array *a, const struct md_disk *d, const struct md_rq *rq)
{
	struct trace_md_member_io r = { .array = DEV_TRACED(a->block.rdev),
					.dev = DEV_TRACED(d->dev->rdev),
					.role = role_of(rq->slot) };
	u32 bytes = 0;

	if (rq->dir != MD_FLUSH) {
		(void)md_rq_for_each(rq, count_bytes, &bytes);
		r.sector = rq->sector;
	}
	r.nr_sector = bytes >> SECTOR_SHIFT;
	put_letters(r.rwbs, rq);
	trace_emit(TRACE_md_member_io, &r, sizeof(r));
}

void md_trace_member_failed(const struct md_array *a, const struct md_disk *d, u32 slot)
{
	struct trace_md_member_failed r = { .array = DEV_TRACED(a->block.rdev),
					    .dev = DEV_TRACED(d->dev->rdev),
					    .role = role_of(slot) };

	trace_emit(TRACE_md_member_failed, &r, sizeof(r));
}

void md_trace_sync_start(const struct md_array *a, enum md_sync kind)
{
	struct trace_md_sync_start r = { .array = DEV_TRACED(a->block.rdev), .sync = (s32)kind };

	trace_emit(TRACE_md_sync_start, &r, sizeof(r));
}

void md_trace_sync_end(const struct md_array *a, enum md_sync kind, enum md_trace_end how)
{
	struct trace_md_sync_end r = { .array = DEV_TRACED(a->block.rdev), .sync = (s32)kind, .end = (s32)how };

	trace_emit(TRACE_md_sync_end, &r, sizeof(r));
}
