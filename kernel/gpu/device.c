/* SPDX-License-Identifier: MIT
 *
 * Problem: jobs end in interrupts, the next one must be chosen with tables that sleepers use, a device may hang, and
 * whoever waits for a job must be told in order although all of it happens at once.
 *
 * Idea: one work item a device, which never runs twice at a time. It takes finished jobs from the head of those at the
 * device, charges them, looks for a hang, sends what comes next, and, with the lock dropped, tells the ends. Requests
 * send at once if the device has room.
 *
 * A hang: the oldest job has been the device's only business for hang_ns. The device is reset, its client is lost, the
 * jobs of others go back to the heads of their queues. If the reset took all state along, resources are made again
 * with their memory and 2D contents sent once more; contexts are lost, for nobody has kept what was in them.
 *
 * Contract: gpu/gpu.h. Locks: dev->lock (RANK_DEVICE); job->over under over_lock (RANK_DRIVER), as interrupts set it.
 */
#include <alloc/slab.h>
#include <core/clock.h>
#include <core/log.h>
#include <core/random.h>
#include <core/trace.h>
#include <lib/err.h>
#include <lib/string.h>
#include "gpu_priv.h"

#define HANG_NS (2 * NSEC_PER_SEC)

struct mutex gpu_devices_lock = MUTEX_INIT(gpu_devices_lock, RANK_SUBSYS);
LIST(gpu_devices);
static LIST(fronts);
static u32 nr_devices;

/* ---- traces ---- */

static void trace_start(struct gpu_dev *d, const struct gpu_job *j)
{
	struct trace_gpu_job_start r = { .gpu = d->index,
					 .tenant = j->client->tenant->id,
					 .type = j->r.type,
					 .draws = j->stream.draws + j->stream.dispatches };

	str_copy(r.client, j->client->name, sizeof(r.client));
	trace_emit(TRACE_gpu_job_start, &r, sizeof(r));
}

static void trace_done(struct gpu_dev *d, const struct gpu_job *j, u64 busy_ns)
{
	struct trace_gpu_job_done r = {
		.gpu = d->index, .tenant = j->client->tenant->id, .type = j->r.type, .error = j->err, .busy_ns = busy_ns
	};

	str_copy(r.client, j->client->name, sizeof(r.client));
	trace_emit(TRACE_gpu_job_done, &r, sizeof(r));
}

static void trace_hang(struct gpu_dev *d, const struct gpu_client *c)
{
	struct trace_gpu_hang r = { .gpu = d->index, .tenant = c->tenant->id };

	str_copy(r.client, c->name, sizeof(r.client));
	trace_emit(TRACE_gpu_hang, &r, sizeof(r));
}

/* ---- jobs ---- */

static struct gpu_job *job_of(struct gpu_queue_job *q)
{
	return container_of(q, struct gpu_job, q);
}

void gpu_push(struct gpu_client *c, struct gpu_job *j)
{
	j->client = c;
	atomic_inc(&c->pending);
	gpu_queue_push(&c->dev->queue, &c->queue, &j->q, clock_ns());
}

void gpu_job_done(struct gpu_dev *d, struct gpu_job *j, int err, u64 busy_ns)
{
	ulong irq = spin_lock_irqsave(&d->over_lock);

	j->err = err;
	j->busy_ns = busy_ns;
	j->done_ns = clock_ns();
	j->over = true;
	spin_unlock_irqrestore(&d->over_lock, irq);
	work_queue(&d->work);
}

static bool is_over(struct gpu_dev *d, struct gpu_job *j)
{
	ulong irq = spin_lock_irqsave(&d->over_lock);
	bool over = j->over;

	spin_unlock_irqrestore(&d->over_lock, irq);
	return over;
}

void gpu_dispatch(struct gpu_dev *d)
{
	struct gpu_queue_job *q;
	u64 retry = ~0ull;
	int err;

	assert(mutex_is_held(&d->lock));
	if (d->dead) {
		work_queue(&d->work);
		return;
	}
	while ((q = gpu_queue_next(&d->queue, clock_ns(), &retry))) {
		struct gpu_job *j = job_of(q);

		j->over = false;
		if (trace_on(gpu_job_start))
			trace_start(d, j);
		err = d->ops->run(d, j);
		if (err)
			gpu_job_done(d, j, err, 0);
	}
	retry = min(retry, gpu_queue_hang_at(&d->queue));
	if (retry != ~0ull)
		timer_arm(&d->tick, retry, 0);
	gpu_pressure_update(d);
}

