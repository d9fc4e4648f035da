/* SPDX-License-Identifier: MIT
 *
 * Problem: a program that shall have one device must be given a file for exactly that, and must not be able to use the
 * device before it has said which memory the device may reach.
 *
 * Idea: each device is a group with a file under /dev/vfio, whose owner and mode are the permission. The file is open
 * once. Through it a container is attached; only then does it give the device's file.
 *
 *      free --open--> open --SET_CONTAINER--> attached --SET_IOMMU--> usable --GET_DEVICE_FD--> in use
 *      closed while in use: stays attached until the device's file is closed
 *
 * Contract: vfio.h, vfio_priv.h; GROUP ioctls of linux/vfio.h. The group's number is the device's iommu_group in sysfs.
 *
 * Locks: vfio_lock. A container's file is dropped without it, since its release takes it.
 */
#include <alloc/slab.h>
#include <arch/user.h>
#include <core/init.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/printf.h>
#include <lib/string.h>
#include <linux/stat.h>
#include <task/task.h>
#include <vfs/device.h>
#include <vfs/uapi.h>
#include <vfs/vfs.h>
#include "vfio_priv.h"

#define GROUP_MAJOR 240 /* Linux takes one of the dynamic ones; programs look at the name */

struct mutex vfio_lock = MUTEX_INIT(vfio_lock, RANK_SUBSYS);
static struct vfio_group *groups[VFIO_GROUPS]; /* vfio_lock */
static struct attr_dir *groups_dir;

/* ---- life ---- */

static void group_put(struct vfio_group *g)
{
	if (refcount_dec_and_test(&g->refs))
		kfree(g);
}

static void dir_gone(struct attr_dir *d)
{
	group_put(d->owner);
}

static const struct attr_dir_ops dir_ops = { .release = dir_gone };

static void node_name(const struct vfio_group *g, char out[16])
{
	str_format(out, 16, "vfio/%u", g->id);
}

/* The folders hold the group, since somebody may read them when it has gone. */
static int add_dirs(struct vfio_group *g, struct attr_dir *link_dir)
{
	int err = attr_dir_init(&g->dir, groups_dir, g->name, NULL, &dir_ops, g);

	if (err)
		return err;
	refcount_inc(&g->refs);
	err = attr_dir_init(&g->devices, &g->dir, "devices", NULL, &dir_ops, g);
	if (!err) {
		refcount_inc(&g->refs);
		err = attr_link_add(&g->devices, g->device->name, link_dir);
	}
	if (!err)
		err = attr_link_add(link_dir, "iommu_group", &g->dir);
	if (err)
		attr_dir_remove(&g->dir);
	return err;
}

static int add_group(struct vfio_group *g, struct attr_dir *link_dir)
{
	char node[16];
	int err;

	while (g->id < VFIO_GROUPS && groups[g->id])
		g->id++;
	if (g->id == VFIO_GROUPS)
		return -ENOSPC;
	str_format(g->name, sizeof(g->name), "%u", g->id);
	err = add_dirs(g, link_dir);
	if (err)
		return err;
	node_name(g, node);
	err = devnode_add(node, S_IFCHR | 0600, DEV(GROUP_MAJOR, g->id));
	if (err)
		attr_dir_remove(&g->dir);
	else
		groups[g->id] = g;
	return err;
}

int vfio_register(struct vfio_device *d, struct attr_dir *link_dir)
{
	struct vfio_group *g = kzalloc(sizeof(*g), 0);
	int err;

	if (!g)
		return -ENOMEM;
	refcount_set(&g->refs, 1);
	g->device = d;
	g->link_dir = link_dir;
	d->group = g;
	device_init(d);
	mutex_lock(&vfio_lock);
	err = add_group(g, link_dir);
	mutex_unlock(&vfio_lock);
	if (err)
		group_put(g);
	return err;
}

int vfio_unregister(struct vfio_device *d)
{
	struct vfio_group *g = d->group;
	char node[16];

	mutex_lock(&vfio_lock);
	if (d->file) {
		mutex_unlock(&vfio_lock);
		return -EBUSY;
	}
	g->device = NULL;
	groups[g->id] = NULL;
	node_name(g, node);
	devnode_remove(node);
	attr_link_remove(g->link_dir, "iommu_group");
	attr_dir_remove(&g->dir);
	mutex_unlock(&vfio_lock);
	group_put(g);
	return 0;
}

/* ---- the container ---- */

