/* SPDX-License-Identifier: MIT
 *
 * Problem: a processor with Meltdown lets a program read, by way of the cache, whatever its page tables map, whether it
 * may or not; and they map all of memory for the kernel.
 *
 * Idea: two roots an address space, neighbours in memory: the kernel's, as ever, and user mode's. Both share the tables
 * of the user's half. Of the kernel user mode's maps what the CPU touches before entry.S has changed cr3, and nothing
 * else; those few tables hang on one root, whose upper half every user root copies:
 *
 *   .entry.text   r-x   stubs and the code that changes tables
 *   the IDT       r--
 *   a page a CPU  rw-   GDT, TSS, entry stack (.percpu.entry)
 *   4 stacks a CPU rw-  NMI, #DB, #MC, #DF
 *
 * No PCID: a change of cr3 drops all entries of the TLB, and no page is global. So flushes (tlb.c) need not know of it.
 *
 * Contract: pti_on is decided once, before the first page table is made (bugs.c). Off: no function here has an effect.
 *
 * Locks: none; everything is mapped before the first user root is made.
 */
#include <core/log.h>
#include <lib/string.h>
#include "cpu_priv.h"
#include "mmu_priv.h"
#include "x86_priv.h"

bool pti_on;
static paddr_t half_root; /* its upper half is the pattern */

static void show(ulong va, size_t bytes, unsigned rights)
{
	for (size_t i = 0; i < bytes; i += PAGE_SIZE) {
		bool direct = va < VMEM_BASE; /* in large pages, which kernel_phys does not know */
		paddr_t pa = direct ? virt_to_phys((void *)(va + i)) : kernel_phys(va + i);

		if (!pa ||
		    table_map(half_root, va + i, pa, PAGE_SIZE, pte_bits(rights) | PTE_ACCESSED | PTE_DIRTY, false))
			panic("page tables of user mode: %lx", va + i);
	}
}

void pti_add_cpu(unsigned cpu)
{
	ulong stack;

	if (!pti_on)
		return;
	show(percpu_offset[cpu] + (ulong)percpu_start, PAGE_SIZE, PT_READ | PT_WRITE);
	for (unsigned i = 0; (stack = cpu_interrupt_stack(cpu, i)); i++)
		show(stack, IST_BYTES, PT_READ | PT_WRITE);
}

void pti_init(void)
{
	extern char entry_text_start[], entry_text_end[];

	if (!pti_on)
		return;
	half_root = early_page();
	show((ulong)entry_text_start, entry_text_end - entry_text_start, PT_READ | PT_EXEC);
	show(trap_idt(), PAGE_SIZE, PT_READ);
	pti_add_cpu(0);
}

void pti_fill_root(u64 *user)
{
	memcpy(user + 256, (u64 *)phys_to_virt(half_root) + 256, PAGE_SIZE / 2);
}
