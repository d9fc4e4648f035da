/* SPDX-License-Identifier: MIT
 *
 * Problem: choose who runs next on one CPU: real-time tasks by priority, the others in proportion to their weights, and
 * keep a task that slept from either starving or flooding the rest.
 *
 * Idea: virtual time. Each fair task carries vruntime, its run time divided by its weight; the tree is ordered by it
 * and the leftmost runs. min_vruntime never goes back; a waking task is placed no further than half a latency period
 * behind it, so sleep gives a small credit and no hoard. Real-time levels are 99 lists and a bitmap. The running task
 * is in no tree or list.
 *
 *      weight(nice) = 1024 * 1.25^-nice        slice = LATENCY * weight / total, at least MIN_SLICE
 *
 * Contract: task_priv.h; all functions need rq->lock, IRQs off.
 *
 * Locks: rq->lock (RANK_RUNQUEUE). vruntime is relative to its queue: it is rebased when a task moves to another CPU.
 */
#include <arch/cpu.h>
#include <core/clock.h>
#include <core/log.h>
#include <linux/sched.h>

#include "task_priv.h"

#define LATENCY_NS   (6 * NSEC_PER_MSEC)
#define MIN_SLICE_NS (1500 * NSEC_PER_USEC)
#define WAKE_GAIN_NS (1 * NSEC_PER_MSEC) /* a woken task must be this far behind to preempt */
#define IDLE_WEIGHT  3                   /* SCHED_IDLE policy */

DEFINE_PER_CPU(struct run_queue, run_queue);

u32 sched_weight(int nice)
{
	u64 w = 1024 << 10;

	for (; nice > 0; nice--)
		w = w * 4 / 5;
	for (; nice < 0; nice++)
		w = w * 5 / 4;
	return (u32)(w >> 10);
}

static bool is_rt(const struct task *t)
{
	return t->class == SCHED_CLASS_FIFO || t->class == SCHED_CLASS_RR;
}

static u32 weight_of(const struct task *t)
{
	return t->class == SCHED_CLASS_IDLE ? IDLE_WEIGHT : t->weight;
}

static void tree_insert(struct run_queue *rq, struct task *t)
{
	struct rb_node **link = &rq->fair.node, *parent = NULL;

	while (*link) {
		parent = *link;
		link = (s64)(t->vruntime - rb_entry(parent, struct task, run_node)->vruntime) < 0 ? &parent->left
												  : &parent->right;
	}
	rb_insert(&rq->fair, &t->run_node, parent, link);
}

static void list_insert(struct run_queue *rq, struct task *t, bool at_head)
{
	if (at_head)
		list_add(&t->run_link, &rq->rt[t->rt_priority]);
	else
		list_add_tail(&t->run_link, &rq->rt[t->rt_priority]);
	rq->rt_map[t->rt_priority / 64] |= BIT(t->rt_priority % 64);
}

static void take_out(struct run_queue *rq, struct task *t)
{
	if (!is_rt(t)) {
		rb_erase(&rq->fair, &t->run_node);
		return;
	}
	list_del(&t->run_link);
	if (list_empty(&rq->rt[t->rt_priority]))
		rq->rt_map[t->rt_priority / 64] &= ~BIT(t->rt_priority % 64);
}

static void count(struct run_queue *rq, struct task *t, int sign)
{
	rq->nr_running += sign;
	if (is_rt(t)) {
		rq->nr_rt += sign;
	} else {
		rq->nr_fair += sign;
		rq->fair_weight += (s64)sign * weight_of(t);
	}
}

static void advance_min_vruntime(struct run_queue *rq)
{
	const struct task *c = rq->curr;
	struct rb_node *first = rb_first(&rq->fair);
	u64 v = first ? rb_entry(first, struct task, run_node)->vruntime : 0;
	bool running = c && c != rq->idle && c->on_queue && !is_rt(c);

	if (running && (!first || (s64)(c->vruntime - v) < 0))
		v = c->vruntime;
	if ((first || running) && (s64)(v - rq->min_vruntime) > 0)
		rq->min_vruntime = v;
}

void rq_account(struct run_queue *rq, u64 now)
{
	struct task *t = rq->curr;
	u64 ran = now - t->run_start;

	assert_held(&rq->lock);
	if (t == rq->idle || (s64)ran <= 0)
		return;
	t->run_start = now;
	t->runtime_ns += ran;
	if (!is_rt(t)) {
		u32 w = weight_of(t);

		t->vruntime += w == 1024 ? ran : ran * 1024 / w;
		advance_min_vruntime(rq);
	}
}

