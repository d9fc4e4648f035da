/* SPDX-License-Identifier: MIT
 *
 * Problem: make and end tasks cheaply, and never free one that somebody still looks at.
 *
 * Idea: a task has two owners at birth, its creator and the scheduler. The scheduler's reference goes when the task has
 * switched away for the last time, so that nobody frees a stack that is in use; the struct itself goes after a grace
 * period, so that look-ups under RCU may try to take a reference. Kernel stacks are kept in a small pool, since mapping
 * one with its guard page costs more than all the rest.
 *
 *      create (UNINTERRUPTIBLE, refs 2) --task_wake--> runs ... task_exit (DEAD) --last switch--> put --refs 0--> RCU
 * --> freed
 *
 * Contract: task/task.h.
 *
 * Locks: pool_lock (RANK_LEAF_SPIN) for spare stacks.
 */
#include <alloc/kmap.h>
#include <alloc/slab.h>
#include <arch/cpu.h>
#include <core/clock.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/printf.h>
#include <lib/string.h>
#include <linux/sched.h>
#include <task/tenant.h>
#include <task/work.h>

#include "task_priv.h"

#define SPARE_STACKS 32
#define SLACK_NS     (50 * NSEC_PER_USEC) /* PR_SET_TIMERSLACK's default */

DEFINE_PER_CPU(struct task *, current_task);

static struct kcache *task_cache;
static struct spinlock pool_lock = SPIN_INIT(RANK_LEAF_SPIN);
static void *spare[SPARE_STACKS];
static unsigned nr_spare;
static atomic64_t live, forks;

static void *stack_get(void)
{
	ulong irq = spin_lock_irqsave(&pool_lock);
	void *s = nr_spare ? spare[--nr_spare] : NULL;

	spin_unlock_irqrestore(&pool_lock, irq);
	return s ? s : vmem_alloc(KERNEL_STACK_BYTES);
}

static void stack_put(void *s)
{
	ulong irq = spin_lock_irqsave(&pool_lock);
	bool kept = nr_spare < SPARE_STACKS;

	if (kept)
		spare[nr_spare++] = s;
	spin_unlock_irqrestore(&pool_lock, irq);
	if (!kept)
		vmem_free(s);
}

static void init_common(struct task *t, const char *name)
{
	spin_init(&t->lock, RANK_TASK);
	refcount_set(&t->refs, 2);
	list_init(&t->thread_link);
	list_init(&t->tenant_link);
	list_init(&t->sig_queue);
	list_init(&t->task_work);
	str_copy(t->comm, name, sizeof(t->comm));
	t->state = TASK_UNINTERRUPTIBLE;
	t->start_ns = clock_ns();
	t->timer_slack_ns = SLACK_NS;
	t->affinity = CPUMASK_ALL;
	t->weight = sched_weight(0);
}

static void inherit(struct task *t, const struct task *parent)
{
	bool reset = parent->reset_on_fork;
	bool rt = parent->class == SCHED_CLASS_FIFO || parent->class == SCHED_CLASS_RR;

	t->cpu = parent->cpu;
	t->affinity = parent->affinity;
	t->timer_slack_ns = parent->timer_slack_ns;
	t->closid = parent->closid;
	t->rmid = parent->rmid;
	if (!(reset && rt)) {
		t->class = parent->class;
		t->policy = parent->policy;
		t->rt_priority = parent->rt_priority;
	}
	t->nice = reset && parent->nice < 0 ? 0 : parent->nice;
	t->weight = sched_weight(t->nice);
	t->cred = parent->cred;
	cred_get(t->cred);
	t->tenant = parent->tenant;
	tenant_get(t->tenant);
}

int task_create(struct task **out, const char *name)
{
	struct task *t = kcache_alloc(task_cache, ALLOC_ZERO);

	if (!t)
		return -ENOMEM;
	t->stack = stack_get();
	if (!t->stack) {
		kcache_free(task_cache, t);
		return -ENOMEM;
	}
	init_common(t, name);
	inherit(t, current);
	atomic_inc(&live);
	atomic_inc(&forks);
	*out = t;
	return 0;
}

void task_get(struct task *t)
{
	refcount_inc(&t->refs);
}

