/* SPDX-License-Identifier: MIT
 *
 * Problem: an open file is the meeting point of a name, an inode, rights fixed at opening, a position and the
 * operations of whoever implements it; and many objects (pipes, sockets, eventfds) are files without a name.
 *
 * Idea: file_open_path turns a path into a file and does all the checks of open(2); what kind of inode it is decides
 * the operations. Nameless files get an inode and an unfindable dentry on an internal super, so that fstat, /proc and
 * everything else need no special case.
 *
 * Contract: vfs.h. The struct is freed by RCU, since descriptor tables are read under it. release runs once, in the
 * context of whoever drops the last reference, and may sleep.
 *
 * Locks: none held while an op runs.
 */
#include <task/user_ns.h>
#include <alloc/slab.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/printf.h>
#include <lib/string.h>
#include <linux/capability.h>
#include <linux/eventpoll.h>
#include <linux/fadvise.h>
#include <linux/fs.h>
#include <linux/inotify.h>
#include <linux/magic.h>
#include <linux/mount.h>
#include <vfs/cache.h>
#include <vfs/uapi.h>
#include <task/task.h>
#include <vfs/device.h>
#include <vfs/hooks.h>
#include <vfs/locks.h>
#include "vfs_priv.h"

DEFINE_STATIC_KEY(vfs_hook_device_key);
int (*vfs_hook_device)(u32 dev, bool block, unsigned access);
static struct kcache *file_cache;
static struct path anon_root;
const struct file_ops *block_file_ops;

/* ---- the internal super ----------------------------------------------------------------------------------- */

static const struct super_ops anon_super_ops;

static int anon_mount(struct super *s, const char *source, const char *data)
{
	struct inode *i = inode_create(s, S_IFDIR | 0500);

	if (!i)
		return -ENOMEM;
	s->ops = &anon_super_ops;
	s->magic = ANON_INODE_FS_MAGIC;
	s->root = dentry_create_root(s, i);
	return s->root ? 0 : -ENOMEM;
}

static struct fs_type anon_type = { .name = "anon_inodefs",
				    .flags = FS_KERNEL_ONLY | FS_NO_NEGATIVE,
				    .mount = anon_mount };

void file_init(void)
{
	file_cache = kcache_create_charged("file", sizeof(struct file), 64);
	ensure(file_cache);
	fs_register(&anon_type);
	ensure(!mount_kernel(&anon_type, &anon_root));
}

struct inode *anon_inode(u16 mode, const struct inode_ops *ops)
{
	struct inode *i = super_new_inode(anon_root.dentry->super, mode, NULL);

	if (!i)
		return NULL;
	i->ops = ops;
	i->uid = current->cred->fsuid;
	i->gid = current->cred->fsgid;
	return i;
}

/* ---- life -------------------------------------------------------------------------------------------------- */

static unsigned mode_of(unsigned flags)
{
	if (flags & O_PATH)
		return FMODE_PATH;
	switch (flags & O_ACCMODE) {
	case O_RDONLY: return FMODE_READ;
	case O_WRONLY: return FMODE_WRITE;
	case O_RDWR: return FMODE_READ | FMODE_WRITE;
	default: return 0; /* 3: only ioctl */
	}
}

static struct file *file_alloc(const struct path *p, unsigned flags)
{
	struct file *f = kcache_alloc(file_cache, ALLOC_ZERO);

	if (!f)
		return NULL;
	refcount_set(&f->refs, 1);
	mutex_init(&f->pos_lock, RANK_FILE_POS);
	list_init(&f->epoll_links);
	f->path = *p;
	path_get(p);
	f->inode = p->dentry->inode;
	f->flags = flags & ~(O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_CLOEXEC);
	f->mode = mode_of(flags);
	f->cred = current->cred;
	cred_get(current->cred);
	return f;
}

static void free_file(struct rcu_head *head)
{
	kcache_free(file_cache, container_of(head, struct file, rcu));
}

static void file_free(struct file *f)
{
	if (f->writes_inode)
		atomic_dec(&f->inode->write_count);
	cred_put((struct cred *)f->cred);
	path_put(&f->path);
	rcu_call(&f->rcu, free_file);
}

void file_get(struct file *f)
{
	refcount_inc(&f->refs);
}

