/* SPDX-License-Identifier: MIT
 *
 * The attribute tree: named, typed text files without any vfs types. sysfs, /proc/sys, cgroupfs,
 * resctrl and tracefs are views of it through one adapter (fs/attrfs).
 *
 * show appends the whole file to out; a -errno makes the read fail. set gets the whole text of one
 * write, terminated, `len` bytes without the terminator, copied into kernel memory; it checks
 * everything before it changes anything and returns 0 or -errno. Either may be NULL (mode then
 * should not allow it). Both may sleep.
 *
 * Ownership: struct attr tables are static or live as long as their folder. A folder is freed by
 * attr_dir_put when the last reader has gone; attr_dir_remove takes it (with its subtree) out of
 * the tree, and afterwards open files get ENODEV.
 */
#ifndef CORE_ATTR_H
#define CORE_ATTR_H

#include <core/static_branch.h>
#include <lib/atomic.h>
#include <lib/list.h>
#include <lib/printf.h>
#include <lib/rbtree.h>
#include <lib/types.h>

struct attr_dir;

struct attr {
	const char *name;
	u16 mode; /* permission bits, 0444 ... */
	int (*show)(struct attr_dir *dir, const struct attr *a, struct strbuf *out);
	int (*set)(struct attr_dir *dir, const struct attr *a, char *text, size_t len);
	/* Binary or streaming files (trace_pipe, cgroup.procs of many): ops of the adapter's own
	 * kind, else NULL. */
	const void *file_ops;
	ulong data; /* the table's own use */
};

struct attr_dir_ops {
	/* mkdir/rmdir from user space; NULL: EPERM. */
	int (*mkdir)(struct attr_dir *parent, const char *name, u16 mode);
	int (*rmdir)(struct attr_dir *dir);
	/* A file is opened with O_TRUNC; NULL: no matter. */
	int (*truncate)(struct attr_dir *dir, const struct attr *a);
	bool takes_nothing; /* a write of no bytes reaches set, too; else it is good and has no effect */
	/* Of a file: differs after each change that pollers (POLLPRI) and inotify are to hear of. 0, or no function: it
	 * has none. */
	u64 (*version)(struct attr_dir *dir, const struct attr *a);
	void (*release)(struct attr_dir *dir); /* last reference gone: frees the object around it */
};

struct attr_dir {
	const char *name; /* owned by the folder */
	u32 hash;         /* of the name */
	struct attr_dir *parent;
	struct list children, sibling, links; /* children as they came: rising ino */
	struct rb_root by_name;               /* the children again */
	struct rb_node name_node;
	const struct attr *const *attrs; /* NULL-terminated array of pointers */
	const struct attr_dir_ops *ops;
	void *owner; /* the object that the files describe */
	refcount_t refs;
	u64 ino;
	u32 uid, gid; /* of the folder and its files as they were made; attr_dir_init takes the parent's */
	u16 mode;     /* permission bits of the folder; 0: 0755 */
	bool removed;
	struct attr_owner *changed; /* chmod and chown of single files and of the folder */
};

/* What stat shows of a file, or of the folder (attr NULL). */
struct attr_owner {
	struct attr_owner *next;
	const struct attr *attr;
	u32 uid, gid;
	u16 mode;
};

struct attr_link {
	struct list link;
	const char *name;
	struct attr_dir *target;
};

/* show and set for a number that stands at a->data: a u32, set to 0 ... INT32_MAX. */
int attr_show_u32(struct attr_dir *dir, const struct attr *a, struct strbuf *out);
int attr_set_u32(struct attr_dir *dir, const struct attr *a, char *text, size_t len);
/* What a set function was given as a decimal number of low ... high; spaces and ends of lines after it do not matter.
 * -EINVAL. */
int __must_check attr_parse_u32(char *text, size_t len, u32 low, u32 high, u32 *out);

int __must_check attr_dir_init(struct attr_dir *d, struct attr_dir *parent, const char *name,
			       const struct attr *const *attrs, const struct attr_dir_ops *ops, void *owner);
void attr_dir_remove(struct attr_dir *d);
void attr_dir_get(struct attr_dir *d);
void attr_dir_put(struct attr_dir *d);
int __must_check attr_link_add(struct attr_dir *d, const char *name, struct attr_dir *target); /* keeps name */
void attr_link_remove(struct attr_dir *d, const char *name);
/* For the adapter: a child by name (counted; NULL: none); the child behind one, whose reference it takes (NULL: the
 * first), though that may have been removed meanwhile; the n-th link. */
struct attr_dir *attr_dir_child(struct attr_dir *d, const char *name);
struct attr_dir *attr_dir_next(struct attr_dir *d, struct attr_dir *after);
struct attr_link *attr_dir_link(struct attr_dir *d, unsigned n);
struct attr_owner attr_owner(struct attr_dir *d, const struct attr *a);
int __must_check attr_set_owner(struct attr_dir *d, const struct attr_owner *o); /* -ENOMEM */
extern void (*attr_notify_hook)(void);                                           /* set once by the adapter */
/* Some file's version has risen: wakes pollers and inotify watchers, soon. Any context. */
void attr_notify(void);

/* Where programs attached to tenants see each read and write of a file of /proc/sys; unused, a patched-out branch. A
 * write's *text may be exchanged for another of slab memory (then the caller's to free). 0, or -errno: refused. May
 * sleep. Set once, before the key is raised. */
DECLARE_STATIC_KEY(attr_sysctl_key);
extern int (*attr_sysctl_hook)(struct attr_dir *dir, const struct attr *a, bool write, s64 *pos, char **text,
			       size_t *len);

/* Roots, created at boot. */
extern struct attr_dir attr_sys_root;    /* /sys */
extern struct attr_dir attr_sysctl_root; /* /proc/sys */
extern struct attr_dir attr_proc_root;   /* folders in /proc itself (sysvipc) */
extern struct attr_dir attr_trace_root;  /* tracefs */
extern struct attr_dir attr_debug_root;  /* debugfs */
/* A folder below root that several parts share ("fs", "devices/system/cpu"): it is made when missing. At boot. -EEXIST:
 * it, or one above it, belongs to one part alone. */
int __must_check attr_shared_dir(struct attr_dir *root, const char *path, struct attr_dir **out);
/* Files of a part (attrs may be NULL) in a folder that several parts share ("kernel" and "net/core" of /proc/sys, "fs"
 * of /sys): it is made when missing. At boot. -EEXIST: the folder belongs to one part alone. */
int __must_check attr_folder_add(struct attr_dir *root, const char *folder, const struct attr *const *attrs);
static inline int __must_check attr_sysctl_add(const char *folder, const struct attr *const *attrs)
{
	return attr_folder_add(&attr_sysctl_root, folder, attrs);
}

#endif
