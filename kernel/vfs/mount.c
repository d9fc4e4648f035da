/* SPDX-License-Identifier: MIT
 *
 * Problem: several trees form one, differently in each namespace, and every path look-up crosses the seams.
 *
 * Idea: a mount ties a root dentry to a place (parent mount, dentry). A dentry with something on it carries a flag, so
 * that the walk asks the hash of places only there. Readers go by RCU; all changes hold one mutex. A mount has one
 * reference while it is attached and one for each path that uses it; "busy" is having more.
 *
 * Contract: vfs/mount.h. What propagates where is propagate.c's. Flags that a copy for another user namespace inherits
 * are locked there.
 *
 * Locks: mount_lock (RANK_MOUNT_TREE, sleeps); chains of the hash are read under RCU.
 */
#include <alloc/slab.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/string.h>
#include <linux/capability.h>
#include <linux/mount.h>
#include <linux/sched.h>
#include <vfs/uapi.h>
#include <task/user_ns.h>
#include "mount_priv.h"
#include "vfs_priv.h"

#define BUCKETS 256

struct mutex mount_lock = MUTEX_INIT(mount_lock, RANK_MOUNT_TREE);
static struct mount *buckets[BUCKETS];
static struct kcache *mount_cache;
static atomic_t next_id;

void mount_init(void)
{
	mount_cache = kcache_create_charged("mount", sizeof(struct mount), 64);
	ensure(mount_cache);
}

static struct mount **bucket(const struct mount *m, const struct dentry *d)
{
	return &buckets[(((ulong)m >> 6) * 31 + ((ulong)d >> 6)) % BUCKETS];
}

struct mount *mount_on(struct mount *m, struct dentry *d)
{
	struct mount *c = rcu_deref(*bucket(m, d));

	while (c && (READ_ONCE(c->parent) != m || READ_ONCE(c->mountpoint) != d))
		c = rcu_deref(c->hash_next);
	return c;
}

/* ---- life ----------------------------------------------------------------------------------------------- */

struct mount *mount_alloc(struct super *s, struct dentry *root, unsigned flags)
{
	struct mount *m = kcache_alloc(mount_cache, ALLOC_ZERO);

	if (!m)
		return NULL;
	atomic_set(&m->refs, 1);
	m->super = s;
	m->root = root;
	m->flags = flags & MOUNT_FLAGS;
	if (!(m->flags & (MS_NOATIME | MS_STRICTATIME)))
		m->flags |= MS_RELATIME;
	m->id = atomic_add_return(&next_id, 1);
	dentry_get(root);
	list_init(&m->children);
	list_init(&m->sibling);
	list_init(&m->ns_link);
	list_init(&m->super_link);
	list_init(&m->work);
	list_init(&m->peer_link);
	list_init(&m->slave_link);
	return m;
}

static void free_mount(struct rcu_head *head)
{
	kcache_free(mount_cache, container_of(head, struct mount, rcu));
}

void mount_get(struct mount *m)
{
	atomic_inc(&m->refs);
}

bool mount_tryget(struct mount *m)
{
	int n = atomic_read(&m->refs);

	while (n > 0)
		if (atomic_try_cmpxchg(&m->refs, &n, n + 1))
			return true;
	return false;
}

void mount_put(struct mount *m)
{
	struct super *s;

	if (!m || !atomic_dec_and_test(&m->refs))
		return;
	s = m->super;
	dentry_put(m->root);
	rcu_call(&m->rcu, free_mount);
	super_put(s);
}

void path_get(const struct path *p)
{
	mount_get(p->mnt);
	dentry_get(p->dentry);
}

void path_put(const struct path *p)
{
	dentry_put(p->dentry);
	mount_put(p->mnt);
}

struct mount_ns *mount_ns_current(void)
{
	return container_of(ns_current(NS_MNT), struct mount_ns, ns);
}

void mount_changed(struct mount_ns *ns)
{
	if (!ns)
		return;
	ns->changes++;
	waitq_wake_all(&ns->poll);
}

