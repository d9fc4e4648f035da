/* SPDX-License-Identifier: MIT
 *
 * The file layer: inodes, dentries, mounts, open files, descriptor tables, path look-up. Implementations are the parts
 * below fs/.
 *
 * Ownership: inode_get/put, dentry_get/put, file_get/put, mount_get/put. A struct path holds a dentry and a mount.
 * Locks: inode->lock (RANK_INODE) serialises changes of a folder's names and of a file's size and contents; dentry
 * look-ups run under RCU; descriptor tables have RANK_FILES for writing and RCU for reading.
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

struct tenant;
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
struct acl;

struct timestamp {
	s64 sec;
	u32 nsec;
};

/* Times of a file that others may read or set at the same moment: a reader may see the seconds of one and the rest of
 * the other. */
static inline struct timestamp timestamp_get(const struct timestamp *t)
{
	return (struct timestamp){ READ_ONCE(t->sec), READ_ONCE(t->nsec) };
}

static inline void timestamp_set(struct timestamp *t, struct timestamp now)
{
	WRITE_ONCE(t->sec, now.sec);
	WRITE_ONCE(t->nsec, now.nsec);
}

struct name { /* one path component */
	const char *str;
	u32 len;
	u32 hash;
};

/* ---- dentries ----------------------------------------------------------------------------------- */

/* A name in a folder, cached. dname is constant once published: a rename installs another one, so that readers under
 * RCU always see a whole name. seq changes when parent, name or inode do. */
struct dname {
	struct rcu_head rcu;
	u32 hash;
	u16 len;
	char str[];
};

struct dentry {
	struct dentry *parent;    /* RCU; itself: a root */
	struct dname *name;       /* RCU */
	struct inode *inode;      /* RCU; NULL: negative. Changes only under the folder's inode lock or at birth */
	struct dentry *hash_next; /* RCU; bucket lock */
	struct seqcount seq;
	atomic_t refs;                 /* 0: only cached; -1: dying */
	u32 flags;                     /* DENTRY_*; atomic */
	struct spinlock lock;          /* RANK_DENTRY: children */
	struct list children, sibling; /* parent->lock */
	struct list alias;             /* inode->dentries */
	struct list lru;
	struct super *super;
	u64 cookie; /* the file system's own: its place in the folder */
	struct rcu_head rcu;
};
#define DENTRY_HASHED  BIT(0) /* look-ups find it */
#define DENTRY_MOUNTED BIT(1) /* something is mounted on it, in some namespace */
#define DENTRY_NOCACHE BIT(2) /* dies with its last reference */
#define DENTRY_PINNED  BIT(3) /* the file system holds a reference while the name exists (tmpfs) */
#define DENTRY_ON_LRU  BIT(4)

void dentry_get(struct dentry *d);
void dentry_put(struct dentry *d); /* NULL is allowed */
u32 name_hash(const char *str, u32 len);
struct name name_of(const char *str);
/* From the cache only; counted, or NULL. */
struct dentry *dentry_find(struct dentry *parent, const struct name *n);
/* From the cache or the file system; counted, possibly negative. */
int __must_check dentry_lookup(struct dentry *parent, const struct name *n, struct dentry **out);
/* The same with parent->inode->lock already held for writing. */
int __must_check dentry_lookup_locked(struct dentry *parent, const struct name *n, struct dentry **out);
struct dentry *__must_check dentry_create(struct dentry *parent,
					  const struct name *n); /* negative, not hashed; one reference */
struct dentry *__must_check dentry_create_root(struct super *s, struct inode *i); /* takes over i, also on failure */
void dentry_hash(struct dentry *d);                                               /* makes it findable */
void dentry_drop(struct dentry *d);                                               /* makes it unfindable */
void dentry_pin(struct dentry *d); /* for file systems whose names live in the cache */
void dentry_unpin(struct dentry *d);
void dentry_move(struct dentry *d, struct dentry *onto); /* takes onto's parent and name; onto becomes unfindable */
void dentry_exchange(struct dentry *a, struct dentry *b);
bool dentry_is_below(struct dentry *d, struct dentry *folder); /* or the same */
/* Forgets all names below root and root itself (unmount): nobody else may hold references. */
void dentry_destroy_tree(struct dentry *root);
/* Of a folder that was removed: cached names that are not there would keep it, and its inode, alive. */
void dentry_forget_children(struct dentry *folder);
u64 dentry_shrink(struct tenant *top, u64 count); /* frees up to count cached names that top and those below pay for */

