/* SPDX-License-Identifier: MIT
 *
 * Problem: a kernel learns of CPUs, the I/O APIC and the way to switch off from ACPI's tables.
 *
 * Idea: the four that are needed, written one after the other: FADT with the DSDT (the sleep state S5, the PCI bus, the
 * virtio devices as LNRO0005, by which Linux's virtio-mmio driver knows them), MADT, XSDT, RSDP.
 *
 * Contract: vm_acpi writes at `at` (up to 8 KiB) and returns the RSDP's address.
 * Source: ACPI 6.4, 5.2.5 (RSDP), 5.2.8 (XSDT), 5.2.9 (FADT), 5.2.12 (MADT), 7.4.2 (_S5), 20 (machine language).
 *
 * Locks: none; before the CPUs run.
 */
#include <string.h>
#include "virtio.h"

#define PM1_EVENT   0x600
#define PM1_CONTROL 0x604

struct header {
	char signature[4];
	uint32_t length;
	uint8_t revision, checksum;
	char oem[6], table[8];
	uint32_t oem_revision;
	char creator[4];
	uint32_t creator_revision;
} __attribute__((packed));

static uint8_t sum(const void *p, size_t n)
{
	uint8_t s = 0;

	for (size_t i = 0; i < n; i++)
		s += ((const uint8_t *)p)[i];
	return (uint8_t)-s;
}

static void finish(struct header *h, const char *signature, uint32_t length, uint8_t revision)
{
	memcpy(h->signature, signature, 4);
	h->length = length;
	h->revision = revision;
	memcpy(h->oem, "OSTROM", 6);
	memcpy(h->table, "OSTROMVM", 8);
	h->oem_revision = 1;
	memcpy(h->creator, "OSTR", 4);
	h->creator_revision = 1;
	h->checksum = 0;
	h->checksum = sum(h, length);
}

static void put32(uint8_t *t, unsigned at, uint32_t v)
{
	memcpy(t + at, &v, sizeof(v));
}

static void put64(uint8_t *t, unsigned at, uint64_t v)
{
	memcpy(t + at, &v, sizeof(v));
}

/* Machine language of:
 *   Name (\_S5, Package () { 5, 5, 0, 0 })
 *   Scope (\_SB) { Device (PCI0) {
 *     Name (_HID, EisaId ("PNP0A03"))
 *     Name (_CRS, ResourceTemplate () {
 *       WordBusNumber (0 to 0), IO (0xcf8, 8 ports), DWordMemory (0xe0000000 to 0xefffffff) }) } }
 */
static const uint8_t platform[] = {
	0x08, 0x5f, 0x53, 0x35, 0x5f, 0x12, 0x08, 0x04, 0x0a, 0x05, 0x0a, 0x05, 0x00, 0x00, 0x10, 0x45, 0x05,
	0x5f, 0x53, 0x42, 0x5f, 0x5b, 0x82, 0x4d, 0x04, 0x50, 0x43, 0x49, 0x30, 0x08, 0x5f, 0x48, 0x49, 0x44,
	0x0c, 0x41, 0xd0, 0x0a, 0x03, 0x08, 0x5f, 0x43, 0x52, 0x53, 0x11, 0x37, 0x0a, 0x34, 0x88, 0x0d, 0x00,
	0x02, 0x0c, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0x00, 0x47, 0x01, 0xf8, 0x0c,
	0xf8, 0x0c, 0x01, 0x08, 0x87, 0x17, 0x00, 0x00, 0x0c, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	0xe0, 0xff, 0xff, 0xff, 0xef, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x10, 0x79, 0x00,
};

/* Machine language of:
 *   Device (VR00) {
 *     Name (_HID, "LNRO0005")  Name (_UID, 0)
 *     Name (_CRS, ResourceTemplate () { Memory32Fixed (ReadWrite, 0, 0x1000), Interrupt (Consumer, Edge, High) { 0 } })
 * }
 */
