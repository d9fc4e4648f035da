/* SPDX-License-Identifier: MIT
 *
 * Problem: switch between tasks, wake them on the right CPU, and lose no wake-up between a task's decision to sleep and
 * its leaving the CPU.
 *
 * Idea: a sleeper publishes its state before it looks at its condition; a waker changes the condition first and then
 * looks at the state. A wake that finds the task still on its queue only puts the state back. One that finds it off the
 * queue waits until the old CPU has let go of its stack (on_cpu), then places it.
 *
 *      RUNNING --set_state--> sleeping, on queue --switch--> off queue, on_cpu --finish_switch--> off CPU
 *         ^                        |                                                                |
 *         +---- wake: state -------+                     wake: enqueue on the chosen CPU <----------+
 *
 * Placement: the CPU where it ran last if idle, else an idle CPU, else where it ran last. An idle CPU steals before it
 * sleeps; a CPU whose slice ends with others waiting kicks an idle one. The timer is armed only while somebody waits
 * (tickless).
 *
 * Contract: task/sched.h, upcalls of arch/upcalls.h.
 *
 * Locks: task->lock before rq->lock. arch_switch runs with rq->lock held; the next task releases it (finish_switch).
 */
#include <arch/cpu.h>
#include <arch/upcalls.h>
#include <core/clock.h>
#include <core/log.h>
#include <core/rcu.h>
#include <lib/err.h>
#include <linux/sched.h>

#include "task_priv.h"

static cpumask_t idle_cpus; /* atomic: CPUs in their idle loop */

static struct run_queue *rq_of(unsigned cpu)
{
	return per_cpu_ptr(&run_queue, cpu);
}

void sched_set_state(enum task_state s)
{
	__atomic_store_n(&current->state, s, __ATOMIC_SEQ_CST);
}

static void place(struct task *t, bool wakeup);

/* A runnable task that may not stay on this CPU: it has just been switched away from. IRQs off. */
static void move_away(struct task *t)
{
	spin_lock(&t->lock);
	place(t, true);
	spin_unlock(&t->lock);
}

/* On the new task's stack: prev's is free from here on. */
static void finish_switch(struct task *prev)
{
	struct run_queue *rq = this_cpu_ptr(&run_queue);
	bool dead = READ_ONCE(prev->state) == TASK_DEAD;

	bool moves = prev->leaves_cpu;

	prev->leaves_cpu = false;
	__atomic_store_n(&prev->on_cpu, false, __ATOMIC_RELEASE);
	spin_unlock(&rq->lock);
	if (dead)
		task_put(prev);
	if (moves)
		move_away(prev);
}

void upcall_thread_started(struct task *prev)
{
	finish_switch(prev);
	irq_enable();
}

static void count_switch(struct run_queue *rq, struct task *prev, struct task *next, bool voluntary, u64 now)
{
	rq->switches++;
	if (voluntary)
		prev->voluntary_switches++;
	else
		prev->preempted_switches++;
	prev->wait_since = now;
	if (next->wait_since && next != rq->idle)
		next->run_delay_ns += now - next->wait_since;
	next->run_start = now;
}

/* Moves tasks here from the longest queue. Called by the idle task, no lock held, IRQs off. */
static bool steal_work(struct run_queue *rq)
{
	unsigned me = cpu_id(), busiest = me, best = 1, cpu;
	struct run_queue *from;
	struct task *t;

	for_each_cpu (cpu, cpu_online_mask())
		if (READ_ONCE(rq_of(cpu)->nr_running) > best) {
			best = rq_of(cpu)->nr_running;
			busiest = cpu;
		}
	if (busiest == me)
		return false;
	from = rq_of(busiest);
	spin_lock(min(from, rq) == from ? &from->lock : &rq->lock);
	spin_lock_nested(min(from, rq) == from ? &rq->lock : &from->lock);
	t = rq_steal(from, me);
	if (t) {
		t->cpu = me;
		t->vruntime += rq->min_vruntime;
		rq_enqueue(rq, t, true);
	}
	spin_unlock(&from->lock);
	spin_unlock(&rq->lock);
	return t != NULL;
}

/* The heart. IRQs off, rq->lock held; returns with both released and restored by the caller's convention: lock dropped.
 */
