/* SPDX-License-Identifier: MIT
 *
 * Problem: programs, maps and links must outlive the process that made them and be found by others.
 *
 * Idea: a small file system in memory whose regular files are such objects: BPF_OBJ_PIN gives one a name, BPF_OBJ_GET
 * makes a descriptor from it, unlink lets it go. Names are pinned dentries; a folder remembers the order in which they
 * came, so that readdir has stable positions.
 *
 * Contract: mount type "bpf", option mode=; magic BPF_FS_MAGIC (linux/magic.h). open(2) of an object is EIO, creating
 * other files is EPERM, and names with a dot are kept for the kernel (EPERM), as in Linux.
 *
 * Locks: a folder's inode lock guards its names.
 */
#include <alloc/slab.h>
#include <core/attr.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/printf.h>
#include <lib/string.h>
#include <lib/xarray.h>
#include <linux/fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <vfs/cache.h>
#include <vfs/mount.h>
#include <vfs/names.h>
#include <vfs/uapi.h>

#include "glue_priv.h"

struct node {
	enum bpf_object kind; /* regular files */
	void *obj;
	char *target;        /* symlinks */
	struct xarray names; /* folders: cookie to dentry */
	u64 next_cookie;
};

static const struct inode_ops dir_ops, link_ops;
static const struct file_ops dir_file_ops, object_file_ops;
static struct fs_type bpf_type;

static struct node *node_of(const struct inode *i)
{
	return i->priv;
}

/* ---- inodes -------------------------------------------------------------------------------------------------------
 */

static struct inode *new_inode(struct super *s, const struct inode *dir, u16 mode)
{
	struct node *n = kzalloc(sizeof(*n), 0);
	struct inode *i = n ? super_new_inode(s, mode, dir) : NULL;

	if (!i) {
		kfree(n);
		return NULL;
	}
	i->priv = n;
	if (S_ISDIR(mode)) {
		i->ops = &dir_ops;
		i->file_ops = &dir_file_ops;
		i->nlink = 2;
		xa_init(&n->names, &vfs_xa_mem);
		n->next_cookie = 2; /* 0 and 1 are . and .. */
	} else if (S_ISLNK(mode)) {
		i->ops = &link_ops;
	} else {
		i->file_ops = &object_file_ops;
	}
	return i;
}

static void evict(struct inode *i)
{
	struct node *n = node_of(i);
	u64 cookie;
	void *name;

	if (S_ISDIR(i->mode)) /* an unmounted tree still has its names */
		xa_for_each (&n->names, cookie, name)
			xa_erase(&n->names, cookie);
	if (n->obj)
		bpf_kind_put(n->kind, n->obj);
	kfree(n->target);
	kfree(n);
}

/* ---- names ----------------------------------------------------------------------------------------------------------
 */

static int add_name(struct inode *dir, struct dentry *d)
{
	struct node *n = node_of(dir);
	int err = xa_store(&n->names, n->next_cookie, d, NULL);

	if (!err)
		d->cookie = n->next_cookie++;
	return err;
}

static void remove_name(struct inode *dir, u64 cookie)
{
	xa_erase(&node_of(dir)->names, cookie);
}

/* Takes over the inode, also on failure. */
static int add_inode(struct inode *dir, struct dentry *d, struct inode *i)
{
	int err = i ? add_name(dir, d) : -ENOMEM;

	if (err) {
		if (i) {
			i->nlink = 0;
			inode_put(i);
		}
		return err;
	}
	if (S_ISDIR(i->mode))
		dir->nlink++;
	dentry_attach(d, i);
	dentry_pin(d);
	return 0;
}

static int lookup(struct inode *dir, struct dentry *d)
{
	return strchr(d->name->str, '.') ? fail(EPERM, "names with a dot are reserved: %s", d->name->str) : 0;
}

static int make_dir(struct inode *dir, struct dentry *d, u16 mode)
{
	return add_inode(dir, d, new_inode(dir->super, dir, mode | S_IFDIR));
}

static int make_symlink(struct inode *dir, struct dentry *d, const char *target)
{
	struct inode *i = new_inode(dir->super, dir, S_IFLNK | 0777);
	size_t len = strlen(target);

	if (i) {
		node_of(i)->target = kmalloc(len + 1, 0);
		if (!node_of(i)->target) {
			i->nlink = 0;
			inode_put(i);
			return -ENOMEM;
		}
		memcpy(node_of(i)->target, target, len + 1);
		i->size = len;
	}
	return add_inode(dir, d, i);
}

static int make_link(struct inode *dir, struct dentry *d, struct inode *target)
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

static int unlink(struct inode *dir, struct dentry *d)
{
	remove_name(dir, d->cookie);
	d->inode->nlink--;
	return 0;
}

static int remove_dir(struct inode *dir, struct dentry *d)
{
	struct inode *i = d->inode;
	u64 at = 0;
	int err = 0;

	write_lock_nested(&i->lock); /* nobody may add a name between the look and the end */
	if (xa_find(&node_of(i)->names, &at, ~0ULL)) {
		err = -ENOTEMPTY;
	} else {
		i->nlink = 0;
		dir->nlink--;
		remove_name(dir, d->cookie);
	}
	write_unlock(&i->lock);
	return err;
}