static const uint8_t device[] = {
	0x5b, 0x82, 0x3b, 'V',  0x52, 0x30, 0x30, 0x08, 0x5f, 0x48, 0x49, 0x44, 0x0d, 'L',  'N',  'R',
	'O',  '0',  '0',  '0',  '5',  0x00, 0x08, 0x5f, 0x55, 0x49, 0x44, 0x0a, 0x00, 0x08, 0x5f, 0x43,
	0x52, 0x53, 0x11, 0x1a, 0x0a, 0x17, 0x86, 0x09, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x10,
	0x00, 0x00, 0x89, 0x06, 0x00, 0x03, 0x01, 0x00, 0x00, 0x00, 0x00, 0x79, 0x00,
};
enum { DEVICE_NUMBER = 6, DEVICE_UID = 28, DEVICE_BASE = 42, DEVICE_IRQ = 55 };
_Static_assert(sizeof(device) == 61, "a PkgLength of one byte counts itself and what follows");

/* Scope (\_SB) { a device each }; its PkgLength in two bytes. */
static uint32_t write_devices(uint8_t *t)
{
	uint32_t at = 7, bytes;

	for (unsigned i = 0; virtio_nth(i); i++, at += sizeof(device)) {
		memcpy(t + at, device, sizeof(device));
		t[at + DEVICE_NUMBER] = (uint8_t)('0' + i);
		t[at + DEVICE_UID] = (uint8_t)i;
		put32(t + at, DEVICE_BASE, (uint32_t)virtio_base(i));
		put32(t + at, DEVICE_IRQ, virtio_nth(i)->irq);
	}
	bytes = at - 1;
	memcpy(t, (uint8_t[]){ 0x10, (uint8_t)(0x40 | (bytes & 15)), (uint8_t)(bytes >> 4), '_', 'S', 'B', '_' }, 7);
	return at;
}

static uint32_t write_dsdt(uint8_t *t)
{
	uint32_t bytes = sizeof(struct header) + sizeof(platform);

	memcpy(t + sizeof(struct header), platform, sizeof(platform));
	bytes += write_devices(t + bytes);
	finish((struct header *)t, "DSDT", bytes, 2);
	return bytes;
}

static uint32_t write_fadt(uint8_t *t, uint64_t dsdt)
{
	put32(t, 40, (uint32_t)dsdt);
	t[46] = 9; /* SCI */
	put32(t, 56, PM1_EVENT);
	put32(t, 64, PM1_CONTROL);
	t[88] = 4;
	t[89] = 2;
	put32(t, 112, 1 | 1 << 10); /* WBINVD; reset register */
	t[116] = 1;                 /* the reset register: a port of 8 bits */
	t[117] = 8;
	t[119] = 1;
	put64(t, 120, 0xcf9);
	t[128] = 6;
	put64(t, 140, dsdt);
	finish((struct header *)t, "FACP", 276, 6);
	return 276;
}

static uint32_t write_madt(uint8_t *t, unsigned cpus)
{
	uint32_t at = 44;

	put32(t, 36, 0xfee00000);
	put32(t, 40, 1); /* the old controllers are there */
	for (unsigned i = 0; i < cpus; i++, at += 8) {
		t[at] = 0;
		t[at + 1] = 8;
		t[at + 2] = t[at + 3] = (uint8_t)i;
		put32(t, at + 4, 1);
	}
	t[at] = 1;
	t[at + 1] = 12;
	put32(t, at + 4, IOAPIC_BASE);
	at += 12;
	finish((struct header *)t, "APIC", at, 4);
	return at;
}

uint64_t vm_acpi(struct vm *vm, uint64_t at)
{
	uint8_t *base = vm_memory(vm, at, 0x2000), *rsdp = base, *xsdt = base + 0x40;
	uint64_t fadt = at + 0x100, dsdt = at + 0x800, madt = at + 0x400;

	memset(base, 0, 0x2000);
	write_dsdt(base + 0x800);
	write_fadt(base + 0x100, dsdt);
	write_madt(base + 0x400, vm->nr_cpus);
	put64(xsdt, sizeof(struct header), fadt);
	put64(xsdt, sizeof(struct header) + 8, madt);
	finish((struct header *)xsdt, "XSDT", sizeof(struct header) + 16, 1);
	memcpy(rsdp, "RSD PTR ", 8);
	memcpy(rsdp + 9, "OSTROM", 6);
	rsdp[15] = 2;
	put32(rsdp, 20, 36);
	put64(rsdp, 24, at + 0x40);
	rsdp[8] = sum(rsdp, 20);
	rsdp[32] = sum(rsdp, 36);
	return at;
}
