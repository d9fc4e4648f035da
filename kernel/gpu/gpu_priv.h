/* SPDX-License-Identifier: MIT
 *
 * Shared by gpu's files: what stands behind a resource and a context, nodes of the tenant tree, the steps of a job.
 */
#ifndef GPU_PRIV_H
#define GPU_PRIV_H

#include <gpu/gpu.h>

/* vgpu_res.owner. The job destroys it, so that teardown allocates nothing. */
struct gpu_res {
	struct gpu_job destroy;
	struct gpu_pages *pages;
};

struct gpu_ctx {
	struct gpu_job destroy;
	struct list link; /* client->contexts */
	u32 id, host_id;
};

/* A tenant at one device, from its first client on, until the tenant is gone and its last client closed. */
struct gpu_node {
	struct list link; /* dev->nodes */
	struct tenant *tenant;
	struct gpu_node *parent;      /* NULL: the root tenant's */
	struct vgpu_entity entity;    /* its settings; the root's is not in the scheduler */
	struct gpu_queue_leaf leaf;   /* its own clients */
	u32 users;                    /* clients and child nodes */
	u64 jobs, wait_ns, capped_ns; /* of leaves that have left */
	u64 hangs;
};

/* node.c. dev->lock held. */
int __must_check gpu_node_get(struct gpu_dev *d, struct tenant *t, struct gpu_node **out);
void gpu_node_put(struct gpu_dev *d, struct gpu_node *n);
struct vgpu_entity *gpu_node_entity(struct gpu_node *n);           /* NULL: the root's, that is the device */
void gpu_share_of(const struct tenant *t, struct vgpu_share *out); /* its settings */
void gpu_node_account(struct gpu_dev *d, struct gpu_client *c, u64 busy_ns);

/* Brings a tenant's changed settings to every device; -ENOSPC: the guarantees are too many, nothing has changed. No
 * lock held. */
int __must_check gpu_tenant_changed(struct tenant *t);
void gpu_node_leaf_leaves(struct gpu_node *n, const struct vgpu_entity *e); /* keeps its totals. dev->lock held */
struct gpu_totals {
	u64 jobs, wait_ns, capped_ns, hangs;
};
void gpu_tenant_totals(struct tenant *t, struct gpu_totals *sum); /* of it and all below, on all devices */

/* pressure.c: tells the tenant tree who waits now. dev->lock held, after each step. */
void gpu_pressure_update(struct gpu_dev *d);

/* device.c */
extern struct mutex gpu_devices_lock;
extern struct list gpu_devices;
void gpu_push(struct gpu_client *c, struct gpu_job *j); /* dev->lock held; counts it as pending */
void gpu_dispatch(struct gpu_dev *d);                   /* dev->lock held */
/* Takes c's waiting jobs that change nothing at the device any more, or all, to out with this error. dev->lock held. */
void gpu_drop_queued(struct gpu_client *c, int err, bool all, struct list *out);
void gpu_tell(struct gpu_dev *d, struct list *jobs); /* no lock held */

/* request.c: fills an embedded destroy job. */
void gpu_job_destroy_resource(struct gpu_job *j, u32 host_id, struct gpu_pages *release);
void gpu_job_destroy_context(struct gpu_job *j, u32 host_id);

#endif
