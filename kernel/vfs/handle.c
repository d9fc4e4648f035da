/* SPDX-License-Identifier: MIT
 *
 * Problem: a file server must find a file again that a client named long ago, without its path.
 *
 * Idea: a file system gives a file a number and a generation (numbers are used again), and finds it by them. The file
 * is opened by any name of it that is in the cache, or by a dentry that no look-up finds. A folder needs a name: its
 * ".." must lead somewhere.
 *
 * Contract: vfs/names.h; name_to_handle_at(2), open_by_handle_at(2).
 *
 * Locks: the super's for the list of its inodes.
 */
#include <lib/err.h>
#include <vfs/names.h>
#include <vfs/uapi.h>
#include "vfs_priv.h"

int file_id_of(const struct inode *i, struct file_id *out)
{
	if (!i->super->ops || !i->super->ops->find_inode)
		return -EOPNOTSUPP;
	*out = (struct file_id){ i->ino, i->super->ops->generation ? i->super->ops->generation(i) : i->super->dev };
	return 0;
}

int super_find_cached(struct super *s, u64 ino, u32 generation, struct inode **out)
{
	struct inode *i;
	int err = -ESTALE;

	if (generation != s->dev)
		return err;
	spin_lock(&s->lock);
	list_for_each_entry (i, &s->inodes, super_link)
		if (i->ino == ino && refcount_inc_not_zero(&i->refs)) {
			*out = i;
			err = 0;
			break;
		}
	spin_unlock(&s->lock);
	return err;
}

/* Some name of i, counted; takes over the reference of i. */
static int name_for(struct inode *i, struct dentry **out)
{
	static const struct name none = { .str = "#", .len = 1 };

	*out = inode_alias_get(i);
	if (!*out && !S_ISDIR(i->mode)) {
		*out = dentry_create(i->super->root, &none);
		if (*out) {
			dentry_attach(*out, i);
			return 0;
		}
		inode_put(i);
		return -ENOMEM;
	}
	inode_put(i);
	return *out ? 0 : -ESTALE;
}

int file_open_id(const struct path *where, const struct file_id *id, unsigned flags, struct file **out)
{
	struct super *s = where->dentry->super;
	struct path p = { .mnt = where->mnt };
	struct inode *i;
	int err = -ESTALE;

	if (s->ops && s->ops->find_inode)
		err = s->ops->find_inode(s, id->ino, id->generation, &i);
	if (!err)
		err = name_for(i, &p.dentry);
	if (err)
		return err;
	err = file_open_path(&p, flags, out);
	dentry_put(p.dentry);
	return err;
}
