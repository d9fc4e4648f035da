/* SPDX-License-Identifier: MIT
 *
 * One GPU and those who share it. A back end (a driver) brings a device with ops; a front end (DRM files, virtual GPUs)
 * opens clients and hands in requests; between them stands the core of virt/vgpu/core, once for all: what may be
 * asked for, what it is charged, who goes next.
 *
 *	front end                       here                                         back end
 *	  gpu_client_open                 nodes and leaves of the tenant tree
 *	  gpu_request ------------------> checked, charged, ids translated, queued
 *	                                  turn by turn, one at the device ----------> ops->run
 *	  done->fn, pages->release <----- charged by measured time <----------------- gpu_job_done, in order
 *	                                  hang: ops->reset; the guilty client is lost, the others' jobs run again
 *
 * A request is a parsed command of virtio-gpu's control queue (virt/vgpu/ctrl.h), with the client's own ids. A client
 * is one name space of ids with an account; its requests are done in their order. A tenant is a cgroup: gpu.weight,
 * gpu.min, gpu.max and gpu.memory.max of it and all above it hold for all its clients together.
 *
 * Threading: everything here may sleep and takes dev->lock (RANK_DEVICE), but gpu_job_done (any context). done->fn and
 * pages->release are called in process context without locks, in the order of the client's requests; they may call
 * gpu_request, not gpu_client_close or _reset. Callers of those two hold no lock that these functions take.
 *
 * Errors: -EIO the client (or context) is lost or the device is dead; -EDQUOT over a limit (of the client, of its
 * cgroup, of the device's memory); -ENOENT, -EEXIST, -EINVAL, -E2BIG, -EOPNOTSUPP as in virt/vgpu; -EPERM a scanout
 * that is not the client's. A refused request has changed nothing, but a refused stream has made its context lost.
 */
#ifndef GPU_GPU_H
#define GPU_GPU_H

#include <alloc/page.h>
#include <gpu/queue.h>
#include <task/mutex.h>
#include <task/psi.h>
#include <task/tenant.h>
#include <task/work.h>
#include <virt/vgpu/ctrl.h>
#include <virt/vgpu/tenant.h>
#include <virt/vgpu/virgl.h>

struct gpu_dev;
struct gpu_client;
struct gpu_node;

/* ---- memory of a client behind a resource ---- */

struct gpu_piece {
	paddr_t addr;
	u32 bytes;
};

/* The front end's object. From an accepted ATTACH_BACKING until release the device may read and write it. */
struct gpu_pages {
	struct gpu_piece *pieces;
	u32 nr;
	u64 bytes; /* their sum */
	void (*release)(struct gpu_pages *p);
};

/* ---- jobs: what a back end sees ---- */

struct gpu_done {
	/* err: 0, -EIO (device failed, or the client is lost), -ENOMEM ... as the back end says; -ECANCELED (client
	 * closed). */
	void (*fn)(struct gpu_done *d, int err);
};

/* r.type says what is to be done. Every id in it (resource, ctx, and those in words) is the host's. */
struct gpu_job {
	struct gpu_queue_job q;
	struct gpu_client *client;
	struct vgpu_request r;         /* words: its own copy, physically contiguous; entries: not used */
	const struct gpu_pages *pages; /* RESOURCE_ATTACH_BACKING */
	struct vgpu_stream stream;     /* SUBMIT_3D: what it asks for */
	void *back;                    /* the back end's */

	/* gpu/'s own */
	struct gpu_done *done;
	struct gpu_pages *release; /* after the device has let go */
	u64 busy_ns, done_ns;
	int err;
	bool over, embedded;
};

struct gpu_ops {
	/* Starts a job; jobs are done in order. It may be called with up to GPU_TURNS * GPU_TURN_JOBS jobs not yet
	 * over. Nonzero: refused, the job ends with that error. dev->lock held. */
	int (*run)(struct gpu_dev *d, struct gpu_job *j);
	/* Stops everything. No gpu_job_done comes afterwards for a job that was run before, and the device no longer
	 * uses any memory. 0: contexts and resources are as they were; 1: they are gone (the core makes resources
	 * again, contexts are lost); -errno: the device is dead. dev->lock held. */
	int (*reset)(struct gpu_dev *d);
};

/* The oldest job that runs is over. busy_ns: how long it kept the device; 0: take the clock. Any context. */
void gpu_job_done(struct gpu_dev *d, struct gpu_job *j, int err, u64 busy_ns);

/* ---- devices ---- */

#define GPU_CAPSETS 2

struct gpu_capset {
	u32 id, max_version, bytes;
	void *data; /* of the highest version, without what vgpu_virgl_admit refuses */
};

