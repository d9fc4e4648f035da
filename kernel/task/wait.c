/* SPDX-License-Identifier: MIT
 *
 * Problem: sleep until something holds, without missing the moment when it becomes true.
 *
 * Idea: queue first, set the state, look at the condition, sleep; a wake in between puts the state
 * back. Entries are tasks or callbacks; an exclusive entry that accepts a wake uses one of the
 * wakes allowed.
 *
 * Contract: task/wait.h.
 *
 * Locks: q->lock (RANK_WAITQ, irqsave); the wake callbacks run under it.
 */
#include <arch/cpu.h>
#include <task/sched.h>
#include <task/timer.h>
#include "task_priv.h"

void waitq_init(struct waitq *q)
{
	spin_init(&q->lock, RANK_WAITQ);
	list_init(&q->entries);
}

void waitq_add(struct waitq *q, struct wait_entry *e)
{
	ulong flags = spin_lock_irqsave(&q->lock);

	if (e->exclusive)
		list_add_tail(&e->link, &q->entries);
	else
		list_add(&e->link, &q->entries);
	spin_unlock_irqrestore(&q->lock, flags);
}

void waitq_remove(struct waitq *q, struct wait_entry *e)
{
	ulong flags = spin_lock_irqsave(&q->lock);

	if (!list_empty(&e->link))
		list_del_init(&e->link);
	spin_unlock_irqrestore(&q->lock, flags);
}

void waitq_wake(struct waitq *q, int nr_exclusive, unsigned events)
{
	struct wait_entry *e, *n;
	ulong flags;

	smp_mb(); /* the caller's condition before the look at the list: pairs with sched_set_state
		   */
	if (list_empty(&q->entries))
		return;
	flags = spin_lock_irqsave(&q->lock);
	list_for_each_entry_safe (e, n, &q->entries, link) {
		bool exclusive = e->exclusive; /* e may be gone after its wake */

		if (e->wake(e, events) && exclusive && --nr_exclusive == 0)
			break;
	}
	spin_unlock_irqrestore(&q->lock, flags);
}

static bool wake_task(struct wait_entry *e, unsigned events)
{
	bool woke = task_wake(e->task);

	if (woke)
		list_del_init(&e->link);
	return woke;
}

void wait_entry_init(struct wait_entry *e)
{
	*e = (struct wait_entry){ .task = current, .wake = wake_task };
	list_init(&e->link);
}

void wait_prepare(struct waitq *q, struct wait_entry *e, int state)
{
	ulong flags = spin_lock_irqsave(&q->lock);

	if (list_empty(&e->link)) {
		if (e->exclusive)
			list_add_tail(&e->link, &q->entries);
		else
			list_add(&e->link, &q->entries);
	}
	current->waiting_on = __builtin_return_address(0);
	sched_set_state(state);
	spin_unlock_irqrestore(&q->lock, flags);
}

void wait_finish(struct waitq *q, struct wait_entry *e)
{
	sched_set_state(TASK_RUNNING);
	current->waiting_on = NULL;
	if (!list_empty(&e->link))
		waitq_remove(q, e);
}

int wait_sleep(int state, u64 deadline_ns)
{
	struct task *t = current;

	if ((state == TASK_INTERRUPTIBLE && signal_pending(t)) || (state == TASK_KILLABLE && fatal_signal_pending(t)))
		return -ERESTARTSYS;
	return sched_sleep_until(deadline_ns);
}