static void switch_locked(struct run_queue *rq, bool preempt)
{
	struct task *prev = rq->curr, *next;
	u64 now = clock_ns();
	bool sleeps = !preempt && prev != rq->idle && READ_ONCE(prev->state) != TASK_RUNNING;

	rq_account(rq, now);
	__atomic_fetch_and(&prev->work, ~WORK_RESCHED, __ATOMIC_SEQ_CST);
	prev->leaves_cpu = !sleeps && prev != rq->idle && !cpumask_has(prev->affinity, cpu_id());
	if (sleeps || prev->leaves_cpu)
		rq_dequeue(rq, prev);
	else
		rq_put_current(rq, prev);
	next = rq_pick(rq);
	rq->curr = next;
	if (next != prev)
		next->slice_end = now + SCHED_RR_SLICE_NS;
	timer_set_slice(rq_slice_end(rq, now));
	if (next == prev) {
		spin_unlock(&rq->lock);
		return;
	}
	count_switch(rq, prev, next, sleeps, now);
	next->on_cpu = true;
	rcu_quiescent();
	finish_switch(arch_switch(prev, next));
}

void sched_switch(bool preempt)
{
	ulong irq = irq_save();
	struct run_queue *rq = this_cpu_ptr(&run_queue);

	lock_assert_none();
	spin_lock(&rq->lock);
	switch_locked(rq, preempt);
	irq_restore(irq);
}

void sched_sleep(void)
{
	sched_switch(false);
}

struct sleep_timer {
	struct timer timer;
	struct task *task;
};

static void wake_from_timer(struct timer *t)
{
	task_wake(container_of(t, struct sleep_timer, timer)->task);
}

int sched_sleep_until(u64 deadline_ns)
{
	struct sleep_timer st = { .task = current };
	int err = 0;

	if (deadline_ns == ~0ULL) {
		sched_sleep();
		return 0;
	}
	timer_init(&st.timer, wake_from_timer);
	timer_arm(&st.timer, deadline_ns, current->timer_slack_ns);
	sched_sleep();
	if (!timer_cancel(&st.timer) && clock_ns() >= deadline_ns)
		err = -ETIME;
	sched_set_state(TASK_RUNNING);
	return err;
}

void sched_yield_cpu(void)
{
	struct task *t = current;
	struct run_queue *rq;
	ulong irq = irq_save();

	rq = this_cpu_ptr(&run_queue);
	spin_lock(&rq->lock);
	rq_account(rq, clock_ns());
	if (t->class == SCHED_CLASS_FAIR && rq->fair.node) /* behind everybody who waits now */
		t->vruntime = max(t->vruntime, rb_entry(rb_last(&rq->fair), struct task, run_node)->vruntime + 1);
	t->slice_end = 0;
	switch_locked(rq, true);
	irq_restore(irq);
}

void resched_point(void)
{
	if (unlikely(READ_ONCE(current->work) & WORK_RESCHED))
		sched_switch(true);
}

/* ---- waking ------------------------------------------------------------------------------------- */

static unsigned choose_cpu(const struct task *t)
{
	cpumask_t allowed = t->affinity & cpu_online_mask();
	cpumask_t idle = __atomic_load_n(&idle_cpus, __ATOMIC_RELAXED) & allowed;

	if (!allowed)
		return cpumask_first(cpu_online_mask());
	if (cpumask_has(idle, t->cpu))
		return t->cpu;
	if (idle)
		return cpumask_first(idle);
	return cpumask_has(allowed, t->cpu) ? t->cpu : cpumask_first(allowed);
}

/* task->lock held, t off its queue and off its CPU. */
static void place(struct task *t, bool wakeup)
{
	unsigned cpu = choose_cpu(t);
	struct run_queue *rq = rq_of(cpu);

	spin_lock(&rq->lock);
	if (cpu != t->cpu)
		t->vruntime += rq->min_vruntime - rq_of(t->cpu)->min_vruntime;
	t->cpu = cpu;
	t->wait_since = clock_ns();
	__atomic_store_n(&t->state, TASK_RUNNING, __ATOMIC_RELAXED);
	rq_enqueue(rq, t, wakeup);
	if (rq_should_preempt(rq, t))
		rq_resched(rq, cpu);
	else if (cpu == cpu_id() && rq->nr_running == 2)
		timer_set_slice(rq_slice_end(rq, clock_ns())); /* nobody waited before */
	else if (cpu != cpu_id() && rq->nr_running == 2)
		cpu_kick(cpu); /* so that it arms its timer */
	spin_unlock(&rq->lock);
}

