/* SPDX-License-Identifier: MIT
 *
 * Physical pages: 32-byte descriptors, a buddy allocator an NUMA node with per-CPU lists, and
 * charging to tenants.
 *
 * Ownership: page_alloc returns a page with one reference; page_put frees it (with its order) at
 * the last one. A block of order n is one unit: the head's descriptor counts; tails point to it
 * (page_head). Threading: any context; without ALLOC_ATOMIC it may sleep (reclaim). Failure is
 * NULL.
 */
#ifndef ALLOC_PAGE_H
#define ALLOC_PAGE_H

#include <alloc/slab.h> /* ALLOC_* flags */
#include <arch/mmu.h>
#include <arch/numa.h>
#include <core/static_branch.h>
#include <lib/atomic.h>
#include <lib/types.h>

struct tenant;

#define PAGE_MAX_ORDER 10 /* 4 MiB */

/* One more of slab.h's ALLOC_ flags: the page becomes a program's memory, so page colouring looks at who asks. */
#define ALLOC_USER BIT(2)
#define ALLOC_TRY  BIT(3) /* there is another way: neither reclaims nor kills for it */

/* page->flags */
#define PAGE_ORDER_MASK 0x000f /* of a head */
#define PAGE_TAIL       BIT(4) /* owner points to the head */
#define PAGE_FREE       BIT(5)
#define PAGE_SLAB       BIT(6)
#define PAGE_RESERVED   BIT(7) /* never freed: kernel image, firmware */
#define PAGE_UPTODATE   BIT(8) /* page cache: contents valid */
#define PAGE_DIRTY      BIT(9)
#define PAGE_WRITEBACK  BIT(10)
#define PAGE_LOCKED     BIT(11)
#define PAGE_ANON       BIT(12)
#define PAGE_TABLE      BIT(13)
#define PAGE_ACTIVE     BIT(14) /* referenced lately */
#define PAGE_WAITERS    BIT(15) /* somebody sleeps for LOCKED or WRITEBACK to clear */

struct page {
	u16 flags;         /* atomic bit operations once the page is shared */
	u16 tenant;        /* id16 of who pays, 0: nobody */
	atomic_t refs;     /* 0: free */
	atomic_t mapcount; /* user mappings */
	u32 index;         /* position in its mapping, in pages; or the owner's own use */
	void *owner;       /* page cache: struct mapping; anonymous: family; slab: cache; tail: head */
	u32 next, prev;    /* links of free, LRU and table lists: page numbers, 0: end */
};
_Static_assert(sizeof(struct page) == 32, "page descriptors are 32 bytes (design)");

/* tenant may be NULL: the kernel's own pages are not charged. A charge beyond the tenant's limit
 * fails with NULL. */
struct page *__must_check page_alloc(unsigned order, unsigned flags, struct tenant *tenant);
struct page *__must_check page_alloc_node(unsigned node, unsigned order, unsigned flags, struct tenant *tenant);

/* Where a page is to lie: as near to a node as possible. It is only looked at while there are several nodes. */
struct page_place {
	u8 near;
	bool interleaved; /* near was chosen in turn: numastat counts it */
	nodemask_t wish;  /* first of these, 0: of any */
	nodemask_t only;  /* of no other: what they do not have is reclaimed, or there is none */
};
/* Several nodes, or page colouring: else callers need not think about places. */
DECLARE_STATIC_KEY(page_placed);
struct page *__must_check page_alloc_placed(const struct page_place *where, unsigned order, unsigned flags,
					    struct tenant *tenant);
/* task: where a block for t's programs (NULL: the kernel itself) goes when current asks. Any context. */
void upcall_alloc_place(struct tenant *t, unsigned order, struct page_place *out);
void page_put(struct page *p);

static inline void page_get(struct page *p)
{
	atomic_inc(&p->refs);
}

/* All descriptors, by page number. */
#ifdef __OSTROM_HOSTED__
extern struct page *hosted_pages;
#define PAGE_ARRAY hosted_pages
#else
#define PAGE_ARRAY ((struct page *)0xffffea0000000000UL)
#endif

struct page *pfn_to_page(pfn_t pfn); /* NULL: no RAM there */
/* The same where there is no doubt: of what was allocated, or is mapped by an entry that is not special. */
static inline struct page *ram_page(pfn_t pfn)
{
	return PAGE_ARRAY + pfn;
}

/* The descriptor behind an address of the direct map or of the kernel's image. */
static inline struct page *virt_to_page(const void *va)
{
	return ram_page(virt_to_phys(va) >> PAGE_SHIFT);
}

static inline pfn_t page_to_pfn(const struct page *p)
{
	return (pfn_t)(p - PAGE_ARRAY);
}

