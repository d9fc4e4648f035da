/* SPDX-License-Identifier: MIT
 *
 * Problem: a GPU reaches a resource's memory by physical addresses, at any time until it has let go; the guest names it
 * by its own addresses and may lose it at any moment.
 *
 * Idea: each page is pinned through the container, which charges it; runs that are adjacent become one piece. The pins
 * are kept with their addresses: when the container loses a range in which some lie, the whole client is emptied, which
 * is what makes the GPU let go.
 *
 *      entries of ATTACH_BACKING --> pages, pinned --> pieces --> gpu_request ... release --> unpinned
 *
 * Contract: vgpu.h. All or nothing; -EFAULT: not the guest's memory, -ENOMEM: over RLIMIT_MEMLOCK.
 *
 * Locks: memory_lock for the list; pinning is done with g->lock held, which orders it against unmapping.
 */
#include <alloc/kmap.h>
#include <alloc/slab.h>
#include <lib/err.h>
#include <lib/string.h>
#include <task/sched.h>
#include "vgpu.h"

static u64 pages_of(const struct virtio_gpu_mem_entry *e)
{
	return ((e->addr % PAGE_SIZE) + e->length + PAGE_SIZE - 1) / PAGE_SIZE;
}

static void add_piece(struct gpu_pages *p, paddr_t at, u32 bytes)
{
	struct gpu_piece *last = p->nr ? &p->pieces[p->nr - 1] : NULL;

	p->bytes += bytes;
	if (last && last->addr + last->bytes == at && last->bytes + bytes > last->bytes)
		last->bytes += bytes;
	else
		p->pieces[p->nr++] = (struct gpu_piece){ at, bytes };
}

static int pin_entry(struct vgpu_memory *m, const struct virtio_gpu_mem_entry *e)
{
	u64 at = e->addr;
	u32 left = e->length;

	while (left) {
		u32 part = (u32)min((u64)left, PAGE_SIZE - at % PAGE_SIZE);
		int err = vfio_pin(&m->g->m->vfio, at & PAGE_MASK, 1, true, &m->page[m->nr_pinned]);

		if (err)
			return err;
		m->iova[m->nr_pinned] = at & PAGE_MASK;
		add_piece(&m->pages, page_phys(m->page[m->nr_pinned]) + at % PAGE_SIZE, part);
		m->nr_pinned++;
		at += part;
		left -= part;
	}
	resched_point();
	return 0;
}

void vgpu_memory_get(struct vgpu_memory *m)
{
	refcount_inc(&m->refs);
}

void vgpu_memory_put(struct vgpu_memory *m)
{
	if (!refcount_dec_and_test(&m->refs))
		return;
	spin_lock(&m->g->memory_lock);
	list_del(&m->link);
	spin_unlock(&m->g->memory_lock);
	vfio_unpin(&m->g->m->vfio, m->page, m->nr_pinned);
	big_free(m->page);
	big_free(m->iova);
	big_free(m->pages.pieces);
	kfree(m);
}

static void let_go(struct gpu_pages *p)
{
	vgpu_memory_put(container_of(p, struct vgpu_memory, pages));
}

int vgpu_memory_pin(struct vgpu *g, const struct virtio_gpu_mem_entry *e, u32 nr, struct vgpu_memory **out)
{
	struct vgpu_memory *m = kzalloc(sizeof(*m), 0);
	int err = m ? 0 : -ENOMEM;
	u64 pages = 0;

	if (err)
		return err;
	for (u32 i = 0; i < nr; i++)
		pages += pages_of(&e[i]);
	m->g = g;
	refcount_set(&m->refs, 1);
	m->pages.release = let_go;
	spin_lock(&g->memory_lock);
	list_add_tail(&m->link, &g->memories);
	spin_unlock(&g->memory_lock);
	if (pages * PAGE_SIZE > 2 * g->limits.resource_bytes)
		err = -EDQUOT;
	if (!err) {
		m->page = big_alloc(pages, sizeof(*m->page));
		m->iova = big_alloc(pages, sizeof(*m->iova));
		m->pages.pieces = big_alloc(pages, sizeof(*m->pages.pieces));
		err = m->page && m->iova && m->pages.pieces ? 0 : -ENOMEM;
	}
	for (u32 i = 0; i < nr && !err; i++)
		err = pin_entry(m, &e[i]);
	if (err)
		vgpu_memory_put(m);
	else
		*out = m;
	return err;
}

bool vgpu_memory_in(struct vgpu *g, u64 iova, u64 bytes)
{
	struct vgpu_memory *m;
	bool found = false;

	spin_lock(&g->memory_lock);
	list_for_each_entry (m, &g->memories, link)
		for (u32 i = 0; i < m->nr_pinned && !found; i++)
			found = m->iova[i] - iova < bytes;
	spin_unlock(&g->memory_lock);
	return found;
}

int vgpu_memory_read(const struct vgpu_memory *m, u64 offset, void *buf, size_t n)
{
	u64 start = 0;

	for (u32 i = 0; i < m->pages.nr && n; i++) {
		const struct gpu_piece *p = &m->pages.pieces[i];

		if (offset - start < p->bytes) {
			size_t part = min((u64)n, p->bytes - (offset - start));

			memcpy(buf, phys_to_virt(p->addr + (offset - start)), part);
			buf = (char *)buf + part;
			offset += part;
			n -= part;
		}
		start += p->bytes;
	}
	return n ? -EINVAL : 0;
}
