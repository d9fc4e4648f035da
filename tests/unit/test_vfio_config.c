/* SPDX-License-Identifier: MIT
 *
 * Problem: a guest writes the configuration space of a device that it has whole; what it must not reach must not be in
 * what it is shown, whatever the real device says of itself.
 *
 * Idea: a device with all capabilities that are known and one that is not; what is shown of them, what can be written,
 * when a reset is asked for; then real spaces of random bytes, whose shown list must end and stay inside.
 *
 * Contract: none; exits 0 or fails an assertion.
 *
 * Locks: none.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include <lib/string.h>
#include <linux/pci_regs.h>
#include "../../kernel/virt/vfio_pci/config.h"

#define MSIX   0x40
#define HIDDEN 0x50
#define EXP    0x60
#define MSI    0xa0
#define VENDOR 0xc0

static const struct pci_bar bars[6] = {
	{ 0xfe000000, 0x4000, false }, { 0, 0, false }, { 0x800000000, 0x200000000, false }, { 0, 0, false },
	{ 0xc000, 32, true },          { 0, 0, false },
};

static void put(struct shown *s, unsigned at, u32 v)
{
	memcpy(s->real + at, &v, sizeof(v));
}

static u32 get(const struct vpci *p, unsigned at, unsigned n)
{
	u32 v = 0;

	vpci_read(p, at, &v, n);
	return v;
}

static void write_to(struct vpci *p, unsigned at, u32 v, unsigned n)
{
	vpci_write(p, at, &v, n);
}

static struct shown device(void)
{
	struct shown s = { .bar = bars, .has_msix = true, .has_msi = true };

	put(&s, PCI_VENDOR_ID, 0x50011234);
	put(&s, PCI_COMMAND, PCI_STATUS_CAP_LIST << 16 | 7);
	put(&s, PCI_CLASS_REVISION, 0x01080203);
	put(&s, PCI_BASE_ADDRESS_0, 0xfe000000);
	put(&s, PCI_BASE_ADDRESS_2, 0xc); /* wide, prefetchable */
	put(&s, PCI_BASE_ADDRESS_4, 0xc001);
	put(&s, PCI_ROM_ADDRESS, 0xfd000001);
	put(&s, PCI_INTERRUPT_LINE, 0x010b);
	s.real[PCI_CAPABILITY_LIST] = MSIX;
	put(&s, MSIX, PCI_CAP_ID_MSIX | HIDDEN << 8 | (0xc000U | 7) << 16);
	put(&s, MSIX + 4, 0x2000);
	put(&s, HIDDEN, 0x42 | EXP << 8);
	put(&s, EXP, PCI_CAP_ID_EXP | MSI << 8);
	put(&s, EXP + PCI_EXP_DEVCAP, PCI_EXP_DEVCAP_FLR);
	put(&s, MSI, PCI_CAP_ID_MSI | VENDOR << 8 | (PCI_MSI_FLAGS_64BIT | PCI_MSI_FLAGS_ENABLE | 6U) << 16);
	put(&s, MSI + 4, 0xfee01000);
	put(&s, VENDOR, PCI_CAP_ID_VNDR | 0 << 8 | 16U << 16);
	return s;
}

static void identity(void **state)
{
	struct shown s = device();
	struct vpci p;

	config_make(&p, &s);
	assert_int_equal(get(&p, PCI_VENDOR_ID, 4), 0x50011234);
	assert_int_equal(get(&p, PCI_CLASS_REVISION, 4), 0x01080203);
	assert_int_equal(get(&p, PCI_COMMAND, 2), 0);
	assert_int_equal(get(&p, PCI_ROM_ADDRESS, 4), 0);
	assert_int_equal(get(&p, PCI_INTERRUPT_PIN, 1), 0);
	write_to(&p, PCI_VENDOR_ID, ~0U, 4);
	assert_int_equal(get(&p, PCI_VENDOR_ID, 4), 0x50011234);
	assert_false(config_is_master(&p));
	write_to(&p, PCI_COMMAND, PCI_COMMAND_MASTER, 2);
	assert_true(config_is_master(&p));
}

