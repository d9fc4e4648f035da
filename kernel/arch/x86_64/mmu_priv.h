/* SPDX-License-Identifier: MIT
 *
 * Page-table bits (AMD64 manual volume 2, 5.4), shared by mmu.c, pagetable.c and tlb.c.
 */
#ifndef MMU_PRIV_H
#define MMU_PRIV_H

#include <arch/mmu.h>

#define PTE_PRESENT  BIT(0)
#define PTE_WRITE    BIT(1)
#define PTE_USER     BIT(2)
#define PTE_PWT      BIT(3)
#define PTE_PCD      BIT(4)
#define PTE_ACCESSED BIT(5)
#define PTE_DIRTY    BIT(6)
#define PTE_LARGE    BIT(7)
#define PTE_GLOBAL   BIT(8)
#define PTE_SPECIAL  BIT(9) /* ours: no descriptor */
#define PTE_NX       BIT(63)
#define PTE_ADDRESS  0x000ffffffffff000UL

extern u64 pte_nx; /* PTE_NX, or 0 on a CPU without it */
u64 pte_bits(unsigned rights);
void mmu_init_cpu(void);
void tlb_leave_everywhere(struct pagetable *pt);

#endif
