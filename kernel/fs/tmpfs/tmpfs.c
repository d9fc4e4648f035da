/* SPDX-License-Identifier: MIT
 *
 * Problem: programs need files before there is a disk, and fast ones afterwards: the initrd's root, /tmp, /dev/shm,
 * memfd_create.
 *
 * Idea: the caches are the file system. A name is a pinned dentry, a file's contents are its page cache, where a
 * missing page means zeros. A folder only remembers in which order its names came (an xarray from a running number, the
 * cookie, to the dentry), so that readdir has stable positions while names come and go.
 *
 * Contract: names are pinned while they exist (dentry_pin); rename moves a dentry's cookie. size= and nr_inodes=
 * limit what a mount may hold (bytes with k, m, g or %, as mount(8) gives them); -ENOSPC beyond it.
 *
 * Locks: the folder's inode lock guards its names and cookies; counts of the super are atomic.
 */
#include <alloc/page.h>
#include <alloc/slab.h>
#include <core/log.h>
#include <fs/fs.h>
#include <lib/err.h>
#include <lib/printf.h>
#include <lib/string.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <linux/mman.h>
#include <linux/mount.h>
#include <vfs/uapi.h>
#include "tmpfs_priv.h"

#define NO_WRITE (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)

static const struct inode_ops dir_ops, file_inode_ops, link_ops, special_ops;
static const struct file_ops dir_file_ops, file_file_ops;
static const struct cache_ops tmpfs_cache_ops;

static struct tmpfs_super *super_of(const struct super *s)
{
	return s->priv;
}

/* ---- inodes ---------------------------------------------------------------------------------------------- */

static int setup_kind(struct inode *i, u32 rdev)
{
	struct tmpfs_inode *t = i->priv;

	switch (i->mode & S_IFMT) {
	case S_IFDIR:
		i->ops = &dir_ops;
		i->file_ops = &dir_file_ops;
		i->nlink = 2;
		xa_init(&t->names, &vfs_xa_mem);
		t->next_cookie = 2; /* 0 and 1 are . and .. */
		return 0;
	case S_IFREG:
		i->ops = &file_inode_ops;
		i->file_ops = &file_file_ops;
		return cache_create(i, &tmpfs_cache_ops);
	case S_IFLNK: i->ops = &link_ops; return 0;
	default:
		i->ops = &special_ops;
		i->rdev = rdev;
		return 0;
	}
}

static struct inode *new_inode(struct super *s, const struct inode *dir, u16 mode, u32 rdev, int *err)
{
	struct tmpfs_super *ts = super_of(s);
	struct inode *i = NULL;

	*err = -ENOSPC;
	if (atomic_add_return(&ts->inodes, 1) > ts->max_inodes)
		goto full;
	*err = -ENOMEM;
	i = super_new_inode(s, mode, dir);
	if (!i)
		goto full;
	i->priv = kzalloc(sizeof(struct tmpfs_inode), ALLOC_CHARGED);
	if (!i->priv)
		goto put;
	list_init(&((struct tmpfs_inode *)i->priv)->xattrs);
	*err = setup_kind(i, rdev);
	if (!*err)
		return i;
put:
	i->nlink = 0;
	inode_put(i); /* evict gives the count back */
	return NULL;
full:
	atomic_dec(&ts->inodes);
	return NULL;
}

static void evict(struct inode *i)
{
	struct tmpfs_inode *t = i->priv;
	u64 cookie;
	void *name;

	if (t) {
		if (S_ISDIR(i->mode)) /* an unmounted tree still has its names */
			xa_for_each (&t->names, cookie, name)
				xa_erase(&t->names, cookie);
		tmpfs_drop_xattrs(t);
		kfree(t->target);
		kfree(t);
	}
	atomic_dec(&super_of(i->super)->inodes);
}

/* ---- names ---------------------------------------------------------------------------------------------- */

static int add_name(struct inode *dir, struct dentry *d)
{
	struct tmpfs_inode *t = dir->priv;
	int err = xa_store(&t->names, t->next_cookie, d, NULL);

	if (err)
		return err;
	d->cookie = t->next_cookie++;
	dir->size += TMPFS_NAME_BYTES;
	return 0;
}

static void remove_name(struct inode *dir, struct dentry *d)
{
	xa_erase(&((struct tmpfs_inode *)dir->priv)->names, d->cookie);
	dir->size -= TMPFS_NAME_BYTES;
}

