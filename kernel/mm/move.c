/* SPDX-License-Identifier: MIT
 *
 * Problem: page colouring and memory policies decide where new pages go; a program that is given other colours, or
 * other nodes, while it runs keeps its old pages where they should not be.
 *
 * Idea: walk the private memory of an address space and copy each page that is wrong to one that is right: under the
 * table's lock the entry is emptied, every CPU forgets it, the page is copied and the entry filled again, so that a
 * program that touches it meanwhile faults and waits for the lock. Who pays for the page goes on to pay. Only pages
 * that this address space alone uses are moved: one reference, which is the entry's. Pages shared since a fork, pinned
 * by devices, and pages of files stay. A huge page moves as it is, or is broken into single ones first.
 *
 * Contract: mm/mm.h, mm_priv.h. It may be interrupted and repeated at will: what is right stays.
 *
 * Locks: mm->lock for reading; one page-table lock.
 */
#include <lib/string.h>
#include "mm_priv.h"

static bool is_wrong(struct mm_mover *r, pte_t e)
{
	struct page *page;

	if (pte_is_none(e) || !pte_is_present(e) || pte_is_special(e))
		return false;
	page = pfn_to_page(pte_pfn(e));
	return page && (page->flags & (PAGE_ANON | PAGE_TAIL)) && r->is_wrong(r, pte_pfn(e));
}

static void copy_descriptor(struct page *to, struct page *from)
{
	page_set_anon(to);
	to->index = from->index;
	to->owner = from->owner;
	to->tenant = from->tenant;
	from->tenant = 0;
}

static pte_t entry_for(const struct page *p, pte_t old)
{
	return page_order(p) ? pte_make_huge(page_to_pfn(p), pte_rights(old))
			     : pte_make(page_to_pfn(p), pte_rights(old));
}

/* Moves the page at va, if it is still what was seen and nobody else's. */
static int move_page(struct mm *m, ulong va, struct pt_leaf *leaf, struct mm_mover *r)
{
	unsigned order = leaf->huge ? 9 : 0;
	struct page *to = r->get(r, order, pte_pfn(pte_read(leaf->entry))), *from = NULL;
	struct tlb_gather g;
	pte_t e;

	if (!to) {
		r->left++;
		return r->goes_on ? 0 : -ENOMEM;
	}
	tlb_begin(&g, &m->pt);
	pt_leaf_lock(leaf);
	e = pte_read(leaf->entry);
	if (is_wrong(r, e) && pte_is_huge(e) == (order != 0))
		from = pfn_to_page(pte_pfn(e));
	if (from && !(from->flags & PAGE_TAIL) && page_order(from) == order && atomic_read(&from->refs) == 1) {
		e = pte_exchange(leaf->entry, (pte_t)0);
		tlb_add_range(&g, va, PAGE_SIZE << order);
		tlb_finish(&g); /* nobody writes the old page any more */
		memcpy(page_virt(to), page_virt(from), PAGE_SIZE << order);
		copy_descriptor(to, from);
		pte_set(leaf->entry, entry_for(to, e));
		r->moved += 1UL << order;
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

/* A single entry of what was a huge page once. */
static void huge_break_at(struct mm *m, ulong va, pte_t e)
{
	struct page *page = pte_is_present(e) && !pte_is_special(e) ? pfn_to_page(pte_pfn(e)) : NULL;

	if (page && (page->flags & PAGE_TAIL || page_order(page)))
		huge_break(m, ALIGN_DOWN(va, HUGE_SIZE));
}

int mm_move_range(struct mm *m, ulong va, ulong end, struct mm_mover *r)
{
	ulong next;
	int err;

	for (; va < end; va = next) {
		struct pt_leaf leaf;

		if (pt_leaf_get(&m->pt, va, false, &leaf, &next))
			continue;
		next = va + PAGE_SIZE;
		if (leaf.huge && !r->breaks_huge) {
			next = ALIGN_DOWN(va, HUGE_SIZE) + HUGE_SIZE;
		} else if (leaf.huge) {
			err = huge_split(m, va);
			if (err)
				return err;
			huge_break(m, ALIGN_DOWN(va, HUGE_SIZE));
			next = va;
			continue;
		}
		if (!leaf.huge)
			huge_break_at(m, va, pte_read(leaf.entry));
		err = is_wrong(r, pte_read(leaf.entry)) ? move_page(m, leaf.huge ? next - HUGE_SIZE : va, &leaf, r) : 0;
		if (err)
			return err;
	}
	return 0;
}
