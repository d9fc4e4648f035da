/* SPDX-License-Identifier: MIT
 *
 * Problem: a client's commands have an order (create, attach, draw, destroy) that must be kept, only some of them cost
 * the device's time, and the device is handed over between clients only where one of those ends.
 *
 * Idea: everything is a job of its client's queue. The scheduler of virt/vgpu/core picks a leaf, the leaf's clients
 *take turns, and a turn sends jobs up to the first timed one. The device is kept at most two turns deep, and two only
 *for one leaf that nobody else waits with: a second turn hides the round trip, a third would only make others wait.
 *
 *	client's queue --next--> sent, in order --done--> the owner's
 *	                <--reset--
 *
 * Contract: queue.h. Locks: none; the owner of the device serialises.
 */
#include <core/log.h>
#include <gpu/queue.h>
#include <lib/err.h>
#include <lib/string.h>

#define NEVER (~0ull)

void gpu_queue_init(struct gpu_queue *q, u64 hang_ns, u64 now)
{
	memset(q, 0, sizeof(*q));
	vgpu_sched_init(&q->sched, now);
	list_init(&q->sent);
	q->hang_ns = hang_ns;
	q->last_done_ns = now;
}

void gpu_queue_leaf_init(struct gpu_queue_leaf *l)
{
	memset(l, 0, sizeof(*l));
	list_init(&l->clients);
}

void gpu_queue_client_init(struct gpu_queue_client *c, struct gpu_queue_leaf *leaf)
{
	memset(c, 0, sizeof(*c));
	list_init(&c->jobs);
	c->leaf = leaf;
	list_add_tail(&c->link, &leaf->clients);
}

void gpu_queue_client_remove(struct gpu_queue_client *c)
{
	ensure(!c->queued && !c->sent);
	if (c->leaf->served == c)
		c->leaf->served = NULL;
	list_del(&c->link);
}

/* The client of l whose turn it is: the next one with jobs behind the one served last. */
static struct gpu_queue_client *next_client(const struct gpu_queue_leaf *l)
{
	struct gpu_queue_client *c, *first = NULL;
	bool passed = false;

	list_for_each_entry (c, &l->clients, link) {
		if (c->queued && passed)
			return c;
		if (c->queued && !first)
			first = c;
		passed |= c == l->served;
	}
	return first;
}

static void refresh(struct gpu_queue *q, struct gpu_queue_leaf *l, u64 now)
{
	if (next_client(l))
		vgpu_sched_queue(&q->sched, &l->entity, now);
	else
		vgpu_sched_unqueue(&q->sched, &l->entity);
}

void gpu_queue_push(struct gpu_queue *q, struct gpu_queue_client *c, struct gpu_queue_job *j, u64 now)
{
	j->client = c;
	list_add_tail(&j->link, &c->jobs);
	c->queued++;
	vgpu_sched_queue(&q->sched, &c->leaf->entity, now);
}

struct gpu_queue_job *gpu_queue_take(struct gpu_queue *q, struct gpu_queue_client *c)
{
	struct gpu_queue_job *j = list_first_or_null(&c->jobs, struct gpu_queue_job, link);

	ensure(q->open != c);
	if (!j)
		return NULL;
	list_del_init(&j->link);
	c->queued--;
	if (!next_client(c->leaf))
		vgpu_sched_unqueue(&q->sched, &c->leaf->entity);
	return j;
}

/* ---- to the device ---- */

static bool others_want(const struct gpu_queue *q)
{
	struct vgpu_entity *e;

	list_for_each_entry (e, &q->sched.entities, link)
		if (e != &q->at_device->entity && e->queued)
			return true;
	return false;
}

/* May a further turn begin? */
static bool has_room(const struct gpu_queue *q)
{
	if (!q->turns)
		return true;
	return q->turns < GPU_TURNS && q->at_device->entity.queued && !others_want(q);
}

