/* SPDX-License-Identifier: MIT
 *
 * Problem: programs (mdevctl, libvirt, QEMU) make and find parts of devices by one layout of folders in sysfs, whatever
 * the device is.
 *
 * Idea: folders of the attribute tree. A type's `create` makes a folder named by the UUID below the parent, registers
 * the VFIO device that the driver filled in, and then links it from the bus, so that what is found there is whole.
 *
 *      create: check UUID --> driver's create --> folder --> VFIO group --> links            (undone backwards)
 *      remove: group gone (EBUSY: in use) --> links --> folder --> driver's remove --> memory with the last reader
 *
 * Contract: mdev.h. Layout and errors as Linux's Documentation/driver-api/vfio-mediated-device.rst and 4.10's mdev core
 * have them.
 *
 * Locks: mdev_lock (RANK_MDEV) for everything.
 */
#include <alloc/slab.h>
#include <core/init.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/printf.h>
#include <lib/string.h>
#include <task/mutex.h>
#include <virt/mdev.h>

static struct mutex mdev_lock = MUTEX_INIT(mdev_lock, RANK_MDEV);
static LIST(mdevs);                                    /* mdev_lock */
static struct attr_dir *bus, *bus_devices, *class_dir; /* constant once a parent is there */

/* ---- names ---- */

/* Exactly a UUID, with or without a newline; in lower case as Linux shows it. */
static int parse_uuid(const char *text, size_t len, char out[MDEV_UUID + 1])
{
	if (len != MDEV_UUID && !(len == MDEV_UUID + 1 && text[MDEV_UUID] == '\n'))
		return -EINVAL;
	for (unsigned i = 0; i < MDEV_UUID; i++) {
		char c = text[i];

		if (i == 8 || i == 13 || i == 18 || i == 23) {
			if (c != '-')
				return -EINVAL;
		} else if (c >= 'A' && c <= 'F') {
			c |= 0x20;
		} else if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))) {
			return -EINVAL;
		}
		out[i] = c;
	}
	out[MDEV_UUID] = '\0';
	return 0;
}

static struct mdev *find(const char *uuid)
{
	struct mdev *m;

	list_for_each_entry (m, &mdevs, link)
		if (!strcmp(m->uuid, uuid))
			return m;
	return NULL;
}

/* ---- a device ---- */

static int remove_device(struct mdev *m)
{
	int err = vfio_unregister(&m->vfio);

	if (err)
		return err;
	attr_link_remove(bus_devices, m->uuid);
	attr_link_remove(m->parent->driver_dir, m->uuid);
	attr_link_remove(&m->type->devices, m->uuid);
	list_del(&m->link);
	m->on_bus = false;
	m->parent->ops->remove(m);
	attr_dir_remove(&m->dir);
	return 0;
}

static int set_remove(struct attr_dir *dir, const struct attr *a, char *text, size_t len)
{
	struct mdev *m = dir->owner;
	u64 v;
	int err = str_to_u64(text, 10, &v);

	if (err || !v)
		return err;
	mutex_lock(&mdev_lock);
	err = m->on_bus ? remove_device(m) : -ENODEV;
	mutex_unlock(&mdev_lock);
	return err;
}

static int show_on_close(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	strbuf_add(out, "%d\n", READ_ONCE(((struct mdev *)dir->owner)->remove_on_close));
	return 0;
}

static int set_on_close(struct attr_dir *dir, const struct attr *a, char *text, size_t len)
{
	u64 v;
	int err = str_to_u64(text, 10, &v);

	if (err || v > 1)
		return -EINVAL;
	WRITE_ONCE(((struct mdev *)dir->owner)->remove_on_close, v);
	return 0;
}

static const struct attr remove_attr = { .name = "remove", .mode = 0200, .set = set_remove };
static const struct attr on_close_attr = {
	.name = "remove_on_close", .mode = 0644, .show = show_on_close, .set = set_on_close
};
static const struct attr *const device_attrs[] = { &remove_attr, &on_close_attr, NULL };

static void device_gone(struct attr_dir *d)
{
	kfree(((struct mdev *)d->owner)->priv);
	kfree(d->owner);
}

static const struct attr_dir_ops device_dir_ops = { .release = device_gone };

static void remove_later(struct work *w)
{
	struct mdev *m = container_of(w, struct mdev, work);

	mutex_lock(&mdev_lock);
	if (m->on_bus && remove_device(m))
		log_debug("mdev: %s was opened again", m->uuid);
	mutex_unlock(&mdev_lock);
	attr_dir_put(&m->dir);
}

static void closed(struct vfio_device *d)
{
	struct mdev *m = container_of(d, struct mdev, vfio);

	if (!READ_ONCE(m->remove_on_close))
		return;
	attr_dir_get(&m->dir);
	if (!work_queue(&m->work))
		attr_dir_put(&m->dir);
}

/* ---- making one ---- */

static int add_links(struct mdev *m)
{
	int err = attr_link_add(&m->dir, "mdev_type", &m->type->dir);

	if (!err)
		err = attr_link_add(&m->dir, "driver", m->parent->driver_dir);
	if (!err)
		err = attr_link_add(&m->dir, "subsystem", bus);
	if (!err)
		err = attr_link_add(&m->type->devices, m->uuid, &m->dir);
	if (!err)
		err = attr_link_add(m->parent->driver_dir, m->uuid, &m->dir);
	return err ? err : attr_link_add(bus_devices, m->uuid, &m->dir);
}

