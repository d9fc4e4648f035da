/* SPDX-License-Identifier: MIT
 *
 * The file layer: inodes, dentries, mounts, open files, descriptor tables, path look-up. Implementations are the parts below fs/.
 *
 * Ownership: inode_get/put, dentry_get/put, file_get/put, mount_get/put. A struct path holds a dentry and a mount.
 * Locks: inode->lock (RANK_INODE) serialises changes of a folder's names and of a file's size and contents; dentry look-ups
 * run under RCU; descriptor tables have RANK_FILES for writing and RCU for reading.
 */
#ifndef VFS_VFS_H
#define VFS_VFS_H

#include <core/rcu.h>
#include <core/spin.h>
#include <lib/atomic.h>
#include <lib/list.h>
#include <mm/mapping.h>
#include <task/cred.h>
#include <task/mutex.h>
#include <vfs/iter.h>

struct dentry;
struct path;
struct inode;
struct mount;
struct super;
struct file;
struct task;
struct strbuf;
struct poll_table;
struct page_cache;

struct timestamp {
	s64 sec;
	u32 nsec;
};

struct name { /* one path component */
	const char *str;
	u32 len;
	u32 hash;
};

/* ---- inodes ------------------------------------------------------------------------------------ */

struct inode_attr { /* setattr: which fields are valid is in mask (ATTR_*) */
	unsigned mask;
	u16 mode;
	kuid_t uid;
	kgid_t gid;
	s64 size;
	struct timestamp atime, mtime, ctime;
};
#define ATTR_MODE  BIT(0)
#define ATTR_UID   BIT(1)
#define ATTR_GID   BIT(2)
#define ATTR_SIZE  BIT(3)
#define ATTR_ATIME BIT(4)
#define ATTR_MTIME BIT(5)
#define ATTR_CTIME BIT(6)

struct inode_ops {
	/* Folders. dir->lock is held for writing by all but lookup (held for reading). A new dentry gets dentry_attach. */
	int (*lookup)(struct inode *dir, struct dentry *d); /* attaches an inode, or leaves d negative */
	int (*create)(struct inode *dir, struct dentry *d, u16 mode);
	int (*mkdir)(struct inode *dir, struct dentry *d, u16 mode);
	int (*mknod)(struct inode *dir, struct dentry *d, u16 mode, u32 rdev);
	int (*symlink)(struct inode *dir, struct dentry *d, const char *target);
	int (*link)(struct inode *dir, struct dentry *d, struct inode *target);
	int (*unlink)(struct inode *dir, struct dentry *d);
	int (*rmdir)(struct inode *dir, struct dentry *d);
	int (*rename)(struct inode *from, struct dentry *old, struct inode *to, struct dentry *new, unsigned flags);
	int (*tmpfile)(struct inode *dir, struct dentry *d, u16 mode);
	/* All. NULL: the generic behaviour. */
	int (*readlink)(struct inode *i, struct strbuf *out);
	/* Magic links (/proc/PID/exe, fd/N): gives the target path itself. */
	int (*follow)(struct inode *i, struct path *out);
	int (*setattr)(struct inode *i, const struct inode_attr *a);
	int (*permission)(struct inode *i, unsigned may); /* MAY_*, after or instead of the mode bits */
	int (*getattr)(struct inode *i, void *kstat);
	ssize_t (*getxattr)(struct inode *i, const char *name, void *buf, size_t size);
	int (*setxattr)(struct inode *i, const char *name, const void *value, size_t size, int flags); /* value NULL: remove */
	ssize_t (*listxattr)(struct inode *i, char *buf, size_t size);
};
#define MAY_EXEC  1
#define MAY_WRITE 2
#define MAY_READ  4

struct inode {
	const struct inode_ops *ops;
	const struct file_ops *file_ops; /* of files opened on it */
	struct super *super;
	u64 ino;
	u16 mode;
	u32 nlink;
	kuid_t uid;
	kgid_t gid;
	u32 rdev; /* devices: new_encode_dev form */
	s64 size;
	u64 blocks; /* of 512 bytes */
	struct timestamp atime, mtime, ctime, btime;
	refcount_t refs;
	struct rwlock lock;
	struct page_cache *cache; /* regular files; NULL: none */
	struct list super_link;	  /* super->lock */
	struct list hash_link;
	struct list dentries;	  /* aliases */
	void *priv;		  /* the file system's */
	void *pipe;		  /* FIFO, socket */
	void *locks;		  /* advisory locks */
	void *watches;		  /* inotify */
	atomic_t write_count;	  /* >0 writers, <0 execs */
	u32 flags;
	struct rcu_head rcu;
};

