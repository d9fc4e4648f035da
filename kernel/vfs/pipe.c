/* SPDX-License-Identifier: MIT
 *
 * Problem: shells tie programs together; data must flow in order, small writes whole, and each side must learn when the
 * other has gone.
 *
 * Idea: a ring of page pieces under one mutex. A writer appends to the last piece while it is his to extend, then adds
 * pages; a reader eats from the front. User memory is copied without faulting; when a page is missing, the lock is
 * dropped, the page brought in, and the loop goes on.
 *
 * Contract: pipe(7), fifo(7). Writes up to PIPE_ATOMIC bytes are whole, longer ones may be mixed. No reader: SIGPIPE
 * and -EPIPE. No writer: reads end with 0. A FIFO keeps its pipe while any end is open.
 *
 * Locks: pipe->lock. fifo_lock (RANK_SUBSYS) guards inode->pipe of FIFOs.
 */
#include <alloc/slab.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/printf.h>
#include <lib/string.h>
#include <linux/capability.h>
#include <linux/eventpoll.h>
#include <linux/fs.h>
#include <vfs/uapi.h>
#include <asm/ioctls.h>
#include <arch/user.h>
#include <task/account.h>
#include <task/sched.h>
#include <task/task.h>
#include <vfs/pipe.h>
#include <vfs/poll.h>
#include <vfs/upcalls.h>
#include "vfs_priv.h"

unsigned pipe_max_slots = PIPE_MAX_SLOTS;
u32 pipe_user_pages_soft = 16384, pipe_user_pages_hard;
static struct mutex fifo_lock = MUTEX_INIT(fifo_lock, RANK_SUBSYS);
static const struct file_ops pipe_ops;

/* ---- what a user may have ---------------------------------------------------------------------------------------- */

static bool is_privileged(void)
{
	return capable(CAP_SYS_RESOURCE) || capable(CAP_SYS_ADMIN);
}

static bool is_above(kuid_t user, u32 limit)
{
	return limit && account_read(user, ACCOUNT_PIPE_PAGES) > limit && !is_privileged();
}

/* Pages for a new pipe: fewer for a user who has many. 0, or -ENFILE, -ENOMEM. */
static int charge_new(kuid_t user, unsigned *slots)
{
	int err = account_charge(user, ACCOUNT_PIPE_PAGES, *slots, ~0ULL);

	if (err)
		return err;
	if (is_above(user, READ_ONCE(pipe_user_pages_soft))) {
		account_uncharge(user, ACCOUNT_PIPE_PAGES, *slots - PIPE_LEAST_SLOTS);
		*slots = PIPE_LEAST_SLOTS;
	}
	if (!is_above(user, READ_ONCE(pipe_user_pages_hard)))
		return 0;
	account_uncharge(user, ACCOUNT_PIPE_PAGES, *slots);
	return -ENFILE;
}

static int pipe_alloc(struct pipe **out)
{
	kuid_t user = current->cred->uid;
	unsigned slots = PIPE_SLOTS;
	struct pipe *p;
	int err;

	if (slots > READ_ONCE(pipe_max_slots) && !capable(CAP_SYS_RESOURCE))
		slots = READ_ONCE(pipe_max_slots);
	err = charge_new(user, &slots);
	if (err)
		return err;
	p = kzalloc(sizeof(*p), ALLOC_CHARGED);
	if (p)
		p->piece = kcalloc(slots, sizeof(*p->piece), ALLOC_CHARGED);
	if (!p || !p->piece) {
		kfree(p);
		account_uncharge(user, ACCOUNT_PIPE_PAGES, slots);
		return -ENOMEM;
	}
	p->slots = slots;
	p->user = user;
	*out = p;
	mutex_init(&p->lock, RANK_PIPE);
	waitq_init(&p->readers_wait);
	waitq_init(&p->writers_wait);
	return 0;
}

static void drop_first(struct pipe *p)
{
	struct pipe_piece *b = pipe_at(p, p->tail);

	page_put(b->page);
	b->page = NULL;
	WRITE_ONCE(p->tail, p->tail + 1);
}

static void pipe_free(struct pipe *p)
{
	while (pipe_used(p))
		drop_first(p);
	account_uncharge(p->user, ACCOUNT_PIPE_PAGES, p->slots);
	kfree(p->piece);
	kfree(p);
}

struct pipe *pipe_of(struct file *f)
{
	return f->ops == &pipe_ops ? f->inode->pipe : NULL;
}

/* ---- read ------------------------------------------------------------------------------------------------ */

