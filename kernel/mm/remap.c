/* SPDX-License-Identifier: MIT
 *
 * Problem: mremap: a mapping shrinks, grows where it is, or moves with its pages to another place.
 *
 * Idea: shrinking is munmap of the tail. Growing in place moves the VMA's edge if the next addresses
 * are free. Moving makes a VMA with the same mapping and index at the new place, carries the page
 * table entries over, and unmaps the old place, whose entries are empty by then.
 *
 * Contract: mm_remap of mm/mm.h, errors of mremap(2).
 *
 * Locks: mm->lock for writing. Entries move one leaf chunk at a time, never under two table locks.
 */
#include <asm/resource.h>
#include <linux/mman.h>
#include <mm/commit.h>
#include <task/sched.h>
#include "mm_priv.h"

#define MOVE_CHUNK 64

struct remap {
	struct mm *m;
	ulong addr, old_len, new_len, new_addr;
	unsigned flags;
	struct list dead;
};

/* Moves up to MOVE_CHUNK entries; the target's table exists. */
static void move_chunk(struct pt_leaf *from, struct pt_leaf *to, unsigned n)
{
	pte_t e[MOVE_CHUNK];

	pt_leaf_lock(from);
	for (unsigned i = 0; i < n; i++)
		e[i] = pte_is_none(pte_read(from->entry + i)) ? (pte_t)0 : pte_exchange(from->entry + i, (pte_t)0);
	pt_leaf_unlock(from);
	pt_leaf_lock(to);
	for (unsigned i = 0; i < n; i++)
		if (!pte_is_none(e[i]))
			pte_set(to->entry + i, e[i]);
	pt_leaf_unlock(to);
}

static int move_huge(struct mm *m, ulong from, ulong to, ulong bytes, struct pt_leaf *leaf)
{
	struct pt_leaf dst;

	if (!IS_ALIGNED(from | to, HUGE_SIZE) || bytes < HUGE_SIZE || pt_huge_get(&m->pt, to, &dst))
		return huge_split(m, from);
	move_chunk(leaf, &dst, 1);
	return 1;
}

static int move_entries(struct mm *m, ulong from, ulong to, ulong bytes, struct tlb_gather *g)
{
	for (ulong done = 0, step; done < bytes; done += step) {
		struct pt_leaf src, dst;
		ulong next;
		int err;

		step = PAGE_SIZE;
		if (pt_leaf_get(&m->pt, from + done, false, &src, &next)) {
			step = min(next - (from + done), bytes - done);
			continue;
		}
		if (src.huge) {
			err = move_huge(m, from + done, to + done, bytes - done, &src);
			if (err < 0)
				return err;
			step = err ? HUGE_SIZE : 0;
			if (err)
				tlb_add_range(g, from + done, HUGE_SIZE);
			continue;
		}
		err = pt_leaf_get(&m->pt, to + done, true, &dst, NULL);
		if (err)
			return err;
		step = min(min(src.left, dst.left), (unsigned)MOVE_CHUNK);
		step = min(step, (bytes - done) >> PAGE_SHIFT);
		move_chunk(&src, &dst, step);
		step <<= PAGE_SHIFT;
		tlb_add_range(g, from + done, step);
		resched_point();
	}
	return 0;
}

/* The new place is free and the old VMA is exactly [addr, addr+old_len). */
static int move_vma(struct remap *r, struct vma *v)
{
	struct mm *m = r->m;
	struct tlb_gather g;
	struct vma *n;
	int err, back;

	n = vma_alloc(m, r->new_addr, r->new_addr + r->new_len, v->flags, v->mapping, vma_index(v, r->addr));
	if (!n)
		return -ENOMEM;
	if (!v->mapping && !v->has_private)
		n->index = n->start >> PAGE_SHIFT;
	n->has_private = v->has_private;
	n->name = v->name;
	n->policy = mempolicy_get(v->policy);
	err = vma_attach(n);
	if (err) {
		list_add_tail(&n->mapping_link, &r->dead);
		return err;
	}
	tlb_begin(&g, &m->pt);
	err = move_entries(m, v->start, n->start, min(r->old_len, r->new_len), &g);
	if (err) { /* out of memory for tables: put back what has moved; its old tables still exist */
		back = move_entries(m, n->start, v->start, min(r->old_len, r->new_len), &g);
		ensure(!back);
	}
	tlb_finish(&g);
	if (err)
		return unmap_locked(m, n->start, n->end, &r->dead) ?: err;
	if (r->flags & MREMAP_DONTUNMAP || !r->old_len)
		return 0;
	err = unmap_locked(m, r->addr, r->addr + r->old_len, &r->dead);
	if (!err)
		vma_merge(n, &r->dead);
	return err;
}

static int grow_in_place(struct remap *r, struct vma *v)
{
	ulong end = r->addr + r->new_len;

	if (v->end != r->addr + r->old_len || end > USER_END || end < r->addr || !vma_range_free(r->m, v->end, end))
		return -ENOMEM;
	vma_account(r->m, v->flags, (end - v->end) >> PAGE_SHIFT);
	vma_set_bounds(v, v->start, end);
	vma_merge(v, &r->dead);
	return 0;
}

