/* SPDX-License-Identifier: MIT
 *
 * Page tables. mm (and nobody above it) works on leaf entries through this contract; alloc maps
 * kernel ranges. Source of the x86-64 format: AMD64 Architecture Programmer's Manual volume 2,
 * chapter 5.
 *
 * Locks: one spin lock a leaf table (rank RANK_PTE), taken by pt_leaf_lock. Upper levels only grow
 * while an address space lives; they are freed by pagetable_destroy.
 */
#ifndef ARCH_MMU_H
#define ARCH_MMU_H

#include <lib/cpumask.h>
#include <lib/types.h>

struct page;
struct tenant;

typedef u64 pte_t;

#include <arch/mmu_impl.h>

/* Mapping rights, independent of the machine's bits. */
#define PT_READ    BIT(0)
#define PT_WRITE   BIT(1)
#define PT_EXEC    BIT(2)
#define PT_USER    BIT(3)
#define PT_NOCACHE BIT(4)
#define PT_WC      BIT(5)
#define PT_GLOBAL  BIT(6)
#define PT_DIRTY   BIT(7)
#define PT_YOUNG   BIT(8)
#define PT_SPECIAL BIT(9) /* no struct page behind it (device memory): mm takes no reference */

#define USER_END  0x00007ffffffff000UL
#define HUGE_SIZE (PAGE_SIZE * 512)

struct pagetable {
	paddr_t root;
	cpumask_t cpus;            /* CPUs that may hold entries of it; atomic */
	u64 flush_gen;             /* raised by each flush; atomic */
	u64 table_pages;           /* pages used by tables; atomic */
	struct tenant *tenant;     /* who pays for new tables; NULL: nobody */
	struct page *tables;       /* list of them, for destroy */
	struct pt_shadow *shadows; /* RCU */
};

/* A translation made from these entries (the nested page tables of a virtual machine): told the range of each flush
 * before the pages behind it are released. invalidate may not sleep and may be called with a leaf table locked, IRQs
 * on. Adding and removing are the owner's to serialise; remove sleeps until no call is under way. */
struct pt_shadow {
	struct pt_shadow *next;
	void (*invalidate)(struct pt_shadow *s, ulong start, ulong end);
};
void pt_shadow_add(struct pagetable *pt, struct pt_shadow *s);
void pt_shadow_remove(struct pagetable *pt, struct pt_shadow *s);

/* tenant pays for the tables and outlives them, NULL: nobody. -ENOMEM */
int __must_check pagetable_create(struct pagetable *pt, struct tenant *tenant);
void pagetable_destroy(struct pagetable *pt); /* all leaves already unmapped; not active on any CPU */
/* For current, now and whenever it runs (also kept in current->arch.pt; whoever makes a new task's
 * address space stores &mm->pt in t->arch.pt). NULL: the kernel's own tables now, and any tables
 * while it runs (kernel threads). */
void pagetable_activate(struct pagetable *pt);

/* Entry values. Huge entries (2 MiB) are made by pte_make_huge. Rights without
 * PT_READ keep the page but give no access. A swap entry is non-present, has a
 * payload of 56 bits and is never 0. pte_rights gives PT_* with PT_DIRTY and PT_YOUNG as the CPU
 * left them. */
pte_t pte_make(pfn_t pfn, unsigned rights);
pte_t pte_make_huge(pfn_t pfn, unsigned rights);
pte_t pte_make_swap(u64 payload);
/* Inline in arch/mmu_impl.h: pte_is_none, pte_is_present (it holds a page, perhaps without any right), pte_is_huge,
 * pte_pfn, pte_is_special, pte_is_writable, pte_is_user, pte_is_dirty, pte_without_write, pte_set (from none, or to
 * more rights: needs no flush), pte_exchange (atomic against the CPU's dirty and accessed bits). */
u64 pte_swap_payload(pte_t e);
unsigned pte_rights(pte_t e);
pte_t pte_with_rights(pte_t e, unsigned rights); /* same page, other rights */

/* A leaf table found for an address: entry is the entry of va; entry[1] .. entry[left-1] follow it.
 * If a huge entry covers va, huge is true and entry is that one. */
struct pt_leaf {
	pte_t *entry;
	struct page *table;
	unsigned left;
	bool huge;
};

/* alloc: create missing tables. 0; -ENOENT if there is none (without alloc; *next_va, if not NULL,
 * is then the next address at which a table may exist); -ENOMEM. Not locked. */
int __must_check pt_leaf_get(struct pagetable *pt, ulong va, bool alloc, struct pt_leaf *leaf, ulong *next_va);
/* The level-2 entry for a huge page at va (2 MiB aligned). -EEXIST if a leaf table is there.
 * -ENOMEM. */
int __must_check pt_huge_get(struct pagetable *pt, ulong va, struct pt_leaf *leaf);
/* Replaces the huge entry at va by a leaf table of 512 entries with the same rights. -ENOMEM; -ENOENT: there is none
 * (any more). */
int __must_check pt_huge_split(struct pagetable *pt, ulong va);
void pt_leaf_lock(struct pt_leaf *leaf);
void pt_leaf_unlock(struct pt_leaf *leaf);

static inline pte_t pte_read(const pte_t *p)
{
	return READ_ONCE(*p);
}

/* TLB gather: changes that take rights or pages away collect here; tlb_finish flushes every CPU
 * that may hold them and only then drops the page references that were handed over. Sleeping
 * between begin and finish is allowed. */
#define TLB_BATCH 64
struct tlb_gather {
	struct pagetable *pt;
	ulong start, end;
	unsigned nr;
	struct page *pages[TLB_BATCH];
};
void tlb_begin(struct tlb_gather *g, struct pagetable *pt);
void tlb_add_range(struct tlb_gather *g, ulong va, size_t bytes);
void tlb_add_page(struct tlb_gather *g, ulong va, struct page *page); /* takes over one reference; may flush */
void tlb_finish(struct tlb_gather *g);

/* The direct map of all memory. */
#ifdef __OSTROM_HOSTED__
extern char *hosted_memory; /* arch/hosted: one mapping stands for it */
#define DIRECT_MAP_BASE ((ulong)hosted_memory)
#else
#define DIRECT_MAP_BASE 0xffff888000000000UL
#endif
static inline void *phys_to_virt(paddr_t pa)
{
	return (void *)(DIRECT_MAP_BASE + pa);
}
paddr_t virt_to_phys(const void *va); /* direct map or kernel image */

/* Kernel mappings outside the direct map (stacks, MMIO, per-CPU areas). va and bytes are page
 * aligned. */
int __must_check kernel_map(ulong va, paddr_t pa, size_t bytes, unsigned rights);
void kernel_unmap(ulong va, size_t bytes); /* flushes every CPU; IRQs on, no spin lock held */
/* Other rights for what kernel_map mapped; flushes as kernel_unmap does. */
void kernel_protect(ulong va, size_t bytes, unsigned rights);
paddr_t kernel_phys(ulong va); /* what kernel_map put there; 0: nothing */
/* Page descriptors: like kernel_map, for alloc's own array, whose tables exist from boot on; takes
 * no lock. */
void memmap_map(const void *va, paddr_t pa, size_t bytes);
void mmu_alloc_ready(void); /* alloc: page_alloc works from now on */

#endif
