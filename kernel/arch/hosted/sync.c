/* SPDX-License-Identifier: MIT
 *
 * Problem: parts above task sleep, wake, lock and defer; on the host their CPUs and tasks are threads.
 *
 * Idea: each thread has a task and a condition variable of its own; task_wake signals it. Spin locks spin on one
 * word and yield. Wait queues, mutexes and rwlocks are the plain textbook forms over these: slow and obvious,
 * because here they are the ground under tests and not what is tested.
 *
 * Contract: core/spin.h, core/rcu.h, task/wait.h, task/mutex.h and the part of task/sched.h that they need.
 * RCU callbacks run at hosted_rcu_drain. A signal waits if a test sets it in sig_pending.
 *
 * Locks: a waitq's own; a thread's mutex inside it.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <time.h>
#include <arch/hosted.h>
#include <core/clock.h>
#include <core/irq.h>
#include <core/log.h>
#include <lib/string.h>
#include <task/mutex.h>
#include <task/sched.h>
#include <task/tenant.h>
#include <task/user_ns.h>
#include <asm/resource.h>
#include <mm/upcalls.h>
#include <task/plug.h>
#include <vfs/upcalls.h>

struct hosted_task {
	struct task task;
	pthread_mutex_t m;
	pthread_cond_t c;
};

DEFINE_PER_CPU(struct task *, current_task);
struct tenant tenant_root = { .id = 1 };
static struct rcu_head *rcu_list;
static pthread_mutex_t rcu_lock = PTHREAD_MUTEX_INITIALIZER;

void hosted_pages_init(size_t pages);

struct task *hosted_thread_begin(const char *name)
{
	struct hosted_task *h = calloc(1, sizeof(*h));
	pthread_condattr_t attr;

	ensure(h);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_mutex_init(&h->m, NULL);
	pthread_cond_init(&h->c, &attr);
	refcount_set(&h->task.refs, 1);
	str_copy(h->task.comm, name, sizeof(h->task.comm));
	h->task.cred = calloc(1, sizeof(struct cred));
	h->task.cred->cap_effective = h->task.cred->cap_permitted = ~0ULL;
	h->task.cred->user_ns = &user_ns_first;
	refcount_set(&h->task.cred->refs, 1);
	h->task.tenant = &tenant_root;
	current_task = &h->task;
	return &h->task;
}

void hosted_thread_end(void)
{
	struct hosted_task *h = container_of(current_task, struct hosted_task, task);

	cred_put(h->task.cred);
	free(h);
	current_task = NULL;
}

void hosted_start(size_t pages)
{
	hosted_pages_init(pages);
	if (!current_task)
		hosted_thread_begin("test");
}

void cred_get(struct cred *c)
{
	refcount_inc(&c->refs);
}

void cred_put(struct cred *c)
{
	if (c && refcount_dec_and_test(&c->refs))
		free(c);
}

bool in_group(const struct cred *c, kgid_t g)
{
	if (gid_eq(c->fsgid, g))
		return true;
	for (u32 i = 0; c->groups && i < c->groups->count; i++)
		if (gid_eq(c->groups->ids[i], g))
			return true;
	return false;
}

void task_get(struct task *t)
{
	refcount_inc(&t->refs);
}

void task_put(struct task *t)
{
	if (refcount_dec_and_test(&t->refs))
		panic("hosted: a thread's task lost its own reference");
}

/* ---- time, sleeping and waking -------------------------------------------------------------------- */

u64 clock_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * NSEC_PER_SEC + ts.tv_nsec;
}

u64 clock_real_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return ts.tv_sec * NSEC_PER_SEC + ts.tv_nsec;
}

void sched_set_state(enum task_state s)
{
	__atomic_store_n(&current->state, s, __ATOMIC_SEQ_CST);
}

int sched_sleep_until(u64 deadline_ns)
{
	struct hosted_task *h = container_of(current_task, struct hosted_task, task);
	struct timespec ts = { deadline_ns / NSEC_PER_SEC, deadline_ns % NSEC_PER_SEC };
	int err = 0;

	pthread_mutex_lock(&h->m);
	while (READ_ONCE(h->task.state) != TASK_RUNNING && err != ETIMEDOUT)
		err = deadline_ns == ~0ULL ? pthread_cond_wait(&h->c, &h->m)
					   : pthread_cond_timedwait(&h->c, &h->m, &ts);
	WRITE_ONCE(h->task.state, TASK_RUNNING);
	pthread_mutex_unlock(&h->m);
	return err == ETIMEDOUT ? -ETIME : 0;
}

