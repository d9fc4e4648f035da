/* SPDX-License-Identifier: MIT
 *
 * What mm's files share. All functions on VMAs want mm->lock held for writing, unless said otherwise.
 */
#ifndef MM_PRIV_H
#define MM_PRIV_H

#include <alloc/page.h>
#include <core/log.h>
#include <lib/err.h>
#include <mm/mm.h>
#include <mm/upcalls.h>

#define MMAP_MIN_ADDR   0x10000UL
#define STACK_GAP_BYTES (256 * PAGE_SIZE) /* kept free below a stack that grows */
#define VMA_ACCESS      (VMA_READ | VMA_WRITE | VMA_EXEC)
#define VMA_MAY         (VMA_MAYREAD | VMA_MAYWRITE | VMA_MAYEXEC)

/* ---- vma_tree.c: pure ---- */
struct vma *vma_find(const struct mm *m, ulong addr); /* first with end > addr; lock for reading suffices */
struct vma *vma_next(const struct vma *v);
struct vma *vma_prev(const struct vma *v);
struct vma *vma_last(const struct mm *m);
void vma_link(struct mm *m, struct vma *v); /* the range is free */
void vma_unlink(struct mm *m, struct vma *v);
bool vma_can_merge(const struct vma *low, const struct vma *high);
bool vma_range_free(const struct mm *m, ulong start, ulong end);
/* The highest free range of `bytes` below `limit` (mmap_base: with the search cache), aligned down to `align`. -ENOMEM.
 */
int vma_gap_find(struct mm *m, size_t bytes, ulong align, ulong limit, ulong *out);
static inline u64 vma_pages(const struct vma *v)
{
	return (v->end - v->start) >> PAGE_SHIFT;
}
static inline u64 vma_index(const struct vma *v, ulong addr)
{
	return v->index + ((addr - v->start) >> PAGE_SHIFT);
}

/* ---- vma.c ---- */
void vma_cache_init(void);
struct vma *vma_alloc(struct mm *m, ulong start, ulong end, u32 flags, struct mapping *mapping, u64 index);
/* Makes it known to its mapping (get, lists) and to the tree. The mapping may refuse. */
int vma_attach(struct vma *v);
/* The opposite, without the tree; v goes to `dead`, for vma_bury after the unlock. */
void vma_detach(struct vma *v, struct list *dead);
void vma_bury(struct list *dead);                        /* no locks held: drops mappings, frees */
int vma_split(struct vma *v, ulong addr);                /* v keeps the low part */
struct vma *vma_merge(struct vma *v, struct list *dead); /* with its neighbours; returns the survivor */
void vma_set_bounds(struct vma *v, ulong start, ulong end);
void vma_account(struct mm *m, u32 flags, s64 pages);
/* Splits VMAs so that [start, end) begins and ends at edges; *first is the first one in it, or NULL. */
int vma_carve(struct mm *m, ulong start, ulong end, struct vma **first);

bool over_lock_limit(u64 pages); /* so many locked ones are more than RLIMIT_MEMLOCK and rights allow */
int unmap_locked(struct mm *m, ulong start, ulong end, struct list *dead);

/* ---- zap.c: lock for reading suffices, or the mapping's lock ---- */
/* Empties the page tables of [start, end) of v. keep_private: leaves anonymous pages. */
void zap_range(struct vma *v, ulong start, ulong end, bool keep_private, struct tlb_gather *g);
/* Gives the entries of [start, end) the rights of v->flags (less, or as far as is safe without a fault). */
int reprotect_range(struct vma *v, ulong start, ulong end, struct tlb_gather *g);
/* Splits the huge entry that covers va, if there is one. */
int huge_split(struct mm *m, ulong va);
/* huge.c: whether a fault may take a large page for it, as the administrator and the program want. */
bool mm_wants_huge(const struct vma *v);

