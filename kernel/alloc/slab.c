/* SPDX-License-Identifier: MIT
 *
 * Problem: objects much smaller than a page, allocated and freed millions of times a second on all
 * CPUs.
 *
 * Idea: a cache has slabs (page blocks cut into equal objects) and, a CPU, a short list of free
 * objects that is used without any lock. Only every BATCH-th operation goes to the shared lists.
 * (J. Bonwick, "The Slab Allocator", 1994, and "Magazines and Vmem", 2001, for the two levels.) A
 * free object holds the link in its first word (the second one in the debug build), or behind itself if the cache has a
 * constructor, whose state must survive.
 *
 *   slab page block   owner = cache; index = free offset/8 of its first free object, 0xffff none |
 * objects in use << 16
 *
 * Slabs of charged objects end with the numbers of the tenants that pay for them, from the back. A slab with free
 * objects is on the cache's partial list; empty slabs beyond one go back to the
 * page allocator. kmalloc is a set of such caches, then page blocks.
 *
 * Contract: alloc/slab.h.
 *
 * Locks: cache->lock (RANK_SLAB, irqsave) guards partial lists and slabs; a CPU's list is used with
 * IRQs off.
 */
#include <alloc/page.h>
#include <alloc/slab.h>
#include <arch/cpu.h>
#include <arch/percpu.h>
#include <core/log.h>
#include <core/spin.h>
#include <lib/string.h>
#include "alloc_priv.h"
#include "trace.h"

#define MAX_CACHES 256
#define BATCH      16
#define CPU_LIMIT  48
#define NO_FREE    0xffffU
#ifdef OSTROM_DEBUG
#define LINK_AT sizeof(void *) /* the first word, where most objects count references, is poisoned, too */
#else
#define LINK_AT 0
#endif

struct kcache {
	const char *name;
	u32 size;   /* of a slot, link included */
	u32 object; /* usable bytes */
	u32 link;   /* offset of the link in a free object */
	u16 id;
	u8 order;
	bool charged;
	void (*ctor)(void *);
	struct spinlock lock;
	u32 partial; /* page number of the first slab with free objects */
	u32 empty;   /* slabs without any object in use */
	u64 slabs;
};

struct cpu_cache {
	void *head;
	u32 count;
};

static struct kcache caches[MAX_CACHES];
static unsigned nr_caches;
static struct spinlock caches_lock = SPIN_INIT(RANK_SLAB);
static DEFINE_PER_CPU(struct cpu_cache, cpu_caches[MAX_CACHES]);

static const u16 class_size[] = { 16, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 4096, 8192 };
static struct kcache *class_cache[ARRAY_SIZE(class_size)];
#define CHARGED_CLASSES 14 /* up to 2 KiB; whole pages beyond, which know their payer themselves */
static struct kcache *charged_cache[CHARGED_CLASSES];
static u8 class_of[1024 / 16 + 1]; /* by 16 bytes up to 1 KiB */

static void **link_of(const struct kcache *c, void *obj)
{
	return (void **)((char *)obj + c->link);
}

/* The link alone has been written since. */
static inline void poison_check_free(const struct kcache *c, const char *obj)
{
	poison_check(obj, c->link, c->name);
	poison_check(obj + c->link + sizeof(void *), c->object - c->link - sizeof(void *), c->name);
}

/* ---- slabs: c->lock held --------------------------------------------------------------------------------- */

static void partial_add(struct kcache *c, struct page *p)
{
	p->prev = 0;
	p->next = c->partial;
	if (p->next)
		ram_page(p->next)->prev = (u32)page_to_pfn(p);
	c->partial = (u32)page_to_pfn(p);
}

static void partial_remove(struct kcache *c, struct page *p)
{
	if (p->prev)
		ram_page(p->prev)->next = p->next;
	else
		c->partial = p->next;
	if (p->next)
		ram_page(p->next)->prev = p->prev;
	p->next = p->prev = 0;
}

static void *slab_take(struct kcache *c, struct page *p)
{
	u32 at = p->index & 0xffff, used = p->index >> 16;
	char *base = page_virt(p);
	void *obj = base + at * 8UL, *next = *link_of(c, obj);
	u32 next_at = next ? (u32)(((char *)next - base) / 8) : NO_FREE;

	if (used == 0)
		c->empty--;
	p->index = (used + 1) << 16 | next_at;
	if (next_at == NO_FREE)
		partial_remove(c, p);
	return obj;
}