static void vendor_gone(struct attr_dir *d)
{
	attr_dir_put(&((struct mdev *)d->owner)->dir);
}

static const struct attr_dir_ops vendor_ops = { .release = vendor_gone };

static int add_vendor_folder(struct mdev *m)
{
	int err = m->parent->attrs ? attr_dir_init(&m->vendor, &m->dir, "vendor", m->parent->attrs, &vendor_ops, m) : 0;

	if (!err && m->parent->attrs)
		attr_dir_get(&m->dir);
	return err;
}

/* On failure m is gone. */
static int add_device(struct mdev *m)
{
	int err = m->parent->ops->create(m);

	if (!err) {
		err = attr_dir_init(&m->dir, &m->parent->dir, m->uuid, device_attrs, &device_dir_ops, m);
		if (err)
			m->parent->ops->remove(m);
	}
	if (err) {
		kfree(m->priv);
		kfree(m);
		return err;
	}
	err = add_vendor_folder(m);
	if (!err)
		err = vfio_register(&m->vfio, &m->dir);
	if (err) {
		m->parent->ops->remove(m);
		attr_dir_remove(&m->dir); /* frees both */
		return err;
	}
	list_add_tail(&m->link, &mdevs);
	m->on_bus = true;
	err = add_links(m);
	if (err)
		ensure(!remove_device(m)); /* nobody could have opened it: its name was never shown */
	return err;
}

static int set_create(struct attr_dir *dir, const struct attr *a, char *text, size_t len)
{
	struct mdev_type *t = dir->owner;
	char uuid[MDEV_UUID + 1];
	struct mdev *m;
	int err = parse_uuid(text, len, uuid);

	if (err)
		return err;
	m = kzalloc(sizeof(*m), 0);
	if (!m)
		return -ENOMEM;
	memcpy(m->uuid, uuid, sizeof(uuid));
	m->type = t;
	m->parent = t->parent;
	m->vfio.name = m->uuid;
	m->vfio.closed = closed;
	work_init(&m->work, remove_later);
	mutex_lock(&mdev_lock);
	if (find(uuid)) {
		kfree(m);
		err = -EEXIST;
	} else {
		err = add_device(m);
	}
	mutex_unlock(&mdev_lock);
	return err;
}

/* ---- types ---- */

static int show_available(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	struct mdev_type *t = dir->owner;

	mutex_lock(&mdev_lock);
	strbuf_add(out, "%u\n", t->parent->ops->available(t->parent, t));
	mutex_unlock(&mdev_lock);
	return 0;
}

static int show_api(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	strbuf_add(out, "vfio-pci\n");
	return 0;
}

static int show_name(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	strbuf_add(out, "%s\n", ((struct mdev_type *)dir->owner)->pretty);
	return 0;
}

static int show_description(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	strbuf_add(out, "%s\n", ((struct mdev_type *)dir->owner)->description);
	return 0;
}

static const struct attr create_attr = { .name = "create", .mode = 0200, .set = set_create };
static const struct attr available_attr = { .name = "available_instances", .mode = 0444, .show = show_available };
static const struct attr api_attr = { .name = "device_api", .mode = 0444, .show = show_api };
static const struct attr name_attr = { .name = "name", .mode = 0444, .show = show_name };
static const struct attr description_attr = { .name = "description", .mode = 0444, .show = show_description };
static const struct attr *const type_attrs[] = { &create_attr, &available_attr,   &api_attr,
						 &name_attr,   &description_attr, NULL };

static int add_type(struct mdev_parent *p, struct mdev_type *t)
{
	int err;

	t->parent = p;
	str_format(t->folder, sizeof(t->folder), "%s-%s", p->driver, t->name);
	err = attr_dir_init(&t->dir, &p->type_dir, t->folder, type_attrs, NULL, t);
	return err ? err : attr_dir_init(&t->devices, &t->dir, "devices", NULL, NULL, t);
}

static int add_parent(struct mdev_parent *p)
{
	char path[64];
	struct attr_dir *above;
	int err;

	str_format(path, sizeof(path), "devices/virtual/%s", p->driver);
	err = attr_shared_dir(&attr_sys_root, path, &above);
	if (!err)
		err = attr_dir_init(&p->dir, above, p->name, NULL, NULL, p);
	if (!err)
		err = attr_dir_init(&p->type_dir, &p->dir, "mdev_supported_types", NULL, NULL, p);
	for (unsigned i = 0; i < p->nr_types && !err; i++)
		err = add_type(p, &p->types[i]);
	str_format(path, sizeof(path), "bus/mdev/drivers/%s", p->driver);
	if (!err)
		err = attr_shared_dir(&attr_sys_root, path, &p->driver_dir);
	return err ? err : attr_link_add(class_dir, p->name, &p->dir);
}

int mdev_register(struct mdev_parent *p)
{
	int err = bus ? 0 : attr_shared_dir(&attr_sys_root, "bus/mdev", &bus);

	if (!err && !bus_devices)
		err = attr_shared_dir(&attr_sys_root, "bus/mdev/devices", &bus_devices);
	if (!err && !class_dir)
		err = attr_shared_dir(&attr_sys_root, "class/mdev_bus", &class_dir);
	return err ? err : add_parent(p);
}