/* Under the lock: what can be read now. 0: nothing there, or the user's page is missing (*fault). */
static ssize_t take_bytes(struct pipe *p, struct iter *it, bool *fault)
{
	ssize_t total = 0;

	*fault = false;
	while (pipe_used(p) && it->count) {
		struct pipe_piece *b = pipe_at(p, p->tail);
		size_t want = min((size_t)b->len, it->count);
		size_t n = iter_page_out_nofault(b->page, b->offset, want, it);
		bool packet = b->flags & PIPE_PACKET;

		total += n;
		if (n < want) {
			*fault = true;
			b->offset += n;
			b->len -= n;
			break;
		}
		b->offset += n;
		b->len -= n;
		if (!b->len || packet)
			drop_first(p);
		if (packet)
			break;
	}
	return total;
}

static bool may_block(const struct io *io)
{
	return !(io->file->flags & O_NONBLOCK) && !(io->flags & IO_NOWAIT);
}

/* A call takes what is there, even if the program's pages must be brought in for it one by one. */
static ssize_t pipe_read(struct io *io)
{
	struct pipe *p = io->file->inode->pipe;
	ssize_t n = 0, total = 0;
	bool fault;

	if (!io->iter.count)
		return 0;
	for (;;) {
		bool was_full, end;

		mutex_lock(&p->lock);
		was_full = pipe_full(p);
		n = take_bytes(p, &io->iter, &fault);
		end = !p->writers && !pipe_used(p);
		mutex_unlock(&p->lock);
		if (n && (was_full || !pipe_used(p)))
			waitq_wake(&p->writers_wait, 1, EPOLLOUT | EPOLLWRNORM);
		total += n;
		if (total && !fault)
			return total;
		if (fault)
			n = iter_fault_in(&io->iter, io->iter.count, true);
		else if (end)
			return 0;
		else if (!may_block(io))
			return -EAGAIN;
		else
			n = wait_event_interruptible(&p->readers_wait, pipe_used(p) || !READ_ONCE(p->writers));
		if (n)
			return total ? total : n;
	}
}

/* ---- write ------------------------------------------------------------------------------------------------ */

static ssize_t add_to_last(struct pipe *p, struct iter *it)
{
	struct pipe_piece *b = pipe_at(p, p->head - 1);
	size_t end = b->offset + b->len, room = PAGE_SIZE - end, n;

	if (!pipe_used(p) || !(b->flags & PIPE_MERGE) || !room)
		return 0;
	if (it->count > room && it->count <= PIPE_ATOMIC && pipe_full(p))
		return 0; /* it would not stay whole */
	n = iter_page_in_nofault(b->page, end, min(room, it->count), it);
	b->len += n;
	return n;
}

/* A new piece with up to a page. 0: the user's page is missing. */
static ssize_t add_piece(struct pipe *p, struct iter *it, bool packet)
{
	struct page *page = page_alloc(0, 0, current->tenant);
	size_t n;

	if (!page)
		return -ENOMEM;
	n = iter_page_in_nofault(page, 0, min(it->count, PAGE_SIZE), it);
	if (!n) {
		page_put(page);
		return 0;
	}
	*pipe_at(p, p->head) = (struct pipe_piece){ page, 0, n, packet ? PIPE_PACKET : PIPE_MERGE };
	WRITE_ONCE(p->head, p->head + 1);
	return n;
}

/* Under the lock: writes what fits. *fault: stopped at a missing user page. */
static ssize_t put_bytes(struct pipe *p, struct iter *it, bool packet, bool *fault)
{
	ssize_t total = 0, n = packet ? 0 : add_to_last(p, it);

	*fault = false;
	total = n;
	while (it->count && !pipe_full(p)) {
		n = add_piece(p, it, packet);
		if (n <= 0) {
			*fault = n == 0;
			return total ? total : n;
		}
		total += n;
	}
	return total;
}

static ssize_t no_readers(void)
{
	upcall_vfs_signal(SIGPIPE);
	return -EPIPE;
}

static ssize_t pipe_write(struct io *io)
{
	struct pipe *p = io->file->inode->pipe;
	bool packet = io->file->flags & O_DIRECT, fault = false;
	ssize_t total = 0, n = 0;

	while (io->iter.count) {
		bool was_empty;

		n = iter_fault_in(&io->iter, io->iter.count, false);
		if (n)
			break;
		mutex_lock(&p->lock);
		if (!p->readers) {
			mutex_unlock(&p->lock);
			n = no_readers();
			break;
		}
		was_empty = !pipe_used(p);
		n = put_bytes(p, &io->iter, packet, &fault);
		mutex_unlock(&p->lock);
		if (n < 0)
			break;
		total += n;
		if (n && was_empty)
			waitq_wake(&p->readers_wait, 1, EPOLLIN | EPOLLRDNORM);
		if (fault || !io->iter.count)
			continue;
		n = -EAGAIN;
		if (!may_block(io))
			break;
		n = wait_event_interruptible(&p->writers_wait, !pipe_full(p) || !READ_ONCE(p->readers));
		if (n)
			break;
	}
	return total ? total : n;
}

