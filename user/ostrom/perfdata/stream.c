/* SPDX-License-Identifier: MIT
 *
 * Problem: a recording may be larger than memory, and people wait for it: reading must neither keep it nor hold up what
 * is done with its records.
 *
 * Idea: a thread walks over the mapped file and notes each record that somebody wants with its time in the batch of its
 * round (order.h); the caller's thread delivers the batches. Compressed records are unpacked into blocks that go back
 * with the batch of their last record. Pages of the file stay mapped until their records are delivered only where that
 * is a small part of it (order.keep); others come back from the page cache. Records without a time (those that the
 * recorder synthesised) come before the others of their round, as in perf.
 *
 * A consumer of briefs (perfdata.h) needs nothing of the file but what reading notes: then the file goes through a
 * buffer that stays in the CPU's cache, which costs less than mapping its pages. Records that are not briefs are kept
 * by their place in the map.
 *
 * Contract: perfdata.h. A record that does not fit ends the reading: damage is noted with its offset, what was read is
 * delivered. Without order everything happens in the caller's thread.
 *
 * Locks: none; order.c has the one of the hand-over.
 */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
#include <zstd.h>
#include "order.h"

#define AHEAD_BYTES     4096        /* bytes to prefetch before they are scanned */
#define WINDOW          (512 << 10) /* bytes read between two unmappings */
#define BUFFER          (128 << 10) /* bytes; more than the longest record */
#define BUFFERED_WINDOW (8 << 20)   /* the same where hardly a page is mapped */

struct stream {
	struct pd_file *f;
	const struct pd_consumer *c;
	struct order order;
	struct batch *batch; /* of the round that is being read */
	u32 least;           /* bytes of a sample whose id and time are at the places that all samples share */
	u64 max_time, limit; /* newest so far; newest when the last round ended */
	ZSTD_DStream *zstd;
	u8 *carry; /* the cut record at the end of the last unpacked block */
	size_t carry_bytes;
	const u8 *map;        /* of the file that is being read */
	u8 *buffer;           /* NULL: records are read in the map */
	u64 buf_from, buf_to; /* offsets in the file: what the buffer holds */
	u64 at, released;     /* offsets in it: of the record that is being read; what lies before was unmapped */
};

/* All but the last `keep` bytes that were read. */
static void unmap_read(struct stream *s, u64 keep)
{
	u64 to = s->at - min(s->at, keep);

	if (to <= s->released)
		return;
	order_unmap(&s->order, s->map + s->released, s->map + to);
	s->released = to;
}

static int finish_round(struct stream *s)
{
	struct batch *next;

	if (s->c->unordered)
		return 0;
	s->batch->limit = s->limit;
	s->batch->to = s->map + s->at;
	next = order_next(&s->order, s->batch);
	if (!next)
		return -ENOMEM;
	s->batch = next;
	next->from = s->map + s->at;
	s->limit = s->max_time;
	return 0;
}

static inline struct pd_event *event_of_sample(struct pd_file *f, const u8 *rec, u16 size)
{
	if (f->id_offset < 0 || f->nr_events == 1)
		return &f->events[0];
	return size >= f->id_offset + 8 ? pd_event_of_id(&f->ids, pd_u64(rec + f->id_offset)) : NULL;
}

/* 0: none */
static inline u64 time_of_sample(struct stream *s, const u8 *rec, u16 size, const struct pd_event *e)
{
	u16 at = s->f->times_differ ? e->at.time : s->f->time_offset;
	u64 time = at && at + 8 <= size ? pd_u64(rec + at) : 0;

	return time == UINT64_MAX ? 0 : time;
}

/* kept: where the record lies as long as its batch lives; rec may be a copy of it. */
static int take_sample(struct stream *s, const u8 *rec, const u8 *kept, u16 size)
{
	struct pd_event *e = event_of_sample(s->f, rec, size);
	u64 time;

	if (!e)
		return 0;
	if (s->c->unordered)
		return order_deliver_now(&s->order, rec, e);
	time = time_of_sample(s, rec, size, e);
	s->max_time = max(s->max_time, time); /* of unwanted ones, too: the round may deliver what is not newer */
	if (e->unwanted && time)
		return 0;
	if (s->c->brief && pd_has_brief(e, rec, size))
		return batch_add_brief(s->batch, time, e, rec);
	return batch_add(s->batch, time, kept, e->index);
}

/* The first record from p on that is more than one more entry of the open run. Nearly all are no more: this loop is
 * what reading costs. */
