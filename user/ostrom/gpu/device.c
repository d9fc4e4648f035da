/* SPDX-License-Identifier: MIT
 *
 * Problem: the GPU belongs to all tenants and to one at a time; nothing on it can be interrupted, and a worker could
 * lie about how long it took.
 *
 * Idea: jobs are sent to workers one by one, chosen by the core's scheduler, and charged by this process's clock from
 * the moment the GPU was free and the job was there until the answer (in software rendering less what the worker waited
 * for a processor, meter.c). While nobody else has used the GPU lately a second job of the same tenant is sent ahead,
 * so that the GPU does not idle between two of one tenant's. While others are about, a long submission is cut at draws
 * into pieces of about `quantum_ns` by what a draw of this tenant took lately. A job over `hang_ns` ends its tenant's
 * worker, and only it.
 *
 * The scheduler's time is the device's: while the device works it is what is charged, and while it idles it runs as
 * fast as it lately did. So guarantees and caps are parts of what the device can do, also where the machine gives it
 * only half of its processors, and a pause of a client and a job of it are measured alike.
 *
 * States of a job: queued at its connection; sent (jobs[0] running, jobs[1] prefetched); done or forgotten.
 *
 * Contract: gpu.h. Locks: none; called from the broker's loop.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "gpu.h"
#include "virt/vgpu/virgl.h"
#include "wire.h"

#define OPS_A_JOB 256

/* ---- the device's clock ---- */

u64 device_now(struct broker *b)
{
	u64 since = (double)(now_ns() - b->clock_at_ns) * b->part / VGPU_ONE;

	b->clock_last_ns = max(b->clock_last_ns, b->clock_ns + since);
	return b->clock_last_ns;
}

/* A job begins, or ended with this much charged. */
static void clock_begin(struct broker *b)
{
	b->clock_ns = device_now(b);
	b->clock_at_ns = now_ns();
}

static void clock_end(struct broker *b, u64 busy_ns, u64 now)
{
	b->clock_ns += busy_ns;
	b->clock_at_ns = now;
	b->clock_last_ns = max(b->clock_last_ns, b->clock_ns);
}

/* ---- from a connection's queue to the worker ---- */

/* Whether somebody else may want the GPU before a long submission would be over: it wants it now, or did lately. */
bool device_shared(struct tenant *self)
{
	struct tenant *t;
	u64 now = device_now(self->broker);

	list_for_each_entry (t, &self->broker->tenants, link)
		if (t != self && (t->entity.queued || (t->entity.jobs && now < t->entity.idle_since_ns + NSEC_PER_SEC)))
			return true;
	return false;
}

/* How many draws of this tenant fit the quantum. */
static u32 draws_allowed(struct tenant *t)
{
	if (!t->work_ns || !device_shared(t))
		return ~0u;
	return max((u32)min(t->broker->quantum_ns / t->work_ns, (u64)~0u), 1u);
}

/* Sends the first `cut` of the words that are left of a submission, as a message of its own. */
static void send_copy(struct tenant *t, const struct op *op, const u32 *words, u32 cut)
{
	struct wire_header h;
	struct op *piece = op_new(OP_WIRE, sizeof(h) + cut * 4, -1);

	memcpy(&h, op->data, sizeof(h));
	h.bytes = cut * 4;
	memcpy(piece->data, &h, sizeof(h));
	memcpy(piece->data + sizeof(h), words, h.bytes);
	tenant_send(t, piece);
}

/* Sends the submission at the head of c's queue, or a piece of it; returns the draws sent. */
static u32 send_submission(struct conn *c, struct op *op)
{
	struct tenant *t = c->tenant;
	u32 *words = (u32 *)(op->data + sizeof(struct wire_header)) + op->start;
	u32 n = (op->bytes - sizeof(struct wire_header)) / 4 - op->start;
	u32 draws = min(draws_allowed(t), op->work), work = op->work;
	u32 cut = op->work > draws ? vgpu_virgl_cut(words, n, draws) : n;

	if (cut < n) {
		send_copy(t, op, words, cut);
		op->start += cut;
		op->work -= draws;
		return draws;
	}
	conn_pop(c);
	t->frames++;
	if (op->start) {
		send_copy(t, op, words, n);
		op_free(op);
	} else {
		tenant_send(t, op);
	}
	return work;
}

/* Sends one job of c: its commands up to and with one submission. Returns whether the GPU has work by it. */
static bool send_ops(struct conn *c, u32 *work)
{
	bool gpu = false;

	for (u32 n = 0; n < OPS_A_JOB && !list_empty(&c->ops); n++) {
		struct op *op = list_first_entry(&c->ops, struct op, link);

		if (op->kind == OP_SUBMIT) {
			*work += send_submission(c, op);
			return true;
		}
		gpu |= op->kind == OP_WORK;
		conn_pop(c);
		tenant_send(c->tenant, op);
		conn_pass_replies(c);
	}
	return gpu;
}

static struct conn *next_conn(struct tenant *t)
{
	struct conn *c, *first = NULL, *after = NULL;
	bool passed = false;