/* If t is still on its queue, makes it stay there. */
static bool wake_queued(struct task *t)
{
	struct run_queue *rq = rq_of(t->cpu);
	bool queued;

	spin_lock(&rq->lock);
	queued = t->on_queue;
	if (queued)
		__atomic_store_n(&t->state, TASK_RUNNING, __ATOMIC_RELAXED);
	spin_unlock(&rq->lock);
	return queued;
}

bool task_wake_states(struct task *t, unsigned states)
{
	ulong irq = spin_lock_irqsave(&t->lock);
	bool woke = BIT(READ_ONCE(t->state)) & states;

	if (woke && !wake_queued(t)) {
		while (__atomic_load_n(&t->on_cpu, __ATOMIC_ACQUIRE))
			cpu_relax();
		place(t, t->runtime_ns != 0); /* a new task starts level with the others */
	}
	spin_unlock_irqrestore(&t->lock, irq);
	return woke;
}

bool task_wake(struct task *t)
{
	return task_wake_states(t, BIT(TASK_INTERRUPTIBLE) | BIT(TASK_UNINTERRUPTIBLE) | BIT(TASK_KILLABLE));
}

void task_set_work(struct task *t, ulong bits)
{
	__atomic_fetch_or(&t->work, bits, __ATOMIC_SEQ_CST);
	if (t != current && READ_ONCE(t->on_cpu))
		cpu_kick(READ_ONCE(t->cpu));
}

void task_clear_work(struct task *t, ulong bits)
{
	__atomic_fetch_and(&t->work, ~bits, __ATOMIC_SEQ_CST);
}

/* ---- interrupts and idle -------------------------------------------------------------------------- */

void upcall_kick(void)
{
	struct run_queue *rq = this_cpu_ptr(&run_queue);

	spin_lock(&rq->lock);
	timer_set_slice(rq_slice_end(rq, clock_ns()));
	spin_unlock(&rq->lock);
}

/* The slice ended (timer interrupt): the current task gives way, and an idle CPU may come and help. */
void sched_slice_expired(void)
{
	cpumask_t idle = __atomic_load_n(&idle_cpus, __ATOMIC_RELAXED);

	__atomic_fetch_or(&current->work, WORK_RESCHED, __ATOMIC_SEQ_CST);
	if (idle)
		cpu_kick(cpumask_first(idle));
}

static void idle_once(struct run_queue *rq)
{
	u64 start = clock_ns();

	__atomic_fetch_or(&idle_cpus, cpumask_of(cpu_id()), __ATOMIC_SEQ_CST);
	rq->idle_since = start;
	rcu_quiescent();
	irq_disable();
	if (!(READ_ONCE(current->work) & WORK_RESCHED) && !READ_ONCE(rq->nr_running))
		cpu_wait_for_irq();
	__atomic_fetch_and(&idle_cpus, ~cpumask_of(cpu_id()), __ATOMIC_SEQ_CST);
	rq->idle_ns += clock_ns() - start;
	rq->idle_since = 0;
	irq_enable();
}

void __noreturn sched_start(void)
{
	struct run_queue *rq = this_cpu_ptr(&run_queue);

	irq_enable();
	for (;;) {
		irq_disable();
		if (!READ_ONCE(rq->nr_running))
			steal_work(rq);
		irq_enable();
		if (READ_ONCE(rq->nr_running))
			sched_switch(true);
		else
			idle_once(rq);
	}
}

/* ---- figures ------------------------------------------------------------------------------------- */

void sched_cpu_times(unsigned cpu, struct cpu_times *out)
{
	struct run_queue *rq = rq_of(cpu);
	u64 since = READ_ONCE(rq->idle_since), now = clock_ns();
	u64 idle = READ_ONCE(rq->idle_ns) + (since && now > since ? now - since : 0);

	*out = (struct cpu_times){ .idle_ns = idle, .user_ns = now > idle ? now - idle : 0 };
	if (atomic_read(&rq->iowait) > 0)
		swap(out->iowait_ns, out->idle_ns);
}

void sched_load(struct sched_load *out)
{
	unsigned cpu;

	*out = (struct sched_load){ .total = task_count(), .forks = task_forks() };
	for_each_cpu (cpu, cpu_online_mask()) {
		out->running += READ_ONCE(rq_of(cpu)->nr_running);
		out->switches += READ_ONCE(rq_of(cpu)->switches);
	}
	sched_load_averages(out->load_avg);
}
