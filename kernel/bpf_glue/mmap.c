/* SPDX-License-Identifier: MIT
 *
 * Problem: programs share variables (arrays with BPF_F_MMAPABLE) and ring buffers with a process through its memory.
 *
 * Idea: one mapping a map, made at the first mmap and freed with the map. Its pages are the map's own. A ring buffer's
 * data area appears twice in a row, so that no record ever wraps for the reader.
 *
 *      ring:  page 0 consumer's position (writable) | page 1 producer's position | data | data again
 *
 * Contract: mmap(2) of a map's descriptor as in Linux 6.1: shared only; a read-only mapping stays so; of a ring the
 * first page alone may be written. A writable mapping keeps the map from being frozen.
 *
 * Locks: the view is published by compare-and-swap; mm's rules for mappings (mm/mapping.h).
 */
#include <alloc/page.h>
#include <alloc/slab.h>
#include <lib/err.h>
#include <linux/mman.h>
#include <mm/mapping.h>
#include <mm/mm.h>

#include "glue_priv.h"

struct view {
	struct mapping mapping;
	struct bpf_map *map;
	u8 *base;
	u64 pages, twice_from; /* of the map; the second sight of a ring's data begins behind them, at this page */
};

static struct view *view_of(const struct mapping *m)
{
	return m->owner;
}

static int fill(struct mapping *m, u64 index, bool write, struct page **out)
{
	struct view *v = view_of(m);

	if (v->twice_from && index >= v->pages)
		index = index - v->pages + v->twice_from;
	if (index >= v->pages)
		return -EFAULT;
	*out = pfn_to_page(kernel_phys((ulong)v->base + index * PAGE_SIZE) >> PAGE_SHIFT);
	page_get(*out);
	return 0;
}

static void get(struct mapping *m)
{
	bpf_map_get(view_of(m)->map);
}

static void put(struct mapping *m)
{
	bpf_map_put(view_of(m)->map);
}

static int map_vma(struct mapping *m, struct vma *v)
{
	v->flags &= ~(u32)VMA_MAYEXEC;
	if (!(v->flags & VMA_WRITE))
		v->flags &= ~(u32)VMA_MAYWRITE;
	return 0;
}

static const struct mapping_ops mapping_ops = { .fill = fill, .get = get, .put = put, .map = map_vma };

static void free_view(void *view)
{
	struct view *v = view;

	for (u64 i = 0; i < v->pages; i++)
		pfn_to_page(kernel_phys((ulong)v->base + i * PAGE_SIZE) >> PAGE_SHIFT)->owner = NULL;
	kfree(v);
}

/* The map's view, made if it is the first time. NULL: out of memory. */
static struct view *view_get(struct bpf_map *map, u8 *base, u64 bytes)
{
	struct view *v = __atomic_load_n((struct view **)&map->view, __ATOMIC_ACQUIRE), *none = NULL;

	if (v)
		return v;
	v = kzalloc(sizeof(*v), 0);
	if (!v)
		return NULL;
	mapping_init(&v->mapping, &mapping_ops, v);
	v->map = map;
	v->base = base;
	v->pages = bytes / PAGE_SIZE;
	v->twice_from = map->type == BPF_MAP_TYPE_RINGBUF ? 2 : 0;
	map->free_view = free_view;
	if (!__atomic_compare_exchange_n((struct view **)&map->view, &none, v, false, __ATOMIC_ACQ_REL,
					 __ATOMIC_ACQUIRE)) {
		kfree(v);
		return none;
	}
	for (u64 i = 0; i < v->pages; i++)
		pfn_to_page(kernel_phys((ulong)base + i * PAGE_SIZE) >> PAGE_SHIFT)->owner = &v->mapping;
	__atomic_store_n(&map->view_writers, &v->mapping.writable, __ATOMIC_RELEASE);
	return v;
}

static int check(const struct bpf_map *map, u64 pages, unsigned prot, u64 index, u64 count)
{
	bool ring = map->type == BPF_MAP_TYPE_RINGBUF;

	if (prot & PROT_WRITE && ring && (index || count != 1))
		return -EPERM;
	if (prot & PROT_WRITE && !ring && READ_ONCE(map->frozen))
		return -EPERM;
	if (prot & PROT_WRITE && map->flags & BPF_F_RDONLY_PROG)
		return -EACCES;
	return index + count > (ring ? pages * 2 - 2 : pages) ? -EINVAL : 0;
}

int bpf_file_mmap(struct file *f, unsigned prot, unsigned map_flags, u64 *index, size_t bytes, struct mapping **out)
{
	struct bpf_map *map = f->priv;
	u64 size, count = DIV_ROUND_UP(bytes, PAGE_SIZE);
	u8 *base = bpf_map_pages(map, &size);
	struct view *v;
	int err;

	if (!base)
		return map->type == BPF_MAP_TYPE_ARRAY && map->spin_lock_off < 0 ? -EINVAL : -ENOTSUPP;
	if ((map_flags & MAP_TYPE) == MAP_PRIVATE)
		return -EINVAL;
	err = check(map, size / PAGE_SIZE, prot, *index, count);
	if (err)
		return err;
	v = view_get(map, base, size);
	if (!v)
		return -ENOMEM;
	*out = &v->mapping;
	return 0;
}
