/* SPDX-License-Identifier: MIT
 *
 * Page colours, as the page allocator and the cache-allocation part agree on them. A colour is the
 * low bits of a page's number: pages of different colours never compete for the same sets of a
 * cache whose index uses those bits. The allocator keeps order-0 free lists by colour once
 * colouring is on, and takes for each allocation the mask of the class that its user is in.
 *
 * Contract of the allocator
 *   page_colouring_start  n colours (a power of two, 2..COLOUR_MAX). Free pages are sorted by colour. Every class has
 *       all colours. user_class tells the class of whoever asks for a page of a program (any context, no locks).
 *   page_colouring_set    programs' pages (ALLOC_USER) for the class come from these colours only from now on: a
 *       limit; an allocation that finds none reclaims, then fails. For COLOUR_KERNEL, the kernel's own pages and the
 *       page cache, it is a preference: other colours serve when these are used up. Mask not 0.
 *   page_colouring_stop   back to plain lists.
 *   Blocks of several pages hold every colour below their size: a program of a class whose mask is not full gets
 *   none (its huge pages are refused); the kernel's are given from any.
 *   While colouring is off, its cost is a patched-out branch.
 *
 * Threading: start, set and stop are serialised by their caller, which may sleep; allocation runs meanwhile.
 */
#ifndef ALLOC_COLOUR_H
#define ALLOC_COLOUR_H

#include <lib/printf.h>
#include <lib/types.h>

#define COLOUR_MAX     64
#define COLOUR_CLASSES 16   /* as most processors with CAT have, which clients were written for */
#define COLOUR_KERNEL  0xff /* the kernel's own memory and the page cache */

static inline unsigned page_colour(pfn_t pfn, unsigned nr_colours)
{
	return pfn & (nr_colours - 1);
}

static inline bool page_colour_allowed(pfn_t pfn, unsigned nr_colours, u64 mask)
{
	return mask >> page_colour(pfn, nr_colours) & 1;
}

void page_colouring_start(unsigned nr_colours, unsigned (*user_class)(void));
void page_colouring_set(unsigned cls, u64 mask);
void page_colouring_stop(void);
/* Adds to count[colour] the pages in use whose payer is_counted says yes to, of one portion of the memory: the n-th 64
 * MiB. false: there are no more. */
bool page_colouring_count(unsigned portion, unsigned nr_colours, bool (*is_counted)(u16 tenant, const void *arg),
			  const void *arg, u64 *count);
struct page;
/* One page for a program, of these colours whoever asks, near to a node; nobody pays (recolouring). NULL as
 * page_alloc. */
struct page *__must_check page_alloc_coloured(u64 mask, unsigned flags, unsigned node);

/* What the colour back end of resctrl wants of its allocator; the kernel's half maps it to the calls above, tests
 * record it. recolour: copies resident pages of the class that have colours outside the mask, in the background; may
 * be NULL. */
struct colour_allocator_ops {
	int (*start)(void *ctx, unsigned nr_colours);
	void (*set)(void *ctx, unsigned cls, u64 mask);
	void (*stop)(void *ctx);
	void (*recolour)(void *ctx, unsigned cls, u64 mask);
	void (*progress)(void *ctx, struct strbuf *out); /* of recolouring, as text; may be NULL */
};

#endif
