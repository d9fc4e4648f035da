/* SPDX-License-Identifier: MIT
 *
 * Problem: requests become commands in a port's slots, and come back.
 *
 * Idea: a tag of the block layer is a slot; its table, a page, has room for the longest request. Where disk and HBA
 * can, reads and writes are queued in the disk (FPDMA QUEUED, the tag is the slot's number) and are done when their bit
 * in PxSACT goes. All else is done when its bit in PxCI goes, and goes alone: the specification forbids to mix the two,
 * and unqueued commands the HBA sends one after another anyhow. A command that has to wait is refused with -EBUSY; the
 * block layer keeps it in front of the others, so none starves.
 *
 *      bio -> queue_bio: table, pending -> commit: PxSACT, PxCI, issued -> interrupt or poll -> reap -> block_complete
 *
 * Contract: the block_driver of block/block.h. Errors, and requests that are overdue, are port.c's: reap stops the
 * queue and calls for it.
 *
 * Locks: hwq->lock covers slots and the registers PxSACT and PxCI; completions are told after it is dropped.
 */
#include <alloc/page.h>
#include <arch/io.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/string.h>

#include "ahci_priv.h"

#define FIS_TO_DEVICE  0x27
#define FIS_WORDS      5
#define FIS_IS_COMMAND 0x80
#define RANGE_SECTORS  65535 /* most of a range that is trimmed */
#define RANGES         64    /* in a sector of them */

static struct ahci_port *port_of(struct block_hwq *h)
{
	return h->dev->priv;
}

void ahci_put_command(struct ahci_port *p, unsigned slot, const struct ata_task *t, u16 regions, bool write)
{
	u8 *f = p->tables[slot]->fis;

	f[0] = FIS_TO_DEVICE;
	f[1] = FIS_IS_COMMAND;
	f[2] = t->command;
	f[3] = (u8)t->feature;
	f[7] = t->device;
	f[11] = t->feature >> 8;
	f[12] = (u8)t->count;
	f[13] = t->count >> 8;
	for (unsigned i = 0; i < 3; i++) {
		f[4 + i] = (u8)(t->lba >> 8 * i);
		f[8 + i] = (u8)(t->lba >> (24 + 8 * i));
	}
	p->memory->list[slot] = (struct ahci_header){ .flags = FIS_WORDS | (write ? HEADER_WRITE : 0),
						      .regions = regions,
						      .table = virt_to_phys(p->tables[slot]) };
}

static u16 map_data(struct ahci_table *t, const struct bio *b)
{
	for (unsigned i = 0; i < b->nr_vecs; i++)
		t->regions[i] = (struct ahci_region){ .address = page_phys(b->vecs[i].page) + b->vecs[i].offset,
						      .last = b->vecs[i].bytes - 1 };
	return b->nr_vecs;
}

/* The sector of ranges lies where the regions of a long request would be. */
static u16 map_ranges(struct ahci_table *t, u64 block, u64 blocks)
{
	u64 *ranges = (u64 *)&t->regions[AHCI_REGIONS / 2];

	memset(ranges, 0, RANGES * sizeof(*ranges));
	for (unsigned i = 0; blocks && i < RANGES; i++) {
		u64 n = min(blocks, (u64)RANGE_SECTORS);

		ranges[i] = n << 48 | block;
		block += n;
		blocks -= n;
	}
	t->regions[0] = (struct ahci_region){ .address = virt_to_phys(ranges), .last = SECTOR_SIZE - 1 };
	return 1;
}

static struct ata_task transfer(const struct ahci_port *p, const struct bio *b, bool queued)
{
	unsigned size = p->block.limits.logical_block;
	bool write = b->op == BLOCK_WRITE, fua = write && b->flags & BIO_FUA;
	struct ata_task t = { .device = ATA_LBA, .lba = b->sector / (size >> SECTOR_SHIFT) };
	u16 blocks = (u16)(b->bytes / size);

	if (queued) {
		t.command = write ? ATA_WRITE_QUEUED : ATA_READ_QUEUED;
		t.feature = blocks;
		t.count = (u16)(b->tag << 3);
		t.device |= fua ? ATA_FUA : 0;
	} else {
		t.command = fua ? ATA_WRITE_DMA_FUA_EXT : write ? ATA_WRITE_DMA_EXT : ATA_READ_DMA_EXT;
		t.count = blocks;
	}
	return t;
}