/* ---- attaching ---------------------------------------------------------------------------------------------- */

static void hash_in(struct mount *m)
{
	struct mount **b = bucket(m->parent, m->mountpoint);

	m->hash_next = *b;
	rcu_assign(*b, m);
}

static void hash_out(struct mount *m)
{
	struct mount **link = bucket(m->parent, m->mountpoint);

	while (*link != m)
		link = &(*link)->hash_next;
	rcu_assign(*link, m->hash_next);
}

/* Puts m (its reference is the tree's from now on) at a place. */
void mount_attach(struct mount *m, struct mount *parent, struct dentry *at)
{
	assert(mutex_is_held(&mount_lock));
	m->parent = parent;
	m->mountpoint = at;
	mount_get(parent);
	dentry_get(at);
	__atomic_fetch_or(&at->flags, DENTRY_MOUNTED, __ATOMIC_RELAXED);
	list_add_tail(&m->sibling, &parent->children);
	hash_in(m);
}

static bool mounted_anywhere(const struct dentry *d)
{
	for (unsigned i = 0; i < BUCKETS; i++)
		for (struct mount *m = buckets[i]; m; m = m->hash_next)
			if (m->mountpoint == d)
				return true;
	return false;
}

/* Takes m off its place. The place is the caller's to put. */
static struct path detach(struct mount *m)
{
	struct path place = { m->parent, m->mountpoint };

	assert(mutex_is_held(&mount_lock));
	hash_out(m);
	list_del_init(&m->sibling);
	rcu_assign(m->parent, NULL);
	rcu_assign(m->mountpoint, NULL);
	if (!mounted_anywhere(place.dentry))
		__atomic_fetch_and(&place.dentry->flags, ~(u32)DENTRY_MOUNTED, __ATOMIC_RELAXED);
	return place;
}

void mount_join_ns(struct mount *m, struct mount_ns *ns)
{
	m->ns = ns;
	if (ns)
		list_add_tail(&m->ns_link, &ns->mounts);
	if (list_empty(&m->super_link))
		list_add_tail(&m->super_link, &m->super->mounts);
}

static void leave_ns(struct mount *m)
{
	mount_leave_peers(m);
	mount_leave_master(m);
	m->ns = NULL;
	list_del_init(&m->ns_link);
	list_del_init(&m->super_link);
}

/* The topmost mount at p becomes p; under mount_lock. */
static void to_top(struct path *p)
{
	struct mount *m;

	while ((m = mount_on(p->mnt, p->dentry))) {
		mount_get(m);
		dentry_get(m->root);
		path_put(p);
		*p = (struct path){ m, m->root };
	}
}

int mount_graft(struct mount *m, const struct path *at, bool fresh)
{
	struct path p = *at;
	int err = 0;

	path_get(&p);
	to_top(&p);
	if (p.mnt->ns != mount_ns_current())
		err = -EINVAL;
	else if (S_ISDIR(p.dentry->inode->mode) != S_ISDIR(m->root->inode->mode))
		err = -ENOTDIR;
	else if (!(p.dentry->flags & DENTRY_HASHED) && p.dentry != p.mnt->root)
		err = -ENOENT;
	else if (fresh && p.mnt->super == m->super && p.dentry == p.mnt->root)
		err = -EBUSY;
	if (!err)
		err = mount_propagate(m, p.mnt, p.dentry);
	if (!err) {
		mount_attach(m, p.mnt, p.dentry);
		mount_join_ns(m, p.mnt->ns);
		mount_changed(m->ns);
	}
	path_put(&p);
	return err;
}

int mount_make_super(const char *type, const char *source, unsigned flags, const char *data, struct super **out,
		     struct dentry **root)
{
	struct fs_type *t = fs_find(type);
	struct super *s;
	int err;

