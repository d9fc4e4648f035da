/* SPDX-License-Identifier: MIT
 *
 * Problem: the host looks at what a guest shows: now and then, by reading it, or all the time, through a mapping of
 * which it makes the surface that it draws from (QEMU's display=on).
 *
 * Idea: the region is the rows of the scanout, one behind the other, put together when they are read. A mapping is of
 * pages of its own, the window: made when a program maps the region for the first time, filled then, and again whenever
 * somebody asks what the plane is, as a display does before it draws. Who never maps pays for no window.
 *
 *      image or snapshot --read--> program
 *                        --VFIO_DEVICE_QUERY_GFX_PLANE--> window, in the program's address space
 *
 * Contract: vgpu.h; VFIO_DEVICE_QUERY_GFX_PLANE of linux/vfio.h, style region, the primary plane. Whoever looks while
 * the window is filled may see parts of two pictures.
 *
 * Locks: g->lock. A page fault must not take it (it is held while the guest's memory is read), so the window, once
 * made, stays until the device is closed.
 */
#include <alloc/page.h>
#include <arch/user.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/string.h>
#include <task/sched.h>
#include "vgpu.h"

#define PRIMARY_PLANE 1 /* DRM_PLANE_TYPE_PRIMARY, in no UAPI header */

/* ---- what is shown ---- */

static const struct vgpu_image *shown(struct vgpu *g)
{
	u64 *v = g->scanout.resource ? vgpu_map_get(&g->objects, g->scanout.resource) : NULL;

	return v ? ((struct vgpu_object *)(ulong)*v)->image : NULL;
}

/* virtio's number; 0: nothing is shown, or nothing that can be. g->lock held. */
static u32 shown_format(struct vgpu *g)
{
	const struct vgpu_image *i = shown(g);
	const struct vgpu_object *o = i ? NULL : vgpu_texture(g);

	return i ? i->format : o ? o->args.format : 0;
}

int vgpu_plane_read(struct vgpu *g, u64 offset, void *buf, size_t n)
{
	const struct vgpu_image *i;
	struct vgpu_box b;

	if (!offset)
		vgpu_snapshot(g);
	mutex_lock(&g->lock);
	i = g->shot.image ? g->shot.image : shown(g);
	b = g->shot.image ? g->shot.box : g->scanout.box;
	while (i && n && offset < 4ULL * b.w * b.h) {
		u64 row = offset / (4ULL * b.w), in_row = offset % (4ULL * b.w);
		size_t part = min((u64)n, 4ULL * b.w - in_row);

		vgpu_image_read(i, (b.y + row) * 4ULL * i->width + 4ULL * b.x + in_row, buf, part);
		buf = (char *)buf + part;
		offset += part;
		n -= part;
	}
	mutex_unlock(&g->lock);
	memset(buf, 0, n); /* what is behind the picture */
	return 0;
}

/* ---- the window ---- */

static void fill_window(struct vgpu *g, struct vgpu_image *w)
{
	for (u32 n = 0; n < w->nr_pages; n++) {
		(void)vgpu_plane_read(g, n * PAGE_SIZE, page_virt(w->page[n]), PAGE_SIZE);
		resched_point();
	}
}

int vgpu_plane_map(struct vgpu *g)
{
	struct vgpu_res_args all = { .width = g->max_width, .height = g->max_height };
	struct vgpu_image *w;

	mutex_lock(&g->lock);
	w = g->window;
	if (!w) {
		w = vgpu_image_create(g, &all);
		for (u32 n = 0; w && n < w->nr_pages; n++)
			w->page[n]->owner = &g->m->vfio.mapping;
		WRITE_ONCE(g->window, w);
	}
	mutex_unlock(&g->lock);
	if (!w)
		return -ENOMEM;
	fill_window(g, w);
	return 0;
}

int vgpu_plane_page(struct vgpu *g, u64 index, struct page **out)
{
	struct vgpu_image *w = READ_ONCE(g->window);

	ensure(w && index < w->nr_pages); /* it was mapped */
	*out = w->page[index];
	page_get(*out);
	return 0;
}

void vgpu_plane_close(struct vgpu *g)
{
	for (u32 n = 0; g->window && n < g->window->nr_pages; n++)
		g->window->page[n]->owner = NULL;
	vgpu_image_free(g->window);
	g->window = NULL;
}

/* ---- what the program asks ---- */

static int query_plane(struct vgpu *g, void __user *arg)
{
	struct vfio_device_gfx_plane_info p;
	struct vgpu_image *window;
	u32 format;
	int err = user_get(&p, arg, sizeof(p));

	if (err)
		return err;
	if (p.argsz < sizeof(p))
		return -EINVAL;
	if (p.flags & VFIO_GFX_PLANE_TYPE_PROBE)
		return p.flags == (VFIO_GFX_PLANE_TYPE_PROBE | VFIO_GFX_PLANE_TYPE_REGION) ? 0 : -EINVAL;
	if (p.flags != VFIO_GFX_PLANE_TYPE_REGION || (p.drm_plane_type && p.drm_plane_type != PRIMARY_PLANE))
		return -EINVAL;
	p = (struct vfio_device_gfx_plane_info){
		.argsz = sizeof(p), .flags = p.flags, .drm_plane_type = p.drm_plane_type, .region_index = VGPU_PLANE
	};
	mutex_lock(&g->lock);
	format = shown_format(g);
	if (format) {
		p.drm_format = vgpu_image_format(format);
		p.width = g->scanout.box.w;
		p.height = g->scanout.box.h;
		p.stride = 4 * p.width;
		p.size = p.stride * p.height;
	}
	window = g->window;
	mutex_unlock(&g->lock);
	if (window)
		fill_window(g, window);
	return user_put(arg, &p, sizeof(p));
}

long vgpu_plane_ioctl(struct vgpu *g, unsigned cmd, void __user *arg)
{
	return cmd == VFIO_DEVICE_QUERY_GFX_PLANE ? query_plane(g, arg) : -ENOTTY;
}
