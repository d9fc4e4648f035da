/* SPDX-License-Identifier: MIT
 *
 * Problem: a file is cut, or written back, while any number of address spaces map its pages.
 *
 * Idea: the mapping lists its VMAs; from a page's index follows its address in each. Cutting empties
 * the entries of the range everywhere; cleaning write-protects the entries of one page everywhere
 * and collects the CPU's dirty marks, so that the next write faults and is counted again.
 *
 * Contract: mm/mapping.h.
 *
 * Locks: mapping->lock keeps the VMAs and their bounds; no mm lock is taken, since the caller may
 * hold locks that come after it. Page tables live until their last VMA has left the list.
 */
#include "mm_priv.h"

void mapping_init(struct mapping *m, const struct mapping_ops *ops, void *owner)
{
	*m = (struct mapping){ .ops = ops, .owner = owner };
	mutex_init(&m->lock, RANK_MAPPING);
	list_init(&m->vmas);
}

void mapping_unmap_range(struct mapping *m, u64 index, u64 count, bool private_too)
{
	struct vma *v;

	if (list_empty(&m->vmas))
		return;
	mutex_lock(&m->lock);
	list_for_each_entry (v, &m->vmas, mapping_link) {
		u64 from = max(index, v->index);
		u64 to = min(index + count < index ? ~0ULL : index + count, v->index + vma_pages(v));
		struct tlb_gather g;

		if (from >= to)
			continue;
		tlb_begin(&g, &v->mm->pt);
		zap_range(v, v->start + ((from - v->index) << PAGE_SHIFT), v->start + ((to - v->index) << PAGE_SHIFT),
			  !private_too, &g);
		tlb_finish(&g);
	}
	mutex_unlock(&m->lock);
}

/* The entry of va loses WRITE and DIRTY if it maps page. True: it was dirty. */
static bool clean_entry(struct vma *v, ulong va, struct page *page, struct tlb_gather *g)
{
	struct pt_leaf leaf;
	bool dirty = false;
	pte_t e;

	if (pt_leaf_get(&v->mm->pt, va, false, &leaf, NULL) || leaf.huge)
		return false;
	pt_leaf_lock(&leaf);
	e = pte_read(leaf.entry);
	if (pte_is_present(e) && !(pte_rights(e) & PT_SPECIAL) && pte_page(e) == page_head(page) &&
	    (pte_rights(e) & (PT_WRITE | PT_DIRTY))) {
		e = pte_exchange(leaf.entry, (pte_t)0);
		dirty = pte_rights(e) & PT_DIRTY;
		pte_set(leaf.entry, pte_with_rights(e, pte_rights(e) & ~(unsigned)(PT_WRITE | PT_DIRTY)));
		tlb_add_range(g, va, PAGE_SIZE);
	}
	pt_leaf_unlock(&leaf);
	return dirty;
}

bool mapping_clean_page(struct mapping *m, struct page *p)
{
	bool dirty = false;
	struct vma *v;

	if (list_empty(&m->vmas))
		return false;
	mutex_lock(&m->lock);
	list_for_each_entry (v, &m->vmas, mapping_link) {
		struct tlb_gather g;

		if (!(v->flags & VMA_SHARED) || p->index < v->index || p->index >= v->index + vma_pages(v))
			continue;
		tlb_begin(&g, &v->mm->pt);
		dirty |= clean_entry(v, v->start + ((p->index - v->index) << PAGE_SHIFT), p, &g);
		tlb_finish(&g);
	}
	mutex_unlock(&m->lock);
	return dirty;
}
