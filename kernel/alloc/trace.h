/* SPDX-License-Identifier: MIT
 *
 * What the allocators tell to listeners; each call stands behind trace_on of its event. Fields are Linux 6.1's
 * (events/kmem) but for gfp_flags, which are our ALLOC_ flags.
 */
#ifndef ALLOC_TRACE_H
#define ALLOC_TRACE_H

#include <alloc/page.h>
#include <core/trace.h>

void alloc_trace_page(const struct page *p, unsigned order, unsigned flags); /* p NULL: there was none */
void alloc_trace_page_free(const struct page *p, unsigned order);
void alloc_trace_kmalloc(const void *caller, const void *p, size_t asked, size_t got, unsigned flags);
void alloc_trace_kfree(const void *caller, const void *p);
void alloc_trace_object(const void *caller, const void *p, size_t bytes, unsigned flags);
void alloc_trace_object_free(const void *caller, const void *p, const char *cache);

#endif