static int make(struct inode *dir, struct dentry *d, u16 mode, u32 rdev, const char *target)
{
	int err;
	struct inode *i = new_inode(dir->super, dir, mode, rdev, &err);

	if (!i)
		return err;
	if (target) {
		size_t len = strlen(target);
		struct tmpfs_inode *t = i->priv;

		t->target = kmalloc(len + 1, ALLOC_CHARGED);
		if (t->target)
			memcpy(t->target, target, len + 1);
		else
			err = -ENOMEM;
		i->size = len;
	}
	if (!err)
		err = add_name(dir, d);
	if (err) {
		i->nlink = 0;
		inode_put(i);
		return err;
	}
	if (S_ISDIR(mode))
		dir->nlink++;
	dentry_attach(d, i);
	dentry_pin(d);
	return 0;
}

static int tmpfs_create(struct inode *dir, struct dentry *d, u16 mode)
{
	return make(dir, d, mode, 0, NULL);
}

static int tmpfs_mkdir(struct inode *dir, struct dentry *d, u16 mode)
{
	return make(dir, d, mode | S_IFDIR, 0, NULL);
}

static int tmpfs_mknod(struct inode *dir, struct dentry *d, u16 mode, u32 rdev)
{
	return make(dir, d, mode, rdev, NULL);
}

static int tmpfs_symlink(struct inode *dir, struct dentry *d, const char *target)
{
	return make(dir, d, S_IFLNK | 0777, 0, target);
}

static int tmpfs_link(struct inode *dir, struct dentry *d, struct inode *target)
{
	int err = add_name(dir, d);

	if (err)
		return err;
	inode_get(target);
	target->nlink++;
	inode_touch(target, ATTR_CTIME);
	dentry_attach(d, target);
	dentry_pin(d);
	return 0;
}

static int tmpfs_unlink(struct inode *dir, struct dentry *d)
{
	remove_name(dir, d);
	d->inode->nlink--;
	return 0;
}

static bool is_empty(const struct inode *dir)
{
	u64 at = 0;

	return !xa_find(&((struct tmpfs_inode *)dir->priv)->names, &at, ~0ULL);
}

static int tmpfs_rmdir(struct inode *dir, struct dentry *d)
{
	struct inode *i = d->inode;
	int err = 0;

	write_lock_nested(&i->lock); /* nobody may add a name between the look and the end */
	if (is_empty(i)) {
		i->nlink = 0;
		dir->nlink--;
		remove_name(dir, d);
	} else {
		err = -ENOTEMPTY;
	}
	write_unlock(&i->lock);
	return err;
}

/* The two names trade cookies; links of `..` follow the folders. */
static void exchange(struct inode *from, struct dentry *old, struct inode *to, struct dentry *new)
{
	struct tmpfs_inode *f = from->priv, *t = to->priv;
	int moved = S_ISDIR(old->inode->mode) - S_ISDIR(new->inode->mode);
	void *before;

	ensure(!xa_store(&f->names, old->cookie, new, &before)); /* replacing needs no memory */
	ensure(!xa_store(&t->names, new->cookie, old, &before));
	swap(old->cookie, new->cookie);
	if (from != to) {
		from->nlink -= moved;
		to->nlink += moved;
	}
}

static int replace(struct inode *dir, struct dentry *victim)
{
	return S_ISDIR(victim->inode->mode) ? tmpfs_rmdir(dir, victim) : tmpfs_unlink(dir, victim);
}

static int tmpfs_rename(struct inode *from, struct dentry *old, struct inode *to, struct dentry *new, unsigned flags)
{
	u64 old_cookie = old->cookie;
	int err;

	if (flags & RENAME_EXCHANGE) {
		exchange(from, old, to, new);
		return 0;
	}
	err = add_name(to, old);
	if (!err && new->inode) {
		err = replace(to, new);
		if (err)
			remove_name(to, old);
	}
	if (err) {
		old->cookie = old_cookie;
		return err;
	}
	xa_erase(&((struct tmpfs_inode *)from->priv)->names, old_cookie);
	from->size -= TMPFS_NAME_BYTES;
	if (S_ISDIR(old->inode->mode) && from != to) {
		from->nlink--;
		to->nlink++;
	}
	return 0;
}

