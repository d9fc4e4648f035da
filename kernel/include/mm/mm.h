/* SPDX-License-Identifier: MIT
 *
 * Address spaces: VMAs, page tables, faults, fork. User addresses only.
 *
 * Locks: mm->lock (RANK_MM) for writing changes VMAs; for reading keeps them. Faults take it for reading
 * (user memory is never touched with it held). Leaf tables have their own spin locks.
 * Errors: Linux's for the system call of the same name.
 */
#ifndef MM_MM_H
#define MM_MM_H

#include <arch/mmu.h>
#include <lib/atomic.h>
#include <lib/rbtree.h>
#include <mm/mapping.h>
#include <task/mempolicy.h>
#include <task/mutex.h>

/* vma->flags. The low three are PROT_READ, PROT_WRITE, PROT_EXEC of linux/mman.h. */
#define VMA_READ      BIT(0)
#define VMA_WRITE     BIT(1)
#define VMA_EXEC      BIT(2)
#define VMA_SHARED    BIT(3)
#define VMA_MAYREAD   BIT(4) /* mprotect may add it */
#define VMA_MAYWRITE  BIT(5)
#define VMA_MAYEXEC   BIT(6)
#define VMA_GROWSDOWN BIT(7)
#define VMA_LOCKED    BIT(8)
#define VMA_DONTFORK  BIT(9)
#define VMA_WIPEFORK  BIT(10)
#define VMA_NORESERVE BIT(11)
#define VMA_HUGE      BIT(12) /* madvise(MADV_HUGEPAGE) */
#define VMA_NOHUGE    BIT(13)
#define VMA_DONTDUMP  BIT(14)
#define VMA_SPECIAL   BIT(15) /* no page descriptors behind it, never merged */
#define VMA_STACK     BIT(16)
#define VMA_HEAP      BIT(17)
#define VMA_VDSO      BIT(18)
#define VMA_COMMITTED BIT(19) /* its pages are promised: mm/commit.h */

/* mm->core_filter, as /proc/PID/coredump_filter numbers them (core(5)); bits up to 8 are kept. */
#define MM_CORE_PRIVATE      BIT(0) /* memory without a file, and pages of a file that were changed */
#define MM_CORE_SHARED       BIT(1) /* shared memory without a name */
#define MM_CORE_FILE_PRIVATE BIT(2)
#define MM_CORE_FILE_SHARED  BIT(3)
#define MM_CORE_ELF_HEADERS  BIT(4) /* the first page of mapped ELF files */
#define MM_CORE_ALL          0x1ff
#define MM_CORE_DEFAULT      0x33

struct vma {
	struct rb_node node;
	ulong start, end; /* bytes, page aligned. mm->lock; with a mapping also mapping->lock */
	u32 flags;
	bool has_private; /* may hold anonymous pages: fork copies its entries */
	u64 index;        /* page of the mapping at start; anonymous: start >> PAGE_SHIFT where it was born */
	struct mm *mm;
	struct mapping *mapping; /* NULL: anonymous */
	struct list mapping_link;
	const char *name;         /* static: "[vdso]", or NULL */
	struct mempolicy *policy; /* counted; NULL: the thread's that touches a page first */
};

struct mm {
	struct pagetable pt; /* stays the first member: the scheduler activates it */
	struct rwlock lock;
	struct rb_root vmas; /* mm->lock */
	unsigned nr_vmas;
	atomic_t users;  /* tasks */
	refcount_t refs; /* one for all users, and others that only look (proc, active_mm) */
	ulong mmap_base;
	ulong gap_hint, gap_bytes; /* mm->lock: between gap_hint and mmap_base no gap is larger than gap_bytes */
	ulong brk_start, brk;
	ulong stack_start, arg_start, arg_end, env_start, env_end, code_start, code_end, data_start, data_end;
	ulong auxv[48];
	unsigned auxv_words;
	u64 total_pages, peak_pages, locked_pages, data_pages, exec_pages, stack_pages; /* mm->lock */
	atomic64_t rss_anon, rss_file, rss_swap;                                        /* pages */
	u64 hiwater_rss;
	struct tenant *tenant; /* who pays for its pages; follows the process */
	void *exe_file;        /* struct file *, counted; process sets and drops it */
	struct list all_link;  /* reclaim.c: all address spaces */
	ulong scan_at;         /* reclaim's hand. Racy on purpose */
	bool reaped;           /* the OOM killer has taken its pages: no more faults */
	u8 dumpable;
	u16 membarrier;   /* a: what membarrier(2) registered; fork keeps it */
	u16 core_filter;  /* MM_CORE_*: what a core file has; fork and exec keep it */
	bool lock_future; /* mlockall(MCL_FUTURE) */
	ulong vdso;       /* where it is mapped, 0: nowhere */
};

