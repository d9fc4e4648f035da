/* SPDX-License-Identifier: MIT
 *
 * Problem: people ask of a slow disk what was sent to it, when it answered, and what waited or grew together before.
 *
 * Idea: six functions, one a form of record, each called out of line where its event is on. A bio of ours is Linux's
 * bio until a driver has its tag, and Linux's request from then on; a driver without queues (md, loop, brd) has only
 * bios. What is sent is told in letters: F flush before, then R, W, D (discard), F (a flush alone) or N (zeroes, and
 * what else Linux has no letter for), then F for FUA and S for somebody who waits.
 *
 * Contract: trace.h. Source of the fields and letters: events/block/.../format of Linux 6.1, blk_fill_rwbs.
 *
 * Locks: none taken; a queue's lock may be held.
 */
#include <lib/string.h>
#include <task/task.h>
#include <vfs/device.h>
#include "trace.h"

/* A request's command is empty but for those that programs make themselves. */
struct no_command {
	char text[4];
};

static void put_letters(char *at, const struct bio *b)
{
	static const char letters[BLOCK_OPS] = { [BLOCK_READ] = 'R',
						 [BLOCK_WRITE] = 'W',
						 [BLOCK_FLUSH] = 'F',
						 [BLOCK_DISCARD] = 'D',
						 [BLOCK_WRITE_ZEROES] = 'N' };

	if (b->flags & BIO_PREFLUSH)
		*at++ = 'F';
	*at++ = letters[b->op];
	if (b->flags & BIO_FUA)
		*at++ = 'F';
	if (b->flags & BIO_SYNC)
		*at++ = 'S';
	*at = '\0';
}

static void put_comm(char *to)
{
	memcpy(to, current->comm, sizeof(current->comm));
}

void block_trace_bio(enum trace_id event, const struct bio *b)
{
	struct trace_block_bio_queue r = { .dev = DEV_TRACED(b->dev->whole->rdev),
					   .sector = b->sector,
					   .nr_sector = b->bytes >> SECTOR_SHIFT };

	put_letters(r.rwbs, b);
	put_comm(r.comm);
	trace_emit(event, &r, sizeof(r));
}

void block_trace_request(enum trace_id event, const struct bio *b)
{
	struct {
		struct trace_block_rq_issue r;
		struct no_command none;
	} e = { .r = { .dev = DEV_TRACED(b->dev->whole->rdev),
		       .sector = b->sector,
		       .nr_sector = b->bytes >> SECTOR_SHIFT,
		       .bytes = 0 } };
	size_t size = sizeof(e.r);

	put_letters(e.r.rwbs, b);
	put_comm(e.r.comm);
	e.r.cmd = trace_put_string(&e, &size, sizeof(e), "");
	trace_emit(event, &e, size);
}

void block_trace_request_done(const struct bio *b, int status)
{
	struct {
		struct trace_block_rq_complete r;
		struct no_command none;
	} e = { .r = { .dev = DEV_TRACED(b->dev->whole->rdev),
		       .sector = b->sector,
		       .nr_sector = b->bytes >> SECTOR_SHIFT,
		       .error = status } };
	size_t size = sizeof(e.r);

	put_letters(e.r.rwbs, b);
	e.r.cmd = trace_put_string(&e, &size, sizeof(e), "");
	trace_emit(TRACE_block_rq_complete, &e, size);
}

void block_trace_bio_done(const struct bio *b, int status)
{
	struct trace_block_bio_complete r = { .dev = DEV_TRACED(b->dev->whole->rdev),
					      .sector = b->sector,
					      .nr_sector = b->bytes >> SECTOR_SHIFT,
					      .error = status };

	put_letters(r.rwbs, b);
	trace_emit(TRACE_block_bio_complete, &r, sizeof(r));
}

void block_trace_plug(void)
{
	struct trace_block_plug r = { 0 };

	put_comm(r.comm);
	trace_emit(TRACE_block_plug, &r, sizeof(r));
}

void block_trace_unplug(unsigned groups)
{
	struct trace_block_unplug r = { .nr_rq = (int)groups };

	put_comm(r.comm);
	trace_emit(TRACE_block_unplug, &r, sizeof(r));
}
