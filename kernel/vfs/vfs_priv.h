/* SPDX-License-Identifier: MIT
 *
 * What the files of vfs share among themselves.
 */
#ifndef VFS_PRIV_H
#define VFS_PRIV_H

#include <task/wait.h>
#include <vfs/mount.h>
#include <task/task.h>
#include <vfs/names.h>
#include <vfs/vfs.h>

void dentry_init(void);
void inode_init(void);
void file_init(void);
void mount_init(void);

struct dentry *dentry_find_rcu(const struct dentry *parent, const struct name *n, u32 *seq);
bool dentry_tryget(struct dentry *d);
struct dentry *dentry_parent_get(struct dentry *d);
bool mount_tryget(struct mount *m);
void inode_link_alias(struct inode *i, struct dentry *d);
void inode_unlink_alias(struct inode *i, struct dentry *d);
void inode_drop_caps(struct inode *i);           /* its contents will no longer be what was trusted (capabilities(7)) */
struct dentry *inode_alias_get(struct inode *i); /* some name, counted, or NULL */

void inode_describe(struct inode *i, char *buf, size_t size); /* some path of it */
struct super *super_get(struct super *s);

/* locks.c and lease.c: what inode->locks is; the lists under locks_lock. */
struct inode_locks {
	struct list held, leases;
	struct waitq wait; /* somebody has given way */
};
extern struct spinlock locks_lock;
struct inode_locks *locks_of(struct inode *i, bool make); /* NULL: there are none, or no memory */
void lease_release(struct file *f);                       /* the open file ends */
unsigned inode_name_users(struct inode *i);               /* references to its names but for those that keep them */

/* current's root and working folder, counted */
void fs_root_get(struct path *out);
void fs_cwd_get(struct path *out);

int __must_check fifo_open(struct inode *i, struct file *f);
void epoll_file_gone(struct file *f); /* takes f out of all epolls */
void file_async_gone(struct file *f); /* its signals and its dnotify */

#define current_fs ((struct fs_context *)current->fs)

/* reclaim.c: caches whose pages may be dropped and read again. */
struct page_cache;
void reclaim_add(struct page_cache *c);
void reclaim_remove(struct page_cache *c);
/* writeback's, set at boot: wakes the flushers and waits a moment; false: nothing is dirty. */
extern bool (*reclaim_wait_for_clean)(void);

/* refault.c: reclaim took a page; one came that somebody pays for. */
void refault_init(u64 pages); /* of the machine; once more: all is forgotten */
void refault_gone(const struct page_cache *c, u64 index);
void refault_came(const struct page_cache *c, u64 index, u16 payer);
void cache_count(struct page_cache *c, const struct page *p, s64 n); /* a page has come (1) or gone (-1) */

#endif
