/* SPDX-License-Identifier: MIT
 *
 * Problem: move commands to the device and completions back with one register write each way.
 *
 * Idea: a pair of rings. We write commands at the submission tail and ring its doorbell; the device writes completions
 * with a phase bit that flips at each lap, so that a completion is recognised without a register read. Command ids are
 * the block layer's tags. Data pages go as PRP entries: the first in the command, further ones in a list page that each
 * tag owns.
 *
 * Contract: the block_driver of block/block.h; nvme_priv.h.
 *
 * Locks: q->lock covers both rings; completions are told to the block layer after it is dropped. hwq->lock is outside.
 */
#include <alloc/page.h>
#include <arch/io.h>
#include <lib/err.h>

#include "nvme_priv.h"

static void *zeroed_page(void)
{
	struct page *p = page_alloc(0, ALLOC_ZERO, NULL);

	return p ? page_virt(p) : NULL;
}

int nvme_queue_init(struct nvme *c, struct nvme_queue *q, u16 id, u16 depth)
{
	void *doorbells = c->regs + REG_DOORBELLS + 2 * id * c->doorbell_stride;

	*q = (struct nvme_queue){ .ctrl = c, .id = id, .depth = depth, .phase = 1 };
	q->sq_doorbell = doorbells;
	q->cq_doorbell = doorbells + c->doorbell_stride;
	spin_init(&q->lock, RANK_DRIVER);
	q->sq = zeroed_page();
	q->cq = zeroed_page();
	q->prp_lists = kcalloc(depth, sizeof(*q->prp_lists), ALLOC_KERNEL);
	if (!q->sq || !q->cq || !q->prp_lists)
		return -ENOMEM;
	for (unsigned i = 0; id && i < depth; i++) {
		q->prp_lists[i] = zeroed_page();
		if (!q->prp_lists[i])
			return -ENOMEM;
	}
	return 0;
}

static void put_command(struct nvme_queue *q, const struct nvme_command *cmd)
{
	q->sq[q->sq_tail] = *cmd;
	q->sq_tail = (q->sq_tail + 1) % q->depth;
}

void nvme_queue_submit(struct nvme_queue *q, const struct nvme_command *cmd)
{
	ulong irq = spin_lock_irqsave(&q->lock);

	put_command(q, cmd);
	smp_wmb();
	mmio_write32(q->sq_doorbell, q->sq_tail);
	spin_unlock_irqrestore(&q->lock, irq);
}

/* Page addresses of the data: entry 0 may start inside its page, all others are whole pages. */
static void map_data(struct nvme_queue *q, const struct bio *b, struct nvme_command *cmd)
{
	u64 *list = q->prp_lists[b->tag];
	unsigned n = 0;

	for (unsigned i = 0; i < b->nr_vecs; i++) {
		paddr_t at = page_phys(b->vecs[i].page) + b->vecs[i].offset, end = at + b->vecs[i].bytes;

		for (; at < end; at = ALIGN_DOWN(at, PAGE_SIZE) + PAGE_SIZE, n++) {
			if (n == 0)
				cmd->prp1 = at;
			else
				list[n - 1] = at;
		}
	}
	if (n == 2)
		cmd->prp2 = list[0];
	else if (n > 2)
		cmd->prp2 = virt_to_phys(list);
}

/* PRPs cannot express a hole: every vector but the first must start a page, every one but the last must end one. */
static bool mappable(const struct bio *b)
{
	for (unsigned i = 0; i < b->nr_vecs; i++) {
		u32 start = b->vecs[i].offset, end = start + b->vecs[i].bytes;

		if ((i && start % PAGE_SIZE) || (i + 1 < b->nr_vecs && end % PAGE_SIZE) || start % 4)
			return false;
	}
	return true;
}

static void build_rw(const struct nvme_namespace *ns, const struct bio *b, struct nvme_command *cmd)
{
	u64 block = b->sector >> (ns->block_shift - SECTOR_SHIFT);

	cmd->cdw10 = (u32)block;
	cmd->cdw11 = block >> 32;
	cmd->cdw12 = (b->bytes >> ns->block_shift) - 1;
	if (b->flags & BIO_FUA && b->op == BLOCK_WRITE)
		cmd->cdw12 |= NVM_FUA;
}

