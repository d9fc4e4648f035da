/* SPDX-License-Identifier: MIT
 *
 * Problem: pure cores allocate, log and refuse through the kernel's own contracts (alloc/slab.h, core/log.h),
 * and must do so unchanged in unit tests, fuzzers and the `ostrom` program.
 *
 * Idea: the same names over libc. malloc keeps AddressSanitizer's view of every object; the log goes to
 * stderr; panic aborts, so that a test or a fuzzer sees it.
 *
 * Contract: alloc/slab.h and core/log.h. OSTROM_WHY in the environment makes fail() print its reasons, and
 * OSTROM_LOG=N prints log lines up to level N (default LOG_WARN).
 *
 * Locks: none of its own.
 */
#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <alloc/page.h>
#include <alloc/slab.h>
#include <core/log.h>
#include <lib/printf.h>
#include <lib/string.h>

/* Nothing is longer than the longest run of pages, as in the kernel. */
void *kmalloc(size_t bytes, unsigned flags)
{
	if (bytes > PAGE_SIZE << PAGE_MAX_ORDER)
		return NULL;
	return flags & ALLOC_ZERO ? calloc(1, bytes ? bytes : 1) : malloc(bytes ? bytes : 1);
}

void *krealloc(void *p, size_t bytes, unsigned flags)
{
	size_t old = p ? malloc_usable_size(p) : 0;
	char *q = realloc(p, bytes ? bytes : 1);

	if (q && (flags & ALLOC_ZERO) && bytes > old)
		memset(q + old, 0, bytes - old);
	return q;
}

void *kmalloc_paid_like(const void *owner, size_t bytes, unsigned flags)
{
	return kmalloc(bytes, flags);
}

void kmalloc_hold(const void *owner, s64 bytes)
{
}

void kfree(const void *p)
{
	free((void *)p);
}

size_t ksize(const void *p)
{
	return malloc_usable_size((void *)p);
}

struct kcache {
	size_t size;
	size_t align;
	void (*ctor)(void *);
};

struct kcache *kcache_create_charged(const char *name, size_t size, size_t align)
{
	return kcache_create(name, size, align, NULL);
}

u16 kcache_payer(const struct kcache *c, const void *obj)
{
	return 0;
}

struct kcache *kcache_create(const char *name, size_t size, size_t align, void (*ctor)(void *))
{
	struct kcache *c = kmalloc(sizeof(*c), 0);

	if (c)
		*c = (struct kcache){ .size = size, .align = max(align, (size_t)16), .ctor = ctor };
	return c;
}

void *kcache_alloc(struct kcache *c, unsigned flags)
{
	void *p = aligned_alloc(c->align, ALIGN_UP(c->size, c->align));

	if (p && (flags & ALLOC_ZERO))
		memset(p, 0, c->size);
	else if (p && c->ctor)
		c->ctor(p);
	return p;
}

void kcache_free(struct kcache *c, void *obj)
{
	free(obj);
}

int str_vformat(char *buf, size_t size, const char *fmt, va_list ap)
{
	return vsnprintf(buf, size, fmt, ap);
}

int str_format(char *buf, size_t size, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(buf, size, fmt, ap);
	va_end(ap);
	return n;
}

void log_print(enum log_level level, const char *fmt, ...)
{
	const char *want = getenv("OSTROM_LOG");
	va_list ap;

	if ((int)level > (want ? atoi(want) : LOG_WARN))
		return;
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
}

int fail(int err, const char *fmt, ...)
{
	va_list ap;

	if (!getenv("OSTROM_WHY"))
		return -err;
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, " (%s)\n", strerror(err));
	return -err;
}

void panic(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	abort();
}
