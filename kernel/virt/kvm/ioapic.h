/* SPDX-License-Identifier: MIT
 *
 * The I/O APIC of a virtual machine: 24 inputs that become messages. Pure: messages are an op. State in Linux's
 * structure, as VMMs save and load it. Source: Intel 82093AA data sheet.
 *
 * Threading: the caller serialises.
 */
#ifndef KVM_IOAPIC_H
#define KVM_IOAPIC_H

#include <asm/kvm.h>
#include <lib/types.h>

#define IOAPIC_BASE  0xfec00000ULL
#define IOAPIC_BYTES 0x100

struct ioapic {
	struct kvm_ioapic_state s; /* s.irr: inputs that are high */
	void (*send)(struct ioapic *io, u64 row);
};

void ioapic_reset(struct ioapic *io);
void ioapic_line(struct ioapic *io, unsigned pin, bool high);
void ioapic_eoi(struct ioapic *io, u8 vector);
u32 ioapic_read(const struct ioapic *io, unsigned offset);
void ioapic_write(struct ioapic *io, unsigned offset, u32 v);

#endif