/* ---- poll, ioctl, life --------------------------------------------------------------------------------------- */

static unsigned pipe_poll(struct file *f, struct poll_table *pt)
{
	struct pipe *p = f->inode->pipe;
	unsigned ready = 0;

	if (f->mode & FMODE_READ) {
		poll_wait(f, &p->readers_wait, pt);
		if (pipe_used(p))
			ready |= EPOLLIN | EPOLLRDNORM;
		if (!READ_ONCE(p->writers) && READ_ONCE(p->opened_writers))
			ready |= EPOLLHUP;
	}
	if (f->mode & FMODE_WRITE) {
		poll_wait(f, &p->writers_wait, pt);
		if (!pipe_full(p))
			ready |= EPOLLOUT | EPOLLWRNORM;
		if (!READ_ONCE(p->readers))
			ready |= EPOLLERR;
	}
	return ready;
}

static long pipe_ioctl(struct file *f, unsigned cmd, ulong arg)
{
	struct pipe *p = f->inode->pipe;
	int n = 0;

	if (cmd != FIONREAD)
		return -ENOTTY;
	mutex_lock(&p->lock);
	for (unsigned i = p->tail; i != p->head; i++)
		n += pipe_at(p, i)->len;
	mutex_unlock(&p->lock);
	return user_put((void __user *)arg, &n, sizeof(n));
}

unsigned pipe_size(const struct pipe *p)
{
	return p->slots * PAGE_SIZE;
}

/* p is to have so many slots: -EPERM, if that makes too many for its user. */
static int recharge(struct pipe *p, unsigned slots)
{
	int err = account_charge(p->user, ACCOUNT_PIPE_PAGES, slots, ~0ULL);

	if (err)
		return err;
	account_uncharge(p->user, ACCOUNT_PIPE_PAGES, p->slots);
	if (slots <= p->slots || (!is_above(p->user, READ_ONCE(pipe_user_pages_soft)) &&
				  !is_above(p->user, READ_ONCE(pipe_user_pages_hard))))
		return 0;
	account_uncharge(p->user, ACCOUNT_PIPE_PAGES, slots - p->slots);
	return -EPERM;
}

int pipe_set_size(struct pipe *p, unsigned bytes)
{
	unsigned slots = max(DIV_ROUND_UP(bytes, PAGE_SIZE), 1UL), used;
	struct pipe_piece *ring;
	int err;

	if (slots & (slots - 1))
		slots = 1U << (32 - __builtin_clz(slots));
	if (bytes > 1U << 31)
		return -EINVAL;
	if (slots > READ_ONCE(pipe_max_slots) && !capable(CAP_SYS_RESOURCE))
		return -EPERM;
	ring = kcalloc(slots, sizeof(*ring), ALLOC_CHARGED);
	if (!ring)
		return -ENOMEM;
	mutex_lock(&p->lock);
	used = pipe_used(p);
	err = used > slots ? -EBUSY : recharge(p, slots);
	if (err) {
		mutex_unlock(&p->lock);
		kfree(ring);
		return err;
	}
	for (unsigned i = 0; i < used; i++)
		ring[i] = *pipe_at(p, p->tail + i);
	swap(p->piece, ring);
	p->slots = slots;
	WRITE_ONCE(p->tail, 0);
	WRITE_ONCE(p->head, used);
	mutex_unlock(&p->lock);
	kfree(ring);
	waitq_wake_all(&p->writers_wait);
	return slots * PAGE_SIZE;
}

/* One end of a pipe more; under the lock. */
static void add_end(struct pipe *p, unsigned mode)
{
	p->files++;
	if (mode & FMODE_READ) {
		WRITE_ONCE(p->readers, p->readers + 1);
		WRITE_ONCE(p->opened_readers, p->opened_readers + 1);
	}
	if (mode & FMODE_WRITE) {
		WRITE_ONCE(p->writers, p->writers + 1);
		WRITE_ONCE(p->opened_writers, p->opened_writers + 1);
	}
}