static void on_tick(struct timer *t)
{
	work_queue(&container_of(t, struct gpu_dev, tick)->work);
}

/* A job that frees something at the device: it runs even if its client is lost. */
static bool tears_down(const struct gpu_job *j)
{
	return j->embedded || j->r.type == VIRTIO_GPU_CMD_RESOURCE_DETACH_BACKING;
}

void gpu_drop_queued(struct gpu_client *c, int err, bool all, struct list *out)
{
	struct gpu_queue *q = &c->dev->queue;

	for (u32 n = c->queue.queued; n; n--) {
		struct gpu_job *j = job_of(gpu_queue_take(q, &c->queue));

		j->err = err;
		if (all || !tears_down(j))
			list_add_tail(&j->q.link, out);
		else
			gpu_queue_push(q, &c->queue, &j->q, clock_ns());
	}
}

/* ---- ends ---- */

static void reap(struct gpu_dev *d, struct list *out)
{
	struct gpu_queue_job *q;

	while ((q = list_first_or_null(&d->queue.sent, struct gpu_queue_job, link)) && is_over(d, job_of(q))) {
		struct gpu_job *j = job_of(q);
		u64 busy = gpu_queue_done(&d->queue, q, j->busy_ns, j->done_ns, clock_ns());

		gpu_node_account(d, j->client, busy);
		if (trace_on(gpu_job_done))
			trace_done(d, j, busy);
		d->jobs++;
		list_add_tail(&q->link, out);
	}
}

void gpu_tell(struct gpu_dev *d, struct list *jobs)
{
	while (!list_empty(jobs)) {
		struct gpu_job *j = list_first_entry(jobs, struct gpu_job, q.link);
		struct gpu_client *c = j->client;

		list_del(&j->q.link);
		if (j->release)
			j->release->release(j->release);
		if (j->done)
			j->done->fn(j->done, j->err);
		kfree(j->r.words);
		kfree(j);
		atomic_dec(&c->pending); /* c may be gone now */
		waitq_wake_all(&d->idle);
	}
}

/* ---- hangs ---- */

static void lose_client(struct gpu_client *c, bool all, struct list *out)
{
	c->lost = true;
	gpu_drop_queued(c, -EIO, all, out);
}

static struct gpu_job *remake(struct gpu_client *c, const struct vgpu_res *r, u32 type)
{
	struct gpu_job *j = kzalloc(sizeof(*j), ALLOC_KERNEL);

	if (!j) {
		c->lost = true;
		return NULL;
	}
	j->client = c;
	j->r = (struct vgpu_request){ .type = type, .resource = r->host_id, .create = r->args };
	j->r.box = (struct vgpu_box){ 0, 0, 0, r->args.width, r->args.height, 1 };
	return j;
}

/* The state of the device is gone: makes r again, before anything else of its client. */
static void remake_resource(struct gpu_client *c, struct vgpu_res *r, struct list *jobs)
{
	struct gpu_res *own = r->owner;
	bool is_3d = c->dev->has_3d;
	const u32 steps[] = { is_3d ? VIRTIO_GPU_CMD_RESOURCE_CREATE_3D : VIRTIO_GPU_CMD_RESOURCE_CREATE_2D,
			      VIRTIO_GPU_CMD_RESOURCE_ATTACH_BACKING, VIRTIO_GPU_CMD_TRANSFER_TO_HOST_2D };
	u32 n = !own->pages ? 1 : is_3d ? 2 : 3;

	for (u32 i = 0; i < n; i++) {
		struct gpu_job *j = remake(c, r, steps[i]);

		if (!j)
			return;
		j->pages = own->pages;
		list_add_tail(&j->q.link, jobs);
	}
}

