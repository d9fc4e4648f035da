/* SPDX-License-Identifier: MIT
 *
 * Problem: an event belongs to a task or to a CPU; it counts while that task runs, or always, and its file's owner
 * turns it on and off from any CPU at any moment.
 *
 * Idea: contexts. A CPU has one for ever; a task gets one with its first event. A context is active on one CPU or
 * nowhere; its events become active with it. Every change to a context runs under its lock and, while it is active, on
 * its CPU (an interrupt is sent there), so that the lists of active events that fire on a CPU belong to that CPU alone
 * and firing needs no lock. Enabled and running times are read off the context's own clock, which stands still while
 * its task does not run. Events of a tenant are in the contexts of CPUs, and active while one of its tasks runs: each
 * switch turns them on and off one by one, and for them that is all the time there is.
 *
 *        switch_out                 switch_in
 *   ACTIVE ---------> INACTIVE ---------------> ACTIVE      (OFF stays OFF)
 *
 * Contract: perf_priv.h. Timers are armed after the lock is dropped, since timers rank before run queues.
 *
 * Locks: ctx->lock (RANK_PERF), taken under run queue locks.
 */
#include "perf_priv.h"
#include <alloc/slab.h>
#include <arch/cpu.h>
#include <arch/thread.h>
#include <core/clock.h>
#include <core/log.h>
#include <task/tenant.h>

DEFINE_PER_CPU(struct perf_cpu, perf_cpu);

void context_init(struct perf_context *ctx, struct task *t)
{
	*ctx = (struct perf_context){ .task = t, .on_cpu = -1 };
	spin_init(&ctx->lock, RANK_PERF);
	list_init(&ctx->events);
	list_init(&ctx->turns);
}

/* ---- times ------------------------------------------------------------------------------------------- */

static u64 context_time(const struct perf_context *ctx, u64 now)
{
	return ctx->on_cpu >= 0 ? ctx->time + (now - ctx->stamp) : ctx->time;
}

/* A member of a group that is off is off. */
static enum perf_state effective(const struct perf_event *e)
{
	return e->leader->state <= PERF_OFF ? e->leader->state : e->state;
}

static void times_at(const struct perf_event *e, u64 t, u64 *enabled, u64 *running)
{
	u64 delta = t - e->stamp;

	*enabled = e->enabled_ns + (effective(e) >= (e->tenant ? PERF_ACTIVE : PERF_INACTIVE) ? delta : 0);
	*running = e->running_ns + (effective(e) >= PERF_ACTIVE ? delta : 0);
}

static void update_times(struct perf_event *e, u64 now)
{
	u64 t = context_time(e->ctx, now);

	times_at(e, t, &e->enabled_ns, &e->running_ns);
	e->stamp = t;
}

static void set_state(struct perf_event *e, enum perf_state s, u64 now)
{
	struct perf_event *m;

	update_times(e, now);
	if (e->leader == e && (e->state <= PERF_OFF) != (s <= PERF_OFF))
		list_for_each_entry (m, &e->siblings, sibling_link)
			if (m->ctx)
				update_times(m, now);
	e->state = s;
}

/* ---- becoming active, on this CPU ------------------------------------------------------------------------- */

static bool matches(const struct perf_event *e)
{
	return (e->cpu < 0 || e->cpu == (int)cpu_id()) && (!e->tenant || tenant_is_below(current->tenant, e->tenant));
}

bool event_may_run(const struct perf_event *e)
{
	return e->state == PERF_INACTIVE && e->leader->state >= PERF_INACTIVE && matches(e);
}

void event_switch_on(struct perf_event *e, u64 now)
{
	struct perf_cpu *c = this_cpu_ptr(&perf_cpu);

	if (e->is_fresh) /* until the counters were given out; it has not waited for others */
		e->state = PERF_ACTIVE;
	else
		set_state(e, PERF_ACTIVE, now);
	e->is_fresh = false;
	e->on_cpu = cpu_id();
	e->start_ns = now;
	e->kind->start(e);
	if (perf_wants_sideband(&e->attr))
		list_add_tail(&e->side_link, &c->sideband);
	if (e->kind->arm)
		list_add_tail(&e->arm_link, &c->to_arm);
	event_user_page(e);
}

