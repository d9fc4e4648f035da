/* SPDX-License-Identifier: MIT
 *
 * Problem: an eBPF program looks at what a tracepoint says, or at a sample, and decides whether it is worth a record.
 *
 * Idea: a tracepoint has a table of programs, read without a lock where it fires, whatever CPU or task the events are
 * of that brought them: all run, and one that returns 0 keeps the event from everybody who listens by perf. Another
 * kind of event has one program of its own, asked before each of its samples.
 *
 * Contract: perf/output.h (who runs programs), PERF_EVENT_IOC_SET_BPF of perf_event_open(2): EEXIST when the event has
 * one or another event brought the same program to its tracepoint, EINVAL for a program of another type, EACCES when it
 * reads beyond the record, E2BIG for the 65th at a tracepoint. A program inside of which a tracepoint fires does not
 * run again.
 *
 * Locks: perf_lock for the tables; readers have IRQs off. A program is let go when no reader can be in it.
 */
#include "perf_priv.h"
#include <alloc/slab.h>
#include <arch/cpu.h>
#include <arch/user.h>
#include <core/log.h>
#include <core/rcu.h>
#include <lib/err.h>
#include <lib/string.h>
#include <linux/bpf_perf_event.h>

#define PROGRAMS_MOST 64

struct programs {
	unsigned nr;
	struct perf_event *of[PROGRAMS_MOST]; /* NULL, or one that has a program */
};

static struct programs *of_point[TRACE_ALL];
static const struct perf_program_ops *ops;

void perf_programs_set(const struct perf_program_ops *o)
{
	ops = o;
}

/* ---- running ---------------------------------------------------------------------------------------------------- */

const struct programs *perf_programs_of(unsigned id)
{
	return rcu_deref(of_point[id - TRACE_FIRST_ID]);
}

bool perf_programs_pass(struct perf_cpu *c, const struct programs *p, const void *record)
{
	bool pass = true;

	if (c->in_program)
		return false;
	c->in_program = true;
	for (unsigned slot = 0; slot < PROGRAMS_MOST; slot++) {
		const struct perf_event *e = rcu_deref(p->of[slot]);

		if (e)
			pass &= ops->run(e->program, record) != 0;
	}
	c->in_program = false;
	return pass;
}

bool perf_program_wants(struct perf_cpu *c, const struct bpf_prog *program, const struct perf_sample *s)
{
	struct bpf_perf_event_data d = { .sample_period = s->period, .addr = s->addr };
	bool wants;

	_Static_assert(sizeof(d.regs) == sizeof(struct regs), "struct regs is pt_regs");
	if (c->in_program)
		return false;
	memcpy(&d.regs, s->regs, sizeof(d.regs));
	c->in_program = true;
	wants = ops->run(program, &d) != 0;
	c->in_program = false;
	return wants;
}

/* ---- who has one ------------------------------------------------------------------------------------------------- */

static unsigned fixed_bytes(unsigned id)
{
	const struct trace_event *t = trace_event(id);
	unsigned end = sizeof(struct trace_common);

	for (unsigned i = 0; t && i < t->nr_fields; i++)
		end = max(end, (unsigned)t->fields[i].offset + t->fields[i].size);
	return end;
}

/* perf_lock held, here and below. */
static int join(struct perf_event *e)
{
	struct programs **at = &of_point[e->attr.config - TRACE_FIRST_ID], *p = *at;
	unsigned slot = 0;

	if (!p)
		p = kzalloc(sizeof(*p), ALLOC_KERNEL);
	if (!p)
		return -ENOMEM;
	for (unsigned i = 0; i < PROGRAMS_MOST; i++)
		if (p->of[i] && p->of[i]->program == e->program)
			return -EEXIST;
	while (slot < PROGRAMS_MOST && p->of[slot])
		slot++;
	if (slot == PROGRAMS_MOST)
		return -E2BIG;
	p->nr++;
	rcu_assign(p->of[slot], e);
	rcu_assign(*at, p);
	return 0;
}

static void leave(struct perf_event *e)
{
	struct programs **at = &of_point[e->attr.config - TRACE_FIRST_ID], *p = *at;

	for (unsigned slot = 0; slot < PROGRAMS_MOST; slot++)
		if (p->of[slot] == e)
			rcu_assign(p->of[slot], NULL);
	if (--p->nr)
		return;
	rcu_assign(*at, NULL);
	rcu_synchronize();
	kfree(p);
}

/* The numbers of the programs at the event's tracepoint, as many as there is room for. */
static long ids_of(const struct programs *p, u32 *ids, u32 room)
{
	u32 n = 0;

	for (unsigned slot = 0; slot < PROGRAMS_MOST; slot++)
		if (p->of[slot] && n++ < room)
			ids[n - 1] = ops->id(p->of[slot]->program);
	return room && n > room ? -ENOSPC : 0;
}

long perf_program_query(struct perf_event *e, struct perf_event_query_bpf __user *to)
{
	u32 ids[PROGRAMS_MOST] = { 0 }, asked[2]; /* asked: room for numbers, number of programs */
	const struct programs *p;
	long result;

	assert(mutex_is_held(&perf_lock));
	if (!perf_is_perfmon())
		return -EPERM;
	if (e->attr.type != PERF_TYPE_TRACEPOINT)
		return -EINVAL;
	if (user_get(asked, to, sizeof(asked)))
		return -EFAULT;
	if (asked[0] > PROGRAMS_MOST)
		return -E2BIG;
	p = of_point[e->attr.config - TRACE_FIRST_ID];
	asked[1] = p ? p->nr : 0;
	result = p ? ids_of(p, ids, asked[0]) : 0;
	if (user_put((char __user *)to + sizeof(u32), &asked[1], sizeof(u32)) ||
	    user_put((char __user *)to + sizeof(asked), ids, asked[0] * sizeof(u32)))
		return -EFAULT;
	return result;
}

int perf_program_attach(struct perf_event *e, int fd)
{
	bool is_point = e->kind == &perf_kind_tracepoint;
	struct bpf_prog *program;
	u32 reads;
	int err;

	assert(mutex_is_held(&perf_lock));
	if (e->program)
		return -EEXIST;
	err = ops ? ops->get(fd, is_point, &program, &reads) : -EINVAL;
	if (err)
		return err;
	if (is_point && reads > fixed_bytes((unsigned)e->attr.config))
		err = fail(EACCES, "perf: the program reads %u bytes of the record", reads);
	if (!err) {
		rcu_assign(e->program, program);
		err = is_point ? join(e) : 0;
	}
	if (err) {
		e->program = NULL;
		ops->put(program);
	}
	return err;
}

const struct bpf_prog *perf_program_of(const struct perf_event *e, const char **name)
{
	*name = e->kind == &perf_kind_tracepoint ? trace_event((unsigned)e->attr.config)->name : NULL;
	return rcu_deref(e->program);
}

void perf_program_detach(struct perf_event *e)
{
	struct bpf_prog *program = e->program;

	if (!program)
		return;
	if (e->kind == &perf_kind_tracepoint)
		leave(e);
	rcu_assign(e->program, NULL);
	rcu_synchronize();
	ops->put(program);
}
