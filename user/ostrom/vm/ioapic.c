/* SPDX-License-Identifier: MIT
 *
 * Problem: devices raise lines; local APICs take messages.
 *
 * Idea: the I/O APIC's redirection table says which message a line is. An edge sends one; a level sends one and again
 * at its end while the line is still high. The rows in use are KVM's routes: it tells of such ends only for those, and
 * an event descriptor bound to a row (irqfd) is all that a device needs to raise an edge.
 *
 * Contract: vm.h; 24 inputs at IOAPIC_BASE, version 0x20 (with the EOI register).
 * Source: Intel 82093AA data sheet, 3.1 and 3.2.
 *
 * Locks: vm->lock, held by every caller.
 */
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "vm.h"

#define PINS       VM_IOAPIC_PINS
#define MASKED     (1ULL << 16)
#define LEVEL      (1ULL << 15)
#define REMOTE_IRR (1ULL << 14)

static struct ioapic {
	struct vm *vm;
	uint32_t index;
	uint64_t row[PINS];
	uint32_t high;   /* lines */
	int event[PINS]; /* what KVM makes this input's message of, -1: nothing yet */
} io;

static struct kvm_msi message(uint64_t row)
{
	return (struct kvm_msi){ .address_lo =
					 0xfee00000 | (uint32_t)(row >> 56) << 12 | (uint32_t)(row >> 11 & 1) << 2,
				 .data = (uint32_t)(row & 0x7ff) | (row & LEVEL ? 0xc000 : 0) };
}

static void send(unsigned pin)
{
	uint64_t row = io.row[pin];
	struct kvm_msi m = message(row);
	uint64_t one = 1;

	if ((row & MASKED) || ((row & LEVEL) && (row & REMOTE_IRR)))
		return;
	if ((row & LEVEL) || io.event[pin] < 0 || write(io.event[pin], &one, sizeof(one)) != sizeof(one))
		ioctl(io.vm->fd, KVM_SIGNAL_MSI, &m);
	if (row & LEVEL)
		io.row[pin] |= REMOTE_IRR;
}

void vm_irq(struct vm *vm, unsigned pin, bool high)
{
	uint32_t m = 1U << pin;
	bool was = io.high & m;

	io.high = high ? io.high | m : io.high & ~m;
	if (high && (!was || (io.row[pin] & LEVEL)))
		send(pin);
}

void vm_eoi(struct vm *vm, unsigned vector)
{
	for (unsigned pin = 0; pin < PINS; pin++) {
		if ((io.row[pin] & 0xff) != vector || !(io.row[pin] & LEVEL))
			continue;
		io.row[pin] &= ~REMOTE_IRR;
		if (io.high & 1U << pin)
			send(pin);
	}
}

static void give_route(unsigned pin)
{
	struct kvm_msi m = message(io.row[pin]);

	vm_route(io.vm, pin, io.row[pin] & MASKED ? NULL : &m);
}

/* An input that is in use and edge-triggered: its route is its message, so an event is an interrupt. */
static void bind(unsigned pin)
{
	struct kvm_irqfd f = { .gsi = pin };
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	f.fd = (uint32_t)fd;
	if (fd >= 0 && ioctl(io.vm->fd, KVM_IRQFD, &f) == 0)
		io.event[pin] = fd;
	else if (fd >= 0)
		close(fd);
}

static uint32_t get(uint32_t index)
{
	if (index == 1)
		return (PINS - 1) << 16 | 0x20;
	if (index < 0x10 || index >= 0x10 + 2 * PINS)
		return 0;
	return (uint32_t)(io.row[(index - 0x10) / 2] >> (index & 1 ? 32 : 0));
}

static void set(uint32_t index, uint32_t v)
{
	unsigned pin = (index - 0x10) / 2;
	uint64_t old, *row;

	if (index < 0x10 || pin >= PINS)
		return;
	row = &io.row[pin];
	old = *row;
	if (index & 1)
		*row = (*row & 0xffffffff) | (uint64_t)v << 32;
	else
		*row = (*row & ~0xffffffffULL) | (v & 0x1afff) | (*row & REMOTE_IRR);
	if (!(*row & LEVEL))
		*row &= ~REMOTE_IRR;
	if (((old | *row) & LEVEL) || !(*row & MASKED) || io.event[pin] >= 0)
		give_route(pin);
	if (!(*row & (MASKED | LEVEL)) && io.event[pin] < 0)
		bind(pin);
	if ((*row & LEVEL) && (io.high & 1U << pin))
		send(pin);
}

static void on_access(void *dev, uint64_t offset, void *data, unsigned len, bool write)
{
	uint32_t v = 0;

	memcpy(&v, data, write ? (len < 4 ? len : 4) : 0);
	if (offset == 0 && write)
		io.index = v & 0xff;
	else if (offset == 0x10 && write)
		set(io.index, v);
	else if (offset == 0x40 && write)
		vm_eoi(io.vm, v & 0xff);
	if (write)
		return;
	v = offset == 0 ? io.index : offset == 0x10 ? get(io.index) : 0;
	memset(data, 0, len);
	memcpy(data, &v, len < 4 ? len : 4);
}

void vm_ioapic(struct vm *vm)
{
	io = (struct ioapic){ .vm = vm };
	for (unsigned i = 0; i < PINS; i++) {
		io.row[i] = MASKED;
		io.event[i] = -1;
	}
	vm_add_mmio(vm, (struct vm_range){ IOAPIC_BASE, 0x1000, on_access, NULL });
}
