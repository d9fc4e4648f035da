/* SPDX-License-Identifier: MIT
 *
 * Between the files of task: run queues and what creates, switches and ends tasks.
 *
 * Lock order: task->lock (RANK_TASK), then a run queue's lock (RANK_RUNQUEUE); two run queues by address.
 */
#ifndef TASK_PRIV_H
#define TASK_PRIV_H

#include <core/spin.h>
#include <task/sched.h>
#include <task/timer.h>

#define SCHED_RR_SLICE_NS (100 * NSEC_PER_MSEC)
#define RT_LEVELS         100 /* 1 is the lowest real-time priority, 99 the highest */

struct run_queue {
	struct spinlock lock; /* irqsave; covers all below unless it says otherwise */
	struct task *curr, *idle;
	struct rb_root fair;
	u64 min_vruntime;
	u64 fair_weight;
	u32 nr_fair, nr_rt;
	u32 nr_running; /* the current task included, the idle task not; read without the lock by others */
	struct list rt[RT_LEVELS];
	ulong rt_map[2]; /* levels with tasks */
	u64 idle_since, idle_ns;
	u64 switches;
	atomic_t iowait; /* tasks that sleep for I/O and ran here last */
} __cacheline;

DECLARE_PER_CPU(struct run_queue, run_queue);

/* sched.c: leaves the CPU; preempt: the task stays runnable whatever its state says. */
void sched_switch(bool preempt);
void sched_slice_expired(void); /* timer.c, IRQs off */
/* attr.c */
void sched_load_start(void);
void sched_load_averages(u64 out[3]);
/* tenant.c, work.c, cred.c: boot */
extern struct cred cred_root;
void tenant_boot(void);
void work_start(void);
/* task.c */
u64 task_count(void);
u64 task_forks(void);
u32 sched_weight(int nice);
/* rq.c: with rq->lock held */
void rq_enqueue(struct run_queue *rq, struct task *t, bool wakeup);
void rq_dequeue(struct run_queue *rq, struct task *t);
void rq_put_current(struct run_queue *rq, struct task *t); /* still runnable: back into its list or tree */
void rq_requeue_current(struct run_queue *rq, struct task *t);
struct task *rq_pick(struct run_queue *rq);     /* takes it out of its list or tree; the idle task if none */
void rq_account(struct run_queue *rq, u64 now); /* charges the current task's run time */
bool rq_should_preempt(struct run_queue *rq, const struct task *woken);
u64 rq_slice_end(const struct run_queue *rq, u64 now);          /* when the current task must give way; ~0: never */
struct task *rq_steal(struct run_queue *from, unsigned to_cpu); /* a queued task that may run there, dequeued; NULL */
void rq_resched(struct run_queue *rq, unsigned cpu);            /* asks that CPU to switch */
/* timer.c: the scheduler's own deadline on this CPU, beside the timers. IRQs off. */
void timer_set_slice(u64 deadline_ns);

/* debug build: ranks of sleeping locks that the task holds */
#ifdef OSTROM_DEBUG
void sleep_lock_note_acquire(const void *lock, unsigned rank, bool nested);
void sleep_lock_note_release(const void *lock);
#else
#define sleep_lock_note_acquire(lock, rank, nested) ((void)0)
#define sleep_lock_note_release(lock)               ((void)0)
#endif

#endif
