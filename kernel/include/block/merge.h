/* SPDX-License-Identifier: MIT
 *
 * Which transfers may become one: small neighbours on the disk, in order. A queue holds groups; a group is its first
 * item (the leader) and those behind it, each beginning at the sector where the one before ends. Pure; the owner locks.
 */
#ifndef BLOCK_MERGE_H
#define BLOCK_MERGE_H

#include <lib/list.h>
#include <lib/types.h>

struct merge_limits {
	u32 max_bytes, max_vecs;
	u32 boundary; /* of struct block_limits */
};

struct merge_item {
	struct list link;   /* of a leader in its queue, else in its leader's chain */
	struct list chain;  /* a leader's: the others, in order */
	const void *target; /* only equal ones merge */
	u32 kind;           /* likewise; MERGE_NEVER merges with none */
	u32 count;          /* the following describe the whole group, in its leader */
	u64 sector, bytes;
	u32 vecs;
	u32 first_offset, last_end; /* where its memory begins and ends, modulo the page */
};
#define MERGE_NEVER (~0U)

enum merge_result { MERGE_NONE, MERGE_BACK, MERGE_FRONT };

/* A group of one. */
void merge_item_init(struct merge_item *i);
/* Would i, one transfer, join group g at its end? */
bool merge_follows(const struct merge_item *g, const struct merge_item *i, const struct merge_limits *l);
/* Adds group i to the queue: into one of the `look` youngest groups if it fits there, else at the tail. */
enum merge_result merge_add(struct list *queue, struct merge_item *i, const struct merge_limits *l, unsigned look);

#endif
