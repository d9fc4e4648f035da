/* SPDX-License-Identifier: MIT
 *
 * Problem: files such as /proc/PID/maps are built from many small pieces, and checking each append for room
 * buries the text that is being made.
 *
 * Idea: a buffer that remembers that something did not fit. Callers append without looking and ask once; the
 * usual answer to `truncated` is to retry with a buffer twice the size.
 *
 * Contract: lib/printf.h. The text is terminated after every call as long as size is not 0.
 *
 * Locks: none; a strbuf belongs to one thread.
 */
#include <lib/printf.h>
#include <lib/string.h>

void strbuf_init(struct strbuf *sb, char *buf, size_t size)
{
	*sb = (struct strbuf){ .buf = buf, .size = size };
	if (size)
		buf[0] = '\0';
}

void strbuf_put(struct strbuf *sb, const char *bytes, size_t n)
{
	size_t room = sb->size ? sb->size - 1 - sb->len : 0;

	if (n > room) {
		sb->truncated = true;
		n = room;
	}
	if (!sb->size)
		return;
	memcpy(sb->buf + sb->len, bytes, n);
	sb->len += n;
	sb->buf[sb->len] = '\0';
}

void strbuf_add(struct strbuf *sb, const char *fmt, ...)
{
	size_t room = sb->size - sb->len;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = str_vformat(sb->buf + sb->len, room, fmt, ap);
	va_end(ap);
	if ((size_t)n >= room) {
		sb->truncated = true;
		n = room ? (int)room - 1 : 0;
	}
	sb->len += n;
}

void strbuf_add_set(struct strbuf *sb, u64 set)
{
	const char *comma = "";

	for (unsigned a = 0, b; a < 64; a = b + 1) {
		for (b = a; b < 64 && set >> b & 1; b++)
			;
		if (b == a)
			continue;
		strbuf_add(sb, b - a == 1 ? "%s%u" : "%s%u-%u", comma, a, b - 1);
		comma = ",";
	}
}

void strbuf_add_mask(struct strbuf *sb, u64 set, unsigned bits)
{
	if (bits > 32)
		strbuf_add(sb, "%0*x,%08x", (int)DIV_ROUND_UP(bits - 32, 4U), (u32)(set >> 32), (u32)set);
	else
		strbuf_add(sb, "%0*x", (int)DIV_ROUND_UP(bits, 4U), (u32)set);
}
