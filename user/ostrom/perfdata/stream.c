/* SPDX-License-Identifier: MIT
 *
 * Problem: the file holds one stretch of records a CPU and round, each in time order, one after the
 * other; people and computations need one order over all CPUs, and a file may be larger than
 * memory.
 *
 * Idea: records of a round are queued as {time, pointer}. At the end of round k everything not
 * newer than the newest record of round k-1 can have no later-arriving predecessor and is
 * delivered. The queue is a few ascending runs (one a CPU), so sorting is a stable merge of natural
 * runs. What survives the delivery at the end of round k is from round k itself: the pages and
 * unpacked blocks of older rounds go back. Records without a time (those that the recorder
 * synthesised) are delivered as they come, as perf does.
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

#define AHEAD       12   /* records to prefetch before they are delivered */
#define AHEAD_BYTES 2048 /* bytes to prefetch before they are scanned */

struct entry {
	u64 time;
	const u8 *rec;
};

struct block { /* unpacked records */
	struct block *next;
	u64 last_round; /* of its records; the one being read: UINT64_MAX */
	u8 bytes[];
};

struct stream {
	struct pd_file *f;
	const struct pd_consumer *c;
	struct entry *queue, *spare; /* nr of room */
	size_t nr, room;
	u64 max_time, limit;
	struct block *blocks, **blocks_tail; /* oldest first */
	u64 round;                           /* that is being read */
	ZSTD_DStream *zstd;
	u8 *carry; /* the cut record at the end of the last unpacked block */
	size_t carry_bytes;
	u64 round_start, last_round_start, released; /* offsets in the file */
	const u8 *in_map;
	bool skips; /* some event is unwanted */
};

/* ---- the queue ---- */

static int grow_queue(struct stream *s)
{
	size_t room = s->room ? s->room * 2 : 1024;
	struct entry *q = realloc(s->queue, room * sizeof(*q));
	struct entry *t;

	if (!q)
		return -ENOMEM;
	s->queue = q;
	t = realloc(s->spare, room * sizeof(*t));
	if (!t)
		return -ENOMEM;
	s->spare = t;
	s->room = room;
	return 0;
}

static inline int enqueue(struct stream *s, u64 time, const u8 *rec)
{
	if (s->nr == s->room && grow_queue(s))
		return -ENOMEM;
	s->queue[s->nr++] = (struct entry){ time, rec };
	s->max_time = max(s->max_time, time);
	return 0;
}

static size_t run_end(const struct entry *q, size_t from, size_t n)
{
	size_t i = from + 1;

	while (i < n && q[i - 1].time <= q[i].time)
		i++;
	return min(i, n);
}

