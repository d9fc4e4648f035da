/* SPDX-License-Identifier: MIT
 *
 * Problem: bring an NVMe controller from reset to disks.
 *
 * Idea: the steps of section 7.6.1: disable, give the admin queues, enable, identify, ask for I/O queues (one a CPU, at
 * most 8), create them, list the namespaces; each active namespace becomes a block device. Commands that are not bios'
 * are synchronous, one at a time, and polled. A request that is overdue is aborted; one that does not come back
 * although the controller was told so leads to a reset: the controller is switched off, what it had is queued again, it
 * is set up as before, and all goes on. nvme.poll_queues=N makes N further queues without interrupts, for requests
 * whose waiter polls.
 *
 *      disabled --CC.EN=1, CSTS.RDY=1--> ready --identify, queues--> live --overdue, NVME_IOCTL_RESET--> resetting
 *         '---- timeout, CSTS.CFS: registers off, left alone          |              live again or dead <---'
 *                                                                     '--pulled out--> gone
 *
 * Contract: pci_driver of device/pci.h. Specification: see nvme_priv.h.
 *
 * Locks: c->lock around commands that are not bios', and resets. nvme.io_timeout=SECONDS sets when a request is
 * overdue.
 */
#include <alloc/kmap.h>
#include <alloc/page.h>
#include <arch/boot.h>
#include <arch/cpu.h>
#include <arch/io.h>
#include <core/clock.h>
#include <core/init.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/printf.h>
#include <lib/string.h>
#include <task/sched.h>
#include <task/task.h>

#include "nvme_priv.h"

#define ADMIN_DEPTH      32
#define ADMIN_TIMEOUT_NS (5 * NSEC_PER_SEC)
#define IO_TIMEOUT_S     30
#define FINISH_NS        (2 * NSEC_PER_SEC)
#define IDENTIFY_NS      0
#define IDENTIFY_CTRL    1
#define IDENTIFY_ACTIVE  2
#define CLASS_NVME       0x010802
#define PAGES_IN_LIST    512

static int admin(struct nvme *c, struct nvme_command *cmd, u32 *result)
{
	int status = nvme_command(&c->admin, cmd, ADMIN_TIMEOUT_NS, result);

	return status > 0 ? fail(EIO, "nvme%u: command %#x: status %#x", c->index, cmd->opcode, status) : status;
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
	if (!err && !c->admin.sq)
		err = nvme_queue_alloc(c, &c->admin, 0, ADMIN_DEPTH);
	if (err)
		return err;
	nvme_queue_begin(&c->admin);
	c->queue_depth = min((u32)(cap & 0xffff) + 1, (u32)NVME_DEPTH);
	mmio_write32(c->regs + REG_AQA, (ADMIN_DEPTH - 1) << 16 | (ADMIN_DEPTH - 1));
	mmio_write64(c->regs + REG_ASQ, virt_to_phys(c->admin.sq));
	mmio_write64(c->regs + REG_ACQ, virt_to_phys(c->admin.cq));
	mmio_write32(c->regs + REG_CC, CC_ENABLE | CC_IOSQES(6) | CC_IOCQES(4));
	return wait_ready(c, true);
}

