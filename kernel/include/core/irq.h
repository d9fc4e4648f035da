/* SPDX-License-Identifier: MIT
 *
 * Interrupts. A handler runs with IRQs off, never nested; it acknowledges its device, queues a
 * deferred job and returns. Deferred jobs run on the same CPU right after the interrupt with IRQs
 * on, before the return to the interrupted code (on the interrupted kernel stack): they may wake
 * tasks and take spin locks, not sleep. A lock that a deferred job takes is taken with _irqsave
 * everywhere else: the job may have interrupted its holder.
 */
#ifndef CORE_IRQ_H
#define CORE_IRQ_H

#include <lib/list.h>
#include <lib/types.h>

/* An interrupt vector of our own choosing (MSI, MSI-X, IOAPIC pin routed to it). Returns the vector
 * or -ENOSPC. cpu is where it arrives. */
int __must_check irq_alloc(void (*handler)(void *arg), void *arg, unsigned cpu, const char *name);
void irq_free(int vector);
/* What a device writes for MSI to raise `vector` on its CPU. */
void irq_msi_message(int vector, u64 *address, u32 *data);
/* Routes an IOAPIC input (GSI) to a vector. level: level triggered, active high unless active_low.
 */
int __must_check irq_route_gsi(unsigned gsi, int vector, bool level, bool active_low);

struct deferred {
	struct list link;
	void (*fn)(struct deferred *);
	bool queued;
};
void deferred_init(struct deferred *d, void (*fn)(struct deferred *));
void deferred_queue(struct deferred *d); /* any context; at most once pending */
void deferred_flush(struct deferred *d); /* waits until it neither waits nor runs; nobody queues it any more. Sleeps */

/* For /proc/interrupts: the n-th vector; false beyond the last. name NULL: free. */
struct irq_info {
	unsigned vector, cpu;
	const char *name;
	u64 count;
};
bool irq_describe(unsigned n, struct irq_info *out);

/* arch brackets each interrupt with these; exit runs deferred jobs. IRQs off. */
struct regs;
void irq_enter(const struct regs *r);
void irq_exit(void);
/* The registers of the interrupt that is being served (the outermost), for sampling. NULL outside.
 */
const struct regs *irq_regs(void);

bool in_irq(void); /* in a handler or a deferred job */

#endif