static inline paddr_t page_phys(const struct page *p)
{
	return page_to_pfn(p) << PAGE_SHIFT;
}
static inline void *page_virt(const struct page *p)
{
	return phys_to_virt(page_phys(p));
}
static inline unsigned page_order(const struct page *p)
{
	return p->flags & PAGE_ORDER_MASK;
}
static inline struct page *page_head(struct page *p)
{
	return p->flags & PAGE_TAIL ? (struct page *)p->owner : p;
}
/* Turns a block of order n with one reference into 2^n single pages with one reference each (same
 * tenant). */
void page_split(struct page *p);
bool page_test_set_flag(struct page *p, u16 flag); /* atomic; returns the former value */
bool page_test_clear_flag(struct page *p, u16 flag);

/* Gives [base, base+bytes) to the allocator (initrd after unpacking, boot memory). */
void page_donate(paddr_t base, u64 bytes);
/* Makes pages that the boot loader filled (the initrd) ordinary pages with one reference each, so
 * that tmpfs adopts them. */
struct page *page_adopt(paddr_t base);

struct page_stats { /* pages */
	u64 total, free, reserved;
	u64 slab, tables, cached, shmem, anon, mapped, stacks, committed;
	u64 events[5]; /* PAGE_EVENT_* - PAGE_STAT_EVENTS, since boot */
};
void page_stats(struct page_stats *out);

unsigned page_node(const struct page *p);
struct page_node_stats { /* pages; the last ones as numastat(8) names them */
	u64 total, free;
	u64 hit, miss, foreign, interleave, local, other;
};
void page_node_stats(unsigned node, struct page_node_stats *out);
/* What is in use on a node, paid by whom is_counted says yes to (NULL: anybody), of one portion of the memory: the n-th
 * 64 MiB. Looks at every descriptor. false: there are no more. */
struct page_node_use { /* pages */
	u64 anon, huge, cached, dirty, mapped, slab, tables;
};
bool page_node_use(unsigned portion, unsigned node, bool (*is_counted)(u16 tenant, const void *arg), const void *arg,
		   struct page_node_use *sum);
/* Owners of pages keep these counts: slab and tables are counted below, stacks by task, cached and shmem by vfs, the
 * others by mm. The events only rise. */
enum page_stat {
	PAGE_STAT_SLAB,
	PAGE_STAT_TABLES,
	PAGE_STAT_CACHED, /* page cache, with SHMEM */
	PAGE_STAT_SHMEM,
	PAGE_STAT_ANON,
	PAGE_STAT_MAPPED, /* pages of files in page tables */
	PAGE_STAT_STACKS,
	PAGE_STAT_COMMITTED, /* promised: mm/commit.h */
	PAGE_STAT_EVENTS,
	PAGE_EVENT_SCANNED = PAGE_STAT_EVENTS,
	PAGE_EVENT_STOLEN,
	PAGE_EVENT_SWAP_IN,
	PAGE_EVENT_SWAP_OUT,
	PAGE_EVENT_OOM_KILL,
	PAGE_STAT_NR
};
void page_stat_add(enum page_stat s, s64 pages);

/* task: may the caller wait for reclaim (IRQs on, not in an interrupt, a task); is it reclaim
 * itself. */
bool upcall_alloc_may_sleep(void);
bool upcall_alloc_in_reclaim(void);
/* task's part of charging. charge: the tenant's id16, or -ENOMEM: what could be reclaimed or killed within the limit
 * has been, as far as the flags allow. */
int upcall_page_charge(struct tenant *t, u64 pages, unsigned flags);
void upcall_page_uncharge(u16 id, u64 pages);

/* The same for an object of so many bytes, to current's tenant. 0: nobody pays. */
int upcall_object_charge(u64 bytes, unsigned flags);
int upcall_object_charge_to(u16 id, u64 bytes, unsigned flags); /* to this one, which pays for something already */
void upcall_object_uncharge(u16 id, u64 bytes);
struct tenant *upcall_page_payer(void); /* current's; NULL where current does not ask */
/* alloc's upcall into reclaim (vfs, mm): tries to free pages, those that t and the tenants below it pay for (NULL:
 * any); returns how many it freed. May sleep. */
u64 upcall_reclaim(struct tenant *t, u64 pages);
/* After upcall_reclaim: what it frees comes back as fast, so somebody has to go, as if it had freed nothing. Who is
 * told so does something about it: others hear it only if it does not help. */
bool upcall_reclaim_is_vain(struct tenant *t);
/* Nothing can be reclaimed. Kills a process of t (NULL: of the machine) and takes its memory, so that trying again
 * makes sense. False: current itself is about to die, or there is none to kill. Process's; may sleep. */
bool upcall_out_of_memory(struct tenant *t);
/* current waits for memory from now on, or no longer: its tenants' pressure. */
void upcall_memory_stall(bool begins);
/* current is being killed: its allocations may go over limits, so that it ends soon. */
bool upcall_alloc_is_dying(void);

/* Boot: descriptors and buddy from boot_info(), then slab and kernel maps (called by kmain). */
void alloc_init(void);

#endif
