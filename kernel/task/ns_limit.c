/* SPDX-License-Identifier: MIT
 *
 * Problem: who may make namespaces may make them without end, and who runs a machine may want none made at all.
 *
 * Idea: a user namespace has a limit a kind and counts, a user and kind, what was made in it. A new namespace counts
 * there, and for the owner of that user namespace in its parent, and so on up: who makes a namespace of his own does
 * not escape from his limits. An entry goes
 * with the last namespace that it counts, so that nobody pays for those who were here once.
 *
 * Contract: task/user_ns.h; namespaces(7), "The /proc/sys/user directory".
 *
 * Locks: one spin lock over all entries; namespaces also end in RCU callbacks.
 */
#include <alloc/slab.h>
#include <core/log.h>
#include <core/spin.h>
#include <lib/err.h>
#include <task/user_ns.h>

struct ns_count {
	struct ns_count *next;
	kuid_t uid;
	u32 used[NS_NR], all; /* all: their sum, never 0 */
};

static struct spinlock lock = SPIN_INIT(RANK_LEAF_SPIN);

/* Where the entry hangs, or could. */
static struct ns_count **find(struct user_ns *in, kuid_t uid)
{
	struct ns_count **at = &in->counts;

	assert_held(&lock);
	while (*at && !uid_eq((*at)->uid, uid))
		at = &(*at)->next;
	return at;
}

static int charge(struct user_ns *in, kuid_t uid, enum ns_kind kind)
{
	struct ns_count *fresh = kzalloc(sizeof(*fresh), ALLOC_CHARGED), **at;
	ulong irq;
	bool fits;

	if (!fresh)
		return -ENOMEM;
	fresh->uid = uid;
	irq = spin_lock_irqsave(&lock);
	at = find(in, uid);
	fits = (*at ? (*at)->used[kind] : 0) < READ_ONCE(in->max[kind]);
	if (fits && !*at) {
		*at = fresh;
		fresh = NULL;
	}
	if (fits) {
		(*at)->used[kind]++;
		(*at)->all++;
	}
	spin_unlock_irqrestore(&lock, irq);
	kfree(fresh);
	return fits ? 0 : -ENOSPC;
}

static void uncharge(struct user_ns *in, kuid_t uid, enum ns_kind kind)
{
	ulong irq = spin_lock_irqsave(&lock);
	struct ns_count **at = find(in, uid), *gone = NULL;

	(*at)->used[kind]--;
	if (!--(*at)->all) {
		gone = *at;
		*at = gone->next;
	}
	spin_unlock_irqrestore(&lock, irq);
	kfree(gone);
}

/* As far up as `end`, which is not counted. */
static void give_back(struct user_ns *in, kuid_t uid, enum ns_kind kind, const struct user_ns *end)
{
	for (; in != end; uid = in->owner, in = in->parent)
		uncharge(in, uid, kind);
}

int ns_limit_charge(struct user_ns *in, kuid_t uid, enum ns_kind kind)
{
	struct user_ns *u = in;

	for (kuid_t who = uid; u; who = u->owner, u = u->parent) {
		int err = charge(u, who, kind);

		if (!err)
			continue;
		give_back(in, uid, kind, u);
		return err;
	}
	return 0;
}

void ns_limit_uncharge(struct user_ns *in, kuid_t uid, enum ns_kind kind)
{
	give_back(in, uid, kind, NULL);
}
