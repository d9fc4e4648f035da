/* SPDX-License-Identifier: MIT
 *
 * Problem: Mesa's virgl driver speaks nine ioctls.
 *
 * Idea: each is a request of gpu with the file's own ids: one rendering context, number 1, for each file, made when it
 * is first needed; a buffer's resource number is what RESOURCE_CREATE answers and what streams then name. Work that a
 * program may wait for has a fence, which the buffers that it names remember.
 *
 * Contract: <drm/virtgpu_drm.h>, as Linux 6.1 answers (no blobs, no context types, one ring).
 *
 * Locks: client->lock while the context is made. User memory is touched without it.
 */
#include <alloc/kmap.h>
#include <alloc/slab.h>
#include <arch/user.h>
#include <core/clock.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/string.h>
#include <vfs/uapi.h>
#include "drm_priv.h"

#define CONTEXT     1
#define BUFFERS_MAX 65536 /* named by one EXECBUFFER */
#define WAIT_MAX_NS (15 * NSEC_PER_SEC)

/* libdrm's header is older than the interface, which since Linux 5.12 has two more words. */
struct transfer {
	struct drm_virtgpu_3d_transfer_to_host head;
	u32 stride, layer_stride;
};

int drm_virtgpu_context(struct drm_user *c)
{
	struct vgpu_request r = { .type = VIRTIO_GPU_CMD_CTX_CREATE, .ctx = CONTEXT };
	int err;

	if (c->has_context || !c->dev->gpu->has_3d)
		return 0;
	err = gpu_request(c->gpu, &r, NULL, NULL);
	c->has_context = !err;
	return err;
}

long drm_virtgpu_map(struct drm_file *f, void *arg)
{
	struct drm_virtgpu_map *a = arg;

	return drm_map_offset(f, a->handle, &a->offset);
}

long drm_virtgpu_getparam(struct drm_file *f, void *arg)
{
	struct drm_virtgpu_getparam *a = arg;
	u32 value;

	switch (a->param) {
	case VIRTGPU_PARAM_3D_FEATURES: value = f->dev->gpu->has_3d; break;
	case VIRTGPU_PARAM_CAPSET_QUERY_FIX: value = 1; break;
	default: return -EINVAL;
	}
	return user_put((void __user *)(ulong)a->value, &value, sizeof(value));
}

long drm_virtgpu_get_caps(struct drm_file *f, void *arg)
{
	struct drm_virtgpu_get_caps *a = arg;
	const struct gpu_dev *d = f->dev->gpu;

	for (u32 i = 0; i < GPU_CAPSETS; i++) {
		const struct gpu_capset *s = &d->capset[i];

		if (!s->data || s->id != a->cap_set_id || a->cap_set_ver > s->max_version)
			continue;
		return user_put((void __user *)(ulong)a->addr, s->data, min(a->size, s->bytes));
	}
	return -EINVAL;
}

/* ---- buffers ---- */

static int create_request(struct drm_file *f, const struct drm_virtgpu_resource_create *a, struct vgpu_request *r)
{
	bool flat = a->target == VGPU_2D && a->depth == 1 && a->nr_samples <= 1 && a->last_level == 0;

	if (!f->dev->gpu->has_3d && !flat)
		return fail(EINVAL, "the device has no 3D");
	*r = (struct vgpu_request){ .type = f->dev->gpu->has_3d ? VIRTIO_GPU_CMD_RESOURCE_CREATE_3D
								: VIRTIO_GPU_CMD_RESOURCE_CREATE_2D };
	r->create = (struct vgpu_res_args){ .target = a->target,
					    .format = a->format,
					    .bind = a->bind,
					    .width = a->width,
					    .height = a->height,
					    .depth = a->depth,
					    .layers = a->array_size,
					    .last_level = a->last_level,
					    .samples = a->nr_samples,
					    .flags = a->flags };
	return 0;
}

long drm_virtgpu_resource_create(struct drm_file *f, void *arg)
{
	struct drm_virtgpu_resource_create *a = arg;
	struct drm_object *o;
	struct vgpu_request r;
	int err = create_request(f, a, &r);

	if (!err)
		err = gpu_client_wait_room(f->client->gpu);
	if (err)
		return err;
	err = drm_object_create(f->client, &r, a->size, &o);
	if (err)
		return err;
	o->format = a->format;
	o->width = a->width;
	o->height = a->height;
	o->pitch = a->stride;
	err = drm_handle_create(f->client, o, &a->bo_handle);
	a->res_handle = o->resource;
	drm_object_put(o);
	return err;
}

long drm_virtgpu_resource_info(struct drm_file *f, void *arg)
{
	struct drm_virtgpu_resource_info *a = arg;
	struct drm_object *o = drm_object_find(f->client, a->bo_handle);

	if (!o)
		return -ENOENT;
	a->size = (u32)o->bytes;
	a->res_handle = o->resource;
	drm_object_put(o);
	return 0;
}

