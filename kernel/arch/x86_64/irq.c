/* SPDX-License-Identifier: MIT
 *
 * Problem: devices want interrupts on a CPU of their choice, and the time with interrupts off must
 * stay short.
 *
 * Idea: one table from vector to handler for the whole machine; a handler runs with IRQs off and
 * queues deferred jobs, which run right afterwards with IRQs on, unless the interrupt hit a place
 * that already runs them.
 *
 * Contract: core/irq.h. irq_free waits until no CPU is inside the handler.
 *
 * Locks: `lock` (RANK_DRIVER) guards the table for writing; dispatch reads it without.
 */
#include <arch/cpu.h>
#include <arch/upcalls.h>
#include <core/irq.h>
#include <core/log.h>
#include <core/spin.h>
#include <core/trace.h>
#include <lib/err.h>
#include "irq_priv.h"
#include "x86_priv.h"

#define FIRST VEC_DEVICE_FIRST
#define COUNT (VEC_DEVICE_LAST - VEC_DEVICE_FIRST + 1)

static struct {
	void (*handler)(void *arg);
	void *arg;
	const char *name;
	u16 cpu;
	u64 count;
} table[COUNT];
static struct spinlock lock = SPIN_INIT(RANK_DRIVER);

int irq_alloc(void (*handler)(void *arg), void *arg, unsigned cpu, const char *name)
{
	ulong flags = spin_lock_irqsave(&lock);
	int vector = -ENOSPC;

	if (cpu >= cpu_count())
		cpu = 0;
	for (unsigned i = 0; i < COUNT && vector < 0; i++) {
		if (table[i].name)
			continue;
		table[i].name = name;
		table[i].arg = arg;
		table[i].cpu = (u16)cpu;
		table[i].count = 0;
		__atomic_store_n(&table[i].handler, handler, __ATOMIC_RELEASE);
		vector = (int)(FIRST + i);
	}
	spin_unlock_irqrestore(&lock, flags);
	return vector;
}

static void nothing(void *arg)
{
}

void irq_free(int vector)
{
	unsigned i = (unsigned)vector - FIRST;
	ulong flags;

	if (i >= COUNT || !table[i].name)
		return;
	__atomic_store_n(&table[i].handler, NULL, __ATOMIC_SEQ_CST);
	cpu_call(cpumask_of(table[i].cpu), nothing, NULL); /* handlers run with IRQs off: it has returned now */
	flags = spin_lock_irqsave(&lock);
	table[i].name = NULL;
	spin_unlock_irqrestore(&lock, flags);
}

unsigned irq_cpu(int vector)
{
	return table[vector - FIRST].cpu;
}

bool irq_describe(unsigned n, struct irq_info *out)
{
	if (n >= COUNT)
		return false;
	*out = (struct irq_info){
		.vector = FIRST + n, .name = table[n].name, .cpu = table[n].cpu, .count = table[n].count
	};
	return true;
}

static __noinline void trace_entry(unsigned i)
{
	struct {
		struct trace_irq_handler_entry r;
		char text[32];
	} e = { .r = { .irq = (s32)(FIRST + i) } };
	size_t size = sizeof(e.r);

	e.r.name = trace_put_string(&e, &size, sizeof(e), table[i].name ? table[i].name : "");
	trace_emit(TRACE_irq_handler_entry, &e, size);
}

static __noinline void trace_exit(unsigned i, bool handled)
{
	struct trace_irq_handler_exit r = { .irq = (s32)(FIRST + i), .ret = handled };

	trace_emit(TRACE_irq_handler_exit, &r, sizeof(r));
}

static void device(unsigned i)
{
	void (*handler)(void *) = __atomic_load_n(&table[i].handler, __ATOMIC_ACQUIRE);

	table[i].count++;
	if (trace_on(irq_handler_entry))
		trace_entry(i);
	if (handler)
		handler(table[i].arg);
	if (trace_on(irq_handler_exit))
		trace_exit(i, handler != NULL);
}

void irq_dispatch(struct regs *r, unsigned vector)
{
	unsigned held = lock_irq_enter();

	irq_enter(r);
	if (vector == VEC_SPURIOUS)
		goto out; /* needs no EOI */
	apic_eoi();
	switch (vector) {
	case VEC_TIMER: upcall_timer_irq(); break;
	case VEC_KICK: upcall_kick(); break;
	case VEC_CALL: smp_handle_call(); break;
	case VEC_COUNTERS: upcall_counters_irq(); break;
	default:
		if (vector >= FIRST && vector <= VEC_DEVICE_LAST)
			device(vector - FIRST);
		else
			log_warn("irq: unexpected vector %#x", vector);
	}
out:
	irq_exit();
	lock_irq_exit(held);
}
