/* SPDX-License-Identifier: MIT
 *
 * Problem: between a bio and its device stand two policies: buffered writes must not flood a device that others wait
 * for, and a waiter who polls should neither burn a CPU for the whole service time nor come too late.
 *
 * Idea: the decisions are pure cores (block/wbt.h, block/poll.h); this file gives them the clock, a lock, sleeping
 * waiters and the device. A throttled writer sleeps in a list of its class and is released holding its place. A place
 * is a request's: what joins one that the caller's plug holds back needs none of its own. A polling waiter asks the
 * model what to do next until its bio is finished: spin, sleep until a moment, or leave it to the interrupt.
 *
 * Contract: block_policy_* of block_priv.h, and the files queue/io_poll, io_poll_delay and wbt_lat_usec.
 *
 * Locks: policy->lock (RANK_BLOCK, irqsave): taken with no hwq lock held, since both have one rank.
 */
#include <arch/cpu.h>
#include <block/poll.h>
#include <block/wbt.h>
#include <core/clock.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/string.h>
#include <task/psi.h>
#include <task/sched.h>

#include "block_priv.h"

struct waiter {
	struct list link;
	struct task *task;
	bool released;
};

struct block_policy {
	struct block_dev *dev;
	struct spinlock lock;
	struct wbt wbt;
	struct list waiters[WBT_CLASSES];
	struct timer tick;
	bool ticking;
	struct poll_queue poll;
	u32 interrupts_learnt;
};

#define LEARN_FIRST 256
#define LEARN_EVERY 64

static struct block_policy *policy_of(const struct bio *b)
{
	return b->dev->whole->policy;
}

/* ---- throttling ------------------------------------------------------------------------------------- */

static enum wbt_class class_of(const struct bio *b)
{
	unsigned flags = 0;

	if (b->op != BLOCK_WRITE && b->op != BLOCK_WRITE_ZEROES)
		return WBT_EXEMPT;
	flags |= b->flags & BIO_SYNC ? WBT_SYNC : 0;
	flags |= b->flags & BIO_DIRECT ? WBT_DIRECT : 0;
	flags |= b->flags & BIO_META ? WBT_META : 0;
	flags |= b->flags & BIO_BACKGROUND ? WBT_PERIODIC : 0;
	return wbt_classify(flags);
}

/* Lock held: as long as there is room, the first waiter of the most urgent class goes. */
static void release_waiters(struct block_policy *p)
{
	u64 now = clock_ns();

	for (int c = WBT_CLASSES - 1; c >= 0; c--)
		while (!list_empty(&p->waiters[c]) && wbt_may_start(&p->wbt, c, now)) {
			struct waiter *w = list_first_entry(&p->waiters[c], struct waiter, link);
			struct task *t = w->task;

			list_del_init(&w->link);
			smp_store_release(&w->released,
					  true); /* w may be gone now; its task is not: it holds p->lock next */
			task_wake(t);
		}
}

static void start_ticking(struct block_policy *p)
{
	if (p->ticking)
		return;
	p->ticking = true;
	timer_arm(&p->tick, clock_ns() + p->wbt.window_ns, NSEC_PER_MSEC);
}

static void on_tick(struct timer *t)
{
	struct block_policy *p = container_of(t, struct block_policy, tick);
	ulong irq = spin_lock_irqsave(&p->lock);
	u64 next = wbt_tick(&p->wbt, clock_ns());

	p->ticking = next != 0;
	if (next)
		timer_arm(t, next, NSEC_PER_MSEC);
	release_waiters(p);
	spin_unlock_irqrestore(&p->lock, irq);
}

static bool is_released(struct block_policy *p, struct waiter *w)
{
	ulong irq = spin_lock_irqsave(&p->lock);
	bool released = w->released;

	spin_unlock_irqrestore(&p->lock, irq);
	return released;
}

