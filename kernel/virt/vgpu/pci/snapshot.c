/* SPDX-License-Identifier: MIT
 *
 * Problem: a guest that draws in 3D shows a texture that exists at the GPU alone; the host wants to see it, and the
 * guest's memory behind it must not change for that.
 *
 * Idea: when somebody reads the picture from its begin, the texture's memory is exchanged for pages of ours, the
 * picture is fetched, and the guest's memory is put back: five requests of the guest's own client in a row, between
 * which none of the guest's come.
 *
 *	detach guest's -- attach ours -- transfer from the GPU -- detach ours -- attach guest's
 *	                                                            release: the picture is there
 *
 * Contract: vgpu_snapshot of vgpu.h; the picture stays until the next one is asked for, whatever the guest shows
 *meanwhile. Only if the guest's memory cannot be put back (its quota was lowered meanwhile) does it notice: the
 *resource then has none.
 *
 * Locks: g->lock while the five are handed in; it waits without.
 */
#include <alloc/page.h>
#include <alloc/slab.h>
#include <lib/err.h>
#include <lib/string.h>
#include "vgpu.h"

struct snapshot {
	struct gpu_pages pages;
	struct completion done;
	struct vgpu_image *image;
	struct gpu_piece piece[];
};

static void fetched(struct gpu_pages *p)
{
	complete_all(&container_of(p, struct snapshot, pages)->done);
}

static void free_snapshot(struct snapshot *s)
{
	if (!s)
		return;
	vgpu_image_free(s->image);
	kfree(s);
}

static struct snapshot *create(struct vgpu *g, const struct vgpu_res_args *a)
{
	struct vgpu_image *i = vgpu_image_create(g, a);
	struct snapshot *s = i ? kzalloc(sizeof(*s) + i->nr_pages * sizeof(s->piece[0]), 0) : NULL;

	if (!s) {
		vgpu_image_free(i);
		return NULL;
	}
	s->image = i;
	completion_init(&s->done);
	for (u32 n = 0; n < i->nr_pages; n++)
		s->piece[n] = (struct gpu_piece){ page_phys(i->page[n]), PAGE_SIZE };
	s->pages = (struct gpu_pages){
		.pieces = s->piece, .nr = i->nr_pages, .bytes = (u64)i->nr_pages * PAGE_SIZE, .release = fetched
	};
	return s;
}

static int ask(struct vgpu *g, u32 type, const struct snapshot *s, struct gpu_pages *pages)
{
	struct vgpu_request r = { .type = type, .resource = g->scanout.resource };

	if (type == VIRTIO_GPU_CMD_TRANSFER_FROM_HOST_3D) {
		r.box = (struct vgpu_box){ 0, 0, 0, s->image->width, s->image->height, 1 };
		r.stride = 4 * s->image->width;
	}
	return gpu_request(g->client, &r, pages, NULL);
}

static void put_back(struct vgpu *g, struct vgpu_object *o)
{
	if (!o->memory)
		return;
	vgpu_memory_get(o->memory); /* the GPU's */
	if (!ask(g, VIRTIO_GPU_CMD_RESOURCE_ATTACH_BACKING, NULL, &o->memory->pages))
		return;
	vgpu_memory_put(o->memory);
	vgpu_memory_put(o->memory);
	o->memory = NULL;
}

/* Hands in all five. s is released if, and only if, this is 0. g->lock held. */
static int exchange(struct vgpu *g, struct vgpu_object *o, struct snapshot *s)
{
	int err = o->memory ? ask(g, VIRTIO_GPU_CMD_RESOURCE_DETACH_BACKING, s, NULL) : 0;

	if (err)
		return err;
	err = ask(g, VIRTIO_GPU_CMD_RESOURCE_ATTACH_BACKING, s, &s->pages);
	if (!err) {
		/* What it cannot fetch shows as black; what is attached goes at the latest with the client. */
		if (ask(g, VIRTIO_GPU_CMD_TRANSFER_FROM_HOST_3D, s, NULL))
			g->counts.refused++;
		if (ask(g, VIRTIO_GPU_CMD_RESOURCE_DETACH_BACKING, s, NULL))
			g->counts.refused++;
	}
	put_back(g, o);
	return err;
}

struct vgpu_object *vgpu_texture(struct vgpu *g)
{
	u64 *v = g->scanout.resource ? vgpu_map_get(&g->objects, g->scanout.resource) : NULL;
	struct vgpu_object *o = v ? (struct vgpu_object *)(ulong)*v : NULL;
	const struct vgpu_box *b = &g->scanout.box;

	if (!o || o->image || o->args.target != VGPU_2D || o->args.samples > 1 || !vgpu_image_format(o->args.format))
		return NULL;
	return b->x + (u64)b->w <= o->args.width && b->y + (u64)b->h <= o->args.height ? o : NULL;
}

void vgpu_snapshot(struct vgpu *g)
{
	struct vgpu_image *old;
	struct snapshot *s = NULL;
	struct vgpu_object *o;
	struct vgpu_box box;
	int err = -ENOENT;

	mutex_lock(&g->lock);
	box = g->scanout.box;
	o = vgpu_texture(g);
	if (o && !g->resetting)
		s = create(g, &o->args);
	if (s)
		err = exchange(g, o, s);
	mutex_unlock(&g->lock);
	if (!err)
		completion_wait(&s->done);
	mutex_lock(&g->lock);
	old = g->shot.image;
	g->shot.image = err ? NULL : s->image;
	g->shot.box = box;
	mutex_unlock(&g->lock);
	if (s)
		s->image = err ? s->image : NULL;
	vgpu_image_free(old);
	free_snapshot(s);
}
