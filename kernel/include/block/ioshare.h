/* SPDX-License-Identifier: MIT
 *
 * A disk as a share of tenants: which of the waiting transfers goes next, when, and how many at once. Weights divide
 * what the disk can do, limits bound a tenant whatever the others do, a latency target makes looser neighbours step
 * back.
 *
 * The owner keeps a node for each tenant at each disk (parents before children) and puts each transfer into it by
 * io_submit. After that, after each io_done, and at io_wakeup's moment it takes what may go by io_next until that is
 * NULL. A transfer that went counts as in flight until io_done.
 *
 * Threading: the disk's lock around every call. Times are of one monotonic clock. Locks: none here.
 */
#ifndef BLOCK_IOSHARE_H
#define BLOCK_IOSHARE_H

#include <lib/list.h>
#include <lib/rbtree.h>
#include <lib/types.h>

#define IO_WEIGHT_DEFAULT 100
#define IO_NO_LIMIT       (~0ULL)

enum io_limit { IO_READ_BYTES, IO_WRITE_BYTES, IO_READ_OPS, IO_WRITE_OPS, IO_LIMITS };

struct io_limiter {
	u64 rate;    /* bytes or transfers a second, not 0 */
	u64 paid_ns; /* what went so far is paid for by then */
};

enum io_place { IO_EMPTY, IO_BACKLOG, IO_RESTING };

struct io_node { /* a tenant at a disk */
	struct io_node *parent;
	struct list children, sibling;
	u32 weight; /* 1 .. 10000, by io_set_weight */
	struct io_limiter limit[IO_LIMITS];
	u64 target_ns; /* of a transfer's time on average; 0: none. Single word */

	struct list items;       /* waiting, in order */
	unsigned own, in_flight; /* gone and not done: its own; here and below */
	unsigned depth;          /* most of in_flight, ~0: any. Set by a neighbour's latency */
	u64 squeezed_until_ns;
	u32 sum, active; /* weights and number of what is busy in it: children, and itself as one of weight 100 */
	u32 busy_weight; /* what it adds to its parent's sum while active */
	u64 start;       /* virtual time at which its first item begins */
	u64 finish;      /* and at which its last one ended */
	u64 had, clock;  /* virtual time that it has had; of its child that went last */
	u64 ready_ns;    /* RESTING: when its limits may let something go */
	u64 next_sector; /* a transfer there needs no seek */
	enum io_place place;
	struct rb_node rb; /* in backlog by start, or resting by ready_ns */
	u64 window_end_ns, latency_sum_ns;
	u32 latency_nr;
};

struct io_item { /* a transfer */
	struct list link;
	struct io_node *node;
	u64 sector, since_ns;
	u32 bytes;
	bool write;
	bool urgent; /* others may wait for it, whoever sent it: paid for, but not held back by limits */
};

struct io_queue { /* a disk */
	struct io_node root;
	struct rb_root backlog, resting;
	u64 vtime, last_finish;
	unsigned in_flight, depth; /* how many at once while tenants compete */
	unsigned competing;        /* nodes that have something waiting or in flight */
	u64 competed_until_ns;
	bool rotational;
	bool open; /* everything may go: the disk is going away */
};

void io_queue_init(struct io_queue *q, unsigned depth, bool rotational);
void io_node_init(struct io_node *n, struct io_node *parent);
void io_node_remove(struct io_node *n); /* nothing waits or is in flight in it, and it has no children */
void io_set_weight(struct io_node *n, u32 weight);
/* rate IO_NO_LIMIT: none. What waits is looked at anew: io_next follows. */
void io_set_limit(struct io_queue *q, struct io_node *n, enum io_limit l, u64 rate, u64 now_ns);

/* item: node, sector, bytes, write and urgent are set. */
void io_submit(struct io_queue *q, struct io_item *item, u64 now_ns);
bool io_would_wait(const struct io_queue *q, const struct io_item *item, u64 now_ns);
struct io_item *io_next(struct io_queue *q, u64 now_ns); /* now in flight; NULL: nothing may go */
void io_done(struct io_queue *q, struct io_item *item, u64 now_ns);
u64 io_wakeup(const struct io_queue *q); /* when io_next may have something without an io_done; ~0: never */

#endif
