/* SPDX-License-Identifier: MIT
 *
 * Problem: a device that reaches for memory that it was not given is refused by the unit; people must hear of it, and a
 * guest must not be able to fill the log, or keep a CPU busy, by doing nothing else.
 *
 * Idea: the unit records who wanted what and interrupts; a deferred job reads the records and logs them. After REPORTS
 * of one function its context says that its further faults are not to be recorded; they stay refused. It is heard again
 * when it is attached anew.
 *
 *      fault --> record, F=1 --> interrupt --> deferred: log, count, F cleared --(too often)--> silenced
 *
 * Contract: vtd_priv.h. Source: VT-d 3.3, chapter 7 and 11.4.11 (records).
 *
 * Locks: vtd.lock while a function is silenced; the counts belong to the deferred job and, before it can fault, to who
 * attaches.
 */
#include <arch/io.h>
#include <core/irq.h>
#include <core/log.h>

#include "vtd_priv.h"

#define REPORTS 8

static struct deferred job;

static const char *text_of(unsigned reason)
{
	switch (reason) {
	case 1:
	case 2: return "it is shut out";
	case 4: return "the address has too many bits";
	case 5:
	case 6: return "nothing is mapped there with that right";
	default: return "its tables are wrong";
	}
}

static void report(u64 low, u64 high)
{
	unsigned source = high & 0xffff, reason = high >> 32 & 255;

	WRITE_ONCE(vtd.faults, vtd.faults + 1);
	if (vtd.reports[source] >= REPORTS)
		return;
	log_warn("iommu: %02x:%02x.%u may not %s %#lx: %s (%u)", source >> 8, source >> 3 & 31, source & 7,
		 high & RECORD_READ ? "read" : "write", low & PAGE_MASK, text_of(reason), reason);
	if (++vtd.reports[source] == REPORTS) {
		log_warn("iommu: %02x:%02x.%u: no more of these are reported", source >> 8, source >> 3 & 31,
			 source & 7);
		vtd_silence(source);
	}
}

static void read_records(struct deferred *d)
{
	unsigned first = (vtd.cap >> 24 & 0x3ff) * 16, n = (vtd.cap >> 40 & 255) + 1;

	for (unsigned i = 0; i < n; i++) {
		void *at = vtd.regs + first + 16 * i;
		u64 high = mmio_read64(at + 8);

		if (!(high & RECORD_F))
			continue;
		report(mmio_read64(at), high);
		mmio_write64(at + 8, RECORD_F);
	}
	mmio_write32(vtd.regs + REG_FAULT_STATUS, FAULT_OVERFLOW);
	/* The unit interrupts when the first record is filled: one that was filled behind us would be the last ever. */
	if (mmio_read32(vtd.regs + REG_FAULT_STATUS) & FAULT_PENDING)
		deferred_queue(d);
}

static void on_interrupt(void *arg)
{
	deferred_queue(&job);
}

int vtd_faults_start(void)
{
	u64 address;
	u32 data;
	int vector = irq_alloc(on_interrupt, NULL, 0, "dmar0");

	if (vector < 0)
		return vector;
	deferred_init(&job, read_records);
	irq_msi_message(vector, &address, &data);
	mmio_write32(vtd.regs + REG_FAULT_CONTROL + 4, data);
	mmio_write32(vtd.regs + REG_FAULT_CONTROL + 8, (u32)address);
	mmio_write32(vtd.regs + REG_FAULT_CONTROL + 12, address >> 32);
	mmio_write32(vtd.regs + REG_FAULT_CONTROL, 0);
	deferred_queue(&job); /* for what firmware left */
	return 0;
}
