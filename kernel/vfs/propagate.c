/* SPDX-License-Identifier: MIT
 *
 * Problem: what is mounted in one namespace, or below one bind mount, shall appear in others, or shall not, or only in
 * one direction; and go there again when it goes here.
 *
 * Idea: mounts that are copies of one another and shared are peers. A peer group has members, which give and get
 * changes, and slaves, which only get them. A change below one member is made below every other, and below every slave;
 * a slave that has peers of its own passes it on. Copies stand among themselves as their parents do: those below peers
 * are peers, those below slaves are slaves.
 *
 *       private <--> shared (in a group) <--> slave of the group that it was in <--> slave and shared
 *
 * Contract: mount_priv.h, mount_set_propagation of vfs/mount.h; mount_namespaces(7). A group without members hands its
 * slaves to the last member's own master.
 *
 * Locks: mount_lock for all of it.
 */
#include <alloc/slab.h>
#include <lib/err.h>
#include <linux/mount.h>

#include "mount_priv.h"
#include "vfs_priv.h"

static int next_id;

/* ---- groups -------------------------------------------------------------------------------------------------------
 */

static void join_peers(struct mount *m, struct mount_peers *g)
{
	m->peers = g;
	m->unbindable = false;
	list_add_tail(&m->peer_link, &g->members);
}

static void become_slave(struct mount *m, struct mount_peers *g)
{
	m->master = g;
	list_add_tail(&m->slave_link, &g->slaves);
}

void mount_leave_master(struct mount *m)
{
	m->master = NULL;
	list_del_init(&m->slave_link);
}

void mount_leave_peers(struct mount *m)
{
	struct mount_peers *g = m->peers;
	struct mount *s, *next;

	if (!g)
		return;
	m->peers = NULL;
	list_del_init(&m->peer_link);
	if (!list_empty(&g->members))
		return;
	list_for_each_entry_safe (s, next, &g->slaves, slave_link) {
		mount_leave_master(s);
		if (m->master)
			become_slave(s, m->master);
	}
	kfree(g);
}

static int make_shared(struct mount *m)
{
	struct mount_peers *g;

	if (m->peers)
		return 0;
	g = kzalloc(sizeof(*g), ALLOC_CHARGED);
	if (!g)
		return -ENOMEM;
	g->id = ++next_id;
	list_init(&g->members);
	list_init(&g->slaves);
	join_peers(m, g);
	return 0;
}

static void make_slave(struct mount *m)
{
	struct mount_peers *g = m->peers;

	if (!g)
		return;
	if (list_first_entry(&g->members, struct mount, peer_link) ==
	    list_last_entry(&g->members, struct mount, peer_link)) {
		mount_leave_peers(m); /* nobody to get anything from but its own master */
		return;
	}
	mount_leave_peers(m);
	mount_leave_master(m);
	become_slave(m, g);
}

static void set_type(struct mount *m, unsigned type)
{
	make_slave(m);
	if (type == MS_SLAVE)
		return;
	mount_leave_master(m);
	m->unbindable = type == MS_UNBINDABLE;
}

static int set_tree_shared(struct mount *top, bool recursive)
{
	int err = 0;

	for (struct mount *m = top; m && !err; m = recursive ? mount_next_in_tree(m, top) : NULL)
		err = make_shared(m);
	return err;
}

int mount_set_type(struct mount *top, unsigned type, bool recursive)
{
	int err = 0;

	if (type == MS_SHARED)
		err = set_tree_shared(top, recursive);
	else
		for (struct mount *m = top; m; m = recursive ? mount_next_in_tree(m, top) : NULL)
			set_type(m, type);
	if (!err)
		mount_changed(top->ns);
	return err;
}

int mount_set_propagation(const struct path *at, unsigned type, bool recursive)
{
	struct mount *top = at->mnt;
	int err;

	mutex_lock(&mount_lock);
	if (at->dentry != top->root || top->ns != mount_ns_current())
		err = -EINVAL;
	else
		err = mount_set_type(top, type, recursive);
	mutex_unlock(&mount_lock);
	return err;
}

