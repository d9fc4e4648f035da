/* SPDX-License-Identifier: MIT
 *
 * Problem: user-space locks sleep in the kernel only when they must; between the program's look at a
 * word and its sleep, no wake may be lost.
 *
 * Idea: a hash table of buckets. A waiter locks the bucket, reads the word again, and queues itself
 * only if it still has the expected value; a waker takes the same lock. The word is read without
 * faulting under the lock; if it is not there, the lock is dropped, the page is faulted in, and all
 * starts again. The key is (address space, address) for private words, (mapping, page, offset) for
 * words in shared mappings.
 *
 * Contract: process/futex.h. A robust list is walked at a thread's end: locks it still holds are marked
 * FUTEX_OWNER_DIED (set_robust_list(2)).
 *
 * Locks: bucket->lock (RANK_FUTEX); two of them in address order for requeue and wake_op.
 */
#include "futex_priv.h"
#include <arch/user.h>
#include <linux/futex.h>
#include <linux/time_types.h>

#define BUCKETS 256

static struct futex_bucket buckets[BUCKETS];

void futex_init(void)
{
	for (unsigned i = 0; i < BUCKETS; i++) {
		spin_init(&buckets[i].lock, RANK_FUTEX);
		list_init(&buckets[i].waiters);
	}
}

struct futex_bucket *futex_bucket_of(const struct futex_key *k)
{
	u64 h = ((u64)k->object ^ k->where * 0x9e3779b97f4a7c15ULL) * 0x9e3779b97f4a7c15ULL;

	return &buckets[h >> 56];
}

int futex_key_get(u32 __user *addr, bool private, struct futex_key *k, struct mapping **held)
{
	struct mapping *map = NULL;
	ulong at = (ulong)addr;
	u64 index;
	u32 probe;
	int err;

	*held = NULL;
	if (at % sizeof(u32))
		return -EINVAL;
	if (at >= USER_END)
		return -EFAULT;
	*k = (struct futex_key){ current->mm, at };
	if (private)
		return 0;
	/* What is shared is named by its page, so there must be one. */
	if (user_load_u32_nofault(addr, &probe) && user_fault_in(addr, sizeof(probe), false))
		return -EFAULT;
	err = mm_locate(current->mm, at, &map, &index);
	if (err || !map)
		return err;
	*k = (struct futex_key){ map, index << PAGE_SHIFT | at % PAGE_SIZE };
	*held = map;
	return 0;
}

void futex_key_drop(struct mapping *held)
{
	if (held && held->ops->put)
		held->ops->put(held);
}

/* ---- waking ------------------------------------------------------------------------------------------ */

/* The bucket is locked. */
void futex_wake_waiter(struct futex_waiter *w)
{
	struct task *t = w->task;

	list_del(&w->link);
	task_get(t); /* with bucket NULL the waiter's stack may go */
	smp_store_release(&w->bucket, NULL);
	task_wake(t);
	task_put(t);
}

/* How many; -EINVAL: some wait there for what no plain wake gives. */
static int wake_locked(struct futex_bucket *b, const struct futex_key *k, u32 bitset, int nr)
{
	struct futex_waiter *w, *n;
	int woken = 0;

	list_for_each_entry_safe (w, n, &b->waiters, link) {
		if (woken >= nr)
			break;
		if (!futex_key_same(&w->key, k))
			continue;
		if (!w->bitset)
			return -EINVAL;
		if (!(w->bitset & bitset))
			continue;
		futex_wake_waiter(w);
		woken++;
	}
	return woken;
}

int futex_wake(const struct futex_call *f)
{
	struct mapping *held;
	struct futex_bucket *b;
	struct futex_key k;
	int err, woken;

	if (!f->bitset)
		return -EINVAL;
	err = futex_key_get(f->addr, f->private, &k, &held);
	if (err)
		return err;
	b = futex_bucket_of(&k);
	spin_lock(&b->lock);
	woken = wake_locked(b, &k, f->bitset, f->val);
	spin_unlock(&b->lock);
	futex_key_drop(held);
	return woken;
}

