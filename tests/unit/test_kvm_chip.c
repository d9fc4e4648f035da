/* SPDX-License-Identifier: MIT
 *
 * Problem: an interrupt controller that loses an edge or an end of interrupt hangs a guest.
 *
 * Idea: the 8259A pair and the I/O APIC against what their data sheets say: priorities, nesting, cascade, edges and
 * levels, masks. Then random writes to every register, after which no answer leaves its range.
 *
 * Contract: runs under ASan and UBSan. Locks: none.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include "../../kernel/virt/kvm/ioapic.h"
#include "../../kernel/virt/kvm/pic.h"

static struct pic p;
static struct ioapic io;
static u64 sent_row;
static int sent;

static void init_pic(void)
{
	static const u8 words[2][4] = { { 0x11, 0x20, 4, 1 }, { 0x11, 0x28, 2, 1 } };

	pic_reset(&p);
	for (unsigned i = 0; i < 2; i++)
		for (unsigned w = 0; w < 4; w++)
			pic_write(&p, (u16)((i ? 0xa0 : 0x20) + (w > 0)), words[i][w]);
}

static void pulse(unsigned irq)
{
	pic_line(&p, irq, true);
	pic_line(&p, irq, false);
}

static void test_edge_and_eoi(void **state)
{
	init_pic();
	assert_false(pic_output(&p));
	pulse(1);
	assert_true(pic_output(&p));
	assert_int_equal(pic_acknowledge(&p), 0x21);
	assert_false(pic_output(&p));
	pulse(1);
	assert_false(pic_output(&p)); /* in service */
	pic_write(&p, 0x20, 0x20);
	assert_int_equal(pic_acknowledge(&p), 0x21);
	pic_write(&p, 0x20, 0x61);
	assert_false(pic_output(&p));
	assert_int_equal(pic_acknowledge(&p), 0x27); /* spurious */
}

static void test_priority_and_mask(void **state)
{
	init_pic();
	pulse(5);
	pulse(3);
	pulse(4);
	assert_int_equal(pic_acknowledge(&p), 0x23);
	assert_false(pic_output(&p));
	pulse(0); /* above what is in service */
	assert_int_equal(pic_acknowledge(&p), 0x20);
	pic_write(&p, 0x20, 0x20);
	pic_write(&p, 0x20, 0x20);
	pic_write(&p, 0x21, 1 << 4);
	assert_int_equal(pic_read(&p, 0x21), 1 << 4);
	assert_int_equal(pic_acknowledge(&p), 0x25);
	pic_write(&p, 0x20, 0xe5); /* rotate: 5 is last now */
	pic_write(&p, 0x21, 0);
	pulse(5);
	pulse(6);
	assert_int_equal(pic_acknowledge(&p), 0x26);
}

static void test_cascade_and_level(void **state)
{
	init_pic();
	pulse(8);
	assert_int_equal(pic_acknowledge(&p), 0x28);
	pic_write(&p, 0x20, 0x0b);
	assert_int_equal(pic_read(&p, 0x20), 1 << 2);
	pulse(12);
	assert_false(pic_output(&p)); /* the second one is in service as a whole */
	pic_write(&p, 0xa0, 0x20);
	pic_write(&p, 0x20, 0x20);
	assert_int_equal(pic_acknowledge(&p), 0x2c);
	pic_write(&p, 0xa0, 0x20);
	pic_write(&p, 0x20, 0x20);
	pic_write(&p, 0x4d1, 0xff);
	assert_int_equal(pic_read(&p, 0x4d1), 0xde);
	pic_line(&p, 10, true);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(pic_acknowledge(&p), 0x2a);
		pic_write(&p, 0xa0, 0x20);
		pic_write(&p, 0x20, 0x20);
	}
	pic_line(&p, 10, false);
	assert_int_equal(pic_acknowledge(&p), 0x2f); /* it had asked: a spurious one of the second */
}

static void on_send(struct ioapic *i, u64 row)
{
	sent_row = row;
	sent++;
}

static void set_row(unsigned pin, u64 row)
{
	ioapic_write(&io, 0, 0x11 + 2 * pin);
	ioapic_write(&io, 0x10, (u32)(row >> 32));
	ioapic_write(&io, 0, 0x10 + 2 * pin);
	ioapic_write(&io, 0x10, (u32)row);
}

static int setup_io(void **state)
{
	io = (struct ioapic){ .send = on_send };
	ioapic_reset(&io);
	sent = 0;
	return 0;
}

static void test_io_edge(void **state)
{
	ioapic_line(&io, 4, true);
	assert_int_equal(sent, 0); /* masked */
	set_row(4, 3ULL << 56 | 0x31);
	ioapic_line(&io, 4, true);
	assert_int_equal(sent, 0); /* no edge */
	ioapic_line(&io, 4, false);
	ioapic_line(&io, 4, true);
	assert_int_equal(sent, 1);
	assert_true(sent_row == (3ULL << 56 | 0x31));
	assert_int_equal(ioapic_read(&io, 0x10), 0x31);
}

static void test_io_level(void **state)
{
	set_row(9, 0x8032);
	ioapic_line(&io, 9, true);
	ioapic_line(&io, 9, true);
	assert_int_equal(sent, 1);
	assert_int_equal(ioapic_read(&io, 0x10), 0xc032); /* remote IRR */
	ioapic_eoi(&io, 0x33);
	assert_int_equal(sent, 1);
	ioapic_eoi(&io, 0x32);
	assert_int_equal(sent, 2);
	ioapic_line(&io, 9, false);
	ioapic_eoi(&io, 0x32);
	assert_int_equal(sent, 2);
	assert_int_equal(ioapic_read(&io, 0x10), 0x8032);
}

static void test_random(void **state)
{
	u64 x = 88172645463325252ULL;

	init_pic();
	for (int i = 0; i < 200000; i++) {
		static const u16 ports[] = { 0x20, 0x21, 0xa0, 0xa1, 0x4d0, 0x4d1 };

		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		switch (x % 5) {
		case 0: pic_write(&p, ports[x >> 8 & 3], (u8)(x >> 16)); break;
		case 1: pic_write(&p, ports[(x >> 8) % 6], (u8)(x >> 16)); break;
		case 2: pic_line(&p, x >> 8 & 15, x >> 16 & 1); break;
		case 3: (void)pic_acknowledge(&p); break;
		default:
			ioapic_write(&io, x >> 8 & 0x10, (u32)(x >> 16));
			ioapic_line(&io, (unsigned)(x >> 40) % KVM_IOAPIC_NUM_PINS, x >> 48 & 1);
			ioapic_eoi(&io, (u8)(x >> 50));
		}
		assert_true((p.chip[0].elcr & 7) == 0 && (p.chip[1].elcr & 0x21) == 0 && p.chip[0].priority_add < 8);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_edge_and_eoi),
		cmocka_unit_test(test_priority_and_mask),
		cmocka_unit_test(test_cascade_and_level),
		cmocka_unit_test_setup(test_io_edge, setup_io),
		cmocka_unit_test_setup(test_io_level, setup_io),
		cmocka_unit_test_setup(test_random, setup_io),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
