/* SPDX-License-Identifier: MIT
 *
 * Problem: a thread of high priority that waits for a lock waits for whoever runs instead of the lock's holder. Locks
 * of this kind name their holder, so that it can run at the priority of the most urgent one that waits for it.
 *
 * Idea: the word holds the holder's number, 0 when free; FUTEX_WAITERS sends its unlocking into the kernel, which hands
 * the lock to the most urgent waiter at once. 0 --lock (program)--> TID --lock (kernel)--> TID|WAITERS --unlock
 * (kernel)--> next TID|WAITERS, or 0 holder ends --> each waiter looks again; the first takes TID|OWNER_DIED A waiter
 * hangs in the futex hash (bitset 0, so plain wakes leave it alone) and on its holder, task->pi_waiters. A holder's
 * priority is the highest of those, and so on along the chain of holders that wait themselves; a chain that comes back
 * to the caller is a deadlock.
 *
 * Contract: futex(2), FUTEX_LOCK_PI, FUTEX_LOCK_PI2, FUTEX_TRYLOCK_PI, FUTEX_UNLOCK_PI; condition variables of such
 * locks: FUTEX_WAIT_REQUEUE_PI waits at one word until FUTEX_CMP_REQUEUE_PI gives it the lock or queues it there.
 *
 * Locks: the bucket's (word and queue), then pi_lock (RANK_PI: who waits for whom, over all locks).
 */
#include <arch/user.h>
#include <core/clock.h>
#include <linux/futex.h>
#include <linux/sched.h>
#include "futex_priv.h"

#define MAX_CHAIN 64

struct pi_waiter {
	struct futex_waiter w;
	struct pi_waiter *next; /* on its holder */
	struct task *holder;    /* counted; NULL: the lock is ours, or its holder has ended */
	u32 dead;               /* the number of a holder that ended, 0: none */
};

static struct spinlock pi_lock = SPIN_INIT(RANK_PI);

/* ---- who waits for whom: pi_lock held ---------------------------------------------------------------------------- */

static u8 level_of(const struct task *t)
{
	bool rt = t->policy == SCHED_FIFO || t->policy == SCHED_RR;

	return max(rt ? t->rt_priority : (u8)0, t->boost);
}

/* Gives t the priority that its waiters need, and so on along the chain. */
static void boost_chain(struct task *t)
{
	for (int n = 0; t && n < MAX_CHAIN; n++) {
		u8 most = 0;

		for (struct pi_waiter *w = t->pi_waiters; w; w = w->next)
			most = max(most, level_of(w->w.task));
		if (most == t->boost)
			return;
		sched_boost(t, most);
		t = t->pi_wait ? t->pi_wait->holder : NULL;
	}
}

static bool chain_reaches(struct task *t, const struct task *end)
{
	for (int n = 0; t && n < MAX_CHAIN; n++) {
		if (t == end)
			return true;
		t = t->pi_wait ? t->pi_wait->holder : NULL;
	}
	return false;
}

static void hang_on(struct pi_waiter *w, struct task *holder)
{
	task_get(holder);
	w->holder = holder;
	w->next = holder->pi_waiters;
	holder->pi_waiters = w;
	boost_chain(holder);
}

static void unhang(struct pi_waiter *w)
{
	struct task *holder = w->holder;
	struct pi_waiter **at;

	if (!holder)
		return;
	for (at = &holder->pi_waiters; *at != w; at = &(*at)->next)
		;
	*at = w->next;
	w->holder = NULL;
	boost_chain(holder);
	task_put(holder);
}

/* ---- the queue of one lock: its bucket locked ----------------------------------------------------------------------
 */

static bool waits_for_lock(const struct futex_waiter *w, const struct futex_key *k)
{
	return !w->bitset && !w->lock && futex_key_same(&w->key, k);
}

static struct pi_waiter *first_waiter(struct futex_bucket *b, const struct futex_key *k)
{
	struct futex_waiter *w, *best = NULL;

	list_for_each_entry (w, &b->waiters, link)
		if (waits_for_lock(w, k) && (!best || level_of(w->task) > level_of(best->task)))
			best = w;
	return best ? container_of(best, struct pi_waiter, w) : NULL;
}

/* Those that still wait wait for t from now on. */
static void rehang_all(struct futex_bucket *b, const struct futex_key *k, struct task *t)
{
	struct futex_waiter *w;

	spin_lock(&pi_lock);
	list_for_each_entry (w, &b->waiters, link)
		if (waits_for_lock(w, k)) {
			struct pi_waiter *p = container_of(w, struct pi_waiter, w);

			unhang(p);
			hang_on(p, t);
		}
	spin_unlock(&pi_lock);
}