static void free_task(struct rcu_head *head)
{
	struct task *t = container_of(head, struct task, rcu);

	arch_thread_free(t);
	stack_put(t->stack);
	cred_put(t->cred);
	tenant_put(t->tenant);
	kcache_free(task_cache, t);
}

void task_put(struct task *t)
{
	if (!refcount_dec_and_test(&t->refs))
		return;
	upcall_task_free(t);
	atomic_dec(&live);
	rcu_call(&t->rcu, free_task);
}

void task_exit(void)
{
	sched_set_state(TASK_DEAD);
	sched_switch(false);
	panic("a dead task runs");
}

u64 task_count(void)
{
	return atomic_read(&live);
}

u64 task_forks(void)
{
	return atomic_read(&forks);
}

/* ---- kernel threads -------------------------------------------------------------------------------- */

struct start {
	void (*fn)(void *);
	void *arg;
};

static void kthread_main(void *p)
{
	struct start s = *(struct start *)p;

	kfree(p);
	s.fn(s.arg);
	task_exit();
}

int kthread_run(struct task **out, void (*fn)(void *), void *arg, const char *name_fmt, ...)
{
	struct start *s = kmalloc(sizeof(*s), ALLOC_KERNEL);
	char name[sizeof(((struct task *)0)->comm)];
	struct task *t;
	va_list ap;
	int err;

	if (!s)
		return -ENOMEM;
	va_start(ap, name_fmt);
	str_vformat(name, sizeof(name), name_fmt, ap);
	va_end(ap);
	err = task_create(&t, name);
	if (err) {
		kfree(s);
		return err;
	}
	*s = (struct start){ fn, arg };
	t->flags = TASK_F_KTHREAD;
	t->sig_blocked = ~0ULL;
	arch_thread_init(t, kthread_main, s);
	task_wake(t);
	if (out)
		*out = t;
	else
		task_put(t);
	return 0;
}

int task_work_add(struct task *t, struct task_work *w)
{
	ulong irq = spin_lock_irqsave(&t->lock);
	bool exiting = t->flags & TASK_F_EXITING;

	if (!exiting)
		list_add_tail(&w->link, &t->task_work);
	spin_unlock_irqrestore(&t->lock, irq);
	if (exiting)
		return -ESRCH;
	task_set_work(t, WORK_NOTIFY);
	return 0;
}

/* ---- boot ------------------------------------------------------------------------------------------- */

static void become_idle(struct task *t, unsigned cpu)
{
	struct run_queue *rq = per_cpu_ptr(&run_queue, cpu);

	init_common(t, "swapper");
	t->cred = &cred_root;
	t->tenant = &tenant_root;
	t->flags = TASK_F_KTHREAD;
	t->state = TASK_RUNNING;
	t->class = SCHED_CLASS_IDLE;
	t->policy = SCHED_IDLE;
	t->affinity = cpumask_of(cpu);
	t->cpu = cpu;
	t->on_cpu = true;
	rq->idle = rq->curr = t;
	*per_cpu_ptr(&current_task, cpu) = t;
}

static void init_queue(unsigned cpu)
{
	struct run_queue *rq = per_cpu_ptr(&run_queue, cpu);

	spin_init(&rq->lock, RANK_RUNQUEUE);
	for (unsigned i = 0; i < RT_LEVELS; i++)
		list_init(&rq->rt[i]);
}

/* The boot task's own struct: there is no allocator when its CPU first asks for `current`. */
static struct task boot_task;

void task_boot(void)
{
	init_queue(0);
	become_idle(&boot_task, 0);
}

void task_init(void)
{
	task_cache = kcache_create("task", sizeof(struct task), 64, NULL);
	ensure(task_cache);
	tenant_boot();
	boot_task.tenant = &tenant_root;
	work_start();
	sched_load_start();
}

int task_prepare_cpu(unsigned cpu, void **stack_out)
{
	struct task *t = kcache_alloc(task_cache, ALLOC_ZERO);

	if (!t)
		return -ENOMEM;
	t->stack = stack_get();
	if (!t->stack) {
		kcache_free(task_cache, t);
		return -ENOMEM;
	}
	init_queue(cpu);
	become_idle(t, cpu);
	*stack_out = t->stack;
	return 0;
}
