/* SPDX-License-Identifier: MIT
 *
 * Problem: free blocks of 2^n pages must be found by size, and while page colouring is on single pages also by colour,
 * without breaking up memory that could be one block again.
 *
 * Idea: a binary buddy system (D. Knuth, The Art of Computer Programming 1, 2.5). With 2^k colours (the low k bits of
 * the page number) a block of order o < k holds the 2^o colours that share their upper k-o bits, so its list is chosen
 * by those bits; larger blocks hold every colour. All these lists are one array, numbered like a binary heap:
 *
 *      list of (colour c, order o) = (2^k + c) >> o        k = 2:   1 is order 2 (unused: head[2]),
 *                                                                   2,3 are order 1, 4..7 are order 0
 *
 * The smallest block with a page of colour c is found by walking from leaf 2^k + c to the root; splitting it keeps the
 * half with c. Blocks join as ever.
 *
 *      free block   head: PAGE_FREE | order, on its list; the others: flags 0
 *
 * Contract: buddy.h. Cost while colouring is off: a patched-out branch.
 *
 * Locks: the caller's.
 */
#include <lib/string.h>
#include "buddy.h"

DEFINE_STATIC_KEY(page_colouring);

static u32 *list_of(struct buddy *b, u32 pfn, unsigned order)
{
	if (static_branch(&page_colouring) && order < b->colour_bits) {
		u32 colours = 1U << b->colour_bits;

		return &b->fine[(colours + (pfn & (colours - 1))) >> order];
	}
	return &b->head[order];
}

static void push(struct buddy *b, u32 pfn, unsigned order)
{
	struct page *p = &b->pages[pfn];
	u32 *head = list_of(b, pfn, order);

	p->flags = (u16)(PAGE_FREE | order);
	p->next = *head;
	p->prev = 0;
	if (p->next)
		b->pages[p->next].prev = pfn;
	*head = pfn;
}

static void unlink(struct buddy *b, u32 pfn, unsigned order)
{
	struct page *p = &b->pages[pfn];

	if (p->prev)
		b->pages[p->prev].next = p->next;
	else
		*list_of(b, pfn, order) = p->next;
	if (p->next)
		b->pages[p->next].prev = p->prev;
	p->flags = 0;
}

void buddy_free(struct buddy *b, u32 pfn, unsigned order)
{
	b->free += 1UL << order;
	for (; order < PAGE_MAX_ORDER; order++) {
		u32 other = pfn ^ (1U << order);

		if ((b->pages[other].flags & (PAGE_FREE | PAGE_ORDER_MASK)) != (PAGE_FREE | order))
			break;
		unlink(b, other, order);
		pfn &= ~(1U << order);
	}
	push(b, pfn, order);
}

/* Any free block of exactly this order; 0: none. */
static u32 first_of(struct buddy *b, unsigned order)
{
	if (static_branch(&page_colouring) && order < b->colour_bits) {
		for (u32 i = (1U << b->colour_bits) >> order; i < (2U << b->colour_bits) >> order; i++)
			if (b->fine[i])
				return b->fine[i];
		return 0;
	}
	return b->head[order];
}

u32 buddy_take(struct buddy *b, unsigned order)
{
	unsigned o = order;
	u32 pfn = 0;

	while (o <= PAGE_MAX_ORDER && !(pfn = first_of(b, o)))
		o++;
	if (!pfn)
		return 0;
	unlink(b, pfn, o);
	while (o-- > order)
		push(b, pfn + (1U << o), o);
	b->free -= 1UL << order;
	return pfn;
}

/* The smallest block that holds a page of this colour, off its list; 0: none. */
static u32 take_block_with(struct buddy *b, u32 colour, unsigned *order)
{
	u32 colours = 1U << b->colour_bits;

	for (unsigned o = 0; o <= PAGE_MAX_ORDER; o++) {
		u32 pfn = o < b->colour_bits ? b->fine[(colours + colour) >> o] : b->head[o];

		if (pfn) {
			unlink(b, pfn, o);
			*order = o;
			return pfn;
		}
	}
	return 0;
}

static u32 nth_colour(u64 mask, u32 n)
{
	while (n--)
		mask &= mask - 1;
	return (u32)__builtin_ctzll(mask);
}

u32 buddy_take_coloured(struct buddy *b, u64 mask, unsigned first)
{
	u32 colours = (u32)__builtin_popcountll(mask);

	for (u32 i = 0; i < colours; i++) {
		u32 colour = nth_colour(mask, (first + i) % colours), pfn;
		unsigned o;

		pfn = take_block_with(b, colour, &o);
		if (!pfn)
			continue;
		while (o-- > 0) {
			u32 upper = pfn + (1U << o);

			if (o < b->colour_bits && (colour >> o & 1)) {
				push(b, pfn, o);
				pfn = upper;
			} else {
				push(b, upper, o);
			}
		}
		b->free--;
		return pfn;
	}
	return 0;
}

/* Takes a list over, block by block, to where its blocks belong now. */
static void move_list(struct buddy *b, u32 pfn, unsigned order)
{
	while (pfn) {
		u32 next = b->pages[pfn].next;

		push(b, pfn, order);
		pfn = next;
	}
}

void buddy_set_colours(struct buddy *b, unsigned bits)
{
	u32 head[PAGE_MAX_ORDER + 1], fine[2 * COLOUR_MAX];
	unsigned old = b->colour_bits;

	memcpy(head, b->head, sizeof(head));
	memcpy(fine, b->fine, sizeof(fine));
	memset(b->head, 0, sizeof(b->head));
	memset(b->fine, 0, sizeof(b->fine));
	b->colour_bits = (u8)bits;
	for (unsigned o = 0; o <= PAGE_MAX_ORDER; o++) {
		move_list(b, head[o], o);
		for (u32 i = (1U << old) >> o; o < old && i < (2U << old) >> o; i++)
			move_list(b, fine[i], o);
	}
}
