/* SPDX-License-Identifier: MIT
 *
 * Problem: programs want device nodes under /dev without a daemon that makes them.
 *
 * Idea: one tmpfs that the kernel holds mounted for itself; every name that a driver gives (vfs/device.h) becomes a
 * node in it, folders on the way included. A user's mount of devtmpfs shows the same tree.
 *
 * Contract: vfs/device.h. Nodes belong to root; the driver chose the mode. Users may change and add nodes as in any
 * tmpfs.
 *
 * Locks: the folders' inode locks.
 */
#include <core/init.h>
#include <core/log.h>
#include <fs/fs.h>
#include <fs/tmpfs.h>
#include <lib/err.h>
#include <lib/string.h>
#include <vfs/device.h>
#include <vfs/mount.h>
#include <vfs/names.h>
#include <vfs/uapi.h>
#include "devtmpfs_priv.h"

static int devtmpfs_mount(struct super *s, const char *source, const char *data)
{
	return tmpfs_fill_super(s, source, data ? data : "mode=755");
}

static struct fs_type devtmpfs_type = { .name = "devtmpfs",
					.flags = FS_SINGLE | FS_NO_NEGATIVE,
					.mount = devtmpfs_mount };
static struct path devtmpfs_root;

/* The name n in folder, made if it is not there: a folder (dev 0, S_IFDIR) or a node. Counted, to *out. */
static int make(struct dentry *folder, const struct name *n, u16 mode, u32 dev, struct dentry **out)
{
	struct inode *dir = folder->inode;
	struct dentry *d;
	int err;

	write_lock(&dir->lock);
	err = dentry_lookup_locked(folder, n, &d);
	if (!err && !d->inode) {
		err = S_ISDIR(mode) ? dir->ops->mkdir(dir, d, mode & 07777) : dir->ops->mknod(dir, d, mode, dev);
		if (err)
			dentry_put(d);
		else
			dentry_hash(d);
	}
	write_unlock(&dir->lock);
	if (!err)
		*out = d;
	return err;
}

/* Walks to the folder of name, made on the way; what is left is the last component. */
static int enter_folder(const char **name, struct dentry **folder)
{
	const char *slash;
	int err = 0;

	*folder = devtmpfs_root.dentry;
	dentry_get(*folder);
	while (!err && (slash = strchr(*name, '/'))) {
		struct name n = { *name, slash - *name, name_hash(*name, slash - *name) };
		struct dentry *next = NULL;

		err = make(*folder, &n, S_IFDIR | 0755, 0, &next);
		dentry_put(*folder);
		*folder = next;
		*name = slash + 1;
	}
	return err;
}

static void add_node(const char *name, u16 mode, u32 dev)
{
	const char *full = name;
	struct dentry *folder, *d;
	int err = enter_folder(&name, &folder);

	if (!err) {
		struct name n = name_of(name);

		err = make(folder, &n, mode, dev, &d);
		dentry_put(folder);
	}
	if (err)
		log_err("devtmpfs: cannot make %s: error %d", full, -err);
	else
		dentry_put(d);
}

static void remove_node(const char *name)
{
	struct dentry *folder, *d;
	struct name n;

	if (enter_folder(&name, &folder))
		return;
	n = name_of(name);
	write_lock(&folder->inode->lock);
	d = dentry_find(folder, &n);
	if (d && !folder->inode->ops->unlink(folder->inode, d)) {
		dentry_drop(d);
		dentry_unpin(d);
	}
	write_unlock(&folder->inode->lock);
	dentry_put(d);
	dentry_put(folder);
}

static const struct devnode_sink sink = { .add = add_node, .remove = remove_node };

void devtmpfs_init(void)
{
	fs_register(&devtmpfs_type);
	if (mount_kernel(&devtmpfs_type, &devtmpfs_root)) {
		log_err("devtmpfs: no memory");
		return;
	}
	devnode_set_sink(&sink);
	memory_devices_init();
}

PART_INIT(fs, devtmpfs_init);