static struct gpu_queue_client *begin_turn(struct gpu_queue *q, u64 now, u64 *retry_ns)
{
	struct vgpu_entity *e;
	struct gpu_queue_leaf *l;

	if (!has_room(q))
		return NULL;
	e = vgpu_sched_pick(&q->sched, now, retry_ns);
	if (!e)
		return NULL;
	l = container_of(e, struct gpu_queue_leaf, entity);
	l->served = next_client(l);
	ensure(l->served);
	q->at_device = l;
	q->turns++;
	q->turn_jobs = 0;
	return l->served;
}

struct gpu_queue_job *gpu_queue_next(struct gpu_queue *q, u64 now, u64 *retry_ns)
{
	struct gpu_queue_client *c;
	struct gpu_queue_job *j;

	*retry_ns = NEVER;
	c = q->open ? q->open : begin_turn(q, now, retry_ns);
	if (!c)
		return NULL;
	j = list_first_entry(&c->jobs, struct gpu_queue_job, link);
	list_move_tail(&j->link, &q->sent);
	c->queued--;
	c->sent++;
	j->sent_ns = now;
	j->last = j->timed || ++q->turn_jobs == GPU_TURN_JOBS || !c->queued;
	q->open = j->last ? NULL : c;
	if (j->last)
		refresh(q, c->leaf, now);
	return j;
}

/* ---- and back ---- */

u64 gpu_queue_done(struct gpu_queue *q, struct gpu_queue_job *j, u64 busy_ns, u64 done_ns, u64 now)
{
	u64 from = max(j->sent_ns, q->last_done_ns);

	ensure(list_first_or_null(&q->sent, struct gpu_queue_job, link) == j);
	list_del_init(&j->link);
	if (!busy_ns && done_ns > from)
		busy_ns = done_ns - from;
	q->last_done_ns = max(q->last_done_ns, done_ns);
	q->turn_busy_ns += busy_ns;
	j->client->sent--;
	j->client->done++;
	j->client->busy_ns += busy_ns;
	if (j->last) {
		vgpu_sched_charge(&q->sched, &j->client->leaf->entity, q->turn_busy_ns, now);
		q->turns--;
		q->turn_busy_ns = 0;
	}
	return busy_ns;
}

u64 gpu_queue_hang_at(const struct gpu_queue *q)
{
	const struct gpu_queue_job *j = list_first_or_null(&q->sent, struct gpu_queue_job, link);

	return j && q->hang_ns ? max(j->sent_ns, q->last_done_ns) + q->hang_ns : NEVER;
}

/* Charges every turn that is at the device; the first one, which is the guilty client's, with the time it took. */
static u64 end_turns(struct gpu_queue *q, u64 now)
{
	struct gpu_queue_job *j = list_first_entry(&q->sent, struct gpu_queue_job, link);
	u64 from = max(j->sent_ns, q->last_done_ns), busy = now > from ? now - from : 0, sum = q->turn_busy_ns + busy;

	for (; q->turns; q->turns--, sum = 0)
		vgpu_sched_charge(&q->sched, &q->at_device->entity, sum, now);
	q->turn_busy_ns = 0;
	q->open = NULL;
	q->last_done_ns = now;
	return busy;
}

u64 gpu_queue_reset(struct gpu_queue *q, struct gpu_queue_client *guilty, struct list *dropped, u64 now)
{
	u64 busy;

	if (list_empty(&q->sent))
		return 0;
	busy = end_turns(q, now);
	while (!list_empty(&q->sent)) {
		struct gpu_queue_job *j = list_last_entry(&q->sent, struct gpu_queue_job, link);
		struct gpu_queue_client *c = j->client;

		list_del(&j->link);
		c->sent--;
		if (c == guilty) {
			list_add(&j->link, dropped);
		} else {
			list_add(&j->link, &c->jobs);
			c->queued++;
		}
	}
	refresh(q, q->at_device, now);
	return busy;
}
