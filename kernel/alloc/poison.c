/* SPDX-License-Identifier: MIT
 *
 * Problem: a write through a stale pointer shows up much later, somewhere else.
 *
 * Idea: the debug build fills memory with 0x6b when it becomes free and, when it is handed out
 * again, panics at the first byte that has changed, with its address. Memory that was never used
 * (all zero from boot) passes.
 *
 * Contract: alloc_priv.h; nothing in the release build.
 *
 * Locks: none; the memory belongs to the caller.
 */
#include <core/log.h>
#include <lib/string.h>
#include "alloc_priv.h"

#ifdef OSTROM_DEBUG
void poison_fill(void *p, size_t n)
{
	memset(p, POISON_BYTE, n);
}

void poison_check(const void *p, size_t n, const char *what)
{
	const u8 *b = p;

	for (size_t i = 0; i < n; i++)
		if (b[i] != POISON_BYTE)
			panic("%s at %p was written while free: offset %zu holds %#x", what, p, i, b[i]);
}

void page_poison(struct page *p, unsigned order)
{
	poison_fill(page_virt(p), PAGE_SIZE << order);
	p->mapcount.v = POISON_BYTE;
}

void page_poison_check(struct page *p, unsigned order)
{
	if (order == 0 && p->mapcount.v == POISON_BYTE)
		poison_check(page_virt(p), PAGE_SIZE, "page");
}
#endif
