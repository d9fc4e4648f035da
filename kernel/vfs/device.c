/* SPDX-License-Identifier: MIT
 *
 * Problem: drivers bring character devices by number, and want names for them under /dev, before and after devtmpfs is
 * there.
 *
 * Idea: a short list of number ranges, searched when a device is opened; and a list of names that a sink (devtmpfs)
 * gets as a whole when it comes and one by one afterwards.
 *
 * Contract: vfs/device.h. Devices stay registered for ever.
 *
 * Locks: device_lock (RANK_DEVICE) for both lists; the sink runs without it.
 */
#include <alloc/slab.h>
#include <lib/err.h>
#include <lib/printf.h>
#include <lib/string.h>
#include <vfs/device.h>

struct devnode {
	struct list link;
	u16 mode;
	u32 dev;
	char name[];
};

static LIST(chrdevs);
static LIST(devnodes);
static struct mutex device_lock = MUTEX_INIT(device_lock, RANK_DEVICE);
static const struct devnode_sink *sink;

void chrdev_register(struct chrdev *c)
{
	mutex_lock(&device_lock);
	list_add_tail(&c->link, &chrdevs);
	mutex_unlock(&device_lock);
}

static struct chrdev *find(u32 dev)
{
	struct chrdev *c, *found = NULL;

	mutex_lock(&device_lock);
	list_for_each_entry (c, &chrdevs, link)
		if (DEV_MAJOR(c->dev) == DEV_MAJOR(dev) && DEV_MINOR(dev) - DEV_MINOR(c->dev) < c->count)
			found = c;
	mutex_unlock(&device_lock);
	return found;
}

const struct file_ops *chrdev_find(u32 dev)
{
	struct chrdev *c = find(dev);

	return c ? c->ops : NULL;
}

int chrdev_show(struct strbuf *out)
{
	struct chrdev *c;

	strbuf_add(out, "Character devices:\n");
	mutex_lock(&device_lock);
	list_for_each_entry (c, &chrdevs, link)
		strbuf_add(out, "%3u %s\n", DEV_MAJOR(c->dev), c->name);
	mutex_unlock(&device_lock);
	strbuf_add(out, "\nBlock devices:\n");
	return 0;
}

int devnode_add(const char *name, u16 mode, u32 dev)
{
	size_t len = strlen(name) + 1;
	struct devnode *n = kmalloc(sizeof(*n) + len, 0);
	const struct devnode_sink *s;

	if (!n)
		return -ENOMEM;
	n->mode = mode;
	n->dev = dev;
	memcpy(n->name, name, len);
	mutex_lock(&device_lock);
	list_add_tail(&n->link, &devnodes);
	s = sink;
	mutex_unlock(&device_lock);
	if (s)
		s->add(name, mode, dev);
	return 0;
}

void devnode_remove(const char *name)
{
	const struct devnode_sink *s;
	struct devnode *n, *next;

	mutex_lock(&device_lock);
	list_for_each_entry_safe (n, next, &devnodes, link) {
		if (strcmp(n->name, name))
			continue;
		list_del(&n->link);
		kfree(n);
	}
	s = sink;
	mutex_unlock(&device_lock);
	if (s)
		s->remove(name);
}

/* Runs at boot, before drivers could add names at the same time. */
void devnode_set_sink(const struct devnode_sink *s)
{
	struct devnode *n;

	mutex_lock(&device_lock);
	sink = s;
	mutex_unlock(&device_lock);
	list_for_each_entry (n, &devnodes, link)
		s->add(n->name, n->mode, n->dev);
}
