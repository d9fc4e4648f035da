/* SPDX-License-Identifier: MIT
 *
 * Problem: sysfs, /proc/sys, cgroupfs, resctrl and tracefs are all folders of small text files
 * about objects that may vanish while somebody reads.
 *
 * Idea: a tree of folders that hold references to their parents; files are constant tables. Removal
 * takes a folder out of the tree and marks it, and its memory goes when the last reader lets go. Children are found in
 * a tree by hash and name, and listed in the order in which they came: folders may have ten thousand.
 *
 * Contract: core/attr.h.
 *
 * Locks: `tree_lock` (RANK_SUBSYS_SPIN) guards the shape: children, links, removed.
 */
#include <core/attr.h>
#include <core/log.h>
#include <core/spin.h>
#include <alloc/slab.h>
#include <lib/err.h>
#include <lib/string.h>

static struct spinlock tree_lock = SPIN_INIT(RANK_SUBSYS_SPIN);
static u64 next_ino = 2;
void (*attr_notify_hook)(void);
DEFINE_STATIC_KEY(attr_sysctl_key);
int (*attr_sysctl_hook)(struct attr_dir *dir, const struct attr *a, bool write, s64 *pos, char **text, size_t *len);

#define ROOT(var, label)                                                                                               \
	struct attr_dir var = { .name = label,                                                                         \
				.children = LIST_INIT(var.children),                                                   \
				.sibling = LIST_INIT(var.sibling),                                                     \
				.links = LIST_INIT(var.links),                                                         \
				.refs = { ATOMIC_INIT(1) },                                                            \
				.ino = 1 }
ROOT(attr_sys_root, "sys");
ROOT(attr_sysctl_root, "sysctl");
ROOT(attr_proc_root, "proc");
ROOT(attr_trace_root, "tracing");
ROOT(attr_debug_root, "debug");

/* FNV-1a */
static u32 hash_of(const char *name)
{
	u32 h = 0x811c9dc5;

	while (*name)
		h = (h ^ (u8)*name++) * 0x01000193;
	return h;
}

static int compare(u32 hash, const char *name, const struct attr_dir *d)
{
	return hash != d->hash ? (hash < d->hash ? -1 : 1) : strcmp(name, d->name);
}

/* The place of a name among the children; *link is not NULL if there is one. */
static struct rb_node **find_place(struct attr_dir *d, u32 hash, const char *name, struct rb_node **parent)
{
	struct rb_node **link = &d->by_name.node;

	*parent = NULL;
	while (*link) {
		int order = compare(hash, name, rb_entry(*link, struct attr_dir, name_node));

		if (!order)
			break;
		*parent = *link;
		link = order < 0 ? &(*link)->left : &(*link)->right;
	}
	return link;
}

static struct attr_dir *find_child(struct attr_dir *d, const char *name)
{
	struct rb_node *parent, *n = *find_place(d, hash_of(name), name, &parent);

	return n ? rb_entry(n, struct attr_dir, name_node) : NULL;
}

static void add_child(struct attr_dir *parent, struct attr_dir *d)
{
	struct rb_node *above, **link = find_place(parent, d->hash, d->name, &above);

	rb_insert(&parent->by_name, &d->name_node, above, link);
	list_add_tail(&d->sibling, &parent->children);
}

static struct attr_link *find_link(struct attr_dir *d, const char *name)
{
	struct attr_link *l;

	list_for_each_entry (l, &d->links, link)
		if (!strcmp(l->name, name))
			return l;
	return NULL;
}

int attr_dir_init(struct attr_dir *d, struct attr_dir *parent, const char *name, const struct attr *const *attrs,
		  const struct attr_dir_ops *ops, void *owner)
{
	int err = 0;

	*d = (struct attr_dir){ .name = name,
				.hash = hash_of(name),
				.parent = parent,
				.attrs = attrs,
				.ops = ops,
				.owner = owner,
				.uid = parent->uid,
				.gid = parent->gid };
	list_init(&d->children);
	list_init(&d->sibling);
	list_init(&d->links);
	refcount_set(&d->refs, 1);
	spin_lock(&tree_lock);
	if (parent->removed)
		err = -ENODEV;
	else if (find_child(parent, name) || find_link(parent, name))
		err = -EEXIST;
	if (!err) {
		d->ino = next_ino++;
		add_child(parent, d);
		attr_dir_get(parent);
	}
	spin_unlock(&tree_lock);
	return err;
}