void file_put(struct file *f)
{
	if (!f || !refcount_dec_and_test(&f->refs))
		return;
	if (!list_empty(&f->epoll_links))
		epoll_file_gone(f);
	if (unlikely(f->inode->locks))
		locks_release(f); /* before its owner goes: a lease may still have to be told of */
	if (unlikely(f->async != NULL))
		file_async_gone(f);
	if (!(f->mode & (FMODE_PATH | FMODE_NONOTIFY)))
		dentry_notify(f->path.dentry, f->mode & FMODE_WRITE ? IN_CLOSE_WRITE : IN_CLOSE_NOWRITE);
	if (f->ops && f->ops->release)
		f->ops->release(f);
	file_free(f);
}

int file_on_inode(struct inode *i, const char *name, const struct file_ops *ops, void *priv, unsigned flags,
		  struct file **out)
{
	struct name n = name_of(name);
	struct path p = { anon_root.mnt, NULL };
	struct file *f = NULL;

	if (i)
		p.dentry = dentry_create(i->super->root, &n);
	if (!p.dentry) {
		inode_put(i);
		return -ENOMEM;
	}
	dentry_attach(p.dentry, i);
	mount_get(p.mnt);
	f = file_alloc(&p, flags);
	path_put(&p);
	if (!f)
		return -ENOMEM;
	f->ops = ops;
	f->priv = priv;
	if (!ops->llseek)
		f->mode |= FMODE_STREAM;
	else if (ops->llseek != no_llseek)
		f->mode |= FMODE_SEEK;
	*out = f;
	return 0;
}

int file_anon(const char *kind, const struct file_ops *ops, void *priv, unsigned flags, struct file **out)
{
	char name[64];

	str_format(name, sizeof(name), "anon_inode:%s", kind);
	return file_on_inode(anon_inode(0600, NULL), name, ops, priv, flags, out);
}

/* ---- opening ------------------------------------------------------------------------------------------------ */

static int may_open(const struct path *p, unsigned flags)
{
	struct inode *i = p->dentry->inode;
	unsigned may = 0;

	if (S_ISLNK(i->mode))
		return -ELOOP;
	if (S_ISDIR(i->mode) && ((flags & O_ACCMODE) != O_RDONLY || flags & O_TRUNC))
		return -EISDIR;
	if ((S_ISCHR(i->mode) || S_ISBLK(i->mode)) && p->mnt->flags & MS_NODEV)
		return -EACCES;
	if ((flags & O_ACCMODE) != O_WRONLY)
		may |= MAY_READ;
	if ((flags & O_ACCMODE) != O_RDONLY || flags & O_TRUNC)
		may |= MAY_WRITE;
	if (may & MAY_WRITE && (S_ISREG(i->mode) || S_ISDIR(i->mode)) && path_writable(p))
		return -EROFS;
	if (flags & O_NOATIME && !uid_eq(i->uid, current->cred->fsuid) && !capable_over(i->uid, i->gid, CAP_FOWNER))
		return -EPERM;
	if (S_ISCHR(i->mode) || S_ISBLK(i->mode)) {
		int err = vfs_may_use_device(i->rdev, S_ISBLK(i->mode),
					     (may & MAY_READ ? DEVICE_READ : 0) | (may & MAY_WRITE ? DEVICE_WRITE : 0));

		if (err)
			return err;
	}
	return inode_permission(i, may);
}

static int pick_ops(struct file *f)
{
	struct inode *i = f->inode;

	switch (i->mode & S_IFMT) {
	case S_IFCHR: f->ops = i->file_ops ? i->file_ops : chrdev_find(i->rdev); return f->ops ? 0 : -ENXIO;
	case S_IFBLK: f->ops = block_file_ops; return f->ops ? 0 : -ENXIO;
	case S_IFIFO:
		f->ops = i->file_ops; /* set by fifo_open if NULL */
		return 0;
	case S_IFSOCK: return -ENXIO;
	default: f->ops = i->file_ops; return f->ops ? 0 : -EINVAL;
	}
}

static int take_write_access(struct file *f)
{
	atomic_t *count = &f->inode->write_count;
	int n = atomic_read(count);

	if (!(f->mode & FMODE_WRITE) || !S_ISREG(f->inode->mode))
		return 0;
	do {
		if (n < 0)
			return -ETXTBSY;
	} while (!atomic_try_cmpxchg(count, &n, n + 1));
	f->writes_inode = true;
	inode_drop_caps(f->inode);
	return 0;
}

int file_deny_write(struct file *f)
{
	atomic_t *count = &f->inode->write_count;
	int n = atomic_read(count);

	do {
		if (n > 0)
			return -ETXTBSY;
	} while (!atomic_try_cmpxchg(count, &n, n - 1));
	return 0;
}

