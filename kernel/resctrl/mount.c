/* SPDX-License-Identifier: MIT
 *
 * Problem: `mount -t resctrl` and the directories below it, over a core that knows paths and texts but no inodes.
 *
 * Idea: the attribute tree. Each directory of the core has a folder there, with a table of files made from what the
 * core lists; reading or writing a file resolves its name in the core and shows or stores it. The core decides
 * everything; this file only keeps folders and groups in step:
 *
 *      mount   resctrl_begin, folders for / and all below       umount   folders away, resctrl_end
 *      mkdir   resctrl_mkdir, a folder                          rmdir    resctrl_rmdir, the folder away
 *
 * The core is mounted from the first user on, which is a mount or a tenant with a share of its own (tenant.c), until
 * the last one has gone.
 *
 * Contract: one mount at a time (EBUSY), as on Linux, and with no option that the tenants' use does not have. A file of
 * a removed group answers ENODEV; a tenant's group is removed by its tenant only (EBUSY).
 *
 * Locks: resctrl_lock around each call of the core, inside the inode's and the mount's locks.
 */
#include <alloc/slab.h>
#include <core/log.h>
#include <fs/attrfs.h>
#include <lib/err.h>
#include <lib/string.h>
#include <linux/magic.h>
#include "kernel.h"

struct folder {
	struct attr_dir dir;
	struct resctrl_node node;
	const struct attr **table; /* allocated; ends with NULL */
	struct attr *files;        /* allocated */
	char name[RESCTRL_NAME_MAX + 1];
};

static struct folder root;
static bool is_mounted; /* resctrl_lock: root is there */
static unsigned users;  /* resctrl_lock: the mount, and tenants */

static struct folder *folder_of(struct attr_dir *d)
{
	return container_of(d, struct folder, dir);
}

/* ---- files ----------------------------------------------------------------------------------------------- */

static int show(struct attr_dir *d, const struct attr *a, struct strbuf *out)
{
	struct resctrl_node n;
	int err;

	mutex_lock(&resctrl_lock);
	err = resctrl_child(resctrl_machine, &folder_of(d)->node, a->name, &n);
	if (!err)
		err = resctrl_show(resctrl_machine, &n, out);
	mutex_unlock(&resctrl_lock);
	return err;
}

static int store(struct attr_dir *d, const struct attr *a, char *text, size_t len)
{
	struct resctrl_node n;
	int err;

	mutex_lock(&resctrl_lock);
	err = resctrl_child(resctrl_machine, &folder_of(d)->node, a->name, &n);
	if (!err)
		err = resctrl_store(resctrl_machine, &n, text, len);
	mutex_unlock(&resctrl_lock);
	return err;
}

/* The n-th file of a directory of the core; directories are passed over. Core locked. */
static bool file_at(const struct resctrl_node *dir, unsigned n, const char **name, struct resctrl_node *out)
{
	for (unsigned i = 0; resctrl_readdir(resctrl_machine, dir, i, name, out); i++)
		if (out->file && !n--)
			return true;
	return false;
}

static int make_table(struct folder *f)
{
	struct resctrl_node n;
	const char *name;
	unsigned count = 0;

	while (file_at(&f->node, count, &name, &n))
		count++;
	f->files = kcalloc(count, sizeof(*f->files), 0);
	f->table = kcalloc(count + 1, sizeof(*f->table), 0);
	if (!f->files || !f->table)
		return -ENOMEM;
	for (unsigned i = 0; i < count && file_at(&f->node, i, &name, &n); i++) {
		f->files[i] = (struct attr){ .name = name, .mode = n.mode & 0777, .show = show };
		if (f->files[i].mode & 0222)
			f->files[i].set = store;
		f->table[i] = &f->files[i];
	}
	return 0;
}

static void free_table(struct folder *f)
{
	kfree(f->files);
	kfree(f->table);
	f->files = NULL;
	f->table = NULL;
}

/* ---- folders --------------------------------------------------------------------------------------------- */

static void release(struct attr_dir *d)
{
	free_table(folder_of(d));
	kfree(folder_of(d));
}

static int rmdir(struct attr_dir *d)
{
	int err;

	mutex_lock(&resctrl_lock);
	if (d->parent == &root.dir && tenant_owns_group(folder_of(d)->node.group))
		err = -EBUSY;
	else
		err = resctrl_rmdir(resctrl_machine, &folder_of(d)->node);
	mutex_unlock(&resctrl_lock);
	if (!err)
		attr_dir_remove(d);
	return err;
}

static int mkdir(struct attr_dir *d, const char *name, u16 mode);

static const struct attr_dir_ops root_ops = { .mkdir = mkdir, .takes_nothing = true };
static const struct attr_dir_ops folder_ops = {
	.release = release, .mkdir = mkdir, .rmdir = rmdir, .takes_nothing = true
};

static int add_folders_below(struct folder *parent);

/* A folder for a directory that the core has, and for all below it. Core locked. */
static int add_folder(struct folder *parent, const char *name, const struct resctrl_node *node)
{
	struct folder *f = kzalloc(sizeof(*f), 0);
	int err;

	if (!f)
		return -ENOMEM;
	f->node = *node;
	str_copy(f->name, name, sizeof(f->name));
	err = make_table(f);
	if (!err)
		err = attr_dir_init(&f->dir, &parent->dir, f->name, f->table, &folder_ops, f);
	if (err) {
		free_table(f);
		kfree(f);
		return err;
	}
	err = add_folders_below(f);
	if (err)
		attr_dir_remove(&f->dir);
	return err;
}