/* ---- inodes ------------------------------------------------------------------------------------ */

struct inode_attr { /* setattr: which fields are valid is in mask (ATTR_*) */
	unsigned mask;
	u16 mode;
	kuid_t uid;
	kgid_t gid;
	s64 size;
	struct timestamp atime, mtime, ctime;
};
#define ATTR_MODE      BIT(0)
#define ATTR_UID       BIT(1)
#define ATTR_GID       BIT(2)
#define ATTR_SIZE      BIT(3)
#define ATTR_ATIME     BIT(4)
#define ATTR_MTIME     BIT(5)
#define ATTR_CTIME     BIT(6)
#define ATTR_TIMES_NOW BIT(7) /* both times are "now": who may write the file may set them */

/* What stat shows. */
struct kstat {
	u32 dev, rdev;
	u64 ino;
	u16 mode;
	u32 nlink;
	kuid_t uid;
	kgid_t gid;
	s64 size;
	u64 blocks;
	u32 block_size;
	struct timestamp atime, mtime, ctime, btime;
	u64 attributes; /* STATX_ATTR_* */
	u64 mount_id;
};

struct kstatfs {
	u64 type, bsize, blocks, bfree, bavail, files, ffree, namelen, frsize, flags;
	u32 fsid[2];
};

/* A run of a file's bytes that is one run on the disk (super->bdev), or is nowhere. */
struct file_extent {
	u64 at, bytes;
	u64 device; /* of its first byte, where it is */
	bool is_hole;
	u32 flags; /* FIEMAP_EXTENT_UNWRITTEN, _DATA_INLINE ... of linux/fiemap.h */
};

struct inode_ops {
	/* Folders. dir->lock is held for writing. A new dentry gets dentry_attach (the caller hashes it). */
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
	int (*permission)(struct inode *i, unsigned may);  /* MAY_*, after or instead of the mode bits */
	int (*getattr)(struct inode *i, struct kstat *st); /* st is filled by the generic code before */
	ssize_t (*getxattr)(struct inode *i, const char *name, void *buf, size_t size);
	int (*setxattr)(struct inode *i, const char *name, const void *value, size_t size,
			int flags); /* value NULL: remove */
	ssize_t (*listxattr)(struct inode *i, char *buf, size_t size);
	/* The run that holds byte `at`; what is only in the page cache yet counts as a hole. May sleep. NULL: not on a
	 * disk. */
	int (*extent)(struct inode *i, u64 at, struct file_extent *out);
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
	struct list super_link;   /* super->lock */
	struct list hash_link;
	struct list dentries; /* names in the cache (dentry->alias) */
	void *priv;           /* the file system's */
	void *pipe;           /* FIFO: struct pipe; socket: struct socket * bound to it */
	void *locks;          /* advisory locks */
	void *watches;        /* inotify */
	struct acl *acl;      /* RCU, lock: whom the mode does not know; NULL: nobody */
	atomic_t write_count; /* >0 writers, <0 execs */
	u32 flags;            /* INODE_* */
	struct rcu_head rcu;
};
#define INODE_TMPFILE  BIT(0)      /* O_TMPFILE: may get a name although nlink is 0 */
#define INODE_MAY_SEAL BIT(1)      /* memfd with MFD_ALLOW_SEALING */
#define INODE_SWAP     BIT(2)      /* an area of swap: its names stay, nobody writes */
#define INODE_INHERITS BIT(3)      /* a folder with a default access list: no umask for what is made in it */
#define INODE_SEALS(f) ((f) >> 16) /* F_SEAL_* of a memfd, in the upper half of flags */

