/* SPDX-License-Identifier: MIT
 *
 * Problem: line editing, echo and flow control are what a person feels first; their corners (erasing, end of file, mode
 * switches, a full line) are easy to get wrong.
 *
 * Idea: a terminal whose driver writes into a buffer; what is typed, what is echoed and what can be read are compared.
 *
 * Contract: termios(3). Runs under ASan and UBSan on arch/hosted. Locks: none.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <lib/err.h>
#include <lib/string.h>
#include <tty/tty.h>

static u8 out[10000];
static size_t out_len;

static size_t take_output(struct tty *t, const u8 *bytes, size_t n)
{
	n = min(n, sizeof(out) - out_len);
	memcpy(out + out_len, bytes, n);
	out_len += n;
	return n;
}

static size_t output_room(struct tty *t)
{
	return sizeof(out) - out_len;
}

static const struct tty_driver driver = { .name = "test", .write = take_output, .room = output_room };

static void fresh(struct tty *t)
{
	memset(t, 0, sizeof(*t));
	t->driver = &driver;
	t->termios.c_iflag = ICRNL | IXON | IUTF8;
	t->termios.c_oflag = OPOST | ONLCR;
	t->termios.c_lflag = ISIG | ICANON | ECHO | ECHOE | ECHOK | ECHOCTL | ECHOKE | IEXTEN;
	t->termios.c_cc[VINTR] = 3;
	t->termios.c_cc[VERASE] = 127;
	t->termios.c_cc[VKILL] = 21;
	t->termios.c_cc[VEOF] = 4;
	t->termios.c_cc[VWERASE] = 23;
	t->termios.c_cc[VLNEXT] = 22;
	t->termios.c_cc[VSTOP] = 19;
	t->termios.c_cc[VSTART] = 17;
	t->termios.c_cc[VSUSP] = 26;
	out_len = 0;
}

static void type(struct tty *t, const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		n_tty_input(t, s[i]);
}
#define TYPE(t, s) type(t, s, sizeof(s) - 1)

static void expect_read(struct tty *t, const char *s, bool want_end)
{
	u8 buf[5000];
	bool ended;
	size_t n = n_tty_take(t, buf, sizeof(buf), &ended);

	assert_int_equal(n, strlen(s));
	assert_memory_equal(buf, s, n);
	assert_int_equal(ended, want_end);
}

static void expect_echo(const char *s)
{
	assert_int_equal(out_len, strlen(s));
	assert_memory_equal(out, s, out_len);
	out_len = 0;
}

static void lines(void **state)
{
	static struct tty t;

	fresh(&t);
	TYPE(&t, "ab");
	assert_int_equal(n_tty_readable(&t), 0);
	TYPE(&t, "c\rd");
	expect_echo("abc\r\nd");
	expect_read(&t, "abc\n", true);
	assert_int_equal(n_tty_readable(&t), 0);
	TYPE(&t, "\n");
	expect_read(&t, "d\n", true);
	TYPE(&t, "x\004");
	expect_read(&t, "x", true); /* EOF after bytes ends the read without a newline */
	TYPE(&t, "\004");
	assert_int_equal(n_tty_readable(&t), 1);
	expect_read(&t, "", true); /* and alone means end of file */
}

static void erasing(void **state)
{
	static struct tty t;

	fresh(&t);
	TYPE(&t, "ab\177\177\177c");
	expect_echo("ab\b \b\b \bc");
	TYPE(&t, "\n");
	expect_read(&t, "c\n", true);
	out_len = 0;
	TYPE(&t, "\xc3\xa4\177"); /* one UTF-8 character, two bytes, one column */
	expect_echo("\xc3\xa4\b \b");
	TYPE(&t, "two words\027");
	TYPE(&t, "\n");
	expect_read(&t, "two \n", true);
	TYPE(&t, "gone\025kept\n");
	expect_read(&t, "kept\n", true);
	TYPE(&t, "\026\003\n"); /* quoted: no signal */
	assert_int_equal(t.signal, 0);
	expect_read(&t, "\003\n", true);
}

static void signals_and_flow(void **state)
{
	static struct tty t;

	fresh(&t);
	TYPE(&t, "abc\003");
	assert_int_equal(t.signal, SIGINT);
	expect_echo("abc^C");
	assert_int_equal(t.head - t.tail, 0); /* what was typed is gone */
	t.signal = 0;
	t.termios.c_lflag &= ~ISIG;
	TYPE(&t, "\003\n");
	assert_int_equal(t.signal, 0);
	expect_read(&t, "\003\n", true);
	out_len = 0;
	TYPE(&t, "\023");
	assert_int_equal(n_tty_output(&t, (const u8 *)"x", 1), 0);
	TYPE(&t, "\021");
	assert_int_equal(n_tty_output(&t, (const u8 *)"x", 1), 1);
}

static void plain_mode(void **state)
{
	static struct tty t;
	struct termios2 old;

	fresh(&t);
	TYPE(&t, "half a li");
	old = t.termios;
	t.termios.c_lflag &= ~(ICANON | ECHO);
	n_tty_mode_changed(&t, &old);
	assert_int_equal(n_tty_readable(&t), 9); /* what was being edited becomes readable */
	expect_read(&t, "half a li", false);
	TYPE(&t, "\177\004");
	expect_read(&t, "\177\004", false);
}

static void long_line(void **state)
{
	static struct tty t;
	u8 buf[TTY_INPUT_BYTES];
	bool ended;

	fresh(&t);
	t.termios.c_lflag &= ~ECHO;
	for (int i = 0; i < 2 * TTY_INPUT_BYTES; i++)
		n_tty_input(&t, 'x');
	assert_int_equal(n_tty_readable(&t), 0);
	n_tty_input(&t, '\n'); /* there is always room to end the line */
	assert_int_equal(n_tty_take(&t, buf, sizeof(buf), &ended), TTY_INPUT_BYTES);
	assert_true(ended);
	assert_int_equal(buf[TTY_INPUT_BYTES - 1], '\n');
	for (int round = 0; round < 3000; round++) { /* the ring wraps, the counters too */
		t.head = t.tail = t.canon_end = ~0U - round;
		TYPE(&t, "wrap\n");
		expect_read(&t, "wrap\n", true);
	}
}

static void output_columns(void **state)
{
	static struct tty t;

	fresh(&t);
	t.termios.c_oflag |= XTABS;
	assert_int_equal(n_tty_output(&t, (const u8 *)"ab\tc\n\td", 7), 7);
	expect_echo("ab      c\r\n        d");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines),      cmocka_unit_test(erasing),   cmocka_unit_test(signals_and_flow),
		cmocka_unit_test(plain_mode), cmocka_unit_test(long_line), cmocka_unit_test(output_columns),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
