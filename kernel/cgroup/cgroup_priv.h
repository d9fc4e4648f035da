/* SPDX-License-Identifier: MIT
 *
 * What the files of this part share.
 */
#ifndef CGROUP_PRIV_H
#define CGROUP_PRIV_H

#include <cgroup/cgroup.h>
#include <core/rcu.h>
#include <task/mutex.h>

struct cgroup { /* tenant->cgroup */
	struct attr_dir dir;
	struct tenant *tenant; /* counted */
	u32 enabled;           /* L: controllers whose files are here: the parent's subtree */
	u32 subtree;           /* L: cgroup.subtree_control */
	u64 max_depth;         /* L: below here; ~0: any */
	u64 max_descendants;   /* L */
	u64 descendants;       /* L */
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
struct cgroup *cgroup_parent(struct cgroup *c); /* NULL: root */
/* Shows the files of the core and of these controllers. -ENOMEM. */
int __must_check cgroup_show_files(struct cgroup *c, u32 controllers);
u32 cgroup_available(struct cgroup *c); /* what it may give to its children */

#endif
