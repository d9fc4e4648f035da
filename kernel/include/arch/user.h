/* SPDX-License-Identifier: MIT
 *
 * Access to user memory: the only door. Each function checks that the range lies below USER_END and survives faults.
 * Without _nofault it may sleep (the fault is handled); with it, a missing page is an error at once, so it may be
 * called with locks held (the caller then drops them, faults the page in by user_fault_in, and retries).
 */
#ifndef ARCH_USER_H
#define ARCH_USER_H

#include <lib/types.h>

/* Without _fixed: n was not known when this was compiled, so it is checked that the kernel's memory is what somebody
 * allocated for one purpose: not beyond the end of a slab object or of this thread's stack, and no text. Else the call
 * fails like a fault, the log says where (the debug build panics). */
int __must_check user_get_fixed(void *dst, const void __user *src, size_t n);
int __must_check user_put_fixed(void __user *dst, const void *src, size_t n);
int __must_check user_get_bytes(void *dst, const void __user *src, size_t n);
int __must_check user_put_bytes(void __user *dst, const void *src, size_t n);
int __must_check user_load_u64(const u64 __user *p, u64 *out);
int __must_check user_load_u32(const u32 __user *p, u32 *out);
int __must_check user_store_u64(u64 __user *p, u64 v);
int __must_check user_store_u32(u32 __user *p, u32 v);
int __must_check user_store_u16(u16 __user *p, u16 v);

/* 0 or -EFAULT. Most calls move one word, and then know that when they are compiled. */
static __always_inline int __must_check user_get(void *dst, const void __user *src, size_t n)
{
	if (__builtin_constant_p(n) && n == 8)
		return user_load_u64((const u64 __user *)src, (u64 *)dst);
	if (__builtin_constant_p(n) && n == 4)
		return user_load_u32((const u32 __user *)src, (u32 *)dst);
	return __builtin_constant_p(n) ? user_get_fixed(dst, src, n) : user_get_bytes(dst, src, n);
}

static __always_inline int __must_check user_put(void __user *dst, const void *src, size_t n)
{
	u64 word = 0;

	if (!__builtin_constant_p(n))
		return user_put_bytes(dst, src, n);
	if (n != 8 && n != 4 && n != 2)
		return user_put_fixed(dst, src, n);
	__builtin_memcpy(&word, src, n);
	if (n == 8)
		return user_store_u64((u64 __user *)dst, word);
	return n == 4 ? user_store_u32((u32 __user *)dst, word) : user_store_u16((u16 __user *)dst, word);
}

/* Bytes that were NOT copied, as the partial results of read and write need it. */
size_t __must_check user_copy_in(void *dst, const void __user *src, size_t n);
size_t __must_check user_copy_out(void __user *dst, const void *src, size_t n);
size_t __must_check user_copy_in_nofault(void *dst, const void __user *src, size_t n);
size_t __must_check user_copy_out_nofault(void __user *dst, const void *src, size_t n);
/* The kernel's memory lies within one page, as the caller has made sure: it is not checked. */
size_t __must_check user_copy_page_out(void __user *dst, const void *src, size_t n);
size_t __must_check user_copy_page_in_nofault(void *dst, const void __user *src, size_t n);
size_t __must_check user_copy_page_out_nofault(void __user *dst, const void *src, size_t n);
size_t __must_check user_clear(void __user *dst, size_t n);
/* Length without the terminator; max if there was none within max bytes; -EFAULT. dst is terminated if length < max. */
ssize_t __must_check user_get_string(char *dst, const char __user *src, size_t max);
/* Touches each page of the range for reading or writing. 0 or -EFAULT. */
int __must_check user_fault_in(const void __user *p, size_t n, bool write);
/* Kernel memory that may not be there, or be no address at all: the bytes that were NOT copied. */
size_t __must_check kernel_peek(void *dst, const void *src, size_t n);
/* Futex words. 0 or -EFAULT. */
int __must_check user_load_u32_nofault(const u32 __user *p, u32 *out);
int __must_check user_cmpxchg_u32_nofault(u32 __user *p, u32 old, u32 new, u32 *found);

#endif
