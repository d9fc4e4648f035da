/* SPDX-License-Identifier: MIT
 *
 * Problem: files of every kind need owners, modes, times, permission checks and a life that ends exactly when the
 * last name, open file and mapping are gone.
 *
 * Idea: one inode struct with a reference count; the file system's evict op hears of the end. Permission is the
 * mode bits with the two override capabilities, unless the file system has its own rule. Names in the cache hang on
 * the inode (aliases), so that a mapping can be described by a path.
 *
 * Contract: vfs.h. Inodes are freed by RCU, because the path walk reads modes without references.
 *
 * Locks: aliases under a hashed spin lock (RANK_ICACHE); super->inodes under super->lock, alone.
 */
#include <task/user_ns.h>
#include <alloc/slab.h>
#include <core/clock.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/string.h>
#include <linux/capability.h>
#include <linux/mount.h>
#include <vfs/uapi.h>
#include <task/task.h>
#include <vfs/acl.h>
#include <vfs/cache.h>
#include <vfs/writeback.h>
#include "vfs_priv.h"

#define ALIAS_LOCKS 64

static struct kcache *inode_cache;
static struct spinlock alias_locks[ALIAS_LOCKS];

void inode_init(void)
{
	inode_cache = kcache_create_charged("inode", sizeof(struct inode), 64);
	ensure(inode_cache);
	for (unsigned i = 0; i < ALIAS_LOCKS; i++)
		spin_init(&alias_locks[i], RANK_ICACHE);
}

struct timestamp time_now(void)
{
	u64 ns = clock_real_ns();

	return (struct timestamp){ .sec = ns / NSEC_PER_SEC, .nsec = ns % NSEC_PER_SEC };
}

struct inode *inode_create(struct super *s, u16 mode)
{
	struct inode *i = kcache_alloc(inode_cache, ALLOC_ZERO);

	if (!i)
		return NULL;
	i->super = s;
	i->mode = mode;
	i->nlink = 1;
	i->atime = i->mtime = i->ctime = i->btime = time_now();
	refcount_set(&i->refs, 1);
	rwlock_init(&i->lock, RANK_INODE);
	list_init(&i->hash_link);
	list_init(&i->dentries);
	spin_lock(&s->lock);
	list_add_tail(&i->super_link, &s->inodes);
	spin_unlock(&s->lock);
	return i;
}

void inode_new_owner(const struct inode *dir, u16 *mode, kuid_t *uid, kgid_t *gid)
{
	*uid = current->cred->fsuid;
	*gid = current->cred->fsgid;
	if (!(dir->mode & S_ISGID))
		return;
	*gid = dir->gid;
	if (S_ISDIR(*mode))
		*mode |= S_ISGID;
	else if ((*mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP) && !in_group(current->cred, dir->gid) &&
		 !capable_over(*uid, *gid, CAP_FSETID))
		*mode &= ~S_ISGID;
}

/* A new inode in the folder dir (NULL: a root) with a number of the super's own; owner and set-group-id rule as
 * open(2). */
struct inode *super_new_inode(struct super *s, u16 mode, const struct inode *dir)
{
	struct inode *i = inode_create(s, mode);

	if (!i)
		return NULL;
	i->ino = __atomic_add_fetch(&s->next_ino, 1, __ATOMIC_RELAXED);
	if (!dir)
		return i;
	inode_new_owner(dir, &i->mode, &i->uid, &i->gid);
	return i;
}

void inode_get(struct inode *i)
{
	refcount_inc(&i->refs);
}

static void free_inode(struct rcu_head *head)
{
	kcache_free(inode_cache, container_of(head, struct inode, rcu));
}

void inode_put(struct inode *i)
{
	if (!i)
		return;
	if (unlikely(!i->nlink) && i->cache && i->cache->wb && atomic_read(&i->refs.n) == 2)
		i->cache->wb->abandon(i->cache);
	if (!refcount_dec_and_test(&i->refs))
		return;
	if (i->super->ops && i->super->ops->evict)
		i->super->ops->evict(i);
	acl_free(i->acl);
	kfree(i->locks); /* all owners have gone, so the list is empty */
	cache_destroy(i->cache);
	i->cache = NULL;
	spin_lock(&i->super->lock);
	list_del_init(&i->super_link);
	spin_unlock(&i->super->lock);
	rcu_call(&i->rcu, free_inode);
}

/* ---- names ---------------------------------------------------------------------------------------- */

static struct spinlock *alias_lock(const struct inode *i)
{
	return &alias_locks[((ulong)i >> 6) % ALIAS_LOCKS];
}

void inode_link_alias(struct inode *i, struct dentry *d)
{
	spin_lock(alias_lock(i));
	list_add_tail(&d->alias, &i->dentries);
	spin_unlock(alias_lock(i));
}

void inode_unlink_alias(struct inode *i, struct dentry *d)
{
	spin_lock(alias_lock(i));
	list_del_init(&d->alias);
	spin_unlock(alias_lock(i));
}

