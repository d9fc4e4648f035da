/* SPDX-License-Identifier: MIT
 *
 * Problem: find the machine's devices and give drivers their registers and interrupts.
 *
 * Idea: walk every bus below the host bridge by brute force (256 buses at most, empty slots cost one read), through the
 * memory-mapped window (ECAM) that ACPI's MCFG names or, without it, through ports 0xCF8 and 0xCFC. Sizes of base
 * address registers are found by writing ones. Interrupts are MSI-X or MSI: no interpreter for ACPI's interrupt routing
 * is needed. Drivers find them, and are found, in pci_bind.c; what comes and goes later is hotplug.c's business.
 *
 * Contract: device/pci.h.
 *
 * Locks: port_lock around the address/data pair of ports; ECAM needs none. pci_lock (RANK_HOTPLUG) around the list of
 * functions, and which drivers they have.
 */
#include <alloc/kmap.h>
#include <alloc/slab.h>
#include <arch/boot.h>
#include <arch/io.h>
#include <core/init.h>
#include <core/irq.h>
#include <core/log.h>
#include <device/pci.h>
#include <lib/err.h>
#include <linux/pci_regs.h>

#include "device_priv.h"

#define PORT_ADDRESS 0xcf8
#define PORT_DATA    0xcfc
#define ECAM_BUS     (1UL << 20) /* bytes of configuration space a bus */

struct list pci_devices = LIST_INIT(pci_devices);
struct mutex pci_lock = MUTEX_INIT(pci_lock, RANK_HOTPLUG);
static struct spinlock port_lock = SPIN_INIT(RANK_LEAF_SPIN);
static u8 *ecam; /* of the first bus that boot_info names */
static unsigned ecam_first, ecam_last;

static void *ecam_at(const struct pci_dev *d, unsigned offset)
{
	if (!ecam || d->bus < ecam_first || d->bus > ecam_last)
		return NULL;
	return ecam + (d->bus - ecam_first) * ECAM_BUS + (d->slot << 15) + (d->function << 12) + offset;
}

static u32 port_address(const struct pci_dev *d, unsigned offset)
{
	return 1U << 31 | d->bus << 16 | d->slot << 11 | d->function << 8 | (offset & 0xfc);
}

u32 pci_read32(const struct pci_dev *d, unsigned offset)
{
	void *at = ecam_at(d, offset & ~3U);
	ulong irq;
	u32 v;

	if (at)
		return mmio_read32(at);
	irq = spin_lock_irqsave(&port_lock);
	port_out32(PORT_ADDRESS, port_address(d, offset));
	v = port_in32(PORT_DATA);
	spin_unlock_irqrestore(&port_lock, irq);
	return v;
}

void pci_write32(const struct pci_dev *d, unsigned offset, u32 value)
{
	void *at = ecam_at(d, offset & ~3U);
	ulong irq;

	if (at) {
		mmio_write32(at, value);
		return;
	}
	irq = spin_lock_irqsave(&port_lock);
	port_out32(PORT_ADDRESS, port_address(d, offset));
	port_out32(PORT_DATA, value);
	spin_unlock_irqrestore(&port_lock, irq);
}

u16 pci_read16(const struct pci_dev *d, unsigned offset)
{
	return pci_read32(d, offset) >> (offset & 2) * 8;
}

u8 pci_read8(const struct pci_dev *d, unsigned offset)
{
	return pci_read32(d, offset) >> (offset & 3) * 8;
}

void pci_write16(const struct pci_dev *d, unsigned offset, u16 value)
{
	void *at = ecam_at(d, offset & ~1U);
	ulong irq;

	/* Never by way of the whole word: its other half may have bits that are cleared by writing ones. */
	if (at) {
		mmio_write16(at, value);
		return;
	}
	irq = spin_lock_irqsave(&port_lock);
	port_out32(PORT_ADDRESS, port_address(d, offset));
	port_out16(PORT_DATA + (offset & 2), value);
	spin_unlock_irqrestore(&port_lock, irq);
}