/* The deepest first child below d (or d itself): what can be removed without leaving orphans. */
static struct attr_dir *deepest(struct attr_dir *d)
{
	while (!list_empty(&d->children))
		d = list_first_entry(&d->children, struct attr_dir, sibling);
	return d;
}

static void free_links(struct attr_dir *d)
{
	struct attr_link *l, *n;
	LIST(gone);

	spin_lock(&tree_lock);
	list_splice_tail_init(&d->links, &gone);
	spin_unlock(&tree_lock);
	list_for_each_entry_safe (l, n, &gone, link) {
		attr_dir_put(l->target);
		kfree(l);
	}
}

void attr_dir_remove(struct attr_dir *d)
{
	struct attr_dir *victim;

	attr_dir_get(d);
	do {
		spin_lock(&tree_lock);
		victim = deepest(d);
		if (victim->removed) {
			spin_unlock(&tree_lock);
			break;
		}
		victim->removed = true;
		if (victim->parent)
			rb_erase(&victim->parent->by_name, &victim->name_node);
		list_del_init(&victim->sibling);
		spin_unlock(&tree_lock);
		free_links(victim);
		attr_dir_put(victim);
	} while (victim != d);
	attr_dir_put(d);
}

void attr_dir_get(struct attr_dir *d)
{
	refcount_inc(&d->refs);
}

void attr_dir_put(struct attr_dir *d)
{
	while (d && refcount_dec_and_test(&d->refs)) {
		struct attr_dir *parent = d->parent;

		while (d->changed) {
			struct attr_owner *o = d->changed;

			d->changed = o->next;
			kfree(o);
		}
		if (d->ops && d->ops->release)
			d->ops->release(d);
		d = parent;
	}
}

int attr_link_add(struct attr_dir *d, const char *name, struct attr_dir *target)
{
	struct attr_link *l = kzalloc(sizeof(*l), 0);
	int err = 0;

	if (!l)
		return -ENOMEM;
	l->name = name;
	l->target = target;
	spin_lock(&tree_lock);
	if (d->removed || target->removed)
		err = -ENODEV;
	else if (find_child(d, name) || find_link(d, name))
		err = -EEXIST;
	if (!err) {
		attr_dir_get(target);
		list_add_tail(&l->link, &d->links);
	}
	spin_unlock(&tree_lock);
	if (err)
		kfree(l);
	return err;
}

void attr_link_remove(struct attr_dir *d, const char *name)
{
	struct attr_link *l;

	spin_lock(&tree_lock);
	l = find_link(d, name);
	if (l)
		list_del(&l->link);
	spin_unlock(&tree_lock);
	if (!l)
		return;
	attr_dir_put(l->target);
	kfree(l);
}

struct attr_dir *attr_dir_child(struct attr_dir *d, const char *name)
{
	struct attr_dir *c;

	spin_lock(&tree_lock);
	c = find_child(d, name);
	if (c)
		attr_dir_get(c);
	spin_unlock(&tree_lock);
	return c;
}

struct attr_dir *attr_dir_next(struct attr_dir *d, struct attr_dir *after)
{
	struct attr_dir *c, *found = NULL;
	u64 ino = after ? after->ino : 0;

	spin_lock(&tree_lock);
	if (after && !after->removed) {
		if (after->sibling.next != &d->children)
			found = list_entry(after->sibling.next, struct attr_dir, sibling);
	} else {
		list_for_each_entry (c, &d->children, sibling)
			if (c->ino > ino) {
				found = c;
				break;
			}
	}
	if (found)
		attr_dir_get(found);
	spin_unlock(&tree_lock);
	if (after)
		attr_dir_put(after);
	return found;
}

struct attr_link *attr_dir_link(struct attr_dir *d, unsigned n)
{
	struct attr_link *l, *found = NULL;

	spin_lock(&tree_lock);
	list_for_each_entry (l, &d->links, link)
		if (!n--) {
			found = l;
			break;
		}
	spin_unlock(&tree_lock);
	return found;
}

void attr_notify(void)
{
	if (attr_notify_hook)
		attr_notify_hook();
}

/* ---- files of one number ------------------------------------------------------------------------------ */

int attr_parse_u32(char *text, size_t len, u32 low, u32 high, u32 *out)
{
	u64 v;

	while (len && (text[len - 1] == '\n' || text[len - 1] == ' '))
		text[--len] = '\0';
	if (str_to_u64(text, 10, &v) || v < low || v > high)
		return -EINVAL;
	*out = (u32)v;
	return 0;
}

