/* SPDX-License-Identifier: MIT
 *
 * Problem: programs keep far more memory than they use; when pages run out, those that were not touched for long must
 * go, from the tenant that has too many, without a list that every fault would have to maintain.
 *
 * Idea: the CPU marks the entries that it uses, so the page tables themselves are the clock. All address spaces are on
 * one list; a hand goes round the list and, in each, through its tables. A marked entry loses its mark; an unmarked one
 * is cold: a page of a file is unmapped, so that the page cache may drop it; a private page is entered into the swap
 * cache, and written once no table maps it any more. A huge page that is cold is split first.
 *
 * Contract: mm/mm.h. A reclaimer may hold any locks, among them some address space's: it only tries to get mm->lock,
 * and knows the one that its own fault holds (current->fault_mm).
 *
 * Locks: mm_list_lock (RANK_LEAF_SPIN); mm->lock for reading; one page-table lock.
 */
#include <task/sched.h>
#include <task/tenant.h>
#include "mm_priv.h"

#define VISIT_ENTRIES 4096 /* entries looked at in one address space before the next has its turn, if not urgent */
#define CHUNK         SWAP_BATCH

static LIST(all);
static u64 nr_all; /* mm_list_lock */
static struct spinlock mm_list_lock = SPIN_INIT(RANK_LEAF_SPIN);

void mm_list_add(struct mm *m)
{
	spin_lock(&mm_list_lock);
	list_add_tail(&m->all_link, &all);
	nr_all++;
	spin_unlock(&mm_list_lock);
}

void mm_list_remove(struct mm *m)
{
	spin_lock(&mm_list_lock);
	list_del(&m->all_link);
	nr_all--;
	spin_unlock(&mm_list_lock);
}

/* The next in turn, held; NULL: none. *left counts down the list's length. */
static struct mm *next_mm(const struct tenant *top, u64 *left)
{
	struct mm *m, *found = NULL;

	rcu_read_lock(); /* keeps m->tenant */
	spin_lock(&mm_list_lock);
	*left = min(*left, nr_all);
	while (*left && !found) {
		--*left;
		m = list_first_entry(&all, struct mm, all_link);
		list_move_tail(&m->all_link, &all);
		if (tenant_is_below(READ_ONCE(m->tenant), top) && refcount_inc_not_zero(&m->refs))
			found = m;
	}
	spin_unlock(&mm_list_lock);
	rcu_read_unlock();
	return found;
}

int mm_for_each(int (*fn)(struct mm *m, void *arg), void *arg)
{
	u64 left = ~0ULL;
	struct mm *m;
	int err = 0;

	while (!err && (m = next_mm(NULL, &left))) {
		err = fn(m, arg);
		mm_drop(m);
	}
	return err;
}

void mm_usage(struct mm *m, struct mm_usage *out)
{
	out->anon = (u64)max((s64)atomic_read(&m->rss_anon), (s64)0);
	out->file = (u64)max((s64)atomic_read(&m->rss_file), (s64)0);
	out->swap = (u64)max((s64)atomic_read(&m->rss_swap), (s64)0);
	out->tables = READ_ONCE(m->pt.table_pages);
}

void mm_usage_below(const struct tenant *top, struct mm_usage *sum)
{
	struct mm_usage u;
	struct mm *m;

	*sum = (struct mm_usage){ 0 };
	rcu_read_lock();
	spin_lock(&mm_list_lock);
	list_for_each_entry (m, &all, all_link) {
		if (!tenant_is_below(READ_ONCE(m->tenant), top))
			continue;
		mm_usage(m, &u);
		sum->anon += u.anon;
		sum->file += u.file;
		sum->swap += u.swap;
		sum->tables += u.tables;
	}
	spin_unlock(&mm_list_lock);
	rcu_read_unlock();
}

/* ---- one piece of a table ---------------------------------------------------------------------------------------- */

struct scan {
	struct vma *v;
	struct tenant *top;
	unsigned urgency;
	bool swap; /* there is room */
	u64 want, visit, freed, unmapped, looked;
	u64 pages; /* of what was looked at */
	struct tlb_gather g;
	/* of the piece at hand */
	pte_t slots[CHUNK]; /* free ones, held */
	unsigned nr_slots;
	pte_t out[CHUNK]; /* entries whose pages may be written */
	unsigned nr_out;
	struct page *dirty[CHUNK];
	unsigned nr_dirty, anon, file;
};