void mount_inherit(struct mount *copy, struct mount *from, enum mount_copy how)
{
	copy->unbindable = from->unbindable;
	if (from->peers && how == MOUNT_COPY_SLAVE) {
		become_slave(copy, from->peers);
		return;
	}
	if (from->peers)
		join_peers(copy, from->peers);
	if (from->master)
		become_slave(copy, from->master);
}

bool mount_has_unbindable(struct mount *top)
{
	for (struct mount *m = top; m; m = mount_next_in_tree(m, top))
		if (m->unbindable)
			return true;
	return false;
}

/* ---- changes ------------------------------------------------------------------------------------------------------
 */

/* Calls visit for each mount that gets the changes of group g, except `origin`. lead is what visit made of the member
 * of a group that the change came in by; visit gives what it made, or NULL to end the walk. */
struct spread {
	struct mount *(*visit)(struct spread *w, struct mount *to, struct mount *lead, bool slave);
	struct dentry *at;
	struct list made; /* mount->work: tops of copies */
	struct list *also;
	int err;
};

static void spread_group(struct spread *w, struct mount_peers *g, const struct mount *origin, struct mount *lead)
{
	struct mount *m;

	g->met = true;
	list_for_each_entry (m, &g->members, peer_link)
		if (m != origin && m->ns && !w->err)
			(void)w->visit(w, m, lead, false);
	list_for_each_entry (m, &g->slaves, slave_link) {
		struct mount *c;

		if (!m->ns || w->err || (m->peers && m->peers->met))
			continue;
		c = w->visit(w, m, lead, true);
		if (m->peers && c)
			spread_group(w, m->peers, m, c);
	}
	g->met = false;
}

/* A copy of the tree `lead` below `to`. The work list of a copy's members stays free: only tops are noted. */
static struct mount *visit_attach(struct spread *w, struct mount *to, struct mount *lead, bool slave)
{
	struct mount *copy, *top = to, *on;
	struct dentry *at = w->at;

	if (!dentry_is_below(at, to->root))
		return NULL;
	w->err = mount_copy_tree(lead, lead->root, true, slave ? MOUNT_COPY_SLAVE : MOUNT_COPY_BIND, &copy);
	if (!w->err && slave && to->peers)
		w->err = set_tree_shared(copy, true);
	if (w->err)
		return NULL;
	while ((on = mount_on(top, at))) {
		top = on;
		at = on->root;
	}
	mount_attach(copy, top, at);
	mount_join_ns(copy, to->ns);
	mount_join_tree(copy, to->ns);
	mount_changed(to->ns);
	list_add(&copy->work, &w->made);
	return copy;
}

int mount_propagate(struct mount *m, struct mount *parent, struct dentry *at)
{
	struct spread w = { .visit = visit_attach, .at = at };
	struct mount *c;
	LIST(dead);

	if (!parent->peers)
		return 0;
	list_init(&w.made);
	w.err = set_tree_shared(m, true);
	if (!w.err)
		spread_group(&w, parent->peers, parent, m);
	while ((c = list_first_or_null(&w.made, struct mount, work))) {
		list_del_init(&c->work);
		if (w.err)
			mount_dissolve(c, &dead);
	}
	mount_free_dead(&dead);
	return w.err;
}

/* What is mounted there, noted once. */
static struct mount *visit_umount(struct spread *w, struct mount *to, struct mount *lead, bool slave)
{
	struct mount *on = mount_on(to, w->at);

	if (on && on->root == lead->root && list_empty(&on->work))
		list_add(&on->work, w->also);
	return lead;
}

void mount_propagate_umount(struct mount *top, struct list *dead)
{
	struct mount *c;
	LIST(also);

	for (struct mount *m = top; m; m = mount_next_in_tree(m, top)) {
		struct spread w = { .visit = visit_umount, .at = m->mountpoint, .also = &also };

		if (m->parent && m->parent->peers)
			spread_group(&w, m->parent->peers, m->parent, m);
	}
	while ((c = list_first_or_null(&also, struct mount, work))) {
		list_del_init(&c->work);
		if (list_empty(&c->children))
			mount_dissolve(c, dead);
	}
}
