/* SPDX-License-Identifier: MIT
 *
 * Problem: CPU time can be divided among the threads of one process, memory cannot; and processes beside the children
 * that they would compete with have no share of their own.
 *
 * Idea: a folder is a domain, which holds processes, or threaded, which holds threads of its domain's processes. Only
 * controllers that know threads (cpu, cpuset, pids) reach into threaded folders. What a folder is follows from its mark
 * and its neighbours' and is worked out when asked.
 *
 *      domain --> has threaded children, or tasks beside children with threaded controllers: "domain threaded"
 *      below a thread root or a threaded one, not marked: "domain invalid", takes no processes
 *
 * Contract: cgroup-v2.rst, "Threads", "No Internal Process Constraint", "cgroup.type", "Controlling Controllers".
 *
 * Locks: cgroup_lock, held by the callers of what cgroup_priv.h lists.
 */
#include <lib/err.h>
#include <lib/string.h>
#include "cgroup_priv.h"

u32 cgroup_threaded_set(void)
{
	struct cgroup_controller *k;
	u32 set = 0;

	list_for_each_entry (k, &cgroup_controllers, link)
		if (k->threaded)
			set |= k->bit;
	return set;
}

/* ---- what a folder is ---- */

struct cgroup *cgroup_domain(struct cgroup *c)
{
	while (c->threaded)
		c = cgroup_parent(c);
	return c;
}

static bool has_tasks(struct cgroup *c)
{
	return !list_empty(&c->tenant->tasks);
}

bool cgroup_is_thread_root(struct cgroup *c)
{
	return !c->threaded && (c->threaded_children || (has_tasks(c) && (c->subtree & cgroup_threaded_set())));
}

bool cgroup_is_valid_domain(struct cgroup *c)
{
	if (c->threaded)
		return false;
	while ((c = cgroup_parent(c)))
		if (c->threaded || (c != &cgroup_root && cgroup_is_thread_root(c)))
			return false;
	return true;
}

/* The root may always; others if nothing below competes for what only domains have. */
static bool can_be_thread_root(struct cgroup *c)
{
	struct attr_dir *child;

	if (c == &cgroup_root)
		return true;
	if (c->threaded || c->subtree & ~cgroup_threaded_set())
		return false;
	for_each_child_dir(child, c) if (!cgroup_of(child->owner)->threaded &&
					 atomic_read(&cgroup_tenant(child)->live)) return false;
	return true;
}

/* ---- what it allows ---- */

int cgroup_may_enter(struct cgroup *c)
{
	if (c->tenant->dead)
		return -ENODEV;
	if (!cgroup_is_valid_domain(cgroup_domain(c)))
		return -EOPNOTSUPP;
	if (can_be_thread_root(c) || c->threaded)
		return 0;
	return c->subtree ? -EBUSY : 0;
}

int cgroup_may_enable(struct cgroup *c, u32 set)
{
	if (!set)
		return 0;
	if (!cgroup_is_valid_domain(cgroup_domain(c)))
		return -EOPNOTSUPP;
	if (c == &cgroup_root)
		return 0;
	if (set & ~cgroup_threaded_set()) {
		if (cgroup_is_thread_root(c) || c->threaded)
			return -EOPNOTSUPP;
	} else if (can_be_thread_root(c) || c->threaded) {
		return 0;
	}
	return has_tasks(c) ? -EBUSY : 0;
}

/* ---- cgroup.type ---- */

static int show_type(struct attr_dir *d, const struct attr *a, struct strbuf *out)
{
	struct cgroup *c = cgroup_of(d->owner);

	mutex_lock(&cgroup_lock);
	strbuf_add(out, "%s\n",
		   c->threaded                  ? "threaded"
		   : !cgroup_is_valid_domain(c) ? "domain invalid"
		   : cgroup_is_thread_root(c)   ? "domain threaded"
						: "domain");
	mutex_unlock(&cgroup_lock);
	return 0;
}

static int make_threaded(struct cgroup *c)
{
	struct cgroup *parent = cgroup_parent(c), *domain = cgroup_domain(parent);

	if (c->threaded)
		return 0;
	if (atomic_read(&c->tenant->live) || c->subtree & ~cgroup_threaded_set())
		return -EOPNOTSUPP;
	if (!cgroup_is_valid_domain(domain) || !can_be_thread_root(domain))
		return -EOPNOTSUPP;
	c->threaded = true;
	parent->threaded_children++;
	return cgroup_show_files(c, parent->subtree);
}