static __always_inline const u8 *take_run(struct stream *s, const u8 *p, const u8 *end, bool as_briefs)
{
	const struct pd_file *f = s->f;
	const u32 least = s->least, time_at = f->time_offset, id_at = f->id_offset;
	const struct pd_ids ids = f->ids;
	struct batch *b = s->batch;
	struct entry *entries = b->entries;
	u64 run_time = b->run_time, max_time = s->max_time;
	u32 nr = b->nr, room = b->room;

	while (end - p >= (s64)least) {
		u64 head = pd_u64(p), time = pd_u64(p + time_at);
		u16 size = head >> 48;
		const struct pd_event *e;

		if (!as_briefs) {
			__builtin_prefetch(p + AHEAD_BYTES);
			__builtin_prefetch(p + AHEAD_BYTES + 64);
		}
		if ((u32)head != PERF_RECORD_SAMPLE || size < least || size > end - p || nr == room ||
		    time + 1 <= run_time) /* older, or all ones: no time */
			break;
		e = pd_event_of_id(&ids, pd_u64(p + id_at));
		if (e && !e->unwanted) {
			if (as_briefs && !pd_has_brief(e, p, size))
				break;
			if (as_briefs)
				pd_take_brief(e, p, &b->briefs[nr]);
			entries[nr++] = as_briefs ? brief_entry(time, e) : record_entry(time, p, e->index);
			run_time = time;
		}
		max_time = max(max_time, time);
		p += size;
	}
	b->nr = nr;
	b->run_time = run_time;
	s->max_time = max_time;
	return p;
}

static const u8 *take_samples(struct stream *s, const u8 *p, const u8 *end)
{
	return s->c->brief ? take_run(s, p, end, true) : take_run(s, p, end, false);
}

static int take_record(struct stream *s, const u8 *rec, const u8 *kept, u32 type, u16 size)
{
	const struct pd_event *e = &s->f->events[0];
	u64 time = 0;

	if (type == PERF_RECORD_SAMPLE)
		return take_sample(s, rec, kept, size);
	if (type >= PD_USER_START)
		return 0;
	if (s->c->unordered)
		return order_deliver_now(&s->order, rec, NULL);
	if (e->trailer_time && e->trailer_time + 8 <= size)
		time = pd_u64(rec + size - e->trailer_time);
	if (time == UINT64_MAX)
		time = 0;
	s->max_time = max(s->max_time, time);
	return batch_add(s->batch, time, kept, NO_EVENT);
}

/* The records in p; the number of bytes consumed, or -errno. A cut record at the end is left. */
static s64 take_block(struct stream *s, const u8 *p, u64 bytes)
{
	const u8 *at = p, *end = p + bytes;
	u32 type;
	u16 size;
	int err;

	for (;; at += size) {
		at = take_samples(s, at, end);
		if (!pd_record_at(at, end - at, &type, &size))
			return at - p;
		err = type == PD_FINISHED_ROUND ? finish_round(s) : take_record(s, at, at, type, size);
		if (err)
			return err;
	}
}

static int add_block(struct stream *s, const u8 *bytes, size_t n)
{
	struct block *b = malloc(sizeof(*b) + s->carry_bytes + n);
	s64 used;

	if (!b)
		return -ENOMEM;
	memcpy(b->bytes, s->carry, s->carry_bytes);
	memcpy(b->bytes + s->carry_bytes, bytes, n);
	n += s->carry_bytes;
	used = take_block(s, b->bytes, n);
	b->next = s->batch->blocks;
	s->batch->blocks = b;
	if (used < 0)
		return used;
	s->carry_bytes = n - used;
	if (s->carry_bytes > 65536)
		return -EINVAL;
	memcpy(s->carry, b->bytes + used, s->carry_bytes);
	return 0;
}

static int unpack(struct stream *s, const u8 *rec, u16 size)
{
	static const size_t out_bytes = 256 << 10;
	ZSTD_inBuffer in = { rec + 8, size - 8, 0 };
	u8 *out;
	int err = 0;

	if (!s->zstd) {
		s->zstd = ZSTD_createDStream();
		s->carry = malloc(65536);
		if (!s->zstd || !s->carry)
			return -ENOMEM;
		ZSTD_initDStream(s->zstd);
	}
	out = malloc(out_bytes);
	if (!out)
		return -ENOMEM;
	for (bool more = true; more && !err;) {
		ZSTD_outBuffer o = { out, out_bytes, 0 };
		size_t r = ZSTD_decompressStream(s->zstd, &o, &in);

		if (ZSTD_isError(r)) {
			pd_note(s->f, "compressed record at offset %#llx: %s", (unsigned long long)s->at,
				ZSTD_getErrorName(r));
			break;
		}
		more = in.pos < in.size || o.pos == o.size;
		if (o.pos)
			err = add_block(s, out, o.pos);
		if (err == -EINVAL) {
			pd_note(s->f, "compressed data at offset %#llx holds a damaged record",
				(unsigned long long)s->at);
			s->carry_bytes = 0;
			err = 0;
			break;
		}
	}
	free(out);
	return err;
}

/* Bytes of other data that follow the record. */
static u64 payload(const struct stream *s, const u8 *rec, u32 type, u16 size)
{
	if (type == PD_TRACING_DATA && s->f->is_pipe && size >= 12)
		return ALIGN_UP((u64)pd_u32(rec + 8), 8);
	return type == PD_AUXTRACE && size >= 16 ? pd_u64(rec + 8) : 0;
}

