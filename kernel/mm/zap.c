/* SPDX-License-Identifier: MIT
 *
 * Problem: taking pages or rights away from a range of addresses, in any mix of small, huge,
 * anonymous, file and device entries, while other CPUs run in it and still cache the translations.
 *
 * Idea: walk leaf tables in chunks of at most CHUNK entries. Under the table's lock the entries are
 * exchanged and the pages remembered; after the unlock each page goes to the TLB gather, which drops
 * its reference only after every CPU has forgotten the translation. What the CPU noted as dirty is
 * handed to the mapping, also outside the lock because that may sleep.
 *
 * Contract: mm_priv.h; mapping_unmap_range and mapping_clean_page of mm/mapping.h.
 *
 * Locks: the caller keeps v (mm->lock or v->mapping->lock). Page-table locks inside, one at a time.
 */
#include <task/sched.h>
#include "mm_priv.h"

#define CHUNK 64

struct chunk {
	unsigned nr, anon, file, swapped;
	bool known; /* to CPUs and shadows: an entry was present, be it of a page that nobody counts */
	u64 dirty;  /* bit i: pages[i] */
	struct page *pages[CHUNK];
};

int huge_split(struct mm *m, ulong va)
{
	struct pt_leaf leaf;
	struct page *page;
	int err;

	if (pt_leaf_get(&m->pt, va, false, &leaf, NULL) || !leaf.huge)
		return 0;
	pt_leaf_lock(&leaf);
	if (!pte_is_present(*leaf.entry) || !pte_is_huge(*leaf.entry)) {
		pt_leaf_unlock(&leaf);
		return 0;
	}
	page = pte_page(*leaf.entry);
	atomic_add(&page->refs, 511); /* one for each small entry */
	pt_leaf_unlock(&leaf);
	err = pt_huge_split(&m->pt, ALIGN_DOWN(va, HUGE_SIZE));
	if (err)
		atomic_sub(&page->refs, 511);
	return err == -ENOENT ? 0 : err; /* somebody else has split it */
}

static void chunk_take(struct chunk *c, pte_t *entry, pte_t e)
{
	struct page *page;

	e = pte_exchange(entry, (pte_t)0);
	if (unlikely(!pte_is_present(e))) {
		swap_drop(e);
		c->swapped++;
		return;
	}
	c->known = true;
	if (pte_is_special(e))
		return;
	page = pte_page(e);
	if (page->flags & PAGE_ANON) {
		c->anon++;
	} else {
		c->file++;
		page_unmapped(page);
		if (pte_is_dirty(e))
			c->dirty |= BIT(c->nr);
	}
	c->pages[c->nr++] = page;
}

static void chunk_release(struct vma *v, struct chunk *c, ulong va, struct tlb_gather *g)
{
	if (c->dirty && v->mapping && v->mapping->ops->dirty && (v->flags & VMA_SHARED)) {
		for (unsigned i = 0; i < c->nr; i++)
			if (c->dirty & BIT(i))
				v->mapping->ops->dirty(v->mapping, c->pages[i]);
	}
	if (c->anon)
		atomic_sub(&v->mm->rss_anon, c->anon);
	if (c->swapped)
		atomic_sub(&v->mm->rss_swap, c->swapped);
	if (c->file)
		atomic_sub(&v->mm->rss_file, c->file);
	for (unsigned i = 0; i < c->nr; i++)
		tlb_add_page(g, va, c->pages[i]);
}

/* A huge entry at va that lies wholly in the range. */
static void zap_huge(struct vma *v, struct pt_leaf *leaf, ulong va, struct tlb_gather *g)
{
	struct page *page = NULL;

	pt_leaf_lock(leaf);
	if (pte_is_huge(*leaf->entry)) {
		pte_t e = pte_exchange(leaf->entry, (pte_t)0);

		tlb_add_range(g, va, HUGE_SIZE);
		page = pte_is_special(e) ? NULL : pte_page(e);
	}
	pt_leaf_unlock(leaf);
	if (!page)
		return;
	atomic_sub(&v->mm->rss_anon, 512);
	tlb_add_page(g, va, page);
}

