/* SPDX-License-Identifier: MIT
 *
 * Problem: sixteen calls read and write: with one buffer or many, at the file's position or a given one, with flags.
 *
 * Idea: all become one struct io. transfer() checks the file's rights, takes the position (under its lock if the open
 * file is shared), runs the file's op and stores the position. sendfile and copy_file_range move pages of a bounce
 * buffer between two such transfers.
 *
 * Contract: read(2), readv(2), preadv2(2), sendfile(2), copy_file_range(2). At most MAX_RW bytes a call.
 *
 * Locks: file->pos_lock around a transfer at the file's own position if others may use the same open file.
 */
#include <abi/syscalls.h>
#include <alloc/page.h>
#include <alloc/slab.h>
#include <arch/user.h>
#include <lib/err.h>
#include <linux/fs.h>
#include <linux/inotify.h>
#include <linux/uio.h>
#include <task/task.h>
#include <vfs/names.h>
#include <vfs/uapi.h>
#include <vfs/vfs.h>

#include "rw_priv.h"

#define MAX_RW 0x7ffff000UL

/* ---- one transfer ------------------------------------------------------------------------------------------- */

unsigned rw_file_flags(const struct file *f, bool write)
{
	unsigned flags = 0;

	if (f->flags & O_DIRECT)
		flags |= IO_DIRECT;
	if (write && f->flags & O_APPEND)
		flags |= IO_APPEND;
	if (write && f->flags & O_DSYNC)
		flags |= (f->flags & O_SYNC) == O_SYNC ? IO_SYNC | IO_DSYNC : IO_DSYNC;
	return flags;
}

static __always_inline ssize_t run(struct io *io, bool write)
{
	struct file *f = io->file;
	ssize_t (*op)(struct io *) = write ? f->ops->write : f->ops->read;
	ssize_t n;

	if (!(f->mode & (write ? FMODE_WRITE : FMODE_READ)))
		return -EBADF;
	if (!op)
		return S_ISDIR(f->inode->mode) ? -EISDIR : -EINVAL;
	n = op(io);
	if (n > 0) {
		if (write && io->flags & (IO_DSYNC | IO_SYNC) && f->ops->fsync) {
			int err = f->ops->fsync(f, io->pos - n, io->pos, !(io->flags & IO_SYNC));

			if (err)
				return err;
		}
		if (unlikely(f->inode->watches || f->path.dentry->parent->inode->watches))
			dentry_notify(f->path.dentry, write ? IN_MODIFY : IN_ACCESS);
	}
	return n;
}

ssize_t rw_run(struct io *io, bool write)
{
	return run(io, write);
}

/* At the file's own position. */
static __always_inline ssize_t transfer(struct fd_ref r, struct io *io, bool write)
{
	struct file *f = r.file;
	bool shared;
	ssize_t n;

	io->file = f;
	io->flags |= rw_file_flags(f, write);
	if (!(f->mode & FMODE_SEEK))
		return run(io, write);
	shared = r.counted || atomic_read(&f->refs.n) > 1;
	if (shared)
		mutex_lock(&f->pos_lock);
	io->pos = f->pos;
	n = run(io, write);
	f->pos = io->pos;
	if (shared)
		mutex_unlock(&f->pos_lock);
	return n;
}

/* At a position of the caller's. */
static __always_inline ssize_t transfer_at(struct fd_ref r, struct io *io, s64 pos, bool write)
{
	if (pos < 0)
		return -EINVAL;
	if (!(r.file->mode & FMODE_SEEK))
		return -ESPIPE;
	io->file = r.file;
	io->flags |= rw_file_flags(r.file, write);
	io->pos = pos;
	return run(io, write);
}

/* read, write, pread and pwrite: each its own straight code, as nothing is called more often. */
static __always_inline long simple(int fd, const void __user *buf, size_t count, const s64 *pos, bool write)
{
	struct fd_ref r = fd_get(fd);
	struct io io;
	long n;

	if (!r.file)
		return -EBADF;
	io.flags = 0;
	io.pos = 0;
	io.done = NULL;
	iter_user(&io.iter, (void __user *)buf, min(count, MAX_RW));
	n = pos ? transfer_at(r, &io, *pos, write) : transfer(r, &io, write);
	fd_put(r);
	return n;
}

long sys_read(int fd, void __user *buf, size_t count)
{
	return simple(fd, buf, count, NULL, false);
}

long sys_write(int fd, const void __user *buf, size_t count)
{
	return simple(fd, buf, count, NULL, true);
}