void file_allow_write(struct file *f)
{
	atomic_inc(&f->inode->write_count);
}

/* The kind's own opening, after all checks. */
static int open_kind(struct file *f, unsigned flags)
{
	int err = pick_ops(f);

	if (!err)
		err = take_write_access(f);
	if (!err && S_ISREG(f->inode->mode))
		err = lease_break(f->inode, f->mode & FMODE_WRITE || flags & O_TRUNC, !(flags & O_NONBLOCK));
	if (err)
		return err;
	if (!f->ops || f->ops->llseek != no_llseek)
		f->mode |= FMODE_SEEK;
	if (S_ISFIFO(f->inode->mode))
		return fifo_open(f->inode, f);
	if (f->inode->cache)
		f->wb_err = cache_error_sample(f->inode->cache);
	return f->ops->open ? f->ops->open(f->inode, f) : 0;
}

/* Files whose text is made when it is read have nothing to cut. */
static bool can_be_cut(const struct inode *i)
{
	return S_ISREG(i->mode) && (i->cache || (i->ops && i->ops->setattr));
}

/* What an earlier reader said holds no longer. Most files have no advice: they are not written to. */
static void forget_advice(struct file *f)
{
	struct page_cache *c = file_page_cache(f);

	if (c && READ_ONCE(c->advice) != POSIX_FADV_NORMAL)
		WRITE_ONCE(c->advice, POSIX_FADV_NORMAL);
}

static int open_checked(const struct path *p, unsigned flags, struct file **out)
{
	struct file *f = file_alloc(p, flags);
	int err = 0;

	if (!f)
		return -ENOMEM;
	if (!(flags & O_PATH)) {
		f->flags |= flags & O_EXCL; /* a block device looks at it, once */
		err = open_kind(f, flags);
		f->flags &= ~O_EXCL;
		if (!err && flags & O_TRUNC && can_be_cut(f->inode)) {
			err = inode_set_size(f->inode, 0);
			if (err) {
				file_put(f);
				return err;
			}
		}
		if (!err)
			forget_advice(f);
		if (!err)
			dentry_notify(p->dentry, IN_OPEN);
	}
	if (err) {
		file_free(f);
		return err;
	}
	*out = f;
	return 0;
}

int file_open_path(const struct path *p, unsigned flags, struct file **out)
{
	int err = 0;

	if (flags & O_DIRECTORY && !S_ISDIR(p->dentry->inode->mode))
		return -ENOTDIR;
	if (!(flags & O_PATH))
		err = may_open(p, flags);
	return err ? err : open_checked(p, flags, out);
}

/* Creates the last name of w in its (locked) folder. *d is the negative dentry. */
static int create_locked(struct walk *w, struct dentry *d, u16 mode)
{
	struct inode *dir = w->path.dentry->inode;
	int err = path_writable(&w->path);

	if (!err)
		err = inode_permission(dir, MAY_WRITE | MAY_EXEC);
	if (!err && !dir->nlink)
		err = -ENOENT;
	if (!err)
		err = dir->ops->create ? dir->ops->create(dir, d, S_IFREG | (mode & 07777 & ~inode_umask(dir)))
				       : -EACCES;
	if (err)
		return err;
	if (!(d->flags & DENTRY_HASHED))
		dentry_hash(d);
	inode_touch(dir, ATTR_MTIME | ATTR_CTIME);
	return 0;
}

/* The last component of an open with O_CREAT. 0: *created tells; w->path is the file. 1: walk on. */
static int open_create(struct walk *w, unsigned flags, u16 mode, bool *created)
{
	struct inode *dir = w->path.dentry->inode;
	struct dentry *d;
	int err;

	if (w->last_type != LAST_NORMAL || w->slash_after)
		return -EISDIR;
	err = dentry_lookup(w->path.dentry, &w->last, &d);
	if (err)
		return err;
	if (!d->inode) {
		dentry_put(d);
		write_lock(&dir->lock);
		err = dentry_lookup_locked(w->path.dentry, &w->last, &d);
		if (!err && !d->inode) {
			err = create_locked(w, d, mode);
			*created = !err;
			if (err)
				dentry_put(d);
		}
		write_unlock(&dir->lock);
		if (err)
			return err;
		if (*created)
			inode_notify(dir, IN_CREATE, d->name->str, 0);
	}
	if (!*created && flags & O_EXCL) {
		dentry_put(d);
		return -EEXIST;
	}
	return walk_into(w, d, !(flags & O_NOFOLLOW));
}