/* ---- super blocks, file systems, mounts ------------------------------------------------------------ */

struct super_ops {
	void (*evict)(struct inode *i); /* last reference: free the file system's part; nlink 0: the contents too */
	/* The file of this number and generation, counted. -ESTALE: no longer. NULL op: it has no handles. */
	int (*find_inode)(struct super *s, u64 ino, u32 generation, struct inode **out);
	u32 (*generation)(
		const struct inode *i); /* NULL op: numbers are not used again, and the device's tells whose they are */
	int (*write_inode)(struct inode *i, bool sync);
	int (*sync)(struct super *s, bool wait);
	int (*statfs)(struct super *s, struct kstatfs *out); /* type, bsize, namelen, fsid are filled before */
	int (*remount)(struct super *s, unsigned flags, const char *data);
	void (*put_super)(struct super *s); /* the names are gone; frees priv */
	void (*show_options)(struct super *s, struct strbuf *out);
};

struct super {
	const struct super_ops *ops;
	const struct fs_type *type;
	u32 dev; /* st_dev */
	u32 magic;
	u32 block_size;
	s64 max_bytes;
	unsigned flags; /* MS_* of linux/mount.h */
	struct dentry *root;
	refcount_t refs;
	struct spinlock lock; /* RANK_ICACHE: inodes */
	struct list inodes;
	struct list mounts; /* mount->super_link, under the mount lock */
	struct list link;   /* all supers */
	u64 next_ino;       /* atomic; for file systems without numbers of their own */
	void *priv;
	void *bdev; /* struct block_dev * where its files lie, or NULL */
	char source[64];
};

struct fs_type {
	const char *name;
	unsigned flags; /* FS_* */
	/* Fills in a new super (root included). source: the device or name given to mount(2). */
	int (*mount)(struct super *s, const char *source, const char *data);
	/* What a new mount shows, counted; NULL op: the super's root. */
	int (*mount_root)(struct super *s, struct dentry **out);
	struct list link;
};
#define FS_REQUIRES_DEV BIT(0)
#define FS_USERNS_MOUNT BIT(1)
#define FS_SINGLE       BIT(2) /* all mounts share one super */
#define FS_KERNEL_ONLY  BIT(3) /* mount(2) refuses it (pipefs and the like) */
#define FS_NO_NEGATIVE  BIT(4) /* negative names are not worth keeping: the cache is the file system */
void fs_register(struct fs_type *t);
struct fs_type *fs_find(const char *name);
/* Those that mount(2) knows, in the order of /proc/filesystems: how many, the place of one or -EINVAL, the name of one
 * or NULL. */
int fs_count(void);
int fs_index(const char *name);
const char *fs_name(unsigned index);
struct inode *__must_check super_new_inode(struct super *s, u16 mode, const struct inode *dir);
/* Who owns what current makes in dir, and what becomes of its mode: open(2)'s rules. */
void inode_new_owner(const struct inode *dir, u16 *mode, kuid_t *uid, kgid_t *gid);
int __must_check super_create(struct fs_type *t, const char *source, unsigned flags, const char *data,
			      struct super **out);
struct super *super_find(u32 dev); /* counted; NULL: no files have that st_dev */
int __must_check super_statfs(struct super *s, struct kstatfs *st);
void super_put(struct super *s);
/* find_inode for file systems whose inodes are all in memory, with numbers that do not come again. */
int __must_check super_find_cached(struct super *s, u64 ino, u32 generation, struct inode **out);
u32 super_anon_dev(void);
void super_sync_all(bool wait);
int fs_show_types(struct strbuf *out); /* /proc/filesystems */

