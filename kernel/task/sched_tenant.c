/* SPDX-License-Identifier: MIT
 *
 * Problem: a CPU is divided among tenants by weight, within each among its children and tasks, and so on; and a tenant
 * may be limited to so much CPU time in each period. Machines without tenants must not pay for it.
 *
 * Idea: one queue of tasks a CPU stays. A tenant only keeps, for each CPU, the sum of the weights that are runnable in
 * it. A task's virtual time then runs by its part of the whole: its weight in its tenant, times the tenant's in its
 * parent, up to the root. So a tenant's tasks together get the tenant's part, however many they are.
 *
 *      part of t = weight(t) / sum(tenant) * weight(tenant) / sum(parent) * ...        vruntime += time * 1024 / part
 *
 * On several CPUs a tenant has its weight once, not on each: on each it weighs as much of it as the part of its
 * runnable weight that is there. So one busy task beside a tenant with a task on each of two CPUs gets two thirds of
 * its CPU.
 *
 *      weight on a CPU = weight * sum on that CPU / sum on all CPUs
 *
 * A limit is a balance that is filled every period and drawn down as tasks run. At zero its tasks are marked, and sleep
 * when they are about to return to user mode: nobody is stopped with a lock of the kernel's. What they overdrew is
 * missing in the next period, so the limit holds over time.
 *
 * Contract: task/tenant.h, sched_priv.h. What other CPUs change in a tenant's sum is noticed when one of its tasks is
 * accounted for here, at the latest at the next tick.
 *
 * Locks: the run queue's for sums; bandwidth->lock for a limit's settings and statistics; balances are atomic.
 */
#include <arch/cpu.h>
#include <core/clock.h>
#include <lib/err.h>
#include <task/sched.h>
#include <task/tenant.h>
#include "sched_priv.h"
#include "task_priv.h"

#define IDLE_WEIGHT 3 /* as of SCHED_IDLE */
#define DELTA_MAX   NSEC_PER_SEC
#define PERIOD_NS   (100 * NSEC_PER_MSEC)
#define PERIOD_MIN  NSEC_PER_MSEC
#define PERIOD_MAX  NSEC_PER_SEC
#define QUOTA_MIN   NSEC_PER_MSEC
#define QUOTA_MAX   (((1ULL << 44) - 1) * NSEC_PER_USEC) /* Linux's */
#define LEFT_MIN_NS (50 * NSEC_PER_USEC) /* so that a nearly empty balance does not make a storm of interrupts */

atomic_t sched_limits;

void sched_tenant_init(struct tenant *t)
{
	struct tenant_bandwidth *b = &t->bandwidth;

	t->cpu_weight = 1024;
	b->quota_ns = ~0ULL;
	b->period_ns = PERIOD_NS;
	spin_init(&b->lock, RANK_SUBSYS_SPIN);
	waitq_init(&b->wait);
	timer_init(&b->timer, NULL);
}

/* ---- weights ---- */

static u32 weight_here(const struct tenant *g, const struct tenant_run *r)
{
	u64 weight = READ_ONCE(g->cpu_weight), all;

	if (!r->sum)
		return 0;
	if (cpu_count() == 1)
		return (u32)weight;
	all = max((u64)atomic_read(&g->runnable), r->sum);
	return (u32)max(weight * r->sum / all, 1ULL);
}

/* What is runnable in g on q has another weight: so has g in its parent, and so on up. */
static void change_sum(struct rq *q, struct tenant *g, s64 delta)
{
	for (; delta; g = g->parent) {
		struct tenant_run *r = &g->run[q->cpu];
		u32 had = r->weight;

		r->sum += (u64)delta;
		if (!g->parent)
			return;
		if (cpu_count() > 1)
			atomic_add(&g->runnable, delta);
		r->weight = weight_here(g, r);
		delta = (s64)r->weight - had;
	}
}

void sched_weigh_in(struct rq *q, struct task *t, u32 weight)
{
	t->run_weight = weight;
	q->nr_rt += !weight;
	change_sum(q, t->tenant, weight);
}

void sched_weigh_out(struct rq *q, struct task *t)
{
	q->nr_rt -= !t->run_weight;
	change_sum(q, t->tenant, -(s64)t->run_weight);
}

