/* SPDX-License-Identifier: MIT
 *
 * The order in which one GPU serves its clients' jobs, without the GPU.
 *
 *   queue    one device: the scheduler of virt/vgpu/core, and what is at the device now
 *     leaf     a scheduler's entity whose turn it is or is not: the clients of one control group, or one virtual GPU
 *       client   a list of jobs, done in their order; clients of one leaf take turns
 *         job      one command for the device
 *
 * A turn is a run of one client's jobs up to and with one that keeps the device busy (timed), TURN_JOBS at most. One
 * turn is at the device, and one more of the same leaf ahead of time while no other leaf waits. A turn's measured time
 * is charged to its leaf when its last job is over.
 *
 * Threading: none inside; the owner of the device serialises. Times: u64 nanoseconds of one monotonic clock, handed in.
 * Memory of everything is the caller's.
 */
#ifndef GPU_QUEUE_H
#define GPU_QUEUE_H

#include <virt/vgpu/sched.h>

#define GPU_TURN_JOBS 16 /* in one turn, at most */
#define GPU_TURNS     2  /* at the device, at most */

struct gpu_queue_client;

struct gpu_queue_job {
	struct list link; /* in its client's queue, then in the device's */
	struct gpu_queue_client *client;
	bool timed; /* ends its turn */
	bool last;  /* of its turn; by gpu_queue_next */
	u64 sent_ns;
};

struct gpu_queue_leaf {
	struct vgpu_entity entity;
	struct list clients;
	struct gpu_queue_client *served; /* whose turn was the last one */
	bool told_waits, told_served;    /* the owner's: what it last said of the leaf elsewhere */
};

struct gpu_queue_client {
	struct list link; /* leaf->clients */
	struct gpu_queue_leaf *leaf;
	struct list jobs;
	u32 queued, sent; /* jobs waiting here; jobs at the device */
	u64 busy_ns, done;
};

struct gpu_queue {
	struct vgpu_sched sched;
	struct list sent; /* jobs at the device, in order */
	u32 turns;
	struct gpu_queue_client *open; /* whose turn has begun and needs more jobs */
	struct gpu_queue_leaf *at_device;
	u32 turn_jobs;
	u64 turn_busy_ns; /* of the oldest turn, so far */
	u64 last_done_ns;
	u64 hang_ns; /* 0: never */
};

void gpu_queue_init(struct gpu_queue *q, u64 hang_ns, u64 now);

void gpu_queue_leaf_init(struct gpu_queue_leaf *l); /* before vgpu_sched_add of its entity */
void gpu_queue_client_init(struct gpu_queue_client *c, struct gpu_queue_leaf *leaf);
/* It has no jobs left (gpu_queue_take, and those at the device have come back). */
void gpu_queue_client_remove(struct gpu_queue_client *c);

void gpu_queue_push(struct gpu_queue *q, struct gpu_queue_client *c, struct gpu_queue_job *j, u64 now);
/* The job to send to the device now, already counted as sent, or NULL; then *retry_ns is when to ask again although
 * nothing happened (~0: never). Ask until NULL. */
struct gpu_queue_job *gpu_queue_next(struct gpu_queue *q, u64 now, u64 *retry_ns);
/* The oldest job at the device, `j`, is over, at done_ns: takes it out, charges it and says how long it kept the
 * device. busy_ns: as the device measured; 0: by the clock, since the device was free for it. */
u64 gpu_queue_done(struct gpu_queue *q, struct gpu_queue_job *j, u64 busy_ns, u64 done_ns, u64 now);
/* When the oldest job at the device counts as hung; ~0: none is there. */
u64 gpu_queue_hang_at(const struct gpu_queue *q);

/* The first of c's waiting jobs, taken out of the queue, or NULL: to refuse what a client had queued. Not between
 * gpu_queue_next and its NULL. */
struct gpu_queue_job *gpu_queue_take(struct gpu_queue *q, struct gpu_queue_client *c);
/* After a reset nothing is at the device: the guilty client's leaf pays for the time, all jobs of others go back to the
 * heads of their clients' queues in their old order, and the guilty one's to `dropped`. Returns that time. */
u64 gpu_queue_reset(struct gpu_queue *q, struct gpu_queue_client *guilty, struct list *dropped, u64 now);

#endif
