/* SPDX-License-Identifier: MIT
 *
 * Problem: a guest draws into its own memory and says which parts have changed; the host wants the picture that the
 * guest has said to be whole, whatever the guest draws meanwhile.
 *
 * Idea: a 2D resource is an image of its own, in pages that the machine's tenant pays for. A transfer copies rows from
 * the guest's memory, the scanout names an image and a part of it, and plane.c shows that.
 *
 *      guest's pages --TRANSFER_TO_HOST_2D--> image --SET_SCANOUT--> plane
 *
 * The GPU has the resource too; its copy cannot be read back in 2D. Of 3D resources it can: snapshot.c.
 *
 * Contract: vgpu.h. Locks: g->lock, held by every caller.
 */
#include <alloc/page.h>
#include <alloc/slab.h>
#include <lib/string.h>
#include <task/sched.h>
#include "vgpu.h"

#define FOURCC(a, b, c, d) ((u32)(a) | (u32)(b) << 8 | (u32)(c) << 16 | (u32)(d) << 24)

/* virtio's numbers of formats (5.7.6.8) and DRM's. DRM names the bytes from the highest of a little-endian word. */
static const struct {
	u32 virtio, drm;
} formats[] = {
	{ VIRTIO_GPU_FORMAT_B8G8R8A8_UNORM, FOURCC('A', 'R', '2', '4') },
	{ VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM, FOURCC('X', 'R', '2', '4') },
	{ VIRTIO_GPU_FORMAT_A8R8G8B8_UNORM, FOURCC('B', 'A', '2', '4') },
	{ VIRTIO_GPU_FORMAT_X8R8G8B8_UNORM, FOURCC('B', 'X', '2', '4') },
	{ VIRTIO_GPU_FORMAT_R8G8B8A8_UNORM, FOURCC('A', 'B', '2', '4') },
	{ VIRTIO_GPU_FORMAT_R8G8B8X8_UNORM, FOURCC('X', 'B', '2', '4') },
	{ VIRTIO_GPU_FORMAT_A8B8G8R8_UNORM, FOURCC('R', 'A', '2', '4') },
	{ VIRTIO_GPU_FORMAT_X8B8G8R8_UNORM, FOURCC('R', 'X', '2', '4') },
};

u32 vgpu_image_format(u32 format)
{
	for (unsigned i = 0; i < ARRAY_SIZE(formats); i++)
		if (formats[i].virtio == format)
			return formats[i].drm;
	return 0;
}

/* ---- images ---- */

void vgpu_image_free(struct vgpu_image *i)
{
	for (u32 n = 0; i && n < i->nr_pages; n++)
		page_put(i->page[n]);
	kfree(i);
}

struct vgpu_image *vgpu_image_create(struct vgpu *g, const struct vgpu_res_args *a)
{
	u64 pages = DIV_ROUND_UP(4ULL * a->width * a->height, PAGE_SIZE);
	struct vgpu_image *i = kzalloc(sizeof(*i) + pages * sizeof(i->page[0]), 0);

	if (!i)
		return NULL;
	i->width = a->width;
	i->height = a->height;
	i->format = a->format;
	for (; i->nr_pages < pages; i->nr_pages++) {
		i->page[i->nr_pages] = page_alloc(0, ALLOC_ZERO, g->tenant);
		if (!i->page[i->nr_pages]) {
			vgpu_image_free(i);
			return NULL;
		}
		resched_point();
	}
	return i;
}

/* In pieces that do not cross a page of the image. */
static void *image_at(const struct vgpu_image *i, u64 offset, size_t *n)
{
	*n = min(*n, PAGE_SIZE - offset % PAGE_SIZE);
	return (char *)page_virt(i->page[offset / PAGE_SIZE]) + offset % PAGE_SIZE;
}

void vgpu_image_read(const struct vgpu_image *i, u64 offset, void *buf, size_t n)
{
	while (n) {
		size_t part = n;
		void *from = image_at(i, offset, &part);

		memcpy(buf, from, part);
		buf = (char *)buf + part;
		offset += part;
		n -= part;
	}
}

void vgpu_image_load(struct vgpu_object *o, const struct vgpu_box *box, u64 offset)
{
	struct vgpu_image *i = o->image;
	u64 stride = 4ULL * i->width;

	for (u32 y = 0; y < box->h; y++, offset += stride) {
		u64 to = (u64)(box->y + y) * stride + 4ULL * box->x, from = offset;
		size_t left = 4ULL * box->w;

		while (left) {
			size_t part = left;
			void *at = image_at(i, to, &part);

			if (vgpu_memory_read(o->memory, from, at, part))
				return;
			to += part;
			from += part;
			left -= part;
		}
		resched_point();
	}
}