/* Not deeper than a group's mon_groups/GROUP/mon_data/DOMAIN. */
static int add_folders_below(struct folder *parent)
{
	struct resctrl_node n;
	const char *name;
	int err = 0;

	for (unsigned i = 0; !err && resctrl_readdir(resctrl_machine, &parent->node, i, &name, &n); i++)
		if (!n.file)
			err = add_folder(parent, name, &n);
	return err;
}

/* A group, and its folder if there are folders. Core locked. */
static int make_group(struct folder *parent, const struct resctrl_node *dir, const char *name, u16 *group)
{
	struct resctrl_node n;
	int err = resctrl_mkdir(resctrl_machine, dir, name);

	if (err)
		return err;
	ensure(!resctrl_child(resctrl_machine, dir, name, &n));
	*group = n.group;
	err = parent ? add_folder(parent, name, &n) : 0;
	if (err)
		ensure(!resctrl_rmdir(resctrl_machine, &n));
	return err;
}

static int mkdir(struct attr_dir *d, const char *name, u16 mode)
{
	u16 group;
	int err;

	mutex_lock(&resctrl_lock);
	err = make_group(folder_of(d), &folder_of(d)->node, name, &group);
	mutex_unlock(&resctrl_lock);
	return err;
}

/* ---- for tenants ----------------------------------------------------------------------------------------- */

int resctrl_group_make(const char *name, u16 *group)
{
	struct resctrl_node top;

	ensure(!resctrl_lookup(resctrl_machine, "", &top));
	return make_group(is_mounted ? &root : NULL, &top, name, group);
}

void resctrl_group_drop(u16 group)
{
	struct resctrl_node top, n = { 0 };
	struct attr_dir *d;
	const char *name;

	ensure(!resctrl_lookup(resctrl_machine, "", &top));
	for (unsigned i = 0; n.group != group; i++)
		ensure(resctrl_readdir(resctrl_machine, &top, i, &name, &n));
	ensure(!resctrl_rmdir(resctrl_machine, &n));
	if (!is_mounted)
		return;
	list_for_each_entry (d, &root.dir.children, sibling)
		if (folder_of(d)->node.group == group)
			break;
	attr_dir_remove(d);
}

static int begin(const char *options)
{
	int err = 0;

	if (!users)
		err = resctrl_mount(resctrl_machine, options);
	else if (*options)
		err = -EBUSY; /* code and data apart would change what tenants have */
	if (!err && !users++)
		host_begin();
	return err;
}

int resctrl_begin(void)
{
	return begin("");
}

void resctrl_end(void)
{
	if (--users)
		return;
	resctrl_umount(resctrl_machine);
	host_end();
}

/* ---- mounting -------------------------------------------------------------------------------------------- */

static void remove_folders(void)
{
	struct attr_dir *child;

	while ((child = attr_dir_next(&root.dir, NULL))) {
		attr_dir_remove(child);
		attr_dir_put(child);
	}
	free_table(&root);
}

static int make_folders(void)
{
	int err;

	root.dir = (struct attr_dir){ .name = "resctrl", .ops = &root_ops, .owner = &root, .ino = 1 };
	list_init(&root.dir.children);
	list_init(&root.dir.sibling);
	list_init(&root.dir.links);
	refcount_set(&root.dir.refs, 1);
	err = resctrl_lookup(resctrl_machine, "", &root.node);
	if (!err)
		err = make_table(&root);
	root.dir.attrs = root.table;
	if (!err)
		err = add_folders_below(&root);
	if (err)
		remove_folders();
	return err;
}

static void unmount(struct super *s)
{
	mutex_lock(&resctrl_lock);
	remove_folders();
	is_mounted = false;
	resctrl_reset(resctrl_machine, tenant_owns_group);
	resctrl_end();
	mutex_unlock(&resctrl_lock);
}

static void show_options(struct super *s, struct strbuf *out)
{
	mutex_lock(&resctrl_lock);
	resctrl_show_options(resctrl_machine, out);
	mutex_unlock(&resctrl_lock);
}

static const struct super_ops super_ops = { .evict = attrfs_evict, .put_super = unmount, .show_options = show_options };

static int mount(struct super *s, const char *source, const char *data)
{
	int err;

	mutex_lock(&resctrl_lock);
	err = is_mounted ? -EBUSY : begin(data ? data : "");
	if (!err) {
		err = make_folders();
		if (!err) {
			err = attrfs_fill(s, &root.dir, RDTGROUP_SUPER_MAGIC);
			if (err)
				remove_folders();
		}
		is_mounted = !err;
		if (err)
			resctrl_end();
	}
	mutex_unlock(&resctrl_lock);
	s->ops = &super_ops;
	return err;
}

static struct fs_type resctrl_type = { .name = "resctrl", .flags = FS_NO_NEGATIVE, .mount = mount };

int resctrl_fs_init(void)
{
	static struct attr_dir place;
	struct attr_dir *fs;
	int err = attr_shared_dir(&attr_sys_root, "fs", &fs);

	if (!err)
		err = attr_dir_init(&place, fs, "resctrl", NULL, NULL, NULL);
	if (!err)
		fs_register(&resctrl_type);
	return err;
}