int futex_wake_addr(u32 __user *addr, int nr)
{
	struct futex_call f = { .addr = addr, .val = nr, .bitset = ~0U };

	return futex_wake(&f);
}

/* ---- waiting ------------------------------------------------------------------------------------------- */

int futex_enqueue(struct futex_waiter *w, u32 __user *addr, u32 val)
{
	struct futex_bucket *b = futex_bucket_of(&w->key);
	u32 now;

	for (;;) {
		int err;

		spin_lock(&b->lock);
		err = user_load_u32_nofault(addr, &now);
		if (!err)
			break;
		spin_unlock(&b->lock);
		if (user_fault_in(addr, sizeof(u32), false))
			return -EFAULT;
	}
	if (now == val) {
		w->bucket = b;
		list_add_tail(&w->link, &b->waiters);
	}
	spin_unlock(&b->lock);
	return now == val ? 0 : -EAGAIN;
}

/* Takes w out of whatever bucket it is in. True: it had been woken before. */
static bool dequeue(struct futex_waiter *w)
{
	struct futex_bucket *b;

	while ((b = smp_load_acquire(&w->bucket))) {
		spin_lock(&b->lock);
		if (w->bucket == b) { /* else it was requeued or woken meanwhile */
			list_del(&w->link);
			w->bucket = NULL;
			spin_unlock(&b->lock);
			return false;
		}
		spin_unlock(&b->lock);
	}
	return true;
}

int futex_sleep_until_woken(struct futex_waiter *w, unsigned n, u64 deadline_ns)
{
	for (;;) {
		bool queued = true;

		sched_set_state(TASK_INTERRUPTIBLE);
		for (unsigned i = 0; i < n; i++)
			queued &= READ_ONCE(w[i].bucket) != NULL;
		if (!queued || signal_pending(current)) {
			sched_set_state(TASK_RUNNING);
			return queued ? -EINTR : 0;
		}
		if (sched_sleep_until(deadline_ns) == -ETIME)
			return -ETIMEDOUT;
	}
}

static long wait_again(struct task *t)
{
	struct futex_call f = { .addr = (u32 __user *)t->restart.args[0],
				.val = t->restart.args[1],
				.bitset = t->restart.args[2],
				.private = t->restart.args[3],
				.deadline_ns = t->restart.deadline_ns,
				.relative = true };

	return futex_wait(&f);
}

static int interrupted(const struct futex_call *f)
{
	if (f->deadline_ns == ~0ULL || !f->relative)
		return -ERESTARTSYS;
	current->restart.fn = wait_again;
	current->restart.deadline_ns = f->deadline_ns;
	current->restart.args[0] = (ulong)f->addr;
	current->restart.args[1] = f->val;
	current->restart.args[2] = f->bitset;
	current->restart.args[3] = f->private;
	return -ERESTART_RESTARTBLOCK;
}

int futex_wait(const struct futex_call *f)
{
	struct futex_waiter w = { .task = current, .bitset = f->bitset };
	int err;

	if (!f->bitset)
		return -EINVAL;
	err = futex_key_get(f->addr, f->private, &w.key, &w.held);
	if (err)
		return err;
	err = futex_enqueue(&w, f->addr, f->val);
	if (!err) {
		err = futex_sleep_until_woken(&w, 1, f->deadline_ns);
		if (dequeue(&w))
			err = 0;
	}
	futex_key_drop(w.held);
	return err == -EINTR ? interrupted(f) : err;
}

int futex_wait_many(const struct futex_wait_one *list, unsigned n, u64 deadline_ns)
{
	struct futex_waiter *w = kcalloc(n, sizeof(*w), 0);
	int err = 0, result = -1;
	unsigned queued;

	if (!w)
		return -ENOMEM;
	for (queued = 0; queued < n; queued++) {
		w[queued].task = current;
		w[queued].bitset = ~0U;
		err = futex_key_get(list[queued].addr, list[queued].private, &w[queued].key, &w[queued].held);
		if (err)
			break;
		err = futex_enqueue(&w[queued], list[queued].addr, list[queued].val);
		if (err) {
			futex_key_drop(w[queued].held);
			break;
		}
	}
	if (!err)
		err = futex_sleep_until_woken(w, n, deadline_ns);
	for (unsigned i = 0; i < queued; i++) {
		if (dequeue(&w[i]) && result < 0)
			result = i;
		futex_key_drop(w[i].held);
	}
	kfree(w);
	return result >= 0 ? result : err == -EINTR ? -ERESTARTSYS : err;
}