void rq_enqueue(struct run_queue *rq, struct task *t, bool wakeup)
{
	assert_held(&rq->lock);
	if (is_rt(t)) {
		list_insert(rq, t, false);
	} else {
		u64 floor = rq->min_vruntime - LATENCY_NS / 2;

		if (!wakeup || (s64)(t->vruntime - floor) < 0)
			t->vruntime = wakeup ? floor : rq->min_vruntime;
		tree_insert(rq, t);
	}
	t->on_queue = true;
	count(rq, t, 1);
}

void rq_dequeue(struct run_queue *rq, struct task *t)
{
	assert_held(&rq->lock);
	if (rq->curr != t)
		take_out(rq, t);
	t->on_queue = false;
	count(rq, t, -1);
}

/* The current task after a change of its class or weight; it was dequeued with its old ones. */
void rq_requeue_current(struct run_queue *rq, struct task *t)
{
	t->on_queue = true;
	count(rq, t, 1);
	if (!is_rt(t) && (s64)(t->vruntime - rq->min_vruntime) < 0)
		t->vruntime = rq->min_vruntime;
}

void rq_put_current(struct run_queue *rq, struct task *t)
{
	if (t == rq->idle)
		return;
	/* A FIFO task that is preempted keeps its place; a RR task that used its slice goes behind its peers. */
	if (is_rt(t))
		list_insert(rq, t, t->class == SCHED_CLASS_FIFO || clock_ns() < t->slice_end);
	else
		tree_insert(rq, t);
}

struct task *rq_pick(struct run_queue *rq)
{
	struct task *t = rq->idle;
	int word = rq->rt_map[1] ? 1 : 0;

	if (rq->rt_map[word])
		t = list_first_entry(&rq->rt[word * 64 + 63 - __builtin_clzl(rq->rt_map[word])], struct task, run_link);
	else if (rq->fair.node)
		t = rb_entry(rb_first(&rq->fair), struct task, run_node);
	if (t != rq->idle)
		take_out(rq, t);
	return t;
}

bool rq_should_preempt(struct run_queue *rq, const struct task *woken)
{
	const struct task *c = rq->curr;

	if (c == rq->idle)
		return true;
	if (is_rt(woken) || is_rt(c))
		return is_rt(woken) && (!is_rt(c) || woken->rt_priority > c->rt_priority);
	return (s64)(c->vruntime - woken->vruntime) > (s64)WAKE_GAIN_NS;
}

u64 rq_slice_end(const struct run_queue *rq, u64 now)
{
	const struct task *c = rq->curr;
	u64 slice;

	if (c == rq->idle || rq->nr_running < 2 || c->class == SCHED_CLASS_FIFO)
		return ~0ULL;
	if (c->class == SCHED_CLASS_RR)
		return now + SCHED_RR_SLICE_NS;
	slice = rq->fair_weight ? LATENCY_NS * weight_of(c) / rq->fair_weight : LATENCY_NS;
	return now + max(slice, MIN_SLICE_NS);
}

static bool may_move(const struct task *t, unsigned to_cpu)
{
	return !t->on_cpu && cpumask_has(t->affinity, to_cpu);
}

struct task *rq_steal(struct run_queue *from, unsigned to_cpu)
{
	struct rb_node *n;

	for (int level = RT_LEVELS - 1; from->nr_rt && level > 0; level--) {
		struct task *t;

		list_for_each_entry (t, &from->rt[level], run_link)
			if (may_move(t, to_cpu)) {
				rq_dequeue(from, t);
				return t;
			}
	}
	for (n = rb_last(&from->fair); n; n = rb_prev(n)) {
		struct task *t = rb_entry(n, struct task, run_node);

		if (may_move(t, to_cpu)) {
			rq_dequeue(from, t);
			t->vruntime -= from->min_vruntime; /* relative; the thief adds its own */
			return t;
		}
	}
	return NULL;
}

void rq_resched(struct run_queue *rq, unsigned cpu)
{
	__atomic_fetch_or(&rq->curr->work, WORK_RESCHED, __ATOMIC_SEQ_CST);
	if (cpu != cpu_id())
		cpu_kick(cpu);
}
