/* SPDX-License-Identifier: MIT
 *
 * Access to user memory: the only door. Each function checks that the range lies below USER_END and survives faults.
 * Without _nofault it may sleep (the fault is handled); with it, a missing page is an error at once, so it may be
 * called with locks held (the caller then drops them, faults the page in by user_fault_in, and retries).
 */
#ifndef ARCH_USER_H
#define ARCH_USER_H

#include <lib/types.h>

int __must_check user_get(void *dst, const void __user *src, size_t n); /* 0 or -EFAULT */
int __must_check user_put(void __user *dst, const void *src, size_t n);
/* Bytes that were NOT copied, as the partial results of read and write need it. */
size_t __must_check user_copy_in(void *dst, const void __user *src, size_t n);
size_t __must_check user_copy_out(void __user *dst, const void *src, size_t n);
size_t __must_check user_copy_in_nofault(void *dst, const void __user *src, size_t n);
size_t __must_check user_copy_out_nofault(void __user *dst, const void *src, size_t n);
size_t __must_check user_clear(void __user *dst, size_t n);
/* Length without the terminator; max if there was none within max bytes; -EFAULT. dst is terminated if length < max. */
ssize_t __must_check user_get_string(char *dst, const char __user *src, size_t max);
/* Touches each page of the range for reading or writing. 0 or -EFAULT. */
int __must_check user_fault_in(const void __user *p, size_t n, bool write);
/* Futex words. 0 or -EFAULT. */
int __must_check user_load_u32_nofault(const u32 __user *p, u32 *out);
int __must_check user_cmpxchg_u32_nofault(u32 __user *p, u32 old, u32 new, u32 *found);

#endif