	if (!t || t->flags & FS_KERNEL_ONLY)
		return -ENODEV;
	if (!(t->flags & FS_USERNS_MOUNT) && !capable(CAP_SYS_ADMIN))
		return -EPERM;
	err = super_create(t, source, flags & (MS_RDONLY | MS_SYNCHRONOUS | MS_DIRSYNC | MS_LAZYTIME), data, &s);
	if (err)
		return err;
	*root = s->root;
	if (t->mount_root)
		err = t->mount_root(s, root);
	else
		dentry_get(*root);
	if (err) {
		super_put(s);
		return err;
	}
	*out = s;
	return 0;
}

int mount_new(const char *type, const char *source, const struct path *at, unsigned flags, const char *data)
{
	struct dentry *root;
	struct mount *m;
	struct super *s;
	int err = mount_make_super(type, source, flags, data, &s, &root);

	if (err)
		return err;
	m = mount_alloc(s, root, flags);
	dentry_put(root);
	if (!m) {
		super_put(s);
		return -ENOMEM;
	}
	mutex_lock(&mount_lock);
	err = mount_graft(m, at, true);
	if (err)
		mount_leave_peers(m);
	mutex_unlock(&mount_lock);
	if (err)
		mount_put(m);
	return err;
}

int mount_kernel(struct fs_type *t, struct path *out)
{
	struct super *s;
	int err = super_create(t, t->name, 0, NULL, &s);

	if (err)
		return err;
	out->mnt = mount_alloc(s, s->root, 0);
	if (!out->mnt) {
		super_put(s);
		return -ENOMEM;
	}
	out->dentry = s->root;
	dentry_get(out->dentry);
	return 0;
}

/* ---- copies -------------------------------------------------------------------------------------------------- */

static struct mount *clone_one(struct mount *m, struct dentry *root, enum mount_copy how)
{
	struct mount *c = mount_alloc(super_get(m->super), root, m->flags);

	if (c) {
		c->locked = m->locked;
		mount_inherit(c, m, how);
	} else {
		super_put(m->super);
	}
	return c;
}

struct mount *mount_next_in_tree(struct mount *m, struct mount *top)
{
	if (!list_empty(&m->children))
		return list_first_entry(&m->children, struct mount, sibling);
	while (m != top) {
		struct mount *parent = m->parent;

		if (m->sibling.next != &parent->children)
			return list_entry(m->sibling.next, struct mount, sibling);
		m = parent;
	}
	return NULL;
}

/* Undoes a partial copy, or takes a detached tree apart: mounts to free go to `dead`. */
void mount_dissolve(struct mount *top, struct list *dead)
{
	struct mount *m, *next;
	LIST(tree);

	for (m = top; m; m = mount_next_in_tree(m, top))
		list_add(&m->work, &tree); /* children before their parents */
	list_for_each_entry (next, &tree, work) {
		if (next->parent) {
			struct path place = detach(next);

			dentry_put(place.dentry);
			mount_put(place.mnt);
		}
		mount_changed(next->ns);
		leave_ns(next);
	}
	list_splice_tail_init(&tree, dead);
}

void mount_free_dead(struct list *dead)
{
	while (!list_empty(dead)) {
		struct mount *m = list_first_entry(dead, struct mount, work);

		list_del_init(&m->work);
		mount_put(m);
	}
}

int mount_copy_tree(struct mount *top, struct dentry *root, bool recursive, enum mount_copy how, struct mount **out)
{
	struct mount *copy = clone_one(top, root, how), *m, *c;
	struct mount *from = top, *to = copy;
	LIST(dead);

	if (!copy)
		return -ENOMEM;
	*out = copy;
	for (m = recursive ? mount_next_in_tree(top, top) : NULL; m; m = mount_next_in_tree(m, top)) {
		while (from != m->parent) { /* up again: pre-order, so m's parent is an ancestor of from */
			from = from->parent;
			to = to->parent;
		}
		if ((from == top && !dentry_is_below(m->mountpoint, root)) || (m->unbindable && how == MOUNT_COPY_BIND))
			goto skip;
		c = clone_one(m, m->root, how);
		if (!c) {
			mount_dissolve(copy, &dead);
			mount_free_dead(&dead);
			return -ENOMEM;
		}
		mount_attach(c, to, m->mountpoint);
		from = m;
		to = c;
		continue;
skip:
		while (!list_empty(&m->children)) /* over the whole subtree */
			m = list_last_entry(&m->children, struct mount, sibling);
	}
	return 0;
}

