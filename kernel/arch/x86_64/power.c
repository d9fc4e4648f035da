/* SPDX-License-Identifier: MIT
 *
 * Problem: a machine is switched off and reset in half a dozen ways, of which each machine has
 * some.
 *
 * Idea: try them from the most to the least informative. Off: QEMU's isa-debug-exit (which carries
 * an exit code), ACPI S5 through PM1 control or the sleep control register; a microvm without ACPI
 * goes by reset, since QEMU's -no-reboot then ends. Reset: the ACPI reset register, port 0xcf9, the
 * keyboard controller, and last a triple fault.
 *
 * Contract: arch/boot.h. Neither returns. Sources: ACPI 6.4, 4.8.3; QEMU hw/misc/debugexit.c
 * (status is code * 2 + 1).
 *
 * Locks: none; other CPUs may still run, which does no harm.
 */
#include <arch/boot.h>
#include <arch/cpu.h>
#include <arch/io.h>
#include <core/log.h>
#include "x86_priv.h"

#define DEBUG_EXIT_PORT 0x501
#define SLEEP_ENABLE    (1 << 13)

static void sleep_control(void)
{
	u8 v = (u8)(acpi.s5_a << 2 | 1 << 5);

	if (acpi.sleep_space == 1)
		port_out8((u16)acpi.sleep_control, v);
	else
		mmio_write8(early_map(acpi.sleep_control, 1), v);
}

void machine_debug_exit(int exit_code)
{
	if (port_in16(DEBUG_EXIT_PORT) != 0xffff)
		port_out16(DEBUG_EXIT_PORT, (u16)exit_code);
}

void machine_power_off(int exit_code)
{
	irq_disable();
	log_info("machine: power off, exit code %d", exit_code);
	machine_debug_exit(exit_code);
	if (acpi.has_s5 && acpi.pm1a_control) {
		port_out16(acpi.pm1a_control, (u16)(acpi.s5_a << 10 | SLEEP_ENABLE));
		if (acpi.pm1b_control)
			port_out16(acpi.pm1b_control, (u16)(acpi.s5_b << 10 | SLEEP_ENABLE));
	}
	if (acpi.has_s5 && acpi.sleep_control)
		sleep_control();
	machine_reboot();
}

static void __noreturn triple_fault(void)
{
	struct {
		u16 limit;
		u64 base;
	} __packed none = { 0, 0 };

	__asm__ volatile("lidt %0; int3" : : "m"(none));
	for (;;)
		__asm__ volatile("hlt");
}

void machine_reboot(void)
{
	irq_disable();
	if (acpi.reset_address) {
		if (acpi.reset_space == 1)
			port_out8((u16)acpi.reset_address, acpi.reset_value);
		else if (acpi.reset_space == 0)
			mmio_write8(early_map(acpi.reset_address, 1), acpi.reset_value);
	}
	port_out8(0xcf9, 6);
	for (int i = 0; i < 1000 && (port_in8(0x64) & 2); i++)
		cpu_relax();
	port_out8(0x64, 0xfe);
	triple_fault();
}
