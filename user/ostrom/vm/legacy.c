/* SPDX-License-Identifier: MIT
 *
 * Problem: kernels for PCs probe the old interrupt controllers, and switch off and reset by ports.
 *
 * Idea: the controllers' mask registers remember what was written, so that they are found, and do nothing; everything
 * of the guest's goes through the I/O APIC. Power-off is ACPI's PM1 control register, reset any of three ports.
 *
 * Contract: a line "OSTROM-EXIT n" at port 0xe9 is the machine's exit status when it ends. Sources: ACPI 6.4, 4.8.3
 * (PM1 control); Intel 8259A data sheet; QEMU's debug console port.
 *
 * Locks: vm->lock, held by every caller.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "vm.h"

#define SLEEP_ENABLE (1 << 13)

static struct legacy {
	struct vm *vm;
	uint8_t mask[2];
	uint16_t pm[3]; /* status, enable, control */
	char line[64];
	unsigned length;
	int status;
} old;

static void pic(void *dev, uint64_t offset, void *data, unsigned len, bool write)
{
	uint8_t *m = &old.mask[dev != NULL], *v = data;

	if (!offset) {
		if (!write)
			*v = 0;
	} else if (write) {
		*m = *v;
	} else {
		*v = *m;
	}
}

static void power(void *dev, uint64_t offset, void *data, unsigned len, bool write)
{
	uint16_t *r = &old.pm[offset / 2 > 2 ? 2 : offset / 2], v = 0;

	memcpy(&v, data, write ? (len < 2 ? len : 2) : 0);
	if (!write) {
		memset(data, 0, len);
		memcpy(data, r, len < 2 ? len : 2);
	} else if (offset == 4) {
		*r = v | 1; /* SCI_EN: ACPI is on */
		if (v & SLEEP_ENABLE)
			vm_stop(old.vm, old.status);
	} else {
		*r = offset == 0 ? (uint16_t)(*r & ~v) : v;
	}
}

static void reset(void *dev, uint64_t offset, void *data, unsigned len, bool write)
{
	uint8_t *v = data;

	if (!write)
		memset(data, 0, len);
	else if (dev ? *v & 4 : *v == 0xfe)
		vm_stop(old.vm, old.status);
}

static void debug(void *dev, uint64_t offset, void *data, unsigned len, bool write)
{
	char c = *(char *)data;

	if (!write) {
		memset(data, 0xe9, len);
		return;
	}
	if (c != '\n') {
		if (old.length < sizeof(old.line) - 1)
			old.line[old.length++] = c;
		return;
	}
	old.line[old.length] = '\0';
	old.length = 0;
	if (strncmp(old.line, "OSTROM-EXIT ", 12))
		return;
	old.status = atoi(old.line + 12) & 255;
	vm_keep_picture(old.vm); /* its drivers switch the display off next */
}

void vm_legacy(struct vm *vm)
{
	old = (struct legacy){ .vm = vm, .mask = { 0xff, 0xff }, .pm = { 0, 0, 1 } };
	vm_add_ports(vm, (struct vm_range){ 0x20, 2, pic, NULL });
	vm_add_ports(vm, (struct vm_range){ 0xa0, 2, pic, &old });
	vm_add_ports(vm, (struct vm_range){ 0x600, 6, power, NULL });
	vm_add_ports(vm, (struct vm_range){ 0x64, 1, reset, NULL });
	vm_add_ports(vm, (struct vm_range){ 0xcf9, 1, reset, &old });
	vm_add_ports(vm, (struct vm_range){ 0xe9, 1, debug, NULL });
}
