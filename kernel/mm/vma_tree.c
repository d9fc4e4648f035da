/* SPDX-License-Identifier: MIT
 *
 * Problem: an address space is a set of disjoint ranges, asked three things: which range holds or
 * follows an address, is a range free, and where is room for a new one.
 *
 * Idea: a red-black tree by start address. Room is looked for from the top down, and the search
 * remembers how far it came: between gap_hint and mmap_base no gap is larger than gap_bytes, so a
 * program that maps and maps does not walk its whole tree each time. Removing a range lifts the
 * hint over the new gap (vma_unlink). A VMA that grows down keeps a gap of its own below it.
 *
 * Contract: mm_priv.h. No page tables, no mappings: this file also runs in host tests.
 *
 * Locks: mm->lock, for writing where the tree or the hint changes.
 */
#include "mm_priv.h"

static struct vma *entry(struct rb_node *n)
{
	return n ? rb_entry(n, struct vma, node) : NULL;
}

struct vma *vma_find(const struct mm *m, ulong addr)
{
	struct rb_node *n = m->vmas.node;
	struct vma *best = NULL;

	while (n) {
		struct vma *v = rb_entry(n, struct vma, node);

		if (v->end > addr) {
			best = v;
			if (v->start <= addr)
				break;
			n = n->left;
		} else {
			n = n->right;
		}
	}
	return best;
}

struct vma *vma_next(const struct vma *v)
{
	return entry(rb_next(&v->node));
}

struct vma *vma_prev(const struct vma *v)
{
	return entry(rb_prev(&v->node));
}

struct vma *vma_last(const struct mm *m)
{
	return entry(rb_last(&m->vmas));
}

void vma_link(struct mm *m, struct vma *v)
{
	struct rb_node **link = &m->vmas.node, *parent = NULL;

	while (*link) {
		parent = *link;
		link = v->start < rb_entry(parent, struct vma, node)->start ? &parent->left : &parent->right;
	}
	rb_insert(&m->vmas, &v->node, parent, link);
	m->nr_vmas++;
}

void vma_unlink(struct mm *m, struct vma *v)
{
	struct vma *next = vma_next(v);

	if (v->end > m->gap_hint)
		m->gap_hint = min(m->mmap_base, next ? next->start : m->mmap_base);
	rb_erase(&m->vmas, &v->node);
	rb_clear(&v->node);
	m->nr_vmas--;
}

/* Flags that only say where a VMA came from do not keep two apart. */
bool vma_can_merge(const struct vma *low, const struct vma *high)
{
	return low->end == high->start && low->flags == high->flags && low->mapping == high->mapping &&
	       low->name == high->name && mempolicy_equal(low->policy, high->policy) &&
	       !(low->flags & (VMA_SPECIAL | VMA_GROWSDOWN)) && low->index + vma_pages(low) == high->index;
}

bool vma_range_free(const struct mm *m, ulong start, ulong end)
{
	struct vma *v = vma_find(m, start);

	return !v || v->start >= end;
}

static ulong low_edge(const struct vma *v)
{
	ulong gap = v->flags & VMA_GROWSDOWN ? STACK_GAP_BYTES : 0;

	return v->start > gap ? v->start - gap : 0;
}

/* The search above mmap_base, from below: only when nothing is left under it. */
static int gap_find_up(struct mm *m, size_t bytes, ulong *out)
{
	ulong at = m->mmap_base;

	for (struct vma *v = vma_find(m, at); v; v = vma_next(v)) {
		ulong edge = low_edge(v);

		if (edge > at && edge - at >= bytes)
			break;
		at = v->end;
	}
	if (USER_END - at < bytes)
		return -ENOMEM;
	*out = at;
	return 0;
}

static bool gap_fits(ulong low, ulong high, size_t bytes, ulong align, ulong *out)
{
	if (high < low || high - low < bytes)
		return false;
	*out = ALIGN_DOWN(high - bytes, align);
	return *out >= low;
}

int vma_gap_find(struct mm *m, size_t bytes, ulong align, ulong limit, ulong *out)
{
	bool cached = limit == m->mmap_base;
	ulong top = limit, largest = 0;
	struct vma *prev, *next;

	if (cached && bytes > m->gap_bytes) {
		top = m->gap_hint;
		largest = m->gap_bytes;
	}
	next = vma_find(m, top);
	prev = next ? vma_prev(next) : vma_last(m);
	if (next)
		top = min(top, low_edge(next));
	for (;;) {
		ulong low = prev ? max(prev->end, MMAP_MIN_ADDR) : MMAP_MIN_ADDR;

		if (gap_fits(low, top, bytes, align, out))
			break;
		if (top > low)
			largest = max(largest, top - low);
		if (!prev || prev->start <= MMAP_MIN_ADDR)
			return cached ? gap_find_up(m, bytes, out) : -ENOMEM;
		top = low_edge(prev);
		prev = vma_prev(prev);
	}
	if (cached) {
		m->gap_bytes = max(largest, top - (*out + bytes));
		m->gap_hint = *out;
	}
	return 0;
}