/* Merges neighbouring runs until one is left. Stable. */
static void sort_queue(struct stream *s)
{
	for (;;) {
		struct entry *in = s->queue, *out = s->spare;
		size_t a = 0, runs = 0;

		while (a < s->nr) {
			size_t b = run_end(in, a, s->nr), end, i = a, k = b, o = a;

			if (b == s->nr && !a)
				return;
			end = b < s->nr ? run_end(in, b, s->nr) : b;
			while (i < b && k < end)
				out[o++] = in[k].time < in[i].time ? in[k++] : in[i++];
			memcpy(out + o, in + i, (b - i) * sizeof(*in));
			memcpy(out + o + (b - i), in + k, (end - k) * sizeof(*in));
			a = end;
			runs++;
		}
		s->queue = out;
		s->spare = in;
		if (runs <= 1)
			return;
	}
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

static int deliver(struct stream *s, const u8 *rec)
{
	struct pd_file *f = s->f;
	struct pd_sample sample;
	struct pd_event *e;
	u32 type = pd_u32(rec);
	u16 size = pd_u16(rec + 6);
	int err;

	if (type == PERF_RECORD_SAMPLE) {
		e = event_of_sample(f, rec, size);
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

static int flush(struct stream *s, u64 limit)
{
	size_t i;
	int err = 0;

	if (!s->nr)
		return 0;
	sort_queue(s);
	for (i = 0; i < s->nr && s->queue[i].time <= limit && !err; i++) {
		if (i + AHEAD < s->nr) {
			__builtin_prefetch(s->queue[i + AHEAD].rec);
			__builtin_prefetch(s->queue[i + AHEAD].rec + 64);
		}
		err = deliver(s, s->queue[i].rec);
	}
	memmove(s->queue, s->queue + i, (s->nr - i) * sizeof(*s->queue));
	s->nr -= i;
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

/* Everything before upto has been delivered: its pages need not stay. */
static void release(struct stream *s, u64 upto)
{
	u64 from = ALIGN_UP(s->released, PAGE_SIZE), to = ALIGN_DOWN(upto, PAGE_SIZE);

	if (s->f->is_pipe || s->in_map != s->f->map || to < from + (1 << 20))
		return;
	madvise((void *)(s->f->map + from), to - from, MADV_DONTNEED);
	s->released = to;
}

static int finish_round(struct stream *s, u64 offset)
{
	int err = flush(s, s->limit);

	s->limit = s->max_time;
	free_blocks(s, s->round++); /* what is left in the queue is of the round that ends here */
	release(s, s->round_start);
	s->round_start = offset;
	return err;
}

/* ---- reading ---- */

static inline u64 time_of_sample(struct stream *s, const u8 *rec, u16 size)
{
	const struct pd_event *e;
	u16 at = s->f->time_offset;

	if (s->f->times_differ) {
		e = event_of_sample(s->f, rec, size);
		at = e ? e->at.time : 0;
	}
	return at && at + 8 <= size ? pd_u64(rec + at) : UINT64_MAX;
}

static inline int take_sample(struct stream *s, const u8 *rec, u16 size)
{
	u64 time = time_of_sample(s, rec, size);
	const struct pd_event *e;

	if (s->c->unordered || !time || time == UINT64_MAX)
		return deliver(s, rec);
	if (s->skips) {
		e = event_of_sample(s->f, rec, size);
		if (e && e->unwanted) { /* it still counts for what the round may deliver */
			s->max_time = max(s->max_time, time);
			return 0;
		}
	}
	return enqueue(s, time, rec);
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
		return deliver(s, rec);
	return enqueue(s, time, rec);
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

static int read_span(struct stream *s, const u8 *map, u64 from, u64 end)
{
	u64 at = from, next_progress = s->c->progress ? from : UINT64_MAX;
	u32 type;
	u16 size;
	int err = 0;

	s->in_map = map;
	s->round_start = s->released = from;
	while (at < end && !err) {
		const u8 *rec = map + at;

		if (!pd_record_at(rec, end - at, &type, &size)) {
			pd_note(s->f, "record at offset %#llx is cut or damaged; read up to there",
				(unsigned long long)at);
			break;
		}
		__builtin_prefetch(rec + min((u64)AHEAD_BYTES, end - at));
		at += size;
		if (type == PERF_RECORD_SAMPLE) {
			err = take_sample(s, rec, size);
			continue;
		}
		err = take_any(s, rec, type, size, at - size);
		at += min(payload(s, rec, type, size), end - at);
		if (at >= next_progress) {
			s->c->progress(s->c->arg, at - from, end - from);
			next_progress = at + (4 << 20);
		}
	}
	return err;
}

int pd_for_each(struct pd_file *f, const struct pd_consumer *c)
{
	struct stream s = { .f = f, .c = c, .blocks_tail = &s.blocks };
	int err;

	memset(&f->counts, 0, sizeof(f->counts));
	for (u32 i = 0; i < f->nr_events; i++)
		s.skips |= f->events[i].unwanted;
	err = read_span(&s, f->map, f->data.offset, f->data.offset + f->data.size);
	for (u32 i = 0; i < f->nr_parts && !err; i++)
		err = read_span(&s, f->parts[i].map, 0, f->parts[i].bytes);
	if (!err)
		err = flush(&s, UINT64_MAX);
	free_blocks(&s, UINT64_MAX);
	ZSTD_freeDStream(s.zstd);
	free(s.carry);
	free(s.queue);
	free(s.spare);
	return err;
}
