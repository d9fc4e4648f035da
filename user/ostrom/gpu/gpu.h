/* SPDX-License-Identifier: MIT
 *
 * `ostrom gpu`: one GPU shared among processes, containers and virtual machines of a stock Linux.
 *
 *   client (unmodified Mesa) --vtest socket--> broker: vtest.c parses, admits and queues
 *                                              broker: device.c picks the next job, by the core's scheduler
 *                                              --socket pair--> worker.c: one process a tenant, confined,
 *                                                               runs it by libvirglrenderer, answers when finished
 *   ostrom gpu list|top|set|run --control socket--> control.c
 *
 * The broker is one thread with one epoll loop; everything here is called from it unless said otherwise. Times are
 * nanoseconds of CLOCK_MONOTONIC.
 */
#ifndef GPU_GPU_H
#define GPU_GPU_H

#include <sys/uio.h>
#include <lib/list.h>
#include <lib/types.h>
#include <virt/vgpu/sched.h>
#include <virt/vgpu/tenant.h>
#include <lib/err.h>
#include <lib/string.h>
#include <core/log.h>
#include "ostrom.h"

#define NAME_MAX_BYTES 48

struct tenant;
struct broker;

/* Who gets told that a descriptor is ready: the first member of everything in the epoll set. */
struct watch {
	void (*ready)(struct watch *w, u32 events);
	int fd;
	u32 events;
};

/* ---- one queued command of a client (conn.c) ---- */

enum op_kind { OP_WIRE, OP_WORK, OP_SUBMIT, OP_REPLY };

struct op {
	struct list link;
	enum op_kind kind;
	u32 work;   /* OP_SUBMIT: draws, dispatches and transfers that are left */
	u32 start;  /* OP_SUBMIT: words already sent */
	u32 seq;    /* OP_REPLY: due when this job is done */
	u32 bytes;  /* of data: a wire message, or what the front end answers */
	bool ahead; /* OP_REPLY: waits for work alone, not for what was created or destroyed since */
	int fd;     /* passed along, then closed; -1 for none */
	u8 data[];
};

/* ---- a connection: a process (vtest.c) or a virtual machine (vm.c) ---- */

struct conn;

struct front {
	void (*ready)(struct watch *w, u32 events);
	void (*resume)(struct conn *c); /* the worker is ready, or there is room again: serve what has come */
	void (*answer)(struct conn *c, struct op *op);
	void (*failed)(struct conn *c,
		       u32 host_ctx); /* the renderer refused something; NULL: the client is sent away */
	void (*end)(struct conn *c);  /* gives back what it holds of the client */
	void (*free)(struct conn *c);
};

struct conn {
	const struct front *front;
	struct watch watch;
	struct list link; /* in its tenant */
	struct tenant *tenant;
	struct vgpu_space space;
	struct list ops, due;                        /* due: answers that wait for a job that was sent */
	u32 nr_ops, nr_submits, nr_work, nr_replies; /* queued: all, and by kind */
	u32 nr_due;
	u64 op_bytes;
	u32 jobs, last_job; /* at the device; the number of the last one sent */
	bool ended;         /* the client is gone; what is left is queued to be destroyed */
	char name[NAME_MAX_BYTES];
};

/* ---- a tenant ---- */

/* What a worker's threads ran and waited for processors, by the last look (meter.c). */
struct meter {
	int fds[32];
	u32 n, looks;
	u32 part; /* of the clock's time that counts, in millionths */
	u64 ran, waited;
	u64 unseen_ns; /* by the clock, since the last look */
};

struct tenant {
	struct list link;
	struct broker *broker;
	char name[NAME_MAX_BYTES];
	char path[108], vm_path[108];
	struct watch listener, vm_listener; /* of processes, of a virtual machine */
	struct watch *owner;                /* control connection with whose end it goes, or NULL */
	struct vgpu_entity entity;
	struct vgpu_tenant account;
	struct list conns;
	struct conn *last_served;
	u64 work_ns; /* running mean of busy time a draw */
	u64 resets, clients, frames;

	/* its worker */
	struct watch worker;
	int pid;    /* 0: none */
	bool ready; /* it said hello */
	struct vgpu_ids ids, ctx_ids;
	u8 *caps[3]; /* by set, masked */
	u32 caps_bytes[3];
	struct meter meter;
	u8 *in;
	u32 in_len, in_size;
	struct list sends; /* struct op: wire messages not yet taken by the worker */
};

#define JOBS_MAX 2 /* at the device: one running and one prefetched of the same tenant */

struct job {
	struct tenant *tenant;
	struct conn *conn; /* NULL once the connection is freed */
	u32 seq, work;
	u64 sent_ns;
};

