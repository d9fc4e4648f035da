/* SPDX-License-Identifier: MIT
 *
 * struct iter: where the bytes of a read or write come from or go to: user memory (one or many segments) or kernel
 * memory. struct io: one read or write request, the same for every path (synchronous, AIO, NOWAIT, HIPRI,
 * splice).
 */
#ifndef VFS_ITER_H
#define VFS_ITER_H

#include <lib/types.h>

struct file;
struct page;

struct iter_vec {
	ulong base; /* user or kernel address */
	size_t len;
};

enum iter_kind { ITER_USER, ITER_KERNEL };

struct iter {
	enum iter_kind kind;
	const struct iter_vec *vec; /* NULL: `one` */
	size_t nr;                  /* elements */
	size_t at;                  /* the element under the cursor */
	size_t skip;                /* bytes of it already used */
	size_t count;               /* bytes left */
	struct iter_vec one;        /* storage for the common single segment */
};

static inline void iter_user(struct iter *it, void __user *base, size_t len)
{
	*it = (struct iter){ .kind = ITER_USER, .nr = 1, .count = len, .one = { (ulong)base, len } };
}
void iter_kernel(struct iter *it, void *base, size_t len);
void iter_user_vec(struct iter *it, const struct iter_vec *vec, size_t nr, size_t total);
/* Copy and advance. Return bytes copied; fewer than n means a fault (or the end). The _nofault forms never sleep. */
size_t __must_check iter_copy_in(void *dst, size_t n, struct iter *it);        /* from it to dst: write(2) */
size_t __must_check iter_copy_out(const void *src, size_t n, struct iter *it); /* from src to it: read(2) */
/* The same with one page, from its byte `offset` on and at most to its end. */
size_t __must_check iter_page_out(const struct page *p, size_t offset, size_t n, struct iter *it);
size_t __must_check iter_page_in_nofault(struct page *p, size_t offset, size_t n, struct iter *it);
size_t __must_check iter_page_out_nofault(const struct page *p, size_t offset, size_t n, struct iter *it);
size_t __must_check iter_clear(size_t n, struct iter *it);
void iter_advance(struct iter *it, size_t n);
void iter_revert(struct iter *it, size_t n); /* at most what was advanced within the present segment list */
int __must_check iter_fault_in(struct iter *it, size_t n, bool write_to_user); /* 0 or -EFAULT if not even one byte */

#define IO_NOWAIT BIT(0)
#define IO_HIPRI  BIT(1)
#define IO_DSYNC  BIT(2)
#define IO_SYNC   BIT(3)
#define IO_APPEND BIT(4)
#define IO_DIRECT BIT(5)

struct io {
	struct file *file;
	s64 pos;
	unsigned flags; /* IO_* */
	struct iter iter;
	/* NULL: synchronous, the op returns the result. Else the op may return -EIOCBQUEUED and later call done. */
	void (*done)(struct io *io, ssize_t result);
};
#define EIOCBQUEUED 529 /* never reaches user space */

#endif
