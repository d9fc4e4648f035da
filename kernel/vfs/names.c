/* SPDX-License-Identifier: MIT
 *
 * Problem: creating, removing and renaming names has rules (rights, sticky folders, read-only mounts, mount points,
 * loops, trailing slashes) that hold for every file system.
 *
 * Idea: each operation resolves the parent, locks it, looks the last name up, checks everything, then calls the file
 * system's op and puts the cache right. A rename locks both folders in a fixed order; one mutex serialises renames
 * between folders, so that the tree's shape cannot change under the loop check.
 *
 * Contract: vfs/names.h; errors are those of the system calls.
 *
 * Locks: rename_mutex (RANK_SUBSYS), folders' inode locks (RANK_INODE; two: an ancestor first, else by address), then
 * a victim's own lock where a file system needs it.
 */
#include <task/user_ns.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/printf.h>
#include <lib/string.h>
#include <linux/capability.h>
#include <linux/fs.h>
#include <linux/inotify.h>
#include <linux/mount.h>
#include <vfs/hooks.h>
#include <vfs/inotify.h>
#include <vfs/uapi.h>
#include <task/task.h>
#include "vfs_priv.h"

static struct mutex rename_mutex = MUTEX_INIT(rename_mutex, RANK_SUBSYS);

int path_writable(const struct path *p)
{
	return p->mnt->flags & MS_RDONLY || p->dentry->super->flags & MS_RDONLY ? -EROFS : 0;
}

/* May current add to or remove from this folder? */
static int may_change_folder(struct inode *dir)
{
	return inode_permission(dir, MAY_WRITE | MAY_EXEC);
}

static int may_remove(struct inode *dir, struct dentry *d, bool want_dir)
{
	const struct cred *c = current->cred;
	struct inode *i = d->inode;
	int err = may_change_folder(dir);

	if (err)
		return err;
	if (dir->mode & S_ISVTX && !uid_eq(dir->uid, c->fsuid) && !uid_eq(i->uid, c->fsuid) &&
	    !capable_over(i->uid, i->gid, CAP_FOWNER))
		return -EPERM;
	if (want_dir != S_ISDIR(i->mode))
		return want_dir ? -ENOTDIR : -EISDIR;
	if (i->flags & INODE_SWAP)
		return -EPERM;
	return READ_ONCE(d->flags) & DENTRY_MOUNTED ? -EBUSY : 0;
}

/* ---- creating --------------------------------------------------------------------------------------------- */

struct creation {
	struct walk w;
	struct dentry *d; /* negative, in the locked folder */
	struct inode *dir;
};

/* Resolves up to the new name and locks its folder. On success: create_end. */
static int create_begin(struct creation *c, int dirfd, const char *name, bool is_dir)
{
	int err = walk_begin(&c->w, dirfd, name, 0);

	c->d = NULL;
	if (!err)
		err = walk_parent(&c->w);
	if (!err && c->w.last_type != LAST_NORMAL)
		err = -EEXIST;
	if (err)
		goto out;
	c->dir = c->w.path.dentry->inode;
	write_lock(&c->dir->lock);
	err = dentry_lookup_locked(c->w.path.dentry, &c->w.last, &c->d);
	if (!err && c->d->inode)
		err = -EEXIST;
	else if (!err && c->w.slash_after && !is_dir)
		err = -ENOENT;
	if (!err)
		err = path_writable(&c->w.path);
	if (!err)
		err = may_change_folder(c->dir);
	if (!err && !c->dir->nlink)
		err = -ENOENT;
	if (!err)
		return 0;
	write_unlock(&c->dir->lock);
	dentry_put(c->d);
out:
	walk_end(&c->w);
	return err;
}

/* err: the operation's result, which is handed through. */
static int create_end(struct creation *c, int err)
{
	if (!err && !(c->d->flags & DENTRY_HASHED))
		dentry_hash(c->d);
	if (!err)
		inode_touch(c->dir, ATTR_MTIME | ATTR_CTIME);
	write_unlock(&c->dir->lock);
	if (!err)
		inode_notify(c->dir, IN_CREATE | (S_ISDIR(c->d->inode->mode) ? IN_ISDIR : 0), c->d->name->str, 0);
	dentry_put(c->d);
	walk_end(&c->w);
	return err;
}

static u16 masked(const struct creation *c, u16 mode)
{
	return mode & ~inode_umask(c->dir);
}

static int make_node(struct creation *c, u16 mode, u32 rdev)
{
	const struct inode_ops *ops = c->dir->ops;

	if (S_ISREG(mode))
		return ops->create ? ops->create(c->dir, c->d, mode) : -EPERM;
	return ops->mknod ? ops->mknod(c->dir, c->d, mode, rdev) : -EPERM;
}

