/* SPDX-License-Identifier: MIT
 *
 * Problem: the vfs makes, links, removes and renames dentries and inodes; the core does the same to records.
 *
 * Idea: each operation is one step of the core under its lock, and then what it changed (links, sizes, times) is shown
 * to the vfs's inodes. A file that replaces another by its name sends its data off first, as programs expect that
 * write to a new file and rename it over the old one.
 *
 * Contract: inode_ops of vfs.h.
 *
 * Locks: the folders' inode locks are held; a folder that goes is locked, too, so that nobody makes a name in it.
 */
#include <lib/err.h>
#include <lib/string.h>
#include <linux/fs.h>
#include <task/task.h>
#include <vfs/acl.h>
#include <vfs/uapi.h>
#include "glue.h"

static struct ext4_super *of(const struct inode *i)
{
	return ext4_super_of(i->super);
}

static int make(struct inode *dir, struct dentry *d, u16 mode, u32 rdev, const char *target, bool named)
{
	struct ext4_super *s = of(dir);
	struct ext4_new what = {
		.mode = mode, .rdev = rdev, .target = target, .target_len = target ? strlen(target) : 0
	};
	struct inode *i = NULL;
	struct acl *list = NULL;
	struct ext4_inode in;
	kuid_t uid;
	kgid_t gid;
	int err;

	inode_new_owner(dir, &what.mode, &uid, &gid);
	what.uid = uid.v;
	what.gid = gid.v;
	ext4_lock(s);
	err = ext4_list_for_new(dir, &what.mode, &list);
	if (!err)
		err = ext4_create(s->fs, &node_of(dir)->in, named ? d->name->str : NULL, named ? d->name->len : 0,
				  &what, &in);
	if (!err)
		err = ext4_node_make(s, &in, &i);
	if (!err && list)
		ext4_list_inherit(dir, i, list);
	else
		acl_free(list);
	if (!err && named)
		ext4_node_show(dir);
	ext4_unlock(s);
	if (!err)
		dentry_attach(d, i);
	return err;
}

int ext4_vfs_create(struct inode *dir, struct dentry *d, u16 mode)
{
	return make(dir, d, mode, 0, NULL, true);
}

int ext4_vfs_mkdir(struct inode *dir, struct dentry *d, u16 mode)
{
	return make(dir, d, mode | S_IFDIR, 0, NULL, true);
}

int ext4_vfs_mknod(struct inode *dir, struct dentry *d, u16 mode, u32 rdev)
{
	return make(dir, d, mode, rdev, NULL, true);
}

int ext4_vfs_symlink(struct inode *dir, struct dentry *d, const char *target)
{
	return make(dir, d, S_IFLNK | 0777, 0, target, true);
}

int ext4_vfs_tmpfile(struct inode *dir, struct dentry *d, u16 mode)
{
	return make(dir, d, mode, 0, NULL, false);
}

int ext4_vfs_link(struct inode *dir, struct dentry *d, struct inode *target)
{
	struct ext4_super *s = of(dir);
	int err;

	ext4_lock(s);
	err = ext4_link(s->fs, &node_of(dir)->in, d->name->str, d->name->len, &node_of(target)->in);
	if (!err) {
		ext4_node_show(dir);
		target->nlink = node_of(target)->in.links;
		inode_touch(target, ATTR_CTIME);
	}
	ext4_unlock(s);
	if (err)
		return err;
	inode_get(target);
	dentry_attach(d, target);
	return 0;
}

int ext4_vfs_unlink(struct inode *dir, struct dentry *d)
{
	struct ext4_super *s = of(dir);
	struct inode *i = d->inode;
	int err;

	ext4_lock(s);
	err = ext4_unlink(s->fs, &node_of(dir)->in, d->name->str, d->name->len, &node_of(i)->in);
	if (!err) {
		ext4_node_show(dir);
		i->nlink = node_of(i)->in.links;
	}
	ext4_unlock(s);
	return err;
}

int ext4_vfs_rmdir(struct inode *dir, struct dentry *d)
{
	int err;

	write_lock_nested(&d->inode->lock);
	err = ext4_vfs_unlink(dir, d);
	write_unlock(&d->inode->lock);
	return err;
}

/* Data of a file that is to replace another get their blocks now, so that they are on the device before the name. */
static void send_data(struct inode *i)
{
	if (i->cache && i->cache->nr_dirty)
		(void)!cache_write_range(i->cache, 0, ~0ULL >> PAGE_SHIFT, ~0ULL, WRITE_SYNC);
}

int ext4_vfs_rename(struct inode *from, struct dentry *old, struct inode *to, struct dentry *new, unsigned flags)
{
	struct ext4_super *s = of(from);
	struct inode *victim = new->inode;
	bool replaces = victim && !(flags & RENAME_EXCHANGE), is_dir = victim && S_ISDIR(victim->mode);
	struct ext4_place a = { &node_of(from)->in, old->name->str, old->name->len, &node_of(old->inode)->in };
	struct ext4_place b = { &node_of(to)->in, new->name->str, new->name->len,
				victim ? &node_of(victim)->in : NULL };
	int err;

	if (replaces && !is_dir)
		send_data(old->inode);
	if (replaces && is_dir)
		write_lock_nested(&victim->lock);
	ext4_lock(s);
	err = ext4_rename(s->fs, &a, &b, flags & RENAME_EXCHANGE);
	if (!err) {
		ext4_node_show(from);
		ext4_node_show(to);
		old->inode->nlink = a.in->links;
		if (victim)
			victim->nlink = b.in->links;
	}
	ext4_unlock(s);
	if (replaces && is_dir)
		write_unlock(&victim->lock);
	return err;
}
