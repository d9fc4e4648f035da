/* SPDX-License-Identifier: MIT
 *
 * Problem: mmap, munmap, mprotect and brk: ranges of addresses come, go and change their rights, in
 * pieces that need not agree with the pieces before.
 *
 * Idea: check everything, carve whole VMAs out of the range (vma_carve; harmless if memory runs out
 * there), then change them one by one in steps that cannot fail, and let equal neighbours merge.
 * A new anonymous range next to an equal one only moves that one's edge.
 *
 * Contract: mm/mm.h. Rights that a program asks for beyond VMA_MAY* are refused (EACCES). Limits:
 * RLIMIT_AS, RLIMIT_DATA, RLIMIT_MEMLOCK, vm.max_map_count.
 *
 * Locks: mm->lock for writing. Removed VMAs are buried after the unlock.
 */
#include <linux/capability.h>
#include <task/cred.h>
#include <asm/resource.h>
#include <core/log.h>
#include <linux/mman.h>
#include <mm/commit.h>
#include <task/hooks.h>
#include "mm_priv.h"

#define MAP_32BIT_END 0x80000000UL

static bool over_limits(struct mm *m, u32 flags, u64 pages)
{
	if (m->total_pages + pages > upcall_rlimit(RLIMIT_AS) >> PAGE_SHIFT)
		return true;
	if ((flags & (VMA_WRITE | VMA_SHARED | VMA_STACK)) == VMA_WRITE &&
	    m->data_pages + pages > upcall_rlimit(RLIMIT_DATA) >> PAGE_SHIFT)
		return true;
	return (flags & VMA_COMMITTED) && !commit_allows(m, pages);
}

bool over_lock_limit(u64 pages)
{
	return pages > upcall_rlimit(RLIMIT_MEMLOCK) >> PAGE_SHIFT && !capable(CAP_IPC_LOCK);
}

static u32 flags_of(const struct mm *m, unsigned prot, unsigned map_flags, unsigned may)
{
	u32 flags = (prot & VMA_ACCESS) | may;

	if (map_flags & MAP_SHARED)
		flags |= VMA_SHARED;
	if (map_flags & MAP_GROWSDOWN)
		flags |= VMA_GROWSDOWN;
	if (map_flags & MAP_STACK)
		flags |= VMA_STACK;
	if (map_flags & MAP_NORESERVE)
		flags |= VMA_NORESERVE;
	if ((map_flags & MAP_LOCKED) || m->lock_future)
		flags |= VMA_LOCKED;
	return commit_flags(flags);
}

/* ---- removing --------------------------------------------------------------------------------------- */

int unmap_locked(struct mm *m, ulong start, ulong end, struct list *dead)
{
	struct tlb_gather g;
	struct vma *v, *next;
	int err = vma_carve(m, start, end, &v);

	if (err || !v)
		return err;
	tlb_begin(&g, &m->pt);
	for (; v && v->start < end; v = next) {
		next = vma_next(v);
		vma_unlink(m, v);
		zap_range(v, v->start, v->end, false, &g);
		vma_detach(v, dead);
	}
	tlb_finish(&g);
	return 0;
}

int mm_unmap(struct mm *m, ulong addr, size_t bytes)
{
	LIST(dead);
	int err;

	if (!IS_ALIGNED(addr, PAGE_SIZE) || addr >= USER_END || !bytes || bytes > USER_END - addr)
		return -EINVAL;
	err = write_lock_killable(&m->lock);
	if (err)
		return -EINTR;
	err = unmap_locked(m, addr, addr + ALIGN_UP(bytes, PAGE_SIZE), &dead);
	write_unlock(&m->lock);
	vma_bury(&dead);
	return err;
}

/* ---- making ------------------------------------------------------------------------------------------ */

static int choose_address(struct mm *m, ulong *addr, size_t bytes, unsigned map_flags, u32 flags,
			  struct mapping *mapping)
{
	ulong hint = ALIGN_DOWN(*addr, PAGE_SIZE), align = PAGE_SIZE;
	ulong limit = map_flags & MAP_32BIT ? MAP_32BIT_END : m->mmap_base;

	if (hint >= MMAP_MIN_ADDR && hint < USER_END && bytes <= USER_END - hint &&
	    vma_range_free(m, hint, hint + bytes)) {
		*addr = hint;
		return 0;
	}
	if (!mapping && bytes >= HUGE_SIZE && !(flags & VMA_STACK))
		align = HUGE_SIZE;
	return vma_gap_find(m, bytes, align, limit, addr);
}

