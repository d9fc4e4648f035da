/* SPDX-License-Identifier: MIT
 *
 * Problem: an event is made from what a program asks for, found again through a descriptor, copied into each child
 * of its task, and taken apart when descriptor, task or parent ends, in any order.
 *
 * Idea: one mutex (perf_lock) for who belongs to whom; counting itself never takes it. A top-level event lives as long
 * as its file; an inherited one as long as its task and its parent, and adds its counts to the parent when it goes.
 * Everything is checked before the first thing is made.
 *
 * Contract: perf_event_open(2). Errors in the order of Linux 6.1.
 *
 * Locks: perf_lock, then ctx->lock inside context_call.
 */
#include "perf_priv.h"
#include <alloc/slab.h>
#include <arch/cpu.h>
#include <arch/user.h>
#include <cgroup/cgroup.h>
#include <core/init.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/string.h>
#include <linux/capability.h>
#include <linux/eventpoll.h>
#include <linux/fcntl.h>
#include <linux/time.h>
#include <perf/perf.h>
#include <process/process.h>
#include <vfs/vfs.h>

#define FLAGS_KNOWN (PERF_FLAG_FD_NO_GROUP | PERF_FLAG_FD_OUTPUT | PERF_FLAG_PID_CGROUP | PERF_FLAG_FD_CLOEXEC)
#define KEY_SWITCH  1
#define KEY_LIFE    2

struct mutex perf_lock = MUTEX_INIT(perf_lock, RANK_SUBSYS);
struct perf_limits perf_limits = { .paranoid = 2, .max_sample_rate = 100000, .max_stack = PERF_MAX_STACK_DEFAULT };
int perf_mlock_kb = 516;
static const struct perf_kind *const kinds[] = { &perf_kind_software, &perf_kind_clock,      &perf_kind_tracepoint,
						 &perf_kind_memory,   &perf_kind_memory_ops, &perf_kind_breakpoint,
						 &perf_kind_hardware, &perf_kind_raw };

bool perf_is_perfmon(void)
{
	return capable(CAP_PERFMON) || capable(CAP_SYS_ADMIN);
}

/* ---- one event ------------------------------------------------------------------------------------------ */

static u64 next_id(void)
{
	static u64 last;

	return __atomic_add_fetch(&last, 1, __ATOMIC_RELAXED);
}

int event_create(const struct perf_event_attr *attr, const struct perf_kind *kind, int cpu, struct perf_event *parent,
		 struct perf_event **out)
{
	struct perf_event *e = kzalloc(sizeof(*e), ALLOC_CHARGED);
	int err = -ENOENT;

	if (!e)
		return -ENOMEM;
	e->attr = *attr;
	e->cpu = cpu;
	e->parent = parent;
	e->id = next_id();
	e->leader = e;
	e->state = PERF_OFF;
	e->period = attr->freq ? 1 : attr->sample_period;
	e->left = (s64)e->period;
	list_init(&e->children);
	list_init(&e->child_link);
	list_init(&e->ctx_link);
	list_init(&e->siblings);
	list_init(&e->sibling_link);
	list_init(&e->fire_link);
	list_init(&e->side_link);
	list_init(&e->arm_link);
	list_init(&e->stop_link);
	list_init(&e->ring_link);
	list_init(&e->turn_link);
	waitq_init(&e->waiters);
	for (unsigned i = 0; err == -ENOENT && i < ARRAY_SIZE(kinds); i++) {
		if (kinds[i]->type != attr->type || (kind && kinds[i] != kind))
			continue;
		e->kind = kinds[i];
		err = kinds[i]->init(e);
	}
	if (err)
		kfree(e);
	else
		*out = e;
	return err;
}

static void free_event(struct rcu_head *head)
{
	struct perf_event *e = container_of(head, struct perf_event, rcu);

	perf_filter_free(e->filter);
	kfree(e);
}

void event_free(struct perf_event *e)
{
	e->kind->destroy(e);
	if (e->tenant)
		tenant_put(e->tenant);
	if (e->key_bits & KEY_SWITCH)
		static_key_dec(&task_switch_key);
	if (e->key_bits & KEY_LIFE)
		static_key_dec(&task_life_key);
	rcu_call(&e->rcu, free_event);
}