/* ---- life ---- */
int __must_check mm_create(struct mm **out);                /* one user, one reference */
int __must_check mm_fork(struct mm *from, struct mm **out); /* copy-on-write copy; `from` is current's */
void mm_get(struct mm *m);                                  /* a user */
void mm_put(struct mm *m);                                  /* the last user unmaps everything */
void mm_hold(struct mm *m);                                 /* keeps the struct and its page tables, not its contents */
void mm_drop(struct mm *m);
bool __must_check mm_get_live(struct mm *m);        /* a user, unless it has none left */
struct mm *mm_of_task(struct task *t);              /* counted user, or NULL; for /proc and ptrace */
void mm_set_tenant(struct mm *m, struct tenant *t); /* who pays from now on */
struct mm *mm_hold_of_task(struct task *t);         /* held (mm_drop), or NULL */
void mm_switch(struct mm *m); /* current->mm = m (NULL: none), loads it; the old one is the caller's to put */

/* ---- changing it ---- */
extern u32 mm_max_vmas; /* of one mm: /proc/sys/vm/max_map_count */
/* bytes > 0 (rounded up to pages). map_flags: MAP_*; prot: PROT_*; may_flags: VMA_MAY* that a file allows (0: all). The
 * mapping's get is called once a VMA. *addr: hint in, result out. Errors as mmap(2). */
int __must_check mm_map(struct mm *m, ulong *addr, size_t bytes, unsigned prot, unsigned map_flags,
			struct mapping *mapping, u64 index, unsigned may_flags);
/* The same for the kernel's own mappings (vDSO, ring pages): name and extra VMA_* flags. */
int __must_check mm_map_special(struct mm *m, ulong *addr, size_t bytes, unsigned vma_flags, struct mapping *mapping,
				u64 index, const char *name);
int __must_check mm_unmap(struct mm *m, ulong addr, size_t bytes);
int __must_check mm_protect(struct mm *m, ulong addr, size_t bytes, unsigned prot);
int __must_check mm_remap(struct mm *m, ulong addr, size_t old_bytes, size_t new_bytes, unsigned flags, ulong new_addr,
			  ulong *out);
int __must_check mm_brk(struct mm *m, ulong brk, ulong *out);
int __must_check mm_advise(struct mm *m, ulong addr, size_t bytes, int advice);
int __must_check mm_sync(struct mm *m, ulong addr, size_t bytes, int flags);
int __must_check mm_lock_range(struct mm *m, ulong addr, size_t bytes, bool lock, bool on_fault);
int __must_check mm_lock_all(struct mm *m, int flags); /* MCL_*; 0: unlock */
/* vec[i] bit 0: page i of the range is in memory. -ENOMEM: a part is not mapped. */
int __must_check mm_resident(struct mm *m, ulong addr, unsigned pages, u8 *vec);
/* Gives a filled page (one reference, taken over) to an empty place of an anonymous VMA: exec's stack. -ENOMEM. */
int __must_check mm_insert_page(struct mm *m, ulong addr, struct page *page);

/* Copies private pages whose colour is not in mask to pages of those colours. Any task's address space; may be slow.
 * Counts what it moved and what must stay (shared since a fork, pinned). -ENOMEM: no page of the colours is left. */
struct mm_recolour {
	unsigned nr_colours;
	u64 mask;
	u64 moved, left;
};
int __must_check mm_recolour(struct mm *m, struct mm_recolour *r);

