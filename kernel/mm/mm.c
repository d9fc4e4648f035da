/* SPDX-License-Identifier: MIT
 *
 * Problem: an address space begins with exec or fork, is shared by threads, looked at by others, and
 * must vanish completely with its last user while a CPU may still have its tables loaded.
 *
 * Idea: two counts. `users` are tasks: at zero every VMA goes. `refs` keep the struct and its page
 * tables for those who only look, and for a CPU that runs a kernel thread on them: at zero the
 * tables go. fork copies the VMAs and the entries of private pages, write-protected on both sides;
 * entries of file pages are left to be faulted in again.
 *
 * Contract: mm/mm.h.
 *
 * Locks: mm->lock of the parent for writing during fork (its entries become read-only).
 */
#include <alloc/slab.h>
#include <arch/cpu.h>
#include <lib/string.h>
#include <mm/commit.h>
#include <task/sched.h>
#include <task/task.h>
#include <task/tenant.h>
#include "mm_priv.h"

#define MMAP_GAP   (128UL << 20) /* for the stack, below USER_END */
#define COPY_CHUNK 64

static struct kcache *mm_cache;

void mm_init(void)
{
	struct page *zero = page_alloc(0, ALLOC_ZERO, NULL);

	mm_cache = kcache_create_charged("mm", sizeof(struct mm), 64);
	ensure(mm_cache && zero);
	zero_pfn = page_to_pfn(zero);
	vma_cache_init();
}

int mm_create(struct mm **out)
{
	struct mm *m = kcache_alloc(mm_cache, ALLOC_ZERO);
	int err;

	if (!m)
		return -ENOMEM;
	m->tenant = current->tenant;
	if (m->tenant)
		tenant_get(m->tenant);
	err = pagetable_create(&m->pt, m->tenant);
	if (err) {
		if (m->tenant)
			tenant_put(m->tenant);
		kcache_free(mm_cache, m);
		return err;
	}
	rwlock_init(&m->lock, RANK_MM);
	atomic_set(&m->users, 1);
	refcount_set(&m->refs, 1);
	m->mmap_base = m->gap_hint = USER_END - MMAP_GAP;
	m->dumpable = 1;
	m->core_filter = MM_CORE_DEFAULT;
	mm_list_add(m);
	*out = m;
	return 0;
}

void mm_set_tenant(struct mm *m, struct tenant *t)
{
	struct tenant *old;

	tenant_get(t);
	write_lock(&m->lock); /* faults charge with it held for reading */
	old = m->tenant;
	m->tenant = m->pt.tenant = t;
	write_unlock(&m->lock);
	if (old)
		tenant_put(old);
}

void mm_hold(struct mm *m)
{
	refcount_inc(&m->refs);
}

void mm_drop(struct mm *m)
{
	if (!refcount_dec_and_test(&m->refs))
		return;
	mm_list_remove(m);
	pagetable_destroy(&m->pt);
	if (m->tenant)
		tenant_put(m->tenant);
	kcache_free(mm_cache, m);
}

void mm_get(struct mm *m)
{
	atomic_inc(&m->users);
}

bool mm_get_live(struct mm *m)
{
	int n = atomic_read(&m->users);

	do {
		if (!n)
			return false;
	} while (!atomic_try_cmpxchg(&m->users, &n, n + 1));
	return true;
}

struct mm *mm_of_task(struct task *t)
{
	ulong irq = spin_lock_irqsave(&t->lock);
	struct mm *m = t->mm;

	if (m && ((t->flags & TASK_F_KTHREAD) || !mm_get_live(m)))
		m = NULL;
	spin_unlock_irqrestore(&t->lock, irq);
	return m;
}

struct mm *mm_hold_of_task(struct task *t)
{
	ulong irq = spin_lock_irqsave(&t->lock);
	struct mm *m = t->flags & TASK_F_KTHREAD ? NULL : t->mm;

	if (m)
		mm_hold(m);
	spin_unlock_irqrestore(&t->lock, irq);
	return m;
}

static void unmap_all(struct mm *m)
{
	LIST(dead);
	int err;

	write_lock(&m->lock);
	err = unmap_locked(m, 0, USER_END, &dead);
	ensure(!err);
	write_unlock(&m->lock);
	vma_bury(&dead);
}

void mm_put(struct mm *m)
{
	if (!atomic_dec_and_test(&m->users))
		return;
	unmap_all(m);
	upcall_mm_release(m);
	mm_drop(m);
}

void mm_switch(struct mm *m)
{
	ulong irq = spin_lock_irqsave(&current->lock);

	current->mm = m;
	current->active_mm = m;
	pagetable_activate(m ? &m->pt : NULL);
	spin_unlock_irqrestore(&current->lock, irq);
}

/* ---- fork ----------------------------------------------------------------------------------------------- */

struct copied {
	unsigned nr, anon, swapped;
	bool protected;
	u16 at[COPY_CHUNK];
	pte_t e[COPY_CHUNK];
};

