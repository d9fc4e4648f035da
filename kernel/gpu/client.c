/* SPDX-License-Identifier: MIT
 *
 * Problem: a client may be killed at any moment, with work at the device that reads its memory; nothing of it may stay,
 * and no page may be given back while the device can still touch it.
 *
 * Idea: closing drops what waits, lets what is at the device end (a hang ends it too), then sends one destroy job for
 * each context and resource (they were allocated with those), waits for them, and only then forgets. Pages are released
 * by the end of the job that took them away from the device.
 *
 * Memory is charged to the client's account, the device and the tenant tree, or to none.
 *
 * Contract: gpu/gpu.h. Locks: dev->lock.
 */
#include <alloc/slab.h>
#include <core/clock.h>
#include <core/log.h>
#include <core/random.h>
#include <lib/err.h>
#include <lib/printf.h>
#include <lib/string.h>
#include <task/sched.h>
#include "gpu_priv.h"

/* ---- the account ---- */

static int charge(struct vgpu_tenant *t, u64 bytes)
{
	struct gpu_client *c = container_of(t, struct gpu_client, account);
	struct gpu_dev *d = c->dev;
	int err;

	if (d->memory > d->memory_bytes || bytes > d->memory_bytes - d->memory)
		return fail(EDQUOT, "%llu bytes: the device has %llu, of which %llu are used",
			    (unsigned long long)bytes, (unsigned long long)d->memory_bytes,
			    (unsigned long long)d->memory);
	err = tenant_charge(c->tenant, RES_GPU, bytes, -EDQUOT);
	if (err)
		return err;
	d->memory += bytes;
	d->memory_peak = max(d->memory_peak, d->memory);
	return 0;
}

static void uncharge(struct vgpu_tenant *t, u64 bytes)
{
	struct gpu_client *c = container_of(t, struct gpu_client, account);

	tenant_uncharge(c->tenant, RES_GPU, bytes);
	c->dev->memory -= bytes;
}

/* ---- opening ---- */

static int enter_leaf(struct gpu_client *c, const struct vgpu_share *share)
{
	struct gpu_dev *d = c->dev;
	int err;

	if (!share) {
		gpu_queue_client_init(&c->queue, &c->node->leaf);
		return 0;
	}
	gpu_queue_leaf_init(&c->own);
	err = vgpu_sched_add(&d->queue.sched, &c->own.entity, gpu_node_entity(c->node), share, clock_ns());
	if (err)
		return err;
	c->has_own_leaf = true;
	gpu_queue_client_init(&c->queue, &c->own);
	return 0;
}

static int enter(struct gpu_client *c, const struct vgpu_share *share)
{
	struct gpu_dev *d = c->dev;
	int err = gpu_node_get(d, c->tenant, &c->node);

	if (err)
		return err;
	err = enter_leaf(c, share);
	if (err) {
		gpu_node_put(d, c->node);
		return err;
	}
	list_add_tail(&c->link, &d->clients);
	return 0;
}

int gpu_client_open(struct gpu_dev *d, struct tenant *tenant, const struct vgpu_limits *limits,
		    const struct vgpu_share *share, const char *name, struct gpu_client **out)
{
	struct vgpu_limits all = vgpu_default_limits;
	struct gpu_client *c = kzalloc(sizeof(*c), ALLOC_KERNEL);
	int err;

	if (!c)
		return -ENOMEM;
	all.memory_bytes = ~0ull >> 1;
	c->dev = d;
	c->tenant = tenant;
	str_copy(c->name, name, sizeof(c->name));
	list_init(&c->contexts);
	vgpu_tenant_init(&c->account, limits ? limits : &all, random_u64());
	c->account.limits.work_log2 = d->work_log2;
	c->account.charge = charge;
	c->account.uncharge = uncharge;
	vgpu_space_init(&c->space, &c->account, &d->resource_ids);
	tenant_get(tenant);
	mutex_lock(&d->lock);
	err = enter(c, share);
	mutex_unlock(&d->lock);
	if (err) {
		tenant_put(tenant);
		kfree(c);
		return err;
	}
	*out = c;
	return 0;
}

int gpu_client_take_display(struct gpu_client *c)
{
	struct gpu_dev *d = c->dev;
	int err = 0;

	mutex_lock(&d->lock);
	if (d->display && d->display != c)
		err = -EBUSY;
	else
		d->display = c;
	mutex_unlock(&d->lock);
	return err;
}

void gpu_client_drop_display(struct gpu_client *c)
{
	mutex_lock(&c->dev->lock);
	if (c->dev->display == c)
		c->dev->display = NULL;
	mutex_unlock(&c->dev->lock);
}

int gpu_client_wait_room(struct gpu_client *c)
{
	return wait_event_interruptible(&c->dev->idle, atomic_read(&c->pending) < GPU_CLIENT_AHEAD);
}

/* ---- closing ---- */

void gpu_client_drain(struct gpu_client *c)
{
	wait_event(&c->dev->idle, !atomic_read(&c->pending));
}

static void destroy_resource(struct vgpu_res *r, void *arg)
{
	struct gpu_client *c = arg;
	struct gpu_res *own = r->owner;

	gpu_job_destroy_resource(&own->destroy, r->host_id, own->pages);
	gpu_push(c, &own->destroy);
}

/* Contexts first: they refer to resources. dev->lock held. */
static void destroy_all(struct gpu_client *c)
{
	struct gpu_ctx *ctx, *next;

	list_for_each_entry_safe (ctx, next, &c->contexts, link) {
		list_del(&ctx->link);
		gpu_job_destroy_context(&ctx->destroy, ctx->host_id);
		vgpu_ids_drop(&c->dev->ctx_ids, ctx->host_id);
		gpu_push(c, &ctx->destroy);
	}
	vgpu_space_destroy(&c->space, destroy_resource, c);
	gpu_dispatch(c->dev);
}

static void empty(struct gpu_client *c)
{
	struct gpu_dev *d = c->dev;
	LIST(out);

	mutex_lock(&d->lock);
	c->closing = true;
	gpu_drop_queued(c, -ECANCELED, d->dead, &out);
	gpu_pressure_update(d);
	mutex_unlock(&d->lock);
	gpu_tell(d, &out);
	gpu_client_drain(c);
	mutex_lock(&d->lock);
	destroy_all(c);
	mutex_unlock(&d->lock);
	gpu_client_drain(c);
}

void gpu_client_reset(struct gpu_client *c)
{
	empty(c);
	mutex_lock(&c->dev->lock);
	vgpu_space_init(&c->space, &c->account, &c->dev->resource_ids);
	c->lost = c->closing = false;
	mutex_unlock(&c->dev->lock);
}

void gpu_client_close(struct gpu_client *c)
{
	struct gpu_dev *d = c->dev;

	empty(c);
	mutex_lock(&d->lock);
	if (d->display == c)
		d->display = NULL;
	list_del(&c->link);
	gpu_queue_client_remove(&c->queue);
	if (c->has_own_leaf) {
		gpu_node_leaf_leaves(c->node, &c->own.entity);
		vgpu_sched_remove(&d->queue.sched, &c->own.entity);
		if (d->queue.at_device == &c->own)
			d->queue.at_device = NULL;
	}
	gpu_node_put(d, c->node);
	mutex_unlock(&d->lock);
	tenant_put(c->tenant);
	kfree(c);
}
