/* SPDX-License-Identifier: MIT
 *
 * Problem: a program that is given other page colours while it runs keeps its old pages, and with them the cache sets
 * that it should leave.
 *
 * Idea: move.c, with colours: walk all private memory and move what has a colour outside the mask.
 *
 * Contract: mm/mm.h. It may be interrupted and repeated at will: what is right stays.
 *
 * Locks: mm->lock for reading, for STEP pages at a time.
 */
#include <alloc/colour.h>
#include <task/sched.h>
#include "mm_priv.h"

#define STEP 64 /* pages between two chances for writers of the address space */

struct recolouring {
	struct mm_mover move;
	struct mm_recolour *r;
};

static bool has_wrong_colour(struct mm_mover *move, pfn_t pfn)
{
	const struct mm_recolour *r = container_of(move, struct recolouring, move)->r;

	return !page_colour_allowed(pfn, r->nr_colours, r->mask);
}

static struct page *get_coloured(struct mm_mover *move, unsigned order, pfn_t from)
{
	const struct recolouring *c = container_of(move, struct recolouring, move);

	return page_alloc_coloured(c->r->mask, 0, page_node(pfn_to_page(from)));
}

int mm_recolour(struct mm *m, struct mm_recolour *r)
{
	struct recolouring c = { .move = { .is_wrong = has_wrong_colour, .get = get_coloured, .breaks_huge = true },
				 .r = r };
	int err = 0;

	for (ulong va = 0; !err;) {
		struct vma *v;
		ulong end;

		read_lock(&m->lock);
		v = vma_find(m, va);
		if (!v) {
			read_unlock(&m->lock);
			break;
		}
		va = max(va, v->start);
		end = v->end;
		if (v->has_private && !(v->flags & VMA_SPECIAL)) {
			end = min(end, va + STEP * PAGE_SIZE);
			err = mm_move_range(m, va, end, &c.move);
		}
		read_unlock(&m->lock);
		va = end;
		resched_point();
	}
	r->moved += c.move.moved;
	r->left += c.move.left;
	return err;
}
