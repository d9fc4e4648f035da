/* SPDX-License-Identifier: MIT
 *
 * Problem: a job is a request in the core's words; the device wants structures.
 *
 * Idea: one function a kind fills the structure in the command; it returns the structure's size. What varies (a stream,
 * the list of memory pieces) is a second buffer behind it.
 *
 * Contract: virtio_gpu_priv.h. Format: <linux/virtio_gpu.h>, VIRTIO 1.2, 5.7.6. We and the device are little-endian.
 *
 * Locks: none.
 */
#include <alloc/slab.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/string.h>
#include "virtio_gpu_priv.h"

static struct virtio_gpu_rect rect_of(const struct vgpu_box *b)
{
	return (struct virtio_gpu_rect){ .x = b->x, .y = b->y, .width = b->w, .height = b->h };
}

static u32 create_2d(union request *q, const struct vgpu_request *r)
{
	q->create_2d.resource_id = r->resource;
	q->create_2d.format = r->create.format;
	q->create_2d.width = r->create.width;
	q->create_2d.height = r->create.height;
	return sizeof(q->create_2d);
}

static u32 create_3d(union request *q, const struct vgpu_request *r)
{
	q->create_3d.resource_id = r->resource;
	q->create_3d.target = r->create.target;
	q->create_3d.format = r->create.format;
	q->create_3d.bind = r->create.bind;
	q->create_3d.width = r->create.width;
	q->create_3d.height = r->create.height;
	q->create_3d.depth = r->create.depth;
	q->create_3d.array_size = r->create.layers;
	q->create_3d.last_level = r->create.last_level;
	q->create_3d.nr_samples = r->create.samples;
	q->create_3d.flags = r->create.flags;
	return sizeof(q->create_3d);
}

static u32 transfer_2d(union request *q, const struct vgpu_request *r)
{
	q->transfer_2d.r = rect_of(&r->box);
	q->transfer_2d.offset = r->offset;
	q->transfer_2d.resource_id = r->resource;
	return sizeof(q->transfer_2d);
}

static u32 transfer_3d(union request *q, const struct vgpu_request *r)
{
	q->transfer_3d.box.x = r->box.x;
	q->transfer_3d.box.y = r->box.y;
	q->transfer_3d.box.z = r->box.z;
	q->transfer_3d.box.w = r->box.w;
	q->transfer_3d.box.h = r->box.h;
	q->transfer_3d.box.d = r->box.d;
	q->transfer_3d.offset = r->offset;
	q->transfer_3d.resource_id = r->resource;
	q->transfer_3d.level = r->level;
	q->transfer_3d.stride = r->stride;
	q->transfer_3d.layer_stride = r->layer_stride;
	return sizeof(q->transfer_3d);
}

/* Kinds that name a resource and nothing else: unref, detach backing, attach to and detach from a context. */
static u32 resource_only(union request *q, const struct vgpu_request *r)
{
	q->unref.resource_id = r->resource;
	return sizeof(q->unref);
}

static u32 scanout(union request *q, const struct vgpu_request *r)
{
	q->scanout.r = rect_of(&r->box);
	q->scanout.scanout_id = r->scanout;
	q->scanout.resource_id = r->resource;
	return sizeof(q->scanout);
}

static u32 flush(union request *q, const struct vgpu_request *r)
{
	q->flush.r = rect_of(&r->box);
	q->flush.resource_id = r->resource;
	return sizeof(q->flush);
}

static u32 context(union request *q, const struct gpu_job *j)
{
	if (j->r.type == VIRTIO_GPU_CMD_CTX_DESTROY)
		return sizeof(q->ctx_destroy);
	q->ctx_create.nlen = (u32)str_copy(q->ctx_create.debug_name, j->client->name, sizeof(q->ctx_create.debug_name));
	return sizeof(q->ctx_create);
}

static int memory(struct command *c, const struct gpu_pages *p, u32 resource)
{
	struct virtio_gpu_mem_entry *e = kcalloc(p->nr, sizeof(*e), ALLOC_KERNEL);

	if (!e)
		return -ENOMEM;
	for (u32 i = 0; i < p->nr; i++) {
		e[i].addr = p->pieces[i].addr;
		e[i].length = p->pieces[i].bytes;
	}
	c->request.attach.resource_id = resource;
	c->request.attach.nr_entries = p->nr;
	c->data = c->owned = e;
	c->data_bytes = p->nr * sizeof(*e);
	return sizeof(c->request.attach);
}

static int stream(struct command *c, const struct vgpu_request *r)
{
	c->request.submit.size = r->nr_words * 4;
	c->data = r->words;
	c->data_bytes = r->nr_words * 4;
	return sizeof(c->request.submit);
}

int virtio_gpu_encode(struct command *c, const struct gpu_job *j)
{
	const struct vgpu_request *r = &j->r;
	union request *q = &c->request;

	q->hdr.type = r->type;
	q->hdr.ctx_id = r->ctx;
	switch (r->type) {
	case VIRTIO_GPU_CMD_RESOURCE_CREATE_2D: return create_2d(q, r);
	case VIRTIO_GPU_CMD_RESOURCE_CREATE_3D: return create_3d(q, r);
	case VIRTIO_GPU_CMD_TRANSFER_TO_HOST_2D: return transfer_2d(q, r);
	case VIRTIO_GPU_CMD_TRANSFER_TO_HOST_3D:
	case VIRTIO_GPU_CMD_TRANSFER_FROM_HOST_3D: return transfer_3d(q, r);
	case VIRTIO_GPU_CMD_RESOURCE_UNREF:
	case VIRTIO_GPU_CMD_RESOURCE_DETACH_BACKING:
	case VIRTIO_GPU_CMD_CTX_ATTACH_RESOURCE:
	case VIRTIO_GPU_CMD_CTX_DETACH_RESOURCE: return resource_only(q, r);
	case VIRTIO_GPU_CMD_RESOURCE_ATTACH_BACKING: return memory(c, j->pages, r->resource);
	case VIRTIO_GPU_CMD_CTX_CREATE:
	case VIRTIO_GPU_CMD_CTX_DESTROY: return context(q, j);
	case VIRTIO_GPU_CMD_SUBMIT_3D: return stream(c, r);
	case VIRTIO_GPU_CMD_SET_SCANOUT: return scanout(q, r);
	case VIRTIO_GPU_CMD_RESOURCE_FLUSH: return flush(q, r);
	default: return fail(EOPNOTSUPP, "request %#x", r->type);
	}
}
