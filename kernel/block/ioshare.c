/* SPDX-License-Identifier: MIT
 *
 * Problem: many tenants send transfers to one disk, which serves them as they come: who sends most gets most, and what
 * waits inside the device can no longer be reordered.
 *
 * Idea: start-time fair queueing with a bounded depth. Each transfer has a price (a fixed part, a seek on rotating
 * disks, and its bytes); a node's virtual time runs by the price over its part of the whole, and the node that is
 * furthest behind goes next. A part is the weight over the sum of the busy siblings', level by level, the same law as
 * for the CPU (task/sched_tenant.c). Only while two or more compete is the number in flight bounded, so that the order
 * is ours and not the device's; alone a tenant fills the device as it likes.
 *
 *      start = max(vtime, finish)      finish = start + price / part      vtime = start of what went last
 *
 * A limit is one moment: until when what went is paid for (a leaky bucket). A transfer may go once that has come; then
 * it moves on by amount / rate. So a limit holds over any time but for one transfer and BURST_NS. A node whose limits,
 * or those above it, let nothing go rests in a second tree, by the moment.
 *
 * A latency target is judged in windows: on average missed, siblings with a looser one or none may have half as many in
 * flight as before, down to one; met, a quarter more. Without word from the judge that is over after a second.
 *
 * Contract: block/ioshare.h. Source of what limits, weights and targets mean: Linux, cgroup-v2.rst, "IO".
 *
 * Locks: the caller's.
 */
#include <block/ioshare.h>

#define PART_SHIFT    20
#define BURST_NS      (20 * NSEC_PER_MSEC) /* what a limit forgives: late timers, and a little idleness */
#define COMPETE_NS    (100 * NSEC_PER_MSEC)
#define WINDOW_NS     (100 * NSEC_PER_MSEC)
#define SQUEEZE_NS    NSEC_PER_SEC
#define BASE_NS       2000 /* a flash device of 100,000 small transfers a second and 500 MB/s ... */
#define KIB_NS        2048
#define DISK_SEEK_NS  (8 * NSEC_PER_MSEC) /* ... and a disk of 150 MB/s */
#define DISK_KIB_NS   6800
#define PRICE_MOST_NS (10 * NSEC_PER_SEC)

void io_node_init(struct io_node *n, struct io_node *parent)
{
	*n = (struct io_node){ .parent = parent, .weight = IO_WEIGHT_DEFAULT, .depth = ~0U };
	for (unsigned l = 0; l < IO_LIMITS; l++)
		n->limit[l].rate = IO_NO_LIMIT;
	list_init(&n->children);
	list_init(&n->items);
	list_init(&n->sibling);
	if (parent)
		list_add_tail(&n->sibling, &parent->children);
}

void io_node_remove(struct io_node *n)
{
	list_del_init(&n->sibling);
}

void io_queue_init(struct io_queue *q, unsigned depth, bool rotational)
{
	*q = (struct io_queue){ .depth = max(depth, 1U), .rotational = rotational };
	io_node_init(&q->root, NULL);
}

/* ---- parts ------------------------------------------------------------------------------------------------------ */

static bool is_busy(const struct io_node *n)
{
	return n->own || !list_empty(&n->items);
}

static void weigh_in(struct io_queue *q, struct io_node *n)
{
	u32 weight = IO_WEIGHT_DEFAULT;

	q->competing++;
	if (n->parent)
		n->had = max(n->had, n->parent->clock);
	for (; n; n = n->parent) {
		n->sum += weight;
		if (n->active++)
			return;
		weight = n->busy_weight = n->weight;
	}
}

static void weigh_out(struct io_queue *q, struct io_node *n)
{
	u32 weight = IO_WEIGHT_DEFAULT;

	q->competing--;
	for (; n; n = n->parent) {
		n->sum -= weight;
		if (--n->active)
			return;
		weight = n->busy_weight;
	}
}

void io_set_weight(struct io_node *n, u32 weight)
{
	if (n->active && n->parent)
		n->parent->sum += weight - n->busy_weight;
	n->weight = n->busy_weight = weight;
}

static u64 part_of(const struct io_node *n)
{
	u64 part = ((u64)IO_WEIGHT_DEFAULT << PART_SHIFT) / n->sum;

	for (; n->parent; n = n->parent)
		part = part * n->busy_weight / n->parent->sum;
	return max(part, 1ULL);
}

