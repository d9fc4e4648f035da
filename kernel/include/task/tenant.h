/* SPDX-License-Identifier: MIT
 *
 * Tenants: the tree in which every resource of the machine is a share. A tenant is what cgroup v2
 * shows as a folder; tasks, VMs and vGPUs belong to one. There is one root tenant from boot on.
 *
 * Charges: tenant_charge takes `n` units of a resource for a tenant and all its ancestors, or
 * nothing (-ENOMEM for memory, -EAGAIN for pids ... as the caller says by errno). Memory charges go
 * through a per-CPU stock of 64 pages.
 *
 * Locks: shape of the tree RANK_CGROUP (sleep; fields marked L); counters are atomic; look-up by id16 under RCU.
 */
#ifndef TASK_TENANT_H
#define TASK_TENANT_H

#include <core/rcu.h>
#include <lib/atomic.h>
#include <lib/list.h>
#include <task/psi.h>
#include <task/thrash.h>
#include <task/timer.h>
#include <task/wait.h>

enum resource { RES_CPU, RES_MEMORY, RES_SWAP, RES_PIDS, RES_IO, RES_GPU, RES_CACHE, RES_NR };

struct share {
	atomic64_t use; /* units now (pages, tasks) */
	atomic64_t peak;
	u64 limit; /* ~0: none */
	u64 guarantee;
	u64 weight;          /* 1..10000, default 100 */
	u64 cap;             /* GPU: of its time, in millionths; 0: none. Its guarantee is in millionths too */
	atomic64_t failures; /* charges refused here */
	atomic64_t total;    /* consumed so far (ns, bytes), for stat files */
};

struct tenant_use {
	u64 ns, user_ns, system_ns; /* of CPU time */
	u64 faults, major_faults;   /* of pages; the former are all of them */
};

/* What of a tenant waits for or has one CPU: under that CPU's run queue lock. */
struct tenant_run {
	u64 sum;    /* weights of the runnable tasks and children in it */
	u32 weight; /* what it adds to its parent's sum: of its own the part that is runnable here */
	struct psi_cpu psi;
};

/* cpu.max: CPU time in each period, for all CPUs together. Overdraft is carried into the next period. */
struct tenant_bandwidth {
	u64 quota_ns, period_ns, burst_ns; /* quota ~0: no limit. lock */
	atomic64_t balance_ns;             /* what is left; may be negative */
	u64 period_end_ns;                 /* atomic */
	bool throttled;                    /* tasks sleep before they return to user mode */
	u64 saved_ns;                      /* of earlier periods, when this one began */
	u64 bursts, burst_used_ns;         /* periods in which more than the quota ran, and how much more. atomic */
	u64 periods, throttled_times, throttled_ns, throttled_since_ns; /* lock */
	struct spinlock lock;                                           /* RANK_SUBSYS_SPIN, irqsave */
	struct waitq wait;
	struct timer timer; /* the next period, while somebody is throttled */
};

/* What happened to a tenant's memory: the rows of memory.events and memory.swap.events. */
enum memory_event {
	MEMORY_LOW,       /* reclaimed although protected by memory.low */
	MEMORY_HIGH,      /* above memory.high: had to reclaim */
	MEMORY_MAX,       /* a charge was about to go above memory.max */
	MEMORY_OOM,       /* and reclaim did not help */
	MEMORY_OOM_KILL,  /* processes killed */
	MEMORY_OOM_GROUP, /* times that a whole tenant was killed */
	MEMORY_SWAP_HIGH, /* a task above memory.swap.high was paused */
	MEMORY_SWAP_MAX,
	MEMORY_SWAP_FAIL,
	MEMORY_EVENTS
};

/* What a tenant's own pages are, without those below: memory.stat. The rest of its pages is anonymous. */
enum memory_kind {
	MEMORY_FILE,      /* page cache, with MEMORY_SHMEM */
	MEMORY_SHMEM,     /* of it: cannot be filled again */
	MEMORY_STACKS,    /* kernel stacks and task structures */
	MEMORY_DIRTY,     /* of MEMORY_FILE: newer than on the device, */
	MEMORY_WRITEBACK, /* and on the way there */
	MEMORY_KINDS
};

