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
/* Device registers, uncached. NULL: out of address space. Lives forever unless io_unmap. */
void *__must_check io_map(u64 paddr, size_t bytes);
void io_unmap(void *p);

#endif
