/* SPDX-License-Identifier: MIT
 *
 * Page colours, as the page allocator and the cache-allocation part agree on them. A colour is the
 * low bits of a page's number: pages of different colours never compete for the same sets of a
 * cache whose index uses those bits. The allocator keeps order-0 free lists by colour once
 * colouring is on, and takes for each allocation the mask of the class that its user is in.
 *
 * Contract of the allocator
 *   colour_start(n)  n colours (a power of two, 2..COLOUR_MAX). Sorts free order-0 pages by colour,
 * splitting larger blocks on demand. Every class has all colours. -ENOMEM, else 0. colour_set pages
 * allocated for the class from now on come from these colours only. Mask not 0. An allocation that
 * finds no page of its colours reclaims, then fails with what an empty zone gives. colour_stop back
 * to plain lists. Orders above 0 hold every colour below their size, so they are refused (order 9
 * for users) or split while a class that is not full asks; kernel allocations use class
 * COLOUR_KERNEL.
 *
 * Threading: start, set and stop are serialised by their caller; allocation runs meanwhile.
 */
#ifndef ALLOC_COLOUR_H
#define ALLOC_COLOUR_H

#include <lib/types.h>

#define COLOUR_MAX    64
#define COLOUR_KERNEL 0xff /* the kernel's own memory: page tables, slab */

static inline unsigned page_colour(pfn_t pfn, unsigned nr_colours)
{
	return pfn & (nr_colours - 1);
}

static inline bool page_colour_allowed(pfn_t pfn, unsigned nr_colours, u64 mask)
{
	return mask >> page_colour(pfn, nr_colours) & 1;
}

struct colour_allocator_ops {
	int (*start)(void *ctx, unsigned nr_colours);
	void (*set)(void *ctx, unsigned cls, u64 mask);
	void (*stop)(void *ctx);
	/* Copies resident pages of the class that have colours outside the mask, in the background.
	 * May be NULL. */
	void (*recolour)(void *ctx, unsigned cls, u64 mask);
};

#endif
