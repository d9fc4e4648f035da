/* SPDX-License-Identifier: MIT
 *
 * Problem: move commands to the device and completions back with one register write each way.
 *
 * Idea: a pair of rings. We write commands at the submission tail and ring its doorbell; the device writes completions
 * with a phase bit that flips at each lap, so that a completion is recognised without a register read. Command ids are
 * a namespace's slot and the block layer's tag. Data pages go as PRP entries: the first in the command, further ones in
 * a list page that each tag owns.
 *
 * Contract: the block_driver of block/block.h; nvme_priv.h.
 *
 * Locks: q->lock covers both rings; completions are told to the block layer after it is dropped. hwq->lock is outside.
 */
#include <alloc/page.h>
#include <arch/cpu.h>
#include <arch/io.h>
#include <core/clock.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/string.h>
#include <task/sched.h>
#include <task/task.h>

#include "nvme_priv.h"

#define SPIN_NS (100 * NSEC_PER_USEC)

static void *zeroed(size_t bytes)
{
	unsigned order = 0;
	struct page *p;

	while (PAGE_SIZE << order < bytes)
		order++;
	p = page_alloc(order, ALLOC_ZERO, NULL);
	return p ? page_virt(p) : NULL;
}

int nvme_queue_alloc(struct nvme *c, struct nvme_queue *q, u16 id, u16 depth)
{
	void *doorbells = c->regs + REG_DOORBELLS + 2 * id * c->doorbell_stride;

	*q = (struct nvme_queue){ .ctrl = c, .id = id, .depth = depth };
	q->sq_doorbell = doorbells;
	q->cq_doorbell = doorbells + c->doorbell_stride;
	spin_init(&q->lock, RANK_DRIVER);
	q->sq = zeroed(depth * sizeof(*q->sq));
	q->cq = zeroed(depth * sizeof(*q->cq));
	nvme_queue_begin(q);
	return q->sq && q->cq ? 0 : -ENOMEM;
}

void nvme_queue_free(struct nvme_queue *q)
{
	void *ring[] = { q->sq, q->cq };

	for (unsigned i = 0; i < ARRAY_SIZE(ring); i++)
		if (ring[i])
			page_put(virt_to_page(ring[i]));
}

void nvme_queue_begin(struct nvme_queue *q)
{
	if (q->cq)
		memset(q->cq, 0, q->depth * sizeof(*q->cq));
	q->sq_tail = q->cq_head = 0;
	q->phase = 1;
	WRITE_ONCE(q->stopped, false);
}

void nvme_queue_stop(struct nvme_queue *q)
{
	WRITE_ONCE(q->stopped, true);
	smp_mb();
	while (atomic_read(&q->reapers))
		cpu_relax();
}

static void put_command(struct nvme_queue *q, const struct nvme_command *cmd)
{
	q->sq[q->sq_tail] = *cmd;
	q->sq_tail = (q->sq_tail + 1) % q->depth;
}

static void ring_doorbell(struct nvme_queue *q)
{
	smp_wmb();
	mmio_write32(q->sq_doorbell, q->sq_tail);
}

/* At boot interrupts are not proven yet, and the admin queue has none: so it looks itself, ever more lazily. */
static bool wait_for(struct nvme_queue *q, struct nvme_sync *s, u64 deadline)
{
	u64 start = clock_ns();

	for (;;) {
		u64 now = clock_ns();

		nvme_queue_reap(q);
		if (smp_load_acquire(&s->done))
			return true;
		if (now > deadline)
			return false;
		if (now - start > SPIN_NS) {
			sched_set_state(TASK_UNINTERRUPTIBLE);
			(void)sched_sleep_until(now + (now - start) / 8);
		} else {
			cpu_relax();
		}
	}
}

int nvme_command(struct nvme_queue *q, struct nvme_command *cmd, u64 timeout_ns, u32 *result)
{
	struct nvme_sync s = { 0 };
	ulong irq;
	bool done;

	cmd->id = NVME_SYNC_ID;
	irq = spin_lock_irqsave(&q->lock);
	q->sync = &s;
	put_command(q, cmd);
	ring_doorbell(q);
	spin_unlock_irqrestore(&q->lock, irq);
	done = wait_for(q, &s, clock_ns() + timeout_ns);
	irq = spin_lock_irqsave(&q->lock);
	q->sync = NULL;
	done |= s.done;
	spin_unlock_irqrestore(&q->lock, irq);
	if (result)
		*result = s.result;
	return done ? s.status : -ETIMEDOUT;
}

/* Page addresses of the data: entry 0 may start inside its page, all others are whole pages. */
static void map_data(u64 *list, const struct bio *b, struct nvme_command *cmd)
{
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
static void build_discard(u64 *range, const struct nvme_namespace *ns, const struct bio *b, struct nvme_command *cmd)
{

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
	struct nvme_command cmd = { .opcode = opcode[op], .id = NVME_ID(ns->slot, b->tag), .nsid = ns->id };
	u64 *list = ns->lists[h->index][b->tag];
	ulong irq;

	if (READ_ONCE(ns->ctrl->state) >= NVME_DEAD)
		return -EIO;
	if (op == BLOCK_READ || op == BLOCK_WRITE) {
		map_data(list, b, &cmd);
		build_rw(ns, b, &cmd);
	} else if (op == BLOCK_DISCARD) {
		build_discard(list, ns, b, &cmd);
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

	ring_doorbell(q);
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

/* The command that is not a bio's. */
static void finish_sync(struct nvme_queue *q, const struct nvme_completion *e)
{
	ulong irq = spin_lock_irqsave(&q->lock);
	struct nvme_sync *s = q->sync; /* NULL: nobody waits any more */

	if (s) {
		s->status = e->status >> 1;
		s->result = e->result;
		smp_store_release(&s->done, true);
	}
	spin_unlock_irqrestore(&q->lock, irq);
}

static int errno_of(u16 status)
{
	switch (status & 0x7ff) {
	case 0: return 0;
	case 0x001: /* invalid opcode */
	case 0x002: /* invalid field */ return -EOPNOTSUPP;
	case 0x020: /* the namespace is write-protected */ return -EROFS;
	case 0x081: /* capacity exceeded */ return -ENOSPC;
	}
	return -EIO;
}

static void finish(struct nvme_queue *q, const struct nvme_completion *e)
{
	unsigned slot = e->id >> 8;
	struct nvme_namespace *ns = slot < q->ctrl->nr_ns ? q->ctrl->ns[slot] : NULL;
	u16 status = e->status >> 1;
	struct bio *b;

	if (e->id == NVME_SYNC_ID) {
		finish_sync(q, e);
		return;
	}
	b = ns && q->id ? block_by_tag(&ns->block.hwqs[q->id - 1], e->id & 0xff) : NULL;
	if (!b)
		return;
	if (status && !(status & STATUS_DNR) && block_requeue(b))
		return;
	block_complete(b, errno_of(status));
}

int nvme_queue_reap(struct nvme_queue *q)
{
	struct nvme_completion e;
	int n = 0;

	atomic_inc(&q->reapers);
	for (; !READ_ONCE(q->stopped) && take_completion(q, &e); n++)
		finish(q, &e);
	atomic_dec(&q->reapers);
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

static void timeout(struct block_hwq *h, struct bio *b)
{
	const struct nvme_namespace *ns = h->dev->priv;

	work_queue(&ns->ctrl->overdue);
}

const struct block_driver nvme_block_driver = {
	.queue = queue_bio,
	.commit = commit,
	.poll = poll,
	.timeout = timeout,
	.ioctl = nvme_block_ioctl,
	.free = nvme_namespace_free,
};
