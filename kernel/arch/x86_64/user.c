/* SPDX-License-Identifier: MIT
 *
 * Problem: one door to user memory, that checks every range and survives every fault.
 *
 * Idea: the range check is one comparison: p + n must not wrap and must end below USER_END. What
 * lies behind is usercopy.S. The kernel's side of a copy whose length is not known at compile time
 * must be one object, so that a length that somebody forgot to check does not read or write its neighbours; pages' ends
 * are seen to by who copies them (vfs/iter.c). Words of 2, 4 and 8 bytes, which most calls move, have routines of their
 * own.
 *
 * Contract: arch/user.h.
 *
 * Locks: none. The forms that may sleep must be called without spin locks.
 */
#include <alloc/slab.h>
#include <arch/mmu.h>
#include <arch/user.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/string.h>
#include <task/task.h>
#include "x86_priv.h"

size_t user_copy_raw(void *dst, const void *src, size_t n);
size_t user_copy_raw_nofault(void *dst, const void *src, size_t n);
size_t kernel_peek_raw(void *dst, const void *src, size_t n);
size_t user_clear_raw(void *dst, size_t n);
ssize_t user_string_raw(char *dst, const char *src, size_t max);
int user_touch_raw(const void *p, bool write);
int user_load_u32_raw(const u32 *p, u32 *out);
int user_cmpxchg_u32_raw(u32 *p, u32 old, u32 new, u32 *found);

_Static_assert(USER_END == USER_END_ASM, "usercopy.S checks words itself");

static bool range_ok(const void __user *p, size_t n)
{
	ulong end;

	return !__builtin_add_overflow((ulong)p, n, &end) && end <= USER_END;
}

/* The pointer, but when range_ok's verdict was only guessed and wrong, one that the program may read: what is loaded by
 * speculation must not be the kernel's (Spectre v1). */
static const void *readable(const void __user *p)
{
	const void *at = (const void __force *)p;

	__asm__("cmpq %1, %0; cmovaq %1, %0" : "+r"(at) : "r"(USER_END) : "cc");
	return at;
}

/* Patches STAC and CLAC in, while the text is still writable. */
void user_enable_smap(void)
{
	extern const ulong stac_sites_start[], stac_sites_end[], smap_sites_start[], smap_sites_end[];

	for (const ulong *s = stac_sites_start; s < stac_sites_end; s++)
		memcpy((void *)*s, "\x0f\x01\xcb", 3);
	for (const ulong *s = smap_sites_start; s < smap_sites_end; s++)
		memcpy((void *)*s, "\x0f\x01\xca", 3);
}

/* ---- the kernel's side ------------------------------------------------------------------------------------- */

static bool overlaps(ulong a, size_t n, const char *from, const char *to)
{
	return a < (ulong)to && a + n > (ulong)from;
}

static __always_inline bool is_one_object(const void *p, size_t n)
{
	ulong a = (ulong)p, in_stack = a - (ulong)current->stack;

	if (likely(a - DIRECT_MAP_BASE < VMEM_BASE - DIRECT_MAP_BASE))
		return n <= slab_room(p);
	if (in_stack < KERNEL_STACK_BYTES)
		return n <= KERNEL_STACK_BYTES - in_stack;
	return a >= VMEM_BASE && a + n >= a && !overlaps(a, n, text_start, text_end);
}

static __noinline bool refuse(const void *p, size_t n)
{
#ifdef OSTROM_DEBUG
	panic("user copy of %zu bytes at %p: more than one object", n, p);
#endif
	log_err("user copy of %zu bytes at %p: more than one object, refused (%s)", n, p, current->comm);
	return false;
}

static __always_inline bool object_ok(const void *p, size_t n)
{
	return likely(is_one_object(p, n)) || !n || refuse(p, n);
}

int user_get_fixed(void *dst, const void __user *src, size_t n)
{
	if (!range_ok(src, n))
		return n ? -EFAULT : 0;
	return user_copy_raw(dst, readable(src), n) ? -EFAULT : 0;
}

int user_put_fixed(void __user *dst, const void *src, size_t n)
{
	if (!range_ok(dst, n))
		return n ? -EFAULT : 0;
	return user_copy_raw((void __force *)dst, src, n) ? -EFAULT : 0;
}

int user_get_bytes(void *dst, const void __user *src, size_t n)
{
	return object_ok(dst, n) ? user_get_fixed(dst, src, n) : -EFAULT;
}

int user_put_bytes(void __user *dst, const void *src, size_t n)
{
	return object_ok(src, n) ? user_put_fixed(dst, src, n) : -EFAULT;
}

size_t user_copy_in(void *dst, const void __user *src, size_t n)
{
	return range_ok(src, n) && object_ok(dst, n) ? user_copy_raw(dst, readable(src), n) : n;
}

size_t user_copy_out(void __user *dst, const void *src, size_t n)
{
	return object_ok(src, n) ? user_copy_page_out(dst, src, n) : n;
}

size_t user_copy_in_nofault(void *dst, const void __user *src, size_t n)
{
	return object_ok(dst, n) ? user_copy_page_in_nofault(dst, src, n) : n;
}

size_t user_copy_out_nofault(void __user *dst, const void *src, size_t n)
{
	return object_ok(src, n) ? user_copy_page_out_nofault(dst, src, n) : n;
}

size_t user_copy_page_out(void __user *dst, const void *src, size_t n)
{
	return range_ok(dst, n) ? user_copy_raw((void __force *)dst, src, n) : n;
}

size_t user_copy_page_in_nofault(void *dst, const void __user *src, size_t n)
{
	return range_ok(src, n) ? user_copy_raw_nofault(dst, readable(src), n) : n;
}

size_t user_copy_page_out_nofault(void __user *dst, const void *src, size_t n)
{
	return range_ok(dst, n) ? user_copy_raw_nofault((void __force *)dst, src, n) : n;
}

size_t kernel_peek(void *dst, const void *src, size_t n)
{
	return (ulong)src >= USER_END && (ulong)src + n >= (ulong)src ? kernel_peek_raw(dst, src, n) : n;
}

size_t user_clear(void __user *dst, size_t n)
{
	return range_ok(dst, n) ? user_clear_raw((void __force *)dst, n) : n;
}

ssize_t user_get_string(char *dst, const char __user *src, size_t max)
{
	size_t room;
	ssize_t n;

	if ((ulong)src >= USER_END || !object_ok(dst, max))
		return -EFAULT;
	room = min(max, (size_t)(USER_END - (ulong)src));
	n = user_string_raw(dst, readable(src), room);
	return n == (ssize_t)room && room < max ? -EFAULT : n;
}

int user_fault_in(const void __user *p, size_t n, bool write)
{
	ulong at = (ulong)p, end = at + n;
	int err = 0;

	if (!range_ok(p, n))
		return -EFAULT;
	while (at < end && !err) {
		err = user_touch_raw((const void *)at, write);
		at = (at & PAGE_MASK) + PAGE_SIZE;
	}
	return err;
}

int user_load_u32_nofault(const u32 __user *p, u32 *out)
{
	return range_ok(p, 4) ? user_load_u32_raw(readable(p), out) : -EFAULT;
}

int user_cmpxchg_u32_nofault(u32 __user *p, u32 old, u32 new, u32 *found)
{
	return range_ok(p, 4) ? user_cmpxchg_u32_raw((u32 __force *)p, old, new, found) : -EFAULT;
}