static void refresh(struct rq *q, struct tenant *g)
{
	struct tenant_run *r = &g->run[q->cpu];
	u32 had = r->weight;

	r->weight = weight_here(g, r);
	change_sum(q, g->parent, (s64)r->weight - had);
}

u64 sched_load_of(struct rq *q, const struct task *t)
{
	u64 part = (u64)t->run_weight << LOAD_SHIFT;

	for (struct tenant *g = t->tenant; g->parent; g = g->parent) {
		const struct tenant_run *r = &g->run[q->cpu];

		if (cpu_count() > 1)
			refresh(q, g);
		part = r->sum ? part / r->sum * r->weight : part;
	}
	return part;
}

u64 sched_tenant_vtime(struct rq *q, const struct task *t, u64 delta_ns)
{
	return min(delta_ns, DELTA_MAX) * (1024ULL << LOAD_SHIFT >> 10) / max(sched_load_of(q, t) >> 10, 1ULL);
}

static void reweigh(struct tenant *t, struct rq *q)
{
	ulong flags = spin_lock_irqsave(&q->lock);

	if (t->parent)
		refresh(q, t);
	spin_unlock_irqrestore(&q->lock, flags);
}

static void set_weight(struct tenant *t, u32 weight)
{
	unsigned cpu;

	WRITE_ONCE(t->cpu_weight, weight);
	for_each_cpu (cpu, cpu_online_mask())
		reweigh(t, per_cpu_ptr(&rq, cpu));
}

void tenant_set_cpu_weight(struct tenant *t, u32 weight)
{
	t->share[RES_CPU].weight = weight;
	set_weight(t, max(weight * 1024 / 100, 1U));
}

void tenant_set_cpu_idle(struct tenant *t, bool idle)
{
	t->cpu_idle = idle;
	t->share[RES_CPU].weight = idle ? 0 : 100;
	set_weight(t, idle ? IDLE_WEIGHT : 1024);
}

/* ---- limits ---- */

static void add_capped(atomic64_t *balance, u64 n, u64 most)
{
	s64 old = atomic_read(balance), new;

	do
		new = min(old + (s64)n, (s64)most);
	while (!atomic_try_cmpxchg(balance, &old, new));
}

/* At a period's end: was more than its quota used? The rest was saved in earlier ones. */
static void note_burst(struct tenant_bandwidth *b)
{
	s64 left = atomic_read(&b->balance_ns), over = (s64)(b->saved_ns - (u64)max(left, (s64)0));

	if (b->saved_ns && over > 0) {
		__atomic_fetch_add(&b->bursts, 1, __ATOMIC_RELAXED);
		__atomic_fetch_add(&b->burst_used_ns, (u64)over, __ATOMIC_RELAXED);
	}
	WRITE_ONCE(b->saved_ns, min((u64)max(left, (s64)0), b->burst_ns));
}

/* One caller a period fills the balance. */
static void refill(struct tenant_bandwidth *b, u64 now)
{
	u64 end = READ_ONCE(b->period_end_ns), n;

	if (now < end)
		return;
	n = (now - end) / b->period_ns + 1;
	if (!__atomic_compare_exchange_n(&b->period_end_ns, &end, end + n * b->period_ns, false, __ATOMIC_SEQ_CST,
					 __ATOMIC_RELAXED))
		return;
	note_burst(b);
	add_capped(&b->balance_ns, min(n, 1000ULL) * b->quota_ns, b->quota_ns + b->burst_ns);
	__atomic_fetch_add(&b->periods, n, __ATOMIC_RELAXED);
}

static void mark(struct task *t)
{
	__atomic_fetch_or(&t->work, WORK_THROTTLE, __ATOMIC_SEQ_CST);
}

void sched_charge_limits(struct rq *q, struct task *t, u64 delta_ns, u64 now)
{
	for (struct tenant *g = t->tenant; g; g = g->parent) {
		struct tenant_bandwidth *b = &g->bandwidth;

		if (READ_ONCE(b->quota_ns) == ~0ULL)
			continue;
		refill(b, now);
		if (atomic_sub_return(&b->balance_ns, (s64)delta_ns) > 0)
			continue;
		WRITE_ONCE(b->throttled, true);
		mark(t);
	}
}

