/* SPDX-License-Identifier: MIT
 *
 * Problem: a request of a client names what the client knows by its own ids, asks for memory that somebody must pay,
 * and is carried out much later.
 *
 * Idea: everything that can be refused is refused here, against tables that say what will be true when the job's turn
 * comes: ids are taken and given back and memory is charged at once, while the device follows in the same order. A
 * table from request type to a function that admits it and fills the job.
 *
 * A long stream is cut at draws into jobs of PIECE_WORK, so that other clients get a turn in between.
 *
 * Contract: gpu_request of gpu/gpu.h. Locks: dev->lock.
 */
#include <alloc/slab.h>
#include <core/clock.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/string.h>
#include "gpu_priv.h"

#define PIECE_WORK  64   /* draws, dispatches and transfers of one job */
#define MAX_PENDING 4096 /* requests of one client that are not told yet */

/* What an admission works on. */
struct order {
	struct gpu_client *c;
	struct vgpu_request *r; /* the job's: ids become the host's */
	struct gpu_pages *pages;
	struct gpu_job *job; /* allocated; may be replaced by an embedded one */
};

void gpu_job_destroy_resource(struct gpu_job *j, u32 host_id, struct gpu_pages *release)
{
	memset(j, 0, sizeof(*j));
	j->r.type = VIRTIO_GPU_CMD_RESOURCE_UNREF;
	j->r.resource = host_id;
	j->release = release;
	j->embedded = true;
}

void gpu_job_destroy_context(struct gpu_job *j, u32 host_id)
{
	memset(j, 0, sizeof(*j));
	j->r.type = VIRTIO_GPU_CMD_CTX_DESTROY;
	j->r.ctx = host_id;
	j->embedded = true;
}

/* The resource that the request names, with its id made the host's; NULL: none such. */
static struct vgpu_res *resource_of(struct order *o)
{
	struct vgpu_res *res = vgpu_res_find(&o->c->space, o->r->resource);

	if (res)
		o->r->resource = res->host_id;
	return res;
}

static struct vgpu_ctx *context_of(struct order *o)
{
	struct vgpu_ctx *ctx = vgpu_ctx_find(&o->c->space, o->r->ctx);

	if (ctx)
		o->r->ctx = ctx->host_id;
	return ctx;
}

/* ---- resources ---- */

static int create_resource(struct order *o)
{
	struct gpu_res *own = kzalloc(sizeof(*own), ALLOC_KERNEL);
	struct vgpu_res *res;
	int err;

	if (!own)
		return -ENOMEM;
	err = vgpu_res_create(&o->c->space, o->r->resource, &o->r->create, 0, &res);
	if (err) {
		kfree(own);
		return err;
	}
	res->owner = own;
	o->r->resource = res->host_id;
	return 0;
}

static int destroy_resource(struct order *o)
{
	struct vgpu_res *res = resource_of(o);
	struct gpu_res *own;

	if (!res)
		return -ENOENT;
	own = res->owner;
	vgpu_res_destroy(&o->c->space, res);
	gpu_job_destroy_resource(&own->destroy, o->r->resource, own->pages);
	kfree(o->job);
	o->job = &own->destroy;
	return 0;
}

static int attach_backing(struct order *o)
{
	struct vgpu_res *res = resource_of(o);
	struct gpu_res *own;
	int err;

	if (!res)
		return -ENOENT;
	own = res->owner;
	if (!o->pages || own->pages)
		return fail(EINVAL, "resource %u has memory", res->id);
	if (o->pages->nr > VGPU_BACKING_MAX)
		return fail(E2BIG, "memory in %u pieces", o->pages->nr);
	err = vgpu_res_set_backing(&o->c->space, res, o->pages->bytes);
	if (err)
		return err;
	own->pages = o->pages;
	o->job->pages = o->pages;
	return 0;
}

static int detach_backing(struct order *o)
{
	struct vgpu_res *res = resource_of(o);
	struct gpu_res *own;

	if (!res)
		return -ENOENT;
	own = res->owner;
	if (!own->pages)
		return fail(EINVAL, "resource %u has no memory", res->id);
	ensure(!vgpu_res_set_backing(&o->c->space, res, 0));
	o->job->release = own->pages;
	own->pages = NULL;
	return 0;
}

/* Rows of a 2D transfer, four bytes a texel, must lie in the backing. */
static int check_2d_rows(const struct vgpu_res *res, const struct vgpu_request *r)
{
	u64 stride = (u64)res->args.width * 4, bytes = res->backing;
	u64 need = r->box.h ? (u64)(r->box.h - 1) * stride + (u64)r->box.w * 4 : 0;

	return r->offset > bytes || need > bytes - r->offset ? fail(EINVAL, "transfer beyond the memory") : 0;
}

