/* SPDX-License-Identifier: MIT
 *
 * Pipes: a ring of page pieces between writers and readers. Pieces may be shared with a page cache (splice), so only a
 * piece marked PIPE_MERGE may be written into. Locks: lock (RANK_PIPE) guards all fields; the wait queues may be used
 * without it.
 */
#ifndef VFS_PIPE_H
#define VFS_PIPE_H

#include <alloc/page.h>
#include <task/mutex.h>
#include <vfs/vfs.h>

#define PIPE_SLOTS       16 /* by default: 64 KiB */
#define PIPE_MAX_SLOTS   256
#define PIPE_LEAST_SLOTS 2      /* of a new pipe whose user has more than pipe_user_pages_soft */
extern unsigned pipe_max_slots; /* what F_SETPIPE_SZ gives to those without rights: /proc/sys/fs/pipe-max-size */
/* What the pipes of an unprivileged user may have, in pages (0: no limit): beyond soft new ones are small and none
 * grows, beyond hard there are none. /proc/sys/fs. */
extern u32 pipe_user_pages_soft, pipe_user_pages_hard;
#define PIPE_ATOMIC 4096 /* PIPE_BUF: writes up to this size are not mixed with others */

struct pipe_piece {
	struct page *page; /* counted */
	u32 offset, len;
	u32 flags; /* PIPE_* */
};
#define PIPE_MERGE  BIT(0)
#define PIPE_PACKET BIT(1) /* O_DIRECT: one read gets it, the rest is dropped */

struct pipe {
	struct mutex lock;
	struct waitq readers_wait, writers_wait;
	unsigned head, tail; /* head - tail pieces are in use; written under the lock, sleepers look without */
	unsigned slots;
	kuid_t user; /* who pays for them */
	unsigned readers, writers;
	u64 opened_readers, opened_writers; /* ever: an open of a FIFO waits for the other side's to move */
	struct pipe_piece *piece;
	unsigned files; /* open ends; the last one frees a nameless pipe's ring */
};

static inline struct pipe_piece *pipe_at(struct pipe *p, unsigned n)
{
	return &p->piece[n % p->slots];
}
static inline unsigned pipe_used(const struct pipe *p)
{
	return READ_ONCE(p->head) - READ_ONCE(p->tail);
}
static inline bool pipe_full(const struct pipe *p)
{
	return pipe_used(p) >= p->slots;
}

int __must_check pipe_create(unsigned flags, struct file **read_end, struct file **write_end);
struct pipe *pipe_of(struct file *f);              /* NULL: not a pipe */
int pipe_set_size(struct pipe *p, unsigned bytes); /* the new size, or -errno */
unsigned pipe_size(const struct pipe *p);
/* Readers see the end although f, the one end for writing, stays open; waits until there is none, or for SIGKILL. */
void pipe_end_and_wait(struct file *f);

#endif
