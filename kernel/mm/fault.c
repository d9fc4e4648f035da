/* SPDX-License-Identifier: MIT
 *
 * Problem: pages come into an address space one by one, when they are first touched: zeroed memory,
 * pages of files, private copies of either, many threads at a time.
 *
 * Idea: look at the entry without a lock and decide what is needed; get it (a page, a fill) without
 * page-table locks, since that may sleep; then lock the table, and install only if the entry is
 * still what it was. Who loses the race drops its page and returns success: the program retries.
 *   none   anonymous, read:  the shared zero page       write: a zeroed page, or a huge one
 *          mapped, read:     up to 16 pages around      write: shared: that page, else a copy
 *   read-only, write: zero page: a zeroed page; private and ours alone: made writable; private and
 *          shared with others: a copy; shared mapping: the mapping is asked, then made writable.
 *
 * Contract: mm_priv.h and upcall_page_fault of arch/upcalls.h. Memory that has run out kills the
 * program that asked for more.
 *
 * Locks: mm->lock for reading (for writing where a stack grows); then one page-table lock at a time.
 * What a mapping has lost by truncation is told by page->owner, checked under the table's lock.
 */
#include <arch/upcalls.h>
#include <asm/siginfo.h>
#include <asm/signal.h>
#include <asm/resource.h>
#include <core/trace.h>
#include <lib/string.h>
#include <mm/commit.h>
#include <task/hooks.h>
#include <task/sched.h>
#include "mm_priv.h"

#define AROUND 16 /* pages of one fault-around window (design) */

pfn_t zero_pfn;

unsigned vma_rights(const struct vma *v)
{
	unsigned r = 0;

	if (v->flags & VMA_ACCESS)
		r |= PT_USER | PT_READ;
	if (v->flags & VMA_WRITE)
		r |= PT_WRITE;
	if (v->flags & VMA_EXEC)
		r |= PT_EXEC;
	return r;
}

static unsigned rights_read_only(const struct vma *v)
{
	return (vma_rights(v) & ~(unsigned)PT_WRITE) | PT_YOUNG;
}

/* ACCESS_FORCE writes to a page that the program itself may not write: it stays read-only. */
static unsigned rights_written(const struct vma *v)
{
	return vma_rights(v) | PT_DIRTY | PT_YOUNG;
}

/* Puts e at addr if the entry there is still `old`. False: it was not. */
static bool install(struct vma *v, struct pt_leaf *leaf, pte_t old, pte_t e)
{
	bool same;

	pt_leaf_lock(leaf);
	same = pte_read(leaf->entry) == old;
	if (same)
		pte_set(leaf->entry, e);
	pt_leaf_unlock(leaf);
	return same;
}

/* ---- anonymous ------------------------------------------------------------------------------------- */

static bool huge_fits(const struct vma *v, ulong addr)
{
	ulong base = ALIGN_DOWN(addr, HUGE_SIZE);

	return !(v->flags & (VMA_STACK | VMA_GROWSDOWN | VMA_SHARED)) && !v->mapping && base >= v->start &&
	       base + HUGE_SIZE <= v->end && mm_wants_huge(v);
}

/* 0, or an error that means: take a small page. */
static int fault_huge(struct vma *v, ulong addr)
{
	struct mm *m = v->mm;
	struct pt_leaf leaf;
	struct page *page;
	bool installed;
	int err;

	page = page_alloc(9, ALLOC_ZERO | ALLOC_USER | ALLOC_TRY, m->tenant);
	if (!page)
		return -ENOMEM;
	page_set_anon(page);
	err = pt_huge_get(&m->pt, ALIGN_DOWN(addr, HUGE_SIZE), &leaf);
	if (err) {
		page_put(page);
		return err;
	}
	v->has_private = true;
	installed = install(v, &leaf, 0, pte_make_huge(page_to_pfn(page), rights_written(v)));
	if (installed)
		atomic_add(&m->rss_anon, 512);
	else
		page_put(page);
	return 0;
}

static struct page *anon_page(struct vma *v, unsigned flags)
{
	struct page *page = page_alloc(0, flags | ALLOC_USER, v->mm->tenant);