static void raise_keys(struct perf_event *e, bool of_task)
{
	const struct perf_event_attr *a = &e->attr;
	bool follows = a->type == PERF_TYPE_SOFTWARE &&
		       (a->config == PERF_COUNT_SW_CONTEXT_SWITCHES || a->config == PERF_COUNT_SW_CPU_MIGRATIONS ||
			a->config == PERF_COUNT_SW_CGROUP_SWITCHES);

	if (of_task || a->context_switch || follows || e->tenant)
		e->key_bits |= KEY_SWITCH;
	if (of_task || a->mmap || a->mmap_data || a->mmap2 || a->comm || a->task || a->cgroup)
		e->key_bits |= KEY_LIFE;
	if (e->key_bits & KEY_SWITCH)
		static_key_inc(&task_switch_key);
	if (e->key_bits & KEY_LIFE)
		static_key_inc(&task_life_key);
}

/* ---- opening --------------------------------------------------------------------------------------------- */

int perf_copy_attr(struct perf_event_attr *a, void __user *from)
{
	u8 rest[64];
	u32 given, own = sizeof(*a);
	int size;

	if (user_get(&given, (char __user *)from + offsetof(struct perf_event_attr, size), sizeof(given)))
		return -EFAULT;
	size = perf_attr_size(given);
	for (u32 at = own; size > 0 && at < (u32)size; at += sizeof(rest)) {
		u32 n = min((u32)size - at, (u32)sizeof(rest));

		if (user_get(rest, (char __user *)from + at, n))
			return -EFAULT;
		for (u32 i = 0; i < n; i++)
			if (rest[i])
				size = -E2BIG;
	}
	if (size < 0) {
		(void)!user_put((char __user *)from + offsetof(struct perf_event_attr, size), &own, sizeof(own));
		return size;
	}
	*a = (struct perf_event_attr){ 0 };
	if (user_get(a, from, min((u32)size, own)))
		return -EFAULT;
	a->size = (u32)size;
	return perf_attr_check(a, &perf_limits);
}

static bool clock_known(const struct perf_event_attr *a)
{
	return !a->use_clockid || a->clockid == CLOCK_MONOTONIC || a->clockid == CLOCK_MONOTONIC_RAW ||
	       a->clockid == CLOCK_REALTIME || a->clockid == CLOCK_BOOTTIME || a->clockid == CLOCK_TAI;
}

struct request {
	struct perf_event_attr attr;
	int pid, cpu;
	ulong flags;
	struct task *task; /* counted; NULL: a CPU */
	struct perf_event *group, *output;
};

/* The context that r's event belongs to, made if need be. perf_lock held. */
static int find_context(const struct request *r, struct perf_context **out)
{
	if (!r->task) {
		*out = &per_cpu_ptr(&perf_cpu, r->cpu)->ctx;
		return 0;
	}
	if (READ_ONCE(r->task->flags) & TASK_F_EXITING)
		return -ESRCH;
	return context_of_task(r->task, out);
}

static int check_group(const struct request *r, const struct perf_event *e)
{
	const struct perf_event *g = r->group;
	struct task *task = g->ctx ? g->ctx->task : NULL;

	if (!g->ctx || g->leader != g || g->cpu != r->cpu || task != r->task || g->tenant != e->tenant ||
	    g->attr.use_clockid != e->attr.use_clockid || (g->attr.use_clockid && g->attr.clockid != e->attr.clockid) ||
	    e->attr.exclusive || e->attr.pinned)
		return fail(EINVAL, "perf: the group's leader does not fit");
	return 0;
}

static void set_first_state(struct perf_context *ctx, void *arg)
{
	event_enable_locked(ctx, arg);
}

/* perf_lock held. */
static int attach(const struct request *r, struct perf_event *e)
{
	struct perf_context *ctx;
	int err = find_context(r, &ctx);

	if (err)
		return err;
	if (r->group)
		err = check_group(r, e);
	if (!err && e->kind == &perf_kind_breakpoint && !perf_breakpoint_fits(ctx, e->cpu))
		err = fail(ENOSPC, "perf: no debug register is left");
	if (!err && r->group && e->need.allowed && !multiplex_could_fit(r->group, e))
		err = fail(EINVAL, "perf: the group needs more counters than there are");
	if (err) {
		context_drop_if_empty(ctx);
		return err;
	}
	if (r->group)
		e->leader = r->group;
	context_add(ctx, e);
	if (r->output)
		err = event_set_output(e, r->output);
	if (err)
		context_remove(e);
	else if (!e->attr.disabled)
		context_call(ctx, set_first_state, e);
	return err;
}

/* What can be said before an event is made. */
static int check_target(const struct request *r)
{
	const struct perf_event_attr *a = &r->attr;

	if (r->cpu < -1 || r->cpu >= (int)cpu_count() || (r->cpu == -1 && !r->task))
		return -EINVAL;
	if (a->sigtrap && !r->task)
		return fail(EINVAL, "perf: signals need a task");
	if (a->inherit && (a->sample_type & PERF_SAMPLE_READ))
		return fail(EINVAL, "perf: an inherited event cannot be read in samples");
	return 0;
}

