/* SPDX-License-Identifier: MIT
 *
 * Problem: the vfs works on inodes and names in memory; the core on numbers and records.
 *
 * Idea: one struct inode for each record in use, found by number, so that two names of a file are one inode. It carries
 * the core's view of the record (node->in). Attributes travel from the vfs's fields to the record when somebody syncs,
 * every few seconds, and when the inode leaves memory; an inode without names is freed on the disk then.
 *
 *      ext4_node_get: hash, or ext4_iget        inode_put's last: evict: wait for pages, store or free, unhash
 *
 * Contract: inode_ops of vfs.h; glue.h.
 *
 * Locks: super->lock for the hash and around the core. A dying inode stays in the hash until evict has stored it, and
 * whoever looks for it meanwhile waits.
 */
#include <alloc/slab.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/printf.h>
#include <lib/string.h>
#include <linux/mount.h>
#include <task/sched.h>
#include <vfs/uapi.h>
#include "glue.h"

static struct ext4_super *of(const struct inode *i)
{
	return ext4_super_of(i->super);
}

static struct timestamp stamp(struct ext4_time t)
{
	return (struct timestamp){ t.sec, t.nsec };
}

/* ---- finding and making --------------------------------------------------------------------------------------------
 */

static struct list *bucket(struct ext4_super *s, u32 ino)
{
	return &s->nodes[ino % NODE_BUCKETS];
}

static void copy_attributes(struct inode *i, const struct ext4_inode *in)
{
	i->mode = in->mode;
	i->nlink = in->links;
	i->uid = KUID(in->uid);
	i->gid = KGID(in->gid);
	i->rdev = in->rdev;
	i->blocks = in->sectors;
	i->atime = stamp(in->atime);
	i->mtime = stamp(in->mtime);
	i->ctime = stamp(in->ctime);
	i->btime = stamp(in->crtime);
}

static int set_kind(struct ext4_super *s, struct inode *i)
{
	int err;

	switch (i->mode & S_IFMT) {
	case S_IFDIR:
		i->ops = &ext4_dir_inode_ops;
		i->file_ops = &ext4_dir_ops;
		return 0;
	case S_IFREG:
		i->ops = &ext4_file_inode_ops;
		i->file_ops = &ext4_file_ops;
		err = cache_create(i, &ext4_cache_ops);
		if (!err)
			i->cache->wb = &s->writeback;
		return err;
	case S_IFLNK: i->ops = &ext4_link_inode_ops; return 0;
	case S_IFCHR:
	case S_IFBLK:
	case S_IFIFO:
	case S_IFSOCK: i->ops = &ext4_special_inode_ops; return 0;
	}
	return fail(EUCLEAN, "ext4: inode %llu has mode %o", (unsigned long long)i->ino, i->mode);
}

int ext4_node_make(struct ext4_super *s, const struct ext4_inode *in, struct inode **out)
{
	struct node *n = kzalloc(sizeof(*n), ALLOC_CHARGED);
	struct inode *i = n ? inode_create(s->super, in->mode) : NULL;
	int err;

	if (!i) {
		kfree(n);
		return -ENOMEM;
	}
	n->in = *in;
	n->inode = i;
	list_init(&n->hash);
	i->ino = in->ino;
	i->size = in->size;
	i->priv = n;
	copy_attributes(i, in);
	err = set_kind(s, i);
	if (!err && in->has_xattrs)
		err = ext4_lists_load(s, i);
	if (err) {
		/* Nothing of it may be stored or freed: evict sees that it was never hashed. */
		ext4_unlock(s);
		inode_put(i);
		ext4_lock(s);
		return err;
	}
	list_add(&n->hash, bucket(s, in->ino));
	*out = i;
	return 0;
}

/* -EAGAIN: it is dying. -ENOENT: not in memory. */
static int find(struct ext4_super *s, u32 ino, struct inode **out)
{
	struct node *n;

	list_for_each_entry (n, bucket(s, ino), hash) {
		if (n->in.ino != ino)
			continue;
		if (!refcount_inc_not_zero(&n->inode->refs))
			return -EAGAIN;
		*out = n->inode;
		return 0;
	}
	return -ENOENT;
}

