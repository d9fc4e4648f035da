/* SPDX-License-Identifier: MIT
 *
 * Problem: the calls that tell the kernel about a range rather than change what is mapped: madvise,
 * msync, mlock, mincore.
 *
 * Idea: advice is either a VMA flag (then the range is carved and merged as in mprotect), or drops
 * pages, or brings them in. Advice that is only a hint about time is accepted and costs nothing.
 *
 * Contract: mm/mm.h. A hole in the range is -ENOMEM, after the mapped parts have been done, as
 * madvise(2) says.
 *
 * Locks: mm->lock for writing where flags change, for reading else. msync holds the mapping by
 * reference and no lock, because writing back takes the file's own.
 */
#include <linux/capability.h>
#include <task/cred.h>
#include <asm/resource.h>
#include <linux/mman.h>
#include <task/sched.h>
#include "mm_priv.h"

struct flag_change {
	u32 set, clear;
};

static bool advice_flags(int advice, struct flag_change *c)
{
	switch (advice) {
	case MADV_DONTFORK: *c = (struct flag_change){ VMA_DONTFORK, 0 }; return true;
	case MADV_DOFORK: *c = (struct flag_change){ 0, VMA_DONTFORK }; return true;
	case MADV_WIPEONFORK: *c = (struct flag_change){ VMA_WIPEFORK, 0 }; return true;
	case MADV_KEEPONFORK: *c = (struct flag_change){ 0, VMA_WIPEFORK }; return true;
	case MADV_DONTDUMP: *c = (struct flag_change){ VMA_DONTDUMP, 0 }; return true;
	case MADV_DODUMP: *c = (struct flag_change){ 0, VMA_DONTDUMP }; return true;
	case MADV_HUGEPAGE: *c = (struct flag_change){ VMA_HUGE, VMA_NOHUGE }; return true;
	case MADV_NOHUGEPAGE: *c = (struct flag_change){ VMA_NOHUGE, VMA_HUGE }; return true;
	default: return false;
	}
}

static int change_flags(struct mm *m, ulong start, ulong end, int advice, struct flag_change c, struct list *dead)
{
	bool hole = false;
	ulong at = start;
	struct vma *v;
	int err = vma_carve(m, start, end, &v);

	if (err)
		return err;
	for (; v && v->start < end; v = vma_next(v)) {
		hole |= v->start > at;
		at = v->end;
		if ((advice == MADV_WIPEONFORK && (v->mapping || (v->flags & VMA_SHARED))) ||
		    (advice == MADV_DODUMP && (v->flags & VMA_SPECIAL)))
			return -EINVAL;
		vma_account(m, v->flags, -(s64)vma_pages(v));
		v->flags = (v->flags | c.set) & ~c.clear;
		vma_account(m, v->flags, vma_pages(v));
		v = vma_merge(v, dead);
	}
	return hole || at < end ? -ENOMEM : 0;
}

static int drop_pages(struct mm *m, ulong start, ulong end, int advice)
{
	struct vma *v = vma_find(m, start);
	ulong at = start;
	bool hole = false;

	for (; v && v->start < end; v = vma_next(v)) {
		struct tlb_gather g;

		hole |= v->start > at;
		at = v->end;
		if (v->flags & (VMA_LOCKED | VMA_SPECIAL))
			return -EINVAL;
		if (advice == MADV_FREE && (v->mapping || (v->flags & VMA_SHARED)))
			return -EINVAL;
		tlb_begin(&g, &m->pt);
		zap_range(v, max(start, v->start), min(end, v->end), false, &g);
		tlb_finish(&g);
	}
	return hole || at < end ? -ENOMEM : 0;
}

static int bring_in(struct mm *m, ulong start, ulong end, unsigned access)
{
	for (ulong at = start; at < end; at += PAGE_SIZE) {
		int code, err = fault_in_mm(m, at, access, &code);

		if (err == -EACCES)
			return code == 1 ? -ENOMEM : -EINVAL;
		if (err)
			return err == -EIO ? -EFAULT : err;
		resched_point();
		if (fatal_signal_pending(current))
			return -EINTR;
	}
	return 0;
}

