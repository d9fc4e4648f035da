/* SPDX-License-Identifier: MIT
 *
 * Problem: every control file and every list in the kernel stands on kernel/lib; a wrong corner there shows up
 * far away.
 *
 * Idea: each function at its borders: empty, full, one more than full, overflow.
 *
 * Contract: runs under ASan and UBSan; one cmocka test a function. Locks: none.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <lib/err.h>
#include <lib/list.h>
#include <lib/printf.h>
#include <lib/string.h>

static void numbers(void **state)
{
	u64 u;
	s64 s;

	assert_int_equal(str_to_u64("18446744073709551615\n", 10, &u), 0);
	assert_true(u == UINT64_MAX);
	assert_int_equal(str_to_u64("18446744073709551616", 10, &u), -ERANGE);
	assert_int_equal(str_to_u64("0x1f", 0, &u), 0);
	assert_int_equal(u, 31);
	assert_int_equal(str_to_u64("ffff", 16, &u), 0);
	assert_int_equal(u, 0xffff);
	assert_int_equal(str_to_u64("", 10, &u), -EINVAL);
	assert_int_equal(str_to_u64("5 ", 10, &u), -EINVAL);
	assert_int_equal(str_to_u64("5\n\n", 10, &u), -EINVAL);
	assert_int_equal(str_to_s64("-9223372036854775808", 10, &s), 0);
	assert_true(s == INT64_MIN);
	assert_int_equal(str_to_s64("9223372036854775808", 10, &s), -ERANGE);
	assert_int_equal(str_to_s64("-+1", 10, &s), -EINVAL);
}

static void strings(void **state)
{
	char b[4], list[] = "a,,b=c", *at = list;
	struct strbuf sb;

	assert_int_equal(str_copy(b, "abcdef", sizeof(b)), 6);
	assert_string_equal(b, "abc");
	strbuf_init(&sb, b, sizeof(b));
	strbuf_add(&sb, "%d", 12);
	assert_false(sb.truncated);
	strbuf_add(&sb, "%d", 34);
	assert_true(sb.truncated);
	assert_string_equal(b, "123");
	strbuf_add(&sb, "%d", 5);
	assert_string_equal(b, "123");
	assert_string_equal(str_next(&at, ','), "a");
	assert_string_equal(str_next(&at, ','), "");
	assert_string_equal(str_next(&at, ','), "b=c");
	assert_null(at);
	assert_null(str_next(&at, ','));
}

struct item {
	struct list link;
	int n;
};

static void lists(void **state)
{
	struct item a = { .n = 1 }, b = { .n = 2 }, c = { .n = 3 }, *i, *next;
	LIST(l);
	LIST(m);
	int sum = 0;

	list_add_tail(&a.link, &l);
	list_add_tail(&b.link, &l);
	list_add(&c.link, &l);
	assert_int_equal(list_first_entry(&l, struct item, link)->n, 3);
	list_splice_tail_init(&l, &m);
	assert_true(list_empty(&l));
	list_for_each_entry_safe (i, next, &m, link) {
		sum = sum * 10 + i->n;
		list_del_init(&i->link);
	}
	assert_int_equal(sum, 312);
	assert_true(list_empty(&m));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers),
		cmocka_unit_test(strings),
		cmocka_unit_test(lists),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
