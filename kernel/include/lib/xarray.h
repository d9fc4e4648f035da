/* SPDX-License-Identifier: MIT
 *
 * A sparse array of pointers with 64-bit indices: a radix tree with 64 slots a node, as high as its greatest index
 * needs. One entry at index 0 costs no node. Entries are aligned to 2 at least, and not NULL (NULL: absent).
 *
 * Threading: writers are serialised by the owner. xa_load and xa_find may run beside one writer if `free` of the memory
 * ops defers (RCU): they then see each entry either before or after a change.
 * xa_for_each visits present entries in ascending order; the loop may erase the current one.
 */
#ifndef LIB_XARRAY_H
#define LIB_XARRAY_H

#include <lib/types.h>

#define XA_BITS  6
#define XA_SLOTS (1U << XA_BITS)

struct xa_node {
	u8 shift;  /* index >> shift & 63 is the slot */
	u8 offset; /* in parent */
	u8 count;  /* slots in use */
	struct xa_node *parent;
	ulong reclaim[2]; /* for the owner's deferred free */
	void *slots[XA_SLOTS];
};

struct xa_mem {
	struct xa_node *(*alloc)(void); /* zeroed; NULL: out of memory */
	void (*free)(struct xa_node *n);
};

struct xarray {
	void *head; /* NULL, the entry of index 0, or a node with bit 0 set */
	const struct xa_mem *mem;
};

void xa_init(struct xarray *xa, const struct xa_mem *mem);
void *xa_load(const struct xarray *xa, u64 index);
/* Stores entry (not NULL) over whatever was there, which goes to *old if that is not NULL. 0 or -ENOMEM. */
int __must_check xa_store(struct xarray *xa, u64 index, void *entry, void **old);
void *xa_erase(struct xarray *xa, u64 index); /* what was there */
/* The first present entry at *index or above, up to max; sets *index. NULL: none. */
void *xa_find(const struct xarray *xa, u64 *index, u64 max);

#define xa_for_each(xa, index, entry)                                                                                  \
	for ((index) = 0, (entry) = xa_find((xa), &(index), ~0ULL); (entry);                                           \
	     (entry) = ++(index) ? xa_find((xa), &(index), ~0ULL) : NULL)

#endif