static void wait_for_place(struct block_policy *p, struct waiter *w)
{
	for (;;) {
		sched_set_state(TASK_UNINTERRUPTIBLE);
		if (is_released(p, w))
			break;
		sched_sleep();
	}
	sched_set_state(TASK_RUNNING);
}

static int admit_write(struct block_policy *p, struct bio *b, enum wbt_class c)
{
	struct waiter w = { .task = current };
	ulong irq = spin_lock_irqsave(&p->lock);
	bool go = list_empty(&p->waiters[c]) && wbt_may_start(&p->wbt, c, clock_ns());
	bool wait = !go && !(b->flags & BIO_NOWAIT);

	if (wait)
		list_add_tail(&w.link, &p->waiters[c]);
	start_ticking(p);
	spin_unlock_irqrestore(&p->lock, irq);
	if (!go && !wait)
		return -EAGAIN;
	if (wait)
		wait_for_place(p, &w);
	b->throttle_class = c;
	b->throttled = true;
	return 0;
}

int block_policy_admit(struct bio *b)
{
	struct block_policy *p = policy_of(b);
	enum wbt_class c;
	ulong irq;

	if (!p->wbt.target_ns)
		return 0;
	c = class_of(b);
	if (c != WBT_EXEMPT)
		return block_queue_joins(b) ? 0 : admit_write(p, b, c);
	irq = spin_lock_irqsave(&p->lock);
	if (b->op == BLOCK_READ)
		wbt_read_issued(&p->wbt, b, clock_ns());
	else
		wbt_foreground(&p->wbt, clock_ns());
	b->admit_ns = clock_ns();
	spin_unlock_irqrestore(&p->lock, irq);
	return 0;
}

void block_policy_finished(struct bio *b)
{
	struct block_policy *p = policy_of(b);
	ulong irq;

	if (!b->throttled && !b->admit_ns)
		return;
	irq = spin_lock_irqsave(&p->lock);
	if (b->throttled) {
		wbt_done(&p->wbt, b->throttle_class);
		release_waiters(p);
	} else if (b->op == BLOCK_READ) {
		wbt_read_done(&p->wbt, b, b->admit_ns, clock_ns());
	}
	b->throttled = false;
	b->admit_ns = 0;
	spin_unlock_irqrestore(&p->lock, irq);
}

void block_dirty_wait(struct block_dev *d)
{
	struct block_policy *p = d->whole->policy;
	ulong irq = spin_lock_irqsave(&p->lock);

	wbt_dirty_wait(&p->wbt, clock_ns());
	spin_unlock_irqrestore(&p->lock, irq);
}

/* ---- polling ---------------------------------------------------------------------------------------- */

void block_policy_completed(struct bio *b, u64 took_ns)
{
	struct block_policy *p = policy_of(b);
	ulong irq;

	if (!b->poll_waits)
		return;
	irq = spin_lock_irqsave(&p->lock);
	poll_record(&p->poll, b->op == BLOCK_WRITE, b->bytes, took_ns, !b->poll_slept);
	spin_unlock_irqrestore(&p->lock, irq);
}

static bool is_finished(struct bio *b)
{
	return smp_load_acquire(&b->finished);
}

/* True when the bio is finished; false at the deadline, or when somebody else wants this CPU. */
static bool spin(struct bio *b, u64 deadline)
{
	do {
		struct block_hwq *h = READ_ONCE(b->hwq); /* another one in the next stage of a flush, perhaps */

		h->dev->driver->poll(h);
		if (is_finished(b))
			return true;
		b->poll_slept = false; /* from here on it is seen finishing */
		if (READ_ONCE(current->work) & WORK_RESCHED)
			return false;
		cpu_relax();
	} while (clock_ns() < deadline);
	return false;
}

static u64 cpu_time_of(const struct task *t)
{
	return t->runtime_ns + clock_ns() - t->run_start;
}