long sys_pread64(int fd, void __user *buf, size_t count, s64 offset)
{
	return offset < 0 ? -EINVAL : simple(fd, buf, count, &offset, false);
}

long sys_pwrite64(int fd, const void __user *buf, size_t count, s64 offset)
{
	return offset < 0 ? -EINVAL : simple(fd, buf, count, &offset, true);
}

/* ---- vectors --------------------------------------------------------------------------------------------------- */

_Static_assert(sizeof(struct iter_vec) == sizeof(struct iovec), "an iter_vec is an iovec");

int rw_vectors_get(struct vectors *v, const void __user *iov, int n)
{
	v->vec = v->fast;
	v->total = 0;
	if (n < 0 || n > UIO_MAXIOV)
		return -EINVAL;
	if (n > FAST_IOVS) {
		v->vec = kmalloc(n * sizeof(*v->vec), 0);
		if (!v->vec)
			return -ENOMEM;
	}
	if (user_get(v->vec, iov, n * sizeof(*v->vec)))
		return -EFAULT;
	for (int i = 0; i < n; i++) {
		if ((ssize_t)v->vec[i].len < 0)
			return -EINVAL;
		v->vec[i].len = min(v->vec[i].len, MAX_RW - v->total);
		v->total += v->vec[i].len;
	}
	return 0;
}

void rw_vectors_put(struct vectors *v)
{
	if (v->vec != v->fast)
		kfree(v->vec);
}

int rw_flags(int flags, unsigned *io)
{
	if (flags & ~(RWF_HIPRI | RWF_DSYNC | RWF_SYNC | RWF_NOWAIT | RWF_APPEND))
		return -EOPNOTSUPP;
	*io = (flags & RWF_HIPRI ? IO_HIPRI : 0) | (flags & RWF_DSYNC ? IO_DSYNC : 0) |
	      (flags & RWF_SYNC ? IO_SYNC | IO_DSYNC : 0) | (flags & RWF_NOWAIT ? IO_NOWAIT : 0) |
	      (flags & RWF_APPEND ? IO_APPEND : 0);
	return 0;
}

static long vectored(int fd, const void __user *iov, int n, const s64 *pos, int flags, bool write)
{
	struct fd_ref r = fd_get(fd);
	struct io io = { 0 };
	struct vectors v;
	long err;

	if (!r.file)
		return -EBADF;
	err = rw_vectors_get(&v, iov, n);
	if (!err)
		err = rw_flags(flags, &io.flags);
	if (!err) {
		iter_user_vec(&io.iter, v.vec, n, v.total);
		err = pos ? transfer_at(r, &io, *pos, write) : transfer(r, &io, write);
	}
	rw_vectors_put(&v);
	fd_put(r);
	return err;
}

long sys_readv(int fd, const void __user *iov, int iovcnt)
{
	return vectored(fd, iov, iovcnt, NULL, 0, false);
}

long sys_writev(int fd, const void __user *iov, int iovcnt)
{
	return vectored(fd, iov, iovcnt, NULL, 0, true);
}

/* On 64 bits the low word holds the whole position. */
long sys_preadv(int fd, const void __user *iov, int iovcnt, ulong pos_low, ulong pos_high)
{
	s64 pos = pos_low;

	return pos < 0 ? -EINVAL : vectored(fd, iov, iovcnt, &pos, 0, false);
}

long sys_pwritev(int fd, const void __user *iov, int iovcnt, ulong pos_low, ulong pos_high)
{
	s64 pos = pos_low;

	return pos < 0 ? -EINVAL : vectored(fd, iov, iovcnt, &pos, 0, true);
}

long sys_preadv2(int fd, const void __user *iov, int iovcnt, ulong pos_low, ulong pos_high, int flags)
{
	s64 pos = pos_low;

	return vectored(fd, iov, iovcnt, pos == -1 ? NULL : &pos, flags, false);
}

long sys_pwritev2(int fd, const void __user *iov, int iovcnt, ulong pos_low, ulong pos_high, int flags)
{
	s64 pos = pos_low;

	return vectored(fd, iov, iovcnt, pos == -1 ? NULL : &pos, flags, true);
}

/* ---- from file to file ------------------------------------------------------------------------------------------- */

