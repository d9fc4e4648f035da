/* SPDX-License-Identifier: MIT
 *
 * Problem: the unit keeps copies of contexts and translations; memory may be given back only when they are gone.
 *
 * Idea: a ring of descriptors that the unit reads. Behind each command goes one that makes the unit write a word when
 * all before it is done, and we wait for that: there is never more than one command under way, so the ring is never
 * full and nothing has to be remembered.
 *
 *      [command][wait: done = 1] --> tail register --> unit --> done
 *
 * Contract: vtd_priv.h. A unit that does not answer may still write to memory that we think is ours again: that is the
 * end. Source: VT-d 3.3, section 6.5.2.
 *
 * Locks: vtd.lock held by every caller.
 */
#include <arch/cpu.h>
#include <arch/io.h>
#include <arch/mmu.h>
#include <core/clock.h>
#include <core/log.h>

#include "vtd_priv.h"

#define ENTRIES         (PAGE_SIZE / sizeof(struct vtd_entry))
#define INV_CONTEXT     1ULL
#define INV_TRANSLATION 2ULL
#define INV_WAIT        (5ULL | BIT(5)) /* and write */
#define GLOBAL          (1ULL << 4)
#define OF_DOMAIN       (2ULL << 4)
#define DRAIN           (3ULL << 6) /* reads and writes under way end first */
#define ANSWER_NS       NSEC_PER_SEC

static void put(u64 low, u64 high)
{
	struct vtd_entry *e = &vtd.queue[vtd.tail];

	*e = (struct vtd_entry){ low, high };
	vtd_publish(e, sizeof(*e));
	vtd.tail = (vtd.tail + 1) % ENTRIES;
}

static void submit(u64 command)
{
	u64 deadline = clock_ns() + ANSWER_NS;

	assert_held(&vtd.lock);
	WRITE_ONCE(*vtd.done, 0);
	put(command, 0);
	put(INV_WAIT | 1ULL << 32, virt_to_phys(vtd.done));
	mmio_write32(vtd.regs + REG_QUEUE_TAIL, vtd.tail * sizeof(struct vtd_entry));
	while (!READ_ONCE(*vtd.done)) {
		u32 status = mmio_read32(vtd.regs + REG_FAULT_STATUS);

		if (status & FAULT_QUEUE || clock_ns() > deadline)
			panic("vtd: the unit does not forget, status %#x", status);
		cpu_relax();
	}
}

void vtd_forget_contexts(void)
{
	submit(INV_CONTEXT | GLOBAL);
	submit(INV_TRANSLATION | GLOBAL | DRAIN);
}

void vtd_forget_domain(u16 id)
{
	submit(INV_TRANSLATION | OF_DOMAIN | DRAIN | (u64)id << 16);
}

void vtd_queue_start(void)
{
	mmio_write32(vtd.regs + REG_QUEUE_TAIL, 0);
	mmio_write64(vtd.regs + REG_QUEUE, virt_to_phys(vtd.queue));
}
