/* SPDX-License-Identifier: MIT
 *
 * Swap areas: devices and files with the format of mkswap(8), on which cold private pages live.
 *
 * An area begins with a header page (signature "SWAPSPACE2" in its last ten bytes); slot n is page n of the area.
 * Threading: swap_on and swap_off sleep and take no locks of the caller's; the operations sleep, from reclaim too, so
 * they allocate nothing that could wait for memory. Source: Linux, include/linux/swap.h (union swap_header); swapon(2).
 */
#ifndef MM_SWAP_H
#define MM_SWAP_H

#include <lib/types.h>

/* swapon(2)'s flags. */
#define SWAP_FLAG_PREFER    0x8000
#define SWAP_FLAG_PRIO_MASK 0x7fff
#define SWAP_FLAG_DISCARD   0x10000 /* and what follows: how; accepted, nothing is discarded */
#define SWAP_FLAGS_VALID    (0x70000 | SWAP_FLAG_PREFER | SWAP_FLAG_PRIO_MASK)

struct file;
struct page;
struct strbuf;

struct swap_ops {
	/* Moves n pages to or from the slots from `slot` on, and waits. 0 or -EIO. */
	int (*rw)(void *priv, bool write, u64 slot, struct page **pages, unsigned n);
	void (*release)(void *priv);
};

/* What can be an area: a part that knows this kind of file. -ENXIO: not my kind. Else 0 and the rest. */
struct swap_backing {
	const struct swap_ops *ops;
	void *priv;
	u64 slots;      /* pages of it */
	bool is_device; /* "partition" in /proc/swaps */
	u64 id;         /* the same file gives the same: -EBUSY when it is in use */
};
struct swap_kind {
	/* take: keeps the file and shuts others out until release. Else it only tells what it would be. */
	int (*open)(struct file *f, bool take, struct swap_backing *out);
	struct swap_kind *next;
};
void swap_kind_register(struct swap_kind *k); /* at boot */

/* flags: SWAP_FLAG_* of swapon(2). name: as /proc/swaps shows it. -EINVAL: no header, or a kind that cannot be one;
 * -EBUSY; -EPERM: too many areas; -ENOMEM. */
int __must_check swap_on(struct file *f, const char *name, unsigned flags);
/* Brings every page back. -EINVAL: not an area; -ENOMEM: they do not fit; -EINTR. */
int __must_check swap_off(struct file *f);
void swap_show(struct strbuf *out); /* /proc/swaps */
struct swap_totals {                /* pages */
	u64 total, used, cached;
};
void swap_totals(struct swap_totals *out);

#endif
