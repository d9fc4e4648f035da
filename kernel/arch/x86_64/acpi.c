/* SPDX-License-Identifier: MIT
 *
 * Problem: CPUs, interrupt controllers, the PCIe window, NUMA nodes and the way to power off are
 * found in ACPI tables.
 *
 * Idea: walk the XSDT (or RSDT) once at boot and keep facts, not tables. No AML interpreter
 * (design): the value for S5 is found by its byte pattern in the DSDT: NameOp "_S5_" PackageOp, two
 * small integers. Without ACPI the number of CPUs comes from QEMU's fw_cfg device, since APIC ids
 * are then 0..n-1 there.
 *
 * Contract: `acpi` is filled by acpi_init and constant afterwards. Every length is checked against
 * its table, so a broken table gives fewer facts, never a wild read. Sources: ACPI 6.4 (5.2.5
 * RSDP, 5.2.9 FADT, 5.2.12 MADT, 5.2.16 SRAT, 5.2.17 SLIT, 4.8.3.7 sleep control), PCI Firmware 3.0 (MCFG), Intel VT-d
 * 3.3 (8.1 to 8.3 DMAR), QEMU docs/specs/fw_cfg.
 *
 * Locks: none.
 */
#include <arch/io.h>
#include <core/log.h>
#include <lib/string.h>
#include "x86_priv.h"

struct acpi_facts acpi = { .lapic_base = 0xfee00000 };

struct rsdp {
	char signature[8];
	u8 checksum;
	char oem[6];
	u8 revision;
	u32 rsdt;
	u32 length;
	u64 xsdt;
} __packed;

struct sdt {
	char signature[4];
	u32 length;
	u8 revision, checksum;
	char oem[6], oem_table[8];
	u32 oem_revision, creator, creator_revision;
} __packed;

static u32 get32(const u8 *p)
{
	u32 v;

	memcpy(&v, p, 4);
	return v;
}

static u64 get64(const u8 *p)
{
	u64 v;

	memcpy(&v, p, 8);
	return v;
}

static u16 get16(const u8 *p)
{
	return (u16)(p[0] | p[1] << 8);
}

static void parse_madt_entry(const u8 *e, unsigned len)
{
	unsigned n = acpi.nr_cpus;

	if (e[0] == 0 && len >= 8 && (get32(e + 4) & 1) && n < MAX_CPUS) {
		acpi.apic_id[n] = e[3];
		acpi.nr_cpus++;
	} else if (e[0] == 1 && len >= 12 && acpi.nr_ioapics < ARRAY_SIZE(acpi.ioapic)) {
		acpi.ioapic[acpi.nr_ioapics].id = e[2];
		acpi.ioapic[acpi.nr_ioapics].base = get32(e + 4);
		acpi.ioapic[acpi.nr_ioapics++].gsi_base = get32(e + 8);
	} else if (e[0] == 2 && len >= 10 && e[3] < 16) {
		acpi.isa_irq[e[3]].gsi = get32(e + 4);
		acpi.isa_irq[e[3]].flags = get16(e + 8);
		acpi.isa_irq[e[3]].given = true;
	} else if (e[0] == 9 && len >= 16 && (get32(e + 8) & 1) && n < MAX_CPUS && get32(e + 4) < 255) {
		acpi.apic_id[n] = get32(e + 4);
		acpi.nr_cpus++;
	}
}

static void parse_madt(const u8 *t, u32 length)
{
	if (length < 44)
		return;
	acpi.lapic_base = get32(t + 36);
	for (u32 at = 44; at + 2 <= length && t[at + 1] >= 2 && at + t[at + 1] <= length; at += t[at + 1])
		parse_madt_entry(t + at, t[at + 1]);
}

static void cpu_domain(u32 apic_id, u32 domain)
{
	for (unsigned c = 0; c < acpi.nr_cpus; c++)
		if (acpi.apic_id[c] == apic_id) {
			acpi.cpu_domain[c] = domain;
			acpi.cpu_domain_given[c] = true;
		}
}