struct dentry *inode_alias_get(struct inode *i)
{
	struct dentry *d, *found = NULL;

	spin_lock(alias_lock(i));
	list_for_each_entry (d, &i->dentries, alias) {
		if (dentry_tryget(d)) {
			found = d;
			break;
		}
	}
	spin_unlock(alias_lock(i));
	return found;
}

unsigned inode_name_users(struct inode *i)
{
	unsigned n = 0;
	struct dentry *d;

	spin_lock(alias_lock(i));
	list_for_each_entry (d, &i->dentries, alias)
		n += max(atomic_read(&d->refs), 0) - !!(READ_ONCE(d->flags) & DENTRY_PINNED);
	spin_unlock(alias_lock(i));
	return n;
}

/* ---- rights ---------------------------------------------------------------------------------------- */

u16 inode_umask(const struct inode *dir)
{
	return dir->flags & INODE_INHERITS ? 0 : current_fs->umask;
}

static bool list_grants(const struct inode *i, unsigned may)
{
	const struct acl *a;
	bool grants;

	rcu_read_lock();
	a = rcu_deref(i->acl);
	grants = !a || !acl_check(a, i, may);
	rcu_read_unlock();
	return grants;
}

static int check_mode(const struct inode *i, unsigned may)
{
	const struct cred *c = current->cred;
	unsigned bits = i->mode;

	if (uid_eq(i->uid, c->fsuid))
		bits >>= 6;
	else if (unlikely(i->acl))
		bits = list_grants(i, may) ? may : 0;
	else if ((bits >> 3 & 7) != (bits & 7) && in_group(c, i->gid))
		bits >>= 3;
	if ((bits & may) == may)
		return 0;
	if (S_ISDIR(i->mode)) {
		if (!(may & MAY_WRITE) && capable_over(i->uid, i->gid, CAP_DAC_READ_SEARCH))
			return 0;
		return capable_over(i->uid, i->gid, CAP_DAC_OVERRIDE) ? 0 : -EACCES;
	}
	if (may == MAY_READ && capable_over(i->uid, i->gid, CAP_DAC_READ_SEARCH))
		return 0;
	if ((!(may & MAY_EXEC) || i->mode & 0111) && capable_over(i->uid, i->gid, CAP_DAC_OVERRIDE))
		return 0;
	return -EACCES;
}

int inode_permission(struct inode *i, unsigned may)
{
	if (may & MAY_WRITE && i->super->flags & MS_RDONLY &&
	    (S_ISREG(i->mode) || S_ISDIR(i->mode) || S_ISLNK(i->mode)))
		return -EROFS;
	if (i->ops && i->ops->permission)
		return i->ops->permission(i, may);
	return check_mode(i, may);
}

/* ---- stat and times --------------------------------------------------------------------------------- */

void inode_touch(struct inode *i, unsigned which)
{
	struct timestamp now = time_now();

	if (which & ATTR_ATIME)
		timestamp_set(&i->atime, now);
	if (which & ATTR_MTIME)
		timestamp_set(&i->mtime, now);
	if (which & ATTR_CTIME)
		timestamp_set(&i->ctime, now);
}

void inode_stat(struct inode *i, struct kstat *st)
{
	*st = (struct kstat){
		.dev = i->super->dev,
		.rdev = i->rdev,
		.ino = i->ino,
		.mode = i->mode,
		.nlink = i->nlink,
		.uid = i->uid,
		.gid = i->gid,
		.size = READ_ONCE(i->size),
		.blocks = i->blocks,
		.block_size = i->super->block_size ? i->super->block_size : PAGE_SIZE,
		.atime = i->atime,
		.mtime = i->mtime,
		.ctime = i->ctime,
		.btime = i->btime,
	};
}

int path_stat(const struct path *p, struct kstat *st)
{
	struct inode *i = p->dentry->inode;
	int err = 0;

	inode_stat(i, st);
	if (i->ops && i->ops->getattr)
		err = i->ops->getattr(i, st);
	if (p->mnt) {
		st->mount_id = p->mnt->id;
		if (p->dentry == p->mnt->root)
			st->attributes |= STATX_ATTR_MOUNT_ROOT;
	}
	return err;
}

int super_statfs(struct super *s, struct kstatfs *st)
{
	*st = (struct kstatfs){ .type = s->magic,
				.bsize = s->block_size ? s->block_size : PAGE_SIZE,
				.namelen = 255,
				.fsid = { s->dev, 0 } };
	st->frsize = st->bsize;
	st->flags = s->flags & MS_RDONLY;
	return s->ops && s->ops->statfs ? s->ops->statfs(s, st) : 0;
}

int path_statfs(const struct path *p, struct kstatfs *st)
{
	int err = super_statfs(p->dentry->super, st);

	st->flags |= p->mnt ? p->mnt->flags : 0;
	return err;
}