static int transfer(struct order *o)
{
	struct vgpu_res *res = resource_of(o);
	struct vgpu_ctx *ctx;
	int err;

	if (!res)
		return -ENOENT;
	err = vgpu_res_check_box(&res->args, o->r->level, &o->r->box);
	if (err)
		return err;
	if (!((struct gpu_res *)res->owner)->pages)
		return fail(EINVAL, "resource %u has no memory", res->id);
	if (o->r->type == VIRTIO_GPU_CMD_TRANSFER_TO_HOST_2D)
		return check_2d_rows(res, o->r);
	if (!o->r->ctx)
		return 0;
	ctx = context_of(o);
	if (!ctx)
		return -ENOENT;
	return vgpu_map_get(&ctx->attached, res->id) ? 0 : fail(ENOENT, "resource %u is not attached", res->id);
}

/* ---- contexts ---- */

static int create_context(struct order *o)
{
	struct gpu_client *c = o->c;
	struct gpu_ctx *own;
	struct vgpu_ctx *ctx;
	int err;

	if (!c->dev->has_3d)
		return -EOPNOTSUPP;
	own = kzalloc(sizeof(*own), ALLOC_KERNEL);
	if (!own)
		return -ENOMEM;
	err = vgpu_ids_take(&c->dev->ctx_ids, &own->host_id);
	if (err)
		goto free;
	err = vgpu_ctx_create(&c->space, o->r->ctx, own->host_id, &ctx);
	if (err)
		goto drop;
	own->id = o->r->ctx;
	list_add_tail(&own->link, &c->contexts);
	o->r->ctx = own->host_id;
	return 0;
drop:
	vgpu_ids_drop(&c->dev->ctx_ids, own->host_id);
free:
	kfree(own);
	return err;
}

static int destroy_context(struct order *o)
{
	struct gpu_ctx *own, *found = NULL;
	u32 id = o->r->ctx;
	struct vgpu_ctx *ctx = context_of(o);

	if (!ctx)
		return -ENOENT;
	list_for_each_entry (own, &o->c->contexts, link)
		if (own->id == id)
			found = own;
	ensure(found);
	vgpu_ctx_destroy(ctx);
	list_del(&found->link);
	vgpu_ids_drop(&o->c->dev->ctx_ids, found->host_id);
	gpu_job_destroy_context(&found->destroy, found->host_id);
	kfree(o->job);
	o->job = &found->destroy;
	return 0;
}

static int attach_or_detach(struct order *o)
{
	struct vgpu_ctx *ctx = context_of(o);
	struct vgpu_res *res = resource_of(o);

	if (!ctx || !res)
		return -ENOENT;
	return o->r->type == VIRTIO_GPU_CMD_CTX_ATTACH_RESOURCE ? vgpu_ctx_attach(ctx, res) : vgpu_ctx_detach(ctx, res);
}

static int submit(struct order *o)
{
	struct vgpu_ctx *ctx = context_of(o);
	u32 *copy;
	int err;

	if (!ctx)
		return -ENOENT;
	if (o->r->nr_words * 4ull > o->c->account.limits.submit_bytes)
		return fail(E2BIG, "a stream of %u words", o->r->nr_words);
	copy = kmalloc(max(o->r->nr_words * 4u, 4u), ALLOC_KERNEL);
	if (!copy)
		return -ENOMEM;
	memcpy(copy, o->r->words, o->r->nr_words * 4ul);
	err = vgpu_virgl_admit(ctx, copy, o->r->nr_words, &o->job->stream);
	if (err) {
		kfree(copy);
		return err;
	}
	o->r->words = copy;
	o->c->submits++;
	return 0;
}

/* ---- display ---- */

static int display(struct order *o)
{
	struct vgpu_res *res;

	if (o->c->dev->display != o->c)
		return fail(EPERM, "not the display's client");
	if (o->r->scanout >= o->c->dev->nr_scanouts)
		return fail(EINVAL, "scanout %u", o->r->scanout);
	if (!o->r->resource)
		return o->r->type == VIRTIO_GPU_CMD_RESOURCE_FLUSH ? -EINVAL : 0;
	res = resource_of(o);
	if (!res)
		return -ENOENT;
	if (o->r->type == VIRTIO_GPU_CMD_UPDATE_CURSOR)
		return 0;
	return vgpu_res_check_box(&res->args, 0, &o->r->box);
}

static int move_cursor(struct order *o)
{
	o->r->resource = 0;
	return display(o);
}