int ext4_node_get_locked(struct ext4_super *s, u32 ino, struct inode **out)
{
	struct ext4_inode in;
	int err;

	while ((err = find(s, ino, out)) == -EAGAIN) {
		ext4_unlock(s);
		sched_yield_cpu();
		ext4_lock(s);
	}
	if (err != -ENOENT)
		return err;
	err = ext4_iget(s->fs, ino, &in);
	if (!err && !in.links)
		err = fail(EUCLEAN, "ext4: inode %u has a name and no links", ino);
	ext4_note(s->fs, err);
	return err ? err : ext4_node_make(s, &in, out);
}

int ext4_node_get(struct ext4_super *s, u32 ino, struct inode **out)
{
	int err;

	ext4_lock(s);
	err = ext4_node_get_locked(s, ino, out);
	ext4_unlock(s);
	return err;
}

u32 ext4_node_generation(const struct inode *i)
{
	return node_of(i)->in.generation;
}

int ext4_node_find(struct super *super, u64 ino, u32 generation, struct inode **out)
{
	struct ext4_super *s = ext4_super_of(super);
	struct ext4_inode in;
	int err;

	/* Those before the first are the file system's own. */
	if (ino > UINT32_MAX || (ino != EXT4_ROOT_INO && ino < ext4_first_ino(s->fs)))
		return -ESTALE;
	ext4_lock(s);
	err = find(s, (u32)ino, out);
	if (err == -ENOENT) { /* any number may come: what is not in use is no damage */
		err = ext4_iget(s->fs, (u32)ino, &in);
		if (!err && in.links && in.generation == generation)
			err = ext4_node_make(s, &in, out);
		else
			err = -ESTALE;
	}
	ext4_unlock(s);
	if (!err && node_of(*out)->in.generation != generation) {
		inode_put(*out);
		err = -ESTALE;
	}
	return err == -EAGAIN ? -ESTALE : err;
}

static bool same_time(struct timestamp a, struct ext4_time b)
{
	return a.sec == b.sec && a.nsec == b.nsec;
}

static struct ext4_time unstamp(struct timestamp t)
{
	return (struct ext4_time){ t.sec, t.nsec };
}

/* Under the lock: does the record have to change? */
static bool take_attributes(struct inode *i, struct ext4_inode *in)
{
	if (in->mode == i->mode && in->uid == i->uid.v && in->gid == i->gid.v && same_time(i->atime, in->atime) &&
	    same_time(i->mtime, in->mtime) && same_time(i->ctime, in->ctime))
		return false;
	in->mode = i->mode;
	in->uid = i->uid.v;
	in->gid = i->gid.v;
	in->atime = unstamp(i->atime);
	in->mtime = unstamp(i->mtime);
	in->ctime = unstamp(i->ctime);
	return true;
}

int ext4_node_store(struct inode *i)
{
	struct ext4_super *s = of(i);
	struct node *n = i->priv;
	int err = 0;

	if (i->super->flags & MS_RDONLY)
		return 0;
	ext4_lock(s);
	if (n->in.links && take_attributes(i, &n->in))
		err = ext4_update(s->fs, &n->in);
	ext4_unlock(s);
	return err;
}

void ext4_node_show(struct inode *i)
{
	const struct ext4_inode *in = &node_of(i)->in;

	i->nlink = in->links;
	i->blocks = in->sectors;
	i->mtime = stamp(in->mtime);
	i->ctime = stamp(in->ctime);
	if (S_ISDIR(i->mode))
		i->size = in->size;
}

/* The last one has let go. A file without names goes for good. */
void ext4_node_evict(struct inode *i)
{
	struct ext4_super *s = of(i);
	struct node *n = i->priv;
	bool writes = !(i->super->flags & MS_RDONLY);
	int err = 0;

	if (!n)
		return;
	ext4_wait_writes(n);
	ext4_lock(s);
	if (!list_empty(&n->hash)) {
		if (writes && !n->in.links)
			err = ext4_delete(s->fs, &n->in);
		else if (writes && take_attributes(i, &n->in))
			err = ext4_update(s->fs, &n->in);
		if (err)
			log_warn("ext4: inode %u could not be put away (error %d)", n->in.ino, -err);
	}
	list_del_init(&n->hash);
	ext4_unlock(s);
	kfree(n);
	i->priv = NULL;
}

/* ---- names ---------------------------------------------------------------------------------------------------------
 */