u64 sched_limit_left(struct task *t)
{
	u64 left = ~0ULL;

	for (struct tenant *g = t->tenant; g; g = g->parent) {
		const struct tenant_bandwidth *b = &g->bandwidth;
		s64 balance;

		if (READ_ONCE(b->quota_ns) == ~0ULL)
			continue;
		balance = atomic_read(&b->balance_ns);
		if (READ_ONCE(b->throttled))
			mark(t);
		left = min(left, balance > 0 ? (u64)balance : 0);
	}
	return max(left, LEFT_MIN_NS);
}

/* Opens the tenant again if the period has brought something. b->lock held. */
static bool try_open(struct tenant_bandwidth *b, u64 now)
{
	if (b->quota_ns != ~0ULL) {
		refill(b, now);
		if (atomic_read(&b->balance_ns) <= 0)
			return false;
	}
	if (b->throttled_since_ns) {
		b->throttled_ns += now - b->throttled_since_ns;
		b->throttled_since_ns = 0;
	}
	WRITE_ONCE(b->throttled, false);
	return true;
}

static void period_ends(struct timer *timer)
{
	struct tenant_bandwidth *b = container_of(timer, struct tenant_bandwidth, timer);
	ulong flags = spin_lock_irqsave(&b->lock);
	bool open = try_open(b, clock_ns());

	if (!open)
		timer_arm(&b->timer, b->period_end_ns, 0);
	spin_unlock_irqrestore(&b->lock, flags);
	if (open)
		waitq_wake_all(&b->wait);
}

/* False: it is open. Else the timer will wake b->wait. */
static bool stay_closed(struct tenant_bandwidth *b)
{
	ulong flags = spin_lock_irqsave(&b->lock);
	bool closed = b->throttled && !try_open(b, clock_ns());

	if (closed && !b->throttled_since_ns) {
		b->throttled_since_ns = clock_ns();
		b->throttled_times++;
		b->timer.fn = period_ends;
		timer_arm(&b->timer, b->period_end_ns, 0);
	}
	spin_unlock_irqrestore(&b->lock, flags);
	if (!closed)
		waitq_wake_all(&b->wait);
	return closed;
}

void sched_throttle_point(void)
{
	struct tenant *t;

again:
	task_clear_work(current, WORK_THROTTLE);
	if (current->class == SCHED_CLASS_DEADLINE)
		sched_dl_pause();
	rcu_read_lock();
	t = rcu_deref(current->tenant);
	tenant_get(t); /* current holds it: it cannot be at zero */
	rcu_read_unlock();
	for (struct tenant *g = t; g; g = g->parent) {
		if (!READ_ONCE(g->bandwidth.throttled) || !stay_closed(&g->bandwidth))
			continue;
		if (wait_event_killable(&g->bandwidth.wait, !READ_ONCE(g->bandwidth.throttled)))
			break; /* it is to die: let it */
		tenant_put(t);
		goto again;
	}
	tenant_put(t);
}

int tenant_set_cpu_max(struct tenant *t, u64 quota_ns, u64 period_ns, u64 burst_ns)
{
	struct tenant_bandwidth *b = &t->bandwidth;
	bool had, has = quota_ns != ~0ULL;
	ulong flags;

	if (period_ns < PERIOD_MIN || period_ns > PERIOD_MAX || (has && quota_ns < QUOTA_MIN) ||
	    (has && (burst_ns > quota_ns || quota_ns + burst_ns > QUOTA_MAX)))
		return -EINVAL;
	flags = spin_lock_irqsave(&b->lock);
	had = b->quota_ns != ~0ULL;
	b->period_ns = period_ns;
	b->burst_ns = burst_ns;
	b->saved_ns = 0;
	if (has) {
		atomic_set(&b->balance_ns, (s64)quota_ns);
		WRITE_ONCE(b->period_end_ns, clock_ns() + period_ns);
	}
	WRITE_ONCE(b->quota_ns, quota_ns);
	(void)try_open(b, clock_ns());
	spin_unlock_irqrestore(&b->lock, flags);
	if (had != has)
		atomic_add(&sched_limits, has ? 1 : -1);
	waitq_wake_all(&b->wait);
	return 0;
}
