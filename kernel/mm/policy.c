/* SPDX-License-Identifier: MIT
 *
 * Problem: a program says on which memory nodes the pages of a range shall lie, asks where they do, and moves those
 * that are there already, its own or another program's.
 *
 * Idea: a policy hangs on whole VMAs, like any other property: the range is carved, set and merged. Pages move as they
 * do for colours (move.c), with another idea of what is wrong: a page whose node is not among those wanted (mbind), or
 * for which a map of nodes names another (migrate_pages, cpusets), or that is not on the one node (move_pages).
 *
 * Contract: mm/mm.h. Moved are private pages that nobody else uses; pages of files stay where they came to be.
 *
 * Locks: mm->lock for writing to set a policy, for reading else, given up between steps of a long walk.
 */
#include <linux/mempolicy.h>
#include <task/sched.h>
#include "mm_priv.h"

#define STEP 512 /* pages between two chances for writers of the address space */

/* ---- setting ----------------------------------------------------------------------------------------------- */

struct misplaced { /* pages of a range that are on other nodes */
	nodemask_t nodes;
	u64 all;
	u64 files; /* of files, and used by this mapping alone */
};

static void count_misplaced(pte_t e, bool huge, void *arg)
{
	struct misplaced *w = arg;
	struct page *page = pte_page(e);

	if (node_has(w->nodes, page_node(page)))
		return;
	w->all++;
	w->files += !(page->flags & PAGE_ANON) && atomic_read(&page->mapcount) == 1;
}

/* With holes_ok something of the range is mapped, else all of it. */
static int check_range(struct mm *m, ulong start, ulong end, bool holes_ok)
{
	struct vma *v = vma_find(m, start);
	ulong at = start;

	if (holes_ok)
		return v && v->start < end ? 0 : -EFAULT;
	for (; v && v->start <= at && at < end; v = vma_next(v))
		at = v->end;
	return at < end ? -EFAULT : 0;
}

static int set_policy(struct mm *m, ulong start, ulong end, struct mempolicy *p, struct list *dead)
{
	struct vma *v;
	int err = vma_carve(m, start, end, &v);

	for (; !err && v && v->start < end; v = vma_next(v)) {
		if (!(v->flags & VMA_SPECIAL)) {
			mempolicy_put(v->policy);
			v->policy = mempolicy_get(p);
		}
		v = vma_merge(v, dead);
	}
	return err;
}

struct bind {
	struct mm_mover move;
	nodemask_t nodes;
	struct mempolicy *policy;
	u64 turn;
};

static bool is_elsewhere(struct mm_mover *move, pfn_t pfn)
{
	return !node_has(container_of(move, struct bind, move)->nodes, page_node(pfn_to_page(pfn)));
}

static struct page *get_by_policy(struct mm_mover *move, unsigned order, pfn_t from)
{
	struct bind *b = container_of(move, struct bind, move);
	struct page_place where;

	mempolicy_place(b->policy, task_mems(current), b->turn++, &where);
	return page_alloc_placed(&where, order, ALLOC_USER | ALLOC_TRY, NULL);
}

static int bind_locked(struct mm *m, ulong start, ulong end, struct bind *b, unsigned flags, struct misplaced *w,
		       struct list *dead)
{
	int err = check_range(m, start, end, !b->policy);

	if (!err && (flags & (MPOL_MF_STRICT | MPOL_MF_MOVE | MPOL_MF_MOVE_ALL)))
		range_walk(m, start, end, count_misplaced, w);
	if (!err && w->all && (flags & MPOL_MF_STRICT) && !(flags & (MPOL_MF_MOVE | MPOL_MF_MOVE_ALL)))
		err = -EIO;
	return err ? err : set_policy(m, start, end, b->policy, dead);
}

int mm_bind(struct mm *m, ulong start, ulong end, struct mempolicy *p, nodemask_t nodes, unsigned flags)
{
	struct bind b = { .move = { .is_wrong = is_elsewhere, .get = get_by_policy, .goes_on = true },
			  .nodes = nodes,
			  .policy = p };
	struct misplaced w = { .nodes = nodes };
	LIST(dead);
	int err;

	if (write_lock_killable(&m->lock))
		return -EINTR;
	err = bind_locked(m, start, end, &b, flags, &w, &dead);
	write_downgrade(&m->lock);
	if (!err && (flags & (MPOL_MF_MOVE | MPOL_MF_MOVE_ALL)))
		err = mm_move_range(m, start, end, &b.move);
	read_unlock(&m->lock);
	vma_bury(&dead);
	if (!err && (flags & MPOL_MF_STRICT) && (w.files || (b.move.left && (flags & MPOL_MF_MOVE_ALL))))
		err = -EIO;
	return err;
}

