/* SPDX-License-Identifier: MIT
 *
 * Problem: programs make, fill and remove tenants by mkdir, writing a number into a file, and rmdir.
 *
 * Idea: a folder of the attribute tree a tenant, made together and removed together. Which files a folder shows is a
 * set of controllers; the array of files of a set is made once and kept, so that switching a controller on or off is
 * storing one pointer.
 *
 *      mkdir --> tenant_create --> attr_dir_init (files of the parent's subtree_control) --> visible
 *      rmdir --> empty? --> attr_dir_remove --> tenant_kill          the tenant lives on while charges refer to it
 *
 * Contract: cgroup/cgroup.h; cgroup-v2.rst. One tree, however often it is mounted.
 *
 * Locks: cgroup_lock (RANK_CGROUP) for the shape, the sets and moves of processes.
 */
#include <alloc/slab.h>
#include <core/init.h>
#include <core/log.h>
#include <fs/attrfs.h>
#include <lib/err.h>
#include <lib/printf.h>
#include <lib/string.h>
#include <linux/magic.h>
#include <task/task.h>
#include <vfs/textfile.h>
#include <vfs/vfs.h>
#include "cgroup_priv.h"
#include <task/hooks.h>
#include "trace.h"

#define SETS 256 /* of up to eight controllers */

struct mutex cgroup_lock = MUTEX_INIT(cgroup_lock, RANK_CGROUP);
LIST(cgroup_controllers);

static int make_child(struct attr_dir *parent, const char *name, u16 mode);
static int remove_child(struct attr_dir *d);
static void release(struct attr_dir *d);
static const struct attr_dir_ops dir_ops = {
	.mkdir = make_child, .rmdir = remove_child, .version = cgroup_file_version, .release = release
};

struct cgroup cgroup_root = {
	.dir = { .name = "",
		 .children = LIST_INIT(cgroup_root.dir.children),
		 .sibling = LIST_INIT(cgroup_root.dir.sibling),
		 .links = LIST_INIT(cgroup_root.dir.links),
		 .refs = { ATOMIC_INIT(1) },
		 .ops = &dir_ops,
		 .owner = &tenant_root,
		 .ino = 1 },
	.tenant = &tenant_root,
	.max_depth = ~0ULL,
	.max_descendants = ~0ULL,
};

void cgroup_tree_lock(void)
{
	mutex_lock(&cgroup_lock);
}

void cgroup_tree_unlock(void)
{
	mutex_unlock(&cgroup_lock);
}

struct cgroup *cgroup_parent(struct cgroup *c)
{
	return c->tenant->parent ? cgroup_of(c->tenant->parent) : NULL;
}

/* ---- files of a set of controllers ---- */

static const struct attr **sets[2][SETS]; /* with the files of pressure, and without */

static unsigned count(const struct attr *const *files)
{
	unsigned n = 0;

	while (files && files[n])
		n++;
	return n;
}

static unsigned append(const struct attr **to, unsigned at, const struct attr *const *files)
{
	unsigned n = count(files);

	memcpy(to + at, files, n * sizeof(*to));
	return at + n;
}

static const struct attr **make_set(const struct attr *const *core, u32 controllers, bool root, bool pressure)
{
	struct cgroup_controller *c;
	const struct attr **all;
	unsigned n = count(core) + count(cgroup_stat_files) + count(cgroup_pressure_files);

	list_for_each_entry (c, &cgroup_controllers, link)
		n += count(root ? c->root_files : c->files);
	all = kcalloc(n + 1, sizeof(*all), 0);
	if (!all)
		return NULL;
	n = append(all, append(all, 0, core), cgroup_stat_files);
	if (pressure)
		n = append(all, n, cgroup_pressure_files);
	list_for_each_entry (c, &cgroup_controllers, link) {
		const struct attr *const *files = root ? c->root_files : c->files;

		if (files && (controllers & c->bit))
			n = append(all, n, files);
	}
	return all;
}

