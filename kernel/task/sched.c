/* SPDX-License-Identifier: MIT
 *
 * Problem: share each CPU among tasks by weight, serve real-time tasks first, wake tasks within
 * hundreds of instructions, and leave an idle CPU alone.
 *
 * Idea: a run queue a CPU. Fair tasks wait in a tree ordered by virtual runtime, which grows at
 * 1024 / weight of real time (nice: a factor of 1.25 a step); the leftmost runs next. FIFO and RR
 * tasks wait on a list a priority with a bit map; when they have used what they may of a period, fair
 * ones that wait go before them until it ends. The running task is in neither. The clock ticks
 * (4 ms) only while a task runs; an idle CPU sleeps until its next timer. A waking task goes to its
 * last CPU if that is idle, else to an idle one, else back to its last; an idle CPU and, now and
 * then, the tick pull from the longest queue.
 *
 *   state     on_queue  on_cpu
 *   RUNNING   yes       no      waits in tree or list
 *   RUNNING   yes       yes     runs (or is just being switched away from)
 *   sleeping  no        yes     is being switched away from: a waker waits for on_cpu to clear
 *   sleeping  no        no      sleeps
 *
 * Contract: task/sched.h. current->state is set by the task itself; everybody else changes it under
 * t->lock.
 *
 * Locks: t->lock (RANK_TASK), then the run queue's (RANK_RUNQUEUE), both with IRQs off; two run
 * queues by rising CPU.
 */
#include <arch/cpu.h>
#include <arch/upcalls.h>
#include <core/clock.h>
#include <core/irq.h>
#include <core/log.h>
#include <core/rcu.h>
#include <lib/err.h>
#include <linux/sched.h>
#include <lib/string.h>
#include <task/hooks.h>
#include <task/plug.h>
#include <task/sched.h>
#include <task/timer.h>
#include "sched_priv.h"
#include "sched_trace.h"
#include "task_priv.h"

#define TICK_NS        (4 * NSEC_PER_MSEC)
#define SLICE_NS       (3 * NSEC_PER_MSEC)
#define SLICE_MIN_NS   (750 * NSEC_PER_USEC)
#define RR_SLICE_NS    (100 * NSEC_PER_MSEC)
#define WAKE_GRAN_NS   (1 * NSEC_PER_MSEC)    /* how far a woken task must be behind to preempt */
#define SLEEP_BONUS_NS (1500 * NSEC_PER_USEC) /* how far behind it may be placed */
#define DL_TICK_MIN_NS ((s64)(50 * NSEC_PER_USEC))
#define BALANCE_TICKS  16

DEFINE_PER_CPU(struct task *, current_task);
DEFINE_PER_CPU(struct rq, rq) = { .lock = SPIN_INIT(RANK_RUNQUEUE), .armed = ~0ULL };
DEFINE_STATIC_KEY(sched_cache_key);
void (*sched_cache_hook)(const struct task *next);
static cpumask_t idle_cpus; /* run their idle task; a hint */
u32 sched_weight[40];       /* by nice + 20 */

static struct rq *rq_of(unsigned cpu)
{
	return per_cpu_ptr(&rq, cpu);
}

static u32 weight_of(const struct task *t)
{
	return t->policy == SCHED_IDLE ? 3 : sched_weight[t->nice + 20];
}

static bool has_deadline(const struct task *t)
{
	return unlikely(t->class == SCHED_CLASS_DEADLINE);
}

static bool is_rt(const struct task *t)
{
	return likely(t->class == SCHED_CLASS_FAIR) ? t->boost : t->class != SCHED_CLASS_IDLE;
}

static u8 rt_level(const struct task *t)
{
	return has_deadline(t) ? LEVEL_DEADLINE : max(t->rt_priority, t->boost);
}

/* Of two that do not share the CPU with fair ones. */
static bool is_more_urgent(const struct task *t, const struct task *than)
{
	if (has_deadline(t) && has_deadline(than))
		return t->dl->until_ns < than->dl->until_ns;
	return rt_level(t) > rt_level(than);
}

u32 sched_weight_of(const struct task *t)
{
	return is_rt(t) ? 0 : weight_of(t);
}