/* What reclaim did to a tenant's pages and those below, and what of it was in vain: memory.stat. */
enum memory_count {
	MEMORY_SCANNED,      /* looked at */
	MEMORY_STOLEN,       /* taken */
	MEMORY_REFAULT_ANON, /* read again from swap */
	MEMORY_REFAULT_FILE, /* back in the page cache, by what vfs/refault.c remembers */
	MEMORY_COUNTS
};

struct tenant_memory {
	u64 min, low;           /* pages that reclaim spares; share.limit is memory.max. Single words */
	u64 swap_high;          /* the same for RES_SWAP */
	u64 high;               /* ~0: none. Tasks above it reclaim and pause before they return to user mode */
	u64 kept_min, kept_low; /* of min and low what is left among siblings: tenant_protect */
	bool oom_group;
	atomic64_t events[MEMORY_EVENTS]; /* here and below */
	atomic64_t local[MEMORY_EVENTS];
	atomic64_t kind[MEMORY_KINDS]; /* pages */
	atomic64_t count[MEMORY_COUNTS];
	u32 version;          /* atomic: raised by each event */
	struct thrash thrash; /* vfs/reclaim.c: does taking pages help against this limit? */
};

struct tenant {
	struct tenant *parent; /* NULL: root */
	u16 id;                /* 1.. ; 1 is the root */
	refcount_t refs;
	struct list children, sibling;
	struct share share[RES_NR];
	struct list tasks;  /* live ones of the tenant itself, until they exit: RANK_TENANT */
	atomic64_t live;    /* live tasks here and below */
	atomic64_t stopped; /* of them, those that run no user code: tenant_task_stops */
	u32 freezing;       /* L: its own wish and those of all above it, counted; any reader */
	u32 version;        /* RANK_TENANT: raised when it becomes populated or empty, frozen or not */
	struct tenant_use
		ended; /* what tasks consumed here that have ended or left, and removed children: RANK_TENANT */
	struct tenant_run *run;   /* a CPU */
	u64 cpus, cpus_effective; /* cgroup's cpuset: asked for (0: nothing); where its threads may run */
	u64 mems, mems_effective; /* the same, of memory nodes */
	bool cpu_idle;            /* cpu.idle: runs when nobody else wants to */
	u32 cpu_weight;           /* 1024: that of a task of nice 0 */
	atomic64_t runnable;      /* the sums on all CPUs, where there are several */
	struct tenant_memory memory;
	atomic64_t object_bytes; /* of the kernel's objects; charged in whole pages */
	atomic64_t own_pages;    /* charged to itself: while there are some it keeps a reference */
	struct tenant_bandwidth bandwidth;
	void *psi; /* struct psi_group *, or NULL: task/psi.c */
	struct psi_device gpu_psi;
	void *cgroup;    /* the folder; RCU */
	void *bpf;       /* effective programs by hook, NULL: none */
	u16 cache_group; /* RANK_TENANT: what its tasks carry: its own, or that of the nearest above; 0: none has one */
	struct rcu_head rcu;
	bool dead;
};

extern struct tenant tenant_root;

int __must_check tenant_create(struct tenant *parent, struct tenant **out); /* -ENOMEM, -EAGAIN (ids used up) */
void tenant_get(struct tenant *t);
void tenant_put(struct tenant *t);
struct tenant *tenant_by_id(u16 id); /* under RCU */
struct task;
void tenant_add_task(struct tenant *t, struct task *task);
void tenant_task_exits(struct task *task);  /* no longer counts as live; it still holds its number. Again: nothing */
void tenant_remove_task(struct task *task); /* gives its pid charge back */
/* Moves a live task with its pid charge, which a limit does not hinder. false: it has exited, or the tenant has been
 * closed. What memory it has charged stays where it is. */
