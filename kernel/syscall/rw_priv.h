/* SPDX-License-Identifier: MIT
 *
 * What reading and writing calls share: rw.c's for aio.c.
 */
#ifndef SYSCALL_RW_PRIV_H
#define SYSCALL_RW_PRIV_H

#include <vfs/iter.h>

#define FAST_IOVS 8

struct vectors { /* an iovec array, copied in and checked */
	struct iter_vec fast[FAST_IOVS];
	struct iter_vec *vec;
	size_t total;
};
int __must_check rw_vectors_get(struct vectors *v, const void __user *iov, int n); /* put it also after a failure */
void rw_vectors_put(struct vectors *v);
int __must_check rw_flags(int rwf, unsigned *io); /* RWF_* to IO_*; -EOPNOTSUPP */
unsigned rw_file_flags(const struct file *f, bool write);
/* One transfer at io->pos: rights, the file's op, O_DSYNC, notification. Bytes, -errno, -EIOCBQUEUED. */
ssize_t rw_run(struct io *io, bool write);

#endif