/* A super's tree (or a part of it) attached at a place. Locks: m mount_lock (RANK_MOUNT_TREE); readers under RCU. */
struct mount_ns;
struct mount {
	struct mount *parent;      /* m; NULL: the namespace's root, or detached */
	struct dentry *mountpoint; /* m; in parent */
	struct dentry *root;       /* I */
	struct super *super;       /* I */
	struct mount_ns *ns;       /* m; NULL: detached */
	atomic_t refs;             /* paths that use it, and 1 while attached */
	unsigned flags;            /* m: MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_NOATIME ... of this mount */
	unsigned locked;           /* I: of these, none may be cleared here */
	int id;
	struct mount *hash_next;           /* RCU; m */
	struct list children, sibling;     /* m */
	struct list ns_link;               /* m: in order of mounting */
	struct list super_link;            /* m */
	struct list work;                  /* m: lists of one operation */
	struct mount_peers *peers;         /* m: gets and gives changes, with all of these; NULL: not shared */
	struct mount_peers *master;        /* m: gets changes from these; NULL: not a slave */
	struct list peer_link, slave_link; /* m */
	bool unbindable;                   /* m */
	bool floats;                       /* m: the root of a tree without a place, which a descriptor holds */
	struct rcu_head rcu;
};
void mount_get(struct mount *m);
void mount_put(struct mount *m); /* NULL is allowed */

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

struct async;
struct file_ops {
	int (*open)(struct inode *i, struct file *f);
	void (*release)(struct file *f); /* last reference */
	int (*flush)(struct file *f);    /* each close(2) */
	ssize_t (*read)(struct io *io);  /* advances io->pos */
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
	u32 (*direct_block)(
		const struct file *f); /* in what units O_DIRECT goes past the page cache; NULL: it does not */
	struct page_cache *(*page_cache)(struct file *f); /* of a file whose contents another inode holds (disks) */
};

struct file {
	const struct file_ops *ops;
	struct path path;
	struct inode *inode;
	unsigned flags; /* O_* as F_GETFL shows */
	unsigned mode;  /* FMODE_* */
	s64 pos;
	struct mutex pos_lock; /* RANK_FILE_POS; taken when shared */
	refcount_t refs;
	void *priv;
	const struct cred *cred;
	struct async *async; /* process/async.h; NULL: nobody asked for signals */
	bool writes_inode;   /* counted in inode->write_count */
	struct list epoll_links;
	u32 wb_err; /* errors of writeback seen by this file */
	void *readahead;
	struct rcu_head rcu;
};
#define FMODE_READ     BIT(0)
#define FMODE_WRITE    BIT(1)
#define FMODE_SEEK     BIT(2) /* has a position */
#define FMODE_PATH     BIT(3) /* O_PATH */
#define FMODE_STREAM   BIT(4)
#define FMODE_NONOTIFY BIT(5)

s64 file_llseek(struct file *f, s64 off,
		int whence); /* SEEK_SET, CUR, END over inode->size; DATA and HOLE as one extent */
s64 no_llseek(struct file *f, s64 off, int whence);
/* A file without a name in the tree (pipe, socket, eventfd ...): [kind] in /proc/PID/fd. */
int __must_check file_anon(const char *kind, const struct file_ops *ops, void *priv, unsigned flags, struct file **out);
/* The same over an inode of the caller's (taken over, also on failure) with this name; and such an inode: pipes,
 * sockets. */
int __must_check file_on_inode(struct inode *i, const char *name, const struct file_ops *ops, void *priv,
			       unsigned flags, struct file **out);
struct inode *__must_check anon_inode(u16 mode, const struct inode_ops *ops);
int __must_check file_open_path(const struct path *p, unsigned flags,
				struct file **out); /* checks rights; p stays the caller's */
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
struct fd_ref fd_get(int fd);      /* not for O_PATH files */
struct fd_ref fd_get_path(int fd); /* also O_PATH */
static inline void fd_put(struct fd_ref r)
{
	if (unlikely(r.counted) && r.file)
		file_put(r.file);
}
int __must_check fd_ref_path(struct fd_ref r, struct path *out); /* its path, counted; -EBADF; puts r */
int __must_check fd_reserve(unsigned flags, int min);            /* O_CLOEXEC; -EMFILE */
void fd_install(int fd, struct file *f);                         /* takes over the reference */
void fd_release(int fd);                                         /* undoes fd_reserve */
/* reserve + install; on failure drops f. */
int __must_check fd_publish(struct file *f, unsigned flags);
int __must_check fd_close(int fd);
struct file *fd_of_task(struct task *t, int fd);                     /* counted; for /proc, pidfd_getfd */
int fd_next_of_task(struct task *t, int fd);                         /* the first open descriptor >= fd, or -1 */
int __must_check fd_replace(int fd, struct file *f, unsigned flags); /* dup2: takes over f, closes what was there */
int fd_get_cloexec(int fd);                                          /* 0, 1, -EBADF */
int fd_set_cloexec(int fd, bool on);
void fd_close_range(unsigned first, unsigned last, bool only_cloexec);

