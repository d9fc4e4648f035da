/* SPDX-License-Identifier: MIT
 *
 * Sleeping locks: mutex, reader-writer lock (writers preferred, so a reader may not take it twice),
 * completion. Ranked as spin locks are (core/lockrank.h). Process context only.
 */
#ifndef TASK_MUTEX_H
#define TASK_MUTEX_H

#include <lib/atomic.h>
#include <task/wait.h>

struct mutex {
	struct task *owner; /* atomic; bit 0: waiters */
	struct waitq waiters;
	u16 rank;
};
#define MUTEX_INIT(m, r)                                                                                               \
	{                                                                                                              \
		.waiters = WAITQ_INIT((m).waiters), .rank = (r)                                                        \
	}
void mutex_init(struct mutex *m, enum lock_rank rank);
void mutex_lock(struct mutex *m);
void mutex_lock_nested(struct mutex *m);                    /* a second one of the same rank, in an order that the
							       caller guarantees */
int __must_check mutex_lock_interruptible(struct mutex *m); /* 0 or -ERESTARTSYS */
int __must_check mutex_lock_killable(struct mutex *m);
bool __must_check mutex_trylock(struct mutex *m);
void mutex_unlock(struct mutex *m);
bool mutex_is_held(const struct mutex *m); /* by current */

struct rwlock {
	atomic_t count; /* readers, or -1: a writer */
	atomic_t writers_waiting;
	struct waitq waiters;
	u16 rank;
};
#define RWLOCK_INIT(l, r)                                                                                              \
	{                                                                                                              \
		.waiters = WAITQ_INIT((l).waiters), .rank = (r)                                                        \
	}
void rwlock_init(struct rwlock *l, enum lock_rank rank);
void read_lock(struct rwlock *l);
bool __must_check read_trylock(struct rwlock *l);
void read_unlock(struct rwlock *l);
void write_lock(struct rwlock *l);
void write_lock_nested(struct rwlock *l); /* a second one of the same rank, in an order that the caller guarantees */
int __must_check write_lock_killable(struct rwlock *l);
void write_unlock(struct rwlock *l);
void write_downgrade(struct rwlock *l);

struct completion {
	atomic_t done;
	struct waitq q;
};
void completion_init(struct completion *c);
void complete(struct completion *c); /* one waiter; any context */
void complete_all(struct completion *c);
void completion_wait(struct completion *c);
int __must_check completion_wait_killable(struct completion *c); /* 0 or -ERESTARTSYS */

#endif