void sched_sleep(void)
{
	(void)sched_sleep_until(~0ULL);
}

void resched_point(void)
{
}

bool task_wake_states(struct task *t, unsigned states)
{
	struct hosted_task *h = container_of(t, struct hosted_task, task);
	u32 was;
	bool woke;

	pthread_mutex_lock(&h->m);
	was = READ_ONCE(t->state);
	woke = was != TASK_RUNNING && states & BIT(was);
	if (woke) {
		WRITE_ONCE(t->state, TASK_RUNNING);
		pthread_cond_signal(&h->c);
	}
	pthread_mutex_unlock(&h->m);
	return woke;
}

bool task_wake(struct task *t)
{
	return task_wake_states(t, BIT(TASK_INTERRUPTIBLE) | BIT(TASK_UNINTERRUPTIBLE) | BIT(TASK_KILLABLE));
}

/* ---- spin locks ------------------------------------------------------------------------------------ */

void spin_init(struct spinlock *l, enum lock_rank rank)
{
	*l = (struct spinlock)SPIN_INIT(rank);
}

void spin_lock(struct spinlock *l)
{
	while (__atomic_exchange_n(&l->ticket, 1, __ATOMIC_ACQUIRE))
		sched_yield();
}

void spin_lock_nested(struct spinlock *l)
{
	spin_lock(l);
}

bool spin_trylock(struct spinlock *l)
{
	return !__atomic_exchange_n(&l->ticket, 1, __ATOMIC_ACQUIRE);
}

void spin_unlock(struct spinlock *l)
{
	__atomic_store_n(&l->ticket, 0, __ATOMIC_RELEASE);
}

ulong spin_lock_irqsave(struct spinlock *l)
{
	spin_lock(l);
	return 0;
}

void spin_unlock_irqrestore(struct spinlock *l, ulong state)
{
	spin_unlock(l);
}

bool spin_is_held(const struct spinlock *l)
{
	return __atomic_load_n(&l->ticket, __ATOMIC_RELAXED);
}

/* ---- RCU -------------------------------------------------------------------------------------------- */

void rcu_call(struct rcu_head *head, void (*fn)(struct rcu_head *))
{
	pthread_mutex_lock(&rcu_lock);
	head->fn = fn;
	head->next = rcu_list;
	rcu_list = head;
	pthread_mutex_unlock(&rcu_lock);
}

void hosted_rcu_drain(void)
{
	struct rcu_head *list;

	for (;;) {
		pthread_mutex_lock(&rcu_lock);
		list = rcu_list;
		rcu_list = NULL;
		pthread_mutex_unlock(&rcu_lock);
		if (!list)
			return;
		while (list) {
			struct rcu_head *next = list->next;

			list->fn(list);
			list = next;
		}
	}
}

/* ---- wait queues ------------------------------------------------------------------------------------- */

static bool wake_task(struct wait_entry *e, unsigned events)
{
	return task_wake(e->task);
}

void waitq_init(struct waitq *q)
{
	spin_init(&q->lock, RANK_WAITQ);
	list_init(&q->entries);
}

void waitq_add(struct waitq *q, struct wait_entry *e)
{
	spin_lock(&q->lock);
	if (e->exclusive)
		list_add_tail(&e->link, &q->entries);
	else
		list_add(&e->link, &q->entries);
	spin_unlock(&q->lock);
}

void waitq_remove(struct waitq *q, struct wait_entry *e)
{
	spin_lock(&q->lock);
	list_del_init(&e->link);
	spin_unlock(&q->lock);
}

void waitq_wake(struct waitq *q, int nr_exclusive, unsigned events)
{
	struct wait_entry *e, *next;

	spin_lock(&q->lock);
	list_for_each_entry_safe (e, next, &q->entries, link) {
		bool exclusive = e->exclusive;

		if (e->wake(e, events) && exclusive && !--nr_exclusive)
			break;
	}
	spin_unlock(&q->lock);
}

void wait_entry_init(struct wait_entry *e)
{
	*e = (struct wait_entry){ .task = current, .wake = wake_task };
	list_init(&e->link);
}