static int check_mapped(struct mm *m, ulong start, ulong end)
{
	ulong at = start;

	for (struct vma *v = vma_find(m, start); v && v->start <= at && at < end; v = vma_next(v))
		at = v->end;
	return at < end ? -ENOMEM : 0;
}

static int advise_locked(struct mm *m, ulong start, ulong end, int advice)
{
	struct flag_change c;
	LIST(dead);
	int err;

	if (advice_flags(advice, &c)) {
		if (write_lock_killable(&m->lock))
			return -EINTR;
		err = change_flags(m, start, end, advice, c, &dead);
		write_unlock(&m->lock);
		vma_bury(&dead);
		return err;
	}
	read_lock(&m->lock);
	if (advice == MADV_DONTNEED || advice == MADV_FREE || advice == MADV_DONTNEED_LOCKED)
		err = drop_pages(m, start, end, advice);
	else
		err = check_mapped(m, start, end);
	read_unlock(&m->lock);
	return err;
}

int mm_advise(struct mm *m, ulong addr, size_t bytes, int advice)
{
	ulong end = addr + ALIGN_UP(bytes, PAGE_SIZE);

	switch (advice) {
	case MADV_NORMAL:
	case MADV_RANDOM:
	case MADV_SEQUENTIAL:
	case MADV_WILLNEED:
	case MADV_DONTNEED:
	case MADV_FREE:
	case MADV_DONTNEED_LOCKED:
	case MADV_DONTFORK ... MADV_DOFORK:
	case MADV_HUGEPAGE ... MADV_KEEPONFORK:
	case MADV_COLD ... MADV_POPULATE_WRITE: break;
	default: return -EINVAL;
	}
	if (!IS_ALIGNED(addr, PAGE_SIZE) || end < addr || (bytes && end == addr))
		return -EINVAL;
	if (end > USER_END)
		return -ENOMEM;
	if (end == addr)
		return 0;
	if (advice == MADV_POPULATE_READ || advice == MADV_POPULATE_WRITE)
		return bring_in(m, addr, end, advice == MADV_POPULATE_WRITE ? ACCESS_WRITE : ACCESS_READ);
	return advise_locked(m, addr, end, advice);
}

/* ---- msync -------------------------------------------------------------------------------------------- */

/* The next piece of [*at, end) with a shared mapping; its mapping is got. False: no more. *hole: a part was unmapped.
 */
static bool next_shared(struct mm *m, ulong *at, ulong end, struct mapping **map, u64 *index, u64 *count, bool *hole,
			bool *locked)
{
	bool found = false;

	read_lock(&m->lock);
	for (struct vma *v = vma_find(m, *at); *at < end && !found; v = vma_next(v)) {
		ulong stop;

		if (!v || v->start > *at)
			*hole = true;
		if (!v || v->start >= end) {
			*at = end;
			break;
		}
		*locked |= v->flags & VMA_LOCKED;
		*at = max(*at, v->start);
		stop = min(end, v->end);
		if (v->mapping && (v->flags & VMA_SHARED) && v->mapping->ops->sync) {
			*map = v->mapping;
			*index = vma_index(v, *at);
			*count = (stop - *at) >> PAGE_SHIFT;
			if ((*map)->ops->get)
				(*map)->ops->get(*map);
			found = true;
		}
		*at = stop;
	}
	read_unlock(&m->lock);
	return found;
}

int mm_sync(struct mm *m, ulong addr, size_t bytes, int flags)
{
	ulong end = addr + ALIGN_UP(bytes, PAGE_SIZE);
	struct mapping *map;
	bool hole = false, locked = false;
	u64 index, count;
	int err = 0;

	if ((flags & ~(MS_ASYNC | MS_INVALIDATE | MS_SYNC)) || !IS_ALIGNED(addr, PAGE_SIZE) ||
	    (flags & (MS_ASYNC | MS_SYNC)) == (MS_ASYNC | MS_SYNC))
		return -EINVAL;
	if (end < addr || end > USER_END)
		return -ENOMEM;
	while (addr < end && next_shared(m, &addr, end, &map, &index, &count, &hole, &locked)) {
		int one = flags & MS_SYNC ? map->ops->sync(map, index, count) : 0;

		err = err ? err : one;
		if (map->ops->put)
			map->ops->put(map);
	}
	if (!err && locked && flags & MS_INVALIDATE)
		return -EBUSY;
	return err ? err : hole ? -ENOMEM : 0;
}

