/* SPDX-License-Identifier: MIT
 *
 * Problem: most functions shall have their driver at boot without a word, and an administrator shall be able to take
 * one away and give it to another driver.
 *
 * Idea: of the registered drivers the first one that fits is asked; it fits if the function's `only` names it, else if
 * one of its added ids does, else if its match says so. Everything that a person may do about it is a file.
 *
 *      /sys/bus/pci/devices/0000:00:03.0 --> /sys/devices/pci0000:00/0000:00:03.0/{driver_override,resource,...}
 *      /sys/bus/pci/drivers/NAME/{bind,unbind,new_id,remove_id}     /sys/bus/pci/drivers_probe
 *
 *      free --probe, bind--> driver's --unbind: remove op, -EBUSY: it cannot let go--> free
 *
 * Contract: device/pci.h; files, texts and errors as Linux's Documentation/ABI/testing/sysfs-bus-pci. All functions are
 * in one folder, also those behind a bridge.
 *
 * Locks: pci_lock, taken by the files' functions.
 */
#include <alloc/slab.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/printf.h>
#include <lib/string.h>
#include <linux/pci_regs.h>

#include "device_priv.h"

#define ANY 0xffff

struct pci_id {
	struct list link; /* pci_lock */
	u16 vendor, device, subsystem_vendor, subsystem;
	u32 class, mask;
};

static LIST(drivers);                                    /* pci_lock once buses are scanned */
static struct attr_dir *devices, *bus_devices, *bus_dir; /* constant from pci_bind_init on */

/* ---- which driver ---- */

static bool id_fits(const struct pci_id *i, const struct pci_dev *d)
{
	return (i->vendor == ANY || i->vendor == d->vendor) && (i->device == ANY || i->device == d->device) &&
	       (i->subsystem_vendor == ANY || i->subsystem_vendor == d->subsystem_vendor) &&
	       (i->subsystem == ANY || i->subsystem == d->subsystem) && !((i->class ^ d->class) & i->mask);
}

static bool is_named(const struct pci_driver *drv, const struct pci_dev *d)
{
	struct pci_id *i;

	if (d->only[0])
		return !strcmp(d->only, drv->name);
	list_for_each_entry (i, &drv->ids, link)
		if (id_fits(i, d))
			return true;
	return false;
}

static bool fits(const struct pci_driver *drv, const struct pci_dev *d)
{
	return is_named(drv, d) || (!d->only[0] && drv->match && drv->match(d));
}

static int bind(struct pci_driver *drv, struct pci_dev *d)
{
	int err = drv->probe(d);

	if (err) {
		pci_msix_disable(d);
		pci_msi_disable(d);
		log_warn("pci %s: %s: error %d", d->name, drv->name, -err);
		return err;
	}
	d->driver = drv;
	if (attr_link_add(&d->dir, "driver", &drv->dir) || attr_link_add(&drv->dir, d->name, &d->dir))
		log_warn("pci %s: no links in /sys", d->name);
	return 0;
}

void pci_probe(struct pci_dev *d)
{
	struct pci_driver *drv;

	assert(mutex_is_held(&pci_lock));
	list_for_each_entry (drv, &drivers, link)
		if (is_named(drv, d) && !bind(drv, d))
			return;
	list_for_each_entry (drv, &drivers, link)
		if (!is_named(drv, d) && fits(drv, d) && !bind(drv, d))
			return;
}

int pci_unbind(struct pci_dev *d)
{
	struct pci_driver *drv = (struct pci_driver *)d->driver;
	int err;

	assert(mutex_is_held(&pci_lock));
	if (!drv)
		return 0;
	err = drv->remove ? drv->remove(d) : -EBUSY;
	if (err)
		return err;
	attr_link_remove(&d->dir, "driver");
	attr_link_remove(&drv->dir, d->name);
	d->driver = NULL;
	d->priv = NULL;
	return 0;
}

/* ---- a function's files ---- */

enum { VENDOR, DEVICE, SUBSYSTEM_VENDOR, SUBSYSTEM_DEVICE, REVISION, CLASS };

static int show_id(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	const struct pci_dev *d = dir->owner;

	switch (a->data) {
	case VENDOR: strbuf_add(out, "0x%04x\n", d->vendor); break;
	case DEVICE: strbuf_add(out, "0x%04x\n", d->device); break;
	case SUBSYSTEM_VENDOR: strbuf_add(out, "0x%04x\n", d->subsystem_vendor); break;
	case SUBSYSTEM_DEVICE: strbuf_add(out, "0x%04x\n", d->subsystem); break;
	case REVISION: strbuf_add(out, "0x%02x\n", d->revision); break;
	default: strbuf_add(out, "0x%06x\n", d->class);
	}
	return 0;
}