static void zap_leaf(struct vma *v, struct pt_leaf *leaf, ulong va, unsigned n, bool keep_private, struct tlb_gather *g)
{
	pte_t *entry = leaf->entry;

	for (unsigned at = 0; at < n;) {
		unsigned from = at, stop = min(n, at + CHUNK);
		struct chunk c = { .nr = 0 };

		pt_leaf_lock(leaf);
		for (; at < stop; at++) {
			pte_t e = pte_read(entry + at);

			if (pte_is_none(e))
				continue;
			if (keep_private && !pte_is_present(e))
				continue;
			if (keep_private && !pte_is_special(e) && (pte_page(e)->flags & PAGE_ANON))
				continue;
			chunk_take(&c, entry + at, e);
		}
		pt_leaf_unlock(leaf);
		if (c.known)
			tlb_add_range(g, va + from * PAGE_SIZE, (at - from) * PAGE_SIZE);
		chunk_release(v, &c, va + from * PAGE_SIZE, g);
	}
}

void zap_range(struct vma *v, ulong start, ulong end, bool keep_private, struct tlb_gather *g)
{
	struct mm *m = v->mm;

	for (ulong va = start, next; va < end; va = next) {
		struct pt_leaf leaf;
		unsigned n;

		if (pt_leaf_get(&m->pt, va, false, &leaf, &next))
			continue;
		if (leaf.huge && IS_ALIGNED(va, HUGE_SIZE) && end - va >= HUGE_SIZE) {
			zap_huge(v, &leaf, va, g);
			next = va + HUGE_SIZE;
			continue;
		}
		if (leaf.huge) { /* a part of one: callers have split at edges that they could */
			next = va;
			if (huge_split(m, va))
				next = ALIGN_DOWN(va, HUGE_SIZE) + HUGE_SIZE;
			continue;
		}
		n = min((ulong)leaf.left, (end - va) >> PAGE_SHIFT);
		zap_leaf(v, &leaf, va, n, keep_private, g);
		next = va + n * PAGE_SIZE;
		resched_point();
	}
}

/* The rights that an entry may have now without asking anybody: a private page that others may share, and a file page
 * whose file does not know yet that it will be written, stay read-only until the write fault. */
static unsigned safe_rights(const struct vma *v, unsigned old)
{
	unsigned now = vma_rights(v);

	if (!(old & PT_WRITE))
		now &= ~PT_WRITE;
	return now | (old & (PT_DIRTY | PT_YOUNG | PT_SPECIAL | PT_NOCACHE | PT_WC));
}

static bool reprotect_entry(struct vma *v, pte_t *entry)
{
	pte_t e = pte_read(entry);
	unsigned rights, old;

	if (pte_is_none(e) || !pte_is_present(e))
		return false;
	rights = safe_rights(v, pte_rights(e));
	if (rights == pte_rights(e))
		return false;
	e = pte_exchange(entry, (pte_t)0);
	old = pte_rights(e); /* the CPU may have set DIRTY in between */
	pte_set(entry, pte_with_rights(e, safe_rights(v, old)));
	return true;
}

int reprotect_range(struct vma *v, ulong start, ulong end, struct tlb_gather *g)
{
	struct mm *m = v->mm;

	for (ulong va = start, next; va < end; va = next) {
		struct pt_leaf leaf;
		bool changed = false;
		unsigned n = 1;

		if (pt_leaf_get(&m->pt, va, false, &leaf, &next))
			continue;
		if (leaf.huge && !(IS_ALIGNED(va, HUGE_SIZE) && end - va >= HUGE_SIZE)) {
			int err = huge_split(m, va);

			if (err)
				return err;
			next = va;
			continue;
		}
		if (!leaf.huge)
			n = min((ulong)leaf.left, (end - va) >> PAGE_SHIFT);
		pt_leaf_lock(&leaf);
		for (unsigned i = 0; i < n; i++)
			changed |= reprotect_entry(v, leaf.entry + i);
		pt_leaf_unlock(&leaf);
		next = va + (leaf.huge ? HUGE_SIZE : n * PAGE_SIZE);
		if (changed)
			tlb_add_range(g, va, next - va);
	}
	return 0;
}
