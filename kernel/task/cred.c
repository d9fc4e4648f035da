/* SPDX-License-Identifier: MIT
 *
 * Problem: a task's identity is read everywhere without locks and must never be seen half changed.
 *
 * Idea: structs of credentials do not change once a task uses them; a change copies, edits and
 * swaps the pointer. Old ones go after a grace period.
 *
 * Contract: task/cred.h.
 *
 * Locks: none; task->cred is written by its task only and read under RCU by others.
 */
#include <alloc/slab.h>
#include <core/rcu.h>
#include <lib/string.h>
#include <task/account.h>
#include <task/cred.h>
#include <task/task.h>
#include <task/user_ns.h>
#include "task_priv.h"

struct cred *cred_prepare(void)
{
	struct cred *c = kmalloc(sizeof(*c), ALLOC_CHARGED);

	if (!c)
		return NULL;
	*c = *current->cred;
	refcount_set(&c->refs, 1);
	if (c->groups)
		refcount_inc(&c->groups->refs);
	user_ns_get(c->user_ns);
	return c;
}

void cred_commit(struct cred *c)
{
	struct cred *old = current->cred;

	if (current->process && !uid_eq(old->uid, c->uid)) {
		(void)!account_charge(c->uid, ACCOUNT_TASKS, 1, ~0ULL);
		account_uncharge(old->uid, ACCOUNT_TASKS, 1);
	}
	rcu_assign(current->cred, c);
	cred_put(old);
}

void cred_get(struct cred *c)
{
	refcount_inc(&c->refs);
}

static void free_cred(struct rcu_head *head)
{
	struct cred *c = container_of(head, struct cred, rcu);

	if (c->groups && refcount_dec_and_test(&c->groups->refs))
		kfree(c->groups);
	user_ns_put(c->user_ns);
	kfree(c);
}

void cred_put(struct cred *c)
{
	if (c && refcount_dec_and_test(&c->refs))
		rcu_call(&c->rcu, free_cred);
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
