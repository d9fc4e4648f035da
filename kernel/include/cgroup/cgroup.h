/* SPDX-License-Identifier: MIT
 *
 * The tenant tree as files: cgroup v2. A folder is a tenant; a controller gives folders its files.
 * Source: Linux, Documentation/admin-guide/cgroup-v2.rst (names, formats, rules, errors).
 *
 * Threading: everything may sleep unless said otherwise; the tree's shape changes under cgroup_lock (RANK_CGROUP).
 */
#ifndef CGROUP_CGROUP_H
#define CGROUP_CGROUP_H

#include <core/attr.h>
#include <task/tenant.h>

struct task;

/* The tenant behind a descriptor of a cgroup2 folder, counted. -EBADF: no descriptor, or none of such a folder;
 * -ENODEV: the folder has been removed. */
int __must_check cgroup_tenant_of_fd(int fd, struct tenant **out);
/* The folder's inode number: what bpf_get_current_cgroup_id and perf show. 1 for the root. Any context. */
u64 cgroup_id(const struct tenant *t);
struct attr_dir *cgroup_dir(struct tenant *t);          /* not counted: lives as long as the tenant is not dead */
void cgroup_path(struct tenant *t, struct strbuf *out); /* "/a/b" */
/* The tree stands still in between: no folder comes, goes or changes its controllers, no process moves. Watchers'
 * created and removed run with it held. Taken inside inode locks (RANK_CGROUP). */
void cgroup_tree_lock(void);
void cgroup_tree_unlock(void);
/* The tenant of such a folder, counted, if a new process may begin in it: also -EBUSY, -EOPNOTSUPP as for writing
 * cgroup.procs, and -EACCES. */
int __must_check cgroup_enter_fd(int fd, struct tenant **out);

extern struct attr_dir cgroup_pressure_dir;            /* /proc/pressure */
extern const struct file_ops cgroup_pressure_file_ops; /* of a controller's pressure file; data: enum psi_kind */

/* A kind of resource. Files are shown in folders whose parent has the controller in cgroup.subtree_control; dir->owner
 * of a file's functions is the struct tenant. root_files: also in the root (NULL: none). */
struct cgroup_controller {
	const char *name;
	const struct attr *const *files, *const *root_files; /* NULL-terminated arrays */
	bool threaded;                                       /* divides its resource among threads as well */
	void (*disabled)(struct tenant *t); /* its files have gone: limits back to none. NULL: nothing to do */
	void (*used)(bool on);              /* the root gives it to its children now, or no longer. NULL: no matter */
	struct list link;
	unsigned bit;
};
void cgroup_controller_register(struct cgroup_controller *c); /* at init level core, fs or bus */
/* Does t have the controller, so that its files are there? Any context. */
bool cgroup_controls(const struct tenant *t, const struct cgroup_controller *c);

/* For controllers: "max" or a number; with a unit above 1 bytes, perhaps with a suffix, rounded down to units. Blanks
 * around it are cut off. -EINVAL; -ERANGE: beyond 63 bits. */
int __must_check cgroup_parse_limit(char *text, u64 unit, u64 *out);
void cgroup_show_limit(struct strbuf *out, u64 limit, u64 unit);
static inline struct tenant *cgroup_tenant(struct attr_dir *d)
{
	return d->owner;
}

#endif
