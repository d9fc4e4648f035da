/* SPDX-License-Identifier: MIT
 *
 * Problem: locks whose holders may sleep.
 *
 * Idea: a mutex is its owner's address, taken by one compare-and-swap; bit 0 says that somebody
 * waits, so an uncontended unlock is one too. A waiter spins while the owner runs, since it will
 * soon be done, and sleeps otherwise. The reader- writer lock counts readers; a waiting writer
 * keeps new readers out.
 *
 * Contract: task/mutex.h. Fairness: waiters are woken in order, but a newcomer may be faster.
 *
 * Locks: the wait queues' own.
 */
#include <arch/cpu.h>
#include <core/log.h>
#include <core/irq.h>
#include <task/mutex.h>
#include <task/sched.h>
#include "task_priv.h"

#define WAITERS    1UL
#define SPIN_LIMIT 200

#ifdef OSTROM_DEBUG
void sleep_lock_note(const void *lock, unsigned rank, bool nested)
{
	struct task *t = current;

	assert_may_sleep();
	for (unsigned i = 0; i < t->nr_held; i++) {
		if (t->held[i].lock == lock)
			panic("task %s takes a sleeping lock twice (rank %u)", t->comm, rank);
		if (t->held[i].rank > rank || (t->held[i].rank == rank && !nested))
			panic("lock order: sleeping rank %u taken while rank %u is held by %s", rank, t->held[i].rank,
			      t->comm);
	}
	ensure(t->nr_held < ARRAY_SIZE(t->held));
	t->held[t->nr_held].lock = lock;
	t->held[t->nr_held++].rank = rank;
}

void sleep_lock_drop(const void *lock)
{
	struct task *t = current;

	for (unsigned i = t->nr_held; i-- > 0;)
		if (t->held[i].lock == lock) {
			for (t->nr_held--; i < t->nr_held; i++)
				t->held[i] = t->held[i + 1];
			return;
		}
}
#endif

void mutex_init(struct mutex *m, enum lock_rank rank)
{
	m->owner = NULL;
	m->rank = (u16)rank;
	waitq_init(&m->waiters);
}

static struct task *owner_of(const struct mutex *m)
{
	return (struct task *)((ulong)READ_ONCE(m->owner) & ~WAITERS);
}

