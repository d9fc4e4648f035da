/* SPDX-License-Identifier: MIT
 *
 * Problem: a tracepoint fires on a CPU, in the context of one task, sometimes about another one (a wake-up), and goes
 * to the events of that CPU, of the current task and, where it is about another, of that one too.
 *
 * Idea: a list a CPU and tracepoint of the active events; the task that it is about is looked up in its own context
 * for events bound to this CPU. The record becomes the raw part of the sample.
 *
 * Contract: perf_priv.h; the sink of core/trace.h. An event's filter decides before it counts.
 *
 * Locks: IRQs off; the context's lock for the task that it is about.
 */
#include "perf_priv.h"
#include <arch/cpu.h>
#include <arch/thread.h>
#include <lib/err.h>

static bool passes(const struct perf_event *e, const void *record, size_t size)
{
	const struct perf_filter *f = rcu_deref((e->parent ? e->parent : e)->filter);

	return !f || perf_filter_match(f, record, size);
}

static void deliver_about(struct task *t, unsigned id, u64 count, struct perf_sample *s)
{
	struct perf_context *ctx = rcu_deref(t->perf);
	struct perf_event *e;

	if (!ctx)
		return;
	spin_lock(&ctx->lock);
	list_for_each_entry (e, &ctx->events, ctx_link)
		if (e->state == PERF_INACTIVE && e->cpu == (int)cpu_id() && e->leader->state >= PERF_INACTIVE &&
		    e->kind == &perf_kind_tracepoint && e->attr.config == id && passes(e, s->raw, s->raw_bytes))
			perf_deliver(e, count, s);
	spin_unlock(&ctx->lock);
}

void perf_tracepoint(unsigned id, const void *record, size_t size, u64 count, struct task *about)
{
	struct perf_cpu *c = this_cpu_ptr(&perf_cpu);
	struct list *events = &c->points[id - TRACE_FIRST_ID];
	struct perf_caller caller;
	struct perf_sample s = { .raw = record, .raw_bytes = (u32)size };
	const struct programs *programs = perf_programs_of(id);
	struct perf_event *e, *next;
	bool other = about && about != current && about->perf;

	if (c->busy || (list_empty(events) && !other && !programs))
		return;
	if (unlikely(programs) && !perf_programs_pass(c, programs, record))
		return;
	c->busy = true;
	s.regs = PERF_CALLER_REGS(&caller);
	list_for_each_entry_safe (e, next, events, fire_link)
		if (passes(e, record, size))
			perf_deliver(e, count, &s);
	if (other)
		deliver_about(about, id, count, &s);
	perf_settle(c);
	c->busy = false;
}

static int init(struct perf_event *e)
{
	if (e->attr.config >= TRACE_IDS_END || !trace_event((unsigned)e->attr.config))
		return -EINVAL;
	if (!e->parent && !perf_is_perfmon()) {
		int err = perf_attr_allowed_raw(&e->attr, &perf_limits);

		if (err)
			return err;
	}
	if (e->attr.sample_type & PERF_SAMPLE_BRANCH_STACK)
		return -EOPNOTSUPP;
	if (!e->parent)
		trace_listen((unsigned)e->attr.config, TRACE_SINK_PERF);
	return 0;
}

static void destroy(struct perf_event *e)
{
	if (!e->parent)
		trace_deafen((unsigned)e->attr.config, TRACE_SINK_PERF);
}

static void start(struct perf_event *e)
{
	list_add_tail(&e->fire_link, &this_cpu_ptr(&perf_cpu)->points[e->attr.config - TRACE_FIRST_ID]);
}

static void stop(struct perf_event *e)
{
	list_del_init(&e->fire_link);
}

const struct perf_kind perf_kind_tracepoint = {
	.type = PERF_TYPE_TRACEPOINT, .init = init, .destroy = destroy, .start = start, .stop = stop
};
