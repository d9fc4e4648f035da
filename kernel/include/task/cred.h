/* SPDX-License-Identifier: MIT
 *
 * Credentials: immutable once published; a change makes a new struct (cred_prepare, edit,
 * cred_commit). Kernel ids are types of their own, so that a namespace's numbers cannot be mistaken
 * for them.
 */
#ifndef TASK_CRED_H
#define TASK_CRED_H

#include <core/rcu.h>
#include <lib/atomic.h>
#include <lib/types.h>

typedef struct {
	u32 v;
} kuid_t;
typedef struct {
	u32 v;
} kgid_t;
#define KUID(n)      ((kuid_t){ (n) })
#define KGID(n)      ((kgid_t){ (n) })
#define uid_eq(a, b) ((a).v == (b).v)
#define gid_eq(a, b) ((a).v == (b).v)

struct user_ns;

struct group_list {
	refcount_t refs;
	u32 count;
	kgid_t ids[];
};

struct cred {
	refcount_t refs;
	kuid_t uid, euid, suid, fsuid;
	kgid_t gid, egid, sgid, fsgid;
	struct group_list *groups;                                                    /* NULL: none */
	u64 cap_effective, cap_permitted, cap_inheritable, cap_bounding, cap_ambient; /* bit = CAP_* */
	u32 securebits;
	bool no_new_privs;
	struct user_ns *user_ns; /* counted; what the capabilities are for */
	struct rcu_head rcu;
};

struct cred *__must_check cred_prepare(void); /* a private copy of current's; NULL: out of memory */
void cred_commit(struct cred *c); /* becomes current's, whose user pays for the task; takes over the reference */
void cred_get(struct cred *c);
void cred_put(struct cred *c);
bool capable(int cap); /* current has CAP_* over the machine (task/user_ns.h has the others) */
bool cred_capable(const struct cred *c, int cap); /* the same of c */
bool in_group(const struct cred *c, kgid_t g);    /* fsgid or supplementary */

#endif