/* ---- fault.c ---- */
#define ACCESS_READ  0
#define ACCESS_WRITE BIT(0)
#define ACCESS_EXEC  BIT(1)
#define ACCESS_FORCE BIT(2) /* a debugger: ignores PROT_*, not VMA_MAY* */
#define ACCESS_MAJOR BIT(3) /* out: had to wait for I/O */
/* Makes addr accessible in v. Lock for reading. 0; -EFAULT or -EIO: SIGBUS; -ENOMEM. */
int fault_in_vma(struct vma *v, ulong addr, unsigned access);
/* The same from an address, with the lock taken inside; *code: si_code for -EFAULT. -EACCES: SIGSEGV. */
int fault_in_mm(struct mm *m, ulong addr, unsigned access, int *code);
int mm_populate(struct mm *m, ulong start, ulong end); /* no lock held; stops at the first failure */
unsigned vma_rights(const struct vma *v);              /* PT_* of a page that may be written if the VMA may */
extern pfn_t zero_pfn;

/* ---- swap.c: entries of pages that are on swap; any lock up to RANK_PTE may be held ---- */
/* An anonymous page in the swap cache: owner is its swap area, index its slot; DIRTY: the slot does not hold it yet. It
 * is mapped read-only, because the cache has a reference. */
#define PAGE_SWAPPED PAGE_UPTODATE
#define SWAP_BATCH   32
bool swap_has_room(void);
/* Up to n free slots, each held once, neighbours if possible. */
unsigned swap_take(pte_t *out, unsigned n);
/* p becomes the cached page of slot e and gives it one reference of its own; its tenant is charged. If it already is a
 * cached page, e is exchanged for its own entry. False: the tenant has no swap left. e's hold counts as an entry. */
bool swap_enter(struct page *p, pte_t *e, bool *was_in);
void swap_dup(pte_t e);  /* one more page table entry refers to it */
void swap_drop(pte_t e); /* one less, or a hold */
/* Writes those of the n slots whose cached page nobody maps, and frees the pages: returns how many. Sleeps. */
u64 swap_write(const pte_t *e, unsigned n);
/* The page of e with a reference. -EAGAIN: the entry is no longer in use. -EIO, -ENOMEM. *read: from the device. */
int swap_in(pte_t e, struct tenant *payer, struct page **out, bool *read);
bool swap_claim(pte_t e,
		struct page *p); /* p is still e's page: the entry becomes a mapping of it (swap_drop inside) */
u64 swap_shrink_cache(struct tenant *top, u64 want); /* cached pages that nobody maps. Sleeps */

/* ---- reclaim.c ---- */
void mm_list_add(struct mm *m);
void mm_list_remove(struct mm *m);

/* ---- access.c ---- */
/* Calls fn for each entry that holds a page with a descriptor. mm->lock held for reading; fn runs with the table's. */
void range_walk(struct mm *m, ulong start, ulong end, void (*fn)(pte_t e, bool huge, void *arg), void *arg);

/* ---- move.c ---- */
/* Which pages are to be copied to others, and to which. */
struct mm_mover {
	bool (*is_wrong)(struct mm_mover *r, pfn_t pfn);
	/* A page of this order for what is at `from`; nobody pays for it yet. NULL: there is none. */
	struct page *(*get)(struct mm_mover *r, unsigned order, pfn_t from);
	bool breaks_huge; /* get has single pages only */
	bool goes_on;     /* where get has none: the page is left, else the walk ends with -ENOMEM */
	u64 moved, left;  /* pages; left: others use them too, or there was no place */
};
/* Of [va, end), with what huge pages of it are whole. mm->lock held for reading. */
int __must_check mm_move_range(struct mm *m, ulong va, ulong end, struct mm_mover *r);
/* The pages of a huge page that huge_split has given small entries become units of their own, if nobody else uses it.
 * va at its start. */
void huge_break(struct mm *m, ulong va);

static inline void page_set_anon(struct page *p)
{
	p->flags |= PAGE_ANON;
	page_stat_add(PAGE_STAT_ANON, 1L << page_order(p));
}

/* A page of a file enters or leaves a page table. */
static inline void page_mapped(struct page *head)
{
	if (atomic_add_return(&head->mapcount, 1) == 1)
		page_stat_add(PAGE_STAT_MAPPED, 1L << page_order(head));
}

static inline void page_unmapped(struct page *head)
{
	if (atomic_sub_return(&head->mapcount, 1) == 0)
		page_stat_add(PAGE_STAT_MAPPED, -(1L << page_order(head)));
}

static inline bool pte_is_swap(pte_t e)
{
	return !pte_is_none(e) && !pte_is_present(e);
}

static inline struct page *pte_page(pte_t e)
{
	return page_head(ram_page(pte_pfn(e)));
}

#endif
