/* SPDX-License-Identifier: MIT
 *
 * Problem: a port's engine is started, stopped at an error, and brought back without loss.
 *
 * Idea: at an error the HBA stops fetching commands, and clearing PxCMD.ST drops what it had (section 6.2.2). So the
 * queue is halted, the engine stopped and started, and what was under way is sent again, but for the command that
 * failed. Which one that was, an unqueued command's error says by itself; of queued commands a log of the disk tells.
 * A disk without that log gets the same commands once more, one by one. A request that is overdue, a disk that stays
 * busy: the link is reset (COMRESET), and all of it is sent again.
 *
 *      running --error, overdue--> halted --ST = 0--> stopped --(COMRESET), ST = 1--> running
 *                                                        '--no link, no answer--> dead: requests fail
 *
 * Contract: ahci_priv.h. Everything here sleeps. Sources: there; the log is ACS-3, 9.13 (NCQ Command Error log).
 *
 * Locks: hwq->lock for slots. One recovery at a time: it is one work.
 */
#include <arch/cpu.h>
#include <arch/io.h>
#include <core/clock.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/string.h>
#include <task/sched.h>
#include <task/task.h>

#include "ahci_priv.h"

#define SPIN_NS      (100 * NSEC_PER_USEC)
#define ENGINE_MS    500
#define LINK_MS      1000
#define READY_MS     10000 /* a disk that spins up */
#define LOG_MS       5000
#define RESET_MS     2 /* COMRESET is held 1 ms at least */
#define ALONE        64
#define LOG_UNQUEUED BIT(7)
#define ALL          (~0U)

int ahci_port_wait(struct ahci_port *p, unsigned reg, u32 mask, u32 value, unsigned ms)
{
	u64 start = clock_ns();

	for (;;) {
		u64 waited = clock_ns() - start;

		if ((mmio_read32(p->regs + reg) & mask) == value)
			return 0;
		if (waited > ms * NSEC_PER_MSEC)
			return -ETIMEDOUT;
		if (waited > SPIN_NS)
			sched_nap(waited / 8);
		else
			cpu_relax();
	}
}

static void change(struct ahci_port *p, unsigned reg, u32 clear, u32 set)
{
	mmio_write32(p->regs + reg, (mmio_read32(p->regs + reg) & ~clear) | set);
}

int ahci_port_stop(struct ahci_port *p)
{
	change(p, PORT_CMD, CMD_START, 0);
	return ahci_port_wait(p, PORT_CMD, CMD_LIST_RUNNING, 0, ENGINE_MS);
}

int ahci_port_start(struct ahci_port *p)
{
	mmio_write32(p->regs + PORT_SERR, ALL);
	mmio_write32(p->regs + PORT_IS, ALL);
	change(p, PORT_CMD, 0, CMD_FIS);
	if (ahci_port_wait(p, PORT_SSTS, SSTS_DET, DET_UP, LINK_MS))
		return fail(ENODEV, "ata%u: no link", p->host + 1);
	if (ahci_port_wait(p, PORT_TFD, TFD_BSY | TFD_DRQ, 0, READY_MS))
		return fail(ETIMEDOUT, "ata%u: stays busy", p->host + 1);
	mmio_write32(p->regs + PORT_SERR, ALL); /* as the link came up */
	mmio_write32(p->regs + PORT_IS, ALL);
	change(p, PORT_CMD, 0, CMD_START);
	return 0;
}

void ahci_port_reset(struct ahci_port *p)
{
	change(p, PORT_SCTL, SSTS_DET, 1);
	sched_nap(RESET_MS * NSEC_PER_MSEC);
	change(p, PORT_SCTL, SSTS_DET, 0);
}

int ahci_command(struct ahci_port *p, const struct ata_task *t, unsigned ms)
{
	void *data = p->memory->data;

	memset(data, 0, sizeof(p->memory->data));
	p->tables[0]->regions[0] = (struct ahci_region){ .address = virt_to_phys(data), .last = SECTOR_SIZE - 1 };
	ahci_put_command(p, 0, t, 1, false);
	smp_wmb();
	mmio_write32(p->regs + PORT_CI, 1);
	for (u64 start = clock_ns(); mmio_read32(p->regs + PORT_CI) & 1;) {
		if (mmio_read32(p->regs + PORT_IS) & PORT_ERRORS)
			break;
		if (clock_ns() - start > ms * NSEC_PER_MSEC)
			return -ETIMEDOUT;
		cpu_relax();
	}
	return mmio_read32(p->regs + PORT_IS) & PORT_ERRORS || mmio_read32(p->regs + PORT_TFD) & TFD_ERR ? -EIO : 0;
}

/* ---- recovery -----------------------------------------------------------------------------------------------------
 */

