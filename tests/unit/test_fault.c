/* SPDX-License-Identifier: MIT
 *
 * Problem: a fault rule that is misread, or acts on another request than it says, makes tests lie.
 *
 * Idea: lines and what they mean; lines that are refused; a rule before a row of requests.
 *
 * Contract: runs under ASan and UBSan. Locks: none.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <lib/err.h>
#include "../../kernel/drivers/fault/rules.h"

static int parse(const char *line, struct fault_rule *r)
{
	char *copy = strdup(line);
	int err = fault_rule_parse(copy, r);

	free(copy);
	return err;
}

static void meanings(void **state)
{
	struct fault_rule r;
	char text[256];
	struct strbuf out;

	assert_int_equal(parse("fail", &r), 0);
	assert_int_equal(r.error, -EIO);
	assert_int_equal(parse("  fail op=write sectors=8-15 after=2 count=3 error=ENOSPC\n", &r), 0);
	assert_int_equal(r.ops, 1 << FAULT_WRITE);
	assert_int_equal(r.first, 8);
	assert_int_equal(r.last, 15);
	assert_int_equal(r.error, -ENOSPC);
	strbuf_init(&out, text, sizeof(text));
	fault_rule_show(&r, &out);
	assert_string_equal(text, "fail op=write sectors=8-15 after=2 count=3 error=28 # seen 0, acted 0\n");
	assert_int_equal(parse("delay us=250", &r), 0);
	assert_int_equal(r.delay_ns, 250000);
	assert_int_equal(parse("tear keep=1 error=5", &r), 0);
	assert_int_equal(r.error, -5);
	assert_int_equal(parse("cut mode=fail after=10", &r), 0);
	assert_true(r.cut_fails);
	assert_false(r.ops & 1 << FAULT_READ);
}

static void refusals(void **state)
{
	static const char *const bad[] = { "",
					   "explode",
					   "fail op=walk",
					   "fail sectors=9-8",
					   "fail sectors=x",
					   "fail after=",
					   "fail error=EX",
					   "fail error=5000",
					   "fail error=0",
					   "fail 7",
					   "delay",
					   "delay us=-1",
					   "delay us=60000001",
					   "drop op=read",
					   "drop op=any",
					   "tear op=read",
					   "cut mode=maybe",
					   "fail =1",
					   "fail op",
					   "fail count=1x" };
	struct fault_rule r = { .after = 77 };

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(parse(bad[i], &r), -EINVAL);
	assert_int_equal(r.after, 77); /* nothing is half taken */
}

static void matching(void **state)
{
	struct fault_rule r;

	assert_int_equal(parse("fail op=write sectors=8-15 after=1 count=2", &r), 0);
	assert_false(fault_rule_acts(&r, FAULT_READ, 8, 8));
	assert_false(fault_rule_acts(&r, FAULT_WRITE, 0, 8));
	assert_false(fault_rule_acts(&r, FAULT_WRITE, 16, 8));
	assert_false(fault_rule_acts(&r, FAULT_WRITE, 15, 1)); /* the first is passed over */
	assert_true(fault_rule_acts(&r, FAULT_WRITE, 0, 9));
	assert_true(fault_rule_acts(&r, FAULT_WRITE, 15, 100));
	assert_false(fault_rule_acts(&r, FAULT_WRITE, 8, 1)); /* twice it was */
	assert_false(fault_rule_acts(&r, FAULT_FLUSH, 0, 0));
	assert_int_equal(parse("fail op=any sectors=0-100", &r), 0);
	assert_false(fault_rule_acts(&r, FAULT_FLUSH, 0, 0)); /* a flush has no place */
	assert_int_equal(parse("fail op=flush", &r), 0);
	assert_true(fault_rule_acts(&r, FAULT_FLUSH, 0, 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(meanings), cmocka_unit_test(refusals),
					    cmocka_unit_test(matching) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
