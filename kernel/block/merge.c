/* SPDX-License-Identifier: MIT
 *
 * Problem: programs and journals write one page after the other, and a device takes a megabyte at the price of a page.
 *
 * Idea: a transfer that begins where a waiting one ends goes behind it (back merge), one that ends where a waiting one
 * begins goes before it and leads from then on (front merge). Only the youngest few groups are tried: neighbours arrive
 * together, and a long queue must not cost a long search.
 *
 *      queue:  [8..16)  [100..104)->[104..108)        + [108..116): back     + [96..100): front, leads
 *
 * Contract: block/merge.h. A group never exceeds the limits; its memory has no gap that the device cannot take.
 *
 * Locks: none; the owner's.
 */
#include <block/merge.h>

#define SECTOR 512

void merge_item_init(struct merge_item *i)
{
	list_init(&i->link);
	list_init(&i->chain);
	i->count = 1;
}

static bool may_join(const struct merge_item *a, const struct merge_item *b, const struct merge_limits *l)
{
	if (a->kind != b->kind || a->kind == MERGE_NEVER || a->target != b->target)
		return false;
	if (a->bytes + b->bytes > l->max_bytes || a->vecs + b->vecs > l->max_vecs)
		return false;
	/* What has no memory (discard) has no gap. */
	return !l->boundary || !a->vecs || (a->last_end % l->boundary == 0 && b->first_offset % l->boundary == 0);
}

static bool is_before(const struct merge_item *a, const struct merge_item *b)
{
	return a->sector + a->bytes / SECTOR == b->sector;
}

bool merge_follows(const struct merge_item *g, const struct merge_item *i, const struct merge_limits *l)
{
	return is_before(g, i) && may_join(g, i, l);
}

/* Group b goes behind group a. */
static void join(struct merge_item *a, struct merge_item *b)
{
	a->count += b->count;
	a->bytes += b->bytes;
	a->vecs += b->vecs;
	a->last_end = b->last_end;
	list_add_tail(&b->link, &a->chain);
	list_splice_tail_init(&b->chain, &a->chain);
}

enum merge_result merge_add(struct list *queue, struct merge_item *i, const struct merge_limits *l, unsigned look)
{
	struct list *at = queue->prev;

	for (; at != queue && look && i->kind != MERGE_NEVER; at = at->prev, look--) {
		struct merge_item *g = list_entry(at, struct merge_item, link);

		if (merge_follows(g, i, l)) {
			join(g, i);
			return MERGE_BACK;
		}
		if (merge_follows(i, g, l)) {
			list_add(&i->link, &g->link); /* its place in the queue */
			list_del(&g->link);
			join(i, g);
			return MERGE_FRONT;
		}
	}
	list_add_tail(&i->link, queue);
	return MERGE_NONE;
}