/* ---- queues: rq lock held -------------------------------------------------------------------------------- */

static void fair_insert(struct rq *q, struct task *t)
{
	struct rb_node **link = &q->fair.node, *parent = NULL;
	bool first = true;

	while (*link) {
		parent = *link;
		if ((s64)(t->vruntime - rb_entry(parent, struct task, run_node)->vruntime) < 0) {
			link = &parent->left;
		} else {
			link = &parent->right;
			first = false;
		}
	}
	rb_insert(&q->fair, &t->run_node, parent, link);
	if (first)
		q->first_fair = &t->run_node;
}

static void insert_by_deadline(struct list *l, struct task *t)
{
	struct task *o;

	list_for_each_entry (o, l, run_link)
		if (is_more_urgent(t, o))
			break;
	list_add_tail(&t->run_link, &o->run_link);
}

static void queue_in(struct rq *q, struct task *t, bool head)
{
	struct list *l;

	if (!is_rt(t)) {
		fair_insert(q, t);
		return;
	}
	l = &q->rt[rt_level(t)];
	if (has_deadline(t))
		insert_by_deadline(l, t);
	else if (head)
		list_add(&t->run_link, l);
	else
		list_add_tail(&t->run_link, l);
	q->rt_bits[rt_level(t) / 64] |= BIT(rt_level(t) % 64);
}

static void queue_out(struct rq *q, struct task *t)
{
	if (!is_rt(t)) {
		if (q->first_fair == &t->run_node)
			q->first_fair = rb_next(&t->run_node);
		rb_erase(&q->fair, &t->run_node);
		return;
	}
	list_del_init(&t->run_link);
	if (list_empty(&q->rt[rt_level(t)]))
		q->rt_bits[rt_level(t) / 64] &= ~BIT(rt_level(t) % 64);
}

static struct task *best_rt(struct rq *q)
{
	for (int w = 1; w >= 0; w--)
		if (q->rt_bits[w]) {
			int prio = w * 64 + 63 - __builtin_clzl(q->rt_bits[w]);

			return list_first_entry(&q->rt[prio], struct task, run_link);
		}
	return NULL;
}

static struct task *first_fair(struct rq *q)
{
	return q->first_fair ? rb_entry(q->first_fair, struct task, run_node) : NULL;
}

/* Asks the CPU of q to choose again. */
static void resched(struct rq *q)
{
	struct task *t = q->curr;

	if (__atomic_fetch_or(&t->work, WORK_RESCHED, __ATOMIC_SEQ_CST) & WORK_RESCHED)
		return;
	if (q != this_cpu_ptr(&rq))
		cpu_kick(q->cpu);
}

/* Real-time tasks ran for delta_ns. A runaway one leaves its CPU to others for a part of each period. */
static void charge_rt(struct rq *q, u64 now, u64 delta_ns)
{
	if (now - q->rt_period >= sched_rt_period_ns) {
		q->rt_period = now;
		q->rt_used = 0;
		if (q->rt_spent && best_rt(q))
			resched(q);
		q->rt_spent = false;
		return;
	}
	q->rt_used += delta_ns;
	if (q->rt_used < sched_rt_runtime_ns || q->rt_spent)
		return;
	q->rt_spent = true;
	if (q->first_fair)
		resched(q);
}

/* Charges the running task for the time since the last call. */
static void account(struct rq *q, u64 now)
{
	struct task *t = q->curr;
	u64 delta = now - t->run_start;

	t->run_start = now;
	t->runtime_ns += delta;
	if (t == q->idle) {
		q->times.idle_ns += delta;
		return;
	}
	if (is_rt(t) || unlikely(q->rt_spent))
		charge_rt(q, now, is_rt(t) ? delta : 0);
	if (has_deadline(t))
		sched_dl_charge(t, delta);
	if (is_rt(t))
		return;
	if (unlikely(atomic_read(&sched_limits)))
		sched_charge_limits(q, t, delta, now);
	if (unlikely(t->tenant != &tenant_root))
		t->vruntime += sched_tenant_vtime(q, t, delta);
	else
		t->vruntime += t->nice || t->policy == SCHED_IDLE ? delta * 1024 / weight_of(t) : delta;
	if (trace_on(sched_stat_runtime))
		sched_trace_runtime(t, delta);
	if (q->first_fair) {
		u64 least = min(t->vruntime, first_fair(q)->vruntime);

		if ((s64)(least - q->min_vruntime) > 0)
			q->min_vruntime = least;
	} else if ((s64)(t->vruntime - q->min_vruntime) > 0) {
		q->min_vruntime = t->vruntime;
	}
}

