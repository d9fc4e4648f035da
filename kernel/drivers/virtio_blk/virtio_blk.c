/* SPDX-License-Identifier: MIT
 *
 * Problem: the disk of most virtual machines.
 *
 * Idea: one virtqueue a hardware queue. A request is a chain: header (type, sector), the data pages, one status byte.
 * Headers and status bytes of all tags lie in one array a queue, so that a submission allocates nothing. An interrupt
 * queues a deferred job that reaps; polling reaps in the same way. A long chain takes one place of the ring if the
 * device knows indirect tables: a few are kept a queue, and when all are under way the chain goes as it is. A disk that
 * is pulled out is reset first; what it did not finish then fails, and memory goes with the last user.
 *
 * Contract: the block_driver of block/block.h. Format: VIRTIO 1.2, section 5.2.
 *
 * Locks: queue() and reaping of the ring both run under hwq->lock; completions are told after it is dropped. Who reaps
 * is counted, so that a disk that goes can wait until nobody does.
 */
#include <alloc/page.h>
#include <alloc/slab.h>
#include <arch/cpu.h>
#include <block/block.h>
#include <core/irq.h>
#include <core/init.h>
#include <core/log.h>
#include <device/virtio.h>
#include <lib/err.h>
#include <lib/printf.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_ring.h>

#define DEPTH    64
#define MAX_VECS 30
#define MAX_LONG 254 /* with a table, which fills a page */
#define TABLES   8
#define MAX_HWQS 8

struct command { /* by tag; never crosses a page, for it is 32 bytes aligned to 32 */
	struct virtio_blk_outhdr header;
	struct virtio_blk_discard_write_zeroes range;
	u8 status;
	s8 table; /* of the queue's, or -1 */
} __aligned(64);

struct queue {
	struct virtqueue *vq;
	struct block_hwq *hwq;
	struct command *commands;
	struct deferred reap;
	struct virtio_buf bufs[MAX_LONG + 2]; /* hwq->lock: of the chain that is being made */
	void *tables[TABLES];                 /* NULL: the device takes none */
	unsigned free_tables;                 /* hwq->lock: a bit for each */
	atomic_t reapers;
	bool stopped; /* nobody may reap */
};

struct virtio_disk {
	struct block_dev block;
	struct virtio_dev *dev;
	struct queue queues[MAX_HWQS];
	unsigned nr_queues, number;
};

static ulong disk_numbers[DIV_ROUND_UP(BLOCK_MOST_LETTERED, 64)]; /* in use; one probe or removal at a time */

static struct virtio_disk *disk_of(struct block_hwq *h)
{
	return h->dev->priv;
}

static u32 request_type(enum block_op op)
{
	static const u32 type[BLOCK_OPS] = { [BLOCK_READ] = VIRTIO_BLK_T_IN,
					     [BLOCK_WRITE] = VIRTIO_BLK_T_OUT,
					     [BLOCK_FLUSH] = VIRTIO_BLK_T_FLUSH,
					     [BLOCK_DISCARD] = VIRTIO_BLK_T_DISCARD,
					     [BLOCK_WRITE_ZEROES] = VIRTIO_BLK_T_WRITE_ZEROES };
	return type[op];
}

static struct virtio_buf buffer(const void *p, u32 len, bool device_writes)
{
	return (struct virtio_buf){ virt_to_phys(p), len, device_writes };
}

/* A chain of n buffers: with a table if it is long and one is free. */
static int put_chain(struct queue *q, struct command *c, unsigned n, struct bio *b)
{
	int err;

	c->table = n > 4 && q->free_tables ? (s8)__builtin_ctz(q->free_tables) : -1;
	err = virtqueue_add_table(q->vq, q->bufs, n, c->table >= 0 ? q->tables[c->table] : NULL, b);
	if (!err && c->table >= 0)
		q->free_tables &= ~(1U << c->table);
	return err ? -EBUSY : 0;
}

static int queue_bio(struct block_hwq *h, struct bio *b)
{
	struct queue *q = &disk_of(h)->queues[h->index];
	struct command *c = &q->commands[b->tag];
	enum block_op op = block_device_op(b);
	struct virtio_buf *bufs = q->bufs;
	unsigned n = 0;

	c->header = (struct virtio_blk_outhdr){ .type = request_type(op), .sector = op == BLOCK_FLUSH ? 0 : b->sector };
	c->status = 0xff;
	bufs[n++] = buffer(&c->header, sizeof(c->header), false);
	if (op == BLOCK_READ || op == BLOCK_WRITE)
		for (unsigned i = 0; i < b->nr_vecs; i++)
			bufs[n++] = (struct virtio_buf){ page_phys(b->vecs[i].page) + b->vecs[i].offset,
							 b->vecs[i].bytes, op == BLOCK_READ };
	if (op == BLOCK_DISCARD || op == BLOCK_WRITE_ZEROES) {
		c->range = (struct virtio_blk_discard_write_zeroes){ .sector = b->sector,
								     .num_sectors = b->bytes >> SECTOR_SHIFT };
		c->header.sector = 0;
		bufs[n++] = buffer(&c->range, sizeof(c->range), false);
	}
	bufs[n++] = buffer(&c->status, 1, true);
	return put_chain(q, c, n, b);
}