int cgroup_show_files(struct cgroup *c, u32 controllers)
{
	const struct attr ***set;

	if (c->threaded)
		controllers &= cgroup_threaded_set();
	set = &sets[c->no_pressure][controllers];
	if (!*set)
		*set = make_set(cgroup_core_files, controllers, false, !c->no_pressure);
	if (!*set)
		return -ENOMEM;
	WRITE_ONCE(c->enabled, controllers);
	WRITE_ONCE(c->dir.attrs, (const struct attr *const *)*set);
	return 0;
}

void cgroup_controller_register(struct cgroup_controller *c)
{
	unsigned n = 0;
	struct cgroup_controller *other;

	list_for_each_entry (other, &cgroup_controllers, link)
		n++;
	ensure(n < 8);
	c->bit = BIT(n);
	list_add_tail(&c->link, &cgroup_controllers);
	cgroup_root.enabled |= c->bit;
}

bool cgroup_controls(const struct tenant *t, const struct cgroup_controller *k)
{
	const struct cgroup *c;
	bool has;

	rcu_read_lock();
	c = rcu_deref(t->cgroup);
	has = c && READ_ONCE(c->enabled) & k->bit;
	rcu_read_unlock();
	return has;
}

u32 cgroup_available(struct cgroup *c)
{
	return c->enabled;
}

/* ---- making and removing folders ---- */

static int room_for_child(struct cgroup *parent)
{
	u64 depth = 1;

	for (struct cgroup *a = parent; a; a = cgroup_parent(a), depth++)
		if (a->descendants >= a->max_descendants || depth > a->max_depth)
			return -EAGAIN;
	return 0;
}

static void count_descendants(struct cgroup *c, s64 n)
{
	while ((c = cgroup_parent(c)))
		c->descendants += (u64)n;
}

static bool name_ok(const char *name)
{
	return !strchr(name, '\n') && strlen(name) < 256;
}

static int make(struct cgroup *parent, const char *name, u16 mode)
{
	struct cgroup *c = kzalloc(sizeof(*c) + strlen(name) + 1, ALLOC_CHARGED);
	int err;

	if (!c)
		return -ENOMEM;
	memcpy(c->name, name, strlen(name) + 1);
	c->max_depth = c->max_descendants = ~0ULL;
	err = tenant_create(parent->tenant, &c->tenant);
	if (err) {
		kfree(c);
		return err;
	}
	err = cgroup_show_files(c, parent->subtree);
	if (!err)
		err = attr_dir_init(&c->dir, &parent->dir, c->name, c->dir.attrs, &dir_ops, c->tenant);
	if (err) {
		tenant_kill(c->tenant);
		kfree(c);
		return err;
	}
	c->dir.uid = current->cred->fsuid.v;
	c->dir.gid = current->cred->fsgid.v;
	c->dir.mode = mode & 07777;
	tenant_get(c->tenant); /* the folder's own */
	c->tenant->cgroup = c;
	count_descendants(c, 1);
	if (trace_on(cgroup_mkdir))
		cgroup_trace(TRACE_cgroup_mkdir, c);
	if (static_branch(&task_life_key))
		cgroup_tell_name(c);
	return 0;
}

static int make_child(struct attr_dir *dir, const char *name, u16 mode)
{
	struct cgroup *parent = cgroup_of(dir->owner);
	int err;

	if (!name_ok(name))
		return -EINVAL;
	mutex_lock(&cgroup_lock);
	err = dir->removed ? -ENODEV : room_for_child(parent);
	if (!err)
		err = make(parent, name, mode);
	mutex_unlock(&cgroup_lock);
	return err;
}

static int remove_child(struct attr_dir *d)
{
	struct tenant *t = d->owner;
	struct cgroup *c = cgroup_of(t);
	int err = 0;

	mutex_lock(&cgroup_lock);
	if (d->removed)
		err = -ENODEV;
	else if (!list_empty(&d->children) || !tenant_close(t))
		err = -EBUSY;
	if (!err) {
		if (trace_on(cgroup_rmdir))
			cgroup_trace(TRACE_cgroup_rmdir, c);
		count_descendants(c, -1);
		cgroup_parent(c)->threaded_children -= c->threaded;
		attr_dir_get(d);
		attr_dir_remove(d);
		tenant_kill(t);
		attr_dir_put(d);
	}
	mutex_unlock(&cgroup_lock);
	return err;
}

