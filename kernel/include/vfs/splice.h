/* SPDX-License-Identifier: MIT
 *
 * Moving data between pipes and files without a trip through user memory: splice(2), tee(2), vmsplice(2).
 */
#ifndef VFS_SPLICE_H
#define VFS_SPLICE_H

#include <vfs/pipe.h>

/* splice(2)'s flags, in no UAPI header. */
#define SPLICE_F_MOVE     1
#define SPLICE_F_NONBLOCK 2
#define SPLICE_F_MORE     4
#define SPLICE_F_GIFT     8

/* Until p has room: 0, -EAGAIN with nonblock, -EINTR codes; -EPIPE, and SIGPIPE is sent, if nobody reads it. */
int __must_check splice_wait_writable(struct pipe *p, bool nonblock);
/* Up to len bytes; how many, 0 at the end, -EAGAIN with nonblock, -EINTR codes. */
ssize_t splice_to_pipe(struct file *in, s64 *pos, struct pipe *to, size_t len,
		       bool nonblock); /* pos NULL: the file's own */
ssize_t splice_from_pipe(struct pipe *from, struct file *out, s64 *pos, size_t len, bool nonblock);
/* From one pipe's front to another's end. share: the first keeps them (tee). */
ssize_t splice_pipes(struct pipe *from, struct pipe *to, size_t len, bool share, bool nonblock);

#endif
