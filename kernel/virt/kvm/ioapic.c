/* SPDX-License-Identifier: MIT
 *
 * Problem: a machine's interrupt lines must become messages to local APICs, without a trip to the VMM for each.
 *
 * Idea: a row an input. A rising edge sends its row; a level is sent again after each end of interrupt while it lasts.
 *
 *      level: high and not masked and no answer outstanding --> send, remote IRR --> EOI with that vector --> again
 *
 * Contract: ioapic.h.
 *
 * Locks: none; the caller serialises.
 */
#include <lib/string.h>
#include "ioapic.h"

#define MASKED     BIT(16)
#define LEVEL      BIT(15)
#define REMOTE_IRR BIT(14)
#define STATUS     BIT(12)

void ioapic_reset(struct ioapic *io)
{
	memset(&io->s, 0, sizeof(io->s));
	io->s.base_address = IOAPIC_BASE;
	for (unsigned i = 0; i < KVM_IOAPIC_NUM_PINS; i++)
		io->s.redirtbl[i].bits = MASKED;
}

static void send(struct ioapic *io, unsigned pin)
{
	u64 row = io->s.redirtbl[pin].bits;

	if ((row & MASKED) || ((row & LEVEL) && (row & REMOTE_IRR)))
		return;
	if (row & LEVEL)
		io->s.redirtbl[pin].bits |= REMOTE_IRR;
	io->send(io, row);
}

void ioapic_line(struct ioapic *io, unsigned pin, bool high)
{
	u32 m = 1U << pin;
	bool was = io->s.irr & m;

	io->s.irr = high ? io->s.irr | m : io->s.irr & ~m;
	if (high && (!was || (io->s.redirtbl[pin].bits & LEVEL)))
		send(io, pin);
}

void ioapic_eoi(struct ioapic *io, u8 vector)
{
	for (unsigned pin = 0; pin < KVM_IOAPIC_NUM_PINS; pin++) {
		u64 row = io->s.redirtbl[pin].bits;

		if ((u8)row != vector || !(row & LEVEL) || !(row & REMOTE_IRR))
			continue;
		io->s.redirtbl[pin].bits &= ~REMOTE_IRR;
		if (io->s.irr & 1U << pin)
			send(io, pin);
	}
}

u32 ioapic_read(const struct ioapic *io, unsigned offset)
{
	u32 i = io->s.ioregsel;

	if (offset == 0)
		return i;
	if (offset != 0x10)
		return 0;
	if (i == 0 || i == 2)
		return io->s.id << 24;
	if (i == 1)
		return (KVM_IOAPIC_NUM_PINS - 1) << 16 | 0x11;
	if (i < 0x10 || i >= 0x10 + 2 * KVM_IOAPIC_NUM_PINS)
		return 0;
	return (u32)(io->s.redirtbl[(i - 0x10) / 2].bits >> (i & 1 ? 32 : 0));
}

static void set_row(struct ioapic *io, u32 i, u32 v)
{
	unsigned pin = (i - 0x10) / 2;
	__u64 *row = &io->s.redirtbl[pin].bits;

	if (i & 1)
		*row = (u32)*row | (u64)v << 32;
	else
		*row = (*row & ~0xffffffffULL) | (v & 0x1ffff & ~(u32)(REMOTE_IRR | STATUS)) | (*row & REMOTE_IRR);
	if (!(*row & LEVEL))
		*row &= ~REMOTE_IRR;
	if ((*row & LEVEL) && (io->s.irr & 1U << pin))
		send(io, pin);
}

void ioapic_write(struct ioapic *io, unsigned offset, u32 v)
{
	u32 i = io->s.ioregsel;

	if (offset == 0)
		io->s.ioregsel = v & 0xff;
	else if (offset == 0x10 && i == 0)
		io->s.id = v >> 24 & 15;
	else if (offset == 0x10 && i >= 0x10 && i < 0x10 + 2 * KVM_IOAPIC_NUM_PINS)
		set_row(io, i, v);
}