static int tmpfs_tmpfile(struct inode *dir, struct dentry *d, u16 mode)
{
	int err;
	struct inode *i = new_inode(dir->super, dir, mode, 0, &err);

	if (!i)
		return err;
	i->nlink = 0;
	dentry_attach(d, i);
	return 0;
}

static int tmpfs_readlink(struct inode *i, struct strbuf *out)
{
	const char *target = ((struct tmpfs_inode *)i->priv)->target;

	strbuf_put(out, target, strlen(target));
	return 0;
}

static int tmpfs_readdir(struct file *f, struct dir_emit *e)
{
	struct inode *dir = f->inode;
	struct tmpfs_inode *t = dir->priv;
	u64 at = max(e->pos, (s64)2);
	struct dentry *d;

	if (e->pos == 0 && !e->emit(e, ".", 1, 1, dir->ino, S_IFDIR >> 12))
		return 0;
	if (e->pos <= 1 && !e->emit(e, "..", 2, 2, f->path.dentry->parent->inode->ino, S_IFDIR >> 12))
		return 0;
	while ((d = xa_find(&t->names, &at, ~0ULL >> 1))) {
		const struct dname *n = d->name;

		if (!e->emit(e, n->str, n->len, at + 1, d->inode->ino, d->inode->mode >> 12))
			break;
		at++;
	}
	return 0;
}

/* ---- contents ---------------------------------------------------------------------------------------------- */

static int tmpfs_account(struct page_cache *c, s64 n)
{
	struct tmpfs_super *ts = super_of(c->host->super);
	s64 now = atomic_add_return(&ts->pages, n);

	if (n > 0 && (u64)now > ts->max_pages) {
		atomic_sub(&ts->pages, n);
		return -ENOSPC;
	}
	__atomic_fetch_add(&c->host->blocks, n * (s64)(PAGE_SIZE / 512), __ATOMIC_RELAXED);
	return 0;
}

static int allocate(struct inode *i, s64 off, s64 end)
{
	for (u64 index = off / PAGE_SIZE; index < DIV_ROUND_UP((u64)end, PAGE_SIZE); index++) {
		struct page *p;
		int err = cache_get(i->cache, index, &p);

		if (err)
			return err;
		page_put(p);
		resched_point();
		if (fatal_signal_pending(current))
			return -EINTR;
	}
	return 0;
}

static int tmpfs_fallocate(struct file *f, int mode, s64 off, s64 len)
{
	struct inode *i = f->inode;
	u32 seals = INODE_SEALS(i->flags);
	s64 end = off + len;
	int err = 0;

	if (mode & ~(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE))
		return -EOPNOTSUPP;
	write_lock(&i->lock);
	if ((mode & FALLOC_FL_PUNCH_HOLE && seals & NO_WRITE) || (end > i->size && seals & F_SEAL_GROW))
		err = -EPERM;
	else if (mode & FALLOC_FL_PUNCH_HOLE)
		cache_remove(i->cache, off, end);
	else
		err = allocate(i, off, end);
	if (!err && !(mode & FALLOC_FL_KEEP_SIZE) && end > i->size)
		WRITE_ONCE(i->size, end);
	if (!err)
		inode_touch(i, ATTR_MTIME | ATTR_CTIME);
	write_unlock(&i->lock);
	return err;
}

/* ---- seals of memfds (memfd_create(2), fcntl(2)) ---------------------------------------------------------- */

static ssize_t tmpfs_write(struct io *io)
{
	struct inode *i = io->file->inode;
	u32 seals = INODE_SEALS(i->flags);

	if (unlikely(seals & NO_WRITE))
		return -EPERM;
	if (unlikely(seals & F_SEAL_GROW)) {
		if (io->flags & IO_APPEND || io->pos >= i->size)
			return -EPERM;
		io->iter.count = min(io->iter.count, (size_t)(i->size - io->pos));
	}
	return cache_write(io);
}

static int tmpfs_setattr(struct inode *i, const struct inode_attr *a)
{
	u32 seals = INODE_SEALS(i->flags);

	if (a->mask & ATTR_SIZE &&
	    ((a->size < i->size && seals & F_SEAL_SHRINK) || (a->size > i->size && seals & F_SEAL_GROW)))
		return -EPERM;
	return 0;
}