void mount_join_tree(struct mount *top, struct mount_ns *ns)
{
	for (struct mount *m = mount_next_in_tree(top, top); m; m = mount_next_in_tree(m, top))
		mount_join_ns(m, ns);
}

int mount_bind(const struct path *from, const struct path *at, bool recursive)
{
	struct mount *copy;
	LIST(dead);
	int err;

	mutex_lock(&mount_lock);
	err = (from->mnt->ns == mount_ns_current() || from->mnt->super->type->flags & FS_KERNEL_ONLY) &&
			      !from->mnt->unbindable
		      ? mount_copy_tree(from->mnt, from->dentry, recursive, MOUNT_COPY_BIND, &copy)
		      : -EINVAL;
	if (!err) {
		err = mount_graft(copy, at, false);
		if (err)
			mount_dissolve(copy, &dead);
		else
			mount_join_tree(copy, copy->ns);
	}
	mutex_unlock(&mount_lock);
	mount_free_dead(&dead);
	return err;
}

static bool mount_is_below(const struct mount *m, const struct mount *top)
{
	while (m && m != top)
		m = m->parent;
	return m;
}

int mount_move(const struct path *from, const struct path *at)
{
	struct mount *m = from->mnt;
	struct path old;
	int err = 0;

	mutex_lock(&mount_lock);
	if (m->floats && from->dentry == m->root) {
		err = at->mnt->peers && mount_has_unbindable(m) ? -EINVAL : mount_graft(m, at, false);
		if (!err) {
			m->floats = false; /* its reference is the tree's now */
			mount_join_tree(m, m->ns);
		}
		mutex_unlock(&mount_lock);
		return err;
	}
	if (from->dentry != m->root || !m->parent || m->ns != mount_ns_current() || at->mnt->ns != m->ns ||
	    m->parent->peers || (at->mnt->peers && mount_has_unbindable(m)))
		err = -EINVAL;
	else if (mount_is_below(at->mnt, m))
		err = -ELOOP;
	else if (S_ISDIR(at->dentry->inode->mode) != S_ISDIR(m->root->inode->mode))
		err = -ENOTDIR;
	if (!err) {
		struct path to = *at;

		path_get(&to);
		to_top(&to);
		err = mount_propagate(m, to.mnt, to.dentry);
		if (!err) {
			old = detach(m);
			mount_attach(m, to.mnt, to.dentry);
			mount_changed(m->ns);
		}
		path_put(&to);
	}
	mutex_unlock(&mount_lock);
	if (!err)
		path_put(&old);
	return err;
}

/* mount_lock held. */
static int reconfigure(struct super *s, unsigned flags, const char *data)
{
	unsigned super_flags = flags & (MS_RDONLY | MS_SYNCHRONOUS | MS_DIRSYNC | MS_LAZYTIME);
	int err = s->ops && s->ops->remount ? s->ops->remount(s, super_flags, data) : 0;

	if (!err)
		s->flags = super_flags;
	return err;
}

int mount_reconfigure(struct super *s, unsigned flags, const char *data)
{
	int err;

	mutex_lock(&mount_lock);
	err = reconfigure(s, flags, data);
	mutex_unlock(&mount_lock);
	return err;
}

