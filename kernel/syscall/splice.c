/* SPDX-License-Identifier: MIT
 *
 * Problem: splice, tee and vmsplice check two descriptors of which at least one must be a pipe.
 *
 * Idea: sort out which end is the pipe, check rights and positions, then one function of vfs/splice.h.
 *
 * Contract: splice(2), tee(2), vmsplice(2). Gifted pages are copied.
 *
 * Locks: none of their own.
 */
#include <abi/syscalls.h>
#include <arch/user.h>
#include <lib/err.h>
#include <linux/fs.h>
#include <linux/stat.h>
#include <linux/uio.h>
#include <task/task.h>
#include <vfs/splice.h>
#include <vfs/uapi.h>

#define FLAGS (SPLICE_F_MOVE | SPLICE_F_NONBLOCK | SPLICE_F_MORE | SPLICE_F_GIFT)

static bool usable(struct fd_ref in, struct fd_ref out)
{
	return in.file && out.file && in.file->mode & FMODE_READ && out.file->mode & FMODE_WRITE;
}

static bool nonblocking(struct file *pipe, u32 flags)
{
	return flags & SPLICE_F_NONBLOCK || pipe->flags & O_NONBLOCK;
}

/* eventfd, timerfd and the like have no type, and no bytes that a page could hold. */
static bool has_bytes(const struct file *f)
{
	return f->inode->mode & S_IFMT;
}

static ssize_t from_file(struct file *in, s64 *pos, struct file *out, size_t len, u32 flags)
{
	if (!in->ops->read || !has_bytes(in))
		return -EINVAL;
	if (pos && !(in->mode & FMODE_SEEK))
		return -ESPIPE;
	if (pos && *pos < 0)
		return -EINVAL;
	return splice_to_pipe(in, pos, pipe_of(out), len, nonblocking(out, flags));
}

static ssize_t to_file(struct file *in, struct file *out, s64 *pos, size_t len, u32 flags)
{
	if (!out->ops->write || !has_bytes(out) || out->flags & O_APPEND)
		return -EINVAL;
	if (pos && !(out->mode & FMODE_SEEK))
		return -ESPIPE;
	if (pos && *pos < 0)
		return -EINVAL;
	return splice_from_pipe(pipe_of(in), out, pos, len, nonblocking(in, flags));
}

static long splice_between(int fd_in, s64 __user *off_in, int fd_out, s64 __user *off_out, size_t len, u32 flags)
{
	struct fd_ref in = fd_get(fd_in), out = fd_get(fd_out);
	s64 __user *uoff = off_in ? off_in : off_out;
	bool in_pipe = in.file && pipe_of(in.file), out_pipe = out.file && pipe_of(out.file);
	s64 pos = 0;
	long n = 0;

	if (!usable(in, out))
		n = -EBADF;
	else if (flags & ~FLAGS || (!in_pipe && !out_pipe))
		n = -EINVAL;
	else if ((in_pipe && off_in) || (out_pipe && off_out))
		n = -ESPIPE;
	else if (uoff && user_get(&pos, uoff, sizeof(pos)))
		n = -EFAULT;
	else if (!len)
		n = 0;
	else if (in_pipe && out_pipe)
		n = splice_pipes(pipe_of(in.file), pipe_of(out.file), len, false,
				 nonblocking(in.file, flags) || nonblocking(out.file, flags));
	else if (out_pipe)
		n = from_file(in.file, off_in ? &pos : NULL, out.file, len, flags);
	else
		n = to_file(in.file, out.file, off_out ? &pos : NULL, len, flags);
	if (n > 0 && uoff && user_put(uoff, &pos, sizeof(pos)))
		n = -EFAULT;
	fd_put(in);
	fd_put(out);
	return n;
}

long sys_splice(int fd_in, s64 __user *off_in, int fd_out, s64 __user *off_out, size_t len, u32 flags)
{
	if (!len)
		return 0;
	return flags & ~FLAGS ? -EINVAL : splice_between(fd_in, off_in, fd_out, off_out, len, flags);
}

long sys_tee(int fd_in, int fd_out, size_t len, u32 flags)
{
	struct fd_ref in = fd_get(fd_in), out = fd_get(fd_out);
	long n = -EBADF;

	if (usable(in, out)) {
		n = -EINVAL;
		if (!(flags & ~FLAGS) && pipe_of(in.file) && pipe_of(out.file))
			n = len ? splice_pipes(pipe_of(in.file), pipe_of(out.file), len, true,
					       nonblocking(in.file, flags) || nonblocking(out.file, flags))
				: 0;
	}
	fd_put(in);
	fd_put(out);
	return n;
}

/* Unlike writev(2) it waits for room only if it has moved nothing yet. */
static long memory_to_pipe(int fd, struct file *pipe, const void __user *iov, ulong nr_segs, u32 flags)
{
	long n;

	do {
		n = sys_pwritev2(fd, iov, (int)nr_segs, -1UL, 0, RWF_NOWAIT);
		if (n != -EAGAIN)
			return n;
		n = splice_wait_writable(pipe_of(pipe), nonblocking(pipe, flags));
	} while (!n);
	return n;
}

/* User memory to or from a pipe: a gathered write, or a scattered read. */
long sys_vmsplice(int fd, const void __user *iov, ulong nr_segs, u32 flags)
{
	struct fd_ref r = fd_get(fd);
	long n;

	if (flags & ~FLAGS)
		n = -EINVAL;
	else if (!r.file || !pipe_of(r.file))
		n = -EBADF;
	else if (nr_segs > UIO_MAXIOV)
		n = -EINVAL;
	else if (r.file->mode & FMODE_WRITE)
		n = memory_to_pipe(fd, r.file, iov, nr_segs, flags);
	else
		n = sys_preadv2(fd, iov, (int)nr_segs, -1UL, 0, flags & SPLICE_F_NONBLOCK ? RWF_NOWAIT : 0);
	fd_put(r);
	return n;
}