/* ---- two words ------------------------------------------------------------------------------------------------ */

int futex_pair_begin(const struct futex_call *f, struct futex_pair *p)
{
	int err = futex_key_get(f->addr, f->private, &p->k1, &p->held1);

	if (err)
		return err;
	err = futex_key_get(f->addr2, f->private, &p->k2, &p->held2);
	if (err) {
		futex_key_drop(p->held1);
		return err;
	}
	p->b1 = futex_bucket_of(&p->k1);
	p->b2 = futex_bucket_of(&p->k2);
	return 0;
}

void futex_pair_lock(struct futex_pair *p)
{
	struct futex_bucket *low = min(p->b1, p->b2), *high = max(p->b1, p->b2);

	spin_lock(&low->lock);
	if (high != low)
		spin_lock_nested(&high->lock);
}

void futex_pair_unlock(struct futex_pair *p)
{
	if (p->b2 != p->b1)
		spin_unlock(&p->b2->lock);
	spin_unlock(&p->b1->lock);
}

void futex_pair_end(struct futex_pair *p)
{
	futex_key_drop(p->held1);
	futex_key_drop(p->held2);
}

/* Moves w to the second word. It keeps its reference of the first word's mapping; the second is kept by whoever will
 * wake it there (a word that nobody maps any more can only be left by a signal or the deadline). */
static void move_waiter(struct futex_waiter *w, struct futex_pair *p)
{
	list_del(&w->link);
	w->key = p->k2;
	list_add_tail(&w->link, &p->b2->waiters);
	smp_store_release(&w->bucket, p->b2);
}

int futex_requeue(const struct futex_call *f, bool compare)
{
	struct futex_waiter *w, *n;
	int woken, moved = 0;
	struct futex_pair p;
	u32 now;
	int err;

	if ((int)f->val < 0 || (int)f->val2 < 0)
		return -EINVAL;
	err = futex_pair_begin(f, &p);
	if (err)
		return err;
	for (;;) {
		futex_pair_lock(&p);
		err = compare ? user_load_u32_nofault(f->addr, &now) : 0;
		if (!err)
			break;
		futex_pair_unlock(&p);
		if (user_fault_in(f->addr, sizeof(u32), false)) {
			futex_pair_end(&p);
			return -EFAULT;
		}
	}
	if (compare && now != f->val3) {
		futex_pair_unlock(&p);
		futex_pair_end(&p);
		return -EAGAIN;
	}
	woken = wake_locked(p.b1, &p.k1, ~0U, f->val);
	list_for_each_entry_safe (w, n, &p.b1->waiters, link) {
		if (woken < 0 || moved >= (int)f->val2)
			break;
		if (!futex_key_same(&w->key, &p.k1))
			continue;
		if (w->bitset) {
			move_waiter(w, &p);
			moved++;
		} else {
			woken = -EINVAL;
		}
	}
	futex_pair_unlock(&p);
	futex_pair_end(&p);
	return woken < 0 ? woken : woken + moved;
}

static u32 op_result(u32 old, u32 encoded)
{
	int op = encoded >> 28 & 7;
	u32 arg = (encoded >> 12) & 0xfff;

	if (encoded & ((u32)FUTEX_OP_OPARG_SHIFT << 28))
		arg = 1U << (arg & 31);
	else if (arg & 0x800)
		arg |= 0xfffff000;
	switch (op) {
	case FUTEX_OP_SET: return arg;
	case FUTEX_OP_ADD: return old + arg;
	case FUTEX_OP_OR: return old | arg;
	case FUTEX_OP_ANDN: return old & ~arg;
	default: return old ^ arg;
	}
}

