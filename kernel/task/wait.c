/* SPDX-License-Identifier: MIT
 *
 * Problem: sleep until something happens, wake one or all, and let poll and epoll hang callbacks on the same events.
 *
 * Idea: a queue is a list of entries with a callback each; the ordinary callback wakes a task and takes its entry off
 * the list, so that a thundering herd is not walked twice. Exclusive entries stand behind the others and a wake stops
 * after n.
 *
 * Contract: task/wait.h. An entry may be removed while a wake is under way; the queue's lock decides who was first.
 *
 * Locks: queue->lock (RANK_WAITQ, irqsave), then the task's.
 */
#include <core/clock.h>
#include <core/log.h>
#include <task/sched.h>

#include "task_priv.h"

void waitq_init(struct waitq *q)
{
	spin_init(&q->lock, RANK_WAITQ);
	list_init(&q->entries);
}

void waitq_add(struct waitq *q, struct wait_entry *e)
{
	ulong irq = spin_lock_irqsave(&q->lock);

	if (e->exclusive)
		list_add_tail(&e->link, &q->entries);
	else
		list_add(&e->link, &q->entries);
	spin_unlock_irqrestore(&q->lock, irq);
}

void waitq_remove(struct waitq *q, struct wait_entry *e)
{
	ulong irq = spin_lock_irqsave(&q->lock);

	list_del_init(&e->link);
	spin_unlock_irqrestore(&q->lock, irq);
}

void waitq_wake(struct waitq *q, int nr_exclusive, unsigned events)
{
	struct wait_entry *e, *next;
	ulong irq;

	smp_mb(); /* the condition was stored before; pairs with wait_prepare */
	if (!waitq_active(q))
		return;
	irq = spin_lock_irqsave(&q->lock);
	list_for_each_entry_safe (e, next, &q->entries, link) {
		bool exclusive = e->exclusive;

		if (e->wake(e, events) && exclusive && --nr_exclusive == 0)
			break;
	}
	spin_unlock_irqrestore(&q->lock, irq);
}

static bool wake_task(struct wait_entry *e, unsigned events)
{
	struct task *t = e->task;

	list_del_init(&e->link);
	return task_wake(t); /* the entry lies on the task's stack: not to be touched any more */
}

void wait_entry_init(struct wait_entry *e)
{
	*e = (struct wait_entry){ .task = current, .wake = wake_task };
	list_init(&e->link);
}

void wait_prepare(struct waitq *q, struct wait_entry *e, int state)
{
	ulong irq = spin_lock_irqsave(&q->lock);

	if (list_empty(&e->link)) {
		if (e->exclusive)
			list_add_tail(&e->link, &q->entries);
		else
			list_add(&e->link, &q->entries);
	}
	sched_set_state(state);
	spin_unlock_irqrestore(&q->lock, irq);
}

void wait_finish(struct waitq *q, struct wait_entry *e)
{
	sched_set_state(TASK_RUNNING);
	/* Off the list already means that the waker is done with the entry: it removes it before it wakes. */
	waitq_remove(q, e);
}

static bool interrupted(int state)
{
	if (state == TASK_INTERRUPTIBLE)
		return signal_pending(current);
	return state == TASK_KILLABLE && fatal_signal_pending(current);
}

int wait_sleep(int state, u64 deadline_ns)
{
	int err;

	if (interrupted(state)) {
		sched_set_state(TASK_RUNNING);
		return -ERESTARTSYS;
	}
	err = sched_sleep_until(deadline_ns);
	if (err)
		return err;
	return interrupted(state) ? -ERESTARTSYS : 0;
}
