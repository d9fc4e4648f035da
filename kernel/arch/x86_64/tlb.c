/* SPDX-License-Identifier: MIT
 *
 * Problem: a page whose mapping was taken away may still be reached through another CPU's TLB until
 * that CPU is told.
 *
 * Idea: an address space knows the CPUs that have it loaded (pt->cpus). Changes collect in a
 * gather; at the end this CPU and, by one call, those CPUs drop the range, and only then the pages
 * are released. A CPU that runs a kernel thread keeps the last address space loaded (so that
 * sleeping and waking costs no reload); when a flush reaches it there, it leaves that space instead
 * and is not asked again.
 *
 * Contract: arch/mmu.h. No PCID: loading cr3 flushes all but global entries.
 *
 * Locks: none. A CPU sets its bit before it loads cr3; a flusher reads the bits after it has
 * changed the entries.
 */
#include <alloc/page.h>
#include <arch/cpu.h>
#include <arch/mmu.h>
#include <core/log.h>
#include <core/rcu.h>
#include <core/spin.h>
#include <task/task.h>
#include "mmu_priv.h"
#include "x86_priv.h"

#define FLUSH_PAGES 32 /* above: everything */

static DEFINE_PER_CPU(struct pagetable *, loaded);

static void load(struct pagetable *pt)
{
	struct pagetable *old = this_cpu_read(loaded);

	if (old == pt)
		return;
	if (pt)
		__atomic_fetch_or(&pt->cpus, cpumask_of(cpu_id()), __ATOMIC_SEQ_CST);
	this_cpu_write(loaded, pt);
	if (pt && unlikely(cpu_branch_barrier))
		msr_write(MSR_PRED_CMD, 1);
	cr3_write(pt ? pt->root : kernel_root);
	if (old)
		__atomic_fetch_and(&old->cpus, ~cpumask_of(cpu_id()), __ATOMIC_SEQ_CST);
}

void pagetable_activate(struct pagetable *pt)
{
	ulong flags = irq_save();

	current->arch.pt = pt;
	load(pt);
	irq_restore(flags);
}

void tlb_switch(struct task *next)
{
	if (next->arch.pt)
		load(next->arch.pt);
}

static void flush_here(void *arg)
{
	const struct tlb_gather *g = arg;

	if (this_cpu_read(loaded) != g->pt)
		return;
	if (current->arch.pt != g->pt) {
		load(NULL);
		return;
	}
	if (g->end - g->start > FLUSH_PAGES * PAGE_SIZE) {
		cr3_write(cr3_read());
		return;
	}
	for (ulong va = g->start; va < g->end; va += PAGE_SIZE)
		__asm__ volatile("invlpg (%0)" : : "r"(va) : "memory");
}

/* ---- translations made from these tables ---- */

void pt_shadow_add(struct pagetable *pt, struct pt_shadow *s)
{
	struct pt_shadow *first = __atomic_load_n(&pt->shadows, __ATOMIC_ACQUIRE);

	do
		s->next = first;
	while (!__atomic_compare_exchange_n(&pt->shadows, &first, s, false, __ATOMIC_SEQ_CST, __ATOMIC_ACQUIRE));
}

void pt_shadow_remove(struct pagetable *pt, struct pt_shadow *s)
{
	struct pt_shadow **at = &pt->shadows;

	while (rcu_deref(*at) != s)
		at = &(*at)->next;
	rcu_assign(*at, s->next);
	rcu_synchronize();
}

static void tell_shadows(const struct tlb_gather *g)
{
	if (likely(!READ_ONCE(g->pt->shadows)))
		return;
	rcu_read_lock();
	for (struct pt_shadow *s = rcu_deref(g->pt->shadows); s; s = rcu_deref(s->next))
		s->invalidate(s, g->start, g->end);
	rcu_read_unlock();
}

static void flush(struct tlb_gather *g)
{
	cpumask_t mask;

	if (g->start < g->end) {
		__atomic_fetch_add(&g->pt->flush_gen, 1, __ATOMIC_SEQ_CST);
		mask = __atomic_load_n(&g->pt->cpus, __ATOMIC_SEQ_CST);
		if (mask & ~cpumask_of(cpu_id())) {
			cpu_call(mask | cpumask_of(cpu_id()), flush_here, g);
		} else {
			ulong flags = irq_save();

			flush_here(g);
			irq_restore(flags);
		}
		tell_shadows(g);
	}
	for (unsigned i = 0; i < g->nr; i++)
		page_put(g->pages[i]);
	g->nr = 0;
	g->start = ~0UL;
	g->end = 0;
}

void tlb_begin(struct tlb_gather *g, struct pagetable *pt)
{
	g->pt = pt;
	g->start = ~0UL;
	g->end = 0;
	g->nr = 0;
}

void tlb_add_range(struct tlb_gather *g, ulong va, size_t bytes)
{
	g->start = min(g->start, va);
	g->end = max(g->end, va + bytes);
}

void tlb_add_page(struct tlb_gather *g, ulong va, struct page *page)
{
	tlb_add_range(g, va, PAGE_SIZE << page_order(page_head(page)));
	g->pages[g->nr++] = page;
	if (g->nr == TLB_BATCH)
		flush(g);
}

void tlb_finish(struct tlb_gather *g)
{
	flush(g);
}

static void leave(void *arg)
{
	if (this_cpu_read(loaded) == arg)
		load(NULL);
}

/* Before the tables are freed: CPUs that kept them loaded under a kernel thread let go. */
void tlb_leave_everywhere(struct pagetable *pt)
{
	cpumask_t mask = __atomic_load_n(&pt->cpus, __ATOMIC_SEQ_CST);

	if (mask)
		cpu_call(mask, leave, pt);
	ensure(!pt->cpus);
}