static u64 price(const struct io_queue *q, const struct io_node *n, const struct io_item *i)
{
	u64 ns = (u64)i->bytes * (q->rotational ? DISK_KIB_NS : KIB_NS) / 1024 + BASE_NS;

	if (q->rotational && i->sector != n->next_sector)
		ns += DISK_SEEK_NS;
	return min(ns, PRICE_MOST_NS);
}

/* ---- places ------------------------------------------------------------------------------------------------------ */

static struct rb_root *tree_of(struct io_queue *q, const struct io_node *n)
{
	return n->place == IO_BACKLOG ? &q->backlog : &q->resting;
}

/* Those who rest until the same moment, for a limit above them, go by what they have had. */
static bool is_before(const struct io_node *a, const struct io_node *b)
{
	if (a->place == IO_BACKLOG)
		return (s64)(a->start - b->start) < 0;
	return a->ready_ns != b->ready_ns ? a->ready_ns < b->ready_ns : (s64)(a->had - b->had) < 0;
}

static void put(struct io_queue *q, struct io_node *n, enum io_place place)
{
	struct rb_node **link, *parent = NULL;

	n->place = place;
	link = &tree_of(q, n)->node;
	while (*link) {
		parent = *link;
		link = is_before(n, rb_entry(parent, struct io_node, rb)) ? &parent->left : &parent->right;
	}
	rb_insert(tree_of(q, n), &n->rb, parent, link);
}

static void take(struct io_queue *q, struct io_node *n)
{
	rb_erase(tree_of(q, n), &n->rb);
	n->place = IO_EMPTY;
}

static void compete(struct io_queue *q, struct io_node *n)
{
	n->start = max(q->vtime, n->finish);
	put(q, n, IO_BACKLOG);
}

/* ---- limits -------------------------------------------------------------------------------------------------------
 */

static struct io_limiter *bytes_limit(struct io_node *n, const struct io_item *i)
{
	return &n->limit[i->write ? IO_WRITE_BYTES : IO_READ_BYTES];
}

static struct io_limiter *ops_limit(struct io_node *n, const struct io_item *i)
{
	return &n->limit[i->write ? IO_WRITE_OPS : IO_READ_OPS];
}

/* When the limits of n and of all above it let a transfer like this go; 0: at once. */
static u64 ready_at(struct io_node *n, const struct io_item *i)
{
	u64 ready = 0;

	if (i->urgent)
		return 0;
	for (; n; n = n->parent) {
		if (bytes_limit(n, i)->rate != IO_NO_LIMIT)
			ready = max(ready, bytes_limit(n, i)->paid_ns);
		if (ops_limit(n, i)->rate != IO_NO_LIMIT)
			ready = max(ready, ops_limit(n, i)->paid_ns);
	}
	return ready;
}

static void pay(struct io_limiter *l, u64 amount, u64 now)
{
	if (l->rate == IO_NO_LIMIT)
		return;
	l->paid_ns = max(l->paid_ns, now > BURST_NS ? now - BURST_NS : 0) + amount * NSEC_PER_SEC / l->rate;
}

void io_set_limit(struct io_queue *q, struct io_node *n, enum io_limit l, u64 rate, u64 now)
{
	struct rb_node *rest;

	n->limit[l] = (struct io_limiter){ .rate = rate, .paid_ns = now };
	while ((rest = rb_first(&q->resting))) {
		take(q, rb_entry(rest, struct io_node, rb));
		compete(q, rb_entry(rest, struct io_node, rb));
	}
}

/* ---- latency ------------------------------------------------------------------------------------------------------
 */

static bool is_looser(const struct io_node *s, const struct io_node *n)
{
	return s != n && (!s->target_ns || s->target_ns > n->target_ns);
}

static void squeeze(const struct io_queue *q, struct io_node *s, u64 now)
{
	unsigned had = min(s->depth, max(s->in_flight, q->depth));

	s->depth = max(had / 2, 1U);
	s->squeezed_until_ns = now + SQUEEZE_NS;
}

static void relax(const struct io_queue *q, struct io_node *s, u64 now)
{
	if (s->depth == ~0U)
		return;
	s->depth += max(s->depth / 4, 1U);
	s->squeezed_until_ns = now + SQUEEZE_NS;
	if (s->depth > 2 * q->depth)
		s->depth = ~0U;
}

static void judge(const struct io_queue *q, struct io_node *n, u64 now)
{
	bool missed = n->latency_sum_ns > n->latency_nr * n->target_ns;
	struct io_node *s;

	list_for_each_entry (s, &n->parent->children, sibling)
		if (is_looser(s, n) && missed)
			squeeze(q, s, now);
		else if (is_looser(s, n))
			relax(q, s, now);
	n->latency_sum_ns = n->latency_nr = 0;
	n->window_end_ns = now + WINDOW_NS;
}