int attr_show_u32(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	strbuf_add(out, "%u\n", READ_ONCE(*(const u32 *)a->data));
	return 0;
}

int attr_set_u32(struct attr_dir *dir, const struct attr *a, char *text, size_t len)
{
	u32 v;
	int err = attr_parse_u32(text, len, 0, INT32_MAX, &v);

	if (!err)
		WRITE_ONCE(*(u32 *)a->data, v);
	return err;
}

/* ---- owners --------------------------------------------------------------------------------------- */

static struct attr_owner *find_owner(struct attr_dir *d, const struct attr *a)
{
	struct attr_owner *o = d->changed;

	while (o && o->attr != a)
		o = o->next;
	return o;
}

struct attr_owner attr_owner(struct attr_dir *d, const struct attr *a)
{
	struct attr_owner now = { NULL, a, d->uid, d->gid, a ? a->mode : d->mode ? d->mode : 0755 }, *o;

	spin_lock(&tree_lock);
	o = find_owner(d, a);
	if (o)
		now = *o;
	spin_unlock(&tree_lock);
	return now;
}

int attr_set_owner(struct attr_dir *d, const struct attr_owner *new)
{
	struct attr_owner *fresh = kmalloc(sizeof(*fresh), 0), *o;

	if (!fresh)
		return -ENOMEM;
	spin_lock(&tree_lock);
	o = find_owner(d, new->attr);
	if (!o) {
		o = fresh;
		o->next = d->changed;
		o->attr = new->attr;
		d->changed = o;
		fresh = NULL;
	}
	o->uid = new->uid;
	o->gid = new->gid;
	o->mode = new->mode;
	spin_unlock(&tree_lock);
	kfree(fresh);
	return 0;
}

/* ---- folders that parts share --------------------------------------------------------------- */

struct shared_dir {
	struct attr_dir dir;
	struct list link;
	char name[32];
	const struct attr **files; /* what dir.attrs points to */
	unsigned nr_files;
};

static LIST(shared_dirs); /* boot only */

static struct shared_dir *find_shared(const struct attr_dir *parent, const char *name)
{
	struct shared_dir *s;

	list_for_each_entry (s, &shared_dirs, link)
		if (s->dir.parent == parent && !strcmp(s->name, name))
			return s;
	return NULL;
}

static int get_shared(struct attr_dir *parent, const char *name, size_t len, struct shared_dir **out)
{
	struct shared_dir *s = kzalloc(sizeof(*s), 0);
	int err;

	if (!s)
		return -ENOMEM;
	memcpy(s->name, name, min(len, sizeof(s->name) - 1));
	*out = find_shared(parent, s->name);
	err = *out ? 0 : attr_dir_init(&s->dir, parent, s->name, NULL, NULL, NULL);
	if (*out || err) {
		kfree(s);
		return err;
	}
	list_add_tail(&s->link, &shared_dirs);
	*out = s;
	return 0;
}

static int get_shared_path(struct attr_dir *parent, const char *path, struct shared_dir **out)
{
	while (*path) {
		const char *slash = strchr(path, '/');
		size_t len = slash ? (size_t)(slash - path) : strlen(path);
		int err = get_shared(parent, path, len, out);

		if (err)
			return err;
		parent = &(*out)->dir;
		path += len + (slash != NULL);
	}
	return 0;
}

int attr_shared_dir(struct attr_dir *root, const char *path, struct attr_dir **out)
{
	struct shared_dir *s = NULL;
	int err = get_shared_path(root, path, &s);

	if (!err)
		*out = &s->dir;
	return err;
}

int attr_folder_add(struct attr_dir *root, const char *folder, const struct attr *const *attrs)
{
	struct shared_dir *s = NULL;
	const struct attr **all;
	unsigned n = 0;
	int err = get_shared_path(root, folder, &s);

	if (err)
		return err;
	while (attrs && attrs[n])
		n++;
	if (!n)
		return 0;
	all = kcalloc(s->nr_files + n + 1, sizeof(*all), 0);
	if (!all)
		return -ENOMEM;
	memcpy(all, s->files, s->nr_files * sizeof(*all));
	memcpy(all + s->nr_files, attrs, n * sizeof(*all));
	s->dir.attrs = all;
	kfree(s->files);
	s->files = all;
	s->nr_files += n;
	return 0;
}
