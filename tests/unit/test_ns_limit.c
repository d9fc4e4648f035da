/* SPDX-License-Identifier: MIT
 *
 * Problem: what a user may make in a namespace is counted there and in all above it, and must leave nothing behind.
 *
 * Idea: three levels of user namespaces with limits; namespaces come and go, and after each the counts are empty.
 *
 * Contract: runs under ASan and UBSan on arch/hosted. Locks: none.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <arch/hosted.h>
#include <lib/err.h>
#include <lib/string.h>
#include <task/user_ns.h>

static struct user_ns top, middle, low;
static const kuid_t root = { 0 }, ann = { 1000 }, ben = { 1001 };

static int set_up(void **state)
{
	top = (struct user_ns){ 0 };
	middle = (struct user_ns){ .parent = &top, .owner = ann };
	low = (struct user_ns){ .parent = &middle, .owner = ben };
	for (int k = 0; k < NS_NR; k++)
		top.max[k] = middle.max[k] = low.max[k] = 3;
	return 0;
}

static void nothing_is_left(void)
{
	assert_null(top.counts);
	assert_null(middle.counts);
	assert_null(low.counts);
}

static void counts_to_the_limit(void **state)
{
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 3; i++)
			assert_int_equal(ns_limit_charge(&top, ann, NS_UTS), 0);
		assert_int_equal(ns_limit_charge(&top, ann, NS_UTS), -ENOSPC);
		assert_int_equal(ns_limit_charge(&top, ann, NS_IPC), 0); /* another kind */
		assert_int_equal(ns_limit_charge(&top, ben, NS_UTS), 0); /* another user */
		for (int i = 0; i < 3; i++)
			ns_limit_uncharge(&top, ann, NS_UTS);
		ns_limit_uncharge(&top, ben, NS_UTS);
		ns_limit_uncharge(&top, ann, NS_IPC);
		nothing_is_left();
	}
}

static void owners_pay_above(void **state)
{
	assert_int_equal(ns_limit_charge(&low, root, NS_UTS), 0);
	assert_non_null(top.counts);
	assert_non_null(middle.counts);
	top.max[NS_UTS] = 1; /* ann's, who owns middle */
	assert_int_equal(ns_limit_charge(&low, root, NS_UTS), -ENOSPC);
	assert_int_equal(ns_limit_charge(&middle, ben, NS_UTS), -ENOSPC);
	assert_int_equal(ns_limit_charge(&top, ann, NS_UTS), -ENOSPC);
	assert_int_equal(ns_limit_charge(&top, ben, NS_UTS), 0);
	ns_limit_uncharge(&low, root, NS_UTS);
	ns_limit_uncharge(&top, ben, NS_UTS);
	nothing_is_left();
}

static void none_may_be_made(void **state)
{
	top.max[NS_UTS] = 0;
	assert_int_equal(ns_limit_charge(&top, ann, NS_UTS), -ENOSPC);
	assert_int_equal(ns_limit_charge(&low, root, NS_UTS), -ENOSPC);
	nothing_is_left();
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test_setup(counts_to_the_limit, set_up),
					    cmocka_unit_test_setup(owners_pay_above, set_up),
					    cmocka_unit_test_setup(none_may_be_made, set_up) };

	hosted_start(64);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
