/* SPDX-License-Identifier: MIT
 *
 * Problem: the file holds one stretch of records a CPU and round, each in time order, one after the
 * other; people and computations need one order over all CPUs, and a file may be larger than
 * memory.
 *
 * Idea: records of a round are queued as {time, pointer}. At the end of round k everything not
 * newer than the newest record of round k-1 can have no later-arriving predecessor and is
 * delivered. The queue is a few ascending runs (one a CPU), so a heap of runs by their first time gives the order
 * without moving an entry; of two equal times the earlier in the file comes first. What survives the delivery at the
 * end of round k is from round k itself: unpacked blocks of older rounds go back. Pages of the file need not even stay
 * until then: every MiB those read are unmapped, and what is
 * delivered later comes back from the page cache. Records without a time (those that the recorder synthesised) are
 * delivered as they come, as perf does.
 *
 *      round k-1        round k          FINISHED_ROUND
 *   ..[cpu0][cpu1]   [cpu0][cpu1][cpu2]  | deliver time <= max(round k-1), keep the rest, forget
 * k-1
 *
 * Contract: perfdata.h. A record that does not fit ends the reading: damage is noted with its
 * offset, what was read is delivered.
 *
 * Locks: none.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <zstd.h>
#include "perfdata_priv.h"

#define AHEAD       12        /* records to prefetch before they are delivered */
#define STRETCH     256       /* records delivered before memory is looked after */
#define AHEAD_BYTES 4096      /* bytes to prefetch before they are scanned */
#define WINDOW      (1 << 20) /* bytes read, or delivered and lying four times as far apart, between two unmappings */

#define NO_EVENT 0xffff

struct entry {
	u64 time;
	u64 rec; /* its address (user addresses have 48 bits), above it a sample's event; NO_EVENT: another record */
};

static inline struct entry make_entry(u64 time, const u8 *rec, u64 event)
{
	return (struct entry){ time, (uintptr_t)rec | event << 48 };
}

static inline const u8 *record_of(const struct entry *e)
{
	return (const u8 *)(uintptr_t)(e->rec << 16 >> 16);
}

static inline u32 event_of(const struct entry *e)
{
	return e->rec >> 48;
}

struct run { /* ascending entries of the queue */
	u32 at, end;
};

struct block { /* unpacked records */
	struct block *next;
	u64 last_round; /* of its records; the one being read: UINT64_MAX */
	u8 bytes[];
};

struct stream {
	struct pd_file *f;
	const struct pd_consumer *c;
	struct entry *queue; /* nr of room */
	u32 nr, room;
	struct run *runs; /* nr_runs of room_runs, the last one is open; a heap during delivery */
	u32 nr_runs, room_runs;
	u64 run_time; /* of the last entry; UINT64_MAX: the next one begins a run */
	u32 least;    /* bytes of a sample whose id and time are at the places that all samples share */
	u64 max_time, limit;
	struct block *blocks, **blocks_tail; /* oldest first */
	u64 round;                           /* that is being read */
	ZSTD_DStream *zstd;
	u8 *carry; /* the cut record at the end of the last unpacked block */
	size_t carry_bytes;
	u64 round_start, released, at; /* offsets in the file; at: how far it was read */
	const u8 *in_map;
	u64 delivered;           /* bytes since the last unmapping */
	struct pd_sample sample; /* that was delivered last */
	u64 sample_type;         /* its event's */
};

/* ---- the queue ---- */

static int grow_queue(struct stream *s)
{
	u32 room = s->room ? s->room * 2 : 1024;
	struct entry *q = s->room >> 31 ? NULL : realloc(s->queue, room * sizeof(*q));

	if (!q)
		return -ENOMEM;
	s->queue = q;
	s->room = room;
	return 0;
}

static int begin_run(struct stream *s)
{
	struct run *r = s->runs;

	if (s->nr_runs == s->room_runs) {
		r = realloc(r, (s->room_runs * 2 + 16) * sizeof(*r));
		if (!r)
			return -ENOMEM;
		s->runs = r;
		s->room_runs = s->room_runs * 2 + 16;
	}
	if (s->nr_runs)
		r[s->nr_runs - 1].end = s->nr;
	r[s->nr_runs++].at = s->nr;
	return 0;
}

