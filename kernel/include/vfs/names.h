/* SPDX-License-Identifier: MIT
 *
 * Changes of the tree by path, as the system calls of the same names do them (rights are current's). Paths are kernel
 * strings; dirfd is a descriptor or AT_FDCWD. Errors are the system call's.
 */
#ifndef VFS_NAMES_H
#define VFS_NAMES_H

#include <vfs/vfs.h>

int __must_check path_mknod(int dirfd, const char *name, u16 mode,
			    u32 rdev); /* regular files, devices, FIFOs, sockets */
int __must_check path_mkdir(int dirfd, const char *name, u16 mode);
int __must_check path_unlink(int dirfd, const char *name);
int __must_check path_rmdir(int dirfd, const char *name);
int __must_check path_symlink(const char *target, int dirfd, const char *name);
int __must_check path_link(int olddir, const char *old, int newdir, const char *new, int flags);        /* AT_* */
int __must_check path_rename(int olddir, const char *old, int newdir, const char *new, unsigned flags); /* RENAME_* */
/* Makes a socket's name in the tree; the new inode, counted, to *out. */
int __must_check path_make_socket(const char *name, u16 mode, struct inode **out);

/* Makes a name for an object of a file system's own: make attaches its inode to d (dir is locked for writing), after
 * checking that dir is of that file system. */
int __must_check path_make_object(const char *name, int (*make)(struct inode *dir, struct dentry *d, void *arg),
				  void *arg);

/* What a file is found again by in its file system. -EOPNOTSUPP: this one has nothing of the kind. */
struct file_id {
	u64 ino;
	u32 generation;
};
int __must_check file_id_of(const struct inode *i, struct file_id *out);
/* Opened in the file system and mount of `where`, whatever folders may be passed. -ESTALE, and open's. */
int __must_check file_open_id(const struct path *where, const struct file_id *id, unsigned flags, struct file **out);

/* Attributes of an inode; the caller holds no lock. */
int __must_check path_set_attr(const struct path *p, struct inode_attr *a); /* chmod, chown, utimens rules */
/* RLIMIT_FSIZE: -EFBIG, and SIGXFSZ for current. */
int __must_check inode_may_grow(struct inode *i, s64 size);
int __must_check inode_set_size(struct inode *i, s64 size); /* truncate; rights are checked by the caller */
/* Copies the fields of a's mask; for setattr ops that handle the rest. inode->lock held for writing. */
void inode_apply_attr(struct inode *i, const struct inode_attr *a);
void inode_stat(struct inode *i, struct kstat *st);
int __must_check path_stat(const struct path *p, struct kstat *st);
int __must_check path_statfs(const struct path *p, struct kstatfs *st);
int __must_check path_writable(const struct path *p);                      /* -EROFS */
int __must_check inode_read_link(struct inode *i, char *buf, size_t size); /* length; terminated if it fits */
void inode_touch(struct inode *i, unsigned which);                         /* ATTR_MTIME | ATTR_CTIME now */
void path_accessed(const struct path *p);                                  /* atime by relatime's rule */

/* inotify's hook: a load and a test while nobody watches. mask: IN_* of linux/inotify.h; name: in the folder i, or
 * NULL. */
void inode_notify_watchers(struct inode *i, u32 mask, const char *name, u32 cookie);
static inline void inode_notify(struct inode *i, u32 mask, const char *name, u32 cookie)
{
	if (unlikely(READ_ONCE(i->watches)))
		inode_notify_watchers(i, mask, name, cookie);
}
void dentry_notify(struct dentry *d, u32 mask); /* the inode's watchers and its folder's */

/* The walk itself, for those who need the parent: open, mount, AF_UNIX. */
enum last_type { LAST_NORMAL, LAST_DOT, LAST_DOTDOT, LAST_ROOT };
struct walk {
	struct path path;        /* where we are: counted; before walk_parent maybe nothing yet */
	const struct path *from; /* then it begins here, in current's fs_context */
	struct path root;        /* counted; current's is taken when it is first asked for */
	const char *at;          /* rest of the text */
	char *text;              /* owned copy, once a symlink was expanded */
	unsigned flags;          /* LOOKUP_* */
	unsigned links;
	struct name last; /* after walk_parent */
	enum last_type last_type;
	bool slash_after; /* the last component had slashes behind it */
};
int __must_check walk_begin(struct walk *w, int dirfd, const char *name, unsigned lookup);
int __must_check walk_parent(struct walk *w);
/* Looks the last component up without following: counted dentry, possibly negative (then name creation may use it). */
/* Goes on with the last component (a symlink is expanded if follow): 0: w->path is the end; 1: call walk_parent again.
 */
int __must_check walk_last(struct walk *w, bool follow);
/* The same for a dentry of the last component that the caller has looked up; takes over d. */
int __must_check walk_into(struct walk *w, struct dentry *d, bool follow);
void walk_end(struct walk *w);

#endif