static int open_tmpfile(const struct path *folder, unsigned flags, u16 mode, struct file **out)
{
	static const struct name none = { .str = "#", .len = 1 };
	struct inode *dir = folder->dentry->inode;
	struct path p = { folder->mnt, NULL };
	int err = path_writable(folder);

	if ((flags & O_ACCMODE) == O_RDONLY)
		return -EINVAL;
	if (!err)
		err = inode_permission(dir, MAY_WRITE | MAY_EXEC);
	if (!err && !dir->ops->tmpfile)
		err = -EOPNOTSUPP;
	if (err)
		return err;
	p.dentry = dentry_create(folder->dentry, &none);
	if (!p.dentry)
		return -ENOMEM;
	write_lock(&dir->lock);
	err = dir->ops->tmpfile(dir, p.dentry, S_IFREG | (mode & 07777 & ~inode_umask(dir)));
	write_unlock(&dir->lock);
	if (!err) {
		if (!(flags & O_EXCL))
			p.dentry->inode->flags |= INODE_TMPFILE;
		err = open_checked(&p, flags & ~(O_DIRECTORY | O_EXCL), out);
	}
	dentry_put(p.dentry);
	return err;
}

static int open_walk(struct walk *w, unsigned flags, u16 mode, struct file **out)
{
	bool must_be_dir = flags & O_DIRECTORY, created = false;
	int err;

	do {
		err = walk_parent(w);
		if (err)
			return err;
		must_be_dir |= w->slash_after;
		if (flags & O_CREAT)
			err = open_create(w, flags, mode, &created);
		else
			err = walk_last(w, !(flags & O_NOFOLLOW));
	} while (err == 1);
	if (err)
		return err;
	if (must_be_dir && !S_ISDIR(w->path.dentry->inode->mode))
		return -ENOTDIR;
	if ((flags & O_TMPFILE) == O_TMPFILE)
		return open_tmpfile(&w->path, flags, mode, out);
	if (created)
		return open_checked(&w->path, flags & ~O_TRUNC, out);
	if (flags & O_CREAT && S_ISDIR(w->path.dentry->inode->mode))
		return -EISDIR;
	return file_open_path(&w->path, flags, out);
}

int file_open_at(int dirfd, const char *name, unsigned flags, u16 mode, unsigned lookup, struct file **out)
{
	struct walk w;
	int err;

	if (flags & O_PATH)
		flags &= O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
	if (flags & O_CREAT && flags & O_EXCL)
		flags |= O_NOFOLLOW;
	if (flags & O_CREAT && flags & O_DIRECTORY && (flags & O_TMPFILE) != O_TMPFILE)
		return -EINVAL;
	err = walk_begin(&w, dirfd, name, lookup);
	if (!err)
		err = *name ? open_walk(&w, flags, mode, out) : file_open_path(&w.path, flags, out);
	walk_end(&w);
	return err;
}

int file_open_kernel(const char *path, unsigned flags, u16 mode, struct file **out)
{
	return file_open_at(AT_FDCWD, path, flags, mode, 0, out);
}

/* ---- kernel-side I/O, seeking ----------------------------------------------------------------------------------- */

ssize_t file_read_at(struct file *f, void *buf, size_t len, s64 pos)
{
	struct io io = { .file = f, .pos = pos };

	if (!f->ops->read)
		return -EINVAL;
	iter_kernel(&io.iter, buf, len);
	return f->ops->read(&io);
}

ssize_t file_write_at(struct file *f, const void *buf, size_t len, s64 pos)
{
	struct io io = { .file = f, .pos = pos };

	if (!f->ops->write)
		return -EINVAL;
	iter_kernel(&io.iter, (void *)buf, len);
	return f->ops->write(&io);
}

s64 no_llseek(struct file *f, s64 off, int whence)
{
	return -ESPIPE;
}

s64 file_llseek(struct file *f, s64 off, int whence)
{
	s64 size = READ_ONCE(f->inode->size);

	switch (whence) {
	case SEEK_SET: break;
	case SEEK_CUR: off += f->pos; break;
	case SEEK_END: off += size; break;
	case SEEK_DATA:
	case SEEK_HOLE:
		if (off < 0 || off >= size)
			return -ENXIO;
		off = whence == SEEK_DATA ? off : size;
		break;
	default: return -EINVAL;
	}
	if (off < 0)
		return -EINVAL;
	if (off > f->inode->super->max_bytes)
		return -EOVERFLOW;
	f->pos = off;
	return off;
}
