/* SPDX-License-Identifier: MIT
 *
 * A PCI function that a program has, or can have.
 */
#ifndef VFIO_PCI_PRIV_H
#define VFIO_PCI_PRIV_H

#include <task/mutex.h>
#include <virt/vfio.h>

#include "config.h"

struct pci_dev;
struct vfio_pci;

struct vector { /* argument of an interrupt's handler */
	struct vfio_pci *owner;
	unsigned index, n;
};

struct vfio_pci {
	struct vfio_device vfio;
	struct pci_dev *pci;
	struct mutex lock;          /* RANK_VFIO_DEVICE */
	struct vpci config;         /* lock */
	unsigned nr_listened;       /* lock: MSI-X entries in use */
	void *bar[6];               /* constant while it is open */
	u64 table_first, table_end; /* the rest: constant. Of the MSI-X table, in bytes of its BAR */
	unsigned table_bar;
	struct vfio_area area[6][2];
	struct vector vector[VFIO_VECTORS], message;
};

#endif