/* Changes the word from `old`. 0, -EAGAIN: it has another value, -EFAULT. */
static int change(u32 __user *addr, u32 old, u32 new)
{
	u32 found;

	if (user_cmpxchg_u32_nofault(addr, old, new, &found))
		return -EFAULT;
	return found == old ? 0 : -EAGAIN;
}

/* ---- locking
 * --------------------------------------------------------------------------------------------------------- */

static int take(const struct futex_call *f, struct futex_bucket *b, struct pi_waiter *w, u32 word, u32 me)
{
	u32 died = w->dead ? FUTEX_OWNER_DIED : word & FUTEX_OWNER_DIED;
	u32 others = first_waiter(b, &w->w.key) ? FUTEX_WAITERS : 0;
	int err = change(f->addr, word, me | died | others);

	if (!err)
		rehang_all(b, &w->w.key, current);
	return err;
}

/* Queues w, which is in no bucket, behind the holder. -EDEADLK, -EBUSY: it ends. */
static int queue_behind(struct task *holder, struct futex_bucket *b, struct pi_waiter *w)
{
	int err = 0;

	spin_lock(&pi_lock);
	if (chain_reaches(holder, w->w.task))
		err = -EDEADLK;
	else if (holder->flags & TASK_F_EXITING) /* futex_pi_exit looks after this flag is set */
		err = -EBUSY;
	if (!err) {
		list_add_tail(&w->w.link, &b->waiters);
		w->w.task->pi_wait = w;
		hang_on(w, holder);
		smp_store_release(&w->w.bucket, b);
	}
	spin_unlock(&pi_lock);
	return err;
}

/* The task that a word names, counted. */
static int find_holder(u32 word, struct task **out)
{
	*out = task_find_get(word & FUTEX_TID_MASK);
	if (!*out)
		return -ESRCH;
	if ((*out)->process)
		return 0;
	task_put(*out);
	return -EPERM;
}

static int join(const struct futex_call *f, struct futex_bucket *b, struct pi_waiter *w, u32 word)
{
	struct task *holder;
	int err = find_holder(word, &holder);

	if (err)
		return err;
	if (!(word & FUTEX_WAITERS))
		err = change(f->addr, word, word | FUTEX_WAITERS);
	if (!err)
		err = queue_behind(holder, b, w);
	task_put(holder);
	return err;
}

/* One look at the word. 0: the lock is ours; -EINPROGRESS: w is queued; -EAGAIN, -EBUSY: look again; -EALREADY: it has
 * a holder; others are final. */
static int look(const struct futex_call *f, struct pi_waiter *w, bool try)
{
	struct futex_bucket *b = futex_bucket_of(&w->w.key);
	u32 me = pid_nr(current->pid), word, tid;
	int err;

	spin_lock(&b->lock);
	err = user_load_u32_nofault(f->addr, &word) ? -EFAULT : 0;
	tid = word & FUTEX_TID_MASK;
	if (err)
		;
	else if (tid == me)
		err = -EDEADLK;
	else if (!tid || tid == w->dead)
		err = take(f, b, w, word, me);
	else if (try)
		err = -EALREADY;
	else
		err = join(f, b, w, word) ?: -EINPROGRESS;
	spin_unlock(&b->lock);
	if (err == -EFAULT && !user_fault_in(f->addr, sizeof(u32), true))
		err = -EAGAIN;
	return err;
}

/* Ends a wait. True: the lock was given to us, or its holder has ended (w->dead). */
static bool leave(struct pi_waiter *w)
{
	struct futex_bucket *b = futex_bucket_of(&w->w.key);
	bool woken;

	spin_lock(&b->lock);
	woken = !w->w.bucket;
	if (!woken) {
		list_del(&w->w.link);
		w->w.bucket = NULL;
	}
	spin_lock(&pi_lock);
	current->pi_wait = NULL;
	unhang(w);
	spin_unlock(&pi_lock);
	spin_unlock(&b->lock);
	return woken;
}

/* The holder ends, even if we are more urgent. */
static void let_it_end(void)
{
	sched_nap(NSEC_PER_MSEC);
}

static int lock_slowly(const struct futex_call *f, struct pi_waiter *w, bool try)
{
	for (;;) {
		int err = look(f, w, try);

		if (err == -EAGAIN || err == -EBUSY) {
			if (err == -EBUSY)
				let_it_end();
			resched_point();
			if (fatal_signal_pending(current))
				return -EINTR;
			continue;
		}
		if (err == -EALREADY)
			return -EAGAIN;
		if (err != -EINPROGRESS)
			return err;
		w->dead = 0;
		err = futex_sleep_until_woken(&w->w, 1, f->deadline_ns);
		if (!leave(w))
			return err == -EINTR ? -ERESTARTNOINTR : err;
		if (!w->dead)
			return 0;
	}
}

