/* SPDX-License-Identifier: MIT
 *
 * Problem: a driver reads identities, sizes registers by writing ones, walks a list of capabilities and turns bits on;
 * it must find a device that behaves, and can break nothing.
 *
 * Idea: two arrays: the bytes, and a mask of the bits that can be written. A base address register of n bytes cannot
 * keep its lower bits, so that sizing it works by itself. Capabilities are laid one behind the other from 0x40 on.
 *
 * Contract: vpci.h. The layout is fixed by constants of the device, so running out of room is a programming error,
 * which vpci_cap reports as offset 0.
 *
 * Locks: none, the owner serialises.
 */
#include <lib/err.h>
#include <lib/string.h>
#include <linux/pci_regs.h>
#include <virt/vpci.h>

#define FIRST_CAP 0x40

static void put16(struct vpci *p, unsigned at, u16 v)
{
	memcpy(p->config + at, &v, sizeof(v));
}

static void put32(u8 *at, u32 v)
{
	memcpy(at, &v, sizeof(v));
}

void vpci_init(struct vpci *p, const struct vpci_id *id)
{
	memset(p, 0, sizeof(*p));
	put16(p, PCI_VENDOR_ID, id->vendor);
	put16(p, PCI_DEVICE_ID, id->device);
	put32(p->config + PCI_CLASS_REVISION, id->class << 8 | id->revision);
	put16(p, PCI_SUBSYSTEM_VENDOR_ID, id->subsystem_vendor);
	put16(p, PCI_SUBSYSTEM_ID, id->subsystem);
	p->config[PCI_INTERRUPT_PIN] = id->has_intx;
	p->writable[PCI_COMMAND] = PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
	p->writable[PCI_COMMAND + 1] = PCI_COMMAND_INTX_DISABLE >> 8;
	p->writable[PCI_INTERRUPT_LINE] = 0xff;
	p->writable[PCI_CACHE_LINE_SIZE] = 0xff;
	p->end = FIRST_CAP;
}

void vpci_bar(struct vpci *p, unsigned n, u32 bytes, u32 flags)
{
	put32(p->config + PCI_BASE_ADDRESS_0 + 4 * n, flags);
	put32(p->writable + PCI_BASE_ADDRESS_0 + 4 * n, ~(bytes - 1));
}

u8 vpci_cap(struct vpci *p, u8 id, const void *body, const void *mask, unsigned n)
{
	u8 at = p->end;

	if (n < 2 || n > VPCI_BYTES - (unsigned)at - 4)
		return 0;
	p->config[at] = id;
	memcpy(p->config + at + 2, body, n - 2);
	if (mask)
		memcpy(p->writable + at + 2, mask, n - 2);
	p->config[p->last_cap ? p->last_cap + 1 : PCI_CAPABILITY_LIST] = at;
	p->config[PCI_STATUS] |= PCI_STATUS_CAP_LIST;
	p->last_cap = at;
	p->end = (u8)(at + ALIGN_UP(n, 4));
	return at;
}

void vpci_msix(struct vpci *p, unsigned vectors, unsigned bar, u32 table, u32 pending)
{
	u8 body[PCI_CAP_MSIX_SIZEOF - 2] = { 0 }, mask[PCI_CAP_MSIX_SIZEOF - 2] = { 0 };
	u16 control = (u16)(vectors - 1);

	memcpy(body, &control, sizeof(control));
	mask[1] = (PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL) >> 8;
	put32(body + 2, table | bar);
	put32(body + 6, pending | bar);
	(void)vpci_cap(p, PCI_CAP_ID_MSIX, body, mask, PCI_CAP_MSIX_SIZEOF);
}

void vpci_read(const struct vpci *p, u64 offset, void *buf, size_t n)
{
	for (size_t i = 0; i < n; i++)
		((u8 *)buf)[i] = offset + i < VPCI_BYTES && offset + i >= offset ? p->config[offset + i] : 0xff;
}

void vpci_write(struct vpci *p, u64 offset, const void *buf, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		u64 at = offset + i;

		if (at < offset || at >= VPCI_BYTES)
			return;
		p->config[at] = (u8)((p->config[at] & ~p->writable[at]) | (((const u8 *)buf)[i] & p->writable[at]));
	}
}

void vpci_reset(struct vpci *p)
{
	for (unsigned i = 0; i < VPCI_BYTES; i++)
		p->config[i] &= (u8)~p->writable[i];
}
