/* SPDX-License-Identifier: MIT
 *
 * The configuration space of a PCI function that does not exist: 256 bytes, and which bits of them a driver may write.
 * A base address register needs no code of its own: its size is the bits that cannot be written.
 *
 * Threading: none inside, the owner of the device serialises. Pure. Source: PCI Local Bus Specification 3.0, chapter 6.
 */
#ifndef VIRT_VPCI_H
#define VIRT_VPCI_H

#include <lib/types.h>

#define VPCI_BYTES 256

struct vpci {
	u8 config[VPCI_BYTES];
	u8 writable[VPCI_BYTES]; /* bits */
	u8 last_cap;             /* offset of the last capability, 0: none yet */
	u8 end;                  /* where the next one goes */
};

struct vpci_id {
	u16 vendor, device, subsystem_vendor, subsystem;
	u32 class; /* 0xCCSSPP */
	u8 revision;
	bool has_intx; /* INTA */
};

void vpci_init(struct vpci *p, const struct vpci_id *id);
/* bytes: a power of two, at least 16. flags: PCI_BASE_ADDRESS_* of a 32-bit register. */
void vpci_bar(struct vpci *p, unsigned n, u32 bytes, u32 flags);
/* A capability of n bytes, header included; body is what follows the two bytes of the header, mask (NULL: none) which
 * of its bits may be written. Returns its offset; 0: no room. */
u8 vpci_cap(struct vpci *p, u8 id, const void *body, const void *mask, unsigned n);
void vpci_msix(struct vpci *p, unsigned vectors, unsigned bar, u32 table, u32 pending);

/* Any offset and length: bytes beyond the end read as ones, writes to them vanish. */
void vpci_read(const struct vpci *p, u64 offset, void *buf, size_t n);
void vpci_write(struct vpci *p, u64 offset, const void *buf, size_t n);
void vpci_reset(struct vpci *p); /* all that can be written becomes 0 */

#endif
