/* SPDX-License-Identifier: MIT
 *
 * A loop device: a disk whose sectors are the bytes of a file.
 *
 * Lock letters: l loop->lock (RANK_SUBSYS); q queue_lock (RANK_DRIVER, irqsave); I constant while bound; a atomic.
 */
#ifndef LOOP_PRIV_H
#define LOOP_PRIV_H

#include <block/block.h>
#include <linux/loop.h>
#include <task/mutex.h>
#include <task/work.h>
#include <vfs/vfs.h>

#define LOOP_DEPTH 64
#define LOOP_VECS  256

struct loop;

struct loop_command { /* by tag */
	struct io io; /* of an asynchronous transfer */
	struct loop *loop;
	struct bio *bio;
	struct list link;
};

struct loop_backing { /* one binding; /sys/block/loopN/loop is its folder, which frees it */
	struct attr_dir attr;
	struct loop *loop;
	struct file *file;       /* I, counted */
	char path[256];          /* I */
	u64 offset, sizelimit;   /* l: bytes; 0: to the end */
	u32 flags;               /* l: LO_FLAGS_* */
	char name[LO_NAME_SIZE]; /* l: as the program called it */
};

struct loop {
	struct block_dev block;
	unsigned number;
	struct mutex lock;
	struct loop_backing *backing; /* l; NULL: unbound */
	struct work autoclear;

	/* while bound */
	struct loop_command *commands;
	struct spinlock queue_lock;
	struct list queue;      /* q */
	bool running, stopping; /* q */
	atomic_t in_flight;     /* a: asynchronous transfers */
	struct waitq wake, idle;
	struct task *worker;
	struct iter_vec *vec; /* the worker's: of one bio */
	struct list link;     /* all loops, under the control lock */
};

/* control.c: finds or makes. -ENOSPC, -ENOMEM. */
struct loop *loop_of(struct block_dev *d);
extern const struct block_driver loop_driver;
/* bind.c */
long loop_ioctl(struct block_dev *d, unsigned cmd, ulong arg);
void loop_released(struct block_dev *d);
void loop_autoclear(struct work *w);
/* io.c */
int loop_queue(struct block_hwq *h, struct bio *b);
int __must_check loop_io_start(struct loop *l);
void loop_io_stop(struct loop *l); /* everything queued is done first */

#endif