void wait_prepare(struct waitq *q, struct wait_entry *e, int state)
{
	spin_lock(&q->lock);
	if (list_empty(&e->link))
		list_add_tail(&e->link, &q->entries);
	spin_unlock(&q->lock);
	sched_set_state(state);
}

void wait_finish(struct waitq *q, struct wait_entry *e)
{
	sched_set_state(TASK_RUNNING);
	waitq_remove(q, e);
}

int wait_sleep(int state, u64 deadline_ns)
{
	if (state == TASK_INTERRUPTIBLE && signal_pending(current))
		return -ERESTARTSYS;
	return sched_sleep_until(deadline_ns);
}

bool upcall_signal_pending(struct task *t, bool fatal_only)
{
	return t->sig_pending & ~t->sig_blocked;
}

/* ---- sleeping locks ------------------------------------------------------------------------------------ */

void mutex_init(struct mutex *m, enum lock_rank rank)
{
	m->owner = NULL;
	m->rank = rank;
	waitq_init(&m->waiters);
}

bool mutex_trylock(struct mutex *m)
{
	struct task *none = NULL;

	return __atomic_compare_exchange_n(&m->owner, &none, current, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
}

void mutex_lock(struct mutex *m)
{
	ensure(!mutex_is_held(m));
	wait_event(&m->waiters, mutex_trylock(m));
}

void mutex_lock_nested(struct mutex *m)
{
	mutex_lock(m);
}

int mutex_lock_interruptible(struct mutex *m)
{
	return wait_event_interruptible(&m->waiters, mutex_trylock(m));
}

int mutex_lock_killable(struct mutex *m)
{
	return wait_event_killable(&m->waiters, mutex_trylock(m));
}

void mutex_unlock(struct mutex *m)
{
	ensure(mutex_is_held(m));
	__atomic_store_n(&m->owner, NULL, __ATOMIC_SEQ_CST);
	waitq_wake_all(&m->waiters);
}

bool mutex_is_held(const struct mutex *m)
{
	return __atomic_load_n(&m->owner, __ATOMIC_RELAXED) == current;
}

void rwlock_init(struct rwlock *l, enum lock_rank rank)
{
	atomic_set(&l->count, 0);
	atomic_set(&l->writers_waiting, 0);
	l->rank = rank;
	waitq_init(&l->waiters);
}

bool read_trylock(struct rwlock *l)
{
	int n = atomic_read(&l->count);

	while (n >= 0)
		if (atomic_try_cmpxchg(&l->count, &n, n + 1))
			return true;
	return false;
}

void read_lock(struct rwlock *l)
{
	wait_event(&l->waiters, read_trylock(l));
}

void read_unlock(struct rwlock *l)
{
	if (atomic_sub_return(&l->count, 1) == 0)
		waitq_wake_all(&l->waiters);
}

static bool write_trylock(struct rwlock *l)
{
	int none = 0;

	return atomic_try_cmpxchg(&l->count, &none, -1);
}

void write_lock(struct rwlock *l)
{
	wait_event(&l->waiters, write_trylock(l));
}

void write_lock_nested(struct rwlock *l)
{
	write_lock(l);
}

int write_lock_killable(struct rwlock *l)
{
	return wait_event_killable(&l->waiters, write_trylock(l));
}

void write_unlock(struct rwlock *l)
{
	ensure(atomic_read(&l->count) == -1);
	atomic_set_release(&l->count, 0);
	waitq_wake_all(&l->waiters);
}

void write_downgrade(struct rwlock *l)
{
	atomic_set_release(&l->count, 1);
	waitq_wake_all(&l->waiters);
}

/* ---- deferred jobs: at once, in the caller -------------------------------------------------------------- */

void deferred_init(struct deferred *d, void (*fn)(struct deferred *))
{
	*d = (struct deferred){ .fn = fn };
}

void deferred_queue(struct deferred *d)
{
	d->fn(d);
}

/* ---- upcalls: no signals but what a test put into sig_pending, no limits --------------------------------- */

void upcall_plug_flush(struct plug *p)
{
}

void upcall_vfs_signal(int sig)
{
	current->sig_pending |= BIT(sig - 1);
}

void upcall_file_async(struct file *f, unsigned events)
{
}

void upcall_file_async_gone(struct file *f)
{
}

u64 upcall_rlimit(unsigned which)
{
	return which == RLIMIT_NOFILE ? 1024 : ~0ULL;
}