/* Gives the entry back to the CPU without its mark. True: it had one. */
static bool was_used(pte_t *entry, pte_t e)
{
	if (!(pte_rights(e) & PT_YOUNG))
		return false;
	e = pte_exchange(entry, (pte_t)0);
	pte_set(entry, pte_with_rights(e, pte_rights(e) & ~(unsigned)PT_YOUNG));
	return true;
}

static void unmap_file(struct scan *s, pte_t *entry, ulong va)
{
	pte_t e = pte_exchange(entry, (pte_t)0);
	struct page *page = pte_page(e);

	if (pte_is_dirty(e) && (s->v->flags & VMA_SHARED)) {
		page_get(page);
		s->dirty[s->nr_dirty++] = page;
	}
	page_unmapped(page);
	s->file++;
	s->unmapped++;
	tlb_add_page(&s->g, va, page);
}

/* A cold private page. With one reference it is this entry's alone; with more, the others are entries of relatives, all
 * read-only, unless a device uses it: then it stays. */
static void unmap_anon(struct scan *s, pte_t *entry, pte_t e, ulong va)
{
	struct page *page = pte_page(e);
	bool was_in;
	pte_t slot;

	if (page_order(page) || !s->nr_slots || (atomic_read(&page->refs) != 1 && pte_is_writable(e)) ||
	    !tenant_may_reclaim(page->tenant, s->top, s->urgency < 2))
		return;
	slot = s->slots[s->nr_slots - 1];
	if (!swap_enter(page, &slot, &was_in))
		return;
	s->nr_slots -= !was_in;
	e = pte_exchange(entry, slot);
	s->anon++;
	tlb_add_range(&s->g, va, PAGE_SIZE);
	if (was_in)
		tlb_add_page(&s->g, va, page);
	s->out[s->nr_out++] = slot;
}

static void look(struct scan *s, pte_t *entry, ulong va)
{
	pte_t e = pte_read(entry);

	s->looked++;
	if (pte_is_none(e) || !pte_is_present(e) || pte_is_special(e))
		return;
	s->pages++;
	if (was_used(entry, e) && !s->urgency)
		return;
	e = pte_read(entry);
	if (pte_page(e)->flags & PAGE_ANON)
		unmap_anon(s, entry, e, va);
	else if (s->v->mapping && tenant_may_reclaim(pte_page(e)->tenant, s->top, s->urgency < 2))
		unmap_file(s, entry, va);
}

/* What was found in a piece, after its table's lock: other CPUs forget it, then pages are written. */
static void finish_piece(struct scan *s)
{
	struct mapping *map = s->v->mapping;

	tlb_finish(&s->g);
	atomic_sub(&s->v->mm->rss_anon, s->anon);
	atomic_add(&s->v->mm->rss_swap, s->anon);
	atomic_sub(&s->v->mm->rss_file, s->file);
	for (unsigned i = 0; i < s->nr_dirty; i++) {
		if (map->ops->dirty)
			map->ops->dirty(map, s->dirty[i]);
		page_put(s->dirty[i]);
	}
	while (s->nr_slots)
		swap_drop(s->slots[--s->nr_slots]);
	s->freed += swap_write(s->out, s->nr_out);
}

static void scan_piece(struct scan *s, struct pt_leaf *leaf, ulong va, unsigned n)
{
	s->nr_out = s->nr_dirty = s->anon = s->file = 0;
	s->nr_slots = s->swap ? swap_take(s->slots, n) : 0;
	tlb_begin(&s->g, &s->v->mm->pt);
	pt_leaf_lock(leaf);
	for (unsigned i = 0; i < n; i++)
		look(s, leaf->entry + i, va + i * PAGE_SIZE);
	pt_leaf_unlock(leaf);
	finish_piece(s);
}

/* True: it has small entries now. */
static bool scan_huge(struct scan *s, struct pt_leaf *leaf, ulong va)
{
	struct mm *m = s->v->mm;
	bool cold = false;
	pte_t e;

	s->looked++;
	pt_leaf_lock(leaf);
	e = pte_read(leaf->entry);
	if (pte_is_huge(e) && !pte_is_special(e))
		cold = !was_used(leaf->entry, e) || s->urgency;
	pt_leaf_unlock(leaf);
	if (!cold || !s->swap || huge_split(m, va))
		return false;
	huge_break(m, ALIGN_DOWN(va, HUGE_SIZE));
	return true;
}

