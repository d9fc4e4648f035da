/* SPDX-License-Identifier: MIT
 *
 * The picture of a recording: lanes of CPUs and of tasks over buckets of time. Times are ns; memory is width times
 * lanes. Ownership: the timeline owns its lanes; threads belong to the table. Locks: none.
 */
#ifndef TIMELINE_H
#define TIMELINE_H

#include "timehist.h"

#define TIMELINE_TASKS 40 /* shown, those that ran most */

enum lane_state { LANE_RUN, LANE_READY, LANE_IO, LANE_SLEEP, NR_LANE_STATES };

struct task_bucket {
	u64 ns[NR_LANE_STATES];
};

struct task_lane {
	struct task_lane *next;
	const struct pd_thread *who;
	u64 run_ns;
	struct task_bucket buckets[]; /* width */
};

struct cpu_bucket {
	u64 busy_ns;
	struct cpu_share {
		const struct pd_thread *who;
		u64 ns;
	} top[4]; /* what ran most; small ones may have been pushed out */
};

struct timeline {
	u64 start, end;
	u32 width;
	struct cpu_bucket **cpus; /* nr_cpus, NULL for those not seen */
	u32 nr_cpus;
	struct task_lane *tasks; /* nr_tasks */
	u32 nr_tasks;
};

int timeline_begin(struct timehist *th, u32 width);
void timeline_free(struct timeline *t);
/* Adds the turn that ended at time; 0 or -ENOMEM. */
int timeline_turn(struct timehist *th, const struct pd_thread *who, struct th_runtime *r, u32 cpu, u64 time);
void timeline_print(struct timehist *th);
/* Start of a bucket. */
u64 timeline_at(const struct timeline *t, u32 bucket);
const struct cpu_share *timeline_main_task(const struct cpu_bucket *b); /* NULL: idle */
enum lane_state timeline_main_state(const struct task_bucket *b);       /* NR_LANE_STATES: did not exist */
/* The tasks to show, busiest first; free the array. NULL without memory. */
struct task_lane **timeline_busiest(const struct timeline *t, u32 *nr);

/* picture.c: writes the HTML file; 0 or -errno. */
int timeline_html(struct timehist *th, const char *path);

#endif