/* Groups that need counters wait until these are given out. */
static void activate(struct perf_event *e, u64 now)
{
	if (!event_may_run(e))
		return;
	if (likely(!e->leader->nr_counters)) {
		event_switch_on(e, now);
		return;
	}
	e->is_fresh = true;
	this_cpu_ptr(&perf_cpu)->counters.changed = true;
}

void event_switch_off(struct perf_event *e, u64 now)
{
	if (e->state != PERF_ACTIVE)
		return;
	e->kind->stop(e);
	if (e->kind->count)
		e->count = e->kind->count(e, now);
	list_del_init(&e->side_link);
	list_del_init(&e->arm_link);
	set_state(e, PERF_INACTIVE, now);
	event_user_page(e);
}

void event_set_error(struct perf_event *e, u64 now)
{
	set_state(e, PERF_ERROR, now);
}

void perf_context_settle(void)
{
	struct perf_cpu *c = this_cpu_ptr(&perf_cpu);

	if (unlikely(c->counters.changed))
		multiplex_settle(c);
	while (!list_empty(&c->to_arm)) {
		struct perf_event *e = list_first_entry(&c->to_arm, struct perf_event, arm_link);

		list_del_init(&e->arm_link);
		e->kind->arm(e);
	}
}

void context_in(struct perf_context *ctx)
{
	u64 now = clock_ns();
	struct perf_event *e;

	ctx->on_cpu = (int)cpu_id();
	ctx->stamp = now;
	list_for_each_entry (e, &ctx->events, ctx_link)
		activate(e, now);
}

void context_out(struct perf_context *ctx)
{
	u64 now = clock_ns();
	struct perf_event *e;

	list_for_each_entry (e, &ctx->events, ctx_link)
		event_switch_off(e, now);
	ctx->time = context_time(ctx, now);
	ctx->on_cpu = -1;
}

/* ---- changing a context from anywhere ------------------------------------------------------------------------ */

struct call {
	struct perf_context *ctx;
	void (*fn)(struct perf_context *ctx, void *arg);
	void *arg;
	bool done;
};

static bool call_here(struct call *c)
{
	struct perf_context *ctx = c->ctx;
	bool here;

	spin_lock(&ctx->lock);
	here = ctx->on_cpu < 0 || ctx->on_cpu == (int)cpu_id();
	if (here)
		c->fn(ctx, c->arg);
	spin_unlock(&ctx->lock);
	if (here)
		perf_context_settle();
	return here;
}

static void call_there(void *arg)
{
	struct call *c = arg;

	c->done = call_here(c);
}

void context_call(struct perf_context *ctx, void (*fn)(struct perf_context *ctx, void *arg), void *arg)
{
	struct call c = { ctx, fn, arg, false };

	while (!c.done) {
		ulong irq = irq_save();
		int cpu;

		c.done = call_here(&c);
		cpu = READ_ONCE(ctx->on_cpu);
		irq_restore(irq);
		if (!c.done && cpu >= 0)
			cpu_call(cpumask_of((unsigned)cpu), call_there, &c);
	}
}

/* A task that runs right now must start counting without waiting for its next switch. */
static void find_running(struct perf_context *ctx, void *arg)
{
	if (ctx->on_cpu < 0 && ctx->task == current)
		context_in(ctx);
}

static void find_on_cpu(void *arg)
{
	struct perf_context *ctx = arg;

	spin_lock(&ctx->lock);
	find_running(ctx, NULL);
	spin_unlock(&ctx->lock);
	perf_context_settle();
}

int context_of_task(struct task *t, struct perf_context **out)
{
	struct perf_context *ctx = t->perf;

	assert(mutex_is_held(&perf_lock));
	if (!ctx) {
		ctx = kmalloc(sizeof(*ctx), ALLOC_CHARGED);
		if (!ctx)
			return -ENOMEM;
		context_init(ctx, t);
		rcu_assign(t->perf, ctx);
		cpu_call(cpu_online_mask(), find_on_cpu, ctx); /* it may be running, and not be switched for long */
	}
	*out = ctx;
	return 0;
}

static void free_context(struct rcu_head *head)
{
	kfree(container_of(head, struct perf_context, rcu));
}