/* Numbers of domains have one byte in the entries of CPUs in revision 1, and four later. */
static void parse_srat(const u8 *t, u32 length)
{
	u32 high = t[8] >= 2 ? ~0U : 0xff;

	for (u32 at = 48; at + 2 <= length && t[at + 1] >= 2 && at + t[at + 1] <= length; at += t[at + 1]) {
		const u8 *e = t + at;

		if (e[0] == 1 && e[1] >= 40 && (get32(e + 28) & 1) && get64(e + 16) &&
		    acpi.nr_node_mem < ARRAY_SIZE(acpi.node_mem))
			acpi.node_mem[acpi.nr_node_mem++] = (struct boot_range){ .base = get64(e + 8),
										 .bytes = get64(e + 16),
										 .node = get32(e + 2) & high };
		if (e[0] == 0 && e[1] >= 16 && (get32(e + 4) & 1))
			cpu_domain(e[3], (e[2] | (u32)(e[9] | e[10] << 8 | e[11] << 16) << 8) & high);
		if (e[0] == 2 && e[1] >= 24 && (get32(e + 12) & 1))
			cpu_domain(get32(e + 8), get32(e + 4));
	}
}

static void parse_slit(const u8 *t, u32 length)
{
	u64 n = length >= 44 ? get64(t + 36) : 0;

	if (n > 255 || 44 + n * n > length)
		return;
	acpi.slit = t + 44;
	acpi.slit_domains = (unsigned)n;
}

static void parse_mcfg(const u8 *t, u32 length)
{
	if (length < 60)
		return;
	acpi.pcie_base = get64(t + 44);
	acpi.pcie_first_bus = t[54];
	acpi.pcie_last_bus = t[55];
}

/* The remapping unit of a machine that has one; with several, none. */
static void parse_dmar(const u8 *t, u32 length)
{
	unsigned units = 0;

	for (u32 at = 48; at + 16 <= length && get16(t + at + 2) >= 16; at += get16(t + at + 2)) {
		const u8 *unit = t + at;
		u32 bytes = get16(unit + 2);

		if (get16(unit) != 0 || at + bytes > length)
			continue;
		units++;
		acpi.dmar_base = get16(unit + 6) ? 0 : get64(unit + 8);
		acpi.dmar_scope = unit[4] & 1 ? NULL : unit + 16;
		acpi.dmar_scope_bytes = bytes - 16;
	}
	if (units > 1)
		acpi.dmar_base = 0;
}

/* An AML integer of one byte: ZeroOp, OneOp or BytePrefix. Returns the bytes it takes, 0 if it is
 * something else. */
static unsigned aml_small(const u8 *p, u8 *v)
{
	if (p[0] == 0x0a) {
		*v = p[1];
		return 2;
	}
	*v = p[0];
	return p[0] <= 1 ? 1 : 0;
}

static void find_s5(const u8 *t, u32 length)
{
	for (u32 i = sizeof(struct sdt); i + 16 < length; i++) {
		const u8 *p = t + i;
		unsigned n;

		if (memcmp(p, "_S5_", 4) || p[4] != 0x12)
			continue;
		p += 5;
		p += (p[0] >> 6) + 2; /* PkgLength, then the number of elements */
		n = aml_small(p, &acpi.s5_a);
		if (n && aml_small(p + n, &acpi.s5_b)) {
			acpi.has_s5 = true;
			return;
		}
	}
}

static const u8 *table_at(paddr_t pa)
{
	const struct sdt *t = early_map(pa, sizeof(*t));

	if (t->length < sizeof(*t) || t->length > 16 << 20)
		return NULL;
	return early_map(pa, t->length);
}

