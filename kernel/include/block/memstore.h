/* SPDX-License-Identifier: MIT
 *
 * The contents of a disk of memory. Any number of threads at once, in any context that may take spin locks; pages are
 * the kernel's own and stay until they are discarded.
 */
#ifndef BLOCK_MEMSTORE_H
#define BLOCK_MEMSTORE_H

#include <block/block.h>
#include <lib/xarray.h>

struct memstore {
	struct spinlock lock;
	struct xarray pages;
};

void memstore_init(struct memstore *d);
/* Carries out a bio (not its flushes): 0, or -ENOSPC: no memory for what is written. */
int memstore_do(struct memstore *d, const struct bio *b);

#endif