static bool op_compares(u32 old, u32 encoded)
{
	int cmp = encoded >> 24 & 15, arg = encoded & 0xfff;

	if (arg & 0x800)
		arg |= ~0xfff;
	switch (cmp) {
	case FUTEX_OP_CMP_EQ: return (int)old == arg;
	case FUTEX_OP_CMP_NE: return (int)old != arg;
	case FUTEX_OP_CMP_LT: return (int)old < arg;
	case FUTEX_OP_CMP_LE: return (int)old <= arg;
	case FUTEX_OP_CMP_GT: return (int)old > arg;
	default: return (int)old >= arg;
	}
}

/* Changes *addr by the operation; old value out. -EFAULT: not in memory. Locks held. */
static int apply_op(u32 __user *addr, u32 encoded, u32 *old)
{
	u32 found;

	if (user_load_u32_nofault(addr, old))
		return -EFAULT;
	for (;; *old = found) {
		if (user_cmpxchg_u32_nofault(addr, *old, op_result(*old, encoded), &found))
			return -EFAULT;
		if (found == *old)
			return 0;
	}
}

int futex_wake_op(const struct futex_call *f)
{
	struct futex_pair p;
	int err, woken, more = 0;
	u32 old;

	if ((f->val3 >> 28 & 7) > FUTEX_OP_XOR || (f->val3 >> 24 & 15) > FUTEX_OP_CMP_GE)
		return -ENOSYS;
	err = futex_pair_begin(f, &p);
	if (err)
		return err;
	for (;;) {
		futex_pair_lock(&p);
		err = apply_op(f->addr2, f->val3, &old);
		if (!err)
			break;
		futex_pair_unlock(&p);
		if (user_fault_in(f->addr2, sizeof(u32), true)) {
			futex_pair_end(&p);
			return -EFAULT;
		}
	}
	woken = wake_locked(p.b1, &p.k1, ~0U, f->val);
	if (woken >= 0 && op_compares(old, f->val3))
		more = wake_locked(p.b2, &p.k2, ~0U, f->val2);
	futex_pair_unlock(&p);
	futex_pair_end(&p);
	return more < 0 ? more : woken + more;
}

/* ---- robust lists ------------------------------------------------------------------------------------------------ */

/* The lock word of a list entry: if the dying thread holds it, the next one learns that its owner died. */
static void bury_lock(u32 __user *word, u32 tid, bool pending)
{
	u32 now, found;

	if ((ulong)word % sizeof(u32) || user_get(&now, word, sizeof(now)))
		return;
	if (pending && !now) { /* unlocked, but the wake was still owed */
		futex_wake_addr(word, 1);
		return;
	}
	while ((now & FUTEX_TID_MASK) == tid) {
		u32 dead = (now & FUTEX_WAITERS) | FUTEX_OWNER_DIED;

		if (user_cmpxchg_u32_nofault(word, now, dead, &found)) {
			if (user_fault_in(word, sizeof(u32), true))
				return;
			continue;
		}
		if (found == now) {
			if (now & FUTEX_WAITERS)
				futex_wake_addr(word, 1); /* those of a priority-inheriting lock: futex_pi_exit */
			return;
		}
		now = found;
	}
}

void futex_exit_robust(void)
{
	struct robust_list_head __user *head = current->robust_list;
	struct robust_list_head h;
	ulong at, next, pending;
	u32 tid = pid_nr(current->pid);

	current->robust_list = NULL;
	if (!head || user_get(&h, head, sizeof(h)))
		return;
	pending = (ulong)h.list_op_pending & ~1UL;
	at = (ulong)h.list.next;
	for (int limit = ROBUST_LIST_LIMIT; at != (ulong)head && limit; limit--, at = next) {
		ulong entry = at & ~1UL; /* bit 0: a priority-inheriting lock */

		if (user_get(&next, (const void __user *)entry, sizeof(next)))
			next = (ulong)head;
		if (entry != pending)
			bury_lock((u32 __user *)(entry + h.futex_offset), tid, false);
	}
	if (pending)
		bury_lock((u32 __user *)(pending + h.futex_offset), tid, true);
}
