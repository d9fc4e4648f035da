/* SPDX-License-Identifier: MIT
 *
 * Contexts of asynchronous I/O (io_setup(2)): requests under way, and a ring of finished ones that lies in the
 * program's memory. The ring's format is struct aio_ring of Linux, which libaio reads without a system call (its
 * functions io_getevents and user_io_getevents): header of 32 bytes, magic 0xa10a10a1, then struct io_event.
 *
 * Ownership: a context lives as long as its mapping (VMAs, calls in progress) or a request. A request belongs to who
 * got it until aio_finish or aio_req_drop. Threading: aio_finish in any context that may take spin locks.
 */
#ifndef VFS_AIO_H
#define VFS_AIO_H

#include <linux/aio_abi.h>
#include <task/wait.h>
#include <task/work.h>
#include <vfs/vfs.h>

struct aio_ctx;

struct aio_req {
	struct io io;
	struct aio_ctx *ctx;
	struct file *file, *eventfd; /* counted; eventfd NULL: none. Set by the owner */
	u64 data, user_iocb;
	bool data_only; /* of a sync */
	struct work work;
	struct list link; /* ctx->lock: requests that can be cancelled */

	/* poll */
	struct aio_wait {
		struct wait_entry entry;
		struct aio_req *req;
		struct waitq *queue;
	} wait[2];
	unsigned nr_waits, events;
	bool woken;           /* atomic: asked to look again */
	bool busy, cancelled; /* ctx->lock: its work is queued or runs; io_cancel */
};

/* Makes a context for at least nr requests at a time in current's address space; *id: where its ring begins. -EAGAIN:
 * more than fs.aio-max-nr altogether, -ENOMEM. */
int __must_check aio_create(u32 nr, ulong *id);
struct aio_ctx *aio_get(ulong id); /* counted; NULL: none of current's */
void aio_put(struct aio_ctx *c);   /* process context */
/* Cancels what can be, removes the ring from memory, waits for the others. -EINVAL: somebody else did. */
int __must_check aio_destroy(ulong id);
/* NULL: as many as the ring has room for are under way or not yet read. Holds the context. */
struct aio_req *aio_req_get(struct aio_ctx *c);
void aio_req_drop(struct aio_req *r); /* it was not started */
void aio_finish(struct aio_req *r, s64 result);
/* Once the file is ready for one of r->events, or the request is cancelled, it is finished. -EINVAL: cannot be waited
 * for (the request stays the caller's). */
int __must_check aio_poll(struct aio_req *r);
void aio_sync(struct aio_req *r);                              /* fsync by a worker */
int __must_check aio_cancel(struct aio_ctx *c, u64 user_iocb); /* -EINPROGRESS: its event comes; -EINVAL: not found */
/* Copies events out: at least min_nr unless the deadline (0: at once) or a signal comes first. Count, -EINTR, -EFAULT,
 * -EINVAL (destroyed). */
long aio_read_events(struct aio_ctx *c, long min_nr, long nr, struct io_event __user *out, u64 deadline_ns);

#endif
