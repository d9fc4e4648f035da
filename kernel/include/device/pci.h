/* SPDX-License-Identifier: MIT
 *
 * PCI Express functions: configuration space, base address registers, capabilities, MSI and MSI-X. Firmware has
 * assigned the base addresses of what was there at boot; what is plugged in later gets its own out of its port's
 * windows. Sources: PCI Local Bus Specification 3.0 (configuration space, MSI, MSI-X), PCI Firmware Specification 3.3
 * (ECAM), PCI Express Base Specification 4.0, section 6.7 (hot-plug).
 *
 * Threading: probe and remove are called by one task at a time, which may sleep: at boot, and when something is plugged
 * in or out, or its files in sysfs are written. Configuration accesses are safe anywhere, IRQs included.
 */
#ifndef DEVICE_PCI_H
#define DEVICE_PCI_H

#include <core/attr.h>
#include <lib/list.h>
#include <lib/types.h>

struct pci_bar {
	paddr_t base; /* 0: not there */
	u64 bytes;
	bool is_port;
};

struct pci_driver;

struct pci_dev {
	u8 bus, slot, function;
	u16 vendor, device, subsystem_vendor, subsystem;
	u32 class; /* class, subclass, programming interface: 0xCCSSPP */
	u8 revision;
	struct pci_bar bar[6];
	u8 msix_cap; /* offset in configuration space, 0: none */
	u16 msix_vectors;
	void *msix_table;
	int *vectors;   /* by entry of the table; 0: none */
	int msi_vector; /* 0: none */
	const struct pci_driver *driver;
	void *priv; /* the driver's */
	struct list link;
	char name[16];       /* 0000:00:03.0 */
	char only[24];       /* the one driver that may have it, as its file driver_override says; "": any */
	struct attr_dir dir; /* /sys/devices/pci0000:00/NAME: constant, but for what hangs below */
};

struct pci_driver {
	const char *name;
	/* NULL: it takes only functions that the administrator names to it (driver_override, new_id). */
	bool (*match)(const struct pci_dev *d);
	/* 0 or -errno: the device is then left alone, and its interrupts are given back. */
	int (*probe)(struct pci_dev *d);
	/* The device goes, or has gone (its registers then read as ones): afterwards it does not touch memory nor
	 * interrupt, and d is nobody's. NULL, or -EBUSY with no effect: it cannot be let go. */
	int (*remove)(struct pci_dev *d);

	/* this part's */
	struct list link, ids; /* ids: that new_id has added */
	struct attr_dir dir;
};

u32 pci_read32(const struct pci_dev *d, unsigned offset);
u16 pci_read16(const struct pci_dev *d, unsigned offset);
u8 pci_read8(const struct pci_dev *d, unsigned offset);
void pci_write32(const struct pci_dev *d, unsigned offset, u32 value);
void pci_write16(const struct pci_dev *d, unsigned offset, u16 value);

/* The next capability `id` behind offset `after` (0: the first); 0: none. */
u8 pci_find_cap(const struct pci_dev *d, u8 id, u8 after);
/* Its folder in sysfs, for what hangs below or links to it. */
static inline struct attr_dir *pci_dir(const struct pci_dev *d)
{
	return (struct attr_dir *)&d->dir;
}
/* Maps part of a memory BAR; len 0: to its end. NULL: not there, a port BAR, or out of range. */
void *pci_map_bar(struct pci_dev *d, unsigned bar, u64 offset, u64 len);
/* Puts the function, and nothing else, into the state after power-on; afterwards its registers are where they were, and
 * so are the messages that were requested; bus mastering is off. Sleeps. -ENOTTY: it knows no way. */
int __must_check pci_reset(struct pci_dev *d);
bool pci_can_reset(const struct pci_dev *d);
/* Memory decoding and bus mastering on. */
void pci_enable(struct pci_dev *d);
/* Turns MSI-X on with every entry masked. -ENODEV: the function has none. */
int __must_check pci_msix_enable(struct pci_dev *d);
/* Points entry at a new vector on `cpu` and unmasks it. handler runs as core/irq.h says. Returns the vector or -errno.
 */
int __must_check pci_msix_request(struct pci_dev *d, unsigned entry, void (*handler)(void *), void *arg, unsigned cpu,
				  const char *name);
void pci_msix_release(struct pci_dev *d, unsigned entry); /* the opposite: its handler does not run, nor will */

/* All vectors are given back: no handler runs, or will. Nothing if it is off. */
void pci_msix_disable(struct pci_dev *d);

/* The same for functions that have only MSI, or want a single vector: one message, pointed at a new vector on `cpu` and
 * turned on. Returns the vector or -errno; -ENODEV: the function has no MSI. */
int __must_check pci_msi_request(struct pci_dev *d, void (*handler)(void *), void *arg, unsigned cpu, const char *name);
void pci_msi_disable(struct pci_dev *d);

void pci_register(struct pci_driver *drv); /* at init level core; buses are scanned at level bus */
/* What is written to the file new_id: "VENDOR DEVICE [SUBVENDOR SUBDEVICE [CLASS MASK]]" in hexadecimal. Changes text.
 * drv takes such functions, before drivers that match by themselves. -EINVAL, -ENOMEM. */
int __must_check pci_add_id(struct pci_driver *drv, char *text);
#endif