/* ---- super blocks, file systems, mounts ------------------------------------------------------------ */

struct super_ops {
	void (*evict)(struct inode *i); /* last reference: free the file system's part; nlink 0: the contents too */
	int (*write_inode)(struct inode *i, bool sync);
	int (*sync)(struct super *s, bool wait);
	int (*statfs)(struct super *s, void *kstatfs);
	int (*remount)(struct super *s, unsigned flags, const char *data);
	void (*put_super)(struct super *s);
	void (*show_options)(struct super *s, struct strbuf *out);
};

struct super {
	const struct super_ops *ops;
	const struct fs_type *type;
	u32 dev;	/* st_dev */
	u32 magic;
	u32 block_size;
	s64 max_bytes;
	unsigned flags; /* SB_* = MS_* of linux/mount.h */
	struct dentry *root;
	refcount_t refs;
	struct spinlock lock; /* RANK_ICACHE: inodes */
	struct list inodes;
	void *priv;
	void *bdev;
	char source[64];
};

struct fs_type {
	const char *name;
	unsigned flags; /* FS_* */
	/* Fills in a new super (root included). source: the device or name given to mount(2). */
	int (*mount)(struct super *s, const char *source, const char *data);
	struct list link;
};
#define FS_REQUIRES_DEV BIT(0)
#define FS_USERNS_MOUNT BIT(1)
void fs_register(struct fs_type *t);

struct path {
	struct mount *mnt;
	struct dentry *dentry;
};
void path_get(const struct path *p);
void path_put(const struct path *p);

/* ---- open files ------------------------------------------------------------------------------------ */

struct dir_emit { /* readdir hands entries to emit until it returns false (buffer full) */
	bool (*emit)(struct dir_emit *d, const char *name, unsigned len, s64 next_pos, u64 ino, unsigned dt_type);
	s64 pos;
};

struct file_ops {
	int (*open)(struct inode *i, struct file *f);
	void (*release)(struct file *f);  /* last reference */
	int (*flush)(struct file *f);	  /* each close(2) */
	ssize_t (*read)(struct io *io);	  /* advances io->pos */
	ssize_t (*write)(struct io *io);
	s64 (*llseek)(struct file *f, s64 off, int whence); /* NULL: the generic one; no_llseek: ESPIPE */
	int (*readdir)(struct file *f, struct dir_emit *d);
	unsigned (*poll)(struct file *f, struct poll_table *pt); /* EPOLL* mask now; registers its queues */
	long (*ioctl)(struct file *f, unsigned cmd, ulong arg);
	/* The mapping that mmap maps; NULL op: ENODEV. *index may be changed. */
	int (*mmap)(struct file *f, unsigned prot, unsigned map_flags, u64 *index, size_t bytes, struct mapping **out);
	int (*fsync)(struct file *f, s64 start, s64 end, bool data_only);
	int (*fallocate)(struct file *f, int mode, s64 off, s64 len);
	void (*show_fdinfo)(struct file *f, struct strbuf *out);
	ssize_t (*splice_read)(struct file *in, s64 *pos, void *pipe, size_t len, unsigned flags);
	ssize_t (*splice_write)(void *pipe, struct file *out, s64 *pos, size_t len, unsigned flags);
	int (*set_flags)(struct file *f, unsigned flags);
};

struct file {
	const struct file_ops *ops;
	struct path path;
	struct inode *inode;
	unsigned flags; /* O_* as F_GETFL shows */
	unsigned mode;	/* FMODE_* */
	s64 pos;
	struct mutex pos_lock; /* RANK_FILE_POS; taken when shared */
	refcount_t refs;
	void *priv;
	const struct cred *cred;
	int owner_pid, owner_sig, owner_type; /* F_SETOWN */
	struct list epoll_links;
	u32 wb_err; /* errors of writeback seen by this file */
	void *readahead;
	struct rcu_head rcu;
};
#define FMODE_READ  BIT(0)
#define FMODE_WRITE BIT(1)
#define FMODE_SEEK  BIT(2) /* has a position */
#define FMODE_PATH  BIT(3) /* O_PATH */
#define FMODE_STREAM BIT(4)

