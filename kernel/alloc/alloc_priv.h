/* SPDX-License-Identifier: MIT
 *
 * Between the files of alloc.
 */
#ifndef ALLOC_PRIV_H
#define ALLOC_PRIV_H

#include <alloc/page.h>

void slab_init(void);
void page_drain_cpu(void); /* gives this CPU's list of single pages back */

/* The debug build fills free memory and looks at it again when it is handed out. */
#define POISON_BYTE 0x6b
#ifdef OSTROM_DEBUG
void page_poison(struct page *p, unsigned order);
void page_poison_check(struct page *p, unsigned order);
void poison_fill(void *p, size_t n);
void poison_check(const void *p, size_t n, const char *what);
#else
#define page_poison(p, order)       ((void)0)
#define page_poison_check(p, order) ((void)0)
#define poison_fill(p, n)           ((void)0)
#define poison_check(p, n, what)    ((void)0)
#endif

size_t slab_room_at(const struct page *slab, u32 at); /* slab_room of that byte of a slab */

#endif
