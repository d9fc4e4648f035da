/* SPDX-License-Identifier: MIT
 *
 * Problem: trace-cmd moves megabytes a second from the ring into a file.
 *
 * Idea: trace_pipe_raw gives whole pages as they lie in the ring. An open file owns one page; reading swaps it against
 * the ring's oldest, so that nothing is copied under the lock. A reader that waits gets full pages; one that does not
 * wait (O_NONBLOCK), or when tracing is off, also the last, partly filled one.
 *
 * Contract: Documentation/trace/ftrace.rst, trace_pipe_raw; the layout is ring.h's. A page may be read in pieces.
 *
 * Locks: reader->lock, then the CPU's ring lock for the swap.
 */
#include "tracefs_priv.h"
#include <alloc/slab.h>
#include <fs/attrfs.h>
#include <lib/err.h>
#include <linux/eventpoll.h>
#include <linux/fcntl.h>
#include <vfs/poll.h>

struct reader {
	struct trace_instance *t;
	int cpu;
	struct mutex lock; /* page, at */
	struct trace_page *page;
	u32 at; /* bytes that were read of it; PAGE_SIZE: it is spare */
};

static int raw_open(struct inode *i, struct file *f)
{
	const struct attr *a;
	struct trace_dir *d = trace_dir_of(attrfs_file_of(i, &a));
	struct reader *r = kzalloc(sizeof(*r), ALLOC_KERNEL);
	int err;

	if (!r)
		return -ENOMEM;
	r->page = kzalloc(sizeof(*r->page), ALLOC_KERNEL);
	err = r->page ? trace_open_stream(d->instance) : -ENOMEM;
	if (err) {
		kfree(r->page);
		kfree(r);
		return err;
	}
	r->t = d->instance;
	r->cpu = (int)d->what;
	r->at = PAGE_SIZE;
	mutex_init(&r->lock, RANK_LEAF_SLEEP);
	f->priv = r;
	return 0;
}

static void raw_release(struct file *f)
{
	struct reader *r = f->priv;

	if (!r)
		return;
	trace_close_stream(r->t);
	kfree(r->page);
	kfree(r);
}

/* A new page, if the old one is used up. False: there is none. */
static bool refill(struct reader *r, bool full)
{
	struct trace_cpu *c = &r->t->cpus[r->cpu];
	struct trace_page *p;
	ulong irq;

	if (r->at < PAGE_SIZE)
		return true;
	irq = spin_lock_irqsave(&c->lock);
	p = c->ring.nr ? trace_ring_take(&c->ring, r->page, full) : NULL;
	spin_unlock_irqrestore(&c->lock, irq);
	if (p) {
		r->page = p;
		r->at = 0;
	}
	return p;
}

static ssize_t raw_read(struct io *io)
{
	struct reader *r = io->file->priv;
	bool nonblock = io->file->flags & O_NONBLOCK;
	ssize_t n = 0;

	while (!n && io->iter.count) {
		mutex_lock(&r->lock);
		if (refill(r, !nonblock && READ_ONCE(r->t->on))) {
			n = (ssize_t)iter_copy_out((u8 *)r->page + r->at, PAGE_SIZE - r->at, &io->iter);
			r->at += (u32)n;
			n = n ? n : -EFAULT;
		}
		mutex_unlock(&r->lock);
		if (!n) {
			int err = trace_wait(r->t, r->cpu, true, nonblock);

			if (err)
				return err;
		}
	}
	return n;
}

static unsigned raw_poll(struct file *f, struct poll_table *pt)
{
	struct reader *r = f->priv;

	__atomic_store_n(&r->t->polled, true, __ATOMIC_SEQ_CST);
	poll_wait(f, &r->t->readers, pt);
	return r->at < PAGE_SIZE || trace_has(r->t, r->cpu, true) ? EPOLLIN | EPOLLRDNORM : 0;
}

const struct file_ops trace_raw_ops = {
	.open = raw_open, .release = raw_release, .read = raw_read, .poll = raw_poll, .llseek = no_llseek
};