static int set_type(struct attr_dir *d, const struct attr *a, char *text, size_t len)
{
	int err;

	if (strcmp(str_trim(text), "threaded"))
		return -EINVAL;
	mutex_lock(&cgroup_lock);
	err = d->removed ? -ENODEV : make_threaded(cgroup_of(d->owner));
	mutex_unlock(&cgroup_lock);
	return err;
}

CGROUP_FILE(cgroup_file_type, "cgroup.type", 0644, show_type, set_type, 0);

/* ---- cgroup.controllers, cgroup.subtree_control ---- */

static int show_controllers(struct attr_dir *d, const struct attr *a, struct strbuf *out)
{
	struct cgroup *c = cgroup_of(d->owner);
	u32 set = a->data ? c->subtree : cgroup_available(c);
	struct cgroup_controller *k;
	const char *gap = "";

	list_for_each_entry (k, &cgroup_controllers, link) {
		if (!(set & k->bit))
			continue;
		strbuf_add(out, "%s%s", gap, k->name);
		gap = " ";
	}
	strbuf_add(out, "%s", *gap ? "\n" : "");
	return 0;
}

static struct cgroup_controller *find(const char *name, size_t len)
{
	struct cgroup_controller *k;

	list_for_each_entry (k, &cgroup_controllers, link)
		if (strlen(k->name) == len && !strncmp(k->name, name, len))
			return k;
	return NULL;
}

/* "+memory -cpu ...". -EINVAL: no such controller, or no sign. */
static int parse_control(const char *s, u32 *add, u32 *remove)
{
	*add = *remove = 0;
	for (;;) {
		struct cgroup_controller *k;
		const char *word;

		while (*s == ' ' || *s == '\n' || *s == '\t')
			s++;
		if (!*s)
			return 0;
		if (*s != '+' && *s != '-')
			return -EINVAL;
		for (word = s + 1; *word && !strchr(" \n\t", *word); word++)
			;
		k = find(s + 1, (size_t)(word - s - 1));
		if (!k)
			return -EINVAL;
		*add = *s == '+' ? *add | k->bit : *add & ~k->bit;
		*remove = *s == '-' ? *remove | k->bit : *remove & ~k->bit;
		s = word;
	}
}

static bool child_uses(struct cgroup *c, u32 set)
{
	struct attr_dir *child;

	for_each_child_dir(child, c) if (cgroup_of(child->owner)->subtree & set) return true;
	return false;
}

static void tell_disabled(struct tenant *t, u32 gone)
{
	struct cgroup_controller *k;

	list_for_each_entry (k, &cgroup_controllers, link)
		if ((gone & k->bit) && k->disabled)
			k->disabled(t);
}

/* Of the root: what it has begun, or ceased, to give to its children. */
static void tell_used(u32 changed, u32 now)
{
	struct cgroup_controller *k;

	list_for_each_entry (k, &cgroup_controllers, link)
		if ((changed & k->bit) && k->used)
			k->used(now & k->bit);
}

static int apply_control(struct cgroup *c, u32 add, u32 remove)
{
	u32 now = (c->subtree | add) & ~remove, gone = c->subtree & ~now;
	struct attr_dir *child;
	int err = 0;

	if (add & ~cgroup_available(c))
		return -ENOENT;
	if (child_uses(c, gone))
		return -EBUSY;
	err = cgroup_may_enable(c, now & ~c->subtree);
	if (err)
		return err;
	for_each_child_dir(child, c)
	{
		err = cgroup_show_files(cgroup_of(child->owner), now);
		if (err)
			return err; /* only the first can fail: the set's files exist afterwards */
		tell_disabled(child->owner, gone);
	}
	if (c == &cgroup_root)
		tell_used(c->subtree ^ now, now);
	c->subtree = now;
	return 0;
}

static int set_control(struct attr_dir *d, const struct attr *a, char *text, size_t len)
{
	u32 add, remove;
	int err = parse_control(text, &add, &remove);

	if (err)
		return err;
	mutex_lock(&cgroup_lock);
	err = d->removed ? -ENODEV : apply_control(cgroup_of(d->owner), add, remove);
	mutex_unlock(&cgroup_lock);
	return err;
}

CGROUP_FILE(cgroup_file_controllers, "cgroup.controllers", 0444, show_controllers, NULL, 0);
CGROUP_FILE(cgroup_file_control, "cgroup.subtree_control", 0644, show_controllers, set_control, 1);
