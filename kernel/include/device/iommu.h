/* SPDX-License-Identifier: MIT
 *
 * The machine's IOMMU: which memory a PCI function reaches by itself. There is one for all functions, or none.
 *
 *      bypass       as from boot on: all of memory, at its own addresses. The kernel's own drivers work so
 *      attached     what the domain maps, at the domain's addresses; anything else is refused, and reported in the log
 *      shut out     attached to no domain: nothing
 *
 * A function is told from others by its bus, slot and number; iommu_is_alone says whether that is enough.
 *
 * Threading: the calls of one domain are the caller's to serialise, and so are attach and bypass of one function; all
 * may sleep. Ownership: a domain keeps no page: who maps one holds it until unmap has returned.
 */
#ifndef DEVICE_IOMMU_H
#define DEVICE_IOMMU_H

#include <lib/types.h>

struct iommu_domain;
struct pci_dev;
struct tenant;

#define IOMMU_READ  BIT(0)
#define IOMMU_WRITE BIT(1)

struct iommu_ops {
	unsigned address_bits; /* a domain's addresses are below 1 << this */
	/* t (NULL: nobody) pays for the tables. -ENOMEM, -ENOSPC. */
	int (*create)(struct tenant *t, struct iommu_domain **out);
	void (*destroy)(struct iommu_domain *d); /* nothing is attached */
	/* One page, where none is mapped. -ENOMEM; -ERANGE: an address that has too many bits. */
	int (*map)(struct iommu_domain *d, u64 iova, paddr_t pa, unsigned rights);
	/* On return no access to the range is under way, nor will be. Whole pages; those that are not mapped do not
	 * matter. */
	void (*unmap)(struct iommu_domain *d, u64 iova, u64 bytes);
	paddr_t (*find)(struct iommu_domain *d, u64 iova); /* of a page's start; 0: not mapped */
	/* d NULL: shut out. On failure all is as before. -ENOMEM; -ENODEV: the IOMMU is not for this function. */
	int (*attach)(const struct pci_dev *p, struct iommu_domain *d);
	void (*bypass)(const struct pci_dev *p); /* which was attached */
};

const struct iommu_ops *iommu(void);              /* NULL: there is none */
void iommu_register(const struct iommu_ops *ops); /* at init level core */

/* Nothing else reaches memory in this function's name, or could be reached by it behind the IOMMU's back. */
bool iommu_is_alone(const struct pci_dev *p);

#endif