u8 pci_find_cap(const struct pci_dev *d, u8 id, u8 after)
{
	u8 at = pci_read8(d, after ? after + 1U : PCI_CAPABILITY_LIST) & ~3;

	if (!(pci_read16(d, PCI_STATUS) & PCI_STATUS_CAP_LIST))
		return 0;
	for (int hops = 0; at && hops < 48; hops++) {
		if (pci_read8(d, at) == id)
			return at;
		at = pci_read8(d, at + 1U) & ~3;
	}
	return 0;
}

/* Reads and sizes one register; returns how many registers it takes (a 64-bit one takes two). */
static unsigned size_bar(struct pci_dev *d, unsigned n)
{
	unsigned offset = PCI_BASE_ADDRESS_0 + 4 * n;
	u32 low = pci_read32(d, offset), size_low;
	bool wide = !(low & PCI_BASE_ADDRESS_SPACE_IO) &&
		    (low & PCI_BASE_ADDRESS_MEM_TYPE_MASK) == PCI_BASE_ADDRESS_MEM_TYPE_64 && n < 5;
	u64 mask;

	pci_write32(d, offset, ~0U);
	size_low = pci_read32(d, offset);
	pci_write32(d, offset, low);
	if (low & PCI_BASE_ADDRESS_SPACE_IO) {
		mask = (size_low & PCI_BASE_ADDRESS_IO_MASK) | ~0xffffULL;
		d->bar[n] = (struct pci_bar){ low & PCI_BASE_ADDRESS_IO_MASK & 0xffff, size_low ? -mask : 0, true };
		return 1;
	}
	mask = (size_low & PCI_BASE_ADDRESS_MEM_MASK) | 0xffffffffULL << 32;
	d->bar[n].base = low & PCI_BASE_ADDRESS_MEM_MASK;
	if (wide) {
		u32 high = pci_read32(d, offset + 4);

		pci_write32(d, offset + 4, ~0U);
		mask = (u32)mask | (u64)pci_read32(d, offset + 4) << 32;
		pci_write32(d, offset + 4, high);
		d->bar[n].base |= (u64)high << 32;
	}
	d->bar[n].bytes = size_low ? -mask : 0;
	return wide ? 2 : 1;
}

static void size_bars(struct pci_dev *d, unsigned nr)
{
	u16 command = pci_read16(d, PCI_COMMAND);

	/* Nothing may decode the half-written addresses. */
	pci_write16(d, PCI_COMMAND, command & ~(PCI_COMMAND_IO | PCI_COMMAND_MEMORY));
	for (unsigned n = 0; n < nr;)
		n += size_bar(d, n);
	pci_write16(d, PCI_COMMAND, command);
}

void *pci_map_bar(struct pci_dev *d, unsigned bar, u64 offset, u64 len)
{
	const struct pci_bar *b = bar < 6 ? &d->bar[bar] : NULL;

	if (!b || !b->base || b->is_port || offset >= b->bytes)
		return NULL;
	if (!len)
		len = b->bytes - offset;
	return len > b->bytes - offset ? NULL : io_map(b->base + offset, len);
}

