/* SPDX-License-Identifier: MIT
 *
 * Problem: path look-up is the most frequent thing that a file layer does; it crosses folders, mounts, symlinks and
 * `..`, while other tasks rename, remove and mount, and a few callers restrict where it may go (openat2).
 *
 * Idea: two gears. The fast gear runs under RCU without any reference: it follows cached, plain folder names, checking
 * each dentry's sequence count before it trusts what it read, and then takes one reference where it stopped. Where it
 * began it takes none: all CPUs begin at the same root, and would change the same counts. Whatever it does not know (a
 * name not cached, `..`, a symlink, a right that needs more than mode bits) is left to the slow gear, which does one
 * component with references and locks; then the fast gear takes over again. A symlink's text is put in front of the
 * rest of the path, so the walk never recurses.
 *
 * Contract: vfs/names.h and vfs.h (path_lookup). LOOKUP_* restrictions give -EXDEV and -ELOOP as openat2(2) has them.
 *
 * Locks: none held between components; a miss takes the folder's inode lock. Each folder that is passed must grant
 * execution.
 */
#include <alloc/slab.h>
#include <arch/user.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/string.h>
#include <linux/mount.h>
#include <vfs/uapi.h>
#include <task/task.h>
#include "vfs_priv.h"

#define MAX_LINKS  40
#define PATH_BYTES 4096

/* ---- where a walk begins ------------------------------------------------------------------------------ */

/* A counted copy of current's root or folder. */
static void fs_path_get(const struct path *p, struct path *out)
{
	struct fs_context *fs = current_fs;

	spin_lock(&fs->lock);
	*out = *p;
	path_get(out);
	spin_unlock(&fs->lock);
}

void fs_root_get(struct path *out)
{
	fs_path_get(&current_fs->root, out);
}

void fs_cwd_get(struct path *out)
{
	fs_path_get(&current_fs->cwd, out);
}

static int start_at(int dirfd, const char *name, struct path *out)
{
	struct fd_ref r = fd_get_path(dirfd);
	int err = 0;

	if (!r.file)
		return -EBADF;
	if (*name && !S_ISDIR(r.file->inode->mode))
		err = -ENOTDIR;
	if (!err) {
		*out = r.file->path;
		path_get(out);
	}
	fd_put(r);
	return err;
}

static void count_start(struct walk *w)
{
	if (!w->path.dentry)
		fs_path_get(w->from, &w->path);
}

int walk_begin(struct walk *w, int dirfd, const char *name, unsigned lookup)
{
	int err;

	*w = (struct walk){ .at = name, .flags = lookup };
	if (!*name && !(lookup & LOOKUP_EMPTY))
		return -ENOENT;
	if (*name == '/' && lookup & LOOKUP_BENEATH)
		return -EXDEV;
	if (*name == '/' && !(lookup & LOOKUP_IN_ROOT)) {
		w->from = &current_fs->root;
	} else if (dirfd == AT_FDCWD) {
		w->from = &current_fs->cwd;
	} else {
		err = start_at(dirfd, name, &w->path);
		if (err)
			return err;
	}
	if (lookup & (LOOKUP_BENEATH | LOOKUP_IN_ROOT)) {
		count_start(w);
		w->root = w->path;
		path_get(&w->root);
	} else if (!*name) {
		count_start(w);
	}
	return 0;
}

void walk_end(struct walk *w)
{
	if (w->path.dentry)
		path_put(&w->path);
	if (w->root.dentry)
		path_put(&w->root);
	kfree(w->text);
	*w = (struct walk){ 0 };
}

static void go_to(struct walk *w, struct mount *m, struct dentry *d)
{
	struct path old = w->path;

	w->path = (struct path){ m, d };
	path_put(&old);
}

/* The same within the mount, whose count stays as it is: all who walk change it. */
static void go_near(struct walk *w, struct dentry *d)
{
	struct dentry *old = w->path.dentry;

	w->path.dentry = d;
	dentry_put(old);
}

static const struct path *root_of(struct walk *w)
{
	if (!w->root.dentry)
		fs_root_get(&w->root);
	return &w->root;
}

/* ---- components ------------------------------------------------------------------------------------------ */