int mount_remount(const struct path *at, unsigned flags, const char *data, bool bind_only)
{
	struct mount *m = at->mnt;
	struct super *s = m->super;
	int err = 0;

	if (at->dentry != m->root || m->ns != mount_ns_current())
		return -EINVAL;
	if (m->locked & ~flags)
		return -EPERM;
	mutex_lock(&mount_lock);
	if (!bind_only)
		err = reconfigure(s, flags, data);
	if (!err) {
		unsigned f = flags & MOUNT_FLAGS;

		if (!(f & (MS_NOATIME | MS_STRICTATIME | MS_RELATIME)))
			f |= m->flags & (MS_NOATIME | MS_RELATIME);
		m->flags = f;
		mount_changed(m->ns);
	}
	mutex_unlock(&mount_lock);
	return err;
}

/* ---- unmounting ------------------------------------------------------------------------------------------------ */

/* 1 for being attached, 1 for the caller's path. */
static bool is_busy(const struct mount *m)
{
	return atomic_read(&m->refs) > 2 || !list_empty(&m->children);
}

int mount_umount(const struct path *at, int flags)
{
	struct mount *m = at->mnt;
	LIST(dead);
	int err = 0;

	mutex_lock(&mount_lock);
	if (at->dentry != m->root || m->ns != mount_ns_current() || m == current_fs->root.mnt || !m->parent)
		err = m == current_fs->root.mnt && m->ns == mount_ns_current() ? -EBUSY : -EINVAL;
	else if (!(flags & MNT_DETACH) && is_busy(m))
		err = -EBUSY;
	else {
		mount_propagate_umount(m, &dead);
		mount_dissolve(m, &dead);
	}
	mutex_unlock(&mount_lock);
	mount_free_dead(&dead);
	return err;
}

/* Every task whose root or working folder is the old root must follow; the caller's own at least does (see
 * pivot_root(2), which leaves the others unspecified). */
static void move_fs(struct fs_context *fs, const struct path *old, const struct path *to)
{
	struct path *const both[] = { &fs->root, &fs->cwd };
	int dropped = 0;

	spin_lock(&fs->lock);
	for (int i = 0; i < 2; i++) {
		if (both[i]->mnt == old->mnt && both[i]->dentry == old->dentry) {
			path_get(to);
			*both[i] = *to;
			dropped++;
		}
	}
	spin_unlock(&fs->lock);
	while (dropped--)
		path_put(old);
}

int mount_pivot(const struct path *new_root, const struct path *put_old)
{
	struct path root, place = { 0 }, old_place = { 0 };
	struct mount *nm = new_root->mnt, *om;
	int err = -EINVAL;

	fs_root_get(&root);
	om = root.mnt;
	mutex_lock(&mount_lock);
	if (!nm->ns || nm->ns != om->ns)
		goto out;
	if (put_old->mnt->peers || nm->parent->peers || (om->parent && om->parent->peers))
		goto out;
	err = -EBUSY;
	if (nm == om || put_old->mnt == om)
		goto out;
	err = -EINVAL;
	if (new_root->dentry != nm->root || root.dentry != om->root || !nm->parent)
		goto out;
	if (!mount_is_below(put_old->mnt, nm) || !dentry_is_below(put_old->dentry, put_old->mnt->root))
		goto out;
	err = 0;
	old_place = detach(nm);
	if (om->parent) {
		place = detach(om);
		mount_attach(nm, place.mnt, place.dentry);
	} else {
		nm->ns->root = nm;
	}
	mount_attach(om, put_old->mnt, put_old->dentry);
	mount_changed(nm->ns);
out:
	mutex_unlock(&mount_lock);
	if (!err) {
		move_fs(current_fs, &root, new_root);
		path_put(&old_place);
		if (place.mnt)
			path_put(&place);
	}
	path_put(&root);
	return err;
}

/* ---- namespaces ------------------------------------------------------------------------------------------------- */

static struct mount_ns *ns_of(struct ns *n)
{
	return container_of(n, struct mount_ns, ns);
}

static struct mount_ns *ns_alloc(void)
{
	struct mount_ns *ns = kzalloc(sizeof(*ns), ALLOC_CHARGED);