/* ---- mlock ---------------------------------------------------------------------------------------------- */

/* Pages of [start, end) that are locked already. */
static u64 count_locked(const struct mm *m, ulong start, ulong end)
{
	u64 n = 0;

	for (struct vma *v = vma_find(m, start); v && v->start < end; v = vma_next(v))
		if (v->flags & VMA_LOCKED)
			n += (min(v->end, end) - max(v->start, start)) >> PAGE_SHIFT;
	return n;
}

static bool may_lock(void)
{
	return upcall_rlimit(RLIMIT_MEMLOCK) || capable(CAP_IPC_LOCK);
}

static int lock_locked(struct mm *m, ulong start, ulong end, bool lock, struct list *dead)
{
	struct flag_change c = { lock ? VMA_LOCKED : 0, lock ? 0 : VMA_LOCKED };

	if (lock && over_lock_limit(m->locked_pages + ((end - start) >> PAGE_SHIFT) - count_locked(m, start, end)))
		return -ENOMEM;
	return change_flags(m, start, end, 0, c, dead);
}

int mm_lock_range(struct mm *m, ulong addr, size_t bytes, bool lock, bool on_fault)
{
	ulong start = ALIGN_DOWN(addr, PAGE_SIZE), end = ALIGN_UP(addr + bytes, PAGE_SIZE);
	LIST(dead);
	int err;

	if (lock && !may_lock())
		return -EPERM;
	if (addr + bytes < addr || end < start)
		return -EINVAL;
	if (start == end)
		return 0;
	if (end > USER_END)
		return -ENOMEM;
	if (write_lock_killable(&m->lock))
		return -EINTR;
	err = lock_locked(m, start, end, lock, &dead);
	write_unlock(&m->lock);
	vma_bury(&dead);
	if (!err && lock && !on_fault)
		err = mm_populate(m, start, end) == -ENOMEM ? -ENOMEM : 0;
	return err;
}

int mm_lock_all(struct mm *m, int flags)
{
	bool lock = flags & MCL_CURRENT;
	LIST(dead);
	int err = 0;

	if (flags & ~(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) || flags == MCL_ONFAULT)
		return -EINVAL;
	if (flags && !may_lock())
		return -EPERM;
	if (lock && over_lock_limit(m->total_pages))
		return -ENOMEM;
	if (write_lock_killable(&m->lock))
		return -EINTR;
	m->lock_future = flags & MCL_FUTURE;
	for (struct vma *v = vma_find(m, 0); v && (lock || !flags); v = vma_next(v)) {
		vma_account(m, v->flags, -(s64)vma_pages(v));
		v->flags = lock && !(v->flags & VMA_SPECIAL) ? v->flags | VMA_LOCKED : v->flags & ~(u32)VMA_LOCKED;
		vma_account(m, v->flags, vma_pages(v));
		v = vma_merge(v, &dead);
	}
	write_unlock(&m->lock);
	vma_bury(&dead);
	return err;
}

/* ---- mincore ---------------------------------------------------------------------------------------------- */

static bool is_resident(struct vma *v, ulong addr)
{
	struct page *page = NULL;
	struct pt_leaf leaf;

	if (!pt_leaf_get(&v->mm->pt, addr, false, &leaf, NULL) && pte_is_present(pte_read(leaf.entry)))
		return true;
	if (!v->mapping || !v->mapping->ops->fill_around)
		return false;
	v->mapping->ops->fill_around(v->mapping, vma_index(v, addr), 1, &page);
	if (page)
		page_put(page_head(page));
	return page != NULL;
}

int mm_resident(struct mm *m, ulong addr, unsigned pages, u8 *vec)
{
	struct vma *v;
	int err = 0;

	read_lock(&m->lock);
	v = vma_find(m, addr);
	for (unsigned i = 0; i < pages; i++, addr += PAGE_SIZE) {
		if (v && v->end <= addr)
			v = vma_next(v);
		if (!v || v->start > addr) {
			err = -ENOMEM;
			break;
		}
		vec[i] = is_resident(v, addr);
	}
	read_unlock(&m->lock);
	return err;
}
