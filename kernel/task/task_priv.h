/* SPDX-License-Identifier: MIT
 *
 * Between the files of task.
 */
#ifndef TASK_PRIV_H
#define TASK_PRIV_H

#include <task/sched.h>

/* sched.c */
void sched_init(void); /* boot: current is the boot task */
void sched_adopt_idle(struct task *t, unsigned cpu);
void sched_fork_attr(struct task *t); /* a new task's attributes, from current */
void schedule(void);                  /* leaves the CPU by current->state */
extern u64 sched_total_forks;
u64 task_total(void);
void user_ns_init(void);

/* Sleeping locks' order, debug build. */
#ifdef OSTROM_DEBUG
void sleep_lock_note(const void *lock, unsigned rank, bool nested);
void sleep_lock_drop(const void *lock);
void shake_sleep(void);
void shake_init(void);
#else
#define shake_sleep()                       ((void)0)
#define shake_init()                        ((void)0)
#define sleep_lock_note(lock, rank, nested) ((void)0)
#define sleep_lock_drop(lock)               ((void)0)
#endif
void assert_may_sleep(void);

#endif
