/* SPDX-License-Identifier: MIT
 *
 * Problem: policy, priority, nice and affinity of a task change while it runs, waits or sleeps.
 *
 * Idea: take the task out of its queue, change it, put it back by the new rules; the CPU then
 * chooses again. A running task that may no longer be where it is leaves at its next switch.
 *
 * Contract: task/sched.h; the caller has checked rights. /proc/sys/kernel/sched_rt_* (sched(7)).
 *
 * Locks: t->lock, then the run queue's.
 */
#include <arch/cpu.h>
#include <core/attr.h>
#include <core/clock.h>
#include <core/init.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/string.h>
#include <linux/sched.h>
#include <task/tenant.h>
#include "sched_priv.h"
#include "task_priv.h"

u64 sched_rt_period_ns = NSEC_PER_SEC, sched_rt_runtime_ns = 950 * NSEC_PER_MSEC;

int sched_set_attr(struct task *t, int policy, int rt_priority, int nice)
{
	bool rt = policy == SCHED_FIFO || policy == SCHED_RR, queued;
	bool stays = policy == SCHED_DEADLINE && t->class == SCHED_CLASS_DEADLINE;
	struct rq *q;
	ulong flags;

	if (!rt && !stays && policy != SCHED_NORMAL && policy != SCHED_BATCH && policy != SCHED_IDLE)
		return -EINVAL;
	if (rt ? rt_priority < 1 || rt_priority > 99 : rt_priority != 0)
		return -EINVAL;
	flags = spin_lock_irqsave(&t->lock);
	q = sched_change_begin(t, &queued);
	if (t->class == SCHED_CLASS_DEADLINE && !stays)
		sched_dl_release(t);
	if (t->class != SCHED_CLASS_IDLE && !stays)
		t->class = policy == SCHED_FIFO ? SCHED_CLASS_FIFO
			   : policy == SCHED_RR ? SCHED_CLASS_RR
						: SCHED_CLASS_FAIR;
	t->policy = (u8)policy;
	t->rt_priority = (u8)rt_priority;
	t->nice = (s8)clamp(nice, -20, 19);
	if (!rt && (s64)(q->min_vruntime - t->vruntime) > 0)
		t->vruntime = q->min_vruntime;
	sched_change_end(q, t, queued);
	spin_unlock_irqrestore(&t->lock, flags);
	return 0;
}

/* The class changes with the priority: a fair task that is boosted runs as a real-time one (is_rt). */
void sched_boost(struct task *t, u8 rt_priority)
{
	ulong flags = spin_lock_irqsave(&t->lock);
	struct rq *q;
	bool queued;

	if (t->boost != rt_priority) {
		q = sched_change_begin(t, &queued);
		t->boost = rt_priority;
		if ((s64)(q->min_vruntime - t->vruntime) > 0)
			t->vruntime = q->min_vruntime;
		sched_change_end(q, t, queued);
	}
	spin_unlock_irqrestore(&t->lock, flags);
}

int sched_set_affinity(struct task *t, cpumask_t mask)
{
	struct rq *q;
	bool queued;
	ulong flags;

	rcu_read_lock();
	mask &= cpu_online_mask() & READ_ONCE(rcu_deref(t->tenant)->cpus_effective);
	rcu_read_unlock();
	if (!mask)
		return -EINVAL;
	flags = spin_lock_irqsave(&t->lock);
	if (t->class == SCHED_CLASS_DEADLINE && mask != cpu_online_mask()) {
		spin_unlock_irqrestore(&t->lock, flags);
		return -EBUSY;
	}
	q = sched_change_begin(t, &queued);
	t->affinity = mask;
	sched_change_end(q, t, queued);
	if (queued && !cpumask_has(mask, q->cpu)) {
		struct rq *to = per_cpu_ptr(&rq, cpumask_first(mask));

		spin_lock(to->cpu < q->cpu ? &to->lock : &q->lock);
		spin_lock_nested(to->cpu < q->cpu ? &q->lock : &to->lock);
		if (t->on_queue && t->cpu == q->cpu && t != q->curr && !t->on_cpu)
			sched_move(q, to, t);
		spin_unlock(&to->lock);
		spin_unlock(&q->lock);
	}
	spin_unlock_irqrestore(&t->lock, flags);
	if (t == current)
		resched_point();
	return 0;
}

void sched_fork_attr(struct task *t)
{
	struct task *c = current;

	t->cpu = c->cpu;
	t->timer_slack_ns = c->timer_slack_ns;
	t->cache_group = c->cache_group;
	t->class = c->class == SCHED_CLASS_IDLE ? SCHED_CLASS_FAIR : c->class;
	t->policy = c->policy;
	t->rt_priority = c->rt_priority;
	t->nice = c->nice;
	t->affinity = c->affinity;
	if (c->reset_on_fork) {
		t->class = SCHED_CLASS_FAIR;
		t->policy = SCHED_NORMAL;
		t->rt_priority = 0;
		t->nice = max(c->nice, (s8)0);
	}
}

/* ---- what real-time tasks may use: in microseconds, -1 for all ------------------------------------------------- */

static int show_rt(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	u64 ns = READ_ONCE(*(const u64 *)a->data);

	strbuf_add(out, "%lld\n", ns == ~0ULL ? -1LL : (long long)(ns / NSEC_PER_USEC));
	return 0;
}

static int set_rt(struct attr_dir *dir, const struct attr *a, char *text, size_t len)
{
	bool period = a->data == (ulong)&sched_rt_period_ns;
	s64 us;
	int err = str_to_s64(str_trim(text), 10, &us);
	u64 ns = us < 0 ? ~0ULL : (u64)us * NSEC_PER_USEC;

	if (err || us > INT32_MAX || us < (period ? 1 : -1))
		return -EINVAL;
	if (us >= 0 && (period ? sched_rt_runtime_ns != ~0ULL && ns < sched_rt_runtime_ns : ns > sched_rt_period_ns))
		return -EINVAL;
	WRITE_ONCE(*(u64 *)a->data, ns);
	return 0;
}

static void sched_attr_init(void)
{
	static const struct attr period = { .name = "sched_rt_period_us",
					    .mode = 0644,
					    .show = show_rt,
					    .set = set_rt,
					    .data = (ulong)&sched_rt_period_ns };
	static const struct attr runtime = { .name = "sched_rt_runtime_us",
					     .mode = 0644,
					     .show = show_rt,
					     .set = set_rt,
					     .data = (ulong)&sched_rt_runtime_ns };
	static const struct attr *const attrs[] = { &period, &runtime, NULL };

	ensure(!attr_folder_add(&attr_sysctl_root, "kernel", attrs));
}
PART_INIT(late, sched_attr_init);
