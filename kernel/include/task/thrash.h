/* SPDX-License-Identifier: MIT
 *
 * Is reclaim in vain, though it frees pages? (kernel/task/thrash.c)
 *
 * One struct thrash a limit (the machine's, a tenant's); zeros are a good beginning. Counts are pages and only rise.
 * The caller keeps two from judging at once.
 */
#ifndef TASK_THRASH_H
#define TASK_THRASH_H

#include <lib/types.h>

struct thrash {
	u64 since_ns, stolen, back; /* when this period began */
	/* The period before was a bad one: the cache is needed, private pages should go first, if there is swap. */
	bool private_first;
};

struct thrash_sample {
	u64 now_ns;
	u64 stolen, back; /* taken by reclaim; of that, needed again */
	u64 cache, limit; /* the page cache that could be taken, and all memory that there may be */
};

/* Whether this period may be a bad one: only then must cache and limit be known. */
bool thrash_suspects(struct thrash *t, const struct thrash_sample *s);
/* Of a suspect: whether reclaim is in vain. That is said once, and again only after as many bad periods. */
bool thrash_is_vain(struct thrash *t, const struct thrash_sample *s);

#endif
