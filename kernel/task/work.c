/* SPDX-License-Identifier: MIT
 *
 * Problem: interrupt handlers and completion paths need something done by a thread that may sleep.
 *
 * Idea: one queue and a set of worker threads. A worker that takes a job while others wait makes
 * sure that another worker is about, so a job that sleeps blocks nobody; workers that find nothing
 * for a second leave, but for one. A work may be queued again while it runs, and then runs once
 * more afterwards, never twice at a time; fn may free it.
 *
 * Contract: task/work.h.
 *
 * Locks: `lock` (RANK_WORK, irqsave).
 */
#include <core/clock.h>
#include <core/log.h>
#include <task/mutex.h>
#include <task/sched.h>
#include <task/work.h>
#include "task_priv.h"

#define MAX_WORKERS 64
#define LINGER_NS   NSEC_PER_SEC

enum { IDLE, QUEUED };

struct worker {
	struct list link;
	struct work *running; /* only compared: the work may be gone */
};

static struct spinlock lock = SPIN_INIT(RANK_WORK);
static LIST(queue);
static LIST(workers);
static unsigned nr_workers, nr_idle;
static struct waitq wake_workers = WAITQ_INIT(wake_workers);
static struct waitq finished = WAITQ_INIT(finished);

void work_init(struct work *w, void (*fn)(struct work *))
{
	*w = (struct work){ .fn = fn };
	list_init(&w->link);
}

bool work_queue(struct work *w)
{
	ulong flags = spin_lock_irqsave(&lock);
	bool fresh = w->state == IDLE;

	if (fresh) {
		w->state = QUEUED;
		list_add_tail(&w->link, &queue);
	}
	spin_unlock_irqrestore(&lock, flags);
	if (fresh)
		waitq_wake_all(&wake_workers);
	return fresh;
}

static bool runs(const struct work *w)
{
	struct worker *me;

	list_for_each_entry (me, &workers, link)
		if (me->running == w)
			return true;
	return false;
}

/* The first job that no other worker is running; that one stays queued until it has ended. */
static struct work *take(struct worker *me)
{
	struct work *w;

	list_for_each_entry (w, &queue, link)
		if (!runs(w)) {
			list_del_init(&w->link);
			w->state = IDLE;
			me->running = w;
			return w;
		}
	return NULL;
}

static void worker_main(void *arg);

/* Another worker, if jobs wait and nobody is idle. */
static void ensure_spare(void)
{
	ulong flags = spin_lock_irqsave(&lock);
	bool need = !nr_idle && !list_empty(&queue) && nr_workers < MAX_WORKERS;

	if (need)
		nr_workers++;
	spin_unlock_irqrestore(&lock, flags);
	if (!need || !kthread_run(NULL, worker_main, NULL, "worker"))
		return;
	flags = spin_lock_irqsave(&lock);
	nr_workers--; /* no memory: those that there are will do */
	spin_unlock_irqrestore(&lock, flags);
}

static bool has_job(void)
{
	ulong flags = spin_lock_irqsave(&lock);
	struct work *w;
	bool any = false;

	list_for_each_entry (w, &queue, link)
		if (!runs(w)) {
			any = true;
			break;
		}
	spin_unlock_irqrestore(&lock, flags);
	return any;
}

static struct work *next_job(struct worker *me)
{
	ulong flags = spin_lock_irqsave(&lock);
	struct work *w = take(me);

	spin_unlock_irqrestore(&lock, flags);
	return w;
}

/* Waits for a job. False: the worker has left the pool. */
static bool linger(struct worker *me)
{
	ulong flags = spin_lock_irqsave(&lock);
	bool stay;
	int err;

	nr_idle++;
	spin_unlock_irqrestore(&lock, flags);
	err = wait_event_until(&wake_workers, has_job(), clock_ns() + LINGER_NS);
	flags = spin_lock_irqsave(&lock);
	nr_idle--;
	stay = !err || !list_empty(&queue) || nr_workers == 1;
	if (!stay) {
		nr_workers--;
		list_del(&me->link);
	}
	spin_unlock_irqrestore(&lock, flags);
	return stay;
}

static void worker_main(void *arg)
{
	struct worker me = { 0 };
	ulong flags = spin_lock_irqsave(&lock);

	list_add(&me.link, &workers);
	spin_unlock_irqrestore(&lock, flags);
	for (;;) {
		struct work *w = next_job(&me);

		if (!w) {
			if (!linger(&me))
				return;
			continue;
		}
		ensure_spare();
		w->fn(w);
		flags = spin_lock_irqsave(&lock);
		me.running = NULL;
		spin_unlock_irqrestore(&lock, flags);
		waitq_wake_all(&finished);
		resched_point();
	}
}

static bool is_done(struct work *w)
{
	ulong flags = spin_lock_irqsave(&lock);
	bool done = w->state == IDLE && !runs(w);

	spin_unlock_irqrestore(&lock, flags);
	return done;
}

void work_flush(struct work *w)
{
	wait_event(&finished, is_done(w));
}

static void delayed_fire(struct timer *t)
{
	work_queue(&container_of(t, struct delayed_work, timer)->work);
}

void delayed_work_init(struct delayed_work *w, void (*fn)(struct work *))
{
	work_init(&w->work, fn);
	timer_init(&w->timer, delayed_fire);
}

void delayed_work_queue(struct delayed_work *w, u64 delay_ns)
{
	timer_arm(&w->timer, clock_ns() + delay_ns, delay_ns / 16);
}

/* Takes it back if it has not begun; waits for it if it has. */
void delayed_work_cancel(struct delayed_work *w)
{
	ulong flags;

	(void)timer_cancel(&w->timer);
	flags = spin_lock_irqsave(&lock);
	if (w->work.state == QUEUED) {
		list_del_init(&w->work.link);
		w->work.state = IDLE;
	}
	spin_unlock_irqrestore(&lock, flags);
	work_flush(&w->work);
}

void work_pool_init(void)
{
	nr_workers = 1;
	if (kthread_run(NULL, worker_main, NULL, "worker"))
		panic("no memory for the first worker");
}
