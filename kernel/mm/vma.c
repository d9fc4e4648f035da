/* SPDX-License-Identifier: MIT
 *
 * Problem: VMAs are split, joined, shrunk and removed by every call that touches a part of a
 * mapping, and each must stay in step with the tree, with its mapping's list and with the counters
 * that /proc and the limits show.
 *
 * Idea: few primitives, each leaving everything consistent: alloc, attach, split, merge, set_bounds,
 * detach. Callers first carve the range that they change into whole VMAs (the only step that can
 * fail for lack of memory, and harmless if it does), then change whole VMAs, then merge.
 *
 * Contract: mm_priv.h. A mapping's put may take locks that come before mm->lock (the last reference
 * to a file), so removed VMAs are collected and buried after the unlock.
 *
 * Locks: mm->lock for writing; bounds of a VMA with a mapping also under mapping->lock, so that
 * mapping_unmap_range may walk without the mm lock.
 */
#include "mm_priv.h"

static struct kcache *vma_cache;

u32 mm_max_vmas = 65530;

void vma_cache_init(void)
{
	vma_cache = kcache_create_charged("vma", sizeof(struct vma), 0);
	ensure(vma_cache);
}

struct vma *vma_alloc(struct mm *m, ulong start, ulong end, u32 flags, struct mapping *mapping, u64 index)
{
	struct vma *v = kcache_alloc(vma_cache, ALLOC_ZERO);

	if (!v)
		return NULL;
	v->mm = m;
	v->start = start;
	v->end = end;
	v->flags = flags;
	v->mapping = mapping;
	v->index = index;
	list_init(&v->mapping_link);
	return v;
}

void vma_account(struct mm *m, u32 flags, s64 pages)
{
	m->total_pages += pages;
	m->peak_pages = max(m->peak_pages, m->total_pages);
	if (flags & VMA_LOCKED)
		m->locked_pages += pages;
	if (flags & VMA_GROWSDOWN)
		m->stack_pages += pages;
	else if ((flags & (VMA_WRITE | VMA_SHARED)) == VMA_WRITE)
		m->data_pages += pages;
	if ((flags & (VMA_EXEC | VMA_WRITE)) == VMA_EXEC)
		m->exec_pages += pages;
	if (flags & VMA_COMMITTED)
		page_stat_add(PAGE_STAT_COMMITTED, pages);
}

static bool counts_as_writer(const struct vma *v)
{
	return (v->flags & (VMA_SHARED | VMA_MAYWRITE)) == (VMA_SHARED | VMA_MAYWRITE);
}

static void mapping_enter(struct vma *v)
{
	struct mapping *map = v->mapping;

	if (map->ops->get)
		map->ops->get(map);
	mutex_lock(&map->lock);
	list_add_tail(&v->mapping_link, &map->vmas);
	mutex_unlock(&map->lock);
}

static void mapping_leave(struct vma *v)
{
	struct mapping *map = v->mapping;

	mutex_lock(&map->lock);
	list_del_init(&v->mapping_link);
	mutex_unlock(&map->lock);
}

static void count_writer(const struct vma *v)
{
	if (counts_as_writer(v))
		atomic_inc(&v->mapping->writable);
}

static int ask_mapping(struct vma *v)
{
	const struct mapping_ops *ops = v->mapping->ops;

	if (ops->frame) {
		if (!(v->flags & VMA_SHARED))
			return -EINVAL;
		v->flags |= VMA_SPECIAL | VMA_DONTDUMP;
	}
	return ops->map ? ops->map(v->mapping, v) : 0;
}

int vma_attach(struct vma *v)
{
	int err;

	if (v->mapping) {
		mapping_enter(v);
		err = ask_mapping(v);
		if (err) {
			mapping_leave(v);
			return err;
		}
		count_writer(v);
	}
	vma_link(v->mm, v);
	vma_account(v->mm, v->flags, vma_pages(v));
	return 0;
}

void vma_detach(struct vma *v, struct list *dead)
{
	if (v->mapping) {
		if (v->mapping->ops->unmap)
			v->mapping->ops->unmap(v->mapping, v);
		mapping_leave(v);
		if (counts_as_writer(v))
			atomic_dec(&v->mapping->writable);
	}
	vma_account(v->mm, v->flags, -(s64)vma_pages(v));
	list_add_tail(&v->mapping_link, dead);
}

void vma_bury(struct list *dead)
{
	struct vma *v, *n;

	list_for_each_entry_safe (v, n, dead, mapping_link) {
		if (v->mapping && v->mapping->ops->put)
			v->mapping->ops->put(v->mapping);
		mempolicy_put(v->policy);
		kcache_free(vma_cache, v);
	}
	list_init(dead);
}

void vma_set_bounds(struct vma *v, ulong start, ulong end)
{
	if (v->mapping)
		mutex_lock(&v->mapping->lock);
	v->index += ((s64)start - (s64)v->start) >> PAGE_SHIFT;
	v->start = start;
	v->end = end;
	if (v->mapping)
		mutex_unlock(&v->mapping->lock);
}

int vma_split(struct vma *v, ulong addr)
{
	struct mm *m = v->mm;
	struct vma *high;
	int err;

	if (m->nr_vmas >= READ_ONCE(mm_max_vmas))
		return -ENOMEM;
	err = IS_ALIGNED(addr, HUGE_SIZE) ? 0 : huge_split(m, addr);
	if (err)
		return err;
	high = vma_alloc(m, addr, v->end, v->flags, v->mapping, vma_index(v, addr));
	if (!high)
		return -ENOMEM;
	high->has_private = v->has_private;
	high->name = v->name;
	high->policy = mempolicy_get(v->policy);
	vma_set_bounds(v, v->start, addr);
	if (v->mapping)
		mapping_enter(high);
	count_writer(high);
	vma_link(m, high);
	return 0;
}

/* Takes `gone` out of the tree; its range belongs to a neighbour now. */
static void absorb(struct vma *gone, struct list *dead)
{
	vma_unlink(gone->mm, gone);
	if (gone->mapping)
		mapping_leave(gone);
	list_add_tail(&gone->mapping_link, dead);
}

struct vma *vma_merge(struct vma *v, struct list *dead)
{
	struct vma *prev = vma_prev(v), *next = vma_next(v);

	if (next && vma_can_merge(v, next)) {
		ulong end = next->end;

		v->has_private |= next->has_private;
		absorb(next, dead);
		vma_set_bounds(v, v->start, end);
	}
	if (prev && vma_can_merge(prev, v)) {
		ulong end = v->end;

		prev->has_private |= v->has_private;
		absorb(v, dead);
		vma_set_bounds(prev, prev->start, end);
		v = prev;
	}
	return v;
}

int vma_carve(struct mm *m, ulong start, ulong end, struct vma **first)
{
	struct vma *v = vma_find(m, start), *last;
	int err;

	*first = NULL;
	if (!v || v->start >= end)
		return 0;
	if (v->start < start) {
		err = vma_split(v, start);
		if (err)
			return err;
		v = vma_next(v);
	}
	last = vma_find(m, end - 1);
	if (last && last->start < end && last->end > end) {
		err = vma_split(last, end);
		if (err)
			return err;
	}
	*first = v;
	return 0;
}
