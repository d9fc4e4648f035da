/* SPDX-License-Identifier: MIT
 *
 * Problem: numbers name threads, processes, groups and sessions; a number must not be used again
 * while any of these still has it, and the same task has another number in each pid namespace.
 *
 * Idea: struct pid is the identity: one object, a number a namespace level, found through one hash
 * table under RCU. What has the identity (task, process, members of a group, of a session) hangs on
 * it; when the last of them goes, the numbers become free. Numbers are given out in a circle.
 *
 * Contract: process/process.h. Number 1 of a namespace is its reaper; in the first one, process_start_init takes it
 * when kernel threads have theirs already.
 *
 * Locks: process_list_lock (f) for changes; look-ups under RCU; struct pid freed after a grace
 * period.
 */
#include "process_priv.h"
#include <lib/string.h>
#include <linux/sched.h>

#define HASH_SIZE 1024

static struct list hash[HASH_SIZE];
static ulong first_used[PID_MAX_DEFAULT / 64];

struct pid_ns pid_ns_first = {
	.max = PID_MAX_DEFAULT,
	.last = 1, /* number 1 waits for the first program */
	.used = first_used,
	.left = WAITQ_INIT(pid_ns_first.left),
};

static struct list *bucket(int nr, const struct pid_ns *ns)
{
	return &hash[(nr + (ulong)ns / 64) % HASH_SIZE];
}

struct pid_ns *pid_ns_of(const struct pid *p)
{
	return p ? p->level[p->depth].ns : &pid_ns_first;
}

struct pid_ns *pid_ns_current(void)
{
	return pid_ns_of(current->pid);
}

bool pid_ns_contains(const struct ns *outer, const struct pid_ns *ns)
{
	while (ns && &ns->ns != outer)
		ns = ns->parent;
	return ns;
}

struct pid_ns *pid_ns_for_children(void)
{
	return container_of(ns_current(NS_PID), struct pid_ns, ns);
}

int pid_nr_in(const struct pid *p, const struct pid_ns *ns)
{
	if (!p || p->depth < ns->level || p->level[ns->level].ns != ns)
		return 0;
	return p->level[ns->level].nr;
}

int pid_nr(const struct pid *p)
{
	return pid_nr_in(p, pid_ns_current());
}

int pid_max(void)
{
	return READ_ONCE(pid_ns_current()->max);
}

int pid_set_max(int max)
{
	if (max < 301 || max > PID_MAX_DEFAULT)
		return -EINVAL;
	WRITE_ONCE(pid_ns_current()->max, max);
	return 0;
}

int pid_nr_global(const struct pid *p)
{
	return p ? p->level[0].nr : 0;
}

static struct pid *find_in(int nr, const struct pid_ns *ns)
{
	struct pid_level *l;

	if (nr <= 0)
		return NULL;
	list_for_each_entry (l, bucket(nr, ns), hash_link)
		if (l->nr == nr && l->ns == ns)
			return container_of(l - ns->level, struct pid, level);
	return NULL;
}

struct pid *pid_find(int nr)
{
	return find_in(nr, pid_ns_current());
}

struct pid *pid_find_get(int nr)
{
	return pid_find_get_in(nr, pid_ns_current());
}

struct pid *pid_find_get_in(int nr, const struct pid_ns *ns)
{
	struct pid *p;

	rcu_read_lock();
	p = find_in(nr, ns);
	if (p && !refcount_inc_not_zero(&p->refs))
		p = NULL;
	rcu_read_unlock();
	return p;
}

void pid_get(struct pid *p)
{
	refcount_inc(&p->refs);
}

static void pid_free(struct rcu_head *head)
{
	struct pid *p = container_of(head, struct pid, rcu);

	ns_put(&p->level[p->depth].ns->ns); /* which holds those above it */
	kfree(p);
}

void pid_put(struct pid *p)
{
	if (p && refcount_dec_and_test(&p->refs))
		rcu_call(&p->rcu, pid_free);
}

struct task *task_find(int nr)
{
	struct pid *p = pid_find(nr);

	return p ? rcu_deref(p->task) : NULL;
}

struct task *task_find_get(int nr)
{
	struct task *t;

	rcu_read_lock();
	t = task_find(nr);
	if (t && !refcount_inc_not_zero(&t->refs))
		t = NULL;
	rcu_read_unlock();
	return t;
}

struct process *process_of_pid(struct pid *pid)
{
	struct process *p;

	rcu_read_lock();
	p = rcu_deref(pid->process);
	if (p && !refcount_inc_not_zero(&p->refs))
		p = NULL;
	rcu_read_unlock();
	return p;
}

struct process *process_find_get(int nr)
{
	struct pid *pid;
	struct process *p;

