/* SPDX-License-Identifier: MIT
 *
 * Free blocks of pages, by order and, while page colouring is on, the small ones by colour too. Pure: it knows
 * descriptors and nothing else. The caller has one lock around every call.
 */
#ifndef ALLOC_BUDDY_H
#define ALLOC_BUDDY_H

#include <alloc/colour.h>
#include <alloc/page.h>
#include <core/static_branch.h>

DECLARE_STATIC_KEY(page_colouring);

struct buddy {
	struct page *pages; /* by page number */
	u32 head[PAGE_MAX_ORDER + 1];
	u32 fine[2 * COLOUR_MAX]; /* colouring: blocks smaller than all colours together, see buddy.c */
	u8 colour_bits;           /* 0: off */
	u64 free;                 /* pages on the lists */
};

void buddy_free(struct buddy *b, u32 pfn, unsigned order);
u32 buddy_take(struct buddy *b, unsigned order); /* 0: none */
/* One page of a colour of mask, which is not empty: the first-th of them (counted round and round) or the next one that
 * has any. 0: none. Colouring is on. */
u32 buddy_take_coloured(struct buddy *b, u64 mask, unsigned first);
/* Sorts what is free by 2^bits colours, or (0) back. The key page_colouring has a user. */
void buddy_set_colours(struct buddy *b, unsigned bits);

#endif
