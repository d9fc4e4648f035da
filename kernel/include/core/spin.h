/* SPDX-License-Identifier: MIT
 *
 * Spin locks and sequence counts. A spin lock that an interrupt handler also takes is taken with
 * _irqsave everywhere. No sleeping, no resched_point and no user access (but _nofault) while one is
 * held.
 *
 * Each lock has a rank (core/lockrank.h). The debug build keeps the stack of held locks of each CPU
 * and panics when a lock is taken whose rank is not above all held ones (equal ranks: only with
 * spin_lock_nested, in address order).
 */
#ifndef CORE_SPIN_H
#define CORE_SPIN_H

#include <core/lockrank.h>
#include <lib/types.h>

struct spinlock {
	u32 ticket; /* next << 16 | owner */
#ifdef OSTROM_DEBUG
	u16 rank;
	u16 cpu; /* holder + 1 */
	const void *where;
#endif
};

#ifdef OSTROM_DEBUG
#define SPIN_INIT(r)                                                                                                   \
	{                                                                                                              \
		.rank = (r)                                                                                            \
	}
#else
#define SPIN_INIT(r)                                                                                                   \
	{                                                                                                              \
		0                                                                                                      \
	}
#endif

void spin_init(struct spinlock *l, enum lock_rank rank);
void spin_lock(struct spinlock *l);
bool __must_check spin_trylock(struct spinlock *l);
void spin_unlock(struct spinlock *l);
void spin_lock_nested(struct spinlock *l); /* a second lock of the same rank, at a higher address */
ulong __must_check spin_lock_irqsave(struct spinlock *l);
void spin_unlock_irqrestore(struct spinlock *l, ulong state);
bool spin_is_held(const struct spinlock *l); /* by this CPU, in the debug build; else: by anyone */
/* The bare ticket word, for locks inside packed structures (page-table pages); no rank. */
void spin_word_lock(u32 *word);
void spin_word_unlock(u32 *word);
/* The debug build's books, also for words and for interrupts (arch) and sleeps (task). */
#ifdef OSTROM_DEBUG
void lock_note_acquire(const void *lock, unsigned rank, bool nested);
void lock_note_release(const void *lock);
unsigned lock_irq_enter(void);
void lock_irq_exit(unsigned old);
void lock_assert_none(void); /* panics if this CPU holds a spin lock */
void shake_spin(void);       /* shake=: may linger (task/shake.c) */
#else
#define lock_note_acquire(lock, rank, nested) ((void)0)
#define lock_note_release(lock)               ((void)0)
#define lock_irq_enter()                      0U
#define lock_irq_exit(old)                    ((void)(old))
#define lock_assert_none()                    ((void)0)
#define shake_spin()                          ((void)0)
#endif
#define assert_held(l) assert(spin_is_held(l))

/* Readers retry; writers are serialised by a lock of their own. */
struct seqcount {
	u32 seq;
};
static inline u32 seq_read_begin(const struct seqcount *s)
{
	u32 v;

	while ((v = __atomic_load_n(&s->seq, __ATOMIC_ACQUIRE)) & 1)
		__builtin_ia32_pause();
	return v;
}
static inline bool seq_read_retry(const struct seqcount *s, u32 v)
{
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	return __atomic_load_n(&s->seq, __ATOMIC_RELAXED) != v;
}
static inline void seq_write_begin(struct seqcount *s)
{
	__atomic_store_n(&s->seq, s->seq + 1, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}
static inline void seq_write_end(struct seqcount *s)
{
	__atomic_store_n(&s->seq, s->seq + 1, __ATOMIC_RELEASE);
}

#endif
