/* SPDX-License-Identifier: MIT
 *
 * Problem: the file holds one stretch of records a CPU and round, each in time order, one after the other; people and
 * computations need one order over all CPUs, and reading alone takes as long as what is done with the records.
 *
 * Idea: reading fills a batch a round with {time, record}. With the batch of round k everything not newer than the
 * newest record of round k-1 is due, and nothing that is newer lies in an older batch: so two batches are held at a
 * time, while the next is being filled. The entries are a few ascending runs (one a CPU and round); a heap of runs by
 * their first time gives the order without moving an entry. Of two equal times the earlier in the file comes first.
 *
 *      round k-1        round k          FINISHED_ROUND
 *   ..[cpu0][cpu1]   [cpu0][cpu1][cpu2]  | deliver time <= max(round k-1), give batch k-1 back
 *
 * Contract: order.h. Delivery ends at the first error; reading then gets no more batches.
 *
 * A wait of one thread for the other costs more than a small round, so whoever had to wait goes on only when there is
 * work for a while: reading when half of what may be ready is left, delivery when a quarter is there.
 *
 * Locks: order.lock guards the hand-over, nothing else is shared.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include "order.h"

#define AHEAD      12         /* records to prefetch before they are delivered */
#define STRETCH    256        /* records delivered before memory is looked after */
#define BATCHES    8          /* that may wait for delivery */
#define ENTRIES    (16 << 10) /* after which no further batch may wait */
#define PART       16         /* a 16th of the file may stay mapped, in these bounds */
#define KEEP_LEAST (512ull << 10)
#define KEEP_MOST  (6ull << 20)

struct run { /* ascending entries of one batch */
	const struct entry *at, *end;
	u64 time;                     /* of `at` */
	const struct pd_brief *brief; /* the same */
	u32 nr;                       /* in the order of the file */
};

static inline const u8 *record_of(const struct entry *e)
{
	return (const u8 *)(uintptr_t)(e->rec << 16 >> 16);
}

static inline u32 event_of(const struct entry *e)
{
	return e->rec >> 48;
}

static inline bool is_brief(const struct entry *e)
{
	return (event_of(e) & IS_BRIEF) && event_of(e) != NO_EVENT;
}

void order_unmap(const struct order *o, const u8 *from, const u8 *to)
{
	from = (const u8 *)ALIGN_DOWN((uintptr_t)from, PAGE_SIZE);
	to = (const u8 *)ALIGN_DOWN((uintptr_t)to, PAGE_SIZE);
	if (!o->file->is_copied && to > from)
		madvise((void *)from, to - from, MADV_DONTNEED);
}

/* ---- batches ---- */

static int begin_run(struct batch *b)
{
	if (b->nr_runs == b->room_runs) {
		u32 *r = realloc(b->runs, (b->room_runs * 2 + 16) * sizeof(*r));

		if (!r)
			return -ENOMEM;
		b->runs = r;
		b->room_runs = b->room_runs * 2 + 16;
	}
	b->runs[b->nr_runs++] = b->nr;
	return 0;
}

static int grow(struct batch *b)
{
	u32 room = b->room ? b->room * 2 : 1024;
	struct entry *entries = b->room >> 31 ? NULL : realloc(b->entries, room * sizeof(*entries));
	struct pd_brief *briefs;

	if (!entries)
		return -ENOMEM;
	b->entries = entries;
	if (b->has_briefs) {
		briefs = realloc(b->briefs, room * sizeof(*briefs));
		if (!briefs)
			return -ENOMEM;
		b->briefs = briefs;
	}
	b->room = room;
	return 0;
}

int batch_add_slowly(struct batch *b, struct entry e)
{
	if (b->nr == b->room && grow(b))
		return -ENOMEM;
	if (e.time < b->run_time && begin_run(b))
		return -ENOMEM;
	b->run_time = e.time;
	b->entries[b->nr++] = e;
	return 0;
}

int batch_add_brief(struct batch *b, u64 time, const struct pd_event *e, const u8 *rec)
{
	int err = batch_add_slowly(b, brief_entry(time, e));

	if (!err)
		pd_take_brief(e, rec, &b->briefs[b->nr - 1]);
	return err;
}