int __must_check files_create(struct task *t); /* an empty table */
int __must_check files_fork(struct task *child, bool share);
void files_exit(struct task *t);
int __must_check files_unshare(void);
int __must_check fs_unshare(void); /* root and working folder of its own for current */
void files_close_on_exec(void);

/* Root, working folder, umask: shared with CLONE_FS. */
struct fs_context {
	refcount_t refs;
	struct spinlock lock; /* RANK_FILES */
	struct path root, cwd;
	u16 umask;
};
int __must_check fs_create(struct task *t, const struct path *root); /* which is its working folder, too */
int __must_check fs_fork(struct task *child, bool share);
void fs_exit(struct task *t);
int __must_check fs_path_of_task(struct task *t, bool root, struct path *out); /* counted; -ENOENT: it has ended */

/* ---- paths ------------------------------------------------------------------------------------------------- */

#define LOOKUP_FOLLOW        BIT(0) /* the last component's symlink */
#define LOOKUP_DIRECTORY     BIT(1)
#define LOOKUP_PARENT        BIT(2) /* stop before the last component, which goes to *last */
#define LOOKUP_EMPTY         BIT(3) /* "" names the start itself */
#define LOOKUP_NO_XDEV       BIT(4)
#define LOOKUP_BENEATH       BIT(5)
#define LOOKUP_IN_ROOT       BIT(6)
#define LOOKUP_NO_SYMLINKS   BIT(7)
#define LOOKUP_NO_MAGICLINKS BIT(8)

/* path from user memory into a page-sized kernel buffer: path_copy/path_free. -ENAMETOOLONG, -EFAULT, -ENOENT (empty,
 * unless LOOKUP_EMPTY). */
char *path_copy(const char __user *upath, unsigned lookup, int *err);
void path_free(char *p); /* NULL is allowed */
int __must_check path_lookup(int dirfd, const char *name, unsigned lookup, struct path *out);
int __must_check path_lookup_user(int dirfd, const char __user *name, unsigned lookup, struct path *out);
int __must_check file_open_at(int dirfd, const char *name, unsigned flags, u16 mode, unsigned lookup,
			      struct file **out);
int __must_check inode_permission(struct inode *i, unsigned may);
u16 inode_umask(const struct inode *dir); /* what a new file in this folder does not get of its mode */
/* exec: nobody may write the file while it runs. -ETXTBSY: somebody does. */
int __must_check file_deny_write(struct file *f);
void file_allow_write(struct file *f);
struct inode *__must_check inode_create(struct super *s, u16 mode); /* one reference, nlink 1, times now, owner root */
void inode_get(struct inode *i);
void inode_put(struct inode *i);
void dentry_attach(struct dentry *d, struct inode *i); /* takes over a reference; NULL: negative */

/* Writes the absolute path of p, as seen from root, to the end of buf; *out is where it begins. " (deleted)" is
 * appended to a removed name. 1: p is not below root (the path is then its namespace's); -ENAMETOOLONG. */
int __must_check path_string(const struct path *p, const struct path *root, char *buf, size_t size, char **out);

struct timestamp time_now(void);

/* Boot, in this order: caches; the file systems register (fs/fs.h); the root and current's tables; the initrd into it.
 */
void vfs_init(void);
int __must_check vfs_mount_root(const char *fs_name); /* also gives current its fs_context and descriptor table */
int __must_check vfs_unpack_initrd(void);

#endif
