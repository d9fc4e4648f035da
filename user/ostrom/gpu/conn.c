/* SPDX-License-Identifier: MIT
 *
 * Problem: processes and virtual machines speak different protocols, and what they ask for must wait, run, be answered
 * and be undone in one way.
 *
 * Idea: a connection is a queue of ops, filled by its front end (vtest.c, vm.c) with what it has admitted. Ops are wire
 * messages for the tenant's worker, or answers to the client. The device takes them in order, job by job; an answer is
 * due when the job is done that was sent last before it, so that an answer never holds up what comes behind it. One
 * that says only that work is over (`ahead`) passes what was created and destroyed before it and waits for company:
 * while nobody else is about. Else it waits for its tenant's turn with them, so that a client that waits for each frame
 * comes back no more often than its weight allows, also where it comes too late to be expected (sched.h).
 *
 *      front end: conn_enqueue -> ops -> (device.c) a job at the worker
 *                                     -> due, with the job's number -> job done -> front->answer
 *
 * A connection that ends leaves a queue that destroys all that it had, then goes.
 *
 * Contract: gpu.h. Locks: none; called from the broker's loop.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include "gpu.h"
#include "wire.h"

#define OPS_WORTH_A_JOB 64

/* ---- ops ---- */

struct op *op_new(enum op_kind kind, u32 bytes, int fd)
{
	struct op *op = calloc(1, sizeof(*op) + bytes);

	if (!op) {
		say_error("out of memory");
		exit(1);
	}
	op->kind = kind;
	op->bytes = bytes;
	op->fd = fd;
	list_init(&op->link);
	return op;
}

void op_free(struct op *op)
{
	if (op->fd >= 0)
		close(op->fd);
	free(op);
}

struct op *op_wire(enum op_kind kind, u32 type, u32 host_ctx, const void *payload, u32 bytes, int fd)
{
	struct wire_header h = { type, bytes, host_ctx, 0 };
	struct op *op = op_new(kind, sizeof(h) + bytes, fd);

	memcpy(op->data, &h, sizeof(h));
	if (bytes)
		memcpy(op->data + sizeof(h), payload, bytes);
	return op;
}

static void count(struct conn *c, const struct op *op, int by)
{
	c->nr_ops += by;
	c->op_bytes += by * (s64)op->bytes;
	c->nr_submits += op->kind == OP_SUBMIT ? by : 0;
	c->nr_work += op->kind == OP_WORK ? by : 0;
	c->nr_replies += op->kind == OP_REPLY ? by : 0;
}

/* The op behind which this one is queued; the list itself: nothing has to be before it. */
static struct list *place(struct conn *c, const struct op *op)
{
	struct list *at = c->ops.prev;

	while (op->ahead && at != &c->ops && list_entry(at, struct op, link)->kind == OP_WIRE)
		at = at->prev;
	return at;
}

static void add_due(struct conn *c, struct op *op)
{
	op->seq = c->last_job;
	c->nr_due++;
	list_add_tail(&op->link, &c->due);
}

void conn_enqueue(struct conn *c, struct op *op)
{
	struct list *at = place(c, op);

	if (op->kind == OP_REPLY && at == &c->ops) {
		if (c->jobs) {
			add_due(c, op);
			return;
		}
		c->front->answer(c, op);
		op_free(op);
		return;
	}
	list_add(&op->link, at);
	count(c, op, 1);
}

struct op *conn_pop(struct conn *c)
{
	struct op *op = list_first_entry(&c->ops, struct op, link);

	list_del(&op->link);
	count(c, op, -1);
	return op;
}

bool conn_runnable(const struct conn *c)
{
	/* Creation and destruction alone wait for company: nobody waits for them. */
	return !list_empty(&c->ops) &&
	       (c->nr_submits || c->nr_work || c->nr_replies || c->ended || c->nr_ops >= OPS_WORTH_A_JOB);
}

bool conn_busy(const struct conn *c)
{
	return c->jobs || c->nr_submits || c->nr_work;
}

