/* SPDX-License-Identifier: MIT
 *
 * Problem: the guest's console.
 *
 * Idea: a 16550 whose transmitter is always ready, since a byte goes straight to standard output, and whose receiver
 * holds what was typed until the guest reads it. The interrupt line follows from the registers after each access.
 *
 * Contract: vm.h; port 0x3f8, interrupt 4. Source: PC16550D data sheet.
 *
 * Locks: vm->lock, held by every caller but vm_serial_input, which takes it.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "vm.h"

#define RING 4096
#define IRQ  4

enum { DATA, IER, IIR, LCR, MCR, LSR, MSR, SCRATCH };
#define IER_RX 1
#define IER_TX 2
#define DLAB   0x80
#define LOOP   0x10

static struct serial {
	struct vm *vm;
	uint8_t reg[8], divisor[2];
	uint8_t rx[RING];
	unsigned head, tail;
	bool tx_empty_pending; /* the interrupt for an empty transmitter has not been read yet */
} port;

static uint8_t identify(void)
{
	if ((port.reg[IER] & IER_RX) && port.head != port.tail)
		return 4;
	if ((port.reg[IER] & IER_TX) && port.tx_empty_pending)
		return 2;
	return 1;
}

static void update_line(void)
{
	vm_irq(port.vm, IRQ, identify() != 1);
}

static void receive(uint8_t byte)
{
	if (port.head - port.tail < RING)
		port.rx[port.head++ % RING] = byte;
}

static void transmit(uint8_t byte)
{
	if (port.reg[MCR] & LOOP)
		receive(byte);
	else if (write(1, &byte, 1) != 1)
		vm_stop(port.vm, 1); /* nobody reads our output any more */
	port.tx_empty_pending = true;
}

static uint8_t get(unsigned r)
{
	uint8_t v;

	switch (r) {
	case DATA:
		if (port.reg[LCR] & DLAB)
			return port.divisor[0];
		return port.head != port.tail ? port.rx[port.tail++ % RING] : 0;
	case IER: return port.reg[LCR] & DLAB ? port.divisor[1] : port.reg[IER];
	case IIR:
		v = identify();
		if (v == 2)
			port.tx_empty_pending = false;
		return v | 0xc0;
	case LSR: return 0x60 | (port.head != port.tail);
	case MSR: return port.reg[MCR] & LOOP ? (uint8_t)(port.reg[MCR] << 4) : 0xb0;
	default: return port.reg[r];
	}
}

static void set(unsigned r, uint8_t v)
{
	if ((port.reg[LCR] & DLAB) && r <= IER) {
		port.divisor[r] = v;
		return;
	}
	switch (r) {
	case DATA: transmit(v); break;
	case IER:
		if (v & ~port.reg[IER] & IER_TX)
			port.tx_empty_pending = true;
		port.reg[IER] = v & 15;
		break;
	case IIR: /* FIFO control */
		if (v & 2)
			port.tail = port.head;
		break;
	case LSR:
	case MSR: break;
	default: port.reg[r] = v;
	}
}

static void on_access(void *dev, uint64_t offset, void *data, unsigned len, bool write)
{
	uint8_t *bytes = data;

	for (unsigned i = 0; i < len; i++) {
		if (write)
			set((offset + i) & 7, bytes[i]);
		else
			bytes[i] = get((offset + i) & 7);
	}
	update_line();
}

void vm_serial_input(struct vm *vm, const uint8_t *bytes, size_t n)
{
	pthread_mutex_lock(&vm->lock);
	for (size_t i = 0; i < n; i++)
		receive(bytes[i]);
	update_line();
	pthread_mutex_unlock(&vm->lock);
}

void vm_serial(struct vm *vm)
{
	port = (struct serial){ .vm = vm };
	vm_add_ports(vm, (struct vm_range){ 0x3f8, 8, on_access, NULL });
}