void context_drop_if_empty(struct perf_context *ctx)
{
	if (!ctx->task || !list_empty(&ctx->events))
		return;
	rcu_assign(ctx->task->perf, NULL);
	rcu_call(&ctx->rcu, free_context);
}

static void add(struct perf_context *ctx, void *arg)
{
	struct perf_event *e = arg;
	u64 now = clock_ns();

	e->stamp = context_time(ctx, now);
	list_add_tail(&e->ctx_link, &ctx->events);
	if (e->tenant)
		per_cpu_ptr(&perf_cpu, e->cpu)->nr_of_tenants++;
	if (e->leader != e) {
		list_add_tail(&e->sibling_link, &e->leader->siblings);
		e->leader->nr_siblings++;
	}
	multiplex_join(e);
	if (ctx->on_cpu >= 0)
		activate(e, now);
}

void context_add(struct perf_context *ctx, struct perf_event *e)
{
	e->ctx = ctx;
	context_call(ctx, add, e);
}

/* m stands alone from now on. Its task may have ended. */
static void part(struct perf_event *m, u64 now)
{
	if (m->ctx) {
		update_times(m, now);
		multiplex_leave(m);
	}
	list_del_init(&m->sibling_link);
	m->leader = m;
	if (m->ctx)
		multiplex_join(m);
}

/* The members of a group whose leader goes stand alone. */
static void leave_group(struct perf_event *e, u64 now)
{
	struct perf_event *m, *n;

	if (e->leader != e) {
		e->leader->nr_siblings--;
		part(e, now);
	}
	list_for_each_entry_safe (m, n, &e->siblings, sibling_link)
		part(m, now);
	e->nr_siblings = 0;
}

/* Off the context; it stays in its group, which is read as a whole when its task has ended. */
static void take_off(struct perf_context *ctx, void *arg)
{
	struct perf_event *e = arg;
	u64 now = clock_ns();

	event_switch_off(e, now);
	set_state(e, PERF_OFF, now);
	if (e->tenant)
		per_cpu_ptr(&perf_cpu, e->cpu)->nr_of_tenants--;
	multiplex_leave(e);
	list_del_init(&e->ctx_link);
}

static void take_out(struct perf_context *ctx, void *arg)
{
	struct perf_event *e = arg;

	leave_group(e, clock_ns());
	take_off(ctx, e);
}

static void remove_by(struct perf_event *e, void (*fn)(struct perf_context *ctx, void *arg))
{
	struct perf_context *ctx = e->ctx;

	context_call(ctx, fn, e);
	e->ctx = NULL;
	context_drop_if_empty(ctx);
}

void context_remove(struct perf_event *e)
{
	if (e->ctx)
		remove_by(e, take_out);
	else
		leave_group(e, 0);
}

void context_exit(struct perf_event *e)
{
	remove_by(e, take_off);
}

/* ---- on and off ------------------------------------------------------------------------------------------- */

void event_enable_locked(struct perf_context *ctx, struct perf_event *e)
{
	struct perf_event *m;
	u64 now = clock_ns();

	if (e->state != PERF_OFF && e->state != PERF_ERROR)
		return;
	set_state(e, PERF_INACTIVE, now);
	if (ctx->on_cpu < 0)
		return;
	activate(e, now);
	list_for_each_entry (m, &e->siblings, sibling_link)
		activate(m, now);
}

void event_off_locked(struct perf_event *e, enum perf_state to)
{
	struct perf_event *m;
	u64 now = clock_ns();

	if (e->state <= PERF_OFF)
		return;
	list_for_each_entry (m, &e->siblings, sibling_link)
		event_switch_off(m, now);
	event_switch_off(e, now);
	set_state(e, to, now);
}

static void enable(struct perf_context *ctx, void *arg)
{
	event_enable_locked(ctx, arg);
}

static void disable(struct perf_context *ctx, void *arg)
{
	event_off_locked(arg, PERF_OFF);
}

void event_enable(struct perf_event *e)
{
	if (e->ctx)
		context_call(e->ctx, enable, e);
}

void event_disable(struct perf_event *e)
{
	if (e->ctx)
		context_call(e->ctx, disable, e);
}

/* ---- reading -------------------------------------------------------------------------------------------- */