static void remake_client(struct gpu_client *c)
{
	LIST(jobs);
	LIST(waiting);
	struct gpu_queue *q = &c->dev->queue;
	struct vgpu_slot *slot;
	struct vgpu_ctx *ctx;

	list_for_each_entry (ctx, &c->space.contexts, link)
		ctx->lost = true;
	for (u32 at = 0; (slot = vgpu_map_next(&c->space.resources, &at));)
		remake_resource(c, (struct vgpu_res *)(ulong)slot->value, &jobs);
	for (u32 n = c->queue.queued; n; n--)
		list_add_tail(&gpu_queue_take(q, &c->queue)->link, &waiting);
	while (!list_empty(&jobs)) {
		struct gpu_job *j = list_first_entry(&jobs, struct gpu_job, q.link);

		list_del(&j->q.link);
		gpu_push(c, j);
	}
	while (!list_empty(&waiting)) {
		struct gpu_queue_job *w = list_first_entry(&waiting, struct gpu_queue_job, link);

		list_del(&w->link);
		gpu_queue_push(q, &c->queue, w, clock_ns());
	}
}

static void recover(struct gpu_dev *d, int how, struct list *out)
{
	struct gpu_client *c;

	d->resets++;
	if (how < 0) {
		log_err("gpu%u: dead after a reset: %d", d->index, how);
		d->dead = true;
	}
	list_for_each_entry (c, &d->clients, link) {
		if (how < 0)
			lose_client(c, true, out);
		else if (how && !c->lost)
			remake_client(c);
	}
}

static void check_hang(struct gpu_dev *d, struct list *out)
{
	struct gpu_job *j;
	struct gpu_client *guilty;
	LIST(dropped);

	if (d->dead || gpu_queue_hang_at(&d->queue) > clock_ns())
		return;
	j = job_of(list_first_entry(&d->queue.sent, struct gpu_queue_job, link));
	guilty = j->client;
	log_warn("gpu%u: a job of %s took more than %llu ms: reset", d->index, guilty->name,
		 (unsigned long long)(d->queue.hang_ns / NSEC_PER_MSEC));
	d->hangs++;
	if (trace_on(gpu_hang))
		trace_hang(d, guilty);
	guilty->node->hangs++;
	{
		int how = d->ops->reset(d);

		gpu_node_account(d, guilty, gpu_queue_reset(&d->queue, &guilty->queue, &dropped, clock_ns()));
		list_for_each_entry (j, &dropped, q.link)
			j->err = -EIO;
		list_splice_tail_init(&dropped, out);
		lose_client(guilty, how != 0, out);
		recover(d, how, out);
	}
}

static void run_work(struct work *w)
{
	struct gpu_dev *d = container_of(w, struct gpu_dev, work);
	struct gpu_client *c;
	LIST(out);

	mutex_lock(&d->lock);
	reap(d, &out);
	check_hang(d, &out);
	if (d->dead) {
		list_for_each_entry (c, &d->clients, link)
			gpu_drop_queued(c, -EIO, true, &out);
		gpu_pressure_update(d);
	} else {
		gpu_dispatch(d);
	}
	mutex_unlock(&d->lock);
	gpu_tell(d, &out);
}

/* ---- devices ---- */

int gpu_register(struct gpu_dev *d)
{
	struct gpu_front *f;

	mutex_init(&d->lock, RANK_DEVICE);
	spin_init(&d->over_lock, RANK_DRIVER);
	waitq_init(&d->idle);
	list_init(&d->nodes);
	list_init(&d->clients);
	work_init(&d->work, run_work);
	timer_init(&d->tick, on_tick);
	vgpu_ids_init(&d->resource_ids, random_u64());
	vgpu_ids_init(&d->ctx_ids, random_u64());
	gpu_queue_init(&d->queue, d->hang_ns ? d->hang_ns : HANG_NS, clock_ns());
	if (!d->memory_bytes)
		d->memory_bytes = ~0ull;
	mutex_lock(&gpu_devices_lock);
	d->index = nr_devices++;
	list_add_tail(&d->link, &gpu_devices);
	list_for_each_entry (f, &fronts, link)
		f->added(d);
	mutex_unlock(&gpu_devices_lock);
	return 0;
}

void gpu_front_register(struct gpu_front *f)
{
	struct gpu_dev *d;

	mutex_lock(&gpu_devices_lock);
	list_add_tail(&f->link, &fronts);
	list_for_each_entry (d, &gpu_devices, link)
		f->added(d);
	mutex_unlock(&gpu_devices_lock);
}
