/* SPDX-License-Identifier: MIT
 *
 * Namespaces: a process sees its own instance of something that the machine has once (host name, mounts, numbers of
 * processes, network, place in the tenant tree). A kind belongs to the part that has the thing; it registers an
 * ns_kind_ops at boot, and system calls, /proc and lifetimes are the same for all.
 *
 * Ownership: struct ns is the first member of each kind's own struct, counted by ns_get/ns_put; ns_put may sleep for
 * mounts, so it is called without locks. A task has a set of them (task->ns, NULL: the first ones), shared between
 * tasks and never changed: who changes its namespaces gets another set. User namespaces are part of credentials
 * (task/user_ns.h) and not in the set. Source of kinds, names and flags: namespaces(7), linux/sched.h.
 */
#ifndef TASK_NS_H
#define TASK_NS_H

#include <lib/atomic.h>
#include <lib/types.h>
#include <task/cred.h>

struct task;
struct user_ns;

enum ns_kind { NS_UTS, NS_IPC, NS_PID, NS_NET, NS_CGROUP, NS_TIME, NS_MNT, NS_USER, NS_NR };
#define NS_IN_SET NS_USER /* the kinds before this one */

struct ns;
struct ns_kind_ops {
	const char *name; /* in /proc/PID/ns */
	u32 flag;         /* CLONE_NEW* */
	struct ns *first; /* everyone's at boot */
	/* A new one for task t, made from `old`; mounts: t->fs is t's own and moves along. */
	int (*copy)(struct ns *old, struct user_ns *owner, struct task *t, struct ns **out);
	/* setns(2) of current: rules and effects beyond the rights on ns->owner, which are checked. NULL: none. */
	int (*enter)(struct ns *ns);
	void (*free)(struct ns *ns);
	struct ns *(*parent)(struct ns *ns); /* of nesting kinds, not counted; NULL: has none */
};

struct ns {
	refcount_t refs;
	enum ns_kind kind;
	u32 inum;              /* what stat and the link's text show */
	struct user_ns *owner; /* counted */
	kuid_t maker;          /* for whom it counts (ns_limit_charge) */
	bool counts;           /* not the first ones, nor what is being made */
};

struct ns_set {
	refcount_t refs;
	struct ns *of[NS_IN_SET]; /* counted. NS_PID: for children */
};

void ns_kind_register(enum ns_kind kind, const struct ns_kind_ops *ops); /* at boot; fills in ops->first */
const struct ns_kind_ops *ns_kind_ops(enum ns_kind kind);                /* NULL: this kernel has none */
void ns_init(struct ns *n, enum ns_kind kind, struct user_ns *owner);    /* one reference; takes one of owner */
void ns_get(struct ns *n);
void ns_put(struct ns *n);                /* NULL is allowed */
struct ns *ns_current(enum ns_kind kind); /* not counted: lives as long as current keeps its set; never NULL */
struct ns *ns_of_set(struct task *t, enum ns_kind kind);  /* of a task that nobody else changes, not counted */
struct ns *ns_of_task(struct task *t, enum ns_kind kind); /* counted; NULL: it has ended. NS_USER: its credentials' */

/* A set for t with new namespaces of the kinds in flags (CLONE_NEW*), the others current's. owner: of the new ones. */
int __must_check ns_set_copy(u32 flags, struct user_ns *owner, struct task *t, struct ns_set **out);
/* A set like current's but for one (counted by the set). -ENOMEM. */
int __must_check ns_set_with(struct ns *n, struct ns_set **out);
void ns_set_drop(struct ns_set *s);                   /* a set that nobody has used */
void ns_set_share(struct task *child);                /* current's */
void ns_set_change(struct task *t, struct ns_set *s); /* takes over the reference; NULL: at exit */

#endif