static int take_any(struct stream *s, const u8 *rec, const u8 *kept, u32 type, u16 size)
{
	if (type == PD_FINISHED_ROUND)
		return finish_round(s);
	if (type == PD_COMPRESSED)
		return unpack(s, rec, size);
	return take_record(s, rec, kept, type, size);
}

static bool refill(struct stream *s, u64 at)
{
	ssize_t n = pread(s->f->fd, s->buffer, BUFFER, at);

	s->buf_from = at;
	s->buf_to = at + max(n, (ssize_t)0);
	return n > 0;
}

/* From offset `at` on what the short loop takes; the offset of the first record that it does not. */
static u64 take_most(struct stream *s, u64 at, u64 end)
{
	u32 type;
	u16 size;

	while (s->buffer && at < end) {
		const u8 *p;

		if (at >= s->buf_to && !refill(s, at))
			break;
		p = s->buffer + (at - s->buf_from);
		at += take_samples(s, p, s->buffer + (min(end, s->buf_to) - s->buf_from)) - p;
		p = s->buffer + (at - s->buf_from);
		if (at < s->buf_to && (s->buf_from == at || pd_record_at(p, s->buf_to - at, &type, &size)))
			return at;
		s->buf_to = at; /* the rest is part of a record: again from there */
	}
	return take_samples(s, s->map + at, s->map + end) - s->map;
}

/* The record at an offset: in the buffer if all of it is there. */
static const u8 *look_at(const struct stream *s, u64 at)
{
	const u8 *p;
	u32 type;
	u16 size;

	if (!s->buffer || at >= s->buf_to)
		return s->map + at;
	p = s->buffer + (at - s->buf_from);
	return pd_record_at(p, s->buf_to - at, &type, &size) ? p : s->map + at;
}

static int read_span(struct stream *s, const u8 *map, u64 from, u64 end)
{
	u64 at = from, window = s->buffer ? BUFFERED_WINDOW : WINDOW, next_pause = from + window;
	const u8 *rec;
	u32 type;
	u16 size;
	int err = 0;

	s->map = map;
	s->released = s->at = from;
	s->batch->from = map + from;
	for (;;) {
		at = take_most(s, at, min(next_pause, end));
		s->at = at;
		if (at == end || err)
			break;
		rec = look_at(s, at);
		if (!pd_record_at(rec, end - at, &type, &size)) {
			pd_note(s->f, "record at offset %#llx is cut or damaged; read up to there",
				(unsigned long long)at);
			break;
		}
		if (at + size > next_pause) {
			unmap_read(s, s->order.keep);
			pd_progress(s->f, at - from, end - from);
			next_pause = at + window;
		}
		err = take_any(s, rec, map + at, type, size);
		at += size;
		at += min(payload(s, rec, type, size), end - at);
	}
	s->batch->to = map + at;
	unmap_read(s, 0);
	return err;
}

static void *read_all(void *arg)
{
	struct stream *s = arg;
	struct pd_file *f = s->f;
	int err;

	if (s->c->brief && s->least <= UINT16_MAX && !f->is_copied)
		s->buffer = malloc(BUFFER); /* without it the map serves */
	err = read_span(s, f->map, f->data.offset, f->data.offset + f->data.size);
	free(s->buffer);
	s->buffer = NULL;
	for (u32 i = 0; i < f->nr_parts && !err; i++)
		err = read_span(s, f->parts[i].map, 0, f->parts[i].bytes);
	order_end(&s->order, s->batch, err);
	return NULL;
}

/* Samples of one form are queued by a short loop; what needs a closer look is never long enough for it. */
static u32 least_sample(const struct pd_file *f, const struct pd_consumer *c)
{
	if (c->unordered || f->times_differ || !f->time_offset || f->id_offset < 0 || f->nr_events == 1)
		return UINT16_MAX + 1;
	return max(f->time_offset, f->id_offset) + 8;
}

static int read_and_deliver(struct stream *s)
{
	pthread_t reader;
	int err;

	if (s->c->unordered) {
		read_all(s);
		return s->order.read_error;
	}
	err = -pthread_create(&reader, NULL, read_all, s);
	if (err)
		return err;
	err = order_deliver_all(&s->order);
	pthread_join(reader, NULL);
	return err;
}

int pd_for_each(struct pd_file *f, const struct pd_consumer *c)
{
	struct stream s = { .f = f, .c = c, .least = least_sample(f, c) };
	int err;

	order_init(&s.order, f, c);
	s.batch = order_next(&s.order, NULL);
	err = s.batch ? read_and_deliver(&s) : -ENOMEM;
	order_free(&s.order);
	pd_progress_end(f);
	ZSTD_freeDStream(s.zstd);
	free(s.carry);
	return err;
}
