/* SPDX-License-Identifier: MIT
 *
 * Problem: a file's operations sleep, a block driver's may not.
 *
 * Idea: a thread a bound loop device takes bios from a list and does them one after the other: read, write, fsync,
 * fallocate of the file. With direct I/O on a file that can go on by itself (a disk), it only starts them, and the
 * transfer's end completes the bio.
 *
 *      loop_queue --> queue --worker--> file op --> block_complete
 *                                          '--EIOCBQUEUED--> transfer_done --> block_complete
 *
 * Contract: block_driver of block/block.h. What a file does not have (behind its end) reads as zeros. FUA is a write
 * and an fsync. The worker allocates without waiting for I/O, since it may be what memory waits for.
 *
 * Locks: queue_lock for the list; none while a file works.
 */
#include <alloc/page.h>
#include <alloc/slab.h>
#include <lib/err.h>
#include <linux/falloc.h>
#include <task/sched.h>
#include <task/task.h>

#include "loop_priv.h"

int loop_queue(struct block_hwq *h, struct bio *b)
{
	struct loop *l = loop_of(h->dev);
	struct loop_command *c;
	int err = -EIO;

	spin_lock(&l->queue_lock);
	if (l->running) {
		c = &l->commands[b->tag];
		c->loop = l;
		c->bio = b;
		list_add_tail(&c->link, &l->queue);
		err = 0;
	}
	spin_unlock(&l->queue_lock);
	if (!err)
		waitq_wake_all(&l->wake);
	return err;
}

static struct loop_command *next_command(struct loop *l)
{
	ulong irq = spin_lock_irqsave(&l->queue_lock);
	struct loop_command *c = list_first_or_null(&l->queue, struct loop_command, link);

	if (c)
		list_del(&c->link);
	spin_unlock_irqrestore(&l->queue_lock, irq);
	return c;
}

static void transfer_done(struct io *io, ssize_t result)
{
	struct loop_command *c = container_of(io, struct loop_command, io);
	struct loop *l = c->loop;
	struct bio *b = c->bio;

	block_complete(b, result == (ssize_t)b->bytes ? 0 : result < 0 ? (int)result : -EIO);
	if (!atomic_sub_return(&l->in_flight, 1))
		waitq_wake_all(&l->idle);
}

static void aim(struct loop *l, struct loop_command *c)
{
	const struct loop_backing *k = l->backing;
	const struct bio *b = c->bio;

	for (unsigned i = 0; i < b->nr_vecs; i++)
		l->vec[i] =
			(struct iter_vec){ (ulong)page_virt(b->vecs[i].page) + b->vecs[i].offset, b->vecs[i].bytes };
	c->io = (struct io){ .file = k->file,
			     .pos = (s64)((b->sector << SECTOR_SHIFT) + k->offset),
			     .flags = k->flags & LO_FLAGS_DIRECT_IO ? IO_DIRECT : 0,
			     .iter = { .kind = ITER_KERNEL, .vec = l->vec, .nr = b->nr_vecs, .count = b->bytes } };
}

/* 0, -errno, or -EIOCBQUEUED: transfer_done comes. */
static int move(struct loop *l, struct loop_command *c)
{
	bool write = c->bio->op == BLOCK_WRITE;
	const struct file_ops *ops = l->backing->file->ops;
	ssize_t n;

	aim(l, c);
	if (c->io.flags & IO_DIRECT) {
		c->io.done = transfer_done;
		c->io.flags |= c->bio->flags & BIO_FUA ? IO_DSYNC : 0;
		atomic_inc(&l->in_flight);
	}
	do {
		n = write ? ops->write(&c->io) : ops->read(&c->io);
	} while (n > 0 && c->io.iter.count);
	if (n == -EIOCBQUEUED)
		return (int)n;
	if (c->io.done && !atomic_sub_return(&l->in_flight, 1))
		waitq_wake_all(&l->idle);
	if (n < 0)
		return (int)n;
	if (c->io.iter.count) /* the end of the file */
		return write || iter_clear(c->io.iter.count, &c->io.iter) < c->io.iter.count ? -EIO : 0;
	return 0;
}

static int sync_file(struct file *f)
{
	return f->ops->fsync ? f->ops->fsync(f, 0, INT64_MAX, true) : 0;
}

static int erase(struct loop *l, const struct bio *b)
{
	struct file *f = l->backing->file;
	int mode = b->op == BLOCK_DISCARD ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE;

	if (!f->ops->fallocate)
		return -EOPNOTSUPP;
	return f->ops->fallocate(f, mode | FALLOC_FL_KEEP_SIZE, (s64)((b->sector << SECTOR_SHIFT) + l->backing->offset),
				 b->bytes);
}

static int carry_out(struct loop *l, struct loop_command *c)
{
	struct bio *b = c->bio;
	int err;

	switch (block_device_op(b)) {
	case BLOCK_READ: return move(l, c);
	case BLOCK_WRITE: err = move(l, c); return err || !(b->flags & BIO_FUA) ? err : sync_file(l->backing->file);
	case BLOCK_FLUSH: return sync_file(l->backing->file);
	default: return erase(l, b);
	}
}

static void work_on(void *arg)
{
	struct loop *l = arg;
	struct loop_command *c;

	current->alloc_scope |= SCOPE_NOIO;
	for (;;) {
		wait_event(&l->wake, !list_empty(&l->queue) || READ_ONCE(l->stopping));
		while ((c = next_command(l))) {
			struct bio *b = c->bio;
			int err = carry_out(l, c);

			if (err != -EIOCBQUEUED)
				block_complete(b, err);
			resched_point();
		}
		if (READ_ONCE(l->stopping))
			break;
	}
}

int loop_io_start(struct loop *l)
{
	ulong irq;
	int err;

	if (!l->commands)
		l->commands = kcalloc(LOOP_DEPTH, sizeof(*l->commands), ALLOC_KERNEL);
	if (!l->vec)
		l->vec = kcalloc(LOOP_VECS, sizeof(*l->vec), ALLOC_KERNEL);
	if (!l->commands || !l->vec)
		return -ENOMEM;
	l->stopping = false;
	err = kthread_run(&l->worker, work_on, l, "loop%u", l->number);
	if (err)
		return err;
	irq = spin_lock_irqsave(&l->queue_lock);
	l->running = true;
	spin_unlock_irqrestore(&l->queue_lock, irq);
	return 0;
}

void loop_io_stop(struct loop *l)
{
	ulong irq = spin_lock_irqsave(&l->queue_lock);

	l->running = false;
	spin_unlock_irqrestore(&l->queue_lock, irq);
	WRITE_ONCE(l->stopping, true);
	waitq_wake_all(&l->wake);
	kthread_join(&l->worker);
	wait_event(&l->idle, !atomic_read(&l->in_flight));
}
