/* SPDX-License-Identifier: MIT
 *
 * Problem: free what readers without locks may still look at, without a cost for the readers.
 *
 * Idea: kernel code is not preempted, so a CPU that switches tasks, runs user code or idles holds
 * no reference. rcu_call pushes on a list of its CPU. One thread collects all lists, sets a bit for
 * every CPU that is not idle, waits until each has passed such a point (the tick sees user mode; a
 * CPU in the kernel is asked to reschedule), and runs the callbacks. Calls that arrive meanwhile
 * wait for the next round: one grace period serves a whole batch.
 *
 * Contract: core/rcu.h.
 *
 * Locks: none; masks and lists are atomic. Leaving idle and starting a round are ordered by full
 * barriers: either the round sees the CPU awake, or the CPU, awake later, sees everything that was
 * unpublished before the round.
 */
#include <arch/cpu.h>
#include <core/clock.h>
#include <core/log.h>
#include <core/rcu.h>
#include <lib/atomic.h>
#include <task/mutex.h>
#include <task/sched.h>
#include "task_priv.h"

#define BATCH_NS (2 * NSEC_PER_MSEC) /* how long calls collect before a round */
#define POLL_NS  (1 * NSEC_PER_MSEC)

static DEFINE_PER_CPU(struct rcu_head *, calls);
static DEFINE_PER_CPU(bool, idle);
#ifdef OSTROM_DEBUG
static DEFINE_PER_CPU(unsigned, readers);
#endif
static cpumask_t owing; /* CPUs from which the present round waits for a sign */
static cpumask_t idle_mask;
static struct task *thread;
static bool hurry, asleep;

#ifdef OSTROM_DEBUG
void rcu_read_lock(void)
{
	this_cpu_add(readers, 1);
}

void rcu_read_unlock(void)
{
	this_cpu_add(readers, -1);
}

bool rcu_read_held(void)
{
	return this_cpu_read(readers) != 0;
}
#else
bool rcu_read_held(void)
{
	return false;
}
#endif

void rcu_quiescent(void)
{
	cpumask_t me = cpumask_of(cpu_id());

	if (unlikely(READ_ONCE(owing) & me))
		__atomic_fetch_and(&owing, ~me, __ATOMIC_SEQ_CST);
}

void rcu_idle_enter(void)
{
	this_cpu_write(idle, true);
	__atomic_fetch_or(&idle_mask, cpumask_of(cpu_id()), __ATOMIC_SEQ_CST);
	rcu_quiescent();
}

void rcu_idle_exit(void)
{
	if (!this_cpu_read(idle))
		return;
	this_cpu_write(idle, false);
	__atomic_fetch_and(&idle_mask, ~cpumask_of(cpu_id()), __ATOMIC_SEQ_CST);
}

static bool any_calls(void)
{
	unsigned cpu;

	for_each_cpu (cpu, cpu_online_mask())
		if (READ_ONCE(*per_cpu_ptr(&calls, cpu)))
			return true;
	return false;
}

void rcu_poll(void)
{
	if ((READ_ONCE(owing) & cpumask_of(cpu_id())) && !this_cpu_read(idle))
		__atomic_fetch_or(&current->work, WORK_RESCHED, __ATOMIC_SEQ_CST);
	if (READ_ONCE(asleep) && this_cpu_read(calls)) {
		WRITE_ONCE(asleep, false);
		task_wake(thread);
	}
}

void rcu_call(struct rcu_head *head, void (*fn)(struct rcu_head *))
{
	struct rcu_head **list, *first;

	head->fn = fn;
	list = this_cpu_ptr(&calls); /* may be another CPU's by the push: no harm */
	first = READ_ONCE(*list);
	do {
		head->next = first;
	} while (!__atomic_compare_exchange_n(list, &first, head, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED));
}

static struct rcu_head *collect(void)
{
	struct rcu_head *all = NULL;
	unsigned cpu;

	for_each_cpu (cpu, cpu_online_mask()) {
		struct rcu_head *h = __atomic_exchange_n(per_cpu_ptr(&calls, cpu), NULL, __ATOMIC_SEQ_CST);

		while (h) {
			struct rcu_head *next = h->next;

			h->next = all;
			all = h;
			h = next;
		}
	}
	return all;
}

static void grace_period(void)
{
	unsigned cpu;

	__atomic_store_n(&owing, cpu_online_mask(), __ATOMIC_SEQ_CST);
	__atomic_fetch_and(&owing, ~__atomic_load_n(&idle_mask, __ATOMIC_SEQ_CST), __ATOMIC_SEQ_CST);
	rcu_quiescent();
	if (READ_ONCE(hurry))
		for_each_cpu (cpu, READ_ONCE(owing))
			cpu_kick(cpu);
	for (int i = 0; READ_ONCE(owing); i++) {
		if (i < 20 && READ_ONCE(hurry)) {
			sched_yield_cpu();
			continue;
		}
		sched_nap(POLL_NS);
	}
}

static void rcu_thread(void *arg)
{
	for (;;) {
		struct rcu_head *list;

		sched_set_state(TASK_UNINTERRUPTIBLE);
		WRITE_ONCE(asleep, true);
		smp_mb();
		if (any_calls())
			sched_set_state(TASK_RUNNING);
		sched_sleep();
		WRITE_ONCE(asleep, false);
		if (!READ_ONCE(hurry))
			sched_nap(BATCH_NS);
		list = collect();
		grace_period();
		WRITE_ONCE(hurry, false);
		while (list) {
			struct rcu_head *h = list;

			list = h->next;
			h->fn(h);
			resched_point();
		}
	}
}

struct waiter {
	struct rcu_head head;
	struct completion done;
};

static void waiter_done(struct rcu_head *h)
{
	complete(&container_of(h, struct waiter, head)->done);
}

void rcu_synchronize(void)
{
	struct waiter w;

	assert_may_sleep();
	completion_init(&w.done);
	rcu_call(&w.head, waiter_done);
	WRITE_ONCE(hurry, true);
	task_wake(thread);
	completion_wait(&w.done);
}

void rcu_init(void)
{
	if (kthread_run(&thread, rcu_thread, NULL, "rcu"))
		panic("no memory for the rcu thread");
}
