/* SPDX-License-Identifier: MIT
 *
 * Atomic integers and reference counts over the compiler's __atomic builtins. Operations named plainly are
 * fully ordered; _relaxed ones order nothing. A refcount saturates instead of wrapping: an overflow leaks
 * the object and never frees it early.
 */
#ifndef LIB_ATOMIC_H
#define LIB_ATOMIC_H

#include <lib/types.h>

typedef struct {
	int v;
} atomic_t;
typedef struct {
	s64 v;
} atomic64_t;

#define ATOMIC_INIT(i)                                                                                                 \
	{                                                                                                              \
		(i)                                                                                                    \
	}

#define atomic_read(a)           __atomic_load_n(&(a)->v, __ATOMIC_RELAXED)
#define atomic_read_acquire(a)   __atomic_load_n(&(a)->v, __ATOMIC_ACQUIRE)
#define atomic_set(a, i)         __atomic_store_n(&(a)->v, (i), __ATOMIC_RELAXED)
#define atomic_set_release(a, i) __atomic_store_n(&(a)->v, (i), __ATOMIC_RELEASE)
#define atomic_add_return(a, i)  __atomic_add_fetch(&(a)->v, (i), __ATOMIC_SEQ_CST)
#define atomic_fetch_add(a, i)   __atomic_fetch_add(&(a)->v, (i), __ATOMIC_SEQ_CST)
#define atomic_sub_return(a, i)  __atomic_sub_fetch(&(a)->v, (i), __ATOMIC_SEQ_CST)
#define atomic_add(a, i)         ((void)atomic_add_return(a, i))
#define atomic_sub(a, i)         ((void)atomic_sub_return(a, i))
#define atomic_inc(a)            atomic_add(a, 1)
#define atomic_dec(a)            atomic_sub(a, 1)
#define atomic_dec_and_test(a)   (atomic_sub_return(a, 1) == 0)
#define atomic_or(a, i)          ((void)__atomic_fetch_or(&(a)->v, (i), __ATOMIC_SEQ_CST))
#define atomic_xchg(a, i)        __atomic_exchange_n(&(a)->v, (i), __ATOMIC_SEQ_CST)

/* True if *a was old and is now new; otherwise *old holds what was found. */
#define atomic_try_cmpxchg(a, old, new)                                                                                \
	__atomic_compare_exchange_n(&(a)->v, (old), (new), false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED)

#define smp_mb()                __atomic_thread_fence(__ATOMIC_SEQ_CST)
#define smp_rmb()               __atomic_thread_fence(__ATOMIC_ACQUIRE)
#define smp_wmb()               __atomic_thread_fence(__ATOMIC_RELEASE)
#define smp_load_acquire(p)     __atomic_load_n((p), __ATOMIC_ACQUIRE)
#define smp_store_release(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)

/* Bit operations on an array of words, atomic by word. */
static inline bool atomic_test_and_set_bit(ulong *map, unsigned bit)
{
	ulong m = BIT(bit % 64);
	return __atomic_fetch_or(&map[bit / 64], m, __ATOMIC_SEQ_CST) & m;
}

typedef struct {
	atomic_t n;
} refcount_t;

#define REFCOUNT_SATURATED (1 << 30)

/* The debug build stops at the count of an object that has gone: 0, or what freed memory is filled with. */
static inline void refcount_check(const refcount_t *r)
{
#ifdef OSTROM_DEBUG
	int n = atomic_read(&r->n);

	if (unlikely(n <= 0 || n >> 24 == 0x6b))
		__builtin_trap();
#endif
}

static inline void refcount_set(refcount_t *r, int n)
{
	atomic_set(&r->n, n);
}

static inline void refcount_inc(refcount_t *r)
{
	refcount_check(r);
	if (unlikely(atomic_fetch_add(&r->n, 1) >= REFCOUNT_SATURATED))
		atomic_set(&r->n, REFCOUNT_SATURATED);
}

static inline bool refcount_is_shared(const refcount_t *r)
{
	return atomic_read(&r->n) > 1;
}

/* Takes a reference unless the count has already reached 0 (look-ups under RCU). */
static inline bool refcount_inc_not_zero(refcount_t *r)
{
	int old = atomic_read(&r->n);

	do {
		if (!old)
			return false;
	} while (!atomic_try_cmpxchg(&r->n, &old, old + 1));
	return true;
}

/* True when this was the last reference: the caller destroys the object. */
static inline bool __must_check refcount_dec_and_test(refcount_t *r)
{
	refcount_check(r);
	if (unlikely(atomic_read(&r->n) >= REFCOUNT_SATURATED))
		return false;
	return atomic_dec_and_test(&r->n);
}

#endif