/* An entry that the child gets as well: a private page (both lose WRITE), a zero page, a swapped page. */
static void copy_entry(struct vma *v, pte_t *entry, unsigned i, struct copied *c)
{
	pte_t e = pte_read(entry);
	struct page *page;

	if (pte_is_none(e))
		return;
	if (unlikely(!pte_is_present(e))) {
		swap_dup(e);
		c->swapped++;
	} else if (!pte_is_special(e)) {
		page = pte_page(e);
		if (!(page->flags & PAGE_ANON))
			return;
		page_get(page);
		c->anon += pte_is_huge(e) ? 512 : 1;
		if (pte_is_writable(e)) {
			e = pte_without_write(pte_exchange(entry, (pte_t)0));
			pte_set(entry, e);
			c->protected = true;
		}
	} else if (v->mapping) {
		return;
	}
	c->at[c->nr] = i;
	c->e[c->nr++] = e;
}

static int copy_paste(struct mm *to, ulong va, bool huge, struct copied *c)
{
	struct pt_leaf leaf;
	int err;

	if (!c->nr)
		return 0;
	err = huge ? pt_huge_get(&to->pt, va, &leaf) : pt_leaf_get(&to->pt, va, true, &leaf, NULL);
	if (err) {
		for (unsigned i = 0; i < c->nr; i++)
			if (!pte_is_present(c->e[i]))
				swap_drop(c->e[i]);
			else if (!pte_is_special(c->e[i]))
				page_put(pte_page(c->e[i]));
		return err;
	}
	pt_leaf_lock(&leaf);
	for (unsigned i = 0; i < c->nr; i++)
		pte_set(leaf.entry + c->at[i], c->e[i]);
	pt_leaf_unlock(&leaf);
	atomic_add(&to->rss_anon, c->anon);
	atomic_add(&to->rss_swap, c->swapped);
	return 0;
}

static int copy_range(struct vma *v, struct mm *to, struct tlb_gather *g)
{
	for (ulong va = v->start, next; va < v->end; va = next) {
		struct copied c = { .nr = 0 };
		struct pt_leaf leaf;
		unsigned n = 1;
		int err;

		if (pt_leaf_get(&v->mm->pt, va, false, &leaf, &next))
			continue;
		if (!leaf.huge)
			n = min((ulong)min(leaf.left, (unsigned)COPY_CHUNK), (v->end - va) >> PAGE_SHIFT);
		pt_leaf_lock(&leaf);
		for (unsigned i = 0; i < n; i++)
			copy_entry(v, leaf.entry + i, i, &c);
		pt_leaf_unlock(&leaf);
		next = va + (leaf.huge ? HUGE_SIZE : n * PAGE_SIZE);
		if (c.protected)
			tlb_add_range(g, va, next - va);
		err = copy_paste(to, va, leaf.huge, &c);
		if (err)
			return err;
		resched_point();
	}
	return 0;
}

static int fork_vma(struct vma *v, struct mm *to, struct tlb_gather *g, struct list *dead)
{
	struct vma *n;
	int err;

	if ((v->flags & VMA_COMMITTED) && !commit_allows(to, vma_pages(v)))
		return -ENOMEM;
	n = vma_alloc(to, v->start, v->end, v->flags & ~(u32)VMA_LOCKED, v->mapping, v->index);
	if (!n)
		return -ENOMEM;
	n->name = v->name;
	n->policy = mempolicy_get(v->policy);
	n->has_private = v->has_private && !(v->flags & VMA_WIPEFORK);
	err = vma_attach(n);
	if (err) {
		list_add_tail(&n->mapping_link, dead);
		return err;
	}
	return n->has_private ? copy_range(v, to, g) : 0;
}

static void copy_layout(struct mm *to, const struct mm *from)
{
	to->mmap_base = from->mmap_base;
	to->gap_hint = from->gap_hint;
	to->gap_bytes = from->gap_bytes;
	to->brk_start = from->brk_start;
	to->brk = from->brk;
	to->stack_start = from->stack_start;
	to->arg_start = from->arg_start;
	to->arg_end = from->arg_end;
	to->env_start = from->env_start;
	to->env_end = from->env_end;
	to->code_start = from->code_start;
	to->code_end = from->code_end;
	to->data_start = from->data_start;
	to->data_end = from->data_end;
	memcpy(to->auxv, from->auxv, sizeof(to->auxv));
	to->auxv_words = from->auxv_words;
	to->dumpable = from->dumpable;
	to->membarrier = READ_ONCE(from->membarrier);
	to->core_filter = READ_ONCE(from->core_filter);
	to->vdso = from->vdso;
}

int mm_fork(struct mm *from, struct mm **out)
{
	struct tlb_gather g;
	struct mm *to;
	LIST(dead);
	int err;

	err = mm_create(&to);
	if (err)
		return err;
	copy_layout(to, from);
	write_lock(&from->lock);
	tlb_begin(&g, &from->pt);
	for (struct vma *v = vma_find(from, 0); v && !err; v = vma_next(v))
		if (!(v->flags & VMA_DONTFORK))
			err = fork_vma(v, to, &g, &dead);
	tlb_finish(&g);
	write_unlock(&from->lock);
	vma_bury(&dead);
	if (err) {
		mm_put(to);
		return err;
	}
	*out = to;
	return 0;
}
