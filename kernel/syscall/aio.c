/* SPDX-License-Identifier: MIT
 *
 * Problem: the calls of asynchronous I/O, as libaio, fio and databases use them.
 *
 * Idea: each iocb is copied in and checked, then becomes a request of its context (vfs/aio.h). Reads and writes run the
 * file's op with io->done set: what can go on by itself (O_DIRECT on a disk) is queued, everything else has its result
 * at once, and its event is in the ring when io_submit returns. fsync goes to a worker, poll to the file's wait queues.
 *
 * Contract: io_setup(2), io_submit(2), io_getevents(2), io_cancel(2), io_destroy(2), io_pgetevents of Linux 6.1. An
 * iocb that is refused ends the submission; those before it are under way.
 *
 * Locks: none of its own.
 */
#include <abi/syscalls.h>
#include <arch/user.h>
#include <core/clock.h>
#include <lib/err.h>
#include <linux/eventpoll.h>
#include <linux/fs.h>
#include <linux/poll.h>
#include <linux/time_types.h>
#include <process/process.h>
#include <task/plug.h>
#include <task/task.h>
#include <vfs/aio.h>
#include <vfs/epoll.h>
#include <vfs/eventfd.h>

#include "rw_priv.h"

#define MAX_RW    0x7ffff000UL
#define RING_MOST 0x400000 /* Linux doubles it and keeps a ring below 256 MiB */

/* ---- requests ------------------------------------------------------------------------------------------------ */

static void transfer_done(struct io *io, ssize_t result)
{
	aio_finish(container_of(io, struct aio_req, io), result);
}

static int get_vectors(struct aio_req *r, const struct iocb *cb, bool many, struct vectors *v)
{
	int err = 0;

	v->vec = v->fast;
	if (!many) {
		iter_user(&r->io.iter, (void __user *)(ulong)cb->aio_buf, min(cb->aio_nbytes, (u64)MAX_RW));
		return 0;
	}
	if (cb->aio_nbytes > INT32_MAX)
		return -EINVAL;
	err = rw_vectors_get(v, (const void __user *)(ulong)cb->aio_buf, (int)cb->aio_nbytes);
	if (!err)
		iter_user_vec(&r->io.iter, v->vec, cb->aio_nbytes, v->total);
	return err;
}

/* 0: under way or finished. */
static int start_transfer(struct aio_req *r, const struct iocb *cb, bool write, bool many)
{
	struct file *f = r->file;
	struct vectors v;
	unsigned flags;
	ssize_t n;
	int err = rw_flags((int)cb->aio_rw_flags, &flags);

	if (!err && cb->aio_offset < 0)
		err = -EINVAL;
	if (!err && !(f->mode & (write ? FMODE_WRITE : FMODE_READ)))
		err = -EBADF;
	if (!err && !(write ? f->ops->write : f->ops->read))
		err = -EINVAL;
	if (err)
		return err;
	err = get_vectors(r, cb, many, &v);
	if (!err) {
		r->io.file = f;
		r->io.pos = cb->aio_offset;
		r->io.flags = (flags | rw_file_flags(f, write)) & ~IO_HIPRI; /* nobody waits, so nobody polls */
		r->io.done = transfer_done;
		n = rw_run(&r->io, write);
		if (n != -EIOCBQUEUED)
			aio_finish(r, n <= -ERESTARTSYS && n >= -ERESTART_RESTARTBLOCK ? -EINTR : n);
	}
	rw_vectors_put(&v);
	return err;
}

static int start_sync(struct aio_req *r, const struct iocb *cb, bool data_only)
{
	if (cb->aio_buf || cb->aio_offset || cb->aio_nbytes || cb->aio_rw_flags)
		return -EINVAL;
	if (!r->file->ops->fsync)
		return -EINVAL;
	r->data_only = data_only;
	aio_sync(r);
	return 0;
}

static int start_poll(struct aio_req *r, const struct iocb *cb)
{
	if (cb->aio_buf > UINT16_MAX || cb->aio_offset || cb->aio_nbytes || cb->aio_rw_flags)
		return -EINVAL;
	r->events = (u16)cb->aio_buf | EPOLLERR | EPOLLHUP;
	return aio_poll(r);
}

static int start(struct aio_req *r, const struct iocb *cb)
{
	switch (cb->aio_lio_opcode) {
	case IOCB_CMD_PREAD: return start_transfer(r, cb, false, false);
	case IOCB_CMD_PWRITE: return start_transfer(r, cb, true, false);
	case IOCB_CMD_PREADV: return start_transfer(r, cb, false, true);
	case IOCB_CMD_PWRITEV: return start_transfer(r, cb, true, true);
	case IOCB_CMD_FSYNC: return start_sync(r, cb, false);
	case IOCB_CMD_FDSYNC: return start_sync(r, cb, true);
	case IOCB_CMD_POLL: return start_poll(r, cb);
	}
	return -EINVAL;
}

static struct file *counted_file(int fd)
{
	struct fd_ref ref = fd_get(fd);

	if (ref.file)
		file_get(ref.file);
	fd_put(ref);
	return ref.file;
}

