/* SPDX-License-Identifier: MIT
 *
 * Problem: an interrupt's real work must not run with interrupts off, nor nest without bound.
 *
 * Idea: one list of deferred jobs a CPU, run when the outermost interrupt ends, with IRQs on.
 * Interrupts that arrive meanwhile only queue. After BUDGET jobs the rest waits for a kick that the
 * CPU sends itself, so that the interrupted code gets on.
 *
 * Contract: core/irq.h.
 *
 * Locks: none; lists are this CPU's and are touched with IRQs off. `queued` is atomic, since any
 * CPU may queue a job.
 */
#include <arch/cpu.h>
#include <arch/thread.h>
#include <core/irq.h>
#include <core/rcu.h>

#define BUDGET 256

struct irq_state {
	unsigned depth;
	const struct regs *regs;
	struct list jobs; /* next == NULL: not yet initialised */
};
static DEFINE_PER_CPU(struct irq_state, irq_state);

void deferred_init(struct deferred *d, void (*fn)(struct deferred *))
{
	*d = (struct deferred){ .fn = fn };
	list_init(&d->link);
}

void deferred_queue(struct deferred *d)
{
	ulong flags;
	struct irq_state *s;

	if (__atomic_exchange_n(&d->queued, true, __ATOMIC_SEQ_CST))
		return;
	flags = irq_save();
	s = this_cpu_ptr(&irq_state);
	if (!s->jobs.next)
		list_init(&s->jobs);
	list_add_tail(&d->link, &s->jobs);
	if (!s->depth)
		cpu_kick(cpu_id());
	irq_restore(flags);
}

void deferred_flush(struct deferred *d)
{
	while (__atomic_load_n(&d->queued, __ATOMIC_SEQ_CST))
		rcu_synchronize();
	rcu_synchronize(); /* a job that runs keeps its CPU from a quiescent state */
}

static void run_jobs(struct irq_state *s)
{
	for (int n = 0; !list_empty(&s->jobs); n++) {
		struct deferred *d = list_first_entry(&s->jobs, struct deferred, link);

		if (n == BUDGET) {
			cpu_kick(cpu_id());
			return;
		}
		list_del_init(&d->link);
		__atomic_store_n(&d->queued, false, __ATOMIC_SEQ_CST);
		irq_enable();
		d->fn(d);
		irq_disable();
	}
}

void irq_enter(const struct regs *r)
{
	struct irq_state *s = this_cpu_ptr(&irq_state);

	rcu_idle_exit();
	if (s->depth++ == 0) {
		s->regs = r;
		if (regs_user(r))
			rcu_quiescent();
	}
}

void irq_exit(void)
{
	struct irq_state *s = this_cpu_ptr(&irq_state);

	if (s->depth == 1) {
		if (s->jobs.next && !list_empty(&s->jobs))
			run_jobs(s);
		s->regs = NULL;
	}
	s->depth--;
}

const struct regs *irq_regs(void)
{
	return this_cpu_ptr(&irq_state)->regs;
}

bool in_irq(void)
{
	return this_cpu_ptr(&irq_state)->depth != 0;
}
