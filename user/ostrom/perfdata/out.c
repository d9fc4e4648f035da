/* SPDX-License-Identifier: MIT
 *
 * Problem: printf and stdio locks take more time than the analysis whose rows they print.
 *
 * Idea: one 64 KiB buffer with room behind its end, so that a number asks once and is written in place, two digits
 * at a time from its last one; write(2) when the buffer is full.
 *
 * Contract: out.h. After a failed write nothing more is written. Locks: none.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "out.h"

void out_init(struct out *o, int fd)
{
	o->fd = fd;
	o->error = 0;
	o->len = 0;
	o->second_len = 0;
}

int out_flush(struct out *o)
{
	u32 at = 0;

	while (at < o->len && !o->error) {
		ssize_t n = write(o->fd, o->buf + at, o->len - at);

		if (n < 0 && errno != EINTR)
			o->error = -errno;
		else if (n > 0)
			at += n;
	}
	o->len = 0;
	return o->error;
}

void out_bytes_slow(struct out *o, const char *p, size_t n)
{
	while (n > sizeof(o->buf) - o->len) {
		size_t part = sizeof(o->buf) - o->len;

		memcpy(o->buf + o->len, p, part);
		o->len += part;
		p += part;
		n -= part;
		out_flush(o);
	}
	memcpy(o->buf + o->len, p, n);
	o->len += n;
}

void out_str(struct out *o, const char *s)
{
	out_bytes(o, s, strlen(s));
}

void out_fill(struct out *o, char c, int n)
{
	while (n > 0) {
		u32 part = min((u32)n, (u32)(sizeof(o->buf) - o->len));

		memset(o->buf + o->len, c, part);
		o->len += part;
		n -= part;
		if (o->len == sizeof(o->buf))
			out_flush(o);
	}
}

void out_pad(struct out *o, const char *s, int len, int width)
{
	out_bytes(o, s, len);
	out_fill(o, ' ', width - len);
}

static const char pairs[201] =
	"00010203040506070809101112131415161718192021222324252627282930313233343536373839404142434445464748495051"
	"52535455565758596061626364656667686970717273747576777879808182838485868788899091929394959697989"
	"9";

static inline unsigned nr_digits(u64 v)
{
	unsigned n = 0;

	for (; v >= 10000; v /= 10000)
		n += 4;
	return n + 1 + (v >= 10) + (v >= 100) + (v >= 1000);
}

/* v at p, right-justified in width (below 64); what follows it. */
static inline char *put_number(char *p, u64 v, int width, char fill)
{
	unsigned n = nr_digits(v);
	char *end = p + max(n, min((unsigned)max(width, 0), 63u)), *at = end;

	memset(p, fill, 16);
	if (width > 16)
		memset(p + 16, fill, 48);
	for (; v >= 100; v /= 100) {
		at -= 2;
		memcpy(at, pairs + v % 100 * 2, 2);
	}
	if (v < 10)
		*--at = '0' + v;
	else
		memcpy(at - 2, pairs + v * 2, 2);
	return end;
}

void out_u64(struct out *o, u64 v, int width)
{
	out_end(o, put_number(out_begin(o), v, width, ' '));
}

void out_u64_zero(struct out *o, u64 v, int width)
{
	out_end(o, put_number(out_begin(o), v, width, '0'));
}

void out_ms(struct out *o, u64 ns, int width)
{
	u64 us = ns / 1000, ms = us / 1000;
	u32 rest = us - ms * 1000;
	char *p = out_begin(o);

	if (ms < 10 && width > 0 && width <= 16) {
		memset(p, ' ', 16);
		p += width;
		p[-1] = '0' + ms;
	} else {
		p = put_number(p, ms, width, ' ');
	}
	p[0] = '.';
	p[1] = '0' + rest / 100;
	memcpy(p + 2, pairs + rest % 100 * 2, 2);
	p[4] = ' ';
	out_end(o, p + 5);
}

void out_time_us(struct out *o, u64 ns, int width)
{
	u64 sec = ns / NSEC_PER_SEC;
	u32 us = (u32)(ns - sec * NSEC_PER_SEC) / (u32)NSEC_PER_USEC;
	char *p = out_begin(o);

	if (sec != o->second || width != o->second_width || !o->second_len) {
		char text[64 + 16], *end = put_number(text, sec, max(width - 7, 0), ' ');

		o->second = sec;
		o->second_width = width;
		o->second_len = min((size_t)(end - text), sizeof(o->second_text));
		memcpy(o->second_text, end - o->second_len, o->second_len);
	}
	memcpy(p, o->second_text, sizeof(o->second_text));
	p += o->second_len;
	p[0] = '.';
	memcpy(p + 1, pairs + us / 10000 * 2, 2);
	memcpy(p + 3, pairs + us / 100 % 100 * 2, 2);
	memcpy(p + 5, pairs + us % 100 * 2, 2);
	out_end(o, p + 7);
}

void out_printf(struct out *o, const char *fmt, ...)
{
	char line[1024];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	if (n > 0)
		out_bytes(o, line, min((size_t)n, sizeof(line) - 1));
}

void out_json_string(struct out *o, const char *s)
{
	out_char(o, '"');
	for (; *s; s++)
		if (*s == '"' || *s == '\\' || (u8)*s < 0x20)
			out_printf(o, "\\u%04x", (u8)*s);
		else
			out_char(o, *s);
	out_char(o, '"');
}