/* Time that no tick has attributed: to user mode, but for kernel threads. */
static void attribute(struct rq *q, struct task *t, bool user)
{
	u64 open = t->runtime_ns - t->user_ns - t->system_ns;

	if ((s64)open <= 0)
		return;
	if (user) {
		t->user_ns += open;
		*(t->nice > 0 ? &q->times.nice_ns : &q->times.user_ns) += open;
	} else {
		t->system_ns += open;
		q->times.system_ns += open;
	}
}

static void arm(struct rq *q, u64 deadline)
{
	if (deadline < q->armed) {
		q->armed = deadline;
		clock_arm(deadline);
	}
}

void sched_clock_rearm(u64 deadline_ns)
{
	arm(this_cpu_ptr(&rq), deadline_ns);
}

static u64 slice_for(const struct rq *q, const struct task *t)
{
	if (is_rt(t))
		return t->class == SCHED_CLASS_RR ? RR_SLICE_NS : ~0ULL >> 2;
	return max(SLICE_NS / max(q->nr_running, 1U), SLICE_MIN_NS);
}

/* Does t go before the running task? */
static bool preempts(struct rq *q, struct task *t)
{
	struct task *c = q->curr;

	if (c == q->idle)
		return true;
	if (is_rt(t))
		return is_rt(c) ? is_more_urgent(t, c) : !q->rt_spent;
	if (is_rt(c))
		return q->rt_spent;
	if (c->policy == SCHED_IDLE && t->policy != SCHED_IDLE)
		return true;
	return t->policy == SCHED_NORMAL && (s64)(c->vruntime - t->vruntime) > (s64)WAKE_GRAN_NS;
}

/* Puts a task that nobody runs on q. q locked. */
static void activate(struct rq *q, struct task *t, u64 now)
{
	t->on_queue = true;
	t->wait_since = now;
	WRITE_ONCE(t->cpu, q->cpu);
	q->nr_running++;
	sched_weigh_in(q, t, sched_weight_of(t));
	queue_in(q, t, false);
	if (static_branch(&psi_key))
		psi_change(q, t, PSI_T_WAITING, PSI_T_RUNNABLE | (t->stalls ? PSI_T_STALLED : 0), now);
	if (preempts(q, t))
		resched(q);
	else if (q->nr_running == 2 && q == this_cpu_ptr(&rq))
		arm(q, min(q->curr->slice_end, now + TICK_NS));
}

static void place(struct rq *q, struct task *t, u64 floor)
{
	if (!is_rt(t) && (s64)(q->min_vruntime - floor - t->vruntime) > 0)
		t->vruntime = q->min_vruntime - floor;
}

/* ---- waking
 * -------------------------------------------------------------------------------------------------
 */

static unsigned choose_cpu(const struct task *t)
{
	cpumask_t may = t->affinity & cpu_online_mask(), idle;
	unsigned best = t->cpu, cpu;

	if (!may)
		may = cpu_online_mask();
	idle = may & READ_ONCE(idle_cpus);
	if (cpumask_has(idle, t->cpu))
		return t->cpu;
	if (idle)
		return cpumask_has(idle, cpu_id()) ? cpu_id() : (unsigned)cpumask_first(idle);
	if (!cpumask_has(may, best))
		best = (unsigned)cpumask_first(may);
	if (is_rt(t))
		for_each_cpu (cpu, may) {
			const struct task *c = READ_ONCE(rq_of(cpu)->curr);

			if (!is_rt(c) || rt_level(c) < rt_level(t)) /* deadlines: theirs may not be read here */
				return cpu;
		}
	return best;
}

