/* SPDX-License-Identifier: MIT
 *
 * Problem: a namespace is named by a descriptor: opened through /proc/PID/ns, kept alive by it or by a bind mount,
 * compared by inode number, entered by setns.
 *
 * Idea: a file system that nobody mounts, whose inodes hold a reference to a namespace. The same namespace may have
 * several inodes; they have one number.
 *
 * Contract: process/namespaces.h; namespaces(7), ioctl_ns(2).
 *
 * Locks: none of its own.
 */
#include "process_priv.h"
#include <arch/user.h>
#include <core/init.h>
#include <lib/printf.h>
#include <linux/fcntl.h>
#include <linux/nsfs.h>
#include <process/namespaces.h>
#include <vfs/mount.h>
#include <vfs/uapi.h>

#define NSFS_MAGIC 0x6e736673 /* of linux/magic.h's later versions: "nsfs" */

static struct path fs_root;

static long ns_ioctl(struct file *f, unsigned cmd, ulong arg);
static const struct file_ops ns_file_ops = { .ioctl = ns_ioctl };
static const struct inode_ops ns_inode_ops = { 0 };

static struct ns *ns_of_inode(const struct inode *i)
{
	return i->ops == &ns_inode_ops ? i->priv : NULL;
}

struct ns *ns_of_file(const struct file *f)
{
	return ns_of_inode(f->inode);
}

void ns_describe(const struct ns *n, struct strbuf *out)
{
	strbuf_add(out, "%s:[%u]", ns_kind_ops(n->kind)->name, n->inum);
}

int ns_path(struct ns *n, struct path *out)
{
	struct super *s = fs_root.mnt->super;
	struct inode *i = super_new_inode(s, S_IFREG | 0444, NULL);
	char text[64];
	struct strbuf sb;
	struct name name;
	struct dentry *d;

	if (!i)
		return -ENOMEM;
	i->ino = n->inum;
	i->ops = &ns_inode_ops;
	i->file_ops = &ns_file_ops;
	i->priv = n;
	ns_get(n);
	strbuf_init(&sb, text, sizeof(text));
	ns_describe(n, &sb);
	name = name_of(text);
	d = dentry_create(s->root, &name);
	if (!d) {
		inode_put(i);
		return -ENOMEM;
	}
	dentry_attach(d, i);
	mount_get(fs_root.mnt);
	*out = (struct path){ fs_root.mnt, d };
	return 0;
}

static int open_ns(struct ns *n)
{
	struct path p;
	struct file *f;
	int err = ns_path(n, &p);

	if (err)
		return err;
	err = file_open_path(&p, O_RDONLY, &f);
	path_put(&p);
	return err ? err : fd_publish(f, O_CLOEXEC);
}

/* One above: only those that current's own namespace contains may be seen. */
static int open_related(struct ns *n, bool owner)
{
	struct user_ns *mine = current->cred->user_ns;
	struct ns *up = owner                          ? (n->owner ? &n->owner->ns : NULL)
			: ns_kind_ops(n->kind)->parent ? ns_kind_ops(n->kind)->parent(n)
						       : NULL;

	if (!owner && !ns_kind_ops(n->kind)->parent)
		return -EINVAL;
	if (!up || (up->kind == NS_PID && !pid_ns_contains(&pid_ns_current()->ns, container_of(up, struct pid_ns, ns))))
		return -EPERM;
	if (up->kind == NS_USER && container_of(up, struct user_ns, ns)->level < mine->level)
		return -EPERM;
	return open_ns(up);
}

static long ns_ioctl(struct file *f, unsigned cmd, ulong arg)
{
	struct ns *n = ns_of_file(f);
	u32 uid;

	switch (cmd) {
	case NS_GET_USERNS: return open_related(n, true);
	case NS_GET_PARENT: return open_related(n, false);
	case NS_GET_NSTYPE: return ns_kind_ops(n->kind)->flag;
	case NS_GET_OWNER_UID:
		if (n->kind != NS_USER)
			return -EINVAL;
		uid = user_out(container_of(n, struct user_ns, ns)->owner);
		return user_put((void __user *)arg, &uid, sizeof(uid)) ? -EFAULT : 0;
	default: return -ENOTTY;
	}
}

static void evict(struct inode *i)
{
	ns_put(ns_of_inode(i));
}

static const struct super_ops super_ops = { .evict = evict };

static int mount_nsfs(struct super *s, const char *source, const char *data)
{
	struct inode *i = super_new_inode(s, S_IFDIR | 0555, NULL);

	if (!i)
		return -ENOMEM;
	s->ops = &super_ops;
	s->magic = NSFS_MAGIC;
	s->root = dentry_create_root(s, i);
	return s->root ? 0 : -ENOMEM;
}

static struct fs_type nsfs = { .name = "nsfs", .flags = FS_KERNEL_ONLY | FS_SINGLE, .mount = mount_nsfs };

static void nsfs_init(void)
{
	fs_register(&nsfs);
	ensure(!mount_kernel(&nsfs, &fs_root));
}
PART_INIT(fs, nsfs_init);