static int rename(struct inode *from, struct dentry *old, struct inode *to, struct dentry *new, unsigned flags)
{
	u64 cookie = old->cookie;
	int err;

	if (flags & ~(unsigned)RENAME_NOREPLACE)
		return -EINVAL;
	err = add_name(to, old);
	if (!err && new->inode) {
		err = S_ISDIR(new->inode->mode) ? remove_dir(to, new) : unlink(to, new);
		if (err)
			remove_name(to, old->cookie);
	}
	if (err) {
		old->cookie = cookie;
		return err;
	}
	remove_name(from, cookie);
	if (S_ISDIR(old->inode->mode) && from != to) {
		from->nlink--;
		to->nlink++;
	}
	return 0;
}

static int read_dir(struct file *f, struct dir_emit *e)
{
	struct inode *dir = f->inode;
	u64 at = max(e->pos, (s64)2);
	struct dentry *d;

	if (e->pos == 0 && !e->emit(e, ".", 1, 1, dir->ino, S_IFDIR >> 12))
		return 0;
	if (e->pos <= 1 && !e->emit(e, "..", 2, 2, f->path.dentry->parent->inode->ino, S_IFDIR >> 12))
		return 0;
	for (; (d = xa_find(&node_of(dir)->names, &at, ~0ULL >> 1)); at++)
		if (!e->emit(e, d->name->str, d->name->len, at + 1, d->inode->ino, d->inode->mode >> 12))
			break;
	return 0;
}

static int read_link(struct inode *i, struct strbuf *out)
{
	strbuf_put(out, node_of(i)->target, strlen(node_of(i)->target));
	return 0;
}

static int open_object(struct inode *i, struct file *f)
{
	return fail(EIO, "an eBPF object is opened by BPF_OBJ_GET");
}

static const struct inode_ops dir_ops = {
	.lookup = lookup,
	.mkdir = make_dir,
	.symlink = make_symlink,
	.link = make_link,
	.unlink = unlink,
	.rmdir = remove_dir,
	.rename = rename,
};
static const struct inode_ops link_ops = { .readlink = read_link };
static const struct file_ops dir_file_ops = { .readdir = read_dir };
static const struct file_ops object_file_ops = { .open = open_object };

/* ---- pins
 * ------------------------------------------------------------------------------------------------------------ */

struct pin {
	enum bpf_object kind;
	void *obj;
};

static int make_pin(struct inode *dir, struct dentry *d, void *arg)
{
	const struct pin *p = arg;
	struct inode *i;

	if (dir->super->type != &bpf_type)
		return fail(EPERM, "objects are pinned in a file system of type bpf");
	i = new_inode(dir->super, dir, S_IFREG | 0600);
	if (i) {
		bpf_kind_get(p->kind, p->obj);
		node_of(i)->kind = p->kind;
		node_of(i)->obj = p->obj;
	}
	return add_inode(dir, d, i);
}

int bpffs_pin(const char __user *upath, enum bpf_object kind, void *obj)
{
	struct pin p = { kind, obj };
	int err;
	char *path = path_copy(upath, 0, &err);

	if (!path)
		return err;
	err = path_make_object(path, make_pin, &p);
	path_free(path);
	return err;
}

int bpffs_get(const char __user *upath, u32 flags)
{
	unsigned may = flags & BPF_F_RDONLY ? MAY_READ : flags & BPF_F_WRONLY ? MAY_WRITE : MAY_READ | MAY_WRITE;
	struct path p;
	struct node *n;
	int err = path_lookup_user(AT_FDCWD, upath, LOOKUP_FOLLOW, &p);

	if (err)
		return err;
	err = inode_permission(p.dentry->inode, may);
	if (!err && (p.dentry->super->type != &bpf_type || !S_ISREG(p.dentry->inode->mode)))
		err = fail(EACCES, "no eBPF object has this name");
	if (!err) {
		n = node_of(p.dentry->inode);
		if (n->kind != BPF_OBJ_MAP && flags)
			err = -EINVAL;
		if (!err) {
			bpf_object_hold(n->kind, n->obj);
			err = bpf_file_install(n->kind, n->obj, flags);
			if (err < 0)
				bpf_object_put(n->kind, n->obj);
		}
	}
	path_put(&p);
	return err;
}

/* ---- the super
 * ------------------------------------------------------------------------------------------------------- */

static int parse_mode(const char *data, u16 *mode)
{
	char copy[128], *at = copy, *opt;
	u64 v;

	*mode = 01777;
	if (!data)
		return 0;
	if (str_copy(copy, data, sizeof(copy)) >= sizeof(copy))
		return -EINVAL;
	while ((opt = str_next(&at, ','))) {
		if (!strncmp(opt, "mode=", 5) && !str_to_u64(opt + 5, 8, &v) && v <= 07777)
			*mode = v;
		else if (*opt)
			return fail(EINVAL, "bpf file system: option %s", opt);
	}
	return 0;
}

static void show_options(struct super *s, struct strbuf *out)
{
	strbuf_add(out, ",mode=%o", s->root->inode->mode & 07777);
}

static const struct super_ops super_ops = { .evict = evict, .show_options = show_options };

static int mount_bpf(struct super *s, const char *source, const char *data)
{
	struct inode *root;
	u16 mode;
	int err = parse_mode(data, &mode);

	if (err)
		return err;
	s->ops = &super_ops;
	s->magic = BPF_FS_MAGIC;
	root = new_inode(s, NULL, S_IFDIR | mode);
	if (!root)
		return -ENOMEM;
	s->root = dentry_create_root(s, root);
	return s->root ? 0 : -ENOMEM;
}

static struct fs_type bpf_type = { .name = "bpf", .flags = FS_NO_NEGATIVE | FS_USERNS_MOUNT, .mount = mount_bpf };

void bpffs_init(void)
{
	fs_register(&bpf_type);
	ensure(!attr_folder_add(&attr_sys_root, "fs/bpf", NULL));
}