/* It was counted as waiting on the CPU where it slept. */
static void psi_leave(struct task *t)
{
	struct rq *q = rq_of(t->cpu);

	spin_lock(&q->lock);
	psi_change(q, t, PSI_T_ALL, 0, clock_ns());
	spin_unlock(&q->lock);
}

static void wake_on(struct task *t, unsigned cpu)
{
	struct rq *q = rq_of(cpu);

	if (t->cpu != cpu) {
		if (static_branch(&psi_key) && t->psi)
			psi_leave(t);
		if (!is_rt(t))
			t->vruntime += q->min_vruntime - rq_of(t->cpu)->min_vruntime;
		sched_note_move(t, cpu);
	}
	spin_lock(&q->lock);
	if (!t->runtime_ns && !is_rt(t))
		t->vruntime = q->min_vruntime; /* new: level with the others */
	place(q, t, SLEEP_BONUS_NS);
	if (has_deadline(t))
		sched_dl_wake(t, clock_ns());
	activate(q, t, clock_ns());
	spin_unlock(&q->lock);
}

bool task_wake_states(struct task *t, unsigned states)
{
	ulong flags;
	bool woke = false, is_new;
	u32 state;

	smp_mb();
	if (!(BIT(READ_ONCE(t->state)) & states))
		return false;
	flags = spin_lock_irqsave(&t->lock);
	if (!(BIT(t->state) & states))
		goto out;
	woke = true;
	state = t->state;
	is_new = !t->runtime_ns;
	if (trace_on(sched_waking) && !is_new)
		sched_trace_wake(TRACE_sched_waking, t);
	while (READ_ONCE(t->on_queue)) {
		struct rq *q = rq_of(READ_ONCE(t->cpu));
		bool still;

		spin_lock(&q->lock);
		still = t->on_queue && rq_of(t->cpu) == q;
		if (still)
			WRITE_ONCE(t->state, TASK_RUNNING); /* it has not left the CPU yet, and now will not */
		spin_unlock(&q->lock);
		if (still)
			goto awake;
	}
	while (__atomic_load_n(&t->on_cpu, __ATOMIC_ACQUIRE))
		cpu_relax();
	WRITE_ONCE(t->state, TASK_RUNNING);
	if (sched_trace_sleep_on())
		sched_trace_sleep(t, state);
	wake_on(t, choose_cpu(t));
awake:
	if (is_new && trace_on(sched_wakeup_new))
		sched_trace_wake(TRACE_sched_wakeup_new, t);
	else if (!is_new && trace_on(sched_wakeup))
		sched_trace_wake(TRACE_sched_wakeup, t);
out:
	spin_unlock_irqrestore(&t->lock, flags);
	return woke;
}

bool task_wake(struct task *t)
{
	return task_wake_states(t, BIT(TASK_INTERRUPTIBLE) | BIT(TASK_UNINTERRUPTIBLE) | BIT(TASK_KILLABLE));
}

/* ---- switching
 * ------------------------------------------------------------------------------------------------
 */

static struct task *pick(struct rq *q)
{
	struct task *t = q->rt_spent && q->first_fair ? NULL : best_rt(q);

	if (!t)
		t = first_fair(q);
	if (!t)
		return q->idle;
	queue_out(q, t);
	return t;
}

/* On the new task's stack: prev is off the CPU. q locked; returns with IRQs as they are and q
 * unlocked. */
static void finish_switch(struct task *prev)
{
	struct rq *q = this_cpu_ptr(&rq);
	bool dead = READ_ONCE(prev->state) == TASK_DEAD;
	bool moves = q->push == prev;

	q->push = NULL;
	__atomic_store_n(&prev->on_cpu, false, __ATOMIC_RELEASE);
	spin_unlock(&q->lock);
	if (moves) {
		spin_lock(&prev->lock);
		wake_on(prev, choose_cpu(prev));
		spin_unlock(&prev->lock);
	}
	if (static_branch(&task_switch_key))
		task_hooks->switch_in(prev);
	if (current->rseq)
		__atomic_fetch_or(&current->work, WORK_RSEQ, __ATOMIC_SEQ_CST);
	if (dead)
		task_put(prev);
}