	if (page) {
		page_set_anon(page);
		v->has_private = true;
	}
	return page;
}

static int fault_anon(struct vma *v, ulong addr, unsigned access, struct pt_leaf *leaf, pte_t old)
{
	struct page *page;

	if (!(access & ACCESS_WRITE)) {
		install(v, leaf, old, pte_make(zero_pfn, rights_read_only(v) | PT_SPECIAL));
		return 0;
	}
	page = anon_page(v, ALLOC_ZERO);
	if (!page)
		return -ENOMEM;
	page->index = vma_index(v, addr);
	if (!install(v, leaf, old, pte_make(page_to_pfn(page), rights_written(v)))) {
		page_put(page);
		return 0;
	}
	atomic_add(&v->mm->rss_anon, 1);
	if (!pte_is_none(old)) { /* the zero page was there: other CPUs may still read it */
		struct tlb_gather g;

		tlb_begin(&g, &v->mm->pt);
		tlb_add_range(&g, addr, PAGE_SIZE);
		tlb_finish(&g);
	}
	return 0;
}

/* ---- private copies ----------------------------------------------------------------------------------- */

/* Replaces the entry `old` (src's page, or none) by a private copy of src. Takes over no reference of src. */
static int copy_private(struct vma *v, ulong addr, struct pt_leaf *leaf, pte_t old, pfn_t src)
{
	struct mm *m = v->mm;
	struct page *page = anon_page(v, 0), *was = NULL;
	struct tlb_gather g;

	if (!page)
		return -ENOMEM;
	memcpy(page_virt(page), phys_to_virt(src << PAGE_SHIFT), PAGE_SIZE);
	page->index = vma_index(v, addr);
	tlb_begin(&g, &m->pt);
	pt_leaf_lock(leaf);
	if (pte_read(leaf->entry) != old) {
		pt_leaf_unlock(leaf);
		page_put(page);
		tlb_finish(&g);
		return 0;
	}
	if (!pte_is_none(old)) {
		pte_exchange(leaf->entry, (pte_t)0);
		tlb_add_range(&g, addr, PAGE_SIZE);
		was = pte_page(old);
	}
	tlb_finish(&g); /* nobody may read the old page once somebody can write the new one */
	pte_set(leaf->entry, pte_make(page_to_pfn(page), rights_written(v)));
	pt_leaf_unlock(leaf);
	if (!was || !(was->flags & PAGE_ANON))
		atomic_add(&m->rss_anon, 1);
	if (was && !(was->flags & PAGE_ANON)) {
		page_unmapped(was);
		atomic_sub(&m->rss_file, 1);
	}
	if (was)
		page_put(was);
	return 0;
}

/* A write to a present, read-only page of a private VMA. */
static int fault_copy(struct vma *v, ulong addr, struct pt_leaf *leaf, pte_t old)
{
	struct page *page;
	int err;

	if (pte_rights(old) & PT_SPECIAL)
		return pte_pfn(old) == zero_pfn ? fault_anon(v, addr, ACCESS_WRITE, leaf, old) : -EFAULT;
	pt_leaf_lock(leaf);
	if (pte_read(leaf->entry) != old) {
		pt_leaf_unlock(leaf);
		return 0;
	}
	page = pte_page(old);
	if ((page->flags & PAGE_ANON) && atomic_read(&page->refs) == 1) {
		pte_set(leaf->entry, pte_with_rights(old, rights_written(v)));
		pt_leaf_unlock(leaf);
		return 0;
	}
	page_get(page); /* so that it is not reused while we copy */
	pt_leaf_unlock(leaf);
	if (leaf->huge) {
		err = huge_split(v->mm, addr);
		page_put(page);
		return err ? err : -EAGAIN;
	}
	err = copy_private(v, addr, leaf, old, pte_pfn(old));
	page_put(page);
	return err;
}

/* ---- mapped ------------------------------------------------------------------------------------------------ */

static bool still_in(const struct vma *v, struct page *page)
{
	return READ_ONCE(page_head(page)->owner) == v->mapping;
}

/* Installs a page of the mapping, whose reference is taken over. Table locked. False: the place is taken or the page
 * gone. */
