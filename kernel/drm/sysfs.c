/* SPDX-License-Identifier: MIT
 *
 * Problem: libdrm does not ask a node what it is; it reads sysfs, from the number of the node to the PCI function.
 *
 * Idea: the folders that it walks:
 *
 *	/sys/devices/pci0000:00/0000:00:02.0     device's (or platform/NAME)
 *	                          /virtioN/{uevent,subsystem}
 *	                             /drm/{card0,renderD128}/{dev,uevent,device,subsystem}
 *	/sys/class/drm/card0, /sys/dev/char/226:0                                             links there
 *
 * Contract: what libdrm 2.4.114 reads (xf86drm.c): drmGetDevice2, drmParsePciBusInfo, drmNodeIsDRM.
 *
 * Locks: none; made once, at boot.
 */
#include <alloc/slab.h>
#include <core/log.h>
#include <device/pci.h>
#include <lib/err.h>
#include <lib/printf.h>
#include <lib/string.h>
#include <vfs/device.h>
#include "drm_priv.h"

struct node { /* card0 or renderD128 */
	struct attr_dir dir;
	char name[24], number[16];
	u32 dev;
};

struct folders {
	struct attr_dir virtio, drm;
	char virtio_name[16];
	struct node nodes[2];
};

static const struct pci_dev *pci_of(const struct drm_dev *d)
{
	return d->gpu->parent;
}

void drm_sysfs_bus_id(const struct drm_dev *d, char *out, size_t size)
{
	const struct pci_dev *p = pci_of(d);

	if (p)
		str_copy(out, p->name, size);
}

/* ---- nodes ---- */

static int show_dev(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	strbuf_add(out, "%s\n", ((struct node *)dir->owner)->number);
	return 0;
}

static int show_node_uevent(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	const struct node *n = dir->owner;

	strbuf_add(out, "MAJOR=%u\nMINOR=%u\nDEVNAME=dri/%s\nDEVTYPE=drm_minor\n", DEV_MAJOR(n->dev), DEV_MINOR(n->dev),
		   n->name);
	return 0;
}

static const struct attr dev_file = { .name = "dev", .mode = 0444, .show = show_dev };
static const struct attr node_uevent = { .name = "uevent", .mode = 0444, .show = show_node_uevent };
static const struct attr *const node_files[] = { &dev_file, &node_uevent, NULL };

static int show_virtio_uevent(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	strbuf_add(out, "DRIVER=virtio_gpu\nMODALIAS=virtio:d00000010v00001AF4\n");
	return 0;
}

static const struct attr virtio_uevent = { .name = "uevent", .mode = 0444, .show = show_virtio_uevent };
static const struct attr *const virtio_files[] = { &virtio_uevent, NULL };

/* A link in a shared folder, and the folder's own from the other side. */
static int link_in(const char *folder, const char *name, struct attr_dir *target)
{
	struct attr_dir *dir;
	int err = attr_shared_dir(&attr_sys_root, folder, &dir);

	return err ? err : attr_link_add(dir, name, target);
}

static int link_subsystem(struct attr_dir *d, const char *folder)
{
	struct attr_dir *dir;
	int err = attr_shared_dir(&attr_sys_root, folder, &dir);

	return err ? err : attr_link_add(d, "subsystem", dir);
}

static int add_node(struct folders *f, struct node *n, struct attr_dir *device)
{
	int err;

	str_format(n->number, sizeof(n->number), "%u:%u", DEV_MAJOR(n->dev), DEV_MINOR(n->dev));
	err = attr_dir_init(&n->dir, &f->drm, n->name, node_files, NULL, n);
	if (!err)
		err = link_subsystem(&n->dir, "class/drm");
	if (!err)
		err = attr_link_add(&n->dir, "device", device);
	if (!err)
		err = link_in("class/drm", n->name, &n->dir);
	return err ? err : link_in("dev/char", n->number, &n->dir);
}

/* The folder of the device that the nodes belong to: a virtio device on a PCI function, or one of the platform. */
static int add_device(struct drm_dev *d, struct folders *f)
{
	const struct pci_dev *p = pci_of(d);
	struct attr_dir *above = p ? pci_dir(p) : NULL;
	int err = p ? 0 : attr_shared_dir(&attr_sys_root, "devices/platform", &above);

	str_format(f->virtio_name, sizeof(f->virtio_name), p ? "virtio%u" : "gpu.%u", d->index);
	if (!err)
		err = attr_dir_init(&f->virtio, above, f->virtio_name, virtio_files, NULL, f);
	return err ? err : link_subsystem(&f->virtio, p ? "bus/virtio" : "bus/platform");
}

int drm_sysfs_add(struct drm_dev *d)
{
	struct folders *f = kzalloc(sizeof(*f), ALLOC_KERNEL);
	int err = f ? add_device(d, f) : -ENOMEM;

	if (err)
		return err; /* boot: what is there already stays */
	f->nodes[0].dev = DEV(DRM_MAJOR, d->index);
	str_format(f->nodes[0].name, sizeof(f->nodes[0].name), "card%u", d->index);
	f->nodes[1].dev = DEV(DRM_MAJOR, DRM_FIRST_RENDER + d->index);
	str_format(f->nodes[1].name, sizeof(f->nodes[1].name), "renderD%u", DRM_FIRST_RENDER + d->index);
	err = attr_dir_init(&f->drm, &f->virtio, "drm", NULL, NULL, f);
	for (u32 i = 0; i < 2 && !err; i++)
		err = add_node(f, &f->nodes[i], &f->virtio);
	d->sysfs = &f->virtio;
	return err;
}