static int (*admission(u32 type))(struct order *o)
{
	switch (type) {
	case VIRTIO_GPU_CMD_RESOURCE_CREATE_2D:
	case VIRTIO_GPU_CMD_RESOURCE_CREATE_3D: return create_resource;
	case VIRTIO_GPU_CMD_RESOURCE_UNREF: return destroy_resource;
	case VIRTIO_GPU_CMD_RESOURCE_ATTACH_BACKING: return attach_backing;
	case VIRTIO_GPU_CMD_RESOURCE_DETACH_BACKING: return detach_backing;
	case VIRTIO_GPU_CMD_TRANSFER_TO_HOST_2D:
	case VIRTIO_GPU_CMD_TRANSFER_TO_HOST_3D:
	case VIRTIO_GPU_CMD_TRANSFER_FROM_HOST_3D: return transfer;
	case VIRTIO_GPU_CMD_CTX_CREATE: return create_context;
	case VIRTIO_GPU_CMD_CTX_DESTROY: return destroy_context;
	case VIRTIO_GPU_CMD_CTX_ATTACH_RESOURCE:
	case VIRTIO_GPU_CMD_CTX_DETACH_RESOURCE: return attach_or_detach;
	case VIRTIO_GPU_CMD_SUBMIT_3D: return submit;
	case VIRTIO_GPU_CMD_SET_SCANOUT:
	case VIRTIO_GPU_CMD_RESOURCE_FLUSH:
	case VIRTIO_GPU_CMD_UPDATE_CURSOR: return display;
	case VIRTIO_GPU_CMD_MOVE_CURSOR: return move_cursor;
	default: return NULL; /* questions: the front end answers them */
	}
}

/* ---- in ---- */

static bool is_timed(u32 type)
{
	return type == VIRTIO_GPU_CMD_SUBMIT_3D || type == VIRTIO_GPU_CMD_TRANSFER_FROM_HOST_3D;
}

/* The first part of an admitted stream as a job of its own. -ENOMEM. */
static int push_piece(struct gpu_client *c, const struct gpu_job *whole, u32 words, u32 work)
{
	struct gpu_job *j = kzalloc(sizeof(*j), ALLOC_KERNEL);
	u32 *copy = kmalloc(words * 4ul, ALLOC_KERNEL);

	if (!j || !copy) {
		kfree(j);
		kfree(copy);
		return -ENOMEM;
	}
	memcpy(copy, whole->r.words, words * 4ul);
	j->r = whole->r;
	j->r.words = copy;
	j->r.nr_words = words;
	j->stream = (struct vgpu_stream){ .draws = work };
	j->q.timed = true;
	gpu_push(c, j);
	return 0;
}

static void push_stream(struct gpu_client *c, struct gpu_job *j)
{
	u32 work = j->stream.draws + j->stream.dispatches + j->stream.transfers;

	while (work > PIECE_WORK) {
		u32 cut = vgpu_virgl_cut(j->r.words, j->r.nr_words, PIECE_WORK);

		/* Without memory for pieces it goes as it is: only others' waits are longer. */
		if (cut >= j->r.nr_words || push_piece(c, j, cut, PIECE_WORK))
			break;
		memmove(j->r.words, j->r.words + cut, (j->r.nr_words - cut) * 4ul);
		j->r.nr_words -= cut;
		work -= PIECE_WORK;
	}
	gpu_push(c, j);
}

static int request_locked(struct gpu_client *c, struct order *o, struct gpu_done *done)
{
	int (*admit)(struct order * o) = admission(o->r->type);
	bool is_unref = o->r->type == VIRTIO_GPU_CMD_RESOURCE_UNREF; /* gives memory back: always taken */
	struct gpu_job *job = o->job;
	int err;

	assert(mutex_is_held(&c->dev->lock));
	if (!admit)
		return fail(EOPNOTSUPP, "request %#x", o->r->type);
	if (c->closing || c->dev->dead || (c->lost && !is_unref))
		return -EIO;
	if (atomic_read(&c->pending) >= MAX_PENDING && !is_unref)
		return fail(EDQUOT, "%u requests at once", MAX_PENDING);
	err = admit(o);
	if (err) {
		c->refused++;
		return err;
	}
	if (o->job == job)
		job->r = *o->r;
	o->job->done = done;
	o->job->q.timed = is_timed(o->r->type);
	if (o->r->type == VIRTIO_GPU_CMD_SUBMIT_3D)
		push_stream(c, o->job);
	else
		gpu_push(c, o->job);
	gpu_dispatch(c->dev);
	return 0;
}

int gpu_request(struct gpu_client *c, const struct vgpu_request *r, struct gpu_pages *pages, struct gpu_done *done)
{
	struct vgpu_request own = *r;
	struct order o = { .c = c, .r = &own, .pages = pages };
	int err;

	o.job = kzalloc(sizeof(*o.job), ALLOC_KERNEL);
	if (!o.job)
		return -ENOMEM;
	own.entries = NULL;
	mutex_lock(&c->dev->lock);
	err = request_locked(c, &o, done);
	mutex_unlock(&c->dev->lock);
	if (err)
		kfree(o.job);
	return err;
}