struct gpu_dev {
	/* the back end's, before gpu_register; memory_bytes also later, under lock */
	const struct gpu_ops *ops;
	char name[24];      /* of the driver: "virtio_gpu" */
	const void *parent; /* struct pci_dev, or NULL */
	bool has_3d;        /* contexts and virgl streams */
	u64 memory_bytes;   /* of all resources together; ~0: unknown */
	u64 hang_ns;        /* 0: the default of two seconds */
	u32 work_log2;      /* what one draw may ask for, struct vgpu_limits; 0: a reset ends what takes too long */
	u32 nr_scanouts;    /* of the display; 0: none */
	u32 width, height;  /* of the display at boot */
	const u8 *edid;     /* 128 bytes, or NULL */
	struct gpu_capset capset[GPU_CAPSETS];
	void *back;

	/* gpu/'s */
	u32 index; /* 0, 1 ... in order of registration */
	struct mutex lock;
	struct gpu_queue queue;                /* lock */
	struct vgpu_ids resource_ids, ctx_ids; /* lock */
	u64 memory, memory_peak;               /* lock: charged now */
	struct list nodes, clients;            /* lock */
	struct gpu_client *display;            /* lock: who may set scanouts */
	u64 jobs, hangs, resets;               /* lock */
	bool dead;
	struct work work;
	struct timer tick;
	struct spinlock over_lock; /* RANK_DRIVER: job->over */
	struct waitq idle;
	struct list link;
};

int __must_check gpu_register(struct gpu_dev *d); /* lives for ever; level driver. -ENOMEM */

/* Front ends hear of each device, also of those that were there before. At init, level bus or later. */
struct gpu_front {
	void (*added)(struct gpu_dev *d);
	struct list link;
};
void gpu_front_register(struct gpu_front *f);

/* ---- clients ---- */

#define GPU_CLIENT_NAME  40  /* a UUID fits */
#define GPU_CLIENT_AHEAD 256 /* requests; as many as the ring of QEMU's GPU holds */

struct gpu_client {
	struct gpu_dev *dev;
	struct tenant *tenant;         /* counted */
	char name[GPU_CLIENT_NAME];    /* for lists and traces: of a program, or of a virtual GPU */
	struct vgpu_tenant account;    /* dev->lock; of this client alone */
	struct vgpu_space space;       /* dev->lock */
	struct gpu_queue_client queue; /* dev->lock; busy_ns and done are its statistics */
	u64 submits, refused;          /* dev->lock */
	bool lost;                     /* dev->lock: its work hung the device */

	/* gpu/'s */
	struct gpu_node *node;
	struct gpu_queue_leaf own; /* if it has a share of its own */
	struct list contexts, link;
	atomic_t pending; /* jobs accepted whose ends have not been told */
	bool has_own_leaf, closing;
};

/* tenant: who pays. limits: of this client (NULL: vgpu_default_limits with all of the device's memory). share: a share
 * of its own within its tenant's (NULL: it takes turns with the tenant's other clients). -ENOMEM; -ENOSPC: guarantees.
 */
int __must_check gpu_client_open(struct gpu_dev *d, struct tenant *tenant, const struct vgpu_limits *limits,
				 const struct vgpu_share *share, const char *name, struct gpu_client **out);
/* Destroys all that it has, at the device too, and waits for that; every request has been answered (-ECANCELED) and
 * every page released when it returns. */
void gpu_client_close(struct gpu_client *c);
/* The same, but the client begins anew: not lost, nothing in it. (Reset of a virtual GPU.) */
void gpu_client_reset(struct gpu_client *c);
/* Waits until fewer than GPU_CLIENT_AHEAD requests are under way: programs that run ahead of the device are stopped
 * here, as they are by a ring that is full. gpu_request refuses what is far beyond (-EDQUOT). -ERESTARTSYS. */
int __must_check gpu_client_wait_room(struct gpu_client *c);
/* Makes c the one whose SET_SCANOUT, RESOURCE_FLUSH and cursor commands are the display's. -EBUSY: another one is. */
int __must_check gpu_client_take_display(struct gpu_client *c);
void gpu_client_drop_display(struct gpu_client *c);

/* Hands in a request. pages: with RESOURCE_ATTACH_BACKING, else NULL. done (NULL: nobody asks): told once, if 0 was
 * returned. r and its words stay the caller's (words are copied). */
int __must_check gpu_request(struct gpu_client *c, const struct vgpu_request *r, struct gpu_pages *pages,
			     struct gpu_done *done);
/* Waits until all that c has handed in so far is done and told. Not from done->fn. */
void gpu_client_drain(struct gpu_client *c);

#endif