ssize_t send_pieces(int sock, struct iovec *iov, u32 n, int fd)
{
	char control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct cmsghdr *c = (struct cmsghdr *)control;
	struct msghdr m = { .msg_iov = iov, .msg_iovlen = n };

	if (fd >= 0) {
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(int));
		m.msg_control = control;
		m.msg_controllen = sizeof(control);
	}
	return sendmsg(sock, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* ---- answers ---- */

void conn_pass_replies(struct conn *c)
{
	while (c->jobs && !list_empty(&c->ops) && list_first_entry(&c->ops, struct op, link)->kind == OP_REPLY)
		add_due(c, conn_pop(c));
}

void conn_progress(struct conn *c, u32 seq)
{
	while (!list_empty(&c->due)) {
		struct op *op = list_first_entry(&c->due, struct op, link);

		if ((s32)(op->seq - seq) > 0)
			break;
		list_del(&op->link);
		c->nr_due--;
		c->front->answer(c, op);
		op_free(op);
	}
	if (c->ended) {
		if (!c->jobs && list_empty(&c->ops))
			conn_free(c);
		return;
	}
	c->front->resume(c);
}

/* ---- life ---- */

int conn_ctx_create(struct conn *c, u32 id, struct vgpu_ctx **out)
{
	u32 host_id;
	int rc = vgpu_ids_take(&c->tenant->ctx_ids, &host_id);

	if (rc)
		return rc;
	rc = vgpu_ctx_create(&c->space, id, host_id, out);
	if (rc)
		vgpu_ids_drop(&c->tenant->ctx_ids, host_id);
	return rc;
}

void conn_init(struct conn *c, const struct front *front, struct tenant *t, int fd)
{
	c->front = front;
	c->watch = (struct watch){ .ready = front->ready, .fd = fd };
	c->tenant = t;
	list_init(&c->ops);
	list_init(&c->due);
	vgpu_space_init(&c->space, &t->account, &t->ids);
	list_add_tail(&c->link, &t->conns);
	t->clients++;
	watch_add(t->broker, &c->watch, t->ready ? EPOLLIN : 0);
}

static void drop_ops(struct conn *c)
{
	while (!list_empty(&c->ops))
		op_free(conn_pop(c));
	while (!list_empty(&c->due)) {
		struct op *op = list_first_entry(&c->due, struct op, link);

		list_del(&op->link);
		op_free(op);
	}
	c->nr_due = 0;
}

/* The worker ignores what it never heard of. */
static void say_destroy(struct conn *c)
{
	struct vgpu_slot *slot;
	struct vgpu_ctx *x;

	for (u32 at = 0; (slot = vgpu_map_next(&c->space.resources, &at));) {
		const struct vgpu_res *r = (struct vgpu_res *)(ulong)slot->value;

		conn_enqueue(c, op_wire(OP_WIRE, WIRE_RES_DESTROY, 0, &r->host_id, sizeof(r->host_id), -1));
	}
	list_for_each_entry (x, &c->space.contexts, link)
		conn_enqueue(c, op_wire(OP_WIRE, WIRE_CTX_DESTROY, x->host_id, NULL, 0, -1));
}

static void give_back(struct conn *c)
{
	struct vgpu_ctx *x;

	list_for_each_entry (x, &c->space.contexts, link)
		vgpu_ids_drop(&c->tenant->ctx_ids, x->host_id);
	vgpu_space_destroy(&c->space, NULL, NULL);
}

void conn_empty(struct conn *c)
{
	drop_ops(c);
	say_destroy(c);
	give_back(c); /* host ids are not used again before all others were, so the messages may wait in the queue */
	vgpu_space_init(&c->space, &c->tenant->account, &c->tenant->ids);
}

void conn_end(struct conn *c, const char *why)
{
	struct tenant *t = c->tenant;

	if (why && t->broker->verbose)
		say_error("tenant %s: client %s is sent away: %s", t->name, c->name, why);
	watch_close(t->broker, &c->watch);
	c->ended = true;
	drop_ops(c);
	c->front->end(c);
	if (t->ready)
		say_destroy(c); /* what it had stays charged until the worker has done that */
	else
		drop_ops(c);
	if (!c->jobs && list_empty(&c->ops))
		conn_free(c);
	else
		device_kick(t->broker);
}

void conn_free(struct conn *c)
{
	device_forget_conn(c);
	if (!c->ended) {
		watch_close(c->tenant->broker, &c->watch);
		c->front->end(c);
	}
	drop_ops(c);
	give_back(c);
	list_del(&c->link);
	c->front->free(c);
}