int nvme_identify(struct nvme *c, u32 nsid, u32 what, void *page)
{
	struct nvme_command cmd = { .opcode = ADMIN_IDENTIFY, .nsid = nsid, .cdw10 = what, .prp1 = virt_to_phys(page) };

	return admin(c, &cmd, NULL);
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
	int err = nvme_identify(c, 0, IDENTIFY_CTRL, page);
	unsigned page_min = 12 + (mmio_read64(c->regs + REG_CAP) >> 48 & 15);
	u16 optional;

	if (err)
		return err;
	copy_text(c->serial, page + 4, 20);
	copy_text(c->model, page + 24, 40);
	copy_text(c->firmware, page + 64, 8);
	copy_text(c->nqn, page + 768, sizeof(c->nqn) - 1);
	c->cntlid = page[78] | page[79] << 8;
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

/* The admin queue has the first one; it is polled, so the only one of a small controller can serve a queue, too. */
static unsigned vector_of(const struct nvme *c, unsigned queue_id)
{
	return min(queue_id, c->pci->msix_vectors - 1U);
}

/* Memory and, unless it is polled, an interrupt for a queue; the controller knows nothing of it yet. */
static int alloc_queue(struct nvme *c, unsigned i, bool polled)
{
	struct nvme_queue *q = &c->queues[i];
	u16 id = i + 1;
	int err = nvme_queue_alloc(c, q, id, (u16)c->queue_depth);

	if (err)
		return err;
	q->polled = polled;
	deferred_init(&q->reap, reap_deferred);
	if (polled)
		return 0;
	err = pci_msix_request(c->pci, vector_of(c, id), nvme_queue_interrupt, q, i % cpu_count(), "nvme");
	return min(err, 0);
}

static int create_queue(struct nvme *c, struct nvme_queue *q)
{
	struct nvme_command cq = { .opcode = ADMIN_CREATE_CQ,
				   .prp1 = virt_to_phys(q->cq),
				   .cdw10 = (u32)(q->depth - 1) << 16 | q->id,
				   .cdw11 = q->polled ? CQ_CONTIGUOUS
						      : vector_of(c, q->id) << 16 | CQ_INTERRUPT | CQ_CONTIGUOUS };
	struct nvme_command sq = { .opcode = ADMIN_CREATE_SQ,
				   .prp1 = virt_to_phys(q->sq),
				   .cdw10 = (u32)(q->depth - 1) << 16 | q->id,
				   .cdw11 = (u32)q->id << 16 | 1 };
	int err;

	nvme_queue_begin(q);
	err = admin(c, &cq, NULL);
	return err ? err : admin(c, &sq, NULL);
}

static int ask_for_queues(struct nvme *c, unsigned wanted, unsigned *granted)
{
	struct nvme_command set = { .opcode = ADMIN_SET_FEATURES,
				    .cdw10 = FEATURE_QUEUES,
				    .cdw11 = (wanted - 1) << 16 | (wanted - 1) };
	u32 answer = 0;
	int err = admin(c, &set, &answer);

	*granted = min(wanted, min(answer & 0xffff, answer >> 16) + 1);
	return err;
}

/* At least one of them has interrupts. */
static int create_queues(struct nvme *c)
{
	unsigned poll = boot_param_u64("nvme.poll_queues", NVME_MAX_QUEUES - 1, 0);
	unsigned wanted = min(cpu_count() + poll, (unsigned)NVME_MAX_QUEUES);
	int err = ask_for_queues(c, wanted, &wanted);

	if (err)
		return err;
	poll = min(poll, wanted - 1);
	wanted = min(wanted, max((unsigned)c->pci->msix_vectors - 1, 1U) + poll);
	for (unsigned i = 0; i < wanted; i++) {
		err = alloc_queue(c, i, i >= wanted - poll);
		if (!err)
			err = create_queue(c, &c->queues[i]);
		if (err)
			break;
		c->nr_queues = i + 1;
	}
	c->nr_poll = c->nr_queues > wanted - poll ? c->nr_queues - (wanted - poll) : 0;
	return c->nr_queues ? 0 : err ? err : -ENOSPC;
}

static void fill_limits(struct nvme_namespace *ns)
{
	struct block_limits *l = &ns->block.limits;

	l->logical_block = l->physical_block = 1U << ns->block_shift;
	l->max_bytes = ns->ctrl->max_transfer;
	l->max_vecs = 256;
	l->boundary = PAGE_SIZE;
	l->write_cache = ns->ctrl->write_cache;
	l->has_fua = true;
	l->max_discard_bytes = ns->ctrl->can_discard ? 1U << 30 : 0;
	l->max_zeroes_bytes = ns->ctrl->can_zero ? 65536U << ns->block_shift : 0;
	l->timeout_ns = ns->ctrl->timeout_ns;
}

/* A page of addresses for each tag: the longest transfer fits. */
static int alloc_lists(struct nvme_namespace *ns, unsigned depth)
{
	ns->depth = depth;
	ns->told_ns = kcalloc(ns->ctrl->nr_queues * depth, sizeof(*ns->told_ns), ALLOC_KERNEL);
	if (!ns->told_ns)
		return -ENOMEM;
	for (unsigned i = 0; i < ns->ctrl->nr_queues; i++) {
		ns->lists[i] = kcalloc(depth, sizeof(*ns->lists[i]), ALLOC_KERNEL);
		for (unsigned tag = 0; ns->lists[i] && tag < depth; tag++) {
			struct page *p = page_alloc(0, ALLOC_ZERO, NULL);

			if (!p)
				return -ENOMEM;
			ns->lists[i][tag] = page_virt(p);
		}
		if (!ns->lists[i])
			return -ENOMEM;
	}
	return 0;
}

/* Blocks and the exponent of their size, from the identify page. */
static int read_format(struct nvme_namespace *ns, const u8 *page, u64 *blocks)
{
	u32 format;
	unsigned shift;

	memcpy(blocks, page, 8);
	memcpy(&format, page + 128 + 4 * (page[26] & 15), 4);
	shift = format >> 16 & 255;
	if (!*blocks || shift < SECTOR_SHIFT || shift > PAGE_SHIFT || (format & 0xffff))
		return fail(EOPNOTSUPP, "nvme%un%u: block format %#x", ns->ctrl->index, ns->id, format);
	ns->block_shift = (u8)shift;
	return 0;
}

void nvme_put(struct nvme *c)
{
	if (!refcount_dec_and_test(&c->refs))
		return;
	for (unsigned i = 0; i < c->nr_queues; i++)
		nvme_queue_free(&c->queues[i]);
	nvme_queue_free(&c->admin);
	io_unmap(c->regs);
	kfree(c);
}

void nvme_namespace_free(struct block_dev *d)
{
	struct nvme_namespace *ns = d->priv;

	for (unsigned i = 0; i < ns->ctrl->nr_queues; i++) {
		for (unsigned tag = 0; tag < ns->depth; tag++)
			page_put(virt_to_page(ns->lists[i][tag]));
		kfree(ns->lists[i]);
	}
	kfree(ns->told_ns);
	nvme_put(ns->ctrl);
	kfree(ns);
}

/* A failure after this point leaves what is allocated: the controller may know of it. */
static int add_namespace(struct nvme *c, u32 nsid, unsigned depth, u8 *page)
{
	struct nvme_namespace *ns = kzalloc(sizeof(*ns), ALLOC_KERNEL);
	u64 blocks;
	int err = ns ? nvme_identify(c, nsid, IDENTIFY_NS, page) : -ENOMEM;

	if (err) {
		kfree(ns);
		return err;
	}
	ns->ctrl = c;
	ns->id = nsid;
	ns->slot = c->nr_ns;
	err = read_format(ns, page, &blocks);
	if (!err)
		err = alloc_lists(ns, depth);
	if (err)
		return err;
	ns->block.priv = ns;
	ns->block.driver = &nvme_block_driver;
	ns->block.sectors = blocks << (ns->block_shift - SECTOR_SHIFT);
	fill_limits(ns);
	str_format(ns->block.name, sizeof(ns->block.name), "nvme%un%u", c->index, nsid);
	err = block_prepare(&ns->block, c->nr_queues, depth);
	if (err)
		return err;
	refcount_inc(&c->refs);
	ns->block.nr_poll = c->nr_poll;
	for (unsigned i = 0; i < c->nr_queues; i++)
		ns->block.hwqs[i].priv = &c->queues[i];
	c->ns[c->nr_ns++] = ns;
	err = block_add(&ns->block);
	if (!err)
		nvme_namespace_files_add(ns);
	return err;
}

/* The active ones, in order; they share the tags of each ring. */
static int add_namespaces(struct nvme *c, u8 *page)
{
	u32 ids[NVME_MAX_NS];
	unsigned n = 0, depth;
	int err = nvme_identify(c, 0, IDENTIFY_ACTIVE, page);

	if (err)
		return err;
	memcpy(ids, page, sizeof(ids));
	while (n < NVME_MAX_NS && ids[n])
		n++;
	depth = n ? min(min((unsigned)NVME_TAGS, c->queue_depth - 4) / n, (unsigned)NVME_NS_TAGS) : 0;
	for (unsigned i = 0; i < n; i++)
		if (add_namespace(c, ids[i], max(depth, 1U), page))
			log_warn("nvme%un%u: cannot be used", c->index, ids[i]);
	return 0;
}

/* ---- overdue, and reset ------------------------------------------------------------------------------------------
 */

static void stop_all(struct nvme *c)
{
	for (unsigned n = 0; n < c->nr_ns; n++)
		for (unsigned i = 0; i < c->nr_queues; i++)
			block_stop_queue(&c->ns[n]->block.hwqs[i]);
}

static void start_all(struct nvme *c)
{
	for (unsigned n = 0; n < c->nr_ns; n++)
		for (unsigned i = 0; i < c->nr_queues; i++)
			block_start_queue(&c->ns[n]->block.hwqs[i]);
}

/* The controller is off: nobody else completes these any more. */
static void take_back(struct nvme *c)
{
	for (unsigned n = 0; n < c->nr_ns; n++)
		for (unsigned i = 0; i < c->nr_queues; i++) {
			struct block_hwq *h = &c->ns[n]->block.hwqs[i];

			for (unsigned tag = 0; tag < h->depth; tag++) {
				struct bio *b = block_by_tag(h, tag);

				if (b && !block_requeue(b))
					block_complete(b, -ETIMEDOUT);
			}
		}
}

static int start_again(struct nvme *c)
{
	unsigned granted;
	int err = enable(c);

	if (!err)
		err = ask_for_queues(c, c->nr_queues, &granted);
	if (!err && granted < c->nr_queues)
		err = fail(EIO, "nvme%u: fewer queues than before", c->index);
	for (unsigned i = 0; i < c->nr_queues && !err; i++)
		err = create_queue(c, &c->queues[i]);
	return err;
}

int nvme_reset(struct nvme *c)
{
	int err;

	assert(mutex_is_held(&c->lock));
	if (c->state == NVME_GONE)
		return -ENODEV;
	WRITE_ONCE(c->state, NVME_RESETTING);
	stop_all(c);
	for (unsigned i = 0; i < c->nr_queues; i++)
		nvme_queue_reap(&c->queues[i]); /* what is done is done */
	mmio_write32(c->regs + REG_CC, 0);
	err = wait_ready(c, false);
	for (unsigned i = 0; i < c->nr_queues; i++)
		nvme_queue_stop(&c->queues[i]);
	take_back(c);
	if (!err)
		err = start_again(c);
	WRITE_ONCE(c->state, err ? NVME_DEAD : NVME_LIVE);
	if (err)
		log_err("nvme%u: does not come back after a reset: error %d", c->index, -err);
	else
		log_info("nvme%u: was reset", c->index);
	start_all(c); /* a dead one's requests fail as they are sent */
	return err ? -EIO : 0;
}

/* When the request of this tag was sent; 0: there is none. */
static u64 sent_ns(struct block_hwq *h, unsigned tag)
{
	ulong irq = spin_lock_irqsave(&h->lock);
	struct bio *b = block_by_tag(h, tag);
	u64 sent = b ? b->issue_ns : 0;

	spin_unlock_irqrestore(&h->lock, irq);
	return sent;
}

/* The controller answers; the request itself comes back as any other, in its own time. */
static int abort_command(struct nvme_namespace *ns, unsigned queue, unsigned tag)
{
	struct nvme_command cmd = { .opcode = ADMIN_ABORT,
				    .cdw10 = (u32)NVME_ID(ns->slot, tag) << 16 | ns->ctrl->queues[queue].id };
	u32 result = 0;
	int err = admin(ns->ctrl, &cmd, &result);

	if (!err)
		log_warn("%s: a request of queue %u is overdue: %s", ns->block.name, queue,
			 result & 1 ? "the controller cannot abort it" : "aborted");
	return err;
}

/* False: this request will not come back without a reset. */
static bool look_after(struct nvme_namespace *ns, unsigned queue, unsigned tag)
{
	u64 sent = sent_ns(&ns->block.hwqs[queue], tag), now = clock_ns(), *told;

	if (!sent || now - sent <= ns->ctrl->timeout_ns)
		return true;
	told = &ns->told_ns[queue * ns->depth + tag];
	if (*told > sent) /* the block layer looks every quarter; looks of several queues come together */
		return now - *told <= ns->ctrl->timeout_ns / 8;
	*told = now;
	return !abort_command(ns, queue, tag);
}

static bool look_after_all(struct nvme *c)
{
	for (unsigned n = 0; n < c->nr_ns; n++)
		for (unsigned i = 0; i < c->nr_queues; i++)
			for (unsigned tag = 0; tag < c->ns[n]->depth; tag++)
				if (!look_after(c->ns[n], i, tag))
					return false;
	return true;
}

static void overdue_work(struct work *w)
{
	struct nvme *c = container_of(w, struct nvme, overdue);

	mutex_lock(&c->lock);
	if (c->state == NVME_LIVE && !look_after_all(c))
		(void)!nvme_reset(c);
	mutex_unlock(&c->lock);
}

void nvme_rescan(struct nvme *c)
{
	struct page *page = c->state == NVME_GONE ? NULL : page_alloc(0, ALLOC_ZERO, NULL);

	for (unsigned n = 0; page && n < c->nr_ns; n++) {
		struct nvme_namespace *ns = c->ns[n];
		u8 shift = ns->block_shift;
		u64 blocks, sectors;

		if (nvme_identify(c, ns->id, IDENTIFY_NS, page_virt(page)) || read_format(ns, page_virt(page), &blocks))
			continue;
		sectors = blocks << (ns->block_shift - SECTOR_SHIFT);
		if (ns->block_shift != shift)
			ns->block.limits.logical_block = ns->block.limits.physical_block = 1U << ns->block_shift;
		if (sectors != ns->block.sectors)
			block_set_sectors(&ns->block, sectors);
	}
	if (page)
		page_put(page);
}

/* ---- probing --------------------------------------------------------------------------------------------------------
 */

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
	if (!err)
		err = nvme_files_add(c);
	if (!err)
		err = nvme_node_add(c);
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
		c->index = nvme_node_free_index();
		refcount_set(&c->refs, 1);
		c->timeout_ns = max(boot_param_u64("nvme.io_timeout", 3600, IO_TIMEOUT_S), 1ULL) * NSEC_PER_SEC;
		mutex_init(&c->lock, RANK_DEVICE);
		work_init(&c->overdue, overdue_work);
		c->regs = pci_map_bar(d, 0, 0, 0);
		err = c->regs ? start(c, page_virt(page)) : -ENODEV;
		if (err && c->regs)
			mmio_write32(c->regs + REG_CC, 0); /* it must not touch our memory any more */
	}
	if (page)
		page_put(page);
	return err; /* after a failure the controller's queues are kept: it may still own them */
}