static bool install_mapped(struct vma *v, pte_t *entry, struct page *page, unsigned rights)
{
	struct page *head = page_head(page);

	if (!pte_is_none(pte_read(entry)) || !still_in(v, page))
		return false;
	page_mapped(head);
	pte_set(entry, pte_make(page_to_pfn(page), rights));
	return true;
}

/* Maps what is in memory already, in a window of AROUND pages within the VMA and the table. True: addr is among it. */
static bool fault_around(struct vma *v, ulong addr, struct pt_leaf *leaf)
{
	struct mapping *map = v->mapping;
	ulong from = max(ALIGN_DOWN(addr, AROUND * PAGE_SIZE), v->start);
	ulong to = min(ALIGN_DOWN(addr, AROUND * PAGE_SIZE) + AROUND * PAGE_SIZE, v->end);
	unsigned n = (to - from) >> PAGE_SHIFT, mapped = 0;
	unsigned self = (addr - from) >> PAGE_SHIFT;
	struct page *pages[AROUND];
	bool found;

	if (!map->ops->fill_around)
		return false;
	memset(pages, 0, sizeof(pages));
	if (!map->ops->fill_around(map, vma_index(v, from), n, pages))
		return false;
	found = pages[self] != NULL;
	pt_leaf_lock(leaf);
	for (unsigned i = 0; i < n; i++) {
		pte_t *entry = leaf->entry + i - self;

		if (pages[i] && install_mapped(v, entry, pages[i], rights_read_only(v))) {
			pages[i] = NULL;
			mapped++;
		}
	}
	pt_leaf_unlock(leaf);
	atomic_add(&v->mm->rss_file, mapped);
	for (unsigned i = 0; i < n; i++)
		if (pages[i])
			page_put(page_head(pages[i]));
	return found;
}

/* Device memory: with all rights of the VMA at once, there is nothing to know of it later. */
static int fault_device(struct vma *v, ulong addr, struct pt_leaf *leaf, pte_t old)
{
	pfn_t pfn;
	int err = v->mapping->ops->frame(v->mapping, vma_index(v, addr), &pfn);

	if (!err)
		install(v, leaf, old, pte_make(pfn, rights_written(v) | PT_SPECIAL | PT_NOCACHE));
	return err;
}

static int fault_mapped(struct vma *v, ulong addr, unsigned access, struct pt_leaf *leaf)
{
	struct mapping *map = v->mapping;
	bool write = access & ACCESS_WRITE, shared = v->flags & VMA_SHARED;
	struct page *page;
	bool done;
	int err;

	if (map->ops->frame)
		return fault_device(v, addr, leaf, 0);
	if (!write && fault_around(v, addr, leaf))
		return 0;
	if (!map->ops->fill)
		return -EFAULT;
	err = map->ops->fill(map, vma_index(v, addr), write && shared, &page);
	if (err)
		return err;
	if (write && !shared) {
		err = copy_private(v, addr, leaf, 0, page_to_pfn(page));
		page_put(page_head(page));
		return err;
	}
	pt_leaf_lock(leaf);
	done = install_mapped(v, leaf->entry, page, write ? rights_written(v) : rights_read_only(v));
	pt_leaf_unlock(leaf);
	if (done)
		atomic_add(&v->mm->rss_file, 1);
	else
		page_put(page_head(page));
	return 0;
}

/* A write to a present, read-only page of a shared mapping: the mapping must know first. */
static int fault_make_writable(struct vma *v, ulong addr, struct pt_leaf *leaf, pte_t old)
{
	struct page *page;
	int err;

	if (v->mapping->ops->frame)
		return fault_device(v, addr, leaf, old);
	if (pte_rights(old) & PT_SPECIAL)
		return -EFAULT;
	if (v->mapping->ops->fill) {
		err = v->mapping->ops->fill(v->mapping, vma_index(v, addr), true, &page);
		if (err)
			return err;
	} else {
		return -EFAULT;
	}
	pt_leaf_lock(leaf);
	if (pte_read(leaf->entry) == old && page_to_pfn(page) == pte_pfn(old) && still_in(v, page))
		pte_set(leaf->entry, pte_with_rights(old, rights_written(v)));
	pt_leaf_unlock(leaf);
	page_put(page_head(page));
	return 0;
}