static int show_uevent(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	const struct pci_dev *d = dir->owner;

	mutex_lock(&pci_lock);
	if (d->driver)
		strbuf_add(out, "DRIVER=%s\n", d->driver->name);
	mutex_unlock(&pci_lock);
	strbuf_add(out, "PCI_CLASS=%X\nPCI_ID=%04X:%04X\nPCI_SUBSYS_ID=%04X:%04X\nPCI_SLOT_NAME=%s\n", d->class,
		   d->vendor, d->device, d->subsystem_vendor, d->subsystem, d->name);
	return 0;
}

/* Start, end and Linux's flags of each register; the ROM has none here. */
static int show_resource(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	const struct pci_dev *d = dir->owner;

	for (unsigned i = 0; i < ARRAY_SIZE(d->bar) + 1; i++) {
		const struct pci_bar *b = i < ARRAY_SIZE(d->bar) ? &d->bar[i] : NULL;
		bool there = b && b->bytes;

		strbuf_add(out, "0x%016lx 0x%016lx 0x%016x\n", there ? b->base : 0UL,
			   there ? b->base + b->bytes - 1 : 0UL,
			   !there       ? 0
			   : b->is_port ? 0x40101
					: 0x40200);
	}
	return 0;
}

static int show_override(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	const struct pci_dev *d = dir->owner;

	mutex_lock(&pci_lock);
	strbuf_add(out, "%s\n", d->only[0] ? d->only : "(null)");
	mutex_unlock(&pci_lock);
	return 0;
}

static int set_override(struct attr_dir *dir, const struct attr *a, char *text, size_t len)
{
	struct pci_dev *d = dir->owner;
	const char *name = str_trim(text);

	if (strlen(name) >= sizeof(d->only))
		return -EINVAL;
	mutex_lock(&pci_lock);
	str_copy(d->only, name, sizeof(d->only));
	mutex_unlock(&pci_lock);
	return 0;
}

#define ID(id, text, value) static const struct attr id = { .name = text, .mode = 0444, .show = show_id, .data = value }
ID(vendor, "vendor", VENDOR);
ID(device, "device", DEVICE);
ID(subsystem_vendor, "subsystem_vendor", SUBSYSTEM_VENDOR);
ID(subsystem_device, "subsystem_device", SUBSYSTEM_DEVICE);
ID(revision, "revision", REVISION);
ID(class, "class", CLASS);
static const struct attr uevent = { .name = "uevent", .mode = 0444, .show = show_uevent };
static const struct attr resource = { .name = "resource", .mode = 0444, .show = show_resource };
static const struct attr override = {
	.name = "driver_override", .mode = 0644, .show = show_override, .set = set_override
};
static const struct attr *const device_files[] = { &vendor, &device,   &subsystem_vendor, &subsystem_device, &revision,
						   &class,  &resource, &uevent,           &override,         NULL };

static void device_gone(struct attr_dir *dir)
{
	kfree(dir->owner);
}

static const struct attr_dir_ops device_ops = { .release = device_gone };

int pci_files_add(struct pci_dev *d)
{
	int err;

	str_format(d->name, sizeof(d->name), "0000:%02x:%02x.%u", d->bus, d->slot, d->function);
	err = attr_dir_init(&d->dir, devices, d->name, device_files, &device_ops, d);
	if (err)
		return err;
	if (attr_link_add(&d->dir, "subsystem", bus_dir) || attr_link_add(bus_devices, d->name, &d->dir))
		log_warn("pci %s: no links in /sys", d->name);
	return 0;
}

void pci_files_remove(struct pci_dev *d)
{
	attr_link_remove(bus_devices, d->name);
	attr_dir_remove(&d->dir);
}

/* ---- a driver's files ---- */

static struct pci_dev *find(const char *name)
{
	struct pci_dev *d;

	list_for_each_entry (d, &pci_devices, link)
		if (!strcmp(d->name, name))
			return d;
	return NULL;
}

static int set_bind(struct attr_dir *dir, const struct attr *a, char *text, size_t len)
{
	struct pci_driver *drv = dir->owner;
	struct pci_dev *d;
	int err = -ENODEV;

	mutex_lock(&pci_lock);
	d = find(str_trim(text));
	if (d && fits(drv, d))
		err = d->driver ? -EBUSY : bind(drv, d);
	mutex_unlock(&pci_lock);
	return err;
}

static int set_unbind(struct attr_dir *dir, const struct attr *a, char *text, size_t len)
{
	struct pci_dev *d;
	int err;

	mutex_lock(&pci_lock);
	d = find(str_trim(text));
	err = d && d->driver == dir->owner ? pci_unbind(d) : -ENODEV;
	mutex_unlock(&pci_lock);
	return err;
}

