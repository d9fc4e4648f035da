/* SPDX-License-Identifier: MIT
 *
 * Address spaces: VMAs, page tables, faults, fork. User addresses only.
 *
 * Locks: mm->lock (RANK_MM) for writing changes VMAs; for reading keeps them. Faults take a VMA under RCU and its own read
 * count, and fall back to mm->lock (design). Leaf tables have their own spin locks.
 * Errors: Linux's for the system call of the same name.
 */
#ifndef MM_MM_H
#define MM_MM_H

#include <arch/mmu.h>
#include <lib/rbtree.h>
#include <mm/mapping.h>
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

struct vma {
	ulong start, end; /* bytes, page aligned */
	u32 flags;
	u64 index;	  /* page of the mapping at start */
	struct mm *mm;
	struct mapping *mapping; /* NULL: anonymous */
	struct rb_node node;
	struct list mapping_link;
	void *family;	  /* anonymous family, NULL until the first anonymous page */
	struct list family_link;
	atomic_t readers; /* faults that use it without mm->lock */
	const char *name; /* static: "[vdso]", or NULL */
	struct rcu_head rcu;
};

struct mm {
	struct pagetable pt;
	struct rwlock lock;
	struct rb_root vmas;
	atomic_t users;	 /* tasks */
	refcount_t refs; /* users, and others that only look (proc, active_mm) */
	ulong mmap_base;
	ulong brk_start, brk;
	ulong stack_start, arg_start, arg_end, env_start, env_end, code_start, code_end, data_start, data_end;
	ulong auxv[48];
	u64 total_pages, locked_pages, data_pages, exec_pages, stack_pages; /* mm->lock */
	atomic64_t rss_anon, rss_file, rss_shmem, swap_pages;
	u64 hiwater_rss;
	struct tenant *tenant; /* who pays for its pages; follows the process */
	struct mapping *exe;	     /* /proc/PID/exe is kept by vfs through it */
	void *exe_file;
	u8 dumpable;
};

int __must_check mm_create(struct mm **out);
int __must_check mm_fork(struct mm *from, struct mm **out); /* copy-on-write copy of current's */
void mm_get(struct mm *m); /* a user */
void mm_put(struct mm *m); /* the last user unmaps everything */
void mm_switch(struct mm *m); /* current->mm = m, loads it; the old one is the caller's to put */

/* length > 0. MAP_FIXED etc. as in mmap(2) flags; `rights` = PROT_*; the mapping's get is called. *addr: hint in, result out. */
int __must_check mm_map(struct mm *m, ulong *addr, size_t bytes, unsigned prot, unsigned map_flags, struct mapping *mapping, u64 index,
			unsigned may_flags);
int __must_check mm_unmap(struct mm *m, ulong addr, size_t bytes);
int __must_check mm_protect(struct mm *m, ulong addr, size_t bytes, unsigned prot);
int __must_check mm_remap(struct mm *m, ulong addr, size_t old_bytes, size_t new_bytes, unsigned flags, ulong new_addr, ulong *out);
int __must_check mm_brk(struct mm *m, ulong brk, ulong *out);
int __must_check mm_advise(struct mm *m, ulong addr, size_t bytes, int advice);
int __must_check mm_sync(struct mm *m, ulong addr, size_t bytes, int flags);
int __must_check mm_lock_range(struct mm *m, ulong addr, size_t bytes, bool lock);
/* Device and ring pages. PT_SPECIAL pages have no descriptor. */
int __must_check mm_insert_pfn(struct vma *v, ulong addr, pfn_t pfn, unsigned rights);
struct vma *mm_find_vma(struct mm *m, ulong addr); /* first with end > addr; mm->lock held */
/* Pins user pages for I/O: references in pages[]; returns the count, may be short, or -EFAULT. */
int __must_check mm_pin_user(struct mm *m, ulong addr, unsigned n, bool write, struct page **pages);
/* ptrace, /proc/PID/mem: copies between kernel memory and another address space; bytes copied or -errno. */
ssize_t mm_access(struct mm *m, ulong addr, void *buf, size_t bytes, bool write, bool force);

#endif