/* ---- on swap ----------------------------------------------------------------------------------------------------- */

static int fault_swapped(struct vma *v, ulong addr, unsigned access, struct pt_leaf *leaf, pte_t old)
{
	struct page *page;
	bool read = false, done;
	int err = swap_in(old, v->mm->tenant, &page, &read);

	if (read)
		current->maj_faults++;
	if (err)
		return err;
	pt_leaf_lock(leaf);
	done = pte_read(leaf->entry) == old && swap_claim(old, page);
	if (done)
		pte_set(leaf->entry, pte_make(page_to_pfn(page), rights_read_only(v)));
	pt_leaf_unlock(leaf);
	if (done) {
		atomic_add(&v->mm->rss_anon, 1);
		atomic_sub(&v->mm->rss_swap, 1);
	} else {
		page_put(page);
	}
	return access & ACCESS_WRITE ? -EAGAIN : 0;
}

/* ---- the decision --------------------------------------------------------------------------------------------- */

static int fault_once(struct vma *v, ulong addr, unsigned access)
{
	struct mm *m = v->mm;
	struct pt_leaf leaf;
	pte_t e;
	int err;

	if ((access & ACCESS_WRITE) && huge_fits(v, addr)) {
		err = pt_leaf_get(&m->pt, addr, false, &leaf, NULL);
		if (err == -ENOENT && !fault_huge(v, addr))
			return 0;
	}
	err = pt_leaf_get(&m->pt, addr, true, &leaf, NULL);
	if (err)
		return err;
	e = pte_read(leaf.entry);
	if (pte_is_none(e))
		return leaf.huge    ? -EAGAIN
		       : v->mapping ? fault_mapped(v, addr, access, &leaf)
				    : fault_anon(v, addr, access, &leaf, e);
	if (unlikely(!pte_is_present(e)))
		return fault_swapped(v, addr, access, &leaf, e);
	if (!(access & ACCESS_WRITE) || (pte_rights(e) & PT_WRITE))
		return 0;
	if (v->flags & VMA_SHARED)
		return fault_make_writable(v, addr, &leaf, e);
	return fault_copy(v, addr, &leaf, e);
}

/* With several memory nodes: pages made from now on are of this range. */
static __noinline void range_begin(struct mem_range *r, const struct vma *v, ulong addr)
{
	*r = (struct mem_range){ .policy = v->policy, .turn = vma_index(v, addr) };
	current->mem_range = r;
}

int fault_in_vma(struct vma *v, ulong addr, unsigned access)
{
	struct mem_range range;
	int err;

	addr &= PAGE_MASK;
	if (unlikely(READ_ONCE(v->mm->reaped)))
		return -EFAULT;
	current->fault_mm = v->mm;
	if (static_branch(&page_placed))
		range_begin(&range, v, addr);
	do
		err = fault_once(v, addr, access);
	while (err == -EAGAIN);
	current->fault_mm = NULL;
	current->mem_range = NULL;
	return err;
}

static bool access_allowed(const struct vma *v, unsigned access)
{
	u32 may = v->flags & VMA_ACCESS;

	if (access & ACCESS_FORCE)
		return access & ACCESS_WRITE ? (v->flags & (VMA_MAYWRITE | VMA_SHARED)) == VMA_MAYWRITE
					     : (v->flags & VMA_MAYREAD) != 0;
	if (access & ACCESS_WRITE)
		return may & VMA_WRITE;
	return access & ACCESS_EXEC ? may & VMA_EXEC : may != 0;
}

/* A stack reaches down to addr. Lock for writing. */
static int grow_stack(struct mm *m, ulong addr)
{
	struct vma *v = vma_find(m, addr), *prev;
	ulong start = addr & PAGE_MASK;

	if (!v || v->start <= addr)
		return v ? 0 : -EFAULT;
	if (!(v->flags & VMA_GROWSDOWN) || v->end - start > upcall_rlimit(RLIMIT_STACK) || start < MMAP_MIN_ADDR)
		return -EFAULT;
	prev = vma_prev(v);
	if (prev && prev->end + ((prev->flags & VMA_ACCESS) ? STACK_GAP_BYTES : 0) > start)
		return -EFAULT;
	if (!commit_allows(m, (v->start - start) >> PAGE_SHIFT))
		return -EFAULT;
	vma_account(m, v->flags, (v->start - start) >> PAGE_SHIFT);
	vma_set_bounds(v, start, v->end);
	return 0;
}