static int set_probe(struct attr_dir *dir, const struct attr *a, char *text, size_t len)
{
	struct pci_dev *d;

	mutex_lock(&pci_lock);
	d = find(str_trim(text));
	if (d && !d->driver)
		pci_probe(d);
	mutex_unlock(&pci_lock);
	return d ? 0 : -ENODEV;
}

/* Two, four or six numbers. */
static int parse_id(char *text, struct pci_id *out)
{
	u64 v[6] = { 0, 0, ANY, ANY, 0, 0 };
	char *at = str_trim(text), *word;
	unsigned n = 0;

	while ((word = str_next(&at, ' '))) {
		if (!*word)
			continue;
		if (n == ARRAY_SIZE(v) || str_to_u64(word, 16, &v[n]))
			return -EINVAL;
		n++;
	}
	if (n < 2 || v[0] > ANY || v[1] > ANY || v[2] > ANY || v[3] > ANY || v[4] > ~0U || v[5] > ~0U)
		return -EINVAL;
	*out = (struct pci_id){ .vendor = (u16)v[0],
				.device = (u16)v[1],
				.subsystem_vendor = (u16)v[2],
				.subsystem = (u16)v[3],
				.class = (u32)v[4],
				.mask = (u32)v[5] };
	return 0;
}

int pci_add_id(struct pci_driver *drv, char *text)
{
	struct pci_id parsed, *i;
	int err = parse_id(text, &parsed);

	if (err)
		return err;
	i = kzalloc(sizeof(*i), ALLOC_CHARGED);
	if (!i)
		return -ENOMEM;
	*i = parsed;
	list_add_tail(&i->link, &drv->ids);
	return 0;
}

/* Functions without a driver are asked at once. */
static int set_new_id(struct attr_dir *dir, const struct attr *a, char *text, size_t len)
{
	struct pci_driver *drv = dir->owner;
	struct pci_dev *d;
	int err;

	mutex_lock(&pci_lock);
	err = pci_add_id(drv, text);
	list_for_each_entry (d, &pci_devices, link)
		if (!err && !d->driver && is_named(drv, d))
			(void)!bind(drv, d);
	mutex_unlock(&pci_lock);
	return err;
}

static bool same(const struct pci_id *a, const struct pci_id *b)
{
	return a->vendor == b->vendor && a->device == b->device && a->subsystem_vendor == b->subsystem_vendor &&
	       a->subsystem == b->subsystem && a->class == b->class && a->mask == b->mask;
}

static int set_remove_id(struct attr_dir *dir, const struct attr *a, char *text, size_t len)
{
	struct pci_driver *drv = dir->owner;
	struct pci_id wanted, *i, *next;
	int err = parse_id(text, &wanted);

	if (err)
		return err;
	err = -ENODEV;
	mutex_lock(&pci_lock);
	list_for_each_entry_safe (i, next, &drv->ids, link)
		if (same(i, &wanted)) {
			list_del(&i->link);
			kfree(i);
			err = 0;
		}
	mutex_unlock(&pci_lock);
	return err;
}

#define ACTION(id, text, fn) static const struct attr id = { .name = text, .mode = 0200, .set = fn }
ACTION(bind_file, "bind", set_bind);
ACTION(unbind_file, "unbind", set_unbind);
ACTION(new_id_file, "new_id", set_new_id);
ACTION(remove_id_file, "remove_id", set_remove_id);
ACTION(probe_file, "drivers_probe", set_probe);
static const struct attr *const driver_files[] = { &bind_file, &unbind_file, &new_id_file, &remove_id_file, NULL };
static const struct attr *const bus_files[] = { &probe_file, NULL };

void pci_register(struct pci_driver *drv)
{
	list_init(&drv->ids);
	list_add_tail(&drv->link, &drivers);
}

void pci_bind_init(void)
{
	struct attr_dir *driver_dirs = NULL;
	struct pci_driver *drv;
	int err = attr_folder_add(&attr_sys_root, "bus/pci", bus_files);

	if (!err)
		err = attr_shared_dir(&attr_sys_root, "bus/pci", &bus_dir);
	if (!err)
		err = attr_shared_dir(&attr_sys_root, "bus/pci/devices", &bus_devices);
	if (!err)
		err = attr_shared_dir(&attr_sys_root, "bus/pci/drivers", &driver_dirs);
	if (!err)
		err = attr_shared_dir(&attr_sys_root, "devices/pci0000:00", &devices);
	list_for_each_entry (drv, &drivers, link)
		if (!err)
			err = attr_dir_init(&drv->dir, driver_dirs, drv->name, driver_files, NULL, drv);
	ensure(!err); /* boot has memory for a dozen folders */
}
