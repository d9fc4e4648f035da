/* SPDX-License-Identifier: MIT
 *
 * Problem: interrupts, RCU callbacks and lock holders find work that must sleep.
 *
 * Idea: one queue of work, one pool of worker threads. A worker takes the first item; before it runs it, it makes sure
 * that another worker is idle or being made, so that an item that sleeps never blocks the next. Workers beyond a few
 * end after idling.
 *
 *      work->state: idle --queue--> QUEUED --taken--> RUNNING --> idle;  queued again while running: RUNNING|QUEUED
 *
 * Contract: task/work.h. Queuing before work_start (boot) is fine: items wait.
 *
 * Locks: pool.lock (RANK_WORK, irqsave).
 */
#include <core/clock.h>
#include <core/log.h>
#include <task/sched.h>
#include <task/work.h>

#include "task_priv.h"

#define QUEUED       BIT(0)
#define RUNNING      BIT(1)
#define KEEP_IDLE    2
#define MAX_WORKERS  64
#define IDLE_TIME_NS (5 * NSEC_PER_SEC)

static struct {
	struct spinlock lock;
	struct list items;
	unsigned workers, idle;
	struct waitq more;     /* idle workers */
	struct waitq finished; /* work_flush */
} pool = { .lock = SPIN_INIT(RANK_WORK),
	   .items = LIST_INIT(pool.items),
	   .more = WAITQ_INIT(pool.more),
	   .finished = WAITQ_INIT(pool.finished) };

void work_init(struct work *w, void (*fn)(struct work *))
{
	*w = (struct work){ .fn = fn };
	list_init(&w->link);
}

bool work_queue(struct work *w)
{
	ulong irq = spin_lock_irqsave(&pool.lock);
	bool fresh = !(w->state & QUEUED);

	if (fresh) {
		w->state |= QUEUED;
		/* While it runs it stays out of the list: the worker puts it there afterwards. */
		if (!(w->state & RUNNING))
			list_add_tail(&w->link, &pool.items);
	}
	spin_unlock_irqrestore(&pool.lock, irq);
	if (fresh)
		waitq_wake_one(&pool.more);
	return fresh;
}

static struct work *take(void)
{
	ulong irq = spin_lock_irqsave(&pool.lock);
	struct work *w = list_first_or_null(&pool.items, struct work, link);

	if (w) {
		list_del_init(&w->link);
		w->state = RUNNING;
	}
	spin_unlock_irqrestore(&pool.lock, irq);
	return w;
}

static void done(struct work *w)
{
	ulong irq = spin_lock_irqsave(&pool.lock);

	w->state &= ~RUNNING;
	if (w->state & QUEUED)
		list_add_tail(&w->link, &pool.items);
	spin_unlock_irqrestore(&pool.lock, irq);
	waitq_wake_all(&pool.finished);
}

static void worker(void *arg);

/* Makes another worker if none is idle; idle_change is added to the idle count first. */
static void ensure_idle_worker(int idle_change)
{
	ulong irq = spin_lock_irqsave(&pool.lock);
	bool make;

	pool.idle += idle_change;
	make = !pool.idle && pool.workers < MAX_WORKERS;
	pool.workers += make;
	pool.idle += make; /* it starts idle */
	spin_unlock_irqrestore(&pool.lock, irq);
	if (make && kthread_run(NULL, worker, NULL, "worker")) {
		irq = spin_lock_irqsave(&pool.lock);
		pool.workers--;
		pool.idle--;
		spin_unlock_irqrestore(&pool.lock, irq);
	}
}

/* True if this worker is one too many. */
static bool retire(void)
{
	ulong irq = spin_lock_irqsave(&pool.lock);
	bool leave = pool.idle > KEEP_IDLE && list_empty(&pool.items);

	if (leave) {
		pool.idle--;
		pool.workers--;
	}
	spin_unlock_irqrestore(&pool.lock, irq);
	return leave;
}

static void mark_idle(void)
{
	ulong irq = spin_lock_irqsave(&pool.lock);

	pool.idle++;
	spin_unlock_irqrestore(&pool.lock, irq);
}

static void worker(void *arg)
{
	for (;;) {
		struct work *w = NULL;

		if (wait_event_until(&pool.more, (w = take()) != NULL, clock_ns() + IDLE_TIME_NS)) {
			if (retire())
				return;
			continue;
		}
		ensure_idle_worker(-1);
		/* w may be freed by its own function unless somebody flushes it, who then owns it: fn reads nothing
		 * after. */
		do {
			w->fn(w);
			done(w);
			w = take();
		} while (w);
		mark_idle();
	}
}

static bool is_over(struct work *w)
{
	ulong irq = spin_lock_irqsave(&pool.lock);
	bool over = !w->state;

	spin_unlock_irqrestore(&pool.lock, irq);
	return over;
}

void work_flush(struct work *w)
{
	wait_event(&pool.finished, is_over(w));
}

void work_start(void)
{
	ensure_idle_worker(0);
}

static void queue_from_timer(struct timer *t)
{
	work_queue(&container_of(t, struct delayed_work, timer)->work);
}

void delayed_work_init(struct delayed_work *w, void (*fn)(struct work *))
{
	work_init(&w->work, fn);
	timer_init(&w->timer, queue_from_timer);
}

void delayed_work_queue(struct delayed_work *w, u64 delay_ns)
{
	timer_arm(&w->timer, clock_ns() + delay_ns, delay_ns / 16);
}

void delayed_work_cancel(struct delayed_work *w)
{
	timer_cancel(&w->timer);
	work_flush(&w->work);
}