static inline int enqueue(struct stream *s, u64 time, const u8 *rec, const struct pd_event *e)
{
	if (s->nr == s->room && grow_queue(s))
		return -ENOMEM;
	if (time < s->run_time && begin_run(s))
		return -ENOMEM;
	s->run_time = time;
	s->queue[s->nr++] = make_entry(time, rec, e ? e->index : NO_EVENT);
	s->max_time = max(s->max_time, time);
	return 0;
}

static inline bool is_before(const struct stream *s, struct run a, struct run b)
{
	u64 x = s->queue[a.at].time, y = s->queue[b.at].time;

	return x < y || (x == y && a.at < b.at);
}

/* Moves the run at i down to its place in the heap. */
static void sift(struct stream *s, u32 i)
{
	struct run *h = s->runs, r = h[i];
	u32 child;

	for (; (child = 2 * i + 1) < s->nr_runs; i = child) {
		child += child + 1 < s->nr_runs && is_before(s, h[child + 1], h[child]);
		if (!is_before(s, h[child], r))
			break;
		h[i] = h[child];
	}
	h[i] = r;
}

static void make_heap(struct stream *s)
{
	if (s->nr_runs)
		s->runs[s->nr_runs - 1].end = s->nr;
	for (u32 i = s->nr_runs / 2; i-- > 0;)
		sift(s, i);
}

static int by_place(const void *a, const void *b)
{
	const struct run *x = a, *y = b;

	return x->at < y->at ? -1 : x->at > y->at;
}

/* Moves what was not delivered to the front of the queue, the runs in the order of the file. */
static void keep_rest(struct stream *s)
{
	u32 n = 0;

	if (s->nr_runs)
		qsort(s->runs, s->nr_runs, sizeof(*s->runs), by_place);
	for (u32 i = 0; i < s->nr_runs; i++) {
		struct run *r = &s->runs[i];
		u32 len = r->end - r->at;

		memmove(s->queue + n, s->queue + r->at, len * sizeof(*s->queue));
		*r = (struct run){ n, n + len };
		n += len;
	}
	s->nr = n;
	s->run_time = UINT64_MAX; /* the next entry begins a run */
}

/* ---- delivery ---- */

static inline struct pd_event *event_of_sample(struct pd_file *f, const u8 *rec, u16 size)
{
	if (f->id_offset < 0 || f->nr_events == 1)
		return &f->events[0];
	return size >= f->id_offset + 8 ? pd_event_of_id(&f->ids, pd_u64(rec + f->id_offset)) : NULL;
}

static struct pd_event *event_of_sideband(struct pd_file *f, const u8 *rec, u16 size)
{
	struct pd_event *e = NULL;

	if (f->id_offset == 8 && f->events[0].attr.sample_id_all && size >= 16)
		e = pd_event_of_id(&f->ids, pd_u64(rec + size - 8));
	return e ? e : &f->events[0];
}

static void note_short(struct stream *s, const u8 *rec)
{
	pd_note(s->f, "record of type %u at offset %#llx is shorter than its event says", pd_u32(rec),
		(unsigned long long)pd_offset(s->f, rec));
}

static inline int deliver_sample(struct stream *s, const u8 *rec, struct pd_event *e)
{
	if (e->attr.sample_type != s->sample_type) {
		pd_clear_sample(&s->sample);
		s->sample_type = e->attr.sample_type;
	}
	if (!pd_parse_sample(e, rec, &s->sample))
		return s->c->record(s->c->arg, &s->sample);
	note_short(s, rec);
	return 0;
}

static int deliver_other(struct stream *s, const u8 *rec)
{
	struct pd_sample sample;

	if (!pd_parse_trailer(event_of_sideband(s->f, rec, pd_u16(rec + 6)), rec, &sample))
		return s->c->record(s->c->arg, &sample);
	note_short(s, rec);
	return 0;
}

/* Unmaps what was read of the file since `released`. */
static void unmap_read(struct stream *s)
{
	u64 from = ALIGN_UP(s->released, PAGE_SIZE), to = ALIGN_DOWN(s->at, PAGE_SIZE);

	if (!s->f->is_pipe && to > from)
		madvise((void *)(s->in_map + from), to - from, MADV_DONTNEED);
}

/* How far the first run of the heap goes before the entry of another is older. */
static u64 end_of_turn(const struct stream *s)
{
	const struct run *h = s->runs, *next;

	if (s->nr_runs == 1)
		return UINT64_MAX;
	next = &h[1 + (s->nr_runs > 2 && is_before(s, h[2], h[1]))];
	return s->queue[next->at].time - (next->at < h[0].at);
}

