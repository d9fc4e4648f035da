/* SPDX-License-Identifier: MIT
 *
 * What the files of this part share.
 */
#ifndef CGROUP_PRIV_H
#define CGROUP_PRIV_H

#include <cgroup/cgroup.h>
#include <core/rcu.h>
#include <process/process.h>
#include <task/mutex.h>

struct cgroup { /* tenant->cgroup */
	struct attr_dir dir;
	struct tenant *tenant;      /* counted */
	u32 enabled;                /* L: controllers whose files are here: the parent's subtree */
	u32 subtree;                /* L: cgroup.subtree_control */
	u64 max_depth;              /* L: below here; ~0: any */
	u64 max_descendants;        /* L */
	u64 descendants;            /* L */
	u64 dying;                  /* L: removed ones below that still hold charges */
	unsigned threaded_children; /* L */
	bool threaded;              /* L: its processes' resources are its domain's (cgroup_domain) */
	bool freeze;                /* L: its own wish */
	u8 partition;               /* L: cpuset.cpus.partition, and */
	u8 partition_error;         /* L: why it is none, 0: it is one */
	bool no_pressure;           /* L: cgroup.pressure is 0: the files are hidden */
	struct rcu_head rcu;
	char name[];
};

extern struct mutex cgroup_lock; /* L */
extern struct cgroup cgroup_root;
extern const struct attr *const cgroup_core_files[], *const cgroup_core_root_files[], *const cgroup_stat_files[];
extern struct list cgroup_controllers; /* constant after boot */

static inline struct cgroup *cgroup_of(struct tenant *t)
{
	return t->cgroup;
}
u64 cgroup_file_version(struct attr_dir *d, const struct attr *a);
struct cgroup *cgroup_parent(struct cgroup *c); /* NULL: root */
#define for_each_child_dir(d, c) list_for_each_entry (d, &(c)->dir.children, sibling)
/* Shows the files of the core and of these controllers. -ENOMEM. */
int __must_check cgroup_show_files(struct cgroup *c, u32 controllers);
u32 cgroup_available(struct cgroup *c); /* what it may give to its children */

/* controllers.c: adds what those in it and below have consumed. cgroup_lock held */
void cgroup_add_use(struct tenant *t, struct tenant_use *sum);

/* ---- namespace.c: where it seems to be ---- */
struct super;
struct dentry;
struct tenant *cgroup_ns_root(void);                        /* of current; not counted */
void cgroup_add_path(struct cgroup *c, struct strbuf *out); /* as current sees it. cgroup_lock held */
int __must_check cgroup_mount_root(struct super *s, struct dentry **out);

/* ---- tasks.c: who is in it ---- */

/* Ids of a tenant's own processes (their leaders) or threads, counted. */
struct cgroup_ids {
	struct pid **pid;
	unsigned nr, room;
	bool threads, short_of;
};
int __must_check cgroup_ids_get(struct tenant *t, bool threads, struct cgroup_ids *ids); /* -ENOMEM */
void cgroup_ids_put(struct cgroup_ids *ids);
/* May `as` move a process from one to the other, as far as files' owners say? -EACCES. */
int __must_check cgroup_may_cross(struct cgroup *from, struct cgroup *to, const struct cred *as);
extern const struct attr cgroup_file_procs, cgroup_file_threads;

/* ---- type.c: domains and threads. All with cgroup_lock held ---- */

struct cgroup *cgroup_domain(struct cgroup *c);      /* who holds the memory of its processes: itself if not threaded */
u32 cgroup_threaded_set(void);                       /* the controllers that reach into threaded ones */
bool cgroup_is_valid_domain(struct cgroup *c);       /* may hold processes */
bool cgroup_is_thread_root(struct cgroup *c);        /* has threaded ones below */
int __must_check cgroup_may_enter(struct cgroup *c); /* -ENODEV, -EOPNOTSUPP, -EBUSY */
int __must_check cgroup_may_enable(struct cgroup *c, u32 controllers); /* for its children; -EOPNOTSUPP, -EBUSY */
extern const struct attr cgroup_file_type, cgroup_file_controllers, cgroup_file_control;

/* ---- pressure.c ---- */
extern const struct attr *const cgroup_pressure_files[];

/* ---- memory.c ---- */
extern struct cgroup_controller cgroup_memory;
u64 cgroup_memory_version(struct attr_dir *d, const struct attr *a); /* 0: not a file that can be waited for */

#define CGROUP_FILE(id, text, bits, get, put, value)                                                                   \
	const struct attr id = { .name = text, .mode = bits, .show = get, .set = put, .data = value }

#endif
