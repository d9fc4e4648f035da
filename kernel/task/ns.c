/* SPDX-License-Identifier: MIT
 *
 * Problem: six parts have something that exists once a namespace, and clone, unshare, setns, /proc and exit must treat
 * all of them in one way.
 *
 * Idea: a table of kinds and a set of pointers a task. Sets are shared and constant; a change makes another set, all of
 * it before anything is visible, and swaps the pointer.
 *
 *      task->ns ──> ns_set.of[kind] ──> struct uts_ns, mount_ns, pid_ns ... (struct ns first)      NULL: ops->first
 *
 * Contract: task/ns.h; namespaces(7).
 *
 * Locks: task->lock for the pointer to the set; the table is constant after boot.
 */
#include <alloc/slab.h>
#include <core/log.h>
#include <lib/err.h>
#include <task/task.h>
#include <task/user_ns.h>

/* The first namespaces' numbers are known to programs (proc_ns.h of Linux, as ls -l /proc/1/ns shows); the others'
 * follow. */
static const u32 first_inum[NS_NR] = {
	[NS_UTS] = 0xeffffffe, [NS_IPC] = 0xefffffff,  [NS_PID] = 0xeffffffc,    [NS_NET] = 0xf0000000,
	[NS_MNT] = 0xf0000001, [NS_USER] = 0xeffffffd, [NS_CGROUP] = 0xeffffffb, [NS_TIME] = 0xeffffffa
};
static u32 next_inum = 0xf0000002;
static const struct ns_kind_ops *kinds[NS_NR];

void ns_kind_register(enum ns_kind kind, const struct ns_kind_ops *ops)
{
	refcount_set(&ops->first->refs, 1);
	ops->first->kind = kind;
	ops->first->inum = first_inum[kind];
	ops->first->owner = &user_ns_first;
	kinds[kind] = ops;
}

const struct ns_kind_ops *ns_kind_ops(enum ns_kind kind)
{
	return kinds[kind];
}

void ns_init(struct ns *n, enum ns_kind kind, struct user_ns *owner)
{
	refcount_set(&n->refs, 1);
	n->kind = kind;
	n->inum = __atomic_fetch_add(&next_inum, 1, __ATOMIC_RELAXED);
	n->owner = owner;
	user_ns_get(owner);
}

void ns_get(struct ns *n)
{
	refcount_inc(&n->refs);
}

void ns_put(struct ns *n)
{
	struct user_ns *owner;

	if (!n || !refcount_dec_and_test(&n->refs))
		return;
	owner = n->owner;
	if (n->counts)
		ns_limit_uncharge(owner, n->maker, n->kind);
	kinds[n->kind]->free(n);
	user_ns_put(owner);
}

static struct ns *of_set(const struct ns_set *s, enum ns_kind kind)
{
	return s ? s->of[kind] : kinds[kind] ? kinds[kind]->first : NULL;
}

struct ns *ns_current(enum ns_kind kind)
{
	return of_set(current->ns, kind);
}

struct ns *ns_of_set(struct task *t, enum ns_kind kind)
{
	return of_set(t->ns, kind);
}

struct ns *ns_of_task(struct task *t, enum ns_kind kind)
{
	struct ns *n;
	ulong irq;

	if (kind == NS_USER) {
		rcu_read_lock();
		n = &rcu_deref(t->cred)->user_ns->ns;
		ns_get(n);
		rcu_read_unlock();
		return n;
	}
	irq = spin_lock_irqsave(&t->lock);
	n = t->flags & TASK_F_EXITING && !t->ns ? NULL : of_set(t->ns, kind);
	if (n)
		ns_get(n);
	spin_unlock_irqrestore(&t->lock, irq);
	return n;
}

/* ---- sets ---- */

void ns_set_drop(struct ns_set *s)
{
	if (!s || !refcount_dec_and_test(&s->refs))
		return;
	for (int k = 0; k < NS_IN_SET; k++)
		ns_put(s->of[k]);
	kfree(s);
}

/* A new one of this kind for t, counted for who makes it. */
static int make(enum ns_kind kind, struct ns *from, struct user_ns *owner, struct task *t, struct ns **out)
{
	kuid_t maker = current->cred->euid;
	int err = ns_limit_charge(owner, maker, kind);

	if (err)
		return err;
	err = kinds[kind]->copy(from, owner, t, out);
	if (err) {
		ns_limit_uncharge(owner, maker, kind);
		return err;
	}
	(*out)->maker = maker;
	(*out)->counts = true;
	return 0;
}

int ns_set_copy(u32 flags, struct user_ns *owner, struct task *t, struct ns_set **out)
{
	struct ns_set *s = kzalloc(sizeof(*s), ALLOC_CHARGED);
	int err = 0;

	if (!s)
		return -ENOMEM;
	refcount_set(&s->refs, 1);
	for (int k = 0; k < NS_IN_SET && !err; k++) { /* mounts come last: from there on nothing fails */
		struct ns *now = ns_current(k);

		if (!now)
			continue;
		if (flags & kinds[k]->flag) {
			err = make(k, now, owner, t, &s->of[k]);
		} else {
			ns_get(now);
			s->of[k] = now;
		}
	}
	if (err) {
		ns_set_drop(s);
		return err;
	}
	*out = s;
	return 0;
}

int ns_set_with(struct ns *n, struct ns_set **out)
{
	int err = ns_set_copy(0, NULL, current, out);

	if (err)
		return err;
	ns_get(n);
	ns_put((*out)->of[n->kind]);
	(*out)->of[n->kind] = n;
	return 0;
}

void ns_set_share(struct task *child)
{
	struct ns_set *s = current->ns;

	if (s)
		refcount_inc(&s->refs);
	child->ns = s;
}

void ns_set_change(struct task *t, struct ns_set *s)
{
	ulong irq = spin_lock_irqsave(&t->lock);
	struct ns_set *old = t->ns;

	t->ns = s;
	spin_unlock_irqrestore(&t->lock, irq);
	ns_set_drop(old);
}
