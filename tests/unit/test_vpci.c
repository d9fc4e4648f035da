/* SPDX-License-Identifier: MIT
 *
 * Problem: a guest's driver sizes registers, walks capabilities and writes everywhere; a wrong configuration space is a
 * device that nobody finds, or a hole.
 *
 * Idea: what a driver does, byte by byte: sizing, the list of capabilities, what can be written, both ends of the
 * space.
 *
 * Contract: none; exits 0 or fails an assertion.
 *
 * Locks: none.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <lib/string.h>
#include <linux/pci_regs.h>
#include <virt/vpci.h>

static const struct vpci_id id = { 0x1af4, 0x1050, 0x1af4, 0x1100, 0x038000, 1, true };

static u32 get(const struct vpci *p, unsigned at, unsigned n)
{
	u32 v = 0;

	vpci_read(p, at, &v, n);
	return v;
}

static void put(struct vpci *p, unsigned at, u32 v, unsigned n)
{
	vpci_write(p, at, &v, n);
}

static void identity(void **state)
{
	struct vpci p;

	vpci_init(&p, &id);
	assert_int_equal(get(&p, PCI_VENDOR_ID, 4), 0x10501af4);
	assert_int_equal(get(&p, PCI_CLASS_REVISION, 4), 0x03800001);
	assert_int_equal(get(&p, PCI_SUBSYSTEM_VENDOR_ID, 4), 0x11001af4);
	assert_int_equal(get(&p, PCI_INTERRUPT_PIN, 1), 1);
	put(&p, PCI_VENDOR_ID, ~0U, 4);
	put(&p, PCI_CLASS_REVISION, ~0U, 4);
	put(&p, PCI_INTERRUPT_PIN, 7, 1);
	assert_int_equal(get(&p, PCI_VENDOR_ID, 4), 0x10501af4);
	assert_int_equal(get(&p, PCI_CLASS_REVISION, 4), 0x03800001);
	assert_int_equal(get(&p, PCI_INTERRUPT_PIN, 1), 1);
	assert_int_equal(get(&p, PCI_STATUS, 2), 0); /* no capabilities yet */
}

static void sizing(void **state)
{
	struct vpci p;

	vpci_init(&p, &id);
	vpci_bar(&p, 0, 0x4000, PCI_BASE_ADDRESS_MEM_PREFETCH);
	vpci_bar(&p, 2, 32, PCI_BASE_ADDRESS_SPACE_IO);
	put(&p, PCI_BASE_ADDRESS_0, ~0U, 4);
	assert_int_equal(get(&p, PCI_BASE_ADDRESS_0, 4), ~0x3fffU | PCI_BASE_ADDRESS_MEM_PREFETCH);
	put(&p, PCI_BASE_ADDRESS_0, 0xe0001234, 4);
	assert_int_equal(get(&p, PCI_BASE_ADDRESS_0, 4), 0xe0000000 | PCI_BASE_ADDRESS_MEM_PREFETCH);
	put(&p, PCI_BASE_ADDRESS_1, ~0U, 4);
	assert_int_equal(get(&p, PCI_BASE_ADDRESS_1, 4), 0);
	put(&p, PCI_BASE_ADDRESS_2, 0xc0ff, 4);
	assert_int_equal(get(&p, PCI_BASE_ADDRESS_2, 4), 0xc0e1);
	put(&p, PCI_COMMAND, 0xffff, 2);
	assert_int_equal(get(&p, PCI_COMMAND, 2),
			 PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE);
	vpci_reset(&p);
	assert_int_equal(get(&p, PCI_COMMAND, 2), 0);
	assert_int_equal(get(&p, PCI_BASE_ADDRESS_0, 4), PCI_BASE_ADDRESS_MEM_PREFETCH);
}

static void capabilities(void **state)
{
	u8 body[18] = { 20, 1 }, at, hops = 0;
	struct vpci p;

	vpci_init(&p, &id);
	vpci_msix(&p, 3, 1, 0, 0x800);
	assert_int_equal(vpci_cap(&p, PCI_CAP_ID_VNDR, body, NULL, 20), 0x4c);
	assert_true(get(&p, PCI_STATUS, 2) & PCI_STATUS_CAP_LIST);
	for (at = (u8)get(&p, PCI_CAPABILITY_LIST, 1); at; at = (u8)get(&p, at + 1U, 1), hops++) {
		assert_in_range(at, 0x40, 0xfc);
		if (get(&p, at, 1) != PCI_CAP_ID_MSIX)
			continue;
		assert_int_equal(get(&p, at + PCI_MSIX_FLAGS, 2), 2);
		assert_int_equal(get(&p, at + PCI_MSIX_TABLE, 4), 1);
		assert_int_equal(get(&p, at + PCI_MSIX_PBA, 4), 0x801);
		put(&p, at + PCI_MSIX_FLAGS, 0xffff, 2);
		assert_int_equal(get(&p, at + PCI_MSIX_FLAGS, 2), 0xc002);
	}
	assert_int_equal(hops, 2);
	while (vpci_cap(&p, PCI_CAP_ID_VNDR, body, NULL, 20))
		hops++;
	assert_in_range(hops, 8, 12); /* until the space is full */
}

static void borders(void **state)
{
	struct vpci p;
	u8 buf[16];

	vpci_init(&p, &id);
	vpci_read(&p, VPCI_BYTES - 4, buf, 16);
	assert_int_equal(buf[3], 0);
	assert_int_equal(buf[4], 0xff);
	vpci_read(&p, ~0ULL - 3, buf, 16);
	assert_int_equal(buf[0], 0xff);
	assert_int_equal(buf[4], 0xff); /* does not come around to the beginning */
	memset(buf, 0xff, sizeof(buf));
	vpci_write(&p, VPCI_BYTES - 4, buf, 16);
	vpci_write(&p, ~0ULL - 3, buf, 16);
	assert_int_equal(get(&p, PCI_COMMAND, 2), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(identity), cmocka_unit_test(sizing),
					    cmocka_unit_test(capabilities), cmocka_unit_test(borders) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