void upcall_thread_started(struct task *prev)
{
	finish_switch(prev);
	irq_enable();
}

static void psi_sleeps(struct rq *q, struct task *t, u64 now)
{
	if (READ_ONCE(t->state) == TASK_DEAD)
		psi_change(q, t, PSI_T_ALL, 0, now);
	else
		psi_change(q, t, PSI_T_RUNNABLE | PSI_T_RUNNING, t->flags & TASK_F_IO_WAIT ? PSI_T_WAITING : 0, now);
}

/* What becomes of the task that leaves the CPU. */
static void put_prev(struct rq *q, struct task *prev, u64 now)
{
	if (prev == q->idle) {
		__atomic_fetch_and(&idle_cpus, ~cpumask_of(q->cpu), __ATOMIC_SEQ_CST);
		return;
	}
	attribute(q, prev, prev->mm != NULL);
	if (READ_ONCE(prev->state) != TASK_RUNNING) {
		prev->on_queue = false;
		q->nr_running--;
		sched_weigh_out(q, prev);
		prev->voluntary_switches++;
		if (static_branch(&psi_key))
			psi_sleeps(q, prev, now);
		return;
	}
	prev->preempted_switches++;
	prev->wait_since = now;
	if (static_branch(&psi_key))
		psi_change(q, prev, PSI_T_RUNNING, 0, now);
	if (unlikely(!cpumask_has(prev->affinity, q->cpu) && (prev->affinity & cpu_online_mask()))) {
		prev->on_queue = false;
		q->nr_running--;
		sched_weigh_out(q, prev);
		if (static_branch(&psi_key))
			psi_change(q, prev, PSI_T_ALL, 0, now);
		q->push = prev;
		return;
	}
	queue_in(q, prev, is_rt(prev) && (s64)(prev->slice_end - now) > 0);
}

/* Until when the clock must look at a running task again. */
static u64 tick_for(const struct task *t)
{
	return has_deadline(t) ? clamp(t->dl->left_ns, DL_TICK_MIN_NS, (s64)TICK_NS) : TICK_NS;
}

static void set_next(struct rq *q, struct task *next, u64 now)
{
	q->curr = next;
	next->run_start = now;
	if (next == q->idle) {
		__atomic_fetch_or(&idle_cpus, cpumask_of(q->cpu), __ATOMIC_SEQ_CST);
		return;
	}
	next->run_delay_ns += now - next->wait_since;
	if (trace_on(sched_stat_wait))
		sched_trace_wait(next, now - next->wait_since);
	next->slice_end = now + slice_for(q, next);
	next->on_cpu = true;
	if (static_branch(&psi_key))
		psi_change(q, next, 0, PSI_T_RUNNABLE | PSI_T_RUNNING, now);
	arm(q, now + min(tick_for(next), unlikely(atomic_read(&sched_limits)) ? sched_limit_left(next) : ~0ULL));
}

void schedule(void)
{
	ulong flags = irq_save();
	struct rq *q = this_cpu_ptr(&rq);
	struct task *prev = q->curr, *next;
	u64 now = clock_ns();

	spin_lock(&q->lock);
	rcu_quiescent();
	__atomic_fetch_and(&prev->work, ~WORK_RESCHED, __ATOMIC_SEQ_CST);
	account(q, now);
	if (prev != q->idle && READ_ONCE(prev->state) == TASK_RUNNING && !q->first_fair && !best_rt(q) &&
	    cpumask_has(prev->affinity, q->cpu)) { /* nobody else */
		prev->slice_end = now + slice_for(q, prev);
		spin_unlock(&q->lock);
		irq_restore(flags);
		return;
	}
	put_prev(q, prev, now);
	next = pick(q);
	if (next == prev) {
		set_next(q, next, now);
		spin_unlock(&q->lock);
	} else {
		set_next(q, next, now);
		q->switches++;
		if (trace_on(sched_switch))
			sched_trace_switch(prev, next);
		if (static_branch(&task_switch_key))
			task_hooks->switch_out(prev, next);
		if (static_branch(&sched_cache_key))
			sched_cache_hook(next);
		finish_switch(arch_switch(prev, next));
	}
	irq_restore(flags);
}

