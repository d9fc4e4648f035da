/* SPDX-License-Identifier: MIT
 *
 * The functions that a compiler put into others, as frames of their own.
 *
 * Ownership: names live as long as the struct. Threading: one thread.
 */
#ifndef REPORT_INLINE_H
#define REPORT_INLINE_H

#include "perfdata/place.h"

struct inlines {
	bool is_on;
	struct inline_place { /* of an address, found once */
		struct inline_place *next;
		const struct place_file *file;
		u64 addr;
		u32 nr;
		const char *names[]; /* "inner (inlined)", the innermost first */
	} * places[1024];
	struct inline_name { /* one a name: the pointer is the identity */
		struct inline_name *next;
		char text[];
	} * names[256];
};

/* What was inlined at the place; is_caller: the address is that of a return. NULL: nothing, or no memory. */
const struct inline_place *inlines_at(struct inlines *in, struct places *p, const struct place *where, bool is_caller);
void inlines_free(struct inlines *in);

#endif