static void drop_end(struct inode *i, unsigned mode)
{
	struct pipe *p = i->pipe;
	bool last;

	mutex_lock(&fifo_lock);
	mutex_lock(&p->lock);
	if (mode & FMODE_READ)
		WRITE_ONCE(p->readers, p->readers - 1);
	if (mode & FMODE_WRITE)
		WRITE_ONCE(p->writers, p->writers - 1);
	last = !--p->files;
	mutex_unlock(&p->lock);
	if (last) {
		i->pipe = NULL;
	} else { /* before the lock is dropped: the other end may close next and free the pipe */
		waitq_wake(&p->readers_wait, -1, EPOLLIN | EPOLLRDNORM | EPOLLHUP);
		waitq_wake(&p->writers_wait, -1, EPOLLOUT | EPOLLWRNORM | EPOLLERR);
	}
	mutex_unlock(&fifo_lock);
	if (last)
		pipe_free(p);
}

void pipe_end_and_wait(struct file *f)
{
	struct pipe *p = f->inode->pipe;

	mutex_lock(&p->lock);
	WRITE_ONCE(p->writers, p->writers - 1);
	mutex_unlock(&p->lock);
	waitq_wake(&p->readers_wait, -1, EPOLLIN | EPOLLRDNORM | EPOLLHUP);
	(void)!wait_event_killable(&p->writers_wait, !READ_ONCE(p->readers));
	mutex_lock(&p->lock);
	WRITE_ONCE(p->writers, p->writers + 1);
	mutex_unlock(&p->lock);
}

static void pipe_release(struct file *f)
{
	drop_end(f->inode, f->mode);
}

static const struct file_ops pipe_ops = {
	.read = pipe_read,
	.write = pipe_write,
	.llseek = no_llseek,
	.poll = pipe_poll,
	.ioctl = pipe_ioctl,
	.release = pipe_release,
};

int pipe_create(unsigned flags, struct file **read_end, struct file **write_end)
{
	struct inode *i = anon_inode(S_IFIFO | 0600, NULL);
	char name[32];
	struct pipe *p;
	int err;

	if (!i)
		return -ENOMEM;
	err = pipe_alloc(&p);
	if (err) {
		inode_put(i);
		return err;
	}
	i->pipe = p;
	str_format(name, sizeof(name), "pipe:[%llu]", (unsigned long long)i->ino);
	flags &= O_NONBLOCK | O_DIRECT;
	inode_get(i); /* for the second end */
	err = file_on_inode(i, name, &pipe_ops, NULL, flags | O_RDONLY, read_end);
	if (err) {
		pipe_free(i->pipe);
		inode_put(i);
		return err;
	}
	add_end(i->pipe, FMODE_READ);
	inode_get(i);
	err = file_on_inode(i, name, &pipe_ops, NULL, flags | O_WRONLY, write_end);
	if (err)
		file_put(*read_end);
	else
		add_end(i->pipe, FMODE_WRITE);
	inode_put(i);
	return err;
}

/* ---- FIFOs --------------------------------------------------------------------------------------------------- */

static int fifo_get(struct inode *i, unsigned mode, struct pipe **out)
{
	int err = 0;

	mutex_lock(&fifo_lock);
	*out = i->pipe;
	if (!*out)
		err = pipe_alloc(out);
	if (!err) {
		i->pipe = *out;
		mutex_lock(&(*out)->lock);
		add_end(*out, mode);
		mutex_unlock(&(*out)->lock);
	}
	mutex_unlock(&fifo_lock);
	return err;
}

int fifo_open(struct inode *i, struct file *f)
{
	unsigned mode = f->mode & (FMODE_READ | FMODE_WRITE);
	bool block = !(f->flags & O_NONBLOCK);
	struct pipe *p;
	int err = fifo_get(i, mode, &p);

	if (err)
		return err;
	f->ops = &pipe_ops;
	f->mode &= ~FMODE_SEEK;
	waitq_wake_all(&p->readers_wait);
	waitq_wake_all(&p->writers_wait);
	if (mode == FMODE_READ && !p->writers && block) {
		u64 before = p->opened_writers;

		err = wait_event_interruptible(&p->readers_wait, READ_ONCE(p->opened_writers) != before);
	} else if (mode == FMODE_WRITE && !p->readers) {
		u64 before = p->opened_readers;

		err = -ENXIO;
		if (block)
			err = wait_event_interruptible(&p->writers_wait, READ_ONCE(p->opened_readers) != before);
	}
	if (err)
		drop_end(i, mode);
	return err;
}