/* Objects lie in the direct map, never in the kernel's image. */
static struct page *page_of(const void *obj)
{
	return page_head(ram_page(((ulong)obj - DIRECT_MAP_BASE) >> PAGE_SHIFT));
}

/* Returns the slab if it should go back to the page allocator. */
static struct page *slab_give(struct kcache *c, void *obj)
{
	struct page *p = page_of(obj);
	char *base = page_virt(p);
	u32 at = p->index & 0xffff, used = (p->index >> 16) - 1;

	*link_of(c, obj) = at == NO_FREE ? NULL : base + at * 8UL;
	if (at == NO_FREE)
		partial_add(c, p);
	p->index = used << 16 | (u32)(((char *)obj - base) / 8);
	if (used)
		return NULL;
	if (c->empty++ == 0)
		return NULL;
	c->empty--;
	c->slabs--;
	partial_remove(c, p);
	return p;
}

static struct page *slab_create(struct kcache *c, unsigned flags)
{
	struct page *p = page_alloc(c->order, flags & ALLOC_ATOMIC, NULL);
	size_t n = (PAGE_SIZE << c->order) / (c->size + (c->charged ? sizeof(u16) : 0));
	char *base;

	if (!p)
		return NULL;
	base = page_virt(p);
	assert(!(page_phys(p) & ((PAGE_SIZE << c->order) - 1)));
	p->flags |= PAGE_SLAB;
	p->owner = c;
	p->index = 0;
	for (size_t i = 0; i < n; i++) {
		void *obj = base + i * c->size;

		if (c->ctor)
			c->ctor(obj);
		else
			poison_fill(obj, c->object);
		*link_of(c, obj) = i + 1 < n ? base + (i + 1) * c->size : NULL;
	}
	page_stat_add(PAGE_STAT_SLAB, 1L << c->order);
	return p;
}

static void slab_destroy(struct kcache *c, struct page *p)
{
	page_stat_add(PAGE_STAT_SLAB, -(1L << c->order));
	p->flags &= (u16)~PAGE_SLAB;
	page_put(p);
}

/* ---- the CPU's list: IRQs off ---------------------------------------------------------------------------- */

static bool refill(struct kcache *c, unsigned flags)
{
	struct cpu_cache *cc;
	struct page *fresh;
	ulong irq = spin_lock_irqsave(&c->lock);

	if (!c->partial) {
		spin_unlock_irqrestore(&c->lock, irq);
		fresh = slab_create(c, flags);
		if (!fresh)
			return false;
		irq = spin_lock_irqsave(&c->lock);
		c->slabs++;
		c->empty++;
		partial_add(c, fresh);
	}
	cc = this_cpu_ptr(&cpu_caches[c->id]);
	for (int i = 0; i < BATCH && c->partial; i++) {
		void *obj = slab_take(c, ram_page(c->partial));

		*link_of(c, obj) = cc->head;
		cc->head = obj;
		cc->count++;
	}
	spin_unlock_irqrestore(&c->lock, irq);
	return true;
}

static void drain(struct kcache *c, struct cpu_cache *cc)
{
	struct page *dead[BATCH];
	unsigned n = 0;

	spin_lock(&c->lock);
	for (int i = 0; i < BATCH && cc->head; i++) {
		void *obj = cc->head;

		cc->head = *link_of(c, obj);
		cc->count--;
		dead[n] = slab_give(c, obj);
		n += dead[n] != NULL;
	}
	spin_unlock(&c->lock);
	while (n)
		slab_destroy(c, dead[--n]);
}

static __always_inline void *take(struct kcache *c, unsigned flags)
{
	ulong irq = irq_save();
	struct cpu_cache *cc = this_cpu_ptr(&cpu_caches[c->id]);
	void *obj;

	while (unlikely(!cc->head)) {
		irq_restore(irq);
		if (!refill(c, flags))
			return NULL;
		irq = irq_save();
		cc = this_cpu_ptr(&cpu_caches[c->id]);
	}
	obj = cc->head;
	cc->head = *link_of(c, obj);
	cc->count--;
	irq_restore(irq);
	if (!c->ctor)
		poison_check_free(c, obj);
	if (flags & ALLOC_ZERO)
		memset(obj, 0, c->object);
	return obj;
}