static void parse_fadt(const u8 *t, u32 length)
{
	u64 dsdt;
	const u8 *d;

	if (length < 116)
		return;
	dsdt = length >= 148 && get64(t + 140) ? get64(t + 140) : get32(t + 40);
	acpi.pm1a_control = (u16)get32(t + 64);
	acpi.pm1b_control = (u16)get32(t + 68);
	acpi.pm_timer_port = (u16)get32(t + 76);
	if (length >= 129 && (get32(t + 112) & 1 << 10)) {
		acpi.reset_space = t[116];
		acpi.reset_address = get64(t + 120);
		acpi.reset_value = t[128];
	}
	if (length >= 268 && (get32(t + 112) & 1 << 20)) { /* hardware reduced */
		acpi.sleep_space = t[244];
		acpi.sleep_control = get64(t + 248);
		acpi.pm_timer_port = 0;
		acpi.pm1a_control = acpi.pm1b_control = 0;
	}
	d = dsdt ? table_at(dsdt) : NULL;
	if (d)
		find_s5(d, ((const struct sdt *)d)->length);
}

static void parse_table(paddr_t pa, bool srat)
{
	const u8 *t = table_at(pa);
	u32 length = t ? ((const struct sdt *)t)->length : 0;

	if (!t)
		return;
	if (srat) {
		if (!memcmp(t, "SRAT", 4))
			parse_srat(t, length);
		return;
	}
	if (!memcmp(t, "APIC", 4))
		parse_madt(t, length);
	else if (!memcmp(t, "FACP", 4))
		parse_fadt(t, length);
	else if (!memcmp(t, "MCFG", 4))
		parse_mcfg(t, length);
	else if (!memcmp(t, "SLIT", 4))
		parse_slit(t, length);
	else if (!memcmp(t, "DMAR", 4))
		parse_dmar(t, length);
}

static void parse_root(const struct rsdp *r)
{
	bool wide = r->revision >= 2 && r->xsdt;
	const u8 *root = table_at(wide ? r->xsdt : r->rsdt);
	u32 size = wide ? 8 : 4, length = root ? ((const struct sdt *)root)->length : 0;

	/* Twice: SRAT names CPUs by the ids that MADT gives. */
	for (int pass = 0; pass < 2; pass++)
		for (u32 at = sizeof(struct sdt); at + size <= length; at += size)
			parse_table(wide ? get64(root + at) : get32(root + at), pass);
	acpi.present = root != NULL;
}

static u16 fw_cfg_u16(u16 key)
{
	u16 v;

	port_out16(0x510, key);
	v = port_in8(0x511);
	return (u16)(v | port_in8(0x511) << 8);
}

static bool fw_cfg_there(void)
{
	port_out16(0x510, 0);
	return port_in8(0x511) == 'Q' && port_in8(0x511) == 'E' && port_in8(0x511) == 'M' && port_in8(0x511) == 'U';
}

/* APIC ids count up without MADT; the IOAPIC sits where every PC has it. */
static void assume_plain_pc(void)
{
	acpi.nr_cpus = fw_cfg_there() ? clamp(fw_cfg_u16(5), (u16)1, (u16)MAX_CPUS) : 1;
	for (unsigned i = 0; i < acpi.nr_cpus; i++)
		acpi.apic_id[i] = i;
	if (!acpi.nr_ioapics)
		acpi.ioapic[acpi.nr_ioapics++].base = 0xfec00000;
}

static paddr_t find_rsdp(void)
{
	if (boot_rsdp)
		return boot_rsdp;
	for (paddr_t pa = 0xe0000; pa < 0x100000; pa += 16)
		if (!memcmp(phys_to_virt(pa), "RSD PTR ", 8))
			return pa;
	return 0;
}

void acpi_init(void)
{
	paddr_t at = find_rsdp();
	const struct rsdp *r = at ? early_map(at, sizeof(*r)) : NULL;

	if (r && !memcmp(r->signature, "RSD PTR ", 8))
		parse_root(r);
	if (!acpi.nr_cpus)
		assume_plain_pc();
}
