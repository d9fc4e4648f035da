/* SPDX-License-Identifier: MIT
 *
 * Problem: page colouring decides where new pages go; a program that is given other colours while it runs keeps its
 * old pages, and with them the cache sets that it should leave.
 *
 * Idea: walk the private memory of an address space and copy each page of a wrong colour to one of a right colour:
 * under the table's lock the entry is emptied, every CPU forgets it, the page is copied and the entry filled again, so
 * that a program that touches it meanwhile faults and waits for the lock. Only pages that this address space alone
 * uses are moved: one reference, which is the entry's. Pages shared since a fork, pinned by devices, and pages of
 * files stay. A huge page nobody else uses is broken into single ones first.
 *
 * Contract: mm/mm.h. It may be interrupted and repeated at will: what is right stays.
 *
 * Locks: mm->lock for reading, for STEP pages at a time; one page-table lock.
 */
#include <alloc/colour.h>
#include <lib/string.h>
#include <task/sched.h>
#include "mm_priv.h"

#define STEP 64 /* pages between two chances for writers of the address space */

static bool wanted(const struct mm_recolour *r, pte_t e)
{
	struct page *page;

	if (pte_is_none(e) || !pte_is_present(e) || pte_is_huge(e) || pte_is_special(e))
		return false;
	page = pfn_to_page(pte_pfn(e));
	return page && (page->flags & (PAGE_ANON | PAGE_TAIL)) &&
	       !page_colour_allowed(pte_pfn(e), r->nr_colours, r->mask);
}

static void copy_descriptor(struct page *to, const struct page *from)
{
	page_set_anon(to);
	to->index = from->index;
	to->owner = from->owner;
}

/* Moves the page at va, if it is still what was seen and nobody else's. */
static int move_page(struct mm *m, ulong va, struct pt_leaf *leaf, struct mm_recolour *r)
{
	struct page *to = page_alloc_coloured(r->mask, 0, m->tenant), *from = NULL;
	struct tlb_gather g;
	pte_t e;

	if (!to)
		return -ENOMEM;
	tlb_begin(&g, &m->pt);
	pt_leaf_lock(leaf);
	e = pte_read(leaf->entry);
	if (wanted(r, e))
		from = pfn_to_page(pte_pfn(e));
	if (from && !(from->flags & PAGE_TAIL) && !page_order(from) && atomic_read(&from->refs) == 1) {
		e = pte_exchange(leaf->entry, (pte_t)0);
		tlb_add_range(&g, va, PAGE_SIZE);
		tlb_finish(&g); /* nobody writes the old page any more */
		memcpy(page_virt(to), page_virt(from), PAGE_SIZE);
		copy_descriptor(to, from);
		pte_set(leaf->entry, pte_make(page_to_pfn(to), pte_rights(e)));
		r->moved++;
		pt_leaf_unlock(leaf);
		page_put(from);
		return 0;
	}
	pt_leaf_unlock(leaf);
	tlb_finish(&g);
	r->left += from != NULL;
	page_put(to);
	return 0;
}

/* All 512 entries of the table that va's huge page has become, and nobody else: then its pages can live alone. */
static bool is_sole_user(const struct pt_leaf *leaf, const struct page *head)
{
	pfn_t first = page_to_pfn(head);

	if (page_order(head) != 9 || atomic_read(&head->refs) != 512)
		return false;
	for (unsigned i = 0; i < 512; i++)
		if (!pte_is_present(pte_read(leaf->entry + i)) || pte_pfn(pte_read(leaf->entry + i)) != first + i)
			return false;
	return true;
}

void huge_break(struct mm *m, ulong va)
{
	struct pt_leaf leaf;
	struct page *head;
	pte_t e;

	if (pt_leaf_get(&m->pt, va, false, &leaf, NULL) || leaf.huge)
		return;
	pt_leaf_lock(&leaf);
	e = pte_read(leaf.entry);
	head = !pte_is_present(e) || pte_is_special(e) ? NULL : pfn_to_page(pte_pfn(e));
	if (head && (head->flags & PAGE_ANON) && is_sole_user(&leaf, head)) {
		page_split(head);
		atomic_set(&head->refs, 1);
		for (unsigned i = 0; i < 512; i++)
			head[i].flags |= PAGE_ANON;
	}
	pt_leaf_unlock(&leaf);
}

static int recolour_range(struct mm *m, ulong va, ulong end, struct mm_recolour *r)
{
	ulong next;
	int err;

	for (; va < end; va = next) {
		struct pt_leaf leaf;

		if (pt_leaf_get(&m->pt, va, false, &leaf, &next))
			continue;
		next = va + PAGE_SIZE;
		if (leaf.huge) {
			err = huge_split(m, va);
			if (err)
				return err;
			huge_break(m, ALIGN_DOWN(va, HUGE_SIZE));
			next = va;
			continue;
		}
		err = wanted(r, pte_read(leaf.entry)) ? move_page(m, va, &leaf, r) : 0;
		if (err)
			return err;
	}
	return 0;
}

int mm_recolour(struct mm *m, struct mm_recolour *r)
{
	int err = 0;

	for (ulong va = 0; !err;) {
		struct vma *v;
		ulong end;

		read_lock(&m->lock);
		v = vma_find(m, va);
		if (!v) {
			read_unlock(&m->lock);
			break;
		}
		va = max(va, v->start);
		end = v->end;
		if (v->has_private && !(v->flags & VMA_SPECIAL)) {
			end = min(end, va + STEP * PAGE_SIZE);
			err = recolour_range(m, va, end, r);
		}
		read_unlock(&m->lock);
		va = end;
		resched_point();
	}
	return err;
}