static bool swap_owner(struct mutex *m, ulong old, ulong new)
{
	return __atomic_compare_exchange_n((ulong *)&m->owner, &old, new, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
}

/* While the owner runs on another CPU, wait for it here. The owner cannot be freed meanwhile: we do
 * not sleep (RCU). */
static bool spin_on_owner(struct mutex *m)
{
	for (int i = 0; i < SPIN_LIMIT; i++) {
		struct task *o = owner_of(m);

		if (!o)
			return swap_owner(m, 0, (ulong)current);
		if (!READ_ONCE(o->on_cpu) || work_pending(current))
			return false;
		cpu_relax();
	}
	return false;
}

static int lock_slow(struct mutex *m, int state)
{
	struct wait_entry e;
	int err = 0;

	if (spin_on_owner(m))
		return 0;
	wait_entry_init(&e);
	e.exclusive = true;
	for (;;) {
		ulong old;

		wait_prepare(&m->waiters, &e, state);
		old = __atomic_fetch_or((ulong *)&m->owner, WAITERS, __ATOMIC_SEQ_CST);
		if (!(old & ~WAITERS) && swap_owner(m, WAITERS, (ulong)current | WAITERS)) {
			err = 0;
			break;
		}
		if (err)
			break;
		err = wait_sleep(state, ~0ULL);
	}
	wait_finish(&m->waiters, &e);
	if (err) /* a wake that came to us belongs to the next one */
		waitq_wake_one(&m->waiters);
	return err;
}

static int lock_as(struct mutex *m, int state, bool nested)
{
	int err;

	shake_sleep();
	sleep_lock_note(m, m->rank, nested);
	if (likely(swap_owner(m, 0, (ulong)current)))
		return 0;
	err = lock_slow(m, state);
	if (err)
		sleep_lock_drop(m);
	return err;
}

void mutex_lock(struct mutex *m)
{
	(void)lock_as(m, TASK_UNINTERRUPTIBLE, false);
}

void mutex_lock_nested(struct mutex *m)
{
	(void)lock_as(m, TASK_UNINTERRUPTIBLE, true);
}

int mutex_lock_interruptible(struct mutex *m)
{
	return lock_as(m, TASK_INTERRUPTIBLE, false);
}

int mutex_lock_killable(struct mutex *m)
{
	return lock_as(m, TASK_KILLABLE, false);
}

bool mutex_trylock(struct mutex *m)
{
	if (!swap_owner(m, 0, (ulong)current))
		return false;
	sleep_lock_note(m, m->rank, true);
	return true;
}

void mutex_unlock(struct mutex *m)
{
	sleep_lock_drop(m);
	shake_sleep();
	if (likely(swap_owner(m, (ulong)current, 0)))
		return;
	assert(owner_of(m) == current);
	__atomic_store_n(&m->owner, NULL, __ATOMIC_SEQ_CST);
	waitq_wake_one(&m->waiters);
}

bool mutex_is_held(const struct mutex *m)
{
	return owner_of(m) == current;
}

/* ---- reader-writer lock ---------------------------------------------------------------------------------- */

void rwlock_init(struct rwlock *l, enum lock_rank rank)
{
	atomic_set(&l->count, 0);
	atomic_set(&l->writers_waiting, 0);
	l->rank = (u16)rank;
	waitq_init(&l->waiters);
}

static bool try_read(struct rwlock *l)
{
	int n = atomic_read(&l->count);

	do {
		if (n < 0 || atomic_read(&l->writers_waiting))
			return false;
	} while (!atomic_try_cmpxchg(&l->count, &n, n + 1));
	return true;
}

static bool try_write(struct rwlock *l)
{
	int none = 0;

	return atomic_try_cmpxchg(&l->count, &none, -1);
}

void read_lock(struct rwlock *l)
{
	shake_sleep();
	sleep_lock_note(l, l->rank, false);
	if (unlikely(!try_read(l)))
		wait_event(&l->waiters, try_read(l));
}

bool read_trylock(struct rwlock *l)
{
	if (!try_read(l))
		return false;
	sleep_lock_note(l, l->rank, true);
	return true;
}

void read_unlock(struct rwlock *l)
{
	sleep_lock_drop(l);
	if (atomic_sub_return(&l->count, 1) == 0 && atomic_read(&l->writers_waiting))
		waitq_wake_all(&l->waiters);
}

static int write_as(struct rwlock *l, int state, bool nested)
{
	int err = 0;

	shake_sleep();
	sleep_lock_note(l, l->rank, nested);
	if (likely(try_write(l)))
		return 0;
	atomic_inc(&l->writers_waiting);
	err = wait_event_(&l->waiters, try_write(l), state, ~0ULL);
	if (atomic_sub_return(&l->writers_waiting, 1) == 0 && err)
		waitq_wake_all(&l->waiters); /* readers that stood back for us */
	if (err)
		sleep_lock_drop(l);
	return err;
}

void write_lock(struct rwlock *l)
{
	(void)write_as(l, TASK_UNINTERRUPTIBLE, false);
}

void write_lock_nested(struct rwlock *l)
{
	(void)write_as(l, TASK_UNINTERRUPTIBLE, true);
}

int write_lock_killable(struct rwlock *l)
{
	return write_as(l, TASK_KILLABLE, false);
}

void write_unlock(struct rwlock *l)
{
	sleep_lock_drop(l);
	atomic_set_release(&l->count, 0);
	waitq_wake_all(&l->waiters);
}

void write_downgrade(struct rwlock *l)
{
	atomic_set_release(&l->count, 1);
	waitq_wake_all(&l->waiters);
}

/* ---- completion ------------------------------------------------------------------------------------------ */

#define DONE_FOR_ALL (1 << 30)

void completion_init(struct completion *c)
{
	atomic_set(&c->done, 0);
	waitq_init(&c->q);
}

/* The count changes under the queue's lock, so that a waiter that has seen it may free the
 * completion: it takes the lock before it returns. */
static void finish(struct completion *c, int n, bool all)
{
	ulong flags = spin_lock_irqsave(&c->q.lock);
	struct wait_entry *e, *next;

	atomic_set(&c->done, all ? DONE_FOR_ALL : min(atomic_read(&c->done) + n, DONE_FOR_ALL));
	list_for_each_entry_safe (e, next, &c->q.entries, link)
		if (e->wake(e, ~0U) && !all)
			break;
	spin_unlock_irqrestore(&c->q.lock, flags);
}

void complete(struct completion *c)
{
	finish(c, 1, false);
}

void complete_all(struct completion *c)
{
	finish(c, 0, true);
}

static bool take_done(struct completion *c)
{
	ulong flags = spin_lock_irqsave(&c->q.lock);
	int n = atomic_read(&c->done);

	if (n && n < DONE_FOR_ALL)
		atomic_set(&c->done, n - 1);
	spin_unlock_irqrestore(&c->q.lock, flags);
	return n != 0;
}

void completion_wait(struct completion *c)
{
	wait_event(&c->q, take_done(c));
}

int completion_wait_killable(struct completion *c)
{
	return wait_event_killable(&c->q, take_done(c));
}