/* A slab is a block of the page allocator, so it begins at a multiple of its size. */
static u16 *payer_of(const struct kcache *c, const void *obj)
{
	size_t bytes = PAGE_SIZE << c->order;
	u32 at = (u32)(virt_to_phys(obj) & (bytes - 1));

	return (u16 *)((char *)obj - at + bytes) - 1 - at / c->size;
}

u16 kcache_payer(const struct kcache *c, const void *obj)
{
	return c->charged ? *payer_of(c, obj) : 0;
}

/* For the tenant that upcall_object_charge and its kin have charged, or refused. */
static void *take_paid(struct kcache *c, unsigned flags, int id)
{
	void *obj = id < 0 ? NULL : take(c, flags);

	if (obj)
		*payer_of(c, obj) = (u16)id;
	else if (id > 0)
		upcall_object_uncharge((u16)id, c->size);
	return obj;
}

static void *alloc_charged(struct kcache *c, unsigned flags)
{
	return take_paid(c, flags, upcall_object_charge(c->size, flags));
}

static __always_inline void *take_object(struct kcache *c, unsigned flags)
{
	return unlikely(c->charged) ? alloc_charged(c, flags) : take(c, flags);
}

void *kcache_alloc(struct kcache *c, unsigned flags)
{
	void *obj = take_object(c, flags);

	if (trace_on(kmem_cache_alloc))
		alloc_trace_object(__builtin_return_address(0), obj, c->object, flags);
	return obj;
}

static __always_inline void give_object(struct kcache *c, void *obj)
{
	u16 payer = kcache_payer(c, obj);
	struct cpu_cache *cc;
	ulong irq;

	if (payer)
		upcall_object_uncharge(payer, c->size);
	if (!c->ctor)
		poison_fill(obj, c->object);
	irq = irq_save();
	cc = this_cpu_ptr(&cpu_caches[c->id]);
	*link_of(c, obj) = cc->head;
	cc->head = obj;
	if (unlikely(++cc->count > CPU_LIMIT))
		drain(c, cc);
	irq_restore(irq);
}

void kcache_free(struct kcache *c, void *obj)
{
	if (trace_on(kmem_cache_free))
		alloc_trace_object_free(__builtin_return_address(0), obj, c->name);
	give_object(c, obj);
}

/* ---- caches
 * -----------------------------------------------------------------------------------------------
 */

static u8 order_for(u32 size)
{
	u8 order = 0;

	while (order < 3 && (PAGE_SIZE << order) / size < 8)
		order++;
	return order;
}

struct kcache *kcache_create(const char *name, size_t size, size_t align, void (*ctor)(void *))
{
	ulong irq = spin_lock_irqsave(&caches_lock);
	struct kcache *c = nr_caches < MAX_CACHES ? &caches[nr_caches] : NULL;

	if (c) {
		align = max(align, (size_t)16);
		size = max(size, (size_t)16);
		c->name = name;
		c->object = (u32)size;
		c->link = ctor ? (u32)ALIGN_UP(size, 8UL) : LINK_AT;
		c->size = (u32)ALIGN_UP(ctor ? c->link + 8UL : size, align);
		c->order = order_for(c->size);
		c->id = (u16)nr_caches++;
		c->ctor = ctor;
		spin_init(&c->lock, RANK_SLAB);
	}
	spin_unlock_irqrestore(&caches_lock, irq);
	return c;
}

struct kcache *kcache_create_charged(const char *name, size_t size, size_t align)
{
	struct kcache *c = kcache_create(name, size, align, NULL);

	if (c)
		c->charged = true;
	return c;
}

void slab_init(void)
{
	static const char *const names[] = { "kmalloc-16",   "kmalloc-32",   "kmalloc-48",   "kmalloc-64",
					     "kmalloc-96",   "kmalloc-128",  "kmalloc-192",  "kmalloc-256",
					     "kmalloc-384",  "kmalloc-512",  "kmalloc-768",  "kmalloc-1024",
					     "kmalloc-1536", "kmalloc-2048", "kmalloc-4096", "kmalloc-8192" };
	static const char *const charged[CHARGED_CLASSES] = { "kmalloc-cg-16",   "kmalloc-cg-32",  "kmalloc-cg-48",
							      "kmalloc-cg-64",   "kmalloc-cg-96",  "kmalloc-cg-128",
							      "kmalloc-cg-192",  "kmalloc-cg-256", "kmalloc-cg-384",
							      "kmalloc-cg-512",  "kmalloc-cg-768", "kmalloc-cg-1024",
							      "kmalloc-cg-1536", "kmalloc-cg-2048" };
	unsigned k = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(class_size); i++)
		class_cache[i] = kcache_create(names[i], class_size[i], class_size[i] & -class_size[i], NULL);
	for (unsigned i = 0; i < CHARGED_CLASSES; i++)
		charged_cache[i] = kcache_create_charged(charged[i], class_size[i], class_size[i] & -class_size[i]);
	for (unsigned i = 0; i < ARRAY_SIZE(class_of); i++) {
		if (i * 16 > class_size[k])
			k++;
		class_of[i] = (u8)k;
	}
}

