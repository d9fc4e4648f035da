/* SPDX-License-Identifier: MIT
 *
 * Problem: a guest writes the registers of what every machine of the monitor has: serial port, I/O APIC, PCI bus, the
 * old ports.
 *
 * Idea: the input is a list of accesses, each of a range, an offset in it, a size, and a value; what is typed comes in
 * between.
 *
 * Contract: libFuzzer's; an input ends without a report of ASan or UBSan.
 *
 * Locks: none.
 */
// links: user/ostrom/vm/serial.c user/ostrom/vm/ioapic.c user/ostrom/vm/route.c user/ostrom/vm/legacy.c
// links: user/ostrom/vm/pci.c
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "ostrom.h"
#include "vm/vm.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct vm machine = { .fd = -1 };
static struct vm_range ranges[64];
static unsigned nr;

void vm_add_ports(struct vm *vm, struct vm_range r)
{
	ranges[nr++] = r;
}

struct vm_range *vm_add_mmio(struct vm *vm, struct vm_range r)
{
	ranges[nr] = r;
	return &ranges[nr++];
}

void vm_stop(struct vm *vm, int exit_code)
{
	if (exit_code < 0 || exit_code > 255)
		abort();
}

void vm_keep_picture(struct vm *vm)
{
}

void say_error(const char *fmt, ...)
{
}

static void set_up(void)
{
	nr = 0;
	vm_ioapic(&machine);
	vm_serial(&machine);
	vm_legacy(&machine);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	int nowhere = open("/dev/null", O_WRONLY);

	set_up();
	return nowhere < 0 || dup2(nowhere, 1) < 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	set_up();
	vm_pci(&machine);
	for (; size >= 12; data += 12, size -= 12) {
		struct vm_range *r = &ranges[data[0] % nr];
		unsigned len = 1U << (data[1] & 3);
		uint8_t value[8];

		memcpy(value, data + 4, 8);
		if (data[1] & 0x40)
			vm_serial_input(&machine, data + 4, 8);
		else
			r->access(r->dev, (data[2] | (unsigned)data[3] << 8) % r->bytes, value, len, data[1] & 0x80);
	}
	return 0;
}