static const char *skip_slashes(const char *s)
{
	while (*s == '/')
		s++;
	return s;
}

/* Cuts one component off; returns what follows it (at a slash or the end). */
static const char *component(const char *s, struct name *n)
{
	u32 h = 2166136261u;
	const char *p = s;

	for (; *p && *p != '/'; p++)
		h = (h ^ (u8)*p) * 16777619u;
	*n = (struct name){ .str = s, .len = p - s, .hash = h };
	return p;
}

static bool is_dot(const struct name *n)
{
	return n->len == 1 && n->str[0] == '.';
}

static bool is_dotdot(const struct name *n)
{
	return n->len == 2 && n->str[0] == '.' && n->str[1] == '.';
}

/* ---- the fast gear ----------------------------------------------------------------------------------------- */

struct fast {
	struct mount *mnt;
	struct dentry *dentry;
	u32 seq;
};

/* May current pass this folder, by what can be told without sleeping? */
static bool fast_may_pass(const struct inode *i)
{
	if (!i || !S_ISDIR(i->mode) || (i->ops && i->ops->permission))
		return false;
	return ((i->mode & 0111) == 0111 && !i->acl) || !inode_permission((struct inode *)i, MAY_EXEC);
}

static bool fast_cross_mounts(struct walk *w, struct fast *f)
{
	while (READ_ONCE(f->dentry->flags) & DENTRY_MOUNTED) {
		struct mount *m = mount_on(f->mnt, f->dentry);

		if (!m)
			return true;
		if (w->flags & LOOKUP_NO_XDEV)
			return false;
		f->mnt = m;
		f->dentry = m->root;
		f->seq = seq_read_begin(&f->dentry->seq);
	}
	return true;
}

/* One folder name. False: the slow gear must look. */
static bool fast_step(struct walk *w, struct fast *f, const struct name *n)
{
	struct fast next = *f;
	struct inode *dir = rcu_deref(f->dentry->inode), *i;

	if (!fast_may_pass(dir) || is_dotdot(n))
		return false;
	if (is_dot(n))
		return true;
	next.dentry = dentry_find_rcu(f->dentry, n, &next.seq);
	if (!next.dentry || seq_read_retry(&f->dentry->seq, f->seq))
		return false;
	if (!fast_cross_mounts(w, &next))
		return false;
	i = rcu_deref(next.dentry->inode);
	if (!i || !S_ISDIR(READ_ONCE(i->mode)) || (i->ops && i->ops->follow))
		return false;
	*f = next;
	return true;
}

/* Where w is, without a reference if it has just begun. */
static struct fast fast_start(const struct walk *w)
{
	struct fs_context *fs = current_fs;
	struct path p = w->path;

	if (!p.dentry) {
		spin_lock(&fs->lock);
		p = *w->from;
		spin_unlock(&fs->lock);
	}
	return (struct fast){ p.mnt, p.dentry, seq_read_begin(&p.dentry->seq) };
}

/* Leaves RCU, with references on where f has come. False: that is not there any more. */
static bool arrive(const struct fast *f)
{
	bool there;

	if (!mount_tryget(f->mnt)) {
		rcu_read_unlock();
		return false;
	}
	if (!dentry_tryget(f->dentry)) {
		rcu_read_unlock();
		mount_put(f->mnt);
		return false;
	}
	there = !seq_read_retry(&f->dentry->seq, f->seq);
	rcu_read_unlock();
	if (!there) {
		dentry_put(f->dentry);
		mount_put(f->mnt);
	}
	return there;
}

/* Moves w over as many folder names as it can, never over the last component. *n is the component at which w stands
 * then, counted; returns what follows it. */
static const char *fast_gear(struct walk *w, struct name *n)
{
	const char *start = skip_slashes(w->at), *at = start, *rest;
	struct fast f;

	rcu_read_lock();
	f = fast_start(w);
	for (;; at = skip_slashes(rest)) {
		rest = component(at, n);
		if (!*skip_slashes(rest) || n->len > 255 || !fast_step(w, &f, n))
			break;
	}
	w->at = at;
	if (at == start) {
		rcu_read_unlock();
		count_start(w);
		return rest;
	}
	if (arrive(&f)) {
		go_to(w, f.mnt, f.dentry);
		return rest;
	}
	count_start(w);
	w->at = start;
	return component(start, n);
}

