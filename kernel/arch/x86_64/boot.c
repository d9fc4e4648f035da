/* SPDX-License-Identifier: MIT
 *
 * Problem: the loader describes memory, command line and initrd in its own structures, in memory
 * that we are about to use for something else.
 *
 * Idea: copy everything into `struct boot_info` before the first allocation: usable ranges page
 * aligned and ascending, with the kernel image, the initrd and the first 64 KiB (firmware data, AP
 * trampoline) cut out.
 *
 * Contract: arch/boot.h. Source: PVH start info, version 0 and 1 (Xen:
 * public/arch-x86/hvm/start_info.h). A version 0 block has no memory map: then we say so and stop,
 * since nothing can run without one.
 *
 * Locks: none; written before other CPUs run, constant afterwards.
 */
#include <arch/boot.h>
#include <arch/io.h>
#include <arch/upcalls.h>
#include <core/log.h>
#include <lib/pvh.h>
#include <lib/string.h>
#include "x86_priv.h"

static struct boot_info info;
static char cmdline[4096];
paddr_t boot_rsdp;

const struct boot_info *boot_info(void)
{
	return &info;
}

static void add_range(u64 start, u64 end)
{
	unsigned i;

	start = ALIGN_UP(start, PAGE_SIZE);
	end = ALIGN_DOWN(end, PAGE_SIZE);
	if (start >= end || info.nr_ram == ARRAY_SIZE(info.ram))
		return;
	for (i = info.nr_ram++; i > 0 && info.ram[i - 1].base > start; i--)
		info.ram[i] = info.ram[i - 1];
	info.ram[i] = (struct boot_range){ .base = start, .bytes = end - start };
}

/* Takes [start, end) out of the usable ranges. */
static void cut(u64 start, u64 end)
{
	struct boot_range old[ARRAY_SIZE(info.ram)];
	unsigned n = info.nr_ram;

	start = ALIGN_DOWN(start, PAGE_SIZE);
	end = ALIGN_UP(end, PAGE_SIZE);
	memcpy(old, info.ram, sizeof(old));
	info.nr_ram = 0;
	for (unsigned i = 0; i < n; i++) {
		u64 a = old[i].base, b = a + old[i].bytes;

		add_range(a, min(b, start));
		add_range(max(a, end), b);
	}
}

static void read_memmap(const struct pvh_start_info *si)
{
	const struct pvh_memmap *m = phys_to_virt(si->memmap);

	if (si->version < 1 || !si->memmap_entries)
		panic("the loader gave no memory map");
	for (unsigned i = 0; i < si->memmap_entries; i++)
		if (m[i].type == PVH_TYPE_RAM)
			add_range(m[i].addr, m[i].addr + m[i].size);
	memcpy(info.ram_all, info.ram, sizeof(info.ram));
	info.nr_ram_all = info.nr_ram;
}

/* The command line where the loader put it; NULL: none. */
const char *boot_words(paddr_t start_info)
{
	const struct pvh_start_info *si = phys_to_virt(start_info);

	return si->magic == PVH_MAGIC && si->cmdline ? phys_to_virt(si->cmdline) : NULL;
}

static void read_start_info(paddr_t pa)
{
	const struct pvh_start_info *si = phys_to_virt(pa);

	if (si->magic != PVH_MAGIC)
		panic("no PVH start info at %#lx", (ulong)pa);
	boot_rsdp = si->rsdp;
	if (si->cmdline)
		str_copy(cmdline, phys_to_virt(si->cmdline), sizeof(cmdline));
	info.cmdline = cmdline;
	read_memmap(si);
	if (si->nr_modules) {
		const struct pvh_module *mod = phys_to_virt(si->modules);

		info.initrd = mod->paddr;
		info.initrd_bytes = mod->size;
		cut(info.initrd, info.initrd + info.initrd_bytes);
	}
	cut(0, 0x10000);
	cut((ulong)image_start - KERNEL_BASE, (ulong)image_end - KERNEL_BASE);
}

/* One word of the command line: returns its end, or NULL at the end of the text. Quotes group. */
static const char *next_word(const char **s)
{
	const char *p = *s;
	bool quoted = false;

	while (*p == ' ' || *p == '\n' || *p == '\t')
		p++;
	*s = p;
	if (!*p)
		return NULL;
	for (; *p && (quoted || (*p != ' ' && *p != '\n' && *p != '\t')); p++)
		if (*p == '"')
			quoted = !quoted;
	return p;
}

static void copy_value(const char *from, const char *end, char *buf, size_t size)
{
	size_t n = 0;

	for (; from < end; from++)
		if (*from != '"' && n + 1 < size)
			buf[n++] = *from;
	if (size)
		buf[n] = '\0';
}

bool boot_param_nth(const char *name, unsigned n, char *buf, size_t size)
{
	const char *s = cmdline, *end;
	size_t len = strlen(name);

	for (; (end = next_word(&s)); s = end) {
		if (end - s == 2 && s[0] == '-' && s[1] == '-')
			break; /* what follows is for init */
		if ((size_t)(end - s) < len || strncmp(s, name, len))
			continue;
		if (s + len != end && s[len] != '=')
			continue;
		if (n--)
			continue;
		copy_value(s + len + (s + len < end), end, buf, size);
		return true;
	}
	return false;
}

bool boot_param(const char *name, char *buf, size_t size)
{
	unsigned n = 0;

	while (boot_param_nth(name, n, buf, size))
		n++;
	return n > 0;
}

u64 boot_param_u64(const char *name, u64 most, u64 otherwise)
{
	char text[24];
	u64 n;

	return boot_param(name, text, sizeof(text)) && !str_to_u64(text, 0, &n) && n <= most ? n : otherwise;
}

void x86_start(paddr_t start_info)
{
	percpu_init_boot();
	cpu_init_tables(0);
	read_start_info(start_info);
	cpu_detect();
	bugs_init();
	if (cpu_has(CPU_SMAP))
		user_enable_smap();
	cpu_enable_features();
	mmu_init();
	pti_init();
	acpi_init();
	numa_init(&info);
	numa_cpu_added(0, cpu_own_apic_id());
	cpu_show_number();
	info.pcie_base = acpi.pcie_base;
	info.pcie_first_bus = acpi.pcie_first_bus;
	info.pcie_last_bus = acpi.pcie_last_bus;
	info.dmar_base = acpi.dmar_base;
	info.dmar_scope = acpi.dmar_scope;
	info.dmar_scope_bytes = acpi.dmar_scope_bytes;
	kmain();
}
