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

int node_dirs_make(struct attr_dir *system);
/* dir/nodeM -> the node's folder, and in it name -> dir. name must stay. */
int node_link(unsigned node, struct attr_dir *dir, const char *name);

/* pci.c */
extern struct list pci_devices;      /* after boot under hotplug.c's lock */
void pci_scan_slot(u8 bus, u8 slot); /* what is there goes into the list */
void pci_probe(struct pci_dev *d);   /* looks for a driver */
/* hotplug.c */
void pci_hotplug_init(void); /* at boot, behind the scan */

#endif