/* ---- the slow gear ------------------------------------------------------------------------------------------ */

static bool at_root(struct walk *w)
{
	const struct path *root = root_of(w);

	return w->path.mnt == root->mnt && w->path.dentry == root->dentry;
}

/* The mounts on top of p. */
static int cross_mounts(struct walk *w)
{
	while (READ_ONCE(w->path.dentry->flags) & DENTRY_MOUNTED) {
		struct mount *m;
		bool got;

		rcu_read_lock();
		m = mount_on(w->path.mnt, w->path.dentry);
		got = m && mount_tryget(m);
		rcu_read_unlock();
		if (!got) {
			if (!m)
				break;
			continue;
		}
		if (w->flags & LOOKUP_NO_XDEV) {
			mount_put(m);
			return -EXDEV;
		}
		dentry_get(m->root);
		go_to(w, m, m->root);
	}
	return 0;
}

/* From a mount's root to the place that it is mounted on; false: it has none. */
static bool leave_mount(struct walk *w)
{
	struct path place;
	bool got = false;

	mutex_lock(&mount_lock);
	place = (struct path){ w->path.mnt->parent, w->path.mnt->mountpoint };
	if (place.mnt) {
		path_get(&place);
		got = true;
	}
	mutex_unlock(&mount_lock);
	if (got)
		go_to(w, place.mnt, place.dentry);
	return got;
}

static int step_dotdot(struct walk *w)
{
	for (;;) {
		if (at_root(w)) {
			if (w->flags & LOOKUP_BENEATH)
				return -EXDEV;
			break;
		}
		if (w->path.dentry != w->path.mnt->root) {
			go_near(w, dentry_parent_get(w->path.dentry));
			break;
		}
		if (w->flags & LOOKUP_NO_XDEV && w->path.mnt->parent)
			return -EXDEV;
		if (!leave_mount(w))
			break;
	}
	return cross_mounts(w);
}

/* Puts a symlink's text in front of what is left of the path. */
static int splice_text(struct walk *w, const char *body, size_t len)
{
	const struct path *root;
	size_t rest = strlen(w->at);
	char *text = kmalloc(len + rest + 2, 0);

	if (!text)
		return -ENOMEM;
	memcpy(text, body, len);
	text[len] = '/';
	memcpy(text + len + 1, w->at, rest + 1);
	if (!rest)
		text[len] = '\0';
	kfree(w->text);
	w->text = text;
	w->at = text;
	if (*text != '/')
		return 0;
	if (w->flags & LOOKUP_BENEATH)
		return -EXDEV;
	root = root_of(w);
	if (w->flags & LOOKUP_NO_XDEV && w->path.mnt != root->mnt)
		return -EXDEV;
	path_get(root);
	go_to(w, root->mnt, root->dentry);
	return 0;
}

static int follow_magic(struct walk *w, struct inode *i)
{
	struct path target;
	int err;

	if (w->flags & (LOOKUP_NO_SYMLINKS | LOOKUP_NO_MAGICLINKS))
		return -ELOOP;
	if (w->flags & (LOOKUP_BENEATH | LOOKUP_IN_ROOT))
		return -EXDEV;
	err = i->ops->follow(i, &target);
	if (err)
		return err;
	if (w->flags & LOOKUP_NO_XDEV && target.mnt != w->path.mnt) {
		path_put(&target);
		return -EXDEV;
	}
	go_to(w, target.mnt, target.dentry);
	return 0;
}

/* Follows the symlink i, found in the folder at w->path. 1: text was put in front, 0: w->path is the target itself. */
static int follow_link(struct walk *w, struct inode *i)
{
	char *body;
	int n;

	if (++w->links > MAX_LINKS)
		return -ELOOP;
	if (w->flags & LOOKUP_NO_SYMLINKS)
		return -ELOOP;
	if (w->path.mnt->flags & MS_NOSYMFOLLOW)
		return -ELOOP;
	if (i->ops->follow)
		return follow_magic(w, i);
	body = kmalloc(PATH_BYTES, 0);
	if (!body)
		return -ENOMEM;
	n = inode_read_link(i, body, PATH_BYTES);
	if (n >= 0)
		n = n ? splice_text(w, body, n) : -ENOENT;
	kfree(body);
	return n ? n : 1;
}