int path_mknod(int dirfd, const char *name, u16 mode, u32 rdev)
{
	struct creation c;
	int err;

	if (!(mode & S_IFMT))
		mode |= S_IFREG;
	if (S_ISDIR(mode))
		return -EPERM;
	if (!S_ISREG(mode) && !S_ISCHR(mode) && !S_ISBLK(mode) && !S_ISFIFO(mode) && !S_ISSOCK(mode))
		return -EINVAL;
	err = create_begin(&c, dirfd, name, false);
	if (err)
		return err;
	if ((S_ISCHR(mode) || S_ISBLK(mode)) && !capable(CAP_MKNOD))
		return create_end(&c, -EPERM);
	if (S_ISCHR(mode) || S_ISBLK(mode))
		err = vfs_may_use_device(rdev, S_ISBLK(mode), DEVICE_MKNOD);
	return create_end(&c, err ? err : make_node(&c, masked(&c, mode), rdev));
}

int path_make_socket(const char *name, u16 mode, struct inode **out)
{
	struct creation c;
	int err = create_begin(&c, AT_FDCWD, name, false);

	if (err)
		return err == -EEXIST ? -EADDRINUSE : err;
	err = make_node(&c, masked(&c, mode) | S_IFSOCK, 0);
	if (!err) {
		*out = c.d->inode;
		inode_get(*out);
	}
	return create_end(&c, err);
}

int path_make_object(const char *name, int (*make)(struct inode *dir, struct dentry *d, void *arg), void *arg)
{
	struct creation c;
	int err = create_begin(&c, AT_FDCWD, name, false);

	return err ? err : create_end(&c, make(c.dir, c.d, arg));
}

int path_mkdir(int dirfd, const char *name, u16 mode)
{
	struct creation c;
	int err = create_begin(&c, dirfd, name, true);

	if (err)
		return err;
	if (!c.dir->ops->mkdir)
		return create_end(&c, -EPERM);
	return create_end(&c, c.dir->ops->mkdir(c.dir, c.d, masked(&c, mode & 01777)));
}

int path_symlink(const char *target, int dirfd, const char *name)
{
	struct creation c;
	int err = create_begin(&c, dirfd, name, false);

	if (err)
		return err;
	if (!c.dir->ops->symlink)
		return create_end(&c, -EPERM);
	return create_end(&c, c.dir->ops->symlink(c.dir, c.d, target));
}

static int link_to(struct creation *c, const struct path *old)
{
	struct inode *target = old->dentry->inode;
	int err;

	if (old->mnt != c->w.path.mnt)
		return -EXDEV;
	if (S_ISDIR(target->mode) || !c->dir->ops->link)
		return -EPERM;
	if (!target->nlink && !(target->flags & INODE_TMPFILE))
		return -ENOENT;
	err = c->dir->ops->link(c->dir, c->d, target);
	if (!err)
		target->flags &= ~INODE_TMPFILE;
	return err;
}

int path_link(int olddir, const char *old, int newdir, const char *new, int flags)
{
	unsigned lookup = flags & AT_SYMLINK_FOLLOW ? LOOKUP_FOLLOW : 0;
	struct creation c;
	struct path from;
	int err;

	if (flags & ~(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH))
		return -EINVAL;
	if (flags & AT_EMPTY_PATH) {
		if (!*old && !capable_here(CAP_DAC_READ_SEARCH))
			return -ENOENT;
		lookup |= LOOKUP_EMPTY;
	}
	err = path_lookup(olddir, old, lookup, &from);
	if (err)
		return err;
	err = create_begin(&c, newdir, new, false);
	if (!err)
		err = create_end(&c, link_to(&c, &from));
	path_put(&from);
	return err;
}

/* ---- removing -------------------------------------------------------------------------------------------- */

static int last_type_error(enum last_type t)
{
	switch (t) {
	case LAST_DOT: return -EINVAL;
	case LAST_DOTDOT: return -ENOTEMPTY;
	case LAST_ROOT: return -EBUSY;
	default: return 0;
	}
}

