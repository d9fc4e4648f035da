/* SPDX-License-Identifier: MIT
 *
 * Problem: mutual exclusion between CPUs, fair under contention; and in the debug build, proof that
 * locks nest in one order.
 *
 * Idea: ticket locks (D. Reed and R. Kanodia, 1979): the upper half of the word is the next ticket,
 * the lower half the one being served. The debug build keeps each CPU's stack of held locks and
 * compares ranks; an interrupt starts on a fresh base, since what it interrupted cannot wait for
 * it.
 *
 * Contract: core/spin.h.
 *
 * Locks: this is them.
 */
#include <arch/cpu.h>
#include <core/log.h>
#include <core/spin.h>

#ifdef OSTROM_DEBUG

#define MAX_HELD 16

struct held {
	unsigned count, base;
	struct {
		const void *lock;
		unsigned rank;
	} at[MAX_HELD];
};
static DEFINE_PER_CPU(struct held, held);

static const char *const rank_names[] = { "none",
#define RANK_NAME_(name, kind, what) #name,
					  LOCK_RANKS(RANK_NAME_) };

void lock_note_acquire(const void *lock, unsigned rank, bool nested)
{
	ulong flags = irq_save();
	struct held *h = this_cpu_ptr(&held);

	for (unsigned i = h->base; i < h->count; i++) {
		unsigned other = h->at[i].rank;

		if (h->at[i].lock == lock)
			panic("lock %s taken twice by CPU %u", rank_names[rank], cpu_id());
		if (other > rank || (other == rank && !nested))
			panic("lock order: %s taken while %s is held", rank_names[rank], rank_names[other]);
	}
	if (h->count == MAX_HELD)
		panic("more than %d spin locks held", MAX_HELD);
	h->at[h->count].lock = lock;
	h->at[h->count++].rank = rank;
	irq_restore(flags);
}

void lock_note_release(const void *lock)
{
	ulong flags = irq_save();
	struct held *h = this_cpu_ptr(&held);
	unsigned i = h->count;

	while (i-- > h->base) {
		if (h->at[i].lock != lock)
			continue;
		h->count--;
		for (; i < h->count; i++)
			h->at[i] = h->at[i + 1];
		irq_restore(flags);
		return;
	}
	panic("a lock is released that this CPU does not hold");
}

unsigned lock_irq_enter(void)
{
	struct held *h = this_cpu_ptr(&held);
	unsigned old = h->base;

	h->base = h->count;
	return old;
}

void lock_irq_exit(unsigned old)
{
	this_cpu_ptr(&held)->base = old;
}

void lock_assert_none(void)
{
	struct held *h = this_cpu_ptr(&held);

	if (h->count > h->base)
		panic("sleeping with lock %s held", rank_names[h->at[h->count - 1].rank]);
}

static void note_owner(struct spinlock *l, const void *where)
{
	l->cpu = (u16)(cpu_id() + 1);
	l->where = where;
}

bool spin_is_held(const struct spinlock *l)
{
	return l->cpu == cpu_id() + 1;
}
#else
bool spin_is_held(const struct spinlock *l)
{
	return (l->ticket >> 16) != (l->ticket & 0xffff);
}
#endif

void spin_word_lock(u32 *word)
{
	u32 got = __atomic_fetch_add(word, 0x10000, __ATOMIC_ACQUIRE);
	u16 mine = (u16)(got >> 16);

	if (likely((u16)got == mine))
		return;
	while (__atomic_load_n((u16 *)word, __ATOMIC_ACQUIRE) != mine)
		cpu_relax();
}

void spin_word_unlock(u32 *word)
{
	u16 *owner = (u16 *)word;

	__atomic_store_n(owner, (u16)(*owner + 1), __ATOMIC_RELEASE);
}

void spin_init(struct spinlock *l, enum lock_rank rank)
{
	*l = (struct spinlock)SPIN_INIT(rank);
}

void spin_lock(struct spinlock *l)
{
#ifdef OSTROM_DEBUG
	shake_spin();
	lock_note_acquire(l, l->rank, false);
#endif
	spin_word_lock(&l->ticket);
#ifdef OSTROM_DEBUG
	note_owner(l, __builtin_return_address(0));
#endif
}

void spin_lock_nested(struct spinlock *l)
{
#ifdef OSTROM_DEBUG
	lock_note_acquire(l, l->rank, true);
#endif
	spin_word_lock(&l->ticket);
#ifdef OSTROM_DEBUG
	note_owner(l, __builtin_return_address(0));
#endif
}

bool spin_trylock(struct spinlock *l)
{
	u32 old = __atomic_load_n(&l->ticket, __ATOMIC_RELAXED);

	if (old >> 16 != (old & 0xffff) ||
	    !__atomic_compare_exchange_n(&l->ticket, &old, old + 0x10000, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
		return false;
#ifdef OSTROM_DEBUG
	lock_note_acquire(l, l->rank, true);
	note_owner(l, __builtin_return_address(0));
#endif
	return true;
}

void spin_unlock(struct spinlock *l)
{
#ifdef OSTROM_DEBUG
	l->cpu = 0;
	lock_note_release(l);
#endif
	spin_word_unlock(&l->ticket);
}

ulong spin_lock_irqsave(struct spinlock *l)
{
	ulong flags = irq_save();

	spin_lock(l);
	return flags;
}

void spin_unlock_irqrestore(struct spinlock *l, ulong flags)
{
	spin_unlock(l);
	irq_restore(flags);
}
