/* SPDX-License-Identifier: MIT
 *
 * What block tells to listeners; each call stands behind trace_on of its event. Fields are Linux 6.1's (events/block).
 */
#ifndef BLOCK_TRACE_H
#define BLOCK_TRACE_H

#include <block/block.h>
#include <core/trace.h>

void block_trace_bio(enum trace_id event, const struct bio *b);     /* block_bio_queue, backmerge, frontmerge */
void block_trace_request(enum trace_id event, const struct bio *b); /* block_rq_insert, block_rq_issue */
void block_trace_request_done(const struct bio *b, int status);     /* block_rq_complete */
void block_trace_bio_done(const struct bio *b, int status);         /* block_bio_complete */
void block_trace_plug(void);
void block_trace_unplug(unsigned groups);

#endif