static int remove_locked(struct walk *w, struct dentry *d, bool is_dir)
{
	struct inode *dir = w->path.dentry->inode;
	int err;

	if (!d->inode)
		return -ENOENT;
	if (w->slash_after && !is_dir)
		return S_ISDIR(d->inode->mode) ? -EISDIR : -ENOTDIR;
	err = path_writable(&w->path);
	if (!err)
		err = may_remove(dir, d, is_dir);
	if (err)
		return err;
	if (is_dir)
		err = dir->ops->rmdir ? dir->ops->rmdir(dir, d) : -EPERM;
	else
		err = dir->ops->unlink ? dir->ops->unlink(dir, d) : -EPERM;
	if (err)
		return err;
	dentry_drop(d);
	dentry_unpin(d);
	inode_touch(dir, ATTR_MTIME | ATTR_CTIME);
	inode_touch(d->inode, ATTR_CTIME);
	return 0;
}

static int path_remove(int dirfd, const char *name, bool is_dir)
{
	struct dentry *d = NULL;
	struct inode *dir;
	struct walk w;
	int err = walk_begin(&w, dirfd, name, 0);

	if (!err)
		err = walk_parent(&w);
	if (!err && w.last_type != LAST_NORMAL)
		err = is_dir ? last_type_error(w.last_type) : -EISDIR;
	if (err) {
		walk_end(&w);
		return err;
	}
	dir = w.path.dentry->inode;
	write_lock(&dir->lock);
	err = dentry_lookup_locked(w.path.dentry, &w.last, &d);
	if (!err)
		err = remove_locked(&w, d, is_dir);
	write_unlock(&dir->lock);
	if (!err && is_dir)
		dentry_forget_children(d);
	if (!err) {
		inode_notify(dir, IN_DELETE | (is_dir ? IN_ISDIR : 0), d->name->str, 0);
		if (!is_dir)
			inode_notify(d->inode, IN_ATTRIB, NULL, 0);
		if (is_dir || !d->inode->nlink)
			inode_notify(d->inode, IN_DELETE_SELF, NULL, 0);
	}
	dentry_put(d);
	walk_end(&w);
	return err;
}

int path_unlink(int dirfd, const char *name)
{
	return path_remove(dirfd, name, false);
}

int path_rmdir(int dirfd, const char *name)
{
	return path_remove(dirfd, name, true);
}

/* ---- renaming ---------------------------------------------------------------------------------------------- */

struct renaming {
	struct walk from, to;
	struct inode *from_dir, *to_dir;
	struct dentry *old, *new;
	unsigned flags;
};

static void lock_two(struct inode *a, struct inode *b, bool a_first)
{
	if (a == b) {
		write_lock(&a->lock);
		return;
	}
	write_lock(a_first ? &a->lock : &b->lock);
	write_lock_nested(a_first ? &b->lock : &a->lock);
}

static void rename_lock(struct renaming *r)
{
	struct dentry *a = r->from.path.dentry, *b = r->to.path.dentry;

	if (a != b)
		mutex_lock(&rename_mutex);
	if (dentry_is_below(b, a))
		lock_two(r->from_dir, r->to_dir, true);
	else if (dentry_is_below(a, b))
		lock_two(r->from_dir, r->to_dir, false);
	else
		lock_two(r->from_dir, r->to_dir, r->from_dir < r->to_dir);
}

static void rename_unlock(struct renaming *r)
{
	write_unlock(&r->from_dir->lock);
	if (r->from_dir != r->to_dir) {
		write_unlock(&r->to_dir->lock);
		mutex_unlock(&rename_mutex);
	} else if (r->from.path.dentry != r->to.path.dentry) {
		mutex_unlock(&rename_mutex);
	}
}

static int check_shape(const struct renaming *r)
{
	struct inode *i = r->old->inode, *target = r->new->inode;
	bool is_dir = i && S_ISDIR(i->mode);

	if (!i)
		return -ENOENT;
	if (r->flags & RENAME_NOREPLACE && target)
		return -EEXIST;
	if (r->flags & RENAME_EXCHANGE && !target)
		return -ENOENT;
	if (!is_dir && (r->from.slash_after || (r->to.slash_after && !(r->flags & RENAME_EXCHANGE))))
		return -ENOTDIR;
	if (r->flags & RENAME_EXCHANGE && r->to.slash_after && !S_ISDIR(target->mode))
		return -ENOTDIR;
	if (r->old != r->new &&dentry_is_below(r->to.path.dentry, r->old))
		return -EINVAL;
	if (target && r->old != r->new &&dentry_is_below(r->from.path.dentry, r->new))
		return r->flags & RENAME_EXCHANGE ? -EINVAL : -ENOTEMPTY;
	return 0;
}

