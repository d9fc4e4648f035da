/* SPDX-License-Identifier: MIT
 *
 * Problem: bring an NVMe controller from reset to disks.
 *
 * Idea: the steps of section 7.6.1: disable, give the admin queues, enable, identify, ask for I/O queues (one a CPU, at
 * most 8), create them, list the namespaces; each active namespace becomes a block device. Admin commands are
 * synchronous, one at a time; at boot, before interrupts of this device are proven, they are polled.
 *
 *      disabled --CC.EN=1, CSTS.RDY=1--> ready --identify, queues--> serving
 *         |                                 |
 *         +---- timeout, CSTS.CFS ----------+--> failed: registers off, the device is left alone
 *
 * Contract: pci_driver of device/pci.h. Specification: see nvme_priv.h.
 *
 * Locks: admin_lock for admin commands; the rest at probe only.
 */
#include <alloc/page.h>
#include <arch/cpu.h>
#include <arch/io.h>
#include <core/clock.h>
#include <core/init.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/printf.h>
#include <lib/string.h>

#include "nvme_priv.h"

#define ADMIN_DEPTH      32
#define ADMIN_TIMEOUT_NS (5 * NSEC_PER_SEC)
#define IDENTIFY_NS      0
#define IDENTIFY_CTRL    1
#define IDENTIFY_ACTIVE  2
#define CLASS_NVME       0x010802
#define PAGES_IN_LIST    512

static unsigned nr_controllers;

/* The doorbell was rung: waits for the one outstanding admin command. */
static int admin_wait(struct nvme *c)
{
	u64 deadline = clock_ns() + ADMIN_TIMEOUT_NS;

	while (!nvme_queue_reap(&c->admin)) {
		if (clock_ns() > deadline)
			return -ETIMEDOUT;
		cpu_relax();
	}
	completion_wait(&c->admin_done);
	return c->admin_status ? fail(EIO, "nvme%u: admin command: status %#x", c->index, c->admin_status) : 0;
}

int nvme_admin(struct nvme *c, struct nvme_command *cmd, void *buffer, u32 *result)
{
	int err;

	if (buffer)
		cmd->prp1 = virt_to_phys(buffer);
	mutex_lock(&c->admin_lock);
	nvme_queue_submit(&c->admin, cmd);
	err = admin_wait(c);
	if (result)
		*result = c->admin_result;
	mutex_unlock(&c->admin_lock);
	return err;
}

static int wait_ready(struct nvme *c, bool ready)
{
	u64 deadline = clock_ns() + c->ready_timeout_ns;

	for (;;) {
		u32 status = mmio_read32(c->regs + REG_CSTS);

		if (status == ~0U || (ready && status & CSTS_FATAL))
			return fail(EIO, "nvme%u: controller failed, status %#x", c->index, status);
		if (!!(status & CSTS_READY) == ready)
			return 0;
		if (clock_ns() > deadline)
			return fail(ETIMEDOUT, "nvme%u: not %s in time", c->index, ready ? "ready" : "disabled");
		cpu_relax();
	}
}

static int enable(struct nvme *c)
{
	u64 cap = mmio_read64(c->regs + REG_CAP);
	int err;

	c->doorbell_stride = 4U << (cap >> 32 & 15);
	c->ready_timeout_ns = ((cap >> 24 & 255) + 1) * 500 * NSEC_PER_MSEC;
	mmio_write32(c->regs + REG_CC, 0);
	err = wait_ready(c, false);
	if (!err)
		err = nvme_queue_init(c, &c->admin, 0, ADMIN_DEPTH);
	if (err)
		return err;
	mmio_write32(c->regs + REG_AQA, (ADMIN_DEPTH - 1) << 16 | (ADMIN_DEPTH - 1));
	mmio_write64(c->regs + REG_ASQ, virt_to_phys(c->admin.sq));
	mmio_write64(c->regs + REG_ACQ, virt_to_phys(c->admin.cq));
	mmio_write32(c->regs + REG_CC, CC_ENABLE | CC_IOSQES(6) | CC_IOCQES(4));
	return wait_ready(c, true);
}

