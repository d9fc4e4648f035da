/* SPDX-License-Identifier: MIT
 *
 * Problem: permission checks read identities constantly, everywhere, while they change rarely.
 *
 * Idea: a published struct cred never changes. Who wants to change copies it, edits the copy and commits it; readers
 * keep the one that they hold a reference to, or read the task's pointer under RCU.
 *
 * Contract: task/cred.h.
 *
 * Locks: none; task->cred is written by its own task only.
 */
#include <alloc/slab.h>
#include <core/rcu.h>
#include <lib/list.h>
#include <linux/capability.h>
#include <task/task.h>

#include "task_priv.h"

/* The first credentials: root with every capability; never freed. */
struct cred cred_root = {
	.refs = { ATOMIC_INIT(2) },
	.cap_effective = BIT(CAP_LAST_CAP + 1) - 1,
	.cap_permitted = BIT(CAP_LAST_CAP + 1) - 1,
	.cap_bounding = BIT(CAP_LAST_CAP + 1) - 1,
};

struct dying { /* what is freed after a grace period */
	struct rcu_head rcu;
	struct cred *cred;
};

void cred_get(struct cred *c)
{
	refcount_inc(&c->refs);
}

static void free_cred(struct cred *c)
{
	if (c->groups && refcount_dec_and_test(&c->groups->refs))
		kfree(c->groups);
	kfree(c);
}

static void free_later(struct rcu_head *head)
{
	struct dying *d = container_of(head, struct dying, rcu);

	free_cred(d->cred);
	kfree(d);
}

void cred_put(struct cred *c)
{
	struct dying *d;

	if (!refcount_dec_and_test(&c->refs))
		return;
	/* Readers of task->cred under RCU may still look at it. Without memory for the note it is leaked, not freed
	 * early. */
	d = kmalloc(sizeof(*d), ALLOC_ATOMIC);
	if (!d)
		return;
	d->cred = c;
	rcu_call(&d->rcu, free_later);
}

struct cred *cred_prepare(void)
{
	struct cred *c = kmalloc(sizeof(*c), ALLOC_KERNEL);

	if (!c)
		return NULL;
	*c = *current->cred;
	refcount_set(&c->refs, 1);
	if (c->groups)
		refcount_inc(&c->groups->refs);
	return c;
}

void cred_commit(struct cred *c)
{
	struct cred *old = current->cred;

	rcu_assign(current->cred, c);
	cred_put(old);
}

bool capable(int cap)
{
	return current->cred->cap_effective >> cap & 1;
}

bool in_group(const struct cred *c, kgid_t g)
{
	if (gid_eq(c->fsgid, g))
		return true;
	for (u32 i = 0; c->groups && i < c->groups->count; i++)
		if (gid_eq(c->groups->ids[i], g))
			return true;
	return false;
}
