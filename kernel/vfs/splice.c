/* SPDX-License-Identifier: MIT
 *
 * Problem: a proxy or a copy tool moves bytes between files, sockets and pipes without looking at them.
 *
 * Idea: a pipe is a ring of page pieces, so pipe to pipe moves or shares pieces without copying. A file is read into
 * fresh pages that become pieces, and written from pieces in place.
 *
 * Contract: vfs/splice.h. A piece that two pipes share is not extended by writers any more.
 *
 * Locks: pipe->lock; two pipes by address. No lock is held while a file's op runs: the piece is kept by a reference,
 * and is taken off the pipe by the number of bytes that the file took.
 */
#include <core/log.h>
#include <lib/err.h>
#include <linux/eventpoll.h>
#include <task/task.h>
#include <vfs/splice.h>
#include <vfs/uapi.h>
#include <vfs/upcalls.h>

/* ---- waiting ------------------------------------------------------------------------------------------------- */

static int wait_readable(struct pipe *p, bool nonblock)
{
	if (pipe_used(p) || !READ_ONCE(p->writers))
		return 0;
	if (nonblock)
		return -EAGAIN;
	return wait_event_interruptible(&p->readers_wait, pipe_used(p) || !READ_ONCE(p->writers));
}

int splice_wait_writable(struct pipe *p, bool nonblock)
{
	if (!READ_ONCE(p->readers)) {
		upcall_vfs_signal(SIGPIPE);
		return -EPIPE;
	}
	if (!pipe_full(p))
		return 0;
	if (nonblock)
		return -EAGAIN;
	return wait_event_interruptible(&p->writers_wait, !pipe_full(p) || !READ_ONCE(p->readers));
}

static void told_readers(struct pipe *p)
{
	waitq_wake(&p->readers_wait, -1, EPOLLIN | EPOLLRDNORM);
}

static void told_writers(struct pipe *p)
{
	waitq_wake(&p->writers_wait, -1, EPOLLOUT | EPOLLWRNORM);
}

/* ---- file to pipe ---------------------------------------------------------------------------------------------- */

static ssize_t read_page(struct file *in, s64 *pos, struct page *page, size_t len, bool nonblock)
{
	struct io io = { .file = in, .pos = *pos, .flags = nonblock ? IO_NOWAIT : 0 };
	ssize_t n;

	iter_kernel(&io.iter, page_virt(page), min(len, PAGE_SIZE));
	n = in->ops->read(&io);
	*pos = io.pos;
	return n;
}

/* page is taken over if it was added. */
static bool add_piece(struct pipe *p, struct page *page, size_t len)
{
	bool added = false;

	mutex_lock(&p->lock);
	if (p->readers && !pipe_full(p)) {
		*pipe_at(p, p->head) = (struct pipe_piece){ page, 0, len, PIPE_MERGE };
		WRITE_ONCE(p->head, p->head + 1);
		added = true;
	}
	mutex_unlock(&p->lock);
	return added;
}

ssize_t splice_to_pipe(struct file *in, s64 *pos, struct pipe *to, size_t len, bool nonblock)
{
	s64 at = pos ? *pos : in->pos;
	ssize_t total = 0, n = 0;

	while ((size_t)total < len) {
		struct page *page;

		n = splice_wait_writable(to, nonblock || total);
		if (n)
			break;
		page = page_alloc(0, 0, current->tenant);
		n = page ? read_page(in, &at, page, len - total, nonblock || total) : -ENOMEM;
		if (n <= 0 ||
		    !add_piece(to, page, n)) { /* another writer may have filled it: the bytes are read again */
			if (n > 0)
				at -= n;
			if (page)
				page_put(page);
			if (n > 0 && in->mode & FMODE_SEEK)
				continue;
			break;
		}
		total += n;
		told_readers(to);
	}
	if (pos)
		*pos = at;
	else if (in->mode & FMODE_SEEK)
		in->pos = at;
	return total ? total : n;
}

/* ---- pipe to file ---------------------------------------------------------------------------------------------- */