	rcu_read_lock();
	pid = pid_find(nr);
	p = pid ? process_of_pid(pid) : NULL;
	rcu_read_unlock();
	return p;
}

/* The next used number >= from, or 0. */
static int next_used(const struct pid_ns *ns, int from)
{
	for (int nr = from; nr < PID_MAX_DEFAULT;) {
		ulong w = READ_ONCE(ns->used[nr / 64]) >> (nr % 64);

		if (w)
			return nr + __builtin_ctzl(w);
		nr = ALIGN_DOWN(nr, 64) + 64;
	}
	return 0;
}

struct process *process_next(int *nr)
{
	return process_next_in(nr, pid_ns_current());
}

struct process *process_next_in(int *nr, const struct pid_ns *ns)
{
	for (int at = max(*nr, 1); at < PID_MAX_DEFAULT; at++) {
		struct process *p;
		struct pid *pid;

		at = next_used(ns, at);
		if (!at)
			return NULL;
		rcu_read_lock();
		pid = find_in(at, ns);
		p = pid ? process_of_pid(pid) : NULL;
		rcu_read_unlock();
		if (p) {
			*nr = at;
			return p;
		}
	}
	return NULL;
}

int pid_next_listed(int nr, const struct pid_ns *ns)
{
	for (int at = next_used(ns, max(nr, 1)); at; at = next_used(ns, at + 1)) {
		const struct pid *p;
		const struct task *t;
		bool listed;

		rcu_read_lock();
		p = find_in(at, ns);
		t = p ? rcu_deref(p->task) : NULL;
		listed = p && (rcu_deref(p->process) || (t && !t->process));
		rcu_read_unlock();
		if (listed)
			return at;
	}
	return 0;
}

struct task *task_next(int *nr, bool everywhere)
{
	const struct pid_ns *ns = everywhere ? &pid_ns_first : pid_ns_current();

	for (int at = next_used(ns, max(*nr, 1)); at; at = next_used(ns, at + 1)) {
		struct task *t;
		struct pid *p;

		rcu_read_lock();
		p = find_in(at, ns);
		t = p ? rcu_deref(p->task) : NULL;
		if (t && !refcount_inc_not_zero(&t->refs))
			t = NULL;
		rcu_read_unlock();
		if (t) {
			*nr = at;
			return t;
		}
	}
	return NULL;
}

/* A free number in ns, -EAGAIN if there is none. f held. */
static int take_number(struct pid_ns *ns, int want)
{
	int nr = want ? want : ns->last;

	if (want) {
		if (want >= ns->max)
			return -EINVAL;
		if (ns->used[want / 64] & BIT(want % 64))
			return -EEXIST;
	}
	for (int tries = 0; !want; tries++) {
		if (tries > ns->max)
			return -EAGAIN;
		nr = nr + 1 >= ns->max ? (ns->last > 300 ? 300 : 1) : nr + 1;
		if (!(ns->used[nr / 64] & BIT(nr % 64)))
			break;
	}
	ns->used[nr / 64] |= BIT(nr % 64);
	ns->members++;
	if (!want)
		ns->last = nr;
	return nr;
}

static void free_numbers(struct pid *p, unsigned from)
{
	for (unsigned i = from; i <= p->depth; i++) {
		struct pid_ns *ns = p->level[i].ns;

		ns->used[p->level[i].nr / 64] &= ~BIT(p->level[i].nr % 64);
		ns->members--;
		if (ns->dying)
			waitq_wake_all(&ns->left);
	}
}

static int take_numbers(struct pid *p, struct pid_ns *ns, int want)
{
	for (int i = p->depth; i >= 0; i--, ns = ns->parent) {
		int nr = take_number(ns, i == (int)p->depth ? want : 0);

		if (nr < 0) {
			free_numbers(p, i + 1);
			return nr;
		}
		p->level[i].nr = nr;
		p->level[i].ns = ns;
	}
	for (unsigned i = 0; i <= p->depth; i++)
		list_add(&p->level[i].hash_link, bucket(p->level[i].nr, p->level[i].ns));
	return 0;
}

int pid_create(struct pid_ns *ns, int want, struct pid **out)
{
	struct pid *p = kzalloc(sizeof(*p) + (ns->level + 1) * sizeof(p->level[0]), ALLOC_CHARGED);
	ulong irq;
	int err;

	if (!p)
		return -ENOMEM;
	refcount_set(&p->refs, 1); /* of the table, until the numbers are free */
	p->depth = ns->level;
	list_init(&p->group);
	list_init(&p->session);
	waitq_init(&p->exit_waiters);
	irq = process_list_begin();
	err = ns->dying ? -ENOMEM : take_numbers(p, ns, want);
	process_list_end(irq);
	if (err) {
		kfree(p);
		return err;
	}
	ns_get(&ns->ns);
	*out = p;
	return 0;
}

