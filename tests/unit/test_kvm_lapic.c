/* SPDX-License-Identifier: MIT
 *
 * Problem: a local APIC that loses or reorders an interrupt hangs a guest once a week.
 *
 * Idea: priorities, nesting, end of interrupt and the timer's modes against what the manual says, with time as a
 * variable.
 *
 * Contract: runs under ASan and UBSan. Locks: none.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include "../../kernel/virt/kvm/lapic.h"
#include <lib/err.h>

static u64 now, armed;
static struct lapic_message sent;
static int eois;

static u64 now_ns(struct lapic *l)
{
	return now;
}

static u64 tsc(struct lapic *l)
{
	return now * 2;
}

static u64 tsc_to_ns(struct lapic *l, u64 cycles)
{
	return cycles / 2;
}

static void arm(struct lapic *l, u64 deadline_ns)
{
	armed = deadline_ns;
}

static void send(struct lapic *l, const struct lapic_message *m)
{
	sent = *m;
}

static void eoi(struct lapic *l, u8 vector)
{
	eois++;
}

static const struct lapic_ops ops = { now_ns, tsc, tsc_to_ns, arm, send, eoi };
static struct lapic l;

static int setup(void **state)
{
	now = 1000;
	eois = 0;
	l = (struct lapic){ .ops = &ops, .id = 3 };
	lapic_reset(&l);
	lapic_write(&l, 0xf0, 0x1ff);
	return 0;
}

/* One edge-triggered interrupt in service, or about to be, and none waiting. */
static void test_quiet_end(void **state)
{
	assert_false(lapic_end_is_quiet(&l, -1)); /* nothing to end */
	lapic_raise(&l, 0x45, false);
	assert_false(lapic_end_is_quiet(&l, -1)); /* it cannot be taken now */
	assert_true(lapic_end_is_quiet(&l, 0x45));
	lapic_raise(&l, 0x31, false);
	assert_false(lapic_end_is_quiet(&l, 0x45)); /* the next one waits for this one's end */
	lapic_accept(&l, 0x45);
	assert_false(lapic_end_is_quiet(&l, -1));
	lapic_end(&l);
	assert_true(lapic_end_is_quiet(&l, 0x31));
	lapic_accept(&l, 0x31);
	assert_true(lapic_end_is_quiet(&l, -1));
	lapic_raise(&l, 0x51, false);
	assert_false(lapic_end_is_quiet(&l, 0x51)); /* nested */
	lapic_accept(&l, 0x51);
	assert_false(lapic_end_is_quiet(&l, -1));
	lapic_end(&l);
	assert_true(lapic_end_is_quiet(&l, -1));
	lapic_end(&l);
	lapic_end(&l); /* none is in service */
	lapic_raise(&l, 0x61, true);
	assert_false(lapic_end_is_quiet(&l, 0x61)); /* its source must hear of the end */
	lapic_accept(&l, 0x61);
	assert_false(lapic_end_is_quiet(&l, -1));
	lapic_end(&l);
	assert_int_equal(eois, 1);
}

static void test_priorities(void **state)
{
	assert_int_equal(lapic_deliverable(&l), -1);
	lapic_raise(&l, 0x31, false);
	lapic_raise(&l, 0x45, false);
	assert_int_equal(lapic_deliverable(&l), 0x45);
	lapic_accept(&l, 0x45);
	assert_int_equal(lapic_deliverable(&l), -1); /* a lower class waits */
	lapic_raise(&l, 0x4f, false);
	assert_int_equal(lapic_deliverable(&l), -1); /* the same class too */
	lapic_raise(&l, 0x51, false);
	assert_int_equal(lapic_deliverable(&l), 0x51);
	lapic_write(&l, 0xb0, 0);
	lapic_accept(&l, 0x51);
	lapic_write(&l, 0xb0, 0);
	lapic_accept(&l, 0x4f);
	lapic_write(&l, 0xb0, 0);
	assert_int_equal(lapic_deliverable(&l), 0x31);
	lapic_set_task_priority(&l, 0x30);
	assert_int_equal(lapic_deliverable(&l), -1);
	assert_int_equal(lapic_highest_request(&l), 0x31);
	lapic_set_task_priority(&l, 0x2f);
	assert_int_equal(lapic_deliverable(&l), 0x31);
	lapic_write(&l, 0xf0, 0xff);
	assert_int_equal(lapic_deliverable(&l), -1); /* disabled by software */
}

