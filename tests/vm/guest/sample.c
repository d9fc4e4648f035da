/* SPDX-License-Identifier: MIT
 *
 * Problem: a device passed to a guest must work for the guest as it does for the program.
 *
 * Idea: the kernel's sample device (mdev_sample), driven from a guest without a kernel: found on the bus, its registers
 * sized and used, its copies of guest memory in both directions, its interrupts, masked and unmasked.
 *
 * Contract: prints `ok NAME` a part; status 0 or 1. Locks: none.
 */
#include "bare.h"

#define SAMPLE 0x4f531234

static volatile uint32_t *reg;

static unsigned command(unsigned what, uintptr_t address)
{
	reg[5] = (uint32_t)address;
	reg[6] = (uint32_t)(address >> 32);
	reg[7] = what;
	return reg[8];
}

static int bare_main(void)
{
	unsigned slot = pci_find(SAMPLE, 0), cap;
	volatile uint8_t *memory;
	uint32_t old;

	check(pci_get(0, 8) >> 16 == 0x0600, "host bridge");
	check(slot, "the device is on the bus");
	check(pci_get(slot, 0x100) == pci_get(slot, 0) && pci_get(31, 0) == ~0U, "an empty slot");
	old = pci_get(slot, 0x10);
	pci_put(slot, 0x10, ~0U);
	check(~pci_get(slot, 0x10) + 1 == 0x2000, "size of registers");
	pci_put(slot, 0x10, old);
	pci_put(slot, 4, 6);
	reg = (void *)pci_bar(slot, 0);
	check(reg[0] == 0x4c504d53, "registers");
	say("ok found\n");

	memory = (uint8_t *)reg + 0x1000;
	memset((void *)HEAP, 0x5a, 8192);
	check(command(1, HEAP + 2048) == 0 && memory[0] == 0x5a && memory[4095] == 0x5a, "read of guest memory");
	memory[17] = 0x33;
	check(command(2, HEAP + 4096) == 0 && *(uint8_t *)(HEAP + 4096 + 17) == 0x33, "write to guest memory");
	check(command(1, 0xa0000000) == 14, "an address that is not memory");
	check(command(3, HEAP) == 0 && reg[9] == 1 && command(4, 0) == 0 && reg[9] == 0, "pins");
	say("ok memory\n");

	msix_on(slot, 0, 0);
	msix_on(slot, 1, 1);
	reg[3] = 1;
	wait_interrupt(1, 1);
	reg[3] = 0;
	wait_interrupt(0, 1);
	check(bare_count[1] == 1, "one interrupt each");
	cap = pci_cap(slot, 0, 0x11);
	pci_put(slot, cap, (pci_get(slot, cap) & 0xffff) | 0xc0000000); /* all masked */
	reg[3] = 1;
	for (volatile int i = 0; i < 100000; i++)
		;
	check(bare_count[1] == 1, "masked");
	pci_put(slot, cap, (pci_get(slot, cap) & 0xffff) | 0x80000000);
	wait_interrupt(1, 2); /* what came while masked is not lost */
	say("ok interrupts\n");
	return 0;
}
