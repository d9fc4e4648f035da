/* SPDX-License-Identifier: MIT
 *
 * Problem: what a person types becomes lines with erasing and echo, control characters become signals, and output gets
 * its carriage returns; programs switch each of these on and off at any time.
 *
 * Idea: one ring of input bytes with marks where lines end. In canonical mode only whole lines can be read and the
 * bytes behind the last mark are the line being edited; without it everything can be read at once. Echo goes through
 * the same output function as the programs' writes, so that the cursor's column stays known.
 *
 * Contract: tty/tty.h, termios(3). Every function runs under tty->lock and never sleeps; echo that finds no room is
 * lost, as on a slow line. A signal to be sent is left in tty->signal. Pure.
 *
 * Locks: the caller holds tty->lock.
 */
#include <lib/err.h>
#include <lib/string.h>
#include <tty/tty.h>

#define DISABLED 0 /* _POSIX_VDISABLE: a control character that is off */

static bool bit_get(const ulong *map, unsigned pos)
{
	unsigned n = pos % TTY_INPUT_BYTES;

	return map[n / 64] >> (n % 64) & 1;
}

static void bit_set(ulong *map, unsigned pos, bool on)
{
	unsigned n = pos % TTY_INPUT_BYTES;

	map[n / 64] = on ? map[n / 64] | BIT(n % 64) : map[n / 64] & ~BIT(n % 64);
}

static bool is_cc(const struct tty *t, u8 c, unsigned which)
{
	return c != DISABLED && t->termios.c_cc[which] == c;
}

static bool canonical(const struct tty *t)
{
	return t->termios.c_lflag & ICANON;
}

/* ---- output -------------------------------------------------------------------------------------------------- */

/* Bytes that c becomes, at most 8. */
static unsigned processed(struct tty *t, u8 c, u8 *out)
{
	u32 flags = t->termios.c_oflag;

	switch (c) {
	case '\n':
		if (flags & ONLRET)
			t->column = 0;
		if (!(flags & ONLCR))
			break;
		t->column = 0;
		out[0] = '\r';
		out[1] = '\n';
		return 2;
	case '\r':
		if (flags & ONOCR && t->column == 0)
			return 0;
		t->column = 0;
		if (flags & OCRNL)
			c = '\n';
		break;
	case '\t': {
		unsigned spaces = 8 - t->column % 8;

		t->column += spaces;
		if ((flags & TABDLY) != XTABS)
			break;
		memset(out, ' ', spaces);
		return spaces;
	}
	case '\b':
		if (t->column)
			t->column--;
		break;
	default:
		if (flags & OLCUC && c >= 'a' && c <= 'z')
			c -= 'a' - 'A';
		if (c >= ' ' && c != 0x7f && (c & 0xc0) != 0x80) /* the later bytes of UTF-8 take no column */
			t->column++;
	}
	out[0] = c;
	return 1;
}

size_t n_tty_output(struct tty *t, const u8 *bytes, size_t n)
{
	size_t room = t->driver->room(t), done;

	if (t->stopped)
		return 0;
	if (!(t->termios.c_oflag & OPOST))
		return t->driver->write(t, bytes, min(n, room));
	for (done = 0; done < n && room >= 8; done++) {
		u8 out[8];
		unsigned len = processed(t, bytes[done], out);

		if (len)
			room -= t->driver->write(t, out, len);
	}
	return done;
}

static void echo(struct tty *t, const char *text, size_t n)
{
	(void)n_tty_output(t, (const u8 *)text, n);
}

/* A control character shows as ^X, unless it moves the cursor by itself. */
static void echo_char(struct tty *t, u8 c)
{
	if (t->termios.c_lflag & ECHOCTL && (c < ' ' || c == 0x7f) && c != '\n' && c != '\t') {
		char text[2] = { '^', c ^ 0x40 };

		echo(t, text, 2);
	} else {
		echo(t, (char *)&c, 1);
	}
}

/* ---- editing ------------------------------------------------------------------------------------------------------
 */

/* Columns that the edited line takes up to `end`. */
static unsigned width_upto(const struct tty *t, unsigned end)
{
	unsigned column = t->edit_column;

	for (unsigned p = t->canon_end; p != end; p++) {
		u8 c = t->input[p % TTY_INPUT_BYTES];

		if (c == '\t')
			column += 8 - column % 8;
		else if (c < ' ' || c == 0x7f)
			column += t->termios.c_lflag & ECHOCTL ? 2 : 0;
		else if ((c & 0xc0) != 0x80 || !(t->termios.c_iflag & IUTF8))
			column++;
	}
	return column - t->edit_column;
}

