/* SPDX-License-Identifier: MIT
 *
 * Problem: the kernel's formatter must agree with C's, since programs parse what it writes into /proc.
 *
 * Idea: kernel/lib/printf.c is included under other names and compared with libc's snprintf, for each conversion with
 * every flag, several widths, precisions and lengths, and values at the edges.
 *
 * Contract: lib/printf.h.
 *
 * Locks: none.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#define str_vformat kernel_vformat
#define str_format  kernel_format
int kernel_vformat(char *buf, size_t size, const char *fmt, va_list ap);
int kernel_format(char *buf, size_t size, const char *fmt, ...);
#include "../../kernel/lib/printf.c"

#pragma GCC diagnostic ignored "-Wformat-nonliteral"
#pragma GCC diagnostic ignored "-Wformat"

static const char *const flags[] = { "", "-", "0", "+", " ", "#", "-#", "0#", "+0", "-+" };
static const char *const widths[] = { "", "1", "7", "21" };
static const char *const precisions[] = { "", ".0", ".3", ".12" };

static void compare(const char *fmt, u64 v)
{
	char ours[128], theirs[128];
	int n = kernel_format(ours, sizeof(ours), fmt, v), m = snprintf(theirs, sizeof(theirs), fmt, v);

	if (n != m || strcmp(ours, theirs))
		fail_msg("%s of %#llx: '%s' (%d), libc '%s' (%d)", fmt, (unsigned long long)v, ours, n, theirs, m);
}

static void each_value(const char *fmt)
{
	static const u64 values[] = {
		0, 1, 7, 8, 255, 256, 65535, 0x7fffffff, 0x80000000, 0xffffffff, 1ULL << 63, ~0ULL
	};

	for (unsigned i = 0; i < ARRAY_SIZE(values); i++)
		compare(fmt, values[i]);
}

static void numbers(void **state)
{
	static const char *const conversions[] = { "d",  "i",  "u",  "x",   "X",  "o",  "hhd", "hu",
						   "ld", "lu", "lx", "llX", "zu", "jo", "td",  "hx" };
	char fmt[32];

	for (unsigned f = 0; f < ARRAY_SIZE(flags); f++)
		for (unsigned w = 0; w < ARRAY_SIZE(widths); w++)
			for (unsigned p = 0; p < ARRAY_SIZE(precisions); p++)
				for (unsigned c = 0; c < ARRAY_SIZE(conversions); c++) {
					snprintf(fmt, sizeof(fmt), "%%%s%s%s%s", flags[f], widths[w], precisions[p],
						 conversions[c]);
					each_value(fmt);
				}
}

static void strings(void **state)
{
	char ours[64], theirs[64];

	assert_int_equal(
		kernel_format(ours, sizeof(ours), "[%-6s|%6s|%.2s|%*s|%-*s]", "abc", "abc", "abc", 5, "x", -4, "y"),
		snprintf(theirs, sizeof(theirs), "[%-6s|%6s|%.2s|%*s|%-*s]", "abc", "abc", "abc", 5, "x", -4, "y"));
	assert_string_equal(ours, theirs);
	assert_int_equal(kernel_format(ours, sizeof(ours), "%c%3c%%", 'a', 'b'), 5);
	assert_string_equal(ours, "a  b%");
	assert_int_equal(kernel_format(ours, 4, "%s", "abcdef"), 6);
	assert_string_equal(ours, "abc");
	assert_int_equal(kernel_format(NULL, 0, "%d", 12345), 5);
	kernel_format(ours, sizeof(ours), "%p %s", (void *)0x1234, (char *)NULL);
	assert_string_equal(ours, "0x1234 (null)");
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(numbers), cmocka_unit_test(strings) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