/* A file without a name in the tree (pipe, socket, eventfd ...): [kind] in /proc/PID/fd. */
int __must_check file_anon(const char *kind, const struct file_ops *ops, void *priv, unsigned flags, struct file **out);
void file_get(struct file *f);
void file_put(struct file *f);
/* Kernel-side I/O at a position. */
ssize_t file_read_at(struct file *f, void *buf, size_t len, s64 pos);
ssize_t file_write_at(struct file *f, const void *buf, size_t len, s64 pos);
int __must_check file_open_kernel(const char *path, unsigned flags, u16 mode, struct file **out);
void file_describe(struct file *f, struct strbuf *out); /* its path as seen from current's root */

/* ---- descriptors ---------------------------------------------------------------------------------------- */

struct files; /* a descriptor table, shared by tasks with CLONE_FILES */
/* A look-up for the duration of one call: takes no reference if the table is not shared (design). */
struct fd_ref {
	struct file *file; /* NULL: EBADF */
	bool counted;
};
struct fd_ref fd_get(int fd);	  /* not for O_PATH files */
struct fd_ref fd_get_path(int fd); /* also O_PATH */
void fd_put(struct fd_ref r);
int __must_check fd_reserve(unsigned flags, int min); /* O_CLOEXEC; -EMFILE */
void fd_install(int fd, struct file *f); /* takes over the reference */
void fd_release(int fd);		 /* undoes fd_reserve */
/* reserve + install; on failure drops f. */
int __must_check fd_publish(struct file *f, unsigned flags);
int __must_check fd_close(int fd);
struct file *fd_of_task(struct task *t, int fd); /* counted; for /proc, pidfd_getfd */

int __must_check files_fork(struct task *child, bool share);
void files_exit(struct task *t);
int __must_check files_unshare(void);
void files_close_on_exec(void);

/* Root, working folder, umask: shared with CLONE_FS. */
struct fs_context {
	refcount_t refs;
	struct spinlock lock; /* RANK_FILES */
	struct path root, cwd;
	u16 umask;
};
int __must_check fs_fork(struct task *child, bool share);
void fs_exit(struct task *t);

/* ---- paths ------------------------------------------------------------------------------------------------- */

#define LOOKUP_FOLLOW	 BIT(0) /* the last component's symlink */
#define LOOKUP_DIRECTORY BIT(1)
#define LOOKUP_PARENT	 BIT(2) /* stop before the last component, which goes to *last */
#define LOOKUP_EMPTY	 BIT(3) /* "" names the start itself */
#define LOOKUP_NO_XDEV	 BIT(4)
#define LOOKUP_BENEATH	 BIT(5)
#define LOOKUP_IN_ROOT	 BIT(6)
#define LOOKUP_NO_SYMLINKS BIT(7)
#define LOOKUP_NO_MAGICLINKS BIT(8)

/* path from user memory into a page-sized kernel buffer: path_copy/path_free. -ENAMETOOLONG, -EFAULT, -ENOENT (empty, unless LOOKUP_EMPTY). */
char *path_copy(const char __user *upath, unsigned lookup, int *err);
void path_free(char *p);
int __must_check path_lookup(int dirfd, const char *name, unsigned lookup, struct path *out);
int __must_check path_lookup_user(int dirfd, const char __user *name, unsigned lookup, struct path *out);
int __must_check file_open_at(int dirfd, const char *name, unsigned flags, u16 mode, unsigned lookup, struct file **out);
int __must_check inode_permission(struct inode *i, unsigned may);
/* Makes current's ids the owner of a new inode in dir. */
struct inode *__must_check inode_create(struct super *s, u16 mode);
void inode_get(struct inode *i);
void inode_put(struct inode *i);
void dentry_attach(struct dentry *d, struct inode *i); /* takes over a reference; NULL: negative */

/* Writes the absolute path of p, as seen from root, to out. */
int __must_check path_string(const struct path *p, const struct path *root, char *buf, size_t size, char **out);

/* Boot: caches, descriptor tables, the root tmpfs. */
void vfs_init(void);
int __must_check vfs_unpack_initrd(void);

#endif
