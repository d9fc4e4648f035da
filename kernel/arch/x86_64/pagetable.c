/* SPDX-License-Identifier: MIT
 *
 * Problem: mm must find and change leaf entries of an address space from several CPUs at once,
 * without knowing the format.
 *
 * Idea: upper levels only grow: a missing table is made outside any lock and put in place by
 * compare-and-swap, so a walk needs no lock. A leaf table's own lock is one word of its page
 * descriptor (mapcount, which a table does not use). All tables of an address space hang on one
 * list through their descriptors and go at once.
 *
 * With page-table isolation (pti.c) the root is a pair of pages.
 *
 * Contract: arch/mmu.h, user half. A huge entry is guarded by the lock of the level-2 table that
 * holds it.
 *
 * Locks: leaf locks (RANK_PTE); the list of tables is pushed to by compare-and-swap.
 */
#include <alloc/page.h>
#include <arch/mmu.h>
#include <core/log.h>
#include <core/spin.h>
#include <lib/err.h>
#include <lib/string.h>
#include "mmu_priv.h"
#include "x86_priv.h"

#define SWAP_SHIFT 7 /* payload above present .. dirty bits and below nothing else: bit 0 stays clear */

static struct page *table_page(const u64 *table)
{
	return virt_to_page(table);
}

static u64 *table_new(struct pagetable *pt, unsigned order)
{
	struct page *p = page_alloc(order, ALLOC_ZERO, pt->tenant);

	if (!p)
		return NULL;
	p->flags |= PAGE_TABLE;
	page_stat_add(PAGE_STAT_TABLES, 1);
	return page_virt(p);
}

static void table_free(struct page *p)
{
	page_stat_add(PAGE_STAT_TABLES, -1);
	p->flags &= (u16)~PAGE_TABLE;
	atomic_set(&p->mapcount, 0);
	page_put(p);
}

static void table_adopt(struct pagetable *pt, u64 *table)
{
	struct page *p = table_page(table), *head = READ_ONCE(pt->tables);

	do {
		p->owner = head;
	} while (!__atomic_compare_exchange_n(&pt->tables, &head, p, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED));
	__atomic_fetch_add(&pt->table_pages, 1, __ATOMIC_RELAXED);
}

int pagetable_create(struct pagetable *pt, struct tenant *tenant)
{
	u64 *root;

	*pt = (struct pagetable){ .tenant = tenant };
	root = table_new(pt, pti_on);
	if (!root)
		return -ENOMEM;
	memcpy(root + 256, (u64 *)phys_to_virt(kernel_root) + 256, PAGE_SIZE / 2);
	if (pti_on)
		pti_fill_root(root + 512);
	pt->root = virt_to_phys(root);
	table_adopt(pt, root);
	return 0;
}

void pagetable_destroy(struct pagetable *pt)
{
	struct page *p = pt->tables;

	tlb_leave_everywhere(pt);
	while (p) {
		struct page *next = p->owner;

		p->owner = NULL;
		table_free(p);
		p = next;
	}
	pt->tables = NULL;
}

/* ---- entries --------------------------------------------------------------------------------------------- */

pte_t pte_make(pfn_t pfn, unsigned rights)
{
	return pfn << PAGE_SHIFT | pte_bits(rights);
}

pte_t pte_make_huge(pfn_t pfn, unsigned rights)
{
	return pte_make(pfn, rights) | PTE_LARGE;
}

pte_t pte_make_swap(u64 payload)
{
	return (payload << SWAP_SHIFT) | BIT(1);
}

u64 pte_swap_payload(pte_t e)
{
	return e >> SWAP_SHIFT;
}

unsigned pte_rights(pte_t e)
{
	unsigned r = e & PTE_PRESENT ? PT_READ : 0;

	if (!pte_is_present(e))
		return 0;
	r |= e & PTE_WRITE ? PT_WRITE : 0;
	r |= e & PTE_NX ? 0 : PT_EXEC;
	r |= e & PTE_USER ? PT_USER : 0;
	r |= e & PTE_PCD ? PT_NOCACHE : e & PTE_PWT ? PT_WC : 0;
	r |= e & PTE_GLOBAL ? PT_GLOBAL : 0;
	r |= e & PTE_DIRTY ? PT_DIRTY : 0;
	r |= e & PTE_ACCESSED ? PT_YOUNG : 0;
	r |= e & PTE_SPECIAL ? PT_SPECIAL : 0;
	return r;
}

pte_t pte_with_rights(pte_t e, unsigned rights)
{
	return (e & (PTE_ADDRESS | PTE_LARGE)) | pte_bits(rights);
}

/* ---- walks
 * ------------------------------------------------------------------------------------------------
 */