static int place_and_move(struct remap *r)
{
	struct mm *m = r->m;
	struct vma *v;
	int err;

	if (r->flags & MREMAP_FIXED)
		err = unmap_locked(m, r->new_addr, r->new_addr + r->new_len, &r->dead);
	else
		err = vma_gap_find(m, r->new_len, r->new_len >= HUGE_SIZE ? HUGE_SIZE : PAGE_SIZE, m->mmap_base,
				   &r->new_addr);
	if (err)
		return err;
	if (!r->old_len) { /* a second view of shared memory: nothing moves, and the old view may be larger */
		v = vma_find(m, r->addr);
		return v && v->start <= r->addr ? move_vma(r, v) : -EFAULT;
	}
	err = vma_carve(m, r->addr, r->addr + r->old_len, &v);
	return err ? err : move_vma(r, v);
}

static int check_limits(const struct remap *r, const struct vma *v)
{
	struct mm *m = r->m;
	u64 more = r->new_len > r->old_len ? (r->new_len - r->old_len) >> PAGE_SHIFT : 0;

	if (r->old_len && r->addr + r->old_len > v->end)
		return -EFAULT;
	if (v->flags & VMA_SPECIAL)
		return more || (r->flags & MREMAP_DONTUNMAP) ? -EFAULT : 0;
	if (m->total_pages + more > upcall_rlimit(RLIMIT_AS) >> PAGE_SHIFT)
		return -ENOMEM;
	if ((v->flags & VMA_LOCKED) && over_lock_limit(m->locked_pages + more))
		return -EAGAIN;
	return more && (v->flags & VMA_COMMITTED) && !commit_allows(m, more) ? -ENOMEM : 0;
}

static int remap_locked(struct remap *r, ulong *out)
{
	struct vma *v = vma_find(r->m, r->addr);
	int err;

	if (!v || v->start > r->addr)
		return -EFAULT;
	if (!r->old_len && !(v->flags & VMA_SHARED))
		return -EINVAL;
	err = check_limits(r, v);
	if (err)
		return err;
	*out = r->addr;
	if (!(r->flags & (MREMAP_FIXED | MREMAP_DONTUNMAP))) {
		if (r->new_len <= r->old_len)
			return r->new_len == r->old_len
				       ? 0
				       : unmap_locked(r->m, r->addr + r->new_len, r->addr + r->old_len, &r->dead);
		if (!grow_in_place(r, v))
			return 0;
		if (!(r->flags & MREMAP_MAYMOVE))
			return -ENOMEM;
	} else if (r->new_len < r->old_len) {
		err = unmap_locked(r->m, r->addr + r->new_len, r->addr + r->old_len, &r->dead);
		if (err)
			return err;
		r->old_len = r->new_len;
	}
	err = place_and_move(r);
	*out = r->new_addr;
	return err;
}

static int check_args(const struct remap *r)
{
	if ((r->flags & ~(unsigned)(MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP)) ||
	    !IS_ALIGNED(r->addr, PAGE_SIZE) || !r->new_len)
		return -EINVAL;
	if ((r->flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)) && !(r->flags & MREMAP_MAYMOVE))
		return -EINVAL;
	if ((r->flags & MREMAP_DONTUNMAP) && r->old_len != r->new_len)
		return -EINVAL;
	if (r->addr >= USER_END || r->old_len > USER_END - r->addr || r->new_len > USER_END)
		return -EINVAL;
	if (!(r->flags & MREMAP_FIXED))
		return 0;
	if (!IS_ALIGNED(r->new_addr, PAGE_SIZE) || r->new_addr < MMAP_MIN_ADDR || r->new_addr > USER_END - r->new_len)
		return -EINVAL;
	if (r->new_addr < r->addr + r->old_len && r->addr < r->new_addr + r->new_len)
		return -EINVAL;
	return 0;
}

int mm_remap(struct mm *m, ulong addr, size_t old_bytes, size_t new_bytes, unsigned flags, ulong new_addr, ulong *out)
{
	struct remap r = { m,
			   addr,
			   ALIGN_UP(old_bytes, PAGE_SIZE),
			   ALIGN_UP(new_bytes, PAGE_SIZE),
			   new_addr,
			   flags,
			   LIST_INIT(r.dead) };
	bool populate = false;
	int err = check_args(&r);

	if (err)
		return err;
	if (write_lock_killable(&m->lock))
		return -EINTR;
	err = remap_locked(&r, out);
	if (!err && r.new_len > r.old_len) {
		struct vma *v = vma_find(m, *out);

		populate = v && (v->flags & VMA_LOCKED);
	}
	write_unlock(&m->lock);
	vma_bury(&r.dead);
	if (populate)
		(void)!mm_populate(m, *out + r.old_len, *out + r.new_len);
	return err;
}