void event_values_here(struct perf_event *e, struct event_values *out)
{
	u64 now = clock_ns();

	if (e->kind->fold && e->state == PERF_ACTIVE && e->on_cpu == cpu_id())
		e->kind->fold(e);
	out->count = e->state == PERF_ACTIVE && e->kind->count ? e->kind->count(e, now) : READ_ONCE(e->count);
	out->enabled_ns = e->enabled_ns;
	out->running_ns = e->running_ns;
	if (e->ctx)
		times_at(e, context_time(e->ctx, now), &out->enabled_ns, &out->running_ns);
}

/* On the event's CPU, if it is active. */
static void fold_there(struct perf_context *ctx, void *arg)
{
	struct perf_event *e = arg;

	if (e->state == PERF_ACTIVE)
		e->kind->fold(e);
}

static void add_values(struct perf_event *e, struct event_values *sum)
{
	struct perf_context *ctx = e->ctx;
	struct event_values v;
	ulong irq = 0;

	if (ctx && e->kind->fold)
		context_call(ctx, fold_there, e);
	if (ctx)
		irq = spin_lock_irqsave(&ctx->lock);
	event_values_here(e, &v);
	if (ctx)
		spin_unlock_irqrestore(&ctx->lock, irq);
	sum->count += v.count;
	sum->enabled_ns += v.enabled_ns;
	sum->running_ns += v.running_ns;
}

void event_values(struct perf_event *e, struct event_values *out)
{
	struct perf_event *c;

	assert(mutex_is_held(&perf_lock));
	*out = (struct event_values){ e->child_count, e->child_enabled_ns, e->child_running_ns };
	add_values(e, out);
	list_for_each_entry (c, &e->children, child_link)
		add_values(c, out);
}

/* ---- switching tasks ---------------------------------------------------------------------------------------- */

static void tell_switch(struct task *other, bool out, bool preempted)
{
	struct perf_cpu *c = this_cpu_ptr(&perf_cpu);
	struct perf_event *e;

	list_for_each_entry (e, &c->sideband, side_link)
		if (e->attr.context_switch)
			sideband_switch(e, other, out, preempted);
}

void perf_switch_out(struct task *prev, struct task *next)
{
	struct perf_context *ctx = rcu_deref(prev->perf);

	if (unlikely(this_cpu_ptr(&perf_cpu)->walk.task == prev))
		perf_step_end(task_regs(prev));
	perf_count_sched(COUNT_CONTEXT_SWITCHES);
	if (prev->tenant != next->tenant)
		perf_count_sched(COUNT_CGROUP_SWITCHES);
	tell_switch(next, true, READ_ONCE(prev->state) == TASK_RUNNING);
	if (!ctx)
		return;
	spin_lock(&ctx->lock);
	if (ctx->on_cpu == (int)cpu_id())
		context_out(ctx);
	spin_unlock(&ctx->lock);
}

/* Events of tenants follow who runs here now. IRQs off. */
static void follow_tenant(void)
{
	struct perf_context *ctx = &this_cpu_ptr(&perf_cpu)->ctx;
	u64 now = clock_ns();
	struct perf_event *e;

	spin_lock(&ctx->lock);
	list_for_each_entry (e, &ctx->events, ctx_link) {
		if (e->tenant && !matches(e))
			event_switch_off(e, now);
		else if (e->tenant)
			activate(e, now);
	}
	spin_unlock(&ctx->lock);
	perf_context_settle();
}

static void follow_here(void *unused)
{
	if (READ_ONCE(this_cpu_ptr(&perf_cpu)->nr_of_tenants))
		follow_tenant();
}

void perf_moved_tenant(void)
{
	cpu_call(cpu_online_mask(), follow_here, NULL);
}

void perf_switch_in(struct task *prev)
{
	struct perf_context *ctx = rcu_deref(current->perf);

	if (ctx) {
		spin_lock(&ctx->lock);
		if (ctx->on_cpu < 0)
			context_in(ctx);
		spin_unlock(&ctx->lock);
		perf_context_settle();
	}
	if (unlikely(this_cpu_ptr(&perf_cpu)->nr_of_tenants))
		follow_tenant();
	if (current->moved) {
		current->moved = false;
		perf_count_sched(COUNT_CPU_MIGRATIONS);
	}
	tell_switch(prev, false, false);
}