/* The first piece, its page counted. False: the pipe is empty. */
static bool peek(struct pipe *p, struct pipe_piece *out)
{
	bool there;

	mutex_lock(&p->lock);
	there = pipe_used(p);
	if (there) {
		struct pipe_piece *b = pipe_at(p, p->tail);

		b->flags &= ~(u32)PIPE_MERGE; /* its bytes must not grow while the file reads them */
		*out = *b;
		page_get(out->page);
	}
	mutex_unlock(&p->lock);
	return there;
}

/* Takes n bytes off the front, if the front is still this page. */
static void eat(struct pipe *p, const struct pipe_piece *seen, size_t n)
{
	struct pipe_piece *b;

	mutex_lock(&p->lock);
	b = pipe_at(p, p->tail);
	if (pipe_used(p) && b->page == seen->page && b->offset == seen->offset) {
		b->offset += n;
		b->len -= n;
		if (!b->len) {
			page_put(b->page);
			b->page = NULL;
			WRITE_ONCE(p->tail, p->tail + 1);
		}
	}
	mutex_unlock(&p->lock);
	told_writers(p);
}

ssize_t splice_from_pipe(struct pipe *from, struct file *out, s64 *pos, size_t len, bool nonblock)
{
	s64 at = pos ? *pos : out->pos;
	ssize_t total = 0, n = 0;

	while ((size_t)total < len) {
		struct pipe_piece piece;
		struct io io = { .file = out, .pos = at };

		n = wait_readable(from, nonblock || total);
		if (n || !peek(from, &piece))
			break;
		io.flags = out->flags & O_APPEND ? IO_APPEND : 0;
		iter_kernel(&io.iter, (char *)page_virt(piece.page) + piece.offset,
			    min((size_t)piece.len, len - total));
		n = out->ops->write(&io);
		if (n > 0)
			eat(from, &piece, n);
		page_put(piece.page);
		at = io.pos;
		if (n <= 0)
			break;
		total += n;
	}
	if (pos)
		*pos = at;
	else if (out->mode & FMODE_SEEK)
		out->pos = at;
	return total ? total : n;
}

/* ---- pipe to pipe ------------------------------------------------------------------------------------------------ */

static void lock_two(struct pipe *a, struct pipe *b)
{
	if (a > b)
		swap(a, b);
	mutex_lock(&a->lock);
	mutex_lock_nested(&b->lock);
}

/* Both locked: pieces of up to len bytes, the k-th of `from` on when sharing. */
static ssize_t transfer_pieces(struct pipe *from, struct pipe *to, size_t len, bool share)
{
	ssize_t total = 0;

	for (unsigned k = from->tail; k != from->head && (size_t)total < len && !pipe_full(to); k++) {
		struct pipe_piece *b = pipe_at(from, k), piece = *b;

		piece.len = min((size_t)piece.len, len - total);
		piece.flags &= ~(u32)PIPE_MERGE;
		b->flags &= ~(u32)PIPE_MERGE;
		page_get(piece.page);
		*pipe_at(to, to->head) = piece;
		WRITE_ONCE(to->head, to->head + 1);
		total += piece.len;
		if (share)
			continue;
		b->offset += piece.len;
		b->len -= piece.len;
		if (b->len)
			break;
		page_put(b->page);
		b->page = NULL;
		WRITE_ONCE(from->tail, from->tail + 1);
	}
	return total;
}

ssize_t splice_pipes(struct pipe *from, struct pipe *to, size_t len, bool share, bool nonblock)
{
	ssize_t n;

	if (from == to)
		return -EINVAL;
	for (;;) {
		n = wait_readable(from, nonblock);
		if (!n)
			n = splice_wait_writable(to, nonblock);
		if (n)
			return n;
		lock_two(from, to);
		n = transfer_pieces(from, to, len, share);
		mutex_unlock(&from->lock);
		mutex_unlock(&to->lock);
		if (n || !READ_ONCE(from->writers))
			break;
	}
	if (n) {
		told_readers(to);
		if (!share)
			told_writers(from);
	}
	return n;
}
