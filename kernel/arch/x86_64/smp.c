/* SPDX-License-Identifier: MIT
 *
 * Problem: start the other CPUs, make them run a function, wake them, and stop them in a panic.
 *
 * Idea: a call is a struct on the caller's stack, published in the caller's per-CPU slot; each
 * target has a mask of CPUs that want something, so sending is one atomic OR and an IPI only if the
 * mask was empty. Whoever waits for others serves what others want from it meanwhile, so two
 * callers cannot wait for each other, even with IRQs off.
 *
 * Contract: arch/cpu.h (cpu_call, cpu_kick, cpu_stop_others), arch/boot.h (cpu_start_all).
 *
 * Locks: none. `incoming` is atomic; a slot is read only while its call is pending.
 */
#include <alloc/page.h>
#include <arch/boot.h>
#include <arch/upcalls.h>
#include <core/log.h>
#include <core/spin.h>
#include <core/irq.h>
#include <lib/atomic.h>
#include <lib/string.h>
#include <task/task.h>
#include "cpu_priv.h"
#include "mmu_priv.h"
#include "x86_priv.h"

struct call {
	void (*fn)(void *);
	void *arg;
	atomic_t pending;
};

static DEFINE_PER_CPU(u64, incoming);
static DEFINE_PER_CPU(struct call *, outgoing);
cpumask_t cpus_online = 1;
static unsigned nr_online = 1;
static bool stopping;
static struct spinlock stop_turn = SPIN_INIT(RANK_LOG);
static cpumask_t stopped;

ulong secondary_stack, secondary_gs, secondary_root;
u32 secondary_cpu;
#define TRAMPOLINE 0x8000

unsigned cpu_count(void)
{
	return nr_online;
}

cpumask_t cpu_online_mask(void)
{
	return READ_ONCE(cpus_online);
}

/* ---- calls ----------------------------------------------------------------------------------------------- */

void smp_handle_call(void)
{
	u64 who = __atomic_exchange_n(this_cpu_ptr(&incoming), 0, __ATOMIC_SEQ_CST);
	unsigned cpu;

	for_each_cpu (cpu, who) {
		struct call *c = *per_cpu_ptr(&outgoing, cpu);

		c->fn(c->arg);
		atomic_dec(&c->pending);
	}
}

void cpu_call(cpumask_t mask, void (*fn)(void *), void *arg)
{
	struct call c = { fn, arg, ATOMIC_INIT(0) };
	ulong flags = irq_save();
	unsigned me = cpu_id(), cpu;
	cpumask_t others = mask & cpus_online & ~cpumask_of(me);

	if (others) {
		atomic_set(&c.pending, cpumask_weight(others));
		__atomic_store_n(this_cpu_ptr(&outgoing), &c, __ATOMIC_SEQ_CST);
		for_each_cpu (cpu, others)
			if (!__atomic_fetch_or(per_cpu_ptr(&incoming, cpu), cpumask_of(me), __ATOMIC_SEQ_CST))
				apic_ipi(cpu_apic_id[cpu], VEC_CALL);
	}
	if (cpumask_has(mask, me))
		fn(arg);
	while (atomic_read_acquire(&c.pending)) {
		smp_handle_call();
		cpu_relax();
	}
	irq_restore(flags);
}

void cpu_kick(unsigned cpu)
{
	apic_ipi(cpu_apic_id[cpu], VEC_KICK);
}

void cpu_wait_for_irq(void)
{
	__asm__ volatile("sti; hlt; cli" : : : "memory");
}

/* ---- panic ----------------------------------------------------------------------------------------------- */

bool smp_stopping(void)
{
	return READ_ONCE(stopping);
}

void smp_stop_self(const struct regs *r)
{
	spin_word_lock(&stop_turn.ticket);
	log_print(LOG_EMERG, "CPU %u, task %s:", cpu_id(), current ? current->comm : "(none)");
	if (r) {
		regs_print(r);
		backtrace_print(r->ip, regs_user(r) ? 0 : r->bp);
	}
	spin_word_unlock(&stop_turn.ticket);
	__atomic_fetch_or(&stopped, cpumask_of(cpu_id()), __ATOMIC_SEQ_CST);
	for (;;)
		__asm__ volatile("cli; hlt");
}

void cpu_stop_others(void)
{
	cpumask_t others = cpus_online & ~cpumask_of(cpu_id());
	unsigned cpu;

	WRITE_ONCE(stopping, true);
	for_each_cpu (cpu, others)
		apic_nmi(cpu_apic_id[cpu]);
	for (u64 i = 0; i < 200000000ULL && (READ_ONCE(stopped) & others) != others; i++)
		cpu_relax();
}

/* ---- start
 * -------------------------------------------------------------------------------------------------
 */

void x86_start_secondary(unsigned cpu)
{
	mmu_init_cpu();
	cpu_init_tables(cpu);
	cpu_enable_features();
	bugs_init_cpu();
	cpu_show_number();
	apic_init_cpu();
	fpu_init_cpu();
	__atomic_fetch_or(&cpus_online, cpumask_of(cpu), __ATOMIC_SEQ_CST);
	kmain_secondary();
}

static void prepare_trampoline(void)
{
	extern u64 boot_pml4[];
	extern char tramp_root[], tramp_efer[];
	char *at = phys_to_virt(TRAMPOLINE);

	memcpy(at, trampoline_start, trampoline_end - trampoline_start);
	*(u32 *)(at + (tramp_root - trampoline_start)) = (u32)((ulong)boot_pml4 - KERNEL_BASE);
	*(u32 *)(at + (tramp_efer - trampoline_start)) = EFER_SCE | EFER_LME | (cpu_has(CPU_NX) ? EFER_NXE : 0);
}

static bool start_one(unsigned cpu, u32 apic_id)
{
	void *stack;
	u64 give_up;

	numa_cpu_added(cpu, apic_id);
	if (percpu_create(cpu) || cpu_create_stacks(cpu) || task_prepare_cpu(cpu, &stack))
		return false;
	pti_add_cpu(cpu);
	secondary_cpu = cpu;
	secondary_gs = percpu_offset[cpu];
	secondary_root = kernel_root;
	secondary_stack = (ulong)stack + KERNEL_STACK_BYTES;
	smp_mb();
	apic_start(apic_id, TRAMPOLINE >> PAGE_SHIFT);
	give_up = cpu_cycles() + 4000000000ULL;
	while (!cpumask_has(READ_ONCE(cpus_online), cpu) && cpu_cycles() < give_up)
		cpu_relax();
	return cpumask_has(READ_ONCE(cpus_online), cpu);
}

void cpu_start_all(unsigned max)
{
	u32 me = this_cpu_read(lapic_id);

	prepare_trampoline();
	for (unsigned i = 0; i < acpi.nr_cpus && nr_online < max; i++) {
		if (acpi.apic_id[i] == me)
			continue;
		if (!start_one(nr_online, acpi.apic_id[i])) {
			log_err("smp: CPU with APIC id %u did not start", acpi.apic_id[i]);
			break;
		}
		nr_online++;
	}
	page_donate((ulong)bootbss_start - KERNEL_BASE, (ulong)(bootbss_end - bootbss_start)); /* the boot tables */
	if (nr_online > 1)
		log_info("smp: %u CPUs", nr_online);
}

void machine_init(void)
{
	apic_init();
	clock_init();
	fpu_init();
}
