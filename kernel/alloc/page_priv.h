/* SPDX-License-Identifier: MIT
 *
 * Between the files of the page allocator: chunks.c makes descriptors and fills the nodes' free lists, page.c takes
 * from them and gives back, nodes.c chooses the node where there are several.
 */
#ifndef ALLOC_PAGE_PRIV_H
#define ALLOC_PAGE_PRIV_H

#include <arch/numa.h>
#include <arch/percpu.h>
#include <core/spin.h>
#include "buddy.h"

#define CHUNK_SHIFT 14 /* pages: 64 MiB */
#define MAX_CHUNKS  4096
#define CHUNK_MIXED 0xff /* chunk_node[]: pages of several nodes */

static struct page *const pages = PAGE_ARRAY;

struct node {
	struct spinlock lock; /* RANK_PAGES: b, waiting */
	struct buddy b;
	u64 total, waiting;    /* pages of RAM; those whose chunk has not been made */
	u64 reserve;           /* free pages that are for ALLOC_ATOMIC and for reclaim */
	unsigned next_chunk;   /* grow_lock */
	u8 nearest[MAX_NODES]; /* nodes with memory, itself first, by distance; constant */
	u8 nr_nearest;
	u64 refilled; /* pages that have gone to CPUs' lists; lock */
};
extern struct node nodes[MAX_NODES];

struct node_counts { /* of one CPU; as numastat(8) names them */
	u64 hit, miss, foreign, interleave, local;
};

struct cpu_list {
	u32 head, count; /* pages of the CPU's own node */
	s64 stat[PAGE_STAT_NR];
	struct node_counts numa[MAX_NODES]; /* while there are several nodes */
};
DECLARE_PER_CPU(struct cpu_list, cpu_list);

/* Allocations and frees of single pages take the way around the CPU's list: colours, or several nodes. */
DECLARE_STATIC_KEY(page_placed);

/* ---- chunks.c ---- */
void chunks_init(void);
bool node_grow(struct node *n); /* one chunk more; false: all its memory is on the lists, or in use */
extern u8 chunk_node[MAX_CHUNKS];
unsigned node_of_mixed(u32 pfn);
static inline struct node *node_of(u32 pfn)
{
	u8 n = chunk_node[pfn >> CHUNK_SHIFT];

	return &nodes[likely(n != CHUNK_MIXED) ? n : node_of_mixed(pfn)];
}
/* Page numbers with descriptors in chunk c; false: beyond the last. Nothing made: lo == hi. */
bool chunk_bounds(unsigned c, pfn_t *lo, pfn_t *hi);
extern u64 reserved_pages;

/* ---- page.c ---- */
void make_block(struct page *p, unsigned order);

/* ---- nodes.c ---- */
void nodes_init(void);
void nodes_apart(void);                                    /* slabs work: from now on requests have places */
struct node *node_nearest(unsigned near, nodemask_t only); /* the nearest one that has memory; NULL: none has */
void nodes_count(const struct page_place *w, u32 pfn);     /* a page was taken for w */

#endif