/* Puts a table under e unless somebody was faster. -ENOMEM. */
static int table_install(struct pagetable *pt, u64 *e)
{
	u64 *t = table_new(pt, 0);
	u64 none = 0;

	if (!t)
		return -ENOMEM;
	if (__atomic_compare_exchange_n(e, &none, virt_to_phys(t) | PTE_PRESENT | PTE_WRITE | PTE_USER, false,
					__ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
		table_adopt(pt, t);
	else
		table_free(table_page(t));
	return 0;
}

/* With isolation a root is two pages: the kernel's and, above it, user mode's. Both get the entry; nothing of the
 * user's may run on the kernel's tables, so that a way out which forgets to change them faults at once. Two CPUs may do
 * it at the same time: they write the same. */
static void root_share(u64 *e, u64 v)
{
	if (v & PTE_PRESENT && !READ_ONCE(e[512])) {
		WRITE_ONCE(*e, v | pte_nx);
		WRITE_ONCE(e[512], v & ~pte_nx);
	}
}

/* The entry of va at `level` (1: the one for a leaf table or huge page). */
static int walk_to(struct pagetable *pt, ulong va, int level, bool alloc, u64 **out, ulong *next_va)
{
	u64 *table = phys_to_virt(pt->root);

	for (int l = 3;; l--) {
		u64 *e = &table[va >> (12 + 9 * l) & 511], v = READ_ONCE(*e);

		if (l == level) {
			*out = e;
			return 0;
		}
		if (!(v & PTE_PRESENT)) {
			if (!alloc) {
				ulong span = PAGE_SIZE << (9 * l);

				if (next_va)
					*next_va = (va & ~(span - 1)) + span;
				return -ENOENT;
			}
			if (table_install(pt, e))
				return -ENOMEM;
			v = READ_ONCE(*e);
		}
		if (unlikely(pti_on) && l == 3)
			root_share(e, v);
		table = phys_to_virt(v & PTE_ADDRESS);
	}
}

int pt_leaf_get(struct pagetable *pt, ulong va, bool alloc, struct pt_leaf *leaf, ulong *next_va)
{
	u64 *pmd, v;
	int err = walk_to(pt, va, 1, alloc, &pmd, next_va);

	if (err)
		return err;
	v = READ_ONCE(*pmd);
	if (!v) {
		if (!alloc) {
			if (next_va)
				*next_va = (va & ~(HUGE_SIZE - 1)) + HUGE_SIZE;
			return -ENOENT;
		}
		if (table_install(pt, pmd))
			return -ENOMEM;
		v = READ_ONCE(*pmd);
	}
	if (v & PTE_LARGE) {
		*leaf = (struct pt_leaf){ pmd, table_page(pmd), 1, true };
		return 0;
	}
	leaf->entry = (u64 *)phys_to_virt(v & PTE_ADDRESS) + (va >> PAGE_SHIFT & 511);
	leaf->table = table_page(leaf->entry);
	leaf->left = 512 - (va >> PAGE_SHIFT & 511);
	leaf->huge = false;
	return 0;
}

int pt_huge_get(struct pagetable *pt, ulong va, struct pt_leaf *leaf)
{
	u64 *pmd, v;
	int err = walk_to(pt, va, 1, true, &pmd, NULL);

	if (err)
		return err;
	v = READ_ONCE(*pmd);
	if (v && !(v & PTE_LARGE))
		return -EEXIST;
	*leaf = (struct pt_leaf){ pmd, table_page(pmd), 1, v & PTE_LARGE };
	return 0;
}

int pt_huge_split(struct pagetable *pt, ulong va)
{
	struct pt_leaf leaf;
	u64 *t, *pmd, v;
	int err = walk_to(pt, va, 1, false, &pmd, NULL);

	if (err)
		return err;
	t = table_new(pt, 0);
	if (!t)
		return -ENOMEM;
	leaf = (struct pt_leaf){ pmd, table_page(pmd), 1, true };
	pt_leaf_lock(&leaf);
	v = READ_ONCE(*pmd);
	do { /* again when the CPU has just set accessed or dirty */
		if (!pte_is_huge(v)) {
			pt_leaf_unlock(&leaf);
			table_free(table_page(t));
			return -ENOENT;
		}
		for (u64 i = 0; i < 512; i++)
			t[i] = (v & ~PTE_LARGE) + (i << PAGE_SHIFT);
	} while (!__atomic_compare_exchange_n(pmd, &v, virt_to_phys(t) | PTE_PRESENT | PTE_WRITE | PTE_USER, false,
					      __ATOMIC_SEQ_CST, __ATOMIC_RELAXED));
	table_adopt(pt, t);
	pt_leaf_unlock(&leaf);
	return 0;
}

void pt_leaf_lock(struct pt_leaf *leaf)
{
	lock_note_acquire(&leaf->table->mapcount, RANK_PTE, true);
	spin_word_lock((u32 *)&leaf->table->mapcount.v);
}

void pt_leaf_unlock(struct pt_leaf *leaf)
{
	lock_note_release(&leaf->table->mapcount);
	spin_word_unlock((u32 *)&leaf->table->mapcount.v);
}
