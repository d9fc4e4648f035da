/* SPDX-License-Identifier: MIT
 *
 * What the files of this part share. Source: linux/vfio.h, and Documentation/driver-api/vfio.rst for the order of
 * calls.
 *
 *   container   an address space: groups attached to it, and the map from iova to the memory of whoever called MAP_DMA
 *     group     one device here; its file may be open once
 *       device  any number of files, after its group has a container with an IOMMU type
 *
 * Locks: V vfio_lock (RANK_SUBSYS), all configuration; M container->map_lock (RANK_VFIO_MAP), held for reading while
 * memory is looked up; I constant.
 */
#ifndef VFIO_PRIV_H
#define VFIO_PRIV_H

#include <core/attr.h>
#include <lib/atomic.h>
#include <lib/rbtree.h>
#include <task/mutex.h>
#include <virt/vfio.h>

#define VFIO_GROUPS 256
#define VFIO_MAPS   65535 /* of one container, as Linux's dma_entry_limit */

struct iommu_domain;
struct mm;

struct dma_map {
	struct rb_node node;
	u64 iova, bytes;
	ulong address;
	bool read, write;
	struct mm *mm;   /* held */
	u64 limit_pages; /* what may be pinned: RLIMIT_MEMLOCK when it was mapped */
};

struct vfio_container {
	struct list groups;          /* V */
	unsigned type;               /* V: VFIO_TYPE1_IOMMU or v2, 0: none yet */
	struct iommu_domain *domain; /* V: holds all maps; NULL: no device here reaches memory by itself */
	paddr_t *batch;              /* V: with the domain: room for the pages that are being unmapped */
	struct rwlock map_lock;
	struct rb_root maps; /* M */
	unsigned nr_maps;    /* M */
	atomic64_t pinned;   /* pages */
};

struct vfio_group {
	refcount_t refs;                  /* its registration, its file, its folders */
	unsigned id;                      /* I */
	struct vfio_device *device;       /* V: NULL once it is unregistered */
	struct file *file;                /* V: who has it open, not counted */
	struct vfio_container *container; /* V */
	struct file *container_file;      /* V: counted */
	struct list link;                 /* V: container->groups */
	struct attr_dir dir, devices;     /* /sys/kernel/iommu_groups/N and its devices */
	struct attr_dir *link_dir;        /* V: the device's folder */
	char name[8];
};

extern struct mutex vfio_lock;

/* container.c */
void container_init(void);
struct vfio_container *container_of_file(struct file *f); /* NULL: not one */
void container_clear(struct vfio_container *c);           /* the last group leaves: no type, no maps */

/* domain.c: functions that reach memory by themselves. vfio_lock is held. */
/* The container has a domain with all its maps, if one of its devices wants that. On failure all is as before. */
int domain_need(struct vfio_container *c);
void domain_drop(struct vfio_container *c); /* no maps are left */
/* Of a container with a domain. All or nothing. */
int domain_map(struct vfio_container *c, const struct dma_map *m);
void domain_unmap(struct vfio_container *c, const struct dma_map *m);
bool domain_reaches(const struct vfio_container *c, u64 first, u64 last);
int domain_attach(struct vfio_device *d); /* before it is opened, and after it is closed */
void domain_detach(struct vfio_device *d);
/* The ranges that a device can reach; their number. */
#define DOMAIN_RANGES 2
unsigned domain_ranges(const struct vfio_container *c, struct vfio_iova_range out[DOMAIN_RANGES]);

/* group.c */
/* The device's file is gone; what the caller then drops without vfio_lock, or NULL. */
struct file *group_device_closed(struct vfio_group *g);

/* device.c */
int device_open(struct vfio_device *d, struct file **out);
void device_init(struct vfio_device *d);

/* irq.c */
int irq_info(struct vfio_device *d, void __user *arg);
int irq_set(struct vfio_device *d, void __user *arg);
void irq_release(struct vfio_device *d); /* nobody listens to anything any more */

/* ioevent.c */
int ioevent_set(struct vfio_device *d, void __user *arg);
void ioevents_release(struct vfio_device *d);

/* A chain of capabilities behind a structure of n bytes that user space gave argsz bytes for. */
struct vfio_caps {
	u8 bytes[1024];
	u32 n;    /* used */
	u32 last; /* offset of the last header */
	u32 base; /* bytes of the structure in front */
};
void *caps_add(struct vfio_caps *c, u16 id, u16 version, u32 bytes); /* the header's place; NULL: no room */

#endif
