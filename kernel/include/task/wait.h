/* SPDX-License-Identifier: MIT
 *
 * Wait queues. An entry is a sleeping task or a callback (epoll, poll, irqfd): a wake calls entry->wake under the
 * queue's lock with the poll events that became true.
 *
 * wait_event(q, cond): sleeps until cond; cond is evaluated without locks held by the macro. The interruptible form
 * gives -ERESTARTSYS on a signal, the killable one on a fatal signal; _until gives -ETIME at the deadline (clock_ns).
 */
#ifndef TASK_WAIT_H
#define TASK_WAIT_H

#include <core/spin.h>
#include <lib/err.h>
#include <lib/list.h>

struct task;

struct waitq {
	struct spinlock lock; /* RANK_WAITQ, taken with irqsave */
	struct list entries;
};

struct wait_entry {
	struct list link;
	struct task *task;
	/* Returns true if it consumed an exclusive wake. Runs with the queue's lock held, IRQs off. */
	bool (*wake)(struct wait_entry *e, unsigned events);
	bool exclusive;
};

#define WAITQ_INIT(q)                                                                                                  \
	{                                                                                                              \
		SPIN_INIT(RANK_WAITQ), LIST_INIT((q).entries)                                                          \
	}
void waitq_init(struct waitq *q);
void waitq_add(struct waitq *q, struct wait_entry *e);    /* exclusive entries go to the tail */
void waitq_remove(struct waitq *q, struct wait_entry *e); /* also if already removed */
void waitq_wake(struct waitq *q, int nr_exclusive, unsigned events);
static inline bool waitq_active(struct waitq *q)
{
	return !list_empty(&q->entries);
}
#define waitq_wake_all(q) waitq_wake(q, -1, ~0U)
#define waitq_wake_one(q) waitq_wake(q, 1, ~0U)

/* The pieces of the macros below: state is a task_state. */
void wait_prepare(struct waitq *q, struct wait_entry *e, int state);
void wait_finish(struct waitq *q, struct wait_entry *e);
void wait_entry_init(struct wait_entry *e); /* wakes current */
int wait_sleep(int state, u64 deadline_ns); /* 0, -ERESTARTSYS, -ETIME */

#define wait_event_(q, cond, state, deadline)                                                                          \
	({                                                                                                             \
		int err_ = 0;                                                                                          \
		if (!(cond)) {                                                                                         \
			struct wait_entry we_;                                                                         \
			wait_entry_init(&we_);                                                                         \
			for (;;) {                                                                                     \
				wait_prepare((q), &we_, (state));                                                      \
				if (cond) {                                                                            \
					err_ = 0;                                                                      \
					break;                                                                         \
				}                                                                                      \
				if (err_)                                                                              \
					break;                                                                         \
				err_ = wait_sleep((state), (deadline));                                                \
			}                                                                                              \
			wait_finish((q), &we_);                                                                        \
		}                                                                                                      \
		err_;                                                                                                  \
	})
#define wait_event(q, cond)                               ((void)wait_event_(q, cond, TASK_UNINTERRUPTIBLE, ~0ULL))
#define wait_event_interruptible(q, cond)                 wait_event_(q, cond, TASK_INTERRUPTIBLE, ~0ULL)
#define wait_event_killable(q, cond)                      wait_event_(q, cond, TASK_KILLABLE, ~0ULL)
#define wait_event_interruptible_until(q, cond, deadline) wait_event_(q, cond, TASK_INTERRUPTIBLE, deadline)
#define wait_event_until(q, cond, deadline)               wait_event_(q, cond, TASK_UNINTERRUPTIBLE, deadline)

/* task's upcall into process: a signal (a fatal one, if fatal_only) waits for current. */
bool upcall_signal_pending(struct task *t, bool fatal_only);
#define signal_pending(t)       upcall_signal_pending(t, false)
#define fatal_signal_pending(t) upcall_signal_pending(t, true)

#endif
