/* SPDX-License-Identifier: MIT
 *
 * The leaf-entry operations that run once a page in fork, unmap and exit, as inline code: see arch/mmu.h for what they
 * mean. Bits: AMD64 Architecture Programmer's Manual volume 2, section 5.4.
 *
 * An entry without PT_READ (PROT_NONE) is not present for the CPU but still holds its page: NOACCESS set, PRESENT and
 * WRITE clear. A swap entry has WRITE set and PRESENT clear.
 */
#ifndef ARCH_MMU_IMPL_H
#define ARCH_MMU_IMPL_H

#include <lib/types.h>

#define PTE_PRESENT  BIT(0)
#define PTE_WRITE    BIT(1)
#define PTE_USER     BIT(2)
#define PTE_PWT      BIT(3)
#define PTE_PCD      BIT(4)
#define PTE_ACCESSED BIT(5)
#define PTE_DIRTY    BIT(6)
#define PTE_LARGE    BIT(7)
#define PTE_GLOBAL   BIT(8)
#define PTE_SPECIAL  BIT(9)  /* ours: no descriptor */
#define PTE_NOACCESS BIT(10) /* ours: see above */
#define PTE_NX       BIT(63)
#define PTE_ADDRESS  0x000ffffffffff000UL

static inline bool pte_is_none(u64 e)
{
	return e == 0;
}

static inline bool pte_is_present(u64 e)
{
	return (e & PTE_PRESENT) || (e & (PTE_NOACCESS | PTE_WRITE)) == PTE_NOACCESS;
}

static inline bool pte_is_huge(u64 e)
{
	return (e & PTE_LARGE) && pte_is_present(e);
}

/* The next four: of a present entry. */
static inline bool pte_is_special(u64 e)
{
	return e & PTE_SPECIAL;
}

static inline bool pte_is_writable(u64 e)
{
	return e & PTE_WRITE;
}

static inline bool pte_is_user(u64 e)
{
	return e & PTE_USER;
}

static inline bool pte_is_dirty(u64 e)
{
	return e & PTE_DIRTY;
}

static inline u64 pte_without_write(u64 e)
{
	return e & ~PTE_WRITE;
}

static inline u64 pte_pfn(u64 e)
{
	return (e & PTE_ADDRESS) >> PAGE_SHIFT;
}

static inline void pte_set(u64 *p, u64 e)
{
	__atomic_store_n(p, e, __ATOMIC_RELEASE);
}

static inline u64 pte_exchange(u64 *p, u64 e)
{
	return __atomic_exchange_n(p, e, __ATOMIC_SEQ_CST);
}

#endif
