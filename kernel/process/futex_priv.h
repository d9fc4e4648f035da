/* SPDX-License-Identifier: MIT
 *
 * What plain futexes (futex.c) and priority-inheriting ones (futex_pi.c) share: the hash table of waiters.
 */
#ifndef FUTEX_PRIV_H
#define FUTEX_PRIV_H

#include <process/futex.h>
#include "process_priv.h"

struct futex_key {
	const void *object; /* struct mm, or struct mapping */
	ulong where;        /* address, or page index and offset */
};

struct futex_bucket {
	struct spinlock lock;
	struct list waiters;
} __cacheline;

struct futex_waiter {
	struct list link;
	struct futex_key key;
	struct mapping *held;        /* keeps a shared key's object */
	struct futex_bucket *bucket; /* where it is queued; NULL: woken. Cleared under that bucket's lock */
	struct task *task;
	u32 bitset;                   /* 0: for a priority-inheriting lock, which only its unlocking hands over */
	const struct futex_key *lock; /* bitset 0: waits here to be moved to that lock; NULL: waits for the lock */
};

struct futex_pair { /* the two words of one call */
	struct futex_key k1, k2;
	struct mapping *held1, *held2;
	struct futex_bucket *b1, *b2;
};
int futex_pair_begin(const struct futex_call *f, struct futex_pair *p);
void futex_pair_end(struct futex_pair *p);
void futex_pair_lock(struct futex_pair *p);
void futex_pair_unlock(struct futex_pair *p);

int futex_key_get(u32 __user *addr, bool private, struct futex_key *k, struct mapping **held);
void futex_key_drop(struct mapping *held);
struct futex_bucket *futex_bucket_of(const struct futex_key *k);
static inline bool futex_key_same(const struct futex_key *a, const struct futex_key *b)
{
	return a->object == b->object && a->where == b->where;
}
int futex_enqueue(struct futex_waiter *w, u32 __user *addr, u32 val); /* if the word is val; else -EAGAIN, -EFAULT */
void futex_wake_waiter(struct futex_waiter *w);                       /* its bucket is locked */
int futex_sleep_until_woken(struct futex_waiter *w, unsigned n, u64 deadline_ns); /* 0, -EINTR, -ETIMEDOUT */

#endif