/* Enters d (counted, taken over), a child of w->path. 0: w->path is there; 1: a symlink was expanded. */
int walk_into(struct walk *w, struct dentry *d, bool follow)
{
	struct inode *i = d->inode;
	int err;

	if (!i) {
		dentry_put(d);
		return -ENOENT;
	}
	if (S_ISLNK(i->mode) && follow) {
		inode_get(i);
		dentry_put(d);
		err = follow_link(w, i);
		inode_put(i);
		return err;
	}
	go_near(w, d);
	return cross_mounts(w);
}

static int slow_step(struct walk *w, const struct name *n)
{
	struct dentry *d;
	int err;

	if (is_dot(n))
		return 0;
	if (is_dotdot(n))
		return step_dotdot(w);
	err = dentry_lookup(w->path.dentry, n, &d);
	return err ? err : walk_into(w, d, true);
}

static int may_pass(const struct walk *w)
{
	struct inode *i = w->path.dentry->inode;

	return S_ISDIR(i->mode) ? inode_permission(i, MAY_EXEC) : -ENOTDIR;
}

int walk_parent(struct walk *w)
{
	for (;;) {
		const char *rest, *after;
		struct name n;
		int err;

		rest = fast_gear(w, &n);
		if (!n.len) {
			w->last_type = LAST_ROOT;
			w->last = n;
			w->slash_after = true;
			return 0;
		}
		if (n.len > 255)
			return -ENAMETOOLONG;
		err = may_pass(w);
		if (err)
			return err;
		after = skip_slashes(rest);
		if (!*after) {
			w->last = n;
			w->at = after;
			w->slash_after = rest != after;
			w->last_type = is_dot(&n) ? LAST_DOT : is_dotdot(&n) ? LAST_DOTDOT : LAST_NORMAL;
			return 0;
		}
		w->at = after;
		err = slow_step(w, &n);
		if (err < 0)
			return err;
	}
}

int walk_last(struct walk *w, bool follow)
{
	struct dentry *d;
	int err;

	if (w->last_type == LAST_ROOT || w->last_type == LAST_DOT)
		return 0;
	if (w->last_type == LAST_DOTDOT)
		return step_dotdot(w);
	err = dentry_lookup(w->path.dentry, &w->last, &d);
	return err ? err : walk_into(w, d, follow || w->slash_after);
}

/* ---- the usual call -------------------------------------------------------------------------------------------- */

int path_lookup(int dirfd, const char *name, unsigned lookup, struct path *out)
{
	bool must_be_dir = lookup & LOOKUP_DIRECTORY;
	struct walk w;
	int err = walk_begin(&w, dirfd, name, lookup);

	if (!err && *name) {
		do {
			err = walk_parent(&w);
			if (err)
				break;
			must_be_dir |= w.slash_after;
			err = walk_last(&w, lookup & LOOKUP_FOLLOW);
		} while (err == 1);
	}
	if (!err && must_be_dir && !S_ISDIR(w.path.dentry->inode->mode))
		err = -ENOTDIR;
	if (!err) {
		*out = w.path;
		w.path = (struct path){ 0 };
	}
	walk_end(&w);
	return err;
}

char *path_copy(const char __user *upath, unsigned lookup, int *err)
{
	char *buf = kmalloc(PATH_BYTES, 0);
	ssize_t n;

	*err = -ENOMEM;
	if (!buf)
		return NULL;
	n = user_get_string(buf, upath, PATH_BYTES);
	*err = n < 0 ? n : n >= PATH_BYTES ? -ENAMETOOLONG : n == 0 && !(lookup & LOOKUP_EMPTY) ? -ENOENT : 0;
	if (!*err)
		return buf;
	kfree(buf);
	return NULL;
}

void path_free(char *p)
{
	kfree(p);
}

int path_lookup_user(int dirfd, const char __user *name, unsigned lookup, struct path *out)
{
	int err;
	char *kname = path_copy(name, lookup, &err);

	if (!kname)
		return err;
	err = path_lookup(dirfd, kname, lookup, out);
	path_free(kname);
	return err;
}