static long transfer(struct drm_file *f, const struct transfer *a, u32 type)
{
	struct drm_object *o;
	const struct drm_virtgpu_3d_box *b = &a->head.box;
	struct vgpu_request r = { .type = type,
				  .ctx = CONTEXT,
				  .box = { b->x, b->y, b->z, b->w, b->h, b->d },
				  .level = a->head.level,
				  .offset = a->head.offset,
				  .stride = a->stride,
				  .layer_stride = a->layer_stride };
	struct drm_fence *fence;
	int err = gpu_client_wait_room(f->client->gpu);

	if (err)
		return err;
	o = drm_object_find(f->client, a->head.bo_handle);
	if (!o)
		return -ENOENT;
	fence = drm_fence_new();
	if (!fence) {
		drm_object_put(o);
		return -ENOMEM;
	}
	r.resource = o->resource;
	err = gpu_request(o->client->gpu, &r, NULL, &fence->done);
	if (err) {
		drm_fence_cancel(fence);
	} else {
		drm_object_set_fence(o, fence);
		drm_fence_put(fence);
	}
	drm_object_put(o);
	return err;
}

long drm_virtgpu_transfer_to_host(struct drm_file *f, void *arg)
{
	return transfer(f, arg,
			f->dev->gpu->has_3d ? VIRTIO_GPU_CMD_TRANSFER_TO_HOST_3D : VIRTIO_GPU_CMD_TRANSFER_TO_HOST_2D);
}

long drm_virtgpu_transfer_from_host(struct drm_file *f, void *arg)
{
	if (!f->dev->gpu->has_3d)
		return -ENOSYS;
	return transfer(f, arg, VIRTIO_GPU_CMD_TRANSFER_FROM_HOST_3D);
}

long drm_virtgpu_wait(struct drm_file *f, void *arg)
{
	struct drm_virtgpu_3d_wait *a = arg;
	struct drm_object *o = drm_object_find(f->client, a->handle);
	struct drm_fence *fence;
	int err = 0;

	if (!o)
		return -ENOENT;
	fence = drm_object_fence(o);
	drm_object_put(o);
	if (a->flags & VIRTGPU_WAIT_NOWAIT)
		err = fence && !drm_fence_is_over(fence) ? -EBUSY : 0;
	else
		err = drm_fence_wait(fence, clock_ns() + WAIT_MAX_NS);
	drm_fence_put(fence);
	return err == -ETIME ? -EBUSY : err;
}

/* ---- streams ---- */

struct stream {
	u32 *words;
	struct drm_object **objects; /* counted */
	u32 nr_objects;
};

static void free_stream(struct stream *s)
{
	for (u32 i = 0; i < s->nr_objects; i++)
		drm_object_put(s->objects[i]);
	big_free(s->objects);
	big_free(s->words);
}

static int copy_stream(const struct drm_virtgpu_execbuffer *a, struct stream *s)
{
	s->words = big_alloc(1, max(a->size, 4u));
	if (!s->words)
		return -ENOMEM;
	return user_get(s->words, (const void __user *)(ulong)a->command, a->size);
}

static int find_objects(struct drm_user *c, const struct drm_virtgpu_execbuffer *a, struct stream *s)
{
	const u32 __user *at = (const u32 __user *)(ulong)a->bo_handles;

	s->objects = big_alloc(max(a->num_bo_handles, 1u), sizeof(*s->objects));
	if (!s->objects)
		return -ENOMEM;
	for (u32 i = 0; i < a->num_bo_handles; i++) {
		u32 handle;

		if (user_get(&handle, at + i, sizeof(handle)))
			return -EFAULT;
		s->objects[i] = drm_object_find(c, handle);
		if (!s->objects[i])
			return -ENOENT;
		s->nr_objects++;
	}
	return 0;
}

static int submit(struct drm_file *f, struct drm_virtgpu_execbuffer *a, struct stream *s, struct drm_fence *fence)
{
	struct vgpu_request r = {
		.type = VIRTIO_GPU_CMD_SUBMIT_3D, .ctx = CONTEXT, .words = s->words, .nr_words = a->size / 4
	};
	struct drm_user *c = f->client;
	int err;

	mutex_lock(&c->lock);
	err = drm_virtgpu_context(c);
	mutex_unlock(&c->lock);
	if (!err)
		err = gpu_request(c->gpu, &r, NULL, &fence->done);
	if (err) {
		drm_fence_cancel(fence);
		return err == -EDQUOT ? -ENOMEM : err;
	}
	for (u32 i = 0; i < s->nr_objects; i++)
		drm_object_set_fence(s->objects[i], fence);
	if (a->flags & VIRTGPU_EXECBUF_FENCE_FD_OUT) {
		a->fence_fd = drm_sync_file_create(fence);
		err = min(a->fence_fd, 0);
	}
	drm_fence_put(fence);
	return err;
}

long drm_virtgpu_execbuffer(struct drm_file *f, void *arg)
{
	struct drm_virtgpu_execbuffer *a = arg;
	struct stream s = { 0 };
	struct drm_fence *fence;
	int err = 0;

	if (!f->dev->gpu->has_3d)
		return -ENOSYS;
	if (a->flags & ~VIRTGPU_EXECBUF_FLAGS || a->size % 4 || a->num_bo_handles > BUFFERS_MAX)
		return -EINVAL;
	if (a->size > f->client->gpu->account.limits.submit_bytes)
		return fail(EINVAL, "a stream of %u bytes", a->size);
	if (a->flags & VIRTGPU_EXECBUF_FENCE_FD_IN)
		err = drm_sync_file_wait(a->fence_fd);
	if (!err)
		err = gpu_client_wait_room(f->client->gpu);
	if (!err)
		err = copy_stream(a, &s);
	if (!err)
		err = find_objects(f->client, a, &s);
	if (!err) {
		fence = drm_fence_new();
		err = fence ? submit(f, a, &s, fence) : -ENOMEM;
	}
	free_stream(&s);
	return err;
}
