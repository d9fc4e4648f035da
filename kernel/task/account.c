/* SPDX-License-Identifier: MIT
 *
 * Problem: some old limits count what a user has in all of his processes.
 *
 * Idea: a small hash table from user to one number a kind. An entry is made at the first charge and stays: users are
 * few. Who charges remembers the user, since a process may change its own.
 *
 * Contract: task/account.h.
 *
 * Locks: one spin lock to add an entry; they are read without, and the numbers are atomic.
 */
#include <alloc/slab.h>
#include <core/spin.h>
#include <lib/err.h>
#include <task/account.h>

#define BUCKETS 64

struct account {
	struct account *next;
	kuid_t uid;
	atomic64_t used[ACCOUNT_KINDS];
};

static struct spinlock lock = SPIN_INIT(RANK_LEAF_SPIN);
static struct account *buckets[BUCKETS];

static struct account *find(kuid_t uid)
{
	struct account *a = smp_load_acquire(&buckets[uid.v % BUCKETS]);

	while (a && !uid_eq(a->uid, uid))
		a = a->next;
	return a;
}

static struct account *find_or_make(kuid_t uid)
{
	struct account **bucket = &buckets[uid.v % BUCKETS], *a = find(uid), *fresh;

	if (a)
		return a;
	fresh = kzalloc(sizeof(*fresh), ALLOC_ATOMIC);
	if (!fresh)
		return NULL;
	fresh->uid = uid;
	spin_lock(&lock);
	a = find(uid);
	if (!a) {
		fresh->next = *bucket;
		smp_store_release(bucket, fresh);
		a = fresh;
		fresh = NULL;
	}
	spin_unlock(&lock);
	kfree(fresh);
	return a;
}

int account_charge(kuid_t uid, enum account_kind kind, u64 n, u64 limit)
{
	struct account *a = find_or_make(uid);
	s64 now;

	if (!a)
		return -ENOMEM;
	now = atomic_add_return(&a->used[kind], n);
	if (now <= 0 || (u64)now <= limit) /* below 0: a charge that found no memory was given back */
		return 0;
	atomic_sub(&a->used[kind], n);
	return -EAGAIN;
}

void account_uncharge(kuid_t uid, enum account_kind kind, u64 n)
{
	struct account *a = find(uid);

	if (a)
		atomic_sub(&a->used[kind], n);
}

u64 account_read(kuid_t uid, enum account_kind kind)
{
	struct account *a = find(uid);

	return a ? max((s64)atomic_read(&a->used[kind]), (s64)0) : 0;
}