/* And what needs one: its kind has accepted it. */
static int check_event(const struct request *r)
{
	int err = perf_attr_check_sampling(&r->attr, &perf_limits);

	if (!err && !clock_known(&r->attr))
		err = -EINVAL;
	if (!err && !r->task && !perf_is_perfmon())
		err = perf_attr_allowed_cpu(&perf_limits);
	if (!err && r->task && r->task != current && !perf_is_perfmon() && !process_may_look(r->task))
		err = -EACCES;
	return err;
}

static int open_event(const struct request *r)
{
	struct perf_event *e;
	struct file *f;
	int err = check_target(r);

	if (!err)
		err = event_create(&r->attr, NULL, r->cpu, NULL, &e);
	if (err)
		return err;
	if (r->flags & PERF_FLAG_PID_CGROUP)
		err = cgroup_tenant_of_fd(r->pid, &e->tenant);
	if (!err)
		err = check_event(r);
	if (err) {
		event_free(e);
		return err;
	}
	raise_keys(e, r->task != NULL);
	err = file_anon("[perf_event]", &perf_file_ops, e, O_RDWR, &f);
	if (err) {
		event_free(e);
		return err;
	}
	e->file = f;
	mutex_lock(&perf_lock);
	err = attach(r, e);
	mutex_unlock(&perf_lock);
	if (err) {
		file_put(f); /* its release frees e */
		return err;
	}
	return fd_publish(f, r->flags & PERF_FLAG_FD_CLOEXEC ? O_CLOEXEC : 0);
}

struct perf_event *perf_event_of(const struct file *f)
{
	return f && f->ops == &perf_file_ops ? f->priv : NULL;
}

static int find_task(struct request *r)
{
	if (r->pid == -1 || (r->flags & PERF_FLAG_PID_CGROUP))
		return 0;
	if (r->pid) {
		r->task = r->pid > 0 ? task_find_get(r->pid) : NULL;
	} else {
		r->task = current;
		task_get(current);
	}
	return r->task ? 0 : -ESRCH;
}

static int open_for_task(struct request *r)
{
	int err = find_task(r);

	if (!err && r->task && r->group && r->group->attr.inherit != r->attr.inherit)
		err = -EINVAL;
	if (!err)
		err = open_event(r);
	if (r->task)
		task_put(r->task);
	return err;
}

static int open_in_group(struct request *r, int group_fd)
{
	struct fd_ref ref = { NULL, false };
	int err;

	if (group_fd != -1) {
		struct perf_event *g;

		ref = fd_get(group_fd);
		g = perf_event_of(ref.file);
		if (!g) {
			if (ref.file)
				fd_put(ref);
			return -EBADF;
		}
		r->group = r->flags & PERF_FLAG_FD_NO_GROUP ? NULL : g;
		r->output = r->flags & PERF_FLAG_FD_OUTPUT ? g : NULL;
	}
	err = open_for_task(r);
	if (ref.file)
		fd_put(ref);
	return err;
}

int perf_open(void __user *attr, int pid, int cpu, int group_fd, ulong flags)
{
	struct request r = { .pid = pid, .cpu = cpu, .flags = flags };
	int err;

	if (flags & ~(ulong)FLAGS_KNOWN)
		return -EINVAL;
	err = perf_copy_attr(&r.attr, attr);
	if (!err && !perf_is_perfmon())
		err = perf_attr_allowed_kernel(&r.attr, &perf_limits);
	if (!err)
		err = perf_attr_check_period(&r.attr, &perf_limits);
	if (!err && !perf_is_perfmon())
		err = perf_attr_allowed_data(&r.attr, &perf_limits);
	if (err)
		return err;
	if ((flags & PERF_FLAG_PID_CGROUP) && (pid == -1 || cpu == -1))
		return fail(EINVAL, "perf: events of a cgroup need its descriptor and a CPU");
	return open_in_group(&r, group_fd);
}

/* ---- inheritance -------------------------------------------------------------------------------------------- */

static struct perf_event *copy_of(struct perf_context *ctx, const struct perf_event *original)
{
	const struct perf_event *top = original->parent ? original->parent : original;
	struct perf_event *c;

	list_for_each_entry (c, &ctx->events, ctx_link)
		if (c->parent == top)
			return c;
	return NULL;
}

