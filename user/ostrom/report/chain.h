/* SPDX-License-Identifier: MIT
 *
 * Call chains of an entry of the report as a tree: from the outermost caller in, or from where the sample fell out.
 *
 * Periods are those of samples. Ownership: a tree frees what it holds; symbols and files are the places'. Threading:
 * one thread a tree.
 */
#ifndef REPORT_CHAIN_H
#define REPORT_CHAIN_H

#include "inline.h"
#include "perfdata/out.h"
#include "perfdata/place.h"

struct chain_node {
	struct chain_node *next, *children;
	const struct place_file *file;
	const char *symbol; /* NULL: none known */
	u64 at;             /* the symbol's start in the file, or the address as sampled */
	u64 own, sum;       /* periods of chains that end here; of all that pass */
};

#define FRAMES_MOST 127

struct chain_frames {
	struct place where[FRAMES_MOST];
	u64 ip[FRAMES_MOST];
	u32 nr;
};

struct chain_style {
	bool is_on, from_callee, has_order; /* has_order: it was said */
	double least_percent;               /* of the event's whole period; what has less is not shown */
	bool skip_first;                    /* the row shows it already */
};

/* "none", or any of graph, caller, callee and a number, with commas between: from the callee if nothing else is said.
 * "": graph,0.5,caller. False: it is none of these. */
bool chain_parse_style(struct chain_style *style, const char *text);
/* The frames of the sample's chain, without its marks: where it fell first, or last. */
void chain_resolve(struct chain_frames *f, struct places *p, struct inlines *in, const struct pd_sample *s,
		   bool from_callee);
/* Adds them, from one of them on, below root, which stands for the entry. 0 or -ENOMEM. */
int chain_add(struct chain_node *root, const struct chain_frames *f, u32 from, u64 period);
void chain_free(struct chain_node *root); /* what is below it */
/* Draws the tree below the entry's row; nothing if no part is large enough. total: of the event. */
void chain_print(struct out *o, struct chain_node *root, const struct chain_style *style, u64 total);

#endif
