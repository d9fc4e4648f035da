/* SPDX-License-Identifier: MIT
 *
 * Problem: a container manages its own part of the tenant tree and shall neither see nor name what is outside.
 *
 * Idea: a namespace is a tenant that counts as the root: paths are shown relative to it, and a mount of cgroup2 made
 * inside shows its folder as the top. There is still one tree and one super.
 *
 * Contract: cgroup_namespaces(7). A place outside is shown with "/.." for each level up.
 *
 * Locks: the tenant of a namespace does not change; cgroup_lock for paths.
 */
#include <alloc/slab.h>
#include <core/init.h>
#include <lib/err.h>
#include <linux/sched.h>
#include <task/task.h>
#include <task/user_ns.h>
#include <vfs/vfs.h>
#include "cgroup_priv.h"

struct cgroup_ns {
	struct ns ns;
	struct tenant *root; /* counted */
};

static struct cgroup_ns first = { .root = &tenant_root };

static struct cgroup_ns *of(struct ns *n)
{
	return container_of(n, struct cgroup_ns, ns);
}

static int copy_ns(struct ns *old, struct user_ns *owner, struct task *t, struct ns **out)
{
	struct cgroup_ns *n = kzalloc(sizeof(*n), ALLOC_CHARGED);

	if (!n)
		return -ENOMEM;
	rcu_read_lock();
	n->root = rcu_deref(current->tenant);
	tenant_get(n->root); /* current holds it: it cannot be at zero */
	rcu_read_unlock();
	ns_init(&n->ns, NS_CGROUP, owner);
	*out = &n->ns;
	return 0;
}

static void free_ns(struct ns *n)
{
	tenant_put(of(n)->root);
	kfree(of(n));
}

static const struct ns_kind_ops ops = {
	.name = "cgroup", .flag = CLONE_NEWCGROUP, .first = &first.ns, .copy = copy_ns, .free = free_ns
};

struct tenant *cgroup_ns_root(void)
{
	return of(ns_current(NS_CGROUP))->root;
}

static void add_names(struct cgroup *c, const struct cgroup *top, struct strbuf *out)
{
	if (c == top)
		return;
	add_names(cgroup_parent(c), top, out);
	strbuf_add(out, "/%s", c->name);
}

void cgroup_add_path(struct cgroup *c, struct strbuf *out)
{
	struct cgroup *top = cgroup_of(cgroup_ns_root()), *common = top ? top : &cgroup_root;
	size_t before = out->len;

	while (common != &cgroup_root) {
		struct cgroup *a = c;

		while (a && a != common)
			a = cgroup_parent(a);
		if (a)
			break;
		strbuf_add(out, "/..");
		common = cgroup_parent(common);
	}
	add_names(c, common, out);
	if (out->len == before)
		strbuf_add(out, "/");
}

/* The folder of c below a super's root, counted. */
static int find_dentry(struct super *s, struct cgroup *c, struct dentry **out)
{
	struct dentry *parent, *d;
	struct name name;
	int err;

	if (c == &cgroup_root) {
		dentry_get(s->root);
		*out = s->root;
		return 0;
	}
	err = find_dentry(s, cgroup_parent(c), &parent);
	if (err)
		return err;
	name = name_of(c->name);
	err = dentry_lookup(parent, &name, &d);
	dentry_put(parent);
	if (!err && !d->inode) {
		dentry_put(d);
		err = -ENOENT;
	}
	if (!err)
		*out = d;
	return err;
}

int cgroup_mount_root(struct super *s, struct dentry **out)
{
	struct cgroup *c = cgroup_of(cgroup_ns_root());

	return c ? find_dentry(s, c, out) : -ENOENT;
}

static void ns_register(void)
{
	ns_kind_register(NS_CGROUP, &ops);
}
PART_INIT(core, ns_register);