/* ---- memory nodes (policy.c); ranges are page aligned ---- */
/* mbind(2): the policy of a range; nodes: those that were named, flags: MPOL_MF_*. */
int __must_check mm_bind(struct mm *m, ulong start, ulong end, struct mempolicy *p, nodemask_t nodes, unsigned flags);
int __must_check mm_set_home_node(struct mm *m, ulong start, ulong end, unsigned node);
int __must_check mm_policy_at(struct mm *m, ulong addr, struct mempolicy **out); /* a reference, or NULL. -EFAULT */
/* Of the page at addr. -EFAULT: nothing is mapped, the zero page, or private memory that has not been touched; -ENOENT:
 * there is no page now. touch: it is read first, and the zero page is on the node of the kernel. */
int mm_node_at(struct mm *m, ulong addr, bool touch);
/* Private pages on the i-th node of `from` go to the i-th of `to`. How many could not, or -errno. Sleeps. */
s64 __must_check mm_migrate(struct mm *m, nodemask_t from, nodemask_t to);
/* The same of one page. Its node now, or as mm_node_at; -EACCES: others use it, too; -EBUSY. *full: no room there. */
int __must_check mm_move_to_node(struct mm *m, ulong addr, unsigned node, bool shared_too, bool *full);

/* ---- looking ---- */
struct vma *mm_find_vma(struct mm *m, ulong addr); /* first with end > addr, or NULL; mm->lock held */
struct vma *mm_next_vma(struct vma *v);
/* The first page from addr on, below end, that has an entry (its own contents, in memory or on swap); end: none. */
ulong mm_next_used(struct mm *m, ulong addr, ulong end);
/* Pins user pages for I/O: references in pages[]; returns the count, may be short, or -EFAULT. Of a huge page the pages
 * are given, but the reference is counted in its head: page_put takes page_head(pages[i]). */
int __must_check mm_pin_user(struct mm *m, ulong addr, unsigned n, bool write, struct page **pages);
/* The frame of device memory at addr, for who has a pt_shadow of this address space: it is good until that is told of
 * addr. -EFAULT: there is no device memory, or not with this right; -ENOMEM. */
int __must_check mm_device_frame(struct mm *m, ulong addr, bool write, pfn_t *out);
/* ptrace, /proc/PID/mem: copies between kernel memory and another address space; bytes copied or -errno. */
ssize_t mm_access(struct mm *m, ulong addr, void *buf, size_t bytes, bool write, bool force);
/* Where a shared futex or the like stands: the mapping (its get was called: put it) and page, or *mapping NULL:
 * private. */
int __must_check mm_locate(struct mm *m, ulong addr, struct mapping **mapping, u64 *index);
struct mm_page_state { /* for /proc/PID/pagemap */
	bool present, swapped;
	bool file;  /* or shared memory without a name */
	bool alone; /* nobody else maps it */
	u64 where;  /* page frame number, or the swap entry's payload */
};
/* Of the n pages from addr on. */
void mm_page_states(struct mm *m, ulong addr, unsigned n, struct mm_page_state *out);
struct mm_map_stats { /* for /proc/PID/smaps, numa_maps and status, of [start, end) */
	u64 anon_pages, file_pages, dirty_pages, young_pages, huge_pages;
	u64 node_pages[MAX_NODES];
	unsigned most_users; /* of one page */
};
void mm_range_stats(struct mm *m, ulong start, ulong end, struct mm_map_stats *out); /* mm->lock held for reading */

/* ---- reclaim (reclaim.c) ---- */
/* Looks for pages that have not been used lately in the address spaces of top's tenants (NULL: all): unmaps those of
 * files, writes private ones to swap. urgency 0: spares what was used since the last look. Returns how many pages
 * became free; *unmapped: how many the page cache may now take. Sleeps; any locks up to LEAF_SLEEP may be held. */
u64 mm_reclaim(struct tenant *top, u64 want, unsigned urgency, u64 *unmapped);
/* m's processes are being killed: takes its private pages at once. m is held. False: could not get at it now. */
bool mm_reap(struct mm *m);
struct mm_usage { /* pages */
	u64 anon, file, swap, tables;
};
void mm_usage(struct mm *m, struct mm_usage *out);
/* The sum over the address spaces that top and those below pay for. Pages shared since a fork count in each. */
void mm_usage_below(const struct tenant *top, struct mm_usage *sum);
/* Calls fn for every address space, held, without locks, until it returns nonzero; gives that. */
int mm_for_each(int (*fn)(struct mm *m, void *arg), void *arg);

void mm_init(void); /* boot: caches, the zero page */

#endif
