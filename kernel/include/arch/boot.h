/* SPDX-License-Identifier: MIT
 *
 * What the loader and the firmware told us, made machine independent. Valid from kmain on;
 * constant. Sources: PVH start info (Xen's documentation, hvm_start_info), ACPI 6.4 (MADT, SRAT,
 * MCFG, FADT, DMAR).
 */
#ifndef ARCH_BOOT_H
#define ARCH_BOOT_H

#include <lib/types.h>

struct boot_range {
	paddr_t base;
	u64 bytes;
	unsigned node;
};

struct boot_info {
	const char *cmdline;
	paddr_t initrd; /* 0: none */
	u64 initrd_bytes;
	struct boot_range ram[64]; /* usable, page aligned, ascending; kernel image and initrd are cut out */
	unsigned nr_ram;
	struct boot_range ram_all[64]; /* all RAM, nothing cut out */
	unsigned nr_ram_all;
	paddr_t pcie_base; /* ECAM base, 0: none */
	u8 pcie_first_bus, pcie_last_bus;
	paddr_t dmar_base;    /* registers of the one remapping unit (Intel's VT-d), 0: none */
	const u8 *dmar_scope; /* which devices it is for, entries as VT-d's 8.3.1 has them; NULL: all */
	u32 dmar_scope_bytes;
};
const struct boot_info *boot_info(void);
void console_init_early(void); /* kmain: log consoles that need no driver (console=) */

/* Copies the value of `name=` (the last one wins), or "" for a bare `name`, into buf. False: not
 * given. */
bool boot_param(const char *name, char *buf, size_t size);
/* A number (decimal, or hexadecimal behind 0x) up to `most`; otherwise: not given, no number or above. */
u64 boot_param_u64(const char *name, u64 most, u64 otherwise);
/* The n-th occurrence (from 0), for parameters that may be repeated (console=). */
bool boot_param_nth(const char *name, unsigned n, char *buf, size_t size);

/* kmain, after alloc_init: interrupt controllers, clocks, FPU. */
void machine_init(void);
/* kmain, with the scheduler ready: starts the other CPUs, at most `max` in all; each runs kmain_secondary(). */
void cpu_start_all(unsigned max);

void __noreturn machine_power_off(int exit_code); /* exit_code goes to the debug-exit device if there is one */
void __noreturn machine_reboot(void);
void machine_debug_exit(int exit_code); /* ends QEMU if it has the debug-exit device, else returns */

#endif