static void commit(struct block_hwq *h)
{
	virtqueue_kick(disk_of(h)->queues[h->index].vq);
}

static int result(u8 status)
{
	return status == VIRTIO_BLK_S_OK ? 0 : status == VIRTIO_BLK_S_UNSUPP ? -EOPNOTSUPP : -EIO;
}

static int reap(struct queue *q)
{
	struct bio *b;
	int n = 0;

	atomic_inc(&q->reapers);
	for (;; n++) {
		ulong irq = spin_lock_irqsave(&q->hwq->lock);
		u8 status = 0;

		b = q->stopped ? NULL : virtqueue_get(q->vq, NULL);
		if (b) {
			struct command *c = &q->commands[b->tag];

			status = c->status;
			if (c->table >= 0)
				q->free_tables |= (1U << c->table);
		}
		spin_unlock_irqrestore(&q->hwq->lock, irq);
		if (!b)
			break;
		block_complete(b, result(status));
	}
	atomic_dec(&q->reapers);
	return n;
}

static int poll(struct block_hwq *h)
{
	return reap(&disk_of(h)->queues[h->index]);
}

static void reap_deferred(struct deferred *d)
{
	struct queue *q = container_of(d, struct queue, reap);

	do {
		reap(q);
	} while (!READ_ONCE(q->stopped) && !virtqueue_irq_on(q->vq));
}

static void on_interrupt(struct virtqueue *vq)
{
	struct queue *q = vq->priv;

	virtqueue_irq_off(vq);
	deferred_queue(&q->reap);
}

static void free_disk(struct block_dev *d)
{
	struct virtio_disk *disk = d->priv;

	for (unsigned i = 0; i < disk->nr_queues; i++) {
		struct queue *q = &disk->queues[i];

		for (unsigned t = 0; t < TABLES; t++)
			kfree(q->tables[t]);
		kfree(q->commands);
		virtqueue_free(q->vq);
	}
	kfree(disk);
}

static const struct block_driver driver = { .queue = queue_bio, .commit = commit, .poll = poll, .free = free_disk };

static u32 config32(struct virtio_dev *d, unsigned offset)
{
	u32 v;

	virtio_config(d, offset, &v, sizeof(v));
	return v;
}

static void read_limits(struct virtio_disk *disk)
{
	struct virtio_dev *d = disk->dev;
	struct block_limits *l = &disk->block.limits;

	virtio_config(d, offsetof(struct virtio_blk_config, capacity), &disk->block.sectors, 8);
	l->logical_block = virtio_has(d, VIRTIO_BLK_F_BLK_SIZE)
				   ? config32(d, offsetof(struct virtio_blk_config, blk_size))
				   : SECTOR_SIZE;
	l->physical_block = l->logical_block;
	l->max_vecs = virtio_has(d, VIRTIO_BLK_F_SEG_MAX)
			      ? clamp(config32(d, offsetof(struct virtio_blk_config, seg_max)), 1U,
				      virtio_has(d, VIRTIO_RING_F_INDIRECT_DESC) ? (u32)MAX_LONG : (u32)MAX_VECS)
			      : 1;
	l->read_only = virtio_has(d, VIRTIO_BLK_F_RO);
	l->write_cache = virtio_has(d, VIRTIO_BLK_F_FLUSH);
	if (virtio_has(d, VIRTIO_BLK_F_DISCARD))
		l->max_discard_bytes = (u64)config32(d, offsetof(struct virtio_blk_config, max_discard_sectors))
				       << SECTOR_SHIFT;
	if (virtio_has(d, VIRTIO_BLK_F_WRITE_ZEROES))
		l->max_zeroes_bytes = (u64)config32(d, offsetof(struct virtio_blk_config, max_write_zeroes_sectors))
				      << SECTOR_SHIFT;
	l->max_discard_bytes = min(l->max_discard_bytes, 1ULL << 30);
	l->max_zeroes_bytes = min(l->max_zeroes_bytes, 1ULL << 30);
}

