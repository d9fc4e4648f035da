/* SPDX-License-Identifier: MIT
 *
 * The configuration space that the program is shown which has a function. Pure; the owner serialises.
 */
#ifndef VFIO_PCI_CONFIG_H
#define VFIO_PCI_CONFIG_H

#include <device/pci.h>
#include <lib/types.h>
#include <virt/vpci.h>

struct shown {                     /* what it is made of */
	u8 real[VPCI_BYTES];       /* the function's own */
	const struct pci_bar *bar; /* six */
	bool has_msi, has_msix;    /* interrupts of this kind are offered */
};

void config_make(struct vpci *out, const struct shown *s);
/* A write to [at, at + n) asks for a reset: true once. */
bool config_wants_reset(struct vpci *p, unsigned at, size_t n);
bool config_is_master(const struct vpci *p);

#endif
