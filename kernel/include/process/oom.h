/* SPDX-License-Identifier: MIT
 *
 * Who dies when memory runs out. The choice itself is alloc's upcall (alloc/page.h, upcall_out_of_memory).
 */
#ifndef PROCESS_OOM_H
#define PROCESS_OOM_H

#include <lib/types.h>

struct process;

/* /proc/PID/oom_score: thousandths of all memory and swap, corrected by oom_score_adj. 0: never. Sleeps. */
u64 oom_score(struct process *p);

#endif