static void sleep_until(struct bio *b, struct block_policy *p, u64 deadline)
{
	u64 cpu = cpu_time_of(current), slack = current->timer_slack_ns, now;
	bool late;
	ulong irq;

	current->timer_slack_ns = 0; /* microseconds decide here */
	late = block_wait_until(b, deadline);
	current->timer_slack_ns = slack;
	b->poll_slept = late; /* if the next look finds it finished, it was so for an unknown time */
	irq = spin_lock_irqsave(&p->lock);
	now = clock_ns();
	if (late)
		poll_learn_sleep(&p->poll, now > deadline ? now - deadline : 0, cpu_time_of(current) - cpu);
	poll_learn_end(&p->poll, b->op == BLOCK_WRITE, b->bytes, is_finished(b));
	spin_unlock_irqrestore(&p->lock, irq);
}

bool block_policy_always_polls(const struct block_dev *d)
{
	return d->policy->poll.delay_ns != 0;
}

#define LOOK_AGAIN_NS (20 * NSEC_PER_USEC)

/* Nobody will interrupt for this one, and its waiter had to stop spinning (or it has no tag yet). */
static void look_now_and_then(struct bio *b)
{
	struct block_dev *d = b->dev->whole;

	for (;;) {
		for (unsigned i = d->nr_hwqs - d->nr_poll; i < d->nr_hwqs; i++)
			d->driver->poll(&d->hwqs[i]);
		if (is_finished(b) || !block_wait_until(b, clock_ns() + LOOK_AGAIN_NS))
			return;
	}
}

/* Leaves the bio to the interrupt, and learns what that costs where polling is an alternative. */
void block_policy_sleep(struct bio *b)
{
	struct block_policy *p = policy_of(b);
	u64 cpu = cpu_time_of(current);
	ulong irq;

	psi_io_begin();
	if (unlikely(b->polled))
		look_now_and_then(b);
	else
		block_wait_finished(b);
	psi_io_end();
	/* Without polling the first few are enough to know the interrupt's price when polling is switched on; with it,
	 * one now and then. */
	if (!b->complete_ns || (!b->dev->whole->io_poll && p->interrupts_learnt >= LEARN_FIRST))
		return;
	if (p->interrupts_learnt++ >= LEARN_FIRST && p->interrupts_learnt % LEARN_EVERY)
		return;
	irq = spin_lock_irqsave(&p->lock);
	poll_learn_interrupt(&p->poll, clock_ns() - b->complete_ns, cpu_time_of(current) - cpu);
	spin_unlock_irqrestore(&p->lock, irq);
}

/* Returns when the bio is finished, or when it is to be left to the interrupt. */
static void follow_plan(struct bio *b, struct block_policy *p)
{
	while (!is_finished(b)) {
		u64 issued = b->issue_ns;
		struct poll_step step;

		step = poll_next(&p->poll, b->op == BLOCK_WRITE, b->bytes, clock_ns() - issued,
				 READ_ONCE(current->work) & WORK_RESCHED);
		if (step.kind == POLL_INTERRUPT)
			return;
		if (step.kind == POLL_SLEEP)
			sleep_until(b, p, issued + step.until_ns);
		else if (!spin(b, step.until_ns == UINT64_MAX ? UINT64_MAX : issued + step.until_ns) &&
			 READ_ONCE(current->work) & WORK_RESCHED)
			return;
	}
}

void block_policy_poll(struct bio *b)
{
	struct block_dev *d = b->dev->whole;
	struct block_policy *p = d->policy;
	enum poll_way way;

	if (!d->io_poll || !d->driver->poll || !READ_ONCE(b->hwq)) /* no queue: it waits for a tag, or its pieces do */
		return;
	way = poll_way(&p->poll, b->op == BLOCK_WRITE, b->bytes);
	if (way == POLL_LEFT)
		return;
	WRITE_ONCE(b->poll_waits, true);
	if (way == POLL_WATCHED)
		spin(b, UINT64_MAX);
	else
		follow_plan(b, p);
}

/* ---- files of queue/ ----------------------------------------------------------------------------------- */

