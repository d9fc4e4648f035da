/* SPDX-License-Identifier: MIT
 *
 * Kernel virtual memory outside the direct map: big buffers that need not be contiguous, stacks with guard pages, MMIO.
 */
#ifndef ALLOC_KMAP_H
#define ALLOC_KMAP_H

#include <lib/types.h>

/* Zeroed, page aligned, with an unmapped guard page below and above. NULL: out of memory. May sleep. */
void *__must_check vmem_alloc(size_t bytes);
void vmem_free(void *p);
/* Makes memory of vmem_alloc code: readable and executable, no longer writable, on every CPU. May sleep. */
void vmem_make_code(void *p);
/* Zeroed memory of any size: small ones from slabs, others from here. NULL: out of memory, or n * size overflows. */
void *__must_check big_alloc(size_t n, size_t size);
void big_free(const void *p); /* NULL is allowed */
/* Device registers, uncached. NULL: out of address space. Lives forever unless io_unmap. */
void *__must_check io_map(u64 paddr, size_t bytes);
void io_unmap(void *p);

#endif
