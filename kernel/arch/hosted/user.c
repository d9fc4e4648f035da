/* SPDX-License-Identifier: MIT
 *
 * Problem: parts reach user memory through arch/user.h and must survive bad pointers; tests hand in good ones and,
 * to see the errno, bad ones.
 *
 * Idea: user memory is the process's own. The host kernel copies for us (process_vm_readv and writev on ourselves),
 * so an unmapped page is a short copy and not a crash.
 *
 * Contract: arch/user.h. Addresses from USER_END on are refused as in the kernel. Locks: none.
 */
#include <errno.h>
#include <sys/uio.h>
#include <unistd.h>
#include <arch/mmu.h>
#include <arch/user.h>
#include <lib/string.h>
#include <mm/mapping.h>

static bool range_ok(const void *p, size_t n)
{
	return (ulong)p < USER_END && n <= USER_END - (ulong)p;
}

static size_t copied(void *dst, const void *src, size_t n, bool in)
{
	struct iovec d = { dst, n }, s = { (void *)src, n };
	ssize_t got;

	if (!range_ok(in ? src : dst, n))
		return 0;
	got = in ? process_vm_readv(getpid(), &d, 1, &s, 1, 0) : process_vm_writev(getpid(), &s, 1, &d, 1, 0);
	return got < 0 ? 0 : got;
}

int user_get_bytes(void *dst, const void __user *src, size_t n)
{
	return copied(dst, src, n, true) == n ? 0 : -EFAULT;
}

int user_put_bytes(void __user *dst, const void *src, size_t n)
{
	return copied(dst, src, n, false) == n ? 0 : -EFAULT;
}

int user_get_fixed(void *dst, const void __user *src, size_t n)
{
	return user_get_bytes(dst, src, n);
}

int user_put_fixed(void __user *dst, const void *src, size_t n)
{
	return user_put_bytes(dst, src, n);
}

int user_load_u64(const u64 __user *p, u64 *out)
{
	return user_get_bytes(out, p, sizeof(*out));
}

int user_load_u32(const u32 __user *p, u32 *out)
{
	return user_get_bytes(out, p, sizeof(*out));
}

int user_store_u64(u64 __user *p, u64 v)
{
	return user_put_bytes(p, &v, sizeof(v));
}

int user_store_u32(u32 __user *p, u32 v)
{
	return user_put_bytes(p, &v, sizeof(v));
}

int user_store_u16(u16 __user *p, u16 v)
{
	return user_put_bytes(p, &v, sizeof(v));
}

size_t user_copy_in(void *dst, const void __user *src, size_t n)
{
	return n - copied(dst, src, n, true);
}

size_t user_copy_out(void __user *dst, const void *src, size_t n)
{
	return n - copied(dst, src, n, false);
}

size_t user_copy_in_nofault(void *dst, const void __user *src, size_t n)
{
	return user_copy_in(dst, src, n);
}

size_t user_copy_out_nofault(void __user *dst, const void *src, size_t n)
{
	return user_copy_out(dst, src, n);
}

size_t user_copy_page_out(void __user *dst, const void *src, size_t n)
{
	return user_copy_out(dst, src, n);
}

size_t user_copy_page_in_nofault(void *dst, const void __user *src, size_t n)
{
	return user_copy_in(dst, src, n);
}

size_t user_copy_page_out_nofault(void __user *dst, const void *src, size_t n)
{
	return user_copy_out(dst, src, n);
}

size_t user_clear(void __user *dst, size_t n)
{
	static const char zeros[PAGE_SIZE];
	size_t left = n;

	while (left) {
		size_t chunk = min(left, sizeof(zeros)), failed = user_copy_out(dst, zeros, chunk);

		left -= chunk - failed;
		if (failed)
			break;
		dst = (char *)dst + chunk;
	}
	return left;
}

ssize_t user_get_string(char *dst, const char __user *src, size_t max)
{
	for (size_t i = 0; i < max; i++) {
		if (user_get(&dst[i], src + i, 1))
			return -EFAULT;
		if (!dst[i])
			return i;
	}
	return max;
}

int user_fault_in(const void __user *p, size_t n, bool write)
{
	char c;

	for (size_t i = 0; i < n; i = ALIGN_DOWN(i + PAGE_SIZE, PAGE_SIZE))
		if (user_get(&c, (const char *)p + i, 1) || (write && user_put((char *)p + i, &c, 1)))
			return -EFAULT;
	return 0;
}

/* A host process has no page tables of ours, so a mapping has no VMAs to visit. */
void mapping_init(struct mapping *m, const struct mapping_ops *ops, void *owner)
{
	*m = (struct mapping){ .ops = ops, .owner = owner };
	mutex_init(&m->lock, RANK_MAPPING);
	list_init(&m->vmas);
}

void mapping_unmap_range(struct mapping *m, u64 index, u64 count, bool private_too)
{
}