/* What became of the commands that were under way. */
struct loss {
	u32 slots;
	int failed; /* the slot whose command failed; -1: not known */
	int status; /* its error; 0: it may go again */
};

static bool is_overdue(struct ahci_port *p)
{
	struct block_hwq *h = &p->block.hwqs[0];
	u64 now = clock_ns();

	assert_held(&h->lock);
	for (unsigned tag = 0; tag < h->depth; tag++)
		if (p->issued >> tag & 1 && h->by_tag[tag] && now - h->by_tag[tag]->issue_ns > p->hba->timeout_ns)
			return true;
	return false;
}

/* Takes what is under way from the port. False: there is nothing to recover from. */
static bool halt(struct ahci_port *p, struct loss *l, bool *overdue)
{
	struct block_hwq *h = &p->block.hwqs[0];
	ulong irq;
	bool needed;

	block_stop_queue(h);
	irq = spin_lock_irqsave(&h->lock);
	*overdue = p->overdue && is_overdue(p);
	p->overdue = false;
	needed = p->halted || *overdue;
	if (needed) {
		p->halted = true;
		l->slots = p->issued; /* nothing is pending: the queue was stopped under its lock */
		p->issued = 0;
	}
	spin_unlock_irqrestore(&h->lock, irq);
	if (!needed)
		block_start_queue(h);
	return needed;
}

/* The engine runs again, after a reset of the link if it must be. */
static int restart(struct ahci_port *p, bool reset)
{
	if (ahci_port_stop(p) || mmio_read32(p->regs + PORT_TFD) & (TFD_BSY | TFD_DRQ))
		reset = true;
	if (reset)
		ahci_port_reset(p);
	return ahci_port_start(p);
}

/* Asks the disk which of its queued commands failed. The log also lets it take commands again. */
static int ask_for_failed(struct ahci_port *p, struct loss *l)
{
	static const struct ata_task log = {
		.command = ATA_READ_LOG_EXT, .device = ATA_LBA, .count = 1, .lba = LOG_QUEUED
	};
	const u8 *data = p->memory->data;

	if (ahci_command(p, &log, LOG_MS)) {
		p->alone = ALONE;
		return restart(p, true);
	}
	if (!(data[0] & LOG_UNQUEUED)) {
		l->failed = data[0] & 31;
		l->status = data[3] & ERROR_CRC ? 0 : -EIO;
	}
	return 0;
}

static int recover_port(struct ahci_port *p, struct loss *l, bool overdue)
{
	u32 tfd = mmio_read32(p->regs + PORT_TFD);
	int err = restart(p, overdue);

	if (err || overdue || !(tfd & TFD_ERR) || !l->slots)
		return err;
	if (p->queued)
		return ask_for_failed(p, l);
	l->failed = __builtin_ctz(l->slots);
	l->status = tfd >> 8 & ERROR_CRC ? 0 : -EIO;
	return 0;
}

static void give_back(struct ahci_port *p, const struct loss *l, int otherwise)
{
	struct block_hwq *h = &p->block.hwqs[0];

	for (u32 left = l->slots; left; left &= left - 1) {
		int slot = __builtin_ctz(left);
		struct bio *b = block_by_tag(h, (unsigned)slot);

		if (!b)
			continue;
		if (slot == l->failed && l->status)
			block_complete(b, l->status);
		else if (p->dead || !block_requeue(b))
			block_complete(b, otherwise);
	}
}

void ahci_recover(struct work *w)
{
	struct ahci_port *p = container_of(w, struct ahci_port, recover);
	struct block_hwq *h = &p->block.hwqs[0];
	struct loss l = { .failed = -1 };
	bool overdue;
	ulong irq;
	int err;

	if (p->dead || !halt(p, &l, &overdue))
		return;
	mmio_write32(p->regs + PORT_IE, 0);
	err = recover_port(p, &l, overdue);
	if (err) {
		WRITE_ONCE(p->dead, true);
		(void)!ahci_port_stop(p);
		log_err("%s: does not come back: error %d", p->block.name, -err);
	} else {
		log_warn("%s: port restarted: %s", p->block.name,
			 overdue         ? "a request is overdue"
			 : l.failed >= 0 ? "a request failed"
					 : "an error, of a request that the disk does not name");
	}
	give_back(p, &l, overdue ? -ETIMEDOUT : -EIO);
	irq = spin_lock_irqsave(&h->lock);
	atomic_set(&p->events, 0);
	p->halted = false;
	spin_unlock_irqrestore(&h->lock, irq);
	mmio_write32(p->regs + PORT_IS, ALL);
	if (!p->dead)
		mmio_write32(p->regs + PORT_IE, PORT_DONE | PORT_ERRORS);
	block_start_queue(h); /* a dead one's requests fail as they are sent */
}