static int tmpfs_mmap(struct file *f, unsigned prot, unsigned map_flags, u64 *index, size_t bytes, struct mapping **out)
{
	if ((map_flags & MAP_TYPE) != MAP_PRIVATE && prot & PROT_WRITE && INODE_SEALS(f->inode->flags) & NO_WRITE)
		return -EPERM;
	return cache_mmap(f, prot, map_flags, index, bytes, out);
}

static int tmpfs_fsync(struct file *f, s64 start, s64 end, bool data_only)
{
	return 0; /* memory is where the data live */
}

/* ---- the super ---------------------------------------------------------------------------------------------- */

/* A number with k, m or g, or a share of all memory in %. */
static int parse_amount(char *text, u64 total_bytes, u64 *out)
{
	static const char units[] = "kmg";
	size_t len = strlen(text);
	const char *unit = len ? strchr(units, text[len - 1] | 32) : NULL;
	bool percent = len && text[len - 1] == '%';
	u64 v;

	if (percent || (unit && *unit))
		text[len - 1] = '\0';
	if (str_to_u64(text, 0, &v))
		return -EINVAL;
	if (percent) {
		*out = total_bytes / 100 * v;
		return v > 1000 ? -EINVAL : 0;
	}
	return unit && *unit && __builtin_mul_overflow(v, 1ULL << (10 * (unit - units + 1)), &v) ? -EINVAL
												 : (*out = v, 0);
}

static int parse_option(struct tmpfs_super *ts, char *opt, u64 total)
{
	char *value = strchr(opt, '=');
	u64 v;

	if (!value)
		return !strcmp(opt, "rw") || !*opt ? 0 : fail(EINVAL, "tmpfs: unknown option %s", opt);
	*value++ = '\0';
	if (!strcmp(opt, "size") && !parse_amount(value, total, &v))
		ts->max_pages = v ? DIV_ROUND_UP(v, PAGE_SIZE) : ~0ULL;
	else if (!strcmp(opt, "nr_blocks") && !parse_amount(value, total, &v))
		ts->max_pages = v ? v : ~0ULL;
	else if (!strcmp(opt, "nr_inodes") && !parse_amount(value, total, &v))
		ts->max_inodes = v && v < INT64_MAX ? (s64)v : INT64_MAX;
	else if (!strcmp(opt, "mode") && !str_to_u64(value, 8, &v) && v <= 07777)
		ts->mode = v;
	else if (!strcmp(opt, "uid") && !str_to_u64(value, 10, &v) && v < ~0U)
		ts->uid = v;
	else if (!strcmp(opt, "gid") && !str_to_u64(value, 10, &v) && v < ~0U)
		ts->gid = v;
	else
		return fail(EINVAL, "tmpfs: option %s=%s", opt, value);
	return 0;
}

static int parse_options(struct tmpfs_super *ts, const char *data)
{
	struct page_stats stats;
	char copy[256], *at = copy, *opt;
	int err = 0;

	page_stats(&stats);
	if (!ts->max_pages) {
		ts->max_pages = stats.total / 2;
		ts->max_inodes = stats.total / 2;
	}
	if (!data)
		return 0;
	if (str_copy(copy, data, sizeof(copy)) >= sizeof(copy))
		return -EINVAL;
	while (!err && (opt = str_next(&at, ',')))
		err = parse_option(ts, opt, stats.total * PAGE_SIZE);
	return err;
}

static int tmpfs_statfs(struct super *s, struct kstatfs *st)
{
	struct tmpfs_super *ts = super_of(s);
	s64 used = atomic_read(&ts->pages), inodes = atomic_read(&ts->inodes);

	if (ts->max_pages != ~0ULL) {
		st->blocks = ts->max_pages;
		st->bfree = st->bavail = (s64)ts->max_pages > used ? ts->max_pages - used : 0;
	}
	if (ts->max_inodes != INT64_MAX) {
		st->files = ts->max_inodes;
		st->ffree = ts->max_inodes > inodes ? ts->max_inodes - inodes : 0;
	}
	return 0;
}

static int tmpfs_remount(struct super *s, unsigned flags, const char *data)
{
	struct tmpfs_super *ts = super_of(s), changed = *ts;
	int err = parse_options(&changed, data);

	if (err)
		return err;
	if (changed.max_pages < (u64)atomic_read(&ts->pages) || changed.max_inodes < atomic_read(&ts->inodes))
		return -EINVAL;
	ts->max_pages = changed.max_pages;
	ts->max_inodes = changed.max_inodes;
	return 0;
}

