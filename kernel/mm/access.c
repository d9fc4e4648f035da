/* SPDX-License-Identifier: MIT
 *
 * Problem: the kernel reaches into address spaces that are not loaded (ptrace, /proc/PID/mem, exec
 * filling a new one), and hands user pages to devices.
 *
 * Idea: fault the page in as the program would, look the entry up, take a reference, and use the
 * page through the direct map. A page that is gone again between fault and look is faulted again.
 *
 * Contract: mm/mm.h. Device pages (PT_SPECIAL) are not reachable this way, the zero page is (for
 * reading).
 *
 * Locks: mm->lock for reading inside fault_in_mm; one page-table lock. None while copying.
 */
#include <lib/string.h>
#include <task/sched.h>
#include "mm_priv.h"

/* The page of an entry with a reference; *pfn is the small page itself. -EAGAIN: the entry does not allow this access.
 * Inline: it runs once a page of direct I/O. */
static __always_inline int page_of(pte_t e, ulong addr, bool huge, unsigned access, struct page **out, pfn_t *pfn)
{
	if (!pte_is_present(e) || ((access & ACCESS_WRITE) && !(access & ACCESS_FORCE) && !pte_is_writable(e)))
		return -EAGAIN;
	if (pte_is_special(e) && pte_pfn(e) != zero_pfn)
		return -EFAULT;
	if ((access & ACCESS_WRITE) && pte_pfn(e) == zero_pfn)
		return -EAGAIN;
	*pfn = pte_pfn(e) + (huge ? (addr % HUGE_SIZE) >> PAGE_SHIFT : 0);
	*out = page_head(ram_page(*pfn));
	page_get(*out);
	return 0;
}

static int page_at(struct mm *m, ulong addr, unsigned access, struct page **out, pfn_t *pfn)
{
	struct pt_leaf leaf;
	pte_t e;
	int err;

	if (pt_leaf_get(&m->pt, addr, false, &leaf, NULL))
		return -EAGAIN;
	pt_leaf_lock(&leaf);
	e = pte_read(leaf.entry);
	err = page_of(e, addr, leaf.huge, access, out, pfn);
	pt_leaf_unlock(&leaf);
	return err;
}

static int get_page(struct mm *m, ulong addr, unsigned access, struct page **out, pfn_t *pfn)
{
	int code, err;

	do {
		err = fault_in_mm(m, addr, access, &code);
		if (err)
			return err == -ENOMEM ? err : -EFAULT;
		err = page_at(m, addr, access, out, pfn);
	} while (err == -EAGAIN);
	return err;
}

ssize_t mm_access(struct mm *m, ulong addr, void *buf, size_t bytes, bool write, bool force)
{
	unsigned access = (write ? ACCESS_WRITE : ACCESS_READ) | (force ? ACCESS_FORCE : 0);
	size_t done = 0;

	while (done < bytes) {
		size_t n = min(bytes - done, PAGE_SIZE - (addr + done) % PAGE_SIZE);
		struct page *page;
		char *at;
		pfn_t pfn;
		int err;

		if (addr + done >= USER_END)
			return done ? (ssize_t)done : -EFAULT;
		err = get_page(m, addr + done, access, &page, &pfn);
		if (err)
			return done ? (ssize_t)done : err;
		at = (char *)phys_to_virt(pfn << PAGE_SHIFT) + (addr + done) % PAGE_SIZE;
		if (write)
			memcpy(at, (char *)buf + done, n);
		else
			memcpy((char *)buf + done, at, n);
		page_put(page);
		done += n;
		resched_point();
	}
	return done;
}

/* Pins what is there already and lets the program itself do this, of one page table; how many pages. */
static unsigned pin_present(struct mm *m, ulong addr, unsigned n, unsigned access, struct page **pages)
{
	struct pt_leaf leaf;
	unsigned i;

	if (pt_leaf_get(&m->pt, addr, false, &leaf, NULL))
		return 0;
	pt_leaf_lock(&leaf);
	n = min(n, leaf.huge ? (unsigned)((HUGE_SIZE - addr % HUGE_SIZE) >> PAGE_SHIFT) : leaf.left);
	for (i = 0; i < n; i++) {
		pte_t e = pte_read(leaf.huge ? leaf.entry : leaf.entry + i);
		struct page *head;
		pfn_t pfn;

		if (!pte_is_user(e) || (access & ACCESS_WRITE && !pte_is_dirty(e)) ||
		    page_of(e, addr + i * PAGE_SIZE, leaf.huge, access, &head, &pfn))
			break;
		pages[i] = ram_page(pfn);
	}
	pt_leaf_unlock(&leaf);
	return i;
}

ulong mm_next_used(struct mm *m, ulong addr, ulong end)
{
	while (addr < end) {
		struct pt_leaf leaf;
		ulong next;

		if (pt_leaf_get(&m->pt, addr, false, &leaf, &next)) {
			addr = next;
			continue;
		}
		for (; leaf.left && addr < end; leaf.left--, leaf.entry++, addr += PAGE_SIZE)
			if (leaf.huge || !pte_is_none(pte_read(leaf.entry)))
				return addr;
	}
	return end;
}

static struct mm_page_state state_of(pte_t e, bool huge, ulong addr)
{
	struct mm_page_state s = { .present = pte_is_present(e), .swapped = pte_is_swap(e) };
	struct page *head;

	if (s.swapped)
		s.where = pte_swap_payload(e);
	if (!s.present)
		return s;
	s.where = pte_pfn(e) + (huge ? addr % HUGE_SIZE >> PAGE_SHIFT : 0);
	if (pte_is_special(e))
		return s;
	head = pfn_to_page(pte_pfn(e));
	s.file = !(head->flags & PAGE_ANON);
	s.alone = atomic_read(s.file ? &head->mapcount : &head->refs) == 1;
	return s;
}