/* Delivers from the first run of the heap while its entry is the oldest, at most until the limit. */
static int deliver_run(struct stream *s, u64 limit)
{
	struct run *r = &s->runs[0];
	const struct entry *e = s->queue + r->at, *last = s->queue + r->end;
	const struct entry *end = e + min(r->end - r->at, (u32)STRETCH);
	int err;

	limit = min(limit, end_of_turn(s));
	do {
		const u8 *rec = record_of(e);

		if (e + AHEAD < last) {
			__builtin_prefetch(record_of(&e[AHEAD]));
			__builtin_prefetch(record_of(&e[AHEAD]) + 64);
		}
		s->delivered += pd_u16(rec + 6);
		if (event_of(e) == NO_EVENT)
			err = deliver_other(s, rec);
		else
			err = deliver_sample(s, rec, &s->f->events[event_of(e)]);
		e++;
	} while (!err && e < end && e->time <= limit);
	r->at = e - s->queue;
	if (s->delivered > WINDOW / 4) {
		unmap_read(s);
		s->delivered = 0;
	}
	return err;
}

static int flush(struct stream *s, u64 limit)
{
	int err = 0;

	make_heap(s);
	while (s->nr_runs && s->queue[s->runs[0].at].time <= limit && !err) {
		err = deliver_run(s, limit);
		if (s->runs[0].at == s->runs[0].end)
			s->runs[0] = s->runs[--s->nr_runs];
		sift(s, 0);
	}
	keep_rest(s);
	return err;
}

/* Frees the blocks whose records are all of rounds before `round`. */
static void free_blocks(struct stream *s, u64 round)
{
	while (s->blocks && s->blocks->last_round < round) {
		struct block *b = s->blocks;

		s->blocks = b->next;
		free(b);
	}
	if (!s->blocks)
		s->blocks_tail = &s->blocks;
}

static int finish_round(struct stream *s, u64 offset)
{
	int err;

	s->at = offset;
	err = flush(s, s->limit);
	s->limit = s->max_time;
	free_blocks(s, s->round++); /* what is left in the queue is of the round that ends here */
	unmap_read(s);
	s->released = s->round_start;
	s->round_start = offset;
	return err;
}

/* ---- reading ---- */

static inline u64 time_of_sample(struct stream *s, const u8 *rec, u16 size, const struct pd_event *e)
{
	u16 at = s->f->time_offset;

	if (s->f->times_differ)
		at = e ? e->at.time : 0;
	return at && at + 8 <= size ? pd_u64(rec + at) : UINT64_MAX;
}

static int take_sample(struct stream *s, const u8 *rec, u16 size)
{
	struct pd_event *e = event_of_sample(s->f, rec, size);
	u64 time = time_of_sample(s, rec, size, e);

	if (s->c->unordered || !time || time == UINT64_MAX)
		return e ? deliver_sample(s, rec, e) : 0;
	if (!e || e->unwanted) { /* it still counts for what the round may deliver */
		s->max_time = max(s->max_time, time);
		return 0;
	}
	return enqueue(s, time, rec, e);
}

/* The first record from p on that is more than one more entry of the open run. Nearly all are no more: this loop is
 * what reading costs. */
static const u8 *take_samples(struct stream *s, const u8 *p, const u8 *end)
{
	const struct pd_file *f = s->f;
	const u32 least = s->least, room = s->room, time_at = f->time_offset, id_at = f->id_offset;
	const struct pd_ids ids = f->ids;
	struct entry *queue = s->queue;
	u64 run_time = s->run_time, max_time = s->max_time;
	u32 nr = s->nr;

	while (end - p >= (s64)least) {
		u64 head = pd_u64(p), time = pd_u64(p + time_at);
		u16 size = head >> 48;
		const struct pd_event *e;

		__builtin_prefetch(p + AHEAD_BYTES);
		__builtin_prefetch(p + AHEAD_BYTES + 64);
		if ((u32)head != PERF_RECORD_SAMPLE || size < least || size > end - p || nr == room ||
		    time + 1 <= run_time) /* older, or all ones: no time */
			break;
		e = pd_event_of_id(&ids, pd_u64(p + id_at));
		max_time = max(max_time, time);
		if (e && !e->unwanted) {
			queue[nr++] = make_entry(time, p, e->index);
			run_time = time;
		}
		p += size;
	}
	s->nr = nr;
	s->run_time = run_time;
	s->max_time = max_time;
	return p;
}

