/* SPDX-License-Identifier: MIT
 *
 * Problem: mutual exclusion for code that may sleep, cheap when nobody else wants the lock.
 *
 * Idea: one atomic word each. A mutex holds its owner's pointer, with bit 0 for "somebody waits"; lock and unlock
 * without contention are one compare-and-exchange. A reader-writer lock counts readers, -1 is a writer; a waiting
 * writer holds new readers back. Waiters sleep on a wait queue; the unlocker wakes one (or, for readers, all) and they
 * compete again.
 *
 * Contract: task/mutex.h. The debug build keeps the held locks of each task and panics on an order that violates
 * core/lockrank.h, on sleeping with a spin lock held, and on release by a stranger.
 *
 * Locks: the wait queue's inside.
 */
#include <core/clock.h>
#include <core/log.h>
#include <task/mutex.h>
#include <task/sched.h>

#include "task_priv.h"

#define WAITERS 1UL

#ifdef OSTROM_DEBUG
void sleep_lock_note_acquire(const void *lock, unsigned rank, bool nested)
{
	struct task *t = current;

	lock_assert_none();
	for (unsigned i = 0; i < t->nr_sleep_locks; i++) {
		ensure(t->sleep_locks[i].lock != lock);
		if (rank && (t->sleep_locks[i].rank > rank || (t->sleep_locks[i].rank == rank && !nested)))
			panic("lock order: rank %u taken while rank %u is held", rank, t->sleep_locks[i].rank);
	}
	ensure(t->nr_sleep_locks < ARRAY_SIZE(t->sleep_locks));
	t->sleep_locks[t->nr_sleep_locks].lock = lock;
	t->sleep_locks[t->nr_sleep_locks++].rank = rank;
}

void sleep_lock_note_release(const void *lock)
{
	struct task *t = current;

	for (unsigned i = t->nr_sleep_locks; i-- > 0;)
		if (t->sleep_locks[i].lock == lock) {
			t->sleep_locks[i] = t->sleep_locks[--t->nr_sleep_locks];
			return;
		}
	panic("a sleeping lock is released by a task that does not hold it");
}
#endif

void mutex_init(struct mutex *m, enum lock_rank rank)
{
	*m = (struct mutex){ .rank = rank };
	waitq_init(&m->waiters);
}

static struct task *owner_of(const struct mutex *m)
{
	return (struct task *)((ulong)READ_ONCE(m->owner) & ~WAITERS);
}

bool mutex_is_held(const struct mutex *m)
{
	return owner_of(m) == current;
}