struct broker {
	int epoll;
	u64 seed;
	const char *dir, *render_node;
	const char *cgroup; /* the folder in which workers get theirs; NULL: nowhere */
	bool verbose;
	u64 hang_ns, quantum_ns;
	struct vgpu_limits limits;
	struct vgpu_sched sched;
	struct list tenants;
	u32 nr_tenants;
	struct watch control;
	struct job jobs[JOBS_MAX]; /* in order of sending */
	u32 nr_jobs, seq;
	u64 last_done_ns, retry_ns;
	u64 clock_ns, clock_at_ns, clock_last_ns; /* the device's clock (device.c), and when by ours it was set */
	u32 part;                                 /* how fast it runs, in millionths of ours */
	volatile bool stop;
};

/* Asks Linux for short turns: on a busy machine broker and workers are then woken sooner, at the same share of the
 * processor. Inherited by threads and children. */
void ask_short_slice(void);
u64 now_ns(void);
u64 random_seed(void);
int watch_add(struct broker *b, struct watch *w, u32 events);
void watch_set(struct broker *b, struct watch *w, u32 events);
void watch_close(struct broker *b, struct watch *w);
int listen_unix(const char *path, mode_t mode);

/* tenants.c: -EEXIST, -EINVAL (a name that is no file name), -ENOSPC (guarantees), -errno of the socket */
int tenant_create(struct broker *b, const char *name, const struct vgpu_share *share, u64 memory, struct tenant **out);
void tenant_destroy(struct tenant *t);
struct tenant *tenant_find(struct broker *b, const char *name);
int tenant_start_worker(struct tenant *t);
/* Ends the worker and every connection: it died, hung, or said what no worker says. */
void tenant_reset(struct tenant *t, const char *why);
void tenant_send(struct tenant *t, struct op *op); /* takes op; written by the next tenant_flush */
void tenant_flush(struct tenant *t);

/* conn.c */
struct op *op_new(enum op_kind kind, u32 bytes, int fd); /* ends the program when out of memory */
struct op *op_wire(enum op_kind kind, u32 type, u32 host_ctx, const void *payload, u32 bytes, int fd);
void op_free(struct op *op);
void conn_init(struct conn *c, const struct front *front, struct tenant *t, int fd);
int __must_check conn_ctx_create(struct conn *c, u32 id, struct vgpu_ctx **out); /* -errno of vgpu_ctx_create */
void conn_enqueue(struct conn *c, struct op *op); /* takes op; an answer that waits for nothing is given at once */
struct op *conn_pop(struct conn *c);
void conn_pass_replies(struct conn *c); /* answers at the head belong to the last job */
/* Sends pieces over a socket, fd (-1: none) with the first byte. What sendmsg returns; it does not wait. */
ssize_t send_pieces(int sock, struct iovec *iov, u32 n, int fd);
bool conn_busy(const struct conn *c); /* work is queued or at the device */
bool conn_runnable(const struct conn *c);
void conn_progress(struct conn *c, u32 seq);    /* job seq ended: answers that waited are due */
void conn_empty(struct conn *c);                /* the client starts anew: destroys all that it had */
void conn_end(struct conn *c, const char *why); /* the client is gone or is sent away; why may be NULL */
void conn_free(struct conn *c);                 /* with everything, without telling the worker */

/* vtest.c, vhost.c: a client has come */
void vtest_accept(struct tenant *t, int fd);
void vm_accept(struct tenant *t, int fd);

/* device.c */
u64 device_now(struct broker *b);            /* the scheduler's time */
void device_kick(struct broker *b);          /* something may be runnable */
bool device_shared(struct tenant *self);     /* others want it, or did within the last second */
void device_done(struct tenant *t, u32 seq); /* its worker finished job seq */
void device_forget(struct tenant *t);        /* its worker is gone */
void device_forget_conn(struct conn *c);
u64 device_check(struct broker *b); /* hung jobs, retries; returns when to be called again */

/* control.c */
int control_open(struct broker *b);
int parse_share(const char *key, const char *value, struct vgpu_share *share, u64 *memory); /* one KEY=VALUE */
int control_connect(const char *dir);
char *control_ask(int fd, const char *line); /* the answer (malloc), or NULL; an answer starts with "ok" or "error" */
const char *default_dir(void);

/* meter.c: what a job cost in software rendering, clock_ns by the clock */
void meter_open(struct meter *m, int pid);
void meter_close(struct meter *m);
u64 meter_busy(struct meter *m, int pid, u64 clock_ns);

/* cgroup.c: a group for each worker, where that is possible */
void cgroup_open(struct broker *b);
void cgroup_create(struct tenant *t);
void cgroup_limit(const struct tenant *t); /* its memory limit changed */
void cgroup_enter(const struct tenant *t); /* in the process that becomes the worker */
void cgroup_remove(const struct tenant *t);

/* report.c: one report of all tenants in a malloc'd string; format text, json, openmetrics or raw */
char *report(struct broker *b, const char *format);

/* worker.c, confine.c: in the worker process */
int worker_main(int argc, char **argv);
int confine_before(void);            /* namespaces, user, limits */
int confine_after(bool render_node); /* system calls */

/* subcommands */
int gpu_serve(int argc, char **argv);
int gpu_run(int argc, char **argv);
int gpu_list(int argc, char **argv);
int gpu_top(int argc, char **argv);
int gpu_set(int argc, char **argv);

#endif