static int claim_fixed(struct mm *m, ulong addr, size_t bytes, unsigned map_flags, struct list *dead)
{
	if (!IS_ALIGNED(addr, PAGE_SIZE))
		return -EINVAL;
	if (addr >= USER_END || bytes > USER_END - addr)
		return -ENOMEM;
	if (addr < MMAP_MIN_ADDR)
		return -EPERM;
	if ((map_flags & MAP_FIXED_NOREPLACE) == MAP_FIXED_NOREPLACE)
		return vma_range_free(m, addr, addr + bytes) ? 0 : -EEXIST;
	return unmap_locked(m, addr, addr + bytes, dead);
}

/* An anonymous range right above an equal one: no new VMA. */
static bool extend_below(struct mm *m, ulong addr, ulong end, u32 flags)
{
	struct vma *next = vma_find(m, addr);
	struct vma *prev = next ? vma_prev(next) : vma_last(m);

	if (!prev || prev->end != addr || prev->flags != flags || prev->mapping || prev->name || prev->policy ||
	    (flags & (VMA_SPECIAL | VMA_GROWSDOWN)) || vma_index(prev, addr) != addr >> PAGE_SHIFT)
		return false;
	vma_set_bounds(prev, prev->start, end);
	vma_account(m, flags, (end - addr) >> PAGE_SHIFT);
	return true;
}

static int insert_new(struct mm *m, ulong addr, ulong end, u32 flags, struct mapping *mapping, u64 index,
		      const char *name, struct list *dead)
{
	struct vma *v;
	int err;

	if (m->nr_vmas >= READ_ONCE(mm_max_vmas))
		return -ENOMEM;
	if (!mapping)
		index = addr >> PAGE_SHIFT;
	v = vma_alloc(m, addr, end, flags, mapping, index);
	if (!v)
		return -ENOMEM;
	v->name = name;
	err = vma_attach(v);
	if (err) {
		list_add_tail(&v->mapping_link, dead);
		return err;
	}
	vma_merge(v, dead);
	return 0;
}

int mm_map(struct mm *m, ulong *addr, size_t bytes, unsigned prot, unsigned map_flags, struct mapping *mapping,
	   u64 index, unsigned may_flags)
{
	size_t len = ALIGN_UP(bytes, PAGE_SIZE);
	u32 flags = flags_of(m, prot, map_flags, may_flags ? may_flags : VMA_MAY);
	bool fixed = map_flags & (MAP_FIXED | MAP_FIXED_NOREPLACE);
	LIST(dead);
	int err;

	if (!bytes)
		return -EINVAL;
	if (len < bytes || len > USER_END)
		return -ENOMEM;
	if (write_lock_killable(&m->lock))
		return -EINTR;
	if ((flags & VMA_LOCKED) && over_lock_limit(m->locked_pages + (len >> PAGE_SHIFT)))
		err = -EAGAIN;
	else if (over_limits(m, flags, len >> PAGE_SHIFT))
		err = -ENOMEM;
	else if (fixed)
		err = claim_fixed(m, *addr, len, map_flags, &dead);
	else
		err = choose_address(m, addr, len, map_flags, flags, mapping);
	if (!err && (mapping || !extend_below(m, *addr, *addr + len, flags)))
		err = insert_new(m, *addr, *addr + len, flags, mapping, index, NULL, &dead);
	write_unlock(&m->lock);
	vma_bury(&dead);
	if (!err && static_branch(&task_life_key))
		task_hooks->mapped(m, *addr);
	if (!err && ((flags & VMA_LOCKED) || (map_flags & (MAP_POPULATE | MAP_NONBLOCK)) == MAP_POPULATE))
		(void)!mm_populate(m, *addr, *addr + len);
	return err;
}

int mm_map_special(struct mm *m, ulong *addr, size_t bytes, unsigned vma_flags, struct mapping *mapping, u64 index,
		   const char *name)
{
	size_t len = ALIGN_UP(bytes, PAGE_SIZE);
	LIST(dead);
	int err;

	if (write_lock_killable(&m->lock))
		return -EINTR;
	err = choose_address(m, addr, len, 0, VMA_STACK, mapping);
	if (!err)
		err = insert_new(m, *addr, *addr + len, vma_flags, mapping, index, name, &dead);
	write_unlock(&m->lock);
	vma_bury(&dead);
	return err;
}

/* ---- rights -------------------------------------------------------------------------------------------- */

static u32 protected_flags(const struct vma *v, unsigned prot)
{
	return commit_flags((v->flags & ~(u32)VMA_ACCESS) | prot);
}