int futex_lock_pi(const struct futex_call *f, bool try)
{
	struct pi_waiter w = { .w.task = current };
	int err = futex_key_get(f->addr, f->private, &w.w.key, &w.w.held);

	if (err)
		return err;
	err = lock_slowly(f, &w, try);
	futex_key_drop(w.w.held);
	return err;
}

/* ---- unlocking
 * ------------------------------------------------------------------------------------------------------- */

static int hand_over(const struct futex_call *f, struct futex_bucket *b, const struct futex_key *k)
{
	struct pi_waiter *next = first_waiter(b, k);
	struct task *t = next ? next->w.task : NULL;
	u32 word, new = t ? (u32)pid_nr(t->pid) | FUTEX_WAITERS : 0;
	int err;

	if (user_load_u32_nofault(f->addr, &word))
		return -EFAULT;
	if ((word & FUTEX_TID_MASK) != (u32)pid_nr(current->pid))
		return -EPERM;
	err = change(f->addr, word, new);
	if (err || !t)
		return err;
	spin_lock(&pi_lock);
	unhang(next);
	spin_unlock(&pi_lock);
	task_get(t);
	futex_wake_waiter(&next->w);
	rehang_all(b, k, t);
	task_put(t);
	return 0;
}

int futex_unlock_pi(const struct futex_call *f)
{
	struct futex_bucket *b;
	struct mapping *held;
	struct futex_key k;
	int err = futex_key_get(f->addr, f->private, &k, &held);

	if (err)
		return err;
	b = futex_bucket_of(&k);
	do {
		spin_lock(&b->lock);
		err = hand_over(f, b, &k);
		spin_unlock(&b->lock);
		if (err == -EFAULT && !user_fault_in(f->addr, sizeof(u32), true))
			err = -EAGAIN;
	} while (err == -EAGAIN);
	futex_key_drop(held);
	return err;
}

/* ---- condition variables: waiters of one word are moved to a lock ------------------------------------------------ */

/* w leaves the first word, where nobody has moved it. False: it has been moved, or has the lock. */
static bool leave_first(struct pi_waiter *w)
{
	struct futex_bucket *b;

	while ((b = smp_load_acquire(&w->w.bucket))) {
		bool here, first;

		spin_lock(&b->lock);
		here = w->w.bucket == b;
		first = here && w->w.lock;
		if (first) {
			list_del(&w->w.link);
			w->w.bucket = NULL;
		}
		spin_unlock(&b->lock);
		if (here)
			return first;
	}
	return false;
}

/* After the sleep at the first word, which ended with err. */
static int after_move(const struct futex_call *f, struct pi_waiter *w, int err)
{
	struct futex_call lock = *f;

	if (leave_first(w))
		return err == -EINTR ? -ERESTARTNOINTR : err;
	if (leave(w)) {
		lock.addr = f->addr2;
		err = w->dead ? lock_slowly(&lock, w, false) : 0;
	}
	return err == -EINTR || err == -ERESTARTNOINTR ? -EAGAIN : err; /* the word has changed: no second try */
}

int futex_wait_requeue_pi(const struct futex_call *f)
{
	struct pi_waiter w = { .w.task = current };
	struct futex_pair p;
	int err = futex_pair_begin(f, &p);

	if (err)
		return err;
	w.w.key = p.k1;
	w.w.lock = &p.k2;
	err = futex_key_same(&p.k1, &p.k2) ? -EINVAL : futex_enqueue(&w.w, f->addr, f->val);
	if (!err)
		err = after_move(f, &w, futex_sleep_until_woken(&w.w, 1, f->deadline_ns));
	futex_pair_end(&p);
	return err;
}

/* The most urgent one at the first word. NULL: none. -EINVAL: they wait for something else. */
static int first_to_move(struct futex_pair *p, struct pi_waiter **out)
{
	struct futex_waiter *w, *best = NULL;

	list_for_each_entry (w, &p->b1->waiters, link) {
		if (!futex_key_same(&w->key, &p->k1))
			continue;
		if (w->bitset || !w->lock || !futex_key_same(w->lock, &p->k2))
			return -EINVAL;
		if (!best || level_of(w->task) > level_of(best->task))
			best = w;
	}
	*out = best ? container_of(best, struct pi_waiter, w) : NULL;
	return 0;
}