void assert_may_sleep(void)
{
#ifdef OSTROM_DEBUG
	lock_assert_none();
	if (in_irq())
		panic("sleeping in an interrupt");
	if (rcu_read_held())
		panic("sleeping inside rcu_read_lock");
#endif
}

void sched_set_state(enum task_state s)
{
	__atomic_store_n(&current->state, (u32)s, __ATOMIC_SEQ_CST);
}

void sched_sleep(void)
{
	assert_may_sleep();
	plug_flush(); /* somebody may be waiting for what it holds back */
	if (READ_ONCE(current->state) != TASK_RUNNING)
		schedule();
}

struct sleeper {
	struct timer timer;
	struct task *task;
	bool fired;
};

static void sleeper_fire(struct timer *t)
{
	struct sleeper *s = container_of(t, struct sleeper, timer);

	WRITE_ONCE(s->fired, true);
	task_wake_states(s->task, ~0U & ~(unsigned)(BIT(TASK_DEAD) | BIT(TASK_RUNNING)));
}

int sched_sleep_until(u64 deadline_ns)
{
	struct sleeper s = { .task = current };

	if (deadline_ns == ~0ULL) {
		sched_sleep();
		return 0;
	}
	if (clock_ns() >= deadline_ns) {
		sched_set_state(TASK_RUNNING);
		return -ETIME;
	}
	timer_init(&s.timer, sleeper_fire);
	timer_arm(&s.timer, deadline_ns, is_rt(s.task) ? 0 : s.task->timer_slack_ns);
	sched_sleep();
	(void)timer_cancel(&s.timer);
	return s.fired ? -ETIME : 0;
}

void sched_yield_cpu(void)
{
	ulong flags = irq_save();
	struct rq *q = this_cpu_ptr(&rq);
	struct task *t = current, *first;

	spin_lock(&q->lock);
	account(q, clock_ns());
	first = first_fair(q);
	if (has_deadline(t))
		sched_dl_yield();
	else if (is_rt(t))
		t->slice_end = 0;
	else if (first && (s64)(first->vruntime - t->vruntime) >= 0)
		t->vruntime = first->vruntime + 1;
	spin_unlock(&q->lock);
	irq_restore(flags);
	schedule();
}

void resched_point(void)
{
	if (unlikely(current->work & WORK_RESCHED)) {
		assert_may_sleep();
		schedule();
	}
}

/* ---- clock
 * -------------------------------------------------------------------------------------------------------
 */

static void tick(struct rq *q, u64 now)
{
	const struct regs *r = irq_regs();
	struct task *t = q->curr;
	bool others;

	spin_lock(&q->lock);
	account(q, now);
	if (t != q->idle)
		attribute(q, t, r && regs_user(r));
	others = q->first_fair || best_rt(q);
	if (t != q->idle && others && (s64)(now - t->slice_end) >= 0) {
		if (!is_rt(t) || t->class == SCHED_CLASS_RR)
			resched(q);
	}
	spin_unlock(&q->lock);
	sched_load_update(now);
	if (t != q->idle && ++q->ticks % BALANCE_TICKS == 0)
		sched_pull(q);
}

void upcall_timer_irq(void)
{
	struct rq *q = this_cpu_ptr(&rq);
	u64 now = clock_ns(), next;

	q->armed = ~0ULL;
	timers_run(now);
	tick(q, now);
	rcu_poll();
	next = timers_next();
	if (q->curr != q->idle) {
		next = min(next, now + tick_for(q->curr));
		if (q->nr_running > 1 && q->curr->slice_end > now)
			next = min(next, q->curr->slice_end);
	}
	if (next != ~0ULL)
		arm(q, next);
}

void upcall_kick(void)
{
	rcu_poll();
}

/* ---- idle and start
 * --------------------------------------------------------------------------------------------------
 */

