/* SPDX-License-Identifier: MIT
 *
 * The resctrl file system without a file system: groups of tasks and CPUs, each with masks of cache
 * portions, as text files over a back end that knows how a portion is enforced (CAT's registers, or
 * page colours).
 *
 * Words
 *   resource  a cache level (L3, L2) or memory bandwidth (MB) with its domains (one per physical
 * cache). row       one line of schemata: a resource, or its DATA or CODE half when code and data
 * are apart (CDP). class     what the back end enforces: one value for each row and domain (Intel:
 * CLOS; a colour set). group     what the user sees: a directory. Groups with equal values share a
 * class, so there may be more groups than classes; a write that needs one more class than there are
 * gets ENOSPC.
 *   monitor group  a directory in a group's mon_groups: some of the group's tasks and CPUs, counted apart. What is
 * counted goes by tag (Intel: RMID); each group and monitor group has one of its own where the processor counts.
 *
 * Text and error numbers follow Linux 6.1, Documentation/x86/resctrl.rst and observed behaviour; a
 * write that is refused changes nothing, and info/last_cmd_status says why in words of our own.
 *
 * Threading: the caller holds one lock around every call here; resctrl_label_of, resctrl_class_of and
 * resctrl_control_of are read by the context switch and others without any. Errors: 0 or -errno. Texts are terminated
 * and need not be newline-free.
 */
#ifndef RESCTRL_RESCTRL_H
#define RESCTRL_RESCTRL_H

#include <lib/printf.h>
#include <lib/types.h>

#define RESCTRL_MAX_DOMAINS 64
#define RESCTRL_MAX_CLASSES 128
#define RESCTRL_MAX_GROUPS  512
#define RESCTRL_MAX_ROWS    5 /* L3DATA L3CODE L2DATA L2CODE MB */
#define RESCTRL_NAME_MAX    255

enum resctrl_resource_id { RESCTRL_L3, RESCTRL_L2, RESCTRL_MB, RESCTRL_NR };
enum resctrl_half { RESCTRL_BOTH, RESCTRL_DATA, RESCTRL_CODE };

struct resctrl_domain {
	u32 id;          /* the cache's id, as in /sys/devices/system/cpu/cpuN/cache/indexM/id */
	u64 cpus;        /* online CPUs of this cache; 0: the domain is away, its values are kept */
	u64 cache_bytes; /* 0 for MB */
};

struct resctrl_resource {
	bool present;
	bool cdp_capable;
	bool cdp_on;     /* written by the core */
	bool sparse;     /* masks may have holes */
	bool empty;      /* mask 0 is legal */
	bool tied;       /* the domains hold one value: what is set for one holds for all */
	u8 width;        /* bits of a mask (cbm_len), at most 32 */
	u8 min_bits;     /* fewest bits in a mask */
	u16 num_classes; /* of the back end, CDP off */
	u32 shared_bits; /* portions that others than CPUs use too (I/O, GPU; the kernel's colours)
			  */
	/* MB only: per cent or megabytes, as the processor has it */
	u32 bw_min, bw_gran, bw_max;
	bool bw_linear;
	const char *bw_throttle; /* which of a core's threads a limit slows, as info says it; NULL: not said */
	unsigned nr_domains;     /* in order of appearance; an index stays a domain's for good */
	struct resctrl_domain domain[RESCTRL_MAX_DOMAINS];
};

/* What is counted for each tag and L3; numbers are those of the hardware's events. */
enum resctrl_event { RESCTRL_OCCUPANCY = 1, RESCTRL_MBM_TOTAL = 2, RESCTRL_MBM_LOCAL = 3, RESCTRL_EVENTS };

struct resctrl_monitor {
	u32 events;   /* bit n: event n is counted; 0: no monitoring */
	u16 num_tags; /* tag 0 is everybody's who has no other */
	u32 unit;     /* bytes that one count stands for */
	u64 l3_bytes;
};

struct resctrl_backend;

/* Everything that enforces. Only commit may be missing. */
struct resctrl_backend_ops {
	/* Would this set of values be enforceable? *why gets a reason (static text) when not. No
	 * effect. May be NULL. */
	int (*check)(struct resctrl_backend *be, const u32 (*value)[RESCTRL_MAX_DOMAINS], const char **why);
	/* Called for each value that changes, and only then. Cannot fail: check() has passed. */
	void (*set)(struct resctrl_backend *be, unsigned cls, enum resctrl_resource_id res, enum resctrl_half half,
		    unsigned domain, u32 value);
	/* After the sets of one class. May be NULL. */
	void (*commit)(struct resctrl_backend *be, unsigned cls);
	/* Code and data apart. At mount and unmount only. */
	int (*set_cdp)(struct resctrl_backend *be, enum resctrl_resource_id res, bool on);
	/* One paragraph for info/backend: what is active, what it covers, what it does not. */
	void (*describe)(struct resctrl_backend *be, struct strbuf *out);
	/* What is still being moved to where it belongs, for info/recolouring. NULL: nothing ever is. */
	void (*progress)(struct resctrl_backend *be, struct strbuf *out);
	/* A remark about the class for info/last_cmd_status, after a write that went well (static text), or NULL. May
	 * be NULL. */
	const char *(*note)(struct resctrl_backend *be, unsigned cls);
	/* Of a tag in a domain of the L3, in bytes: what is cached now; what has passed since forget(). -EIO: the
	 * processor reports an error; -EINVAL: nothing to be had now. To be called at least once a second while mounted
	 * (resctrl_monitor_tick), or counters may wrap unseen. NULL: nothing is monitored. */
	int (*count)(struct resctrl_backend *be, unsigned tag, unsigned domain, enum resctrl_event e, u64 *bytes);
	void (*forget)(struct resctrl_backend *be, unsigned tag);
};

