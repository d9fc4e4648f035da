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
	u32 bitset; /* 0: waits for a priority-inheriting lock, which only its unlocking hands over */
};

int futex_key_get(u32 __user *addr, bool private, struct futex_key *k, struct mapping **held);
void futex_key_drop(struct mapping *held);
struct futex_bucket *futex_bucket_of(const struct futex_key *k);
static inline bool futex_key_same(const struct futex_key *a, const struct futex_key *b)
{
	return a->object == b->object && a->where == b->where;
}
void futex_wake_waiter(struct futex_waiter *w);                                   /* its bucket is locked */
int futex_sleep_until_woken(struct futex_waiter *w, unsigned n, u64 deadline_ns); /* 0, -EINTR, -ETIMEDOUT */

#endif