static int queue_bio(struct block_hwq *h, struct bio *b)
{
	struct ahci_port *p = port_of(h);
	enum block_op op = block_device_op(b);
	bool moves = op == BLOCK_READ || op == BLOCK_WRITE, queued = moves && p->ncq && !p->alone;
	unsigned size = p->block.limits.logical_block;
	struct ata_task t;
	u16 regions = 0;

	if (READ_ONCE(p->dead))
		return -EIO;
	if (p->issued | p->pending && !(queued && p->queued))
		return -EBUSY;
	if (moves) {
		t = transfer(p, b, queued);
		regions = map_data(p->tables[b->tag], b);
	} else if (op == BLOCK_DISCARD) {
		t = (struct ata_task){
			.command = ATA_DATA_SET_MANAGEMENT, .device = ATA_LBA, .feature = ATA_TRIM, .count = 1
		};
		regions = map_ranges(p->tables[b->tag], b->sector / (size >> SECTOR_SHIFT), b->bytes / size);
	} else if (op == BLOCK_FLUSH) {
		t = (struct ata_task){ .command = ATA_FLUSH_CACHE_EXT, .device = ATA_LBA };
	} else {
		return -EOPNOTSUPP;
	}
	ahci_put_command(p, b->tag, &t, regions, op != BLOCK_READ);
	p->queued = queued;
	p->pending |= 1U << b->tag;
	return 0;
}

static void commit(struct block_hwq *h)
{
	struct ahci_port *p = port_of(h);
	u32 slots = p->pending;

	assert_held(&h->lock);
	if (!slots)
		return;
	p->pending = 0;
	p->issued |= slots;
	smp_wmb();
	if (p->queued)
		mmio_write32(p->regs + PORT_SACT, slots);
	mmio_write32(p->regs + PORT_CI, slots);
}

/* Whether the port has stopped at an error. Of a queued command the task file tells, once the disk has sent it. */
static bool has_failed(struct ahci_port *p)
{
	u32 events = (u32)atomic_xchg(&p->events, 0);

	return events & PORT_ERRORS || (events & PORT_SDB && mmio_read32(p->regs + PORT_TFD) & TFD_ERR);
}

static int reap(struct ahci_port *p)
{
	struct block_hwq *h = &p->block.hwqs[0];
	struct bio *finished[AHCI_SLOTS];
	ulong irq = spin_lock_irqsave(&h->lock);
	unsigned n = 0;
	bool failed = false;

	if (!p->halted) {
		u32 done;

		failed = p->halted = has_failed(p);
		h->stopped |= failed; /* before a command is put that recovery would take for one under way */
		done = p->issued & ~(mmio_read32(p->regs + PORT_SACT) | mmio_read32(p->regs + PORT_CI));
		if (failed && !p->queued)
			done = 0; /* an HBA may clear the failed one's bit */
		p->issued &= ~done;
		p->alone -= p->alone && done;
		for (; done; done &= done - 1)
			finished[n++] = block_by_tag(h, (unsigned)__builtin_ctz(done));
	}
	spin_unlock_irqrestore(&h->lock, irq);
	if (failed)
		work_queue(&p->recover);
	for (unsigned i = 0; i < n; i++)
		if (finished[i])
			block_complete(finished[i], 0);
	return (int)n;
}

static int poll(struct block_hwq *h)
{
	return reap(port_of(h));
}

void ahci_reap_deferred(struct deferred *d)
{
	reap(container_of(d, struct ahci_port, reap));
}

void ahci_interrupt(struct ahci_port *p)
{
	u32 events = mmio_read32(p->regs + PORT_IS);

	mmio_write32(p->regs + PORT_IS, events);
	atomic_or(&p->events, (int)events);
	deferred_queue(&p->reap);
}

static void timeout(struct block_hwq *h, struct bio *b)
{
	struct ahci_port *p = port_of(h);

	WRITE_ONCE(p->overdue, true);
	work_queue(&p->recover);
}

const struct block_driver ahci_block_driver = {
	.queue = queue_bio, .commit = commit, .poll = poll, .timeout = timeout
};