/* Returns where it stopped. */
static ulong scan_vma(struct scan *s, ulong va)
{
	struct mm *m = s->v->mm;

	for (ulong next; va < s->v->end && s->looked < s->visit && s->freed < s->want; va = next) {
		struct pt_leaf leaf;
		unsigned n;

		if (pt_leaf_get(&m->pt, va, false, &leaf, &next))
			continue;
		if (leaf.huge) {
			next = scan_huge(s, &leaf, va) ? va : ALIGN_DOWN(va, HUGE_SIZE) + HUGE_SIZE;
			continue;
		}
		n = min((ulong)min(leaf.left, (unsigned)CHUNK), (s->v->end - va) >> PAGE_SHIFT);
		scan_piece(s, &leaf, va, n);
		next = va + n * PAGE_SIZE;
		resched_point();
	}
	return va;
}

static void scan_locked(struct scan *s, struct mm *m)
{
	ulong va = READ_ONCE(m->scan_at);
	bool wrapped = !va;

	while (s->looked < s->visit && s->freed < s->want) {
		s->v = vma_find(m, va);
		if (!s->v) {
			if (wrapped)
				break;
			wrapped = true;
			va = 0;
			continue;
		}
		va = max(va, s->v->start);
		if ((s->v->flags & (VMA_SPECIAL | VMA_LOCKED)) || (!s->swap && !s->v->mapping))
			va = s->v->end;
		else
			va = scan_vma(s, va);
		s->looked++;
	}
	WRITE_ONCE(m->scan_at, va);
}

static bool may_look_into(struct mm *m)
{
	return current->fault_mm == m || read_trylock(&m->lock);
}

static void done_looking(struct mm *m)
{
	if (current->fault_mm != m)
		read_unlock(&m->lock);
}

static void count(struct mm *m, const struct scan *s)
{
	u16 payer;

	page_stat_add(PAGE_EVENT_SCANNED, (s64)s->looked);
	rcu_read_lock(); /* keeps m->tenant */
	payer = READ_ONCE(m->tenant) ? READ_ONCE(m->tenant)->id : 0;
	rcu_read_unlock();
	tenant_memory_count(payer, MEMORY_SCANNED, s->pages);
	tenant_memory_count(payer, MEMORY_STOLEN, s->freed);
}

u64 mm_reclaim(struct tenant *top, u64 want, unsigned urgency, u64 *unmapped)
{
	bool was = current->flags & TASK_F_MEMALLOC, swap = swap_has_room();
	u64 freed, left = ~0ULL;
	struct mm *m;

	*unmapped = 0;
	if (current->alloc_scope & SCOPE_NOIO)
		swap = false;
	current->flags |= TASK_F_MEMALLOC;
	freed = current->alloc_scope & SCOPE_NOIO ? 0 : swap_shrink_cache(top, want);
	while (freed < want && *unmapped < want && (m = next_mm(top, &left))) {
		struct scan s = { .top = top,
				  .urgency = urgency,
				  .swap = swap,
				  .want = want - freed,
				  .visit = urgency ? ~0ULL : VISIT_ENTRIES };

		if (may_look_into(m)) {
			scan_locked(&s, m);
			done_looking(m);
		}
		count(m, &s);
		freed += s.freed;
		*unmapped += s.unmapped;
		mm_drop(m);
	}
	if (!was)
		current->flags &= ~TASK_F_MEMALLOC;
	return freed;
}

/* ---- out of memory -------------------------------------------------------------------------------------------------
 */

bool mm_reap(struct mm *m)
{
	struct tlb_gather g;

	WRITE_ONCE(m->reaped, true);
	if (!may_look_into(m))
		return false;
	for (struct vma *v = vma_find(m, 0); v; v = vma_next(v)) {
		if (v->flags & (VMA_SPECIAL | VMA_SHARED | VMA_LOCKED))
			continue;
		tlb_begin(&g, &m->pt);
		zap_range(v, v->start, v->end, false, &g);
		tlb_finish(&g);
	}
	done_looking(m);
	return true;
}
