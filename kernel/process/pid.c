/* SPDX-License-Identifier: MIT
 *
 * Problem: numbers name threads, processes, groups and sessions; a number must not be used again
 * while any of these still has it, and the same task has another number in each pid namespace.
 *
 * Idea: struct pid is the identity: one object, a number a namespace level, found through one hash
 * table under RCU. What has the identity (task, process, members of a group, of a session) hangs on
 * it; when the last of them goes, the numbers become free. Numbers are given out in a circle.
 *
 * Contract: process/process.h. Number 1 of a namespace is its reaper.
 *
 * Locks: process_list_lock (f) for changes; look-ups under RCU; struct pid freed after a grace
 * period.
 */
#include "process_priv.h"
#include <lib/string.h>

#define HASH_SIZE 1024

static struct list hash[HASH_SIZE];
static ulong first_used[PID_MAX_DEFAULT / 64];

struct pid_ns pid_ns_first = {
	.refs = { ATOMIC_INIT(1) },
	.max = PID_MAX_DEFAULT,
	.used = first_used,
};

void pid_init(void)
{
	for (unsigned i = 0; i < HASH_SIZE; i++)
		list_init(&hash[i]);
	first_used[0] = 1; /* number 0 */
}

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
	struct pid *p;

	rcu_read_lock();
	p = pid_find(nr);
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
	kfree(container_of(head, struct pid, rcu));
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
	for (int nr = from; nr < ns->max;) {
		ulong w = READ_ONCE(ns->used[nr / 64]) >> (nr % 64);

		if (w)
			return nr + __builtin_ctzl(w);
		nr = ALIGN_DOWN(nr, 64) + 64;
	}
	return 0;
}

struct process *process_next(int *nr)
{
	const struct pid_ns *ns = pid_ns_current();

	for (int at = max(*nr, 1); at < ns->max; at++) {
		struct process *p;

		at = next_used(ns, at);
		if (!at)
			return NULL;
		p = process_find_get(at);
		if (p) {
			*nr = at;
			return p;
		}
	}
	return NULL;
}

struct task *task_next(int *nr, bool everywhere)
{
	const struct pid_ns *ns = everywhere ? &pid_ns_first : pid_ns_current();

	for (int at = next_used(ns, max(*nr, 1)); at; at = at + 1 < ns->max ? next_used(ns, at + 1) : 0) {
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
	if (!want)
		ns->last = nr;
	return nr;
}

static void free_numbers(struct pid *p, unsigned from)
{
	for (unsigned i = from; i <= p->depth; i++)
		p->level[i].ns->used[p->level[i].nr / 64] &= ~BIT(p->level[i].nr % 64);
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
	struct pid *p = kzalloc(sizeof(*p) + (ns->level + 1) * sizeof(p->level[0]), 0);
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