static void registers(void **state)
{
	struct shown s = device();
	struct vpci p;

	config_make(&p, &s);
	for (unsigned i = 0; i < 6; i++) {
		write_to(&p, PCI_BASE_ADDRESS_0 + 4 * i, 0, 4);
		write_to(&p, PCI_BASE_ADDRESS_0 + 4 * i, ~0U, 4);
	}
	assert_int_equal(get(&p, PCI_BASE_ADDRESS_0, 4), ~0x3fffU);
	assert_int_equal(get(&p, PCI_BASE_ADDRESS_2, 4), 0xc); /* 8 GiB: the lower half is all zeros */
	assert_int_equal(get(&p, PCI_BASE_ADDRESS_3, 4), ~1U);
	assert_int_equal(get(&p, PCI_BASE_ADDRESS_4, 4), 0); /* ports are not given */
	assert_int_equal(get(&p, PCI_BASE_ADDRESS_5, 4), 0);
}

static void capabilities(void **state)
{
	struct shown s = device();
	struct vpci p;

	config_make(&p, &s);
	assert_int_equal(get(&p, PCI_CAPABILITY_LIST, 1), MSIX);
	assert_int_equal(get(&p, MSIX + 1, 1), EXP); /* not the one that nobody knows */
	assert_int_equal(get(&p, HIDDEN, 4), 0);
	assert_int_equal(get(&p, MSIX + 2, 2), 7); /* off, whatever the real one is */
	write_to(&p, MSIX + 2, 0xffff, 2);
	assert_int_equal(get(&p, MSIX + 2, 2), 0xc007);
	assert_int_equal(get(&p, MSI + 2, 2), PCI_MSI_FLAGS_64BIT); /* one message, off */
	assert_int_equal(get(&p, MSI + 4, 4), 0);
	write_to(&p, MSI + 4, 0x12345678, 4);
	assert_int_equal(get(&p, MSI + 4, 4), 0x12345678);
	s.has_msix = s.has_msi = false;
	config_make(&p, &s);
	assert_int_equal(get(&p, PCI_CAPABILITY_LIST, 1), EXP);
	assert_int_equal(get(&p, EXP + 1, 1), VENDOR);
	assert_int_equal(get(&p, VENDOR + 1, 1), 0);
}

static void reset(void **state)
{
	struct shown s = device();
	struct vpci p;

	config_make(&p, &s);
	write_to(&p, EXP + PCI_EXP_DEVCTL, 0x2810, 2);
	assert_false(config_wants_reset(&p, EXP + PCI_EXP_DEVCTL, 2));
	write_to(&p, EXP + PCI_EXP_DEVCTL, 0xa810, 2);
	assert_false(config_wants_reset(&p, PCI_COMMAND, 2));
	assert_true(config_wants_reset(&p, EXP + PCI_EXP_DEVCTL, 2));
	assert_false(config_wants_reset(&p, EXP + PCI_EXP_DEVCTL, 2));
	assert_int_equal(get(&p, EXP + PCI_EXP_DEVCTL, 2), 0x2810);
}

static void any_device(void **state)
{
	struct shown s = { .bar = bars, .has_msix = true, .has_msi = true };
	struct vpci p;

	srand(1);
	for (int round = 0; round < 20000; round++) {
		unsigned hops = 0;
		u8 at;

		for (unsigned i = 0; i < VPCI_BYTES; i++)
			s.real[i] =
				(u8)(rand() % 4 ? rand() : (int[]){ 1, 5, 9, 16, 17, 0x40, 0xf0, 0xfc }[rand() % 8]);
		config_make(&p, &s);
		for (at = p.config[PCI_CAPABILITY_LIST]; at && hops < 64; hops++, at = p.config[at + 1U])
			assert_true(at >= PCI_STD_HEADER_SIZEOF);
		assert_int_equal(at, 0);
		(void)config_wants_reset(&p, 0, VPCI_BYTES);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(identity), cmocka_unit_test(registers),
					    cmocka_unit_test(capabilities), cmocka_unit_test(reset),
					    cmocka_unit_test(any_device) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