int mm_set_home_node(struct mm *m, ulong start, ulong end, unsigned node)
{
	struct vma *v;
	LIST(dead);
	int err;

	if (write_lock_killable(&m->lock))
		return -EINTR;
	err = vma_carve(m, start, end, &v);
	if (!err)
		err = -ENOENT; /* unless something there has a policy */
	for (; v && v->start < end; v = vma_next(v)) {
		struct mempolicy *p;

		if (!v->policy)
			continue;
		if (v->policy->mode != MPOL_BIND && v->policy->mode != MPOL_PREFERRED_MANY) {
			err = -EOPNOTSUPP;
			break;
		}
		p = mempolicy_with_home(v->policy, node);
		err = p ? 0 : -ENOMEM;
		if (err)
			break;
		mempolicy_put(v->policy);
		v->policy = p;
		v = vma_merge(v, &dead);
	}
	write_unlock(&m->lock);
	vma_bury(&dead);
	return err;
}

/* ---- asking ------------------------------------------------------------------------------------------------ */

int mm_policy_at(struct mm *m, ulong addr, struct mempolicy **out)
{
	struct vma *v;
	bool found;

	read_lock(&m->lock);
	v = vma_find(m, addr);
	found = v && v->start <= addr;
	*out = found ? mempolicy_get(v->policy) : NULL;
	read_unlock(&m->lock);
	return found ? 0 : -EFAULT;
}

/* Of the page at addr, which is mapped or not. Lock held for reading. */
static int node_of_entry(struct mm *m, ulong addr, struct page **page)
{
	struct vma *v = vma_find(m, addr);
	struct pt_leaf leaf;
	pte_t e = 0;

	if (!v || v->start > addr || (v->flags & VMA_SPECIAL))
		return -EFAULT;
	if (!pt_leaf_get(&m->pt, addr, false, &leaf, NULL))
		e = pte_read(leaf.entry);
	if (pte_is_none(e) && !v->mapping)
		return -EFAULT;
	if (!pte_is_present(e))
		return -ENOENT;
	if (pte_is_special(e))
		return -EFAULT;
	*page = pte_page(e);
	return (int)page_node(*page);
}

int mm_node_at(struct mm *m, ulong addr, bool touch)
{
	struct page *page;
	int node, code;

	if (touch && fault_in_mm(m, addr, ACCESS_READ, &code))
		return -EFAULT;
	read_lock(&m->lock);
	node = node_of_entry(m, addr & PAGE_MASK, &page);
	read_unlock(&m->lock);
	return touch && node < 0 ? (int)page_node(pfn_to_page(zero_pfn)) : node;
}

/* ---- moving ------------------------------------------------------------------------------------------------ */

struct migration {
	struct mm_mover move;
	nodemask_t from, to;
	bool failed; /* a node had no room */
};

static unsigned target(const struct migration *g, pfn_t pfn)
{
	unsigned node = page_node(pfn_to_page(pfn));

	/* Sets of different size: what is on a node that is wanted stays. */
	if (node_weight(g->from) != node_weight(g->to) && node_has(g->to, node))
		return node;
	return node_remap(node, g->from, g->to);
}

static bool is_to_go(struct mm_mover *move, pfn_t pfn)
{
	return target(container_of(move, struct migration, move), pfn) != page_node(pfn_to_page(pfn));
}

static struct page *get_there(struct mm_mover *move, unsigned order, pfn_t from)
{
	struct migration *g = container_of(move, struct migration, move);
	unsigned node = target(g, from);
	struct page_place there = { .near = (u8)node, .only = node_bit(node) };
	struct page *p = page_alloc_placed(&there, order, ALLOC_USER | ALLOC_TRY, NULL);

	g->failed |= !p;
	return p;
}

s64 mm_migrate(struct mm *m, nodemask_t from, nodemask_t to)
{
	struct migration g = { .move = { .is_wrong = is_to_go, .get = get_there, .goes_on = true },
			       .from = from,
			       .to = to };
	int err = 0;

	for (ulong va = 0, end; !err; va = end) {
		struct vma *v;

		read_lock(&m->lock);
		v = vma_find(m, va);
		if (v) {
			va = max(va, v->start);
			end = min(v->end, va + STEP * PAGE_SIZE);
			if (v->has_private && !(v->flags & VMA_SPECIAL))
				err = mm_move_range(m, va, end, &g.move);
		}
		read_unlock(&m->lock);
		resched_point();
		if (!v)
			break;
		if (fatal_signal_pending(current))
			err = -EINTR;
	}
	return err ? err : (s64)g.move.left;
}

int mm_move_to_node(struct mm *m, ulong addr, unsigned node, bool shared_too, bool *full)
{
	struct migration g = { .move = { .is_wrong = is_to_go, .get = get_there, .goes_on = true },
			       .to = node_bit(node) };
	struct page *page;
	int now, err = 0;

	addr &= PAGE_MASK;
	read_lock(&m->lock);
	now = node_of_entry(m, addr, &page);
	if (now >= 0 && now != (int)node) {
		g.from = node_bit(now);
		err = mm_move_range(m, addr, addr + PAGE_SIZE, &g.move);
		if (!err)
			err = g.move.moved ? (int)node : !g.failed && g.move.left && !shared_too ? -EACCES : -EBUSY;
	}
	read_unlock(&m->lock);
	*full |= g.failed;
	return now < 0 || now == (int)node ? now : err;
}