static int check_rights(const struct renaming *r)
{
	struct inode *i = r->old->inode, *target = r->new->inode;
	bool is_dir = S_ISDIR(i->mode);
	int err = path_writable(&r->from.path);

	if (!err)
		err = may_remove(r->from_dir, r->old, is_dir);
	if (!err && !target)
		err = r->to_dir->nlink ? may_change_folder(r->to_dir) : -ENOENT;
	else if (!err)
		err = may_remove(r->to_dir, r->new, r->flags & RENAME_EXCHANGE ? S_ISDIR(target->mode) : is_dir);
	if (err || r->from_dir == r->to_dir)
		return err;
	/* A folder that moves gets another `..`. */
	if (is_dir)
		err = inode_permission(i, MAY_WRITE);
	if (!err && r->flags & RENAME_EXCHANGE && S_ISDIR(target->mode))
		err = inode_permission(target, MAY_WRITE);
	return err;
}

static void rename_finish(struct renaming *r)
{
	struct inode *replaced = r->flags & RENAME_EXCHANGE ? NULL : r->new->inode;

	if (r->flags & RENAME_EXCHANGE) {
		dentry_exchange(r->old, r->new);
		inode_touch(r->new->inode, ATTR_CTIME);
	} else {
		if (replaced)
			dentry_unpin(r->new);
		dentry_move(r->old, r->new);
	}
	inode_touch(r->from_dir, ATTR_MTIME | ATTR_CTIME);
	inode_touch(r->to_dir, ATTR_MTIME | ATTR_CTIME);
	inode_touch(r->old->inode, ATTR_CTIME);
}

static void rename_announce(struct renaming *r)
{
	static atomic_t cookies;
	u32 cookie = atomic_add_return(&cookies, 1);
	u32 dir = S_ISDIR(r->old->inode->mode) ? IN_ISDIR : 0;
	u32 within = r->from_dir == r->to_dir ? IN_RENAMED_WITHIN : 0;

	/* The names have traded places: the old name is the one that `new` holds now. */
	inode_notify(r->from_dir, IN_MOVED_FROM | dir | within, r->new->name->str, cookie);
	inode_notify(r->to_dir, IN_MOVED_TO | dir, r->old->name->str, cookie);
	inode_notify(r->old->inode, IN_MOVE_SELF, NULL, 0);
	if (r->new->inode && !(r->flags & RENAME_EXCHANGE))
		inode_notify(r->new->inode, r->new->inode->nlink ? IN_ATTRIB : IN_DELETE_SELF, NULL, 0);
}

static int rename_locked(struct renaming *r)
{
	int err = dentry_lookup_locked(r->from.path.dentry, &r->from.last, &r->old);

	if (!err)
		err = dentry_lookup_locked(r->to.path.dentry, &r->to.last, &r->new);
	if (!err)
		err = check_shape(r);
	if (!err)
		err = check_rights(r);
	if (err)
		return err;
	if (r->old->inode == r->new->inode)
		return 1; /* two names of one file: nothing to do */
	if (!r->from_dir->ops->rename)
		return -EPERM;
	err = r->from_dir->ops->rename(r->from_dir, r->old, r->to_dir, r->new, r->flags);
	if (!err)
		rename_finish(r);
	return err;
}

static int rename_paths(struct renaming *r)
{
	int err = walk_parent(&r->from);

	if (!err)
		err = walk_parent(&r->to);
	if (err)
		return err;
	if (r->from.path.mnt != r->to.path.mnt)
		return -EXDEV;
	if (r->from.last_type != LAST_NORMAL)
		return -EBUSY;
	if (r->to.last_type != LAST_NORMAL)
		return r->flags & RENAME_NOREPLACE ? -EEXIST : -EBUSY;
	r->from_dir = r->from.path.dentry->inode;
	r->to_dir = r->to.path.dentry->inode;
	rename_lock(r);
	err = rename_locked(r);
	rename_unlock(r);
	if (!err && r->new->inode && !(r->flags & RENAME_EXCHANGE))
		dentry_forget_children(r->new);
	if (!err)
		rename_announce(r);
	return min(err, 0);
}

int path_rename(int olddir, const char *old, int newdir, const char *new, unsigned flags)
{
	struct renaming r = { .flags = flags };
	int err;

	if (flags & ~(RENAME_NOREPLACE | RENAME_EXCHANGE))
		return -EINVAL;
	if (flags == (RENAME_NOREPLACE | RENAME_EXCHANGE))
		return -EINVAL;
	err = walk_begin(&r.from, olddir, old, 0);
	if (!err) {
		err = walk_begin(&r.to, newdir, new, 0);
		if (!err)
			err = rename_paths(&r);
		walk_end(&r.to);
	}
	dentry_put(r.old);
	dentry_put(r.new);
	walk_end(&r.from);
	return err;
}
