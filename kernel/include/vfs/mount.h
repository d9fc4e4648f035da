/* SPDX-License-Identifier: MIT
 *
 * Mounts: where supers hang in a namespace. One tree a namespace (task/ns.h).
 * All changes under mount_lock (RANK_MOUNT_TREE). Flags are MS_* and MNT_* of linux/mount.h.
 */
#ifndef VFS_MOUNT_H
#define VFS_MOUNT_H

#include <task/ns.h>
#include <vfs/vfs.h>

/* umount2(2)'s flags, which no UAPI header has. */
#define MNT_FORCE       1
#define MNT_DETACH      2
#define MNT_EXPIRE      4
#define UMOUNT_NOFOLLOW 8

struct mount_ns {
	struct ns ns;
	struct mount *root;
	struct list mounts; /* in order */
	u64 changes;        /* raised by each change: poll on /proc/mounts */
	struct waitq poll;
};
extern struct mutex mount_lock;

struct mount_ns *mount_ns_current(void); /* not counted: current's */

int __must_check mount_new(const char *type, const char *source, const struct path *at, unsigned flags,
			   const char *data);
int __must_check mount_bind(const struct path *from, const struct path *at, bool recursive);
int __must_check mount_move(const struct path *from, const struct path *at);
int __must_check mount_remount(const struct path *at, unsigned flags, const char *data, bool bind_only);
/* type: MS_SHARED, MS_SLAVE, MS_PRIVATE or MS_UNBINDABLE of mount(2); recursive: also of all below. -EINVAL: at is not
 * a mount's root; -ENOMEM. */
int __must_check mount_set_propagation(const struct path *at, unsigned type, bool recursive);
/* The second half of mount_remount: the super's own flags and options, for those who hold a path to it. */
int __must_check mount_reconfigure(struct super *s, unsigned flags, const char *data);
int __must_check mount_umount(const struct path *at, int flags);
int __must_check mount_pivot(const struct path *new_root, const struct path *put_old);
/* ---- trees without a place (mount_float.c): what fsmount and open_tree give, and move_mount takes ---- */

/* A super of this type, counted, with what shall be the root of its mounts, counted. */
int __must_check mount_make_super(const char *type, const char *source, unsigned flags, const char *data,
				  struct super **s, struct dentry **root);
/* A mount of it, flags MS_*, in a descriptor (O_PATH). It goes when that is closed, unless it has been moved. */
int __must_check mount_float(struct super *s, struct dentry *root, unsigned flags, struct file **out);
int __must_check mount_float_copy(const struct path *from, bool recursive, struct file **out);
/* Flags (MS_*) to set and to clear and, unless 0, a kind of propagation: at, which is a mount's root, or all below too.
 * Nothing changes unless all can: -EPERM where a flag is locked. */
int __must_check mount_change(const struct path *at, unsigned set, unsigned clear, unsigned propagation,
			      bool recursive);

/* A mount outside every namespace (pipefs, sockets, devtmpfs' own): its root. */
int __must_check mount_kernel(struct fs_type *t, struct path *out);
/* The mount on dentry d of m: not counted, under RCU; NULL: none. */
struct mount *mount_on(struct mount *m, struct dentry *d);

/* One line a mount, as /proc/mounts and /proc/self/mountinfo have it, as seen from root. */
int mount_show(struct mount_ns *ns, const struct path *root, bool info, struct strbuf *out);

#endif