/* The lock is free: w has it from now on. */
static int give_lock(const struct futex_call *f, struct futex_pair *p, struct pi_waiter *w, u32 word)
{
	struct task *t = w->w.task;
	u32 others = f->val2 || first_waiter(p->b2, &p->k2) ? FUTEX_WAITERS : 0;
	int err = change(f->addr2, word, (u32)pid_nr(t->pid) | (word & FUTEX_OWNER_DIED) | others);

	if (err)
		return err;
	w->w.key = p->k2;
	w->w.lock = NULL;
	task_get(t);
	futex_wake_waiter(&w->w);
	rehang_all(p->b2, &p->k2, t);
	task_put(t);
	return 0;
}

static int move_behind(struct task *holder, struct futex_pair *p, struct pi_waiter *w)
{
	const struct futex_key *lock = w->w.lock;
	int err;

	list_del(&w->w.link);
	w->w.key = p->k2;
	w->w.lock = NULL;
	err = queue_behind(holder, p->b2, w);
	if (err) { /* back to where it was */
		w->w.key = p->k1;
		w->w.lock = lock;
		list_add(&w->w.link, &p->b1->waiters);
	}
	return err;
}

/* Moves up to `most` waiters behind the holder. How many, or why the first could not be. */
static int move_all(struct futex_pair *p, struct task *holder, u64 most)
{
	struct pi_waiter *w;
	u64 moved = 0;
	int err = 0;

	while (moved < most && !err) {
		err = first_to_move(p, &w);
		if (err || !w)
			break;
		err = move_behind(holder, p, w);
		moved += !err;
	}
	return moved ? (int)moved : err;
}

/* One look at both words, locked. -EAGAIN: the first has another value; -EBUSY, -EFAULT: look again. */
static int requeue_locked(const struct futex_call *f, struct futex_pair *p)
{
	struct task *holder;
	struct pi_waiter *w;
	int err, n = 0;
	u32 now, word;

	if (user_load_u32_nofault(f->addr, &now) || user_load_u32_nofault(f->addr2, &word))
		return -EFAULT;
	if (now != f->val3)
		return -EAGAIN;
	err = first_to_move(p, &w);
	if (err || !w)
		return err;
	if (word & FUTEX_TID_MASK) {
		err = find_holder(word, &holder);
	} else {
		holder = w->w.task;
		task_get(holder);
		err = give_lock(f, p, w, word);
		if (err)
			task_put(holder);
		n = 1;
	}
	if (err)
		return err == -EAGAIN ? -EBUSY : err;
	if (!n && !(word & FUTEX_WAITERS))
		err = change(f->addr2, word, word | FUTEX_WAITERS);
	if (err)
		err = err == -EAGAIN ? -EBUSY : err;
	else
		err = move_all(p, holder, (u64)f->val2 + 1 - n);
	task_put(holder);
	return n && err < 0 ? n : err + n;
}

int futex_requeue_pi(const struct futex_call *f)
{
	struct futex_pair p;
	int err;

	if (f->val != 1 || (int)f->val2 < 0)
		return -EINVAL;
	err = futex_pair_begin(f, &p);
	if (err)
		return err;
	if (futex_key_same(&p.k1, &p.k2))
		err = -EINVAL;
	for (bool again = !err; again && !fatal_signal_pending(current);) {
		futex_pair_lock(&p);
		err = requeue_locked(f, &p);
		futex_pair_unlock(&p);
		again = err == -EBUSY || (err == -EFAULT && !user_fault_in(f->addr, sizeof(u32), false) &&
					  !user_fault_in(f->addr2, sizeof(u32), true));
		if (err == -EBUSY)
			let_it_end();
	}
	futex_pair_end(&p);
	return err;
}

/* ---- the end of a holder
 * ----------------------------------------------------------------------------------------------- */

/* Wakes one of those that wait for current. pi_lock is inside the buckets', so it is found first and locked then. */
static bool wake_one_orphan(u32 tid)
{
	struct futex_bucket *b = NULL;
	struct futex_key key;
	struct pi_waiter *w;

	spin_lock(&pi_lock);
	w = current->pi_waiters;
	if (w) {
		key = w->w.key;
		b = futex_bucket_of(&key);
	}
	spin_unlock(&pi_lock);
	if (!b)
		return false;
	spin_lock(&b->lock);
	w = first_waiter(b, &key);
	if (w && w->holder == current) {
		spin_lock(&pi_lock);
		w->dead = tid;
		unhang(w);
		spin_unlock(&pi_lock);
		futex_wake_waiter(&w->w);
	}
	spin_unlock(&b->lock);
	return true;
}

void futex_pi_exit(void)
{
	while (wake_one_orphan(pid_nr(current->pid)))
		;
}