static void note_latency(const struct io_queue *q, struct io_node *n, u64 took, u64 now)
{
	for (; n->parent; n = n->parent) {
		if (!n->target_ns)
			continue;
		n->latency_sum_ns += took;
		n->latency_nr++;
		if (now >= n->window_end_ns)
			judge(q, n, now);
	}
}

/* As many as a neighbour's target allows are in flight. */
static bool is_squeezed(const struct io_node *n, u64 now)
{
	for (; n; n = n->parent)
		if (n->in_flight >= n->depth && now < n->squeezed_until_ns)
			return true;
	return false;
}

/* ---- transfers -----------------------------------------------------------------------------------------------------
 */

static bool is_full(const struct io_queue *q, u64 now)
{
	return q->in_flight >= q->depth && now < q->competed_until_ns;
}

void io_submit(struct io_queue *q, struct io_item *item, u64 now)
{
	struct io_node *n = item->node;

	item->since_ns = now;
	if (!is_busy(n))
		weigh_in(q, n);
	if (q->competing > 1)
		q->competed_until_ns = now + COMPETE_NS;
	if (item->urgent)
		list_add(&item->link, &n->items);
	else
		list_add_tail(&item->link, &n->items);
	if (n->place == IO_RESTING && item->urgent)
		take(q, n);
	if (n->place == IO_EMPTY)
		compete(q, n);
}

bool io_would_wait(const struct io_queue *q, const struct io_item *item, u64 now)
{
	return !item->urgent && (!list_empty(&item->node->items) || is_full(q, now) || is_squeezed(item->node, now) ||
				 ready_at(item->node, item) > now);
}

static struct io_item *go(struct io_queue *q, struct io_node *n, u64 now)
{
	struct io_item *i = list_first_entry(&n->items, struct io_item, link);
	u64 cost = (price(q, n, i) << PART_SHIFT) / part_of(n);

	take(q, n);
	list_del_init(&i->link);
	n->own++;
	q->in_flight++;
	q->vtime = max(q->vtime, n->start);
	n->finish = n->start + cost;
	q->last_finish = max(q->last_finish, n->finish);
	if (n->parent)
		n->parent->clock = max(n->parent->clock, n->had);
	n->had += cost;
	n->next_sector = i->sector + i->bytes / 512;
	for (struct io_node *a = n; a; a = a->parent) {
		a->in_flight++;
		pay(bytes_limit(a, i), i->bytes, now);
		pay(ops_limit(a, i), 1, now);
	}
	if (!list_empty(&n->items)) {
		n->start = n->finish;
		put(q, n, IO_BACKLOG);
	}
	return i;
}

static void wake_rested(struct io_queue *q, u64 now)
{
	struct rb_node *first;

	while ((first = rb_first(&q->resting)) && rb_entry(first, struct io_node, rb)->ready_ns <= now) {
		take(q, rb_entry(first, struct io_node, rb));
		compete(q, rb_entry(first, struct io_node, rb));
	}
}

struct io_item *io_next(struct io_queue *q, u64 now)
{
	struct rb_node *at, *next;

	wake_rested(q, q->open ? ~0ULL : now);
	for (at = rb_first(&q->backlog); at; at = next) {
		struct io_node *n = rb_entry(at, struct io_node, rb);
		const struct io_item *i = list_first_entry(&n->items, struct io_item, link);
		u64 ready = ready_at(n, i);

		next = rb_next(at);
		if (q->open || i->urgent || (ready <= now && !is_full(q, now) && !is_squeezed(n, now)))
			return go(q, n, now);
		if (ready > now) {
			take(q, n);
			n->ready_ns = ready;
			put(q, n, IO_RESTING);
		}
	}
	return NULL;
}

void io_done(struct io_queue *q, struct io_item *item, u64 now)
{
	struct io_node *n = item->node;

	n->own--;
	for (struct io_node *a = n; a; a = a->parent)
		a->in_flight--;
	if (!--q->in_flight && !rb_first(&q->backlog))
		q->vtime = max(q->vtime, q->last_finish); /* nobody is behind: all begin level */
	note_latency(q, n, now - item->since_ns, now);
	if (!is_busy(n))
		weigh_out(q, n);
}

u64 io_wakeup(const struct io_queue *q)
{
	struct rb_node *first = rb_first(&q->resting);

	return first ? rb_entry(first, struct io_node, rb)->ready_ns : ~0ULL;
}