static void free_cgroup(struct rcu_head *head)
{
	kfree(container_of(head, struct cgroup, rcu));
}

static void release(struct attr_dir *d)
{
	struct tenant *t = d->owner;
	struct cgroup *c = cgroup_of(t);

	rcu_assign(t->cgroup, NULL);
	tenant_put(t);
	rcu_call(&c->rcu, free_cgroup);
}

/* ---- looking ---- */

int cgroup_tenant_of_fd(int fd, struct tenant **out)
{
	struct fd_ref ref = fd_get_path(fd);
	struct attr_dir *d = ref.file ? attrfs_dir_of(ref.file->inode) : NULL;
	int err = -EBADF;

	if (d && d->ops == &dir_ops) {
		err = d->removed ? -ENODEV : 0;
		if (!err) {
			*out = d->owner;
			tenant_get(*out);
		}
	}
	fd_put(ref);
	return err;
}

int cgroup_enter_fd(int fd, struct tenant **out)
{
	int err = cgroup_tenant_of_fd(fd, out);

	if (err)
		return err;
	mutex_lock(&cgroup_lock);
	err = cgroup_of(*out) ? cgroup_may_enter(cgroup_of(*out)) : -ENODEV;
	if (!err)
		err = cgroup_may_cross(cgroup_of(current->tenant), cgroup_of(*out), current->cred);
	mutex_unlock(&cgroup_lock);
	if (err)
		tenant_put(*out);
	return err;
}

u64 cgroup_id(const struct tenant *t)
{
	struct cgroup *c;
	u64 id;

	rcu_read_lock();
	c = rcu_deref(t->cgroup);
	id = c ? c->dir.ino : 0;
	rcu_read_unlock();
	return id;
}

struct attr_dir *cgroup_dir(struct tenant *t)
{
	struct cgroup *c = cgroup_of(t);

	return c ? &c->dir : NULL;
}

void cgroup_path(struct tenant *t, struct strbuf *out)
{
	size_t before = out->len;

	mutex_lock(&cgroup_lock);
	if (cgroup_of(t))
		cgroup_add_path(cgroup_of(t), out);
	if (out->len == before)
		strbuf_add(out, "/");
	if (t->dead)
		strbuf_add(out, " (deleted)");
	mutex_unlock(&cgroup_lock);
}

/* ---- mounting ---- */

static int mount_cgroup2(struct super *s, const char *source, const char *data)
{
	return attrfs_fill(s, &cgroup_root.dir, CGROUP2_SUPER_MAGIC);
}

static struct fs_type cgroup2 = { .name = "cgroup2",
				  .flags = FS_SINGLE | FS_NO_NEGATIVE | FS_USERNS_MOUNT,
				  .mount = mount_cgroup2,
				  .mount_root = cgroup_mount_root };

/* /proc/cgroups, by which programs ask what there is. All controllers are in the one tree, which is hierarchy 0. */
static int show_controllers(struct strbuf *out)
{
	struct cgroup_controller *c;

	mutex_lock(&cgroup_lock);
	strbuf_add(out, "#subsys_name\thierarchy\tnum_cgroups\tenabled\n");
	list_for_each_entry (c, &cgroup_controllers, link)
		strbuf_add(out, "%s\t0\t%llu\t1\n", c->name, (unsigned long long)cgroup_root.descendants + 1);
	mutex_unlock(&cgroup_lock);
	return 0;
}

static struct proc_file controllers_file = { .name = "cgroups", .show = show_controllers };

static void cgroup_init(void)
{
	const struct attr **files = make_set(cgroup_core_root_files, cgroup_root.enabled, true, true);

	tenant_root.cgroup = &cgroup_root;
	tenant_changed_hook = attr_notify;
	cgroup_root.dir.attrs = (const struct attr *const *)files;
	if (!files || attr_folder_add(&attr_sys_root, "fs/cgroup", NULL))
		log_err("cgroup: no memory for the tree");
	fs_register(&cgroup2);
	proc_file_register(&controllers_file);
}
PART_INIT(driver, cgroup_init);