static void test_level_end(void **state)
{
	lapic_raise(&l, 0x60, true);
	lapic_accept(&l, 0x60);
	assert_int_equal(lapic_in_service(&l), 0x60);
	lapic_write(&l, 0xb0, 0);
	assert_int_equal(lapic_in_service(&l), -1);
	assert_int_equal(eois, 1);
	lapic_raise(&l, 0x60, false);
	lapic_accept(&l, 0x60);
	lapic_write(&l, 0xb0, 0);
	assert_int_equal(eois, 1);
	lapic_write(&l, 0xb0, 0); /* nothing in service */
	assert_int_equal(eois, 1);
}

static void test_timer(void **state)
{
	lapic_write(&l, 0x3e0, 0xb); /* by 1 */
	lapic_write(&l, 0x320, 0x40);
	lapic_write(&l, 0x380, 500);
	assert_int_equal(armed, 1500);
	now = 1200;
	assert_int_equal(lapic_read(&l, 0x390), 300);
	now = 1500;
	assert_int_equal(lapic_timer_expired(&l), 0x40);
	assert_int_equal(lapic_timer_expired(&l), -1); /* once */
	assert_int_equal(lapic_deliverable(&l), 0x40);
	assert_int_equal(lapic_read(&l, 0x390), 0);
	lapic_write(&l, 0x320, 0x40 | 1 << 17); /* periodic: a change of mode disarms */
	assert_int_equal(armed, 0);
	lapic_write(&l, 0x3e0, 0x3); /* by 16 */
	lapic_write(&l, 0x380, 100);
	assert_int_equal(armed, 1500 + 1600);
	now = armed + 10;
	lapic_timer_expired(&l);
	assert_int_equal(armed, 1500 + 3200); /* no drift */
	lapic_write(&l, 0x320, 0x40 | 2 << 17);
	lapic_set_tsc_deadline(&l, (now + 70) * 2);
	assert_int_equal(armed, now + 70);
	lapic_set_tsc_deadline(&l, 0);
	assert_int_equal(armed, 0);
}

static void test_commands(void **state)
{
	u64 v;

	lapic_write(&l, 0x310, 0x05000000);
	lapic_write(&l, 0x300, 0x4045);
	assert_int_equal(sent.vector, 0x45);
	assert_int_equal(sent.dest, 5);
	assert_int_equal(lapic_set_base(&l, LAPIC_DEFAULT_BASE | LAPIC_BASE_X2), -EINVAL);
	assert_int_equal(lapic_msr_read(&l, 0x802, &v), -EINVAL); /* not in this mode */
	assert_int_equal(lapic_set_base(&l, LAPIC_DEFAULT_BASE | LAPIC_BASE_ENABLE | LAPIC_BASE_X2), 0);
	assert_int_equal(lapic_msr_read(&l, 0x802, &v), 0);
	assert_int_equal(v, 3);
	assert_int_equal(lapic_msr_write(&l, 0x830, 7ULL << 32 | 0x51), 0);
	assert_int_equal(sent.dest, 7);
	assert_int_equal(lapic_msr_write(&l, 0x802, 1), -EINVAL);
	assert_int_equal(lapic_msr_write(&l, 0x808, 1ULL << 32), -EINVAL);
	assert_int_equal(lapic_msr_write(&l, 0x83f, 0x77), 0);
	assert_int_equal(lapic_deliverable(&l), 0x77);
}

static void test_destinations(void **state)
{
	assert_true(lapic_matches(&l, 3, false, false));
	assert_false(lapic_matches(&l, 4, false, false));
	assert_true(lapic_matches(&l, 0xff, false, false));
	lapic_write(&l, 0xd0, 0x04000000);
	assert_true(lapic_matches(&l, 0x0c, true, false)); /* flat */
	assert_false(lapic_matches(&l, 0x03, true, false));
	lapic_write(&l, 0xe0, 0x0fffffff); /* cluster */
	lapic_write(&l, 0xd0, 0x21000000);
	assert_true(lapic_matches(&l, 0x23, true, false));
	assert_false(lapic_matches(&l, 0x13, true, false));
	assert_int_equal(lapic_set_base(&l, l.base | LAPIC_BASE_X2), 0);
	assert_true(lapic_matches(&l, 1 << 3, true, true));
	assert_false(lapic_matches(&l, 1 << 16 | 1 << 3, true, true));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_priorities, setup), cmocka_unit_test_setup(test_quiet_end, setup),
		cmocka_unit_test_setup(test_level_end, setup),  cmocka_unit_test_setup(test_timer, setup),
		cmocka_unit_test_setup(test_commands, setup),   cmocka_unit_test_setup(test_destinations, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
