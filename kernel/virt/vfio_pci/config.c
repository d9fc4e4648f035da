/* SPDX-License-Identifier: MIT
 *
 * Problem: the program that drives a function writes its configuration space as if the machine were its own; base
 * addresses, messages of interrupts and power are not its to set.
 *
 * Idea: it is shown a copy: the function's identity and those of its capabilities that are known here, linked anew.
 * Base addresses are sized and written in the copy. Of what is written, only bus mastering and the request for a reset
 * reach the function, through who owns this copy.
 *
 * Contract: config.h, virt/vpci.h. Of the real space only the first 256 bytes; no ROM, no ports, no INTx. Pure.
 * Sources: PCI Local Bus Specification 3.0, chapter 6; PCI Express Base Specification 4.0, 7.5.3.
 *
 * Locks: none, the owner serialises.
 */
#include <lib/string.h>
#include <linux/pci_regs.h>

#include "config.h"

static void put16(u8 *at, u16 v)
{
	memcpy(at, &v, sizeof(v));
}

static u16 get16(const u8 *at)
{
	u16 v;

	memcpy(&v, at, sizeof(v));
	return v;
}

static void put32(u8 *at, u32 v)
{
	memcpy(at, &v, sizeof(v));
}

/* A register and, of a wide one, its upper half; how many there are of them. */
static unsigned show_bar(struct vpci *p, const struct shown *s, unsigned n)
{
	u8 *at = p->config + PCI_BASE_ADDRESS_0 + 4 * n, *writable = p->writable + PCI_BASE_ADDRESS_0 + 4 * n;
	u8 kind = s->real[PCI_BASE_ADDRESS_0 + 4 * n] & 15;
	bool is_wide = (kind & PCI_BASE_ADDRESS_MEM_TYPE_MASK) == PCI_BASE_ADDRESS_MEM_TYPE_64 && n < 5;
	u64 mask = ~(s->bar[n].bytes - 1);

	if (s->bar[n].is_port || !s->bar[n].bytes)
		return 1;
	put32(at, kind);
	put32(writable, (u32)mask & PCI_BASE_ADDRESS_MEM_MASK);
	if (is_wide)
		put32(writable + 4, mask >> 32);
	return is_wide ? 2 : 1;
}

/* The bytes of a capability that are shown; 0: it is hidden. */
static unsigned cap_bytes(const struct shown *s, u8 at)
{
	switch (s->real[at]) {
	case PCI_CAP_ID_PM: return PCI_PM_SIZEOF;
	case PCI_CAP_ID_EXP: return PCI_CAP_EXP_ENDPOINT_SIZEOF_V2;
	case PCI_CAP_ID_VNDR: return s->real[at + 2U];
	case PCI_CAP_ID_MSIX: return s->has_msix ? PCI_CAP_MSIX_SIZEOF : 0;
	case PCI_CAP_ID_MSI: return !s->has_msi ? 0 : s->real[at + 2U] & PCI_MSI_FLAGS_64BIT ? 14 : 10;
	default: return 0;
	}
}

/* Address and data. */
static size_t message_bytes(const u8 *cap)
{
	return get16(cap + PCI_MSI_FLAGS) & PCI_MSI_FLAGS_64BIT ? 10 : 6;
}

/* What may be written begins as after power-on. Of MSI there is one message, which cannot be masked by itself. */
static void prepare_cap(struct vpci *p, u8 at)
{
	u8 *config = p->config + at, *writable = p->writable + at;

	switch (config[0]) {
	case PCI_CAP_ID_PM:
		put16(writable + PCI_PM_CTRL, PCI_PM_CTRL_STATE_MASK);
		put16(config + PCI_PM_CTRL, get16(config + PCI_PM_CTRL) & (u16)~PCI_PM_CTRL_STATE_MASK);
		break;
	case PCI_CAP_ID_EXP: put16(writable + PCI_EXP_DEVCTL, 0xffff); break;
	case PCI_CAP_ID_MSIX:
		put16(writable + PCI_MSIX_FLAGS, PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
		put16(config + PCI_MSIX_FLAGS, get16(config + PCI_MSIX_FLAGS) & PCI_MSIX_FLAGS_QSIZE);
		break;
	case PCI_CAP_ID_MSI:
		put16(writable + PCI_MSI_FLAGS, PCI_MSI_FLAGS_ENABLE);
		put16(config + PCI_MSI_FLAGS, get16(config + PCI_MSI_FLAGS) & PCI_MSI_FLAGS_64BIT);
		memset(writable + PCI_MSI_ADDRESS_LO, 0xff, message_bytes(config));
		memset(config + PCI_MSI_ADDRESS_LO, 0, message_bytes(config));
	}
}

/* Real lists may be wrong: those that go in circles end, and what lies over another is not shown. */
static void show_caps(struct vpci *p, const struct shown *s)
{
	u8 *link = &p->config[PCI_CAPABILITY_LIST];
	u8 at = s->real[PCI_STATUS] & PCI_STATUS_CAP_LIST ? s->real[PCI_CAPABILITY_LIST] & ~3 : 0;
	bool taken[VPCI_BYTES] = { false };

	for (unsigned hops = 0; at >= PCI_STD_HEADER_SIZEOF && hops < 48; hops++, at = s->real[at + 1U] & ~3) {
		unsigned n = cap_bytes(s, at), i = 0;

		while (i < n && at + i < VPCI_BYTES && !taken[at + i])
			i++;
		if (n < PCI_CAP_SIZEOF || i < n)
			continue;
		memset(taken + at, true, n);
		memcpy(p->config + at, s->real + at, n);
		prepare_cap(p, at);
		p->config[at + 1U] = 0;
		*link = at;
		link = &p->config[at + 1U];
		p->config[PCI_STATUS] |= PCI_STATUS_CAP_LIST;
	}
}

void config_make(struct vpci *out, const struct shown *s)
{
	memset(out, 0, sizeof(*out));
	memcpy(out->config, s->real, PCI_CACHE_LINE_SIZE);
	put16(out->config + PCI_COMMAND, 0);
	put16(out->config + PCI_STATUS, 0);
	memcpy(out->config + PCI_SUBSYSTEM_VENDOR_ID, s->real + PCI_SUBSYSTEM_VENDOR_ID, 4);
	put16(out->writable + PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE);
	out->writable[PCI_CACHE_LINE_SIZE] = 0xff;
	out->writable[PCI_INTERRUPT_LINE] = 0xff;
	for (unsigned n = 0; n < 6;)
		n += show_bar(out, s, n);
	show_caps(out, s);
}

static u8 find_cap(const struct vpci *p, u8 id)
{
	u8 at = p->config[PCI_CAPABILITY_LIST];

	while (at && p->config[at] != id)
		at = p->config[at + 1U];
	return at;
}

bool config_wants_reset(struct vpci *p, unsigned at, size_t n)
{
	u8 cap = find_cap(p, PCI_CAP_ID_EXP);
	unsigned high = cap + PCI_EXP_DEVCTL + 1U;
	u8 bit = PCI_EXP_DEVCTL_BCR_FLR >> 8;

	if (!cap || at > high || at + n <= high || !(p->config[high] & bit))
		return false;
	p->config[high] &= (u8)~bit;
	return true;
}

bool config_is_master(const struct vpci *p)
{
	return p->config[PCI_COMMAND] & PCI_COMMAND_MASTER;
}
