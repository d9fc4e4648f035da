/* SPDX-License-Identifier: MIT
 *
 * Problem: access lists lie in attributes of inodes; permission checks cannot look there each time, and what is made in
 * a folder with a default list inherits it.
 *
 * Idea: an inode that has attributes when it comes into memory has its list read once (inode->acl), and a folder that
 * has a default list is marked (INODE_INHERITS). Changes by setxattr and chmod go to both places.
 *
 *      setfacl --setxattr--> attribute, inode->acl, mode      chmod --> mode, attribute, inode->acl
 *      create in a marked folder: default list --acl_inherit--> access list and mode; a folder also gets the default
 * list
 *
 * Contract: glue.h. A list that is no more than the mode is not stored.
 *
 * Locks: super->lock for the attributes; the inode's for its list.
 */
#include <alloc/slab.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/string.h>
#include <vfs/acl.h>
#include <vfs/uapi.h>
#include "glue.h"

#define ACCESS  "system.posix_acl_access"
#define DEFAULT "system.posix_acl_default"

/* *out NULL: there is none. The lock is held. */
static int load(struct ext4_super *s, const struct ext4_inode *in, const char *name, struct acl **out)
{
	ssize_t n = ext4_getxattr(s->fs, in, name, NULL, 0);
	void *value;
	int err;

	*out = NULL;
	if (n <= 0)
		return n == -ENODATA ? 0 : (int)n;
	value = kmalloc(n, ALLOC_KERNEL);
	if (!value)
		return -ENOMEM;
	n = ext4_getxattr(s->fs, in, name, value, n);
	err = n < 0 ? (int)n : acl_parse(value, n, out);
	kfree(value);
	return err;
}

static int store(struct ext4_super *s, struct ext4_inode *in, const char *name, const struct acl *a)
{
	size_t n = acl_bytes(a);
	void *value = kmalloc(n, ALLOC_KERNEL);
	int err;

	if (!value)
		return -ENOMEM;
	acl_value(a, value);
	err = ext4_setxattr(s->fs, in, name, value, n, 0);
	kfree(value);
	return err;
}

int ext4_lists_load(struct ext4_super *s, struct inode *i)
{
	const struct ext4_inode *in = &node_of(i)->in;
	struct acl *list;
	int err = load(s, in, ACCESS, &list);

	if (err)
		return err;
	i->acl = list;
	if (!S_ISDIR(i->mode))
		return 0;
	err = load(s, in, DEFAULT, &list);
	if (list)
		i->flags |= INODE_INHERITS;
	acl_free(list);
	return err;
}

/* Linux takes no notice of XATTR_CREATE and XATTR_REPLACE here: the mode is a list, too, so there always is one. */
int ext4_list_set(struct inode *i, const char *name, const void *value, size_t size)
{
	struct ext4_super *s = ext4_super_of(i->super);
	struct ext4_inode *in = &node_of(i)->in;
	bool access = !strcmp(name, ACCESS), minimal;
	struct acl *list = NULL;
	int err = value ? acl_parse(value, size, &list) : 0;

	if (!err && list && !access && !S_ISDIR(i->mode))
		err = -EACCES;
	if (err) {
		acl_free(list);
		return err;
	}
	minimal = !list || (access && acl_is_minimal(list));
	ext4_lock(s);
	err = ext4_setxattr(s->fs, in, name, minimal ? NULL : value, minimal ? 0 : size, 0);
	if (err == -ENODATA)
		err = 0; /* the mode says it all, and did */
	i->blocks = in->sectors;
	ext4_unlock(s);
	if (!err)
		inode_touch(i, ATTR_CTIME);
	if (!err && access && list)
		i->mode = acl_to_mode(list, i->mode);
	if (!err && !access)
		i->flags = list ? i->flags | INODE_INHERITS : i->flags & ~INODE_INHERITS;
	if (!err && access && !minimal)
		inode_set_acl(i, list);
	else
		acl_free(list);
	if (!err && access && minimal)
		inode_set_acl(i, NULL);
	return err;
}

int ext4_list_chmod(struct inode *i, u16 mode)
{
	struct ext4_super *s = ext4_super_of(i->super);
	struct acl *changed = acl_copy(i->acl);
	int err;

	if (!changed)
		return -ENOMEM;
	acl_from_mode(changed, mode);
	ext4_lock(s);
	err = store(s, &node_of(i)->in, ACCESS, changed);
	ext4_unlock(s);
	if (err)
		acl_free(changed);
	else
		inode_set_acl(i, changed);
	return err;
}

int ext4_list_for_new(struct inode *dir, u16 *mode, struct acl **out)
{
	int err = 0;

	*out = NULL;
	if (dir->flags & INODE_INHERITS && !S_ISLNK(*mode))
		err = load(ext4_super_of(dir->super), &node_of(dir)->in, DEFAULT, out);
	if (*out)
		acl_inherit(*out, mode);
	return err;
}

void ext4_list_inherit(struct inode *dir, struct inode *i, struct acl *list)
{
	struct ext4_super *s = ext4_super_of(i->super);
	struct acl *inherited = NULL;
	int err = 0;

	if (acl_is_minimal(list)) {
		acl_free(list);
	} else {
		err = store(s, &node_of(i)->in, ACCESS, list);
		inode_set_acl(i, list); /* it holds for now, in any case */
	}
	if (!err && S_ISDIR(i->mode))
		err = load(s, &node_of(dir)->in, DEFAULT, &inherited);
	if (!err && inherited)
		err = store(s, &node_of(i)->in, DEFAULT, inherited);
	if (!err && inherited)
		i->flags |= INODE_INHERITS;
	acl_free(inherited);
	i->blocks = node_of(i)->in.sectors;
	if (err)
		log_warn("ext4: inode %llu has no room for its folder's access list", (unsigned long long)i->ino);
}