bool tenant_move_task(struct task *task, struct tenant *to);
/* Adds what the tenant's own tasks have consumed, and its removed children. */
void tenant_add_use(struct tenant *t, struct tenant_use *sum);
/* CPU shares: weight 1..10000, 100 is the default and as much as a task of nice 0. Takes effect at once. */
void tenant_set_cpu_weight(struct tenant *t, u32 weight);
void tenant_set_cpu_idle(struct tenant *t, bool idle); /* then back to the default weight */
/* quota ~0: no limit. -EINVAL: outside 1 ms .. 1 s, or a burst above the quota. */
int __must_check tenant_set_cpu_max(struct tenant *t, u64 quota_ns, u64 period_ns, u64 burst_ns);
/* Its tasks, and those of all below that have none of their own, carry this cache group from now on: whoever moves or
 * forks meanwhile, too. 0: what the parent's carry. RANK_CGROUP held. */
void tenant_set_cache_group(struct tenant *t, u16 group);
/* Calls fn for each live task of the tenant itself under RANK_TENANT, until it returns false. */
void tenant_for_each_task(struct tenant *t, bool (*fn)(struct task *task, void *arg), void *arg);
/* Freezing: what the tasks of a tenant do about its wish is process's business (signal_freeze_point); they say when
 * they have stopped running user code, for whatever reason, and when they are about to run it again. */
void tenant_set_freezing(struct tenant *t, bool freeze); /* t alone; cgroup does it for all below. RANK_CGROUP held */
void tenant_task_stops(struct task *task, bool stops);
bool tenant_is_frozen(const struct tenant *t); /* it is to freeze, and all its tasks have stopped */
static inline bool tenant_is_freezing(const struct tenant *t)
{
	return READ_ONCE(t->freezing) != 0;
}
/* Some tenant's version has risen. Hook of the cgroup files; called without locks, in any context. */
extern void (*tenant_changed_hook)(void);
/* No task can enter any more. False, and nothing done: there are live ones. */
bool __must_check tenant_close(struct tenant *t);

/* Parts that keep something of their own for each tenant. created may refuse with -errno and may sleep; removed follows
 * when the tenant is taken out of the tree (tasks and charges may remain for a while). In order of registration. */
struct tenant_watcher {
	struct list link;
	int (*created)(struct tenant *t);
	void (*removed)(struct tenant *t);
};
void tenant_watcher_register(struct tenant_watcher *w); /* at boot */
void tenant_kill(struct tenant *t); /* takes it out of the tree: dead, watchers told; drops the creator's reference */
void tenant_drain(void);            /* returns every CPU's stock of prepaid pages */

/* ---- memory (tenant_memory.c) ---- */
static inline bool tenant_is_below(const struct tenant *t, const struct tenant *top) /* or the same; top NULL: yes */
{
	while (t && t != top && top)
		t = t->parent;
	return t != NULL;
}
/* Is this who pays for the page (its number), below top? What was charged to nobody is below the root only. Any
 * context. */
bool tenant_page_is_below(u16 id, const struct tenant *top);
/* Before reclaim for top's sake: divides what is protected among all below it, as far as they use it. Two at a time may
 * see each other's division. */
void tenant_protect(struct tenant *top);
/* Of the page cache, what has a place elsewhere; here and below. */
u64 tenant_file_pages(struct tenant *top);
void tenant_use_protection(void); /* some tenant's min or low is not 0 from now on */
/* May reclaim for top's sake take pages of the tenant of this number? low: memory.low protects as well. */
bool tenant_may_reclaim(u16 id, const struct tenant *top, bool low);
void tenant_memory_event(struct tenant *t, enum memory_event e);
void tenant_memory_kind(u16 id, enum memory_kind k, s64 pages); /* id 0: nobody's, nothing to do */
void tenant_memory_count(u16 id, enum memory_count c, u64 pages);
/* Before the return to user mode, on WORK_MEMORY: brings current's tenants below memory.high, or pauses. */
void tenant_high_point(void);
/* Reclaims until t uses at most `pages`, or nothing more goes; kill: then kills. */
void tenant_shrink_to(struct tenant *t, u64 pages, bool kill);
int __must_check tenant_charge(struct tenant *t, enum resource r, u64 n, int err);
void tenant_uncharge(struct tenant *t, enum resource r, u64 n);

#endif