static int make_tables(struct virtio_disk *disk, struct queue *q)
{
	if (!virtio_has(disk->dev, VIRTIO_RING_F_INDIRECT_DESC))
		return 0;
	for (unsigned i = 0; i < TABLES; i++) {
		q->tables[i] = kmalloc((MAX_LONG + 2) * VIRTIO_TABLE_ENTRY, ALLOC_KERNEL);
		if (!q->tables[i])
			return -ENOMEM;
		q->free_tables |= 1U << i;
	}
	return 0;
}

static int create_queues(struct virtio_disk *disk)
{
	u16 wanted = 1;

	if (virtio_has(disk->dev, VIRTIO_BLK_F_MQ))
		virtio_config(disk->dev, offsetof(struct virtio_blk_config, num_queues), &wanted, 2);
	wanted = clamp((unsigned)wanted, 1U, min(cpu_count(), (unsigned)MAX_HWQS));
	for (u16 i = 0; i < wanted; i++) {
		struct queue *q = &disk->queues[i];
		int err = virtqueue_create(disk->dev, i, 256, i % cpu_count(), on_interrupt, &q->vq);

		if (err)
			return i ? 0 : err;
		q->commands = kcalloc(DEPTH, sizeof(*q->commands), ALLOC_KERNEL);
		if (!q->commands || make_tables(disk, q))
			return -ENOMEM;
		disk->block.limits.max_vecs =
			min(disk->block.limits.max_vecs, (u16)(q->vq->size - 2)); /* also in a table */
		deferred_init(&q->reap, reap_deferred);
		q->vq->priv = q;
		disk->nr_queues = i + 1;
	}
	return 0;
}

static unsigned take_number(void)
{
	unsigned n = 0;

	while (n < BLOCK_MOST_LETTERED - 1 && disk_numbers[n / 64] >> n % 64 & 1)
		n++;
	disk_numbers[n / 64] |= BIT(n % 64);
	return n;
}

static void give_number_back(const struct virtio_disk *disk)
{
	disk_numbers[disk->number / 64] &= ~BIT(disk->number % 64);
}

static void set_name(struct virtio_disk *disk)
{
	unsigned n = disk->number = take_number();

	block_name_by_letters(&disk->block, "vd", n);
}

static int probe(struct virtio_dev *d)
{
	struct virtio_disk *disk = kzalloc(sizeof(*disk), ALLOC_KERNEL);
	int err;

	if (!disk)
		return -ENOMEM;
	disk->dev = d;
	d->priv = disk;
	disk->block.priv = disk;
	disk->block.driver = &driver;
	read_limits(disk);
	err = create_queues(disk);
	if (err)
		return err; /* the device stays in FAILED; its rings may still be known to it and are not freed */
	disk->block.limits.max_bytes = disk->block.limits.max_vecs * PAGE_SIZE;
	set_name(disk);
	err = block_prepare(&disk->block, disk->nr_queues, DEPTH);
	for (unsigned i = 0; !err && i < disk->nr_queues; i++)
		disk->queues[i].hwq = &disk->block.hwqs[i];
	if (!err) {
		virtio_ready(d);
		err = block_add(&disk->block);
	}
	if (err)
		give_number_back(disk);
	return err;
}

static void stop(struct queue *q)
{
	ulong irq;

	reap(q); /* what is done is done */
	irq = spin_lock_irqsave(&q->hwq->lock);
	q->stopped = true;
	spin_unlock_irqrestore(&q->hwq->lock, irq);
	deferred_flush(&q->reap);
	while (atomic_read(&q->reapers))
		cpu_relax();
}

static void let_go(struct virtio_dev *d)
{
	struct virtio_disk *disk = d->priv;

	for (unsigned i = 0; i < disk->nr_queues; i++)
		block_stop_queue(disk->queues[i].hwq);
	virtio_shut_down(d);
	for (unsigned i = 0; i < disk->nr_queues; i++)
		stop(&disk->queues[i]);
	give_number_back(disk);
	block_remove(&disk->block);
}

static struct virtio_driver virtio_blk = {
	.name = "virtio_blk",
	.id = VIRTIO_ID_BLOCK,
	.features = BIT(VIRTIO_BLK_F_BLK_SIZE) | BIT(VIRTIO_BLK_F_SEG_MAX) | BIT(VIRTIO_BLK_F_RO) |
		    BIT(VIRTIO_BLK_F_FLUSH) | BIT(VIRTIO_BLK_F_MQ) | BIT(VIRTIO_BLK_F_DISCARD) |
		    BIT(VIRTIO_BLK_F_WRITE_ZEROES) | BIT(VIRTIO_RING_F_INDIRECT_DESC),
	.probe = probe,
	.remove = let_go,
};

static void virtio_blk_register(void)
{
	virtio_register(&virtio_blk);
}
PART_INIT(core, virtio_blk_register);