/* Moves up to len bytes through a page; positions NULL: the file's own. */
static long move(struct fd_ref in, s64 *in_pos, struct fd_ref out, s64 *out_pos, size_t len)
{
	struct page *bounce = page_alloc(0, 0, current->tenant);
	long total = 0, n = 0;

	if (!bounce)
		return -ENOMEM;
	while (len) {
		struct io io = { 0 };
		long w;

		iter_kernel(&io.iter, page_virt(bounce), min(len, PAGE_SIZE));
		n = in_pos ? transfer_at(in, &io, *in_pos, false) : transfer(in, &io, false);
		if (n <= 0)
			break;
		io = (struct io){ 0 };
		iter_kernel(&io.iter, page_virt(bounce), n);
		w = out_pos ? transfer_at(out, &io, *out_pos, true) : transfer(out, &io, true);
		if (w < n) { /* the rest was read but not written: put the position back */
			s64 back = n - max(w, 0L);

			if (!in_pos && in.file->mode & FMODE_SEEK)
				in.file->pos -= back;
			if (in_pos)
				*in_pos -= back;
		}
		if (in_pos)
			*in_pos += n;
		if (out_pos && w > 0)
			*out_pos += w;
		if (w > 0)
			total += w;
		if (w < n) {
			n = w;
			break;
		}
		len -= n;
	}
	page_put(bounce);
	return total ? total : n;
}

static int get_pos(const s64 __user *upos, s64 *pos)
{
	return upos ? user_get(pos, upos, sizeof(*pos)) : 0;
}

static long put_pos(s64 __user *upos, const s64 *pos, long result)
{
	return upos && result >= 0 && user_put(upos, pos, sizeof(*pos)) ? -EFAULT : result;
}

/* Cuts count down to what sendfile may move. What cannot be put back goes into a pipe only, and what one read gives. */
static int sendfile_limit(const struct file *in, const struct file *out, size_t *count)
{
	u16 mode = in->inode->mode;

	if (out->flags & O_APPEND)
		return -EINVAL;
	*count = min(*count, MAX_RW);
	if (S_ISREG(mode) || S_ISBLK(mode))
		return 0;
	*count = min(*count, PAGE_SIZE);
	return S_ISFIFO(out->inode->mode) && !S_ISFIFO(mode) ? 0 : -EINVAL;
}

long sys_sendfile(int out_fd, int in_fd, s64 __user *offset, size_t count)
{
	struct fd_ref in, out;
	s64 pos = 0;
	long n = get_pos(offset, &pos);

	if (n)
		return n;
	in = fd_get(in_fd);
	out = fd_get(out_fd);
	n = -EBADF;
	if (in.file && out.file && in.file->mode & FMODE_READ && out.file->mode & FMODE_WRITE) {
		n = sendfile_limit(in.file, out.file, &count);
		if (!n)
			n = move(in, offset ? &pos : NULL, out, NULL, count);
		n = put_pos(offset, &pos, n);
	}
	fd_put(in);
	fd_put(out);
	return n;
}

static int may_copy_range(struct file *in, struct file *out, s64 in_pos, s64 out_pos, size_t len, u32 flags)
{
	if (!in || !out || !(in->mode & FMODE_READ) || !(out->mode & FMODE_WRITE) || out->flags & O_APPEND)
		return -EBADF;
	if (S_ISDIR(in->inode->mode) || S_ISDIR(out->inode->mode))
		return -EISDIR;
	if (flags || !S_ISREG(in->inode->mode) || !S_ISREG(out->inode->mode))
		return -EINVAL;
	if (in_pos < 0 || out_pos < 0)
		return -EINVAL;
	if (in_pos + len < (u64)in_pos || out_pos + len < (u64)out_pos)
		return -EOVERFLOW;
	if (in->inode == out->inode && in_pos < out_pos + (s64)len && out_pos < in_pos + (s64)len)
		return -EINVAL;
	return 0;
}

long sys_copy_file_range(int fd_in, s64 __user *off_in, int fd_out, s64 __user *off_out, size_t len, u32 flags)
{
	struct fd_ref in = fd_get(fd_in), out = fd_get(fd_out);
	s64 in_pos = in.file ? in.file->pos : 0, out_pos = out.file ? out.file->pos : 0;
	long n = 0;

	len = min(len, MAX_RW);
	if (!in.file || !out.file)
		n = -EBADF;
	else if (get_pos(off_in, &in_pos) || get_pos(off_out, &out_pos))
		n = -EFAULT;
	if (!n)
		n = may_copy_range(in.file, out.file, in_pos, out_pos, len, flags);
	if (!n) {
		n = move(in, &in_pos, out, &out_pos, len);
		if (n > 0 && !off_in)
			in.file->pos = in_pos;
		if (n > 0 && !off_out)
			out.file->pos = out_pos;
		n = put_pos(off_in, &in_pos, n);
		n = put_pos(off_out, &out_pos, n);
	}
	fd_put(in);
	fd_put(out);
	return n;
}