void pid_check_unused(struct pid *p)
{
	assert_held(&process_list_lock);
	if (p->task || p->process || !list_empty(&p->group) || !list_empty(&p->session))
		return;
	for (unsigned i = 0; i <= p->depth; i++)
		list_del(&p->level[i].hash_link); /* readers may still stand on it */
	free_numbers(p, 0);
	pid_put(p);
}

void pid_discard(struct pid *p)
{
	ulong irq = process_list_begin();

	pid_check_unused(p);
	process_list_end(irq);
}

/* ---- namespaces ----------------------------------------------------------------------------------------- */

#define LEVELS_MAX 32

static struct pid_ns *ns_of(struct ns *n)
{
	return container_of(n, struct pid_ns, ns);
}

static int copy_ns(struct ns *old, struct user_ns *owner, struct task *t, struct ns **out)
{
	struct pid_ns *parent = pid_ns_current(), *ns;

	if (parent->level >= LEVELS_MAX)
		return -ENOSPC;
	ns = kzalloc(sizeof(*ns), ALLOC_CHARGED);
	if (ns)
		ns->used = kcalloc(PID_MAX_DEFAULT / 64, sizeof(*ns->used), ALLOC_CHARGED);
	if (!ns || !ns->used) {
		kfree(ns);
		return -ENOMEM;
	}
	ns_init(&ns->ns, NS_PID, owner);
	ns->level = parent->level + 1;
	ns->parent = parent;
	ns_get(&parent->ns);
	ns->max = parent->max;
	ns->used[0] = 1; /* number 0 */
	waitq_init(&ns->left);
	*out = &ns->ns;
	return 0;
}

static void free_ns(struct ns *n)
{
	struct pid_ns *ns = ns_of(n), *parent = ns->parent;

	kfree(ns->used);
	kfree(ns);
	ns_put(&parent->ns);
}

/* Only downwards: parents must be able to name their children. It is for those that current will have. */
static int enter_ns(struct ns *n)
{
	const struct pid_ns *mine = pid_ns_current(), *ns = ns_of(n);

	while (ns && ns != mine)
		ns = ns->parent;
	return ns ? 0 : -EINVAL;
}

static struct ns *parent_ns(struct ns *n)
{
	return ns_of(n)->parent ? &ns_of(n)->parent->ns : NULL;
}

static const struct ns_kind_ops ns_ops = { .name = "pid",
					   .flag = CLONE_NEWPID,
					   .first = &pid_ns_first.ns,
					   .copy = copy_ns,
					   .enter = enter_ns,
					   .free = free_ns,
					   .parent = parent_ns };

struct ns *pid_ns_as_ns(struct pid_ns *ns)
{
	return &ns->ns;
}

void pid_ns_get(struct pid_ns *ns)
{
	ns_get(&ns->ns);
}

void pid_ns_put(struct pid_ns *ns)
{
	ns_put(&ns->ns);
}

void pid_ns_kill(struct pid_ns *ns)
{
	struct process *p;
	ulong irq = process_list_begin();

	ns->dying = true;
	process_list_end(irq);
	for (int nr = 2; (p = process_next_in(&nr, ns)); nr++) {
		(void)signal_send_process(SIGKILL, NULL, p);
		process_put(p);
	}
}

void __noreturn pid_ns_reboot(struct pid_ns *ns, int sig)
{
	int nr = 1;
	ulong irq = process_list_begin();
	struct process *reaper;

	if (!ns->ended_by)
		ns->ended_by = sig;
	process_list_end(irq);
	reaper = process_next_in(&nr, ns);
	if (reaper) {
		if (nr == 1)
			(void)signal_send_process(SIGKILL, NULL, reaper);
		process_put(reaper);
	}
	process_exit_group(0);
}

bool pid_ns_is_first(const struct pid_ns *ns)
{
	return ns == &pid_ns_first;
}

int pid_ns_ended_by(const struct pid_ns *ns)
{
	return READ_ONCE(ns->ended_by);
}

void pid_ns_wait_empty(struct pid_ns *ns)
{
	wait_event(&ns->left, READ_ONCE(ns->members) <= 1);
}

bool pid_ns_is_ended_by(const struct process *p)
{
	const struct pid_ns *ns = pid_ns_of(p->pid);

	return ns->dying && ns->reaper == p;
}

void pid_init(void)
{
	for (unsigned i = 0; i < HASH_SIZE; i++)
		list_init(&hash[i]);
	first_used[0] = 1; /* number 0 */
	ns_kind_register(NS_PID, &ns_ops);
}