static bool acquire(struct mutex *m)
{
	ulong old = (ulong)READ_ONCE(m->owner);

	/* The waiters bit stays: whoever set it sleeps or is about to. */
	return !(old & ~WAITERS) &&
	       __atomic_compare_exchange_n((ulong *)&m->owner, &old, (ulong)current | (old & WAITERS), false,
					   __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

/* Sets the waiters bit, so that the owner's unlock comes to wake us; true if the lock was taken instead. */
static bool announce(struct mutex *m)
{
	__atomic_fetch_or((ulong *)&m->owner, WAITERS, __ATOMIC_SEQ_CST);
	return acquire(m);
}

static int lock_slow(struct mutex *m, int state)
{
	return wait_event_(&m->waiters, announce(m), state, ~0ULL);
}

static int lock_common(struct mutex *m, int state, bool nested)
{
	int err;

	sleep_lock_note_acquire(m, m->rank, nested);
	if (likely(acquire(m)))
		return 0;
	err = lock_slow(m, state);
	if (err)
		sleep_lock_note_release(m);
	return err;
}

void mutex_lock(struct mutex *m)
{
	ensure(lock_common(m, TASK_UNINTERRUPTIBLE, false) == 0);
}

void mutex_lock_nested(struct mutex *m)
{
	ensure(lock_common(m, TASK_UNINTERRUPTIBLE, true) == 0);
}

int mutex_lock_interruptible(struct mutex *m)
{
	return lock_common(m, TASK_INTERRUPTIBLE, false);
}

int mutex_lock_killable(struct mutex *m)
{
	return lock_common(m, TASK_KILLABLE, false);
}

bool mutex_trylock(struct mutex *m)
{
	if (!acquire(m))
		return false;
	sleep_lock_note_acquire(m, 0, true); /* cannot deadlock: any order */
	return true;
}

void mutex_unlock(struct mutex *m)
{
	ulong old;

	assert(mutex_is_held(m));
	sleep_lock_note_release(m);
	old = __atomic_exchange_n((ulong *)&m->owner, 0, __ATOMIC_RELEASE);
	if (old & WAITERS)
		waitq_wake_all(&m->waiters); /* each announces itself again before it sleeps */
}

/* ---- reader-writer ------------------------------------------------------------------------------- */

void rwlock_init(struct rwlock *l, enum lock_rank rank)
{
	*l = (struct rwlock){ .rank = rank };
	waitq_init(&l->waiters);
}

static bool acquire_read(struct rwlock *l)
{
	int n = atomic_read(&l->count);

	while (n >= 0 && !atomic_read(&l->writers_waiting))
		if (atomic_try_cmpxchg(&l->count, &n, n + 1))
			return true;
	return false;
}

static bool acquire_write(struct rwlock *l)
{
	int n = 0;

	return atomic_try_cmpxchg(&l->count, &n, -1);
}

void read_lock(struct rwlock *l)
{
	sleep_lock_note_acquire(l, l->rank, false);
	if (unlikely(!acquire_read(l)))
		wait_event(&l->waiters, acquire_read(l));
}

bool read_trylock(struct rwlock *l)
{
	if (!acquire_read(l))
		return false;
	sleep_lock_note_acquire(l, 0, true);
	return true;
}

void read_unlock(struct rwlock *l)
{
	sleep_lock_note_release(l);
	if (atomic_dec_and_test(&l->count))
		waitq_wake_all(&l->waiters);
}

static int write_common(struct rwlock *l, int state, bool nested)
{
	int err = 0;

	sleep_lock_note_acquire(l, l->rank, nested);
	if (likely(acquire_write(l)))
		return 0;
	atomic_inc(&l->writers_waiting);
	err = wait_event_(&l->waiters, acquire_write(l), state, ~0ULL);
	if (atomic_dec_and_test(&l->writers_waiting) && err)
		waitq_wake_all(&l->waiters); /* readers were held back for us */
	if (err)
		sleep_lock_note_release(l);
	return err;
}

void write_lock(struct rwlock *l)
{
	ensure(write_common(l, TASK_UNINTERRUPTIBLE, false) == 0);
}

void write_lock_nested(struct rwlock *l)
{
	ensure(write_common(l, TASK_UNINTERRUPTIBLE, true) == 0);
}

int write_lock_killable(struct rwlock *l)
{
	return write_common(l, TASK_KILLABLE, false);
}

void write_unlock(struct rwlock *l)
{
	sleep_lock_note_release(l);
	atomic_set_release(&l->count, 0);
	waitq_wake_all(&l->waiters);
}

void write_downgrade(struct rwlock *l)
{
	atomic_set_release(&l->count, 1);
	waitq_wake_all(&l->waiters);
}

/* ---- completions --------------------------------------------------------------------------------- */

#define DONE_FOR_ALL (1 << 30)

void completion_init(struct completion *c)
{
	atomic_set(&c->done, 0);
	waitq_init(&c->q);
}

static bool take(struct completion *c)
{
	int n = atomic_read(&c->done);

	while (n > 0)
		if (n >= DONE_FOR_ALL || atomic_try_cmpxchg(&c->done, &n, n - 1))
			return true;
	return false;
}

void complete(struct completion *c)
{
	/* Under the queue's lock: a waiter that sees it may free c only after we have let go. */
	ulong irq = spin_lock_irqsave(&c->q.lock);
	struct wait_entry *e;

	atomic_inc(&c->done);
	if (!list_empty(&c->q.entries)) {
		e = list_first_entry(&c->q.entries, struct wait_entry, link);
		e->wake(e, ~0U);
	}
	spin_unlock_irqrestore(&c->q.lock, irq);
}

void complete_all(struct completion *c)
{
	ulong irq = spin_lock_irqsave(&c->q.lock);
	struct wait_entry *e, *next;

	atomic_set(&c->done, DONE_FOR_ALL);
	list_for_each_entry_safe (e, next, &c->q.entries, link)
		e->wake(e, ~0U);
	spin_unlock_irqrestore(&c->q.lock, irq);
}

int completion_wait_until(struct completion *c, u64 deadline_ns)
{
	int err = wait_event_(&c->q, take(c), TASK_UNINTERRUPTIBLE, deadline_ns);
	ulong irq = spin_lock_irqsave(&c->q.lock); /* complete() is out of c */

	spin_unlock_irqrestore(&c->q.lock, irq);
	return err;
}

void completion_wait(struct completion *c)
{
	ensure(completion_wait_until(c, ~0ULL) == 0);
}
