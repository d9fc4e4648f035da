/* SPDX-License-Identifier: MIT
 *
 * Back end B: cache allocation by page colouring, for processors without CAT. A portion of a cache
 * is a page colour: the bits of the set index above the page offset. The same files and grammar
 * work on it.
 *
 * What it can and cannot do (info/backend says so too): a colour is a group of sets, so masks may
 * have holes; physical memory is one for all CPUs, so all domains of a cache hold the same mask; a mask limits memory
 * as well as cache; pages already resident keep their colour until they are recoloured. Inside a virtual machine it
 * means something only if the host backs the guest with pages at least as large as all colours together.
 *
 * Threading: the resctrl lock.
 */
#ifndef RESCTRL_COLOUR_H
#define RESCTRL_COLOUR_H

#include <alloc/colour.h>
#include <resctrl/resctrl.h>

struct colour_cache {
	u64 bytes; /* 0: no such cache */
	unsigned ways;
	unsigned line;    /* bytes */
	unsigned slices;  /* parts of equal size that an address hash chooses among; 1 if there is no
			     hash */
	bool plain_index; /* within a slice the set index is plain address bits */
};

/* Where the caches of a level are: which CPUs share each. None: one, of all CPUs. */
struct colour_places {
	unsigned nr;
	struct {
		u32 id;
		u64 cpus;
	} at[RESCTRL_MAX_DOMAINS];
};

struct colour_machine {
	struct colour_cache l2, l3;
	struct colour_places l2_at, l3_at;
	u64 cpus;                /* all that may ever come */
	unsigned kernel_colours; /* lowest colours, kept for the kernel and the page cache; 0 none */
	bool is_guest;
	u64 host_page_bytes; /* of a guest: how large the host's pages are; 0 unknown */
};

/* Colours of a cache: 1 when pages cannot be told apart in it. */
unsigned colour_count(const struct colour_cache *c);

struct colour_backend;

/* -ENODEV when no cache has colours. */
int __must_check colour_backend_create(const struct colour_machine *m, const struct colour_allocator_ops *ops,
				       void *ctx, struct colour_backend **out);
void colour_backend_destroy(struct colour_backend *b);
struct resctrl_backend *colour_backend_get(struct colour_backend *b);

/* The page colours of a class, over the colours of all caches together. */
u64 colour_backend_mask(const struct colour_backend *b, unsigned cls);

#endif
