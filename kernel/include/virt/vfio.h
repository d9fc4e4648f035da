/* SPDX-License-Identifier: MIT
 *
 * VFIO: devices that a program drives itself, usually to give them to a virtual machine. A driver registers a device
 * with its regions and interrupts; programs find it by its group under /dev/vfio, attach the group to a container (an
 * address space that they fill with MAP_DMA), and get the device's file.
 *
 *   register --> group file opened --> container attached --> IOMMU type set --> device file (open op) --> close op
 *
 * The interface to programs is linux/vfio.h. Devices are of two kinds. Most have no hardware below them that reads
 * memory by itself: the driver reaches the program's memory through the calls below, by the device's addresses (iova).
 * A device that names a PCI function does: while its file is open that function is attached to an IOMMU domain that
 * holds what the container maps, and all of that is pinned; else it is shut out.
 *
 * Threading: ops may sleep; open, close, reset and unmap are serialised with each other (vfio's lock is held, rank
 * SUBSYS), the others are not: a driver has a lock of its own, of RANK_VFIO_DEVICE. vfio_signal works in any context.
 * Ownership: the driver owns struct vfio_device; it is in use from register to a successful unregister.
 */
#ifndef VIRT_VFIO_H
#define VIRT_VFIO_H

#include <core/attr.h>
#include <core/spin.h>
#include <linux/vfio.h>
#include <mm/mapping.h>

struct file;
struct page;
struct strbuf;
struct vfio_device;
struct vfio_group;
struct vfio_unmask;

#define VFIO_REGIONS  10 /* PCI's nine, and one of the driver's own */
#define VFIO_VECTORS  64 /* of one interrupt index */
#define VFIO_NAME_MAX 40

struct vfio_area {
	u64 offset, bytes;
};

struct vfio_region {
	u64 bytes;                    /* 0: not there */
	u32 flags;                    /* VFIO_REGION_INFO_FLAG_READ, _WRITE, _MMAP */
	bool is_bulk;                 /* accesses of any length up to a page; else 1, 2, 4 or 8 bytes, aligned */
	const struct vfio_area *area; /* what of it can be mapped; NULL: all, if it has _MMAP */
	unsigned nr_areas;
	u32 type, subtype; /* of a region behind PCI's; type 0: none given */
};

struct pci_dev;

struct vfio_device_ops {
	int (*open)(struct vfio_device *d);   /* its file is made; may refuse */
	void (*close)(struct vfio_device *d); /* its file is gone: no interrupt, no access to memory any more */
	int (*reset)(struct vfio_device *d);
	/* Within the region's size. -EIO etc. end the program's read or write. */
	int (*read)(struct vfio_device *d, unsigned region, u64 offset, void *buf, size_t n);
	int (*write)(struct vfio_device *d, unsigned region, u64 offset, const void *buf, size_t n);
	/* A write that VFIO_DEVICE_IOEVENTFD stands for; any context. False, or NULL: write is called, later. */
	bool (*doorbell)(struct vfio_device *d, unsigned region, u64 offset, u64 value);
	/* A program is about to map some of a region that can be. NULL: nothing to prepare. */
	int (*map)(struct vfio_device *d, unsigned region);
	/* A page of a region that has been mapped, with a reference; its owner field is &d->mapping. In a page fault:
	 * the driver's lock cannot be taken. */
	int (*page)(struct vfio_device *d, unsigned region, u64 index, struct page **out);
	/* The same of device memory, whose regions then all are: its frame. */
	int (*frame)(struct vfio_device *d, unsigned region, u64 index, pfn_t *out);
	/* Somebody listens to this vector from now on, or no longer. May refuse the first. NULL: no matter. */
	int (*listen)(struct vfio_device *d, unsigned index, unsigned vector, bool on);
	/* [iova, iova + bytes) is about to vanish: every pin in it must be given back. NULL: the driver never pins. */
	void (*unmap)(struct vfio_device *d, u64 iova, u64 bytes);
	/* Others (GFX planes, features). -ENOTTY: not one of these. */
	long (*ioctl)(struct vfio_device *d, unsigned cmd, void __user *arg);
};

struct vfio_vector {
	struct file *event; /* counted; NULL: nobody listens */
};

struct vfio_irq {
	u32 count, flags; /* the driver's; flags VFIO_IRQ_INFO_* */
	struct vfio_vector *vector;
};

struct vfio_device {
	/* the driver's, before registration */
	const struct vfio_device_ops *ops;
	const char *name; /* for GROUP_GET_DEVICE_FD */
	void *owner;
	const struct pci_dev *function; /* that reaches memory by itself; NULL: there is none. There is an IOMMU then */
	u32 flags;                      /* VFIO_DEVICE_FLAGS_* */
	void (*closed)(struct vfio_device *d); /* after the close op; may not sleep. NULL: nobody asks */
	struct vfio_region region[VFIO_REGIONS];
	unsigned nr_regions;
	struct vfio_irq irq[VFIO_PCI_NUM_IRQS];

	/* vfio's */
	struct vfio_group *group;
	struct file *file; /* NULL: not open. vfio's lock */
	struct mapping mapping;
	struct spinlock irq_lock;   /* RANK_DRIVER: vectors, line */
	bool line, masked;          /* INTx: the device asserts it; nobody wants to hear of it */
	struct vfio_unmask *unmask; /* vfio's lock */
	struct list ioevents;       /* vfio's lock */
};

/* Makes the group's file appear. link_dir: the device's folder in sysfs, which gets an iommu_group link. -ENOMEM. */
int __must_check vfio_register(struct vfio_device *d, struct attr_dir *link_dir);
/* -EBUSY: its file is open; else nobody can reach it any more. */
int __must_check vfio_unregister(struct vfio_device *d);
bool vfio_file_is_group(struct file *f); /* for KVM's VFIO device */

/* The interrupt happens: MSI, MSI-X, REQ by vector; INTx by its line. */
void vfio_signal(struct vfio_device *d, unsigned index, unsigned vector);
void vfio_set_line(struct vfio_device *d, bool level);

/* Copies from and to the program's memory. -EFAULT: not (all) mapped, or without that right. While the device is open;
 * the driver's lock may be held. */
int __must_check vfio_dma_read(struct vfio_device *d, u64 iova, void *buf, size_t n);
int __must_check vfio_dma_write(struct vfio_device *d, u64 iova, const void *buf, size_t n);
/* Pins n whole pages from iova on. All or nothing. They are charged to whom the memory belongs, and count against
 * RLIMIT_MEMLOCK of who mapped it (-ENOMEM). */
int __must_check vfio_pin(struct vfio_device *d, u64 iova, unsigned n, bool write, struct page **pages);
void vfio_unpin(struct vfio_device *d, struct page **pages, unsigned n);

#endif