/* Takes the last character (all its bytes) off the line; the screen follows if echo is on. */
static void erase_one(struct tty *t)
{
	unsigned before = width_upto(t, t->head), after;

	do {
		t->head--;
	} while (t->head != t->canon_end && t->termios.c_iflag & IUTF8 &&
		 (t->input[t->head % TTY_INPUT_BYTES] & 0xc0) == 0x80);
	after = width_upto(t, t->head);
	if (!(t->termios.c_lflag & ECHO))
		return;
	if (!(t->termios.c_lflag & ECHOE)) {
		echo_char(t, t->termios.c_cc[VERASE]);
		return;
	}
	for (; before > after; before--)
		echo(t, "\b \b", 3);
}

static bool is_word(u8 c)
{
	return (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z') || c == '_' || c >= 0x80;
}

static void erase_word(struct tty *t)
{
	bool in_word = false;

	while (t->head != t->canon_end) {
		bool word = is_word(t->input[(t->head - 1) % TTY_INPUT_BYTES]);

		if (in_word && !word)
			break;
		in_word |= word;
		erase_one(t);
	}
}

static void kill_line(struct tty *t)
{
	u32 l = t->termios.c_lflag;

	if (l & ECHO && !(l & ECHOKE && l & ECHOE)) {
		t->head = t->canon_end;
		echo_char(t, t->termios.c_cc[VKILL]);
		if (l & ECHOK)
			echo(t, "\n", 1);
		return;
	}
	while (t->head != t->canon_end)
		erase_one(t);
}

static void reprint(struct tty *t)
{
	echo_char(t, t->termios.c_cc[VREPRINT]);
	echo(t, "\n", 1);
	t->edit_column = t->column;
	for (unsigned p = t->canon_end; p != t->head; p++)
		echo_char(t, t->input[p % TTY_INPUT_BYTES]);
}

/* ---- the ring ------------------------------------------------------------------------------------------------------
 */

static unsigned used(const struct tty *t)
{
	return t->head - t->tail;
}

/* One byte is kept free in canonical mode, so that a line can always be ended. */
static bool store(struct tty *t, u8 c, bool end, bool eof)
{
	unsigned limit = canonical(t) && !end ? TTY_INPUT_BYTES - 1 : TTY_INPUT_BYTES;

	if (used(t) >= limit) {
		if (t->termios.c_iflag & IMAXBEL)
			echo(t, "\a", 1);
		return false;
	}
	t->input[t->head % TTY_INPUT_BYTES] = c;
	bit_set(t->ends, t->head, end);
	bit_set(t->eofs, t->head, eof);
	t->head++;
	if (end) {
		t->canon_end = t->head;
		t->edit_column = t->column;
	}
	return true;
}

void n_tty_flush_input(struct tty *t)
{
	t->tail = t->canon_end = t->head;
	t->edit_column = t->column;
	t->literal_next = false;
}

/* Switching canonical mode makes what was typed readable, or (on) the rest of it one line. */
void n_tty_mode_changed(struct tty *t, const struct termios2 *old)
{
	if (!((old->c_lflag ^ t->termios.c_lflag) & ICANON))
		return;
	if (canonical(t) && used(t)) {
		bit_set(t->ends, t->head - 1, true);
		t->canon_end = t->head;
	}
	t->literal_next = false;
}

/* ---- input ----------------------------------------------------------------------------------------------- */

static void ask_signal(struct tty *t, u8 c, int sig)
{
	if (!(t->termios.c_lflag & NOFLSH)) {
		n_tty_flush_input(t);
		if (t->driver->flush_output)
			t->driver->flush_output(t);
	}
	t->stopped = false;
	if (t->termios.c_lflag & ECHO)
		echo_char(t, c);
	t->edit_column = t->column;
	t->signal = sig;
}

static bool input_signal(struct tty *t, u8 c)
{
	if (!(t->termios.c_lflag & ISIG))
		return false;
	if (is_cc(t, c, VINTR))
		ask_signal(t, c, SIGINT);
	else if (is_cc(t, c, VQUIT))
		ask_signal(t, c, SIGQUIT);
	else if (is_cc(t, c, VSUSP))
		ask_signal(t, c, SIGTSTP);
	else
		return false;
	return true;
}

static bool input_flow(struct tty *t, u8 c)
{
	if (!(t->termios.c_iflag & IXON))
		return false;
	if (is_cc(t, c, VSTOP)) {
		t->stopped = true;
		return true;
	}
	if (is_cc(t, c, VSTART)) {
		t->stopped = false;
		return true;
	}
	if (t->termios.c_iflag & IXANY)
		t->stopped = false;
	return false;
}

/* Characters that edit. True: c was one. */
static bool input_edit(struct tty *t, u8 c)
{
	bool extended = t->termios.c_lflag & IEXTEN;

	if (is_cc(t, c, VERASE)) {
		if (t->head != t->canon_end)
			erase_one(t);
	} else if (extended && is_cc(t, c, VWERASE)) {
		erase_word(t);
	} else if (is_cc(t, c, VKILL)) {
		kill_line(t);
	} else if (extended && is_cc(t, c, VREPRINT) && t->termios.c_lflag & ECHO) {
		reprint(t);
	} else {
		return false;
	}
	return true;
}

static bool ends_line(const struct tty *t, u8 c)
{
	return c == '\n' || is_cc(t, c, VEOL) || (is_cc(t, c, VEOL2) && t->termios.c_lflag & IEXTEN);
}

static void input_canonical(struct tty *t, u8 c)
{
	u32 l = t->termios.c_lflag;

	if (input_edit(t, c))
		return;
	if (is_cc(t, c, VEOF)) {
		store(t, DISABLED, true, true);
		return;
	}
	if (ends_line(t, c)) {
		if (l & ECHO || (c == '\n' && l & ECHONL))
			echo_char(t, c);
		store(t, c, true, false);
		return;
	}
	if (store(t, c, false, false) && l & ECHO)
		echo_char(t, c);
}

static void input_plain(struct tty *t, u8 c)
{
	if (!store(t, c, false, false))
		return;
	t->canon_end = t->head;
	if (t->termios.c_lflag & ECHO)
		echo_char(t, c);
}

/* The input flags. False: c vanishes. */
static bool translate(struct tty *t, u8 *c)
{
	u32 flags = t->termios.c_iflag;

	if (flags & ISTRIP)
		*c &= 0x7f;
	if (*c == '\r') {
		if (flags & IGNCR)
			return false;
		if (flags & ICRNL)
			*c = '\n';
	} else if (*c == '\n' && flags & INLCR) {
		*c = '\r';
	}
	if (flags & IUCLC && t->termios.c_lflag & IEXTEN && *c >= 'A' && *c <= 'Z')
		*c += 'a' - 'A';
	return true;
}

void n_tty_input(struct tty *t, u8 c)
{
	u32 l = t->termios.c_lflag;

	if (t->literal_next) {
		t->literal_next = false;
		if (store(t, c, false, false) && l & ECHO)
			echo_char(t, c);
		if (!canonical(t))
			t->canon_end = t->head;
		return;
	}
	if (input_flow(t, c) || input_signal(t, c) || !translate(t, &c))
		return;
	if (canonical(t) && l & IEXTEN && is_cc(t, c, VLNEXT)) {
		t->literal_next = true;
		if (l & ECHO && l & ECHOCTL)
			echo(t, "^\b", 2);
		return;
	}
	if (canonical(t))
		input_canonical(t, c);
	else
		input_plain(t, c);
}

/* ---- reading --------------------------------------------------------------------------------------------- */

size_t n_tty_readable(const struct tty *t)
{
	return (canonical(t) ? t->canon_end : t->head) - t->tail;
}

size_t n_tty_take(struct tty *t, u8 *buf, size_t n, bool *ended)
{
	bool lines = canonical(t);
	unsigned end = lines ? t->canon_end : t->head;
	size_t done = 0;

	*ended = false;
	while (t->tail != end && !*ended) {
		bool eof = lines && bit_get(t->eofs, t->tail);

		if (done == n && !eof)
			break;
		*ended = lines && bit_get(t->ends, t->tail);
		if (!eof)
			buf[done++] = t->input[t->tail % TTY_INPUT_BYTES];
		t->tail++;
	}
	if (!lines)
		t->canon_end = t->head;
	return done;
}