struct resctrl_backend {
	const struct resctrl_backend_ops *ops;
	/* The domains of the L3 are there if it is divided or monitored. */
	struct resctrl_resource res[RESCTRL_NR];
	struct resctrl_monitor mon;
};

/* The rest of the kernel, seen from here. Group numbers are small integers, 0 is the default group;
 * a task carries its group's number and children inherit it. */
struct resctrl_host_ops {
	/* Moves one thread; tid 0 is the caller. Unless RESCTRL_ANY, only from the group `within` or its monitor
	 * groups: else -EXDEV. -ESRCH, -EPERM. Takes effect at once, running or not. */
	int (*task_move)(void *ctx, s32 tid, u16 group, u16 within);
	/* All threads of one group into another. */
	void (*tasks_move_all)(void *ctx, u16 from, u16 to);
	/* The smallest tid above *tid in the group, or in one of its monitor groups (resctrl_lists); false at the end.
	 */
	bool (*task_next)(void *ctx, u16 group, s32 *tid);
	/* CPUs in the mask, and those that run a task of the group, ask resctrl_class_of() again
	 * now. */
	void (*refresh)(void *ctx, u16 group, u64 cpus);
};

#define RESCTRL_ANY 0xffff

struct resctrl;

/* nr_cpus: how many the cpus files show. online: those present now. */
int __must_check resctrl_create(struct resctrl_backend *be, const struct resctrl_host_ops *host, void *ctx,
				unsigned nr_cpus, u64 online, struct resctrl **out);
void resctrl_destroy(struct resctrl *r);

/* options: "", or words out of cdp,cdpl2. -EBUSY when mounted, -EINVAL for an option unknown or not
 * possible. */
int __must_check resctrl_mount(struct resctrl *r, const char *options);
void resctrl_umount(struct resctrl *r); /* everything back to the default group and to full masks */
/* The same, but groups that keep() holds stay, and it stays mounted. */
void resctrl_reset(struct resctrl *r, bool (*keep)(u16 group));
void resctrl_show_options(struct resctrl *r, struct strbuf *out); /* ",cdp" as in /proc/mounts */

/* Files, by path below the mount point ("schemata", "info/L3/cbm_mask", "web/tasks"). A node stays
 * usable until its group is removed; then -ENOENT. */
struct resctrl_node {
	const struct resctrl_file *file; /* NULL: a directory */
	u16 mode;                        /* type and permissions, as st_mode */
	u16 group;                       /* the group that it belongs to */
	u32 generation;
	u8 dir;   /* the kind of directory that it is or lies in */
	u8 index; /* of a directory below info: its row; of one in mon_data: its domain */
};
int __must_check resctrl_lookup(struct resctrl *r, const char *path, struct resctrl_node *out);
int __must_check resctrl_child(struct resctrl *r, const struct resctrl_node *dir, const char *name,
			       struct resctrl_node *out);
/* The n-th name in a directory, and its node; false at the end. Stable as long as nothing is made or removed. The name
 * of a directory is kept until the next call that takes one. */
bool resctrl_readdir(struct resctrl *r, const struct resctrl_node *dir, unsigned n, const char **name,
		     struct resctrl_node *out);
int __must_check resctrl_show(struct resctrl *r, const struct resctrl_node *n, struct strbuf *out);
int __must_check resctrl_store(struct resctrl *r, const struct resctrl_node *n, const char *text, size_t len);

/* Groups: below the root, or monitor groups below a mon_groups. -EPERM elsewhere, and for what is no group. */
int __must_check resctrl_mkdir(struct resctrl *r, const struct resctrl_node *dir, const char *name);
int __must_check resctrl_rmdir(struct resctrl *r, const struct resctrl_node *n);

/* Once a second while mounted, if the back end counts traffic (RESCTRL_MBM_*). */
void resctrl_monitor_tick(struct resctrl *r);

/* CPU hot-plug. The back end has brought its domains up to date before. */
void resctrl_cpu_online(struct resctrl *r, unsigned cpu);
void resctrl_cpu_offline(struct resctrl *r, unsigned cpu);

/* What a CPU must use while it runs a task of this group: the task's own unless it is in the default group, else the
 * CPU's. Any context, no lock. */
struct resctrl_label {
	u16 cls, tag;
};
struct resctrl_label resctrl_label_of(const struct resctrl *r, unsigned cpu, u16 task_group);
static inline unsigned resctrl_class_of(const struct resctrl *r, unsigned cpu, u16 task_group)
{
	return resctrl_label_of(r, cpu, task_group).cls;
}
u16 resctrl_control_of(const struct resctrl *r, u16 group); /* of a monitor group: the group above; else itself */
static inline bool resctrl_lists(const struct resctrl *r, u16 group, u16 task_group)
{
	return task_group == group || resctrl_control_of(r, task_group) == group;
}

/* "res:GROUP", "mon:MONITORGROUP", each empty for none, a line each; res:/ is the default group. */
void resctrl_show_group(const struct resctrl *r, u16 group, struct strbuf *out);

/* For the cache controller of cgroups: the group of that name, or -ENOENT; what its schemata says of a cache (of data,
 * if code is apart; domain by index), the whole text, and a write into it; what it has in an L3 now, -EINVAL if nobody
 * counts. */
int resctrl_group_find(struct resctrl *r, const char *name);
u32 resctrl_mask_of(const struct resctrl *r, u16 group, enum resctrl_resource_id id, unsigned domain);
void resctrl_group_read(struct resctrl *r, u16 group, struct strbuf *out);
int __must_check resctrl_group_write(struct resctrl *r, u16 group, const char *text, size_t len);
int __must_check resctrl_occupancy(struct resctrl *r, u16 group, unsigned domain, u64 *bytes);

#endif
