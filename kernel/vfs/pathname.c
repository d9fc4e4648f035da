/* SPDX-License-Identifier: MIT
 *
 * Problem: getcwd, /proc/PID/maps, mountinfo and messages want the path of an object, but objects know only their
 * parent.
 *
 * Idea: walk up and write from the end of the buffer to its front. A rename on the way would mix two paths, so the
 * walk runs under RCU and starts again if a dentry's sequence count changed while its name and parent were read (the
 * two change together).
 *
 * Contract: path_string of vfs.h. Crossing a mount point upwards goes to the place where it is mounted; beyond
 * `root`, or from a detached tree, the result is 1.
 *
 * Locks: RCU only.
 */
#include <core/log.h>
#include <lib/err.h>
#include <lib/printf.h>
#include <lib/string.h>
#include "vfs_priv.h"

static bool prepend(char *buf, char **at, const char *s, size_t n)
{
	if ((size_t)(*at - buf) < n)
		return false;
	*at -= n;
	memcpy(*at, s, n);
	return true;
}

/* One attempt. 0, 1 (not below root), -ENAMETOOLONG, -EAGAIN (a rename came between). */
static int climb(const struct path *p, const struct path *root, char *buf, char **at)
{
	struct dentry *d = p->dentry;
	struct mount *m = p->mnt;

	while (d != root->dentry || m != root->mnt) {
		u32 seq = seq_read_begin(&d->seq);
		struct dentry *parent = READ_ONCE(d->parent);
		struct dname *n = rcu_deref(d->name);

		if (m && d == m->root) {
			struct mount *up = rcu_deref(m->parent);

			if (!up)
				return 1;
			d = READ_ONCE(m->mountpoint);
			m = up;
			if (!d)
				return -EAGAIN;
			continue;
		}
		if (d == parent)
			return 1;
		if (!prepend(buf, at, n->str, n->len) || !prepend(buf, at, "/", 1))
			return -ENAMETOOLONG;
		if (seq_read_retry(&d->seq, seq))
			return -EAGAIN;
		d = parent;
	}
	return 0;
}

int path_string(const struct path *p, const struct path *root, char *buf, size_t size, char **out)
{
	char *end = buf + size, *at;
	int err;

	do {
		at = end;
		if (!prepend(buf, &at, "", 1))
			return -ENAMETOOLONG;
		if (!(READ_ONCE(p->dentry->flags) & DENTRY_HASHED) && p->dentry->parent != p->dentry &&
		    !prepend(buf, &at, " (deleted)", 10))
			return -ENAMETOOLONG;
		rcu_read_lock();
		err = climb(p, root, buf, &at);
		rcu_read_unlock();
	} while (err == -EAGAIN);
	if (err >= 0 && (!*at || !strcmp(at, " (deleted)")) && !prepend(buf, &at, "/", 1))
		return -ENAMETOOLONG;
	*out = at;
	return err;
}

/* Some name of an inode, seen from the first namespace that mounts its super. */
void inode_describe(struct inode *i, char *buf, size_t size)
{
	struct dentry *d = inode_alias_get(i);
	struct path p = { 0 }, root;
	char *at = NULL;

	buf[0] = '\0';
	if (!d)
		return;
	p.dentry = d;
	rcu_read_lock(); /* callers hold mm locks, which rank below mount_lock */
	if (!list_empty(&i->super->mounts)) {
		p.mnt = list_first_entry(&i->super->mounts, struct mount, super_link);
		if (!mount_tryget(p.mnt))
			p.mnt = NULL;
	}
	rcu_read_unlock();
	fs_root_get(&root);
	if (path_string(&p, &root, buf, size, &at) >= 0)
		memmove(buf, at, buf + size - at);
	path_put(&root);
	path_put(&p);
}

void file_describe(struct file *f, struct strbuf *out)
{
	char buf[512], *at;
	struct path root;

	if (f->path.dentry->super->type->flags & FS_KERNEL_ONLY) {
		strbuf_put(out, f->path.dentry->name->str, f->path.dentry->name->len);
		return;
	}
	fs_root_get(&root);
	if (path_string(&f->path, &root, buf, sizeof(buf), &at) >= 0)
		strbuf_put(out, at, buf + sizeof(buf) - 1 - at);
	path_put(&root);
}