void pci_enable(struct pci_dev *d)
{
	pci_write16(d, PCI_COMMAND, pci_read16(d, PCI_COMMAND) | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
}

int pci_msix_enable(struct pci_dev *d)
{
	u16 control;
	u32 table;

	if (!d->msix_cap)
		return -ENODEV;
	control = pci_read16(d, d->msix_cap + PCI_MSIX_FLAGS);
	d->msix_vectors = (control & PCI_MSIX_FLAGS_QSIZE) + 1;
	table = pci_read32(d, d->msix_cap + PCI_MSIX_TABLE);
	d->msix_table = pci_map_bar(d, table & PCI_MSIX_TABLE_BIR, table & PCI_MSIX_TABLE_OFFSET,
				    d->msix_vectors * (u64)PCI_MSIX_ENTRY_SIZE);
	if (!d->msix_table)
		return -ENODEV;
	d->vectors = kcalloc(d->msix_vectors, sizeof(*d->vectors), ALLOC_KERNEL);
	if (!d->vectors) {
		io_unmap(d->msix_table);
		d->msix_table = NULL; /* it is off */
		return -ENOMEM;
	}
	for (unsigned i = 0; i < d->msix_vectors; i++)
		mmio_write32(d->msix_table + i * PCI_MSIX_ENTRY_SIZE + PCI_MSIX_ENTRY_VECTOR_CTRL, 1);
	pci_write16(d, d->msix_cap + PCI_MSIX_FLAGS, control | PCI_MSIX_FLAGS_ENABLE);
	return 0;
}

/* The entry's message raises its vector. */
static void point_entry(const struct pci_dev *d, unsigned entry)
{
	void *at = d->msix_table + entry * PCI_MSIX_ENTRY_SIZE;
	u64 address;
	u32 data;

	irq_msi_message(d->vectors[entry], &address, &data);
	mmio_write32(at + PCI_MSIX_ENTRY_LOWER_ADDR, (u32)address);
	mmio_write32(at + PCI_MSIX_ENTRY_UPPER_ADDR, address >> 32);
	mmio_write32(at + PCI_MSIX_ENTRY_DATA, data);
	mmio_write32(at + PCI_MSIX_ENTRY_VECTOR_CTRL, 0);
}

int pci_msix_request(struct pci_dev *d, unsigned entry, void (*handler)(void *), void *arg, unsigned cpu,
		     const char *name)
{
	int vector;

	if (!d->msix_table || entry >= d->msix_vectors)
		return -EINVAL;
	vector = irq_alloc(handler, arg, cpu, name);
	if (vector < 0)
		return vector;
	d->vectors[entry] = vector;
	point_entry(d, entry);
	return vector;
}

void pci_msix_release(struct pci_dev *d, unsigned entry)
{
	mmio_write32(d->msix_table + entry * PCI_MSIX_ENTRY_SIZE + PCI_MSIX_ENTRY_VECTOR_CTRL, 1);
	irq_free(d->vectors[entry]);
	d->vectors[entry] = 0;
}

void pci_msix_disable(struct pci_dev *d)
{
	if (!d->msix_table)
		return;
	pci_write16(d, d->msix_cap + PCI_MSIX_FLAGS, 0);
	for (unsigned i = 0; d->vectors && i < d->msix_vectors; i++)
		if (d->vectors[i])
			irq_free(d->vectors[i]);
	kfree(d->vectors);
	d->vectors = NULL;
	io_unmap(d->msix_table);
	d->msix_table = NULL;
}

/* The one message of MSI raises its vector, and is on. */
static void point_message(const struct pci_dev *d, u8 cap)
{
	u16 control = pci_read16(d, cap + PCI_MSI_FLAGS) & ~(PCI_MSI_FLAGS_QSIZE | PCI_MSI_FLAGS_ENABLE);
	bool is_wide = control & PCI_MSI_FLAGS_64BIT;
	u64 address;
	u32 data;

	irq_msi_message(d->msi_vector, &address, &data);
	pci_write32(d, cap + PCI_MSI_ADDRESS_LO, (u32)address);
	if (is_wide)
		pci_write32(d, cap + PCI_MSI_ADDRESS_HI, address >> 32);
	pci_write16(d, cap + (is_wide ? PCI_MSI_DATA_64 : PCI_MSI_DATA_32), (u16)data);
	if (control & PCI_MSI_FLAGS_MASKBIT)
		pci_write32(d, cap + (is_wide ? PCI_MSI_MASK_64 : PCI_MSI_MASK_32), 0);
	pci_write16(d, PCI_COMMAND, pci_read16(d, PCI_COMMAND) | PCI_COMMAND_INTX_DISABLE);
	pci_write16(d, cap + PCI_MSI_FLAGS, control | PCI_MSI_FLAGS_ENABLE);
}

int pci_msi_request(struct pci_dev *d, void (*handler)(void *), void *arg, unsigned cpu, const char *name)
{
	u8 cap = pci_find_cap(d, PCI_CAP_ID_MSI, 0);
	int vector;

	if (!cap || d->msi_vector)
		return cap ? -EBUSY : -ENODEV;
	vector = irq_alloc(handler, arg, cpu, name);
	if (vector < 0)
		return vector;
	d->msi_vector = vector;
	point_message(d, cap);
	return vector;
}

void pci_msi_disable(struct pci_dev *d)
{
	u8 cap = pci_find_cap(d, PCI_CAP_ID_MSI, 0);

	if (!d->msi_vector)
		return;
	/* One that was pulled out has no capabilities any more. */
	if (cap)
		pci_write16(d, cap + PCI_MSI_FLAGS, pci_read16(d, cap + PCI_MSI_FLAGS) & ~PCI_MSI_FLAGS_ENABLE);
	irq_free(d->msi_vector);
	d->msi_vector = 0;
}

void pci_messages_restore(const struct pci_dev *d)
{
	if (d->msi_vector)
		point_message(d, pci_find_cap(d, PCI_CAP_ID_MSI, 0));
	if (!d->msix_table)
		return;
	for (unsigned i = 0; i < d->msix_vectors; i++)
		if (d->vectors[i])
			point_entry(d, i);
		else
			mmio_write32(d->msix_table + i * PCI_MSIX_ENTRY_SIZE + PCI_MSIX_ENTRY_VECTOR_CTRL, 1);
	pci_write16(d, d->msix_cap + PCI_MSIX_FLAGS, PCI_MSIX_FLAGS_ENABLE);
}

/* Returns true if the function has siblings (multi-function device). */
static bool add_function(u8 bus, u8 slot, u8 function)
{
	struct pci_dev key = { .bus = bus, .slot = slot, .function = function }, *d;
	u32 id = pci_read32(&key, PCI_VENDOR_ID);
	u8 type;

	if ((u16)id == 0xffff)
		return function != 0;
	type = pci_read8(&key, PCI_HEADER_TYPE);
	d = kzalloc(sizeof(*d), ALLOC_KERNEL);
	if (!d)
		return false;
	*d = key;
	d->vendor = id;
	d->device = id >> 16;
	d->class = pci_read32(d, PCI_CLASS_REVISION) >> 8;
	d->revision = pci_read8(d, PCI_REVISION_ID);
	if ((type & 0x7f) == PCI_HEADER_TYPE_NORMAL) {
		d->subsystem_vendor = pci_read16(d, PCI_SUBSYSTEM_VENDOR_ID);
		d->subsystem = pci_read16(d, PCI_SUBSYSTEM_ID);
		size_bars(d, 6);
	} else if ((type & 0x7f) == PCI_HEADER_TYPE_BRIDGE) {
		size_bars(d, 2);
	}
	d->msix_cap = pci_find_cap(d, PCI_CAP_ID_MSIX, 0);
	if (pci_files_add(d)) {
		kfree(d);
		return false;
	}
	list_add_tail(&d->link, &pci_devices);
	log_debug("pci %02x:%02x.%u: %04x:%04x class %06x", bus, slot, function, d->vendor, d->device, d->class);
	return type & 0x80;
}

void pci_scan_slot(u8 bus, u8 slot)
{
	if (!add_function(bus, slot, 0))
		return;
	for (u8 function = 1; function < 8; function++)
		add_function(bus, slot, function);
}

/* Buses in use: bus 0 and those behind bridges, which firmware has numbered. */
static void scan_all(void)
{
	u64 wanted[4] = { 1 };
	struct pci_dev *d;

	for (unsigned bus = 0; bus < 256; bus++) {
		if (!(wanted[bus / 64] >> bus % 64 & 1))
			continue;
		for (unsigned slot = 0; slot < 32; slot++)
			pci_scan_slot(bus, slot);
		list_for_each_entry (d, &pci_devices, link) {
			u8 behind;

			if (d->bus != bus || d->class >> 8 != CLASS_BRIDGE)
				continue;
			behind = pci_read8(d, PCI_SECONDARY_BUS);
			wanted[behind / 64] |= 1ULL << behind % 64;
		}
	}
}

static void pci_init(void)
{
	const struct boot_info *info = boot_info();
	struct pci_dev *d;

	if (info->pcie_base) {
		ecam_first = info->pcie_first_bus;
		ecam_last = info->pcie_last_bus;
		ecam = io_map(info->pcie_base, (ecam_last - ecam_first + 1) * ECAM_BUS);
	}
	mutex_lock(&pci_lock);
	pci_bind_init();
	scan_all();
	list_for_each_entry (d, &pci_devices, link)
		pci_probe(d);
	pci_hotplug_init();
	mutex_unlock(&pci_lock);
}
PART_INIT(bus, pci_init);
