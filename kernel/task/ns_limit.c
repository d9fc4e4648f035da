/* SPDX-License-Identifier: MIT
 *
 * Problem: who may make namespaces may make them without end, and who runs a machine may want none made at all.
 *
 * Idea: a user namespace has a limit a kind and counts, a user and kind, what was made in it. A new namespace counts
 * there, and for the owner of that user namespace in its parent, and so on up: who makes a namespace of his own does
 * not escape from his limits. Entries live as long as the user namespace they are in.
 *
 * Contract: task/user_ns.h; namespaces(7), "The /proc/sys/user directory".
 *
 * Locks: one spin lock to add an entry; they are read without, and the numbers are atomic.
 */
#include <alloc/slab.h>
#include <core/spin.h>
#include <lib/err.h>
#include <task/user_ns.h>

struct ns_count {
	struct ns_count *next;
	kuid_t uid;
	atomic_t used[NS_NR];
};

static struct spinlock lock = SPIN_INIT(RANK_LEAF_SPIN);

static struct ns_count *find(struct user_ns *in, kuid_t uid)
{
	struct ns_count *c = smp_load_acquire(&in->counts);

	while (c && !uid_eq(c->uid, uid))
		c = c->next;
	return c;
}

static struct ns_count *find_or_make(struct user_ns *in, kuid_t uid)
{
	struct ns_count *c = find(in, uid), *fresh;

	if (c)
		return c;
	fresh = kzalloc(sizeof(*fresh), ALLOC_CHARGED);
	if (!fresh)
		return NULL;
	fresh->uid = uid;
	spin_lock(&lock);
	c = find(in, uid);
	if (!c) {
		fresh->next = in->counts;
		smp_store_release(&in->counts, fresh);
		c = fresh;
		fresh = NULL;
	}
	spin_unlock(&lock);
	kfree(fresh);
	return c;
}

/* As far up as `end`, which is not counted. */
static void give_back(struct user_ns *in, kuid_t uid, enum ns_kind kind, const struct user_ns *end)
{
	for (; in != end; uid = in->owner, in = in->parent)
		atomic_sub(&find(in, uid)->used[kind], 1);
}

int ns_limit_charge(struct user_ns *in, kuid_t uid, enum ns_kind kind)
{
	struct user_ns *u = in;

	for (kuid_t who = uid; u; who = u->owner, u = u->parent) {
		struct ns_count *c = find_or_make(u, who);
		bool fits = c && (u32)atomic_add_return(&c->used[kind], 1) <= READ_ONCE(u->max[kind]);

		if (fits)
			continue;
		if (c)
			atomic_sub(&c->used[kind], 1);
		give_back(in, uid, kind, u);
		return c ? -ENOSPC : -ENOMEM;
	}
	return 0;
}

void ns_limit_uncharge(struct user_ns *in, kuid_t uid, enum ns_kind kind)
{
	give_back(in, uid, kind, NULL);
}

void ns_limit_free(struct user_ns *in)
{
	struct ns_count *c = in->counts, *next;

	for (; c; c = next) {
		next = c->next;
		kfree(c);
	}
}
