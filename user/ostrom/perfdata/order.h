/* SPDX-License-Identifier: MIT
 *
 * Records in the order of time: what reading (stream.c) hands to delivery (order.c), a round of the recorder at a time.
 * Reading runs in a thread of its own, delivery and the consumer in the caller's; a batch belongs to one of them.
 *
 *   reading:   order_next -> batch_add... -> order_next -> batch_add... -> order_end
 *   delivery:               order_deliver_all: waits for batches and delivers from them until reading ended
 */
#ifndef PERFDATA_ORDER_H
#define PERFDATA_ORDER_H

#include <pthread.h>
#include "perfdata_priv.h"

#define NO_EVENT 0xffff
#define IS_BRIEF 0x8000 /* beside the event */

struct entry {
	u64 time; /* 0: none, delivered before all others of the round */
	/* Its address (user addresses have 48 bits), above it a sample's event; NO_EVENT: another record; IS_BRIEF:
	 * there is no address, but a brief */
	u64 rec;
};

struct block { /* unpacked records */
	struct block *next;
	u8 bytes[];
};

struct batch { /* the records of one round */
	struct batch *next;
	struct entry *entries;   /* nr of room */
	struct pd_brief *briefs; /* beside the entries; NULL if the consumer takes none */
	u32 nr, room;
	u32 *runs; /* where ascending stretches begin, nr_runs of room_runs */
	u32 nr_runs, room_runs;
	u64 run_time; /* of the last entry; UINT64_MAX: the next one begins a run */
	bool has_briefs;
	u64 limit;            /* what is not newer can have no later predecessor and is due */
	struct block *blocks; /* whose last record is of this round */
	const u8 *from, *to;  /* of the file */
};

struct order {
	struct pd_file *file;
	const struct pd_consumer *consumer;
	u64 keep; /* bytes of the file that may stay mapped behind reading */

	pthread_mutex_t lock; /* of the next five */
	pthread_cond_t changed;
	struct batch *ready, *spare; /* ready: oldest first */
	u64 ready_batches, ready_entries;
	bool has_ended, has_stopped; /* reading; delivery */
	int read_error;

	struct batch *held; /* delivery's own from here on: the last batch, part of which may not be due */
	struct run *runs;   /* nr_runs of room_runs, a heap by the time of their first entries */
	u32 nr_runs, room_runs, next_run;
	u64 delivered;           /* bytes since pages were given back */
	struct pd_sample sample; /* that was delivered last */
	u64 sample_type;         /* its event's */
	bool is_short;           /* a record was shorter than its event says: its type, and where it was */
	u32 short_type;
	u64 short_offset;
};

void order_init(struct order *o, struct pd_file *f, const struct pd_consumer *c);
void order_free(struct order *o);
/* Hands a batch over (NULL: there is none yet) for an empty one. NULL if there is no memory, or nobody wants more: then
 * the batch is not handed over. */
struct batch *order_next(struct order *o, struct batch *full);
void order_end(struct order *o, struct batch *last,
	       int error);              /* the last one is delivered whole, or with an error not */
int order_deliver_all(struct order *o); /* 0, reading's error, or what the consumer returned */
/* Without order, from the caller's thread. e: of a sample, else NULL. */
int order_deliver_now(struct order *o, const u8 *rec, struct pd_event *e);

static inline struct entry record_entry(u64 time, const u8 *rec, u64 event)
{
	return (struct entry){ time, (uintptr_t)rec | event << 48 };
}

static inline struct entry brief_entry(u64 time, const struct pd_event *e)
{
	return (struct entry){ time, (u64)(e->index | IS_BRIEF) << 48 };
}

int batch_add_slowly(struct batch *b, struct entry e);
int batch_add_brief(struct batch *b, u64 time, const struct pd_event *e, const u8 *rec);
static inline int batch_add(struct batch *b, u64 time, const u8 *rec, u64 event)
{
	struct entry e = record_entry(time, rec, event);

	if (time < b->run_time || b->nr == b->room)
		return batch_add_slowly(b, e);
	b->run_time = time;
	b->entries[b->nr++] = e;
	return 0;
}

/* Gives pages of the file back that will hardly be read again; if they are, they come from the page cache. */
void order_unmap(const struct order *o, const u8 *from, const u8 *to);

#endif
