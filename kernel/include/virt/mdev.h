/* SPDX-License-Identifier: MIT
 *
 * Mediated devices: parts of a device that look like whole devices. A driver registers a parent with types; who writes
 * a UUID to a type's `create` gets a device under that name, which is a VFIO device. This part knows no kind of device.
 *
 *   /sys/class/mdev_bus/PARENT/mdev_supported_types/DRIVER-TYPE/{create,available_instances,device_api,name,description,devices}
 *   /sys/bus/mdev/devices/UUID/{remove,remove_on_close,mdev_type,iommu_group,driver,subsystem}
 *
 * remove: -EBUSY while its file is open. remove_on_close is ours: after 1 is written, the device goes when its file is
 * closed next, so that whoever made it for one machine leaves nothing behind, however it ends.
 *
 * Threading: ops are serialised (rank MDEV is held); they may sleep. Ownership: parents and types live for ever; a
 * struct mdev belongs to this part. priv is memory of kmalloc's that create sets; it is freed here, when the last
 * reader of the device's folder has gone.
 */
#ifndef VIRT_MDEV_H
#define VIRT_MDEV_H

#include <core/attr.h>
#include <task/work.h>
#include <virt/vfio.h>

#define MDEV_UUID 36

struct mdev;
struct mdev_parent;

struct mdev_type {
	const char *name;        /* "1": the folder is DRIVER-1 */
	const char *pretty;      /* for people */
	const char *description; /* lines */
	ulong data;              /* the driver's */

	/* this part's */
	struct mdev_parent *parent;
	struct attr_dir dir, devices;
	char folder[40];
};

struct mdev_ops {
	/* Fills m->vfio (ops, regions, interrupts; name and closed are set) and m->priv. -ENOSPC: none left. */
	int (*create)(struct mdev *m);
	void (*remove)(struct mdev *m);
	unsigned (*available)(struct mdev_parent *p, const struct mdev_type *t);
};

struct mdev_parent {
	const char *driver, *name; /* "ostrom_vgpu", "gpu0" */
	const struct mdev_ops *ops;
	struct mdev_type *types;
	unsigned nr_types;
	void *owner;
	const struct attr *const
		*attrs; /* of each device, in a folder `vendor`; NULL: none. The folder's owner is the mdev */

	/* this part's */
	struct attr_dir dir, type_dir;
	struct attr_dir *driver_dir;
};

struct mdev {
	struct vfio_device vfio;
	struct mdev_parent *parent;
	struct mdev_type *type;
	void *priv;

	/* this part's */
	char uuid[MDEV_UUID + 1];
	struct attr_dir dir, vendor;
	struct list link;
	bool on_bus, remove_on_close;
	struct work work;
};

int __must_check mdev_register(struct mdev_parent *p); /* at boot, for ever */

#endif