static bool is_idle(struct nvme *c)
{
	for (unsigned n = 0; n < c->nr_ns; n++)
		for (unsigned i = 0; i < c->nr_queues; i++)
			if (READ_ONCE(c->ns[n]->block.hwqs[i].in_flight))
				return false;
	return true;
}

/* What the controller has at the moment comes to its end, if it hurries. */
static void let_finish(struct nvme *c)
{
	u64 deadline = clock_ns() + FINISH_NS;

	while (!is_idle(c) && clock_ns() < deadline && mmio_read32(c->regs + REG_CSTS) != ~0U) {
		for (unsigned i = 0; i < c->nr_queues; i++)
			nvme_queue_reap(&c->queues[i]);
		sched_nap(NSEC_PER_MSEC);
	}
}

/* Nobody sends commands any more, and the controller touches no memory. */
static void switch_off(struct nvme *c)
{
	mutex_lock(&c->lock);
	WRITE_ONCE(c->state, NVME_GONE);
	stop_all(c);
	let_finish(c);
	mmio_write32(c->regs + REG_CC, 0);
	if (wait_ready(c, false))
		log_warn("nvme%u: was pulled out while it worked", c->index);
	for (unsigned i = 0; i < c->nr_queues; i++)
		nvme_queue_stop(&c->queues[i]);
	mutex_unlock(&c->lock);
}

static int let_go(struct pci_dev *d)
{
	struct nvme *c = d->priv;
	unsigned nr_ns = c->nr_ns;

	switch_off(c);
	pci_msix_disable(d);
	for (unsigned i = 0; i < c->nr_queues; i++)
		deferred_flush(&c->queues[i].reap);
	for (unsigned n = 0; n < nr_ns; n++) {
		nvme_namespace_files_remove(c->ns[n]);
		block_remove(&c->ns[n]->block);
	}
	work_flush(&c->overdue); /* the disks' timers ask for it no more */
	nvme_node_remove(c);
	nvme_files_remove(c);
	nvme_put(c);
	return 0;
}

static struct pci_driver driver = { .name = "nvme", .match = match, .probe = probe, .remove = let_go };

static void nvme_register(void)
{
	pci_register(&driver);
}
PART_INIT(core, nvme_register);
