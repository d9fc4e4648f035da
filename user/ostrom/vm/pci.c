/* SPDX-License-Identifier: MIT
 *
 * Problem: devices that come by VFIO are PCI functions, and a guest looks for those on a bus.
 *
 * Idea: one bus behind the two ports that every kernel knows, with a host bridge at slot 0 (Linux looks for one before
 * it believes in the bus) and a function in each further slot. We are the firmware too: base addresses are assigned
 * here, each naturally aligned in one window below the I/O APIC, before the guest starts.
 *
 *      port 0xcf8: 1 << 31 | bus << 16 | slot << 11 | function << 8 | register        ports 0xcfc..0xcff: its four
 * bytes
 *
 * Contract: vm.h. Source: PCI Local Bus Specification 3.0, 3.2.2.3.2 (configuration mechanism 1), 6.1 (header).
 *
 * Locks: vm->lock, held by every caller.
 */
#include <linux/pci_regs.h>
#include <string.h>
#include "vm.h"

#define WINDOW_END 0xf0000000ULL

static struct bus {
	uint32_t address;
	struct vm_function slot[VM_PCI_SLOTS];
	unsigned nr;
	uint64_t free; /* of the window */
} bus;

static void bridge(void *dev, unsigned offset, void *data, unsigned len, bool write)
{
	static const uint8_t header[64] = {
		[PCI_VENDOR_ID] = 0x34, 0x12, [PCI_DEVICE_ID] = 0x42, 0x4f, [PCI_CLASS_DEVICE + 1] = 6
	};

	if (write)
		return;
	memset(data, 0, len);
	if (offset + len <= sizeof(header))
		memcpy(data, header + offset, len);
}

static void on_address(void *dev, uint64_t offset, void *data, unsigned len, bool write)
{
	if (len != 4 || offset) {
		if (!write)
			memset(data, 0xff, len);
	} else if (write) {
		memcpy(&bus.address, data, 4);
	} else {
		memcpy(data, &bus.address, 4);
	}
}

static void on_data(void *dev, uint64_t offset, void *data, unsigned len, bool write)
{
	unsigned slot = bus.address >> 11 & 31;
	struct vm_function *f = slot < bus.nr ? &bus.slot[slot] : NULL;

	if ((bus.address >> 16) != 0x8000 || (bus.address >> 8 & 7) || !f || offset + len > 4) {
		if (!write)
			memset(data, 0xff, len);
		return;
	}
	f->config(f->dev, (bus.address & 0xfc) + (unsigned)offset, data, len, write);
}

uint64_t vm_pci_window(uint64_t bytes)
{
	uint64_t at = (bus.free + bytes - 1) & ~(bytes - 1);

	if (bytes < 0x1000)
		return vm_pci_window(0x1000); /* no two devices in a page */
	if (at + bytes > WINDOW_END || at + bytes < at)
		return 0;
	bus.free = at + bytes;
	return at;
}

int vm_pci_add(struct vm_function f)
{
	if (bus.nr == VM_PCI_SLOTS)
		return -1;
	bus.slot[bus.nr++] = f;
	return 0;
}

void vm_pci(struct vm *vm)
{
	bus = (struct bus){ .free = VM_PCI_WINDOW };
	vm_pci_add((struct vm_function){ bridge, NULL });
	vm_add_ports(vm, (struct vm_range){ 0xcf8, 4, on_address, NULL });
	vm_add_ports(vm, (struct vm_range){ 0xcfc, 4, on_data, NULL });
}
