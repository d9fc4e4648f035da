/* SPDX-License-Identifier: MIT
 *
 * Problem: programs agree on who uses a file by advisory locks of three kinds with different owners and lives.
 *
 * Idea: one list of ranges on the inode (and one of leases: lease.c). Setting a range first cuts the owner's own locks
 * out of it (splitting at most one), then adds the new one; so upgrade, downgrade and unlock are one operation. Waiters
 * sleep on one queue of the inode and try again. A POSIX waiter looks along the chain of who waits for whom before it
 * sleeps.
 *
 * Contract: vfs/locks.h. POSIX locks go when any descriptor of the table for the inode is closed; open-file locks and
 * flocks with the last reference to the open file.
 *
 * Locks: locks_lock (RANK_SUBSYS_SPIN) guards all lists. Memory is taken before it.
 */
#include <alloc/slab.h>
#include <lib/err.h>
#include <lib/string.h>
#include <task/task.h>
#include <vfs/locks.h>
#include "vfs_priv.h"

struct waiting { /* a POSIX owner that waits, for the deadlock check */
	struct list link;
	const void *owner;
	const void *blocker;
};

struct spinlock locks_lock = SPIN_INIT(RANK_SUBSYS_SPIN);
static LIST(waiters);

struct inode_locks *locks_of(struct inode *i, bool make)
{
	struct inode_locks *l = smp_load_acquire(&i->locks), *none = NULL;

	if (l || !make)
		return l;
	l = kzalloc(sizeof(*l), ALLOC_CHARGED);
	if (!l)
		return NULL;
	list_init(&l->held);
	list_init(&l->leases);
	waitq_init(&l->wait);
	if (!__atomic_compare_exchange_n((struct inode_locks **)&i->locks, &none, l, false, __ATOMIC_SEQ_CST,
					 __ATOMIC_RELAXED)) {
		kfree(l);
		l = none;
	}
	return l;
}

static bool same_owner(const struct file_lock *a, const struct file_lock *b)
{
	return a->kind == b->kind && a->owner == b->owner;
}

static bool overlap(const struct file_lock *a, const struct file_lock *b)
{
	return a->start <= b->end && b->start <= a->end;
}

static bool conflict(const struct file_lock *a, const struct file_lock *b)
{
	if ((a->kind == LOCK_FLOCK) != (b->kind == LOCK_FLOCK) || same_owner(a, b))
		return false;
	return (a->exclusive || b->exclusive) && overlap(a, b);
}

static struct file_lock *find_conflict(struct inode_locks *l, const struct file_lock *want)
{
	struct file_lock *h;

	list_for_each_entry (h, &l->held, link)
		if (conflict(h, want))
			return h;
	return NULL;
}

/* By start, so that F_GETLK tells of the first one in the file. */
static void insert_sorted(struct inode_locks *l, struct file_lock *n)
{
	struct file_lock *h;

	list_for_each_entry (h, &l->held, link)
		if (h->start > n->start)
			break;
	list_add_tail(&n->link, &h->link);
}

/* Takes [want] out of what its owner holds. spare serves a split and is then NULL. Freed ones go to dead. */
static void cut_out(struct inode_locks *l, const struct file_lock *want, struct file_lock **spare, struct list *dead)
{
	struct file_lock *h, *next;

	list_for_each_entry_safe (h, next, &l->held, link) {
		if (!same_owner(h, want) || !overlap(h, want))
			continue;
		if (h->start < want->start && h->end > want->end) {
			**spare = *h;
			(*spare)->start = want->end + 1;
			h->end = want->start - 1;
			insert_sorted(l, *spare);
			*spare = NULL;
		} else if (h->start < want->start) {
			h->end = want->start - 1;
		} else if (h->end > want->end) {
			h->start = want->end + 1;
		} else {
			list_del(&h->link);
			list_add_tail(&h->link, dead);
		}
	}
}

/* Joins a new lock with equal neighbours, so that a file written record by record has one lock. */
static void merge(struct inode_locks *l, struct file_lock *n, struct list *dead)
{
	struct file_lock *h, *next;

	if (n->kind == LOCK_FLOCK)
		return;
	list_for_each_entry_safe (h, next, &l->held, link) {
		if (h == n || !same_owner(h, n) || h->exclusive != n->exclusive)
			continue;
		if (h->end != INT64_MAX && h->end + 1 == n->start)
			n->start = h->start;
		else if (n->end != INT64_MAX && n->end + 1 == h->start)
			n->end = h->end;
		else
			continue;
		list_del(&h->link);
		list_add_tail(&h->link, dead);
	}
}