static int get_files(struct aio_req *r, const struct iocb *cb)
{
	r->file = counted_file((int)cb->aio_fildes);
	if (!r->file)
		return -EBADF;
	if (!(cb->aio_flags & IOCB_FLAG_RESFD))
		return 0;
	r->eventfd = counted_file((int)cb->aio_resfd);
	if (!r->eventfd)
		return -EBADF;
	return eventfd_of(r->eventfd) ? 0 : -EINVAL;
}

static int submit_one(struct aio_ctx *c, struct iocb __user *ucb)
{
	struct aio_req *r;
	struct iocb cb;
	u32 key = 0;
	int err;

	if (user_get(&cb, ucb, sizeof(cb)))
		return -EFAULT;
	if (cb.aio_reserved2 || (s64)cb.aio_nbytes < 0)
		return -EINVAL;
	r = aio_req_get(c);
	if (!r)
		return -EAGAIN;
	r->data = cb.aio_data;
	r->user_iocb = (ulong)ucb;
	err = get_files(r, &cb);
	if (!err && user_put(&ucb->aio_key, &key, sizeof(key)))
		err = -EFAULT;
	if (!err)
		err = start(r, &cb);
	if (err)
		aio_req_drop(r);
	return err;
}

/* ---- calls --------------------------------------------------------------------------------------------------- */

long sys_io_setup(u32 nr_events, ulong __user *ctx)
{
	ulong id;
	int err;

	if (user_get(&id, ctx, sizeof(id)))
		return -EFAULT;
	if (id || !nr_events || nr_events > RING_MOST)
		return -EINVAL;
	err = aio_create(nr_events, &id);
	if (!err && user_put(ctx, &id, sizeof(id))) {
		err = aio_destroy(id);
		return err ? err : -EFAULT;
	}
	return err;
}

long sys_io_destroy(ulong ctx)
{
	return aio_destroy(ctx);
}

long sys_io_submit(ulong ctx, long nr, void __user *const __user *iocbs)
{
	struct aio_ctx *c;
	struct plug plug;
	long i;
	int err = 0;

	if (nr < 0)
		return -EINVAL;
	c = aio_get(ctx);
	if (!c)
		return -EINVAL;
	plug_start(&plug);
	for (i = 0; i < nr; i++) {
		struct iocb __user *cb;

		err = user_get(&cb, iocbs + i, sizeof(cb)) ? -EFAULT : submit_one(c, cb);
		if (err)
			break;
	}
	plug_finish(&plug);
	aio_put(c);
	return i ? i : err;
}

long sys_io_cancel(ulong ctx, void __user *iocb, void __user *result)
{
	struct aio_ctx *c;
	u32 key;
	int err;

	if (user_get(&key, &((struct iocb __user *)iocb)->aio_key, sizeof(key)))
		return -EFAULT;
	if (key)
		return -EINVAL;
	c = aio_get(ctx);
	if (!c)
		return -EINVAL;
	err = aio_cancel(c, (ulong)iocb);
	aio_put(c);
	return err;
}

static int get_deadline(const void __user *timeout, u64 *deadline)
{
	struct __kernel_timespec t;
	u64 now = clock_ns();

	*deadline = ~0ULL;
	if (!timeout)
		return 0;
	if (user_get(&t, timeout, sizeof(t)))
		return -EFAULT;
	if (t.tv_sec < 0 || t.tv_nsec < 0 || (!t.tv_sec && !t.tv_nsec)) /* Linux takes nonsense for "at once" */
		*deadline = 0;
	else if ((u64)t.tv_sec < (~0ULL - now) / NSEC_PER_SEC - 1)
		*deadline = now + (u64)t.tv_sec * NSEC_PER_SEC + (u64)t.tv_nsec;
	return 0;
}

static long get_events(ulong ctx, long min_nr, long nr, void __user *events, u64 deadline)
{
	struct aio_ctx *c = aio_get(ctx);
	long n = -EINVAL;

	if (!c)
		return -EINVAL;
	if (min_nr >= 0 && min_nr <= nr)
		n = aio_read_events(c, min_nr, nr, events, deadline);
	aio_put(c);
	return n;
}

long sys_io_getevents(ulong ctx, long min_nr, long nr, void __user *events, void __user *timeout)
{
	u64 deadline;
	int err = get_deadline(timeout, &deadline);

	return err ? err : get_events(ctx, min_nr, nr, events, deadline);
}

long sys_io_pgetevents(ulong ctx, long min_nr, long nr, void __user *events, void __user *timeout,
		       const void __user *sig)
{
	struct {
		const u64 __user *set;
		size_t size;
	} mask = { 0 };
	u64 deadline;
	long n = get_deadline(timeout, &deadline);

	if (!n && sig && user_get(&mask, sig, sizeof(mask)))
		n = -EFAULT;
	if (!n)
		n = signal_mask_begin(mask.set, mask.size);
	if (n)
		return n;
	n = get_events(ctx, min_nr, nr, events, deadline);
	signal_mask_end(n == -EINTR);
	return n == -EINTR ? -ERESTARTNOHAND : n;
}