static struct vma *vma_for_fault(struct mm *m, ulong addr)
{
	struct vma *v = vma_find(m, addr);

	return v && v->start <= addr ? v : NULL;
}

/* Retries once after growing a stack. Returns with the lock held for reading; NULL: nothing is mapped there. */
static struct vma *lock_vma(struct mm *m, ulong addr)
{
	struct vma *v;
	int err;

	read_lock(&m->lock);
	v = vma_find(m, addr);
	if (!v || v->start <= addr || !(v->flags & VMA_GROWSDOWN))
		return v && v->start <= addr ? v : NULL;
	read_unlock(&m->lock);
	write_lock(&m->lock);
	err = grow_stack(m, addr);
	write_downgrade(&m->lock);
	return err ? NULL : vma_for_fault(m, addr);
}

int fault_in_mm(struct mm *m, ulong addr, unsigned access, int *code)
{
	struct vma *v = lock_vma(m, addr);
	int err;

	*code = 0;
	if (!v) {
		*code = SEGV_MAPERR;
		err = -EACCES;
	} else if (!access_allowed(v, access)) {
		*code = SEGV_ACCERR;
		err = -EACCES;
	} else {
		err = fault_in_vma(v, addr, access);
	}
	read_unlock(&m->lock);
	return err;
}

static void report(int err, int code, ulong addr)
{
	if (err == -EACCES) {
		upcall_fault_signal(SIGSEGV, code, addr);
	} else if (err == -ENOMEM) {
		log_warn("%s: out of memory, killed", current->comm);
		upcall_fault_signal(SIGKILL, 0, addr);
	} else {
		upcall_fault_signal(SIGBUS, BUS_ADRERR, addr);
	}
}

static void trace_fault(const struct regs *r, ulong addr, unsigned error)
{
	struct trace_page_fault_user rec = { .address = addr, .ip = r->ip, .error_code = error };

	trace_emit(regs_user(r) ? TRACE_page_fault_user : TRACE_page_fault_kernel, &rec, sizeof(rec));
}

int upcall_page_fault(struct regs *r, ulong addr, unsigned error)
{
	struct mm *m = current->mm;
	unsigned access = ACCESS_READ;
	int err = -EACCES, code = SEGV_MAPERR;
	u64 major = current->maj_faults;

	if (error & FAULT_WRITE)
		access |= ACCESS_WRITE;
	if (error & FAULT_EXEC)
		access |= ACCESS_EXEC;
	if (regs_user(r) ? trace_on(page_fault_user) : trace_on(page_fault_kernel))
		trace_fault(r, addr, error);
	task_count(COUNT_PAGE_FAULTS, 1, r, addr);
	if (m && addr < USER_END)
		err = fault_in_mm(m, addr, access, &code);
	if (current->maj_faults == major) {
		current->min_faults++;
		task_count(COUNT_PAGE_FAULTS_MIN, 1, r, addr);
	} else {
		task_count(COUNT_PAGE_FAULTS_MAJ, 1, r, addr);
	}
	if (!err)
		return 0;
	if (regs_user(r))
		report(err, code, addr);
	return -EFAULT;
}

int mm_populate(struct mm *m, ulong start, ulong end)
{
	int err = 0;

	read_lock(&m->lock);
	for (ulong at = start; at < end && !err; at += PAGE_SIZE) {
		struct vma *v = vma_for_fault(m, at);
		bool write = v && (v->flags & VMA_WRITE) && !(v->flags & VMA_SHARED);

		if (!v)
			err = -ENOMEM;
		else if (v->flags & VMA_ACCESS)
			err = fault_in_vma(v, at, write ? ACCESS_WRITE : ACCESS_READ);
	}
	read_unlock(&m->lock);
	return err;
}