static void free_all(struct list *dead)
{
	while (!list_empty(dead)) {
		struct file_lock *h = list_first_entry(dead, struct file_lock, link);

		list_del(&h->link);
		kfree(h);
	}
}

/* Would waiting for `blocker` close a circle to `owner`? */
static bool deadlock(const void *owner, const void *blocker)
{
	struct waiting *w;

	for (int depth = 0; depth < 10; depth++) {
		const void *next = NULL;

		if (blocker == owner)
			return true;
		list_for_each_entry (w, &waiters, link)
			if (w->owner == blocker)
				next = w->blocker;
		if (!next)
			return false;
		blocker = next;
	}
	return false;
}

/* One attempt, under locks_lock. 0, -EAGAIN, -EDEADLK; *blocker tells who is in the way. */
static int attempt(struct inode_locks *l, const struct file_lock *want, bool unlock, struct file_lock **spare,
		   struct file_lock **fresh, struct list *dead, const void **blocker)
{
	struct file_lock *c = unlock ? NULL : find_conflict(l, want);

	if (c) {
		*blocker = c->owner;
		return want->kind == LOCK_POSIX && deadlock(want->owner, c->owner) ? -EDEADLK : -EAGAIN;
	}
	cut_out(l, want, spare, dead);
	if (unlock)
		return 0;
	**fresh = *want;
	insert_sorted(l, *fresh);
	merge(l, *fresh, dead);
	*fresh = NULL;
	return 0;
}

/* Nobody is in the way any more, or waiting for who is would now never end. */
static bool is_over(struct inode_locks *l, const struct file_lock *want, struct waiting *w)
{
	struct file_lock *c;
	bool over;

	spin_lock(&locks_lock);
	c = find_conflict(l, want);
	if (c)
		w->blocker = c->owner;
	over = !c || (want->kind == LOCK_POSIX && deadlock(want->owner, c->owner));
	spin_unlock(&locks_lock);
	return over;
}

static int wait_for(struct inode_locks *l, const struct file_lock *want, const void *blocker)
{
	struct waiting w = { .owner = want->owner, .blocker = blocker };
	int err;

	spin_lock(&locks_lock);
	list_add(&w.link, &waiters);
	spin_unlock(&locks_lock);
	err = wait_event_interruptible(&l->wait, is_over(l, want, &w));
	spin_lock(&locks_lock);
	list_del(&w.link);
	spin_unlock(&locks_lock);
	return err;
}

int lock_set(struct file *f, const struct file_lock *want, bool unlock, bool wait)
{
	struct inode_locks *l = locks_of(f->inode, !unlock);
	struct file_lock *spare = kmalloc(sizeof(*spare), ALLOC_CHARGED),
			 *fresh = kmalloc(sizeof(*fresh), ALLOC_CHARGED);
	const void *blocker = NULL;
	LIST(dead);
	int err = 0;

	if (!spare || !fresh || (!l && !unlock))
		err = -ENOMEM;
	while (!err && l) {
		spin_lock(&locks_lock);
		err = attempt(l, want, unlock, &spare, &fresh, &dead, &blocker);
		spin_unlock(&locks_lock);
		if (!err || err != -EAGAIN || !wait)
			break;
		err = wait_for(l, want, blocker);
	}
	if (!err && l)
		waitq_wake_all(&l->wait);
	free_all(&dead);
	kfree(spare);
	kfree(fresh);
	return err;
}

bool lock_test(struct file *f, struct file_lock *want)
{
	struct inode_locks *l = locks_of(f->inode, false);
	struct file_lock *c;

	if (!l)
		return false;
	spin_lock(&locks_lock);
	c = find_conflict(l, want);
	if (c)
		*want = *c;
	spin_unlock(&locks_lock);
	return c;
}

static void drop_all(struct file *f, enum lock_kind kind, const void *owner)
{
	struct inode_locks *l = locks_of(f->inode, false);
	struct file_lock all = { .kind = kind, .end = INT64_MAX, .owner = owner }, *spare = NULL;
	LIST(dead);

	if (!l || list_empty(&l->held))
		return;
	spin_lock(&locks_lock);
	cut_out(l, &all, &spare, &dead); /* a cut from 0 to the end never splits */
	spin_unlock(&locks_lock);
	if (!list_empty(&dead))
		waitq_wake_all(&l->wait);
	free_all(&dead);
}

void locks_close(struct file *f, const void *files)
{
	drop_all(f, LOCK_POSIX, files);
}

void locks_release(struct file *f)
{
	lease_release(f);
	drop_all(f, LOCK_OFD, f);
	drop_all(f, LOCK_FLOCK, f);
}
