/* SPDX-License-Identifier: MIT
 *
 * Problem: a function can be given away only if the IOMMU tells it from every other one.
 *
 * Idea: a requester is known by bus, slot and number. That says too little in two cases: functions of one slot may pass
 * requests to each other inside their chip, and so may the ports of a switch; and behind a bridge to conventional PCI
 * all requests bear the bridge's name. So a function is alone if its slot has no other and is on a root bus or right
 * behind a root port of PCI Express, which has only one slot. Ports that promise to send all upwards (access control
 * services) are not asked.
 *
 * Contract: device/iommu.h. Source: PCI Express Base Specification 4.0, 2.2.6.2 (requester IDs), 6.12 (ACS).
 *
 * Locks: pci_lock for the list of functions; the ops are set once at boot.
 */
#include <core/log.h>
#include <device/iommu.h>
#include <linux/pci_regs.h>

#include "device_priv.h"

static const struct iommu_ops *registered;

const struct iommu_ops *iommu(void)
{
	return registered;
}

void iommu_register(const struct iommu_ops *ops)
{
	registered = ops;
}

static bool is_root_port(const struct pci_dev *port)
{
	u8 cap = pci_find_cap(port, PCI_CAP_ID_EXP, 0);

	return cap && (pci_read16(port, cap + PCI_EXP_FLAGS) & PCI_EXP_FLAGS_TYPE) >> 4 == PCI_EXP_TYPE_ROOT_PORT;
}

/* The port whose bus this is, NULL: none (a root bus). */
static const struct pci_dev *port_of(u8 bus)
{
	struct pci_dev *d;

	list_for_each_entry (d, &pci_devices, link)
		if (d->class >> 8 == CLASS_BRIDGE && bus && pci_read8(d, PCI_SECONDARY_BUS) == bus)
			return d;
	return NULL;
}

bool iommu_is_alone(const struct pci_dev *p)
{
	const struct pci_dev *port;
	struct pci_dev *d;

	assert(mutex_is_held(&pci_lock));
	list_for_each_entry (d, &pci_devices, link)
		if (d != p && d->bus == p->bus && d->slot == p->slot)
			return false;
	port = port_of(p->bus);
	return !port || is_root_port(port);
}