static int take_record(struct stream *s, const u8 *rec, u32 type, u16 size)
{
	const struct pd_event *e = &s->f->events[0];
	u64 time = 0;

	if (type == PERF_RECORD_SAMPLE)
		return take_sample(s, rec, size);
	if (type >= PD_USER_START)
		return 0;
	if (e->trailer_time && e->trailer_time + 8 <= size)
		time = pd_u64(rec + size - e->trailer_time);
	if (s->c->unordered || !time || time == UINT64_MAX)
		return deliver_other(s, rec);
	return enqueue(s, time, rec, NULL);
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
		err = type == PD_FINISHED_ROUND ? finish_round(s, s->round_start) : take_record(s, at, type, size);
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
	b->next = NULL;
	b->last_round = UINT64_MAX;
	*s->blocks_tail = b;
	s->blocks_tail = &b->next;
	used = take_block(s, b->bytes, n);
	b->last_round = s->round;
	if (used < 0)
		return used;
	s->carry_bytes = n - used;
	if (s->carry_bytes > 65536)
		return -EINVAL;
	memcpy(s->carry, b->bytes + used, s->carry_bytes);
	return 0;
}

static int unpack(struct stream *s, const u8 *rec, u16 size, u64 offset)
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
			pd_note(s->f, "compressed record at offset %#llx: %s", (unsigned long long)offset,
				ZSTD_getErrorName(r));
			break;
		}
		more = in.pos < in.size || o.pos == o.size;
		if (o.pos)
			err = add_block(s, out, o.pos);
		if (err == -EINVAL) {
			pd_note(s->f, "compressed data at offset %#llx holds a damaged record",
				(unsigned long long)offset);
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

static int take_any(struct stream *s, const u8 *rec, u32 type, u16 size, u64 offset)
{
	if (type == PD_FINISHED_ROUND)
		return finish_round(s, offset + size);
	if (type == PD_COMPRESSED)
		return unpack(s, rec, size, offset);
	return take_record(s, rec, type, size);
}

/* Every WINDOW bytes: tells how far we are, and keeps memory small. */
static void pause_at(struct stream *s, u64 at, u64 done, u64 total)
{
	s->at = at;
	unmap_read(s);
	pd_progress(s->f, done, total);
}

static int read_span(struct stream *s, const u8 *map, u64 from, u64 end)
{
	u64 at = from, next_pause = from + WINDOW;
	u32 type;
	u16 size;
	int err = 0;

	s->in_map = map;
	s->round_start = s->released = s->at = from;
	for (;;) {
		at = take_samples(s, map + at, map + min(next_pause, end)) - map;
		if (at == end || err)
			break;
		if (!pd_record_at(map + at, end - at, &type, &size)) {
			pd_note(s->f, "record at offset %#llx is cut or damaged; read up to there",
				(unsigned long long)at);
			break;
		}
		if (at + size > next_pause) {
			pause_at(s, at, at - from, end - from);
			next_pause = at + WINDOW;
		}
		err = take_any(s, map + at, type, size, at);
		at += size;
		at += min(payload(s, map + at - size, type, size), end - at);
	}
	s->at = at;
	return err;
}

/* Samples of one form are queued by a short loop; what needs a closer look is never long enough for it. */
static u32 least_sample(const struct pd_file *f, const struct pd_consumer *c)
{
	if (c->unordered || f->times_differ || !f->time_offset || f->id_offset < 0 || f->nr_events == 1)
		return UINT16_MAX + 1;
	return max(f->time_offset, f->id_offset) + 8;
}

int pd_for_each(struct pd_file *f, const struct pd_consumer *c)
{
	struct stream s = { .f = f, .c = c, .blocks_tail = &s.blocks, .run_time = UINT64_MAX };
	int err;

	s.least = least_sample(f, c);
	s.sample_type = f->events[0].attr.sample_type;
	pd_clear_sample(&s.sample);
	err = read_span(&s, f->map, f->data.offset, f->data.offset + f->data.size);
	for (u32 i = 0; i < f->nr_parts && !err; i++)
		err = read_span(&s, f->parts[i].map, 0, f->parts[i].bytes);
	if (!err)
		err = flush(&s, UINT64_MAX);
	pd_progress_end(f);
	free_blocks(&s, UINT64_MAX);
	ZSTD_freeDStream(s.zstd);
	free(s.carry);
	free(s.queue);
	free(s.runs);
	return err;
}
