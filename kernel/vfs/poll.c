/* SPDX-License-Identifier: MIT
 *
 * Problem: poll and select wait for the first of many queues to be woken.
 *
 * Idea: one object with a flag; every queue gets an entry whose callback sets the flag and wakes the task. The sets of
 * descriptors are then asked again. Entries come in chunks, so that a few descriptors need no further memory.
 *
 * Contract: vfs/epoll.h. The files stay referenced by the caller until poll_waiter_end, so their queues live.
 *
 * Locks: the queues' own. `triggered` is written by wakers and read by the task after it has set its state.
 */
#include <alloc/slab.h>
#include <lib/err.h>
#include <task/sched.h>
#include <vfs/epoll.h>
#include "vfs_priv.h"

#define CHUNK 16

struct entry {
	struct wait_entry w;
	struct poll_waiter *owner;
	struct waitq *q;
};

struct chunk {
	struct chunk *next;
	unsigned used;
	struct entry e[CHUNK];
};

struct poll_waiter {
	struct poll_table pt;
	struct task *task;
	bool triggered, failed;
	struct chunk *chunks;
	struct chunk first;
};

static bool wake(struct wait_entry *w, unsigned events)
{
	struct entry *e = container_of(w, struct entry, w);

	WRITE_ONCE(e->owner->triggered, true);
	return task_wake(e->owner->task);
}

static void add(struct poll_table *pt, struct file *f, struct waitq *q)
{
	struct poll_waiter *w = container_of(pt, struct poll_waiter, pt);
	struct chunk *c = w->chunks;
	struct entry *e;

	if (c->used == CHUNK) {
		c = kzalloc(sizeof(*c), ALLOC_CHARGED);
		if (!c) {
			w->failed = true;
			return;
		}
		c->next = w->chunks;
		w->chunks = c;
	}
	e = &c->e[c->used++];
	wait_entry_init(&e->w);
	e->w.wake = wake;
	e->owner = w;
	e->q = q;
	waitq_add(q, &e->w);
}

struct poll_waiter *poll_waiter_begin(void)
{
	struct poll_waiter *w = kzalloc(sizeof(*w), 0);

	if (w) {
		w->pt.add = add;
		w->task = current;
		w->chunks = &w->first;
	}
	return w;
}

struct poll_table *poll_waiter_table(struct poll_waiter *w)
{
	return &w->pt;
}

int poll_waiter_sleep(struct poll_waiter *w, u64 deadline_ns)
{
	int err = w->failed ? -ENOMEM : 0;

	if (!err) {
		sched_set_state(TASK_INTERRUPTIBLE);
		if (!READ_ONCE(w->triggered))
			err = wait_sleep(TASK_INTERRUPTIBLE, deadline_ns);
		sched_set_state(TASK_RUNNING);
	}
	WRITE_ONCE(w->triggered, false);
	smp_mb();
	return err == -ERESTARTSYS ? -EINTR : err;
}

void poll_waiter_end(struct poll_waiter *w)
{
	struct chunk *c = w->chunks, *next;

	for (; c; c = next) {
		next = c->next;
		for (unsigned i = 0; i < c->used; i++)
			waitq_remove(c->e[i].q, &c->e[i].w);
		if (c != &w->first)
			kfree(c);
	}
	kfree(w);
}
