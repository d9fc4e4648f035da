/* SPDX-License-Identifier: MIT
 *
 * The words that every file uses: fixed-width integers, compiler attributes, and the few macros that
 * replace repeated expressions. Builds in the kernel (freestanding) and on the host.
 */
#ifndef LIB_TYPES_H
#define LIB_TYPES_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int8_t s8;
typedef int16_t s16;
typedef int32_t s32;
typedef int64_t s64;
typedef unsigned long ulong;

typedef u64 paddr_t; /* physical address, bytes */
typedef u64 pfn_t;   /* physical page number */

#ifdef __OSTROM_KERNEL__
typedef long ssize_t;
typedef s64 off_t;
#else
#include <sys/types.h>
#endif

#define PAGE_SHIFT 12
#ifndef PAGE_SIZE
#define PAGE_SIZE 4096UL
#endif
#define PAGE_MASK (~(PAGE_SIZE - 1))

/* sparse: a __user pointer is never dereferenced, only handed to user_get/user_put and struct iter. */
#ifdef __CHECKER__
#define __user  __attribute__((noderef, address_space(1)))
#define __force __attribute__((force))
#else
#define __user
#define __force
#endif

#define __must_check __attribute__((warn_unused_result))
#define __packed     __attribute__((packed))
#define __aligned(n) __attribute__((aligned(n)))
#define __noreturn   __attribute__((noreturn))
#define __used       __attribute__((used))
#define __weak       __attribute__((weak))
#define __noinline   __attribute__((noinline))
#ifndef __always_inline
#define __always_inline inline __attribute__((always_inline))
#endif
#define __section(s)   __attribute__((section(s)))
#define __printf(f, a) __attribute__((format(printf, f, a)))
#define __cacheline    __aligned(64)

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

#define ARRAY_SIZE(a)         (sizeof(a) / sizeof((a)[0]))
#define BIT(n)                (1UL << (n))
#define container_of(p, t, m) ((t *)((char *)(p)-offsetof(t, m)))
#define ALIGN_UP(x, a)        (((x) + ((__typeof__(x))(a)-1)) & ~((__typeof__(x))(a)-1))
#define ALIGN_DOWN(x, a)      ((x) & ~((__typeof__(x))(a)-1))
#define IS_ALIGNED(x, a)      (((x) & ((__typeof__(x))(a)-1)) == 0)
#define DIV_ROUND_UP(n, d)    (((n) + (d)-1) / (d))

#define min(a, b)                                                                                                      \
	({                                                                                                             \
		__typeof__(a) a_ = (a);                                                                                \
		__typeof__(b) b_ = (b);                                                                                \
		a_ < b_ ? a_ : b_;                                                                                     \
	})
#define max(a, b)                                                                                                      \
	({                                                                                                             \
		__typeof__(a) a_ = (a);                                                                                \
		__typeof__(b) b_ = (b);                                                                                \
		a_ > b_ ? a_ : b_;                                                                                     \
	})
#define clamp(x, lo, hi) min(max(x, lo), hi)
#define swap(a, b)                                                                                                     \
	do {                                                                                                           \
		__typeof__(a) t_ = (a);                                                                                \
		(a) = (b);                                                                                             \
		(b) = t_;                                                                                              \
	} while (0)

#ifdef __SANITIZE_THREAD__ /* the tool takes no volatile access for a meeting of threads */
#define READ_ONCE(x)     __atomic_load_n(&(x), __ATOMIC_RELAXED)
#define WRITE_ONCE(x, v) __atomic_store_n(&(x), (v), __ATOMIC_RELAXED)
#else
#define READ_ONCE(x)     (*(const volatile __typeof__(x) *)&(x))
#define WRITE_ONCE(x, v) (*(volatile __typeof__(x) *)&(x) = (v))
#endif
#define barrier() __asm__ volatile("" ::: "memory")

#define NSEC_PER_SEC  1000000000ULL
#define NSEC_PER_MSEC 1000000ULL
#define NSEC_PER_USEC 1000ULL

#endif
