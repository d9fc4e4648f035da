/* SPDX-License-Identifier: MIT
 *
 * The kernel's side of ext4: what mount.c (super, device), node.c (inodes, names) and data.c (contents) share.
 *
 * Locks: super->lock (RANK_FS) is the core's "one lock" around every ext4_* call and guards node->in. It is taken
 * inside an inode's lock and inside mm's; while it is held, memory is allocated without reclaim (which may evict
 * inodes).
 */
#ifndef EXT4_GLUE_H
#define EXT4_GLUE_H

#include <block/block.h>
#include <fs/ext4/ext4.h>
#include <task/mutex.h>
#include <vfs/cache.h>
#include <vfs/names.h>
#include <vfs/vfs.h>
#include <vfs/writeback.h>

#define NODE_BUCKETS 256

struct ext4_super {
	struct mutex lock; /* RANK_FS */
	bool was_memalloc; /* lock: its holder's flag before */
	struct ext4 *fs;
	struct block_dev *dev;
	struct super *super;
	struct list nodes[NODE_BUCKETS]; /* lock: by inode number */
	u32 block_bytes;

	struct writeback writeback; /* of all its files */
	struct task *committer;     /* commits what has gathered every few seconds */
	struct waitq work;
	bool stopping;

	atomic_t writes;      /* runs of files' pages on their way to the device */
	atomic_t meta_writes; /* blocks of the core's on their way */
	int write_error;      /* the first of these since the last flush */

	enum { ERRORS_CONTINUE_, ERRORS_READ_ONLY } on_error;
	u32 commit_seconds;
	bool data_writeback; /* a commit does not wait for data */
	bool discard;
	bool told; /* of an error */
};

/* One inode in memory: inode->priv. */
struct node {
	struct list hash; /* super->lock */
	struct inode *inode;
	struct ext4_inode in; /* super->lock */
	atomic_t writes;      /* runs of pages on their way to the device */
};

static inline struct ext4_super *ext4_super_of(const struct super *s)
{
	return s->priv;
}

static inline struct node *node_of(const struct inode *i)
{
	return i->priv;
}

/* mount.c */
void ext4_lock(struct ext4_super *s);                              /* also tells the core the time */
int __must_check ext4_lock_for(struct ext4_super *s, bool nowait); /* -EAGAIN: nowait, and somebody has it */
void ext4_unlock(struct ext4_super *s);                            /* and looks whether the core met an error */
void ext4_write_begin(struct ext4_super *s); /* one more write that a flush waits for; under the lock */
void ext4_write_end(struct ext4_super *s);
int ext4_flush(struct ext4_super *s); /* what has been written is safe */

/* node.c */
/* For handles: -ESTALE if the number belongs to another file now, or to none. */
int __must_check ext4_node_find(struct super *super, u64 ino, u32 generation, struct inode **out);
u32 ext4_node_generation(const struct inode *i);
int __must_check ext4_node_get(struct ext4_super *s, u32 ino, struct inode **out); /* counted */
/* The same with the lock held; an inode that is going away is waited for with the lock dropped. */
int __must_check ext4_node_get_locked(struct ext4_super *s, u32 ino, struct inode **out);
/* The record becomes an inode in memory; the lock is held. */
int __must_check ext4_node_make(struct ext4_super *s, const struct ext4_inode *in, struct inode **out);
void ext4_node_evict(struct inode *i);
int __must_check ext4_node_store(struct inode *i); /* attributes that the vfs changed go to the core */
void ext4_node_show(struct inode *i);              /* links, blocks and times that the core changed go to the vfs */
extern const struct inode_ops ext4_dir_inode_ops, ext4_file_inode_ops, ext4_link_inode_ops, ext4_special_inode_ops;

/* lists.c */
int __must_check ext4_lists_load(struct ext4_super *s,
				 struct inode *i); /* of one that comes into memory; the lock is held */
int __must_check ext4_list_set(struct inode *i, const char *name, const void *value, size_t size);
int __must_check ext4_list_chmod(struct inode *i, u16 mode); /* i has a list */
/* What a new inode's access list will be, if the folder has a default one; cuts the mode. The lock is held, here and
 * then: */
int __must_check ext4_list_for_new(struct inode *dir, u16 *mode, struct acl **out);
void ext4_list_inherit(struct inode *dir, struct inode *i, struct acl *list); /* takes over list */

/* names.c */
int ext4_vfs_create(struct inode *dir, struct dentry *d, u16 mode);
int ext4_vfs_mkdir(struct inode *dir, struct dentry *d, u16 mode);
int ext4_vfs_mknod(struct inode *dir, struct dentry *d, u16 mode, u32 rdev);
int ext4_vfs_symlink(struct inode *dir, struct dentry *d, const char *target);
int ext4_vfs_tmpfile(struct inode *dir, struct dentry *d, u16 mode);
int ext4_vfs_link(struct inode *dir, struct dentry *d, struct inode *target);
int ext4_vfs_unlink(struct inode *dir, struct dentry *d);
int ext4_vfs_rmdir(struct inode *dir, struct dentry *d);
int ext4_vfs_rename(struct inode *from, struct dentry *old, struct inode *to, struct dentry *new, unsigned flags);

/* data.c */
extern const struct cache_ops ext4_cache_ops;
extern const struct file_ops ext4_file_ops, ext4_dir_ops;
void ext4_wait_writes(struct node *n);
void ext4_node_write_end(struct node *n); /* the node may go as soon as its writes are 0 */
bool ext4_has_data(const struct ext4_extent *e);

/* direct.c: O_DIRECT, and the way to the page cache for what is not */
ssize_t ext4_file_read(struct io *io);
ssize_t ext4_file_write(struct io *io);
u32 ext4_direct_block(const struct file *f);

/* ioctl.c */
long ext4_ioctl(struct file *f, unsigned cmd, ulong arg);

/* write.c */
bool ext4_has_room(struct ext4_super *s, u64 blocks); /* besides what dirty pages will want; the lock is held */
int ext4_cache_reserve(struct page_cache *c, u64 index);
int ext4_cache_write(struct page_cache *c, u64 index, struct page **pages, unsigned n, unsigned flags);
int ext4_cache_sync(struct page_cache *c, u64 first, u64 last);
int ext4_set_size(struct inode *i, s64 size); /* the inode's lock is held */
int ext4_fsync(struct file *f, s64 start, s64 end, bool data_only);
int ext4_fallocate(struct file *f, int mode, s64 off, s64 len);
int ext4_file_extent(struct inode *i, u64 at, struct file_extent *out); /* inode_ops */
s64 ext4_llseek(struct file *f, s64 off, int whence);

#endif