static int set_container(struct vfio_group *g, const int __user *arg)
{
	struct vfio_container *c;
	struct fd_ref ref;
	int fd, err = user_get(&fd, arg, sizeof(fd));

	if (err)
		return err;
	if (g->container)
		return -EINVAL;
	ref = fd_get(fd);
	if (!ref.file)
		return -EBADF;
	c = container_of_file(ref.file);
	if (c) {
		list_add_tail(&g->link, &c->groups);
		err = c->type ? domain_need(c) : 0;
		if (err)
			list_del(&g->link);
	}
	if (c && !err) {
		file_get(ref.file);
		g->container = c;
		g->container_file = ref.file;
	}
	fd_put(ref);
	return c ? err : -EINVAL;
}

/* The container's file, for the caller to drop without vfio_lock. */
static struct file *detach(struct vfio_group *g)
{
	struct file *f = g->container_file;

	if (!g->container)
		return NULL;
	list_del(&g->link);
	if (list_empty(&g->container->groups))
		container_clear(g->container);
	g->container = NULL;
	g->container_file = NULL;
	return f;
}

static int unset_container(struct vfio_group *g, struct file **drop)
{
	if (!g->container)
		return -EINVAL;
	if (g->device && g->device->file)
		return -EBUSY;
	*drop = detach(g);
	return 0;
}

struct file *group_device_closed(struct vfio_group *g)
{
	assert(mutex_is_held(&vfio_lock));
	return g->file ? NULL : detach(g);
}

/* ---- the file ---- */

static int get_status(struct vfio_group *g, void __user *arg)
{
	struct vfio_group_status s;
	int err = user_get(&s, arg, sizeof(s));

	if (err)
		return err;
	if (s.argsz < sizeof(s))
		return -EINVAL;
	s.flags = VFIO_GROUP_FLAGS_VIABLE | (g->container ? VFIO_GROUP_FLAGS_CONTAINER_SET : 0);
	return user_put(arg, &s, sizeof(s));
}

static int get_device(struct vfio_group *g, const char __user *arg, struct file **out)
{
	char name[VFIO_NAME_MAX];
	ssize_t n = user_get_string(name, arg, sizeof(name));

	if (n < 0)
		return (int)n;
	if (!g->container || !g->container->type)
		return -EINVAL;
	if (n >= (ssize_t)sizeof(name) || !g->device || strcmp(g->device->name, name))
		return -ENODEV;
	return device_open(g->device, out);
}

static long locked_ioctl(struct vfio_group *g, unsigned cmd, void __user *arg, struct file **publish,
			 struct file **drop)
{
	switch (cmd) {
	case VFIO_GROUP_GET_STATUS: return get_status(g, arg);
	case VFIO_GROUP_SET_CONTAINER: return set_container(g, arg);
	case VFIO_GROUP_UNSET_CONTAINER: return unset_container(g, drop);
	case VFIO_GROUP_GET_DEVICE_FD: return get_device(g, arg, publish);
	default: return -ENOTTY;
	}
}

static long group_ioctl(struct file *f, unsigned cmd, ulong arg)
{
	struct file *publish = NULL, *drop = NULL;
	long ret = mutex_lock_killable(&vfio_lock);

	if (ret)
		return ret;
	ret = locked_ioctl(f->priv, cmd, (void __user *)arg, &publish, &drop);
	mutex_unlock(&vfio_lock);
	if (drop)
		file_put(drop);
	return publish ? fd_publish(publish, O_CLOEXEC) : ret;
}

static int group_open(struct inode *i, struct file *f)
{
	unsigned id = DEV_MINOR(i->rdev);
	struct vfio_group *g;
	int err = 0;

	mutex_lock(&vfio_lock);
	g = id < VFIO_GROUPS ? groups[id] : NULL;
	if (!g)
		err = -ENODEV;
	else if (g->file || g->container) /* open, or its device still is */
		err = -EBUSY;
	if (!err) {
		refcount_inc(&g->refs);
		g->file = f;
		f->priv = g;
	}
	mutex_unlock(&vfio_lock);
	return err;
}

static void group_release(struct file *f)
{
	struct vfio_group *g = f->priv;
	struct file *drop = NULL;

	mutex_lock(&vfio_lock);
	g->file = NULL;
	if (!g->device || !g->device->file)
		drop = detach(g);
	mutex_unlock(&vfio_lock);
	if (drop)
		file_put(drop);
	group_put(g);
}

static const struct file_ops group_ops = {
	.open = group_open, .release = group_release, .ioctl = group_ioctl, .llseek = no_llseek
};

bool vfio_file_is_group(struct file *f)
{
	return f->ops == &group_ops;
}

static struct chrdev dev = { .dev = DEV(GROUP_MAJOR, 0), .count = VFIO_GROUPS, .name = "vfio", .ops = &group_ops };

static void vfio_init(void)
{
	container_init();
	chrdev_register(&dev);
	if (attr_shared_dir(&attr_sys_root, "kernel/iommu_groups", &groups_dir))
		log_warn("vfio: no memory for /sys/kernel/iommu_groups");
}
PART_INIT(core, vfio_init);