void mm_page_states(struct mm *m, ulong addr, unsigned n, struct mm_page_state *out)
{
	memset(out, 0, n * sizeof(*out));
	read_lock(&m->lock);
	for (unsigned i = 0; i < n && addr + i * PAGE_SIZE < USER_END; i++) {
		ulong at = addr + i * PAGE_SIZE;
		struct pt_leaf leaf;

		if (pt_leaf_get(&m->pt, at, false, &leaf, NULL))
			continue;
		pt_leaf_lock(&leaf);
		out[i] = state_of(pte_read(leaf.entry), leaf.huge, at);
		pt_leaf_unlock(&leaf);
	}
	read_unlock(&m->lock);
}

int mm_pin_user(struct mm *m, ulong addr, unsigned n, bool write, struct page **pages)
{
	unsigned access = write ? ACCESS_WRITE : ACCESS_READ, i = 0;

	addr &= PAGE_MASK;
	while (i < n) {
		ulong at = addr + i * PAGE_SIZE;
		struct page *head;
		unsigned got;
		pfn_t pfn;

		if (at >= USER_END)
			break;
		got = pin_present(m, at, n - i, access, pages + i);
		if (!got) {
			if (get_page(m, at, access, &head, &pfn))
				break;
			pages[i] = ram_page(pfn);
			got = 1;
		}
		i += got;
	}
	return i || !n ? (int)i : -EFAULT;
}

int mm_device_frame(struct mm *m, ulong addr, bool write, pfn_t *out)
{
	struct pt_leaf leaf;
	int code, err = fault_in_mm(m, addr, write ? ACCESS_WRITE : ACCESS_READ, &code);
	pte_t e;

	if (err || pt_leaf_get(&m->pt, addr, false, &leaf, NULL))
		return err == -ENOMEM ? err : -EFAULT;
	pt_leaf_lock(&leaf);
	e = pte_read(leaf.entry);
	pt_leaf_unlock(&leaf);
	*out = pte_pfn(e);
	return pte_is_present(e) && pte_is_special(e) && *out != zero_pfn && (!write || pte_is_writable(e)) ? 0
													    : -EFAULT;
}

int mm_locate(struct mm *m, ulong addr, struct mapping **mapping, u64 *index)
{
	struct vma *v;
	int err = 0;

	*mapping = NULL;
	read_lock(&m->lock);
	v = vma_find(m, addr);
	if (!v || v->start > addr) {
		err = -EFAULT;
	} else if (v->mapping && (v->flags & VMA_SHARED)) {
		*mapping = v->mapping;
		*index = vma_index(v, addr);
		if (v->mapping->ops->get)
			v->mapping->ops->get(v->mapping);
	}
	read_unlock(&m->lock);
	return err;
}

int mm_insert_page(struct mm *m, ulong addr, struct page *page)
{
	struct pt_leaf leaf;
	struct vma *v;
	int err;

	read_lock(&m->lock);
	v = vma_find(m, addr);
	ensure(v && v->start <= addr && !v->mapping);
	err = pt_leaf_get(&m->pt, addr, true, &leaf, NULL);
	if (!err) {
		page_set_anon(page);
		page->index = vma_index(v, addr);
		v->has_private = true;
		pt_leaf_lock(&leaf);
		pte_set(leaf.entry, pte_make(page_to_pfn(page), vma_rights(v) | PT_DIRTY | PT_YOUNG));
		pt_leaf_unlock(&leaf);
		atomic_add(&m->rss_anon, 1);
	} else {
		page_put(page);
	}
	read_unlock(&m->lock);
	return err;
}

struct vma *mm_find_vma(struct mm *m, ulong addr)
{
	return vma_find(m, addr);
}

struct vma *mm_next_vma(struct vma *v)
{
	return vma_next(v);
}

void range_walk(struct mm *m, ulong start, ulong end, void (*fn)(pte_t e, bool huge, void *arg), void *arg)
{
	for (ulong va = start, next; va < end; va = next) {
		struct pt_leaf leaf;
		unsigned n = 1;

		if (pt_leaf_get(&m->pt, va, false, &leaf, &next))
			continue;
		if (!leaf.huge)
			n = min((ulong)leaf.left, (end - va) >> PAGE_SHIFT);
		pt_leaf_lock(&leaf);
		for (unsigned i = 0; i < n; i++) {
			pte_t e = pte_read(leaf.entry + i);

			if (pte_is_present(e) && !pte_is_special(e))
				fn(e, leaf.huge, arg);
		}
		pt_leaf_unlock(&leaf);
		next = leaf.huge ? ALIGN_DOWN(va, HUGE_SIZE) + HUGE_SIZE : va + n * PAGE_SIZE;
	}
}

static void count_entry(pte_t e, bool huge, void *arg)
{
	struct mm_map_stats *out = arg;
	struct page *page = pte_page(e);
	unsigned rights = pte_rights(e);
	u64 n = huge ? 512 : 1;
	bool anon = page->flags & PAGE_ANON;

	*(anon ? &out->anon_pages : &out->file_pages) += n;
	out->dirty_pages += rights & PT_DIRTY ? n : 0;
	out->young_pages += rights & PT_YOUNG ? n : 0;
	out->huge_pages += huge ? n : 0;
	out->node_pages[page_node(page)] += n;
	out->most_users =
		max(out->most_users, (unsigned)atomic_read(anon && !page_order(page) ? &page->refs : &page->mapcount));
}

void mm_range_stats(struct mm *m, ulong start, ulong end, struct mm_map_stats *out)
{
	*out = (struct mm_map_stats){ 0 };
	range_walk(m, start, end, count_entry, out);
}