static void empty(struct batch *b)
{
	while (b->blocks) {
		struct block *k = b->blocks;

		b->blocks = k->next;
		free(k);
	}
	b->nr = b->nr_runs = 0;
	b->run_time = UINT64_MAX;
	b->next = NULL;
}

static void free_batches(struct batch *b)
{
	while (b) {
		struct batch *next = b->next;

		empty(b);
		free(b->entries);
		free(b->briefs);
		free(b->runs);
		free(b);
		b = next;
	}
}

/* ---- the hand-over ---- */

static void append(struct batch **list, struct batch *b)
{
	while (*list)
		list = &(*list)->next;
	*list = b;
}

static void put_ready(struct order *o, struct batch *b)
{
	append(&o->ready, b);
	o->ready_batches++;
	o->ready_entries += b->nr;
}

static bool is_full(const struct order *o)
{
	return o->ready_batches >= BATCHES || o->ready_entries > ENTRIES;
}

static bool is_half_empty(const struct order *o)
{
	return o->ready_batches <= BATCHES / 2 && o->ready_entries <= ENTRIES / 2;
}

static bool is_worth_it(const struct order *o)
{
	return o->ready_batches >= BATCHES / 4 || o->ready_entries >= ENTRIES / 4;
}

struct batch *order_next(struct order *o, struct batch *full)
{
	struct batch *b = NULL;

	pthread_mutex_lock(&o->lock);
	if (is_full(o))
		while (!o->has_stopped && !is_half_empty(o))
			pthread_cond_wait(&o->changed, &o->lock);
	if (!o->has_stopped && o->spare) {
		b = o->spare;
		o->spare = b->next;
	} else if (!o->has_stopped) {
		b = calloc(1, sizeof(*b));
	}
	if (b && full) {
		put_ready(o, full);
		if (is_worth_it(o))
			pthread_cond_signal(&o->changed);
	}
	pthread_mutex_unlock(&o->lock);
	if (b) {
		empty(b);
		b->has_briefs = o->consumer->brief;
	}
	return b;
}

void order_end(struct order *o, struct batch *last, int error)
{
	pthread_mutex_lock(&o->lock);
	if (last && error) {
		append(&o->spare, last);
	} else if (last) {
		last->limit = UINT64_MAX;
		put_ready(o, last);
	}
	o->has_ended = true;
	o->read_error = error;
	pthread_cond_signal(&o->changed);
	pthread_mutex_unlock(&o->lock);
}

/* The next batch; NULL: there is none any more. */
static struct batch *await_batch(struct order *o)
{
	struct batch *b;

	pthread_mutex_lock(&o->lock);
	if (!o->ready)
		while (!is_worth_it(o) && !o->has_ended)
			pthread_cond_wait(&o->changed, &o->lock);
	b = o->ready;
	if (b) {
		o->ready = b->next;
		o->ready_batches--;
		o->ready_entries -= b->nr;
		b->next = NULL;
	}
	pthread_mutex_unlock(&o->lock);
	return b;
}

static void give_back(struct order *o, struct batch *b, bool stop)
{
	pthread_mutex_lock(&o->lock);
	if (b) {
		b->next = o->spare;
		o->spare = b;
	}
	o->has_stopped = stop;
	if (stop || is_half_empty(o))
		pthread_cond_signal(&o->changed);
	pthread_mutex_unlock(&o->lock);
}

/* ---- the heap of runs ---- */

static inline bool is_before(const struct run *a, const struct run *b)
{
	return a->time < b->time || (a->time == b->time && a->nr < b->nr);
}

/* Moves the run at i down to its place in the heap. */
static void sift(struct order *o, u32 i)
{
	struct run *h = o->runs, r = h[i];
	u32 child;

	for (; (child = 2 * i + 1) < o->nr_runs; i = child) {
		child += child + 1 < o->nr_runs && is_before(&h[child + 1], &h[child]);
		if (!is_before(&h[child], &r))
			break;
		h[i] = h[child];
	}
	h[i] = r;
}

