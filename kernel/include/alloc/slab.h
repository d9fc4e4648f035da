/* SPDX-License-Identifier: MIT
 *
 * Memory in bytes. kmalloc serves sizes up to 4 MiB (rounded up to a size class, then to pages) and object
 * caches serve one type each. On the host (kernel/arch/hosted) the same names stand on malloc, so that pure
 * cores allocate the same way in both homes.
 *
 * Threading: any context that may sleep; with ALLOC_ATOMIC any context, IRQ included. Alignment: at least 16,
 * and natural for power-of-two sizes. Failure is NULL, never a panic. kfree(NULL) does nothing.
 */
#ifndef ALLOC_SLAB_H
#define ALLOC_SLAB_H

#include <lib/types.h>

#define ALLOC_ZERO   BIT(0) /* contents are zero */
#define ALLOC_ATOMIC BIT(1) /* may not sleep, may use the reserve */
#define ALLOC_KERNEL 0
/* Memory of current's tenant: for kmalloc of what programs can make as many of as they like, and keep. In an interrupt
 * or a deferred job nobody pays. ALLOC_ATOMIC: may go above a limit. */
#define ALLOC_CHARGED BIT(4)

void *__must_check kmalloc(size_t bytes, unsigned flags);
void *__must_check krealloc(void *p, size_t bytes, unsigned flags); /* keeps the old object on failure */
void kfree(const void *p);
size_t ksize(const void *p); /* usable bytes behind p */
/* p, in the direct map, may lie anywhere in an object or block of pages: bytes from there to its end. 0: in the gap
 * between two objects, or free memory; SIZE_MAX: memory of boot, which has no descriptor. For checks of copies. */
size_t slab_room(const void *p);
/* Paid by whoever pays for `owner` (of kmalloc, ALLOC_CHARGED), in any context: what others put into a queue of his. */
void *__must_check kmalloc_paid_like(const void *owner, size_t bytes, unsigned flags);
/* So many bytes more (or fewer) are kept for owner by who could not tell for whom they were. Any context. */
void kmalloc_hold(const void *owner, s64 bytes);

static inline void *__must_check kzalloc(size_t bytes, unsigned flags)
{
	return kmalloc(bytes, flags | ALLOC_ZERO);
}

/* n * size with the overflow checked. */
static inline void *__must_check kcalloc(size_t n, size_t size, unsigned flags)
{
	size_t bytes;

	if (__builtin_mul_overflow(n, size, &bytes))
		return NULL;
	return kmalloc(bytes, flags | ALLOC_ZERO);
}

struct kcache;

/* A cache of objects of one size. ctor (may be NULL) runs once when memory becomes an object, so an object must
 * be returned in constructed state. Never destroyed. name must stay valid. */
struct kcache *kcache_create(const char *name, size_t size, size_t align, void (*ctor)(void *));
/* The same, for what programs can make as many of as they like: each object is memory of current's tenant. */
struct kcache *kcache_create_charged(const char *name, size_t size, size_t align);
u16 kcache_payer(const struct kcache *c, const void *obj); /* number of the tenant that pays, 0: nobody */
void *__must_check kcache_alloc(struct kcache *c, unsigned flags);
void kcache_free(struct kcache *c, void *obj);

#endif