static void tmpfs_show_options(struct super *s, struct strbuf *out)
{
	struct tmpfs_super *ts = super_of(s);

	if (ts->max_pages != ~0ULL)
		strbuf_add(out, ",size=%lluk", (unsigned long long)ts->max_pages * (PAGE_SIZE / 1024));
	if (ts->max_inodes != INT64_MAX)
		strbuf_add(out, ",nr_inodes=%lld", (long long)ts->max_inodes);
	if (ts->mode != 01777)
		strbuf_add(out, ",mode=%o", ts->mode);
}

static void put_super(struct super *s)
{
	kfree(s->priv);
}

static const struct super_ops tmpfs_super_ops = {
	.evict = evict,
	.find_inode = super_find_cached,
	.statfs = tmpfs_statfs,
	.remount = tmpfs_remount,
	.put_super = put_super,
	.show_options = tmpfs_show_options,
};

int tmpfs_fill_super(struct super *s, const char *source, const char *data)
{
	struct tmpfs_super *ts = kzalloc(sizeof(*ts), ALLOC_CHARGED);
	struct inode *root;
	int err;

	if (!ts)
		return -ENOMEM;
	ts->mode = 01777;
	ts->uid = current->cred->fsuid.v;
	ts->gid = current->cred->fsgid.v;
	s->priv = ts;
	s->ops = &tmpfs_super_ops;
	s->magic = TMPFS_MAGIC;
	err = parse_options(ts, data);
	root = err ? NULL : new_inode(s, NULL, S_IFDIR | ts->mode, 0, &err);
	if (root) {
		root->uid = KUID(ts->uid);
		root->gid = KGID(ts->gid);
		s->root = dentry_create_root(s, root);
		err = s->root ? 0 : -ENOMEM;
	}
	if (err)
		kfree(ts);
	return err;
}

static const struct inode_ops dir_ops = {
	.create = tmpfs_create,
	.mkdir = tmpfs_mkdir,
	.mknod = tmpfs_mknod,
	.symlink = tmpfs_symlink,
	.link = tmpfs_link,
	.unlink = tmpfs_unlink,
	.rmdir = tmpfs_rmdir,
	.rename = tmpfs_rename,
	.tmpfile = tmpfs_tmpfile,
	TMPFS_XATTR_OPS,
};
static const struct inode_ops file_inode_ops = { .setattr = tmpfs_setattr, TMPFS_XATTR_OPS };
static const struct inode_ops special_ops = { TMPFS_XATTR_OPS };
static const struct inode_ops link_ops = { .readlink = tmpfs_readlink, TMPFS_XATTR_OPS };
static const struct cache_ops tmpfs_cache_ops = { .account = tmpfs_account };
static const struct file_ops dir_file_ops = { .readdir = tmpfs_readdir, .fsync = tmpfs_fsync };
static const struct file_ops file_file_ops = {
	.read = cache_read,
	.write = tmpfs_write,
	.llseek = cache_llseek,
	.mmap = tmpfs_mmap,
	.fallocate = tmpfs_fallocate,
	.fsync = tmpfs_fsync,
};

static struct fs_type tmpfs_type = { .name = "tmpfs",
				     .flags = FS_NO_NEGATIVE | FS_USERNS_MOUNT,
				     .mount = tmpfs_fill_super };
static struct path memfd_root;

int memfd_file(const char *name, unsigned flags, struct file **out)
{
	struct name n = name_of(name);
	struct dentry *d;
	struct path p;
	int err;

	d = dentry_create(memfd_root.dentry, &n);
	if (!d)
		return -ENOMEM;
	err = tmpfs_tmpfile(memfd_root.dentry->inode, d, S_IFREG | 0777);
	p = (struct path){ memfd_root.mnt, d };
	if (!err)
		err = file_open_path(&p, flags | O_RDWR, out);
	dentry_put(d);
	if (!err && (*out)->writes_inode) { /* as on Linux, who made it may run it while it is open */
		atomic_dec(&(*out)->inode->write_count);
		(*out)->writes_inode = false;
	}
	return err;
}

void tmpfs_init(void)
{
	fs_register(&tmpfs_type);
	ensure(!mount_kernel(&tmpfs_type, &memfd_root));
	super_of(memfd_root.dentry->super)->max_pages = ~0ULL;
	super_of(memfd_root.dentry->super)->max_inodes = INT64_MAX;
}
