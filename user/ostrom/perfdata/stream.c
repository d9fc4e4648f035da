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
#define AHEAD_BYTES 4096      /* bytes to prefetch before they are scanned */
#define WINDOW      (1 << 20) /* bytes read, or delivered and lying four times as far apart, between two unmappings */

#define NO_EVENT 0xffff

struct entry {
	u64 time;
	u64 rec : 48;   /* user addresses have no more */
	u64 event : 16; /* index of a sample's; NO_EVENT: another record, or its id is unknown */
};

static inline const u8 *record_of(const struct entry *e)
{
	return (const u8 *)(uintptr_t)e->rec;
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
	u64 run_time; /* of the last entry */
	u64 max_time, limit;
	struct block *blocks, **blocks_tail; /* oldest first */
	u64 round;                           /* that is being read */
	ZSTD_DStream *zstd;
	u8 *carry; /* the cut record at the end of the last unpacked block */
	size_t carry_bytes;
	u64 round_start, released, at; /* offsets in the file; at: how far it was read */
	const u8 *in_map;
	u64 delivered; /* bytes since the last unmapping */
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
	if ((time < s->run_time || !s->nr) && begin_run(s))
		return -ENOMEM;
	s->run_time = time;
	s->queue[s->nr++] = (struct entry){ time, (uintptr_t)rec, e ? e->index : NO_EVENT };
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

static void count(struct pd_file *f, const struct pd_sample *s)
{
	f->counts.records++;
	if (s->type == PERF_RECORD_SAMPLE) {
		f->counts.samples++;
	} else if (s->type == PERF_RECORD_LOST && s->size >= 24) {
		f->counts.lost_records++;
		f->counts.lost_events += pd_u64(s->rec + 16);
	}
}

static u64 file_offset(const struct stream *s, const u8 *rec)
{
	return rec >= s->f->map && rec < s->f->map + s->f->map_bytes ? rec - s->f->map : 0;
}

static inline struct pd_event *event_of_sample(struct pd_file *f, const u8 *rec, u16 size)
{
	if (f->id_offset < 0 || f->nr_events == 1)
		return &f->events[0];
	return size >= f->id_offset + 8 ? pd_event_of_id(f, pd_u64(rec + f->id_offset)) : NULL;
}

static struct pd_event *event_of_sideband(struct pd_file *f, const u8 *rec, u16 size)
{
	struct pd_event *e = NULL;

	if (f->id_offset == 8 && f->events[0].attr.sample_id_all && size >= 16)
		e = pd_event_of_id(f, pd_u64(rec + size - 8));
	return e ? e : &f->events[0];
}

/* e: of a sample. */
static int deliver(struct stream *s, const u8 *rec, struct pd_event *e)
{
	struct pd_file *f = s->f;
	struct pd_sample sample;
	u32 type = pd_u32(rec);
	u16 size = pd_u16(rec + 6);
	int err;

	if (type == PERF_RECORD_SAMPLE) {
		if (!e) {
			f->counts.unknown_ids++;
			return 0;
		}
		err = pd_parse_sample(e, rec, &sample);
	} else {
		err = pd_parse_trailer(event_of_sideband(f, rec, size), rec, &sample);
	}
	if (err) {
		f->counts.bad_samples++;
		pd_note(f, "record of type %u at offset %#llx is shorter than its event says", type,
			(unsigned long long)file_offset(s, rec));
		return 0;
	}
	sample.offset = file_offset(s, rec);
	count(f, &sample);
	return s->c->record(s->c->arg, &sample);
}

/* Unmaps what was read of the file since `released`. */
static void unmap_read(struct stream *s)
{
	u64 from = ALIGN_UP(s->released, PAGE_SIZE), to = ALIGN_DOWN(s->at, PAGE_SIZE);

	if (!s->f->is_pipe && to > from)
		madvise((void *)(s->in_map + from), to - from, MADV_DONTNEED);
}

static int deliver_queued(struct stream *s, const struct entry *e, const struct entry *end)
{
	if (e + AHEAD < end) {
		__builtin_prefetch(record_of(&e[AHEAD]));
		__builtin_prefetch(record_of(&e[AHEAD]) + 64);
	}
	s->delivered += pd_u16(record_of(e) + 6);
	if (s->delivered > WINDOW / 4) {
		unmap_read(s);
		s->delivered = 0;
	}
	return deliver(s, record_of(e), e->event == NO_EVENT ? NULL : &s->f->events[e->event]);
}

/* Delivers from the first run of the heap while its entry is the oldest, at most until the limit. */
static int deliver_run(struct stream *s, u64 limit)
{
	struct run *h = s->runs, *r = &h[0], *next = NULL;
	const struct entry *q = s->queue;
	int err = 0;

	if (s->nr_runs > 1)
		next = &h[1 + (s->nr_runs > 2 && is_before(s, h[2], h[1]))];
	do {
		err = deliver_queued(s, &q[r->at], q + r->end);
		r->at++;
	} while (!err && r->at < r->end && q[r->at].time <= limit && (!next || is_before(s, *r, *next)));
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

static inline int take_sample(struct stream *s, const u8 *rec, u16 size)
{
	struct pd_event *e = event_of_sample(s->f, rec, size);
	u64 time = time_of_sample(s, rec, size, e);

	if (s->c->unordered || !time || time == UINT64_MAX)
		return deliver(s, rec, e);
	if (e && e->unwanted) { /* it still counts for what the round may deliver */
		s->max_time = max(s->max_time, time);
		return 0;
	}
	return enqueue(s, time, rec, e);
}

static int take_record(struct stream *s, const u8 *rec, u32 type, u16 size)
{
	const struct pd_event *e = &s->f->events[0];
	u64 time = 0;

	if (type == PERF_RECORD_SAMPLE)
		return take_sample(s, rec, size);
	if (type >= PD_USER_START) {
		if (type >= PD_USER_END)
			s->f->counts.unknown_types++;
		return 0;
	}
	if (e->trailer_time && e->trailer_time + 8 <= size)
		time = pd_u64(rec + size - e->trailer_time);
	if (s->c->unordered || !time || time == UINT64_MAX)
		return deliver(s, rec, NULL);
	return enqueue(s, time, rec, NULL);
}

/* The records in p; the number of bytes consumed, or -errno. A cut record at the end is left. */
static s64 take_block(struct stream *s, const u8 *p, u64 bytes)
{
	u64 at = 0;
	u32 type;
	u16 size;
	int err;

	while (pd_record_at(p + at, bytes - at, &type, &size)) {
		err = type == PD_FINISHED_ROUND ? finish_round(s, s->round_start) : take_record(s, p + at, type, size);
		if (err)
			return err;
		at += size;
	}
	return at;
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
	while (at < end && !err) {
		const u8 *rec = map + at;

		if (!pd_record_at(rec, end - at, &type, &size)) {
			pd_note(s->f, "record at offset %#llx is cut or damaged; read up to there",
				(unsigned long long)at);
			break;
		}
		if (at >= next_pause) {
			pause_at(s, at, at - from, end - from);
			next_pause = at + WINDOW;
		}
		__builtin_prefetch(rec + min((u64)AHEAD_BYTES, end - at));
		__builtin_prefetch(rec + min((u64)AHEAD_BYTES + 64, end - at));
		at += size;
		if (type == PERF_RECORD_SAMPLE) {
			err = take_sample(s, rec, size);
			continue;
		}
		err = take_any(s, rec, type, size, at - size);
		at += min(payload(s, rec, type, size), end - at);
	}
	s->at = at;
	return err;
}

int pd_for_each(struct pd_file *f, const struct pd_consumer *c)
{
	struct stream s = { .f = f, .c = c, .blocks_tail = &s.blocks };
	int err;

	memset(&f->counts, 0, sizeof(f->counts));
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
