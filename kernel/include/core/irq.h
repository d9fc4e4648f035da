/* SPDX-License-Identifier: MIT
 *
 * Interrupts. A handler runs with IRQs off, never nested; it acknowledges its device, queues a deferred job and returns.
 * Deferred jobs run on the same CPU right after the interrupt with IRQs on, before the return to the interrupted code
 * (on the interrupted kernel stack): they may wake tasks and take spin locks (with _irqsave if handlers do), not sleep.
 */
#ifndef CORE_IRQ_H
#define CORE_IRQ_H

#include <lib/list.h>
#include <lib/types.h>

/* An interrupt vector of our own choosing (MSI, MSI-X, IOAPIC pin routed to it). Returns the vector or -ENOSPC. cpu is where it arrives. */
int __must_check irq_alloc(void (*handler)(void *arg), void *arg, unsigned cpu, const char *name);
void irq_free(int vector);
/* What a device writes for MSI to raise `vector` on its CPU. */
void irq_msi_message(int vector, u64 *address, u32 *data);
/* Routes an IOAPIC input (GSI) to a vector. level: level triggered, active high unless active_low. */
int __must_check irq_route_gsi(unsigned gsi, int vector, bool level, bool active_low);

struct deferred {
	struct list link;
	void (*fn)(struct deferred *);
	bool queued;
};
void deferred_init(struct deferred *d, void (*fn)(struct deferred *));
void deferred_queue(struct deferred *d); /* any context; at most once pending */

bool in_irq(void); /* in a handler or a deferred job */

#endif
