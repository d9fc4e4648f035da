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
	struct ext4 *fs;
	struct block_dev *dev;
	struct super *super;
	struct list nodes[NODE_BUCKETS]; /* lock: by inode number */
	u32 block_bytes;

	struct writeback writeback; /* of all its files */
	struct task *committer;     /* commits what has gathered every few seconds */
	struct waitq work;
	bool stopping;

	atomic_t writes; /* on their way to the device: blocks of the core and pages of files */
	int write_error; /* the first since the last flush */
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
void ext4_lock(struct ext4_super *s);
void ext4_unlock(struct ext4_super *s);
void ext4_write_begin(struct ext4_super *s); /* one more write that a flush waits for; under the lock */
void ext4_write_end(struct ext4_super *s, int error);

/* node.c */
int __must_check ext4_node_get(struct ext4_super *s, u32 ino, struct inode **out); /* counted */
/* The same with the lock held; an inode that is going away is waited for with the lock dropped. */
int __must_check ext4_node_get_locked(struct ext4_super *s, u32 ino, struct inode **out);
void ext4_node_evict(struct inode *i);
int __must_check ext4_node_store(struct inode *i); /* attributes that the vfs changed go to the core */

/* data.c */
extern const struct cache_ops ext4_cache_ops;
extern const struct file_ops ext4_file_ops, ext4_dir_ops;
void ext4_wait_writes(struct node *n);

#endif