/* The whole range is mapped, each part may have these rights, and what becomes writable may be promised. */
static int check_protect(struct mm *m, ulong start, ulong end, unsigned prot)
{
	struct vma *v = vma_find(m, start);
	u64 promised = 0;

	for (ulong at = start; at < end; v = vma_next(v)) {
		if (!v || v->start > at)
			return -ENOMEM;
		if (prot & ~(v->flags / VMA_MAYREAD) & VMA_ACCESS)
			return -EACCES;
		if ((protected_flags(v, prot) ^ v->flags) & VMA_COMMITTED)
			promised += (min(v->end, end) - at) >> PAGE_SHIFT;
		at = v->end;
	}
	return promised && !commit_allows(m, promised) ? -ENOMEM : 0;
}

static struct vma *protect_one(struct vma *v, u32 flags, struct tlb_gather *g, struct list *dead, int *err)
{
	vma_account(v->mm, v->flags, -(s64)vma_pages(v));
	v->flags = flags;
	vma_account(v->mm, v->flags, vma_pages(v));
	*err = reprotect_range(v, v->start, v->end, g);
	return vma_merge(v, dead);
}

static int protect_locked(struct mm *m, ulong start, ulong end, unsigned prot, struct list *dead)
{
	struct tlb_gather g;
	struct vma *v;
	int err = check_protect(m, start, end, prot);

	if (!err)
		err = vma_carve(m, start, end, &v);
	if (err)
		return err;
	tlb_begin(&g, &m->pt);
	for (; v && v->start < end && !err; v = vma_next(v)) {
		u32 flags = protected_flags(v, prot);

		if (flags != v->flags)
			v = protect_one(v, flags, &g, dead, &err);
	}
	tlb_finish(&g);
	return err;
}

int mm_protect(struct mm *m, ulong addr, size_t bytes, unsigned prot)
{
	bool down = prot & PROT_GROWSDOWN;
	ulong end = addr + ALIGN_UP(bytes, PAGE_SIZE);
	LIST(dead);
	int err;

	prot &= ~(unsigned)(PROT_GROWSDOWN | PROT_GROWSUP);
	if (!IS_ALIGNED(addr, PAGE_SIZE) || (prot & ~(unsigned)(VMA_ACCESS | PROT_SEM)))
		return -EINVAL;
	if (!bytes)
		return 0;
	if (end <= addr || end > USER_END)
		return -ENOMEM;
	if (write_lock_killable(&m->lock))
		return -EINTR;
	if (down) {
		struct vma *v = vma_find(m, addr);

		if (v && v->start < end && (v->flags & VMA_GROWSDOWN))
			addr = v->start;
	}
	err = protect_locked(m, addr, end, prot & VMA_ACCESS, &dead);
	write_unlock(&m->lock);
	vma_bury(&dead);
	if (!err && (prot & VMA_EXEC) && static_branch(&task_life_key))
		task_hooks->mapped(m, addr);
	return err;
}

/* ---- the heap ------------------------------------------------------------------------------------------- */

static int brk_grow(struct mm *m, ulong from, ulong to, struct list *dead)
{
	u32 flags = flags_of(m, VMA_READ | VMA_WRITE, 0, VMA_MAY) | VMA_HEAP;

	if (to - m->brk_start + (m->data_end - m->data_start) > upcall_rlimit(RLIMIT_DATA) ||
	    over_limits(m, flags, (to - from) >> PAGE_SHIFT) || !vma_range_free(m, from, to))
		return -ENOMEM;
	if ((flags & VMA_LOCKED) && over_lock_limit(m->locked_pages + ((to - from) >> PAGE_SHIFT)))
		return -ENOMEM;
	if (extend_below(m, from, to, flags))
		return 0;
	return insert_new(m, from, to, flags, NULL, 0, NULL, dead);
}

/* As brk(2) itself: *out is the break afterwards, unchanged where it could not be moved. */
int mm_brk(struct mm *m, ulong brk, ulong *out)
{
	ulong old_end, new_end;
	bool populate = false;
	LIST(dead);
	int err = 0;

	if (write_lock_killable(&m->lock))
		return -EINTR;
	old_end = ALIGN_UP(m->brk, PAGE_SIZE);
	new_end = ALIGN_UP(brk, PAGE_SIZE);
	if (brk < m->brk_start || brk >= USER_END)
		err = -EINVAL;
	else if (new_end < old_end)
		err = unmap_locked(m, new_end, old_end, &dead);
	else if (new_end > old_end)
		err = brk_grow(m, old_end, new_end, &dead);
	if (!err) {
		populate = m->lock_future && new_end > old_end;
		m->brk = brk;
	}
	*out = m->brk;
	write_unlock(&m->lock);
	vma_bury(&dead);
	if (populate)
		(void)!mm_populate(m, old_end, new_end);
	return 0;
}
