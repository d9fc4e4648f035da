/* SPDX-License-Identifier: MIT
 *
 * Problem: who touches this variable, or runs this function? A processor can watch four addresses, and tracers use the
 * same registers.
 *
 * Idea: an active event takes a slot of its CPU that the task's tracer does not use (arch/thread.h), and gives it back
 * when it becomes inactive. The debug trap that follows says which slots hit; a slot on the execution of an instruction
 * hits before it, which is then let through once.
 *
 * Contract: perf_event_open(2), PERF_TYPE_BREAKPOINT: writes, reads and writes, execution; 1, 2, 4 or 8 bytes, aligned.
 * Addresses of programs only, and accesses in user mode only: what the kernel reads and writes for a program is not
 * seen. At most four events a task or CPU (ENOSPC).
 *
 * Locks: slots belong to their CPU, IRQs off. perf_lock for the number of events.
 */
#include "perf_priv.h"
#include <arch/cpu.h>
#include <arch/mmu.h>
#include <arch/thread.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/string.h>
#include <linux/hw_breakpoint.h>

static int check(const struct perf_event_attr *a)
{
	u64 addr = a->bp_addr, len = a->bp_len;

	if (a->bp_type != HW_BREAKPOINT_W && a->bp_type != HW_BREAKPOINT_RW && a->bp_type != HW_BREAKPOINT_X)
		return fail(EINVAL, "perf: breakpoint of type %u", a->bp_type);
	if (a->bp_type == HW_BREAKPOINT_X && len != sizeof(long))
		return fail(EINVAL, "perf: a breakpoint on instructions has length %u", (unsigned)sizeof(long));
	if (len != 1 && len != 2 && len != 4 && len != 8)
		return fail(EINVAL, "perf: breakpoint of %llu bytes", (unsigned long long)len);
	if (a->bp_type != HW_BREAKPOINT_X && (addr & (len - 1)))
		return fail(EINVAL, "perf: breakpoint at %#llx is not aligned", (unsigned long long)addr);
	if (addr >= USER_END || addr + len > USER_END)
		return a->exclude_kernel ? -EINVAL : fail(EOPNOTSUPP, "perf: breakpoints in the kernel");
	return 0;
}

static int init(struct perf_event *e)
{
	int err = check(&e->attr);

	if (err)
		return err;
	if (e->attr.sample_type & PERF_SAMPLE_BRANCH_STACK)
		return -EOPNOTSUPP;
	e->slot = -1;
	if (!e->parent) {
		static_key_inc(&task_switch_key);
		static_key_inc(&task_step_key);
	}
	return 0;
}

static void destroy(struct perf_event *e)
{
	if (!e->parent) {
		static_key_dec(&task_step_key);
		static_key_dec(&task_switch_key);
	}
}

static void start(struct perf_event *e)
{
	static const u8 kinds[] = { [HW_BREAKPOINT_W] = ARCH_WATCH_WRITE,
				    [HW_BREAKPOINT_RW] = ARCH_WATCH_ACCESS,
				    [HW_BREAKPOINT_X] = ARCH_WATCH_EXECUTE };
	bool runs = e->attr.bp_type == HW_BREAKPOINT_X;

	e->slot = arch_watch_set(e->attr.bp_addr, kinds[e->attr.bp_type], runs ? 1 : (unsigned)e->attr.bp_len);
	if (e->slot >= 0)
		this_cpu_ptr(&perf_cpu)->watches[e->slot] = e;
}

static void stop(struct perf_event *e)
{
	if (e->slot < 0)
		return;
	arch_watch_clear((unsigned)e->slot);
	this_cpu_ptr(&perf_cpu)->watches[e->slot] = NULL;
	e->slot = -1;
}

/* perf_lock held: may ctx have one more of them? */
bool perf_breakpoint_fits(const struct perf_context *ctx, int cpu)
{
	const struct perf_event *e;
	unsigned n = 0;

	list_for_each_entry (e, &ctx->events, ctx_link)
		n += e->kind == &perf_kind_breakpoint && (e->cpu == cpu || e->cpu < 0 || cpu < 0);
	return n < ARCH_WATCHES;
}

/* Another address, kind or length; everything else must be as it is. perf_lock held. */
int perf_breakpoint_modify(struct perf_event *e, const struct perf_event_attr *a)
{
	struct perf_event_attr same = e->attr;
	int err = check(a);

	event_disable(e);
	same.bp_addr = a->bp_addr;
	same.bp_type = a->bp_type;
	same.bp_len = a->bp_len;
	same.disabled = a->disabled;
	if (!err && memcmp(&same, a, sizeof(same)))
		err = fail(EINVAL, "perf: only what a breakpoint watches can be modified");
	if (!err)
		e->attr = same;
	if (!e->attr.disabled)
		event_enable(e);
	return err;
}

void perf_watch_hit(struct regs *r, unsigned slots)
{
	struct perf_cpu *c = this_cpu_ptr(&perf_cpu);

	for (unsigned slot = 0; slot < ARCH_WATCHES; slot++) {
		struct perf_event *e = slots >> slot & 1 ? c->watches[slot] : NULL;
		struct perf_sample s = { .regs = r, .may_tell = true };

		if (!e || c->busy)
			continue;
		s.addr = e->attr.bp_addr;
		c->busy = true;
		perf_deliver(e, 1, &s);
		perf_settle(c);
		c->busy = false;
	}
}

const struct perf_kind perf_kind_breakpoint = {
	.type = PERF_TYPE_BREAKPOINT, .init = init, .destroy = destroy, .start = start, .stop = stop
};
