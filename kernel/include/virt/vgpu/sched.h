/* SPDX-License-Identifier: MIT
 *
 * Who uses the GPU next. A GPU does one thing at a time and cannot be interrupted; what a job cost is known when it is
 * over. So: pick, run, charge the measured time, and let what was too much be paid back later (debt is carried).
 *
 *   weight   shares of what is left after guarantees: 2 gets twice what 1 gets while both want it
 *   min      a guarantee, in millionths of the device, served before weights; the sum of all may not exceed one
 *   max      a hard cap in millionths, even if the device is idle; one million is none
 *
 * Work-conserving under its caps, with one exception: a tenant that is behind its share and whose next job usually
 * comes at once (a client that waits for each frame before it sends the next) is waited for, at most
 * VGPU_EXPECT_MAX_NS. Without that, clients that keep one job in flight all get the same, whatever their weights.
 *
 * Entities may stand below others (parent), as control groups do: children divide their parent's weight among those of
 * them that want the device, their guarantees are parts of its guarantee, and its cap holds for all of them together. A
 * parent itself is never queued.
 *
 * The policies that people know are settings of this: best effort (weights alone), equal share (each tenant is
 * capped at one part in the number of tenants), fixed share (capped at one part in a fixed number of slots).
 *
 * Threading: none inside, the owner of the device serialises. Times are u64 nanoseconds of one monotonic clock,
 * handed in; integer arithmetic only. Entities are the caller's memory.
 */
#ifndef VIRT_VGPU_SCHED_H
#define VIRT_VGPU_SCHED_H

#include <lib/list.h>

#define VGPU_ONE           1000000u /* the whole device, in millionths */
#define VGPU_WEIGHT_MAX    10000u
#define VGPU_WEIGHT_NORMAL 100u
#define VGPU_EXPECT_MAX_NS (4 * NSEC_PER_MSEC)
#define VGPU_BURST_NS      (50 * NSEC_PER_MSEC) /* of the whole device: what a bucket of min or max holds at most */

enum vgpu_policy { VGPU_BEST_EFFORT, VGPU_EQUAL_SHARE, VGPU_FIXED_SHARE };

struct vgpu_share {
	u32 weight; /* 1 to VGPU_WEIGHT_MAX */
	u32 min, max;
};

struct vgpu_entity {
	/* settings, by vgpu_sched_add and _set */
	struct vgpu_share share;
	struct list link;
	struct vgpu_entity *parent; /* NULL: the device itself */

	/* the scheduler's */
	u64 wanted_ns;     /* when it, or one below it, was last seen to want the device */
	u64 vtime;         /* weighted time used */
	s64 min_left;      /* ns that the guarantee still owes it, at most one burst */
	s64 max_left;      /* ns that the cap still allows; negative is debt */
	u64 think_ns;      /* running mean from the end of its last job to the next one's arrival */
	u64 job_ns;        /* running mean of its jobs */
	u64 idle_since_ns; /* end of its last job, while nothing is queued */
	u64 queued_since_ns;
	u32 running; /* jobs picked and not yet charged */
	bool queued, capped;

	/* the account, readable by anyone */
	u64 busy_ns, jobs;
	u64 delay_ns, delay_max_ns; /* from queued to picked */
	u64 capped_ns;              /* time that the cap kept it waiting, up to the last pick */
};

struct vgpu_sched {
	struct list entities;
	u32 count;
	enum vgpu_policy policy;
	u32 slots; /* for VGPU_FIXED_SHARE */
	u64 vnow;
	u64 refilled_ns;
	u64 started_ns, busy_ns;
};

void vgpu_sched_init(struct vgpu_sched *s, u64 now);
/* -EINVAL: fixed share without slots. */
int __must_check vgpu_sched_set_policy(struct vgpu_sched *s, enum vgpu_policy policy, u32 slots);

/* parent: already added, removed later than e; NULL: none. -EINVAL: a setting out of range, or min above max; -ENOSPC:
 * the guarantees of the same parent's children together exceed its own, or the device. */
int __must_check vgpu_sched_add(struct vgpu_sched *s, struct vgpu_entity *e, struct vgpu_entity *parent,
				const struct vgpu_share *share, u64 now);
/* The same errors; takes effect at the next pick and forgives debt from other settings. */
int __must_check vgpu_sched_set(struct vgpu_sched *s, struct vgpu_entity *e, const struct vgpu_share *share, u64 now);
void vgpu_sched_remove(struct vgpu_sched *s, struct vgpu_entity *e);

/* e has work waiting (again), or none left. Both may be repeated. */
void vgpu_sched_queue(struct vgpu_sched *s, struct vgpu_entity *e, u64 now);
void vgpu_sched_unqueue(struct vgpu_sched *s, struct vgpu_entity *e);

/* The entity whose work is to be run now; it stays queued until vgpu_sched_unqueue. NULL: nobody; then *retry_ns is
 * when to ask again although nothing happened (~0: never). */
struct vgpu_entity *vgpu_sched_pick(struct vgpu_sched *s, u64 now, u64 *retry_ns);

/* A job of e used the device for busy_ns and ended now. */
void vgpu_sched_charge(struct vgpu_sched *s, struct vgpu_entity *e, u64 busy_ns, u64 now);

/* The cap in force, from e's own and the policy. */
u32 vgpu_sched_cap(const struct vgpu_sched *s, const struct vgpu_entity *e);

#endif