static void idle_loop(void)
{
	struct rq *q = this_cpu_ptr(&rq);

	for (;;) {
		irq_disable();
		while (!(READ_ONCE(q->idle->work) & WORK_RESCHED)) {
			rcu_poll();
			/* rcu_poll may have set the flag: with it set, nobody would kick this CPU out of its halt. */
			if (sched_pull(q) || READ_ONCE(q->idle->work) & WORK_RESCHED)
				break;
			rcu_idle_enter();
			cpu_wait_for_irq();
			rcu_idle_exit();
		}
		irq_enable();
		schedule();
	}
}

void sched_start(void)
{
	struct rq *q = this_cpu_ptr(&rq);

	__atomic_fetch_or(&idle_cpus, cpumask_of(q->cpu), __ATOMIC_SEQ_CST);
	idle_loop();
	__builtin_unreachable();
}

void sched_adopt_idle(struct task *t, unsigned cpu)
{
	struct rq *q = rq_of(cpu);

	q->cpu = cpu;
	q->idle = q->curr = t;
	q->fair = RB_ROOT;
	for (int i = 0; i <= LEVEL_DEADLINE; i++)
		list_init(&q->rt[i]);
	t->cpu = cpu;
	t->on_cpu = true;
	t->class = SCHED_CLASS_IDLE;
	t->run_start = clock_ns();
}

/* nice n weighs 1024 * 1.25^-n, rounded. */
void sched_init(void)
{
	u64 w = 1024ULL << 20;

	for (int n = 20; n >= 0; n--, w = w * 5 / 4)
		sched_weight[n] = (u32)((w + (1 << 19)) >> 20);
	w = 1024ULL << 20;
	for (int n = 20; n < 40; n++, w = w * 4 / 5)
		sched_weight[n] = (u32)((w + (1 << 19)) >> 20);
}

struct rq *sched_tenant_change_begin(struct task *t, u8 *psi)
{
	for (;;) {
		struct rq *q = rq_of(READ_ONCE(t->cpu));

		spin_lock(&q->lock);
		if (rq_of(t->cpu) == q) {
			if (t == q->curr)
				account(q, clock_ns());
			if (t->on_queue)
				sched_weigh_out(q, t);
			*psi = t->psi;
			psi_change(q, t, PSI_T_ALL, 0, clock_ns());
			return q;
		}
		spin_unlock(&q->lock);
	}
}

void sched_tenant_change_end(struct rq *q, struct task *t, u8 psi)
{
	psi_change(q, t, 0, psi, clock_ns());
	if (t->on_queue)
		sched_weigh_in(q, t, sched_weight_of(t));
	spin_unlock(&q->lock);
}

/* For attribute changes (sched_attr.c): takes t out of its place and back. Returns with the lock of
 * its run queue. */
struct rq *sched_change_begin(struct task *t, bool *queued)
{
	for (;;) {
		struct rq *q = rq_of(READ_ONCE(t->cpu));

		spin_lock(&q->lock);
		if (rq_of(t->cpu) == q) {
			account(q, clock_ns());
			*queued = t->on_queue && t != q->curr;
			if (*queued)
				queue_out(q, t);
			return q;
		}
		spin_unlock(&q->lock);
	}
}

void sched_change_end(struct rq *q, struct task *t, bool queued)
{
	if (t->on_queue && t->run_weight != sched_weight_of(t)) {
		sched_weigh_out(q, t);
		sched_weigh_in(q, t, sched_weight_of(t));
	}
	if (queued) {
		queue_in(q, t, false);
		if (preempts(q, t))
			resched(q);
	} else if (t == q->curr) {
		resched(q);
	}
	spin_unlock(&q->lock);
}

/* Moves a waiting task from `from` to `to`; both locked. */
void sched_move(struct rq *from, struct rq *to, struct task *t)
{
	queue_out(from, t);
	from->nr_running--;
	sched_weigh_out(from, t);
	if (static_branch(&psi_key))
		psi_change(from, t, PSI_T_ALL, 0, clock_ns());
	if (!is_rt(t))
		t->vruntime += to->min_vruntime - from->min_vruntime;
	sched_note_move(t, to->cpu);
	t->on_queue = false;
	activate(to, t, t->wait_since);
}