static int identify(struct nvme *c, u32 nsid, u32 what, void *buffer)
{
	struct nvme_command cmd = { .opcode = ADMIN_IDENTIFY, .nsid = nsid, .cdw10 = what };

	return nvme_admin(c, &cmd, buffer, NULL);
}

/* Space-padded text of the identify page. */
static void copy_text(char *dst, const u8 *src, unsigned len)
{
	memcpy(dst, src, len);
	dst[len] = '\0';
	while (len && dst[len - 1] == ' ')
		dst[--len] = '\0';
}

static int identify_controller(struct nvme *c, u8 *page)
{
	int err = identify(c, 0, IDENTIFY_CTRL, page);
	unsigned page_min = 12 + (mmio_read64(c->regs + REG_CAP) >> 48 & 15);
	u16 optional;

	if (err)
		return err;
	copy_text(c->serial, page + 4, 20);
	copy_text(c->model, page + 24, 40);
	copy_text(c->firmware, page + 64, 8);
	c->max_transfer = PAGES_IN_LIST * PAGE_SIZE / 2;
	if (page[77] && page[77] < 16)
		c->max_transfer = min(c->max_transfer, 1U << (page_min + page[77]));
	memcpy(&optional, page + 520, 2);
	c->can_discard = optional & BIT(2);
	c->can_zero = optional & BIT(3);
	c->write_cache = page[525] & 1;
	return 0;
}

static void reap_deferred(struct deferred *d)
{
	nvme_queue_reap(container_of(d, struct nvme_queue, reap));
}

static int create_queue(struct nvme *c, unsigned i)
{
	struct nvme_queue *q = &c->queues[i];
	u16 id = i + 1;
	struct nvme_command cq = { .opcode = ADMIN_CREATE_CQ,
				   .cdw10 = (NVME_DEPTH - 1) << 16 | id,
				   .cdw11 = (u32)id << 16 | 3 };
	struct nvme_command sq = { .opcode = ADMIN_CREATE_SQ,
				   .cdw10 = (NVME_DEPTH - 1) << 16 | id,
				   .cdw11 = (u32)id << 16 | 1 };
	char name[16];
	int err = nvme_queue_init(c, q, id, NVME_DEPTH);

	if (err)
		return err;
	deferred_init(&q->reap, reap_deferred);
	str_format(name, sizeof(name), "nvme%uq%u", c->index, id);
	err = pci_msix_request(c->pci, id, nvme_queue_interrupt, q, i % cpu_count(), "nvme");
	if (err < 0)
		return err;
	err = nvme_admin(c, &cq, q->cq, NULL);
	return err ? err : nvme_admin(c, &sq, q->sq, NULL);
}

static int create_queues(struct nvme *c)
{
	unsigned wanted = min(cpu_count(), (unsigned)NVME_MAX_QUEUES);
	struct nvme_command set = { .opcode = ADMIN_SET_FEATURES,
				    .cdw10 = FEATURE_QUEUES,
				    .cdw11 = (wanted - 1) << 16 | (wanted - 1) };
	u32 granted;
	int err = nvme_admin(c, &set, NULL, &granted);

	if (err)
		return err;
	wanted = min(wanted, min(granted & 0xffff, granted >> 16) + 1);
	wanted = min(wanted, (unsigned)c->pci->msix_vectors - 1);
	for (unsigned i = 0; i < wanted; i++) {
		err = create_queue(c, i);
		if (err)
			return i ? 0 : err;
		c->nr_queues = i + 1;
	}
	return c->nr_queues ? 0 : -ENOSPC;
}