	if (ns) {
		list_init(&ns->mounts);
		waitq_init(&ns->poll);
	}
	return ns;
}

static void free_ns(struct ns *n)
{
	struct mount_ns *ns = ns_of(n);
	LIST(dead);

	mutex_lock(&mount_lock);
	mount_dissolve(ns->root, &dead);
	mutex_unlock(&mount_lock);
	mount_free_dead(&dead);
	kfree(ns);
}

/* p moves to the mount at the same place of the copy, found by walking both trees in step. */
static void translate(struct path *p, struct mount *old, struct mount *new)
{
	struct mount *a = old, *b = new;

	while (a && a != p->mnt) {
		a = mount_next_in_tree(a, old);
		b = mount_next_in_tree(b, new);
	}
	if (!a)
		return;
	mount_get(b);
	mount_put(p->mnt);
	p->mnt = b;
}

/* What the owner of the old namespace forbids, the new one's may not allow. */
static void lock_flags(struct mount_ns *ns)
{
	struct mount *m;

	list_for_each_entry (m, &ns->mounts, ns_link)
		m->locked = m->flags & (MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC);
}

static int copy_ns(struct ns *old, struct user_ns *owner, struct task *t, struct ns **out)
{
	struct mount_ns *from = ns_of(old), *ns = ns_alloc();
	struct fs_context *fs = t->fs;
	int err;

	if (!ns)
		return -ENOMEM;
	mutex_lock(&mount_lock);
	err = mount_copy_tree(from->root, from->root->root, true,
			      owner != old->owner ? MOUNT_COPY_SLAVE : MOUNT_COPY_PEER, &ns->root);
	if (!err) {
		mount_join_ns(ns->root, ns);
		mount_join_tree(ns->root, ns);
		if (owner != old->owner)
			lock_flags(ns);
		translate(&fs->root, from->root, ns->root);
		translate(&fs->cwd, from->root, ns->root);
	}
	mutex_unlock(&mount_lock);
	if (err) {
		kfree(ns);
		return err;
	}
	ns_init(&ns->ns, NS_MNT, owner);
	*out = &ns->ns;
	return 0;
}

/* Root and working folder become the namespace's root, what is mounted on it included. */
static int enter_ns(struct ns *n)
{
	struct fs_context *fs = current->fs;
	struct path root, old_root, old_cwd;

	if (!capable_here(CAP_SYS_CHROOT))
		return -EPERM;
	if (atomic_read(&fs->refs.n) != 1)
		return -EINVAL;
	mutex_lock(&mount_lock);
	root = (struct path){ ns_of(n)->root, ns_of(n)->root->root };
	path_get(&root);
	to_top(&root);
	mutex_unlock(&mount_lock);
	path_get(&root);
	spin_lock(&fs->lock);
	old_root = fs->root;
	old_cwd = fs->cwd;
	fs->root = fs->cwd = root;
	spin_unlock(&fs->lock);
	path_put(&old_root);
	path_put(&old_cwd);
	return 0;
}

static struct ns_kind_ops ns_ops = {
	.name = "mnt", .flag = CLONE_NEWNS, .copy = copy_ns, .enter = enter_ns, .free = free_ns
};

int vfs_mount_root(const char *fs_name)
{
	struct fs_type *t = fs_find(fs_name);
	struct mount_ns *ns = ns_alloc();
	struct path root;
	int err;

	if (!t || !ns)
		return t ? -ENOMEM : -ENODEV;
	err = mount_kernel(t, &root);
	if (err)
		return err;
	str_copy(root.mnt->super->source, "rootfs", sizeof(root.mnt->super->source));
	mutex_lock(&mount_lock);
	ns->root = root.mnt;
	mount_join_ns(root.mnt, ns);
	mutex_unlock(&mount_lock);
	ns_ops.first = &ns->ns;
	ns_kind_register(NS_MNT, &ns_ops);
	err = fs_create(current, &root);
	dentry_put(root.dentry);
	return err ? err : files_create(current);
}
