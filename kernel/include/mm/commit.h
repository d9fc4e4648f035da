/* SPDX-License-Identifier: MIT
 *
 * Promised memory: what /proc/sys/vm/overcommit_memory refuses. Sizes are pages. Any context that may sleep.
 */
#ifndef MM_COMMIT_H
#define MM_COMMIT_H

#include <lib/types.h>

struct mm;
/* May pages more be promised? m: whose request it is (NULL: nobody's in particular). False: ENOMEM. */
bool commit_allows(const struct mm *m, u64 pages);
void commit_totals(u64 *limit, u64 *used); /* CommitLimit and Committed_AS of /proc/meminfo */
/* vma flags with VMA_COMMITTED where its pages are promises, and without VMA_NORESERVE where that wish does not count.
 */
u32 commit_flags(u32 flags);

#endif