static int lookup(struct inode *dir, struct dentry *d)
{
	struct ext4_super *s = of(dir);
	struct inode *i = NULL;
	u32 ino;
	int err;

	ext4_lock(s);
	err = ext4_lookup(s->fs, &node_of(dir)->in, d->name->str, d->name->len, &ino);
	if (!err)
		err = ext4_node_get_locked(s, ino, &i);
	ext4_note(s->fs, err);
	ext4_unlock(s);
	if (err == -ENOENT)
		err = 0;
	else if (!err)
		dentry_attach(d, i);
	return err;
}

static int readlink(struct inode *i, struct strbuf *out)
{
	struct ext4_super *s = of(i);
	char *text = kmalloc(PAGE_SIZE, ALLOC_KERNEL);
	ssize_t n;

	if (!text)
		return -ENOMEM;
	ext4_lock(s);
	n = ext4_readlink(s->fs, &node_of(i)->in, text, PAGE_SIZE - 1);
	ext4_unlock(s);
	if (n > 0)
		strbuf_put(out, text, n);
	kfree(text);
	return n < 0 ? (int)n : 0;
}

/* ---- attributes
 * ------------------------------------------------------------------------------------------------------ */

static ssize_t getxattr(struct inode *i, const char *name, void *buf, size_t size)
{
	struct ext4_super *s = of(i);
	ssize_t n;

	ext4_lock(s);
	n = ext4_getxattr(s->fs, &node_of(i)->in, name, buf, size);
	ext4_unlock(s);
	return n;
}

static ssize_t listxattr(struct inode *i, char *buf, size_t size)
{
	struct ext4_super *s = of(i);
	ssize_t n;

	ext4_lock(s);
	n = ext4_listxattr(s->fs, &node_of(i)->in, buf, size);
	ext4_unlock(s);
	return n;
}

static int setxattr(struct inode *i, const char *name, const void *value, size_t size, int flags)
{
	struct ext4_super *s = of(i);
	struct ext4_inode *in = &node_of(i)->in;
	int err;

	ext4_lock(s);
	(void)take_attributes(i, in);
	if (!strncmp(name, "system.posix_acl_", 17)) {
		ext4_unlock(s);
		return ext4_list_set(i, name, value, size);
	}
	err = ext4_setxattr(s->fs, in, name, value, size, flags);
	if (!err) {
		i->blocks = in->sectors;
		i->ctime = stamp(in->ctime);
	}
	ext4_unlock(s);
	return err;
}

/* What waits to be written counts, as far as the file is long. */
static int getattr(struct inode *i, struct kstat *st)
{
	u64 whole = ALIGN_UP((u64)st->size, i->super->block_size) / 512, sectors = i->blocks;

	if (i->cache && sectors < whole)
		sectors = min(whole, sectors + READ_ONCE(i->cache->nr_dirty) * (PAGE_SIZE / 512));
	st->blocks = sectors;
	return 0;
}

static int setattr(struct inode *i, const struct inode_attr *a)
{
	int err = a->mask & ATTR_MODE && i->acl ? ext4_list_chmod(i, a->mode) : 0;

	return !err && a->mask & ATTR_SIZE ? ext4_set_size(i, a->size) : err;
}

#define XATTR_OPS .getxattr = getxattr, .listxattr = listxattr, .setxattr = setxattr

const struct inode_ops ext4_dir_inode_ops = {
	.lookup = lookup,
	.create = ext4_vfs_create,
	.mkdir = ext4_vfs_mkdir,
	.mknod = ext4_vfs_mknod,
	.symlink = ext4_vfs_symlink,
	.tmpfile = ext4_vfs_tmpfile,
	.link = ext4_vfs_link,
	.unlink = ext4_vfs_unlink,
	.rmdir = ext4_vfs_rmdir,
	.rename = ext4_vfs_rename,
	.setattr = setattr,
	XATTR_OPS,
};
const struct inode_ops ext4_file_inode_ops = {
	.setattr = setattr, .getattr = getattr, .extent = ext4_file_extent, XATTR_OPS
};
const struct inode_ops ext4_special_inode_ops = { .setattr = setattr, XATTR_OPS };
const struct inode_ops ext4_link_inode_ops = { .readlink = readlink, XATTR_OPS };