/* The class for a size, of those from `set`; NULL beyond the largest. */
static __always_inline struct kcache *class_for(struct kcache **set, unsigned classes, size_t bytes)
{
	if (bytes <= 1024)
		return set[class_of[(bytes + 15) / 16]];
	for (unsigned i = 12; i < classes; i++)
		if (bytes <= class_size[i])
			return set[i];
	return NULL;
}

static void *take_pages(size_t bytes, unsigned flags, struct tenant *payer)
{
	unsigned order = bytes > PAGE_SIZE ? 64 - (unsigned)__builtin_clzl((bytes - 1) >> PAGE_SHIFT) : 0;
	struct page *p = order <= PAGE_MAX_ORDER ? page_alloc(order, flags & ~(unsigned)ALLOC_CHARGED, payer) : NULL;

	return p ? page_virt(p) : NULL;
}

static void *kmalloc_charged(size_t bytes, unsigned flags)
{
	struct kcache *c = class_for(charged_cache, CHARGED_CLASSES, bytes);

	return c ? alloc_charged(c, flags) : take_pages(bytes, flags, upcall_page_payer());
}

void *kmalloc(size_t bytes, unsigned flags)
{
	struct kcache *c = class_for(class_cache, ARRAY_SIZE(class_size), bytes);
	void *p;

	if (flags & ALLOC_CHARGED)
		p = kmalloc_charged(bytes, flags);
	else
		p = c ? take_object(c, flags) : take_pages(bytes, flags, NULL);

	if (trace_on(kmalloc))
		alloc_trace_kmalloc(__builtin_return_address(0), p, bytes, p ? ksize(p) : 0, flags);
	return p;
}

static u16 payer_for(const void *owner)
{
	struct page *pg = page_of(owner);

	return pg->flags & PAGE_SLAB ? kcache_payer(pg->owner, owner) : pg->tenant;
}

void kmalloc_hold(const void *owner, s64 bytes)
{
	u16 payer = payer_for(owner);

	if (payer && bytes > 0)
		(void)!upcall_object_charge_to(payer, (u64)bytes, ALLOC_ATOMIC);
	else if (payer && bytes < 0)
		upcall_object_uncharge(payer, (u64)-bytes);
}

void *kmalloc_paid_like(const void *owner, size_t bytes, unsigned flags)
{
	struct kcache *c = class_for(charged_cache, CHARGED_CLASSES, bytes);
	u16 payer = payer_for(owner);

	if (!payer || !c)
		return kmalloc(bytes, flags);
	return take_paid(c, flags, upcall_object_charge_to(payer, c->size, flags));
}

void kfree(const void *p)
{
	struct page *pg;

	if (!p)
		return;
	if (trace_on(kfree))
		alloc_trace_kfree(__builtin_return_address(0), p);
	pg = page_of(p);
	if (pg->flags & PAGE_SLAB)
		give_object(pg->owner, (void *)p);
	else
		page_put(pg);
}

size_t ksize(const void *p)
{
	struct page *pg = page_of(p);

	return pg->flags & PAGE_SLAB ? ((struct kcache *)pg->owner)->object : PAGE_SIZE << page_order(pg);
}

size_t slab_room_at(const struct page *slab, u32 at)
{
	const struct kcache *c = slab->owner;

	at %= c->size;
	return at < c->object ? c->object - at : 0;
}

void *krealloc(void *p, size_t bytes, unsigned flags)
{
	size_t old = p ? ksize(p) : 0;
	void *q;

	if (p && bytes <= old && bytes * 4 >= old)
		return p;
	q = kmalloc(bytes, flags & ~(unsigned)ALLOC_ZERO);
	if (!q)
		return NULL;
	if (p)
		memcpy(q, p, min(old, bytes));
	if ((flags & ALLOC_ZERO) && ksize(q) > old)
		memset((char *)q + old, 0, ksize(q) - old);
	kfree(p);
	return q;
}