static int add_runs(struct order *o, const struct batch *b)
{
	u32 nr = o->nr_runs + b->nr_runs;

	if (nr > o->room_runs) {
		struct run *grown = realloc(o->runs, nr * 2 * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		o->runs = grown;
		o->room_runs = nr * 2;
	}
	for (u32 i = 0; i < b->nr_runs; i++) {
		u32 end = i + 1 < b->nr_runs ? b->runs[i + 1] : b->nr;

		o->runs[o->nr_runs++] = (struct run){ .at = b->entries + b->runs[i],
						      .end = b->entries + end,
						      .time = b->entries[b->runs[i]].time,
						      .brief = b->has_briefs ? b->briefs + b->runs[i] : NULL,
						      .nr = o->next_run++ };
	}
	for (u32 i = nr / 2; i-- > 0;)
		sift(o, i);
	return 0;
}

/* How far the first run of the heap goes before the entry of another is older. */
static u64 end_of_turn(const struct order *o)
{
	const struct run *h = o->runs, *next;

	if (o->nr_runs == 1)
		return UINT64_MAX;
	next = &h[1 + (o->nr_runs > 2 && is_before(&h[2], &h[1]))];
	return next->time - (next->nr < h[0].nr); /* which it is only if it is newer */
}

/* ---- delivery ---- */

static void note_short(struct order *o, const u8 *rec)
{
	if (o->is_short)
		return;
	o->is_short = true;
	o->short_type = pd_u32(rec);
	o->short_offset = pd_offset(o->file, rec);
}

static inline int deliver_sample(struct order *o, const u8 *rec, struct pd_event *e)
{
	if (e->attr.sample_type != o->sample_type) {
		pd_clear_sample(&o->sample);
		o->sample_type = e->attr.sample_type;
	}
	if (!pd_parse_sample(e, rec, &o->sample))
		return o->consumer->record(o->consumer->arg, &o->sample);
	note_short(o, rec);
	return 0;
}

static struct pd_event *event_of_sideband(struct pd_file *f, const u8 *rec, u16 size)
{
	struct pd_event *e = NULL;

	if (f->id_offset == 8 && f->events[0].attr.sample_id_all && size >= 16)
		e = pd_event_of_id(&f->ids, pd_u64(rec + size - 8));
	return e ? e : &f->events[0];
}

static int deliver_other(struct order *o, const u8 *rec)
{
	struct pd_sample sample;

	if (!pd_parse_trailer(event_of_sideband(o->file, rec, pd_u16(rec + 6)), rec, &sample))
		return o->consumer->record(o->consumer->arg, &sample);
	note_short(o, rec);
	return 0;
}

int order_deliver_now(struct order *o, const u8 *rec, struct pd_event *e)
{
	return e ? deliver_sample(o, rec, e) : deliver_other(o, rec);
}

/* The two deliver from a run at least one entry, and what follows it up to end and limit. */

static int deliver_briefs(struct order *o, struct run *r, const struct entry *end, u64 limit)
{
	const struct pd_consumer *c = o->consumer;
	const struct pd_event *events = o->file->events;
	const struct entry *e = r->at;
	const struct pd_brief *b = r->brief;
	int err;

	do {
		err = c->brief(c->arg, &events[event_of(e) & ~IS_BRIEF], e->time, b++);
		e++;
	} while (!err && e < end && e->time <= limit && is_brief(e));
	r->at = e;
	r->brief = b;
	return err;
}

static int deliver_records(struct order *o, struct run *r, const struct entry *end, u64 limit)
{
	const struct entry *e = r->at;
	int err;

	do {
		const u8 *rec = record_of(e);

		if (e + AHEAD < r->end) {
			__builtin_prefetch(record_of(&e[AHEAD]));
			__builtin_prefetch(record_of(&e[AHEAD]) + 64);
		}
		o->delivered += pd_u16(rec + 6);
		if (event_of(e) == NO_EVENT)
			err = deliver_other(o, rec);
		else
			err = deliver_sample(o, rec, &o->file->events[event_of(e)]);
		e++;
	} while (!err && e < end && e->time <= limit && !is_brief(e));
	if (r->brief)
		r->brief += e - r->at;
	r->at = e;
	return err;
}

/* The second oldest run of the heap; the limit is lowered to what is older than the third. */
static u32 second_of(const struct order *o, u64 *limit)
{
	const struct run *h = o->runs;
	u32 second = 1 + (o->nr_runs > 2 && is_before(&h[2], &h[1]));
	u32 others[] = { 3 - second, 2 * second + 1, 2 * second + 2 };

	for (u32 i = 0; i < ARRAY_SIZE(others); i++)
		if (others[i] < o->nr_runs)
			*limit = min(*limit, h[others[i]].time - !!h[others[i]].time);
	return second;
}

/* Delivers from two runs, a being older, as long as they have briefs and both are not newer than the limit. */
static int merge_briefs(struct order *o, struct run *a, struct run *b, u64 limit)
{
	const struct pd_consumer *c = o->consumer;
	const struct pd_event *events = o->file->events;
	struct run *r = a;
	int err = 0;

	while (!err && r->time <= limit && is_brief(r->at)) {
		err = c->brief(c->arg, &events[event_of(r->at) & ~IS_BRIEF], r->time, r->brief++);
		if (++r->at == r->end)
			break;
		r->time = r->at->time;
		r = is_before(b, a) ? b : a;
	}
	return err;
}

/* Removes the run at i of the heap if it has ended, else moves it to its place. */
static void settle(struct order *o, u32 i)
{
	if (o->runs[i].at == o->runs[i].end)
		o->runs[i] = o->runs[--o->nr_runs];
	if (i < o->nr_runs)
		sift(o, i);
}

/* Events of two CPUs mostly take turns, so two runs are delivered from at a time, if there are two. */
static int deliver_pair(struct order *o, u64 limit)
{
	u32 second;
	int err;

	if (o->nr_runs < 2)
		return 0;
	second = second_of(o, &limit);
	err = merge_briefs(o, &o->runs[0], &o->runs[second], limit);
	settle(o, second);
	settle(o, 0);
	return err;
}

/* Delivers from the first run of the heap while its entry is the oldest, at most until the limit. */
static int deliver_run(struct order *o, u64 limit)
{
	struct run *r = &o->runs[0];
	const struct entry *end = r->at + min((size_t)(r->end - r->at), (size_t)STRETCH);
	int err;

	limit = min(limit, end_of_turn(o));
	err = is_brief(r->at) ? deliver_briefs(o, r, end, limit) : deliver_records(o, r, end, limit);
	if (r->at < r->end)
		r->time = r->at->time;
	settle(o, 0);
	return err;
}

static void unmap_batch(struct order *o, const struct batch *b)
{
	if (b)
		order_unmap(o, b->from, b->to);
}

static void look_after_memory(struct order *o, const struct batch *b)
{
	if (o->delivered <= o->keep / 2) /* they lie some times as far apart */
		return;
	unmap_batch(o, o->held);
	unmap_batch(o, b);
	o->delivered = 0;
}

static int deliver_batch(struct order *o, const struct batch *b)
{
	int err = add_runs(o, b);

	while (!err && o->nr_runs && o->runs[0].time <= b->limit) {
		err = deliver_run(o, b->limit);
		if (!err && o->consumer->brief)
			err = deliver_pair(o, b->limit);
		look_after_memory(o, b);
	}
	return err;
}

int order_deliver_all(struct order *o)
{
	struct batch *b;
	int err = 0;

	while (!err && (b = await_batch(o))) {
		err = deliver_batch(o, b);
		unmap_batch(o, o->held);
		give_back(o, o->held, err);
		o->held = b;
	}
	return err ? err : o->read_error;
}

void order_init(struct order *o, struct pd_file *f, const struct pd_consumer *c)
{
	memset(o, 0, sizeof(*o));
	o->file = f;
	o->consumer = c;
	o->keep = max(KEEP_LEAST, min(KEEP_MOST, f->data.size / PART));
	o->sample_type = f->events[0].attr.sample_type;
	pd_clear_sample(&o->sample);
	pthread_mutex_init(&o->lock, NULL);
	pthread_cond_init(&o->changed, NULL);
}

void order_free(struct order *o)
{
	if (o->is_short)
		pd_note(o->file, "record of type %u at offset %#llx is shorter than its event says", o->short_type,
			(unsigned long long)o->short_offset);
	free_batches(o->ready);
	free_batches(o->spare);
	free_batches(o->held);
	free(o->runs);
	pthread_mutex_destroy(&o->lock);
	pthread_cond_destroy(&o->changed);
}
