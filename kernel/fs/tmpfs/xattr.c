/* SPDX-License-Identifier: MIT
 *
 * Problem: package managers and container tools set security.capability and trusted.* on files in tmpfs.
 *
 * Idea: a short list of name and value per inode; files have none or one. The classes are those of Linux 6.1's tmpfs:
 * security.* and trusted.*; user.* is refused with -EOPNOTSUPP there too.
 *
 * Contract: inode_ops of vfs.h, with setxattr's flags. A size of 0 asks for the size (getxattr(2), listxattr(2)).
 *
 * Locks: the inode's lock, held by the caller (for reading in get and list, for writing in set).
 */
#include <alloc/slab.h>
#include <lib/err.h>
#include <lib/string.h>
#include <linux/capability.h>
#include <linux/xattr.h>
#include "tmpfs_priv.h"

struct xattr {
	struct list link;
	size_t size;
	char *value; /* behind the name, in the same object */
	char name[];
};

static bool supported(const char *name)
{
	return str_starts(name, XATTR_SECURITY_PREFIX) || str_starts(name, XATTR_TRUSTED_PREFIX);
}

static struct xattr *find(struct inode *i, const char *name)
{
	struct tmpfs_inode *t = i->priv;
	struct xattr *x;

	list_for_each_entry (x, &t->xattrs, link)
		if (!strcmp(x->name, name))
			return x;
	return NULL;
}

ssize_t tmpfs_getxattr(struct inode *i, const char *name, void *buf, size_t size)
{
	struct xattr *x;

	if (!supported(name))
		return -EOPNOTSUPP;
	x = find(i, name);
	if (!x)
		return -ENODATA;
	if (size && size < x->size)
		return -ERANGE;
	if (size)
		memcpy(buf, x->value, x->size);
	return x->size;
}

static struct xattr *make(const char *name, const void *value, size_t size)
{
	size_t len = strlen(name) + 1;
	struct xattr *x = kmalloc(sizeof(*x) + len + size, ALLOC_CHARGED);

	if (!x)
		return NULL;
	x->size = size;
	x->value = x->name + len;
	memcpy(x->name, name, len);
	memcpy(x->value, value, size);
	return x;
}

int tmpfs_setxattr(struct inode *i, const char *name, const void *value, size_t size, int flags)
{
	struct tmpfs_inode *t = i->priv;
	struct xattr *old, *x = NULL;

	if (!supported(name))
		return -EOPNOTSUPP;
	old = find(i, name);
	if (old ? flags & XATTR_CREATE : (flags & XATTR_REPLACE) || !value)
		return old ? -EEXIST : -ENODATA;
	if (value) {
		x = make(name, value, size);
		if (!x)
			return -ENOMEM;
		list_add_tail(&x->link, &t->xattrs);
	}
	if (old) {
		list_del(&old->link);
		kfree(old);
	}
	return 0;
}

ssize_t tmpfs_listxattr(struct inode *i, char *buf, size_t size)
{
	struct tmpfs_inode *t = i->priv;
	size_t total = 0;
	struct xattr *x;

	list_for_each_entry (x, &t->xattrs, link) {
		size_t len = strlen(x->name) + 1;

		if (str_starts(x->name, XATTR_TRUSTED_PREFIX) && !capable(CAP_SYS_ADMIN))
			continue;
		if (size && total + len > size)
			return -ERANGE;
		if (size)
			memcpy(buf + total, x->name, len);
		total += len;
	}
	return total;
}

void tmpfs_drop_xattrs(struct tmpfs_inode *t)
{
	while (!list_empty(&t->xattrs)) {
		struct xattr *x = list_first_entry(&t->xattrs, struct xattr, link);

		list_del(&x->link);
		kfree(x);
	}
}
