/* SPDX-License-Identifier: MIT
 *
 * Page-table bits (AMD64 manual volume 2, 5.4), shared by mmu.c, pagetable.c and tlb.c.
 */
#ifndef MMU_PRIV_H
#define MMU_PRIV_H

#include <arch/mmu.h>

extern u64 pte_nx; /* PTE_NX, or 0 on a CPU without it */
u64 pte_bits(unsigned rights);
void mmu_init_cpu(void);
void tlb_leave_everywhere(struct pagetable *pt);

#endif
