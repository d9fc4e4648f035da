/* SPDX-License-Identifier: MIT
 *
 * Problem: the bytes of a read or write lie in one user buffer, many (readv), kernel memory or pages, and a file's
 * code should not care.
 *
 * Idea: one cursor over segments. Every operation is a loop over contiguous chunks; what happens to a chunk depends
 * on the kind. Short results mean that user memory faulted, and the cursor then stands at the first byte not done.
 *
 * Contract: vfs/iter.h. iter_revert goes back over segments too, so callers may retry from where they began.
 *
 * Locks: none; an iter belongs to one task. The _nofault forms may be called with locks held.
 */
#include <alloc/page.h>
#include <arch/user.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/string.h>
#include <vfs/iter.h>

void iter_kernel(struct iter *it, void *base, size_t len)
{
	*it = (struct iter){ .kind = ITER_KERNEL, .nr = 1, .count = len };
	it->one = (struct iter_vec){ (ulong)base, len };
}

void iter_user_vec(struct iter *it, const struct iter_vec *vec, size_t nr, size_t total)
{
	*it = (struct iter){ .kind = ITER_USER, .vec = vec, .nr = nr, .count = total };
}

static const struct iter_vec *segment(const struct iter *it)
{
	return it->vec ? &it->vec[it->at] : &it->one; /* `one` moves with its iter */
}

/* The contiguous bytes at the cursor. */
static ulong chunk(const struct iter *it, size_t want, size_t *len)
{
	*len = min(min(segment(it)->len - it->skip, it->count), want);
	return segment(it)->base + it->skip;
}

void iter_advance(struct iter *it, size_t n)
{
	assert(n <= it->count);
	it->count -= n;
	it->skip += n;
	while (it->at + 1 < it->nr && it->skip >= segment(it)->len) {
		it->skip -= segment(it)->len;
		it->at++;
	}
}

void iter_revert(struct iter *it, size_t n)
{
	it->count += n;
	while (n > it->skip) {
		n -= it->skip;
		it->at--;
		it->skip = segment(it)->len;
	}
	it->skip -= n;
}

enum action { COPY_IN, COPY_OUT, CLEAR, PAGE_OUT, PAGE_IN_NOFAULT, PAGE_OUT_NOFAULT };

/* Bytes not done. */
static __always_inline size_t act_user(enum action a, void *kernel, ulong user, size_t len)
{
	void __user *u = (void __user *)user;

	switch (a) {
	case COPY_IN: return user_copy_in(kernel, u, len);
	case COPY_OUT: return user_copy_out(u, kernel, len);
	case CLEAR: return user_clear(u, len);
	case PAGE_OUT: return user_copy_page_out(u, kernel, len);
	case PAGE_IN_NOFAULT: return user_copy_page_in_nofault(kernel, u, len);
	case PAGE_OUT_NOFAULT: return user_copy_page_out_nofault(u, kernel, len);
	}
	return len;
}

static void act_kernel(enum action a, void *kernel, void *other, size_t len)
{
	if (a == CLEAR)
		memset(other, 0, len);
	else if (a == COPY_IN || a == PAGE_IN_NOFAULT)
		memcpy(kernel, other, len);
	else
		memcpy(other, kernel, len);
}

static size_t act_each(enum action a, void *kernel, size_t n, struct iter *it)
{
	size_t done = 0;

	while (done < n) {
		size_t len, failed = 0;
		ulong base = chunk(it, n - done, &len);

		if (it->kind == ITER_USER)
			failed = act_user(a, (char *)kernel + done, base, len);
		else
			act_kernel(a, (char *)kernel + done, (void *)base, len);
		iter_advance(it, len - failed);
		done += len - failed;
		if (failed)
			break;
	}
	return done;
}

/* The action is a constant to each caller, and nearly every iter is one piece of user memory: that way is short. */
static __always_inline size_t act(enum action a, void *kernel, size_t n, struct iter *it)
{
	n = min(n, it->count);
	if (unlikely(it->kind != ITER_USER || it->vec))
		return act_each(a, kernel, n, it);
	n -= act_user(a, kernel, it->one.base + it->skip, n);
	it->skip += n;
	it->count -= n;
	return n;
}

size_t iter_copy_in(void *dst, size_t n, struct iter *it)
{
	return act(COPY_IN, dst, n, it);
}

size_t iter_copy_out(const void *src, size_t n, struct iter *it)
{
	return act(COPY_OUT, (void *)src, n, it);
}

static __always_inline size_t act_page(enum action a, const struct page *p, size_t offset, size_t n, struct iter *it)
{
	return act(a, (char *)page_virt(p) + offset, min(n, PAGE_SIZE - offset), it);
}

size_t iter_page_out(const struct page *p, size_t offset, size_t n, struct iter *it)
{
	return act_page(PAGE_OUT, p, offset, n, it);
}

size_t iter_page_in_nofault(struct page *p, size_t offset, size_t n, struct iter *it)
{
	return act_page(PAGE_IN_NOFAULT, p, offset, n, it);
}

size_t iter_page_out_nofault(const struct page *p, size_t offset, size_t n, struct iter *it)
{
	return act_page(PAGE_OUT_NOFAULT, p, offset, n, it);
}

size_t iter_clear(size_t n, struct iter *it)
{
	return act(CLEAR, NULL, n, it);
}

int iter_fault_in(struct iter *it, size_t n, bool write_to_user)
{
	size_t len;
	ulong base;

	n = min(n, it->count);
	if (it->kind != ITER_USER || !n)
		return 0;
	/* The first chunk that has bytes decides: the caller's loop comes back for the others. */
	base = chunk(it, n, &len);
	while (!len && it->at + 1 < it->nr) {
		it->at++;
		it->skip = 0;
		base = chunk(it, n, &len);
	}
	len = min(len, PAGE_SIZE - base % PAGE_SIZE);
	return user_fault_in((const void __user *)base, len, write_to_user);
}