/* Dataset management: one range of 16 bytes (attributes, length, start) in the tag's list page. */
static void build_discard(struct nvme_queue *q, const struct nvme_namespace *ns, const struct bio *b,
			  struct nvme_command *cmd)
{
	u64 *range = q->prp_lists[b->tag];

	range[0] = (u64)(b->bytes >> ns->block_shift) << 32;
	range[1] = b->sector >> (ns->block_shift - SECTOR_SHIFT);
	cmd->prp1 = virt_to_phys(range);
	cmd->cdw11 = DSM_DEALLOCATE;
}

static int queue_bio(struct block_hwq *h, struct bio *b)
{
	static const u8 opcode[BLOCK_OPS] = { [BLOCK_READ] = NVM_READ,
					      [BLOCK_WRITE] = NVM_WRITE,
					      [BLOCK_FLUSH] = NVM_FLUSH,
					      [BLOCK_DISCARD] = NVM_DSM,
					      [BLOCK_WRITE_ZEROES] = NVM_WRITE_ZEROES };
	const struct nvme_namespace *ns = h->dev->priv;
	struct nvme_queue *q = h->priv;
	enum block_op op = block_device_op(b);
	struct nvme_command cmd = { .opcode = opcode[op], .id = b->tag, .nsid = ns->id };
	ulong irq;

	if ((op == BLOCK_READ || op == BLOCK_WRITE) && !mappable(b))
		return -EINVAL;
	if (op == BLOCK_READ || op == BLOCK_WRITE) {
		map_data(q, b, &cmd);
		build_rw(ns, b, &cmd);
	} else if (op == BLOCK_DISCARD) {
		build_discard(q, ns, b, &cmd);
	} else if (op == BLOCK_WRITE_ZEROES) {
		build_rw(ns, b, &cmd);
	}
	irq = spin_lock_irqsave(&q->lock);
	put_command(q, &cmd);
	spin_unlock_irqrestore(&q->lock, irq);
	return 0;
}

static void commit(struct block_hwq *h)
{
	struct nvme_queue *q = h->priv;
	ulong irq = spin_lock_irqsave(&q->lock);

	smp_wmb();
	mmio_write32(q->sq_doorbell, q->sq_tail);
	spin_unlock_irqrestore(&q->lock, irq);
}

/* The next new completion; false: none. */
static bool take_completion(struct nvme_queue *q, struct nvme_completion *out)
{
	const struct nvme_completion *e;
	ulong irq = spin_lock_irqsave(&q->lock);
	bool found;

	e = &q->cq[q->cq_head];
	found = (smp_load_acquire(&e->status) & 1) == q->phase;
	if (found) {
		*out = *e;
		if (++q->cq_head == q->depth) {
			q->cq_head = 0;
			q->phase ^= 1;
		}
		mmio_write32(q->cq_doorbell, q->cq_head);
	}
	spin_unlock_irqrestore(&q->lock, irq);
	return found;
}

static void finish(struct nvme_queue *q, const struct nvme_completion *e)
{
	u16 status = e->status >> 1;
	struct bio *b;

	if (!q->hwq) {
		q->ctrl->admin_status = status;
		q->ctrl->admin_result = e->result;
		complete(&q->ctrl->admin_done);
		return;
	}
	b = block_by_tag(q->hwq, e->id);
	if (b)
		block_complete(b, status ? -EIO : 0);
}

int nvme_queue_reap(struct nvme_queue *q)
{
	struct nvme_completion e;
	int n = 0;

	for (; take_completion(q, &e); n++)
		finish(q, &e);
	return n;
}

static int poll(struct block_hwq *h)
{
	return nvme_queue_reap(h->priv);
}

void nvme_queue_interrupt(void *queue)
{
	deferred_queue(&((struct nvme_queue *)queue)->reap);
}

const struct block_driver nvme_block_driver = { .queue = queue_bio, .commit = commit, .poll = poll };