static void fill_limits(struct nvme_namespace *ns)
{
	struct block_limits *l = &ns->block.limits;

	l->logical_block = l->physical_block = 1U << ns->block_shift;
	l->max_bytes = ns->ctrl->max_transfer;
	l->max_vecs = 64;
	l->boundary = PAGE_SIZE;
	l->write_cache = ns->ctrl->write_cache;
	l->has_fua = true;
	l->max_discard_bytes = ns->ctrl->can_discard ? 1U << 30 : 0;
	l->max_zeroes_bytes = ns->ctrl->can_zero ? 65536U << ns->block_shift : 0;
}

static int add_namespace(struct nvme *c, u32 nsid, u8 *page)
{
	struct nvme_namespace *ns;
	u64 blocks;
	u32 format;
	int err = identify(c, nsid, IDENTIFY_NS, page);

	if (err)
		return err;
	memcpy(&blocks, page, 8);
	memcpy(&format, page + 128 + 4 * (page[26] & 15), 4);
	if (!blocks || (format >> 16 & 255) < SECTOR_SHIFT || (format >> 16 & 255) > PAGE_SHIFT || (format & 0xffff))
		return fail(EOPNOTSUPP, "nvme%un%u: block format %#x", c->index, nsid, format);
	ns = kzalloc(sizeof(*ns), ALLOC_KERNEL);
	if (!ns)
		return -ENOMEM;
	ns->ctrl = c;
	ns->id = nsid;
	ns->block_shift = format >> 16 & 255;
	ns->block.priv = ns;
	ns->block.driver = &nvme_block_driver;
	ns->block.sectors = blocks << (ns->block_shift - SECTOR_SHIFT);
	fill_limits(ns);
	str_format(ns->block.name, sizeof(ns->block.name), "nvme%un%u", c->index, nsid);
	/* A ring of n entries holds n - 1 commands. */
	err = block_prepare(&ns->block, c->nr_queues, NVME_DEPTH - 1);
	if (err) {
		kfree(ns);
		return err;
	}
	for (unsigned i = 0; i < c->nr_queues; i++) {
		ns->block.hwqs[i].priv = &c->queues[i];
		c->queues[i].hwq = &ns->block.hwqs[i];
	}
	return block_add(&ns->block);
}

/* One namespace a controller for now: tags are the namespace's (CAVEATS). */
static int add_namespaces(struct nvme *c, u8 *page)
{
	u32 first;
	int err = identify(c, 0, IDENTIFY_ACTIVE, page);

	if (err)
		return err;
	memcpy(&first, page, 4);
	return first ? add_namespace(c, first, page) : 0;
}

static bool match(const struct pci_dev *d)
{
	return d->class == CLASS_NVME;
}

static int start(struct nvme *c, u8 *page)
{
	int err = pci_msix_enable(c->pci);

	if (!err)
		err = enable(c);
	if (!err)
		err = identify_controller(c, page);
	if (!err)
		err = create_queues(c);
	return err ? err : add_namespaces(c, page);
}

static int probe(struct pci_dev *d)
{
	struct nvme *c = kzalloc(sizeof(*c), ALLOC_KERNEL);
	struct page *page = page_alloc(0, ALLOC_ZERO, NULL);
	int err = c && page ? 0 : -ENOMEM;

	if (!err) {
		pci_enable(d);
		c->pci = d;
		d->priv = c;
		c->index = nr_controllers++;
		mutex_init(&c->admin_lock, RANK_DEVICE);
		completion_init(&c->admin_done);
		c->regs = pci_map_bar(d, 0, 0, 0);
		err = c->regs ? start(c, page_virt(page)) : -ENODEV;
		if (err && c->regs)
			mmio_write32(c->regs + REG_CC, 0); /* it must not touch our memory any more */
	}
	if (page)
		page_put(page);
	return err; /* after a failure the controller's queues are kept: it may still own them */
}

static struct pci_driver driver = { .name = "nvme", .match = match, .probe = probe };

static void nvme_register(void)
{
	pci_register(&driver);
}
PART_INIT(core, nvme_register);
