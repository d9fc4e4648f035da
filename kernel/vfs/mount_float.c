/* SPDX-License-Identifier: MIT
 *
 * Problem: a mount is made, shaped and only then put into the tree, so that nobody sees it half done; and a mount's
 * flags change for a whole tree at once.
 *
 * Idea: a floating tree has no place and no namespace. A descriptor of its root holds it; closing that takes it apart,
 * unless it has been given a place meanwhile. Changes are checked for all mounts before the first is changed.
 *
 * Contract: vfs/mount.h; fsmount(2), open_tree(2), mount_setattr(2) of Linux. Files below a floating root can be
 * opened.
 *
 * Locks: mount_lock.
 */
#include <lib/err.h>
#include <linux/fcntl.h>
#include <linux/mount.h>
#include <vfs/uapi.h>
#include "mount_priv.h"
#include "vfs_priv.h"

static void float_release(struct file *f)
{
	struct mount *m = f->path.mnt;
	LIST(dead);

	mutex_lock(&mount_lock);
	if (m->floats) {
		m->floats = false;
		mount_dissolve(m, &dead);
	}
	mutex_unlock(&mount_lock);
	mount_free_dead(&dead);
}

static const struct file_ops float_ops = { .release = float_release };

/* Takes over m's reference. */
static int hold(struct mount *m, struct file **out)
{
	struct path p = { m, m->root };
	int err = file_open_path(&p, O_PATH, out);
	LIST(dead);

	mutex_lock(&mount_lock);
	m->floats = !err;
	if (err)
		mount_dissolve(m, &dead);
	else
		(*out)->ops = &float_ops;
	mutex_unlock(&mount_lock);
	mount_free_dead(&dead);
	return err;
}

int mount_float(struct super *s, struct dentry *root, unsigned flags, struct file **out)
{
	struct mount *m = mount_alloc(super_get(s), root, flags);

	if (!m) {
		super_put(s);
		return -ENOMEM;
	}
	return hold(m, out);
}

int mount_float_copy(const struct path *from, bool recursive, struct file **out)
{
	struct mount *m = from->mnt, *copy;
	int err = -EINVAL;

	mutex_lock(&mount_lock);
	if ((m->ns == mount_ns_current() || m->super->type->flags & FS_KERNEL_ONLY) && !m->unbindable)
		err = mount_copy_tree(m, from->dentry, recursive, MOUNT_COPY_BIND, &copy);
	mutex_unlock(&mount_lock);
	return err ? err : hold(copy, out);
}

/* ---- changes -------------------------------------------------------------------------------------------------- */

int mount_change(const struct path *at, unsigned set, unsigned clear, unsigned propagation, bool recursive)
{
	struct mount *top = at->mnt;
	int err = 0;

	mutex_lock(&mount_lock);
	if (at->dentry != top->root || (top->ns != mount_ns_current() && !top->floats))
		err = -EINVAL;
	for (struct mount *m = top; m && !err; m = recursive ? mount_next_in_tree(m, top) : NULL)
		if (m->locked & clear & ~set)
			err = -EPERM;
	if (!err && propagation)
		err = mount_set_type(top, propagation, recursive);
	for (struct mount *m = top; m && !err; m = recursive ? mount_next_in_tree(m, top) : NULL)
		m->flags = (m->flags & ~clear) | set;
	if (!err)
		mount_changed(top->ns);
	mutex_unlock(&mount_lock);
	return err;
}
