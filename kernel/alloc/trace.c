/* SPDX-License-Identifier: MIT
 *
 * Problem: where does the kernel's memory go, and who asks for it most often.
 *
 * Idea: a record for each page block and each object, taken and given back, with the caller's address.
 *
 * Contract: trace.h. Source of the fields: events/kmem/.../format of Linux 6.1. A sink takes no memory, so nothing here
 * comes back to itself.
 *
 * Locks: none.
 */
#include "trace.h"

#define CACHE_NAME_ROOM 40

void alloc_trace_page(const struct page *p, unsigned order, unsigned flags)
{
	struct trace_mm_page_alloc r = { .pfn = p ? page_to_pfn(p) : ~0ULL, .order = order, .gfp_flags = flags };

	trace_emit(TRACE_mm_page_alloc, &r, sizeof(r));
}

void alloc_trace_page_free(const struct page *p, unsigned order)
{
	struct trace_mm_page_free r = { .pfn = page_to_pfn(p), .order = order };

	trace_emit(TRACE_mm_page_free, &r, sizeof(r));
}

void alloc_trace_kmalloc(const void *caller, const void *p, size_t asked, size_t got, unsigned flags)
{
	struct trace_kmalloc r = { .call_site = (ulong)caller,
				   .ptr = (ulong)p,
				   .bytes_req = asked,
				   .bytes_alloc = got,
				   .gfp_flags = flags,
				   .node = -1 };

	trace_emit(TRACE_kmalloc, &r, sizeof(r));
}

void alloc_trace_kfree(const void *caller, const void *p)
{
	struct trace_kfree r = { .call_site = (ulong)caller, .ptr = (ulong)p };

	trace_emit(TRACE_kfree, &r, sizeof(r));
}

void alloc_trace_object(const void *caller, const void *p, size_t bytes, unsigned flags)
{
	struct trace_kmem_cache_alloc r = { .call_site = (ulong)caller,
					    .ptr = (ulong)p,
					    .bytes_req = bytes,
					    .bytes_alloc = bytes,
					    .gfp_flags = flags,
					    .node = -1 };

	trace_emit(TRACE_kmem_cache_alloc, &r, sizeof(r));
}

void alloc_trace_object_free(const void *caller, const void *p, const char *cache)
{
	struct {
		struct trace_kmem_cache_free r;
		char name[CACHE_NAME_ROOM];
	} e = { .r = { .call_site = (ulong)caller, .ptr = (ulong)p } };
	size_t size = sizeof(e.r);

	e.r.name = trace_put_string(&e, &size, sizeof(e), cache);
	trace_emit(TRACE_kmem_cache_free, &e, size);
}
