/* SPDX-License-Identifier: MIT
 *
 * Between the files of device: the folders of the machine's nodes, which those of CPUs and of memory are linked to; PCI
 * functions that come and go.
 */
#ifndef DEVICE_PRIV_H
#define DEVICE_PRIV_H

#include <arch/numa.h>
#include <core/attr.h>
#include <device/pci.h>
#include <task/mutex.h>

int node_dirs_make(struct attr_dir *system);
/* dir/nodeM -> the node's folder, and in it name -> dir. name must stay. */
int node_link(unsigned node, struct attr_dir *dir, const char *name);

/* pci.c */
extern struct mutex pci_lock;                       /* which functions there are, and which drivers have them */
extern struct list pci_devices;                     /* pci_lock */
void pci_scan_slot(u8 bus, u8 slot);                /* what is there goes into the list */
void pci_messages_restore(const struct pci_dev *d); /* after a reset */
/* pci_bind.c */
#define CLASS_BRIDGE 0x0604
void pci_bind_init(void);                       /* at boot: the registered drivers' folders */
void pci_probe(struct pci_dev *d);              /* looks for a driver */
int __must_check pci_unbind(struct pci_dev *d); /* 0, or its driver cannot let go: -EBUSY */
int __must_check pci_files_add(struct pci_dev *d);
void pci_files_remove(struct pci_dev *d); /* d is freed with its last reader */
/* hotplug.c */
void pci_hotplug_init(void); /* at boot, behind the scan */

#endif