	list_for_each_entry (c, &t->conns, link) {
		if (conn_runnable(c)) {
			first = first ? first : c;
			if (passed && !after)
				after = c;
		}
		passed |= c == t->last_served;
	}
	return after ? after : first;
}

static bool runnable(struct tenant *t)
{
	return t->ready && next_conn(t);
}

static void dispatch(struct broker *b, struct tenant *t)
{
	struct job *j = &b->jobs[b->nr_jobs];
	struct conn *c = next_conn(t);
	struct wire_header end = { WIRE_END, 0, 0, ++b->seq };
	struct op *op = op_new(OP_WIRE, sizeof(end), -1);

	ensure(c);
	*j = (struct job){ .tenant = t, .conn = c, .seq = b->seq, .sent_ns = now_ns() };
	if (!b->nr_jobs)
		clock_begin(b);
	c->jobs++;
	c->last_job = b->seq;
	end.ctx = send_ops(c, &j->work) ? WIRE_END_GPU : 0;
	memcpy(op->data, &end, sizeof(end));
	conn_pass_replies(c);
	b->nr_jobs++;
	t->last_served = c;
	tenant_send(t, op);
	tenant_flush(t);
	if (!runnable(t))
		vgpu_sched_unqueue(&b->sched, &t->entity);
}

/* Tells the scheduler who wants the GPU now. */
static void refresh(struct broker *b, u64 now)
{
	struct tenant *t;

	list_for_each_entry (t, &b->tenants, link) {
		if (runnable(t))
			vgpu_sched_queue(&b->sched, &t->entity, now);
		else
			vgpu_sched_unqueue(&b->sched, &t->entity);
	}
}

void device_kick(struct broker *b)
{
	u64 now = device_now(b), retry = ~0ull;

	refresh(b, now);
	while (b->nr_jobs < JOBS_MAX) {
		struct vgpu_entity *e;

		/* A second job goes ahead only if it is of the same tenant and nobody else will wait for it. */
		if (b->nr_jobs && (!b->jobs[0].tenant->entity.queued || device_shared(b->jobs[0].tenant)))
			break;
		e = vgpu_sched_pick(&b->sched, now, &retry);
		if (!e)
			break;
		dispatch(b, container_of(e, struct tenant, entity));
	}
	b->retry_ns = retry == ~0ull ? retry : now_ns() + (u64)((double)(retry - now) * VGPU_ONE / b->part);
}

/* ---- ends ---- */

static void charge(struct broker *b, struct job *j)
{
	u64 now = now_ns(), from = max(j->sent_ns, b->last_done_ns), busy = now > from ? now - from : 0;
	struct tenant *t = j->tenant;

	if (!b->render_node) {
		busy = meter_busy(&t->meter, t->pid, busy);
		b->part = ((u64)b->part * 31 + t->meter.part) / 32;
	}
	clock_end(b, busy, now);
	b->last_done_ns = now;
	vgpu_sched_charge(&b->sched, &t->entity, busy, b->clock_last_ns);
	if (j->work) {
		u64 each = busy / j->work;

		t->work_ns = t->work_ns ? (t->work_ns * 7 + each) / 8 : max(each, (u64)1);
	}
}

static void remove_job(struct broker *b, u32 i)
{
	b->nr_jobs--;
	memmove(&b->jobs[i], &b->jobs[i + 1], (b->nr_jobs - i) * sizeof(*b->jobs));
}

void device_done(struct tenant *t, u32 seq)
{
	struct broker *b = t->broker;
	struct conn *c;

	/* Only the oldest job can end, and only its own worker can end it. */
	if (!b->nr_jobs || b->jobs[0].tenant != t || b->jobs[0].seq != seq)
		return;
	charge(b, &b->jobs[0]);
	c = b->jobs[0].conn;
	remove_job(b, 0);
	if (c) {
		c->jobs--;
		conn_progress(c, seq);
	}
	device_kick(b);
}

void device_forget(struct tenant *t)
{
	struct broker *b = t->broker;

	for (u32 i = 0; i < b->nr_jobs;) {
		if (b->jobs[i].tenant == t) {
			charge(b, &b->jobs[i]);
			if (b->jobs[i].conn)
				b->jobs[i].conn->jobs--;
			remove_job(b, i);
		} else {
			i++;
		}
	}
}

void device_forget_conn(struct conn *c)
{
	struct broker *b = c->tenant->broker;

	for (u32 i = 0; i < b->nr_jobs; i++)
		if (b->jobs[i].conn == c)
			b->jobs[i].conn = NULL;
	if (c->tenant->last_served == c)
		c->tenant->last_served = NULL;
}

static u64 hang_end(const struct broker *b)
{
	return max(b->jobs[0].sent_ns, b->last_done_ns) + b->hang_ns;
}

u64 device_check(struct broker *b)
{
	u64 now = now_ns();

	if (b->nr_jobs && now >= hang_end(b))
		tenant_reset(b->jobs[0].tenant, "a submission took too long");
	if (b->retry_ns <= now)
		device_kick(b);
	return b->nr_jobs ? min(hang_end(b), b->retry_ns) : b->retry_ns;
}