static int show_io_poll(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	strbuf_add(out, "%d\n", ((struct block_dev *)dir->owner)->io_poll);
	return 0;
}

static int set_io_poll(struct attr_dir *dir, const struct attr *a, char *text, size_t len)
{
	struct block_dev *d = dir->owner;
	u64 v;
	int err = str_to_u64(text, 10, &v);

	if (err)
		return err;
	if (!d->driver->poll)
		return fail(EINVAL, "%s: the driver cannot poll", d->name);
	WRITE_ONCE(d->io_poll, v != 0);
	return 0;
}

static int show_delay(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	s64 ns = ((struct block_dev *)dir->owner)->policy->poll.delay_ns;

	strbuf_add(out, "%lld\n", (long long)(ns < 0 ? -1 : ns / (s64)NSEC_PER_USEC));
	return 0;
}

static int set_delay(struct attr_dir *dir, const struct attr *a, char *text, size_t len)
{
	struct block_dev *d = dir->owner;
	s64 ns;
	int err = d->driver->poll ? poll_delay_parse(text, &ns) : -EINVAL;

	if (!err)
		WRITE_ONCE(d->policy->poll.delay_ns, ns);
	return err;
}

static int show_target(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	strbuf_add(out, "%llu\n",
		   (unsigned long long)((struct block_dev *)dir->owner)->policy->wbt.target_ns / NSEC_PER_USEC);
	return 0;
}

static int set_target(struct attr_dir *dir, const struct attr *a, char *text, size_t len)
{
	struct block_policy *p = ((struct block_dev *)dir->owner)->policy;
	u64 ns;
	int err = wbt_parse_target(&p->wbt, text, &ns);
	ulong irq;

	if (err)
		return err;
	irq = spin_lock_irqsave(&p->lock);
	wbt_set_target(&p->wbt, ns);
	release_waiters(p); /* switched off: nobody waits any more */
	spin_unlock_irqrestore(&p->lock, irq);
	return 0;
}

static int show_poll_stat(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	struct block_policy *p = ((struct block_dev *)dir->owner)->policy;
	ulong irq = spin_lock_irqsave(&p->lock);

	poll_show(&p->poll, out);
	spin_unlock_irqrestore(&p->lock, irq);
	return 0;
}

const struct attr block_attr_io_poll = { "io_poll", 0644, show_io_poll, set_io_poll, NULL, 0 };
const struct attr block_attr_io_poll_delay = { "io_poll_delay", 0644, show_delay, set_delay, NULL, 0 };
const struct attr block_attr_wbt_lat_usec = { "wbt_lat_usec", 0644, show_target, set_target, NULL, 0 };
const struct attr block_attr_poll_stat = { "poll_stat", 0444, show_poll_stat, NULL, NULL, 0 };

/* ---- life ------------------------------------------------------------------------------------------------ */

int block_policy_init(struct block_dev *d)
{
	struct block_policy *p = kzalloc(sizeof(*p), ALLOC_KERNEL);
	unsigned depth = d->nr_hwqs ? d->nr_hwqs * d->hwqs[0].depth : 1;

	if (!p)
		return -ENOMEM;
	p->dev = d;
	spin_init(&p->lock, RANK_BLOCK);
	for (unsigned c = 0; c < WBT_CLASSES; c++)
		list_init(&p->waiters[c]);
	timer_init(&p->tick, on_tick);
	wbt_init(&p->wbt, depth, d->limits.rotational);
	/* What takes each bio at once has no queue to keep short. */
	wbt_set_target(&p->wbt, d->nr_hwqs ? p->wbt.default_target_ns : 0);
	poll_queue_init(&p->poll);
	d->policy = p;
	return 0;
}

void block_policy_free(struct block_dev *d)
{
	if (!d->policy)
		return;
	timer_cancel(&d->policy->tick);
	poll_queue_free(&d->policy->poll);
	kfree(d->policy);
	d->policy = NULL;
}
