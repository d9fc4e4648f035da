/* SPDX-License-Identifier: MIT
 *
 * Problem: stacks want guard pages, big tables need not be contiguous, device registers must not be
 * cached: all need kernel addresses outside the direct map.
 *
 * Idea: an address-ordered tree of areas in a 512 GiB window, filled by a cursor that moves on (so
 * an address is not reused soon, and stale pointers fault). Each area ends with an unmapped page;
 * the one below belongs to its neighbour. When the cursor reaches the end it starts again and the
 * tree tells the gaps.
 *
 * Contract: alloc/kmap.h.
 *
 * Locks: `lock` (RANK_KMAP) guards tree and cursor; page tables have their own (arch).
 */
#include <alloc/kmap.h>
#include <alloc/page.h>
#include <alloc/slab.h>
#include <arch/cpu.h>
#include <core/log.h>
#include <core/spin.h>
#include <lib/rbtree.h>
#include "alloc_priv.h"

#define WINDOW_BASE 0xffffc90000000000UL
#define WINDOW_END  (WINDOW_BASE + (512UL << 30))

#define BIG   (256UL << 10) /* from here on pages need not be contiguous */
#define LARGE (1UL << 20)   /* vmem_alloc looks before it takes so much */

struct area {
	struct rb_node node;
	ulong start;
	size_t bytes; /* mapped; one guard page follows */
	bool device;
};

static struct spinlock lock = SPIN_INIT(RANK_SUBSYS_SPIN);
static struct rb_root areas = RB_ROOT;
static ulong cursor = WINDOW_BASE + PAGE_SIZE;

/* The first area that ends above `at`. */
static struct area *area_above(ulong at)
{
	struct rb_node *n = areas.node;
	struct area *best = NULL;

	while (n) {
		struct area *a = rb_entry(n, struct area, node);

		if (a->start + a->bytes + PAGE_SIZE > at) {
			best = a;
			n = n->left;
		} else {
			n = n->right;
		}
	}
	return best;
}

/* A gap of `span` bytes from `from` on; 0: none. */
static ulong find_gap(ulong from, size_t span)
{
	for (struct area *a = area_above(from); a; a = area_above(from)) {
		if (a->start >= from + span)
			break;
		from = a->start + a->bytes + PAGE_SIZE;
	}
	return from + span <= WINDOW_END ? from : 0;
}

static void insert(struct area *a)
{
	struct rb_node **link = &areas.node, *parent = NULL;

	while (*link) {
		parent = *link;
		link = a->start < rb_entry(parent, struct area, node)->start ? &parent->left : &parent->right;
	}
	rb_insert(&areas, &a->node, parent, link);
}

static struct area *reserve(size_t bytes, bool device)
{
	struct area *a = kmalloc(sizeof(*a), 0);
	size_t span = bytes + PAGE_SIZE;
	ulong flags, at;

	if (!a)
		return NULL;
	flags = spin_lock_irqsave(&lock);
	at = find_gap(cursor, span);
	if (!at)
		at = find_gap(WINDOW_BASE + PAGE_SIZE, span);
	if (at) {
		*a = (struct area){ .start = at, .bytes = bytes, .device = device };
		cursor = at + span;
		insert(a);
	}
	spin_unlock_irqrestore(&lock, flags);
	if (!at)
		kfree(a);
	return at ? a : NULL;
}

static void release(struct area *a)
{
	ulong flags = spin_lock_irqsave(&lock);

	rb_erase(&areas, &a->node);
	spin_unlock_irqrestore(&lock, flags);
	kfree(a);
}

static struct area *area_at(ulong start)
{
	ulong flags = spin_lock_irqsave(&lock);
	struct area *a = area_above(start);

	spin_unlock_irqrestore(&lock, flags);
	ensure(a && a->start == start);
	return a;
}

/* Unmaps, and drops the pages of, the first `bytes` of an area. The pages form a list until no CPU
 * can reach them. */
static void unmap_pages(struct area *a, size_t bytes)
{
	u32 list = 0;

	for (size_t i = 0; i < bytes; i += PAGE_SIZE) {
		struct page *p = pfn_to_page(kernel_phys(a->start + i) >> PAGE_SHIFT);

		p->next = list;
		list = (u32)page_to_pfn(p);
	}
	if (bytes)
		kernel_unmap(a->start, bytes);
	while (list) {
		struct page *p = pfn_to_page(list);

		list = p->next;
		page_put(p);
	}
}

/* A large request takes what is free or cached, but the last sixteenth of the memory: it fails rather than has
 * processes killed for it, or leaves nothing to those that come after. */
static bool is_affordable(size_t bytes)
{
	struct page_stats s;
	u64 there;

	if (bytes < LARGE)
		return true;
	page_stats(&s);
	there = s.free + (s.cached > s.shmem ? s.cached - s.shmem : 0);
	return bytes / PAGE_SIZE + s.total / 16 <= there;
}

void *vmem_alloc(size_t bytes)
{
	struct area *a;

	bytes = ALIGN_UP(bytes, PAGE_SIZE);
	a = bytes && is_affordable(bytes) ? reserve(bytes, false) : NULL;
	if (!a)
		return NULL;
	for (size_t i = 0; i < bytes; i += PAGE_SIZE) {
		struct page *p = page_alloc(0, ALLOC_ZERO, NULL);

		if (p && kernel_map(a->start + i, page_phys(p), PAGE_SIZE, PT_READ | PT_WRITE | PT_GLOBAL) == 0)
			continue;
		if (p)
			page_put(p);
		unmap_pages(a, i);
		release(a);
		return NULL;
	}
	return (void *)a->start;
}

void vmem_free(void *p)
{
	struct area *a;

	if (!p)
		return;
	a = area_at((ulong)p);
	unmap_pages(a, a->bytes);
	release(a);
}

void vmem_make_code(void *p)
{
	struct area *a = area_at((ulong)p);

	kernel_protect(a->start, a->bytes, PT_READ | PT_EXEC | PT_GLOBAL);
}

void *big_alloc(size_t n, size_t size)
{
	size_t bytes;

	if (__builtin_mul_overflow(n, size, &bytes))
		return NULL;
	return bytes > BIG ? vmem_alloc(bytes) : kzalloc(bytes, 0);
}

void big_free(const void *p)
{
	if ((ulong)p >= WINDOW_BASE && (ulong)p < WINDOW_END)
		vmem_free((void *)p);
	else
		kfree(p);
}

void *io_map(u64 paddr, size_t bytes)
{
	u64 offset = paddr & (PAGE_SIZE - 1);
	struct area *a;

	bytes = ALIGN_UP(bytes + offset, PAGE_SIZE);
	a = reserve(bytes, true);
	if (!a)
		return NULL;
	if (kernel_map(a->start, paddr - offset, bytes, PT_READ | PT_WRITE | PT_NOCACHE | PT_GLOBAL)) {
		release(a);
		return NULL;
	}
	return (void *)(a->start + offset);
}

void io_unmap(void *p)
{
	struct area *a;

	if (!p)
		return;
	a = area_at((ulong)p & PAGE_MASK);
	kernel_unmap(a->start, a->bytes);
	release(a);
}