static int inherit_one(struct perf_context *to, struct perf_event *e)
{
	struct perf_event *top = e->parent ? e->parent : e, *c, *leader;
	int err = event_create(&top->attr, top->kind, e->cpu, top, &c);

	if (err)
		return err;
	leader = e->leader == e ? NULL : copy_of(to, e->leader);
	if (leader)
		c->leader = leader;
	c->ctx = to;
	list_add_tail(&c->ctx_link, &to->events); /* the child does not run yet: nobody else sees the context */
	if (leader) {
		list_add_tail(&c->sibling_link, &leader->siblings);
		leader->nr_siblings++;
	}
	multiplex_join(c);
	c->state = e->state >= PERF_INACTIVE ? PERF_INACTIVE : PERF_OFF;
	list_add_tail(&c->child_link, &top->children);
	return 0;
}

static bool inherits(const struct perf_event *e, const struct task *child)
{
	return e->attr.inherit && (!e->attr.inherit_thread || child->process == current->process);
}

/* A child that ends, or an original that is closed. perf_lock held. */
static void fold_child(struct perf_event *c)
{
	struct perf_event *top = c->parent;
	struct event_values v;

	event_values_here(c, &v); /* already off its context */
	top->child_count += v.count;
	top->child_enabled_ns += v.enabled_ns;
	top->child_running_ns += v.running_ns;
	list_del_init(&c->child_link);
	event_free(c);
}

static int inherit_all(struct task *child)
{
	struct perf_context *from = current->perf, *to;
	struct perf_event *e;
	int err = 0;

	if (!from)
		return 0;
	to = kmalloc(sizeof(*to), ALLOC_KERNEL);
	if (!to)
		return -ENOMEM;
	context_init(to, child);
	list_for_each_entry (e, &from->events, ctx_link)
		if (!err && inherits(e, child))
			err = inherit_one(to, e);
	child->perf = to;
	context_drop_if_empty(to);
	return err;
}

int perf_inherit(struct task *child)
{
	int err;

	mutex_lock(&perf_lock);
	err = inherit_all(child);
	mutex_unlock(&perf_lock);
	if (err)
		perf_drop_task(child);
	return err;
}

static void drop_event(struct perf_event *e)
{
	if (e->parent) {
		context_remove(e);
		fold_child(e);
		return;
	}
	context_exit(e);
	e->state = PERF_EXITED;
	e->hung_up = EPOLLHUP;
	waitq_wake(&e->waiters, -1, EPOLLHUP);
}

void perf_drop_task(struct task *t)
{
	struct perf_context *ctx;

	mutex_lock(&perf_lock);
	while ((ctx = t->perf) != NULL)
		drop_event(list_first_entry(&ctx->events, struct perf_event, ctx_link));
	mutex_unlock(&perf_lock);
}

/* The file is gone. */
void perf_release(struct file *f)
{
	struct perf_event *e = f->priv;

	mutex_lock(&perf_lock);
	while (!list_empty(&e->children)) {
		struct perf_event *c = list_first_entry(&e->children, struct perf_event, child_link);

		context_remove(c);
		list_del_init(&c->child_link);
		event_free(c);
	}
	context_remove(e);
	ring_attach(e, NULL);
	perf_program_detach(e);
	mutex_unlock(&perf_lock);
	event_free(e);
}

/* ---- start ---------------------------------------------------------------------------------------------------- */

static const struct task_hooks hooks = {
	.switch_out = perf_switch_out,
	.switch_in = perf_switch_in,
	.fork = perf_hook_fork,
	.fork_failed = perf_hook_fork_failed,
	.forked = perf_hook_forked,
	.exec = perf_hook_exec,
	.renamed = perf_hook_renamed,
	.moved_tenant = perf_moved_tenant,
	.tenant_named = perf_hook_tenant,
	.exit = perf_hook_exit,
	.mapped = perf_hook_mapped,
	.count = perf_count,
	.stepped = perf_stepped,
	.step_end = perf_step_end,
};

static void perf_init(void)
{
	for (unsigned cpu = 0; cpu < cpu_count(); cpu++) {
		struct perf_cpu *c = per_cpu_ptr(&perf_cpu, cpu);

		context_init(&c->ctx, NULL);
		c->ctx.on_cpu = (int)cpu;
		c->ctx.stamp = 0;
		for (unsigned i = 0; i < COUNT_KINDS; i++)
			list_init(&c->counts[i]);
		for (unsigned i = 0; i < TRACE_ALL; i++)
			list_init(&c->points[i]);
		list_init(&c->sideband);
		list_init(&c->to_arm);
		list_init(&c->to_stop);
		list_init(&c->walk.waiting);
		multiplex_init(c);
	}
	task_hooks = &hooks;
	trace_sink_set(TRACE_SINK_PERF, perf_tracepoint);
}
PART_INIT(core, perf_init);
